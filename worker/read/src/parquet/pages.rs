//! The statistics of pages, which stand outside of the footer.
//!
//! They are hints: what cannot be had or followed of them says nothing, and makes no file a bad one. The decoder makes room
//! for as many pages as a list is said to have, so that it is given only lists whose bytes are there.

use std::ops::Range;

use moulin_core::{Counters, PlannedFile};
use parquet::DecodeResult;
use parquet::file::metadata::{
    ColumnChunkMetaData, PageIndexPolicy, ParquetMetaData, ParquetMetaDataPushDecoder, RowGroupMetaData,
};
use tokio::runtime::Handle;

use super::footer::guarded;
use super::thrift::Thrift;
use crate::Error;
use crate::fetch::Fetcher;

/// A footer with the statistics of pages, where the file has them.
///
/// # Errors
/// What the store says.
pub(super) fn with_pages(
    fetcher: &Fetcher,
    file: &PlannedFile,
    footer: ParquetMetaData,
    counters: &Counters,
    runtime: &Handle,
) -> Result<ParquetMetaData, Error> {
    let decoder = guarded(|| ParquetMetaDataPushDecoder::try_new_with_metadata(file.size_bytes, footer.clone()));
    let Ok(decoder) = decoder else { return Ok(footer) };
    let mut decoder = decoder.with_page_index_policy(PageIndexPolicy::Optional);
    loop {
        let ranges = match guarded(|| decoder.try_decode()) {
            Ok(DecodeResult::Data(with_pages)) => return Ok(with_pages),
            Ok(DecodeResult::NeedsData(ranges)) => ranges,
            _ => return Ok(footer),
        };
        let parts = match fetcher.ranges(file, &ranges, counters, runtime) {
            Err(Error::BadFile { .. }) => return Ok(footer),
            parts => parts?,
        };
        let are_whole = ranges.iter().zip(&parts).all(|(range, part)| are_whole(&footer, range, part));
        if !are_whole || guarded(|| decoder.push_ranges(ranges, parts)).is_err() {
            return Ok(footer);
        }
    }
}

/// Whether all statistics of pages that begin in a part of the file can be followed to their ends.
fn are_whole(footer: &ParquetMetaData, range: &Range<u64>, part: &[u8]) -> bool {
    let columns = footer.row_groups().iter().flat_map(RowGroupMetaData::columns);
    columns.flat_map(places).all(|(offset, length)| {
        let Some(start) = offset.checked_sub(range.start).and_then(|start| usize::try_from(start).ok()) else {
            return true;
        };
        let bytes = start.checked_add(length).and_then(|end| part.get(start..end));
        bytes.is_some_and(|bytes| Thrift::new(bytes).skip(Thrift::STRUCT, Thrift::DEPTH).is_some())
    })
}

/// Where the statistics of the pages of a column stand, and how long they are.
fn places(column: &ColumnChunkMetaData) -> impl Iterator<Item = (u64, usize)> {
    let of_values = (column.column_index_offset(), column.column_index_length());
    let of_places = (column.offset_index_offset(), column.offset_index_length());
    [of_values, of_places]
        .into_iter()
        .filter_map(|(offset, length)| Some((u64::try_from(offset?).ok()?, usize::try_from(length?).ok()?)))
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use arrow::array::{ArrayRef, Int64Array, RecordBatch};
    use bytes::Bytes;
    use parquet::arrow::ArrowWriter;
    use parquet::file::metadata::ParquetMetaDataReader;

    use super::*;

    /// The decoder would make room for them, gigabytes of it.
    #[test]
    fn lists_that_say_more_than_there_is_are_not_whole() {
        let numbers: ArrayRef = Arc::new(Int64Array::from(vec![1, 5]));
        let rows = RecordBatch::try_from_iter([("c", numbers)]).unwrap();
        let mut writer = ArrowWriter::try_new(Vec::new(), rows.schema(), None).unwrap();
        writer.write(&rows).unwrap();
        let file = writer.into_inner().unwrap();
        let footer = ParquetMetaDataReader::new().parse_and_finish(&Bytes::from(file.clone())).unwrap();
        let whole = |bytes: &[u8], from: u64| are_whole(&footer, &(from..file.len() as u64), &bytes[from as usize..]);
        let places: Vec<(u64, usize)> = places(footer.row_group(0).column(0)).collect();
        assert_eq!(places.len(), 2);
        for (offset, _) in places {
            assert!(whole(&file, offset));
            let mut lying = file.clone();
            // Its first list, of one element, is said to have 2^31 - 1 of them.
            lying[offset as usize..][..6].copy_from_slice(&[0x19, 0xfc, 0xff, 0xff, 0xff, 0x7f]);
            assert!(!whole(&lying, offset));
        }
    }
}
