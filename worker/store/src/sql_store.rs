//! The job store in a SQL database.

use std::time::{Duration, SystemTime};

use async_trait::async_trait;
use moulin_core::{Fault, FaultKind, JobId, JobKey, JobState, Progress, Receipt, ReplayedFiles, Token};

use crate::database::{Database, Query, Row, Transaction, Tries, query};
use crate::row::{self, entry_from_row, job_from_row, json_from_row, micros, to_json};
use crate::{
    CancelOutcome, Claim, Error, JobFilter, JobPage, JobStore, Lease, LedgerEntry, MovedFiles, NewJob, Outcome,
    Renewed, StagedFile, StoredJob, Submitted, Which, sql, sql_loads,
};

/// Why an attempt is asked to stop when nobody cancelled it.
const DEADLINE_PASSED: &str = "the job's deadline passed";
/// How much longer a job with one point of priority less has to have waited to be claimed first.
const PRIORITY_WORTH: Duration = Duration::from_secs(60);
const PAGE_ROWS: u32 = 100;
const PAGE_ROWS_MOST: u32 = 1000;

pub(crate) struct SqlStore {
    pub(crate) database: Database,
    /// Where it is, without credentials.
    name: String,
}

impl SqlStore {
    /// The store in a database, whose schema is brought to this version in one transaction.
    pub(crate) async fn open(database: Database, name: String) -> Result<Self, Error> {
        let store = Self { database, name };
        let failed = || store.failed("prepare the schema");
        let mut transaction = store.database.begin_alone().await.map_err(failed())?;
        transaction.raw(sql::CREATE_SCHEMA_VERSION).await.map_err(failed())?;
        let row = transaction.row(query(sql::SCHEMA_VERSION)).await.map_err(failed())?;
        let found: i64 = row.map_or(0, |row| row.get("version"));
        for (version, &schema) in (1_i64..).zip(store.database.schema()) {
            if version > found {
                transaction.raw(schema).await.map_err(failed())?;
                let record = query(sql::RECORD_SCHEMA_VERSION).bind(version);
                transaction.execute(record).await.map_err(failed())?;
            }
        }
        let known = store.database.schema().len() as i64;
        if found > known {
            transaction.rollback().await.map_err(failed())?;
            return Err(Error::NewerSchema { store: store.name, found, known });
        }
        transaction.commit().await.map_err(failed())?;
        Ok(store)
    }

    pub(crate) fn failed(&self, action: &'static str) -> impl FnOnce(sqlx::Error) -> Error + use<> {
        let store = self.name.clone();
        move |source| Error::Database { action, store, source }
    }

    async fn row(&self, action: &'static str, query: Query) -> Result<Option<Row>, Error> {
        self.database.row(query).await.map_err(self.failed(action))
    }

    pub(crate) async fn rows(&self, action: &'static str, query: Query) -> Result<Vec<Row>, Error> {
        self.database.rows(query).await.map_err(self.failed(action))
    }

    pub(crate) async fn write(&self, action: &'static str, query: Query) -> Result<u64, Error> {
        self.database.execute(query).await.map_err(self.failed(action))
    }

    pub(crate) async fn begin(&self, action: &'static str) -> Result<Transaction, Error> {
        self.database.begin().await.map_err(self.failed(action))
    }

    async fn existing(&self, id: &JobId) -> Result<StoredJob, Error> {
        self.get(id).await?.ok_or_else(|| Error::NotFound { job_id: id.clone() })
    }
}

// Asks again what gave way to others as a whole.
macro_rules! again {
    ($transaction:expr) => {{
        let mut tries = Tries::default();
        loop {
            match $transaction.await {
                Err(Error::Database { source, .. }) if tries.again(&source).await => {}
                answer => break answer,
            }
        }
    }};
}
pub(crate) use again;

