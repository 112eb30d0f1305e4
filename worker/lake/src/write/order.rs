//! The order in which rows are written: by partition, then by the table's sort order.

use arrow::array::{ArrayRef, RecordBatch};
use arrow::compute::SortOptions;
use arrow::row::{RowConverter, Rows, SortField};
use iceberg::arrow::type_to_arrow_type;
use iceberg::spec::{NullOrder, SortDirection, Transform};
use iceberg::transform::{BoxedTransformFunction, create_transform_function};

use super::split::{Splitter, lost_source};
use crate::{Error, Target, schema::ColumnPath};

/// Makes the keys that rows are sorted by.
pub(super) struct Order {
    table: String,
    splitter: Option<Splitter>,
    fields: Vec<(ColumnPath, BoxedTransformFunction)>,
    rows: RowConverter,
}

impl Order {
    /// `is_sorted`: by the table's sort order too, not only by partition.
    pub(super) fn new(target: &Target, is_sorted: bool) -> Result<Self, Error> {
        let failed = || Error::iceberg(&target.table, "sort rows");
        let partitioned = !target.metadata.default_partition_spec().is_unpartitioned();
        let splitter = if partitioned { Some(Splitter::new(target)?) } else { None };
        let mut keys = splitter.as_ref().map_or(Ok(Vec::new()), Splitter::sort_fields)?;
        let mut fields = Vec::new();
        let sort = target.metadata.default_sort_order();
        for field in sort.fields.iter().filter(|_| is_sorted) {
            let schema = target.metadata.current_schema();
            let lost = || lost_source(target, "sort", &field.to_string());
            let (column, source) =
                ColumnPath::of(schema, field.source_id).zip(schema.field_by_id(field.source_id)).ok_or_else(lost)?;
            let ty = if field.transform == Transform::Identity {
                column.data_type(target.alignment.schema()).ok_or_else(lost)?.clone()
            } else {
                let result = field.transform.result_type(&source.field_type).map_err(failed())?;
                type_to_arrow_type(&result).map_err(failed())?
            };
            let descending = field.direction == SortDirection::Descending;
            let nulls_first = field.null_order == NullOrder::First;
            keys.push(SortField::new_with_options(ty, SortOptions { descending, nulls_first }));
            fields.push((column, create_transform_function(&field.transform).map_err(failed())?));
        }
        let rows = RowConverter::new(keys).map_err(|e| Error::encode(target.location(), e))?;
        Ok(Self { table: target.table.to_string(), splitter, fields, rows })
    }

    /// One key for each row; their bytes are in the order of the rows.
    pub(super) fn keys(&self, batch: &RecordBatch) -> Result<Rows, Error> {
        let mut values: Vec<ArrayRef> = match &self.splitter {
            Some(splitter) => splitter.values(batch)?,
            None => Vec::new(),
        };
        for (column, function) in &self.fields {
            let column = column.values(batch).map_err(|e| Error::encode(&self.table, e))?;
            let transformed = function.transform(column);
            values.push(transformed.map_err(Error::iceberg(&self.table, "sort rows"))?);
        }
        self.rows.convert_columns(&values).map_err(|e| Error::encode(&self.table, e))
    }
}
