//! The job as values.
//!
//! Everything the other crates hand each other is defined here: what a job is asked to do ([`JobSpec`]), who
//! asks ([`JobKey`]), how it stands ([`JobState`]), what went wrong ([`Fault`]) and what came of it
//! ([`Receipt`]). This crate does no IO, knows no async runtime, and sees neither Arrow, Polars nor Iceberg.

mod column;
mod duration_text;
mod fault;
pub mod fault_point;
mod job;
mod key;
mod landing;
mod progress;
mod receipt;
mod source;
mod spec;
mod state;
mod storage;
mod transform;

pub use column::{Column, ColumnType};
pub use fault::{Fault, FaultKind, Place};
pub use fault_point::FaultPoint;
pub use job::Job;
pub use key::{JobId, JobKey, Token};
pub use landing::{Landing, PartitionField, PartitionTransform, TableName};
pub use progress::{Counters, Progress, Room};
pub use receipt::{JobPlan, PlannedColumn, PlannedFile, Receipt, Reject, RoomTime};
pub use source::{Compression, CsvFormat, Format, OnBadRow, Source};
pub use spec::JobSpec;
pub use state::JobState;
pub use storage::{S3Settings, Secret, StorageSettings};
pub use transform::Transform;
