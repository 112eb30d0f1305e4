//! Rows that are sorted before they are written: one file is open at a time, however many partitions there are.

use arrow::array::RecordBatch;
use iceberg::spec::{DataFile, Struct};

use super::Shared;
use super::lane::Rolling;
use super::order::Order;
use super::sorter::Sorter;
use super::split::Splitter;
use crate::{Error, Target};

pub(super) struct Sorted {
    sorter: Sorter,
    splitter: Option<Splitter>,
}

impl Sorted {
    /// Whether the rows of a table are written in its sort order.
    pub(super) fn is_asked_for(target: &Target) -> bool {
        !target.metadata.default_sort_order().is_unsorted()
    }

    pub(super) fn new(shared: &Shared) -> Result<Self, Error> {
        let target = &shared.target;
        let order = Order::new(target, Self::is_asked_for(target))?;
        let sorter = Sorter::new(order, shared.options.spill_dir.clone(), shared.sorting.clone());
        let sorter = sorter.counted_by(shared.tally.clone());
        let partitioned = !target.metadata.default_partition_spec().is_unpartitioned();
        Ok(Self { sorter, splitter: if partitioned { Some(Splitter::new(target)?) } else { None } })
    }

    pub(super) fn write(&mut self, batch: RecordBatch) -> Result<(), Error> {
        self.sorter.push(batch)
    }

    pub(super) fn close(self, shared: &Shared) -> Result<Vec<DataFile>, Error> {
        let Some(mut splitter) = self.splitter else {
            let mut files = Rolling::new(Struct::empty(), String::new());
            self.sorter.finish(|batch| if batch.num_rows() > 0 { files.write(shared, batch) } else { Ok(()) })?;
            return files.close(shared);
        };
        let mut done = Vec::new();
        let mut open: Option<(Box<[u8]>, Rolling)> = None;
        self.sorter.finish(|batch| {
            if batch.num_rows() == 0 {
                return Ok(());
            }
            for part in splitter.split(batch)? {
                if open.as_ref().is_none_or(|(key, _)| *key != part.key) {
                    let files = Rolling::new(part.values.clone(), splitter.folder(&part.values));
                    if let Some((_, before)) = open.replace((part.key.clone(), files)) {
                        done.extend(before.close(shared)?);
                    }
                }
                if let Some((_, files)) = &mut open {
                    files.write(shared, &part.rows)?;
                }
            }
            Ok(())
        })?;
        if let Some((_, last)) = open {
            done.extend(last.close(shared)?);
        }
        Ok(done)
    }
}
