//! Reading what a scan wants: several files at a time, off the async threads, a few batches ahead.

use std::collections::HashSet;
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;

use arrow::array::{RecordBatch, RecordBatchOptions};
use arrow::datatypes::{DataType, Schema as ArrowSchema, SchemaRef};
use futures::stream::BoxStream;
use futures::{Stream, StreamExt as _, TryStreamExt as _};
use iceberg::arrow::ArrowReader;
use iceberg::scan::{FileScanTask, FileScanTaskStream};
use iceberg::spec::DataFileFormat;
use moulin_core::{Nanoseconds, TableName};
use tokio::sync::mpsc;
use tokio_util::task::AbortOnDropHandle;

use super::off_thread::off_thread;
use super::{Scan, ScanCounts, TableSnapshot, filter};
use crate::{Error, commit::has_avro_names, schema::Alignment};

const BATCH_ROWS: usize = 8192;
/// Batches of each file between its reader and whoever takes them.
pub(super) const AHEAD: usize = 2;

type Sender = mpsc::Sender<Result<RecordBatch, Error>>;

impl TableSnapshot {
    /// The wanted rows, in no particular order. Reading happens on the runtime that the table was opened in, whoever polls
    /// the stream.
    ///
    /// Memory is bounded by a few batches for each file that is read at a time, and by the delete files that apply.
    ///
    /// # Errors
    /// In the stream: `Unavailable` for a file that cannot be read, `NotFound` for one that is not there, `BadFile` for one
    /// that is damaged, `Invalid` for deletion vectors and for data files that are not Parquet.
    ///
    /// # Cancel safety
    /// Dropping the stream stops the reading.
    #[must_use]
    pub fn scan(&self, scan: Scan, counts: Arc<ScanCounts>) -> BoxStream<'static, Result<RecordBatch, Error>> {
        let Some(snapshot_id) = self.pin().snapshot_id else { return futures::stream::empty().boxed() };
        let (sender, receiver) = mpsc::channel(AHEAD * scan.files_at_a_time.max(1));
        let table = self.clone();
        let driver = AbortOnDropHandle::new(self.runtime.spawn(async move {
            if let Err(error) = table.drive(snapshot_id, &scan, &counts, &sender).await {
                let _ = sender.send(Err(error)).await;
            }
        }));
        driven(receiver, driver).boxed()
    }

    async fn drive(
        &self,
        snapshot_id: i64,
        scan: &Scan,
        counts: &Arc<ScanCounts>,
        sender: &Sender,
    ) -> Result<(), Error> {
        let wanted = self.wanted(&scan.columns)?;
        let broken = |e| Error::iceberg(&self.name, "read it")(e);
        let (mut tasks, pushed) = self.tasks(snapshot_id, scan).await?;
        let reader = self.reader();
        let (queue, tasks_waiting) = async_channel(scan.files_at_a_time);
        let mut readers = tokio::task::JoinSet::new();
        for _ in 0..scan.files_at_a_time.max(1) {
            let one = FileReader {
                table: self.name.clone(),
                reader: reader.clone(),
                wanted: wanted.clone(),
                counts: Arc::clone(counts),
                sender: sender.clone(),
            };
            readers.spawn(off_thread(one.run(Arc::clone(&tasks_waiting))));
        }
        drop(tasks_waiting);
        let mut planned = 0;
        while let Some(task) = tasks.try_next().await.map_err(broken)? {
            planned += 1;
            counts.files.fetch_add(1, Relaxed);
            counts.bytes.fetch_add(task.file_size_in_bytes, Relaxed);
            let task = self.made_to_measure(task, &wanted, pushed)?;
            // Every reader has ended, with an error or because nobody takes rows any more.
            if queue.send(task).await.is_err() {
                break;
            }
        }
        counts.files_pruned.fetch_add(self.files().unwrap_or(planned).saturating_sub(planned), Relaxed);
        drop(queue);
        while let Some(ended) = readers.join_next().await {
            ended.map_err(|e| Error::TaskLost { task: "reading of data files", source: Some(e) })???;
        }
        Ok(())
    }

    pub(super) fn reader(&self) -> ArrowReader {
        let builder = self.table.reader_builder().with_data_file_concurrency_limit(1).with_batch_size(BATCH_ROWS);
        builder.with_row_group_filtering_enabled(true).build()
    }

    /// The files that may hold wanted rows, and whether the filters also hold inside of them.
    pub(super) async fn tasks(&self, snapshot_id: i64, scan: &Scan) -> Result<(FileScanTaskStream, bool), Error> {
        let broken = |e| Error::iceberg(&self.name, "plan its files")(e);
        let metadata = self.table.metadata();
        let snapshot =
            metadata.snapshot_by_id(snapshot_id).ok_or_else(|| super::pin::no_snapshot(&self.name, snapshot_id))?;
        let of_snapshot = snapshot.schema(metadata).map_err(broken)?;
        let mut builder = self.table.scan().snapshot_id(snapshot_id).select_empty();
        // Other engines write such names in another way, and the crate then takes the partitions of their files for null.
        let is_sure = metadata.partition_specs_iter().all(|spec| has_avro_names(spec));
        if let Some(predicate) = filter::predicate(&scan.filters, &self.columns, &of_snapshot).filter(|_| is_sure) {
            builder = builder.with_filter(predicate);
        }
        let tasks = builder.build().map_err(broken)?.plan_files().await.map_err(broken)?;
        // The predicate is bound to the columns of the snapshot; a type that was widened since reads otherwise.
        Ok((tasks, of_snapshot.schema_id() == self.columns.schema_id()))
    }

    /// The task with the columns that are wanted, or the reason why it cannot be done.
    pub(super) fn made_to_measure(
        &self,
        task: FileScanTask,
        wanted: &Wanted,
        pushed: bool,
    ) -> Result<FileScanTask, Error> {
        let refused = |what: &str| Err(Error::invalid(format!("{}: {what}", self.name)));
        if task.data_file_format != DataFileFormat::Parquet {
            return refused(&format!(
                "data file {} is {}, and only Parquet is read",
                task.data_file_path, task.data_file_format
            ));
        }
        if task.deletes.iter().any(|delete| delete.file_path.ends_with(".puffin")) {
            return refused(
                "rows are deleted by deletion vectors, which are not read; rewrite the table's data files, or write position deletes",
            );
        }
        Ok(FileScanTask {
            schema: Arc::clone(&self.columns),
            project_field_ids: wanted.field_ids.clone(),
            predicate: task.predicate.filter(|_| pushed),
            ..task
        })
    }

    pub(super) fn wanted(&self, columns: &[usize]) -> Result<Wanted, Error> {
        let schema = self.projected(columns)?;
        let fields = self.columns.as_struct().fields();
        // A file is read by one column at least: how many rows are not deleted is known no earlier.
        let narrow = |ty: &DataType| ty.is_primitive() || *ty == DataType::Boolean;
        let cheapest = || self.schema.fields().iter().position(|field| narrow(field.data_type())).unwrap_or(0);
        let read = if columns.is_empty() { vec![cheapest()] } else { columns.to_vec() };
        let field_ids = read.iter().filter_map(|at| fields.get(*at)).map(|field| field.id).collect();
        Ok(Wanted { schema, read: self.projected(&read)?, field_ids })
    }
}

