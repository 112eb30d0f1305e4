//! The schema of an NDJSON file, from the declared columns and a sample of its lines.

use std::sync::Arc;

use arrow::datatypes::{DataType, Field, Fields, Schema};
use moulin_core::{Column, PrimitiveType};
use serde_json::{Map, Value};

use super::{CUT, cut_error, skip_mark};
use crate::Error;
use crate::blocks::Splitter;
use crate::columns::{arrow_type, arrow_type_of};
use crate::fetch::ByteStream;
use crate::infer::{Guess, SAMPLE_ROWS};
use crate::{InputSchema, Origin};

/// Columns in the order in which keys appear, then declared ones that the sample lacks; `None` when there is no
/// object in the sample.
pub(crate) fn schema(
    uri: &str,
    declared: &[Column],
    splitter: &mut Splitter<ByteStream>,
) -> Result<Option<InputSchema>, Error> {
    skip_mark(uri, splitter)?;
    let Some(block) = splitter.next(CUT).map_err(|error| cut_error(uri, error))? else { return Ok(None) };
    let mut keys = Keys::default();
    for line in block.bytes().split(|byte| *byte == b'\n').take(SAMPLE_ROWS) {
        // A line that is no object is a reject of the job, not of its schema.
        if let Ok(object) = serde_json::from_slice::<Map<String, Value>>(line) {
            keys.see(&object, true);
        }
    }
    if keys.0.is_empty() && declared.is_empty() {
        return Ok(None);
    }
    let mut schema: Vec<(Field, Origin)> = Vec::new();
    for (name, kind) in &keys.0 {
        schema.push(match declared.iter().find(|column| column.name == *name) {
            Some(column) => (Field::new(name, arrow_type_of(&column.ty), true), Origin::Declared),
            None => (Field::new(name, kind.data_type(), true), Origin::Inferred),
        });
    }
    for column in declared.iter().filter(|column| !keys.0.iter().any(|(name, _)| *name == column.name)) {
        schema.push((Field::new(&column.name, arrow_type_of(&column.ty), true), Origin::Declared));
    }
    let (fields, origins): (Vec<_>, Vec<_>) = schema.into_iter().unzip();
    Ok(Some(InputSchema { arrow: Arc::new(Schema::new(fields)), origins }))
}

/// What the values of each key could be, in the order in which keys appear.
#[derive(Default)]
struct Keys(Vec<(String, Kind)>);

impl Keys {
    fn see(&mut self, object: &Map<String, Value>, top: bool) {
        for (at, (key, value)) in object.iter().enumerate() {
            let place = match self.0.get(at) {
                Some((name, _)) if name == key => Some(at),
                _ => self.0.iter().position(|(name, _)| name == key),
            };
            let place = place.unwrap_or_else(|| {
                self.0.push((key.clone(), Kind::default()));
                self.0.len() - 1
            });
            self.0[place].1.see(value, top);
        }
    }
}

/// What all values seen so far could be.
#[derive(Default)]
struct Kind {
    text: Option<Guess>,
    boolean: bool,
    whole: bool,
    /// A whole number beyond a long.
    large: bool,
    fraction: bool,
    list: Option<Box<Kind>>,
    object: Option<Keys>,
}

impl Kind {
    fn see(&mut self, value: &Value, top: bool) {
        match value {
            Value::Null => {}
            Value::Bool(_) => self.boolean = true,
            Value::Number(number) if number.is_i64() => self.whole = true,
            Value::Number(number) if number.is_u64() => self.large = true,
            Value::Number(_) => self.fraction = true,
            Value::String(text) => self.text.get_or_insert_default().see(text.as_bytes()),
            Value::Array(items) => {
                let list = self.list.get_or_insert_default();
                items.iter().for_each(|item| list.see(item, false));
            }
            Value::Object(object) => self.object.get_or_insert_default().see(object, false),
        }
        if !top {
            // Inside of structs and lists texts stay texts: nothing there says which one broke a guess.
            if let Some(text) = &mut self.text {
                text.see(b"text");
            }
        }
    }

    fn data_type(&self) -> DataType {
        let is_number = self.whole || self.large || self.fraction;
        match (&self.text, self.boolean, is_number, &self.list, &self.object) {
            (None, true, false, None, None) => DataType::Boolean,
            (None, false, true, None, None) if self.fraction => DataType::Float64,
            (None, false, true, None, None) if self.large => DataType::Decimal128(38, 0),
            (None, false, true, None, None) => DataType::Int64,
            (None, false, false, Some(items), None) => {
                DataType::List(Arc::new(Field::new_list_field(items.data_type(), true)))
            }
            (None, false, false, None, Some(keys)) if !keys.0.is_empty() => {
                let fields = keys.0.iter().map(|(name, kind)| Field::new(name, kind.data_type(), true));
                DataType::Struct(Fields::from_iter(fields))
            }
            (Some(text), false, false, None, None) => match text.ty() {
                // A number or a truth value that is written as a string is meant as one.
                ty @ (PrimitiveType::Date | PrimitiveType::Timestamp | PrimitiveType::Timestamptz) => arrow_type(ty),
                _ => DataType::Utf8,
            },
            _ => DataType::Utf8,
        }
    }
}
