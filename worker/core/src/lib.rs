//! The job as values.
//!
//! Everything the other crates hand each other is defined here: what a job is asked to do ([`JobSpec`]), who
//! asks ([`JobKey`]), how it stands ([`JobState`]), what went wrong ([`Fault`]) and what came of it
//! ([`Receipt`]). This crate does no IO, knows no async runtime, and sees neither Arrow, Polars nor Iceberg.

mod column;
mod contract;
mod duration_text;
mod fault;
pub mod fault_point;
mod file_counts;
mod job;
mod key;
mod landing;
mod number_text;
pub mod pool;
mod progress;
mod receipt;
mod replay;
mod schema_change;
mod sort_field;
mod source;
mod spec;
mod state;
mod storage;
mod table_input;
mod transform;

pub use column::{Column, ColumnText, ColumnType, PrimitiveType, TypeField};
pub use contract::{Contract, ContractMode};
pub use fault::{Fault, FaultKind, Place};
pub use fault_point::FaultPoint;
pub use file_counts::FileCounts;
pub use job::Job;
pub use key::{JobId, JobKey, Token};
pub use landing::{Landing, Nanoseconds, OnLoadedFile, OnRerun, PartitionField, PartitionTransform, TableName};
pub use number_text::grouped;
pub use progress::{Counters, Progress, Room};
pub use receipt::{
    InferReport, InferredColumn, JobPlan, ListedFile, PlannedColumn, PlannedFile, PlannedOption, Receipt, Reject,
    RejectedRow, RoomTime, RowShape, SkippedFile,
};
pub use replay::{RejectsChange, RejectsMark, Replay, ReplayCounts, ReplayedFiles};
pub use schema_change::{SchemaChange, SchemaChangeKind, schema_changes};
pub use sort_field::SortField;
pub use source::{
    Compression, CsvFormat, Dialect, DuplicateKeys, Encoding, Format, Inference, JsonFormat, LineEnding, NdjsonFormat,
    OnBadFile, OnBadRow, ProvenanceColumn, RaggedRows, ReadLimits, Source, path_of,
};
pub use spec::{JobSpec, Ratio};
pub use state::JobState;
pub use storage::{AzureSettings, GcsSettings, S3Settings, Secret, StorageSettings};
pub use table_input::{Pin, PlannedTable, TableInput, TableRead};
pub use transform::Transform;
