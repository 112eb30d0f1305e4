//! Struct and list columns, decoded by Arrow's own JSON reader a block at a time.

use std::sync::Arc;

use arrow::array::{ArrayRef, RecordBatch, new_null_array};
use arrow::compute::concat;
use arrow::datatypes::{Field, FieldRef, Schema, SchemaRef};
use arrow::error::ArrowError;
use arrow::json::ReaderBuilder;

use crate::Error;
use crate::fault::{Bad, shown};
use crate::pipeline::batch_error;

/// Where the texts of a struct or list column stand.
pub(super) struct Nested {
    field: FieldRef,
    schema: SchemaRef,
    /// Start and end; both 0: null.
    texts: Vec<(u32, u32)>,
}

impl Nested {
    pub(super) fn new(field: &FieldRef) -> Self {
        let inner = Field::new("v", field.data_type().clone(), true);
        Self { field: Arc::clone(field), schema: Arc::new(Schema::new(vec![inner])), texts: Vec::new() }
    }

    pub(super) fn truncate(&mut self, rows: usize) {
        self.texts.truncate(rows);
    }

    pub(super) fn push_null(&mut self) {
        self.texts.push((0, 0));
    }

    pub(super) fn push(&mut self, start: usize, end: usize) {
        self.texts.push((start as u32, end as u32));
    }

    /// The column, and the rows whose value does not fit: those are null in it.
    pub(super) fn finish(self, text: &[u8]) -> Result<(ArrayRef, Vec<(usize, Bad)>), Error> {
        if self.texts.is_empty() {
            return Ok((new_null_array(self.field.data_type(), 0), Vec::new()));
        }
        if let Ok(array) = self.decode(text, &self.texts) {
            return Ok((array, Vec::new()));
        }
        // Something does not fit: each row by itself shows which.
        let (mut parts, mut unfit) = (Vec::with_capacity(self.texts.len()), Vec::new());
        for (row, place) in self.texts.iter().enumerate() {
            parts.push(self.decode(text, &[*place]).unwrap_or_else(|error| {
                unfit.push((row, self.bad_value(&text[place.0 as usize..place.1 as usize], &error)));
                new_null_array(self.field.data_type(), 1)
            }));
        }
        let parts: Vec<_> = parts.iter().map(AsRef::as_ref).collect();
        Ok((concat(&parts).map_err(batch_error)?, unfit))
    }

    fn bad_value(&self, text: &[u8], error: &ArrowError) -> Bad {
        let expected = crate::iceberg_type_name(self.field.data_type());
        let error = error.to_string();
        let reason = format!(
            "field {} has value `{}`, expected {expected}: {}",
            self.field.name(),
            shown(text),
            shown(error.as_bytes())
        );
        Bad { column: self.field.name().clone(), code: "type.nested", reason }
    }

    fn decode(&self, text: &[u8], places: &[(u32, u32)]) -> Result<ArrayRef, ArrowError> {
        let mut lines = Vec::new();
        for (start, end) in places {
            let value = if end == start { b"null" } else { &text[*start as usize..*end as usize] };
            lines.extend_from_slice(b"{\"v\":");
            lines.extend_from_slice(value);
            lines.extend_from_slice(b"}\n");
        }
        let mut decoder =
            ReaderBuilder::new(Arc::clone(&self.schema)).with_batch_size(places.len() + 1).build_decoder()?;
        decoder.decode(&lines)?;
        let batch: Option<RecordBatch> = decoder.flush()?;
        match batch.filter(|batch| batch.num_rows() == places.len()) {
            Some(batch) => Ok(Arc::clone(batch.column(0))),
            None => Err(ArrowError::JsonError("not every value was decoded".to_owned())),
        }
    }
}
