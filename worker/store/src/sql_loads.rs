//! The load ledger in a SQL database.

use std::collections::HashMap;
use std::time::SystemTime;

use async_trait::async_trait;
use moulin_core::{JobId, PlannedFile, Receipt};

use crate::database::{Query, Row, Transaction, Tries, Value, query};
use crate::loads::{Claimed, FileLoad, LoadFilter, LoadLedger, LoadState, Wanted};
use crate::row::{count, micros, time_of, unreadable};
use crate::sql_store::{SqlStore, again, fenced, lost};
use crate::{Error, Lease, Outcome, sql};

/// Files of one statement; SQLite takes at most 32,766 values in one.
const FILES_TOGETHER: usize = 1000;
const PAGE_ROWS: u32 = 1000;

#[async_trait]
impl LoadLedger for SqlStore {
    async fn claim_files(&self, lease: &Lease, wanted: &Wanted, now: SystemTime) -> Result<Claimed, Error> {
        again!(self.claim_files_once(lease, wanted, now))
    }

    async fn loads_in_the_way(&self, wanted: &Wanted) -> Result<Vec<FileLoad>, Error> {
        let mut found = InTheWay::new(wanted, None);
        for part in wanted.files.chunks(FILES_TOGETHER) {
            found.add(&self.rows("look for loaded files", open_loads(wanted, part)).await?)?;
        }
        Ok(found.into_loads())
    }

    async fn release_files(&self, lease: &Lease, uris: &[String], reason: &str, now: SystemTime) -> Result<(), Error> {
        again!(self.release_files_once(lease, uris, reason, now))
    }

    async fn name_table(&self, lease: &Lease, table_uuid: &str) -> Result<(), Error> {
        again!(self.name_table_once(lease, table_uuid))
    }

    async fn file_loads(&self, filter: &LoadFilter) -> Result<Vec<FileLoad>, Error> {
        let mut wanted = query(sql::FILE_LOADS).text(" WHERE 1 = 1");
        if let Some(table) = &filter.table {
            wanted = wanted.text(" AND table_name = ").value(table);
        }
        if let Some(uri) = &filter.uri {
            wanted = wanted.text(" AND uri = ").value(uri);
        }
        if let Some(after) = &filter.after {
            let (table, uri, job_id, attempt) = after.parts();
            let place: [Value; 4] = [table.into(), uri.into(), job_id.into(), attempt.into()];
            wanted = wanted.text(" AND (table_name, uri, job_id, attempt) > ").list(place);
        }
        let rows = if filter.page_size == 0 { PAGE_ROWS } else { filter.page_size };
        let wanted = wanted.text(" ORDER BY table_name, uri, job_id, attempt LIMIT ").value(i64::from(rows));
        self.rows("list loaded files", wanted).await?.iter().map(load_from_row).collect()
    }
}

/// The transactions, each tried once.
impl SqlStore {
    /// A transaction of an attempt that holds its lease, and will hold it until the transaction ends.
    async fn begin_held(&self, action: &'static str, lease: &Lease, table: Option<&str>) -> Result<Transaction, Error> {
        let mut transaction = self.begin(action).await?;
        if let Some(table) = table {
            transaction.row(query(sql::HOLD_TABLE).bind(table)).await.map_err(self.failed(action))?;
        }
        if transaction.execute(fenced(sql::HOLD_LEASE, lease)).await.map_err(self.failed(action))? == 0 {
            transaction.rollback().await.map_err(self.failed(action))?;
            return Err(lost(lease));
        }
        Ok(transaction)
    }

    async fn claim_files_once(&self, lease: &Lease, wanted: &Wanted, now: SystemTime) -> Result<Claimed, Error> {
        const ACTION: &str = "claim files";
        let failed = || self.failed(ACTION);
        let mut transaction = self.begin_held(ACTION, lease, Some(&wanted.table)).await?;
        let mut found = InTheWay::new(wanted, Some(&lease.job_id));
        for part in wanted.files.chunks(FILES_TOGETHER) {
            found.add(&transaction.rows(open_loads(wanted, part)).await.map_err(failed())?)?;
        }
        let in_the_way = found.into_loads();
        if let Some(busy) = in_the_way.iter().find(|load| load.state == LoadState::Claimed) {
            let by = Box::new(busy.clone());
            transaction.rollback().await.map_err(failed())?;
            return Ok(Claimed::Busy { by });
        }
        let loaded = if wanted.reload { Vec::new() } else { in_the_way };
        let known: HashMap<&str, &FileLoad> = loaded.iter().map(|load| (load.file.uri.as_str(), load)).collect();
        let free: Vec<&PlannedFile> = wanted.files.iter().filter(|f| !known.contains_key(f.uri.as_str())).collect();
        transaction.execute(fenced(sql::FORGET_RELEASED, lease)).await.map_err(failed())?;
        for files in free.chunks(FILES_TOGETHER) {
            transaction.execute(insert(lease, wanted, files, now)).await.map_err(failed())?;
        }
        for ((holder, attempt), uris) in by_holder(&loaded) {
            for uris in uris.chunks(FILES_TOGETHER) {
                let mark = mark_skipped(lease, &wanted.table, holder, attempt, uris, now);
                transaction.execute(mark).await.map_err(failed())?;
            }
        }
        let loaded =
            wanted.files.iter().filter_map(|f| known.get(f.uri.as_str()).map(|load| (*load).clone())).collect();
        transaction.commit().await.map_err(failed())?;
        Ok(Claimed::Files { loaded })
    }

