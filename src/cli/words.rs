//! SQL text cut into pieces: words, literals, comments and signs. Nothing is parsed, and nothing is lost: the pieces one
//! after the other are the text.
//!
//! It is what splitting, highlighting, completion and the history agree on. Text that is being typed is rarely whole, so a
//! quote or a comment without its end reaches to the end of the text and says that it is open.

/// What a piece is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// White space.
    Space,
    /// From `--` to the end of the line, or between `/*` and `*/`.
    Comment,
    /// A string literal.
    Text,
    /// An identifier in quotes.
    Quoted,
    /// A number.
    Number,
    /// A keyword, or an identifier without quotes.
    Word,
    /// Everything else, one character each.
    Sign,
}

/// A piece of SQL text.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Piece<'s> {
    pub kind: Kind,
    pub text: &'s str,
    /// Where it begins, in bytes.
    pub at: usize,
    /// Whether its end is there. That of a line comment is the end of its line.
    pub closed: bool,
}

impl Piece<'_> {
    /// Where it ends, in bytes.
    pub fn end(&self) -> usize {
        self.at + self.text.len()
    }

    /// Whether it is this sign.
    pub fn is(&self, sign: &str) -> bool {
        self.kind == Kind::Sign && self.text == sign
    }

    /// Whether it is this word, in any case.
    pub fn says(&self, word: &str) -> bool {
        self.kind == Kind::Word && self.text.eq_ignore_ascii_case(word)
    }

    /// Whether it means nothing to SQL.
    pub fn is_blank(&self) -> bool {
        matches!(self.kind, Kind::Space | Kind::Comment)
    }
}

/// The pieces of a text.
pub fn pieces(sql: &str) -> impl Iterator<Item = Piece<'_>> {
    let mut at = 0;
    std::iter::from_fn(move || {
        let rest = sql.get(at..).filter(|rest| !rest.is_empty())?;
        let (kind, length, closed) = first(rest);
        let (text, _) = rest.split_at_checked(length).unwrap_or((rest, ""));
        let piece = Piece { kind, text, at, closed };
        at += text.len();
        Some(piece)
    })
}

/// Kind and length of the first piece of a text that is not empty, and whether it is closed.
fn first(rest: &str) -> (Kind, usize, bool) {
    let mut letters = rest.chars();
    let (Some(letter), next) = (letters.next(), letters.next()) else { return (Kind::Space, 0, true) };
    let run = |part: fn(char) -> bool| rest.find(|c| !part(c)).unwrap_or(rest.len());
    match (letter, next) {
        (c, _) if c.is_whitespace() => (Kind::Space, run(char::is_whitespace), true),
        ('-', Some('-')) => match rest.find('\n') {
            Some(length) => (Kind::Comment, length, true),
            None => (Kind::Comment, rest.len(), false),
        },
        ('/', Some('*')) => block(rest),
        ('\'', _) => quoted(rest, Kind::Text, '\'', 1, false),
        ('e' | 'E', Some('\'')) => quoted(rest, Kind::Text, '\'', 2, true),
        ('"' | '`', _) => quoted(rest, Kind::Quoted, letter, 1, false),
        ('$', _) => dollars(rest).unwrap_or((Kind::Sign, 1, true)),
        ('.', Some(c)) if c.is_ascii_digit() => (Kind::Number, number(rest), true),
        (c, _) if c.is_ascii_digit() => (Kind::Number, number(rest), true),
        (c, _) if begins_word(c) => (Kind::Word, run(continues_word), true),
        (c, _) => (Kind::Sign, c.len_utf8(), true),
    }
}

/// Whether a word can begin with it.
pub fn begins_word(c: char) -> bool {
    c.is_alphabetic() || c == '_'
}

/// Whether a word can go on with it.
pub fn continues_word(c: char) -> bool {
    c.is_alphanumeric() || matches!(c, '_' | '$')
}

fn number(rest: &str) -> usize {
    let mut before = ' ';
    let inside = |c: char| {
        let more = c.is_ascii_alphanumeric() || c == '.' || (matches!(c, '+' | '-') && matches!(before, 'e' | 'E'));
        before = c;
        !more
    };
    rest.find(inside).unwrap_or(rest.len())
}

