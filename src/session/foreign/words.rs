//! The words of a view's text as ours: names, quotes and texts.
//!
//! ```text
//! spark   SELECT `Total`, "a text" FROM t      ->  SELECT "total", 'a text' FROM t
//! trino   SELECT "Total", 'a text' FROM t      ->  SELECT "total", 'a text' FROM t
//! ```
//!
//! Neither tells the cases of names apart, quoted or not, and we do. So every name is spelled as the contracts spell it,
//! and else in lower case.

use datafusion::sql::sqlparser::keywords::Keyword;
use datafusion::sql::sqlparser::tokenizer::{Token, TokenWithSpan, Tokenizer, Whitespace, Word};

use super::Manner;
use crate::error::{Class, Error};
use crate::resolve::Names;
use crate::session::gate::LONGEST;

/// The tokens of a text, as our own parser takes them.
pub(super) fn read(sql: &str, manner: Manner, names: &Names) -> Result<Vec<TokenWithSpan>, Error> {
    let bad = |what: &str| Error::new(Class::BadRequest, what);
    if sql.len() > LONGEST {
        return Err(Error::new(Class::Limit, format!("the view is more than {LONGEST} bytes long")));
    }
    // In Spark's texts it begins what stands for another letter, unless somebody set that it does not.
    if manner == Manner::Spark && sql.contains('\\') {
        return Err(bad("the view has a `\\` in it, which may mean itself or another letter"));
    }
    let tokens = Tokenizer::new(manner.dialect(), sql).tokenize_with_location();
    let mut tokens = tokens.map_err(|_| bad("the view cannot be parsed"))?;
    if manner == Manner::Own {
        return Ok(tokens);
    }
    let mut is_call = false;
    // From the end, so that what follows a word is known.
    for TokenWithSpan { token, .. } in tokens.iter_mut().rev() {
        let quoted = |name: &str| {
            let (value, quote_style) = (names.spelled(name), Some('"'));
            Token::Word(Word { value, quote_style, keyword: Keyword::NoKeyword })
        };
        let read = match &*token {
            Token::Whitespace(_) => continue,
            Token::Word(Word { value, quote_style: Some(_), .. }) => Some(quoted(value)),
            // A function is none of ours to spell.
            Token::Word(Word { value, keyword: Keyword::NoKeyword, .. }) if !is_call => Some(quoted(value)),
            Token::DoubleQuotedString(text) => Some(Token::SingleQuotedString(text.clone())),
            _ => None,
        };
        is_call = matches!(token, Token::LParen);
        if let Some(read) = read {
            *token = read;
        }
    }
    // A hint changes nothing about rows.
    tokens.retain(|token| !matches!(token.token, Token::Whitespace(Whitespace::MultiLineComment(_))));
    Ok(tokens)
}
