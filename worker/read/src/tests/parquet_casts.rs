//! Parquet: what becomes of values when a file has a column as another type than the schema.

use arrow::array::{
    ArrayRef, BooleanArray, Date32Array, Decimal128Array, Float64Array, Int32Array, Int64Array, ListArray, MapBuilder,
    NullArray, StringArray, StringBuilder, StructArray, TimestampMicrosecondArray,
};
use arrow::datatypes::{DataType, Field, Float64Type};
use moulin_core::{Contract, ContractMode, Fault, FaultKind};

use super::parquet::write;
use super::*;

const DAY: i64 = 86_400_000_000;
const HALF_DAY: i64 = DAY / 2;

fn longs(values: &[i64]) -> ArrayRef {
    Arc::new(Int64Array::from(values.to_vec()))
}

fn doubles(values: &[f64]) -> ArrayRef {
    Arc::new(Float64Array::from(values.to_vec()))
}

fn moments(values: &[i64]) -> ArrayRef {
    Arc::new(TimestampMicrosecondArray::from(values.to_vec()))
}

fn texts(values: &[&str]) -> ArrayRef {
    Arc::new(StringArray::from(values.to_vec()))
}

fn decimals(values: &[i128]) -> ArrayRef {
    Arc::new(Decimal128Array::from(values.to_vec()).with_precision_and_scale(20, 2).unwrap())
}

fn lists(values: &[&[f64]]) -> ArrayRef {
    let lists = values.iter().map(|items| Some(items.iter().map(|item| Some(*item)).collect::<Vec<_>>()));
    Arc::new(ListArray::from_iter_primitive::<Float64Type, _, _>(lists))
}

fn structs(fields: Vec<(&str, ArrayRef)>) -> ArrayRef {
    let field = |(name, array): (&str, ArrayRef)| (Arc::new(Field::new(name, array.data_type().clone(), true)), array);
    Arc::new(StructArray::from(fields.into_iter().map(field).collect::<Vec<_>>()))
}

fn map(values: &[(&str, &str)]) -> ArrayRef {
    let mut map = MapBuilder::new(None, StringBuilder::new(), StringBuilder::new());
    for (key, value) in values {
        map.keys().append_value(key);
        map.values().append_value(value);
        map.append(true).unwrap();
    }
    Arc::new(map.finish())
}

/// Files that follow each other, each with one column `x`.
fn files(columns: &[ArrayRef], declared: &[(&str, &str)]) -> (tempfile::TempDir, Source) {
    let dir = tempfile::tempdir().unwrap();
    for (number, column) in columns.iter().enumerate() {
        write(&dir.path().join(format!("{number}.parquet")), vec![("x", Arc::clone(column))], 100);
    }
    let source = source(&dir.path().join("*.parquet"), Format::Parquet, declared);
    (dir, source)
}

/// The values that land, and those that do not, as their reasons show them.
fn read_all(source: &Source) -> (Vec<String>, Vec<String>) {
    let outcome = on_runtime(read(source, OnBadRow::Skip)).unwrap();
    let shown = |reason: &str| reason.split('`').nth(1).unwrap_or_default().to_owned();
    let bad = outcome.rejects.iter().map(|reject| shown(&reject.reason)).collect();
    (outcome.rows.into_iter().map(|mut row| row.remove(0)).collect(), bad)
}

#[test]
fn a_value_of_a_later_file_that_the_type_of_the_first_does_not_hold_makes_a_bad_row() {
    let table: [(ArrayRef, ArrayRef, &[&str], &[&str]); 9] = [
        (longs(&[1]), doubles(&[1.5, 2.0, -0.0]), &["1", "2", "0"], &["1.5"]),
        (doubles(&[0.5]), longs(&[7, (1 << 53) + 1]), &["0.5", "7.0"], &["9007199254740993"]),
        (
            Arc::new(Date32Array::from(vec![0])),
            moments(&[DAY, HALF_DAY]),
            &["1970-01-01", "1970-01-02"],
            &["1970-01-01T12:00:00"],
        ),
        (Arc::new(BooleanArray::from(vec![true])), longs(&[0, 2]), &["true", "false"], &["2"]),
        (longs(&[1]), decimals(&[250, 300]), &["1", "3"], &["2.50"]),
        (decimals(&[1]), doubles(&[0.25, 0.125]), &["0.01", "0.25"], &["0.125"]),
        (Arc::new(Int32Array::from(vec![1])), longs(&[3_000_000_000, 2]), &["1", "2"], &["3000000000"]),
        (longs(&[1]), texts(&["2", "x"]), &["1", "2"], &["x"]),
        (longs(&[1]), Arc::new(NullArray::new(1)), &["1", "NULL"], &[]),
    ];
    for (first, later, rows, bad) in table {
        let (_dir, source) = files(&[first, Arc::clone(&later)], &[]);
        let (found, rejected) = read_all(&source);
        assert_eq!((found, rejected), (owned(rows), owned(bad)), "{later:?}");
    }
}

fn owned(texts: &[&str]) -> Vec<String> {
    texts.iter().map(|text| (*text).to_owned()).collect()
}