/// The transactions, each tried once.
impl SqlStore {
    async fn claim_once(
        &self,
        worker: &str,
        lease: Duration,
        which: Which<'_>,
        now: SystemTime,
    ) -> Result<Option<Claim>, Error> {
        const ACTION: &str = "claim a job";
        let bound = |statement: &'static str| {
            let query = query(statement).bind(worker).bind(micros(now + lease)).bind(micros(now));
            query.bind(which.job().map(|id| &id.0)).bind(which.pools())
        };
        if self.row(ACTION, bound(sql::SOME_CLAIMABLE)).await?.is_none() {
            return Ok(None);
        }
        let mut transaction = self.begin(ACTION).await?;
        let claim = bound(sql::CLAIM);
        let row = match transaction.row(claim).await {
            Ok(Some(row)) => row,
            none => {
                // Not left to the end of the transaction's value: until it is rolled back, whoever claims passes the
                // locked job by, and the next try is one of them.
                let rolled_back = transaction.rollback().await;
                none.and(rolled_back).map_err(self.failed(ACTION))?;
                return Ok(None);
            }
        };
        let job = job_from_row(&row)?;
        for statement in [sql::END_LOST_ATTEMPTS, sql::BEGIN_ATTEMPT] {
            let query = query(statement).bind(&job.id.0).bind(i64::from(job.attempt)).bind(micros(now)).bind(worker);
            transaction.execute(query).await.map_err(self.failed(ACTION))?;
        }
        transaction.commit().await.map_err(self.failed(ACTION))?;
        let lease = Lease { job_id: job.id.clone(), attempt: job.attempt, worker: worker.to_owned() };
        Ok(Some(Claim { lease, job }))
    }

    async fn release_once(&self, worker: &str, now: SystemTime) -> Result<u64, Error> {
        const ACTION: &str = "give back a worker's jobs";
        let mut transaction = self.begin(ACTION).await?;
        let jobs = query(sql::RELEASE_JOBS).bind(worker);
        let released = transaction.execute(jobs).await.map_err(self.failed(ACTION))?;
        let attempts = query(sql::RELEASE_ATTEMPTS).bind(worker).bind(micros(now));
        transaction.execute(attempts).await.map_err(self.failed(ACTION))?;
        transaction.commit().await.map_err(self.failed(ACTION))?;
        Ok(released)
    }

    // Whether the entry was written.
    async fn record_once(
        &self,
        lease: &Lease,
        entry: &LedgerEntry,
        moved: &MovedFiles,
        now: SystemTime,
    ) -> Result<bool, Error> {
        const ACTION: &str = "record a commit";
        let mut transaction = self.begin(ACTION).await?;
        let ledger = fenced(sql::RECORD_COMMIT, lease)
            .bind(&entry.token.0)
            .bind(&entry.table)
            .bind(entry.snapshot_id)
            .bind(&entry.metadata_location)
            .bind(i64::from(entry.attempt))
            .bind(&entry.job_id.0)
            .bind(micros(now));
        if transaction.execute(ledger).await.map_err(self.failed(ACTION))? == 0 {
            transaction.rollback().await.map_err(self.failed(ACTION))?;
            return Ok(false);
        }
        for replaced in &moved.replaced {
            let forget = query(sql::FORGET_REPLACED_FILES).bind(&replaced.0);
            transaction.execute(forget).await.map_err(self.failed(ACTION))?;
        }
        for ReplayedFiles { origin, locations } in &moved.replayed {
            for location in locations {
                let replayed = query(sql::RECORD_REPLAYED_FILES).bind(origin).bind(location);
                transaction.execute(replayed).await.map_err(self.failed(ACTION))?;
            }
        }
        let files = query(sql::RECORD_FILES).bind(&entry.token.0).bind(&entry.job_id.0).bind(i64::from(entry.attempt));
        transaction.execute(files).await.map_err(self.failed(ACTION))?;
        transaction.commit().await.map_err(self.failed(ACTION))?;
        Ok(true)
    }

    async fn finish_once(
        &self,
        lease: &Lease,
        ended: &Ended,
        outcome: &Outcome,
        now: SystemTime,
    ) -> Result<StoredJob, Error> {
        const ACTION: &str = "end an attempt";
        let mut transaction = self.begin(ACTION).await?;
        let finish = fenced(sql::FINISH, lease)
            .bind(ended.state.as_str())
            .bind(&ended.receipt)
            .bind(&ended.fault)
            .bind(ended.state.is_final().then(|| micros(now)))
            .bind(ended.not_before.map(micros))
            .bind(ended.failures);
        let Some(row) = transaction.row(finish).await.map_err(self.failed(ACTION))? else {
            transaction.rollback().await.map_err(self.failed(ACTION))?;
            // The same answer again, because the first one was lost on its way, is not a lost lease.
            let job = self.get(&lease.job_id).await?.ok_or_else(|| lost(lease))?;
            let said_already = ended.state.is_final()
                && job.state == ended.state
                && job.attempt == lease.attempt
                && job.worker_id.as_deref() == Some(&lease.worker);
            return if said_already { Ok(job) } else { Err(lost(lease)) };
        };
        let attempt = query(sql::END_ATTEMPT)
            .bind(&lease.job_id.0)
            .bind(i64::from(lease.attempt))
            .bind(ended.word)
            .bind(&ended.fault)
            .bind(micros(now));
        transaction.execute(attempt).await.map_err(self.failed(ACTION))?;
        sql_loads::settle(&mut transaction, lease, outcome, now).await.map_err(self.failed(ACTION))?;
        transaction.commit().await.map_err(self.failed(ACTION))?;
        job_from_row(&row)
    }
}

