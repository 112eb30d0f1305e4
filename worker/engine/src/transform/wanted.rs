//! What of its input a transform looks at, so that a reader need not make the rest.

use std::sync::Arc;

use arrow::array::{ArrayRef, RecordBatch, RecordBatchOptions, new_null_array};
use arrow::datatypes::SchemaRef;
use futures::StreamExt;
use moulin_read::Condition;

use crate::{BatchStream, Error};

/// Rows for which a column that nobody looks at is made at the least.
const NULL_ROWS: usize = 32 << 10;

/// What a transform looks at of the rows that are given to it. Whoever makes them may leave out the rest.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct GivenWanted {
    /// Columns, in the order of the input; `None`: all.
    pub columns: Option<Vec<String>>,
    /// What all rows fulfil that the transform does not filter out. Rows that do not may come all the same.
    pub conditions: Vec<Condition>,
}

impl GivenWanted {
    /// Those columns of `input`; all when there are no others.
    pub(super) fn of(input: &SchemaRef, is_wanted: impl Fn(&str) -> bool, conditions: Vec<Condition>) -> Self {
        let names = input.fields().iter().map(|field| field.name());
        let wanted: Vec<String> = names.filter(|name| is_wanted(name)).cloned().collect();
        let columns = (wanted.len() < input.fields().len()).then_some(wanted);
        Self { columns, conditions }
    }
}

/// Batches with all columns of `schema`: those that are left out hold nulls, which nobody looks at.
pub(super) fn widened(input: BatchStream, schema: SchemaRef) -> BatchStream {
    let mut nulls: Vec<Option<ArrayRef>> = vec![None; schema.fields().len()];
    Box::pin(input.map(move |batch| widen(batch?, &schema, &mut nulls)))
}

fn widen(batch: RecordBatch, schema: &SchemaRef, nulls: &mut [Option<ArrayRef>]) -> Result<RecordBatch, Error> {
    if batch.num_columns() == schema.fields().len() {
        return Ok(batch);
    }
    let rows = batch.num_rows();
    let columns = schema.fields().iter().zip(nulls).map(|(field, nulls)| {
        if let Some(column) = batch.column_by_name(field.name()) {
            return Arc::clone(column);
        }
        match nulls {
            Some(nulls) if nulls.len() >= rows => nulls.slice(0, rows),
            _ => nulls.insert(new_null_array(field.data_type(), rows.max(NULL_ROWS))).slice(0, rows),
        }
    });
    let options = RecordBatchOptions::new().with_row_count(Some(rows));
    RecordBatch::try_new_with_options(Arc::clone(schema), columns.collect(), &options)
        .map_err(|error| Error::Internal(format!("the rows are not those the transform was planned for: {error}")))
}
