//! Plans that are used again: the answers are those of plans that are not, and nobody meets the plan of another.

use std::ops::Range;
use std::sync::Arc;
use std::time::{Duration, Instant};

use datafusion::arrow::array::{ArrayRef, Int64Array, StringArray, StructArray};
use datafusion::arrow::datatypes::DataType;
use datafusion::arrow::record_batch::RecordBatch;
use datafusion::arrow::util::pretty::pretty_format_batches;
use futures::TryStreamExt;
use iceberg::spec::{NestedField, PrimitiveType, Schema, StructType, Type};
use polder::error::Error;
use polder::session::{Engine, Pins, Request, Values};
use polder_catalog::mesh::Mesh;
use serde_json::{Value, json};
use tempfile::TempDir;

use crate::own::{self, Domain};

const POLICIES: &str = r#"
@id("all-discover") permit (principal, action == Action::"discover", resource in Domain::"shop");
@id("owners-read") permit (principal in Group::"owners", action == Action::"read", resource in Domain::"shop");
@id("analysts-ids") permit (principal in Group::"analysts", action == Action::"read", resource in Column::"shop.orders.id");
@id("analysts-names") @mask("show-first-4") permit
    (principal in Group::"analysts", action == Action::"read_masked", resource in Column::"shop.orders.name");
@id("analysts-rows") @filter("id < principal.level") permit
    (principal in Group::"analysts", action == Action::"read_rows", resource in Product::"shop.orders");
@id("owners-rows") permit (principal in Group::"owners", action == Action::"read_rows", resource in Domain::"shop");
@id("guests-rows") permit (principal in Group::"guests", action == Action::"read_rows", resource in Domain::"shop");
@id("salted") @mask("sha-256-query-local") permit
    (principal in Group::"guests", action == Action::"read_masked", resource in Column::"shop.orders.name");
@id("salted-inside") @mask("sha-256-query-local") permit
    (principal in Group::"guests", action == Action::"read_masked", resource in Column::"shop.orders.place.city");
@id("number") permit
    (principal in Group::"guests", action == Action::"read", resource in Column::"shop.orders.place.number");
"#;

const ROWS: i64 = 50_000;

struct Shop {
    dir: TempDir,
    engine: Arc<Engine>,
}

impl Shop {
    async fn open() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let column = |id, name, kind| Arc::new(NestedField::optional(id, name, Type::Primitive(kind)));
        let place = [column(4, "city", PrimitiveType::String), column(5, "number", PrimitiveType::Long)];
        let place = Arc::new(NestedField::optional(3, "place", Type::Struct(StructType::new(place.into()))));
        let columns = [column(1, "id", PrimitiveType::Long), column(2, "name", PrimitiveType::String), place];
        let tables = [("orders", Schema::builder().with_fields(columns).build().unwrap())];
        let users: [(&str, &[&str], _); 6] = [
            ("otto", &["owners", "few"], json!({})),
            ("olga", &["owners"], json!({})),
            ("oskar", &["owners"], json!({})),
            ("ada", &["analysts"], json!({ "level": 3 })),
            ("bob", &["analysts"], json!({ "level": 5 })),
            ("gast", &["guests"], json!({})),
        ];
        let mesh = json!({
            "mesh": "shop", "groups": ["analysts", "owners", "guests", "few"], "attributes": { "level": "Long" },
            "limits": [{ "name": "few", "groups": ["few"], "each": { "scanned": "4MiB" } }],
        });
        own::write_mesh(dir.path(), mesh, &users, &[Domain { name: "shop", tables: &tables, policies: POLICIES }]);
        let engine = own::start(dir.path());
        let shop = Self { dir, engine };
        own::create(own::catalog(&shop.engine, "shop").await.as_ref(), "orders", &tables[0].1).await;
        shop.sell(0..ROWS).await;
        shop
    }

    async fn sell(&self, ids: Range<i64>) {
        let fill = |_: &str, kind: &DataType| filled(kind, &ids);
        own::append(own::catalog(&self.engine, "shop").await.as_ref(), "orders", fill).await;
    }

    async fn ask(&self, user: &str, sql: &str) -> Result<String, Error> {
        let principal = self.engine.mesh().principal(user).unwrap();
        let rows: Vec<_> = self.engine.plan(&principal, sql, &Pins::new()).await?.run()?.try_collect().await?;
        Ok(pretty_format_batches(&rows).unwrap().to_string())
    }

    async fn ask_with(&self, user: &str, sql: &str, value: ArrayRef) -> Result<String, Error> {
        let principal = self.engine.mesh().principal(user).unwrap();
        let values = Values::Row(RecordBatch::try_from_iter([("1", value)]).unwrap(), 0);
        let planned = self.engine.plan_request(&principal, Request { values, ..Request::new(sql) }).await?;
        let rows: Vec<_> = planned.run()?.try_collect().await?;
        Ok(pretty_format_batches(&rows).unwrap().to_string())
    }

    fn figure(&self, name: &str) -> u64 {
        let text = self.engine.in_use();
        let line = text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' '));
        line.unwrap().parse().unwrap()
    }

    /// How many statements used the plan of an earlier one.
    fn used(&self) -> u64 {
        self.figure("polder_plans_used_again_total")
    }

    /// Lets results be kept, or not.
    fn says_of_results(&self, what: &str) {
        let path = self.dir.path().join("shop/products/orders.odcs.yaml");
        let mut contract: Value = serde_json::from_str(&std::fs::read_to_string(&path).unwrap()).unwrap();
        contract["customProperties"] = json!([{ "property": "polder.results", "value": what }]);
        std::fs::write(&path, contract.to_string()).unwrap();
        self.serve();
    }

    fn serve(&self) {
        self.engine.serve(Mesh::load(self.dir.path()).unwrap());
    }
}

