//! Inference: the same twice, right for what it saw, and never narrower for more rows.

use std::io::Cursor;

use arrow::datatypes::DataType;
use moulin_core::{CsvFormat, Format, Source};

use super::csv::records_of;
use super::{Choices, URI, read_serially};
use crate::blocks::{Pool, Splitter};
use crate::csv::Csv;
use crate::fetch::ByteStream;
use crate::{InputSchema, values};

/// Infers the columns of a file without header, and of its first lines.
///
/// # Panics
/// When an answer differs from call to call, a row of the sample does not fit, or a column becomes narrower.
pub fn infer(case: &[u8]) {
    let mut choices = Choices(case);
    let format = CsvFormat {
        header: false,
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
    let rows = records_of(&format, &file[..cut]);
    for (at, (narrow, wide)) in fewer.arrow.fields().iter().zip(all.arrow.fields()).enumerate() {
        let mut texts = rows.iter().filter(|row| row.len() == all.arrow.fields().len()).map(|row| row[at].as_slice());
        assert!(
            widens(narrow.data_type(), wide.data_type()) || !texts.any(is_decisive),
            "more rows made {wide:?} of {narrow:?}"
        );
    }
}

/// Whether a text says something about the type of its column: nulls do not, nor does a `nan` without other numbers.
fn is_decisive(text: &[u8]) -> bool {
    let is_null = text.is_empty() || text == b"NA";
    let is_no_number = values::double(text).is_some() && !text.iter().any(u8::is_ascii_digit);
    !is_null && !is_no_number
}

fn schema(format: &CsvFormat, file: &[u8]) -> Option<InputSchema> {
    let stream: ByteStream = Box::new(Cursor::new(file.to_vec()));
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
