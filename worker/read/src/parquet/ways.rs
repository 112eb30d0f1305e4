//! How values of one type become those of another, nested ones among them, and which of them do not.
//!
//! A cast rounds, cuts and wraps. So each value must come back from it as it was, unless the types say that every value
//! does, or the declared type says that rounding is meant: `float` of doubles. Fields of structs are found by their names.

use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, ListArray, MapArray, StructArray, UInt64Array};
use arrow::buffer::OffsetBuffer;
use arrow::compute::kernels::cmp;
use arrow::compute::{CastOptions, can_cast_types, cast_with_options, nullif, take};
use arrow::datatypes::{DataType, Field, FieldRef, Fields, Float32Type, Float64Type};
use arrow::error::ArrowError;

use super::make::{Made, mask};
use super::texts::Texts;
use crate::landable::landable;

/// How the values of one type become those of another.
#[derive(Debug)]
pub(super) enum Way {
    /// By a cast that every value survives.
    Safe,
    /// By a cast from which each value must come back as it was.
    Back,
    /// To the nearest number with a floating point.
    Nearest,
    Texts(Texts),
    List(Box<Way>),
    /// For each field, its place in what was found.
    Struct(Vec<(usize, Way)>),
    /// Keys and values.
    Map(Box<(Way, Way)>),
}

/// The type that the values of a file have first: that which lands, as far as there is one.
pub(super) fn landed(ty: &DataType) -> DataType {
    let inner = |field: &FieldRef| Arc::new(Field::new(field.name(), landed(field.data_type()), field.is_nullable()));
    landable(ty).unwrap_or_else(|_| match ty {
        DataType::Dictionary(_, values) => landed(values),
        DataType::RunEndEncoded(_, values) => landed(values.data_type()),
        DataType::List(item)
        | DataType::LargeList(item)
        | DataType::ListView(item)
        | DataType::LargeListView(item)
        | DataType::FixedSizeList(item, _) => DataType::List(inner(item)),
        DataType::Struct(fields) => DataType::Struct(fields.iter().map(inner).collect()),
        DataType::Map(entries, sorted) => DataType::Map(inner(entries), *sorted),
        other => other.clone(),
    })
}

impl Way {
    /// How values of a [`landed`] type become those of another, which is declared or else that of the first file.
    ///
    /// # Errors
    /// Why they cannot, in words that may be none.
    pub(super) fn new(from: &DataType, to: &DataType, is_declared: bool) -> Result<Self, String> {
        let inner = |from: &FieldRef, to: &FieldRef| Self::new(from.data_type(), to.data_type(), is_declared);
        let can_return = || can_cast_types(from, to) && can_cast_types(to, from);
        match (from, to) {
            _ if is_safe(from, to) => Ok(Self::Safe),
            (DataType::List(from), DataType::List(to)) => Ok(Self::List(Box::new(inner(from, to)?))),
            (DataType::Struct(from), DataType::Struct(to)) => Self::of_fields(from, to, is_declared),
            (DataType::Map(from, _), DataType::Map(to, _)) => match (pair(from), pair(to)) {
                (Some([key, value]), Some([to_key, to_value])) => {
                    Ok(Self::Map(Box::new((inner(key, to_key)?, inner(value, to_value)?))))
                }
                _ => Err(String::new()),
            },
            _ if from.is_nested() || to.is_nested() => Err(String::new()),
            (DataType::Utf8, _) => Texts::usual(to).map(Self::Texts).ok_or_else(String::new),
            // Nobody has said what number a moment is, or the other way round.
            _ if !is_declared && is_moment(from) != is_moment(to) => Err(String::new()),
            _ if !can_return() => Err(String::new()),
            (DataType::Float64 | DataType::Decimal128(..), DataType::Float32)
            | (DataType::Decimal128(..), DataType::Float64)
                if is_declared =>
            {
                Ok(Self::Nearest)
            }
            _ => Ok(Self::Back),
        }
    }

    fn of_fields(from: &Fields, to: &Fields, is_declared: bool) -> Result<Self, String> {
        if let Some(more) = from.iter().find(|field| to.find(field.name()).is_none()) {
            return Err(format!("field `{}` has no counterpart", more.name()));
        }
        let field = |to: &FieldRef| {
            let (place, from) = from.find(to.name()).ok_or_else(|| format!("there is no field `{}`", to.name()))?;
            Ok((place, Self::new(from.data_type(), to.data_type(), is_declared)?))
        };
        to.iter().map(field).collect::<Result<_, _>>().map(Self::Struct)
    }

