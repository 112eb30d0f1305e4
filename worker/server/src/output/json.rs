//! One JSON object a line.

use std::io::Write;

use arrow::array::RecordBatch;
use arrow::error::ArrowError;

use super::cells::Cells;

/// Writes batches as NDJSON. Every object has every key; a null is `null`.
pub(super) struct Writer<W> {
    out: W,
    lines: Vec<u8>,
}

impl<W: Write> Writer<W> {
    pub(super) fn new(out: W) -> Self {
        Self { out, lines: Vec::new() }
    }

    pub(super) fn write(&mut self, batch: &RecordBatch) -> Result<(), ArrowError> {
        let schema = batch.schema();
        let mut columns = Vec::with_capacity(batch.num_columns());
        for (at, (field, column)) in schema.fields().iter().zip(batch.columns()).enumerate() {
            let key = format!("{}{}:", if at == 0 { '{' } else { ',' }, serde_json::Value::from(field.name().as_str()));
            columns.push((key, Cells::new(column)?));
        }
        self.lines.clear();
        for row in 0..batch.num_rows() {
            for (key, cells) in &columns {
                self.lines.extend_from_slice(key.as_bytes());
                cells.write(row, &mut self.lines)?;
            }
            self.lines.extend_from_slice(if columns.is_empty() { b"{}\n" } else { b"}\n" });
        }
        self.out.write_all(&self.lines)?;
        Ok(())
    }

    pub(super) fn flush(&mut self) -> std::io::Result<()> {
        self.out.flush()
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use arrow::array::{
        ArrayRef, BinaryArray, Date32Array, Decimal128Array, Float64Array, Int64Array, ListArray, StringArray,
        StructArray, TimestampMicrosecondArray,
    };
    use arrow::datatypes::{DataType, Field, Int32Type};

    use super::*;

    fn written(columns: Vec<(&str, ArrayRef)>) -> String {
        let mut out = Vec::new();
        let mut writer = Writer::new(&mut out);
        writer.write(&RecordBatch::try_from_iter(columns).unwrap()).unwrap();
        writer.flush().unwrap();
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn every_digit_is_kept_and_what_json_lacks_is_a_text() {
        let decimals = Decimal128Array::from(vec![12_345_678_901_234_567_890_123_456_789_i128]);
        let line = written(vec![
            ("i", Arc::new(Int64Array::from(vec![i64::MIN]))),
            ("d", Arc::new(decimals.with_precision_and_scale(38, 2).unwrap())),
            ("f", Arc::new(Float64Array::from(vec![0.1 + 0.2]))),
            ("nan", Arc::new(Float64Array::from(vec![f64::NAN]))),
            ("bytes", Arc::new(BinaryArray::from(vec![&b"\x00\xff"[..]]))),
            ("day", Arc::new(Date32Array::from(vec![19_782]))),
            ("at", Arc::new(TimestampMicrosecondArray::from(vec![1_500_000]).with_timezone("UTC"))),
        ]);
        assert_eq!(
            line,
            "{\"i\":-9223372036854775808,\"d\":123456789012345678901234567.89,\"f\":0.30000000000000004,\"nan\":\"NaN\",\
             \"bytes\":\"AP8=\",\"day\":\"2024-02-29\",\"at\":\"1970-01-01T00:00:01.500Z\"}\n"
        );
    }

    #[test]
    fn nested_values_and_nulls_are_json() {
        let list = ListArray::from_iter_primitive::<Int32Type, _, _>(vec![Some(vec![Some(1), None]), None]);
        let text: ArrayRef = Arc::new(StringArray::from(vec![Some("a\"\n\u{1}ü"), None]));
        let object = StructArray::from(vec![(Arc::new(Field::new("x\"", DataType::Utf8, true)), Arc::clone(&text))]);
        let lines = written(vec![("l", Arc::new(list)), ("o", Arc::new(object))]);
        assert_eq!(
            lines,
            "{\"l\":[1,null],\"o\":{\"x\\\"\":\"a\\\"\\n\\u0001ü\"}}\n{\"l\":null,\"o\":{\"x\\\"\":null}}\n"
        );
    }
}
