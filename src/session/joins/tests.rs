//! What the pass does to plans over tables whose figures are made up, and that it never does anything to rows.

use std::borrow::Cow;

use async_trait::async_trait;
use datafusion::arrow::array::{Int64Array, RecordBatch};
use datafusion::arrow::datatypes::{DataType, Field, Schema, SchemaRef};
use datafusion::arrow::util::display::{ArrayFormatter, FormatOptions};
use datafusion::catalog::{Session, TableProvider};
use datafusion::common::stats::Precision;
use datafusion::common::{ColumnStatistics, ScalarValue, Statistics};
use datafusion::datasource::MemTable;
use datafusion::execution::SessionStateBuilder;
use datafusion::logical_expr::TableType;
use datafusion::optimizer::OptimizerContext;
use datafusion::physical_optimizer::optimizer::PhysicalOptimizer;
use datafusion::physical_plan::{ExecutionPlan, displayable};
use datafusion::prelude::{SessionConfig, SessionContext};

use super::*;

/// A table that says of itself what it is told to.
#[derive(Debug)]
struct Told {
    rows: MemTable,
    said: Option<Statistics>,
}

#[async_trait]
impl TableProvider for Told {
    fn schema(&self) -> SchemaRef {
        self.rows.schema()
    }

    fn table_type(&self) -> TableType {
        TableType::Base
    }

