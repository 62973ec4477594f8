//! A table whose catalog restricts it, through the whole engine.

use std::collections::BTreeMap;
use std::sync::Arc;

use datafusion::arrow::array::{ArrayRef, Float64Array, Int64Array, RecordBatch, StringArray};
use datafusion::arrow::util::display::{ArrayFormatter, FormatOptions};
use futures::TryStreamExt;
use iceberg::spec::PrimitiveType::{Double, Long, String as Text};
use polder_catalog::mesh::Mesh;
use serde_json::{Value, json};

use crate::error::{Class, Error};
use crate::lake::fixture::{Shop, optional, schema, shop};
use crate::session::{Engine, Options, Pins};

const CONTRACT: &str = "apiVersion: v3.1.0\nkind: DataContract\nid: p\nversion: 1.0.0\nstatus: active\nschema:\n\
    - name: people\n  physicalName: ns.people\n  properties:\n  \
    - { name: id, physicalType: long }\n  \
    - { name: mail, physicalName: email, physicalType: string }\n  \
    - { name: score, physicalType: double }\n";

const POLICIES: &str = r#"
@id("discover") permit (principal, action == Action::"discover", resource);
@id("read") permit (principal, action == Action::"read", resource) unless { resource in Column::"shop.people.mail" };
@id("ada-reads") permit (principal == User::"ada", action == Action::"read", resource);
@id("hashed") @mask("sha-256-global") permit (principal, action == Action::"read_masked", resource in Column::"shop.people.mail");
"#;

struct Served {
    engine: Arc<Engine>,
    shop: Shop,
}

/// Five people: their ids, mails, scores, and the tenants that the contract does not declare.
async fn served(restrictions: Option<Value>) -> Served {
    let shop = shop().await;
    let fields = vec![
        optional(1, "id", Long),
        optional(2, "email", Text),
        optional(3, "tenant", Text),
        optional(4, "score", Double),
    ];
    shop.create("people", schema(fields)).await;
    let texts = |of: [Option<&str>; 5]| Arc::new(StringArray::from(of.to_vec())) as ArrayRef;
    let columns: Vec<ArrayRef> = vec![
        Arc::new(Int64Array::from(vec![1, 2, 3, 4, 5])),
        texts([Some("ada@x.example"), Some("ben@x.example"), None, Some("dan@y.example"), Some("100%_\\")]),
        texts([Some("x"), Some("x"), Some("y"), None, Some("X")]),
        Arc::new(Float64Array::from(vec![Some(1.5), Some(f64::NAN), None, Some(-0.0), Some(f64::NEG_INFINITY)])),
    ];
    shop.append("people", columns).await;
    let place = shop.dir.path().display();
    let files: BTreeMap<_, _> = [
        ("mesh.yaml", "mesh: m\nauth: { users: [ { name: ada }, { name: ben } ] }\n".to_owned()),
        (
            "shop/domain.yaml",
            format!(
                "name: shop\nkind: source-aligned\nowner: {{ team: shop-team }}\n\
                 catalog: {{ type: sql, uri: \"sqlite:{place}/cat/catalog.db\", warehouse: \"file://{place}/lake\" }}\n"
            ),
        ),
        ("shop/products/people.odcs.yaml", CONTRACT.to_owned()),
        ("shop/policies/all.cedar", POLICIES.to_owned()),
    ]
    .map(|(name, text)| (name.to_owned(), text))
    .into();
    let mesh = Mesh::from_files(&files).unwrap_or_else(|findings| panic!("{findings:#?}"));
    assert_eq!(mesh.domains_out().count(), 0, "{:#?}", mesh.findings());
    let engine = Engine::start(mesh, Options::default()).unwrap();
    if let Some(restrictions) = restrictions {
        engine.lake().restrict("shop", "ns.people", restrictions);
    }
    Served { engine, shop }
}

