//! What Parquet files hold besides plain columns: all logical types, nested values, older ways to write them.

use std::fs::File;

use ::parquet::arrow::ArrowWriter;
use ::parquet::data_type::{
    ByteArray, ByteArrayType, FixedLenByteArray, FixedLenByteArrayType, Int32Type, Int64Type, Int96, Int96Type,
};
use ::parquet::file::metadata::{ColumnChunkMetaDataBuilder, ParquetMetaData, ParquetMetaDataWriter};
use ::parquet::file::properties::WriterProperties;
use ::parquet::file::writer::{SerializedColumnWriter, SerializedFileWriter};
use ::parquet::schema::parser::parse_message_type;
use arrow::array::NullArray;
use arrow::array::{Array, ArrayRef, Int32Builder, ListBuilder, MapBuilder, StringBuilder, StructArray};
use arrow::array::{Decimal128Array, Decimal256Array, Float16Array, Int64Array, IntervalYearMonthArray, ListArray};
use arrow::array::{Time32MillisecondArray, Time64NanosecondArray, TimestampMillisecondArray, UInt8Array, UInt16Array};
use arrow::buffer::OffsetBuffer;
use arrow::datatypes::{ArrowPrimitiveType, DataType, Field, i256};

use super::*;

type F16 = <arrow::datatypes::Float16Type as ArrowPrimitiveType>::Native;

/// A file of one row group, written column by column.
pub(super) fn write_columns(path: &Path, message: &str, columns: &[&dyn Fn(&mut SerializedColumnWriter<'_>)]) {
    let schema = Arc::new(parse_message_type(message).unwrap());
    let properties = Arc::new(WriterProperties::builder().build());
    let mut writer = SerializedFileWriter::new(File::create(path).unwrap(), schema, properties).unwrap();
    let mut group = writer.next_row_group().unwrap();
    for column in columns {
        let mut values = group.next_column().unwrap().unwrap();
        column(&mut values);
        values.close().unwrap();
    }
    group.close().unwrap();
    writer.close().unwrap();
}

fn read_all(path: &Path) -> (String, Vec<Vec<String>>) {
    let source = source(path, Format::Parquet, &[]);
    (on_runtime(described(&source)).unwrap(), on_runtime(read(&source, OnBadRow::Fail)).unwrap().rows)
}

#[test]
fn logical_types_become_those_that_land() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("a.parquet");
    let message = "message m {
        required int32 u8 (UINT_8); required int32 u16 (UINT_16); required int32 u32 (UINT_32); required int64 u64 (UINT_64);
        required int32 i8 (INT_8); required int32 d4 (DECIMAL(5,2)); required int64 d8 (DECIMAL(15,3));
        required fixed_len_byte_array(3) df (DECIMAL(6,2)); required binary db (DECIMAL(4,1));
        required int32 day (DATE); required int32 ms (TIME_MILLIS); required int64 us (TIMESTAMP(MICROS,true));
        required int64 ns (TIMESTAMP(NANOS,false)); required fixed_len_byte_array(16) id (UUID);
        required fixed_len_byte_array(2) half (FLOAT16); required binary word (ENUM); required binary text (JSON);
        required binary bin (BSON);
    }";
    macro_rules! column {
        ($ty:ty, $value:expr) => {
            &|writer: &mut SerializedColumnWriter<'_>| {
                writer.typed::<$ty>().write_batch(&[$value], None, None).unwrap();
            }
        };
    }
    let bytes = |bytes: &[u8]| ByteArray::from(bytes.to_vec());
    let fixed = |bytes: &[u8]| FixedLenByteArray::from(bytes.to_vec());
    write_columns(
        &path,
        message,
        &[
            column!(Int32Type, 255),
            column!(Int32Type, 65_535),
            column!(Int32Type, -1),
            column!(Int64Type, -1),
            column!(Int32Type, -128),
            column!(Int32Type, -12345),
            column!(Int64Type, 123_456_789_012_345),
            column!(FixedLenByteArrayType, fixed(&[0xff, 0xff, 0x9c])),
            column!(ByteArrayType, bytes(&[0x04, 0xd2])),
            column!(Int32Type, -1),
            column!(Int32Type, 3_661_001),
            column!(Int64Type, -1),
            column!(Int64Type, 1_700_000_000_123_456_789),
            column!(FixedLenByteArrayType, fixed(&[0xab; 16])),
            column!(FixedLenByteArrayType, fixed(&[0x00, 0x3e])),
            column!(ByteArrayType, bytes(b"red")),
            column!(ByteArrayType, bytes(b"{\"a\":1}")),
            column!(ByteArrayType, bytes(&[5, 0, 0, 0, 0])),
        ],
    );
    let (described, rows) = read_all(&path);
    assert_eq!(
        described.replace(" file", ""),
        "u8 int, u16 int, u32 long, u64 decimal(20,0), i8 int, d4 decimal(5,2), d8 decimal(15,3), df decimal(6,2), \
         db decimal(4,1), day date, ms time, us timestamptz, ns timestamp, id fixed[16], half float, word string, \
         text string, bin binary"
    );
    assert_eq!(
        rows[0],
        [
            "255",
            "65535",
            "4294967295",
            "18446744073709551615",
            "-128",
            "-123.45",
            "123456789012.345",
            "-1.00",
            "123.4",
            "1969-12-31",
            "01:01:01.001",
            "1969-12-31T23:59:59.999999Z",
            "2023-11-14T22:13:20.123456789",
            &"ab".repeat(16),
            "1.5",
            "red",
            "{\"a\":1}",
            "0500000000",
        ]
    );
}

