//! Batches between Arrow and Polars, which has an Arrow of its own.
//!
//! Columns cross by the Arrow C data interface: no value is copied on the way, and each side releases what it took
//! over. This is the only file of the crate with `unsafe` in it.

use arrow::array::{ArrayRef, RecordBatch, RecordBatchOptions, make_array};
use arrow::datatypes::{Field as ArrowField, Schema as ArrowSchema};
use arrow::ffi::{FFI_ArrowArray, FFI_ArrowSchema, from_ffi, to_ffi};
use polars::prelude::{Column, CompatLevel, DataFrame, IntoColumn, PlSmallStr, Schema, Series};
use polars_arrow::array::Array as PolarsArray;
use polars_arrow::ffi::{
    ArrowArray as PolarsFfiArray, ArrowSchema as PolarsFfiSchema, export_array_to_c, export_field_to_c,
    import_array_from_c, import_field_from_c,
};
use std::sync::Arc;

use crate::Error;

/// The columns of `batch` as a frame of the same names and rows.
pub(crate) fn to_frame(batch: &RecordBatch) -> Result<DataFrame, Error> {
    let schema = batch.schema();
    let fields = schema.fields().iter().zip(batch.columns());
    let columns = fields.map(|(field, column)| to_column(field.name(), column)).collect::<Result<Vec<_>, _>>()?;
    DataFrame::new(batch.num_rows(), columns).map_err(|error| crossing("rows", &error))
}

/// A frame without rows whose columns have the types rows of `schema` come as.
pub(crate) fn empty_frame(schema: &Arc<ArrowSchema>) -> Result<DataFrame, Error> {
    to_frame(&RecordBatch::new_empty(Arc::clone(schema)))
}

/// The rows of `frame` as one batch in Arrow's types, strings and binaries as views.
pub(crate) fn to_batch(mut frame: DataFrame) -> Result<RecordBatch, Error> {
    frame.rechunk_mut();
    let rows = frame.height();
    let (mut fields, mut columns) = (Vec::new(), Vec::new());
    for column in frame.columns() {
        let array = from_series(column.as_materialized_series())?;
        fields.push(ArrowField::new(column.name().as_str(), array.data_type().clone(), true));
        columns.push(array);
    }
    let options = RecordBatchOptions::new().with_row_count(Some(rows));
    RecordBatch::try_new_with_options(Arc::new(ArrowSchema::new(fields)), columns, &options)
        .map_err(|error| crossing("rows", &error))
}

/// The Arrow schema of rows of `schema`, as [`to_batch`] makes it.
pub(crate) fn to_arrow_schema(schema: &Schema) -> Result<ArrowSchema, Error> {
    Ok(to_batch(DataFrame::empty_with_schema(schema))?.schema().as_ref().clone())
}

fn to_column(name: &str, array: &ArrayRef) -> Result<Column, Error> {
    let imported = import(array).map_err(|error| crossing(name, &error))?;
    let series = Series::try_from((PlSmallStr::from_str(name), imported)).map_err(|error| crossing(name, &error))?;
    Ok(series.into_column())
}

fn from_series(series: &Series) -> Result<ArrayRef, Error> {
    let name = series.name().as_str();
    // A type only Polars has (a 128-bit integer) makes `to_arrow` of the array and the field disagree with Arrow.
    let array = series.to_arrow(0, CompatLevel::newest());
    export(array).map_err(|error| crossing(name, &error))
}

#[allow(unsafe_code, reason = "the Arrow C data interface is C")]
fn import(array: &ArrayRef) -> Result<Box<dyn PolarsArray>, Box<dyn std::error::Error>> {
    let (array, schema) = to_ffi(&array.to_data())?;
    // SAFETY: both pairs of types are `repr(C)` and spell out the same structure of the Arrow C data interface, and
    // both release what they own when dropped through the `release` callback in that structure. The transmute moves
    // the value, so exactly one side runs it.
    let (array, schema) = unsafe {
        (
            std::mem::transmute::<FFI_ArrowArray, PolarsFfiArray>(array),
            std::mem::transmute::<FFI_ArrowSchema, PolarsFfiSchema>(schema),
        )
    };
    // SAFETY: `to_ffi` has just made both from one valid array, so they are valid and agree.
    unsafe {
        let field = import_field_from_c(&schema)?;
        Ok(import_array_from_c(array, field.dtype)?)
    }
}

#[allow(unsafe_code, reason = "the Arrow C data interface is C")]
fn export(array: Box<dyn PolarsArray>) -> Result<ArrayRef, Box<dyn std::error::Error>> {
    let field = polars::prelude::ArrowField::new(PlSmallStr::EMPTY, array.dtype().clone(), true);
    let (array, schema) = (export_array_to_c(array), export_field_to_c(&field));
    // SAFETY: as in `import`, the other way around.
    let (array, schema) = unsafe {
        (
            std::mem::transmute::<PolarsFfiArray, FFI_ArrowArray>(array),
            std::mem::transmute::<PolarsFfiSchema, FFI_ArrowSchema>(schema),
        )
    };
    // SAFETY: Polars has just made both from one valid array and its own type.
    let mut data = unsafe { from_ffi(array, &schema)? };
    // Arrow wants 128-bit values aligned, which the interface does not promise.
    data.align_buffers();
    Ok(make_array(data))
}

fn crossing(name: &str, error: &dyn std::fmt::Display) -> Error {
    Error::TransformFailed(format!("`{name}` cannot pass between Arrow and Polars: {error}"))
}
