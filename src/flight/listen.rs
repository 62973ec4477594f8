//! The gRPC listener: TLS, limits, the health service, and a stop that has an end.

use std::fmt;
use std::future::Future;
use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use arrow_flight::flight_service_server::FlightServiceServer;
use futures::stream::{self, Stream};
use tokio::net::{TcpListener, TcpStream};
use tonic::transport::{Identity, Server, ServerTlsConfig};
use tonic_health::ServingStatus;
use tonic_health::server::{HealthReporter, HealthService};

use crate::error::{Class, Error};
use crate::flight::Service;

/// The largest request: a statement, a ticket, an empty upload.
const REQUEST: usize = 4 * 1024 * 1024;
/// Calls at once on one connection. Unset, HTTP/2 has no bound.
const STREAMS: u32 = 256;
/// Calls that a client may open and reset before it is cut off. Unset, HTTP/2 has no bound.
const RESETS: usize = 64;
/// Credentials and a few tracing headers.
const HEADERS: u32 = 32 * 1024;
const WINDOW: u32 = 1024 * 1024;
const PING_EVERY: Duration = Duration::from_secs(30);
const PING_ANSWERED: Duration = Duration::from_secs(20);
const TLS_HANDSHAKE: Duration = Duration::from_secs(10);
/// After an accept that failed: without file descriptors it would fail again at once, and spin.
const ACCEPT_AGAIN: Duration = Duration::from_millis(100);

/// A certificate and its key, read.
pub struct Tls {
    identity: Identity,
    files: (PathBuf, PathBuf),
}

impl fmt::Debug for Tls {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Tls").field("files", &self.files).finish_non_exhaustive()
    }
}

impl Tls {
    /// Reads both from PEM files.
    ///
    /// # Errors
    /// When a file cannot be read or does not hold what it should; the text names the file.
    pub fn read(certificate: &Path, key: &Path) -> Result<Self, Error> {
        let identity = Identity::from_pem(pem(certificate, "CERTIFICATE")?, pem(key, "PRIVATE KEY")?);
        Ok(Self { identity, files: (certificate.to_owned(), key.to_owned()) })
    }
}

/// Reads a PEM file that must hold a block of this kind.
pub(super) fn pem(file: &Path, kind: &str) -> Result<Vec<u8>, Error> {
    let shown = file.display();
    let bytes = std::fs::read(file)
        .map_err(|cause| Error::new(Class::BadRequest, format!("the TLS file `{shown}` cannot be read: {cause}")))?;
    let text = String::from_utf8_lossy(&bytes);
    let holds =
        text.lines().any(|line| line.starts_with("-----BEGIN ") && line.trim_end().ends_with(&format!("{kind}-----")));
    if !holds {
        return Err(Error::new(
            Class::BadRequest,
            format!("the TLS file `{shown}` holds no PEM block of a {}", kind.to_lowercase()),
        ));
    }
    Ok(bytes)
}

/// Tells the health service's clients whether to come here.
#[derive(Debug, Clone)]
pub struct Health(HealthReporter);

impl Health {
    /// Says that this process takes no more calls.
    pub async fn draining(&self) {
        for name in ["", SERVICE] {
            self.0.set_service_status(name, ServingStatus::NotServing).await;
        }
    }
}

/// The name under which the Flight service's own health is asked for.
const SERVICE: &str = "arrow.flight.protocol.FlightService";

/// Prepares a server on a bound listener: the state of its health, and the future that serves until `shutdown` and
/// then until the last stream ends.
///
/// # Errors
/// When certificate and key do not make a TLS server.
pub async fn serve(
    service: Service,
    listener: TcpListener,
    tls: Option<Tls>,
    shutdown: impl Future<Output = ()> + Send + 'static,
) -> Result<(Health, impl Future<Output = Result<(), Error>> + Send + 'static), Error> {
    let mut server = Server::builder()
        .max_concurrent_streams(STREAMS)
        .http2_max_pending_accept_reset_streams(Some(RESETS))
        .http2_max_local_error_reset_streams(Some(RESETS))
        .http2_max_header_list_size(HEADERS)
        .http2_keepalive_interval(Some(PING_EVERY))
        .http2_keepalive_timeout(Some(PING_ANSWERED))
        .initial_stream_window_size(WINDOW)
        .initial_connection_window_size(4 * WINDOW);
    if let Some(Tls { identity, files: (certificate, key) }) = tls {
        let config = ServerTlsConfig::new().identity(identity).timeout(TLS_HANDSHAKE);
        server = server.tls_config(config).map_err(|_| {
            Error::new(
                Class::BadRequest,
                format!(
                    "the TLS files `{}` and `{}` are damaged or do not belong together",
                    certificate.display(),
                    key.display()
                ),
            )
        })?;
    }
    let reporter = HealthReporter::new();
    reporter.set_service_status(SERVICE, ServingStatus::Serving).await;
    let health =
        tonic_health::pb::health_server::HealthServer::new(HealthService::from_health_reporter(reporter.clone()));
    let flight = FlightServiceServer::new(service).max_decoding_message_size(REQUEST);
    let serving =
        server.add_service(health).add_service(flight).serve_with_incoming_shutdown(incoming(listener), shutdown);
    let serving = async move {
        serving.await.map_err(|cause| Error::new(Class::Bug, format!("the Flight listener ended: {cause}")))
    };
    Ok((Health(reporter), serving))
}

/// Connections, for ever: an accept that fails is tried again.
fn incoming(listener: TcpListener) -> impl Stream<Item = io::Result<TcpStream>> {
    stream::unfold(listener, async |listener| {
        loop {
            match listener.accept().await {
                Ok((connection, _)) => {
                    // Without it the last bytes of a small result wait for the client's acknowledgement.
                    if let Err(cause) = connection.set_nodelay(true) {
                        tracing::debug!(%cause, "a connection ended before it was accepted");
                        continue;
                    }
                    return Some((Ok(connection), listener));
                }
                Err(cause) => {
                    tracing::warn!(%cause, "a connection could not be accepted");
                    tokio::time::sleep(ACCEPT_AGAIN).await;
                }
            }
        }
    })
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "tests")]
mod tests {
    use super::*;

    #[test]
    fn a_tls_file_that_is_missing_or_holds_something_else_is_named() {
        let dir = tempfile::tempdir().unwrap();
        let (certificate, key) = (dir.path().join("server.pem"), dir.path().join("server.key"));
        let error = |certificate: &Path, key: &Path| Tls::read(certificate, key).unwrap_err();
        assert!(error(&certificate, &key).message.contains("server.pem"));
        std::fs::write(&certificate, "-----BEGIN CERTIFICATE-----\n").unwrap();
        assert!(error(&certificate, &key).message.contains("server.key"));
        // The two files the wrong way round.
        std::fs::write(&key, "-----BEGIN RSA PRIVATE KEY-----\n").unwrap();
        let swapped = error(&key, &certificate);
        assert!(swapped.message.contains("server.key` holds no PEM block of a certificate"), "{swapped}");
        assert_eq!(swapped.class, Class::BadRequest);
        assert!(Tls::read(&certificate, &key).is_ok());
    }

    #[tokio::test]
    async fn connections_come_in_one_after_the_other() {
        use futures::StreamExt;
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let mut connections = Box::pin(incoming(listener));
        for _ in 0..3 {
            let client = TcpStream::connect(address).await.unwrap();
            let server = connections.next().await.unwrap().unwrap();
            assert_eq!(server.peer_addr().unwrap(), client.local_addr().unwrap());
            assert!(server.nodelay().unwrap());
        }
    }
}
