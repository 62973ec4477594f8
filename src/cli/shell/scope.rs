//! What a statement that is being typed says about itself so far: the tables that it names, under which aliases, and what
//! kind of thing is about to be typed.
//!
//! It is read from words and signs, since text that is being typed can seldom be parsed.

use std::collections::BTreeSet;

use super::keywords::is_known;
use crate::cli::words::{Kind, Piece};

/// Words that begin a part of a query.
const CLAUSES: [&str; 19] = [
    "SELECT",
    "FROM",
    "JOIN",
    "WHERE",
    "GROUP",
    "HAVING",
    "ORDER",
    "LIMIT",
    "OFFSET",
    "ON",
    "USING",
    "SET",
    "WITH",
    "WINDOW",
    "QUALIFY",
    "UNION",
    "EXCEPT",
    "INTERSECT",
    "VALUES",
];

/// A table that a statement names.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Named {
    pub domain: String,
    pub product: String,
    /// What its columns are called by: the alias, or the product's own name.
    pub alias: String,
}

/// What a statement names.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Scope {
    pub tables: BTreeSet<Named>,
    /// Common table expressions.
    pub queries: BTreeSet<String>,
}

/// A name as SQL means it: lowercase unless it is quoted.
pub fn plain(piece: &Piece<'_>) -> String {
    if piece.kind != Kind::Quoted {
        return piece.text.to_lowercase();
    }
    let quote = piece.text.chars().next().unwrap_or('"');
    let inner = piece.text.strip_prefix(quote).unwrap_or_default();
    let inner = if piece.closed { inner.strip_suffix(quote).unwrap_or(inner) } else { inner };
    inner.replace(&format!("{quote}{quote}"), &quote.to_string())
}

fn is_name(piece: &Piece<'_>) -> bool {
    piece.kind == Kind::Quoted || (piece.kind == Kind::Word && !is_clause(piece))
}

fn is_clause(piece: &Piece<'_>) -> bool {
    CLAUSES.iter().any(|clause| piece.says(clause))
}

