//! What of its rows a plan looks at, after Polars has pushed projections and filters down to them.

use std::collections::HashSet;
use std::sync::Arc;

use ::polars::prelude::{AnyValue, DataFrame, LazyFrame, Operator, TimeUnit};
use moulin_read::{Comparison, Condition, Literal, Test};
use polars_plan::plans::{AExpr, IR, IRBooleanFunction, IRFunctionExpr};
use polars_plan::prelude::{Arena, Node};

use super::super::input::Input;
use super::super::wanted::GivenWanted;
use super::words;
use crate::Error;

/// Of the input whose rows are given, in a plan whose leaves are `frames` without rows, one for each input.
///
/// # Errors
/// `TransformInvalid` when Polars cannot optimize the plan.
pub(super) fn wanted(planned: LazyFrame, inputs: &[Input], frames: &[Arc<DataFrame>]) -> Result<GivenWanted, Error> {
    let Some((given, own)) = inputs.iter().zip(frames).find(|(input, _)| input.is_given()) else {
        return Ok(GivenWanted::default());
    };
    let plan = planned.to_alp_optimized().map_err(|error| words::planning(&error))?;
    let (nodes, expressions) = (&plan.lp_arena, &plan.expr_arena);
    let is_only = inputs.len() == 1;
    let is_own = |node| matches!(nodes.get(node), IR::DataFrameScan { df, .. } if is_only || Arc::ptr_eq(df, own));
    let (mut columns, mut leaves, mut filters) = (HashSet::new(), 0, Vec::new());
    let mut open = vec![plan.lp_top];
    while let Some(place) = open.pop() {
        let node = nodes.get(place);
        match node {
            IR::DataFrameScan { schema, output_schema, .. } if is_own(place) => {
                leaves += 1;
                let read = output_schema.as_ref().unwrap_or(schema);
                columns.extend(read.iter_names().map(|name| name.as_str().to_owned()));
            }
            // The columns in another order, perhaps: whose leaf it is cannot be told.
            IR::DataFrameScan { df, .. } if !frames.iter().any(|frame| Arc::ptr_eq(frame, df)) => {
                return Ok(GivenWanted::default());
            }
            IR::Filter { input, predicate } if is_own(*input) => filters.push(predicate.node()),
            _ => {}
        }
        open.extend(node.inputs());
    }
    // A row that one of several leaves does not want may be wanted by another.
    let filters = if leaves == 1 { filters } else { Vec::new() };
    let conditions = filters.into_iter().flat_map(|filter| conditions(filter, expressions)).collect();
    Ok(GivenWanted::of(&given.schema, |name| columns.contains(name), conditions))
}

/// The terms of a filter that say something simple about one column.
fn conditions(filter: Node, expressions: &Arena<AExpr>) -> Vec<Condition> {
    let (mut found, mut open) = (Vec::new(), vec![filter]);
    while let Some(term) = open.pop() {
        match expressions.get(term) {
            AExpr::BinaryExpr { left, op: Operator::And | Operator::LogicalAnd, right } => open.extend([*right, *left]),
            AExpr::BinaryExpr { left, op, right } => found.extend(comparison(*left, *op, *right, expressions)),
            AExpr::Function { input, function: IRFunctionExpr::Boolean(function), .. } => {
                let test = match function {
                    IRBooleanFunction::IsNull => Test::IsNull,
                    IRBooleanFunction::IsNotNull => Test::IsNotNull,
                    _ => continue,
                };
                if let [input] = input.as_slice()
                    && let AExpr::Column(name) = expressions.get(input.node())
                {
                    found.push(Condition { column: name.as_str().to_owned(), test });
                }
            }
            _ => {}
        }
    }
    found
}

fn comparison(left: Node, op: Operator, right: Node, expressions: &Arena<AExpr>) -> Option<Condition> {
    let (column, value, is_swapped) = match (expressions.get(left), expressions.get(right)) {
        (AExpr::Column(column), AExpr::Literal(value)) => (column, value, false),
        (AExpr::Literal(value), AExpr::Column(column)) => (column, value, true),
        _ => return None,
    };
    let comparison = match (op, is_swapped) {
        (Operator::Eq, _) => Comparison::Equal,
        (Operator::Lt, false) | (Operator::Gt, true) => Comparison::Less,
        (Operator::LtEq, false) | (Operator::GtEq, true) => Comparison::LessOrEqual,
        (Operator::Gt, false) | (Operator::Lt, true) => Comparison::Greater,
        (Operator::GtEq, false) | (Operator::LtEq, true) => Comparison::GreaterOrEqual,
        _ => return None,
    };
    let value = literal(&value.to_any_value()?)?;
    Some(Condition { column: column.as_str().to_owned(), test: Test::Compare(comparison, value) })
}

fn literal(value: &AnyValue<'_>) -> Option<Literal> {
    Some(match value {
        AnyValue::Boolean(value) => Literal::Boolean(*value),
        AnyValue::String(text) => Literal::Text((*text).to_owned()),
        AnyValue::StringOwned(text) => Literal::Text(text.as_str().to_owned()),
        AnyValue::Date(days) => Literal::Date(*days),
        AnyValue::Datetime(moment, unit, _) | AnyValue::DatetimeOwned(moment, unit, _) => {
            Literal::Timestamp(match unit {
                TimeUnit::Milliseconds => moment.checked_mul(1000)?,
                TimeUnit::Microseconds => *moment,
                TimeUnit::Nanoseconds if moment % 1000 == 0 => moment / 1000,
                TimeUnit::Nanoseconds => return None,
            })
        }
        AnyValue::Decimal(unscaled, _, scale) => {
            Literal::Decimal { unscaled: *unscaled, scale: i8::try_from(*scale).ok()? }
        }
        value if value.is_integer() => Literal::Long(value.extract::<i64>()?),
        _ => return None,
    })
}
