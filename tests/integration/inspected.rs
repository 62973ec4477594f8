//! What `polder check` finds in tables, and what `polder init` begins with: no value of them is told.

use std::fs;
use std::net::TcpListener;
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::time::{Duration, Instant};

use datafusion::arrow::array::{ArrayRef, Int64Array, StringArray, StructArray};
use datafusion::arrow::datatypes::{DataType, Fields};
use iceberg::spec::{NestedField, PrimitiveType, Schema, StructType, Type};
use polder::inspect::{Inspection, inspect};
use polder::session::{Engine, Options};
use polder_catalog::document::{Finding, Severity};
use polder_catalog::mesh::Mesh;
use serde_json::json;

use crate::own::{self, Domain};
use crate::packly::packly;

const CONTRACT: &str = "shop/products/people.odcs.yaml";

fn schema() -> Schema {
    let text = || Type::Primitive(PrimitiveType::String);
    let home = StructType::new(vec![Arc::new(NestedField::optional(5, "reach", text()))]);
    let fields = [
        NestedField::required(1, "id", Type::Primitive(PrimitiveType::Long)).with_doc("its number"),
        NestedField::optional(2, "contact", text()),
        NestedField::optional(3, "note", text()),
        NestedField::optional(4, "home", Type::Struct(home)),
    ];
    let fields = fields.into_iter().map(Arc::new);
    Schema::builder().with_fields(fields).with_identifier_field_ids([1]).build().unwrap()
}

/// A mesh with a table of six people, whose contacts are email addresses.
async fn people(dir: &Path) {
    let mesh = json!({
        "mesh": "small", "groups": ["readers"],
        "tags": { "pii": { "mask": "replace-with-null" }, "pii.email": { "detect": "email" } },
    });
    let tables = [("people", schema())];
    own::write_mesh(dir, mesh, &[], &[Domain { name: "shop", tables: &tables, policies: "" }]);
    let engine = own::start(dir);
    let catalog = own::catalog(&engine, "shop").await;
    own::create(&*catalog, "people", &schema()).await;
    let mails = || StringArray::from_iter_values((0..6).map(|n| format!("hidden{n}@mail.example")));
    let fill = |name: &str, kind: &DataType| -> ArrayRef {
        match (name, kind) {
            ("id", _) => Arc::new(Int64Array::from_iter_values(0..6)),
            ("contact", _) => Arc::new(mails()),
            (_, DataType::Struct(fields)) => {
                Arc::new(StructArray::new(Fields::clone(fields), vec![Arc::new(mails()) as ArrayRef], None))
            }
            _ => Arc::new(StringArray::from(vec![Some("a"), None, Some("b"), None, None, Some("c")])),
        }
    };
    own::append(&*catalog, "people", fill).await;
}

fn change(dir: &Path, file: &str, from: &str, to: &str) {
    let text = fs::read_to_string(dir.join(file)).unwrap();
    assert!(text.contains(from), "`{from}` stands in {text}");
    fs::write(dir.join(file), text.replacen(from, to, 1)).unwrap();
}

async fn look(dir: &Path, rows: usize) -> Inspection {
    let mesh = Mesh::load(dir).unwrap_or_else(|findings| panic!("{findings:#?}"));
    let engine = Engine::start(mesh, Options { threads: Some(2), ..Options::default() }).unwrap();
    let inspection = inspect(&engine, rows, || {}).await;
    let told = format!("{:?}", inspection.findings);
    assert!(!told.contains("hidden") && !told.contains("mail.example"), "no value is told: {told}");
    inspection
}

