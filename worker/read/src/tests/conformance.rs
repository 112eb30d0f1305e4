//! What every text reader does alike: the same table, written in each format, is read to the same rows, the same
//! verdicts and the same places. (Parquet, which has no bytes of a record, is compared with CSV in `properties`.)

use std::fs;
use std::path::PathBuf;

use moulin_core::{Fault, FaultKind, JsonFormat, NdjsonFormat};

use super::rejects::{Seen, quarantined};
use super::*;

const COLUMNS: [(&str, &str); 3] = [("id", "long"), ("name", "string"), ("price", "decimal(9,2)")];

/// How a format writes what the suite needs.
struct Subject {
    name: &'static str,
    format: Format,
    /// What stands before the first record, between two, and behind the last.
    head: &'static str,
    between: &'static str,
    tail: &'static str,
    /// Files without a record.
    empty: &'static [&'static str],
    /// A row; a price that is not a number makes it a bad one.
    row: fn(u64, &str, &str) -> String,
    /// A row that is broken as a whole.
    broken: &'static str,
    codes: [&'static str; 2],
}

fn subjects() -> [Subject; 3] {
    [
        Subject {
            name: "csv",
            format: csv(),
            head: "id,name,price\n",
            between: "",
            tail: "",
            empty: &["", "id,name,price\n", "\n", "\u{feff}"],
            row: |id, name, price| format!("{id},\"{}\",{price}", name.replace('"', "\"\"")),
            broken: "1,2",
            codes: ["type.decimal", "csv.field_count"],
        },
        Subject {
            name: "ndjson",
            format: Format::Ndjson(NdjsonFormat::default()),
            head: "",
            between: "",
            tail: "",
            empty: &["", "\n", "\u{feff}"],
            row: json_row,
            broken: "{\"id\":1",
            codes: ["type.decimal", "json.syntax"],
        },
        Subject {
            name: "json",
            format: Format::Json(JsonFormat::default()),
            head: "[\n",
            between: ",",
            tail: "]",
            empty: &["[]", " [\n]\n", "\u{feff}[ ]"],
            row: json_row,
            // Its brackets fit: else it would be no element.
            broken: "{\"id\":1,}",
            codes: ["type.decimal", "json.syntax"],
        },
    ]
}

fn json_row(id: u64, name: &str, price: &str) -> String {
    let price =
        if price.starts_with(|first: char| first.is_ascii_digit()) { price.to_owned() } else { format!("\"{price}\"") };
    format!("{{\"id\":{id},\"name\":{},\"price\":{price}}}", serde_json::Value::from(name))
}

/// A file of one subject, in a folder of its own.
struct File {
    _dir: tempfile::TempDir,
    path: PathBuf,
    source: Source,
}

impl Subject {
    fn file(&self, bytes: &[u8]) -> File {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join(format!("t.{}", self.name));
        fs::write(&path, bytes).unwrap();
        let source = Source { preserve_order: true, ..source(&path, self.format.clone(), &COLUMNS) };
        File { _dir: dir, path, source }
    }

    fn text(&self, rows: &[String]) -> String {
        format!("{}{}\n{}", self.head, rows.join(&format!("{}\n", self.between)), self.tail)
    }

    fn read(&self, text: &str) -> Result<Outcome, Error> {
        on_runtime(read(&self.file(text.as_bytes()).source, OnBadRow::Fail))
    }
}

#[test]
fn nothing_is_read_from_an_empty_file() {
    for subject in subjects() {
        for text in subject.empty {
            assert_eq!(subject.read(text).unwrap(), Outcome::default(), "{} {text:?}", subject.name);
        }
    }
}

#[test]
fn one_record_is_read_with_and_without_its_line_end_and_after_a_byte_order_mark() {
    for subject in subjects() {
        let row = (subject.row)(7, "a \"b\", é", "1.50");
        for (before, end) in
            [("", "\n"), ("", ""), ("", "\r\n"), ("", "\r\n\r\n\n"), ("\u{feff}", "\n"), ("\u{feff}", "")]
        {
            let outcome = subject.read(&format!("{before}{}{row}{end}{}", subject.head, subject.tail)).unwrap();
            assert_eq!(outcome.rows, [["7", "a \"b\", é", "1.50"]], "{} {before:?} {end:?}", subject.name);
            assert_eq!(outcome.rows_read, 1);
        }
    }
}

/// Many blocks of rows of which some are bad, and the bad ones as they must be told.
fn with_bad_rows(subject: &Subject, rows: u64) -> (String, Vec<Seen>) {
    let mut text = subject.head.to_owned();
    let mut expected = Vec::new();
    for id in 1..=rows {
        let (row, code) = match id {
            id if id % 977 == 0 => (subject.broken.to_owned(), Some(subject.codes[1])),
            id if id % 331 == 0 => ((subject.row)(id, "bad, é", "x"), Some(subject.codes[0])),
            id => ((subject.row)(id, &format!("name {id}"), "0.05"), None),
        };
        // A blank line is no record, and still a line.
        if id % 1000 == 0 {
            text.push('\n');
        }
        if let Some(code) = code {
            let line = 1 + text.matches('\n').count();
            let [line, offset, length] = [line, text.len(), row.len()].map(|n| n as i64);
            expected.push((id as i64, line, offset, length, code.to_owned(), row.clone().into_bytes()));
        }
        text.push_str(&row);
        text.push_str(if id < rows { subject.between } else { "" });
        text.push_str(if id % 5 == 0 { "\r\n" } else { "\n" });
    }
    text.push_str(subject.tail);
    (text, expected)
}