    fn get_logical_plan(&'_ self) -> Option<Cow<'_, LogicalPlan>> {
        None
    }

    async fn scan(
        &self,
        state: &dyn Session,
        projection: Option<&Vec<usize>>,
        filters: &[Expr],
        limit: Option<usize>,
    ) -> Result<Arc<dyn ExecutionPlan>> {
        self.rows.scan(state, projection, filters, limit).await
    }

    fn statistics(&self) -> Option<Statistics> {
        self.said.clone()
    }
}

/// Columns of numbers, and rows that are there.
fn table(columns: &[&str], rows: &[Vec<Option<i64>>], said: Option<Statistics>) -> Arc<dyn TableProvider> {
    let fields: Vec<Field> = columns.iter().map(|name| Field::new(*name, DataType::Int64, true)).collect();
    let schema = Arc::new(Schema::new(fields));
    let arrays =
        (0..columns.len()).map(|place| Arc::new(rows.iter().map(|row| row[place]).collect::<Int64Array>()) as _);
    let batch = RecordBatch::try_new(Arc::clone(&schema), arrays.collect()).unwrap();
    Arc::new(Told { rows: MemTable::try_new(schema, vec![vec![batch]]).unwrap(), said })
}

/// So many rows, with values from 1 to a number in each column.
fn said(rows: usize, most: &[i64]) -> Statistics {
    let column = |most: &i64| ColumnStatistics {
        min_value: Precision::Exact(ScalarValue::Int64(Some(1))),
        max_value: Precision::Exact(ScalarValue::Int64(Some(*most))),
        null_count: Precision::Exact(0),
        ..ColumnStatistics::new_unknown()
    };
    Statistics {
        num_rows: Precision::Exact(rows),
        total_byte_size: Precision::Absent,
        column_statistics: most.iter().map(column).collect(),
    }
}

fn context(rules: Vec<Arc<dyn OptimizerRule + Send + Sync>>) -> SessionContext {
    let config = SessionConfig::new().with_target_partitions(1);
    let state = SessionStateBuilder::new().with_config(config).with_default_features().with_optimizer_rules(rules);
    SessionContext::new_with_state(state.build())
}

/// Customers of 25 nations in 5 regions, with orders of lines; `lines` tells nothing if it is not told to.
fn shop(rules: Vec<Arc<dyn OptimizerRule + Send + Sync>>, tells: bool) -> SessionContext {
    let context = context(rules);
    let put = |name: &str, columns: &[&str], rows: usize, most: &[i64]| {
        let said = (tells || name != "lines").then(|| said(rows, most));
        context.register_table(name, table(columns, &[], said)).unwrap();
    };
    put("customers", &["c", "c_nation"], 150_000, &[150_000, 25]);
    put("orders", &["o", "o_customer", "o_day"], 1_500_000, &[6_000_000, 150_000, 2_400]);
    put("lines", &["l", "l_amount"], 6_001_215, &[6_000_000, 50]);
    put("nations", &["n", "n_region"], 25, &[25, 5]);
    put("regions", &["r", "r_name"], 5, &[5, 5]);
    context
}

async fn plan(context: &SessionContext, sql: &str) -> LogicalPlan {
    let state = context.state();
    let plan = state.create_logical_plan(sql).await.unwrap();
    let best = state.optimize(&plan).unwrap();
    assert!(best.schema().logically_equivalent_names_and_types(plan.schema()), "{sql}");
    best
}

/// The tables of a plan as it reads them, each join in brackets.
fn order(plan: &LogicalPlan) -> String {
    match plan {
        LogicalPlan::TableScan(scan) => scan.table_name.table().to_owned(),
        LogicalPlan::Join(join) => {
            let sign = match join.join_type {
                JoinType::Inner if join.filter.is_some() => " * ",
                JoinType::Inner => " ",
                JoinType::LeftSemi => " in ",
                _ => " outer ",
            };
            format!("({}{sign}{})", order(&join.left), order(&join.right))
        }
        other => other.inputs().into_iter().map(order).collect(),
    }
}

async fn ordered_as(sql: &str, expected: &str) {
    let context = shop(rules(), true);
    let plan = plan(&context, sql).await;
    assert_eq!(order(&plan), expected, "{}", plan.display_indent());
    let again = Joins.rewrite(plan.clone(), &OptimizerContext::new()).unwrap();
    assert!(!again.transformed, "{}", again.data.display_indent());
}

/// Who asks only for one region need not order all customers first.
const ONE_REGION: &str = "SELECT n, sum(l_amount) FROM customers, orders, lines, nations, regions \
     WHERE c = o_customer AND o = l AND c_nation = n AND n_region = r AND r_name = 3 AND o_day < 1000 GROUP BY n";

#[tokio::test]
async fn the_few_come_first() {
    ordered_as(ONE_REGION, "((((regions nations) customers) orders) lines)").await;
}

#[tokio::test]
async fn what_is_well_ordered_stays_as_it_is() {
    let sql = "SELECT * FROM regions JOIN nations ON n_region = r JOIN customers ON c_nation = n \
         JOIN orders ON o_customer = c";
    ordered_as(sql, "(((regions nations) customers) orders)").await;
}

#[tokio::test]
async fn a_table_that_tells_nothing_leaves_its_tree_alone() {
    let plain = plan(&shop(Optimizer::new().rules, false), ONE_REGION).await;
    let ours = plan(&shop(rules(), false), ONE_REGION).await;
    assert_eq!(plain.display_indent().to_string(), ours.display_indent().to_string());
}

#[tokio::test]
async fn outer_joins_are_borders() {
    let sql = "SELECT * FROM customers JOIN orders ON c = o_customer LEFT JOIN lines ON o = l \
         JOIN nations ON c_nation = n JOIN regions ON n_region = r WHERE r_name = 3";
    let plan = plan(&shop(rules(), true), sql).await;
    assert_eq!(order(&plan), "((regions nations) ((customers orders) outer lines))", "{}", plan.display_indent());
}

#[tokio::test]
async fn a_condition_stands_where_all_its_columns_are() {
    let sql = "SELECT * FROM lines JOIN orders ON o = l JOIN customers ON c = o_customer \
         JOIN nations ON c_nation = n AND c > n_region JOIN regions ON n_region = r WHERE r_name = 3";
    ordered_as(sql, "((((regions nations) * customers) orders) lines)").await;
}

#[tokio::test]
async fn a_semi_join_comes_before_the_joins() {
    let sql = "SELECT * FROM customers, orders, lines WHERE c = o_customer AND o = l \
         AND o IN (SELECT l FROM lines GROUP BY l HAVING sum(l_amount) > 300)";
    let plan = plan(&shop(rules(), true), sql).await;
    assert!(order(&plan).contains("(orders in lines)"), "{}", plan.display_indent());
}

#[tokio::test]
async fn what_nearly_fills_its_bounds_is_no_key_if_values_are_known_to_repeat() {
    let sql = "SELECT * FROM customers, orders, lines WHERE c = o_customer AND o = l \
         AND o IN (SELECT l FROM lines GROUP BY l HAVING sum(l_amount) > 300)";
    for (distinct, is_better) in [(Precision::Absent, false), (Precision::Inexact(37_900_000), true)] {
        let context = context(rules());
        let mut lines = said(59_986_052, &[60_000_000, 50]);
        lines.column_statistics[0].distinct_count = distinct;
        for (name, columns, said) in [
            ("customers", ["c", "c_nation"], said(1_500_000, &[1_500_000, 25])),
            ("orders", ["o", "o_customer"], said(15_000_000, &[60_000_000, 1_500_000])),
            ("lines", ["l", "l_amount"], lines),
        ] {
            context.register_table(name, table(&columns, &[], Some(said))).unwrap();
        }
        let plan = plan(&context, sql).await;
        assert_eq!(order(&plan).contains("(orders in lines)"), is_better, "{}", plan.display_indent());
    }
}

#[tokio::test]
async fn a_side_is_held_whole_if_each_thread_has_as_many_rows_on_the_other() {
    let numbers = |count: i64| (0..count).map(|n| vec![Some(n % 7)]).collect::<Vec<_>>();
    for (threads, left, right, mode) in
        [(2, 10, 20, "CollectLeft"), (2, 10, 19, "Partitioned"), (4, 10, 39, "Partitioned"), (4, 10, 40, "CollectLeft")]
    {
        let mut config = SessionConfig::new().with_target_partitions(threads);
        // What DataFusion holds whole by itself.
        config.options_mut().optimizer.hash_join_single_partition_threshold = 0;
        config.options_mut().optimizer.hash_join_single_partition_threshold_rows = 0;
        let state = SessionStateBuilder::new().with_config(config).with_default_features();
        let state = state.with_physical_optimizer_rules(physical(PhysicalOptimizer::new().rules));
        let context = SessionContext::new_with_state(state.build());
        context.register_table("l", table(&["a"], &numbers(left), None)).unwrap();
        context.register_table("r", table(&["b"], &numbers(right), None)).unwrap();
        let joined = context.sql("SELECT a, b FROM l JOIN r ON a = b").await.unwrap();
        let plan = joined.clone().create_physical_plan().await.unwrap();
        let text = displayable(plan.as_ref()).indent(false).to_string();
        assert!(text.contains(&format!("mode={mode}")), "{threads} threads, {left} and {right}: {text}");
        let grouped = context.sql("SELECT a, b FROM l JOIN (SELECT b FROM r GROUP BY b) ON a = b").await.unwrap();
        let plan = grouped.create_physical_plan().await.unwrap();
        let text = displayable(plan.as_ref()).indent(false).to_string();
        assert!(text.contains("mode=Partitioned"), "rows were handed around already: {text}");
        let pairs = numbers(left).iter().map(|a| numbers(right).iter().filter(|b| a == *b).count()).sum::<usize>();
        assert_eq!(joined.count().await.unwrap(), pairs);
    }
}

#[tokio::test]
async fn groups_that_a_join_leaves_out_are_not_made() {
    let less = |than: &str| {
        format!("SELECT sum(l_amount) FROM lines, orders WHERE o = l AND o_customer = 7 AND l_amount < ({than})")
    };
    let average = less("SELECT avg(b.l_amount) FROM lines b WHERE b.l = o");
    ordered_as(&average, "((orders (lines in orders)) * lines)").await;
    // Through what is between the groups and the join.
    let through = less(
        "SELECT avg(s) FROM (SELECT l, l_amount, sum(l_amount) AS s FROM lines GROUP BY l, l_amount) b WHERE b.l = o",
    );
    ordered_as(&through, "((orders (lines in orders)) * lines)").await;
    // The keys are those of what is looked in.
    let within = "SELECT o, s FROM orders, (SELECT l, sum(l_amount) AS s FROM lines GROUP BY l) WHERE o = l \
         AND o IN (SELECT c FROM customers WHERE c_nation = 3)";
    ordered_as(within, "((orders (lines in customers)) in customers)").await;

    let wide = shop(rules(), true);
    for (sql, why) in [
        (
            "SELECT s FROM nations, (SELECT c_nation, count(*) AS s FROM customers GROUP BY c_nation) WHERE n = c_nation",
            "all are left",
        ),
        (
            "SELECT s FROM orders, (SELECT l_amount, sum(l) AS s FROM lines GROUP BY l_amount) WHERE o = s AND o_customer = 7",
            "it is no key",
        ),
        (
            "SELECT s FROM orders, (SELECT l, l_amount, sum(l) AS s FROM lines GROUP BY ROLLUP (l, l_amount)) \
             WHERE o = l AND o_customer = 7",
            "a NULL stands for all",
        ),
        (
            "SELECT s FROM (SELECT * FROM orders WHERE 12 / o_day > 3 AND o_customer = 7), \
             (SELECT l, sum(l_amount) AS s FROM lines GROUP BY l) WHERE o = l",
            "it may fail",
        ),
        (
            "SELECT s FROM (SELECT * FROM orders WHERE o_customer = CAST(random() * 9 AS BIGINT)), \
             (SELECT l, sum(l_amount) AS s FROM lines GROUP BY l) WHERE o = l",
            "other rows are left the second time",
        ),
        (
            "SELECT s FROM (SELECT * FROM orders WHERE o_customer = 7) LEFT JOIN \
             (SELECT l, sum(l_amount) AS s FROM lines GROUP BY l) ON o = l",
            "it is no inner join",
        ),
    ] {
        let plan = plan(&wide, sql).await;
        assert!(!order(&plan).contains(" in "), "{why}: {}", plan.display_indent());
    }
    let silent = plan(&shop(rules(), false), &average).await;
    assert!(!order(&silent).contains(" in "), "nothing is told of what is put into groups");
}

#[tokio::test]
async fn a_join_that_may_fail_is_not_moved() {
    let sql = "SELECT * FROM customers JOIN orders ON c = o_customer JOIN lines ON o = l AND 12 / o_day > l_amount \
         JOIN nations ON c_nation = n JOIN regions ON n_region = r WHERE r_name = 3";
    let plan = plan(&shop(rules(), true), sql).await;
    assert!(order(&plan).contains("((customers orders) * lines)"), "{}", plan.display_indent());
}

/// Numbers that look random and are the same each time.
struct Draw(u64);

impl Draw {
    fn below(&mut self, most: u64) -> u64 {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) % most
    }
}

