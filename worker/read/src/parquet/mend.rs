//! Footers of writers that were wrong in a way that is known, made right: what they say of whole files then is what the
//! decoder expects.

use parquet::errors::ParquetError;
use parquet::file::metadata::{
    ColumnChunkMetaData, FileMetaData, ParquetMetaData, ParquetMetaDataBuilder, RowGroupMetaData,
};

/// Bytes that the header of a dictionary page has at the most.
const DICTIONARY_HEADER_BYTES: i64 = 100;

/// A footer that begins at `footer_start` as it should be.
pub(super) fn mended(footer: ParquetMetaData, footer_start: Option<u64>) -> Result<ParquetMetaData, ParquetError> {
    let rows = footer.row_groups().iter().map(RowGroupMetaData::num_rows).fold(0, i64::saturating_add);
    let lacks_rows = footer.file_metadata().num_rows() < rows;
    let old = footer.file_metadata().created_by().is_some_and(counts_no_dictionary_header);
    let columns = || footer.row_groups().iter().flat_map(RowGroupMetaData::columns);
    if !lacks_rows && !old && !columns().any(has_dictionary_at_zero) {
        return Ok(footer);
    }
    let mut starts: Vec<i64> = columns().map(start).collect();
    starts.extend(footer_start.and_then(|start| i64::try_from(start).ok()));
    starts.sort_unstable();
    let starts = if old { starts } else { Vec::new() };
    let file = footer.file_metadata().clone();
    let mut before = footer.into_builder();
    let groups = before.take_row_groups().into_iter().map(|group| {
        let columns =
            group.columns().iter().cloned().map(|column| with_all_bytes(without_dictionary_at_zero(column)?, &starts));
        let columns = columns.collect::<Result<Vec<_>, _>>()?;
        group.into_builder().set_column_metadata(columns).build()
    });
    let groups = groups.collect::<Result<Vec<_>, ParquetError>>()?;
    let builder = ParquetMetaDataBuilder::new(if lacks_rows { with_rows(&file, rows) } else { file });
    let builder = builder.set_row_groups(groups).set_column_index(before.take_column_index());
    Ok(builder.set_offset_index(before.take_offset_index()).build())
}

fn start(column: &ColumnChunkMetaData) -> i64 {
    column.dictionary_page_offset().filter(|offset| *offset > 0).unwrap_or_else(|| column.data_page_offset())
}

/// Some writers give a column without a dictionary the place 0 for it, where the file begins and no page can be.
fn has_dictionary_at_zero(column: &ColumnChunkMetaData) -> bool {
    column.dictionary_page_offset() == Some(0)
}

fn without_dictionary_at_zero(column: ColumnChunkMetaData) -> Result<ColumnChunkMetaData, ParquetError> {
    if has_dictionary_at_zero(&column) {
        return column.into_builder().set_dictionary_page_offset(None).build();
    }
    Ok(column)
}

/// Writers that leave the file's number of rows at 0 say that of each row group: the decoder makes batches of no more rows
/// than the file has.
fn with_rows(file: &FileMetaData, rows: i64) -> FileMetaData {
    FileMetaData::new(
        file.version(),
        rows,
        file.created_by().map(str::to_owned),
        file.key_value_metadata().cloned(),
        file.schema_descr_ptr(),
        file.column_orders().cloned(),
    )
}

/// Whether the bytes of a column are told without the header of its dictionary page (PARQUET-816): parquet-mr before 1.2.9.
fn counts_no_dictionary_header(created_by: &str) -> bool {
    let Some(rest) = created_by.strip_prefix("parquet-mr") else { return false };
    let version = rest.trim_start().strip_prefix("version ").unwrap_or("0");
    let number = |part: Option<&str>| part.and_then(|part| part.parse::<u32>().ok()).unwrap_or(0);
    let mut parts = version.split(|byte: char| !byte.is_ascii_digit());
    [number(parts.next()), number(parts.next()), number(parts.next())] < [1, 2, 9]
}

/// A column whose bytes go on to where the next thing starts, if what lacks is no more than a header.
fn with_all_bytes(column: ColumnChunkMetaData, starts: &[i64]) -> Result<ColumnChunkMetaData, ParquetError> {
    let (start, size) = (start(&column), column.compressed_size());
    let Some(next) = starts.iter().find(|other| **other > start) else { return Ok(column) };
    let lacking = next.saturating_sub(start.saturating_add(size));
    if (1..=DICTIONARY_HEADER_BYTES).contains(&lacking) {
        return column.into_builder().set_total_compressed_size(size + lacking).build();
    }
    Ok(column)
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use arrow::array::{ArrayRef, Int64Array, RecordBatch};
    use parquet::arrow::ArrowWriter;

    use super::*;

    #[test]
    fn row_groups_say_how_many_rows_a_file_has() {
        let batch = RecordBatch::try_from_iter([("n", Arc::new(Int64Array::from(vec![7, 8])) as ArrayRef)]).unwrap();
        let mut writer = ArrowWriter::try_new(Vec::new(), batch.schema(), None).unwrap();
        writer.write(&batch).unwrap();
        let footer = writer.close().unwrap();
        let without = ParquetMetaData::new(with_rows(footer.file_metadata(), 0), footer.row_groups().to_vec());
        assert_eq!(mended(without, None).unwrap().file_metadata(), footer.file_metadata());
    }

    #[test]
    fn only_old_writers_count_no_dictionary_header() {
        for old in ["parquet-mr", "parquet-mr version 1.2.8 (build abc)", "parquet-mr version 1.0"] {
            assert!(counts_no_dictionary_header(old), "{old}");
        }
        for other in ["parquet-mr version 1.2.9", "parquet-mr version 1.10.1 (build 2)", "parquet-rs 0.1", ""] {
            assert!(!counts_no_dictionary_header(other), "{other}");
        }
    }
}
