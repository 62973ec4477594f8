//! Contracts held against what was seen of their tables.

use super::*;
use crate::document::Severity;
use crate::live::{Figures, Table, drift, held, unreachable};

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

#[test]
fn rules_of_quality_are_held_against_figures() {
    let contract = "shop/products/customers.odcs.yaml";
    let check = |rule: &str, rows: Option<u64>, nulls: Option<u64>| {
        let files =
            Files::valid().change(contract, "physicalName: town,", &format!("physicalName: town, quality: [{rule}],"));
        let nulls = nulls.map(|nulls| ("city".to_owned(), nulls)).into_iter().collect();
        let found = told(&files, Table { figures: Some(Figures { rows, nulls }), ..Table::default() });
        found.into_iter().map(|(code, severity, _)| (code, severity)).next()
    };
    let failed = |severity| Some(("quality/failed", severity));
    let few = "{ metric: nullValues, mustBeLessThan: 5, unit: percent }";
    assert_eq!(check(few, Some(100), Some(4)), None);
    assert_eq!(check(few, Some(100), Some(5)), failed(Severity::Warning));
    assert_eq!(check(few, None, Some(5)), Some(("quality/unmeasured", Severity::Note)));
    let none = "{ metric: nullValues, mustBe: 0, severity: error }";
    assert_eq!((check(none, None, Some(0)), check(none, None, Some(1))), (None, failed(Severity::Error)));
    let rows = "{ metric: rowCount, mustBeBetween: [10, 20] }";
    assert_eq!((check(rows, Some(10), None), check(rows, Some(21), None)), (None, failed(Severity::Warning)));
    assert_eq!(check("{ metric: rowCount, mustNotBeBetween: [1, 2] }", Some(2), None), failed(Severity::Warning));
    assert_eq!(check("{ type: sql, query: SELECT 1, mustBe: 2 }", Some(2), None), None);
    for unbound in
        ["{ metric: rowCount }", "{ metric: rowCount, mustBe: many }", "{ metric: rowCount, mustBeBetween: [1] }"]
    {
        let files = Files::valid().change(
            contract,
            "physicalName: town,",
            &format!("physicalName: town, quality: [{unbound}],"),
        );
        let mesh = files.load().unwrap();
        assert_eq!(mesh.findings()[0].code, "contract/quality", "{unbound}");
    }
}
