//! Who saw what: the audit log and `mesh.queries`, by statements of every outcome.
//!
//! The mesh is a shop. The `analyst` sees its customers outside of Gouda, their names masked and no notes; `otto` reads the
//! audit and no product. Nobody finds `shop.plans`.

use std::fs;
use std::path::Path;
use std::sync::Arc;

use datafusion::arrow::array::{ArrayRef, AsArray, Int64Array, RecordBatch, StringArray};
use datafusion::arrow::datatypes::{DataType, Int64Type};
use futures::{StreamExt, TryStreamExt};
use iceberg::spec::{NestedField, PrimitiveType as P, Schema, Type};
use polder::error::{Class, Error};
use polder::flight::client::{Credentials, Remote};
use polder::observe::{Log, Observer, Origin, Over, Settings, verify};
use polder::server;
use polder::session::{Engine, Options, Pins, Request, Session};
use polder_catalog::mesh::Mesh;
use polder_catalog::secret::Secret;
use serde_json::{Value, json};
use tempfile::TempDir;

use crate::own::{self, Domain};
use crate::packly::loopback;

const POLICIES: &str = r#"
@id("customers-found") permit (principal, action == Action::"discover", resource == Product::"shop.customers");
@id("analysts-read")
permit (principal in Group::"analysts", action == Action::"read", resource in Product::"shop.customers")
unless { resource in Column::"shop.customers.name" || resource in Column::"shop.customers.note" };
@id("analysts-names") @mask("mask-alphanum")
permit (principal in Group::"analysts", action == Action::"read_masked", resource in Column::"shop.customers.name");
@id("analysts-rows") @filter("city <> 'Gouda'")
permit (principal in Group::"analysts", action == Action::"read_rows", resource == Product::"shop.customers");
@id("owners-read") permit (principal in Group::"owners", action == Action::"read", resource in Product::"shop.customers");
@id("owners-rows") permit (principal in Group::"owners", action == Action::"read_rows", resource == Product::"shop.customers");
"#;

/// How many customers there are.
const ROWS: i64 = 30_000;

struct Shop {
    dir: TempDir,
    engine: Arc<Engine>,
}

impl Shop {
    /// A shop with an audit log, whose mesh says more of the audit.
    async fn open(audit: Value) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let mesh = json!({
            "mesh": "shop", "groups": ["analysts", "owners", "auditors"], "audit": audit,
            "purposes": { "fraud": { "groups": ["analysts"] } },
        });
        let users: [(&str, &[&str], Value); 4] = [
            ("analyst", &["analysts"], json!({})),
            ("other", &["analysts"], json!({})),
            ("owner", &["owners"], json!({})),
            ("otto", &["auditors"], json!({})),
        ];
        let columns = [("id", P::Long), ("name", P::String), ("city", P::String), ("note", P::String)];
        let tables = [("customers", schema(&columns)), ("plans", schema(&[("id", P::Long)]))];
        own::write_mesh(dir.path(), mesh, &users, &[Domain { name: "shop", tables: &tables, policies: POLICIES }]);
        let mesh = Mesh::load(dir.path()).unwrap_or_else(|findings| panic!("{findings:#?}"));
        assert!(mesh.findings().is_empty(), "{:#?}", mesh.findings());
        let log = Log::open(&Settings::of(dir.path().join("audit"))).unwrap();
        let observer = Arc::new(Observer::auditing(log));
        let options = Options { threads: Some(2), observer, ..Options::default() };
        let engine = Engine::start(mesh, options).unwrap();
        let catalog = own::catalog(&engine, "shop").await;
        for (table, schema) in &tables {
            own::create(catalog.as_ref(), table, schema).await;
            own::append(catalog.as_ref(), table, fill).await;
        }
        Self { dir, engine }
    }

    async fn ask(&self, user: &str, sql: &str) -> Result<Vec<RecordBatch>, Error> {
        let principal = self.engine.mesh().principal(user).unwrap();
        self.engine.plan(&principal, sql, &Pins::new()).await?.run()?.try_collect().await
    }

    /// What the log says when it is closed, and its text.
    async fn told(self) -> (Vec<Value>, String) {
        self.engine.observer().close().await;
        let log = self.dir.path().join("audit");
        verify(&log).unwrap();
        let text = fs::read_to_string(log.join("audit-00000001.jsonl")).unwrap();
        (text.lines().map(|line| serde_json::from_str(line).unwrap()).collect(), text)
    }
}

