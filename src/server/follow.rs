//! Following the files of the mesh: what changes on disk is served, and what does not load is not.
//!
//! ```text
//! every two seconds, or at a SIGHUP: did anything change that loading looked at?
//!   Mesh::next, apart -> settled? -> may it be served here? -> keys -> Engine::serve
//!        |             no: load again           |
//!        +-- nothing of it holds -------> no: the mesh before stays, and is told to be old
//! ```
//!
//! What of the mesh is broken, a domain or its own files, stays as it was in the mesh before, and all the rest follows. That
//! is told here, in the log and in numbers, until it is mended. Files that change while they are read are read again. Queries
//! go on meanwhile: everything slow happens on threads that serve nobody.
//!
//! The files of TLS are followed beside it, in the same way: a renewed certificate is served to new connections, and one that
//! is broken is told and not served. Lakes that were not well are asked again, so that they are known to be well before
//! somebody needs them.

use std::fmt::Write;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use polder_catalog::document::{Finding, Severity, Watch};
use polder_catalog::mesh::Mesh;
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio_util::task::AbortOnDropHandle;

use super::guard_exposure;
use crate::auth::Auth;
use crate::error::{Class, Error};
use crate::flight::tls::Tls;
use crate::session::Engine;

/// How long files must rest after they were read. Who writes several at once has not finished in less.
const SETTLE: Duration = Duration::from_millis(200);

/// How long it is waited for files that do not rest. Whoever keeps changing those of one domain must not keep the mesh from
/// taking rights away.
const RESTLESS: Duration = Duration::from_secs(10);

/// How long lakes that were not well are left before they are asked again. Credentials that are refused are not tried often.
const LOOK_AGAIN: Duration = Duration::from_secs(15);

/// How the files of the mesh are followed.
#[derive(Debug, Clone, Copy)]
pub struct Follow {
    /// How long to wait before looking again.
    pub every: Duration,
    /// Whether a SIGHUP makes it look at once, and no longer ends the process.
    pub hangup: bool,
}

/// What became of the changes so far.
#[derive(Debug, Default)]
pub(super) struct Changes {
    served: AtomicU64,
    refused: AtomicU64,
    ended: AtomicU64,
    renewed: AtomicU64,
    unrenewed: AtomicU64,
    /// Whether an older certificate is served than the one on disk.
    expiring: AtomicBool,
    /// Why what is on disk is not served, if it is not.
    stale: Mutex<Option<String>>,
}

impl Changes {
    /// Why an older mesh is served than the one on disk, if one is.
    pub(super) fn stale(&self) -> Option<String> {
        self.stale.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    fn note(&self, stale: Option<String>) {
        *self.stale.lock().unwrap_or_else(PoisonError::into_inner) = stale;
    }

    /// In Prometheus' text format.
    pub(super) fn render(&self) -> String {
        let mut text = String::new();
        let mut add = |name: &str, kind: &str, help: &str, value: u64| {
            let _ = write!(text, "# HELP {name} {help}\n# TYPE {name} {kind}\n{name} {value}\n");
        };
        let count = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        add("polder_mesh_changes_total", "counter", "Changes of the mesh that are served.", count(&self.served));
        add("polder_mesh_changes_refused_total", "counter", "Changes that could not be served.", count(&self.refused));
        add(
            "polder_mesh_stale",
            "gauge",
            "Whether an older mesh is served than the one on disk.",
            u64::from(self.stale().is_some()),
        );
        add("polder_tls_renewals_total", "counter", "Changes of the TLS files that are served.", count(&self.renewed));
        add(
            "polder_tls_renewals_refused_total",
            "counter",
            "Changes of the TLS files that could not be served.",
            count(&self.unrenewed),
        );
        add(
            "polder_tls_stale",
            "gauge",
            "Whether other TLS files are served than those on disk.",
            u64::from(self.expiring.load(Ordering::Relaxed)),
        );
        add("polder_queries_revoked_total", "counter", "Running queries that a change ended.", count(&self.ended));
        text
    }
}

/// What follows the files.
#[derive(Debug)]
pub(super) struct Follower {
    pub(super) engine: Arc<Engine>,
    pub(super) auth: Arc<Auth>,
    pub(super) listen: SocketAddr,
    pub(super) changes: Arc<Changes>,
    pub(super) tls: Option<Arc<Tls>>,
}

impl Follower {
    /// Follows until it is dropped.
    pub(super) async fn follow(self: Arc<Self>, Follow { every, hangup }: Follow) {
        let mut hangups = if hangup { hangups() } else { None };
        let mut watch = self.engine.mesh().watch();
        let (mut looked, mut looking) = (Instant::now(), None::<AbortOnDropHandle<()>>);
        loop {
            tokio::select! {
                () = tokio::time::sleep(every) => {}
                () = next(&mut hangups) => {}
            }
            if changed(&watch).await {
                let (loaded, now) = self.load().await;
                watch = now;
                let this = Arc::clone(&self);
                let _ = apart(move || this.take(loaded)).await;
            }
            if let Some(tls) = self.tls.clone() {
                self.renew(tls).await;
            }
            // One that hangs is not waited for.
            if looked.elapsed() >= LOOK_AGAIN && looking.as_ref().is_none_or(|looking| looking.is_finished()) {
                looked = Instant::now();
                let engine = Arc::clone(&self.engine);
                looking = Some(AbortOnDropHandle::new(tokio::spawn(async move { engine.look_again().await })));
            }
        }
    }

