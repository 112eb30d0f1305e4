//! Why files ended, counted over all lanes of a writer.

use std::collections::HashSet;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};

use iceberg::spec::{DataFile, Struct};
use moulin_core::FileCounts;

use crate::Target;

/// Counted while files are written.
#[derive(Debug, Default)]
pub(super) struct Tally {
    full: AtomicU64,
    made_way: AtomicU64,
    clustered: AtomicBool,
    spilled_bytes: AtomicU64,
}

impl Tally {
    /// A file ended at the table's target size.
    pub(super) fn full(&self) {
        self.full.fetch_add(1, Relaxed);
    }

    /// A file ended for another partition to be written.
    pub(super) fn made_way(&self, files: usize) {
        self.made_way.fetch_add(files as u64, Relaxed);
    }

    /// Rows are sorted by partition from now on.
    pub(super) fn clustered(&self) {
        self.clustered.store(true, Relaxed);
    }

    /// So much went to the local disk to be sorted.
    pub(super) fn spilled(&self, bytes: u64) {
        self.spilled_bytes.fetch_add(bytes, Relaxed);
    }

    /// What came of it. `threads`: those that wrote a file.
    pub(super) fn counts(&self, target: &Target, files: &[DataFile], threads: u64) -> FileCounts {
        let is_partitioned = !target.metadata.default_partition_spec().is_unpartitioned();
        FileCounts {
            partitions: if is_partitioned { partitions(files) } else { 0 },
            threads,
            target_bytes: target.settings.target_file_bytes as u64,
            full: self.full.load(Relaxed),
            made_way: self.made_way.load(Relaxed),
            clustered: self.clustered.load(Relaxed),
            spilled_bytes: self.spilled_bytes.load(Relaxed),
        }
    }
}

/// How many partitions the files are of.
pub(super) fn partitions(files: &[DataFile]) -> u64 {
    files.iter().map(DataFile::partition).collect::<HashSet<&Struct>>().len() as u64
}
