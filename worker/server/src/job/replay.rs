//! A job that reads the rejects of its target again.
//!
//! Rows are read and landed apart for each job that had read them from its files, so that each data file has rows of one
//! such job: when that job is done anew, what was made of its rejects goes with its own rows.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::UNIX_EPOCH;

use arrow::array::{BooleanArray, RecordBatch};
use arrow::datatypes::Schema;
use futures::StreamExt as _;
use futures::stream::BoxStream;
use moulin_core::{
    Fault, FaultKind, JobSpec, PlannedFile, RejectsChange, RejectsMark, Replay, ReplayCounts, Source, Token,
};
use moulin_lake::TableFile;
use moulin_read::{self as read, InputSchema, ReplayColumns};
use moulin_store::StoredJob;

use super::rejects_rows::{Fate, Judge, RejectRows, Why, column, origins, texts};
use super::rejects_table;
use crate::worker::Worker;

/// The rejects that a replay takes.
pub(crate) struct Found {
    pub(crate) counts: ReplayCounts,
    /// What is marked when they have landed.
    pub(crate) mark: RejectsMark,
    /// Of each job that had read some of them from its files, the data files of the table that hold them.
    pub(crate) origins: BTreeMap<String, Vec<TableFile>>,
    /// The files that the rows stood in.
    pub(crate) files: Vec<PlannedFile>,
    columns: ReplayColumns,
    bytes: u64,
    /// `None`: there is no table of rejects.
    rows: Option<(RejectRows, Arc<Judge>)>,
}

/// Who replays.
pub(crate) struct Asker {
    pub(crate) own: Token,
    /// The first generation before its own whose replay is done anew; `None`: this one is the first, or adds to them.
    pub(crate) replaces_from: Option<u32>,
    /// When it was asked for, microseconds since 1970.
    pub(crate) asked_at_micros: i64,
}

impl Asker {
    /// The job that was stored.
    pub(crate) fn of(job: &StoredJob, own: &Token, replaces_from: Option<u32>) -> Self {
        let asked = job.submitted_at.duration_since(UNIX_EPOCH).unwrap_or_default();
        let asked_at_micros = i64::try_from(asked.as_micros()).unwrap_or(i64::MAX);
        Self { own: own.clone(), replaces_from, asked_at_micros }
    }
}

/// Looks through the rejects of the target.
///
/// # Errors
/// `NotFound`: there is neither the table nor one of its rejects; `InvalidSpec`: the condition cannot be used.
pub(crate) async fn find(worker: &Worker, spec: &JobSpec, replay: &Replay, asker: &Asker) -> Result<Found, Fault> {
    let (source, table) = (source_of(spec)?, &spec.landing.table);
    let mark = RejectsMark {
        tokens: Vec::new(),
        condition: replay.condition.clone(),
        formats: read::replay_formats(&source.format).iter().map(|name| (*name).to_owned()).collect(),
        asked_at_micros: asker.asked_at_micros,
        rows: 0,
    };
    let change = RejectsChange { replaced_from: asker.replaces_from, mark: Some(mark.clone()) };
    let counts = ReplayCounts { table: rejects_table::of(table).to_string(), ..ReplayCounts::default() };
    let (origins, columns) = (BTreeMap::new(), ReplayColumns::new());
    let mut found = Found { counts, mark, origins, files: Vec::new(), columns, bytes: 0, rows: None };
    let Some(rejects) = RejectRows::open(worker, table).await? else {
        if worker.lake.table_uuid(table).await?.is_none() {
            let fault = format!("there is no table {table}, and so there are no rejects of it");
            return Err(
                Fault::new(FaultKind::NotFound, fault).with_hint("name the target of the job that rejected the rows")
            );
        }
        // The condition is wrong or right whether there is a row or not.
        Judge::new(&asker.own, &change, &Arc::new(optional(&rejects_table::SCHEMA)))?;
        return Ok(found);
    };
    let judge = Arc::new(Judge::new(&asker.own, &change, rejects.schema())?);
    found.counts.snapshot_id = rejects.snapshot_id();
    let (mut uris, mut tokens) = (BTreeSet::new(), BTreeSet::new());
    for file in rejects.files().await? {
        let mut of_file = BTreeSet::new();
        let mut rows = rejects.rows(&file);
        while let Some(batch) = rows.next().await {
            let batch = batch?;
            let fates = judge.fates(&batch)?;
            found.count(&fates);
            if fates.contains(&Fate::Taken) {
                let taken = only_taken(&batch, &fates)?;
                found.columns.extend(values(&taken, "columns")?);
                uris.extend(values(&taken, "uri")?);
                tokens.extend(values(&taken, rejects_table::TOKEN)?);
                of_file.extend(origins_of(&taken)?);
                found.bytes += bytes(&taken)?;
            }
        }
        for origin in of_file {
            found.origins.entry(origin).or_default().push(file.clone());
        }
    }
    found.files = uris.into_iter().map(|uri| PlannedFile { uri, size_bytes: 0, etag: None }).collect();
    found.mark.tokens = tokens.into_iter().collect();
    found.mark.rows = found.counts.replayed;
    found.counts.check()?;
    found.rows = Some((rejects, judge));
    Ok(found)
}

