//! A record that is longer than it may be is one bad row, and what follows it is read.

use std::fs::{self, File};
use std::io::{self, Write};

use moulin_core::{CsvFormat, Fault, FaultKind, NdjsonFormat, ReadLimits, RejectedRow};

use super::rejects::{Seen, quarantined};
use super::*;
use crate::blocks::{Pool, Splitter, Supply};
use crate::csv::Cut;

fn ndjson() -> Format {
    Format::Ndjson(NdjsonFormat::default())
}

fn limits(record_bytes: u64) -> ReadLimits {
    ReadLimits { record_bytes, ..ReadLimits::default() }
}

/// Rows of which some are long, some of those over many lines; and the bad ones as they must be told.
fn with_long_rows(format: &Format, limit: usize) -> (String, Vec<Seen>) {
    let is_csv = matches!(format, Format::Csv(_));
    let mut text = if is_csv { "n,t\n".to_owned() } else { String::new() };
    let mut expected: Vec<Seen> = Vec::new();
    let code = if is_csv { "csv.record_bytes" } else { "json.record_bytes" };
    for n in 1..=6000_usize {
        let row = |t: &str| if is_csv { format!("{n},\"{t}\"") } else { format!("{{\"n\":{n},\"t\":\"{t}\"}}") };
        let bare = row("").len();
        let line = if is_csv { "x,\"\"\n\r\n" } else { "x,{\\\" " };
        let (row, code) = match n {
            // As long as it may be, and one longer.
            n if n % 1500 == 1 => (row(&"e".repeat(limit - bare)), None),
            n if n % 1500 == 2 => (row(&"e".repeat(limit - bare + 1)), Some(code)),
            n if n % 1500 == 3 => (row(&"e".repeat(limit - bare + 2)), Some(code)),
            n if n % 1500 == 4 => (row(&line.repeat((n + 1000) * 40)), Some(code)),
            n if n % 1500 == 5 => ("-".to_owned(), Some(if is_csv { "csv.field_count" } else { "json.syntax" })),
            _ => (row("plain"), None),
        };
        if let Some(code) = code {
            let line = 1 + text.matches('\n').count();
            let [record, line, offset, length] = [n, line, text.len(), row.len()].map(|n| n as i64);
            let raw = row.as_bytes()[..row.len().min(RejectedRow::RAW_BYTES)].to_vec();
            expected.push((record, line, offset, length, code.to_owned(), raw));
        }
        text.push_str(&row);
        text.push_str(if n % 2 == 0 { "\r\n" } else { "\n" });
    }
    (text, expected)
}

#[test]
fn long_records_are_rejected_with_their_place_however_a_file_is_cut() {
    const LIMIT: usize = 20_000;
    for format in [csv(), ndjson()] {
        let (text, expected) = with_long_rows(&format, LIMIT);
        let dir = tempfile::tempdir().unwrap();
        let (plain, packed) = (dir.path().join("a"), dir.path().join("a.gz"));
        fs::write(&plain, &text).unwrap();
        fs::write(&packed, super::files::gz(text.as_bytes())).unwrap();
        for (path, threads, batch_bytes) in [(&plain, 1, 1), (&plain, 3, 1), (&plain, 2, 4 << 20), (&packed, 2, 1)] {
            let mut source = source(path, format.clone(), &[("n", "long"), ("t", "string")]);
            source.limits = limits(LIMIT as u64);
            source.preserve_order = true;
            let options = ReadOptions { threads, batch_bytes, ..options(OnBadRow::Quarantine) };
            let (outcome, rejects) = on_runtime(quarantined(&source, options));
            let outcome = outcome.unwrap();
            assert!(rejects == expected, "{:?}", rejects.iter().zip(&expected).find(|(seen, other)| seen != other));
            assert_eq!((outcome.rows_read, outcome.rows.len()), (6000, 6000 - expected.len()));
            assert!(outcome.rows.iter().map(|row| row[0].parse::<u64>().unwrap()).is_sorted());
        }
    }
}

#[test]
fn the_reason_names_length_and_limit() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("a.csv");
    fs::write(&path, format!("a\n1\n{}\n2\n", "x".repeat(3 << 20))).unwrap();
    let source = Source { limits: limits(1000), ..source(&path, csv(), &[]) };
    let outcome = on_runtime(read(&source, OnBadRow::Skip)).unwrap();
    assert_eq!((outcome.rows, outcome.rows_read), (vec![vec!["1".to_owned()], vec!["2".to_owned()]], 3));
    assert_eq!(
        outcome.rejects[0].reason,
        "row has 3145728 bytes, and limits.record_bytes allows 1000; is a quote in it not closed?"
    );
}

