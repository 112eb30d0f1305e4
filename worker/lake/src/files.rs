//! The warehouse's files as Iceberg's library asks for them.
//!
//! Each access finds its way anew: whoever has opened a table or a file goes on with credentials that were given since,
//! and a file in another place than its table is read with those for its own place. Errors of local files keep what the
//! system said, of which the library makes damaged data.

use std::fs::File;
use std::ops::Range;
use std::os::unix::fs::FileExt as _;
use std::path::Path;
use std::sync::Arc;

use async_trait::async_trait;
use bytes::Bytes;
use futures::stream::BoxStream;
use futures::{StreamExt as _, TryStreamExt as _};
use iceberg::io::{
    FileIO, FileIOBuilder, FileMetadata, FileRead, FileWrite, InputFile, OutputFile, Storage, StorageConfig,
    StorageFactory,
};
use iceberg::{Error, ErrorKind, Result};
use serde::{Deserialize, Serialize};
use tokio::sync::Mutex;

use crate::warehouse::{Warehouse, local_path};

/// Every file that a warehouse reaches.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct Files {
    // The library wants what it can write down; credentials are not for that.
    #[serde(skip)]
    warehouse: Warehouse,
}

impl Files {
    pub(crate) fn io(warehouse: Warehouse) -> FileIO {
        FileIOBuilder::new(Arc::new(Self { warehouse })).build()
    }
}

#[typetag::serde(name = "moulin")]
impl StorageFactory for Files {
    fn build(&self, _config: &StorageConfig) -> Result<Arc<dyn Storage>> {
        Ok(Arc::new(self.clone()))
    }
}

#[async_trait]
#[typetag::serde(name = "moulin")]
impl Storage for Files {
    async fn exists(&self, path: &str) -> Result<bool> {
        match local_path(path) {
            Some(local) => local.try_exists().map_err(|e| failed(&local, e)),
            None => self.warehouse.io(path).exists(path).await,
        }
    }

    async fn metadata(&self, path: &str) -> Result<FileMetadata> {
        match local_path(path) {
            Some(local) => {
                let found = std::fs::metadata(&local).map_err(|e| failed(&local, e))?;
                Ok(FileMetadata { size: found.len() })
            }
            None => self.warehouse.io(path).new_input(path)?.metadata().await,
        }
    }

    async fn read(&self, path: &str) -> Result<Bytes> {
        match local_path(path) {
            Some(local) => self.warehouse.read(path).await.map_err(|e| failed(&local, e)),
            None => self.warehouse.io(path).new_input(path)?.read().await,
        }
    }

    async fn reader(&self, path: &str) -> Result<Box<dyn FileRead>> {
        if let Some(local) = local_path(path) {
            let file = File::open(&local).map_err(|e| failed(&local, e))?;
            return Ok(Box::new(Local { file, path: local }));
        }
        let open = Mutex::new(Open::new(self.warehouse.io(path), path).await?);
        Ok(Box::new(Remote { warehouse: self.warehouse.clone(), location: path.to_owned(), open }))
    }

    async fn write(&self, path: &str, bytes: Bytes) -> Result<()> {
        self.warehouse.io(path).new_output(path)?.write(bytes).await
    }

    async fn writer(&self, path: &str) -> Result<Box<dyn FileWrite>> {
        self.warehouse.io(path).new_output(path)?.writer().await
    }

    async fn delete(&self, path: &str) -> Result<()> {
        self.warehouse.io(path).delete(path).await
    }

    async fn delete_prefix(&self, path: &str) -> Result<()> {
        self.warehouse.io(path).delete_prefix(path).await
    }

    async fn delete_stream(&self, paths: BoxStream<'static, String>) -> Result<()> {
        paths.map(Ok).try_for_each(|path| async move { self.delete(&path).await }).await
    }

    fn new_input(&self, path: &str) -> Result<InputFile> {
        Ok(InputFile::new(Arc::new(self.clone()), path.to_owned()))
    }

    fn new_output(&self, path: &str) -> Result<OutputFile> {
        Ok(OutputFile::new(Arc::new(self.clone()), path.to_owned()))
    }
}

/// An open file of this machine.
struct Local {
    file: File,
    path: std::path::PathBuf,
}

#[async_trait]
impl FileRead for Local {
    async fn read(&self, range: Range<u64>) -> Result<Bytes> {
        let mut bytes = vec![0; usize::try_from(range.end.saturating_sub(range.start))?];
        self.file.read_exact_at(&mut bytes, range.start).map_err(|e| failed(&self.path, e))?;
        Ok(bytes.into())
    }
}

/// An open file of an object store.
struct Remote {
    warehouse: Warehouse,
    location: String,
    open: Mutex<Open>,
}

/// A file as it was opened last, and what with.
struct Open {
    io: FileIO,
    file: Arc<dyn FileRead>,
}

impl Open {
    async fn new(io: FileIO, location: &str) -> Result<Self> {
        let file = io.new_input(location)?.reader().await?.into();
        Ok(Self { io, file })
    }
}

#[async_trait]
impl FileRead for Remote {
    async fn read(&self, range: Range<u64>) -> Result<Bytes> {
        let file = {
            let (mut open, io) = (self.open.lock().await, self.warehouse.io(&self.location));
            if open.io.config().props() != io.config().props() {
                *open = Open::new(io, &self.location).await?;
            }
            Arc::clone(&open.file)
        };
        file.read(range).await
    }
}

fn failed(path: &Path, error: impl std::error::Error + Send + Sync + 'static) -> Error {
    Error::new(ErrorKind::Unexpected, format!("cannot read {}", path.display())).with_source(error)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_local_file_is_read_in_parts_and_one_that_is_missing_says_so() {
        let folder = tempfile::tempdir().unwrap();
        let (io, path) = (Files::io(Warehouse::default()), format!("file://{}/x", folder.path().display()));
        assert!(!io.exists(&path).await.unwrap());
        for error in [
            io.new_input(&path).unwrap().read().await.unwrap_err(),
            io.new_input(&path).unwrap().reader().await.err().unwrap(),
            io.new_input(&path).unwrap().metadata().await.err().unwrap(),
        ] {
            assert_eq!(crate::Error::storage("read", &path, error).kind(), moulin_core::FaultKind::NotFound);
        }
        io.new_output(&path).unwrap().write(Bytes::from_static(b"abcdef")).await.unwrap();
        let input = io.new_input(&path).unwrap();
        assert_eq!(input.metadata().await.unwrap().size, 6);
        let reader = input.reader().await.unwrap();
        assert_eq!(&reader.read(2..4).await.unwrap()[..], b"cd");
        assert_eq!(&input.read().await.unwrap()[..], b"abcdef");
        io.delete(&path).await.unwrap();
        assert!(!io.exists(&path).await.unwrap());
    }
}