/// What a task sends, and then its end. Of one that died of it the end is an error: what came is not all.
pub(super) fn driven(
    receiver: mpsc::Receiver<Result<RecordBatch, Error>>,
    driver: AbortOnDropHandle<()>,
) -> impl Stream<Item = Result<RecordBatch, Error>> + Send + 'static {
    futures::stream::unfold(Some((receiver, driver)), |state| async move {
        let (mut receiver, driver) = state?;
        match receiver.recv().await {
            Some(item) => Some((item, Some((receiver, driver)))),
            None => {
                let died = driver.await.err()?;
                Some((Err(Error::TaskLost { task: "reading of data files", source: Some(died) }), None))
            }
        }
    })
}

/// The columns of a scan.
#[derive(Clone)]
pub(super) struct Wanted {
    /// What is handed on.
    schema: SchemaRef,
    /// What is read: the same, or one column when none is wanted.
    read: SchemaRef,
    field_ids: Vec<i32>,
}

pub(super) type Waiting = Arc<tokio::sync::Mutex<mpsc::Receiver<FileScanTask>>>;

pub(super) fn async_channel(ahead: usize) -> (mpsc::Sender<FileScanTask>, Waiting) {
    let (sender, receiver) = mpsc::channel(ahead.max(1));
    (sender, Arc::new(tokio::sync::Mutex::new(receiver)))
}

