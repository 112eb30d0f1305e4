//! Files of the warehouse: local ones by the standard library, all others by Iceberg's `FileIO`.

use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use bytes::Bytes;
use iceberg::io::{FileIO, FileIOBuilder};
use iceberg_storage_opendal::OpenDalResolvingStorageFactory;
use moulin_core::{Secret, StorageSettings};

use crate::Error;

/// Reads, writes and removes whole files by location; cheap to clone.
#[derive(Clone, Debug)]
pub(crate) struct Warehouse {
    local: FileIO,
    remote: FileIO,
}

impl Warehouse {
    pub(crate) fn new(storage: &StorageSettings) -> Self {
        let remote =
            FileIOBuilder::new(Arc::new(OpenDalResolvingStorageFactory::new())).with_props(properties(storage)).build();
        Self { local: FileIO::new_with_fs(), remote }
    }

    /// A warehouse whose remote files are in memory.
    #[cfg(test)]
    pub(crate) fn in_memory() -> Self {
        Self { local: FileIO::new_with_fs(), remote: FileIO::new_with_memory() }
    }

    /// The `FileIO` that reaches a location.
    pub(crate) fn io(&self, location: &str) -> &FileIO {
        if local_path(location).is_some() { &self.local } else { &self.remote }
    }

    pub(crate) async fn read(&self, location: &str) -> Result<Bytes, Error> {
        if let Some(path) = local_path(location) {
            let bytes = blocking(location, "read", move || std::fs::read(path)).await?;
            return Ok(Bytes::from(bytes));
        }
        let input = self.remote.new_input(location).map_err(|e| Error::storage("read", location, e))?;
        input.read().await.map_err(|e| Error::storage("read", location, e))
    }

    /// Writes a file that survives a crash of the machine once this returns.
    pub(crate) async fn write(&self, location: &str, bytes: Bytes) -> Result<(), Error> {
        if let Some(path) = local_path(location) {
            return blocking(location, "write", move || {
                let mut file = create(&path)?;
                file.write_all(&bytes)?;
                sync(&file, &path)
            })
            .await;
        }
        let output = self.remote.new_output(location).map_err(|e| Error::storage("write", location, e))?;
        output.write(bytes).await.map_err(|e| Error::storage("write", location, e))
    }

    /// Makes a file that a library has written survive a crash of the machine.
    pub(crate) async fn sync(&self, location: &str) -> Result<(), Error> {
        let Some(path) = local_path(location) else { return Ok(()) };
        blocking(location, "write", move || sync(&std::fs::File::open(&path)?, &path)).await
    }

    /// Removes a file; one that is absent is fine.
    pub(crate) async fn remove(&self, location: &str) -> Result<(), Error> {
        if let Some(path) = local_path(location) {
            return blocking(location, "remove", move || match std::fs::remove_file(path) {
                Err(e) if e.kind() == std::io::ErrorKind::NotFound => Ok(()),
                other => other,
            })
            .await;
        }
        self.remote.delete(location).await.map_err(|e| Error::storage("remove", location, e))
    }
}

/// The path of a location on this machine; `None` for a location in an object store.
pub(crate) fn local_path(location: &str) -> Option<PathBuf> {
    if let Some(rest) = location.strip_prefix("file:") {
        let path = rest.trim_start_matches('/');
        return Some(PathBuf::from(format!("/{path}")));
    }
    (!location.contains("://")).then(|| PathBuf::from(location))
}

/// Creates a file and the folders above it.
pub(crate) fn create(path: &Path) -> std::io::Result<std::fs::File> {
    match std::fs::File::create(path) {
        Err(e) if e.kind() == std::io::ErrorKind::NotFound => {
            if let Some(folder) = path.parent() {
                std::fs::create_dir_all(folder)?;
            }
            std::fs::File::create(path)
        }
        other => other,
    }
}

/// Flushes a file and its name to the disk.
pub(crate) fn sync(file: &std::fs::File, path: &Path) -> std::io::Result<()> {
    file.sync_all()?;
    match path.parent() {
        Some(folder) => std::fs::File::open(folder)?.sync_all(),
        None => Ok(()),
    }
}

async fn blocking<T: Send + 'static>(
    location: &str,
    doing: &'static str,
    work: impl FnOnce() -> std::io::Result<T> + Send + 'static,
) -> Result<T, Error> {
    match tokio::task::spawn_blocking(work).await {
        Ok(result) => result.map_err(|e| Error::storage(doing, location, e)),
        Err(e) => Err(Error::TaskLost { task: "file access", source: Some(e) }),
    }
}

// The names are those of Iceberg's own `FileIO` properties.
fn properties(storage: &StorageSettings) -> Vec<(String, String)> {
    let s3 = &storage.s3;
    let secret = |s: &Option<Secret>| s.as_ref().map(|s| s.expose().to_owned());
    let endpoint = s3.endpoint.clone();
    [
        ("s3.endpoint", endpoint),
        ("s3.region", s3.region.clone()),
        ("s3.access-key-id", secret(&s3.access_key_id)),
        ("s3.secret-access-key", secret(&s3.secret_access_key)),
        ("s3.session-token", secret(&s3.session_token)),
        ("s3.path-style-access", s3.path_style.then(|| "true".to_owned())),
    ]
    .into_iter()
    .filter_map(|(name, value)| Some((name.to_owned(), value?)))
    .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn locations_with_and_without_scheme_are_local_paths() {
        for location in ["file:///a/b", "file:/a/b", "/a/b"] {
            assert_eq!(local_path(location), Some(PathBuf::from("/a/b")), "{location}");
        }
        assert_eq!(local_path("s3://bucket/a"), None);
    }

    #[tokio::test]
    async fn a_file_comes_back_and_its_removal_may_be_repeated() {
        let folder = tempfile::tempdir().unwrap();
        let warehouse = Warehouse::new(&StorageSettings::default());
        let location = format!("file://{}/new/folder/x", folder.path().display());
        warehouse.write(&location, Bytes::from_static(b"abc")).await.unwrap();
        assert_eq!(&warehouse.read(&location).await.unwrap()[..], b"abc");
        warehouse.remove(&location).await.unwrap();
        warehouse.remove(&location).await.unwrap();
        let error = warehouse.read(&location).await.unwrap_err();
        assert_eq!(error.kind(), moulin_core::FaultKind::NotFound);
    }
}
