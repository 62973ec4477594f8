//! The statement gate: what is not named here is refused.
//!
//! A statement is parsed once and taken apart in full: every field of a query, a `SELECT` and a table factor is named
//! in a pattern without `..`, so that a part that a newer parser knows is a compile error here before it is something
//! that the planner silently ignores. DataFusion's planner does ignore table versions, samples, locks and hints, and
//! its session would run `COPY`, `CREATE` and `SET`.

use std::ops::ControlFlow;

use datafusion::sql::parser::{DFParserBuilder, Statement};
use datafusion::sql::sqlparser::ast::{
    self, Expr, GroupByExpr, LimitClause, ObjectName, Query, Select, SelectFlavor, SetExpr, TableFactor, Visit, Visitor,
};
use datafusion::sql::sqlparser::dialect::GenericDialect;
use datafusion::sql::sqlparser::keywords::Keyword;
use datafusion::sql::sqlparser::tokenizer::{Token, Tokenizer};

use crate::error::{Class, Error};

/// The longest statement that is parsed, in bytes.
const LONGEST: usize = 256 * 1024;

/// How deep parentheses and subqueries may nest.
const DEEPEST: usize = 64;

/// The most words and signs of a statement.
const WORDS: usize = 50_000;

/// The most operators of a statement. A chain of them is as deep as it is long, DataFusion walks it by recursion, and
/// planning time grows with its square: 2 000 take 36 s unoptimised, and 50 000 overflow any stack.
const OPERATORS: usize = 1_000;

/// The words that chain expressions, beside the signs.
const CHAINING: [Keyword; 12] = [
    Keyword::AND,
    Keyword::OR,
    Keyword::NOT,
    Keyword::CASE,
    Keyword::IS,
    Keyword::IN,
    Keyword::BETWEEN,
    Keyword::LIKE,
    Keyword::ILIKE,
    Keyword::AT,
    Keyword::COLLATE,
    Keyword::OVERLAPS,
];

/// The most tables that a statement reads, each common table expression counted as often as it is used.
const TABLES: u64 = 128;

/// The most columns of a `CUBE` or a `ROLLUP`: each further one doubles the groups of a cube.
const CUBED: usize = 8;

/// The functions whose result is as large as an argument says, and the place of that argument. Memory for it is not
/// counted by any pool, so the argument must be a number that stands in the statement.
const GROWING: [(&str, usize); 9] = [
    ("repeat", 1),
    ("lpad", 1),
    ("rpad", 1),
    ("space", 0),
    ("array_repeat", 1),
    ("list_repeat", 1),
    ("array_resize", 1),
    ("list_resize", 1),
    ("array_pad", 1),
];

/// The most that the sizes of growing functions may multiply up to in one statement.
const GROWTH: u64 = 10_000;

/// The most set operations of a statement, whose planning is as steep: 500 take 3.5 s unoptimised.
const SETS: usize = 200;

/// A statement that may be planned.
#[derive(Debug)]
pub enum Admitted {
    /// A query.
    Query(Box<Query>),
    /// `EXPLAIN` of a query.
    Explain(Box<Query>),
    /// `SHOW TABLES`, of one schema or of all.
    ShowTables(Option<String>),
    /// `SHOW SCHEMAS`.
    ShowSchemas,
    /// `DESCRIBE domain.product` and `SHOW COLUMNS FROM domain.product`.
    Describe(ObjectName),
}

/// Parses and admits one statement.
///
/// # Errors
/// `BadRequest` for everything that is not admitted, saying which part is not.
pub fn admit(sql: &str) -> Result<Admitted, Error> {
    if sql.len() > LONGEST {
        return Err(Error::new(
            Class::Limit,
            format!("the statement is {} bytes long, and {LONGEST} is the most", sql.len()),
        ));
    }
    measure(sql)?;
    let mut statements = DFParserBuilder::new(sql)
        .with_dialect(&GenericDialect {})
        .with_recursion_limit(DEEPEST)
        .build()
        .and_then(|mut parser| parser.parse_statements())
        .map_err(|error| Error::new(Class::BadRequest, syntax(&error.strip_backtrace())))?;
    match (statements.pop_front(), statements.len()) {
        (Some(statement), 0) => admit_statement(statement),
        (None, _) => Err(Error::new(Class::BadRequest, "there is no statement")),
        (Some(_), more) => {
            Err(Error::new(Class::BadRequest, format!("{} statements were sent, and one is the most", more + 1)))
        }
    }
}

