//! A filter's text, cut into words and signs.

use std::sync::Arc;

use super::Fault;
use crate::document::quote;

/// No honest filter has more; what has more is not worth its time in every query.
const MAX_TOKENS: usize = 1000;

/// A word or a sign, and where it begins in the text, in bytes.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Token {
    pub kind: Kind,
    pub offset: usize,
}

/// What a token is.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Kind {
    /// A bare word: a keyword or a name.
    Word(Arc<str>),
    /// A name in double quotes.
    Name(Arc<str>),
    /// A text in single quotes.
    Text(Arc<str>),
    /// A number without a sign.
    Number(Arc<str>),
    /// `<=`, `(`, …
    Sign(&'static str),
    /// Nothing more.
    End,
}

/// Longer signs first.
const SIGNS: [&str; 14] = ["<=", ">=", "<>", "!=", "=", "<", ">", "(", ")", ",", ".", "+", "-", "*"];

/// Cuts `text`; the last token is the end.
pub(super) fn tokens(text: &str) -> Result<Vec<Token>, Fault> {
    let mut tokens = Vec::new();
    let mut offset = 0;
    while let Some(rest) = text.get(offset..).filter(|rest| !rest.is_empty()) {
        let first = rest.chars().next().unwrap_or_default();
        if first.is_whitespace() {
            offset += first.len_utf8();
            continue;
        }
        if tokens.len() == MAX_TOKENS {
            return Err(Fault::new(offset, format!("the filter has more than {MAX_TOKENS} words and signs")));
        }
        let (kind, length) = token(rest, first, offset)?;
        tokens.push(Token { kind, offset });
        offset += length;
    }
    tokens.push(Token { kind: Kind::End, offset: text.len() });
    Ok(tokens)
}

fn token(rest: &str, first: char, offset: usize) -> Result<(Kind, usize), Fault> {
    let span = |belongs: &dyn Fn(char) -> bool| {
        let length = rest.find(|c| !belongs(c)).unwrap_or(rest.len());
        rest.get(..length).unwrap_or_default()
    };
    if first == '\'' || first == '"' {
        let (text, length) =
            quoted(rest, first).ok_or_else(|| Fault::new(offset, format!("the {first} here is never closed")))?;
        return Ok((if first == '"' { Kind::Name(text.into()) } else { Kind::Text(text.into()) }, length));
    }
    if first.is_ascii_digit() {
        let number = span(&|c| c.is_ascii_alphanumeric() || c == '.');
        return Ok((Kind::Number(number.into()), number.len()));
    }
    if first.is_alphabetic() || first == '_' {
        let word = span(&|c| c.is_alphanumeric() || c == '_');
        return Ok((Kind::Word(word.into()), word.len()));
    }
    match SIGNS.into_iter().find(|sign| rest.starts_with(sign)) {
        Some(sign) => Ok((Kind::Sign(sign), sign.len())),
        None => Err(Fault::new(offset, format!("{} means nothing in a filter", quote(&first.to_string())))),
    }
}

/// What stands between two quotes, where a doubled quote is one; and how long it is with its quotes.
fn quoted(rest: &str, quote: char) -> Option<(String, usize)> {
    let mut text = String::new();
    let mut chars = rest.char_indices().skip(1).peekable();
    while let Some((at, c)) = chars.next() {
        if c != quote {
            text.push(c);
        } else if chars.next_if(|(_, next)| *next == quote).is_some() {
            text.push(quote);
        } else {
            return Some((text, at + 1));
        }
    }
    None
}
