//! What a view is read as, and what is refused.

use super::*;

fn names() -> Names {
    let orders: &[&str] = &["ident", "customer", "total", "noteText"];
    Names::new(
        &["prod"],
        &[
            ("sales.orders", "orders", orders),
            ("sales.people", "customers", &["ident", "name"]),
            ("sales.v", "v", &["ident"]),
            ("deep.er.t", "t", &["ident"]),
            ("sales.twice", "one", &["ident"]),
            ("sales.twice", "two", &["ident"]),
        ],
    )
}

fn view(dialect: &str, sql: &str) -> View {
    let texts = vec![Text { dialect: dialect.to_owned(), sql: sql.to_owned() }];
    View { texts, catalog: None, namespace: vec!["sales".to_owned()], columns: Vec::new(), made: None }
}

fn of(view: &View) -> String {
    match read(view, &names()) {
        Ok(read) => read.query.to_string(),
        Err(Unplanned::Table(error)) => format!("table: {}", error.message),
        Err(Unplanned::Plan(error)) => format!("plan: {}", error.message),
    }
}

#[track_caller]
fn reads(dialect: &str, sql: &str, ours: &str) {
    assert_eq!(of(&view(dialect, sql)), ours, "{dialect}: {sql}");
}

#[test]
fn tables_are_products_by_each_of_their_names() {
    for (sql, ours) in [
        ("SELECT ident FROM orders", r#"SELECT "ident" FROM "shop"."orders" AS "orders""#),
        ("SELECT o.ident FROM sales.orders o", r#"SELECT "o"."ident" FROM "shop"."orders" "o""#),
        ("SELECT ident FROM prod.sales.orders", r#"SELECT "ident" FROM "shop"."orders" AS "orders""#),
        ("SELECT ident FROM deep.er.t", r#"SELECT "ident" FROM "shop"."t" AS "t""#),
        (
            "SELECT ident FROM people WHERE ident IN (SELECT customer FROM orders)",
            r#"SELECT "ident" FROM "shop"."customers" AS "people" WHERE "ident" IN (SELECT "customer" FROM "shop"."orders" AS "orders")"#,
        ),
        (
            "WITH big AS (SELECT ident FROM orders) SELECT ident FROM big",
            r#"WITH "big" AS (SELECT "ident" FROM "shop"."orders" AS "orders") SELECT "ident" FROM "big""#,
        ),
    ] {
        reads("spark", sql, ours);
        reads("trino", sql, ours);
    }
    reads("polder", "SELECT ident FROM orders", r#"SELECT ident FROM "shop"."orders" AS "orders""#);
}

#[test]
fn a_table_that_cannot_be_told_is_none() {
    for (sql, why) in [
        ("SELECT 1 FROM sales.other", "table: it reads `sales.other`, which is no product of its domain"),
        ("SELECT 1 FROM other.sales.orders", "table: it reads `other.sales.orders`, which is no product of its domain"),
        ("SELECT 1 FROM shop.orders", "table: it reads `shop.orders`, which is no product of its domain"),
        ("SELECT 1 FROM `deep.er`.t", "plan: it reads `deep.er.t`, and a dot in a name parts it in two"),
        ("SELECT 1 FROM Sales.Orders", "table: it reads `Sales.Orders`, which is no product of its domain"),
        ("SELECT 1 FROM twice", "table: it reads `twice`, of which there are 2 products"),
        (
            "WITH orders AS (SELECT 1 AS ident) SELECT ident FROM orders",
            "plan: `orders` is a table and what the view makes itself",
        ),
        ("SELECT 1 FROM mesh.products", "table: it reads `mesh.products`, which is no product of its domain"),
    ] {
        reads("spark", sql, why);
    }
    let elsewhere = View { catalog: Some("lake".to_owned()), ..view("spark", "SELECT 1 FROM orders") };
    assert_eq!(of(&elsewhere), "plan: its names lie in a catalog called `lake`");
    let here = View { catalog: Some("PROD".to_owned()), ..view("spark", "SELECT 1 FROM orders") };
    assert_eq!(of(&here), r#"SELECT 1 FROM "shop"."orders" AS "orders""#);
}

#[test]
fn names_are_spelled_as_contracts_spell_them_and_texts_are_texts() {
    let ours = r#"SELECT "noteText" AS "n", 'a "text"' FROM "shop"."orders" AS "orders" WHERE "total" > 1"#;
    reads("spark", r#"SELECT `NoteText` AS N, 'a "text"' FROM orders WHERE Total > 1"#, ours);
    reads("spark", r#"SELECT notetext AS `N`, 'a "text"' FROM `orders` /* all */ WHERE `TOTAL` > 1 -- of it"#, ours);
    reads("trino", r#"SELECT "NOTETEXT" AS N, 'a "text"' FROM "Orders" WHERE Total > 1"#, ours);
    for (dialect, sql, why) in [
        ("spark", r"SELECT 'a\'b' FROM orders", r"has a `\` in it, which may mean itself or another letter"),
        ("spark", r#"SELECT "ident" FROM orders"#, r#"has something in `"`, which may be a text or a name"#),
        ("spark", "SELECT 'a' 'b' FROM orders", "has two texts side by side"),
        ("spark", "SELECT r 'a' FROM orders", "has a text with a word before it"),
        (
            "trino",
            "SELECT ident FROM orders /*! WHERE ident > 5 */",
            "has a `/*!` in it, which may be a comment or none",
        ),
        ("spark", "SELECT ident FROM orders o JOIN people Orders ON 1 = 1", "writes `orders` in several ways"),
    ] {
        reads(dialect, sql, &format!("plan: the view {why}"));
    }
}

#[test]
fn what_means_something_else_is_refused() {
    let spark = |sql: &str| of(&view("spark", sql));
    for sql in [
        "total / 2",
        "total % 2",
        "concat(ident, ident)",
        "substr(name, 0, 2)",
        "greatest(ident, 1)",
        "rand()",
        "current_date()",
        "first_value(ident)",
        "CAST(ident AS STRING)",
        "CAST(total AS INT)",
        "try_cast(ident AS BIGINT)",
        "ident LIKE name",
        "ident RLIKE 'a'",
        "ident <=> 1",
        "ident & 1",
        "TIMESTAMP '2026-01-01 00:00:00'",
        "INTERVAL '1' DAY",
        "EXTRACT(HOUR FROM ident)",
        "ident[1]",
        "array(1)",
        "round(total)",
        "ceil(total)",
        "polder.x(ident)",
        "date_trunc('day', ident)",
        "ident DIV 2",
    ] {
        let refused = spark(&format!("SELECT {sql} AS x FROM orders"));
        assert!(refused.starts_with("plan: "), "{sql}: {refused}");
    }
    for sql in [
        "SELECT ident FROM orders EXCEPT ALL SELECT ident FROM people",
        "SELECT ident FROM orders NATURAL JOIN people",
        "SELECT ident FROM orders FULL JOIN people USING (ident)",
        "SELECT ident FROM orders UNION SELECT * FROM people",
        "SELECT DISTINCT * FROM orders",
        "SELECT ident FROM (SELECT * FROM orders) AS o",
        "SELECT o.a FROM orders AS o (a, b)",
        "SELECT ident FROM people WHERE EXISTS (SELECT * FROM orders)",
        "SELECT sales.orders.ident FROM sales.orders",
        "SELECT ident FROM orders ORDER BY 1",
        "SELECT count(DISTINCT ident, total) FROM orders",
        "SELECT 1e3 FROM orders",
        "SELECT ident FROM orders VERSION AS OF 7",
        "SELECT ident FROM orders TABLESAMPLE (10 PERCENT)",
        "SELECT ident FROM range(10)",
        "SELECT ident FROM orders LATERAL VIEW explode(ident) t AS x",
        "SELECT * FROM orders, LATERAL (SELECT 1)",
        "SELECT ? FROM orders",
        "DROP TABLE orders",
        "WITH RECURSIVE r AS (SELECT 1) SELECT * FROM r",
        "SELECT lag(ident) OVER w FROM orders WINDOW w AS (ORDER BY ident)",
        "SELECT ident INTO x FROM orders",
        "",
    ] {
        let refused = spark(sql);
        assert!(refused.starts_with("plan: "), "{sql}: {refused}");
    }
    assert_eq!(
        spark("SELECT sum(total) / count(*) FROM orders"),
        "plan: the view uses `/`, which may mean something else here"
    );
    assert!(of(&view("trino", "SELECT sum(total) / count(*) AS x FROM orders")).starts_with("SELECT"));
    assert!(of(&view("polder", "SELECT concat(ident, 'x') FROM orders")).starts_with("SELECT"));
    assert_eq!(of(&view("snowflake", "SELECT 1")), "plan: the view is written in the SQL of `snowflake`");
    let deep = format!("SELECT {}1{} FROM orders", "(".repeat(10_000), ")".repeat(10_000));
    assert!(spark(&deep).starts_with("plan: "));
}

#[test]
fn nulls_come_where_the_maker_has_them() {
    let sql = "SELECT rank() OVER (ORDER BY total DESC) AS r FROM orders ORDER BY ident, total DESC LIMIT 5";
    let ours = |over: &str, asc: &str, desc: &str| {
        format!(
            r#"SELECT CAST(rank() OVER (ORDER BY "total" DESC NULLS {over}) AS BIGINT) AS "r" FROM "shop"."orders" AS "orders" ORDER BY "ident" NULLS {asc}, "total" DESC NULLS {desc} LIMIT 5"#
        )
    };
    reads("spark", sql, &ours("LAST", "FIRST", "LAST"));
    reads("trino", sql, &ours("LAST", "LAST", "LAST"));
}

#[test]
fn columns_have_the_names_of_the_view() {
    let sql = "SELECT ident, total FROM orders";
    let columns = |names: &[&str]| names.iter().map(|name| (*name).to_owned()).collect::<Vec<_>>();
    let inner = r#"SELECT "ident", "total" FROM "shop"."orders" AS "orders""#;
    let named = View { columns: columns(&["A", "b"]), ..view("trino", sql) };
    assert_eq!(of(&named), format!(r#"SELECT * FROM ({inner}) AS "view" ("a", "b")"#));
    let named = View { made: Some(columns(&["count(1)"])), ..named };
    assert_eq!(of(&named), format!(r#"SELECT * FROM ({inner}) AS "view" ("a", "b")"#));
    // A column more in the table, or one that somebody may not see, must not move the names of the others.
    let all = View { columns: columns(&["a", "b"]), ..view("trino", "SELECT * FROM orders") };
    assert_eq!(of(&all), r#"SELECT * FROM "shop"."orders" AS "orders""#);
    let all = View { made: Some(columns(&["IDENT", "total"])), ..all };
    let ours = r#"SELECT "ident" AS "a", "total" AS "b" FROM (SELECT * FROM "shop"."orders" AS "orders") AS "view""#;
    assert_eq!(of(&all), ours);
    let all = View { made: Some(columns(&["ident"])), ..all };
    assert_eq!(of(&all), "plan: the view does not say what its columns are called");
}

#[test]
fn a_number_with_a_point_is_a_decimal() {
    let ours = r#"SELECT CAST('1.50' AS DECIMAL(3,2)) AS "x" FROM "shop"."orders" AS "orders" WHERE "total" > CAST('0.5' AS DECIMAL(1,1))"#;
    reads("trino", "SELECT 1.50 AS x FROM orders WHERE total > 0.5", ours);
}