/// Counts what makes a statement dear, before anything walks it by recursion.
fn measure(sql: &str) -> Result<(), Error> {
    let tokens = Tokenizer::new(&GenericDialect {}, sql)
        .tokenize()
        .map_err(|error| Error::new(Class::BadRequest, format!("the statement cannot be parsed: {error}")))?;
    let count = |wanted: fn(&Token) -> bool| tokens.iter().filter(|token| wanted(token)).count();
    let words = count(|token| !matches!(token, Token::Whitespace(_)));
    let operators = count(|token| match token {
        Token::Word(word) => CHAINING.contains(&word.keyword),
        Token::Comma
        | Token::Period
        | Token::SemiColon
        | Token::LParen
        | Token::RParen
        | Token::RBracket
        | Token::LBrace
        | Token::RBrace
        | Token::Number(..)
        | Token::SingleQuotedString(_)
        | Token::Whitespace(_)
        | Token::EOF => false,
        _ => true,
    });
    let sets = count(|token| {
        matches!(token, Token::Word(word)
            if matches!(word.keyword, Keyword::UNION | Keyword::INTERSECT | Keyword::EXCEPT | Keyword::MINUS))
    });
    for (found, most, what) in
        [(words, WORDS, "words and signs"), (operators, OPERATORS, "operators"), (sets, SETS, "set operations")]
    {
        if found > most {
            return Err(Error::new(Class::Limit, format!("the statement has {found} {what}, and {most} are the most"))
                .help("an IN list takes the place of many comparisons"));
        }
    }
    Ok(())
}

fn admit_statement(statement: Statement) -> Result<Admitted, Error> {
    match statement {
        Statement::Statement(statement) => admit_sql(*statement),
        Statement::Explain(explain) => {
            if explain.analyze {
                return Err(refused("EXPLAIN ANALYZE", "use EXPLAIN"));
            }
            if explain.verbose || explain.format.is_some() {
                return Err(refused("this form of EXPLAIN", "use EXPLAIN without options"));
            }
            match admit_statement(*explain.statement)? {
                Admitted::Query(query) => Ok(Admitted::Explain(query)),
                _ => Err(refused("EXPLAIN of anything but a query", "explain a SELECT")),
            }
        }
        Statement::CreateExternalTable(_) => Err(read_only("CREATE")),
        Statement::CopyTo(_) => Err(read_only("COPY")),
        Statement::Reset(_) => Err(read_only("RESET")),
    }
}

