//! What is said of policies: explanations, denials with what would help, and purposes that sessions declare.

use std::fs;
use std::sync::Arc;

use datafusion::arrow::array::AsArray;
use futures::TryStreamExt;
use iceberg::spec::{MapType, NestedField, PrimitiveType, Schema, StructType, Type};
use polder::error::{Class, Error};
use polder::packly::write_files;
use polder::session::{Engine, Line, Options, Pins, Session};
use polder_catalog::mesh::Mesh;
use polder_catalog::principal::Principal;
use serde_json::json;
use tempfile::TempDir;

use crate::own;
use crate::packly::packly;

/// Packly's files with purposes and row rules, and no tables: what is explained is never read.
struct World {
    engine: Arc<Engine>,
    _dir: TempDir,
}

const MORE: &str = r#"
@id("payments-scores-against-fraud")
permit (principal in Group::"analysts", action == Action::"read", resource in Tag::"automated_scoring")
when { context has purpose && context.purpose == "fraud" };
@id("payments-own-region")
@filter("method = 'card'")
permit (principal in Group::"analysts", action == Action::"read_rows", resource in Product::"payments.transactions");
@id("payments-no-tests")
@filter("status = 'test'")
forbid (principal, action == Action::"read_rows", resource in Product::"payments.transactions");
"#;

fn world() -> World {
    let dir = tempfile::tempdir().unwrap();
    write_files(dir.path()).unwrap();
    let path = dir.path().join("mesh.yaml");
    let text = fs::read_to_string(&path).unwrap();
    let open =
        text.replace("fraud: { groups: [fraud-team] }", "fraud: { groups: [analysts] }, audit: { groups: [auditors] }");
    assert_ne!(text, open);
    fs::write(path, open).unwrap();
    let path = dir.path().join("payments/policies/access.cedar");
    let text = fs::read_to_string(&path).unwrap();
    fs::write(path, text + MORE).unwrap();
    let mesh = Mesh::load(dir.path()).unwrap_or_else(|findings| panic!("{findings:#?}"));
    assert!(mesh.findings().is_empty(), "{:#?}", mesh.findings());
    World { engine: Engine::start(mesh, Options::default()).unwrap(), _dir: dir }
}

impl World {
    fn principal(&self, user: &str) -> Principal {
        self.engine.mesh().principal(user).unwrap()
    }

    async fn lines(&self, principal: &Principal, sql: &str) -> Result<Vec<String>, Error> {
        let line = |line: &Line| {
            let policies: Vec<&str> = line.reasons.iter().map(|reason| &*reason.policy).collect();
            let mask = line.effect.mask().map(|mask| format!("({mask})")).unwrap_or_default();
            format!(
                "{} <- {}.{} {} {}{mask} [{}]",
                line.output.as_deref().unwrap_or("*"),
                line.product,
                line.column.as_deref().unwrap_or("*"),
                line.via,
                line.effect.as_str(),
                policies.join(" ")
            )
        };
        Ok(self.engine.explain_policy(principal, sql).await?.iter().map(line).collect())
    }
}

async fn shown(session: &mut Session, sql: &str) -> Result<Option<String>, Error> {
    let planned = session.plan(sql, &Pins::new()).await?;
    let batches: Vec<_> = planned.run()?.try_collect().await?;
    let values = batches[0].column(1).as_string::<i32>();
    Ok(values.iter().next().flatten().map(str::to_owned))
}

#[tokio::test]
async fn a_session_declares_what_it_may_and_keeps_it_until_it_is_reset() {
    let world = world();
    let mut session = Session::new(Arc::clone(&world.engine), world.principal("analyst-eu"));
    assert_eq!(shown(&mut session, "SHOW polder.purpose").await.unwrap(), None);
    assert_eq!(shown(&mut session, "SET polder.purpose = 'fraud'").await.unwrap().as_deref(), Some("fraud"));
    assert_eq!(shown(&mut session, "SHOW polder.purpose").await.unwrap().as_deref(), Some("fraud"));
    // Denied and unknown read the same, and the purpose before stays.
    let mut texts = Vec::new();
    for purpose in ["audit", "awdit"] {
        let error = shown(&mut session, &format!("SET polder.purpose = '{purpose}'")).await.unwrap_err();
        assert_eq!(error.class, Class::Denied);
        texts.push(error.to_string().replace(purpose, "…"));
    }
    assert_eq!(texts[0], texts[1]);
    assert_eq!(session.principal().purpose.as_deref(), Some("fraud"));
    assert_eq!(shown(&mut session, "RESET polder.purpose").await.unwrap(), None);
    assert_eq!(session.principal().purpose, None);
}

