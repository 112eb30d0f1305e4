//! Stores are built from a uri and the worker's settings.

use std::sync::Arc;

use moulin_core::{S3Settings, StorageSettings};
use object_store::ObjectStore;
use object_store::aws::{AmazonS3, AmazonS3Builder};
use object_store::azure::MicrosoftAzureBuilder;
use object_store::gcp::GoogleCloudStorageBuilder;
use object_store::http::HttpBuilder;
use object_store::{ClientOptions, Result};

use super::location::Remote;
use crate::Error;

/// The store of a uri.
pub(super) fn build(uri: &str, remote: &Remote, settings: &StorageSettings) -> Result<Arc<dyn ObjectStore>, Error> {
    let store = || -> Result<Arc<dyn ObjectStore>> {
        Ok(match remote.scheme.as_str() {
            "s3" | "s3a" => Arc::new(s3(&remote.authority, &settings.s3)?),
            "gs" => Arc::new(GoogleCloudStorageBuilder::from_env().with_bucket_name(&remote.authority).build()?),
            "http" | "https" => {
                let query = remote.query.as_ref().map(|query| format!("?{query}")).unwrap_or_default();
                let url = format!("{}://{}/{query}", remote.scheme, remote.authority);
                let options = ClientOptions::new().with_allow_http(true);
                Arc::new(HttpBuilder::new().with_url(url).with_client_options(options).build()?)
            }
            scheme => {
                let url = format!("{scheme}://{}/", remote.authority);
                Arc::new(MicrosoftAzureBuilder::from_env().with_url(url).build()?)
            }
        })
    };
    store().map_err(|source| Error::Store { uri: uri.to_owned(), source })
}

fn s3(bucket: &str, settings: &S3Settings) -> Result<AmazonS3> {
    let mut builder = AmazonS3Builder::from_env().with_bucket_name(bucket);
    if let Some(endpoint) = &settings.endpoint {
        // A virtual-hosted request has the bucket in its host, and the builder takes the endpoint as it is.
        builder =
            builder.with_endpoint(if settings.path_style { endpoint.clone() } else { with_bucket(endpoint, bucket) });
        builder = builder.with_virtual_hosted_style_request(!settings.path_style);
    } else if settings.path_style {
        builder = builder.with_virtual_hosted_style_request(false);
    }
    if let Some(region) = &settings.region {
        builder = builder.with_region(region);
    }
    if let Some(id) = &settings.access_key_id {
        builder = builder.with_access_key_id(id.expose());
    }
    if let Some(key) = &settings.secret_access_key {
        builder = builder.with_secret_access_key(key.expose());
    }
    if let Some(token) = &settings.session_token {
        builder = builder.with_token(token.expose());
    }
    if settings.allow_http {
        builder = builder.with_allow_http(true);
    }
    builder.build()
}

fn with_bucket(endpoint: &str, bucket: &str) -> String {
    match endpoint.split_once("://") {
        Some((scheme, host)) => format!("{scheme}://{bucket}.{host}"),
        None => format!("{bucket}.{endpoint}"),
    }
}
