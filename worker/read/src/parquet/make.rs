//! How a column of a file becomes one of the schema, and which of its values do not.

use std::collections::HashMap;
use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, BooleanArray, UInt64Array};
use arrow::compute::kernels::cmp;
use arrow::compute::{CastOptions, can_cast_types, cast_with_options, nullif, take};
use arrow::datatypes::{DataType, Field, FieldRef, Float64Type, Schema};
use arrow::error::ArrowError;
use moulin_core::{Column, ColumnText, CsvFormat, PlannedFile, PrimitiveType};

use super::footer::damaged;
use super::units::{changes_nanoseconds, in_units_of};
use crate::columns::{Column as Values, column_type};
use crate::landable::landable;
use crate::notation::Notation;
use crate::pipeline::batch_error;
use crate::{Error, Origin, iceberg_type_name};

/// How the values of one column are made.
#[derive(Debug, Clone)]
pub(super) enum Make {
    /// By a cast of which no value is lost: what cannot be cast is damaged.
    Cast,
    /// By a cast that a value may not survive.
    Checked,
    /// By a cast between nanoseconds and another unit.
    Moments,
    /// From texts.
    Texts(Arc<Texts>),
}

/// What the texts of a column mean.
#[derive(Debug)]
pub(super) struct Texts {
    ty: PrimitiveType,
    nulls: Vec<Vec<u8>>,
    notation: Notation,
}

/// The values of a column, null where one could not be made, and those rows.
pub(super) struct Made {
    pub(super) array: ArrayRef,
    pub(super) bad: Vec<usize>,
}

/// Declared columns by name.
pub(super) fn by_name(columns: &[Column]) -> HashMap<&str, &Column> {
    columns.iter().map(|column| (column.name.as_str(), column)).collect()
}

/// The place of each column of a file, by name.
pub(super) fn places(found: &Schema) -> HashMap<&str, usize> {
    found.fields().iter().enumerate().map(|(place, field)| (field.name().as_str(), place)).collect()
}

impl Make {
    /// How `found` becomes `field`, which the source declares or not.
    ///
    /// # Errors
    /// `Schema` when it cannot, or when something is said of texts and it holds none.
    pub(super) fn new(
        file: &PlannedFile,
        found: &Field,
        field: &Field,
        declared: Option<&Column>,
    ) -> Result<Self, Error> {
        let (from, to) = (plain(found.data_type()), field.data_type());
        let usual = ColumnText::default();
        let said = declared.map_or(&usual, |column| &column.text);
        if is_text(from) {
            if let Some(ty) =
                column_type(to).filter(|ty| *said != usual || !is_text(to) && *ty != PrimitiveType::Binary)
            {
                let notation = Notation::new(ty, said, &CsvFormat::default())
                    .map_err(|why| Error::Schema(format!("column {} of type {ty}: {why}", field.name())))?;
                let nulls = said.null_values.iter().map(|value| value.clone().into_bytes()).collect();
                return Ok(Self::Texts(Arc::new(Texts { ty, nulls, notation })));
            }
        } else if *said != usual {
            return Err(Error::Schema(format!(
                "column `{}` of {} is {}, and not written as text: formats, zones, separators, null values and words of \
                 truth say how texts are read",
                field.name(),
                file.uri,
                iceberg_type_name(found.data_type())
            )));
        }
        if found.data_type() != to && !can_cast_types(found.data_type(), to) {
            return Err(Error::Schema(format!(
                "column `{}` of {} is {}, which cannot be made {}",
                field.name(),
                file.uri,
                iceberg_type_name(found.data_type()),
                iceberg_type_name(to)
            )));
        }
        Ok(match from {
            _ if changes_nanoseconds(from, to) => Self::Moments,
            _ if declared.is_none() || is_safe(from, to) => Self::Cast,
            _ => Self::Checked,
        })
    }

    /// Whether a value may be none of the column's type.
    pub(super) fn checks(&self) -> bool {
        !matches!(self, Self::Cast)
    }

