//! The rejected rows of a job in Iceberg: the table `<table>__rejects` beside the target, made on first need.
//!
//! Its data files are written when all rejects are known, from the file that holds them, so that they cost no memory
//! while the job runs. They become visible right after the rows of the job, under the same token.

use std::path::PathBuf;
use std::sync::{Arc, LazyLock};
use std::time::{SystemTime, UNIX_EPOCH};

use arrow::array::{ArrayRef, RecordBatch, StringArray, TimestampMicrosecondArray, new_null_array};
use arrow::datatypes::{DataType, Field, Schema, SchemaRef, TimeUnit};
use futures::StreamExt as _;
use futures::stream::BoxStream;
use moulin_core::{Contract, Fault, FaultKind, JobId, Landing, PartitionField, PartitionTransform, TableName, Token};
use moulin_lake::{Lake, Landed, Target, WriteOptions};
use moulin_read::reject_schema;

use super::rejects;
use crate::worker::Worker;

/// What the name of a table's rejects ends with.
const SUFFIX: &str = "__rejects";
const LANDED_AT: &str = "landed_at";
/// The token of the job that rejected the row.
pub(crate) const TOKEN: &str = "token";
/// The token of the job that read the row from its file. A row that a replay rejected again has another one than its own.
pub(crate) const ORIGIN: &str = "origin";
/// The token of the replay that has taken the row; null: none has.
pub(crate) const REPLAYED_BY: &str = "replayed_by";
/// When that was.
pub(crate) const REPLAYED_AT: &str = "replayed_at";

/// The columns of a table of rejects.
pub(crate) static SCHEMA: LazyLock<SchemaRef> = LazyLock::new(|| {
    let moment = DataType::Timestamp(TimeUnit::Microsecond, Some("UTC".into()));
    let more = [
        Field::new("job_id", DataType::Utf8, false),
        Field::new(TOKEN, DataType::Utf8, false),
        Field::new(LANDED_AT, moment.clone(), false),
        Field::new(ORIGIN, DataType::Utf8, false),
        Field::new(REPLAYED_BY, DataType::Utf8, true),
        Field::new(REPLAYED_AT, moment, true),
    ];
    let fields = reject_schema().fields().iter().cloned().chain(more.into_iter().map(Arc::new)).collect::<Vec<_>>();
    Arc::new(Schema::new(fields))
});

/// The table with the rejects of a table.
pub(crate) fn of(table: &TableName) -> TableName {
    TableName { namespace: table.namespace.clone(), name: format!("{}{SUFFIX}", table.name) }
}

/// Rejects in data files that nobody sees yet.
pub(crate) struct Written {
    pub(crate) target: Target,
    pub(crate) landed: Landed,
}

/// Writes the rejects of an attempt to data files of the table that holds them. `origins`: the jobs that read the rows
/// from their files, each with how many of the rejects are its own, in their order; none: this job did.
///
/// # Errors
/// `SchemaMismatch`: somebody made a table of that name with other columns; what catalog and warehouse say.
pub(crate) async fn write(
    worker: &Worker,
    table: &TableName,
    (id, token): (&JobId, &Token),
    origins: &[(String, u64)],
    path: PathBuf,
    options: WriteOptions,
) -> Result<Written, Fault> {
    let target = worker.lake.target_that_follows(&new_table(table), &SCHEMA, &Contract::default()).await?;
    let mut writer = worker.lake.writer(&target, WriteOptions { threads: 1, ..options });
    let mut batches = rejects::read(path);
    // One moment for all of them: the rejects of a job are in one partition.
    let landed_at = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    let landed_at = i64::try_from(landed_at.as_micros()).unwrap_or(i64::MAX);
    let mut origins = Origins { own: &token.0, parts: origins.iter(), now: None };
    while let Some(batch) = batches.recv().await {
        let batch = batch?;
        let origin = origins.of(batch.num_rows());
        writer.write(with_job(&batch, id, token, landed_at, origin)?).await?;
    }
    Ok(Written { landed: writer.finish().await?, target })
}

