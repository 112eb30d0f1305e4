//! The rows that one snapshot added: its data files and no others, read with the columns of that time.

mod chunks;
mod project;

use std::sync::Arc;

use arrow::array::RecordBatch;
use arrow::datatypes::SchemaRef;
use futures::Stream;
use iceberg::spec::{ManifestContentType, ManifestStatus, Schema, TableMetadata};
use moulin_core::{JobId, TableName};
use parquet::arrow::arrow_reader::{ArrowReaderOptions, ParquetRecordBatchReaderBuilder};
use tokio::runtime::Handle;
use tokio::sync::mpsc;

use crate::{Error, commit, warehouse::Warehouse};
use chunks::Chunks;
use project::Projection;

const BATCH_ROWS: usize = 8192;
/// Batches between the reading thread and whoever takes them.
const AHEAD: usize = 2;

/// The data files that a snapshot added, or those of them that one job wrote.
pub(crate) struct Added {
    pub(crate) schema: Arc<Schema>,
    table: TableName,
    files: Vec<(String, u64)>,
}

impl Added {
    pub(crate) fn locations(self) -> impl Iterator<Item = String> {
        self.files.into_iter().map(|(location, _)| location)
    }
}

pub(crate) async fn added_files(
    warehouse: &Warehouse,
    table: &TableName,
    metadata: &TableMetadata,
    snapshot_id: i64,
    job: Option<&JobId>,
) -> Result<Added, Error> {
    let snapshot = metadata.snapshot_by_id(snapshot_id).ok_or_else(|| Error::NotFound {
        what: format!("snapshot {snapshot_id} of table {table} (it may have expired)"),
    })?;
    let schema = snapshot.schema(metadata).map_err(Error::iceberg(table, "read its schema"))?;
    let mut files = Vec::new();
    for manifest in commit::manifest_list(table, metadata, snapshot, warehouse).await? {
        if manifest.added_snapshot_id != snapshot_id || manifest.content != ManifestContentType::Data {
            continue;
        }
        let loaded =
            manifest.load_manifest(&warehouse.file_io()).await.map_err(Error::iceberg(table, "read a manifest"))?;
        for entry in loaded.entries() {
            let is_asked_for = job.is_none_or(|job| is_of(job, entry.file_path()));
            if entry.status() == ManifestStatus::Added && entry.snapshot_id() == Some(snapshot_id) && is_asked_for {
                files.push((entry.file_path().to_owned(), entry.file_size_in_bytes()));
            }
        }
    }
    Ok(Added { schema, table: table.clone(), files })
}

// Data files carry the name of their job.
fn is_of(job: &JobId, location: &str) -> bool {
    let name = location.rsplit('/').next().unwrap_or(location);
    name.strip_prefix(&job.0).is_some_and(|rest| rest.starts_with('-'))
}

/// Reads the files one after the other on a blocking thread, a few batches ahead.
pub(crate) fn stream(
    warehouse: Warehouse,
    added: Added,
    schema: SchemaRef,
) -> impl Stream<Item = Result<RecordBatch, Error>> + Send + 'static {
    let (sender, mut receiver) = mpsc::channel(AHEAD);
    async_stream::stream! {
        let runtime = tokio::runtime::Handle::current();
        let task = tokio::task::spawn_blocking(move || {
            for (location, size) in &added.files {
                let chunks = Chunks::open(&warehouse, location, *size, &runtime);
                let read = chunks.and_then(|chunks| read_file(chunks, location, &added, &schema, &sender));
                match read {
                    Ok(true) => {}
                    Ok(false) => return,
                    Err(error) => {
                        let _ = sender.blocking_send(Err(error));
                        return;
                    }
                }
            }
        });
        while let Some(batch) = receiver.recv().await {
            yield batch;
        }
        if let Err(e) = task.await {
            yield Err(Error::TaskLost { task: "reading of data files", source: Some(e) });
        }
    }
}

/// The rows of data files with all their columns, read as [`stream`] does.
pub(crate) fn in_files(
    warehouse: Warehouse,
    locations: Vec<String>,
) -> impl Stream<Item = Result<RecordBatch, Error>> + Send + 'static {
    let (sender, mut receiver) = mpsc::channel(AHEAD);
    async_stream::stream! {
        let runtime = tokio::runtime::Handle::current();
        let task = tokio::task::spawn_blocking(move || {
            for location in &locations {
                if let Err(error) = read_whole(&warehouse, location, &runtime, &sender) {
                    let _ = sender.blocking_send(Err(error));
                    return;
                }
            }
        });
        while let Some(batch) = receiver.recv().await {
            yield batch;
        }
        if let Err(e) = task.await {
            yield Err(Error::TaskLost { task: "reading of data files", source: Some(e) });
        }
    }
}

fn read_whole(
    warehouse: &Warehouse,
    location: &str,
    runtime: &Handle,
    sender: &mpsc::Sender<Result<RecordBatch, Error>>,
) -> Result<(), Error> {
    let damaged = |e: parquet::errors::ParquetError| Error::storage("read", location, e);
    let chunks = Chunks::open_whole(warehouse, location, runtime)?;
    // What a writer noted about its own Arrow types does not matter.
    let options = ArrowReaderOptions::new().with_skip_arrow_metadata(true);
    let builder = ParquetRecordBatchReaderBuilder::try_new_with_options(chunks, options).map_err(damaged)?;
    for batch in builder.with_batch_size(BATCH_ROWS).build().map_err(damaged)? {
        let batch = batch.map_err(|e| Error::storage("read", location, e))?;
        if sender.blocking_send(Ok(batch)).is_err() {
            return Ok(());
        }
    }
    Ok(())
}

// False: nobody listens any more.
fn read_file(
    chunks: Chunks,
    location: &str,
    added: &Added,
    schema: &SchemaRef,
    sender: &mpsc::Sender<Result<RecordBatch, Error>>,
) -> Result<bool, Error> {
    let damaged = |e: parquet::errors::ParquetError| Error::storage("read", location, e);
    // What a writer noted about its own Arrow types does not matter; the table's do.
    let options = ArrowReaderOptions::new().with_skip_arrow_metadata(true);
    let builder = ParquetRecordBatchReaderBuilder::try_new_with_options(chunks, options).map_err(damaged)?;
    let projection =
        Projection::new(location, &added.table, &added.schema, schema, builder.schema(), builder.parquet_schema());
    let reader = builder.with_batch_size(BATCH_ROWS).with_projection(projection.mask()).build().map_err(damaged)?;
    for batch in reader {
        let batch = batch.map_err(|e| Error::storage("read", location, e))?;
        let batch = projection.apply(&batch)?;
        if sender.blocking_send(Ok(batch)).is_err() {
            return Ok(false);
        }
    }
    Ok(true)
}
