//! The rejected rows of a job that keeps them: shown to readers while it runs, and kept in a file of the attempt.
//!
//! `<state_dir>/rejects/<job>/<attempt>.parquet`. The file is whole before the attempt commits, and its rows are then in a
//! table too ([`super::rejects_table`]); the one of the attempt that succeeded stays, those of other attempts go.

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use arrow::array::RecordBatch;
use moulin_core::{Fault, FaultKind, JobId, JobState, OnBadRow, TableName};
use moulin_engine::stream::Tap;
use moulin_read::reject_schema;
use moulin_store::{JobStore, StoredJob};
use parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;
use tokio::sync::mpsc;
use tokio::task::JoinHandle;

use super::run;
use crate::config::Config;
use crate::output::{Destination, Format, Output};

/// Batches of rejects between the reader and the file; the reader waits when they are there.
const BATCHES_WAITING: usize = 4;
/// Batches of rejects between the file and whoever reads it.
const BATCHES_AHEAD: usize = 2;

/// The folder with the rejects of all jobs of a worker.
#[derive(Debug, Clone)]
pub(crate) struct Spool {
    root: PathBuf,
}

/// Where the rejects of a job are.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Kept {
    /// The job is not over.
    NotYet,
    /// There are none.
    None,
    /// In this file.
    File {
        path: PathBuf,
        /// `None`: the job failed, and the file holds those up to then.
        rows: Option<u64>,
    },
    /// In this snapshot of the table that holds them.
    Table { table: TableName, snapshot_id: i64, rows: u64 },
}

impl Spool {
    pub(crate) fn new(config: &Config) -> Self {
        Self { root: config.state_dir.join("rejects") }
    }

    /// The file with the rejects of an attempt.
    pub(crate) fn file(&self, id: &JobId, attempt: u32) -> PathBuf {
        self.root.join(&id.0).join(format!("{attempt}.parquet"))
    }

    /// The rejects of a job, as far as this worker has them.
    ///
    /// # Errors
    /// `NotFound`: the job keeps none, or they are on another worker.
    pub(crate) fn find(&self, job: &StoredJob) -> Result<Kept, Fault> {
        let id = &job.id;
        let on_bad_row = run::decode(&job.spec)?.on_bad_row;
        let none = |what: String| Err(Fault::new(FaultKind::NotFound, what));
        if on_bad_row != OnBadRow::Quarantine {
            let said = if on_bad_row == OnBadRow::Fail { "fail" } else { "skip" };
            let fault = Fault::new(FaultKind::NotFound, format!("job {id} keeps no rejects: its on_bad_row is {said}"));
            return Err(fault.with_hint("set on_bad_row to quarantine: bad rows are then kept, each with its bytes"));
        }
        match (job.state, &job.receipt) {
            (JobState::Queued | JobState::Running, _) => Ok(Kept::NotYet),
            (JobState::Succeeded, Some(receipt)) if receipt.rows_rejected == 0 => Ok(Kept::None),
            (JobState::Succeeded, Some(receipt)) => {
                let path = self.file(id, receipt.attempt);
                if path.exists() {
                    return Ok(Kept::File { path, rows: Some(receipt.rows_rejected) });
                }
                if let (Some(snapshot_id), Ok(table)) = (receipt.rejects_snapshot_id, receipt.rejects_table.parse()) {
                    return Ok(Kept::Table { table, snapshot_id, rows: receipt.rows_rejected });
                }
                let worker = job.worker_id.as_deref().unwrap_or("unknown");
                let fault = format!("the {} rejects of job {id} are not at {}", receipt.rows_rejected, path.display());
                Err(Fault::new(FaultKind::NotFound, fault).with_hint(format!(
                    "they are where the job ran: ask worker {worker}, or look whether they were removed"
                )))
            }
            _ => match self.file(id, job.attempt) {
                path if path.exists() => Ok(Kept::File { path, rows: None }),
                _ => none(format!("job {id} is {} and has kept no rejects", job.state)),
            },
        }
    }

    /// Removes the rejects of all attempts but one.
    pub(crate) fn keep_only(&self, id: &JobId, attempt: u32) {
        let (folder, kept) = (self.root.join(&id.0), self.file(id, attempt));
        let Ok(files) = fs::read_dir(&folder) else { return };
        for path in files.flatten().map(|file| file.path()).filter(|path| *path != kept) {
            remove(&path);
        }
        // Gone only when nothing is left in it.
        let _ = fs::remove_dir(&folder);
    }

    /// Removes the files of jobs that have been over for longer than `keep`, and of jobs that nobody knows; how many.
    ///
    /// # Errors
    /// What the store says.
    pub(crate) async fn remove_old(&self, store: &dyn JobStore, keep: Duration, now: SystemTime) -> Result<u64, Fault> {
        let Ok(folders) = fs::read_dir(&self.root) else { return Ok(0) };
        let mut removed = 0;
        for folder in folders.flatten() {
            let Ok(name) = folder.file_name().into_string() else { continue };
            let job = store.get(&JobId(name)).await?;
            let over = match &job {
                Some(job) => job.finished_at.filter(|_| job.state.is_final()),
                None => folder.metadata().and_then(|meta| meta.modified()).ok(),
            };
            if !over.is_some_and(|since| now.duration_since(since).is_ok_and(|age| age >= keep)) {
                continue;
            }
            for file in fs::read_dir(folder.path()).into_iter().flatten().flatten() {
                remove(&file.path());
                removed += 1;
            }
            let _ = fs::remove_dir(folder.path());
        }
        Ok(removed)
    }

