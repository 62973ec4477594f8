//! The engine's own threads, and work on them that learns when nobody wants it any more.
//!
//! ```text
//! Threads::start --crews--> Work     dropped or ended: aborted where it yields, and told so where it does not
//!                            `-- the tasks that DataFusion starts for it    told the same
//! ```
//!
//! A piece of work has a crew of threads, as many as it may use at once, and shares it only where there are more such pieces
//! than crews. One pool for all of them wakes idle threads for tasks that the busy ones would come to: with four times as many
//! threads, TPC-H took 8 to 12 % longer than in crews, with five times as many switches between threads.
//!
//! A task is aborted where it yields. A call that makes 32 MiB of a batch does not, nor do a dozen such calls in one
//! projection, nor a join whose condition never holds: between these, [`unwanted`] is asked.
//!
//! Nor do they let others have their turn. What comes late in a turn that takes long is done [`aside`], by a thread that the
//! others do not wait for. The tasks of one piece of work share as many turns at once as there are processors: see
//! [`turns`](super::turns).

use std::any::Any;
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, LazyLock, Mutex, PoisonError, Weak};
use std::task::{Context, Poll};
use std::time::Instant;

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

/// When the turn began that a task has on a thread, in milliseconds; 0 if none has.
#[derive(Debug, Default)]
struct TurnOf(AtomicU64);

/// What milliseconds are counted from.
static BEGINNING: LazyLock<Instant> = LazyLock::new(Instant::now);

fn now() -> u64 {
    u64::try_from(BEGINNING.elapsed().as_millis()).unwrap_or(u64::MAX).saturating_add(1)
}

impl TurnOf {
    fn has_one(&self) -> bool {
        self.0.load(Ordering::Relaxed) != 0
    }

    fn is_long(&self) -> bool {
        let begun = self.0.load(Ordering::Relaxed);
        begun != 0 && now().saturating_sub(begun) > TURN_OF
    }
}

thread_local! {
    static TURN: Arc<TurnOf> = Arc::default();
}

/// For how long a task has its thread to itself, in milliseconds. A batch takes some.
const TURN_OF: u64 = 50;

/// Does a part of a turn. In one that takes long the thread lets go of the tasks that wait for it, and another takes them.
pub(super) fn aside<T>(work: impl FnOnce() -> T) -> T {
    if TURN.with(|turn| turn.is_long()) { tokio::task::block_in_place(work) } else { work() }
}

/// A turn until it ends, by a panic too; with the turn that it is a part of.
struct Begun(u64);

impl Drop for Begun {
    fn drop(&mut self) {
        TURN.with(|turn| turn.0.store(self.0, Ordering::Relaxed));
    }
}

/// Work whose turns are known to be turns.
struct Turns<F>(F);

impl<F: Future + Unpin> Future for Turns<F> {
    type Output = F::Output;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<F::Output> {
        let _turn = Begun(TURN.with(|turn| turn.0.swap(now(), Ordering::Relaxed)));
        Pin::new(&mut self.0).poll(context)
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
    crews: Vec<Crew>,
    placing: Mutex<()>,
    at_once: usize,
}

/// Threads that take each other's tasks.
#[derive(Debug)]
struct Crew {
    runtime: Option<tokio::runtime::Runtime>,
    /// How many pieces of work it has.
    works: Arc<AtomicUsize>,
    /// The turns of its threads.
    turns: Arc<Mutex<Vec<Weak<TurnOf>>>>,
}

/// A piece of work's place in its crew.
struct Member(Arc<AtomicUsize>);

impl Member {
    fn of(works: &Arc<AtomicUsize>) -> Self {
        works.fetch_add(1, Ordering::Relaxed);
        Self(Arc::clone(works))
    }
}

impl Drop for Member {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

impl Crew {
    fn start(name: &str, threads: usize) -> Result<Self, Error> {
        let turns: Arc<Mutex<Vec<Weak<TurnOf>>>> = Arc::default();
        let all = Arc::clone(&turns);
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(threads)
            .thread_name(name)
            .thread_stack_size(STACK)
            .on_thread_start(move || {
                let mut all = all.lock().unwrap_or_else(PoisonError::into_inner);
                // Those that are gone make room.
                all.retain(|turn| turn.strong_count() > 0);
                all.push(TURN.with(Arc::downgrade));
            })
            .enable_all()
            .build()
            .map_err(|error| Error::new(Class::Limit, format!("the engine's threads cannot be started: {error}")))?;
        Ok(Self { runtime: Some(runtime), works: Arc::default(), turns })
    }

