//! What a worker can be told: a TOML file, then the environment over it.
//!
//! Every key has a default, so that `moulin serve` works with no file at all. An unknown key or a wrong value ends the
//! process before a port is bound, and the message says which key.

mod named;
mod security;

use std::env;
use std::fmt;
use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use moulin_core::{Fault, FaultKind, Secret, StorageSettings, pool, without_secrets};
use moulin_lake::{CatalogSettings, RestSettings};
use serde::{Deserialize, Deserializer};

pub(crate) use security::{AuthSettings, TlsSettings};

/// The whole configuration, resolved: no key is missing and every path is absolute.
#[derive(Clone)]
pub(crate) struct Config {
    pub(crate) state_dir: PathBuf,
    pub(crate) listen: String,
    pub(crate) worker_id: Option<String>,
    pub(crate) job: JobLimits,
    pub(crate) store_url: String,
    pub(crate) catalog: CatalogSettings,
    pub(crate) storage: StorageSettings,
    pub(crate) tls: TlsSettings,
    pub(crate) auth: AuthSettings,
    pub(crate) log: Log,
    pub(crate) fault_point: Option<String>,
}

// The store's url may hold a password.
impl fmt::Debug for Config {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Config")
            .field("state_dir", &self.state_dir)
            .field("catalog", &self.catalog)
            .field("storage", &self.storage)
            .finish_non_exhaustive()
    }
}

/// `[job]`: limits of the jobs of one worker.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct JobLimits {
    /// Jobs at a time.
    pub(crate) slots: usize,
    /// Pools whose jobs this worker claims; empty: every pool.
    pub(crate) pools: Vec<String>,
    /// Jobs of all workers that may wait in the job store; more are refused until some have begun.
    pub(crate) max_queued: u64,
    /// Threads of one job.
    pub(crate) threads: usize,
    /// Memory of one job's transform before it spills (SQL) or is refused (a Polars plan that needs all rows at once).
    pub(crate) memory_bytes: u64,
    /// Buffer of the rows that Flight readers of a running job drink from.
    pub(crate) tap_bytes: usize,
    /// How long a silent worker keeps a job.
    #[serde(deserialize_with = "duration")]
    pub(crate) lease: Duration,
    /// Longest time of a job that names no deadline, from the submit of its newest try.
    #[serde(deserialize_with = "duration")]
    pub(crate) deadline: Duration,
    /// Attempts of one job before a retryable failure is final.
    pub(crate) max_attempts: u32,
    /// Workers in a row that may be lost while they run one job, before it fails.
    pub(crate) max_lost_workers: usize,
    /// How long SIGTERM waits for running jobs before it hands them back.
    #[serde(deserialize_with = "duration")]
    pub(crate) drain: Duration,
    /// How long the local files of rejects are kept after their job is over.
    #[serde(deserialize_with = "duration")]
    pub(crate) keep_rejects: Duration,
}

impl JobLimits {
    /// Threads of the process that may wait for each other: with fewer, jobs whose readers have all of them would wait for
    /// ever for a thread that writes. They are made when they are needed, and end when they have nothing to do.
    pub(crate) fn blocking_threads(&self) -> usize {
        // Jobs and as many queries; in each, threads that unpack, parse and write, and one for each spare purpose.
        const OF_EACH: usize = 4;
        const SPARE: usize = 512;
        SPARE + 2 * self.slots * OF_EACH * (self.threads + OF_EACH)
    }
}

impl Default for JobLimits {
    fn default() -> Self {
        let threads = std::thread::available_parallelism().map_or(2, usize::from);
        Self {
            slots: 2,
            pools: Vec::new(),
            max_queued: 10_000,
            threads,
            memory_bytes: 512 << 20,
            tap_bytes: 32 << 20,
            lease: Duration::from_secs(15),
            deadline: Duration::from_secs(24 * 3600),
            max_attempts: 5,
            max_lost_workers: 5,
            drain: Duration::from_secs(30),
            keep_rejects: Duration::from_secs(7 * 24 * 3600),
        }
    }
}

/// `[log]`.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct Log {
    /// A tracing filter, e.g. `info,moulin_lake=debug`.
    pub(crate) filter: String,
    /// `text` or `json`.
    pub(crate) format: LogFormat,
}

