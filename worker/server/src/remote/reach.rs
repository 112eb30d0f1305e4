//! How the command line reaches a worker: address, TLS, token.

use std::error::Error;
use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use moulin_core::{Fault, FaultKind, Secret};
use moulin_wire::status;
use rustls::RootCertStore;
use tonic::Status;
use tonic::metadata::AsciiMetadataValue;
use tonic::transport::{Certificate, ClientTlsConfig, Endpoint, Identity};

use super::Remote;

const CONNECT: Duration = Duration::from_secs(5);
const TOKEN: &str = "MOULIN_TOKEN";

/// Which worker is asked, and how.
#[derive(Debug, Clone, clap::Args)]
#[command(next_help_heading = "Reaching a worker")]
pub(crate) struct Reach {
    /// Ask a worker at this address. Default: look from here, with the configuration's own job store and catalog.
    #[arg(long, env = "MOULIN_ADDRESS", value_name = "HOST:PORT")]
    address: Option<String>,
    /// The worker speaks TLS. Any of the next four says so too; alone it trusts the authorities of the system.
    #[arg(long, env = "MOULIN_TLS")]
    tls: bool,
    /// Who signed the worker's certificate (PEM).
    #[arg(long, env = "MOULIN_CA_CERTIFICATE", value_name = "FILE")]
    ca_certificate: Option<PathBuf>,
    /// Of this client, for a worker that asks for one (PEM).
    #[arg(long, env = "MOULIN_CLIENT_CERTIFICATE", value_name = "FILE", requires = "client_key")]
    client_certificate: Option<PathBuf>,
    /// Its private key (PEM).
    #[arg(long, env = "MOULIN_CLIENT_KEY", value_name = "FILE", requires = "client_certificate")]
    client_key: Option<PathBuf>,
    /// The name in the worker's certificate, when it is not the one in the address.
    #[arg(long, env = "MOULIN_SERVER_NAME", value_name = "NAME")]
    server_name: Option<String>,
    /// File with the bearer token; `MOULIN_TOKEN` holds the token itself (an argument would be seen in the list of processes).
    #[arg(long, env = "MOULIN_TOKEN_FILE", value_name = "FILE")]
    token_file: Option<PathBuf>,
}

impl Reach {
    /// Connects to the worker that was named; `None`: none was.
    ///
    /// # Errors
    /// `InvalidSpec`: no address, a file that holds something else, or options for a worker that none was named;
    /// `Unavailable`: nobody answers there; `PermissionDenied`: worker or client do not trust the other's certificate.
    pub(crate) async fn connect(&self) -> Result<Option<Remote>, Fault> {
        match &self.address {
            Some(address) => self.connect_to(address).await.map(Some),
            None => self.says_nothing_more().map(|()| None),
        }
    }

    /// Whoever says how a worker is reached wants to ask one, not to look from here.
    fn says_nothing_more(&self) -> Result<(), Fault> {
        let options = [
            ("--tls", "MOULIN_TLS", self.tls),
            ("--ca-certificate", "MOULIN_CA_CERTIFICATE", self.ca_certificate.is_some()),
            ("--client-certificate", "MOULIN_CLIENT_CERTIFICATE", self.client_certificate.is_some()),
            ("--server-name", "MOULIN_SERVER_NAME", self.server_name.is_some()),
            ("--token-file", "MOULIN_TOKEN_FILE", self.token_file.is_some()),
        ];
        let Some((option, variable, _)) = options.into_iter().find(|(.., said)| *said) else { return Ok(()) };
        Err(wrong(format!("{option} (or {variable}) is for asking a worker, and none is named")).with_hint(format!(
            "name it with --address HOST:PORT or MOULIN_ADDRESS, or leave {option} and {variable} out to look from here"
        )))
    }

    async fn connect_to(&self, address: &str) -> Result<Remote, Fault> {
        let token = self.token()?.map(|token| authorization(&token)).transpose()?;
        let scheme = if self.encrypts() { "https" } else { "http" };
        let endpoint = Endpoint::from_shared(format!("{scheme}://{address}"))
            .map_err(|e| wrong(format!("`{address}` is not host:port: {e}")))?
            .connect_timeout(CONNECT);
        let endpoint = match self.tls()? {
            Some(tls) => {
                endpoint.tls_config(tls).map_err(|e| wrong("the certificates cannot be used").with_source(&e))?
            }
            None => endpoint,
        };
        let at = At { address: address.to_owned(), encrypted: self.encrypts() };
        let channel = endpoint.connect().await.map_err(|e| at.not_reached(&e))?;
        Ok(Remote::new(at, channel, token))
    }

