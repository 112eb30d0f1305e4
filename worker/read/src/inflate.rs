//! Compressed files are inflated on a thread of their own, so that inflating and parsing go on at once.

use std::io::{self, BufReader, Read};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

use flate2::read::MultiGzDecoder;
use moulin_core::{Compression, Counters, ReadLimits, Room};
use tokio::runtime::Handle;
use tokio::sync::mpsc;

use crate::Error;
use crate::fetch::{ByteStream, into_error, wrap};

/// Inflated bytes that are handed on at once.
const PIECE_BYTES: usize = 512 << 10;
/// Pieces that wait for the reader.
const PIECES_AHEAD: usize = 3;
/// Bytes that may come out of any file, however small.
pub(crate) const RATIO_FROM_BYTES: u64 = 16 << 20;
/// Compressed bytes that are asked for at once.
const INPUT_BYTES: usize = 256 << 10;

/// The stream with its compression taken off.
pub(crate) fn inflated(
    uri: &str,
    compression: Compression,
    limits: &ReadLimits,
    stream: ByteStream,
    counters: &Arc<Counters>,
    runtime: &Handle,
) -> ByteStream {
    let compression = compression.of(uri);
    if matches!(compression, Compression::None | Compression::Auto) {
        return stream;
    }
    let (sender, receiver) = mpsc::channel(PIECES_AHEAD);
    let (uri, counters) = (uri.to_owned(), Arc::clone(counters));
    let (stream, mut guard) = Guard::over(stream, limits);
    // Not joined: it ends when its input does, or when nobody receives any more.
    runtime.spawn_blocking(move || {
        let result = match decoder(compression, stream) {
            Ok(mut decoder) => pump(&mut decoder, &mut guard, &counters, &sender),
            Err(error) => Err(error),
        };
        if let Err(error) = result {
            // Nobody is left to tell when this fails.
            let _ = sender.blocking_send(Err(damaged(&uri, compression, error)));
        }
    });
    Box::new(Inflated { receiver, piece: Vec::new(), at: 0 })
}

fn decoder(compression: Compression, stream: ByteStream) -> io::Result<ByteStream> {
    let input = BufReader::with_capacity(INPUT_BYTES, stream);
    Ok(match compression {
        Compression::Zstd => Box::new(zstd::stream::read::Decoder::with_buffer(input)?),
        _ => Box::new(MultiGzDecoder::new(input)),
    })
}

fn pump(
    decoder: &mut ByteStream,
    guard: &mut Guard,
    counters: &Counters,
    sender: &mpsc::Sender<Result<Vec<u8>, Error>>,
) -> io::Result<()> {
    loop {
        let mut piece = vec![0; PIECE_BYTES];
        let mut filled = 0;
        let ended = counters.timed(Room::Read, || {
            loop {
                match decoder.read(&mut piece[filled..]) {
                    Ok(0) => break Ok(true),
                    Ok(count) => filled += count,
                    Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                    Err(error) => break Err(error),
                }
                if filled == piece.len() {
                    break Ok(false);
                }
            }
        })?;
        guard.pass(filled as u64)?;
        piece.truncate(filled);
        if (filled > 0 && sender.blocking_send(Ok(piece)).is_err()) || ended {
            return Ok(());
        }
    }
}

/// Compressed bytes, counted.
struct Counted {
    stream: ByteStream,
    bytes: Arc<AtomicU64>,
}

impl Read for Counted {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let read = self.stream.read(buffer)?;
        self.bytes.fetch_add(read as u64, Relaxed);
        Ok(read)
    }
}

/// Ends the inflating of a file that grows beyond all measure.
struct Guard {
    limits: ReadLimits,
    taken: Arc<AtomicU64>,
    inflated: u64,
}

impl Guard {
    fn over(stream: ByteStream, limits: &ReadLimits) -> (ByteStream, Self) {
        let bytes = Arc::new(AtomicU64::new(0));
        let guard = Self { limits: *limits, taken: Arc::clone(&bytes), inflated: 0 };
        (Box::new(Counted { stream, bytes }), guard)
    }

    /// Counts bytes that came out.
    fn pass(&mut self, inflated: u64) -> io::Result<()> {
        self.inflated += inflated;
        let (inflated, taken) = (self.inflated, self.taken.load(Relaxed));
        let beyond = |limit: String| {
            let reason = format!("{inflated} bytes came out of {taken}, more than {limit}");
            Err(io::Error::other(Beyond(reason)))
        };
        if let Some(limit) = self.limits.inflated_bytes.filter(|limit| inflated > *limit) {
            return beyond(format!("limits.inflated_bytes = {limit}"));
        }
        let ratio = u64::from(self.limits.inflation_ratio);
        if inflated > RATIO_FROM_BYTES && inflated > taken.saturating_mul(ratio) {
            return beyond(format!("limits.inflation_ratio = {ratio} times"));
        }
        Ok(())
    }
}

/// A limit that was passed, in words.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
struct Beyond(String);

/// An error of the store stays what it is; all others say that the archive is damaged.
fn damaged(uri: &str, compression: Compression, error: io::Error) -> Error {
    if error.get_ref().is_some_and(<dyn std::error::Error + Send + Sync>::is::<Error>) {
        return into_error(uri, error);
    }
    if let Some(Beyond(reason)) = error.get_ref().and_then(|inner| inner.downcast_ref()) {
        return Error::BadFile { uri: uri.to_owned(), reason: reason.clone() };
    }
    let name = if compression == Compression::Zstd { "zstd" } else { "gzip" };
    let reason = match error.kind() {
        io::ErrorKind::UnexpectedEof => format!("the {name} stream ends in its middle"),
        _ => format!("it is no {name} stream, or a broken one: {error}"),
    };
    Error::BadFile { uri: uri.to_owned(), reason }
}

struct Inflated {
    receiver: mpsc::Receiver<Result<Vec<u8>, Error>>,
    piece: Vec<u8>,
    at: usize,
}

impl Read for Inflated {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        while self.at == self.piece.len() {
            match self.receiver.blocking_recv() {
                Some(piece) => (self.piece, self.at) = (piece.map_err(wrap)?, 0),
                None => return Ok(0),
            }
        }
        let count = buffer.len().min(self.piece.len() - self.at);
        buffer[..count].copy_from_slice(&self.piece[self.at..self.at + count]);
        self.at += count;
        Ok(count)
    }
}
