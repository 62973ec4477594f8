//! Contracts held against what was seen of their tables.

use super::*;
use crate::contract::{Check, Literal};
use crate::document::Severity;
use crate::live::{Measured, Table, drift, held, quality, unreachable};

fn told(files: &Files, table: Table) -> Vec<(&'static str, Severity, String)> {
    let mesh = files.load().unwrap();
    let found = held(mesh.find("shop.customers"), &table).into_iter();
    found.map(|finding| (finding.code, finding.severity, finding.message)).collect()
}

fn texts<const N: usize>(names: [&str; N]) -> Vec<String> {
    names.map(str::to_owned).to_vec()
}

#[test]
fn a_table_that_keeps_its_contract_is_told_nothing() {
    let table = Table { keys: texts(["id"]), nulls: vec![("id".to_owned(), Some(0))], ..Table::default() };
    assert_eq!(told(&Files::valid(), table), []);
    assert_eq!(told(&Files::valid(), Table::default()), [], "a table need not say what it is told apart by");
}

#[test]
fn nulls_where_none_are_promised_are_counted() {
    let nulls = |nulls| told(&Files::valid(), Table { nulls: vec![("id".to_owned(), nulls)], ..Table::default() });
    let found = nulls(Some(3));
    assert_eq!((found[0].0, found[0].1), ("live/nulls", Severity::Error));
    assert!(found[0].2.contains("3 of its values"), "{found:?}");
    assert_eq!((nulls(None)[0].0, nulls(None)[0].1), ("live/required", Severity::Warning));
}

#[test]
fn keys_and_partitions_are_compared() {
    let keys = told(&Files::valid(), Table { keys: texts(["town", "id"]), ..Table::default() });
    assert_eq!(keys[0].0, "live/key");
    assert!(keys[0].2.contains("by `id`, `town`, and the contract by `id`"), "{keys:?}");
    let declared = |text: &str| {
        let files = Files::valid().change("shop/products/customers.odcs.yaml", "physicalName: town,", text);
        told(&files, Table { partitions: texts(["town"]), ..Table::default() })
    };
    assert_eq!(declared("physicalName: town,"), []);
    assert_eq!(declared("physicalName: town, partitioned: true, partitionKeyPosition: 1,"), []);
    let other = declared("partitioned: true,");
    assert!(other[0].2.contains("partitioned by `town`, and the contract says by `city`"), "{other:?}");
}

#[test]
fn what_is_in_drift_or_silent_is_not_served() {
    let mesh = Files::valid().load().unwrap();
    let product = mesh.find("shop.customers");
    let place = product.contract.columns[1].place.clone();
    let table = Table { drifts: vec![(place.clone(), "column `email` is missing".into())], ..Table::default() };
    let found = held(product, &table);
    let name = found[0].product.clone().unwrap();
    assert_eq!((found[0].code, name.to_string().as_str()), ("live/drift", "shop.customers@1"));
    assert_eq!(found[0], drift(&name, &place, "column `email` is missing"));
    let shop = mesh.domain(product.name.domain()).unwrap();
    let silent = unreachable(shop, "the lake of domain `shop` does not answer", 2);
    assert_eq!((silent.severity, silent.place), (Severity::Error, shop.catalog_place.clone()));
    assert!(silent.message.ends_with("2 products of `shop` could not be looked at"), "{}", silent.message);
}

const CONTRACT: &str = "shop/products/customers.odcs.yaml";

/// A mesh whose column `city` has these rules.
fn ruled(rules: &str) -> Files {
    Files::valid().change(CONTRACT, "physicalName: town,", &format!("physicalName: town, quality: [{rules}],"))
}

