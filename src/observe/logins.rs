//! Logins that failed, counted by name and network until somebody writes them down. However many there are, they become
//! few records of a bounded size.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::sync::{Mutex, PoisonError};

use serde::Serialize;

/// How many pairs are told apart until they are written; what is beyond counts as one.
const APART: usize = 256;

type Pair = (Option<String>, Option<IpAddr>);

/// Logins that failed since they were written last.
#[derive(Debug, Default)]
pub(super) struct Logins(Mutex<BTreeMap<Pair, u64>>);

/// What is written of them.
#[derive(Debug, Serialize, PartialEq, Eq)]
pub(super) struct Failed {
    failed: Vec<Times>,
}

#[derive(Debug, Serialize, PartialEq, Eq)]
struct Times {
    who: Option<String>,
    from: Option<IpAddr>,
    times: u64,
}

impl Logins {
    pub(super) fn failed(&self, user: Option<&str>, network: Option<IpAddr>) {
        let mut counts = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let pair = (user.map(str::to_owned), network);
        let pair = if counts.len() < APART || counts.contains_key(&pair) { pair } else { (None, None) };
        let count = counts.entry(pair).or_default();
        *count = count.saturating_add(1);
    }

    /// Takes what is to be written, if anything is.
    pub(super) fn take(&self) -> Option<Failed> {
        let counts = std::mem::take(&mut *self.0.lock().unwrap_or_else(PoisonError::into_inner));
        let failed: Vec<Times> = counts.into_iter().map(|((who, from), times)| Times { who, from, times }).collect();
        (!failed.is_empty()).then_some(Failed { failed })
    }

    /// Puts back what could not be written.
    pub(super) fn restore(&self, failed: Failed) {
        let mut counts = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        for Times { who, from, times } in failed.failed {
            let pair = (who, from);
            let pair = if counts.len() < APART || counts.contains_key(&pair) { pair } else { (None, None) };
            let count = counts.entry(pair).or_default();
            *count = count.saturating_add(times);
        }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "tests")]
mod tests {
    use super::*;

    #[test]
    fn failures_are_counted_and_a_flood_of_them_stays_small() {
        let logins = Logins::default();
        assert_eq!(logins.take(), None);
        let here: Option<IpAddr> = Some([192, 0, 2, 1].into());
        (0..3).for_each(|_| logins.failed(Some("ada"), here));
        let failed = logins.take().unwrap();
        assert_eq!(failed, Failed { failed: vec![Times { who: Some("ada".to_owned()), from: here, times: 3 }] });
        logins.restore(failed);
        logins.failed(Some("ada"), here);
        for address in 0..10_000_u32 {
            logins.failed(None, Some(IpAddr::V4(address.into())));
        }
        let failed = logins.take().unwrap().failed;
        assert!(failed.len() <= APART + 1);
        assert_eq!(failed.iter().map(|times| times.times).sum::<u64>(), 10_004);
    }
}