    /// How little somebody wants to come to it who has the choice: whether tasks may have to wait for one that does not yield,
    /// how much work it has, and how many tasks have their turn.
    fn load(&self) -> (bool, usize, usize) {
        let works = self.works.load(Ordering::Relaxed);
        if works == 0 {
            return (false, 0, 0);
        }
        let turns = self.turns.lock().unwrap_or_else(PoisonError::into_inner);
        let turns = turns.iter().filter_map(Weak::upgrade).filter(|turn| turn.has_one());
        let (long, all) =
            turns.fold((false, 0usize), |(long, all), turn| (long || turn.is_long(), all.saturating_add(1)));
        (long, works, all)
    }
}

impl Threads {
    /// So many crews of so many threads, of which one piece of work has some `at_once`.
    pub(super) fn start(name: &str, crews: usize, threads: usize, at_once: usize) -> Result<Self, Error> {
        let crews = (0..crews.max(1)).map(|_| Crew::start(name, threads)).collect::<Result<_, _>>()?;
        Ok(Self { crews, placing: Mutex::default(), at_once })
    }

    /// Starts `work`, in the crew that has the least to do; dropping the handle ends it.
    pub(super) fn spawn<T: Send + 'static>(
        &self,
        work: impl Future<Output = T> + Send + 'static,
    ) -> Result<Work<T>, Error> {
        let stopped = || Error::new(Class::Cancelled, "the engine has stopped");
        let (runtime, member) = {
            // Two that come at once see each other.
            let _placing = self.placing.lock().unwrap_or_else(PoisonError::into_inner);
            let crew = self.crews.iter().min_by_key(|crew| crew.load()).ok_or_else(stopped)?;
            (crew.runtime.as_ref().ok_or_else(stopped)?, Member::of(&crew.works))
        };
        let work = async move {
            let _member = member;
            work.await
        };
        let ended = Arc::<AtomicBool>::default();
        let whole = Whole { ended: Arc::clone(&ended), share: Share::of(self.at_once) };
        let handle = AbortOnDropHandle::new(runtime.spawn(whole.task(Box::pin(work))));
        Ok(Work { ender: Ender { task: handle.abort_handle(), ended }, handle })
    }

    /// How many tasks there are on them.
    pub(super) fn tasks(&self) -> usize {
        self.crews.iter().filter_map(|crew| crew.runtime.as_ref()).map(|of| of.metrics().num_alive_tasks()).sum()
    }
}

impl Drop for Crew {
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
#[allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "tests")]
mod tests {
    use std::sync::mpsc;
    use std::time::Duration;

    use super::*;

    #[test]
    fn work_that_does_not_yield_is_told_that_it_has_ended() {
        let threads = Threads::start("test", 1, 1, 1).unwrap();
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

    #[test]
    fn who_comes_does_not_wait_for_a_task_that_does_not_yield() {
        let threads = Threads::start("test", 2, 1, 1).unwrap();
        let (begun, begins) = mpsc::channel();
        let (ended, ends) = mpsc::channel::<()>();
        let _hog = threads.spawn(async move {
            begun.send(()).unwrap();
            ends.recv().unwrap();
        });
        begins.recv().unwrap();
        std::thread::sleep(Duration::from_millis(4 * TURN_OF));
        // The other crew has more work, none of which has a turn.
        let _others: Vec<_> = (0..3).map(|_| threads.spawn(std::future::pending::<()>()).unwrap()).collect();
        let _late: Vec<_> = (0..3)
            .map(|_| {
                let (told, tells) = mpsc::channel();
                let late = threads.spawn(async move { told.send(()).unwrap() });
                tells.recv_timeout(Duration::from_secs(60)).unwrap();
                late
            })
            .collect();
        ended.send(()).unwrap();
    }

    #[test]
    fn works_have_crews_of_their_own_while_there_are_enough() {
        let threads = Threads::start("test", 3, 1, 1).unwrap();
        let works = || threads.crews.iter().map(|crew| crew.works.load(Ordering::Relaxed)).collect::<Vec<_>>();
        let spawn = || threads.spawn(std::future::pending::<()>()).unwrap();
        let mut all: Vec<_> = (0..3).map(|_| spawn()).collect();
        assert_eq!(works(), [1, 1, 1]);
        all.remove(1);
        while works() != [1, 0, 1] {
            std::thread::sleep(Duration::from_millis(1));
        }
        let _again = spawn();
        assert_eq!(works(), [1, 1, 1], "who ends makes room");
    }

    #[test]
    fn a_panic_ends_its_turn() {
        let threads = Threads::start("test", 1, 1, 1).unwrap();
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        let failed = threads.spawn(async { std::panic::resume_unwind(Box::new("a bug")) }).unwrap();
        assert!(runtime.block_on(failed).is_err());
        let _idle = threads.spawn(std::future::pending::<()>()).unwrap();
        while threads.crews[0].load() != (false, 1, 0) {
            std::thread::sleep(Duration::from_millis(1));
        }
    }
}