#[test]
fn rules_of_quality_are_held_against_their_numbers() {
    let measured = |rule: &str, measured: &Measured| {
        let mesh = ruled(rule).load().unwrap();
        let product = mesh.find("shop.customers");
        let name = ProductRef { product: product.name.clone(), major: None };
        quality(&name, &product.contract.quality[0], measured)
    };
    let check = |rule: &str, number: f64| {
        measured(rule, &Measured::Number { number, count: true }).map(|found| (found.code, found.severity))
    };
    let failed = |severity| Some(("quality/failed", severity));
    let few = "{ metric: nullValues, mustBeLessThan: 5, unit: percent }";
    assert_eq!((check(few, 4.9), check(few, 5.0)), (None, failed(Severity::Warning)));
    let none = "{ metric: nullValues, mustBe: 0, severity: error }";
    assert_eq!((check(none, 0.0), check(none, 1.0)), (None, failed(Severity::Error)));
    let rows = "{ metric: rowCount, mustBeBetween: [10, 20] }";
    assert_eq!((check(rows, 10.0), check(rows, 21.0)), (None, failed(Severity::Warning)));
    assert_eq!(check("{ metric: rowCount, mustNotBeBetween: [1, 2] }", 2.0), failed(Severity::Warning));
    let both = "{ metric: rowCount, mustBeGreaterThan: 1, mustBeLessThan: 3, severity: info }";
    assert_eq!((check(both, 2.0), check(both, 3.0)), (None, failed(Severity::Note)));
    for (rule, severity, said) in [
        (few, Severity::Warning, "the table has `city`"),
        (none, Severity::Error, "`mustBe: 0` holds"),
        (both, Severity::Note, "can be read; until then"),
        ("{ type: sql, query: SELECT 1, mustBe: 1, severity: error }", Severity::Error, "run its query"),
        ("{ metric: invalidValues, arguments: { validValues: [1] }, mustBe: 0 }", Severity::Warning, "can have"),
    ] {
        let found = measured(rule, &Measured::Unknown("the lake is gone".into())).unwrap();
        assert_eq!((found.code, found.severity), ("quality/unmeasured", severity), "{rule}");
        assert!(found.message.ends_with("could not be counted: the lake is gone"), "{}", found.message);
        assert!(found.help.as_deref().unwrap().contains(said), "{:?}", found.help);
    }
    let message = |rule: &str| measured(rule, &Measured::Number { number: 4.0, count: true }).unwrap().message;
    let nulls = "metric: nullValues, mustBe: 0";
    for (named, told) in [
        ("", ""),
        (", name: known, id: q1, dimension: completeness", " (rule `known`, dimension `completeness`)"),
        (", id: q1", " (rule `q1`)"),
        (", dimension: cp", " (dimension `cp`)"),
    ] {
        let said = message(&format!("{{ {nulls}{named} }}"));
        assert!(said.starts_with(&format!("the NULLs of `city` in `shop.customers`{told}: 4, ")), "{said}");
    }
    let sql = "{ type: sql, name: largest, query: \"SELECT max(id) FROM ${table}\", mustBe: 1 }";
    let found = measured(sql, &Measured::Number { number: 4711.0, count: false }).unwrap().message;
    assert!(found.contains("rule `largest`") && !found.contains("4711"), "no value is told: {found}");
}

#[test]
fn rules_of_quality_are_read_as_the_standard_writes_them() {
    let read = |rules: &str| {
        let mesh = ruled(rules).load().unwrap();
        let read = mesh.find("shop.customers").contract.quality.clone();
        (read, mesh.findings().iter().map(|finding| finding.code).collect::<Vec<_>>())
    };
    let invalid = |values: &[&str], pattern: Option<&str>| Check::Invalid {
        values: (!values.is_empty()).then(|| values.iter().map(|value| Literal::Text((*value).to_owned())).collect()),
        pattern: pattern.map(str::to_owned),
    };
    for (rule, check) in [
        ("{ metric: invalidValues, arguments: { validValues: [a, b] }, mustBe: 0 }", invalid(&["a", "b"], None)),
        ("{ metric: invalidValues, arguments: { pattern: '^x+$' }, mustBe: 0 }", invalid(&[], Some("^x+$"))),
        (
            "{ metric: missingValues, arguments: { missingValues: [null, '', 0] }, mustBe: 0 }",
            Check::Missing(vec![Literal::Text(String::new()), Literal::Plain("0".into())]),
        ),
        ("{ metric: duplicateValues, mustBe: 0 }", Check::Duplicates(vec!["city".into()])),
        ("{ rule: duplicateCount, mustBe: 0 }", Check::Duplicates(vec!["city".into()])),
        ("{ rule: validValues, validValues: [a] }", invalid(&["a"], None)),
        ("{ type: sql, query: SELECT 1, mustBe: 1 }", Check::Sql("SELECT 1".into())),
    ] {
        let (rules, codes) = read(rule);
        assert_eq!((rules.len(), codes.as_slice()), (1, &[] as &[&str]), "{rule}");
        assert_eq!(rules[0].check, check, "{rule}");
    }
    let (rules, _) = read("{ metric: nullValues, mustBe: 0, name: known, dimension: completeness, unit: percent }");
    assert_eq!((rules[0].name.as_deref(), rules[0].dimension.as_deref()), (Some("known"), Some("completeness")));
    assert!(rules[0].percent);
    for kept in ["{ type: text, description: it is good }", "{ type: custom, engine: soda, implementation: x }"] {
        assert_eq!(read(kept), (vec![], vec![]), "{kept} is not ours to run");
    }
    assert_eq!(read("{ metric: freshness, mustBe: 0 }"), (vec![], vec!["contract/metric"]));
    for broken in [
        "{ metric: rowCount }",
        "{ metric: rowCount, mustBe: many }",
        "{ metric: rowCount, mustBeBetween: [1] }",
        "{ metric: invalidValues, mustBe: 0 }",
        "{ metric: invalidValues, arguments: { pattern: '(' }, mustBe: 0 }",
    ] {
        assert_eq!(read(broken), (vec![], vec!["contract/quality"]), "{broken}");
    }
    let rule = "quality: [{ metric: duplicateValues, arguments: { properties: [citi] }, mustBe: 0 }]\n    properties:";
    let files = Files::valid();
    let text = files.files()[CONTRACT].replacen("properties:", rule, 1);
    let mesh = files.with(CONTRACT, text).load().unwrap();
    assert_eq!(mesh.findings()[0].code, "contract/quality");
    assert_eq!(mesh.findings()[0].help.as_deref(), Some("did you mean `city`?"));
}