fn admit_sql(statement: ast::Statement) -> Result<Admitted, Error> {
    match statement {
        ast::Statement::Query(query) => {
            check(&query)?;
            Ok(Admitted::Query(query))
        }
        ast::Statement::ShowTables {
            terse: false,
            history: false,
            extended: false,
            full: false,
            external: false,
            show_options,
        } => {
            let ast::ShowStatementOptions {
                show_in,
                starts_with: None,
                limit: None,
                limit_from: None,
                filter_position: None,
            } = show_options
            else {
                return Err(refused("this form of SHOW TABLES", "use SHOW TABLES, or query information_schema.tables"));
            };
            match show_in {
                None => Ok(Admitted::ShowTables(None)),
                Some(ast::ShowStatementIn { parent_name: Some(ObjectName(mut parts)), .. }) if parts.len() == 1 => {
                    let schema = parts.pop().and_then(|part| part.as_ident().map(normal));
                    Ok(Admitted::ShowTables(schema))
                }
                Some(_) => Err(refused("this form of SHOW TABLES", "use SHOW TABLES IN domain")),
            }
        }
        ast::Statement::ShowSchemas { terse: false, history: false, show_options }
        | ast::Statement::ShowDatabases { terse: false, history: false, show_options } => match show_options {
            ast::ShowStatementOptions {
                show_in: None,
                starts_with: None,
                limit: None,
                limit_from: None,
                filter_position: None,
            } => Ok(Admitted::ShowSchemas),
            _ => Err(refused("this form of SHOW SCHEMAS", "use SHOW SCHEMAS, or query information_schema.schemata")),
        },
        ast::Statement::ShowColumns {
            extended: false,
            full: false,
            show_options:
                ast::ShowStatementOptions {
                    show_in: Some(ast::ShowStatementIn { parent_name: Some(name), .. }),
                    starts_with: None,
                    limit: None,
                    limit_from: None,
                    filter_position: None,
                },
        } => Ok(Admitted::Describe(name)),
        ast::Statement::ExplainTable { describe_alias: _, hive_format: None, has_table_keyword: _, table_name } => {
            Ok(Admitted::Describe(table_name))
        }
        other => Err(read_only(&verb(&other))),
    }
}

/// The statement's first word or two, which say what it is without repeating what is in it.
fn verb(statement: &ast::Statement) -> String {
    let text = statement.to_string();
    let word = text.split(|c: char| !c.is_ascii_alphabetic()).next().unwrap_or_default();
    word.to_ascii_uppercase()
}

fn read_only(what: &str) -> Error {
    Error::new(Class::BadRequest, format!("`{what}` statements are not served: the mesh is read only"))
        .help("send a SELECT, EXPLAIN, SHOW TABLES, SHOW SCHEMAS or DESCRIBE")
}

fn refused(what: &str, help: &str) -> Error {
    Error::new(Class::BadRequest, format!("{what} is not supported")).help(help)
}

fn syntax(message: &str) -> String {
    let message = message.trim_start_matches("SQL error: ");
    let inner = message
        .strip_prefix("ParserError(\"")
        .or_else(|| message.strip_prefix("TokenizerError(\""))
        .and_then(|rest| rest.strip_suffix("\")"));
    format!("the statement cannot be parsed: {}", inner.unwrap_or(message))
}

/// An identifier as SQL means it: lowercase unless it is quoted.
pub fn normal(ident: &ast::Ident) -> String {
    if ident.quote_style.is_some() { ident.value.clone() } else { ident.value.to_lowercase() }
}

/// Checks every query, select, table factor and expression inside a query.
fn check(query: &Query) -> Result<(), Error> {
    let mut gate = Gate { growth: 1, frames: vec![Frame::default()] };
    if let ControlFlow::Break(what) = query.visit(&mut gate) {
        return Err(Error::new(Class::BadRequest, format!("{what} is not supported")));
    }
    if gate.growth > GROWTH {
        return Err(Error::new(Class::Limit, format!("the statement builds values more than {GROWTH} times as long")));
    }
    let tables = gate.frames.pop().map_or(0, |frame| frame.tables);
    if tables > TABLES {
        return Err(Error::new(
            Class::Limit,
            format!("the statement reads {tables} tables, and {TABLES} are the most"),
        )
        .help("a WITH query counts as often as it is used"));
    }
    Ok(())
}

/// The walk over a query: what its growing functions multiply up to, and a frame for each query that it is inside of.
struct Gate {
    growth: u64,
    frames: Vec<Frame>,
}

/// The tables that a query reads, and those that its common table expressions stand for.
#[derive(Default)]
struct Frame {
    tables: u64,
    /// The expressions that are still to be walked, by the address of their query.
    pending: Vec<(usize, String)>,
    known: Vec<(String, u64)>,
}

fn address(query: &Query) -> usize {
    std::ptr::from_ref(query).addr()
}

/// The name of the first part that is present, or nothing.
macro_rules! absent {
    ($($present:expr => $what:expr),* $(,)?) => {
        $(if $present { return ControlFlow::Break($what); })*
    };
}

