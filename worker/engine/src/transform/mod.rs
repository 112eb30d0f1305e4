//! SQL or a Polars plan over the batches of a job.
//!
//! [`prepare`] checks and plans against the input's schema, so that what can be known to be wrong is known before
//! a row is read; [`Prepared::apply`] runs it. Rows stream through: a row-wise transform holds a few batches, SQL
//! that groups or sorts spills to disk, a Polars plan that does gathers its input in memory up to the job's limit.
//! Whatever the engines make is cast to types Iceberg has ([`moulin_read::iceberg_type_name`] names them).
//!
//! It refuses to read anything but the job's inputs and to call Python.

mod bridge;
mod input;
mod microseconds;
mod output;
mod polars;
mod sql;
mod stage;
mod wanted;

use std::path::PathBuf;
use std::sync::Arc;

use arrow::datatypes::SchemaRef;
use futures::StreamExt;
use moulin_core::{Counters, Nanoseconds, Transform};

use crate::{BatchStream, Error};

pub(crate) use sql::{one_select, sql_config};

pub use input::{Input, Rows, ScanRows, Scanned, Wanted};
pub use sql::RowCondition;
pub use wanted::GivenWanted;

/// What a transform may use.
#[derive(Debug, Clone)]
pub struct TransformOptions {
    /// Memory for rows that a transform must hold at once (groups, sorts, joins); row-wise work does not count.
    pub memory_bytes: u64,
    /// Directory for rows that do not fit; made when absent. Polars plans do not spill.
    pub spill_dir: PathBuf,
    /// Threads of the job. SQL and row-wise plans use one of them, so that rows keep their order and the reader
    /// and the landing have the rest; Polars' own pool is as large as `POLARS_MAX_THREADS` says.
    pub threads: usize,
    /// What becomes of moments that are not whole microseconds in rows that a Polars plan is given.
    pub nanoseconds: Nanoseconds,
}

/// A transform that was checked and planned for one input schema.
pub struct Prepared {
    /// Of the rows that are given, when there are such.
    input: Option<SchemaRef>,
    output: SchemaRef,
    row_wise: bool,
    plan: Plan,
}

enum Plan {
    Identity,
    /// The rows of a table as they are.
    Whole(SchemaRef, Scanned),
    Sql(Box<sql::SqlPlan>),
    Polars(Box<polars::PolarsPlan>, Option<Rounding>),
}

/// The given rows of a plan that was made for microseconds.
struct Rounding {
    schema: SchemaRef,
    nanoseconds: Nanoseconds,
}

/// Checks and plans a transform of rows of schema `input`, which SQL knows as the table `input`. `None` hands rows on as
/// they are.
///
/// # Errors
/// `TransformInvalid` for what the user can correct (an unknown column or table, wrong SQL), `TransformRefused`
/// for what no worker runs (Python functions, scans, another Polars' plan, several statements).
pub async fn prepare(
    transform: Option<&Transform>,
    input: &SchemaRef,
    options: TransformOptions,
) -> Result<Prepared, Error> {
    prepare_inputs(transform, vec![Input::given("input", Arc::clone(input))], options).await
}

/// Checks and plans a transform of one or several inputs; without one there is one input, whose rows are handed on.
///
/// # Errors
/// As [`prepare`]; also for an input that the transform does not read, and a frame of a Polars plan that may be one of
/// several inputs.
pub async fn prepare_inputs(
    transform: Option<&Transform>,
    inputs: Vec<Input>,
    options: TransformOptions,
) -> Result<Prepared, Error> {
    let input = inputs.iter().find(|input| input.is_given()).map(|input| Arc::clone(&input.schema));
    match transform {
        None => match inputs.as_slice() {
            [Input { schema, rows: Rows::Given, .. }] => {
                Ok(Prepared { input, output: Arc::clone(schema), row_wise: true, plan: Plan::Identity })
            }
            [Input { schema, rows: Rows::Scanned(rows), .. }] => {
                let plan = Plan::Whole(Arc::clone(schema), rows.clone());
                Ok(Prepared { input, output: Arc::clone(schema), row_wise: true, plan })
            }
            _ => Err(Error::TransformInvalid("several inputs need a transform".to_owned())),
        },
        Some(Transform::Sql(query)) => {
            let query = query.clone();
            let plan = stage::off_the_async_threads("moulin-plan-sql", move || sql::prepare(&query, &inputs, &options))
                .await?;
            Ok(Prepared {
                input,
                output: Arc::clone(plan.output()),
                row_wise: plan.row_wise(),
                plan: Plan::Sql(Box::new(plan)),
            })
        }
        Some(Transform::Polars { plan, polars_version }) => {
            let (bytes, client) = (plan.clone(), polars_version.clone());
            let mut inputs = inputs;
            let rounding = rounding(&mut inputs, options.nanoseconds);
            let plan = stage::off_the_async_threads("moulin-plan-polars", move || {
                polars::prepare(&bytes, &client, &inputs, options.memory_bytes)
            })
            .await?;
            Ok(Prepared {
                input,
                output: Arc::clone(plan.output()),
                row_wise: plan.row_wise(),
                plan: Plan::Polars(Box::new(plan), rounding),
            })
        }
    }
}

