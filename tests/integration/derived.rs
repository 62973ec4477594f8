//! Derived products: queries over other products, with the rights of whoever asks.
//!
//! `shop.people` has ten people. Its reader sees six of them and masked addresses, and `vault.ledger` is there for the
//! owner alone. `sales` has no table of its own: all that it serves is derived.

mod judged;
mod owned;

use std::fs;
use std::path::Path;
use std::sync::{Arc, OnceLock};

use datafusion::arrow::array::{ArrayRef, Int64Array, StringArray};
use futures::TryStreamExt;
use iceberg::spec::{NestedField, PrimitiveType, Schema, Type};
use polder::error::{Class, Error};
use polder::session::{Engine, Flaw, Line, Pins};
use polder_catalog::mesh::Mesh;
use polder_catalog::principal::Principal;
use serde_json::{Value, json};
use tempfile::TempDir;

use crate::lines::asked;
use crate::own::{self, Domain};

const OWNER: &str = "olga";
/// Sees the people of Delft and Gouda, and their addresses as hashes.
const READER: &str = "rita";
/// Sees no address.
const BLIND: &str = "bob";
/// Sees of `sales` a part only.
const SELLER: &str = "sam";

const SHOP: &str = r#"
@id("shop-seen") permit (principal, action == Action::"discover", resource in Domain::"shop");
@id("shop-owner") permit (principal in Group::"owners", action in [Action::"read", Action::"read_rows"], resource in Domain::"shop");
@id("shop-plain") permit (principal, action == Action::"read", resource in Product::"shop.people") unless { resource in Tag::"pii" };
@id("shop-hashed") @mask("sha-256-global")
permit (principal in Group::"readers", action == Action::"read_masked", resource == Column::"shop.people.email");
@id("shop-towns") @filter("city IN ('Delft', 'Gouda')")
permit (principal in Group::"readers", action == Action::"read_rows", resource == Product::"shop.people");
@id("shop-all") permit (principal, action == Action::"read_rows", resource == Product::"shop.people") unless { principal in Group::"readers" };
"#;

const VAULT: &str = r#"
@id("vault-owner") permit (principal in Group::"owners", action in [Action::"discover", Action::"read", Action::"read_rows"], resource in Domain::"vault");
"#;

const SALES: &str = r#"
@id("sales-seen") permit (principal, action == Action::"discover", resource in Domain::"sales");
@id("sales-read") permit (principal, action == Action::"read", resource in Domain::"sales") unless { principal in Group::"sellers" && resource in Tag::"pii" };
@id("sales-hidden") @mask("replace-with-null")
permit (principal in Group::"sellers", action == Action::"read_masked", resource in Tag::"pii");
@id("sales-all") permit (principal, action == Action::"read_rows", resource == Product::"sales.contacts") unless { principal in Group::"sellers" };
@id("sales-part") @filter("id < 5")
permit (principal in Group::"sellers", action == Action::"read_rows", resource == Product::"sales.contacts");
"#;

/// Queries whose column `code` is an address, since it is compared with one.
const GUESSES: [&str; 8] = [
    "SELECT v AS code FROM shop.people JOIN (SELECT unnest(make_array('p1@people.example')) AS v) g ON v = email",
    "SELECT v AS code FROM (VALUES ('p1@people.example')) g(v) WHERE v IN (SELECT email FROM shop.people)",
    "SELECT v AS code FROM (VALUES ('p1@people.example')) g(v) WHERE EXISTS (SELECT 1 FROM shop.people WHERE email = v)",
    "SELECT v AS code FROM (VALUES ('p1@people.example')) g(v) INTERSECT SELECT email FROM shop.people",
    "SELECT email AS code FROM (SELECT code AS email FROM shop.people) JOIN shop.people USING (email)",
    "SELECT a.v AS code FROM (VALUES ('p1')) a(v), (VALUES ('p1')) b(v), shop.people WHERE b.v = email AND a.v = b.v",
    "SELECT a.code FROM (SELECT * FROM shop.people) a, shop.people b WHERE a.code <= b.email AND a.code >= b.email",
    "SELECT a.code FROM shop.people a JOIN (SELECT * FROM shop.people WHERE code = email) b ON a.id = b.id",
];

