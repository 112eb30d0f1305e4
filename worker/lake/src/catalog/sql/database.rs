//! The two databases a SQL catalog can be in, and how each says what became of a statement.
//!
//! All values of the catalog's tables are text, so one small interface carries every statement.

use std::path::Path;
use std::str::FromStr as _;
use std::time::Duration;

use moulin_core::FaultKind;
use sqlx::Row as _;
use sqlx::postgres::{PgConnectOptions, PgPool, PgPoolOptions};
use sqlx::sqlite::{SqliteConnectOptions, SqlitePool, SqlitePoolOptions, SqliteSynchronous};

use crate::Error;

/// How long a statement may take: a writer of a SQLite file waits that long for another one's lock, and a
/// PostgreSQL server that says nothing for so long is not waited for.
const PATIENCE: Duration = Duration::from_secs(30);
const PAUSE: Duration = Duration::from_millis(20);
const CONNECTIONS: u32 = 8;
/// Statements a database gave up for the sake of others are sent again, if they may be.
const AGAIN: u32 = 8;

/// A row of texts; absent where the database has no value.
pub(super) type Texts = Vec<Option<String>>;

/// Why a statement has no answer.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Failure {
    /// It was never sent.
    #[error(transparent)]
    NotSent(sqlx::Error),
    /// The database gave it up for the sake of other writers; nothing was done, and it can be sent again.
    #[error(transparent)]
    GaveWay(sqlx::Error),
    /// The database refused it; nothing was done.
    #[error(transparent)]
    Refused(sqlx::Error),
    /// It was sent, and what became of it is not known.
    #[error(transparent)]
    Lost(sqlx::Error),
    /// It was sent and not answered in time; what became of it is not known.
    #[error("no answer within {} s", PATIENCE.as_secs())]
    TooLate,
}

impl Failure {
    /// What it means for a job.
    pub(super) fn kind(&self) -> FaultKind {
        match self {
            Self::NotSent(error) | Self::Refused(error) | Self::Lost(error) => database_kind(error),
            Self::GaveWay(_) | Self::TooLate => FaultKind::Unavailable,
        }
    }
}

#[derive(Debug, Clone)]
pub(super) enum Database {
    Sqlite(SqlitePool),
    Postgres(PgPool),
}

