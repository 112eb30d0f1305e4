//! Rows are counted in the order of the input, and what is wrong with some of them is said, sent and limited.

use std::sync::Arc;

use arrow::array::RecordBatch;
use moulin_core::{Counters, OnBadRow, Ratio, RejectedRow, RowShape};
use tokio::sync::mpsc;

use crate::pipeline::{Ask, Parsed};
use crate::{Error, ReadOptions, reject_batch};

/// Rejects of a batch at the most: their reasons are longer than their rows may be.
const REJECTS_AT_ONCE: usize = 4096;
/// Bytes after which a batch of rejects is full, about: with each row go the columns of its file.
const REJECTS_BYTES: usize = 16 << 20;

/// Counts every row once, good or bad, in the order of the files.
pub(crate) struct Accounts {
    on_bad_row: OnBadRow,
    max_bad_rows: Option<u64>,
    max_bad_ratio: Option<Ratio>,
    most_rows: Option<u64>,
    rejects: Option<mpsc::Sender<RecordBatch>>,
    counters: Arc<Counters>,
    rows: u64,
    bad: u64,
    /// Of the file that is read now, what stands before the next block.
    file: FilePlace,
}

/// Where in a file the next block begins.
#[derive(Debug, Clone, Default)]
pub(crate) struct FilePlace {
    pub(crate) uri: String,
    pub(crate) lines: u64,
    pub(crate) records: u64,
    /// How the file is read.
    pub(crate) shape: Arc<RowShape>,
}

impl Accounts {
    pub(crate) fn new(options: &ReadOptions) -> Self {
        Self {
            on_bad_row: options.on_bad_row,
            max_bad_rows: options.max_bad_rows,
            max_bad_ratio: options.max_bad_ratio,
            most_rows: options.most_rows,
            rejects: options.rejects.clone().filter(|_| options.on_bad_row == OnBadRow::Quarantine),
            counters: Arc::clone(&options.counters),
            rows: 0,
            bad: 0,
            file: FilePlace::default(),
        }
    }

    /// What parsers are asked for, so that every bad row can be accounted for.
    pub(crate) fn ask(options: &ReadOptions) -> Ask {
        let all = options.on_bad_row == OnBadRow::Quarantine && options.rejects.is_some();
        Ask {
            stop_at_first: options.on_bad_row == OnBadRow::Fail,
            bad_rows_kept: if all { usize::MAX } else { Counters::REJECTS_KEPT },
            offsets: false,
        }
    }

    /// Says that the next block is the first of a file.
    pub(crate) fn begin(&mut self, file: FilePlace) {
        self.file = file;
    }

    /// What stands before the next block.
    pub(crate) fn place(&self) -> &FilePlace {
        &self.file
    }

    /// Counts the rows of a block, and answers how many records of the file were before it. The bad rows have been sent
    /// by then.
    ///
    /// # Errors
    /// `BadRow` when there is one and none is wanted, or one too many.
    pub(crate) async fn block(&mut self, parsed: &mut Parsed) -> Result<u64, Error> {
        let bad = parsed.bad_after.len() as u64;
        let records = parsed.batch.num_rows() as u64 + bad;
        Counters::add(&self.counters.rows_read, records);
        let exceeded = self.exceeded(parsed);
        if exceeded.is_some() {
            // Whatever the blocks are, the same rejects come out: up to the one that is too many.
            let room = self.max_bad_rows.unwrap_or(0) - self.bad + 1;
            parsed.kept.truncate(usize::try_from(room).unwrap_or(usize::MAX));
        }
        let unkept = bad.saturating_sub(parsed.kept.len() as u64);
        self.reject(std::mem::take(&mut parsed.kept)).await?;
        if let Some(error) = exceeded {
            return Err(error);
        }
        Counters::add(&self.counters.rows_rejected, unkept);
        self.rows += records;
        self.bad += bad;
        let before = self.file.records;
        self.file.records += records;
        self.file.lines += parsed.lines;
        Ok(before)
    }

    /// The error of the bad row that is one too many. It is the same wherever blocks begin.
    fn exceeded(&self, parsed: &Parsed) -> Option<Error> {
        let limit = self.max_bad_rows.filter(|_| self.on_bad_row != OnBadRow::Fail)?;
        let last = usize::try_from(limit - self.bad).ok()?;
        let good_before = u64::from(*parsed.bad_after.get(last)?);
        let rows = self.rows + good_before + last as u64 + 1;
        Some(Error::TooManyBadRows { bad: limit + 1, rows, limit: format!("max_bad_rows = {limit}") })
    }

    async fn reject(&mut self, kept: Vec<crate::fault::BadRow>) -> Result<(), Error> {
        let (mut waiting, mut bytes) = (Vec::new(), 0);
        for row in kept {
            let stops = row.bad.stops || self.on_bad_row == OnBadRow::Fail;
            let row = row.into_rejected(&self.file.uri, self.file.records, self.file.lines, &self.file.shape);
            self.counters.reject(|| row.reject.clone());
            if stops {
                self.send(waiting).await?;
                return Err(Error::BadRow(Box::new(row.reject)));
            }
            if self.rejects.is_some() {
                bytes += row.raw.len() + row.shape.columns.len();
                waiting.push(row);
                if waiting.len() == REJECTS_AT_ONCE || bytes >= REJECTS_BYTES {
                    self.send(std::mem::take(&mut waiting)).await?;
                    bytes = 0;
                }
            }
        }
        self.send(waiting).await
    }

    async fn send(&self, rows: Vec<RejectedRow>) -> Result<(), Error> {
        if let Some(rejects) = self.rejects.as_ref().filter(|_| !rows.is_empty()) {
            let batch = reject_batch(&rows)?;
            // Nobody wants them any more when this fails.
            let _ = rejects.send(batch).await;
        }
        Ok(())
    }

    /// Whether so many rows have been counted that no more are wanted.
    pub(crate) fn are_enough(&self) -> bool {
        self.most_rows.is_some_and(|most| self.rows >= most)
    }

    /// Checks what can be checked only when all rows have been read.
    ///
    /// # Errors
    /// `BadRow` when too large a share of them does not fit.
    pub(crate) fn end(&self) -> Result<(), Error> {
        let Some(limit) = self.max_bad_ratio.map(Ratio::get) else { return Ok(()) };
        if self.bad as f64 <= limit * self.rows as f64 {
            return Ok(());
        }
        let share = self.bad as f64 / self.rows as f64;
        let limit = format!("max_bad_ratio = {limit} (their share is {share:.4})");
        Err(Error::TooManyBadRows { bad: self.bad, rows: self.rows, limit })
    }
}