/// Queries whose column `code` says nothing of an address.
const MEETINGS: [&str; 3] = [
    "SELECT a.code FROM shop.people a JOIN shop.people b ON a.id = b.id WHERE b.email IS NOT NULL",
    "SELECT a.code FROM shop.people a JOIN shop.people b ON hmac(a.email, 'bulb') = hmac(b.email, 'bulb')",
    "SELECT code FROM shop.people WHERE id IN (SELECT id FROM shop.people WHERE email LIKE 'p%') AND city <> code",
];

fn people() -> Schema {
    let text = |id, name: &str| NestedField::optional(id, name, Type::Primitive(PrimitiveType::String)).into();
    let id = NestedField::required(1, "id", Type::Primitive(PrimitiveType::Long)).into();
    Schema::builder().with_fields(vec![id, text(2, "email"), text(3, "city"), text(4, "code")]).build().unwrap()
}

fn column(name: &str, kind: &str, tags: &[&str]) -> Value {
    json!({ "name": name, "physicalType": kind, "tags": tags })
}

fn derive(dir: &Path, name: &str, query: &str, columns: &[Value]) {
    let contract = json!({
        "apiVersion": "v3.1.0", "kind": "DataContract", "id": name, "name": name, "version": "1.0.0",
        "status": "active", "slaProperties": [{ "property": "freshness", "value": 1, "unit": "d" }],
        "schema": [{
            "name": name, "properties": columns, "customProperties": [{ "property": "polder.query", "value": query }],
        }],
    });
    fs::write(dir.join(format!("sales/products/{name}.odcs.yaml")), contract.to_string()).unwrap();
}

