//! Service levels that a mesh asks for, held against those that a contract promises.
//!
//! ```text
//! freshness: 24 h           a contract promises `freshness 1 h`: better. `freshness 2 d`, or none: a finding
//! availability: 99 percent  a contract promises `availability 99.9 percent`: better
//! ```

use std::fmt;
use std::time::Duration;

use crate::contract::duration;

/// What of is better when there is less of it; of anything else more is.
const LESS_IS_BETTER: [&str; 6] = ["freshness", "latency", "frequency", "timeToDetect", "timeToNotify", "timeToRepair"];

/// A level that every product promises at least.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Level {
    property: String,
    written: String,
    amount: Amount,
}

#[derive(Debug, Clone, PartialEq)]
enum Amount {
    Time(Duration),
    /// A number of something.
    Number(f64, String),
}

impl fmt::Display for Level {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.property, self.written)
    }
}

impl Amount {
    fn parse(text: &str) -> Option<Self> {
        let mut words = text.split_whitespace();
        let (value, unit) = (words.next()?, words.next().unwrap_or_default());
        if words.next().is_some() {
            return None;
        }
        if let Some(time) = duration(value, unit) {
            return Some(Self::Time(time));
        }
        let number: f64 = value.strip_suffix('%').unwrap_or(value).parse().ok()?;
        let unit = if value.ends_with('%') || unit == "%" { "percent" } else { unit };
        number.is_finite().then(|| Self::Number(number, unit.to_lowercase()))
    }

    /// How it compares with another of its kind.
    fn compare(&self, other: &Self) -> Option<std::cmp::Ordering> {
        match (self, other) {
            (Self::Time(own), Self::Time(other)) => Some(own.cmp(other)),
            (Self::Number(own, unit), Self::Number(other, other_unit)) if unit == other_unit => own.partial_cmp(other),
            _ => None,
        }
    }
}

/// A length of time: `30 d`.
pub(super) fn length(text: &str) -> Option<Duration> {
    match Amount::parse(text)? {
        Amount::Time(time) => Some(time),
        Amount::Number(..) => None,
    }
}

/// What a contract promises of a property, as it is written.
fn promised<'s>(sla: &'s [String], property: &str) -> impl Iterator<Item = &'s str> {
    sla.iter().filter_map(move |line| {
        let (name, rest) = line.split_once(' ')?;
        name.eq_ignore_ascii_case(property).then_some(rest)
    })
}

impl Level {
    pub fn parse(property: &str, written: &str) -> Option<Self> {
        let (property, written) = (property.to_owned(), written.to_owned());
        Some(Self { amount: Amount::parse(&written)?, property, written })
    }

    /// What it is about.
    pub fn property(&self) -> &str {
        &self.property
    }

    /// What is wrong with the levels of a contract, if anything is.
    pub fn fault(&self, sla: &[String]) -> Option<String> {
        let Self { property, written, .. } = self;
        if promised(sla, property).next().is_none() {
            return Some(format!("promises no {property}, and the standards ask for `{written}`"));
        }
        promised(sla, property).find_map(|own| self.fault_of(own))
    }

    /// What is wrong with one promise.
    fn fault_of(&self, own: &str) -> Option<String> {
        let Self { property, written, amount } = self;
        let Some(order) = Amount::parse(own).and_then(|own| own.compare(amount)) else {
            return Some(format!("promises {property} `{own}`, which cannot be held against `{written}`"));
        };
        let less = LESS_IS_BETTER.iter().any(|name| name.eq_ignore_ascii_case(property));
        let is_worse = if less { order.is_gt() } else { order.is_lt() };
        is_worse.then(|| format!("promises {property} `{own}`, and the standards ask for `{written}`"))
    }
}

/// How long data may be kept.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Bounds {
    pub least: Option<Duration>,
    pub most: Option<Duration>,
}

impl Bounds {
    /// What is wrong with a contract's retention, where it states one.
    pub fn fault(&self, sla: &[String]) -> Option<String> {
        promised(sla, "retention").find_map(|own| self.fault_of(own))
    }

    fn fault_of(&self, own: &str) -> Option<String> {
        let Some(time) = length(own) else {
            return Some(format!("keeps its data for `{own}`, which is no length of time"));
        };
        if self.least.is_some_and(|least| time < least) {
            return Some(format!("keeps its data for `{own}`, which is shorter than the standards allow"));
        }
        let is_longer = self.most.is_some_and(|most| time > most);
        is_longer.then(|| format!("keeps its data for `{own}`, which is longer than the standards allow"))
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "tests")]
mod tests {
    use super::*;

    #[test]
    fn levels_are_held_against_promises_the_right_way_round() {
        let faulty = |property: &str, asked: &str, promised: &[&str]| {
            let lines: Vec<String> = promised.iter().map(|line| (*line).to_owned()).collect();
            Level::parse(property, asked).unwrap().fault(&lines)
        };
        assert_eq!(faulty("freshness", "24 h", &["freshness 1 h"]), None);
        assert_eq!(faulty("freshness", "24 h", &["Freshness 1 d"]), None);
        assert!(faulty("freshness", "24 h", &["freshness 1 d", "freshness 2 d"]).unwrap().contains("`2 d`"));
        assert!(faulty("freshness", "24 h", &["freshness 2 d"]).unwrap().contains("`2 d`"));
        assert!(faulty("freshness", "24 h", &["latency 1 h"]).unwrap().contains("no freshness"));
        assert!(faulty("freshness", "24 h", &["freshness soon"]).unwrap().contains("cannot be held"));
        assert_eq!(faulty("availability", "99 percent", &["availability 99.9 percent"]), None);
        assert_eq!(faulty("availability", "99 %", &["availability 99.9%"]), None);
        assert!(faulty("availability", "99 percent", &["availability 98 percent"]).is_some());
        assert!(faulty("availability", "99 percent", &["availability 99 nines"]).is_some());
        assert_eq!(Level::parse("freshness", "a while"), None);
        assert_eq!(Level::parse("freshness", "1 h or so"), None);
    }

    #[test]
    fn retention_is_bounded_from_both_sides() {
        let bounds = Bounds { least: length("30 d"), most: length("3 y") };
        let of = |line: &str| bounds.fault(&[line.to_owned()]);
        assert_eq!((of("retention 1 y"), of("availability 99 percent")), (None, None));
        assert!(of("retention 1 d").unwrap().contains("shorter"));
        assert!(of("retention 10 y").unwrap().contains("longer"));
        assert!(of("retention forever").unwrap().contains("no length"));
    }
}
