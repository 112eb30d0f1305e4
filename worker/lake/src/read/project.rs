//! Columns of a data file, found by field id, as columns of the table.

use std::collections::HashSet;

use arrow::array::{RecordBatch, RecordBatchOptions};
use arrow::datatypes::{Schema as ArrowSchema, SchemaRef};
use iceberg::spec::Schema;
use moulin_core::{Nanoseconds, TableName};
use parquet::arrow::ProjectionMask;
use parquet::schema::types::SchemaDescriptor;

use crate::{Error, schema::Alignment};

/// How a file's batches become the table's.
pub(super) struct Projection {
    mask: ProjectionMask,
    alignment: Alignment,
    renamed: SchemaRef,
    location: String,
}

impl Projection {
    /// Columns are found by field id, in files without ids by name; others are null.
    pub(super) fn new(
        location: &str,
        table: &TableName,
        columns: &Schema,
        schema: &SchemaRef,
        file: &SchemaRef,
        parquet: &SchemaDescriptor,
    ) -> Self {
        let roots = parquet.root_schema().get_fields();
        let mut kept = Vec::new();
        let mut fields = Vec::new();
        for (index, (field, root)) in file.fields().iter().zip(roots).enumerate() {
            let info = root.get_basic_info();
            let column = if info.has_id() {
                columns.as_struct().fields().iter().find(|c| c.id == info.id())
            } else {
                columns.as_struct().fields().iter().find(|c| c.name == *field.name())
            };
            if let Some(column) = column {
                kept.push(index);
                fields.push(field.as_ref().clone().with_name(&column.name));
            }
        }
        let renamed = std::sync::Arc::new(ArrowSchema::new(fields));
        let every_column: HashSet<&str> = columns.as_struct().fields().iter().map(|c| c.name.as_str()).collect();
        let alignment = Alignment::new(table, schema, &renamed, &every_column, Nanoseconds::Refuse);
        Self { mask: ProjectionMask::roots(parquet, kept), alignment, renamed, location: location.to_owned() }
    }

    pub(super) fn mask(&self) -> ProjectionMask {
        self.mask.clone()
    }

    pub(super) fn apply(&self, batch: &RecordBatch) -> Result<RecordBatch, Error> {
        let options = RecordBatchOptions::new().with_row_count(Some(batch.num_rows()));
        let renamed = RecordBatch::try_new_with_options(self.renamed.clone(), batch.columns().to_vec(), &options)
            .map_err(|e| Error::storage("read", &self.location, e))?;
        self.alignment.align(&renamed)
    }
}
