//! The parts that a source is cut into.

use std::fs::{self, File};

use arrow::array::{ArrayRef, Int64Array};
use moulin_core::NdjsonFormat;

use super::*;
use crate::{Part, Shard, ShardEnd, ShardStart, read_shard, shards, starts};

async fn parts(source: &Source) -> Vec<Part> {
    let fetcher = Fetcher::new(&StorageSettings::default()).unwrap();
    let files = fetcher.list(&source.uris).await.unwrap();
    let shards = shards(&fetcher, source, &files).await.unwrap();
    assert!(shards.iter().all(|shard| files.contains(&shard.file)));
    shards.into_iter().map(|shard| shard.part).collect()
}

#[test]
fn plain_text_is_cut_by_bytes_and_what_cannot_be_is_one_shard() {
    let dir = tempfile::tempdir().unwrap();
    let size: u64 = (64 << 20) * 2 + 5;
    for name in ["a.csv", "a.csv.gz"] {
        // Nothing is stored: no byte of it is looked at.
        File::create(dir.path().join(name)).unwrap().set_len(size).unwrap();
    }
    fs::write(dir.path().join("small.csv"), "n\n1\n").unwrap();
    let cut: [(u64, u64); 3] = [(0, 64 << 20), (64 << 20, 128 << 20), (128 << 20, size)];
    let cut: Vec<Part> = cut.map(|(start, end)| Part::Bytes { start, end }).into();
    let parts = |name: &str, format| on_runtime(parts(&source(&dir.path().join(name), format, &[])));
    assert_eq!(parts("a.csv", csv()), cut);
    assert_eq!(parts("a.csv", Format::Ndjson(NdjsonFormat::default())), cut);
    assert_eq!(parts("a.csv.gz", csv()), [Part::Whole]);
    assert_eq!(parts("small.csv", csv()), [Part::Whole]);
    let footer = CsvFormat { skip_footer_rows: 1, ..CsvFormat::default() };
    assert_eq!(parts("a.csv", Format::Csv(footer)), [Part::Whole]);
}

#[test]
fn parquet_is_cut_into_its_row_groups() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("a.parquet");
    let numbers: ArrayRef = Arc::new(Int64Array::from_iter_values(0..25));
    super::parquet::write(&path, vec![("n", numbers)], 10);
    let groups = [0, 1, 2].map(|start| Part::RowGroups { start, end: start + 1 });
    assert_eq!(on_runtime(parts(&source(&path, Format::Parquet, &[]))), groups);
}

/// What one shard holds: rows with their places, and rejects.
async fn shard(source: &Source, shard: &Shard, start: Option<ShardStart>) -> (Outcome, ShardEnd) {
    let fetcher = Fetcher::new(&StorageSettings::default()).unwrap();
    let all = fetcher.list(&source.uris).await.unwrap();
    let schema = schema(&fetcher, source, &all).await.unwrap();
    let options = options(OnBadRow::Skip);
    let counters = Arc::clone(&options.counters);
    let mut read = read_shard(&fetcher, source, &schema, shard, start, options);
    let mut rows = Vec::new();
    while let Some(batch) = read.batches.try_next().await.unwrap() {
        rows.extend(rows_of(&batch));
    }
    let rows_read = counters.rows_read.load(Relaxed);
    (Outcome { rows, rejects: counters.rejects(), rows_read }, read.end().unwrap())
}

/// Reads parts of the one file of a source, the last first, each by itself. Answers what they hold together, and how many
/// of them had been guessed wrong.
async fn by_itself(source: &Source, parts: &[Part]) -> (Outcome, usize) {
    let fetcher = Fetcher::new(&StorageSettings::default()).unwrap();
    let file = fetcher.list(&source.uris).await.unwrap().remove(0);
    let shards: Vec<Shard> = parts.iter().map(|part| Shard { file: file.clone(), part: *part }).collect();
    let mut ends = Vec::new();
    for part in shards.iter().rev() {
        ends.insert(0, shard(source, part, None).await.1);
    }
    let mut wrong = 0;
    let starts = loop {
        match starts(&ends) {
            Ok(starts) => break starts,
            Err((number, start)) => {
                wrong += 1;
                assert!(wrong < 1000, "{ends:?}");
                ends[number] = shard(source, &shards[number], Some(start)).await.1;
            }
        }
    };
    let mut read = Vec::new();
    for (part, start) in shards.iter().zip(&starts).rev() {
        let (outcome, end) = shard(source, part, Some(*start)).await;
        assert_eq!(end, ends[starts.len() - 1 - read.len()], "a right guess and what is known are the same");
        read.push(outcome);
    }
    let mut together = Outcome::default();
    for outcome in read.into_iter().rev() {
        together.rows.extend(outcome.rows);
        together.rejects.extend(outcome.rejects);
        together.rows_read += outcome.rows_read;
    }
    (together, wrong)
}

/// Shards of so many bytes.
fn every(bytes: u64, size: u64) -> Vec<Part> {
    let starts = (0..size).step_by(bytes as usize);
    starts.map(|start| Part::Bytes { start, end: (start + bytes).min(size) }).collect()
}

