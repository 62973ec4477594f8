//! The parameters of a statement: every way to write them becomes `$1`, `$2`… before anything is parsed.
//!
//! ```text
//! a > ? AND b < ?          a > $1 AND b < $2       by place
//! a > $2 AND b < $1        as it is                by number, without gaps
//! a > $low OR b > $low     a > $1 OR b > $1        by name, in the order in which they stand first
//! ```

use datafusion::sql::sqlparser::tokenizer::{Token, TokenWithSpan};

use crate::error::{Class, Error};

/// The most parameters of a statement.
const MOST: usize = 4096;

/// Numbers the parameters of a statement, and gives their names as it writes them: `$1`, or `$low`.
///
/// # Errors
/// `BadRequest` for a gap, and for two ways in one statement; `Limit` for too many.
pub fn number(tokens: &mut [TokenWithSpan]) -> Result<Vec<String>, Error> {
    let mut way: Option<Way> = None;
    let mut names: Vec<String> = Vec::new();
    let mut numbered: Vec<bool> = Vec::new();
    for token in tokens {
        let Token::Placeholder(text) = &mut token.token else { continue };
        let found = Way::of(text)?;
        if way.is_some_and(|way| way != found) {
            return Err(Error::new(Class::BadRequest, "parameters are written in two ways")
                .help("write all of them as `?`, as `$1`, `$2`…, or as `$name`"));
        }
        way = Some(found);
        let place = match found {
            Way::Place => {
                names.push(format!("${}", names.len().saturating_add(1)));
                names.len()
            }
            Way::Number => {
                let place: usize = text.trim_start_matches(['$', '?']).parse().unwrap_or(usize::MAX);
                few(place)?;
                if place > numbered.len() {
                    numbered.resize(place, false);
                }
                if let Some(seen) = place.checked_sub(1).and_then(|index| numbered.get_mut(index)) {
                    *seen = true;
                }
                place
            }
            Way::Name => match names.iter().position(|name| name == text) {
                Some(index) => index.saturating_add(1),
                None => {
                    names.push(text.clone());
                    names.len()
                }
            },
        };
        few(names.len())?;
        if place == 0 {
            return Err(Error::new(Class::BadRequest, "parameters are numbered from `$1`"));
        }
        *text = format!("${place}");
    }
    if let Some(gap) = numbered.iter().position(|seen| !seen) {
        return Err(Error::new(Class::BadRequest, format!("there is no parameter `${}`", gap.saturating_add(1)))
            .help("number the parameters without gaps"));
    }
    if way == Some(Way::Number) {
        names = (1..=numbered.len()).map(|place| format!("${place}")).collect();
    }
    Ok(names)
}

fn few(parameters: usize) -> Result<(), Error> {
    if parameters > MOST {
        return Err(Error::new(Class::Limit, format!("the statement has more than {MOST} parameters")));
    }
    Ok(())
}

/// How a parameter is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Way {
    Place,
    Number,
    Name,
}

impl Way {
    fn of(text: &str) -> Result<Self, Error> {
        let digits = |text: &str| !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
        match (text, text.strip_prefix('$'), text.strip_prefix('?')) {
            ("?", ..) => Ok(Self::Place),
            (_, Some(number), _) | (_, _, Some(number)) if digits(number) => Ok(Self::Number),
            (_, Some(name), _) if name.starts_with(|c: char| c.is_alphabetic() || c == '_') => Ok(Self::Name),
            _ => Err(Error::new(Class::BadRequest, format!("`{text}` is not supported as a parameter"))
                .help("write `?`, `$1` or `$name`")),
        }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "tests")]
mod tests {
    use super::*;
    use crate::session::dialect;

    fn numbered(sql: &str) -> Result<(String, Vec<String>), Error> {
        let mut tokens = dialect::tokens(sql).unwrap();
        let names = number(&mut tokens)?;
        Ok((tokens.iter().map(|token| token.token.to_string()).collect(), names))
    }

    fn check(sql: &str, expect: &str, names: &[&str]) {
        let (text, found) = numbered(sql).unwrap();
        assert_eq!((text.as_str(), found), (expect, names.iter().map(|name| (*name).to_owned()).collect()), "{sql}");
    }

    #[test]
    fn parameters_are_numbered_by_place_by_number_and_by_name() {
        check("a = ? AND b = ?", "a = $1 AND b = $2", &["$1", "$2"]);
        check("a = $2 AND b = $1 OR c = $2", "a = $2 AND b = $1 OR c = $2", &["$1", "$2"]);
        check("a = ?2 AND b = ?1", "a = $2 AND b = $1", &["$1", "$2"]);
        check("a = $low AND b = $high OR c = $low", "a = $1 AND b = $2 OR c = $1", &["$low", "$high"]);
        check("a = '?' AND \"b?\" = 'is $1'", "a = '?' AND \"b?\" = 'is $1'", &[]);
    }

    #[test]
    fn gaps_two_ways_and_too_many_are_refused() {
        for (sql, what) in [
            ("a = $1 AND b = $3", "there is no parameter `$2`"),
            ("a = $0", "numbered from `$1`"),
            ("a = ? AND b = $1", "in two ways"),
            ("a = $x AND b = $1", "in two ways"),
            ("a = $4097", "more than 4096"),
            ("a = $99999999999999999999999", "more than 4096"),
        ] {
            assert!(numbered(sql).unwrap_err().message.contains(what), "{sql}");
        }
        let many = vec!["?"; MOST + 1].join(", ");
        assert_eq!(numbered(&many).unwrap_err().class, Class::Limit);
    }
}
