//! The catalog in a SQL database, in the two tables that PyIceberg's and Java's SQL catalogs also use.
//!
//! SQLite and PostgreSQL read the same statements; what differs between them is in [`database`].

mod database;
mod document;
mod known;

use std::collections::HashMap;

use bytes::Bytes;
use iceberg::MetadataLocation;
use iceberg::spec::TableMetadata;
use moulin_core::{FaultKind, TableName, without_secrets};

use super::{CatalogSettings, Loaded, Swap, Swapped, next_metadata_location};
use crate::{Error, warehouse::Warehouse};
use database::Database;
pub(crate) use database::Failure;
use document::Document;
use known::Known;

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

// The same row PyIceberg writes for a namespace without properties.
const INSERT_NAMESPACE: &str = "\
    INSERT INTO iceberg_namespace_properties (catalog_name, namespace, property_key, property_value) \
    VALUES ($1, $2, 'exists', 'true') ON CONFLICT DO NOTHING";
const NAMESPACE: &str = "\
    SELECT property_key, property_value FROM iceberg_namespace_properties WHERE catalog_name = $1 AND namespace = $2";
/// How often a table is looked up whose metadata file is removed before it is read.
const LOOKS: u32 = 5;
const COUNT: &str = "SELECT CAST(count(*) AS TEXT) FROM iceberg_tables WHERE catalog_name = $1";

#[derive(Debug, Clone)]
pub(crate) struct Sql {
    database: Database,
    name: String,
    /// Without a password.
    uri: String,
    warehouse: Warehouse,
    known: Known,
    /// Databases made by older tools have no column `iceberg_type`.
    has_type: bool,
}

impl Sql {
    pub(super) async fn open(settings: &CatalogSettings, warehouse: Warehouse) -> Result<Self, Error> {
        let uri = without_secrets(&settings.uri);
        let unopened = |failure| failed(&uri, "open it", failure);
        let database = if settings.uri.starts_with("sqlite:") {
            Database::sqlite(&settings.uri, unopened).await?
        } else {
            Database::postgres(&settings.uri, unopened).await?
        };
        let columns = |table| {
            let (database, uri) = (&database, &uri);
            async move { database.columns(table).await.map_err(|e| failed(uri, "read its columns", e)) }
        };
        // Looked for first: whoever may use the tables need not be allowed to create some.
        for (table, statement) in [("iceberg_tables", TABLES), ("iceberg_namespace_properties", NAMESPACES)] {
            if columns(table).await?.is_empty() {
                let created = database.create_table(statement).await;
                created.map_err(|e| failed(&uri, "create its tables", e))?;
            }
        }
        let has_type = columns("iceberg_tables").await?.iter().any(|name| name == "iceberg_type");
        Ok(Self { database, name: settings.name.clone(), uri, warehouse, known: Known::default(), has_type })
    }

    pub(super) async fn check(&self) -> Result<String, Error> {
        let rows = self.database.rows(COUNT, &[&self.name]).await.map_err(|e| self.failed("count its tables", e))?;
        let count = first(rows).unwrap_or_default();
        Ok(format!("{} catalog `{}` with {count} tables at {}", self.database.name(), self.name, self.uri))
    }

    pub(super) async fn load(&self, table: &TableName) -> Result<Option<Loaded>, Error> {
        // A swap between the query and the read is harmless, since metadata files never change; but whoever swapped may
        // have removed an old one.
        let Some(mut location) = self.location(table).await? else { return Ok(None) };
        for _ in 1..LOOKS {
            match self.read(table, location.clone()).await {
                Err(error) if error.kind() == FaultKind::NotFound => match self.location(table).await? {
                    Some(now) if now == location => return Err(error),
                    Some(now) => location = now,
                    None => return Ok(None),
                },
                read => return read.map(Some),
            }
        }
        self.read(table, location).await.map(Some)
    }

    /// The table as a metadata file has it.
    async fn read(&self, table: &TableName, location: String) -> Result<Loaded, Error> {
        if let Some(loaded) = self.known.get(table, &location) {
            return Ok(loaded);
        }
        let metadata = TableMetadata::read_from(&self.warehouse.file_io(), &location)
            .await
            .map_err(Error::iceberg(format!("{table} ({location})"), "read its metadata"))?;
        let loaded = Loaded::new(metadata, location);
        self.known.put(table, loaded.clone(), None);
        Ok(loaded)
    }

    async fn location(&self, table: &TableName) -> Result<Option<String>, Error> {
        let statement = format!(
            "SELECT metadata_location FROM iceberg_tables
             WHERE catalog_name = $1 AND table_namespace = $2 AND table_name = $3 AND metadata_location IS NOT NULL{}",
            self.only_tables()
        );
        let rows = self.database.rows(&statement, &[&self.name, &table.namespace.join("."), &table.name]).await;
        Ok(first(rows.map_err(|e| self.failed(&format!("look {table} up"), e))?))
    }

