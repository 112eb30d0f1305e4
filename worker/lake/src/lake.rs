//! The front door: one catalog, its tables, and what a job does with them.

use std::collections::{BTreeSet, HashMap, HashSet};
use std::sync::Arc;

use arrow::array::RecordBatch;
use arrow::datatypes::{Schema as ArrowSchema, SchemaRef};
use bytes::Bytes;
use futures::stream::BoxStream;
use futures::{StreamExt as _, TryStreamExt as _};
use iceberg::spec::{FormatVersion, Schema, TableMetadata, TableMetadataBuilder, TableProperties};
use moulin_core::{
    Contract, ContractMode, FaultKind, JobId, Landing, StorageSettings, TableName, Token, without_secrets,
};

use crate::catalog::{Catalog, Loaded};
use crate::schema::{self, Alignment};
use crate::warehouse::Warehouse;
use crate::write::FileSettings;
use crate::{CatalogSettings, Commit, Committed, Error, Landed, WriteOptions, Writer, commit, read};

/// Reads at once when many files are removed.
const REMOVALS: usize = 16;

/// Stands for the location of a table that is not there yet, in a catalog that chooses it.
const CHOSEN_PLACE: &str = "chosen by the catalog";

/// An Iceberg catalog and its warehouse; cheap to clone.
#[derive(Debug, Clone)]
pub struct Lake {
    catalog: Catalog,
    warehouse: Warehouse,
    root: String,
    queues: Arc<commit::Queues>,
}

/// What landing would do.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TablePlan {
    /// Whether the table is there; if not, the job makes it.
    pub exists: bool,
    /// Where the table's files are or will be; of a new table of a REST catalog: that the catalog chooses.
    pub location: String,
    /// Its partition fields, e.g. `month(time_hour)`; empty: not partitioned.
    pub partition_by: Vec<String>,
}

/// A table that is there and takes the job's rows.
#[derive(Debug, Clone)]
pub struct Target {
    pub(crate) table: TableName,
    pub(crate) metadata: Arc<TableMetadata>,
    pub(crate) alignment: Arc<Alignment>,
    pub(crate) settings: Arc<FileSettings>,
    /// Whether `metadata` has a schema that the table does not have yet: the commit brings it.
    pub(crate) evolved: bool,
}

impl Target {
    /// The table.
    #[must_use]
    pub fn table(&self) -> &TableName {
        &self.table
    }

    /// Whether nothing has ever been committed to it.
    #[must_use]
    pub fn is_new(&self) -> bool {
        self.metadata.snapshots().len() == 0
    }

    /// What tells it apart from another table of its name.
    #[must_use]
    pub fn uuid(&self) -> String {
        self.metadata.uuid().to_string()
    }

    /// Where its files are.
    #[must_use]
    pub fn location(&self) -> &str {
        self.metadata.location()
    }
}

impl Lake {
    /// Opens the catalog; an SQLite file and the tables of a SQL catalog are created when they are absent.
    ///
    /// # Errors
    /// `InvalidSpec` for a catalog that there is not; `Unavailable` when the database or the server does not answer;
    /// `PermissionDenied` when it does not take the credentials.
    pub async fn open(catalog: &CatalogSettings, storage: &StorageSettings) -> Result<Self, Error> {
        let root = if catalog.is_rest() { String::new() } else { warehouse_root(&catalog.warehouse)? };
        Self::over(catalog, Warehouse::new(storage), root).await
    }

    pub(crate) async fn over(settings: &CatalogSettings, warehouse: Warehouse, root: String) -> Result<Self, Error> {
        let catalog = Catalog::open(settings, warehouse.clone()).await?;
        Ok(Self { catalog, warehouse, root, queues: Arc::default() })
    }

    /// Asks the catalog something; says in words what was found.
    ///
    /// # Errors
    /// `Unavailable` when it does not answer.
    pub async fn check_catalog(&self) -> Result<String, Error> {
        self.catalog.check().await
    }

    /// Writes, reads and removes a small file in the warehouse; says in words what was found.
    ///
    /// # Errors
    /// `PermissionDenied`, `NotFound` or `Unavailable`, naming the file.
    pub async fn check_warehouse(&self) -> Result<String, Error> {
        if self.catalog.chooses_places() {
            return Ok("the catalog says where tables are; their files are reached when a table is".to_owned());
        }
        let location = format!("{}/.moulin-check-{}", self.root, uuid::Uuid::new_v4().simple());
        let content = Bytes::from_static(b"written, read and removed by a check");
        self.warehouse.write(&location, content.clone()).await?;
        let found = self.warehouse.read(&location).await;
        self.warehouse.remove(&location).await?;
        if found? != content {
            return Err(Error::storage("read", &location, "what was read is not what was written"));
        }
        Ok(format!("warehouse {} can be written, read and cleaned", without_secrets(&self.root)))
    }

