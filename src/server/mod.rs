//! The life of the serving process: listeners, readiness, signals, the files that it follows, and a stop that drains.
//! What is served over HTTP is here too; Flight is in a room of its own.

mod checks;
mod follow;
mod health;
mod http;

use std::fmt;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use polder_catalog::mesh::Mesh;
use tokio::net::TcpListener;
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::auth::Auth;
use crate::error::{Class, Error};
use crate::flight::Service;
use crate::flight::counters::Counters;
use crate::flight::listen::{self, Health};
use crate::flight::tls::{Tls, TlsFiles};
use crate::observe::Observer;
use crate::session::Engine;
pub use checks::Checks;
pub use follow::Follow;
use follow::{Changes, Follower};
use http::Sql;

/// How long streams may take to say that they were aborted.
const LAST_WORDS: Duration = Duration::from_secs(2);

/// How often it is looked whether statements may run, for those who watch the gRPC health service.
const LOOK: Duration = Duration::from_millis(250);

/// How a mesh is served.
#[derive(Debug, Clone)]
pub struct Options {
    /// Where Flight SQL listens. Port 0 takes a free one.
    pub listen: SocketAddr,
    /// Where SQL, health and metrics are served over HTTP, if anywhere.
    pub http: Option<SocketAddr>,
    /// The files of TLS, where it is served.
    pub tls: Option<TlsFiles>,
}

/// A server that runs. Dropping it stops it at once; [`Running::stop`] lets queries end.
#[must_use]
pub struct Running {
    /// Where Flight SQL listens.
    pub address: SocketAddr,
    /// Where SQL over HTTP, health and metrics are served.
    pub http: Option<SocketAddr>,
    health: Health,
    ready: Arc<AtomicBool>,
    drain: CancellationToken,
    abort: CancellationToken,
    close_http: CancellationToken,
    /// The statements that run over HTTP.
    over_http: TaskTracker,
    flight_task: JoinHandle<Result<(), Error>>,
    http_task: Option<JoinHandle<()>>,
    health_task: JoinHandle<()>,
    follower: Arc<Follower>,
    follow_task: Option<JoinHandle<()>>,
    check_task: Option<JoinHandle<()>>,
}

impl fmt::Debug for Running {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Running").field("address", &self.address).field("http", &self.http).finish_non_exhaustive()
    }
}

/// Serves an engine. It takes connections when this returns.
///
/// # Errors
/// When an address cannot be listened on, a TLS file is bad, or a mesh without `auth` would be open to other machines.
pub async fn start(engine: Arc<Engine>, options: Options) -> Result<Running, Error> {
    let auth = Arc::new(Auth::new(engine.served())?.telling(engine.observer()));
    guard_exposure(options.listen, auth.required())?;
    if !options.listen.ip().to_canonical().is_loopback() && options.tls.is_none() {
        tracing::warn!(address = %options.listen, "serving without TLS: passwords and data can be read on the network");
    }
    let demanded = engine.mesh().admits_certificates_alone();
    let tls = options.tls.clone().map(|files| Tls::read(files, demanded)).transpose()?.map(Arc::new);
    guard_certificates(&engine.mesh(), &options);
    let listener = bind(options.listen).await?;
    let address = local(&listener)?;
    let http_listener = match options.http {
        Some(address) => Some(bind(address).await?),
        None => None,
    };
    let http = http_listener.as_ref().map(local).transpose()?;

    let (drain, abort, close_http) = (CancellationToken::new(), CancellationToken::new(), CancellationToken::new());
    let (ready, counters) = (Arc::new(AtomicBool::new(true)), Arc::new(Counters::default()));
    let changes = Arc::<Changes>::default();
    let follower = Arc::new(Follower {
        engine: Arc::clone(&engine),
        auth: Arc::clone(&auth),
        listen: options.listen,
        changes: Arc::clone(&changes),
        tls: tls.clone(),
    });
    let (over_http, observer) = (TaskTracker::new(), engine.observer());
    let service = Service::new(Arc::clone(&engine), Arc::clone(&auth), Arc::clone(&counters), abort.clone());
    let sql = Arc::new(Sql {
        engine,
        auth,
        counters,
        queries: service.queries(),
        drain: drain.clone(),
        abort: abort.clone(),
        running: over_http.clone(),
    });
    let (health, serving) = listen::serve(service, listener, tls.clone(), drain.clone().cancelled_owned()).await;
    let flight_task = tokio::spawn(serving);
    let health_task = tokio::spawn(tell(health.clone(), observer));
    let http_task = http_listener.map(|listener| {
        tokio::spawn(http::serve(listener, tls, Arc::clone(&ready), sql, changes, close_http.clone().cancelled_owned()))
    });
    Ok(Running {
        address,
        http,
        health,
        ready,
        drain,
        abort,
        close_http,
        over_http,
        flight_task,
        http_task,
        health_task,
        follower,
        follow_task: None,
        check_task: None,
    })
}

/// Tells the gRPC health service what `/readyz` says: while nothing can be recorded of statements, none runs.
async fn tell(health: Health, observer: Arc<Observer>) {
    let mut told = true;
    loop {
        tokio::time::sleep(LOOK).await;
        let ready = observer.lets_run();
        if ready != told {
            health.tell(ready).await;
            told = ready;
        }
    }
}