/// A file of two columns, the first with a dictionary, whose footer was written by somebody else.
pub(super) fn with_footer(path: &Path, created_by: &str, other: impl FnOnce(ParquetMetaData) -> ParquetMetaData) {
    let batch = RecordBatch::try_from_iter([("m", longs([9, 9])), ("n", longs([7, 8]))]).unwrap();
    let properties = WriterProperties::builder().set_column_dictionary_enabled("n".into(), false);
    let properties = properties.set_created_by(created_by.to_owned()).build();
    let mut writer = ArrowWriter::try_new(File::create(path).unwrap(), batch.schema(), Some(properties)).unwrap();
    writer.write(&batch).unwrap();
    let footer = other(writer.close().unwrap());
    let mut bytes = std::fs::read(path).unwrap();
    let length = u32::from_le_bytes(bytes[bytes.len() - 8..][..4].try_into().unwrap()) as usize;
    bytes.truncate(bytes.len() - 8 - length);
    ParquetMetaDataWriter::new(&mut bytes, &footer).finish().unwrap();
    std::fs::write(path, bytes).unwrap();
}

/// A footer with other columns in its one row group.
fn with_columns(
    footer: ParquetMetaData,
    other: impl Fn(ColumnChunkMetaDataBuilder, i64) -> ColumnChunkMetaDataBuilder,
) -> ParquetMetaData {
    let mut builder = footer.into_builder();
    let group = builder.take_row_groups().remove(0);
    let columns = group.columns().iter().cloned();
    let columns = columns.map(|column| {
        let size = column.compressed_size();
        if column.dictionary_page_offset().is_some() {
            other(column.into_builder(), size).build().unwrap()
        } else {
            column
        }
    });
    let columns = columns.collect();
    builder.set_row_groups(vec![group.into_builder().set_column_metadata(columns).build().unwrap()]).build()
}

#[test]
fn footers_that_are_wrong_in_a_known_way_are_understood() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("a.parquet");
    let rows = [["9", "7"], ["9", "8"]];
    with_footer(&path, "x", |footer| {
        let mut builder = footer.into_builder();
        let group = builder.take_row_groups().remove(0);
        let mut columns = group.columns().to_vec();
        columns[1] = columns[1].clone().into_builder().set_dictionary_page_offset(Some(0)).build().unwrap();
        builder.set_row_groups(vec![group.into_builder().set_column_metadata(columns).build().unwrap()]).build()
    });
    assert_eq!(read_all(&path).1, rows, "a dictionary at place 0 is none");
    with_footer(&path, "parquet-mr", |footer| {
        with_columns(footer, |column, size| column.set_total_compressed_size(size - 14))
    });
    assert_eq!(read_all(&path).1, rows, "the header of the dictionary page was not counted");
}

