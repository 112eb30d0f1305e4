//! Batches of Parquet files hold no more than there is room for, however small the file is that they come from.

use std::fs::File;

use ::parquet::arrow::ArrowWriter;
use ::parquet::arrow::arrow_writer::ArrowWriterOptions;
use ::parquet::basic::Encoding;
use ::parquet::file::properties::WriterProperties;
use arrow::array::{ArrayRef, DictionaryArray, Float64Array, StringArray, StringViewArray, UInt64Array};
use arrow::datatypes::Int32Type;

use super::parquet_footers::refooted;
use super::*;

/// What a batch is to hold at the most, and half of it again: a row does not end where the room does.
const MOST_BYTES: usize = 48 << 20;

/// A text, again and again.
fn again(text: &str, rows: usize) -> ArrayRef {
    let once = StringViewArray::from(vec![text]);
    arrow::compute::take(&once, &UInt64Array::from(vec![0; rows]), None).unwrap()
}

/// A file of one row group. `says`: with a note of its Arrow types, and of how long its texts are.
fn write(path: &Path, columns: Vec<(String, ArrayRef)>, properties: WriterProperties, says: bool) {
    let batch = RecordBatch::try_from_iter(columns).unwrap();
    let options = ArrowWriterOptions::new().with_properties(properties).with_skip_arrow_metadata(!says);
    let mut writer = ArrowWriter::try_new_with_options(File::create(path).unwrap(), batch.schema(), options).unwrap();
    writer.write(&batch).unwrap();
    writer.close().unwrap();
    if says {
        return;
    }
    refooted(path, |footer| {
        let mut builder = footer.into_builder();
        let group = builder.take_row_groups().remove(0);
        let columns = group.columns().iter().cloned().map(|column| {
            let column = column.into_builder().set_unencoded_byte_array_data_bytes(None);
            column.set_column_index_offset(None).set_column_index_length(None).build().unwrap()
        });
        let columns = columns.collect();
        builder.set_row_groups(vec![group.into_builder().set_column_metadata(columns).build().unwrap()]).build()
    });
}

/// Reads a file batch by batch: how many rows came, and how many bytes a batch had at the most.
async fn taken(source: &Source, threads: usize) -> Result<(usize, usize), Error> {
    let fetcher = Fetcher::new(&StorageSettings::default())?;
    let files = fetcher.list(&source.uris).await?;
    let schema = schema(&fetcher, source, &files).await?;
    let options = ReadOptions { threads, ..options(OnBadRow::Fail) };
    let mut stream = batches(&fetcher, source, &files, &schema, options);
    let (mut rows, mut most) = (0, 0);
    while let Some(batch) = stream.try_next().await? {
        rows += batch.num_rows();
        let bytes = batch.columns().iter().map(|column| column.to_data().get_slice_memory_size().unwrap());
        most = most.max(bytes.sum());
    }
    Ok((rows, most))
}

#[test]
fn a_text_that_is_repeated_beyond_two_gigabytes_loses_no_row() {
    const ROWS: usize = 40_000;
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("a.parquet");
    for says in [true, false] {
        let text = again(&"x".repeat(70_000), ROWS);
        write(&path, vec![("s".to_owned(), text)], WriterProperties::default(), says);
        let (rows, most) = on_runtime(taken(&source(&path, Format::Parquet, &[]), 2)).unwrap();
        assert_eq!(rows, ROWS);
        assert!(most <= MOST_BYTES, "a batch of {most} bytes");
    }
}

#[test]
fn many_columns_make_batches_of_few_rows() {
    const ROWS: usize = 20_000;
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("a.parquet");
    let doubles: ArrayRef = Arc::new(Float64Array::from(vec![1.5; ROWS]));
    let columns = (0..600).map(|number| (format!("c{number}"), Arc::clone(&doubles))).collect();
    write(&path, columns, WriterProperties::default(), false);
    for threads in [1, 2] {
        let (rows, most) = on_runtime(taken(&source(&path, Format::Parquet, &[]), threads)).unwrap();
        assert_eq!(rows, ROWS);
        assert!(most <= MOST_BYTES, "a batch of {most} bytes");
    }
}

#[test]
fn long_texts_make_batches_of_few_rows_however_they_are_stored() {
    const ROWS: usize = 4_000;
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("a.parquet");
    let usual = || WriterProperties::builder();
    let table = [
        ("dictionary", usual()),
        ("plain", usual().set_dictionary_enabled(false)),
        ("prefixes", usual().set_dictionary_enabled(false).set_encoding(Encoding::DELTA_BYTE_ARRAY)),
    ];
    for (name, properties) in table {
        let properties = properties.build();
        for says in [true, false] {
            let columns = vec![("s".to_owned(), again(&"x".repeat(40_000), ROWS)), ("t".to_owned(), again("y", ROWS))];
            write(&path, columns, properties.clone(), says);
            let (rows, most) = on_runtime(taken(&source(&path, Format::Parquet, &[]), 1)).unwrap();
            assert_eq!(rows, ROWS, "{name}");
            assert!(most <= MOST_BYTES, "{name}: a batch of {most} bytes");
        }
    }
}

#[test]
fn long_texts_among_short_ones_are_cut_off() {
    const ROWS: usize = 8_000;
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("a.parquet");
    let words = StringArray::from(vec![Some("short"), Some("x".repeat(50_000).as_str()), None]);
    // Long ones only from row 6,000 on, and every third is null.
    let place = |row: usize| if row % 3 == 2 { 2 } else { usize::from(row >= 6_000) };
    let places = UInt64Array::from_iter_values((0..ROWS).map(|row| place(row) as u64));
    let texts = arrow::compute::take(&words, &places, None).unwrap();
    let keys = (0..ROWS).map(|row| (place(row) < 2).then_some(place(row) as i32)).collect();
    let keyed: DictionaryArray<Int32Type> = DictionaryArray::new(keys, Arc::new(words));
    for (texts, says) in [(texts, false), (Arc::new(keyed) as ArrayRef, true)] {
        write(&path, vec![("s".to_owned(), texts)], WriterProperties::default(), says);
        let source = source(&path, Format::Parquet, &[]);
        let (rows, most) = on_runtime(taken(&source, 2)).unwrap();
        assert_eq!(rows, ROWS);
        assert!(most <= MOST_BYTES, "a batch of {most} bytes");
        let rows = on_runtime(read(&source, OnBadRow::Fail)).unwrap().rows;
        let found = rows.iter().map(|row| (row[0].len(), row[0].chars().next().unwrap()));
        assert!(found.enumerate().all(|(row, found)| found == [(5, 's'), (50_000, 'x'), (4, 'N')][place(row)]));
    }
}
