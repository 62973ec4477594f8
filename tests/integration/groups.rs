//! Resource groups: whose statements wait, and what each may take before it ends by itself.

use std::sync::Arc;

use datafusion::arrow::array::{ArrayRef, Int64Array, StringArray};
use datafusion::arrow::datatypes::DataType;
use datafusion::arrow::record_batch::RecordBatch;
use futures::{StreamExt, TryStreamExt};
use iceberg::spec::{NestedField, PrimitiveType, Schema, Type};
use polder::error::{Class, Error};
use polder::session::{Engine, Pins, Rows};
use polder_catalog::mesh::Mesh;
use serde_json::{Value, json};
use tempfile::TempDir;

use crate::own::{self, Domain};

const POLICIES: &str = r#"
@id("all-discover") permit (principal, action == Action::"discover", resource in Domain::"shop");
@id("all-read") permit (principal, action == Action::"read", resource in Domain::"shop");
"#;

const GUARDED: &str = r#"
@id("all-discover") permit (principal, action == Action::"discover", resource in Domain::"shop");
@id("ids") permit (principal, action == Action::"read", resource == Column::"shop.orders.id");
@id("names") @mask("show-first-4") permit (principal, action == Action::"read_masked", resource == Column::"shop.orders.name");
"#;

const ROWS: i64 = 200_000;

struct Shop {
    dir: TempDir,
    engine: Arc<Engine>,
}

fn limited(limits: &Value) -> Value {
    json!({ "mesh": "shop", "groups": ["analysts", "owners"], "limits": limits })
}

const USERS: [(&str, &[&str]); 3] = [("ada", &["analysts"]), ("bob", &["analysts"]), ("otto", &["owners"])];

impl Shop {
    async fn open(limits: Value) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let column = |id, name, kind| Arc::new(NestedField::optional(id, name, Type::Primitive(kind)));
        let columns = [column(1, "id", PrimitiveType::Long), column(2, "name", PrimitiveType::String)];
        let tables = [("orders", Schema::builder().with_fields(columns).build().unwrap())];
        let users = USERS.map(|(name, groups)| (name, groups, json!({})));
        let domains = [Domain { name: "shop", tables: &tables, policies: POLICIES }];
        own::write_mesh(dir.path(), limited(&limits), &users, &domains);
        let engine = own::start(dir.path());
        let catalog = own::catalog(&engine, "shop").await;
        own::create(catalog.as_ref(), "orders", &tables[0].1).await;
        own::append(catalog.as_ref(), "orders", fill).await;
        Self { dir, engine }
    }

    async fn start(&self, user: &str, sql: &str) -> Result<Rows, Error> {
        let principal = self.engine.mesh().principal(user).unwrap();
        self.engine.plan(&principal, sql, &Pins::new()).await?.run()
    }

    async fn ask(&self, user: &str, sql: &str) -> Result<Vec<RecordBatch>, Error> {
        self.start(user, sql).await?.try_collect().await
    }

    /// What keeps a statement from being answered in full.
    async fn refused(&self, user: &str, sql: &str) -> String {
        let error = self.ask(user, sql).await.unwrap_err();
        assert_eq!(error.class, Class::Limit, "{error}");
        error.to_string()
    }
}

fn fill(_: &str, kind: &DataType) -> ArrayRef {
    match kind {
        DataType::Int64 => Arc::new(Int64Array::from_iter_values(0..ROWS)),
        _ => Arc::new(StringArray::from_iter_values((0..ROWS).map(|number| format!("name {number}")))),
    }
}

fn few(each: Value) -> Value {
    json!([{ "name": "few", "groups": ["analysts"], "each": each }])
}

fn block_on<T>(work: impl Future<Output = T>) -> T {
    tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap().block_on(work)
}

#[test]
fn an_answer_with_too_many_rows_or_bytes_is_an_error_and_never_short() {
    block_on(async {
        let shop = Shop::open(few(json!({ "rows": 1000 }))).await;
        let all = "SELECT id, name FROM shop.orders";
        let told = shop.refused("ada", all).await;
        assert!(told.contains("a statement of the resource group `few` may take 1000 rows at most"), "{told}");
        let rows = |batches: Vec<RecordBatch>| batches.iter().map(RecordBatch::num_rows).sum::<usize>();
        assert_eq!(rows(shop.ask("ada", &format!("{all} LIMIT 1000")).await.unwrap()), 1000);
        assert_eq!(rows(shop.ask("otto", all).await.unwrap()), ROWS as usize, "the group is not for him");

        let shop = Shop::open(few(json!({ "bytes": "64KiB" }))).await;
        let told = shop.refused("ada", all).await;
        assert!(told.contains("64KiB of an answer"), "{told}");
    });
}

