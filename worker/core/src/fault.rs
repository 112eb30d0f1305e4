//! One error value for a whole job, and the one table that says what each kind means.

use std::fmt;

use serde::{Deserialize, Serialize};

/// What kind of thing went wrong. See [`FaultKind::retryable`] and [`FaultKind::hint`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum FaultKind {
    /// The job's description is wrong.
    InvalidSpec,
    /// A named thing does not exist.
    NotFound,
    /// A row does not fit and the job said `fail`.
    BadRow,
    /// A file is damaged as a whole.
    BadFile,
    /// The transform was refused or failed.
    Transform,
    /// The table does not take what the job lands.
    SchemaMismatch,
    /// Credentials are missing or were refused.
    PermissionDenied,
    /// Something the worker needs did not answer.
    Unavailable,
    /// No memory or slot is free now.
    ResourceExhausted,
    /// Other writers won every commit attempt.
    CommitConflict,
    /// The commit's answer was lost.
    CommitUnknown,
    /// The caller's epoch is older than the job's.
    StaleEpoch,
    /// The job was cancelled.
    Cancelled,
    /// The job's deadline passed.
    DeadlineExceeded,
    /// Another worker has the job.
    LeaseLost,
    /// The accounting did not add up, or a defect.
    Internal,
}

impl FaultKind {
    /// Every kind, in the order of the wire enum.
    pub const ALL: [Self; 16] = [
        Self::InvalidSpec,
        Self::NotFound,
        Self::BadRow,
        Self::BadFile,
        Self::Transform,
        Self::SchemaMismatch,
        Self::PermissionDenied,
        Self::Unavailable,
        Self::ResourceExhausted,
        Self::CommitConflict,
        Self::CommitUnknown,
        Self::StaleEpoch,
        Self::Cancelled,
        Self::DeadlineExceeded,
        Self::LeaseLost,
        Self::Internal,
    ];

    /// Whether the same job may succeed when it is tried again unchanged.
    #[must_use]
    pub fn retryable(self) -> bool {
        match self {
            Self::Unavailable
            | Self::ResourceExhausted
            | Self::CommitConflict
            | Self::CommitUnknown
            | Self::LeaseLost => true,
            Self::InvalidSpec
            | Self::NotFound
            | Self::BadRow
            | Self::BadFile
            | Self::Transform
            | Self::SchemaMismatch
            | Self::PermissionDenied
            | Self::StaleEpoch
            | Self::Cancelled
            | Self::DeadlineExceeded
            | Self::Internal => false,
        }
    }

    /// What the user can do, when the place that failed has nothing better to say.
    #[must_use]
    pub fn hint(self) -> &'static str {
        match self {
            Self::InvalidSpec => "correct the job's description; `moulin plan` shows what a job would do",
            Self::NotFound => "check the name; a path is seen from the worker's machine, not from Airflow's",
            Self::BadRow => {
                "correct the file, declare another type for the column, or set on_bad_row to quarantine or skip"
            }
            Self::BadFile => "fetch or write the file again",
            Self::Transform => "correct the transform; `moulin plan` checks it without running the job",
            Self::SchemaMismatch => {
                "change the transform so that it makes the table's columns and types, or land into another table"
            }
            Self::PermissionDenied => {
                "give the worker credentials for it (environment or the [storage] section of its configuration)"
            }
            Self::Unavailable => "it is tried again; `moulin doctor` says what does not answer",
            Self::ResourceExhausted => "it is tried again; add workers, or raise job.slots or job.memory_bytes",
            Self::CommitConflict => {
                "it is tried again; if it happens often, fewer jobs should write this table at once"
            }
            Self::CommitUnknown => "the next attempt looks for the commit before it does anything",
            Self::StaleEpoch => "a newer try has taken the job over; nothing to do",
            Self::Cancelled => "clear the task to run it again",
            Self::DeadlineExceeded => "raise the task's execution_timeout or the worker's job.deadline",
            Self::LeaseLost => "another worker goes on with the job; nothing to do",
            Self::Internal => "please report this with the worker's log",
        }
    }
}

/// A place in an input file.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Place {
    /// The file, as listed.
    pub uri: String,
    /// Record number, counted from 1, the header not counted; 0: not about one record.
    pub record: u64,
    /// Physical line, counted from 1, the header counted; 0: the format has no lines.
    pub line: u64,
    /// Offset of the record's first byte in the decompressed file.
    pub byte_offset: u64,
    /// Column name; empty: about the whole record.
    pub column: String,
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.uri)?;
        if self.line > 0 {
            write!(f, ", line {}", self.line)?;
        } else if self.record > 0 {
            write!(f, ", record {}", self.record)?;
        }
        if self.line > 0 || self.byte_offset > 0 {
            write!(f, ", byte {}", self.byte_offset)?;
        }
        Ok(())
    }
}

