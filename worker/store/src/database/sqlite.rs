//! A database in one file, for workers of one machine: any number of them there may share it.

use std::time::Duration;

use sqlx::sqlite::{SqliteConnectOptions, SqliteJournalMode, SqlitePoolOptions, SqliteSynchronous};
use sqlx::{ConnectOptions as _, Connection as _, SqliteConnection, SqlitePool};

/// One writes at a time, the others read.
const CONNECTIONS: u32 = 4;
const BUSY_TIMEOUT: Duration = Duration::from_secs(10);
const OPEN_PAUSE: Duration = Duration::from_millis(20);

pub(super) async fn open(path: &str) -> Result<SqlitePool, sqlx::Error> {
    let options = SqliteConnectOptions::new()
        .filename(path)
        .create_if_missing(true)
        .busy_timeout(BUSY_TIMEOUT)
        .foreign_keys(true)
        // A commit that was reported must outlive a loss of power: the ledger stands here.
        .synchronous(SqliteSynchronous::Full);
    first_connection(&options).await?.close().await?;
    SqlitePoolOptions::new().max_connections(CONNECTIONS).connect_with(options).await
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
