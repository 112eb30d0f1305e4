//! What is SQLite's own: the file, its settings, its errors.

use moulin_core::{Fault, FaultKind};
use moulin_testkit::FakeClock;
use sqlx::{ConnectOptions as _, Executor as _, Row as _, sqlite::SqliteConnectOptions};

use super::build::{id, job, sqlite_store};
use crate::Error;

#[tokio::test]
async fn jobs_are_there_when_the_file_is_opened_again() {
    let (folder, store) = sqlite_store().await;
    let stored = store.submit(job("t"), FakeClock::default().now()).await.unwrap().job;
    drop(store);
    let again = crate::open(&url(&folder)).await.unwrap();
    assert_eq!(again.get(&id("t")).await.unwrap(), Some(stored));
}

#[tokio::test]
async fn eight_workers_may_open_a_new_store_at_once() {
    let folder = tempfile::tempdir().unwrap();
    let url = url(&folder);
    let stores = futures::future::try_join_all((0..8).map(|_| crate::open(&url))).await.unwrap();
    for store in stores {
        store.check().await.unwrap();
    }
}

#[tokio::test]
async fn the_file_has_a_write_ahead_log() {
    let (folder, _store) = sqlite_store().await;
    let mut connection = SqliteConnectOptions::new().filename(folder.path().join("jobs.db")).connect().await.unwrap();
    let mode: String = connection.fetch_one("PRAGMA journal_mode").await.unwrap().get(0);
    assert_eq!(mode, "wal");
}

#[tokio::test]
async fn a_store_of_a_newer_version_is_refused() {
    let (folder, store) = sqlite_store().await;
    drop(store);
    let file = folder.path().join("jobs.db");
    let mut connection = SqliteConnectOptions::new().filename(&file).connect().await.unwrap();
    connection.execute("INSERT INTO schema_version (version) VALUES (99)").await.unwrap();
    let error = crate::open(&url(&folder)).await.err().unwrap();
    assert!(matches!(error, Error::NewerSchema { found: 99, .. }), "{error:?}");
}

#[tokio::test]
async fn a_file_that_is_no_database_is_named() {
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("jobs.db"), "this is not a database, whatever its name says").unwrap();
    let fault = Fault::from(crate::open(&url(&folder)).await.err().unwrap());
    assert!(fault.message.contains("jobs.db"), "{}", fault.message);
    assert!(fault.report().contains("not a database"), "{}", fault.report());
}

#[tokio::test]
async fn other_urls_are_refused_without_repeating_a_password() {
    for url in [
        "postgresql://u:hunter2@h:nine/db",
        "postgresql:u:hunter2@h",
        "mysql://u:hunter2@h/db",
        "sqlite://:memory:",
        "sqlite://",
        "jobs.db",
    ] {
        let fault = Fault::from(crate::open(url).await.err().unwrap());
        assert_eq!(fault.kind, FaultKind::InvalidSpec, "{url}");
        assert!(
            fault.message.contains("sqlite:///abs/path") && !fault.message.contains("hunter2"),
            "{}",
            fault.message
        );
    }
}

fn url(folder: &tempfile::TempDir) -> String {
    format!("sqlite://{}", folder.path().join("jobs.db").display())
}
