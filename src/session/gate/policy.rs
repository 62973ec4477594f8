//! `EXPLAIN POLICY`, which the parser does not know: it gets the query without these two words.

use datafusion::sql::sqlparser::tokenizer::{Token, TokenWithSpan, Whitespace};

/// Takes the words away if a statement begins with them and a query follows. Alone, or with a dot behind it, `policy`
/// is the name of a table.
pub(super) fn strip(tokens: &mut [TokenWithSpan]) -> bool {
    let mut words = tokens.iter_mut().filter(|token| !matches!(token.token, Token::Whitespace(_)));
    let (Some(explain), Some(policy), Some(next)) = (words.next(), words.next(), words.next()) else { return false };
    let follows = matches!(next.token, Token::Word(_) | Token::LParen);
    let found = is_word(&explain.token, "explain") && is_word(&policy.token, "policy") && follows;
    if found {
        explain.token = Token::Whitespace(Whitespace::Space);
        policy.token = Token::Whitespace(Whitespace::Space);
    }
    found
}

fn is_word(token: &Token, text: &str) -> bool {
    matches!(token, Token::Word(word) if word.quote_style.is_none() && word.value.eq_ignore_ascii_case(text))
}