fn filled(kind: &DataType, ids: &Range<i64>) -> ArrayRef {
    match kind {
        DataType::Int64 => Arc::new(Int64Array::from_iter_values(ids.clone())),
        DataType::Struct(fields) => {
            let columns = fields.iter().map(|field| filled(field.data_type(), ids)).collect();
            Arc::new(StructArray::new(fields.clone(), columns, None))
        }
        _ => Arc::new(StringArray::from_iter_values(ids.clone().map(|id| format!("n{id:05}")))),
    }
}

fn block_on<T>(work: impl Future<Output = T>) -> T {
    tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap().block_on(work)
}

#[test]
fn a_plan_gives_the_same_rows_each_time_it_is_used() {
    block_on(async {
        let shop = Shop::open().await;
        for (sql, times) in [
            ("SELECT id, name FROM shop.orders WHERE id = 7", 3),
            ("SELECT name FROM shop.orders WHERE id > 10 AND id < 14 AND name LIKE '%1_' ORDER BY name", 3),
            ("SELECT count(*), min(id), max(name), sum(id) FROM shop.orders", 3),
            ("SELECT id % 3 AS rest, count(*) FROM shop.orders GROUP BY id % 3 ORDER BY rest", 3),
            ("SELECT count(DISTINCT name) FROM shop.orders WHERE id < 1000", 3),
            ("SELECT count(*) FROM (SELECT id FROM shop.orders UNION ALL SELECT id FROM shop.orders)", 3),
            ("SELECT count(*) FROM (SELECT id FROM shop.orders LIMIT 10)", 3),
            (
                "SELECT sum(id) FROM (SELECT id FROM shop.orders WHERE id < 9 UNION ALL SELECT id % 7 FROM shop.orders)",
                3,
            ),
            ("SELECT count(*) FROM (SELECT id FROM shop.orders WHERE id % 5000 = 1 LIMIT 3 OFFSET 2)", 3),
            ("SELECT max(id) FROM shop.orders WHERE id > 100000", 3),
            (
                "SELECT a.id, b.name FROM shop.orders a JOIN shop.orders b ON a.id = b.id WHERE a.id < 3 ORDER BY a.id",
                3,
            ),
            ("SELECT id FROM shop.orders ORDER BY name DESC LIMIT 3", 3),
            ("SELECT id FROM shop.orders WHERE id = (SELECT max(id) FROM shop.orders WHERE id < 9)", 3),
            ("SELECT id FROM shop.orders WHERE id < 9 AND id IN (SELECT id % 5 FROM shop.orders) ORDER BY id", 3),
            (
                "WITH few AS (SELECT * FROM shop.orders WHERE id < 3) SELECT a.id FROM few a, few b ORDER BY a.id, b.id",
                3,
            ),
            ("SELECT id, sum(id) OVER (ORDER BY id) AS so_far FROM shop.orders WHERE id < 5 ORDER BY id LIMIT 3", 3),
            (
                "WITH RECURSIVE orders AS (SELECT 1 AS id UNION ALL SELECT id + 1 FROM orders WHERE id < 4) \
                 SELECT count(*) FROM orders JOIN shop.orders AS o ON orders.id = o.id",
                0,
            ),
        ] {
            let before = shop.used();
            let first = shop.ask("otto", sql).await.unwrap();
            for _ in 0..3 {
                assert_eq!(shop.ask("otto", sql).await.unwrap(), first, "{sql}");
            }
            assert_eq!(shop.used() - before, times, "{sql}");
        }
    });
}