#[test]
fn a_column_without_all_the_rows_of_its_row_group_is_named() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("a.parquet");
    with_footer(&path, "x", |footer| {
        let mut builder = footer.into_builder();
        let group = builder.take_row_groups().remove(0).into_builder().set_num_rows(3).build().unwrap();
        builder.set_row_groups(vec![group]).build()
    });
    let error = on_runtime(read(&source(&path, Format::Parquet, &[]), OnBadRow::Fail)).unwrap_err().to_string();
    assert!(error.ends_with("row group 0, column `m`: it holds 2 rows, expected 3"), "{error}");
}

#[test]
fn moments_of_96_bits_keep_years_beyond_nanoseconds() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("a.parquet");
    let moment = |day: u32, nanos: u64| {
        let mut moment = Int96::new();
        moment.set_data(nanos as u32, (nanos >> 32) as u32, day);
        moment
    };
    // Julian days of 1970-01-01 and 9999-12-31.
    let moments = [moment(2_440_588, 1_000_000), moment(5_373_484, 86_399_999_999_000)];
    write_columns(
        &path,
        "message m { required int96 t; required group s { required int96 u; } }",
        &[
            &|writer| {
                writer.typed::<Int96Type>().write_batch(&moments, None, None).unwrap();
            },
            &|writer| {
                writer.typed::<Int96Type>().write_batch(&moments, None, None).unwrap();
            },
        ],
    );
    let (described, rows) = read_all(&path);
    assert_eq!(described, "t timestamp file, s struct<u: timestamp> file");
    assert_eq!(rows[0], ["1970-01-01T00:00:00.001", "{u: 1970-01-01T00:00:00.001}"]);
    assert_eq!(rows[1][0], "9999-12-31T23:59:59.999999");
}

#[test]
fn lists_are_read_however_they_are_written() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("a.parquet");
    // Rows: [1, 2], [], [3]; the last list of three levels has a null.
    let two_levels: &dyn Fn(&mut SerializedColumnWriter<'_>) = &|writer| {
        writer.typed::<Int32Type>().write_batch(&[1, 2, 3], Some(&[1, 1, 0, 1]), Some(&[0, 1, 0, 0])).unwrap();
    };
    let three_levels: &dyn Fn(&mut SerializedColumnWriter<'_>) = &|writer| {
        writer.typed::<Int32Type>().write_batch(&[1, 3], Some(&[2, 1, 0, 2]), Some(&[0, 1, 0, 0])).unwrap();
    };
    let message = "message m {
        repeated int32 bare; required group two (LIST) { repeated int32 array; }
        required group three (LIST) { repeated group list { optional int32 element; } }
        required group hive (LIST) { repeated group bag { optional int32 array_element; } }
    }";
    write_columns(&path, message, &[two_levels, two_levels, three_levels, three_levels]);
    let (described, rows) = read_all(&path);
    assert_eq!(described.replace(" file", ""), "bare list<int>, two list<int>, three list<int>, hive list<int>");
    assert_eq!(rows, [["[1, 2]", "[1, 2]", "[1, ]", "[1, ]"], ["[]"; 4], ["[3]"; 4]]);
}

#[test]
fn nested_values_of_types_that_widen_are_read() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("a.parquet");
    let mut map = MapBuilder::new(None, StringBuilder::new(), ListBuilder::new(Int32Builder::new()));
    map.keys().append_value("k");
    map.values().append_value([Some(1), None]);
    map.append(true).unwrap();
    map.append(false).unwrap();
    let shorts = ListArray::from_iter_primitive::<arrow::datatypes::UInt16Type, _, _>([Some(vec![Some(7)]), None]);
    let inner = StructArray::from(vec![
        (Arc::new(Field::new("u", DataType::UInt8, false)), Arc::new(UInt8Array::from(vec![200, 1])) as ArrayRef),
        (Arc::new(Field::new("l", shorts.data_type().clone(), true)), Arc::new(shorts) as ArrayRef),
    ]);
    let batch =
        RecordBatch::try_from_iter([("m", Arc::new(map.finish()) as ArrayRef), ("s", Arc::new(inner))]).unwrap();
    write_batch(&path, &batch, 10);
    let (described, rows) = read_all(&path);
    assert_eq!(described, "m map<string, list<int>> file, s struct<u: int, l: list<int>> file");
    assert_eq!(rows, [["{k: [1, ]}", "{u: 200, l: [7]}"], ["NULL", "{u: 1, l: }"]]);
}