fn write(dir: &Path) {
    let mesh = json!({
        "mesh": "own", "tags": { "pii": {} }, "groups": ["owners", "readers", "sellers"],
        "keys": { "bulb": "${file:secrets/bulb}", "kept": "${file:secrets/bulb}" },
        "standards": { "keyed_hashes": ["bulb"] },
    });
    let users: [(&str, &[&str], Value); 4] = [
        (OWNER, &["owners"], json!({})),
        (READER, &["readers"], json!({})),
        (BLIND, &[], json!({})),
        (SELLER, &["owners", "sellers"], json!({})),
    ];
    let people = people();
    let domains = [
        Domain { name: "shop", tables: &[("people", people.clone())], policies: SHOP },
        Domain { name: "vault", tables: &[("ledger", people)], policies: VAULT },
        Domain { name: "sales", tables: &[], policies: SALES },
    ];
    own::write_mesh(dir, mesh, &users, &domains);
    fs::write(dir.join("secrets/bulb"), "tulip").unwrap();
    let contract = dir.join("shop/products/people.odcs.yaml");
    let mut tagged: Value = serde_json::from_str(&fs::read_to_string(&contract).unwrap()).unwrap();
    tagged["schema"][0]["properties"][1]["tags"] = json!(["pii"]);
    tagged["schema"][0]["properties"][1]["examples"] = json!(["p6@people.example"]);
    tagged["schema"][0]["properties"][2]["examples"] = json!(["Tiel", "Delft"]);
    fs::write(contract, tagged.to_string()).unwrap();
    let (id, email, city, code) = (
        column("id", "long", &[]),
        column("email", "string", &["pii"]),
        column("city", "string", &[]),
        column("code", "string", &[]),
    );
    let people = column("people", "long", &[]);
    let declassified = json!({
        "name": "id", "physicalType": "long", "examples": [17],
        "customProperties": [{ "property": "polder.declassified", "value": "a length is nobody" }],
    });
    for (name, query, columns) in [
        ("towns", "SELECT city, count(*) AS people FROM shop.people GROUP BY city", vec![people.clone(), city.clone()]),
        ("contacts", "SELECT *, 1 AS unseen FROM shop.people", vec![id.clone(), email.clone(), code.clone()]),
        ("regulars", "SELECT id, email FROM contacts WHERE id < 8", vec![id.clone(), email.clone()]),
        ("wide", "SELECT CAST(id AS INT) AS id FROM shop.people", vec![id.clone()]),
        ("unsure", "SELECT id, 12 / (id - 9) AS code FROM shop.people", vec![id.clone(), column("code", "long", &[])]),
        ("known", "SELECT id FROM shop.people WHERE email LIKE 'p%'", vec![id.clone()]),
        ("books", "SELECT id FROM vault.ledger", vec![id.clone()]),
        ("nothing", "SELECT id FROM vault.nothing", vec![id.clone()]),
        ("narrow", "SELECT id FROM shop.people", vec![column("id", "int", &[])]),
        ("halves", "SELECT id FROM shop.people UNION ALL SELECT id * 0.5 FROM shop.people", vec![id.clone()]),
        ("some", "SELECT CASE WHEN id > 5 THEN id ELSE id * 0.5 END AS id FROM shop.people", vec![id.clone()]),
        ("short", "SELECT id FROM shop.people", vec![id.clone(), city]),
        ("misspelt", "SELECT idd AS id FROM shop.people", vec![id.clone()]),
        ("changing", "DROP TABLE shop.people", vec![id.clone()]),
        ("asking", "SELECT id FROM shop.people WHERE id = $1", vec![id.clone()]),
        ("about", "SELECT 1 AS id FROM mesh.products", vec![id.clone()]),
        ("open", "SELECT id, upper(email) AS code FROM shop.people", vec![id.clone(), code.clone()]),
        ("tally", "SELECT count(*) AS people FROM vault.ledger", vec![people.clone()]),
        ("counted", "SELECT count(DISTINCT email) AS people FROM shop.people", vec![people.clone()]),
        ("length", "SELECT octet_length(email) AS id FROM shop.people", vec![declassified]),
        (
            "hashed",
            "SELECT hmac(id, 'bulb') AS id, hmac(email, 'bulb') AS code FROM shop.people WHERE id = 1",
            vec![id.clone(), code.clone()],
        ),
        ("kept", "SELECT id, hmac(email, 'kept') AS code FROM shop.people", vec![id.clone(), code.clone()]),
        ("hen", "SELECT id FROM egg", vec![id.clone()]),
        ("egg", "SELECT id FROM sales.hen", vec![id.clone()]),
    ] {
        derive(dir, name, query, &columns);
    }
    for (kind, queries) in [("guess", &GUESSES[..]), ("meeting", &MEETINGS[..])] {
        for (place, query) in queries.iter().enumerate() {
            derive(dir, &format!("{kind}{place}"), query, std::slice::from_ref(&code));
        }
    }
    for deep in 1..=9 {
        let below = if deep == 1 { "shop.people".to_owned() } else { format!("deep{}", deep - 1) };
        derive(dir, &format!("deep{deep}"), &format!("SELECT id FROM {below}"), std::slice::from_ref(&id));
    }
}

async fn fill(engine: &Engine, domain: &str, table: &str) {
    let catalog = own::catalog(engine, domain).await;
    own::create(catalog.as_ref(), table, &people()).await;
    append(catalog.as_ref(), table).await;
}

async fn append(catalog: &dyn iceberg::Catalog, table: &str) {
    let ids = 0..10_i64;
    let text = |of: &dyn Fn(i64) -> String| Arc::new(StringArray::from_iter_values(ids.clone().map(of))) as ArrayRef;
    own::append(catalog, table, |name, _| match name {
        "id" => Arc::new(Int64Array::from_iter_values(ids.clone())),
        "email" => text(&|id| format!("p{id}@people.example")),
        "city" => text(&|id| ["Delft", "Gouda", "Tiel"][usize::from(id > 2) + usize::from(id > 5)].to_owned()),
        // Of those whom the reader does not see it is no number.
        _ => text(&|id| if id > 5 { format!("secret-{id}") } else { id.to_string() }),
    })
    .await;
}