    async fn release_files_once(
        &self,
        lease: &Lease,
        uris: &[String],
        reason: &str,
        now: SystemTime,
    ) -> Result<(), Error> {
        const ACTION: &str = "release files";
        let mut transaction = self.begin_held(ACTION, lease, None).await?;
        for uris in uris.chunks(FILES_TOGETHER) {
            let release = query("UPDATE file_loads SET state = 'released', reason = ").value(reason);
            let release = release.text(", settled_at = ").value(micros(now));
            let release = release.text(" WHERE job_id = ").value(&lease.job_id.0);
            let release = release.text(" AND attempt = ").value(i64::from(lease.attempt));
            let release = release.text(" AND uri IN ").list(uris);
            transaction.execute(release).await.map_err(self.failed(ACTION))?;
        }
        transaction.commit().await.map_err(self.failed(ACTION))
    }

    async fn name_table_once(&self, lease: &Lease, table_uuid: &str) -> Result<(), Error> {
        const ACTION: &str = "name the table of files";
        let mut transaction = self.begin_held(ACTION, lease, None).await?;
        let name = fenced(sql::NAME_TABLE, lease).bind(table_uuid);
        transaction.execute(name).await.map_err(self.failed(ACTION))?;
        transaction.commit().await.map_err(self.failed(ACTION))
    }
}

/// Claims and loads of other jobs of the very files that are wanted: of each file the one that says most.
struct InTheWay<'a> {
    wanted: &'a Wanted,
    files: HashMap<&'a str, &'a PlannedFile>,
    key: String,
    own: Option<&'a JobId>,
    found: HashMap<String, FileLoad>,
}

impl<'a> InTheWay<'a> {
    fn new(wanted: &'a Wanted, own: Option<&'a JobId>) -> Self {
        let files = wanted.files.iter().map(|file| (file.uri.as_str(), file)).collect();
        Self { wanted, files, key: wanted.key.to_string(), own, found: HashMap::new() }
    }

    fn add(&mut self, rows: &[Row]) -> Result<(), Error> {
        for row in rows {
            let load = load_from_row(row)?;
            if !self.counts(&load) {
                continue;
            }
            // A claim that is still open says most, then the newest.
            let weight = |load: &FileLoad| (load.state == LoadState::Claimed, load.claimed_at, load.generation);
            if self.found.get(&load.file.uri).is_none_or(|before| weight(before) < weight(&load)) {
                self.found.insert(load.file.uri.clone(), load);
            }
        }
        Ok(())
    }

    fn counts(&self, load: &FileLoad) -> bool {
        let wanted = self.wanted;
        let same = self.files.get(load.file.uri.as_str()).is_some_and(|file| is_same(file, &load.file));
        if !same || self.own == Some(&load.job_id) {
            return false;
        }
        if load.state == LoadState::Claimed {
            return !wanted.reload;
        }
        let earlier = load.key == self.key && load.generation < wanted.generation;
        !earlier && wanted.table_uuid.is_some() && load.table_uuid == wanted.table_uuid
    }

    fn into_loads(self) -> Vec<FileLoad> {
        self.found.into_values().collect()
    }
}

/// What the end of an attempt means for the files its job has claimed.
pub(crate) async fn settle(
    transaction: &mut Transaction,
    lease: &Lease,
    outcome: &Outcome,
    now: SystemTime,
) -> Result<(), sqlx::Error> {
    let job = &lease.job_id.0;
    if !outcome.goes_on() {
        transaction.execute(query(sql::FORGET_HOLDS).bind(job)).await?;
    }
    if matches!(outcome, Outcome::Succeeded(_)) {
        // Of two that end at once, neither would see that the other has replaced it.
        transaction.row(query(sql::HOLD_GENERATIONS).bind(job)).await?;
    }
    let settle = match outcome {
        Outcome::Again { .. } | Outcome::Later { .. } => return Ok(()),
        Outcome::Succeeded(receipt) => query(sql::SETTLE_LOADED)
            .bind(job)
            .bind(i64::from(receipt.attempt))
            .bind(micros(now))
            .bind(receipt.snapshot_id),
        Outcome::Failed(fault) | Outcome::Cancelled(fault) => {
            query(sql::SETTLE_RELEASED).bind(job).bind(i64::from(lease.attempt)).bind(micros(now)).bind(&fault.message)
        }
    };
    transaction.execute(settle).await?;
    if let Outcome::Succeeded(receipt) = outcome {
        if let Some(from) = receipt.replaced_from {
            let replaced = query(sql::SETTLE_REPLACED).bind(job).bind(&receipt.table).bind(micros(now));
            transaction.execute(replaced.bind(i64::from(from))).await?;
        }
        if is_replaced(transaction, job).await? {
            transaction.execute(query(sql::SETTLE_OWN_REPLACED).bind(job).bind(micros(now))).await?;
        }
    }
    transaction.execute(query(sql::FORGET_CLAIMS).bind(job)).await.map(drop)
}

