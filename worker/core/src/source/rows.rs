//! What may be wrong with rows and files, and what is done about it.

use serde::{Deserialize, Serialize};

use crate::{Fault, FaultKind};

/// What to do with a row that does not fit.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum OnBadRow {
    /// The first one fails the job.
    #[default]
    Fail,
    /// They are counted and left out.
    Skip,
    /// They are left out and kept, every one.
    Quarantine,
}

/// What to do with a file that is damaged, or lacks columns.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum OnBadFile {
    /// It fails the job.
    #[default]
    Fail,
    /// Nothing of it lands.
    Skip,
}

/// A column that says where a row comes from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ProvenanceColumn {
    /// `_file`: string, the uri.
    File,
    /// `_row`: long, the number of the record in its file, from 1.
    Row,
    /// `_offset`: long, the offset in bytes of the record in the decompressed file.
    Offset,
}

impl ProvenanceColumn {
    /// `_file`, `_row` or `_offset`.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::File => "_file",
            Self::Row => "_row",
            Self::Offset => "_offset",
        }
    }
}

/// How much is read to infer types.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Inference {
    /// Records at the most.
    pub sample_rows: u64,
    /// Decompressed bytes at the most, roughly.
    pub sample_bytes: u64,
}

impl Default for Inference {
    fn default() -> Self {
        Self { sample_rows: 10_000, sample_bytes: 1 << 20 }
    }
}

impl Inference {
    /// The sample stands in memory: more than this is no sample any more.
    const MOST_BYTES: u64 = 256 << 20;

    pub(super) fn validate(self) -> Result<(), Fault> {
        let wrong = |message: String| Err(Fault::new(FaultKind::InvalidSpec, message));
        if self.sample_rows == 0 {
            return wrong("source.inference.sample_rows is 0; a sample has at least one row".to_owned());
        }
        if self.sample_bytes == 0 || self.sample_bytes > Self::MOST_BYTES {
            let most = Self::MOST_BYTES;
            return wrong(format!("source.inference.sample_bytes is {}, expected 1 to {most}", self.sample_bytes));
        }
        Ok(())
    }
}

/// What a hostile or broken file may cost at the most.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct ReadLimits {
    /// Bytes of one field.
    pub field_bytes: u64,
    /// Bytes of one record.
    pub record_bytes: u64,
    /// Columns.
    pub columns: u32,
    /// Levels of JSON objects and lists in each other.
    pub depth: u32,
    /// Decompressed bytes for one compressed byte of a file, once 16 MiB have come out of it.
    pub inflation_ratio: u32,
    /// Decompressed bytes of one file; `None`: no limit.
    pub inflated_bytes: Option<u64>,
}

impl Default for ReadLimits {
    fn default() -> Self {
        Self {
            field_bytes: 16 << 20,
            record_bytes: 64 << 20,
            columns: 20_000,
            depth: 128,
            inflation_ratio: 1_000,
            inflated_bytes: None,
        }
    }
}

impl ReadLimits {
    /// A row of a Parquet file has no bytes of its own, and columns that nobody wants are not read.
    pub(super) fn validate_of_parquet(self) -> Result<(), Fault> {
        let usual = Self::default();
        let said = [
            ("field_bytes", self.field_bytes != usual.field_bytes),
            ("record_bytes", self.record_bytes != usual.record_bytes),
        ];
        match said.into_iter().find(|(_, said)| *said) {
            Some((name, _)) => {
                let message = format!("source.limits.{name} is for text formats: a parquet file is read in pages");
                Err(Fault::new(FaultKind::InvalidSpec, message))
            }
            None => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_sample_is_neither_empty_nor_larger_than_memory() {
        assert!(Inference::default().validate().is_ok());
        for (sample_rows, sample_bytes, word) in
            [(0, 1, "sample_rows"), (1, 0, "sample_bytes"), (1, 1 << 40, "sample_bytes")]
        {
            assert!(Inference { sample_rows, sample_bytes }.validate().unwrap_err().message.contains(word));
        }
    }

    #[test]
    fn limits_of_texts_are_none_of_parquet() {
        assert!(ReadLimits { columns: 3, depth: 1, ..ReadLimits::default() }.validate_of_parquet().is_ok());
        let refused = ReadLimits { record_bytes: 3, ..ReadLimits::default() }.validate_of_parquet().unwrap_err();
        assert_eq!(refused.message, "source.limits.record_bytes is for text formats: a parquet file is read in pages");
    }
}
