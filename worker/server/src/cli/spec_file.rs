//! What `convert` and `infer` read: files named on the command line, and perhaps a description of them.

use std::path::Path;

use moulin_core::{Fault, FaultKind, Format, JobSpec, OnBadRow, Ratio, Source, Transform};
use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::{Map, Value};

/// A job without a target, or a source alone.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Described {
    pub(super) source: Source,
    pub(super) transform: Option<Transform>,
    /// `None`: not said.
    pub(super) on_bad_row: Option<OnBadRow>,
    pub(super) max_bad_rows: Option<u64>,
    pub(super) max_bad_ratio: Option<Ratio>,
}

/// A job whose target is not looked at.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Job {
    source: Source,
    #[serde(default)]
    transform: Option<Transform>,
    #[serde(default, rename = "target")]
    _target: Option<Value>,
    #[serde(default)]
    on_bad_row: Option<OnBadRow>,
    #[serde(default)]
    max_bad_rows: Option<u64>,
    #[serde(default)]
    max_bad_ratio: Option<Ratio>,
    #[serde(default, rename = "deadline")]
    _deadline: Option<String>,
}

/// Reads `spec`, a YAML or JSON file with a job or a source; `uris` stand in place of its own. Without a file, and
/// where the file names no format, the format is that of the files' ending.
///
/// # Errors
/// `InvalidSpec`, naming the file and the field.
pub(super) fn read(spec: Option<&Path>, uris: &[String]) -> Result<Described, Fault> {
    let (mut value, name) = match spec {
        Some(path) => (read_value(path)?, path.display().to_string()),
        None => (Value::Object(Map::new()), "the command line".to_owned()),
    };
    let wrong = |what: String| {
        Fault::new(FaultKind::InvalidSpec, format!("{name}: {what}"))
            .with_hint("write a job file, or only what stands under its `source`; docs/specs.md lists every field")
    };
    let Value::Object(fields) = &mut value else { return Err(wrong("expected a job or a source".to_owned())) };
    let is_job = fields.contains_key("source");
    let source = if is_job { fields.get_mut("source").and_then(Value::as_object_mut) } else { Some(fields) };
    let Some(source) = source else { return Err(wrong("source is not a map".to_owned())) };
    complete(source, uris)?;
    let job: Job = if is_job {
        from_value(value).map_err(&wrong)?
    } else {
        let source = from_value(value).map_err(&wrong)?;
        Job {
            source,
            transform: None,
            _target: None,
            on_bad_row: None,
            max_bad_rows: None,
            max_bad_ratio: None,
            _deadline: None,
        }
    };
    job.source.validate()?;
    if let Some(transform) = &job.transform {
        transform.validate()?;
    }
    let Job { source, transform, on_bad_row, max_bad_rows, max_bad_ratio, .. } = job;
    Ok(Described { source, transform, on_bad_row, max_bad_rows, max_bad_ratio })
}

pub(super) fn read_value(path: &Path) -> Result<Value, Fault> {
    let wrong = |what: String| {
        Fault::new(FaultKind::InvalidSpec, what).with_hint("docs/specs.md lists every field of a job and its source")
    };
    let text = std::fs::read_to_string(path).map_err(|e| wrong(format!("cannot read {}: {e}", path.display())))?;
    serde_norway::from_str(&text).map_err(|e| wrong(format!("{}: {e}", path.display())))
}

/// Reads a job file, whole.
///
/// # Errors
/// `InvalidSpec`, naming the file and the field, with line and column.
pub(super) fn read_job(path: &Path) -> Result<JobSpec, Fault> {
    let wrong = |what: String| {
        Fault::new(FaultKind::InvalidSpec, what)
            .with_hint("`moulin --help` shows a job; docs/specs.md lists every field")
    };
    let text = std::fs::read_to_string(path).map_err(|e| wrong(format!("cannot read {}: {e}", path.display())))?;
    let spec: JobSpec = serde_norway::from_str(&text).map_err(|error| {
        // YAML's own errors name the place in the text; only one of a value names the field.
        let of_field = serde_norway::from_str(&text).ok().and_then(|value| from_value::<JobSpec>(value).err());
        let what = match (of_field, error.location()) {
            (Some(what), Some(at)) => format!("{what} at line {} column {}", at.line(), at.column()),
            (Some(what), None) => what,
            (None, _) => error.to_string(),
        };
        wrong(format!("{}: {what}", path.display()))
    })?;
    spec.validate()?;
    Ok(spec)
}

/// What a value says.
///
/// # Errors
/// The path of the field that is wrong, and why, in words.
pub(super) fn from_value<T: DeserializeOwned>(value: Value) -> Result<T, String> {
    serde_path_to_error::deserialize(value).map_err(|error| match error.path().to_string().as_str() {
        "." => error.into_inner().to_string(),
        path => format!("{path}: {}", error.inner()),
    })
}

