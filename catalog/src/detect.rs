//! Detectors: what a column holds, told by its values and by its name.
//!
//! ```text
//! "ann@x.example", "bob@y.example", NULL, …   --Sample-->  2 of 2 are email addresses
//! mail_address                                 --words-->  named like an email address
//! ```
//!
//! A value is looked at and forgotten: what stays is how many there were and how many were found. Nothing that is said
//! afterwards holds a value or a part of one.

mod checks;
mod names;
mod numbers;

use std::sync::Arc;

use regex::Regex;

/// How many values a column must have before they say anything: of fewer, too many could be found by chance.
const FEWEST: usize = 5;
/// The share of values, in percent, from which a column holds what is found. A tenth of all numbers have the check digit
/// of a card, so it is most of them; not all, since people write what they like into forms.
const MOST: usize = 80;
/// The same for a column that is named like it: its name is half of the proof.
const NAMED: usize = 30;

/// A way to find something.
#[derive(Debug, Clone)]
pub enum Detector {
    /// One that is known here.
    Known(Kind),
    /// One that a mesh declares.
    Own {
        /// The tag that declares it.
        name: Arc<str>,
        /// What the whole of a value matches.
        pattern: Regex,
    },
    /// What the values of a canonical identifier look like. It finds nothing, and tells of what does not match.
    Shape {
        /// The tag that says so.
        tag: Arc<str>,
        /// What each value matches.
        pattern: Regex,
    },
}

/// What is known here.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Kind {
    /// An email address.
    Email,
    /// A telephone number, international or as people write it at home.
    Phone,
    /// The number of a payment card.
    Card,
    /// An international bank account number.
    Iban,
    /// An address of the internet protocol, of either version.
    Ip,
    /// A number by which a state knows a person.
    NationalId,
}

impl Kind {
    /// All of them.
    pub const ALL: [Self; 6] = [Self::Email, Self::Phone, Self::Card, Self::Iban, Self::Ip, Self::NationalId];

    /// Its name in `detect`.
    pub fn name(self) -> &'static str {
        match self {
            Self::Email => "email",
            Self::Phone => "phone",
            Self::Card => "card",
            Self::Iban => "iban",
            Self::Ip => "ip",
            Self::NationalId => "national-id",
        }
    }

    /// What it finds, for messages.
    pub fn finds(self) -> &'static str {
        match self {
            Self::Email => "email addresses",
            Self::Phone => "telephone numbers",
            Self::Card => "card numbers",
            Self::Iban => "bank account numbers",
            Self::Ip => "IP addresses",
            Self::NationalId => "national identity numbers",
        }
    }

    /// Whether a value is one.
    pub fn is_one(self, value: &str) -> bool {
        match self {
            Self::Email => checks::is_email(value),
            Self::Phone => checks::is_phone(value),
            Self::Card => numbers::is_card(value),
            Self::Iban => numbers::is_iban(value),
            Self::Ip => value.parse::<std::net::IpAddr>().is_ok(),
            Self::NationalId => numbers::is_national_id(value),
        }
    }

    /// Whether a column is named as if it held them, in one of several languages.
    pub fn is_name(self, column: &str) -> bool {
        names::suits(self, column)
    }
}

impl Detector {
    /// What it finds, for messages.
    pub fn finds(&self) -> String {
        match self {
            Self::Known(kind) => kind.finds().to_owned(),
            Self::Own { name, .. } => format!("what the tag `{name}` detects"),
            Self::Shape { tag, .. } => format!("what the tag `{tag}` identifies"),
        }
    }

    fn is_one(&self, value: &str) -> bool {
        match self {
            Self::Known(kind) => kind.is_one(value),
            Self::Own { pattern, .. } | Self::Shape { pattern, .. } => pattern.is_match(value),
        }
    }

    fn is_name(&self, column: &str) -> bool {
        matches!(self, Self::Known(kind) if kind.is_name(column))
    }
}

/// What some values of a column turned out to be.
#[derive(Debug, Clone)]
pub struct Sample<'d> {
    values: usize,
    found: Vec<(&'d Detector, usize)>,
}

/// How much of a sample was found by one detector.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Share {
    /// The values that were found.
    pub found: usize,
    /// The values that were looked at.
    pub of: usize,
}