struct Sales {
    engine: Arc<Engine>,
    runtime: tokio::runtime::Runtime,
    _dir: TempDir,
}

fn sales() -> &'static Sales {
    static SALES: OnceLock<Sales> = OnceLock::new();
    SALES.get_or_init(|| {
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
        let dir = tempfile::tempdir().unwrap();
        write(dir.path());
        let engine = own::start(dir.path());
        runtime.block_on(async {
            fill(&engine, "shop", "people").await;
            fill(&engine, "vault", "ledger").await;
        });
        Sales { engine, runtime, _dir: dir }
    })
}

fn who(user: &str) -> Principal {
    sales().engine.mesh().principal(user).unwrap()
}

fn ask(user: &str, sql: &str) -> Result<Vec<String>, Error> {
    let sales = sales();
    sales.runtime.block_on(asked(&sales.engine, &who(user), sql))
}

#[track_caller]
fn check(user: &str, sql: &str, expect: &[&str]) {
    assert_eq!(ask(user, sql).unwrap(), expect, "{sql}");
}

#[track_caller]
fn refused(user: &str, sql: &str, class: Class, message: &str) {
    let error = ask(user, sql).unwrap_err();
    assert_eq!((error.class, error.message.as_str()), (class, message), "{sql}");
}

#[test]
fn a_derived_product_is_what_its_query_makes_of_what_one_may_see() {
    check(OWNER, "SELECT * FROM sales.towns ORDER BY city", &["3 | Delft", "3 | Gouda", "4 | Tiel"]);
    check(READER, "SELECT * FROM sales.towns ORDER BY city", &["3 | Delft", "3 | Gouda"]);
    check(READER, "SELECT sum(people) FROM sales.towns WHERE city <> 'Gouda'", &["3"]);
    // Only the columns of the contract are there, in its order and in its types.
    check(OWNER, "SELECT * FROM sales.contacts WHERE id = 6", &["6 | p6@people.example | secret-6"]);
    check(OWNER, "SELECT arrow_typeof(id) FROM sales.wide LIMIT 1", &["Int64"]);
    refused(OWNER, "SELECT unseen FROM sales.contacts", Class::UnknownName, "there is no column `unseen`");
    check(OWNER, "SELECT count(*) FROM sales.regulars r JOIN sales.contacts c USING (id)", &["8"]);
    check(
        OWNER,
        "SELECT count(*) FROM sales.contacts WHERE id IN (SELECT id FROM shop.people WHERE city = 'Tiel')",
        &["4"],
    );
}

#[test]
fn what_is_masked_inside_stays_masked() {
    let direct = ask(READER, "SELECT email FROM shop.people WHERE id = 1").unwrap();
    assert_eq!(direct[0].len(), 64, "{direct:?}");
    for product in ["contacts", "regulars"] {
        assert_eq!(ask(READER, &format!("SELECT email FROM sales.{product} WHERE id = 1")).unwrap(), direct);
        check(READER, &format!("SELECT count(*) FROM sales.{product} WHERE email LIKE 'p%@%'"), &["0"]);
    }
    // What the query itself decides by is masked as well.
    check(READER, "SELECT count(*) FROM sales.known", &["0"]);
    check(OWNER, "SELECT count(*) FROM sales.known", &["10"]);
}

#[test]
fn its_own_row_rules_and_masks_come_on_top() {
    check(SELLER, "SELECT count(*), count(email), max(id) FROM sales.contacts", &["5 | 0 | 4"]);
    check(SELLER, "SELECT count(*) FROM sales.contacts WHERE code = '7'", &["0"]);
    // What is derived from it is derived from what they see of it.
    check(SELLER, "SELECT count(*), count(email) FROM sales.regulars", &["5 | 0"]);
    check(SELLER, "SELECT count(email) FROM shop.people", &["10"]);
    let plan = ask(SELLER, "EXPLAIN SELECT email FROM sales.contacts WHERE id = 3").unwrap().join("\n");
    assert!(plan.contains("GuardExec: sales.contacts, projection=[email], masked=[email: "), "{plan}");
    assert!(plan.contains("rows=filtered"), "{plan}");
}

