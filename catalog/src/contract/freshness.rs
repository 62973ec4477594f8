//! Service levels, each for the schema objects that it is about, and how old the data may be by them.
//!
//! ```text
//! { property: freshness, value: 1, unit: h }                  of every object
//! { property: freshness, value: 9, unit: d, element: tab }    of `tab` alone, as `tab.column` and `tab, other` are of it
//! ```

use std::collections::BTreeMap;
use std::time::{Duration, SystemTime};

use super::keys::{self, check as known};
use super::{Contract, Status, end};
use crate::document::fields::Fields;
use crate::document::{Place, Report, nearest, quote};
use crate::starter::is_todo;

const DAY: u64 = 24 * 60 * 60;

/// The names under which the standard promises it, the plainest first.
const NAMES: [&str; 3] = ["freshness", "latency", "frequency"];

/// A service level of a contract.
#[derive(Debug)]
pub(super) struct Level {
    /// `freshness 1 h`
    line: String,
    /// What it is about, each as `object` or `object.property`; nothing for all.
    elements: Vec<String>,
    place: Place,
    element_place: Place,
}

impl Level {
    fn is_of(&self, object: &str) -> bool {
        self.elements.is_empty() || self.elements.iter().any(|element| is_in(element, object))
    }
}

fn is_in(element: &str, object: &str) -> bool {
    element.strip_prefix(object).is_some_and(|rest| rest.is_empty() || rest.starts_with('.'))
}

/// The service levels that a contract states.
pub(super) fn levels(
    fields: &mut Fields<'_>,
    status: Option<Status>,
    now: SystemTime,
    report: &mut Report,
) -> Vec<Level> {
    let mut levels: Vec<Level> = Vec::new();
    for node in fields.list("slaProperties", report) {
        let Some(mut sla) = Fields::of(node, "a service level", report) else { continue };
        known(&sla, keys::SLA, report);
        let property = sla.required("property", report);
        let value = sla.scalar("value", report);
        let unit = sla.text("unit", report);
        let elements = sla.text("element", report).unwrap_or_default().split(',').map(str::trim);
        let elements = elements.filter(|element| !element.is_empty()).map(str::to_owned).collect();
        if let Some(property) = property {
            levels.push(Level {
                line: [Some(property), value, unit].into_iter().flatten().collect::<Vec<_>>().join(" "),
                elements,
                place: node.place.clone(),
                element_place: sla.key_place("element").clone(),
            });
        }
    }
    let lines: Vec<String> = levels.iter().map(|level| level.line.clone()).collect();
    let ends = end::of(&lines).and_then(|(at, end)| Some((end, &levels.get(at)?.place)));
    if let Some((end, place)) = ends.filter(|(end, _)| !is_todo(end)) {
        match end::second(end) {
            None => report
                .warning("contract/service-level", place, format!("{} is no day on which anything ends", quote(end)))
                .help("write it like `2030-12-31`"),
            Some(second) if status == Some(Status::Deprecated) && end::is_over(second, now) => report
                .warning("contract/ended", place, format!("the contract is deprecated, and ended on {}", quote(end)))
                .help("write `status: retired`, so that it is no longer served, or promise a later day"),
            Some(_) => {}
        }
    }
    levels
}

/// Those that are about a schema object, as they are written.
pub(super) fn of_object(levels: &[Level], object: &str) -> Vec<String> {
    levels.iter().filter(|level| level.is_of(object)).map(|level| level.line.clone()).collect()
}

/// Whether each level is about something, and each object's age can be read. `names` are those of all objects.
pub(super) fn check(levels: &[Level], names: &[&str], objects: &[(String, Contract)], report: &mut Report) {
    let refuses = objects.iter().any(|(_, contract)| contract.refuses_stale);
    for level in levels {
        let of_age = NAMES.iter().any(|name| is_called(&level.line, name));
        for element in level.elements.iter().filter(|element| !names.iter().any(|name| is_in(element, name))) {
            let message =
                format!("{} is no schema object, so {} is promised of nothing", quote(element), quote(&level.line));
            let object = element.split('.').next().unwrap_or_default();
            let help = match nearest(object, names.iter().copied()) {
                Some(name) => format!("did you mean `{name}`? a level without `element` is about all objects"),
                None => format!("write one of {}, or leave `element` out: then it is about all", names.join(", ")),
            };
            // Who refuses what is too old must not be served at any age for a slip.
            match refuses && of_age {
                true => report.error("contract/stale", &level.element_place, message).help(help),
                false => report.warning("contract/service-level", &level.element_place, message).help(help),
            }
        }
    }
    // Each line once, and whether somebody is refused by it.
    let mut unreadable: BTreeMap<usize, bool> = BTreeMap::new();
    for (name, contract) in objects {
        let own: Vec<usize> =
            levels.iter().enumerate().filter(|(_, level)| level.is_of(name)).map(|(at, _)| at).collect();
        let refuses = contract.refuses_stale;
        match unread(&contract.sla).and_then(|at| own.get(at)) {
            Some(at) => *unreadable.entry(*at).or_default() |= refuses,
            None if refuses && contract.freshness().is_none() => {
                let message = format!("{} refuses what is too old (`polder.stale`), and promises no age", quote(name));
                report.warning("contract/stale", &contract.place, message).help(
                    "write `slaProperties: [{ property: freshness, value: 1, unit: h }]`, or take `polder.stale` away",
                );
            }
            None => {}
        }
    }
    for (at, refuses) in unreadable {
        let Some(Level { line, place, .. }) = levels.get(at) else { continue };
        let help = "write a number and a unit of time: `value: 1, unit: h`";
        if refuses {
            let message =
                format!("{} is no length of time, so `polder.stale: refuse` would refuse data of no age", quote(line));
            report.error("contract/stale", place, message).help(help);
        } else {
            // The standard lets any text stand here, so that a promise to people alone is no mistake of its contract.
            let message = format!("{} is no length of time, so the data may be of any age", quote(line));
            report.warning("contract/service-level", place, message).help(help);
        }
    }
}

/// The longest time since the last change that the service levels allow, where one says it in a unit that is known: all
/// lines of the plainest name hold.
pub(super) fn promised(sla: &[String]) -> Option<Duration> {
    NAMES.iter().find_map(|name| sla.iter().filter_map(|line| read(line, name)).min())
}

/// The position of the plainest promise, where it is written and cannot be read.
pub(crate) fn unread(sla: &[String]) -> Option<usize> {
    let plainest = NAMES.iter().find(|name| sla.iter().any(|line| is_called(line, name)))?;
    sla.iter()
        .position(|line| is_called(line, plainest) && read(line, plainest).is_none() && !line.split(' ').any(is_todo))
}

fn is_called(line: &str, name: &str) -> bool {
    line.split(' ').next().is_some_and(|word| word.eq_ignore_ascii_case(name))
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
        check(&["freshness 2 h", "freshness 1 h", "latency 1 s"], Some(3_600));
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
        check(&["freshness 1 h", "freshness soon"], Some(1));
        check(&["availability 99 percent"], None);
        check(&["freshness TODO: how old TODO: h or d"], None);
    }
}
