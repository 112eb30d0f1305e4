//! Everything that can go wrong between a batch and a snapshot.

use moulin_core::{Fault, FaultKind, TableName, Token};

type BoxError = Box<dyn std::error::Error + Send + Sync>;

/// The one error of this crate.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The catalog, the landing or a table property asks for something that is not possible.
    #[error("{message}")]
    Invalid {
        /// What was found and what was expected.
        message: String,
    },
    /// The table does not take the rows of the job.
    #[error("{table}: {message}")]
    SchemaMismatch {
        /// The table.
        table: TableName,
        /// Names the column, what was found and what was expected.
        message: String,
    },
    /// A value does not fit the table's column.
    #[error("{table}: column `{column}`: {message}")]
    Value {
        /// The table.
        table: TableName,
        /// The column.
        column: String,
        /// What was found and what was expected.
        message: String,
    },
    /// A table or snapshot does not exist.
    #[error("{what} does not exist")]
    NotFound {
        /// The table, or the snapshot with its table.
        what: String,
    },
    /// The catalog did not do what it was asked.
    #[error("catalog {uri}: cannot {doing}")]
    Catalog {
        /// The catalog, without a password.
        uri: String,
        /// What was tried.
        doing: String,
        /// What kind of thing went wrong.
        kind: FaultKind,
        /// Why not.
        source: BoxError,
    },
    /// A file of the warehouse could not be read or written.
    #[error("cannot {doing} {location}")]
    Storage {
        /// What was tried: `read`, `write`, `remove`.
        doing: &'static str,
        /// The file.
        location: String,
        /// Why not.
        source: BoxError,
    },
    /// Iceberg metadata is damaged, or the library refused it.
    #[error("{table}: cannot {doing}")]
    Iceberg {
        /// The table.
        table: String,
        /// What was tried.
        doing: &'static str,
        /// Why not.
        source: Box<iceberg::Error>,
    },
    /// A batch could not be encoded.
    #[error("cannot encode rows for {location}")]
    Encode {
        /// The data file.
        location: String,
        /// Why not.
        source: BoxError,
    },
    /// Other writers won every try.
    #[error("{table}: other writers won all {tries} tries to commit")]
    CommitConflict {
        /// The table.
        table: TableName,
        /// How many.
        tries: u32,
    },
    /// The table is no more what the commit was made for; made again it may fit.
    #[error("{table}: {found}")]
    Moved {
        /// The table.
        table: TableName,
        /// What was found.
        found: String,
    },
    /// A newer generation of the same work has landed: what an older one makes must not come back.
    #[error("{table}: generation {newer} of this job has landed already, in snapshot {snapshot_id}; {token} is older")]
    Superseded {
        /// The table.
        table: TableName,
        /// The commit's token.
        token: Token,
        /// The generation that has landed.
        newer: u32,
        /// Its snapshot.
        snapshot_id: i64,
    },
    /// Data files that a commit was to replace are not in the table any more.
    #[error("{table}: {missing} of the {of} data files to be replaced are not in the table any more, e.g. {location}")]
    FilesGone {
        /// The table.
        table: TableName,
        /// How many are missing.
        missing: usize,
        /// How many were to be replaced.
        of: usize,
        /// One of those that are missing.
        location: String,
    },
    /// What ended several commits at once.
    #[error(transparent)]
    Shared(std::sync::Arc<Error>),
    /// The answer to a commit was lost, and looking did not tell.
    #[error("{table}: it is not known whether the commit of {token} landed")]
    CommitUnknown {
        /// The table.
        table: TableName,
        /// The commit's token.
        token: Token,
        /// The last failure.
        source: Box<Error>,
    },
    /// The job store did not take a file's name, so the file was not created; or the attempt may not commit any more.
    #[error(transparent)]
    Refused {
        /// As the job store said it.
        fault: Box<Fault>,
    },
    /// A task of this crate ended without an answer.
    #[error("{task} ended unexpectedly")]
    TaskLost {
        /// Which.
        task: &'static str,
        /// What is known about it.
        source: Option<tokio::task::JoinError>,
    },
}

impl Error {
    /// What kind of thing went wrong.
    #[must_use]
    pub fn kind(&self) -> FaultKind {
        match self {
            Self::Invalid { .. } => FaultKind::InvalidSpec,
            Self::SchemaMismatch { .. } | Self::Value { .. } => FaultKind::SchemaMismatch,
            Self::NotFound { .. } | Self::FilesGone { .. } => FaultKind::NotFound,
            Self::Catalog { kind, .. } => *kind,
            Self::Storage { source, .. } => storage_kind(source.as_ref()),
            Self::Iceberg { source, .. } => storage_kind(source.as_ref()),
            Self::Encode { source, .. } => encode_kind(source.as_ref()),
            Self::CommitConflict { .. } | Self::Moved { .. } => FaultKind::CommitConflict,
            Self::Superseded { .. } => FaultKind::StaleEpoch,
            Self::Shared(error) => error.kind(),
            Self::CommitUnknown { .. } => FaultKind::CommitUnknown,
            Self::Refused { fault } => fault.kind,
            Self::TaskLost { .. } => FaultKind::Internal,
        }
    }

