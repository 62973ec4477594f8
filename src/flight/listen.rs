//! The gRPC listener: limits, the health service, and a stop that has an end.

use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use arrow_flight::flight_service_server::FlightServiceServer;
use tokio::net::TcpListener;
use tonic::transport::Server;
use tonic_health::ServingStatus;
use tonic_health::server::{HealthReporter, HealthService};

use crate::error::{Class, Error};
use crate::flight::Service;
use crate::flight::connection::incoming;
use crate::flight::tls::Tls;

/// The largest request: a ticket or a prepared statement with the values that are bound to it.
const REQUEST: usize = 2 * 1024 * 1024;
/// Calls at once on one connection. Unset, HTTP/2 has no bound.
const STREAMS: u32 = 256;
/// Calls that a client may open and reset before it is cut off. Unset, HTTP/2 has no bound.
const RESETS: usize = 64;
/// Credentials and a few tracing headers.
const HEADERS: u32 = 32 * 1024;
const WINDOW: u32 = 1024 * 1024;
const PING_EVERY: Duration = Duration::from_secs(30);
const PING_ANSWERED: Duration = Duration::from_secs(20);
/// How much longer a call may take to be answered than its statement may take: somebody has to send it.
const SENDING: Duration = Duration::from_secs(60);

/// Tells the health service's clients whether to come here.
#[derive(Debug, Clone)]
pub struct Health(HealthReporter);

impl Health {
    /// Says whether this process answers statements.
    pub async fn tell(&self, ready: bool) {
        let status = if ready { ServingStatus::Serving } else { ServingStatus::NotServing };
        for name in ["", SERVICE] {
            self.0.set_service_status(name, status).await;
        }
    }
}

/// The name under which the Flight service's own health is asked for.
const SERVICE: &str = "arrow.flight.protocol.FlightService";

/// Prepares a server on a bound listener: the state of its health, and the future that serves until `shutdown` and
/// then until the last stream ends.
pub async fn serve(
    service: Service,
    listener: TcpListener,
    tls: Option<Arc<Tls>>,
    shutdown: impl Future<Output = ()> + Send + 'static,
) -> (Health, impl Future<Output = Result<(), Error>> + Send + 'static) {
    let mut server = Server::builder()
        // Until an answer begins: a request that never ends is not waited for.
        .timeout(service.timeout().saturating_add(SENDING))
        .max_concurrent_streams(STREAMS)
        .http2_max_pending_accept_reset_streams(Some(RESETS))
        .http2_max_local_error_reset_streams(Some(RESETS))
        .http2_max_header_list_size(HEADERS)
        .http2_keepalive_interval(Some(PING_EVERY))
        .http2_keepalive_timeout(Some(PING_ANSWERED))
        .initial_stream_window_size(WINDOW)
        .initial_connection_window_size(4 * WINDOW);
    let reporter = HealthReporter::new();
    reporter.set_service_status(SERVICE, ServingStatus::Serving).await;
    let health =
        tonic_health::pb::health_server::HealthServer::new(HealthService::from_health_reporter(reporter.clone()));
    let flight = FlightServiceServer::new(service).max_decoding_message_size(REQUEST);
    let serving =
        server.add_service(health).add_service(flight).serve_with_incoming_shutdown(incoming(listener, tls), shutdown);
    let serving = async move {
        serving.await.map_err(|cause| Error::new(Class::Bug, format!("the Flight listener ended: {cause}")))
    };
    (Health(reporter), serving)
}
