//! Catalogs that restrict: what they demand on top of our own policies, and what of it is refused.

mod naive;

use std::sync::LazyLock;

use serde_json::{Value, json};

use super::dice::Dice;
use super::evaluate::{Cell, Row, shows};
use super::*;
use crate::contract::{Column, PhysicalType};
use crate::document::Place;
use crate::policy::restriction::{Field, POLICY, Unenforced, undeclared};
use crate::policy::{Grants, Mask, Reason, Rows};

fn field(id: i32, name: &str, kind: PhysicalType, fields: Vec<Field>) -> Field {
    Field { id, name: name.to_owned(), kind, required: false, fields }
}

/// A table and a contract of it: `n`, `t` and `d` as they are, `s` with `a` and without `hidden`, `l` and `m` with items,
/// `secret` not at all, and everything served under a longer name.
static TABLE: LazyLock<(Vec<Field>, Vec<Column>)> = LazyLock::new(|| {
    use PhysicalType as P;
    let columns = [
        ("n", "long", ""),
        ("t", "string", ""),
        ("d", "double", ""),
        ("day", "date", ""),
        ("s", "struct", "properties: [{ name: of_a, physicalName: a, physicalType: string }]"),
        ("l", "list", ""),
        ("p", "list", "properties: [{ name: of_x, physicalName: x, physicalType: string }]"),
        ("m", "map", "properties: [{ name: of_y, physicalName: y, physicalType: string }]"),
        ("must", "long", ""),
    ];
    let mut text =
        "apiVersion: v3.1.0\nkind: DataContract\nid: x\nversion: 1.0.0\nstatus: active\nschema:\n- name: parcels\n  \
                    physicalName: n.t\n  properties:\n"
            .to_owned();
    for (name, kind, more) in columns {
        text += &format!("  - {{ name: the_{name}, physicalName: {name}, physicalType: {kind}, {more} }}\n");
    }
    let mesh = Files::valid().with("depot/products/parcels.odcs.yaml", text).load().unwrap();
    let contract = mesh.find("depot.parcels").contract.columns.clone();
    let text = |id, name: &str| field(id, name, P::String, vec![]);
    let table = vec![
        field(1, "n", P::Long, vec![]),
        text(2, "t"),
        field(3, "d", P::Double, vec![]),
        field(4, "day", P::Date, vec![]),
        field(5, "s", P::Struct, vec![text(6, "a"), field(7, "hidden", P::Struct, vec![text(8, "deep")])]),
        field(9, "l", P::List, vec![text(10, "element")]),
        field(11, "p", P::List, vec![field(12, "element", P::Struct, vec![text(13, "x"), text(14, "z")])]),
        field(
            15,
            "m",
            P::Map,
            vec![text(16, "key"), field(17, "value", P::Struct, vec![text(18, "y"), text(19, "z")])],
        ),
        Field { required: true, ..field(20, "must", P::Long, vec![]) },
        text(21, "secret"),
        field(22, "u", P::Uuid, vec![]),
        field(23, "v", P::Variant, vec![]),
    ];
    (table, contract)
});

fn place() -> Place {
    Place { file: "depot/domain.yaml".into(), line: 4, column: 1 }
}

fn raw(columns: &[Column]) -> Grants {
    let grant =
        |column: &Column| ColumnGrant { column: column.name.clone(), access: Access::Raw, reasons: vec![ours()] };
    Grants { columns: columns.iter().map(grant).collect(), rows: Rows::All }
}

fn ours() -> Reason {
    Reason { policy: "ours".into(), place: place() }
}

fn restricted(restrictions: &Value) -> Result<Grants, Unenforced> {
    let (table, columns) = &*TABLE;
    raw(columns).restricted(restrictions, table, columns, &place())
}

/// The columns that are no longer raw, with their reasons.
fn masked(projections: Value) -> String {
    let grants = restricted(&json!({ "required-column-projections": projections })).unwrap();
    assert_eq!(grants.rows, Rows::All);
    let masked = grants.columns.iter().filter(|grant| grant.access != Access::Raw);
    masked.map(show_column).collect::<Vec<_>>().join(", ").replace(POLICY, "theirs")
}

