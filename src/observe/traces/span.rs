//! The spans of one statement, kept until it has ended.

use std::future::Future;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use futures::FutureExt;
use futures::future::BoxFuture;

use super::super::recent::Recorded;
use super::super::record::{Outcome, Over};
use super::{Parent, Traces, otlp};

/// The most spans of one statement.
const MOST: usize = 64;
/// The most products that are named of it, and the most letters of a name.
const PRODUCTS: usize = 16;
const LETTERS: usize = 128;

tokio::task_local! {
    /// What a task works for.
    static HERE: Here;
}

/// A span that is open, under which others open.
#[derive(Debug, Clone)]
struct Here {
    trace: Arc<Trace>,
    span: u64,
}

/// A span that has ended, in nanoseconds since 1970.
#[derive(Debug)]
pub(super) struct Span {
    pub(super) id: u64,
    pub(super) parent: u64,
    pub(super) name: &'static str,
    pub(super) from: u64,
    pub(super) to: u64,
    pub(super) product: Option<String>,
    /// How long of that it worked, where that is less.
    pub(super) busy: Option<Duration>,
}

/// The trace of a statement. It leaves when nobody holds it any more.
#[derive(Debug)]
pub struct Trace {
    traces: Arc<Traces>,
    begun: Instant,
    at: u64,
    over: Over,
    /// What its spans are numbered from. That of the statement itself has this number.
    first: u64,
    next: AtomicU64,
    kept: Mutex<Kept>,
}

/// What is known of a statement.
#[derive(Debug)]
pub(super) struct Kept {
    pub(super) trace: u128,
    pub(super) parent: Option<u64>,
    /// A span of a later call for the same statement.
    pub(super) link: Option<(u128, u64)>,
    pub(super) spans: Vec<Span>,
    pub(super) left_out: u64,
    pub(super) ended: Option<Ended>,
}

/// How a statement ended.
#[derive(Debug)]
pub(super) struct Ended {
    pub(super) at: u64,
    pub(super) id: String,
    pub(super) fingerprint: Option<String>,
    pub(super) products: Vec<String>,
    pub(super) outcome: Outcome,
    pub(super) rows: u64,
    pub(super) bytes: u64,
}

impl Trace {
    pub(super) fn begin(traces: Arc<Traces>, trace: u128, parent: Option<u64>, over: Over) -> Self {
        let at = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        let kept = Kept { trace, parent, link: None, spans: Vec::new(), left_out: 0, ended: None };
        // Never zero, which means none.
        let first = uuid::Uuid::new_v4().as_u64_pair().1 | 1;
        let next = AtomicU64::new(first.wrapping_add(1));
        Self { traces, begun: Instant::now(), at: nanos(at), over, first, next, kept: Mutex::new(kept) }
    }

    /// A later call for the same statement: its span becomes the parent where there is none, and is linked to otherwise.
    pub(in super::super) fn joined(&self, parent: Parent) {
        let mut kept = self.kept();
        match kept.parent {
            None if parent.sampled => (kept.trace, kept.parent) = (parent.trace, Some(parent.span)),
            Some(known) if known != parent.span => kept.link = Some((parent.trace, parent.span)),
            _ => {}
        }
    }

    /// Keeps how the statement ended.
    pub(in super::super) fn ended(&self, recorded: &Recorded, outcome: Outcome) {
        let statement = recorded.statement();
        let products = statement.reads.iter().take(PRODUCTS).map(|read| bounded(read.product.clone())).collect();
        let (rows, bytes) = recorded.sent();
        let (id, fingerprint) = (recorded.id().to_owned(), statement.asked.fingerprint.clone());
        self.kept().ended = Some(Ended { at: self.now(), id, fingerprint, products, outcome, rows, bytes });
    }

    /// Now, by a clock that does not jump while a statement runs.
    fn now(&self) -> u64 {
        self.at.saturating_add(nanos(self.begun.elapsed()))
    }

    fn kept(&self) -> MutexGuard<'_, Kept> {
        self.kept.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn keep(&self, span: Span) {
        let mut kept = self.kept();
        match kept.spans.len() < MOST {
            true => kept.spans.push(span),
            false => kept.left_out = kept.left_out.saturating_add(1),
        }
    }
}

impl Drop for Trace {
    fn drop(&mut self) {
        let kept = self.kept.get_mut().unwrap_or_else(PoisonError::into_inner);
        // A statement that was planned and not asked for afterwards has ended with the last thing that was done for it.
        let last = kept.spans.iter().map(|span| span.to).max().unwrap_or(self.at);
        let to = kept.ended.as_ref().map_or(last, |ended| ended.at).max(self.at);
        let text = otlp::spans(kept, self.first, self.over, (self.at, to));
        self.traces.feed.tell(text);
    }
}

