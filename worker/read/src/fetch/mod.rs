//! Files are listed and their bytes streamed.
//!
//! A [`Fetcher`] reaches every store by its uri: `file://` and bare paths, `s3://`, `gs://`, `az://` (and `abfss://`),
//! `http://` and `https://`. It lists patterns, opens streams with bounded read-ahead and reads ranges. It knows
//! nothing of formats. Local files are read with plain calls on the caller's blocking thread: they are never
//! mapped, so that memory stays what the job holds.

use std::collections::{BTreeMap, HashMap};
use std::ops::Range;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use moulin_core::{Counters, PlannedFile, Room, StorageSettings};
use object_store::{GetOptions, GetRange, ObjectStore};
use parking_lot::Mutex;
use tokio::runtime::Handle;
use tokio_util::sync::CancellationToken;

mod list;
mod location;
mod pattern;
mod remote;
mod stores;
mod stream;

pub(crate) use list::percent_decoded;
pub(crate) use remote::PIECE_BYTES;
pub(crate) use stream::{ByteStream, into_error, wrap};

use crate::Error;
use location::{Location, Remote};
use remote::Object;

/// Lists and reads files. Cheap to clone; one connection pool per bucket is shared by all clones.
#[derive(Clone)]
pub struct Fetcher {
    inner: Arc<Inner>,
}

struct Inner {
    settings: StorageSettings,
    stores: Mutex<HashMap<String, Arc<dyn ObjectStore>>>,
    /// In which a web server must say something.
    silence: Duration,
}

impl std::fmt::Debug for Fetcher {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Fetcher").finish_non_exhaustive()
    }
}

impl Fetcher {
    /// A fetcher with the settings of the worker; what they leave out comes from the stores' usual environment.
    ///
    /// # Errors
    /// None today: a store is built when its first uri is seen, and a wrong setting shows then.
    pub fn new(settings: &StorageSettings) -> Result<Self, Error> {
        Ok(Self {
            inner: Arc::new(Inner { settings: settings.clone(), stores: Mutex::default(), silence: remote::SILENCE }),
        })
    }

    /// Expands uris and patterns to files: sorted by uri, each once, with size and entity tag.
    ///
    /// `*`, `?` and `[..]` stand for characters within one name, `**` for any number of folders; names that start
    /// with a dot are matched only by a pattern that does too.
    ///
    /// # Errors
    /// `NotFound` for a uri or a pattern without a file, `InvalidSpec` for a uri that is none, and what the store says.
    pub async fn list(&self, uris: &[String]) -> Result<Vec<PlannedFile>, Error> {
        let mut found = BTreeMap::new();
        for uri in uris {
            for file in self.list_one(uri).await? {
                found.insert(file.uri.clone(), file);
            }
        }
        Ok(found.into_values().collect())
    }

    async fn list_one(&self, uri: &str) -> Result<Vec<PlannedFile>, Error> {
        match Location::parse(uri)? {
            Location::Local(path) => {
                let uri = uri.to_owned();
                tokio::task::spawn_blocking(move || list::local(&uri, &path))
                    .await
                    .map_err(|error| Error::Internal(format!("the thread that lists files ended: {error}")))?
            }
            Location::Remote(remote) => {
                let store = self.store(uri, &remote)?;
                let listed = list::remote(uri, &remote, store.as_ref());
                remote::answered(uri, self.silence(&remote), listed).await?
            }
        }
    }

    /// Checks that local files are what they were when they were listed. Objects of a store are checked by the store, at
    /// every request.
    ///
    /// # Errors
    /// `BadFile` for the first that has changed, `NotFound` for one that is gone.
    pub async fn unchanged(&self, files: &[PlannedFile]) -> Result<(), Error> {
        let files: Vec<PlannedFile> = files.iter().filter(|file| file.uri.starts_with("file:")).cloned().collect();
        tokio::task::spawn_blocking(move || files.iter().try_for_each(list::local_unchanged))
            .await
            .map_err(|error| Error::Internal(format!("the thread that looks at files ended: {error}")))?
    }

    /// Opens a file for reading from its start to its end. Returns at once for a remote file; errors then come
    /// from the stream. Call from a blocking thread. `stop` ends the fetching, and the stream with it.
    pub(crate) fn open(
        &self,
        file: &PlannedFile,
        counters: &Arc<Counters>,
        runtime: &Handle,
        stop: &CancellationToken,
    ) -> Result<ByteStream, Error> {
        match Location::parse(&file.uri)? {
            Location::Local(path) => stream::local(&file.uri, &path, Arc::clone(counters)),
            Location::Remote(remote) => {
                Ok(remote::stream(self.object(file, &remote)?, Arc::clone(counters), runtime, stop))
            }
        }
    }