/// Reads one file after the other.
pub(super) struct FileReader {
    pub(super) table: TableName,
    pub(super) reader: ArrowReader,
    pub(super) wanted: Wanted,
    pub(super) counts: Arc<ScanCounts>,
    pub(super) sender: Sender,
}

impl FileReader {
    /// Reads until there are no more files; computes at length when it is polled ([`off_thread`]).
    pub(super) async fn run(self, tasks: Waiting) -> Result<(), Error> {
        tokio::select! {
            read = self.read_all(&tasks) => read,
            // A read that hangs is not waited for when nobody takes its rows.
            () = self.sender.closed() => Ok(()),
        }
    }

    async fn read_all(&self, tasks: &Waiting) -> Result<(), Error> {
        loop {
            let task = tasks.lock().await.recv().await;
            let Some(task) = task else { return Ok(()) };
            let size = task.file_size_in_bytes;
            if !self.read_one(task).await? {
                return Ok(());
            }
            self.counts.files_done.fetch_add(1, Relaxed);
            self.counts.bytes_done.fetch_add(size, Relaxed);
        }
    }

    // False: nobody listens any more.
    async fn read_one(&self, task: FileScanTask) -> Result<bool, Error> {
        let location = task.data_file_path.clone();
        let damaged = |e: iceberg::Error| Error::storage("read", &location, e);
        let tasks = futures::stream::once(async { Ok(task) }).boxed();
        let mut batches = self.reader.clone().read(tasks).map_err(damaged)?.stream();
        let mut alignment: Option<(SchemaRef, Alignment)> = None;
        while let Some(batch) = batches.try_next().await.map_err(damaged)? {
            let fits = alignment.as_ref().is_some_and(|(schema, _)| *schema == batch.schema());
            if !fits {
                alignment = Some((batch.schema(), self.alignment(&batch.schema())));
            }
            let Some((_, alignment)) = &alignment else { continue };
            let batch = self.in_shape(&batch, alignment)?;
            self.counts.rows.fetch_add(batch.num_rows() as u64, Relaxed);
            if self.sender.send(Ok(batch)).await.is_err() {
                return Ok(false);
            }
        }
        Ok(true)
    }

    fn alignment(&self, incoming: &ArrowSchema) -> Alignment {
        let every_column: HashSet<&str> = self.wanted.read.fields().iter().map(|f| f.name().as_str()).collect();
        Alignment::new(&self.table, &self.wanted.read, incoming, &every_column, Nanoseconds::Refuse)
    }

    fn in_shape(&self, batch: &RecordBatch, alignment: &Alignment) -> Result<RecordBatch, Error> {
        let aligned = alignment.align(batch)?;
        let columns = if self.wanted.schema.fields().is_empty() { Vec::new() } else { aligned.columns().to_vec() };
        let options = RecordBatchOptions::new().with_row_count(Some(batch.num_rows()));
        RecordBatch::try_new_with_options(Arc::clone(&self.wanted.schema), columns, &options).map_err(|e| {
            Error::SchemaMismatch {
                table: self.table.clone(),
                message: format!("a data file does not have the table's columns: {e}"),
            }
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_task_that_dies_is_no_end_of_the_rows() {
        let empty = || RecordBatch::new_empty(Arc::new(ArrowSchema::empty()));
        let (sender, receiver) = mpsc::channel(2);
        let driver = AbortOnDropHandle::new(tokio::spawn(async move {
            sender.send(Ok(empty())).await.unwrap();
            panic!("on purpose");
        }));
        let rows: Vec<_> = driven(receiver, driver).collect().await;
        assert!(matches!(rows[..], [Ok(_), Err(Error::TaskLost { .. })]), "{rows:?}");

        let (sender, receiver) = mpsc::channel(2);
        let driver = AbortOnDropHandle::new(tokio::spawn(async move { sender.send(Ok(empty())).await.unwrap() }));
        let rows: Vec<_> = driven(receiver, driver).collect().await;
        assert!(matches!(rows[..], [Ok(_)]), "{rows:?}");
    }
}
