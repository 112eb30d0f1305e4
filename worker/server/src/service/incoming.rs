//! Connections: accepted, and with TLS once their handshake is done.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use futures::Stream;
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinSet;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::server::TlsStream;

use super::tls::Tls;

/// A client that says nothing is not waited for.
const HANDSHAKE: Duration = Duration::from_secs(10);
/// So many handshakes at once; further connections wait in the system's queue.
const HANDSHAKES: usize = 256;
/// After a failure of the listening socket itself, such as too many open files.
const PAUSE: Duration = Duration::from_millis(50);

enum Next {
    Accepted(io::Result<(TcpStream, SocketAddr)>),
    /// A handshake; `None`: it did not succeed.
    Done(Option<TlsStream<TcpStream>>),
}

/// The connections whose TLS handshake succeeded, each with the certificate that was current when it began.
///
/// # Cancel safety
/// Dropped, it ends the handshakes that are going on and closes the port.
pub(super) fn encrypted(
    listener: TcpListener,
    tls: Arc<Tls>,
) -> impl Stream<Item = io::Result<TlsStream<TcpStream>>> + Send {
    async_stream::stream! {
        let mut handshakes = JoinSet::new();
        loop {
            let next = tokio::select! {
                accepted = listener.accept(), if handshakes.len() < HANDSHAKES => Next::Accepted(accepted),
                Some(done) = handshakes.join_next() => Next::Done(done.ok().flatten()),
            };
            match next {
                Next::Accepted(Ok((stream, peer))) => {
                    handshakes.spawn(handshake(TlsAcceptor::from(tls.config()), stream, peer));
                }
                Next::Accepted(Err(error)) => {
                    tracing::warn!(%error, "a connection was not accepted");
                    tokio::time::sleep(PAUSE).await;
                }
                Next::Done(Some(stream)) => yield Ok(stream),
                Next::Done(None) => {}
            }
        }
    }
}

async fn handshake(acceptor: TlsAcceptor, stream: TcpStream, peer: SocketAddr) -> Option<TlsStream<TcpStream>> {
    // Small answers are not held back for larger ones.
    let _ = stream.set_nodelay(true);
    match tokio::time::timeout(HANDSHAKE, acceptor.accept(stream)).await {
        Ok(Ok(stream)) => Some(stream),
        Ok(Err(error)) => {
            tracing::info!(%peer, %error, "no TLS handshake");
            None
        }
        Err(_) => {
            tracing::info!(%peer, "no TLS handshake in time");
            None
        }
    }
}
