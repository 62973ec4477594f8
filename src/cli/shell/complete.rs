//! What Tab offers: keywords, functions, commands, and the names that the user may see.
//!
//! It is a function of the text, the cursor and the names that are known now. It asks nobody and waits for nothing.

use std::collections::BTreeSet;

use clap::ValueEnum;
use clap::builder::PossibleValue;
use rustyline::completion::{FilenameCompleter, Pair};

use super::command::{COMMANDS, takes_file};
use super::keywords::{KEYWORDS, PLAIN, is_reserved};
use super::names::Names;
use super::scope::{Scope, Wanted, plain, scope, wanted};
use crate::cli::words::{Kind, Piece, begins_word, continues_word, pieces};
use crate::format::Format;

/// More than these would help nobody.
const MOST: usize = 500;

/// The one setting of a session.
const SETTING: &str = "polder.purpose";

/// Where the completed word begins, and what may stand there.
pub type Completion = (usize, Vec<Pair>);

/// What may stand at `at` in `text`.
pub fn complete(text: &str, at: usize, names: &Names, functions: &[String]) -> Completion {
    let Some((before, _)) = text.split_at_checked(at) else { return (at, Vec::new()) };
    if before.trim_start().starts_with('\\') && !before.contains('\n') {
        return command(before, names);
    }
    if before.rsplit('\n').next().is_some_and(|line| line.trim().is_empty()) {
        return (at, vec![same("    ".to_owned())]);
    }
    let all: Vec<Piece<'_>> = pieces(text).collect();
    let statement = statement(&all, at);
    // What stands behind the cursor says which tables there are, and nothing about what is typed.
    let typed: Vec<Piece<'_>> = before_cursor(before, statement);
    if typed.last().is_some_and(|last| matches!(last.kind, Kind::Text | Kind::Comment | Kind::Number)) {
        return (at, Vec::new());
    }
    let path = Path::at_end(&typed);
    let mut found = match path.wanted {
        Wanted::Table => tables(&path, names, &scope(statement)),
        Wanted::Domain => domains(&path, names, ""),
        Wanted::Setting => settings(&path).into_iter().chain(words(&path)).collect(),
        Wanted::Expression => expression(&path, names, &scope(statement), functions),
    };
    let mut seen = BTreeSet::new();
    found.retain(|pair| seen.insert(pair.replacement.clone()));
    found.truncate(MOST);
    (path.start.unwrap_or(at), found)
}

/// The pieces of the statement that the cursor is in.
fn statement<'a, 's>(all: &'a [Piece<'s>], at: usize) -> &'a [Piece<'s>] {
    let mut statements = all.split_inclusive(|piece| piece.is(";"));
    let here = statements
        .find(|pieces| pieces.last().is_some_and(|last| at < last.end() || (at == last.end() && !last.is(";"))));
    here.unwrap_or_default()
}

/// The pieces from the beginning of the statement to the cursor.
fn before_cursor<'t>(before: &'t str, statement: &[Piece<'_>]) -> Vec<Piece<'t>> {
    let begin = statement.first().map_or(before.len(), |piece| piece.at);
    pieces(before).filter(|piece| piece.at >= begin).collect()
}

/// The name that is being typed: `domain.product.col`, of which the last part is completed.
struct Path<'t> {
    qualifiers: Vec<String>,
    last: Option<Piece<'t>>,
    start: Option<usize>,
    wanted: Wanted,
}

