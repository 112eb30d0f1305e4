//! How stores are reached: one settings value for input files (`object_store`) and the warehouse (Iceberg's `FileIO`).

use std::fmt;

use serde::{Deserialize, Serialize};

/// Settings of all object stores. Absent values are found as the store's own tools find them (environment,
/// instance profile).
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct StorageSettings {
    /// Amazon S3 and everything that speaks its protocol.
    pub s3: S3Settings,
    /// Google Cloud Storage.
    pub gcs: GcsSettings,
    /// Azure Blob Storage and Data Lake Storage.
    pub azure: AzureSettings,
}

/// Settings of an S3-compatible store.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct S3Settings {
    /// E.g. `http://localhost:9000`. Absent: Amazon's.
    pub endpoint: Option<String>,
    /// E.g. `eu-central-1`.
    pub region: Option<String>,
    /// Access key id. Better left to the environment (`AWS_ACCESS_KEY_ID`).
    pub access_key_id: Option<Secret>,
    /// Secret access key. Better left to the environment (`AWS_SECRET_ACCESS_KEY`).
    pub secret_access_key: Option<Secret>,
    /// Of temporary credentials.
    pub session_token: Option<Secret>,
    /// `http://endpoint/bucket/key` instead of `http://bucket.endpoint/key`. Absent: when there is an endpoint, because
    /// most servers that are not Amazon's need it.
    pub path_style: Option<bool>,
    /// Whether plain `http://` endpoints are allowed.
    pub allow_http: bool,
}

impl S3Settings {
    /// Whether the bucket stands in the path of a request.
    #[must_use]
    pub fn is_path_style(&self) -> bool {
        self.path_style.unwrap_or(self.endpoint.is_some())
    }
}

/// Settings of Google Cloud Storage.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct GcsSettings {
    /// The JSON text of a service account's key. Better left to a file that `GOOGLE_APPLICATION_CREDENTIALS` names.
    pub service_account_key: Option<Secret>,
}

/// Settings of Azure's stores: an account, and one way to prove who asks.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct AzureSettings {
    /// Name of the storage account.
    pub account: Option<String>,
    /// Key of the account.
    pub access_key: Option<Secret>,
    /// Shared access signature, without the `?`.
    pub sas_token: Option<Secret>,
    /// Directory of a service principal.
    pub tenant_id: Option<String>,
    /// Application id of a service principal.
    pub client_id: Option<String>,
    /// Secret of a service principal.
    pub client_secret: Option<Secret>,
}

/// A text that does not print.
#[derive(Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Secret(String);

impl Secret {
    /// Hides a text.
    #[must_use]
    pub fn new(text: impl Into<String>) -> Self {
        Self(text.into())
    }

    /// The text, for the one place that needs it.
    #[must_use]
    pub fn expose(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("***")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_secret_does_not_print() {
        let settings = S3Settings { secret_access_key: Some(Secret::new("hunter2")), ..S3Settings::default() };
        assert!(!format!("{settings:?}").contains("hunter2"));
    }

    #[test]
    fn an_endpoint_of_ones_own_has_the_bucket_in_the_path_unless_it_is_said() {
        let own = S3Settings { endpoint: Some("http://localhost:9000".into()), ..S3Settings::default() };
        assert!(own.is_path_style() && !S3Settings::default().is_path_style());
        assert!(!S3Settings { path_style: Some(false), ..own }.is_path_style());
    }
}
