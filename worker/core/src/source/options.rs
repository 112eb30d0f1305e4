//! Every option of a source as a list, with where its value comes from.

use serde_json::Value;

use super::Source;
use crate::{Format, PlannedOption};

impl Source {
    /// Every option of the reader with its value, in the order of the job's description: `declared` when it differs from
    /// the default, `sniffed` when it is one of those, else `default`. Input files and columns are no options.
    #[must_use]
    pub fn options(&self, sniffed: &[PlannedOption]) -> Vec<PlannedOption> {
        let plain = Self::new(Vec::new(), Format::named(self.format.name()).unwrap_or(Format::Parquet));
        let (said, default) = (flat(self), flat(&plain));
        let option = |(name, value): (String, String)| {
            if let Some(found) = sniffed.iter().find(|option| option.name == name) {
                return found.clone();
            }
            let is_default = default.iter().any(|(other, plain)| *other == name && *plain == value);
            let origin = if is_default { "default" } else { "declared" };
            PlannedOption { name, value, origin: origin.to_owned(), reason: String::new() }
        };
        said.into_iter().map(option).collect()
    }
}

/// Names and values of all options; `csv.delimiter` for one of the format.
fn flat(source: &Source) -> Vec<(String, String)> {
    let mut source = source.clone();
    if let Format::Csv(csv) = &mut source.format {
        csv.delimiter = csv.delimiter_or_default().to_owned();
        csv.quote = csv.quote.or(Some(b'"'));
    }
    let Ok(Value::Object(fields)) = serde_json::to_value(&source) else { return Vec::new() };
    let mut options = Vec::new();
    for (name, value) in fields {
        match (name.as_str(), value) {
            ("uris" | "columns", _) => {}
            ("format", Value::Object(format)) => {
                for (format, values) in format {
                    push(&format, values, &mut options);
                }
            }
            ("format", value) => push("format", value, &mut options),
            (_, value) => push(&name, value, &mut options),
        }
    }
    options
}

fn push(name: &str, value: Value, options: &mut Vec<(String, String)>) {
    match value {
        Value::Object(fields) => {
            fields.into_iter().for_each(|(field, value)| push(&format!("{name}.{field}"), value, options));
        }
        Value::String(text) => options.push((name.to_owned(), text)),
        Value::Null => options.push((name.to_owned(), String::new())),
        other => options.push((name.to_owned(), other.to_string())),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::CsvFormat;

    #[test]
    fn every_option_says_where_its_value_comes_from() {
        let csv = CsvFormat { null_values: vec!["NA".to_owned()], ..CsvFormat::default() };
        let mut source = Source::new(vec!["a.csv".to_owned()], Format::Csv(csv));
        source.inference.sample_rows = 7;
        let sniffed = PlannedOption {
            name: "csv.delimiter".to_owned(),
            value: ";".to_owned(),
            origin: "sniffed".to_owned(),
            reason: "every line has two".to_owned(),
        };
        let options = source.options(std::slice::from_ref(&sniffed));
        let option = |name: &str| {
            let found = options.iter().find(|option| option.name == name).unwrap_or_else(|| panic!("{name}"));
            (found.value.as_str(), found.origin.as_str())
        };
        assert_eq!(option("csv.null_values"), (r#"["NA"]"#, "declared"));
        assert_eq!(option("csv.quote"), ("\"", "default"));
        assert_eq!(option("csv.escape"), ("", "default"));
        assert_eq!(option("inference.sample_rows"), ("7", "declared"));
        assert_eq!(option("contract.tables"), ("evolve", "default"));
        assert_eq!(option("csv.delimiter"), (";", "sniffed"));
        assert!(options.iter().all(|option| option.name != "uris"));
    }
}
