//! What is said of columns that a statement compares although they do not hold the same.
//!
//! Of the marks in both domains, `ana` reads the same hashes, `mia` hashes in the one and raw ones in the other, and `ben`
//! reads none.

use std::fs;
use std::sync::Arc;

use iceberg::spec::{NestedField, PrimitiveType, Schema, Type};
use polder::error::Class;
use polder::session::{Engine, Pins};
use serde_json::{Value, json};
use tempfile::TempDir;

use crate::own::{self, Domain};

const SHOP: &str = r#"
@id("shop-seen") permit (principal, action == Action::"discover", resource in Domain::"shop");
@id("shop-read") permit (principal, action == Action::"read", resource in Domain::"shop") unless { resource in Tag::"pii" };
@id("shop-hashed") @mask("hmac(bulb)") permit (principal, action == Action::"read_masked", resource in Domain::"shop")
when { principal in Group::"analysts" || principal in Group::"clerks" };
"#;

const DESK: &str = r#"
@id("desk-seen") permit (principal, action == Action::"discover", resource in Domain::"desk");
@id("desk-read") permit (principal, action == Action::"read", resource in Domain::"desk") unless { resource in Tag::"pii" };
@id("desk-hashed") @mask("hmac(bulb)")
permit (principal in Group::"analysts", action == Action::"read_masked", resource in Domain::"desk");
@id("desk-raw") permit (principal in Group::"clerks", action == Action::"read", resource in Tag::"pii");
"#;

fn schema(columns: [(&str, PrimitiveType); 4]) -> Schema {
    let fields = columns.into_iter().zip(1..);
    let fields = fields.map(|((name, kind), id)| NestedField::optional(id, name, Type::Primitive(kind)).into());
    Schema::builder().with_fields(fields.collect::<Vec<_>>()).build().unwrap()
}

async fn mesh() -> (TempDir, Arc<Engine>) {
    use PrimitiveType::{Long, String};
    let dir = tempfile::tempdir().unwrap();
    let mesh = json!({
        "mesh": "two", "groups": ["analysts", "clerks"], "keys": { "bulb": "${file:secrets/bulb}" },
        "tags": {
            "pii": {}, "id.customer": { "pattern": "^C" }, "id.order": { "pattern": "^O" }, "id.seat": { "pattern": "^[0-9]+$" },
        },
    });
    let users: [(&str, &[&str], Value); 3] =
        [("ana", &["analysts"], json!({})), ("mia", &["clerks"], json!({})), ("ben", &[], json!({}))];
    let people = schema([("id", String), ("mark", String), ("seat", String), ("trade", String)]);
    let tickets = schema([("customer", String), ("mark", String), ("seat", Long), ("id", String)]);
    let domains = [
        Domain { name: "shop", tables: &[("people", people.clone())], policies: SHOP },
        Domain { name: "desk", tables: &[("tickets", tickets.clone())], policies: DESK },
    ];
    own::write_mesh(dir.path(), mesh, &users, &domains);
    fs::write(dir.path().join("secrets/bulb"), "tulip").unwrap();
    for (file, tags) in [
        ("shop/products/people", [Some("id.customer"), Some("pii"), Some("id.seat"), Some("id.order")]),
        ("desk/products/tickets", [Some("id.customer"), Some("pii"), Some("id.seat"), None]),
    ] {
        let path = dir.path().join(format!("{file}.odcs.yaml"));
        let mut contract: Value = serde_json::from_str(&fs::read_to_string(&path).unwrap()).unwrap();
        for (place, tag) in tags.into_iter().enumerate().filter_map(|(place, tag)| Some((place, tag?))) {
            contract["schema"][0]["properties"][place]["tags"] = json!([tag]);
        }
        fs::write(path, contract.to_string()).unwrap();
    }
    let derived = json!({
        "apiVersion": "v3.1.0", "kind": "DataContract", "id": "marks", "name": "marks", "version": "1.0.0", "status": "active",
        "schema": [{
            "name": "marks", "properties": [{ "name": "mark", "physicalType": "string", "tags": ["pii"] }],
            "customProperties": [{ "property": "polder.query", "value": "SELECT mark FROM shop.people" }],
        }],
    });
    fs::write(dir.path().join("desk/products/marks.odcs.yaml"), derived.to_string()).unwrap();
    let engine = own::start(dir.path());
    for (domain, table, schema) in [("shop", "people", people), ("desk", "tickets", tickets)] {
        own::create(own::catalog(&engine, domain).await.as_ref(), table, &schema).await;
    }
    (dir, engine)
}

