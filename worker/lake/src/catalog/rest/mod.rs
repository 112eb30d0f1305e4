//! The catalog behind a server that speaks Iceberg's REST protocol
//! (<https://iceberg.apache.org/rest-catalog-spec/>): Polaris, Lakekeeper, Nessie, Unity, Glue, S3 Tables, Hive 4.1.
//!
//! The server writes the table's metadata itself, from the updates of a commit, if their requirements hold.

mod answer;
mod auth;
mod renewal;
mod session;
mod settings;
mod signing;
#[cfg(test)]
mod tests;

use std::collections::HashMap;
use std::fmt;
use std::sync::Arc;
use std::time::SystemTime;

use iceberg::spec::{FormatVersion, TableMetadata};
use iceberg::{NamespaceIdent, TableIdent, TableUpdate};
use iceberg_catalog_rest::{CommitTableRequest, CommitTableResponse, CreateTableRequest, LoadTableResult};
use moulin_core::{TableName, without_secrets};
use serde::Deserialize;
use serde_json::json;

use super::{CatalogSettings, Loaded, Swap, Swapped};
use crate::{Error, warehouse::Warehouse};
use answer::{Answer, Failure};
use renewal::{Renewals, expiry};
use session::{Session, encoded, of_files};
pub use settings::RestSettings;

const COMMIT: &str = "POST /v1/{prefix}/namespaces/{namespace}/tables/{table}";
const CREATE_NAMESPACE: &str = "POST /v1/{prefix}/namespaces";

#[derive(Clone)]
pub(crate) struct Rest {
    session: Arc<Session>,
    /// The catalog, account or bucket of tables that is meant, as the server names it.
    name: String,
    /// Without a password.
    uri: String,
    warehouse: Warehouse,
    renewals: Arc<Renewals>,
}

// A session holds secrets.
impl fmt::Debug for Rest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Rest").field("uri", &self.uri).finish_non_exhaustive()
    }
}

#[derive(Deserialize)]
struct Namespace {
    #[serde(default)]
    properties: Option<HashMap<String, String>>,
}

#[derive(Deserialize)]
struct Namespaces {
    namespaces: Vec<Vec<String>>,
}

impl Rest {
    pub(super) async fn open(settings: &CatalogSettings, warehouse: Warehouse) -> Result<Self, Error> {
        settings.rest.check()?;
        let uri = without_secrets(&settings.uri);
        let session = Session::open(settings, warehouse.region())
            .await
            .map_err(|e| failed(&uri, "ask it for its configuration", e))?;
        if !session.offers(COMMIT) {
            return Err(Error::invalid(format!("catalog {uri} offers no commits to tables ({COMMIT})")));
        }
        Ok(Self {
            session: Arc::new(session),
            name: settings.warehouse.clone(),
            uri,
            warehouse,
            renewals: Arc::default(),
        })
    }

    pub(super) async fn check(&self) -> Result<String, Error> {
        let doing = "list its namespaces";
        self.session.config(&self.name).await.map_err(|e| self.failed("ask it for its configuration", e))?;
        let answer = self.session.get("namespaces").await.map_err(|e| self.failed(doing, e))?;
        let found: Namespaces = answer.value().map_err(|e| self.failed(doing, e))?;
        let prefix = match self.session.prefix() {
            "" => String::new(),
            prefix => format!(" (prefix {prefix})"),
        };
        Ok(format!("rest catalog with {} namespaces at {}{prefix}", found.namespaces.len(), self.uri))
    }

    pub(super) async fn load(&self, table: &TableName) -> Result<Option<Loaded>, Error> {
        let (loaded, expires) = self.load_once(table).await?;
        if let Some(expires) = expires {
            self.renewals.keep(self, table, expires);
        }
        Ok(loaded)
    }

    /// The table, and when what it gave for its files expires.
    async fn load_once(&self, table: &TableName) -> Result<(Option<Loaded>, Option<SystemTime>), Error> {
        let doing = format!("load {table}");
        let answer = self.session.get(&self.path(table)).await.map_err(|e| self.failed(&doing, e))?;
        if answer.says_absent() {
            return Ok((None, None));
        }
        let loaded: LoadTableResult = answer.value().map_err(|e| self.failed(&doing, e))?;
        let expires = self.take_access(&loaded);
        let status = answer.status;
        let location = loaded.metadata_location.ok_or_else(|| {
            self.failed(&doing, Failure::Garbled { status, reason: "it has no metadata-location".to_owned() })
        })?;
        Ok((Some(Loaded::new(loaded.metadata, location)), expires))
    }

    /// Keeps how the files of a table are reached: with the credentials for places, or else those for the whole table.
    fn take_access(&self, loaded: &LoadTableResult) -> Option<SystemTime> {
        let mut common = self.session.files.clone();
        common.extend(of_files(&loaded.config));
        let mut given = Vec::new();
        for credential in loaded.storage_credentials.as_deref().unwrap_or_default() {
            let mut properties = common.clone();
            properties.extend(of_files(&credential.config));
            given.push((credential.prefix.as_str(), properties));
        }
        if given.is_empty() && !common.is_empty() {
            given.push((loaded.metadata.location().trim_end_matches('/'), common));
        }
        let expires = given.iter().filter_map(|(_, properties)| expiry(properties)).min();
        for (place, properties) in given {
            self.warehouse.give(place, properties);
        }
        expires
    }

