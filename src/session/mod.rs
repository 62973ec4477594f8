//! The only maker of DataFusion sessions: the statement gate, planning, limits, and the life of a query.
//!
//! ```text
//! text --gate--> statement --resolve--> governed tables --DataFusion--> plan --parameters--> plan with values
//!      --optimizer--> optimized plan --guard::verify--> Planned
//! Planned --run--> Rows: record batches, or what a Packer makes of them, until the end, the deadline, or the drop of the
//!                  handle
//! ```
//!
//! A statement is planned against a catalog that holds exactly the tables it names, already governed; those that it
//! names with a version are planned by a planner of our own. What is refused and what runs is told to an observer, and what
//! runs gives no row before that is recorded. Planning and
//! execution happen on threads of their own with large stacks, so that deep plans cannot overflow and busy queries do
//! not keep the network waiting. The values of parameters stand in a plan before it is optimized, as if they had been
//! written there. A plan may be used again for the same statement, once its tables were found and decided anew. Nothing here
//! knows a wire protocol or a user's password.

mod again;
mod ahead;
mod alike;
mod caution;
#[allow(clippy::disallowed_methods, reason = "this room is the one that makes sessions")]
mod derived;
mod dialect;
#[allow(clippy::disallowed_methods, reason = "this room is the one that makes sessions")]
mod engine;
mod explain;
mod failure;
mod finish;
mod foreign;
mod functions;
mod gate;
#[allow(clippy::disallowed_methods, reason = "this room is the one that makes sessions")]
mod growth;
mod health;
mod heeded;
#[cfg_attr(test, allow(clippy::disallowed_methods, reason = "this room is the one that makes sessions"))]
mod interrupt;
#[cfg_attr(test, allow(clippy::disallowed_methods, reason = "this room is the one that makes sessions"))]
mod joins;
mod keyed;
mod life;
mod limits;
mod measure;
mod namesakes;
mod nested;
#[cfg_attr(test, allow(clippy::disallowed_methods, reason = "this room is the one that makes sessions"))]
mod once;
mod outer;
mod pages;
mod parameters;
mod parts;
mod planning;
mod profile;
mod purpose;
mod recall;
mod record;
mod recursion;
mod redact;
mod request;
mod results;
mod running;
mod sample;
mod scans;
#[cfg_attr(test, allow(clippy::disallowed_methods, reason = "this room is the one that makes sessions"))]
mod sieve;
mod spill;
mod tables;
mod threads;
mod travel;
mod turns;

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use crate::lake;

pub use engine::Engine;
pub use functions::functions;
pub use gate::{LONGEST as LONGEST_STATEMENT, TABLES as MOST_TABLES};
pub use health::Standing;
pub use life::{Packer, Rows};
pub use measure::Numbers;
pub use parts::Part;
pub use planning::Planned;
pub use purpose::{Session, declared};
pub use request::{Request, Values};
pub use running::Stopper;

use crate::observe::Observer;
pub use crate::resolve::age::Age;
pub use crate::resolve::explanation::{EVERY, Effect, Line, places, policies};
pub use crate::resolve::keys::{Declared as DeclaredKeys, KeyColumns};
pub use crate::resolve::system::{Columns, Listed};
pub use crate::resolve::{Flaw, Health, Link, Page, PageColumn, Untagged, Use, Version};

/// What an engine may use.
#[derive(Debug, Clone)]
pub struct Options {
    /// Bytes for all queries together before they spill.
    pub memory: usize,
    /// Bytes of results that are kept for products that allow it.
    pub results: usize,
    /// Where they spill to; a temporary directory by default.
    pub spill: Option<PathBuf>,
    /// How long one statement may take.
    pub timeout: Duration,
    /// How long rows may wait for a reader that takes none, before they and their query are dropped.
    pub patience: Duration,
    /// How many statements run at once, of all people together; as many as there are by default.
    pub at_once: Option<usize>,
    /// How long a statement waits for its place among these.
    pub wait: Duration,
    /// Threads that plan and execute, and partitions of a query; the machine's cores by default.
    pub threads: Option<usize>,
    /// The most rows that a query works on at once.
    pub batch: usize,
    /// How lakes are opened.
    pub lake: lake::Options,
    /// Who is told of statements; by default one who remembers the last ones and writes nothing.
    pub observer: Arc<Observer>,
}

impl Default for Options {
    fn default() -> Self {
        let timeout = Duration::from_secs(300);
        // Who does not read holds a query no longer than who computes.
        let (lake, observer) = (lake::Options::default(), Arc::default());
        Self {
            memory: 2 << 30,
            results: 64 << 20,
            spill: None,
            timeout,
            patience: timeout,
            at_once: None,
            wait: Duration::from_secs(30),
            threads: None,
            batch: 8192,
            lake,
            observer,
        }
    }
}

/// The snapshots that a query reads, by product and version: `wholesale.orders`, `wholesale.orders VERSION AS OF 7`.
pub type Pins = BTreeMap<String, i64>;
