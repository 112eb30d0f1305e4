//! What a job is to do.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::{Fault, FaultKind, Landing, OnBadRow, Source, Transform};

/// Source, transform, landing and what to do with bad rows. This is also the shape of `job.yaml`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct JobSpec {
    /// Where rows come from.
    pub source: Source,
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
    /// Time the job may take from its submit, over all attempts.
    #[serde(default, with = "crate::duration_text")]
    pub deadline: Option<Duration>,
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
        self.source.validate()?;
        if self.on_bad_row == OnBadRow::Fail && (self.max_bad_rows.is_some() || self.max_bad_ratio.is_some()) {
            return Err(Fault::new(
                FaultKind::InvalidSpec,
                "max_bad_rows and max_bad_ratio are for on_bad_row = skip or quarantine; with fail the first bad row ends the job",
            ));
        }
        self.transform.as_ref().map_or(Ok(()), Transform::validate)
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
        assert!(matches!(&spec.source.format, Format::Csv(csv) if csv.delimiter == "|" && csv.null_values == ["NA"]));
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
            serde_norway::from_str::<JobSpec>(yaml).unwrap().source.format,
            Format::Ndjson(crate::NdjsonFormat::default())
        );
    }

    #[test]
    fn a_quote_equal_to_the_delimiter_is_refused() {
        let spec: JobSpec = serde_norway::from_str(&YAML.replace(r#"delimiter: "|""#, r#"delimiter: "\"""#)).unwrap();
        assert!(spec.validate().unwrap_err().message.contains("delimiter"));
    }
}
