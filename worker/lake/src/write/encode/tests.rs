//! What is encoded is read back by the parquet crate, value for value.

use std::sync::Arc;

use arrow::array::{ArrayRef, Float64Array, Int64Array, RecordBatch, StringArray};
use arrow::compute::concat_batches;
use bytes::Bytes;
use parquet::arrow::ArrowSchemaConverter;
use parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;
use parquet::basic::{Compression, Encoding, ZstdLevel};
use parquet::file::metadata::ParquetMetaData;
use parquet::file::properties::WriterProperties;
use proptest::prelude::*;

use super::*;

fn written(batches: &[RecordBatch], props: WriterProperties) -> (RecordBatch, ParquetMetaData) {
    let schema = batches[0].schema();
    let parquet = ArrowSchemaConverter::new().convert(&schema).unwrap();
    let mut file = SerializedFileWriter::new(Vec::new(), parquet.root_schema_ptr(), Arc::new(props)).unwrap();
    let mut groups = RowGroups::new(&file, &schema).unwrap();
    for batch in batches {
        groups.write(batch, &mut file).unwrap();
    }
    groups.end(&mut file).unwrap();
    let metadata = file.finish().unwrap();
    let bytes = Bytes::from(file.inner().clone());
    let reader = ParquetRecordBatchReaderBuilder::try_new(bytes).unwrap().build().unwrap();
    let read: Vec<RecordBatch> = reader.map(Result::unwrap).collect();
    (concat_batches(&read[0].schema(), &read).unwrap(), metadata)
}

fn small_limits() -> WriterProperties {
    WriterProperties::builder()
        .set_compression(Compression::ZSTD(ZstdLevel::default()))
        .set_data_page_size_limit(3_000)
        .set_dictionary_page_size_limit(2_000)
        .set_max_row_group_row_count(Some(40_000))
        .set_offset_index_disabled(true)
        .build()
}

fn batch(columns: Vec<(&str, ArrayRef)>) -> RecordBatch {
    RecordBatch::try_from_iter_with_nullable(columns.into_iter().map(|(name, column)| (name, column, true))).unwrap()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]
    #[test]
    fn values_nulls_slices_pages_and_row_groups_come_back(
        seed in any::<u64>(),
        rows in 1usize..60_000,
        distinct in prop_oneof![Just(1u64), 2u64..20, 100u64..1_000, Just(u64::MAX)],
        null_every in prop_oneof![Just(usize::MAX), 2usize..50, Just(1)],
        step in 1usize..20_000,
    ) {
        let number = |row: usize| (row as u64 ^ seed).wrapping_mul(0x9E37_79B9_7F4A_7C15) % distinct;
        let present = |row: usize| !(row + 1).is_multiple_of(null_every);
        let numbers: Int64Array = (0..rows).map(|r| present(r).then(|| number(r) as i64)).collect();
        let floats: Float64Array = (0..rows).map(|r| present(r).then(|| number(r) as f64 / 7.0)).collect();
        let texts: StringArray = (0..rows).map(|r| present(r).then(|| "é".repeat(number(r) as usize % 9) + &number(r).to_string())).collect();
        let sent = batch(vec![("n", Arc::new(numbers)), ("f", Arc::new(floats)), ("t", Arc::new(texts))]);
        let slices: Vec<RecordBatch> = (0..rows).step_by(step).map(|from| sent.slice(from, step.min(rows - from))).collect();
        let (found, metadata) = written(&slices, small_limits());
        prop_assert_eq!(&found, &sent);
        prop_assert_eq!(metadata.row_groups().len(), rows.div_ceil(40_000));
    }
}

#[test]
fn bounds_in_the_footer_hold_for_every_value() {
    let text = "z".repeat(70);
    let sent = batch(vec![
        ("n", Arc::new(Int64Array::from(vec![Some(3), None, Some(-5)]))),
        ("f", Arc::new(Float64Array::from(vec![f64::NAN, 0.0, 0.0]))),
        ("t", Arc::new(StringArray::from(vec![text.as_str(), "b", "c"]))),
    ]);
    let (_, metadata) = written(&[sent], small_limits());
    let statistics = |column: usize| metadata.row_group(0).column(column).statistics().unwrap().clone();
    let number = statistics(0);
    assert_eq!(
        (number.min_bytes_opt().unwrap(), number.max_bytes_opt().unwrap()),
        (&(-5i64).to_le_bytes()[..], &3i64.to_le_bytes()[..])
    );
    assert_eq!(number.null_count_opt(), Some(1));
    let float = statistics(1);
    assert_eq!(
        (float.min_bytes_opt().unwrap(), float.max_bytes_opt().unwrap()),
        (&(-0.0f64).to_le_bytes()[..], &0.0f64.to_le_bytes()[..])
    );
    let text = statistics(2);
    assert_eq!(text.max_bytes_opt().unwrap(), format!("{}{{", "z".repeat(63)).as_bytes());
    assert!(text.min_is_exact() && !text.max_is_exact());
}

fn encodings(values: impl Iterator<Item = i64>) -> Vec<Encoding> {
    let sent = batch(vec![("n", Arc::new(values.collect::<Int64Array>()))]);
    let props =
        WriterProperties::builder().set_dictionary_page_size_limit(100_000).set_offset_index_disabled(true).build();
    let (found, metadata) = written(std::slice::from_ref(&sent), props);
    assert_eq!(found, sent);
    metadata.row_group(0).column(0).encodings().collect()
}

#[test]
fn a_dictionary_is_kept_given_up_or_never_begun() {
    assert_eq!(encodings((0..50_000).map(|n| n % 100)), [Encoding::PLAIN, Encoding::RLE, Encoding::RLE_DICTIONARY]);
    assert_eq!(encodings(0..50_000), [Encoding::PLAIN, Encoding::RLE]);
    // Few values at first, then ever new ones: dictionary and plain pages in one chunk.
    let turning = (0..50_000).map(|n| if n < 20_000 { n % 10 } else { n });
    assert_eq!(encodings(turning), [Encoding::PLAIN, Encoding::RLE, Encoding::RLE_DICTIONARY]);
}

#[test]
fn a_decimal_with_too_many_digits_is_refused() {
    let column = arrow::array::Decimal128Array::from(vec![i128::MAX]).with_precision_and_scale(18, 2).unwrap();
    let sent = batch(vec![("d", Arc::new(column))]);
    let parquet = ArrowSchemaConverter::new().convert(&sent.schema()).unwrap();
    let mut file = SerializedFileWriter::new(Vec::new(), parquet.root_schema_ptr(), Arc::new(small_limits())).unwrap();
    let mut groups = RowGroups::new(&file, &sent.schema()).unwrap();
    let error = groups.write(&sent, &mut file).unwrap_err().to_string();
    assert!(error.contains("a decimal has more digits than Decimal128(18, 2)"), "{error}");
}