impl Visitor for Gate {
    type Break = &'static str;

    fn pre_visit_query(&mut self, query: &Query) -> ControlFlow<Self::Break> {
        let Query {
            with,
            body,
            order_by,
            limit_clause,
            fetch,
            locks,
            for_clause,
            settings,
            format_clause,
            pipe_operators,
        } = query;
        let mut frame = Frame::default();
        if let Some(ast::With { with_token: _, recursive: _, cte_tables }) = with {
            for ast::Cte { alias, query, from, materialized, closing_paren_token: _ } in cte_tables {
                absent! { from.is_some() => "FROM behind WITH", materialized.is_some() => "MATERIALIZED" }
                frame.pending.push((address(query), normal(&alias.name)));
            }
        }
        self.frames.push(frame);
        if let Some(ast::OrderBy { kind: _, interpolate }) = order_by {
            absent! { interpolate.is_some() => "INTERPOLATE" }
        }
        match limit_clause {
            Some(LimitClause::LimitOffset { limit: _, offset: _, limit_by }) => {
                absent! { !limit_by.is_empty() => "LIMIT BY" }
            }
            Some(LimitClause::OffsetCommaLimit { offset: _, limit: _ }) | None => {}
        }
        absent! {
            fetch.is_some() => "FETCH",
            !locks.is_empty() => "FOR UPDATE",
            for_clause.is_some() => "FOR XML and FOR JSON",
            settings.is_some() => "SETTINGS",
            format_clause.is_some() => "FORMAT",
            !pipe_operators.is_empty() => "the pipe syntax",
        }
        self.body(body)
    }

    fn post_visit_query(&mut self, query: &Query) -> ControlFlow<Self::Break> {
        let Some(done) = self.frames.pop() else { return ControlFlow::Continue(()) };
        if let Some(outer) = self.frames.last_mut() {
            match outer.pending.iter().find(|(place, _)| *place == address(query)) {
                Some((_, name)) => outer.known.push((name.clone(), done.tables)),
                None => outer.tables = outer.tables.saturating_add(done.tables),
            }
        }
        ControlFlow::Continue(())
    }

    fn pre_visit_relation(&mut self, relation: &ast::ObjectName) -> ControlFlow<Self::Break> {
        let name = match relation.0.as_slice() {
            [part] => part.as_ident().map(normal),
            _ => None,
        };
        let stands_for = |name: &String| {
            self.frames.iter().rev().find_map(|frame| frame.known.iter().rev().find(|(known, _)| known == name))
        };
        // One that is empty still costs a plan node each time.
        let tables = name.as_ref().and_then(stands_for).map_or(1, |(_, tables)| (*tables).max(1));
        if let Some(frame) = self.frames.last_mut() {
            frame.tables = frame.tables.saturating_add(tables);
        }
        ControlFlow::Continue(())
    }

    fn pre_visit_select(&mut self, select: &Select) -> ControlFlow<Self::Break> {
        let Select {
            select_token: _,
            optimizer_hints,
            distinct: _,
            select_modifiers,
            top,
            top_before_distinct: _,
            projection: _,
            exclude,
            into,
            from,
            lateral_views,
            prewhere,
            selection: _,
            connect_by,
            group_by,
            cluster_by,
            distribute_by,
            sort_by,
            having: _,
            named_window: _,
            qualify: _,
            window_before_qualify: _,
            value_table_mode,
            flavor,
        } = select;
        let (GroupByExpr::All(modifiers) | GroupByExpr::Expressions(_, modifiers)) = group_by;
        absent! { !modifiers.is_empty() => "GROUP BY … WITH" }
        for join in from.iter().flat_map(|table| &table.joins) {
            let ast::Join { relation: _, global, join_operator: _ } = join;
            absent! { *global => "GLOBAL JOIN" }
        }
        absent! {
            !optimizer_hints.is_empty() => "an optimizer hint",
            select_modifiers.is_some() => "a modifier of SELECT",
            top.is_some() => "TOP",
            exclude.is_some() => "EXCLUDE behind the select list",
            into.is_some() => "SELECT INTO",
            !lateral_views.is_empty() => "LATERAL VIEW",
            prewhere.is_some() => "PREWHERE",
            !connect_by.is_empty() => "CONNECT BY",
            !cluster_by.is_empty() => "CLUSTER BY",
            !distribute_by.is_empty() => "DISTRIBUTE BY",
            !sort_by.is_empty() => "SORT BY",
            value_table_mode.is_some() => "SELECT AS VALUE",
            matches!(flavor, SelectFlavor::FromFirstNoSelect) => "FROM without SELECT",
        }
        ControlFlow::Continue(())
    }

