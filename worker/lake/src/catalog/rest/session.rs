//! Requests to one REST catalog: where its resources are, how long is waited, what is asked again.

use std::collections::{HashMap, HashSet};
use std::time::Duration;

use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue, Method};
use reqwest::redirect::Policy;
use reqwest::{Client, Request, Url};
use serde::{Deserialize, Serialize};

use super::answer::{Answer, Failure};
use super::auth::Auth;
use crate::CatalogSettings;

const CONNECT: Duration = Duration::from_secs(10);
/// How long an answer is waited for: a server may write table metadata meanwhile.
const PATIENCE: Duration = Duration::from_secs(if cfg!(test) { 2 } else { 60 });
/// How often a request with an idempotency key is sent when its answer is lost.
const IDEMPOTENT_TRIES: u32 = 3;
const PAUSE: Duration = Duration::from_millis(if cfg!(test) { 1 } else { 200 });
/// The separator of a namespace's levels, as it stands in a path: ASCII 31.
const SEPARATOR: &str = "%1F";

/// What `v1/config` answers.
#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(super) struct Config {
    #[serde(default)]
    defaults: HashMap<String, String>,
    #[serde(default)]
    overrides: HashMap<String, String>,
    /// Absent: the server is older than this list.
    #[serde(default)]
    endpoints: Option<HashSet<String>>,
    /// An ISO 8601 duration; present: the server takes idempotency keys.
    #[serde(default)]
    idempotency_key_lifetime: Option<String>,
}

pub(super) struct Session {
    client: Client,
    base: String,
    prefix: String,
    separator: String,
    headers: HeaderMap,
    auth: Auth,
    idempotent: bool,
    endpoints: Option<HashSet<String>>,
    /// Properties of file access for all tables.
    pub(super) files: HashMap<String, String>,
}

impl Session {
    /// Asks the server how it is to be used.
    pub(super) async fn open(catalog: &CatalogSettings, region: Option<String>) -> Result<Self, Failure> {
        let (uri, settings) = (&catalog.uri, &catalog.rest);
        let base = uri.trim_end_matches('/').trim_end_matches("/v1").to_owned();
        let client = Client::builder()
            .connect_timeout(CONNECT)
            .timeout(PATIENCE)
            .redirect(Policy::none())
            .user_agent(concat!("moulin/", env!("CARGO_PKG_VERSION")))
            .build()
            .map_err(Failure::NotSent)?;
        let auth =
            |base: &str, region| Auth::new(settings, base, region).map_err(|reason| Failure::NoCredentials { reason });
        let mut session = Self {
            auth: auth(&base, region.clone())?,
            client,
            base,
            prefix: String::new(),
            separator: SEPARATOR.to_owned(),
            headers: HeaderMap::new(),
            idempotent: false,
            endpoints: None,
            files: HashMap::new(),
        };
        let config = session.config(&catalog.warehouse).await?;
        let mut said = config.defaults;
        said.extend(config.overrides);
        session.idempotent = config.idempotency_key_lifetime.is_some();
        session.endpoints = config.endpoints;
        if let Some(uri) = said.get("uri") {
            session.base = uri.trim_end_matches('/').to_owned();
            session.auth = auth(&session.base, region)?;
        }
        // In a path it stands as the server writes it: it may hold slashes of its own.
        session.prefix = said.get("prefix").map(|prefix| prefix.trim_matches('/').to_owned()).unwrap_or_default();
        if let Some(separator) = said.get("namespace-separator") {
            session.separator = separator.clone();
        }
        for (name, value) in said.iter().filter_map(|(name, value)| Some((name.strip_prefix("header.")?, value))) {
            if let (Ok(name), Ok(value)) = (HeaderName::try_from(name), HeaderValue::try_from(value)) {
                session.headers.insert(name, value);
            }
        }
        session.files = of_files(&said);
        if settings.vended_credentials {
            let asked = HeaderValue::from_static("vended-credentials");
            session.headers.insert("x-iceberg-access-delegation", asked);
        }
        Ok(session)
    }

    /// `v1/config`, for a warehouse as the server names it; empty: its only one.
    pub(super) async fn config(&self, warehouse: &str) -> Result<Config, Failure> {
        let query = Some(("warehouse", warehouse)).filter(|_| !warehouse.is_empty());
        let url = Url::parse_with_params(&format!("{}/v1/config", self.base), query);
        let url = url.map_err(|e| Failure::NoCredentials { reason: format!("the uri is wrong: {e}") })?;
        self.send(Request::new(Method::GET, url)).await?.value()
    }

    /// Whether the server says that it has this endpoint, or says nothing about it.
    pub(super) fn offers(&self, endpoint: &str) -> bool {
        self.endpoints.as_ref().is_none_or(|all| all.contains(endpoint))
    }

