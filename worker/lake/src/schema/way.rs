//! From a column of the rows to the type of the table's, nested fields by name.

use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray as _, ListArray, MapArray, StructArray, new_null_array};
use arrow::compute::{CastOptions, cast_with_options};
use arrow::datatypes::{DataType, Field, FieldRef, Fields, Int64Type, TimeUnit};
use arrow::util::display::FormatOptions;
use moulin_core::Nanoseconds;

const CHECKED: CastOptions<'static> = CastOptions { safe: false, format_options: FormatOptions::new() };

/// How an array of one type becomes one of another.
#[derive(Debug, Clone)]
pub(super) enum Way {
    /// As it is.
    Keep,
    Cast,
    /// A cast that must not lose digits.
    CastExactly,
    /// Nanoseconds to microseconds, rounded down.
    Floor,
    /// Each field of a struct by the place it has in the rows; `None`: the rows do not have it.
    Fields(Vec<Option<(usize, Way)>>),
    /// The elements of a list.
    Elements(Box<Way>),
    /// The key and the value of a map.
    Entries(Box<Way>, Box<Way>),
}

impl Way {
    /// The way from one type to another, which [`super::evolve`] has found to fit.
    pub(super) fn new(from: &DataType, to: &DataType, nanoseconds: Nanoseconds) -> Self {
        match (from, to) {
            _ if from == to => Self::Keep,
            (DataType::Struct(from), DataType::Struct(to)) => Self::Fields(by_name(from, to, nanoseconds)),
            (
                DataType::List(from) | DataType::LargeList(from) | DataType::FixedSizeList(from, _),
                DataType::List(to),
            ) => Self::Elements(Box::new(Self::new(from.data_type(), to.data_type(), nanoseconds))),
            (DataType::Map(from, _), DataType::Map(to, _)) => match (pair(from), pair(to)) {
                (Some((key, value)), Some((to_key, to_value))) => Self::Entries(
                    Box::new(Self::new(key.data_type(), to_key.data_type(), nanoseconds)),
                    Box::new(Self::new(value.data_type(), to_value.data_type(), nanoseconds)),
                ),
                _ => Self::Cast,
            },
            // Iceberg (v2) holds microseconds.
            (
                DataType::Timestamp(TimeUnit::Nanosecond, _) | DataType::Time64(TimeUnit::Nanosecond),
                DataType::Timestamp(TimeUnit::Microsecond, _) | DataType::Time64(TimeUnit::Microsecond),
            ) if nanoseconds == Nanoseconds::Floor => Self::Floor,
            (DataType::Timestamp(TimeUnit::Nanosecond, _) | DataType::Time64(TimeUnit::Nanosecond), _) => {
                Self::CastExactly
            }
            _ => Self::Cast,
        }
    }

    /// The array in the type of `field`.
    ///
    /// # Errors
    /// A value that the type cannot hold, in words.
    pub(super) fn go(&self, array: &ArrayRef, field: &Field) -> Result<ArrayRef, String> {
        let to = field.data_type();
        match (self, to) {
            (Self::Keep, _) => Ok(array.clone()),
            (Self::Cast, _) => cast(array, to),
            (Self::CastExactly, _) => cast_exactly(array, field),
            (Self::Floor, _) => floor(array, to),
            (Self::Fields(ways), DataType::Struct(fields)) => structs(ways, array.as_struct(), fields),
            (Self::Elements(way), DataType::List(element)) => lists(way, array, element),
            (Self::Entries(key, value), DataType::Map(entries, sorted)) => {
                maps((key, value), array.as_map(), entries, *sorted)
            }
            _ => Err(format!("a value of {} is no {to}", array.data_type())),
        }
    }
}

fn by_name(from: &Fields, to: &Fields, nanoseconds: Nanoseconds) -> Vec<Option<(usize, Way)>> {
    let way = |to: &FieldRef| {
        let (index, from) = from.find(to.name())?;
        Some((index, Way::new(from.data_type(), to.data_type(), nanoseconds)))
    };
    to.iter().map(way).collect()
}

fn pair(entries: &Field) -> Option<(&FieldRef, &FieldRef)> {
    match entries.data_type() {
        DataType::Struct(fields) => Some((fields.first()?, fields.get(1)?)),
        _ => None,
    }
}

fn cast(array: &ArrayRef, to: &DataType) -> Result<ArrayRef, String> {
    cast_with_options(array, to, &CHECKED).map_err(|e| e.to_string())
}

fn cast_exactly(array: &ArrayRef, field: &Field) -> Result<ArrayRef, String> {
    let there = cast(array, field.data_type())?;
    if cast(&there, array.data_type())?.as_ref() == array.as_ref() {
        return Ok(there);
    }
    Err(format!(
        "a value of {} has more digits than {} holds; say target.nanoseconds: floor, or round `{}` in the transform",
        array.data_type(),
        field.data_type(),
        field.name()
    ))
}

// Towards the earlier moment, also before 1970: a cast would round those up.
fn floor(array: &ArrayRef, to: &DataType) -> Result<ArrayRef, String> {
    let nanoseconds = cast(array, &DataType::Int64)?;
    let microseconds = nanoseconds.as_primitive::<Int64Type>().unary::<_, Int64Type>(|ns| ns.div_euclid(1_000));
    cast(&(Arc::new(microseconds) as ArrayRef), to)
}

fn structs(ways: &[Option<(usize, Way)>], array: &StructArray, fields: &Fields) -> Result<ArrayRef, String> {
    let columns = ways.iter().zip(fields).map(|(way, field)| match way {
        Some((index, way)) => way.go(array.column(*index), field),
        None => Ok(new_null_array(field.data_type(), array.len())),
    });
    let columns = columns.collect::<Result<Vec<_>, String>>()?;
    let made = StructArray::try_new_with_length(fields.clone(), columns, array.nulls().cloned(), array.len());
    Ok(Arc::new(made.map_err(|e| e.to_string())?))
}

fn lists(way: &Way, array: &ArrayRef, element: &FieldRef) -> Result<ArrayRef, String> {
    let plain;
    let list: &ListArray = match array.as_list_opt::<i32>() {
        Some(list) => list,
        None => {
            let (DataType::LargeList(item) | DataType::FixedSizeList(item, _)) = array.data_type() else {
                return Err(format!("a value of {} is no list", array.data_type()));
            };
            plain = cast(array, &DataType::List(item.clone()))?;
            plain.as_list::<i32>()
        }
    };
    let values = way.go(list.values(), element)?;
    let made = ListArray::try_new(element.clone(), list.offsets().clone(), values, list.nulls().cloned());
    Ok(Arc::new(made.map_err(|e| e.to_string())?))
}

fn maps(ways: (&Way, &Way), array: &MapArray, entries: &FieldRef, sorted: bool) -> Result<ArrayRef, String> {
    let DataType::Struct(fields) = entries.data_type() else {
        return Err(format!("{} is no map", entries.data_type()));
    };
    let (Some(key), Some(value)) = (fields.first(), fields.get(1)) else {
        return Err(format!("{} is no map", entries.data_type()));
    };
    let columns = vec![ways.0.go(array.keys(), key)?, ways.1.go(array.values(), value)?];
    let pairs = StructArray::try_new(fields.clone(), columns, None).map_err(|e| e.to_string())?;
    let made = MapArray::try_new(entries.clone(), array.offsets().clone(), pairs, array.nulls().cloned(), sorted);
    Ok(Arc::new(made.map_err(|e| e.to_string())?))
}
