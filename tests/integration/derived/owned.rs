//! Derived products that run with their owner's rights: who sees what, what is told of what is beneath, and when it ends.
//!
//! `sales` reads all of `shop.people` as the group `sales-products`, and nothing of `vault`. Its reader sees six of the ten
//! people there, and is shown no people of Tiel in `sales.mails`.

use std::fs;
use std::path::Path;
use std::sync::Arc;

use datafusion::arrow::array::{ArrayRef, Int64Array, StringArray};
use futures::TryStreamExt;
use polder::error::{Class, Error};
use polder::observe::{Log, Observer, Settings};
use polder::session::{Engine, Flaw, Options, Pins};
use polder_catalog::mesh::Mesh;
use serde_json::{Value, json};
use tempfile::TempDir;

use super::{BLIND, OWNER, READER, SELLER, append, column, derive, people, write};
use crate::lines::asked;
use crate::own;

const SHOP_MORE: &str = r#"
@id("shop-products") permit (principal in Group::"sales-products", action == Action::"read", resource in Product::"shop.people");
"#;
const SALES_MORE: &str = r#"
@id("mails-part") @filter("city <> 'Tiel'")
permit (principal in Group::"readers", action == Action::"read_rows", resource == Product::"sales.mails");
@id("mails-all") permit (principal, action == Action::"read_rows", resource == Product::"sales.mails")
unless { principal in Group::"readers" };
@id("risky-part") @filter("city <> 'Tiel'")
permit (principal in Group::"readers", action == Action::"read_rows", resource == Product::"sales.risky");
@id("risky-all") permit (principal, action == Action::"read_rows", resource == Product::"sales.risky")
unless { principal in Group::"readers" };
"#;

fn change(dir: &Path, file: &str, with: impl FnOnce(&mut Value)) {
    let mut value: Value = serde_json::from_str(&fs::read_to_string(dir.join(file)).unwrap()).unwrap();
    with(&mut value);
    fs::write(dir.join(file), value.to_string()).unwrap();
}

fn add(dir: &Path, file: &str, text: &str) {
    let old = fs::read_to_string(dir.join(file)).unwrap();
    fs::write(dir.join(file), old + text).unwrap();
}

/// The files of the mesh, in which `sales` may ask for its own rights.
fn files(dir: &Path) {
    write(dir);
    change(dir, "mesh.yaml", |mesh| {
        mesh["groups"] = json!(["owners", "readers", "sellers", "sales-products"]);
        mesh["standards"] = json!({ "owners_rights": { "sales": "sales-products" } });
    });
    add(dir, "shop/policies/access.cedar", SHOP_MORE);
    add(dir, "sales/policies/access.cedar", SALES_MORE);
    let (id, number) = (column("id", "long", &[]), column("code", "long", &[]));
    let (city, code) = (column("city", "string", &[]), column("code", "string", &[]));
    let count = column("people", "long", &[]);
    for (name, query, columns) in [
        ("census", "SELECT city, count(*) AS people FROM shop.people GROUP BY city", vec![count.clone(), city.clone()]),
        (
            "mails",
            "SELECT id, email, city, code FROM shop.people WHERE id <> 7",
            vec![id.clone(), column("email", "string", &["pii"]), city.clone(), code],
        ),
        (
            "risky",
            "SELECT id, city, 12 / (id - 9) AS code FROM shop.people",
            vec![id.clone(), city.clone(), number.clone()],
        ),
        ("brittle", "SELECT id, CAST(code AS BIGINT) AS code FROM shop.people", vec![id.clone(), number]),
        ("vaulted", "SELECT id FROM vault.ledger", vec![id.clone()]),
        ("absent", "SELECT id FROM vault.nothing", vec![id.clone()]),
        ("twice", "SELECT p.id FROM shop.people p JOIN sales.mails m ON p.id = m.id", vec![id]),
    ] {
        derive(dir, name, query, &columns);
        change(dir, &format!("sales/products/{name}.odcs.yaml"), |contract| {
            let properties = contract["schema"][0]["customProperties"].as_array_mut().unwrap();
            properties.push(json!({ "property": "polder.rights", "value": "owner" }));
        });
    }
    derive(dir, "through", "SELECT city, people FROM census", &[count, city]);
}

