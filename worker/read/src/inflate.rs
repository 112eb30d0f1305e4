//! Compressed files are inflated on a thread of their own, so that inflating and parsing go on at once.

use std::io::{self, BufReader, Read};
use std::sync::Arc;

use flate2::read::MultiGzDecoder;
use moulin_core::{Compression, Counters, Room};
use tokio::runtime::Handle;
use tokio::sync::mpsc;

use crate::Error;
use crate::fetch::{ByteStream, into_error, wrap};

/// Inflated bytes that are handed on at once.
const PIECE_BYTES: usize = 512 << 10;
/// Pieces that wait for the reader.
const PIECES_AHEAD: usize = 3;
/// Compressed bytes that are asked for at once.
const INPUT_BYTES: usize = 256 << 10;

/// The stream with its compression taken off.
pub(crate) fn inflated(
    uri: &str,
    compression: Compression,
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
    // Not joined: it ends when its input does, or when nobody receives any more.
    runtime.spawn_blocking(move || {
        let result = match decoder(compression, stream) {
            Ok(mut decoder) => pump(&mut decoder, &counters, &sender),
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
        piece.truncate(filled);
        if (filled > 0 && sender.blocking_send(Ok(piece)).is_err()) || ended {
            return Ok(());
        }
    }
}

/// An error of the store stays what it is; all others say that the archive is damaged.
fn damaged(uri: &str, compression: Compression, error: io::Error) -> Error {
    if error.get_ref().is_some_and(<dyn std::error::Error + Send + Sync>::is::<Error>) {
        return into_error(uri, error);
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
