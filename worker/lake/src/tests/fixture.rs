//! A lake in a temporary folder, and short ways to say what a test needs.

use std::sync::{Arc, Mutex};

use arrow::array::{ArrayRef, Int64Array, RecordBatch};
use arrow::compute::concat_batches;
use arrow::datatypes::SchemaRef;
use futures::TryStreamExt as _;
use moulin_core::{Contract, ContractMode, Counters, JobKey, Landing, StorageSettings, TableName, Token};

use crate::{CatalogSettings, Commit, Committed, Error, Lake, Landed, StageFile, Target, WriteOptions};

/// A folder with a catalog and a warehouse, gone with the value.
pub(crate) struct Place {
    pub(crate) folder: tempfile::TempDir,
    /// Of a catalog that is not in the folder.
    uri: Option<String>,
}

impl Place {
    pub(crate) fn new() -> Self {
        Self { folder: tempfile::tempdir().unwrap(), uri: None }
    }

    /// The catalog in a SQLite file.
    #[allow(clippy::unused_async, reason = "made like the one that has to wait for a server")]
    pub(crate) async fn on_sqlite() -> Self {
        Self::new()
    }

    /// The catalog in an empty schema of a real PostgreSQL server.
    pub(crate) async fn on_postgres() -> Self {
        Self { uri: Some(moulin_testkit::postgres_schema().await), ..Self::new() }
    }

    pub(crate) fn settings(&self) -> CatalogSettings {
        let folder = self.folder.path().display();
        CatalogSettings {
            name: "moulin".into(),
            uri: self.uri.clone().unwrap_or_else(|| format!("sqlite://{folder}/catalog.db")),
            warehouse: format!("file://{folder}/warehouse"),
            rest: Default::default(),
        }
    }

    pub(crate) async fn lake(&self) -> Lake {
        Lake::open(&self.settings(), &StorageSettings::default()).await.unwrap()
    }

    /// Every file of the warehouse whose name ends so.
    pub(crate) fn files(&self, end: &str) -> Vec<String> {
        fn walk(folder: &std::path::Path, end: &str, found: &mut Vec<String>) {
            for entry in std::fs::read_dir(folder).unwrap() {
                let path = entry.unwrap().path();
                if path.is_dir() {
                    walk(&path, end, found);
                } else if path.to_string_lossy().ends_with(end) {
                    found.push(path.display().to_string());
                }
            }
        }
        let mut found = Vec::new();
        walk(self.folder.path(), end, &mut found);
        found.sort();
        found
    }
}

/// A contract that lets nothing change.
pub(crate) const FROZEN: Contract =
    Contract { tables: ContractMode::Freeze, columns: ContractMode::Freeze, types: ContractMode::Freeze };

pub(crate) fn table() -> TableName {
    "bronze.t".parse().unwrap()
}

pub(crate) fn landing(partition_by: &[&str], properties: &[(&str, &str)]) -> Landing {
    Landing {
        partition_by: partition_by.iter().map(|text| text.parse().unwrap()).collect(),
        properties: properties.iter().map(|(n, v)| ((*n).to_owned(), (*v).to_owned())).collect(),
        ..Landing::new(table())
    }
}

pub(crate) fn token(name: &str) -> Token {
    let key = JobKey { dag_id: "d".into(), run_id: "r".into(), task_id: name.into(), map_index: -1 };
    Token::new(&key, 0)
}

pub(crate) fn options(name: &str, threads: usize) -> WriteOptions {
    let stage: StageFile = Arc::new(|_| Box::pin(async { Ok(()) }));
    WriteOptions {
        job_id: token(name).job_id(),
        attempt: 1,
        threads,
        counters: Arc::new(Counters::default()),
        stage,
        spill_dir: std::env::temp_dir(),
    }
}

/// Options that note every file they were told of.
pub(crate) fn noting(name: &str, threads: usize) -> (WriteOptions, Arc<Mutex<Vec<String>>>) {
    let staged = Arc::new(Mutex::new(Vec::new()));
    let notes = staged.clone();
    let stage: StageFile = Arc::new(move |location| {
        let path = location.strip_prefix("file://").unwrap();
        assert!(!std::path::Path::new(path).exists(), "{location} was there before it was announced");
        notes.lock().unwrap().push(location);
        Box::pin(async { Ok(()) })
    });
    (WriteOptions { stage, ..options(name, threads) }, staged)
}

pub(crate) fn numbers(values: impl IntoIterator<Item = i64>) -> RecordBatch {
    let column: ArrayRef = Arc::new(values.into_iter().collect::<Int64Array>());
    RecordBatch::try_from_iter_with_nullable([("n", column, true)]).unwrap()
}

pub(crate) async fn write(
    lake: &Lake,
    target: &Target,
    options: WriteOptions,
    batches: &[RecordBatch],
) -> Result<Landed, Error> {
    let mut writer = lake.writer(target, options);
    for batch in batches {
        writer.write(batch.clone()).await?;
    }
    writer.finish().await
}

pub(crate) fn commit(name: &str, added: Landed) -> Commit {
    let mut commit = Commit::new(token(name), 1, added);
    commit.summary.insert("moulin.dag".into(), "d".into());
    commit
}

/// Lands batches in one commit of a job with this name.
pub(crate) async fn land(
    lake: &Lake,
    landing: &Landing,
    name: &str,
    batches: &[RecordBatch],
) -> Result<Committed, Error> {
    let target = lake.target(landing, &batches[0].schema()).await?;
    let landed = write(lake, &target, options(name, 2), batches).await?;
    lake.commit(&target, commit(name, landed)).await
}

/// The rows a snapshot added, in one batch.
pub(crate) async fn added(lake: &Lake, snapshot_id: i64) -> RecordBatch {
    let (schema, stream) = lake.added_by(&table(), snapshot_id, None).await.unwrap();
    let batches: Vec<RecordBatch> = stream.try_collect().await.unwrap();
    let batches = batches.iter().map(|b| with_schema(b, &schema)).collect::<Vec<_>>();
    concat_batches(&schema, &batches).unwrap()
}

fn with_schema(batch: &RecordBatch, schema: &SchemaRef) -> RecordBatch {
    RecordBatch::try_new(schema.clone(), batch.columns().to_vec()).unwrap()
}

/// The numbers in column `n`, sorted.
pub(crate) fn sorted(batch: &RecordBatch) -> Vec<i64> {
    let column = batch.column_by_name("n").unwrap().as_any().downcast_ref::<Int64Array>().unwrap();
    let mut values: Vec<i64> = column.iter().flatten().collect();
    values.sort_unstable();
    values
}

/// How many files below `folder` this process has open, also those that have no name any more.
pub(crate) fn open_files(folder: &std::path::Path) -> usize {
    let open = std::fs::read_dir("/proc/self/fd").unwrap();
    open.filter(|fd| std::fs::read_link(fd.as_ref().unwrap().path()).is_ok_and(|to| to.starts_with(folder))).count()
}
