//! Any number of rows in order, in bounded memory: sorted runs go to the disk and are merged.

use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::fs::{File, OpenOptions};
use std::io::{BufReader, BufWriter, Seek as _, Write as _};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use arrow::array::{RecordBatch, UInt32Array};
use arrow::compute::{concat_batches, interleave_record_batch, take_record_batch};
use arrow::datatypes::Schema;
use arrow::ipc::reader::StreamReader;
use arrow::ipc::writer::StreamWriter;
use arrow::row::Rows;

use super::batch_bytes;
use super::order::Order;
use super::tally::Tally;
use crate::Error;

/// Rows of a batch that comes out.
const ROWS_OUT: usize = 8192;
/// Rows of a batch in a run: of each run one is held while they are merged.
const ROWS_OF_RUN: usize = 2048;

/// Takes batches of one schema and gives them back in order.
pub(super) struct Sorter {
    order: Order,
    folder: PathBuf,
    run_bytes: usize,
    waiting: Vec<RecordBatch>,
    waiting_bytes: usize,
    runs: Vec<File>,
    tally: Arc<Tally>,
}

impl Sorter {
    /// `run_bytes`: held before a run goes to a file in `folder`.
    pub(super) fn new(order: Order, folder: PathBuf, run_bytes: usize) -> Self {
        let tally = Arc::default();
        Self { order, folder, run_bytes, waiting: Vec::new(), waiting_bytes: 0, runs: Vec::new(), tally }
    }

    /// Tells `tally` what goes to the disk.
    pub(super) fn counted_by(self, tally: Arc<Tally>) -> Self {
        Self { tally, ..self }
    }

    pub(super) fn push(&mut self, batch: RecordBatch) -> Result<(), Error> {
        self.waiting_bytes += batch_bytes(&batch);
        self.waiting.push(batch);
        if self.waiting_bytes >= self.run_bytes {
            self.spill()?;
        }
        Ok(())
    }

    /// Hands all rows on, in order.
    pub(super) fn finish(mut self, mut emit: impl FnMut(&RecordBatch) -> Result<(), Error>) -> Result<(), Error> {
        if self.runs.is_empty() {
            let run = self.run()?;
            return slices(&run, ROWS_OUT).try_for_each(|batch| emit(&batch));
        }
        if !self.waiting.is_empty() {
            self.spill()?;
        }
        Merge::new(&self.order, std::mem::take(&mut self.runs))?.run(emit)
    }

    fn spill(&mut self) -> Result<(), Error> {
        let run = self.run()?;
        let (file, bytes) = spill(&run, &self.folder)?;
        self.tally.spilled(bytes);
        self.runs.push(file);
        Ok(())
    }

    // What waits, sorted. Equal rows stay as they came.
    fn run(&mut self) -> Result<RecordBatch, Error> {
        let waiting = std::mem::take(&mut self.waiting);
        self.waiting_bytes = 0;
        let Some(first) = waiting.first() else { return Ok(RecordBatch::new_empty(Arc::new(Schema::empty()))) };
        let all = concat_batches(&first.schema(), &waiting).map_err(|e| Error::encode("sorted rows", e))?;
        drop(waiting);
        let keys = self.order.keys(&all)?;
        let mut places: Vec<u32> = (0..u32::try_from(all.num_rows()).unwrap_or(u32::MAX)).collect();
        places.sort_by(|a, b| keys.row(*a as usize).cmp(&keys.row(*b as usize)));
        drop(keys);
        take_record_batch(&all, &UInt32Array::from(places)).map_err(|e| Error::encode("sorted rows", e))
    }
}

fn slices(batch: &RecordBatch, rows: usize) -> impl Iterator<Item = RecordBatch> {
    (0..batch.num_rows()).step_by(rows).map(move |from| batch.slice(from, rows.min(batch.num_rows() - from)))
}