impl Default for Log {
    fn default() -> Self {
        Self { filter: "info,datafusion=warn,opendal=warn,sqlx=warn".to_owned(), format: LogFormat::Text }
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum LogFormat {
    Text,
    Json,
}

/// The file as it is written: everything optional.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
struct File {
    state_dir: Option<PathBuf>,
    listen: Option<String>,
    worker_id: Option<String>,
    job: JobLimits,
    store: StoreFile,
    catalog: CatalogFile,
    storage: StorageSettings,
    tls: TlsSettings,
    auth: AuthSettings,
    log: Log,
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
struct StoreFile {
    url: Option<String>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
struct CatalogFile {
    name: Option<String>,
    uri: Option<String>,
    warehouse: Option<String>,
    rest: RestSettings,
}

fn duration<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Duration, D::Error> {
    let text = String::deserialize(deserializer)?;
    humantime::parse_duration(&text)
        .map_err(|e| serde::de::Error::custom(format!("`{text}` is not a duration such as 15s or 24h: {e}")))
}

/// The fault of a wrong setting.
pub(crate) fn wrong(message: impl Into<String>) -> Fault {
    Fault::new(FaultKind::InvalidSpec, message)
        .with_hint("correct the configuration; docs/configuration.md lists every key")
}

impl Config {
    /// Reads `path` (nothing when `None`), then the environment.
    ///
    /// # Errors
    /// `InvalidSpec`, naming the file or variable and the key.
    pub(crate) fn load(path: Option<&Path>) -> Result<Self, Fault> {
        Self::load_with(path, |name| env::var(name).ok())
    }

    fn load_with(path: Option<&Path>, var: impl Fn(&str) -> Option<String>) -> Result<Self, Fault> {
        let mut file = path.map_or_else(|| Ok(File::default()), |path| read(path, &var))?;
        apply_environment(&mut file, &var)?;
        file.resolve(var("MOULIN_FAULT_POINT"))
    }

    /// For programs of this machine, who are told nothing but the port.
    pub(crate) fn local(self) -> Self {
        Self { listen: "127.0.0.1:0".into(), tls: TlsSettings::default(), auth: AuthSettings::default(), ..self }
    }
}

fn read(path: &Path, var: &impl Fn(&str) -> Option<String>) -> Result<File, Fault> {
    let in_file = |what: String| wrong(format!("{}: {what}", path.display()));
    let text = fs::read_to_string(path)
        .map_err(|e| wrong(format!("cannot read the configuration {}: {e}", path.display())))?;
    let mut table: toml::Table = toml::from_str(&text).map_err(|e| in_file(e.to_string().trim().to_owned()))?;
    // What is wrong in the text itself is told with its line.
    let parsed =
        if named::resolve(&mut table, var).map_err(in_file)? { table.try_into() } else { toml::from_str(&text) };
    parsed.map_err(|e| in_file(e.to_string().trim().to_owned()))
}

fn apply_environment(file: &mut File, var: &impl Fn(&str) -> Option<String>) -> Result<(), Fault> {
    let text = |name: &str| var(name).filter(|value| !value.is_empty());
    fn number<T: std::str::FromStr>(name: &str, value: &str) -> Result<T, Fault> {
        value.parse().map_err(|_| wrong(format!("{name} is `{value}`, expected a whole number")))
    }
    fn time(name: &str, value: &str) -> Result<Duration, Fault> {
        humantime::parse_duration(value)
            .map_err(|e| wrong(format!("{name} is `{value}`, expected a duration such as 15s: {e}")))
    }
    let overlay = |slot: &mut Option<String>, name: &str| {
        if let Some(value) = text(name) {
            *slot = Some(value);
        }
    };
    overlay(&mut file.listen, "MOULIN_LISTEN");
    overlay(&mut file.worker_id, "MOULIN_WORKER_ID");
    overlay(&mut file.store.url, "MOULIN_STORE_URL");
    overlay(&mut file.catalog.name, "MOULIN_CATALOG_NAME");
    overlay(&mut file.catalog.uri, "MOULIN_CATALOG_URI");
    overlay(&mut file.catalog.warehouse, "MOULIN_WAREHOUSE");
    let secret = |slot: &mut Option<Secret>, name: &str| {
        if let Some(value) = text(name) {
            *slot = Some(Secret::new(value));
        }
    };
    secret(&mut file.catalog.rest.token, "MOULIN_CATALOG_TOKEN");
    secret(&mut file.catalog.rest.credential, "MOULIN_CATALOG_CREDENTIAL");
    overlay(&mut file.tls.certificate, "MOULIN_TLS_CERTIFICATE");
    secret(&mut file.tls.private_key, "MOULIN_TLS_PRIVATE_KEY");
    overlay(&mut file.tls.client_ca, "MOULIN_TLS_CLIENT_CA");
    if let Some(value) = text("MOULIN_AUTH_TOKENS") {
        file.auth.tokens = value.split(',').map(|token| Secret::new(token.trim())).collect();
    }
    // As AWS's own tools are told; the libraries under readers and warehouse do not both look for all of them.
    let s3 = &mut file.storage.s3;
    let first = |names: [&str; 2]| names.iter().find_map(|name| text(name));
    s3.endpoint = s3.endpoint.take().or_else(|| first(["AWS_ENDPOINT_URL_S3", "AWS_ENDPOINT_URL"]));
    s3.region = s3.region.take().or_else(|| first(["AWS_REGION", "AWS_DEFAULT_REGION"]));
    s3.allow_http |= text("AWS_ALLOW_HTTP").is_some_and(|value| value.eq_ignore_ascii_case("true"));
    if let Some(value) = text("MOULIN_STATE_DIR") {
        file.state_dir = Some(value.into());
    }
    if let Some(value) = text("MOULIN_SLOTS") {
        file.job.slots = number("MOULIN_SLOTS", &value)?;
    }
    if let Some(value) = text("MOULIN_POOLS") {
        file.job.pools = value.split(',').map(|pool| pool.trim().to_owned()).collect();
    }
    if let Some(value) = text("MOULIN_MAX_QUEUED") {
        file.job.max_queued = number("MOULIN_MAX_QUEUED", &value)?;
    }
    if let Some(value) = text("MOULIN_THREADS") {
        file.job.threads = number("MOULIN_THREADS", &value)?;
    }
    if let Some(value) = text("MOULIN_MEMORY_BYTES") {
        file.job.memory_bytes = number("MOULIN_MEMORY_BYTES", &value)?;
    }
    if let Some(value) = text("MOULIN_LEASE") {
        file.job.lease = time("MOULIN_LEASE", &value)?;
    }
    if let Some(value) = text("MOULIN_DEADLINE") {
        file.job.deadline = time("MOULIN_DEADLINE", &value)?;
    }
    if let Some(value) = text("MOULIN_DRAIN") {
        file.job.drain = time("MOULIN_DRAIN", &value)?;
    }
    if let Some(value) = text("MOULIN_KEEP_REJECTS") {
        file.job.keep_rejects = time("MOULIN_KEEP_REJECTS", &value)?;
    }
    if let Some(value) = text("MOULIN_LOG") {
        file.log.filter = value;
    }
    if let Some(value) = text("MOULIN_LOG_FORMAT") {
        file.log.format = match value.as_str() {
            "text" => LogFormat::Text,
            "json" => LogFormat::Json,
            other => return Err(wrong(format!("MOULIN_LOG_FORMAT is `{other}`, expected text or json"))),
        };
    }
    Ok(())
}

impl File {
    fn resolve(self, fault_point: Option<String>) -> Result<Config, Fault> {
        let state_dir = self.state_dir.unwrap_or_else(|| PathBuf::from(".moulin"));
        let state_dir = std::path::absolute(&state_dir)
            .map_err(|e| wrong(format!("state_dir {} cannot be made absolute: {e}", state_dir.display())))?;
        let state = state_dir
            .to_str()
            .ok_or_else(|| wrong(format!("state_dir {} is not UTF-8", state_dir.display())))?
            .to_owned();
        for (key, value) in [("job.slots", self.job.slots), ("job.threads", self.job.threads)] {
            if value == 0 || value > 1024 {
                return Err(wrong(format!("{key} is {value}, expected 1 to 1024")));
            }
        }
        for pool in &self.job.pools {
            pool::check(pool).map_err(|reason| wrong(format!("job.pools: {reason}")))?;
        }
        if self.job.max_queued == 0 {
            return Err(wrong("job.max_queued is 0, so that no job could ever be submitted; expected 1 or more"));
        }
        if self.job.max_lost_workers == 0 {
            return Err(wrong("job.max_lost_workers is 0, so that no job could ever be begun; expected 1 or more"));
        }
        if self.job.lease < Duration::from_secs(1) {
            return Err(wrong("job.lease is under one second: a busy machine would lose every job"));
        }
        self.tls.check()?;
        self.auth.check()?;
        if let Some(endpoint) = self.storage.s3.endpoint.as_ref().filter(|e| e.starts_with("http://"))
            && !self.storage.s3.allow_http
        {
            return Err(wrong(format!(
                "storage.s3.endpoint is {}, which is not encrypted; say storage.s3.allow_http = true (or \
                 AWS_ALLOW_HTTP=true) if that is meant",
                without_secrets(endpoint)
            )));
        }
        let uri = self.catalog.uri.unwrap_or_else(|| format!("sqlite://{state}/catalog.db"));
        let mut catalog = CatalogSettings {
            name: self.catalog.name.unwrap_or_else(|| "moulin".to_owned()),
            uri,
            warehouse: self.catalog.warehouse.unwrap_or_default(),
            rest: self.catalog.rest,
        };
        // A REST catalog has warehouses of its own.
        if catalog.warehouse.is_empty() && !catalog.is_rest() {
            catalog.warehouse = format!("file://{state}/warehouse");
        }
        Ok(Config {
            listen: self.listen.unwrap_or_else(|| "127.0.0.1:7070".to_owned()),
            worker_id: self.worker_id,
            job: self.job,
            store_url: self.store.url.unwrap_or_else(|| format!("sqlite://{state}/jobs.db")),
            catalog,
            storage: self.storage,
            tls: self.tls,
            auth: self.auth,
            log: self.log,
            fault_point: fault_point.filter(|point| !point.is_empty()),
            state_dir,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn load(toml: &str, vars: &[(&str, &str)]) -> Result<Config, Fault> {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("moulin.toml");
        fs::write(&path, toml).unwrap();
        Config::load_with(Some(&path), |name| vars.iter().find(|(n, _)| *n == name).map(|(_, v)| (*v).to_owned()))
    }

    #[test]
    fn no_file_is_a_working_configuration() {
        let config = Config::load_with(None, |_| None).unwrap();
        assert!(config.state_dir.is_absolute());
        assert!(
            config.catalog.warehouse.starts_with("file:///")
                && config.catalog.warehouse.ends_with("/.moulin/warehouse")
        );
    }

    #[test]
    fn the_environment_wins_over_the_file() {
        let config =
            load("listen = \"0.0.0.0:1\"\n[job]\nlease = \"20s\"\n", &[("MOULIN_LISTEN", "127.0.0.1:2")]).unwrap();
        assert_eq!(config.listen, "127.0.0.1:2");
        assert_eq!(config.job.lease, Duration::from_secs(20));
    }

    #[test]
    fn a_text_may_come_from_the_environment_or_a_file_by_name() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("secret");
        fs::write(&file, "hunter2\n").unwrap();
        let toml = format!(
            "[store]\nurl = {{ env = \"JOBS\" }}\n[storage.s3]\nsecret_access_key = {{ file = \"{}\" }}\n\
             [catalog.rest]\ntoken = {{ env = \"TOKEN\" }}\n",
            file.display()
        );
        let config = load(&toml, &[("JOBS", "postgresql://me:hunter3@db/jobs"), ("TOKEN", "hunter4")]).unwrap();
        assert_eq!(config.store_url, "postgresql://me:hunter3@db/jobs");
        assert_eq!(config.storage.s3.secret_access_key.as_ref().unwrap().expose(), "hunter2");
        assert_eq!(config.catalog.rest.token.as_ref().unwrap().expose(), "hunter4");
        assert!(!format!("{config:?}").contains("hunter"), "{config:?}");
        for (toml, words) in [
            ("[store]\nurl = { env = \"NONE\" }", "store.url names the environment variable NONE, which is not set"),
            ("[store]\nurl = { file = \"/no/such\" }", "store.url names the file /no/such"),
            ("[storage.s3]\nregion = { env = 1 }", "region"),
        ] {
            let fault = load(toml, &[]).unwrap_err();
            assert!(fault.message.contains(words), "{}", fault.message);
        }
    }

    #[test]
    fn s3_is_found_where_aws_tools_find_it_and_the_file_wins() {
        let vars = [("AWS_ENDPOINT_URL", "http://local:1"), ("AWS_REGION", "eu-x"), ("AWS_ALLOW_HTTP", "true")];
        let config = load("[storage.s3]\nregion = \"eu-y\"", &vars).unwrap();
        assert_eq!(config.storage.s3.endpoint.as_deref(), Some("http://local:1"));
        assert_eq!(config.storage.s3.region.as_deref(), Some("eu-y"));
        let fault = load("", &vars[..1]).unwrap_err();
        assert!(fault.message.contains("allow_http"), "{}", fault.message);
    }

    #[test]
    fn a_rest_catalog_has_no_warehouse_unless_it_is_said() {
        let config = load("[catalog]\nuri = \"http://catalog\"", &[]).unwrap();
        assert_eq!(config.catalog.warehouse, "");
        let config = load("[catalog]\nuri = \"http://catalog\"\nwarehouse = \"lake\"", &[]).unwrap();
        assert_eq!(config.catalog.warehouse, "lake");
    }

    #[test]
    fn a_wrong_key_or_value_is_named() {
        for (toml, vars, word) in [
            ("lisen = \"x\"", &[][..], "lisen"),
            ("[job]\nlease = \"soon\"", &[], "soon"),
            ("[catalog]\nurl = \"x\"", &[], "url"),
            ("", &[("MOULIN_SLOTS", "many")], "MOULIN_SLOTS"),
            ("[job]\nslots = 0", &[], "job.slots"),
        ] {
            let fault = load(toml, vars).unwrap_err();
            assert!(fault.message.contains(word), "{}", fault.message);
        }
    }
}
