//! `EXPLAIN POLICY`, which the parser does not know: it gets the query without these two words.

use datafusion::sql::sqlparser::tokenizer::{Token, TokenWithSpan, Whitespace};

/// Takes the words away if a statement begins with them.
pub(super) fn strip(tokens: &mut [TokenWithSpan]) -> bool {
    let mut words = tokens.iter_mut().filter(|token| !matches!(token.token, Token::Whitespace(_)));
    let (Some(explain), Some(policy)) = (words.next(), words.next()) else { return false };
    let found = is_word(&explain.token, "explain") && is_word(&policy.token, "policy");
    if found {
        explain.token = Token::Whitespace(Whitespace::Space);
        policy.token = Token::Whitespace(Whitespace::Space);
    }
    found
}

fn is_word(token: &Token, text: &str) -> bool {
    matches!(token, Token::Word(word) if word.quote_style.is_none() && word.value.eq_ignore_ascii_case(text))
}
