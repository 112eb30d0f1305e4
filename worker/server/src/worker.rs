//! One worker: what all its jobs share.

use std::collections::HashMap;
use std::fs::{self, File, TryLockError};
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::SystemTime;

use moulin_core::{Counters, Fault, FaultKind, Job, JobId, JobState, without_secrets};
use moulin_engine::stream::Tap;
use moulin_lake::Lake;
use moulin_read::fetch::Fetcher;
use moulin_store::{JobStore, LiveWorker, StoredJob};
use tokio::sync::{Semaphore, watch};

use crate::config::Config;
use crate::job::presence;
use crate::spill::SpillFolder;

/// What all jobs of a worker share. Everything in it can be used from many tasks at once.
pub(crate) struct Worker {
    pub(crate) id: String,
    pub(crate) config: Config,
    pub(crate) fetcher: Fetcher,
    pub(crate) lake: Lake,
    pub(crate) store: Arc<dyn JobStore>,
    pub(crate) started_at: SystemTime,
    pub(crate) spill: SpillFolder,
    /// One permit for each query that may run.
    pub(crate) queries: Arc<Semaphore>,
    draining: AtomicBool,
    running: Mutex<HashMap<JobId, Running>>,
    /// Who claims jobs, as it was last seen; `None`: nobody has looked yet.
    live_workers: Mutex<Option<Vec<LiveWorker>>>,
    changes: watch::Sender<u64>,
    _lock: Option<File>,
}

/// A job that runs in this process.
#[derive(Clone)]
pub(crate) struct Running {
    pub(crate) counters: Arc<Counters>,
    /// Absent until the schema of the rows is known.
    pub(crate) tap: Option<Arc<Tap>>,
    /// The rejects; absent when the job does not keep them.
    pub(crate) rejects: Option<Arc<Tap>>,
}

impl Worker {
    /// Opens job store, catalog and stores.
    ///
    /// `name` is the worker's own name; `None`: the one kept in the state folder, which this process then locks, so that
    /// jobs of an earlier process of that name are known to be dead and begin again at once.
    ///
    /// # Errors
    /// Whatever does not open, named.
    pub(crate) async fn open(config: Config, name: Option<String>) -> Result<Arc<Self>, Fault> {
        fs::create_dir_all(&config.state_dir).map_err(|e| cannot_use(&config.state_dir, &e))?;
        let (id, lock) = match name {
            Some(name) => (name, None),
            None => {
                let lock = lock(&config.state_dir)?;
                (own_name(&config)?, Some(lock))
            }
        };
        let store = moulin_store::open(&config.store_url)
            .await
            .map_err(|e| does_not_open(e.into(), "job store", &config.store_url))?;
        let lake = Lake::open(&config.catalog, &config.storage)
            .await
            .map_err(|e| does_not_open(e.into(), "catalog", &config.catalog.uri))?;
        let fetcher = Fetcher::new(&config.storage)?;
        let spill = SpillFolder::open(&config.state_dir).map_err(|e| cannot_use(&config.state_dir, &e))?;
        if lock.is_some() {
            let freed = store.release_worker(&id, SystemTime::now()).await?;
            if freed > 0 {
                tracing::info!(jobs = freed, "jobs of an earlier process begin again");
            }
        }
        Ok(Arc::new(Self {
            queries: Arc::new(Semaphore::new(config.job.slots)),
            id,
            config,
            fetcher,
            lake,
            store,
            spill,
            started_at: SystemTime::now(),
            draining: AtomicBool::new(false),
            running: Mutex::default(),
            live_workers: Mutex::default(),
            changes: watch::channel(0).0,
            _lock: lock,
        }))
    }

    /// Claims no more jobs from now on.
    pub(crate) fn drain(&self) {
        self.draining.store(true, Ordering::SeqCst);
        self.changed();
    }

    pub(crate) fn is_draining(&self) -> bool {
        self.draining.load(Ordering::SeqCst)
    }

    /// Wakes everybody who waits for news of jobs.
    pub(crate) fn changed(&self) {
        self.changes.send_modify(|version| *version += 1);
    }

    /// News of any job of this process, for `changed().await`.
    pub(crate) fn changes(&self) -> watch::Receiver<u64> {
        self.changes.subscribe()
    }

    fn table(&self) -> MutexGuard<'_, HashMap<JobId, Running>> {
        self.running.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Keeps who claims jobs now.
    pub(crate) fn others_seen(&self, live: Vec<LiveWorker>) {
        *self.live_workers.lock().unwrap_or_else(PoisonError::into_inner) = Some(live);
    }

    pub(crate) fn enter(&self, id: &JobId, counters: Arc<Counters>) {
        self.table().insert(id.clone(), Running { counters, tap: None, rejects: None });
        self.changed();
    }

    pub(crate) fn open_tap(&self, id: &JobId, tap: Arc<Tap>) {
        if let Some(running) = self.table().get_mut(id) {
            running.tap = Some(tap);
        }
        self.changed();
    }

