//! The words of the SQL that is served here.

/// Words of the grammar, sorted. As names they need quotes.
#[rustfmt::skip]
pub const KEYWORDS: &[&str] = &[
    "ALL", "AND", "ANTI", "ANY", "AS", "ASC", "AT", "BETWEEN", "BY", "CASE", "CAST", "COLUMN", "CROSS", "CUBE",
    "DESC", "DESCRIBE", "DISTINCT", "ELSE", "END", "ESCAPE", "EXCEPT", "EXCLUDE", "EXISTS", "EXPLAIN", "EXTRACT",
    "FALSE", "FETCH", "FILTER", "FOR", "FROM", "FULL", "GROUP", "GROUPING", "HAVING", "ILIKE", "IN", "INNER",
    "INTERSECT", "INTERVAL", "INTO", "IS", "JOIN", "LATERAL", "LEFT", "LIKE", "LIMIT", "NATURAL", "NOT", "NULL",
    "NULLS", "OF", "OFFSET", "ON", "OR", "ORDER", "OUTER", "OVER", "PARTITION", "QUALIFY", "RECURSIVE", "RIGHT",
    "ROLLUP", "ROW", "ROWS", "SELECT", "SEMI", "SET", "SUBSTRING", "TABLE", "THEN", "TO", "TRIM", "TRUE", "UNION",
    "UNNEST", "USING", "VALUES", "WHEN", "WHERE", "WINDOW", "WITH",
];

/// Words that mean something in their place alone, and names of types, sorted. As names they need no quotes.
#[rustfmt::skip]
pub const PLAIN: &[&str] = &[
    "BIGINT", "BINARY", "BOOLEAN", "BOTH", "CHAR", "COLUMNS", "CURRENT", "DATE", "DECIMAL", "DOUBLE", "FIRST",
    "FLOAT", "FOLLOWING", "GROUPS", "IGNORE", "INT", "INTEGER", "LAST", "LEADING", "NEXT", "NUMERIC", "ONLY",
    "POLICY", "POSITION", "PRECEDING", "RANGE", "REAL", "REF", "REPLACE", "RESET", "RESPECT", "SCHEMAS", "SETS",
    "SHOW", "SIMILAR", "SMALLINT", "STRING", "SYSTEM_TIME", "SYSTEM_VERSION", "TABLES", "TEXT", "TIES", "TIME",
    "TIMESTAMP", "TINYINT", "TRAILING", "UNBOUNDED", "VARCHAR", "VERSION", "WITHIN",
];

/// Whether it is a word of the grammar that needs quotes as a name.
pub fn is_reserved(word: &str) -> bool {
    contains(KEYWORDS, word)
}

/// Whether it is a word of the grammar or the name of a type.
pub fn is_known(word: &str) -> bool {
    contains(KEYWORDS, word) || contains(PLAIN, word)
}

fn contains(words: &[&str], word: &str) -> bool {
    words.binary_search(&word.to_ascii_uppercase().as_str()).is_ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_lists_are_sorted_and_have_nothing_twice() {
        assert!(KEYWORDS.is_sorted_by(|a, b| a < b));
        assert!(PLAIN.is_sorted_by(|a, b| a < b));
        assert!(is_reserved("select") && !is_reserved("date") && is_known("Date") && !is_known("city"));
    }
}
