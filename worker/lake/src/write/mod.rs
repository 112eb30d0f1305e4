//! Batches to Parquet data files, on blocking threads; nothing is visible yet.
//!
//! A queue of batches is drained by lanes, each writing files of its own. The first lane does all the work of a
//! small job, so that it makes one file; another one opens when the queue is full and there is enough for it.

mod bounds;
mod encode;
mod fanout;
mod file;
mod lane;
mod metrics;
mod modes;
mod order;
mod settings;
mod sink;
mod size;
mod sorted;
mod sorter;
mod split;
mod stored;
mod tally;

use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use arrow::array::RecordBatch;
use futures::future::BoxFuture;
use iceberg::spec::DataFile;
use moulin_core::{Counters, Fault, FileCounts, JobId};
use tokio::runtime::Handle;
use tokio::sync::mpsc;
use tokio::task::JoinHandle;

use crate::{Error, Target, warehouse::Warehouse};
use lane::Lane;
pub(crate) use settings::FileSettings;
use size::batch_bytes;
use sorter::{Budget, Limits};
use tally::{Tally, partitions};

/// Batches that wait for a lane.
const QUEUE: usize = 2;
/// What a lane must have seen before another one is worth a file of its own.
const LANE_BYTES: usize = 64 << 20;
/// Encoded bytes that all lanes together hold before they go to a file.
const IN_PROGRESS_BYTES: usize = 128 << 20;

/// Called, and awaited, with a data file's location before the file is created.
pub type StageFile = Arc<dyn Fn(String) -> BoxFuture<'static, Result<(), Fault>> + Send + Sync>;

/// How one attempt of a job writes.
#[derive(Clone)]
pub struct WriteOptions {
    /// The job; data files carry its name.
    pub job_id: JobId,
    /// The attempt, counted from 1; data files carry it.
    pub attempt: u32,
    /// Lanes at most, each a thread and a file; at least 1.
    pub threads: usize,
    /// Time spent encoding is counted for `land`.
    pub counters: Arc<Counters>,
    /// Told every file's location before the file is created.
    pub stage: StageFile,
    /// Folder on a local disk for rows that are sorted and do not fit in memory; made when it is needed.
    pub spill_dir: PathBuf,
}

/// Data files that are written, closed and safe on the disk, and that no snapshot names yet.
#[derive(Debug, Clone, Default)]
pub struct Landed {
    files: Vec<DataFile>,
    counts: FileCounts,
}

impl Landed {
    /// Rows in all files.
    #[must_use]
    pub fn rows(&self) -> u64 {
        self.files.iter().map(DataFile::record_count).sum()
    }

    /// Size of all files.
    #[must_use]
    pub fn bytes(&self) -> u64 {
        self.files.iter().map(DataFile::file_size_in_bytes).sum()
    }

    /// How many files there are.
    #[must_use]
    pub fn files(&self) -> u64 {
        self.files.len() as u64
    }

    /// Takes the files of another writer of the same table with its own, and counts why there are so many of both.
    pub fn add(&mut self, other: Self) {
        self.files.extend(other.files);
        // Two writers may have written to one partition, but never with one thread to one file.
        let partitions = if self.counts.partitions + other.counts.partitions > 0 { partitions(&self.files) } else { 0 };
        let FileCounts { partitions: _, threads, target_bytes, full, made_way, clustered, spilled_bytes } =
            other.counts;
        self.counts = FileCounts {
            partitions,
            threads: self.counts.threads + threads,
            target_bytes: self.counts.target_bytes.max(target_bytes),
            full: self.counts.full + full,
            made_way: self.counts.made_way + made_way,
            clustered: self.counts.clustered || clustered,
            spilled_bytes: self.counts.spilled_bytes + spilled_bytes,
        };
    }

    /// Why there are so many; nothing of files that were read back from text.
    #[must_use]
    pub fn counts(&self) -> FileCounts {
        self.counts
    }

    /// Where the files are.
    pub fn locations(&self) -> impl Iterator<Item = &str> {
        self.files.iter().map(DataFile::file_path)
    }

    pub(crate) fn data_files(&self) -> &[DataFile] {
        &self.files
    }
}

/// What all lanes of a writer share.
struct Shared {
    target: Target,
    options: WriteOptions,
    warehouse: Warehouse,
    runtime: Handle,
    lane_bytes: usize,
    files: AtomicU32,
    tally: Arc<Tally>,
    sorting: Arc<Budget>,
    finishing: AtomicBool,
}

/// Takes batches and makes data files.
///
/// Dropped before [`Writer::finish`], it stops; files it began stay where they are, known by name to whoever
/// was told by [`StageFile`].
pub struct Writer {
    shared: Arc<Shared>,
    sender: Option<mpsc::Sender<RecordBatch>>,
    receiver: Arc<Mutex<mpsc::Receiver<RecordBatch>>>,
    lanes: Vec<JoinHandle<Result<Vec<DataFile>, Error>>>,
    seen_bytes: usize,
}

