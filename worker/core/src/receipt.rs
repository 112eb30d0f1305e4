//! What came of a job, and what a job would do.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::{Fault, FaultKind, Place, progress::Room};

/// Proof that every row is accounted for. Written once, when a job succeeds.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Receipt {
    /// The job's name.
    pub job_id: String,
    /// `namespace.table`.
    pub table: String,
    /// Input files.
    pub files: u64,
    /// Records seen by the reader, good or bad.
    pub rows_read: u64,
    /// Rows in the committed data files.
    pub rows_landed: u64,
    /// Records that did not fit.
    pub rows_rejected: u64,
    /// Rows into the transform less rows out of it; `None` when the transform is not row-wise.
    pub rows_filtered: Option<u64>,
    /// Size of the input as stored.
    pub bytes_read: u64,
    /// Size of the data files.
    pub bytes_written: u64,
    /// Data files written.
    pub data_files: u64,
    /// The snapshot that made the rows visible; `None`: no row landed.
    pub snapshot_id: Option<i64>,
    /// Where the table's metadata stands after the commit.
    pub metadata_location: String,
    /// From the start of the successful attempt to the report.
    pub elapsed: Duration,
    /// Time spent in each room, summed over threads.
    pub rooms: Vec<RoomTime>,
    /// The first ten rejected rows.
    pub rejects: Vec<Reject>,
    /// The successful attempt, counted from 1.
    pub attempt: u32,
    /// The commit token.
    pub token: String,
}

impl Receipt {
    /// The invariant of every job: rows read = landed + rejected + filtered.
    ///
    /// # Errors
    /// `Internal`, with all figures, when a row is unaccounted for.
    pub fn check(&self) -> Result<(), Fault> {
        let Some(filtered) = self.rows_filtered else { return Ok(()) };
        if self.rows_read == self.rows_landed + self.rows_rejected + filtered {
            return Ok(());
        }
        Err(Fault::new(
            FaultKind::Internal,
            format!(
                "rows are unaccounted for: {} read, but {} landed + {} rejected + {} filtered",
                self.rows_read, self.rows_landed, self.rows_rejected, filtered
            ),
        ))
    }
}

/// Time spent working in one room.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct RoomTime {
    /// Which.
    pub room: Room,
    /// Working, not waiting.
    pub busy: Duration,
}

/// One row that did not fit.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Reject {
    /// Where it stands.
    pub place: Place,
    /// Stable, e.g. `type.int`, `csv.field_count`.
    pub code: String,
    /// In words, with the value (capped) and the expected type.
    pub reason: String,
}

impl Reject {
    /// The fault of a job that said `on_bad_row = fail`.
    #[must_use]
    pub fn into_fault(self) -> Fault {
        Fault::new(FaultKind::BadRow, format!("{} ({})", self.reason, self.place)).with_place(self.place)
    }
}

/// What a job would do. Shown by `moulin plan`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct JobPlan {
    /// The input files in the order they are read.
    pub files: Vec<PlannedFile>,
    /// Schema of the rows read.
    pub input: Vec<PlannedColumn>,
    /// Schema of the rows landed.
    pub output: Vec<PlannedColumn>,
    /// `namespace.table`.
    pub table: String,
    /// Whether the table is there already.
    pub table_exists: bool,
    /// Where the table is or would be.
    pub table_location: String,
    /// Partition fields.
    pub partition_by: Vec<String>,
    /// Whether the transform keeps one row for one row at the most.
    pub row_wise: bool,
}

/// One input file, identified by (uri, etag or version, size), never by modification time.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct PlannedFile {
    /// As listed.
    pub uri: String,
    /// As stored.
    pub size_bytes: u64,
    /// Entity tag or version; `None`: the store has none.
    pub etag: Option<String>,
}

/// One column of a plan.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PlannedColumn {
    /// Name.
    pub name: String,
    /// Type in Iceberg's words.
    #[serde(rename = "type")]
    pub ty: String,
    /// Whether it may hold nulls.
    pub nullable: bool,
    /// `declared`, `inferred` or `file`; empty for output columns.
    pub origin: String,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_lost_row_is_noticed() {
        let mut receipt = Receipt {
            job_id: String::new(),
            table: String::new(),
            files: 1,
            rows_read: 10,
            rows_landed: 7,
            rows_rejected: 1,
            rows_filtered: Some(2),
            bytes_read: 0,
            bytes_written: 0,
            data_files: 1,
            snapshot_id: Some(1),
            metadata_location: String::new(),
            elapsed: Duration::ZERO,
            rooms: vec![],
            rejects: vec![],
            attempt: 1,
            token: String::new(),
        };
        assert!(receipt.check().is_ok());
        receipt.rows_landed = 6;
        let fault = receipt.check().unwrap_err();
        assert_eq!(fault.kind, FaultKind::Internal);
        assert!(fault.message.contains("10 read, but 6 landed + 1 rejected + 2 filtered"), "{}", fault.message);
    }
}
