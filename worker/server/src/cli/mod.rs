//! The command line.

mod convert;
mod doctor;
mod files;
mod infer;
mod jobs;
mod orphans;
mod plan;
mod query;
mod rejects;
mod replay;
mod run;
mod serve;
mod show;
mod spec_file;

use std::io::Write as _;
use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Parser, Subcommand};
use moulin_core::{Fault, FaultKind, JobId};

pub(crate) use files::{Loads, pages as load_pages};
pub(crate) use rejects::Rejects;

use crate::config::Config;
use crate::remote::Reach;

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
  moulin infer flights.csv.gz   # what is in it, and why each column has its type
  moulin plan job.yaml          # what it would do; changes nothing
  moulin run job.yaml           # does it, in this process

State, catalog and warehouse are in ./.moulin unless MOULIN_STATE_DIR says otherwise.
Exit codes: 0 ok, 1 the job failed, 2 wrong usage or a wrong job.";

const CONVERT_HELP: &str = "\
Examples:

  moulin convert flights.csv.gz --to parquet -o flights.parquet
  moulin convert 'raw/*.csv' --spec job.yaml --to ndjson --rejects bad.ndjson > good.ndjson

The last line on standard error accounts for every row: read = written + rejected + filtered.
CSV is RFC 4180 with a header: a null is an empty field, an empty text is \"\"; bytes are base64, nested values JSON.
Exit codes: 0 also with rejected rows, when on_bad_row allows them; 1 and 2 with the reason otherwise, and no OUT.";

const INFER_HELP: &str = "\
Examples:

  moulin infer flights.csv.gz                       # what is in it, and why each type
  moulin infer flights.csv.gz --output yaml         # a `source` to paste into a job file, every column declared

Looked at are the first rows of the first file: `inference: {sample_rows: 10000, sample_bytes: 1048576}` in a --spec.";

const FILES_HELP: &str = "\
Examples:

  moulin files list bronze.flights                  # every file with its job, attempt, snapshot and time
  moulin files explain /data/flights.csv.gz         # why it was or was not taken";

const GET_HELP: &str = "\
Examples:

  moulin get job-0f3c... --rejects                  # with place, code, reason and the first bytes
  moulin get job-0f3c... --rejects bad.parquet      # all of them into a file";

