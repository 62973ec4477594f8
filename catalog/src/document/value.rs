//! A whole document as a value: what is read of it and what is not, without places, to be kept and written again.
//!
//! ```text
//! name: orders     ─parse─>  Map { name: "orders", price: 3.50 }  ─to_yaml─>  name: orders
//! price:   3.50 # EUR                                                         price: 3.50
//! ```
//!
//! A number stays as it was written, digit by digit. Comments, and the way in which a text was quoted, are not kept.

use std::sync::Arc;

use super::file::File;
use super::yaml::{Kind, Node};
use super::{Finding, Report};

mod write;

/// A document, or a part of one. Two are equal if they say the same.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Value {
    /// Nothing.
    Null,
    /// A number or a truth value, as it is written.
    Plain(Arc<str>),
    /// A text.
    Text(Arc<str>),
    /// A sequence.
    List(Vec<Value>),
    /// A mapping, in the order of the document, no key twice.
    Map(Vec<(Arc<str>, Value)>),
}

impl Value {
    /// Reads the one YAML document of `text`, which findings call `name`.
    ///
    /// # Errors
    /// What keeps it from being one.
    pub fn parse(name: &str, text: &str) -> Result<Self, Vec<Finding>> {
        let mut report = Report::default();
        match Node::parse(&File::new(name, text), &mut report) {
            Some(node) => Ok(Self::of(&node)),
            None => Err(report.into_findings()),
        }
    }

    /// What a document says.
    pub(crate) fn of(node: &Node) -> Self {
        match &node.kind {
            Kind::List(items) => Self::List(items.iter().map(Self::of).collect()),
            Kind::Map(entries) => {
                Self::Map(entries.iter().map(|(key, node)| (key.text.as_str().into(), Self::of(node))).collect())
            }
            Kind::Scalar { .. } if node.is_null() => Self::Null,
            Kind::Scalar { text, .. } if node.what() == "a text" => Self::Text(text.as_str().into()),
            Kind::Scalar { text, .. } => Self::Plain(text.as_str().into()),
        }
    }

    /// What stands under `key`, if this is a mapping that has it.
    pub fn get(&self, key: &str) -> Option<&Self> {
        match self {
            Self::Map(entries) => entries.iter().find(|(name, _)| &**name == key).map(|(_, value)| value),
            _ => None,
        }
    }

    /// The document as YAML that every reader reads alike: whatever another one could take for a date, a number or a
    /// truth value and is a text stands in quotes.
    pub fn to_yaml(&self) -> String {
        write::document(self)
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing, reason = "tests")]
mod tests {
    use super::*;
    use crate::tests::dice::Dice;

    fn again(text: &str) -> (Value, String) {
        let value = Value::parse("a.yaml", text).unwrap();
        let written = value.to_yaml();
        assert_eq!(Value::parse("b.yaml", &written).unwrap(), value, "{written}");
        (value, written)
    }

    #[test]
    fn what_is_written_reads_as_people_write() {
        let (_, written) = again(
            "a:   1.50 # why\nb: 'plain text'\nlist: [x, {k: v, m: ~}, [1, 2], []]\nwhen: 2024-01-31\nmap: {}\n\
             long: |\n  two\n\n  lines\nend: |-\n  no\n  end\n",
        );
        let expected = "a: 1.50\nb: plain text\nlist:\n  - x\n  - k: v\n    m: null\n  - - 1\n    - 2\n  - []\n\
                        when: \"2024-01-31\"\nmap: {}\nlong: |\n  two\n\n  lines\nend: |-\n  no\n  end\n";
        assert_eq!(written, expected);
    }

    #[test]
    fn a_text_that_others_would_take_for_something_else_is_quoted() {
        for text in ["yes", "No", "on", "12:30:00", "1_000", "2024-01-01", "0o7", "=", "<<", "null", "~", "-", "a: b"] {
            let written = Value::Text(text.into()).to_yaml();
            assert_eq!(written, format!("\"{text}\"\n"));
        }
        for text in ["orders", "a b-c", "https://a.example/x?y=1", "#", "@", "v1.0.0"] {
            let plain = Value::Text(text.into()).to_yaml() == format!("{text}\n");
            assert_eq!(plain, !text.starts_with(['#', '@']), "{text}");
        }
    }

    #[test]
    fn numbers_keep_their_digits() {
        let (value, written) = again("a: 1.10\nb: 0x1F\nc: 00012\nd: .inf\ne: TRUE\n");
        assert_eq!(value.get("a"), Some(&Value::Plain("1.10".into())));
        assert_eq!(written, "a: 1.10\nb: 0x1F\nc: 00012\nd: .inf\ne: TRUE\n");
    }

    #[test]
    fn keys_of_every_kind_come_back() {
        again("\"\": 1\n\"a: b\": 2\n'# c': 3\n\"<<\": 4\n1: 5\n~: 6\n");
        let key = "k".repeat(5_000);
        again(&format!("? {key}\n: {{a: [1]}}\n? x{key}\n: |\n  two\n  lines\n"));
    }

    /// Any value comes back from what is written of it.
    #[test]
    fn any_value_comes_back() {
        let letters: Vec<char> =
            "ab1-0.:#,&*!|>'\"%@`?~ \t\n\r\\<[]{}=é😀\u{1}\u{7f}\u{85}\u{a0}\u{2028}\u{feff}".chars().collect();
        fn text(dice: &mut Dice, letters: &[char]) -> Arc<str> {
            (0..dice.below(9)).map(|_| letters[dice.below(letters.len())]).collect::<String>().into()
        }
        fn value(dice: &mut Dice, letters: &[char], depth: usize) -> Value {
            match dice.below(if depth > 4 { 4 } else { 6 }) {
                0 => Value::Null,
                1 => Value::Plain(["1", "-2.50", "true", "False", "1e3"][dice.below(5)].into()),
                2 | 3 => Value::Text(text(dice, letters)),
                4 => Value::List((0..dice.below(4)).map(|_| value(dice, letters, depth + 1)).collect()),
                _ => {
                    let mut entries: Vec<(Arc<str>, Value)> = Vec::new();
                    for _ in 0..dice.below(4) {
                        let key = text(dice, letters);
                        if entries.iter().all(|(known, _)| *known != key) {
                            entries.push((key, value(dice, letters, depth + 1)));
                        }
                    }
                    Value::Map(entries)
                }
            }
        }
        let mut dice = Dice(7);
        for _ in 0..20_000 {
            let value = value(&mut dice, &letters, 0);
            let written = value.to_yaml();
            assert_eq!(Value::parse("a.yaml", &written), Ok(value), "{written:?}");
        }
    }
}
