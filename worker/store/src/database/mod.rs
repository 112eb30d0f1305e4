//! The two databases a job store can be in, behind one small interface: values are bound, rows are got.
//!
//! Everything that is not SQL is told apart here and nowhere else: how a database is opened, how a transaction
//! begins, how long an answer is waited for, and what an error of it means.

mod connection;
mod failure;
mod postgres;
mod sqlite;

use std::borrow::Cow;

use sqlx::postgres::{PgPool, PgRow};
use sqlx::sqlite::SqliteRow;
use sqlx::{Postgres, Sqlite, SqlitePool};

use connection::Connection;
pub(crate) use failure::{Tries, kind};

/// A statement with its values.
#[derive(Debug, Clone)]
pub(crate) struct Query {
    statement: Cow<'static, str>,
    values: Vec<Value>,
}

/// A value that a statement takes; each kind may be absent.
#[derive(Debug, Clone)]
pub(crate) enum Value {
    Text(Option<String>),
    Number(Option<i64>),
    Bytes(Option<Vec<u8>>),
}

/// A statement whose values are bound in the order of their numbers.
pub(crate) fn query(statement: &'static str) -> Query {
    Query { statement: Cow::Borrowed(statement), values: Vec::new() }
}

impl Query {
    /// Adds to the statement.
    pub(crate) fn text(mut self, text: &str) -> Self {
        self.statement.to_mut().push_str(text);
        self
    }

    /// Adds a value to the statement, where it stands now.
    pub(crate) fn value(mut self, value: impl Into<Value>) -> Self {
        self.values.push(value.into());
        let number = self.values.len();
        self.text(&format!("${number}"))
    }

    /// Adds a list of values in brackets.
    pub(crate) fn list<V: Into<Value>>(self, values: impl IntoIterator<Item = V>) -> Self {
        let begun = self.text("(");
        let list = values.into_iter().enumerate().fold(begun, |query, (at, value)| {
            let query = if at == 0 { query } else { query.text(", ") };
            query.value(value)
        });
        list.text(")")
    }

    pub(crate) fn bind(mut self, value: impl Into<Value>) -> Self {
        self.values.push(value.into());
        self
    }
}

impl From<&str> for Value {
    fn from(text: &str) -> Self {
        Self::Text(Some(text.to_owned()))
    }
}

impl From<&String> for Value {
    fn from(text: &String) -> Self {
        Self::Text(Some(text.clone()))
    }
}

impl From<String> for Value {
    fn from(text: String) -> Self {
        Self::Text(Some(text))
    }
}

impl From<&Option<String>> for Value {
    fn from(text: &Option<String>) -> Self {
        Self::Text(text.clone())
    }
}

impl From<Option<&String>> for Value {
    fn from(text: Option<&String>) -> Self {
        Self::Text(text.cloned())
    }
}

impl From<Option<String>> for Value {
    fn from(text: Option<String>) -> Self {
        Self::Text(text)
    }
}

impl From<i64> for Value {
    fn from(number: i64) -> Self {
        Self::Number(Some(number))
    }
}

impl From<Option<i64>> for Value {
    fn from(number: Option<i64>) -> Self {
        Self::Number(number)
    }
}

impl From<&Vec<u8>> for Value {
    fn from(bytes: &Vec<u8>) -> Self {
        Self::Bytes(Some(bytes.clone()))
    }
}

/// A row of an answer.
pub(crate) enum Row {
    Sqlite(SqliteRow),
    Postgres(PgRow),
}

impl Row {
    /// The value of a column.
    ///
    /// # Panics
    /// When the statement has no such column or the schema gives it another type: a defect.
    pub(crate) fn get<T>(&self, column: &str) -> T
    where
        T: for<'r> sqlx::Decode<'r, Sqlite> + sqlx::Type<Sqlite>,
        T: for<'r> sqlx::Decode<'r, Postgres> + sqlx::Type<Postgres>,
    {
        match self {
            Self::Sqlite(row) => sqlx::Row::get(row, column),
            Self::Postgres(row) => sqlx::Row::get(row, column),
        }
    }
}

#[derive(Debug, Clone)]
pub(crate) enum Database {
    Sqlite(SqlitePool),
    Postgres(PgPool),
}

impl Database {
    /// The database of a file, made when absent.
    pub(crate) async fn sqlite(path: &str) -> Result<Self, sqlx::Error> {
        sqlite::open(path).await.map(Self::Sqlite)
    }

