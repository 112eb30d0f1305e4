//! What a transform reads, by name.

use std::fmt;
use std::sync::Arc;

use arrow::datatypes::SchemaRef;
use moulin_read::Condition;

use crate::BatchStream;

/// An input of a transform.
#[derive(Clone)]
pub struct Input {
    /// The table in SQL, the marker of a frame in a Polars plan. May be `namespace.table`.
    pub name: String,
    /// The schema of its rows.
    pub schema: SchemaRef,
    /// Where they come from.
    pub rows: Rows,
}

/// Where the rows of an input come from.
#[derive(Clone)]
pub enum Rows {
    /// They are given when the transform runs; the rows of a job's files. One input of a transform at the most.
    Given,
    /// They can be asked for as often as needed, and parts of them.
    Scanned(Scanned),
}

/// Rows that can be asked for.
#[derive(Clone)]
pub struct Scanned {
    /// About how many there are.
    pub rows: Option<u64>,
    /// About how large they are as stored.
    pub bytes: Option<u64>,
    /// Begins to read them. The stream may be polled on any thread, within a tokio runtime or not. It counts its own rows.
    pub scan: ScanRows,
}

/// Begins to read what is wanted of an input.
pub type ScanRows = Arc<dyn Fn(Wanted) -> BatchStream + Send + Sync>;

/// What is wanted of an input.
#[derive(Debug, Clone, PartialEq)]
pub struct Wanted {
    /// Places of columns in the schema, in the order of the batches that are wanted; may be none.
    pub columns: Vec<usize>,
    /// Hold for every row that is wanted; others may come too.
    pub conditions: Vec<Condition>,
}

impl Input {
    /// The rows that are given when the transform runs.
    #[must_use]
    pub fn given(name: &str, schema: SchemaRef) -> Self {
        Self { name: name.to_owned(), schema, rows: Rows::Given }
    }

    pub(crate) fn is_given(&self) -> bool {
        matches!(self.rows, Rows::Given)
    }
}

impl Scanned {
    /// All rows with all columns.
    pub(crate) fn all(&self, schema: &SchemaRef) -> BatchStream {
        (self.scan)(Wanted { columns: (0..schema.fields().len()).collect(), conditions: Vec::new() })
    }
}

impl fmt::Debug for Input {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Input").field("name", &self.name).field("given", &self.is_given()).finish_non_exhaustive()
    }
}

/// `a, b and c`, for messages.
pub(crate) fn names(inputs: &[Input]) -> String {
    let names: Vec<String> = inputs.iter().map(|input| format!("`{}`", input.name)).collect();
    match names.split_last() {
        Some((last, [])) => last.clone(),
        Some((last, others)) => format!("{} and {last}", others.join(", ")),
        None => "none".to_owned(),
    }
}