/// Fills in the files, and the format when nothing says it.
pub(super) fn complete(source: &mut Map<String, Value>, uris: &[String]) -> Result<(), Fault> {
    if !uris.is_empty() {
        source.insert("uris".to_owned(), uris.into());
    }
    if source.contains_key("format") {
        return Ok(());
    }
    let first = source.get("uris").and_then(|uris| uris.get(0)).and_then(Value::as_str).unwrap_or_default();
    let format = format_of(first)?;
    let format = serde_json::to_value(format)
        .map_err(|error| Fault::new(FaultKind::Internal, format!("a format cannot be written: {error}")))?;
    source.insert("format".to_owned(), format);
    Ok(())
}

/// The format that the ending of a name says, the ending of a compression left out.
fn format_of(uri: &str) -> Result<Format, Fault> {
    let name = moulin_core::path_of(uri).rsplit('/').next().unwrap_or_default();
    let lower = name.to_ascii_lowercase();
    let endings = [".gz", ".gzip", ".zst", ".zstd"];
    let plain = endings.iter().find_map(|ending| lower.strip_suffix(ending)).unwrap_or(&lower);
    let format = match plain.rsplit_once('.').map_or("", |(_, ending)| ending) {
        "csv" => Format::named("csv"),
        "tsv" | "tab" => Some(Format::Csv(moulin_core::CsvFormat { delimiter: "\t".to_owned(), ..Default::default() })),
        "ndjson" | "jsonl" => Format::named("ndjson"),
        "json" => Format::named("json"),
        "parquet" => Format::named("parquet"),
        _ => None,
    };
    format.ok_or_else(|| {
        Fault::new(FaultKind::InvalidSpec, format!("the name `{name}` does not say the format of the files"))
            .with_hint("endings are csv, tsv, ndjson, jsonl, json and parquet; --spec FILE says it otherwise, e.g. with `format: csv` in it")
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn described(text: &str, uris: &[&str]) -> Result<Described, Fault> {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("s.yaml");
        std::fs::write(&path, text).unwrap();
        read(Some(&path), &uris.iter().map(|uri| (*uri).to_owned()).collect::<Vec<_>>())
    }

    #[test]
    fn a_job_or_a_source_alone_says_how_files_are_read() {
        let job =
            described("source: {uris: [a.x], format: ndjson}\ntarget: {table: a.b}\non_bad_row: skip\n", &[]).unwrap();
        assert_eq!((job.source.format.name(), job.on_bad_row), ("ndjson", Some(OnBadRow::Skip)));
        let source = described("format: {csv: {delimiter: ';'}}\n", &["b.txt"]).unwrap();
        assert!(matches!(&source.source.format, Format::Csv(csv) if csv.delimiter == ";"));
        assert_eq!((source.source.uris, source.on_bad_row), (vec!["b.txt".to_owned()], None));
    }

    #[test]
    fn files_of_the_command_line_stand_in_place_of_the_specs_own() {
        let job = described("source: {uris: [a.csv], format: csv}\n", &["b.csv", "c.csv"]).unwrap();
        assert_eq!(job.source.uris, ["b.csv", "c.csv"]);
    }

    #[test]
    fn a_format_that_nobody_says_is_that_of_the_ending() {
        let format = |uri: &str| read(None, &[uri.to_owned()]).map(|found| found.source.format.name());
        assert_eq!(format("s3://b/a.csv.gz").unwrap(), "csv");
        assert_eq!(format("a.jsonl.zst").unwrap(), "ndjson");
        assert_eq!(format("dir/?.parquet").unwrap(), "parquet");
        assert_eq!(format("https://host/a.csv?token=x.json").unwrap(), "csv");
        assert_eq!(format("https://host/A.CSV.GZ?sig=x").unwrap(), "csv");
        assert!(format("a.txt").unwrap_err().message.contains("a.txt"));
    }

    #[test]
    fn an_unknown_field_is_named_with_the_file() {
        let message = described("uris: [a.csv]\nformatt: csv\n", &[]).unwrap_err().message;
        assert!(message.contains("s.yaml") && message.contains("formatt"), "{message}");
    }

    #[test]
    fn a_value_of_a_wrong_type_is_named_by_the_path_of_its_field() {
        let of_job = |text: &str| {
            let dir = tempfile::tempdir().unwrap();
            let path = dir.path().join("s.yaml");
            std::fs::write(&path, format!("source: {{uris: [a.csv], {text}}}\ntarget: {{table: a.b}}\n")).unwrap();
            read_job(&path).unwrap_err().message
        };
        for (text, path) in [
            ("format: {csv: {header: 'yes'}}", "format: csv.header: "),
            ("format: csv, columns: [{name: n, type: 7}]", "columns[0].type: "),
            ("format: csv, columns: [{name: n, type: long, null_values: 3}]", "columns[0].null_values: "),
            ("format: csv, columns: [{name: n, type: longg}]", "columns[0].type: "),
            ("format: csv, contract: {types: frozen}", "contract.types: "),
            ("format: csv, limits: {depth: -1}", "limits.depth: "),
            ("format: csv, preserve_order: 1", "preserve_order: "),
        ] {
            let (source, job) =
                (described(&format!("{{uris: [a.csv], {text}}}"), &[]).unwrap_err().message, of_job(text));
            assert!(source.contains(&format!("s.yaml: {path}")), "{source}");
            assert!(job.contains(&format!("s.yaml: source.{path}")) && job.contains(" at line 1 column "), "{job}");
        }
    }
}