    fn encrypts(&self) -> bool {
        self.tls || self.ca_certificate.is_some() || self.client_certificate.is_some() || self.server_name.is_some()
    }

    fn tls(&self) -> Result<Option<ClientTlsConfig>, Fault> {
        if !self.encrypts() {
            return Ok(None);
        }
        let config = match &self.ca_certificate {
            Some(path) => ClientTlsConfig::new().ca_certificate(Certificate::from_pem(read("--ca-certificate", path)?)),
            None => ClientTlsConfig::new().trust_anchors(system_authorities()?),
        };
        let config = match (&self.client_certificate, &self.client_key) {
            (Some(certificate), Some(key)) => config
                .identity(Identity::from_pem(read("--client-certificate", certificate)?, read("--client-key", key)?)),
            _ => config,
        };
        Ok(Some(match &self.server_name {
            Some(name) => config.domain_name(name),
            None => config,
        }))
    }

    fn token(&self) -> Result<Option<Secret>, Fault> {
        if let Some(token) = std::env::var(TOKEN).ok().filter(|token| !token.is_empty()) {
            return Ok(Some(Secret::new(token)));
        }
        let Some(path) = &self.token_file else { return Ok(None) };
        let text = String::from_utf8(read("--token-file", path)?)
            .map_err(|_| wrong(format!("--token-file {} is no text", path.display())))?;
        Ok(Some(Secret::new(text.trim())))
    }
}

fn authorization(token: &Secret) -> Result<AsciiMetadataValue, Fault> {
    let mut value: AsciiMetadataValue = format!("Bearer {}", token.expose())
        .parse()
        .map_err(|_| wrong("the token holds a character that cannot be sent"))?;
    value.set_sensitive(true);
    Ok(value)
}

fn wrong(message: impl Into<String>) -> Fault {
    Fault::new(FaultKind::InvalidSpec, message).with_hint("`moulin get --help` says how a worker is reached")
}

fn read(option: &str, path: &Path) -> Result<Vec<u8>, Fault> {
    fs::read(path).map_err(|e| wrong(format!("{option} {} cannot be read: {e}", path.display())))
}

fn system_authorities() -> Result<Vec<rustls::pki_types::TrustAnchor<'static>>, Fault> {
    let mut roots = RootCertStore::empty();
    roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
    if roots.is_empty() {
        return Err(wrong("this system has no certificate authorities; name the worker's with --ca-certificate"));
    }
    Ok(roots.roots)
}

/// Where a worker is looked for, for the words of what goes wrong on the way there.
#[derive(Debug, Clone)]
pub(super) struct At {
    pub(super) address: String,
    encrypted: bool,
}

impl At {
    /// The fault of a call: the worker's own, or what is wrong with the connection.
    pub(super) fn fault(&self, status: &Status) -> Fault {
        if status.source().is_some() && status.details().is_empty() {
            self.not_reached(status)
        } else {
            status::to_fault(status)
        }
    }

    fn not_reached(&self, error: &(dyn Error + 'static)) -> Fault {
        let address = &self.address;
        if let Some(reason) = tls_failure(error) {
            let hint = match reason {
                rustls::Error::AlertReceived(_) => {
                    "does the worker trust --client-certificate ([tls] client_ca in its configuration)?"
                }
                _ => {
                    "--ca-certificate names who signed the worker's certificate, --server-name the name in it, when it \
                     is not the one in the address; `moulin doctor` at the worker says what it serves"
                }
            };
            let message = format!("no TLS with the worker at {address}: {reason}");
            return Fault::new(FaultKind::PermissionDenied, message).with_hint(hint);
        }
        let hint = if self.encrypted {
            "is the worker started, and with [tls] in its configuration?"
        } else {
            "start one with `moulin serve`, say --tls when it serves TLS, or leave --address out to look from here"
        };
        Fault::new(FaultKind::Unavailable, format!("no worker answers at {address}")).with_source(error).with_hint(hint)
    }
}

/// The error of TLS among the causes. `std::io::Error` leaves out of its own causes the error that it wraps.
fn tls_failure<'e>(error: &'e (dyn Error + 'static)) -> Option<&'e rustls::Error> {
    let mut next = Some(error);
    while let Some(cause) = next {
        let wrapped = cause.downcast_ref::<std::io::Error>().and_then(std::io::Error::get_ref);
        let found = wrapped.and_then(|wrapped| wrapped.downcast_ref()).or_else(|| cause.downcast_ref());
        if found.is_some() {
            return found;
        }
        next = cause.source();
    }
    None
}
