//! What can go wrong between a store and a batch.

use moulin_core::{Fault, FaultKind, Reject};

/// An error of this crate. Its Display names the object; its cause is the source.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// A uri that is none, or of a scheme no store is built for.
    #[error("cannot read {uri}: {reason}")]
    Uri {
        /// As given.
        uri: String,
        /// What is wrong with it.
        reason: String,
    },
    /// A file or pattern that matches nothing.
    #[error("no file at {uri}")]
    FileNotFound {
        /// As given.
        uri: String,
    },
    /// The store refused or did not answer.
    #[error("cannot read {uri} from its store")]
    Store {
        /// The object.
        uri: String,
        /// What the store said.
        source: object_store::Error,
    },
    /// A file that is damaged as a whole.
    #[error("{uri} is damaged: {reason}")]
    BadFile {
        /// The file.
        uri: String,
        /// What was found and where.
        reason: String,
    },
    /// The first bad row of a job that said `fail`.
    #[error("{} ({})", .0.reason, .0.place)]
    BadRow(Box<Reject>),
    /// More bad rows than a job may have.
    #[error("{bad} of {rows} rows do not fit, more than {limit}")]
    TooManyBadRows {
        /// Bad rows.
        bad: u64,
        /// Rows read by then, bad ones among them.
        rows: u64,
        /// Name and figure of the limit.
        limit: String,
    },
    /// A column that the schema does not have, where the contract lets none be added.
    #[error("{uri} has a column `{column}` that the schema does not have, and source.contract.columns is freeze")]
    Frozen {
        /// The file.
        uri: String,
        /// Its name.
        column: String,
    },
    /// The spec does not fit the file: a declared column that is not there, no schema.
    #[error("{0}")]
    Schema(String),
    /// What gave rejected rows to be read again said.
    #[error("{0}")]
    Rows(Box<Fault>),
    /// A defect or a lost thread.
    #[error("{0}")]
    Internal(String),
}

impl Error {
    /// The error of whoever gives rejected rows to be read again.
    #[must_use]
    pub fn rows(fault: Fault) -> Self {
        Self::Rows(Box::new(fault))
    }

    /// Whether it is about one file, and others may be read without it: it is damaged, or lacks columns.
    pub(crate) fn is_of_file(&self) -> bool {
        matches!(self, Self::BadFile { .. } | Self::Schema(_))
    }
}

impl From<Error> for Fault {
    fn from(error: Error) -> Self {
        let kind = match &error {
            Error::BadRow(reject) => return reject.as_ref().clone().into_fault(),
            Error::Rows(fault) => return fault.as_ref().clone(),
            Error::TooManyBadRows { .. } => FaultKind::BadRow,
            Error::Uri { .. } | Error::Schema(_) => FaultKind::InvalidSpec,
            Error::FileNotFound { .. } => FaultKind::NotFound,
            Error::Store { source, .. } => store_kind(source),
            Error::BadFile { .. } => FaultKind::BadFile,
            Error::Frozen { .. } => FaultKind::SchemaMismatch,
            Error::Internal(_) => FaultKind::Internal,
        };
        Self::from_error(kind, &error)
    }
}

fn store_kind(error: &object_store::Error) -> FaultKind {
    match error {
        object_store::Error::NotFound { .. } => FaultKind::NotFound,
        object_store::Error::PermissionDenied { .. } | object_store::Error::Unauthenticated { .. } => {
            FaultKind::PermissionDenied
        }
        object_store::Error::InvalidPath { .. } | object_store::Error::NotSupported { .. } => FaultKind::InvalidSpec,
        _ => FaultKind::Unavailable,
    }
}
