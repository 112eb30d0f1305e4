//! Many partitions at once, with a bounded number of open files and a bounded number of bytes.

use std::collections::HashMap;

use arrow::array::RecordBatch;
use arrow::compute::concat_batches;
use iceberg::spec::DataFile;

use super::Shared;
use super::lane::Rolling;
use super::size::batch_bytes;
use super::split::Splitter;
use crate::{Error, Target};

/// Files open at once in one lane; one more closes the one that has waited longest.
const OPEN_FILES: usize = 64;
/// Partitions of one lane that are written side by side. Far beyond the open files each would come to have many small
/// ones, and small pieces of batches cost memory.
const PARTITIONS: usize = if cfg!(test) { 64 } else { 128 };
/// Rows of a partition that are encoded together.
const ROWS_TOGETHER: usize = 8192;
/// Bytes of rows that wait to be encoded together, in one lane.
const WAITING_BYTES: usize = 32 << 20;

pub(super) struct Fanout {
    splitter: Splitter,
    partitions: HashMap<Box<[u8]>, Partition>,
    waiting_bytes: usize,
    clock: u64,
}

struct Partition {
    files: Rolling,
    waiting: Vec<RecordBatch>,
    waiting_rows: usize,
    waiting_bytes: usize,
    used: u64,
}

impl Fanout {
    pub(super) fn new(target: &Target) -> Result<Self, Error> {
        Ok(Self { splitter: Splitter::new(target)?, partitions: HashMap::new(), waiting_bytes: 0, clock: 0 })
    }

    pub(super) fn write(&mut self, shared: &Shared, batch: &RecordBatch) -> Result<(), Error> {
        for part in self.splitter.split(batch)? {
            let partition = match self.partitions.get_mut(&part.key) {
                Some(partition) => partition,
                None => {
                    let files = Rolling::new(part.values.clone(), self.splitter.folder(&part.values));
                    self.partitions.entry(part.key.clone()).or_insert(Partition::new(files))
                }
            };
            let bytes = batch_bytes(&part.rows);
            partition.waiting_rows += part.rows.num_rows();
            partition.waiting_bytes += bytes;
            partition.waiting.push(part.rows);
            self.waiting_bytes += bytes;
            if partition.waiting_rows >= ROWS_TOGETHER {
                self.encode(shared, &part.key)?;
            }
        }
        while self.waiting_bytes > WAITING_BYTES {
            let most = self.partitions.iter().max_by_key(|(_, p)| p.waiting_bytes).map(|(key, _)| key.clone());
            let Some(key) = most else { break };
            self.encode(shared, &key)?;
        }
        Ok(())
    }

    pub(super) fn is_too_wide(&self) -> bool {
        self.partitions.len() > PARTITIONS
    }

    /// The rows that wait, and the files that there are.
    pub(super) fn end(&mut self, shared: &Shared) -> Result<(Vec<RecordBatch>, Vec<DataFile>), Error> {
        self.waiting_bytes = 0;
        let (mut waiting, mut files) = (Vec::new(), Vec::new());
        for partition in std::mem::take(&mut self.partitions).into_values() {
            shared.tally.made_way(usize::from(partition.files.is_open()));
            waiting.extend(partition.waiting);
            files.extend(partition.files.close(shared)?);
        }
        Ok((waiting, files))
    }

    pub(super) fn close(mut self, shared: &Shared) -> Result<Vec<DataFile>, Error> {
        let waiting: Vec<_> =
            self.partitions.iter().filter(|(_, p)| p.waiting_rows > 0).map(|(k, _)| k.clone()).collect();
        for key in waiting {
            self.encode(shared, &key)?;
        }
        let mut files = Vec::new();
        for partition in self.partitions.into_values() {
            files.extend(partition.files.close(shared)?);
        }
        Ok(files)
    }

    fn encode(&mut self, shared: &Shared, key: &[u8]) -> Result<(), Error> {
        self.make_room(shared, key)?;
        let Some(partition) = self.partitions.get_mut(key) else { return Ok(()) };
        self.clock += 1;
        partition.used = self.clock;
        self.waiting_bytes -= partition.waiting_bytes;
        partition.encode(shared)?;
        // The row group that holds most gives way when all together hold too much.
        let held: usize = self.partitions.values().map(|p| p.files.held_bytes()).sum();
        if held > shared.lane_bytes
            && let Some(largest) = self.partitions.values_mut().max_by_key(|p| p.files.held_bytes())
        {
            largest.files.end_row_group()?;
        }
        Ok(())
    }

    fn make_room(&mut self, shared: &Shared, key: &[u8]) -> Result<(), Error> {
        if self.partitions.get(key).is_some_and(|p| p.files.is_open()) {
            return Ok(());
        }
        let open = self.partitions.values().filter(|p| p.files.is_open()).count();
        if open < OPEN_FILES {
            return Ok(());
        }
        let longest = self.partitions.values_mut().filter(|p| p.files.is_open()).min_by_key(|p| p.used);
        longest.map_or(Ok(()), |partition| {
            shared.tally.made_way(1);
            partition.files.end_file(shared)
        })
    }
}

impl Partition {
    fn new(files: Rolling) -> Self {
        Self { files, waiting: Vec::new(), waiting_rows: 0, waiting_bytes: 0, used: 0 }
    }

    fn encode(&mut self, shared: &Shared) -> Result<(), Error> {
        let waiting = std::mem::take(&mut self.waiting);
        (self.waiting_rows, self.waiting_bytes) = (0, 0);
        match waiting.as_slice() {
            [] => Ok(()),
            [one] => self.files.write(shared, one),
            [first, ..] => {
                let together = concat_batches(&first.schema(), &waiting);
                let together = together.map_err(|e| Error::encode(shared.target.location(), e))?;
                self.files.write(shared, &together)
            }
        }
    }
}