    fn pre_visit_table_factor(&mut self, factor: &TableFactor) -> ControlFlow<Self::Break> {
        match factor {
            TableFactor::Table {
                name: _,
                alias: _,
                args,
                with_hints,
                version,
                with_ordinality,
                partitions,
                json_path,
                sample,
                index_hints,
            } => {
                absent! {
                    args.is_some() => "this table function",
                    !with_hints.is_empty() => "a table hint",
                    version.is_some() => "a table version",
                    *with_ordinality => "WITH ORDINALITY",
                    !partitions.is_empty() => "PARTITION",
                    json_path.is_some() => "a JSON path behind a table",
                    sample.is_some() => "TABLESAMPLE",
                    !index_hints.is_empty() => "an index hint",
                }
            }
            TableFactor::Derived { lateral: _, subquery: _, alias: _, sample } => {
                absent! {
                    sample.is_some() => "TABLESAMPLE",
                }
            }
            TableFactor::NestedJoin { table_with_joins, alias } => {
                absent! { alias.is_some() => "an alias of a nested join" }
                for join in &table_with_joins.joins {
                    let ast::Join { relation: _, global, join_operator: _ } = join;
                    absent! { *global => "GLOBAL JOIN" }
                }
            }
            TableFactor::UNNEST { alias: _, array_exprs: _, with_offset, with_offset_alias, with_ordinality } => {
                absent! {
                    *with_offset || with_offset_alias.is_some() => "UNNEST WITH OFFSET",
                    *with_ordinality => "UNNEST WITH ORDINALITY",
                }
            }
            TableFactor::TableFunction { .. } | TableFactor::Function { .. } => {
                return ControlFlow::Break("this table function");
            }
            TableFactor::JsonTable { .. }
            | TableFactor::OpenJsonTable { .. }
            | TableFactor::Pivot { .. }
            | TableFactor::Unpivot { .. }
            | TableFactor::MatchRecognize { .. }
            | TableFactor::XmlTable { .. }
            | TableFactor::SemanticView { .. } => return ControlFlow::Break("this kind of table"),
        }
        ControlFlow::Continue(())
    }

    fn pre_visit_expr(&mut self, expr: &Expr) -> ControlFlow<Self::Break> {
        match expr {
            Expr::Value(value) if matches!(value.value, ast::Value::Placeholder(_)) => {
                ControlFlow::Break("a parameter")
            }
            Expr::Cube(sets) | Expr::Rollup(sets) if sets.len() > CUBED => {
                ControlFlow::Break("a CUBE or ROLLUP of so many columns")
            }
            Expr::Function(function) => self.growing(function),
            _ => ControlFlow::Continue(()),
        }
    }
}