fn schema(columns: &[(&str, P)]) -> Schema {
    let field = |(id, (name, kind)): (i32, &(&str, P))| {
        Arc::new(NestedField::optional(id, *name, Type::Primitive(kind.clone())))
    };
    Schema::builder().with_fields((1..).zip(columns).map(field)).build().unwrap()
}

fn fill(name: &str, kind: &DataType) -> ArrayRef {
    let text = |number: i64| match name {
        "city" => ["Delft", "Gouda", "Leiden"][number as usize % 3].to_owned(),
        // The last one is no number.
        "note" if number == ROWS - 1 => "Kropotkin".to_owned(),
        "note" => number.to_string(),
        _ => format!("Ann {number}"),
    };
    match kind {
        DataType::Int64 => Arc::new(Int64Array::from_iter_values(0..ROWS)),
        _ => Arc::new(StringArray::from_iter_values((0..ROWS).map(text))),
    }
}

fn block_on<T>(work: impl Future<Output = T>) -> T {
    tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap().block_on(work)
}

fn of<'a>(lines: &'a [Value], kind: &str) -> Vec<&'a Value> {
    lines.iter().filter(|line| line["kind"] == kind).collect()
}

#[test]
fn a_record_says_who_read_what_and_by_which_policies() {
    block_on(async {
        let shop = Shop::open(json!({})).await;
        let mut principal = shop.engine.mesh().principal("analyst").unwrap();
        principal.purpose = Some("fraud".to_owned());
        let sql =
            "SELECT name, count(*) FROM shop.customers WHERE city IN ('Delft', 'Leiden') AND id < 12 GROUP BY name";
        let origin = Origin { over: Over::Http, peer: Some([192, 0, 2, 7].into()), parent: None };
        let request = Request { origin, ..Request::new(sql) };
        let planned = shop.engine.plan_request(&principal, request).await.unwrap();
        let snapshot = planned.pins()["shop.customers"].to_string();
        let rows: Vec<_> = planned.run().unwrap().try_collect().await.unwrap();
        let rows: usize = rows.iter().map(RecordBatch::num_rows).sum();
        let (lines, text) = shop.told().await;

        let [begin, end] = [of(&lines, "begin")[0], of(&lines, "end")[0]];
        assert_eq!((&begin["who"], &begin["groups"]), (&json!("analyst"), &json!(["analysts"])));
        assert_eq!(
            (&begin["over"], &begin["from"], &begin["purpose"]),
            (&json!("http"), &json!("192.0.2.7"), &json!("fraud"))
        );
        let redacted = "SELECT name, count(*) FROM shop.customers WHERE city IN (?) AND id < ? GROUP BY name";
        assert_eq!(begin["statement"], redacted);
        let reads = &begin["reads"][0];
        assert_eq!((&reads["product"], &reads["snapshot"]), (&json!("shop.customers"), &json!(snapshot)));
        assert_eq!(reads["rows"], json!(["analysts-rows"]));
        let column = |name: &str| {
            reads["columns"].as_array().unwrap().iter().find(|column| column["column"] == name).unwrap().clone()
        };
        let name = json!({ "column": "name", "via": ["value", "group"], "effect": "masked", "mask": "mask-alphanum", "policies": ["analysts-names"] });
        assert_eq!(column("name"), name);
        assert_eq!(
            column("city"),
            json!({ "column": "city", "via": ["predicate"], "effect": "raw", "policies": ["analysts-read"] })
        );
        assert_eq!((&end["id"], &end["outcome"], &end["rows"]), (&begin["id"], &json!("ok"), &json!(rows)));
        assert!(!text.contains("Delft") && !text.contains("Ann"), "no literal and no value: {text}");
    });
}

