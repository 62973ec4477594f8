//! What is told to others elsewhere: texts in a queue that has a bound, sent by a thread of their own.
//!
//! ```text
//! tell --> queue --> thread: gathers a batch --> sink: a file, the standard output, a server that is asked again
//!      full: lost                            not taken: lost
//! ```
//!
//! Nothing waits for a sink, and what is lost is counted.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::Duration;

use tokio::sync::mpsc::{Receiver, Sender, channel};
use tokio::time::{Instant, sleep, timeout, timeout_at};
use tokio_util::sync::CancellationToken;

use super::sink::{Open, Sink, Unusable};

/// The most texts that wait.
const QUEUE: usize = 1_024;
/// How long the last ones may take when the process stops.
const CLOSING: Duration = Duration::from_secs(3);
/// The bytes behind which a batch takes no more.
const BATCH: usize = 1 << 20;

/// How texts leave.
#[derive(Debug, Clone, Copy)]
pub(super) struct Manner {
    /// What they are, for the log and for the thread.
    what: &'static str,
    /// The metric that counts them, and what it says of itself.
    metric: &'static str,
    help: &'static str,
    /// How many leave together, and how long the first of them waits for others.
    most: usize,
    linger: Duration,
    /// Makes one text of those that leave together.
    joined: fn(&[String]) -> String,
}

impl Manner {
    /// One by one, as soon as may be.
    pub(super) const fn each(what: &'static str, metric: &'static str, help: &'static str) -> Self {
        Self { what, metric, help, most: 1, linger: Duration::ZERO, joined: <[String]>::concat }
    }

    /// Up to `most` together, the first of which waits for others no longer than `linger`.
    pub(super) const fn together(self, most: usize, linger: Duration, joined: fn(&[String]) -> String) -> Self {
        Self { most, linger, joined, ..self }
    }
}

/// Texts on their way to a sink.
#[derive(Debug)]
pub(super) struct Feed {
    manner: Manner,
    queue: Mutex<Option<Sender<String>>>,
    counts: Arc<Counts>,
    closing: CancellationToken,
    thread: Mutex<Option<JoinHandle<()>>>,
}

/// What became of texts.
#[derive(Debug, Default)]
struct Counts {
    sent: AtomicU64,
    lost: AtomicU64,
}

impl Feed {
    /// Sends texts to `sink` from a thread of its own.
    ///
    /// # Errors
    /// When the sink cannot be had, or the thread.
    pub(super) fn to(sink: Sink, manner: Manner) -> Result<Self, Unusable> {
        let (queue, texts) = channel(QUEUE);
        let (counts, closing) = (Arc::<Counts>::default(), CancellationToken::new());
        let (counting, closed) = (Arc::clone(&counts), closing.clone());
        // A runtime must not be dropped among the tasks of another, so that nothing may fail between it and its thread.
        let mut open = sink.open()?;
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().map_err(Unusable::Thread)?;
        let work = async move {
            let late = async {
                closed.cancelled().await;
                sleep(CLOSING).await;
            };
            tokio::select! {
                () = drain(manner, &mut open, texts, &counting) => {}
                () = late => tracing::warn!("the last words of {} were not taken in time", manner.what),
            }
        };
        let thread = std::thread::Builder::new().name(format!("polder-{}", manner.what));
        let thread = thread.spawn(move || runtime.block_on(work)).map_err(Unusable::Thread)?;
        Ok(Self { manner, queue: Some(queue).into(), counts, closing, thread: Some(thread).into() })
    }

    /// Tells a text, or loses it.
    pub(super) fn tell(&self, text: String) {
        let queue = self.queue.lock().unwrap_or_else(PoisonError::into_inner).clone();
        if queue.is_none_or(|queue| queue.try_send(text).is_err()) {
            self.counts.lost.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// Lets those that wait go, for a moment, and takes no more.
    pub(super) async fn close(&self) {
        drop(self.queue.lock().unwrap_or_else(PoisonError::into_inner).take());
        self.closing.cancel();
        let Some(thread) = self.thread.lock().unwrap_or_else(PoisonError::into_inner).take() else { return };
        let ended = tokio::task::spawn_blocking(move || thread.join());
        // The thread ends by itself by then, unless a disk holds it.
        let _told_by_the_thread = timeout(CLOSING * 2, ended).await;
    }

    /// What was counted, as Prometheus reads it.
    pub(super) fn render(&self) -> String {
        let Manner { metric, help, .. } = self.manner;
        let (sent, lost) = (self.counts.sent.load(Ordering::Relaxed), self.counts.lost.load(Ordering::Relaxed));
        format!(
            "# HELP {metric} {help} by what became of them.\n\
             # TYPE {metric} counter\n\
             {metric}{{state=\"sent\"}} {sent}\n\
             {metric}{{state=\"lost\"}} {lost}\n"
        )
    }
}

async fn drain(manner: Manner, sink: &mut Open, mut texts: Receiver<String>, counts: &Counts) {
    let mut well = true;
    while let Some(first) = texts.recv().await {
        let batch = gathered(manner, first, &mut texts).await;
        let taken = sink.put(&(manner.joined)(&batch)).await;
        // Told once for each time that it goes wrong, and not for every batch.
        if well && let Err(error) = &taken {
            tracing::warn!(%error, "{} cannot be told and are lost", manner.what);
        }
        well = taken.is_ok();
        let count = if well { &counts.sent } else { &counts.lost };
        count.fetch_add(u64::try_from(batch.len()).unwrap_or(u64::MAX), Ordering::Relaxed);
    }
}

async fn gathered(manner: Manner, first: String, texts: &mut Receiver<String>) -> Vec<String> {
    let until = Instant::now() + manner.linger;
    let (mut bytes, mut batch) = (first.len(), vec![first]);
    while batch.len() < manner.most && bytes < BATCH {
        let Ok(Some(next)) = timeout_at(until, texts.recv()).await else { break };
        bytes = bytes.saturating_add(next.len());
        batch.push(next);
    }
    batch
}