/// A statement whose first three values are the fence.
pub(crate) fn fenced(statement: &'static str, lease: &Lease) -> Query {
    query(statement).bind(&lease.job_id.0).bind(i64::from(lease.attempt)).bind(&lease.worker)
}

pub(crate) fn lost(lease: &Lease) -> Error {
    Error::LeaseLost { job_id: lease.job_id.clone(), attempt: lease.attempt, worker: lease.worker.clone() }
}

/// Where a job stands among those that wait: the smallest is claimed first. A point of priority is worth a fixed time of
/// waiting, so that jobs which are asked for together go by priority, and none waits for ever.
fn place(now: SystemTime, priority: i32) -> i64 {
    micros(now).saturating_sub(i64::from(priority) * PRIORITY_WORTH.as_micros() as i64)
}

fn holds(job: &StoredJob, lease: &Lease) -> bool {
    job.state == JobState::Running && job.attempt == lease.attempt && job.worker_id.as_deref() == Some(&lease.worker)
}

#[async_trait]
impl JobStore for SqlStore {
    async fn submit(&self, new: NewJob, now: SystemTime) -> Result<Submitted, Error> {
        const ACTION: &str = "store a job";
        let id = Token::new(&new.key, new.generation).job_id();
        let place = place(now, new.priority);
        let insert = query(sql::INSERT_JOB)
            .bind(&id.0)
            .bind(&new.key.dag_id)
            .bind(&new.key.run_id)
            .bind(&new.key.task_id)
            .bind(i64::from(new.key.map_index))
            .bind(i64::from(new.generation))
            .bind(i64::from(new.epoch))
            .bind(&new.table)
            .bind(&new.spec)
            .bind(micros(now))
            .bind(new.deadline.map(micros))
            .bind(i64::from(new.priority))
            .bind(&new.pool)
            .bind(place);
        let created = self.write(ACTION, insert).await? == 1;
        if !created {
            let take_over = query(sql::TAKE_OVER)
                .bind(&id.0)
                .bind(i64::from(new.epoch))
                .bind(&new.spec)
                .bind(&new.table)
                .bind(new.deadline.map(micros))
                .bind(i64::from(new.priority))
                .bind(&new.pool)
                .bind(place);
            self.write(ACTION, take_over).await?;
        }
        Ok(Submitted { job: self.existing(&id).await?, created })
    }

