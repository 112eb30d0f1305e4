//! Filled buffers that one thread makes and another takes over whole: nothing is copied between them.

use std::io::{self, Read};

use crate::blocks::{Pool, SLACK, TAIL};
use crate::fetch::wrap;
use crate::passage::{self, Inlet, Outlet};

/// Bytes of a piece: those of a block by default, so that a piece becomes a block.
pub(crate) const PIECE_BYTES: usize = 1 << 20;
/// Room before them. A record that began in the piece before is put there, if it is no longer.
pub(crate) const HEADROOM: usize = 64 << 10;
/// Pieces that wait for whoever takes them.
const AHEAD: usize = 3;

/// A part of a stream: `HEADROOM..end` of a buffer in which [`TAIL`] more bytes may be loaded.
#[derive(Debug, Default)]
pub(crate) struct Piece {
    pub(crate) buffer: Vec<u8>,
    pub(crate) end: usize,
}

impl Piece {
    /// As much as there is room for, and whether that was the end of what is read.
    pub(crate) fn read(input: &mut impl Read, pool: &Pool) -> io::Result<(Self, bool)> {
        let until = HEADROOM + PIECE_BYTES;
        let mut piece = Self { buffer: pool.take(until + TAIL), end: HEADROOM };
        while piece.end < until {
            match input.read(&mut piece.buffer[piece.end..until]) {
                Ok(0) => return Ok((piece, true)),
                Ok(count) => piece.end += count,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        Ok((piece, false))
    }

    pub(crate) fn len(&self) -> usize {
        self.end.saturating_sub(HEADROOM)
    }
}

/// The way from the thread that makes pieces to the one that takes them.
pub(crate) fn channel(pool: Pool) -> (Outlet<Piece>, Pieces) {
    let (outlet, inlet) = passage::channel("the thread that inflates", AHEAD);
    (outlet, Pieces { inlet, piece: Piece::default(), at: 0, pool })
}

/// A stream that comes in pieces.
#[derive(Debug)]
pub(crate) struct Pieces {
    inlet: Inlet<Piece>,
    /// The one that is being read, from `at` on.
    piece: Piece,
    at: usize,
    pool: Pool,
}

impl Pieces {
    /// The next piece, whole; `None` when a part of it has been read, or when there is no more.
    ///
    /// # Errors
    /// That of whoever makes them, and when they died of it.
    pub(crate) fn take(&mut self) -> io::Result<Option<Piece>> {
        if self.at < self.piece.end {
            return Ok(None);
        }
        self.inlet.blocking_next().map_err(wrap)
    }
}

impl Read for Pieces {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        while self.at == self.piece.end {
            let Some(piece) = self.take()? else { return Ok(0) };
            let read = std::mem::replace(&mut self.piece, piece);
            self.at = HEADROOM;
            self.pool.put(read.buffer);
        }
        let count = buffer.len().min(self.piece.end - self.at);
        buffer[..count].copy_from_slice(&self.piece.buffer[self.at..self.at + count]);
        self.at += count;
        Ok(count)
    }
}

const _: () = assert!(HEADROOM > SLACK);