    /// Serves the certificate that is on disk. Whether clients must show one is for the mesh to say.
    async fn renew(&self, tls: Arc<Tls>) {
        let (demanded, looked) = (self.engine.mesh().admits_certificates_alone(), Arc::clone(&tls));
        if apart(move || looked.has_changed(demanded)).await == Some(false) {
            return;
        }
        // Certificate and key are two files, and are seldom written at once.
        tokio::time::sleep(SETTLE).await;
        let renewed = apart(move || tls.renew(demanded)).await;
        let broken = match renewed {
            Some(Ok(())) => {
                self.changes.renewed.fetch_add(1, Ordering::Relaxed);
                tracing::info!("the TLS files changed and are served as they are now");
                false
            }
            Some(Err(error)) => {
                self.changes.unrenewed.fetch_add(1, Ordering::Relaxed);
                tracing::error!(why = error.message, "the TLS files on disk are not served: those before stay");
                true
            }
            None => return,
        };
        self.changes.expiring.store(broken, Ordering::Relaxed);
    }

    /// Loads what is on disk, once it rests, or has not for too long.
    async fn load(&self) -> (Result<Mesh, Vec<Finding>>, Arc<Watch>) {
        let begun = Instant::now();
        loop {
            let before = self.engine.mesh();
            let loaded = apart(move || before.next()).await;
            tokio::time::sleep(SETTLE).await;
            let Some((loaded, watch)) = loaded else { continue };
            if !changed(&watch).await {
                return (loaded, watch);
            }
            if begun.elapsed() >= RESTLESS {
                tracing::warn!("the files of the mesh do not rest: they are taken as they were found");
                return (loaded, watch);
            }
        }
    }

    /// Serves what was loaded, or says why not.
    fn take(&self, loaded: Result<Mesh, Vec<Finding>>) {
        let refused = match loaded {
            Ok(mesh) => match self.serve(mesh) {
                Ok(is_behind) => is_behind.then(|| "its own files are broken, and hold as they were before".to_owned()),
                Err(error) => Some(error.to_string()),
            },
            Err(findings) => {
                tell(&findings);
                // Whoever has no descriptors left, or no rights, reads files that may be as they should.
                let mut errors = findings.iter().filter(|finding| finding.severity == Severity::Error);
                let unread = errors.all(|finding| finding.code == "file/unreadable");
                let how = if unread { "cannot be read" } else { "is broken" };
                Some(format!("the mesh on disk {how}"))
            }
        };
        if let Some(why) = &refused {
            self.changes.refused.fetch_add(1, Ordering::Relaxed);
            tracing::error!(%why, "the mesh on disk is not served as it is");
        }
        self.changes.note(refused);
    }

    /// Serves a mesh. Says whether its own files are older than those on disk.
    fn serve(&self, mesh: Mesh) -> Result<bool, Error> {
        let before = self.engine.mesh();
        if mesh.name() != before.name() {
            return Err(Error::new(
                Class::BadRequest,
                format!("the mesh on disk is called `{}`, and `{}` is served", mesh.name(), before.name()),
            )
            .help("start the server again to serve another mesh"));
        }
        guard_exposure(self.listen, mesh.has_auth())?;
        self.auth.rekey(&mesh)?;
        tell(mesh.findings());
        for (domain, _) in mesh.domains_kept() {
            tracing::error!(%domain, "what is on disk of the domain is not served: it stays as it was before");
        }
        let is_behind = mesh.behind_since().is_some();
        let ended = self.engine.serve(mesh);
        self.changes.served.fetch_add(1, Ordering::Relaxed);
        self.changes.ended.fetch_add(u64::try_from(ended).unwrap_or(u64::MAX), Ordering::Relaxed);
        tracing::info!(ended, "the mesh changed and is served as it is now");
        Ok(is_behind)
    }
}

/// Tells what is wrong with the files where their operator looks.
fn tell(findings: &[Finding]) {
    for Finding { severity, code, place, message, .. } in findings {
        match severity {
            Severity::Error => tracing::error!(%place, code, "{message}"),
            Severity::Warning => tracing::warn!(%place, code, "{message}"),
            Severity::Note => tracing::info!(%place, code, "{message}"),
        }
    }
}

async fn changed(watch: &Arc<Watch>) -> bool {
    let watch = Arc::clone(watch);
    // What could not be looked at may have changed.
    apart(move || watch.has_changed()).await.unwrap_or(true)
}

/// Does `work` on a thread where it may take its time; `None` when it failed.
async fn apart<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> Option<T> {
    tokio::task::spawn_blocking(work).await.ok()
}

fn hangups() -> Option<Signal> {
    let hangups = signal(SignalKind::hangup());
    hangups.inspect_err(|cause| tracing::error!(%cause, "a SIGHUP cannot be received")).ok()
}

async fn next(hangups: &mut Option<Signal>) {
    match hangups {
        Some(hangups) => drop(hangups.recv().await),
        None => std::future::pending().await,
    }
}
