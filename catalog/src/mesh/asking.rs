//! How a domain's catalog is asked: how old an answer may be, and how long one is waited for.

use std::time::Duration;

use crate::document::fields::Fields;
use crate::document::{Report, quote};

/// What an answer may be at most: what a catalog takes back holds here until then.
const OLDEST: Duration = Duration::from_secs(60 * 60);
/// How long one waits for a catalog or a store at most, and at least.
const LONGEST: Duration = Duration::from_secs(120);
const SHORTEST: Duration = Duration::from_millis(100);

/// How a catalog is asked. What is not said depends on the catalog.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Asking {
    /// How old what it said of a table may be before it is asked again. Zero asks for each query.
    pub staleness: Option<Duration>,
    /// How long it, or the store of its tables, may take to say where a table stands.
    pub timeout: Option<Duration>,
}

/// Reads the keys that every kind of catalog has.
pub(super) fn read(fields: &mut Fields<'_>, report: &mut Report) -> Asking {
    let staleness = duration("domain/time", "staleness", Duration::ZERO, OLDEST, fields, report);
    let timeout = duration("domain/time", "timeout", SHORTEST, LONGEST, fields, report);
    Asking { staleness, timeout }
}

/// A time within bounds; a finding of that code for any other.
pub(super) fn duration(
    code: &'static str,
    key: &'static str,
    least: Duration,
    most: Duration,
    fields: &mut Fields<'_>,
    report: &mut Report,
) -> Option<Duration> {
    let text = fields.scalar(key, report)?;
    let read = time(text).filter(|read| (least..=most).contains(read));
    if read.is_none() {
        let message = format!("`{key}` is {}, and no time from {least:?} to {most:?}", quote(text));
        report.error(code, fields.key_place(key), message).help("write a number and `ms`, `s`, `m` or `h`: `3s`");
    }
    read
}

/// A time, from its whole number and its unit.
pub fn time(text: &str) -> Option<Duration> {
    let (number, unit) = text.split_at(text.find(|letter: char| !letter.is_ascii_digit())?);
    let number: u32 = number.parse().ok()?;
    let unit = match unit.trim() {
        "ms" => Duration::from_millis(1),
        "s" => Duration::from_secs(1),
        "m" => Duration::from_secs(60),
        "h" => Duration::from_secs(60 * 60),
        _ => return None,
    };
    unit.checked_mul(number)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_time_is_a_whole_number_and_a_unit() {
        for (text, expect) in [("3s", Some(3_000)), ("0s", Some(0)), ("250 ms", Some(250)), ("2m", Some(120_000))] {
            assert_eq!(time(text), expect.map(Duration::from_millis), "{text}");
        }
        for text in ["", "3", "s", "-1s", "1.5s", "3 sec", "99999999999s", "1s2"] {
            assert_eq!(time(text), None, "{text}");
        }
    }
}