#[test]
fn every_outcome_is_recorded_and_no_value_of_the_data() {
    block_on(async {
        let shop = Shop::open(json!({})).await;
        let class = async |user: &str, sql: &str| shop.ask(user, sql).await.map(drop).map_err(|error| error.class);
        let long = "SELECT CAST(note AS BIGINT) FROM shop.customers";
        assert_eq!(class("owner", "SELECT id FROM shop.customers").await, Ok(()));
        assert_eq!(class("owner", long).await, Err(Class::BadRequest));
        assert_eq!(class("analyst", "SELECT note FROM shop.customers").await, Err(Class::Denied));
        assert_eq!(class("analyst", "SELECT * FROM shop.plans WHERE id = 42424").await, Err(Class::UnknownName));
        assert_eq!(
            class("analyst", "SELECT * FROM shop.customers WHERE city = \"Hoorn\"").await,
            Err(Class::UnknownName)
        );
        assert_eq!(class("analyst", "SELECT 'Hoorn").await, Err(Class::BadRequest));
        // One who takes a row and goes.
        let principal = shop.engine.mesh().principal("owner").unwrap();
        let endless = "SELECT a.id FROM shop.customers a CROSS JOIN shop.customers b";
        let run = async || shop.engine.plan(&principal, endless, &Pins::new()).await.unwrap().run().unwrap();
        run().await.next().await.unwrap().unwrap();
        // One who cancels.
        let mut rows = run().await;
        rows.next().await.unwrap().unwrap();
        rows.stopper().stop();
        let errors: Vec<Error> = rows.filter_map(|row| std::future::ready(row.err())).collect().await;
        assert_eq!(errors[0].class, Class::Cancelled);
        let (lines, text) = shop.told().await;

        let outcomes = |kind: &str| -> Vec<String> {
            of(&lines, kind).iter().map(|line| line["outcome"].as_str().unwrap().to_owned()).collect()
        };
        assert_eq!(outcomes("refused"), ["denied", "unknown name", "unknown name", "bad request"]);
        let mut ended = outcomes("end");
        ended.sort();
        assert_eq!(ended, ["bad request", "cancelled", "cancelled", "ok"]);
        assert_eq!(of(&lines, "begin").len(), 4);
        let statements: Vec<&Value> = of(&lines, "refused").iter().map(|line| &line["statement"]).collect();
        assert_eq!(statements[1], "SELECT * FROM shop.plans WHERE id = ?");
        assert_eq!(
            statements[2], "SELECT * FROM shop.customers WHERE city = \"?\"",
            "it may be a text in wrong quotes"
        );
        assert!(statements[3].is_null());
        for secret in ["Kropotkin", "42424", "Hoorn", "Ann 1", "Delft"] {
            assert!(!text.contains(secret), "{secret} in {text}");
        }
    });
}

#[test]
fn statements_are_kept_word_for_word_where_the_mesh_says_so() {
    block_on(async {
        let shop = Shop::open(json!({ "statements": "full" })).await;
        shop.ask("owner", "SELECT id FROM shop.customers WHERE city = 'Delft' -- for Ann").await.unwrap();
        shop.ask("owner", "SELECT 'Hoorn").await.unwrap_err();
        let (lines, _) = shop.told().await;
        assert_eq!(
            of(&lines, "begin")[0]["statement"],
            "SELECT id FROM shop.customers WHERE city = 'Delft' -- for Ann"
        );
        assert_eq!(of(&lines, "refused")[0]["statement"], "SELECT 'Hoorn");
    });
}

#[test]
fn without_a_log_to_write_to_nothing_runs_and_nothing_is_told() {
    block_on(async {
        let shop = Shop::open(json!({})).await;
        shop.ask("owner", "SELECT id FROM shop.customers").await.unwrap();
        let (log, away) = (shop.dir.path().join("audit"), shop.dir.path().join("away"));
        fs::rename(&log, &away).unwrap();
        for (sql, otherwise) in [
            ("SELECT id FROM shop.customers", None),
            ("SELECT id FROM shop.customers WHERE false", None),
            ("SELECT CAST(note AS BIGINT) FROM shop.customers", Some(Class::BadRequest)),
            ("SELECT * FROM shop.plans", Some(Class::UnknownName)),
            ("SHOW TABLES", None),
        ] {
            let error = shop.ask("owner", sql).await.unwrap_err();
            assert_eq!(error.class, Class::Storage, "{sql}, which would be {otherwise:?}");
            assert!(!error.to_string().contains(shop.dir.path().to_str().unwrap()), "{error}");
        }
        fs::rename(&away, &log).unwrap();
        while shop.ask("owner", "SELECT id FROM shop.customers").await.is_err() {
            tokio::time::sleep(std::time::Duration::from_millis(20)).await;
        }
        shop.engine.observer().close().await;
        assert!(verify(&log).is_ok());
    });
}

