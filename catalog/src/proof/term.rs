//! The conditions of policies as formulas over people.
//!
//! ```text
//! principal has region && principal.region == "EU" && !(resource in Tag::"pii")
//! region is there      and region falls on "EU"    and known: the column is asked about, its tags are there
//! ```
//!
//! Scopes, `in`, `is`, `has`, equality, comparison, sets and truth values are taken for what they are. Anything else is a
//! truth of which nothing is known. A missing attribute needs no care: the validator lets no condition read one unasked.

use serde_json::Value;

use super::diagram::Formula;
use super::people::People;
use crate::mesh::declared::AttributeType;
use crate::policy::reach::{Action, Kind, Lies};

/// What is asked about.
#[derive(Clone, Copy)]
pub(super) struct Asked<'a> {
    pub action: Action,
    pub kind: Kind,
    pub lies: &'a Lies,
}

/// What an expression is.
#[derive(Clone)]
enum Term {
    Truth(Formula),
    /// One of these texts each, by their numbers.
    Text(Vec<(Formula, usize)>),
    Number(Vec<(Formula, i64)>),
    /// A set of texts that is an attribute.
    Set(String),
    /// A set that is written down.
    Listed(Vec<Term>),
    Entity(String, String),
    Principal,
    Resource,
    Action,
    Context,
    Unknown,
}

/// The operators that give a truth, among those of which nothing more may be known.
const TRUTHS: [&str; 25] = [
    "!",
    "&&",
    "||",
    "==",
    "!=",
    "<",
    "<=",
    ">",
    ">=",
    "in",
    "is",
    "has",
    "contains",
    "containsAll",
    "containsAny",
    "isEmpty",
    "lessThan",
    "lessThanOrEqual",
    "greaterThan",
    "greaterThanOrEqual",
    "isIpv4",
    "isIpv6",
    "isInRange",
    "isLoopback",
    "isMulticast",
];

/// The conditions of one policy, as Cedar writes them in JSON.
pub(super) fn conditions(people: &mut People<'_>, conditions: &Value, asked: Asked<'_>) -> Formula {
    let mut all = Formula::TRUE;
    for condition in conditions.as_array().into_iter().flatten() {
        let body = condition.get("body").unwrap_or(&Value::Null);
        let mut holds = Reader { people, asked }.truth(body);
        if condition.get("kind").and_then(Value::as_str) == Some("unless") {
            holds = people.diagrams.not(holds);
        }
        all = people.diagrams.and(all, holds);
    }
    all
}

struct Reader<'p, 'm, 'a> {
    people: &'p mut People<'m>,
    asked: Asked<'a>,
}

