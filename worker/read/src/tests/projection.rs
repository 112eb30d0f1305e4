//! What nobody asks for is checked and not built; rows that nobody wants are counted.

use std::fs;

use arrow::array::{ArrayRef, Int64Array};
use moulin_core::{NdjsonFormat, ProvenanceColumn};

use super::*;
use crate::{Comparison, Condition, Literal, Test};

const CSV: &str = "a,b,c,d\n1,x,2024-01-02,1.5\n2,\"y\n,\"\"\",bad,2.5\nx,z,2024-01-03,1\n,,,\n5,\"é\",2024-01-04\n6,w,2024-01-05,9\n";
const JSON: &str = "{\"a\":1,\"b\":\"x\",\"c\":\"2024-01-02\",\"d\":1.5}\n{\"a\":2,\"c\":\"bad\"}\n{\"d\":1,\"a\":[]}\n{}\n{\"a\":1,\"a\":7,\"b\":null}\n{\"a\":1\n{\"b\":\"w\"}\n";

/// Columns by their names, with the rejects; a column that was not asked for is none.
async fn projected(source: &Source, names: &[&str]) -> (Vec<Vec<String>>, Vec<Reject>, u64) {
    let options = ReadOptions {
        projection: Some(names.iter().map(|name| (*name).to_owned()).collect()),
        ..options(OnBadRow::Skip)
    };
    let fetcher = Fetcher::new(&StorageSettings::default()).unwrap();
    let files = fetcher.list(&source.uris).await.unwrap();
    let schema = schema(&fetcher, source, &files).await.unwrap();
    let counters = Arc::clone(&options.counters);
    let read: Vec<RecordBatch> = batches(&fetcher, source, &files, &schema, options).try_collect().await.unwrap();
    let found =
        read.iter().flat_map(|batch| batch.schema().fields().iter().map(|f| f.name().clone()).collect::<Vec<_>>());
    assert!(found.zip(names.iter().cycle()).all(|(found, name)| found == *name));
    (read.iter().flat_map(rows_of).collect(), counters.rejects(), counters.rows_read.load(Relaxed))
}

#[test]
fn the_verdict_on_a_row_does_not_depend_on_the_columns_asked_for() {
    let dir = tempfile::tempdir().unwrap();
    let names = ["a", "b", "c", "d", "_row", "_offset"];
    let declared = [("a", "long"), ("b", "string"), ("c", "date"), ("d", "decimal(9,2)")];
    for (name, format, text) in [("a.csv", csv(), CSV), ("a.ndjson", Format::Ndjson(NdjsonFormat::default()), JSON)] {
        let path = dir.path().join(name);
        fs::write(&path, text).unwrap();
        let source = Source {
            provenance_columns: vec![ProvenanceColumn::Row, ProvenanceColumn::Offset],
            ..source(&path, format, &declared)
        };
        on_runtime(async {
            let all = projected(&source, &names).await;
            assert!(all.0.len() >= 3 && all.1.len() >= 3, "{all:?}");
            for asked in 0..1_u32 << names.len() {
                let places: Vec<usize> = (0..names.len()).filter(|place| asked >> place & 1 == 1).collect();
                let asked: Vec<&str> = places.iter().map(|place| names[*place]).collect();
                let (rows, rejects, count) = projected(&source, &asked).await;
                let expected: Vec<Vec<String>> =
                    all.0.iter().map(|row| places.iter().map(|place| row[*place].clone()).collect()).collect();
                assert_eq!((rows, rejects, count), (expected, all.1.clone(), all.2), "{name}: {asked:?}");
            }
        });
    }
}

#[test]
fn rows_that_are_passed_over_are_counted_as_read() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("a.parquet");
    let numbers: ArrayRef = Arc::new(Int64Array::from_iter_values(0..25));
    super::parquet::write(&path, vec![("n", numbers)], 10);
    let source = source(&path, Format::Parquet, &[]);
    let condition = |test| Condition { column: "n".to_owned(), test };
    let table = [
        (Test::Compare(Comparison::Greater, Literal::Long(19)), 5),
        (Test::OneOf(vec![Literal::Long(3), Literal::Long(24)]), 15),
        (Test::OneOf(vec![Literal::Long(100)]), 0),
        (Test::OneOf(vec![Literal::Long(100), Literal::Text("x".to_owned())]), 25),
        (Test::IsNull, 0),
    ];
    for (test, expected) in table {
        let options = ReadOptions { conditions: vec![condition(test.clone())], ..options(OnBadRow::Fail) };
        let counters = Arc::clone(&options.counters);
        let outcome = on_runtime(read_with(&source, options)).unwrap();
        assert_eq!((outcome.rows.len(), outcome.rows_read), (expected, 25), "{test:?}");
        assert_eq!(counters.rows_pruned.load(Relaxed) as usize, 25 - expected, "{test:?}");
    }
}