#[test]
fn comments_and_blank_lines_may_be_as_long_as_they_like() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("a.csv");
    let (comment, blanks) = ("x".repeat(10_000), " \t".repeat(5_000));
    fs::write(&path, format!("#{comment}\na\n#\"{comment}\n1\n{blanks}\n\"\n")).unwrap();
    let format = CsvFormat { comment: Some("#".into()), trim: true, ..CsvFormat::default() };
    let csv = Source { limits: limits(1000), ..source(&path, Format::Csv(format), &[]) };
    let outcome = on_runtime(read(&csv, OnBadRow::Skip)).unwrap();
    assert_eq!((outcome.rows_read, outcome.codes()), (2, vec!["csv.unclosed_quote"]));
    assert_eq!((outcome.rejects[0].place.record, outcome.rejects[0].place.line), (2, 6));
    fs::write(&path, format!("{{\"a\":1}}\n{blanks}\r\n-\n")).unwrap();
    let json = Source { limits: limits(1000), ..source(&path, ndjson(), &[]) };
    let outcome = on_runtime(read(&json, OnBadRow::Skip)).unwrap();
    assert_eq!((outcome.rows_read, outcome.rejects[0].place.line), (2, 3));
}

#[test]
fn a_long_header_damages_its_file_and_long_records_may_be_left_out() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("a.csv");
    let long = "x".repeat(5_000);
    let read_text = |text: String, skip_rows: u64| {
        fs::write(&path, text).unwrap();
        let format = CsvFormat { skip_rows, ..CsvFormat::default() };
        let source = Source { limits: limits(1000), ..source(&path, Format::Csv(format), &[]) };
        on_runtime(read(&source, OnBadRow::Skip))
    };
    let error = read_text(format!("{long}\n1\n"), 0).unwrap_err();
    let text = error.to_string();
    assert!(
        text.ends_with("its header has 5000 bytes, and limits.record_bytes allows 1000 (csv.record_bytes)"),
        "{text}"
    );
    assert_eq!(Fault::from(error).kind, FaultKind::BadFile);
    let outcome = read_text(format!("a\n{long}\n{long}\n1\n2,\n"), 1).unwrap();
    assert_eq!((outcome.rows, outcome.rows_read), (vec![vec!["1".to_owned()]], 3));
    assert_eq!(outcome.rejects.iter().map(|reject| reject.place.record).collect::<Vec<_>>(), [2, 4]);
}

#[test]
fn a_record_without_an_end_is_given_up_in_bounded_time() {
    let dir = tempfile::tempdir().unwrap();
    let limit = 4 << 20;
    for (name, format, start) in
        [("a.csv", csv(), "a\n"), ("b.csv", csv(), "a\n1\n\"x\n"), ("a.ndjson", ndjson(), "{\"a\":\"1\"}\n")]
    {
        let path = dir.path().join(name);
        // Nothing is stored: the file is all zeros, none of them a line end.
        let mut file = File::create(&path).unwrap();
        file.write_all(start.as_bytes()).unwrap();
        file.set_len(10 << 30).unwrap();
        for threads in [1, 3] {
            let counters = Arc::new(Counters::default());
            let options = ReadOptions { threads, counters: Arc::clone(&counters), ..options(OnBadRow::Skip) };
            let source = Source { limits: limits(limit), ..source(&path, format.clone(), &[("a", "string")]) };
            let error = on_runtime(read_with(&source, options)).unwrap_err();
            let text = error.to_string();
            assert!(text.contains("has not ended after 67108864 bytes"), "{text}");
            assert!(text.contains(".record_bytes)"), "{text}");
            assert_eq!(Fault::from(error).kind, FaultKind::BadFile);
            assert!(counters.snapshot().bytes_done <= 40 * limit, "{}", counters.snapshot().bytes_done);
        }
    }
}

/// A stream that never ends, and how much of it was read.
struct Endless<'a>(&'a mut u64);

impl io::Read for Endless<'_> {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        into.fill(b'"');
        *self.0 += into.len() as u64;
        Ok(into.len())
    }
}

impl Supply for Endless<'_> {}

#[test]
fn a_stream_of_one_line_without_end_is_given_up() {
    let mut read = 0;
    let mut splitter = Splitter::new(Endless(&mut read), 1 << 16, Pool::default()).with_limits(&limits(1 << 20));
    let error = splitter.next(&Cut::lines()).unwrap_err().to_string();
    drop(splitter);
    assert_eq!(error, "the record at byte 0 has not ended after 67108864 bytes (json.record_bytes)");
    assert!(read <= 66 << 20, "{read}");
}
