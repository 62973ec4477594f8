//! The fields of a mapping, read one by one; what nobody asked for is unknown.

use super::yaml::{Key, Kind, Node, truth};
use super::{Place, Report, quote};

/// A mapping that is being read.
pub(crate) struct Fields<'a> {
    /// Where the mapping begins.
    pub place: &'a Place,
    entries: &'a [(Key, Node)],
    known: Vec<&'static str>,
}

impl<'a> Fields<'a> {
    /// The fields of `node`, which is `what` in messages; nothing written is no fields.
    pub fn of(node: &'a Node, what: &str, report: &mut Report) -> Option<Self> {
        let entries: &[_] = match &node.kind {
            Kind::Map(entries) => entries,
            _ if node.is_null() => &[],
            _ => {
                wrong(node, &format!("{what} is a mapping"), MAPPING, report);
                return None;
            }
        };
        Some(Self { place: &node.place, entries, known: Vec::new() })
    }

    /// The value of `key`, unless nothing is written there.
    pub fn get(&mut self, key: &'static str) -> Option<&'a Node> {
        self.known.push(key);
        self.entries.iter().find(|(k, _)| k.text == key).map(|(_, node)| node).filter(|node| !node.is_null())
    }

    /// Where `key` stands, or the mapping if it does not.
    pub fn key_place(&self, key: &str) -> &'a Place {
        self.entries.iter().find(|(k, _)| k.text == key).map_or(self.place, |(k, _)| &k.place)
    }

    /// A text.
    pub fn text(&mut self, key: &'static str, report: &mut Report) -> Option<&'a str> {
        self.get(key).and_then(|node| text(node, key, report))
    }

    /// A text that must be there.
    pub fn required(&mut self, key: &'static str, report: &mut Report) -> Option<&'a str> {
        match self.get(key) {
            Some(node) => text(node, key, report),
            None => {
                report.error("document/missing", self.place, format!("`{key}` is missing"));
                None
            }
        }
    }

    /// Any scalar, as it is written.
    pub fn scalar(&mut self, key: &'static str, report: &mut Report) -> Option<&'a str> {
        self.get(key).and_then(|node| scalar(node, key, report))
    }

    /// A truth value.
    pub fn truth(&mut self, key: &'static str, report: &mut Report) -> Option<bool> {
        let node = self.get(key)?;
        let value = match &node.kind {
            Kind::Scalar { text, plain: true } => truth(text),
            _ => None,
        };
        if value.is_none() {
            wrong(node, &format!("`{key}` is `true` or `false`"), "write one of the two, without quotes", report);
        }
        value
    }

    /// A list of texts, each with its place.
    pub fn texts(&mut self, key: &'static str, report: &mut Report) -> Vec<(&'a str, &'a Place)> {
        self.get(key).map(|node| texts(node, key, report)).unwrap_or_default()
    }

    /// The items of a list.
    pub fn list(&mut self, key: &'static str, report: &mut Report) -> &'a [Node] {
        self.get(key).map(|node| list(node, key, report)).unwrap_or_default()
    }

    /// The entries of a mapping whose keys are names.
    pub fn map(&mut self, key: &'static str, report: &mut Report) -> &'a [(Key, Node)] {
        self.get(key).map(|node| map(node, key, report)).unwrap_or_default()
    }

    /// Every key that is written.
    pub fn keys(&self) -> impl Iterator<Item = &'a Key> + use<'a> {
        self.entries.iter().map(|(key, _)| key)
    }

    /// Reports every key that was not asked for.
    pub fn close(self, report: &mut Report) {
        for (key, _) in self.entries.iter().filter(|(key, _)| !self.known.contains(&key.text.as_str())) {
            report
                .error("document/unknown-key", &key.place, format!("unknown key {}", quote(&key.text)))
                .did_you_mean(&key.text, self.known.iter().copied());
        }
    }
}

/// The text that `node` is.
pub(crate) fn text<'a>(node: &'a Node, what: &str, report: &mut Report) -> Option<&'a str> {
    match &node.kind {
        Kind::Scalar { text, .. } if node.what() == "a text" => Some(text),
        Kind::Scalar { .. } if !node.is_null() => {
            let message = format!("`{what}` is a text, and this is {}", node.what());
            report.error("document/wrong-type", &node.place, message).help("put it in quotes");
            None
        }
        _ => {
            wrong(node, &format!("`{what}` is a text"), ONE, report);
            None
        }
    }
}

/// The scalar that `node` is, as it is written.
pub(crate) fn scalar<'a>(node: &'a Node, what: &str, report: &mut Report) -> Option<&'a str> {
    match &node.kind {
        Kind::Scalar { text, .. } if !node.is_null() => Some(text),
        _ => {
            wrong(node, &format!("`{what}` is a single value"), ONE, report);
            None
        }
    }
}

/// The texts of the list that `node` is.
pub(crate) fn texts<'a>(node: &'a Node, what: &str, report: &mut Report) -> Vec<(&'a str, &'a Place)> {
    list(node, what, report).iter().filter_map(|item| Some((text(item, what, report)?, &item.place))).collect()
}

/// The items of the list that `node` is.
pub(crate) fn list<'a>(node: &'a Node, what: &str, report: &mut Report) -> &'a [Node] {
    if let Kind::List(items) = &node.kind {
        return items;
    }
    wrong(node, &format!("`{what}` is a list"), "write `[one, another]`, or a line `- one` for each", report);
    &[]
}

/// The entries of the mapping that `node` is.
pub(crate) fn map<'a>(node: &'a Node, what: &str, report: &mut Report) -> &'a [(Key, Node)] {
    if let Kind::Map(entries) = &node.kind {
        return entries;
    }
    wrong(node, &format!("`{what}` is a mapping"), MAPPING, report);
    &[]
}

/// How a mapping is written.
const MAPPING: &str = "write `{ key: value }`, or a line `key: value` for each";
/// How what is no list and no mapping is written.
const ONE: &str = "write one value behind the colon";

fn wrong(node: &Node, expected: &str, instead: &str, report: &mut Report) {
    let message = format!("{expected}, and this is {}", node.what());
    report.error("document/wrong-type", &node.place, message).help(instead);
}