/// A statement over three to five of five tables, which are named `a` to `e` in it.
fn statement(draw: &mut Draw) -> String {
    let count = 3 + draw.below(3) as usize;
    let names = &["a", "b", "c", "d", "e"][..count];
    let column = |draw: &mut Draw, of: &str| format!("{of}.{}", ["x", "y", "z"][draw.below(3) as usize]);
    let (mut from, mut filters) = (format!("t{} a", draw.below(5)), vec!["true".to_owned()]);
    for (place, name) in names.iter().enumerate().skip(1) {
        let other = names[draw.below(place as u64) as usize];
        let mut on = format!("{} = {}", column(draw, name), column(draw, other));
        if draw.below(4) == 0 {
            let third = names[draw.below(place as u64) as usize];
            let operator = ["<", "=", "<>"][draw.below(3) as usize];
            on += &format!(" AND {} {operator} {}", column(draw, name), column(draw, third));
        }
        let table = draw.below(5);
        match draw.below(6) {
            4 | 5 => {
                let by = ["x", "x, z"][draw.below(2) as usize];
                let z = if by == "x" { "min(z) AS z" } else { "z" };
                from += &format!(" JOIN (SELECT x, sum(y) AS y, {z} FROM t{table} GROUP BY {by}) {name} ON {on}");
            }
            0 => {
                from += &format!(" CROSS JOIN t{table} {name}");
                filters.push(on);
            }
            1 if place + 1 == count => from += &format!(" LEFT JOIN t{table} {name} ON {on}"),
            _ => from += &format!(" JOIN t{table} {name} ON {on}"),
        }
    }
    if draw.below(2) == 0 {
        let of = names[draw.below(count as u64) as usize];
        filters.push(format!("{} >= {}", column(draw, of), draw.below(3)));
    }
    if draw.below(2) == 0 {
        let of = names[draw.below(count as u64) as usize];
        filters.push(format!("{} IN (SELECT y FROM t{} WHERE z >= 0)", column(draw, of), draw.below(5)));
    }
    format!("SELECT * FROM {from} WHERE {}", filters.join(" AND "))
}

