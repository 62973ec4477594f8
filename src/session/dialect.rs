//! The SQL that is read: DataFusion's generic dialect, and table versions in it.
//!
//! The generic dialect parses no table version at all. This one does, and leaves everything else as it was: names that
//! begin a version elsewhere stay names.
//!
//! ```text
//! FROM d.p FOR SYSTEM_TIME AS OF '…'      FROM d.p TIMESTAMP AS OF '…'      FROM d.p FOR TIMESTAMP AS OF '…'
//! FROM d.p VERSION AS OF 7                FROM d.p FOR VERSION AS OF 7      FROM d.p FOR SYSTEM_VERSION AS OF 7
//! FROM d.p AT(REF => 'june')              FROM d.p AT(VERSION => 7)         FROM d.p AT(TIMESTAMP => '…')
//! FROM d.changes at, d.q changes          aliases, as in the generic dialect
//! ```

use std::any::TypeId;
use std::cell::Cell;

use datafusion::sql::sqlparser::ast::Expr;
use datafusion::sql::sqlparser::dialect::{Dialect, GenericDialect};
use datafusion::sql::sqlparser::keywords::Keyword;
use datafusion::sql::sqlparser::parser::{Parser, ParserError};
use datafusion::sql::sqlparser::tokenizer::{Token, TokenWithSpan, Tokenizer, TokenizerError, Whitespace, Word};

/// The generic dialect with table versions, for one statement.
///
/// The parser takes a word such as `CAST` for a name where what follows cannot be read, and reads all of that again: each
/// level of nesting doubles the time, and a statement of a hundred words with a slip of the pen at its end takes hours. So
/// the beginnings of expressions are counted.
#[derive(Debug)]
pub(super) struct Versioned {
    /// How many more may be read.
    left: Cell<usize>,
}

/// How many beginnings of expressions may be read for each word; a statement that is read once has one at most.
const AGAIN: usize = 8;

/// How many may be read in any statement.
const READ: usize = 10_000;

impl Versioned {
    /// The dialect for a statement of so many words and signs.
    pub(super) fn of(words: usize) -> Self {
        Self { left: Cell::new(words.saturating_mul(AGAIN).saturating_add(READ)) }
    }

    /// Whether reading was given up, since it took too long.
    pub(super) fn gave_up(&self) -> bool {
        self.left.get() == 0
    }
}

/// Everything in which the generic dialect differs from the defaults.
macro_rules! generic {
    ($($method:ident,)*) => {
        impl Dialect for Versioned {
            /// The parser asks in places which dialect it has, and then this is the generic one.
            fn dialect(&self) -> TypeId {
                GenericDialect.dialect()
            }

            fn supports_table_versioning(&self) -> bool {
                true
            }

            fn parse_prefix(&self, _: &mut Parser<'_>) -> Option<Result<Expr, ParserError>> {
                self.left.set(self.left.get().saturating_sub(1));
                self.gave_up().then_some(Err(ParserError::RecursionLimitExceeded))
            }

            fn is_delimited_identifier_start(&self, ch: char) -> bool {
                GenericDialect.is_delimited_identifier_start(ch)
            }

            fn is_identifier_start(&self, ch: char) -> bool {
                GenericDialect.is_identifier_start(ch)
            }

            fn is_identifier_part(&self, ch: char) -> bool {
                GenericDialect.is_identifier_part(ch)
            }

            $(fn $method(&self) -> bool {
                GenericDialect.$method()
            })*
        }
    };
}