#[test]
fn a_plan_is_the_right_one_for_each_value() {
    block_on(async {
        let shop = Shop::open().await;
        let numbers = [3_i64, 0, 49_999, -1, 2, 1];
        let value = |number| Arc::new(Int64Array::from(vec![number])) as ArrayRef;
        for (sql, is_kept) in [
            ("SELECT id FROM shop.orders WHERE id = $1", true),
            ("SELECT count(*) AS n, max(name) AS last FROM shop.orders WHERE id < $1 OR $1 = 0", true),
            ("SELECT id + $1 AS later FROM shop.orders WHERE id BETWEEN $1 AND $1 + 2 ORDER BY id LIMIT 2", true),
            (
                "SELECT a.id, b.name FROM shop.orders a JOIN shop.orders b ON a.id = b.id AND b.id >= $1 \
                 WHERE a.id IN ($1, 2) ORDER BY a.id",
                true,
            ),
            ("SELECT count(*) AS n FROM shop.orders WHERE id > (SELECT max(id) - $1 FROM shop.orders)", true),
            ("SELECT count(*) AS n FROM shop.orders WHERE id < 9 AND id IN (SELECT id + $1 FROM shop.orders)", true),
            ("SELECT id % 2 AS rest, count(*) AS n FROM shop.orders WHERE id > $1 GROUP BY id % 2 ORDER BY 1", true),
            ("SELECT id, left(name, $1) AS many FROM shop.orders WHERE id < 3 ORDER BY id", true),
            ("SELECT CASE WHEN id > $1 THEN 'more' ELSE name END AS what FROM shop.orders ORDER BY id LIMIT 5", true),
            ("SELECT 12 / $1 AS part FROM shop.orders WHERE id < 2", true),
            ("SELECT id FROM shop.orders WHERE $1 > 1 AND id < 3 ORDER BY id", true),
            ("SELECT id FROM shop.orders ORDER BY id LIMIT $1", false),
            ("SELECT id, $1 AS told FROM shop.orders WHERE id < 3 ORDER BY id", false),
        ] {
            for user in ["otto", "ada", "bob"] {
                let before = shop.used();
                for number in numbers {
                    let literal = shop.ask(user, &sql.replace("$1", &number.to_string())).await;
                    let bound = shop.ask_with(user, sql, value(number)).await;
                    assert_eq!(
                        literal.as_ref().ok(),
                        bound.as_ref().ok(),
                        "{user} {number} {sql} {literal:?} {bound:?}"
                    );
                }
                let used = shop.used() - before;
                // Once for its values, once to be kept; a value that fails is planned with once more.
                let (least, most) = if is_kept { (numbers.len() - 3, numbers.len() - 2) } else { (0, 0) };
                assert!((least as u64..=most as u64).contains(&used), "{user} {sql}: {used} of {least} to {most}");
            }
        }
    });
}

#[test]
fn a_plan_that_is_kept_is_told_of_like_any_other() {
    block_on(async {
        let shop = Shop::open().await;
        let sql = "SELECT count(*) AS n FROM shop.orders WHERE id >= $1";
        let ask = async |value: ArrayRef| shop.ask_with("otto", sql, value).await;
        let number = || Arc::new(Int64Array::from(vec![49_990])) as ArrayRef;
        let unfit = || Arc::new(StringArray::from(vec!["hunter2"])) as ArrayRef;
        let first = ask(number()).await.unwrap();
        let refused = ask(unfit()).await.unwrap_err();
        for _ in 0..3 {
            assert_eq!(ask(number()).await.unwrap(), first);
        }
        assert!(shop.used() > 0);
        let (again, none) = (ask(unfit()).await.unwrap_err(), shop.ask("otto", sql).await.unwrap_err());
        assert_eq!((again.class, &again.message), (refused.class, &refused.message));
        assert!(!again.message.contains("hunter2") && none.message.contains("number of parameters"), "{again} {none}");
        let later = Request { values: Values::Later, ..Request::new(sql) };
        let principal = shop.engine.mesh().principal("otto").unwrap();
        let planned = shop.engine.plan_request(&principal, later).await.unwrap();
        assert_eq!(planned.parameters().fields().len(), 1);
        assert!(planned.run().is_err(), "no value is bound");

        shop.sell(ROWS..ROWS + 1).await;
        let begun = Instant::now();
        while ask(number()).await.unwrap() == first {
            assert!(begun.elapsed() < Duration::from_secs(20), "the new snapshot is not seen");
        }
    });
}

