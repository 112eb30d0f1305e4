//! What can go wrong between a batch read and a transformed one.

use moulin_core::{Fault, FaultKind};

/// An error of this crate. Its Display names the object; its cause is the source.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// What the reader above said.
    #[error(transparent)]
    Read(#[from] moulin_read::Error),
    /// What an input that is scanned said.
    #[error("{0}")]
    Input(Box<Fault>),
    /// The transform is refused; the text says why and what to write instead.
    #[error("{0}")]
    TransformRefused(String),
    /// The transform names something the input does not have, or is not valid SQL.
    #[error("{0}")]
    TransformInvalid(String),
    /// The transform failed while it ran.
    #[error("the transform failed: {0}")]
    TransformFailed(String),
    /// A transform that needs more memory than the job may have.
    #[error("{0}")]
    Memory(String),
    /// A defect or a lost thread.
    #[error("{0}")]
    Internal(String),
}

impl From<Error> for Fault {
    fn from(error: Error) -> Self {
        let kind = match error {
            Error::Read(read) => return read.into(),
            Error::Input(fault) => return *fault,
            Error::TransformInvalid(_) => FaultKind::InvalidSpec,
            Error::TransformRefused(_) | Error::TransformFailed(_) | Error::Memory(_) => FaultKind::Transform,
            Error::Internal(_) => FaultKind::Internal,
        };
        Self::from_error(kind, &error)
    }
}
