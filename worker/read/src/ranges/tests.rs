use std::fs;

use moulin_core::{CsvFormat, DuplicateKeys, Format, LineEnding, NdjsonFormat, OnBadRow, Source, StorageSettings};
use proptest::prelude::*;

use super::*;
use crate::accounts::{Accounts, FilePlace};
use crate::added::Added;
use crate::crew::Crew;
use crate::csv::Csv;
use crate::fetch::Fetcher;
use crate::fuzzing::{Outcome, rows_of};
use crate::ndjson::Ndjson;
use crate::{InputSchema, ReadOptions};

const ASK: Ask = Ask { stop_at_first: false, bad_rows_kept: usize::MAX, offsets: true };

const BLOCK_BYTES: usize = 64 << 10;

/// A file on this machine, to be read in whatever ranges.
struct Case<T> {
    _dir: tempfile::TempDir,
    reader: Arc<RangeReader<T>>,
    start: Arc<Start>,
    from: u64,
    size: u64,
}

async fn case<T: Text>(format: Format, bytes: &[u8], text: impl FnOnce(&Source, &InputSchema) -> T) -> Case<T> {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("t");
    fs::write(&path, bytes).unwrap();
    let source = Source::new(vec![path.display().to_string()], format);
    let fetcher = Fetcher::new(&StorageSettings::default()).unwrap();
    let files = fetcher.list(&source.uris).await.unwrap();
    let fields = ["a", "b", "c"].map(|name| arrow::datatypes::Field::new(name, arrow::datatypes::DataType::Utf8, true));
    let schema = Arc::new(arrow::datatypes::Schema::new(fields.to_vec()));
    let schema = InputSchema::new(schema, vec![crate::Origin::Declared; 3]);
    let text = text(&source, &schema);
    let added = Added::new(&source, &files).unwrap();
    let input = Input { fetcher, source, files, added, schema: Arc::clone(&schema.arrow), columns: Vec::new() };
    let size = bytes.len() as u64;
    let reader = Arc::new(RangeReader::new(&input, text, BLOCK_BYTES, ASK, &Arc::default()));
    let stream = input.fetcher.open_range(&input.files[0], 0..size, &Handle::current()).unwrap();
    let mut splitter = Splitter::new(stream, 1 << 20, Pool::default());
    let mut start = reader.text.begin("file:///t", &mut splitter).unwrap();
    let first = start.first.take().map(|block| block.offset);
    let from = first.or(splitter.position()).unwrap();
    Case { _dir: dir, reader, start: Arc::new(start), from, size }
}

impl<T: Text> Case<T> {
    /// Reads ranges that begin and end at these places.
    async fn read(&self, splits: &[u64]) -> Outcome {
        let mut places = vec![self.from];
        places.extend(splits.iter().copied().filter(|place| *place > self.from && *place < self.size));
        places.push(self.size);
        let stretch = Stretch { number: 0, range: self.from..self.size, size: self.size };
        let mut chain = Chain::new(Arc::clone(&self.reader), Arc::clone(&self.start), stretch.clone());
        let options = ReadOptions { on_bad_row: OnBadRow::Skip, ..ReadOptions::new(Arc::default()) };
        let mut accounts = Accounts::new(&options);
        let Start { lines, records, .. } = *self.start;
        accounts.begin(FilePlace { uri: "file:///t".to_owned(), lines, records, ..FilePlace::default() });
        let mut outcome = Outcome::default();
        let crew = Crew::new(1, &Handle::current());
        for pair in places.windows(2) {
            let (reader, start, stretch) = (Arc::clone(&self.reader), Arc::clone(&self.start), stretch.clone());
            let range = pair[0]..pair[1];
            let read = crew.ask(move || Ok(reader.read(&start, &stretch, range, None))).await;
            let mut parts = chain.next(read).await.unwrap().into_iter();
            loop {
                let part = match parts.next() {
                    None => chain.again().await.unwrap(),
                    part => part,
                };
                let Some(mut parsed) = part else { break };
                accounts.block(&mut parsed).await.unwrap();
                // The place of a row is part of what must not change.
                for (mut row, offset) in rows_of(&parsed.batch).into_iter().zip(&parsed.offsets) {
                    row.push(offset.to_string());
                    outcome.rows.push(row);
                }
            }
        }
        outcome.rejects = options.counters.rejects();
        outcome.rows_read = options.counters.snapshot().rows_read;
        outcome
    }
}

fn on_runtime<R>(work: impl Future<Output = R>) -> R {
    tokio::runtime::Builder::new_current_thread().build().unwrap().block_on(work)
}

fn csv_format(lines: LineEnding) -> CsvFormat {
    CsvFormat { line_ending: lines, ..CsvFormat::default() }
}

async fn csv_case(format: CsvFormat, text: &str) -> Case<Csv> {
    let format = Format::Csv(format);
    case(format.clone(), text.as_bytes(), |source, schema| {
        let Format::Csv(csv) = &format else { panic!("it is csv") };
        Csv::new(source, csv, schema).unwrap()
    })
    .await
}

const TEXTS: [&str; 7] = [
    "a,b,c\n1,2,3\n\"x\ny\",\"\"\"\n\",z\nbad\n4,\"5\n,6\n7\",8\n",
    "a,b,c\n\n\"\",\"\",\"\"\n\",\n\",\"\n,\",\"\"\"\"\n1,2\n1,\"2\"x,3\n9,9,9",
    "a,b,c\r\n1,2,3\r\n\"\r\n\",\"a\r\nb\r\nc\",\"\"\"\r\n\"\"\"\r\n\r\n4,5\r\n6,7,8",
    "a,b,c\n1,2,3\nq,\"never closed,\n1,2,3\n4,5,6\n",
    "a,b,c\nsay \"hi\",b\"\"c,\"\n4,5,6\n\"7\n\",8,9\n",
    "a,b,c\n\"long\n1,2,3\n4,5,6\n7,8,9\n1,2,3\n4,5,6\n7,8,9\n\",x,y\n1,2,3\n",
    "a,b,c\n",
];

