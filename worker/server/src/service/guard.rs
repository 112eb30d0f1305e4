//! Who may call: every call but a health check carries a token, or comes with a certificate, when the worker asks for it.

use std::future::{Ready, ready};
use std::sync::Arc;
use std::task::{Context, Poll};

use futures::future::Either;
use http::header::AUTHORIZATION;
use moulin_core::{Fault, FaultKind, Secret};
use moulin_wire::status;
use sha2::{Digest as _, Sha256};
use subtle::{Choice, ConstantTimeEq as _};
use tonic::body::Body;
use tonic::transport::server::{TcpConnectInfo, TlsConnectInfo};
use tonic::{Code, Status};
use tower::{Layer, Service};

/// The one service that answers everybody: load balancers and orchestrators hold no secrets.
const HEALTH: &str = "/grpc.health.v1.Health/";

type Peer = TlsConnectInfo<TcpConnectInfo>;

/// What is asked of a call.
pub(super) struct Guard {
    /// Hashes, so that a comparison tells nothing of a token, not even its length.
    tokens: Vec<[u8; 32]>,
    certificate: bool,
}

impl Guard {
    /// `tokens`: one of these, unless there is none; `certificate`: one that the handshake has found to be right.
    pub(super) fn new(tokens: &[Secret], certificate: bool) -> Self {
        Self { tokens: tokens.iter().map(|token| hash(token.expose().as_bytes())).collect(), certificate }
    }

    fn check<B>(&self, request: &http::Request<B>) -> Result<(), Fault> {
        if request.uri().path().starts_with(HEALTH) {
            return Ok(());
        }
        if self.certificate && request.extensions().get::<Peer>().and_then(Peer::peer_certs).is_none() {
            return Err(refusal("the client showed no certificate, and this worker asks for one"));
        }
        if self.tokens.is_empty() {
            return Ok(());
        }
        let Some(sent) = request.headers().get(AUTHORIZATION) else {
            return Err(refusal("the call carries no token, and this worker asks for one"));
        };
        let sent = bearer(sent.as_bytes())
            .ok_or_else(|| refusal("the call's authorization is no `Bearer` token, and this worker asks for one"))?;
        if self.knows(sent) { Ok(()) } else { Err(refusal("the call's token is not one that this worker knows")) }
    }

    /// In the same time whichever token it is, and whether it is any.
    fn knows(&self, sent: &[u8]) -> bool {
        let sent = hash(sent);
        let known = self.tokens.iter().fold(Choice::from(0), |known, token| known | token.ct_eq(&sent));
        known.into()
    }
}

fn hash(text: &[u8]) -> [u8; 32] {
    Sha256::digest(text).into()
}

/// The token of `Bearer TOKEN` (RFC 6750, section 2.1), whose scheme is read in any case.
fn bearer(value: &[u8]) -> Option<&[u8]> {
    let (scheme, token) = value.split_at_checked(7)?;
    scheme.eq_ignore_ascii_case(b"bearer ").then(|| token.trim_ascii())
}

fn refusal(message: &str) -> Fault {
    Fault::new(FaultKind::PermissionDenied, message).with_hint(
        "give the client the token or certificate that the worker's configuration names ([auth] and [tls] in \
         docs/configuration.md)",
    )
}

/// A refusal as gRPC knows it: who calls is not known, which is not the same as what he may do.
fn unauthenticated(fault: &Fault) -> Status {
    let status = status::from_fault(fault);
    Status::with_details(Code::Unauthenticated, status.message(), bytes::Bytes::copy_from_slice(status.details()))
}

/// Puts the guard before every service of the worker, those to come among them.
#[derive(Clone)]
pub(super) struct Guarding(pub(super) Arc<Guard>);

impl<S> Layer<S> for Guarding {
    type Service = Guarded<S>;

    fn layer(&self, inner: S) -> Guarded<S> {
        Guarded { guard: Arc::clone(&self.0), inner }
    }
}