#[test]
fn time_of_processors_and_bytes_of_files_are_bounded() {
    block_on(async {
        let shop = Shop::open(few(json!({ "cpu": "300ms" }))).await;
        let long = "SELECT count(*) FROM shop.orders a JOIN shop.orders b ON a.id + b.id <> 7 WHERE a.name <> b.name";
        let told = shop.refused("ada", long).await;
        assert!(told.contains("may take 300ms of processor time at most"), "{told}");
        let vain = "SELECT count(*) FROM shop.orders a JOIN shop.orders b ON a.id + b.id < -7";
        assert_eq!(shop.refused("ada", vain).await, told, "it counts between rows that are never made");
        assert_eq!(shop.ask("ada", "SELECT count(*) FROM shop.orders").await.unwrap().len(), 1, "the next one may run");

        let shop = Shop::open(few(json!({ "scanned": "1KiB" }))).await;
        let told = shop.refused("ada", long).await;
        assert!(told.contains("may take 1KiB of data files at most"), "{told}");
        // What is read inside of a guard counts as well.
        std::fs::write(shop.dir.path().join("shop/policies/access.cedar"), GUARDED).unwrap();
        shop.engine.serve(Mesh::load(shop.dir.path()).unwrap());
        assert_eq!(shop.refused("ada", long).await, told);

        let shop = Shop::open(few(json!({ "time": "200ms" }))).await;
        let told = shop.refused("ada", long).await;
        assert!(told.contains("longer than 0.2 s, which is what one of the resource group `few` may take"), "{told}");
    });
}

#[test]
fn memory_is_bounded_for_one_statement_and_for_its_group() {
    block_on(async {
        let grouped = "SELECT max(length(name)) FROM (SELECT name, count(*) AS n FROM shop.orders GROUP BY name)";
        let joined = "SELECT count(*) FROM shop.orders a JOIN shop.orders b ON a.name = b.name";
        let shop = Shop::open(few(json!({ "memory": "2MiB" }))).await;
        let told = shop.refused("ada", joined).await;
        assert!(told.contains("the resource group `few` may take 2MiB of memory at most"), "{told}");
        shop.ask("otto", joined).await.unwrap();

        let shop = Shop::open(json!([{ "name": "few", "groups": ["analysts"], "memory": "1%" }])).await;
        shop.ask("ada", grouped).await.unwrap();
        assert_eq!(shop.engine.memory_in_use(), 0, "what ended holds nothing");

        let shop = Shop::open(few(json!({ "memory": "8MiB", "spill": "1KiB" }))).await;
        let told = shop.refused("ada", grouped).await;
        assert!(told.contains("the resource group `few` may take 1KiB of spilled rows at most"), "{told}");
    });
}

#[test]
fn a_statement_waits_for_its_turn_and_a_revoked_or_cancelled_one_gives_its_place_away() {
    block_on(async {
        let limits = json!([{ "name": "few", "groups": ["analysts"], "at_once": 1, "waiting": 1, "wait": "20s" }]);
        let shop = Shop::open(limits).await;
        // Nobody reads it, and there is more than may wait for a reader.
        let long = "SELECT a.id, b.name, a.name FROM shop.orders a CROSS JOIN shop.orders b";
        let mut running = shop.start("ada", long).await.unwrap();
        running.next().await.unwrap().unwrap();
        let count = "SELECT count(*) FROM shop.orders";
        let mut waiting = shop.start("bob", count).await.unwrap();
        assert!(futures::poll!(waiting.next()).is_pending());
        while !shop.engine.lanes().contains("state=\"waiting\"} 1\n") {
            tokio::task::yield_now().await;
        }
        let told = shop.refused("ada", count).await;
        assert!(told.contains("1 statements of the resource group `few` run and 1 wait"), "{told}");
        assert_eq!(shop.ask("otto", count).await.unwrap().len(), 1, "others do not wait");
        drop(running);
        assert_eq!(waiting.try_collect::<Vec<_>>().await.unwrap().len(), 1);
        while shop.engine.lanes().contains("state=") {
            tokio::task::yield_now().await;
        }
    });
}

#[test]
fn a_mesh_that_gives_less_holds_for_the_next_statement() {
    block_on(async {
        let shop = Shop::open(json!([])).await;
        let all = "SELECT id FROM shop.orders";
        shop.ask("ada", all).await.unwrap();
        let path = shop.dir.path().join("mesh.yaml");
        let mut mesh: Value = serde_json::from_str(&std::fs::read_to_string(&path).unwrap()).unwrap();
        mesh["limits"] = few(json!({ "rows": 10 }));
        std::fs::write(&path, mesh.to_string()).unwrap();
        shop.engine.serve(Mesh::load(shop.dir.path()).unwrap());
        let told = shop.refused("ada", all).await;
        assert!(told.contains("10 rows"), "{told}");
    });
}
