//! Files of the warehouse: local ones by the standard library, all others by Iceberg's `FileIO`.

use std::collections::HashMap;
use std::fmt;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::sync::{Arc, PoisonError, RwLock};

use base64::Engine as _;
use bytes::Bytes;
use iceberg::io::{FileIO, FileIOBuilder};
use iceberg_storage_opendal::OpenDalResolvingStorageFactory;
use moulin_core::{AzureSettings, GcsSettings, S3Settings, Secret, StorageSettings};

use crate::{Error, files::Files};

/// Reads, writes and removes whole files by location; cheap to clone.
#[derive(Clone)]
pub(crate) struct Warehouse {
    local: FileIO,
    remote: FileIO,
    settings: Vec<(String, String)>,
    /// What a catalog gave for places of its own, shared by all clones: a table's writer goes on with new credentials.
    given: Arc<RwLock<Vec<Given>>>,
}

/// Access to everything under a place, with credentials that a catalog gave.
struct Given {
    prefix: String,
    properties: HashMap<String, String>,
    io: FileIO,
}

// File access holds secrets in its properties.
impl fmt::Debug for Warehouse {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Warehouse").finish_non_exhaustive()
    }
}

impl Default for Warehouse {
    fn default() -> Self {
        Self::new(&StorageSettings::default())
    }
}

impl Warehouse {
    pub(crate) fn new(storage: &StorageSettings) -> Self {
        let settings = properties(storage);
        let remote = remote_io(settings.clone());
        Self { local: FileIO::new_with_fs(), remote, settings, given: Arc::default() }
    }

    /// A warehouse whose remote files are in memory.
    #[cfg(test)]
    pub(crate) fn in_memory() -> Self {
        Self { remote: FileIO::new_with_memory(), ..Self::new(&StorageSettings::default()) }
    }

    /// The `FileIO` that reaches a location: with the credentials given for the longest prefix of it, or else the
    /// worker's own.
    pub(crate) fn io(&self, location: &str) -> FileIO {
        if local_path(location).is_some() {
            return self.local.clone();
        }
        let given = self.given.read().unwrap_or_else(PoisonError::into_inner);
        let longest = given.iter().filter(|given| is_under(location, &given.prefix)).max_by_key(|g| g.prefix.len());
        longest.map_or_else(|| self.remote.clone(), |given| given.io.clone())
    }

    /// Access to all of its files, for the library to keep: each is reached as [`Warehouse::io`] says at that moment.
    pub(crate) fn file_io(&self) -> FileIO {
        Files::io(self.clone())
    }

    /// Takes a catalog's properties of file access for everything under a place; they win over the worker's settings.
    pub(crate) fn give(&self, prefix: &str, properties: HashMap<String, String>) {
        let mut given = self.given.write().unwrap_or_else(PoisonError::into_inner);
        if let Some(known) = given.iter().position(|given| given.prefix == prefix) {
            if given[known].properties == properties {
                return;
            }
            given.swap_remove(known);
        }
        let all = self.settings.iter().cloned().chain(properties.clone());
        given.push(Given { prefix: prefix.to_owned(), io: remote_io(all), properties });
    }

    /// The region of the worker's own settings.
    pub(crate) fn region(&self) -> Option<String> {
        self.settings.iter().find(|(name, _)| name == "s3.region").map(|(_, region)| region.clone())
    }