#[test]
fn what_a_plan_counts_is_its_own() {
    block_on(async {
        let shop = Shop::open().await;
        // A group may scan 4 MiB with each statement; together these read much more.
        for _ in 0..40 {
            shop.ask("otto", "SELECT min(name), sum(id) FROM shop.orders").await.unwrap();
        }
        assert_eq!(shop.used(), 39);
    });
}

#[test]
fn what_differs_from_statement_to_statement_is_planned_anew() {
    block_on(async {
        let shop = Shop::open().await;
        for (user, sql) in [
            ("otto", "SELECT id, now() FROM shop.orders WHERE id = 7"),
            ("otto", "SELECT id, random() FROM shop.orders WHERE id = 7"),
            ("otto", "SELECT id FROM shop.orders WHERE id = 7 AND EXISTS (SELECT 1 WHERE now() > '2020-01-01')"),
            ("gast", "SELECT name FROM shop.orders WHERE name IS NOT NULL LIMIT 1"),
            ("gast", "SELECT place FROM shop.orders WHERE place IS NOT NULL LIMIT 1"),
            ("otto", "SELECT count(*) FROM mesh.queries"),
            ("otto", "EXPLAIN SELECT id FROM shop.orders"),
        ] {
            let first = shop.ask(user, sql).await.unwrap();
            let second = shop.ask(user, sql).await.unwrap();
            assert_eq!(shop.used(), 0, "{sql}");
            let differs =
                ["now() FROM", "random()", "name IS", "place IS", "mesh."].iter().any(|part| sql.contains(part));
            assert_eq!(first != second, differs, "{sql}");
        }
    });
}

#[test]
fn a_new_snapshot_is_read_at_once_and_an_old_one_where_it_is_pinned() {
    block_on(async {
        let shop = Shop::open().await;
        let sql = "SELECT count(*) AS n FROM shop.orders";
        let principal = shop.engine.mesh().principal("otto").unwrap();
        let pins = shop.engine.plan(&principal, sql, &Pins::new()).await.unwrap().pins().clone();
        let before = shop.ask("otto", sql).await.unwrap();
        shop.sell(ROWS..ROWS + 1).await;
        let begun = Instant::now();
        while shop.ask("otto", sql).await.unwrap() == before {
            assert!(begun.elapsed() < Duration::from_secs(20), "the new snapshot is not seen");
        }
        let pinned = shop.engine.plan(&principal, sql, &pins).await.unwrap();
        assert_eq!(pinned.pins(), &pins);
        let rows: Vec<_> = pinned.run().unwrap().try_collect().await.unwrap();
        assert_eq!(pretty_format_batches(&rows).unwrap().to_string(), before);
    });
}

