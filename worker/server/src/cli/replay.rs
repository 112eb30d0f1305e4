//! `moulin replay`: the rejects of a table, read again with a corrected spec.

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use moulin_core::{Fault, FaultKind, JobSpec};
use serde_json::{Map, Value, json};

use super::{plan, run, spec_file};
use crate::config::Config;

const HELP: &str = "\
Examples:

  moulin replay bronze.flights --spec job.yaml --plan    # how many rejects it would take; changes nothing
  moulin replay bronze.flights --spec job.yaml           # the rows that fit by now land in bronze.flights
  moulin replay bronze.flights --spec job.yaml --where \"code = 'type.int' AND landed_at > now() - interval '7 days'\"

The rejects are in bronze.flights__rejects. What the replay has taken is marked there (replayed_by, replayed_at); what
still does not fit is a reject again, at the place it has had from the first. Rejects whose bytes were not all kept, and
those of Parquet files, are left as they are and counted: load their files again with `on_loaded_file: reload`.";

#[derive(Debug, clap::Args)]
#[command(after_help = HELP)]
pub(crate) struct Args {
    /// The table whose rejects are read, `namespace.table`; rows land in it.
    #[arg(value_name = "TABLE")]
    table: String,
    /// The job that rejected the rows, corrected, or only what stands under its `source` (YAML or JSON). Its uris are not
    /// looked at; columns that it does not declare have the types that the job found.
    #[arg(long, value_name = "FILE")]
    spec: PathBuf,
    /// Only rejects that meet this SQL condition over the columns of `TABLE__rejects`. Default: all that no replay has taken.
    #[arg(long = "where", value_name = "CONDITION")]
    condition: Option<String>,
    /// Only say what would be taken, with which columns.
    #[arg(long)]
    plan: bool,
    /// Name of the work: a second replay with the same key lands nothing twice. Default: a new key each time.
    #[arg(long)]
    key: Option<String>,
    /// Print the receipt, or the plan, as JSON and no progress.
    #[arg(long)]
    json: bool,
}

/// Replays, or says what that would do.
pub(crate) async fn replay(config: Config, args: Args) -> Result<ExitCode, Fault> {
    let spec = spec(&args.spec, &args.table, args.condition)?;
    if args.plan {
        return plan::plan_spec(config, spec, args.json).await;
    }
    Box::pin(run::run_spec(config, spec, "replay", args.key, args.json)).await
}

/// The job that a file describes, as one that reads rejects.
fn spec(path: &Path, table: &str, condition: Option<String>) -> Result<JobSpec, Fault> {
    let wrong = |what: String| {
        Fault::new(FaultKind::InvalidSpec, format!("{}: {what}", path.display()))
            .with_hint("give the job that rejected the rows, corrected; docs/specs.md lists every field")
    };
    let Value::Object(mut job) = spec_file::read_value(path)? else {
        return Err(wrong("expected a job or a source".to_owned()));
    };
    if !job.contains_key("source") {
        job = Map::from_iter([("source".to_owned(), Value::Object(job))]);
    }
    if let Some(source) = job.get_mut("source").and_then(Value::as_object_mut) {
        spec_file::complete(source, &[])?;
        source.remove("uris");
    }
    let target = job.entry("target").or_insert_with(|| json!({"table": table}));
    let named = target.get("table").and_then(Value::as_str).unwrap_or_default().to_owned();
    if named != table {
        return Err(wrong(format!("its target is {named}, and the rejects to be replayed are those of {table}")));
    }
    job.entry("on_bad_row").or_insert_with(|| json!("quarantine"));
    let replay = job.entry("replay").or_insert_with(|| json!({}));
    if let (Some(condition), Some(replay)) = (condition, replay.as_object_mut()) {
        replay.insert("where".to_owned(), condition.into());
    }
    let spec: JobSpec = spec_file::from_value(Value::Object(job)).map_err(wrong)?;
    spec.validate()?;
    Ok(spec)
}

#[cfg(test)]
mod tests {
    use super::*;
    use moulin_core::OnBadRow;

    fn read(text: &str) -> Result<JobSpec, Fault> {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("s.yaml");
        std::fs::write(&path, text).unwrap();
        spec(&path, "a.b", Some("code = 'type.int'".to_owned()))
    }

    #[test]
    fn a_job_becomes_a_replay_of_its_rejects() {
        let job = read("source: {uris: [x.csv], format: csv}\ntarget: {table: a.b}\non_bad_row: fail\n").unwrap();
        assert_eq!(job.replay.unwrap().condition.as_deref(), Some("code = 'type.int'"));
        assert_eq!((job.source.unwrap().uris, job.on_bad_row), (Vec::new(), OnBadRow::Fail));
    }

    #[test]
    fn a_source_alone_says_how_rejects_are_read() {
        let job = read("uris: [x.jsonl]\n").unwrap();
        assert_eq!((job.source.unwrap().format.name(), job.on_bad_row), ("ndjson", OnBadRow::Quarantine));
        assert_eq!(job.landing.table.to_string(), "a.b");
    }

    #[test]
    fn a_job_of_another_table_is_refused() {
        let message = read("source: {format: csv}\ntarget: {table: a.c}\n").unwrap_err().message;
        assert!(message.contains("its target is a.c"), "{message}");
        let skip = read("source: {format: csv}\non_bad_row: skip\n").unwrap_err().message;
        assert!(skip.contains("gone for good"), "{skip}");
    }
}