impl Reader<'_, '_, '_> {
    fn truth(&mut self, expression: &Value) -> Formula {
        match self.term(expression) {
            Term::Truth(formula) => formula,
            _ => self.opaque(expression, ""),
        }
    }

    /// A truth that nothing is known of. The same text means the same for the same principal, unless it looks at more.
    fn opaque(&mut self, expression: &Value, of: &str) -> Formula {
        let mut text = format!("{expression} {of}");
        if ["resource", "action"].iter().any(|name| text.contains(&format!("{{\"Var\":\"{name}\"}}"))) {
            let Asked { action, kind, lies } = self.asked;
            text.push_str(&format!("{action:?} {kind:?} {lies:?}"));
        }
        self.people.opaque(text)
    }

    fn term(&mut self, expression: &Value) -> Term {
        let known = expression.as_object().and_then(|fields| match (fields.len(), fields.iter().next()) {
            (1, Some((operator, operand))) => Some((operator.as_str(), operand)),
            _ => None,
        });
        let Some((operator, operand)) = known else { return Term::Unknown };
        let truth = match operator {
            "Value" => return self.literal(operand),
            "Var" => return variable(operand),
            "Set" => {
                let items = operand.as_array().into_iter().flatten();
                return Term::Listed(items.map(|item| self.term(item)).collect());
            }
            "." => return self.attribute(operand),
            "if-then-else" => return self.choice(operand),
            "neg" => return self.negative(operand),
            "!" => {
                let inner = self.truth(part(operand, "arg"));
                Some(self.people.diagrams.not(inner))
            }
            "&&" | "||" => {
                let (left, right) = (self.truth(part(operand, "left")), self.truth(part(operand, "right")));
                let diagrams = &mut self.people.diagrams;
                Some(if operator == "&&" { diagrams.and(left, right) } else { diagrams.or(left, right) })
            }
            "has" => self.has(operand),
            "is" => self.is(operand),
            "like" => return self.like(expression, operand),
            "isEmpty" => {
                let set = self.term(part(operand, "arg"));
                self.is_empty(&set)
            }
            _ => {
                let (left, right) = (self.term(part(operand, "left")), self.term(part(operand, "right")));
                self.of_two(operator, &left, &right)
            }
        };
        match truth {
            Some(truth) => Term::Truth(truth),
            None if TRUTHS.contains(&operator) => Term::Truth(self.opaque(expression, "")),
            // Three numbers may all differ, and three truths cannot.
            None => Term::Unknown,
        }
    }

    fn of_two(&mut self, operator: &str, left: &Term, right: &Term) -> Option<Formula> {
        match operator {
            "==" => self.equal(left, right),
            "!=" => self.equal(left, right).map(|equal| self.people.diagrams.not(equal)),
            "<" => self.compare(left, right, |a, b| a < b),
            "<=" => self.compare(left, right, |a, b| a <= b),
            ">" => self.compare(left, right, |a, b| a > b),
            ">=" => self.compare(left, right, |a, b| a >= b),
            "in" => self.lies_in(left, right),
            "contains" => self.contains(left, right),
            "containsAll" => self.contains_all(left, right),
            "containsAny" => self.contains_any(left, right),
            _ => None,
        }
    }

    // ---- what stands there ----

    fn literal(&mut self, value: &Value) -> Term {
        match value {
            Value::Bool(truth) => Term::Truth(Formula::constant(*truth)),
            Value::String(text) => {
                self.people.text(text).map_or(Term::Unknown, |at| Term::Text(vec![(Formula::TRUE, at)]))
            }
            Value::Number(number) => {
                number.as_i64().map_or(Term::Unknown, |number| Term::Number(vec![(Formula::TRUE, number)]))
            }
            Value::Array(items) => Term::Listed(items.iter().map(|item| self.literal(item)).collect()),
            Value::Object(fields) => match fields.get("__entity").and_then(|entity| {
                Some((entity.get("type")?.as_str()?.to_owned(), entity.get("id")?.as_str()?.to_owned()))
            }) {
                Some((kind, id)) => Term::Entity(kind, id),
                None => Term::Unknown,
            },
            Value::Null => Term::Unknown,
        }
    }

    fn attribute(&mut self, operand: &Value) -> Term {
        let Some(name) = operand.get("attr").and_then(Value::as_str) else { return Term::Unknown };
        match self.term(part(operand, "left")) {
            Term::Context if name == "purpose" => Term::Text(self.people.purposes()),
            Term::Principal => match self.people.declared().attributes.get(name) {
                Some(AttributeType::String) => Term::Text(self.people.texts_of(name)),
                Some(AttributeType::Long) => Term::Number(self.people.numbers_of(name)),
                Some(AttributeType::Bool) => Term::Truth(self.people.is_true(name)),
                Some(AttributeType::Strings) => Term::Set(name.to_owned()),
                None => Term::Unknown,
            },
            _ => Term::Unknown,
        }
    }

    fn has(&mut self, operand: &Value) -> Option<Formula> {
        let name = match operand.get("attr")? {
            Value::String(name) => name.as_str(),
            Value::Array(names) => match names.as_slice() {
                [Value::String(name)] => name.as_str(),
                _ => return None,
            },
            _ => return None,
        };
        match self.term(part(operand, "left")) {
            Term::Context if name == "purpose" => Some(self.people.has_purpose()),
            Term::Context => Some(Formula::FALSE),
            Term::Principal => Some(self.people.has(name).unwrap_or(Formula::FALSE)),
            _ => None,
        }
    }

    fn is(&mut self, operand: &Value) -> Option<Formula> {
        let kind = operand.get("entity_type")?.as_str()?;
        let left = self.term(part(operand, "left"));
        let own = match &left {
            Term::Principal => "User",
            Term::Action => "Action",
            Term::Resource if self.asked.kind == Kind::Product => "Product",
            Term::Resource => "Column",
            Term::Entity(kind, _) => kind,
            _ => return None,
        };
        if own != kind {
            return Some(Formula::FALSE);
        }
        match operand.get("in") {
            None => Some(Formula::TRUE),
            Some(right) => {
                let right = self.term(right);
                self.lies_in(&left, &right)
            }
        }
    }

    /// One of two, each where it is chosen.
    fn choice(&mut self, operand: &Value) -> Term {
        let condition = self.truth(part(operand, "if"));
        let (one, other) = (self.term(part(operand, "then")), self.term(part(operand, "else")));
        let otherwise = self.people.diagrams.not(condition);
        match (one, other) {
            (Term::Truth(one), Term::Truth(other)) => {
                let diagrams = &mut self.people.diagrams;
                let (one, other) = (diagrams.and(condition, one), diagrams.and(otherwise, other));
                Term::Truth(diagrams.or(one, other))
            }
            (Term::Text(one), Term::Text(other)) => {
                Term::Text(self.guarded(condition, one).chain(self.guarded(otherwise, other)).collect())
            }
            (Term::Number(one), Term::Number(other)) => {
                Term::Number(self.guarded(condition, one).chain(self.guarded(otherwise, other)).collect())
            }
            _ => Term::Unknown,
        }
    }

    fn guarded<T>(&mut self, guard: Formula, of: Vec<(Formula, T)>) -> std::vec::IntoIter<(Formula, T)> {
        let guarded: Vec<_> =
            of.into_iter().map(|(when, value)| (self.people.diagrams.and(guard, when), value)).collect();
        guarded.into_iter()
    }

    fn negative(&mut self, operand: &Value) -> Term {
        match self.term(part(operand, "arg")) {
            Term::Number(number) => match number.as_slice() {
                // Of a literal, whose negative was gathered with it.
                [(Formula::TRUE, number)] if part(operand, "arg").get("Value").is_some() => {
                    number.checked_neg().map_or(Term::Unknown, |number| Term::Number(vec![(Formula::TRUE, number)]))
                }
                _ => Term::Unknown,
            },
            _ => Term::Unknown,
        }
    }

    /// A pattern is known to match a literal or not; of the others nothing is known.
    fn like(&mut self, expression: &Value, operand: &Value) -> Term {
        let Term::Text(texts) = self.term(part(operand, "left")) else { return Term::Unknown };
        let Some(pattern) = operand.get("pattern").and_then(Value::as_array) else { return Term::Unknown };
        let mut matches = Formula::FALSE;
        for (when, number) in texts {
            let one = match self.people.literal(number).map(|text| is_like(text, pattern)) {
                Some(truth) => Formula::constant(truth),
                None => self.opaque(expression, &number.to_string()),
            };
            let both = self.people.diagrams.and(when, one);
            matches = self.people.diagrams.or(matches, both);
        }
        Term::Truth(matches)
    }

    // ---- how they compare ----

    fn equal(&mut self, left: &Term, right: &Term) -> Option<Formula> {
        match (left, right) {
            (Term::Truth(one), Term::Truth(other)) => Some(self.people.diagrams.same(*one, *other)),
            (Term::Text(one), Term::Text(other)) => Some(self.meet(one, other, |a, b| a == b)),
            (Term::Number(one), Term::Number(other)) => Some(self.meet(one, other, |a, b| a == b)),
            (Term::Entity(kind, id), Term::Entity(other_kind, other)) => {
                Some(Formula::constant(kind == other_kind && id == other))
            }
            (Term::Principal, Term::Principal) | (Term::Resource, Term::Resource) | (Term::Action, Term::Action) => {
                Some(Formula::TRUE)
            }
            (Term::Principal, Term::Entity(kind, id)) | (Term::Entity(kind, id), Term::Principal) => {
                Some(if kind == "User" { self.people.is_user(id) } else { Formula::FALSE })
            }
            (Term::Action, Term::Entity(kind, id)) | (Term::Entity(kind, id), Term::Action) => {
                Some(Formula::constant(kind == "Action" && id == self.asked.action.name()))
            }
            (Term::Set(_), Term::Listed(_)) | (Term::Listed(_), Term::Set(_)) => {
                let (within, around) = (self.contains_all(left, right)?, self.contains_all(right, left)?);
                Some(self.people.diagrams.and(within, around))
            }
            _ => None,
        }
    }

    fn compare(&mut self, left: &Term, right: &Term, holds: impl Fn(&i64, &i64) -> bool) -> Option<Formula> {
        match (left, right) {
            (Term::Number(one), Term::Number(other)) => Some(self.meet(one, other, holds)),
            _ => None,
        }
    }

    /// Whether both are so that `holds`.
    fn meet<T>(&mut self, one: &[(Formula, T)], other: &[(Formula, T)], holds: impl Fn(&T, &T) -> bool) -> Formula {
        let mut any = Formula::FALSE;
        for (when, one) in one {
            for (_, other_when) in
                other.iter().map(|(when, other)| (other, when)).filter(|(other, _)| holds(one, other))
            {
                let both = self.people.diagrams.and(*when, *other_when);
                any = self.people.diagrams.or(any, both);
            }
        }
        any
    }

    fn lies_in(&mut self, left: &Term, right: &Term) -> Option<Formula> {
        if let Term::Listed(items) = right {
            let mut any = Formula::FALSE;
            for item in items {
                let inside = self.lies_in(left, item)?;
                any = self.people.diagrams.or(any, inside);
            }
            return Some(any);
        }
        let Term::Entity(kind, id) = right else { return None };
        Some(match left {
            Term::Principal => match kind.as_str() {
                "Group" => self.people.in_any([id.as_str()]),
                "User" => self.people.is_user(id),
                _ => Formula::FALSE,
            },
            Term::Resource => Formula::constant(self.asked.lies.has(kind, id)),
            Term::Action => {
                Formula::constant(kind == "Action" && Action::named(id).any(|own| own == self.asked.action))
            }
            Term::Entity(own, name) if own == kind && name == id => Formula::TRUE,
            Term::Entity(own, name) if own == kind && kind == "Tag" => {
                Formula::constant(self.people.declared().lineage(name).any(|tag| tag == id))
            }
            Term::Entity(own, name) if own == kind && kind == "Action" => {
                Formula::constant(Action::named(id).any(|within| within.name() == name))
            }
            // A user who is named may be in any group, and what a column lies in is known of the one that is asked about.
            _ => return None,
        })
    }

    // ---- sets ----

    fn contains(&mut self, set: &Term, item: &Term) -> Option<Formula> {
        let mut any = Formula::FALSE;
        match (set, item) {
            (Term::Listed(items), _) => {
                for own in items {
                    let equal = self.equal(own, item)?;
                    any = self.people.diagrams.or(any, equal);
                }
            }
            (Term::Set(name), Term::Text(texts)) => {
                for (when, number) in texts {
                    let holds = self.people.holds(name, *number);
                    let both = self.people.diagrams.and(*when, holds);
                    any = self.people.diagrams.or(any, both);
                }
            }
            _ => return None,
        }
        Some(any)
    }

    fn contains_any(&mut self, set: &Term, others: &Term) -> Option<Formula> {
        let (set, items) = match (set, others) {
            (set, Term::Listed(items)) => (set, items),
            (Term::Listed(items), set) => (set, items),
            _ => return None,
        };
        let mut any = Formula::FALSE;
        for item in items {
            let holds = self.contains(set, item)?;
            any = self.people.diagrams.or(any, holds);
        }
        Some(any)
    }

    fn contains_all(&mut self, set: &Term, others: &Term) -> Option<Formula> {
        let mut all = Formula::TRUE;
        match (set, others) {
            (set, Term::Listed(items)) => {
                for item in items {
                    let holds = self.contains(set, item)?;
                    all = self.people.diagrams.and(all, holds);
                }
            }
            (set, Term::Set(name)) if matches!(set, Term::Listed(_)) => {
                for number in 0..self.people.count_texts() {
                    let (holds, text) = (self.people.holds(name, number), Term::Text(vec![(Formula::TRUE, number)]));
                    let (here, without) = (self.contains(set, &text)?, self.people.diagrams.not(holds));
                    let either = self.people.diagrams.or(without, here);
                    all = self.people.diagrams.and(all, either);
                }
            }
            _ => return None,
        }
        Some(all)
    }

    fn is_empty(&mut self, set: &Term) -> Option<Formula> {
        match set {
            Term::Listed(items) => Some(Formula::constant(items.is_empty())),
            Term::Set(_) => self.contains_all(&Term::Listed(Vec::new()), set),
            _ => None,
        }
    }
}