fn refused(restrictions: Value) -> String {
    restricted(&restrictions).unwrap_err().to_string()
}

#[test]
fn nothing_is_no_restriction() {
    for nothing in [
        json!({}),
        json!({ "required-column-projections": [], "required-row-filter": true }),
        json!({ "required-column-projections": null, "required-row-filter": null }),
    ] {
        let (_, columns) = &*TABLE;
        let (grants, before) = (restricted(&nothing).unwrap(), raw(columns));
        assert_eq!((grants.columns, grants.rows), (before.columns, before.rows));
    }
}

#[test]
fn each_action_is_a_mask() {
    for (action, id, of) in [
        ("mask-alphanum", 2, "the_t"),
        ("mask-to-fixed-value", 3, "the_d"),
        ("replace-with-null", 9, "the_l"),
        ("show-first-4", 2, "the_t"),
        ("show-last-4", 2, "the_t"),
        ("truncate-to-year", 4, "the_day"),
        ("truncate-to-month", 4, "the_day"),
        ("sha-256-global", 1, "the_n"),
        ("sha-256-query-local", 2, "the_t"),
    ] {
        let projection = json!([{ "field-id": id, "action": action }]);
        assert_eq!(masked(projection), format!("{of} {action} by theirs"));
    }
}

#[test]
fn a_mask_reaches_the_field_that_its_id_means() {
    let on = |id: i32, action: &str| masked(json!([{ "field-id": id, "action": action }]));
    assert_eq!(on(6, "mask-alphanum"), "the_s nested(of_a: masked(mask-alphanum)) by ours+theirs");
    assert_eq!(on(5, "replace-with-null"), "the_s replace-with-null by theirs");
    assert_eq!(on(5, "mask-to-fixed-value"), "the_s nested(of_a: masked(mask-to-fixed-value)) by ours+theirs");
    assert_eq!(on(10, "show-last-4"), "the_l show-last-4 by theirs");
    assert_eq!(on(13, "show-last-4"), "the_p nested(of_x: masked(show-last-4)) by ours+theirs");
    assert_eq!(on(12, "mask-to-fixed-value"), "the_p nested(of_x: masked(mask-to-fixed-value)) by ours+theirs");
    assert_eq!(on(18, "show-last-4"), "the_m nested(of_y: masked(show-last-4)) by ours+theirs");
    for unserved in [8, 14, 19, 21] {
        assert_eq!(on(unserved, "mask-alphanum"), "", "the contract does not declare it");
    }
}

#[test]
fn the_strictest_of_ours_and_theirs_wins() {
    let (table, columns) = &*TABLE;
    let with = |ours: Access, action: &str, id: i32| {
        let mut grants = raw(columns);
        let position = table.iter().position(|field| field.id == id).unwrap();
        grants.columns[position].access = ours;
        let restrictions = json!({ "required-column-projections": [{ "field-id": id, "action": action }] });
        let grants = grants.restricted(&restrictions, table, columns, &place()).unwrap();
        show_column(&grants.columns[position]).replace(POLICY, "theirs")
    };
    let mask = |mask| Access::Masked(mask);
    assert_eq!(with(Access::Denied, "show-last-4", 2), "the_t denied by ours");
    assert_eq!(with(mask(Mask::Null), "show-last-4", 2), "the_t replace-with-null by ours");
    assert_eq!(with(mask(Mask::First4), "show-last-4", 2), "the_t show-last-4 by theirs");
    assert_eq!(with(mask(Mask::Last4), "show-last-4", 2), "the_t show-last-4 by ours+theirs");
    let other = mask(Mask::Fixed(Some("7".to_owned())));
    assert_eq!(with(other, "mask-to-fixed-value", 1), "the_n mask-to-fixed-value by theirs");
    assert_eq!(with(mask(Mask::Null), "mask-to-fixed-value", 5), "the_s replace-with-null by ours");
    let nested = Access::Nested(vec![ColumnGrant {
        column: "of_a".to_owned(),
        access: mask(Mask::Sha256Global),
        reasons: vec![ours()],
    }]);
    assert_eq!(
        with(nested.clone(), "mask-to-fixed-value", 5),
        "the_s nested(of_a: masked(mask-to-fixed-value)) by ours+theirs"
    );
    assert_eq!(with(nested, "replace-with-null", 5), "the_s replace-with-null by theirs");
}

