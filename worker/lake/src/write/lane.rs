//! One encoding thread: it aligns batches with the table and writes files of its own.

use std::sync::Arc;

use arrow::array::RecordBatch;
use iceberg::spec::{DataFile, Struct};
use moulin_core::Room;

use super::fanout::Fanout;
use super::file::OpenFile;
use super::sorted::Sorted;
use super::{FileSettings, Shared};
use crate::Error;

pub(super) struct Lane {
    shared: Arc<Shared>,
    files: Files,
    /// Files that were done before rows were sorted.
    done: Vec<DataFile>,
}

enum Files {
    Unpartitioned(Rolling),
    Partitioned(Box<Fanout>),
    Sorted(Box<Sorted>),
}

impl Lane {
    pub(super) fn new(shared: Arc<Shared>) -> Result<Self, Error> {
        let partitioned = !shared.target.metadata.default_partition_spec().is_unpartitioned();
        let files = if Sorted::is_asked_for(&shared.target) {
            Files::Sorted(Box::new(Sorted::new(&shared)?))
        } else if partitioned {
            Files::Partitioned(Box::new(Fanout::new(&shared.target)?))
        } else {
            Files::Unpartitioned(Rolling::new(Struct::empty(), String::new()))
        };
        Ok(Self { shared, files, done: Vec::new() })
    }

    pub(super) fn write(&mut self, batch: &RecordBatch) -> Result<(), Error> {
        let counters = self.shared.options.counters.clone();
        counters.timed(Room::Land, || {
            let batch = self.shared.target.alignment.align(batch)?;
            match &mut self.files {
                Files::Unpartitioned(file) => file.write(&self.shared, &batch),
                Files::Sorted(sorted) => sorted.write(batch),
                Files::Partitioned(fanout) => {
                    fanout.write(&self.shared, &batch)?;
                    if fanout.is_too_wide() {
                        self.cluster()?;
                    }
                    Ok(())
                }
            }
        })
    }

    pub(super) fn close(self) -> Result<Vec<DataFile>, Error> {
        let counters = self.shared.options.counters.clone();
        counters
            .timed(Room::Land, || match self.files {
                Files::Unpartitioned(file) => file.close(&self.shared),
                Files::Partitioned(fanout) => fanout.close(&self.shared),
                Files::Sorted(sorted) => sorted.close(&self.shared),
            })
            .map(|mut files| {
                files.extend(self.done);
                files
            })
    }

    /// From now on rows are sorted by partition before they are written: there are too many to write side by side.
    fn cluster(&mut self) -> Result<(), Error> {
        let mut sorted = Box::new(Sorted::new(&self.shared)?);
        if let Files::Partitioned(fanout) = &mut self.files {
            let (waiting, files) = fanout.end(&self.shared)?;
            self.shared.tally.clustered();
            self.done.extend(files);
            for batch in waiting {
                sorted.write(batch)?;
            }
        }
        tracing::info!(table = %self.shared.target.table, "more partitions than are written side by side: rows are sorted by partition");
        self.files = Files::Sorted(sorted);
        Ok(())
    }
}

/// The files of one partition, one after the other, each closed at the table's target size.
pub(super) struct Rolling {
    partition: Struct,
    folder: String,
    open: Option<OpenFile>,
    done: Vec<DataFile>,
}

impl Rolling {
    pub(super) fn new(partition: Struct, folder: String) -> Self {
        Self { partition, folder, open: None, done: Vec::new() }
    }

    pub(super) fn write(&mut self, shared: &Shared, batch: &RecordBatch) -> Result<(), Error> {
        let FileSettings { target_file_bytes, row_group_bytes, .. } = shared.target.settings.as_ref();
        let mut file = match self.open.take() {
            Some(file) => file,
            None => OpenFile::create(shared, self.partition.clone(), &self.folder)?,
        };
        file.write(batch)?;
        if file.bytes() >= *target_file_bytes {
            shared.tally.full();
            self.done.push(file.close(shared)?);
            return Ok(());
        }
        if file.held_bytes() >= (*row_group_bytes).min(shared.lane_bytes) {
            file.end_row_group()?;
        }
        self.open = Some(file);
        Ok(())
    }

    pub(super) fn is_open(&self) -> bool {
        self.open.is_some()
    }

    pub(super) fn held_bytes(&self) -> usize {
        self.open.as_ref().map_or(0, OpenFile::held_bytes)
    }

    pub(super) fn end_row_group(&mut self) -> Result<(), Error> {
        self.open.as_mut().map_or(Ok(()), OpenFile::end_row_group)
    }

    /// Closes the file that is open; rows of the partition that still come make another one.
    pub(super) fn end_file(&mut self, shared: &Shared) -> Result<(), Error> {
        if let Some(file) = self.open.take() {
            self.done.push(file.close(shared)?);
        }
        Ok(())
    }

    pub(super) fn close(mut self, shared: &Shared) -> Result<Vec<DataFile>, Error> {
        self.end_file(shared)?;
        Ok(self.done)
    }
}
