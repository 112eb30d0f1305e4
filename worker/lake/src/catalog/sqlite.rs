//! The catalog in a SQLite file, in the two tables that PyIceberg's and Java's SQL catalogs also use.

use std::collections::HashMap;
use std::path::Path;
use std::time::Duration;

use bytes::Bytes;
use iceberg::MetadataLocation;
use iceberg::spec::TableMetadata;
use moulin_core::TableName;
use sqlx::Row as _;
use sqlx::sqlite::{SqliteConnectOptions, SqliteJournalMode, SqlitePool, SqlitePoolOptions, SqliteSynchronous};

use super::{CatalogSettings, Loaded, Swap, Swapped, next_metadata_location};
use crate::{Error, warehouse::Warehouse};

// As PyIceberg 0.12 creates them (its schema "v1").
const TABLES: &str = "CREATE TABLE IF NOT EXISTS iceberg_tables (
    catalog_name VARCHAR(255) NOT NULL,
    table_namespace VARCHAR(255) NOT NULL,
    table_name VARCHAR(255) NOT NULL,
    metadata_location VARCHAR(1000),
    previous_metadata_location VARCHAR(1000),
    iceberg_type VARCHAR(5),
    PRIMARY KEY (catalog_name, table_namespace, table_name))";
const NAMESPACES: &str = "CREATE TABLE IF NOT EXISTS iceberg_namespace_properties (
    catalog_name VARCHAR(255) NOT NULL,
    namespace VARCHAR(255) NOT NULL,
    property_key VARCHAR(255) NOT NULL,
    property_value VARCHAR(1000) NOT NULL,
    PRIMARY KEY (catalog_name, namespace, property_key))";

/// How long a writer waits for another one's lock on the file.
const BUSY: Duration = Duration::from_secs(30);
const CONNECTIONS: u32 = 8;

#[derive(Debug, Clone)]
pub(crate) struct Sqlite {
    pool: SqlitePool,
    name: String,
    uri: String,
    warehouse: Warehouse,
    /// Databases made by older tools have no column `iceberg_type`.
    has_type: bool,
}

impl Sqlite {
    pub(super) async fn open(settings: &CatalogSettings, warehouse: Warehouse) -> Result<Self, Error> {
        let uri = settings.uri.clone();
        let path = uri.strip_prefix("sqlite://").filter(|p| p.starts_with('/')).ok_or_else(|| {
            Error::invalid(format!(
                "catalog.uri `{uri}` names no absolute path; write sqlite:///absolute/path/catalog.db"
            ))
        })?;
        let path = path.split('?').next().unwrap_or(path);
        if let Some(folder) = Path::new(path).parent() {
            std::fs::create_dir_all(folder).map_err(|e| Error::storage("create", &folder.display().to_string(), e))?;
        }
        let options = SqliteConnectOptions::new()
            .filename(path)
            .create_if_missing(true)
            .journal_mode(SqliteJournalMode::Wal)
            .synchronous(SqliteSynchronous::Full)
            .busy_timeout(BUSY);
        let failed = |doing: &str| {
            let (uri, doing) = (uri.clone(), doing.to_owned());
            move |source| Error::Catalog { uri, doing, source }
        };
        let pool = SqlitePoolOptions::new()
            .max_connections(CONNECTIONS)
            .acquire_timeout(BUSY * 2)
            .connect_with(options)
            .await
            .map_err(failed("open it"))?;
        for statement in [TABLES, NAMESPACES] {
            sqlx::query(statement).execute(&pool).await.map_err(failed("create its tables"))?;
        }
        let columns = sqlx::query("SELECT name FROM pragma_table_info('iceberg_tables')")
            .fetch_all(&pool)
            .await
            .map_err(failed("read its columns"))?;
        let has_type = columns.iter().any(|row| row.get::<String, _>(0) == "iceberg_type");
        Ok(Self { pool, name: settings.name.clone(), uri, warehouse, has_type })
    }

    pub(super) async fn check(&self) -> Result<String, Error> {
        let row = sqlx::query("SELECT count(*) FROM iceberg_tables WHERE catalog_name = ?")
            .bind(&self.name)
            .fetch_one(&self.pool)
            .await
            .map_err(self.failed("count its tables"))?;
        Ok(format!("sqlite catalog `{}` with {} tables at {}", self.name, row.get::<i64, _>(0), self.uri))
    }

    pub(super) async fn load(&self, table: &TableName) -> Result<Option<Loaded>, Error> {
        // A swap between the query and the read is harmless: metadata files never change.
        let Some(location) = self.location(table).await? else { return Ok(None) };
        let metadata = TableMetadata::read_from(self.warehouse.io(&location), &location)
            .await
            .map_err(Error::iceberg(format!("{table} ({location})"), "read its metadata"))?;
        Ok(Some(Loaded { metadata, location }))
    }

    async fn location(&self, table: &TableName) -> Result<Option<String>, Error> {
        let row = sqlx::query(&format!(
            "SELECT metadata_location FROM iceberg_tables
             WHERE catalog_name = ? AND table_namespace = ? AND table_name = ? AND metadata_location IS NOT NULL{}",
            self.only_tables()
        ))
        .bind(&self.name)
        .bind(table.namespace.join("."))
        .bind(&table.name)
        .fetch_optional(&self.pool)
        .await
        .map_err(self.failed(&format!("look {table} up")))?;
        Ok(row.map(|row| row.get(0)))
    }

