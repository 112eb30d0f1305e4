//! The enums that stand one for one on both sides.

use moulin_core::{Compression, FaultKind, JobState, OnBadRow, Room};

use crate::v1;

macro_rules! one_for_one {
    ($to:ident, $from:ident, $core:ident { $($variant:ident),* $(,)? }) => {
        pub(crate) fn $to(value: $core) -> v1::$core {
            match value { $($core::$variant => v1::$core::$variant),* }
        }
        pub(crate) fn $from(value: v1::$core) -> Option<$core> {
            match value {
                v1::$core::Unspecified => None,
                $(v1::$core::$variant => Some($core::$variant)),*
            }
        }
    };
}

one_for_one!(
    fault_kind,
    from_fault_kind,
    FaultKind {
        InvalidSpec,
        NotFound,
        BadRow,
        BadFile,
        Transform,
        SchemaMismatch,
        PermissionDenied,
        Unavailable,
        ResourceExhausted,
        CommitConflict,
        CommitUnknown,
        StaleEpoch,
        Cancelled,
        DeadlineExceeded,
        LeaseLost,
        Internal,
    }
);
one_for_one!(job_state, from_job_state, JobState { Queued, Running, Succeeded, Failed, Cancelled });
one_for_one!(room, from_room, Room { Fetch, Read, Transform, Land, Commit });
one_for_one!(on_bad_row, from_on_bad_row, OnBadRow { Fail, Skip });

pub(crate) fn compression(value: Compression) -> v1::Compression {
    match value {
        Compression::Auto => v1::Compression::Unspecified,
        Compression::None => v1::Compression::None,
        Compression::Gzip => v1::Compression::Gzip,
        Compression::Zstd => v1::Compression::Zstd,
    }
}

pub(crate) fn from_compression(value: v1::Compression) -> Compression {
    match value {
        v1::Compression::Unspecified => Compression::Auto,
        v1::Compression::None => Compression::None,
        v1::Compression::Gzip => Compression::Gzip,
        v1::Compression::Zstd => Compression::Zstd,
    }
}
