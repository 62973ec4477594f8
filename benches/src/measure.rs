//! What a turn costs, and what many turns say together.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::sync::{Mutex, PoisonError};
use std::time::Instant;

/// What one turn took, in seconds.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Cost {
    pub(crate) wall: f64,
    /// Of all threads of the process together; nothing else may run in it meanwhile.
    pub(crate) cpu: f64,
}

/// Runs something once.
pub(crate) async fn once<T>(work: impl Future<Output = T>) -> (T, Cost) {
    let (cpu, begin) = (cpu_seconds(), Instant::now());
    let done = work.await;
    let wall = begin.elapsed().as_secs_f64();
    (done, Cost { wall, cpu: cpu_seconds() - cpu })
}

/// What the threads of this process have computed so far. Linux tells it to the nanosecond; elsewhere it stays 0.
///
/// A thread that ended is told by nobody, so what it had computed when it was last seen is kept.
fn cpu_seconds() -> f64 {
    static SEEN: Mutex<(f64, BTreeMap<OsString, f64>)> = Mutex::new((0.0, BTreeMap::new()));
    let Ok(threads) = std::fs::read_dir("/proc/self/task") else { return 0.0 };
    let mut seen = SEEN.lock().unwrap_or_else(PoisonError::into_inner);
    let (total, last) = &mut *seen;
    let mut now = BTreeMap::new();
    for thread in threads.flatten() {
        let text = std::fs::read_to_string(thread.path().join("schedstat")).unwrap_or_default();
        let Some(Ok(spent)) = text.split_whitespace().next().map(str::parse::<f64>) else { continue };
        let before = last.get(&thread.file_name()).copied().filter(|before| *before <= spent);
        *total += spent - before.unwrap_or_default();
        now.insert(thread.file_name(), spent);
    }
    *last = now;
    *total / 1e9
}

/// What all threads of this process have computed so far, to a hundredth of a second, those that ended included. Linux
/// tells it; elsewhere it stays 0.
pub(crate) fn process_seconds() -> f64 {
    seconds_of("self")
}

/// The same of another process, which is named by its number.
pub(crate) fn seconds_of(process: &str) -> f64 {
    let text = std::fs::read_to_string(format!("/proc/{process}/stat")).unwrap_or_default();
    // The name of the process stands in brackets and may hold anything; the times are the twelfth and thirteenth behind it.
    let behind = text.rsplit_once(')').map_or("", |(_, behind)| behind);
    let ticks = behind.split_whitespace().skip(11).take(2).filter_map(|ticks| ticks.parse::<f64>().ok());
    ticks.sum::<f64>() / 100.0
}

/// The middle of some numbers, or of the two in the middle.
pub(crate) fn median(numbers: impl IntoIterator<Item = f64>) -> f64 {
    let mut numbers: Vec<f64> = numbers.into_iter().collect();
    numbers.sort_by(f64::total_cmp);
    let upper = numbers.len() / 2;
    let lower = numbers.len().saturating_sub(1) / 2;
    match (numbers.get(lower), numbers.get(upper)) {
        (Some(a), Some(b)) => (a + b) / 2.0,
        _ => f64::NAN,
    }
}

/// How far the middle half of the turns is apart, as a part of their median.
pub(crate) fn spread(numbers: &[f64]) -> f64 {
    let mut sorted = numbers.to_vec();
    sorted.sort_by(f64::total_cmp);
    let at = |quarter: usize| sorted.get((sorted.len().saturating_sub(1)) * quarter / 4).copied().unwrap_or(f64::NAN);
    (at(3) - at(1)) / median(sorted.iter().copied())
}

pub(crate) fn geometric_mean(numbers: &[f64]) -> f64 {
    (numbers.iter().map(|number| number.ln()).sum::<f64>() / numbers.len() as f64).exp()
}

/// The memory of this process now and at its most, in bytes.
pub(crate) fn memory() -> (u64, u64) {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let of = |key: &str| {
        let line = status.lines().find_map(|line| line.strip_prefix(key))?;
        line.split_whitespace().next()?.parse::<u64>().ok().map(|kib| kib << 10)
    };
    (of("VmRSS:").unwrap_or_default(), of("VmHWM:").unwrap_or_default())
}
