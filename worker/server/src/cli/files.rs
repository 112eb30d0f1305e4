//! `moulin files`: which files a table was loaded with, and why a file was or was not taken.

use std::process::ExitCode;
use std::sync::Arc;

use arrow::array::RecordBatch;
use futures::stream::{self, BoxStream};
use futures::{StreamExt as _, TryStreamExt as _};
use moulin_core::{Fault, FaultKind};
use moulin_read::fetch::Fetcher;
use moulin_store::{JobStore, LoadFilter};

use super::{From, say};
use crate::config::Config;
use crate::output::{Destination, Format, Output, loads};

/// Batches of loads, in the order of table, uri and job.
pub(crate) type Loads = BoxStream<'static, Result<RecordBatch, Fault>>;

/// All loads that a filter finds, page by page.
pub(crate) fn pages(store: Arc<dyn JobStore>, filter: LoadFilter) -> Loads {
    stream::try_unfold(Some(filter), move |filter| {
        let store = Arc::clone(&store);
        async move {
            let Some(mut filter) = filter else { return Ok(None) };
            let page = store.file_loads(&filter).await?;
            let Some(last) = page.last() else { return Ok(None) };
            filter.after = Some(last.into());
            Ok(Some((loads::batch(&page)?, Some(filter))))
        }
    })
    .boxed()
}

async fn found(config: &Config, filter: LoadFilter, from: &From) -> Result<Loads, Fault> {
    match from.reach.connect().await? {
        Some(worker) => worker.file_loads(&filter).await,
        None => Ok(pages(moulin_store::open(&config.store_url).await?, filter)),
    }
}

/// Prints the files of a table.
pub(super) async fn list(config: Config, table: String, from: &From) -> Result<ExitCode, Fault> {
    let filter = LoadFilter { table: Some(table.clone()), ..LoadFilter::default() };
    let mut batches = found(&config, filter, from).await?;
    let mut files = 0;
    while let Some(batch) = batches.try_next().await? {
        files += batch.num_rows();
        print(&batch, from.json, || loads::lines(&batch))?;
    }
    if files == 0 && !from.json {
        say(&format!("no file was loaded into {table}"));
    }
    Ok(ExitCode::SUCCESS)
}

/// Prints why a file was or was not taken.
pub(super) async fn explain(
    config: Config,
    uri: String,
    table: Option<String>,
    from: &From,
) -> Result<ExitCode, Fault> {
    // As a job would list it, when it is there to be looked at.
    let listed = Fetcher::new(&config.storage)?.list(std::slice::from_ref(&uri)).await.unwrap_or_default();
    let now = match listed.as_slice() {
        [one] => Some(one.clone()),
        [] => None,
        many => {
            let message = format!("`{uri}` names {} files, expected one", many.len());
            return Err(Fault::new(FaultKind::InvalidSpec, message).with_hint("`moulin files list TABLE` shows all"));
        }
    };
    let uri = now.as_ref().map_or(uri, |file| file.uri.clone());
    let filter = LoadFilter { uri: Some(uri.clone()), table: table.clone(), ..LoadFilter::default() };
    let mut batches = found(&config, filter, from).await?;
    let mut found = 0;
    while let Some(batch) = batches.try_next().await? {
        found += batch.num_rows();
        let as_it_is = now.as_ref().map(|file| (file.size_bytes, file.etag.as_deref()));
        print(&batch, from.json, || loads::sentences(&batch, as_it_is))?;
    }
    if found == 0 && !from.json {
        let table = table.map(|table| format!(" into {table}")).unwrap_or_default();
        say(&format!("not taken: no job has ever begun to load {uri}{table}"));
    }
    Ok(ExitCode::SUCCESS)
}

/// Lines for people, or NDJSON.
fn print(batch: &RecordBatch, json: bool, lines: impl FnOnce() -> Vec<String>) -> Result<(), Fault> {
    if !json {
        say(&lines().join("\n"));
        return Ok(());
    }
    let mut output = Output::open(Destination::Stdout, Format::Ndjson, &loads::schema())?;
    output.write(batch)?;
    output.finish().map(drop)
}