#[test]
fn an_expression_that_fails_on_hidden_rows_alone_does_not_fail() {
    for (user, sql) in [
        (READER, "SELECT count(*) FROM sales.contacts WHERE CAST(code AS INT) >= 0"),
        (
            READER,
            "SELECT count(*) FROM sales.contacts WHERE id < 100 AND 12 / (CAST(code AS INT) + 1) IS NULL OR id < 100",
        ),
        (SELLER, "SELECT count(*) + 1 FROM sales.contacts WHERE CAST(code AS INT) >= 0"),
    ] {
        check(user, sql, &["6"]);
    }
    assert!(ask(OWNER, "SELECT count(*) FROM sales.contacts WHERE CAST(code AS INT) >= 0").is_err());
    // Its own query may fail as well, on what is shown.
    check(READER, "SELECT count(code) FROM sales.unsure", &["6"]);
    let error = ask(READER, "SELECT CAST(code AS INT) / (id - 2) FROM sales.contacts").unwrap_err();
    assert_eq!(error.message, "an expression of the statement failed on a value");
    assert!(ask(OWNER, "SELECT count(code) FROM sales.unsure").is_err());
}

#[test]
fn each_round_of_a_recursion_reads_all_of_its_rows() {
    for (user, product) in
        [(OWNER, "shop.people"), (READER, "shop.people"), (READER, "sales.contacts"), (SELLER, "sales.contacts")]
    {
        for joined in [
            format!("(SELECT count(id) AS c FROM {product}) t ON c > 0"),
            format!("(SELECT * FROM {product} LIMIT 1) t ON n > -id"),
            format!("(SELECT DISTINCT 1 AS one FROM {product}) t ON n >= one"),
        ] {
            let rounds = format!("SELECT 1 AS n UNION ALL SELECT n + 1 FROM r JOIN {joined} WHERE n < 5");
            check(user, &format!("WITH RECURSIVE r (n) AS ({rounds}) SELECT count(*), max(n) FROM r"), &["5 | 5"]);
        }
    }
}

#[test]
fn what_is_denied_inside_is_named_by_the_derived_column_alone() {
    let message =
        "column `email` of `sales.contacts` is made of what is denied to you, so nothing of it is served to you";
    for sql in ["SELECT * FROM sales.contacts", "SELECT id FROM sales.contacts", "SELECT email FROM sales.contacts"] {
        refused(BLIND, sql, Class::Denied, message);
    }
    let message = "the rows of `sales.known` are made of what is denied to you, so nothing of it is served to you";
    refused(BLIND, "SELECT id FROM sales.known", Class::Denied, message);
    check(BLIND, "SELECT count(*) FROM sales.towns", &["3"]);
    let error = ask(BLIND, "SELECT * FROM sales.regulars").unwrap_err();
    assert_eq!(error.class, Class::Denied);
    assert!(error.help.unwrap().contains("ask the owner, sales"), "whom to ask is told");
}

#[test]
fn what_is_hidden_inside_is_as_what_is_not_there() {
    check(OWNER, "SELECT count(*) FROM sales.books", &["10"]);
    let told = |product: &str| {
        let error = ask(READER, &format!("SELECT * FROM sales.{product}")).unwrap_err();
        assert_eq!(error.class, Class::Denied);
        format!("{error}").replace(&format!("sales.{product}"), "…")
    };
    assert_eq!(told("books"), told("nothing"));
    assert!(!told("books").contains("vault") && !told("books").contains("ledger"));
}