    /// The database of a server.
    pub(crate) async fn postgres(options: sqlx::postgres::PgConnectOptions) -> Result<Self, sqlx::Error> {
        postgres::open(options).await.map(Self::Postgres)
    }

    /// Its schema, one text a version.
    pub(crate) fn schema(&self) -> &'static [&'static str] {
        match self {
            Self::Sqlite(_) => &crate::sql::SQLITE_SCHEMA,
            Self::Postgres(_) => &crate::sql::POSTGRES_SCHEMA,
        }
    }

    /// Its kind, for people.
    pub(crate) fn name(&self) -> &'static str {
        match self {
            Self::Sqlite(_) => "sqlite",
            Self::Postgres(_) => "postgresql",
        }
    }

    async fn connection(&self) -> Result<Connection, sqlx::Error> {
        match self {
            Self::Sqlite(pool) => pool.acquire().await.map(Connection::from),
            Self::Postgres(pool) => pool.acquire().await.map(Connection::from),
        }
    }

    /// All rows of an answer.
    pub(crate) async fn rows(&self, query: Query) -> Result<Vec<Row>, sqlx::Error> {
        let mut tries = Tries::default();
        loop {
            match self.connection().await?.rows(query.clone()).await {
                Err(error) if tries.again(&error).await => {}
                answer => return answer,
            }
        }
    }

    /// The first row of an answer.
    pub(crate) async fn row(&self, query: Query) -> Result<Option<Row>, sqlx::Error> {
        Ok(self.rows(query).await?.into_iter().next())
    }

    /// How many rows a statement changed.
    pub(crate) async fn execute(&self, query: Query) -> Result<u64, sqlx::Error> {
        let mut tries = Tries::default();
        loop {
            match self.connection().await?.execute(query.clone()).await {
                Err(error) if tries.again(&error).await => {}
                answer => return answer,
            }
        }
    }

    /// A transaction. In SQLite it holds the write lock from its first moment: waiting for it later would fail.
    pub(crate) async fn begin(&self) -> Result<Transaction, sqlx::Error> {
        let mut connection = self.connection().await?;
        let begin = match self {
            Self::Sqlite(_) => "BEGIN IMMEDIATE",
            Self::Postgres(_) => "BEGIN",
        };
        if let Err(error) = connection.raw(begin).await {
            connection.discard();
            return Err(error);
        }
        Ok(Transaction { connection: Some(connection) })
    }

    /// A transaction that nobody else's of this kind runs beside.
    pub(crate) async fn begin_alone(&self) -> Result<Transaction, sqlx::Error> {
        let mut transaction = self.begin().await?;
        if let Self::Postgres(_) = self {
            transaction.raw(postgres::SCHEMA_LOCK).await?;
        }
        Ok(transaction)
    }
}

/// Statements of which all are done or none is. Dropped before its end, it is undone with its connection.
pub(crate) struct Transaction {
    connection: Option<Connection>,
}

impl Transaction {
    fn connection(&mut self) -> Result<&mut Connection, sqlx::Error> {
        self.connection.as_mut().ok_or(sqlx::Error::PoolClosed)
    }

    pub(crate) async fn row(&mut self, query: Query) -> Result<Option<Row>, sqlx::Error> {
        Ok(self.connection()?.rows(query).await?.into_iter().next())
    }

    pub(crate) async fn rows(&mut self, query: Query) -> Result<Vec<Row>, sqlx::Error> {
        self.connection()?.rows(query).await
    }

    pub(crate) async fn execute(&mut self, query: Query) -> Result<u64, sqlx::Error> {
        self.connection()?.execute(query).await
    }

    /// Several statements that take no values.
    pub(crate) async fn raw(&mut self, statements: &'static str) -> Result<(), sqlx::Error> {
        self.connection()?.raw(statements).await
    }

    pub(crate) async fn commit(mut self) -> Result<(), sqlx::Error> {
        self.raw("COMMIT").await?;
        self.connection = None;
        Ok(())
    }

    pub(crate) async fn rollback(mut self) -> Result<(), sqlx::Error> {
        self.raw("ROLLBACK").await?;
        self.connection = None;
        Ok(())
    }
}

impl Drop for Transaction {
    fn drop(&mut self) {
        if let Some(connection) = self.connection.take() {
            connection.discard();
        }
    }
}
