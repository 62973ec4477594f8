//! What a person sees while a statement takes long: a line on the terminal with time, rows and bytes, until there are rows
//! to see instead.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::time::{Duration, Instant};

use datafusion::arrow::array::{Array, RecordBatch};
use indicatif::{HumanBytes, HumanCount, ProgressBar, ProgressDrawTarget, ProgressStyle};

/// How long a statement may take before anything is said.
const PATIENCE: Duration = Duration::from_secs(1);

/// How often the line is drawn again.
pub const TICK: Duration = Duration::from_millis(100);

/// The progress of one statement. Clones are the same one.
#[derive(Debug, Clone)]
pub struct Progress(Arc<State>);

#[derive(Debug)]
struct State {
    begun: Instant,
    rows: AtomicU64,
    bytes: AtomicU64,
    /// Nothing is drawn any more.
    stopped: AtomicBool,
    /// How long it took, once all rows have come.
    took: OnceLock<Duration>,
    bar: Mutex<Option<ProgressBar>>,
}

impl Progress {
    /// Begins now. It stays silent where nobody looks.
    pub fn new(watched: bool) -> Self {
        Self(Arc::new(State {
            begun: Instant::now(),
            rows: AtomicU64::new(0),
            bytes: AtomicU64::new(0),
            stopped: AtomicBool::new(!watched),
            took: OnceLock::new(),
            bar: Mutex::new(None),
        }))
    }

    /// Counts rows that have come.
    pub fn add(&self, batch: &RecordBatch) {
        let bytes: usize =
            batch.columns().iter().map(|column| column.to_data().get_slice_memory_size().unwrap_or(0)).sum();
        self.0.rows.fetch_add(u64::try_from(batch.num_rows()).unwrap_or(0), Ordering::Relaxed);
        self.0.bytes.fetch_add(u64::try_from(bytes).unwrap_or(0), Ordering::Relaxed);
    }

    /// How many rows have come.
    pub fn rows(&self) -> u64 {
        self.0.rows.load(Ordering::Relaxed)
    }

    /// All rows have come: what is read of them now takes the reader's time.
    pub fn end(&self) {
        self.0.took.get_or_init(|| self.0.begun.elapsed());
    }

    /// How long it has taken.
    pub fn elapsed(&self) -> Duration {
        self.0.took.get().copied().unwrap_or_else(|| self.0.begun.elapsed())
    }

    /// Draws the line, where it is time.
    pub fn tick(&self) {
        let mut bar = self.0.bar.lock().unwrap_or_else(PoisonError::into_inner);
        if self.0.stopped.load(Ordering::Relaxed) || self.elapsed() < PATIENCE {
            return;
        }
        let bar = bar.get_or_insert_with(|| {
            let bar = ProgressBar::with_draw_target(None, ProgressDrawTarget::stderr());
            if let Ok(style) = ProgressStyle::with_template("{spinner} {msg}") {
                bar.set_style(style);
            }
            bar
        });
        bar.set_message(self.said());
        bar.tick();
    }

    fn said(&self) -> String {
        let (rows, bytes) = (self.rows(), self.0.bytes.load(Ordering::Relaxed));
        let seconds = self.elapsed().as_secs();
        match rows {
            0 => format!("{seconds} s, no row yet; Ctrl-C cancels"),
            1 => format!("{seconds} s, 1 row, {}; Ctrl-C cancels", HumanBytes(bytes)),
            rows => format!("{seconds} s, {} rows, {}; Ctrl-C cancels", HumanCount(rows), HumanBytes(bytes)),
        }
    }

    /// Takes the line away for good: something else will be on the terminal.
    pub fn stop(&self) {
        let mut bar = self.0.bar.lock().unwrap_or_else(PoisonError::into_inner);
        self.0.stopped.store(true, Ordering::Relaxed);
        if let Some(bar) = bar.take() {
            bar.finish_and_clear();
        }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "tests")]
mod tests {
    use datafusion::arrow::array::{ArrayRef, Int64Array};

    use super::*;

    #[test]
    fn it_counts_what_came_and_not_what_a_slice_was_cut_from() {
        let column: ArrayRef = Arc::new(Int64Array::from(vec![1; 1000]));
        let batch = RecordBatch::try_from_iter([("a", column)]).unwrap();
        let progress = Progress::new(false);
        assert!(progress.said().contains("no row yet"));
        progress.add(&batch.slice(0, 10));
        assert_eq!(progress.rows(), 10);
        assert!(progress.said().contains("10 rows, 80 B"), "{}", progress.said());
    }
}
