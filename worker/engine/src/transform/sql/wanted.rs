//! What a plan looks at of the rows that are given: the columns of their scans, and the filter right above the only one.

use std::collections::HashSet;

use arrow::datatypes::{Schema, TimeUnit};
use datafusion::common::ScalarValue;
use datafusion::common::tree_node::TreeNodeRecursion;
use datafusion::logical_expr::expr::InList;
use datafusion::logical_expr::utils::{split_binary, split_conjunction};
use datafusion::logical_expr::{BinaryExpr, Expr, LogicalPlan, Operator};
use moulin_read::{Comparison, Condition, Literal, Test};

use super::super::input::Input;
use super::super::wanted::GivenWanted;
use super::{conditions, is_named};

/// Values of a list beyond which it is not worth looking for each.
const VALUES: usize = 1000;

/// Of an optimized plan.
pub(super) fn wanted(plan: &LogicalPlan, inputs: &[Input]) -> GivenWanted {
    let Some(given) = inputs.iter().find(|input| input.is_given()) else { return GivenWanted::default() };
    let schema = &given.schema;
    let (mut columns, mut scans, mut filters) = (HashSet::new(), 0, Vec::new());
    // The closure never fails, so neither does the walk.
    let _ = plan.apply_with_subqueries(|node| {
        match node {
            LogicalPlan::TableScan(scan) if is_named(given, &scan.table_name) => {
                scans += 1;
                match &scan.projection {
                    Some(places) => columns.extend(places.iter().copied()),
                    None => columns.extend(0..schema.fields().len()),
                }
                filters.extend(scan.filters.iter().cloned());
            }
            LogicalPlan::Filter(filter) => match filter.input.as_ref() {
                LogicalPlan::TableScan(scan) if is_named(given, &scan.table_name) => {
                    filters.push(filter.predicate.clone());
                }
                _ => {}
            },
            _ => {}
        }
        Ok(TreeNodeRecursion::Continue)
    });
    // A row that one of several scans does not want may be wanted by another.
    let filters = if scans == 1 { filters } else { Vec::new() };
    let conditions = filters.iter().flat_map(split_conjunction).flat_map(|term| said(term, schema)).collect();
    GivenWanted::of(schema, |name| schema.index_of(name).is_ok_and(|place| columns.contains(&place)), conditions)
}

/// What a term says about one column; nothing when it is not that simple.
fn said(term: &Expr, schema: &Schema) -> Vec<Condition> {
    let one = |condition: Option<Condition>| condition.into_iter().collect();
    match term {
        Expr::BinaryExpr(BinaryExpr { op: Operator::Or, .. }) => one(one_of(term)),
        Expr::BinaryExpr(binary) => one(comparison(binary)),
        Expr::Between(between) if !between.negated => {
            let bound = |comparison, value| test(&between.expr, Test::Compare(comparison, literal(value)?));
            let low = bound(Comparison::GreaterOrEqual, &between.low);
            low.into_iter().chain(bound(Comparison::LessOrEqual, &between.high)).collect()
        }
        Expr::InList(InList { expr, list, negated: false }) if list.len() <= VALUES => {
            let values: Option<Vec<Literal>> = list.iter().map(literal).collect();
            one(values.and_then(|values| test(expr, Test::OneOf(values))))
        }
        term => one(conditions::condition(term, schema)),
    }
}

fn test(column: &Expr, test: Test) -> Option<Condition> {
    match column {
        Expr::Column(column) => Some(Condition { column: column.name.clone(), test }),
        _ => None,
    }
}

fn comparison(binary: &BinaryExpr) -> Option<Condition> {
    let (column, op, value) = match (binary.left.as_ref(), binary.right.as_ref()) {
        (column @ Expr::Column(_), value) => (column, binary.op, value),
        (value, column @ Expr::Column(_)) => (column, binary.op.swap()?, value),
        _ => return None,
    };
    test(column, Test::Compare(conditions::comparison(op)?, literal(value)?))
}

/// Short lists become `a = 1 OR a = 2`.
fn one_of(term: &Expr) -> Option<Condition> {
    let mut column = None;
    let mut values = Vec::new();
    for part in split_binary(term, Operator::Or) {
        let Expr::BinaryExpr(binary) = part else { return None };
        let Condition { column: name, test: Test::Compare(Comparison::Equal, value) } = comparison(binary)? else {
            return None;
        };
        if *column.get_or_insert_with(|| name.clone()) != name {
            return None;
        }
        values.push(value);
    }
    Some(Condition { column: column?, test: Test::OneOf(values) })
}

fn literal(value: &Expr) -> Option<Literal> {
    let Expr::Literal(value, _) = value else { return None };
    conditions::literal(value).or_else(|| rarer(value))
}

fn rarer(value: &ScalarValue) -> Option<Literal> {
    Some(match value {
        ScalarValue::Decimal128(value, _, scale) => Literal::Decimal { unscaled: (*value)?, scale: *scale },
        ScalarValue::TimestampSecond(value, _) => moment((*value)?, TimeUnit::Second)?,
        ScalarValue::TimestampMillisecond(value, _) => moment((*value)?, TimeUnit::Millisecond)?,
        ScalarValue::TimestampNanosecond(value, _) => moment((*value)?, TimeUnit::Nanosecond)?,
        _ => return None,
    })
}

/// `None` for what is no whole number of microseconds.
fn moment(value: i64, unit: TimeUnit) -> Option<Literal> {
    let micros = match unit {
        TimeUnit::Second => value.checked_mul(1_000_000),
        TimeUnit::Millisecond => value.checked_mul(1000),
        TimeUnit::Microsecond => Some(value),
        TimeUnit::Nanosecond => (value % 1000 == 0).then_some(value / 1000),
    };
    micros.map(Literal::Timestamp)
}
