//! Files as a job reads them: inference, several files, compression, counters, failing and skipping.

use std::fs;
use std::io::Write;
use std::sync::atomic::Ordering::Relaxed;

use flate2::write::GzEncoder;
use moulin_core::{Fault, FaultKind};

use super::*;

pub(super) fn gz(text: &[u8]) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::new(), flate2::Compression::fast());
    encoder.write_all(text).unwrap();
    encoder.finish().unwrap()
}

/// Many rows whose text does not compress to nothing.
fn many_rows(count: usize) -> String {
    let row = |n: usize| format!("{n},{},\"t{}\"\n", n * 7919 % 100_003, n % 10);
    format!("n,m,t\n{}", (0..count).map(row).collect::<String>())
}

fn sum(outcome: &Outcome, column: usize) -> u64 {
    outcome.rows.iter().map(|row| row[column].parse::<u64>().unwrap()).sum()
}

#[test]
fn columns_are_inferred_and_declared_ones_win() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("a.csv");
    fs::write(&path, "id,delay,flight,hour,when,late,none,\n007,NA,1,2.5,2013-01-01T10:00:00Z,true,NA,x\n8,2,3,4,2013-01-01T11:00:00Z,false,,\n").unwrap();
    let format = Format::Csv(CsvFormat { null_values: vec!["NA".into()], ..CsvFormat::default() });
    let found = on_runtime(described(&source(&path, format, &[("flight", "string")]))).unwrap();
    assert_eq!(
        found,
        "id string inferred, delay long inferred, flight string declared, hour double inferred, when timestamptz inferred, \
         late boolean inferred, none string inferred, column_8 string inferred"
    );
}

#[test]
fn a_file_without_header_has_the_declared_names_or_numbers() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("a.csv");
    fs::write(&path, "1,x\n2,y\n").unwrap();
    let format = || Format::Csv(CsvFormat { header: false, ..CsvFormat::default() });
    let described = |declared: &[(&str, &str)]| on_runtime(described(&source(&path, format(), declared)));
    assert_eq!(described(&[]).unwrap(), "column_1 long inferred, column_2 string inferred");
    assert_eq!(described(&[("n", "int"), ("s", "string")]).unwrap(), "n int declared, s string declared");
    let error = described(&[("n", "int")]).unwrap_err().to_string();
    assert!(error.starts_with("source.columns declares 1 columns, and the first row of file://"), "{error}");
}

#[test]
fn a_declared_column_that_is_not_there_is_named_with_the_header() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("a.csv");
    fs::write(&path, "id,x\n1,2\n").unwrap();
    let error = on_runtime(described(&source(&path, csv(), &[("idd", "long")]))).unwrap_err();
    assert!(error.to_string().ends_with("a.csv has no column `idd`; its header is: id, x"), "{error}");
    assert_eq!(Fault::from(error).kind, FaultKind::InvalidSpec);
}

#[test]
fn an_empty_file_needs_declared_columns() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("a.csv");
    fs::write(&path, "").unwrap();
    let error = on_runtime(described(&source(&path, csv(), &[]))).unwrap_err();
    assert!(error.to_string().contains("declare source.columns"), "{error}");
    let outcome = on_runtime(read(&source(&path, csv(), &[("a", "long")]), OnBadRow::Fail)).unwrap();
    assert_eq!(outcome, Outcome::default());
}

#[test]
fn the_first_bad_row_in_the_order_of_the_files_fails_the_job() {
    let dir = tempfile::tempdir().unwrap();
    let mut text = many_rows(200_000);
    text = text.replacen("\n150000,", "\n15000O,", 1).replacen("\n150001,", "\nbad,", 1);
    fs::write(dir.path().join("a.csv"), text).unwrap();
    fs::write(dir.path().join("b.csv"), "n,m,t\nworse,1,x\n").unwrap();
    let all = source(&dir.path().join("*.csv"), csv(), &[]);
    for threads in [1, 4] {
        let options = ReadOptions { threads, ..options(OnBadRow::Fail) };
        let error = on_runtime(read_with(&all, options)).unwrap_err();
        let Error::BadRow(reject) = &error else { panic!("{error}") };
        assert_eq!((reject.place.record, reject.place.line, reject.code.as_str()), (150_001, 150_002, "type.long"));
        assert_eq!(
            reject.reason,
            "field n has value `15000O`, expected long; the type was inferred from a sample of the first file: declare the column's type"
        );
        assert_eq!(Fault::from(error).kind, FaultKind::BadRow);
    }
}

#[test]
fn skipped_rows_are_counted_and_the_first_ten_are_kept_in_order() {
    let dir = tempfile::tempdir().unwrap();
    let text: String =
        (0..60_000).map(|n| if n % 5000 == 4999 { format!("{n},x\n") } else { format!("{n},{n}\n") }).collect();
    fs::write(dir.path().join("a.csv"), format!("n,m\n{text}")).unwrap();
    fs::write(dir.path().join("b.csv"), "m,n\nx,1\n2,7\n").unwrap();
    let counters = Arc::new(Counters::default());
    let options = ReadOptions { counters: Arc::clone(&counters), threads: 3, ..options(OnBadRow::Skip) };
    let outcome = on_runtime(read_with(&source(&dir.path().join("*.csv"), csv(), &[("m", "long")]), options)).unwrap();
    assert_eq!((outcome.rows.len(), outcome.rows_read, counters.rows_rejected.load(Relaxed)), (59_989, 60_002, 13));
    assert_eq!(outcome.rows.last().unwrap(), &["7", "2"]);
    let records: Vec<u64> = outcome.rejects.iter().map(|reject| reject.place.record).collect();
    assert_eq!(records, (1..=10).map(|n| n * 5000).collect::<Vec<u64>>());
    let progress = counters.snapshot();
    assert_eq!((progress.files_total, progress.files_done), (2, 2));
    assert_eq!(progress.bytes_done, progress.bytes_total);
}