impl Gate {
    /// Lets a function that grows its result pass with a size that stands in the statement.
    fn growing(&mut self, function: &ast::Function) -> ControlFlow<&'static str> {
        let name = function.name.0.last().and_then(|part| part.as_ident()).map(|name| name.value.to_lowercase());
        let Some((_, place)) = GROWING.iter().find(|(growing, _)| name.as_deref() == Some(*growing)) else {
            return ControlFlow::Continue(());
        };
        let ast::FunctionArguments::List(list) = &function.args else { return ControlFlow::Continue(()) };
        let size = match list.args.get(*place) {
            Some(ast::FunctionArg::Unnamed(ast::FunctionArgExpr::Expr(Expr::Value(value)))) => match &value.value {
                ast::Value::Number(number, _) => number.parse::<u64>().ok(),
                _ => None,
            },
            _ => None,
        };
        match size {
            Some(size) => {
                self.growth = self.growth.saturating_mul(size.max(1));
                ControlFlow::Continue(())
            }
            None => ControlFlow::Break("a size that is not a plain number, in `repeat`, `lpad` and the like,"),
        }
    }

    /// A query's body, which may be something else than a query.
    fn body(&self, body: &SetExpr) -> ControlFlow<&'static str> {
        match body {
            SetExpr::Select(_) | SetExpr::Query(_) | SetExpr::Values(_) => ControlFlow::Continue(()),
            SetExpr::SetOperation { op: _, set_quantifier: _, left, right } => {
                self.body(left)?;
                self.body(right)
            }
            SetExpr::Insert(_) | SetExpr::Update(_) | SetExpr::Delete(_) | SetExpr::Merge(_) => {
                ControlFlow::Break("a statement that writes")
            }
            SetExpr::Table(_) => ControlFlow::Break("TABLE as a query"),
        }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::panic, reason = "tests")]
mod tests {
    use super::*;

    fn check(sql: &str, expect: Result<(), &str>) {
        match (admit(sql), expect) {
            (Ok(_), Ok(())) => {}
            (Err(error), Err(expected)) if error.message.contains(expected) => {}
            (found, expected) => panic!("`{sql}` gave {found:?} and not {expected:?}"),
        }
    }

    #[test]
    fn queries_and_looks_at_the_catalog_are_admitted() {
        for sql in [
            "SELECT 1",
            "SELECT a, count(*) FROM d.p GROUP BY a HAVING count(*) > 1 ORDER BY 2 DESC LIMIT 3 OFFSET 1",
            "WITH x AS (SELECT 1 AS a) SELECT * FROM x JOIN d.p USING (a)",
            "VALUES (1), (2)",
            "SELECT * FROM (SELECT 1 AS a) AS t WHERE a IN (SELECT b FROM d.q) UNION ALL SELECT 2",
            "SELECT unnest([1, 2])",
            "EXPLAIN SELECT 1",
            "SHOW TABLES",
            "SHOW TABLES IN storefront",
            "SHOW SCHEMAS",
            "SHOW COLUMNS FROM d.p",
            "DESCRIBE d.p",
        ] {
            check(sql, Ok(()));
        }
    }

    #[test]
    fn statements_that_change_or_set_anything_are_refused_also_under_explain() {
        for (sql, verb) in [
            ("COPY (SELECT 1) TO 'x.parquet'", "COPY"),
            ("CREATE TABLE t (a INT)", "CREATE"),
            ("CREATE VIEW v AS SELECT 1", "CREATE"),
            ("CREATE EXTERNAL TABLE t STORED AS CSV LOCATION '/etc/passwd'", "CREATE"),
            ("SET datafusion.execution.batch_size = 1", "SET"),
            ("RESET datafusion.execution.batch_size", "RESET"),
            ("INSERT INTO d.p VALUES (1)", "INSERT"),
            ("UPDATE d.p SET a = 1", "UPDATE"),
            ("DELETE FROM d.p", "DELETE"),
            ("TRUNCATE TABLE d.p", "TRUNCATE"),
            ("DROP TABLE d.p", "DROP"),
            ("PREPARE q AS SELECT 1", "PREPARE"),
            ("EXECUTE q", "EXECUTE"),
            ("SHOW ALL", "SHOW"),
        ] {
            check(sql, Err("read only"));
            if !matches!(verb, "RESET") {
                let explained = admit(&format!("EXPLAIN {sql}"));
                assert!(explained.is_err(), "EXPLAIN {sql} was admitted");
            }
            let error = admit(sql).unwrap_err();
            assert!(error.message.contains(verb), "`{sql}` is named by its verb: {}", error.message);
        }
        check("SELECT 1; SELECT 2", Err("2 statements"));
        check("", Err("no statement"));
        check("EXPLAIN ANALYZE SELECT 1", Err("EXPLAIN ANALYZE"));
        check("EXPLAIN VERBOSE SELECT 1", Err("EXPLAIN"));
    }

