//! Contracts keep what nobody looks at, and can be written again.

use super::*;
use crate::diff::{State, diff};
use crate::document::Value;

const MESH: &str = "mesh: whole\ntags: { logistics: {}, stock: {} }\n";
const DOMAIN: &str = "name: depot\nkind: shared\nowner: { team: depot }\n\
                      catalog: { type: metadata, tables: { stock.parcels: \"s3://bucket/v1.metadata.json\" } }\n";
const WHOLE: [(&str, &str, &str); 3] = [
    ("depot.parcels", "parcels", include_str!("odcs/whole_v3_0.odcs.yaml")),
    ("depot.tours", "tours", include_str!("odcs/whole_v3_1.odcs.yaml")),
    ("depot.shifts", "shifts", include_str!("odcs/whole_v3_2.odcs.yaml")),
];

fn mesh(contract: impl Fn(&str) -> String) -> Files {
    let files = Files::default().with("mesh.yaml", MESH).with("depot/domain.yaml", DOMAIN);
    WHOLE
        .iter()
        .fold(files, |files, (_, name, text)| files.with(&format!("depot/products/{name}.odcs.yaml"), contract(text)))
}

/// How many values a document has.
fn count(value: &Value) -> usize {
    match value {
        Value::List(items) => items.iter().map(count).sum(),
        Value::Map(entries) => entries.iter().map(|(_, value)| count(value)).sum(),
        Value::Null | Value::Plain(_) | Value::Text(_) => 1,
    }
}

#[test]
fn every_section_of_the_standard_loads_without_a_finding() {
    let mesh = mesh(str::to_owned).load().unwrap();
    assert_eq!(mesh.findings(), []);
    assert_eq!(mesh.products().count(), WHOLE.len());
}

#[test]
fn what_nobody_looks_at_survives() {
    let mesh = mesh(str::to_owned).load().unwrap();
    let says = |product: &str, path: &[&str]| {
        let at = |value: &Value, key: &&str| match (value, key.parse::<usize>()) {
            (Value::List(items), Ok(nth)) => items.get(nth).cloned(),
            (value, _) => value.get(key).cloned(),
        };
        let whole = Value::clone(&mesh.find(product).contract.document);
        match path.iter().try_fold(whole, |value, key| at(&value, key)) {
            Some(Value::Plain(text) | Value::Text(text)) => text.to_string(),
            other => format!("{other:?}"),
        }
    };
    assert_eq!(says("depot.parcels", &["price", "priceAmount"]), "9.90");
    assert_eq!(says("depot.parcels", &["team", "1", "replacedByUsername"]), "ada");
    assert_eq!(says("depot.parcels", &["servers", "1", "port"]), "5432");
    assert_eq!(says("depot.parcels", &["customProperties", "1", "value", "3", "deep"]), "Some(Null)");
    assert_eq!(says("depot.tours", &["team", "members", "0", "customProperties", "0", "value"]), "2020");
    assert_eq!(says("depot.tours", &["schema", "0", "quality", "1", "mustBe"]), "0");
    assert_eq!(says("depot.shifts", &["context", "constraints", "0", "constraint"]), "no names");
    assert_eq!(says("depot.shifts", &["schema", "0", "properties", "0", "enum", "1", "value"]), "late");
}

#[test]
fn a_contract_that_is_written_again_is_the_same_contract() {
    let before = mesh(str::to_owned).load().unwrap();
    let written = mesh(|text| Value::parse("a.odcs.yaml", text).unwrap().to_yaml());
    let after = written.load().unwrap();
    assert_eq!(after.findings(), []);
    for (product, _, text) in WHOLE {
        let (before, after) = (&before.find(product).contract, &after.find(product).contract);
        assert_eq!(before.document, after.document);
        assert!(count(&before.document) > 40, "{product} is read in full");
        assert_ne!(before.document.to_yaml(), *text, "its comments and its form are not kept");
        assert_eq!(before.document.to_yaml(), after.document.to_yaml());
    }
    let original = mesh(str::to_owned);
    let [old, new] =
        [(&before, &original), (&after, &written)].map(|(mesh, files)| State::from_files(mesh, files.files()).unwrap());
    let changes = diff(&old, &new);
    assert!(changes.contracts.is_empty() && changes.access.is_empty(), "{changes:?}");
}

#[test]
fn the_values_of_a_map_have_columns_of_their_own() {
    let mesh = mesh(str::to_owned).load().unwrap();
    let breaks = mesh.find("depot.shifts").contract.columns.iter().find(|column| column.name == "breaks").unwrap();
    assert_eq!((breaks.kind.to_string(), breaks.fields[0].name.as_str()), ("map".to_owned(), "bench"));
}

#[test]
fn contracts_of_one_file_share_its_document() {
    let more =
        "  - name: crates\n    physicalName: stock.crates\n    properties: [{ name: id, logicalType: string }]\n";
    let mesh = mesh(str::to_owned).append("depot/products/tours.odcs.yaml", more).load().unwrap();
    let [tours, crates] = ["depot.tours", "depot.crates"].map(|name| &mesh.find(name).contract.document);
    assert!(std::sync::Arc::ptr_eq(tours, crates));
}
