//! The engine's own threads, and work on them that learns when nobody wants it any more.
//!
//! ```text
//! Threads::start --> Work     dropped or ended: aborted where it yields, and told so where it does not
//!                     `-- the tasks that DataFusion starts for it    told the same
//! ```
//!
//! A task is aborted where it yields. A call that makes 32 MiB of a batch does not, nor do a dozen such calls in one
//! projection, nor a join whose condition never holds: between these, [`unwanted`] is asked.
//!
//! Nor do they let others have their turn. What comes late in a turn that takes long is done [`aside`], by a thread that the
//! others do not wait for. The tasks of one piece of work share as many turns at once as there are processors: see
//! [`turns`](super::turns).

use std::any::Any;
use std::cell::Cell;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use futures::future::BoxFuture;
use tokio::task::{AbortHandle, JoinError};
use tokio_util::task::AbortOnDropHandle;

use super::turns::{Share, Sharing};
use crate::error::{Class, Error};
use crate::observe::{alongside, alongside_blocking};

/// The stack of a planning and executing thread. Plans are walked by recursion, and a long chain of operators is deep.
const STACK: usize = 64 << 20;

tokio::task_local! {
    /// What the tasks of a piece of work have in common.
    static WHOLE: Whole;
}

#[derive(Debug, Clone)]
struct Whole {
    /// Whether it has been ended.
    ended: Arc<AtomicBool>,
    share: Arc<Share>,
}

impl Whole {
    /// A task of it.
    fn task<F: Future + ?Sized>(self, work: Pin<Box<F>>) -> impl Future<Output = F::Output> {
        let share = Arc::clone(&self.share);
        WHOLE.scope(self, Turns(Sharing::new(share, work)))
    }
}

thread_local! {
    /// When the turn began that a task has on this thread.
    static TURN: Cell<Option<Instant>> = const { Cell::new(None) };
}

/// For how long a task has its thread to itself. A batch takes some milliseconds.
const TURN_OF: Duration = Duration::from_millis(50);

/// Does a part of a turn. In one that takes long the thread lets go of the tasks that wait for it, and another takes them.
pub(super) fn aside<T>(work: impl FnOnce() -> T) -> T {
    match TURN.get() {
        Some(begun) if begun.elapsed() > TURN_OF => tokio::task::block_in_place(work),
        _ => work(),
    }
}

/// Work whose turns are known to be turns.
struct Turns<F>(F);

impl<F: Future + Unpin> Future for Turns<F> {
    type Output = F::Output;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<F::Output> {
        let before = TURN.replace(Some(Instant::now()));
        let polled = Pin::new(&mut self.0).poll(context);
        TURN.set(before);
        polled
    }
}

/// Whether the work that this is done for has been ended.
pub(super) fn unwanted() -> bool {
    WHOLE.try_with(|whole| whole.ended.load(Ordering::Relaxed)).unwrap_or(false)
}

/// A task that is started by this one, as a part of the same work.
pub(super) fn task(work: BoxFuture<'static, Box<dyn Any + Send>>) -> BoxFuture<'static, Box<dyn Any + Send>> {
    let work = alongside(work);
    match WHOLE.try_with(Clone::clone) {
        Ok(whole) => Box::pin(whole.task(work)),
        Err(_) => work,
    }
}

/// The same for what is done on a thread of its own.
pub(super) fn block<T: 'static>(work: Box<dyn FnOnce() -> T + Send>) -> Box<dyn FnOnce() -> T + Send> {
    let work = alongside_blocking(work);
    match WHOLE.try_with(Clone::clone) {
        Ok(whole) => Box::new(move || WHOLE.sync_scope(whole, work)),
        Err(_) => work,
    }
}

/// Threads of the engine's own. They end with the engine, also when that happens on one of a runtime's threads,
/// where a plain `Runtime` must not be dropped.
#[derive(Debug)]
pub(super) struct Threads {
    runtime: Option<tokio::runtime::Runtime>,
    at_once: usize,
}

impl Threads {
    /// So many of them, of which one piece of work has some `at_once`.
    pub(super) fn start(name: &str, threads: usize, at_once: usize) -> Result<Self, Error> {
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(threads)
            .thread_name(name)
            .thread_stack_size(STACK)
            .enable_all()
            .build()
            .map_err(|error| Error::new(Class::Limit, format!("the engine's threads cannot be started: {error}")))?;
        Ok(Self { runtime: Some(runtime), at_once })
    }

    /// Starts `work`; dropping the handle ends it.
    pub(super) fn spawn<T: Send + 'static>(
        &self,
        work: impl Future<Output = T> + Send + 'static,
    ) -> Result<Work<T>, Error> {
        let runtime = self.runtime.as_ref().ok_or_else(|| Error::new(Class::Cancelled, "the engine has stopped"))?;
        let ended = Arc::<AtomicBool>::default();
        let whole = Whole { ended: Arc::clone(&ended), share: Share::of(self.at_once) };
        let handle = AbortOnDropHandle::new(runtime.spawn(whole.task(Box::pin(work))));
        Ok(Work { ender: Ender { task: handle.abort_handle(), ended }, handle })
    }

    /// How many tasks there are on them.
    pub(super) fn tasks(&self) -> usize {
        self.runtime.as_ref().map_or(0, |runtime| runtime.metrics().num_alive_tasks())
    }
}

impl Drop for Threads {
    fn drop(&mut self) {
        if let Some(runtime) = self.runtime.take() {
            runtime.shutdown_background();
        }
    }
}

/// Work that was started.
#[derive(Debug)]
pub(super) struct Work<T> {
    handle: AbortOnDropHandle<T>,
    ender: Ender,
}

impl<T> Work<T> {
    /// What ends it from elsewhere.
    pub(super) fn ender(&self) -> Ender {
        self.ender.clone()
    }
}

impl<T> Future for Work<T> {
    type Output = Result<T, JoinError>;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        Pin::new(&mut self.handle).poll(context)
    }
}

impl<T> Drop for Work<T> {
    fn drop(&mut self) {
        self.ender.end();
    }
}

/// What ends work.
#[derive(Debug, Clone)]
pub(super) struct Ender {
    task: AbortHandle,
    ended: Arc<AtomicBool>,
}

impl Ender {
    pub(super) fn end(&self) {
        self.ended.store(true, Ordering::Relaxed);
        self.task.abort();
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "tests")]
mod tests {
    use std::sync::mpsc;
    use std::time::Duration;

    use super::*;

    #[test]
    fn work_that_does_not_yield_is_told_that_it_has_ended() {
        let threads = Threads::start("test", 1, 1).unwrap();
        let (begun, begins) = mpsc::channel();
        let (told, tells) = mpsc::channel();
        let work = threads.spawn(async move {
            begun.send(unwanted()).unwrap();
            while !unwanted() {
                std::thread::sleep(Duration::from_millis(1));
            }
            told.send(()).unwrap();
        });
        assert!(!begins.recv().unwrap());
        drop(work);
        tells.recv_timeout(Duration::from_secs(60)).unwrap();
        assert!(!unwanted(), "nobody else is told");
    }
}