async fn started(dir: TempDir) -> (TempDir, Arc<Engine>) {
    let mesh = Mesh::load(dir.path()).unwrap_or_else(|findings| panic!("{findings:#?}"));
    assert!(mesh.findings().is_empty(), "{:#?}", mesh.findings());
    let log = Log::open(&Settings::of(dir.path().join("audit"))).unwrap();
    let observer = Arc::new(Observer::auditing(log));
    let engine = Engine::start(mesh, Options { threads: Some(2), observer, ..Options::default() }).unwrap();
    for (domain, table) in [("shop", "people"), ("vault", "ledger")] {
        let catalog = own::catalog(&engine, domain).await;
        own::create(catalog.as_ref(), table, &people()).await;
    }
    (dir, engine)
}

async fn sales() -> (TempDir, Arc<Engine>) {
    let dir = tempfile::tempdir().unwrap();
    files(dir.path());
    let (dir, engine) = started(dir).await;
    for (domain, table) in [("shop", "people"), ("vault", "ledger")] {
        append(own::catalog(&engine, domain).await.as_ref(), table).await;
    }
    (dir, engine)
}

async fn ask(engine: &Arc<Engine>, user: &str, sql: &str) -> Result<Vec<String>, Error> {
    asked(engine, &engine.mesh().principal(user).unwrap(), sql).await
}

async fn shown(engine: &Arc<Engine>, user: &str, sql: &str) -> Vec<String> {
    ask(engine, user, sql).await.unwrap_or_else(|error| panic!("{sql}: {error}"))
}