    #[test]
    fn parts_that_the_planner_would_ignore_are_refused_wherever_they_stand() {
        for (factor, what) in [
            ("d.p TABLESAMPLE (10 PERCENT)", "TABLESAMPLE"),
            ("generate_series(1, 10)", "table function"),
            ("LATERAL flatten(x)", "table function"),
            ("TABLE(f(1))", "table function"),
            ("(d.p CROSS JOIN d.q) AS t", "alias of a nested join"),
        ] {
            check(&format!("SELECT * FROM {factor}"), Err(what));
            check(&format!("SELECT 1 WHERE EXISTS (SELECT 1 FROM {factor})"), Err(what));
            check(&format!("WITH c AS (SELECT * FROM {factor}) SELECT * FROM c"), Err(what));
            check(&format!("EXPLAIN SELECT (SELECT 1 FROM {factor})"), Err(what));
        }
        check("SELECT * FROM d.p FOR UPDATE", Err("FOR UPDATE"));
        check("SELECT TOP 3 * FROM d.p", Err("TOP"));
        check("SELECT * INTO x FROM d.p", Err("SELECT INTO"));
        check("SELECT a FROM d.p SORT BY a", Err("SORT BY"));
        check("WITH x AS MATERIALIZED (SELECT 1) SELECT * FROM x", Err("MATERIALIZED"));
        check("SELECT $1", Err("a parameter"));
    }

    #[test]
    fn a_statement_that_is_too_deep_or_too_long_is_refused_without_harm() {
        let deep = format!("SELECT {}1{}", "(".repeat(10_000), ")".repeat(10_000));
        assert_eq!(admit(&deep).unwrap_err().class, Class::BadRequest);
        for long in [
            format!("SELECT '{}'", "x".repeat(LONGEST)),
            format!("SELECT 1{}", " + 1".repeat(50_000)),
            format!("SELECT 1 WHERE 1 = 2{}", " OR 1 = 2".repeat(20_000)),
            format!("SELECT 1{}", " UNION ALL SELECT 1".repeat(5_000)),
            format!("SELECT {}true", "NOT ".repeat(20_000)),
            format!("SELECT 1 IN (1{})", ", 1".repeat(60_000)),
        ] {
            assert_eq!(admit(&long).unwrap_err().class, Class::Limit, "{}", &long[..40]);
        }
        let doubling: Vec<String> =
            (1..26).map(|n| format!("a{n} AS (SELECT p.x FROM a{m} p, a{m} q)", m = n - 1)).collect();
        let chained = format!("WITH a0 AS (SELECT x FROM d.p), {} SELECT * FROM a25", doubling.join(", "));
        assert_eq!(admit(&chained).unwrap_err().class, Class::Limit);
        check("WITH a AS (SELECT x FROM d.p) SELECT * FROM a b JOIN a c USING (x)", Ok(()));
        check("SELECT 1 FROM d.p GROUP BY CUBE (a, b, c, d, e, f, g, h, i, j)", Err("CUBE"));
        check("SELECT lpad(a, 10), repeat('x', 3) FROM d.p", Ok(()));
        check("SELECT repeat('x', 2000000000)", Err("more than 10000 times"));
        check("SELECT repeat(repeat('x', 1000), 1000)", Err("more than 10000 times"));
        check("SELECT array_repeat(1, a) FROM d.p", Err("a plain number"));
        let list = format!("SELECT 1 IN (1{})", ", 1".repeat(10_000));
        assert!(admit(&list).is_ok(), "a long list is no chain");
    }

    #[test]
    fn a_syntax_error_says_where() {
        check("SELEC 1", Err("cannot be parsed"));
        check("SELECT * FORM d.p", Err("Line: 1"));
    }
}
