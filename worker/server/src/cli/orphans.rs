//! `moulin orphans`: files of attempts that are over.

use std::process::ExitCode;
use std::sync::Mutex;
use std::time::SystemTime;

use moulin_core::Fault;
use moulin_lake::Lake;
use moulin_store::{JobStore, Leftover, Standing};

use super::say;
use crate::config::Config;
use crate::job::orphans;

/// Prints the files that are left over.
pub(super) async fn list(config: Config) -> Result<ExitCode, Fault> {
    let store = moulin_store::open(&config.store_url).await?;
    show(store.as_ref(), |file| file.removed_at.is_none() && file.standing != Standing::Landed).await?;
    Ok(ExitCode::SUCCESS)
}

/// Removes those that are surely dead; `dry_run`: only says which.
pub(super) async fn remove(config: Config, dry_run: bool) -> Result<ExitCode, Fault> {
    let store = moulin_store::open(&config.store_url).await?;
    if dry_run {
        let files = show(store.as_ref(), |file| file.removed_at.is_none() && file.standing == Standing::Dead).await?;
        say(&format!("{files} files would be removed"));
        return Ok(ExitCode::SUCCESS);
    }
    let lake = Lake::open(&config.catalog, &config.storage).await?;
    let files = orphans::sweep(store.as_ref(), &lake, SystemTime::now()).await?;
    say(&format!("{files} files removed"));
    Ok(ExitCode::SUCCESS)
}

/// Prints files a line each; how many there are.
async fn show(store: &dyn JobStore, wanted: impl Fn(&Leftover) -> bool) -> Result<u64, Fault> {
    let shown = Mutex::new(0_u64);
    let (shown, wanted) = (&shown, &wanted);
    orphans::each(store, |file| async move {
        if wanted(&file) {
            let at = humantime::format_rfc3339_seconds(file.staged_at);
            let (standing, job, attempt) = (file.standing.as_str(), &file.job_id, file.attempt);
            say(&format!("{standing:<8}  {}  {job} (attempt {attempt}, {at})", file.uri));
            *shown.lock().unwrap_or_else(std::sync::PoisonError::into_inner) += 1;
        }
        Ok(())
    })
    .await?;
    let files = *shown.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
    if files == 0 {
        say("no files are left over");
    }
    Ok(files)
}
