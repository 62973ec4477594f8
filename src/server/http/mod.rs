//! What is served over HTTP: statements at `/v1/sql`, what there is at `/v1/products`, health and metrics at `/livez`, `/readyz` and `/metrics`.

mod accept;
mod cache;
mod door;
mod parameters;
mod problem;
mod products;
mod sql;
mod stream;

use std::future::Future;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use axum::Router;
use axum::extract::{ConnectInfo, Request, State};
use axum::http::{HeaderMap, HeaderName, StatusCode, header};
use axum::middleware::{Next, from_fn};
use axum::response::Response;
use axum::routing::{get, post};
use tokio::net::TcpListener;

use self::door::{Door, Peer};
use self::problem::Problem;
use super::follow::Changes;
use super::health::Health;
use crate::flight::caller_by_headers;
use crate::flight::tls::Tls;
use crate::session::Engine;
pub(super) use sql::Sql;

/// What is said while no statement may run.
const UNRECORDED: &str = "not ready: the audit log cannot be written, so no statement runs\n";

/// Serves until `close`. An accept that fails is tried again by axum itself.
pub(super) async fn serve(
    listener: TcpListener,
    tls: Option<Arc<Tls>>,
    ready: Arc<AtomicBool>,
    sql: Arc<Sql>,
    changes: Arc<Changes>,
    close: impl Future<Output = ()> + Send + 'static,
) {
    let door = Door::new(listener, tls, sql.engine.patience());
    let pages = Arc::new(Pages { ready, sql: Arc::clone(&sql), changes });
    let router = Router::new()
        .route("/livez", get(|| async { "alive\n" }))
        .route("/readyz", get(readiness).with_state(Arc::clone(&pages)))
        .route("/metrics", get(metrics).with_state(pages))
        .route("/v1/products", get(products::list).with_state(Arc::clone(&sql)))
        .route("/v1/products/{domain}/{product}", get(products::one).with_state(Arc::clone(&sql)))
        .route("/v1/sql", post(sql::answer).with_state(sql))
        .layer(from_fn(keep));
    let served = router.into_make_service_with_connect_info::<Peer>();
    if let Err(cause) = axum::serve(door, served).with_graceful_shutdown(close).await {
        tracing::error!(%cause, "the HTTP listener ended");
    }
}

/// What the pages for those who run the server tell of.
struct Pages {
    ready: Arc<AtomicBool>,
    sql: Arc<Sql>,
    changes: Arc<Changes>,
}

impl Pages {
    /// How the domains are, as far as whoever asks may know: without credentials no names. Those that others could have read
    /// on the way are not looked at.
    async fn domains(&self, peer: &Peer, headers: &HeaderMap) -> Result<Health, Problem> {
        let Sql { auth, engine, .. } = self.sql.as_ref();
        let is_secret = peer.is_local() || (auth.required() && peer.is_encrypted());
        let is_named = !auth.required() || headers.contains_key(header::AUTHORIZATION);
        let principal = match is_secret && is_named {
            true => Some(caller_by_headers(auth, &peer.as_caller(), headers).await?.principal),
            false => None,
        };
        Ok(Health::of(engine, principal.as_ref()))
    }
}

/// Queries are answered whatever single domains are like, and not while nothing can be recorded of them. Why that is so, and
/// why files do not load, is in the log: this page is for everyone.
async fn readiness(
    State(pages): State<Arc<Pages>>,
    ConnectInfo(peer): ConnectInfo<Peer>,
    headers: HeaderMap,
) -> Result<(StatusCode, String), Response> {
    if !pages.ready.load(Ordering::Relaxed) {
        return Ok((StatusCode::SERVICE_UNAVAILABLE, "draining\n".to_owned()));
    }
    let domains = pages.domains(&peer, &headers).await.map_err(|problem| problem.response())?;
    let (status, words) = match (pages.sql.engine.observer().lets_run(), pages.changes.stale()) {
        (false, _) => (StatusCode::SERVICE_UNAVAILABLE, UNRECORDED),
        (true, Some(_)) => (StatusCode::OK, "ready, with an older mesh: the one on disk is not served\n"),
        (true, None) => (StatusCode::OK, "ready\n"),
    };
    Ok((status, words.to_owned() + &domains.words()))
}