/// Whether a newer generation that is over has replaced what a job landed.
async fn is_replaced(transaction: &mut Transaction, job: &str) -> Result<bool, sqlx::Error> {
    for row in transaction.rows(query(sql::NEWER_RECEIPTS).bind(job)).await? {
        let (receipt, generation): (Option<String>, i64) = (row.get("receipt"), row.get("generation"));
        let receipt: Option<Receipt> = receipt
            .map(|text| serde_json::from_str(&text))
            .transpose()
            .map_err(|error| sqlx::Error::Decode(Box::new(error)))?;
        if receipt.and_then(|receipt| receipt.replaced_from).is_some_and(|from| i64::from(from) <= generation) {
            return Ok(true);
        }
    }
    Ok(false)
}

/// The same content, as far as that can be known.
fn is_same(one: &PlannedFile, other: &PlannedFile) -> bool {
    one.etag.is_some() && one.etag == other.etag && one.size_bytes == other.size_bytes
}

fn by_holder(loaded: &[FileLoad]) -> HashMap<(&str, u32), Vec<&str>> {
    let mut holders: HashMap<(&str, u32), Vec<&str>> = HashMap::new();
    for load in loaded {
        holders.entry((&load.job_id.0, load.attempt)).or_default().push(&load.file.uri);
    }
    holders
}

fn open_loads(wanted: &Wanted, files: &[PlannedFile]) -> Query {
    let open = query(sql::FILE_LOADS).text(" WHERE state IN ('claimed', 'loaded') AND table_name = ");
    open.value(&wanted.table).text(" AND uri IN ").list(files.iter().map(|file| &file.uri))
}

fn insert(lease: &Lease, wanted: &Wanted, files: &[&PlannedFile], now: SystemTime) -> Query {
    let key = wanted.key.to_string();
    let row = |file: &PlannedFile| -> [Value; 11] {
        [
            (&wanted.table).into(),
            (&file.uri).into(),
            file.etag.as_deref().unwrap_or_default().into(),
            i64::try_from(file.size_bytes).unwrap_or(i64::MAX).into(),
            (&lease.job_id.0).into(),
            i64::from(lease.attempt).into(),
            (&key).into(),
            i64::from(wanted.generation).into(),
            (&wanted.table_uuid).into(),
            LoadState::Claimed.as_str().into(),
            micros(now).into(),
        ]
    };
    let rows = files.iter().enumerate().fold(query(sql::INSERT_LOADS).text(" VALUES "), |query, (at, file)| {
        let query = if at == 0 { query } else { query.text(", ") };
        query.list(row(file))
    });
    rows.text(" ON CONFLICT (table_name, uri, job_id, attempt) DO NOTHING")
}

fn mark_skipped(lease: &Lease, table: &str, holder: &str, attempt: u32, uris: &[&str], now: SystemTime) -> Query {
    let mark = query("UPDATE file_loads SET skipped_by = ").value(&lease.job_id.0);
    let mark = mark.text(", skipped_at = ").value(micros(now)).text(" WHERE table_name = ").value(table);
    let mark = mark.text(" AND job_id = ").value(holder).text(" AND attempt = ").value(i64::from(attempt));
    mark.text(" AND uri IN ").list(uris.iter().copied())
}

fn load_from_row(row: &Row) -> Result<FileLoad, Error> {
    let state: String = row.get("state");
    let size: i64 = row.get("size_bytes");
    let skipped: (Option<String>, Option<i64>) = (row.get("skipped_by"), row.get("skipped_at"));
    Ok(FileLoad {
        table: row.get("table_name"),
        table_uuid: row.get("table_uuid"),
        file: PlannedFile {
            uri: row.get("uri"),
            size_bytes: u64::try_from(size).map_err(|_| unreadable("size_bytes", &size.to_string()))?,
            etag: Some(row.get::<String>("etag")).filter(|etag| !etag.is_empty()),
        },
        job_id: JobId(row.get("job_id")),
        attempt: count("attempt", row.get("attempt"))?,
        key: row.get("job_key"),
        generation: count("generation", row.get("generation"))?,
        state: LoadState::parse(&state).ok_or_else(|| unreadable("state of a load", &state))?,
        reason: row.get("reason"),
        snapshot_id: row.get("snapshot_id"),
        claimed_at: time_of(row.get("claimed_at")),
        settled_at: row.get::<Option<i64>>("settled_at").map(time_of),
        skipped: skipped.0.zip(skipped.1).map(|(job, at)| (JobId(job), time_of(at))),
    })
}
