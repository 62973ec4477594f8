//! What became of what: run events of OpenLineage for statements that read products.
//!
//! ```text
//! begin --START--> \                          / file     a line each
//!                    queue --> thread of its own - stdout   likewise
//! end --COMPLETE--> /                          \ server   POST, tried again
//!      FAIL, ABORT
//! ```
//!
//! A product is a dataset, `domain.product` in the namespace `polder://mesh`, and so is the answer of a statement, under the
//! fingerprint that it shares with those that differ in their literals alone. Events name products, snapshots, columns, how a
//! column reaches the answer and whether a mask is on the way. There is no value of the data in them, no text of a
//! statement and nobody's name: who asked is the audit log's to tell.
//!
//! Nothing waits for a sink. What finds no room in the queue, or what a server does not take in time, is lost and counted.

mod event;
mod sink;

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::Duration;

use tokio::sync::mpsc::{Receiver, Sender, channel};

use super::recent::Recorded;
pub use sink::{Sink, Unusable};

/// The most events that wait.
const QUEUE: usize = 1_024;
/// How long the last events may take when the process stops.
const CLOSING: Duration = Duration::from_secs(3);

/// What an answer is made of.
#[derive(Debug, Clone, Default)]
pub struct Answer {
    /// The mesh.
    pub mesh: String,
    /// The products that are read, with their snapshots.
    pub inputs: Vec<(String, Option<String>)>,
    /// Its columns in their order: the name, and what this one is made of.
    pub columns: Vec<(String, Vec<Part>)>,
    /// What has a say in which rows there are, or in which order.
    pub rows: Vec<Part>,
}

/// A column that has a say in an answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Part {
    /// Its product.
    pub product: String,
    /// Its name, with the fields inside of it behind dots.
    pub column: String,
    /// How it reaches the answer: `value`, `predicate`, `join`, `group`, `order`, `window`.
    pub via: &'static str,
    /// Whether it does so behind a mask.
    pub masked: bool,
}

/// Where events go.
#[derive(Debug)]
pub struct Lineage {
    queue: Mutex<Option<Sender<String>>>,
    counts: Arc<Counts>,
    thread: Mutex<Option<JoinHandle<()>>>,
}

/// What became of events.
#[derive(Debug, Default)]
struct Counts {
    sent: AtomicU64,
    lost: AtomicU64,
}

impl Lineage {
    /// Sends events to `sink` from a thread of its own.
    ///
    /// # Errors
    /// When the sink cannot be had, or the thread.
    pub fn to(sink: Sink) -> Result<Self, Unusable> {
        let (queue, events) = channel(QUEUE);
        let counts = Arc::<Counts>::default();
        let counting = Arc::clone(&counts);
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().map_err(Unusable::Thread)?;
        let mut open = sink.open()?;
        let work = async move { drain(&mut open, events, &counting).await };
        let thread = std::thread::Builder::new().name("polder-lineage".to_owned());
        let thread = thread.spawn(move || runtime.block_on(work)).map_err(Unusable::Thread)?;
        Ok(Self { queue: Some(queue).into(), counts, thread: Some(thread).into() })
    }

    /// Tells that a statement starts.
    pub(super) fn begun(&self, recorded: &Recorded) {
        self.tell(event::begun(recorded));
    }

    /// Tells how a statement has ended.
    pub(super) fn ended(&self, recorded: &Recorded) {
        self.tell(event::ended(recorded));
    }

    fn tell(&self, event: Option<String>) {
        let Some(event) = event else { return };
        let queue = self.queue.lock().unwrap_or_else(PoisonError::into_inner).clone();
        if queue.is_none_or(|queue| queue.try_send(event).is_err()) {
            self.counts.lost.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// Lets those that wait go, for a moment, and takes no more.
    pub(super) async fn close(&self) {
        drop(self.queue.lock().unwrap_or_else(PoisonError::into_inner).take());
        let Some(thread) = self.thread.lock().unwrap_or_else(PoisonError::into_inner).take() else { return };
        let ended = tokio::task::spawn_blocking(move || thread.join());
        if tokio::time::timeout(CLOSING, ended).await.is_err() {
            tracing::warn!("the last events of lineage were not taken in time");
        }
    }

    /// What was counted, as Prometheus reads it.
    pub(super) fn render(&self) -> String {
        let (sent, lost) = (self.counts.sent.load(Ordering::Relaxed), self.counts.lost.load(Ordering::Relaxed));
        format!(
            "# HELP polder_lineage_events_total Events of lineage by what became of them.\n\
             # TYPE polder_lineage_events_total counter\n\
             polder_lineage_events_total{{state=\"sent\"}} {sent}\n\
             polder_lineage_events_total{{state=\"lost\"}} {lost}\n"
        )
    }
}

async fn drain(sink: &mut sink::Open, mut events: Receiver<String>, counts: &Counts) {
    let mut well = true;
    while let Some(event) = events.recv().await {
        let taken = sink.put(&event).await;
        // Told once for each time that it goes wrong, and not for every event.
        if well && let Err(error) = &taken {
            tracing::warn!(%error, "events of lineage are lost");
        }
        well = taken.is_ok();
        let count = if well { &counts.sent } else { &counts.lost };
        count.fetch_add(1, Ordering::Relaxed);
    }
}
