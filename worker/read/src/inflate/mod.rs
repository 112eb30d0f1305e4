//! Compressed files are inflated on a thread of their own, so that inflating and parsing go on at once.
//!
//! Where a stream is made of several gzip members or zstd frames, and they are not too long, some of them are inflated at
//! once ([`segments`]). What comes out is what one decoder makes of the whole: a segment that does not end where the next
//! one begins, or does not inflate, is inflated again with all that follows it.

use std::collections::VecDeque;
use std::io::{self, BufReader, Read};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

use flate2::read::MultiGzDecoder;
use moulin_core::{Compression, Counters, ReadLimits, Room};
use tokio::runtime::Handle;

use crate::Error;
use crate::blocks::Pool;
use crate::crew::Helper;
use crate::fetch::{ByteStream, into_error};
use crate::passage::{self, Inlet, NotTaken, Outlet, Unheard};
use crate::pieces::{self, Piece};
use segments::{Container, Next, Segments};

mod segments;

/// Bytes that may come out of any file, however small.
pub(crate) const RATIO_FROM_BYTES: u64 = 16 << 20;
/// Compressed bytes that are asked for at once.
const INPUT_BYTES: usize = 256 << 10;

/// Pieces of a segment that wait until those before it have been read.
const PIECES_OF_SEGMENT: usize = 8;

/// Who inflates a file.
pub(crate) struct Inflaters<'a> {
    pub(crate) runtime: &'a Handle,
    /// So many threads at the most.
    pub(crate) threads: usize,
    /// Those who work on what comes out: whoever inflates helps them when they cannot keep up.
    pub(crate) helper: Option<Helper>,
}

/// The stream with its compression taken off. `pool`: that of whoever cuts it.
pub(crate) fn inflated(
    uri: &str,
    compression: Compression,
    limits: &ReadLimits,
    stream: ByteStream,
    counters: &Arc<Counters>,
    pool: &Pool,
    Inflaters { runtime, threads, helper }: Inflaters<'_>,
) -> ByteStream {
    let compression = compression.of(uri);
    if matches!(compression, Compression::None | Compression::Auto) {
        return stream;
    }
    let (uri, pool) = (uri.to_owned(), pool.clone());
    let (outlet, pieces) = pieces::channel(pool.clone());
    let mut inflating = Inflating {
        container: if compression == Compression::Zstd { Container::Zstd } else { Container::Gzip },
        at_once: threads,
        guard: Guard { limits: *limits, before: 0, inflated: 0 },
        pool,
        counters: Arc::clone(counters),
        runtime: runtime.clone(),
        outlet,
        helper,
    };
    // Not joined: it ends when its input does, or when nobody receives any more.
    runtime.spawn_blocking(move || {
        let ended = match inflating.run(stream) {
            Ok(()) | Err(Ended::Unheard) => Ok(()),
            Err(Ended::Badly(error)) => Err(damaged(&uri, compression, error)),
        };
        inflating.outlet.blocking_end(ended);
    });
    ByteStream::Pieces(pieces)
}

/// Inflates, and knows how much it has taken.
struct Decoder {
    stream: Box<dyn Read>,
    taken: Arc<AtomicU64>,
}

impl Decoder {
    fn new(container: Container, input: impl Read + Send + 'static) -> io::Result<Self> {
        let taken = Arc::default();
        let input = BufReader::with_capacity(INPUT_BYTES, Counted { stream: input, bytes: Arc::clone(&taken) });
        let stream: Box<dyn Read> = match container {
            Container::Zstd => Box::new(zstd::stream::read::Decoder::with_buffer(input)?),
            Container::Gzip => Box::new(MultiGzDecoder::new(input)),
        };
        Ok(Self { stream, taken })
    }
}

/// Inflated bytes, and the compressed ones that their decoder had taken by then.
struct Inflated {
    piece: Piece,
    taken: u64,
}

impl Inflated {
    /// As much as there is room for, and whether that was the end.
    fn read(decoder: &mut Decoder, pool: &Pool, counters: &Counters) -> io::Result<(Self, bool)> {
        let (piece, is_last) = counters.timed(Room::Read, || Piece::read(&mut decoder.stream, pool))?;
        Ok((Self { piece, taken: decoder.taken.load(Relaxed) }, is_last))
    }
}

/// Why inflating ended before the stream did.
enum Ended {
    /// Nobody receives any more.
    Unheard,
    Badly(io::Error),
}

impl From<io::Error> for Ended {
    fn from(error: io::Error) -> Self {
        Self::Badly(error)
    }
}

impl From<Unheard> for Ended {
    fn from(Unheard: Unheard) -> Self {
        Self::Unheard
    }
}

/// A part of the stream that is being inflated.
struct Segment {
    bytes: Arc<[u8]>,
    pieces: Inlet<Inflated>,
}

