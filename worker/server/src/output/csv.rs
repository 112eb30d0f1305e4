//! Comma-separated values (RFC 4180) with a header and LF.

use std::io::Write;

use arrow::array::{Array, AsArray as _, RecordBatch, StringArray};
use arrow::datatypes::{DataType, Schema};
use arrow::error::ArrowError;
use arrow::util::display::ArrayFormatter;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

use super::cells::{self, Cells, OPTIONS};

/// Writes batches as CSV. A null is an empty field, an empty text is `""`, so that the two can be told apart.
pub(super) struct Writer<W> {
    out: W,
    lines: Vec<u8>,
}

/// The cells of one column.
enum Column<'a> {
    Text(&'a StringArray),
    Binary(Vec<Option<&'a [u8]>>),
    /// Text without a character that needs quotes.
    Bare(&'a dyn Array, ArrayFormatter<'a>),
    Nested(&'a dyn Array, Cells<'a>),
}

impl<W: Write> Writer<W> {
    /// Writes the header.
    pub(super) fn new(out: W, schema: &Schema) -> std::io::Result<Self> {
        let mut writer = Self { out, lines: Vec::new() };
        for (at, field) in schema.fields().iter().enumerate() {
            if at > 0 {
                writer.lines.push(b',');
            }
            push(field.name().as_bytes(), &mut writer.lines);
        }
        writer.lines.push(b'\n');
        writer.out.write_all(&writer.lines)?;
        Ok(writer)
    }

    pub(super) fn write(&mut self, batch: &RecordBatch) -> Result<(), ArrowError> {
        let columns = batch.columns().iter().map(|column| Column::new(column)).collect::<Result<Vec<_>, _>>()?;
        self.lines.clear();
        let mut scratch = Vec::new();
        for row in 0..batch.num_rows() {
            let start = self.lines.len();
            for (at, column) in columns.iter().enumerate() {
                if at > 0 {
                    self.lines.push(b',');
                }
                column.write(row, &mut self.lines, &mut scratch)?;
            }
            if columns.len() == 1 && self.lines.len() == start {
                // An empty line would be no row.
                self.lines.extend_from_slice(b"\"\"");
            }
            self.lines.push(b'\n');
        }
        self.out.write_all(&self.lines)?;
        Ok(())
    }

    pub(super) fn flush(&mut self) -> std::io::Result<()> {
        self.out.flush()
    }
}

impl<'a> Column<'a> {
    fn new(array: &'a dyn Array) -> Result<Self, ArrowError> {
        Ok(match array.data_type() {
            DataType::Utf8 => Self::Text(array.as_string::<i32>()),
            DataType::Binary => Self::Binary(array.as_binary::<i32>().iter().collect()),
            DataType::FixedSizeBinary(_) => Self::Binary(array.as_fixed_size_binary().iter().collect()),
            DataType::List(_) | DataType::Struct(_) | DataType::Map(..) => Self::Nested(array, Cells::new(array)?),
            _ => Self::Bare(array, ArrayFormatter::try_new(array, &OPTIONS)?),
        })
    }

    fn write(&self, row: usize, out: &mut Vec<u8>, scratch: &mut Vec<u8>) -> Result<(), ArrowError> {
        match self {
            Self::Text(array) if array.is_valid(row) => push(array.value(row).as_bytes(), out),
            Self::Binary(values) => {
                if let Some(value) = values[row] {
                    push(STANDARD.encode(value).as_bytes(), out);
                }
            }
            Self::Bare(array, formatter) if array.is_valid(row) => cells::text(formatter, row, out)?,
            Self::Nested(array, cells) if array.is_valid(row) => {
                scratch.clear();
                cells.write(row, scratch)?;
                push(scratch, out);
            }
            Self::Text(_) | Self::Bare(..) | Self::Nested(..) => {}
        }
        Ok(())
    }
}

/// Appends a field, quoted when it must be.
fn push(text: &[u8], out: &mut Vec<u8>) {
    if !text.is_empty() && is_plain(text) {
        out.extend_from_slice(text);
        return;
    }
    out.push(b'"');
    for byte in text {
        if *byte == b'"' {
            out.push(b'"');
        }
        out.push(*byte);
    }
    out.push(b'"');
}

/// Whether nothing in a text asks for quotes. A space at its ends does: many readers trim.
fn is_plain(text: &[u8]) -> bool {
    let plain = !text.iter().any(|byte| matches!(byte, b',' | b'"' | b'\n' | b'\r'));
    plain && text.first() != Some(&b' ') && text.last() != Some(&b' ')
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use arrow::array::{ArrayRef, Decimal128Array, Float64Array, Int64Array, ListArray, Time64MicrosecondArray};
    use arrow::datatypes::Int32Type;

    use super::*;

    fn written(columns: Vec<(&str, ArrayRef)>) -> String {
        let batch = RecordBatch::try_from_iter(columns).unwrap();
        let mut out = Vec::new();
        let mut writer = Writer::new(&mut out, &batch.schema()).unwrap();
        writer.write(&batch).unwrap();
        writer.flush().unwrap();
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn fields_are_quoted_when_they_must_be_and_nulls_are_empty() {
        let texts =
            vec![Some("plain"), Some(""), None, Some("a,b"), Some("say \"hi\""), Some("two\nlines"), Some(" x")];
        let numbers = vec![Some(1), None, Some(3), Some(4), Some(5), Some(6), Some(7)];
        let csv =
            written(vec![("t,x", Arc::new(StringArray::from(texts))), ("n", Arc::new(Int64Array::from(numbers)))]);
        assert_eq!(csv, "\"t,x\",n\nplain,1\n\"\",\n,3\n\"a,b\",4\n\"say \"\"hi\"\"\",5\n\"two\nlines\",6\n\" x\",7\n");
    }

    #[test]
    fn numbers_and_times_are_exact() {
        let decimals = Decimal128Array::from(vec![-5_i128]).with_precision_and_scale(9, 3).unwrap();
        let list = ListArray::from_iter_primitive::<Int32Type, _, _>(vec![Some(vec![Some(1), None])]);
        let csv = written(vec![
            ("d", Arc::new(decimals)),
            ("f", Arc::new(Float64Array::from(vec![1e300]))),
            ("t", Arc::new(Time64MicrosecondArray::from(vec![36_000_000_001]))),
            ("l", Arc::new(list)),
        ]);
        assert_eq!(csv, "d,f,t,l\n-0.005,1e300,10:00:00.000001,\"[1,null]\"\n");
    }

    #[test]
    fn a_null_in_a_single_column_is_still_a_row() {
        let csv = written(vec![("t", Arc::new(StringArray::from(vec![None, Some("x")])))]);
        assert_eq!(csv, "t\n\"\"\nx\n");
    }
}
