//! One SELECT over the table `input`, planned and run by DataFusion.
//!
//! Identifiers keep their case, quoted or not: a CSV header `Dep_Delay` is the column `Dep_Delay`, and another
//! spelling is an error that says so. Only the table's own name may be written in any case.

mod run;
mod table;
mod words;

use std::path::Path;
use std::sync::Arc;

use arrow::datatypes::SchemaRef;
use datafusion::common::tree_node::TreeNodeRecursion;
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

use self::table::InputTable;
use super::TransformOptions;
use super::output::Output;
use crate::Error;

/// Rows DataFusion puts in a batch it makes itself, at the most.
const BATCH_ROWS: usize = 8 * 1024;

/// For each of them the job has this much memory: merging what was spilled holds some batches at once.
const BYTES_FOR_A_ROW: usize = 16 * 1024;

/// Operators a query may hold: the planner recurses into every one of a chain, on a stack that ends.
const OPERATORS: usize = 10_000;

/// The rows of the job.
const TABLE: &str = "input";

/// A planned SELECT.
pub(crate) struct SqlPlan {
    plan: Arc<dyn ExecutionPlan>,
    context: Arc<TaskContext>,
    input: Arc<InputTable>,
    /// How often the plan reads its input.
    scans: usize,
    row_wise: bool,
    output: Output,
    memory_bytes: u64,
}

impl SqlPlan {
    pub(crate) fn output(&self) -> &SchemaRef {
        self.output.schema()
    }

    pub(crate) fn row_wise(&self) -> bool {
        self.row_wise
    }
}

/// Plans `query` for rows of schema `schema`. Blocks; call it off the async threads.
pub(crate) fn prepare(query: &str, schema: &SchemaRef, options: &TransformOptions) -> Result<SqlPlan, Error> {
    let runtime = run::runtime()?;
    runtime.block_on(plan(query, schema, options))
}

async fn plan(query: &str, schema: &SchemaRef, options: &TransformOptions) -> Result<SqlPlan, Error> {
    let statement = one_select(query)?;
    let session = session(options)?;
    let state = session.state();
    let input = Arc::new(InputTable::new(Arc::clone(schema)));
    for table in state.resolve_table_references(&statement).map_err(|e| words::planning(&e, schema))? {
        if table.schema().is_some() || !table.table().eq_ignore_ascii_case(TABLE) {
            return Err(Error::TransformInvalid(format!("no table `{table}`; the job's rows are the table `{TABLE}`")));
        }
        session.register_table(table, input.provider()?).map_err(|e| words::planning(&e, schema))?;
    }

    let logical = state.statement_to_plan(statement).await.map_err(|e| words::planning(&e, schema))?;
    let only_reads = SQLOptions::new().with_allow_ddl(false).with_allow_dml(false).with_allow_statements(false);
    only_reads.verify_plan(&logical).map_err(|_| not_a_select("something else"))?;
    if count_scans(&logical) == 0 {
        return Err(Error::TransformInvalid(format!("the SELECT does not read the table `{TABLE}`")));
    }
    let optimized = state.optimize(&logical).map_err(|e| words::planning(&e, schema))?;
    let scans = count_scans(&optimized);
    let row_wise = scans <= 1 && is_row_wise(&optimized);
    let plan = state.query_planner().create_physical_plan(&optimized, &state).await;
    let plan = plan.map_err(|e| words::planning(&e, schema))?;
    let output = Output::of(&plan.schema())?;
    Ok(SqlPlan {
        plan,
        context: session.task_ctx(),
        input,
        scans,
        row_wise,
        output,
        memory_bytes: options.memory_bytes,
    })
}

fn session(options: &TransformOptions) -> Result<SessionContext, Error> {
    let memory_bytes = usize::try_from(options.memory_bytes).unwrap_or(usize::MAX);
    let batch_rows = (memory_bytes / BYTES_FOR_A_ROW).clamp(256, BATCH_ROWS);
    let mut config = SessionConfig::new().with_target_partitions(1).with_batch_size(batch_rows);
    let parser = &mut config.options_mut().sql_parser;
    parser.enable_ident_normalization = false;
    parser.map_string_types_to_utf8view = false;
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

fn one_select(query: &str) -> Result<Statement, Error> {
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
        return Err(Error::TransformInvalid(format!(
            "transform.sql is empty: write a SELECT over the table `{TABLE}`"
        )));
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
        "transform.sql may only be a SELECT over the table `{TABLE}`, and this is {found}; where rows land is the job's target"
    ))
}

fn count_scans(plan: &LogicalPlan) -> usize {
    let mut scans = 0;
    // The closure never fails, so neither does the walk.
    let _ = plan.apply_with_subqueries(|node| {
        scans += usize::from(matches!(node, LogicalPlan::TableScan(_)));
        Ok(TreeNodeRecursion::Continue)
    });
    scans
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