generic! {
    supports_unicode_string_literal,
    supports_partition_by_after_order_by,
    supports_array_join_syntax,
    supports_group_by_expr,
    supports_group_by_with_modifier,
    supports_left_associative_joins_without_parens,
    supports_connect_by,
    supports_match_recognize,
    supports_pipe_operator,
    supports_start_transaction_modifier,
    supports_window_function_null_treatment_arg,
    supports_dictionary_syntax,
    supports_window_clause_named_window_reference,
    supports_parenthesized_set_variables,
    supports_select_wildcard_except,
    support_map_literal_syntax,
    allow_extract_custom,
    allow_extract_single_quotes,
    supports_extract_comma_syntax,
    supports_create_view_comment_syntax,
    supports_parens_around_table_factor,
    supports_values_as_table_factor,
    supports_create_index_with_clause,
    supports_explain_with_utility_options,
    supports_limit_comma,
    supports_update_order_by,
    supports_from_first_select,
    supports_projection_trailing_commas,
    supports_asc_desc_in_column_definition,
    supports_try_convert,
    supports_bitwise_shift_operators,
    supports_comment_on,
    supports_load_extension,
    supports_named_fn_args_with_assignment_operator,
    supports_struct_literal,
    supports_empty_projections,
    supports_nested_comments,
    supports_multiline_comment_hints,
    supports_user_host_grantee,
    supports_string_escape_constant,
    supports_array_typedef_with_brackets,
    supports_match_against,
    supports_set_names,
    supports_comma_separated_set_assignments,
    supports_filter_during_aggregation,
    supports_select_wildcard_exclude,
    supports_data_type_signed_suffix,
    supports_interval_options,
    supports_quote_delimited_string,
    supports_select_wildcard_replace,
    supports_select_wildcard_ilike,
    supports_select_wildcard_rename,
    supports_optimize_table,
    supports_install,
    supports_detach,
    supports_prewhere,
    supports_with_fill,
    supports_limit_by,
    supports_interpolate,
    supports_settings,
    supports_select_format,
    supports_comment_optimizer_hint,
    supports_constraint_keyword_without_name,
    supports_key_column_option,
    supports_comma_separated_trim,
    supports_cte_without_as,
    supports_select_item_multi_column_alias,
    supports_xml_expressions,
}

/// The words and signs of a statement, with the versions of tables written as the parser knows them.
///
/// # Errors
/// For what is no word and no sign.
pub(super) fn tokens(sql: &str) -> Result<Vec<TokenWithSpan>, TokenizerError> {
    let mut tokens = Tokenizer::new(&Versioned::of(sql.len()), sql).tokenize_with_location()?;
    // From the end, so that what follows a word is known.
    let mut next = [Next::default(), Next::default(), Next::default()];
    for token in tokens.iter_mut().rev() {
        let seen = match &token.token {
            Token::Whitespace(_) => continue,
            Token::Word(word) if is_system_version(word) => Next::Word(Keyword::VERSION),
            Token::Word(word) => Next::Word(word.keyword),
            Token::LParen => Next::Parenthesis,
            _ => Next::Other,
        };
        let as_of =
            |first: &Next, second: &Next| (first, second) == (&Next::Word(Keyword::AS), &Next::Word(Keyword::OF));
        let [first, second, third] = &next;
        match &mut token.token {
            // `FOR VERSION AS OF` is parsed without its first word.
            Token::Word(Word { keyword: Keyword::FOR, .. })
                if matches!(first, Next::Word(Keyword::VERSION | Keyword::TIMESTAMP)) && as_of(second, third) =>
            {
                token.token = Token::Whitespace(Whitespace::Space);
                continue;
            }
            Token::Word(word) if is_system_version(word) && as_of(first, second) => word.keyword = Keyword::VERSION,
            // These are versions with their arguments in parentheses, and names without.
            Token::Word(word)
                if matches!(word.keyword, Keyword::AT | Keyword::BEFORE | Keyword::CHANGES)
                    && !matches!(first, Next::Parenthesis | Next::Word(Keyword::TIME)) =>
            {
                word.keyword = Keyword::NoKeyword;
            }
            _ => {}
        }
        next.rotate_right(1);
        if let Some(slot) = next.first_mut() {
            *slot = seen;
        }
    }
    Ok(tokens)
}

/// A word or sign that stands behind another one.
#[derive(Debug, Default, PartialEq, Eq)]
enum Next {
    Word(Keyword),
    Parenthesis,
    #[default]
    Other,
}

