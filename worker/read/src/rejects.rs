//! Rejected rows as Arrow batches.

use std::sync::{Arc, LazyLock};

use arrow::array::{ArrayRef, BinaryBuilder, Int64Builder, RecordBatch, StringBuilder};
use arrow::datatypes::{DataType, Field, Schema, SchemaRef};
use moulin_core::RejectedRow;

use crate::Error;
use crate::pipeline::batch_error;

static SCHEMA: LazyLock<SchemaRef> = LazyLock::new(|| {
    let text = |name: &str| Field::new(name, DataType::Utf8, false);
    let number = |name: &str| Field::new(name, DataType::Int64, false);
    Arc::new(Schema::new(vec![
        text("uri"),
        number("record"),
        number("line"),
        number("byte_offset"),
        number("length_bytes"),
        text("column"),
        text("code"),
        text("reason"),
        Field::new("raw", DataType::Binary, false),
        text("format"),
        text("columns"),
        text("encoding"),
    ]))
});

/// The schema of rejects:
///
/// | column | type | |
/// |---|---|---|
/// | `uri` | string | the file |
/// | `record` | long | number of the record in its file, from 1, the header not counted |
/// | `line` | long | physical line, from 1, the header counted; 0: the format has no lines |
/// | `byte_offset` | long | of the record's first byte in the decompressed file |
/// | `length_bytes` | long | of the record, its line end left out |
/// | `column` | string | empty: about the record as a whole |
/// | `code` | string | stable, see `docs/errors.md` |
/// | `reason` | string | in words, with the value (at most 100 characters of it) |
/// | `raw` | binary | the record's bytes, exactly as they stand in the decompressed file; at most [`RejectedRow::RAW_BYTES`] of them. Of a Parquet row, which has none, the value as text |
/// | `format` | string | what the file was read as: `csv`, `ndjson`, `json` or `parquet` |
/// | `columns` | string | the file's columns in its order, as JSON: `[{"name": "a", "type": "long"}, ...]`; without a type: it has no column. Empty: longer than 64 KiB |
/// | `encoding` | string | of the file, and so of `raw`: `utf8`, `utf16_le`, `utf16_be`, `latin1` or `windows_1252` |
#[must_use]
pub fn reject_schema() -> SchemaRef {
    Arc::clone(&SCHEMA)
}

/// Rejected rows as a batch of [`reject_schema`].
///
/// # Errors
/// `Internal` when Arrow refuses the batch.
pub fn reject_batch(rows: &[RejectedRow]) -> Result<RecordBatch, Error> {
    let texts = |text: &dyn Fn(&RejectedRow) -> &str| -> ArrayRef {
        let mut column = StringBuilder::new();
        rows.iter().for_each(|row| column.append_value(text(row)));
        Arc::new(column.finish())
    };
    let numbers = |number: &dyn Fn(&RejectedRow) -> u64| -> ArrayRef {
        let mut column = Int64Builder::with_capacity(rows.len());
        rows.iter().for_each(|row| column.append_value(i64::try_from(number(row)).unwrap_or(i64::MAX)));
        Arc::new(column.finish())
    };
    let mut raw = BinaryBuilder::new();
    rows.iter().for_each(|row| raw.append_value(&row.raw));
    let columns = vec![
        texts(&|row| &row.reject.place.uri),
        numbers(&|row| row.reject.place.record),
        numbers(&|row| row.reject.place.line),
        numbers(&|row| row.reject.place.byte_offset),
        numbers(&|row| row.length_bytes),
        texts(&|row| &row.reject.place.column),
        texts(&|row| &row.reject.code),
        texts(&|row| &row.reject.reason),
        Arc::new(raw.finish()),
        texts(&|row| row.shape.format),
        texts(&|row| &row.shape.columns),
        texts(&|row| row.shape.encoding),
    ];
    RecordBatch::try_new(reject_schema(), columns).map_err(batch_error)
}