/// A span that is open. Dropping it ends it.
struct Opened {
    here: Here,
    parent: u64,
    name: &'static str,
    from: u64,
    product: Option<String>,
}

impl Opened {
    fn new(name: &'static str, product: Option<String>) -> Option<Self> {
        let above = HERE.try_with(Here::clone).ok()?;
        let Here { trace, span: parent } = above;
        let span = trace.next.fetch_add(1, Ordering::Relaxed);
        let from = trace.now();
        Some(Self { here: Here { trace, span }, parent, name, from, product })
    }
}

impl Drop for Opened {
    fn drop(&mut self) {
        let Self { here: Here { trace, span }, parent, name, from, product } = self;
        let product = product.take().map(bounded);
        trace.keep(Span { id: *span, parent: *parent, name, from: *from, to: trace.now(), product, busy: None });
    }
}

/// Works for a statement, whose trace is known to all that is measured meanwhile.
pub fn under<'a, T: 'a>(trace: Option<Arc<Trace>>, work: impl Future<Output = T> + Send + 'a) -> BoxFuture<'a, T> {
    match trace {
        Some(trace) => HERE.scope(Here { span: trace.first, trace }, work.boxed()).boxed(),
        None => work.boxed(),
    }
}

/// Measures work under a name, of a product if it is about one.
///
/// The work is kept apart: one inside of another they would be as large as all of them, several times, and overflow stacks.
pub fn spanned<'a, T: 'a>(
    name: &'static str,
    product: Option<String>,
    work: impl Future<Output = T> + Send + 'a,
) -> BoxFuture<'a, T> {
    let work = work.boxed();
    let measured = async move {
        match Opened::new(name, product) {
            Some(opened) => HERE.scope(opened.here.clone(), work).await,
            None => work.await,
        }
    };
    measured.boxed()
}

/// The same for work that does not wait.
pub fn timed<T>(name: &'static str, product: Option<String>, work: impl FnOnce() -> T) -> T {
    match Opened::new(name, product) {
        Some(opened) => HERE.sync_scope(opened.here.clone(), work),
        None => work(),
    }
}

/// Work that is done in many small turns: one span from the first of them to the last, which says how long they took.
#[derive(Debug)]
pub struct Stretch {
    here: Option<Here>,
    name: &'static str,
    turns: Option<(u64, u64, Duration)>,
}

impl Stretch {
    /// One of the work that is done here.
    pub fn of(name: &'static str) -> Self {
        Self { here: HERE.try_with(Here::clone).ok(), name, turns: None }
    }

    /// One turn.
    pub fn turn<T>(&mut self, work: impl FnOnce() -> T) -> T {
        let Some(here) = &self.here else { return work() };
        let (from, begun) = (here.trace.now(), Instant::now());
        let done = work();
        let (first, _, busy) = self.turns.unwrap_or((from, from, Duration::ZERO));
        self.turns = Some((first, here.trace.now(), busy.saturating_add(begun.elapsed())));
        done
    }

    /// Whether anybody wants to know.
    pub fn is_wanted(&self) -> bool {
        self.here.is_some()
    }

    /// Tells of work that was measured elsewhere, from one time to another in nanoseconds since 1970.
    pub fn told(&self, from: i64, to: Option<i64>, product: Option<String>) {
        let Some(Here { trace, span: parent }) = &self.here else { return };
        let now = trace.now();
        let within = |at: i64| u64::try_from(at).unwrap_or_default().clamp(trace.at, now);
        let (from, to) = (within(from), to.map_or(now, within));
        let id = trace.next.fetch_add(1, Ordering::Relaxed);
        let (to, product) = (to.max(from), product.map(bounded));
        trace.keep(Span { id, parent: *parent, name: self.name, from, to, product, busy: None });
    }
}

impl Drop for Stretch {
    fn drop(&mut self) {
        let (Some(Here { trace, span: parent }), Some((from, to, busy))) = (&self.here, self.turns) else { return };
        let id = trace.next.fetch_add(1, Ordering::Relaxed);
        trace.keep(Span { id, parent: *parent, name: self.name, from, to, product: None, busy: Some(busy) });
    }
}

fn bounded(mut name: String) -> String {
    name.truncate(name.floor_char_boundary(LETTERS));
    name
}

fn nanos(time: Duration) -> u64 {
    u64::try_from(time.as_nanos()).unwrap_or(u64::MAX)
}
