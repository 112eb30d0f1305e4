//! What becomes of rows that do not fit.

use std::fs;

use arrow::array::{AsArray, BinaryArray, Int64Array};
use arrow::datatypes::Int64Type;
use moulin_core::{Fault, FaultKind, LineEnding, NdjsonFormat, Ratio, RejectedRow};
use tokio::sync::mpsc;

use super::*;

/// One reject as a test sees it: record, line, offset, length, code, bytes.
pub(super) type Seen = (i64, i64, i64, i64, String, Vec<u8>);

fn seen(batches: &[RecordBatch]) -> Vec<Seen> {
    let rows = |batch: &RecordBatch| {
        let number = |name: &str| batch[name].as_primitive::<Int64Type>().clone();
        let place: [Int64Array; 4] = ["record", "line", "byte_offset", "length_bytes"].map(number);
        let raw: BinaryArray = batch["raw"].as_binary().clone();
        let codes = batch["code"].as_string::<i32>().clone();
        let row = |at: usize| {
            let [record, line, offset, length] = [0, 1, 2, 3].map(|n: usize| place[n].value(at));
            (record, line, offset, length, codes.value(at).to_owned(), raw.value(at).to_vec())
        };
        (0..batch.num_rows()).map(row).collect::<Vec<_>>()
    };
    batches.iter().flat_map(rows).collect()
}

/// Reads a source with a receiver that takes all rejects.
pub(super) async fn quarantined(source: &Source, options: ReadOptions) -> (Result<Outcome, Error>, Vec<Seen>) {
    let (sender, mut receiver) = mpsc::channel(1);
    let taking = tokio::spawn(async move {
        let mut batches = Vec::new();
        while let Some(batch) = receiver.recv().await {
            batches.push(batch);
        }
        batches
    });
    let options = ReadOptions { on_bad_row: OnBadRow::Quarantine, rejects: Some(sender), ..options };
    let outcome = read_with(source, options).await;
    (outcome, seen(&taking.await.unwrap()))
}

/// Rows of which every third is bad, some with CRLF, some over two lines; and the bytes of the bad ones.
fn mixed(rows: usize) -> (String, Vec<Seen>) {
    let (mut text, mut expected, mut line) = ("n,t\n".to_owned(), Vec::new(), 2);
    for n in 0..rows {
        let end = if n % 2 == 0 { "\n" } else { "\r\n" };
        let row = match n % 9 {
            0 => format!("bad{n},x"),
            3 => format!("{n}"),
            6 => format!("-,\"two\nlines {n}\""),
            _ => format!("{n},\"a\nb\""),
        };
        if n % 3 == 0 {
            let code = if n % 9 == 3 { "csv.field_count" } else { "type.long" };
            let (length, offset) = (row.len() as i64, text.len() as i64);
            expected.push((n as i64 + 1, line, offset, length, code.to_owned(), row.clone().into_bytes()));
        }
        line += 1 + row.matches('\n').count() as i64;
        text.push_str(&row);
        text.push_str(end);
    }
    (text, expected)
}

#[test]
fn every_bad_row_of_every_block_is_sent_in_order_with_its_bytes() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("a.csv");
    let (text, expected) = mixed(90_000);
    fs::write(&path, &text).unwrap();
    for threads in [1, 3] {
        let options = ReadOptions { threads, batch_bytes: 1, ..options(OnBadRow::Quarantine) };
        let (outcome, rejects) = on_runtime(quarantined(&source(&path, csv(), &[("n", "long")]), options));
        let outcome = outcome.unwrap();
        assert_eq!((outcome.rows.len(), outcome.rows_read, outcome.rejects.len()), (60_000, 90_000, 10));
        assert!(rejects == expected, "{:?}", rejects.iter().zip(&expected).find(|(seen, expected)| seen != expected));
    }
}

#[test]
fn bytes_of_json_lines_are_exact() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("a.ndjson");
    fs::write(&path, b"{\"n\":1}\n\n {\"n\":\"x\"} \r\n{\"n\":2}\n{\"n\":\xff}\n").unwrap();
    let format = Format::Ndjson(NdjsonFormat::default());
    let (outcome, rejects) =
        on_runtime(quarantined(&source(&path, format, &[("n", "long")]), options(OnBadRow::Quarantine)));
    assert_eq!(outcome.unwrap().rows, [["1"], ["2"]]);
    assert_eq!(
        rejects,
        [
            (2, 3, 9, 11, "type.long".to_owned(), b" {\"n\":\"x\"} ".to_vec()),
            (4, 5, 30, 7, "utf8".to_owned(), b"{\"n\":\xff}".to_vec())
        ]
    );
}