    pub(crate) fn open_rejects(&self, id: &JobId, tap: Arc<Tap>) {
        if let Some(running) = self.table().get_mut(id) {
            running.rejects = Some(tap);
        }
        self.changed();
    }

    pub(crate) fn leave(&self, id: &JobId) {
        self.table().remove(id);
        self.changed();
    }

    pub(crate) fn running(&self, id: &JobId) -> Option<Running> {
        self.table().get(id).cloned()
    }

    pub(crate) fn running_count(&self) -> usize {
        self.table().len()
    }

    /// A job as it stands, with live figures when it runs here.
    pub(crate) async fn job(&self, id: &JobId) -> Result<Job, Fault> {
        Ok(self.live(self.stored(id).await?))
    }

    /// A job as it stands in the store.
    pub(crate) async fn stored(&self, id: &JobId) -> Result<StoredJob, Fault> {
        self.store.get(id).await?.ok_or_else(|| {
            Fault::new(FaultKind::NotFound, format!("no job {id}"))
                .with_hint("`moulin list` shows the jobs of this worker's store")
        })
    }

    /// Adds live figures to a stored job.
    pub(crate) fn live(&self, stored: StoredJob) -> Job {
        let mut job = view(stored);
        if !job.state.is_final()
            && let Some(running) = self.running(&job.id)
        {
            job.progress = running.counters.snapshot();
        }
        job.waiting = self.waiting(&job);
        job
    }

    /// Why a job is not begun although workers may have slots free; empty: it waits its turn, or it is not queued.
    pub(crate) fn waiting(&self, job: &Job) -> String {
        match &*self.live_workers.lock().unwrap_or_else(PoisonError::into_inner) {
            Some(live) if job.state == JobState::Queued => presence::waiting(live, &job.pool),
            _ => String::new(),
        }
    }
}

/// A stored job as those see it who watch it.
pub(crate) fn view(stored: StoredJob) -> Job {
    Job {
        id: stored.id,
        key: stored.key,
        generation: stored.generation,
        epoch: stored.epoch,
        state: stored.state,
        attempt: stored.attempt,
        worker_id: stored.worker_id.unwrap_or_default(),
        table: stored.table,
        submitted_at: stored.submitted_at,
        started_at: stored.started_at,
        finished_at: stored.finished_at,
        progress: stored.progress,
        receipt: stored.receipt,
        fault: stored.fault,
        priority: stored.priority,
        pool: stored.pool,
        waiting: String::new(),
    }
}

/// The fault, with the thing that did not open in front of it.
pub(crate) fn does_not_open(mut fault: Fault, what: &str, url: &str) -> Fault {
    let before = std::mem::replace(&mut fault.message, format!("the {what} {} does not open", without_secrets(url)));
    fault.causes.insert(0, before);
    match fault.kind {
        FaultKind::PermissionDenied => {
            "give the worker credentials that are taken there; docs/configuration.md says where they may stand"
        }
        FaultKind::Unavailable => "is the server up, and is the address right as seen from this machine?",
        FaultKind::NotFound => "make the database or the warehouse first, or correct its name",
        _ => "check the url and that this user may read and write there; docs/configuration.md lists the keys",
    }
    .clone_into(&mut fault.hint);
    fault
}

pub(crate) fn cannot_use(path: &Path, error: &std::io::Error) -> Fault {
    Fault::new(FaultKind::PermissionDenied, format!("cannot use {}: {error}", path.display()))
        .with_hint("set MOULIN_STATE_DIR (or state_dir) to a folder the worker may write")
}

fn own_name(config: &Config) -> Result<String, Fault> {
    if let Some(id) = &config.worker_id {
        return Ok(id.clone());
    }
    let path = config.state_dir.join("worker_id");
    if let Ok(id) = fs::read_to_string(&path)
        && !id.trim().is_empty()
    {
        return Ok(id.trim().to_owned());
    }
    let id = format!("worker-{}", &uuid::Uuid::new_v4().simple().to_string()[..8]);
    fs::write(&path, &id).map_err(|e| cannot_use(&path, &e))?;
    Ok(id)
}

/// Takes the lock of the state folder; the system gives it back when the process ends, however it ends.
fn lock(state_dir: &Path) -> Result<File, Fault> {
    let path = state_dir.join("worker.lock");
    let file =
        File::options().create(true).truncate(false).write(true).open(&path).map_err(|e| cannot_use(&path, &e))?;
    match file.try_lock() {
        Ok(()) => Ok(file),
        Err(TryLockError::WouldBlock) => {
            Err(Fault::new(FaultKind::InvalidSpec, format!("another worker runs in {}", state_dir.display()))
                .with_hint("stop it, or give this one a folder of its own with MOULIN_STATE_DIR"))
        }
        Err(TryLockError::Error(error)) => Err(cannot_use(&path, &error)),
    }
}