    pub(super) async fn create(&self, table: &TableName, metadata: &TableMetadata) -> Result<bool, Error> {
        let namespace = table.namespace.join(".");
        self.database
            .execute_again(INSERT_NAMESPACE, &[&self.name, &namespace])
            .await
            .map_err(|e| self.failed(&format!("create the namespace {namespace}"), e))?;
        let location = MetadataLocation::new_with_metadata(metadata.location(), metadata);
        self.write_metadata(table, metadata, &location, None).await?;
        let location = location.to_string();
        let (columns, values) = if self.has_type { (", iceberg_type", ", 'TABLE'") } else { ("", "") };
        let statement = format!(
            "INSERT INTO iceberg_tables (catalog_name, table_namespace, table_name, metadata_location{columns})
             VALUES ($1, $2, $3, $4{values}) ON CONFLICT DO NOTHING"
        );
        let inserted = self
            .database
            .execute_again(&statement, &[&self.name, &namespace, &table.name, &location])
            .await
            .map_err(|e| self.failed(&format!("create {table}"), e))?;
        if inserted == 0 {
            // Only this call knows the file, and the catalog did not take it.
            self.warehouse.remove(&location).await?;
        }
        Ok(inserted == 1)
    }

    pub(super) async fn namespace(&self, namespace: &str) -> Result<HashMap<String, String>, Error> {
        let rows = self
            .database
            .rows(NAMESPACE, &[&self.name, namespace])
            .await
            .map_err(|e| self.failed(&format!("read the namespace {namespace}"), e))?;
        // Other tools allow values that are null.
        let pairs = rows.into_iter().filter_map(|row| {
            let mut row = row.into_iter();
            Some((row.next()??, row.next()??))
        });
        Ok(pairs.collect())
    }

    pub(super) async fn swap(&self, table: &TableName, base: &Loaded, swap: &Swap) -> Result<Swapped, Error> {
        for requirement in &swap.requirements {
            requirement.check(Some(&base.metadata)).map_err(Error::iceberg(table, "commit"))?;
        }
        let location = next_metadata_location(base, &swap.metadata);
        let before = self.known.take_document(table, &base.location);
        let next = before.and_then(|before| before.next(&base.location, swap));
        let document = self.write_metadata(table, &swap.metadata, &location, next).await?;
        let location = location.to_string();
        let statement = format!(
            "UPDATE iceberg_tables SET metadata_location = $1, previous_metadata_location = $2
             WHERE catalog_name = $3 AND table_namespace = $4 AND table_name = $5 AND metadata_location = $2{}",
            self.only_tables()
        );
        let values = [&location, &base.location, &self.name, &table.namespace.join("."), &table.name];
        let doing = format!("commit to {table}");
        let refused = match self.database.execute(&statement, &values.map(String::as_str)).await {
            Ok(1..) => {
                self.known.put(table, base.followed_by(swap, location.clone()), document);
                return Ok(Swapped::Done(location));
            }
            Ok(0) | Err(Failure::GaveWay(_)) => None,
            Err(e @ (Failure::NotSent(_) | Failure::Refused(_))) => Some(self.failed(&doing, e)),
            Err(e @ (Failure::Lost(_) | Failure::TooLate)) => return Ok(Swapped::Unknown(self.failed(&doing, e))),
        };
        self.warehouse.remove(&location).await?;
        refused.map_or(Ok(Swapped::Conflict), Err)
    }

    /// Writes a metadata file, `next` if that is known to be it; gives what the one after it is made of.
    async fn write_metadata(
        &self,
        table: &TableName,
        metadata: &TableMetadata,
        location: &MetadataLocation,
        next: Option<(String, Document)>,
    ) -> Result<Option<Document>, Error> {
        let text = location.to_string();
        if text.ends_with(".gz.metadata.json") {
            metadata
                .write_to(&self.warehouse.io(&text), location)
                .await
                .map_err(Error::iceberg(table, "write its metadata"))?;
            self.warehouse.sync(&text).await?;
            return Ok(None);
        }
        let (json, document) = match next {
            Some((json, document)) => (json, Some(document)),
            None => Document::of(metadata).map_err(|e| Error::storage("write", &text, e))?,
        };
        self.warehouse.write(&text, Bytes::from(json)).await?;
        Ok(document)
    }

    fn only_tables(&self) -> &'static str {
        if self.has_type { " AND (iceberg_type = 'TABLE' OR iceberg_type IS NULL)" } else { "" }
    }

    fn failed(&self, doing: &str, failure: Failure) -> Error {
        failed(&self.uri, doing, failure)
    }
}

fn failed(uri: &str, doing: &str, failure: Failure) -> Error {
    Error::Catalog { uri: uri.to_owned(), doing: doing.to_owned(), kind: failure.kind(), source: Box::new(failure) }
}

fn first(rows: Vec<Vec<Option<String>>>) -> Option<String> {
    rows.into_iter().next().and_then(|row| row.into_iter().next().flatten())
}
