//! A small mesh for scripts, with what Packly lacks: names that are not plain, row rules, and a table with a past.
//!
//! `hafen.schiffe` had six ships at first, which its tag `spring` keeps. Then its column `captain` became `skipper`, its
//! tonnage long, its `berth` was dropped and another `berth` added, as was `crew`, which the contract does not know; three
//! ships came in after that. `hafen.liegeplätze` is served from the same table by a contract that still means the old
//! `berth`. `hafen."Größen"` has names in two cases and three scripts.
//!
//! The `kontor` sees all of it. The `lotse` sees the ships of one flag and their skippers masked; `fremd` finds the ships
//! and reads nothing of them.

use std::fs;
use std::net::SocketAddr;
use std::sync::{Arc, OnceLock};

use datafusion::arrow::array::{ArrayRef, Int32Array, Int64Array, StringArray};
use datafusion::arrow::datatypes::DataType;
use iceberg::spec::{NestedField, PrimitiveType as P, Schema, SnapshotReference, SnapshotRetention, Type};
use polder::flight::client::{Credentials, Remote};
use polder::server::{self, Running};
use polder_catalog::secret::Secret;
use serde_json::{Value, json};
use tempfile::TempDir;

use crate::own::{self, Domain};
use crate::packly::loopback;

const POLICIES: &str = r#"
@id("ships-are-found") permit (principal, action == Action::"discover", resource == Product::"hafen.schiffe");
@id("all-is-found")
permit (principal in Group::"hafenleute", action == Action::"discover", resource in Domain::"hafen");
@id("kontor-reads") permit (principal in Group::"kontor", action == Action::"read", resource in Domain::"hafen");
@id("kontor-rows") permit (principal in Group::"kontor", action == Action::"read_rows", resource in Domain::"hafen");

@id("lotse-reads") permit (principal in Group::"lotsen", action == Action::"read", resource in Domain::"hafen")
unless { resource in Tag::"person" || resource in Tag::"fracht" };
@id("lotse-skippers") @mask("mask-alphanum")
permit (principal in Group::"lotsen", action == Action::"read_masked", resource in Tag::"person");
@id("lotse-flag") @filter("flag = principal.flag")
permit (principal in Group::"lotsen", action == Action::"read_rows", resource == Product::"hafen.schiffe");
@id("lotse-größen") @filter("\"Klasse\" <> 'C' AND \"größe\" < 90")
permit (principal in Group::"lotsen", action == Action::"read_rows", resource == Product::"hafen.Größen");
"#;

/// The table as it was at first.
fn early() -> Schema {
    fields(vec![
        (1, "id", P::Long),
        (2, "name", P::String),
        (3, "captain", P::String),
        (4, "tonnage", P::Int),
        (5, "flag", P::String),
        (6, "berth", P::String),
    ])
}

/// The table as it is.
fn late() -> Schema {
    fields(vec![
        (1, "id", P::Long),
        (2, "name", P::String),
        (3, "skipper", P::String),
        (4, "tonnage", P::Long),
        (5, "flag", P::String),
        (7, "berth", P::String),
        (8, "crew", P::Int),
    ])
}

fn sizes() -> Schema {
    fields(vec![
        (1, "Klasse", P::String),
        (2, "klasse", P::String),
        (3, "größe", P::Int),
        (4, "Straße", P::String),
        (5, "select", P::String),
        (6, "ключ", P::String),
        (7, "two words", P::String),
        (8, "has\"quote", P::String),
    ])
}

fn fields(fields: Vec<(i32, &str, P)>) -> Schema {
    let field = |(id, name, kind)| Arc::new(NestedField::optional(id, name, Type::Primitive(kind)));
    Schema::builder().with_fields(fields.into_iter().map(field).collect::<Vec<_>>()).build().unwrap()
}

/// A column of a file with so many rows, the first of which has the number `first`.
fn fill(name: &str, kind: &DataType, first: i64, rows: i64) -> ArrayRef {
    let numbers = first..first + rows;
    let texts =
        |of: &dyn Fn(i64) -> String| -> ArrayRef { Arc::new(StringArray::from_iter_values(numbers.clone().map(of))) };
    match (name, kind) {
        ("flag", _) => texts(&|n| ["NL", "DE", "PA"][n as usize % 3].to_owned()),
        ("captain" | "skipper", _) => texts(&|n| format!("{} {n}", ["Ann", "Bob-Lee", "Çelik"][n as usize % 3])),
        ("berth", _) => texts(&|n| format!("{} {n}", if first == 1 { "old" } else { "new" })),
        ("Klasse", _) => texts(&|n| ["A", "B", "C"][n as usize % 3].to_owned()),
        (_, DataType::Int64) => {
            Arc::new(Int64Array::from_iter_values(numbers.map(|n| if name == "id" { n } else { n * 1000 })))
        }
        (_, DataType::Int32) => Arc::new(Int32Array::from_iter_values(numbers.map(|n| n as i32 * 10))),
        _ => texts(&|n| format!("{name} {n}")),
    }
}

