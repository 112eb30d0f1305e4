//! Reads files to Arrow and throws the rows away: what reading alone costs.
//!
//! `cargo run --release -p moulin-read --example read -- FILE THREADS [NAME:TYPE ...]`

use std::sync::Arc;
use std::time::Instant;

use futures::TryStreamExt;
use moulin_core::{Column, ColumnType, Counters, CsvFormat, Format, NdjsonFormat, Source, StorageSettings};
use moulin_read::fetch::Fetcher;
use moulin_read::{ReadOptions, batches, schema};

type Failed = Box<dyn std::error::Error>;

fn main() -> Result<(), Failed> {
    let mut arguments = std::env::args().skip(1);
    let uri = arguments.next().ok_or("name a file")?;
    let threads = arguments.next().map_or(Ok(2), |text| text.parse())?;
    let format = match uri.rsplit('.').find(|ending| !["gz", "zst"].contains(ending)) {
        Some("parquet") => Format::Parquet,
        Some("ndjson") => Format::Ndjson(NdjsonFormat::default()),
        _ => Format::Csv(CsvFormat::default()),
    };
    let mut source = Source::new(vec![uri], format);
    for column in arguments {
        let (name, ty) = column.split_once(':').ok_or("a column is NAME:TYPE")?;
        source.columns.push(Column::new(name, ty.parse::<ColumnType>()?));
    }
    tokio::runtime::Builder::new_multi_thread().enable_all().build()?.block_on(read(source, threads))
}

async fn read(source: Source, threads: usize) -> Result<(), Failed> {
    let fetcher = Fetcher::new(&StorageSettings::default())?;
    let files = fetcher.list(&source.uris).await?;
    let schema = schema(&fetcher, &source, &files).await?;
    let counters = Arc::new(Counters::default());
    let options = ReadOptions { threads, batch_bytes: 2 << 20, ..ReadOptions::new(Arc::clone(&counters)) };
    let started = Instant::now();
    let mut stream = batches(&fetcher, &source, &files, &schema, options);
    let mut rows = 0;
    while let Some(batch) = stream.try_next().await? {
        rows += batch.num_rows();
    }
    let status = std::fs::read_to_string("/proc/self/status")?;
    let peak = status.lines().find(|line| line.starts_with("VmHWM")).unwrap_or_default();
    println!("{rows} rows, {:.3} s with {threads} threads, {peak}", started.elapsed().as_secs_f64());
    Ok(())
}
