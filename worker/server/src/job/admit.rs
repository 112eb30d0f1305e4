//! What a job would do: everything about it that can be known before it runs.

use moulin_core::{Fault, Landing};
use moulin_core::{JobPlan, JobSpec, PlannedColumn, PlannedFile};
use moulin_engine::transform::{self, Prepared, TransformOptions};
use moulin_lake::TablePlan;
use moulin_read::{self as read, InputSchema, iceberg_type_name};

use crate::worker::Worker;

/// The input of a job, looked at: its files, its schema, its transform planned.
pub(crate) struct Input {
    pub(crate) files: Vec<PlannedFile>,
    pub(crate) schema: InputSchema,
    pub(crate) prepared: Prepared,
}

/// Lists the files, finds the schema and plans the transform.
///
/// # Errors
/// Whatever is wrong with the spec, a file or the transform, named.
pub(crate) async fn look(worker: &Worker, spec: &JobSpec) -> Result<Input, Fault> {
    let files = worker.fetcher.list(&spec.source.uris).await?;
    let schema = read::schema(&worker.fetcher, &spec.source, &files).await?;
    let limits = &worker.config.job;
    let options = TransformOptions {
        memory_bytes: limits.memory_bytes,
        spill_dir: worker.config.state_dir.join("spill"),
        threads: limits.threads,
    };
    let prepared = transform::prepare(spec.transform.as_ref(), &schema.arrow, options).await?;
    Ok(Input { files, schema, prepared })
}

/// What the job would do; changes nothing.
///
/// # Errors
/// Everything that [`look`] finds, and a table that does not take the rows.
pub(crate) async fn plan(worker: &Worker, spec: &JobSpec) -> Result<JobPlan, Fault> {
    let input = look(worker, spec).await?;
    let table = worker.lake.plan(&spec.landing, input.prepared.output()).await?;
    Ok(describe(&input, &spec.landing, table))
}

fn describe(input: &Input, landing: &Landing, table: TablePlan) -> JobPlan {
    let column = |field: &arrow::datatypes::Field, origin: &str| PlannedColumn {
        name: field.name().clone(),
        ty: iceberg_type_name(field.data_type()),
        nullable: field.is_nullable(),
        origin: origin.to_owned(),
    };
    JobPlan {
        files: input.files.clone(),
        input: input
            .schema
            .arrow
            .fields()
            .iter()
            .zip(&input.schema.origins)
            .map(|(f, o)| column(f, o.as_str()))
            .collect(),
        output: input.prepared.output().fields().iter().map(|f| column(f, "")).collect(),
        table: landing.table.to_string(),
        table_exists: table.exists,
        table_location: table.location,
        partition_by: table.partition_by,
        row_wise: input.prepared.row_wise(),
        options: Vec::new(),
        shards: input.files.len() as u64,
        changes: Vec::new(),
    }
}
