//! What becomes of files that are damaged when the job says to go on without them.

use std::fs;
use std::io::Write;

use ::parquet::file::reader::{FileReader, SerializedFileReader};
use arrow::array::{ArrayRef, Int64Array};
use moulin_core::{OnBadFile, SkippedFile};

use super::*;

fn gz(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    encoder.write_all(bytes).unwrap();
    encoder.finish().unwrap()
}

fn rows(from: usize) -> String {
    (from..from + 100_000).fold("n,m\n".to_owned(), |text, n| text + &format!("{n},{}\n", n % 7))
}

/// Reads all files of a folder and leaves out the damaged ones.
fn read_whole(pattern: &Path, format: Format) -> (Outcome, Vec<SkippedFile>) {
    let counters = Arc::new(Counters::default());
    let options = ReadOptions { counters: Arc::clone(&counters), ..options(OnBadRow::Skip) };
    let source = Source { on_bad_file: OnBadFile::Skip, ..source(pattern, format, &[]) };
    let outcome = on_runtime(read_with(&source, options)).unwrap();
    assert_eq!(counters.files_done.load(Relaxed) + counters.files_skipped.load(Relaxed), 3);
    (outcome, counters.skipped_files())
}

fn assert_only(outcome: &Outcome, skipped: &[SkippedFile], name: &str, reason: &str) {
    assert_eq!((outcome.rows.len(), outcome.rows_read), (200_000, 200_000));
    let kept = |n: usize| outcome.rows.iter().any(|row| row[0] == n.to_string());
    assert!(kept(0) && kept(299_999) && !kept(100_000));
    assert_eq!(skipped.len(), 1);
    assert!(skipped[0].uri.ends_with(name) && skipped[0].reason.contains(reason), "{skipped:?}");
}

#[test]
fn nothing_of_an_archive_that_is_damaged_at_its_end_is_handed_out() {
    for (ending, reason) in [("gz", "the gzip stream ends in its middle"), ("zst", "zstd stream")] {
        let dir = tempfile::tempdir().unwrap();
        for n in 0..3 {
            let text = rows(n * 100_000);
            let whole =
                if ending == "gz" { gz(text.as_bytes()) } else { zstd::encode_all(text.as_bytes(), 1).unwrap() };
            let bytes = if n == 1 { &whole[..whole.len() - 5] } else { &whole[..] };
            fs::write(dir.path().join(format!("{n}.csv.{ending}")), bytes).unwrap();
        }
        let (outcome, skipped) = read_whole(&dir.path().join("*"), csv());
        assert_only(&outcome, &skipped, &format!("1.csv.{ending}"), reason);
    }
}

#[test]
fn a_file_that_lacks_a_column_is_left_out_be_it_the_first() {
    let dir = tempfile::tempdir().unwrap();
    for n in 0..3 {
        let text = rows(n * 100_000);
        let text = if n == 1 { text.replacen("n,m", "n,k", 1) } else { text };
        fs::write(dir.path().join(format!("{n}.csv")), text).unwrap();
    }
    let (outcome, skipped) = read_whole(&dir.path().join("*"), csv());
    assert_only(&outcome, &skipped, "1.csv", "has no column `m`");
    fs::write(dir.path().join("0.csv"), "\"open").unwrap();
    let (outcome, skipped) = read_whole(&dir.path().join("*"), csv());
    // The first good file says what the columns are.
    assert_eq!((outcome.rows_read, skipped.len(), outcome.rows[0][0].as_str()), (100_000, 2, "100000"));
}

#[test]
fn nothing_of_a_parquet_file_with_a_broken_page_is_handed_out() {
    let dir = tempfile::tempdir().unwrap();
    for n in 0..3_i64 {
        let values: ArrayRef = Arc::new(Int64Array::from_iter_values(n * 100_000..(n + 1) * 100_000));
        super::parquet::write(&dir.path().join(format!("{n}.parquet")), vec![("n", values)], 50_000);
    }
    let path = dir.path().join("1.parquet");
    // In the second row group: the first decodes.
    let footer = SerializedFileReader::new(fs::File::open(&path).unwrap()).unwrap();
    let (start, _) = footer.metadata().row_group(1).column(0).byte_range();
    let mut bytes = fs::read(&path).unwrap();
    bytes[start as usize..start as usize + 64].fill(0xff);
    fs::write(&path, bytes).unwrap();
    let counters = Arc::new(Counters::default());
    let options = ReadOptions { counters: Arc::clone(&counters), ..options(OnBadRow::Skip) };
    let source = Source { on_bad_file: OnBadFile::Skip, ..source(&dir.path().join("*"), Format::Parquet, &[]) };
    let outcome = on_runtime(read_with(&source, options)).unwrap();
    assert_only(&outcome, &counters.skipped_files(), "1.parquet", "is damaged");
}

#[test]
fn when_every_file_is_bad_the_first_says_why_and_a_missing_one_always_fails() {
    let dir = tempfile::tempdir().unwrap();
    for n in 0..2 {
        fs::write(dir.path().join(format!("{n}.csv.gz")), "no archive").unwrap();
    }
    let source = Source { on_bad_file: OnBadFile::Skip, ..source(&dir.path().join("*"), csv(), &[]) };
    let error = on_runtime(read(&source, OnBadRow::Skip)).unwrap_err().to_string();
    assert!(error.contains("0.csv.gz is damaged"), "{error}");
    let missing = Source { uris: vec![format!("file://{}/no.csv", dir.path().display())], ..source };
    let error = on_runtime(read(&missing, OnBadRow::Skip)).unwrap_err().to_string();
    assert!(error.starts_with("no file at "), "{error}");
}

#[test]
fn a_parquet_file_that_lacks_the_bytes_of_a_column_names_it() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("a.parquet");
    let column = |from: i64| Arc::new(Int64Array::from_iter_values(from..from + 5_000)) as ArrayRef;
    super::parquet::write(&path, vec![("first", column(0)), ("second", column(1 << 40))], 2_500);
    let whole = fs::read(&path).unwrap();
    let length = u32::from_le_bytes(whole[whole.len() - 8..whole.len() - 4].try_into().unwrap()) as usize;
    let footer = &whole[whole.len() - length - 8..];
    // The footer says that more stands before it than does.
    fs::write(&path, [&whole[..4], footer].concat()).unwrap();
    let source = source(&path, Format::Parquet, &[]);
    let error = on_runtime(read(&source, OnBadRow::Skip)).unwrap_err().to_string();
    assert!(error.contains("a.parquet is damaged: row group 0, column `first`: it has "), "{error}");
    fs::write(&path, b"PAR1 encrypted \x04\x00\x00\x00PARE").unwrap();
    let error = on_runtime(schema_of(&source)).unwrap_err().to_string();
    assert!(error.ends_with("it is encrypted, and only Parquet files that are not can be read"), "{error}");
}
