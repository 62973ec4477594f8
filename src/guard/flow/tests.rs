//! What is told of a query, and that it is never too little.

use std::sync::Arc;

use datafusion::arrow::array::{ArrayRef, Int64Array, Int64Builder, ListBuilder, RecordBatch, StructArray};
use datafusion::arrow::datatypes::{DataType, Field, Fields, Schema};
use datafusion::arrow::util::display::{ArrayFormatter, FormatOptions};
use datafusion::datasource::MemTable;
use datafusion::logical_expr::{Expr, Extension, LogicalPlan, UserDefinedLogicalNodeCore};
use datafusion::prelude::{SessionConfig, SessionContext};

use super::*;

/// Numbers that look random and are the same in every run.
struct Dice(u64);

impl Dice {
    fn roll(&mut self, sides: usize) -> usize {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        usize::try_from(self.0 >> 33).unwrap() % sides
    }

    fn one<'a>(&mut self, of: &[&'a str]) -> &'a str {
        of[self.roll(of.len())]
    }
}

const ROWS: usize = 12;

/// The columns of both tables that hold values: the tables, the columns, and the fields inside.
const BASES: [(&str, &[&str]); 9] = [
    ("t", &["a"]),
    ("t", &["b"]),
    ("t", &["c"]),
    ("t", &["home", "x"]),
    ("t", &["home", "y"]),
    ("t", &["many"]),
    ("u", &["a"]),
    ("u", &["d"]),
    ("u", &["e"]),
];

/// The values of each base; small numbers with NULLs, so that they meet.
fn values(dice: &mut Dice) -> Vec<Option<i64>> {
    (0..ROWS).map(|_| Some(i64::try_from(dice.roll(5)).unwrap()).filter(|_| dice.roll(8) > 0)).collect()
}

fn context(bases: &[Vec<Option<i64>>]) -> SessionContext {
    let number = |place: usize| -> ArrayRef { Arc::new(Int64Array::from(bases[place].clone())) };
    let int = |name: &str| Field::new(name, DataType::Int64, true);
    let inside = Fields::from(vec![int("x"), int("y")]);
    let home: ArrayRef = Arc::new(StructArray::new(inside.clone(), vec![number(3), number(4)], None));
    let mut many = ListBuilder::new(Int64Builder::new());
    for value in &bases[5] {
        (0..value.unwrap_or(0) % 3).for_each(|n| many.values().append_value(n + value.unwrap_or(0)));
        many.append(value.is_some());
    }
    let many: ArrayRef = Arc::new(many.finish());
    let context = SessionContext::new_with_config(SessionConfig::new().with_target_partitions(1));
    let fields = vec![
        int("a"),
        int("b"),
        int("c"),
        Field::new("home", DataType::Struct(inside), true),
        Field::new("many", many.data_type().clone(), true),
    ];
    let tables = [
        ("t", fields, vec![number(0), number(1), number(2), home, many]),
        ("u", vec![int("a"), int("d"), int("e")], vec![number(6), number(7), number(8)]),
    ];
    for (name, fields, columns) in tables {
        let schema = Arc::new(Schema::new(fields));
        let batch = RecordBatch::try_new(Arc::clone(&schema), columns).unwrap();
        context.register_table(name, Arc::new(MemTable::try_new(schema, vec![vec![batch]]).unwrap())).unwrap();
    }
    context
}

async fn flow_of(context: &SessionContext, sql: &str) -> Flow {
    let plan = context.state().create_logical_plan(sql).await.unwrap();
    flow(&plan, &|_, _| false).unwrap_or_else(|error| panic!("{sql}: {error}\n{plan}"))
}

/// The columns of the answer as text, or the text of the error.
async fn answer(context: &SessionContext, sql: &str) -> Result<Vec<Vec<String>>, String> {
    let frame = context.sql(sql).await.map_err(|error| error.to_string())?;
    let width = frame.schema().fields().len();
    let batches = frame.collect().await.map_err(|error| error.to_string())?;
    let mut columns = vec![Vec::new(); width];
    for batch in batches {
        for (column, array) in columns.iter_mut().zip(batch.columns()) {
            let options = FormatOptions::default().with_null("NULL");
            let shown = ArrayFormatter::try_new(array, &options).unwrap();
            column.extend((0..batch.num_rows()).map(|row| shown.value(row).to_string()));
        }
    }
    Ok(columns)
}

