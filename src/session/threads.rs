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
//! others do not wait for.

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

use crate::error::{Class, Error};
use crate::observe::{alongside, alongside_blocking};

/// The stack of a planning and executing thread. Plans are walked by recursion, and a long chain of operators is deep.
const STACK: usize = 64 << 20;

tokio::task_local! {
    /// Whether the work that a task belongs to has been ended.
    static ENDED: Arc<AtomicBool>;
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
struct Turns<F: ?Sized>(Pin<Box<F>>);

impl<F: Future + ?Sized> Future for Turns<F> {
    type Output = F::Output;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<F::Output> {
        let before = TURN.replace(Some(Instant::now()));
        let polled = self.0.as_mut().poll(context);
        TURN.set(before);
        polled
    }
}

/// Whether the work that this is done for has been ended.
pub(super) fn unwanted() -> bool {
    ENDED.try_with(|ended| ended.load(Ordering::Relaxed)).unwrap_or(false)
}

/// A task that is started by this one, as a part of the same work.
pub(super) fn task(work: BoxFuture<'static, Box<dyn Any + Send>>) -> BoxFuture<'static, Box<dyn Any + Send>> {
    let work = alongside(work);
    match ENDED.try_with(Arc::clone) {
        Ok(ended) => Box::pin(ENDED.scope(ended, Turns(work))),
        Err(_) => work,
    }
}

/// The same for what is done on a thread of its own.
pub(super) fn block<T: 'static>(work: Box<dyn FnOnce() -> T + Send>) -> Box<dyn FnOnce() -> T + Send> {
    let work = alongside_blocking(work);
    match ENDED.try_with(Arc::clone) {
        Ok(ended) => Box::new(move || ENDED.sync_scope(ended, work)),
        Err(_) => work,
    }
}

/// Threads of the engine's own. They end with the engine, also when that happens on one of a runtime's threads,
/// where a plain `Runtime` must not be dropped.
#[derive(Debug)]
pub(super) struct Threads(Option<tokio::runtime::Runtime>);

impl Threads {
    pub(super) fn start(name: &str, threads: usize) -> Result<Self, Error> {
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(threads)
            .thread_name(name)
            .thread_stack_size(STACK)
            .enable_all()
            .build()
            .map_err(|error| Error::new(Class::Limit, format!("the engine's threads cannot be started: {error}")))?;
        Ok(Self(Some(runtime)))
    }

    /// Starts `work`; dropping the handle ends it.
    pub(super) fn spawn<T: Send + 'static>(
        &self,
        work: impl Future<Output = T> + Send + 'static,
    ) -> Result<Work<T>, Error> {
        let runtime = self.0.as_ref().ok_or_else(|| Error::new(Class::Cancelled, "the engine has stopped"))?;
        let ended = Arc::<AtomicBool>::default();
        let handle = AbortOnDropHandle::new(runtime.spawn(ENDED.scope(Arc::clone(&ended), Turns(Box::pin(work)))));
        Ok(Work { ender: Ender { task: handle.abort_handle(), ended }, handle })
    }

    /// How many tasks there are on them.
    pub(super) fn tasks(&self) -> usize {
        self.0.as_ref().map_or(0, |runtime| runtime.metrics().num_alive_tasks())
    }
}

impl Drop for Threads {
    fn drop(&mut self) {
        if let Some(runtime) = self.0.take() {
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
        let threads = Threads::start("test", 1).unwrap();
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