    /// What landing would do. Changes nothing.
    ///
    /// # Errors
    /// `SchemaMismatch` when the table does not take the rows, and the contract does not let it follow them;
    /// `InvalidSpec` for partition fields or properties that cannot be.
    pub async fn plan(&self, landing: &Landing, schema: &SchemaRef, contract: &Contract) -> Result<TablePlan, Error> {
        if let Some(loaded) = self.catalog.load(&landing.table).await? {
            fitting(landing, &loaded.metadata, schema, contract)?;
            let (table_schema, spec) = (loaded.metadata.current_schema(), loaded.metadata.default_partition_spec());
            let partition_by = schema::describe_spec(table_schema, spec);
            return Ok(TablePlan { exists: true, location: loaded.metadata.location().to_owned(), partition_by });
        }
        let location = self.new_location(&landing.table).await?;
        new_metadata(landing, schema, location.clone())?;
        let partition_by = landing.partition_by.iter().map(ToString::to_string).collect();
        Ok(TablePlan { exists: false, location, partition_by })
    }

    /// The table as it is, with its columns, whatever rows it takes; `None`: it is not there.
    ///
    /// # Errors
    /// `Unavailable` when the catalog does not answer.
    pub async fn existing(&self, table: &TableName) -> Result<Option<(TablePlan, SchemaRef)>, Error> {
        let Some(loaded) = self.catalog.load(table).await? else { return Ok(None) };
        let (table_schema, spec) = (loaded.metadata.current_schema(), loaded.metadata.default_partition_spec());
        let partition_by = schema::describe_spec(table_schema, spec);
        let columns = without_metadata(schema::arrow_schema(table, table_schema)?.as_ref());
        let location = loaded.metadata.location().to_owned();
        Ok(Some((TablePlan { exists: true, location, partition_by }, columns)))
    }

    /// Loads the table for landing rows that it takes as it is. See [`Lake::target_that_follows`].
    ///
    /// # Errors
    /// As [`Lake::plan`].
    pub async fn target(&self, landing: &Landing, schema: &SchemaRef) -> Result<Target, Error> {
        let freeze = ContractMode::Freeze;
        self.target_that_follows(landing, schema, &Contract { tables: freeze, columns: freeze, types: freeze }).await
    }

    /// Loads the table for landing, creating namespace and table when they are absent; two at once is fine.
    ///
    /// Where the table's schema follows the rows, because `contract` evolves columns or types, it does so with the
    /// commit: a job that fails leaves the table as it was.
    ///
    /// # Errors
    /// As [`Lake::plan`].
    pub async fn target_that_follows(
        &self,
        landing: &Landing,
        schema: &SchemaRef,
        contract: &Contract,
    ) -> Result<Target, Error> {
        let table = &landing.table;
        if let Some(loaded) = self.catalog.load(table).await? {
            return target_of(landing, loaded, schema, contract);
        }
        let location = self.new_location(table).await?;
        let metadata = new_metadata(landing, schema, location)?;
        if self.catalog.create(table, &metadata).await? {
            tracing::info!(%table, location = metadata.location(), "created the table");
        }
        // Also the loser of two creations goes on with what the catalog now holds.
        let loaded =
            self.catalog.load(table).await?.ok_or_else(|| Error::NotFound { what: format!("table {table}") })?;
        target_of(landing, loaded, schema, contract)
    }

    /// A writer of data files for one attempt of a job.
    #[must_use]
    pub fn writer(&self, target: &Target, options: WriteOptions) -> Writer {
        Writer::new(target, options, self.warehouse.clone())
    }

    /// What tells the table apart from another one of its name; `None`: it is not there.
    ///
    /// # Errors
    /// `Unavailable` when the catalog does not answer.
    pub async fn table_uuid(&self, table: &TableName) -> Result<Option<String>, Error> {
        Ok(self.catalog.load(table).await?.map(|loaded| loaded.metadata.uuid().to_string()))
    }

    /// The snapshot that carries the token, if the table as it stands now has one.
    ///
    /// # Errors
    /// The catalog or the table's metadata cannot be read. A table that does not exist has no such snapshot.
    pub async fn find_token(&self, table: &TableName, token: &Token) -> Result<Option<Committed>, Error> {
        let loaded = self.catalog.load(table).await?;
        Ok(loaded.and_then(|loaded| commit::find(&loaded, token)))
    }