    /// The size of a file of this machine, of which any range can be read at once; `None` for all others.
    pub(crate) fn local_size(&self, file: &PlannedFile) -> Option<u64> {
        let Ok(Location::Local(path)) = Location::parse(&file.uri) else { return None };
        std::fs::metadata(path).ok().filter(std::fs::Metadata::is_file).map(|meta| meta.len())
    }

    /// The size of a remote object of which any range can be asked for; `None` for files of this machine, and for those
    /// of a web server, which may know no ranges.
    pub(crate) fn ranged_size(&self, file: &PlannedFile) -> Option<u64> {
        let Ok(Location::Remote(remote)) = Location::parse(&file.uri) else { return None };
        (!remote.is_http()).then_some(file.size_bytes)
    }

    /// Opens a range of a file for reading. Of a remote one a piece is fetched when it is read; nothing is counted.
    /// Call from a blocking thread.
    pub(crate) fn open_range(
        &self,
        file: &PlannedFile,
        range: Range<u64>,
        runtime: &Handle,
    ) -> Result<ByteStream, Error> {
        match Location::parse(&file.uri)? {
            Location::Local(path) => stream::local_range(&file.uri, &path, range, Arc::default()),
            Location::Remote(remote) => Ok(remote::range_stream(self.object(file, &remote)?, range, runtime)),
        }
    }

    /// Fetches a range of a remote file, to be read later. Nothing is counted.
    pub(crate) async fn fetch_range(&self, file: PlannedFile, range: Range<u64>) -> Result<Bytes, Error> {
        match Location::parse(&file.uri)? {
            Location::Local(_) => Err(Error::Internal(format!("{} is on this machine", file.uri))),
            Location::Remote(remote) => self.object(&file, &remote)?.range(range).await,
        }
    }

    /// Reads byte ranges of a file. Call from a blocking thread.
    ///
    /// # Errors
    /// `BadFile` for a range that goes on behind the end, or ends before it begins: nothing is asked for then.
    pub(crate) fn ranges(
        &self,
        file: &PlannedFile,
        ranges: &[Range<u64>],
        counters: &Counters,
        runtime: &Handle,
    ) -> Result<Vec<Bytes>, Error> {
        ranges.iter().try_for_each(|range| within(file, range))?;
        let read = || match Location::parse(&file.uri)? {
            Location::Local(path) => stream::local_ranges(&file.uri, &path, ranges),
            Location::Remote(remote) => {
                let object = self.object(file, &remote)?;
                runtime.block_on(object.ranges(ranges))
            }
        };
        let parts = counters.timed(Room::Fetch, read)?;
        Counters::add(&counters.bytes_done, parts.iter().map(|part| part.len() as u64).sum());
        Ok(parts)
    }

    /// With another time in which a web server must say something.
    #[cfg(test)]
    fn with_silence(settings: &StorageSettings, silence: Duration) -> Self {
        Self { inner: Arc::new(Inner { settings: settings.clone(), stores: Mutex::default(), silence }) }
    }

    fn silence(&self, remote: &Remote) -> Option<Duration> {
        remote.is_http().then_some(self.inner.silence)
    }

    fn object(&self, file: &PlannedFile, remote: &Remote) -> Result<Object, Error> {
        Ok(Object {
            store: self.store(&file.uri, remote)?,
            path: remote.object_path(&file.uri)?,
            silence: self.silence(remote),
            file: Arc::new(file.clone()),
        })
    }

    /// Takes a store for the bucket of a uri, instead of one that settings say.
    #[cfg(test)]
    pub(crate) fn with_store(self, uri: &str, store: Arc<dyn ObjectStore>) -> Self {
        if let Ok(Location::Remote(remote)) = Location::parse(uri) {
            self.inner.stores.lock().insert(remote.store_key(), store);
        }
        self
    }

    fn store(&self, uri: &str, remote: &Remote) -> Result<Arc<dyn ObjectStore>, Error> {
        let key = remote.store_key();
        if let Some(store) = self.inner.stores.lock().get(&key) {
            return Ok(Arc::clone(store));
        }
        let store = stores::build(uri, remote, &self.inner.settings)?;
        Ok(Arc::clone(self.inner.stores.lock().entry(key).or_insert(store)))
    }
}

fn within(file: &PlannedFile, range: &Range<u64>) -> Result<(), Error> {
    if range.start <= range.end && range.end <= file.size_bytes {
        return Ok(());
    }
    let reason =
        format!("it has {} bytes, and bytes {} up to {} were expected", file.size_bytes, range.start, range.end);
    Err(Error::BadFile { uri: file.uri.clone(), reason })
}

/// Options of a GET that must see the object as it was listed.
fn get_options(file: &PlannedFile, range: Option<Range<u64>>) -> GetOptions {
    // A weak tag never matches in a condition (RFC 9110, 13.1.1).
    let if_match = file.etag.clone().filter(|tag| !tag.starts_with("W/"));
    GetOptions { if_match, range: range.map(GetRange::Bounded), ..GetOptions::default() }
}

#[cfg(test)]
mod tests;
