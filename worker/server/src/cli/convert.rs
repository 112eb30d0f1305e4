//! `moulin convert`: files to a file, with no job store and no table.

use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::time::Instant;

use arrow::array::RecordBatch;
use futures::{Stream, StreamExt as _, TryStreamExt as _};
use moulin_core::{Counters, Fault, FaultKind, Nanoseconds, OnBadRow, Source};
use moulin_engine::transform::{self, TransformOptions};
use moulin_read::fetch::Fetcher;
use moulin_read::{self as read, ReadOptions, reject_schema};
use tokio::sync::mpsc;
use tokio::task::JoinHandle;

use super::{show, spec_file};
use crate::config::Config;
use crate::output::{Destination, Format, Output};
use crate::spill::SpillFolder;
use crate::worker::cannot_use;

#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Files or patterns (`file:///data/*.csv.gz`, `s3://bucket/a.parquet`, or a path). They stand in place of `source.uris`.
    #[arg(value_name = "IN")]
    inputs: Vec<String>,
    /// How the files are read: a job file, or only its `source` (YAML or JSON). Its transform is applied, its target is
    /// not looked at. Default: by the ending of IN.
    #[arg(long, short, value_name = "FILE")]
    spec: Option<PathBuf>,
    /// How rows are written. Default: by the ending of OUT.
    #[arg(long, short, value_enum, required_unless_present = "output")]
    to: Option<Format>,
    /// Where rows are written; the file has its name only when it is whole. Default: standard output.
    #[arg(long, short, value_name = "OUT")]
    output: Option<PathBuf>,
    /// Where rejected rows are written (.ndjson, .csv or .parquet): place, code, reason, and the bytes of the record
    /// (base64 in the text formats). Bad rows then end the conversion only when the spec says `on_bad_row: fail`.
    #[arg(long, value_name = "FILE")]
    rejects: Option<PathBuf>,
    /// What a bad row does. Wins over the spec; default: `quarantine` with --rejects, else `fail`.
    #[arg(long, value_name = "fail|skip|quarantine", value_parser = on_bad_row)]
    on_bad_row: Option<OnBadRow>,
}

fn on_bad_row(text: &str) -> Result<OnBadRow, String> {
    serde_json::from_value(text.into()).map_err(|_| format!("`{text}` is none of fail, skip, quarantine"))
}

/// Converts, and prints the account of rows on standard error.
pub(super) async fn convert(config: Config, args: Args) -> Result<ExitCode, Fault> {
    let started = Instant::now();
    let described = spec_file::read(args.spec.as_deref(), &args.inputs)?;
    let format = match (args.to, &args.output) {
        (Some(format), _) => format,
        (None, Some(path)) => Format::of(path)?,
        (None, None) => {
            return Err(Fault::new(FaultKind::InvalidSpec, "neither --to nor -o says how rows are written"));
        }
    };
    let rejects_to = args.rejects.map(|path| Format::of(&path).map(|format| (path, format))).transpose()?;
    let on_bad_row = args.on_bad_row.or(described.on_bad_row).unwrap_or(match rejects_to {
        Some(_) => OnBadRow::Quarantine,
        None => OnBadRow::Fail,
    });
    // A converted file has its rows where the input has them.
    let source = Source { preserve_order: true, ..described.source };

    let fetcher = Fetcher::new(&config.storage)?;
    let files = fetcher.list(&source.uris).await?;
    let schema = read::schema(&fetcher, &source, &files).await?;
    // Rows that no transform looks at are never put aside.
    let spill = described.transform.as_ref().map(|_| SpillFolder::open(&config.state_dir)).transpose();
    let spill = spill.map_err(|e| cannot_use(&config.state_dir, &e))?;
    let options = TransformOptions {
        memory_bytes: config.job.memory_bytes,
        spill_dir: spill.as_ref().map(|folder| folder.path().to_owned()).unwrap_or_default(),
        threads: config.job.threads,
        nanoseconds: Nanoseconds::default(),
    };
    let prepared = transform::prepare(described.transform.as_ref(), &schema.arrow, options).await?;
    let row_wise = prepared.row_wise();

    let to = args.output.map_or(Destination::Stdout, Destination::File);
    let mut output = Output::open(to, format, prepared.output())?;
    let (sender, writing) = rejects_to.map(|(path, format)| write_rejects(path, format)).transpose()?.unzip();
    let counters = Arc::new(Counters::default());
    let wanted = prepared.wanted();
    let options = ReadOptions {
        on_bad_row,
        max_bad_rows: described.max_bad_rows,
        max_bad_ratio: described.max_bad_ratio,
        threads: config.job.threads,
        rejects: sender,
        projection: wanted.columns,
        conditions: wanted.conditions,
        ..ReadOptions::new(Arc::clone(&counters))
    };
    let batches = read::batches(&fetcher, &source, &files, &schema, options).map_err(moulin_engine::Error::from);
    let mut rows = prepared.apply(Box::pin(batches), Arc::clone(&counters));
    let converted = write_all(&mut rows, &mut output).await;
    drop(rows);
    // The rejects so far say why a conversion failed that has too many of them: they are written in any case.
    let kept = match writing {
        Some(writing) => writing.await.map_err(|error| {
            Fault::new(FaultKind::Internal, "the thread that writes rejects ended").with_source(&error)
        })?,
        None => Ok(0),
    };
    converted?;
    kept?;
    let written = output.finish()?;
    eprintln!("{}; {:.2} s", account(&counters, written, row_wise)?, started.elapsed().as_secs_f64());
    Ok(ExitCode::SUCCESS)
}

async fn write_all(
    rows: &mut (impl Stream<Item = Result<RecordBatch, moulin_engine::Error>> + Unpin),
    output: &mut Output,
) -> Result<(), Fault> {
    while let Some(batch) = rows.next().await {
        let batch = batch?;
        tokio::task::block_in_place(|| output.write(&batch))?;
    }
    Ok(())
}

type Writing = JoinHandle<Result<u64, Fault>>;

/// Writes rejects on a thread of their own, until every sender is gone.
fn write_rejects(path: PathBuf, format: Format) -> Result<(mpsc::Sender<RecordBatch>, Writing), Fault> {
    let mut output = Output::open(Destination::File(path), format, &reject_schema())?;
    let (sender, mut batches) = mpsc::channel::<RecordBatch>(4);
    let writing = tokio::task::spawn_blocking(move || {
        while let Some(batch) = batches.blocking_recv() {
            output.write(&batch)?;
        }
        output.finish()
    });
    Ok((sender, writing))
}

/// One line: every row read is written, rejected or filtered.
fn account(counters: &Counters, written: u64, row_wise: bool) -> Result<String, Fault> {
    let (read, rejected) = (counters.rows_read.load(Relaxed), counters.rows_rejected.load(Relaxed));
    let (rows_in, pruned) = (counters.rows_in.load(Relaxed), counters.rows_pruned.load(Relaxed));
    let figures = format!("rows read {}, written {}", show::count(read), show::count(written));
    let lost = read != rows_in + rejected + pruned || (row_wise && written > rows_in);
    if lost {
        let message = format!("rows are unaccounted for: {read} read, {rejected} rejected, {written} written");
        return Err(Fault::new(FaultKind::Internal, message));
    }
    let filtered =
        if row_wise { show::count(pruned + rows_in - written) } else { "- (the transform is not row-wise)".to_owned() };
    Ok(format!("{figures}, rejected {}, filtered {filtered}", show::count(rejected)))
}