/// One failure in the user's words: kind, message, what to do, causes, place.
///
/// Every crate's own error turns into this at its boundary; it is what a job stores, a status carries and an
/// Airflow log shows.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, thiserror::Error)]
#[error("{message}")]
pub struct Fault {
    /// What kind of thing went wrong.
    pub kind: FaultKind,
    /// One line, lower case: what was found, what was expected, where.
    pub message: String,
    /// What the user can do about it.
    pub hint: String,
    /// The causes, outermost first, without the message.
    #[serde(default)]
    pub causes: Vec<String>,
    /// Where in the input.
    #[serde(default)]
    pub place: Option<Place>,
}

impl Fault {
    /// A fault with the hint of its kind.
    #[must_use]
    pub fn new(kind: FaultKind, message: impl Into<String>) -> Self {
        Self { kind, message: message.into(), hint: kind.hint().to_owned(), causes: Vec::new(), place: None }
    }

    /// A fault whose causes are the chain below `error`, whose own text is the message.
    #[must_use]
    pub fn from_error(kind: FaultKind, error: &(dyn std::error::Error + 'static)) -> Self {
        let mut fault = Self::new(kind, error.to_string());
        fault.causes = causes_of(error);
        fault
    }

    /// Replaces the hint.
    #[must_use]
    pub fn with_hint(mut self, hint: impl Into<String>) -> Self {
        self.hint = hint.into();
        self
    }

    /// Adds `error` and the chain below it to the causes.
    #[must_use]
    pub fn with_source(mut self, error: &(dyn std::error::Error + 'static)) -> Self {
        push_cause(&mut self.causes, &self.message, error.to_string());
        self.causes.extend(causes_of(error));
        self
    }

    /// Adds another fault and its causes to the causes.
    #[must_use]
    pub fn because(mut self, fault: &Self) -> Self {
        push_cause(&mut self.causes, &self.message, fault.message.clone());
        self.causes.extend(fault.causes.iter().cloned());
        self
    }

    /// Says where in the input.
    #[must_use]
    pub fn with_place(mut self, place: Place) -> Self {
        self.place = Some(place);
        self
    }

    /// Whether the same job may succeed when it is tried again unchanged.
    #[must_use]
    pub fn retryable(&self) -> bool {
        self.kind.retryable()
    }

    /// Message, causes and hint in one text of several lines, for a terminal or a log.
    #[must_use]
    pub fn report(&self) -> String {
        let mut text = self.message.clone();
        for cause in &self.causes {
            text.push_str("\n  because: ");
            text.push_str(cause);
        }
        if !self.hint.is_empty() {
            text.push_str("\n  what to do: ");
            text.push_str(&self.hint);
        }
        text
    }
}

fn causes_of(error: &(dyn std::error::Error + 'static)) -> Vec<String> {
    let mut causes = Vec::new();
    let mut last = error.to_string();
    let mut next = error.source();
    while let Some(source) = next {
        let text = source.to_string();
        push_cause(&mut causes, &last, text.clone());
        last = text;
        next = source.source();
    }
    causes
}

// Many libraries repeat their source in their own Display: a cause that was just said is left out.
fn push_cause(causes: &mut Vec<String>, said: &str, cause: String) {
    if !said.contains(&cause) {
        causes.push(cause);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_kind_has_a_hint() {
        for kind in FaultKind::ALL {
            assert!(!kind.hint().is_empty(), "{kind:?}");
        }
    }

    #[test]
    fn a_report_names_causes_once() {
        let io = std::io::Error::other("disk is full");
        let fault = Fault::new(FaultKind::Unavailable, "cannot write a.parquet: disk is full").with_source(&io);
        assert!(fault.causes.is_empty());
        let fault = Fault::new(FaultKind::Unavailable, "cannot write a.parquet").with_source(&io);
        assert_eq!(fault.causes, ["disk is full"]);
        assert!(fault.report().contains("what to do: "));
    }

    #[test]
    fn a_place_says_line_and_byte() {
        let place =
            Place { uri: "s3://raw/a.csv".into(), record: 1203, line: 1204, byte_offset: 88213, column: "qty".into() };
        assert_eq!(place.to_string(), "s3://raw/a.csv, line 1204, byte 88213");
    }
}
