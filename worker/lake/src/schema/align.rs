//! Batches of a job in the shape of the table: its columns, in its order, in its types.

use std::collections::HashSet;
use std::sync::Arc;

use arrow::array::{Array, ArrayRef, RecordBatch, RecordBatchOptions, new_null_array};
use arrow::datatypes::{DataType, Field, Schema as ArrowSchema, SchemaRef};
use moulin_core::{Nanoseconds, TableName};

use super::way::Way;
use crate::Error;

/// How each column of the table is made from a batch of the job; built once, used by all lanes.
#[derive(Debug, Clone)]
pub(crate) struct Alignment {
    table: TableName,
    schema: SchemaRef,
    steps: Vec<Step>,
}

/// How one column is made: nothing of it, or a column of the batch in some way.
type Step = Option<(usize, Way)>;

impl Alignment {
    /// Plans the way from `incoming` to the columns of `table_schema` (own Arrow types with field ids);
    /// `looked_at` are columns whose values the writer looks at, which need the table's very type.
    pub(crate) fn new(
        table: &TableName,
        table_schema: &ArrowSchema,
        incoming: &ArrowSchema,
        looked_at: &HashSet<&str>,
        nanoseconds: Nanoseconds,
    ) -> Self {
        let mut fields = Vec::with_capacity(table_schema.fields().len());
        let mut steps = Vec::with_capacity(table_schema.fields().len());
        for to in table_schema.fields() {
            let Some(index) = incoming.fields().iter().position(|f| f.name() == to.name()) else {
                fields.push(to.as_ref().clone());
                steps.push(None);
                continue;
            };
            let from = incoming.field(index).data_type();
            if from == to.data_type() {
                fields.push(to.as_ref().clone());
                steps.push(Some((index, Way::Keep)));
            } else if written_alike(from, to.data_type()) && !looked_at.contains(to.name().as_str()) {
                fields.push(to.as_ref().clone().with_data_type(from.clone()));
                steps.push(Some((index, Way::Keep)));
            } else {
                fields.push(to.as_ref().clone());
                steps.push(Some((index, Way::new(from, to.data_type(), nanoseconds))));
            }
        }
        Self { table: table.clone(), schema: Arc::new(ArrowSchema::new(fields)), steps }
    }

    /// The schema of aligned batches, with field ids.
    pub(crate) fn schema(&self) -> &SchemaRef {
        &self.schema
    }

    /// A batch in the table's shape; columns that fit are shared, not copied.
    ///
    /// # Errors
    /// `SchemaMismatch` naming the column: a value that the table's type cannot hold, or a null in a required
    /// column.
    pub(crate) fn align(&self, batch: &RecordBatch) -> Result<RecordBatch, Error> {
        let columns = self.steps.iter().zip(self.schema.fields()).map(|(step, field)| self.column(batch, step, field));
        let columns = columns.collect::<Result<Vec<ArrayRef>, Error>>()?;
        let options = RecordBatchOptions::new().with_row_count(Some(batch.num_rows()));
        RecordBatch::try_new_with_options(self.schema.clone(), columns, &options).map_err(|e| Error::SchemaMismatch {
            table: self.table.clone(),
            message: format!("a batch does not have the announced columns: {e}"),
        })
    }

    fn column(&self, batch: &RecordBatch, step: &Step, field: &Field) -> Result<ArrayRef, Error> {
        let refused =
            |message: String| Error::Value { table: self.table.clone(), column: field.name().clone(), message };
        let column = match step {
            None => new_null_array(field.data_type(), batch.num_rows()),
            Some((index, way)) => {
                let incoming = batch.columns().get(*index);
                let missing = || refused("the batch does not have it, though it was announced".to_owned());
                way.go(incoming.ok_or_else(missing)?, field).map_err(refused)?
            }
        };
        if !field.is_nullable() && column.null_count() > 0 {
            return Err(refused("the table requires a value, but there is a null".to_owned()));
        }
        Ok(column)
    }
}

