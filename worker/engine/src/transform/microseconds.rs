//! Moments in nanoseconds become ones in microseconds, for engines whose plans were made for those.
//!
//! A Polars plan is made on a frame with the units that Moulin's types have, and may count on them.

use std::sync::Arc;

use arrow::array::{Array, ArrayData, ArrayRef, AsArray, RecordBatch, RecordBatchOptions, make_array};
use arrow::compute::cast;
use arrow::datatypes::{DataType, Field, FieldRef, Int64Type, Schema, SchemaRef, TimeUnit};
use futures::StreamExt;
use moulin_core::Nanoseconds;

use super::wanted::GivenWanted;
use crate::{BatchStream, Error};

/// A schema with microseconds in place of nanoseconds, also in what is nested; `None`: it has no nanoseconds.
pub(super) fn schema(schema: &Schema) -> Option<SchemaRef> {
    let fields: Vec<FieldRef> = schema.fields().iter().map(field).collect();
    let has_others = fields.iter().zip(schema.fields()).any(|(now, before)| now != before);
    has_others.then(|| Arc::new(Schema::new_with_metadata(fields, schema.metadata().clone())))
}

fn field(field: &FieldRef) -> FieldRef {
    Arc::new(Field::clone(field).with_data_type(ty(field.data_type())))
}

fn ty(of: &DataType) -> DataType {
    match of {
        DataType::Timestamp(TimeUnit::Nanosecond, zone) => DataType::Timestamp(TimeUnit::Microsecond, zone.clone()),
        DataType::Time64(TimeUnit::Nanosecond) => DataType::Time64(TimeUnit::Microsecond),
        DataType::List(item) => DataType::List(field(item)),
        DataType::Struct(fields) => DataType::Struct(fields.iter().map(field).collect()),
        DataType::Map(entries, sorted) => DataType::Map(field(entries), *sorted),
        other => other.clone(),
    }
}

/// What is wanted of rows whose moments are rounded before they are looked at: conditions on those say nothing of the
/// moments before.
pub(super) fn wanted(wanted: GivenWanted, given: &Schema, planned: &Schema) -> GivenWanted {
    let is_same = |name: &str| given.field_with_name(name).ok() == planned.field_with_name(name).ok();
    let conditions = wanted.conditions.into_iter().filter(|condition| is_same(&condition.column)).collect();
    GivenWanted { conditions, ..wanted }
}

/// Batches in the schema that [`schema`] answers with.
pub(super) fn batches(input: BatchStream, schema: SchemaRef, nanoseconds: Nanoseconds) -> BatchStream {
    Box::pin(input.map(move |batch| converted(&batch?, &schema, nanoseconds)))
}

fn converted(batch: &RecordBatch, schema: &SchemaRef, nanoseconds: Nanoseconds) -> Result<RecordBatch, Error> {
    let columns = batch.columns().iter().zip(schema.fields()).map(|(column, field)| {
        if column.data_type() == field.data_type() {
            return Ok(Arc::clone(column));
        }
        let made = array(&column.to_data(), field.data_type(), nanoseconds);
        made.map(make_array).map_err(|why| Error::TransformFailed(format!("column `{}` {why}", field.name())))
    });
    let columns = columns.collect::<Result<Vec<ArrayRef>, Error>>()?;
    let options = RecordBatchOptions::new().with_row_count(Some(batch.num_rows()));
    RecordBatch::try_new_with_options(Arc::clone(schema), columns, &options)
        .map_err(|error| Error::Internal(format!("the rows are not those the transform was planned for: {error}")))
}

// The error is a sentence about the column.
fn array(from: &ArrayData, to: &DataType, nanoseconds: Nanoseconds) -> Result<ArrayData, String> {
    if from.data_type() == to {
        return Ok(from.clone());
    }
    let inner: Vec<&FieldRef> = match to {
        DataType::List(item) | DataType::Map(item, _) => vec![item],
        DataType::Struct(fields) => fields.iter().collect(),
        _ => return moments(from, to, nanoseconds),
    };
    let children = from.child_data().iter().zip(inner);
    let children = children.map(|(child, field)| array(child, field.data_type(), nanoseconds));
    let children = children.collect::<Result<Vec<_>, String>>()?;
    let builder = from.clone().into_builder().data_type(to.clone()).child_data(children);
    builder.build().map_err(|error| format!("cannot be made {to}: {error}"))
}

fn moments(from: &ArrayData, to: &DataType, nanoseconds: Nanoseconds) -> Result<ArrayData, String> {
    let cannot = |error: arrow::error::ArrowError| format!("cannot be made {to}: {error}");
    let values = cast(&make_array(from.clone()), &DataType::Int64).map_err(cannot)?;
    let values = values.as_primitive::<Int64Type>();
    if nanoseconds == Nanoseconds::Refuse && values.iter().flatten().any(|ns| ns % 1_000 != 0) {
        return Err("has a moment that is not whole microseconds, which is all that Polars plans are given; say \
                    target.nanoseconds: floor, or write the transform as SQL"
            .to_owned());
    }
    // Towards the earlier moment, also before 1970.
    let micros: ArrayRef = Arc::new(values.unary::<_, Int64Type>(|ns| ns.div_euclid(1_000)));
    cast(&micros, to).map(|made| made.to_data()).map_err(cannot)
}
