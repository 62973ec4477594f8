//! What `mesh.yaml` says that people may use: resource groups, and what the statements of each may take.
//!
//! The first group in the file that is for one of somebody's groups, or for everybody, holds for all of their statements.
//! Whom none is for is bound by what the server allows everybody.

use std::collections::BTreeSet;
use std::str::FromStr;
use std::time::Duration;

use super::asking::duration;
use super::declared::Declared;
use crate::document::fields::Fields;
use crate::document::yaml::Node;
use crate::document::{Report, quote};
use crate::principal::Principal;

/// The longest that a statement may be allowed to wait or to take.
const LONGEST: Duration = Duration::from_secs(24 * 60 * 60);
const SHORTEST: Duration = Duration::from_millis(1);

/// A resource group. What is not said is not limited here.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ResourceGroup {
    /// What it is called in errors.
    pub name: String,
    /// Whom it is for; none for everybody.
    groups: Option<BTreeSet<String>>,
    /// How many of its statements run at once.
    pub at_once: Option<usize>,
    /// How many wait behind those.
    pub waiting: Option<usize>,
    /// How long one waits at most.
    pub wait: Option<Duration>,
    /// The share of the engine's memory that its statements have together, in percent.
    pub memory: Option<u8>,
    /// What each of its statements may take.
    pub each: Each,
}

/// What a statement may take.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Each {
    /// Bytes of memory.
    pub memory: Option<u64>,
    /// Bytes that are put on disk meanwhile.
    pub spill: Option<u64>,
    /// Bytes of data files that are read.
    pub scanned: Option<u64>,
    /// Rows of the answer.
    pub rows: Option<u64>,
    /// Bytes of the answer.
    pub bytes: Option<u64>,
    /// Time of processors.
    pub cpu: Option<Duration>,
    /// Time from its start to its end.
    pub time: Option<Duration>,
}

impl ResourceGroup {
    pub(super) fn is_for(&self, principal: &Principal) -> bool {
        self.groups.as_ref().is_none_or(|groups| !groups.is_disjoint(&principal.groups))
    }
}

/// Reads them in the order in which they hold.
pub(super) fn read(nodes: &[Node], declared: &Declared, report: &mut Report) -> Vec<ResourceGroup> {
    let mut groups: Vec<ResourceGroup> = Vec::new();
    for node in nodes {
        let Some(mut fields) = Fields::of(node, "a resource group", report) else { continue };
        let Some(name) = fields.required("name", report) else { continue };
        if groups.iter().any(|group| group.name == name) {
            let message = format!("there are two resource groups {}", quote(name));
            report.error("mesh/limits", fields.key_place("name"), message);
        }
        if groups.iter().any(|group| group.groups.is_none()) {
            let message = format!("{} never holds, since a group before it is for everybody", quote(name));
            report
                .error("mesh/limits", fields.key_place("name"), message)
                .help("move it up, or say whom the one before it is for: `groups: […]`");
        }
        let written = fields.get("groups").is_some();
        let members = declared.declared_groups(fields.texts("groups", report), report);
        let group = ResourceGroup {
            name: name.to_owned(),
            groups: written.then_some(members),
            at_once: number("at_once", whole, "a whole number above 0", &mut fields, report),
            waiting: number("waiting", |text| text.parse().ok(), "a whole number", &mut fields, report),
            wait: duration("mesh/limits", "wait", Duration::ZERO, LONGEST, &mut fields, report),
            memory: percent("memory", &mut fields, report),
            each: fields.get("each").map_or_else(Each::default, |node| Each::read(node, report)),
        };
        if group.at_once.is_none() && (group.waiting.is_some() || group.wait.is_some()) {
            let key = if group.waiting.is_some() { "waiting" } else { "wait" };
            report
                .error("mesh/limits", fields.key_place(key), "nothing waits where all statements run at once")
                .help("add `at_once: 8`: how many of the group's statements run");
        }
        fields.close(report);
        groups.push(group);
    }
    groups
}

impl Each {
    fn read(node: &Node, report: &mut Report) -> Self {
        let Some(mut fields) = Fields::of(node, "`each`", report) else { return Self::default() };
        let mut time = |key| duration("mesh/limits", key, SHORTEST, LONGEST, &mut fields, report);
        let (cpu, time) = (time("cpu"), time("time"));
        let some = |text: &str| size(text).filter(|bytes| *bytes > 0);
        let mut bytes = |key| number(key, some, SIZE, &mut fields, report);
        let each = Self {
            memory: bytes("memory"),
            spill: bytes("spill"),
            scanned: bytes("scanned"),
            bytes: bytes("bytes"),
            rows: number("rows", whole, "a whole number above 0", &mut fields, report),
            cpu,
            time,
        };
        fields.close(report);
        each
    }
}

fn percent(key: &'static str, fields: &mut Fields<'_>, report: &mut Report) -> Option<u8> {
    let read = |text: &str| text.strip_suffix('%')?.trim().parse().ok().filter(|percent| (1..=100).contains(percent));
    number(key, read, "a share, as in `25%`", fields, report)
}

fn number<T>(
    key: &'static str,
    read: impl Fn(&str) -> Option<T>,
    wanted: &str,
    fields: &mut Fields<'_>,
    report: &mut Report,
) -> Option<T> {
    let text = fields.scalar(key, report)?;
    let number = read(text);
    if number.is_none() {
        let message = format!("`{key}` is {}, and not {wanted}", quote(text));
        report.error("mesh/limits", fields.key_place(key), message);
    }
    number
}

fn whole<T: FromStr + PartialOrd + Default>(text: &str) -> Option<T> {
    text.parse().ok().filter(|number| *number > T::default())
}

/// What [`size`] reads, in the words of an error.
pub const SIZE: &str = "a number of bytes, as in `512MiB` or `10GiB`";