#[test]
fn the_health_service_says_that_nothing_runs_while_nothing_can_be_recorded_and_while_the_server_drains() {
    use tonic_health::pb::health_check_response::ServingStatus;
    block_on(async {
        let shop = Shop::open(json!({})).await;
        let options = server::Options { listen: loopback(), http: None, tls: None };
        let running = server::start(Arc::clone(&shop.engine), options).await.unwrap();
        let mut health = watched(&running).await;
        assert_eq!(health.message().await.unwrap().unwrap().status(), ServingStatus::Serving);
        let (log, away) = (shop.dir.path().join("audit"), shop.dir.path().join("away"));
        fs::rename(&log, &away).unwrap();
        shop.ask("owner", "SELECT id FROM shop.customers").await.unwrap_err();
        assert_eq!(health.message().await.unwrap().unwrap().status(), ServingStatus::NotServing);
        fs::rename(&away, &log).unwrap();
        assert_eq!(health.message().await.unwrap().unwrap().status(), ServingStatus::Serving);
        let stopping = tokio::spawn(running.stop(tokio::time::sleep(std::time::Duration::from_secs(1))));
        assert_eq!(health.message().await.unwrap().unwrap().status(), ServingStatus::NotServing);
        drop(health);
        stopping.await.unwrap();
    });
}

/// What the health service of a server tells from now on.
async fn watched(running: &server::Running) -> tonic::Streaming<tonic_health::pb::HealthCheckResponse> {
    let endpoint = tonic::transport::Endpoint::from_shared(format!("http://{}", running.address)).unwrap();
    let mut client = tonic_health::pb::health_client::HealthClient::new(endpoint.connect().await.unwrap());
    let service = "arrow.flight.protocol.FlightService".to_owned();
    client.watch(tonic_health::pb::HealthCheckRequest { service }).await.unwrap().into_inner()
}

/// The column of texts of an answer.
fn texts(batches: &[RecordBatch], column: &str) -> Vec<Option<String>> {
    let values = |batch: &RecordBatch| -> Vec<Option<String>> {
        let texts = batch.column_by_name(column).unwrap().as_string::<i32>().clone();
        texts.iter().map(|text| text.map(str::to_owned)).collect()
    };
    batches.iter().flat_map(values).collect()
}

#[test]
fn one_sees_ones_own_statements_and_the_audits_readers_see_all() {
    block_on(async {
        let shop = Shop::open(json!({ "readers": ["auditors"] })).await;
        shop.ask("analyst", "SELECT name FROM shop.customers LIMIT 5").await.unwrap();
        shop.ask("owner", "SELECT note FROM shop.customers WHERE note = '7'").await.unwrap();
        shop.ask("analyst", "SELECT * FROM shop.plans").await.unwrap_err();
        let sql = "SELECT * FROM mesh.queries";
        let own = shop.ask("analyst", sql).await.unwrap();
        assert_eq!(texts(&own, "principal"), vec![Some("analyst".to_owned()); 2]);
        assert_eq!(texts(&own, "outcome"), [Some("ok".to_owned()), Some("unknown name".to_owned())]);
        assert_eq!(texts(&own, "columns")[0].as_deref(), Some("shop.customers.name"));
        assert_eq!(texts(&own, "masked")[0].as_deref(), Some("shop.customers.name"));
        assert_eq!(texts(&own, "policies")[0].as_deref(), Some("analysts-names, analysts-rows"));
        assert_eq!(texts(&own, "snapshots"), [None, None], "a new one tells that rows changed which are hidden");
        assert_eq!(texts(&own, "products")[1], None, "nobody learns that it is there");
        assert_eq!(own[0].column_by_name("rows").unwrap().as_primitive::<Int64Type>().value(0), 5);
        assert_eq!(
            shop.ask("other", "SELECT id FROM mesh.queries")
                .await
                .unwrap()
                .iter()
                .map(RecordBatch::num_rows)
                .sum::<usize>(),
            0
        );

        let all = shop.ask("otto", sql).await.unwrap();
        let who = texts(&all, "principal");
        assert!(who.contains(&Some("owner".to_owned())) && who.contains(&Some("analyst".to_owned())), "{who:?}");
        assert!(texts(&all, "snapshots")[0].as_deref().is_some_and(|told| told.starts_with("shop.customers = ")));
        assert_eq!(texts(&all, "statement")[1].as_deref(), Some("SELECT note FROM shop.customers WHERE note = ?"));
        // In plain SQL, with its types.
        let slow = "SELECT principal, sum(rows) FROM mesh.queries WHERE started > now() - INTERVAL '1 hour' \
                    AND duration_ms >= 0 AND outcome = 'ok' GROUP BY principal ORDER BY principal";
        assert!(!shop.ask("otto", slow).await.unwrap().is_empty());
    });
}

