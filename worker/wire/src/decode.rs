//! Messages to values. A message that lacks what it must hold is an `InvalidSpec` fault that names the field.

use std::time::{Duration, SystemTime};

use moulin_core as core;
use moulin_core::{Fault, FaultKind};

use crate::enums::{
    from_contract_mode, from_fault_kind, from_job_state, from_nanoseconds, from_on_bad_row, from_on_loaded_file,
    from_on_rerun, from_room, from_schema_change_kind,
};
use crate::time::{from_duration, from_timestamp};
use crate::v1;

pub(crate) fn wrong(message: impl Into<String>) -> Fault {
    Fault::new(FaultKind::InvalidSpec, message)
}

pub(crate) fn missing(field: &str) -> Fault {
    wrong(format!("{field} is missing"))
}

/// Who asks.
///
/// # Errors
/// `InvalidSpec`: no key, or no task.
pub fn key(key: Option<v1::JobKey>) -> Result<core::JobKey, Fault> {
    let key = key.ok_or_else(|| missing("key"))?;
    if key.task_id.is_empty() {
        return Err(missing("key.task_id"));
    }
    Ok(core::JobKey { dag_id: key.dag_id, run_id: key.run_id, task_id: key.task_id, map_index: key.map_index })
}

pub use crate::source::decode as source;

