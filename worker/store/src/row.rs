//! Values to columns and rows to values.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use moulin_core::{JobId, JobKey, JobState, Token};
use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::database::Row;
use crate::{Error, LedgerEntry, StoredJob};

const FOUND_SHOWN_CHARS: usize = 80;

pub(crate) fn job_from_row(row: &Row) -> Result<StoredJob, Error> {
    let state: String = row.get("state");
    let map_index: i64 = row.get("map_index");
    let priority: i64 = row.get("priority");
    let time = |column: &str| row.get::<Option<i64>>(column).map(time_of);
    Ok(StoredJob {
        id: JobId(row.get("job_id")),
        key: JobKey {
            dag_id: row.get("dag_id"),
            run_id: row.get("run_id"),
            task_id: row.get("task_id"),
            map_index: i32::try_from(map_index).map_err(|_| unreadable("map_index", &map_index.to_string()))?,
        },
        generation: count("generation", row.get("generation"))?,
        epoch: count("epoch", row.get("epoch"))?,
        state: JobState::parse(&state).ok_or_else(|| unreadable("state", &state))?,
        attempt: count("attempt", row.get("attempt"))?,
        failures: count("failures", row.get("failures"))?,
        worker_id: row.get("worker_id"),
        table: row.get("table_name"),
        priority: i32::try_from(priority).map_err(|_| unreadable("priority", &priority.to_string()))?,
        pool: row.get("pool"),
        spec: row.get("spec"),
        submitted_at: time_of(row.get("submitted_at")),
        started_at: time("started_at"),
        finished_at: time("finished_at"),
        deadline: time("deadline"),
        progress: json_from_row(row, "progress")?.unwrap_or_default(),
        receipt: json_from_row(row, "receipt")?,
        fault: json_from_row(row, "fault")?,
        cancel_requested: row.get("cancel_reason"),
    })
}

pub(crate) fn entry_from_row(row: &Row) -> Result<LedgerEntry, Error> {
    Ok(LedgerEntry {
        token: Token(row.get("token")),
        table: row.get("table_name"),
        snapshot_id: row.get("snapshot_id"),
        metadata_location: row.get("metadata_location"),
        attempt: count("attempt", row.get("attempt"))?,
        job_id: JobId(row.get("job_id")),
    })
}

pub(crate) fn json_from_row<T: DeserializeOwned>(row: &Row, column: &'static str) -> Result<Option<T>, Error> {
    let text: Option<String> = row.get(column);
    text.map(|text| serde_json::from_str(&text).map_err(|_| unreadable(column, &text))).transpose()
}

pub(crate) fn to_json<T: Serialize>(what: &'static str, value: &T) -> Result<String, Error> {
    serde_json::to_string(value).map_err(|error| unreadable(what, &error.to_string()))
}

pub(crate) fn count(what: &'static str, stored: i64) -> Result<u32, Error> {
    u32::try_from(stored).map_err(|_| unreadable(what, &stored.to_string()))
}

/// Microseconds since 1970; what is earlier or too late to tell is held to the ends.
pub(crate) fn micros(time: SystemTime) -> i64 {
    let since = time.duration_since(UNIX_EPOCH).unwrap_or(Duration::ZERO);
    i64::try_from(since.as_micros()).unwrap_or(i64::MAX)
}

pub(crate) fn time_of(micros: i64) -> SystemTime {
    UNIX_EPOCH + Duration::from_micros(u64::try_from(micros).unwrap_or(0))
}

pub(crate) fn unreadable(what: &'static str, found: &str) -> Error {
    Error::Unreadable { what, found: found.chars().take(FOUND_SHOWN_CHARS).collect() }
}
