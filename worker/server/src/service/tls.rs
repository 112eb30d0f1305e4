//! The worker's certificate, key and authorities of its clients, which may change while it serves.

mod validity;

use std::fs;
use std::sync::Arc;
use std::time::Duration;

use moulin_core::{Fault, FaultKind, Secret};
use rustls::crypto::{CryptoProvider, ring};
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::server::WebPkiClientVerifier;
use rustls::{RootCertStore, ServerConfig};
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use crate::config::{TlsSettings, wrong};
pub(crate) use validity::{Standing, Validity};

/// How often the files are looked at. Certificates are renewed days before they expire.
const LOOK: Duration = Duration::from_secs(2);

/// What the worker shows and asks for in a TLS handshake.
pub(crate) struct Tls {
    settings: TlsSettings,
    current: watch::Sender<Loaded>,
}

/// What was read, and what became of it.
struct Loaded {
    material: Material,
    config: Arc<ServerConfig>,
    validity: Validity,
}

/// The bytes that the settings name.
#[derive(Clone, PartialEq, Eq)]
struct Material {
    certificate: Vec<u8>,
    private_key: Secret,
    client_ca: Option<Vec<u8>>,
}

impl Tls {
    /// Reads what the settings name; `None`: they name nothing, and the worker speaks no TLS.
    ///
    /// # Errors
    /// `InvalidSpec`, with the key: a file cannot be read or holds something else, or the key is not that of the certificate.
    pub(crate) fn open(settings: &TlsSettings) -> Result<Option<Self>, Fault> {
        let (Some(_), Some(_)) = (&settings.certificate, &settings.private_key) else { return Ok(None) };
        let loaded = Loaded::from(Material::read(settings)?)?;
        Ok(Some(Self { settings: settings.clone(), current: watch::channel(loaded).0 }))
    }

    /// Of the next handshake.
    pub(super) fn config(&self) -> Arc<ServerConfig> {
        Arc::clone(&self.current.borrow().config)
    }

    /// Whether clients have to show a certificate.
    pub(crate) fn asks_for_certificates(&self) -> bool {
        self.settings.client_ca.is_some()
    }

    /// When the certificate is valid.
    pub(crate) fn validity(&self) -> Validity {
        self.current.borrow().validity.clone()
    }

    /// Looks at the files until `stop`: handshakes after a change see what they hold then, connections that are open stay.
    pub(crate) async fn keep_fresh(self: Arc<Self>, stop: CancellationToken) {
        self.validity().log("serving TLS");
        let mut complained = None;
        loop {
            tokio::select! {
                () = stop.cancelled() => return,
                () = tokio::time::sleep(LOOK) => {}
            }
            let this = Arc::clone(&self);
            let Ok(looked) = tokio::task::spawn_blocking(move || this.look()).await else { continue };
            match looked {
                Ok(false) => complained = None,
                Ok(true) => {
                    self.validity().log("the certificate has changed: new connections see it");
                    complained = None;
                }
                // Certificate and key are two files: between the writing of one and the other they do not fit.
                Err(fault) if complained.is_none() => complained = Some((fault.message, false)),
                Err(fault) => {
                    let told = complained.as_ref().is_some_and(|(message, told)| *told && *message == fault.message);
                    if !told {
                        tracing::warn!(error = %fault, "the changed certificate is not taken: the one before is served");
                    }
                    complained = Some((fault.message, true));
                }
            }
        }
    }

    /// Takes what has changed; whether something has.
    fn look(&self) -> Result<bool, Fault> {
        let material = Material::read(&self.settings)?;
        if self.current.borrow().material == material {
            return Ok(false);
        }
        self.current.send_replace(Loaded::from(material)?);
        Ok(true)
    }
}

impl Loaded {
    fn from(material: Material) -> Result<Self, Fault> {
        let chain = certificates("tls.certificate", &material.certificate)?;
        let validity = Validity::of(&chain[0]);
        let config = Arc::new(material.config(chain)?);
        Ok(Self { material, config, validity })
    }
}

impl Material {
    fn read(settings: &TlsSettings) -> Result<Self, Fault> {
        let certificate = settings.certificate.as_deref().unwrap_or_default();
        let private_key = settings.private_key.as_ref().map(Secret::expose).unwrap_or_default();
        let key = pem("tls.private_key", private_key)?;
        Ok(Self {
            certificate: pem("tls.certificate", certificate)?,
            private_key: Secret::new(String::from_utf8(key).map_err(|_| wrong("tls.private_key is no PEM text"))?),
            client_ca: settings.client_ca.as_deref().map(|named| pem("tls.client_ca", named)).transpose()?,
        })
    }

    fn config(&self, chain: Vec<CertificateDer<'static>>) -> Result<ServerConfig, Fault> {
        let key = PrivateKeyDer::from_pem_slice(self.private_key.expose().as_bytes()).map_err(|_| {
            wrong("tls.private_key holds no private key: expected PEM of PKCS#8, PKCS#1 or SEC1, without a passphrase")
        })?;
        let provider = Arc::new(ring::default_provider());
        let builder = ServerConfig::builder_with_provider(Arc::clone(&provider))
            .with_safe_default_protocol_versions()
            .map_err(|e| Fault::from_error(FaultKind::Internal, &e))?;
        let builder = match &self.client_ca {
            None => builder.with_no_client_auth(),
            Some(pem) => builder.with_client_cert_verifier(client_verifier(pem, &provider)?),
        };
        let mut config = builder.with_single_cert(chain, key).map_err(|error| match error {
            rustls::Error::InconsistentKeys(_) => wrong("tls.private_key is not the key of tls.certificate"),
            other => wrong("tls.certificate and tls.private_key cannot be used").with_source(&other),
        })?;
        config.alpn_protocols = vec![b"h2".to_vec()];
        Ok(config)
    }
}

/// Checks the certificates that clients show. One that shows none gets through the handshake and is refused with its first
/// call, in words that its user can read; only health checks are answered.
fn client_verifier(
    pem: &[u8],
    provider: &Arc<CryptoProvider>,
) -> Result<Arc<dyn rustls::server::danger::ClientCertVerifier>, Fault> {
    let mut roots = RootCertStore::empty();
    for certificate in certificates("tls.client_ca", pem)? {
        roots
            .add(certificate)
            .map_err(|e| wrong("tls.client_ca holds a certificate that cannot be used").with_source(&e))?;
    }
    WebPkiClientVerifier::builder_with_provider(Arc::new(roots), Arc::clone(provider))
        .allow_unauthenticated()
        .build()
        .map_err(|e| wrong("tls.client_ca cannot be used").with_source(&e))
}

/// All certificates of a PEM text, at least one.
fn certificates(key: &str, pem: &[u8]) -> Result<Vec<CertificateDer<'static>>, Fault> {
    let found: Vec<_> = CertificateDer::pem_slice_iter(pem)
        .collect::<Result<_, _>>()
        .map_err(|e| wrong(format!("{key} is no PEM: {e}")))?;
    if found.is_empty() {
        return Err(wrong(format!("{key} holds no certificate: expected PEM with `-----BEGIN CERTIFICATE-----`")));
    }
    Ok(found)
}

/// PEM that stands in a setting, or in the file that it names.
fn pem(key: &str, named: &str) -> Result<Vec<u8>, Fault> {
    if named.trim_start().starts_with("-----BEGIN") {
        // One line in an environment variable keeps line ends as two characters.
        return Ok(named.replace("\\n", "\n").into_bytes());
    }
    fs::read(named).map_err(|e| wrong(format!("{key} names the file {named}, which cannot be read: {e}")))
}

#[cfg(test)]
mod tests;
