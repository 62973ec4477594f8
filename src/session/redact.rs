//! The text of a statement without its literals, for those who ask later what was asked.
//!
//! ```text
//! SELECT name FROM d.p WHERE city IN ('Delft', 'Gouda') AND age > 30 -- for Ann
//! SELECT name FROM d.p WHERE city IN (?) AND age > ?
//! ```
//!
//! Kept are the words, the signs that are listed here, and the places of parameters. Everything else is a literal, or is
//! taken for one; comments go as well. A text that cannot be taken apart is not kept at all.

use datafusion::sql::sqlparser::tokenizer::{Token, Word};
use sha2::{Digest, Sha256};

use super::dialect;
use super::gate::LONGEST;

/// What is in the place of a literal.
const LITERAL: &str = "?";

/// How many bytes of a hash tell fingerprints apart.
const TOLD: usize = 8;

/// A statement without its literals.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Redacted {
    pub(super) text: String,
    /// The same for statements that differ in literals, in the lengths of lists and in letters of names alone.
    pub(super) fingerprint: String,
}

/// Which names are kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Names {
    /// All of them: they name what there is.
    All,
    /// Not those in quotes. In a statement that failed they may be texts in the wrong quotes.
    Plain,
}

/// Takes the literals out of a statement.
pub(super) fn redacted(sql: &str, names: Names) -> Option<Redacted> {
    if sql.len() > LONGEST {
        return None;
    }
    let mut text = Text::default();
    for token in dialect::tokens(sql).ok()? {
        match token.token {
            Token::Whitespace(_) => text.space = true,
            Token::Word(Word { quote_style: Some(_), .. }) if names == Names::Plain => text.push("\"?\""),
            Token::Word(word) => text.push(&word.to_string()),
            Token::Placeholder(name) => text.push(&name),
            Token::Comma => text.push(","),
            sign if is_sign(&sign) => text.push(&sign.to_string()),
            Token::EOF => {}
            _ => text.literal(),
        }
    }
    let text = text.text;
    let digest = Sha256::digest(text.to_lowercase().as_bytes());
    let fingerprint = digest.iter().take(TOLD).map(|byte| format!("{byte:02x}")).collect();
    Some(Redacted { text, fingerprint })
}

/// A text that is being written.
#[derive(Default)]
struct Text {
    text: String,
    /// Whether there is space before what comes.
    space: bool,
    /// How long the text was behind the last literal, while nothing but a comma came after it.
    listed: Option<usize>,
}

impl Text {
    fn push(&mut self, word: &str) {
        if word != "," {
            self.listed = None;
        }
        if std::mem::take(&mut self.space) && !self.text.is_empty() {
            self.text.push(' ');
        }
        self.text.push_str(word);
    }

    /// A literal, which goes into the one before it in a list.
    fn literal(&mut self) {
        if let Some(end) = self.listed.filter(|end| *end < self.text.len()) {
            self.text.truncate(end);
            self.space = false;
            return;
        }
        self.push(LITERAL);
        self.listed = Some(self.text.len());
    }
}

/// Whether it is a sign that says nothing by itself.
fn is_sign(token: &Token) -> bool {
    matches!(
        token,
        Token::DoubleEq
            | Token::Eq
            | Token::Neq
            | Token::Lt
            | Token::Gt
            | Token::LtEq
            | Token::GtEq
            | Token::Spaceship
            | Token::Plus
            | Token::Minus
            | Token::Mul
            | Token::Div
            | Token::DuckIntDiv
            | Token::Mod
            | Token::StringConcat
            | Token::LParen
            | Token::RParen
            | Token::Period
            | Token::Colon
            | Token::DoubleColon
            | Token::Assignment
            | Token::SemiColon
            | Token::LBracket
            | Token::RBracket
            | Token::Ampersand
            | Token::Pipe
            | Token::Caret
            | Token::LBrace
            | Token::RBrace
            | Token::RArrow
            | Token::Sharp
            | Token::Tilde
            | Token::TildeAsterisk
            | Token::ExclamationMarkTilde
            | Token::ExclamationMarkTildeAsterisk
            | Token::DoubleTilde
            | Token::DoubleTildeAsterisk
            | Token::ExclamationMarkDoubleTilde
            | Token::ExclamationMarkDoubleTildeAsterisk
            | Token::ShiftLeft
            | Token::ShiftRight
            | Token::ExclamationMark
            | Token::AtSign
            | Token::CaretAt
            | Token::Arrow
            | Token::LongArrow
            | Token::HashArrow
            | Token::HashLongArrow
            | Token::AtArrow
            | Token::ArrowAt
    )
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "tests")]
mod tests {
    use super::*;

    fn check(sql: &str, expect: &str) {
        assert_eq!(redacted(sql, Names::All).unwrap().text, expect, "{sql}");
    }

    #[test]
    fn literals_and_comments_go_and_the_rest_stays() {
        check("SELECT a,\n  b FROM d.p -- of Ann\nWHERE c = 'Ann'", "SELECT a, b FROM d.p WHERE c = ?");
        check("SELECT /* Ann */ 1 + -2.5e3, $1, ?, $name", "SELECT ? + -?, $1, ?, $name");
        check("SELECT DATE '2020-01-01', INTERVAL '1 day'", "SELECT DATE ?, INTERVAL ?");
        check(
            "SELECT \"Größe\", `a b`[1]['x'] FROM d.\"p@1\" AT(REF => 'june')",
            "SELECT \"Größe\", `a b`[?][?] FROM d.\"p@1\" AT(REF => ?)",
        );
        check("SELECT E'a\\n', X'00ff', N'Ann', U&'\\0041', $$Ann$$, $t$Ann$t$, B'1', R'Ann', 'it''s'", "SELECT ?");
        check("SET polder.purpose = 'fraud'", "SET polder.purpose = ?");
    }

    #[test]
    fn lists_of_literals_are_one() {
        check("SELECT a IN (1, 2,3 , 'x') FROM d.p", "SELECT a IN (?) FROM d.p");
        check("VALUES (1, 'a'), (2, 'b')", "VALUES (?), (?)");
        check("SELECT f(1, a, 2, 3, b)", "SELECT f(?, a, ?, b)");
        let long = format!("SELECT a IN ({}1)", "1, ".repeat(10_000));
        check(&long, "SELECT a IN (?)");
    }

    #[test]
    fn what_is_asked_alike_has_one_fingerprint() {
        let of = |sql: &str| redacted(sql, Names::All).unwrap().fingerprint;
        assert_eq!(of("SELECT a FROM d.p WHERE b IN (1, 2)"), of("select A  from d.p where B in ('x')"));
        assert_ne!(of("SELECT a FROM d.p"), of("SELECT b FROM d.p"));
    }

    #[test]
    fn texts_in_the_wrong_quotes_go_where_they_may_be_none() {
        let of = |sql| redacted(sql, Names::Plain).unwrap().text;
        assert_eq!(
            of("SELECT * FROM d.p WHERE a = \"Ann\" OR b = `Ann`"),
            "SELECT * FROM d.p WHERE a = \"?\" OR b = \"?\""
        );
    }

    #[test]
    fn what_cannot_be_taken_apart_is_not_kept() {
        assert_eq!(redacted("SELECT 'Ann", Names::All), None);
        assert_eq!(redacted(&"x".repeat(LONGEST + 1), Names::All), None);
    }
}