/// What a job is to do, validated.
///
/// # Errors
/// `InvalidSpec`, naming the field.
pub fn spec(spec: Option<v1::JobSpec>) -> Result<core::JobSpec, Fault> {
    let spec = spec.ok_or_else(|| missing("spec"))?;
    let on_bad_row = v1::OnBadRow::try_from(spec.on_bad_row)
        .map_err(|_| wrong(format!("on_bad_row {} is unknown to this worker", spec.on_bad_row)))?;
    let spec = core::JobSpec {
        source: spec.source.map(source).transpose()?,
        tables: crate::table_input::decode(spec.tables)?,
        transform: spec.transform.map(transform).transpose()?,
        landing: landing(spec.landing.ok_or_else(|| missing("target"))?)?,
        on_bad_row: from_on_bad_row(on_bad_row).unwrap_or_default(),
        deadline: spec.deadline.map(from_duration),
        replay: spec
            .replay
            .map(|replay| core::Replay { condition: Some(replay.r#where).filter(|text| !text.is_empty()) }),
        max_bad_rows: spec.max_bad_rows,
        max_bad_ratio: spec
            .max_bad_ratio
            .map(core::Ratio::new)
            .transpose()
            .map_err(|reason| wrong(format!("max_bad_ratio: {reason}")))?,
    };
    spec.validate()?;
    Ok(spec)
}

fn transform(transform: v1::Transform) -> Result<core::Transform, Fault> {
    Ok(match transform.kind.ok_or_else(|| missing("transform.sql or transform.polars"))? {
        v1::transform::Kind::Sql(sql) => core::Transform::Sql(sql.query),
        v1::transform::Kind::Polars(polars) => {
            core::Transform::Polars { plan: polars.plan, polars_version: polars.polars_version }
        }
    })
}

fn landing(landing: v1::Landing) -> Result<core::Landing, Fault> {
    let on_rerun = v1::OnRerun::try_from(landing.on_rerun)
        .map_err(|_| wrong(format!("target.on_rerun {} is unknown to this worker", landing.on_rerun)))?;
    let nanoseconds = v1::Nanoseconds::try_from(landing.nanoseconds)
        .map_err(|_| wrong(format!("target.nanoseconds {} is unknown to this worker", landing.nanoseconds)))?;
    Ok(core::Landing {
        table: landing.table.parse().map_err(|reason| wrong(format!("target.table: {reason}")))?,
        partition_by: landing
            .partition_by
            .iter()
            .map(|field| field.parse().map_err(|reason| wrong(format!("target.partition_by: {reason}"))))
            .collect::<Result<_, _>>()?,
        properties: landing.properties.into_iter().collect(),
        on_rerun: from_on_rerun(on_rerun).unwrap_or_default(),
        sort_by: landing
            .sort_by
            .iter()
            .map(|field| field.parse().map_err(|reason| wrong(format!("target.sort_by: {reason}"))))
            .collect::<Result<_, _>>()?,
        nanoseconds: from_nanoseconds(nanoseconds).unwrap_or_default(),
        on_loaded_file: v1::OnLoadedFile::try_from(landing.on_loaded_file)
            .map(|said| from_on_loaded_file(said).unwrap_or_default())
            .map_err(|_| {
                wrong(format!("target.on_loaded_file {} is unknown to this worker", landing.on_loaded_file))
            })?,
    })
}

/// The pool of a job.
///
/// # Errors
/// `InvalidSpec`: no name of a pool.
pub fn pool(pool: String) -> Result<String, Fault> {
    if pool.is_empty() {
        return Ok(core::pool::DEFAULT.to_owned());
    }
    core::pool::check(&pool).map_err(|reason| wrong(format!("pool: {reason}")))?;
    Ok(pool)
}

/// A job as it stands, as another worker said it.
///
/// # Errors
/// `Internal`: the message lacks what every job has.
pub fn job(job: v1::Job) -> Result<core::Job, Fault> {
    let lacks = |field: &str| Fault::new(FaultKind::Internal, format!("the worker's answer lacks job.{field}"));
    let state = v1::JobState::try_from(job.state).ok().and_then(from_job_state).ok_or_else(|| lacks("state"))?;
    Ok(core::Job {
        id: core::JobId(job.job_id),
        key: key(job.key).map_err(|_| lacks("key"))?,
        generation: job.generation,
        epoch: job.epoch,
        state,
        attempt: job.attempt,
        worker_id: job.worker_id,
        table: job.table,
        submitted_at: job.submitted_at.map(from_timestamp).ok_or_else(|| lacks("submitted_at"))?,
        started_at: job.started_at.map(from_timestamp),
        finished_at: job.finished_at.map(from_timestamp),
        progress: job.progress.map(progress).unwrap_or_default(),
        receipt: job.receipt.map(receipt),
        fault: job.fault.map(fault),
        priority: job.priority,
        pool: job.pool,
        waiting: job.waiting,
    })
}

fn progress(progress: v1::Progress) -> core::Progress {
    core::Progress {
        room: v1::Room::try_from(progress.room).ok().and_then(from_room).unwrap_or_default(),
        files_total: progress.files_total,
        files_done: progress.files_done,
        bytes_total: progress.bytes_total,
        bytes_done: progress.bytes_done,
        rows_read: progress.rows_read,
        rows_rejected: progress.rows_rejected,
        rows_out: progress.rows_out,
        elapsed: progress.elapsed.map(from_duration).unwrap_or_default(),
    }
}

fn receipt(receipt: v1::Receipt) -> core::Receipt {
    core::Receipt {
        job_id: receipt.job_id,
        table: receipt.table,
        files: receipt.files,
        rows_read: receipt.rows_read,
        rows_landed: receipt.rows_landed,
        rows_rejected: receipt.rows_rejected,
        rows_filtered: receipt.rows_filtered,
        bytes_read: receipt.bytes_read,
        bytes_written: receipt.bytes_written,
        data_files: receipt.data_files,
        file_counts: receipt.file_counts.map(file_counts).unwrap_or_default(),
        snapshot_id: receipt.snapshot_id,
        metadata_location: receipt.metadata_location,
        elapsed: receipt.elapsed.map(from_duration).unwrap_or_default(),
        rooms: receipt.rooms.into_iter().filter_map(room_time).collect(),
        rejects: receipt.rejects.into_iter().map(reject).collect(),
        attempt: receipt.attempt,
        token: receipt.token,
        skipped_files: receipt
            .skipped_files
            .into_iter()
            .map(|file| core::SkippedFile { uri: file.uri, reason: file.reason })
            .collect(),
        files_skipped: receipt.files_skipped,
        rows_replaced: receipt.rows_replaced,
        replaced_snapshot_id: receipt.replaced_snapshot_id,
        attached_to: Some(receipt.attached_to).filter(|token| !token.is_empty()),
        rejects_table: receipt.rejects_table,
        rejects_snapshot_id: receipt.rejects_snapshot_id,
        rejects_to_commit: String::new(),
        rejects_change: core::RejectsChange::default(),
        rejects_replaced: receipt.rejects_replaced,
        replay: receipt.replay.map(replay_counts),
        replayed_files: Vec::new(),
        replaced_tokens: Vec::new(),
        replaced_from: None,
        tables: receipt.tables.into_iter().map(crate::table_input::decode_read).collect(),
    }
}

fn replay_counts(counts: v1::ReplayCounts) -> core::ReplayCounts {
    core::ReplayCounts {
        table: counts.table,
        snapshot_id: counts.snapshot_id,
        matched: counts.matched,
        replayed: counts.replayed,
        cut: counts.cut,
        without_bytes: counts.without_bytes,
        other_format: counts.other_format,
        empty: counts.empty,
    }
}

fn file_counts(counts: v1::FileCounts) -> core::FileCounts {
    let v1::FileCounts { partitions, threads, target_bytes, full, made_way, clustered, spilled_bytes } = counts;
    core::FileCounts { partitions, threads, target_bytes, full, made_way, clustered, spilled_bytes }
}

fn room_time(time: v1::RoomTime) -> Option<core::RoomTime> {
    let room = v1::Room::try_from(time.room).ok().and_then(from_room)?;
    Some(core::RoomTime { room, busy: time.busy.map(from_duration).unwrap_or_default() })
}

fn reject(reject: v1::Reject) -> core::Reject {
    core::Reject { place: reject.place.map(place).unwrap_or_default(), code: reject.code, reason: reject.reason }
}

fn place(place: v1::Place) -> core::Place {
    core::Place {
        uri: place.uri,
        record: place.record,
        line: place.line,
        byte_offset: place.byte_offset,
        column: place.column,
    }
}

/// A failure, as another worker said it. A kind this build does not know is `Internal`.
#[must_use]
pub fn fault(fault: v1::Fault) -> Fault {
    Fault {
        kind: v1::FaultKind::try_from(fault.kind).ok().and_then(from_fault_kind).unwrap_or(FaultKind::Internal),
        message: fault.message,
        hint: fault.hint,
        causes: fault.causes,
        place: fault.place.map(place),
    }
}

/// What a job would do, as a worker said it.
#[must_use]
pub fn plan(plan: v1::JobPlan) -> core::JobPlan {
    core::JobPlan {
        files: plan.files.into_iter().map(listed_file).collect(),
        input: plan.input.into_iter().map(planned_column).collect(),
        output: plan.output.into_iter().map(planned_column).collect(),
        table: plan.table,
        table_exists: plan.table_exists,
        table_location: plan.table_location,
        partition_by: plan.partition_by,
        row_wise: plan.row_wise,
        options: plan.options.into_iter().map(planned_option).collect(),
        shards: plan.shards,
        on_rerun: v1::OnRerun::try_from(plan.on_rerun).ok().and_then(from_on_rerun).unwrap_or_default(),
        changes: plan.changes.into_iter().filter_map(schema_change).collect(),
        tables: plan.tables.into_iter().map(crate::table_input::decode_planned).collect(),
        replay: plan.replay.map(replay_counts),
    }
}

/// What a sample of the files holds, as a worker said it.
#[must_use]
pub fn infer_report(report: v1::InferResponse) -> core::InferReport {
    let column = |column: v1::InferredColumn| core::InferredColumn {
        name: column.name,
        ty: column.r#type,
        origin: column.origin,
        values: column.values,
        nulls: column.nulls,
        min: column.min,
        max: column.max,
        reason: column.reason,
    };
    core::InferReport {
        files: report.files.into_iter().map(planned_file).collect(),
        columns: report.columns.into_iter().map(column).collect(),
        rows: report.rows,
        rows_bad: report.rows_bad,
        options: report.options.into_iter().map(planned_option).collect(),
    }
}

fn listed_file(mut file: v1::PlannedFile) -> core::ListedFile {
    let skipped = std::mem::take(&mut file.skipped);
    core::ListedFile { file: planned_file(file), skipped }
}

fn planned_file(file: v1::PlannedFile) -> core::PlannedFile {
    core::PlannedFile {
        uri: file.uri,
        size_bytes: file.size_bytes,
        etag: Some(file.etag).filter(|etag| !etag.is_empty()),
    }
}

fn planned_option(option: v1::PlannedOption) -> core::PlannedOption {
    core::PlannedOption { name: option.name, value: option.value, origin: option.origin, reason: option.reason }
}

/// `None`: a kind of change this build does not know.
fn schema_change(change: v1::SchemaChange) -> Option<core::SchemaChange> {
    Some(core::SchemaChange {
        column: change.column,
        kind: v1::SchemaChangeKind::try_from(change.kind).ok().and_then(from_schema_change_kind)?,
        from: change.from,
        to: change.to,
        mode: v1::ContractMode::try_from(change.mode).ok().and_then(from_contract_mode)?,
    })
}

pub(crate) fn planned_column(column: v1::PlannedColumn) -> core::PlannedColumn {
    core::PlannedColumn { name: column.name, ty: column.r#type, nullable: column.nullable, origin: column.origin }
}

/// States of a filter.
///
/// # Errors
/// `InvalidSpec`: a state this worker does not know.
pub fn states(states: &[i32]) -> Result<Vec<core::JobState>, Fault> {
    states
        .iter()
        .map(|state| {
            v1::JobState::try_from(*state)
                .ok()
                .and_then(from_job_state)
                .ok_or_else(|| wrong(format!("states: {state} is no job state")))
        })
        .collect()
}

/// A duration of a request.
#[must_use]
pub fn interval(value: Option<prost_types::Duration>) -> Option<Duration> {
    value.map(from_duration)
}

/// A moment of an answer.
#[must_use]
pub fn moment(value: Option<prost_types::Timestamp>) -> Option<SystemTime> {
    value.map(from_timestamp)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::encode;

    const YAML: &str = r#"{"source": {"uris": ["a.csv"], "format": {"csv": {"null_values": ["NA"], "quoting": false, "comment": "\u0023"}},
        "compression": "gzip", "columns": [{"name": "a", "type": "decimal(5,2)"}]},
        "tables": {"t": "a.c", "u": {"table": "a.d", "as_of": "2026-01-31T08:00:00.5Z"}, "v": {"table": "a.e", "ref": "main"}},
        "transform": {"sql": "SELECT 1"}, "target": {"table": "a.b", "partition_by": ["month(t)"], "properties": {"k": "v"}},
        "on_bad_row": "skip", "deadline": "90s"}"#;

    fn example() -> core::JobSpec {
        serde_json::from_str(YAML).unwrap()
    }

    #[test]
    fn a_spec_comes_back_from_its_message() {
        assert_eq!(spec(Some(encode::spec(&example()))).unwrap(), example());
    }

    #[test]
    fn a_missing_part_is_named() {
        let mut message = encode::spec(&example());
        message.source.as_mut().unwrap().format = None;
        assert_eq!(spec(Some(message)).unwrap_err().message, "source.format is missing");
        assert_eq!(key(Some(v1::JobKey::default())).unwrap_err().message, "key.task_id is missing");
    }

    #[test]
    fn a_wrong_type_names_the_column() {
        let mut message = encode::spec(&example());
        message.source.as_mut().unwrap().columns[0].r#type = "money".into();
        assert!(spec(Some(message)).unwrap_err().message.starts_with("source.columns, column a: `money` is not"));
    }
}
