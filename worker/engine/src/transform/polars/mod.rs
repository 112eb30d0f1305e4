//! A plan made by Python Polars, run by Rust Polars.
//!
//! The leaves of the plan are empty frames of the inputs' schemas, in whose place the worker puts the real rows. A
//! plan travels between one pair of versions only ([`crate::transform::versions`]); one that calls Python or
//! reads something else is refused before Polars sees it run. Polars panics where others return errors, so every
//! call into it is contained.

mod leaves;
mod plan;
mod run;
mod wanted;
mod words;

use std::sync::Arc;

use self::leaves::{Empty, Leaves};
use ::polars::prelude::{DslPlan, LazyFrame, Schema};
use arrow::datatypes::SchemaRef;
use polars_plan::plans::{FunctionIR, IR, is_elementwise_rec};

use super::bridge;
use super::input::Input;
use super::output::Output;
use super::stage::contained;
use super::wanted::GivenWanted;
use crate::Error;

/// A checked plan.
pub(crate) struct PolarsPlan {
    plan: DslPlan,
    leaves: Leaves,
    inputs: Vec<Source>,
    row_wise: bool,
    wanted: GivenWanted,
    output: Output,
    memory_bytes: u64,
}

/// An input of the plan.
struct Source {
    input: Input,
    /// A frame of all its columns.
    empty: Arc<::polars::prelude::DataFrame>,
    /// Places of the columns that the plan needs; of a given input all.
    columns: Vec<usize>,
}

impl PolarsPlan {
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

/// Checks a serialized plan for these inputs. Blocks; call it off the async threads.
pub(crate) fn prepare(bytes: &[u8], client: &str, inputs: &[Input], memory_bytes: u64) -> Result<PolarsPlan, Error> {
    contained(|| {
        let mut plan = plan::decode(bytes, client)?;
        plan::check(&plan)?;
        let empties = inputs
            .iter()
            .map(|input| Ok((input.name.clone(), Arc::new(bridge::empty_frame(&input.schema)?))))
            .collect::<Result<Vec<Empty>, Error>>()?;
        let leaves = Leaves::find(&mut plan, &empties)?;
        let frames: Vec<_> = empties.into_iter().map(|(_, frame)| frame).collect();
        let planned = LazyFrame::from(leaves.put(&plan, &frames));
        let made = planned.clone().collect_schema().map_err(|error| words::planning(&error))?;
        let output = Output::of(&arrow_schema(&made)?)?;
        let needed = leaves::needed(leaves.put(&plan, &frames), &frames);
        let wanted = wanted::wanted(planned.clone(), inputs, &frames)?;
        let inputs = inputs.iter().cloned().zip(frames).zip(needed);
        let inputs = inputs.map(|((input, empty), needed)| source(input, empty, needed.as_deref())).collect();
        Ok(PolarsPlan { row_wise: is_row_wise(planned)?, wanted, plan, leaves, inputs, output, memory_bytes })
    })
    .map_err(words::while_planning)
}

fn source(input: Input, empty: Arc<::polars::prelude::DataFrame>, needed: Option<&[String]>) -> Source {
    let fields = input.schema.fields();
    let all = 0..fields.len();
    let columns = match needed {
        Some(names) if !input.is_given() => all.filter(|at| names.contains(fields[*at].name())).collect(),
        _ => all.collect(),
    };
    Source { input, empty, columns }
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