/// The rows of some columns, in no particular order.
fn rows(columns: &[Vec<String>], of: &[usize]) -> Vec<Vec<String>> {
    let height = columns.first().map_or(0, Vec::len);
    let mut rows: Vec<Vec<String>> =
        (0..height).map(|row| of.iter().map(|column| columns[*column][row].clone()).collect()).collect();
    rows.sort();
    rows
}

fn names(source: &Source, table: &str, path: &[&str]) -> bool {
    source.table.table() == table && source.path.iter().zip(path).all(|(own, other)| own == other)
}

/// A random query over `t` and `u` with the columns of [`select`].
fn query(dice: &mut Dice, depth: usize) -> String {
    if depth == 0 {
        return select(dice, 0);
    }
    match dice.roll(10) {
        0 => format!("{} UNION ALL {}", select(dice, depth), select(dice, depth - 1)),
        1 => format!("{} UNION {}", select(dice, depth), select(dice, depth - 1)),
        2 => format!("{} EXCEPT {}", select(dice, depth), select(dice, depth - 1)),
        3 => format!("{} INTERSECT {}", select(dice, depth), select(dice, depth - 1)),
        4 => {
            let (seed, step) = (select(dice, depth - 1), dice.one(&["q.p + 1", "q.p + t.b", "q.r", "t.c"]));
            let all = dice.one(&["ALL", ""]);
            format!(
                "WITH RECURSIVE q (n, p, r) AS (SELECT 0, p, r FROM ({seed}) UNION {all} \
                 SELECT q.n + 1, {step}, q.p FROM q JOIN t ON q.p = t.a WHERE q.n < 2) SELECT p, r FROM q"
            )
        }
        5 => format!("WITH q AS ({}) SELECT x.p, y.r FROM q x JOIN q y ON x.p = y.p", query(dice, depth - 1)),
        _ => select(dice, depth),
    }
}

/// A random `SELECT` of two columns, `p` and `r`.
fn select(dice: &mut Dice, depth: usize) -> String {
    let nested = if depth > 0 { Some(query(dice, depth - 1)) } else { None };
    let from = match (dice.roll(8), nested) {
        (0, Some(nested)) => {
            let derived = format!("({nested}) AS w");
            return format!(
                "SELECT w.r + {} AS p, w.p AS r FROM t JOIN {derived} ON w.p = t.b",
                dice.one(&["1", "t.c"])
            );
        }
        (1, Some(nested)) => {
            return format!("SELECT w.p AS p, max(w.r) OVER (PARTITION BY w.p) AS r FROM ({nested}) AS w");
        }
        (0..=2, None) | (2, _) => "t".to_owned(),
        (3, _) => "t LEFT JOIN u ON t.a = u.a".to_owned(),
        (4, _) => "t FULL JOIN u ON t.a = u.a AND t.b > u.e".to_owned(),
        (5, _) => "t CROSS JOIN (SELECT a, d, e FROM u WHERE d > 1) AS u".to_owned(),
        (6, _) => "t LEFT ANTI JOIN u ON t.b = u.d".to_owned(),
        _ => "t JOIN u USING (a)".to_owned(),
    };
    let both = from.contains('u') && !from.contains("ANTI");
    let column = |dice: &mut Dice| {
        let own = ["t.a", "t.b", "t.c", "t.home['x']", "t.home['y']", "cardinality(t.many)"];
        match both && dice.roll(3) == 0 {
            true => dice.one(&["u.a", "u.d", "u.e"]),
            false => dice.one(&own),
        }
    };
    let value = |dice: &mut Dice| {
        let (x, y) = (column(dice), column(dice));
        match dice.roll(9) {
            0 => format!("{x} + coalesce({y}, 1)"),
            1 => format!("CASE WHEN {x} > 2 THEN {y} ELSE 0 END"),
            2 => format!("(SELECT max(u.e) FROM u AS u WHERE u.d = {x})"),
            3 => format!("CAST({x} IN (SELECT d FROM u WHERE e > 1) AS BIGINT)"),
            4 => format!("nullif({x}, {y})"),
            _ => x.to_owned(),
        }
    };
    let predicate = |dice: &mut Dice| {
        let (x, y) = (column(dice), column(dice));
        match dice.roll(7) {
            0 => format!("{x} IS NOT NULL"),
            1 => format!("EXISTS (SELECT 1 FROM u AS v WHERE v.a = {x})"),
            2 => format!("{x} NOT IN (SELECT d FROM u WHERE d IS NOT NULL)"),
            3 => format!("{x} BETWEEN 1 AND {y}"),
            _ => format!("{x} >= {y}"),
        }
    };
    let filter = if dice.roll(2) == 0 { format!(" WHERE {}", predicate(dice)) } else { String::new() };
    let (x, y) = (value(dice), value(dice));
    match dice.roll(9) {
        0 => format!("SELECT {x} AS p, sum({y}) AS r FROM {from}{filter} GROUP BY {x}"),
        1 => {
            let (by, other) = (column(dice), column(dice));
            let kept = predicate(dice);
            format!(
                "SELECT {by} AS p, count({other}) FILTER (WHERE {kept}) AS r FROM {from}{filter} GROUP BY {by} HAVING max({other}) > 1"
            )
        }
        2 => format!("SELECT DISTINCT {x} AS p, {y} AS r FROM {from}{filter}"),
        3 => {
            let (by, order) = (column(dice), column(dice));
            format!("SELECT {x} AS p, sum({y}) OVER (PARTITION BY {by} ORDER BY {order}) AS r FROM {from}{filter}")
        }
        4 => format!("(SELECT {x} AS p, {y} AS r FROM {from}{filter} ORDER BY {}, 1, 2 LIMIT 5)", column(dice)),
        5 => format!("SELECT {x} AS p, unnest(t.many) AS r FROM {from}{filter}"),
        6 => format!("SELECT max({y}) AS p, count(*) AS r FROM {from}{filter}"),
        7 => {
            let by = column(dice);
            format!("SELECT {by} AS p, max({y}) AS r FROM {from}{filter} GROUP BY ROLLUP ({by})")
        }
        _ => format!("SELECT {x} AS p, {y} AS r FROM {from}{filter}"),
    }
}

