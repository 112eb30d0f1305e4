//! A REST catalog against a server that answers what a test says; the real server is in the end-to-end tests.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex};

use axum::Router;
use axum::body::Bytes;
use axum::extract::State;
use axum::http::{HeaderMap, Method, StatusCode, Uri};
use axum::response::{IntoResponse as _, Response};
use iceberg::spec::TableMetadata;
use moulin_core::{Fault, FaultKind, Secret, StorageSettings, TableName};
use serde_json::{Value, json};

use super::*;

/// What the server was asked: method and path, headers, body.
#[derive(Debug, Clone)]
struct Asked {
    what: String,
    headers: HeaderMap,
    body: String,
}

#[derive(Clone)]
enum Said {
    Json(u16, Value),
    Html(u16),
    /// Sent on to another place.
    Elsewhere(u16, &'static str),
    /// The connection stays open and silent.
    Nothing,
}

#[derive(Default)]
struct Script {
    asked: Mutex<Vec<Asked>>,
    /// Answers in turn, by what they answer; the last one of each stays.
    said: Mutex<Vec<(&'static str, VecDeque<Said>)>>,
}

struct Server {
    script: Arc<Script>,
    uri: String,
}

const TABLE: &str = "/v1/namespaces/bronze/tables/t";

impl Server {
    async fn start(said: Vec<(&'static str, Vec<Said>)>) -> Self {
        let said = said.into_iter().map(|(what, answers)| (what, answers.into())).collect();
        let script = Arc::new(Script { said: Mutex::new(said), ..Script::default() });
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let uri = format!("http://{}", listener.local_addr().unwrap());
        let router = Router::new().fallback(answer).with_state(script.clone());
        tokio::spawn(async move { axum::serve(listener, router).await });
        Self { script, uri }
    }

    async fn catalog(&self, rest: RestSettings) -> Result<Rest, Error> {
        let warehouse = Warehouse::new(&StorageSettings::default());
        let settings = CatalogSettings { name: String::new(), uri: self.uri.clone(), warehouse: "lake".into(), rest };
        Rest::open(&settings, warehouse).await
    }

    fn asked(&self, what: &str) -> Vec<Asked> {
        self.script.asked.lock().unwrap().iter().filter(|asked| asked.what.starts_with(what)).cloned().collect()
    }
}

async fn answer(
    State(script): State<Arc<Script>>,
    method: Method,
    uri: Uri,
    headers: HeaderMap,
    body: Bytes,
) -> Response {
    let what = format!("{method} {uri}");
    let body = String::from_utf8(body.to_vec()).unwrap();
    script.asked.lock().unwrap().push(Asked { what: what.clone(), headers, body });
    let said = {
        let mut said = script.said.lock().unwrap();
        let found = said.iter_mut().find(|(start, _)| what.starts_with(start));
        found.and_then(|(_, answers)| if answers.len() > 1 { answers.pop_front() } else { answers.front().cloned() })
    };
    let status = |code| StatusCode::from_u16(code).unwrap();
    match said {
        Some(Said::Json(code, value)) => (status(code), value.to_string()).into_response(),
        Some(Said::Html(code)) => (status(code), "<html>nginx</html>").into_response(),
        Some(Said::Elsewhere(code, place)) => (status(code), [("location", place)]).into_response(),
        Some(Said::Nothing) => std::future::pending().await,
        None => (status(404), "").into_response(),
    }
}

fn config() -> (&'static str, Vec<Said>) {
    ("GET /v1/config", vec![Said::Json(200, json!({"defaults": {}, "overrides": {}}))])
}

fn refused(code: u16, name: &str) -> Said {
    Said::Json(code, json!({"error": {"message": "as it says", "type": name, "code": code}}))
}

fn table() -> TableName {
    "bronze.t".parse().unwrap()
}

fn metadata(snapshot: Option<i64>) -> Value {
    let mut metadata = json!({
        "format-version": 2, "table-uuid": "9c12d441-03fe-4693-9a96-a0705ddf69c1", "location": "s3://b/t",
        "last-sequence-number": 0, "last-updated-ms": 1_602_638_573_590_i64, "last-column-id": 1,
        "current-schema-id": 0, "default-spec-id": 0, "last-partition-id": 999, "default-sort-order-id": 0,
        "schemas": [{"type": "struct", "schema-id": 0, "fields": [{"id": 1, "name": "n", "required": false, "type": "long"}]}],
        "partition-specs": [{"spec-id": 0, "fields": []}],
        "sort-orders": [{"order-id": 0, "fields": []}],
    });
    if let Some(id) = snapshot {
        metadata["current-snapshot-id"] = id.into();
        metadata["snapshots"] = json!([{
            "snapshot-id": id, "sequence-number": 0, "timestamp-ms": 1_602_638_573_590_i64,
            "manifest-list": "s3://b/t/x.avro", "summary": {"operation": "append"}, "schema-id": 0,
        }]);
    }
    metadata
}

fn loaded(snapshot: Option<i64>) -> Said {
    Said::Json(200, json!({"metadata-location": "s3://b/t/1.json", "metadata": metadata(snapshot), "config": {}}))
}

fn base() -> Loaded {
    let metadata: TableMetadata = serde_json::from_value(metadata(None)).unwrap();
    Loaded::new(metadata, "s3://b/t/1.json".into())
}

fn swap(snapshot: i64) -> Swap {
    let metadata: TableMetadata = serde_json::from_value(metadata(Some(snapshot))).unwrap();
    let added = metadata.snapshot_by_id(snapshot).unwrap().as_ref().clone();
    Swap {
        metadata: metadata.into(),
        updates: vec![iceberg::TableUpdate::AddSnapshot { snapshot: added }],
        requirements: Vec::new(),
    }
}

async fn committed(answers: Vec<Said>, now: Said) -> (Server, Result<Swapped, Error>) {
    let server =
        Server::start(vec![config(), ("POST /v1/namespaces", answers), ("GET /v1/namespaces", vec![now])]).await;
    let rest = server.catalog(RestSettings::default()).await.unwrap();
    let answer = rest.swap(&table(), &base(), &swap(7)).await;
    (server, answer)
}

#[tokio::test]
async fn a_commit_that_is_taken_says_where_the_table_stands() {
    let done = Said::Json(200, json!({"metadata-location": "s3://b/t/2.json", "metadata": metadata(Some(7))}));
    let (server, answer) = committed(vec![done], loaded(None)).await;
    assert!(matches!(answer, Ok(Swapped::Done(location)) if location == "s3://b/t/2.json"));
    let asked = &server.asked(&format!("POST {TABLE}"))[0];
    let body: Value = serde_json::from_str(&asked.body).unwrap();
    assert_eq!(body["identifier"], json!({"namespace": ["bronze"], "name": "t"}));
    assert!(asked.headers.get("idempotency-key").is_none(), "the server said nothing of it");
}

#[tokio::test]
async fn a_conflict_is_one_only_if_our_snapshot_is_not_there() {
    let conflict = || vec![refused(409, "CommitFailedException")];
    let (_server, answer) = committed(conflict(), loaded(Some(5))).await;
    assert!(matches!(answer, Ok(Swapped::Conflict)));
    // A proxy sent the request twice: the first one was taken.
    let (_server, answer) = committed(conflict(), loaded(Some(7))).await;
    assert!(matches!(answer, Ok(Swapped::Done(_))));
    // Nobody can look: its files must not be removed.
    let (_server, answer) = committed(conflict(), Said::Html(502)).await;
    assert!(matches!(answer, Ok(Swapped::Unknown(_))));
}

#[tokio::test]
async fn an_answer_that_does_not_tell_leaves_the_commit_unknown() {
    for said in [
        refused(500, "CommitStateUnknownException"),
        Said::Html(502),
        refused(503, "ServiceUnavailableException"),
        refused(504, "CommitStateUnknownException"),
        Said::Nothing,
        Said::Html(200),
    ] {
        let (server, answer) = committed(vec![said], loaded(None)).await;
        assert!(matches!(answer, Ok(Swapped::Unknown(_))), "{answer:?}");
        assert_eq!(server.asked("POST").len(), 1, "a request without a key is sent once");
    }
}

#[tokio::test]
async fn a_commit_that_is_refused_is_a_failure_in_the_server_s_words() {
    for (code, name, kind) in [
        (400, "BadRequestException", FaultKind::InvalidSpec),
        (403, "ForbiddenException", FaultKind::PermissionDenied),
        (404, "NoSuchTableException", FaultKind::NotFound),
        (429, "TooManyRequests", FaultKind::Unavailable),
    ] {
        let (_server, answer) = committed(vec![refused(code, name)], loaded(None)).await;
        let error = answer.unwrap_err();
        assert_eq!(error.kind(), kind, "{code}");
        let report = Fault::from(error).report();
        assert!(report.contains(&format!("the server answered {code} {name}: as it says")), "{report}");
    }
}

#[tokio::test]
async fn a_server_that_is_not_there_was_sent_nothing() {
    let nowhere = CatalogSettings {
        name: String::new(),
        uri: "http://127.0.0.1:1".into(),
        warehouse: String::new(),
        rest: RestSettings::default(),
    };
    let error = Rest::open(&nowhere, Warehouse::new(&Default::default())).await.unwrap_err();
    assert_eq!(error.kind(), FaultKind::Unavailable);
    assert!(Fault::from(error).report().contains("the server is not reached"));
}

#[tokio::test]
async fn a_lost_answer_is_asked_for_again_by_its_key_where_the_server_takes_keys() {
    let done = Said::Json(200, json!({"metadata-location": "s3://b/t/2.json", "metadata": metadata(Some(7))}));
    let config = json!({"defaults": {}, "overrides": {}, "idempotency-key-lifetime": "PT30M"});
    let server = Server::start(vec![
        ("GET /v1/config", vec![Said::Json(200, config)]),
        ("POST /v1/namespaces", vec![Said::Html(502), Said::Nothing, done]),
    ])
    .await;
    let rest = server.catalog(RestSettings::default()).await.unwrap();
    for _ in 0..2 {
        let answer = rest.swap(&table(), &base(), &swap(7)).await.unwrap();
        assert!(matches!(answer, Swapped::Done(_)), "{answer:?}");
    }
    let keys: Vec<_> = server.asked("POST").iter().map(|asked| asked.headers["idempotency-key"].clone()).collect();
    assert_eq!(keys.len(), 4);
    assert!(keys[0] == keys[1] && keys[1] == keys[2] && keys[2] != keys[3], "{keys:?}");
}

/// A commit to a server that takes idempotency keys.
async fn committed_by_key(answers: Vec<Said>, now: Said) -> (Server, Result<Swapped, Error>) {
    let config = json!({"defaults": {}, "overrides": {}, "idempotency-key-lifetime": "PT30M"});
    let config = ("GET /v1/config", vec![Said::Json(200, config)]);
    let server = Server::start(vec![config, ("POST /v1/namespaces", answers), ("GET /v1/namespaces", vec![now])]).await;
    let rest = server.catalog(RestSettings::default()).await.unwrap();
    let answer = rest.swap(&table(), &base(), &swap(7)).await;
    (server, answer)
}

#[tokio::test]
async fn a_refusal_after_a_lost_answer_leaves_the_commit_unknown() {
    for (lost, refusal) in [
        (Said::Nothing, refused(429, "TooManyRequests")),
        (Said::Html(502), refused(401, "NotAuthorizedException")),
        (Said::Html(502), refused(403, "ForbiddenException")),
        (Said::Html(502), refused(409, "CommitFailedException")),
        (Said::Html(504), refused(409, "RequestInProgressException")),
        (Said::Html(504), refused(422, "UnprocessableEntityException")),
    ] {
        let (server, answer) = committed_by_key(vec![lost, refusal], loaded(None)).await;
        assert!(matches!(answer, Ok(Swapped::Unknown(_))), "{answer:?}");
        assert_eq!(server.asked("POST").len(), 2);
    }
}

#[tokio::test]
async fn a_first_answer_is_taken_at_its_word_where_the_server_takes_keys() {
    let (_server, answer) = committed_by_key(vec![refused(429, "TooManyRequests")], loaded(None)).await;
    assert_eq!(answer.unwrap_err().kind(), FaultKind::Unavailable);
    let (_server, answer) = committed_by_key(vec![refused(409, "CommitFailedException")], loaded(None)).await;
    assert!(matches!(answer, Ok(Swapped::Conflict)), "{answer:?}");
    // A proxy sent the request twice, and the first one is still being worked on.
    let (_server, answer) = committed_by_key(vec![refused(409, "RequestInProgressException")], loaded(None)).await;
    assert!(matches!(answer, Ok(Swapped::Unknown(_))), "{answer:?}");
}

#[tokio::test]
async fn a_commit_that_is_sent_on_is_not_taken_and_not_followed() {
    for code in [301, 302, 307, 308] {
        let (server, answer) = committed(vec![Said::Elsewhere(code, TABLE)], loaded(Some(7))).await;
        let report = Fault::from(answer.unwrap_err()).report();
        assert!(
            report.contains(&format!("the server answered {code} and sends on to {}{TABLE}", server.uri)),
            "{report}"
        );
        assert!(report.contains("set catalog.uri"), "{report}");
        assert!(server.asked("GET /v1/namespaces").is_empty());
    }
    // 303: what was asked for is done, and its result is there.
    let (_server, answer) = committed(vec![Said::Elsewhere(303, TABLE)], loaded(None)).await;
    assert!(matches!(answer, Ok(Swapped::Unknown(_))), "{answer:?}");
}

#[tokio::test]
async fn a_server_that_has_moved_is_refused_at_once_with_its_new_place() {
    for (said, to) in [
        ("https://other/catalog/v1/config?token=hunter2", "https://other/catalog/v1/config"),
        ("//u:hunter2@other/v1/config", "://other/v1/config"),
    ] {
        let server = Server::start(vec![("GET /v1/config", vec![Said::Elsewhere(301, said)])]).await;
        let error = server.catalog(RestSettings::default()).await.unwrap_err();
        assert_eq!(error.kind(), FaultKind::InvalidSpec);
        let report = Fault::from(error).report();
        assert!(report.contains(to) && !report.contains("hunter2"), "{report}");
    }
}

#[tokio::test]
async fn a_table_or_a_token_that_is_sent_on_is_not_made() {
    let sent_on = vec![Said::Elsewhere(302, "/elsewhere")];
    let server = Server::start(vec![
        config(),
        ("GET /v1/namespaces/bronze", vec![Said::Json(200, json!({}))]),
        ("POST /v1/namespaces/bronze/tables", sent_on.clone()),
        ("GET /elsewhere", vec![loaded(None)]),
    ])
    .await;
    let rest = server.catalog(RestSettings::default()).await.unwrap();
    rest.create(&table(), &base().metadata).await.unwrap_err();
    assert!(server.asked("GET /elsewhere").is_empty());
    let server = Server::start(vec![config(), ("POST /v1/oauth/tokens", sent_on)]).await;
    let settings = RestSettings { credential: Some(Secret::new("me:hunter2")), ..RestSettings::default() };
    let report = Fault::from(server.catalog(settings).await.unwrap_err()).report();
    assert!(report.contains("set catalog.rest.oauth2_server_uri") && !report.contains("hunter2"), "{report}");
}

#[tokio::test]
async fn a_commit_is_done_only_if_the_table_has_its_snapshot() {
    let other = Said::Json(200, json!({"metadata-location": "s3://b/t/2.json", "metadata": metadata(Some(5))}));
    let (_server, answer) = committed(vec![other], loaded(None)).await;
    assert!(matches!(answer, Ok(Swapped::Unknown(_))), "{answer:?}");
}

#[tokio::test]
async fn only_the_catalog_itself_says_that_a_table_is_absent() {
    let server =
        Server::start(vec![config(), ("GET /v1/namespaces", vec![refused(404, "NoSuchTableException")])]).await;
    let rest = server.catalog(RestSettings::default()).await.unwrap();
    assert!(rest.load(&table()).await.unwrap().is_none());
    assert!(rest.namespace(&["bronze".into()]).await.unwrap().is_empty());
    let server = Server::start(vec![config(), ("GET /v1/namespaces", vec![Said::Html(404)])]).await;
    let rest = server.catalog(RestSettings::default()).await.unwrap();
    assert_eq!(rest.load(&table()).await.unwrap_err().kind(), FaultKind::NotFound);
}

#[tokio::test]
async fn the_server_s_configuration_is_followed() {
    let config = json!({
        "defaults": {"prefix": "no", "header.x-team": "ours"},
        "overrides": {"prefix": "catalogs/a%2Fb", "namespace-separator": "%2E"},
    });
    let server = Server::start(vec![
        ("GET /v1/config", vec![Said::Json(200, config)]),
        ("GET /v1/catalogs", vec![loaded(None)]),
    ])
    .await;
    let settings = RestSettings { token: Some(Secret::new("hunter2")), ..RestSettings::default() };
    let rest = server.catalog(settings).await.unwrap();
    assert_eq!(server.asked("GET /v1/config")[0].what, "GET /v1/config?warehouse=lake");
    rest.load(&"a b.c.t".parse().unwrap()).await.unwrap().unwrap();
    let asked = &server.asked("GET /v1/catalogs")[0];
    assert_eq!(asked.what, "GET /v1/catalogs/a%2Fb/namespaces/a%20b%2Ec/tables/t");
    assert_eq!(asked.headers["x-team"], "ours");
    assert_eq!(asked.headers["authorization"], "Bearer hunter2");
    assert_eq!(asked.headers["x-iceberg-access-delegation"], "vended-credentials");
    assert!(!format!("{rest:?}").contains("hunter2"));
}

#[tokio::test]
async fn a_server_without_commits_is_refused_at_once() {
    let config = json!({"defaults": {}, "overrides": {}, "endpoints": ["GET /v1/{prefix}/namespaces"]});
    let server = Server::start(vec![("GET /v1/config", vec![Said::Json(200, config)])]).await;
    let error = server.catalog(RestSettings::default()).await.unwrap_err();
    assert!(error.to_string().contains("offers no commits to tables"), "{error}");
}

#[tokio::test]
async fn tokens_are_fetched_once_renewed_in_time_and_after_a_refusal() {
    let token = |text: &str, expires: u64| Said::Json(200, json!({"access_token": text, "expires_in": expires}));
    let server = Server::start(vec![
        config(),
        // The first one is old at once, so that the second request asks for another.
        ("POST /v1/oauth/tokens", vec![token("one", 0), token("two", 3600), token("three", 3600)]),
        ("GET /v1/namespaces", vec![loaded(None), refused(401, "NotAuthorizedException"), loaded(None)]),
    ])
    .await;
    let credential = Some(Secret::new("me:hunter2"));
    let settings = RestSettings { credential, scope: Some("PRINCIPAL_ROLE:ALL".into()), ..RestSettings::default() };
    let rest = server.catalog(settings).await.unwrap();
    for _ in 0..3 {
        rest.load(&table()).await.unwrap();
    }
    let seen: Vec<_> =
        server.asked("GET").iter().map(|a| a.headers["authorization"].to_str().unwrap().to_owned()).collect();
    assert_eq!(seen, ["Bearer one", "Bearer two", "Bearer two", "Bearer three", "Bearer three"]);
    let form = &server.asked("POST /v1/oauth/tokens")[0].body;
    for part in ["grant_type=client_credentials", "client_id=me", "client_secret=hunter2", "scope=PRINCIPAL_ROLE%3AALL"]
    {
        assert!(form.contains(part), "{form}");
    }
}

#[tokio::test]
async fn a_refused_client_is_told_without_its_secret() {
    let refusal = Said::Json(400, json!({"error": "invalid_client", "error_description": "unknown"}));
    let server = Server::start(vec![config(), ("POST /v1/oauth/tokens", vec![refusal])]).await;
    let settings = RestSettings { credential: Some(Secret::new("me:hunter2")), ..RestSettings::default() };
    let error = server.catalog(settings).await.unwrap_err();
    assert_eq!(error.kind(), FaultKind::PermissionDenied);
    let report = Fault::from(error).report();
    assert!(report.contains("invalid_client: unknown") && !report.contains("hunter2"), "{report}");
}

#[tokio::test]
async fn two_ways_to_prove_who_asks_are_refused() {
    let server = Server::start(vec![config()]).await;
    let (token, credential) = (Some(Secret::new("a")), Some(Secret::new("b")));
    let error = server.catalog(RestSettings { token, credential, ..RestSettings::default() }).await.unwrap_err();
    assert_eq!(error.to_string(), "catalog.rest has token and credential, expected one of them");
}

#[tokio::test]
async fn credentials_for_a_table_reach_its_files_and_no_others() {
    let said = |id: &str| {
        Said::Json(
            200,
            json!({
                "metadata-location": "s3://b/t/1.json", "metadata": metadata(None),
                "config": {"s3.endpoint": "http://own:1", "s3.access-key-id": "config", "token": "secret"},
                "storage-credentials": [{"prefix": "s3://b/t", "config": {"s3.access-key-id": id}}],
            }),
        )
    };
    let server = Server::start(vec![config(), ("GET /v1/namespaces", vec![said("first"), said("second")])]).await;
    let rest = server.catalog(RestSettings::default()).await.unwrap();
    let property = |location: &str, name: &str| rest.warehouse.io(location).config().props().get(name).cloned();
    for id in ["first", "second"] {
        rest.load(&table()).await.unwrap();
        assert_eq!(property("s3://b/t/data/x", "s3.access-key-id").as_deref(), Some(id));
        assert_eq!(property("s3://b/t/data/x", "s3.endpoint").as_deref(), Some("http://own:1"));
        assert_eq!(property("s3://b/t/data/x", "token"), None);
        assert_eq!(property("s3://b/other/x", "s3.access-key-id"), None);
    }
}

#[tokio::test]
async fn credentials_are_renewed_before_they_expire_without_being_asked_for() {
    let said = |id: &str, seconds: u64| {
        let expires = SystemTime::now() + std::time::Duration::from_secs(seconds);
        let expires = expires.duration_since(std::time::UNIX_EPOCH).unwrap().as_millis().to_string();
        let config = json!({"s3.access-key-id": id, "s3.session-token-expires-at-ms": expires});
        let place = json!({"metadata-location": "s3://b/t/1.json", "metadata": metadata(None), "config": config});
        Said::Json(200, place)
    };
    let server =
        Server::start(vec![config(), ("GET /v1/namespaces", vec![said("first", 1), said("second", 3600)])]).await;
    let rest = server.catalog(RestSettings::default()).await.unwrap();
    rest.load(&table()).await.unwrap();
    let key = || rest.warehouse.io("s3://b/t/x").config().props()["s3.access-key-id"].clone();
    assert_eq!(key(), "first");
    let renewed = async {
        while key() != "second" {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(std::time::Duration::from_secs(20), renewed).await.unwrap();
    assert_eq!(server.asked("GET /v1/namespaces").len(), 2);
}

#[tokio::test]
async fn a_table_is_made_with_its_namespace_and_the_server_chooses_its_place() {
    let server = Server::start(vec![
        config(),
        ("GET /v1/namespaces", vec![refused(404, "NoSuchNamespaceException")]),
        ("POST /v1/namespaces/bronze/tables", vec![loaded(None), refused(409, "AlreadyExistsException")]),
        ("POST /v1/namespaces", vec![refused(409, "AlreadyExistsException")]),
    ])
    .await;
    let rest = server.catalog(RestSettings::default()).await.unwrap();
    assert!(rest.create(&table(), &base().metadata).await.unwrap());
    assert!(!rest.create(&table(), &base().metadata).await.unwrap());
    let body: Value = serde_json::from_str(&server.asked("POST /v1/namespaces/bronze/tables")[0].body).unwrap();
    assert_eq!((&body["name"], &body["location"]), (&json!("t"), &Value::Null));
    assert_eq!(body["properties"]["format-version"], "2");
}
