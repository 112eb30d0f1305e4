//! Which roots of a Parquet schema are columns.
//!
//! The decoder makes no column of a root that holds no value: then the place of a column in the Arrow schema is not that of
//! its root, by which the decoder is asked for it.

use parquet::arrow::ProjectionMask;
use parquet::arrow::arrow_reader::ArrowReaderMetadata;
use parquet::basic::ConvertedType;
use parquet::errors::ParquetError;
use parquet::schema::types::{SchemaDescriptor, Type};

/// The root of each column of the Arrow schema.
fn roots(schema: &SchemaDescriptor) -> impl Iterator<Item = usize> {
    schema.root_schema().get_fields().iter().enumerate().filter(|(_, root)| is_column(root)).map(|(root, _)| root)
}

/// Whether the decoder makes a column of a type (`Visitor` of its module `arrow::schema::complex`).
fn is_column(ty: &Type) -> bool {
    if ty.is_primitive() {
        return true;
    }
    let is_map = matches!(ty.get_basic_info().converted_type(), ConvertedType::MAP | ConvertedType::MAP_KEY_VALUE);
    match ty.get_fields() {
        // Of a map both keys and values must be columns.
        [pair] if is_map && !pair.is_primitive() && pair.get_fields().len() == 2 => {
            pair.get_fields().iter().all(|field| is_column(field))
        }
        fields => fields.iter().any(|field| is_column(field)),
    }
}

/// # Errors
/// When the columns are not those that [`is_column`] says.
pub(super) fn check(footer: &ArrowReaderMetadata) -> Result<(), ParquetError> {
    let all = footer.parquet_schema().root_schema().get_fields();
    let names = roots(footer.parquet_schema()).map(|root| all[root].name());
    if names.eq(footer.schema().fields().iter().map(|field| field.name())) {
        return Ok(());
    }
    Err(ParquetError::General("its columns are others than its schema says".to_owned()))
}

/// Whether every root is a column.
pub(super) fn are_columns(footer: &ArrowReaderMetadata) -> bool {
    footer.schema().fields().len() == footer.parquet_schema().root_schema().get_fields().len()
}

/// The columns at `places` of the Arrow schema.
pub(super) fn mask(footer: &ArrowReaderMetadata, places: &[usize]) -> ProjectionMask {
    let schema = footer.parquet_schema();
    let roots: Vec<usize> = roots(schema).collect();
    ProjectionMask::roots(schema, places.iter().map(|place| roots[*place]))
}

/// The place in the Arrow schema of the column that a leaf is part of; `None`: of none.
pub(super) fn place(footer: &ArrowReaderMetadata, leaf: usize) -> Option<usize> {
    let schema = footer.parquet_schema();
    let root = schema.get_column_root_idx(leaf);
    roots(schema).position(|column| column == root)
}
