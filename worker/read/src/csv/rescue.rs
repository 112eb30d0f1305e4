//! What has no column of its own, as a JSON object of texts.

use arrow::array::ArrayRef;
use arrow::error::ArrowError;
use moulin_core::PrimitiveType;

use crate::columns::Column;

/// The column of them.
pub(crate) struct Rescued {
    column: Column,
    /// The object of the record that is being read, without its last brace; empty: there is none.
    object: Vec<u8>,
}

impl Rescued {
    pub(crate) fn new(rows: usize) -> Self {
        Self { column: Column::new(PrimitiveType::String, rows, 0), object: Vec::new() }
    }

    /// Keeps a text of the record under a name.
    pub(crate) fn keep(&mut self, name: &str, text: &str) {
        self.object.push(if self.object.is_empty() { b'{' } else { b',' });
        for (part, end) in [(name, b':'), (text, b'}')] {
            self.object.extend_from_slice(serde_json::Value::from(part).to_string().as_bytes());
            self.object.push(end);
        }
        self.object.pop();
    }

    /// Takes away what was kept of a record that is no row.
    pub(crate) fn forget_record(&mut self) {
        self.object.clear();
    }

    /// Makes the row of the record that was read: null, when nothing of it was kept.
    pub(crate) fn end_record(&mut self) {
        if self.object.is_empty() {
            self.column.push_null();
            return;
        }
        self.object.push(b'}');
        self.column.push_text(&self.object);
        self.object.clear();
    }

    /// Rows of which nothing was kept.
    pub(crate) fn end_records(&mut self, rows: usize) {
        (0..rows).for_each(|_| self.column.push_null());
    }

    pub(crate) fn finish(self) -> Result<ArrayRef, ArrowError> {
        self.column.finish()
    }
}
