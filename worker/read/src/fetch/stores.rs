//! Stores are built from a uri and the worker's settings.

use std::sync::Arc;

use moulin_core::{AzureSettings, GcsSettings, S3Settings, Secret, StorageSettings};
use object_store::ObjectStore;
use object_store::aws::AmazonS3Builder;
use object_store::azure::{AzureConfigKey, MicrosoftAzureBuilder};
use object_store::gcp::GoogleCloudStorageBuilder;
use object_store::http::HttpBuilder;
use object_store::{ClientOptions, Result};

use super::location::Remote;
use crate::Error;

/// The store of a uri.
pub(super) fn build(uri: &str, remote: &Remote, settings: &StorageSettings) -> Result<Arc<dyn ObjectStore>, Error> {
    let store = || -> Result<Arc<dyn ObjectStore>> {
        Ok(match remote.scheme.as_str() {
            "s3" | "s3a" => Arc::new(s3(&remote.authority, &settings.s3).build()?),
            "gs" => Arc::new(gcs(&remote.authority, &settings.gcs).build()?),
            "http" | "https" => {
                let query = remote.query.as_ref().map(|query| format!("?{query}")).unwrap_or_default();
                let url = format!("{}://{}/{query}", remote.scheme, remote.authority);
                Arc::new(HttpBuilder::new().with_url(url).with_client_options(http_options()).build()?)
            }
            scheme => {
                let url = format!("{scheme}://{}/", remote.authority);
                Arc::new(azure(url, &settings.azure).build()?)
            }
        })
    };
    store().map_err(|source| Error::Store { uri: uri.to_owned(), source })
}

/// One answer is read as slowly as its rows land, and may take any time: what may not last is silence (`remote`).
pub(super) fn http_options() -> ClientOptions {
    ClientOptions::new().with_allow_http(true).with_timeout_disabled()
}

// What is not set is left to what the builder found in the environment. Every field is named, so that a new one is
// not forgotten here; `moulin-lake` gives the same ones to Iceberg's file access.
fn s3(bucket: &str, settings: &S3Settings) -> AmazonS3Builder {
    let S3Settings { endpoint, region, access_key_id, secret_access_key, session_token, path_style: _, allow_http } =
        settings;
    let path_style = settings.is_path_style();
    let mut builder = AmazonS3Builder::from_env().with_bucket_name(bucket);
    if let Some(endpoint) = endpoint {
        // A virtual-hosted request has the bucket in its host, and the builder takes the endpoint as it is.
        builder = builder.with_endpoint(if path_style { endpoint.clone() } else { with_bucket(endpoint, bucket) });
        builder = builder.with_virtual_hosted_style_request(!path_style);
    } else if path_style {
        builder = builder.with_virtual_hosted_style_request(false);
    }
    if let Some(region) = region {
        builder = builder.with_region(region);
    }
    if let Some(id) = access_key_id {
        builder = builder.with_access_key_id(id.expose());
    }
    if let Some(key) = secret_access_key {
        builder = builder.with_secret_access_key(key.expose());
    }
    if let Some(token) = session_token {
        builder = builder.with_token(token.expose());
    }
    if *allow_http {
        builder = builder.with_allow_http(true);
    }
    builder
}

fn gcs(bucket: &str, settings: &GcsSettings) -> GoogleCloudStorageBuilder {
    let GcsSettings { service_account_key } = settings;
    let builder = GoogleCloudStorageBuilder::from_env().with_bucket_name(bucket);
    match service_account_key {
        Some(key) => builder.with_service_account_key(key.expose()),
        None => builder,
    }
}

fn azure(url: String, settings: &AzureSettings) -> MicrosoftAzureBuilder {
    let AzureSettings { account, access_key, sas_token, tenant_id, client_id, client_secret } = settings;
    let secret = |secret: &Option<Secret>| secret.as_ref().map(|secret| secret.expose().to_owned());
    let mut builder = MicrosoftAzureBuilder::from_env().with_url(url);
    for (key, value) in [
        (AzureConfigKey::AccountName, account.clone()),
        (AzureConfigKey::AccessKey, secret(access_key)),
        (AzureConfigKey::SasKey, secret(sas_token)),
        (AzureConfigKey::AuthorityId, tenant_id.clone()),
        (AzureConfigKey::ClientId, client_id.clone()),
        (AzureConfigKey::ClientSecret, secret(client_secret)),
    ] {
        if let Some(value) = value {
            builder = builder.with_config(key, value);
        }
    }
    builder
}

fn with_bucket(endpoint: &str, bucket: &str) -> String {
    match endpoint.split_once("://") {
        Some((scheme, host)) => format!("{scheme}://{bucket}.{host}"),
        None => format!("{bucket}.{endpoint}"),
    }
}

#[cfg(test)]
mod tests {
    use object_store::aws::AmazonS3ConfigKey;
    use object_store::gcp::GoogleConfigKey;

    use super::*;

    #[test]
    fn every_setting_of_s3_reaches_the_store() {
        let secret = |text: &str| Some(Secret::new(text));
        let builder = s3(
            "b",
            &S3Settings {
                endpoint: Some("http://localhost:9000".into()),
                region: Some("eu-x".into()),
                access_key_id: secret("id"),
                secret_access_key: secret("key"),
                session_token: secret("token"),
                path_style: Some(true),
                allow_http: true,
            },
        );
        for (key, value) in [
            (AmazonS3ConfigKey::Endpoint, "http://localhost:9000"),
            (AmazonS3ConfigKey::Region, "eu-x"),
            (AmazonS3ConfigKey::AccessKeyId, "id"),
            (AmazonS3ConfigKey::SecretAccessKey, "key"),
            (AmazonS3ConfigKey::Token, "token"),
            (AmazonS3ConfigKey::VirtualHostedStyleRequest, "false"),
        ] {
            assert_eq!(builder.get_config_value(&key).as_deref(), Some(value), "{key:?}");
        }
        builder.build().unwrap();
    }

    #[test]
    fn every_setting_of_gcs_and_azure_reaches_the_store() {
        let secret = |text: &str| Some(Secret::new(text));
        let builder = gcs("b", &GcsSettings { service_account_key: secret("{}") });
        assert_eq!(builder.get_config_value(&GoogleConfigKey::ServiceAccountKey).as_deref(), Some("{}"));
        let settings = AzureSettings {
            account: Some("lake".into()),
            access_key: secret("a2V5"),
            sas_token: secret("sv=1"),
            tenant_id: Some("tenant".into()),
            client_id: Some("client".into()),
            client_secret: secret("word"),
        };
        let builder = azure("abfss://c@lake.dfs.core.windows.net/".into(), &settings);
        for (key, value) in [
            (AzureConfigKey::AccountName, "lake"),
            (AzureConfigKey::AccessKey, "a2V5"),
            (AzureConfigKey::SasKey, "sv=1"),
            (AzureConfigKey::AuthorityId, "tenant"),
            (AzureConfigKey::ClientId, "client"),
            (AzureConfigKey::ClientSecret, "word"),
        ] {
            assert_eq!(builder.get_config_value(&key).as_deref(), Some(value), "{key:?}");
        }
        builder.build().unwrap();
    }
}