/// A mesh that asks nobody's name is for this machine only.
fn guard_exposure(listen: SocketAddr, auth: bool) -> Result<(), Error> {
    if auth || listen.ip().to_canonical().is_loopback() {
        return Ok(());
    }
    Err(Error::new(
        Class::BadRequest,
        format!("the mesh has no `auth`, so it is not served on `{listen}`, which other machines can reach"),
    )
    .help("declare `auth` in mesh.yaml, or listen on 127.0.0.1"))
}

/// Says so where certificates are declared and none can be shown.
fn guard_certificates(mesh: &Mesh, options: &Options) {
    if mesh.admits_certificates() && options.tls.as_ref().is_none_or(|files| files.client_ca.is_none()) {
        tracing::warn!("the mesh declares certificates, but without `--tls-client-ca` nobody comes in by one");
    }
}

async fn bind(address: SocketAddr) -> Result<TcpListener, Error> {
    TcpListener::bind(address)
        .await
        .map_err(|cause| Error::new(Class::BadRequest, format!("cannot listen on `{address}`: {cause}")))
}

fn local(listener: &TcpListener) -> Result<SocketAddr, Error> {
    listener.local_addr().map_err(|cause| Error::new(Class::Bug, format!("a listener has no address: {cause}")))
}

impl Running {
    /// Follows the files of the mesh until the server stops.
    pub fn follow(&mut self, follow: Follow) {
        let following = tokio::spawn(Arc::clone(&self.follower).follow(follow));
        if let Some(before) = self.follow_task.replace(following) {
            before.abort();
        }
    }

    /// Holds the products against their rules of quality, now and again and again, until the server stops.
    pub fn check(&mut self, checks: Checks) {
        let checking = tokio::spawn(checks::check(Arc::clone(&self.follower.engine), checks));
        if let Some(before) = self.check_task.replace(checking) {
            before.abort();
        }
    }

    /// Stops: says so to health checks, takes no more connections, waits for the running queries until `deadline` is
    /// there, then ends them with an error.
    pub async fn stop(mut self, deadline: impl Future<Output = ()>) {
        self.ready.store(false, Ordering::Relaxed);
        self.health_task.abort();
        let _has_ended = (&mut self.health_task).await;
        self.health.tell(false).await;
        self.drain.cancel();
        self.over_http.close();
        let (flight, over_http) = (&mut self.flight_task, &self.over_http);
        let mut ending = std::pin::pin!(async { tokio::join!(flight, over_http.wait()).0 });
        let ended = tokio::select! {
            ended = &mut ending => Ok(ended),
            () = deadline => {
                tracing::warn!("queries still ran at the deadline of the shutdown and are ended");
                self.abort.cancel();
                tokio::time::timeout(LAST_WORDS, &mut ending).await
            }
        };
        if let Ok(Ok(Err(error))) = ended {
            tracing::error!(%error, "the server had already failed");
        }
        self.close_http.cancel();
        if let Some(mut task) = self.http_task.take()
            && tokio::time::timeout(LAST_WORDS, &mut task).await.is_err()
        {
            task.abort();
        }
        // A client that reads nothing cannot be told; dropping `self` leaves it.
    }
}

/// SIGINT and SIGTERM. They are caught from the beginning and not only while one is awaited.
#[derive(Debug)]
pub struct Signals(Option<(Signal, Signal)>);

impl Signals {
    /// Catches them from now on.
    pub fn catch() -> Self {
        let signals = (signal(SignalKind::interrupt()), signal(SignalKind::terminate()));
        match signals {
            (Ok(interrupt), Ok(terminate)) => Self(Some((interrupt, terminate))),
            _ => {
                tracing::error!("signals cannot be received: the server will stop without draining");
                Self(None)
            }
        }
    }

    /// Waits for the next one.
    pub async fn next(&mut self) {
        match &mut self.0 {
            Some((interrupt, terminate)) => tokio::select! {
                _ = interrupt.recv() => {}
                _ = terminate.recv() => {}
            },
            // Then the system's own handling ends the process.
            None => std::future::pending().await,
        }
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        self.abort.cancel();
        self.drain.cancel();
        self.close_http.cancel();
        self.flight_task.abort();
        self.health_task.abort();
        self.http_task.iter().chain(&self.follow_task).chain(&self.check_task).for_each(JoinHandle::abort);
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "tests")]
mod tests {
    use super::*;

    #[test]
    fn a_mesh_without_auth_stays_on_this_machine() {
        for listen in ["127.0.0.1:0", "127.9.9.9:0", "[::1]:0", "[::ffff:127.0.0.1]:0"] {
            assert!(guard_exposure(listen.parse().unwrap(), false).is_ok(), "{listen}");
        }
        for listen in ["0.0.0.0:0", "[::]:0", "192.0.2.1:0"] {
            let error = guard_exposure(listen.parse().unwrap(), false).unwrap_err();
            assert!(error.message.contains(listen), "{error}");
            assert!(guard_exposure(listen.parse().unwrap(), true).is_ok(), "{listen}");
        }
    }

    #[tokio::test]
    async fn an_address_in_use_is_named() {
        let first = bind("127.0.0.1:0".parse().unwrap()).await.unwrap();
        let address = local(&first).unwrap();
        let error = bind(address).await.unwrap_err();
        assert!(error.message.contains(&address.to_string()), "{error}");
    }
}
