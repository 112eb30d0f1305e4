//! What footers say that no careful writer does.

use ::parquet::basic::Type;
use ::parquet::data_type::{ByteArray, ByteArrayType, Int32Type, Int64Type};
use ::parquet::file::metadata::{ParquetMetaData, ParquetMetaDataReader, ParquetMetaDataWriter};
use ::parquet::file::statistics::Statistics;
use ::parquet::file::writer::SerializedColumnWriter;
use moulin_core::{Fault, FaultKind};

use super::parquet_kinds::write_columns;
use super::parquet_parts::{compare, read_projected};
use super::*;
use crate::{Comparison, Condition, Literal, Test};

/// Gives a file another footer.
pub(super) fn refooted(path: &Path, other: impl FnOnce(ParquetMetaData) -> ParquetMetaData) {
    let mut bytes = std::fs::read(path).unwrap();
    let footer = ParquetMetaDataReader::new().parse_and_finish(&std::fs::File::open(path).unwrap()).unwrap();
    let length = u32::from_le_bytes(bytes[bytes.len() - 8..][..4].try_into().unwrap()) as usize;
    bytes.truncate(bytes.len() - 8 - length);
    ParquetMetaDataWriter::new(&mut bytes, &other(footer)).finish().unwrap();
    std::fs::write(path, bytes).unwrap();
}

/// With other statistics of its only column.
fn with_statistics(footer: ParquetMetaData, statistics: Statistics) -> ParquetMetaData {
    let mut builder = footer.into_builder();
    let group = builder.take_row_groups().remove(0);
    let column = group.column(0).clone().into_builder().set_statistics(statistics);
    let column = column.set_column_index_offset(None).set_column_index_length(None).build().unwrap();
    builder.set_row_groups(vec![group.into_builder().set_column_metadata(vec![column]).build().unwrap()]).build()
}

macro_rules! column {
    ($ty:ty, $values:expr $(, $levels:expr)*) => {
        &|writer: &mut SerializedColumnWriter<'_>| {
            column!(@write writer.typed::<$ty>(), $values $(, $levels)*);
        }
    };
    (@write $writer:expr, $values:expr) => { $writer.write_batch(&$values, None, None).unwrap() };
    (@write $writer:expr, $values:expr, $def:expr) => { $writer.write_batch(&$values, Some(&$def), None).unwrap() };
    (@write $writer:expr, $values:expr, $def:expr, $rep:expr) => {
        $writer.write_batch(&$values, Some(&$def), Some(&$rep)).unwrap()
    };
}

fn projected(path: &Path, names: &[&str], conditions: Vec<Condition>) -> Vec<Vec<String>> {
    let projection = Some(names.iter().map(|name| (*name).to_owned()).collect());
    let options = ReadOptions { projection, conditions, ..options(OnBadRow::Fail) };
    on_runtime(read_projected(&source(path, Format::Parquet, &[]), options))
}

#[test]
fn groups_without_a_column_move_no_other() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("a.parquet");
    // Of a map whose values are no columns none is made, though its keys are one.
    let message = "message m {
        optional group e { }
        required int64 a;
        optional group k (MAP) { repeated group key_value { required int64 key; optional group value { } } }
        required group f { optional group g { } }
        required int64 b;
    }";
    write_columns(
        &path,
        message,
        &[column!(Int64Type, [1, 2]), column!(Int64Type, [], [0, 0], [0, 0]), column!(Int64Type, [1000, 2000])],
    );
    assert_eq!(on_runtime(described(&source(&path, Format::Parquet, &[]))).unwrap(), "a long file, b long file");
    assert_eq!(projected(&path, &["a"], Vec::new()), [["1"], ["2"]]);
    assert_eq!(projected(&path, &["b"], Vec::new()), [["1000"], ["2000"]]);
    assert_eq!(projected(&path, &["b", "a"], Vec::new()), [["1000", "1"], ["2000", "2"]]);
    let above = compare("b", Comparison::Greater, Literal::Long(1500));
    assert_eq!(projected(&path, &["b"], vec![above]), [["1000"], ["2000"]], "the bounds are those of another column");
}

#[test]
fn nulls_that_nobody_counted_may_be_there() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("a.parquet");
    write_columns(&path, "message m { optional int64 z; }", &[column!(Int64Type, [7], [1, 0])]);
    refooted(&path, |footer| with_statistics(footer, Statistics::int64(Some(7), Some(7), None, None, false)));
    let is_null = Condition { column: "z".to_owned(), test: Test::IsNull };
    assert_eq!(projected(&path, &["z"], vec![is_null]), [["7"], ["NULL"]]);
}

