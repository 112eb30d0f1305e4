//! Values for tests.

use std::sync::Arc;
use std::time::Duration;

use moulin_core::{Fault, FaultKind, JobId, JobKey, Receipt, Token};
use tempfile::TempDir;

use crate::{JobStore, Lease, LedgerEntry, NewJob};

pub(super) const LEASE: Duration = Duration::from_secs(15);

/// A store on a file of its own, which goes away with the folder.
pub(super) async fn sqlite_store() -> (TempDir, Arc<dyn JobStore>) {
    let folder = tempfile::tempdir().unwrap();
    let store = crate::open(&format!("sqlite://{}", folder.path().join("jobs.db").display())).await.unwrap();
    (folder, store)
}

/// A store in an empty schema of a real PostgreSQL server.
pub(super) async fn postgres_store() -> ((), Arc<dyn JobStore>) {
    ((), crate::open(&moulin_testkit::postgres_schema().await).await.unwrap())
}

pub(super) fn key(task: &str) -> JobKey {
    JobKey { dag_id: "dag".into(), run_id: "run".into(), task_id: task.into(), map_index: -1 }
}

pub(super) fn id(task: &str) -> JobId {
    Token::new(&key(task), 0).job_id()
}

pub(super) fn job(task: &str) -> NewJob {
    NewJob {
        key: key(task),
        generation: 0,
        epoch: 1,
        spec: b"spec".to_vec(),
        table: "a.b".into(),
        priority: 1,
        pool: "default_pool".into(),
        deadline: None,
    }
}

pub(super) fn fault(message: &str) -> Fault {
    Fault::new(FaultKind::Unavailable, message)
}

pub(super) fn entry(lease: &Lease, token: &Token, snapshot_id: i64) -> LedgerEntry {
    LedgerEntry {
        token: token.clone(),
        table: "a.b".into(),
        snapshot_id,
        metadata_location: format!("file:///w/{snapshot_id}.json"),
        attempt: lease.attempt,
        job_id: lease.job_id.clone(),
    }
}

pub(super) fn receipt(lease: &Lease) -> Receipt {
    Receipt {
        job_id: lease.job_id.0.clone(),
        table: "a.b".into(),
        files: 1,
        rows_read: 3,
        rows_landed: 3,
        rows_rejected: 0,
        rows_filtered: Some(0),
        bytes_read: 30,
        bytes_written: 20,
        data_files: 1,
        file_counts: Default::default(),
        snapshot_id: Some(i64::MAX - 1),
        metadata_location: "file:///w/1.json".into(),
        elapsed: Duration::from_millis(1500),
        rooms: vec![],
        rejects: vec![],
        attempt: lease.attempt,
        token: "dag/run/t/-1/0".into(),
        skipped_files: vec![],
        files_skipped: 0,
        rows_replaced: 0,
        replaced_snapshot_id: None,
        attached_to: None,
        rejects_table: String::new(),
        rejects_snapshot_id: None,
        rejects_to_commit: String::new(),
        rejects_change: moulin_core::RejectsChange::default(),
        rejects_replaced: 0,
        replay: None,
        replayed_files: Vec::new(),
        replaced_tokens: Vec::new(),
        replaced_from: None,
        tables: Vec::new(),
    }
}