/// What sizes are written in, and how far each is from a byte.
const UNITS: [(&str, u32); 4] = [("KiB", 10), ("MiB", 20), ("GiB", 30), ("TiB", 40)];

/// A number of bytes, which may have a unit.
pub fn size(text: &str) -> Option<u64> {
    let unit = UNITS.into_iter().find_map(|(unit, shift)| Some((text.strip_suffix(unit)?, shift)));
    let (number, shift) = unit.unwrap_or((text, 0));
    number.trim().parse::<u64>().ok()?.checked_mul(1 << shift)
}

/// A number of bytes as people write it: in the largest unit that it is a whole number of.
pub fn sized(bytes: u64) -> String {
    let whole = |(_, shift): &(&str, u32)| bytes > 0 && bytes.trailing_zeros() >= *shift;
    match UNITS.into_iter().rev().find(whole) {
        Some((unit, shift)) => format!("{}{unit}", bytes >> shift),
        None => format!("{bytes} bytes"),
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "tests")]
mod tests {
    use std::collections::BTreeMap;

    use super::*;
    use crate::document::Finding;
    use crate::mesh::Mesh;

    fn mesh(limits: &str) -> Result<Mesh, Vec<Finding>> {
        let users = "auth: { users: [ { name: ada, groups: [auditors] }, { name: bob, groups: [analysts] } ] }";
        let text = format!("mesh: m\ngroups: [auditors, analysts]\n{users}\nlimits: {limits}\n");
        Mesh::from_files(&BTreeMap::from([("mesh.yaml".to_owned(), text)]))
    }

    #[test]
    fn the_first_group_that_is_for_somebody_holds() {
        let mesh = mesh("[{ name: few, groups: [analysts], at_once: 2 }, { name: all, each: { time: 5m } }]").unwrap();
        let of = |user: &str| mesh.limits_of(&mesh.principal(user).unwrap()).map(|group| group.name.clone());
        assert_eq!(of("bob").as_deref(), Some("few"));
        assert_eq!(of("ada").as_deref(), Some("all"));
        let mesh = self::mesh("[{ name: few, groups: [analysts] }]").unwrap();
        assert!(mesh.limits_of(&mesh.principal("ada").unwrap()).is_none());
        assert!(self::mesh("[]").unwrap().limits_of(&mesh.principal("ada").unwrap()).is_none());
    }

    #[test]
    fn every_limit_is_read() {
        let text = "[{ name: few, groups: [analysts], at_once: 2, waiting: 0, wait: 30s, memory: 25%,
                       each: { memory: 512MiB, spill: 2GiB, scanned: 1TiB, rows: 7, bytes: 8, cpu: 10m, time: 1h } }]";
        let mesh = mesh(text).unwrap();
        let group = mesh.limits_of(&mesh.principal("bob").unwrap()).unwrap();
        assert_eq!((group.at_once, group.waiting, group.wait), (Some(2), Some(0), Some(Duration::from_secs(30))));
        assert_eq!(group.memory, Some(25));
        let each = Each {
            memory: Some(512 << 20),
            spill: Some(2 << 30),
            scanned: Some(1 << 40),
            rows: Some(7),
            bytes: Some(8),
            cpu: Some(Duration::from_secs(600)),
            time: Some(Duration::from_secs(3600)),
        };
        assert_eq!(group.each, each);
    }

    #[test]
    fn what_is_not_understood_breaks_the_mesh() {
        for (limits, expect) in [
            ("{ rows: 1 }", "list"),
            ("[{ groups: [analysts] }]", "name"),
            ("[{ name: a, groups: [analyst] }]", "is not declared"),
            ("[{ name: a }, { name: b }]", "never holds"),
            ("[{ name: a, groups: [analysts] }, { name: a }]", "two resource groups"),
            ("[{ name: a, waiting: 3 }]", "nothing waits"),
            ("[{ name: a, at_once: 0 }]", "not a whole number"),
            ("[{ name: a, memory: 512MiB }]", "not a share"),
            ("[{ name: a, memory: 0% }]", "not a share"),
            ("[{ name: a, each: { memory: 10GB } }]", "not a number of bytes"),
            ("[{ name: a, each: { memory: 99999999999TiB } }]", "not a number of bytes"),
            ("[{ name: a, each: { rows: 0 } }]", "not a whole number above 0"),
            ("[{ name: a, each: { time: 0s } }]", "no time from"),
            ("[{ name: a, each: { time: 5 } }]", "no time from"),
            ("[{ name: a, each: { row: 5 } }]", "unknown key"),
            ("[{ name: a, per_statement: {} }]", "unknown key"),
        ] {
            let findings = mesh(limits).unwrap_err();
            assert!(findings.iter().any(|finding| finding.message.contains(expect)), "{limits}: {findings:?}");
        }
    }

    #[test]
    fn sizes_are_read_with_their_units() {
        for (text, bytes) in [("7", 7), ("2KiB", 2048), ("512MiB", 512 << 20), ("10 GiB", 10 << 30), ("1TiB", 1 << 40)]
        {
            assert_eq!(size(text), Some(bytes), "{text}");
        }
        for text in ["", "GiB", "10GB", "-1", "1.5GiB", "99999999999TiB"] {
            assert!(size(text).is_none(), "{text}");
        }
    }

    #[test]
    fn sizes_are_written_as_they_are_read() {
        for text in ["1KiB", "30MiB", "1536MiB", "10GiB", "1025TiB"] {
            assert_eq!(sized(size(text).unwrap()), text);
        }
        assert_eq!(sized(1024 << 10), "1MiB");
        assert_eq!(sized(1000), "1000 bytes");
        assert_eq!(sized(0), "0 bytes");
    }
}
