//! What came of a job, and what a job would do.

use std::sync::Arc;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::{
    Fault, FaultKind, FileCounts, OnRerun, Place, PlannedTable, RejectsChange, ReplayCounts, ReplayedFiles,
    SchemaChange, TableRead, Token, progress::Room,
};

/// Proof that every row is accounted for. Written once, when a job succeeds.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Receipt {
    /// The job's name.
    pub job_id: String,
    /// `namespace.table`.
    pub table: String,
    /// Input files that were taken: all that were listed, less those that are loaded already.
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
    /// Why there are so many.
    #[serde(default)]
    pub file_counts: FileCounts,
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
    /// Files that were left out because they are damaged or loaded already, the first hundred.
    #[serde(default)]
    pub skipped_files: Vec<SkippedFile>,
    /// Files that were left out in all.
    #[serde(default)]
    pub files_skipped: u64,
    /// Rows of the generation before that went in the same snapshot.
    #[serde(default)]
    pub rows_replaced: u64,
    /// The snapshot that had added them; `None`: nothing was replaced.
    #[serde(default)]
    pub replaced_snapshot_id: Option<i64>,
    /// The token of the generation whose result this job took for its own; all figures are of that job, but
    /// for what was replaced: this one replaces nothing.
    #[serde(default)]
    pub attached_to: Option<String>,
    /// The table that holds the rejected rows; empty: there are none, or the job keeps none.
    #[serde(default)]
    pub rejects_table: String,
    /// The snapshot of that table that made them visible.
    #[serde(default)]
    pub rejects_snapshot_id: Option<i64>,
    /// Of an intended commit only: the data files of the rejects, as whoever finishes the commit needs them.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub rejects_to_commit: String,
    /// Of an intended commit only: what becomes of rejects that are in their table already.
    #[serde(default, skip_serializing_if = "RejectsChange::is_empty")]
    pub rejects_change: RejectsChange,
    /// Rejects of the generation before that went from their table, because `on_rerun` is replace.
    #[serde(default)]
    pub rejects_replaced: u64,
    /// What a replay found among the rejects, and what it took; `None`: the job is no replay.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub replay: Option<ReplayCounts>,
    /// Of an intended commit only: which data files a replay made of whose rejects.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub replayed_files: Vec<ReplayedFiles>,
    /// Of an intended commit only: the tokens whose data files this one replaces.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub replaced_tokens: Vec<Token>,
    /// The generations of the key from this one on are replaced, with what they landed, if they did; `None`: none is. Not
    /// sent to clients.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub replaced_from: Option<u32>,
    /// What was read of each table that was an input.
    #[serde(default)]
    pub tables: Vec<TableRead>,
}

/// A file that was left out.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SkippedFile {
    /// As listed.
    pub uri: String,
    /// In words.
    pub reason: String,
}

impl Receipt {
    /// The receipt without what only an intended commit holds.
    #[must_use]
    pub fn settled(self) -> Self {
        Self {
            rejects_to_commit: String::new(),
            rejects_change: RejectsChange::default(),
            replayed_files: Vec::new(),
            replaced_tokens: Vec::new(),
            ..self
        }
    }

    /// Whether the target takes part in the commit. That of a replay says there that it is one, and one that replaces
    /// others leaves its token there, also without rows.
    #[must_use]
    pub fn touches_target(&self) -> bool {
        self.rows_landed > 0 || self.replaced_from.is_some() || self.rejects_change.mark.is_some()
    }

    /// Whether the table of rejects takes part in the commit.
    #[must_use]
    pub fn touches_rejects(&self) -> bool {
        !self.rejects_to_commit.is_empty() || !self.rejects_change.is_empty()
    }

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

/// A rejected row with its bytes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RejectedRow {
    /// Where it stands and why it does not fit.
    pub reject: Reject,
    /// Bytes of the record in the decompressed file, its line end left out.
    pub length_bytes: u64,
    /// Of those, the first: exactly as they stand in the file, at most [`RejectedRow::RAW_BYTES`].
    pub raw: Vec<u8>,
    /// How its file was read.
    pub shape: Arc<RowShape>,
}

/// How the file of a rejected row was read: what it takes to read its bytes again.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct RowShape {
    /// `csv`, `ndjson`, `json` or `parquet`.
    pub format: &'static str,
    /// The columns of the file in their order, as JSON: `[{"name": "a", "type": "long"}, ...]`; a field that has no
    /// column has no type. Empty: the text is too long to be kept with every row.
    pub columns: String,
    /// The encoding of the file, and so of the bytes kept: a word of [`Encoding`](crate::Encoding).
    pub encoding: &'static str,
}