/// The source that says how the bytes are read.
///
/// # Errors
/// `InvalidSpec`: there is none.
pub(crate) fn source_of(spec: &JobSpec) -> Result<&Source, Fault> {
    spec.source.as_ref().ok_or_else(|| Fault::new(FaultKind::InvalidSpec, "a replay needs a source"))
}

fn optional(schema: &Schema) -> Schema {
    Schema::new(schema.fields().iter().map(|field| field.as_ref().clone().with_nullable(true)).collect::<Vec<_>>())
}

impl Found {
    fn count(&mut self, fates: &[Fate]) {
        let counts = &mut self.counts;
        for fate in fates {
            let of_fate = match fate {
                Fate::Stays | Fate::Goes | Fate::Opens => continue,
                Fate::Taken => &mut counts.replayed,
                Fate::Left(Why::Cut) => &mut counts.cut,
                Fate::Left(Why::WithoutBytes) => &mut counts.without_bytes,
                Fate::Left(Why::OtherFormat) => &mut counts.other_format,
            };
            *of_fate += 1;
            counts.matched += 1;
        }
    }

    /// The columns that the rejects are read as.
    ///
    /// # Errors
    /// `InvalidSpec`: neither the source nor the rejects say them.
    pub(crate) fn schema(&self, source: &Source) -> Result<InputSchema, Fault> {
        Ok(read::replay_schema(source, &self.columns, &self.files)?)
    }

    /// Data files of the table of rejects that are read, and the bytes of the rejects.
    pub(crate) fn size(&self) -> (u64, u64) {
        (self.origins.values().map(|files| files.len() as u64).sum(), self.bytes)
    }

    /// The taken rows of one job, as they are read again.
    pub(crate) fn rows_of(&self, origin: &str) -> BoxStream<'static, Result<RecordBatch, read::Error>> {
        let Some((rejects, judge)) = self.rows.clone() else { return futures::stream::empty().boxed() };
        let files = self.origins.get(origin).cloned().unwrap_or_default();
        let origin = origin.to_owned();
        let rows = futures::stream::iter(files).flat_map(move |file| rejects.rows(&file));
        // A fault of the table keeps its kind: whether a retry helps is said by it.
        rows.map(move |batch| raw_rows(&batch?, &judge, &origin)).map(|batch| batch.map_err(read::Error::rows)).boxed()
    }
}

fn raw_rows(batch: &RecordBatch, judge: &Judge, origin: &str) -> Result<RecordBatch, Fault> {
    let taken = only_taken(batch, &judge.fates(batch)?)?;
    let of_rows = origins(&taken)?;
    let own: BooleanArray = (0..taken.num_rows()).map(|row| Some(of_rows.value(row) == origin)).collect();
    let own = filtered(&taken, &own)?;
    let columns = read::raw_columns().iter().map(|name| column(&own, name)).collect::<Result<Vec<_>, _>>()?;
    let fields = read::raw_columns()
        .iter()
        .zip(&columns)
        .map(|(name, column)| arrow::datatypes::Field::new(*name, column.data_type().clone(), true));
    RecordBatch::try_new(Arc::new(Schema::new(fields.collect::<Vec<_>>())), columns).map_err(|error| broken(&error))
}

fn only_taken(batch: &RecordBatch, fates: &[Fate]) -> Result<RecordBatch, Fault> {
    filtered(batch, &fates.iter().map(|fate| Some(*fate == Fate::Taken)).collect())
}

fn filtered(batch: &RecordBatch, kept: &BooleanArray) -> Result<RecordBatch, Fault> {
    arrow::compute::filter_record_batch(batch, kept).map_err(|error| broken(&error))
}

fn broken(error: &(dyn std::error::Error + 'static)) -> Fault {
    Fault::new(FaultKind::Internal, "rejects cannot be read again").with_source(error)
}

fn values(batch: &RecordBatch, name: &str) -> Result<BTreeSet<String>, Fault> {
    let array = texts(batch, name)?;
    Ok(array.iter().flatten().map(str::to_owned).collect())
}

fn origins_of(batch: &RecordBatch) -> Result<BTreeSet<String>, Fault> {
    Ok(origins(batch)?.iter().flatten().map(str::to_owned).collect())
}

fn bytes(batch: &RecordBatch) -> Result<u64, Fault> {
    use arrow::array::AsArray as _;
    let raw = column(batch, "raw")?;
    let sum = raw.as_binary_opt::<i32>().map_or(0, |raw| raw.iter().flatten().map(<[u8]>::len).sum::<usize>());
    Ok(sum as u64)
}
