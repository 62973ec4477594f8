//! Products worth trusting: rules of quality that a server checks again and again, searches, and what is withheld.

use std::fs;
use std::path::Path;
use std::sync::Arc;

use datafusion::arrow::array::{ArrayRef, Int64Array, StringArray};
use datafusion::arrow::datatypes::DataType;
use datafusion::arrow::util::display::{ArrayFormatter, FormatOptions};
use futures::TryStreamExt;
use iceberg::Catalog;
use iceberg::spec::{NestedField, PrimitiveType, Schema, Type};
use polder::inspect::{Past, hold};
use polder::session::{Engine, Link, Pins};
use polder_catalog::mesh::Mesh;
use serde_json::{Value, json};
use tempfile::TempDir;

use crate::own::{self, Domain};

const POLICIES: &str = r#"
@id("seen") permit (principal, action == Action::"discover", resource == Product::"shop.people");
@id("found") permit (principal in Group::"shop", action == Action::"discover", resource in Domain::"shop");
@id("owned") permit (principal in Group::"shop", action == Action::"read", resource in Domain::"shop");
@id("read") permit (principal in Group::"readers", action == Action::"read", resource in Product::"shop.people");
@id("unread") forbid (principal in Group::"readers", action in Action::"see", resource in Column::"shop.people.salary");
"#;

fn schema() -> Schema {
    let fields = [
        NestedField::optional(1, "id", Type::Primitive(PrimitiveType::Long)),
        NestedField::optional(2, "note", Type::Primitive(PrimitiveType::String)),
        NestedField::optional(3, "salary", Type::Primitive(PrimitiveType::Long)),
    ];
    Schema::builder().with_fields(fields.into_iter().map(Arc::new)).build().unwrap()
}

async fn append(catalog: &dyn Catalog) {
    own::append(catalog, "people", |name, _: &DataType| -> ArrayRef {
        match name {
            "note" => Arc::new(StringArray::from(vec![Some("a"), None])),
            _ => Arc::new(Int64Array::from(vec![1, 2])),
        }
    })
    .await;
}

/// A mesh whose product `people` has rules and texts, and whose product `late` falls short of a standard.
async fn shop() -> (TempDir, Arc<Engine>, Arc<dyn Catalog>) {
    let dir = tempfile::tempdir().unwrap();
    let mesh = json!({
        "mesh": "small", "groups": ["shop", "readers"],
        "standards": { "require": { "product": ["description"] }, "severity": { "require": "error" } },
    });
    let users: [(&str, &[&str], Value); 3] =
        [("owner", &["shop"], json!({})), ("reader", &["readers"], json!({})), ("guest", &[], json!({}))];
    let tables = [("people", schema()), ("late", schema()), ("hidden", schema())];
    own::write_mesh(dir.path(), mesh, &users, &[Domain { name: "shop", tables: &tables, policies: POLICIES }]);
    let change = |product: &str, with: &dyn Fn(&mut Value)| {
        let path = dir.path().join(format!("shop/products/{product}.odcs.yaml"));
        let mut contract: Value = serde_json::from_str(&fs::read_to_string(&path).unwrap()).unwrap();
        with(&mut contract["schema"][0]);
        fs::write(path, contract.to_string()).unwrap();
    };
    change("people", &|object| {
        object["description"] = json!("Everybody who works in the shop.");
        object["quality"] = json!([
            { "metric": "rowCount", "mustBeGreaterThan": 2, "name": "enough", "dimension": "coverage" },
            { "type": "sql", "query": "SELECT max(id) FROM ${object}", "mustBe": 2 },
        ]);
        object["properties"][1]["quality"] = json!([{ "metric": "nullValues", "mustBe": 0, "unit": "percent" }]);
        object["properties"][1]["description"] = json!("What they wished for.");
        object["properties"][2]["description"] = json!("Their pay, a treasure.");
    });
    change("hidden", &|object| object["description"] = json!("Wishes and treasure."));
    let mesh = Mesh::load(dir.path()).unwrap_or_else(|findings| panic!("{findings:#?}"));
    let engine = Engine::start(mesh, polder::session::Options { threads: Some(2), ..Default::default() }).unwrap();
    let catalog = own::catalog(&engine, "shop").await;
    own::create(&*catalog, "people", &schema()).await;
    append(&*catalog).await;
    (dir, engine, catalog)
}

