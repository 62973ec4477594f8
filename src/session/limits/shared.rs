//! The memory of all statements together, a part of which is never taken by what can be spilled.
//!
//! Sorts and groups that spill take all that they may before they do. Were that everything, the first hash table or merge
//! of another statement would end it, since these cannot be spilled.

use std::fmt;

use datafusion::error::{DataFusionError, Result};
use datafusion::execution::memory_pool::{FairSpillPool, MemoryConsumer, MemoryLimit, MemoryPool, MemoryReservation};

use super::memory::Used;

/// The share that is left for what cannot be spilled: one in so many.
const KEPT: usize = 4;

/// The pool of the engine.
#[derive(Debug)]
pub(in crate::session) struct Shared {
    most: usize,
    used: Used,
    /// What can be spilled, each consumer with the same share.
    spillable: FairSpillPool,
}

impl Shared {
    /// Of so many bytes.
    pub(in crate::session) fn new(most: usize) -> Self {
        Self { most, used: Used::default(), spillable: FairSpillPool::new(most - most / KEPT) }
    }
}

impl fmt::Display for Shared {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl MemoryPool for Shared {
    fn name(&self) -> &'static str {
        "shared"
    }

    fn register(&self, consumer: &MemoryConsumer) {
        self.spillable.register(consumer);
    }

    fn unregister(&self, consumer: &MemoryConsumer) {
        self.spillable.unregister(consumer);
    }

    fn grow(&self, reservation: &MemoryReservation, additional: usize) {
        self.used.add(additional);
        if reservation.consumer().can_spill() {
            self.spillable.grow(reservation, additional);
        }
    }

    fn shrink(&self, reservation: &MemoryReservation, shrink: usize) {
        if reservation.consumer().can_spill() {
            self.spillable.shrink(reservation, shrink);
        }
        self.used.sub(shrink);
    }

    fn try_grow(&self, reservation: &MemoryReservation, additional: usize) -> Result<()> {
        if !self.used.try_add(additional, Some(self.most)) {
            return Err(DataFusionError::ResourcesExhausted("the memory for statements is exhausted".to_owned()));
        }
        if !reservation.consumer().can_spill() {
            return Ok(());
        }
        self.spillable.try_grow(reservation, additional).inspect_err(|_| self.used.sub(additional))
    }

    fn reserved(&self) -> usize {
        self.used.now()
    }

    fn memory_limit(&self) -> MemoryLimit {
        MemoryLimit::Finite(self.most)
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "tests")]
mod tests {
    use std::sync::Arc;

    use super::*;

    #[test]
    fn what_can_be_spilled_leaves_room_for_what_cannot() {
        let pool: Arc<dyn MemoryPool> = Arc::new(Shared::new(400));
        let of = |spills| MemoryConsumer::new("t").with_can_spill(spills).register(&pool);
        let (one, join) = (of(true), of(false));
        one.try_grow(300).unwrap();
        assert!(one.try_grow(1).is_err());
        join.try_grow(100).unwrap();
        assert!(join.try_grow(1).is_err());
        one.shrink(200);
        join.try_grow(200).unwrap();
        assert!(one.try_grow(1).is_err(), "nothing is left at all");
        let other = of(true);
        join.free();
        assert!(other.try_grow(151).is_err(), "each has its share");
        other.try_grow(150).unwrap();
        drop((one, join, other));
        assert_eq!(pool.reserved(), 0);
    }
}
