//! Values to messages.

use moulin_core as core;

use crate::enums::{
    contract_mode, fault_kind, job_state, nanoseconds, on_bad_row, on_loaded_file, on_rerun, room, schema_change_kind,
};
use crate::time::{duration, timestamp};
use crate::v1;

/// A job as it stands.
#[must_use]
pub fn job(job: &core::Job) -> v1::Job {
    v1::Job {
        job_id: job.id.0.clone(),
        key: Some(key(&job.key)),
        generation: job.generation,
        epoch: job.epoch,
        state: job_state(job.state).into(),
        attempt: job.attempt,
        worker_id: job.worker_id.clone(),
        table: job.table.clone(),
        submitted_at: Some(timestamp(job.submitted_at)),
        started_at: job.started_at.map(timestamp),
        finished_at: job.finished_at.map(timestamp),
        progress: Some(progress(&job.progress)),
        receipt: job.receipt.as_ref().map(receipt),
        fault: job.fault.as_ref().map(fault),
        priority: job.priority,
        pool: job.pool.clone(),
        waiting: job.waiting.clone(),
    }
}

/// Who asks.
#[must_use]
pub fn key(key: &core::JobKey) -> v1::JobKey {
    v1::JobKey {
        dag_id: key.dag_id.clone(),
        run_id: key.run_id.clone(),
        task_id: key.task_id.clone(),
        map_index: key.map_index,
    }
}

/// How far an attempt is.
#[must_use]
pub fn progress(progress: &core::Progress) -> v1::Progress {
    v1::Progress {
        room: room(progress.room).into(),
        files_total: progress.files_total,
        files_done: progress.files_done,
        bytes_total: progress.bytes_total,
        bytes_done: progress.bytes_done,
        rows_read: progress.rows_read,
        rows_rejected: progress.rows_rejected,
        rows_out: progress.rows_out,
        elapsed: Some(duration(progress.elapsed)),
    }
}

/// What came of a job.
#[must_use]
pub fn receipt(receipt: &core::Receipt) -> v1::Receipt {
    v1::Receipt {
        job_id: receipt.job_id.clone(),
        table: receipt.table.clone(),
        files: receipt.files,
        rows_read: receipt.rows_read,
        rows_landed: receipt.rows_landed,
        rows_rejected: receipt.rows_rejected,
        rows_filtered: receipt.rows_filtered,
        bytes_read: receipt.bytes_read,
        bytes_written: receipt.bytes_written,
        data_files: receipt.data_files,
        file_counts: Some(file_counts(receipt.file_counts)),
        snapshot_id: receipt.snapshot_id,
        metadata_location: receipt.metadata_location.clone(),
        elapsed: Some(duration(receipt.elapsed)),
        rooms: receipt
            .rooms
            .iter()
            .map(|time| v1::RoomTime { room: room(time.room).into(), busy: Some(duration(time.busy)) })
            .collect(),
        rejects: receipt.rejects.iter().map(reject).collect(),
        attempt: receipt.attempt,
        token: receipt.token.clone(),
        skipped_files: receipt
            .skipped_files
            .iter()
            .map(|file| v1::SkippedFile { uri: file.uri.clone(), reason: file.reason.clone() })
            .collect(),
        files_skipped: receipt.files_skipped,
        rows_replaced: receipt.rows_replaced,
        replaced_snapshot_id: receipt.replaced_snapshot_id,
        attached_to: receipt.attached_to.clone().unwrap_or_default(),
        rejects_table: receipt.rejects_table.clone(),
        rejects_snapshot_id: receipt.rejects_snapshot_id,
        tables: receipt.tables.iter().map(crate::table_input::encode_read).collect(),
        rejects_replaced: receipt.rejects_replaced,
        replay: receipt.replay.as_ref().map(replay_counts),
    }
}

fn file_counts(counts: core::FileCounts) -> v1::FileCounts {
    let core::FileCounts { partitions, threads, target_bytes, full, made_way, clustered, spilled_bytes } = counts;
    v1::FileCounts { partitions, threads, target_bytes, full, made_way, clustered, spilled_bytes }
}

/// A row that did not fit.
#[must_use]
pub fn reject(reject: &core::Reject) -> v1::Reject {
    v1::Reject { place: Some(place(&reject.place)), code: reject.code.clone(), reason: reject.reason.clone() }
}

fn place(place: &core::Place) -> v1::Place {
    v1::Place {
        uri: place.uri.clone(),
        record: place.record,
        line: place.line,
        byte_offset: place.byte_offset,
        column: place.column.clone(),
    }
}

/// A failure.
#[must_use]
pub fn fault(fault: &core::Fault) -> v1::Fault {
    v1::Fault {
        kind: fault_kind(fault.kind).into(),
        message: fault.message.clone(),
        hint: fault.hint.clone(),
        retryable: fault.retryable(),
        causes: fault.causes.clone(),
        place: fault.place.as_ref().map(place),
    }
}

/// What a job would do.
#[must_use]
pub fn plan(plan: &core::JobPlan) -> v1::JobPlan {
    v1::JobPlan {
        files: plan.files.iter().map(listed_file).collect(),
        input: plan.input.iter().map(planned_column).collect(),
        output: plan.output.iter().map(planned_column).collect(),
        table: plan.table.clone(),
        table_exists: plan.table_exists,
        table_location: plan.table_location.clone(),
        partition_by: plan.partition_by.clone(),
        row_wise: plan.row_wise,
        options: plan.options.iter().map(planned_option).collect(),
        shards: plan.shards,
        changes: plan.changes.iter().map(schema_change).collect(),
        on_rerun: on_rerun(plan.on_rerun).into(),
        tables: plan.tables.iter().map(crate::table_input::encode_planned).collect(),
        replay: plan.replay.as_ref().map(replay_counts),
    }
}

