//! Polars' errors, and refusals of plans, in the user's words.

use ::polars::prelude::{DataType, PolarsError, Schema};

use super::super::versions;
use super::leaves::Empty;
use crate::Error;

/// Names in a plan of what reads and writes files and asks clouds for them; this worker's Polars is built without.
const FILES: [&str; 13] = [
    "PythonScan",
    "PythonDataset",
    "Csv",
    "Parquet",
    "Ipc",
    "NDJson",
    "Json",
    "Lines",
    "Aws",
    "Gcp",
    "Azure",
    "Http",
    "Huggingface",
];

/// A plan of another Python Polars.
pub(super) fn foreign(client: &str) -> Error {
    let own = versions();
    let made_by =
        if client.is_empty() { "another Python Polars".to_owned() } else { format!("Python polars {client}") };
    Error::TransformRefused(format!(
        "the plan was made by {made_by}, and this worker (polars {}) reads plans of Python polars {} only: \
         install polars=={} where the plan is made",
        own.polars, own.python_polars, own.python_polars
    ))
}

/// A plan of the right version that does not decode: it holds what this worker's Polars is built without.
pub(super) fn decoding(error: &PolarsError) -> Error {
    let text = error.to_string();
    if text.contains("PlanCallback") || text.contains("`OpaquePython`") {
        return python("a function (map_batches, map_groups, fold, pipe_with_schema, name.map)");
    }
    match text.split("unknown variant `").nth(1).and_then(|rest| rest.split('`').next()) {
        Some(variant) if FILES.contains(&variant) => own_files(),
        Some(operation) => unsupported(operation),
        None => Error::TransformInvalid(format!("transform.polars does not decode: {}", one_line(&text))),
    }
}

/// A Python function.
pub(super) fn python(what: &str) -> Error {
    Error::TransformRefused(format!(
        "the plan calls Python ({what}), and the worker runs none; write it with Polars expressions \
         (pl.when, .str, .dt, .replace, ...), or as SQL"
    ))
}

/// A plan that reads or writes files.
pub(super) fn own_files() -> Error {
    Error::TransformRefused(
        "the plan scans or sinks files by itself; a transform sees only the job's rows: name the file as the job's source, \
         begin the plan with the frame it is given, and say where rows land as the job's target"
            .to_owned(),
    )
}

/// A frame with rows inside the plan.
pub(super) fn own_rows(rows: usize) -> Error {
    Error::TransformRefused(format!(
        "the plan holds a frame of its own with {rows} rows; a transform reads only the job's rows: \
         write a small mapping with pl.when or .replace"
    ))
}

/// An operation that is not part of this worker.
pub(super) fn unsupported(operation: &str) -> Error {
    Error::TransformRefused(format!(
        "the plan uses `{operation}`, which this worker does not run; write it another way, or as SQL"
    ))
}

/// A column of the plan's leaf that the job's rows lack.
pub(super) fn no_column(name: &str, input: &Schema) -> Error {
    let names: Vec<_> = input.iter_names().map(::polars::prelude::PlSmallStr::as_str).collect();
    Error::TransformInvalid(format!(
        "the plan was made for a column `{name}`, and the job's rows have {}",
        names.join(", ")
    ))
}

/// A column of the plan's leaf that has another type in the job's rows.
pub(super) fn other_type(name: &str, planned: &DataType, found: &DataType) -> Error {
    Error::TransformInvalid(format!(
        "the plan was made for column `{name}` as {planned}, and the job's rows have it as {found}: \
         declare the column's type in the source, or make the plan with the type it has"
    ))
}

/// A frame that was made for an input the job does not have.
pub(super) fn no_input(name: &str, inputs: &[Empty]) -> Error {
    Error::TransformInvalid(format!("the plan reads an input `{name}`, and the job has {}", listed(inputs)))
}

/// A frame with the columns of no input.
pub(super) fn no_input_fits(leaf: &Schema, inputs: &[Empty]) -> Error {
    let columns: Vec<String> = leaf.iter().map(|(name, data_type)| format!("{name}: {data_type}")).collect();
    Error::TransformInvalid(format!(
        "a frame of the plan has the columns {}, which none of the inputs {} has; make frames of the columns that \
         `moulin plan` shows, and give each its name",
        columns.join(", "),
        listed(inputs)
    ))
}

/// A frame that may be one or the other input.
pub(super) fn several_inputs_fit(names: &[&str]) -> Error {
    Error::TransformRefused(format!(
        "a frame of the plan may be any of the inputs {}, which have the same columns; make the frames with \
         moulin.empty_frame(columns, name=...), so that each says which it is",
        names.join(", ")
    ))
}

fn listed(inputs: &[Empty]) -> String {
    inputs.iter().map(|(name, _)| format!("`{name}`")).collect::<Vec<_>>().join(", ")
}

/// An error while the plan is put together.
pub(super) fn planning(error: &PolarsError) -> Error {
    Error::TransformInvalid(format!("transform.polars: {}", text_of(error)))
}

/// A panic while the plan is put together: this plan, not these rows, is at fault.
pub(super) fn while_planning(error: Error) -> Error {
    match error {
        Error::TransformFailed(text) => Error::TransformRefused(format!("polars cannot plan this transform: {text}")),
        other => other,
    }
}

/// An error while the plan runs.
pub(super) fn running(error: &PolarsError) -> Error {
    Error::TransformFailed(text_of(error))
}

/// More rows than may be held.
pub(super) fn memory(memory_bytes: u64) -> Error {
    Error::Memory(format!(
        "the Polars transform groups, sorts or joins and so needs all its rows in memory, and they are more than the {} MiB \
         the job may have; write it as SQL, which spills to disk, or raise job.memory_bytes",
        memory_bytes >> 20
    ))
}

fn text_of(error: &PolarsError) -> String {
    match error {
        PolarsError::ColumnNotFound(name) => format!("no column `{}`", one_line(name)),
        other => one_line(&other.to_string()),
    }
}

/// The first paragraph; what follows in Polars' texts is the plan.
fn one_line(text: &str) -> String {
    let paragraph = text.split("\n\n").next().unwrap_or_default();
    paragraph.split_whitespace().collect::<Vec<_>>().join(" ")
}
