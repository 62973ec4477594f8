//! Health and metrics over HTTP: `/livez`, `/readyz`, `/metrics`.

use std::future::Future;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use axum::Router;
use axum::http::{StatusCode, header};
use axum::routing::get;
use tokio::net::TcpListener;

use super::follow::Changes;
use crate::flight::counters::Counters;

/// Serves until `close`. An accept that fails is tried again by axum itself.
pub(super) async fn serve(
    listener: TcpListener,
    ready: Arc<AtomicBool>,
    counters: Arc<Counters>,
    changes: Arc<Changes>,
    close: impl Future<Output = ()> + Send + 'static,
) {
    let state = Arc::clone(&changes);
    let readiness = move || async move {
        match (ready.load(Ordering::Relaxed), state.stale()) {
            // Queries are answered as before. Why the files do not load is in the log: this page is for everyone.
            (true, Some(_)) => (StatusCode::OK, "ready, with an older mesh: the one on disk is not served\n"),
            (true, None) => (StatusCode::OK, "ready\n"),
            (false, _) => (StatusCode::SERVICE_UNAVAILABLE, "draining\n"),
        }
    };
    let metrics = move || async move {
        ([(header::CONTENT_TYPE, "text/plain; version=0.0.4; charset=utf-8")], counters.render() + &changes.render())
    };
    let router = Router::new()
        .route("/livez", get(|| async { "alive\n" }))
        .route("/readyz", get(readiness))
        .route("/metrics", get(metrics));
    if let Err(cause) = axum::serve(listener, router).with_graceful_shutdown(close).await {
        tracing::error!(%cause, "the HTTP listener ended");
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "tests")]
mod tests {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    use tokio::net::TcpStream;
    use tokio_util::sync::CancellationToken;

    use super::*;

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
            Arc::clone(&ready),
            Arc::default(),
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
