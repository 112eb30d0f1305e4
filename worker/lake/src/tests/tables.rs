//! Tables that are there, are not there, or are somebody else's.

use std::sync::Arc;
use std::task::Poll;

use arrow::array::{ArrayRef, Int32Array, RecordBatch, StringArray};
use arrow::datatypes::{DataType, Field, Schema};
use moulin_core::FaultKind;
use sqlx::{ConnectOptions as _, Executor as _, Row as _, sqlite::SqliteConnectOptions};

use super::fixture::{FROZEN, Place, added, commit, land, landing, numbers, options, sorted, table, write};
use crate::TablePlan;

#[tokio::test]
async fn a_plan_changes_nothing() {
    let place = Place::new();
    let lake = place.lake().await;
    let location = format!("file://{}/warehouse/bronze/t", place.folder.path().display());
    let plan = lake.plan(&landing(&["bucket(4, n)"], &[]), &numbers(0..1).schema(), &FROZEN).await.unwrap();
    assert_eq!(
        plan,
        TablePlan { exists: false, location: location.clone(), partition_by: vec!["bucket(4, n)".into()] }
    );
    assert!(!place.folder.path().join("warehouse").exists());
    lake.target(&landing(&["bucket(4, n)"], &[]), &numbers(0..1).schema()).await.unwrap();
    let plan = lake.plan(&landing(&[], &[]), &numbers(0..1).schema(), &FROZEN).await.unwrap();
    assert_eq!(plan, TablePlan { exists: true, location, partition_by: vec!["bucket(4, n)".into()] });
}

#[tokio::test]
async fn a_table_made_by_two_at_once_is_one_table() {
    let place = Place::new();
    let (one, two) = (place.lake().await, place.lake().await);
    let (landing, schema) = (landing(&[], &[]), numbers(0..1).schema());
    let (a, b) = tokio::join!(one.target(&landing, &schema), two.target(&landing, &schema));
    assert_eq!(a.unwrap().metadata.uuid(), b.unwrap().metadata.uuid());
    assert_eq!(place.files(".metadata.json").len(), 1);
}

#[tokio::test]
async fn a_table_has_the_properties_of_its_maker() {
    let place = Place::new();
    let lake = place.lake().await;
    let target =
        lake.target(&landing(&[], &[("write.parquet.compression-level", "3")]), &numbers(0..1).schema()).await.unwrap();
    let properties = target.metadata.properties();
    assert_eq!(properties["write.parquet.compression-level"], "3");
    assert_eq!(properties["write.parquet.compression-codec"], "zstd");
    let error = lake.plan(&landing(&[], &[("format-version", "1")]), &numbers(0..1).schema(), &FROZEN).await;
    assert!(error.is_ok(), "properties are for a new table only");
}

#[tokio::test]
async fn another_order_a_narrower_type_and_a_missing_column_fit() {
    let place = Place::new();
    let lake = place.lake().await;
    let text: ArrayRef = Arc::new(StringArray::from(vec!["x"]));
    let wide =
        RecordBatch::try_from_iter_with_nullable([("s", text, true), ("n", numbers([1]).column(0).clone(), true)])
            .unwrap();
    land(&lake, &landing(&[], &[]), "a", &[wide]).await.unwrap();
    let narrow: ArrayRef = Arc::new(Int32Array::from(vec![7]));
    let narrow = RecordBatch::try_from_iter_with_nullable([("n", narrow, true)]).unwrap();
    let committed = land(&lake, &landing(&[], &[]), "b", &[narrow]).await.unwrap();
    let found = added(&lake, committed.snapshot_id).await;
    assert_eq!(sorted(&found), [7]);
    assert_eq!(found.column_by_name("s").unwrap().null_count(), 1);
    assert_eq!(lake.table_schema(&table()).await.unwrap().fields().len(), 2);
}

#[tokio::test]
async fn columns_that_do_not_fit_are_refused_by_name_before_a_row_is_written() {
    let place = Place::new();
    let lake = place.lake().await;
    lake.target(&landing(&[], &[]), &numbers(0..1).schema()).await.unwrap();
    let schema = |name: &str, ty| Arc::new(Schema::new(vec![Field::new(name, ty, true)]));
    for (name, ty, words) in [
        ("n", DataType::Utf8, "column `n` is long in the table, but string in the job"),
        ("m", DataType::Int64, "column `m` (long) is not in the table; it has n"),
        ("n", DataType::Null, "column `n` has the Arrow type Null"),
    ] {
        for error in [
            lake.plan(&landing(&[], &[]), &schema(name, ty.clone()), &FROZEN).await.unwrap_err(),
            lake.target(&landing(&[], &[]), &schema(name, ty.clone())).await.unwrap_err(),
        ] {
            assert_eq!(error.kind(), FaultKind::SchemaMismatch);
            assert!(error.to_string().contains(words), "{error}");
        }
    }
    let error = lake.plan(&landing(&["bucket(4, n)"], &[]), &numbers(0..1).schema(), &FROZEN).await.unwrap_err();
    assert!(
        error.to_string().contains("the table is not partitioned, but the job says partition_by bucket(4, n)"),
        "{error}"
    );
}

