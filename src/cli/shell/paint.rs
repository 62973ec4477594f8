//! SQL in colours: keywords, literals and comments. Colours take no room, and the text stays as it is.

use std::fmt::Write as _;

use super::keywords::is_known;
use crate::cli::words::{Kind, Piece, pieces};

const KEYWORD: &str = "\x1b[1;34m";
const TEXT: &str = "\x1b[32m";
const NUMBER: &str = "\x1b[36m";
const COMMENT: &str = "\x1b[2m";
const COMMAND: &str = "\x1b[1;35m";
const PLAIN: &str = "\x1b[0m";

/// The text in colours.
pub fn paint(text: &str) -> String {
    if text.trim_start().starts_with('\\') {
        let (command, rest) = text.split_at(text.find(' ').unwrap_or(text.len()));
        return format!("{COMMAND}{command}{PLAIN}{rest}");
    }
    let mut painted = String::with_capacity(text.len().saturating_mul(2));
    for piece in pieces(text) {
        match color(&piece) {
            // A line of a terminal forgets its colour at its end.
            Some(color) => {
                for (place, line) in piece.text.split('\n').enumerate() {
                    let _ = write!(painted, "{}{color}{line}{PLAIN}", if place == 0 { "" } else { "\n" });
                }
            }
            None => painted.push_str(piece.text),
        }
    }
    painted
}

fn color(piece: &Piece<'_>) -> Option<&'static str> {
    match piece.kind {
        Kind::Word if is_known(piece.text) => Some(KEYWORD),
        Kind::Text => Some(TEXT),
        Kind::Number => Some(NUMBER),
        Kind::Comment => Some(COMMENT),
        Kind::Word | Kind::Space | Kind::Quoted | Kind::Sign => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The painted text with a letter for each colour.
    fn check(text: &str, expect: &str) {
        let painted = paint(text);
        let marks =
            [(KEYWORD, "<k:"), (TEXT, "<t:"), (NUMBER, "<n:"), (COMMENT, "<c:"), (COMMAND, "<m:"), (PLAIN, ">")];
        let marked = marks.iter().fold(painted, |text, (color, mark)| text.replace(color, mark));
        assert_eq!(marked, expect);
    }

    #[test]
    fn words_of_the_grammar_and_literals_have_colours_and_names_have_none() {
        check("SELECT city, 'it''s', 1.5", "<k:SELECT> city, <t:'it''s'>, <n:1.5>");
        check("select \"select\" -- from", "<k:select> \"select\" <c:-- from>");
        check("SELECT 'open", "<k:SELECT> <t:'open>");
        check("a /* b\nc */ d", "a <c:/* b>\n<c:c */> d");
        check("\\d select.x", "<m:\\d> select.x");
    }
}
