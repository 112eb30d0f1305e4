//! Columns that the reader adds: where rows come from, and what the folders say.

use std::fs;

use arrow::array::{ArrayRef, Int64Array};
use moulin_core::{NdjsonFormat, ProvenanceColumn};

use super::*;

const ALL: [ProvenanceColumn; 3] = [ProvenanceColumn::File, ProvenanceColumn::Row, ProvenanceColumn::Offset];

fn ndjson() -> Format {
    Format::Ndjson(NdjsonFormat::default())
}

/// Writes a file into a folder of its own.
fn write(root: &Path, name: &str, text: &str) {
    let path = root.join(name);
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    fs::write(path, text).unwrap();
}

fn partitioned(root: &Path, format: Format, declared: &[(&str, &str)]) -> Source {
    Source { partition_columns: true, ..source(&root.join("**/*"), format, declared) }
}

#[test]
fn every_row_says_where_it_stands_bad_ones_counted() {
    let dir = tempfile::tempdir().unwrap();
    let rows: Vec<String> = (0..90_000)
        .map(|n| if n % 7 == 3 { format!("bad{n},\"x\n\"") } else { format!("{n},\"two\nlines\"") })
        .collect();
    let json: Vec<String> = (0..90_000)
        .map(|n| if n % 7 == 3 { format!("{{\"n\":\"bad{n}\"}}") } else { format!("{{\"t\":[{n}],\"n\":{n}}}") })
        .collect();
    for (name, head, rows, format, at) in [("a.csv", "n,t\n", rows, csv(), 2), ("a.ndjson", "", json, ndjson(), 1)] {
        let text = format!("{head}{}\n", rows.join("\n"));
        let path = dir.path().join(name);
        fs::write(&path, &text).unwrap();
        let source = Source { provenance_columns: ALL.to_vec(), ..source(&path, format, &[("n", "long")]) };
        for threads in [1, 3] {
            let options = ReadOptions { threads, batch_bytes: 1, ..options(OnBadRow::Skip) };
            let outcome = on_runtime(read_with(&source, options)).unwrap();
            assert_eq!(outcome.rows.len(), 90_000 - 90_000_usize.div_ceil(7) + usize::from(90_000 % 7 <= 3));
            let last = outcome.rows[0].len();
            for row in &outcome.rows {
                let [file, number, offset] = [last - 3, last - 2, last - 1].map(|column| row[column].as_str());
                let (number, offset): (usize, usize) = (number.parse().unwrap(), offset.parse().unwrap());
                assert_eq!(*file, format!("file://{}", path.display()));
                assert_eq!(row[usize::from(at != 2)], (number - 1).to_string());
                assert!(text[offset..].starts_with(&rows[number - 1]), "{row:?}");
            }
        }
    }
}

#[test]
fn added_columns_stand_last_and_say_so() {
    let dir = tempfile::tempdir().unwrap();
    write(dir.path(), "day=2024-01-02/hour=7/shop=a%20b/1.csv", "n\n5\n");
    write(dir.path(), "day=2024-01-03/hour=10/shop=__HIVE_DEFAULT_PARTITION__/2.csv", "n\nx\n6\n");
    let source = Source {
        provenance_columns: vec![ProvenanceColumn::Offset, ProvenanceColumn::Row],
        ..partitioned(dir.path(), csv(), &[("n", "int")])
    };
    assert_eq!(
        on_runtime(described(&source)).unwrap(),
        "n int declared, day date partition, hour long partition, shop string partition, _offset long provenance, \
         _row long provenance"
    );
    let outcome = on_runtime(read(&source, OnBadRow::Skip)).unwrap();
    assert_eq!(outcome.rows, [["5", "2024-01-02", "7", "a b", "2", "1"], ["6", "2024-01-03", "10", "NULL", "4", "2"]]);
    let declared = Source { columns: columns(&[("hour", "string"), ("n", "int")]), ..source };
    let found = on_runtime(described(&declared)).unwrap();
    assert!(found.contains("n int declared") && found.contains("hour string partition"), "{found}");
}

#[test]
fn folders_are_read_as_is_said_of_their_column() {
    let dir = tempfile::tempdir().unwrap();
    write(dir.path(), "ts=2024-07-01T00%3A00%3A00/day=20240131/ok=ja/shop=none/1.csv", "n\n5\n");
    let declared = [("ts", "timestamptz"), ("day", "date"), ("ok", "boolean"), ("shop", "string"), ("n", "int")];
    let mut source = partitioned(dir.path(), csv(), &declared);
    let words = |word: &str| vec![word.to_owned()];
    source.columns[0].text.timezone = Some("Europe/Berlin".to_owned());
    source.columns[1].text.format = Some("%Y%m%d".to_owned());
    source.columns[2].text.true_values = words("ja");
    source.columns[3].text.null_values = words("none");
    let rows = on_runtime(read(&source, OnBadRow::Fail)).unwrap().rows;
    assert_eq!(rows, [["5", "2024-06-30T22:00:00Z", "2024-01-31", "true", "NULL"]]);
    source.columns[1].text.format = Some("%d.%m.%Y".to_owned());
    let error = on_runtime(described(&source)).unwrap_err().to_string();
    assert!(error.ends_with("1.csv is no date, written as `%d.%m.%Y`"), "{error}");
    source.columns[1].text.format = Some("%H".to_owned());
    let error = on_runtime(described(&source)).unwrap_err().to_string();
    assert_eq!(error, "column day of type date: format `%H` has no year, month and day, which a date has");
}

#[test]
fn folders_that_do_not_fit_are_named() {
    let dir = tempfile::tempdir().unwrap();
    write(dir.path(), "k=1/1.csv", "n\n5\n");
    let described_with = |declared: &[(&str, &str)]| {
        on_runtime(described(&partitioned(dir.path(), csv(), declared))).unwrap_err().to_string()
    };
    assert!(described_with(&[("k", "date")]).starts_with("the folder `k=1` of file://"));
    write(dir.path(), "k=2/k2=1/1.csv", "n\n5\n");
    assert!(
        described_with(&[])
            .ends_with("have different folders key=value: the partition columns of all files are the same")
    );
    fs::remove_dir_all(dir.path().join("k=2")).unwrap();
    write(dir.path(), "k=1/1.csv", "n,k\n5,6\n");
    assert_eq!(
        described_with(&[]),
        "column `k` is in the files, and a folder of their paths gives one of the same name"
    );
}

#[test]
fn a_parquet_file_has_row_numbers_and_no_offsets() {
    let dir = tempfile::tempdir().unwrap();
    for n in 1..3_i64 {
        let path = dir.path().join(format!("k={n}"));
        fs::create_dir(&path).unwrap();
        let values: ArrayRef = Arc::new(Int64Array::from(vec![n * 10, n * 10 + 1, n * 10 + 2]));
        super::parquet::write(&path.join("a.parquet"), vec![("n", values)], 2);
    }
    let source = Source {
        provenance_columns: vec![ProvenanceColumn::Row, ProvenanceColumn::Offset],
        ..partitioned(dir.path(), Format::Parquet, &[])
    };
    let outcome = on_runtime(read(&source, OnBadRow::Fail)).unwrap();
    let expected: Vec<[String; 4]> = [(1, 0), (1, 1), (1, 2), (2, 0), (2, 1), (2, 2)]
        .map(|(n, row)| [n * 10 + row, n, row + 1].map(|value: i64| value.to_string()))
        .map(|[n, k, row]| [n, k, row, "NULL".to_owned()])
        .into();
    assert_eq!(outcome.rows, expected);
}
