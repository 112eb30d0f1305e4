//! How a column of a file becomes one of the schema, and which of its values do not.

use std::collections::HashMap;
use std::sync::Arc;

use arrow::array::{ArrayRef, BooleanArray};
use arrow::datatypes::{DataType, Field, FieldRef, Schema};
use moulin_core::{Column, ColumnText, PlannedFile, PrimitiveType};

use super::footer::damaged;
use super::texts::Texts;
use super::units::{changes_nanoseconds, in_units_of};
use super::ways::{Way, cast, landed};
use crate::columns::column_type;
use crate::landable::landable;
use crate::pipeline::batch_error;
use crate::{Error, Origin, iceberg_type_name};

/// How the values of one column are made.
#[derive(Debug, Clone)]
pub(super) enum Make {
    /// By a cast of which no value is lost: what cannot be cast is damaged.
    Cast,
    /// By a cast that a value may not survive.
    Checked(Arc<Checked>),
    /// From texts.
    Texts(Arc<Texts>),
}

/// A cast that a value may not survive.
#[derive(Debug)]
pub(super) struct Checked {
    /// What the values are first.
    landed: DataType,
    way: Way,
    /// Why they are not of another type.
    expected: Option<&'static str>,
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
                let texts = Texts::new(ty, said)
                    .map_err(|why| Error::Schema(format!("column {} of type {ty}: {why}", field.name())))?;
                return Ok(Self::Texts(Arc::new(texts)));
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
        let landed = landed(found.data_type());
        let way = Way::new(&landed, to, declared.is_some()).map_err(|why| {
            let why = if why.is_empty() { why } else { format!(": {why}") };
            Error::Schema(format!(
                "column `{}` of {} is {}, which cannot be made {}{why}",
                field.name(),
                file.uri,
                iceberg_type_name(found.data_type()),
                iceberg_type_name(to)
            ))
        })?;
        let expected = match declared {
            _ if changes_nanoseconds(&landed, to) => Some("in the unit that the first file has it in"),
            Some(_) => None,
            None => Some("which is what the first file has: declare the column's type"),
        };
        Ok(match way {
            Way::Safe => Self::Cast,
            way => Self::Checked(Arc::new(Checked { landed, way, expected })),
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
            Self::Cast => Ok(Made { array: damaging(file, array, field.name(), field.data_type())?, bad: Vec::new() }),
            Self::Checked(checked) => {
                let array = damaging(file, array, field.name(), &checked.landed)?;
                checked.way.make(&array, field.data_type()).map_err(batch_error)
            }
            Self::Texts(texts) => texts.make(array, field.data_type()).map_err(batch_error),
        }
    }

    /// How a value must be written, when that is not the usual way.
    pub(super) fn expected(&self) -> Option<String> {
        match self {
            Self::Texts(texts) => texts.expected(),
            Self::Checked(checked) => checked.expected.map(str::to_owned),
            Self::Cast => None,
        }
    }
}

/// Casts values of which none is lost: where one is, the file is damaged.
fn damaging(file: &PlannedFile, array: &ArrayRef, column: &str, to: &DataType) -> Result<ArrayRef, Error> {
    cast(array, to)
        .map_err(|error| damaged(file, format!("column `{column}` cannot be made {}: {error}", iceberg_type_name(to))))
}

/// The type of the values themselves.
fn plain(ty: &DataType) -> &DataType {
    if let DataType::Dictionary(_, values) = ty { values } else { ty }
}

fn is_text(ty: &DataType) -> bool {
    matches!(ty, DataType::Utf8 | DataType::LargeUtf8 | DataType::Utf8View)
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