impl Served {
    async fn ask(&self, user: &str, sql: &str) -> Result<Vec<String>, Error> {
        let principal = self.engine.mesh().principal(user).unwrap();
        let rows = self.engine.plan(&principal, sql, &Pins::new()).await?.run()?;
        let batches: Vec<RecordBatch> = rows.try_collect().await?;
        Ok(batches.iter().flat_map(lines).collect())
    }

    async fn rows(&self, user: &str, sql: &str) -> Vec<String> {
        self.ask(user, sql).await.unwrap_or_else(|error| panic!("{sql}: {error}"))
    }
}

fn lines(batch: &RecordBatch) -> Vec<String> {
    let options = FormatOptions::default().with_null("-");
    let columns: Vec<_> = batch.columns().iter().map(|c| ArrayFormatter::try_new(c, &options).unwrap()).collect();
    let line = |row: usize| columns.iter().map(|c| c.value(row).to_string()).collect::<Vec<_>>().join(" | ");
    (0..batch.num_rows()).map(line).collect()
}

fn masks(id: i32, action: &str) -> Value {
    json!({ "required-column-projections": [{ "field-id": id, "action": action }] })
}

fn filters(filter: &Value) -> Value {
    json!({ "required-row-filter": filter })
}

fn field(kind: &str, id: i32) -> Value {
    json!({ "type": kind, "child": { "type": "reference", "id": id } })
}

fn compare(kind: &str, id: i32, value: impl Into<Value>) -> Value {
    json!({ "type": kind, "left": { "type": "reference", "id": id }, "right": { "type": "literal", "value": value.into() } })
}

#[tokio::test]
async fn the_stricter_of_two_masks_is_applied_and_explained() {
    let served = served(Some(masks(2, "show-last-4"))).await;
    let mails = "SELECT mail FROM shop.people WHERE id = 1";
    let ada = served.rows("ada", mails).await;
    assert!(ada[0].ends_with("mple") && !ada[0].contains("ada"), "{ada:?}");
    let ben = served.rows("ben", mails).await;
    assert_eq!(ben[0].len(), 64, "our own mask hides more: {ben:?}");
    let explained = |user| {
        let served = &served;
        async move { served.rows(user, "EXPLAIN POLICY SELECT mail FROM shop.people").await }
    };
    let ada = explained("ada").await;
    assert!(
        ada[0].contains("masked | show-last-4 | the catalog's read-restrictions | shop/domain.yaml:4:1"),
        "{ada:?}"
    );
    assert!(explained("ben").await[0].contains("masked | sha-256-global | hashed"));
    let grants = "SELECT effect, mask, policy FROM mesh.grants WHERE \"column\" = 'mail'";
    assert_eq!(served.rows("ada", grants).await, ["masked | show-last-4 | the catalog's read-restrictions"]);
    let access = "SELECT access FROM mesh.columns WHERE \"column\" = 'mail'";
    assert_eq!(served.rows("ada", access).await, ["masked(show-last-4)"]);
    let denied = served.ask("ada", "SELECT * FROM shop.\"people$files\"").await.unwrap_err();
    assert_eq!(denied.class, Class::Denied);
    assert!(denied.message.contains("the catalog's read-restrictions"), "{denied}");
}

#[tokio::test]
async fn without_restrictions_everything_is_as_the_mesh_says() {
    let served = served(None).await;
    assert_eq!(served.rows("ada", "SELECT mail FROM shop.people WHERE id = 1").await, ["ada@x.example"]);
    assert!(served.ask("ada", "SELECT * FROM shop.\"people$files\"").await.is_ok());
}

