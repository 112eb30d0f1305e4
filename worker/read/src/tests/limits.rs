//! What a hostile file may cost.

use std::fs;
use std::io::Write;

use moulin_core::{Fault, FaultKind, ReadLimits};

use super::*;

fn gz(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::best());
    encoder.write_all(bytes).unwrap();
    encoder.finish().unwrap()
}

/// A file of one name, read with limits; the error, which must be that of a bad file.
fn refused(name: &str, bytes: &[u8], limits: ReadLimits) -> String {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join(name);
    fs::write(&path, bytes).unwrap();
    let counters = Arc::new(Counters::default());
    let options = ReadOptions { counters: Arc::clone(&counters), ..options(OnBadRow::Skip) };
    let source = Source { limits, ..source(&path, csv(), &[("a", "string")]) };
    let error = on_runtime(read_with(&source, options)).unwrap_err();
    let text = error.to_string();
    assert_eq!(Fault::from(error).kind, FaultKind::BadFile, "{text}");
    text.split_once(" is damaged: ").unwrap().1.to_owned()
}

#[test]
fn a_bomb_is_a_bad_file_long_before_its_end() {
    let bomb = ["a\n".repeat(2), "0\n".repeat(128 << 20)].concat();
    let size = bomb.len();
    let loose = ReadLimits { inflation_ratio: 100, ..ReadLimits::default() };
    let zstd = zstd::encode_all(bomb.as_bytes(), 1).unwrap();
    for (name, bytes, limits) in [("b.csv.gz", gz(bomb.as_bytes()), loose), ("b.csv.zst", zstd, ReadLimits::default())]
    {
        let reason = refused(name, &bytes, limits);
        let ratio = limits.inflation_ratio;
        assert!(reason.ends_with(&format!("more than limits.inflation_ratio = {ratio} times")), "{reason}");
        let inflated: usize = reason.split_once(' ').unwrap().0.parse().unwrap();
        assert!(inflated < size / 4, "{reason}");
    }
}

#[test]
fn a_small_file_may_grow_as_it_likes() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("a.csv.gz");
    fs::write(&path, gz(format!("a\n{}", "0\n".repeat(4 << 20)).as_bytes())).unwrap();
    let limits = ReadLimits { inflation_ratio: 2, ..ReadLimits::default() };
    let source = Source { limits, ..source(&path, csv(), &[]) };
    assert_eq!(on_runtime(read(&source, OnBadRow::Fail)).unwrap().rows_read, 4 << 20);
}

#[test]
fn inflated_bytes_are_limited_when_asked() {
    let text = format!("a\n{}", "0\n".repeat(1 << 20));
    let limits = |bytes| ReadLimits { inflated_bytes: Some(bytes), ..ReadLimits::default() };
    let reason = refused("a.csv.gz", &gz(text.as_bytes()), limits(1 << 20));
    assert!(reason.ends_with("more than limits.inflated_bytes = 1048576"), "{reason}");
}