    async fn get(&self, id: &JobId) -> Result<Option<StoredJob>, Error> {
        let row = self.row("read a job", query(sql::GET_JOB).bind(&id.0)).await?;
        row.as_ref().map(job_from_row).transpose()
    }

    async fn generations(&self, key: &JobKey) -> Result<Vec<StoredJob>, Error> {
        let query = query(sql::GENERATIONS)
            .bind(&key.dag_id)
            .bind(&key.run_id)
            .bind(&key.task_id)
            .bind(i64::from(key.map_index));
        self.rows("list the generations of a job", query).await?.iter().map(job_from_row).collect()
    }

    async fn list(&self, filter: &JobFilter) -> Result<JobPage, Error> {
        let before: i64 = match &filter.page_token {
            None => i64::MAX,
            Some(token) => token.parse().map_err(|_| Error::PageToken { token: token.clone() })?,
        };
        let page_rows = match filter.page_size {
            0 => PAGE_ROWS,
            asked => asked.min(PAGE_ROWS_MOST),
        };
        let mut states = filter.states.iter().map(|state| format!(",{state}")).collect::<String>();
        if !states.is_empty() {
            states.push(',');
        }
        let query = query(sql::LIST_JOBS)
            .bind(states)
            .bind(&filter.dag_id)
            .bind(&filter.table)
            .bind(before)
            .bind(i64::from(page_rows) + 1); // one more, to know whether there is a next page
        let mut rows = self.rows("list jobs", query).await?;
        let more = rows.len() > page_rows as usize;
        rows.truncate(page_rows as usize);
        let next_page_token = rows.last().filter(|_| more).map(|last| last.get::<i64>("seq").to_string());
        Ok(JobPage { jobs: rows.iter().map(job_from_row).collect::<Result<_, _>>()?, next_page_token })
    }

    async fn claim(
        &self,
        worker: &str,
        lease: Duration,
        which: Which<'_>,
        now: SystemTime,
    ) -> Result<Option<Claim>, Error> {
        again!(self.claim_once(worker, lease, which, now))
    }

    async fn renew(
        &self,
        lease: &Lease,
        lease_for: Duration,
        progress: &Progress,
        now: SystemTime,
    ) -> Result<Renewed, Error> {
        let query = fenced(sql::RENEW, lease).bind(micros(now + lease_for)).bind(to_json("progress", progress)?);
        let row = self.row("renew a lease", query).await?.ok_or_else(|| lost(lease))?;
        let deadline: Option<i64> = row.get("deadline");
        let deadline_passed = deadline.is_some_and(|deadline| deadline <= micros(now));
        let cancel: Option<String> = row.get("cancel_reason");
        Ok(Renewed { cancel: cancel.or_else(|| deadline_passed.then(|| DEADLINE_PASSED.to_owned())), deadline_passed })
    }

    async fn release_worker(&self, worker: &str, now: SystemTime) -> Result<u64, Error> {
        again!(self.release_once(worker, now))
    }

    async fn stage_file_of(&self, lease: &Lease, attempt: u32, uri: &str, now: SystemTime) -> Result<(), Error> {
        let query = fenced(sql::STAGE_FILE, lease).bind(uri).bind(micros(now)).bind(i64::from(attempt));
        match self.write("name a data file", query).await? {
            0 => Err(lost(lease)),
            _ => Ok(()),
        }
    }

    async fn unstage_file(&self, id: &JobId, uri: &str) -> Result<(), Error> {
        self.write("forget a staged file", query(sql::UNSTAGE_FILE).bind(&id.0).bind(uri)).await.map(drop)
    }

