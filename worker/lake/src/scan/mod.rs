//! The rows of a table at one snapshot: columns by field id, deletes applied, files that cannot hold a wanted row left out.
//!
//! What is read is decided once, by [`Lake::pin`]; [`TableSnapshot::scan`] then reads the same rows however often and
//! whenever it is called, until the snapshot expires.

mod files;
mod filter;
mod off_thread;
mod pin;
mod read;

use std::sync::Arc;
use std::sync::atomic::AtomicU64;

use arrow::datatypes::SchemaRef;
use iceberg::spec::SchemaRef as TableSchemaRef;
use iceberg::table::Table;
use iceberg::{NamespaceIdent, Runtime, TableIdent};
use moulin_core::{Pin, TableInput, TableName};
use tokio::runtime::Handle;

use crate::lake::without_metadata;
use crate::{Error, Lake, schema};

pub use files::TableFile;
pub use filter::{Filter, FilterTest, FilterValue, Relation};

/// A table at one snapshot; cheap to clone.
#[derive(Debug, Clone)]
pub struct TableSnapshot {
    name: TableName,
    table: Table,
    pin: Pin,
    columns: TableSchemaRef,
    schema: SchemaRef,
    runtime: Handle,
}

/// What is wanted of a table.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Scan {
    /// Places of the columns in the table's schema, in the order they are wanted; may be none, then rows are counted.
    pub columns: Vec<usize>,
    /// What holds for every wanted row. Rows for which it does not may be left out, and may not.
    pub filters: Vec<Filter>,
    /// Files read at a time; at least one.
    pub files_at_a_time: usize,
}

/// What the scans of a table have done so far.
#[derive(Debug, Default)]
pub struct ScanCounts {
    /// Rows handed on.
    pub rows: AtomicU64,
    /// Data files that are to be read, as far as is known.
    pub files: AtomicU64,
    /// Of those, read to their end.
    pub files_done: AtomicU64,
    /// Data files left out because of the filters.
    pub files_pruned: AtomicU64,
    /// Size of the data files that are to be read.
    pub bytes: AtomicU64,
    /// Size of those read to their end.
    pub bytes_done: AtomicU64,
}

impl Lake {
    /// Finds the snapshot and the columns that an input asks for, as the table is now.
    ///
    /// A table, a branch or a moment gives the table's columns of now, a snapshot or a tag those of the snapshot.
    ///
    /// # Errors
    /// `NotFound`: the table, the snapshot or the ref is not there, or the table is younger than the moment.
    pub async fn pin(&self, input: &TableInput) -> Result<Pin, Error> {
        let loaded = self.load(&input.table).await?;
        pin::find(&loaded.metadata, input)
    }

    /// Opens a table as it stood when it was pinned.
    ///
    /// # Errors
    /// `NotFound`: the table was dropped or the snapshot has expired.
    pub async fn table_at(&self, name: &TableName, pin: Pin) -> Result<TableSnapshot, Error> {
        let loaded = self.load(name).await?;
        let metadata = &loaded.metadata;
        if let Some(id) = pin.snapshot_id
            && metadata.snapshot_by_id(id).is_none()
        {
            return Err(pin::no_snapshot(name, id));
        }
        let columns = metadata
            .schema_by_id(pin.schema_id)
            .cloned()
            .ok_or_else(|| Error::NotFound { what: format!("schema {} of table {name}", pin.schema_id) })?;
        let schema = without_metadata(schema::arrow_schema(name, &columns)?.as_ref());
        let broken = |e| Error::iceberg(name, "open it")(e);
        let namespace = NamespaceIdent::from_vec(name.namespace.clone()).map_err(broken)?;
        let table = Table::builder()
            .file_io(self.warehouse().file_io())
            .metadata(loaded.metadata)
            .metadata_location(loaded.location)
            .identifier(TableIdent::new(namespace, name.name.clone()))
            .runtime(Runtime::try_current().map_err(broken)?)
            .readonly(true)
            .build()
            .map_err(broken)?;
        Ok(TableSnapshot { name: name.clone(), table, pin, columns, schema, runtime: Handle::current() })
    }
}

impl TableSnapshot {
    /// The table.
    #[must_use]
    pub fn name(&self) -> &TableName {
        &self.name
    }

    /// What was pinned.
    #[must_use]
    pub fn pin(&self) -> Pin {
        self.pin
    }

    /// Its columns, in Arrow's types as rows come.
    #[must_use]
    pub fn schema(&self) -> &SchemaRef {
        &self.schema
    }

    /// Rows of its data files, deleted ones among them; `None`: the snapshot does not say.
    #[must_use]
    pub fn rows(&self) -> Option<u64> {
        self.total("total-records")
    }

    /// Its data files; `None`: the snapshot does not say.
    #[must_use]
    pub fn files(&self) -> Option<u64> {
        self.total("total-data-files")
    }

    /// Size of its files as stored; `None`: the snapshot does not say.
    #[must_use]
    pub fn bytes(&self) -> Option<u64> {
        self.total("total-files-size")
    }

    fn total(&self, property: &str) -> Option<u64> {
        let Some(id) = self.pin.snapshot_id else { return Some(0) };
        let snapshot = self.table.metadata().snapshot_by_id(id)?;
        snapshot.summary().additional_properties.get(property)?.parse().ok()
    }

    /// The schema of a scan's batches.
    ///
    /// # Errors
    /// `Invalid`: there is no such column.
    pub fn projected(&self, columns: &[usize]) -> Result<SchemaRef, Error> {
        let projected = self.schema.project(columns);
        projected.map(Arc::new).map_err(|e| Error::invalid(format!("{}: {e}", self.name)))
    }
}
