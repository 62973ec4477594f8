//! Who saw what: statements become records, in the order in which they happened, that nobody changes unseen.
//!
//! ```text
//! session --begin--> Entry    a record in the log before the first row leaves, one more when the entry is dropped
//!         --refused->         one record for a statement that was not planned, before its error leaves
//! auth    --failed-->         counted by name and network, one record a second at most
//!                    Log      a thread of its own: lines of JSON in a chain of hashes, in files that rotate
//!                    Lineage  what answers are made of, for catalogs of metadata; nothing waits for it
//!                    Traces   how long each part of a statement takes; nothing waits for it either
//!                    Figures  how many end how, and what they cost, for monitoring
//!                    Recent   the last statements of this process, for `mesh.queries`
//! ```
//!
//! A statement whose first record cannot be written does not run, and its rows do not leave: there is no way around the
//! log while it is on. Records name products, columns, policies and snapshots. They hold no value of the data, no secret
//! and no parameter; the text of a statement stands in them without its literals unless the mesh says otherwise.
//! Nothing here knows a plan, a policy or a protocol: it is told what happened, in words.

mod chain;
mod clock;
mod feed;
mod figures;
mod files;
mod lineage;
mod log;
mod logins;
mod readers;
mod recent;
mod record;
mod sink;
mod traces;
mod verify;
mod within;

use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant};

use futures::future::BoxFuture;
use tokio_util::task::TaskTracker;
use tokio_util::task::task_tracker::TaskTrackerToken;

use crate::error::{Class, Error};

use figures::{Figures, Taken};
pub use lineage::{Answer, Lineage, Part};
use log::Beginning;
pub use log::{Commit, Log, Settings, Synced, Unopened};
pub use readers::{Readers, Reading};
pub use recent::{Recent, Recorded};
pub use record::{Asked, Column, Origin, Outcome, Over, Read, Statement};
pub use sink::{Sink, Unusable};
pub use traces::{Parent, Stretch, Trace, Traces, spanned, timed, under};
pub use verify::{Broken, Unverified, Verified, verify};
pub use within::{alongside, alongside_blocking, statement};

/// How long statements that just ended may take to say so, when the process stops.
const LAST_WORDS: Duration = Duration::from_secs(2);

/// What is told of statements, and where it is kept.
#[derive(Debug, Default)]
pub struct Observer {
    log: Option<Log>,
    lineage: Option<Lineage>,
    traces: Option<Arc<Traces>>,
    figures: Figures,
    recent: Arc<Recent>,
    open: TaskTracker,
}

impl Observer {
    /// Keeps the last statements in memory, and all of them in `log`.
    pub fn auditing(log: Log) -> Self {
        Self { log: Some(log), ..Self::default() }
    }

    /// The same, which tells `lineage` what answers are made of.
    #[must_use]
    pub fn telling(self, lineage: Option<Lineage>) -> Self {
        Self { lineage, ..self }
    }

    /// The same, which tells `traces` how long each part of a statement takes.
    #[must_use]
    pub fn tracing(self, traces: Option<Arc<Traces>>) -> Self {
        Self { traces, ..self }
    }

    /// The trace of a statement that comes from `origin`, if anybody wants to know of it.
    pub fn trace(&self, origin: &Origin) -> Option<Arc<Trace>> {
        self.traces.as_ref()?.begin(origin)
    }

    /// The same where a statement that was planned is called for from elsewhere: `trace` is the one that it has.
    pub fn retrace(&self, trace: Option<Arc<Trace>>, origin: &Origin) -> Option<Arc<Trace>> {
        let Some(parent) = origin.parent else { return trace };
        match trace {
            Some(trace) => {
                trace.joined(parent);
                Some(trace)
            }
            None => self.trace(origin),
        }
    }

    /// Whether anybody wants to know what answers are made of.
    pub fn follows(&self) -> bool {
        self.lineage.is_some()
    }

    /// The last statements of this process.
    pub fn recent(&self) -> Arc<Recent> {
        Arc::clone(&self.recent)
    }

    /// Records that a statement starts. It may run at once; nothing of it may leave before the commit is done.
    ///
    /// # Errors
    /// `Storage`, while the log cannot be written; then it must not run.
    pub fn begin(
        self: &Arc<Self>,
        statement: Arc<Statement>,
        origin: Origin,
        trace: Option<Arc<Trace>>,
    ) -> Result<(Entry, Commit), Error> {
        let (recorded, beginning) = (Arc::new(Recorded::new(statement, origin)), Beginning::default());
        let commit = match &self.log {
            Some(log) => log.promise(record::begun(&recorded), &beginning)?,
            None => Commit::none(),
        };
        self.recent.add(Arc::clone(&recorded));
        if let Some(lineage) = &self.lineage {
            lineage.begun(&recorded);
        }
        let entry = Entry {
            observer: Arc::clone(self),
            recorded,
            trace,
            beginning,
            since: Instant::now(),
            waited: OnceLock::new(),
            first: OnceLock::new(),
            outcome: OnceLock::new(),
            _open: self.open.token(),
        };
        Ok((entry, commit))
    }

