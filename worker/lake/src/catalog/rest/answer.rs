//! What a REST catalog answers, and what no answer means.

use bytes::Bytes;
use moulin_core::FaultKind;
use serde::Deserialize;
use serde::de::DeserializeOwned;

/// An answer of the server, good or bad.
#[derive(Debug)]
pub(super) struct Answer {
    pub(super) status: u16,
    pub(super) body: Bytes,
    /// Where it says that the thing is instead.
    elsewhere: Option<String>,
}

/// A request that did not do what it should.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Failure {
    /// Nobody was there to take it.
    #[error("the server is not reached")]
    NotSent(#[source] reqwest::Error),
    /// It was sent, and no answer came.
    #[error("the answer was lost")]
    Lost(#[source] reqwest::Error),
    /// The server answered that it will not, or cannot.
    #[error("the server answered {status}{}", told(name, message))]
    Answered {
        status: u16,
        /// The error's type in the protocol; empty: the answer is not from a catalog.
        name: String,
        message: String,
    },
    /// The server says that it is elsewhere. Followed, a commit would become a question or be sent to a stranger.
    #[error("the server answered {status} and sends on to {to}, which is not followed: {advice}")]
    SentOn {
        status: u16,
        /// Without credentials and query.
        to: String,
        advice: &'static str,
    },
    /// The answer is not what the protocol says.
    #[error("the answer {status} is not what was expected: {reason}")]
    Garbled { status: u16, reason: String },
    /// There is no token or credential to ask with.
    #[error("there is nothing to prove who asks: {reason}")]
    NoCredentials { reason: String },
    /// It ended so, but an earlier send of the same request may have been taken.
    #[error("it is not known whether an earlier send of the request was taken")]
    InDoubt(#[source] Box<Failure>),
}

fn told(name: &str, message: &str) -> String {
    match (name, message) {
        ("", "") => String::new(),
        ("", message) => format!(": {message}"),
        (name, message) => format!(" {name}: {message}"),
    }
}

// Errors of catalogs hold an object, those of OAuth2 (RFC 6749, 5.2) a word and perhaps a description.
#[derive(Deserialize)]
struct ErrorBody {
    error: ErrorModel,
    #[serde(default)]
    error_description: String,
}

#[derive(Deserialize)]
#[serde(untagged)]
enum ErrorModel {
    Catalog {
        #[serde(default)]
        r#type: String,
        #[serde(default)]
        message: String,
    },
    OAuth(String),
}

/// Longest part of a server's message that is told on.
const MESSAGE_CHARS: usize = 400;

impl Answer {
    pub(super) async fn of(response: reqwest::Response) -> Result<Self, reqwest::Error> {
        let (status, elsewhere) = (response.status().as_u16(), elsewhere(&response));
        Ok(Self { status, body: response.bytes().await?, elsewhere })
    }

    pub(super) fn is_good(&self) -> bool {
        (200..300).contains(&self.status)
    }

    /// The answer, if it is a good one.
    pub(super) fn good(self) -> Result<Self, Failure> {
        if self.is_good() { Ok(self) } else { Err(self.failure()) }
    }

    /// The value in the body of a good answer.
    pub(super) fn value<T: DeserializeOwned>(&self) -> Result<T, Failure> {
        if !self.is_good() {
            return Err(self.failure());
        }
        serde_json::from_slice(&self.body)
            .map_err(|error| Failure::Garbled { status: self.status, reason: error.to_string() })
    }

    /// A bad answer as an error.
    pub(super) fn failure(&self) -> Failure {
        if let Some(to) = &self.elsewhere {
            let advice = "set catalog.uri to the catalog's own address, which is what stands there before /v1";
            return Failure::SentOn { status: self.status, to: to.clone(), advice };
        }
        let (name, message) = match serde_json::from_slice::<ErrorBody>(&self.body) {
            Ok(ErrorBody { error: ErrorModel::Catalog { r#type, message }, .. }) => (r#type, message),
            Ok(ErrorBody { error: ErrorModel::OAuth(name), error_description }) => (name, error_description),
            Err(_) => (String::new(), String::new()),
        };
        Failure::Answered { status: self.status, name, message: message.chars().take(MESSAGE_CHARS).collect() }
    }

    /// Whether the catalog itself says that there is no such thing: a proxy's 404 says nothing of the kind.
    pub(super) fn says_absent(&self) -> bool {
        self.status == 404
            && matches!(self.failure(), Failure::Answered { name, message, .. } if !name.is_empty() || !message.is_empty())
    }
}

// Not with its query: what is signed there is as good as a password.
fn elsewhere(response: &reqwest::Response) -> Option<String> {
    let to = response.headers().get(http::header::LOCATION).filter(|_| response.status().is_redirection())?;
    let mut url = response.url().join(to.to_str().ok()?).ok()?;
    url.set_query(None);
    url.set_fragment(None);
    // Fails only where there is none.
    let _ = url.set_username("").and_then(|()| url.set_password(None));
    Some(url.into())
}

impl Failure {
    /// What it means for a job.
    pub(super) fn kind(&self) -> FaultKind {
        match self {
            Self::NotSent(_) | Self::Lost(_) | Self::Garbled { .. } | Self::InDoubt(_) => FaultKind::Unavailable,
            Self::NoCredentials { .. } => FaultKind::PermissionDenied,
            Self::SentOn { status: 301 | 308, .. } => FaultKind::InvalidSpec,
            Self::SentOn { .. } => FaultKind::Unavailable,
            Self::Answered { status, .. } => match status {
                401 | 403 | 419 => FaultKind::PermissionDenied,
                404 => FaultKind::NotFound,
                408 | 429 => FaultKind::Unavailable,
                400..500 => FaultKind::InvalidSpec,
                _ => FaultKind::Unavailable,
            },
        }
    }

    /// Whether the server may have done what it was asked, or may still do it.
    pub(super) fn may_have_happened(&self) -> bool {
        match self {
            Self::NotSent(_) | Self::NoCredentials { .. } => false,
            Self::Lost(_) | Self::Garbled { .. } | Self::InDoubt(_) => true,
            // 303: the result of what was done is elsewhere.
            Self::SentOn { status, .. } => *status == 303,
            // 408: the server gave up reading. Everything from 500 on may come from in front of one that goes on.
            Self::Answered { status, .. } => *status >= 500,
        }
    }

    /// Whether the server says that what was to be made or changed is not as it was thought to be.
    pub(super) fn is_conflict(&self) -> bool {
        match self {
            Self::Answered { status, .. } => *status == 409,
            Self::InDoubt(failure) => failure.is_conflict(),
            _ => false,
        }
    }

    /// Whether it may be about an earlier send of the same request that is still being worked on: the protocol's errors
    /// of conflicts have names of their own.
    pub(super) fn may_be_in_progress(&self) -> bool {
        let is_known = |name: &str| matches!(name, "CommitFailedException" | "AlreadyExistsException");
        matches!(self, Self::Answered { status: 409, name, .. } if !is_known(name))
    }
}
