//! What a job is to do.

use std::collections::BTreeMap;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::{Contract, Fault, FaultKind, Landing, OnBadRow, Replay, Source, TableInput, Transform};

/// Source, transform, landing and what to do with bad rows. This is also the shape of `job.yaml`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct JobSpec {
    /// Files to read: the transform's `input`.
    #[serde(default)]
    pub source: Option<Source>,
    /// Iceberg tables to read, by the names that the transform knows them by.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub tables: BTreeMap<String, TableInput>,
    /// What happens to them; nothing when absent.
    #[serde(default)]
    pub transform: Option<Transform>,
    /// Where they go.
    #[serde(rename = "target")]
    pub landing: Landing,
    /// What to do with a row that does not fit.
    #[serde(default)]
    pub on_bad_row: OnBadRow,
    /// More bad rows than this fail the job.
    #[serde(default)]
    pub max_bad_rows: Option<u64>,
    /// A larger share of bad rows among all rows read fails the job.
    #[serde(default)]
    pub max_bad_ratio: Option<Ratio>,
    /// Time the job may take from the submit of its newest try, over all attempts.
    #[serde(default, with = "crate::duration_text")]
    pub deadline: Option<Duration>,
    /// The rows are the rejects of the target, read again as `source` says, whose uris are not looked at.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub replay: Option<Replay>,
}

/// A share, 0 to 1.
#[derive(Debug, Clone, Copy, PartialEq, PartialOrd, Serialize)]
pub struct Ratio(f64);

// Equality is total: the number is never NaN.
impl Eq for Ratio {}

impl Ratio {
    /// # Errors
    /// A sentence, when the number is not between 0 and 1.
    pub fn new(value: f64) -> Result<Self, String> {
        if (0.0..=1.0).contains(&value) { Ok(Self(value)) } else { Err(format!("{value} is no share between 0 and 1")) }
    }

    /// The number.
    #[must_use]
    pub fn get(self) -> f64 {
        self.0
    }
}

impl<'de> Deserialize<'de> for Ratio {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Self::new(f64::deserialize(deserializer)?).map_err(serde::de::Error::custom)
    }
}

impl JobSpec {
    /// Checks what can be checked without touching anything.
    ///
    /// # Errors
    /// `InvalidSpec`, naming the argument.
    pub fn validate(&self) -> Result<(), Fault> {
        if let Some(replay) = &self.replay {
            replay.validate(self)?;
        }
        self.validate_inputs()?;
        if self.on_bad_row == OnBadRow::Fail && (self.max_bad_rows.is_some() || self.max_bad_ratio.is_some()) {
            return Err(Fault::new(
                FaultKind::InvalidSpec,
                "max_bad_rows and max_bad_ratio are for on_bad_row = skip or quarantine; with fail the first bad row ends the job",
            ));
        }
        self.transform.as_ref().map_or(Ok(()), Transform::validate)
    }

    /// The name that files have in a transform.
    pub const FILES: &str = "input";

    /// What may differ between the rows and the table they land in.
    #[must_use]
    pub fn contract(&self) -> Contract {
        self.source.as_ref().map(|source| source.contract).unwrap_or_default()
    }

    fn validate_inputs(&self) -> Result<(), Fault> {
        let wrong = |message: &str| Err(Fault::new(FaultKind::InvalidSpec, message));
        match &self.source {
            Some(source) if self.replay.is_some() => source.validate_reading()?,
            Some(source) => source.validate()?,
            None => {}
        }
        for (name, table) in &self.tables {
            table.validate(name)?;
        }
        match (&self.source, self.tables.len()) {
            (None, 0) => wrong("a job reads files (source) or tables (tables), and this one names neither"),
            (Some(_), _) if self.tables.contains_key(Self::FILES) => {
                wrong("tables names an input `input`, which is the name of the job's files; give it another name")
            }
            (None, 1) | (Some(_), 0) => Ok(()),
            _ if self.transform.is_none() => wrong(
                "the job has several inputs and no transform: say with sql or a LazyFrame how one table is made of them",
            ),
            _ => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Format;

    const YAML: &str = r#"
source:
  uris: ["file:///data/flights.csv.gz"]
  format: {csv: {null_values: [NA], delimiter: "|"}}
  columns: [{name: dep_delay, type: double}]
transform:
  sql: SELECT * FROM input
target:
  table: bronze.flights
  partition_by: ["month(time_hour)"]
on_bad_row: skip
deadline: 15m
"#;

    #[test]
    fn a_job_file_is_a_spec() {
        let spec: JobSpec = serde_norway::from_str(YAML).unwrap();
        assert!(spec.validate().is_ok());
        assert!(
            matches!(&spec.source.as_ref().unwrap().format, Format::Csv(csv) if csv.delimiter == "|" && csv.null_values == ["NA"])
        );
        assert_eq!(spec.deadline, Some(Duration::from_secs(900)));
        let again: JobSpec = serde_json::from_str(&serde_json::to_string(&spec).unwrap()).unwrap();
        assert_eq!(again, spec);
    }

    #[test]
    fn an_unknown_field_is_named() {
        let error =
            serde_norway::from_str::<JobSpec>(&YAML.replace("on_bad_row", "on_bad_rows")).unwrap_err().to_string();
        assert!(error.contains("on_bad_rows"), "{error}");
    }

    #[test]
    fn a_short_format_is_its_name() {
        let yaml = "source: {uris: [a.ndjson], format: ndjson}\ntarget: {table: a.b}\n";
        assert_eq!(
            serde_norway::from_str::<JobSpec>(yaml).unwrap().source.unwrap().format,
            Format::Ndjson(crate::NdjsonFormat::default())
        );
    }

    #[test]
    fn a_quote_equal_to_the_delimiter_is_refused() {
        let spec: JobSpec = serde_norway::from_str(&YAML.replace(r#"delimiter: "|""#, r#"delimiter: "\"""#)).unwrap();
        assert!(spec.validate().unwrap_err().message.contains("delimiter"));
    }

    #[test]
    fn inputs_are_files_or_tables_and_several_need_a_transform() {
        let read = |inputs: &str| {
            let spec: JobSpec = serde_norway::from_str(&format!("{inputs}\ntarget: {{table: a.b}}\n")).unwrap();
            spec.validate().map_err(|fault| fault.message)
        };
        let tables = "tables: {flights: bronze.flights, airlines: {table: bronze.airlines, ref: main}}";
        assert!(read("tables: {flights: bronze.flights}").is_ok());
        assert!(read(tables).unwrap_err().contains("several inputs and no transform"));
        assert!(read(&format!("{tables}\ntransform: {{sql: SELECT 1}}")).is_ok());
        assert!(read("").unwrap_err().contains("names neither"));
        let both = "source: {uris: [a.csv], format: csv}\ntables: {input: a.c}\ntransform: {sql: SELECT 1}";
        assert!(read(both).unwrap_err().contains("names an input `input`"));
    }
}
