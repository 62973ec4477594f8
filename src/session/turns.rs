//! Turns on the engine's threads: however many tasks a statement has, it computes on as many threads at once as there are
//! processors.
//!
//! ```text
//! tasks of a statement --Share--> so many of them are polled at once     the others wait here, where no thread sees them
//! ```
//!
//! A union of forty tables is eighty tasks, each a batch long: whoever came behind them waited for them all, 1.5 to 3 s in a debug
//! build where it is 0.4 now. A task holds its
//! turn while it is polled and never longer, so that no task waits for one that waits for it.

use std::collections::BTreeMap;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker};

/// What a statement has of the threads.
#[derive(Debug)]
pub(super) struct Share {
    at_once: usize,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    running: usize,
    /// How many have waited. The next one has this number.
    numbers: u64,
    /// Those who wait, the next one first.
    waiting: BTreeMap<u64, Waker>,
}

impl Share {
    pub(super) fn of(at_once: usize) -> Arc<Self> {
        Arc::new(Self { at_once: at_once.max(1), state: Mutex::default() })
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A turn, or a number that is called when it is time.
    fn begin(&self, number: &mut Option<u64>, waker: &Waker) -> Option<Turn<'_>> {
        let mut state = self.lock();
        if state.running < self.at_once {
            state.running = state.running.saturating_add(1);
            if let Some(number) = number.take() {
                state.waiting.remove(&number);
            }
            return Some(Turn(self));
        }
        let number = *number.get_or_insert(state.numbers);
        state.numbers = state.numbers.max(number.saturating_add(1));
        // One that had been called and came too late keeps its place.
        state.waiting.insert(number, waker.clone());
        None
    }

    fn call_next(&self, mut state: MutexGuard<'_, State>) {
        let next = state.waiting.pop_first();
        drop(state);
        if let Some((_, waker)) = next {
            waker.wake();
        }
    }
}

/// A turn, until it is dropped.
struct Turn<'a>(&'a Share);

impl Drop for Turn<'_> {
    fn drop(&mut self) {
        let mut state = self.0.lock();
        state.running = state.running.saturating_sub(1);
        self.0.call_next(state);
    }
}

/// A task that takes turns with the others of its statement.
pub(super) struct Sharing<F: ?Sized> {
    share: Arc<Share>,
    /// Its number, while it waits or has been called.
    number: Option<u64>,
    work: Pin<Box<F>>,
}

impl<F: Future + ?Sized> Sharing<F> {
    pub(super) fn new(share: Arc<Share>, work: Pin<Box<F>>) -> Self {
        Self { share, number: None, work }
    }
}

impl<F: Future + ?Sized> Future for Sharing<F> {
    type Output = F::Output;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<F::Output> {
        let Self { share, number, work } = &mut *self;
        match share.begin(number, context.waker()) {
            Some(_turn) => work.as_mut().poll(context),
            None => Poll::Pending,
        }
    }
}

impl<F: ?Sized> Drop for Sharing<F> {
    fn drop(&mut self) {
        if let Some(number) = self.number {
            let mut state = self.share.lock();
            if state.waiting.remove(&number).is_none() {
                // It had been called: the next one has its turn.
                self.share.call_next(state);
            }
        }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "tests")]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};
    use std::time::Duration;

    use futures::future::{join_all, poll_fn};
    use futures::task::noop_waker;

    use super::*;

    fn sharing<F: Future>(share: &Arc<Share>, work: F) -> Sharing<F> {
        Sharing::new(Arc::clone(share), Box::pin(work))
    }

    #[tokio::test(flavor = "multi_thread", worker_threads = 6)]
    async fn tasks_of_a_statement_compute_on_as_many_threads_as_it_has() {
        let (share, now, most) = (Share::of(2), Arc::new(AtomicUsize::new(0)), Arc::new(AtomicUsize::new(0)));
        let tasks = (0..20).map(|_| {
            let (now, most) = (Arc::clone(&now), Arc::clone(&most));
            tokio::spawn(sharing(&share, async move {
                for _ in 0..20 {
                    most.fetch_max(now.fetch_add(1, Ordering::SeqCst) + 1, Ordering::SeqCst);
                    std::thread::sleep(Duration::from_micros(200));
                    now.fetch_sub(1, Ordering::SeqCst);
                    tokio::task::yield_now().await;
                }
            }))
        });
        for ended in join_all(tasks).await {
            ended.unwrap();
        }
        assert_eq!(most.load(Ordering::SeqCst), 2);
        let state = share.lock();
        assert_eq!((state.running, state.waiting.len()), (0, 0));
    }

    #[tokio::test(flavor = "multi_thread", worker_threads = 6)]
    async fn tasks_that_are_aborted_or_panic_at_any_moment_leave_their_turns() {
        for round in 0..50 {
            let share = Share::of(2);
            let tasks: Vec<_> = (0..20)
                .map(|task| {
                    tokio::spawn(sharing(&share, async move {
                        for _ in 0..10 {
                            std::thread::sleep(Duration::from_micros(20));
                            tokio::task::yield_now().await;
                        }
                        assert!(task % 5 != 0, "a bug");
                    }))
                })
                .collect();
            for (at, task) in tasks.iter().enumerate() {
                if (at + round) % 3 == 0 {
                    task.abort();
                }
            }
            let all = tokio::time::timeout(Duration::from_secs(60), join_all(tasks)).await.unwrap();
            assert!(all.iter().any(Result::is_ok));
            assert_eq!(share.lock().running, 0);
        }
    }

    #[test]
    fn one_that_was_called_and_leaves_gives_its_turn_to_the_next() {
        let share = Share::of(1);
        let waker = noop_waker();
        let mut context = Context::from_waker(&waker);
        let never = || sharing(&share, poll_fn(|_| Poll::<()>::Pending));
        let (mut first, mut second) = (Box::pin(never()), Box::pin(never()));
        let turn = share.begin(&mut None, &waker).unwrap();
        assert!(first.as_mut().poll(&mut context).is_pending() && second.as_mut().poll(&mut context).is_pending());
        assert_eq!(share.lock().waiting.len(), 2);
        drop(turn);
        assert_eq!(share.lock().waiting.len(), 1, "the first is called");
        drop(first);
        assert_eq!(share.lock().waiting.len(), 0, "and so is the second, in its place");
        assert!(second.as_mut().poll(&mut context).is_pending());
        assert_eq!((share.lock().running, second.number), (0, None), "it had its turn");
    }
}
