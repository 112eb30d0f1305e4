//! A compressed stream is cut where another decoder may begin.
//!
//! A zstd frame says how long each of its blocks is, so its end is found without inflating anything. The end of a gzip
//! member is not: what looks like the header of another is taken for one, and whether it is shows when all before it
//! has been inflated. Ten bytes that are no header and look like one come once in more than 10^10.

use std::io::{self, Read};

use memchr::memmem;

use crate::fetch::ByteStream;

/// Members and frames smaller than this stay together.
const SEGMENT_BYTES: usize = 256 << 10;
/// Where so many bytes have no end in them, the stream is inflated as one.
const SEGMENT_MOST: usize = 4 << 20;
/// Bytes that are read at once.
const READ_BYTES: usize = 256 << 10;
/// No gzip member is shorter: header, an empty block, checksum and length.
const MEMBER_LEAST: usize = 20;

/// What the stream is compressed with.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Container {
    Gzip,
    Zstd,
}

/// What stands next in a stream.
#[derive(Debug)]
pub(super) enum Next {
    /// Whole members or frames, as far as can be seen.
    Segment(Vec<u8>),
    /// What follows cannot be cut.
    Uncut,
    End,
}

/// Cuts one stream.
pub(super) struct Segments {
    container: Container,
    stream: ByteStream,
    /// Bytes read and not handed out.
    pending: Vec<u8>,
    /// Up to where ends have been looked for.
    searched: usize,
    at_end: bool,
}

impl Segments {
    pub(super) fn new(container: Container, stream: ByteStream) -> Self {
        Self { container, stream, pending: Vec::new(), searched: 0, at_end: false }
    }

    pub(super) fn next(&mut self) -> io::Result<Next> {
        loop {
            match self.end() {
                Ok(Some(end)) => {
                    let rest = self.pending.split_off(end);
                    self.searched = 0;
                    return Ok(Next::Segment(std::mem::replace(&mut self.pending, rest)));
                }
                Ok(None) if self.at_end && self.pending.is_empty() => return Ok(Next::End),
                // Whether it is whole is for the decoder to say.
                Ok(None) if self.at_end => {
                    self.searched = 0;
                    return Ok(Next::Segment(std::mem::take(&mut self.pending)));
                }
                Ok(None) if self.pending.len() < SEGMENT_MOST => self.fill()?,
                Ok(None) | Err(Broken) => return Ok(Next::Uncut),
            }
        }
    }

    /// All that has not been handed out.
    pub(super) fn rest(self) -> impl Read + Send {
        io::Cursor::new(self.pending).chain(self.stream)
    }

    fn fill(&mut self) -> io::Result<()> {
        let read = self.stream.by_ref().take(READ_BYTES as u64).read_to_end(&mut self.pending)?;
        self.at_end = read == 0;
        Ok(())
    }

    /// Where the next segment ends, if that is at hand.
    fn end(&mut self) -> Result<Option<usize>, Broken> {
        match self.container {
            Container::Gzip => Ok(self.member_end()),
            Container::Zstd => self.frames_end(),
        }
    }

    fn member_end(&mut self) -> Option<usize> {
        let from = self.searched.max(SEGMENT_BYTES).max(MEMBER_LEAST);
        let text = self.pending.get(from..)?;
        let found = memmem::find_iter(text, b"\x1f\x8b\x08").map(|at| from + at);
        let end = found.into_iter().find(|at| is_header(&self.pending[*at..]));
        // A header may have begun in the last bytes.
        self.searched = self.pending.len().saturating_sub(HEADER_BYTES);
        end
    }

    fn frames_end(&mut self) -> Result<Option<usize>, Broken> {
        while self.searched < SEGMENT_BYTES {
            match frame_bytes(&self.pending[self.searched..])? {
                Some(bytes) => self.searched += bytes,
                None => return Ok(None),
            }
        }
        Ok(Some(self.searched))
    }
}

const HEADER_BYTES: usize = 10;

/// Whether the bytes can be those of a gzip header (RFC 1952, 2.3): no reserved flag, known extra flags and system.
fn is_header(bytes: &[u8]) -> bool {
    let Some(&[_, _, _, flags, _, _, _, _, extra, system]) = bytes.first_chunk::<HEADER_BYTES>() else { return false };
    flags & 0xe0 == 0 && matches!(extra, 0 | 2 | 4) && (system <= 13 || system == 255)
}

/// The stream is no zstd.
#[derive(Debug)]
struct Broken;

/// How long the frame is that the bytes begin with (RFC 8878, 3.1); `None`: its end is not among them.
fn frame_bytes(bytes: &[u8]) -> Result<Option<usize>, Broken> {
    let number = |at: usize, length: usize| -> Option<usize> {
        let bytes = bytes.get(at..at + length)?;
        Some(bytes.iter().rev().fold(0, |number, byte| number << 8 | usize::from(*byte)))
    };
    let end = |end: usize| (end <= bytes.len()).then_some(end);
    let Some(magic) = number(0, 4) else { return Ok(None) };
    if magic & 0xffff_fff0 == 0x184d_2a50 {
        return Ok(number(4, 4).and_then(|length| end(8 + length)));
    }
    if magic != 0xfd2f_b528 {
        return Err(Broken);
    }
    let Some(about) = bytes.get(4) else { return Ok(None) };
    let is_single = about & 0x20 != 0;
    let dictionary = [0, 1, 2, 4][usize::from(about & 3)];
    let size = match about >> 6 {
        0 => usize::from(is_single),
        power => 1 << power,
    };
    let mut at = 5 + usize::from(!is_single) + dictionary + size;
    loop {
        let Some(block) = number(at, 3) else { return Ok(None) };
        at += 3 + match block >> 1 & 3 {
            1 => 1,
            3 => return Err(Broken),
            _ => block >> 3,
        };
        if block & 1 == 1 {
            return Ok(end(at + if about & 4 != 0 { 4 } else { 0 }));
        }
    }
}