/// A contract in which some columns have more keys.
fn contract(table: &str, schema: &Schema, more: &[(&str, Value)]) -> Value {
    let mut contract = own::contract("hafen", table, schema);
    for property in contract["schema"][0]["properties"].as_array_mut().unwrap() {
        let name = property["name"].clone();
        for (_, keys) in more.iter().filter(|(of, _)| name == *of) {
            keys.as_object().unwrap().iter().for_each(|(key, value)| property[key] = value.clone());
        }
    }
    contract
}

struct Harbour {
    address: SocketAddr,
    _dir: TempDir,
    _running: Running,
}

async fn start() -> Harbour {
    let dir = tempfile::tempdir().unwrap();
    let mesh = json!({
        "mesh": "harbour",
        "groups": ["kontor", "lotsen", "hafenleute"],
        "attributes": { "flag": "String" },
        "tags": { "person": { "description": "a person" }, "fracht": { "description": "what is carried" } },
    });
    let users: [(&str, &[&str], Value); 3] = [
        ("kontor", &["kontor", "hafenleute"], json!({})),
        ("lotse", &["lotsen", "hafenleute"], json!({ "flag": "NL" })),
        ("fremd", &[], json!({})),
    ];
    let tables = [("schiffe", early()), ("Größen", sizes())];
    let domain = Domain { name: "hafen", tables: &tables, policies: POLICIES };
    own::write_mesh(dir.path(), mesh, &users, &[domain]);
    let products = dir.path().join("hafen/products");
    let seen: Vec<_> = late().as_struct().fields().iter().filter(|field| field.name != "crew").cloned().collect();
    let seen = Schema::builder().with_fields(seen).build().unwrap();
    let person = ("skipper", json!({ "tags": ["person"] }));
    let ships = contract("schiffe", &seen, std::slice::from_ref(&person));
    fs::write(products.join("schiffe.odcs.yaml"), format!("{ships:#}")).unwrap();
    let old = ("berth", json!({ "customProperties": [{ "property": "polder.field_id", "value": 6 }] }));
    let mut berths = contract("liegeplätze", &seen, &[person, old]);
    berths["schema"][0]["physicalName"] = json!("own.schiffe");
    fs::write(products.join("liegeplätze.odcs.yaml"), format!("{berths:#}")).unwrap();
    let sized = contract(
        "Größen",
        &sizes(),
        &[("Straße", json!({ "tags": ["person"] })), ("ключ", json!({ "tags": ["fracht"] }))],
    );
    fs::write(products.join("Größen.odcs.yaml"), format!("{sized:#}")).unwrap();

    let engine = own::start(dir.path());
    let catalog = own::catalog(&engine, "hafen").await;
    let catalog = catalog.as_ref();
    let database = dir.path().join("lake/hafen/catalog.db");
    own::create(catalog, "schiffe", &early()).await;
    own::append(catalog, "schiffe", |name, kind| fill(name, kind, 1, 6)).await;
    let table = own::load(catalog, "schiffe").await;
    let spring = SnapshotReference::new(
        table.metadata().current_snapshot_id().unwrap(),
        SnapshotRetention::Tag { max_ref_age_ms: None },
    );
    let evolve = |builder: iceberg::spec::TableMetadataBuilder| {
        builder.add_current_schema(late()).unwrap().set_ref("spring", spring).unwrap()
    };
    own::change(&table, &database, evolve).await;
    own::append(catalog, "schiffe", |name, kind| fill(name, kind, 7, 3)).await;
    own::create(catalog, "Größen", &sizes()).await;
    own::append(catalog, "Größen", |name, kind| fill(name, kind, 1, 9)).await;

    let options = server::Options { listen: loopback(), http: None, tls: None };
    let running = server::start(engine, options).await.unwrap();
    Harbour { address: running.address, _dir: dir, _running: running }
}

/// A connection as `user`.
pub async fn connect(user: &str) -> Remote {
    static HARBOUR: OnceLock<Harbour> = OnceLock::new();
    let harbour = match HARBOUR.get() {
        Some(harbour) => harbour,
        None => {
            let started = start().await;
            HARBOUR.get_or_init(|| started)
        }
    };
    let credentials = Credentials::Password { user: user.to_owned(), password: Secret::new("guest") };
    Remote::connect(&format!("grpc://{}", harbour.address), credentials, None, None).await.unwrap()
}
