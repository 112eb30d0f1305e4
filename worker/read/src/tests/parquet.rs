use std::fs::File;

use ::parquet::arrow::ArrowWriter;
use ::parquet::file::properties::WriterProperties;
use arrow::array::{
    ArrayRef, DictionaryArray, Int16Array, Int64Array, StringViewArray, TimestampNanosecondArray, UInt32Array,
    UInt64Array,
};
use arrow::datatypes::Int32Type;
use moulin_core::{Fault, FaultKind};

use super::*;

pub(super) fn write(path: &Path, columns: Vec<(&str, ArrayRef)>, group_rows: usize) {
    let batch = RecordBatch::try_from_iter(columns).unwrap();
    let properties = WriterProperties::builder().set_max_row_group_row_count(Some(group_rows)).build();
    let mut writer = ArrowWriter::try_new(File::create(path).unwrap(), batch.schema(), Some(properties)).unwrap();
    writer.write(&batch).unwrap();
    writer.close().unwrap();
}

fn numbers(count: i64) -> ArrayRef {
    Arc::new(Int64Array::from_iter_values(0..count))
}

fn doubles(count: i64) -> ArrayRef {
    Arc::new(Int64Array::from_iter_values((0..count).map(|n| 2 * n)))
}

#[test]
fn types_become_those_that_land() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("a.parquet");
    let dictionary: DictionaryArray<Int32Type> = vec![Some("x"), None].into_iter().collect();
    write(
        &path,
        vec![
            ("short", Arc::new(Int16Array::from(vec![Some(-3), None]))),
            ("wide", Arc::new(UInt32Array::from(vec![u32::MAX, 0]))),
            ("huge", Arc::new(UInt64Array::from(vec![u64::MAX, 0]))),
            (
                "nanos",
                Arc::new(
                    TimestampNanosecondArray::from(vec![1_700_000_000_123_456_789, 0]).with_timezone("Europe/Berlin"),
                ),
            ),
            ("word", Arc::new(dictionary)),
            ("view", Arc::new(StringViewArray::from(vec!["v", "w"]))),
        ],
        100,
    );
    let source = source(&path, Format::Parquet, &[("wide", "string")]);
    assert_eq!(
        on_runtime(described(&source)).unwrap(),
        "short int file, wide string declared, huge decimal(20,0) file, nanos timestamptz file, word string file, view string file"
    );
    let outcome = on_runtime(read(&source, OnBadRow::Fail)).unwrap();
    assert_eq!(
        outcome.rows[0],
        ["-3", "4294967295", "18446744073709551615", "2023-11-14T22:13:20.123456789Z", "x", "v"]
    );
    assert_eq!(outcome.rows[1][4], "NULL");
}

#[test]
fn row_groups_and_files_come_in_order() {
    let dir = tempfile::tempdir().unwrap();
    write(&dir.path().join("a.parquet"), vec![("n", numbers(100_000)), ("m", doubles(100_000))], 7000);
    write(&dir.path().join("b.parquet"), vec![("m", doubles(10)), ("n", numbers(10))], 7000);
    let source = source(&dir.path().join("*.parquet"), Format::Parquet, &[]);
    for threads in [1, 2] {
        let outcome = on_runtime(read_with(&source, ReadOptions { threads, ..options(OnBadRow::Fail) })).unwrap();
        let expected = (0..100_000).chain(0..10).map(|n| vec![n.to_string(), (2 * n).to_string()]);
        assert!(outcome.rows.into_iter().eq(expected));
        assert_eq!(outcome.rows_read, 100_010);
    }
}

#[test]
fn what_is_no_parquet_file_is_a_bad_one_by_name() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("a.parquet");
    std::fs::write(&path, "n,m\n1,2\nthis is text, and long enough\n").unwrap();
    let source = source(&path, Format::Parquet, &[]);
    let error = on_runtime(described(&source)).unwrap_err();
    assert!(error.to_string().contains("a.parquet is damaged: "), "{error}");
    assert_eq!(Fault::from(error).kind, FaultKind::BadFile);
    std::fs::write(&path, "PAR1").unwrap();
    assert_eq!(Fault::from(on_runtime(described(&source)).unwrap_err()).kind, FaultKind::BadFile);
}

#[test]
fn a_value_that_cannot_be_cast_names_its_column() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("a.parquet");
    write(&path, vec![("n", numbers(3)), ("big", Arc::new(Int64Array::from(vec![1, i64::MAX, 2])))], 100);
    let error =
        on_runtime(read(&source(&path, Format::Parquet, &[("big", "int")]), OnBadRow::Fail)).unwrap_err().to_string();
    assert!(error.starts_with("field big has value `9223372036854775807`, expected int ("), "{error}");
    assert!(error.ends_with("a.parquet, record 2)"), "{error}");
    let error = on_runtime(described(&source(&path, Format::Parquet, &[("no", "int")]))).unwrap_err().to_string();
    assert!(error.ends_with("a.parquet has no column `no`; its columns are: n, big"), "{error}");
}

#[test]
fn a_later_file_must_have_the_same_columns() {
    let dir = tempfile::tempdir().unwrap();
    write(&dir.path().join("a.parquet"), vec![("n", numbers(3))], 100);
    write(&dir.path().join("b.parquet"), vec![("n", numbers(3)), ("x", numbers(3))], 100);
    let error =
        on_runtime(read(&source(&dir.path().join("*.parquet"), Format::Parquet, &[]), OnBadRow::Fail)).unwrap_err();
    assert!(error.to_string().contains("b.parquet has a column `x` that the first file does not have"), "{error}");
}
