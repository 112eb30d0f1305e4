//! What an error of a database means.

use std::time::Duration;

use moulin_core::FaultKind;

/// How often a statement is sent again that gave way to others.
const TRIES: u32 = 10;
const FIRST_WAIT: Duration = Duration::from_millis(5);

/// Counts how often a statement gave way.
#[derive(Debug, Default)]
pub(crate) struct Tries(u32);

impl Tries {
    /// Whether to send a statement again after this error, when it is time to.
    ///
    /// Only what the server gave up for the sake of others is sent again: it did nothing.
    pub(crate) async fn again(&mut self, error: &sqlx::Error) -> bool {
        if self.0 == TRIES || !gave_way(error) {
            return false;
        }
        self.0 += 1;
        tokio::time::sleep(FIRST_WAIT * self.0).await;
        true
    }
}

// Serialization failure and deadlock; https://www.postgresql.org/docs/current/errcodes-appendix.html
fn gave_way(error: &sqlx::Error) -> bool {
    matches!(code(error).as_str(), "40001" | "40P01")
}

fn code(error: &sqlx::Error) -> String {
    error.as_database_error().and_then(sqlx::error::DatabaseError::code).unwrap_or_default().into_owned()
}

/// What kind of thing went wrong.
pub(crate) fn kind(error: &sqlx::Error) -> FaultKind {
    match error {
        sqlx::Error::Database(database) => {
            let code = code(error);
            // The codes of PostgreSQL have five characters, those of SQLite are numbers of fewer.
            if database.try_downcast_ref::<sqlx::postgres::PgDatabaseError>().is_some() {
                postgres_kind(&code)
            } else {
                sqlite_kind(code.parse().ok())
            }
        }
        sqlx::Error::Io(_) | sqlx::Error::Tls(_) | sqlx::Error::PoolTimedOut | sqlx::Error::PoolClosed => {
            FaultKind::Unavailable
        }
        // A connection that was cut in the middle of an answer.
        sqlx::Error::Protocol(_) | sqlx::Error::WorkerCrashed => FaultKind::Unavailable,
        _ => FaultKind::Internal,
    }
}

// SQLite's primary result codes stand in the low byte of the extended ones (sqlite.org/rescode.html).
fn sqlite_kind(code: Option<i32>) -> FaultKind {
    const PERMISSION_AND_READONLY: [i32; 3] = [3, 8, 23];
    const ERROR_MISUSE_CONSTRAINT: [i32; 5] = [1, 19, 20, 21, 25];
    match code.map(|code| code & 0xff) {
        Some(code) if PERMISSION_AND_READONLY.contains(&code) => FaultKind::PermissionDenied,
        Some(code) if ERROR_MISUSE_CONSTRAINT.contains(&code) => FaultKind::Internal,
        _ => FaultKind::Unavailable,
    }
}

fn postgres_kind(code: &str) -> FaultKind {
    match code {
        "42501" => FaultKind::PermissionDenied,
        "3D000" => FaultKind::NotFound,
        _ => match code.get(..2) {
            Some("28") => FaultKind::PermissionDenied,
            // What is wrong with a statement or a value is a defect.
            Some("22" | "23" | "42") => FaultKind::Internal,
            _ => FaultKind::Unavailable,
        },
    }
}