// The file, and its size. It has no name from the beginning: nothing is left of it, however this process ends.
fn spill(run: &RecordBatch, folder: &Path) -> Result<(File, u64), Error> {
    let path = folder.join(format!("sort-{}", uuid::Uuid::new_v4().simple()));
    let place = path.display().to_string();
    let failed = |e: std::io::Error| Error::storage("write", &place, e);
    std::fs::create_dir_all(folder).map_err(failed)?;
    let file = OpenOptions::new().read(true).write(true).create_new(true).open(&path).map_err(failed)?;
    std::fs::remove_file(&path).map_err(failed)?;
    let encoded = |e: arrow::error::ArrowError| Error::encode(&place, e);
    let mut writer = StreamWriter::try_new(BufWriter::new(&file), &run.schema()).map_err(encoded)?;
    for batch in slices(run, ROWS_OF_RUN) {
        writer.write(&batch).map_err(encoded)?;
    }
    writer.finish().map_err(encoded)?;
    writer.into_inner().map_err(encoded)?.flush().map_err(failed)?;
    let mut file = file;
    let bytes = file.stream_position().map_err(failed)?;
    file.rewind().map_err(failed)?;
    Ok((file, bytes))
}

/// One run while it is read.
struct Run {
    reader: StreamReader<BufReader<File>>,
    keys: Rows,
    /// The next row of the batch.
    at: usize,
    /// The place of its batch among those that a batch is made of.
    batch: usize,
}

/// The key of a run's next row, and the run.
type Next = Reverse<(Vec<u8>, usize)>;

struct Merge<'a> {
    order: &'a Order,
    runs: Vec<Option<Run>>,
    heap: BinaryHeap<Next>,
    /// Batches that the rows of `out` are in.
    batches: Vec<RecordBatch>,
    out: Vec<(usize, usize)>,
}

impl<'a> Merge<'a> {
    fn new(order: &'a Order, files: Vec<File>) -> Result<Self, Error> {
        let mut merge = Self { order, runs: Vec::new(), heap: BinaryHeap::new(), batches: Vec::new(), out: Vec::new() };
        for (number, file) in files.into_iter().enumerate() {
            let reader = StreamReader::try_new(BufReader::new(file), None).map_err(unreadable)?;
            let run = merge.next_batch(reader)?;
            if let Some(run) = &run {
                merge.heap.push(Reverse((run.keys.row(0).data().to_vec(), number)));
            }
            merge.runs.push(run);
        }
        Ok(merge)
    }

    fn run(mut self, mut emit: impl FnMut(&RecordBatch) -> Result<(), Error>) -> Result<(), Error> {
        while let Some(Reverse((mut key, number))) = self.heap.pop() {
            let Some(mut run) = self.runs[number].take() else { continue };
            self.out.push((run.batch, run.at));
            run.at += 1;
            let run = if run.at < run.keys.num_rows() { Some(run) } else { self.next_batch(run.reader)? };
            if let Some(run) = &run {
                key.clear();
                key.extend_from_slice(run.keys.row(run.at).data());
                self.heap.push(Reverse((key, number)));
            }
            self.runs[number] = run;
            if self.out.len() == ROWS_OUT {
                emit(&self.gather()?)?;
            }
        }
        if self.out.is_empty() { Ok(()) } else { emit(&self.gather()?) }
    }

    // `None`: the run is over.
    fn next_batch(&mut self, mut reader: StreamReader<BufReader<File>>) -> Result<Option<Run>, Error> {
        let Some(batch) = reader.next().transpose().map_err(unreadable)? else { return Ok(None) };
        let keys = self.order.keys(&batch)?;
        self.batches.push(batch);
        Ok(Some(Run { reader, keys, at: 0, batch: self.batches.len() - 1 }))
    }

    // The rows that are out, as a batch; batches that no run reads any more are let go.
    fn gather(&mut self) -> Result<RecordBatch, Error> {
        let batches: Vec<&RecordBatch> = self.batches.iter().collect();
        let out = interleave_record_batch(&batches, &self.out).map_err(unreadable)?;
        self.out.clear();
        let mut kept = Vec::with_capacity(self.runs.len());
        for run in self.runs.iter_mut().flatten() {
            kept.push(self.batches[run.batch].clone());
            run.batch = kept.len() - 1;
        }
        self.batches = kept;
        Ok(out)
    }
}

fn unreadable(e: arrow::error::ArrowError) -> Error {
    Error::storage("read", "a sorted run", e)
}