#[test]
fn of_a_long_row_the_first_bytes_are_kept() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("a.csv");
    let long = "y".repeat(RejectedRow::RAW_BYTES + 7);
    fs::write(&path, format!("n\n1\n{long}\n")).unwrap();
    let source = source(&path, csv(), &[("n", "long")]);
    let (outcome, rejects) = on_runtime(quarantined(&source, options(OnBadRow::Quarantine)));
    outcome.unwrap();
    assert_eq!((rejects[0].3, rejects[0].5.len()), (long.len() as i64, RejectedRow::RAW_BYTES));
}

#[test]
fn one_bad_row_too_many_is_an_error_that_blocks_do_not_change() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("a.csv");
    let (text, expected) = mixed(90_000);
    fs::write(&path, &text).unwrap();
    let source = source(&path, csv(), &[("n", "long")]);
    for (threads, batch_bytes) in [(1, 1), (3, 4 << 20)] {
        let options = ReadOptions { max_bad_rows: Some(20_000), threads, batch_bytes, ..options(OnBadRow::Skip) };
        let (outcome, rejects) = on_runtime(quarantined(&source, options));
        let error = outcome.unwrap_err();
        assert_eq!(error.to_string(), "20001 of 60001 rows do not fit, more than max_bad_rows = 20000");
        assert_eq!(Fault::from(error).kind, FaultKind::BadRow);
        assert!(rejects == expected[..20_001], "{}", rejects.len());
    }
    let options = ReadOptions { max_bad_rows: Some(30_000), ..options(OnBadRow::Skip) };
    assert_eq!(on_runtime(read_with(&source, options)).unwrap().rows_read, 90_000);
}

#[test]
fn a_share_of_bad_rows_is_judged_over_all_files() {
    let dir = tempfile::tempdir().unwrap();
    fs::write(dir.path().join("a.csv"), "n\nx\ny\n").unwrap();
    fs::write(dir.path().join("b.csv"), "n\n1\n2\n3\n4\n5\n6\n").unwrap();
    let source = source(&dir.path().join("*.csv"), csv(), &[("n", "long")]);
    let read = |ratio: f64| {
        let options = ReadOptions { max_bad_ratio: Some(Ratio::new(ratio).unwrap()), ..options(OnBadRow::Skip) };
        on_runtime(read_with(&source, options)).map(|outcome| outcome.rows.len())
    };
    assert_eq!(read(0.25).unwrap(), 6);
    let error = read(0.2).unwrap_err().to_string();
    assert_eq!(error, "2 of 8 rows do not fit, more than max_bad_ratio = 0.2 (their share is 0.2500)");
}

#[test]
fn rejects_that_nobody_takes_stop_the_reading_and_a_receiver_that_is_gone_does_not() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("a.csv");
    fs::write(&path, format!("n\n{}", "x\n".repeat(400_000))).unwrap();
    let source = source(&path, csv(), &[("n", "long")]);
    let counters = Arc::new(Counters::default());
    let (sender, mut receiver) = mpsc::channel(1);
    let options = ReadOptions {
        rejects: Some(sender),
        counters: Arc::clone(&counters),
        batch_bytes: 1,
        ..options(OnBadRow::Quarantine)
    };
    on_runtime(async {
        let reading = read_with(&source, options);
        tokio::pin!(reading);
        // Polled until it can do no more than wait for a receiver: it never ends by itself.
        let waits = async {
            while receiver.is_empty() {
                tokio::task::yield_now().await;
            }
            for _ in 0..1000 {
                tokio::task::yield_now().await;
            }
        };
        tokio::select! {
            biased;
            outcome = &mut reading => panic!("{outcome:?}"),
            () = waits => {}
        }
        assert!(counters.rows_read.load(Relaxed) < 400_000);
        receiver.close();
        while receiver.recv().await.is_some() {}
        assert_eq!(reading.await.unwrap().rows_read, 400_000);
    });
}

#[test]
fn a_rejects_bytes_are_its_record_whatever_ends_lines() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("a.csv");
    fs::write(&path, "n\r\nx\r\ny\n-\r\nz\r").unwrap();
    let bytes = |line_ending| {
        let format = Format::Csv(CsvFormat { header: false, line_ending, ..CsvFormat::default() });
        let source = source(&path, format, &[("column_1", "long")]);
        let (_, rejects) = on_runtime(quarantined(&source, options(OnBadRow::Quarantine)));
        let raw = rejects.into_iter().map(|seen| (seen.3, String::from_utf8(seen.5).unwrap()));
        raw.map(|(length, raw)| (length as usize == raw.len()).then_some(raw).unwrap()).collect::<Vec<_>>()
    };
    assert_eq!(bytes(LineEnding::Auto), ["n", "x", "y", "-", "z"]);
    assert_eq!(bytes(LineEnding::Any), ["n", "x", "y", "-", "z"]);
    assert_eq!(bytes(LineEnding::Lf), ["n\r", "x\r", "y", "-\r", "z\r"]);
    assert_eq!(bytes(LineEnding::Crlf), ["n", "x", "y\n-", "z\r"]);
    assert_eq!(bytes(LineEnding::Cr), ["n", "\nx", "\ny\n-", "\nz"]);
}
