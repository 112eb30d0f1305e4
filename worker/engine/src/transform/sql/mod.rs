//! One SELECT over the inputs of a job, planned and run by DataFusion.
//!
//! Identifiers keep their case, quoted or not: a CSV header `Dep_Delay` is the column `Dep_Delay`, and another
//! spelling is an error that says so. Only the table's own name may be written in any case.

mod condition;
mod conditions;
mod run;
mod scan;
mod table;
mod wanted;
mod words;

use std::collections::HashSet;
use std::path::Path;
use std::sync::Arc;

use arrow::datatypes::{Schema, SchemaRef};
use chrono::SubsecRound as _;
use datafusion::catalog::{CatalogProvider, MemoryCatalogProvider, MemorySchemaProvider};
use datafusion::common::tree_node::TreeNodeRecursion;
use datafusion::common::{ResolvedTableReference, TableReference};
use datafusion::execution::TaskContext;
use datafusion::execution::disk_manager::{DiskManagerBuilder, DiskManagerMode};
use datafusion::execution::memory_pool::FairSpillPool;
use datafusion::execution::runtime_env::RuntimeEnvBuilder;
use datafusion::logical_expr::LogicalPlan;
use datafusion::physical_plan::ExecutionPlan;
use datafusion::prelude::{SQLOptions, SessionConfig, SessionContext};
use datafusion::sql::parser::{DFParserBuilder, Statement};
use datafusion::sql::sqlparser::ast::Statement as SqlStatement;
use datafusion::sql::sqlparser::dialect::GenericDialect;
use datafusion::sql::sqlparser::keywords::Keyword;
use datafusion::sql::sqlparser::tokenizer::{Token, Tokenizer};

pub use self::condition::RowCondition;
use self::scan::ScannedTable;
use self::table::{Failure, InputTable};
use super::TransformOptions;
use super::input::{Input, Rows, names};
use super::output::Output;
use super::wanted::GivenWanted;
use crate::Error;

/// Rows DataFusion puts in a batch it makes itself, at the most.
const BATCH_ROWS: usize = 8 * 1024;

/// For each of them the job has this much memory: merging what was spilled holds some batches at once.
const BYTES_FOR_A_ROW: usize = 16 * 1024;

/// Operators a query may hold: the planner recurses into every one of a chain, on a stack that ends.
const OPERATORS: usize = 10_000;

/// A planned SELECT.
pub(crate) struct SqlPlan {
    plan: Arc<dyn ExecutionPlan>,
    context: Arc<TaskContext>,
    /// The rows that are given when the plan runs.
    input: Option<Arc<InputTable>>,
    /// How often the plan reads them.
    scans: usize,
    failure: Failure,
    row_wise: bool,
    wanted: GivenWanted,
    output: Output,
    memory_bytes: u64,
}

impl SqlPlan {
    pub(crate) fn wanted(&self) -> GivenWanted {
        self.wanted.clone()
    }

    pub(crate) fn output(&self) -> &SchemaRef {
        self.output.schema()
    }

    pub(crate) fn row_wise(&self) -> bool {
        self.row_wise
    }
}

/// Plans `query` for these inputs. Blocks; call it off the async threads.
pub(crate) fn prepare(query: &str, inputs: &[Input], options: &TransformOptions) -> Result<SqlPlan, Error> {
    let runtime = run::runtime()?;
    runtime.block_on(plan(query, inputs, options))
}