    pub(super) async fn create(&self, table: &TableName, metadata: &TableMetadata) -> Result<bool, Error> {
        self.create_namespace(&table.namespace).await?;
        let doing = format!("create {table}");
        let request = self.create_request(table, metadata);
        let path = format!("{}/tables", self.session.namespace_path(&table.namespace));
        match self.session.post(&path, &request).await {
            Ok(_) => Ok(true),
            Err(e) if e.is_conflict() => Ok(false),
            Err(e) => Err(self.failed(&doing, e)),
        }
    }

    // No location: the server chooses, and knows where it may.
    fn create_request(&self, table: &TableName, metadata: &TableMetadata) -> CreateTableRequest {
        let mut properties = metadata.properties().clone();
        let version = match metadata.format_version() {
            FormatVersion::V1 => "1",
            FormatVersion::V2 => "2",
            FormatVersion::V3 => "3",
        };
        properties.insert("format-version".to_owned(), version.to_owned());
        CreateTableRequest {
            name: table.name.clone(),
            location: None,
            schema: metadata.current_schema().as_ref().clone(),
            partition_spec: Some(metadata.default_partition_spec().as_ref().clone().into_unbound()),
            write_order: Some(metadata.default_sort_order().as_ref().clone()).filter(|order| !order.is_unsorted()),
            stage_create: None,
            properties,
        }
    }

    async fn create_namespace(&self, namespace: &[String]) -> Result<(), Error> {
        let doing = format!("create the namespace {}", namespace.join("."));
        let path = self.session.namespace_path(namespace);
        let found = self.session.get(&path).await.map_err(|e| self.failed(&doing, e))?;
        // Whoever may not look may perhaps create tables in it all the same; the server says it then.
        if !found.says_absent() || !self.session.offers(CREATE_NAMESPACE) {
            return Ok(());
        }
        let request = json!({ "namespace": namespace, "properties": {} });
        match self.session.post("namespaces", &request).await {
            Err(e) if !e.is_conflict() => Err(self.failed(&doing, e)),
            _ => Ok(()),
        }
    }

    pub(super) async fn namespace(&self, namespace: &[String]) -> Result<HashMap<String, String>, Error> {
        let doing = format!("read the namespace {}", namespace.join("."));
        let path = self.session.namespace_path(namespace);
        let answer = self.session.get(&path).await.map_err(|e| self.failed(&doing, e))?;
        if answer.says_absent() {
            return Ok(HashMap::new());
        }
        let found: Namespace = answer.value().map_err(|e| self.failed(&doing, e))?;
        Ok(found.properties.unwrap_or_default())
    }

    pub(super) async fn swap(&self, table: &TableName, base: &Loaded, swap: &Swap) -> Result<Swapped, Error> {
        let doing = format!("commit to {table}");
        for requirement in &swap.requirements {
            requirement.check(Some(&base.metadata)).map_err(Error::iceberg(table, "commit"))?;
        }
        let identifier = NamespaceIdent::from_vec(table.namespace.clone())
            .map(|namespace| TableIdent::new(namespace, table.name.clone()))
            .map_err(Error::iceberg(table, "commit"))?;
        let request = CommitTableRequest {
            identifier: Some(identifier),
            requirements: swap.requirements.clone(),
            updates: swap.updates.clone(),
        };
        let answer = self.session.post(&self.path(table), &request).await;
        match answer.and_then(|answer| committed(&answer, swap)) {
            Ok(metadata_location) => Ok(Swapped::Done(metadata_location)),
            Err(e) if e.may_have_happened() => Ok(Swapped::Unknown(self.failed(&doing, e))),
            Err(e) if e.is_conflict() => self.after_conflict(table, swap, &doing).await,
            Err(e) => Err(self.failed(&doing, e)),
        }
    }

    // Something between here and the server may have sent the request twice: then the first one is the other writer, and
    // its files must stay.
    async fn after_conflict(&self, table: &TableName, swap: &Swap, doing: &str) -> Result<Swapped, Error> {
        match self.load(table).await {
            Ok(Some(now)) if added_by(swap).is_some_and(|id| now.metadata.snapshot_by_id(id).is_some()) => {
                Ok(Swapped::Done(now.location))
            }
            Ok(_) => Ok(Swapped::Conflict),
            Err(error) => {
                tracing::warn!(%table, %error, doing, "a conflict that could not be looked at");
                Ok(Swapped::Unknown(error))
            }
        }
    }

    fn path(&self, table: &TableName) -> String {
        format!("{}/tables/{}", self.session.namespace_path(&table.namespace), encoded(&table.name))
    }

    fn failed(&self, doing: &str, failure: Failure) -> Error {
        failed(&self.uri, doing, failure)
    }
}

/// Where the table stands after a commit, if the answer shows that it was done.
fn committed(answer: &Answer, swap: &Swap) -> Result<String, Failure> {
    let done: CommitTableResponse = answer.value()?;
    match added_by(swap) {
        Some(id) if done.metadata.snapshot_by_id(id).is_none() => {
            Err(Failure::Garbled { status: answer.status, reason: format!("the table has no snapshot {id} in it") })
        }
        _ => Ok(done.metadata_location),
    }
}

fn added_by(swap: &Swap) -> Option<i64> {
    swap.updates.iter().find_map(|update| match update {
        TableUpdate::AddSnapshot { snapshot } => Some(snapshot.snapshot_id()),
        _ => None,
    })
}

fn failed(uri: &str, doing: &str, failure: Failure) -> Error {
    Error::Catalog { uri: uri.to_owned(), doing: doing.to_owned(), kind: failure.kind(), source: Box::new(failure) }
}