    /// The commit of a token whose snapshot may have been expired: found by the table's earlier metadata, or by data files
    /// that the table refers to.
    ///
    /// `named`: data files of the job by location, each with its attempt. Reads many small files: only for a job of which
    /// it is not known whether an attempt committed.
    ///
    /// # Errors
    /// As [`Lake::find_token`]. A table that does not exist has no such commit.
    pub async fn find_expired(
        &self,
        table: &TableName,
        token: &Token,
        named: &HashMap<String, u32>,
    ) -> Result<Option<Committed>, Error> {
        let Some(loaded) = self.catalog.load(table).await? else { return Ok(None) };
        commit::find_expired(&self.warehouse, table, &loaded, token, named).await
    }

    /// Makes the change visible in one snapshot that carries the token; the same token never twice.
    ///
    /// Commits that only add files and wait for the same table at the same moment share a snapshot.
    ///
    /// # Errors
    /// `CommitConflict` when other writers win every try, or the table is no more what the files were written for;
    /// `StaleEpoch` when a newer generation of the token's key has landed; `NotFound` when the table, or a file that
    /// is to go, is not there; `CommitUnknown` when an answer was lost and looking does not tell. No data file is
    /// removed from the warehouse in any case.
    ///
    /// # Cancel safety
    /// Dropped half-way, the commit goes on, and may or may not land; [`Lake::find_token`] tells.
    pub async fn commit(&self, target: &Target, commit: Commit) -> Result<Committed, Error> {
        let member = commit::Member { target: target.clone(), commit };
        self.queues.commit(&self.catalog, &self.warehouse, member).await
    }

    /// Moves the table on by an empty snapshot, once for each `token`: what was to be swapped on what the table has been is
    /// not swapped any more. Together with a [`crate::Fence`] it ends attempts that may still be about to commit.
    ///
    /// # Errors
    /// As [`Lake::commit`]. Nothing can be committed to a table that does not exist: that is fine.
    pub async fn move_on(&self, table: &TableName, token: Token, attempt: u32) -> Result<(), Error> {
        let Some(loaded) = self.catalog.load(table).await? else { return Ok(()) };
        let schema = without_metadata(schema::arrow_schema(table, loaded.metadata.current_schema())?.as_ref());
        let target = target_of(&Landing::new(table.clone()), loaded, &schema, &Contract::default())?;
        let done = self.commit(&target, Commit::new(token, attempt, Landed::default())).await;
        match done.map(drop) {
            // Dropped meanwhile.
            Err(error)
                if error.kind() == FaultKind::NotFound && self.table_uuid(table).await? != Some(target.uuid()) =>
            {
                Ok(())
            }
            other => other,
        }
    }

    /// The generations of the token's key before its own whose tokens snapshots of the table carry, newest first.
    ///
    /// # Errors
    /// The catalog or the table's metadata cannot be read. A table that does not exist has none.
    pub async fn generations_before(&self, table: &TableName, token: &Token) -> Result<Vec<(u32, i64)>, Error> {
        let Some(loaded) = self.catalog.load(table).await? else { return Ok(Vec::new()) };
        let own = token.generation().unwrap_or_default();
        let mut found: Vec<_> =
            commit::generations(&loaded, token).filter(|(generation, _)| *generation < own).collect();
        found.sort_unstable_by_key(|(generation, _)| std::cmp::Reverse(*generation));
        found.dedup_by_key(|(generation, _)| *generation);
        Ok(found)
    }

    /// The commits whose snapshots' summary has a property: token, snapshot and value, in no order.
    ///
    /// # Errors
    /// The catalog or the table's metadata cannot be read. A table that does not exist has none.
    pub async fn commits_with(&self, table: &TableName, property: &str) -> Result<Vec<(Token, i64, String)>, Error> {
        let loaded = self.catalog.load(table).await?;
        Ok(loaded.map_or_else(Vec::new, |loaded| commit::with_property(&loaded.metadata, property).collect()))
    }

