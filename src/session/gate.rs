//! The statement gate: what is not named here is refused.
//!
//! A statement is parsed once and taken apart in full: every field of a query, a `SELECT` and a table factor is named
//! in a pattern without `..`, so that a part that a newer parser knows is a compile error here before it is something
//! that the planner silently ignores. DataFusion's planner does ignore table versions (which are planned by a planner of
//! our own), samples, locks and hints, and its session would run `COPY`, `CREATE` and `SET`. What is implemented and would cost too much is refused as well.

mod cost;
mod derived;
mod parameters;
mod parts;
mod policy;
mod search;
mod version;

use datafusion::sql::parser::{DFParserBuilder, ResetStatement, Statement};
use datafusion::sql::sqlparser::ast::{self, ObjectName, Query};
use datafusion::sql::sqlparser::tokenizer::TokenWithSpan;

use super::dialect::Versioned;
use crate::error::{Class, Error};

pub use cost::{LONGEST, TABLES};
pub use version::Version;

/// How deep parentheses and subqueries may nest.
const DEEPEST: usize = 64;

/// A statement that may be planned.
#[derive(Debug)]
pub enum Admitted {
    /// A query.
    Query(Box<Query>),
    /// `EXPLAIN` of a query.
    Explain(Box<Query>),
    /// `EXPLAIN ANALYZE` of a query.
    Analyze(Box<Query>),
    /// `EXPLAIN POLICY` of a query.
    ExplainPolicy(Box<Query>),
    /// `SET`, `RESET` or `SHOW` of `polder.purpose`.
    Purpose(Purpose),
    /// `SHOW TABLES`, of one schema or of all.
    ShowTables(Option<String>),
    /// `SHOW SCHEMAS`.
    ShowSchemas,
    /// `DESCRIBE domain.product` and `SHOW COLUMNS FROM domain.product`.
    Describe(ObjectName),
}

/// What a statement does with the purpose that a session declares.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Purpose {
    /// `SET polder.purpose = '…'`
    Set(String),
    /// `RESET polder.purpose`
    Reset,
    /// `SHOW polder.purpose`
    Show,
}

/// A statement that may be planned, and its parameters.
#[derive(Debug)]
pub struct Gated {
    /// The statement, in which the parameters are `$1`, `$2`…
    pub statement: Admitted,
    /// Their names, as the statement writes them.
    pub parameters: Vec<String>,
}

impl Gated {
    /// The query that stands for itself, whenever it is planned.
    ///
    /// # Errors
    /// `BadRequest` for what is no query, or has parameters.
    pub fn lasting(self) -> Result<Box<Query>, Error> {
        match self.statement {
            Admitted::Query(query) if self.parameters.is_empty() => Ok(query),
            Admitted::Query(_) => Err(Error::new(Class::BadRequest, "it has parameters")),
            _ => Err(Error::new(Class::BadRequest, "it is no query")),
        }
    }
}

/// Parses and admits one statement.
///
/// # Errors
/// `BadRequest` for everything that is not admitted, saying which part is not.
pub fn admit(sql: &str) -> Result<Gated, Error> {
    let mut tokens = cost::measure(sql)?;
    let of_policy = policy::strip(&mut tokens);
    let parameters = parameters::number(&mut tokens)?;
    let statement = match (parse(tokens)?, of_policy) {
        (admitted, false) => admitted,
        (Admitted::Query(query), true) => Admitted::ExplainPolicy(query),
        (_, true) => return Err(refused("EXPLAIN POLICY of anything but a query", "explain a SELECT")),
    };
    Ok(Gated { statement, parameters })
}

/// Parses and admits the query of a view, whose text was read already.
///
/// # Errors
/// As for a statement, and for what is no query.
pub fn view(mut tokens: Vec<TokenWithSpan>) -> Result<Box<Query>, Error> {
    cost::bound(&tokens)?;
    let parameters = parameters::number(&mut tokens)?;
    Gated { statement: parse(tokens)?, parameters }.lasting()
}

