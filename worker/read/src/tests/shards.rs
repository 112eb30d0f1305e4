//! The parts that a source is cut into.

use std::fs::{self, File};

use arrow::array::{ArrayRef, Int64Array};
use moulin_core::NdjsonFormat;

use super::*;
use crate::{Part, shards};

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