    /// Makes values; null where one could not be made.
    pub(super) fn make(&self, array: &ArrayRef, to: &DataType) -> Result<Made, ArrowError> {
        match (self, to) {
            (Self::Back, _) => came_back(array, to),
            (Self::Nearest, _) => nearest(array, to),
            (Self::Texts(texts), _) => texts.make(array, to),
            (Self::List(way), DataType::List(field)) => {
                let lists = array.as_list::<i32>();
                let (offsets, items) = of_lists(lists.offsets(), lists.values());
                let Made { array: items, bad } = way.make(&items, field.data_type())?;
                if !bad.is_empty() {
                    return self.without(array, to, holders(&offsets, &bad));
                }
                let lists = ListArray::try_new(Arc::clone(field), offsets, items, lists.nulls().cloned())?;
                Ok(Made { array: Arc::new(lists), bad })
            }
            (Self::Struct(ways), DataType::Struct(fields)) => {
                let structs = array.as_struct();
                let (columns, bad) = columns(structs, ways, fields)?;
                if !bad.is_empty() {
                    return self.without(array, to, bad);
                }
                let structs = StructArray::try_new(fields.clone(), columns, structs.nulls().cloned())?;
                Ok(Made { array: Arc::new(structs), bad })
            }
            (Self::Map(ways), DataType::Map(entries, sorted)) => {
                let maps = array.as_map();
                let Some([key, value]) = pair(entries) else { return Err(not_a_map(to)) };
                let (offsets, keys) = of_lists(maps.offsets(), maps.keys());
                let (_, values) = of_lists(maps.offsets(), maps.values());
                let (keys, values) = (ways.0.make(&keys, key.data_type())?, ways.1.make(&values, value.data_type())?);
                let bad = both(keys.bad, values.bad);
                if !bad.is_empty() {
                    return self.without(array, to, holders(&offsets, &bad));
                }
                let fields = Fields::from(vec![Arc::clone(key), Arc::clone(value)]);
                let pairs = StructArray::try_new(fields, vec![keys.array, values.array], None)?;
                let maps = MapArray::try_new(Arc::clone(entries), offsets, pairs, maps.nulls().cloned(), *sorted)?;
                Ok(Made { array: Arc::new(maps), bad })
            }
            _ => Ok(Made { array: cast(array, to)?, bad: Vec::new() }),
        }
    }

    /// Makes the values of all other rows. What stands below those that are null is no value.
    fn without(&self, array: &ArrayRef, to: &DataType, mut bad: Vec<usize>) -> Result<Made, ArrowError> {
        bad.retain(|row| array.is_valid(*row));
        let is_bad = mask(array.len(), &bad);
        let good = (0..array.len()).map(|row| (array.is_valid(row) && !is_bad.value(row)).then_some(row as u64));
        let Made { array, .. } = self.make(&take(array, &good.collect::<UInt64Array>(), None)?, to)?;
        Ok(Made { array, bad })
    }
}

/// Whether every value survives a cast.
fn is_safe(from: &DataType, to: &DataType) -> bool {
    use DataType::{
        Binary, Decimal128, FixedSizeBinary, Float32, Float64, Int32, Int64, List, Map, Null, Struct, Utf8,
    };
    let holds = |digits: i8, precision: u8, scale: i8| i16::from(precision) - i16::from(scale) >= i16::from(digits);
    match (from, to) {
        (Null, _) | (Int32, Int64 | Float64) | (Float32, Float64) | (Utf8 | FixedSizeBinary(_), Binary) => true,
        (Int32, Decimal128(precision, scale)) => holds(10, *precision, *scale),
        (Int64, Decimal128(precision, scale)) => holds(19, *precision, *scale),
        (Decimal128(precision, scale), Decimal128(to_precision, to_scale)) => {
            let whole = i16::from(*precision) - i16::from(*scale);
            to_scale >= scale && i16::from(*to_precision) - i16::from(*to_scale) >= whole
        }
        (List(from), List(to)) => is_safe(from.data_type(), to.data_type()),
        (Struct(from), Struct(to)) => {
            let is_same = |(from, to): (&FieldRef, &FieldRef)| {
                from.name() == to.name() && is_safe(from.data_type(), to.data_type())
            };
            from.len() == to.len() && from.iter().zip(to).all(is_same)
        }
        (Map(from, sorted), Map(to, to_sorted)) => match (pair(from), pair(to)) {
            (Some(from), Some(to)) if sorted == to_sorted => {
                from.iter().zip(to).all(|(from, to)| is_safe(from.data_type(), to.data_type()))
            }
            _ => false,
        },
        (Binary, Utf8) => false,
        (from, Utf8) => can_cast_types(from, to),
        _ => from == to,
    }
}

/// Keys and values of a map.
fn pair(entries: &FieldRef) -> Option<[&FieldRef; 2]> {
    let DataType::Struct(fields) = entries.data_type() else { return None };
    let [key, value] = fields.as_ref() else { return None };
    Some([key, value])
}