/// What a sample of the files holds.
#[must_use]
pub fn infer_report(report: &core::InferReport) -> v1::InferResponse {
    let column = |column: &core::InferredColumn| v1::InferredColumn {
        name: column.name.clone(),
        r#type: column.ty.clone(),
        origin: column.origin.clone(),
        values: column.values,
        nulls: column.nulls,
        min: column.min.clone(),
        max: column.max.clone(),
        reason: column.reason.clone(),
    };
    v1::InferResponse {
        files: report.files.iter().map(planned_file).collect(),
        columns: report.columns.iter().map(column).collect(),
        rows: report.rows,
        rows_bad: report.rows_bad,
        options: report.options.iter().map(planned_option).collect(),
    }
}

fn listed_file(listed: &core::ListedFile) -> v1::PlannedFile {
    v1::PlannedFile { skipped: listed.skipped.clone(), ..planned_file(&listed.file) }
}

fn planned_file(file: &core::PlannedFile) -> v1::PlannedFile {
    v1::PlannedFile {
        uri: file.uri.clone(),
        size_bytes: file.size_bytes,
        etag: file.etag.clone().unwrap_or_default(),
        skipped: String::new(),
    }
}

fn planned_option(option: &core::PlannedOption) -> v1::PlannedOption {
    v1::PlannedOption {
        name: option.name.clone(),
        value: option.value.clone(),
        origin: option.origin.clone(),
        reason: option.reason.clone(),
    }
}

fn schema_change(change: &core::SchemaChange) -> v1::SchemaChange {
    v1::SchemaChange {
        column: change.column.clone(),
        kind: schema_change_kind(change.kind).into(),
        from: change.from.clone(),
        to: change.to.clone(),
        mode: contract_mode(change.mode).into(),
    }
}

pub(crate) fn planned_column(column: &core::PlannedColumn) -> v1::PlannedColumn {
    v1::PlannedColumn {
        name: column.name.clone(),
        r#type: column.ty.clone(),
        nullable: column.nullable,
        origin: column.origin.clone(),
    }
}

pub use crate::source::encode as source;

/// What a job is to do. Also the text of a job in the job store.
#[must_use]
pub fn spec(spec: &core::JobSpec) -> v1::JobSpec {
    v1::JobSpec {
        source: spec.source.as_ref().map(source),
        tables: crate::table_input::encode(&spec.tables),
        transform: spec.transform.as_ref().map(transform),
        landing: Some(landing(&spec.landing)),
        on_bad_row: on_bad_row(spec.on_bad_row).into(),
        deadline: spec.deadline.map(duration),
        max_bad_rows: spec.max_bad_rows,
        max_bad_ratio: spec.max_bad_ratio.map(core::Ratio::get),
        replay: spec.replay.as_ref().map(|replay| v1::Replay { r#where: replay.condition.clone().unwrap_or_default() }),
    }
}

fn replay_counts(counts: &core::ReplayCounts) -> v1::ReplayCounts {
    v1::ReplayCounts {
        table: counts.table.clone(),
        snapshot_id: counts.snapshot_id,
        matched: counts.matched,
        replayed: counts.replayed,
        cut: counts.cut,
        without_bytes: counts.without_bytes,
        other_format: counts.other_format,
        empty: counts.empty,
    }
}

fn transform(transform: &core::Transform) -> v1::Transform {
    v1::Transform {
        kind: Some(match transform {
            core::Transform::Sql(query) => v1::transform::Kind::Sql(v1::SqlTransform { query: query.clone() }),
            core::Transform::Polars { plan, polars_version } => v1::transform::Kind::Polars(v1::PolarsTransform {
                plan: plan.clone(),
                polars_version: polars_version.clone(),
            }),
        }),
    }
}

fn landing(landing: &core::Landing) -> v1::Landing {
    v1::Landing {
        table: landing.table.to_string(),
        partition_by: landing.partition_by.iter().map(ToString::to_string).collect(),
        properties: landing.properties.clone().into_iter().collect(),
        on_rerun: on_rerun(landing.on_rerun).into(),
        sort_by: landing.sort_by.iter().map(ToString::to_string).collect(),
        nanoseconds: nanoseconds(landing.nanoseconds).into(),
        on_loaded_file: on_loaded_file(landing.on_loaded_file).into(),
    }
}

/// States for a filter.
#[must_use]
pub fn states(states: &[core::JobState]) -> Vec<i32> {
    states.iter().map(|state| job_state(*state).into()).collect()
}

/// One thing that was checked.
#[must_use]
pub fn check(name: &str, result: &Result<String, core::Fault>, took: std::time::Duration) -> v1::Check {
    let (ok, detail) = match result {
        Ok(detail) => (true, detail.clone()),
        Err(fault) => (false, fault.report()),
    };
    v1::Check { name: name.to_owned(), ok, detail, took: Some(duration(took)) }
}

/// A moment.
#[must_use]
pub fn moment(at: std::time::SystemTime) -> prost_types::Timestamp {
    timestamp(at)
}