    /// Records a statement that was refused before it ran.
    ///
    /// # Errors
    /// `Storage`, while the log cannot be written; then its own error must not be told, or one could try out what is
    /// refused and leave no trace.
    pub async fn refused(
        &self,
        statement: Statement,
        origin: Origin,
        class: Class,
        took: Duration,
        trace: Option<Arc<Trace>>,
    ) -> Result<(), Error> {
        self.figures.refused(origin, class);
        let recorded = Recorded::new(Arc::new(statement), origin);
        recorded.end(Outcome::Failed(class), took);
        if let Some(trace) = trace {
            trace.ended(&recorded, Outcome::Failed(class));
        }
        if let Some(log) = &self.log {
            log.promise(record::refused(&recorded), &Beginning::default())?.done().await?;
        }
        self.recent.add(Arc::new(recorded));
        Ok(())
    }

    /// Counts a login that failed. `user` is a name that the mesh declares: what else somebody typed there is not kept,
    /// since it could be a password.
    pub fn login_failed(&self, user: Option<&str>, network: Option<std::net::IpAddr>) {
        if let Some(log) = &self.log {
            log.login_failed(user, network);
        }
    }

    /// Whether statements may run: while the log cannot be written, none may.
    pub fn lets_run(&self) -> bool {
        self.log.as_ref().is_none_or(Log::is_writable)
    }

    /// Waits for the last words of statements, and writes the end of the log. Where nobody is told, nobody is waited for.
    pub async fn close(&self) {
        if self.log.is_none() && self.lineage.is_none() && self.traces.is_none() {
            return;
        }
        self.open.close();
        if tokio::time::timeout(LAST_WORDS, self.open.wait()).await.is_err() {
            tracing::warn!("statements have not ended, and nobody is told how they will");
        }
        if let Some(lineage) = &self.lineage {
            lineage.close().await;
        }
        if let Some(traces) = &self.traces {
            traces.close().await;
        }
        if let Some(log) = &self.log {
            log.close();
        }
    }

    /// What was counted, as Prometheus reads it; nothing of those who are not told.
    pub fn render(&self) -> String {
        let log = self.log.as_ref().map(Log::render).unwrap_or_default();
        let lineage = self.lineage.as_ref().map(Lineage::render).unwrap_or_default();
        self.figures.render()
            + &log
            + &lineage
            + &self.traces.as_ref().map(|traces| traces.render()).unwrap_or_default()
    }
}

/// A statement that runs. Dropping it records its end.
#[derive(Debug)]
pub struct Entry {
    observer: Arc<Observer>,
    recorded: Arc<Recorded>,
    trace: Option<Arc<Trace>>,
    beginning: Beginning,
    since: Instant,
    waited: OnceLock<Duration>,
    first: OnceLock<Duration>,
    outcome: OnceLock<Outcome>,
    _open: TaskTrackerToken,
}

impl Entry {
    /// Counts rows that were made for the reader.
    pub fn rows(&self, rows: usize) {
        self.recorded.add(rows, 0);
    }

    /// Counts bytes that were made for the reader and may leave.
    pub fn bytes(&self, bytes: usize) {
        self.first.get_or_init(|| self.since.elapsed());
        self.recorded.add(0, bytes);
    }

    /// Says how long it waited for its turn.
    pub fn waited(&self, waited: Duration) {
        let _first_holds = self.waited.set(waited);
    }

    /// Does `work` for this statement: what is logged meanwhile can name it.
    pub fn within<'a, T: 'a>(&self, work: impl Future<Output = T> + Send + 'a) -> BoxFuture<'a, T> {
        within::within(Arc::clone(&self.recorded), work)
    }

    /// Says how it ended; what is said first holds. Without a word it was cancelled, or its reader went.
    pub fn ended(&self, outcome: Outcome) {
        let _first_holds = self.outcome.set(outcome);
    }
}

impl Drop for Entry {
    fn drop(&mut self) {
        let outcome = self.outcome.get().copied().unwrap_or(Outcome::Failed(Class::Cancelled));
        let took = self.since.elapsed();
        self.recorded.end(outcome, took);
        let (waited, first) = (self.waited.get().copied(), self.first.get().copied());
        let taken = Taken { waited, first, took, sent: self.recorded.sent() };
        self.observer.figures.ended(self.recorded.origin(), outcome, taken);
        if let Some(log) = &self.observer.log {
            log.tell(record::ended(&self.recorded), self.beginning.clone());
        }
        if let Some(lineage) = &self.observer.lineage {
            lineage.ended(&self.recorded);
        }
        if let Some(trace) = &self.trace {
            trace.ended(&self.recorded, outcome);
        }
    }
}

/// The error for what cannot be recorded and so must not happen.
fn unwritable() -> Error {
    Error::new(Class::Storage, "the audit log cannot be written, so no statement runs")
        .help("try again in a moment; the platform team finds the cause in the server's log")
}
