//! How many bytes rows take in memory.

use arrow::array::{Array, ArrayRef, AsArray as _, OffsetSizeTrait, RecordBatch};
use arrow::datatypes::DataType;

/// Of a slice only its own part counts.
pub(super) fn batch_bytes(batch: &RecordBatch) -> usize {
    batch.columns().iter().map(|column| array_bytes(column.as_ref())).sum()
}

// Arrow's own measure takes all elements of a list for those of a slice.
pub(super) fn array_bytes(array: &dyn Array) -> usize {
    match array.data_type() {
        DataType::List(_) => list_bytes::<i32>(array),
        DataType::LargeList(_) => list_bytes::<i64>(array),
        DataType::Map(..) => {
            let map = array.as_map();
            let entries = elements(map.value_offsets(), |from, count| array_bytes(&map.entries().slice(from, count)));
            nulls_bytes(array) + size_of_val(map.value_offsets()) + entries
        }
        DataType::FixedSizeList(..) => nulls_bytes(array) + array_bytes(array.as_fixed_size_list().values().as_ref()),
        DataType::Struct(_) => nulls_bytes(array) + columns_bytes(array.as_struct().columns()),
        _ => array.to_data().get_slice_memory_size().unwrap_or_default(),
    }
}

fn columns_bytes(columns: &[ArrayRef]) -> usize {
    columns.iter().map(|column| array_bytes(column.as_ref())).sum()
}

fn list_bytes<O: OffsetSizeTrait>(array: &dyn Array) -> usize {
    let list = array.as_list::<O>();
    let offsets = list.value_offsets();
    let values = elements(offsets, |from, count| array_bytes(list.values().slice(from, count).as_ref()));
    nulls_bytes(array) + size_of_val(offsets) + values
}

fn elements<O: OffsetSizeTrait>(offsets: &[O], bytes: impl FnOnce(usize, usize) -> usize) -> usize {
    match (offsets.first(), offsets.last()) {
        (Some(from), Some(to)) => bytes(from.as_usize(), to.as_usize() - from.as_usize()),
        _ => 0,
    }
}

fn nulls_bytes(array: &dyn Array) -> usize {
    array.nulls().map_or(0, |nulls| nulls.len().div_ceil(8))
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use arrow::array::{Int64Array, ListArray, StringArray, StructArray};
    use arrow::datatypes::{Field, Int64Type};

    use super::*;

    #[test]
    fn a_slice_of_lists_is_as_big_as_its_own_elements() {
        let lists = ListArray::from_iter_primitive::<Int64Type, _, _>(
            (0..1000).map(|row| (row % 7 > 0).then(|| vec![Some(row); 100])),
        );
        let whole = array_bytes(&lists);
        assert!(whole > 850 * 100 * 8, "{whole}");
        let fields =
            vec![(Arc::new(Field::new("lists", lists.data_type().clone(), true)), Arc::new(lists) as ArrayRef)];
        let nested = StructArray::from(fields);
        let parts: usize = (0..1000).step_by(10).map(|from| array_bytes(&nested.slice(from, 10))).sum();
        // Each part has an offset more, and bits that are not shared.
        assert!(parts >= whole && parts < whole + 100 * 16, "{parts} of {whole}");
    }

    #[test]
    fn texts_and_numbers_are_what_they_hold() {
        assert_eq!(array_bytes(&Int64Array::from(vec![1, 2, 3])), 24);
        let texts = StringArray::from(vec!["a", "bcd", "ef"]);
        assert_eq!(array_bytes(&texts.slice(1, 1)), 4 + 3);
    }
}
