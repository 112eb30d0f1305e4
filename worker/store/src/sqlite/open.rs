//! Opening the file: settings, write-ahead log, schema.

use std::path::Path;
use std::time::Duration;

use sqlx::sqlite::{SqliteConnectOptions, SqliteJournalMode, SqlitePoolOptions, SqliteSynchronous};
use sqlx::{ConnectOptions as _, Connection as _, Executor as _, SqliteConnection};

use super::SqliteStore;
use crate::{Error, sql};

/// One writes at a time, the others read.
const CONNECTIONS: u32 = 4;
const BUSY_TIMEOUT: Duration = Duration::from_secs(10);
const OPEN_PAUSE: Duration = Duration::from_millis(20);

impl SqliteStore {
    pub(crate) async fn open(path: &str) -> Result<Self, Error> {
        let failed = |source| Error::Database { action: "open the database", store: path.to_owned(), source };
        if let Some(folder) = Path::new(path).parent() {
            std::fs::create_dir_all(folder).map_err(|source| Error::Folder { store: path.to_owned(), source })?;
        }
        let options = SqliteConnectOptions::new()
            .filename(path)
            .create_if_missing(true)
            .busy_timeout(BUSY_TIMEOUT)
            .foreign_keys(true)
            // A commit that was reported must outlive a loss of power: the ledger stands here.
            .synchronous(SqliteSynchronous::Full);
        let mut first = first_connection(&options).await.map_err(failed)?;
        migrate(&mut first, path).await?;
        first.close().await.map_err(failed)?;
        let pool = SqlitePoolOptions::new().max_connections(CONNECTIONS).connect_with(options).await.map_err(failed)?;
        Ok(Self { pool, path: path.to_owned() })
    }
}

/// Turns on the write-ahead log, which stays on in the file. SQLite does not wait for the lock this takes, so
/// a worker that starts at the same moment as another one asks again.
async fn first_connection(options: &SqliteConnectOptions) -> Result<SqliteConnection, sqlx::Error> {
    let options = options.clone().journal_mode(SqliteJournalMode::Wal);
    let mut pauses = BUSY_TIMEOUT.as_millis() / OPEN_PAUSE.as_millis();
    loop {
        match options.connect().await {
            Err(sqlx::Error::Database(error)) if pauses > 0 && error.message().contains("locked") => pauses -= 1,
            answer => return answer,
        }
        tokio::time::sleep(OPEN_PAUSE).await;
    }
}

/// Brings the schema to this version, in one transaction under the write lock.
async fn migrate(connection: &mut SqliteConnection, path: &str) -> Result<(), Error> {
    let failed = |source| Error::Database { action: "prepare the schema", store: path.to_owned(), source };
    let mut transaction = connection.begin_with("BEGIN IMMEDIATE").await.map_err(failed)?;
    transaction.execute(sql::CREATE_SCHEMA_VERSION).await.map_err(failed)?;
    let found: i64 = sqlx::query_scalar(sql::SCHEMA_VERSION).fetch_one(&mut *transaction).await.map_err(failed)?;
    for (version, schema) in (1_i64..).zip(sql::SQLITE_SCHEMA) {
        if version > found {
            transaction.execute(schema).await.map_err(failed)?;
            let record = sqlx::query(sql::RECORD_SCHEMA_VERSION).bind(version);
            record.execute(&mut *transaction).await.map_err(failed)?;
        }
    }
    let known = sql::SQLITE_SCHEMA.len() as i64;
    if found > known {
        return Err(Error::NewerSchema { store: path.to_owned(), found, known });
    }
    transaction.commit().await.map_err(failed)
}
