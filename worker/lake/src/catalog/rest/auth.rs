//! Who asks: nobody, a token, tokens that are renewed, or a signature of AWS.

use std::time::{Duration, Instant};

use http::HeaderValue;
use moulin_core::Secret;
use reqwest::{Client, Request};
use serde::Deserialize;
use tokio::sync::Mutex;

use super::answer::{Answer, Failure};
use super::settings::RestSettings;
use super::signing::Signing;

/// Tokens without a lifetime are renewed when the server refuses them, and after this long.
const LIFETIME: Duration = Duration::from_secs(3600);

pub(super) enum Auth {
    Nobody,
    Token(Secret),
    Renewed(Tokens),
    Signed(Signing),
}

/// Tokens of the OAuth2 client-credentials grant (RFC 6749, 4.4).
pub(super) struct Tokens {
    uri: String,
    client_id: Option<String>,
    client_secret: Secret,
    scope: String,
    current: Mutex<Option<Token>>,
}

struct Token {
    header: HeaderValue,
    renew_at: Instant,
}

#[derive(Deserialize)]
struct TokenAnswer {
    access_token: String,
    #[serde(default)]
    expires_in: Option<u64>,
}

impl Auth {
    /// `signing_region`: what the server or the environment says when the settings do not.
    pub(super) fn new(settings: &RestSettings, base: &str, signing_region: Option<String>) -> Result<Self, String> {
        if let Some(token) = &settings.token {
            return Ok(Self::Token(token.clone()));
        }
        if let Some(credential) = &settings.credential {
            let (id, secret) = match credential.expose().split_once(':') {
                Some((id, secret)) => (Some(id.to_owned()), Secret::new(secret)),
                None => (None, credential.clone()),
            };
            return Ok(Self::Renewed(Tokens {
                uri: settings.oauth2_server_uri.clone().unwrap_or_else(|| format!("{base}/v1/oauth/tokens")),
                client_id: id,
                client_secret: secret,
                scope: settings.scope.clone().unwrap_or_else(|| "catalog".to_owned()),
                current: Mutex::default(),
            }));
        }
        if let Some(name) = &settings.signing_name {
            let region = settings.signing_region.clone().or(signing_region).filter(|region| !region.is_empty());
            let region = region.ok_or("catalog.rest.signing_region (or AWS_REGION) is not set")?;
            return Ok(Self::Signed(Signing::new(name, &region)));
        }
        Ok(Self::Nobody)
    }

    /// Whether a refused request may be asked again with something newer.
    pub(super) fn can_renew(&self) -> bool {
        matches!(self, Self::Renewed(_))
    }

    /// Proves who asks. `renew`: what was used last was refused.
    pub(super) async fn prove(&self, client: &Client, request: &mut Request, renew: bool) -> Result<(), Failure> {
        let header = match self {
            Self::Nobody => return Ok(()),
            Self::Token(token) => bearer(token.expose())?,
            Self::Renewed(tokens) => tokens.header(client, renew).await?,
            Self::Signed(signing) => return signing.sign(request).await,
        };
        request.headers_mut().insert(http::header::AUTHORIZATION, header);
        Ok(())
    }
}

impl Tokens {
    async fn header(&self, client: &Client, renew: bool) -> Result<HeaderValue, Failure> {
        let mut current = self.current.lock().await;
        if let Some(token) = current.as_ref().filter(|token| !renew && Instant::now() < token.renew_at) {
            return Ok(token.header.clone());
        }
        let token = self.fetch(client).await?;
        let header = token.header.clone();
        *current = Some(token);
        Ok(header)
    }

    async fn fetch(&self, client: &Client) -> Result<Token, Failure> {
        let mut form = vec![("grant_type", "client_credentials"), ("scope", &self.scope)];
        if let Some(id) = &self.client_id {
            form.push(("client_id", id));
        }
        form.push(("client_secret", self.client_secret.expose()));
        let sent = client.post(&self.uri).form(&form).send().await.map_err(super::session::unanswered)?;
        let answer = Answer::of(sent).await.map_err(super::session::unanswered)?;
        let answer: TokenAnswer = match answer.value() {
            Ok(answer) => answer,
            // What cannot be read may hold the token.
            Err(Failure::Garbled { status, .. }) => {
                return Err(Failure::Garbled { status, reason: "no access_token in it".to_owned() });
            }
            Err(Failure::SentOn { status, to, .. }) => {
                return Err(Failure::SentOn {
                    status,
                    to,
                    advice: "set catalog.rest.oauth2_server_uri to where it is",
                });
            }
            // 400 is how OAuth2 refuses a client.
            Err(Failure::Answered { status: 400, name, message }) => {
                return Err(Failure::Answered { status: 401, name, message });
            }
            Err(other) => return Err(other),
        };
        let lifetime = answer.expires_in.map_or(LIFETIME, Duration::from_secs);
        Ok(Token { header: bearer(&answer.access_token)?, renew_at: Instant::now() + lifetime.mul_f64(0.8) })
    }
}

fn bearer(token: &str) -> Result<HeaderValue, Failure> {
    let mut header = HeaderValue::from_str(&format!("Bearer {token}"))
        .map_err(|_| Failure::NoCredentials { reason: "the token has characters that no header may have".into() })?;
    header.set_sensitive(true);
    Ok(header)
}
