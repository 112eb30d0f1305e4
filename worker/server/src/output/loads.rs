//! Loads of files as Arrow batches and as lines for people.

use std::sync::{Arc, LazyLock};
use std::time::{SystemTime, UNIX_EPOCH};

use arrow::array::{ArrayRef, AsArray as _, Int64Array, RecordBatch, StringArray, TimestampMicrosecondArray};
use arrow::datatypes::{DataType, Field, Int64Type, Schema, SchemaRef, TimeUnit, TimestampMicrosecondType};
use moulin_core::{Fault, FaultKind};
use moulin_store::FileLoad;

static SCHEMA: LazyLock<SchemaRef> = LazyLock::new(|| {
    let field = |name: &str, ty: DataType, nullable| Field::new(name, ty, nullable);
    let moment = || DataType::Timestamp(TimeUnit::Microsecond, Some("UTC".into()));
    Arc::new(Schema::new(vec![
        field("table", DataType::Utf8, false),
        field("uri", DataType::Utf8, false),
        field("state", DataType::Utf8, false),
        field("size_bytes", DataType::Int64, false),
        field("etag", DataType::Utf8, true),
        field("job_id", DataType::Utf8, false),
        field("attempt", DataType::Int64, false),
        field("key", DataType::Utf8, false),
        field("generation", DataType::Int64, false),
        field("snapshot_id", DataType::Int64, true),
        field("claimed_at", moment(), false),
        field("settled_at", moment(), true),
        field("reason", DataType::Utf8, false),
        field("skipped_by", DataType::Utf8, true),
        field("skipped_at", moment(), true),
    ]))
});

/// The schema of loads: who claimed which file for which table, how that ended, and which job left it out since.
pub(crate) fn schema() -> SchemaRef {
    Arc::clone(&SCHEMA)
}

/// Loads as a batch of [`schema`].
///
/// # Errors
/// `Internal` when Arrow refuses the batch.
pub(crate) fn batch(loads: &[FileLoad]) -> Result<RecordBatch, Fault> {
    let texts = |text: &dyn Fn(&FileLoad) -> Option<String>| -> ArrayRef {
        Arc::new(loads.iter().map(text).collect::<StringArray>())
    };
    let numbers = |number: &dyn Fn(&FileLoad) -> Option<i64>| -> ArrayRef {
        Arc::new(loads.iter().map(number).collect::<Int64Array>())
    };
    let moments = |moment: &dyn Fn(&FileLoad) -> Option<SystemTime>| -> ArrayRef {
        let micros = loads.iter().map(|load| moment(load).map(micros));
        Arc::new(micros.collect::<TimestampMicrosecondArray>().with_timezone("UTC"))
    };
    let columns = vec![
        texts(&|load| Some(load.table.clone())),
        texts(&|load| Some(load.file.uri.clone())),
        texts(&|load| Some(load.state.as_str().to_owned())),
        numbers(&|load| i64::try_from(load.file.size_bytes).ok()),
        texts(&|load| load.file.etag.clone()),
        texts(&|load| Some(load.job_id.0.clone())),
        numbers(&|load| Some(load.attempt.into())),
        texts(&|load| Some(load.key.clone())),
        numbers(&|load| Some(load.generation.into())),
        numbers(&|load| load.snapshot_id),
        moments(&|load| Some(load.claimed_at)),
        moments(&|load| load.settled_at),
        texts(&|load| Some(load.reason.clone())),
        texts(&|load| load.skipped.as_ref().map(|(job, _)| job.0.clone())),
        moments(&|load| load.skipped.as_ref().map(|(_, at)| *at)),
    ];
    RecordBatch::try_new(schema(), columns).map_err(|error| Fault::from_error(FaultKind::Internal, &error))
}

fn micros(time: SystemTime) -> i64 {
    let since = time.duration_since(UNIX_EPOCH).unwrap_or_default();
    i64::try_from(since.as_micros()).unwrap_or(i64::MAX)
}

/// The loads of a batch of [`schema`], a line each.
pub(crate) fn lines(batch: &RecordBatch) -> Vec<String> {
    let cells = Cells(batch);
    (0..batch.num_rows())
        .map(|row| format!("{:<8}  {}  {}", cells.text("state", row), cells.text("uri", row), cells.what(row)))
        .collect()
}

/// The loads of a batch of [`schema`] of one file, a sentence each; `now`: size and tag of the file as it is now.
pub(crate) fn sentences(batch: &RecordBatch, now: Option<(u64, Option<&str>)>) -> Vec<String> {
    let cells = Cells(batch);
    let sentence = |row: usize| {
        let table = cells.text("table", row);
        let begun = match cells.text("state", row).as_str() {
            "loaded" => format!("taken: loaded into {table}"),
            "claimed" => format!("taken: being loaded into {table}"),
            "replaced" => {
                format!("taken once: loaded into {table}, and replaced by a later generation of the same key")
            }
            _ => format!("not taken into {table}"),
        };
        let differs = now.is_some_and(|(size, etag)| {
            cells.number("size_bytes", row) != i64::try_from(size).ok() || cells.text("etag", row) != etag.unwrap_or("")
        });
        let differs = if differs { "; the file is another one now" } else { "" };
        format!("{begun} by {}{differs}", cells.what(row))
    };
    (0..batch.num_rows()).map(sentence).collect()
}

struct Cells<'a>(&'a RecordBatch);

impl Cells<'_> {
    fn column(&self, name: &str, row: usize) -> Option<&ArrayRef> {
        self.0.column_by_name(name).filter(|column| column.is_valid(row))
    }

    fn text(&self, name: &str, row: usize) -> String {
        let column = self.column(name, row).and_then(|column| column.as_string_opt::<i32>());
        column.map(|column| column.value(row).to_owned()).unwrap_or_default()
    }

    fn number(&self, name: &str, row: usize) -> Option<i64> {
        Some(self.column(name, row)?.as_primitive_opt::<Int64Type>()?.value(row))
    }

    fn moment(&self, name: &str, row: usize) -> Option<String> {
        let micros = self.column(name, row)?.as_primitive_opt::<TimestampMicrosecondType>()?.value(row);
        let at = UNIX_EPOCH + std::time::Duration::from_micros(u64::try_from(micros).ok()?);
        Some(humantime::format_rfc3339_seconds(at).to_string())
    }

    /// Who, which attempt, which snapshot, when, why not, and who left the file out because of it.
    fn what(&self, row: usize) -> String {
        let mut text = self.text("job_id", row);
        text += &format!(" (attempt {}", self.number("attempt", row).unwrap_or_default());
        if let Some(snapshot) = self.number("snapshot_id", row) {
            text += &format!(", snapshot {snapshot}");
        }
        let when = self.moment("settled_at", row).or_else(|| self.moment("claimed_at", row));
        text += &format!(", {})", when.unwrap_or_default());
        let reason = self.text("reason", row);
        if !reason.is_empty() {
            text += &format!(": {reason}");
        }
        if let Some(at) = self.moment("skipped_at", row) {
            text += &format!("; left out by {} at {at}", self.text("skipped_by", row));
        }
        text
    }
}
