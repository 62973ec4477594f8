//! `standards` of `mesh.yaml`.

use std::collections::{BTreeMap, BTreeSet};

use regex::Regex;

use super::{Bounds, Level, Reviewed, reviewed};
use crate::document::fields::{Fields, scalar, text, texts};
use crate::document::yaml::Node;
use crate::document::{Place, Report, Severity, quote};
use crate::mesh::declared::{names, regex};

/// The standards that contracts are held against.
#[derive(Debug, Default)]
pub(crate) struct Standards {
    pub domain_name: Option<Regex>,
    pub product_name: Option<Regex>,
    pub column_name: Option<Regex>,
    pub require_of_product: Vec<&'static str>,
    pub require_of_column: Vec<&'static str>,
    /// From the most open to the strictest.
    pub classifications: Option<Vec<String>>,
    /// The service levels that every product promises at least.
    pub levels: Vec<Level>,
    pub retention: Option<Bounds>,
    pub licences: Option<BTreeSet<String>>,
    /// The domains whose derived products may run with their owners' rights, and the group whose rights these are.
    pub owners_rights: BTreeMap<String, (String, Place)>,
    /// The keys under which queries of derived products may hash values, which then need no tags.
    pub keyed_hashes: Vec<(String, Place)>,
    /// The least count that has not the tags of what is counted, where there is one.
    pub least_count: Option<u64>,
    /// The columns that may lack tags of what they are made of, where the mesh lists them.
    pub declassified: Option<Vec<Reviewed>>,
    /// What is claimed of the whole mesh, and where.
    pub claims: Vec<(String, Place)>,
    severity: BTreeMap<Standard, Severity>,
}

/// One of the standards.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Standard {
    Naming,
    Require,
    Classifications,
    Identifiers,
    Sla,
    Retention,
    Licences,
}

impl Standard {
    const ALL: [Self; 7] = [
        Self::Naming,
        Self::Require,
        Self::Classifications,
        Self::Identifiers,
        Self::Sla,
        Self::Retention,
        Self::Licences,
    ];

    /// Its key in `standards.severity`.
    fn name(self) -> &'static str {
        match self {
            Self::Naming => "naming",
            Self::Require => "require",
            Self::Classifications => "classifications",
            Self::Identifiers => "identifiers",
            Self::Sla => "sla",
            Self::Retention => "retention",
            Self::Licences => "licences",
        }
    }

    /// The code of what falls short of it.
    pub fn code(self) -> &'static str {
        match self {
            Self::Naming => "standards/naming",
            Self::Require => "standards/require",
            Self::Classifications => "standards/classification",
            Self::Identifiers => "standards/identifier",
            Self::Sla => "standards/sla",
            Self::Retention => "standards/retention",
            Self::Licences => "standards/licence",
        }
    }
}

impl Standards {
    /// How grave it is to fall short of a standard.
    pub fn severity(&self, of: Standard) -> Severity {
        self.severity.get(&of).copied().unwrap_or(Severity::Warning)
    }
}

/// What can be required of a product.
const OF_PRODUCT: [&str; 9] =
    ["owner", "purpose", "description", "freshness", "support", "sla", "retention", "licence", "key"];
/// What can be required of a column.
const OF_COLUMN: [&str; 3] = ["description", "classification", "tags"];

