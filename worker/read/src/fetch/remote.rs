//! Bytes of a remote object, fetched ahead of the reader within bounds.

use std::io::{self, Read};
use std::ops::Range;
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::{Buf, Bytes, BytesMut};
use futures::stream::BoxStream;
use futures::{StreamExt, TryStreamExt};
use moulin_core::{Counters, PlannedFile, Room};
use object_store::path::Path;
use object_store::{GetResult, ObjectStore};
use tokio::runtime::Handle;
use tokio_util::sync::CancellationToken;
use tokio_util::task::AbortOnDropHandle;

use super::get_options;
use super::stream::{ByteStream, wrap};
use crate::Error;
use crate::passage::{self, Inlet, Outlet};

/// One ranged request. Large enough that a store's latency does not show, small enough to hold several.
pub(crate) const PIECE_BYTES: u64 = 4 << 20;
/// Ranged requests of one file in flight.
const PIECES_AHEAD: usize = 4;

/// A web server that says nothing for so long is taken for dead. Not the time in which nobody wants a byte. Stores have
/// a limit for each of their requests, and ask again.
pub(super) const SILENCE: Duration = Duration::from_secs(60);

/// What comes of a request, unless the server falls silent; `None`: its client sees to that.
pub(super) async fn answered<T>(
    uri: &str,
    silence: Option<Duration>,
    request: impl Future<Output = T>,
) -> Result<T, Error> {
    let Some(silence) = silence else { return Ok(request.await) };
    tokio::time::timeout(silence, request).await.map_err(|_| {
        let silence = io::Error::new(io::ErrorKind::TimedOut, format!("no byte came for {silence:?}"));
        store_error(uri, object_store::Error::Generic { store: "http", source: Box::new(silence) })
    })
}

/// An object of a store.
#[derive(Clone)]
pub(super) struct Object {
    pub(super) file: Arc<PlannedFile>,
    pub(super) path: Path,
    pub(super) store: Arc<dyn ObjectStore>,
    /// As of [`answered`]; of a web server, which may know no ranges.
    pub(super) silence: Option<Duration>,
}

impl Object {
    async fn answered<T>(&self, request: impl Future<Output = T>) -> Result<T, Error> {
        answered(&self.file.uri, self.silence, request).await
    }

    async fn get(&self, range: Option<Range<u64>>) -> Result<GetResult, Error> {
        let answer = self.answered(self.store.get_opts(&self.path, get_options(&self.file, range))).await?;
        answer.map_err(|error| store_error(&self.file.uri, error))
    }

    /// One range, whole.
    pub(super) async fn range(&self, range: Range<u64>) -> Result<Bytes, Error> {
        let expected = range.end - range.start;
        let mut parts = self.get(Some(range)).await?.into_stream();
        let mut bytes = BytesMut::new();
        bytes.reserve(usize::try_from(expected).unwrap_or(0));
        while let Some(part) = self.answered(parts.next()).await? {
            bytes.extend_from_slice(&part.map_err(|error| store_error(&self.file.uri, error))?);
            if bytes.len() as u64 > expected {
                break;
            }
        }
        if bytes.len() as u64 == expected {
            return Ok(bytes.freeze());
        }
        Err(Error::BadFile {
            uri: self.file.uri.clone(),
            reason: format!("{expected} bytes were asked for, {} came", bytes.len()),
        })
    }

    /// Ranges, fetched at once.
    pub(super) async fn ranges(&self, ranges: &[Range<u64>]) -> Result<Vec<Bytes>, Error> {
        let requests: Vec<_> = ranges.iter().map(|asked| self.range(asked.clone())).collect();
        futures::stream::iter(requests).buffered(2 * PIECES_AHEAD).try_collect().await
    }

    /// Stores answer ranges, several at once; a web server may not, and is read in one answer.
    fn pieces(self) -> BoxStream<'static, Result<Bytes, Error>> {
        let size = self.file.size_bytes;
        if self.silence.is_some() || size == 0 {
            let uri = self.file.uri.clone();
            let answer = async move { Ok(self.get(None).await?.into_stream()) };
            let parts = futures::stream::once(answer).map_ok(move |parts| {
                let uri = uri.clone();
                parts.map_err(move |error| store_error(&uri, error))
            });
            return parts.try_flatten().boxed();
        }
        // Each in a task of its own: a request goes on, and does not run into its limit, while nobody takes what came.
        let fetch = move |start: u64| {
            let object = self.clone();
            let piece = async move { object.range(start..(start + PIECE_BYTES).min(size)).await };
            let piece = AbortOnDropHandle::new(tokio::spawn(piece));
            async move { piece.await.map_err(|error| Error::Internal(format!("a task that fetches ended: {error}")))? }
        };
        futures::stream::iter((0..size).step_by(PIECE_BYTES as usize)).map(fetch).buffered(PIECES_AHEAD).boxed()
    }
}

/// Starts to fetch an object; the pieces wait in a bounded channel. Dropping the stream ends the fetching; one that is
/// stopped otherwise ends with an error.
pub(super) fn stream(
    object: Object,
    counters: Arc<Counters>,
    runtime: &Handle,
    stop: &CancellationToken,
) -> ByteStream {
    let (outlet, inlet) = passage::channel("the task that fetches", 2);
    let stop = stop.clone();
    runtime.spawn(async move {
        tokio::select! {
            () = outlet.closed() => {}
            () = stop.cancelled() => {}
            ended = pump(object, &counters, &outlet) => outlet.end(ended).await,
        }
    });
    ByteStream::new(RemoteFile { inlet, rest: Bytes::new() })
}

/// Ends early, and without an error, when nobody takes pieces any more.
async fn pump(object: Object, counters: &Counters, outlet: &Outlet<Bytes>) -> Result<(), Error> {
    let mut pieces = object.clone().pieces();
    loop {
        let started = Instant::now();
        let piece = object.answered(pieces.next()).await;
        counters.busy(Room::Fetch, started.elapsed());
        let Some(piece) = piece?.transpose()? else { return Ok(()) };
        Counters::add(&counters.bytes_done, piece.len() as u64);
        if outlet.send(piece).await.is_err() {
            return Ok(());
        }
    }
}

/// A range of an object, of which a piece is fetched when it is read.
pub(super) fn range_stream(object: Object, range: Range<u64>, runtime: &Handle) -> ByteStream {
    ByteStream::new(RemoteRange { object, range, rest: Bytes::new(), runtime: runtime.clone() })
}

struct RemoteRange {
    object: Object,
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
            self.rest = self.runtime.block_on(self.object.range(piece)).map_err(wrap)?;
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
    inlet: Inlet<Bytes>,
    rest: Bytes,
}

impl Read for RemoteFile {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        while self.rest.is_empty() {
            let Some(piece) = self.inlet.blocking_next().map_err(wrap)? else { return Ok(0) };
            self.rest = piece;
        }
        let count = buffer.len().min(self.rest.len());
        self.rest.copy_to_slice(&mut buffer[..count]);
        Ok(count)
    }
}