#[test]
fn what_is_not_understood_is_refused() {
    let projection = |more: Value| refused(json!({ "required-column-projections": more }));
    let one = |id: i32, action: &str| projection(json!([{ "field-id": id, "action": action }]));
    assert!(refused(json!([])).contains("an object of restrictions"));
    assert!(refused(json!({ "required-rows": true })).contains("`required-rows` is unknown"));
    assert!(projection(json!({})).contains("a list of projections"));
    assert!(projection(json!([7])).contains("a projection"));
    assert!(projection(json!([{ "action": "show-last-4" }])).contains("the id of a field"));
    assert!(projection(json!([{ "field-id": "2", "action": "show-last-4" }])).contains("the id of a field"));
    assert!(projection(json!([{ "field-id": 2 }])).contains("the name of an action"));
    let with_key = json!([{ "field-id": 2, "action": "show-last-4", "expression": true }]);
    assert!(projection(with_key).contains("`expression` is unknown"));
    for unknown in ["apply-expression", "hmac", "bucket", "Show-Last-4", ""] {
        assert!(one(2, unknown).contains("is unknown"), "{unknown}");
    }
    assert!(one(99, "show-last-4").contains("no field 99"));
    assert!(one(1, "show-last-4").contains("`show-last-4` cannot be applied to field 1"));
    assert!(one(20, "replace-with-null").contains("field 20"), "it is required");
    assert!(one(16, "replace-with-null").contains("field 16"), "the key of a map");
    assert!(one(17, "mask-to-fixed-value").contains("field 17"), "the value of a map alone");
    assert!(one(9, "mask-to-fixed-value").contains("field 9"), "its length would show");
    assert!(one(5, "show-last-4").contains("field 5"));
    assert!(one(21, "truncate-to-year").contains("field 21"), "also where it is not served");
    let twice = |a: i32, b: i32| {
        projection(
            json!([{ "field-id": a, "action": "replace-with-null" }, { "field-id": b, "action": "mask-alphanum" }]),
        )
    };
    assert_eq!(twice(2, 2), "field 2 is restricted twice");
    assert_eq!(twice(5, 8), "field 8 is restricted twice");
    assert_eq!(twice(11, 13), "field 13 is restricted twice");
}

/// The filter on rows with a field `n` of each type, in the shape of the specification.
fn by_id(kind: &str, id: i32, value: Value) -> Value {
    json!({ "type": kind, "left": { "type": "reference", "id": id }, "right": { "type": "literal", "value": value } })
}

fn rows(filter: Value) -> Rows {
    restricted(&json!({ "required-row-filter": filter })).unwrap().rows
}

/// Whether a row in which these paths have values passes.
fn passes(filter: Value, row: &[(&str, Cell)]) -> bool {
    shows(&rows(filter), &row.iter().map(|(path, cell)| ((*path).to_owned(), cell.clone())).collect())
}

fn text(text: &str) -> Cell {
    Cell::Text(text.to_owned())
}

