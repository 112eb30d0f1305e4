//! Inference: the same twice, right for what it saw, and never narrower for more rows.

use std::io::Cursor;
use std::sync::Arc;

use arrow::datatypes::{DataType, Field, Schema};
use moulin_core::{CsvFormat, Encoding, Format, Source};

use super::{Choices, URI, read_serially};
use crate::InputSchema;
use crate::blocks::{Pool, Splitter};
use crate::csv::Csv;
use crate::fetch::ByteStream;

/// Infers the columns of a file without header, and of its first lines.
///
/// # Panics
/// When an answer differs from call to call, a row of the sample does not fit, or a column becomes narrower.
pub fn infer(case: &[u8]) {
    let mut choices = Choices(case);
    let format = CsvFormat {
        header: false,
        encoding: Encoding::Utf8,
        null_values: if choices.is() { vec!["NA".to_owned()] } else { Vec::new() },
        ..CsvFormat::default()
    };
    let share = choices.below(256);
    let file = choices.file();
    if file.contains(&b'\r') {
        return;
    }
    let Some(all) = schema(&format, file) else { return };
    assert_eq!(schema(&format, file).as_ref(), Some(&all), "the second answer is another one");
    let reader = Csv::new(&source(&format), &format, &all).expect("what was inferred is read");
    let outcome = read_serially(&reader, file, file.len() + 1);
    let outcome = outcome.expect("only a record of many MiB is an error");
    for reject in &outcome.rejects {
        assert!(!reject.code.starts_with("type."), "inferred {:?}, then {reject:?}", all.arrow);
    }
    let cut = file[..file.len() * share / 256].iter().rposition(|byte| *byte == b'\n').map_or(0, |at| at + 1);
    let Some(fewer) = schema(&format, &file[..cut]) else { return };
    if fewer.arrow.fields().len() != all.arrow.fields().len() {
        return;
    }
    // The rows that both answers come from, as texts.
    let texts = fewer.arrow.fields().iter().map(|field| Field::new(field.name(), DataType::Utf8, true));
    let texts = InputSchema::new(Arc::new(Schema::new(texts.collect::<Vec<_>>())), fewer.origins.clone());
    let texts = Csv::new(&source(&format), &format, &texts).expect("texts are read");
    let rows = read_serially(&texts, &file[..cut], cut + 1);
    let rows = rows.expect("only a record of many MiB is an error").rows;
    for (at, (narrow, wide)) in fewer.arrow.fields().iter().zip(all.arrow.fields()).enumerate() {
        assert!(
            widens(narrow.data_type(), wide.data_type()) || !rows.iter().any(|row| is_decisive(&row[at])),
            "more rows made {wide:?} of {narrow:?}"
        );
    }
}

/// Whether a text says something about the type of its column: a null does not.
fn is_decisive(text: &str) -> bool {
    !matches!(text, "" | "NA" | "NULL")
}

fn schema(format: &CsvFormat, file: &[u8]) -> Option<InputSchema> {
    let stream = ByteStream::new(Cursor::new(file.to_vec()));
    let mut splitter = Splitter::new(stream, file.len() + 1, Pool::default());
    crate::csv::sample::schema(URI, &source(format), format, &mut splitter).ok().flatten()
}

fn source(format: &CsvFormat) -> Source {
    Source::new(Vec::new(), Format::Csv(format.clone()))
}

/// Whether every value of the first type is one of the second.
fn widens(from: &DataType, to: &DataType) -> bool {
    match from {
        _ if from == to || *to == DataType::Utf8 => true,
        DataType::Int64 => matches!(to, DataType::Float64 | DataType::Decimal128(..)),
        DataType::Date32 => matches!(to, DataType::Timestamp(..)),
        _ => false,
    }
}
