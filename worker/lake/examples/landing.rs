//! Parts of a landing by themselves, for the benchmarks in `benches/`.
//!
//! ```text
//! landing commits FOLDER COUNT EVERY [PROPERTY=VALUE ...]   lands one row COUNT times in a table of FOLDER; every EVERY of
//!                                                           them, what one cost since the line before
//! landing encode FOLDER THREADS FILE...                     writes the rows of Parquet files, already in memory, to data
//!                                                           files of a table of FOLDER; nothing else is inside the clock
//! ```
//!
//! It prints JSON objects, one a line. CPU time is that of all threads of the process, from `/proc`.

use std::error::Error;
use std::fs::File;
use std::sync::Arc;
use std::time::{Duration, Instant};

use arrow::array::{ArrayRef, Int64Array, RecordBatch, StringArray};
use moulin_core::{Counters, JobKey, Landing, StorageSettings, TableName, Token};
use moulin_lake::{CatalogSettings, Commit, Lake, StageFile, Target, WriteOptions};
use parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;
use serde_json::json;

type Any<T> = Result<T, Box<dyn Error>>;

/// Rows of a batch, about as many as the readers make.
const BATCH_ROWS: usize = 16 << 10;

// As in the worker.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> Any<()> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build()?;
    match arguments[..] {
        ["commits", folder, count, every, ref properties @ ..] => {
            runtime.block_on(commits(folder, count.parse()?, every.parse()?, properties))
        }
        ["encode", folder, threads, ref files @ ..] => runtime.block_on(encode(folder, threads.parse()?, files)),
        _ => Err(
            "usage: landing commits FOLDER COUNT EVERY [PROPERTY=VALUE ...] | landing encode FOLDER THREADS FILE..."
                .into(),
        ),
    }
}

async fn commits(folder: &str, count: u32, every: u32, properties: &[&str]) -> Any<()> {
    let lake = lake(folder).await?;
    let numbers: ArrayRef = Arc::new(Int64Array::from(vec![1]));
    let texts: ArrayRef = Arc::new(StringArray::from(vec!["a row"]));
    let batch = RecordBatch::try_from_iter([("id", numbers), ("text", texts)])?;
    let mut landing = Landing::new(table()?);
    for property in properties {
        let (name, value) = property.split_once('=').ok_or("a property is NAME=VALUE")?;
        landing.properties.insert(name.to_owned(), value.to_owned());
    }
    let mut commit = Clock::default();
    let mut before = Clock::default();
    for number in 1..=count {
        let name = format!("job_{number}");
        let (target, mut writer) = before
            .measure(async {
                let target = lake.target(&landing, &batch.schema()).await?;
                lake.find_token(target.table(), &token(&name)).await?;
                let writer = lake.writer(&target, options(&name, 1));
                Ok((target, writer))
            })
            .await?;
        writer.write(batch.clone()).await?;
        let change = Commit::new(token(&name), 1, writer.finish().await?);
        let done = commit.measure(async { Ok(lake.commit(&target, change).await?) }).await?;
        if number % every == 0 {
            let metadata = std::fs::metadata(done.metadata_location.trim_start_matches("file://"))?;
            println!(
                "{}",
                json!({
                    "snapshots": number, "metadata_bytes": metadata.len(),
                    "commit_cpu_ms": commit.cpu.as_secs_f64() * 1e3 / f64::from(every),
                    "commit_wall_ms": commit.wall.as_secs_f64() * 1e3 / f64::from(every),
                    "load_cpu_ms": before.cpu.as_secs_f64() * 1e3 / f64::from(every),
                })
            );
            (commit, before) = Default::default();
        }
    }
    Ok(())
}

async fn encode(folder: &str, threads: usize, files: &[&str]) -> Any<()> {
    let mut batches: Vec<RecordBatch> = Vec::new();
    for file in files {
        let reader =
            ParquetRecordBatchReaderBuilder::try_new(File::open(file)?)?.with_batch_size(BATCH_ROWS).build()?;
        for batch in reader {
            batches.push(batch?);
        }
    }
    let first = batches.first().ok_or("there is no row to write")?;
    let lake = lake(folder).await?;
    let target: Target = lake.target(&Landing::new(table()?), &first.schema()).await?;
    let mut clock = Clock::default();
    let landed = clock
        .measure(async {
            let mut writer = lake.writer(&target, options("encode", threads));
            for batch in batches {
                writer.write(batch).await?;
            }
            Ok(writer.finish().await?)
        })
        .await?;
    println!(
        "{}",
        json!({
            "rows": landed.rows(), "files": landed.files(), "bytes": landed.bytes(),
            "cpu_s": clock.cpu.as_secs_f64(), "wall_s": clock.wall.as_secs_f64(),
        })
    );
    Ok(())
}

/// Time that some work took, over all its calls.
#[derive(Default)]
struct Clock {
    cpu: Duration,
    wall: Duration,
}

impl Clock {
    async fn measure<T>(&mut self, work: impl Future<Output = Any<T>>) -> Any<T> {
        let (cpu, started) = (cpu_time()?, Instant::now());
        let result = work.await?;
        self.wall += started.elapsed();
        self.cpu += cpu_time()?.saturating_sub(cpu);
        Ok(result)
    }
}

/// CPU time of all threads that there are: those that work here stay for seconds after their work.
fn cpu_time() -> Any<Duration> {
    let mut nanos = 0;
    for task in std::fs::read_dir("/proc/self/task")? {
        let text = std::fs::read_to_string(task?.path().join("schedstat")).unwrap_or_default();
        nanos += text.split(' ').next().and_then(|first| first.parse::<u64>().ok()).unwrap_or_default();
    }
    Ok(Duration::from_nanos(nanos))
}

async fn lake(folder: &str) -> Any<Lake> {
    let catalog = CatalogSettings {
        name: "moulin".to_owned(),
        uri: format!("sqlite://{folder}/catalog.db"),
        warehouse: format!("file://{folder}/warehouse"),
        rest: Default::default(),
    };
    Ok(Lake::open(&catalog, &StorageSettings::default()).await?)
}

fn table() -> Any<TableName> {
    Ok("bench.landing".parse()?)
}

fn token(name: &str) -> Token {
    let key =
        JobKey { dag_id: "bench".into(), run_id: "manual__2026-01-01".into(), task_id: name.into(), map_index: -1 };
    Token::new(&key, 0)
}

fn options(name: &str, threads: usize) -> WriteOptions {
    let stage: StageFile = Arc::new(|_| Box::pin(async { Ok(()) }));
    WriteOptions {
        job_id: token(name).job_id(),
        attempt: 1,
        threads,
        counters: Arc::new(Counters::default()),
        stage,
        spill_dir: std::env::temp_dir(),
    }
}