/// The SQL standard's word for a version; the parser does not know it.
fn is_system_version(word: &Word) -> bool {
    word.quote_style.is_none() && word.value.eq_ignore_ascii_case("system_version")
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "tests")]
mod tests {
    use datafusion::sql::parser::DFParserBuilder;

    use super::*;

    fn parsed(sql: &str) -> String {
        let dialect = Versioned::of(sql.len());
        let mut parser = DFParserBuilder::new(tokens(sql).unwrap()).with_dialect(&dialect).build().unwrap();
        parser.parse_statements().map_or_else(|error| format!("error: {error}"), |all| all[0].to_string())
    }

    #[test]
    fn every_form_of_a_version_is_parsed() {
        for (form, canonical) in [
            ("FOR SYSTEM_TIME AS OF '2026-01-01'", "FOR SYSTEM_TIME AS OF '2026-01-01'"),
            ("TIMESTAMP AS OF '2026-01-01'", "TIMESTAMP AS OF '2026-01-01'"),
            ("for timestamp as of now() - INTERVAL '1 day'", "TIMESTAMP AS OF now() - INTERVAL '1 day'"),
            ("VERSION AS OF 7", "VERSION AS OF 7"),
            ("FOR VERSION AS OF 7", "VERSION AS OF 7"),
            ("FOR /* a */ SYSTEM_VERSION AS OF 7", "VERSION AS OF 7"),
            ("AT(REF => 'june')", "AT(REF => 'june')"),
            ("AT (TIMESTAMP => '2026-01-01')", "AT(TIMESTAMP => '2026-01-01')"),
        ] {
            // The parser writes the alias first.
            let expect = format!("SELECT * FROM d.p AS x {canonical}");
            assert_eq!(parsed(&format!("SELECT * FROM d.p {form} AS x")), expect);
        }
    }

    #[test]
    fn what_begins_a_version_elsewhere_stays_a_name() {
        for sql in [
            "SELECT at.a, changes.b FROM d.p at JOIN d.q changes ON true",
            "SELECT before, version, timestamp FROM d.changes before",
            "SELECT version.a FROM d.p version",
            "SELECT system_version FROM d.p system_version",
            "SELECT a AT TIME ZONE 'UTC' AS at FROM d.p AS at",
        ] {
            let generic = DFParserBuilder::new(sql).build().unwrap().parse_statements().unwrap()[0].to_string();
            assert_eq!(parsed(sql), generic);
        }
    }

    #[test]
    fn everything_else_is_parsed_as_by_the_generic_dialect() {
        for sql in [
            "SELECT TOP 3 * FROM d.p",
            "SELECT * EXCLUDE (a) FROM d.p",
            "SELECT {'a': 1}, MAP {'b': 2}, [1, 2][1], a -> 'b' FROM `d`.`p`",
            "SELECT count(*) FILTER (WHERE a > 1), first_value(a) IGNORE NULLS OVER (w) FROM d.p WINDOW w AS (ORDER BY a)",
            "SELECT extract(day FROM a), trim(BOTH 'x' FROM b), E'\\n', @x, #y, a$b FROM d.p TABLESAMPLE (10)",
            "FROM d.p SELECT a LIMIT 1, 2",
            "SELECT a FROM d.p GROUP BY ROLLUP (a) HAVING a > 1 QUALIFY true",
            "SELECT a FROM d.p MATCH_RECOGNIZE (PATTERN (x) DEFINE x AS true)",
            "SELECT * FROM (d.p CROSS JOIN d.q) AS t, UNNEST([1]) WITH OFFSET",
            "SELEC 1",
        ] {
            let generic = DFParserBuilder::new(sql).build().unwrap().parse_statements();
            let generic = generic.map_or_else(|error| format!("error: {error}"), |all| all[0].to_string());
            assert_eq!(parsed(sql), generic);
        }
    }
}
