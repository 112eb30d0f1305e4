//! What a job would do: everything about it that can be known before it runs.

use std::sync::Arc;
use std::time::{SystemTime, UNIX_EPOCH};

use arrow::array::RecordBatch;
use arrow::datatypes::{Schema, SchemaRef};
use moulin_core::{
    Contract, ContractMode, Counters, Fault, FaultKind, JobKey, JobPlan, JobSpec, ListedFile, Nanoseconds, OnRerun,
    PlannedColumn, PlannedFile, Replay, SchemaChange, SchemaChangeKind, Token, schema_changes,
};
use moulin_engine::transform::{self, Input as Named, Prepared, TransformOptions};
use moulin_lake::TablePlan;
use moulin_read::{self as read, InputSchema, iceberg_type_name};

use super::loads;
use super::replay;
use super::tables::{self, OpenTable};
use crate::worker::Worker;

/// The inputs of a job, looked at: its files with their schema, its tables, its transform planned.
pub(crate) struct Input {
    pub(crate) files: Vec<PlannedFile>,
    /// Of the files; `None`: the job reads tables only.
    pub(crate) schema: Option<InputSchema>,
    pub(crate) tables: Vec<OpenTable>,
    pub(crate) prepared: Prepared,
}

/// Lists the files, finds their schema, opens the tables and plans the transform. Rows of tables are counted in `counters`.
///
/// # Errors
/// Whatever is wrong with the spec, a file or the transform, named.
pub(crate) async fn look(
    worker: &Worker,
    spec: &JobSpec,
    files: Vec<PlannedFile>,
    counters: &Arc<Counters>,
) -> Result<Input, Fault> {
    let schema = match &spec.source {
        Some(source) => Some(read::schema(&worker.fetcher, source, &files).await?),
        None => None,
    };
    let tables = tables::open(worker, &spec.tables).await?;
    let options = job_options(worker, spec);
    let given = schema.iter().map(|schema| Named::given(JobSpec::FILES, Arc::clone(&schema.arrow)));
    let scanned = tables.iter().map(|table| table.input(counters, options.threads));
    let inputs = given.chain(scanned).collect();
    let prepared = transform::prepare_inputs(spec.transform.as_ref(), inputs, options).await?;
    Ok(Input { files, schema, tables, prepared })
}

/// Plans the transform of a replay. Rows are taken one by one from all that a job has read, so what comes of each must
/// depend on it alone.
///
/// # Errors
/// `InvalidSpec`: the transform groups, joins, sorts or counts; whatever else is wrong with it.
pub(crate) async fn prepare_rejects(worker: &Worker, spec: &JobSpec, schema: &InputSchema) -> Result<Prepared, Fault> {
    let inputs = vec![Named::given(JobSpec::FILES, Arc::clone(&schema.arrow))];
    let prepared = transform::prepare_inputs(spec.transform.as_ref(), inputs, job_options(worker, spec)).await?;
    if prepared.row_wise() {
        return Ok(prepared);
    }
    let fault = Fault::new(
        FaultKind::InvalidSpec,
        "the transform looks at several rows at once, and a replay has only those that were rejected",
    );
    Err(fault
        .with_hint("load the files again with target.on_loaded_file: reload, or clear the task that rejected the rows"))
}

/// What a query, or the transform of one job, may use.
pub(crate) fn transform_options(worker: &Worker) -> TransformOptions {
    let limits = &worker.config.job;
    TransformOptions {
        memory_bytes: limits.memory_bytes,
        spill_dir: worker.spill.path().to_owned(),
        threads: limits.threads,
        nanoseconds: Nanoseconds::default(),
    }
}

fn job_options(worker: &Worker, spec: &JobSpec) -> TransformOptions {
    TransformOptions { nanoseconds: spec.landing.nanoseconds, ..transform_options(worker) }
}

/// What differs between the rows of a job and its table, and which columns land.
pub(crate) struct Fit {
    /// The differences, in the order of the rows' columns.
    pub(crate) changes: Vec<SchemaChange>,
    /// The rows without the columns that the contract leaves out.
    pub(crate) schema: SchemaRef,
    /// The places of those columns in the rows; `None`: all, as they are.
    kept: Option<Vec<usize>>,
    /// The table, when it is there.
    table: Option<TablePlan>,
}

impl Fit {
    /// The columns of a batch that land.
    ///
    /// # Errors
    /// `Internal`: the batch is none of the rows that were looked at.
    pub(crate) fn apply(&self, batch: RecordBatch) -> Result<RecordBatch, Fault> {
        let Some(kept) = &self.kept else { return Ok(batch) };
        batch.project(kept).map_err(|error| Fault::from_error(FaultKind::Internal, &error))
    }
}

