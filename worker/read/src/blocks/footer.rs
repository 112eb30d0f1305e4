//! The last records of a file that are no rows: what has been cut is held back until so many others follow it.

use std::collections::VecDeque;
use std::io;

use super::{Block, Splitter, Supply};
use crate::csv::Cut;

/// Bytes of a footer that are held beside those that a record may have: the first bytes of long records among them.
const BESIDE: usize = 1 << 20;

/// Blocks that may end in the footer, or be a part of it.
#[derive(Debug, Default)]
pub(super) struct Held {
    /// With the records of each.
    blocks: VecDeque<(Block, u64)>,
    /// Records of all of them.
    records: u64,
    /// Bytes of all of them.
    bytes: usize,
    /// The footer has been taken away.
    over: bool,
}

impl Held {
    fn push(&mut self, block: Block, records: u64) {
        (self.records, self.bytes) = (self.records + records, self.bytes + block.bytes().len());
        self.blocks.push_back((block, records));
    }

    fn pop(&mut self) -> Option<Block> {
        let (block, records) = self.blocks.pop_front()?;
        (self.records, self.bytes) = (self.records - records, self.bytes - block.bytes().len());
        Some(block)
    }

    /// Records and bytes behind the first block.
    fn behind_first(&self) -> (u64, usize) {
        let first = self.blocks.front().map_or((0, 0), |(block, records)| (*records, block.bytes().len()));
        (self.records - first.0, self.bytes - first.1)
    }

    /// Takes away the last records.
    fn cut_off(&mut self, cut: &Cut, mut footer: u64) {
        self.over = true;
        while let Some((mut block, records)) = self.blocks.pop_back() {
            if records > footer {
                let last = usize::try_from(records - footer).unwrap_or(usize::MAX).saturating_sub(1);
                if footer > 0 {
                    let length = cut.record_ends(block.bytes()).nth(last).unwrap_or(0);
                    // No byte of the last line end was added: the footer comes after it.
                    (block.end, block.added) = (block.start + length, 0);
                }
                self.blocks.push_back((block, records - footer));
                break;
            }
            footer -= records;
        }
        self.records = self.blocks.iter().map(|(_, records)| records).sum();
        self.bytes = self.blocks.iter().map(|(block, _)| block.bytes().len()).sum();
    }
}

impl<R: Supply> Splitter<R> {
    /// The next whole records that are none of the footer.
    ///
    /// # Errors
    /// A footer of many more bytes than a record may have: it is not held.
    pub(super) fn next_before_footer(&mut self, cut: &Cut) -> io::Result<Option<Block>> {
        let footer = cut.footer_rows();
        loop {
            let (records, bytes) = self.held.behind_first();
            if self.held.over || records >= footer {
                return Ok(self.held.pop());
            }
            let most = self.record_bytes.saturating_add(BESIDE);
            if bytes > most {
                return Err(unheld(footer, most));
            }
            match self.next_records(cut)? {
                Some(block) => {
                    let records = match block.long {
                        Some(long) => u64::from(long.is_record),
                        None => cut.record_ends(block.bytes()).count() as u64,
                    };
                    self.held.push(block, records);
                }
                None => self.held.cut_off(cut, footer),
            }
        }
    }
}

fn unheld(footer: u64, most: usize) -> io::Error {
    let reason = format!(
        "the {footer} records that csv.skip_footer_rows leaves out have more than {most} bytes, which is all that \
         limits.record_bytes lets be held of them"
    );
    io::Error::new(io::ErrorKind::InvalidData, reason)
}
