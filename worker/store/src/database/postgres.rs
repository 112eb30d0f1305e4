//! A database on a PostgreSQL server, for workers of any number of machines.

use std::time::Duration;

use sqlx::Executor as _;
use sqlx::postgres::{PgConnectOptions, PgPool, PgPoolOptions};

/// How long an answer is waited for.
pub(super) const PATIENCE: Duration = Duration::from_secs(30);
const CONNECTIONS: u32 = 8;

// A write that was reported must outlive a loss of power: the ledger stands here. Every statement is right at this
// level because what it depends on stands in its WHERE, and PostgreSQL looks again at a row it had to wait for.
const SETTINGS: &str = "\
    SET default_transaction_isolation TO 'read committed'; \
    SELECT set_config('synchronous_commit', 'on', false) WHERE current_setting('synchronous_commit') = 'off'";

/// Taken by those who make or change the schema, until their transaction ends. The number is this program's own.
pub(super) const SCHEMA_LOCK: &str = "SELECT pg_advisory_xact_lock(7305201114111117)";

pub(super) async fn open(options: PgConnectOptions) -> Result<PgPool, sqlx::Error> {
    PgPoolOptions::new()
        .max_connections(CONNECTIONS)
        .acquire_timeout(PATIENCE)
        .after_connect(|connection, _| {
            Box::pin(async move { connection.execute(sqlx::raw_sql(SETTINGS)).await.map(drop) })
        })
        .connect_with(options.application_name("moulin"))
        .await
}
