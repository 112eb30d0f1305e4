//! NDJSON: cut against whole, and each line against `serde_json`.

use std::fmt;
use std::sync::Arc;

use arrow::datatypes::{DataType, Field, Schema};
use moulin_core::{DuplicateKeys, Format, NdjsonFormat, ReadLimits, Source};
use serde::de::{Deserialize, Deserializer, MapAccess, Visitor};
use serde_json::Value;

use super::{Choices, Outcome, URI, check_places, read_limited};
use crate::ndjson::Ndjson;
use crate::{InputSchema, Origin};

/// Reads lines with a column of each kind of value.
///
/// # Panics
/// When two ways of cutting differ, or `serde_json` reads another value or no object.
pub fn ndjson(case: &[u8]) {
    let mut choices = Choices(case);
    let block = 4 + choices.below(252);
    let is_limited = choices.is();
    let more = choices.below(64);
    let file = choices.file();
    let mut limits = ReadLimits::default();
    if is_limited {
        // The end of a record is in reach.
        limits.record_bytes = (file.len() / 16 + 1 + more) as u64;
    }
    let read = |block: usize, held: &ReadLimits| {
        read_limited(&reader(limits), file, block, held).expect("only a record of many MiB is an error")
    };
    // All records are held, also those that are too long.
    let (whole, cut) = (read(file.len() + 1, &ReadLimits::default()), read(block, &limits));
    assert_eq!(cut.rows, whole.rows);
    assert_eq!(cut.rows_read, whole.rows_read);
    let kept = moulin_core::Counters::REJECTS_KEPT;
    assert!(cut.rejects.iter().take(kept).eq(whole.rejects.iter().take(kept)));
    check_places(&cut, file, b'\n');
    if !is_limited {
        check_against_serde(file, &cut);
    }
}

fn reader(limits: ReadLimits) -> Ndjson {
    let fields = vec![
        Field::new("s", DataType::Utf8, true),
        Field::new("n", DataType::Int64, true),
        Field::new("d", DataType::Float64, true),
        Field::new("b", DataType::Boolean, true),
    ];
    let origins = vec![Origin::Declared; fields.len()];
    let source = Source { limits, ..Source::new(vec![URI.to_owned()], Format::Ndjson(NdjsonFormat::default())) };
    let schema = InputSchema::new(Arc::new(Schema::new(fields)), origins);
    Ndjson::new(&source, DuplicateKeys::Last, &schema).expect("JSON has values of these types")
}

/// An object with its keys in order, each as often as it comes.
struct Pairs(Vec<(String, Value)>);

impl<'de> Deserialize<'de> for Pairs {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct InOrder;
        impl<'de> Visitor<'de> for InOrder {
            type Value = Pairs;

            fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
                formatter.write_str("an object")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Pairs, A::Error> {
                let mut pairs = Vec::new();
                while let Some(pair) = map.next_entry()? {
                    pairs.push(pair);
                }
                Ok(Pairs(pairs))
            }
        }
        deserializer.deserialize_map(InOrder)
    }
}

fn check_against_serde(file: &[u8], outcome: &Outcome) {
    if outcome.rejects.len() as u64 + outcome.rows.len() as u64 != outcome.rows_read {
        return;
    }
    let file = file.strip_prefix(b"\xef\xbb\xbf").unwrap_or(file);
    let is_blank = |line: &&[u8]| line.iter().all(|byte| matches!(byte, b' ' | b'\t' | b'\r'));
    let lines: Vec<&[u8]> = file.split(|byte| *byte == b'\n').filter(|line| !is_blank(line)).collect();
    assert_eq!(lines.len() as u64, outcome.rows_read);
    let (mut rows, mut rejects) = (outcome.rows.iter(), outcome.rejects.iter().peekable());
    for (at, line) in lines.iter().enumerate() {
        let reject = rejects.next_if(|reject| reject.place.record == at as u64 + 1);
        let row = if reject.is_none() { rows.next() } else { None };
        let code = reject.map(|reject| reject.code.as_str());
        match serde_json::from_slice::<Pairs>(line) {
            Ok(Pairs(pairs)) => check_line(&pairs, row, code, line),
            // What RFC 8259 allows and serde_json cannot hold: half of a surrogate pair, and numbers beyond a double.
            Err(error) if is_beyond_serde(&error) => {}
            Err(error) => assert!(row.is_none(), "serde_json: {error}; {:?}", String::from_utf8_lossy(line)),
        }
    }
}

fn is_beyond_serde(error: &serde_json::Error) -> bool {
    let error = error.to_string();
    ["surrogate", "end of hex escape", "out of range", "recursion limit"].iter().any(|text| error.contains(text))
}

fn check_line(pairs: &[(String, Value)], row: Option<&Vec<String>>, code: Option<&str>, line: &[u8]) {
    let shown = || String::from_utf8_lossy(line).into_owned();
    assert!(!matches!(code, Some("json.syntax" | "json.not_an_object" | "utf8")), "{code:?}: {}", shown());
    let has_twice = pairs.iter().enumerate().any(|(at, (key, _))| pairs[..at].iter().any(|(other, _)| other == key));
    let value_of =
        |name: &str| pairs.iter().rev().find(|(key, _)| key == name).map_or(&Value::Null, |(_, value)| value);
    let (s, n, d, b) = (value_of("s"), value_of("n"), value_of("d"), value_of("b"));
    // serde_json makes a double of -0, which is a whole number all the same.
    let is_long = n.is_i64() || n.as_f64().is_some_and(|n| n == 0.0 && n.is_sign_negative());
    // A string column keeps what is nested as its JSON text.
    let nested = s.is_array() || s.is_object();
    let fits = (s.is_null() || s.is_string() || nested)
        && (n.is_null() || is_long)
        && (d.is_null() || d.is_number())
        && (b.is_null() || b.is_boolean());
    let Some(row) = row else {
        // What is too small for a double is a zero for serde_json, and no long.
        let is_zero = !n.is_i64() && n.as_f64() == Some(0.0);
        assert!(!fits || has_twice || is_zero, "{code:?}: {}", shown());
        return;
    };
    assert!(fits || is_long_otherwise(n, &row[1]), "row {row:?} of {}", shown());
    if nested {
        assert_eq!(serde_json::from_str::<Value>(&row[0]).ok().as_ref(), Some(s), "{}", shown());
    } else {
        assert_eq!(row[0], s.as_str().unwrap_or("NULL"), "{}", shown());
    }
    assert!(n.as_i64().is_none_or(|n| row[1].parse() == Ok(n)), "{row:?} {}", shown());
    // serde_json reads doubles to within one unit in the last place unless it is built otherwise.
    if let Some(expected) = d.as_f64() {
        let ours: f64 = row[2].parse().expect("a double is shown as one");
        assert!((ours - expected).abs() <= expected.abs() * 4.0 * f64::EPSILON, "{ours} {expected} {}", shown());
    }
    assert_eq!(row[3], b.as_bool().map_or("NULL".to_owned(), |b| b.to_string()), "{}", shown());
}

/// `-0.0` and `0e5` are zero for a long only when they are written without a fraction or exponent.
fn is_long_otherwise(n: &Value, ours: &str) -> bool {
    n.as_f64().is_some_and(|n| n == 0.0) && ours == "0"
}
