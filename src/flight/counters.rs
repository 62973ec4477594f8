//! What the service counts: queries started, running, and failed by class.

use std::array;
use std::fmt::Write as _;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use crate::error::{Class, Error};

/// Counts since the start of the process.
#[derive(Debug)]
pub struct Counters {
    started: AtomicU64,
    running: AtomicU64,
    failed: [AtomicU64; Class::ALL.len()],
}

/// A query that is running until this is dropped.
#[derive(Debug)]
pub(crate) struct Running(Arc<Counters>);

impl Default for Counters {
    fn default() -> Self {
        Self { started: AtomicU64::new(0), running: AtomicU64::new(0), failed: array::from_fn(|_| AtomicU64::new(0)) }
    }
}

impl Counters {
    /// Counts a query that starts, and holds it as running.
    pub(crate) fn start(self: &Arc<Self>) -> Running {
        self.started.fetch_add(1, Ordering::Relaxed);
        self.running.fetch_add(1, Ordering::Relaxed);
        Running(Arc::clone(self))
    }

    /// Counts a call that failed.
    pub(crate) fn fail(&self, error: &Error) {
        if let Some(count) = self.failed.get(error.class as usize) {
            count.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// As Prometheus reads it.
    pub fn render(&self) -> String {
        let mut text = format!(
            "# HELP polder_queries_started_total Queries whose rows were asked for.\n\
             # TYPE polder_queries_started_total counter\n\
             polder_queries_started_total {}\n\
             # HELP polder_queries_running Queries that run, or whose rows wait to be read.\n\
             # TYPE polder_queries_running gauge\n\
             polder_queries_running {}\n\
             # HELP polder_calls_failed_total Calls that failed, planning and running alike, by class of error.\n\
             # TYPE polder_calls_failed_total counter\n",
            self.started.load(Ordering::Relaxed),
            self.running.load(Ordering::Relaxed),
        );
        for (class, count) in Class::ALL.iter().zip(&self.failed) {
            let class = class.as_str().replace(' ', "_");
            let _ = writeln!(text, "polder_calls_failed_total{{class=\"{class}\"}} {}", count.load(Ordering::Relaxed));
        }
        text
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        self.0.running.fetch_sub(1, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_query_runs_until_it_is_dropped_and_failures_count_under_their_class() {
        let counters = Arc::new(Counters::default());
        let running = counters.start();
        assert!(counters.render().contains("\npolder_queries_running 1\n"));
        drop(running);
        for class in Class::ALL {
            counters.fail(&Error::new(class, ""));
        }
        counters.fail(&Error::new(Class::Denied, ""));
        let text = counters.render();
        assert!(text.contains("\npolder_queries_started_total 1\n"), "{text}");
        assert!(text.contains("\npolder_queries_running 0\n"), "{text}");
        assert!(text.contains("{class=\"denied\"} 2\n"), "{text}");
        assert!(text.contains("{class=\"bug\"} 1\n"), "{text}");
    }
}