/// Compares the rows with the table as it is now.
///
/// # Errors
/// `SchemaMismatch`: a difference that the contract freezes, or a table that it does not let be made.
pub(crate) async fn fit(worker: &Worker, spec: &JobSpec, output: &SchemaRef) -> Result<Fit, Fault> {
    let fit = compared(worker, spec, output).await?;
    match refusal(spec, &fit) {
        Some(fault) => Err(fault),
        None => Ok(fit),
    }
}

async fn compared(worker: &Worker, spec: &JobSpec, output: &SchemaRef) -> Result<Fit, Fault> {
    let (table, changes) = match worker.lake.existing(&spec.landing.table).await? {
        Some((table, columns)) => {
            let changes = schema_changes(&planned(output), &planned(&columns), &spec.contract());
            (Some(table), changes)
        }
        None => (None, Vec::new()),
    };
    let left_out = |name: &str| {
        let is = |change: &SchemaChange| change.column == name && change.kind == SchemaChangeKind::AddColumn;
        changes.iter().any(|change| is(change) && change.mode == ContractMode::DiscardValue)
    };
    let kept: Vec<usize> = (0..output.fields().len()).filter(|at| !left_out(output.field(*at).name())).collect();
    let (schema, kept) = if kept.len() == output.fields().len() {
        (Arc::clone(output), None)
    } else {
        let schema = output.project(&kept).map_err(|error| Fault::from_error(FaultKind::Internal, &error))?;
        (Arc::new(schema), Some(kept))
    };
    Ok(Fit { changes, schema, kept, table })
}

/// What the contract does not let be.
fn refusal(spec: &JobSpec, fit: &Fit) -> Option<Fault> {
    let table = spec.landing.table.to_string();
    let Contract { tables, columns, .. } = spec.contract();
    if fit.table.is_none() && tables == ContractMode::Freeze {
        let message = format!("table {table} is not there, and source.contract.tables is freeze");
        let hint = "make the table first, correct its name, or let the contract evolve tables";
        return Some(Fault::new(FaultKind::SchemaMismatch, message).with_hint(hint));
    }
    if let Some(fault) = fit.changes.iter().find_map(|change| change.frozen(&table)) {
        return Some(fault);
    }
    let added = fit.changes.iter().find(|change| change.kind == SchemaChangeKind::AddColumn)?;
    (columns == ContractMode::DiscardRow).then(|| {
        let message = format!("{table}: {added}; no row is discarded for a column that only the table lacks");
        let hint = "leave the column out in the transform, or set source.contract.columns to discard_value";
        Fault::new(FaultKind::SchemaMismatch, message).with_hint(hint)
    })
}

/// What a job would do, and why it would be refused.
pub(crate) struct Planned {
    pub(crate) plan: JobPlan,
    /// The table does not take the rows.
    pub(crate) refused: Option<Fault>,
}

/// What the job would do; changes nothing. `key`: who asks, and the generation, when that is known.
///
/// # Errors
/// Everything that [`look`] finds, a table that does not take the rows, and a file that the job does not want twice.
pub(crate) async fn plan(worker: &Worker, spec: &JobSpec, key: Option<(JobKey, u32)>) -> Result<JobPlan, Fault> {
    let planned = plan_anyway(worker, spec, key).await?;
    planned.refused.map_or(Ok(planned.plan), Err)
}

/// What the job would do if the table took its rows; changes nothing.
///
/// # Errors
/// Everything that [`look`] finds.
pub(crate) async fn plan_anyway(worker: &Worker, spec: &JobSpec, key: Option<(JobKey, u32)>) -> Result<Planned, Fault> {
    if let Some(replay) = &spec.replay {
        return plan_replay(worker, spec, replay, key).await;
    }
    let (listed, twice) = match &spec.source {
        Some(source) => {
            let listed = worker.fetcher.list(&source.uris).await?;
            loads::plan(worker, spec, key, listed).await?
        }
        None => (Vec::new(), None),
    };
    let taken = taken(&listed);
    // Of files that are all left out the columns are told all the same.
    let looked_at = if taken.is_empty() { listed.iter().map(|one| one.file.clone()).collect() } else { taken };
    let input = look(worker, spec, looked_at, &Arc::default()).await?;
    let mut planned = with_table(worker, spec, listed, &input).await?;
    planned.refused = planned.refused.or(twice);
    Ok(planned)
}