#[tokio::test]
async fn a_purpose_is_asked_for_again_at_each_statement() {
    let world = world();
    let forged = Principal { purpose: Some("audit".into()), ..world.principal("analyst-eu") };
    let mut session = Session::new(Arc::clone(&world.engine), forged.clone());
    for sql in ["SELECT 1", "SHOW TABLES", "SHOW polder.purpose", "EXPLAIN POLICY SELECT 1"] {
        assert_eq!(session.plan(sql, &Pins::new()).await.unwrap_err().class, Class::Denied, "{sql}");
    }
    assert!(world.lines(&forged, "SELECT 1").await.is_err());
    // The way out stays open.
    session.plan("RESET polder.purpose", &Pins::new()).await.unwrap();
    session.plan("SELECT 1", &Pins::new()).await.unwrap();
}

#[tokio::test]
async fn a_call_without_a_session_is_told_where_a_purpose_goes() {
    let world = world();
    for sql in ["SET polder.purpose = 'fraud'", "RESET polder.purpose"] {
        let error = world.engine.plan(&world.principal("analyst-eu"), sql, &Pins::new()).await.unwrap_err();
        assert_eq!(error.class, Class::BadRequest);
        assert!(error.to_string().contains("x-polder-purpose"), "{error}");
    }
}

#[tokio::test]
async fn an_explanation_says_what_is_raw_masked_and_denied_and_names_each_row_rule() {
    let world = world();
    let ada = world.principal("analyst-eu");
    let sql = "SELECT c.email, count(*) AS n, avg(t.risk_score) AS risk FROM payments.transactions t \
               JOIN storefront.customers c USING (customer_id) WHERE c.tax_id <> '' GROUP BY c.email";
    let lines = world.lines(&ada, sql).await.unwrap();
    assert_eq!(
        lines,
        [
            "email <- storefront.customers.email value masked(sha-256-global) [storefront-analysts-see-emails-hashed standards:pii]",
            "risk <- payments.transactions.risk_score value denied []",
            "* <- payments.transactions.customer_id join raw [payments-analysts-read]",
            "* <- storefront.customers.customer_id join raw [storefront-analysts-read]",
            "* <- storefront.customers.email group masked(sha-256-global) [storefront-analysts-see-emails-hashed standards:pii]",
            "* <- storefront.customers.tax_id predicate denied [storefront-no-tax-ids-for-analysts]",
            "* <- payments.transactions.* rows shown [payments-own-region]",
            "* <- payments.transactions.* rows hidden [payments-no-tests]",
        ]
    );
    let for_fraud = Principal { purpose: Some("fraud".into()), ..ada.clone() };
    let lines = world.lines(&for_fraud, "SELECT risk_score FROM payments.transactions").await.unwrap();
    assert_eq!(lines[0], "risk_score <- payments.transactions.risk_score value raw [payments-scores-against-fraud]");
    // A version says nothing else, and needs no table either.
    let then =
        "SELECT region FROM storefront.customers AT(REF => 'june') UNION ALL SELECT region FROM storefront.customers";
    let region = "region <- storefront.customers.region value raw [storefront-analysts-read]";
    assert_eq!(world.lines(&ada, then).await.unwrap(), [region]);
}