fn parse(tokens: Vec<TokenWithSpan>) -> Result<Admitted, Error> {
    let dialect = Versioned::of(tokens.len());
    let mut statements = DFParserBuilder::new(tokens)
        .with_dialect(&dialect)
        .with_recursion_limit(DEEPEST)
        .build()
        .and_then(|mut parser| parser.parse_statements())
        .map_err(|error| match dialect.gave_up() {
            true => Error::new(Class::Limit, "the statement is nested too deeply to be read, or cannot be parsed"),
            false => Error::new(Class::BadRequest, syntax(&error.strip_backtrace())),
        })?;
    match (statements.pop_front(), statements.len()) {
        (Some(statement), 0) => admit_statement(statement),
        (None, _) => Err(Error::new(Class::BadRequest, "there is no statement")),
        (Some(_), more) => {
            Err(Error::new(Class::BadRequest, format!("{} statements were sent, and one is the most", more + 1)))
        }
    }
}

fn admit_statement(statement: Statement) -> Result<Admitted, Error> {
    match statement {
        Statement::Statement(statement) => admit_sql(*statement),
        Statement::Explain(explain) => {
            if explain.verbose || explain.format.is_some() {
                return Err(refused("this form of EXPLAIN", "use EXPLAIN without options, or EXPLAIN ANALYZE"));
            }
            match admit_statement(*explain.statement)? {
                Admitted::Query(query) if explain.analyze => Ok(Admitted::Analyze(query)),
                Admitted::Query(query) => Ok(Admitted::Explain(query)),
                _ => Err(refused("EXPLAIN of anything but a query", "explain a SELECT")),
            }
        }
        Statement::CreateExternalTable(_) => Err(read_only("CREATE")),
        Statement::CopyTo(_) => Err(read_only("COPY")),
        Statement::Reset(ResetStatement::Variable(name)) if is_purpose(&name) => Ok(Admitted::Purpose(Purpose::Reset)),
        Statement::Reset(_) => Err(read_only("RESET")),
    }
}