fn variable(name: &Value) -> Term {
    match name.as_str() {
        Some("principal") => Term::Principal,
        Some("resource") => Term::Resource,
        Some("action") => Term::Action,
        Some("context") => Term::Context,
        _ => Term::Unknown,
    }
}

fn part<'v>(operand: &'v Value, name: &str) -> &'v Value {
    operand.get(name).unwrap_or(&Value::Null)
}

/// Whether `text` matches a pattern: literals, and `"Wildcard"` for whatever stands between them.
fn is_like(text: &str, pattern: &[Value]) -> bool {
    let mut parts = vec![String::new()];
    for element in pattern {
        match (element.get("Literal").and_then(Value::as_str), parts.last_mut()) {
            (Some(literal), Some(part)) => part.push_str(literal),
            _ => parts.push(String::new()),
        }
    }
    let Some((first, rest)) = parts.split_first() else { return false };
    let Some(text) = text.strip_prefix(first.as_str()) else { return false };
    let Some((last, between)) = rest.split_last() else { return text.is_empty() };
    // What stands between the ends is taken where it is first found: that leaves most for the rest.
    let left = between.iter().try_fold(text, |text, part| text.split_once(part.as_str()).map(|(_, rest)| rest));
    left.is_some_and(|left| left.ends_with(last.as_str()))
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "tests")]
mod tests {
    use super::*;

    #[test]
    fn patterns_match_as_cedar_says() {
        let pattern = |text: &str| {
            let parts = text.split_inclusive('*').flat_map(|part| {
                let literal = part.trim_end_matches('*');
                let literal = (!literal.is_empty()).then(|| serde_json::json!({ "Literal": literal }));
                literal.into_iter().chain(part.ends_with('*').then(|| "Wildcard".into()))
            });
            parts.collect::<Vec<Value>>()
        };
        for (text, like, holds) in [
            ("", "", true),
            ("a", "", false),
            ("abc", "a*c", true),
            ("abcd", "a*c", false),
            ("éa", "*a", true),
            ("aXbXc", "a*b*c", true),
            ("", "*", true),
        ] {
            assert_eq!(is_like(text, &pattern(like)), holds, "{text} like {like}");
        }
    }
}
