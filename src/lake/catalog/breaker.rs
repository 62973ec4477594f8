//! One sick catalog or store makes no other one ill: who asks it waits for a place, and not at all while it is known to be
//! down.
//!
//! ```text
//! closed --several failures in a row--> open: refused at once --a while later--> one may try --> closed, or open again
//! ```
//!
//! A failure is one that cannot be reached, does not answer in time or fails itself. An answer that is no good is an
//! answer. Whether it is well is remembered from what it did last, and nobody is asked for that. What a store does when data
//! is read is remembered beside it, and keeps nobody from asking.

use std::fmt;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant, SystemTime};

use tokio::sync::Semaphore;

use crate::lake::error::{LakeError, ailment_of};

/// Questions to one catalog at once.
pub(in crate::lake) const AT_ONCE: usize = 16;
/// Failures in a row after which it is let alone.
const FAILURES: u32 = 3;
/// For how long.
const REST: Duration = Duration::from_secs(5);
/// Who goes away after waiting for this part of its patience was not answered in time either.
const LONG: u32 = 2;

/// What of a lake is asked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Part {
    /// What lists its tables.
    Catalog,
    /// Where their files are.
    Store,
}

impl fmt::Display for Part {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Catalog => "catalog",
            Self::Store => "store",
        })
    }
}

/// That a part of a lake was not well when it was asked last.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Ailing {
    /// Which one.
    pub part: Part,
    /// What it does: `does not answer`.
    pub what: &'static str,
    /// When it began.
    pub since: SystemTime,
}

impl Ailing {
    /// It in words, for those who may know of `domain`.
    pub fn told(&self, domain: &str) -> String {
        format!("the {} of domain `{domain}` {}", self.part, self.what)
    }
}

/// What stands before a catalog or a store.
#[derive(Debug)]
pub(in crate::lake) struct Breaker {
    domain: String,
    part: Part,
    patience: Duration,
    places: Semaphore,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    failures: u32,
    /// Until when nobody asks, after it failed too often.
    until: Option<Instant>,
    ailing: Option<Ailing>,
}

/// One who asks, from the time when it was let in.
#[derive(Debug)]
struct Asking<'b> {
    breaker: &'b Breaker,
    /// Whether it is alone, to see whether all is well again.
    on_trial: bool,
    /// Since when it waits for an answer.
    began: Option<Instant>,
}

impl Asking<'_> {
    fn end(mut self, error: Option<&LakeError>) {
        self.began = None;
        self.on_trial = false;
        self.breaker.note(error);
    }
}

/// It went away without an answer.
impl Drop for Asking<'_> {
    fn drop(&mut self) {
        if self.began.is_some_and(|began| began.elapsed() >= self.breaker.patience / LONG) {
            self.breaker.note(Some(&self.breaker.late()));
        } else if self.on_trial {
            // Somebody else may try.
            self.breaker.state().until = Some(Instant::now());
        }
    }
}

impl Breaker {
    /// Before a part of the lake of `domain`, which is waited for as long as `patience` says.
    pub(in crate::lake) fn new(domain: &str, part: Part, patience: Duration) -> Self {
        let (domain, places) = (domain.to_owned(), Semaphore::new(AT_ONCE));
        Self { domain, part, patience, places, state: Mutex::default() }
    }

    /// Asks, if it is not known to be down.
    pub(in crate::lake) async fn ask<T>(
        &self,
        work: impl Future<Output = Result<T, LakeError>>,
    ) -> Result<T, LakeError> {
        let mut asking = self.admit()?;
        // Who waits for others has not met it yet, and says nothing of it.
        let _place = match self.places.try_acquire() {
            Ok(place) => place,
            Err(_) => {
                let place = self.places.acquire().await.map_err(|_| self.down())?;
                // Those before may have learnt that it is down.
                if !asking.on_trial && self.is_resting() {
                    return Err(self.down());
                }
                place
            }
        };
        asking.began = Some(Instant::now());
        let answer = tokio::time::timeout(self.patience, work).await.unwrap_or_else(|_| Err(self.late()));
        asking.end(answer.as_ref().err());
        answer
    }

    /// Reads a file from a store in the same way.
    pub(in crate::lake) async fn read<T>(
        &self,
        work: impl Future<Output = object_store::Result<T>>,
    ) -> Result<T, LakeError> {
        let unread = |source| LakeError::Unread { domain: self.domain.clone(), source: Box::new(source) };
        self.ask(async { work.await.map_err(unread) }).await
    }

    /// Notes what a request for data came to.
    pub(in crate::lake) fn saw(&self, failed: Option<&object_store::Error>) {
        self.tell(&mut self.state(), failed.and_then(ailment_of));
    }

    fn tell(&self, state: &mut State, ailment: Option<&'static str>) {
        let since = state.ailing.map_or_else(SystemTime::now, |ailing| ailing.since);
        state.ailing = ailment.map(|what| Ailing { part: self.part, what, since });
    }

    /// How it was when it was asked last, if it was not well.
    pub(in crate::lake) fn ailing(&self) -> Option<Ailing> {
        self.state().ailing
    }

    fn down(&self) -> LakeError {
        LakeError::Down { domain: self.domain.clone(), part: self.part }
    }

