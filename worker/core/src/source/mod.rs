//! Where rows come from and how their bytes are read.

use std::collections::HashSet;

use serde::{Deserialize, Serialize};

use crate::{Column, Contract, Fault, FaultKind};

mod bytes;
mod csv;
mod format;
mod json;
mod options;
mod rows;

pub(crate) use bytes::optional_byte;
pub use csv::{CsvFormat, Dialect, Encoding, LineEnding, RaggedRows};
pub use format::Format;
pub use json::{DuplicateKeys, JsonFormat, NdjsonFormat};
pub use rows::{Inference, OnBadFile, OnBadRow, ProvenanceColumn, ReadLimits};

/// The input of a job: files of one format and one schema.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Source {
    /// Uris or patterns of them, at least one. A replay does not look at them.
    #[serde(default)]
    pub uris: Vec<String>,
    /// How the files are written: `csv: {}`, `ndjson: {}`, `json: {}` or `parquet: {}`.
    pub format: Format,
    /// Compression of the files as a whole.
    #[serde(default)]
    pub compression: Compression,
    /// Declared columns; the rest is inferred.
    #[serde(default)]
    pub columns: Vec<Column>,
    /// Columns that say where each row comes from.
    #[serde(default)]
    pub provenance_columns: Vec<ProvenanceColumn>,
    /// Whether folders named `key=value` become columns.
    #[serde(default)]
    pub partition_columns: bool,
    /// What to do with a file that is damaged, or lacks columns.
    #[serde(default)]
    pub on_bad_file: OnBadFile,
    /// What may differ from the declared columns and from the table.
    #[serde(default)]
    pub contract: Contract,
    /// Name of the column that holds what has no column of its own.
    #[serde(default)]
    pub rescued_column: Option<String>,
    /// How much is read to infer types.
    #[serde(default)]
    pub inference: Inference,
    /// What a hostile or broken file may cost.
    #[serde(default)]
    pub limits: ReadLimits,
    /// Whether rows come out in the order of the files.
    #[serde(default)]
    pub preserve_order: bool,
}

/// Compression of a whole file.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Compression {
    /// By the ending of the name.
    #[default]
    Auto,
    /// Plain bytes.
    None,
    /// RFC 1952, one or several members.
    Gzip,
    /// RFC 8878, one or several frames.
    Zstd,
}

impl Compression {
    /// The compression of one file: what was said, or by the ending `.gz` / `.zst` of its path, in any case.
    #[must_use]
    pub fn of(self, uri: &str) -> Self {
        match self {
            Self::Auto => match ending(path_of(uri)).to_ascii_lowercase().as_str() {
                "gz" | "gzip" => Self::Gzip,
                "zst" | "zstd" => Self::Zstd,
                _ => Self::None,
            },
            said => said,
        }
    }
}

/// A uri without what stands behind the path of a web address: its query, which signs it for example, and fragment.
/// Elsewhere a question mark stands for any character, or for itself.
#[must_use]
pub fn path_of(uri: &str) -> &str {
    let scheme = uri.split_once("://").map_or("", |(scheme, _)| scheme);
    let is_web = ["http", "https"].iter().any(|web| scheme.eq_ignore_ascii_case(web));
    if is_web { uri.split(['?', '#']).next().unwrap_or_default() } else { uri }
}

/// What stands behind the last point of a path.
fn ending(path: &str) -> &str {
    path.rsplit_once('.').map_or("", |(_, ending)| ending)
}

impl Source {
    /// Files of a format, everything else by default.
    #[must_use]
    pub fn new(uris: Vec<String>, format: Format) -> Self {
        Self {
            uris,
            format,
            compression: Compression::Auto,
            columns: Vec::new(),
            provenance_columns: Vec::new(),
            partition_columns: false,
            on_bad_file: OnBadFile::Fail,
            contract: Contract::default(),
            rescued_column: None,
            inference: Inference::default(),
            limits: ReadLimits::default(),
            preserve_order: false,
        }
    }

    /// Checks what can be checked without a file.
    ///
    /// # Errors
    /// `InvalidSpec`, naming the argument.
    pub fn validate(&self) -> Result<(), Fault> {
        let wrong = |message: String| Err(Fault::new(FaultKind::InvalidSpec, message));
        if self.uris.is_empty() {
            return wrong("source.uris is empty: name at least one file or pattern".into());
        }
        if let Some(uri) = self.uris.iter().find(|uri| uri.trim().is_empty()) {
            return wrong(format!("source.uris holds an empty uri `{uri}`"));
        }
        self.validate_reading()
    }

    /// Checks how bytes are read, whatever they come from.
    ///
    /// # Errors
    /// `InvalidSpec`, naming the argument.
    pub fn validate_reading(&self) -> Result<(), Fault> {
        let wrong = |message: String| Err(Fault::new(FaultKind::InvalidSpec, message));
        self.inference.validate()?;
        self.contract.validate()?;
        self.validate_columns()?;
        let csv_only = self.columns.iter().find(|column| column.ty.primitive().is_none());
        match &self.format {
            Format::Csv(csv) => {
                if let Some(column) = csv_only {
                    return wrong(format!(
                        "source.columns, column {}: a csv field holds one value, not {}",
                        column.name, column.ty
                    ));
                }
                csv.validate()
            }
            Format::Json(json) => json.validate(),
            Format::Parquet if self.compression != Compression::Auto => {
                wrong("source.compression is for text formats; a parquet file carries its own".into())
            }
            Format::Parquet => self.limits.validate_of_parquet(),
            Format::Ndjson(_) => Ok(()),
        }
    }

    fn validate_columns(&self) -> Result<(), Fault> {
        let wrong = |message: String| Err(Fault::new(FaultKind::InvalidSpec, message));
        let mut names = HashSet::with_capacity(self.columns.len());
        for column in &self.columns {
            column.validate()?;
            if !names.insert(column.name.as_str()) {
                return wrong(format!("source.columns names `{}` twice", column.name));
            }
        }
        for (at, column) in self.provenance_columns.iter().enumerate() {
            if self.provenance_columns[..at].contains(column) {
                return wrong(format!("source.provenance_columns names {} twice", column.name()));
            }
        }
        if self.rescued_column.as_ref().is_some_and(String::is_empty) {
            return wrong("source.rescued_column is empty; leave it out for no such column".into());
        }
        let added = self.provenance_columns.iter().map(|column| column.name());
        let added: Vec<&str> = added.chain(self.rescued_column.as_deref()).collect();
        if let Some(name) = added.iter().find(|name| names.contains(**name)) {
            return wrong(format!("source.columns names `{name}`, which the reader adds by itself"));
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_ending_of_a_path_says_the_compression() {
        let table = [
            ("s3://b/a.csv.gz", Compression::Gzip),
            ("a.CSV.GZ", Compression::Gzip),
            ("a.gzip", Compression::Gzip),
            ("file:///a.Zst", Compression::Zstd),
            ("https://h/a.csv.gz?sig=x", Compression::Gzip),
            ("HTTPS://h/a.csv.zstd#part", Compression::Zstd),
            ("https://h/a.csv?name=b.gz", Compression::None),
            // A question mark is a character of a name where there are no queries.
            ("s3://b/a.gz?x", Compression::None),
            ("a.csv", Compression::None),
        ];
        for (uri, expected) in table {
            assert_eq!(Compression::Auto.of(uri), expected, "{uri}");
        }
        assert_eq!(Compression::None.of("a.gz"), Compression::None);
    }
}
