//! Reads files the way a job does and says how long that took: `read_csv FILE [THREADS] [NAME:TYPE ...]`.
//!
//! The format is taken from the name's ending (`.csv`, `.ndjson`, `.parquet`, with `.gz` or `.zst` after the first two).

use std::error::Error;
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::time::Instant;

use futures::TryStreamExt;
use moulin_core::{Column, Compression, Counters, CsvFormat, Format, OnBadRow, Source, StorageSettings};
use moulin_engine::fetch::Fetcher;
use moulin_engine::read::{ReadOptions, batches, schema};

fn main() -> Result<(), Box<dyn Error>> {
    tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build()?.block_on(run())
}

async fn run() -> Result<(), Box<dyn Error>> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let file = arguments.first().ok_or("which file?")?;
    let threads = arguments.get(1).map_or(Ok(2), |text| text.parse())?;
    let declared = arguments.iter().skip(2).map(|column| -> Result<Column, Box<dyn Error>> {
        let (name, ty) = column.split_once(':').ok_or("a column is NAME:TYPE")?;
        Ok(Column { name: name.to_owned(), ty: ty.parse()? })
    });
    let format = match file {
        file if file.contains(".ndjson") => Format::Ndjson,
        file if file.contains(".parquet") => Format::Parquet,
        _ => Format::Csv(CsvFormat::default()),
    };
    let columns = declared.collect::<Result<_, _>>()?;
    let source = Source { uris: vec![file.clone()], format, compression: Compression::Auto, columns };
    let fetcher = Fetcher::new(&StorageSettings::default())?;
    let counters = Arc::new(Counters::default());
    let started = Instant::now();
    let files = fetcher.list(&source.uris).await?;
    let schema = schema(&fetcher, &source, &files).await?;
    let options = ReadOptions { on_bad_row: OnBadRow::Skip, threads, batch_bytes: 0, counters: Arc::clone(&counters) };
    let (mut rows, mut count) = (0, 0);
    let mut stream = batches(&fetcher, &source, &files, &schema, options);
    while let Some(batch) = stream.try_next().await? {
        rows += batch.num_rows();
        count += 1;
    }
    println!(
        "{rows} rows in {count} batches, {} rejected, {:?}",
        counters.rows_rejected.load(Relaxed),
        started.elapsed()
    );
    for room in counters.rooms().iter().filter(|room| !room.busy.is_zero()) {
        println!("{}: {:?}", room.room.name(), room.busy);
    }
    Ok(())
}
