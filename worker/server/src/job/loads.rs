//! Which of its files a job takes: those that its table was not loaded with, and that no other job loads just now.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

use moulin_core::{
    Counters, Fault, FaultKind, FaultPoint, JobKey, JobSpec, ListedFile, OnLoadedFile, PlannedFile, SkippedFile,
    TableName,
};
use moulin_store::{Claim, Claimed, FileLoad, LoadState, Wanted};

use crate::worker::Worker;

const FIRST_LOOK: Duration = Duration::from_millis(50);
const LONGEST_PAUSE: Duration = Duration::from_secs(1);

/// What came of an attempt's claim of its files.
pub(crate) enum Taken {
    /// These are the attempt's own; they may be none.
    Files {
        files: Vec<PlannedFile>,
        /// Whether the table was there at the claim, so that the claim knows which one it is.
        table_is_named: bool,
    },
    /// Another job still loads one of them. The attempt gives its slot back: the other job may need it.
    Later(Fault),
}

/// Claims the files of an attempt that are not loaded already, and counts the others as left out. Other jobs that load
/// one of them at this moment are waited for, at most about as long as a lease.
///
/// # Errors
/// `BadFile`: one is loaded already and the job says `on_loaded_file = fail`; `LeaseLost`; what store and catalog say.
pub(crate) async fn claim(
    worker: &Worker,
    claim: &Claim,
    spec: &JobSpec,
    listed: Vec<PlannedFile>,
    counters: &Counters,
) -> Result<Taken, Fault> {
    let table_uuid = worker.lake.table_uuid(&spec.landing.table).await?;
    let table_is_named = table_uuid.is_some();
    let key = (claim.job.key.clone(), claim.job.generation);
    let mut wanted = wanted(spec, table_uuid, Some(key), listed);
    let loaded = match claim_when_free(worker, claim, &mut wanted, Some(&spec.landing.table)).await? {
        Ok(loaded) => loaded,
        Err(by) => return Ok(Taken::Later(Fault::new(FaultKind::Unavailable, format!("waits: {}", why(&by))))),
    };
    FaultPoint::FilesClaimed.pass();
    if let Some(fault) = refusal(spec, loaded.iter()) {
        return Err(fault);
    }
    let known: HashMap<&str, &FileLoad> = loaded.iter().map(|load| (load.file.uri.as_str(), load)).collect();
    for load in wanted.files.iter().filter_map(|file| known.get(file.uri.as_str())) {
        counters.leave_out(SkippedFile { uri: load.file.uri.clone(), reason: why(load) });
    }
    let files = wanted.files.iter().filter(|file| !known.contains_key(file.uri.as_str())).cloned().collect();
    let table_is_named = table_is_named || wanted.table_uuid.is_some();
    Ok(Taken::Files { files, table_is_named })
}

/// Claims what is wanted when no other job is in the way any more; the one that still is after about a lease is the inner
/// error. `made_by_others`: a table that the job in the way may make.
async fn claim_when_free(
    worker: &Worker,
    claim: &Claim,
    wanted: &mut Wanted,
    made_by_others: Option<&TableName>,
) -> Result<Result<Vec<FileLoad>, Box<FileLoad>>, Fault> {
    let (begun, mut pause) = (Instant::now(), FIRST_LOOK);
    let mut changes = worker.changes();
    loop {
        let by = match worker.store.claim_files(&claim.lease, wanted, SystemTime::now()).await? {
            Claimed::Files { loaded } => return Ok(Ok(loaded)),
            Claimed::Busy { by } => by,
        };
        if begun.elapsed() >= worker.config.job.lease {
            return Ok(Err(by));
        }
        tracing::debug!(by = %by.job_id, uri = by.file.uri, "waits for a job that loads the same file");
        tokio::select! {
            _ = changes.changed() => {}
            () = tokio::time::sleep(pause) => {}
        }
        pause = (pause * 2).min(LONGEST_PAUSE);
        if let Some(table) = made_by_others {
            wanted.table_uuid = worker.lake.table_uuid(table).await?;
        }
    }
}