impl<'t> Path<'t> {
    fn at_end(typed: &[Piece<'t>]) -> Self {
        let name = |piece: &Piece<'_>| matches!(piece.kind, Kind::Word | Kind::Quoted);
        let mut rest = typed;
        let mut last = None;
        if let [before @ .., piece] = rest
            && name(piece)
        {
            (last, rest) = (Some(*piece), before);
        }
        let mut qualifiers = Vec::new();
        while let [before @ .., qualifier, dot] = rest {
            if !dot.is(".") || !name(qualifier) {
                break;
            }
            qualifiers.insert(0, plain(qualifier));
            rest = before;
        }
        Self { qualifiers, last, start: last.map(|piece| piece.at), wanted: wanted(rest) }
    }

    /// The part that is being typed, as SQL means it.
    fn typed(&self) -> String {
        self.last.as_ref().map(plain).unwrap_or_default()
    }

    /// Whether a name begins as it was typed. Names without quotes are found in any case.
    fn fits(&self, name: &str) -> bool {
        let typed = self.typed();
        match &self.last {
            Some(last) if last.kind == Kind::Quoted => name.starts_with(&typed),
            _ => {
                name.get(..typed.len()).is_some_and(|begin| begin.eq_ignore_ascii_case(&typed))
                    || name.to_lowercase().starts_with(&typed)
            }
        }
    }

    /// A name where it is wanted, in quotes if it needs them or was begun with one.
    fn offer(&self, name: &str) -> Option<Pair> {
        self.fits(name).then(|| {
            let was_quoted = self.last.is_some_and(|last| last.kind == Kind::Quoted);
            let replacement = if was_quoted { in_quotes(name) } else { written(name) };
            Pair { display: name.to_owned(), replacement }
        })
    }
}

/// A name as it is written in SQL.
pub fn written(name: &str) -> String {
    let mut letters = name.chars();
    let is_plain = letters.next().is_some_and(|c| begins_word(c) && !c.is_uppercase())
        && letters.all(|c| continues_word(c) && !c.is_uppercase());
    if is_plain && !is_reserved(name) { name.to_owned() } else { in_quotes(name) }
}

fn in_quotes(name: &str) -> String {
    format!("\"{}\"", name.replace('"', "\"\""))
}

fn same(text: String) -> Pair {
    Pair { display: text.clone(), replacement: text }
}

fn domains(path: &Path<'_>, names: &Names, suffix: &str) -> Vec<Pair> {
    let offers = names.tables.keys().filter_map(|domain| path.offer(domain));
    offers
        .map(|pair| Pair {
            display: format!("{}{suffix}", pair.display),
            replacement: format!("{}{suffix}", pair.replacement),
        })
        .collect()
}

fn tables(path: &Path<'_>, names: &Names, scope: &Scope) -> Vec<Pair> {
    if let Some(domain) = path.qualifiers.last() {
        return names.of(domain).filter_map(|product| path.offer(product)).collect();
    }
    let mut found: Vec<Pair> = scope.queries.iter().filter_map(|query| path.offer(query)).collect();
    found.extend(domains(path, names, "."));
    if found.is_empty() && path.last.is_some() {
        // Who remembers a product need not remember its domain.
        found.extend(
            names
                .products()
                .filter(|(_, product)| path.fits(product))
                .map(|(domain, product)| same(format!("{}.{}", written(domain), written(product)))),
        );
    }
    found
}

fn settings(path: &Path<'_>) -> Vec<Pair> {
    match path.qualifiers.as_slice() {
        [] => path.fits(SETTING).then(|| same(SETTING.to_owned())).into_iter().collect(),
        [first] if first == "polder" => path.offer("purpose").into_iter().collect(),
        _ => Vec::new(),
    }
}

fn expression(path: &Path<'_>, names: &Names, scope: &Scope, functions: &[String]) -> Vec<Pair> {
    match path.qualifiers.as_slice() {
        [] => {
            let mut found: Vec<Pair> = scope
                .tables
                .iter()
                .flat_map(|table| names.columns(&table.domain, &table.product))
                .filter_map(|column| path.offer(column))
                .collect();
            found.extend(
                scope
                    .tables
                    .iter()
                    .filter(|table| path.fits(&table.alias))
                    .map(|table| same(format!("{}.", written(&table.alias)))),
            );
            if path.last.is_none() {
                return found;
            }
            if scope.tables.is_empty() {
                // The tables come later: any column that may be meant.
                let columns = names.tables.values().flat_map(|tables| tables.values()).flatten();
                found.extend(columns.filter_map(|column| path.offer(column)));
            }
            found.extend(words(path));
            let typed = path.typed();
            let calls = functions.iter().filter(|function| function.starts_with(&typed));
            found.extend(calls.map(|function| same(format!("{function}("))));
            found
        }
        [one] => {
            let of = scope.tables.iter().filter(|table| table.alias == *one);
            let columns = of.flat_map(|table| names.columns(&table.domain, &table.product));
            columns.map(String::as_str).chain(names.of(one)).filter_map(|name| path.offer(name)).collect()
        }
        [.., domain, product] => names.columns(domain, product).iter().filter_map(|name| path.offer(name)).collect(),
    }
}

/// Words of the grammar, in the case in which they were begun.
fn words(path: &Path<'_>) -> Vec<Pair> {
    let begun = path.last.map(|last| last.text).unwrap_or_default();
    if !path.qualifiers.is_empty() || path.last.is_some_and(|last| last.kind == Kind::Quoted) {
        return Vec::new();
    }
    let lower = begun.chars().any(char::is_lowercase);
    let begin = begun.to_ascii_uppercase();
    let fitting = KEYWORDS.iter().chain(PLAIN).filter(|word| word.starts_with(&begin));
    fitting.map(|word| same(if lower { word.to_ascii_lowercase() } else { (*word).to_owned() })).collect()
}

/// A line that begins with a backslash.
fn command(before: &str, names: &Names) -> Completion {
    let at = before.find('\\').unwrap_or(0);
    let Some((name, _)) = before.split_once(' ') else {
        let typed = before.get(at..).unwrap_or_default();
        let fitting = COMMANDS.iter().filter(|command| command.name.starts_with(typed));
        return (at, fitting.map(|command| same(command.name.to_owned())).collect());
    };
    let name = name.trim();
    let begin = before.rfind(' ').map_or(before.len(), |space| space + 1);
    let typed = before.get(begin..).unwrap_or_default();
    let fixed = |words: &[&str]| {
        let fitting = words.iter().filter(|word| word.starts_with(typed));
        (begin, fitting.map(|word| same((*word).to_owned())).collect())
    };
    match name {
        name if takes_file(name) => {
            FilenameCompleter::new().complete_path(before, before.len()).unwrap_or((begin, Vec::new()))
        }
        "\\format" => {
            let formats: Vec<_> = Format::value_variants().iter().filter_map(ValueEnum::to_possible_value).collect();
            fixed(&formats.iter().map(PossibleValue::get_name).collect::<Vec<_>>())
        }
        "\\timing" => fixed(&["on", "off"]),
        "\\x" => fixed(&["on", "off", "auto"]),
        "\\d" | "\\dt" => {
            let typed: Vec<Piece<'_>> = pieces(before).filter(|piece| piece.at >= begin).collect();
            let path = Path::at_end(&typed);
            (path.start.unwrap_or(before.len()), tables(&path, names, &Scope::default()))
        }
        _ => (begin, Vec::new()),
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "tests")]
mod tests {
    use super::*;