impl<'d> Sample<'d> {
    /// Nothing yet, for these detectors.
    pub fn new(detectors: impl IntoIterator<Item = &'d Detector>) -> Self {
        Self { values: 0, found: detectors.into_iter().map(|detector| (detector, 0)).collect() }
    }

    /// Looks at a value and forgets it. What is empty says nothing, and what is long is no such thing.
    pub fn look(&mut self, value: &str) {
        let value = value.trim();
        if value.is_empty() {
            return;
        }
        self.values += 1;
        if value.len() > 512 {
            return;
        }
        for (detector, found) in &mut self.found {
            *found += usize::from(detector.is_one(value));
        }
    }

    /// The detectors by which enough was found for a column of this name, each with how much.
    pub fn verdicts(&self, column: &str) -> impl Iterator<Item = (&'d Detector, Share)> {
        let of = self.values;
        let is_enough = move |detector: &Detector, found: usize| {
            let (fewest, share) = if detector.is_name(column) { (1, NAMED) } else { (FEWEST, MOST) };
            of >= fewest && found.saturating_mul(100) >= of.saturating_mul(share)
        };
        let finding = self.found.iter().filter(|(detector, _)| !matches!(detector, Detector::Shape { .. }));
        let found = finding.filter(move |(detector, found)| is_enough(detector, *found));
        found.map(move |(detector, found)| (*detector, Share { found: *found, of }))
    }

    /// How many values do not look like what a tag identifies; `None` for a tag that says nothing of that.
    pub fn unlike(&self, tag: &str) -> Option<Share> {
        let is_shape = |detector: &Detector| matches!(detector, Detector::Shape { tag: own, .. } if **own == *tag);
        let (_, matching) = self.found.iter().find(|(detector, _)| is_shape(detector))?;
        Some(Share { found: self.values - matching, of: self.values })
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "tests")]
mod tests {
    use super::*;

    fn found(column: &str, values: &[&str]) -> Vec<(String, usize)> {
        let all = Kind::ALL.map(Detector::Known);
        let mut sample = Sample::new(&all);
        values.iter().for_each(|value| sample.look(value));
        sample.verdicts(column).map(|(detector, share)| (detector.finds(), share.found)).collect()
    }

    #[test]
    fn a_column_is_what_most_of_its_values_are() {
        let mails = ["a@b.example", " b@b.example ", "c@b.example", "d@b.example", "", "unknown"];
        assert_eq!(found("contact", &mails), [("email addresses".to_owned(), 4)]);
        assert_eq!(found("contact", &mails[..4]), [], "too few to be sure");
        assert_eq!(found("email", &mails[..1]), [("email addresses".to_owned(), 1)], "its name is half of the proof");
        assert_eq!(found("contact", &["a@b.example", "x", "y", "z", "u", "v"]), []);
        assert_eq!(found("email", &[]), []);
    }

    #[test]
    fn numbers_that_are_nothing_are_found_by_nothing() {
        let numbers: Vec<String> = (0..1_000_u64).map(|n| (n * 7_919 + 1_234_567_890_123).to_string()).collect();
        let numbers: Vec<&str> = numbers.iter().map(String::as_str).collect();
        assert_eq!(found("order_no", &numbers), []);
        let words: Vec<&str> = "the quick brown fox jumps over 13 lazy dogs and 2.5 cats".split(' ').collect();
        assert_eq!(found("note", &words), []);
    }

    #[test]
    fn a_pattern_of_ones_own_is_a_detector() {
        let own = [Detector::Own { name: "id.customer".into(), pattern: Regex::new("^C[0-9]{8}$").unwrap() }];
        let mut sample = Sample::new(&own);
        (0..9).for_each(|n| sample.look(&format!("C0000000{n}")));
        sample.look("none");
        let (detector, share) = sample.verdicts("who").next().unwrap();
        assert_eq!(
            (detector.finds().as_str(), share),
            ("what the tag `id.customer` detects", Share { found: 9, of: 10 })
        );
    }

    #[test]
    fn any_text_can_be_looked_at() {
        let mut dice = crate::tests::dice::Dice(11);
        let letters: Vec<char> = "0123456789+-()/. @:abXZ2Aé\u{0}😀٣".chars().collect();
        for _ in 0..50_000 {
            let text: String = (0..dice.below(40)).map(|_| letters[dice.below(letters.len())]).collect();
            for kind in Kind::ALL {
                let _ = (kind.is_one(&text), kind.is_name(&text));
            }
        }
    }
}
