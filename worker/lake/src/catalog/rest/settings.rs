//! What a worker can be told about a REST catalog: `[catalog.rest]` of the configuration.

use moulin_core::Secret;
use serde::{Deserialize, Serialize};

use crate::Error;

/// How a worker proves who it is to a REST catalog, and what it asks of it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct RestSettings {
    /// A bearer token that does not change.
    pub token: Option<Secret>,
    /// `client_id:client_secret` or only a secret, exchanged for tokens (OAuth2 client credentials) that are renewed
    /// before they expire.
    pub credential: Option<Secret>,
    /// Where tokens come from. Absent: the catalog's own `v1/oauth/tokens`.
    pub oauth2_server_uri: Option<String>,
    /// The scope that is asked for. Absent: `catalog`.
    pub scope: Option<String>,
    /// Whether the catalog is asked for credentials to each table's files. They win over `[storage]`.
    pub vended_credentials: bool,
    /// Requests are signed for this AWS service (`glue`, `s3tables`) with AWS's usual credentials. Absent: not signed.
    pub signing_name: Option<String>,
    /// The region that is signed for. Absent: `AWS_REGION`, or what the server says.
    pub signing_region: Option<String>,
}

impl Default for RestSettings {
    fn default() -> Self {
        Self {
            token: None,
            credential: None,
            oauth2_server_uri: None,
            scope: None,
            vended_credentials: true,
            signing_name: None,
            signing_region: None,
        }
    }
}

impl RestSettings {
    /// # Errors
    /// `InvalidSpec` for more than one way to prove who asks.
    pub(super) fn check(&self) -> Result<(), Error> {
        let ways = [
            ("token", self.token.is_some()),
            ("credential", self.credential.is_some()),
            ("signing_name", self.signing_name.is_some()),
        ];
        let said: Vec<_> = ways.iter().filter(|(_, said)| *said).map(|(name, _)| *name).collect();
        if said.len() > 1 {
            return Err(Error::invalid(format!("catalog.rest has {}, expected one of them", said.join(" and "))));
        }
        Ok(())
    }
}