    // What the user can do, when more can be said than the kind does.
    fn hint(&self) -> Option<&'static str> {
        match self {
            Self::Shared(error) => error.hint(),
            Self::FilesGone { .. } => Some(
                "they were rewritten or deleted since, by a compaction or another engine: delete the rows of the run before yourself and clear the task with on_rerun: append, or keep them with on_rerun: skip",
            ),
            _ => None,
        }
    }

    /// Whether data files that were to be replaced are not in the table any more.
    #[must_use]
    pub fn is_files_gone(&self) -> bool {
        match self {
            Self::FilesGone { .. } => true,
            Self::Shared(error) => error.is_files_gone(),
            _ => false,
        }
    }

    /// Whether the table is no more what the commit was made for.
    #[must_use]
    pub fn is_moved(&self) -> bool {
        match self {
            Self::Moved { .. } => true,
            Self::Shared(error) => error.is_moved(),
            _ => false,
        }
    }

    pub(crate) fn invalid(message: impl Into<String>) -> Self {
        Self::Invalid { message: message.into() }
    }

    pub(crate) fn storage(doing: &'static str, location: &str, source: impl Into<BoxError>) -> Self {
        Self::Storage { doing, location: location.to_owned(), source: source.into() }
    }

    pub(crate) fn encode(location: &str, source: impl Into<BoxError>) -> Self {
        Self::Encode { location: location.to_owned(), source: source.into() }
    }

    /// For `map_err`: wraps an error of the iceberg library.
    pub(crate) fn iceberg(table: impl ToString, doing: &'static str) -> impl FnOnce(iceberg::Error) -> Self {
        move |source| Self::Iceberg { table: table.to_string(), doing, source: Box::new(source) }
    }
}

impl From<Error> for Fault {
    fn from(error: Error) -> Self {
        match error {
            Error::Refused { fault } => *fault,
            other => {
                let fault = Self::from_error(other.kind(), &other);
                other.hint().map_or(fault.clone(), |hint| fault.with_hint(hint))
            }
        }
    }
}

// An error of a store may be wrapped several times; the innermost io error knows best.
fn storage_kind(error: &(dyn std::error::Error + 'static)) -> FaultKind {
    let mut next = Some(error);
    while let Some(error) = next {
        if let Some(io) = error.downcast_ref::<std::io::Error>() {
            return match io.kind() {
                std::io::ErrorKind::NotFound => FaultKind::NotFound,
                std::io::ErrorKind::PermissionDenied => FaultKind::PermissionDenied,
                _ => FaultKind::Unavailable,
            };
        }
        if let Some(iceberg) = error.downcast_ref::<iceberg::Error>()
            && matches!(iceberg.kind(), iceberg::ErrorKind::DataInvalid | iceberg::ErrorKind::FeatureUnsupported)
            && std::error::Error::source(iceberg).is_none()
        {
            return FaultKind::BadFile;
        }
        if let Some(kind) = store_kind(&error.to_string()) {
            return kind;
        }
        next = error.source();
    }
    FaultKind::Unavailable
}

// The error of an object store comes wrapped in Iceberg's, which keeps no kind of it; its text begins with one.
fn store_kind(text: &str) -> Option<FaultKind> {
    match text.split([' ', ',']).next()? {
        "NotFound" => Some(FaultKind::NotFound),
        "PermissionDenied" => Some(FaultKind::PermissionDenied),
        "ConfigInvalid" => Some(FaultKind::InvalidSpec),
        _ => None,
    }
}

// Encoding fails on what is under it (a full disk) or on a defect.
fn encode_kind(error: &(dyn std::error::Error + 'static)) -> FaultKind {
    let mut next = Some(error);
    while let Some(error) = next {
        if error.is::<std::io::Error>() {
            return storage_kind(error);
        }
        next = error.source();
    }
    FaultKind::Internal
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_missing_directory_is_not_found_and_a_full_disk_is_retried() {
        let io = |kind| std::io::Error::new(kind, "x");
        assert_eq!(Error::storage("read", "/a", io(std::io::ErrorKind::NotFound)).kind(), FaultKind::NotFound);
        assert_eq!(Error::storage("write", "/a", io(std::io::ErrorKind::StorageFull)).kind(), FaultKind::Unavailable);
        assert_eq!(Error::encode("/a", io(std::io::ErrorKind::PermissionDenied)).kind(), FaultKind::PermissionDenied);
    }

    #[test]
    fn an_object_store_s_words_are_understood() {
        let kind = |text: &str| Error::storage("read", "s3://b/x", text).kind();
        assert_eq!(kind("PermissionDenied (permanent) at write, context: {} => 403"), FaultKind::PermissionDenied);
        assert_eq!(kind("NotFound (permanent) at read => no such key"), FaultKind::NotFound);
        assert_eq!(kind("RateLimited (temporary) at read => slow down"), FaultKind::Unavailable);
        assert_eq!(kind("Unexpected (temporary) at write => 503"), FaultKind::Unavailable);
    }

    #[test]
    fn a_fault_of_the_job_store_comes_through_unchanged() {
        let fault = Fault::new(FaultKind::LeaseLost, "attempt 2 has the job").with_hint("nothing");
        assert_eq!(Fault::from(Error::Refused { fault: Box::new(fault.clone()) }), fault);
    }
}