#[test]
fn wherever_a_file_is_split_in_two_or_three_the_same_comes_of_it() {
    let mut cases = 0;
    for text in TEXTS {
        for lines in [LineEnding::Auto, LineEnding::Any] {
            on_runtime(async {
                let case = csv_case(csv_format(lines), text).await;
                let whole = case.read(&[]).await;
                for first in 1..text.len() as u64 {
                    assert_eq!(case.read(&[first]).await, whole, "{text:?} at {first}");
                    for second in (first + 1..text.len() as u64).step_by(2) {
                        assert_eq!(case.read(&[first, second]).await, whole, "{text:?} at {first}, {second}");
                        cases += 1;
                    }
                }
            });
        }
    }
    assert!(cases > 5000, "{cases}");
}

/// Blocks that are held at once when a file is read in these ranges, at the most, and those that come of it.
async fn held(case: &Case<Csv>, ranges: &[Range<u64>]) -> (usize, usize) {
    let stretch = Stretch { number: 0, range: case.from..case.size, size: case.size };
    let mut chain = Chain::new(Arc::clone(&case.reader), Arc::clone(&case.start), stretch.clone());
    let crew = Crew::new(1, &Handle::current());
    let (mut most, mut blocks) = (0, 0);
    for range in ranges.iter().cloned() {
        let (reader, start, stretch) = (Arc::clone(&case.reader), Arc::clone(&case.start), stretch.clone());
        let read = crew.ask(move || Ok(reader.read(&start, &stretch, range, None))).await;
        let parts = chain.next(read).await.unwrap().len();
        (most, blocks) = (most.max(parts), blocks + parts);
        while chain.again().await.unwrap().is_some() {
            // The one that was taken, those that wait, and the one that waits for room.
            most = most.max(1 + chain.again.as_ref().map_or(0, |again| again.blocks.max_capacity() + 1));
            blocks += 1;
        }
    }
    assert_eq!(chain.at(), case.size);
    (most, blocks)
}

#[test]
fn of_a_range_that_is_read_again_few_blocks_are_held() {
    let row = "1,2,3\n";
    let text = format!("a,b,c\n\"{}\",x,y\n{}", row.repeat(10_000), row.repeat(400_000));
    on_runtime(async {
        let case = csv_case(csv_format(LineEnding::Lf), &text).await;
        // The first record ends in no range but the last, which then has all the others behind it.
        let (most, blocks) = held(&case, &[case.from..10_000, 10_000..30_000, 30_000..case.size]).await;
        assert!(blocks > 8, "{blocks}");
        assert!(most <= 3, "{most} of {blocks}");
    });
}

#[test]
fn a_file_cut_at_every_byte_is_the_same_file() {
    for text in TEXTS {
        on_runtime(async {
            let case = csv_case(csv_format(LineEnding::Auto), text).await;
            let every: Vec<u64> = (1..text.len() as u64).collect();
            assert_eq!(case.read(&every).await, case.read(&[]).await, "{text:?}");
        });
    }
}

#[test]
fn json_lines_are_the_same_wherever_they_are_split() {
    let text = "{\"a\":\"1\"}\n\n{\"b\":\"\\n\"}\r\nbad\n{\"a\":\"é\",\"c\":\"}\\n{\"}\n{\"a\":\"last\"}";
    on_runtime(async {
        let format = Format::Ndjson(NdjsonFormat::default());
        let case =
            case(format, text.as_bytes(), |source, schema| Ndjson::new(source, DuplicateKeys::Last, schema).unwrap())
                .await;
        let whole = case.read(&[]).await;
        assert_eq!((whole.rows.len(), whole.rejects.len()), (4, 1));
        for first in 1..text.len() as u64 {
            for second in first + 1..text.len() as u64 {
                assert_eq!(case.read(&[first, second]).await, whole, "{first}, {second}");
            }
        }
    });
}

#[test]
fn guesses_are_right_where_the_text_says_enough() {
    let format = CsvFormat::default();
    on_runtime(async {
        let text = "a,b,c\n1,\"two\nlines, and a \"\"word\"\"\nmore\",3\n4,\"x\ny\",6\n7,8,9\n".to_owned();
        let case = csv_case(format, &text).await;
        let starts: Vec<u64> = case.read(&[]).await.rows.iter().map(|row| row[3].parse().unwrap()).collect();
        let mut right = 0;
        for near in case.from..case.size {
            let guess = guessed_start(&case.start.cut, &text.as_bytes()[near as usize..]);
            let guess = guess.map_or(case.size, |at| near + at as u64);
            right += u64::from(guess == case.size || starts.contains(&guess));
        }
        let all = case.size - case.from;
        assert!(right * 10 >= all * 9, "{right} of {all}");
    });
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(300))]

    #[test]
    fn any_text_is_the_same_in_any_ranges(
        text in "([ab,\"\n]|\r\n|,\"|\",|\"\n|\n\"){0,60}",
        splits in prop::collection::btree_set(1_u64..90, 0..6),
    ) {
        let format = CsvFormat { header: false, ..csv_format(LineEnding::Lf) };
        let splits: Vec<u64> = splits.into_iter().collect();
        on_runtime(async {
            let case = csv_case(format, &text).await;
            assert_eq!(case.read(&splits).await, case.read(&[]).await);
        });
    }
}
