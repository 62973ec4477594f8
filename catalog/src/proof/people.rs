//! Everybody who could ever ask, as choices: who one is, for what, with which attributes, in which groups.
//!
//! Policies compare attributes with literals and with each other, so a few values stand for all of them:
//!
//! ```text
//! texts     every literal, and so many others that the attributes can all differ from each other and from literals
//! numbers   around every literal as many as there are attributes, so that every order of them is there
//! sets      for each text whether it is an element
//! ```
//!
//! What is beyond this, a product of numbers for one, is a choice of its own that nothing ties to the attributes. So a
//! formula is true for somebody wherever the policies are; the other way round the engine is asked.

use std::collections::{BTreeSet, HashMap};

use serde_json::Value;

use super::diagram::{Choice, Diagrams, Formula, Model, Possibility};
use crate::mesh::declared::{AttributeType, Declared};
use crate::principal::{Attribute, Principal};
use crate::trial::NOBODY;

/// Something that is said of somebody, or left open. In the order of asking: groups come last, since there are many,
/// and most rules name one of them alone.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(super) enum Said {
    User,
    Purpose,
    Attribute(String),
    /// Whether the text of that number is in the set that the attribute is.
    Element(String, usize),
    /// What is not understood, by its text.
    Opaque(String),
    Group(String),
}

/// The choices from which on they are about groups.
const GROUPS: Choice = 1 << 24;

/// Everybody, for the policies on one product.
#[derive(Debug)]
pub(super) struct People<'m> {
    declared: &'m Declared,
    pub diagrams: Diagrams,
    /// The literals, and the others behind them.
    texts: Vec<String>,
    literals: usize,
    numbers: Vec<i64>,
    users: Vec<String>,
    purposes: Vec<&'m str>,
    choices: HashMap<Said, Choice>,
    said: HashMap<Choice, Said>,
    /// Whether something was met that is not understood, since this was last taken.
    pub met_opaque: bool,
    next: Choice,
    next_group: Choice,
}

/// What conditions speak of.
#[derive(Debug, Default)]
pub(super) struct Literals {
    texts: BTreeSet<String>,
    numbers: BTreeSet<i64>,
    users: BTreeSet<String>,
}

impl Literals {
    pub fn user(&mut self, user: &str) {
        self.users.insert(user.to_owned());
    }

    /// Every literal in an expression of Cedar's JSON.
    pub fn add(&mut self, expression: &Value) {
        let mut rest = vec![expression];
        while let Some(value) = rest.pop() {
            match value {
                Value::Array(items) => rest.extend(items),
                Value::Object(fields) => {
                    if let Some(entity) = fields.get("__entity") {
                        let text = |key| entity.get(key).and_then(Value::as_str);
                        if let (Some("User"), Some(user)) = (text("type"), text("id")) {
                            self.user(user);
                        }
                        continue;
                    }
                    if let Some(pattern) = fields.get("pattern").and_then(Value::as_array) {
                        // What matches a pattern with nothing between its parts.
                        let parts = pattern.iter().filter_map(|part| part.get("Literal")?.as_str());
                        self.texts.insert(parts.collect());
                    }
                    if let Some(literal) = fields.get("Value") {
                        self.literal(literal);
                    }
                    rest.extend(fields.values());
                }
                _ => {}
            }
        }
    }

    fn literal(&mut self, value: &Value) {
        match value {
            Value::String(text) => drop(self.texts.insert(text.clone())),
            Value::Number(number) => {
                let number = number.as_i64().unwrap_or_default();
                self.numbers.extend([number, number.saturating_neg()]);
            }
            Value::Array(items) => items.iter().for_each(|item| self.literal(item)),
            _ => {}
        }
    }
}

