//! A plan made by Python Polars, run by Rust Polars.
//!
//! The leaf of the plan is an empty frame of the input's schema, in whose place the worker puts the real rows. A
//! plan travels between one pair of versions only ([`crate::transform::versions`]); one that calls Python or
//! reads something else is refused before Polars sees it run. Polars panics where others return errors, so every
//! call into it is contained.

mod plan;
mod run;
mod words;

use std::sync::Arc;

use ::polars::prelude::{DslPlan, LazyFrame, Schema};
use arrow::datatypes::SchemaRef;
use polars_plan::plans::{FunctionIR, IR, is_elementwise_rec};

use super::bridge;
use super::output::Output;
use super::stage::contained;
use crate::Error;

/// A checked plan.
pub(crate) struct PolarsPlan {
    plan: DslPlan,
    input: SchemaRef,
    row_wise: bool,
    output: Output,
    memory_bytes: u64,
}

impl PolarsPlan {
    pub(crate) fn output(&self) -> &SchemaRef {
        self.output.schema()
    }

    pub(crate) fn row_wise(&self) -> bool {
        self.row_wise
    }
}

/// Checks a serialized plan for rows of schema `input`. Blocks; call it off the async threads.
pub(crate) fn prepare(bytes: &[u8], client: &str, input: &SchemaRef, memory_bytes: u64) -> Result<PolarsPlan, Error> {
    contained(|| {
        let plan = plan::decode(bytes, client)?;
        let empty = bridge::empty_frame(input)?;
        plan::check(&plan, empty.schema())?;
        let planned = LazyFrame::from(plan::with_rows(&plan, &Arc::new(empty)));
        let made = planned.clone().collect_schema().map_err(|error| words::planning(&error))?;
        let output = Output::of(&arrow_schema(&made)?)?;
        Ok(PolarsPlan { row_wise: is_row_wise(planned)?, plan, input: Arc::clone(input), output, memory_bytes })
    })
    .map_err(words::while_planning)
}

fn arrow_schema(made: &Schema) -> Result<arrow::datatypes::Schema, Error> {
    for (name, data_type) in made.iter() {
        if let Some(why) = plan::not_in_arrow(data_type) {
            return Err(Error::TransformInvalid(format!("the transform's column `{name}` {why}")));
        }
    }
    bridge::to_arrow_schema(made)
}

/// Whether rows are only chosen and reshaped, one by one, so that the plan may run on any part of them alone.
fn is_row_wise(frame: LazyFrame) -> Result<bool, Error> {
    let lowered = frame.to_alp().map_err(|error| words::planning(&error))?;
    let expressions = &lowered.expr_arena;
    let mut node = lowered.lp_top;
    loop {
        let (input, row_wise) = match lowered.lp_arena.get(node) {
            IR::DataFrameScan { .. } => return Ok(true),
            IR::SimpleProjection { input, .. } => (*input, true),
            IR::Filter { input, predicate } => (*input, is_elementwise_rec(predicate.node(), expressions)),
            IR::HStack { input, exprs, .. } => {
                (*input, exprs.iter().all(|e| is_elementwise_rec(e.node(), expressions)))
            }
            IR::Select { input, expr, .. } => {
                // Without a column among them the expressions make one row, however many come in.
                let follows_the_rows = expr.iter().any(|e| !e.is_scalar(expressions));
                (*input, follows_the_rows && expr.iter().all(|e| is_elementwise_rec(e.node(), expressions)))
            }
            IR::MapFunction { input, function } => {
                (*input, matches!(function, FunctionIR::Unnest { .. } | FunctionIR::Hint(_)))
            }
            _ => return Ok(false),
        };
        if !row_wise {
            return Ok(false);
        }
        node = input;
    }
}