// Types that differ in memory only: Parquet has one for all of them.
fn written_alike(from: &DataType, to: &DataType) -> bool {
    match to {
        DataType::Utf8 => *from == DataType::LargeUtf8,
        DataType::Binary => *from == DataType::LargeBinary,
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use arrow::array::{
        Int32Array, Int64Array, LargeStringArray, StringArray, StringViewArray, TimestampMicrosecondArray,
        TimestampNanosecondArray, UInt64Array,
    };
    use arrow::datatypes::TimeUnit;

    use super::*;

    fn aligned(to: Field, name: &str, column: ArrayRef) -> Result<RecordBatch, Error> {
        aligned_with(Nanoseconds::Refuse, to, name, column)
    }

    fn aligned_with(nanoseconds: Nanoseconds, to: Field, name: &str, column: ArrayRef) -> Result<RecordBatch, Error> {
        let incoming = ArrowSchema::new(vec![Field::new(name, column.data_type().clone(), true)]);
        let batch = RecordBatch::try_new(Arc::new(incoming.clone()), vec![column]).unwrap();
        let table = "bronze.t".parse().unwrap();
        Alignment::new(&table, &ArrowSchema::new(vec![to]), &incoming, &HashSet::new(), nanoseconds).align(&batch)
    }

    #[test]
    fn int_becomes_long_and_a_missing_column_null() {
        let batch =
            aligned(Field::new("a", DataType::Int64, true), "a", Arc::new(Int32Array::from(vec![1, -2]))).unwrap();
        assert_eq!(batch.column(0).as_ref(), &Int64Array::from(vec![1, -2]) as &dyn Array);
        let batch =
            aligned(Field::new("b", DataType::Int64, true), "a", Arc::new(Int32Array::from(vec![1, -2]))).unwrap();
        assert_eq!((batch.num_rows(), batch.column(0).null_count()), (2, 2));
    }

    #[test]
    fn a_large_text_is_not_copied_and_a_view_becomes_a_plain_one() {
        let texts = vec!["a text longer than twelve bytes"];
        let column: ArrayRef = Arc::new(LargeStringArray::from(texts.clone()));
        let batch = aligned(Field::new("a", DataType::Utf8, true), "a", column.clone()).unwrap();
        assert_eq!(batch.column(0), &column);
        let column: ArrayRef = Arc::new(StringViewArray::from(texts.clone()));
        let batch = aligned(Field::new("a", DataType::Utf8, true), "a", column).unwrap();
        assert_eq!(batch.column(0).as_ref(), &StringArray::from(texts) as &dyn Array);
    }

    #[test]
    fn nothing_is_lost_silently() {
        let micros = Field::new("t", DataType::Timestamp(TimeUnit::Microsecond, None), true);
        let column = |ns| Arc::new(TimestampNanosecondArray::from(vec![Some(ns), None])) as ArrayRef;
        aligned(micros.clone(), "t", column(5_000)).unwrap();
        let floored = aligned_with(Nanoseconds::Floor, micros.clone(), "t", column(-1)).unwrap();
        assert_eq!(floored.column(0).as_ref(), &TimestampMicrosecondArray::from(vec![Some(-1), None]) as &dyn Array);
        let error = aligned(micros, "t", column(5_001)).unwrap_err().to_string();
        assert!(error.starts_with("bronze.t: column `t`: a value of Timestamp(ns) has more digits"), "{error}");
        let error = aligned(Field::new("n", DataType::Int64, true), "n", Arc::new(UInt64Array::from(vec![u64::MAX])))
            .unwrap_err();
        assert!(error.to_string().contains("18446744073709551615"), "{error}");
    }

    #[test]
    fn a_null_in_a_required_column_is_refused_by_name() {
        let column = Arc::new(Int32Array::from(vec![Some(1), None]));
        let error = aligned(Field::new("id", DataType::Int32, false), "id", column).unwrap_err();
        assert_eq!(error.to_string(), "bronze.t: column `id`: the table requires a value, but there is a null");
    }
}
