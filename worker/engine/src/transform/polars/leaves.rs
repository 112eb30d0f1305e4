//! Which input each frame of a plan stands for, and the real rows in its place.
//!
//! The leaves of a plan are empty frames. One that the client made for a named input says so: right above it stands a
//! filter that keeps every row and names the input in a text ([`MARKER`]). Other leaves are told apart by their columns.

use std::sync::Arc;

use ::polars::prelude::{DataFrame, DslPlan, Expr, LazyFrame, Schema};
use polars_plan::plans::IR;

use super::super::stage::contained;
use super::plan::inputs_mut;
use super::words;
use crate::Error;

/// What the text of a marker begins with; the input's name follows.
const MARKER: &str = "moulin.input:";

/// The leaves of a plan, in the order in which [`Leaves::put`] meets them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Leaves(Vec<usize>);

/// An input as Polars sees it: its name and a frame without rows.
pub(super) type Empty = (String, Arc<DataFrame>);

impl Leaves {
    /// Takes the markers out of `plan` and says which of `inputs` each leaf is.
    pub(super) fn find(plan: &mut DslPlan, inputs: &[Empty]) -> Result<Self, Error> {
        let mut found = Vec::new();
        let mut failure = None;
        unmark(plan, &mut |schema, marker| match choose(schema, marker, inputs) {
            Ok(at) => found.push(at),
            Err(error) => {
                failure.get_or_insert(error);
            }
        });
        if let Some(error) = failure {
            return Err(error);
        }
        if let Some((name, _)) = inputs.iter().enumerate().find(|(at, _)| !found.contains(at)).map(|(_, input)| input) {
            return Err(Error::TransformInvalid(format!("the plan does not read the input `{name}`")));
        }
        Ok(Self(found))
    }

    /// The input of the one leaf there is.
    pub(super) fn only(&self) -> Option<usize> {
        match self.0.as_slice() {
            [at] => Some(*at),
            _ => None,
        }
    }

    /// The plan with `frames` (one for each input) where its leaves stand. They have the leaves' columns, in any order.
    pub(super) fn put(&self, plan: &DslPlan, frames: &[Arc<DataFrame>]) -> DslPlan {
        let mut plan = plan.clone();
        let mut leaves = self.0.iter();
        put(&mut plan, &mut |schema| frames.get(*leaves.next()?).map(|frame| in_order(frame, schema)));
        plan
    }
}

/// The columns of each input that a plan needs, as the optimizer finds; `None`: all of them. `frames` stand in the plan.
pub(super) fn needed(plan: DslPlan, frames: &[Arc<DataFrame>]) -> Vec<Option<Vec<String>>> {
    let optimized = contained(|| LazyFrame::from(plan).to_alp_optimized().map_err(|error| words::planning(&error)));
    let Ok(optimized) = optimized else { return vec![None; frames.len()] };
    let mut needed: Vec<Option<Vec<String>>> = vec![Some(Vec::new()); frames.len()];
    let mut met = vec![false; frames.len()];
    let mut open = vec![optimized.lp_top];
    while let Some(node) = open.pop() {
        let node = optimized.lp_arena.get(node);
        open.extend(node.inputs());
        let IR::DataFrameScan { df, output_schema, .. } = node else { continue };
        let Some(at) = frames.iter().position(|frame| Arc::ptr_eq(frame, df)) else { return vec![None; frames.len()] };
        met[at] = true;
        match (output_schema, &mut needed[at]) {
            (Some(schema), Some(names)) => names.extend(schema.iter_names().map(ToString::to_string)),
            _ => needed[at] = None,
        }
    }
    // What the optimizer took away altogether is given whole: it may not do so with rows.
    needed.into_iter().zip(met).map(|(names, met)| names.filter(|_| met)).collect()
}

fn in_order(frame: &Arc<DataFrame>, schema: &Schema) -> Arc<DataFrame> {
    let ordered = frame.schema().iter_names().eq(schema.iter_names());
    if ordered {
        return Arc::clone(frame);
    }
    frame.select(schema.iter_names().cloned()).map_or_else(|_| Arc::clone(frame), Arc::new)
}

fn put(plan: &mut DslPlan, next: &mut dyn FnMut(&Schema) -> Option<Arc<DataFrame>>) {
    if let DslPlan::DataFrameScan { df, schema } = plan {
        if let Some(frame) = next(schema) {
            *schema = Arc::clone(frame.schema());
            *df = frame;
        }
        return;
    }
    for input in inputs_mut(plan) {
        put(input, next);
    }
}

fn unmark(plan: &mut DslPlan, leaf: &mut dyn FnMut(&Schema, Option<&str>)) {
    let mut marker = None;
    loop {
        let inner = match plan {
            // What a client cached of its own lowering means nothing here.
            DslPlan::IR { dsl, .. } => dsl.as_ref().clone(),
            DslPlan::Filter { input, predicate } => {
                let Some(name) = marked(predicate) else { break };
                marker = Some(name);
                input.as_ref().clone()
            }
            _ => break,
        };
        *plan = inner;
    }
    if let DslPlan::DataFrameScan { schema, .. } = plan {
        leaf(schema, marker.as_deref());
        return;
    }
    for input in inputs_mut(plan) {
        unmark(input, leaf);
    }
}

/// The name in a marker.
fn marked(predicate: &Expr) -> Option<String> {
    predicate.into_iter().find_map(|part| {
        let Expr::Literal(value) = part else { return None };
        value.extract_str()?.strip_prefix(MARKER).map(str::to_owned)
    })
}

fn choose(leaf: &Schema, marker: Option<&str>, inputs: &[Empty]) -> Result<usize, Error> {
    if let Some(name) = marker {
        let at = inputs.iter().position(|(input, _)| input == name).ok_or_else(|| words::no_input(name, inputs))?;
        return check(leaf, inputs[at].1.schema()).map(|()| at);
    }
    if let [(_, frame)] = inputs {
        return check(leaf, frame.schema()).map(|()| 0);
    }
    let fitting: Vec<usize> = (0..inputs.len()).filter(|at| check(leaf, inputs[*at].1.schema()).is_ok()).collect();
    match fitting.as_slice() {
        [at] => Ok(*at),
        [] => Err(words::no_input_fits(leaf, inputs)),
        several => {
            let names = several.iter().map(|at| inputs[*at].0.as_str()).collect::<Vec<_>>();
            Err(words::several_inputs_fit(&names))
        }
    }
}

fn check(leaf: &Schema, input: &Schema) -> Result<(), Error> {
    for (name, data_type) in leaf.iter() {
        match input.get(name) {
            None => return Err(words::no_column(name, input)),
            Some(found) if found != data_type => return Err(words::other_type(name, data_type, found)),
            Some(_) => {}
        }
    }
    match input.iter_names().find(|name| !leaf.contains(name.as_str())) {
        Some(unknown) => Err(Error::TransformInvalid(format!(
            "the job's rows have a column `{unknown}` the plan was made without: make the plan on a frame of the whole schema"
        ))),
        None => Ok(()),
    }
}