async fn ask(engine: &Arc<Engine>, user: &str, sql: &str) -> Vec<String> {
    let principal = engine.mesh().principal(user).unwrap();
    let planned = engine.plan(&principal, sql, &Pins::new()).await.unwrap_or_else(|error| panic!("{sql}: {error}"));
    let batches: Vec<_> = planned.run().unwrap().try_collect().await.unwrap();
    let options = FormatOptions::default().with_null("NULL");
    let mut lines = Vec::new();
    for batch in &batches {
        let columns: Vec<_> =
            batch.columns().iter().map(|column| ArrayFormatter::try_new(column.as_ref(), &options).unwrap()).collect();
        for row in 0..batch.num_rows() {
            lines.push(columns.iter().map(|column| column.value(row).to_string()).collect::<Vec<_>>().join(" | "));
        }
    }
    lines
}

const QUALITY: &str =
    "SELECT rule, \"column\", state, measured, unit, expected FROM mesh.quality ORDER BY checked, metric";

#[tokio::test(flavor = "multi_thread")]
async fn rules_are_checked_when_something_changed_and_their_past_is_for_those_who_see_all() {
    let (_dir, engine, catalog) = shop().await;
    assert!(ask(&engine, "owner", QUALITY).await.is_empty(), "nothing was checked yet");
    hold(&engine, None).await;
    let first = [
        "nullValues | note | failed | 50.0 | percent | mustBe: 0",
        "enough | NULL | failed | 2.0 | NULL | mustBeGreaterThan: 2",
        "sql | NULL | passed | NULL | NULL | mustBe: 2",
    ];
    assert_eq!(ask(&engine, "owner", QUALITY).await, first, "a number that is no count is not told");
    let health = "SELECT product, state, quality, rules FROM mesh.health WHERE product = 'people'";
    assert_eq!(ask(&engine, "owner", health).await, ["people | ok | failed | enough (coverage), nullValues"]);
    hold(&engine, None).await;
    assert_eq!(ask(&engine, "owner", QUALITY).await.len(), 3, "nothing has changed");
    append(&*catalog).await;
    // The lake remembers for a while what the catalog said.
    let until = std::time::Instant::now() + std::time::Duration::from_secs(60);
    while ask(&engine, "owner", QUALITY).await.len() < 6 && std::time::Instant::now() < until {
        tokio::time::sleep(std::time::Duration::from_millis(200)).await;
        hold(&engine, None).await;
    }
    let now = ask(&engine, "owner", QUALITY).await;
    assert_eq!(now.len(), 6, "{now:#?}");
    assert_eq!(now[4], "enough | NULL | passed | 4.0 | NULL | mustBeGreaterThan: 2");
    for restricted in ["reader", "guest"] {
        let told = ask(&engine, restricted, QUALITY).await;
        assert_eq!(told.len(), 3, "the last state alone: {told:#?}");
        assert!(told.iter().all(|line| line.contains(" | NULL | ") && !line.contains("50.0")), "{told:#?}");
        let times = "SELECT count(checked), count(snapshot), count(measured) FROM mesh.quality";
        assert_eq!(ask(&engine, restricted, times).await, ["0 | 0 | 0"]);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn whether_a_rule_held_is_not_told_of_values_that_a_tag_keeps_from_people() {
    let (dir, engine, _) = shop().await;
    let sees = async |user: &str| {
        ask(&engine, user, "SELECT rule FROM mesh.quality WHERE state IS NOT NULL ORDER BY rule").await
    };
    hold(&engine, None).await;
    assert_eq!(sees("reader").await, ["enough", "nullValues", "sql"]);
    let change = |path: &str, with: &dyn Fn(&mut Value)| {
        let path = dir.path().join(path);
        let mut document: Value = serde_json::from_str(&fs::read_to_string(&path).unwrap()).unwrap();
        with(&mut document);
        fs::write(path, document.to_string()).unwrap();
    };
    change("mesh.yaml", &|mesh| mesh["tags"] = json!({ "pay": { "unmasked_for": ["shop"] } }));
    change("shop/products/people.odcs.yaml", &|contract| {
        contract["schema"][0]["properties"][2]["tags"] = json!(["pay"]);
    });
    engine.serve(Mesh::load(dir.path()).unwrap_or_else(|findings| panic!("{findings:#?}")));
    hold(&engine, None).await;
    for restricted in ["reader", "guest"] {
        assert_eq!(sees(restricted).await, ["enough", "nullValues"], "a query could ask for the tagged column");
    }
    let health = "SELECT rules FROM mesh.health WHERE product = 'people'";
    assert_eq!(ask(&engine, "reader", health).await, ["enough (coverage), nullValues"]);
    assert!(sees("owner").await.contains(&"sql".to_owned()));
}

#[tokio::test(flavor = "multi_thread")]
async fn what_adds_up_is_counted_in_new_files_alone() {
    let (dir, engine, catalog) = shop().await;
    let path = dir.path().join("shop/products/people.odcs.yaml");
    let mut contract: Value = serde_json::from_str(&fs::read_to_string(&path).unwrap()).unwrap();
    let about =
        |pattern: &str| json!([{ "metric": "invalidValues", "mustBe": 0, "arguments": { "pattern": pattern } }]);
    let mut rule = |pattern: &str| {
        contract["schema"][0]["quality"] = json!([]);
        contract["schema"][0]["properties"][1]["quality"] = about(pattern);
        fs::write(&path, contract.to_string()).unwrap();
        engine.serve(Mesh::load(dir.path()).unwrap());
    };
    let state = "SELECT measured FROM mesh.quality ORDER BY checked DESC LIMIT 1";
    let data = || {
        let files = walk(dir.path()).into_iter().filter(|path| path.extension().is_some_and(|kind| kind == "parquet"));
        files.collect::<Vec<_>>()
    };
    rule("^b$");
    hold(&engine, None).await;
    assert_eq!(ask(&engine, "owner", state).await, ["1.0"]);
    let [old] = &data()[..] else { panic!("one file: {:?}", data()) };
    fs::remove_file(old).unwrap();
    append(&*catalog).await;
    // The lake remembers for a while what the catalog said.
    let until = std::time::Instant::now() + std::time::Duration::from_secs(60);
    while ask(&engine, "owner", state).await == ["1.0"] && std::time::Instant::now() < until {
        tokio::time::sleep(std::time::Duration::from_millis(200)).await;
        hold(&engine, None).await;
    }
    assert_eq!(ask(&engine, "owner", state).await, ["2.0"], "the file that is gone was not asked for again");
    rule("^c$");
    hold(&engine, None).await;
    assert_eq!(ask(&engine, "owner", state).await, ["NULL"], "what was never asked is asked of all files");
}

fn walk(dir: &Path) -> Vec<std::path::PathBuf> {
    let entries = fs::read_dir(dir).unwrap().map(|entry| entry.unwrap().path());
    entries.flat_map(|path| if path.is_dir() { walk(&path) } else { vec![path] }).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn that_a_product_is_stale_is_told_to_all_and_how_old_it_is_to_those_who_see_all() {
    let (dir, engine, _) = shop().await;
    let path = dir.path().join("shop/products/people.odcs.yaml");
    let mut contract: Value = serde_json::from_str(&fs::read_to_string(&path).unwrap()).unwrap();
    contract["slaProperties"] = json!([{ "property": "freshness", "value": 1, "unit": "s" }]);
    fs::write(&path, contract.to_string()).unwrap();
    engine.serve(Mesh::load(dir.path()).unwrap());
    tokio::time::sleep(std::time::Duration::from_millis(2_100)).await;
    let health = "SELECT state, split_part(reason, ': ', 2), since IS NULL, changed IS NULL, age IS NULL \
        FROM mesh.health WHERE product = 'people'";
    let notices = async |user: &str| {
        let principal = engine.mesh().principal(user).unwrap();
        let planned = engine.plan(&principal, "SELECT id FROM shop.people", &Pins::new()).await.unwrap();
        planned.notices().to_vec()
    };
    let told = ask(&engine, "owner", health).await;
    assert!(
        told[0].starts_with("stale | it changed ") && told[0].ends_with(" allows 1 seconds | false | false | false"),
        "{told:?}"
    );
    assert!(notices("owner").await[0].contains("seconds ago"));
    let vague = "it changed longer ago than its contract allows";
    assert_eq!(ask(&engine, "reader", health).await, [format!("stale | {vague} | true | true | true")]);
    assert_eq!(notices("reader").await, [format!("`shop.people` is stale: {vague}")]);

    contract["customProperties"] = json!([{ "property": "polder.stale", "value": "refuse" }]);
    fs::write(&path, contract.to_string()).unwrap();
    engine.serve(Mesh::load(dir.path()).unwrap());
    for user in ["owner", "reader"] {
        let principal = engine.mesh().principal(user).unwrap();
        let error = engine.plan(&principal, "SELECT id FROM shop.people", &Pins::new()).await.unwrap_err();
        assert_eq!(error.message, format!("`shop.people` is stale: {vague}"), "{user}");
        assert!(ask(&engine, user, health).await[0].starts_with("stale | "), "{user}");
    }
    contract["slaProperties"][0]["unit"] = json!("d");
    fs::write(&path, contract.to_string()).unwrap();
    engine.serve(Mesh::load(dir.path()).unwrap());
    assert_eq!(ask(&engine, "reader", "SELECT count(id) FROM shop.people").await, ["2"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_never_changed_is_older_than_any_promise() {
    let (dir, engine, catalog) = shop().await;
    own::create(&*catalog, "hidden", &schema()).await;
    let path = dir.path().join("shop/products/hidden.odcs.yaml");
    let mut contract: Value = serde_json::from_str(&fs::read_to_string(&path).unwrap()).unwrap();
    contract["slaProperties"] = json!([{ "property": "freshness", "value": 1, "unit": "d" }]);
    let owner = engine.mesh().principal("owner").unwrap();
    let sql = "SELECT id FROM shop.hidden";
    let state = "SELECT state FROM mesh.health WHERE product = 'hidden'";
    for (stale, state_then) in
        [(json!([]), "ok"), (json!([{ "property": "polder.stale", "value": "refuse" }]), "stale")]
    {
        contract["customProperties"] = stale;
        fs::write(&path, contract.to_string()).unwrap();
        engine.serve(Mesh::load(dir.path()).unwrap());
        assert_eq!(engine.plan(&owner, sql, &Pins::new()).await.is_ok(), state_then == "ok");
        assert_eq!(ask(&engine, "owner", state).await, [state_then]);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_withheld_is_told_to_its_owners_alone() {
    let (_dir, engine, _) = shop().await;
    let health = "SELECT product, reason FROM mesh.health WHERE state = 'withheld'";
    let told = ask(&engine, "owner", health).await;
    assert_eq!(told.len(), 1, "{told:?}");
    assert!(told[0].starts_with("late@1 | ") && told[0].contains("standards/require"), "{told:?}");
    for other in ["reader", "guest"] {
        assert!(ask(&engine, other, health).await.is_empty(), "{other}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_search_finds_what_is_shown_and_nothing_else_has_a_say() {
    let (_dir, engine, _) = shop().await;
    let search = |words: &str| format!("SELECT product, \"column\", score, uri FROM mesh.search('{words}')");
    let note = "people | note | 2 | polder://small/shop/people@1#note";
    let own = |score| format!("people | NULL | {score} | polder://small/shop/people@1");
    assert_eq!(ask(&engine, "reader", &search("WISHED")).await, [note.to_owned(), own(1)]);
    assert_eq!(ask(&engine, "reader", &search("people note")).await, [own(11), note.replace("| 2 |", "| 11 |")]);
    let of_pay = ["people | salary | 2 | polder://small/shop/people@1#salary".to_owned(), own(1)];
    let hidden = "hidden | NULL | 2 | polder://small/shop/hidden@1".to_owned();
    let of_owner = ask(&engine, "owner", &search("treasure")).await;
    assert_eq!(
        of_owner,
        [hidden, of_pay[0].clone(), of_pay[1].clone()],
        "those that are found equally well by their names"
    );
    for other in ["reader", "guest"] {
        assert!(ask(&engine, other, &search("treasure")).await.is_empty(), "{other}: it is denied");
        assert!(ask(&engine, other, &search("salary")).await.is_empty(), "{other}: its name is denied too");
        assert!(ask(&engine, other, &search("people salary")).await.is_empty(), "{other}");
    }
    assert!(ask(&engine, "owner", &search("")).await.is_empty());
    let named = "SELECT search.product FROM mesh.search('wished') WHERE \"column\" IS NULL";
    assert_eq!(ask(&engine, "owner", named).await, ["people"]);
    let principal = engine.mesh().principal("owner").unwrap();
    for refused in ["mesh.search(note)", "mesh.search('a', 'b')", "mesh.search()", "shop.search('a')", "search('a')"] {
        let sql = format!("SELECT * FROM {refused}");
        assert!(engine.plan(&principal, &sql, &Pins::new()).await.is_err(), "{refused}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_page_tells_what_one_may_discover_and_the_same_of_all_else() {
    let (_dir, engine, _) = shop().await;
    let who = |user: &str| engine.mesh().principal(user).unwrap();
    let listed = engine.pages(&who("guest")).await.unwrap();
    assert_eq!(listed.iter().map(|page| page.uri.as_str()).collect::<Vec<_>>(), ["polder://small/shop/people@1"]);
    let page = engine.page(&who("reader"), "shop", "people@1").await.unwrap();
    assert_eq!((page.product.as_str(), page.owner.as_str()), ("people", "shop"));
    let access: Vec<(&str, &str)> =
        page.columns.iter().map(|column| (column.name.as_str(), column.access.as_str())).collect();
    assert_eq!(access, [("id", "raw"), ("note", "raw"), ("salary", "denied")]);
    let told = |name: &'static str| {
        let (engine, guest) = (Arc::clone(&engine), who("guest"));
        async move { engine.page(&guest, "shop", name).await.unwrap_err().to_string().replace(name, "…") }
    };
    let nothing = told("nothin").await;
    for hidden in ["hidden", "late", "late@1", "people@2"] {
        assert_eq!(told(hidden).await.split('\n').next(), nothing.split('\n').next(), "{hidden}");
    }
}

/// The mesh with `shop.notes`, which is made of `shop.people` and which `watcher` alone discovers besides its owner, and
/// nothing else. Contracts change by `with`, of `people` and `notes`.
async fn watched(with: impl Fn(&mut Value, &mut Value)) -> (TempDir, Arc<Engine>) {
    let (dir, engine, _) = shop().await;
    let file = |name: &str| dir.path().join(name);
    let read = |name: &str| -> Value { serde_json::from_str(&fs::read_to_string(file(name)).unwrap()).unwrap() };
    let mut mesh = read("mesh.yaml");
    mesh["groups"].as_array_mut().unwrap().push(json!("watchers"));
    let mut watcher = mesh["auth"]["users"][0].clone();
    (watcher["name"], watcher["groups"]) = (json!("watcher"), json!(["watchers"]));
    mesh["auth"]["users"].as_array_mut().unwrap().push(watcher);
    let more = r#"
@id("unseen") forbid (principal in Group::"watchers", action == Action::"discover", resource in Product::"shop.people");
@id("watched") permit (principal in Group::"watchers", action == Action::"discover", resource in Product::"shop.notes");
"#;
    let mut notes = own::contract("shop", "notes", &schema());
    let object = &mut notes["schema"][0];
    object.as_object_mut().unwrap().remove("physicalName");
    object["description"] = json!("What people wished for.");
    object["customProperties"] =
        json!([{ "property": "polder.query", "value": "SELECT id, note, salary FROM people" }]);
    for (place, position) in [(0, 2), (1, 1)] {
        let column = &mut object["properties"][place];
        (column["primaryKey"], column["primaryKeyPosition"]) = (json!(true), json!(position));
    }
    let mut people = read("shop/products/people.odcs.yaml");
    with(&mut people, &mut notes);
    fs::write(file("mesh.yaml"), mesh.to_string()).unwrap();
    fs::write(file("shop/products/people.odcs.yaml"), people.to_string()).unwrap();
    fs::write(file("shop/products/notes.odcs.yaml"), notes.to_string()).unwrap();
    fs::write(file("shop/policies/access.cedar"), format!("{POLICIES}{more}")).unwrap();
    engine.serve(Mesh::load(dir.path()).unwrap_or_else(|findings| panic!("{findings:#?}")));
    (dir, engine)
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_product_is_made_of_is_told_as_far_as_one_may_discover_it() {
    let (dir, engine) = watched(|_, _| {}).await;
    let products = "SELECT product, key, upstream, downstream, uri FROM mesh.products WHERE product IN ('people', 'notes') \
                    ORDER BY product";
    let (notes, people) = ("notes | note, id |", "people |  |");
    let uri = |name: &str| format!("polder://small/shop/{name}@1");
    let all =
        [format!("{notes} shop.people |  | {}", uri("notes")), format!("{people}  | shop.notes | {}", uri("people"))];
    assert_eq!(ask(&engine, "owner", products).await, all);
    assert_eq!(ask(&engine, "watcher", products).await, [format!("{notes}  |  | {}", uri("notes"))]);
    assert_eq!(ask(&engine, "guest", products).await, [format!("{people}  |  | {}", uri("people"))]);
    let page = async |user: &str, product: &str| {
        let page = engine.page(&engine.mesh().principal(user).unwrap(), "shop", product).await.unwrap();
        let names = |links: &[Link]| links.iter().map(|link| link.product.clone()).collect::<Vec<_>>().join(", ");
        let state = page.health.as_ref().map(|health| health.state.clone()).unwrap();
        [page.key.join(", "), names(&page.upstream), names(&page.downstream), state].join(" | ")
    };
    assert_eq!(page("owner", "notes").await, "note, id | people |  | ok");
    assert_eq!(page("watcher", "notes").await, "note, id |  |  | ok");
    assert_eq!(page("owner", "people").await, " |  | notes | ok");
    assert_eq!(page("guest", "people").await, " |  |  | ok");

    let products = dir.path().join("shop/products");
    let text = fs::read_to_string(products.join("people.odcs.yaml")).unwrap();
    let mut contract: Value = serde_json::from_str(&text).unwrap();
    (contract["version"], contract["status"]) = (json!("2.0.0"), json!("draft"));
    contract["id"] = json!("shop-people-2");
    fs::write(products.join("people@2.odcs.yaml"), contract.to_string()).unwrap();
    engine.serve(Mesh::load(dir.path()).unwrap_or_else(|findings| panic!("{findings:#?}")));
    let page = engine.page(&engine.mesh().principal("owner").unwrap(), "shop", "people").await.unwrap();
    let versions: Vec<_> = page.versions.iter().map(|version| (version.product.as_str(), &*version.status)).collect();
    assert_eq!(versions, [("people@2", "draft")]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_derived_product_is_stale_where_that_is_why_it_is_not_read() {
    let late = json!([{ "property": "freshness", "value": 1, "unit": "s" }]);
    let refuse = json!([{ "property": "polder.stale", "value": "refuse" }]);
    let health = "SELECT state, reason FROM mesh.health WHERE product = 'notes'";
    let source = |people: &mut Value, _: &mut Value| {
        (people["slaProperties"], people["customProperties"]) = (late.clone(), refuse.clone());
    };
    let itself = |_: &mut Value, notes: &mut Value| {
        (notes["slaProperties"], notes["customProperties"]) = (late.clone(), refuse.clone());
    };
    let pause = std::time::Duration::from_millis(2_100);

    let (_dir, engine) = watched(source).await;
    tokio::time::sleep(pause).await;
    let owner = engine.mesh().principal("owner").unwrap();
    let refused = engine.plan(&owner, "SELECT id FROM shop.notes", &Pins::new()).await.unwrap_err();
    assert!(refused.message.contains("is stale"), "{refused}");
    let why = "`shop.notes` cannot be read: `shop.people` is stale: it changed longer ago than its contract allows";
    assert_eq!(ask(&engine, "owner", health).await, [format!("stale | {why}")]);
    assert_eq!(ask(&engine, "watcher", health).await, ["ok | NULL"], "what one may not discover says nothing of it");
    let page = engine.page(&owner, "shop", "notes").await.unwrap();
    assert_eq!(page.health.and_then(|health| health.reason).as_deref(), Some(why));

    let (_dir, engine) = watched(itself).await;
    tokio::time::sleep(pause).await;
    let told = ask(&engine, "owner", health).await;
    assert!(told[0].starts_with("stale | `shop.notes` is stale: it changed "), "{told:?}");
}

#[test]
fn the_tags_that_derived_columns_inherit_are_written_where_they_lack() {
    let dir = tempfile::tempdir().unwrap();
    let mesh = json!({ "mesh": "small", "tags": { "pii": {}, "pay": {} } });
    let tables = [("people", schema())];
    own::write_mesh(dir.path(), mesh, &[], &[Domain { name: "shop", tables: &tables, policies: "" }]);
    let people = dir.path().join("shop/products/people.odcs.yaml");
    let text = fs::read_to_string(&people).unwrap();
    let text = text.replacen("\"name\": \"note\",", "\"name\": \"note\", \"tags\": [\"pii\", \"pay\"],", 1);
    fs::write(&people, text).unwrap();
    let derived = "apiVersion: v3.1.0 # as it is\nkind: DataContract\nid: notes\nversion: 1.0.0\nstatus: active\nschema:\n  \
                   - name: notes\n    customProperties: [{ property: polder.query, value: \"SELECT id, note FROM people\" }]\n    \
                   properties:\n      - { name: id, physicalType: long }\n      - name:   note   # said\n        physicalType: string\n";
    let file = dir.path().join("shop/products/notes.odcs.yaml");
    fs::write(&file, derived).unwrap();
    let check = |more: &[&str]| {
        let mut command = std::process::Command::new(env!("CARGO_BIN_EXE_polder"));
        let output = command.args(["check", "--offline"]).args(more).arg(dir.path()).output().unwrap();
        (output.status.code().unwrap(), String::from_utf8_lossy(&output.stdout).into_owned())
    };
    let (code, said) = check(&[]);
    assert!(code == 1 && said.contains("derived/untagged"), "{said}");
    assert!(said.ends_with("1 domain and 1 product can be served\n"), "what lacks tags is not served: {said}");
    assert_eq!(fs::read_to_string(&file).unwrap(), derived, "nothing is written unasked");
    let (code, said) = check(&["--fix"]);
    assert_eq!(code, 0, "{said}");
    let fixed = fs::read_to_string(&file).unwrap();
    let tags: Vec<&str> = fixed.lines().filter(|line| line.contains("tags:")).collect();
    assert_eq!(tags.len(), 1, "{fixed}");
    assert!(tags[0].contains("pii") && tags[0].contains("pay"), "{fixed}");
    let rest: Vec<&str> = fixed.lines().filter(|line| !line.contains("tags:")).map(str::trim_end).collect();
    assert!(fixed.contains("# as it is") && fixed.contains("name:   note   # said"), "{fixed}");
    assert_eq!(rest.join("\n").replace("        name:", "      - name:"), derived.trim_end(), "{fixed}");
    assert!(Path::new(&file).exists());
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_found_is_known_after_a_restart() {
    let (dir, engine, catalog) = shop().await;
    let log = dir.path().join("quality.jsonl");
    let past = Past::open(&log, &engine.seen()).unwrap();
    hold(&engine, Some(&past)).await;
    hold(&engine, Some(&past)).await;
    let found = ask(&engine, "owner", QUALITY).await;
    let text = fs::read_to_string(&log).unwrap();
    assert_eq!(text.lines().count(), 1, "what is found again is no news: {text}");
    let rules = &serde_json::from_str::<Value>(&text).unwrap()["rules"];
    let value = rules.as_array().unwrap().iter().find(|rule| rule["metric"] == "sql").unwrap();
    assert!(value["number"].is_null(), "it is a value of the data: {value}");
    // The last line of a process that was killed, and one that means nothing.
    fs::write(&log, format!("nothing\n{text}{}", &text[..text.len() / 2])).unwrap();
    let again = || {
        let options = polder::session::Options { threads: Some(2), ..Default::default() };
        Engine::start(Mesh::load(dir.path()).unwrap(), options).unwrap()
    };
    let engine = again();
    let past = Past::open(&log, &engine.seen()).unwrap();
    assert_eq!(ask(&engine, "owner", QUALITY).await, found, "before anything is checked");
    assert_eq!(ask(&engine, "guest", QUALITY).await.len(), 3);
    let checked = "SELECT DISTINCT checked FROM mesh.quality";
    let before = ask(&engine, "owner", checked).await;
    hold(&engine, Some(&past)).await;
    assert_eq!(ask(&engine, "owner", checked).await, before, "nothing has changed since");
    append(&*catalog).await;
    let engine = again();
    let past = Past::open(&log, &engine.seen()).unwrap();
    hold(&engine, Some(&past)).await;
    assert_eq!(ask(&engine, "owner", QUALITY).await.len(), 6);
    assert_eq!(fs::read_to_string(&log).unwrap().lines().count(), 2);
    let told = engine.seen().render();
    for line in
        ["polder_quality_runs_total 1", "polder_quality_failed{severity=\"warning\"} 1", "polder_quality_unknown 0"]
    {
        assert!(told.contains(line), "{line} is in {told}");
    }
    let nowhere = dir.path().join("nowhere/quality.jsonl");
    assert!(Past::open(&nowhere, &engine.seen()).is_err());
}
