//! A connection of a pool, and a statement of either database on it.

use std::borrow::Cow;
use std::io;

use futures::future::BoxFuture;
use sqlx::pool::PoolConnection;
use sqlx::{Executor as _, Postgres, Sqlite};

use super::{Query, Row, Value, postgres};

/// Goes back to its pool when it is dropped, unless it is discarded.
pub(super) enum Connection {
    Sqlite(PoolConnection<Sqlite>),
    /// Absent after an answer that did not come in time.
    Postgres(Option<PoolConnection<Postgres>>),
}

impl From<PoolConnection<Sqlite>> for Connection {
    fn from(connection: PoolConnection<Sqlite>) -> Self {
        Self::Sqlite(connection)
    }
}

impl From<PoolConnection<Postgres>> for Connection {
    fn from(connection: PoolConnection<Postgres>) -> Self {
        Self::Postgres(Some(connection))
    }
}

macro_rules! bind {
    ($query:ident, $values:expr) => {
        $values.into_iter().fold($query, |bound, value| match value {
            Value::Text(text) => bound.bind(text),
            Value::Number(number) => bound.bind(number),
            Value::Bytes(bytes) => bound.bind(bytes),
        })
    };
}

// Waits for an answer of PostgreSQL. A connection that owes one would give it to the next question.
macro_rules! in_time {
    ($connection:ident, |$open:ident| $ask:expr) => {{
        let $open = $connection.as_mut().ok_or(sqlx::Error::PoolClosed)?;
        match tokio::time::timeout(postgres::PATIENCE, $ask).await {
            Ok(answer) => answer,
            Err(_) => {
                close($connection.take());
                Err(too_late())
            }
        }
    }};
}

// Boxed: the compiler cannot see that a future with both libraries' borrows in it may be sent.
impl Connection {
    pub(super) fn rows(&mut self, query: Query) -> BoxFuture<'_, Result<Vec<Row>, sqlx::Error>> {
        Box::pin(async move {
            match self {
                Self::Sqlite(connection) => {
                    let bound = sqlx::query(&query.statement);
                    let rows = bind!(bound, query.values).fetch_all(&mut **connection).await?;
                    Ok(rows.into_iter().map(Row::Sqlite).collect())
                }
                Self::Postgres(connection) => {
                    let statement = for_postgres(&query.statement);
                    let bound = sqlx::query(&statement);
                    let bound = bind!(bound, query.values);
                    let rows = in_time!(connection, |open| bound.fetch_all(&mut **open))?;
                    Ok(rows.into_iter().map(Row::Postgres).collect())
                }
            }
        })
    }

    pub(super) fn execute(&mut self, query: Query) -> BoxFuture<'_, Result<u64, sqlx::Error>> {
        Box::pin(async move {
            match self {
                Self::Sqlite(connection) => {
                    let bound = sqlx::query(&query.statement);
                    Ok(bind!(bound, query.values).execute(&mut **connection).await?.rows_affected())
                }
                Self::Postgres(connection) => {
                    let statement = for_postgres(&query.statement);
                    let bound = sqlx::query(&statement);
                    let bound = bind!(bound, query.values);
                    Ok(in_time!(connection, |open| bound.execute(&mut **open))?.rows_affected())
                }
            }
        })
    }

    /// Several statements that take no values.
    pub(super) fn raw(&mut self, statements: &'static str) -> BoxFuture<'_, Result<(), sqlx::Error>> {
        Box::pin(async move {
            match self {
                Self::Sqlite(connection) => connection.execute(statements).await.map(drop),
                Self::Postgres(connection) => in_time!(connection, |open| open.execute(statements)).map(drop),
            }
        })
    }

    /// Closes it, which undoes what it has begun.
    pub(super) fn discard(self) {
        match self {
            Self::Sqlite(connection) => drop(connection.detach()),
            Self::Postgres(connection) => close(connection),
        }
    }
}

fn close(connection: Option<PoolConnection<Postgres>>) {
    drop(connection.map(PoolConnection::detach));
}

fn too_late() -> sqlx::Error {
    let message = format!("no answer within {} s", postgres::PATIENCE.as_secs());
    sqlx::Error::Io(io::Error::new(io::ErrorKind::TimedOut, message))
}

// What stands in a comment of this form is for PostgreSQL only, whose writers run beside each other.
fn for_postgres(statement: &str) -> Cow<'_, str> {
    if !statement.contains("/*postgres:") {
        return Cow::Borrowed(statement);
    }
    Cow::Owned(statement.replace("/*postgres:", "").replace("*/", ""))
}