    pub(crate) async fn read(&self, location: &str) -> Result<Bytes, Error> {
        if let Some(path) = local_path(location) {
            let bytes = blocking(location, "read", move || std::fs::read(path)).await?;
            return Ok(Bytes::from(bytes));
        }
        let input = self.io(location).new_input(location).map_err(|e| Error::storage("read", location, e))?;
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
        let output = self.io(location).new_output(location).map_err(|e| Error::storage("write", location, e))?;
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
        self.io(location).delete(location).await.map_err(|e| Error::storage("remove", location, e))
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

fn remote_io(properties: impl IntoIterator<Item = (String, String)>) -> FileIO {
    FileIOBuilder::new(Arc::new(OpenDalResolvingStorageFactory::new())).with_props(properties).build()
}

// A place's name may be the beginning of another one's; a credential for `s3` alone is for every bucket.
fn is_under(location: &str, prefix: &str) -> bool {
    location.strip_prefix(prefix).is_some_and(|rest| {
        rest.is_empty() || prefix.ends_with('/') || rest.starts_with('/') || !prefix.contains("://")
    })
}

// The names are those of Iceberg's own `FileIO` properties. Every field is named, so that a new one is not forgotten
// here; `moulin-read` gives the same ones to `object_store`.
fn properties(storage: &StorageSettings) -> Vec<(String, String)> {
    let StorageSettings { s3, gcs, azure } = storage;
    let S3Settings { endpoint, region, access_key_id, secret_access_key, session_token, path_style: _, allow_http: _ } =
        s3;
    let GcsSettings { service_account_key } = gcs;
    let AzureSettings { account, access_key, sas_token, tenant_id, client_id, client_secret } = azure;
    let secret = |s: &Option<Secret>| s.as_ref().map(|s| s.expose().to_owned());
    let base64 = |text: String| base64::engine::general_purpose::STANDARD.encode(text);
    [
        ("s3.endpoint", endpoint.clone()),
        ("s3.region", region.clone()),
        ("s3.access-key-id", secret(access_key_id)),
        ("s3.secret-access-key", secret(secret_access_key)),
        ("s3.session-token", secret(session_token)),
        ("s3.path-style-access", s3.is_path_style().then(|| "true".to_owned())),
        ("gcs.credentials-json", secret(service_account_key).map(base64)),
        ("adls.account-name", account.clone()),
        ("adls.account-key", secret(access_key)),
        ("adls.sas-token", secret(sas_token)),
        ("adls.tenant-id", tenant_id.clone()),
        ("adls.client-id", client_id.clone()),
        ("adls.client-secret", secret(client_secret)),
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

    #[test]
    fn credentials_given_for_a_place_are_for_that_place_only() {
        let warehouse = Warehouse::new(&StorageSettings {
            s3: S3Settings { region: Some("own".into()), ..S3Settings::default() },
            ..StorageSettings::default()
        });
        let key = |location: &str| warehouse.io(location).config().props().get("s3.access-key-id").cloned();
        let give = |prefix: &str, id: &str| {
            warehouse.give(prefix, HashMap::from([("s3.access-key-id".to_owned(), id.to_owned())]));
        };
        give("s3://b/t", "table");
        give("s3://b/t/deep", "deep");
        for (location, expected) in [
            ("s3://b/t/data/x", Some("table")),
            ("s3://b/t/deep/x", Some("deep")),
            ("s3://b/table2/x", None),
            ("s3://c/t/x", None),
        ] {
            assert_eq!(key(location).as_deref(), expected, "{location}");
        }
        // A clone sees what is given later; the worker's own settings stay where nothing else is said.
        let clone = warehouse.clone();
        give("s3://b/t", "renewed");
        let io = clone.io("s3://b/t/x");
        assert_eq!(io.config().props().get("s3.access-key-id").map(String::as_str), Some("renewed"));
        assert_eq!(io.config().props().get("s3.region").map(String::as_str), Some("own"));
        give("s3", "all");
        assert_eq!(key("s3://c/t/x").as_deref(), Some("all"));
        assert!(!format!("{warehouse:?}").contains("renewed"));
    }

    #[tokio::test]
    async fn every_setting_of_every_store_is_taken() {
        let secret = |text: &str| Some(Secret::new(text));
        let storage = StorageSettings {
            s3: S3Settings {
                endpoint: Some("http://localhost:9000".into()),
                region: Some("eu-x".into()),
                access_key_id: secret("id"),
                secret_access_key: secret("key"),
                session_token: secret("token"),
                path_style: None,
                allow_http: true,
            },
            gcs: GcsSettings { service_account_key: secret("{}") },
            azure: AzureSettings {
                account: Some("lake".into()),
                access_key: secret("a2V5"),
                sas_token: secret("sv=1"),
                tenant_id: Some("tenant".into()),
                client_id: Some("client".into()),
                client_secret: secret("word"),
            },
        };
        assert_eq!(properties(&storage).len(), 13);
        let warehouse = Warehouse::new(&storage);
        for location in ["s3://b/x", "gs://b/x", "abfss://c@lake.dfs.core.windows.net/x"] {
            // The store is built without asking it anything.
            warehouse.io(location).new_input(location).unwrap();
        }
    }
}
