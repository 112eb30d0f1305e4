//! DataFusion's errors in the user's words.

use arrow::datatypes::Schema;
use datafusion::common::{DataFusionError, SchemaError};

use crate::Error;

/// Columns listed in an error at the most.
const COLUMNS_LISTED: usize = 20;

/// An error of the SQL parser.
pub(super) fn parsing(error: &DataFusionError) -> Error {
    Error::TransformInvalid(format!("transform.sql is not valid SQL: {}", text_of(error)))
}

/// An error of planning a query over rows of `schema`.
pub(super) fn planning(error: &DataFusionError, schema: &Schema) -> Error {
    let text = match error.find_root() {
        DataFusionError::SchemaError(schema_error, _) => match schema_error.as_ref() {
            SchemaError::FieldNotFound { field, valid_fields } => {
                let mut names: Vec<_> = valid_fields.iter().map(|f| f.name().to_owned()).collect();
                if names.is_empty() {
                    names = schema.fields().iter().map(|f| f.name().clone()).collect();
                }
                format!("no column `{}`{}", field.name(), candidates(field.name(), &names))
            }
            other => other.to_string(),
        },
        root => text_of(root),
    };
    Error::TransformInvalid(format!("transform.sql: {text}{}", place(error)))
}

/// An error of a query that runs with `memory_bytes`.
pub(super) fn running(error: &DataFusionError, memory_bytes: u64) -> Error {
    let text = text_of(error.find_root());
    match error.find_root() {
        DataFusionError::ResourcesExhausted(_) => Error::Memory(format!(
            "the SQL transform needs more memory than the {} MiB the job may have, and more than it can spill: {text}; \
             raise job.memory_bytes, or group and join by fewer values",
            memory_bytes >> 20
        )),
        _ => Error::TransformFailed(text),
    }
}

/// Where in the text the error is, when the planner knows.
fn place(error: &DataFusionError) -> String {
    match error.diagnostic().and_then(|diagnostic| diagnostic.span) {
        Some(span) => format!(" at line {}, column {}", span.start.line, span.start.column),
        None => String::new(),
    }
}

fn candidates(name: &str, names: &[String]) -> String {
    let similar = names.iter().min_by_key(|n| distance(&n.to_lowercase(), &name.to_lowercase()));
    let close = similar.filter(|n| distance(&n.to_lowercase(), &name.to_lowercase()) * 2 <= name.chars().count());
    let hint = match close {
        Some(other) if other.eq_ignore_ascii_case(name) => format!("; did you mean `{other}`? names keep their case"),
        Some(other) => format!("; did you mean `{other}`?"),
        None => String::new(),
    };
    let mut list: Vec<_> = names.iter().take(COLUMNS_LISTED).map(String::as_str).collect();
    if names.len() > COLUMNS_LISTED {
        list.push("...");
    }
    format!("{hint} (there are {})", list.join(", "))
}

/// Levenshtein's distance.
fn distance(left: &str, right: &str) -> usize {
    let right: Vec<char> = right.chars().collect();
    let mut row: Vec<usize> = (0..=right.len()).collect();
    for (i, l) in left.chars().enumerate() {
        let mut diagonal = row[0];
        row[0] = i + 1;
        for (j, r) in right.iter().enumerate() {
            let above = row[j + 1];
            row[j + 1] = (diagonal + usize::from(l != *r)).min(above + 1).min(row[j] + 1);
            diagonal = above;
        }
    }
    row[right.len()]
}

/// The text without DataFusion's own classes in front and without a backtrace.
fn text_of(error: &DataFusionError) -> String {
    let text = error.strip_backtrace();
    let mut text = text.trim();
    while let Some((class, rest)) = text.split_once(": ") {
        if !class.ends_with("error") && !class.starts_with("SQL error") && class != "Resources exhausted" {
            break;
        }
        text = rest.trim();
    }
    text.lines().next().unwrap_or_default().to_owned()
}