#[tokio::test]
async fn a_row_filter_hides_rows_from_everything() {
    // The contract does not declare the tenant.
    let served = served(Some(filters(&compare("eq", 3, "x")))).await;
    assert_eq!(served.rows("ada", "SELECT id FROM shop.people ORDER BY id").await, ["1", "2"]);
    assert_eq!(served.rows("ada", "SELECT count(*) FROM shop.people").await, ["2"]);
    assert_eq!(served.rows("ada", "SELECT max(id) FROM shop.people").await, ["2"]);
    assert_eq!(served.ask("ada", "SELECT tenant FROM shop.people").await.unwrap_err().class, Class::UnknownName);
    let star = served.rows("ada", "SELECT * FROM shop.people ORDER BY id LIMIT 1").await;
    assert_eq!(star, ["1 | ada@x.example | 1.5"]);
    let explained = served.rows("ada", "EXPLAIN POLICY SELECT id FROM shop.people").await;
    let rule =
        "* | shop.people | - | rows | hidden | - | the catalog's read-restrictions | shop/domain.yaml:4:1 | shop-team";
    assert!(explained.iter().any(|line| line == rule), "{explained:?}");
    let grants = "SELECT effect FROM mesh.grants WHERE \"column\" IS NULL";
    assert_eq!(served.rows("ada", grants).await, ["hidden"]);
    let denied = served.ask("ada", "SELECT * FROM shop.\"people$snapshots\"").await.unwrap_err();
    assert_eq!(denied.class, Class::Denied);
    let principal = served.engine.mesh().principal("ada").unwrap();
    let planned = served.engine.plan(&principal, "SELECT id FROM shop.people", &Pins::new()).await.unwrap();
    assert!(planned.notices().iter().any(|notice| notice.contains("its row rules")), "{:?}", planned.notices());
}

#[tokio::test]
async fn rows_pass_by_icebergs_semantics() {
    let not = |child: Value| json!({ "type": "not", "child": child });
    let either = |left: Value, right: Value| json!({ "type": "or", "left": left, "right": right });
    for (filter, expect) in [
        (compare("not-eq", 3, "x"), &[3, 4, 5][..]),
        (not(compare("eq", 3, "x")), &[3, 4, 5]),
        (not(compare("not-eq", 3, "x")), &[1, 2]),
        (json!({ "type": "in", "child": { "type": "reference", "id": 3 }, "values": ["x", "y"] }), &[1, 2, 3]),
        (json!({ "type": "not-in", "child": { "type": "reference", "id": 3 }, "values": ["x", "y"] }), &[4, 5]),
        (json!({ "type": "in", "child": { "type": "reference", "id": 3 }, "values": [] }), &[]),
        (field("is-null", 2), &[3]),
        (field("not-null", 2), &[1, 2, 4, 5]),
        (compare("starts-with", 2, "100%_\\"), &[5]),
        (compare("starts-with", 2, "_"), &[]),
        (compare("not-starts-with", 2, "a"), &[2, 3, 4, 5]),
        (compare("lt", 1, 3), &[1, 2]),
        (not(compare("lt", 1, 3)), &[3, 4, 5]),
        (compare("gt-eq", 1, 5_000_000_000_i64), &[]),
        (field("is-nan", 4), &[2]),
        (field("not-nan", 4), &[1, 3, 4, 5]),
        (compare("gt", 4, -1.0), &[1, 4]),
        (not(compare("gt", 4, -1.0)), &[5]),
        (compare("lt", 4, 0.0), &[5]),
        (compare("not-eq", 4, 0.0), &[1, 2, 3, 5]),
        (either(compare("eq", 4, 1.5), field("is-null", 4)), &[1, 3]),
        (json!(false), &[]),
        (json!(true), &[1, 2, 3, 4, 5]),
    ] {
        let served = served(Some(filters(&filter))).await;
        let ids: Vec<String> = expect.iter().map(ToString::to_string).collect();
        assert_eq!(served.rows("ada", "SELECT id FROM shop.people ORDER BY id").await, ids, "{filter}");
    }
}