async fn plan(query: &str, inputs: &[Input], options: &TransformOptions) -> Result<SqlPlan, Error> {
    let statement = one_select(query)?;
    let session = session(options, inputs)?;
    let mut state = session.state();
    // What `now()` answers lands as it is, and tables hold no more than microseconds.
    let now = &mut state.execution_props_mut().query_execution_start_time;
    *now = now.map(|now| now.trunc_subsecs(6));
    let failure = Failure::default();
    let mut given = None;
    let mut named = HashSet::new();
    for reference in
        state.resolve_table_references(&statement).map_err(|e| words::planning(&e, &all_columns(inputs)))?
    {
        let Some((at, input)) = inputs.iter().enumerate().find(|(_, input)| is_named(input, &reference)) else {
            let what = if inputs.len() == 1 { "the job's rows are the table" } else { "the job's inputs are" };
            return Err(Error::TransformInvalid(format!("no table `{reference}`; {what} {}", names(inputs))));
        };
        let schema = Arc::clone(&input.schema);
        let provider = match &input.rows {
            Rows::Given => {
                let table = given.get_or_insert_with(|| Arc::new(InputTable::new(schema, failure.clone())));
                table.provider()?
            }
            Rows::Scanned(rows) => Arc::new(ScannedTable::new(schema, rows.clone(), failure.clone())) as _,
        };
        make_room(&session, &reference)?;
        session.register_table(reference, provider).map_err(|e| words::planning(&e, &input.schema))?;
        named.insert(at);
    }
    let columns = all_columns(inputs);
    let logical = state.statement_to_plan(statement).await.map_err(|e| words::planning(&e, &columns))?;
    let only_reads = SQLOptions::new().with_allow_ddl(false).with_allow_dml(false).with_allow_statements(false);
    only_reads.verify_plan(&logical).map_err(|_| not_a_select("something else"))?;
    if let Some(unread) = inputs.iter().enumerate().find(|(at, _)| !named.contains(at)).map(|(_, input)| input)
        && !inputs.is_empty()
    {
        return Err(Error::TransformInvalid(format!("the SELECT does not read the table `{}`", unread.name)));
    }
    let optimized = state.optimize(&logical).map_err(|e| words::planning(&e, &columns))?;
    let (scans, of_given) = count_scans(&optimized, inputs);
    let row_wise = scans <= 1 && is_row_wise(&optimized);
    let wanted = wanted::wanted(&optimized, inputs);
    let plan = state.query_planner().create_physical_plan(&optimized, &state).await;
    let plan = plan.map_err(|e| words::planning(&e, &columns))?;
    let output = Output::of(&plan.schema())?;
    Ok(SqlPlan {
        plan,
        context: session.task_ctx(),
        input: given,
        scans: of_given,
        failure,
        row_wise,
        wanted,
        output,
        memory_bytes: options.memory_bytes,
    })
}

/// Whether a name in the SELECT means this input. The name of a table in a catalog is written as it is there; only a name
/// of the job's own may be written in any case.
fn is_named(input: &Input, reference: &TableReference) -> bool {
    match reference {
        TableReference::Bare { table } => table.eq_ignore_ascii_case(&input.name),
        TableReference::Partial { schema, table } => input.name == format!("{schema}.{table}"),
        TableReference::Full { catalog, schema, table } => input.name == format!("{catalog}.{schema}.{table}"),
    }
}

/// Makes the catalog and the schema that a name begins with.
fn make_room(session: &SessionContext, reference: &TableReference) -> Result<(), Error> {
    let defaults = session.state();
    let defaults = &defaults.config_options().catalog;
    let ResolvedTableReference { catalog, schema, .. } =
        reference.clone().resolve(&defaults.default_catalog, &defaults.default_schema);
    let broken = |e: datafusion::common::DataFusionError| Error::Internal(e.strip_backtrace());
    let provider = session.catalog(&catalog).unwrap_or_else(|| {
        let made: Arc<dyn CatalogProvider> = Arc::new(MemoryCatalogProvider::new());
        session.register_catalog(catalog.as_ref(), Arc::clone(&made));
        made
    });
    if provider.schema(&schema).is_none() {
        provider.register_schema(&schema, Arc::new(MemorySchemaProvider::new())).map_err(broken)?;
    }
    Ok(())
}

/// The columns of all inputs, for errors that list them.
fn all_columns(inputs: &[Input]) -> Schema {
    Schema::new(inputs.iter().flat_map(|input| input.schema.fields().iter().cloned()).collect::<Vec<_>>())
}

/// Whether all tables but the largest fit into memory, so that joins may hold one side there. Joins that sort spill.
fn joins_fit(inputs: &[Input], memory_bytes: u64) -> bool {
    // Stored rows are compressed, a hash table is larger than its rows.
    const GROWTH: u64 = 8;
    let sizes: Option<Vec<u64>> = inputs
        .iter()
        .map(|input| match &input.rows {
            Rows::Given => None,
            Rows::Scanned(rows) => rows.bytes,
        })
        .collect();
    let Some(sizes) = sizes else { return true };
    let largest = sizes.iter().max().copied().unwrap_or(0);
    let others = sizes.iter().sum::<u64>() - largest;
    others.saturating_mul(GROWTH) < memory_bytes / 2
}

/// How SQL is read: identifiers keep their case, errors know their place.
pub(crate) fn sql_config() -> SessionConfig {
    let mut config = SessionConfig::new();
    let parser = &mut config.options_mut().sql_parser;
    parser.enable_ident_normalization = false;
    parser.map_string_types_to_utf8view = false;
    parser.collect_spans = true;
    config
}