    pub(super) async fn create(&self, table: &TableName, metadata: &TableMetadata) -> Result<bool, Error> {
        let namespace = table.namespace.join(".");
        // The same row PyIceberg writes for a namespace without properties.
        sqlx::query("INSERT OR IGNORE INTO iceberg_namespace_properties VALUES (?, ?, 'exists', 'true')")
            .bind(&self.name)
            .bind(&namespace)
            .execute(&self.pool)
            .await
            .map_err(self.failed(&format!("create the namespace {namespace}")))?;
        let location = MetadataLocation::new_with_metadata(metadata.location(), metadata);
        self.write_metadata(table, metadata, &location).await?;
        let (columns, values) = if self.has_type { (", iceberg_type", ", 'TABLE'") } else { ("", "") };
        let inserted = sqlx::query(&format!(
            "INSERT OR IGNORE INTO iceberg_tables
             (catalog_name, table_namespace, table_name, metadata_location{columns}) VALUES (?, ?, ?, ?{values})"
        ))
        .bind(&self.name)
        .bind(&namespace)
        .bind(&table.name)
        .bind(location.to_string())
        .execute(&self.pool)
        .await
        .map_err(self.failed(&format!("create {table}")))?
        .rows_affected();
        if inserted == 0 {
            // Only this call knows the file, and the catalog did not take it.
            self.warehouse.remove(&location.to_string()).await?;
        }
        Ok(inserted == 1)
    }

    pub(super) async fn namespace(&self, namespace: &str) -> Result<HashMap<String, String>, Error> {
        let rows = sqlx::query(
            "SELECT property_key, property_value FROM iceberg_namespace_properties WHERE catalog_name = ? AND namespace = ?",
        )
        .bind(&self.name)
        .bind(namespace)
        .fetch_all(&self.pool)
        .await
        .map_err(self.failed(&format!("read the namespace {namespace}")))?;
        // Other tools allow values that are null.
        Ok(rows.into_iter().filter_map(|row| Some((row.try_get(0).ok()?, row.try_get(1).ok()?))).collect())
    }

    pub(super) async fn swap(&self, table: &TableName, base: &Loaded, swap: &Swap) -> Result<Swapped, Error> {
        for requirement in &swap.requirements {
            requirement.check(Some(&base.metadata)).map_err(Error::iceberg(table, "commit"))?;
        }
        let location = next_metadata_location(base, &swap.metadata);
        self.write_metadata(table, &swap.metadata, &location).await?;
        let location = location.to_string();
        let sent = sqlx::query(&format!(
            "UPDATE iceberg_tables SET metadata_location = ?, previous_metadata_location = ?
             WHERE catalog_name = ? AND table_namespace = ? AND table_name = ? AND metadata_location = ?{}",
            self.only_tables()
        ))
        .bind(&location)
        .bind(&base.location)
        .bind(&self.name)
        .bind(table.namespace.join("."))
        .bind(&table.name)
        .bind(&base.location)
        .execute(&self.pool)
        .await;
        match sent {
            Ok(done) if done.rows_affected() > 0 => return Ok(Swapped::Done(location)),
            Ok(_) => {}
            Err(e) if is_busy(&e) => {}
            Err(e @ sqlx::Error::PoolTimedOut) => return Err(self.failed(&format!("commit to {table}"))(e)),
            Err(e) => return Ok(Swapped::Unknown(self.failed(&format!("commit to {table}"))(e))),
        }
        self.warehouse.remove(&location).await?;
        Ok(Swapped::Conflict)
    }

    async fn write_metadata(
        &self,
        table: &TableName,
        metadata: &TableMetadata,
        location: &MetadataLocation,
    ) -> Result<(), Error> {
        let text = location.to_string();
        if text.ends_with(".gz.metadata.json") {
            metadata
                .write_to(self.warehouse.io(&text), location)
                .await
                .map_err(Error::iceberg(table, "write its metadata"))?;
            return self.warehouse.sync(&text).await;
        }
        let json = serde_json::to_vec(metadata).map_err(|e| Error::storage("write", &text, e))?;
        self.warehouse.write(&text, Bytes::from(json)).await
    }

    fn only_tables(&self) -> &'static str {
        if self.has_type { " AND (iceberg_type = 'TABLE' OR iceberg_type IS NULL)" } else { "" }
    }

    fn failed(&self, doing: &str) -> impl FnOnce(sqlx::Error) -> Error + use<> {
        let (uri, doing) = (self.uri.clone(), doing.to_owned());
        move |source| Error::Catalog { uri, doing, source }
    }
}

// SQLITE_BUSY and SQLITE_LOCKED, with their extended codes: the statement did nothing.
fn is_busy(error: &sqlx::Error) -> bool {
    let code =
        error.as_database_error().and_then(sqlx::error::DatabaseError::code).and_then(|code| code.parse::<u32>().ok());
    code.is_some_and(|code| matches!(code & 0xff, 5 | 6))
}
