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
                FaultKind::of_sqlstate(&code)
            } else {
                FaultKind::of_sqlite(code.parse().ok())
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
