//! A record that is longer than it may be is one bad row, and what follows it is read.

use std::fs::{self, File};
use std::io::{self, Write};

use moulin_core::{CsvFormat, Fault, FaultKind, JsonFormat, LineEnding, NdjsonFormat, ReadLimits, RejectedRow};

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

/// Elements of which some are long, between all kinds of white space; and the bad ones as they must be told.
fn with_long_elements(limit: usize) -> (String, Vec<Seen>) {
    let (mut text, mut expected) = ("{\"x\":1,\n\"items\":[".to_owned(), Vec::new());
    for n in 1..=400_usize {
        let row = |t: &str| format!("{{\"n\":{n},\n\"t\":\"{t}\"}}");
        let bare = row("").len();
        let (row, is_long) = match n % 100 {
            1 => (row(&"e".repeat(limit - bare)), false),
            2 => (row(&"e".repeat(limit - bare + 1)), true),
            3 => (row(&"]},{\\\"[\\\\".repeat(limit * n / 20)), true),
            4 => ("[".repeat(limit) + "{\"]\":\"}\"}" + &"]".repeat(limit), true),
            _ => (row("plain"), false),
        };
        // White space around an element is none of it, however much there is.
        text.push_str(&" \n\t".repeat(if n % 50 == 2 { limit } else { n % 3 }));
        if is_long {
            let line = 1 + text.matches('\n').count();
            let [record, line, offset, length] = [n, line, text.len(), row.len()].map(|n| n as i64);
            let raw = row.as_bytes()[..row.len().min(RejectedRow::RAW_BYTES)].to_vec();
            expected.push((record, line, offset, length, "json.record_bytes".to_owned(), raw));
        }
        text.push_str(&row);
        text.push_str(&"\r\n ".repeat(if n % 50 < 4 { limit / 4 } else { n % 2 }));
        text.push_str(if n < 400 { "," } else { "]}\n" });
    }
    (text, expected)
}