#[tokio::test]
async fn what_is_not_named_cannot_change_an_output() {
    let mut dice = Dice(54);
    let cases = std::env::var("POLDER_FLOW_CASES").ok().and_then(|cases| cases.parse().ok()).unwrap_or(60);
    let (mut run, mut compared, mut changed) = (0, 0, 0);
    for _ in 0..cases {
        let sql = query(&mut dice, 2);
        let bases: Vec<_> = BASES.iter().map(|_| values(&mut dice)).collect();
        let before = context(&bases);
        if before.state().create_logical_plan(&sql).await.is_err() {
            continue;
        }
        let flow = flow_of(&before, &sql).await;
        let Ok(expected) = answer(&before, &sql).await else { continue };
        run += 1;
        for (place, (table, path)) in BASES.iter().enumerate() {
            let mut other = bases.clone();
            other[place] = values(&mut dice);
            let found = answer(&context(&other), &sql).await;
            if flow.rows.iter().any(|source| names(source, table, path)) {
                continue;
            }
            let named = |output: usize| flow.outputs[output].1.iter().any(|source| names(source, table, path));
            let (named, free): (Vec<usize>, Vec<usize>) = (0..flow.outputs.len()).partition(|output| named(*output));
            let same =
                |outputs: &[usize]| found.as_ref().is_ok_and(|found| rows(found, outputs) == rows(&expected, outputs));
            assert!(same(&free), "{sql}\ndepends on {table}.{path:?}, which is not told: {flow:#?}");
            compared += free.len();
            changed += usize::from(!same(&named));
        }
    }
    assert!(run * 2 > cases, "most of the queries run: {run} of {cases}");
    assert!(compared > run && changed * 2 > run, "{compared} were not named and {changed} changed in {run} queries");
}

/// `table.column via` for each source, one text per output, and last what reaches all rows.
async fn told(sql: &str) -> Vec<String> {
    let flow = flow_of(&context(&vec![vec![Some(1); ROWS]; BASES.len()]), sql).await;
    let line = |sources: &[Source]| {
        let texts: Vec<String> =
            sources.iter().map(|s| format!("{}.{} {}", s.table, s.path.join("."), s.via)).collect();
        texts.join(", ")
    };
    flow.outputs.iter().map(|(name, sources)| format!("{name}: {}", line(sources))).chain([line(&flow.rows)]).collect()
}

