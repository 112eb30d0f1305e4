//! The shape rows leave a transform in.

use std::collections::HashSet;
use std::sync::Arc;

use arrow::array::{ArrayRef, RecordBatch, RecordBatchOptions};
use arrow::compute::{CastOptions, cast_with_options};
use arrow::datatypes::{Field, Schema, SchemaRef};

use crate::Error;
use moulin_read::landable;

/// Rows in one batch at the most, so that no 32-bit offset of a column of long strings overflows early.
const ROWS_IN_BATCH: usize = 1 << 17;

/// Casts an engine's batches to the types rows land as.
#[derive(Debug, Clone)]
pub(crate) struct Output {
    schema: SchemaRef,
}

impl Output {
    /// For batches of `made`. Every column may hold nulls: whether none comes up is a matter of the rows of one
    /// job, and a table made by one job takes those of the next.
    ///
    /// # Errors
    /// `TransformInvalid` for a type that cannot land, two columns of one name, no column at all.
    pub(crate) fn of(made: &Schema) -> Result<Self, Error> {
        let mut names = HashSet::new();
        let mut fields = Vec::with_capacity(made.fields().len());
        for field in made.fields() {
            let name = field.name();
            if !names.insert(name.as_str()) {
                return Err(Error::TransformInvalid(format!(
                    "the transform makes two columns `{name}`: give one another name (AS, alias)"
                )));
            }
            let data_type = landable(field.data_type())
                .map_err(|why| Error::TransformInvalid(format!("the transform's column `{name}` {why}")))?;
            fields.push(Field::new(name, data_type, true));
        }
        if fields.is_empty() {
            return Err(Error::TransformInvalid("the transform makes no column".to_owned()));
        }
        Ok(Self { schema: Arc::new(Schema::new(fields)) })
    }

    /// The schema rows land with.
    pub(crate) fn schema(&self) -> &SchemaRef {
        &self.schema
    }

    /// `batch` in that schema, in pieces when it is long.
    pub(crate) fn cast(&self, batch: &RecordBatch) -> Result<Vec<RecordBatch>, Error> {
        let rows = batch.num_rows();
        (0..rows)
            .step_by(ROWS_IN_BATCH)
            .map(|from| self.cast_piece(&batch.slice(from, ROWS_IN_BATCH.min(rows - from))))
            .collect()
    }

    fn cast_piece(&self, batch: &RecordBatch) -> Result<RecordBatch, Error> {
        if batch.num_columns() != self.schema.fields().len() {
            let (made, planned) = (batch.num_columns(), self.schema.fields().len());
            return Err(Error::Internal(format!("the transform made {made} columns where {planned} were planned")));
        }
        let columns = self.schema.fields().iter().zip(batch.columns());
        let columns = columns.map(|(field, column)| cast_column(field, column)).collect::<Result<Vec<_>, _>>()?;
        let options = RecordBatchOptions::new().with_row_count(Some(batch.num_rows()));
        RecordBatch::try_new_with_options(Arc::clone(&self.schema), columns, &options)
            .map_err(|error| Error::Internal(format!("the transform's rows do not fit its schema: {error}")))
    }
}

fn cast_column(field: &Field, column: &ArrayRef) -> Result<ArrayRef, Error> {
    if column.data_type() == field.data_type() {
        return Ok(Arc::clone(column));
    }
    // Not safe casts: those would make null of what does not fit.
    let options = CastOptions { safe: false, ..CastOptions::default() };
    cast_with_options(column, field.data_type(), &options).map_err(|error| {
        Error::TransformFailed(format!(
            "column `{}` does not become {}: {error}",
            field.name(),
            moulin_read::iceberg_type_name(field.data_type())
        ))
    })
}

#[cfg(test)]
mod tests {
    use arrow::array::{Array, AsArray, TimestampNanosecondArray, UInt64Array};
    use arrow::datatypes::{DataType, Decimal128Type, TimeUnit, TimestampNanosecondType};

    use super::*;

    #[test]
    fn unsigned_columns_are_cast_exactly_and_nanoseconds_stay() {
        let made = RecordBatch::try_from_iter([
            ("hash", Arc::new(UInt64Array::from(vec![Some(u64::MAX), None])) as ArrayRef),
            ("at", Arc::new(TimestampNanosecondArray::from(vec![1_999, 2_000])) as ArrayRef),
        ])
        .unwrap();
        let cast = Output::of(&made.schema()).unwrap().cast(&made).unwrap().remove(0);
        let hash = cast.column(0).as_primitive::<Decimal128Type>();
        assert_eq!((hash.value(0), hash.null_count()), (i128::from(u64::MAX), 1));
        assert_eq!(cast.column(1).as_primitive::<TimestampNanosecondType>().values()[..], [1_999, 2_000]);
        assert!(cast.schema().fields().iter().all(|f| f.is_nullable()));
    }

    #[test]
    fn a_long_batch_is_cut_and_no_row_is_lost() {
        let rows = ROWS_IN_BATCH + 3;
        let column: ArrayRef = Arc::new(UInt64Array::from_iter_values(0..rows as u64));
        let made = RecordBatch::try_from_iter([("n", column)]).unwrap();
        let pieces = Output::of(&made.schema()).unwrap().cast(&made).unwrap();
        assert_eq!(pieces.iter().map(RecordBatch::num_rows).collect::<Vec<_>>(), [ROWS_IN_BATCH, 3]);
        assert_eq!(pieces[1].column(0).as_primitive::<Decimal128Type>().value(2), rows as i128 - 1);
    }

    #[test]
    fn columns_that_cannot_land_are_named() {
        let field = |name: &str, data_type| Field::new(name, data_type, true);
        let refused = |fields: Vec<Field>| Output::of(&Schema::new(fields)).unwrap_err().to_string();
        assert!(refused(vec![field("a", DataType::Int64), field("a", DataType::Utf8)]).contains("two columns `a`"));
        assert!(refused(vec![field("b", DataType::Null)]).contains("column `b` has no type"));
        assert!(refused(vec![field("c", DataType::Duration(TimeUnit::Second))]).contains("`c`"));
        assert!(refused(vec![]).contains("no column"));
    }
}
