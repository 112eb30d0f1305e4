//! `moulin plan`.

use std::path::Path;
use std::process::ExitCode;

use moulin_core::{Fault, JobSpec};

use super::spec_file::read_job;
use super::{say, show, to_json};
use crate::config::Config;
use crate::job::admit;
use crate::worker::Worker;

/// Prints what the job would do.
pub(crate) async fn plan(config: Config, path: &Path, json: bool) -> Result<ExitCode, Fault> {
    plan_spec(config, read_job(path)?, json).await
}

/// The same of a job that was read already.
pub(super) async fn plan_spec(config: Config, spec: JobSpec, json: bool) -> Result<ExitCode, Fault> {
    let worker = Worker::open(config, Some("plan".to_owned())).await?;
    let planned = admit::plan_anyway(&worker, &spec, None).await?;
    let plan = admit::with_shards(&worker, &spec, planned.plan).await?;
    let text = if json { to_json(&plan)? } else { show::plan(&plan) };
    say(&text);
    // Shown all the same: the plan is how one finds out what to change.
    planned.refused.map_or(Ok(ExitCode::SUCCESS), Err)
}