#[tokio::test]
async fn each_way_is_told_by_its_name() {
    for (sql, expect) in [
        ("SELECT b FROM t WHERE c = 1", &["b: t.b value", "t.c predicate"][..]),
        ("SELECT b FROM t ORDER BY c", &["b: t.b value", "t.c order"]),
        ("SELECT b, sum(c) AS s FROM t GROUP BY b", &["b: t.b value", "s: t.c value", "t.b group"]),
        ("SELECT count(*) AS n FROM t", &["n: ", ""]),
        ("SELECT t.b, u.d FROM t JOIN u USING (a)", &["b: t.b value", "d: u.d value", "t.a join, u.a join"]),
        ("SELECT max(b) OVER (PARTITION BY c) AS m FROM t", &["m: t.b value, t.c window", ""]),
        ("SELECT home['x'] AS x FROM t", &["x: t.home.x value", ""]),
        ("SELECT h['x'] AS x FROM (SELECT home AS h FROM t WHERE true)", &["x: t.home.x value", ""]),
        ("SELECT home FROM t", &["home: t.home value", ""]),
        ("SELECT unnest(many) AS m FROM t", &["m: t.many value", "t.many join"]),
        (
            "SELECT b FROM t WHERE EXISTS (SELECT d FROM u WHERE u.a = t.a)",
            &["b: t.b value", "t.a predicate, u.a predicate"],
        ),
        ("SELECT (SELECT max(d) FROM u WHERE e = 1) AS m FROM t", &["m: u.d value, u.e predicate", ""]),
        (
            "WITH RECURSIVE q (n, p) AS (SELECT 0 AS n, 0 AS p UNION ALL SELECT q.n + 1, t.b FROM q JOIN t ON q.p = t.a WHERE q.n < 3) \
             SELECT p FROM q",
            &["p: t.b value", "t.a join, t.b join"],
        ),
        ("SELECT b FROM t UNION ALL SELECT d FROM u WHERE e = 1", &["b: t.b value, u.d value", "u.e predicate"]),
        ("SELECT DISTINCT b FROM t", &["b: t.b value", "t.b group"]),
        ("SELECT x FROM (VALUES (1)) AS v (x)", &["x: ", ""]),
        (
            "SELECT 1 AS one FROM t k, LATERAL (SELECT d FROM u WHERE u.e = k.b) AS l",
            &["one: ", "t.b predicate, u.e predicate"],
        ),
    ] {
        assert_eq!(told(sql).await, expect, "{sql}");
    }
}

#[tokio::test]
async fn columns_that_are_compared_as_they_are_are_told_in_pairs() {
    let context = context(&vec![vec![Some(1); ROWS]; BASES.len()]);
    for (sql, expect) in [
        ("SELECT 1 FROM t JOIN u USING (a)", &["t.a = u.a"][..]),
        ("SELECT 1 FROM t, u WHERE u.d = t.b AND t.a > u.a", &["t.b = u.d"]),
        (
            "SELECT 1 FROM t JOIN u ON t.c = u.d AND t.c + 1 = u.e OR t.home['x'] = u.e",
            &["t.c = u.d", "u.e = t.home.x"],
        ),
        ("SELECT 1 FROM (SELECT b AS k FROM t GROUP BY b) g LEFT JOIN u ON g.k = u.d", &["t.b = u.d"]),
        ("SELECT 1 FROM t WHERE b IN (SELECT d FROM u)", &["t.b = u.d"]),
        ("SELECT 1 FROM t WHERE EXISTS (SELECT 1 FROM u WHERE u.d = t.c)", &["t.c = u.d"]),
        ("SELECT 1 FROM t x JOIN t y ON x.b = y.b", &["t.b = t.b"]),
        ("SELECT a FROM t INTERSECT SELECT a FROM u", &[]),
        ("SELECT 1 FROM t WHERE b = 1 AND b + c = c", &[]),
    ] {
        let text = |(table, path): &Base| format!("{table}.{}", path.join("."));
        let told = flow_of(&context, sql).await.equated;
        let mut told: Vec<String> =
            told.iter().map(|(one, other)| format!("{} = {}", text(one), text(other))).collect();
        told.sort();
        assert_eq!(told, expect, "{sql}");
    }
}