    fn names() -> Names {
        let mut names = Names::default();
        for (domain, product, columns) in [
            ("shop", "customers", &["customer_id", "city", "Odd Name"][..]),
            ("shop", "orders", &["order_id", "customer_id", "order"]),
            ("shop", "orders@1", &["order_id"]),
            ("stock", "items", &["item_id"]),
        ] {
            let columns = columns.iter().map(|column| (*column).to_owned()).collect();
            names.tables.entry(domain.to_owned()).or_default().insert(product.to_owned(), columns);
        }
        names
    }

    /// What is offered at `|`, as it would be put in, behind the text that stays.
    fn check(text: &str, expect: &[&str]) {
        let at = text.find('|').unwrap();
        let (start, found) = complete(&text.replace('|', ""), at, &names(), &["count".into(), "concat".into()]);
        let offered: Vec<String> =
            found.into_iter().map(|pair| format!("{}{}", &text[..start], pair.replacement)).collect();
        assert_eq!(offered, expect, "{text}");
    }

    #[test]
    fn behind_from_stand_domains_and_their_products() {
        check("SELECT * FROM |", &["SELECT * FROM shop.", "SELECT * FROM stock."]);
        check("FROM sh|", &["FROM shop."]);
        check("FROM shop.|", &["FROM shop.customers", "FROM shop.orders", "FROM shop.\"orders@1\""]);
        check("FROM shop.c|", &["FROM shop.customers"]);
        check("FROM shop.CUST|", &["FROM shop.customers"]);
        check("FROM shop.\"ord|", &["FROM shop.\"orders\"", "FROM shop.\"orders@1\""]);
        check("FROM shop.customers c JOIN st|", &["FROM shop.customers c JOIN stock."]);
        check("WITH recent AS (SELECT 1) SELECT * FROM re|", &["WITH recent AS (SELECT 1) SELECT * FROM recent"]);
    }

