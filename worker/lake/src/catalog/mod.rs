//! Where tables are found by name, and the one atomic step of a commit.
//!
//! Catalogs differ in three things only: how a table is loaded, how it is created, and how its metadata is
//! swapped. A catalog in a SQL database swaps a metadata file's location; a REST catalog takes the updates and
//! requirements of [`Swap`] as they are.

mod rest;
mod sql;

use std::collections::HashMap;
use std::fmt;
use std::sync::Arc;

use iceberg::spec::TableMetadata;
use iceberg::{MetadataLocation, TableRequirement, TableUpdate};
use moulin_core::{TableName, without_secrets};
use serde::{Deserialize, Serialize};

use crate::commit::Tokens;
use crate::{Error, warehouse::Warehouse};
use rest::Rest;
pub use rest::RestSettings;
use sql::Sql;

/// What `catalog.uri` may be.
const EXPECTED: &str = "sqlite:///absolute/path/catalog.db, postgresql://user@host:5432/database or the http(s):// \
                        address of a REST catalog";

/// The Iceberg catalog a worker lands into: `[catalog]` of the configuration.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct CatalogSettings {
    /// The catalog's name in its database; PyIceberg must use the same. Default `moulin`. REST catalogs have none.
    #[serde(default = "default_name")]
    pub name: String,
    /// `sqlite:///absolute/path/catalog.db`, `postgresql://user@host:5432/database`, or the `http(s)://` address of a REST
    /// catalog, without `/v1`.
    pub uri: String,
    /// Root of the tables a job makes: `file:///absolute/path`, an absolute path, or `s3://bucket/prefix`. Of a REST
    /// catalog, which chooses places itself: the warehouse as the server names it, or nothing.
    pub warehouse: String,
    /// More about a REST catalog.
    #[serde(default)]
    pub rest: RestSettings,
}

impl CatalogSettings {
    /// Whether the catalog is behind a server, which chooses where tables are.
    #[must_use]
    pub fn is_rest(&self) -> bool {
        self.uri.starts_with("http://") || self.uri.starts_with("https://")
    }
}

fn default_name() -> String {
    "moulin".to_owned()
}

// The uri may hold a password.
impl fmt::Debug for CatalogSettings {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { name, uri, warehouse, rest } = self;
        let uri = without_secrets(uri);
        f.debug_struct("CatalogSettings")
            .field("name", name)
            .field("uri", &uri)
            .field("warehouse", warehouse)
            .field("rest", rest)
            .finish()
    }
}

/// A table as it stood when it was loaded; cheap to clone, however many snapshots it has.
#[derive(Debug, Clone)]
pub(crate) struct Loaded {
    pub(crate) metadata: Arc<TableMetadata>,
    pub(crate) location: String,
    pub(crate) tokens: Tokens,
}

impl Loaded {
    /// A table of which nothing is known but this.
    pub(crate) fn new(metadata: TableMetadata, location: String) -> Self {
        Self { metadata: metadata.into(), location, tokens: Tokens::default() }
    }

    /// The table after a swap.
    fn followed_by(&self, swap: &Swap, location: String) -> Self {
        let added = swap.updates.iter().filter_map(|update| match update {
            TableUpdate::AddSnapshot { snapshot } => Some(snapshot),
            _ => None,
        });
        let tokens = added.fold(self.tokens.clone(), |tokens, snapshot| tokens.followed_by(&self.metadata, snapshot));
        Self { metadata: Arc::clone(&swap.metadata), location, tokens }
    }
}

/// What a commit asks of the catalog.
#[derive(Debug)]
pub(crate) struct Swap {
    /// The metadata as it will be.
    pub(crate) metadata: Arc<TableMetadata>,
    /// How it is made from the base; for catalogs that make it themselves.
    pub(crate) updates: Vec<TableUpdate>,
    /// What must still hold of the base.
    pub(crate) requirements: Vec<TableRequirement>,
}

/// The answer to a [`Swap`].
#[derive(Debug)]
pub(crate) enum Swapped {
    /// The table now stands at this metadata location.
    Done(String),
    /// Somebody else changed the table first; nothing of this try is visible or ever will be.
    Conflict,
    /// The question was sent and the answer was lost: the table stands at this location, or will, or never does.
    Unknown(Error),
}

#[derive(Debug, Clone)]
pub(crate) enum Catalog {
    Sql(Sql),
    Rest(Rest),
}

