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
/// The same for what is known by its form, without a check digit: orders and articles may be numbered alike.
const NEARLY_ALL: usize = 95;
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
    /// What a person is called. By its column's name alone: a name is any text.
    PersonName,
    /// A number by which a state knows who pays taxes.
    TaxId,
}

impl Kind {
    /// All of them.
    pub const ALL: [Self; 8] =
        [Self::Email, Self::Phone, Self::Card, Self::Iban, Self::Ip, Self::NationalId, Self::PersonName, Self::TaxId];

    /// Its name in `detect`.
    pub fn name(self) -> &'static str {
        match self {
            Self::Email => "email",
            Self::Phone => "phone",
            Self::Card => "card",
            Self::Iban => "iban",
            Self::Ip => "ip",
            Self::NationalId => "national-id",
            Self::PersonName => "person-name",
            Self::TaxId => "tax-id",
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
            Self::PersonName => "names of people",
            Self::TaxId => "tax numbers",
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
            Self::PersonName => false,
            Self::TaxId => checks::is_vat(value),
        }
    }

    /// Whether a value is one where its column is named like it: digits alone number most things, and call some people.
    fn may_be_one(self, value: &str) -> bool {
        match self {
            Self::Phone => checks::is_dialled(value),
            Self::Email | Self::Card | Self::Iban | Self::Ip | Self::NationalId | Self::PersonName | Self::TaxId => {
                false
            }
        }
    }

    /// The share of values, in percent, from which a column of any name holds them.
    fn share(self) -> usize {
        match self {
            Self::TaxId => NEARLY_ALL,
            Self::Email | Self::Phone | Self::Card | Self::Iban | Self::Ip | Self::NationalId | Self::PersonName => {
                MOST
            }
        }
    }

    /// Whether it is known by its digits, so that a number can be one too.
    fn is_number(self) -> bool {
        matches!(self, Self::Card | Self::NationalId)
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

    fn share(&self) -> usize {
        match self {
            Self::Known(kind) => kind.share(),
            Self::Own { .. } | Self::Shape { .. } => MOST,
        }
    }

    fn may_be_one(&self, value: &str) -> bool {
        matches!(self, Self::Known(kind) if kind.may_be_one(value))
    }

    /// Whether the digits of a number say something to it. A pattern of a mesh's own is one of texts: a clock's seconds
    /// have as many digits as many a number of people.
    fn is_number(&self, digits: &str) -> bool {
        match self {
            Self::Known(kind) => kind.is_number() && kind.is_one(digits),
            Self::Shape { pattern, .. } => pattern.is_match(digits),
            Self::Own { .. } => false,
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
    found: Vec<Found<'d>>,
}

/// What one detector found.
#[derive(Debug, Clone)]
struct Found<'d> {
    detector: &'d Detector,
    surely: usize,
    /// What counts where the column is named like it.
    maybe: usize,
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
        let found = detectors.into_iter().map(|detector| Found { detector, surely: 0, maybe: 0 });
        Self { values: 0, found: found.collect() }
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
        for Found { detector, surely, maybe } in &mut self.found {
            let is_one = detector.is_one(value);
            *surely += usize::from(is_one);
            *maybe += usize::from(!is_one && detector.may_be_one(value));
        }
    }

    /// Looks at a whole number.
    pub fn look_at_number(&mut self, value: i128) {
        let digits = value.to_string();
        self.values += 1;
        for Found { detector, surely, maybe } in &mut self.found {
            let is_one = detector.is_number(&digits);
            *surely += usize::from(is_one);
            *maybe += usize::from(!is_one && detector.may_be_one(&digits));
        }
    }

    /// The detectors by which enough was found for a column of this name, each with how much.
    pub fn verdicts(&self, column: &str) -> impl Iterator<Item = (&'d Detector, Share)> {
        let of = self.values;
        let finding = self.found.iter().filter(|found| !matches!(found.detector, Detector::Shape { .. }));
        finding.filter_map(move |Found { detector, surely, maybe }| {
            let (found, fewest, share) =
                if detector.is_name(column) { (surely + maybe, 1, NAMED) } else { (*surely, FEWEST, detector.share()) };
            let is_enough = of >= fewest && found.saturating_mul(100) >= of.saturating_mul(share);
            is_enough.then_some((*detector, Share { found, of }))
        })
    }

    /// How many values do not look like what a tag identifies; `None` for a tag that says nothing of that.
    pub fn unlike(&self, tag: &str) -> Option<Share> {
        let is_shape = |detector: &Detector| matches!(detector, Detector::Shape { tag: own, .. } if **own == *tag);
        let matching = self.found.iter().find(|found| is_shape(found.detector))?.surely;
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
    fn numbers_are_looked_at_by_their_digits() {
        let found = |column: &str, values: &[i64]| {
            let all = Kind::ALL.map(Detector::Known);
            let mut sample = Sample::new(&all);
            values.iter().for_each(|value| sample.look_at_number(i128::from(*value)));
            sample.verdicts(column).map(|(detector, share)| (detector.finds(), share.found)).collect::<Vec<_>>()
        };
        let cards = [4_111_111_111_111_111, 5_500_000_000_000_004, 378_282_246_310_005, 4_012_888_888_881_881, 5];
        assert_eq!(found("paid_with", &cards), [("card numbers".to_owned(), 4)]);
        let people = [111_222_333, 123_456_782, 111_222_333, 123_456_782, 123_456_782, 7];
        assert_eq!(found("who", &people), [("national identity numbers".to_owned(), 5)]);
        let dialled = [31_612_345_678, 612_345_678];
        assert_eq!(found("phone", &dialled), [("telephone numbers".to_owned(), 2)]);
        assert_eq!(found("count", &dialled), []);
        for (first, step) in [(1, 1), (100_000_000, 1), (4_000_000_000_000_000, 7), (1_700_000_000, 60), (-5, 1)] {
            let counted: Vec<i64> = (0..200).map(|n| first + n * step).collect();
            assert_eq!(found("order_no", &counted), [], "{first}");
        }
        let shape = [Detector::Shape { tag: "id.shop".into(), pattern: Regex::new("^[1-9][0-9]{3}$").unwrap() }];
        let mut sample = Sample::new(&shape);
        [1_000, 9_999, 10_000, -1_000].into_iter().for_each(|value| sample.look_at_number(value));
        assert_eq!(sample.unlike("id.shop"), Some(Share { found: 2, of: 4 }));
    }

    #[test]
    fn digits_alone_are_a_telephone_number_where_the_name_says_so() {
        let phones = ["0612345678", "31612345678", "5551234567"];
        assert_eq!(found("phone_number", &phones), [("telephone numbers".to_owned(), 3)]);
        assert_eq!(found("batch", &[phones, phones].concat()), []);
    }

    #[test]
    fn what_has_no_check_digit_is_found_where_nearly_all_values_have_its_form() {
        let numbers: Vec<String> = (0..20).map(|n| format!("NL1234567{n:02}B01")).collect();
        let mut numbers: Vec<&str> = numbers.iter().map(String::as_str).collect();
        assert_eq!(found("partner", &numbers), [("tax numbers".to_owned(), 20)]);
        numbers.extend(["A-1", "A-2"]);
        assert_eq!(found("partner", &numbers), []);
        assert_eq!(found("vat", &numbers), [("tax numbers".to_owned(), 20)]);
        assert_eq!(found("full_name", &["Ann O'Hara"]), [], "a name is any text");
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
