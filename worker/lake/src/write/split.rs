//! Which partition each row belongs to.

use std::collections::HashMap;
use std::fmt;

use arrow::array::{ArrayRef, RecordBatch, UInt32Array};
use arrow::compute::take_record_batch;
use arrow::row::{RowConverter, SortField};
use iceberg::arrow::{arrow_primitive_to_literal, type_to_arrow_type};
use iceberg::spec::{Literal, PartitionSpecRef, Struct, Transform, Type};
use iceberg::transform::{BoxedTransformFunction, create_transform_function};

use crate::schema::{ColumnPath, partition_text};
use crate::{Error, Target};

/// The rows of one partition in a batch.
pub(super) struct Part {
    /// Equal for equal partition values.
    pub(super) key: Box<[u8]>,
    pub(super) values: Struct,
    pub(super) rows: RecordBatch,
}

/// Splits batches by the table's partition spec.
pub(super) struct Splitter {
    table: String,
    spec: PartitionSpecRef,
    fields: Vec<Field>,
    rows: RowConverter,
}

struct Field {
    column: ColumnPath,
    function: BoxedTransformFunction,
    result: Type,
}

/// The error of a field that is made of a column which has no single value in a row, or is not there.
pub(super) fn lost_source(target: &Target, kind: &str, field: &str) -> Error {
    Error::invalid(format!(
        "{}: its {kind} field {field} is made of a column that is not there, or inside of a list or map; such tables can be read but not landed into",
        target.table
    ))
}

impl fmt::Debug for Splitter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Splitter").field("table", &self.table).field("spec", &self.spec).finish_non_exhaustive()
    }
}

impl Splitter {
    pub(super) fn new(target: &Target) -> Result<Self, Error> {
        let failed = || Error::iceberg(&target.table, "partition rows");
        let (schema, spec) = (target.metadata.current_schema(), target.metadata.default_partition_spec());
        let mut fields = Vec::new();
        let mut sorts = Vec::new();
        for field in spec.fields() {
            let (column, source) = ColumnPath::of(schema, field.source_id)
                .zip(schema.field_by_id(field.source_id))
                .ok_or_else(|| lost_source(target, "partition", &field.name))?;
            let result = field.transform.result_type(&source.field_type).map_err(failed())?;
            sorts.push(SortField::new(type_to_arrow_type(&result).map_err(failed())?));
            fields.push(Field {
                column,
                function: create_transform_function(&field.transform).map_err(failed())?,
                result,
            });
        }
        let rows = RowConverter::new(sorts).map_err(|e| Error::encode(target.location(), e))?;
        Ok(Self { table: target.table.to_string(), spec: spec.clone(), fields, rows })
    }

    pub(super) fn split(&mut self, batch: &RecordBatch) -> Result<Vec<Part>, Error> {
        let values = self.values(batch)?;
        let rows = self.rows.convert_columns(&values).map_err(|e| Error::encode(&self.table, e))?;
        let first = rows.row(0);
        if rows.iter().all(|row| row == first) {
            return Ok(vec![Part {
                key: first.as_ref().into(),
                values: self.literals(&values, 0)?,
                rows: batch.clone(),
            }]);
        }
        let mut groups: HashMap<&[u8], Vec<u32>> = HashMap::new();
        let mut order = Vec::new();
        for (number, row) in (0u32..).zip(rows.iter()) {
            groups
                .entry(row.data())
                .or_insert_with(|| {
                    order.push(row.data());
                    Vec::new()
                })
                .push(number);
        }
        let parts = order.into_iter().map(|key| {
            let numbers = groups.remove(key).unwrap_or_default();
            let values = self.literals(&values, numbers.first().copied().unwrap_or_default() as usize)?;
            let rows =
                take_record_batch(batch, &UInt32Array::from(numbers)).map_err(|e| Error::encode(&self.table, e))?;
            Ok(Part { key: key.into(), values, rows })
        });
        parts.collect()
    }

    /// How partition values are sorted.
    pub(super) fn sort_fields(&self) -> Result<Vec<SortField>, Error> {
        let sorts = self.fields.iter().map(|field| Ok(SortField::new(type_to_arrow_type(&field.result)?)));
        let sorts: iceberg::Result<Vec<SortField>> = sorts.collect();
        sorts.map_err(Error::iceberg(&self.table, "partition rows"))
    }

    /// The partition values of each row.
    pub(super) fn values(&self, batch: &RecordBatch) -> Result<Vec<ArrayRef>, Error> {
        let transformed = self.fields.iter().map(|field| {
            let values = field.function.transform(field.column.values(batch)?)?;
            // The crate gives binary values back as they came, and expects its own Arrow type (large binary) later.
            let expected = type_to_arrow_type(&field.result)?;
            if *values.data_type() == expected { Ok(values) } else { Ok(arrow::compute::cast(&values, &expected)?) }
        });
        let transformed: iceberg::Result<_> = transformed.collect();
        transformed.map_err(Error::iceberg(&self.table, "compute partition values"))
    }

    fn literals(&self, values: &[ArrayRef], row: usize) -> Result<Struct, Error> {
        let literals = values.iter().zip(&self.fields).map(|(column, field)| {
            let one = arrow_primitive_to_literal(&column.slice(row, 1), &field.result)?;
            Ok(one.into_iter().next().flatten())
        });
        let literals: iceberg::Result<Vec<Option<Literal>>> = literals.collect();
        Ok(Struct::from_iter(literals.map_err(Error::iceberg(&self.table, "compute partition values"))?))
    }

    /// The folder of a partition, `origin=JFK/time_hour_month=2013-01/`, encoded as other engines do.
    pub(super) fn folder(&self, values: &Struct) -> String {
        let encode = |text: &str| url::form_urlencoded::byte_serialize(text.as_bytes()).collect::<String>();
        let mut folder = String::new();
        for ((field, own), value) in self.spec.fields().iter().zip(&self.fields).zip(values.iter()) {
            if field.transform == Transform::Void {
                continue;
            }
            let text = partition_text(field.transform, &own.result, value);
            folder.push_str(&format!("{}={}/", encode(&field.name), encode(&text)));
        }
        folder
    }
}