#[derive(Clone)]
pub(super) struct Guarded<S> {
    guard: Arc<Guard>,
    inner: S,
}

impl<S> Service<http::Request<Body>> for Guarded<S>
where
    S: Service<http::Request<Body>, Response = http::Response<Body>>,
{
    type Response = S::Response;
    type Error = S::Error;
    type Future = Either<Ready<Result<S::Response, S::Error>>, S::Future>;

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        self.inner.poll_ready(context)
    }

    fn call(&mut self, request: http::Request<Body>) -> Self::Future {
        match self.guard.check(&request) {
            Ok(()) => Either::Right(self.inner.call(request)),
            Err(fault) => {
                tracing::info!(peer = ?peer(&request), path = request.uri().path(), error = %fault, "refused");
                Either::Left(ready(Ok(unauthenticated(&fault).into_http())))
            }
        }
    }
}

fn peer<B>(request: &http::Request<B>) -> Option<std::net::SocketAddr> {
    let extensions = request.extensions();
    let tcp = extensions.get::<Peer>().map(Peer::get_ref).or_else(|| extensions.get::<TcpConnectInfo>());
    tcp.and_then(TcpConnectInfo::remote_addr)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn call(path: &str, authorization: Option<&str>) -> http::Request<()> {
        let request = http::Request::builder().uri(format!("http://worker{path}"));
        let request = match authorization {
            Some(value) => request.header("authorization", value),
            None => request,
        };
        request.body(()).unwrap()
    }

    fn with_tokens() -> Guard {
        Guard::new(&[Secret::new("the-first-of-the-tokens"), Secret::new("the-second-of-the-tokens")], false)
    }

    #[test]
    fn any_of_the_tokens_lets_a_call_in_and_nothing_else_does() {
        let guard = with_tokens();
        for sent in ["Bearer the-first-of-the-tokens", "bearer the-second-of-the-tokens"] {
            guard.check(&call("/moulin.v1.JobService/Get", Some(sent))).unwrap();
        }
        for sent in ["Bearer the-first-of-the-token", "Bearer ", "Basic the-first-of-the-tokens", "Bearer", ""] {
            let fault = guard.check(&call("/moulin.v1.JobService/Get", Some(sent))).unwrap_err();
            assert_eq!(fault.kind, FaultKind::PermissionDenied, "{sent}");
            assert!(!fault.report().contains("of-the-token"), "{}", fault.report());
        }
        assert!(guard.check(&call("/moulin.v1.JobService/Get", None)).unwrap_err().message.contains("no token"));
    }

    #[test]
    fn health_is_answered_to_everybody_and_what_only_looks_like_it_is_not() {
        let guard = Guard::new(&[Secret::new("the-first-of-the-tokens")], true);
        guard.check(&call("/grpc.health.v1.Health/Check", None)).unwrap();
        for path in [
            "/grpc.health.v1.HealthX/Check",
            "/x/grpc.health.v1.Health/Check",
            "/grpc.reflection.v1.ServerReflection/ServerReflectionInfo",
        ] {
            assert!(guard.check(&call(path, None)).is_err(), "{path}");
        }
    }

    #[test]
    fn a_certificate_is_asked_for_although_the_token_is_right() {
        let guard = Guard::new(&[Secret::new("the-first-of-the-tokens")], true);
        let fault =
            guard.check(&call("/moulin.v1.JobService/Get", Some("Bearer the-first-of-the-tokens"))).unwrap_err();
        assert!(fault.message.contains("certificate"), "{}", fault.message);
    }

    #[test]
    fn nothing_is_asked_for_when_nothing_is_configured() {
        Guard::new(&[], false).check(&call("/moulin.v1.JobService/Get", None)).unwrap();
    }

    #[test]
    fn a_refusal_is_unauthenticated_and_carries_its_fault() {
        let fault = refusal("the call carries no token");
        let status = unauthenticated(&fault);
        assert_eq!(status.code(), Code::Unauthenticated);
        assert_eq!(status::to_fault(&status), fault);
    }
}