/// What a replay would do.
async fn plan_replay(
    worker: &Worker,
    spec: &JobSpec,
    replay: &Replay,
    key: Option<(JobKey, u32)>,
) -> Result<Planned, Fault> {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    let is_redo = spec.landing.on_rerun == OnRerun::Replace;
    let asker = replay::Asker {
        own: key.as_ref().map_or_else(|| Token(String::new()), |(key, generation)| Token::new(key, *generation)),
        replaces_from: key.filter(|(_, generation)| is_redo && *generation > 0).map(|_| 0),
        asked_at_micros: i64::try_from(now.as_micros()).unwrap_or(i64::MAX),
    };
    let found = replay::find(worker, spec, replay, &asker).await?;
    let mut planned = if found.counts.replayed == 0 {
        let (table, _) = worker.lake.existing(&spec.landing.table).await?.unzip();
        let mut plan = JobPlan { table: spec.landing.table.to_string(), row_wise: true, ..JobPlan::default() };
        if let Some(table) = table {
            plan.table_exists = true;
            (plan.table_location, plan.partition_by) = (table.location, table.partition_by);
        }
        Planned { plan, refused: None }
    } else {
        let schema = found.schema(replay::source_of(spec)?)?;
        let prepared = prepare_rejects(worker, spec, &schema).await?;
        let input = Input { files: Vec::new(), schema: Some(schema), tables: Vec::new(), prepared };
        with_table(worker, spec, Vec::new(), &input).await?
    };
    planned.plan.replay = Some(found.counts);
    Ok(planned)
}

/// The plan of a job whose inputs were looked at.
async fn with_table(worker: &Worker, spec: &JobSpec, listed: Vec<ListedFile>, input: &Input) -> Result<Planned, Fault> {
    let fit = compared(worker, spec, input.prepared.output()).await?;
    let lake = worker.lake.plan(&spec.landing, &fit.schema, &spec.contract()).await.map_err(Fault::from);
    let (table, refused) = match (lake, &fit.table) {
        (Ok(table), _) => (table, refusal(spec, &fit)),
        (Err(fault), Some(table)) if fault.kind == FaultKind::SchemaMismatch => {
            (table.clone(), refusal(spec, &fit).or(Some(fault)))
        }
        (Err(fault), _) => return Err(fault),
    };
    Ok(Planned { plan: describe(spec, listed, input, &fit, table), refused })
}

/// The files that the job would read.
fn taken(listed: &[ListedFile]) -> Vec<PlannedFile> {
    listed.iter().filter(|one| one.skipped.is_empty()).map(|one| one.file.clone()).collect()
}

/// The plan with the number of parts that its files are read in. Not for a submit: the footer of every Parquet file is read.
///
/// # Errors
/// A file that cannot be read.
pub(crate) async fn with_shards(worker: &Worker, spec: &JobSpec, plan: JobPlan) -> Result<JobPlan, Fault> {
    let Some(source) = spec.source.as_ref().filter(|_| spec.replay.is_none()) else { return Ok(plan) };
    let shards = read::shards(&worker.fetcher, source, &taken(&plan.files)).await?.len() as u64;
    Ok(JobPlan { shards, ..plan })
}

fn describe(spec: &JobSpec, files: Vec<ListedFile>, input: &Input, fit: &Fit, table: TablePlan) -> JobPlan {
    let mut columns = input.schema.as_ref().map(|schema| planned(&schema.arrow)).unwrap_or_default();
    for (column, origin) in columns.iter_mut().zip(input.schema.iter().flat_map(|schema| &schema.origins)) {
        origin.as_str().clone_into(&mut column.origin);
    }
    let options = match (&spec.source, &input.schema) {
        (Some(source), Some(schema)) => source.options(&schema.sample.sniffed),
        _ => Vec::new(),
    };
    JobPlan {
        files,
        input: columns,
        output: planned(&fit.schema),
        table: spec.landing.table.to_string(),
        table_exists: table.exists,
        table_location: table.location,
        partition_by: table.partition_by,
        row_wise: input.prepared.row_wise(),
        options,
        shards: 0,
        changes: fit.changes.clone(),
        on_rerun: spec.landing.on_rerun,
        tables: input.tables.iter().map(OpenTable::planned).collect(),
        replay: None,
    }
}

/// A schema in Iceberg's words.
pub(crate) fn planned(schema: &Schema) -> Vec<PlannedColumn> {
    let column = |field: &Arc<arrow::datatypes::Field>| PlannedColumn {
        name: field.name().clone(),
        ty: iceberg_type_name(field.data_type()),
        nullable: field.is_nullable(),
        origin: String::new(),
    };
    schema.fields().iter().map(column).collect()
}