/// The rows of a statement in an order of their own, and its plan.
async fn rows(context: &SessionContext, sql: &str) -> (Vec<String>, String) {
    let plan = plan(context, sql).await;
    let state = context.state();
    let physical = state.query_planner().create_physical_plan(&plan, &state).await.unwrap();
    let batches = datafusion::physical_plan::collect(physical, context.task_ctx()).await.unwrap();
    let mut rows = Vec::new();
    for batch in batches {
        let options = FormatOptions::default().with_null("-");
        let columns: Vec<_> = batch.columns().iter().map(|c| ArrayFormatter::try_new(c, &options).unwrap()).collect();
        let line = |row| columns.iter().map(|column| column.value(row).to_string()).collect::<Vec<_>>().join(" ");
        rows.extend((0..batch.num_rows()).map(line));
    }
    rows.sort();
    (rows, order(&plan))
}

#[tokio::test]
async fn rows_are_the_same_in_any_order() {
    let mut draw = Draw(7);
    let (mut moved, mut filled, mut narrow) = (0, 0, 0);
    for _ in 0..3 {
        let (plain, ours) = (context(Optimizer::new().rules), context(rules()));
        for name in 0..5 {
            let value = |draw: &mut Draw| (draw.below(8) > 0).then(|| draw.below(3) as i64);
            let row = |draw: &mut Draw| vec![value(draw), value(draw), value(draw)];
            let count = 2 + draw.below(7);
            let rows: Vec<_> = (0..count).map(|_| row(&mut draw)).collect();
            // What is told is not true, so that there is much to order, and nothing may follow from it.
            let told = said(10usize.pow(draw.below(6) as u32), &[0; 3].map(|_| 10i64.pow(draw.below(6) as u32)));
            for context in [&plain, &ours] {
                context.register_table(format!("t{name}"), table(&["x", "y", "z"], &rows, Some(told.clone()))).unwrap();
            }
        }
        for _ in 0..48 {
            let sql = statement(&mut draw);
            let ((expected, written), (got, ordered)) = (rows(&plain, &sql).await, rows(&ours, &sql).await);
            assert_eq!(expected, got, "{sql}\n{written}\n{ordered}");
            moved += usize::from(written != ordered);
            filled += usize::from(written != ordered && !expected.is_empty());
            let looks = |order: &str| order.matches(" in ").count();
            narrow += usize::from(looks(&ordered) > looks(&written) && !expected.is_empty());
        }
    }
    assert!(moved > 40 && filled > 20, "{moved} plans of 144 were ordered, {filled} of them with rows");
    assert!(narrow > 4, "{narrow} plans with rows make fewer groups");
}