#[test]
fn other_units_and_widths_are_read() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("a.parquet");
    let wide = Decimal256Array::from(vec![i256::from_i128(1234)]).with_precision_and_scale(38, 2).unwrap();
    let batch = RecordBatch::try_from_iter([
        ("a", Arc::new(Time32MillisecondArray::from(vec![1])) as ArrayRef),
        ("b", Arc::new(Time64NanosecondArray::from(vec![1_999])) as ArrayRef),
        ("c", Arc::new(TimestampMillisecondArray::from(vec![-1]).with_timezone("+02:00")) as ArrayRef),
        ("d", Arc::new(wide) as ArrayRef),
        ("e", Arc::new(Decimal128Array::from(vec![5]).with_precision_and_scale(3, 1).unwrap()) as ArrayRef),
        ("f", Arc::new(Float16Array::from(vec![F16::from_f32(-0.5)])) as ArrayRef),
        ("g", Arc::new(UInt16Array::from(vec![65_535])) as ArrayRef),
    ])
    .unwrap();
    write_batch(&path, &batch, 10);
    let (described, rows) = read_all(&path);
    assert_eq!(
        described.replace(" file", ""),
        "a time, b time, c timestamptz, d decimal(38,2), e decimal(3,1), f float, g int"
    );
    assert_eq!(
        rows[0],
        ["00:00:00.001", "00:00:00.000001999", "1969-12-31T23:59:59.999Z", "12.34", "0.5", "-0.5", "65535"]
    );
}

#[test]
fn a_type_that_nothing_lands_as_is_refused_with_words() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("a.parquet");
    let batch =
        RecordBatch::try_from_iter([("i", Arc::new(IntervalYearMonthArray::from(vec![1])) as ArrayRef)]).unwrap();
    write_batch(&path, &batch, 10);
    let error = on_runtime(described(&source(&path, Format::Parquet, &[]))).unwrap_err().to_string();
    assert!(
        error.contains("column `i` of") && error.contains("is a duration, which Iceberg has no type for"),
        "{error}"
    );
}

pub(super) fn write_batch(path: &Path, batch: &RecordBatch, group_rows: usize) {
    let properties = WriterProperties::builder().set_max_row_group_row_count(Some(group_rows)).build();
    let mut writer = ArrowWriter::try_new(File::create(path).unwrap(), batch.schema(), Some(properties)).unwrap();
    writer.write(batch).unwrap();
    writer.close().unwrap();
}

pub(super) fn longs(values: impl IntoIterator<Item = i64>) -> ArrayRef {
    Arc::new(Int64Array::from_iter_values(values))
}

#[test]
fn what_is_null_by_its_type_is_read_as_texts_that_are_not_there() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("a.parquet");
    let nulls = || Arc::new(NullArray::new(2)) as ArrayRef;
    let item = Arc::new(Field::new("item", DataType::Null, true));
    let list = ListArray::new(item, OffsetBuffer::from_lengths([1, 1]), nulls(), None);
    let inside = StructArray::from(vec![(Arc::new(Field::new("x", DataType::Null, true)), nulls())]);
    super::parquet::write(
        &path,
        vec![("nothing", nulls()), ("list", Arc::new(list)), ("inside", Arc::new(inside))],
        10,
    );
    let (described, rows) = read_all(&path);
    assert_eq!(described, "nothing string file, list list<string> file, inside struct<x: string> file");
    assert_eq!(rows[1], ["NULL", "[]", "{x: }"]);
    let declared = source(&path, Format::Parquet, &[("nothing", "long")]);
    assert_eq!(on_runtime(read(&declared, OnBadRow::Fail)).unwrap().rows[0][0], "NULL");
}
