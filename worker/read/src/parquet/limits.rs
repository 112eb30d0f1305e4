//! What a file may cost, by its footer.

use arrow::datatypes::{DataType, Schema};
use moulin_core::{PlannedFile, ReadLimits};
use parquet::arrow::arrow_reader::ArrowReaderMetadata;
use parquet::file::metadata::RowGroupMetaData;

use super::footer::damaged;
use crate::Error;
use crate::inflate::RATIO_FROM_BYTES;

/// # Errors
/// `BadFile`, naming the limit.
pub(super) fn check(file: &PlannedFile, footer: &ArrowReaderMetadata, limits: &ReadLimits) -> Result<(), Error> {
    let columns = footer.schema().fields().len();
    if columns > limits.columns as usize {
        let reason = format!("it has {columns} columns, and limits.columns allows {}", limits.columns);
        return Err(damaged(file, reason));
    }
    let levels = levels(footer.schema());
    if levels > limits.depth {
        let reason = format!("its types have {levels} levels, and limits.depth allows {}", limits.depth);
        return Err(damaged(file, reason));
    }
    let groups = footer.metadata().row_groups();
    let sum = |bytes: fn(&RowGroupMetaData) -> i64| {
        groups.iter().map(|group| u64::try_from(bytes(group)).unwrap_or(0)).fold(0_u64, u64::saturating_add)
    };
    let inflated = sum(RowGroupMetaData::total_byte_size);
    if let Some(most) = limits.inflated_bytes.filter(|most| inflated > *most) {
        return Err(damaged(
            file,
            format!("its pages hold {inflated} bytes, more than limits.inflated_bytes = {most}"),
        ));
    }
    let ratio = u64::from(limits.inflation_ratio);
    if inflated > RATIO_FROM_BYTES && inflated > sum(RowGroupMetaData::compressed_size).saturating_mul(ratio) {
        let reason = format!("its pages grow to {inflated} bytes, more than limits.inflation_ratio = {ratio} times");
        return Err(damaged(file, reason));
    }
    Ok(())
}

/// Structs, lists and maps in each other.
fn levels(schema: &Schema) -> u32 {
    fn of(ty: &DataType) -> u32 {
        match ty {
            DataType::Struct(fields) => 1 + fields.iter().map(|field| of(field.data_type())).max().unwrap_or(0),
            DataType::List(item) | DataType::LargeList(item) | DataType::FixedSizeList(item, _) => {
                1 + of(item.data_type())
            }
            // Its entries are a struct that no one sees.
            DataType::Map(entries, _) => of(entries.data_type()),
            _ => 0,
        }
    }
    schema.fields().iter().map(|field| of(field.data_type())).max().unwrap_or(0)
}