#[tokio::test]
async fn an_old_snapshot_is_restricted_as_the_table_is() {
    let served = served(Some(filters(&compare("eq", 3, "x")))).await;
    let old = served.shop.load("people").await.metadata().current_snapshot_id().unwrap();
    served
        .shop
        .append(
            "people",
            Vec::from([
                Arc::new(Int64Array::from(vec![6])) as ArrayRef,
                Arc::new(StringArray::from(vec!["eve"])),
                Arc::new(StringArray::from(vec!["x"])),
                Arc::new(Float64Array::from(vec![0.0])),
            ]),
        )
        .await;
    let sql = format!("SELECT id FROM shop.people FOR VERSION AS OF {old} ORDER BY id");
    assert_eq!(served.rows("ada", &sql).await, ["1", "2"]);
    assert_eq!(served.rows("ada", "SELECT id FROM shop.people ORDER BY id").await, ["1", "2", "6"]);
}

#[tokio::test]
async fn what_cannot_be_enforced_refuses_the_whole_table() {
    for (restrictions, said) in [
        (masks(2, "rot13"), "the action `rot13` is unknown"),
        (masks(9, "show-last-4"), "no field 9"),
        (masks(4, "show-last-4"), "`show-last-4` cannot be applied to field 4"),
        (filters(&compare("like", 2, "a%")), "the predicate `like` is unknown"),
        (json!({ "required-tags": [] }), "`required-tags` is unknown"),
    ] {
        let served = served(Some(restrictions)).await;
        for sql in [
            "SELECT id FROM shop.people",
            "SELECT count(*) FROM shop.people",
            "DESCRIBE shop.people",
            "SELECT * FROM shop.\"people$files\"",
            "EXPLAIN POLICY SELECT id FROM shop.people",
        ] {
            let denied = served.ask("ada", sql).await.unwrap_err();
            assert_eq!(denied.class, Class::Denied, "{sql}: {denied}");
            assert!(denied.message.contains(said), "{sql}: {denied}");
            assert_eq!(denied.help.as_deref(), Some("ask the owner, shop-team"));
        }
        assert!(served.rows("ada", "SELECT policy FROM mesh.grants").await.is_empty());
        let access = served.rows("ada", "SELECT DISTINCT access FROM mesh.columns").await;
        assert_eq!(access, ["denied"]);
        let columns = "SELECT * FROM information_schema.columns WHERE table_name = 'people'";
        assert!(served.rows("ada", columns).await.is_empty());
        assert_eq!(served.rows("ada", "SELECT product FROM mesh.products").await, ["people"]);
    }
}

#[tokio::test]
async fn a_plan_is_kept_only_while_what_its_catalog_demanded_may_be_relied_on() {
    for (restrictions, kept) in [(None, true), (Some(json!({ "required-column-projections": [] })), false)] {
        let served = served(restrictions).await;
        let principal = served.engine.mesh().principal("ada").unwrap();
        let planned = served.engine.plan(&principal, "SELECT id FROM shop.people", &Pins::new()).await.unwrap();
        assert_eq!(planned.holds_for(&principal), kept, "this catalog is asked by each statement");
    }
}

#[tokio::test]
async fn a_statement_ends_when_its_catalog_demands_something_else_than_when_it_was_planned() {
    let served = served(Some(json!({ "required-column-projections": [] }))).await;
    let principal = served.engine.mesh().principal("ada").unwrap();
    // More rows than anybody would wait for.
    let names: Vec<String> = (0..14).map(|number| format!("shop.people p{number}")).collect();
    let sql = format!("SELECT p0.id FROM {}", names.join(", "));
    let mut rows = served.engine.plan(&principal, &sql, &Pins::new()).await.unwrap().run().unwrap();
    assert!(rows.try_next().await.unwrap().is_some());
    served.engine.lake().restrict("shop", "ns.people", filters(&compare("eq", 3, "x")));
    let error = loop {
        match rows.try_next().await {
            Ok(Some(_)) => {}
            Ok(None) => panic!("it ran to its end"),
            Err(error) => break error,
        }
    };
    assert_eq!(error.class, Class::Cancelled, "{error}");
    assert!(rows.try_next().await.unwrap().is_none());
}
