//! How statements end and what they cost, in numbers: by the way that they came and by their outcome, and by nobody's name.

use std::array;
use std::fmt::Write as _;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use super::record::{Origin, Outcome, Over};
use crate::error::Class;

/// The bounds of the buckets of times.
const BOUNDS: [Duration; 11] = [
    Duration::from_millis(1),
    Duration::from_millis(5),
    Duration::from_millis(10),
    Duration::from_millis(50),
    Duration::from_millis(100),
    Duration::from_millis(500),
    Duration::from_secs(1),
    Duration::from_secs(5),
    Duration::from_secs(10),
    Duration::from_secs(60),
    Duration::from_secs(300),
];

/// A figure of each way: its name, what it says, and where it is counted.
type Figure<T> = (&'static str, &'static str, fn(&Door) -> &T);

/// What is counted of all statements.
#[derive(Debug, Default)]
pub(super) struct Figures([Door; Over::ALL.len()]);

/// What is counted of those that came by one way.
#[derive(Debug)]
struct Door {
    whole: AtomicU64,
    failed: [AtomicU64; Class::ALL.len()],
    rows: AtomicU64,
    bytes: AtomicU64,
    waited: Times,
    first: Times,
    took: Times,
}

impl Default for Door {
    fn default() -> Self {
        Self {
            whole: AtomicU64::default(),
            failed: array::from_fn(|_| AtomicU64::default()),
            rows: AtomicU64::default(),
            bytes: AtomicU64::default(),
            waited: Times::default(),
            first: Times::default(),
            took: Times::default(),
        }
    }
}

/// What a statement that ran took.
#[derive(Debug, Clone, Copy)]
pub(super) struct Taken {
    /// The time that it waited for its turn, if it had one.
    pub(super) waited: Option<Duration>,
    /// The time up to its first rows, if there were any.
    pub(super) first: Option<Duration>,
    /// The time up to its end.
    pub(super) took: Duration,
    /// Rows and bytes of its answer.
    pub(super) sent: (u64, u64),
}

impl Figures {
    fn door(&self, origin: Origin) -> Option<&Door> {
        self.0.get(origin.over as usize)
    }

    /// Counts a statement that did not run.
    pub(super) fn refused(&self, origin: Origin, class: Class) {
        if let Some(door) = self.door(origin) {
            door.outcome(Outcome::Failed(class));
        }
    }

    /// Counts one that ran.
    pub(super) fn ended(&self, origin: Origin, outcome: Outcome, taken: Taken) {
        let Some(door) = self.door(origin) else { return };
        door.outcome(outcome);
        let (rows, bytes) = taken.sent;
        door.rows.fetch_add(rows, Ordering::Relaxed);
        door.bytes.fetch_add(bytes, Ordering::Relaxed);
        taken.waited.inspect(|waited| door.waited.add(*waited));
        taken.first.inspect(|first| door.first.add(*first));
        door.took.add(taken.took);
    }

    /// As Prometheus reads it.
    pub(super) fn render(&self) -> String {
        let mut text = head("polder_statements_ended_total", "counter", "Statements that ended or were refused.");
        for (over, door) in Over::ALL.into_iter().zip(&self.0) {
            let failed = Class::ALL.into_iter().map(Outcome::Failed).zip(&door.failed);
            for (outcome, count) in [(Outcome::Whole, &door.whole)].into_iter().chain(failed) {
                let (door, outcome) = (over.as_str(), outcome.as_str().replace(' ', "_"));
                let count = count.load(Ordering::Relaxed);
                let _into_text =
                    writeln!(text, "polder_statements_ended_total{{door=\"{door}\",outcome=\"{outcome}\"}} {count}");
            }
        }
        let counters: [Figure<AtomicU64>; 2] = [
            ("polder_statement_rows_total", "Rows that were made for readers.", |door| &door.rows),
            ("polder_statement_bytes_total", "Bytes that were made for readers.", |door| &door.bytes),
        ];
        for (name, help, count) in counters {
            text.push_str(&head(name, "counter", help));
            for (over, door) in Over::ALL.into_iter().zip(&self.0) {
                let (door, count) = (over.as_str(), count(door).load(Ordering::Relaxed));
                let _into_text = writeln!(text, "{name}{{door=\"{door}\"}} {count}");
            }
        }
        let times: [Figure<Times>; 3] = [
            ("polder_statement_wait_seconds", "How long statements wait for their turn.", |door| &door.waited),
            ("polder_statement_first_rows_seconds", "From the start of statements to their first rows.", |door| {
                &door.first
            }),
            ("polder_statement_seconds", "From the start of statements to their end.", |door| &door.took),
        ];
        for (name, help, times) in times {
            text.push_str(&head(name, "histogram", help));
            for (over, door) in Over::ALL.into_iter().zip(&self.0) {
                times(door).render(name, over, &mut text);
            }
        }
        text
    }
}