fn is_moment(ty: &DataType) -> bool {
    matches!(ty, DataType::Date32 | DataType::Time64(_) | DataType::Timestamp(..))
}

pub(super) fn cast(array: &ArrayRef, to: &DataType) -> Result<ArrayRef, ArrowError> {
    cast_with_options(array, to, &CastOptions { safe: false, ..CastOptions::default() })
}

/// Casts what can be cast; null what cannot.
fn castable(array: &ArrayRef, to: &DataType) -> Result<ArrayRef, ArrowError> {
    cast_with_options(array, to, &CastOptions { safe: true, ..CastOptions::default() })
}

/// Casts the values that come back from the cast as they were.
pub(super) fn came_back(array: &ArrayRef, to: &DataType) -> Result<Made, ArrowError> {
    let made = castable(array, to)?;
    let back = castable(&made, array.data_type())?;
    let differs = cmp::distinct(&back, array)?;
    let differs = differs.values().set_indices();
    let bad: Vec<usize> = differs.filter(|row| !is_same_number(array, &back, *row)).collect();
    Ok(Made { array: nulled(&made, &bad)?, bad })
}

/// Whether two numbers differ in nothing but the sign of a zero, or in what kind of none they are.
#[allow(clippy::float_cmp, reason = "what came back is the same number, not one that is near")]
fn is_same_number(one: &ArrayRef, other: &ArrayRef, row: usize) -> bool {
    match (float(one, row), float(other, row)) {
        (Some(one), Some(other)) => one == other || one.is_nan() && other.is_nan(),
        _ => false,
    }
}

/// The value of a floating-point number that is there.
fn float(array: &ArrayRef, row: usize) -> Option<f64> {
    match array.data_type() {
        _ if array.is_null(row) => None,
        DataType::Float32 => Some(f64::from(array.as_primitive::<Float32Type>().value(row))),
        DataType::Float64 => Some(array.as_primitive::<Float64Type>().value(row)),
        _ => None,
    }
}

/// The nearest numbers with a floating point; for what is beyond them there is none.
fn nearest(array: &ArrayRef, to: &DataType) -> Result<Made, ArrowError> {
    let made = castable(array, to)?;
    let is_infinite = |array: &ArrayRef, row| float(array, row).is_some_and(f64::is_infinite);
    let is_lost = |row: &usize| made.is_null(*row) || is_infinite(&made, *row) && !is_infinite(array, *row);
    let bad: Vec<usize> = (0..array.len()).filter(|row| array.is_valid(*row) && is_lost(row)).collect();
    Ok(Made { array: nulled(&made, &bad)?, bad })
}

/// The array with nulls in some rows.
fn nulled(array: &ArrayRef, rows: &[usize]) -> Result<ArrayRef, ArrowError> {
    if rows.is_empty() { Ok(Arc::clone(array)) } else { nullif(array, &mask(array.len(), rows)) }
}

/// The values that lists hold, and where each list ends among them.
fn of_lists(offsets: &OffsetBuffer<i32>, values: &ArrayRef) -> (OffsetBuffer<i32>, ArrayRef) {
    let (first, last) = (offsets[0], offsets[offsets.len() - 1]);
    let lengths = offsets.lengths();
    (OffsetBuffer::from_lengths(lengths), values.slice(first as usize, (last - first) as usize))
}

/// The lists that hold some of the values, in order.
fn holders(offsets: &OffsetBuffer<i32>, values: &[usize]) -> Vec<usize> {
    let holder = |value: &usize| offsets.partition_point(|offset| *offset as usize <= *value) - 1;
    let mut holders: Vec<usize> = values.iter().map(holder).collect();
    holders.dedup();
    holders
}

/// The rows that are in one of two lists, in order.
fn both(mut one: Vec<usize>, other: Vec<usize>) -> Vec<usize> {
    one.extend(other);
    one.sort_unstable();
    one.dedup();
    one
}

/// The columns of structs, and the rows in which one of them has no value.
fn columns(
    structs: &StructArray,
    ways: &[(usize, Way)],
    fields: &Fields,
) -> Result<(Vec<ArrayRef>, Vec<usize>), ArrowError> {
    let (mut columns, mut bad) = (Vec::with_capacity(ways.len()), Vec::new());
    for ((place, way), field) in ways.iter().zip(fields) {
        let made = way.make(structs.column(*place), field.data_type())?;
        columns.push(made.array);
        bad = both(bad, made.bad);
    }
    Ok((columns, bad))
}

fn not_a_map(ty: &DataType) -> ArrowError {
    ArrowError::SchemaError(format!("{ty} is no map"))
}