#[test]
fn a_later_file_must_have_the_same_columns() {
    let dir = tempfile::tempdir().unwrap();
    fs::write(dir.path().join("a.csv"), "n,m\n1,2\n").unwrap();
    let all = source(&dir.path().join("*.csv"), csv(), &[]);
    for (header, expected) in [
        ("n", "b.csv has no column `m`; its header is: n"),
        ("n,m,k", "b.csv has a column `k` that the first file does not have"),
    ] {
        fs::write(dir.path().join("b.csv"), format!("{header}\n")).unwrap();
        let error = on_runtime(read(&all, OnBadRow::Skip)).unwrap_err().to_string();
        assert!(error.contains(expected), "{error}");
    }
}

#[test]
fn archives_are_inflated_whole() {
    let dir = tempfile::tempdir().unwrap();
    let text = many_rows(100_000);
    let half = text.len() / 2;
    let members = [gz(&text.as_bytes()[..half]), gz(&text.as_bytes()[half..])].concat();
    let frames = [
        zstd::encode_all(&text.as_bytes()[..half], 1).unwrap(),
        zstd::encode_all(&text.as_bytes()[half..], 1).unwrap(),
    ]
    .concat();
    fs::write(dir.path().join("plain.csv"), &text).unwrap();
    let plain = on_runtime(read(&source(&dir.path().join("plain.csv"), csv(), &[]), OnBadRow::Fail)).unwrap();
    assert_eq!((plain.rows_read, sum(&plain, 0)), (100_000, 4_999_950_000));
    for (name, bytes) in [("a.csv.gz", members), ("a.csv.zst", frames)] {
        fs::write(dir.path().join(name), bytes).unwrap();
        assert_eq!(
            on_runtime(read(&source(&dir.path().join(name), csv(), &[]), OnBadRow::Fail)).unwrap(),
            plain,
            "{name}"
        );
    }
}

#[test]
fn a_damaged_archive_is_a_bad_file_by_name() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("a.csv.gz");
    let whole = gz(many_rows(200_000).as_bytes());
    fs::write(&path, &whole[..whole.len() / 2]).unwrap();
    let error = on_runtime(read(&source(&path, csv(), &[]), OnBadRow::Skip)).unwrap_err();
    assert!(error.to_string().ends_with("a.csv.gz is damaged: the gzip stream ends in its middle"), "{error}");
    assert_eq!(Fault::from(error).kind, FaultKind::BadFile);
    fs::write(&path, "n,m\n1,2\n3,4\n5,6\n").unwrap();
    let error = on_runtime(read(&source(&path, csv(), &[]), OnBadRow::Skip)).unwrap_err().to_string();
    assert!(error.contains("it is no gzip stream"), "{error}");
}

#[test]
fn a_quote_that_is_not_closed_takes_the_rest_of_the_file_as_one_bad_row() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("a.csv");
    let rest = "row,row\n".repeat(((64 << 20) + (2 << 20)) / 8);
    fs::write(&path, format!("n,m\n1,2\n\"open,1\n{rest}")).unwrap();
    let outcome = on_runtime(read(&source(&path, csv(), &[("n", "string"), ("m", "string")]), OnBadRow::Skip)).unwrap();
    assert_eq!((outcome.rows.len(), outcome.rows_read, outcome.codes()), (1, 2, vec!["csv.record_bytes"]));
    assert!(outcome.rejects[0].reason.ends_with("allows 67108864; is a quote in it not closed?"));
}

#[test]
fn a_reader_that_goes_away_stops_the_reading() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("a.csv");
    fs::write(&path, many_rows(2_000_000)).unwrap();
    let source = source(&path, csv(), &[]);
    let counters = Arc::new(Counters::default());
    on_runtime(async {
        let fetcher = Fetcher::new(&StorageSettings::default()).unwrap();
        let files = fetcher.list(&source.uris).await.unwrap();
        let schema = schema(&fetcher, &source, &files).await.unwrap();
        let options = ReadOptions { counters: Arc::clone(&counters), ..options(OnBadRow::Fail) };
        let mut stream = batches(&fetcher, &source, &files, &schema, options);
        assert!(stream.next().await.unwrap().unwrap().num_rows() > 8192);
    });
    // The runtime is gone, and with it all threads it waited for; most of the file was never read.
    let progress = counters.snapshot();
    assert!(progress.bytes_done < progress.bytes_total / 2, "{progress:?}");
}

#[test]
fn small_files_make_few_batches() {
    let dir = tempfile::tempdir().unwrap();
    for n in 0..50 {
        fs::write(dir.path().join(format!("{n:02}.csv")), format!("a\n{n}\n")).unwrap();
    }
    let source = source(&dir.path().join("*.csv"), csv(), &[]);
    on_runtime(async {
        let fetcher = Fetcher::new(&StorageSettings::default()).unwrap();
        let files = fetcher.list(&source.uris).await.unwrap();
        let schema = schema(&fetcher, &source, &files).await.unwrap();
        let read: Vec<RecordBatch> =
            batches(&fetcher, &source, &files, &schema, options(OnBadRow::Fail)).try_collect().await.unwrap();
        assert_eq!(read.iter().map(RecordBatch::num_rows).collect::<Vec<_>>(), [50]);
    });
}
