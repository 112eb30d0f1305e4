//! How far a running attempt is: counters every room adds to, and a snapshot of them.

use std::sync::atomic::{AtomicU8, AtomicU64, Ordering::Relaxed};
use std::time::{Duration, Instant};

use parking_lot::Mutex;
use serde::{Deserialize, Serialize};

use crate::receipt::{Reject, RoomTime, SkippedFile};

/// The parts a job goes through.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[repr(u8)]
pub enum Room {
    /// Bytes from a store.
    #[default]
    Fetch = 1,
    /// Parsing bytes to batches.
    Read = 2,
    /// SQL or a Polars plan.
    Transform = 3,
    /// Writing data files.
    Land = 4,
    /// The Iceberg commit.
    Commit = 5,
}

impl Room {
    /// Every room in the order of the flow.
    pub const ALL: [Self; 5] = [Self::Fetch, Self::Read, Self::Transform, Self::Land, Self::Commit];

    /// `fetch`, `read`, `transform`, `land`, `commit`.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Fetch => "fetch",
            Self::Read => "read",
            Self::Transform => "transform",
            Self::Land => "land",
            Self::Commit => "commit",
        }
    }
}

/// A snapshot of [`Counters`].
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Progress {
    /// The room of the newest news.
    pub room: Room,
    /// Input files in all.
    pub files_total: u64,
    /// Input files read to their end.
    pub files_done: u64,
    /// Size of the input as stored.
    pub bytes_total: u64,
    /// Of that, fetched.
    pub bytes_done: u64,
    /// Records seen by the reader, good or bad.
    pub rows_read: u64,
    /// Records that did not fit.
    pub rows_rejected: u64,
    /// Rows handed to the landing.
    pub rows_out: u64,
    /// Since the attempt began.
    pub elapsed: Duration,
}

/// What every room counts while it works; shared by all threads of one attempt.
#[derive(Debug)]
pub struct Counters {
    started: Instant,
    room: AtomicU8,
    /// Input files in all.
    pub files_total: AtomicU64,
    /// Input files read to their end.
    pub files_done: AtomicU64,
    /// Size of the input as stored.
    pub bytes_total: AtomicU64,
    /// Of that, fetched.
    pub bytes_done: AtomicU64,
    /// Records seen by the reader, good or bad; also those that a Parquet footer counts and nobody had to look at.
    pub rows_read: AtomicU64,
    /// Records that did not fit.
    pub rows_rejected: AtomicU64,
    /// Of the records, those that were not even fetched, since the transform would have filtered them.
    pub rows_pruned: AtomicU64,
    /// Rows that went into the transform.
    pub rows_in: AtomicU64,
    /// Rows that came out of it and were handed to the landing.
    pub rows_out: AtomicU64,
    busy_ns: [AtomicU64; 5],
    rejects: Mutex<Vec<Reject>>,
    /// Files left out because they are damaged.
    pub files_skipped: AtomicU64,
    skipped_files: Mutex<Vec<SkippedFile>>,
    damaged: Mutex<Vec<String>>,
}

impl Default for Counters {
    fn default() -> Self {
        Self {
            started: Instant::now(),
            room: AtomicU8::new(Room::Fetch as u8),
            files_total: AtomicU64::new(0),
            files_done: AtomicU64::new(0),
            bytes_total: AtomicU64::new(0),
            bytes_done: AtomicU64::new(0),
            rows_read: AtomicU64::new(0),
            rows_rejected: AtomicU64::new(0),
            rows_pruned: AtomicU64::new(0),
            rows_in: AtomicU64::new(0),
            rows_out: AtomicU64::new(0),
            busy_ns: Default::default(),
            rejects: Mutex::new(Vec::new()),
            files_skipped: AtomicU64::new(0),
            skipped_files: Mutex::new(Vec::new()),
            damaged: Mutex::new(Vec::new()),
        }
    }
}

impl Counters {
    /// Rejects kept for the receipt.
    pub const REJECTS_KEPT: usize = 10;

    /// Adds to one of the counters.
    pub fn add(counter: &AtomicU64, by: u64) {
        counter.fetch_add(by, Relaxed);
    }

    /// Says which room has the newest news.
    pub fn enter(&self, room: Room) {
        self.room.store(room as u8, Relaxed);
    }

    /// Adds time spent working (not waiting) in a room.
    pub fn busy(&self, room: Room, time: Duration) {
        let nanos = u64::try_from(time.as_nanos()).unwrap_or(u64::MAX);
        self.busy_ns[room as usize - 1].fetch_add(nanos, Relaxed);
    }

    /// Runs `work` and counts its time for the room.
    pub fn timed<T>(&self, room: Room, work: impl FnOnce() -> T) -> T {
        let started = Instant::now();
        let result = work();
        self.busy(room, started.elapsed());
        result
    }

    /// Counts a rejected row and keeps it when it is among the first ten by file order of arrival.
    pub fn reject(&self, make: impl FnOnce() -> Reject) {
        self.rows_rejected.fetch_add(1, Relaxed);
        let mut rejects = self.rejects.lock();
        if rejects.len() < Self::REJECTS_KEPT {
            rejects.push(make());
        }
    }

    /// The first rejected rows.
    #[must_use]
    pub fn rejects(&self) -> Vec<Reject> {
        self.rejects.lock().clone()
    }

    /// Skipped files kept for the receipt.
    pub const SKIPPED_FILES_KEPT: usize = 100;

    /// Counts a damaged file that is left out and keeps its name.
    pub fn skip_file(&self, file: SkippedFile) {
        self.damaged.lock().push(file.uri.clone());
        self.leave_out(file);
    }

    /// All files that are left out because they are damaged.
    #[must_use]
    pub fn damaged_files(&self) -> Vec<String> {
        self.damaged.lock().clone()
    }

    /// Counts a file that is left out for any reason and keeps what is said of it when it is among the first hundred.
    pub fn leave_out(&self, file: SkippedFile) {
        self.files_skipped.fetch_add(1, Relaxed);
        let mut skipped = self.skipped_files.lock();
        if skipped.len() < Self::SKIPPED_FILES_KEPT {
            skipped.push(file);
        }
    }

    /// The first files that were left out.
    #[must_use]
    pub fn skipped_files(&self) -> Vec<SkippedFile> {
        self.skipped_files.lock().clone()
    }

    /// Time spent in each room so far.
    #[must_use]
    pub fn rooms(&self) -> Vec<RoomTime> {
        Room::ALL
            .into_iter()
            .map(|room| RoomTime { room, busy: Duration::from_nanos(self.busy_ns[room as usize - 1].load(Relaxed)) })
            .collect()
    }

    /// How far the attempt is.
    #[must_use]
    pub fn snapshot(&self) -> Progress {
        let room = self.room.load(Relaxed);
        Progress {
            room: Room::ALL.into_iter().find(|r| *r as u8 == room).unwrap_or_default(),
            files_total: self.files_total.load(Relaxed),
            files_done: self.files_done.load(Relaxed),
            bytes_total: self.bytes_total.load(Relaxed),
            bytes_done: self.bytes_done.load(Relaxed),
            rows_read: self.rows_read.load(Relaxed),
            rows_rejected: self.rows_rejected.load(Relaxed),
            rows_out: self.rows_out.load(Relaxed),
            elapsed: self.started.elapsed(),
        }
    }
}