impl Database {
    /// The kind of database, for people.
    pub(super) fn name(&self) -> &'static str {
        match self {
            Self::Sqlite(_) => "sqlite",
            Self::Postgres(_) => "postgresql",
        }
    }

    pub(super) async fn sqlite(uri: &str, failed: impl FnOnce(Failure) -> Error) -> Result<Self, Error> {
        let path = uri.strip_prefix("sqlite://").filter(|p| p.starts_with('/')).ok_or_else(|| {
            Error::invalid("catalog.uri names no absolute path; write sqlite:///absolute/path/catalog.db")
        })?;
        let path = path.split('?').next().unwrap_or(path);
        if let Some(folder) = Path::new(path).parent() {
            std::fs::create_dir_all(folder).map_err(|e| Error::storage("create", &folder.display().to_string(), e))?;
        }
        let options = SqliteConnectOptions::new()
            .filename(path)
            .create_if_missing(true)
            .synchronous(SqliteSynchronous::Full)
            .busy_timeout(PATIENCE);
        let pool = SqlitePoolOptions::new()
            .max_connections(CONNECTIONS)
            .acquire_timeout(PATIENCE * 2)
            .connect_with(options)
            .await;
        let database = match pool {
            Ok(pool) => Self::Sqlite(pool),
            Err(e) => return Err(failed(Failure::NotSent(e))),
        };
        database.write_ahead().await.map_err(failed)?;
        Ok(database)
    }

    /// Turns on the write-ahead log, which stays on in the file. SQLite does not wait for the lock this takes, so a
    /// worker that starts at the same moment as another one asks again.
    async fn write_ahead(&self) -> Result<(), Failure> {
        let mut pauses = PATIENCE.as_millis() / PAUSE.as_millis();
        loop {
            match self.execute("PRAGMA journal_mode = WAL", &[]).await {
                Err(Failure::GaveWay(_)) if pauses > 0 => pauses -= 1,
                answer => return answer.map(drop),
            }
            tokio::time::sleep(PAUSE).await;
        }
    }

    /// The password may be left to `PGPASSWORD` or a password file, as for PostgreSQL's own tools.
    pub(super) async fn postgres(uri: &str, failed: impl FnOnce(Failure) -> Error) -> Result<Self, Error> {
        // The error of the library may repeat a part of the uri, which may be a part of the password.
        let options = PgConnectOptions::from_str(uri).map_err(|_| {
            Error::invalid("catalog.uri is not a PostgreSQL address; write postgresql://user@host:5432/database")
        })?;
        let pool = PgPoolOptions::new()
            .max_connections(CONNECTIONS)
            .acquire_timeout(PATIENCE)
            .connect_with(options.application_name("moulin"))
            .await
            .map_err(|e| failed(Failure::NotSent(e)))?;
        Ok(Self::Postgres(pool))
    }

    /// The names of the columns of a table; none: there is no such table.
    pub(super) async fn columns(&self, table: &str) -> Result<Vec<String>, Failure> {
        let statement = match self {
            Self::Sqlite(_) => "SELECT name FROM pragma_table_info($1)",
            Self::Postgres(_) => {
                "SELECT attname::text FROM pg_attribute
                 WHERE attrelid = to_regclass($1) AND attnum > 0 AND NOT attisdropped"
            }
        };
        let rows = self.rows(statement, &[table]).await?;
        Ok(rows.into_iter().filter_map(|row| row.into_iter().next().flatten()).collect())
    }

    /// Creates a table; one that somebody else creates at the same moment is fine.
    pub(super) async fn create_table(&self, statement: &'static str) -> Result<(), Failure> {
        match self.execute(statement, &[]).await {
            // PostgreSQL looks for the name and takes it in two steps.
            Err(Failure::Refused(e)) if matches!(code(&e).as_str(), "23505" | "42710" | "42P07") => Ok(()),
            other => other.map(drop),
        }
    }

    /// The rows a query finds; it changes nothing, so it is asked again when it has to give way.
    pub(super) async fn rows(&self, statement: &str, values: &[&str]) -> Result<Vec<Texts>, Failure> {
        for _ in 1..AGAIN {
            match self.rows_once(statement, values).await {
                Err(Failure::GaveWay(_)) => {}
                other => return other,
            }
        }
        self.rows_once(statement, values).await
    }

    /// How many rows a statement changed, which may be sent twice.
    pub(super) async fn execute_again(&self, statement: &str, values: &[&str]) -> Result<u64, Failure> {
        for _ in 1..AGAIN {
            match self.execute(statement, values).await {
                Err(Failure::GaveWay(_)) => {}
                other => return other,
            }
        }
        self.execute(statement, values).await
    }

    async fn rows_once(&self, statement: &str, values: &[&str]) -> Result<Vec<Texts>, Failure> {
        match self {
            Self::Sqlite(pool) => {
                let mut query = sqlx::query(statement);
                for value in values {
                    query = query.bind(*value);
                }
                let rows = query.fetch_all(pool).await.map_err(sqlite_failure)?;
                Ok(rows.iter().map(|row| texts(row.len(), |at| row.try_get(at).ok().flatten())).collect())
            }
            Self::Postgres(pool) => {
                let mut query = sqlx::query(statement);
                for value in values {
                    query = query.bind(*value);
                }
                let mut connection = pool.acquire().await.map_err(Failure::NotSent)?;
                let Ok(answer) = tokio::time::timeout(PATIENCE, query.fetch_all(&mut *connection)).await else {
                    // It would answer the next question with the answer to this one.
                    drop(connection.detach());
                    return Err(Failure::TooLate);
                };
                let rows = answer.map_err(postgres_failure)?;
                Ok(rows.iter().map(|row| texts(row.len(), |at| row.try_get(at).ok().flatten())).collect())
            }
        }
    }

    /// How many rows a statement changed.
    pub(super) async fn execute(&self, statement: &str, values: &[&str]) -> Result<u64, Failure> {
        match self {
            Self::Sqlite(pool) => {
                let mut query = sqlx::query(statement);
                for value in values {
                    query = query.bind(*value);
                }
                query.execute(pool).await.map(|done| done.rows_affected()).map_err(sqlite_failure)
            }
            Self::Postgres(pool) => {
                let mut query = sqlx::query(statement);
                for value in values {
                    query = query.bind(*value);
                }
                let mut connection = pool.acquire().await.map_err(Failure::NotSent)?;
                let Ok(answer) = tokio::time::timeout(PATIENCE, query.execute(&mut *connection)).await else {
                    drop(connection.detach());
                    return Err(Failure::TooLate);
                };
                answer.map(|done| done.rows_affected()).map_err(postgres_failure)
            }
        }
    }
}

fn texts(columns: usize, text: impl Fn(usize) -> Option<String>) -> Texts {
    (0..columns).map(text).collect()
}

fn code(error: &sqlx::Error) -> String {
    error.as_database_error().and_then(sqlx::error::DatabaseError::code).unwrap_or_default().into_owned()
}

fn sqlite_failure(error: sqlx::Error) -> Failure {
    // SQLITE_BUSY and SQLITE_LOCKED, with their extended codes: the statement did nothing.
    let busy = code(&error).parse::<u32>().is_ok_and(|code| matches!(code & 0xff, 5 | 6));
    match error {
        sqlx::Error::PoolTimedOut => Failure::NotSent(error),
        _ if busy => Failure::GaveWay(error),
        _ => Failure::Lost(error),
    }
}

/// By the classes of <https://www.postgresql.org/docs/current/errcodes-appendix.html>: a statement that ended with an
/// error did nothing, except where the error is about the connection, the server's end, or a wait that comes after
/// the commit.
fn postgres_failure(error: sqlx::Error) -> Failure {
    if error.as_database_error().is_none() {
        return Failure::Lost(error);
    }
    let code = code(&error);
    match code.as_str() {
        // Serialization failure, deadlock, a lock that was not to be had.
        "40001" | "40P01" | "55P03" => Failure::GaveWay(error),
        "40003" => Failure::Lost(error),
        _ => match code.get(..2) {
            Some("0A" | "22" | "23" | "25" | "28" | "3D" | "3F" | "40" | "42" | "44" | "53" | "54") => {
                Failure::Refused(error)
            }
            _ => Failure::Lost(error),
        },
    }
}

fn database_kind(error: &sqlx::Error) -> FaultKind {
    let Some(database) = error.as_database_error() else { return FaultKind::Unavailable };
    if database.try_downcast_ref::<sqlx::postgres::PgDatabaseError>().is_some() {
        FaultKind::of_sqlstate(&code(error))
    } else {
        FaultKind::of_sqlite(code(error).parse().ok())
    }
}