    /// The server's own prefix of all paths; empty: it has none.
    pub(super) fn prefix(&self) -> &str {
        &self.prefix
    }

    /// The path of a namespace, or of what is in it.
    pub(super) fn namespace_path(&self, namespace: &[String]) -> String {
        let levels: Vec<String> = namespace.iter().map(|level| encoded(level)).collect();
        format!("namespaces/{}", levels.join(&self.separator))
    }

    /// The answer, good or bad, to a question.
    pub(super) async fn get(&self, path: &str) -> Result<Answer, Failure> {
        self.send(self.request(Method::GET, path)?).await
    }

    /// The good answer to something to be done.
    ///
    /// Sent again when the answer is lost, but only to a server that knows by a key that it is the same request.
    pub(super) async fn post<T: Serialize>(&self, path: &str, body: &T) -> Result<Answer, Failure> {
        let body = serde_json::to_vec(body).map_err(|e| Failure::NoCredentials { reason: e.to_string() })?;
        let mut request = self.request(Method::POST, path)?;
        request.headers_mut().insert(http::header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
        *request.body_mut() = Some(Bytes::from(body).into());
        if self.idempotent { self.post_keyed(request).await } else { self.send(request).await?.good() }
    }

    /// Once an answer was lost, only a good one tells: a later send that is refused says nothing about the earlier one.
    async fn post_keyed(&self, mut request: Request) -> Result<Answer, Failure> {
        if let Ok(key) = HeaderValue::try_from(uuid::Uuid::now_v7().to_string()) {
            request.headers_mut().insert("idempotency-key", key);
        }
        let mut in_doubt = false;
        for _ in 1..IDEMPOTENT_TRIES {
            let Some(again) = request.try_clone() else { break };
            match self.send(again).await.and_then(Answer::good) {
                Err(failure) if failure.may_have_happened() => in_doubt = true,
                other => return other.map_err(|failure| doubted(failure, in_doubt)),
            }
            tokio::time::sleep(PAUSE).await;
        }
        self.send(request).await.and_then(Answer::good).map_err(|failure| doubted(failure, in_doubt))
    }

    fn request(&self, method: Method, path: &str) -> Result<Request, Failure> {
        let slash = if self.prefix.is_empty() { "" } else { "/" };
        let url = Url::parse(&format!("{}/v1/{}{slash}{path}", self.base, self.prefix));
        let url = url.map_err(|e| Failure::NoCredentials { reason: format!("the uri is wrong: {e}") })?;
        Ok(Request::new(method, url))
    }

    async fn send(&self, mut request: Request) -> Result<Answer, Failure> {
        request.headers_mut().extend(self.headers.clone());
        request.headers_mut().insert(http::header::ACCEPT, HeaderValue::from_static("application/json"));
        let again = request.try_clone().filter(|_| self.auth.can_renew());
        self.auth.prove(&self.client, &mut request, false).await?;
        let answer = self.answer(request).await?;
        // A refused token means that nothing was done.
        if let (401 | 419, Some(mut request)) = (answer.status, again) {
            self.auth.prove(&self.client, &mut request, true).await?;
            return self.answer(request).await;
        }
        Ok(answer)
    }

    async fn answer(&self, request: Request) -> Result<Answer, Failure> {
        let answer = self.client.execute(request).await.map_err(unanswered)?;
        Answer::of(answer).await.map_err(unanswered)
    }
}

fn doubted(failure: Failure, in_doubt: bool) -> Failure {
    if in_doubt || failure.may_be_in_progress() { Failure::InDoubt(Box::new(failure)) } else { failure }
}

/// Why there is no answer. The library's error would tell the uri once more.
pub(super) fn unanswered(error: reqwest::Error) -> Failure {
    let error = error.without_url();
    if error.is_connect() || error.is_builder() { Failure::NotSent(error) } else { Failure::Lost(error) }
}

/// The properties that are about file access.
pub(super) fn of_files(properties: &HashMap<String, String>) -> HashMap<String, String> {
    let about_files = |name: &str| ["s3.", "gcs.", "adls.", "client."].iter().any(|start| name.starts_with(start));
    properties.iter().filter(|(name, _)| about_files(name)).map(|(n, v)| (n.clone(), v.clone())).collect()
}

// RFC 3986: everything but the unreserved characters.
pub(super) fn encoded(text: &str) -> String {
    let encode = |byte: u8| match byte {
        b'A'..=b'Z' | b'a'..=b'z' | b'0'..=b'9' | b'-' | b'.' | b'_' | b'~' => char::from(byte).to_string(),
        other => format!("%{other:02X}"),
    };
    text.bytes().map(encode).collect()
}
