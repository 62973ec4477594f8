//! Failed logins slow down: who guesses waits longer each time, and everyone else does not.
//!
//! ```text
//! (network, user): failures 1 2 3 4 5   6   7   8  …
//!                     wait  0 0 0 0 1s  2s  4s  8s …  at most a minute
//! ```
//!
//! A wait is for one user name from one network alone, so that nobody can lock somebody else out from elsewhere. It is the
//! same for names that no user has. What is kept is bounded: at most so many pairs, of which the longest quiet is forgotten.

use std::collections::HashMap;
use std::hash::{BuildHasher, RandomState};
use std::net::IpAddr;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use super::Peer;
use crate::error::{Class, Error};

/// Slips of the finger that cost nothing.
const FREE: u32 = 4;
const LONGEST: Duration = Duration::from_secs(60);
/// After so long without a failure all is forgotten.
const FORGOTTEN: Duration = Duration::from_secs(15 * 60);
/// How many pairs are kept.
const KEPT: usize = 8192;
/// Checks of one pair at once: the rest waits for how they end.
const AT_ONCE: usize = 2;
/// Logins of one network that may wait at once: half of all places, so that there are some left for others.
const OF_NETWORK: usize = super::password::WAITING / 2;

/// Who failed how often.
#[derive(Debug, Default)]
pub(super) struct Backoff {
    /// Names are kept as hashes that nobody outside can aim at, so that long ones take no more room.
    hashing: RandomState,
    pairs: Mutex<HashMap<Pair, Failures>>,
    waiting: Mutex<HashMap<Option<IpAddr>, usize>>,
}

type Pair = (Option<IpAddr>, u64);

#[derive(Debug)]
struct Failures {
    count: u32,
    last: Instant,
    turns: Arc<Semaphore>,
}

/// A login that is being checked. Dropped without a word it counts neither way.
#[must_use]
pub(super) struct Attempt<'b> {
    backoff: &'b Backoff,
    pair: Pair,
    _turn: OwnedSemaphorePermit,
    _place: Place<'b>,
}

/// A place among the logins of a network.
struct Place<'b>(&'b Backoff, Option<IpAddr>);

impl Backoff {
    /// Takes a turn for a login as `user`.
    ///
    /// # Errors
    /// A limit, when it comes too soon after failures, or with too many others.
    pub(super) async fn attempt(&self, peer: &Peer, user: &str) -> Result<Attempt<'_>, Error> {
        let network = peer.network();
        let pair = (network, self.hashing.hash_one(user));
        let place = self.place(network)?;
        let turn = self.turns(pair).acquire_owned().await;
        let turn = turn.map_err(|_| Error::new(Class::Cancelled, "the login was interrupted"))?;
        // Only now: those before may have failed meanwhile.
        if self.must_wait(pair, Instant::now()) {
            tracing::debug!(?network, "a login comes too soon after failed ones");
            return Err(Error::new(Class::Limit, "too many failed logins").help("try again in a minute"));
        }
        Ok(Attempt { backoff: self, pair, _turn: turn, _place: place })
    }

    fn place(&self, network: Option<IpAddr>) -> Result<Place<'_>, Error> {
        let mut waiting = self.waiting.lock().unwrap_or_else(PoisonError::into_inner);
        let count = waiting.entry(network).or_default();
        if *count >= OF_NETWORK {
            return Err(Error::new(Class::Limit, "too many logins at once").help("try again in a moment"));
        }
        *count += 1;
        Ok(Place(self, network))
    }

    fn turns(&self, pair: Pair) -> Arc<Semaphore> {
        let mut pairs = self.pairs.lock().unwrap_or_else(PoisonError::into_inner);
        if !pairs.contains_key(&pair) && pairs.len() >= KEPT {
            // First those without a failure, so that nobody washes his own away with logins that are not even checked.
            let quietest = pairs.iter().min_by_key(|(_, failures)| (failures.count > 0, failures.last));
            let quietest = quietest.map(|(pair, _)| *pair);
            quietest.map(|pair| pairs.remove(&pair));
        }
        let fresh = || Failures { count: 0, last: Instant::now(), turns: Arc::new(Semaphore::new(AT_ONCE)) };
        Arc::clone(&pairs.entry(pair).or_insert_with(fresh).turns)
    }

    fn must_wait(&self, pair: Pair, now: Instant) -> bool {
        let mut pairs = self.pairs.lock().unwrap_or_else(PoisonError::into_inner);
        let Some(failures) = pairs.get_mut(&pair) else { return false };
        let quiet = now.saturating_duration_since(failures.last);
        if quiet >= FORGOTTEN {
            failures.count = 0;
        }
        quiet < wait(failures.count)
    }

    fn note(&self, pair: Pair, failed: bool, now: Instant) {
        let mut pairs = self.pairs.lock().unwrap_or_else(PoisonError::into_inner);
        if !failed {
            pairs.remove(&pair);
        } else if let Some(failures) = pairs.get_mut(&pair) {
            failures.count = failures.count.saturating_add(1);
            failures.last = now;
        }
    }
}

