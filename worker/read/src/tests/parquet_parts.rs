//! Parts of Parquet files: columns and rows that are not wanted, and bytes that are damaged.

use std::fs::File;

use ::parquet::arrow::ArrowWriter;
use ::parquet::file::properties::{EnabledStatistics, WriterProperties};
use arrow::array::{ArrayRef, Date32Array, Decimal128Array, Int64Array, StringArray};
use moulin_core::{Fault, FaultKind, ProvenanceColumn};

use super::parquet_kinds::{longs, write_batch};
use super::*;
use crate::{Comparison, Condition, Literal, Test};

/// 1000 rows in row groups of 250 and pages of 50: `n` goes up, `s` and `day` with it, `z` is null in the last group.
fn thousand(path: &Path) {
    let texts: Vec<String> = (0..1000).map(|n| format!("t{n:04}")).collect();
    let batch = RecordBatch::try_from_iter([
        ("n", longs(0..1000)),
        ("s", Arc::new(StringArray::from_iter_values(texts)) as ArrayRef),
        ("day", Arc::new(Date32Array::from_iter_values(0..1000)) as ArrayRef),
        ("d", Arc::new(Decimal128Array::from_iter_values(0..1000).with_precision_and_scale(9, 2).unwrap()) as ArrayRef),
        ("z", Arc::new((0..1000).map(|n| (n < 750).then_some(n)).collect::<Int64Array>()) as ArrayRef),
    ])
    .unwrap();
    let properties = WriterProperties::builder()
        .set_max_row_group_row_count(Some(250))
        .set_data_page_row_count_limit(50)
        .set_write_batch_size(50)
        .set_statistics_enabled(EnabledStatistics::Page)
        .set_dictionary_enabled(false)
        .build();
    let mut writer = ArrowWriter::try_new(File::create(path).unwrap(), batch.schema(), Some(properties)).unwrap();
    writer.write(&batch).unwrap();
    writer.close().unwrap();
}

pub(super) fn compare(column: &str, comparison: Comparison, literal: Literal) -> Condition {
    Condition { column: column.to_owned(), test: Test::Compare(comparison, literal) }
}

async fn numbers(source: &Source, conditions: Vec<Condition>) -> Vec<i64> {
    let options = ReadOptions { conditions, projection: Some(vec!["n".to_owned()]), ..options(OnBadRow::Fail) };
    let counters = Arc::clone(&options.counters);
    let rows = read_projected(source, options).await;
    let [all, pruned] = [&counters.rows_read, &counters.rows_pruned].map(|count| count.load(Relaxed));
    assert_eq!((all, pruned), (1000, 1000 - rows.len() as u64), "rows that are passed over are counted");
    rows.iter().map(|row| row[0].parse().unwrap()).collect()
}

pub(super) async fn read_projected(source: &Source, options: ReadOptions) -> Vec<Vec<String>> {
    let fetcher = Fetcher::new(&StorageSettings::default()).unwrap();
    let files = fetcher.list(&source.uris).await.unwrap();
    let schema = schema(&fetcher, source, &files).await.unwrap();
    let read: Vec<RecordBatch> = batches(&fetcher, source, &files, &schema, options).try_collect().await.unwrap();
    read.iter().flat_map(rows_of).collect()
}

#[test]
fn groups_and_pages_without_a_wanted_row_are_not_read() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("a.parquet");
    thousand(&path);
    let source = source(&path, Format::Parquet, &[]);
    let is_null = |column: &str, test: Test| Condition { column: column.to_owned(), test };
    // Conditions, and the rows that are read: the first, and one past the last.
    type Rows = Vec<(i64, i64)>;
    let cases: Vec<(Vec<Condition>, Rows)> = vec![
        (vec![compare("n", Comparison::Equal, Literal::Long(625))], vec![(600, 650)]),
        (vec![compare("n", Comparison::Less, Literal::Long(50))], vec![(0, 50)]),
        (vec![compare("n", Comparison::LessOrEqual, Literal::Long(50))], vec![(0, 100)]),
        (vec![compare("n", Comparison::Greater, Literal::Long(949))], vec![(950, 1000)]),
        (vec![compare("n", Comparison::GreaterOrEqual, Literal::Long(949))], vec![(900, 1000)]),
        (vec![compare("n", Comparison::Equal, Literal::Long(5000))], vec![]),
        (vec![compare("s", Comparison::Equal, Literal::Text("t0333".into()))], vec![(300, 350)]),
        (vec![compare("day", Comparison::Less, Literal::Date(10))], vec![(0, 50)]),
        (
            vec![compare("d", Comparison::GreaterOrEqual, Literal::Decimal { unscaled: 99, scale: 1 })],
            vec![(950, 1000)],
        ),
        (vec![is_null("z", Test::IsNull)], vec![(750, 1000)]),
        (vec![is_null("z", Test::IsNotNull)], vec![(0, 750)]),
        (
            vec![
                compare("n", Comparison::GreaterOrEqual, Literal::Long(200)),
                compare("s", Comparison::Less, Literal::Text("t0260".into())),
            ],
            vec![(200, 300)],
        ),
        // What says nothing about the column prunes nothing.
        (vec![compare("n", Comparison::Equal, Literal::Text("x".into()))], vec![(0, 1000)]),
        (vec![compare("other", Comparison::Equal, Literal::Long(1))], vec![(0, 1000)]),
        (vec![compare("d", Comparison::Equal, Literal::Decimal { unscaled: 1, scale: 9 })], vec![(0, 1000)]),
    ];
    for (conditions, expected) in cases {
        let expected: Vec<i64> = expected.into_iter().flat_map(|(first, end)| first..end).collect();
        assert_eq!(on_runtime(numbers(&source, conditions.clone())), expected, "{conditions:?}");
    }
    let declared = super::source(&path, Format::Parquet, &[("n", "string")]);
    let none = vec![compare("n", Comparison::Equal, Literal::Text("x".into()))];
    assert_eq!(on_runtime(numbers(&declared, none)).len(), 1000);
}

