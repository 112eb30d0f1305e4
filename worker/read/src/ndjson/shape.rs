//! What columns and the values inside of them are read as.

use std::collections::HashMap;

use arrow::datatypes::{DataType, FieldRef, Fields};
use moulin_core::{ColumnText, CsvFormat, PrimitiveType};

use super::scan::{Broken, Scan, Str, is_same, unescaped};
use crate::columns::{Column, column_type};
use crate::notation::Notation;

/// What a value is read as.
#[derive(Debug)]
pub(super) enum Shape {
    /// One value. With `any`, a string column that no one declared: values of all kinds are kept, as their JSON text.
    Plain { ty: PrimitiveType, any: bool, texts: Option<Box<Texts>> },
    /// A list of values.
    List { item: Box<Shape>, field: FieldRef },
    /// An object with known keys.
    Struct { members: Members, fields: Fields },
    /// An object with any keys.
    Map { value: Box<Shape>, entries: FieldRef },
}

impl Shape {
    /// The shape of an Arrow type; `None` for one that no column is read as.
    pub(super) fn of(ty: &DataType, inferred: bool) -> Option<Self> {
        if let Some(ty) = column_type(ty) {
            return Some(Self::Plain { ty, any: inferred && ty == PrimitiveType::String, texts: None });
        }
        Some(match ty {
            DataType::List(field) => {
                Self::List { item: Box::new(Self::of(field.data_type(), inferred)?), field: field.clone() }
            }
            DataType::Struct(fields) => {
                Self::Struct { members: Members::new(fields, inferred)?, fields: fields.clone() }
            }
            DataType::Map(entries, _) => {
                let DataType::Struct(pair) = entries.data_type() else { return None };
                let value = Self::of(pair.get(1)?.data_type(), inferred)?;
                Self::Map { value: Box::new(value), entries: entries.clone() }
            }
            _ => return None,
        })
    }
}

/// What the texts of one column mean, where that is said of the column.
#[derive(Debug)]
pub(super) struct Texts {
    nulls: Vec<Vec<u8>>,
    notation: Notation,
}

impl Texts {
    /// `None`: nothing is said.
    ///
    /// # Errors
    /// What is wrong with a format or a zone, in words.
    fn new(ty: PrimitiveType, text: &ColumnText) -> Result<Option<Box<Self>>, String> {
        if *text == ColumnText::default() {
            return Ok(None);
        }
        let nulls = text.null_values.iter().map(|value| value.clone().into_bytes()).collect();
        Ok(Some(Box::new(Self { nulls, notation: Notation::new(ty, text, &CsvFormat::default())? })))
    }

    pub(super) fn is_null(&self, text: &[u8]) -> bool {
        self.nulls.iter().any(|null| null == text)
    }

    /// Appends the value that a text means; `None`: nothing is said of how such values are written.
    pub(super) fn push(&self, column: &mut Column, text: &[u8]) -> Option<bool> {
        (self.notation != Notation::Usual).then(|| self.notation.push(column, text))
    }

    /// How a value must be written, when that is not the usual way.
    pub(super) fn expected(&self) -> Option<String> {
        self.notation.expected()
    }
}

/// The keys of an object, in the order in which they are expected.
#[derive(Debug)]
pub(super) struct Members {
    pub(super) list: Vec<Member>,
    places: HashMap<Vec<u8>, usize>,
}

/// One key and its value.
#[derive(Debug)]
pub(super) struct Member {
    pub(super) name: String,
    /// The key as most writers write it, with its quotes and the colon.
    key: Vec<u8>,
    pub(super) shape: Shape,
}

/// A key of an object.
pub(super) enum Key {
    /// One with a place of its own.
    Known(usize),
    /// Any other.
    Unknown(Str),
}

impl Members {
    pub(super) fn new(fields: &Fields, inferred: bool) -> Option<Self> {
        let member = |field: &FieldRef| Member::new(field, inferred);
        Some(Self::from(fields.iter().map(member).collect::<Option<Vec<_>>>()?))
    }

    /// Goes past a key and its colon. Keys are expected in order: then one comparison finds the place.
    #[inline]
    pub(super) fn key(&self, scan: &mut Scan<'_>, expected: usize) -> Result<Key, Broken> {
        let expected_end = self.list.get(expected).and_then(|member| member.key_end(scan.text, scan.at));
        if let Some(end) = expected_end {
            scan.at = end;
            scan.blanks();
            return Ok(Key::Known(expected));
        }
        self.other_key(scan)
    }

    /// Goes past a key that is not the expected one, or is written in another way.
    // Not inlined: what it needs would burden the way that nearly all keys take.
    #[inline(never)]
    fn other_key(&self, scan: &mut Scan<'_>) -> Result<Key, Broken> {
        let key = scan.key()?;
        let name = &scan.text[key.start..key.end];
        let place =
            if key.escaped { unescaped(name).and_then(|name| self.places.get(&name)) } else { self.places.get(name) };
        Ok(place.map_or(Key::Unknown(key), |place| Key::Known(*place)))
    }
}

impl From<Vec<Member>> for Members {
    fn from(list: Vec<Member>) -> Self {
        let places = list.iter().enumerate().map(|(place, member)| (member.name.clone().into_bytes(), place));
        Self { places: places.collect(), list }
    }
}

impl Member {
    pub(super) fn new(field: &FieldRef, inferred: bool) -> Option<Self> {
        Some(Self {
            name: field.name().clone(),
            key: format!("{}:", serde_json::Value::from(field.name().as_str())).into_bytes(),
            shape: Shape::of(field.data_type(), inferred)?,
        })
    }

    /// Where the key and its colon end, if they stand there as most writers write them.
    #[inline(always)]
    pub(super) fn key_end(&self, text: &[u8], at: usize) -> Option<usize> {
        let end = at + self.key.len();
        is_same(text.get(at..end)?, &self.key).then_some(end)
    }

    /// Says how the texts of the column are written.
    ///
    /// # Errors
    /// What is wrong with that, in words.
    pub(super) fn with_texts(mut self, text: &ColumnText) -> Result<Self, String> {
        if let Shape::Plain { ty, texts, .. } = &mut self.shape {
            *texts = Texts::new(*ty, text)?;
        }
        Ok(self)
    }
}
