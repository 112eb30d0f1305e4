//! From when to when a certificate is valid.

use std::fmt;
use std::time::{Duration, SystemTime};

use rustls::client::verify_server_cert_signed_by_trust_anchor;
use rustls::crypto::ring;
use rustls::pki_types::{CertificateDer, UnixTime};
use rustls::server::ParsedCertificate;
use rustls::{CertificateError, Error, RootCertStore};

/// So many days before its end an operator hears of it.
const WARN_DAYS: u64 = 14;
/// Later than the end of any certificate that has one: 9999-12-31.
const NEVER: Duration = Duration::from_secs(253_402_214_400);

/// The time in which a certificate is valid.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Validity {
    /// `None`: always.
    from: Option<SystemTime>,
    /// `None`: for ever.
    until: Option<SystemTime>,
}

/// How a validity stands to a moment.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Standing {
    NotYet,
    Valid,
    /// It ends in so many days.
    Soon(u64),
    Over,
}

impl Validity {
    /// That of a certificate. The verification that clients make says, at a time outside of it, where it begins and ends.
    pub(super) fn of(certificate: &CertificateDer<'_>) -> Self {
        let failure = |at: Duration| {
            let parsed = ParsedCertificate::try_from(certificate).ok()?;
            let algorithms = ring::default_provider().signature_verification_algorithms.all;
            let at = UnixTime::since_unix_epoch(at);
            verify_server_cert_signed_by_trust_anchor(&parsed, &RootCertStore::empty(), &[], at, algorithms).err()
        };
        let time = |unix: UnixTime| SystemTime::UNIX_EPOCH + Duration::from_secs(unix.as_secs());
        let from = match failure(Duration::ZERO) {
            Some(Error::InvalidCertificate(CertificateError::NotValidYetContext { not_before, .. })) => {
                Some(time(not_before))
            }
            _ => None,
        };
        let until = match failure(NEVER) {
            Some(Error::InvalidCertificate(CertificateError::ExpiredContext { not_after, .. })) => {
                Some(time(not_after))
            }
            _ => None,
        };
        Self { from, until }
    }

    pub(crate) fn standing(&self, now: SystemTime) -> Standing {
        if self.from.is_some_and(|from| now < from) {
            return Standing::NotYet;
        }
        match self.until.map(|until| until.duration_since(now)) {
            None => Standing::Valid,
            Some(Err(_)) => Standing::Over,
            Some(Ok(left)) => match left.as_secs() / (24 * 3600) {
                days if days < WARN_DAYS => Standing::Soon(days),
                _ => Standing::Valid,
            },
        }
    }

    /// Says how it stands, as a warning when somebody has to do something.
    pub(super) fn log(&self, what: &'static str) {
        match self.standing(SystemTime::now()) {
            Standing::Valid => tracing::info!(certificate = %self, "{what}"),
            _ => tracing::warn!(certificate = %self, "{what}; renew the certificate"),
        }
    }
}

impl fmt::Display for Validity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let day = |time: SystemTime| humantime::format_rfc3339_seconds(time);
        match (self.standing(SystemTime::now()), self.from, self.until) {
            (Standing::NotYet, Some(from), _) => write!(f, "not valid before {}", day(from)),
            (Standing::Over, _, Some(until)) => write!(f, "expired at {}", day(until)),
            (_, _, Some(until)) => write!(f, "valid until {}", day(until)),
            (_, _, None) => f.write_str("valid for ever"),
        }
    }
}
