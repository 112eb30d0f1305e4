//! `moulin infer`: what a sample of files holds, and a source to paste into a job.

use std::path::PathBuf;
use std::process::ExitCode;

use moulin_core::{Column, ColumnType, Fault, FaultKind, InferReport, Source};
use moulin_read::{self as read, fetch::Fetcher};
use serde_json::{Map, Value};

use super::{say, show, spec_file, to_json};
use crate::config::Config;
use crate::remote::Reach;

#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Files or patterns. They stand in place of `source.uris`.
    #[arg(value_name = "URI")]
    uris: Vec<String>,
    /// How the files are read: a job file, or only its `source`. What it declares always wins. Default: by the ending.
    #[arg(long, short, value_name = "FILE")]
    spec: Option<PathBuf>,
    /// `text` for people, `json` with everything that was seen, `yaml` for a source to paste into a job file.
    #[arg(long, short, value_enum, default_value_t)]
    output: Form,
    #[command(flatten)]
    reach: Reach,
}

#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, clap::ValueEnum)]
enum Form {
    #[default]
    Text,
    Json,
    Yaml,
}

/// Prints what the first rows of the files hold.
pub(super) async fn infer(config: Config, args: Args) -> Result<ExitCode, Fault> {
    let source = spec_file::read(args.spec.as_deref(), &args.uris)?.source;
    let report = match args.reach.connect().await? {
        Some(mut worker) => worker.infer(&source).await?,
        None => {
            let fetcher = Fetcher::new(&config.storage)?;
            let files = fetcher.list(&source.uris).await?;
            read::infer(&fetcher, &source, &files).await?
        }
    };
    let text = match args.output {
        Form::Text => show::infer(&report),
        Form::Json => to_json(&report)?,
        Form::Yaml => as_source(&source, &report)?,
    };
    say(&text);
    Ok(ExitCode::SUCCESS)
}

/// A source that declares every column as it was found, and the options that were found, beside what was declared.
fn as_source(source: &Source, report: &InferReport) -> Result<String, Fault> {
    let internal = |what: String| Fault::new(FaultKind::Internal, what);
    let mut declared = source.clone();
    declared.columns = report
        .columns
        .iter()
        .filter(|column| matches!(column.origin.as_str(), "declared" | "inferred" | "file"))
        .map(|column| {
            let said = source.columns.iter().find(|other| other.name == column.name).cloned();
            match (said, column.ty.parse::<ColumnType>()) {
                (Some(said), _) => Ok(Some(said)),
                (None, Ok(ty)) => Ok(Some(Column::new(&column.name, ty))),
                // A type that no text has: the file says it, and goes on saying it.
                (None, Err(_)) if column.origin == "file" => Ok(None),
                (None, Err(reason)) => Err(internal(format!("column {}: {reason}", column.name))),
            }
        })
        .filter_map(Result::transpose)
        .collect::<Result<_, _>>()?;
    let value = serde_json::to_value(&declared).map_err(|error| internal(error.to_string()))?;
    let plain = Source::new(
        Vec::new(),
        moulin_core::Format::named(source.format.name()).unwrap_or(moulin_core::Format::Parquet),
    );
    let plain = serde_json::to_value(&plain).map_err(|error| internal(error.to_string()))?;
    let mut value = without_defaults(value, &plain);
    if let Value::Object(fields) = &mut value {
        write_format(fields, source, report);
    }
    serde_norway::to_string(&value).map_err(|error| internal(format!("the source cannot be written: {error}")))
}

/// The format with the options that were declared or found.
fn write_format(fields: &mut Map<String, Value>, source: &Source, report: &InferReport) {
    let name = source.format.name();
    let mut options = match fields.remove("format") {
        Some(Value::Object(mut format)) => match format.remove(name) {
            Some(Value::Object(options)) => options,
            _ => Map::new(),
        },
        _ => Map::new(),
    };
    for option in report.options.iter().filter(|option| option.origin == "sniffed") {
        let Some(key) = option.name.strip_prefix(name).and_then(|rest| rest.strip_prefix('.')) else { continue };
        let value = match key {
            // Texts, whatever they look like: a delimiter may be a digit's neighbour, a quote `1`.
            "delimiter" | "quote" | "escape" | "comment" | "encoding" | "line_ending" => {
                Value::from(option.value.as_str())
            }
            _ => serde_json::from_str(&option.value).unwrap_or_else(|_| Value::from(option.value.as_str())),
        };
        options.insert(key.to_owned(), value);
        // What was found is said now: looking again is of no use.
        options.remove("dialect");
    }
    let format = if options.is_empty() {
        name.into()
    } else {
        Value::Object(Map::from_iter([(name.to_owned(), options.into())]))
    };
    fields.insert("format".to_owned(), format);
}

/// A value without what is as it would be anyway.
fn without_defaults(value: Value, plain: &Value) -> Value {
    let (Value::Object(fields), Value::Object(plain)) = (&value, plain) else { return value };
    let kept = fields.iter().filter(|(name, value)| plain.get(*name) != Some(*value) || *name == "format");
    let kept = kept.map(|(name, value)| {
        let plain = plain.get(name).unwrap_or(&Value::Null);
        (name.clone(), without_defaults(value.clone(), plain))
    });
    Value::Object(kept.collect())
}

#[cfg(test)]
mod tests {
    use moulin_core::{Format, InferredColumn, PlannedOption};

    use super::*;

    #[test]
    fn the_source_to_paste_says_what_was_found_and_nothing_else() {
        let source: Source = serde_norway::from_str(
            "{uris: [a.csv], format: {csv: {dialect: auto, null_values: [NA]}}, columns: [{name: b, type: 'decimal(9,2)', decimal_separator: ','}]}",
        )
        .unwrap();
        let column = |name: &str, ty: &str, origin: &str| InferredColumn {
            name: name.into(),
            ty: ty.into(),
            origin: origin.into(),
            values: 1,
            nulls: 0,
            min: String::new(),
            max: String::new(),
            reason: String::new(),
        };
        let sniffed = |name: &str, value: &str| PlannedOption {
            name: name.into(),
            value: value.into(),
            origin: "sniffed".into(),
            reason: String::new(),
        };
        let report = InferReport {
            files: vec![],
            columns: vec![
                column("a", "long", "inferred"),
                column("b", "decimal(9,2)", "declared"),
                column("_file", "string", "provenance"),
            ],
            rows: 1,
            rows_bad: 0,
            options: vec![sniffed("csv.delimiter", "1"), sniffed("csv.header", "false")],
        };
        let text = as_source(&source, &report).unwrap();
        let again: Source = serde_norway::from_str(&text).unwrap();
        assert_eq!(again.columns.len(), 2, "{text}");
        assert_eq!(again.columns[1], source.columns[0]);
        assert!(
            matches!(&again.format, Format::Csv(csv) if csv.delimiter == "1" && !csv.header && csv.dialect == moulin_core::Dialect::Given && csv.null_values == ["NA"]),
            "{text}"
        );
        assert!(!text.contains("limits") && !text.contains("quoting"), "{text}");
    }
}
