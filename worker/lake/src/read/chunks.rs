//! A data file as the Parquet reader wants it: bytes by range, on a blocking thread.

use std::fs::File;
use std::io::Read;

use bytes::{Buf as _, Bytes};
use iceberg::io::FileRead;
use parquet::errors::{ParquetError, Result as ParquetResult};
use parquet::file::reader::{ChunkReader, Length};
use tokio::runtime::Handle;

use crate::{Error, warehouse::Warehouse, warehouse::local_path};

/// What a sequential reader asks an object store for at once.
const READ_AHEAD: u64 = 1 << 20;

/// One data file.
pub(super) enum Chunks {
    Local(File),
    Remote(Remote),
}

pub(super) struct Remote {
    file: std::sync::Arc<dyn FileRead>,
    size: u64,
    runtime: Handle,
}

impl Chunks {
    pub(super) fn open(warehouse: &Warehouse, location: &str, size: u64, runtime: &Handle) -> Result<Self, Error> {
        if let Some(path) = local_path(location) {
            return File::open(path).map(Self::Local).map_err(|e| Error::storage("read", location, e));
        }
        let failed = |e| Error::storage("read", location, e);
        let input = warehouse.file_io().new_input(location).map_err(failed)?;
        let file = runtime.block_on(input.reader()).map_err(failed)?;
        Ok(Self::Remote(Remote { file: file.into(), size, runtime: runtime.clone() }))
    }
}

impl Chunks {
    /// The same of a file whose size is not known.
    pub(super) fn open_whole(warehouse: &Warehouse, location: &str, runtime: &Handle) -> Result<Self, Error> {
        if local_path(location).is_some() {
            return Self::open(warehouse, location, 0, runtime);
        }
        let failed = |e| Error::storage("read", location, e);
        let input = warehouse.io(location).new_input(location).map_err(failed)?;
        let size = runtime.block_on(input.metadata()).map_err(failed)?.size;
        Self::open(warehouse, location, size, runtime)
    }
}

impl Remote {
    fn read(&self, start: u64, length: u64) -> ParquetResult<Bytes> {
        let end = start.saturating_add(length).min(self.size);
        self.runtime.block_on(self.file.read(start..end)).map_err(|e| ParquetError::External(Box::new(e)))
    }
}

impl Length for Chunks {
    fn len(&self) -> u64 {
        match self {
            Self::Local(file) => file.len(),
            Self::Remote(remote) => remote.size,
        }
    }
}

impl ChunkReader for Chunks {
    type T = Box<dyn Read + Send>;

    fn get_read(&self, start: u64) -> ParquetResult<Self::T> {
        Ok(match self {
            Self::Local(file) => Box::new(file.get_read(start)?),
            Self::Remote(remote) => Box::new(Sequential {
                remote: Remote { file: remote.file.clone(), size: remote.size, runtime: remote.runtime.clone() },
                at: start,
                ready: Bytes::new(),
            }),
        })
    }

    fn get_bytes(&self, start: u64, length: usize) -> ParquetResult<Bytes> {
        match self {
            Self::Local(file) => file.get_bytes(start, length),
            Self::Remote(remote) => remote.read(start, length as u64),
        }
    }
}

struct Sequential {
    remote: Remote,
    at: u64,
    ready: Bytes,
}

impl Read for Sequential {
    fn read(&mut self, out: &mut [u8]) -> std::io::Result<usize> {
        if self.ready.is_empty() && self.at < self.remote.size {
            self.ready = self.remote.read(self.at, READ_AHEAD).map_err(std::io::Error::other)?;
            self.at += self.ready.len() as u64;
        }
        let length = out.len().min(self.ready.len());
        self.ready.copy_to_slice(&mut out[..length]);
        Ok(length)
    }
}
