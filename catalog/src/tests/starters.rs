//! Starters load, say what the table says, and name what only people can say.

use std::collections::BTreeSet;

use super::*;
use crate::starter::{Field, Kind, Table, domain, policy, product};

fn field(name: &str, kind: Kind) -> Field {
    let name = name.to_owned();
    Field { name, kind, required: false, description: None, key: None, partition: None, tags: Vec::new() }
}

fn plain(kind: &str) -> Kind {
    Kind::Plain(kind.to_owned())
}

fn orders() -> Table {
    let line = Kind::Struct(vec![field("sku", plain("string")), field("price", plain("decimal(9,2)"))]);
    let fields = vec![
        Field {
            required: true,
            key: Some(1),
            description: Some("its number: unique".into()),
            ..field("id", plain("long"))
        },
        Field { tags: vec!["pii.email".into()], ..field("mail", plain("string")) },
        Field { partition: Some(1), ..field("day", plain("date")) },
        field("lines", Kind::List(Box::new(line.clone()))),
        field("notes", Kind::Map(Box::new(plain("string")), Box::new(line))),
        field("marks", Kind::List(Box::new(Kind::List(Box::new(plain("int")))))),
        field("raw", plain("variant")),
    ];
    Table { name: "people.orders".into(), description: None, fields }
}

fn started() -> Files {
    let mesh = Files::valid().load().unwrap();
    let shop = mesh.domain(&"shop".parse().unwrap()).unwrap();
    let name = ProductRef::parse("shop", "orders").unwrap().product;
    Files::valid().with("shop/products/orders.odcs.yaml", product(&mesh, shop, &name, &orders()))
}

/// The file with every `TODO` answered.
fn said(text: &str) -> String {
    let answer = |line: &str| match line.split_once("\"TODO") {
        Some((key, rest)) if rest.contains("public") => format!("{key}public"),
        Some((key, rest)) if rest.contains("h, d, y") => format!("{key}h"),
        Some((key, rest)) if rest.contains("promises") => format!("{key}4"),
        Some((key, _)) => format!("{key}it is known"),
        None => line.to_owned(),
    };
    text.lines().map(|line| answer(line) + "\n").collect()
}

#[test]
fn what_only_people_can_say_is_named_and_nothing_else_is_wrong() {
    let mesh = started().load().unwrap();
    let codes: BTreeSet<&str> = mesh.findings().iter().map(|finding| finding.code).collect();
    assert_eq!(codes, BTreeSet::from(["document/todo"]), "{:#?}", mesh.findings());
    assert!(mesh.findings().iter().all(|finding| finding.product.is_some()), "the domain is served without it");
    assert_eq!(mesh.domains_out().count(), 0);
    assert!(mesh.product(&ProductRef::parse("shop", "orders@1").unwrap()).is_none());
}

#[test]
fn what_the_table_says_is_in_the_contract() {
    let name = "shop/products/orders.odcs.yaml";
    let files = started();
    let text = said(&files.files()[name]).replace("status: draft", "status: active");
    let mesh = files.with(name, text).load().unwrap();
    assert_eq!(mesh.findings(), []);
    let contract = &mesh.find("shop.orders").contract;
    let columns: Vec<String> =
        contract.columns.iter().map(|column| format!("{} {}", column.name, column.kind)).collect();
    assert_eq!(columns, ["id long", "mail string", "day date", "lines list", "notes map", "marks list", "raw variant"]);
    let [id, mail, day, lines, notes, ..] = contract.columns.as_slice() else { panic!() };
    assert_eq!((id.required, id.key, id.description.as_deref()), (true, Some(1), Some("its number: unique")));
    assert_eq!((mail.tags.contains("pii.email"), mail.classification.as_deref()), (true, Some("restricted")));
    assert_eq!(day.partition, Some(1));
    assert_eq!((lines.fields.len(), notes.fields.len()), (2, 2));
    assert_eq!(contract.support, ["#shop"], "its owner's");
}

#[test]
fn a_policy_masks_what_is_tagged() {
    let name = "shop/products/orders.odcs.yaml";
    let files = started();
    let text = said(&files.files()[name]).replace("status: draft", "status: active");
    let files = files.with(name, text);
    let mesh = files.load().unwrap();
    let written = policy(&mesh, mesh.find("shop.orders"), &["analysts".to_owned()]);
    let mesh = files.with("shop/policies/orders.cedar", written).load().unwrap();
    assert_eq!(mesh.findings(), []);
    let seen = mesh.ask(&mesh.principal("ann").unwrap(), "shop.orders");
    assert!(seen.contains("id raw by shop-orders-analysts-read"), "{seen}");
    assert!(seen.contains("mail sha-256-global by shop-orders-analysts-pii-masked"), "{seen}");
}

#[test]
fn a_domain_begins_with_its_catalog() {
    let name = "stock".parse().unwrap();
    let text = domain(&name, None, "sqlite:lake/stock.db", Some("file:lake/stock"));
    let mesh = Files::valid().with("stock/domain.yaml", text).load().unwrap();
    let found: Vec<&str> = mesh.findings().iter().map(|finding| finding.code).collect();
    assert_eq!(found, ["document/todo", "document/todo"]);
    let text = domain(&name, Some("stock-data"), "https://catalog.example/api", None);
    let mesh = Files::valid().with("stock/domain.yaml", said(&text)).load().unwrap();
    assert_eq!(mesh.findings(), []);
}
