//! Sorted rows on the disk. Many runs are in one file, so that open files do not grow with the rows.

use std::fs::File;
use std::io::{self, BufReader, BufWriter, Read, Write};
use std::os::unix::fs::FileExt as _;
use std::path::Path;
use std::sync::Arc;

use arrow::array::RecordBatch;
use arrow::datatypes::SchemaRef;
use arrow::error::ArrowError;
use arrow::ipc::reader::StreamReader;
use arrow::ipc::writer::StreamWriter;

use crate::Error;
use crate::write::size::batch_bytes;

/// The file of some runs. It has no name from the beginning: nothing is left of it, however this process ends.
#[derive(Debug, Clone)]
pub(super) struct RunFile {
    file: Arc<File>,
    place: Arc<str>,
}

impl RunFile {
    pub(super) fn create(folder: &Path) -> Result<Self, Error> {
        let place: Arc<str> = format!("sorted rows in {}", folder.display()).into();
        let failed = |e: io::Error| Error::storage("write", &place, e);
        std::fs::create_dir_all(folder).map_err(failed)?;
        let file = Arc::new(tempfile::tempfile_in(folder).map_err(failed)?);
        Ok(Self { file, place })
    }

    #[cfg(test)]
    pub(super) fn of(file: File) -> Self {
        Self { file: Arc::new(file), place: "sorted rows in a test".into() }
    }

    /// Begins a run at `at`, cut into blocks of at most `block_bytes` in memory, or of one row.
    pub(super) fn append(self, at: u64, block_bytes: usize, schema: SchemaRef) -> Result<RunWriter, Error> {
        let out = BufWriter::new(Part { file: self.file.clone(), at, end: u64::MAX });
        let stream = StreamWriter::try_new(out, &schema).map_err(unwritten(&self.place))?;
        Ok(RunWriter { file: self, schema, from: at, block_bytes, widest_bytes: 0, stream })
    }
}

/// Rows in order, in a part of a file.
#[derive(Debug)]
pub(super) struct Run {
    pub(super) file: RunFile,
    pub(super) schema: SchemaRef,
    from: u64,
    /// Where the next run of the file begins.
    pub(super) end: u64,
    /// The longest of its blocks, in memory.
    pub(super) widest_bytes: usize,
}

impl Run {
    pub(super) fn stored_bytes(&self) -> u64 {
        self.end - self.from
    }

    pub(super) fn read(&self) -> Result<Blocks, Error> {
        let part = Part { file: self.file.file.clone(), at: self.from, end: self.end };
        let stream = StreamReader::try_new(BufReader::new(part), None).map_err(unread(&self.file.place))?;
        Ok(Blocks { stream, place: self.file.place.clone() })
    }
}

/// A run while it is written.
pub(super) struct RunWriter {
    file: RunFile,
    schema: SchemaRef,
    from: u64,
    block_bytes: usize,
    widest_bytes: usize,
    stream: StreamWriter<BufWriter<Part>>,
}

impl RunWriter {
    pub(super) fn write(&mut self, batch: &RecordBatch) -> Result<(), Error> {
        let bytes = batch_bytes(batch);
        if bytes > self.block_bytes && batch.num_rows() > 1 {
            let half = batch.num_rows() / 2;
            self.write(&batch.slice(0, half))?;
            return self.write(&batch.slice(half, batch.num_rows() - half));
        }
        self.widest_bytes = self.widest_bytes.max(bytes);
        self.stream.write(batch).map_err(unwritten(&self.file.place))
    }

    pub(super) fn finish(self) -> Result<Run, Error> {
        let Self { file, schema, from, widest_bytes, stream, .. } = self;
        let out = stream.into_inner().map_err(unwritten(&file.place))?;
        let part = out.into_inner().map_err(|e| Error::storage("write", &file.place, e.into_error()))?;
        Ok(Run { file, schema, from, end: part.at, widest_bytes })
    }
}

/// The blocks of a run, in order.
pub(super) struct Blocks {
    stream: StreamReader<BufReader<Part>>,
    place: Arc<str>,
}

impl Blocks {
    pub(super) fn next(&mut self) -> Result<Option<RecordBatch>, Error> {
        self.stream.next().transpose().map_err(unread(&self.place))
    }
}

fn unwritten(place: &str) -> impl FnOnce(ArrowError) -> Error {
    move |error| match error {
        ArrowError::IoError(_, error) => Error::storage("write", place, error),
        other => Error::encode(place, other),
    }
}

fn unread(place: &str) -> impl FnOnce(ArrowError) -> Error {
    move |error| match error {
        ArrowError::IoError(_, error) => Error::storage("read", place, error),
        other => Error::storage("read", place, other),
    }
}

/// A part of a file that others read and write at other places meanwhile.
struct Part {
    file: Arc<File>,
    at: u64,
    end: u64,
}

impl Read for Part {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let left = usize::try_from(self.end - self.at).unwrap_or(usize::MAX).min(buffer.len());
        let count = self.file.read_at(&mut buffer[..left], self.at)?;
        self.at += count as u64;
        Ok(count)
    }
}

impl Write for Part {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let count = self.file.write_at(bytes, self.at)?;
        self.at += count as u64;
        Ok(count)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