#[tokio::test]
async fn an_explanation_names_nothing_that_may_not_be_discovered() {
    let world = world();
    let ada = world.principal("analyst-eu");
    for (hidden, absent) in [
        ("SELECT * FROM payments.fraud_signals", "SELECT * FROM payments.frawd_signals"),
        (
            "SELECT 1 WHERE EXISTS (SELECT 1 FROM payments.fraud_signals)",
            "SELECT 1 WHERE EXISTS (SELECT 1 FROM payments.frawd_signals)",
        ),
    ] {
        let error = async |sql: &str| world.lines(&ada, sql).await.unwrap_err().to_string();
        assert_eq!(error(hidden).await, error(absent).await.replace("frawd", "fraud"));
    }
    let error = world.lines(&ada, "SELECT * FROM packlet.storefront.customers").await.unwrap_err();
    assert_eq!(error.class, Class::UnknownName);
    // Who may read nothing of a product that they may discover is told so, column by column.
    let guest = world.principal("guest");
    let lines = world.lines(&guest, "SELECT * FROM storefront.customers").await.unwrap();
    assert_eq!(lines.len(), 13);
    assert!(lines.iter().all(|line| line.contains("denied")), "{lines:#?}");
}

#[tokio::test]
async fn what_would_help_names_purposes_to_those_alone_who_may_declare_them() {
    let world = world();
    let mesh = world.engine.mesh();
    let product = mesh.products().find(|(name, _)| name.to_string() == "payments.transactions").unwrap().1;
    let helps = |user: &str| format!("{:?}", mesh.helps(&world.principal(user), product));
    assert!(helps("analyst-eu").contains("Purpose(\"fraud\")"), "{}", helps("analyst-eu"));
    assert!(!helps("privacy-officer").contains("Purpose"), "{}", helps("privacy-officer"));
}

#[test]
fn a_denied_field_is_a_denial_that_names_its_policy_also_inside_of_maps() {
    let field = |id, name: &str, kind| Arc::new(NestedField::optional(id, name, kind));
    let text = || Type::Primitive(PrimitiveType::String);
    let home = StructType::new(vec![field(11, "city", text()), field(12, "ssn", text())]);
    let contact = StructType::new(vec![field(15, "phone", text()), field(16, "note", text())]);
    let key = Arc::new(NestedField::map_key_element(13, text()));
    let value = Arc::new(NestedField::map_value_element(14, Type::Struct(contact), false));
    let fields = vec![field(1, "home", Type::Struct(home)), field(2, "contacts", Type::Map(MapType::new(key, value)))];
    let schema = Schema::builder().with_fields(fields).build().unwrap();
    let policies = r#"
        @id("all") permit (principal, action == Action::"discover", resource in Domain::"town");
        @id("read") permit (principal, action == Action::"read", resource in Domain::"town");
        @id("no-ssn") forbid (principal, action in Action::"see", resource == Column::"town.people.home.ssn");
        @id("no-phone") forbid (principal, action in Action::"see", resource == Column::"town.people.contacts.phone");
    "#;
    let dir = tempfile::tempdir().unwrap();
    let tables = [("people", schema.clone())];
    let domain = own::Domain { name: "town", tables: &tables, policies };
    own::write_mesh(dir.path(), json!({ "mesh": "own" }), &[("ann", &[], json!({}))], &[domain]);
    let engine = own::start(dir.path());
    packly().block_on(async { own::create(own::catalog(&engine, "town").await.as_ref(), "people", &schema).await });
    let denied = |sql: &str| {
        packly().block_on(async {
            let ann = engine.mesh().principal("ann").unwrap();
            engine.plan(&ann, sql, &Pins::new()).await.map(drop).map_err(|error| (error.class, error.message))
        })
    };
    assert_eq!(denied("SELECT p.home.city, contacts['a']['note'] FROM town.people p"), Ok(()));
    for (sql, column, policy) in [
        ("SELECT p.home.ssn FROM town.people p", "home.ssn", "no-ssn"),
        ("SELECT home['ssn'] FROM town.people", "home.ssn", "no-ssn"),
        ("SELECT contacts['a']['phone'] FROM town.people", "contacts.phone", "no-phone"),
        ("SELECT 1 FROM town.people WHERE contacts['a']['phone'] = '1'", "contacts.phone", "no-phone"),
    ] {
        let (class, message) = denied(sql).unwrap_err();
        assert_eq!(class, Class::Denied, "{sql}: {message}");
        assert!(message.contains(&format!("`{column}`")) && message.contains(policy), "{sql}: {message}");
    }
}