#[test]
fn a_query_that_does_not_keep_its_contract_is_drift() {
    let at = |product: &str, message: &str| {
        let error = ask(OWNER, &format!("SELECT * FROM sales.{product}")).unwrap_err();
        assert_eq!(error.class, Class::Drift, "{error}");
        assert!(error.message.contains(message), "{error}");
        error.message
    };
    at("narrow", "column `id` has type `long`, and the contract says `int`");
    // Nothing is cut off: the whole of it has the wider type.
    at("halves", "column `id` has type `double`, and the contract says `long`");
    at("some", "column `id` has type `double`, and the contract says `long`");
    at("short", "column `city` is missing");
    at("misspelt", "there is no column `idd`");
    at("changing", "read only");
    at("asking", "it has parameters");
    at("about", "it reads what is no product");
    at("hen", "`sales.hen` is made of itself");
    let told = ask(READER, "SELECT * FROM sales.narrow").unwrap_err();
    assert_eq!(told.message, "the query of `sales.narrow` does not keep its contract");
}

#[test]
fn products_are_derived_through_so_many_others_and_no_more() {
    check(OWNER, "SELECT count(*) FROM sales.deep8", &["10"]);
    let error = ask(OWNER, "SELECT count(*) FROM sales.deep9").unwrap_err();
    assert_eq!(error.class, Class::Limit, "{error}");
    let names: Vec<String> = (0..129).map(|n| format!("SELECT id FROM sales.deep{}", n % 8 + 1)).collect();
    let error = ask(OWNER, &names.join(" UNION ALL ")).unwrap_err();
    assert_eq!(error.class, Class::Limit, "{error}");
}

#[test]
fn it_has_no_table_and_no_versions() {
    for (sql, message) in [
        (
            "SELECT * FROM sales.\"contacts$files\"",
            "`sales.contacts` is derived from other products and has no table of its own",
        ),
        (
            "SELECT * FROM sales.contacts VERSION AS OF 7",
            "`sales.contacts` is derived from other products and has no versions",
        ),
    ] {
        refused(OWNER, sql, Class::BadRequest, message);
    }
}

#[test]
fn one_snapshot_of_each_table_is_read_inside_and_outside() {
    let sales = sales();
    let sql = "SELECT count(*) FROM sales.contacts c JOIN shop.people p USING (id)";
    let planned = sales.runtime.block_on(sales.engine.plan(&who(OWNER), sql, &Pins::new())).unwrap();
    assert_eq!(planned.pins().keys().collect::<Vec<_>>(), ["shop.people"]);
    assert!(planned.ages().contains_key("sales.contacts"), "it is as old as what it is made of");
    let old = Pins::from([("shop.people".to_owned(), 7)]);
    assert!(sales.runtime.block_on(sales.engine.plan(&who(OWNER), "SELECT * FROM sales.towns", &old)).is_err());
    // When it changed tells of what is kept from others.
    let planned = sales.runtime.block_on(sales.engine.plan(&who(READER), sql, &Pins::new())).unwrap();
    assert!(planned.ages().is_empty() && planned.snapshots().is_empty());
}

#[test]
fn an_explanation_tells_of_both_layers() {
    let sales = sales();
    let lines = |user: &str, sql: &str| {
        let lines = sales.runtime.block_on(sales.engine.explain_policy(&who(user), sql)).unwrap();
        let line = |line: &Line| {
            let (output, column) = (line.output.as_deref().unwrap_or("*"), line.column.as_deref().unwrap_or("*"));
            format!("{output} <- {}.{column} {} {}", line.product, line.via, line.effect.as_str())
        };
        lines.iter().map(line).collect::<Vec<_>>()
    };
    assert_eq!(
        lines(READER, "SELECT email FROM sales.regulars"),
        [
            "email <- sales.contacts.email value raw",
            "email <- sales.regulars.email value raw",
            "email <- shop.people.email value masked",
            "* <- sales.contacts.id predicate raw",
            "* <- shop.people.id predicate raw",
            "* <- sales.contacts.* rows shown",
            "* <- shop.people.* rows shown",
        ]
    );
    assert!(lines(BLIND, "SELECT id FROM sales.known").contains(&"* <- shop.people.email predicate denied".to_owned()));
}