fn with_places(path: &std::path::Path, format: Format) -> Source {
    use moulin_core::ProvenanceColumn::{File, Offset, Row};
    Source { provenance_columns: vec![File, Row, Offset], ..source(path, format, &[]) }
}

#[test]
fn shards_of_text_read_in_any_order_are_the_file() {
    let dir = tempfile::tempdir().unwrap();
    let quoted = "a,b\n1,\"x\ny\"\n\n2,\"say \"\"\n\"\"\n\",\nbad\n3,\"\n4,\n5,\n\"\n6,7\n\"8\",\"\n\n\n\n\"\n9,10";
    let quotes = "a,b\nx\",1\ny,\"2\n\nz,\"\n,3\"\nw,\"4\n\"\nv,5\n\",6\n7,\"\"\n8,9\n";
    let json = "{\"a\":1}\n\n{\"a\":\"\\n\"}\r\n[1]\n{\"a\":2,\"b\":\"}\"}\n{\"b\":\"é\"}\nbad\n{\"a\":3}";
    let csv = |name| (name, Format::Csv(CsvFormat { skip_rows: 1, ..CsvFormat::default() }));
    let ndjson = || ("c.ndjson", Format::Ndjson(NdjsonFormat::default()));
    let mut wrong = 0;
    for ((name, format), text) in [
        (csv("a.csv"), format!("skipped\n{quoted}")),
        (csv("b.csv"), format!("\n{quotes}")),
        (ndjson(), json.to_owned()),
    ] {
        let path = dir.path().join(name);
        fs::write(&path, &text).unwrap();
        let source = with_places(&path, format);
        on_runtime(async {
            let serial = read(&source, OnBadRow::Skip).await.unwrap();
            assert!(serial.rows_read >= 5 && !serial.rejects.is_empty(), "{serial:?}");
            for bytes in (1..20).chain([text.len() as u64 - 1]) {
                let (outcome, again) = by_itself(&source, &every(bytes, text.len() as u64)).await;
                assert_eq!(outcome, serial, "{name} in shards of {bytes} bytes");
                wrong += again;
            }
        });
    }
    assert!(wrong > 0, "a quoted line end is not always guessed");
}

#[test]
fn shards_of_a_large_file_are_read_in_ranges_themselves() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("a.csv");
    let row = |n: u64| match n % 9000 {
        0 => format!("{n},\"{}\"\n", "1,2\n".repeat(n as usize / 4)),
        4 => format!("{n}\n"),
        _ => format!("{n},\"t\n{}\"\n", n % 10),
    };
    fs::write(&path, format!("n,t\n{}", (0..90_000).map(row).collect::<String>())).unwrap();
    let size = fs::metadata(&path).unwrap().len();
    let source = with_places(&path, csv());
    on_runtime(async {
        let serial = read(&source, OnBadRow::Skip).await.unwrap();
        assert_eq!((serial.rows_read, serial.rejects.len()), (90_000, 10));
        let (outcome, _) = by_itself(&source, &every(700_001, size)).await;
        assert!(outcome == serial, "{} rows of {}", outcome.rows.len(), serial.rows.len());
    });
}

#[test]
fn row_groups_read_in_any_order_are_the_file() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("a.parquet");
    let numbers: ArrayRef = Arc::new(Int64Array::from_iter_values(0..25));
    super::parquet::write(&path, vec![("n", numbers)], 10);
    let source = with_places(&path, Format::Parquet);
    let groups = [(0, 1), (1, 2), (2, 3)].map(|(start, end)| Part::RowGroups { start, end });
    on_runtime(async {
        let serial = read(&source, OnBadRow::Skip).await.unwrap();
        assert_eq!(by_itself(&source, &groups).await, (serial.clone(), 0));
        assert_eq!(by_itself(&source, &[Part::Whole]).await, (serial, 0));
        let bytes = Shard { file: parts_file(&source).await, part: Part::Bytes { start: 0, end: 9 } };
        let error = {
            let fetcher = Fetcher::new(&StorageSettings::default()).unwrap();
            let schema = schema_of(&source).await.unwrap();
            let mut read = read_shard(&fetcher, &source, &schema, &bytes, None, options(OnBadRow::Skip));
            read.batches.try_next().await.unwrap_err()
        };
        assert!(error.to_string().ends_with("is a Parquet file, which is read by row groups"), "{error}");
    });
}

async fn parts_file(source: &Source) -> moulin_core::PlannedFile {
    Fetcher::new(&StorageSettings::default()).unwrap().list(&source.uris).await.unwrap().remove(0)
}

#[test]
fn a_file_that_is_understood_from_its_start_only_is_in_its_first_shard() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("a.csv");
    let text: Vec<u8> = "\u{feff}a,b\n1,ü\n2,x\n".encode_utf16().flat_map(u16::to_le_bytes).collect();
    fs::write(&path, &text).unwrap();
    let source = source(&path, csv(), &[]);
    on_runtime(async {
        let serial = read(&source, OnBadRow::Skip).await.unwrap();
        assert_eq!(serial.rows.len(), 2);
        assert_eq!(by_itself(&source, &every(7, text.len() as u64)).await, (serial, 0));
    });
}