fn admit_sql(statement: ast::Statement) -> Result<Admitted, Error> {
    match statement {
        ast::Statement::Query(mut query) => {
            search::name(&mut query)?;
            parts::check(&query)?;
            cost::weigh(&query)?;
            derived::name(&mut query);
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
        ast::Statement::Set(ast::Set::SingleAssignment { scope: None, hivevar: false, variable, values })
            if is_purpose(&variable) =>
        {
            match values.as_slice() {
                [ast::Expr::Value(value)] if matches!(value.value, ast::Value::SingleQuotedString(_)) => {
                    Ok(Admitted::Purpose(Purpose::Set(value.value.clone().into_string().unwrap_or_default())))
                }
                _ => Err(refused("this form of SET", "write SET polder.purpose = '…', or RESET polder.purpose")),
            }
        }
        ast::Statement::ShowVariable { variable } if variable.iter().map(normal).eq(PURPOSE) => {
            Ok(Admitted::Purpose(Purpose::Show))
        }
        other => Err(read_only(&verb(&other))),
    }
}

/// The one variable that a session has.
const PURPOSE: [&str; 2] = ["polder", "purpose"];

fn is_purpose(ObjectName(parts): &ObjectName) -> bool {
    parts.iter().map(|part| part.as_ident().map(normal)).eq(PURPOSE.map(|part| Some(part.to_owned())))
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
            "EXPLAIN POLICY SELECT 1",
            "explain /* why */ policy (SELECT a FROM d.p) UNION SELECT 2",
            "SET polder.purpose = 'fraud'",
            "set Polder.Purpose TO 'fraud'",
            "RESET polder.purpose",
            "SHOW polder.purpose",
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
        check("EXPLAIN POLICY EXPLAIN SELECT 1", Err("EXPLAIN POLICY"));
        check("EXPLAIN POLICY SHOW TABLES", Err("EXPLAIN POLICY"));
        check("EXPLAIN POLICY", Err("no statement"));
        check("EXPLAIN \"policy\" SELECT 1", Err("cannot be parsed"));
        check("EXPLAIN POLICY SELECT * FROM d.p FOR UPDATE", Err("FOR UPDATE"));
        check("EXPLAIN EXPLAIN POLICY SELECT 1", Err(""));
        check("EXPLAIN SET polder.purpose = 'fraud'", Err("EXPLAIN"));
        check("SET polder.purpose = fraud", Err("this form of SET"));
        check("SET polder.purpose = 'a', 'b'", Err("this form of SET"));
        check("SET LOCAL polder.purpose = 'a'", Err("read only"));
        check("SET polder.purposes = 'a'", Err("read only"));
        check("SELECT 1; SELECT 2", Err("2 statements"));
        check("", Err("no statement"));
        check("EXPLAIN ANALYZE VERBOSE SELECT 1", Err("EXPLAIN"));
        check("EXPLAIN ANALYZE SHOW TABLES", Err("EXPLAIN"));
        check("EXPLAIN ANALYZE EXPLAIN SELECT 1", Err("EXPLAIN"));
        check("EXPLAIN ANALYZE SELECT * INTO t FROM d.p", Err("INTO"));
        check("EXPLAIN VERBOSE SELECT 1", Err("EXPLAIN"));
    }

    #[test]
    fn a_purpose_is_what_stands_between_the_quotes() {
        for (sql, purpose) in [
            ("SET polder.purpose = 'Fraud''s'", Purpose::Set("Fraud's".into())),
            ("RESET polder.purpose", Purpose::Reset),
            ("SHOW polder.purpose", Purpose::Show),
        ] {
            assert!(matches!(admit(sql).unwrap().statement, Admitted::Purpose(found) if found == purpose), "{sql}");
        }
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
    }

    #[test]
    fn parameters_stand_where_a_value_stands() {
        for (sql, parameters) in [
            ("SELECT a FROM d.p WHERE a > ? AND b IN (?, ?) LIMIT ? OFFSET ?", 5),
            ("SELECT $2, count(*) FROM d.p WHERE a = $1 GROUP BY $2", 2),
            ("EXPLAIN SELECT $low WHERE 1 BETWEEN $low AND $high", 2),
            ("SELECT '?'", 0),
        ] {
            assert_eq!(admit(sql).unwrap().parameters.len(), parameters, "{sql}");
        }
        check("SELECT :a", Err("this form of a parameter"));
        check("SELECT * FROM ?", Err("cannot be parsed"));
        check("SET polder.purpose = ?", Err("this form of SET"));
        check("SELECT repeat('x', ?)", Err("a plain number"));
        let list = format!("SELECT 1 IN (?{})", ", ?".repeat(2_000));
        assert_eq!(admit(&list).unwrap().parameters.len(), 2_001, "a long list is no chain");
    }

    #[test]
    fn versions_of_tables_are_admitted_wherever_a_table_stands() {
        for version in [
            "FOR SYSTEM_TIME AS OF '2026-01-01 00:00:00'",
            "FOR TIMESTAMP AS OF TIMESTAMP '2026-01-01'",
            "TIMESTAMP AS OF now() - INTERVAL '1 day'",
            "VERSION AS OF 7",
            "FOR VERSION AS OF 7",
            "FOR SYSTEM_VERSION AS OF 7",
            "AT(REF => 'june')",
            "AT(VERSION => 7)",
            "AT(TIMESTAMP => now())",
        ] {
            for place in places(&format!("d.p {version}")) {
                check(&place, Ok(()));
            }
        }
    }

    #[test]
    fn what_is_not_understood_of_a_version_is_refused_wherever_it_stands() {
        for (version, what) in [
            ("VERSION AS OF $1", "a parameter"),
            ("VERSION AS OF 1.5", "no snapshot id"),
            ("VERSION AS OF 99999999999999999999", "no snapshot id"),
            ("AT(VERSION => $1)", "a parameter"),
            ("AT(VERSION => 'june')", "no snapshot id"),
            ("AT(REF => $1)", "a parameter"),
            ("AT(REF => june)", "not a text in quotes"),
            ("AT(REF => 'june', VERSION => 7)", "this form of a table version"),
            ("AT(OFFSET => -60)", "this form of a table version"),
            ("AT(REF = 'june')", "this form of a table version"),
            ("AT('june')", "this form of a table version"),
            ("AT()", "this form of a table version"),
            ("BEFORE(REF => 'june')", "this form of a table version"),
            ("CHANGES(INFORMATION => DEFAULT) AT(REF => 'june')", "CHANGES"),
            ("TIMESTAMP AS OF $1", "a parameter"),
            ("FOR SYSTEM_TIME AS OF (SELECT max(t) FROM d.q)", "a query inside a table version"),
            ("TIMESTAMP AS OF now() - (SELECT 1)", "a query inside a table version"),
            ("AT(TIMESTAMP => (SELECT now()))", "a query inside a table version"),
            ("TIMESTAMP AS OF repeat('x', 2000000000)", "more than 10000 times"),
        ] {
            for place in places(&format!("d.p {version}")) {
                check(&place, Err(what));
            }
        }
        check("SELECT * FROM d.p VERSION AS OF 7 AS x TABLESAMPLE (10 PERCENT)", Err("TABLESAMPLE"));
        check("SELECT * FROM d.p VERSION AS OF 'june'", Err("cannot be parsed"));
        check("DESCRIBE d.p VERSION AS OF 7", Err(""));
    }

    /// Everywhere that a table can stand.
    fn places(table: &str) -> Vec<String> {
        [
            "SELECT * FROM {} AS x",
            "SELECT * FROM (({} AS x))",
            "SELECT * FROM d.q JOIN {} AS x USING (a) LEFT JOIN {} AS y ON true",
            "SELECT * FROM d.q, {} AS x",
            "SELECT * FROM (d.q CROSS JOIN {} AS x)",
            "SELECT * FROM (SELECT a FROM {} AS x) AS y",
            "SELECT * FROM d.q, LATERAL (SELECT a FROM {} AS x) AS y",
            "WITH c AS (SELECT * FROM {} AS x) SELECT * FROM c",
            "SELECT a FROM d.q UNION ALL SELECT a FROM {} AS x",
            "SELECT (SELECT max(a) FROM {} AS x)",
            "SELECT 1 WHERE EXISTS (SELECT 1 FROM {} AS x)",
            "SELECT 1 WHERE 1 IN (SELECT a FROM {} AS x)",
            "SELECT a FROM d.q ORDER BY (SELECT max(a) FROM {} AS x)",
            "SELECT count(*) FROM d.q GROUP BY a HAVING a > (SELECT max(a) FROM {} AS x)",
            "SELECT a FROM d.q JOIN d.r ON a = (SELECT max(a) FROM {} AS x)",
            "EXPLAIN SELECT * FROM {} AS x",
        ]
        .iter()
        .map(|place| place.replace("{}", table))
        .collect()
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
        check("SELECT lpad(a, 10), repeat('x', 3) FROM d.p", Ok(()));
        check("SELECT repeat('x', 2000000000)", Err("more than 10000 times"));
        check("SELECT repeat(repeat('x', 1000), 1000)", Err("more than 10000 times"));
        check("SELECT array_repeat(1, a) FROM d.p", Err("a plain number"));
        for (open, close) in [("CAST(", " AS INT)"), ("POSITION(", " IN 1)"), ("CASE ", " END"), ("CEIL(", ")")] {
            let wrong = format!("SELECT {}1 1{}", open.repeat(60), close.repeat(60));
            assert!(admit(&wrong).is_err(), "{wrong} is refused, and soon");
        }
        check(&format!("SELECT {}1 1{}", "CAST(".repeat(60), " AS INT)".repeat(60)), Err("nested too deeply"));
        for frame in [
            "ORDER BY a",
            "PARTITION BY a",
            "ROWS BETWEEN UNBOUNDED PRECEDING AND CURRENT ROW",
            "ORDER BY a ROWS 5000 PRECEDING",
        ] {
            check(&format!("SELECT array_agg(a) OVER ({frame}) FROM d.p"), Err("gathers"));
        }
        check("SELECT string_agg(a, ',') OVER (ORDER BY a ROWS BETWEEN 5 PRECEDING AND 5 FOLLOWING) FROM d.p", Ok(()));
        let list = format!("SELECT 1 IN (1{})", ", 1".repeat(10_000));
        assert!(admit(&list).is_ok(), "a long list is no chain");
    }

    #[test]
    fn the_sets_of_a_grouping_multiply() {
        let columns = |count: usize| (0..count).map(|n| format!("c{n}")).collect::<Vec<_>>().join(", ");
        let sets = |count: usize| (0..count).map(|n| format!("(c{n})")).collect::<Vec<_>>().join(", ");
        for by in [
            columns(2_000),
            format!("CUBE ({})", columns(7)),
            format!("x, CUBE ({})", columns(7)),
            format!("ROLLUP ({})", columns(31)),
            format!("GROUPING SETS ({})", sets(32)),
            "ROLLUP (a, b, c), CUBE (d, e, f), GROUPING SETS ((g), (h), ())".into(),
        ] {
            check(&format!("SELECT count(*) FROM d.p GROUP BY {by}"), Ok(()));
        }
        for by in [
            format!("CUBE ({})", columns(10)),
            "CUBE (a, b, c, d, e, f), CUBE (a, b, c, d, e, f)".into(),
            "CUBE (a, b, c, d), x, ROLLUP (e, f, g), GROUPING SETS ((h), (i), ())".into(),
            format!("{}, CUBE (a, b)", columns(500)),
            format!("ROLLUP ({})", columns(40)),
            format!("GROUPING SETS ({})", sets(200)),
            format!("CUBE ({})", columns(100)),
            format!("CUBE ({})", vec!["a"; 20].join(", ")),
        ] {
            check(
                &format!("SELECT count(*) FROM d.p GROUP BY {by}"),
                Err("a CUBE, ROLLUP or GROUPING SETS of so many"),
            );
            check(&format!("SELECT 1 IN (SELECT count(*) FROM d.p GROUP BY {by})"), Err("of so many columns"));
        }
    }

    #[test]
    fn tables_and_windows_are_counted_wherever_they_stand() {
        let list = |count: usize, each: &str| vec![each; count].join(", ");
        for table in
            ["d.p", "(SELECT a FROM d.p) AS x", "(SELECT 1 AS a) AS x", "unnest([1]) AS x(a)", "(VALUES (1)) AS x"]
        {
            check(&format!("SELECT 1 FROM {}", list(64, table)), Ok(()));
            for sql in [
                format!("SELECT 1 FROM {}", list(65, table)),
                format!("SELECT 1 FROM {}, {table} WHERE 1 IN (SELECT 1 FROM {})", list(40, table), list(24, table)),
                format!("WITH q AS (SELECT 1 FROM {}) SELECT 1 FROM q, q AS r, q AS s", list(22, table)),
                format!("WITH q AS (SELECT 1 FROM {table}) SELECT 1 FROM {}", list(65, "q")),
            ] {
                check(&sql, Err("tables, and 64 are the most"));
            }
        }
        let windows = |count: usize| list(count, "lag(a, 3) OVER (ORDER BY b)");
        check(&format!("SELECT {} FROM d.p", windows(256)), Ok(()));
        check(&format!("SELECT {} FROM d.p", list(257, "lag(a, 3)")), Ok(()));
        for sql in [
            format!("SELECT {} FROM d.p", windows(257)),
            format!("SELECT {}, sum(a) OVER w FROM d.p WINDOW w AS (ORDER BY b)", windows(256)),
            format!(
                "SELECT {}, (SELECT max(a + {}) FROM d.q) FROM d.p",
                windows(200),
                windows(57).replace(", lag", " + lag")
            ),
            format!("WITH q AS (SELECT {} FROM d.p) SELECT 1 FROM q, q AS r, q AS s", windows(100)),
        ] {
            check(&sql, Err("window functions, and 256 are the most"));
        }
        let aggregates = |count: usize| list(count, "SUM(a)");
        check(&format!("SELECT {} FROM d.p", aggregates(1_000)), Ok(()));
        check(&format!("SELECT {} FROM d.p", list(1_001, "abs(a)")), Ok(()));
        for sql in [
            format!("SELECT {} FROM d.p", aggregates(1_001)),
            format!(
                "SELECT {} FROM d.p GROUP BY b",
                list(1_001, "string_agg(DISTINCT a, ',' ORDER BY a) FILTER (WHERE b)")
            ),
            format!("WITH q AS (SELECT {} FROM d.p) SELECT 1 FROM q, q AS r, q AS s", aggregates(400)),
        ] {
            check(&sql, Err("aggregate functions, and 1000 are the most"));
        }
        for deep in ["arrow_cast", "ARROW_TRY_CAST"] {
            let nested = |times: usize| format!("{}Int8{}", "List(".repeat(times), ")".repeat(times));
            check(&format!("SELECT {deep}(a, '{}') FROM d.p", nested(64)), Ok(()));
            check(&format!("SELECT {deep}(a, '{}') FROM d.p", nested(65)), Err("a type that is nested so deeply"));
        }
    }

    #[test]
    fn a_syntax_error_says_where() {
        check("SELEC 1", Err("cannot be parsed"));
        check("SELECT * FORM d.p", Err("Line: 1"));
    }
}