struct Inflating {
    container: Container,
    at_once: usize,
    guard: Guard,
    pool: Pool,
    counters: Arc<Counters>,
    runtime: Handle,
    outlet: Outlet<Piece>,
    helper: Option<Helper>,
}

impl Inflating {
    fn run(&mut self, stream: ByteStream) -> Result<(), Ended> {
        let mut segments = Segments::new(self.container, stream);
        let mut waiting = VecDeque::new();
        let (mut may_cut, mut is_whole, mut is_begun) = (self.at_once > 1, false, false);
        loop {
            while may_cut && waiting.len() < self.at_once {
                match segments.next()? {
                    Next::Segment(bytes) => waiting.push_back(self.begin(bytes.into())),
                    // Whether nothing at all may be there is for the decoder to say.
                    Next::End => (may_cut, is_whole) = (false, is_begun || !waiting.is_empty()),
                    Next::Uncut => may_cut = false,
                }
            }
            is_begun = true;
            let Some(mut segment) = waiting.pop_front() else {
                return if is_whole { Ok(()) } else { self.serially(segments.rest(), 0) };
            };
            let before = self.guard.inflated;
            if self.drain(&mut segment)? {
                self.guard.before += segment.bytes.len() as u64;
                continue;
            }
            let known = self.guard.inflated - before;
            let bytes = std::iter::once(&segment).chain(&waiting).flat_map(|segment| segment.bytes.iter().copied());
            let ahead: Vec<u8> = bytes.collect();
            return self.serially(io::Cursor::new(ahead).chain(segments.rest()), known);
        }
    }

    fn begin(&self, bytes: Arc<[u8]>) -> Segment {
        let (outlet, pieces) = passage::channel("the thread that inflates a segment", PIECES_OF_SEGMENT);
        let (container, pool, counters, input) =
            (self.container, self.pool.clone(), Arc::clone(&self.counters), io::Cursor::new(Arc::clone(&bytes)));
        self.runtime.spawn_blocking(move || {
            let inflate = || -> io::Result<()> {
                let mut decoder = Decoder::new(container, input)?;
                loop {
                    let (piece, is_last) = Inflated::read(&mut decoder, &pool, &counters)?;
                    if outlet.blocking_send(piece).is_err() || is_last {
                        return Ok(());
                    }
                }
            };
            // What is wrong with it is said by whoever inflates it again.
            outlet.blocking_end(inflate().map_err(|error| Error::Internal(error.to_string())));
        });
        Segment { bytes, pieces }
    }

    /// Hands on what a segment holds; `false`: it is not what it was taken for.
    fn drain(&mut self, segment: &mut Segment) -> Result<bool, Ended> {
        loop {
            match segment.pieces.blocking_next() {
                Ok(Some(piece)) => self.hand_on(piece)?,
                Ok(None) => return Ok(true),
                // Of a thread that died of it too: it is inflated again, and that says why.
                Err(_) => return Ok(false),
            }
        }
    }

    /// Inflates all that follows with one decoder. The first bytes that come out are known already.
    fn serially(&mut self, stream: impl Read + Send + 'static, known: u64) -> Result<(), Ended> {
        let mut decoder = Decoder::new(self.container, stream)?;
        io::copy(&mut decoder.stream.by_ref().take(known), &mut io::sink())?;
        loop {
            let (piece, is_last) = Inflated::read(&mut decoder, &self.pool, &self.counters)?;
            self.hand_on(piece)?;
            if is_last {
                return Ok(());
            }
        }
    }

    fn hand_on(&mut self, inflated: Inflated) -> Result<(), Ended> {
        self.guard.pass(&inflated)?;
        let mut piece = inflated.piece;
        while let Some(helper) = &self.helper {
            match self.outlet.try_send(piece) {
                Ok(()) => return Ok(()),
                Err(NotTaken::Unheard) => return Err(Ended::Unheard),
                Err(NotTaken::Full(back)) => piece = back,
            }
            if !helper.help() {
                break;
            }
        }
        Ok(self.outlet.blocking_send(piece)?)
    }
}

/// Compressed bytes, counted.
struct Counted<R> {
    stream: R,
    bytes: Arc<AtomicU64>,
}

impl<R: Read> Read for Counted<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let read = self.stream.read(buffer)?;
        self.bytes.fetch_add(read as u64, Relaxed);
        Ok(read)
    }
}

/// Ends the inflating of a file that grows beyond all measure.
struct Guard {
    limits: ReadLimits,
    /// Compressed bytes of the segments that have been handed on.
    before: u64,
    inflated: u64,
}

impl Guard {
    /// Counts what came out. A limit is noticed at the end of a piece: how much came out by then says the error, and it
    /// depends on where segments end.
    fn pass(&mut self, made: &Inflated) -> io::Result<()> {
        self.inflated += made.piece.len() as u64;
        let (inflated, taken) = (self.inflated, self.before + made.taken);
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

#[cfg(test)]
mod tests;