fn head(name: &str, kind: &str, help: &str) -> String {
    format!("# HELP {name} {help}\n# TYPE {name} {kind}\n")
}

impl Door {
    fn outcome(&self, outcome: Outcome) {
        let count = match outcome {
            Outcome::Whole => Some(&self.whole),
            Outcome::Failed(class) => self.failed.get(class as usize),
        };
        if let Some(count) = count {
            count.fetch_add(1, Ordering::Relaxed);
        }
    }
}

/// How often something took how long.
#[derive(Debug, Default)]
struct Times {
    /// By the first bound that holds.
    within: [AtomicU64; BOUNDS.len()],
    longer: AtomicU64,
    micros: AtomicU64,
}

impl Times {
    fn add(&self, time: Duration) {
        let bucket = BOUNDS.iter().position(|bound| time <= *bound).and_then(|place| self.within.get(place));
        bucket.unwrap_or(&self.longer).fetch_add(1, Ordering::Relaxed);
        self.micros.fetch_add(u64::try_from(time.as_micros()).unwrap_or(u64::MAX), Ordering::Relaxed);
    }

    fn render(&self, name: &str, over: Over, text: &mut String) {
        let door = over.as_str();
        let mut count = 0_u64;
        for (bound, within) in BOUNDS.iter().zip(&self.within) {
            count = count.saturating_add(within.load(Ordering::Relaxed));
            let bound = bound.as_secs_f64();
            let _into_text = writeln!(text, "{name}_bucket{{door=\"{door}\",le=\"{bound}\"}} {count}");
        }
        count = count.saturating_add(self.longer.load(Ordering::Relaxed));
        let sum = Duration::from_micros(self.micros.load(Ordering::Relaxed)).as_secs_f64();
        let _into_text = writeln!(
            text,
            "{name}_bucket{{door=\"{door}\",le=\"+Inf\"}} {count}\n\
             {name}_sum{{door=\"{door}\"}} {sum}\n\
             {name}_count{{door=\"{door}\"}} {count}"
        );
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn statements_count_under_their_outcome_and_their_times_in_buckets_that_add_up() {
        let figures = Figures::default();
        let origin = Origin { over: Over::Http, ..Origin::default() };
        let taken = |millis| Taken {
            waited: Some(Duration::ZERO),
            first: None,
            took: Duration::from_millis(millis),
            sent: (3, 100),
        };
        figures.ended(origin, Outcome::Whole, taken(5));
        figures.ended(origin, Outcome::Whole, taken(70));
        figures.ended(origin, Outcome::Failed(Class::Limit), taken(400_000));
        figures.refused(origin, Class::UnknownName);
        let text = figures.render();
        for line in [
            "polder_statements_ended_total{door=\"http\",outcome=\"ok\"} 2",
            "polder_statements_ended_total{door=\"http\",outcome=\"limit\"} 1",
            "polder_statements_ended_total{door=\"http\",outcome=\"unknown_name\"} 1",
            "polder_statements_ended_total{door=\"flight\",outcome=\"ok\"} 0",
            "polder_statement_rows_total{door=\"http\"} 9",
            "polder_statement_bytes_total{door=\"http\"} 300",
            "polder_statement_wait_seconds_bucket{door=\"http\",le=\"0.001\"} 3",
            "polder_statement_first_rows_seconds_count{door=\"http\"} 0",
            "polder_statement_seconds_bucket{door=\"http\",le=\"0.001\"} 0",
            "polder_statement_seconds_bucket{door=\"http\",le=\"0.005\"} 1",
            "polder_statement_seconds_bucket{door=\"http\",le=\"0.1\"} 2",
            "polder_statement_seconds_bucket{door=\"http\",le=\"300\"} 2",
            "polder_statement_seconds_bucket{door=\"http\",le=\"+Inf\"} 3",
            "polder_statement_seconds_sum{door=\"http\"} 400.075",
            "polder_statement_seconds_count{door=\"http\"} 3",
        ] {
            assert!(text.lines().any(|found| found == line), "`{line}` in:\n{text}");
        }
    }
}