#[test]
fn long_elements_of_a_document_are_rejected_with_their_place_however_it_is_cut() {
    const LIMIT: usize = 2_000;
    let (text, expected) = with_long_elements(LIMIT);
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("a.json");
    fs::write(&path, &text).unwrap();
    let format = Format::Json(JsonFormat { pointer: "/items".into(), ..JsonFormat::default() });
    for (threads, batch_bytes) in [(1, 1), (3, 700), (2, 4 << 20)] {
        let mut source = source(&path, format.clone(), &[("n", "long"), ("t", "string")]);
        source.limits = limits(LIMIT as u64);
        let options = ReadOptions { threads, batch_bytes, ..options(OnBadRow::Quarantine) };
        let (outcome, rejects) = on_runtime(quarantined(&source, options));
        let outcome = outcome.unwrap();
        let wrong = rejects.iter().zip(&expected).find(|(seen, other)| seen != other);
        assert!(
            rejects == expected,
            "{:?}",
            wrong.map(|(seen, other)| ((seen.0, seen.1, seen.2, seen.3), (other.0, other.1, other.2, other.3)))
        );
        assert_eq!((outcome.rows_read, outcome.rows.len()), (400, 400 - expected.len()));
    }
    // The last element may be the long one, what stands around the array is walked over, and an end that is missing is
    // found behind it too.
    let read_text = |text: String| {
        fs::write(&path, text).unwrap();
        let format = Format::Json(JsonFormat::default());
        let source = Source { limits: limits(1000), ..source(&path, format, &[("a", "string")]) };
        on_runtime(read(&source, OnBadRow::Skip)).map_err(|error| error.to_string())
    };
    let long = format!("{{\"a\":\"{}\"}}", "x".repeat(5_000));
    let outcome = read_text(format!("[{{\"a\":\"y\"}}{},{long}]{}", " ".repeat(3_000), " ".repeat(3_000))).unwrap();
    assert_eq!((outcome.codes(), &outcome.rows), (vec!["json.record_bytes"], &vec![vec!["y".to_owned()]]));
    for (text, reason) in [
        (format!("[{long}"), "it ends within the array at "),
        (format!("[{long}}}"), "expected `]` at the end of the array"),
        (format!("[{long},]"), "expected an element behind the comma"),
        (format!("[{long}],"), "expected nothing behind the document"),
    ] {
        let error = read_text(text).unwrap_err();
        assert!(error.contains(reason), "{error}");
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
    // Such a record may have line ends in it.
    let outcome = read_text(format!("a\n\"{}\"\n1,\n", "x\n".repeat(1000)), 1).unwrap();
    assert_eq!((outcome.rejects[0].place.record, outcome.rejects[0].place.line), (2, 1003));
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

#[test]
fn line_ends_of_a_long_record_are_counted_wherever_it_is_cut() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("a.csv");
    let long = "x\r\ny\rz\n\r\n".repeat(3_000);
    fs::write(&path, format!("n,t\r\n1,\"{long}\"\r\n-,bad\r\n")).unwrap();
    for line_ending in [LineEnding::Any, LineEnding::Crlf, LineEnding::Auto] {
        let lines = match line_ending {
            LineEnding::Any => 4,
            LineEnding::Crlf => 2,
            _ => 3,
        };
        for batch_bytes in [1, 700, 1 << 20] {
            let format = Format::Csv(CsvFormat { line_ending, ..CsvFormat::default() });
            let source = Source { limits: limits(1_000), ..source(&path, format, &[("n", "long")]) };
            let options = ReadOptions { batch_bytes, ..options(OnBadRow::Skip) };
            let outcome = on_runtime(read_with(&source, options)).unwrap();
            assert_eq!(outcome.codes(), ["csv.record_bytes", "type.long"]);
            assert_eq!(outcome.rejects[1].place.line, 3 + 3_000 * lines, "{line_ending:?} {batch_bytes}");
        }
    }
}

#[test]
fn long_records_before_a_footer_are_rejected_and_those_of_the_footer_are_left_out() {
    const LIMIT: usize = 20_000;
    let (rows, expected) = with_long_rows(&csv(), LIMIT);
    let long = format!("\"{}\"", "x\n".repeat(LIMIT));
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("a.csv");
    for (footer, of_footer) in [
        (1, "total".to_owned()),
        (1, format!("{long}\r\n")),
        (3, format!("total\n\n{long}\n6000\n")),
        (3, format!("{long}\ntotal\n{long}")),
        (5001, "-\n".repeat(5001)),
    ] {
        fs::write(&path, format!("{rows}{of_footer}")).unwrap();
        for (threads, batch_bytes) in [(1, 1), (2, 4 << 20)] {
            let format = Format::Csv(CsvFormat { skip_footer_rows: footer, ..CsvFormat::default() });
            let declared = [("n", "long"), ("t", "string")];
            let source = Source { limits: limits(LIMIT as u64), ..source(&path, format, &declared) };
            let options = ReadOptions { threads, batch_bytes, ..options(OnBadRow::Quarantine) };
            let (outcome, rejects) = on_runtime(quarantined(&source, options));
            let outcome = outcome.unwrap();
            assert!(
                rejects == expected,
                "{footer}: {:?}",
                rejects.iter().zip(&expected).find(|(seen, other)| seen != other)
            );
            assert_eq!((outcome.rows_read, outcome.rows.len()), (6000, 6000 - expected.len()));
        }
    }
}

#[test]
fn a_footer_that_is_not_held_damages_its_file() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("a.csv");
    fs::write(&path, format!("{}\n", "a".repeat(200)).repeat(10_000)).unwrap();
    let format = CsvFormat { skip_footer_rows: 9_000, ..CsvFormat::default() };
    let source = Source { limits: limits(1000), ..source(&path, Format::Csv(format), &[]) };
    let error = on_runtime(read(&source, OnBadRow::Skip)).unwrap_err();
    assert!(
        error
            .to_string()
            .contains("the 9000 records that csv.skip_footer_rows leaves out have more than 1049576 bytes"),
        "{error}"
    );
    assert_eq!(Fault::from(error).kind, FaultKind::BadFile);
}
