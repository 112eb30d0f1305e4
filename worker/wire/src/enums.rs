//! The enums that stand one for one on both sides.

use moulin_core::{
    Compression, ContractMode, Dialect, DuplicateKeys, Encoding, FaultKind, JobState, LineEnding, Nanoseconds,
    OnBadFile, OnBadRow, OnLoadedFile, OnRerun, ProvenanceColumn, RaggedRows, Room, SchemaChangeKind,
};

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
one_for_one!(on_bad_row, from_on_bad_row, OnBadRow { Fail, Skip, Quarantine });

one_for_one!(on_rerun, from_on_rerun, OnRerun { Replace, Skip, Append });
one_for_one!(nanoseconds, from_nanoseconds, Nanoseconds { Refuse, Floor });
one_for_one!(on_loaded_file, from_on_loaded_file, OnLoadedFile { Skip, Reload, Fail });
one_for_one!(on_bad_file, from_on_bad_file, OnBadFile { Fail, Skip });
one_for_one!(provenance_column, from_provenance_column, ProvenanceColumn { File, Row, Offset });
one_for_one!(dialect, from_dialect, Dialect { Given, Auto });
one_for_one!(ragged_rows, from_ragged_rows, RaggedRows { Reject, Pad, Truncate, Fit });
one_for_one!(duplicate_keys, from_duplicate_keys, DuplicateKeys { Last, First, Reject });
one_for_one!(contract_mode, from_contract_mode, ContractMode { Evolve, Freeze, DiscardRow, DiscardValue });
one_for_one!(
    schema_change_kind,
    from_schema_change_kind,
    SchemaChangeKind { AddColumn, WidenType, ChangeType, MakeOptional }
);

/// Enums whose zero means that the worker finds out.
macro_rules! auto_or_said {
    ($to:ident, $from:ident, $core:ident { $($variant:ident),* $(,)? }) => {
        pub(crate) fn $to(value: $core) -> v1::$core {
            match value { $core::Auto => v1::$core::Unspecified, $($core::$variant => v1::$core::$variant),* }
        }
        pub(crate) fn $from(value: v1::$core) -> $core {
            match value { v1::$core::Unspecified => $core::Auto, $(v1::$core::$variant => $core::$variant),* }
        }
    };
}

auto_or_said!(compression, from_compression, Compression { None, Gzip, Zstd });
auto_or_said!(encoding, from_encoding, Encoding { Utf8, Utf16, Utf16Le, Utf16Be, Latin1, Windows1252 });
auto_or_said!(line_ending, from_line_ending, LineEnding { Lf, Crlf, Cr, Any });