/// From a quote to the same one, where a doubled one stands for itself.
fn quoted(rest: &str, kind: Kind, quote: char, skip: usize, escapes: bool) -> (Kind, usize, bool) {
    let mut letters = rest.char_indices().skip(skip).peekable();
    while let Some((at, letter)) = letters.next() {
        if escapes && letter == '\\' {
            letters.next();
        } else if letter == quote && letters.next_if(|(_, next)| *next == quote).is_none() {
            return (kind, at + quote.len_utf8(), true);
        }
    }
    (kind, rest.len(), false)
}

/// A block comment; they nest.
fn block(rest: &str) -> (Kind, usize, bool) {
    let (mut depth, mut before) = (0_usize, ' ');
    for (at, letter) in rest.char_indices() {
        let both = (before, letter);
        before = letter;
        match both {
            ('/', '*') => depth += 1,
            ('*', '/') if depth == 1 => return (Kind::Comment, at + 1, true),
            ('*', '/') => depth = depth.saturating_sub(1),
            _ => continue,
        }
        // Its second sign begins no other one.
        before = ' ';
    }
    (Kind::Comment, rest.len(), false)
}

/// `$tag$ … $tag$`.
fn dollars(rest: &str) -> Option<(Kind, usize, bool)> {
    let inside = rest.get(1..)?;
    let length = inside.find(|c: char| !(c.is_alphanumeric() || c == '_'))?;
    // `$1` is a parameter.
    if inside.get(length..)?.chars().next()? != '$' || inside.starts_with(|c: char| c.is_ascii_digit()) {
        return None;
    }
    let (tag, body) = rest.split_at_checked(length + 2)?;
    Some(match body.find(tag) {
        Some(end) => (Kind::Text, tag.len() + end + tag.len(), true),
        None => (Kind::Text, rest.len(), false),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(sql: &str, expect: &[(Kind, &str)]) {
        let found: Vec<Piece<'_>> = pieces(sql).collect();
        let shown: Vec<(Kind, &str)> =
            found.iter().filter(|piece| piece.kind != Kind::Space).map(|piece| (piece.kind, piece.text)).collect();
        assert_eq!(shown, expect, "{sql}");
        assert_eq!(found.iter().map(|piece| piece.text).collect::<String>(), sql, "nothing is lost");
        assert!(found.iter().all(|piece| sql.get(piece.at..piece.end()) == Some(piece.text)));
    }

    #[test]
    fn words_numbers_and_signs() {
        use Kind::{Number, Sign, Word};
        check("a_1<=1.5e-3", &[(Word, "a_1"), (Sign, "<"), (Sign, "="), (Number, "1.5e-3")]);
        check("d.p", &[(Word, "d"), (Sign, "."), (Word, "p")]);
        check("é+.5-1", &[(Word, "é"), (Sign, "+"), (Number, ".5"), (Sign, "-"), (Number, "1")]);
        check("$1", &[(Sign, "$"), (Number, "1")]);
    }

    #[test]
    fn quotes_end_where_they_are_not_doubled() {
        use Kind::{Quoted, Text, Word};
        check("'it''s' x", &[(Text, "'it''s'"), (Word, "x")]);
        check("\"a\"\"b\"`c`", &[(Quoted, "\"a\"\"b\""), (Quoted, "`c`")]);
        check("E'it\\'s' e", &[(Text, "E'it\\'s'"), (Word, "e")]);
        check("$q$ it's; $q$ x", &[(Text, "$q$ it's; $q$"), (Word, "x")]);
        check("'\\' x", &[(Text, "'\\'"), (Word, "x")]);
        check("'é", &[(Text, "'é")]);
        assert!(pieces("'open").all(|piece| !piece.closed));
    }

    #[test]
    fn comments_are_pieces_and_blocks_nest() {
        use Kind::{Comment, Word};
        check("a -- b ; 'c\nd", &[(Word, "a"), (Comment, "-- b ; 'c"), (Word, "d")]);
        check("/* a /* b */ ; */ c", &[(Comment, "/* a /* b */ ; */"), (Word, "c")]);
        check("/*/ a */ c", &[(Comment, "/*/ a */"), (Word, "c")]);
        assert!(pieces("/* /* */").all(|piece| !piece.closed));
    }
}
