//! The schema of an NDJSON file, from the declared columns and a sample of its lines.

use std::sync::Arc;

use arrow::datatypes::{DataType, Field, Fields, Schema};
use moulin_core::{Column, PrimitiveType};
use serde_json::{Map, Value};

use super::{cut, cut_error, skip_mark};
use crate::Error;
use crate::blocks::Splitter;
use crate::columns::{arrow_type, arrow_type_of};
use crate::fetch::ByteStream;
use crate::infer::{Guess, grouped};
use crate::{InputSchema, Origin, Sample};

/// Columns in the order in which keys appear, then declared ones that the sample lacks; `None` when there is no
/// object in the sample.
pub(crate) fn schema(
    uri: &str,
    declared: &[Column],
    sample_rows: u64,
    splitter: &mut Splitter<ByteStream>,
) -> Result<Option<InputSchema>, Error> {
    skip_mark(uri, splitter)?;
    let mut keys = Keys::default();
    let mut sample = Sample::default();
    while let Some(block) = splitter.next(&cut()).map_err(|error| cut_error(uri, error))? {
        for line in block.bytes().split(|byte| *byte == b'\n').filter(|line| !line.trim_ascii().is_empty()) {
            if sample.rows == sample_rows {
                break;
            }
            sample.rows += 1;
            // A line that is no object is a reject of the job, not of its schema.
            match serde_json::from_slice::<Map<String, Value>>(line) {
                Ok(object) => keys.see(&object, true),
                Err(_) => sample.rows_bad += 1,
            }
        }
        // One block is the sample, but for what is left of a file that is no larger: its last line may have no end.
        if !splitter.is_at_end() {
            break;
        }
    }
    if keys.0.is_empty() && declared.is_empty() {
        return Ok(None);
    }
    let mut schema: Vec<(Field, Origin)> = Vec::new();
    let objects = sample.rows - sample.rows_bad;
    for (name, kind) in &keys.0 {
        sample.reasons.push(kind.reason(objects));
        schema.push(match declared.iter().find(|column| column.name == *name) {
            Some(column) => (Field::new(name, arrow_type_of(&column.ty), true), Origin::Declared),
            None => (Field::new(name, kind.data_type(), true), Origin::Inferred),
        });
    }
    for column in declared.iter().filter(|column| !keys.0.iter().any(|(name, _)| *name == column.name)) {
        schema.push((Field::new(&column.name, arrow_type_of(&column.ty), true), Origin::Declared));
        sample.reasons.push("no object of the sample has this key".to_owned());
    }
    let (fields, origins): (Vec<_>, Vec<_>) = schema.into_iter().unzip();
    Ok(Some(InputSchema { arrow: Arc::new(Schema::new(fields)), origins, sample }))
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

/// What all values seen so far could be. The numbers count values.
#[derive(Default)]
struct Kind {
    text: Option<Guess>,
    texts: u64,
    nulls: u64,
    booleans: u64,
    whole: u64,
    /// Whole numbers beyond a long.
    large: u64,
    fractions: u64,
    lists: u64,
    list: Option<Box<Kind>>,
    objects: u64,
    object: Option<Keys>,
}

impl Kind {
    fn see(&mut self, value: &Value, top: bool) {
        match value {
            Value::Null => self.nulls += 1,
            Value::Bool(_) => self.booleans += 1,
            Value::Number(number) if number.is_i64() => self.whole += 1,
            Value::Number(number) if number.is_u64() => self.large += 1,
            Value::Number(_) => self.fractions += 1,
            Value::String(text) => {
                self.texts += 1;
                self.text.get_or_insert_default().see(text.as_bytes());
            }
            Value::Array(items) => {
                self.lists += 1;
                let list = self.list.get_or_insert_default();
                items.iter().for_each(|item| list.see(item, false));
            }
            Value::Object(object) => {
                self.objects += 1;
                self.object.get_or_insert_default().see(object, false);
            }
        }
        if !top {
            // Inside of structs and lists texts stay texts: nothing there says which one broke a guess.
            if let Some(text) = &mut self.text {
                text.see(b"text");
            }
        }
    }

    fn data_type(&self) -> DataType {
        let is_boolean = self.booleans > 0;
        let is_number = self.whole + self.large + self.fractions > 0;
        match (&self.text, is_boolean, is_number, &self.list, &self.object) {
            (None, true, false, None, None) => DataType::Boolean,
            (None, false, true, None, None) if self.fractions > 0 => DataType::Float64,
            (None, false, true, None, None) if self.large > 0 => DataType::Decimal128(38, 0),
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

    /// Why it is this type, in words, when so many objects were looked at.
    fn reason(&self, objects: u64) -> String {
        let kinds = [
            (self.texts, "text"),
            (self.booleans, "true or false"),
            (self.whole, "whole number"),
            (self.large, "whole number beyond a long"),
            (self.fractions, "number with a fraction or an exponent"),
            (self.lists, "list"),
            (self.objects, "object"),
        ];
        let seen: Vec<(u64, &str)> = kinds.into_iter().filter(|(count, _)| *count > 0).collect();
        let values: u64 = seen.iter().map(|(count, _)| count).sum();
        let mut reason = match (seen.as_slice(), &self.text) {
            ([], _) => "no value in the sample: only a string holds whatever comes".to_owned(),
            ([_], Some(text))
                if matches!(text.ty(), PrimitiveType::Date | PrimitiveType::Timestamp | PrimitiveType::Timestamptz) =>
            {
                text.reason()
            }
            ([(count, what)], _) => format!("values: {} x {what}", grouped(*count)),
            (several, _) => {
                let several: Vec<String> =
                    several.iter().map(|(count, what)| format!("{} x {what}", grouped(*count))).collect();
                let kept = if self.data_type() == DataType::Utf8 { ": kept as their JSON text" } else { "" };
                format!("values: {}{kept}", several.join(", "))
            }
        };
        let missing = objects.saturating_sub(values + self.nulls);
        for (count, what) in [(self.nulls, "null"), (missing, "missing")] {
            if count > 0 {
                reason.push_str(&format!("; {} {what}", grouped(count)));
            }
        }
        reason
    }
}
