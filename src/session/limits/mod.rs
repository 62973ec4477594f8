//! What statements may use: how many run at once, of a resource group and of all together, and what each of them takes.
//!
//! ```text
//! planned --Lanes::enter, waits its turn--> Place --Allowance::of--> memory pool, spill space, meters --run--> rows
//! ```
//!
//! The mesh says who is in which group ([`ResourceGroup`]); whom none is for is bound by the engine's own limits alone. A
//! place among all statements comes behind the one in a group, so that who waits in a group takes nobody else's. A
//! statement that takes more than it may ends with an error that names the limit and the group, never with fewer rows. What
//! is counted is counted for one statement: nothing of it reaches another one's principal but that it waits.

mod lanes;
mod memory;
mod meter;
mod shared;

use std::sync::Arc;

use datafusion::execution::memory_pool::MemoryPool;
use datafusion::execution::runtime_env::RuntimeEnv;
use polder_catalog::mesh::ResourceGroup;
use polder_catalog::mesh::limits::sized;

pub(super) use lanes::{Bound, Lanes, Place};
use memory::{Bounded, Used};
use meter::Meter;
pub(super) use meter::{count_processors, count_so_far, scanned};
pub(super) use shared::Shared;

use super::failure;
use super::spill::Spill;
use crate::error::{Class, Error};

/// What one statement may take, and what it took.
#[derive(Debug)]
pub(super) struct Allowance {
    group: ResourceGroup,
    memory: Option<Arc<Bounded>>,
    meter: Arc<Meter>,
    rows: u64,
    bytes: u64,
}

impl Allowance {
    /// That of a statement of `group`, whose statements `used` memory together.
    pub(super) fn of(group: ResourceGroup, used: Arc<Used>, pool: &Arc<dyn MemoryPool>, all: usize) -> Self {
        let share = group.memory.map(|percent| all / 100 * usize::from(percent));
        let own = group.each.memory.map(|most| usize::try_from(most).unwrap_or(usize::MAX));
        let memory = (share.is_some() || own.is_some()).then(|| Bounded::new(pool, own, used, share));
        let meter = Meter::new(group.each.cpu);
        Self { group, memory, meter, rows: 0, bytes: 0 }
    }

    /// The engine's environment, as far as the statement may use it.
    pub(super) fn environment(&self, engine: &Arc<RuntimeEnv>, spill: &Spill) -> Result<Arc<RuntimeEnv>, Error> {
        if self.memory.is_none() && self.group.each.spill.is_none() {
            return Ok(Arc::clone(engine));
        }
        let mut environment = RuntimeEnv::clone(engine);
        if let Some(memory) = &self.memory {
            environment.memory_pool = Arc::clone(memory) as Arc<dyn MemoryPool>;
        }
        if let Some(most) = self.group.each.spill {
            let unusable = |_| Error::new(Class::Limit, "the spill directory cannot be used");
            environment.disk_manager = spill.own(most).map_err(unusable)?;
        }
        Ok(Arc::new(environment))
    }

    /// Counts rows that are to leave.
    ///
    /// # Errors
    /// `Limit`, when they are too many.
    pub(super) fn rows(&mut self, rows: usize) -> Result<(), Error> {
        self.rows = self.rows.saturating_add(u64::try_from(rows).unwrap_or(u64::MAX));
        self.holds(self.rows, self.group.each.rows, |most| format!("{most} rows"))
    }

    /// Counts bytes that are to leave.
    ///
    /// # Errors
    /// `Limit`, when they are too many.
    pub(super) fn bytes(&mut self, bytes: usize) -> Result<(), Error> {
        self.bytes = self.bytes.saturating_add(u64::try_from(bytes).unwrap_or(u64::MAX));
        self.holds(self.bytes, self.group.each.bytes, |most| format!("{} of an answer", sized(most)))
    }

    /// The most bytes of data files that may be read.
    pub(super) fn most_scanned(&self) -> Option<u64> {
        self.group.each.scanned
    }

    /// What counts the time of processors, if that is limited.
    pub(super) fn meter(&self) -> Option<Arc<Meter>> {
        self.group.each.cpu.map(|_| Arc::clone(&self.meter))
    }

    /// The error of a statement that read too many bytes of data files.
    pub(super) fn read_too_much(&self) -> Error {
        self.over(&format!("{} of data files", sized(self.group.each.scanned.unwrap_or_default())))
    }

    /// The error of a statement that took too much time of processors.
    pub(super) fn computed_too_long(&self) -> Error {
        self.over(&format!("{:?} of processor time", self.group.each.cpu.unwrap_or_default()))
    }

    /// The same error, unless it is one of memory or of spilled bytes that this statement ran out of before the engine did.
    pub(super) fn told(&self, error: Error) -> Error {
        if let (Some(most), failure::SPILLED) = (self.group.each.spill, error.message.as_str()) {
            return self.over(&format!("{} of spilled rows", sized(most)));
        }
        let exhausted = self.memory.as_ref().and_then(|memory| memory.exhausted());
        match exhausted.filter(|_| error.class == Class::Limit) {
            Some(memory::Exhausted::Own) => {
                self.over(&format!("{} of memory", sized(self.group.each.memory.unwrap_or_default())))
            }
            Some(memory::Exhausted::Share) => {
                let (name, percent) = (&self.group.name, self.group.memory.unwrap_or_default());
                Error::new(
                    Class::Limit,
                    format!(
                        "the statements of the resource group `{name}` may have {percent}% of the memory for queries \
                         together"
                    ),
                )
                .help("wait for others to end, ask for fewer rows or columns, or group on fewer values")
            }
            None => error,
        }
    }

    fn holds(&self, taken: u64, most: Option<u64>, words: impl Fn(u64) -> String) -> Result<(), Error> {
        match most {
            Some(most) if taken > most => Err(self.over(&words(most))),
            _ => Ok(()),
        }
    }

    fn over(&self, most: &str) -> Error {
        let name = &self.group.name;
        Error::new(Class::Limit, format!("a statement of the resource group `{name}` may take {most} at most"))
            .help("ask for less; what each group may take stands under `limits` in the mesh's files")
    }
}
