//! `[tls]` and `[auth]`: how a worker proves who it is, and what it asks of those who call it.

use moulin_core::{Fault, Secret};
use serde::Deserialize;

use super::wrong;

/// `[tls]`. Each text is the path of a PEM file, which is looked at again while the worker runs, or the PEM itself.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct TlsSettings {
    /// The worker's certificate, then those between it and its authority. Absent: no TLS.
    pub(crate) certificate: Option<String>,
    /// The key of the certificate.
    pub(crate) private_key: Option<Secret>,
    /// Authorities one of which has signed every client's certificate. Absent: clients need none.
    pub(crate) client_ca: Option<String>,
}

/// `[auth]`.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct AuthSettings {
    /// Bearer tokens, any one of which a call has to carry. Empty: none is asked for.
    pub(crate) tokens: Vec<Secret>,
}

/// What is shorter can be guessed by asking.
const TOKEN_CHARS: usize = 16;

impl TlsSettings {
    /// # Errors
    /// `InvalidSpec`: a part without the one that it needs.
    pub(super) fn check(&self) -> Result<(), Fault> {
        let missing = |absent: &str, there: &str| {
            wrong(format!("tls.{absent} is missing, which tls.{there} needs; give both, or none for no TLS"))
        };
        match (&self.certificate, &self.private_key, &self.client_ca) {
            (Some(_), None, _) => Err(missing("private_key", "certificate")),
            (None, Some(_), _) => Err(missing("certificate", "private_key")),
            (None, None, Some(_)) => Err(missing("certificate", "client_ca")),
            _ => Ok(()),
        }
    }
}

impl AuthSettings {
    /// # Errors
    /// `InvalidSpec`: a token that cannot be sent, or that can be guessed.
    pub(super) fn check(&self) -> Result<(), Fault> {
        for (at, token) in self.tokens.iter().enumerate() {
            let token = token.expose();
            if !token.bytes().all(|byte| byte.is_ascii_graphic()) {
                return Err(wrong(format!("auth.tokens[{at}] holds a character other than visible ASCII ones")));
            }
            if token.len() < TOKEN_CHARS {
                let found = token.len();
                return Err(wrong(format!(
                    "auth.tokens[{at}] has {found} characters, expected {TOKEN_CHARS} or more (`openssl rand -hex 32` \
                     makes a good one)"
                )));
            }
        }
        Ok(())
    }
}