#[tokio::test]
async fn a_job_store_that_refuses_a_file_name_stops_the_writing() {
    use moulin_core::Fault;
    let place = Place::new();
    let lake = place.lake().await;
    let target = lake.target(&landing(&[], &[]), &numbers(0..1).schema()).await.unwrap();
    let mut options = options("a", 2);
    options.stage = Arc::new(|_| Box::pin(async { Err(Fault::new(FaultKind::LeaseLost, "attempt 2 has the job")) }));
    let error = write(&lake, &target, options, &[numbers(0..10), numbers(0..10), numbers(0..10), numbers(0..10)]).await;
    assert_eq!(Fault::from(error.unwrap_err()).kind, FaultKind::LeaseLost);
    assert!(place.files(".parquet").is_empty());
}

#[tokio::test]
async fn a_table_that_was_replaced_meanwhile_is_not_committed_to() {
    let place = Place::new();
    let lake = place.lake().await;
    let target = lake.target(&landing(&[], &[]), &numbers(0..1).schema()).await.unwrap();
    let landed = write(&lake, &target, options("a", 1), &[numbers(0..10)]).await.unwrap();
    let pool = sqlx::SqlitePool::connect(&place.settings().uri).await.unwrap();
    sqlx::query("DELETE FROM iceberg_tables").execute(&pool).await.unwrap();
    let error = lake.commit(&target, commit("a", landed.clone())).await.unwrap_err();
    assert_eq!((error.kind(), error.to_string()), (FaultKind::NotFound, "table bronze.t does not exist".into()));
    lake.target(&landing(&[], &[]), &numbers(0..1).schema()).await.unwrap();
    let error = lake.commit(&target, commit("a", landed)).await.unwrap_err();
    assert!(error.to_string().contains("another one has its name"), "{error}");
    assert_eq!(place.files(".parquet").len(), 1, "data files are never removed by a commit");
}

#[tokio::test]
async fn a_doctor_finds_catalog_and_warehouse() {
    let place = Place::new();
    let lake = place.lake().await;
    assert!(lake.check_catalog().await.unwrap().starts_with("sqlite catalog `moulin` with 0 tables"));
    assert!(lake.check_warehouse().await.unwrap().contains("can be written, read and cleaned"));
    assert!(place.files("").iter().all(|file| file.contains("catalog.db")));
    // A warehouse whose folder is a file.
    std::fs::remove_dir(place.folder.path().join("warehouse")).unwrap();
    std::fs::write(place.folder.path().join("warehouse"), "x").unwrap();
    let error = lake.check_warehouse().await.unwrap_err();
    assert!(error.to_string().starts_with("cannot write file:///"), "{error}");
}

#[tokio::test]
async fn a_catalog_without_the_type_column_is_used_as_it_is() {
    let place = Place::new();
    std::fs::create_dir_all(place.folder.path()).unwrap();
    let options = SqliteConnectOptions::new().filename(place.folder.path().join("catalog.db")).create_if_missing(true);
    let pool = sqlx::SqlitePool::connect_with(options).await.unwrap();
    let old = "CREATE TABLE iceberg_tables (catalog_name VARCHAR(255) NOT NULL, table_namespace VARCHAR(255) NOT NULL,
        table_name VARCHAR(255) NOT NULL, metadata_location VARCHAR(1000), previous_metadata_location VARCHAR(1000),
        PRIMARY KEY (catalog_name, table_namespace, table_name))";
    sqlx::query(old).execute(&pool).await.unwrap();
    let lake = place.lake().await;
    let committed = land(&lake, &landing(&[], &[]), "a", &[numbers(0..3)]).await.unwrap();
    assert_eq!(sorted(&added(&lake, committed.snapshot_id).await), [0, 1, 2]);
}

/// A new file is put into WAL mode by whoever opens it. SQLite does not wait then for another one's write lock, as it
/// does elsewhere.
#[tokio::test]
async fn a_catalog_that_another_process_writes_to_is_opened_once_it_has_written() {
    let place = Place::new();
    let options = SqliteConnectOptions::new().filename(place.folder.path().join("catalog.db")).create_if_missing(true);
    let mut other = options.connect().await.unwrap();
    other.execute("CREATE TABLE t (x); BEGIN IMMEDIATE").await.unwrap();
    let mut opening = std::pin::pin!(place.lake());
    // More often than opening takes without a pause: it has been refused, and asked again.
    let mut polls = 0;
    std::future::poll_fn(|context| {
        polls += 1;
        match opening.as_mut().poll(context) {
            Poll::Ready(_) => panic!("opened while another process was writing"),
            Poll::Pending if polls < 50 => Poll::Pending,
            Poll::Pending => Poll::Ready(()),
        }
    })
    .await;
    other.execute("COMMIT").await.unwrap();
    let lake = opening.await;
    lake.check_catalog().await.unwrap();
    let mode: String = options.connect().await.unwrap().fetch_one("PRAGMA journal_mode").await.unwrap().get(0);
    assert_eq!(mode, "wal");
}