impl RejectedRow {
    /// Raw bytes kept of one row.
    pub const RAW_BYTES: usize = 64 << 10;
}

impl Reject {
    /// The fault of a job that said `on_bad_row = fail`.
    #[must_use]
    pub fn into_fault(self) -> Fault {
        Fault::new(FaultKind::BadRow, format!("{} ({})", self.reason, self.place)).with_place(self.place)
    }
}

/// What a job would do. Shown by `moulin plan`.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct JobPlan {
    /// The input files in the order they are read, those that would be left out among them.
    pub files: Vec<ListedFile>,
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
    /// How the files are read.
    pub options: Vec<PlannedOption>,
    /// The parts that the files are read in.
    pub shards: u64,
    /// What differs between the rows and the table.
    pub changes: Vec<SchemaChange>,
    /// What would become of the rows of the generation before, when the job is a redo.
    #[serde(default)]
    pub on_rerun: OnRerun,
    /// The tables that are inputs.
    #[serde(default)]
    pub tables: Vec<PlannedTable>,
    /// The rejects that a replay would take; `None`: the job is no replay.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub replay: Option<ReplayCounts>,
}

/// An option of the reader.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PlannedOption {
    /// As in the job's description: `csv.delimiter`.
    pub name: String,
    /// As it is written there.
    pub value: String,
    /// `declared`, `sniffed` or `default`.
    pub origin: String,
    /// Why it was chosen, when it was.
    pub reason: String,
}

/// What a sample of the files holds. Shown by `moulin infer`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct InferReport {
    /// The input files in the order they are read.
    pub files: Vec<PlannedFile>,
    /// Columns in the order of the file.
    pub columns: Vec<InferredColumn>,
    /// Records of the sample.
    pub rows: u64,
    /// Of those, the ones that are bad whatever the types.
    pub rows_bad: u64,
    /// How the files are read.
    pub options: Vec<PlannedOption>,
}

/// What a sample holds of one column.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct InferredColumn {
    /// Name.
    pub name: String,
    /// Type in Iceberg's words.
    #[serde(rename = "type")]
    pub ty: String,
    /// `declared`, `inferred`, `file`, `partition` or `provenance`.
    pub origin: String,
    /// Values of the sample, nulls among them.
    pub values: u64,
    /// Of those, nulls.
    pub nulls: u64,
    /// The smallest value in the order of the type, as text; empty: only nulls.
    pub min: String,
    /// The largest.
    pub max: String,
    /// Why this type.
    pub reason: String,
}

/// One input file, identified by (uri, etag, size), never by modification time alone.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct PlannedFile {
    /// As listed.
    pub uri: String,
    /// As stored.
    pub size_bytes: u64,
    /// Entity tag; of a local file its inode and times of change; a weak one (`W/"..."`) made of the modification time
    /// where a web server has no tags. `None`: nothing tells contents apart.
    pub etag: Option<String>,
}

/// A file of a plan, and whether the job would take it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ListedFile {
    /// The file.
    #[serde(flatten)]
    pub file: PlannedFile,
    /// Why the job would leave it out; empty: it would be taken.
    pub skipped: String,
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
    /// `declared`, `inferred`, `file`, `partition` or `provenance`; empty for output columns.
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
            file_counts: FileCounts::default(),
            snapshot_id: Some(1),
            metadata_location: String::new(),
            elapsed: Duration::ZERO,
            rooms: vec![],
            rejects: vec![],
            attempt: 1,
            token: String::new(),
            skipped_files: vec![],
            files_skipped: 0,
            rows_replaced: 0,
            replaced_snapshot_id: None,
            attached_to: None,
            rejects_table: String::new(),
            rejects_snapshot_id: None,
            rejects_to_commit: String::new(),
            rejects_change: RejectsChange::default(),
            rejects_replaced: 0,
            replay: None,
            replayed_files: Vec::new(),
            replaced_tokens: Vec::new(),
            replaced_from: None,
            tables: Vec::new(),
        };
        assert!(receipt.check().is_ok());
        receipt.rows_landed = 6;
        let fault = receipt.check().unwrap_err();
        assert_eq!(fault.kind, FaultKind::Internal);
        assert!(fault.message.contains("10 read, but 6 landed + 1 rejected + 2 filtered"), "{}", fault.message);
    }
}
