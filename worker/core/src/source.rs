//! Where rows come from and how their bytes are read.

use serde::{Deserialize, Serialize};

use crate::{Column, Fault, FaultKind};

/// The input of a job: files of one format and one schema.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Source {
    /// Uris or patterns of them, at least one.
    pub uris: Vec<String>,
    /// How the files are written: `csv: {}`, `ndjson: {}` or `parquet: {}`.
    #[serde(with = "crate::source::format_as_map")]
    pub format: Format,
    /// Compression of the files as a whole.
    #[serde(default)]
    pub compression: Compression,
    /// Declared columns; the rest is inferred.
    #[serde(default)]
    pub columns: Vec<Column>,
}

/// How files are written.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Format {
    /// Delimited text.
    Csv(CsvFormat),
    /// One JSON object a line.
    Ndjson,
    /// Apache Parquet.
    Parquet,
}

/// In YAML a format is its name, or its name with options: `format: ndjson`, `format: {csv: {delimiter: "|"}}`.
mod format_as_map {
    use serde::{Deserialize, Deserializer, Serialize, Serializer};

    use super::{CsvFormat, Format};

    #[derive(Deserialize)]
    #[serde(rename_all = "snake_case", deny_unknown_fields)]
    struct Options {
        csv: CsvFormat,
    }

    #[derive(Deserialize)]
    #[serde(
        untagged,
        expecting = "expected csv, ndjson, parquet, or {csv: {...}} with the options delimiter, quote, quoting, header, null_values, skip_lines, comment"
    )]
    enum Written {
        Name(String),
        Options(Options),
    }

    pub(super) fn serialize<S: Serializer>(format: &Format, serializer: S) -> Result<S::Ok, S::Error> {
        #[derive(Serialize)]
        struct Csv<'a> {
            csv: &'a CsvFormat,
        }
        match format {
            Format::Csv(csv) => Csv { csv }.serialize(serializer),
            Format::Ndjson => serializer.serialize_str("ndjson"),
            Format::Parquet => serializer.serialize_str("parquet"),
        }
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Format, D::Error> {
        match Written::deserialize(deserializer)? {
            Written::Options(options) => Ok(Format::Csv(options.csv)),
            Written::Name(name) => match name.as_str() {
                "csv" => Ok(Format::Csv(CsvFormat::default())),
                "ndjson" => Ok(Format::Ndjson),
                "parquet" => Ok(Format::Parquet),
                other => Err(serde::de::Error::custom(format!("no format `{other}`; there are csv, ndjson, parquet"))),
            },
        }
    }
}

/// RFC 4180 and its relatives.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct CsvFormat {
    /// The byte between fields.
    #[serde(with = "one_byte")]
    pub delimiter: u8,
    /// The byte around fields that hold delimiters, quotes or line ends; doubled inside.
    #[serde(with = "one_byte")]
    pub quote: u8,
    /// Whether a quote means anything.
    pub quoting: bool,
    /// Whether the first row holds names.
    pub header: bool,
    /// Unquoted fields that mean null. The empty field means null too, except in a string column, where it
    /// is the empty string unless it is listed here.
    pub null_values: Vec<String>,
    /// Lines to leave out before the header.
    pub skip_lines: u64,
    /// Lines that start with this byte are no rows.
    #[serde(with = "optional_byte")]
    pub comment: Option<u8>,
}

impl Default for CsvFormat {
    fn default() -> Self {
        Self {
            delimiter: b',',
            quote: b'"',
            quoting: true,
            header: true,
            null_values: Vec::new(),
            skip_lines: 0,
            comment: None,
        }
    }
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
    /// The compression of one file: what was said, or by the ending `.gz` / `.zst`.
    #[must_use]
    pub fn of(self, uri: &str) -> Self {
        match self {
            Self::Auto if uri.ends_with(".gz") || uri.ends_with(".gzip") => Self::Gzip,
            Self::Auto if uri.ends_with(".zst") || uri.ends_with(".zstd") => Self::Zstd,
            Self::Auto => Self::None,
            said => said,
        }
    }
}

/// What to do with a row that does not fit.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum OnBadRow {
    /// The first one fails the job.
    #[default]
    Fail,
    /// They are counted and left out.
    Skip,
}

impl Source {
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
        for (at, column) in self.columns.iter().enumerate() {
            if self.columns[..at].iter().any(|other| other.name == column.name) {
                return wrong(format!("source.columns names `{}` twice", column.name));
            }
        }
        if self.format == Format::Parquet && self.compression != Compression::Auto {
            return wrong("source.compression is for csv and ndjson; a parquet file carries its own".into());
        }
        if let Format::Csv(csv) = &self.format {
            csv.validate()?;
        }
        Ok(())
    }
}

impl CsvFormat {
    fn validate(&self) -> Result<(), Fault> {
        let mut bytes = vec![("delimiter", self.delimiter)];
        if self.quoting {
            bytes.push(("quote", self.quote));
        }
        if let Some(comment) = self.comment {
            bytes.push(("comment", comment));
        }
        for (at, (name, byte)) in bytes.iter().enumerate() {
            if matches!(byte, b'\n' | b'\r' | 0) || !byte.is_ascii() {
                return Err(Fault::new(
                    FaultKind::InvalidSpec,
                    format!("csv {name} must be one ASCII character, not a line end"),
                ));
            }
            if let Some((other, _)) = bytes[..at].iter().find(|(_, b)| b == byte) {
                return Err(Fault::new(
                    FaultKind::InvalidSpec,
                    format!("csv {name} and {other} are both `{}`", char::from(*byte)),
                ));
            }
        }
        Ok(())
    }
}

/// One byte written as a text of one ASCII character.
mod one_byte {
    use serde::{Deserialize, Deserializer, Serializer, de::Error};

    pub(super) fn serialize<S: Serializer>(byte: &u8, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(&char::from(*byte))
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<u8, D::Error> {
        let text = String::deserialize(deserializer)?;
        match text.as_bytes() {
            [byte] => Ok(*byte),
            _ => Err(D::Error::custom(format!("`{text}` is not one ASCII character"))),
        }
    }
}

/// [`one_byte`], or nothing.
mod optional_byte {
    use serde::{Deserialize, Deserializer, Serializer, de::Error};

    #[allow(clippy::ref_option, clippy::trivially_copy_pass_by_ref, reason = "serde's signature")]
    pub(super) fn serialize<S: Serializer>(byte: &Option<u8>, serializer: S) -> Result<S::Ok, S::Error> {
        match byte {
            Some(byte) => serializer.collect_str(&char::from(*byte)),
            None => serializer.serialize_none(),
        }
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<u8>, D::Error> {
        match Option::<String>::deserialize(deserializer)?.as_deref().map(str::as_bytes) {
            None => Ok(None),
            Some([byte]) => Ok(Some(*byte)),
            Some(_) => Err(D::Error::custom("expected one ASCII character")),
        }
    }
}