async fn metrics(
    State(pages): State<Arc<Pages>>,
    ConnectInfo(peer): ConnectInfo<Peer>,
    headers: HeaderMap,
) -> Result<([(HeaderName, &'static str); 1], String), Response> {
    let domains = pages.domains(&peer, &headers).await.map_err(|problem| problem.response())?;
    let Sql { counters, engine, .. } = pages.sql.as_ref();
    let text = counters.render()
        + &stalled(engine)
        + &engine.seen().render()
        + &pages.changes.render()
        + &domains.render()
        + &cache::render(engine)
        + &engine.observer().render()
        + &engine.lanes()
        + &engine.in_use()
        + &tasks();
    Ok(([(header::CONTENT_TYPE, "text/plain; version=0.0.4; charset=utf-8")], text))
}

fn stalled(engine: &Engine) -> String {
    let count = engine.stalled();
    format!(
        "# HELP polder_queries_stalled_total Queries that were ended since nobody read their rows.\n\
         # TYPE polder_queries_stalled_total counter\n\
         polder_queries_stalled_total {count}\n"
    )
}

/// The tasks of connections and of what the server does beside queries.
fn tasks() -> String {
    let count = tokio::runtime::Handle::current().metrics().num_alive_tasks();
    format!("polder_tasks{{of=\"network\"}} {count}\n")
}

/// Keeps the connection while a request is answered.
async fn keep(ConnectInfo(peer): ConnectInfo<Peer>, request: Request, next: Next) -> Response {
    let _busy = peer.busy();
    next.run(request).await
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "tests")]
mod tests {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    use tokio::net::TcpStream;
    use tokio_util::sync::CancellationToken;

    use polder_catalog::mesh::Mesh;
    use std::collections::BTreeMap;
    use tokio_util::task::TaskTracker;

    use super::*;
    use crate::auth::Auth;
    use crate::session::Options;

    /// What answers for an empty mesh.
    fn empty() -> Arc<Sql> {
        let files = BTreeMap::from([("mesh.yaml".to_owned(), "mesh: empty".to_owned())]);
        let options = Options { threads: Some(1), ..Options::default() };
        let engine = Engine::start(Mesh::from_files(&files).unwrap(), options).unwrap();
        Arc::new(Sql {
            auth: Arc::new(Auth::new(engine.served()).unwrap()),
            engine,
            counters: Arc::default(),
            queries: Arc::default(),
            drain: CancellationToken::new(),
            abort: CancellationToken::new(),
            running: TaskTracker::new(),
        })
    }

    async fn ask(address: std::net::SocketAddr, path: &str) -> String {
        let mut connection = TcpStream::connect(address).await.unwrap();
        let request = format!("GET {path} HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n");
        connection.write_all(request.as_bytes()).await.unwrap();
        let mut answer = String::new();
        connection.read_to_string(&mut answer).await.unwrap();
        answer
    }

    #[tokio::test]
    async fn it_is_ready_until_it_drains_and_alive_throughout() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let (ready, close) = (Arc::new(AtomicBool::new(true)), CancellationToken::new());
        let serving = tokio::spawn(serve(
            listener,
            None,
            Arc::clone(&ready),
            empty(),
            Arc::default(),
            close.clone().cancelled_owned(),
        ));
        assert!(ask(address, "/readyz").await.starts_with("HTTP/1.1 200"));
        ready.store(false, Ordering::Relaxed);
        assert!(ask(address, "/readyz").await.starts_with("HTTP/1.1 503"));
        assert!(ask(address, "/livez").await.starts_with("HTTP/1.1 200"));
        assert!(ask(address, "/metrics").await.contains("polder_queries_running 0"));
        assert!(ask(address, "/else").await.starts_with("HTTP/1.1 404"));
        close.cancel();
        serving.await.unwrap();
    }
}