#[test]
fn bad_rows_are_quarantined_with_their_place_and_bytes_however_the_file_is_cut() {
    for subject in subjects() {
        let (text, expected) = with_bad_rows(&subject, 30_000);
        let file = subject.file(text.as_bytes());
        for (threads, batch_bytes) in [(1, 0), (1, 1), (2, 1), (4, 300_000), (3, 4 << 20)] {
            let counters = Arc::new(Counters::default());
            let options = ReadOptions { threads, batch_bytes, ..ReadOptions::new(Arc::clone(&counters)) };
            let (outcome, rejects) = on_runtime(quarantined(&file.source, options));
            let outcome = outcome.unwrap();
            let shown = format!("{}, {threads} threads, {batch_bytes}", subject.name);
            assert!(rejects == expected, "{shown}: {:?}", rejects.iter().zip(&expected).find(|(a, b)| a != b));
            for (_, _, offset, length, _, raw) in &rejects {
                assert_eq!(&text.as_bytes()[*offset as usize..][..*length as usize], raw, "{shown}");
            }
            assert_eq!(outcome.rows_read, 30_000, "{shown}");
            assert_eq!(counters.rows_rejected.load(Relaxed), expected.len() as u64, "{shown}");
            assert_eq!(outcome.rows.len() + rejects.len(), 30_000, "{shown}");
            let first_is_next = outcome.rows.iter().map(|row| row[0].parse::<u64>().unwrap()).is_sorted();
            assert!(first_is_next, "{shown}: rows come out of order");
        }
    }
}

#[test]
fn skipped_rows_are_counted_and_the_first_bad_row_fails_a_job_that_says_so() {
    for subject in subjects() {
        let (text, expected) = with_bad_rows(&subject, 5_000);
        let file = subject.file(text.as_bytes());
        let outcome = on_runtime(read(&file.source, OnBadRow::Skip)).unwrap();
        assert_eq!((outcome.rows_read, outcome.rows.len()), (5_000, 5_000 - expected.len()), "{}", subject.name);
        assert_eq!(outcome.rejects.len(), Counters::REJECTS_KEPT);
        let error = on_runtime(read(&file.source, OnBadRow::Fail)).unwrap_err();
        let Error::BadRow(reject) = &error else { panic!("{error}") };
        let place = &reject.place;
        assert_eq!(
            (place.record as i64, place.line as i64, place.byte_offset as i64),
            (expected[0].0, expected[0].1, expected[0].2)
        );
        assert!(
            error.to_string().contains(&format!(
                "{}, line {}, byte {}",
                file.path.display(),
                place.line,
                place.byte_offset
            )),
            "{error}"
        );
        assert_eq!(Fault::from(error).kind, FaultKind::BadRow);
    }
}

#[test]
fn archives_give_what_their_text_gives() {
    for subject in subjects() {
        let (text, _) = with_bad_rows(&subject, 20_000);
        let plain = on_runtime(read(&subject.file(text.as_bytes()).source, OnBadRow::Skip)).unwrap();
        let (first, second) = text.as_bytes().split_at(text.len() / 3);
        let members = [first, second].map(super::files::gz).concat();
        let frames = [first, second].map(|part| zstd::encode_all(part, 1).unwrap()).concat();
        for (ending, bytes) in [("gz", members), ("zst", frames)] {
            let dir = tempfile::tempdir().unwrap();
            let path = dir.path().join(format!("t.{}.{ending}", subject.name));
            fs::write(&path, bytes).unwrap();
            let mut outcome =
                on_runtime(read(&source(&path, subject.format.clone(), &COLUMNS), OnBadRow::Skip)).unwrap();
            for (reject, plain) in outcome.rejects.iter_mut().zip(&plain.rejects) {
                reject.place.uri = plain.place.uri.clone();
            }
            assert_eq!(outcome, plain, "{} {ending}", subject.name);
        }
    }
}

#[test]
fn a_reader_that_goes_away_stops_every_format() {
    for subject in subjects() {
        let rows: Vec<String> = (0..400_000).map(|id| (subject.row)(id, "a name of some length", "1.00")).collect();
        let file = subject.file(subject.text(&rows).as_bytes());
        let counters = Arc::new(Counters::default());
        on_runtime(async {
            let fetcher = Fetcher::new(&StorageSettings::default()).unwrap();
            let files = fetcher.list(&file.source.uris).await.unwrap();
            let schema = schema(&fetcher, &file.source, &files).await.unwrap();
            let options = ReadOptions { batch_bytes: 1, ..ReadOptions::new(Arc::clone(&counters)) };
            let mut stream = batches(&fetcher, &file.source, &files, &schema, options);
            assert!(stream.next().await.unwrap().unwrap().num_rows() > 0);
        });
        let progress = counters.snapshot();
        assert!(progress.bytes_done < progress.bytes_total / 2, "{}: {progress:?}", subject.name);
    }
}
