//! Columns that hold what a tag stands for: found by values and by names, and told without a value.

use super::*;
use crate::contract::Column;
use crate::detect::Sample;
use crate::document::Severity;

const MAILS: [&str; 6] =
    ["ann@x.example", "bob@x.example", "eve@x.example", "x@y.example", "q@y.example", "zoe@z.example"];
const CARDS: [&str; 6] = [
    "4111111111111111",
    "5500000000000004",
    "378282246310005",
    "4012888888881881",
    "6011111111111117",
    "5105105105105100",
];

fn told(files: &Files, column: &str, values: &[&str]) -> Vec<Finding> {
    let mesh = files.load().unwrap();
    let product = mesh.find("shop.customers");
    let mut path: Vec<&Column> = Vec::new();
    for name in column.split('.') {
        let columns = path.last().map_or(&product.contract.columns, |column| &column.fields);
        path.push(columns.iter().find(|column| column.name == name).unwrap());
    }
    let detectors = mesh.detectors();
    let mut sample = Sample::new(&detectors);
    values.iter().for_each(|value| sample.look(value));
    let mut found = mesh.untagged(product, &path, &sample);
    found.extend(mesh.misshapen(product, &path, &sample));
    for finding in &found {
        let text = format!("{finding:?}");
        assert!(values.iter().all(|value| !text.contains(value)), "no value is told: {text}");
    }
    found
}

#[test]
fn an_untagged_column_is_told_by_its_values() {
    let found = told(&Files::valid(), "city", &MAILS);
    assert_eq!((found[0].code, found[0].severity, found.len()), ("detect/untagged", Severity::Error, 1));
    assert!(found[0].message.contains("6 of 6 sampled values of the column `city`"), "{}", found[0].message);
    assert!(found[0].help.as_deref().unwrap().contains("`tags: [pii.email]`"));
    assert_eq!(found[0].place.file.as_ref(), "shop/products/customers.odcs.yaml");
}

#[test]
fn an_identifier_whose_values_look_otherwise_is_told() {
    let ids = ["C00000001", "C00000002", "K00000003", "C4"];
    let found = told(&Files::valid(), "id", &ids);
    assert_eq!((found[0].code, found[0].severity, found.len()), ("standards/identifier", Severity::Warning, 1));
    let message =
        "2 of 4 sampled values of the column `id` of `shop.customers` do not match the pattern of `id.customer`";
    assert_eq!(found[0].message, message);
    let strict = Files::valid().change("mesh.yaml", "  require:", "  severity: { identifiers: error }\n  require:");
    assert_eq!(told(&strict, "id", &ids)[0].severity, Severity::Error);
    assert_eq!(told(&Files::valid(), "id", &ids[..2]), []);
    assert_eq!(told(&Files::valid(), "city", &ids), [], "who is tagged otherwise may be anything");
}

#[test]
fn what_is_tagged_is_in_order() {
    assert_eq!(told(&Files::valid(), "email", &MAILS), []);
    assert_eq!(told(&Files::valid(), "home.street", &MAILS), [], "the tag above stands for those below");
    assert_eq!(told(&Files::valid(), "home.country", &MAILS).len(), 1);
}

#[test]
fn what_no_tag_detects_is_a_warning_where_nothing_protects_it() {
    let found = told(&Files::valid(), "city", &CARDS);
    assert_eq!((found[0].severity, found.len()), (Severity::Warning, 1));
    assert_eq!(told(&Files::valid(), "email", &CARDS), []);
    let detected = Files::valid().change("mesh.yaml", "  id.customer:", "  pay: { detect: card }\n  id.customer:");
    assert_eq!(told(&detected, "city", &CARDS)[0].severity, Severity::Error);
    assert_eq!(told(&detected, "email", &CARDS)[0].severity, Severity::Warning, "it is protected as something else");
}

#[test]
fn a_pattern_of_ones_own_finds_what_it_matches() {
    let own = "{ type: string, detect: { pattern: \"^C[0-9]{8}$\" }, ";
    let files = Files::valid().change("mesh.yaml", "{ type: string, ", own);
    let ids = ["C00000001", "C00000002", "C00000003", "C00000004", "C00000005"];
    assert!(told(&files, "city", &ids)[0].message.contains("what the tag `id.customer` detects"));
    assert_eq!(told(&files, "id", &ids), []);
}

#[test]
fn a_name_is_a_warning_without_any_value() {
    let named = |name: &str| {
        let files =
            Files::valid().change("shop/products/customers.odcs.yaml", "name: city,", &format!("name: {name},"));
        let mesh = files.load().unwrap();
        let found = mesh.findings().iter().filter(|finding| finding.code == "detect/name");
        found.map(|finding| (finding.severity, finding.message.clone())).collect::<Vec<_>>()
    };
    assert_eq!(named("city"), []);
    assert_eq!(named("e_mail_2").len(), 1);
    assert_eq!(named("e_mail_2")[0].0, Severity::Warning);
    assert_eq!(named("phone"), [], "this mesh detects none");
    assert_eq!(named("mail_count"), []);
}

#[test]
fn names_of_people_and_tax_numbers_are_known_by_their_columns() {
    let tags = "  people.name: { detect: person-name }\n  people.tax: { detect: tax-id }\n  id.customer:";
    let files = Files::valid().change("mesh.yaml", "  id.customer:", tags);
    let mesh = files.load().unwrap();
    for (column, wanted) in [
        ("full_name", vec!["people.name"]),
        ("last_name", vec!["people.name"]),
        ("tax_id", vec!["people.tax"]),
        ("vat_number", vec!["people.tax"]),
        ("product_name", vec![]),
        ("name", vec![]),
        ("vat_rate", vec![]),
    ] {
        assert_eq!(mesh.tags_for_name(column), wanted, "{column}");
        let named = format!("name: {column},");
        let mesh = files.clone().change("shop/products/customers.odcs.yaml", "name: city,", &named).load().unwrap();
        let told: Vec<&str> = mesh.findings().iter().map(|finding| finding.code).collect();
        assert_eq!(told, if wanted.is_empty() { vec![] } else { vec!["detect/name"] }, "{column}");
    }
    let numbers = ["DE123456789", "FR12345678901", "NL123456789B01", "PL1234567890", "IT12345678901"];
    let found = told(&files, "city", &numbers);
    assert!(found[0].help.as_deref().unwrap().contains("`tags: [people.tax]`"), "{found:?}");
    assert_eq!(told(&files, "city", &["C1", "DE123456789", "X", "Y", "Z"]), []);
}