pub(crate) fn read(node: &Node, report: &mut Report) -> Option<Standards> {
    let mut fields = Fields::of(node, "`standards`", report)?;
    let mut standards = Standards::default();
    if let Some(mut naming) = fields.get("naming").and_then(|node| Fields::of(node, "`naming`", report)) {
        for (key, slot) in [
            ("domain", &mut standards.domain_name),
            ("product", &mut standards.product_name),
            ("column", &mut standards.column_name),
        ] {
            *slot = naming.text(key, report).and_then(|pattern| regex(pattern, naming.key_place(key), report));
        }
        naming.close(report);
    }
    if let Some(mut require) = fields.get("require").and_then(|node| Fields::of(node, "`require`", report)) {
        standards.require_of_product = required(require.texts("product", report), &OF_PRODUCT, report);
        standards.require_of_column = required(require.texts("column", report), &OF_COLUMN, report);
        require.close(report);
    }
    if let Some(node) = fields.get("classifications") {
        let known = texts(node, "classifications", report);
        let in_order = known.iter().map(|(name, _)| (*name).to_owned()).collect();
        names(known, "classification", report);
        standards.classifications = Some(in_order);
    }
    if let Some(node) = fields.get("licences") {
        standards.licences = Some(names(texts(node, "licences", report), "licence", report));
    }
    for (key, node) in fields.map("sla", report) {
        let Some(written) = text(node, &key.text, report) else { continue };
        match Level::parse(&key.text, written) {
            Some(level) => standards.levels.push(level),
            None => {
                let message = format!("{} is no service level", quote(written));
                report
                    .error("mesh/level", &node.place, message)
                    .help("write a number and a unit: `24 h`, `99 percent`");
            }
        }
    }
    if let Some(mut bounds) = fields.get("retention").and_then(|node| Fields::of(node, "`retention`", report)) {
        let [least, most] = ["least", "most"].map(|key| {
            let written = bounds.text(key, report)?;
            let length = super::level::length(written);
            if length.is_none() {
                let message = format!("{} is no length of time", quote(written));
                report.error("mesh/level", bounds.key_place(key), message).help("write it like `30 d` or `3 y`");
            }
            length
        });
        bounds.close(report);
        standards.retention = Some(Bounds { least, most });
    }
    for (key, node) in fields.map("severity", report) {
        let Some(of) = Standard::ALL.into_iter().find(|standard| standard.name() == key.text) else {
            let message = format!("{} is no standard with a severity", quote(&key.text));
            report
                .error("mesh/severity", &key.place, message)
                .did_you_mean(&key.text, Standard::ALL.map(Standard::name));
            continue;
        };
        match text(node, &key.text, report) {
            Some("error") => drop(standards.severity.insert(of, Severity::Error)),
            Some("warning") => drop(standards.severity.insert(of, Severity::Warning)),
            Some(other) => {
                let message = format!("the severity {} is unknown", quote(other));
                report.error("mesh/severity", &node.place, message).help("write `error` or `warning`");
            }
            None => {}
        }
    }
    for (key, node) in fields.map("owners_rights", report) {
        if let Some(group) = text(node, &key.text, report) {
            standards.owners_rights.insert(key.text.clone(), (group.to_owned(), node.place.clone()));
        }
    }
    let placed = |texts: Vec<(&str, &Place)>| {
        texts.into_iter().map(|(text, place)| (text.to_owned(), place.clone())).collect::<Vec<_>>()
    };
    standards.keyed_hashes = placed(fields.texts("keyed_hashes", report));
    if let Some(node) = fields.get("least_count") {
        let least = scalar(node, "least_count", report).and_then(|text| text.parse().ok()).filter(|least| *least > 1);
        if least.is_none() {
            report
                .error("mesh/least-count", &node.place, "`least_count` is a whole number above 1")
                .help("write `least_count: 10`: counts of ten and more have not the tags of what is counted");
        }
        standards.least_count = least;
    }
    let listed = fields.list("declassified", report);
    // A list of nothing is a list.
    let is_there = fields.keys().any(|key| key.text == "declassified");
    standards.declassified = is_there.then(|| reviewed::read(listed, report));
    standards.claims = placed(fields.texts("claims", report));
    fields.close(report);
    Some(standards)
}

fn required(texts: Vec<(&str, &Place)>, known: &[&'static str], report: &mut Report) -> Vec<&'static str> {
    let mut found = Vec::new();
    for (text, place) in texts {
        match known.iter().find(|name| **name == text) {
            Some(name) => found.push(*name),
            None => report
                .error("mesh/unknown-requirement", place, format!("{} cannot be required", quote(text)))
                .did_you_mean(text, known.iter().copied()),
        }
    }
    found
}