fn session(options: &TransformOptions, inputs: &[Input]) -> Result<SessionContext, Error> {
    let memory_bytes = usize::try_from(options.memory_bytes).unwrap_or(usize::MAX);
    let batch_rows = (memory_bytes / BYTES_FOR_A_ROW).clamp(256, BATCH_ROWS);
    let mut config = sql_config().with_target_partitions(1).with_batch_size(batch_rows);
    config.options_mut().optimizer.prefer_hash_join = joins_fit(inputs, options.memory_bytes);
    // A sort keeps this much back to merge what it spilled; its default of 10 MiB is more than a small job has.
    let execution = &mut config.options_mut().execution;
    execution.sort_spill_reservation_bytes = execution.sort_spill_reservation_bytes.min(memory_bytes / 8);
    let runtime = RuntimeEnvBuilder::new()
        .with_memory_pool(Arc::new(FairSpillPool::new(memory_bytes)))
        .with_disk_manager_builder(spill_to(&options.spill_dir)?)
        .build_arc()
        .map_err(|error| Error::Internal(format!("sql cannot be set up: {}", error.strip_backtrace())))?;
    Ok(SessionContext::new_with_config_rt(config, runtime))
}

fn spill_to(dir: &Path) -> Result<DiskManagerBuilder, Error> {
    std::fs::create_dir_all(dir)
        .map_err(|e| Error::Internal(format!("cannot make the spill directory {}: {e}", dir.display())))?;
    Ok(DiskManagerBuilder::default().with_mode(DiskManagerMode::Directories(vec![dir.to_owned()])))
}

pub(crate) fn one_select(query: &str) -> Result<Statement, Error> {
    if operators(query) > OPERATORS {
        return Err(Error::TransformRefused(format!(
            "transform.sql holds more than {OPERATORS} operators; put long lists of values into IN (...)"
        )));
    }
    let parsed = DFParserBuilder::new(query).build().and_then(|mut parser| parser.parse_statements());
    let mut statements = parsed.map_err(|error| words::parsing(&error))?;
    if statements.len() > 1 {
        return Err(Error::TransformRefused(format!(
            "transform.sql holds {} statements; write one SELECT (WITH ... SELECT puts several steps into one)",
            statements.len()
        )));
    }
    let Some(statement) = statements.pop_front() else {
        return Err(Error::TransformInvalid("transform.sql is empty: write a SELECT over the job's inputs".to_owned()));
    };
    match &statement {
        Statement::Statement(sql) if matches!(sql.as_ref(), SqlStatement::Query(_)) => Ok(statement),
        other => {
            let text = other.to_string();
            Err(not_a_select(text.split_whitespace().next().unwrap_or("something else")))
        }
    }
}

/// The operators in `query` that make its plan deeper. Text that is no SQL is left to the parser.
fn operators(query: &str) -> usize {
    let deepens = |token: &Token| match token {
        Token::Plus
        | Token::Minus
        | Token::Mul
        | Token::Div
        | Token::Mod
        | Token::StringConcat
        | Token::DoubleColon => true,
        Token::Eq | Token::DoubleEq | Token::Neq | Token::Lt | Token::Gt | Token::LtEq | Token::GtEq => true,
        Token::Word(word) => {
            let chains =
                [Keyword::AND, Keyword::OR, Keyword::UNION, Keyword::EXCEPT, Keyword::INTERSECT, Keyword::JOIN];
            chains.contains(&word.keyword)
        }
        _ => false,
    };
    let tokens = Tokenizer::new(&GenericDialect {}, query).tokenize().unwrap_or_default();
    tokens.iter().filter(|token| deepens(token)).count()
}

fn not_a_select(found: &str) -> Error {
    Error::TransformRefused(format!(
        "transform.sql may only be a SELECT over the job's inputs, and this is {found}; where rows land is the job's target"
    ))
}

/// Scans of the plan, and those of the input whose rows are given.
fn count_scans(plan: &LogicalPlan, inputs: &[Input]) -> (usize, usize) {
    let (mut scans, mut of_given) = (0, 0);
    let is_given = |name: &TableReference| inputs.iter().any(|input| input.is_given() && is_named(input, name));
    // The closure never fails, so neither does the walk.
    let _ = plan.apply_with_subqueries(|node| {
        if let LogicalPlan::TableScan(scan) = node {
            scans += 1;
            of_given += usize::from(is_given(&scan.table_name));
        }
        Ok(TreeNodeRecursion::Continue)
    });
    (scans, of_given)
}

/// Whether rows are only chosen and reshaped, one by one.
fn is_row_wise(plan: &LogicalPlan) -> bool {
    match plan {
        LogicalPlan::Projection(node) => is_row_wise(&node.input),
        LogicalPlan::Filter(node) => is_row_wise(&node.input),
        LogicalPlan::SubqueryAlias(node) => is_row_wise(&node.input),
        LogicalPlan::TableScan(scan) => scan.fetch.is_none(),
        // What is left of `WHERE false`.
        LogicalPlan::EmptyRelation(node) => !node.produce_one_row,
        _ => false,
    }
}