#[tokio::test]
async fn a_node_that_is_not_known_has_no_flow() {
    #[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Hash)]
    struct Odd(LogicalPlan);
    impl UserDefinedLogicalNodeCore for Odd {
        fn name(&self) -> &str {
            "Odd"
        }
        fn inputs(&self) -> Vec<&LogicalPlan> {
            vec![&self.0]
        }
        fn schema(&self) -> &datafusion::common::DFSchemaRef {
            self.0.schema()
        }
        fn expressions(&self) -> Vec<Expr> {
            Vec::new()
        }
        fn fmt_for_explain(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.write_str("Odd")
        }
        fn with_exprs_and_inputs(
            &self,
            _exprs: Vec<Expr>,
            mut inputs: Vec<LogicalPlan>,
        ) -> datafusion::common::Result<Self> {
            Ok(Self(inputs.remove(0)))
        }
    }
    let context = context(&vec![vec![Some(1); ROWS]; BASES.len()]);
    let inner = context.state().create_logical_plan("SELECT b FROM t").await.unwrap();
    assert!(flow(&inner, &|_, _| false).is_ok());
    let odd = LogicalPlan::Extension(Extension { node: Arc::new(Odd(inner)) });
    assert!(flow(&odd, &|_, _| false).is_err());
}

#[tokio::test]
async fn where_small_counts_tell_something_only_large_ones_carry_nothing() {
    let context = context(&vec![Vec::new(); BASES.len()]);
    let carries = async |sql: &str, least: Option<u64>| {
        let plan = context.state().create_logical_plan(sql).await.unwrap();
        let (_, sources) = carried(&plan, least).unwrap().remove(0);
        !sources.is_empty()
    };
    let each = "SELECT count(a) AS n FROM t GROUP BY b";
    assert!(!carries(each, None).await, "a count has no values");
    for (having, enough) in [
        ("count(a) >= 10", true),
        ("count(a) > 9", true),
        ("10 <= count(a) AND b > 0", true),
        ("count(a) >= 9", false),
        ("count(a) > 8", false),
        ("count(a) <= 10", false),
        ("count(b) >= 10", false),
        ("count(a) >= 10 OR b > 0", false),
        ("NOT count(a) >= 10", false),
    ] {
        assert_eq!(!carries(&format!("{each} HAVING {having}"), Some(10)).await, enough, "{having}");
    }
    for (sql, enough) in [
        (each, false),
        ("SELECT n FROM (SELECT count(a) AS n FROM t GROUP BY b) WHERE n >= 10", true),
        ("SELECT n FROM (SELECT count(a) + 10 AS n FROM t GROUP BY b) WHERE n >= 10", false),
        ("SELECT n FROM (SELECT count(a) AS n FROM t GROUP BY b UNION ALL SELECT a FROM t) WHERE n >= 10", false),
        ("SELECT count(*) AS n FROM t GROUP BY b", true),
        ("SELECT sum(a) AS n FROM t GROUP BY b HAVING sum(a) >= 10", false),
    ] {
        assert_eq!(!carries(sql, Some(10)).await, enough, "{sql}");
    }
}

