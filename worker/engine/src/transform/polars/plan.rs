//! What may stand in a plan, and the real rows in place of its leaf.

use std::sync::Arc;

use ::polars::prelude::{DataType, DslPlan, Expr, FunctionExpr, RenameAliasFn};
use polars_plan::dsl::{PlanSerializationContext, SinkType};
use polars_plan::plans::DslFunction;

use super::words;
use crate::Error;

/// What a serialized plan begins with: this, two numbers of two bytes, and the hash of the plan format.
const MAGIC: &[u8] = b"DSL_VERSION";
const HEADER_BYTES: usize = MAGIC.len() + 4 + 64;

/// Reads a plan made by `LazyFrame.serialize()`, of the one Python Polars that shares this one's plan format.
pub(super) fn decode(bytes: &[u8], client: &str) -> Result<DslPlan, Error> {
    let Some(header) = bytes.get(..HEADER_BYTES).filter(|header| header.starts_with(MAGIC)) else {
        return Err(Error::TransformInvalid(
            "transform.polars is not a serialized LazyFrame; make it with LazyFrame.serialize(), in its binary format"
                .to_owned(),
        ));
    };
    if header != own_header()? {
        return Err(words::foreign(client));
    }
    DslPlan::deserialize_versioned(bytes).map_err(|error| words::decoding(&error))
}

fn own_header() -> Result<Vec<u8>, Error> {
    let mut bytes = Vec::new();
    DslPlan::default()
        .serialize_versioned(&mut bytes, PlanSerializationContext::default())
        .map_err(|error| Error::Internal(format!("polars does not say its plan format: {error}")))?;
    bytes.truncate(HEADER_BYTES);
    Ok(bytes)
}

/// Refuses what no worker runs.
pub(super) fn check(plan: &DslPlan) -> Result<(), Error> {
    let mut leaves = 0;
    for node in nodes(plan) {
        match node {
            DslPlan::DataFrameScan { df, .. } if df.height() > 0 => return Err(words::own_rows(df.height())),
            DslPlan::DataFrameScan { .. } => leaves += 1,
            DslPlan::Sink { payload: SinkType::Memory, .. } => {}
            DslPlan::Scan { .. } | DslPlan::Sink { .. } | DslPlan::SinkMultiple { .. } => {
                return Err(words::own_files());
            }
            DslPlan::PipeWithSchema { .. } | DslPlan::GroupBy { apply: Some(_), .. } => {
                return Err(words::python("a function"));
            }
            DslPlan::Cache { .. } | DslPlan::ExtContext { .. } => return Err(words::unsupported(node.into())),
            _ => {}
        }
        for expression in expressions(node) {
            expression.into_iter().try_for_each(check_expression)?;
        }
    }
    if leaves == 0 {
        return Err(Error::TransformInvalid("the plan does not read the job's rows".to_owned()));
    }
    Ok(())
}

fn check_expression(expression: &Expr) -> Result<(), Error> {
    match expression {
        Expr::AnonymousFunction { .. } => Err(words::python("map_elements or map_batches")),
        Expr::RenameAlias { function: RenameAliasFn::Map(_), .. } => Err(words::python("name.map")),
        Expr::Function {
            function:
                FunctionExpr::FoldHorizontal { .. }
                | FunctionExpr::ReduceHorizontal { .. }
                | FunctionExpr::CumReduceHorizontal { .. }
                | FunctionExpr::CumFoldHorizontal { .. },
            ..
        } => Err(words::python("fold or reduce")),
        // Its plan would have to be checked, and its leaf replaced, like the outer one's.
        Expr::SubPlan(..) => Err(words::unsupported("SQL subquery")),
        _ => Ok(()),
    }
}

/// Why a column of this type cannot leave Polars, if it cannot.
pub(super) fn not_in_arrow(data_type: &DataType) -> Option<String> {
    match data_type {
        DataType::Int128 | DataType::UInt128 => {
            Some(format!("is a {data_type}, which Arrow has no type for: cast it to Int64 or Decimal"))
        }
        DataType::List(item) => not_in_arrow(item),
        DataType::Struct(fields) => fields.iter().find_map(|field| not_in_arrow(field.dtype())),
        _ => None,
    }
}

