//! What became of what: run events of OpenLineage for statements that read products.
//!
//! ```text
//! begin --START--> \                          / file     a line each
//!                    queue --> thread of its own - stdout   likewise
//! end --COMPLETE--> /                          \ server   POST, tried again
//!      FAIL, ABORT
//! ```
//!
//! A product is a dataset, `domain.product` in the namespace `polder://mesh`, and so is the answer of a statement, under the
//! fingerprint that it shares with those that differ in their literals alone. Events name products, snapshots, columns, how a
//! column reaches the answer and whether a mask is on the way. There is no value of the data in them, no text of a
//! statement and nobody's name: who asked is the audit log's to tell.
//!
//! Nothing waits for a sink. What finds no room in the queue, or what a server does not take in time, is lost and counted.

mod event;

use super::feed::{Feed, Manner};
use super::recent::Recorded;
use super::sink::{Sink, Unusable};

/// Events leave one by one: that is how servers take them.
const EVENTS: Manner = Manner::each("lineage", "polder_lineage_events_total", "Events of lineage");
/// Where servers take events, if nothing else is said.
const PLACE: &str = "/api/v1/lineage";

/// What an answer is made of.
#[derive(Debug, Clone, Default)]
pub struct Answer {
    /// The mesh.
    pub mesh: String,
    /// The products that are read, with their snapshots.
    pub inputs: Vec<(String, Option<String>)>,
    /// Its columns in their order: the name, and what this one is made of.
    pub columns: Vec<(String, Vec<Part>)>,
    /// What has a say in which rows there are, or in which order.
    pub rows: Vec<Part>,
}

/// A column that has a say in an answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Part {
    /// Its product.
    pub product: String,
    /// Its name, with the fields inside of it behind dots.
    pub column: String,
    /// How it reaches the answer: `value`, `predicate`, `join`, `group`, `order`, `window`.
    pub via: &'static str,
    /// Whether it does so behind a mask.
    pub masked: bool,
}

/// Where events go.
#[derive(Debug)]
pub struct Lineage(Feed);

impl Lineage {
    /// Sends events to `sink` from a thread of its own.
    ///
    /// # Errors
    /// When the sink cannot be had, or the thread.
    pub fn to(sink: Sink) -> Result<Self, Unusable> {
        Feed::to(sink.at(PLACE), EVENTS).map(Self)
    }

    /// Tells that a statement starts.
    pub(super) fn begun(&self, recorded: &Recorded) {
        if let Some(event) = event::begun(recorded) {
            self.0.tell(event);
        }
    }

    /// Tells how a statement has ended.
    pub(super) fn ended(&self, recorded: &Recorded) {
        if let Some(event) = event::ended(recorded) {
            self.0.tell(event);
        }
    }

    /// Lets those that wait go, for a moment, and takes no more.
    pub(super) async fn close(&self) {
        self.0.close().await;
    }

    /// What was counted, as Prometheus reads it.
    pub(super) fn render(&self) -> String {
        self.0.render()
    }
}