    /// The rows of data files that no snapshot has to refer to, one file after the other, with the columns that are in them.
    ///
    /// # Errors
    /// In the stream: `NotFound` for a file that is gone, `Unavailable` for one that cannot be read.
    #[must_use]
    pub fn rows_in_files(&self, locations: Vec<String>) -> BoxStream<'static, Result<RecordBatch, Error>> {
        read::in_files(self.warehouse.clone(), locations).boxed()
    }

    /// Where the data files are that a job added in a snapshot.
    ///
    /// # Errors
    /// `NotFound` when the table or the snapshot does not exist (any more).
    pub async fn files_added(
        &self,
        table: &TableName,
        snapshot_id: i64,
        job: &JobId,
    ) -> Result<BTreeSet<String>, Error> {
        let loaded = self.load(table).await?;
        let added = read::added_files(&self.warehouse, table, &loaded.metadata, snapshot_id, Some(job)).await?;
        Ok(added.locations().collect())
    }

    /// Rows of those of the data files that are in the table now.
    ///
    /// # Errors
    /// `NotFound` when the table does not exist. Reads every manifest of the table.
    pub async fn rows_in(&self, table: &TableName, locations: &BTreeSet<String>) -> Result<u64, Error> {
        let loaded = self.load(table).await?;
        commit::rows_in(&self.warehouse, table, &loaded.metadata, locations).await
    }

    /// Removes data files by location; files that are absent are fine.
    ///
    /// # Errors
    /// The first file that could not be removed; the others are gone.
    pub async fn remove_files(&self, uris: &[String]) -> Result<(), Error> {
        // Owned names: a closure over borrowed ones makes a future that cannot be spawned.
        let removals = futures::stream::iter(uris.to_vec())
            .map(|uri| async move { self.warehouse.remove(&uri).await })
            .buffer_unordered(REMOVALS);
        let failures: Vec<Error> = removals.filter_map(|done| async { done.err() }).collect().await;
        failures.into_iter().next().map_or(Ok(()), Err)
    }

    /// The rows a snapshot added, exactly those of the data files it added, in the table's columns as they were
    /// at that snapshot. A snapshot may be that of several jobs: `job` asks for the rows of one.
    ///
    /// Memory is bounded by a few batches; dropping the stream stops the reading.
    ///
    /// # Errors
    /// `NotFound` when the table or the snapshot does not exist (any more).
    pub async fn added_by(
        &self,
        table: &TableName,
        snapshot_id: i64,
        job: Option<&JobId>,
    ) -> Result<(SchemaRef, BoxStream<'static, Result<arrow::array::RecordBatch, Error>>), Error> {
        let loaded = self.load(table).await?;
        let added = read::added_files(&self.warehouse, table, &loaded.metadata, snapshot_id, job).await?;
        let schema = schema::arrow_schema(table, &added.schema)?;
        let schema = without_metadata(&schema);
        let stream = read::stream(self.warehouse.clone(), added, schema.clone());
        Ok((schema, stream.into_stream().boxed()))
    }

    /// The table's columns as they are now.
    ///
    /// # Errors
    /// `NotFound` when the table does not exist.
    pub async fn table_schema(&self, table: &TableName) -> Result<SchemaRef, Error> {
        let loaded = self.load(table).await?;
        let schema = schema::arrow_schema(table, loaded.metadata.current_schema())?;
        Ok(without_metadata(&schema))
    }

    #[cfg(test)]
    pub(crate) async fn loaded(&self, table: &TableName) -> Loaded {
        self.load(table).await.unwrap()
    }

    #[cfg(test)]
    pub(crate) fn files(&self) -> &Warehouse {
        &self.warehouse
    }

    pub(crate) fn warehouse(&self) -> &Warehouse {
        &self.warehouse
    }

    pub(crate) async fn load(&self, table: &TableName) -> Result<Loaded, Error> {
        let loaded = self.catalog.load(table).await?;
        loaded.ok_or_else(|| Error::NotFound { what: format!("table {table}") })
    }

    // PyIceberg's rule, so that both put the same table in the same place.
    async fn new_location(&self, table: &TableName) -> Result<String, Error> {
        if self.catalog.chooses_places() {
            return Ok(CHOSEN_PLACE.to_owned());
        }
        let properties = self.catalog.namespace(&table.namespace).await?;
        let folder = match properties.get("location") {
            Some(location) => location.trim_end_matches('/').to_owned(),
            None => format!("{}/{}", self.root, table.namespace.join(".")),
        };
        Ok(format!("{folder}/{}", table.name))
    }
}

