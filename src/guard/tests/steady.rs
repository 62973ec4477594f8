//! Plans whose expressions meet the same rows whatever is hidden, and what that costs the others: nothing.

use datafusion::arrow::datatypes::{DataType, Field, Schema};
use datafusion::datasource::MemTable;
use datafusion::logical_expr::LogicalPlan;

use super::super::steady::{Spares, row_by_row};
use super::*;

/// The tables of TPC-H: `i` is a number, `d` a decimal, `t` a date, and all else is text.
const TABLES: [(&str, &str); 8] = [
    ("region", "r_regionkey:i r_name r_comment"),
    ("nation", "n_nationkey:i n_name n_regionkey:i n_comment"),
    ("supplier", "s_suppkey:i s_name s_address s_nationkey:i s_phone s_acctbal:d s_comment"),
    ("part", "p_partkey:i p_name p_mfgr p_brand p_type p_size:i p_container p_retailprice:d p_comment"),
    ("partsupp", "ps_partkey:i ps_suppkey:i ps_availqty:i ps_supplycost:d ps_comment"),
    ("customer", "c_custkey:i c_name c_address c_nationkey:i c_phone c_acctbal:d c_mktsegment c_comment"),
    (
        "orders",
        "o_orderkey:i o_custkey:i o_orderstatus o_totalprice:d o_orderdate:t o_orderpriority o_clerk \
         o_shippriority:i o_comment",
    ),
    (
        "lineitem",
        "l_orderkey:i l_partkey:i l_suppkey:i l_linenumber:i l_quantity:d l_extendedprice:d l_discount:d l_tax:d \
         l_returnflag l_linestatus l_shipdate:t l_commitdate:t l_receiptdate:t l_shipinstruct l_shipmode l_comment",
    ),
];

fn warehouse() -> SessionContext {
    let mut config = SessionConfig::new().with_target_partitions(2);
    config.options_mut().sql_parser.map_string_types_to_utf8view = false;
    let context = SessionContext::new_with_config(config);
    for (name, columns) in TABLES {
        let field = |column: &str| match column.split_once(':') {
            Some((name, "i")) => Field::new(name, DataType::Int64, true),
            Some((name, "d")) => Field::new(name, DataType::Decimal128(15, 2), true),
            Some((name, _)) => Field::new(name, DataType::Date32, true),
            None => Field::new(column, DataType::Utf8View, true),
        };
        let schema = Arc::new(Schema::new(columns.split_whitespace().map(field).collect::<Vec<_>>()));
        let table = MemTable::try_new(schema, vec![Vec::new()]).unwrap();
        context.register_table(name, Arc::new(table)).unwrap();
    }
    context
}

async fn optimized(context: &SessionContext, sql: &str) -> LogicalPlan {
    let state = context.state();
    state.optimize(&state.create_logical_plan(sql).await.unwrap()).unwrap()
}

#[tokio::test]
async fn the_queries_of_tpc_h_are_planned_as_ever() {
    let context = warehouse();
    let mut others = Vec::new();
    for number in 1..=22 {
        let path = format!("{}/benches/queries/tpch/q{number:02}.sql", env!("CARGO_MANIFEST_DIR"));
        let sql = std::fs::read_to_string(path).unwrap();
        let plan = optimized(&context, &sql.trim().trim_end_matches(';').replace("tpch.", "")).await;
        let spares = Spares::of(&plan).unwrap();
        if spares.joins || spares.orders || row_by_row(plan.clone()).unwrap() != plan {
            others.push(format!("{number}: {spares:?}\n{}", plan.display_indent()));
        }
    }
    assert!(others.is_empty(), "{}", others.join("\n"));
}

#[tokio::test]
async fn what_may_fail_below_a_join_or_a_limit_is_seen() {
    let context = warehouse();
    for (sql, joins, orders) in [
        ("SELECT o_orderkey / o_custkey FROM orders", false, false),
        ("SELECT o_orderkey / o_custkey AS x FROM orders ORDER BY o_orderkey LIMIT 3", false, true),
        ("SELECT max(o_orderkey) FROM orders WHERE 1 / o_custkey > 0", false, true),
        ("SELECT max(1 / o_orderkey) FROM orders", false, true),
        ("SELECT o_custkey, max(1 / o_orderkey) FROM orders GROUP BY o_custkey", false, false),
        ("SELECT 1 / o_custkey FROM orders JOIN customer ON o_custkey = c_custkey", false, false),
        ("SELECT 1 FROM orders JOIN customer ON o_custkey = c_custkey AND 1 / o_orderkey > 0", true, false),
        ("SELECT 1 FROM orders JOIN customer ON CAST(o_comment AS BIGINT) = c_custkey", true, false),
        ("SELECT 1 FROM customer WHERE c_custkey IN (SELECT 1 / o_custkey FROM orders)", true, false),
        ("SELECT 1 FROM customer CROSS JOIN (SELECT o_orderkey FROM orders WHERE 1 / o_custkey > 0) AS o", true, false),
        ("SELECT 1 FROM customer WHERE c_custkey > (SELECT max(1 / o_custkey) FROM orders)", false, true),
        (
            "SELECT 1 FROM customer WHERE c_custkey > (SELECT max(1 / o_custkey) FROM orders WHERE o_shippriority = c_nationkey)",
            true,
            false,
        ),
    ] {
        let plan = optimized(&context, sql).await;
        let spares = Spares::of(&plan).unwrap();
        assert_eq!((spares.joins, spares.orders), (joins, orders), "{sql}\n{}", plan.display_indent());
    }
}

#[tokio::test]
async fn a_second_half_that_may_fail_is_asked_row_by_row() {
    let context = warehouse();
    for (condition, written) in [
        ("abs(o_custkey) > 1 AND 1 / o_custkey > 0", "IS FALSE THEN Boolean(false) ELSE"),
        ("o_custkey + 0 = 0 OR 1 / o_custkey > 0", "IS TRUE THEN Boolean(true) ELSE"),
    ] {
        let sql = format!("SELECT o_orderkey, {condition} AS both FROM orders WHERE {condition}");
        let plan = optimized(&context, &sql).await;
        let steady = row_by_row(plan.clone()).unwrap();
        assert_eq!(steady.schema(), plan.schema());
        assert!(steady.display_indent().to_string().contains(written), "{}", steady.display_indent());
    }
}
