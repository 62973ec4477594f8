//! The products are held against their rules of quality while they are served, on a schedule.
//!
//! What has not changed since the last time is not looked at again, so a short interval costs little: the metadata of the
//! tables, which the lake remembers for a while. What comes of it is in `mesh.quality` and `mesh.health`.

use std::sync::Arc;
use std::time::Duration;

use tokio::time::MissedTickBehavior;

use crate::inspect::{Past, hold};
use crate::session::Engine;

/// How products are held against their rules.
#[derive(Debug)]
pub struct Checks {
    /// How often.
    pub every: Duration,
    /// Where it is written down what came of it.
    pub past: Option<Past>,
}

/// Checks until it is dropped.
pub(super) async fn check(engine: Arc<Engine>, Checks { every, past }: Checks) {
    let mut ticks = tokio::time::interval(every);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        ticks.tick().await;
        hold(&engine, past.as_ref()).await;
    }
}
