//! The words of a view's text as ours: names and quotes.
//!
//! ```text
//! spark   SELECT `Total` FROM Orders      ->  SELECT "total" FROM "orders", written `Orders`
//! trino   SELECT "Total" FROM Orders      ->  SELECT "total" FROM "orders"
//! ```
//!
//! Neither tells the cases of names apart, quoted or not, and we do. So every name is spelled as the contracts spell it,
//! and else in lower case; how the text writes it is kept, since catalogs tell the cases of tables apart.

use std::collections::{BTreeMap, BTreeSet};

use datafusion::sql::sqlparser::keywords::Keyword;
use datafusion::sql::sqlparser::tokenizer::{Token, TokenWithSpan, Tokenizer, Word};

use super::Manner;
use crate::error::{Class, Error};
use crate::resolve::Names;
use crate::session::gate::LONGEST;

/// How a text writes its names, by these in lower case.
pub(super) type Written = BTreeMap<String, BTreeSet<String>>;

/// The tokens of a text, as our own parser takes them.
pub(super) fn read(sql: &str, manner: Manner, names: &Names) -> Result<(Vec<TokenWithSpan>, Written), Error> {
    let bad = |what: &str| Error::new(Class::BadRequest, what);
    if sql.len() > LONGEST {
        return Err(Error::new(Class::Limit, format!("the view is more than {LONGEST} bytes long")));
    }
    let mut written = Written::new();
    if manner == Manner::Own {
        return Ok((crate::session::dialect::tokens(sql).map_err(|_| bad("the view cannot be parsed"))?, written));
    }
    // In Spark's texts it begins what stands for another letter, unless somebody set that it does not.
    if manner == Manner::Spark && sql.contains('\\') {
        return Err(bad("the view has a `\\` in it, which may mean itself or another letter"));
    }
    // Some run what stands in such a comment.
    if sql.contains("/*!") {
        return Err(bad("the view has a `/*!` in it, which may be a comment or none"));
    }
    let tokens = Tokenizer::new(manner.dialect(), sql).tokenize_with_location();
    let mut tokens = tokens.map_err(|_| bad("the view cannot be parsed"))?;
    tokens.retain(|token| !matches!(token.token, Token::Whitespace(_)));
    let mut is_call = false;
    let mut is_text = false;
    // From the end, so that what follows a word is known.
    for TokenWithSpan { token, .. } in tokens.iter_mut().rev() {
        let read = match &*token {
            Token::SingleQuotedString(_) if is_text => return Err(bad("the view has two texts side by side")),
            Token::DoubleQuotedString(_) => {
                return Err(bad("the view has something in `\"`, which may be a text or a name"));
            }
            Token::Word(Word { keyword: Keyword::NoKeyword, .. }) if is_text => {
                return Err(bad("the view has a text with a word before it"));
            }
            // A function is none of ours to spell.
            Token::Word(Word { value, quote_style, keyword })
                if quote_style.is_some() || *keyword == Keyword::NoKeyword && !is_call =>
            {
                written.entry(value.to_lowercase()).or_default().insert(value.clone());
                let (value, quote_style) = (names.spelled(value), Some('"'));
                Some(Token::Word(Word { value, quote_style, keyword: Keyword::NoKeyword }))
            }
            Token::Word(Word { value, .. }) => {
                written.entry(value.to_lowercase()).or_default().insert(value.clone());
                None
            }
            _ => None,
        };
        is_call = matches!(token, Token::LParen);
        is_text = matches!(token, Token::SingleQuotedString(_));
        if let Some(read) = read {
            *token = read;
        }
    }
    Ok((tokens, written))
}