    /// Makes the values of a column.
    ///
    /// # Errors
    /// `BadFile` when a cast fails that may not.
    pub(super) fn make(&self, file: &PlannedFile, array: &ArrayRef, field: &Field) -> Result<Made, Error> {
        match self {
            _ if array.data_type() == field.data_type() && !matches!(self, Self::Texts(_)) => {
                Ok(Made { array: Arc::clone(array), bad: Vec::new() })
            }
            Self::Cast => {
                let array = cast(array, field.data_type()).map_err(|error| {
                    let ty = iceberg_type_name(field.data_type());
                    damaged(file, format!("column `{}` cannot be made {ty}: {error}", field.name()))
                })?;
                Ok(Made { array, bad: Vec::new() })
            }
            Self::Checked => checked(array, field.data_type()).map_err(batch_error),
            Self::Moments => moments(array, field.data_type()).map_err(batch_error),
            Self::Texts(texts) => texts.make(array, field.data_type()).map_err(batch_error),
        }
    }

    /// How a value must be written, when that is not the usual way.
    pub(super) fn expected(&self) -> Option<String> {
        match self {
            Self::Texts(texts) => texts.notation.expected(),
            Self::Moments => Some("in the unit that the first file has it in".to_owned()),
            Self::Cast | Self::Checked => None,
        }
    }
}

impl Texts {
    fn make(&self, array: &ArrayRef, to: &DataType) -> Result<Made, ArrowError> {
        let texts = cast(array, &DataType::Utf8)?;
        let texts = texts.as_string::<i32>();
        let mut values = Values::new(self.ty, texts.len(), 0);
        let mut bad = Vec::new();
        for (row, text) in texts.iter().enumerate() {
            match text.map(str::as_bytes) {
                Some(text) if !self.nulls.iter().any(|null| null == text) => {
                    if !self.notation.push(&mut values, text) {
                        bad.push(row);
                        values.push_null();
                    }
                }
                _ => values.push_null(),
            }
        }
        let array = values.finish()?;
        if array.data_type() == to {
            return Ok(Made { array, bad });
        }
        // Texts say moments in microseconds.
        let Made { array, bad: beyond } = moments(&array, to)?;
        bad.extend(beyond);
        bad.sort_unstable();
        Ok(Made { array, bad })
    }
}

/// The type of the values themselves.
fn plain(ty: &DataType) -> &DataType {
    if let DataType::Dictionary(_, values) = ty { values } else { ty }
}

fn is_text(ty: &DataType) -> bool {
    matches!(ty, DataType::Utf8 | DataType::LargeUtf8 | DataType::Utf8View)
}

/// Whether every value survives a cast.
fn is_safe(from: &DataType, to: &DataType) -> bool {
    let is_bytes = matches!(from, DataType::Binary | DataType::LargeBinary | DataType::BinaryView);
    landable(from).is_ok_and(|landed| landed == *to)
        || (*to == DataType::Utf8 && !is_bytes && !from.is_nested())
        || (*to == DataType::Binary && is_text(from))
        || (*to == DataType::Int64 && matches!(from, DataType::Int8 | DataType::Int16 | DataType::Int32))
        || (*to == DataType::Float64 && *from == DataType::Float32)
}

fn cast(array: &ArrayRef, to: &DataType) -> Result<ArrayRef, ArrowError> {
    cast_with_options(array, to, &CastOptions { safe: false, ..CastOptions::default() })
}

/// Casts what can be cast; null what cannot.
fn castable(array: &ArrayRef, to: &DataType) -> Result<Made, ArrowError> {
    let mut bad = Vec::new();
    let array = match cast(array, to) {
        Ok(made) => made,
        Err(_) => {
            uncastable(array, to, 0, &mut bad);
            cast(&without(array, &bad)?, to)?
        }
    };
    Ok(Made { array, bad })
}

/// Casts what is a value of the type.
fn checked(array: &ArrayRef, to: &DataType) -> Result<Made, ArrowError> {
    let Made { array: cast_all, mut bad } = castable(array, to)?;
    let is_exact_number = matches!(to, DataType::Int32 | DataType::Int64 | DataType::Decimal128(..));
    if !is_exact_number || !array.data_type().is_numeric() {
        return Ok(Made { array: cast_all, bad });
    }
    // A cast rounds: a value that does not come back is none of the type.
    let back = cast_with_options(&cast_all, array.data_type(), &CastOptions { safe: true, ..CastOptions::default() })?;
    let differs = cmp::distinct(&back, &without(array, &bad)?)?;
    bad.extend((0..differs.len()).filter(|row| differs.value(*row) && !are_zeros(&back, array, *row)));
    bad.sort_unstable();
    Ok(Made { array: without(&cast_all, &bad)?, bad })
}

