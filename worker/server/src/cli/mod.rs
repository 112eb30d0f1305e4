//! The command line.

mod doctor;
mod jobs;
mod plan;
mod run;
mod serve;
mod show;

use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::{Parser, Subcommand};
use moulin_core::{Fault, FaultKind, JobSpec};

use crate::config::Config;

/// Lands files in Apache Iceberg tables: each input row exactly once, or with the reason why not.
#[derive(Debug, Parser)]
#[command(name = "moulin", version, after_help = AFTER_HELP, propagate_version = true)]
pub(crate) struct Args {
    /// Configuration file (TOML). The environment (`MOULIN_*`) wins over it; without it everything has a default.
    #[arg(long, short, global = true, env = "MOULIN_CONFIG", value_name = "FILE")]
    config: Option<PathBuf>,
    #[command(subcommand)]
    command: Command,
}

const AFTER_HELP: &str = "\
A first job, with nothing but a file:

  cat > job.yaml <<'END'
  source: {uris: [flights.csv.gz], format: {csv: {null_values: [NA]}}}
  transform: {sql: \"SELECT * FROM input WHERE origin <> 'EWR'\"}
  target: {table: bronze.flights, partition_by: [\"month(time_hour)\"]}
  END
  moulin plan job.yaml      # what it would do; changes nothing
  moulin run job.yaml       # does it, in this process

State, catalog and warehouse are in ./.moulin unless MOULIN_STATE_DIR says otherwise.
Exit codes: 0 ok, 1 the job failed, 2 wrong usage or a wrong job.";

#[derive(Debug, Subcommand)]
enum Command {
    /// Run a worker: takes jobs over gRPC and gives rows over Arrow Flight, on one port.
    Serve {
        /// Where to listen; port 0 picks a free one. Wins over the configuration.
        #[arg(long, value_name = "HOST:PORT")]
        listen: Option<String>,
    },
    /// Run one job in this process, with progress, and print its receipt.
    Run {
        /// The job (YAML or JSON): source, transform, target, on_bad_row, deadline.
        #[arg(value_name = "JOB.yaml")]
        job: PathBuf,
        /// Name of the work: a second run with the same key lands nothing twice. Default: a new key each time.
        #[arg(long)]
        key: Option<String>,
        /// Print the receipt as JSON and no progress.
        #[arg(long)]
        json: bool,
    },
    /// Say what a job would do: files, schema, table, partitions. Changes nothing.
    Plan {
        /// The job, as for `run`.
        #[arg(value_name = "JOB.yaml")]
        job: PathBuf,
        /// Print the plan as JSON.
        #[arg(long)]
        json: bool,
    },
    /// Show one job: how it stands, and its receipt or what went wrong.
    Get {
        /// The job's id, e.g. `job-0f3c...`.
        job: String,
        #[command(flatten)]
        from: From,
    },
    /// List jobs, newest first.
    List {
        /// How many at the most.
        #[arg(long, default_value_t = 20)]
        limit: u32,
        #[command(flatten)]
        from: From,
    },
    /// Cancel a job before its commit. A job that has committed stays committed.
    Cancel {
        /// The job's id.
        job: String,
        /// Why, for the job's record.
        #[arg(long, default_value = "cancelled by hand")]
        reason: String,
        #[command(flatten)]
        from: From,
    },
    /// Check configuration, job store, catalog and warehouse, and say what is wrong.
    Doctor,
}

/// Whom to ask.
#[derive(Debug, clap::Args)]
struct From {
    /// Ask a worker at this address. Default: read the job store of the configuration.
    #[arg(long, env = "MOULIN_ADDRESS", value_name = "HOST:PORT")]
    address: Option<String>,
    /// Print JSON.
    #[arg(long)]
    json: bool,
}

/// Runs a command.
///
/// # Errors
/// What went wrong, for standard error; [`exit_code`] says with which code to end.
pub(crate) fn run(args: Args) -> Result<ExitCode, Fault> {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
        .map_err(|e| Fault::new(FaultKind::Internal, format!("no threads: {e}")))?;
    let result = runtime.block_on(dispatch(args));
    // Threads that still read or encode for an aborted job are not waited for.
    runtime.shutdown_background();
    result
}

async fn dispatch(args: Args) -> Result<ExitCode, Fault> {
    if let Command::Doctor = args.command {
        return doctor::doctor(args.config.as_deref()).await;
    }
    let config = Config::load(args.config.as_deref())?;
    match args.command {
        Command::Serve { listen } => serve::serve(config, listen).await,
        Command::Run { job, key, json } => run::run(config, &job, key, json).await,
        Command::Plan { job, json } => plan::plan(config, &job, json).await,
        Command::Get { job, from } => jobs::get(config, job, &from).await,
        Command::List { limit, from } => jobs::list(config, limit, &from).await,
        Command::Cancel { job, reason, from } => jobs::cancel(config, job, reason, &from).await,
        Command::Doctor => unreachable!("handled above: it also reports a configuration that cannot be loaded"),
    }
}

/// The exit code of a failure: 2 for a wrong job or usage, 1 for everything else.
pub(crate) fn exit_code(fault: &Fault) -> ExitCode {
    match fault.kind {
        FaultKind::InvalidSpec | FaultKind::NotFound | FaultKind::Transform | FaultKind::SchemaMismatch => {
            ExitCode::from(2)
        }
        _ => ExitCode::FAILURE,
    }
}

/// Reads a job file. Relative paths in it are seen from the current folder.
fn read_job(path: &Path) -> Result<JobSpec, Fault> {
    let wrong = |what: String| {
        Fault::new(FaultKind::InvalidSpec, what)
            .with_hint("`moulin --help` shows a job; docs/specs.md lists every field")
    };
    let text = std::fs::read_to_string(path).map_err(|e| wrong(format!("cannot read {}: {e}", path.display())))?;
    let spec: JobSpec = serde_norway::from_str(&text).map_err(|e| wrong(format!("{}: {e}", path.display())))?;
    spec.validate()?;
    Ok(spec)
}

/// Prints to standard output. A reader that went away (`| head`) is no error.
fn say(text: &str) {
    let _ = writeln!(std::io::stdout().lock(), "{}", text.trim_end());
}

fn to_json<T: serde::Serialize>(value: &T) -> Result<String, Fault> {
    serde_json::to_string_pretty(value).map_err(|e| Fault::new(FaultKind::Internal, format!("cannot print JSON: {e}")))
}
