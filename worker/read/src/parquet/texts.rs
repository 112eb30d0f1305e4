//! Texts of a column that is of another type.

use arrow::array::{Array, ArrayRef, AsArray};
use arrow::datatypes::DataType;
use arrow::error::ArrowError;
use moulin_core::{ColumnText, CsvFormat, PrimitiveType};

use super::make::Made;
use super::ways::{came_back, cast};
use crate::columns::{Column as Values, column_type};
use crate::notation::Notation;

/// What the texts of a column mean.
#[derive(Debug)]
pub(super) struct Texts {
    ty: PrimitiveType,
    nulls: Vec<Vec<u8>>,
    notation: Notation,
}

impl Texts {
    /// How texts become values of a type, by what is said of the column.
    ///
    /// # Errors
    /// What is wrong with that, in words.
    pub(super) fn new(ty: PrimitiveType, said: &ColumnText) -> Result<Self, String> {
        let notation = Notation::new(ty, said, &CsvFormat::default())?;
        let nulls = said.null_values.iter().map(|value| value.clone().into_bytes()).collect();
        Ok(Self { ty, nulls, notation })
    }

    /// Texts as they are usually written; `None`: the type has no texts.
    pub(super) fn usual(to: &DataType) -> Option<Self> {
        column_type(to).and_then(|ty| Self::new(ty, &ColumnText::default()).ok())
    }

    /// How a value must be written, when that is not the usual way.
    pub(super) fn expected(&self) -> Option<String> {
        self.notation.expected()
    }

    pub(super) fn make(&self, array: &ArrayRef, to: &DataType) -> Result<Made, ArrowError> {
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
        let Made { array, bad: beyond } = came_back(&array, to)?;
        bad.extend(beyond);
        bad.sort_unstable();
        Ok(Made { array, bad })
    }
}