/// Casts moments to another unit, but for those that it does not hold; they may be deep inside.
fn moments(array: &ArrayRef, to: &DataType) -> Result<Made, ArrowError> {
    let Made { array: cast_all, mut bad } = castable(array, to)?;
    let (given, back) = (without(array, &bad)?, cast(&cast_all, array.data_type())?);
    if given.as_ref() != back.as_ref() {
        bad.extend((0..given.len()).filter(|row| given.slice(*row, 1).as_ref() != back.slice(*row, 1).as_ref()));
        bad.sort_unstable();
    }
    Ok(Made { array: without(&cast_all, &bad)?, bad })
}

/// Whether two values are zero, of whatever sign.
fn are_zeros(one: &ArrayRef, other: &ArrayRef, row: usize) -> bool {
    let is_zero = |array: &ArrayRef| {
        let value = cast(&array.slice(row, 1), &DataType::Float64);
        value.is_ok_and(|value| value.as_primitive::<Float64Type>().iter().next() == Some(Some(0.0)))
    };
    is_zero(one) && is_zero(other)
}

/// Finds the rows that cannot be cast. Halves that can be are not looked at again.
fn uncastable(array: &ArrayRef, to: &DataType, first: usize, bad: &mut Vec<usize>) {
    if array.is_empty() || cast(array, to).is_ok() {
        return;
    }
    if array.len() == 1 {
        bad.push(first);
        return;
    }
    let half = array.len() / 2;
    for (from, length) in [(0, half), (half, array.len() - half)] {
        // A slice of lists still holds the values of all.
        let part = if array.data_type().is_nested() {
            let rows = UInt64Array::from_iter_values(from as u64..(from + length) as u64);
            take(array, &rows, None).unwrap_or_else(|_| array.slice(from, length))
        } else {
            array.slice(from, length)
        };
        uncastable(&part, to, first + from, bad);
    }
}

/// The array with nulls in some rows.
pub(super) fn without(array: &ArrayRef, rows: &[usize]) -> Result<ArrayRef, ArrowError> {
    if rows.is_empty() {
        return Ok(Arc::clone(array));
    }
    let mask = mask(array.len(), rows);
    if !array.data_type().is_nested() {
        return nullif(array, &mask);
    }
    // The values inside of a list that is null would be cast too.
    let places = (0..array.len()).map(|row| (!mask.value(row)).then_some(row as u64));
    take(array, &places.collect::<UInt64Array>(), None)
}

/// True in some rows.
pub(super) fn mask(length: usize, rows: &[usize]) -> BooleanArray {
    let mut mask = vec![false; length];
    rows.iter().for_each(|row| mask[*row] = true);
    BooleanArray::from(mask)
}

/// A type in which what is null by its type (the logical type UNKNOWN) is a text: only that holds whatever comes.
fn with_texts(ty: &DataType) -> DataType {
    let inner = |field: &FieldRef| Arc::new(Field::clone(field).with_data_type(with_texts(field.data_type())));
    match ty {
        DataType::Null => DataType::Utf8,
        DataType::List(item) => DataType::List(inner(item)),
        DataType::LargeList(item) => DataType::LargeList(inner(item)),
        DataType::FixedSizeList(item, length) => DataType::FixedSizeList(inner(item), *length),
        DataType::Struct(fields) => DataType::Struct(fields.iter().map(inner).collect()),
        DataType::Map(entries, sorted) => DataType::Map(inner(entries), *sorted),
        other => other.clone(),
    }
}

/// The type that a column lands as, and where that comes from.
pub(super) fn type_of(
    file: &PlannedFile,
    found: &Field,
    declared: Option<&Column>,
) -> Result<(DataType, Origin), Error> {
    if let Some(column) = declared {
        let ty = in_units_of(plain(found.data_type()), &crate::columns::arrow_type_of(&column.ty));
        return Ok((ty, Origin::Declared));
    }
    let ty = landable(&with_texts(found.data_type()));
    ty.map(|ty| (ty, Origin::File))
        .map_err(|why| Error::Schema(format!("column `{}` of {} {why}", found.name(), file.uri)))
}
