//! Bytes of a remote object, fetched ahead of the reader within bounds.

use std::io::{self, Read};
use std::ops::Range;
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::{Buf, Bytes};
use futures::stream::BoxStream;
use futures::{StreamExt, TryStreamExt};
use moulin_core::{Counters, PlannedFile, Room};
use object_store::ObjectStore;
use object_store::path::Path;
use tokio::runtime::Handle;
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

use super::get_options;
use super::location::Remote;
use super::stream::{ByteStream, wrap};
use crate::Error;

/// One ranged request. Large enough that a store's latency does not show, small enough to hold several.
pub(crate) const PIECE_BYTES: u64 = 4 << 20;
/// Ranged requests of one file in flight.
const PIECES_AHEAD: usize = 4;

/// A server that says nothing for so long is taken for dead. Not the time in which nobody wants a byte.
const SILENCE: Duration = Duration::from_secs(60);

/// What comes of a request, unless the server falls silent.
pub(super) async fn answered<T>(uri: &str, request: impl Future<Output = T>) -> Result<T, Error> {
    tokio::time::timeout(SILENCE, request).await.map_err(|_| {
        let silence = io::Error::new(io::ErrorKind::TimedOut, format!("no byte came for {} s", SILENCE.as_secs()));
        store_error(uri, object_store::Error::Generic { store: "remote", source: Box::new(silence) })
    })
}

/// Starts to fetch an object; the pieces wait in a bounded channel. Dropping the stream ends the fetching.
pub(super) fn stream(
    file: &PlannedFile,
    remote: &Remote,
    store: Arc<dyn ObjectStore>,
    counters: Arc<Counters>,
    runtime: &Handle,
    stop: &CancellationToken,
) -> ByteStream {
    let (sender, receiver) = mpsc::channel(2);
    let (file, remote, stop) = (file.clone(), remote.clone(), stop.clone());
    runtime.spawn(async move {
        tokio::select! {
            () = sender.closed() => {}
            () = stop.cancelled() => {}
            () = pump(&file, &remote, store, &counters, &sender) => {}
        }
    });
    Box::new(RemoteFile { receiver, rest: Bytes::new() })
}

async fn pump(
    file: &PlannedFile,
    remote: &Remote,
    store: Arc<dyn ObjectStore>,
    counters: &Counters,
    sender: &mpsc::Sender<Result<Bytes, Error>>,
) {
    let mut pieces = match remote.object_path(&file.uri) {
        Ok(path) => pieces(file, remote, store, path),
        Err(error) => futures::stream::once(async { Err(error) }).boxed(),
    };
    loop {
        let started = Instant::now();
        let piece = answered(&file.uri, pieces.next()).await;
        let Some(piece) = piece.unwrap_or_else(|silence| Some(Err(silence))) else { return };
        let failed = piece.is_err();
        counters.busy(Room::Fetch, started.elapsed());
        if let Ok(piece) = &piece {
            Counters::add(&counters.bytes_done, piece.len() as u64);
        }
        if sender.send(piece).await.is_err() || failed {
            return;
        }
    }
}

/// Stores answer ranges, several at once; a web server may not, and is read in one answer.
fn pieces(
    file: &PlannedFile,
    remote: &Remote,
    store: Arc<dyn ObjectStore>,
    path: Path,
) -> BoxStream<'static, Result<Bytes, Error>> {
    if remote.is_http() || file.size_bytes <= PIECE_BYTES {
        let file = file.clone();
        return futures::stream::once(async move {
            let uri = file.uri.clone();
            let answer =
                store.get_opts(&path, get_options(&file, None)).await.map_err(|error| store_error(&uri, error))?;
            Ok(answer.into_stream().map_err(move |error| store_error(&uri, error)))
        })
        .try_flatten()
        .boxed();
    }
    let file = Arc::new(file.clone());
    let starts = (0..file.size_bytes).step_by(PIECE_BYTES as usize);
    futures::stream::iter(starts)
        .map(move |start| {
            let (file, store, path) = (Arc::clone(&file), Arc::clone(&store), path.clone());
            async move { range(&file, store.as_ref(), &path, start..(start + PIECE_BYTES).min(file.size_bytes)).await }
        })
        .buffered(PIECES_AHEAD)
        .boxed()
}

pub(super) async fn range(
    file: &PlannedFile,
    store: &dyn ObjectStore,
    path: &Path,
    range: Range<u64>,
) -> Result<Bytes, Error> {
    let expected = range.end - range.start;
    let answer = store.get_opts(path, get_options(file, Some(range))).await;
    let bytes = match answer {
        Ok(answer) => answer.bytes().await,
        Err(error) => Err(error),
    };
    let bytes = bytes.map_err(|error| store_error(&file.uri, error))?;
    if bytes.len() as u64 == expected {
        return Ok(bytes);
    }
    Err(Error::BadFile {
        uri: file.uri.clone(),
        reason: format!("{expected} bytes were asked for, {} came", bytes.len()),
    })
}

/// Ranges of an object, fetched at once.
pub(super) async fn ranges(
    file: &PlannedFile,
    remote: &Remote,
    store: &dyn ObjectStore,
    ranges: &[Range<u64>],
) -> Result<Vec<Bytes>, Error> {
    let path = remote.object_path(&file.uri)?;
    let requests: Vec<_> = ranges.iter().map(|asked| range(file, store, &path, asked.clone())).collect();
    futures::stream::iter(requests).buffered(2 * PIECES_AHEAD).try_collect().await
}

/// A range of an object, of which a piece is fetched when it is read.
pub(super) fn range_stream(
    file: &PlannedFile,
    remote: &Remote,
    store: Arc<dyn ObjectStore>,
    range: Range<u64>,
    runtime: &Handle,
) -> Result<ByteStream, Error> {
    let path = remote.object_path(&file.uri)?;
    let (file, runtime) = (file.clone(), runtime.clone());
    Ok(Box::new(RemoteRange { file, path, store, range, rest: Bytes::new(), runtime }))
}

struct RemoteRange {
    file: PlannedFile,
    path: Path,
    store: Arc<dyn ObjectStore>,
    /// What has not been fetched.
    range: Range<u64>,
    rest: Bytes,
    runtime: Handle,
}

impl Read for RemoteRange {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if self.rest.is_empty() && self.range.start < self.range.end {
            let piece = self.range.start..self.range.end.min(self.range.start + PIECE_BYTES);
            self.range.start = piece.end;
            let fetching = range(&self.file, self.store.as_ref(), &self.path, piece);
            self.rest = self.runtime.block_on(fetching).map_err(wrap)?;
        }
        let count = buffer.len().min(self.rest.len());
        self.rest.copy_to_slice(&mut buffer[..count]);
        Ok(count)
    }
}

fn store_error(uri: &str, source: object_store::Error) -> Error {
    match source {
        object_store::Error::NotFound { .. } => Error::FileNotFound { uri: uri.to_owned() },
        object_store::Error::Precondition { .. } => {
            Error::BadFile { uri: uri.to_owned(), reason: "it has changed since it was listed".to_owned() }
        }
        source => Error::Store { uri: uri.to_owned(), source },
    }
}

struct RemoteFile {
    receiver: mpsc::Receiver<Result<Bytes, Error>>,
    rest: Bytes,
}

impl Read for RemoteFile {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        while self.rest.is_empty() {
            match self.receiver.blocking_recv() {
                Some(piece) => self.rest = piece.map_err(wrap)?,
                None => return Ok(0),
            }
        }
        let count = buffer.len().min(self.rest.len());
        self.rest.copy_to_slice(&mut buffer[..count]);
        Ok(count)
    }
}