fn of<'f>(inspection: &'f Inspection, code: &str) -> Vec<&'f Finding> {
    inspection.findings.iter().filter(|finding| finding.code == code).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn untagged_columns_are_found_by_counts_alone() {
    let dir = tempfile::tempdir().unwrap();
    people(dir.path()).await;
    let seen = look(dir.path(), 100).await;
    let found = of(&seen, "detect/untagged");
    assert_eq!(found.len(), 2, "{found:#?}");
    assert!(found.iter().all(|finding| finding.severity == Severity::Error));
    assert!(found[0].message.contains("6 of 6 sampled values of the column `contact` of `shop.people`"), "{found:#?}");
    assert!(found[1].message.contains("`home.reach`"), "{found:#?}");
    assert_eq!(of(&look(dir.path(), 0).await, "detect/untagged").len(), 0, "nothing is read");
    let few = look(dir.path(), 4).await;
    assert_eq!(of(&few, "detect/untagged").len(), 0, "no more rows are read than were asked for");
    change(dir.path(), CONTRACT, "\"name\": \"contact\",", "\"name\": \"contact\", \"tags\": [\"pii.email\"],");
    assert_eq!(of(&look(dir.path(), 100).await, "detect/untagged").len(), 1);
    let rule =
        "\"name\": \"note\", \"quality\": [{ \"metric\": \"rowCount\", \"mustBe\": 7, \"severity\": \"error\" }],";
    change(dir.path(), CONTRACT, "\"name\": \"note\",", rule);
    let seen = look(dir.path(), 100).await;
    assert_eq!(of(&seen, "quality/failed")[0].severity, Severity::Error, "{seen:#?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_table_is_held_against_all_that_its_contract_says() {
    let dir = tempfile::tempdir().unwrap();
    people(dir.path()).await;
    let seen = look(dir.path(), 100).await;
    assert_eq!((seen.looked, seen.missed), (1, 0));
    assert!(of(&seen, "live/key")[0].message.contains("by `id`, and the contract by nothing"), "{seen:#?}");
    change(dir.path(), CONTRACT, "\"name\": \"id\",", "\"name\": \"id\", \"primaryKey\": true, \"partitioned\": true,");
    change(dir.path(), CONTRACT, "\"name\": \"note\",", "\"name\": \"note\", \"required\": true,");
    change(dir.path(), CONTRACT, "\"name\": \"contact\",", "\"name\": \"contact\", \"required\": true,");
    let sla = "\"slaProperties\": [{ \"property\": \"freshness\", \"value\": 0, \"unit\": \"s\" }], \"status\"";
    change(dir.path(), CONTRACT, "\"status\"", sla);
    let seen = look(dir.path(), 100).await;
    assert_eq!(of(&seen, "live/key").len(), 0);
    assert!(of(&seen, "live/partition")[0].message.contains("partitioned by nothing, and the contract says by `id`"));
    assert!(of(&seen, "live/nulls")[0].message.contains("3 of its values"), "{seen:#?}");
    assert_eq!(of(&seen, "live/nulls").len(), 1, "`contact` has none: {seen:#?}");
    assert!(of(&seen, "live/stale")[0].message.contains("`shop.people` is stale"));
    let rules = "\"name\": \"home\", \"quality\": [{ \"metric\": \"rowCount\", \"mustBe\": 7 }],";
    change(dir.path(), CONTRACT, "\"name\": \"home\",", rules);
    let rule = "\"quality\": [{ \"metric\": \"nullValues\", \"mustBeLessThan\": 50, \"unit\": \"percent\" }],";
    change(dir.path(), CONTRACT, "\"name\": \"note\",", &format!("\"name\": \"note\", {rule}"));
    let seen = look(dir.path(), 100).await;
    let failed: Vec<&str> = of(&seen, "quality/failed").iter().map(|found| found.message.as_str()).collect();
    assert_eq!(failed.len(), 2, "{seen:#?}");
    assert!(failed.iter().any(|said| said.starts_with("the rows of `shop.people@1`: 6, ")), "{failed:?}");
    assert!(
        failed.iter().any(|said| said.contains(": 50 percent, and the contract asks for `mustBeLessThan: 50`")),
        "{failed:?}"
    );
    change(dir.path(), CONTRACT, "\"physicalType\": \"long\"", "\"physicalType\": \"int\"");
    change(dir.path(), CONTRACT, "\"name\": \"note\"", "\"name\": \"remark\"");
    let seen = look(dir.path(), 100).await;
    let drifts = of(&seen, "live/drift");
    assert_eq!(drifts.len(), 2, "all of them, not the first alone: {drifts:#?}");
    assert_eq!(drifts[0].product.as_ref().unwrap().to_string(), "shop.people@1");
    change(dir.path(), CONTRACT, "own.people", "own.nobody");
    assert_eq!(of(&look(dir.path(), 100).await, "live/drift").len(), 1, "there is no such table");
}

#[tokio::test(flavor = "multi_thread")]
async fn rules_of_quality_are_counted_over_all_rows() {
    let dir = tempfile::tempdir().unwrap();
    people(dir.path()).await;
    let sql = |query: &str, bound: &str| format!("{{\"type\":\"sql\",\"name\":\"own\",\"query\":\"{query}\",{bound}}}");
    // Of six rows `note` is NULL in three, and `a`, `b` and `c` in the others.
    let rules = [
        (r#"{"metric":"missingValues","arguments":{"missingValues":["a"]},"mustBe":4}"#.to_owned(), None),
        (r#"{"metric":"missingValues","arguments":{"missingValues":["a",""]},"mustBe":3}"#.to_owned(), Some(": 4, ")),
        (r#"{"metric":"invalidValues","arguments":{"validValues":["a","b"]},"mustBe":0}"#.to_owned(), Some(": 1, ")),
        (r#"{"metric":"invalidValues","arguments":{"pattern":"^[ab]$"},"mustBe":1}"#.to_owned(), None),
        (r#"{"metric":"duplicateValues","mustBe":0}"#.to_owned(), None),
        (sql("SELECT count(*) FROM ${object} WHERE ${property} IS NULL", "\"mustBe\":3"), None),
        (sql("SELECT count(*) FROM {table} WHERE {column} = 'a'", "\"mustBe\":0"), Some(": 1, ")),
        (sql("SELECT max(id) FROM people", "\"mustBe\":0"), Some("of `shop.people@1` (rule `own`) is not what")),
        (sql("SELECT id FROM people", "\"mustBe\":0"), Some("it gives more than one row")),
        (sql("SELECT max(contact) FROM people", "\"mustBe\":0"), Some("it gives no number")),
        (sql("SELECT max(CAST(contact AS INT)) FROM people", "\"mustBe\":0"), Some("it failed on the rows")),
        (sql("SELECT count(*) FROM mesh.products", "\"mustBe\":0"), Some("could not be counted")),
        (sql("SELECT count(*) FROM shop.people VERSION AS OF 1", "\"mustBe\":0"), Some("it names a version")),
        (sql("SHOW TABLES", "\"mustBe\":0"), Some("it is no query")),
    ];
    let texts: Vec<&str> = rules.iter().map(|(rule, _)| rule.as_str()).collect();
    change(
        dir.path(),
        CONTRACT,
        "\"name\": \"note\",",
        &format!("\"name\": \"note\", \"quality\": [{}],", texts.join(",")),
    );
    let seen = look(dir.path(), 100).await;
    let told: Vec<&str> =
        seen.findings.iter().filter(|f| f.code.starts_with("quality/")).map(|f| f.message.as_str()).collect();
    let expected: Vec<&str> = rules.iter().filter_map(|(_, expected)| *expected).collect();
    assert_eq!(told.len(), expected.len(), "{told:#?}");
    for (told, expected) in told.iter().zip(expected) {
        assert!(told.contains(expected), "`{told}` is not {expected}");
    }
    assert!(
        !look(dir.path(), 0).await.findings.iter().any(|found| found.code.starts_with("quality/")),
        "nothing is read"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_lake_that_hangs_or_is_gone_is_reported_and_holds_up_no_other() {
    let dir = tempfile::tempdir().unwrap();
    people(dir.path()).await;
    let silent = TcpListener::bind("127.0.0.1:0").unwrap();
    let hung = json!({ "type": "rest", "uri": format!("http://{}", silent.local_addr().unwrap()), "timeout": "1 s" });
    let gone = json!({ "type": "sql", "uri": "sqlite:nowhere/catalog.db", "warehouse": "file:nowhere" });
    for (name, catalog) in [("hung", hung), ("gone", gone)] {
        fs::create_dir_all(dir.path().join(name).join("products")).unwrap();
        let about = json!({ "name": name, "kind": "shared", "owner": { "team": name }, "catalog": catalog });
        fs::write(dir.path().join(name).join("domain.yaml"), about.to_string()).unwrap();
        for table in ["a", "b"] {
            let contract = own::contract(name, table, &schema()).to_string();
            fs::write(dir.path().join(name).join(format!("products/{table}.odcs.yaml")), contract).unwrap();
        }
    }
    let begun = Instant::now();
    let seen = look(dir.path(), 100).await;
    assert!(begun.elapsed() < Duration::from_secs(20), "{:?}", begun.elapsed());
    assert_eq!((seen.looked, seen.missed), (1, 4), "{seen:#?}");
    assert_eq!(of(&seen, "detect/untagged").len(), 2, "the others are looked at all the same");
    let silent: Vec<&str> = of(&seen, "live/unreachable").iter().map(|found| &*found.place.file).collect();
    assert!(silent.contains(&"hung/domain.yaml") && silent.contains(&"gone/domain.yaml"), "{seen:#?}");
}

/// Packly's files in a directory of their own, over the tables that all tests share.
fn packly_again() -> tempfile::TempDir {
    fn copy(from: &Path, to: &Path) {
        fs::create_dir_all(to).unwrap();
        for entry in fs::read_dir(from).unwrap().map(Result::unwrap) {
            match entry.file_type().unwrap().is_dir() {
                true if entry.file_name() == "lake" => {}
                true => copy(&entry.path(), &to.join(entry.file_name())),
                false => drop(fs::copy(entry.path(), to.join(entry.file_name())).unwrap()),
            }
        }
    }
    let (dir, lake) = (tempfile::tempdir().unwrap(), packly().dir());
    copy(&lake, dir.path());
    for domain in polder::packly::DOMAINS {
        let path = dir.path().join(domain).join("domain.yaml");
        let text = fs::read_to_string(&path).unwrap();
        let lake = lake.to_str().unwrap();
        let text = text.replace("sqlite:lake/", &format!("sqlite:{lake}/lake/"));
        fs::write(path, text.replace("file:lake/", &format!("file:{lake}/lake/"))).unwrap();
    }
    dir
}

/// What the binary says, on both of its outputs, and how it ends.
fn polder(arguments: &[&str]) -> (i32, String) {
    let output = Command::new(env!("CARGO_BIN_EXE_polder")).args(arguments).stdin(Stdio::null()).output().unwrap();
    let text = [output.stdout, output.stderr].map(|bytes| String::from_utf8_lossy(&bytes).into_owned()).concat();
    (output.status.code().unwrap(), text)
}

#[test]
fn packly_keeps_its_contracts() {
    let (code, said) = polder(&["check", packly().dir().to_str().unwrap()]);
    assert!(said.contains("the tables of 13 were looked at"), "{said}");
    assert_eq!(code, 0, "{said}");
    assert!(!said.contains("warning") && !said.contains("error"), "{said}");
}

#[test]
fn a_product_begins_with_what_its_table_says() {
    let dir = packly_again();
    let mesh = dir.path().to_str().unwrap();
    let begin = ["init", "product", "--mesh", mesh, "storefront.shoppers", "--table", "shop.customers"];
    assert_eq!(polder(&begin).0, 0, "{}", polder(&begin).1);
    let file = dir.path().join("storefront/products/shoppers.odcs.yaml");
    let text = fs::read_to_string(&file).unwrap();
    let column = |name: &str| text.split("- name: ").find(|part| part.starts_with(name)).unwrap().to_owned();
    assert!(
        column("email").contains("- pii.email") && column("email").contains("classification: restricted"),
        "{text}"
    );
    assert!(column("phone").contains("- pii.phone"), "{text}");
    assert!(column("full_name").contains("- pii.name") && column("tax_id").contains("- pii.tax_id"), "{text}");
    assert!(!column("city").contains("tags:"), "{text}");
    let (code, said) = polder(&["check", mesh, "--offline"]);
    assert_eq!(code, 1, "{said}");
    assert!(said.contains("error[document/todo]") && said.contains("what it is for"), "{said}");
    let (code, said) = polder(&begin);
    assert!(code == 2 && said.contains("is there already, and is not written over"), "{said}");
    assert_eq!(fs::read_to_string(&file).unwrap(), text);
    let (code, said) = polder(&["init", "product", "--mesh", mesh, "storefront.x", "--table", "shop.nothing"]);
    assert!(code == 1 && !dir.path().join("storefront/products/x.odcs.yaml").exists(), "{code}: {said}");
}

#[test]
fn a_policy_and_a_domain_begin_without_a_fault() {
    let dir = packly_again();
    let mesh = dir.path().to_str().unwrap();
    let policy = ["init", "policy", "--mesh", mesh, "storefront.customers", "--for", "auditors"];
    let (code, said) = polder(&policy);
    assert!(code == 0 && said.contains("nothing is missing in it") && !said.contains("still to be written"), "{said}");
    let (code, said) = polder(&["check", mesh, "--offline"]);
    assert_eq!(code, 0, "{said}");
    assert_eq!(polder(&policy).0, 2, "it is there");
    let (code, said) = polder(&["init", "policy", "--mesh", mesh, "storefront.customers", "--for", "nobody"]);
    assert!(code == 2 && said.contains("the group `nobody` is not declared"), "{said}");
    let domain =
        ["init", "domain", "--mesh", mesh, "stock", "--uri", "sqlite:lake/stock.db", "--warehouse", "file:lake/stock"];
    assert_eq!(polder(&domain).0, 0);
    let (code, said) = polder(&["check", mesh, "--offline"]);
    assert!(code == 1 && said.contains("stock/domain.yaml") && said.contains("document/todo"), "{said}");
    for what in ["domain", "product", "policy"] {
        assert!(polder(&["init", what, "--help"]).1.contains("Examples:"), "{what}");
    }
}