/// The target of rejects that an earlier attempt wrote to data files.
///
/// # Errors
/// As [`write`].
pub(crate) async fn target(worker: &Worker, table: &TableName) -> Result<Target, Fault> {
    // Somebody may have dropped it since.
    let is_there = worker.lake.table_uuid(&of(table)).await?.is_some();
    let landing = if is_there { Landing::new(of(table)) } else { new_table(table) };
    Ok(worker.lake.target_that_follows(&landing, &SCHEMA, &Contract::default()).await?)
}

fn new_table(table: &TableName) -> Landing {
    let by_day = PartitionField { column: LANDED_AT.to_owned(), transform: PartitionTransform::Day };
    Landing { partition_by: vec![by_day], ..Landing::new(of(table)) }
}

/// Who read each of the rejects from its file, in their order.
struct Origins<'a> {
    own: &'a str,
    parts: std::slice::Iter<'a, (String, u64)>,
    now: Option<(&'a str, u64)>,
}

impl<'a> Origins<'a> {
    fn of(&mut self, rows: usize) -> StringArray {
        StringArray::from_iter_values((0..rows).map(|_| self.next()))
    }

    fn next(&mut self) -> &'a str {
        while self.now.is_none_or(|(_, left)| left == 0) {
            let Some((origin, rows)) = self.parts.next() else { return self.own };
            self.now = Some((origin, *rows));
        }
        let Some((origin, left)) = &mut self.now else { return self.own };
        *left -= 1;
        origin
    }
}

fn with_job(
    batch: &RecordBatch,
    id: &JobId,
    token: &Token,
    landed_at: i64,
    origin: StringArray,
) -> Result<RecordBatch, Fault> {
    let rows = batch.num_rows();
    let text = |text: &str| -> ArrayRef { Arc::new(StringArray::from_iter_values(std::iter::repeat_n(text, rows))) };
    let moment = TimestampMicrosecondArray::from_value(landed_at, rows).with_timezone("UTC");
    let mut columns = batch.columns().to_vec();
    columns.extend([text(&id.0), text(&token.0), Arc::new(moment) as ArrayRef, Arc::new(origin)]);
    columns.extend([REPLAYED_BY, REPLAYED_AT].map(|name| nulls(name, rows)));
    RecordBatch::try_new(Arc::clone(&SCHEMA), columns)
        .map_err(|error| Fault::new(FaultKind::Internal, "rejects do not fit their table").with_source(&error))
}

/// A column of the table without a value.
fn nulls(name: &str, rows: usize) -> ArrayRef {
    let ty = SCHEMA.field_with_name(name).map_or(DataType::Null, |field| field.data_type().clone());
    new_null_array(&ty, rows)
}

/// The rejects that a snapshot of a table of rejects added, as batches of [`reject_schema`].
///
/// # Errors
/// `NotFound`: the table or the snapshot is gone.
pub(crate) async fn read(
    lake: &Lake,
    table: &TableName,
    snapshot_id: i64,
    job: &JobId,
) -> Result<BoxStream<'static, Result<RecordBatch, Fault>>, Fault> {
    let (_, batches) = lake.added_by(table, snapshot_id, Some(job)).await?;
    let job = job.clone();
    Ok(batches.map(move |batch| plain(&batch?, &job)).boxed())
}

/// The columns of a reject, of the rows of one job: several jobs may share a snapshot.
fn plain(batch: &RecordBatch, job: &JobId) -> Result<RecordBatch, Fault> {
    let wrong = |error: &(dyn std::error::Error + 'static)| {
        Fault::new(FaultKind::Internal, "the table of rejects does not have their columns").with_source(error)
    };
    let own = batch.column_by_name("job_id").cloned().unwrap_or_else(|| Arc::new(StringArray::from(vec![""; 0])));
    let own =
        arrow::compute::kernels::cmp::eq(&own, &StringArray::new_scalar(job.0.as_str())).map_err(|e| wrong(&e))?;
    let batch = arrow::compute::filter_record_batch(batch, &own).map_err(|e| wrong(&e))?;
    let schema = reject_schema();
    let columns = schema.fields().iter().map(|field| {
        let column = batch.column(batch.schema().index_of(field.name()).map_err(|e| wrong(&e))?).clone();
        arrow::compute::cast(&column, field.data_type()).map_err(|e| wrong(&e))
    });
    let columns = columns.collect::<Result<Vec<_>, Fault>>()?;
    RecordBatch::try_new(schema, columns).map_err(|e| wrong(&e))
}