    fn late(&self) -> LakeError {
        LakeError::Timeout { domain: self.domain.clone(), part: self.part, within: self.patience }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn is_resting(&self) -> bool {
        self.state().until.is_some_and(|until| Instant::now() < until)
    }

    fn admit(&self) -> Result<Asking<'_>, LakeError> {
        let mut state = self.state();
        let on_trial = match state.until {
            Some(until) if Instant::now() < until => return Err(self.down()),
            // This one tries; others wait for what it finds, or for the next time.
            Some(_) => {
                state.until = Instant::now().checked_add(REST.max(self.patience));
                true
            }
            None => false,
        };
        Ok(Asking { breaker: self, on_trial, began: None })
    }

    fn note(&self, error: Option<&LakeError>) {
        let mut state = self.state();
        self.tell(&mut state, error.and_then(LakeError::ailment));
        if !error.is_some_and(LakeError::is_failure) {
            state.failures = 0;
            if state.until.take().is_some() {
                tracing::info!(domain = %self.domain, part = %self.part, "a lake answers again");
            }
            return;
        }
        state.failures = state.failures.saturating_add(1);
        if state.failures >= FAILURES {
            if state.until.is_none() {
                tracing::warn!(domain = %self.domain, part = %self.part, "it is let alone for a while: it failed too often");
            }
            state.until = Instant::now().checked_add(REST);
        }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "tests")]
mod tests {
    use std::sync::Arc;

    use super::*;

    fn breaker(patience: Duration) -> Breaker {
        Breaker::new("shop", Part::Catalog, patience)
    }

    fn failed() -> LakeError {
        LakeError::Timeout { domain: "shop".to_owned(), part: Part::Catalog, within: Duration::from_secs(10) }
    }

    #[tokio::test]
    async fn a_catalog_that_fails_too_often_is_let_alone_and_then_tried_once() {
        let breaker = breaker(Duration::from_secs(10));
        for _ in 0..FAILURES {
            assert!(matches!(breaker.ask(async { Err::<(), _>(failed()) }).await, Err(LakeError::Timeout { .. })));
        }
        let asked = breaker.ask(async { Ok(()) }).await;
        assert!(matches!(asked, Err(LakeError::Down { .. })), "nobody asks while it rests");
        breaker.state.lock().unwrap().until = Some(Instant::now());
        assert!(breaker.ask(async { Err::<(), _>(failed()) }).await.is_err());
        assert!(matches!(breaker.ask(async { Ok(()) }).await, Err(LakeError::Down { .. })), "it failed again");
        breaker.state.lock().unwrap().until = Some(Instant::now());
        breaker.ask(async { Ok(()) }).await.unwrap();
        breaker.ask(async { Ok(()) }).await.unwrap();
    }

    #[tokio::test]
    async fn an_answer_that_is_no_good_is_no_failure_of_the_catalog() {
        let breaker = breaker(Duration::from_secs(10));
        for _ in 0..10 {
            let refused = breaker.ask(async { Err::<(), _>(LakeError::Refused { domain: "shop".to_owned() }) }).await;
            assert!(matches!(refused, Err(LakeError::Refused { .. })));
        }
        assert_eq!(breaker.ailing().unwrap().what, "does not take the credentials that it is asked with");
    }

    #[tokio::test]
    async fn it_is_ailing_since_its_first_failure_and_until_it_answers() {
        let breaker = breaker(Duration::from_secs(10));
        assert_eq!(breaker.ailing(), None);
        let mut since = Vec::new();
        for _ in 0..2 {
            breaker.ask(async { Err::<(), _>(failed()) }).await.unwrap_err();
            let ailing = breaker.ailing().unwrap();
            assert_eq!((ailing.part, ailing.what), (Part::Catalog, "does not answer in time"));
            since.push(ailing.since);
        }
        assert_eq!(since.first(), since.last());
        breaker.ask(async { Ok(()) }).await.unwrap();
        assert_eq!(breaker.ailing(), None);
    }

    #[tokio::test]
    async fn who_waited_for_a_place_does_not_ask_what_is_known_to_be_down() {
        let breaker = Arc::new(breaker(Duration::from_millis(400)));
        let hang = |breaker: Arc<Breaker>| async move { breaker.ask(std::future::pending::<Result<(), _>>()).await };
        let asking: Vec<_> = (0..AT_ONCE).map(|_| tokio::spawn(hang(Arc::clone(&breaker)))).collect();
        tokio::time::sleep(Duration::from_millis(200)).await;
        let waiting: Vec<_> = (0..AT_ONCE).map(|_| tokio::spawn(hang(Arc::clone(&breaker)))).collect();
        for asked in asking {
            assert!(matches!(asked.await.unwrap(), Err(LakeError::Timeout { .. })));
        }
        let mut down = 0;
        for waited in waiting {
            down += usize::from(matches!(waited.await.unwrap(), Err(LakeError::Down { .. })));
        }
        // Places may come free before the third failure is known.
        assert!(down > AT_ONCE - usize::try_from(FAILURES).unwrap(), "{down}");
    }

    #[tokio::test]
    async fn who_goes_away_after_a_while_was_not_answered_and_who_leaves_a_trial_lets_another_one_try() {
        let breaker = breaker(Duration::from_secs(60));
        let leave = async |after| {
            let hanging = breaker.ask(std::future::pending::<Result<(), _>>());
            assert!(tokio::time::timeout(Duration::from_millis(after), hanging).await.is_err());
        };
        leave(1).await;
        assert_eq!(breaker.ailing(), None, "it had no time to answer");
        for _ in 0..FAILURES {
            breaker.ask(async { Err::<(), _>(failed()) }).await.unwrap_err();
        }
        breaker.state.lock().unwrap().until = Some(Instant::now());
        leave(1).await;
        breaker.ask(async { Ok(()) }).await.unwrap();
    }
}
