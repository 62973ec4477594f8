//! What conditions say of attributes, and whether that can be enumerated.
//!
//! ```text
//! principal.region == "EU"              region is compared with a text
//! principal.region like "E*"            with a pattern
//! principal.region == principal.site    they are compared with each other, and share what they are compared with
//! principal.level * principal.level     is not taken apart
//! ```

use std::collections::{BTreeMap, BTreeSet};

use serde_json::Value;

use super::texts::Pattern;

/// What `context.purpose` is called among attributes.
pub(super) const PURPOSE: &str = "context.purpose";

/// What some attributes are compared with.
#[derive(Debug, Clone, Default)]
pub(super) struct Compared {
    pub texts: BTreeSet<String>,
    pub patterns: BTreeSet<Pattern>,
    pub numbers: BTreeSet<i64>,
}

impl Compared {
    pub fn extend(&mut self, other: &Self) {
        self.texts.extend(other.texts.iter().cloned());
        self.patterns.extend(other.patterns.iter().cloned());
        self.numbers.extend(&other.numbers);
    }

    fn literal(&mut self, value: &Value) {
        match value {
            Value::String(text) => drop(self.texts.insert(text.clone())),
            Value::Number(number) => self.numbers.extend(number.as_i64()),
            Value::Array(items) => items.iter().for_each(|item| self.literal(item)),
            _ => {}
        }
    }
}

/// What the conditions of one policy say.
#[derive(Debug, Default)]
pub(super) struct Spoken {
    /// The attributes that they name.
    pub named: BTreeSet<String>,
    pub compared: Compared,
    /// The attributes that they compare with each other.
    pub together: Vec<BTreeSet<String>>,
    /// Whether something is compared in a way that is not taken apart.
    pub is_opaque: bool,
}

impl Spoken {
    /// The conditions of a policy in Cedar's JSON.
    pub fn of(policy: &Value) -> Self {
        let mut spoken = Self::default();
        let mut rest: Vec<&Value> = policy.get("conditions").into_iter().collect();
        while let Some(value) = rest.pop() {
            match value {
                Value::Array(items) => rest.extend(items),
                Value::Object(fields) => {
                    for (key, value) in fields {
                        spoken.part(key, value, &mut rest);
                    }
                }
                _ => {}
            }
        }
        spoken.named = attributes([policy.get("conditions")].into_iter().flatten());
        spoken
    }

    fn part<'v>(&mut self, key: &str, value: &'v Value, rest: &mut Vec<&'v Value>) {
        match key {
            "Value" => {
                self.is_opaque |= value.get("__extn").is_some();
                self.compared.literal(value);
                return;
            }
            "pattern" => {
                let parts = value.as_array().into_iter().flatten();
                let letters = parts.flat_map(|part| match part.get("Literal").and_then(Value::as_str) {
                    Some(text) => text.chars().map(Some).collect(),
                    None => vec![None],
                });
                self.compared.patterns.insert(letters.collect());
                return;
            }
            "==" | "!=" | "<" | "<=" | ">" | ">=" | "contains" | "containsAll" | "containsAny" => {
                let of = |side| attributes(value.get(side));
                let (left, right) = (of("left"), of("right"));
                if !left.is_empty() && !right.is_empty() {
                    self.together.push(left.union(&right).cloned().collect());
                }
            }
            "neg" => match value.get("arg").and_then(|arg| arg.get("Value")).and_then(Value::as_i64) {
                Some(number) => drop(self.compared.numbers.insert(number.saturating_neg())),
                None => self.is_opaque = true,
            },
            "kind" | "body" | "Var" | "!" | "in" | "&&" | "||" | "isEmpty" | "." | "has" | "like" | "is"
            | "if-then-else" | "Set" | "left" | "right" | "arg" | "attr" | "entity_type" | "if" | "then" | "else" => {}
            _ => self.is_opaque = true,
        }
        rest.push(value);
    }
}

/// The attributes that expressions name.
fn attributes<'v>(expressions: impl IntoIterator<Item = &'v Value>) -> BTreeSet<String> {
    let mut found = BTreeSet::new();
    let mut rest: Vec<&Value> = expressions.into_iter().collect();
    while let Some(value) = rest.pop() {
        match value {
            Value::Array(items) => rest.extend(items),
            Value::Object(fields) => {
                // `has` can name a path.
                let name = fields.get("attr").and_then(|attr| attr.get(0).unwrap_or(attr).as_str());
                if let Some(name) = name {
                    let is_of_context =
                        fields.get("left").and_then(|left| left.get("Var")).and_then(Value::as_str) == Some("context");
                    found.insert(if is_of_context && name == "purpose" { PURPOSE } else { name }.to_owned());
                }
                rest.extend(fields.values());
            }
            _ => {}
        }
    }
    found
}

/// Joins what is compared with each other, also by way of others. For each attribute, what it can be compared with, and
/// how many are.
pub(super) fn joined(
    own: &BTreeMap<String, Compared>,
    together: &[BTreeSet<String>],
) -> BTreeMap<String, (Compared, usize)> {
    let mut parts: Vec<BTreeSet<String>> = own.keys().map(|name| BTreeSet::from([name.clone()])).collect();
    for names in together {
        let (met, apart): (Vec<_>, Vec<_>) = parts.into_iter().partition(|part| !part.is_disjoint(names));
        parts = apart;
        parts.push(met.into_iter().flatten().collect());
    }
    let of_part = |part: BTreeSet<String>| {
        let mut all = Compared::default();
        part.iter().filter_map(|name| own.get(name)).for_each(|compared| all.extend(compared));
        let count = part.len();
        part.into_iter().map(move |name| (name, (all.clone(), count))).collect::<Vec<_>>()
    };
    parts.into_iter().flat_map(of_part).collect()
}
