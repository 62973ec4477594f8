//! One sick catalog makes no other one ill: who asks it waits for a place, and not at all while it is known to be down.
//!
//! ```text
//! closed --several failures in a row--> open: refused at once --a while later--> one may try --> closed, or open again
//! ```
//!
//! A failure is a catalog that cannot be reached, does not answer in time or fails itself. An answer that is no good is an
//! answer.

use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use tokio::sync::Semaphore;

use super::in_time;
use crate::lake::error::LakeError;

/// Questions to one catalog at once.
const AT_ONCE: usize = 16;
/// Failures in a row after which it is let alone.
const FAILURES: u32 = 3;
/// For how long.
const REST: Duration = Duration::from_secs(5);

/// What stands before a catalog.
#[derive(Debug)]
pub(in crate::lake) struct Breaker {
    domain: String,
    places: Semaphore,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    failures: u32,
    /// Until when nobody asks, after it failed too often.
    until: Option<Instant>,
}

impl Breaker {
    pub(in crate::lake) fn new(domain: &str) -> Self {
        Self { domain: domain.to_owned(), places: Semaphore::new(AT_ONCE), state: Mutex::default() }
    }

    /// Asks, if the catalog is not known to be down.
    pub(in crate::lake) async fn ask<T>(
        &self,
        work: impl Future<Output = Result<T, LakeError>>,
    ) -> Result<T, LakeError> {
        self.admit()?;
        let stopped = |_| LakeError::Down { domain: self.domain.clone() };
        // Who waits for others has not met the catalog yet, and says nothing of it.
        let _place = in_time(&self.domain, async { self.places.acquire().await.map_err(stopped) }).await?;
        let answer = in_time(&self.domain, work).await;
        self.note(match &answer {
            Err(LakeError::Catalog { .. } | LakeError::Timeout { .. }) => true,
            Err(LakeError::Answered { status, .. }) => *status >= 500,
            Ok(_) | Err(_) => false,
        });
        answer
    }

    fn admit(&self) -> Result<(), LakeError> {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        match state.until {
            Some(until) if Instant::now() < until => Err(LakeError::Down { domain: self.domain.clone() }),
            // This one tries; others wait for what it finds, or for the next time.
            Some(_) => {
                state.until = Instant::now().checked_add(REST);
                Ok(())
            }
            None => Ok(()),
        }
    }

    fn note(&self, failed: bool) {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        if !failed {
            *state = State::default();
            return;
        }
        state.failures = state.failures.saturating_add(1);
        if state.failures >= FAILURES {
            if state.until.is_none() {
                tracing::warn!(domain = %self.domain, "a catalog is let alone for a while: it failed too often");
            }
            state.until = Instant::now().checked_add(REST);
        }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "tests")]
mod tests {
    use super::*;

    fn failed() -> LakeError {
        LakeError::Timeout { domain: "shop".to_owned(), seconds: 10 }
    }

    #[tokio::test]
    async fn a_catalog_that_fails_too_often_is_let_alone_and_then_tried_once() {
        let breaker = Breaker::new("shop");
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
        let breaker = Breaker::new("shop");
        for _ in 0..10 {
            let refused = breaker.ask(async { Err::<(), _>(LakeError::Refused { domain: "shop".to_owned() }) }).await;
            assert!(matches!(refused, Err(LakeError::Refused { .. })));
        }
    }
}
