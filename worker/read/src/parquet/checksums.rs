//! The checksums of pages.
//!
//! Writers may give them (`crc` of `PageHeader` in parquet.thrift); the decoder passes over them. They are of the bytes as
//! they are stored, so that pages are checked where their bytes arrive. A header that cannot be read is left to the
//! decoder, which says what is wrong with it.

use std::ops::Range;

use bytes::Bytes;
use moulin_core::PlannedFile;
use parquet::arrow::arrow_reader::ArrowReaderMetadata;

use super::footer::damaged;
use super::roots;
use super::thrift::Thrift;
use crate::Error;

/// Compares the checksums of the pages in `parts`, which are the bytes of `ranges`. Each begins with a page.
///
/// # Errors
/// `BadFile`, naming the row group, the column and the page.
pub(super) fn check(
    file: &PlannedFile,
    footer: &ArrowReaderMetadata,
    group: usize,
    ranges: &[Range<u64>],
    parts: &[Bytes],
) -> Result<(), Error> {
    for (range, part) in ranges.iter().zip(parts) {
        let mut at = 0;
        while let Some(Page { header_bytes, bytes, crc }) = page(&part[at..]) {
            let start = at + header_bytes;
            let Some(stored) = part.get(start..start + bytes) else { break };
            if let Some(expected) = crc {
                let found = crc32fast::hash(stored);
                if found != expected {
                    let column = column_at(footer, group, range.start + at as u64);
                    let reason = format!(
                        "row group {group}{column}: the page at byte {} has the checksum {found:08x}, expected \
                         {expected:08x}",
                        range.start + at as u64
                    );
                    return Err(damaged(file, reason));
                }
            }
            at = start + bytes;
        }
    }
    Ok(())
}

/// The column whose bytes stand at a place, as errors name it.
fn column_at(footer: &ArrowReaderMetadata, group: usize, place: u64) -> String {
    let leaves = footer.metadata().row_group(group).columns().iter().enumerate();
    let mut starts: Vec<(u64, usize)> = leaves
        .map(|(leaf, column)| {
            let start = column.dictionary_page_offset().unwrap_or_else(|| column.data_page_offset());
            (u64::try_from(start).unwrap_or(0), leaf)
        })
        .collect();
    starts.sort_unstable();
    let Some((_, leaf)) = starts.iter().rev().find(|(start, _)| *start <= place) else { return String::new() };
    let place = roots::place(footer, *leaf);
    place.map_or_else(String::new, |place| format!(", column `{}`", footer.schema().field(place).name()))
}

/// What a page header says.
#[derive(Debug, PartialEq, Eq)]
struct Page {
    header_bytes: usize,
    /// Of the page behind it.
    bytes: usize,
    crc: Option<u32>,
}

/// The page that the bytes begin with; `None`: they begin with no page header.
fn page(bytes: &[u8]) -> Option<Page> {
    let mut thrift = Thrift::new(bytes);
    let (mut id, mut size, mut crc) = (0, None, None);
    while let Some((field, kind)) = thrift.field(id)? {
        match (field, kind) {
            (3, Thrift::I32) => size = Some(usize::try_from(thrift.zigzag()?).ok()?),
            (4, Thrift::I32) => crc = Some(thrift.zigzag()? as u32),
            _ => thrift.skip(kind, Thrift::DEPTH)?,
        }
        id = field;
    }
    Some(Page { header_bytes: thrift.at, bytes: size?, crc })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_page_header_says_its_length_and_the_checksum() {
        // type 0, 10 bytes plain, 7 stored, checksum -2, and a data page header: 3 values, PLAIN, RLE, RLE, and
        // statistics with a text of two bytes and a flag.
        let data = [0x15, 6, 0x15, 0, 0x15, 6, 0x15, 6, 0x1c, 0x18, 2, b'a', b'b', 0x61, 0, 0];
        let header = [&[0x15, 0, 0x15, 20, 0x15, 14, 0x15, 3, 0x1c][..], &data, &[0]].concat();
        let expected = Page { header_bytes: header.len(), bytes: 7, crc: Some(u32::MAX - 1) };
        assert_eq!(page(&[&header[..], b"content"].concat()), Some(expected));
        let without = [0x15, 0, 0x15, 20, 0x15, 14, 0];
        assert_eq!(page(&without), Some(Page { header_bytes: 7, bytes: 7, crc: None }));
    }

    #[test]
    fn what_is_no_page_header_is_left_alone() {
        let endless = [&[0x19, 0xfc][..], &[0xff; 8], &[1]].concat();
        let deep = vec![0x1c; 100];
        for bytes in
            [&b""[..], b"PAR1", &[0x15, 0, 0x15], &[0x15, 0, 0], &[0x15, 0, 0x15, 2, 0x15, 1, 0], &endless, &deep]
        {
            assert_eq!(page(bytes), None, "{bytes:x?}");
        }
    }
}
