//! A queue between the threads that make the rows of a query and the reader that takes them away, bounded by bytes.
//!
//! ```text
//! driver, on the engine's threads --put--> [ parcels, a few MiB ] --take--> reader, on the network's threads
//! ```
//!
//! What is made waits for the reader, so that a slow one holds back its own query and no other. A reader that takes
//! nothing for long, although something waits, is given up: what waits is dropped, and whoever made it is told to end.
//! That must not depend on the reader: one that reads nothing is never asked for more.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use tokio::sync::Notify;
use tokio::time::{Instant, sleep_until};

use crate::error::Error;

/// How the parcels ended.
#[derive(Debug, Clone)]
pub(super) enum End {
    /// All of them were made.
    Whole,
    /// An error ended them.
    Failed(Error),
    /// The reader did not take them in time.
    Stalled,
    /// Whoever made them ended before it said how.
    Broken,
}

/// Why nothing more is to be made.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Unwanted {
    /// The reader has gone.
    Gone,
    /// The reader does not read.
    Stalled,
}

/// The end where parcels go in.
pub(super) struct Feeder<T>(Arc<Shared<T>>);

/// The end where they come out.
pub(super) struct Queue<T>(Arc<Shared<T>>);

/// What is dropped when nothing of a query is left.
type Held = Option<Box<dyn Send>>;

struct Shared<T> {
    state: Mutex<State<T>>,
    /// Told when the reader took something, or went.
    taken: Notify,
    most: usize,
    patience: Option<Duration>,
}

struct State<T> {
    parcels: VecDeque<(T, usize)>,
    bytes: usize,
    end: Option<End>,
    reader: Option<Waker>,
    gone: bool,
    /// Dropped when nothing of the query is left.
    held: Held,
    /// When the reader last took something, or when something began to wait for it.
    progress: Instant,
}

/// A queue of at most so many bytes, or of one parcel that is larger, for a reader that is waited for so long, or for ever.
/// `held` is dropped when nothing is left to read, or nobody to read it.
pub(super) fn queue<T>(most: usize, patience: Option<Duration>, held: impl Send + 'static) -> (Feeder<T>, Queue<T>) {
    let state = State {
        parcels: VecDeque::new(),
        bytes: 0,
        end: None,
        reader: None,
        gone: false,
        held: Some(Box::new(held)),
        progress: Instant::now(),
    };
    let shared = Arc::new(Shared { state: Mutex::new(state), taken: Notify::new(), most, patience });
    (Feeder(Arc::clone(&shared)), Queue(shared))
}

impl<T> Shared<T> {
    fn state(&self) -> MutexGuard<'_, State<T>> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// When the reader has been waited for long enough, if ever.
    fn enough(&self, state: &State<T>) -> Option<Instant> {
        self.patience.and_then(|patience| state.progress.checked_add(patience))
    }
}

impl<T> State<T> {
    fn end(&mut self, end: End) {
        self.end = Some(end);
        self.wake();
    }

    fn wake(&mut self) {
        if let Some(reader) = self.reader.take() {
            reader.wake();
        }
    }

    /// Takes out what waits and what is held; whoever calls drops it, and not under the lock.
    #[must_use]
    fn empty(&mut self) -> (VecDeque<(T, usize)>, Held) {
        self.bytes = 0;
        (std::mem::take(&mut self.parcels), self.held.take())
    }
}

impl<T> Feeder<T> {
    /// Puts a parcel in when there is room for it.
    pub(super) async fn put(&self, parcel: T, size: usize) -> Result<(), Unwanted> {
        let most = self.0.most;
        self.wait(|state| state.bytes == 0 || state.bytes.saturating_add(size) <= most).await?;
        let mut state = self.0.state();
        if state.parcels.is_empty() {
            state.progress = Instant::now();
        }
        state.parcels.push_back((parcel, size));
        state.bytes = state.bytes.saturating_add(size);
        state.wake();
        Ok(())
    }

    /// Says that this was all, and stays until the reader has it.
    pub(super) async fn finish(&self, end: Result<(), Error>) -> Result<(), Unwanted> {
        self.0.state().end(end.map_or_else(End::Failed, |()| End::Whole));
        self.wait(|state| state.parcels.is_empty()).await
    }

    async fn wait(&self, ready: impl Fn(&State<T>) -> bool) -> Result<(), Unwanted> {
        loop {
            let enough = {
                let state = self.0.state();
                if state.gone {
                    return Err(Unwanted::Gone);
                }
                if ready(&state) {
                    return Ok(());
                }
                self.0.enough(&state)
            };
            let late = async {
                match enough {
                    Some(enough) => sleep_until(enough).await,
                    None => std::future::pending().await,
                }
            };
            tokio::select! {
                () = self.0.taken.notified() => {}
                () = late => {
                    let mut state = self.0.state();
                    let stalled = self.0.enough(&state).is_some_and(|enough| enough <= Instant::now());
                    if stalled && !state.gone && !ready(&state) {
                        let _late = state.empty();
                        state.end(End::Stalled);
                        drop(state);
                        return Err(Unwanted::Stalled);
                    }
                }
            }
        }
    }
}

impl<T> Drop for Feeder<T> {
    fn drop(&mut self) {
        let mut state = self.0.state();
        // What still waits was made for a query that was stopped.
        let (stopped, _held) = state.empty();
        if state.end.is_none() || !stopped.is_empty() {
            state.end(End::Broken);
        }
        drop(state);
    }
}