#[test]
fn rows_pass_that_both_show() {
    let (table, columns) = &*TABLE;
    let restrictions = json!({ "required-row-filter": by_id("eq", 2, json!("x")) });
    let theirs = restricted(&restrictions).unwrap().rows;
    assert!(matches!(&theirs, Rows::Except(rules) if rules.len() == 1 && &*rules[0].reason.policy == POLICY));
    let closed = Grants { rows: Rows::Closed { permits: vec![], forbids: vec![] }, ..raw(columns) };
    let both = closed.restricted(&restrictions, table, columns, &place()).unwrap().rows;
    assert!(matches!(both, Rows::Closed { permits, forbids } if permits.is_empty() && forbids.len() == 1));
    assert!(!shows(&rows(json!(false)), &Row::new()));
    assert!(!shows(&rows(json!({ "type": "not", "child": true })), &Row::new()));
    assert!(passes(by_id("eq", 2, json!("x")), &[("the_t", text("x"))]));
    assert!(!passes(by_id("eq", 2, json!("x")), &[("the_t", text("y"))]));
    assert!(!passes(by_id("eq", 2, json!("x")), &[]));
}

#[test]
fn fields_are_meant_by_id_by_name_and_in_the_older_words() {
    let row = [("the_t", text("x")), ("the_n", Cell::Number(5)), ("the_s.of_a", text("in"))];
    let x = json!("x");
    for filter in [
        by_id("eq", 2, x.clone()),
        json!({ "type": "eq", "left": { "type": "reference", "name": "t" }, "right": "x" }),
        json!({ "type": "eq", "term": "t", "value": "x" }),
        json!({ "type": "eq", "term": { "type": "reference", "term": "t" }, "value": { "type": "literal", "value": "x" } }),
        json!({ "type": "eq", "term": { "type": "transform", "transform": "identity", "term": "t" }, "value": "x" }),
        json!({ "type": "eq", "left": "x", "right": { "type": "reference", "id": 2 } }),
        json!({ "type": "lt", "left": 4, "right": { "type": "reference", "id": 1 } }),
        json!({ "type": "eq", "left": { "type": "reference", "id": 6 }, "right": "in" }),
        json!({ "type": "eq", "term": "s.a", "value": "in" }),
        json!({ "type": "in", "child": { "type": "reference", "id": 2 },
            "values": { "type": "literals", "values": ["x"], "data-type": "string" } }),
        json!({ "type": "eq", "term": "n", "value": { "type": "literal", "value": 5, "data-type": "int" } }),
        json!({ "type": "true" }),
    ] {
        assert!(passes(filter.clone(), &row), "{filter}");
        assert!(!passes(json!({ "type": "not", "child": filter }), &row));
    }
}

#[test]
fn a_filter_may_speak_of_what_the_contract_does_not_declare() {
    let secret = undeclared(21);
    assert!(passes(by_id("eq", 21, json!("x")), &[(&secret, text("x"))]));
    let deep = format!("{}.hidden.deep", undeclared(5));
    assert!(passes(by_id("eq", 8, json!("x")), &[(&deep, text("x"))]));
    assert!(!passes(by_id("eq", 8, json!("x")), &[]));
}

