//! Bytes of one file as a blocking reader.

use std::fs::File;
use std::io::{self, Read, Seek};
use std::ops::Range;
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::sync::Arc;

use bytes::Bytes;
use moulin_core::{Counters, Room};

use crate::Error;
use crate::blocks::Supply;
use crate::pieces::{Piece, Pieces};

/// The bytes of one file. An error of its `read` holds an [`Error`]; see [`into_error`].
pub(crate) enum ByteStream {
    /// They come as they are asked for.
    Reader(Box<dyn Read + Send>),
    /// Another thread makes them.
    Pieces(Pieces),
}

impl ByteStream {
    pub(crate) fn new(reader: impl Read + Send + 'static) -> Self {
        Self::Reader(Box::new(reader))
    }
}

impl Read for ByteStream {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        match self {
            Self::Reader(reader) => reader.read(buffer),
            Self::Pieces(pieces) => pieces.read(buffer),
        }
    }
}

impl Supply for ByteStream {
    fn piece(&mut self) -> io::Result<Option<Piece>> {
        match self {
            Self::Reader(_) => Ok(None),
            Self::Pieces(pieces) => pieces.take(),
        }
    }
}

/// An error of this crate in the clothes of `std::io`.
pub(crate) fn wrap(error: Error) -> io::Error {
    io::Error::other(error)
}

/// The error inside an `std::io` one, or one that names the file.
pub(crate) fn into_error(uri: &str, error: io::Error) -> Error {
    match error.downcast::<Error>() {
        Ok(error) => error,
        Err(error) => io_error(uri, error),
    }
}

pub(super) fn io_error(uri: &str, error: io::Error) -> Error {
    let path = uri.to_owned();
    let source = match error.kind() {
        io::ErrorKind::NotFound => return Error::FileNotFound { uri: path },
        io::ErrorKind::PermissionDenied => object_store::Error::PermissionDenied { path, source: Box::new(error) },
        _ => object_store::Error::Generic { store: "local file", source: Box::new(error) },
    };
    Error::Store { uri: uri.to_owned(), source }
}

struct LocalFile {
    file: File,
    uri: String,
    counters: Arc<Counters>,
}

impl Read for LocalFile {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let read = self.counters.timed(Room::Fetch, || self.file.read(buffer));
        let read = read.map_err(|error| wrap(io_error(&self.uri, error)))?;
        Counters::add(&self.counters.bytes_done, read as u64);
        Ok(read)
    }
}

pub(super) fn local(uri: &str, path: &Path, counters: Arc<Counters>) -> Result<ByteStream, Error> {
    let file = File::open(path).map_err(|error| io_error(uri, error))?;
    Ok(ByteStream::new(LocalFile { file, uri: uri.to_owned(), counters }))
}

pub(super) fn local_range(
    uri: &str,
    path: &Path,
    range: Range<u64>,
    counters: Arc<Counters>,
) -> Result<ByteStream, Error> {
    let open = || {
        let mut file = File::open(path)?;
        file.seek(io::SeekFrom::Start(range.start)).map(|_| file)
    };
    let file = open().map_err(|error| io_error(uri, error))?;
    let file = LocalFile { file, uri: uri.to_owned(), counters };
    Ok(ByteStream::new(file.take(range.end - range.start)))
}

pub(super) fn local_ranges(uri: &str, path: &Path, ranges: &[Range<u64>]) -> Result<Vec<Bytes>, Error> {
    let file = File::open(path).map_err(|error| io_error(uri, error))?;
    let size = file.metadata().map_err(|error| io_error(uri, error))?.len();
    ranges
        .iter()
        .map(|range| {
            if range.end > size {
                return Err(Error::BadFile {
                    uri: uri.to_owned(),
                    reason: format!("it has {size} bytes, and bytes up to {} were expected", range.end),
                });
            }
            let length =
                usize::try_from(range.end - range.start).map_err(|error| Error::Internal(error.to_string()))?;
            let mut part = vec![0; length];
            file.read_exact_at(&mut part, range.start).map_err(|error| io_error(uri, error))?;
            Ok(Bytes::from(part))
        })
        .collect()
}