/// Every node of the plan.
fn nodes(plan: &DslPlan) -> Vec<&DslPlan> {
    let mut all = Vec::new();
    let mut open = vec![plan];
    while let Some(node) = open.pop() {
        all.push(node);
        open.extend(inputs(node));
    }
    all
}

fn inputs(plan: &DslPlan) -> Vec<&DslPlan> {
    match plan {
        DslPlan::Filter { input, .. }
        | DslPlan::Cache { input, .. }
        | DslPlan::Select { input, .. }
        | DslPlan::GroupBy { input, .. }
        | DslPlan::HStack { input, .. }
        | DslPlan::MatchToSchema { input, .. }
        | DslPlan::Pivot { input, .. }
        | DslPlan::Distinct { input, .. }
        | DslPlan::Sort { input, .. }
        | DslPlan::Slice { input, .. }
        | DslPlan::MapFunction { input, .. }
        | DslPlan::Sink { input, .. }
        | DslPlan::IR { dsl: input, .. } => vec![input],
        DslPlan::Join { input_left, input_right, .. } => vec![input_left, input_right],
        DslPlan::Gather { input, idxs, .. } => vec![input, idxs],
        DslPlan::PipeWithSchema { input, .. } => input.iter().collect(),
        DslPlan::Union { inputs, .. } | DslPlan::HConcat { inputs, .. } | DslPlan::SinkMultiple { inputs } => {
            inputs.iter().collect()
        }
        DslPlan::ExtContext { input, contexts } => std::iter::once(input.as_ref()).chain(contexts).collect(),
        DslPlan::Scan { .. } | DslPlan::DataFrameScan { .. } => Vec::new(),
    }
}

pub(super) fn inputs_mut(plan: &mut DslPlan) -> Vec<&mut DslPlan> {
    match plan {
        DslPlan::Filter { input, .. }
        | DslPlan::Cache { input, .. }
        | DslPlan::Select { input, .. }
        | DslPlan::GroupBy { input, .. }
        | DslPlan::HStack { input, .. }
        | DslPlan::MatchToSchema { input, .. }
        | DslPlan::Pivot { input, .. }
        | DslPlan::Distinct { input, .. }
        | DslPlan::Sort { input, .. }
        | DslPlan::Slice { input, .. }
        | DslPlan::MapFunction { input, .. }
        | DslPlan::Sink { input, .. }
        | DslPlan::IR { dsl: input, .. } => vec![Arc::make_mut(input)],
        DslPlan::Join { input_left, input_right, .. } => vec![Arc::make_mut(input_left), Arc::make_mut(input_right)],
        DslPlan::Gather { input, idxs, .. } => vec![Arc::make_mut(input), Arc::make_mut(idxs)],
        DslPlan::PipeWithSchema { input, .. } => Arc::make_mut(input).iter_mut().collect(),
        DslPlan::Union { inputs, .. } | DslPlan::HConcat { inputs, .. } | DslPlan::SinkMultiple { inputs } => {
            inputs.iter_mut().collect()
        }
        DslPlan::ExtContext { input, contexts } => std::iter::once(Arc::make_mut(input)).chain(contexts).collect(),
        DslPlan::Scan { .. } | DslPlan::DataFrameScan { .. } => Vec::new(),
    }
}

/// The expressions of one node, not of its inputs.
fn expressions(plan: &DslPlan) -> Vec<&Expr> {
    match plan {
        DslPlan::Filter { predicate, .. } => vec![predicate],
        DslPlan::Select { expr: exprs, .. }
        | DslPlan::HStack { exprs, .. }
        | DslPlan::Sort { by_column: exprs, .. } => exprs.iter().collect(),
        DslPlan::GroupBy { keys, predicates, aggs, .. } => keys.iter().chain(predicates).chain(aggs).collect(),
        DslPlan::Join { left_on, right_on, predicates, .. } => {
            left_on.iter().chain(right_on).chain(predicates).collect()
        }
        DslPlan::Pivot { agg, .. } => vec![agg],
        DslPlan::MapFunction { function: DslFunction::FillNan(value), .. } => vec![value],
        _ => Vec::new(),
    }
}
