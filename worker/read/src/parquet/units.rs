//! Moments of a column in the units that its files have them in.

use std::sync::Arc;

use arrow::datatypes::{DataType, Field, FieldRef, Fields, TimeUnit};

/// Whether moments of one type are in nanoseconds and those of the other are not: not all of the one are moments of the
/// other.
pub(super) fn changes_nanoseconds(from: &DataType, to: &DataType) -> bool {
    match (from, to) {
        (DataType::Timestamp(from, _), DataType::Timestamp(to, _))
        | (DataType::Time32(from) | DataType::Time64(from), DataType::Time32(to) | DataType::Time64(to)) => {
            (*from == TimeUnit::Nanosecond) != (*to == TimeUnit::Nanosecond)
        }
        (DataType::Struct(from), DataType::Struct(to)) => to.iter().enumerate().any(|(at, to)| {
            counterpart(from, at, to).is_some_and(|from| changes_nanoseconds(from.data_type(), to.data_type()))
        }),
        _ => match (inside(from), inside(to)) {
            (Some(from), Some(to)) => changes_nanoseconds(from.data_type(), to.data_type()),
            _ => false,
        },
    }
}

/// A declared type with nanoseconds where the file has them: the words for types name no unit.
pub(super) fn in_units_of(found: &DataType, declared: &DataType) -> DataType {
    let inner = |found: &FieldRef, declared: &FieldRef| {
        Arc::new(Field::clone(declared).with_data_type(in_units_of(found.data_type(), declared.data_type())))
    };
    match (found, declared) {
        (DataType::Timestamp(TimeUnit::Nanosecond, _), DataType::Timestamp(_, zone)) => {
            DataType::Timestamp(TimeUnit::Nanosecond, zone.clone())
        }
        (DataType::Time64(TimeUnit::Nanosecond), DataType::Time64(_)) => DataType::Time64(TimeUnit::Nanosecond),
        (DataType::Struct(found), DataType::Struct(fields)) => {
            let fields = fields.iter().enumerate().map(|(at, declared)| match counterpart(found, at, declared) {
                Some(found) => inner(found, declared),
                None => Arc::clone(declared),
            });
            DataType::Struct(fields.collect())
        }
        _ => match (inside(found), declared) {
            (Some(found), DataType::List(declared)) => DataType::List(inner(found, declared)),
            (Some(found), DataType::Map(declared, sorted)) => DataType::Map(inner(found, declared), *sorted),
            _ => declared.clone(),
        },
    }
}

/// What a list or a map holds.
fn inside(ty: &DataType) -> Option<&FieldRef> {
    match ty {
        DataType::List(inside)
        | DataType::LargeList(inside)
        | DataType::FixedSizeList(inside, _)
        | DataType::Map(inside, _) => Some(inside),
        _ => None,
    }
}

/// The field that a cast makes `field` of: that of its name, else that of its place.
fn counterpart<'a>(fields: &'a Fields, at: usize, field: &FieldRef) -> Option<&'a FieldRef> {
    fields.iter().find(|other| other.name() == field.name()).or_else(|| fields.get(at))
}