/// How long to wait after so many failures.
fn wait(failures: u32) -> Duration {
    match failures.checked_sub(FREE + 1) {
        None => Duration::ZERO,
        Some(more) => LONGEST.min(Duration::from_secs(1 << more.min(16))),
    }
}

impl Attempt<'_> {
    /// The password was right: all is forgotten.
    pub(super) fn succeeded(self) {
        self.backoff.note(self.pair, false, Instant::now());
    }

    /// The password was wrong.
    pub(super) fn failed(self) {
        self.backoff.note(self.pair, true, Instant::now());
    }
}

impl Drop for Place<'_> {
    fn drop(&mut self) {
        let mut waiting = self.0.waiting.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(count) = waiting.get_mut(&self.1) {
            *count = count.saturating_sub(1);
            if *count == 0 {
                waiting.remove(&self.1);
            }
        }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "tests")]
mod tests {
    use super::*;

    fn peer(address: &str) -> Peer {
        Peer::at(format!("{address}:1").parse().unwrap())
    }

    async fn fail(backoff: &Backoff, peer: &Peer, user: &str, times: u32) {
        for _ in 0..times {
            backoff.attempt(peer, user).await.unwrap().failed();
        }
    }

    #[test]
    fn each_failure_doubles_the_wait_up_to_a_minute() {
        let waits: Vec<u64> = (0..13).map(|failures| wait(failures).as_secs()).collect();
        assert_eq!(waits, [0, 0, 0, 0, 0, 1, 2, 4, 8, 16, 32, 60, 60]);
        assert_eq!(wait(u32::MAX), LONGEST);
    }

    #[tokio::test]
    async fn who_guesses_waits_and_the_same_user_elsewhere_does_not() {
        let (backoff, here, there) = (Backoff::default(), peer("192.0.2.1"), peer("192.0.2.2"));
        fail(&backoff, &here, "ada", FREE + 1).await;
        let error = backoff.attempt(&here, "ada").await.err().unwrap();
        assert_eq!(error.class, Class::Limit);
        assert!(backoff.attempt(&there, "ada").await.is_ok());
        assert!(backoff.attempt(&here, "eve").await.is_ok());
    }

    #[tokio::test]
    async fn a_right_password_in_time_starts_over() {
        let (backoff, here) = (Backoff::default(), peer("192.0.2.1"));
        fail(&backoff, &here, "ada", FREE).await;
        backoff.attempt(&here, "ada").await.unwrap().succeeded();
        fail(&backoff, &here, "ada", FREE).await;
        assert!(backoff.attempt(&here, "ada").await.is_ok());
    }

    #[tokio::test]
    async fn a_wait_ends_and_all_is_forgotten_after_a_while() {
        let (backoff, here) = (Backoff::default(), peer("192.0.2.1"));
        fail(&backoff, &here, "ada", 1).await;
        let (pair, now) = ((here.network(), backoff.hashing.hash_one("ada")), Instant::now());
        (0..FREE + 2).for_each(|_| backoff.note(pair, true, now));
        assert!(backoff.must_wait(pair, now + Duration::from_secs(3)));
        assert!(!backoff.must_wait(pair, now + Duration::from_secs(5)));
        assert!(!backoff.must_wait(pair, now + FORGOTTEN));
        assert!(!backoff.must_wait(pair, now), "it was forgotten");
    }

    #[tokio::test]
    async fn many_names_do_not_fill_the_memory() {
        let (backoff, here) = (Backoff::default(), peer("192.0.2.1"));
        for n in 0..KEPT + 100 {
            backoff.attempt(&here, &n.to_string()).await.unwrap().failed();
        }
        assert_eq!(backoff.pairs.lock().unwrap().len(), KEPT);
        assert!(backoff.waiting.lock().unwrap().is_empty());
    }

    #[tokio::test]
    async fn guesses_at_once_are_checked_a_few_at_a_time_and_a_network_has_its_places_alone() {
        let (backoff, here) = (Backoff::default(), peer("192.0.2.1"));
        let held: Vec<_> =
            [backoff.attempt(&here, "ada").await.unwrap(), backoff.attempt(&here, "ada").await.unwrap()].into();
        let third = tokio::time::timeout(Duration::from_millis(50), backoff.attempt(&here, "ada")).await;
        assert!(third.is_err(), "it waits for its turn");
        let mut others = Vec::new();
        for n in held.len()..OF_NETWORK {
            others.push(backoff.attempt(&here, &n.to_string()).await.unwrap());
        }
        assert_eq!(backoff.attempt(&here, "eve").await.err().unwrap().class, Class::Limit);
        assert!(backoff.attempt(&peer("192.0.2.2"), "eve").await.is_ok());
        drop((held, others));
        assert!(backoff.attempt(&here, "ada").await.is_ok());
    }
}
