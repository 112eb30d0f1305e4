//! `moulin get JOB --rejects`: rejected rows as a table, or into a file.

use std::path::PathBuf;
use std::process::ExitCode;

use arrow::array::{Array as _, AsArray as _, RecordBatch};
use arrow::datatypes::Int64Type;
use futures::StreamExt as _;
use futures::stream::{self, BoxStream};
use moulin_core::{Fault, FaultKind, JobId, without_secrets};
use moulin_lake::Lake;
use moulin_read::reject_schema;
use tokio_stream::wrappers::ReceiverStream;

use super::{From, say, show};
use crate::config::Config;
use crate::job::rejects::{self, Kept, Spool};
use crate::job::rejects_table;
use crate::output::{Destination, Format, Output};

/// Batches of rejects, from a worker or from its spool.
pub(crate) type Rejects = BoxStream<'static, Result<RecordBatch, Fault>>;

/// Prints the rejects of a job, or writes them to a file whose ending says how.
pub(super) async fn rejects(config: Config, id: JobId, to: Option<PathBuf>, from: &From) -> Result<ExitCode, Fault> {
    let to = to.map(|path| Format::of(&path).map(|format| (path, format))).transpose()?;
    let mut batches = match from.reach.connect().await? {
        Some(worker) => worker.rejects(&id).await?,
        None => kept(&config, &id).await?,
    };
    let Some((path, format)) = to else { return print(batches).await };
    let mut output = Output::open(Destination::File(path.clone()), format, &reject_schema())?;
    while let Some(batch) = batches.next().await {
        let batch = batch?;
        tokio::task::block_in_place(|| output.write(&batch))?;
    }
    let rows = output.finish()?;
    eprintln!("{} rejected rows in {}", show::count(rows), path.display());
    Ok(ExitCode::SUCCESS)
}

async fn kept(config: &Config, id: &JobId) -> Result<Rejects, Fault> {
    let store = moulin_store::open(&config.store_url).await?;
    let job = store.get(id).await?.ok_or_else(|| {
        Fault::new(FaultKind::NotFound, format!("no job {id} in {}", without_secrets(&config.store_url)))
            .with_hint("`moulin list` shows what is there; --address asks a running worker instead")
    })?;
    match Spool::new(config).find(&job)? {
        Kept::File { path, .. } => Ok(ReceiverStream::new(rejects::read(path)).boxed()),
        Kept::Table { table, snapshot_id, .. } => {
            let lake = Lake::open(&config.catalog, &config.storage).await?;
            rejects_table::read(&lake, &table, snapshot_id, id).await
        }
        Kept::None => Ok(stream::empty().boxed()),
        Kept::NotYet => Err(Fault::new(FaultKind::Unavailable, format!("job {id} is {}", job.state))
            .with_hint("ask the worker that runs it for the rejects so far: --address HOST:PORT")),
    }
}

async fn print(mut batches: Rejects) -> Result<ExitCode, Fault> {
    let mut rows = 0;
    while let Some(batch) = batches.next().await {
        let batch = batch?;
        say(&table(&batch, rows == 0));
        rows += batch.num_rows() as u64;
    }
    if rows == 0 {
        say("no rejected rows");
    }
    Ok(ExitCode::SUCCESS)
}

/// Characters of the raw bytes that a line shows.
const RAW_SHOWN: usize = 60;

/// The rejects of a batch, a line each; files are named where they change.
pub(crate) fn table(batch: &RecordBatch, with_head: bool) -> String {
    let text = |name: &str, row: usize| {
        let column = batch.column_by_name(name).and_then(|column| column.as_string_opt::<i32>());
        column.filter(|column| column.is_valid(row)).map(|column| column.value(row).to_owned()).unwrap_or_default()
    };
    let number = |name: &str, row: usize| {
        let column = batch.column_by_name(name).and_then(|column| column.as_primitive_opt::<Int64Type>());
        column.map_or_else(String::new, |column| column.value(row).to_string())
    };
    let raw = |row: usize| {
        let column = batch.column_by_name("raw").and_then(|column| column.as_binary_opt::<i32>());
        column.map_or_else(String::new, |column| shown(column.value(row)))
    };
    let mut lines = vec![["record", "line", "byte", "column", "code", "reason", "raw"].map(str::to_owned)];
    for row in 0..batch.num_rows() {
        lines.push([
            number("record", row),
            number("line", row),
            number("byte_offset", row),
            text("column", row),
            text("code", row),
            text("reason", row),
            raw(row),
        ]);
    }
    let width = |at: usize| lines.iter().map(|line| line[at].chars().count()).max().unwrap_or(0);
    let widths: Vec<usize> = (0..7).map(width).collect();
    let mut out = String::new();
    let mut uri = String::new();
    for (at, line) in lines.iter().enumerate() {
        if at == 0 && !with_head {
            continue;
        }
        if at > 0 && text("uri", at - 1) != uri {
            uri = text("uri", at - 1);
            out.push_str(&format!("{uri}\n"));
        }
        let cells = line.iter().zip(&widths).enumerate().map(|(column, (cell, width))| match column {
            0..3 => format!("{cell:>width$}"),
            6 => cell.clone(),
            _ => format!("{cell:<width$}"),
        });
        out.push_str(&format!("  {}\n", cells.collect::<Vec<_>>().join("  ")));
    }
    out
}

/// The first characters of a record, on one line.
fn shown(raw: &[u8]) -> String {
    let text = String::from_utf8_lossy(&raw[..raw.len().min(4 * RAW_SHOWN)]);
    let mut shown: String = text.chars().take(RAW_SHOWN).flat_map(char::escape_debug).collect();
    if raw.len() > 4 * RAW_SHOWN || text.chars().count() > RAW_SHOWN {
        shown.push('…');
    }
    shown
}

#[cfg(test)]
mod tests {
    use moulin_core::{Place, Reject, RejectedRow};
    use moulin_read::reject_batch;

    use super::*;

    #[test]
    fn a_table_names_each_file_once_and_shows_raw_bytes_on_one_line() {
        let row = |uri: &str, line: u64, raw: &[u8]| RejectedRow {
            reject: Reject {
                place: Place { uri: uri.into(), record: line - 1, line, byte_offset: line * 10, column: "n".into() },
                code: "type.long".into(),
                reason: "field n has value `x`".into(),
            },
            length_bytes: raw.len() as u64,
            raw: raw.to_vec(),
            shape: std::sync::Arc::default(),
        };
        let batch =
            reject_batch(&[row("a", 2, b"x,1"), row("a", 13, b"\"x\n\",2"), row("b", 2, &[b'x'; 500])]).unwrap();
        let table = table(&batch, true);
        let lines: Vec<&str> = table.lines().collect();
        assert_eq!(lines[1], "a");
        assert_eq!(lines[0], "  record  line  byte  column  code       reason                 raw");
        assert_eq!(lines[2], "       1     2    20  n       type.long  field n has value `x`  x,1");
        assert!(lines[3].ends_with("  \\\"x\\n\\\",2"), "{}", lines[3]);
        assert_eq!(lines[4], "b");
        assert!(lines[5].ends_with(&format!("  {}…", "x".repeat(60))), "{}", lines[5]);
    }
}