impl<'m> People<'m> {
    pub fn new(declared: &'m Declared, literals: Literals) -> Self {
        let of = |wanted: AttributeType| declared.attributes.values().filter(|kind| **kind == wanted).count();
        let Literals { texts, numbers, users } = literals;
        let purposes: Vec<&str> = declared.purposes.keys().map(String::as_str).collect();
        // A purpose can be compared with an attribute.
        let mut texts: Vec<String> =
            texts.into_iter().chain(purposes.iter().map(|purpose| (*purpose).to_owned())).collect();
        texts.sort();
        texts.dedup();
        let literals = texts.len();
        // One more than attributes: an element of a set can be none of them.
        for number in 0..=of(AttributeType::String) {
            let mut other = "other".to_owned() + &"…".repeat(number);
            while texts.contains(&other) {
                other.insert(0, '…');
            }
            texts.push(other);
        }
        let around = i64::try_from(of(AttributeType::Long)).unwrap_or(i64::MAX).max(1);
        let centres = if numbers.is_empty() { BTreeSet::from([0]) } else { numbers };
        let numbers: BTreeSet<i64> = centres
            .into_iter()
            .flat_map(|centre| (-around..=around).map(move |step| centre.saturating_add(step)))
            .collect();
        let users = users.into_iter().collect();
        Self {
            declared,
            diagrams: Diagrams::new(),
            texts,
            literals,
            numbers: numbers.into_iter().collect(),
            users,
            purposes,
            choices: HashMap::new(),
            said: HashMap::new(),
            met_opaque: false,
            next: 0,
            next_group: GROUPS,
        }
    }