/// What is said of comparisons in a statement.
async fn told(engine: &Arc<Engine>, user: &str, sql: &str) -> Vec<String> {
    let principal = engine.mesh().principal(user).unwrap();
    let planned = engine.plan(&principal, sql, &Pins::new()).await.unwrap_or_else(|error| panic!("{sql}: {error}"));
    planned.notices().iter().filter(|notice| notice.contains("compared")).cloned().collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn who_compares_what_is_not_the_same_is_told() {
    let (_dir, engine) = mesh().await;
    let joined = |on: &str| format!("SELECT count(*) FROM shop.people p JOIN desk.tickets t ON {on}");
    let different = "`shop.people.trade` (an `id.order`) is compared with `desk.tickets.customer` (an `id.customer`): \
                     they identify different things";
    for (user, on, expect) in [
        ("ana", "p.id = t.customer", None),
        ("ana", "p.mark = t.mark", None),
        ("ana", "p.trade = t.id", None),
        ("ana", "p.trade = t.customer", Some(different)),
        ("ana", "(p.trade, 1) = (t.customer, 1)", Some(different)),
        ("ana", "coalesce(p.trade, '-') = t.customer", Some(different)),
        ("ana", "lower(p.trade) = t.customer", None),
        (
            "mia",
            "p.mark = t.mark",
            Some(
                "`shop.people.mark` (masked with `hmac(bulb)`) is compared with `desk.tickets.mark` (raw): no values match",
            ),
        ),
        (
            "ana",
            "p.seat = t.seat",
            Some(
                "`shop.people.seat` (string) is compared with `desk.tickets.seat` (long): both are an `id.seat` and are of \
                 different types",
            ),
        ),
        (
            "ben",
            "p.id = t.id",
            Some(
                "`shop.people.id` is compared with `desk.tickets.id`: one is an `id.customer`, and the other does not say \
                 what it identifies",
            ),
        ),
    ] {
        assert_eq!(told(&engine, user, &joined(on)).await, expect.into_iter().collect::<Vec<_>>(), "{user}: {on}");
    }
    let within = "SELECT id FROM shop.people WHERE trade IN (SELECT customer FROM desk.tickets)";
    assert_eq!(told(&engine, "ben", within).await, [different]);
    let either = "(SELECT trade AS k FROM shop.people UNION ALL SELECT id FROM shop.people)";
    let united = format!("SELECT count(*) FROM {either} p JOIN desk.tickets t ON p.k = t.customer");
    assert_eq!(told(&engine, "ana", &united).await, [different]);
    let beneath = "SELECT 1 FROM desk.marks m JOIN desk.tickets t ON m.mark = t.mark";
    assert!(told(&engine, "mia", beneath).await.is_empty(), "what the column is made of is masked, and told as such");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_denied_is_compared_with_nothing() {
    let (_dir, engine) = mesh().await;
    let ben = engine.mesh().principal("ben").unwrap();
    let error = async |sql: &str| engine.plan(&ben, sql, &Pins::new()).await.unwrap_err();
    let over = "FROM shop.people p JOIN desk.tickets t ON";
    let alone = error(&format!("SELECT p.mark {over} p.id = t.customer")).await;
    let joined = error(&format!("SELECT count(*) {over} p.mark = t.customer")).await;
    assert_eq!((joined.class, &joined.message, &joined.help), (Class::Denied, &alone.message, &alone.help));
}

#[tokio::test(flavor = "multi_thread")]
async fn it_is_said_again_when_a_plan_is_used_again() {
    let (_dir, engine) = mesh().await;
    let sql = "SELECT id FROM shop.people WHERE mark = trade";
    let first = told(&engine, "mia", sql).await;
    assert_eq!(first.len(), 1, "{first:?}");
    assert_eq!(told(&engine, "mia", sql).await, first);
    assert!(engine.in_use().contains("polder_plans_used_again_total 1\n"), "{}", engine.in_use());
}
