//! The statements that a process plans or runs now: each principal may have so many at once, and ends its own by the
//! ticket.
//!
//! This is all that the wire keeps between two calls, and nothing that another process would need: a statement is ended
//! where it runs.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use tokio_util::sync::CancellationToken;

use crate::error::{Class, Error};
use crate::flight::ticket::TICKET_LIFETIME;
use crate::session::Stopper;

/// The most statements of one principal that are planned or run at once.
pub(super) const AT_ONCE: usize = 256;

/// The most tickets that are remembered as cancelled. One more is not cancellable while nothing runs for it.
const REMEMBERED: usize = 10_000;

/// The statements of a process.
#[derive(Debug, Default)]
pub(crate) struct Queries(Mutex<Known>);

#[derive(Debug, Default)]
struct Known {
    /// How many each principal has.
    busy: HashMap<String, usize>,
    /// Those that run, by the ids of their tickets. A ticket may be fetched several times at once.
    running: HashMap<String, Vec<Arc<Run>>>,
    /// Tickets that were cancelled, until they expire.
    cancelled: HashMap<String, Instant>,
}

/// A place among the statements of a principal, until it is dropped.
#[derive(Debug)]
pub(crate) struct Place {
    queries: Arc<Queries>,
    principal: String,
}

/// A ticket that is being fetched, until this is dropped.
#[derive(Debug)]
pub(super) struct Running {
    queries: Arc<Queries>,
    id: String,
    run: Arc<Run>,
}

#[derive(Debug, Default)]
struct Run {
    ended: CancellationToken,
    work: Mutex<Option<Stopper>>,
}

impl Queries {
    fn known(&self) -> MutexGuard<'_, Known> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Takes a place for one more statement.
    ///
    /// # Errors
    /// `Limit`, when the principal has as many as it may have.
    pub(crate) fn admit(self: &Arc<Self>, principal: &str) -> Result<Place, Error> {
        let mut known = self.known();
        let busy = known.busy.entry(principal.to_owned()).or_default();
        if *busy >= AT_ONCE {
            return Err(Error::new(
                Class::Limit,
                format!("{AT_ONCE} of your statements are at work, which is the most at once"),
            )
            .help("read, cancel or wait for the others"));
        }
        *busy = busy.saturating_add(1);
        Ok(Place { queries: Arc::clone(self), principal: principal.to_owned() })
    }

    /// Notes that a ticket is being fetched.
    ///
    /// # Errors
    /// `Cancelled`, when it was cancelled before.
    pub(super) fn begin(self: &Arc<Self>, id: &str) -> Result<Running, Error> {
        let mut known = self.known();
        if known.cancelled.contains_key(id) {
            return Err(cancelled());
        }
        let run = Arc::new(Run::default());
        known.running.entry(id.to_owned()).or_default().push(Arc::clone(&run));
        Ok(Running { queries: Arc::clone(self), id: id.to_owned(), run })
    }

    /// Ends what runs for a ticket, and lets nothing run for it any more in this process. Says whether it is so.
    pub(super) fn cancel(&self, id: &str) -> bool {
        self.cancel_for(id, TICKET_LIFETIME)
    }

    fn cancel_for(&self, id: &str, lifetime: Duration) -> bool {
        let mut known = self.known();
        let now = Instant::now();
        known.cancelled.retain(|_, until| *until > now);
        let room = known.cancelled.len() < REMEMBERED || known.cancelled.contains_key(id);
        if room {
            known.cancelled.insert(id.to_owned(), now + lifetime);
        }
        let runs = known.running.get(id).cloned().unwrap_or_default();
        drop(known);
        for run in &runs {
            run.ended.cancel();
            if let Some(work) = &*run.work.lock().unwrap_or_else(PoisonError::into_inner) {
                work.stop();
            }
        }
        room || !runs.is_empty()
    }
}

impl Running {
    /// Is cancelled with the statement.
    pub(super) fn ended(&self) -> CancellationToken {
        self.run.ended.clone()
    }

    /// What works for it from now on, which a reader who does not read must not keep at work.
    pub(super) fn works(&self, work: Stopper) {
        let mut slot = self.run.work.lock().unwrap_or_else(PoisonError::into_inner);
        if self.run.ended.is_cancelled() {
            work.stop();
        }
        *slot = Some(work);
    }
}

/// The error of a statement whose ticket was cancelled.
pub(super) fn cancelled() -> Error {
    Error::new(Class::Cancelled, "the statement was cancelled")
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut known = self.queries.known();
        if let Some(busy) = known.busy.get_mut(&self.principal) {
            *busy = busy.saturating_sub(1);
            if *busy == 0 {
                known.busy.remove(&self.principal);
            }
        }
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        let mut known = self.queries.known();
        if let Some(runs) = known.running.get_mut(&self.id) {
            runs.retain(|run| !Arc::ptr_eq(run, &self.run));
            if runs.is_empty() {
                known.running.remove(&self.id);
            }
        }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "tests")]
mod tests {
    use super::*;

    #[test]
    fn a_principal_has_so_many_statements_at_once_and_takes_none_from_another() {
        let queries = Arc::new(Queries::default());
        let mut places: Vec<Place> = (0..AT_ONCE).map(|_| queries.admit("ada").unwrap()).collect();
        assert_eq!(queries.admit("ada").unwrap_err().class, Class::Limit);
        assert!(queries.admit("bob").is_ok());
        places.pop();
        assert!(queries.admit("ada").is_ok());
        drop(places);
        assert!(queries.known().busy.is_empty(), "what ended is not kept");
    }

    #[test]
    fn a_cancelled_ticket_ends_what_runs_for_it_and_is_good_for_nothing_more() {
        let queries = Arc::new(Queries::default());
        let (one, other) = (queries.begin("a").unwrap(), queries.begin("b").unwrap());
        assert!(queries.cancel("a"));
        assert!(one.ended().is_cancelled() && !other.ended().is_cancelled());
        assert_eq!(queries.begin("a").unwrap_err().class, Class::Cancelled);
        drop((one, other));
        assert!(queries.known().running.is_empty(), "what ended is not kept");
        assert!(queries.cancel_for("a", Duration::ZERO));
        assert!(queries.cancel_for("c", Duration::ZERO));
        assert!(queries.begin("c").is_err());
        assert!(queries.cancel("d"), "what has expired makes room");
        assert!(queries.begin("c").is_ok());
    }
}