    async fn staged_files(&self, id: &JobId) -> Result<Vec<StagedFile>, Error> {
        let query = query(sql::STAGED_FILES).bind(&id.0);
        let rows = self.rows("list staged files", query).await?;
        rows.iter()
            .map(|row| Ok(StagedFile { attempt: row::count("attempt", row.get("attempt"))?, uri: row.get("uri") }))
            .collect()
    }

    async fn forget_staged(&self, id: &JobId, attempts_before: u32) -> Result<(), Error> {
        let query = query(sql::FORGET_STAGED).bind(&id.0).bind(i64::from(attempts_before));
        self.write("forget staged files", query).await.map(|_| ())
    }

    async fn record_intent(&self, lease: &Lease, receipt: &Receipt, now: SystemTime) -> Result<(), Error> {
        let query = fenced(sql::RECORD_INTENT, lease).bind(to_json("receipt", receipt)?).bind(micros(now));
        if self.write("record an intended commit", query).await? == 1 {
            return Ok(());
        }
        let job = self.get(&lease.job_id).await?.ok_or_else(|| lost(lease))?;
        if !holds(&job, lease) {
            return Err(lost(lease));
        }
        let deadline_passed = job.deadline.is_some_and(|deadline| deadline <= now);
        Err(Error::Stopped { reason: job.cancel_requested.unwrap_or_else(|| DEADLINE_PASSED.into()), deadline_passed })
    }

    async fn intent(&self, id: &JobId, attempt: u32) -> Result<Option<Receipt>, Error> {
        let query = query(sql::INTENT).bind(&id.0).bind(i64::from(attempt));
        match self.row("read an intended commit", query).await? {
            Some(row) => json_from_row(&row, "intent"),
            None => Ok(None),
        }
    }

    async fn record_commit_of(
        &self,
        lease: &Lease,
        entry: &LedgerEntry,
        moved: &MovedFiles,
        now: SystemTime,
    ) -> Result<(), Error> {
        if again!(self.record_once(lease, entry, moved, now))? {
            return Ok(());
        }
        // Nothing was written: the commit stands there already, or the lease is lost.
        match self.ledger(&entry.token).await? {
            None => Err(lost(lease)),
            Some(recorded) if recorded.snapshot_id == entry.snapshot_id => Ok(()),
            Some(recorded) => Err(Error::LedgerConflict {
                token: entry.token.clone(),
                recorded: recorded.snapshot_id,
                offered: entry.snapshot_id,
            }),
        }
    }

    async fn ledger(&self, token: &Token) -> Result<Option<LedgerEntry>, Error> {
        let row = self.row("read the ledger", query(sql::LEDGER).bind(&token.0)).await?;
        row.as_ref().map(entry_from_row).transpose()
    }

    async fn commit_before(&self, key: &JobKey, generation: u32) -> Result<Option<LedgerEntry>, Error> {
        let query = query(sql::COMMIT_BEFORE)
            .bind(&key.dag_id)
            .bind(&key.run_id)
            .bind(&key.task_id)
            .bind(i64::from(key.map_index))
            .bind(i64::from(generation));
        let row = self.row("look for an earlier generation", query).await?;
        row.as_ref().map(entry_from_row).transpose()
    }

    async fn committed_files(&self, token: &Token) -> Result<Vec<String>, Error> {
        let rows = self.rows("list the files of a commit", query(sql::COMMITTED_FILES).bind(&token.0)).await?;
        Ok(rows.iter().map(|row| row.get("uri")).collect())
    }

    async fn finish(&self, lease: &Lease, outcome: Outcome, now: SystemTime) -> Result<StoredJob, Error> {
        let ended = Ended::from(&outcome)?;
        again!(self.finish_once(lease, &ended, &outcome, now))
    }