#[test]
fn numbered_rows_are_all_read() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("a.parquet");
    thousand(&path);
    let mut source = source(&path, Format::Parquet, &[]);
    source.provenance_columns = vec![ProvenanceColumn::Row];
    let options = ReadOptions {
        conditions: vec![compare("n", Comparison::Equal, Literal::Long(999))],
        projection: Some(vec!["_row".into(), "n".into()]),
        ..options(OnBadRow::Fail)
    };
    let rows = on_runtime(read_projected(&source, options));
    assert_eq!((rows.len(), rows[999].clone()), (1000, vec!["1000".to_owned(), "999".to_owned()]));
}

#[test]
fn a_projection_fetches_its_columns_alone_and_changes_no_verdict() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("a.parquet");
    thousand(&path);
    let fetched = |projection: Option<Vec<String>>| {
        let options = ReadOptions { projection, ..options(OnBadRow::Fail) };
        let counters = Arc::clone(&options.counters);
        let rows = on_runtime(read_projected(&source(&path, Format::Parquet, &[]), options));
        (rows, counters.bytes_done.load(Relaxed))
    };
    let (all, all_bytes) = fetched(None);
    let (some, some_bytes) = fetched(Some(vec!["day".into(), "n".into()]));
    assert!(some.iter().zip(&all).all(|(some, all)| some[..] == [all[2].clone(), all[0].clone()]));
    assert!(some_bytes < all_bytes, "{some_bytes} of {all_bytes}");
    assert_eq!(fetched(Some(vec![])).0.len(), 1000);

    let text = dir.path().join("a.csv");
    std::fs::write(&text, "n,m\n1,2\nx,3\n4,5\n").unwrap();
    let options = ReadOptions { projection: Some(vec!["m".into()]), ..options(OnBadRow::Skip) };
    let rows = on_runtime(read_projected(&source(&text, csv(), &[("n", "long")]), options));
    assert_eq!(rows, [["2"], ["5"]]);
}

#[test]
fn a_damaged_column_is_named_with_its_row_group() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("a.parquet");
    thousand(&path);
    let mut bytes = std::fs::read(&path).unwrap();
    let at = bytes.windows(5).position(|window| window == b"t0613").unwrap();
    // Lengths of texts stand before them.
    bytes[at - 4..at].copy_from_slice(&[0xff; 4]);
    std::fs::write(&path, bytes).unwrap();
    let error = on_runtime(read(&source(&path, Format::Parquet, &[]), OnBadRow::Fail)).unwrap_err();
    assert!(error.to_string().contains("a.parquet is damaged: row group 2, column `s`: "), "{error}");
    assert_eq!(Fault::from(error).kind, FaultKind::BadFile);
}

#[test]
fn no_damaged_byte_makes_a_reader_panic() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("a.parquet");
    let texts = StringArray::from(vec![Some("a"), None, Some("a"), Some("bcd")]);
    let batch = RecordBatch::try_from_iter([("n", longs(0..4)), ("s", Arc::new(texts) as ArrayRef)]).unwrap();
    write_batch(&path, &batch, 2);
    let whole = std::fs::read(&path).unwrap();
    let source = source(&path, Format::Parquet, &[]);
    let mut bad = 0;
    for at in 0..whole.len() {
        for flip in [0x01, 0x80, 0xff] {
            let mut bytes = whole.clone();
            bytes[at] ^= flip;
            std::fs::write(&path, &bytes).unwrap();
            if let Err(error) = on_runtime(read(&source, OnBadRow::Fail)) {
                bad += 1;
                assert!(!matches!(error, Error::Internal(_)), "byte {at} ^ {flip}: {error}");
            }
        }
    }
    assert!(bad > whole.len(), "{bad} of {} damaged files were found out", 3 * whole.len());
}
