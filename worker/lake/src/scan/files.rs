//! A table file by file, for whoever writes some of its files again.

use std::sync::Arc;

use arrow::array::RecordBatch;
use futures::stream::BoxStream;
use futures::{StreamExt as _, TryStreamExt as _};
use iceberg::scan::FileScanTask;
use tokio::sync::mpsc;
use tokio_util::task::AbortOnDropHandle;

use super::off_thread::off_thread;
use super::read::{AHEAD, FileReader, async_channel, driven};
use super::{Scan, ScanCounts, TableSnapshot};
use crate::Error;

/// A data file of a table at one snapshot.
#[derive(Debug, Clone)]
pub struct TableFile {
    task: FileScanTask,
}

impl TableFile {
    /// Where it is, as the table names it.
    #[must_use]
    pub fn location(&self) -> &str {
        &self.task.data_file_path
    }

    /// Its size.
    #[must_use]
    pub fn bytes(&self) -> u64 {
        self.task.file_size_in_bytes
    }
}

impl TableSnapshot {
    /// The data files.
    ///
    /// # Errors
    /// `Unavailable`: a manifest cannot be read; `NotFound`: it is not there; `BadFile`: it is damaged.
    pub async fn table_files(&self) -> Result<Vec<TableFile>, Error> {
        let Some(snapshot_id) = self.pin().snapshot_id else { return Ok(Vec::new()) };
        let (tasks, _) = self.tasks(snapshot_id, &Scan::default()).await?;
        let broken = |e| Error::iceberg(self.name(), "read it")(e);
        tasks.map_ok(|task| TableFile { task }).try_collect().await.map_err(broken)
    }

    /// The rows of one data file that are not deleted, with all columns, in their order.
    ///
    /// # Errors
    /// In the stream, as of [`TableSnapshot::scan`].
    ///
    /// # Cancel safety
    /// Dropping the stream stops the reading.
    #[must_use]
    pub fn rows_of(&self, file: &TableFile) -> BoxStream<'static, Result<RecordBatch, Error>> {
        let (sender, receiver) = mpsc::channel(AHEAD);
        let (table, task) = (self.clone(), file.task.clone());
        let driver = AbortOnDropHandle::new(self.runtime.spawn(async move {
            if let Err(error) = table.read_file(task, &sender).await {
                let _ = sender.send(Err(error)).await;
            }
        }));
        driven(receiver, driver).boxed()
    }

    async fn read_file(
        &self,
        task: FileScanTask,
        sender: &mpsc::Sender<Result<RecordBatch, Error>>,
    ) -> Result<(), Error> {
        let columns: Vec<usize> = (0..self.schema().fields().len()).collect();
        let wanted = self.wanted(&columns)?;
        let task = self.made_to_measure(task, &wanted, false)?;
        let (queue, waiting) = async_channel(1);
        let reader = FileReader {
            table: self.name().clone(),
            reader: self.reader(),
            wanted,
            counts: Arc::<ScanCounts>::default(),
            sender: sender.clone(),
        };
        let reading = AbortOnDropHandle::new(tokio::spawn(off_thread(reader.run(waiting))));
        // The reader takes it, or has ended with an error of its own.
        let _ = queue.send(task).await;
        drop(queue);
        reading.await.map_err(|e| Error::TaskLost { task: "reading of data files", source: Some(e) })??
    }
}