/// Has the given rows in microseconds, if they are not.
fn rounding(inputs: &mut [Input], nanoseconds: Nanoseconds) -> Option<Rounding> {
    let given = inputs.iter_mut().find(|input| input.is_given())?;
    let schema = microseconds::schema(&given.schema)?;
    given.schema = Arc::clone(&schema);
    Some(Rounding { schema, nanoseconds })
}

impl Prepared {
    /// The schema of the rows that come out.
    #[must_use]
    pub fn output(&self) -> &SchemaRef {
        &self.output
    }

    /// Whether every row that comes out is one row that went in, so that the difference was filtered out.
    ///
    /// It also means constant memory. A transform that sorts, limits, groups, joins or unnests says no.
    #[must_use]
    pub fn row_wise(&self) -> bool {
        self.row_wise
    }

    /// What of the rows that are given the transform looks at; without a transform everything.
    #[must_use]
    pub fn wanted(&self) -> GivenWanted {
        match &self.plan {
            Plan::Identity | Plan::Whole(..) => GivenWanted::default(),
            Plan::Sql(plan) => plan.wanted(),
            Plan::Polars(plan, rounding) => match (&self.input, rounding) {
                (Some(given), Some(rounding)) => microseconds::wanted(plan.wanted(), given, &rounding.schema),
                _ => plan.wanted(),
            },
        }
    }

    /// Runs the transform over `input`, whose batches have the schema it was prepared for, or those of its columns that
    /// are [`wanted`](Self::wanted); an empty stream when no input's rows are given. Inputs that are scanned are read as
    /// the transform needs them.
    ///
    /// Counts `rows_in` (of the given rows), `rows_out` and the transform's busy time; also without a transform. Needs a tokio runtime
    /// when the stream is first polled.
    ///
    /// # Cancel safety
    /// Dropping the stream stops the transform after the batch it is at, and the input above it at once.
    #[must_use]
    pub fn apply(self, input: BatchStream, counters: Arc<Counters>) -> BatchStream {
        let input = match self.input {
            Some(schema) => wanted::widened(input, schema),
            None => input,
        };
        match self.plan {
            Plan::Identity => Box::pin(input.inspect(move |item| {
                if let Ok(batch) = item {
                    Counters::add(&counters.rows_in, batch.num_rows() as u64);
                    Counters::add(&counters.rows_out, batch.num_rows() as u64);
                }
            })),
            Plan::Whole(schema, rows) => Box::pin(rows.all(&schema).inspect(move |item| {
                if let Ok(batch) = item {
                    Counters::add(&counters.rows_out, batch.num_rows() as u64);
                }
            })),
            Plan::Sql(plan) => {
                let busy = Arc::clone(&counters);
                stage::run("moulin-sql", input, counters, move |inlet, outlet| plan.run(inlet, &outlet, &busy))
            }
            Plan::Polars(plan, rounding) => {
                let busy = Arc::clone(&counters);
                let input = match rounding {
                    Some(rounding) => microseconds::batches(input, rounding.schema, rounding.nanoseconds),
                    None => input,
                };
                stage::run("moulin-polars", input, counters, move |inlet, outlet| plan.run(inlet, &outlet, &busy))
            }
        }
    }
}

impl std::fmt::Debug for Prepared {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let engine = match self.plan {
            Plan::Identity | Plan::Whole(..) => "none",
            Plan::Sql(_) => "sql",
            Plan::Polars(..) => "polars",
        };
        f.debug_struct("Prepared")
            .field("engine", &engine)
            .field("row_wise", &self.row_wise)
            .field("output", &self.output)
            .finish_non_exhaustive()
    }
}

/// The engines of this worker.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Versions {
    /// The crate `polars`.
    pub polars: &'static str,
    /// The Python Polars whose plans it reads: the two share their plan format with no other pair.
    pub python_polars: &'static str,
    /// The crate `datafusion`.
    pub datafusion: &'static str,
}

/// The engines of this worker.
#[must_use]
pub fn versions() -> Versions {
    Versions { polars: ::polars::VERSION, python_polars: "1.41.2", datafusion: datafusion::DATAFUSION_VERSION }
}

#[cfg(test)]
mod tests;