impl Writer {
    pub(crate) fn new(target: &Target, options: WriteOptions, warehouse: Warehouse) -> Self {
        let (sender, receiver) = mpsc::channel(QUEUE);
        let lanes = options.threads.max(1);
        let shared = Shared {
            target: target.clone(),
            lane_bytes: IN_PROGRESS_BYTES / lanes,
            options,
            warehouse,
            runtime: Handle::current(),
            files: AtomicU32::new(0),
            tally: Arc::default(),
            sorting: Arc::new(Budget::new(Limits::of(lanes))),
            finishing: AtomicBool::new(false),
        };
        Self {
            shared: Arc::new(shared),
            sender: Some(sender),
            receiver: Arc::new(Mutex::new(receiver)),
            lanes: Vec::new(),
            seen_bytes: 0,
        }
    }

    /// Hands a batch to the lanes; waits while they are behind.
    ///
    /// # Errors
    /// The first failure of a lane: `SchemaMismatch` naming a column whose value does not fit, a fault of the job
    /// store, or what the warehouse says. The writer is of no further use.
    ///
    /// # Cancel safety
    /// Dropped half-way, the batch may be lost: drop the writer too.
    pub async fn write(&mut self, batch: RecordBatch) -> Result<(), Error> {
        if batch.num_rows() == 0 {
            return Ok(());
        }
        self.seen_bytes += batch_bytes(&batch);
        if self.lanes.is_empty() {
            self.open_lane();
        }
        let Some(sender) = self.sender.clone() else { return Err(self.failure().await) };
        let batch = match sender.try_send(batch) {
            Ok(()) => return Ok(()),
            Err(mpsc::error::TrySendError::Closed(_)) => return Err(self.failure().await),
            Err(mpsc::error::TrySendError::Full(batch)) => batch,
        };
        let enough = self.seen_bytes > self.lanes.len() * LANE_BYTES;
        if enough && self.lanes.len() < self.shared.options.threads {
            self.open_lane();
        }
        if sender.send(batch).await.is_err() {
            return Err(self.failure().await);
        }
        Ok(())
    }

    /// Closes all files and says which there are.
    ///
    /// # Errors
    /// As [`Writer::write`].
    pub async fn finish(mut self) -> Result<Landed, Error> {
        self.shared.finishing.store(true, Ordering::SeqCst);
        self.sender = None;
        let (mut files, mut threads) = (Vec::new(), 0);
        let mut failure = None;
        for lane in std::mem::take(&mut self.lanes) {
            match joined(lane).await {
                Ok(more) => {
                    threads += u64::from(!more.is_empty());
                    files.extend(more);
                }
                Err(error) => failure = failure.or(Some(error)),
            }
        }
        match failure {
            Some(error) => Err(error),
            None => {
                let counts = self.shared.tally.counts(&self.shared.target, &files, threads);
                Ok(Landed { files, counts })
            }
        }
    }

    fn open_lane(&mut self) {
        let (shared, receiver) = (self.shared.clone(), self.receiver.clone());
        self.lanes.push(tokio::task::spawn_blocking(move || run_lane(shared, &receiver)));
    }

    async fn failure(&mut self) -> Error {
        self.sender = None;
        let mut failure = None;
        for lane in std::mem::take(&mut self.lanes) {
            if let Err(error) = joined(lane).await {
                failure = failure.or(Some(error));
            }
        }
        failure.unwrap_or(Error::TaskLost { task: "writing of data files", source: None })
    }
}

impl Drop for Writer {
    fn drop(&mut self) {
        // Merging the rows of a job that was cancelled may take long.
        self.shared.sorting.stop();
    }
}

async fn joined(lane: JoinHandle<Result<Vec<DataFile>, Error>>) -> Result<Vec<DataFile>, Error> {
    lane.await.unwrap_or_else(|e| Err(Error::TaskLost { task: "writing of data files", source: Some(e) }))
}

fn run_lane(shared: Arc<Shared>, receiver: &Mutex<mpsc::Receiver<RecordBatch>>) -> Result<Vec<DataFile>, Error> {
    let next = || receiver.lock().unwrap_or_else(PoisonError::into_inner).blocking_recv();
    let result = (|| {
        let mut lane = Lane::new(shared.clone())?;
        while let Some(batch) = next() {
            lane.write(&batch)?;
        }
        if shared.finishing.load(Ordering::SeqCst) { lane.close() } else { Ok(Vec::new()) }
    })();
    if result.is_err() {
        // Whoever sends learns of it at once.
        receiver.lock().unwrap_or_else(PoisonError::into_inner).close();
    }
    result
}