impl Catalog {
    pub(crate) async fn open(settings: &CatalogSettings, warehouse: Warehouse) -> Result<Self, Error> {
        if settings.name.trim().is_empty() && !settings.is_rest() {
            return Err(Error::invalid("catalog.name is empty"));
        }
        let scheme = settings.uri.split_once("://").map_or("", |(scheme, _)| scheme);
        match scheme {
            "sqlite" | "postgresql" | "postgres" => Ok(Self::Sql(Sql::open(settings, warehouse).await?)),
            "http" | "https" => Ok(Self::Rest(Rest::open(settings, warehouse).await?)),
            _ => Err(Error::invalid(format!(
                "catalog.uri `{}` is not a catalog; use {EXPECTED}",
                without_secrets(&settings.uri)
            ))),
        }
    }

    /// Whether it says itself where a new table is.
    pub(crate) fn chooses_places(&self) -> bool {
        matches!(self, Self::Rest(_))
    }

    /// Whether it answers; in words, for a person.
    pub(crate) async fn check(&self) -> Result<String, Error> {
        match self {
            Self::Sql(sql) => sql.check().await,
            Self::Rest(rest) => rest.check().await,
        }
    }

    /// The table as it stands now.
    pub(crate) async fn load(&self, table: &TableName) -> Result<Option<Loaded>, Error> {
        match self {
            Self::Sql(sql) => sql.load(table).await,
            Self::Rest(rest) => rest.load(table).await,
        }
    }

    /// Creates namespace and table; `false`: somebody else created the table first.
    pub(crate) async fn create(&self, table: &TableName, metadata: &TableMetadata) -> Result<bool, Error> {
        match self {
            Self::Sql(sql) => sql.create(table, metadata).await,
            Self::Rest(rest) => rest.create(table, metadata).await,
        }
    }

    /// Properties of a namespace; empty when it does not exist.
    pub(crate) async fn namespace(&self, namespace: &[String]) -> Result<HashMap<String, String>, Error> {
        match self {
            Self::Sql(sql) => sql.namespace(&namespace.join(".")).await,
            Self::Rest(rest) => rest.namespace(namespace).await,
        }
    }

    /// Replaces the table's metadata if it still is `base`.
    ///
    /// # Errors
    /// Nothing was sent to the catalog, and nothing is visible.
    pub(crate) async fn swap(&self, table: &TableName, base: &Loaded, swap: &Swap) -> Result<Swapped, Error> {
        match self {
            Self::Sql(sql) => sql.swap(table, base, swap).await,
            Self::Rest(rest) => rest.swap(table, base, swap).await,
        }
    }
}

/// The location of the metadata file that follows `base`.
fn next_metadata_location(base: &Loaded, metadata: &TableMetadata) -> MetadataLocation {
    // A table that another engine named differently (`v3.metadata.json`) goes on with Moulin's names.
    match base.location.parse::<MetadataLocation>() {
        Ok(location) => location.with_next_version().with_new_metadata(metadata),
        Err(_) => MetadataLocation::new_with_metadata(metadata.location(), metadata),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_uri_that_does_not_parse_is_not_repeated_with_its_password() {
        for uri in [
            "postgresql://me:hun/ter2@db/x",
            "postgresql://me:hun#ter2@db/x",
            "postgresql://me:hun?ter2@db/x",
            "postgresql:me:hunter2@db",
            "mysql://me:hun/ter2@db/x",
            "sqlite:me:hunter2@db",
            "http://me:hun/ter2@127.0.0.1:1/x",
            "me:hunter2@db",
        ] {
            let settings = CatalogSettings {
                name: "moulin".into(),
                uri: uri.into(),
                warehouse: "/w".into(),
                rest: Default::default(),
            };
            let error = Catalog::open(&settings, Warehouse::new(&Default::default())).await.unwrap_err();
            let report = moulin_core::Fault::from(error).report();
            for part in ["hun", "ter2"] {
                assert!(!report.contains(part), "{uri}: {report}");
                assert!(!format!("{settings:?}").contains(part), "{uri}: {settings:?}");
            }
        }
    }

    #[tokio::test]
    async fn an_unknown_catalog_is_refused_with_what_is_possible() {
        for uri in ["mysql://db/x", "postgresql+psycopg2://db/x", "catalog.db"] {
            let settings = CatalogSettings {
                name: "moulin".into(),
                uri: uri.into(),
                warehouse: "/w".into(),
                rest: Default::default(),
            };
            let error = Catalog::open(&settings, Warehouse::new(&Default::default())).await.unwrap_err();
            assert!(error.to_string().contains("sqlite:///"), "{error}");
            assert_eq!(error.kind(), moulin_core::FaultKind::InvalidSpec);
        }
    }
}
