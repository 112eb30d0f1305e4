//! Reads one file to Arrow batches and drops them: what `python -m benches.reading` measures.
//!
//! ```text
//! benchmark FILE FORMAT THREADS [COLUMN:TYPE ...]   rows, and with SUMS=1 the sums that tell two readers apart;
//!                                                   with PLACES=1 each row says where it comes from, and rejects are kept
//! benchmark FILE inflate                            gunzips and drops the bytes
//! benchmark FILE lines                              counts line ends
//! ```
//!
//! It prints one JSON object.

use std::collections::BTreeMap;
use std::error::Error;
use std::fs::File;
use std::io::{BufReader, Read};
use std::sync::Arc;

use arrow::array::{Array, AsArray, RecordBatch};
use arrow::compute::{max, min, sum};
use arrow::datatypes::{DataType, Date32Type, Decimal128Type, Int32Type, Int64Type};
use futures::TryStreamExt;
use moulin_core::{Column, Counters, Format, OnBadRow, ProvenanceColumn, Source, StorageSettings};
use moulin_read::{ReadOptions, batches, fetch::Fetcher, schema};
use serde_json::{Value, json};

// As in the worker.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> Result<(), Box<dyn Error>> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    let told = match arguments[..] {
        [file, "inflate"] => {
            json!({"bytes": drain(flate2::read::MultiGzDecoder::new(BufReader::new(File::open(file)?)), |_| 0)?.0})
        }
        [file, "lines"] => {
            json!({"lines": drain(File::open(file)?, |bytes| memchr::memchr_iter(b'\n', bytes).count())?.1})
        }
        [file, format, threads, ref columns @ ..] => read(file, format, threads.parse()?, columns)?,
        _ => {
            return Err(
                "usage: benchmark FILE FORMAT THREADS [COLUMN:TYPE ...] | benchmark FILE inflate | benchmark FILE lines".into()
            );
        }
    };
    println!("{told}");
    Ok(())
}

fn read(file: &str, format: &str, threads: usize, columns: &[&str]) -> Result<Value, Box<dyn Error>> {
    let format = Format::named(format).ok_or("no such format")?;
    let column = |column: &&str| -> Result<Column, Box<dyn Error>> {
        let (name, ty) = column.split_once(':').ok_or("a column is NAME:TYPE")?;
        Ok(Column::new(name, ty.parse::<moulin_core::ColumnType>()?))
    };
    let columns = columns.iter().map(column).collect::<Result<_, _>>()?;
    let mut source = Source { columns, ..Source::new(vec![format!("file://{file}")], format) };
    let with_places = std::env::var_os("PLACES").is_some();
    if with_places {
        source.provenance_columns = vec![ProvenanceColumn::File, ProvenanceColumn::Row, ProvenanceColumn::Offset];
    }
    let with_sums = std::env::var_os("SUMS").is_some();
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build()?;
    runtime.block_on(async {
        let fetcher = Fetcher::new(&StorageSettings::default())?;
        let files = fetcher.list(&source.uris).await?;
        let schema = schema(&fetcher, &source, &files).await?;
        let mut options = ReadOptions { threads, ..ReadOptions::new(Arc::new(Counters::default())) };
        // Nobody takes a reject: there is none in these files.
        let (rejects, _kept) = tokio::sync::mpsc::channel(1);
        if with_places {
            (options.on_bad_row, options.rejects) = (OnBadRow::Quarantine, Some(rejects));
        }
        let mut stream = batches(&fetcher, &source, &files, &schema, options);
        let (mut rows, mut sums) = (0, BTreeMap::new());
        while let Some(batch) = stream.try_next().await? {
            rows += batch.num_rows();
            if with_sums {
                add_sums(&batch, &mut sums);
            }
        }
        Ok(json!({"rows": rows, "sums": sums.into_iter().map(|(name, sum)| (name, sum.to_string())).collect::<BTreeMap<_, _>>()}))
    })
}

/// Sums of numbers, extremes of dates in days, bytes of texts, and nulls: equal for two readers that agree.
fn add_sums(batch: &RecordBatch, sums: &mut BTreeMap<String, i128>) {
    let fields = batch.schema();
    for (field, column) in fields.fields().iter().zip(batch.columns()) {
        let name = field.name();
        *sums.entry("nulls".to_owned()).or_default() += column.null_count() as i128;
        let value = match field.data_type() {
            DataType::Int32 => column.as_primitive::<Int32Type>().iter().flatten().map(i128::from).sum(),
            DataType::Int64 => column.as_primitive::<Int64Type>().iter().flatten().map(i128::from).sum(),
            DataType::Decimal128(..) => sum(column.as_primitive::<Decimal128Type>()).unwrap_or(0),
            DataType::Utf8 => {
                let offsets = column.as_string::<i32>().value_offsets();
                i128::from(offsets[offsets.len() - 1] - offsets[0])
            }
            DataType::Date32 => {
                let days = column.as_primitive::<Date32Type>();
                let (first, last) = (min(days).map_or(0, i128::from), max(days).map_or(0, i128::from));
                sums.entry(format!("min {name}")).and_modify(|known| *known = first.min(*known)).or_insert(first);
                sums.entry(format!("max {name}")).and_modify(|known| *known = last.max(*known)).or_insert(last);
                continue;
            }
            _ => continue,
        };
        *sums.entry(format!("sum {name}")).or_default() += value;
    }
}

/// Reads to the end; the bytes, and the sum of what was counted in them.
fn drain(mut input: impl Read, count: impl Fn(&[u8]) -> usize) -> std::io::Result<(u64, usize)> {
    let mut buffer = vec![0; 512 << 10];
    let (mut bytes, mut counted) = (0, 0);
    loop {
        let length = input.read(&mut buffer)?;
        if length == 0 {
            return Ok((bytes, counted));
        }
        bytes += length as u64;
        counted += count(&buffer[..length]);
    }
}
