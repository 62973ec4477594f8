//! Until when a contract says that it lives: `endOfLife`, or else `endOfSupport`.
//!
//! A day, `2030-12-31`, which it lives through, or a time, `2030-12-31T09:30:10-08:00`. Without an offset it is one of UTC.

use std::time::{SystemTime, UNIX_EPOCH};

use crate::policy::filter::literal::{date, timestamp, timestamptz};

/// The names under which the standard has it, the one that counts first.
const NAMES: [&str; 2] = ["endOfLife", "endOfSupport"];

/// The position of the service level that says it, and what it says.
pub(super) fn of(sla: &[String]) -> Option<(usize, &str)> {
    NAMES.iter().find_map(|name| {
        sla.iter().enumerate().find_map(|(at, line)| {
            let (property, value) = line.split_once(' ')?;
            property.eq_ignore_ascii_case(name).then_some((at, value))
        })
    })
}

/// The second from which on it is over, counted from 1970.
pub(super) fn second(written: &str) -> Option<i64> {
    let after = date(written).map(|days| (i64::from(days) + 1) * 24 * 60 * 60);
    let time = || timestamptz(written).or_else(|| timestamp(written)).map(|micros| micros.div_euclid(1_000_000));
    after.or_else(time)
}

/// Whether a second has come.
pub(super) fn is_over(second: i64, now: SystemTime) -> bool {
    let now = now.duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs());
    i64::try_from(now).is_ok_and(|now| second <= now)
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn an_end_is_a_day_or_a_time() {
        assert_eq!(second("1970-01-01"), Some(86_400), "the day itself belongs to it");
        assert_eq!(second("1970-01-02T01:30:10+01:00"), Some(86_400 + 1_810));
        assert_eq!(second("1970-01-02T00:00:00"), Some(86_400));
        for written in ["soon", "2030", "2030-02-30", "31.12.2030", "2030-12-311", "2030-12-31T9", "2030-12-é1"] {
            assert_eq!(second(written), None, "{written}");
        }
    }

    #[test]
    fn a_day_is_over_when_the_next_one_begins() {
        let at = |seconds| UNIX_EPOCH + Duration::from_secs(seconds);
        let is_over = |now| second("1970-01-10").map(|second| is_over(second, now));
        assert_eq!(
            [is_over(at(0)), is_over(at(863_999)), is_over(at(864_000))],
            [Some(false), Some(false), Some(true)]
        );
        assert_eq!(is_over(UNIX_EPOCH - Duration::from_secs(1)), Some(false));
    }

    #[test]
    fn the_end_of_life_counts_before_that_of_support() {
        let sla = ["endOfSupport 2029-01-01", "freshness 1 h", "EndOfLife 2030-01-01"].map(str::to_owned);
        assert_eq!(of(&sla), Some((2, "2030-01-01")));
        assert_eq!(of(sla.get(..2).unwrap_or_default()), Some((0, "2029-01-01")));
        assert_eq!(of(&["endOfLife".to_owned()]), None);
    }
}