#[test]
fn such_a_row_has_a_place_and_a_reason_and_the_contract_decides_about_it() {
    let (_dir, mut source) = files(&[longs(&[1]), doubles(&[2.0, 1.5])], &[]);
    let outcome = on_runtime(read(&source, OnBadRow::Skip)).unwrap();
    let reject = &outcome.rejects[0];
    assert!(reject.place.uri.ends_with("1.parquet"), "{reject:?}");
    assert_eq!((reject.place.record, reject.place.column.as_str(), reject.code.as_str()), (2, "x", "type.long"));
    assert_eq!(
        reject.reason,
        "field x has value `1.5`, expected long, which is what the first file has: declare the column's type"
    );
    source.contract = Contract { types: ContractMode::DiscardValue, ..Contract::default() };
    source.rescued_column = Some("_rescued".to_owned());
    let rows = on_runtime(read(&source, OnBadRow::Fail)).unwrap().rows;
    assert_eq!(rows, [["1", "NULL"], ["2", "NULL"], ["NULL", r#"{"x":"1.5"}"#]]);
}

#[test]
fn a_value_that_the_declared_type_does_not_hold_makes_a_bad_row() {
    let large = (1 << 53) + 1;
    let table: [(&str, ArrayRef, &[&str], &[&str]); 12] = [
        ("date", moments(&[DAY, 10 * DAY / 24]), &["1970-01-02"], &["1970-01-01T10:00:00"]),
        ("double", longs(&[1 << 53, large]), &["9007199254740992.0"], &["9007199254740993"]),
        ("boolean", longs(&[1, 2]), &["true"], &["2"]),
        ("boolean", doubles(&[0.0, 0.5]), &["false"], &["0.5"]),
        ("list<long>", lists(&[&[1.0], &[1.5, 2.0], &[3.0]]), &["[1]", "[3]"], &["[1.5,2.0]"]),
        (
            "struct<d: date>",
            structs(vec![("d", moments(&[0, 1]))]),
            &["{d: 1970-01-01}"],
            &["{\"d\":\"1970-01-01T00:00:00.000001\"}"],
        ),
        ("map<string, long>", map(&[("a", "1"), ("b", "x")]), &["{a: 1}"], &["{\"b\":\"x\"}"]),
        ("struct<b: long, a: string>", structs(vec![("a", texts(&["t"])), ("b", longs(&[5]))]), &["{b: 5, a: t}"], &[]),
        ("timestamp", Arc::new(Date32Array::from(vec![1])), &["1970-01-02T00:00:00"], &[]),
        // A float is what a double is rounded to, and a double what a decimal is; neither has infinities instead.
        ("float", doubles(&[0.1, 1e300, f64::INFINITY]), &["0.1", "inf"], &["1e300"]),
        ("double", decimals(&[10]), &["0.1"], &[]),
        ("float", longs(&[(1 << 24) + 1, 3]), &["3.0"], &["16777217"]),
    ];
    for (ty, column, rows, bad) in table {
        let (_dir, source) = files(std::slice::from_ref(&column), &[("x", ty)]);
        let (found, rejected) = read_all(&source);
        assert_eq!((found, rejected), (owned(rows), owned(bad)), "{ty} of {column:?}");
    }
}

#[test]
fn fields_of_structs_are_found_by_their_names_only() {
    let first = || structs(vec![("a", longs(&[1])), ("b", longs(&[2]))]);
    let (_dir, source) = files(&[first(), structs(vec![("b", longs(&[20])), ("a", longs(&[10]))])], &[]);
    assert_eq!(read_all(&source).0, ["{a: 1, b: 2}", "{a: 10, b: 20}"]);
    for (later, why) in [
        (vec![("a", longs(&[1])), ("c", longs(&[3]))], "field `c` has no counterpart"),
        (vec![("a", longs(&[1]))], "there is no field `b`"),
    ] {
        let (_dir, source) = files(&[first(), structs(later)], &[]);
        let error = on_runtime(read(&source, OnBadRow::Skip)).unwrap_err();
        assert!(
            error.to_string().ends_with(&format!("which cannot be made struct<a: long, b: long>: {why}")),
            "{error}"
        );
        assert_eq!(Fault::from(error).kind, FaultKind::InvalidSpec);
    }
}

#[test]
fn what_stands_below_a_null_is_no_value() {
    let items = doubles(&[1.5, 1.0, 2.5]);
    let field = Arc::new(Field::new("item", DataType::Float64, true));
    let nulls = arrow::buffer::NullBuffer::from(vec![false, true, true]);
    let offsets = arrow::buffer::OffsetBuffer::from_lengths([1, 1, 1]);
    let lists: ArrayRef = Arc::new(ListArray::new(field, offsets, items, Some(nulls.clone())));
    let inner = Field::new("l", lists.data_type().clone(), true);
    let outer: ArrayRef = Arc::new(StructArray::new(vec![inner].into(), vec![lists], Some(nulls)));
    let (_dir, source) = files(&[outer], &[("x", "struct<l: list<long>>")]);
    assert_eq!(read_all(&source), (owned(&["NULL", "{l: [1]}"]), owned(&["{\"l\":[2.5]}"])));
}

#[test]
fn nobody_knows_what_number_a_moment_is_unless_it_is_said() {
    let (_dir, source) = files(&[longs(&[1]), moments(&[5])], &[]);
    let error = on_runtime(read(&source, OnBadRow::Skip)).unwrap_err().to_string();
    assert!(error.ends_with("1.parquet is timestamp, which cannot be made long"), "{error}");
    let (_dir, source) = files(&[moments(&[5])], &[("x", "long")]);
    assert_eq!(read_all(&source).0, ["5"]);
    let (_dir, source) = files(&[moments(&[5])], &[("x", "time")]);
    let error = on_runtime(read(&source, OnBadRow::Skip)).unwrap_err().to_string();
    assert!(error.ends_with("0.parquet is timestamp, which cannot be made time"), "{error}");
}
