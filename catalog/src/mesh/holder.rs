//! Whom a client's certificate names: its subject, or one of its alternative names, by exact value.

use std::fmt;

/// One name that a certificate gives its holder.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub enum Holder {
    /// The whole subject.
    Subject(Subject),
    /// An alternative name that is a URI, `spiffe://…` for one.
    Uri(String),
    /// An alternative name that is a host's.
    Dns(String),
    /// An alternative name that is an address of mail.
    Email(String),
}

impl fmt::Display for Holder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Subject(subject) => write!(f, "subject {subject}"),
            Self::Uri(name) => write!(f, "uri {name}"),
            Self::Dns(name) => write!(f, "dns {name}"),
            Self::Email(name) => write!(f, "email {name}"),
        }
    }
}

/// A distinguished name. Tools print it from either end, so both orders are the same name.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Subject(Vec<(&'static str, String)>);

/// The parts that a subject may have. A name with any other is nobody's.
const PARTS: [&str; 10] = ["CN", "C", "L", "ST", "O", "OU", "DC", "UID", "SERIALNUMBER", "EMAILADDRESS"];

impl Subject {
    /// The name of these parts, in the order of the certificate.
    pub fn new<'a>(parts: impl IntoIterator<Item = (&'a str, &'a str)>) -> Option<Self> {
        let parts: Option<Vec<_>> = parts.into_iter().map(|(kind, value)| part(kind, value)).collect();
        let parts = parts.filter(|parts| !parts.is_empty())?;
        let reversed: Vec<_> = parts.iter().rev().cloned().collect();
        Some(Self(parts.min(reversed)))
    }

    /// `CN=etl,O=Packly`. A comma inside of a value is written `\,`.
    pub(crate) fn parse(text: &str) -> Option<Self> {
        let parts: Option<Vec<(String, String)>> = split(text)?.into_iter().map(|part| read(&part)).collect();
        Self::new(parts?.iter().map(|(kind, value)| (kind.as_str(), value.as_str())))
    }
}

impl fmt::Display for Subject {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (at, (kind, value)) in self.0.iter().enumerate() {
            let comma = if at > 0 { "," } else { "" };
            let value = value.replace('\\', "\\\\").replace(',', "\\,");
            write!(f, "{comma}{kind}={value}")?;
        }
        Ok(())
    }
}

fn part(kind: &str, value: &str) -> Option<(&'static str, String)> {
    let kind = PARTS.into_iter().find(|part| part.eq_ignore_ascii_case(kind))?;
    (!value.is_empty() && !value.chars().any(char::is_control)).then(|| (kind, value.to_owned()))
}

/// The parts of a written name, with their escapes. Parts that stand side by side in one (`+`) and quotes are not known.
fn split(text: &str) -> Option<Vec<String>> {
    let (mut parts, mut part, mut escaped) = (Vec::new(), String::new(), false);
    for letter in text.chars() {
        match letter {
            _ if escaped => escaped = false,
            '\\' => escaped = true,
            '+' | '"' | ';' | '<' | '>' => return None,
            ',' => {
                parts.push(std::mem::take(&mut part));
                continue;
            }
            _ => {}
        }
        part.push(letter);
    }
    parts.push(part);
    (!escaped).then_some(parts)
}

fn read(part: &str) -> Option<(String, String)> {
    let (kind, written) = part.split_once('=')?;
    let (mut value, mut escaped) = (String::new(), false);
    for letter in written.trim().chars() {
        match letter {
            '\\' if !escaped => escaped = true,
            // An escape of a letter is a byte in hexadecimal, which is not known here.
            _ if escaped && letter.is_alphanumeric() => return None,
            _ => {
                value.push(letter);
                escaped = false;
            }
        }
    }
    Some((kind.trim().to_owned(), value))
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "tests")]
mod tests {
    use super::*;

    #[test]
    fn a_subject_is_the_same_from_either_end() {
        let written = Subject::parse("CN=etl, O=Packly\\, Inc").unwrap();
        let found = Subject::new([("O", "Packly, Inc"), ("CN", "etl")]).unwrap();
        assert_eq!(written, found);
        assert_eq!(Some(&written), Subject::parse(&written.to_string()).as_ref());
        assert_eq!(Subject::parse("O=Packly\\, Inc,cn=etl").unwrap(), found);
    }

    #[test]
    fn a_part_more_or_less_or_another_case_is_another_subject() {
        let etl = Subject::parse("CN=etl,O=Packly").unwrap();
        for other in ["CN=etl", "CN=ETL,O=Packly", "CN=etl,O=Packly,C=NL", "O=etl,CN=Packly", "CN=etl,CN=Packly"] {
            assert_ne!(Subject::parse(other).unwrap(), etl, "{other}");
        }
    }

    #[test]
    fn what_is_not_understood_is_no_subject() {
        for text in ["", "etl", "CN=", "CN=a+O=b", "CN=\"a\"", "CN=a\\", "CN=a,", "CN=a\\41", "XX=a", "=a", "CN=a;O=b"]
        {
            assert_eq!(Subject::parse(text), None, "{text}");
        }
        assert_eq!(Subject::new([("CN", "a\0b")]), None);
    }
}
