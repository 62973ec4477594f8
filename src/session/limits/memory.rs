//! The memory of one statement, under that of its group, under that of the engine.

use std::fmt;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use datafusion::error::{DataFusionError, Result};
use datafusion::execution::memory_pool::{MemoryConsumer, MemoryLimit, MemoryPool, MemoryReservation};

/// How many bytes are used.
#[derive(Debug, Default)]
pub(in crate::session) struct Used(AtomicUsize);

impl Used {
    pub(super) fn add(&self, bytes: usize) {
        self.0.fetch_add(bytes, Ordering::Relaxed);
    }

    pub(super) fn sub(&self, bytes: usize) {
        self.0.fetch_sub(bytes, Ordering::Relaxed);
    }

    pub(super) fn try_add(&self, bytes: usize, most: Option<usize>) -> bool {
        let more = |used: usize| used.checked_add(bytes).filter(|used| most.is_none_or(|most| *used <= most));
        self.0.fetch_update(Ordering::Relaxed, Ordering::Relaxed, more).is_ok()
    }

    pub(super) fn now(&self) -> usize {
        self.0.load(Ordering::Relaxed)
    }
}

/// What there was not enough of.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Exhausted {
    /// What one statement may have.
    Own,
    /// What the statements of its group may have together.
    Share,
}

/// The pool of one statement. Operators that can spill do so when it is exhausted, as they do for the engine's.
#[derive(Debug)]
pub(super) struct Bounded {
    engine: Arc<dyn MemoryPool>,
    used: Used,
    own: Option<usize>,
    used_by_group: Arc<Used>,
    share: Option<usize>,
    exhausted: Mutex<Option<Exhausted>>,
}

impl Bounded {
    pub(super) fn new(
        engine: &Arc<dyn MemoryPool>,
        own: Option<usize>,
        used_by_group: Arc<Used>,
        share: Option<usize>,
    ) -> Arc<Self> {
        let (used, exhausted) = (Used::default(), Mutex::default());
        Arc::new(Self { engine: Arc::clone(engine), used, own, used_by_group, share, exhausted })
    }

    /// What was exhausted last, if it was one of these and not the engine's.
    pub(super) fn exhausted(&self) -> Option<Exhausted> {
        *self.exhausted.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn refuse(&self, exhausted: Option<Exhausted>) {
        *self.exhausted.lock().unwrap_or_else(PoisonError::into_inner) = exhausted;
    }
}

impl fmt::Display for Bounded {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("statement")
    }
}

impl MemoryPool for Bounded {
    fn name(&self) -> &str {
        "statement"
    }

    fn register(&self, consumer: &MemoryConsumer) {
        self.engine.register(consumer);
    }

    fn unregister(&self, consumer: &MemoryConsumer) {
        self.engine.unregister(consumer);
    }

    fn grow(&self, reservation: &MemoryReservation, additional: usize) {
        self.used.add(additional);
        self.used_by_group.add(additional);
        self.engine.grow(reservation, additional);
    }

    fn shrink(&self, reservation: &MemoryReservation, shrink: usize) {
        self.engine.shrink(reservation, shrink);
        self.used_by_group.sub(shrink);
        self.used.sub(shrink);
    }

    fn try_grow(&self, reservation: &MemoryReservation, additional: usize) -> Result<()> {
        let exhausted = |exhausted| {
            self.refuse(Some(exhausted));
            Err(DataFusionError::ResourcesExhausted("the statement's memory is exhausted".to_owned()))
        };
        if !self.used.try_add(additional, self.own) {
            return exhausted(Exhausted::Own);
        }
        if !self.used_by_group.try_add(additional, self.share) {
            self.used.sub(additional);
            return exhausted(Exhausted::Share);
        }
        self.engine.try_grow(reservation, additional).inspect_err(|_| {
            self.refuse(None);
            self.used_by_group.sub(additional);
            self.used.sub(additional);
        })
    }

    fn reserved(&self) -> usize {
        self.used.now()
    }

    fn memory_limit(&self) -> MemoryLimit {
        match self.own.into_iter().chain(self.share).min() {
            Some(most) => MemoryLimit::Finite(most),
            None => self.engine.memory_limit(),
        }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "tests")]
mod tests {
    use datafusion::execution::memory_pool::GreedyMemoryPool;

    use super::*;

    fn pool(engine: &Arc<dyn MemoryPool>, own: usize, group: &Arc<Used>, share: usize) -> Arc<Bounded> {
        Bounded::new(engine, Some(own), Arc::clone(group), Some(share))
    }

    #[test]
    fn a_statement_has_its_own_its_groups_and_the_engines_limit() {
        let engine: Arc<dyn MemoryPool> = Arc::new(GreedyMemoryPool::new(100));
        let group = Arc::new(Used::default());
        let (one, other) = (pool(&engine, 50, &group, 80), pool(&engine, 50, &group, 80));
        let of = |pool: &Arc<Bounded>| MemoryConsumer::new("t").register(&(Arc::clone(pool) as Arc<dyn MemoryPool>));
        let (ones, others) = (of(&one), of(&other));
        ones.try_grow(50).unwrap();
        assert!(ones.try_grow(1).is_err());
        assert_eq!(one.exhausted(), Some(Exhausted::Own));
        others.try_grow(30).unwrap();
        assert!(others.try_grow(1).is_err());
        assert_eq!(other.exhausted(), Some(Exhausted::Share));
        let third = Bounded::new(&engine, None, Arc::default(), None);
        let thirds = of(&third);
        assert!(thirds.try_grow(21).is_err());
        assert_eq!(third.exhausted(), None, "it was the engine's");
        thirds.try_grow(20).unwrap();
        drop((ones, others, thirds));
        assert_eq!((engine.reserved(), group.now(), one.reserved(), third.reserved()), (0, 0, 0, 0));
    }
}