#[tokio::test(flavor = "multi_thread")]
async fn what_the_owner_may_see_is_shown_as_the_product_grants_it() {
    let (_dir, engine) = sales().await;
    let all = ["3 | Delft", "3 | Gouda", "4 | Tiel"];
    for user in [OWNER, READER, BLIND, SELLER] {
        assert_eq!(shown(&engine, user, "SELECT * FROM sales.census ORDER BY city").await, all);
        // A product that runs with the rights of who asks may be made of one that does not.
        assert_eq!(shown(&engine, user, "SELECT * FROM sales.through ORDER BY city").await, all);
    }
    // With their own rights they see less.
    assert_eq!(shown(&engine, READER, "SELECT * FROM sales.towns ORDER BY city").await, all[..2]);
    let mails = "SELECT count(*), count(email), max(id), bool_and(email LIKE 'p%@%') FROM sales.mails";
    assert_eq!(shown(&engine, READER, mails).await, ["6 | 6 | 5 | true"]);
    assert_eq!(shown(&engine, BLIND, mails).await, ["9 | 9 | 9 | true"]);
    assert_eq!(shown(&engine, SELLER, mails).await, ["9 | 0 | 9 | NULL"], "its own masks hold");
    // Inside of it the owner is who asks.
    assert_eq!(shown(&engine, READER, "SELECT count(*) FROM sales.twice").await, ["9"]);
    // Beside it everybody is who they are.
    let both = "SELECT count(*) FROM sales.mails m JOIN shop.people p ON m.email = p.email";
    assert_eq!(shown(&engine, READER, both).await, ["0"], "theirs are hashes");
    assert_eq!(shown(&engine, OWNER, both).await, ["9"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn without_the_standard_it_is_withheld() {
    let dir = tempfile::tempdir().unwrap();
    files(dir.path());
    change(dir.path(), "mesh.yaml", |mesh| {
        mesh["standards"] = json!({ "owners_rights": { "shop": "sales-products" } })
    });
    let mesh = Mesh::load(dir.path()).unwrap();
    let told: Vec<String> = mesh.withheld().map(|(name, why)| format!("{name} {}", why.finding.code)).collect();
    assert_eq!(told.len(), 7, "{told:#?}");
    assert!(told.iter().all(|line| line.ends_with(" standards/owners-rights")), "{told:#?}");
    let engine = Engine::start(mesh, Options { threads: Some(2), ..Options::default() }).unwrap();
    let error = ask(&engine, OWNER, "SELECT * FROM sales.census").await.unwrap_err();
    assert_eq!(error.class, Class::UnknownName);
    // What is made of it says no more of it than of what is not there.
    let error = ask(&engine, OWNER, "SELECT * FROM sales.through").await.unwrap_err();
    assert_eq!(error.class, Class::Denied, "{error}");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_beneath_is_told_in_no_way() {
    let (dir, engine) = sales().await;
    let who = engine.mesh().principal(OWNER).unwrap();
    let planned = engine.plan(&who, "SELECT * FROM sales.census", &Pins::new()).await.unwrap();
    assert!(planned.snapshots().is_empty() && planned.ages().is_empty() && planned.parts(4).is_empty());
    assert!(planned.notices().is_empty(), "{:?}", planned.notices());
    assert!(planned.schema().fields().iter().all(|field| field.metadata().is_empty()));
    assert!(planned.schema().metadata().is_empty());
    for sql in [
        "SELECT * FROM sales.census WHERE people > 3",
        "SELECT count(*) FROM sales.mails WHERE id = 3 AND upper(city) = 'DELFT'",
        "SELECT * FROM sales.through ORDER BY city LIMIT 1",
    ] {
        let plan = shown(&engine, OWNER, &format!("EXPLAIN {sql}")).await.join("\n");
        assert!(
            !plan.contains("shop") && !plan.contains("DataSource") && !plan.contains("Aggregate: groupBy=[[people"),
            "{plan}"
        );
        assert!(plan.contains("GuardExec: sales."), "it is a barrier: {plan}");
        let lines = engine.explain_policy(&who, sql).await.unwrap();
        assert!(lines.iter().all(|line| !line.product.starts_with("shop")), "{lines:#?}");
        let rights: Vec<_> = lines.iter().filter(|line| line.via == "rights").collect();
        assert_eq!((rights.len(), rights[0].effect.as_str()), (1, "owner"), "{lines:#?}");
    }
    // What its owner may not see, and what is not there.
    let told = async |product: &str| {
        let error = ask(&engine, OWNER, &format!("SELECT * FROM sales.{product}")).await.unwrap_err();
        assert_eq!(error.class, Class::Drift, "{error}");
        format!("{error} {:?}", error.help).replace(product, "…")
    };
    let vaulted = told("vaulted").await;
    assert_eq!(vaulted, told("absent").await);
    assert!(!vaulted.contains("vault"), "{vaulted}");
    let health =
        "SELECT state, changed, reason FROM mesh.health WHERE product IN ('census', 'vaulted') ORDER BY product";
    assert_eq!(
        shown(&engine, OWNER, health).await,
        ["ok | NULL | NULL", "drift | NULL | its table does not keep its contract"]
    );
    let asked = "SELECT count(*) FROM mesh.queries WHERE products LIKE '%shop%' OR columns LIKE '%shop%' \
                 OR policies LIKE '%shop%' OR snapshots LIKE '%shop%'";
    assert_eq!(shown(&engine, OWNER, asked).await, ["0"]);
    // The audit log has all of it.
    assert_eq!(shown(&engine, OWNER, "SELECT email FROM sales.mails WHERE id = 3").await, ["p3@people.example"]);
    let log = fs::read_to_string(dir.path().join("audit/audit-00000001.jsonl")).unwrap();
    let read: Value = log
        .lines()
        .map(|line| serde_json::from_str::<Value>(line).unwrap())
        .find_map(|record| {
            let reads = record["reads"].as_array()?.clone();
            reads.iter().any(|read| read["product"] == "sales.mails").then_some(Value::Array(reads))
        })
        .unwrap();
    let beneath = read.as_array().unwrap().iter().find(|read| read["product"] == "shop.people").unwrap();
    assert_eq!(beneath["rights_of"], "sales.mails");
    assert!(beneath["columns"].to_string().contains("shop-products"), "{beneath}");
    let top = read.as_array().unwrap().iter().find(|read| read["product"] == "sales.mails").unwrap();
    assert!(top.get("rights_of").is_none());
    // Who looks after the mesh is told what the owner lacks.
    let flaws = engine.flaws(true).await.unwrap();
    let flaw = |product: &str| {
        flaws.iter().find_map(|(name, flaw)| match flaw {
            Flaw::Query(error) if name.to_string() == format!("sales.{product}") => Some(error.message.clone()),
            _ => None,
        })
    };
    assert!(flaw("vaulted").unwrap().contains("vault.ledger"), "{flaws:#?}");
    assert!(flaw("census").is_none() && flaw("mails").is_none(), "{flaws:#?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_file_that_is_gone_is_told_of_the_product_alone() {
    let (dir, engine) = sales().await;
    fn remove(dir: &Path) {
        for entry in fs::read_dir(dir).unwrap().map(Result::unwrap) {
            match entry.file_type().unwrap().is_dir() {
                true => remove(&entry.path()),
                false if entry.path().extension().is_some_and(|end| end == "parquet") => {
                    fs::remove_file(entry.path()).unwrap();
                }
                false => {}
            }
        }
    }
    remove(&dir.path().join("lake/shop"));
    let error = ask(&engine, OWNER, "SELECT email FROM sales.mails").await.unwrap_err();
    assert_eq!(
        (error.class, error.message.as_str()),
        (Class::Storage, "what is stored of `sales.mails` could not be read")
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn whether_its_query_fails_tells_nothing_of_rows_that_are_kept() {
    let (_dir, engine) = sales().await;
    for sql in ["SELECT id FROM sales.risky", "SELECT code FROM sales.risky WHERE id = 1"] {
        let error = ask(&engine, READER, sql).await.unwrap_err();
        assert_eq!(error.class, Class::Drift);
        assert!(error.message.contains("may fail on values that are not shown to you"), "{error}");
    }
    // To whom nothing of it is kept it is served.
    assert_eq!(shown(&engine, OWNER, "SELECT count(id) FROM sales.risky").await, ["10"]);
    // Whoever asks for whichever rows: it fails, or it does not.
    for sql in ["SELECT code FROM sales.brittle", "SELECT code FROM sales.brittle WHERE id < 3"] {
        for user in [OWNER, READER] {
            let error = ask(&engine, user, sql).await.unwrap_err();
            assert_eq!(error.message, "an expression of the statement failed on a value", "{sql}");
        }
    }
}

/// The same mesh with `tiel` people of Tiel, whose codes are `code`.
async fn with_tiel(tiel: i64, code: &str) -> (TempDir, Arc<Engine>) {
    let dir = tempfile::tempdir().unwrap();
    files(dir.path());
    let (dir, engine) = started(dir).await;
    let catalog = own::catalog(&engine, "shop").await;
    let ids: Vec<i64> = (0..6).chain(8..8 + tiel).collect();
    own::append(catalog.as_ref(), "people", |name, _| -> ArrayRef {
        let text = |of: &dyn Fn(i64) -> String| -> ArrayRef {
            Arc::new(StringArray::from_iter_values(ids.iter().map(|id| of(*id))))
        };
        match name {
            "id" => Arc::new(Int64Array::from_iter_values(ids.iter().copied())),
            "city" => text(&|id| {
                if id < 3 {
                    "Delft"
                } else if id < 6 {
                    "Gouda"
                } else {
                    "Tiel"
                }
                .to_owned()
            }),
            "code" => text(&|id| if id < 6 { id.to_string() } else { code.to_owned() }),
            _ => text(&|id| format!("p{id}@people.example")),
        }
    })
    .await;
    (dir, engine)
}

#[tokio::test(flavor = "multi_thread")]
async fn rows_that_it_keeps_from_one_change_nothing() {
    let (_one, few) = with_tiel(1, "7").await;
    let (_other, many) = with_tiel(20_000, "secret").await;
    for sql in [
        "SELECT count(*), max(id), sum(CAST(code AS INT)) FROM sales.mails",
        "SELECT id FROM sales.mails WHERE CAST(code AS INT) > 2 ORDER BY id",
        "SELECT count(*) FROM sales.mails WHERE id < 100000 AND CAST(code AS INT) >= 0",
        "SELECT id, 12 / CAST(code AS INT) FROM sales.mails WHERE id > 0 ORDER BY id LIMIT 2",
        "SELECT 12 / CAST(code AS INT) FROM sales.mails",
        "SELECT m.id FROM sales.mails m JOIN sales.mails n ON m.code = n.code ORDER BY m.id",
        "SELECT city, count(*) FROM sales.mails GROUP BY city ORDER BY city",
        "EXPLAIN SELECT m.id FROM sales.mails m JOIN sales.census n ON m.city = n.city WHERE CAST(m.code AS INT) > 2",
        "EXPLAIN SELECT count(*) FROM sales.mails WHERE id = 3",
        "EXPLAIN POLICY SELECT * FROM sales.mails",
    ] {
        let [one, other] = [ask(&few, READER, sql).await, ask(&many, READER, sql).await]
            .map(|answer| answer.map_err(|error| format!("{error} {:?}", error.help)));
        assert_eq!(one, other, "{sql}");
    }
    let shape = async |engine: &Arc<Engine>| {
        let who = engine.mesh().principal(READER).unwrap();
        let planned = engine.plan(&who, "SELECT id FROM sales.mails", &Pins::new()).await.unwrap();
        let batches: Vec<_> = planned.run().unwrap().try_collect().await.unwrap();
        batches.iter().map(|batch| batch.num_rows()).collect::<Vec<_>>()
    };
    assert_eq!(shape(&few).await, shape(&many).await, "batches end where rows do");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_statement_ends_when_the_owner_loses_what_it_stands_on() {
    let sql = "SELECT * FROM sales.mails";
    let ends = async |change: &dyn Fn(&Path)| {
        let (dir, engine) = sales().await;
        let who = engine.mesh().principal(READER).unwrap();
        let planned = engine.plan(&who, sql, &Pins::new()).await.unwrap();
        let rows = engine.plan(&who, sql, &Pins::new()).await.unwrap().run().unwrap();
        change(dir.path());
        engine.serve(Mesh::load(dir.path()).unwrap());
        let ended = match planned.run() {
            Ok(rows) => rows.try_collect::<Vec<_>>().await.map(drop),
            Err(error) => Err(error),
        };
        let running = rows.try_collect::<Vec<_>>().await.map(drop);
        (ended.err().map(|error| error.class), running.err().map(|error| error.class))
    };
    let forbid =
        r#"@id("no") forbid (principal in Group::"sales-products", action == Action::"read", resource in Tag::"pii");"#;
    let cancelled = (Some(Class::Cancelled), Some(Class::Cancelled));
    assert_eq!(ends(&|dir| add(dir, "shop/policies/access.cedar", forbid)).await, cancelled, "the owner's column");
    let closed = r#"@id("none") forbid (principal in Group::"sales-products", action == Action::"read_rows", resource == Product::"shop.people");"#;
    assert_eq!(ends(&|dir| add(dir, "shop/policies/access.cedar", closed)).await, cancelled, "the owner's rows");
    let line = |dir: &Path| change(dir, "mesh.yaml", |mesh| mesh["standards"] = json!({}));
    assert_eq!(ends(&line).await, cancelled, "the standard");
    let mine = r#"@id("mine") forbid (principal in Group::"readers", action == Action::"read", resource in Product::"shop.people");"#;
    assert_eq!(
        ends(&|dir| add(dir, "shop/policies/access.cedar", mine)).await,
        (None, None),
        "it stands on nothing of the reader's"
    );
    let rights = |dir: &Path| {
        change(dir, "sales/products/mails.odcs.yaml", |contract| {
            contract["schema"][0]["customProperties"].as_array_mut().unwrap().pop();
        });
    };
    assert_eq!(ends(&rights).await, cancelled, "whose rights they are");
}