#[test]
fn it_is_listed_and_its_health_is_that_of_what_it_is_made_of() {
    check(
        OWNER,
        "SELECT \"column\", access FROM mesh.columns WHERE product = 'towns'",
        &["people | raw", "city | raw"],
    );
    let listed = "SELECT column_name, data_type FROM information_schema.columns WHERE table_name = 'towns'";
    check(OWNER, listed, &["people | Int64", "city | Utf8"]);
    let health = "SELECT product, state FROM mesh.health WHERE product IN ('towns', 'hen', 'narrow') ORDER BY product";
    check(OWNER, health, &["hen | drift", "narrow | drift", "towns | ok"]);
    check(
        OWNER,
        "SELECT changed = (SELECT changed FROM mesh.health WHERE product = 'people') FROM mesh.health WHERE product = 'towns'",
        &["true"],
    );
    check(READER, "SELECT changed FROM mesh.health WHERE product = 'towns'", &["NULL"]);
}

#[test]
fn a_statement_holds_as_long_as_the_query_is_the_same() {
    let sales = sales();
    let dir = tempfile::tempdir().unwrap();
    write(dir.path());
    let engine = own::start(dir.path());
    sales.runtime.block_on(async {
        fill(&engine, "shop", "people").await;
        let who = engine.mesh().principal(OWNER).unwrap();
        let planned = async || engine.plan(&who, "SELECT * FROM sales.towns", &Pins::new()).await.unwrap();
        let (same, changed) = (planned().await, planned().await);
        engine.serve(Mesh::load(dir.path()).unwrap());
        assert!(same.run().unwrap().try_collect::<Vec<_>>().await.is_ok());
        let query = "SELECT city, count(*) AS people FROM shop.people WHERE id > 2 GROUP BY city";
        derive(dir.path(), "towns", query, &[column("people", "long", &[]), column("city", "string", &[])]);
        engine.serve(Mesh::load(dir.path()).unwrap());
        let ended = match changed.run() {
            Ok(rows) => rows.try_collect::<Vec<_>>().await.map(drop),
            Err(error) => Err(error),
        };
        assert_eq!(ended.unwrap_err().class, Class::Cancelled);
    });
}

#[test]
fn a_column_without_the_tags_of_what_it_is_made_of_is_not_served() {
    let error = ask(OWNER, "SELECT id FROM sales.open").unwrap_err();
    assert_eq!(error.class, Class::Drift);
    let message = "column `code` of `sales.open` is made of `shop.people.email` and does not carry its tag `pii`";
    assert_eq!(error.message, message);
    check(OWNER, "SELECT people FROM sales.counted", &["10"]);
    check(OWNER, "SELECT max(id) FROM sales.length", &["17"]);
    // Its owner is told before anybody asks, whoever may see what.
    let sales = sales();
    let flaws = sales.runtime.block_on(sales.engine.flaws(true)).unwrap();
    let told: Vec<String> = flaws
        .iter()
        .map(|(name, flaw)| match flaw {
            Flaw::Query(error) => format!("{name}: {} / {}", error.message, error.help.as_deref().unwrap_or_default()),
            Flaw::Untagged(untagged) => untagged.message(name),
        })
        .collect();
    assert!(told.contains(&message.to_owned()), "{told:#?}");
    for (product, part) in [
        ("nothing", "there is no product `vault.nothing`"),
        ("short", "it makes no column `city` / write `… AS city` in the query"),
        ("misspelt", "there is no column `idd` / did you mean `id`?"),
        ("hen", "`sales.hen` is made of itself"),
        ("narrow", "its column `id` has type `long`, and the contract says `int` / write `CAST(… AS INT) AS id`"),
        ("halves", "its column `id` has type `double`, and the contract says `long` / write `CAST(… AS BIGINT) AS id`"),
    ] {
        let begins = format!("sales.{product}: ");
        assert!(told.iter().any(|line| line.starts_with(&begins) && line.contains(part)), "{product}: {told:#?}");
    }
    assert!(!told.iter().any(|line| line.contains("sales.books") || line.contains("sales.contacts")), "{told:#?}");
}