/// What the pieces of one statement name.
pub fn scope(pieces: &[Piece<'_>]) -> Scope {
    let pieces: Vec<&Piece<'_>> = pieces.iter().filter(|piece| !piece.is_blank()).collect();
    let mut scope = Scope::default();
    let mut rest = pieces.as_slice();
    let mut expects_table = false;
    let mut in_from = false;
    while let [piece, behind @ ..] = rest {
        rest = behind;
        if let [as_, open, ..] = behind
            && is_name(piece)
            && as_.says("AS")
            && open.is("(")
        {
            scope.queries.insert(plain(piece));
        }
        if piece.says("FROM") || piece.says("JOIN") {
            (expects_table, in_from) = (true, true);
        } else if piece.is(",") {
            expects_table = in_from;
        } else if is_clause(piece) || piece.is("(") || piece.is(")") {
            in_from = in_from && piece.is(")");
            expects_table = false;
        } else if expects_table && is_name(piece) {
            expects_table = false;
            let mut path = vec![plain(piece)];
            while let [dot, name, behind @ ..] = rest {
                if !dot.is(".") || !is_name(name) {
                    break;
                }
                path.push(plain(name));
                rest = behind;
            }
            if let [.., domain, product] = path.as_slice() {
                let alias = alias(rest).unwrap_or_else(|| product.clone());
                scope.tables.insert(Named { domain: domain.clone(), product: product.clone(), alias });
            }
        }
    }
    scope
}

fn alias(rest: &[&Piece<'_>]) -> Option<String> {
    let rest = match rest {
        [word, behind @ ..] if word.says("AS") => behind,
        rest => rest,
    };
    let name = rest.first()?;
    (name.kind == Kind::Quoted || (name.kind == Kind::Word && !is_known(name.text))).then(|| plain(name))
}

/// What is about to be typed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Wanted {
    /// A table.
    Table,
    /// A domain.
    Domain,
    /// The name of a setting.
    Setting,
    /// Something else.
    Expression,
}

/// What the pieces before the cursor call for next.
pub fn wanted(before: &[Piece<'_>]) -> Wanted {
    let before: Vec<&Piece<'_>> = before.iter().filter(|piece| !piece.is_blank()).collect();
    let Some(last) = before.last() else { return Wanted::Expression };
    let second = before.iter().rev().nth(1);
    let tables = second.is_some_and(|piece| piece.says("TABLES"));
    if tables && (last.says("IN") || last.says("FROM")) {
        return Wanted::Domain;
    }
    if ["FROM", "JOIN", "DESCRIBE", "DESC"].iter().any(|word| last.says(word)) {
        // `ORDER BY a DESC` is no `DESC a.b`.
        return if last.says("DESC") && before.len() > 1 { Wanted::Expression } else { Wanted::Table };
    }
    if ["SET", "RESET", "SHOW"].iter().any(|word| last.says(word)) && before.len() == 1 {
        return Wanted::Setting;
    }
    if last.is(",") && clause(&before).is_some_and(|clause| clause.says("FROM") || clause.says("JOIN")) {
        return Wanted::Table;
    }
    Wanted::Expression
}

/// The clause that the end of these pieces is in.
fn clause<'a, 's>(before: &[&'a Piece<'s>]) -> Option<&'a Piece<'s>> {
    let mut depth = 0_usize;
    for piece in before.iter().rev() {
        if piece.is(")") {
            depth = depth.saturating_add(1);
        } else if piece.is("(") {
            depth = depth.checked_sub(1)?;
        } else if depth == 0 && is_clause(piece) {
            return Some(piece);
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::words::pieces;

    fn named(sql: &str) -> Vec<String> {
        let pieces: Vec<Piece<'_>> = pieces(sql).collect();
        scope(&pieces).tables.iter().map(|t| format!("{}.{} {}", t.domain, t.product, t.alias)).collect()
    }

    #[test]
    fn tables_are_found_with_their_aliases_wherever_they_stand() {
        assert_eq!(named("SELECT FROM shop.Orders"), ["shop.orders orders"]);
        assert_eq!(
            named("select a from shop.orders o join shop.\"items@1\" as i on"),
            ["shop.items@1 i", "shop.orders o"]
        );
        assert_eq!(named("SELECT x FROM a.b, c.d e WHERE f, g.h"), ["a.b b", "c.d e"]);
        assert_eq!(named("SELECT (SELECT 1 FROM a.b) FROM m.c.d VERSION AS OF 7"), ["a.b b", "c.d d"]);
        assert_eq!(named("SELECT a FROM b"), Vec::<String>::new());
    }

    #[test]
    fn common_table_expressions_are_found() {
        let pieces: Vec<Piece<'_>> =
            pieces("WITH recent AS (SELECT 1), o AS (SELECT 2) SELECT cast(a AS int)").collect();
        assert_eq!(scope(&pieces).queries.into_iter().collect::<Vec<_>>(), ["o", "recent"]);
    }

    #[test]
    fn the_words_before_the_cursor_say_what_comes_next() {
        let check = |sql: &str, expect: Wanted| {
            let pieces: Vec<Piece<'_>> = pieces(sql).collect();
            assert_eq!(wanted(&pieces), expect, "{sql}");
        };
        check("SELECT a FROM ", Wanted::Table);
        check("SELECT a FROM b.c, ", Wanted::Table);
        check("SELECT a FROM (SELECT x, y FROM b.c) t, ", Wanted::Table);
        check("SELECT a FROM b.c JOIN /* what */ ", Wanted::Table);
        check("DESCRIBE ", Wanted::Table);
        check("SHOW TABLES IN ", Wanted::Domain);
        check("SET ", Wanted::Setting);
        for sql in
            ["", "SELECT ", "SELECT a, ", "SELECT a FROM b.c WHERE ", "SELECT f(a, ", "SELECT 1 ORDER BY a DESC "]
        {
            check(sql, Wanted::Expression);
        }
    }
}
