//! Invariants that hold for every input, checked for whatever bytes come: the entries of the targets in `fuzz/`, which
//! the tests of this crate call too.
//!
//! Each entry takes the bytes of a case and panics when an invariant is broken. The first bytes choose the dialect and
//! how the rest, the file, is cut; a block holds at least the byte order mark.

use std::io::Cursor;
use std::sync::Arc;

use arrow::array::{Array, RecordBatch};
use arrow::util::display::array_value_to_string;
use moulin_core::{ReadLimits, Reject, RejectedRow};

use crate::Error;
use crate::blocks::{Pool, Splitter};
use crate::fetch::ByteStream;
use crate::pipeline::{Ask, Sizes, Text};

mod csv;
mod infer;
mod ndjson;

pub use csv::csv;
pub use infer::infer;
pub use ndjson::ndjson;

/// What a parser can be asked for.
const EVERYTHING: Ask = Ask { stop_at_first: false, bad_rows_kept: usize::MAX, offsets: true };

/// The name of a file that is none.
pub(crate) const URI: &str = "file:///t";

/// All that came of reading.
#[derive(Debug, Clone, PartialEq, Default)]
pub(crate) struct Outcome {
    pub(crate) rows: Vec<Vec<String>>,
    pub(crate) rejects: Vec<Reject>,
    pub(crate) rows_read: u64,
}

/// The cells of a batch, as they are shown.
pub(crate) fn rows_of(batch: &RecordBatch) -> Vec<Vec<String>> {
    let cell = |column: &Arc<dyn Array>, row| {
        if column.is_null(row) {
            "NULL".to_owned()
        } else {
            array_value_to_string(column, row).expect("a value of a type of ours is shown")
        }
    };
    (0..batch.num_rows()).map(|row| batch.columns().iter().map(|column| cell(column, row)).collect()).collect()
}

/// The batches of the good rows of bytes.
#[cfg(test)]
pub(crate) fn batches_of<T: Text>(text: &T, bytes: &[u8], block_bytes: usize) -> Result<Vec<RecordBatch>, Error> {
    let stream = ByteStream::new(Cursor::new(bytes.to_vec()));
    let mut splitter = Splitter::new(stream, block_bytes, Pool::default());
    let start = text.begin(URI, &mut splitter)?;
    let sizes = Sizes::new(text.schema().fields().len());
    let mut batches = Vec::new();
    while let Some(block) = splitter.next(&start.cut).map_err(|error| crate::csv::cut_error(URI, error))? {
        batches.push(text.parse(&start, &block, &sizes, EVERYTHING)?.batch);
    }
    Ok(batches)
}

/// Reads bytes with a text format, one block after another on this thread. Keeps every bad row of small blocks.
pub(crate) fn read_serially<T: Text>(text: &T, bytes: &[u8], block_bytes: usize) -> Result<Outcome, Error> {
    read_limited(text, bytes, block_bytes, &ReadLimits::default())
}

/// The same, where records are held up to a limit.
pub(crate) fn read_limited<T: Text>(
    text: &T,
    bytes: &[u8],
    block_bytes: usize,
    limits: &ReadLimits,
) -> Result<Outcome, Error> {
    let stream = ByteStream::new(Cursor::new(bytes.to_vec()));
    let mut splitter = Splitter::new(stream, block_bytes, Pool::default()).with_limits(limits);
    let mut start = text.begin(URI, &mut splitter)?;
    let sizes = Sizes::new(text.schema().fields().len());
    let (mut outcome, mut records, mut lines) = (Outcome::default(), start.records, start.lines);
    let mut next = start.first.take();
    loop {
        let block = match next.take() {
            Some(block) => block,
            None => match splitter.next(&start.cut).map_err(|error| crate::csv::cut_error(URI, error))? {
                Some(block) => block,
                None => break,
            },
        };
        let parsed = text.parse(&start, &block, &sizes, EVERYTHING)?;
        assert_eq!(parsed.offsets.len(), parsed.batch.num_rows());
        let before = records;
        outcome.rows.extend(rows_of(&parsed.batch));
        records += (parsed.batch.num_rows() + parsed.bad_after.len()) as u64;
        for row in parsed.kept {
            let row = row.into_rejected(URI, before, lines, &std::sync::Arc::default());
            let (offset, length) = (row.reject.place.byte_offset as usize, row.length_bytes as usize);
            let raw = &bytes[offset..offset + length.min(RejectedRow::RAW_BYTES)];
            assert!(
                row.raw == raw,
                "raw bytes of {:?} are not those of the file: {:?}, not {raw:?}",
                row.reject,
                row.raw
            );
            outcome.rejects.push(row.reject);
        }
        lines += parsed.lines;
    }
    outcome.rows_read = records - start.records;
    Ok(outcome)
}

/// The places of all rejects are those of records of the file, in order.
fn check_places(outcome: &Outcome, file: &[u8], eol: u8) {
    let mut before = (0, 0);
    for reject in &outcome.rejects {
        let place = &reject.place;
        assert!(place.record > before.0 && place.record <= outcome.rows_read, "record out of order: {reject:?}");
        assert!(place.byte_offset >= before.1 && place.byte_offset < file.len() as u64, "no such byte: {reject:?}");
        let before_it = &file[..place.byte_offset as usize];
        assert!(before_it.last().is_none_or(|byte| *byte == eol) || before_it == b"\xef\xbb\xbf", "{reject:?}");
        let line = 1 + memchr::memchr_iter(eol, before_it).count() as u64;
        assert_eq!(place.line, line, "{reject:?}");
        before = (place.record, place.byte_offset);
    }
}

/// The bytes of a case, taken one after another for choices.
struct Choices<'a>(&'a [u8]);

impl<'a> Choices<'a> {
    /// A number below `limit`; 0 when no byte is left.
    fn below(&mut self, limit: usize) -> usize {
        let Some((first, rest)) = self.0.split_first() else { return 0 };
        self.0 = rest;
        usize::from(*first) % limit
    }

    fn is(&mut self) -> bool {
        self.below(2) == 1
    }

    fn file(self) -> &'a [u8] {
        self.0
    }
}