#[test]
fn a_filter_that_is_not_understood_is_refused() {
    let filter = |filter: Value| refused(json!({ "required-row-filter": filter }));
    let term = |kind: &str, term: Value| filter(json!({ "type": kind, "child": term }));
    let reference = |id: i32| json!({ "type": "reference", "id": id });
    assert!(filter(json!("t = 'x'")).contains("a predicate"));
    assert!(filter(json!({ "type": "like", "term": "t", "value": "x%" })).contains("the predicate `like` is unknown"));
    assert!(filter(json!({ "type": "EQ", "term": "t", "value": "x" })).contains("unknown"));
    assert!(filter(json!({ "type": "and", "left": true })).contains("a predicate"));
    assert!(filter(json!({ "type": "eq", "term": "t", "value": "x", "values": [] })).contains("`values` is unknown"));
    assert!(filter(json!({ "type": "eq", "term": "t", "left": "t", "value": "x" })).contains("the key"));
    assert!(filter(json!({ "type": "eq", "term": "T", "value": "x" })).contains("no field `T`"));
    assert!(filter(json!({ "type": "eq", "term": "l.element", "value": "x" })).contains("no field"));
    assert!(filter(by_id("eq", 99, json!("x"))).contains("no field 99"));
    assert!(filter(by_id("eq", 10, json!("x"))).contains("field 10"), "the items of a list have no one value");
    assert!(filter(by_id("eq", 18, json!("x"))).contains("field 18"));
    assert!(filter(by_id("eq", 22, json!("00000000-0000-0000-0000-000000000000"))).contains("field 22"));
    assert!(term("is-null", reference(23)).contains("field 23"), "a type that cannot be read");
    assert!(term("is-nan", reference(1)).contains("`is-nan` cannot be held against field 1"));
    assert!(filter(by_id("starts-with", 1, json!(1))).contains("field 1"));
    for (id, value) in [
        (1, json!("1")),
        (1, json!(1.5)),
        (1, json!(1e300)),
        (2, json!(1)),
        (2, Value::Null),
        (3, json!("NaN")),
        (4, json!(19000)),
        (4, json!("2024-02-30")),
        (2, json!(["x"])),
        (2, json!({ "x": 1 })),
    ] {
        let told = filter(by_id("eq", id, value.clone()));
        assert!(told.contains("no value of its type") || told.contains("is expected"), "{value}: {told}");
    }
    let typed = json!({ "type": "eq", "term": "n", "value": { "type": "literal", "value": 5, "data-type": "string" } });
    assert!(filter(typed).contains("no value of its type"));
    let computed = "no plain field";
    let year = json!({ "type": "transform", "transform": "year", "term": "day" });
    assert!(filter(json!({ "type": "eq", "term": year, "value": 54 })).contains(computed));
    let apply = json!({ "type": "apply", "function": "f", "arguments": [] });
    assert!(filter(json!({ "type": "eq", "left": apply, "right": 1 })).contains(computed));
    assert!(filter(json!({ "type": "eq", "left": reference(1), "right": reference(20) })).contains(computed));
    assert!(filter(json!({ "type": "starts-with", "left": "x", "right": reference(2) })).contains(computed));
    let mut deep = json!(true);
    for _ in 0..100 {
        deep = json!({ "type": "not", "child": deep });
    }
    assert!(filter(deep).contains("nested deeper"));
    let many: Vec<i64> = (0..20_000).collect();
    assert!(filter(json!({ "type": "in", "term": "n", "values": many })).contains("values"));
}

#[test]
fn no_restrictions_make_it_panic() {
    let (table, columns) = &*TABLE;
    let whole = json!({
        "required-column-projections": [{ "field-id": 2, "action": "show-last-4" }, { "field-id": 6, "action": "mask-alphanum" }],
        "required-row-filter": { "type": "and",
            "left": { "type": "not", "child": { "type": "in", "child": { "type": "reference", "id": 1 },
                "values": { "type": "literals", "values": [1, 2], "data-type": "int" } } },
            "right": { "type": "or",
                "left": { "type": "starts-with", "term": "s.a", "value": "x" },
                "right": { "type": "gt", "left": { "type": "reference", "id": 3 }, "right": { "type": "literal", "value": 1.5 } } } },
    });
    let grants = raw(columns);
    let text = whole.to_string();
    let (mut dice, mut read) = (Dice(7), 0);
    let mut parts: Vec<&str> = text.split_inclusive(['{', '}', '[', ']', ',', ':']).collect();
    parts.extend(["null", "true", "-1", "2147483648", "\"\"", "\"reference\"", "\"child\":", "{", "}", "[]"]);
    for _ in 0..20_000 {
        let mut mutated: Vec<&str> = text.split_inclusive(['{', '}', '[', ']', ',', ':']).collect();
        for _ in 0..=dice.below(2) {
            let at = dice.below(mutated.len());
            mutated[at] = parts[dice.below(parts.len())];
        }
        if let Ok(json) = serde_json::from_str::<Value>(&mutated.concat()) {
            read += usize::from(grants.restricted(&json, table, columns, &place()).is_ok());
        }
    }
    assert!(read > 20, "{read}");
}