#[tokio::test]
async fn what_is_chosen_by_comparing_is_told_of_what_it_is_compared_with() {
    let context = context(&vec![vec![Some(1); ROWS]; BASES.len()]);
    // `t.b` is what is told, and what is named else numbers that anybody has, or who it is told of.
    let tells = async |sql: &str, least| {
        let plan = context.sql(sql).await.unwrap_or_else(|error| panic!("{sql}: {error}")).into_unoptimized_plan();
        let carried = carried(&plan, least).unwrap();
        carried.iter().any(|(_, sources)| sources.iter().any(|source| names(source, "t", &["b"])))
    };
    for sql in [
        "SELECT DISTINCT ON (t.a) t.a, u.d FROM t, u ORDER BY t.a, t.b = u.d DESC",
        "SELECT t.a, first_value(u.d ORDER BY abs(t.b) = u.d DESC) AS x FROM t, u GROUP BY t.a",
        "SELECT t.a, array_agg(u.d ORDER BY t.b = u.d DESC) AS x FROM t, u GROUP BY t.a",
        "SELECT a, d FROM (SELECT t.a, u.d, row_number() OVER (PARTITION BY t.a ORDER BY t.b = u.d DESC) AS r FROM t, u) WHERE r = 1",
        "SELECT a, d FROM (SELECT t.a, u.d, count(*) OVER (PARTITION BY t.a, t.b = u.d) AS n FROM t, u) WHERE n = 1",
        "SELECT t.a, max(u.d) AS x FROM t, u GROUP BY t.a, t.b = u.d HAVING count(*) = 1",
        "SELECT t.a, max(u.d) FILTER (WHERE t.b = u.d) AS x FROM t, u GROUP BY t.a",
        "SELECT a, d FROM (SELECT t.a, u.d, count(*) FILTER (WHERE t.b = u.d) AS n FROM t, u GROUP BY t.a, u.d) WHERE n > 0",
        "SELECT a, d FROM (SELECT t.a, u.d, count(CASE WHEN t.b = u.d THEN 1 END) AS n FROM t, u GROUP BY t.a, u.d) WHERE n > 0",
        "SELECT u.d FROM t, u ORDER BY t.b = u.d DESC LIMIT 1",
        "SELECT t.a, count(*) AS n FROM t, u WHERE u.d <= t.b GROUP BY t.a",
        "SELECT t.a, count(*) AS n FROM t JOIN u ON u.d <= t.b GROUP BY t.a",
        "SELECT t.a, 1 + sum(1) AS n FROM t, u WHERE u.d <= t.b GROUP BY t.a",
        "SELECT t.a, count(*) AS n FROM t, u WHERE u.d <= t.b GROUP BY t.a HAVING count(*) >= 10",
        "SELECT t.a, count(*) FILTER (WHERE u.d <= t.b) AS n FROM t, u GROUP BY t.a",
        "SELECT t.a, count(nullif(least(u.d, t.b), u.d)) AS n FROM t, u GROUP BY t.a",
        "SELECT t.a, count(DISTINCT least(u.d, t.b)) AS n FROM t, u GROUP BY t.a",
        "SELECT t.a, max(r) AS n FROM (SELECT t.a, row_number() OVER (PARTITION BY t.a) AS r FROM t, u WHERE u.d <= t.b) AS t GROUP BY t.a",
        "SELECT a, count(*) AS n FROM (SELECT DISTINCT t.a, least(u.d, t.b) FROM t, u) GROUP BY a",
        "SELECT a, count(*) AS n FROM (SELECT t.a, least(u.d, t.b) AS l FROM t, u GROUP BY 1, 2) GROUP BY a",
        "SELECT a, (SELECT count(*) FROM u WHERE u.d <= t.b) AS n FROM t",
        "SELECT u.e, count(*) AS n FROM u WHERE EXISTS (SELECT 1 FROM t WHERE u.d <= t.b) GROUP BY u.e",
        "SELECT u.e, count(*) AS n FROM u WHERE d IN (SELECT least(v.d, t.b) FROM t, u AS v) GROUP BY u.e",
        "SELECT a, count(*) AS n FROM (SELECT a, unnest(range(0, b)) AS x FROM t) GROUP BY a",
        "SELECT a * 10 + 1 AS x FROM t WHERE b > 3 UNION ALL SELECT a * 10 FROM t WHERE b <= 3",
        "SELECT a, 1 AS x FROM t WHERE b > 3 UNION ALL SELECT a, 0 FROM t WHERE b <= 3",
        "SELECT t.a, count(*) AS x FROM t, (VALUES (1, 1), (2, 2)) w(n, k) GROUP BY t.a, w.n <= t.b HAVING min(w.k) = 1",
        "SELECT t.a, count(*) OVER (PARTITION BY t.a, w.n <= t.b) AS x FROM t, (VALUES (1, 1), (2, 2)) w(n, k)",
        "SELECT a, max(r) AS x FROM (SELECT t.a, rank() OVER (PARTITION BY t.a ORDER BY w.n <= t.b) AS r FROM t, \
            (VALUES (1, 1), (2, 2)) w(n, k)) GROUP BY a",
        "SELECT a, coalesce(max(97) FILTER (WHERE b = 97), max(98) FILTER (WHERE b = 98)) AS x FROM t GROUP BY a",
        "SELECT a, k AS x FROM t LEFT JOIN (SELECT 104 AS k) o ON t.b = 104",
        "SELECT a, k AS x FROM (SELECT 104 AS k) o RIGHT JOIN t ON t.b = 104",
        "SELECT a, k AS x FROM t FULL JOIN (SELECT 104 AS k) o ON t.b = 104",
        "SELECT a, k AS x FROM t LEFT JOIN LATERAL (SELECT 104 AS k WHERE t.b = 104) o ON true",
        "SELECT t.a, u.d IS NULL AS x FROM t LEFT JOIN u ON t.b > 3",
        "SELECT t.a, w.k FROM t JOIN (VALUES (1, 1), (2, 2)) w(n, k) ON w.n = t.b",
        "SELECT t.a, u.e FROM t JOIN u ON u.d = t.b + 1",
        "SELECT t.a, u.e FROM t, u WHERE u.d = t.b + 1",
        "SELECT t.a, first_value(w.k ORDER BY abs(w.n - t.b)) AS x FROM t, (VALUES (1, 1), (2, 2)) w(n, k) GROUP BY t.a",
        "SELECT DISTINCT ON (t.a) t.a, w.k FROM t, (VALUES (1, 1), (2, 2)) w(n, k) ORDER BY t.a, abs(w.n - t.b)",
        "SELECT a, k FROM (SELECT t.a, w.k, row_number() OVER (PARTITION BY t.a ORDER BY abs(w.n - t.b)) AS r FROM t, \
            (VALUES (1, 1), (2, 2)) w(n, k)) WHERE r = 1",
        "SELECT a, k FROM t JOIN (SELECT n, row_number() OVER (ORDER BY n) AS k FROM (VALUES (1), (2)) w(n)) ON n = b",
        "SELECT a, 1 AS x FROM t JOIN (SELECT 1 AS one) o ON t.b = 104 UNION ALL \
            SELECT a, 2 FROM t JOIN (SELECT 1 AS one) o ON t.b <> 104",
        "WITH RECURSIVE r AS (SELECT a, b AS e FROM t UNION ALL SELECT a, e - 1 FROM r WHERE e > 1) \
            SELECT a, count(*) AS x FROM r GROUP BY a",
    ] {
        assert!(tells(sql, None).await, "{sql}");
        assert!(tells(sql, Some(10)).await, "{sql}");
    }
    let filtered = "SELECT a, count(*) FILTER (WHERE b > 3) * 104 AS n FROM t GROUP BY a";
    assert!(tells(filtered, Some(10)).await && !tells(filtered, None).await, "a count is one of what is counted");
    // What says no more than which rows there are, or that two columns are the same.
    for sql in [
        "SELECT a FROM t WHERE b > 3",
        "SELECT a, count(*) AS n FROM t WHERE b > 3 GROUP BY a HAVING count(*) >= 10",
        "SELECT u.e, count(*) AS n FROM t JOIN u ON t.b = u.a GROUP BY u.e HAVING count(*) >= 10",
        "SELECT u.e, count(DISTINCT t.b) AS n FROM t JOIN u ON t.b = u.a GROUP BY u.e HAVING count(DISTINCT t.b) >= 10",
        "SELECT e, count(*) AS n FROM u WHERE a IN (SELECT b FROM t) GROUP BY e HAVING count(*) >= 10",
        "SELECT e, count(*) AS n FROM u WHERE EXISTS (SELECT 1 FROM t WHERE t.b = u.a) GROUP BY e",
        "SELECT a, count(DISTINCT concat(b, c)) AS n FROM t GROUP BY a HAVING count(DISTINCT concat(b, c)) >= 10",
        "SELECT a, sum(c) AS n FROM t WHERE b > 3 GROUP BY a ORDER BY max(b) DESC LIMIT 3",
        "SELECT a FROM t WHERE b > 3 UNION ALL SELECT d FROM u",
        "SELECT a, row_number() OVER (ORDER BY b) AS n FROM t",
        "SELECT u.d, u.e FROM t LEFT JOIN u ON t.b = u.a",
        "SELECT u.e, count(*) AS n FROM t JOIN u ON lower(CAST(t.b AS TEXT)) = lower(CAST(u.a AS TEXT)) GROUP BY u.e",
        "SELECT u.e, count(DISTINCT coalesce(t.b, t.c)) AS n FROM t JOIN u ON t.a = u.a GROUP BY u.e \
            HAVING count(DISTINCT coalesce(t.b, t.c)) >= 10",
        "SELECT u.e, count(*) AS n FROM u LEFT JOIN t ON t.a = u.a WHERE t.b > 3 GROUP BY u.e HAVING count(*) >= 10",
    ] {
        assert!(!tells(sql, Some(10)).await, "{sql}");
    }
}
