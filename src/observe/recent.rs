//! The last statements of this process, in memory that has a bound.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::time::Duration;

use super::clock;
use super::record::{Origin, Outcome, Statement};

/// The most statements that are remembered.
const MOST: usize = 5_000;
/// The most bytes that they take, counted generously.
const BYTES: usize = 8 << 20;

/// A statement as it is remembered.
#[derive(Debug)]
pub struct Recorded {
    id: String,
    at: i64,
    origin: Origin,
    statement: Arc<Statement>,
    rows: AtomicU64,
    bytes: AtomicU64,
    end: OnceLock<(Outcome, u64)>,
}

impl Recorded {
    pub(super) fn new(statement: Arc<Statement>, origin: Origin) -> Self {
        Self {
            id: uuid::Uuid::new_v4().simple().to_string(),
            at: clock::now(),
            origin,
            statement,
            rows: AtomicU64::default(),
            bytes: AtomicU64::default(),
            end: OnceLock::new(),
        }
    }

    /// By what the records of one statement know each other.
    pub fn id(&self) -> &str {
        &self.id
    }

    /// When it began, in microseconds since 1970.
    pub fn at(&self) -> i64 {
        self.at
    }

    /// Where it came from.
    pub fn origin(&self) -> Origin {
        self.origin
    }

    /// Who asked what, and what it reads.
    pub fn statement(&self) -> &Statement {
        &self.statement
    }

    /// The rows and bytes that were made for its reader up to now.
    pub fn sent(&self) -> (u64, u64) {
        (self.rows.load(Ordering::Relaxed), self.bytes.load(Ordering::Relaxed))
    }

    /// How it ended, and after how many microseconds; nothing while it runs.
    pub fn ended(&self) -> Option<(Outcome, u64)> {
        self.end.get().copied()
    }

    pub(super) fn add(&self, rows: usize, bytes: usize) {
        self.rows.fetch_add(u64::try_from(rows).unwrap_or(u64::MAX), Ordering::Relaxed);
        self.bytes.fetch_add(u64::try_from(bytes).unwrap_or(u64::MAX), Ordering::Relaxed);
    }

    pub(super) fn end(&self, outcome: Outcome, took: Duration) {
        let took = u64::try_from(took.as_micros()).unwrap_or(u64::MAX);
        let _first_holds = self.end.set((outcome, took));
    }

    /// The bytes that it takes, not too few.
    fn weight(&self) -> usize {
        let asked = &self.statement.asked;
        let texts = |texts: &[String]| texts.iter().map(|text| text.len() + 24).sum::<usize>();
        let columns = self.statement.reads.iter().flat_map(|read| &read.columns);
        let columns: usize =
            columns.map(|column| 160 + column.column.len() + column.via.len() * 16 + texts(&column.policies)).sum();
        let reads: usize = self.statement.reads.iter().map(|read| 200 + read.product.len() + texts(&read.rows)).sum();
        512 + asked.statement.as_ref().map_or(0, String::len) + asked.who.len() + texts(&asked.groups) + columns + reads
    }
}

/// The last statements of this process.
#[derive(Debug, Default)]
pub struct Recent(Mutex<Kept>);

#[derive(Debug, Default)]
struct Kept {
    statements: VecDeque<(Arc<Recorded>, usize)>,
    bytes: usize,
}

impl Recent {
    pub(super) fn add(&self, recorded: Arc<Recorded>) {
        let weight = recorded.weight();
        let mut kept = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        kept.bytes = kept.bytes.saturating_add(weight);
        kept.statements.push_back((recorded, weight));
        let mut gone = Vec::new();
        while kept.statements.len() > MOST || (kept.bytes > BYTES && kept.statements.len() > 1) {
            let Some((oldest, weight)) = kept.statements.pop_front() else { break };
            kept.bytes = kept.bytes.saturating_sub(weight);
            gone.push(oldest);
        }
        drop(kept);
        drop(gone);
    }

    /// Those that `wanted` says, the oldest first.
    pub fn list(&self, wanted: impl Fn(&Recorded) -> bool) -> Vec<Arc<Recorded>> {
        let kept = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        kept.statements.iter().map(|(recorded, _)| recorded).filter(|recorded| wanted(recorded)).cloned().collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::observe::Asked;

    fn said(who: &str, text: String) -> Arc<Recorded> {
        let asked = Asked { who: who.to_owned(), statement: Some(text), ..Asked::default() };
        Arc::new(Recorded::new(Arc::new(Statement { asked, reads: Vec::new() }), Origin::default()))
    }

    #[test]
    fn so_many_are_remembered_and_the_oldest_are_forgotten() {
        let recent = Recent::default();
        (0..MOST + 3).for_each(|number| recent.add(said(&number.to_string(), String::new())));
        let kept = recent.list(|_| true);
        assert_eq!((kept.len(), kept.first().map(|kept| kept.statement().asked.who.as_str())), (MOST, Some("3")));
        assert_eq!(recent.list(|recorded| recorded.statement().asked.who == "17").len(), 1);
    }

    #[test]
    fn long_statements_take_no_more_memory_than_short_ones() {
        let recent = Recent::default();
        (0..1_000).for_each(|_| recent.add(said("ada", "x".repeat(16 << 10))));
        assert!(recent.list(|_| true).len() <= BYTES / (16 << 10));
        recent.add(said("eve", "x".repeat(2 * BYTES)));
        assert_eq!(recent.list(|_| true).len(), 1, "the newest is always told");
    }
}