#[test]
fn who_may_read_the_audit_changes_with_the_mesh() {
    block_on(async {
        let shop = Shop::open(json!({ "readers": ["auditors"] })).await;
        shop.ask("owner", "SELECT id FROM shop.customers LIMIT 1").await.unwrap();
        let others = "SELECT id FROM mesh.queries WHERE principal = 'owner'";
        let count =
            async || -> usize { shop.ask("otto", others).await.unwrap().iter().map(RecordBatch::num_rows).sum() };
        assert_eq!(count().await, 1);
        let path = shop.dir.path().join("mesh.yaml");
        let text = fs::read_to_string(&path).unwrap();
        fs::write(&path, text.replace("\"readers\":[\"auditors\"]", "\"readers\":[]")).unwrap();
        shop.engine.serve(Mesh::load(shop.dir.path()).unwrap());
        assert_eq!(count().await, 0);
    });
}

#[test]
fn over_the_wire_a_record_says_so_and_each_execution_has_its_own() {
    block_on(async {
        let shop = Shop::open(json!({})).await;
        let options = server::Options { listen: loopback(), http: None, tls: None };
        let running = server::start(Arc::clone(&shop.engine), options).await.unwrap();
        let url = format!("grpc://{}", running.address);
        let connect = async |password: &str| {
            let credentials = Credentials::Password { user: "owner".to_owned(), password: Secret::new(password) };
            Remote::connect(&url, credentials, None, None).await
        };
        let mut owner = connect("guest").await.unwrap();
        for _ in 0..2 {
            let (_, rows, _) = owner.query("SELECT id FROM shop.customers LIMIT 3").await.unwrap();
            rows.try_collect::<Vec<_>>().await.unwrap();
        }
        assert!(owner.query("SELECT nothing FROM shop.customers").await.is_err());
        assert!(connect("not-the-password").await.is_err());
        running.stop(tokio::time::sleep(std::time::Duration::from_secs(5))).await;
        let (lines, text) = shop.told().await;
        let began = of(&lines, "begin");
        assert_eq!(began.len(), 2);
        assert!(began.iter().all(|line| line["over"] == "flight" && line["from"] == "127.0.0.1"), "{text}");
        assert!(of(&lines, "end").iter().all(|line| line["outcome"] == "ok" && line["rows"] == 3), "{text}");
        assert_eq!(of(&lines, "refused").len(), 1);
        assert!(!text.contains("not-the-password"));
    });
}

#[test]
fn a_purpose_that_is_declared_is_recorded_with_what_follows() {
    block_on(async {
        let shop = Shop::open(json!({})).await;
        let principal = shop.engine.mesh().principal("analyst").unwrap();
        let mut session = Session::new(Arc::clone(&shop.engine), principal);
        for sql in ["SET polder.purpose = 'fraud'", "SELECT id FROM shop.customers LIMIT 1"] {
            let planned = session.plan(sql, &Pins::new()).await.unwrap();
            planned.run().unwrap().try_collect::<Vec<_>>().await.unwrap();
        }
        let (lines, _) = shop.told().await;
        let purposes: Vec<&Value> = of(&lines, "begin").iter().map(|line| &line["purpose"]).collect();
        assert_eq!(purposes, [&Value::Null, &json!("fraud")]);
    });
}

#[test]
fn the_command_tells_a_whole_log_from_a_broken_one() {
    block_on(async {
        let shop = Shop::open(json!({})).await;
        shop.ask("owner", "SELECT id FROM shop.customers LIMIT 1").await.unwrap();
        shop.engine.observer().close().await;
        let log = shop.dir.path().join("audit");
        let command = |path: &Path| {
            let output = std::process::Command::new(env!("CARGO_BIN_EXE_polder"))
                .args(["audit", "verify", path.to_str().unwrap()])
                .output()
                .unwrap();
            (output.status.code().unwrap(), String::from_utf8(output.stdout).unwrap())
        };
        let file = log.join("audit-00000001.jsonl");
        let (code, said) = command(&log);
        assert!(code == 0 && said.starts_with("4 records in one file fit"), "{said}");
        assert_eq!(command(&file).0, 0);
        let text = fs::read_to_string(&file).unwrap();
        fs::write(&file, text.replace("\"rows\":1", "\"rows\":0")).unwrap();
        let (code, said) = command(&log);
        assert!(code == 1 && said.contains("audit-00000001.jsonl:3: its hash"), "{said}");
        assert_eq!(command(&shop.dir.path().join("nothing")).0, 2);
        assert_eq!(command(&shop.dir.path().join("shop")).0, 2, "a directory without a log");
    });
}
