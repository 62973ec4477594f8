//! Row rules on the Packly mesh: who sees which rows, through queries, plans, metadata tables and time travel.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::sync::{Arc, OnceLock};

use polder::error::{Class, Error};
use polder::packly::write_files;
use polder::session::{Engine, Pins};
use polder_catalog::principal::{Attribute, Principal};
use tempfile::TempDir;

use crate::lines::asked;
use crate::packly::make;

/// Regional analysts see the customers of their own region; resellers and those of an unknown tier nobody of them.
const RULES: &str = r#"
@id("customers-for-all")
permit (principal, action == Action::"read_rows", resource == Product::"storefront.customers")
unless { principal in Group::"fraud-team" };

@id("customers-of-the-own-region")
@filter("region = principal.region")
permit (principal in Group::"fraud-team", action == Action::"read_rows", resource == Product::"storefront.customers");

@id("no-resellers")
@filter("segment = 'reseller' OR loyalty_tier * 2 > 5 OR phone LIKE '+1%'")
forbid (principal in Group::"fraud-team", action == Action::"read_rows", resource == Product::"storefront.customers");
"#;

struct Shop {
    engine: Arc<Engine>,
    runtime: tokio::runtime::Runtime,
    _dir: TempDir,
}

fn shop() -> &'static Shop {
    static SHOP: OnceLock<Shop> = OnceLock::new();
    SHOP.get_or_init(|| {
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
        let dir = tempfile::tempdir().unwrap();
        let mesh = dir.path().join("mesh");
        write_files(&mesh).unwrap();
        fs::write(mesh.join("storefront/policies/rows.cedar"), RULES).unwrap();
        let engine = runtime.block_on(make(&mesh, 0.002));
        Shop { engine, runtime, _dir: dir }
    })
}

fn principal(groups: &[&str], region: Option<&str>) -> Principal {
    let attributes: BTreeMap<String, Attribute> =
        region.map(|region| ("region".to_owned(), Attribute::String(region.to_owned()))).into_iter().collect();
    let groups: BTreeSet<String> = groups.iter().map(|group| (*group).to_owned()).collect();
    Principal { id: "somebody".into(), groups, attributes, purpose: None }
}

fn regional() -> Principal {
    principal(&["analysts", "fraud-team"], Some("EU"))
}

fn ask(who: &Principal, sql: &str) -> Result<Vec<String>, Error> {
    let shop = shop();
    shop.runtime.block_on(asked(&shop.engine, who, sql))
}

#[test]
fn a_regional_analyst_sees_the_rows_of_the_region_and_the_others_see_all() {
    let officer = principal(&["privacy-office"], None);
    let own = "region = 'EU' AND segment <> 'reseller' AND loyalty_tier < 3 AND phone NOT LIKE '+1%'";
    let expected =
        ask(&officer, &format!("SELECT count(*), count(DISTINCT city) FROM storefront.customers WHERE {own}"));
    let count = "SELECT count(*), count(DISTINCT city) FROM storefront.customers";
    assert_eq!(ask(&regional(), count).unwrap(), expected.unwrap());
    let all = ask(&officer, count).unwrap();
    assert_eq!(ask(&principal(&["analysts"], Some("EU")), count).unwrap(), all);
    assert_ne!(ask(&regional(), count).unwrap(), all);
    assert_eq!(ask(&regional(), "SELECT DISTINCT region FROM storefront.customers").unwrap(), ["EU"]);
    let nobody = principal(&["analysts", "fraud-team"], None);
    assert_eq!(ask(&nobody, "SELECT count(*) FROM storefront.customers").unwrap(), ["0"]);
}

#[test]
fn what_tells_of_all_rows_is_closed_to_who_sees_a_part() {
    let denied =
        ask(&principal(&["privacy-office", "fraud-team"], Some("EU")), "SELECT * FROM storefront.\"customers$files\"");
    assert_eq!(denied.unwrap_err().class, Class::Denied);
    assert!(ask(&principal(&["privacy-office"], None), "SELECT count(*) FROM storefront.\"customers$files\"").is_ok());
    let shop = shop();
    let planned = |who: Principal| {
        shop.runtime.block_on(shop.engine.plan(&who, "SELECT city FROM storefront.customers", &Pins::new())).unwrap()
    };
    let (part, whole) = (planned(regional()), planned(principal(&["privacy-office"], None)));
    assert_eq!((part.pins().len(), part.snapshots().len()), (1, 0));
    assert_eq!((whole.pins().len(), whole.snapshots().len()), (1, 1));
    assert!(part.notices().iter().any(|notice| notice.contains("row rules")), "{:?}", part.notices());
    let plan =
        ask(&regional(), "EXPLAIN SELECT email FROM storefront.customers WHERE city = 'Delft'").unwrap().join("\n");
    assert!(
        plan.contains(
            "GuardExec: storefront.customers, projection=[email], masked=[email: sha-256-global], rows=filtered"
        ),
        "{plan}"
    );
    assert!(!plan.contains("reseller") && !plan.contains("EU") && !plan.contains("parquet"), "{plan}");
}

#[test]
fn an_expression_that_fails_on_hidden_rows_alone_does_not_fail() {
    let fails = "CAST(replace(region, 'EU', '1') AS INT) = 1";
    let sql = format!("SELECT count(*) > 0 FROM storefront.customers WHERE {fails}");
    assert!(ask(&principal(&["privacy-office"], None), &sql).is_err());
    assert_eq!(ask(&regional(), &sql).unwrap(), ["true"]);
}