/// Keeps other jobs off the rejects of some jobs until this one is over: replays, and redos of those jobs, which would
/// take the same rows or take them away. `all`: also every other replay of the table. The inner error: another job holds
/// them, and the attempt gives its slot back.
///
/// # Errors
/// `LeaseLost`; what the store says.
pub(crate) async fn hold_rejects(
    worker: &Worker,
    claim: &Claim,
    table: &TableName,
    keys: impl IntoIterator<Item = String>,
    all: bool,
) -> Result<Result<(), Fault>, Fault> {
    let mark = |what: &str| PlannedFile {
        uri: format!("rejects:{what}"),
        size_bytes: 0,
        // Claims are of one content: all of these are.
        etag: Some("rejects".to_owned()),
    };
    let files = all.then(|| mark("")).into_iter().chain(keys.into_iter().map(|key| mark(&key))).collect();
    let mut wanted = Wanted {
        table: table.to_string(),
        // What earlier jobs have held keeps nobody off.
        table_uuid: None,
        key: claim.job.key.clone(),
        generation: claim.job.generation,
        reload: false,
        files,
    };
    Ok(claim_when_free(worker, claim, &mut wanted, None).await?.map(drop).map_err(|by| {
        let message = format!("waits: the rejects in {table} are being replayed or replaced by {}", by.job_id);
        Fault::new(FaultKind::Unavailable, message)
    }))
}

/// The files with the reason for each that would be left out now, and the refusal of a job that wants none left out.
///
/// `key`: who would ask, and the generation; `None`: nobody in particular.
///
/// # Errors
/// What store and catalog say.
pub(crate) async fn plan(
    worker: &Worker,
    spec: &JobSpec,
    key: Option<(JobKey, u32)>,
    listed: Vec<PlannedFile>,
) -> Result<(Vec<ListedFile>, Option<Fault>), Fault> {
    let table_uuid = worker.lake.table_uuid(&spec.landing.table).await?;
    let wanted = wanted(spec, table_uuid, key, listed);
    let found = worker.store.loads_in_the_way(&wanted).await?;
    let found: HashMap<&str, &FileLoad> =
        if wanted.reload { HashMap::new() } else { found.iter().map(|load| (load.file.uri.as_str(), load)).collect() };
    let in_order = wanted.files.iter().filter_map(|file| found.get(file.uri.as_str()).copied());
    let refusal = refusal(spec, in_order.filter(|load| load.state == LoadState::Loaded));
    let skipped = |file: &PlannedFile| found.get(file.uri.as_str()).map(|load| why(load)).unwrap_or_default();
    let files = wanted.files.iter().map(|file| ListedFile { file: file.clone(), skipped: skipped(file) }).collect();
    Ok((files, refusal))
}

fn wanted(spec: &JobSpec, table_uuid: Option<String>, key: Option<(JobKey, u32)>, listed: Vec<PlannedFile>) -> Wanted {
    let nobody = || JobKey { dag_id: String::new(), run_id: String::new(), task_id: String::new(), map_index: -1 };
    let (key, generation) = key.unwrap_or_else(|| (nobody(), 0));
    let reload = spec.landing.on_loaded_file == OnLoadedFile::Reload;
    Wanted { table: spec.landing.table.to_string(), table_uuid, key, generation, reload, files: listed }
}

fn refusal<'a>(spec: &JobSpec, mut loaded: impl Iterator<Item = &'a FileLoad>) -> Option<Fault> {
    if spec.landing.on_loaded_file != OnLoadedFile::Fail {
        return None;
    }
    let load = loaded.next()?;
    let message = format!("{}: {}, and target.on_loaded_file is fail", load.file.uri, why(load));
    let hint = "leave the file out, or set target.on_loaded_file to skip or reload; `moulin files explain` tells more";
    Some(Fault::new(FaultKind::BadFile, message).with_hint(hint))
}

/// Why a file is left out, in words.
pub(crate) fn why(load: &FileLoad) -> String {
    let at = |time| humantime::format_rfc3339_seconds(time);
    match (load.state, load.snapshot_id) {
        (LoadState::Claimed, _) => format!("{} is being loaded into {} by {}", load.file.uri, load.table, load.job_id),
        (_, snapshot) => {
            let when = load.settled_at.map(|time| format!(" at {}", at(time))).unwrap_or_default();
            let snapshot = snapshot.map_or_else(|| "no row landed".to_owned(), |id| format!("snapshot {id}"));
            format!("loaded into {} already by {}{when} ({snapshot})", load.table, load.job_id)
        }
    }
}

/// Gives back the files that the reader left out because they are damaged: once repaired they may be loaded.
///
/// # Errors
/// `LeaseLost`; what the store says.
pub(crate) async fn release_damaged(worker: &Arc<Worker>, claim: &Claim, counters: &Counters) -> Result<(), Fault> {
    let damaged = counters.damaged_files();
    if damaged.is_empty() {
        return Ok(());
    }
    let reason = "the file is damaged, and source.on_bad_file is skip";
    Ok(worker.store.release_files(&claim.lease, &damaged, reason, SystemTime::now()).await?)
}
