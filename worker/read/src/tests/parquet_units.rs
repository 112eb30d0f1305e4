//! Moments in nanoseconds, which a table does not hold: the landing decides about them, so they come as they are.

use arrow::array::{Array, ArrayRef, ListArray, TimestampMicrosecondArray, TimestampNanosecondArray};
use arrow::datatypes::{DataType, TimeUnit, TimestampNanosecondType};

use super::parquet::write;
use super::*;

const NANOS: &str = "2023-11-14T22:13:20.123456789";

fn nanos(values: &[i64]) -> ArrayRef {
    Arc::new(TimestampNanosecondArray::from(values.to_vec()))
}

fn lists(values: &[i64]) -> ArrayRef {
    let lists = values.iter().map(|value| Some(vec![Some(*value)]));
    Arc::new(ListArray::from_iter_primitive::<TimestampNanosecondType, _, _>(lists))
}

fn micros(values: &[i64]) -> ArrayRef {
    Arc::new(TimestampMicrosecondArray::from(values.to_vec()))
}

#[test]
fn nanoseconds_stay_whatever_is_declared() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("a.parquet");
    write(&path, vec![("t", nanos(&[1_700_000_000_123_456_789])), ("l", lists(&[1_700_000_000_123_456_789]))], 100);
    for declared in [&[][..], &[("t", "timestamp"), ("l", "list<timestamp>")]] {
        let source = source(&path, Format::Parquet, declared);
        let found = on_runtime(schema_of(&source)).unwrap();
        assert_eq!(found.arrow.field(0).data_type(), &DataType::Timestamp(TimeUnit::Nanosecond, None));
        let rows = on_runtime(read(&source, OnBadRow::Fail)).unwrap().rows;
        assert_eq!(rows, [[NANOS.to_owned(), format!("[{NANOS}]")]]);
    }
}

#[test]
fn moments_between_those_of_the_first_file_make_bad_rows() {
    let dir = tempfile::tempdir().unwrap();
    write(&dir.path().join("a.parquet"), vec![("t", micros(&[7]))], 100);
    write(&dir.path().join("b.parquet"), vec![("t", nanos(&[1_000, 1_001, -1]))], 100);
    let source = source(&dir.path().join("*.parquet"), Format::Parquet, &[]);
    let outcome = on_runtime(read(&source, OnBadRow::Skip)).unwrap();
    assert_eq!(outcome.rows, [["1970-01-01T00:00:00.000007"], ["1970-01-01T00:00:00.000001"]]);
    assert_eq!(outcome.codes(), ["type.timestamp"; 2]);
    assert_eq!(
        outcome.rejects[0].reason,
        "field t has value `1970-01-01T00:00:00.000001001`, expected timestamp, in the unit that the first file has it in"
    );
    assert_eq!((outcome.rejects[0].place.record, outcome.rejects[1].place.record), (2, 3));
}

#[test]
fn moments_that_nanoseconds_do_not_reach_make_bad_rows() {
    let dir = tempfile::tempdir().unwrap();
    write(&dir.path().join("a.parquet"), vec![("t", nanos(&[7]))], 100);
    write(&dir.path().join("b.parquet"), vec![("t", micros(&[i64::MAX / 1_000 + 1, 8]))], 100);
    let texts: ArrayRef = Arc::new(arrow::array::StringArray::from(vec!["9999-12-31 00:00:00", "2020-01-01 00:00:00"]));
    write(&dir.path().join("c.parquet"), vec![("t", texts)], 100);
    let source = source(&dir.path().join("*.parquet"), Format::Parquet, &[("t", "timestamp")]);
    let outcome = on_runtime(read(&source, OnBadRow::Skip)).unwrap();
    let expected = [["1970-01-01T00:00:00.000000007"], ["1970-01-01T00:00:00.000008"], ["2020-01-01T00:00:00"]];
    assert_eq!(outcome.rows, expected);
    assert_eq!(outcome.codes(), ["type.timestamp"; 2]);
}

#[test]
fn moments_deep_inside_are_looked_at_too() {
    let dir = tempfile::tempdir().unwrap();
    let lists = |unit| {
        let deep = lists(&[1_000, 1_001]);
        let item = Arc::new(arrow::datatypes::Field::new("item", DataType::Timestamp(unit, None), true));
        arrow::compute::cast(&deep, &DataType::List(item)).unwrap()
    };
    write(&dir.path().join("a.parquet"), vec![("l", lists(TimeUnit::Microsecond).slice(0, 1))], 100);
    write(&dir.path().join("b.parquet"), vec![("l", lists(TimeUnit::Nanosecond))], 100);
    let source = source(&dir.path().join("*.parquet"), Format::Parquet, &[]);
    let outcome = on_runtime(read(&source, OnBadRow::Skip)).unwrap();
    assert_eq!(outcome.rows, [["[1970-01-01T00:00:00.000001]"], ["[1970-01-01T00:00:00.000001]"]]);
    assert_eq!(outcome.codes(), ["type.nested"]);
}
