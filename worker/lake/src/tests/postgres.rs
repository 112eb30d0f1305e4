//! What PostgreSQL says when it does not do what it is asked, and what that means for a commit.

use moulin_core::{Fault, FaultKind};
use sqlx::{Connection as _, Executor as _, PgConnection};

use super::fixture::{Place, added, commit, landing, numbers, options, sorted, write};
use crate::{CatalogSettings, Error, Lake};

#[tokio::test]
async fn a_commit_that_gave_way_to_others_is_tried_again() {
    for code in ["40001", "40P01", "55P03"] {
        let place = Place::on_postgres().await;
        let (lake, mut database) = (place.lake().await, database(&place).await);
        let body = format!("IF nextval('tries') < 4 THEN RAISE EXCEPTION 'give way' USING ERRCODE = '{code}'; END IF;");
        before_updates(&mut database, &body).await;
        let committed = land(&lake).await.unwrap();
        assert_eq!(sorted(&added(&lake, committed.snapshot_id).await), [0, 1, 2]);
        // A try that did nothing left nothing behind.
        assert_eq!(place.files(".metadata.json").len(), 2);
    }
}

#[tokio::test]
async fn serializable_transactions_of_many_writers_all_commit() {
    let place = Place::on_postgres().await;
    let settings = CatalogSettings {
        uri: format!("{}&options[default_transaction_isolation]=serializable", place.settings().uri),
        ..place.settings()
    };
    let mut tasks = tokio::task::JoinSet::new();
    for writer in 0..6 {
        let settings = settings.clone();
        tasks.spawn(async move {
            let lake = Lake::open(&settings, &Default::default()).await.unwrap();
            let rows = [numbers(writer..=writer)];
            super::fixture::land(&lake, &landing(&[], &[]), &format!("w{writer}"), &rows).await.unwrap().snapshot_id
        });
    }
    let mut snapshots = tasks.join_all().await;
    snapshots.sort_unstable();
    snapshots.dedup();
    assert_eq!(snapshots.len(), 6);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn tables_of_a_new_catalog_are_made_by_many_at_once() {
    // Where they meet is another place in every round, and so is the name PostgreSQL has for it (23505, 42710, 42P07).
    for _ in 0..8 {
        let settings = Place::on_postgres().await.settings();
        let mut openers = tokio::task::JoinSet::new();
        for _ in 0..16 {
            let settings = settings.clone();
            openers.spawn(async move { Lake::open(&settings, &Default::default()).await.map(drop) });
        }
        for opened in openers.join_all().await {
            opened.unwrap();
        }
    }
}

#[tokio::test]
async fn a_refused_commit_is_a_failure_and_leaves_its_data_files_alone() {
    let place = Place::on_postgres().await;
    let (lake, mut database) = (place.lake().await, database(&place).await);
    before_updates(&mut database, "RAISE EXCEPTION 'not you' USING ERRCODE = '42501';").await;
    let error = land(&lake).await.unwrap_err();
    assert_eq!(error.kind(), FaultKind::PermissionDenied);
    assert!(Fault::from(error).report().contains("not you"));
    assert_eq!((place.files(".metadata.json").len(), place.files(".parquet").len()), (1, 1));
}

#[tokio::test]
async fn what_the_database_does_not_take_is_not_sent_again_by_a_retry() {
    for code in ["22001", "23514", "42P01", "42703"] {
        let place = Place::on_postgres().await;
        let (lake, mut database) = (place.lake().await, database(&place).await);
        before_updates(&mut database, &format!("RAISE EXCEPTION 'no' USING ERRCODE = '{code}';")).await;
        assert_eq!(land(&lake).await.unwrap_err().kind(), FaultKind::Internal, "{code}");
    }
}

#[tokio::test]
async fn a_metadata_file_that_went_while_it_was_looked_for_is_looked_up_again() {
    let place = Place::on_postgres().await;
    land(&place.lake().await).await.unwrap();
    let mut database = database(&place).await;
    // Every look-up finds another location, and the first two are files that others have removed since.
    let view = "CREATE SEQUENCE looks; ALTER TABLE iceberg_tables RENAME TO kept; \
         CREATE VIEW iceberg_tables AS SELECT catalog_name, table_namespace, table_name, iceberg_type, \
         CASE WHEN nextval('looks') > 2 THEN metadata_location ELSE '/gone/' || currval('looks') END \
         AS metadata_location FROM kept";
    database.execute(view).await.unwrap();
    assert_eq!(place.lake().await.table_schema(&super::fixture::table()).await.unwrap().fields().len(), 1);
    // A file that is missing where the catalog goes on to say it is, is missing.
    database.execute("UPDATE kept SET metadata_location = '/gone/for/good'").await.unwrap();
    let error = place.lake().await.table_schema(&super::fixture::table()).await.unwrap_err();
    assert_eq!(error.kind(), FaultKind::NotFound);
}

#[tokio::test]
async fn a_server_that_goes_down_in_a_commit_leaves_it_unknown() {
    for code in ["57P01", "57P02", "40003", "08006", "XX000"] {
        let place = Place::on_postgres().await;
        let (lake, mut database) = (place.lake().await, database(&place).await);
        before_updates(&mut database, &format!("RAISE EXCEPTION 'down' USING ERRCODE = '{code}';")).await;
        let error = land(&lake).await.unwrap_err();
        assert_eq!(error.kind(), FaultKind::CommitUnknown, "{code}: {error}");
        // What may have been committed is not removed.
        assert!(place.files(".metadata.json").len() > 1);
        assert_eq!(place.files(".parquet").len(), 1);
    }
}

#[tokio::test]
async fn a_connection_cut_in_a_commit_is_looked_after_and_the_commit_tried_again() {
    let place = Place::on_postgres().await;
    let (lake, mut database) = (place.lake().await, database(&place).await);
    let cut = "IF nextval('tries') = 1 THEN PERFORM pg_terminate_backend(pg_backend_pid()); END IF;";
    before_updates(&mut database, cut).await;
    let committed = land(&lake).await.unwrap();
    let tries: i64 = sqlx::query_scalar("SELECT last_value FROM tries").fetch_one(&mut database).await.unwrap();
    assert_eq!(tries, 2, "one try was lost, the next one landed");
    assert_eq!(sorted(&added(&lake, committed.snapshot_id).await), [0, 1, 2]);
}

#[tokio::test]
async fn a_wrong_password_is_told_without_repeating_it() {
    let place = Place::on_postgres().await;
    let uri = place.settings().uri;
    let (before, after) = (&uri[..uri.find("//moulin:").unwrap() + 9], &uri[uri.find('@').unwrap()..]);
    let settings = CatalogSettings { uri: format!("{before}hunter2{after}"), ..place.settings() };
    let error = Lake::open(&settings, &Default::default()).await.unwrap_err();
    assert_eq!(error.kind(), FaultKind::PermissionDenied);
    let report = Fault::from(error).report();
    assert!(report.contains("password authentication failed") && !report.contains("hunter2"), "{report}");
    assert!(!format!("{settings:?}").contains("hunter2"));
    let nowhere = CatalogSettings { uri: "postgresql://u:hunter2@127.0.0.1:nine/x".into(), ..place.settings() };
    let error = Lake::open(&nowhere, &Default::default()).await.unwrap_err();
    assert_eq!(error.kind(), FaultKind::InvalidSpec);
    assert!(!Fault::from(error).report().contains("hunter2"));
}

async fn land(lake: &Lake) -> Result<crate::Committed, Error> {
    let target = lake.target(&landing(&[], &[]), &numbers(0..1).schema()).await?;
    let landed = write(lake, &target, options("a", 1), &[numbers(0..3)]).await?;
    lake.commit(&target, commit("a", landed)).await
}

async fn database(place: &Place) -> PgConnection {
    PgConnection::connect(&place.settings().uri).await.unwrap()
}

/// Runs `body` before every update of the catalog's tables; the sequence `tries` counts on when an update fails.
async fn before_updates(database: &mut PgConnection, body: &str) {
    let function = format!(
        "CREATE SEQUENCE tries; \
         CREATE FUNCTION broken() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN {body} RETURN NEW; END $$; \
         CREATE TRIGGER broken BEFORE UPDATE ON iceberg_tables FOR EACH ROW EXECUTE FUNCTION broken();"
    );
    database.execute(function.as_str()).await.unwrap();
}