#[test]
fn a_column_has_the_tags_of_what_it_is_compared_with() {
    for (place, query) in GUESSES.iter().enumerate() {
        let error = ask(OWNER, &format!("SELECT code FROM sales.guess{place}")).expect_err(query);
        let message = format!(
            "column `code` of `sales.guess{place}` is made of `shop.people.email` and does not carry its tag `pii`"
        );
        assert_eq!((error.class, error.message), (Class::Drift, message), "{query}");
    }
    for (place, query) in MEETINGS.iter().enumerate() {
        let rows = ask(OWNER, &format!("SELECT count(*) FROM sales.meeting{place}"));
        assert_eq!(rows.expect(query).len(), 1, "{query}");
    }
}

#[test]
fn examples_of_contracts_are_for_those_who_may_read_all_rows_as_they_are() {
    let shown = "SELECT \"column\", examples FROM mesh.columns WHERE product = 'people' AND examples IS NOT NULL";
    check(OWNER, shown, &["email | p6@people.example", "city | Tiel, Delft"]);
    check(BLIND, shown, &["city | Tiel, Delft"]);
    check(READER, shown, &[]);
    // What its own grants say of a derived column is not all that is kept of it.
    check(OWNER, "SELECT examples FROM mesh.columns WHERE product = 'length'", &["NULL"]);
    let sales = sales();
    let page = |user| sales.runtime.block_on(sales.engine.page(&who(user), "shop", "people")).unwrap();
    let shown = |user| page(user).columns.into_iter().flat_map(|column| column.examples).collect::<Vec<_>>();
    assert_eq!(shown(OWNER), ["p6@people.example", "Tiel", "Delft"]);
    assert_eq!((shown(BLIND), shown(READER)), (vec!["Tiel".to_owned(), "Delft".to_owned()], Vec::new()));
}

#[test]
fn a_keyed_hash_needs_no_tags_where_the_mesh_lists_the_key() {
    let whole = "7543348412855316690 | abc0e81ae54ffc8569bb61f628a0c2bc5557535b3d892b28b2fd7fee2ed5ae26";
    check(OWNER, "SELECT * FROM sales.hashed", &[whole]);
    // What is masked beneath is hashed as it is shown.
    check(
        READER,
        "SELECT code FROM sales.hashed",
        &["e57f09a49ba7e80002c5738fc02489fdc9a7f6be37abaf4c49f2fc67bf7226d8"],
    );
    let message = "the query of `sales.kept` cannot be served: `hmac` takes the name of a key that \
        `standards.keyed_hashes` of mesh.yaml lists";
    refused(OWNER, "SELECT id FROM sales.kept", Class::Drift, message);
    // Who could try values would find the one that fits.
    for tried in ["SELECT hmac('p1@people.example', 'bulb')", "SELECT hmac(email, 'bulb') FROM shop.people"] {
        let error = ask(OWNER, tried).unwrap_err();
        assert_eq!((error.class, error.message.as_str()), (Class::BadRequest, "invalid function 'hmac'"), "{tried}");
    }
}

#[test]
fn lineage_is_told_of_what_one_may_discover() {
    let of = |product: &str| {
        format!(
            "SELECT \"column\", from_domain || '.' || from_product, from_column, via FROM mesh.lineage \
             WHERE product = '{product}' ORDER BY \"column\" NULLS LAST, 2, 3, 4"
        )
    };
    let regulars = [
        "email | sales.contacts | email | value",
        "email | shop.people | email | value",
        "id | sales.contacts | id | value",
        "id | shop.people | id | value",
        "NULL | sales.contacts | id | predicate",
        "NULL | shop.people | id | predicate",
    ];
    for user in [OWNER, BLIND] {
        check(user, &of("regulars"), &regulars);
    }
    check(OWNER, &of("books"), &["id | vault.ledger | id | value"]);
    check(READER, &of("books"), &[]);
    // What counts rows reads no column, and is made of them.
    check(OWNER, &of("tally"), &["NULL | vault.ledger | NULL | rows"]);
    check(READER, &of("tally"), &[]);
}