    pub fn declared(&self) -> &'m Declared {
        self.declared
    }

    fn choice(&mut self, said: Said) -> Choice {
        if let Some(known) = self.choices.get(&said) {
            return *known;
        }
        let next = if matches!(said, Said::Group(_)) { &mut self.next_group } else { &mut self.next };
        let choice = *next;
        *next = next.saturating_add(1);
        self.choices.insert(said.clone(), choice);
        self.said.insert(choice, said);
        choice
    }

    // ---- what can be asked of somebody ----

    pub fn is_user(&mut self, user: &str) -> Formula {
        let Some(place) = self.users.iter().position(|known| known == user) else { return Formula::FALSE };
        let (choice, of) = (self.choice(Said::User), count(self.users.len() + 1));
        self.diagrams.choice(choice, of, |way| way == count(place + 1))
    }

    /// Whether one is in any of these groups; a group that the mesh does not declare has nobody.
    pub fn in_any<'g>(&mut self, groups: impl IntoIterator<Item = &'g str>) -> Formula {
        let declared = self.declared;
        let known = groups.into_iter().filter(|group| declared.groups.contains(*group));
        let choices: Vec<Choice> = known.map(|group| self.choice(Said::Group(group.to_owned()))).collect();
        self.diagrams.any(choices)
    }

    /// The purposes that one can have declared, each with its number among the texts.
    pub fn purposes(&mut self) -> Vec<(Formula, usize)> {
        let (choice, of) = (self.choice(Said::Purpose), count(self.purposes.len() + 1));
        let numbers = self.purposes.iter().enumerate();
        let numbers: Vec<_> = numbers.filter_map(|(at, purpose)| Some((at, self.text(purpose)?))).collect();
        numbers
            .into_iter()
            .map(|(at, text)| (self.diagrams.choice(choice, of, |way| way == count(at + 1)), text))
            .collect()
    }

    /// Whether one declared a purpose.
    pub fn has_purpose(&mut self) -> Formula {
        let (choice, of) = (self.choice(Said::Purpose), count(self.purposes.len() + 1));
        self.diagrams.choice(choice, of, |way| way > 0)
    }

    /// Whether whatever was declared may be declared: a purpose has groups.
    pub fn are_entitled(&mut self) -> Formula {
        let (choice, of) = (self.choice(Said::Purpose), count(self.purposes.len() + 1));
        let mut entitled = Formula::TRUE;
        for (at, purpose) in self.purposes.clone().into_iter().enumerate() {
            let groups = self.declared.purposes.get(purpose);
            let may = self.in_any(groups.into_iter().flatten().map(String::as_str));
            let other = self.diagrams.choice(choice, of, |way| way != count(at + 1));
            let either = self.diagrams.or(other, may);
            entitled = self.diagrams.and(entitled, either);
        }
        entitled
    }

    pub fn has(&mut self, attribute: &str) -> Option<Formula> {
        let of = self.possibilities(attribute)?;
        let choice = self.choice(Said::Attribute(attribute.to_owned()));
        Some(self.diagrams.choice(choice, of, |way| way > 0))
    }

    /// What a text attribute can be, by the numbers of the texts.
    pub fn texts_of(&mut self, attribute: &str) -> Vec<(Formula, usize)> {
        let of = count(self.texts.len() + 1);
        let choice = self.choice(Said::Attribute(attribute.to_owned()));
        (0..self.texts.len()).map(|at| (self.diagrams.choice(choice, of, |way| way == count(at + 1)), at)).collect()
    }

    pub fn numbers_of(&mut self, attribute: &str) -> Vec<(Formula, i64)> {
        let of = count(self.numbers.len() + 1);
        let choice = self.choice(Said::Attribute(attribute.to_owned()));
        let numbers = self.numbers.clone().into_iter().enumerate();
        numbers.map(|(at, number)| (self.diagrams.choice(choice, of, |way| way == count(at + 1)), number)).collect()
    }

    pub fn is_true(&mut self, attribute: &str) -> Formula {
        let choice = self.choice(Said::Attribute(attribute.to_owned()));
        self.diagrams.choice(choice, 3, |way| way == 2)
    }

    /// Whether the set that `attribute` is holds the text of that number.
    pub fn holds(&mut self, attribute: &str, text: usize) -> Formula {
        let choice = self.choice(Said::Element(attribute.to_owned(), text));
        self.diagrams.choice(choice, 2, |way| way == 1)
    }

    /// A truth that nothing is known of; the same for the same text.
    pub fn opaque(&mut self, text: String) -> Formula {
        self.met_opaque = true;
        let choice = self.choice(Said::Opaque(text));
        self.diagrams.choice(choice, 2, |way| way == 1)
    }

    /// The number of a literal.
    pub fn text(&self, text: &str) -> Option<usize> {
        self.texts.iter().take(self.literals).position(|known| known == text)
    }

    /// How many texts there are.
    pub fn count_texts(&self) -> usize {
        self.texts.len()
    }

    /// The literal of a number; none for the others.
    pub fn literal(&self, number: usize) -> Option<&str> {
        self.texts.iter().take(self.literals).nth(number).map(String::as_str)
    }

    fn possibilities(&self, attribute: &str) -> Option<Possibility> {
        Some(match self.declared.attributes.get(attribute)? {
            AttributeType::String => count(self.texts.len() + 1),
            AttributeType::Long => count(self.numbers.len() + 1),
            AttributeType::Bool => 3,
            AttributeType::Strings => 2,
        })
    }

    // ---- and back ----

    /// Somebody of whom this is said.
    pub fn principal(&self, model: &Model) -> Principal {
        let nobody = NOBODY.to_owned();
        let mut principal =
            Principal { id: nobody, groups: BTreeSet::new(), attributes: Default::default(), purpose: None };
        for (said, way) in model.iter().filter_map(|(choice, way)| Some((self.said.get(choice)?, *way as usize))) {
            let Some(place) = way.checked_sub(1) else { continue };
            match said {
                Said::User => principal.id = self.users.get(place).cloned().unwrap_or(principal.id),
                Said::Purpose => principal.purpose = self.purposes.get(place).map(|purpose| (*purpose).to_owned()),
                Said::Group(group) => drop(principal.groups.insert(group.clone())),
                Said::Attribute(name) => {
                    // Elements of a set can have been said before it.
                    if let Some(value) = self.attribute(name, place) {
                        principal.attributes.entry(name.clone()).or_insert(value);
                    }
                }
                Said::Element(name, text) => {
                    let set = principal.attributes.entry(name.clone());
                    if let (Attribute::Set(set), Some(text)) =
                        (set.or_insert_with(|| Attribute::Set(BTreeSet::new())), self.texts.get(*text))
                    {
                        set.insert(text.clone());
                    }
                }
                Said::Opaque(_) => {}
            }
        }
        principal
    }

    fn attribute(&self, name: &str, place: usize) -> Option<Attribute> {
        Some(match self.declared.attributes.get(name)? {
            AttributeType::String => Attribute::String(self.texts.get(place)?.clone()),
            AttributeType::Long => Attribute::Long(*self.numbers.get(place)?),
            AttributeType::Bool => Attribute::Bool(place == 1),
            AttributeType::Strings => Attribute::Set(BTreeSet::new()),
        })
    }
}

/// The number of a possibility; lists of literals are far too short to exceed it.
fn count(number: usize) -> Possibility {
    Possibility::try_from(number).unwrap_or(Possibility::MAX)
}
