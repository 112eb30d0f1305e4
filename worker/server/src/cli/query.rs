//! `moulin query`: SQL over tables of the catalog.

use std::process::ExitCode;

use arrow::array::RecordBatch;
use arrow::util::pretty::pretty_format_batches;
use clap::ValueEnum;
use futures::StreamExt as _;
use moulin_core::{Fault, FaultKind};

use super::{say, show};
use crate::config::Config;
use crate::output::{Destination, Format, Output};
use crate::query::{Batches, Query};
use crate::remote::Reach;
use crate::worker::Worker;

/// What `moulin query` is told.
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// One SELECT; tables are named as the catalog does: `SELECT origin, count(*) FROM bronze.flights GROUP BY origin`.
    #[arg(value_name = "SQL")]
    sql: String,
    /// How rows are printed.
    #[arg(long, value_enum, default_value_t = Shown::Table)]
    output: Shown,
    /// A result of more rows is an error. A table shows this many and says that there are more.
    #[arg(long, value_name = "N")]
    max_rows: Option<u64>,
    #[command(flatten)]
    reach: Reach,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Shown {
    /// Columns side by side, for a person.
    Table,
    /// Comma-separated values with a header.
    Csv,
    /// One JSON object a line.
    Json,
}

/// Rows that a table shows unless told otherwise.
const ROWS_SHOWN: u64 = 1000;

/// Runs the query and prints its rows.
pub(super) async fn query(mut config: Config, args: Args) -> Result<ExitCode, Fault> {
    let max_rows = args.max_rows.filter(|_| args.output != Shown::Table);
    let query = Query { sql: args.sql, max_rows, max_bytes: None, tables: Default::default() };
    if std::env::var_os("MOULIN_LOG").is_none() {
        config.log.filter = "error".to_owned();
    }
    let (schema, batches) = match args.reach.connect().await? {
        Some(worker) => worker.query(&query).await?,
        None => {
            let worker = Worker::open(config, Some(format!("query-{}", std::process::id()))).await?;
            let planned = query.plan(&worker).await?;
            (planned.schema().clone(), planned.run(&worker).await?)
        }
    };
    let format = match args.output {
        Shown::Table => return table(&schema, batches, args.max_rows.unwrap_or(ROWS_SHOWN)).await,
        Shown::Csv => Format::Csv,
        Shown::Json => Format::Ndjson,
    };
    let mut output = Output::open(Destination::Stdout, format, &schema)?;
    let mut batches = batches;
    while let Some(batch) = batches.next().await {
        let batch = batch?;
        tokio::task::block_in_place(|| output.write(&batch))?;
    }
    output.finish()?;
    Ok(ExitCode::SUCCESS)
}

async fn table(schema: &arrow::datatypes::SchemaRef, mut batches: Batches, shown: u64) -> Result<ExitCode, Fault> {
    let (mut kept, mut rows) = (vec![RecordBatch::new_empty(schema.clone())], 0_u64);
    while rows <= shown
        && let Some(batch) = batches.next().await
    {
        let batch = batch?;
        let wanted = usize::try_from(shown - rows).unwrap_or(usize::MAX).min(batch.num_rows());
        rows += batch.num_rows() as u64;
        kept.push(batch.slice(0, wanted));
    }
    let text = pretty_format_batches(&kept).map_err(|error| Fault::from_error(FaultKind::Internal, &error))?;
    say(&text.to_string());
    let count = if rows > shown {
        format!("the first {} rows; --max-rows shows more, --output csv or json prints all", show::count(shown))
    } else {
        format!("{} {}", show::count(rows), if rows == 1 { "row" } else { "rows" })
    };
    eprintln!("{count}");
    Ok(ExitCode::SUCCESS)
}