#[test]
fn old_bounds_hold_for_what_is_ordered_by_its_sign_alone() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("a.parquet");
    let equal = |literal| vec![compare("c", Comparison::Equal, literal)];
    let bytes = |text: &str| ByteArray::from(text.as_bytes().to_vec());

    write_columns(
        &path,
        "message m { required binary c (UTF8); }",
        &[column!(ByteArrayType, [bytes("a"), bytes("é")])],
    );
    let signed = Statistics::byte_array(Some(bytes("é")), Some(bytes("a")), None, Some(0), true);
    refooted(&path, |footer| with_statistics(footer, signed));
    assert_eq!(projected(&path, &["c"], equal(Literal::Text("a".into()))), [["a"], ["é"]]);

    write_columns(&path, "message m { required int32 c (UINT_32); }", &[column!(Int32Type, [1, -1])]);
    refooted(&path, |footer| with_statistics(footer, Statistics::int32(Some(-1), Some(1), None, Some(0), true)));
    assert_eq!(projected(&path, &["c"], equal(Literal::Long(1))), [["1"], ["4294967295"]]);

    let decimals = [ByteArray::from(vec![0x01, 0x00]), ByteArray::from(vec![0x80])];
    let (min, max) = (Some(decimals[1].clone()), Some(decimals[0].clone()));
    write_columns(&path, "message m { required binary c (DECIMAL(4,0)); }", &[column!(ByteArrayType, decimals)]);
    refooted(&path, |footer| with_statistics(footer, Statistics::byte_array(max, min, None, Some(0), true)));
    assert_eq!(projected(&path, &["c"], equal(Literal::Decimal { unscaled: 256, scale: 0 })), [["256"], ["-128"]]);

    // Those of whole numbers are what they are today.
    write_columns(&path, "message m { required int64 c; }", &[column!(Int64Type, [1, 5])]);
    refooted(&path, |footer| with_statistics(footer, Statistics::int64(Some(1), Some(5), None, Some(0), true)));
    assert_eq!(projected(&path, &["c"], equal(Literal::Long(6))), Vec::<Vec<String>>::new());
    assert_eq!(projected(&path, &["c"], equal(Literal::Long(5))), [["1"], ["5"]]);
}

/// A number as Thrift's compact protocol writes it.
fn varint(mut number: u64) -> Vec<u8> {
    let mut bytes = Vec::new();
    while number >= 0x80 {
        bytes.push(number as u8 | 0x80);
        number >>= 7;
    }
    bytes.push(number as u8);
    bytes
}

/// A file whose schema has these elements: a name, and how many children it has; no children: a column.
fn with_schema(path: &Path, count: usize, children: impl Fn(usize) -> u64) {
    // Version 2, and a list of structs.
    let mut footer = [&[0x15, 4, 0x19, 0xfc][..], &varint(count as u64)].concat();
    for element in 0..count {
        match children(element) {
            0 => footer.extend([0x15, Type::INT32 as u8 * 2, 0x25, 2]),
            // An optional one.
            _ => footer.extend([0x35, 2]),
        }
        // Its name.
        footer.extend(if children(element) == 0 { [0x18, 1, b'x'] } else { [0x18, 1, b'g'] });
        if children(element) > 0 {
            footer.push(0x15);
            footer.extend(varint(children(element) * 2));
        }
        footer.push(0);
    }
    // No rows, and no row groups.
    footer.extend([0x16, 0, 0x19, 0x0c, 0]);
    let length = (footer.len() as u32).to_le_bytes();
    std::fs::write(path, [&b"PAR1"[..], &footer, &length, b"PAR1"].concat()).unwrap();
}

#[test]
fn a_schema_without_end_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("a.parquet");
    let refused = |reason: &str| {
        let error = on_runtime(schema_of(&source(&path, Format::Parquet, &[]))).unwrap_err();
        assert!(error.to_string().contains(reason), "{error}");
        assert_eq!(Fault::from(error).kind, FaultKind::BadFile);
    };
    with_schema(&path, 2, |element| [1, 0][element]);
    assert_eq!(on_runtime(described(&source(&path, Format::Parquet, &[]))).unwrap(), "x int file");
    with_schema(&path, 100_001, |element| u64::from(element < 100_000));
    refused("its schema has more than 388 levels");
    with_schema(&path, 2, |element| [i32::MAX as u64, 0][element]);
    refused("its schema has 1 elements in all, and 2147483647 of them are said to be in one");
    with_schema(&path, 200, |element| u64::from(element < 199));
    refused("its types have 198 levels, and limits.depth allows 128");
    // As deep as any may be, whatever the limit.
    with_schema(&path, 600, |element| u64::from(element < 599));
    let mut deep = source(&path, Format::Parquet, &[]);
    deep.limits.depth = u32::MAX;
    assert!(on_runtime(described(&deep)).unwrap().starts_with("g struct<g: struct<g: "));
    with_schema(&path, 601, |element| u64::from(element < 600));
    assert!(on_runtime(described(&deep)).unwrap_err().to_string().contains("more than 600 levels"));
}

#[test]
fn statistics_of_pages_that_lie_are_none() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("a.parquet");
    write_columns(&path, "message m { required int64 c; }", &[column!(Int64Type, [1, 5])]);
    let whole = std::fs::read(&path).unwrap();
    let footer = ParquetMetaDataReader::new().parse_and_finish(&std::fs::File::open(&path).unwrap()).unwrap();
    let column = footer.row_group(0).column(0);
    let above = vec![compare("c", Comparison::Greater, Literal::Long(4))];
    for offset in [column.column_index_offset().unwrap(), column.offset_index_offset().unwrap()] {
        let mut bytes = whole.clone();
        // Its first list has as many elements as a number can say, where one of them was.
        bytes[offset as usize..][..6].copy_from_slice(&[0x19, 0xfc, 0xff, 0xff, 0xff, 0x7f]);
        std::fs::write(&path, &bytes).unwrap();
        assert_eq!(projected(&path, &["c"], above.clone()), [["1"], ["5"]]);
    }
}
