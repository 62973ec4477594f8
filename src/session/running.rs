//! The statements that run now, and what each was planned on. When another mesh is served, each is decided again, and
//! one that would no longer be allowed so ends before its next batch leaves.
//!
//! ```text
//! swap:  serve the mesh of epoch 8, then decide every statement that runs: clear it for 8, or revoke it
//! start: register the statement, then compare epochs; planned in an older one, it is decided before it executes
//! batch: leaves only while the statement is clear for the epoch of now; until it is decided it waits
//! ```
//!
//! Whichever of swap and start comes second sees the other, so that no statement slips between them.

use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::task::Waker;

use futures::task::AtomicWaker;
use polder_catalog::principal::Principal;

use super::threads::Ender;
use crate::resolve::Relied;
use crate::served::{Served, Serving, anonymous};

/// What a statement was planned on. Without more it holds in no mesh.
#[derive(Debug, Clone)]
pub(super) struct Basis {
    pub(super) principal: Principal,
    /// The epoch of the mesh; no mesh has the epoch 0.
    pub(super) epoch: u64,
    pub(super) relied: Relied,
}

impl Basis {
    /// That of a statement whose planning has not ended: it holds in no mesh.
    pub(super) fn none() -> Self {
        Self { principal: anonymous(), epoch: 0, relied: Relied::on_everything() }
    }
}

/// The statements that run now.
#[derive(Debug)]
pub(super) struct Running {
    served: Arc<Served>,
    statements: Mutex<HashMap<u64, Arc<Statement>>>,
    next: AtomicU64,
}

/// A statement that runs.
#[derive(Debug)]
pub(super) struct Statement {
    basis: Basis,
    /// The latest epoch whose mesh allows it.
    cleared: AtomicU64,
    revoked: AtomicBool,
    stopped: AtomicBool,
    reader: AtomicWaker,
    driver: OnceLock<Ender>,
}

/// A statement's place among those that run, until it is dropped.
#[derive(Debug)]
pub(super) struct Registered {
    running: Arc<Running>,
    number: u64,
    pub(super) statement: Arc<Statement>,
}

/// Whether a batch may leave.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[must_use]
pub(super) enum Leave {
    /// It may.
    Clear,
    /// It is not decided yet; the reader is woken when it is.
    Wait,
    /// Nothing of this statement leaves any more.
    Revoked,
    /// Nor of this one, because its principal has ended it.
    Stopped,
}

/// Ends a statement that runs, for its principal.
#[derive(Debug, Clone)]
pub struct Stopper(Arc<Statement>);

impl Stopper {
    /// Ends it: its work stops, and its reader is told so instead of the next batch.
    pub fn stop(&self) {
        self.0.stopped.store(true, Ordering::SeqCst);
        self.0.stop();
        self.0.reader.wake();
    }
}

impl Running {
    pub(super) fn new(served: Arc<Served>) -> Arc<Self> {
        Arc::new(Self { served, statements: Mutex::default(), next: AtomicU64::default() })
    }

    /// Registers a statement, before it executes.
    pub(super) fn register(self: &Arc<Self>, basis: Basis) -> Registered {
        let number = self.next.fetch_add(1, Ordering::Relaxed);
        let statement = Arc::new(Statement {
            cleared: AtomicU64::new(basis.epoch),
            basis,
            revoked: AtomicBool::new(false),
            stopped: AtomicBool::new(false),
            reader: AtomicWaker::new(),
            driver: OnceLock::new(),
        });
        let mut statements = self.statements.lock().unwrap_or_else(PoisonError::into_inner);
        statements.insert(number, Arc::clone(&statement));
        Registered { running: Arc::clone(self), number, statement }
    }

    /// Decides every statement again that was planned before `now`, and says how many were revoked.
    pub(super) fn review(&self, now: &Serving) -> usize {
        let statements: Vec<Arc<Statement>> =
            self.statements.lock().unwrap_or_else(PoisonError::into_inner).values().cloned().collect();
        statements.iter().filter(|statement| !statement.decide(now)).count()
    }
}

impl Registered {
    /// Whether it may execute: decides it again if it was planned before the mesh of now.
    pub(super) fn may_execute(&self) -> bool {
        self.statement.decide(&self.running.served.now())
    }

    /// Ends it, because what it was planned on no longer holds.
    pub(super) fn revoke(&self) {
        self.statement.revoke();
    }

    /// What it was planned on.
    pub(super) fn relied(&self) -> &Relied {
        &self.statement.basis.relied
    }

    /// What ends it for its principal.
    pub(super) fn stopper(&self) -> Stopper {
        Stopper(Arc::clone(&self.statement))
    }