impl<T> Queue<T> {
    /// The next parcel, or how they ended; the end is told as often as it is asked for.
    pub(super) fn poll_take(&self, context: &Context<'_>) -> Poll<Result<T, End>> {
        let mut state = self.0.state();
        if let Some((parcel, size)) = state.parcels.pop_front() {
            state.bytes = state.bytes.saturating_sub(size);
            state.progress = Instant::now();
            drop(state);
            self.0.taken.notify_one();
            return Poll::Ready(Ok(parcel));
        }
        if let Some(end) = &state.end {
            return Poll::Ready(Err(end.clone()));
        }
        state.reader = Some(context.waker().clone());
        Poll::Pending
    }
}

impl<T> Drop for Queue<T> {
    fn drop(&mut self) {
        let mut state = self.0.state();
        state.gone = true;
        let _unread = state.empty();
        drop(state);
        self.0.taken.notify_one();
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::panic, reason = "tests")]
mod tests {
    use std::future::poll_fn;

    use super::*;
    use crate::error::Class;

    const PATIENCE: Duration = Duration::from_millis(50);

    fn queue<T>(most: usize) -> (Feeder<T>, Queue<T>) {
        super::queue(most, Some(PATIENCE), ())
    }

    async fn take<T>(queue: &Queue<T>) -> Result<T, End> {
        poll_fn(|context| queue.poll_take(context)).await
    }

    /// Whether something is done without anybody's help.
    async fn done(work: &mut (impl Future<Output = Result<(), Unwanted>> + Unpin)) -> bool {
        tokio::select! {
            biased;
            _ = work => true,
            () = tokio::task::yield_now() => false,
        }
    }

    #[tokio::test]
    async fn no_more_bytes_wait_than_there_is_room_for() {
        let (feeder, queue) = queue(100);
        feeder.put('a', 60).await.unwrap();
        feeder.put('b', 40).await.unwrap();
        let mut third = Box::pin(feeder.put('c', 1));
        assert!(!done(&mut third).await);
        assert_eq!(take(&queue).await.unwrap(), 'a');
        third.await.unwrap();
        assert_eq!((take(&queue).await.unwrap(), take(&queue).await.unwrap()), ('b', 'c'));
        // One that is larger than the room has it for itself.
        feeder.put('d', 500).await.unwrap();
        assert!(!done(&mut Box::pin(feeder.put('e', 1))).await);
    }

    #[tokio::test]
    async fn the_end_comes_behind_all_that_was_made() {
        for (end, whole) in [(Ok(()), true), (Err(Error::new(Class::Storage, "gone")), false)] {
            let (feeder, queue) = queue(100);
            feeder.put(1, 1).await.unwrap();
            let finished = tokio::spawn(async move { feeder.finish(end).await });
            assert_eq!(take(&queue).await.unwrap(), 1);
            for _ in 0..2 {
                match take(&queue).await.unwrap_err() {
                    End::Whole => assert!(whole),
                    End::Failed(error) => assert_eq!((error.class, whole), (Class::Storage, false)),
                    other => panic!("{other:?}"),
                }
            }
            finished.await.unwrap().unwrap();
        }
    }

    #[tokio::test]
    async fn a_reader_that_takes_nothing_is_given_up_whether_more_is_to_come_or_not() {
        for more in [true, false] {
            let (feeder, queue) = queue(100);
            let waiting = Arc::new(());
            feeder.put(Arc::clone(&waiting), 100).await.unwrap();
            let begin = Instant::now();
            if more {
                assert_eq!(feeder.put(Arc::default(), 1).await, Err(Unwanted::Stalled));
            } else {
                assert_eq!(feeder.finish(Ok(())).await, Err(Unwanted::Stalled));
            }
            assert!(begin.elapsed() >= PATIENCE);
            assert_eq!(Arc::strong_count(&waiting), 1, "what waited is freed, though nobody reads");
            assert!(matches!(take(&queue).await, Err(End::Stalled)));
        }
    }

    #[tokio::test]
    async fn a_reader_that_takes_a_little_now_and_then_is_waited_for() {
        const PAUSE: Duration = Duration::from_millis(400);
        let (feeder, queue) = super::queue(2, Some(4 * PAUSE), ());
        let fed = tokio::spawn(async move {
            for parcel in 0..8 {
                feeder.put(parcel, 1).await?;
            }
            feeder.finish(Ok(())).await
        });
        for parcel in 0..8 {
            tokio::time::sleep(PAUSE).await;
            assert_eq!(take(&queue).await.unwrap(), parcel);
        }
        assert!(matches!(take(&queue).await, Err(End::Whole)));
        fed.await.unwrap().unwrap();
    }

    #[tokio::test]
    async fn a_query_that_computes_for_long_is_no_stall_of_its_reader() {
        let (feeder, queue) = queue(2);
        let reader = tokio::spawn(async move { (take(&queue).await.unwrap(), queue) });
        tokio::time::sleep(PATIENCE * 3).await;
        feeder.put(1, 2).await.unwrap();
        let (_, _queue) = reader.await.unwrap();
        // The reader's time begins with what waits for it.
        tokio::time::sleep(PATIENCE * 3).await;
        feeder.put(2, 2).await.unwrap();
        let mut third = Box::pin(feeder.put(3, 2));
        assert!(!done(&mut third).await);
    }

    #[tokio::test]
    async fn when_one_side_goes_the_other_knows() {
        let (feeder, reader) = queue(1);
        feeder.put(1, 1).await.unwrap();
        drop(reader);
        assert_eq!(feeder.put(2, 1).await, Err(Unwanted::Gone));

        let (feeder, reader) = queue(1);
        feeder.put(1, 1).await.unwrap();
        drop(feeder);
        assert!(matches!(take(&reader).await, Err(End::Broken)), "nothing of a query that was stopped is read");
    }
}