    /// Removes the rejects of one attempt.
    pub(crate) fn discard(&self, id: &JobId, attempt: u32) {
        let path = self.file(id, attempt);
        if path.exists() {
            remove(&path);
        }
        let _ = fs::remove_dir(self.root.join(&id.0));
    }
}

fn remove(path: &Path) {
    if let Err(error) = fs::remove_file(path) {
        tracing::warn!(file = %path.display(), %error, "rejects of an unfinished attempt could not be removed");
    }
}

/// The rejects of one attempt, on their way.
pub(crate) struct Quarantine {
    writing: JoinHandle<Result<u64, Fault>>,
}

impl Quarantine {
    /// Takes rejects from now on: readers of the tap see them, the file keeps them. It is over when every sender is gone.
    pub(crate) fn begin(spool: &Spool, id: &JobId, attempt: u32, tap: Arc<Tap>) -> (mpsc::Sender<RecordBatch>, Self) {
        let (sender, batches) = mpsc::channel(BATCHES_WAITING);
        let path = spool.file(id, attempt);
        let writing = tokio::task::spawn_blocking(move || write(batches, &tap, path));
        (sender, Self { writing })
    }

    /// Waits until all rejects are in the file, and says how many they are.
    ///
    /// # Errors
    /// `PermissionDenied` and `Unavailable`, naming the file.
    pub(crate) async fn end(self) -> Result<u64, Fault> {
        self.writing.await.map_err(|error| {
            Fault::new(FaultKind::Internal, "the thread that keeps rejects ended").with_source(&error)
        })?
    }
}

fn write(mut batches: mpsc::Receiver<RecordBatch>, tap: &Tap, path: PathBuf) -> Result<u64, Fault> {
    let mut output: Option<Output> = None;
    while let Some(batch) = batches.blocking_recv() {
        tap.publish(&batch);
        let output = match &mut output {
            Some(output) => output,
            None => {
                if let Some(folder) = path.parent() {
                    fs::create_dir_all(folder).map_err(|error| not_kept(&path).with_source(&error))?;
                }
                let to = Destination::File(path.clone());
                output.insert(Output::open(to, Format::Parquet, &reject_schema())?)
            }
        };
        output.write(&batch)?;
    }
    output.map_or(Ok(0), Output::finish)
}

fn not_kept(path: &Path) -> Fault {
    Fault::new(FaultKind::PermissionDenied, format!("rejects cannot be kept in {}", path.display()))
        .with_hint("state_dir must be a folder that the worker may write, with room for the bad rows")
}

type Batches = Result<RecordBatch, Fault>;

/// The rows of a file of rejects, a batch at a time. Reading stops when the receiver is gone.
pub(crate) fn read(path: PathBuf) -> mpsc::Receiver<Batches> {
    on_a_thread(move |sender| {
        let damaged = |error: &(dyn std::error::Error + 'static)| {
            Fault::new(FaultKind::BadFile, format!("the rejects in {} cannot be read", path.display()))
                .with_source(error)
        };
        let opened = File::open(&path).map_err(|error| damaged(&error)).and_then(|file| {
            let builder = ParquetRecordBatchReaderBuilder::try_new(file).map_err(|error| damaged(&error))?;
            builder.build().map_err(|error| damaged(&error))
        });
        match opened {
            Ok(batches) => {
                for batch in batches {
                    if sender.blocking_send(batch.map_err(|error| damaged(&error))).is_err() {
                        return;
                    }
                }
            }
            Err(fault) => drop(sender.blocking_send(Err(fault))),
        }
    })
}

/// What a thread sends. The end of it is the end of the rows, so that a thread that is lost says so.
fn on_a_thread(work: impl FnOnce(&mpsc::Sender<Batches>) + Send + 'static) -> mpsc::Receiver<Batches> {
    let (sender, batches) = mpsc::channel(BATCHES_AHEAD);
    let last = sender.clone();
    let reading = tokio::task::spawn_blocking(move || work(&sender));
    tokio::spawn(async move {
        if let Err(error) = reading.await {
            let lost = Fault::new(FaultKind::Internal, "the thread that reads rejects ended").with_source(&error);
            let _ = last.send(Err(lost)).await;
        }
    });
    batches
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_thread_that_is_lost_is_not_the_end_of_the_rejects() {
        let mut batches = on_a_thread(|sender| {
            sender.blocking_send(Ok(RecordBatch::new_empty(reject_schema()))).unwrap();
            panic!("lost");
        });
        assert!(batches.recv().await.unwrap().is_ok());
        assert_eq!(batches.recv().await.unwrap().unwrap_err().kind, FaultKind::Internal);
        assert!(batches.recv().await.is_none());
    }
}
