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
        (DataType::Struct(from), DataType::Struct(to)) => to
            .iter()
            .any(|to| counterpart(from, to).is_some_and(|from| changes_nanoseconds(from.data_type(), to.data_type()))),
        (DataType::Map(from, _), DataType::Map(to, _)) => {
            parts(from).iter().zip(parts(to)).any(|(from, to)| changes_nanoseconds(from.data_type(), to.data_type()))
        }
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
            let fields = fields.iter().map(|declared| match counterpart(found, declared) {
                Some(found) => inner(found, declared),
                None => Arc::clone(declared),
            });
            DataType::Struct(fields.collect())
        }
        (DataType::Map(found, _), DataType::Map(entries, sorted)) => {
            let pairs = parts(found).iter().zip(parts(entries));
            let pairs = DataType::Struct(pairs.map(|(found, declared)| inner(found, declared)).collect());
            DataType::Map(Arc::new(Field::clone(entries).with_data_type(pairs)), *sorted)
        }
        _ => match (inside(found), declared) {
            (Some(found), DataType::List(declared)) => DataType::List(inner(found, declared)),
            _ => declared.clone(),
        },
    }
}

/// What a list holds.
fn inside(ty: &DataType) -> Option<&FieldRef> {
    match ty {
        DataType::List(inside) | DataType::LargeList(inside) | DataType::FixedSizeList(inside, _) => Some(inside),
        _ => None,
    }
}

/// Key and value of a map's entries, whatever they are called.
fn parts(entries: &FieldRef) -> &[FieldRef] {
    if let DataType::Struct(parts) = entries.data_type() { parts } else { &[] }
}

/// The field that `field` is made of: that of its name.
fn counterpart<'a>(fields: &'a Fields, field: &FieldRef) -> Option<&'a FieldRef> {
    fields.find(field.name()).map(|(_, found)| found)
}