    async fn cancel(&self, id: &JobId, epoch: u32, reason: &str, now: SystemTime) -> Result<CancelOutcome, Error> {
        let fault = Fault::new(FaultKind::Cancelled, format!("cancelled before it began: {reason}"));
        let query = query(sql::CANCEL)
            .bind(&id.0)
            .bind(i64::from(epoch))
            .bind(reason)
            .bind(to_json("fault", &fault)?)
            .bind(micros(now));
        if let Some(row) = self.row("cancel a job", query).await? {
            let job = job_from_row(&row)?;
            return Ok(match job.state {
                JobState::Cancelled => CancelOutcome::Cancelled(job),
                _ => CancelOutcome::Requested(job),
            });
        }
        // Neither a final state nor a newer epoch ever goes away, so the reason can be looked up afterwards.
        let job = self.existing(id).await?;
        Ok(if job.epoch > epoch { CancelOutcome::StaleEpoch { current: job.epoch } } else { CancelOutcome::Final(job) })
    }

    async fn expire_deadlines(&self, now: SystemTime) -> Result<Vec<JobId>, Error> {
        const ACTION: &str = "look for passed deadlines";
        if self.row(ACTION, query(sql::SOME_EXPIRED).bind(micros(now))).await?.is_none() {
            return Ok(vec![]);
        }
        let fault = Fault::new(FaultKind::DeadlineExceeded, "the job's deadline passed before a worker began it");
        let unbegun = query(sql::EXPIRE_UNBEGUN).bind(micros(now)).bind(to_json("fault", &fault)?);
        let begun = query(sql::EXPIRE_BEGUN).bind(micros(now)).bind(DEADLINE_PASSED);
        let mut rows = self.rows(ACTION, unbegun).await?;
        rows.extend(self.rows(ACTION, begun).await?);
        Ok(rows.iter().map(|row| JobId(row.get("job_id"))).collect())
    }

    async fn queued(&self) -> Result<u64, Error> {
        let row = self.row("count queued jobs", query(sql::COUNT_OPEN)).await?;
        Ok(row.map_or(0, |row| row.get::<i64>("queued")).unsigned_abs())
    }

    async fn check(&self) -> Result<String, Error> {
        const ACTION: &str = "write";
        let mut transaction = self.begin(ACTION).await?;
        let counts = transaction.row(query(sql::COUNT_OPEN)).await.map_err(self.failed(ACTION))?;
        let (queued, running): (i64, i64) =
            counts.map_or((0, 0), |counts| (counts.get("queued"), counts.get("running")));
        // Taking SQLite's write lock does not notice a file system that is read-only; touching a page does.
        transaction.raw("UPDATE schema_version SET version = version").await.map_err(self.failed(ACTION))?;
        transaction.rollback().await.map_err(self.failed(ACTION))?;
        let (kind, version) = (self.database.name(), self.database.schema().len());
        Ok(format!("{kind} {} (schema {version}), {queued} jobs queued, {running} running", self.name))
    }
}

/// An outcome as columns.
struct Ended {
    state: JobState,
    word: &'static str,
    receipt: Option<String>,
    fault: Option<String>,
    not_before: Option<SystemTime>,
    failures: i64,
}

impl Ended {
    fn from(outcome: &Outcome) -> Result<Self, Error> {
        let (state, receipt, fault, not_before) = match outcome {
            Outcome::Succeeded(receipt) => (JobState::Succeeded, Some(receipt), None, None),
            Outcome::Failed(fault) => (JobState::Failed, None, Some(fault), None),
            Outcome::Cancelled(fault) => (JobState::Cancelled, None, Some(fault), None),
            Outcome::Again { fault, not_before } | Outcome::Later { fault, not_before } => {
                (JobState::Queued, None, Some(fault), Some(*not_before))
            }
        };
        Ok(Self {
            state,
            word: if state.is_final() { state.as_str() } else { "again" },
            receipt: receipt.map(|receipt| to_json("receipt", receipt)).transpose()?,
            fault: fault.map(|fault| to_json("fault", fault)).transpose()?,
            not_before,
            failures: i64::from(matches!(outcome, Outcome::Again { .. })),
        })
    }
}
