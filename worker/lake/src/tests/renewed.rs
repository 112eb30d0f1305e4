//! Credentials that change while files are read: a store that takes one access key at a time.

use std::collections::HashMap;
use std::sync::{Arc, Mutex};

use axum::Router;
use axum::body::Bytes;
use axum::extract::State;
use axum::http::{HeaderMap, Method, StatusCode, Uri};
use axum::response::{IntoResponse as _, Response};
use futures::TryStreamExt as _;
use moulin_core::{S3Settings, Secret, StorageSettings, TableInput};

use super::fixture::{Place, land, landing, numbers, table};
use crate::{CatalogSettings, Lake, Scan};

/// As much of S3 as reading and writing of small files needs.
#[derive(Default)]
struct Store {
    files: Mutex<HashMap<String, Bytes>>,
    /// The only access key that is taken.
    key: Mutex<String>,
}

impl Store {
    async fn start(key: &str) -> (Arc<Self>, String) {
        let store = Arc::new(Self { key: Mutex::new(key.to_owned()), ..Self::default() });
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let uri = format!("http://{}", listener.local_addr().unwrap());
        let router = Router::new().fallback(answer).with_state(Arc::clone(&store));
        tokio::spawn(async move { axum::serve(listener, router).await });
        (store, uri)
    }

    /// From now on takes this key and no other one, and the catalog gives it for a place.
    fn renew(&self, lake: &Lake, place: &str, key: &str) {
        key.clone_into(&mut self.key.lock().unwrap());
        lake.files().give(place, HashMap::from([("s3.access-key-id".to_owned(), key.to_owned())]));
    }
}

async fn answer(
    State(store): State<Arc<Store>>,
    method: Method,
    uri: Uri,
    headers: HeaderMap,
    body: Bytes,
) -> Response {
    let signed = headers["authorization"].to_str().unwrap();
    if !signed.contains(&format!("Credential={}/", store.key.lock().unwrap())) {
        return StatusCode::FORBIDDEN.into_response();
    }
    let mut files = store.files.lock().unwrap();
    if method == Method::PUT {
        files.insert(uri.path().to_owned(), body);
        return StatusCode::OK.into_response();
    }
    let Some(file) = files.get(uri.path()) else { return StatusCode::NOT_FOUND.into_response() };
    let range = headers.get("range").and_then(|range| range.to_str().unwrap().strip_prefix("bytes="));
    let Some((start, end)) = range.and_then(|range| range.split_once('-')) else {
        return ([("content-length", file.len().to_string())], file.clone()).into_response();
    };
    let start: usize = start.parse().unwrap();
    let end = end.parse().map_or(file.len(), |end: usize| file.len().min(end + 1));
    let range = ("content-range", format!("bytes {start}-{}/{}", end - 1, file.len()));
    (StatusCode::PARTIAL_CONTENT, [range], file.slice(start..end)).into_response()
}

async fn lake(place: &Place, endpoint: String) -> Lake {
    let secret = |text| Some(Secret::new(text));
    let s3 = S3Settings {
        endpoint: Some(endpoint),
        region: Some("here".into()),
        access_key_id: secret("worker"),
        secret_access_key: secret("secret"),
        ..S3Settings::default()
    };
    let settings = CatalogSettings { warehouse: "s3://b/lake".into(), ..place.settings() };
    Lake::open(&settings, &StorageSettings { s3, ..StorageSettings::default() }).await.unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_table_that_is_open_is_read_with_the_credentials_of_now() {
    let place = Place::new();
    let (store, endpoint) = Store::start("worker").await;
    let lake = lake(&place, endpoint).await;
    land(&lake, &landing(&[], &[]), "a", &[numbers(0..3)]).await.unwrap();
    store.renew(&lake, "s3://b/lake", "first");
    let pin = lake.pin(&TableInput::new(table())).await.unwrap();
    let snapshot = lake.table_at(&table(), pin).await.unwrap();
    store.renew(&lake, "s3://b/lake", "second");
    let scan = Scan { columns: vec![0], filters: vec![], files_at_a_time: 1 };
    let rows: Vec<_> = snapshot.scan(scan.clone(), Arc::default()).try_collect().await.unwrap();
    assert_eq!(rows.iter().map(arrow::array::RecordBatch::num_rows).sum::<usize>(), 3);
    // Data files may be where the catalog gives other credentials than for the table.
    let files = snapshot.table_files().await.unwrap();
    let data = files[0].location().rsplit_once('/').unwrap().0;
    store.renew(&lake, data, "of-data");
    let rows: Vec<_> = snapshot.rows_of(&files[0]).try_collect().await.unwrap();
    assert_eq!(rows.iter().map(arrow::array::RecordBatch::num_rows).sum::<usize>(), 3);
}