    /// Whether a batch may leave to the reader behind `waker`.
    pub(super) fn may_leave(&self, waker: &Waker) -> Leave {
        self.statement.may_leave(waker, || self.running.served.epoch())
    }
}

impl Drop for Registered {
    fn drop(&mut self) {
        self.running.statements.lock().unwrap_or_else(PoisonError::into_inner).remove(&self.number);
    }
}

impl Statement {
    /// The task that executes it, so that a reader who does not read cannot keep it alive.
    pub(super) fn driven_by(&self, driver: Ender) {
        let ended = || self.revoked.load(Ordering::SeqCst) || self.stopped.load(Ordering::SeqCst);
        if self.driver.set(driver).is_ok() && ended() {
            self.stop();
        }
    }

    fn revoke(&self) {
        self.revoked.store(true, Ordering::SeqCst);
        self.stop();
        self.reader.wake();
    }

    fn stop(&self) {
        if let Some(driver) = self.driver.get() {
            driver.end();
        }
    }

    /// Clears it for the epoch of `now`, or revokes it; says which. What is revoked stays so.
    fn decide(&self, now: &Serving) -> bool {
        if self.revoked.load(Ordering::SeqCst) {
            return false;
        }
        if self.cleared.load(Ordering::SeqCst) < now.epoch {
            let basis = &self.basis;
            let principal = now.principal(&basis.principal);
            if !principal.is_some_and(|principal| basis.relied.holds(&now.mesh, &principal)) {
                self.revoke();
                return false;
            }
            self.cleared.fetch_max(now.epoch, Ordering::SeqCst);
            self.reader.wake();
        }
        true
    }

    fn may_leave(&self, waker: &Waker, epoch: impl FnOnce() -> u64) -> Leave {
        // First the waker: what is decided after the look below wakes it.
        self.reader.register(waker);
        if self.revoked.load(Ordering::SeqCst) {
            Leave::Revoked
        } else if self.stopped.load(Ordering::SeqCst) {
            Leave::Stopped
        } else if epoch() <= self.cleared.load(Ordering::SeqCst) {
            Leave::Clear
        } else {
            Leave::Wait
        }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "tests")]
mod tests {
    use std::collections::BTreeMap;

    use polder_catalog::mesh::Mesh;

    use super::*;

    fn mesh(text: &str) -> Mesh {
        Mesh::from_files(&BTreeMap::from([("mesh.yaml".to_owned(), text.to_owned())])).unwrap()
    }

    fn planned(served: &Served) -> Basis {
        Basis { principal: anonymous(), epoch: served.epoch(), relied: Relied::default() }
    }

    #[test]
    fn a_batch_waits_from_the_swap_until_its_statement_is_decided() {
        let served = Served::new(mesh("mesh: m"));
        let running = Running::new(Arc::clone(&served));
        let registered = running.register(planned(&served));
        assert_eq!(registered.may_leave(Waker::noop()), Leave::Clear);
        let open = served.swap(mesh("mesh: m"));
        assert_eq!(registered.may_leave(Waker::noop()), Leave::Wait);
        assert_eq!(running.review(&open), 0);
        assert_eq!(registered.may_leave(Waker::noop()), Leave::Clear);
        let closed = served.swap(mesh("mesh: m\nauth: { users: [ { name: ada } ] }"));
        assert_eq!(running.review(&closed), 1, "nobody is anonymous any more");
        let open = served.swap(mesh("mesh: m"));
        running.review(&open);
        assert_eq!(registered.may_leave(Waker::noop()), Leave::Revoked, "it stays so");
    }

    #[test]
    fn what_its_principal_ends_lets_nothing_leave_and_starts_no_work() {
        let served = Served::new(mesh("mesh: m"));
        let running = Running::new(Arc::clone(&served));
        let registered = running.register(planned(&served));
        registered.stopper().stop();
        assert_eq!(registered.may_leave(Waker::noop()), Leave::Stopped);
    }

    #[test]
    fn what_was_planned_before_a_swap_is_decided_before_it_executes() {
        let served = Served::new(mesh("mesh: m"));
        let running = Running::new(Arc::clone(&served));
        let basis = planned(&served);
        running.review(&served.swap(mesh("mesh: m")));
        assert!(running.register(basis.clone()).may_execute());
        running.review(&served.swap(mesh("mesh: m\nauth: { users: [ { name: ada } ] }")));
        assert!(!running.register(basis).may_execute());
        assert!(!running.register(Basis::none()).may_execute(), "nor is what nobody knows anything of");
        assert!(running.statements.lock().unwrap().is_empty(), "what ended is not kept");
    }
}