    #[test]
    fn a_product_is_found_without_its_domain() {
        check("FROM cust|", &["FROM shop.customers"]);
        check("FROM orders|", &["FROM shop.orders", "FROM shop.\"orders@1\""]);
    }

    #[test]
    fn columns_come_from_the_tables_of_the_statement() {
        check("SELECT ci| FROM shop.customers", &["SELECT city"]);
        check("SELECT c.| FROM shop.customers c", &["SELECT c.customer_id", "SELECT c.city", "SELECT c.\"Odd Name\""]);
        check(
            "SELECT order| FROM shop.orders",
            &["SELECT order_id", "SELECT \"order\"", "SELECT orders.", "SELECT order"],
        );
        check("SELECT customers.ci| FROM shop.customers", &["SELECT customers.city"]);
        check("SELECT shop.customers.ci|", &["SELECT shop.customers.city"]);
        check("SELECT 1; SELECT item| FROM stock.items", &["SELECT 1; SELECT item_id", "SELECT 1; SELECT items."]);
        check("SELECT item|; SELECT 1 FROM stock.items", &["SELECT item_id"]);
    }

    #[test]
    fn words_come_in_the_case_in_which_they_were_begun() {
        check("SEL|", &["SELECT"]);
        check("sel|", &["select"]);
        check("SELECT cou| FROM stock.items", &["SELECT count("]);
        check("SELECT city, con|", &["SELECT city, concat("]);
    }

    #[test]
    fn nothing_is_offered_inside_of_texts_comments_and_numbers() {
        for text in ["SELECT 'sh|", "SELECT 'sh'|", "-- sh|", "/* sh|", "SELECT 1|"] {
            check(text, &[]);
        }
    }

    #[test]
    fn an_empty_line_is_indented() {
        check("SELECT\n|", &["SELECT\n    "]);
    }

    #[test]
    fn commands_and_what_they_take_are_completed() {
        check("\\ti|", &["\\timing"]);
        check("\\timing o|", &["\\timing on", "\\timing off"]);
        check("\\format p|", &["\\format parquet"]);
        check("\\d shop.c|", &["\\d shop.customers"]);
        check("\\d st|", &["\\d stock."]);
        check("SET po|", &["SET polder.purpose", "SET policy", "SET position"]);
        check("SET polder.|", &["SET polder.purpose"]);
    }

    #[test]
    fn names_are_written_as_sql_reads_them() {
        for (name, expect) in [
            ("city", "city"),
            ("é", "é"),
            ("City", "\"City\""),
            ("a b", "\"a b\""),
            ("a\"b", "\"a\"\"b\""),
            ("order", "\"order\""),
            ("1a", "\"1a\""),
        ] {
            assert_eq!(written(name), expect);
        }
    }
}