fn warehouse_root(text: &str) -> Result<String, Error> {
    let root = text.trim_end_matches('/');
    let absolute = root.starts_with("file:///") || root.starts_with('/');
    let scheme = root.split_once("://").map(|(scheme, _)| scheme);
    match scheme {
        None if absolute => Ok(format!("file://{root}")),
        Some("file") if absolute => Ok(root.to_owned()),
        Some("s3" | "s3a" | "gs" | "abfs" | "abfss" | "wasb" | "wasbs") => Ok(root.to_owned()),
        _ => Err(Error::invalid(format!(
            "catalog.warehouse `{}` is not a place for tables; write file:///absolute/path or s3://bucket/prefix",
            if scheme.is_some() { without_secrets(text) } else { text.to_owned() }
        ))),
    }
}

fn new_metadata(landing: &Landing, schema: &ArrowSchema, location: String) -> Result<TableMetadata, Error> {
    let table = &landing.table;
    let schema = schema::table_schema(table, schema)?;
    let spec = schema::partition_spec(&schema, &landing.partition_by)?;
    let sort = schema::sort_order(&schema, &landing.sort_by)?;
    let mut properties: HashMap<String, String> =
        HashMap::from([("write.parquet.compression-codec".into(), "zstd".into())]);
    for (name, value) in &landing.properties {
        properties.insert(name.clone(), value.clone());
    }
    let version = match properties.remove(TableProperties::PROPERTY_FORMAT_VERSION).as_deref() {
        None | Some("2") => FormatVersion::V2,
        Some(other) => {
            return Err(Error::invalid(format!(
                "target.properties: format-version is `{other}`, but tables are made with 2"
            )));
        }
    };
    FileSettings::from_properties(&properties, &location)?;
    TableMetadataBuilder::new(schema, spec, sort, location, version, properties)
        .and_then(TableMetadataBuilder::build)
        .map(|built| built.metadata)
        .map_err(|e| Error::invalid(format!("{table} cannot be made: {}", e.message())))
}

// The table's schema as it must be for the rows; `None`: as it is.
fn fitting(
    landing: &Landing,
    metadata: &TableMetadata,
    schema: &ArrowSchema,
    contract: &Contract,
) -> Result<Option<Schema>, Error> {
    let table_schema = metadata.current_schema();
    schema::check_spec(&landing.table, table_schema, metadata.default_partition_spec(), &landing.partition_by)?;
    schema::check_sort(&landing.table, table_schema, metadata.default_sort_order(), &landing.sort_by)?;
    let rows = schema::table_schema(&landing.table, schema)?;
    schema::evolve(&landing.table, table_schema, metadata.last_column_id(), &rows, contract)
}

fn target_of(landing: &Landing, loaded: Loaded, schema: &ArrowSchema, contract: &Contract) -> Result<Target, Error> {
    let (table, mut metadata) = (landing.table.clone(), loaded.metadata);
    let followed = fitting(landing, &metadata, schema, contract)?;
    let evolved = followed.is_some();
    if let Some(followed) = followed {
        let builder = TableMetadata::clone(&metadata).into_builder(None).add_current_schema(followed);
        let built = builder.and_then(TableMetadataBuilder::build);
        metadata = built.map_err(Error::iceberg(&table, "let its schema follow the rows"))?.metadata.into();
    }
    let table_schema = metadata.current_schema();
    let spec = metadata.default_partition_spec();
    let sources = spec.fields().iter().map(|f| f.source_id);
    let sources = sources.chain(metadata.default_sort_order().fields.iter().map(|f| f.source_id));
    let looked_at: HashSet<&str> = sources.filter_map(|id| table_schema.name_by_field_id(id)).collect();
    let arrow = schema::arrow_schema(&table, table_schema)?;
    let alignment = Arc::new(Alignment::new(&table, &arrow, schema, &looked_at, landing.nanoseconds));
    let settings = Arc::new(FileSettings::from_properties(metadata.properties(), metadata.location())?);
    Ok(Target { table, metadata, alignment, settings, evolved })
}

// Field ids are for files; a reader of rows has no use for them.
pub(crate) fn without_metadata(schema: &ArrowSchema) -> SchemaRef {
    use arrow::datatypes::{DataType, Field, FieldRef};
    fn bare(field: &Field) -> Field {
        let nested = |f: &FieldRef| Arc::new(bare(f));
        let ty = match field.data_type() {
            DataType::List(item) => DataType::List(nested(item)),
            DataType::Map(entries, sorted) => DataType::Map(nested(entries), *sorted),
            DataType::Struct(fields) => DataType::Struct(fields.iter().map(nested).collect()),
            other => other.clone(),
        };
        Field::new(field.name(), ty, field.is_nullable())
    }
    Arc::new(ArrowSchema::new(schema.fields().iter().map(|f| bare(f)).collect::<Vec<_>>()))
}
