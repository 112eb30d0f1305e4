//! What a uri points at.

use std::path::PathBuf;

use object_store::path::Path;

use crate::Error;

/// A place on this machine or in a store.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Location {
    /// An absolute path, or a pattern of one.
    Local(PathBuf),
    /// A key of a store, or a pattern of one.
    Remote(Remote),
}

/// A key in a bucket, or a path on a web server.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Remote {
    /// `s3`, `gs`, `az`, `abfss`, `http`, ...
    pub(super) scheme: String,
    /// Bucket, `container@account` or `host:port`.
    pub(super) authority: String,
    /// Key or path without the leading slash.
    pub(super) path: String,
    /// Query of a http uri.
    pub(super) query: Option<String>,
}

impl Location {
    pub(super) fn parse(uri: &str) -> Result<Self, Error> {
        let wrong = |reason: &str| Error::Uri { uri: uri.to_owned(), reason: reason.to_owned() };
        // A file has one path, however it is written: by that it is read once, and known when it comes again.
        let absolute =
            |path: &str| std::path::absolute(path).map(Self::Local).map_err(|error| wrong(&error.to_string()));
        let Some((scheme, rest)) = uri.split_once("://") else {
            return absolute(uri);
        };
        let scheme = scheme.to_ascii_lowercase();
        match scheme.as_str() {
            "file" => {
                let path = rest.strip_prefix("localhost").filter(|p| p.starts_with('/')).unwrap_or(rest);
                if !path.starts_with('/') {
                    return Err(wrong("a file uri holds an absolute path: file:///folder/name"));
                }
                absolute(&format!("/{}", path.trim_start_matches('/')))
            }
            "s3" | "s3a" | "gs" | "az" | "azure" | "abfs" | "abfss" | "http" | "https" => {
                let (authority, path) = rest.split_once('/').unwrap_or((rest, ""));
                if authority.is_empty() || path.is_empty() {
                    return Err(wrong("it names no file: scheme://bucket-or-host/path is expected"));
                }
                let is_http = scheme.starts_with("http");
                let (path, query) = match path.split_once('?') {
                    Some((path, query)) if is_http => (path, Some(query.to_owned())),
                    _ => (path, None),
                };
                Ok(Self::Remote(Remote { scheme, authority: authority.to_owned(), path: path.to_owned(), query }))
            }
            _ => Err(wrong("there is no store for its scheme; there are file, s3, gs, az, abfss, http, https")),
        }
    }
}

impl Remote {
    pub(super) fn is_http(&self) -> bool {
        self.scheme.starts_with("http")
    }

    /// What one connection pool serves.
    pub(super) fn store_key(&self) -> String {
        match &self.query {
            Some(query) => format!("{}://{}?{query}", self.scheme, self.authority),
            None => format!("{}://{}", self.scheme, self.authority),
        }
    }

    /// The uri of another key of the same store.
    pub(super) fn uri_of(&self, key: &str) -> String {
        format!("{}://{}/{key}", self.scheme, self.authority)
    }

    pub(super) fn object_path(&self, uri: &str) -> Result<Path, Error> {
        let path = if self.is_http() { Path::from_url_path(&self.path) } else { Path::parse(&self.path) };
        path.map_err(|error| Error::Uri { uri: uri.to_owned(), reason: error.to_string() })
    }
}