#[derive(Debug, Subcommand)]
enum Command {
    /// Run a worker: takes jobs over gRPC and gives rows over Arrow Flight, on one port.
    Serve {
        /// Where to listen; port 0 picks a free one. Wins over the configuration.
        #[arg(long, value_name = "HOST:PORT")]
        listen: Option<String>,
        /// For programs of this machine: a free port of 127.0.0.1, no certificates and no tokens, whatever the
        /// configuration says.
        #[arg(long, conflicts_with = "listen")]
        local: bool,
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
    /// Say what a job would do: files, options, schema, table, partitions, what differs. Changes nothing.
    Plan {
        /// The job, as for `run`.
        #[arg(value_name = "JOB.yaml")]
        job: PathBuf,
        /// Print the plan as JSON.
        #[arg(long)]
        json: bool,
    },
    /// Convert files to CSV, NDJSON or Parquet, with every row accounted for. No table, no job store.
    #[command(after_help = CONVERT_HELP)]
    Convert(convert::Args),
    /// Say what files hold, column by column: types and why, nulls, smallest and largest values. Changes nothing.
    #[command(after_help = INFER_HELP)]
    Infer(infer::Args),
    /// Read the rejects of a table again with a corrected spec; what fits by now lands in the table.
    Replay(replay::Args),
    /// Run a SELECT over tables of the catalog and print its rows.
    Query(query::Args),
    /// Show one job: how it stands, and its receipt or what went wrong.
    #[command(after_help = GET_HELP)]
    Get {
        /// The job's id, e.g. `job-0f3c...`.
        job: String,
        /// Show the rejected rows of a job with `on_bad_row: quarantine`; with a FILE (.parquet, .csv, .ndjson), write
        /// them there, each with the bytes of its record.
        #[arg(long, value_name = "FILE", num_args = 0..=1)]
        #[allow(clippy::option_option, reason = "clap: no flag, the flag alone, the flag with a file")]
        rejects: Option<Option<PathBuf>>,
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
    /// Show which files a table was loaded with, and why a file was or was not taken.
    #[command(subcommand, after_help = FILES_HELP)]
    Files(Files),
    /// Show and remove data files of attempts that are over and that no table refers to.
    #[command(subcommand)]
    Orphans(Orphans),
    /// Check configuration, job store, catalog, warehouse and certificates, and say what is wrong.
    ///
    /// With --address: whether the worker there is reached with this certificate and token, and how its surroundings are.
    Doctor {
        #[command(flatten)]
        reach: Reach,
    },
}

#[derive(Debug, Subcommand)]
enum Orphans {
    /// The files: `dead` ones can be removed, those that are `unknown` may still be committed.
    List,
    /// Remove the dead ones now; workers do so by themselves at their start and every ten minutes.
    Remove {
        /// Only say which.
        #[arg(long)]
        dry_run: bool,
    },
}

#[derive(Debug, Subcommand)]
enum Files {
    /// The files of a table: loaded, being loaded, given back.
    List {
        /// `namespace.table`.
        table: String,
        #[command(flatten)]
        from: From,
    },
    /// Why one file was or was not taken: by which job and attempt, into which snapshot, when.
    Explain {
        /// The file, as a job names it.
        uri: String,
        /// Only loads into this table, `namespace.table`.
        #[arg(long)]
        table: Option<String>,
        #[command(flatten)]
        from: From,
    },
}

/// Whom to ask.
#[derive(Debug, clap::Args)]
struct From {
    /// Print JSON.
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    reach: Reach,
}

/// Runs a command.
///
/// # Errors
/// What went wrong, for standard error; [`exit_code`] says with which code to end.
pub(crate) fn run(args: Args) -> Result<ExitCode, Fault> {
    // A configuration that is wrong is told about by whoever uses it.
    let limits = Config::load(args.config.as_deref()).map(|config| config.job).unwrap_or_default();
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .max_blocking_threads(limits.blocking_threads())
        .enable_all()
        .build()
        .map_err(|e| Fault::new(FaultKind::Internal, format!("no threads: {e}")))?;
    let result = runtime.block_on(dispatch(args));
    // Threads that still read or encode for an aborted job are not waited for.
    runtime.shutdown_background();
    result
}

async fn dispatch(args: Args) -> Result<ExitCode, Fault> {
    if let Command::Doctor { reach } = &args.command {
        return doctor::doctor(args.config.as_deref(), reach).await;
    }
    let config = Config::load(args.config.as_deref())?;
    match args.command {
        Command::Serve { local: true, .. } => serve::serve(config.local(), None).await,
        Command::Serve { listen, .. } => serve::serve(config, listen).await,
        Command::Run { job, key, json } => run::run(config, &job, key, json).await,
        Command::Plan { job, json } => plan::plan(config, &job, json).await,
        Command::Convert(args) => convert::convert(config, args).await,
        Command::Infer(args) => infer::infer(config, args).await,
        Command::Replay(args) => replay::replay(config, args).await,
        Command::Query(args) => query::query(config, args).await,
        Command::Get { job, rejects: Some(to), from } => rejects::rejects(config, JobId(job), to, &from).await,
        Command::Get { job, rejects: None, from } => jobs::get(config, job, &from).await,
        Command::List { limit, from } => jobs::list(config, limit, &from).await,
        Command::Cancel { job, reason, from } => jobs::cancel(config, job, reason, &from).await,
        Command::Files(Files::List { table, from }) => files::list(config, table, &from).await,
        Command::Files(Files::Explain { uri, table, from }) => files::explain(config, uri, table, &from).await,
        Command::Orphans(Orphans::List) => orphans::list(config).await,
        Command::Orphans(Orphans::Remove { dry_run }) => orphans::remove(config, dry_run).await,
        Command::Doctor { .. } => unreachable!("handled above: it also reports a configuration that cannot be loaded"),
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

/// Prints to standard output. A reader that went away (`| head`) is no error.
fn say(text: &str) {
    let _ = writeln!(std::io::stdout().lock(), "{}", text.trim_end());
}

fn to_json<T: serde::Serialize>(value: &T) -> Result<String, Fault> {
    serde_json::to_string_pretty(value).map_err(|e| Fault::new(FaultKind::Internal, format!("cannot print JSON: {e}")))
}
