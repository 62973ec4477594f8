//! What a running statement has taken: time of processors, and bytes of data files.
//!
//! A query is many tasks, on all threads of the engine. Each that DataFusion starts for it asks whose it is, and counts the
//! processor time of its own turns; only statements with a limit are counted. The bytes that its scans have read stand in
//! the figures of its plan.

use std::any::Any;
use std::cell::Cell;
use std::future::{Future, pending};
use std::pin::Pin;
use std::sync::Arc;
use std::sync::Once;
use std::sync::atomic::{AtomicU64, Ordering};
use std::task::{Context, Poll};
use std::time::Duration;

use cpu_time::ThreadTime;
use datafusion::common::runtime::{JoinSetTracer, set_join_set_tracer};
use datafusion::physical_plan::ExecutionPlan;
use futures::future::BoxFuture;
use tokio::sync::Notify;

use super::super::threads;
use crate::guard::inside;

tokio::task_local! {
    /// Whose time a task takes.
    static METER: Arc<Meter>;
}

thread_local! {
    /// From when on the time of this turn is not counted yet.
    static TURN: Cell<Option<ThreadTime>> = const { Cell::new(None) };
}

/// What counts the processor time of one statement.
#[derive(Debug)]
pub(in crate::session) struct Meter {
    most: Option<u64>,
    taken: AtomicU64,
    exhausted: Notify,
}

impl Meter {
    pub(super) fn new(most: Option<Duration>) -> Arc<Self> {
        let most = most.map(|most| u64::try_from(most.as_nanos()).unwrap_or(u64::MAX));
        Arc::new(Self { most, taken: AtomicU64::new(0), exhausted: Notify::new() })
    }

    /// Runs a statement, and ends when it took more than it may. `None` is that it did.
    pub(in crate::session) async fn count<T>(self: Arc<Self>, work: impl Future<Output = T>) -> Option<T> {
        let exhausted = Arc::clone(&self);
        tokio::select! {
            done = METER.scope(Arc::clone(&self), Counted { meter: self, work: Box::pin(work) }) => Some(done),
            () = exhausted.exhausted.notified() => None,
        }
    }

    fn add(&self, taken: Duration) {
        let taken = u64::try_from(taken.as_nanos()).unwrap_or(u64::MAX);
        let before = self.taken.fetch_add(taken, Ordering::Relaxed);
        if self.most.is_some_and(|most| before.saturating_add(taken) > most) {
            self.exhausted.notify_one();
        }
    }

    fn counting<T>(&self, work: impl FnOnce() -> T) -> T {
        let before = TURN.replace(Some(ThreadTime::now()));
        let done = work();
        if let Some(begun) = TURN.replace(before) {
            self.add(begun.elapsed());
        }
        done
    }
}

/// Counts what a turn has taken so far, which is not over soon.
pub(in crate::session) fn count_so_far() {
    let _ = METER.try_with(|meter| {
        if let Some(begun) = TURN.replace(Some(ThreadTime::now())) {
            meter.add(begun.elapsed());
        }
    });
}

/// Work whose turns are counted.
struct Counted<F> {
    meter: Arc<Meter>,
    work: Pin<Box<F>>,
}

impl<F: Future> Future for Counted<F> {
    type Output = F::Output;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<F::Output> {
        let this = &mut *self;
        this.meter.counting(|| this.work.as_mut().poll(context))
    }
}

/// Makes the tasks of queries count for the statement that starts them.
pub(in crate::session) fn count_processors() {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| {
        if set_join_set_tracer(&Inherited).is_err() {
            tracing::error!("processor time is not limited: something else follows the tasks of queries");
        }
    });
}

struct Inherited;

type Anything = Box<dyn Any + Send>;

impl JoinSetTracer for Inherited {
    fn trace_future(&self, work: BoxFuture<'static, Anything>) -> BoxFuture<'static, Anything> {
        let work = threads::task(work);
        match METER.try_with(Arc::clone) {
            Ok(meter) => Box::pin(METER.scope(Arc::clone(&meter), Counted { meter, work: Box::pin(work) })),
            Err(_) => work,
        }
    }

    fn trace_block(&self, work: Box<dyn FnOnce() -> Anything + Send>) -> Box<dyn FnOnce() -> Anything + Send> {
        let work = threads::block(work);
        match METER.try_with(Arc::clone) {
            Ok(meter) => Box::new(move || meter.counting(work)),
            Err(_) => work,
        }
    }
}

/// How often it is looked at what scans have read.
const LOOK: Duration = Duration::from_millis(50);

/// Ends when the scans of a plan have read more than `most` bytes of data files.
pub(in crate::session) async fn scanned(plan: Arc<dyn ExecutionPlan>, most: Option<u64>) {
    let Some(most) = most else { return pending().await };
    while u64::try_from(bytes(&plan)).unwrap_or(u64::MAX) <= most {
        tokio::time::sleep(LOOK).await;
    }
}

/// What a plan has read, inside of its guards too: who waits for the limit learns when so many bytes were read, which
/// is what the time that passes tells as well.
fn bytes(plan: &Arc<dyn ExecutionPlan>) -> usize {
    let own = plan.metrics().and_then(|metrics| metrics.sum_by_name("bytes_scanned")).map_or(0, |sum| sum.as_usize());
    let beneath = inside(plan.as_ref()).map(|(_, inner)| inner);
    plan.children().into_iter().chain(beneath).map(bytes).fold(own, usize::saturating_add)
}
