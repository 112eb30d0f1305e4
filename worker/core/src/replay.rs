//! Rejected rows as the input of a job, and what becomes of a table of rejects.

use serde::{Deserialize, Serialize};

use crate::{Fault, FaultKind, Format, JobSpec, OnBadRow, Token};

/// A job that reads the rejects of its target again, with a corrected spec.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Replay {
    /// SQL condition over the columns of the table of rejects; `None`: all that no replay has taken.
    #[serde(default, rename = "where", skip_serializing_if = "Option::is_none")]
    pub condition: Option<String>,
}

impl Replay {
    /// Checks what can be checked without touching anything.
    pub(crate) fn validate(&self, spec: &JobSpec) -> Result<(), Fault> {
        let wrong = |message: &str, hint: &str| Err(Fault::new(FaultKind::InvalidSpec, message).with_hint(hint));
        let Some(source) = &spec.source else {
            return wrong(
                "a replay needs a source, which says how the rejected bytes are read",
                "give the source of the job that rejected the rows, corrected; its uris are not looked at",
            );
        };
        if !spec.tables.is_empty() {
            return wrong(
                "a replay reads rejects and no tables",
                "leave tables out; a transform sees the rows under the name `input`",
            );
        }
        if self.condition.as_ref().is_some_and(|condition| condition.trim().is_empty()) {
            return wrong("replay.where is empty", "leave it out to replay all rejects, or write a condition");
        }
        if spec.on_bad_row == OnBadRow::Skip {
            return wrong(
                "on_bad_row is skip: a row that still does not fit would be gone for good",
                "set on_bad_row to quarantine (it is a reject again) or fail (nothing happens at all)",
            );
        }
        match &source.format {
            Format::Parquet => wrong(
                "rows of Parquet files are kept without their bytes, so they cannot be replayed",
                "load the files again with target.on_loaded_file: reload",
            ),
            Format::Csv(csv) if csv.dialect == crate::Dialect::Auto => wrong(
                "csv.dialect auto looks at files, and a replay has none",
                "say the delimiter, the quote and the escape that `moulin infer` shows for one of the files",
            ),
            _ => Ok(()),
        }
    }
}

/// What a replay found among the rejects, and what it took.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct ReplayCounts {
    /// The table of rejects, `namespace.table`.
    pub table: String,
    /// The snapshot of it that was read; `None`: there is no such table, or nothing was ever in it.
    pub snapshot_id: Option<i64>,
    /// Rejects that meet the condition and that no replay has taken.
    pub matched: u64,
    /// Of those, read again.
    pub replayed: u64,
    /// Of those, left because only the first bytes of the record were kept.
    pub cut: u64,
    /// Of those, left because they are rows of Parquet files, which have no bytes of their own.
    pub without_bytes: u64,
    /// Of those, left because they were read as another format than the source says.
    pub other_format: u64,
    /// Of the rejects that were read again, those in whose bytes the source finds no record any more.
    pub empty: u64,
}

impl ReplayCounts {
    /// Every reject that was looked at is accounted for.
    ///
    /// # Errors
    /// `Internal`, with all figures.
    pub fn check(&self) -> Result<(), Fault> {
        let Self { matched, replayed, cut, without_bytes, other_format, .. } = self;
        if *matched == replayed + cut + without_bytes + other_format {
            return Ok(());
        }
        let message = format!(
            "rejects are unaccounted for: {matched} matched, but {replayed} replayed + {cut} cut + {without_bytes} without bytes + {other_format} of another format"
        );
        Err(Fault::new(FaultKind::Internal, message))
    }
}

/// What becomes of rows that are in a table of rejects already, in the commit that brings a job's own. Said by what the
/// rows are, never by the files that they are in: those may be written again by others until then.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct RejectsChange {
    /// The rejects of the generations of the job's own key from this one on go, and what these have marked is open again.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub replaced_from: Option<u32>,
    /// What is marked as replayed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub mark: Option<RejectsMark>,
}

/// The rows that a replay has taken.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct RejectsMark {
    /// The jobs whose rejects were read, by their tokens: those of a job come all at once, so none comes later.
    pub tokens: Vec<String>,
    /// As in [`Replay::condition`].
    #[serde(default)]
    pub condition: Option<String>,
    /// The formats that the rejects were read as at first.
    pub formats: Vec<String>,
    /// When the replay was asked for, microseconds since 1970: what `now()` in the condition means.
    pub asked_at_micros: i64,
    /// How many rows these are.
    pub rows: u64,
}

impl RejectsChange {
    /// Whether nothing changes.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.replaced_from.is_none() && self.mark.is_none()
    }

    /// Whether a token is one of the generations that the job `own` replaces.
    #[must_use]
    pub fn replaces(&self, own: &Token, token: &str) -> bool {
        let Some(from) = self.replaced_from else { return false };
        let other = Token(token.to_owned());
        other.key() == own.key()
            && other.generation().is_some_and(|generation| generation >= from && Some(generation) < own.generation())
    }
}

/// Data files of the target with the rows that a replay made of the rejects of one job.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ReplayedFiles {
    /// The token of the job that read the rows from its files.
    pub origin: String,
    /// Where the data files are.
    pub locations: Vec<String>,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_earlier_generations_of_the_same_key_are_replaced() {
        let change = RejectsChange { replaced_from: Some(1), mark: None };
        let own = Token("d/r/t/-1/3".to_owned());
        let replaces = |token: &str| change.replaces(&own, token);
        assert_eq!(
            ["0", "1", "2", "3", "4"].map(|g| replaces(&format!("d/r/t/-1/{g}"))),
            [false, true, true, false, false]
        );
        assert!(!replaces("d/r/other/-1/2") && !replaces("") && !RejectsChange::default().replaces(&own, "d/r/t/-1/2"));
    }

    #[test]
    fn a_lost_reject_is_noticed() {
        let mut counts =
            ReplayCounts { matched: 7, replayed: 4, cut: 1, without_bytes: 1, other_format: 1, ..Default::default() };
        assert!(counts.check().is_ok());
        counts.cut = 0;
        let fault = counts.check().unwrap_err();
        assert!(fault.message.contains("7 matched, but 4 replayed + 0 cut"), "{}", fault.message);
    }
}
