//! How old a contract lets its data be, read out of its service levels.

use std::time::Duration;

use crate::starter::is_todo;

const DAY: u64 = 24 * 60 * 60;

/// The names under which the standard promises it, the plainest first.
const NAMES: [&str; 3] = ["freshness", "latency", "frequency"];

/// The longest time since the last change that the service levels allow, where one says it in a unit that is known.
pub(super) fn promised(sla: &[String]) -> Option<Duration> {
    NAMES.iter().find_map(|name| sla.iter().find_map(|line| read(line, name)))
}

/// The position of the plainest promise, where it is written and cannot be read.
pub(crate) fn unread(sla: &[String]) -> Option<usize> {
    let is = |line: &str, name: &str| line.split(' ').next().is_some_and(|word| word.eq_ignore_ascii_case(name));
    let plainest = NAMES.iter().find_map(|name| {
        let (at, line) = sla.iter().enumerate().find(|(_, line)| is(line, name))?;
        Some((at, line, read(line, name)))
    });
    let (at, line, promise) = plainest?;
    (promise.is_none() && !line.split(' ').any(is_todo)).then_some(at)
}

fn read(line: &str, name: &str) -> Option<Duration> {
    let mut words = line.split_whitespace();
    let (property, value, unit) = (words.next()?, words.next()?, words.next()?);
    if !property.eq_ignore_ascii_case(name) || words.next().is_some() {
        return None;
    }
    duration(value, unit)
}

/// A length of time, where the unit is known.
pub(crate) fn duration(value: &str, unit: &str) -> Option<Duration> {
    let unit = match unit.to_ascii_lowercase().as_str() {
        "s" | "sec" | "second" | "seconds" => 1,
        "min" | "minute" | "minutes" => 60,
        "h" | "hr" | "hour" | "hours" => 60 * 60,
        "d" | "day" | "days" => DAY,
        "w" | "week" | "weeks" => 7 * DAY,
        // A promise is not taken for shorter than it may be.
        "mo" | "month" | "months" => 31 * DAY,
        "y" | "yr" | "year" | "years" => 366 * DAY,
        _ => return None,
    };
    let value: f64 = value.parse().ok()?;
    Duration::try_from_secs_f64(value * f64::from(u32::try_from(unit).ok()?)).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_promise_is_a_number_and_a_known_unit() {
        let check = |lines: &[&str], expect: Option<u64>| {
            let lines: Vec<String> = lines.iter().map(|&line| line.to_owned()).collect();
            assert_eq!(promised(&lines), expect.map(Duration::from_secs), "{lines:?}");
        };
        check(&["freshness 1 h"], Some(3_600));
        check(&["availability 99 percent", "latency 0.5 d", "Freshness 15 min"], Some(900));
        check(&["latency 4 days"], Some(4 * DAY));
        check(&["freshness soon", "freshness 1 moon", "freshness -1 h", "freshness 1e300 y", "freshness 1"], None);
        check(&[], None);
    }

    #[test]
    fn the_plainest_promise_is_the_one_that_has_to_be_read() {
        let check = |lines: &[&str], expect: Option<usize>| {
            let lines: Vec<String> = lines.iter().map(|&line| line.to_owned()).collect();
            assert_eq!(unread(&lines), expect, "{lines:?}");
        };
        check(&["latency 4 h", "freshness soon"], Some(1));
        check(&["frequency daily", "Freshness 1 h"], None);
        check(&["availability always", "frequency 1"], Some(1));
        check(&["latency"], Some(0));
        check(&["availability 99 percent"], None);
        check(&["freshness TODO: how old TODO: h or d"], None);
    }
}