#[test]
fn nobody_meets_the_plan_of_another_nor_one_of_an_earlier_mesh() {
    block_on(async {
        let shop = Shop::open().await;
        let sql = "SELECT id, name FROM shop.orders WHERE id < 4 ORDER BY id";
        let ask = async |user: &str| {
            let first = shop.ask(user, sql).await.unwrap();
            assert_eq!(shop.ask(user, sql).await.unwrap(), first);
            first
        };
        let (ada, bob, otto) = (ask("ada").await, ask("bob").await, ask("otto").await);
        assert_eq!(shop.used(), 3);
        let shows = |answer: &str| [0, 2, 3].map(|id| answer.contains(&format!("n0000{id}")));
        assert_eq!((shows(&otto), shows(&ada), shows(&bob)), ([true; 3], [false; 3], [false; 3]));
        assert_eq!([&ada, &bob, &otto].map(|answer| answer.lines().count() - 4), [3, 4, 4], "rows are those of each");

        // The same words under another policy.
        let access = shop.dir.path().join("shop/policies/access.cedar");
        let more = POLICIES.replace("show-first-4", "show-last-4").replace("id < principal.level", "id = 1");
        std::fs::write(&access, more).unwrap();
        shop.serve();
        let changed = shop.ask("ada", sql).await.unwrap();
        assert_ne!(changed, ada);
        assert_eq!(changed.lines().count() - 4, 1);
        // And under none.
        std::fs::write(&access, POLICIES.replace(r#"Group::"owners""#, r#"Group::"guests""#)).unwrap();
        shop.serve();
        assert!(shop.ask("otto", sql).await.is_err());
        assert_eq!(shop.used(), 3);
    });
}

#[test]
fn a_result_is_kept_for_whom_the_same_is_shown_and_for_nobody_else() {
    block_on(async {
        let shop = Shop::open().await;
        let ask = async |user: &str, sql: &str| {
            let before = shop.figure("polder_results_used_total");
            let rows = shop.ask(user, sql).await.unwrap();
            (rows, shop.figure("polder_results_used_total") > before)
        };
        let all = "SELECT count(*) AS n, max(name) AS last FROM shop.orders";
        let some = "SELECT id, name FROM shop.orders WHERE id < 4 ORDER BY id";
        for what in ["compute", "compute"] {
            shop.says_of_results(what);
            assert!(!ask("olga", all).await.1 && !ask("olga", all).await.1, "nobody allowed it");
        }
        shop.says_of_results("keep");
        let (rows, kept) = ask("olga", all).await;
        assert!(!kept);
        assert_eq!(ask("olga", all).await, (rows.clone(), true));
        // Other words for the same, and another owner.
        assert_eq!(ask("oskar", all).await, (rows.clone(), true));
        assert!(!ask("olga", "SELECT count(*) AS m, max(name) AS last FROM shop.orders").await.1, "other columns");
        let (first, second) = (ask("otto", all).await, ask("otto", all).await);
        assert_eq!([first, second], [(rows.clone(), false), (rows.clone(), false)], "who may scan so much scans it");
        // A value in the place of a parameter is asked like any other, and its columns may be NULL.
        let (valued, literal) =
            ("SELECT count(*) AS n FROM shop.orders WHERE id < $1", "SELECT count(*) AS n FROM shop.orders WHERE id <");
        let before = shop.figure("polder_results_used_total");
        for value in [5, 6] {
            let number = || Arc::new(Int64Array::from(vec![value])) as ArrayRef;
            let bound = shop.ask_with("olga", valued, number()).await.unwrap();
            let sql = format!("{literal} {value}");
            assert_eq!(ask("oskar", &sql).await, (bound.clone(), true));
            assert_eq!(shop.ask_with("oskar", valued, number()).await.unwrap(), bound);
        }
        assert_eq!(shop.figure("polder_results_used_total") - before, 4);
        // Rows that hang on who asks are of one alone.
        let (of_ada, of_bob) = (ask("ada", some).await, ask("bob", some).await);
        assert!(!of_ada.1 && !of_bob.1 && of_ada.0 != of_bob.0, "{of_ada:?} {of_bob:?}");
        assert_eq!((ask("ada", some).await, ask("bob", some).await), ((of_ada.0, true), (of_bob.0, true)));
        assert!(!ask("olga", some).await.1, "and the owner has another one");
        for sql in
            ["SELECT count(*) FROM shop.orders WHERE now() > '2020-01-01'", "SELECT random() FROM shop.orders LIMIT 1"]
        {
            assert!(!ask("olga", sql).await.1 && !ask("olga", sql).await.1, "{sql}");
        }
        assert!(!ask("gast", "SELECT name FROM shop.orders LIMIT 1").await.1);
        assert!(!ask("gast", "SELECT name FROM shop.orders LIMIT 1").await.1, "its mask differs each time");
        // What is written since is in the next answer.
        shop.sell(ROWS..ROWS + 1).await;
        let begun = Instant::now();
        while ask("olga", all).await.0 == rows {
            assert!(begun.elapsed() < Duration::from_secs(20), "the new snapshot is not seen");
        }
        assert!(ask("olga", all).await.1);
        // Another policy is another mesh.
        shop.serve();
        assert!(!ask("olga", all).await.1);
        let access = shop.dir.path().join("shop/policies/access.cedar");
        std::fs::write(&access, POLICIES.replace(r#"Group::"owners""#, r#"Group::"guests""#)).unwrap();
        shop.serve();
        assert!(shop.ask("olga", all).await.is_err());
    });
}
