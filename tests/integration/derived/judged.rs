//! Rules of quality of derived products: held against all that their queries make, and who learns what came of them.

use std::fs;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use polder::inspect::{hold, inspect};
use polder::session::Engine;
use serde_json::{Value, json};
use tempfile::TempDir;

use super::{BLIND, OWNER, READER, column, derive, fill, write};
use crate::lines::asked;
use crate::own;

const STATES: &str = "SELECT product, metric, state, measured FROM mesh.quality ORDER BY product, metric";

fn change(dir: &Path, file: &str, with: impl Fn(&mut Value)) {
    let mut contract: Value = serde_json::from_str(&fs::read_to_string(dir.join(file)).unwrap()).unwrap();
    with(&mut contract["schema"][0]);
    fs::write(dir.join(file), contract.to_string()).unwrap();
}

/// `sales.towns` over another domain's table, and `shop.cities` over its own domain's.
async fn ruled() -> (TempDir, Arc<Engine>) {
    let dir = tempfile::tempdir().unwrap();
    write(dir.path());
    let columns = [column("city", "string", &[]), column("people", "long", &[])];
    derive(dir.path(), "cities", "SELECT city, count(*) AS people FROM shop.people GROUP BY city", &columns);
    fs::rename(dir.path().join("sales/products/cities.odcs.yaml"), dir.path().join("shop/products/cities.odcs.yaml"))
        .unwrap();
    for (file, rows) in [("sales/products/towns.odcs.yaml", 3), ("shop/products/cities.odcs.yaml", 2)] {
        change(dir.path(), file, |object| {
            object["quality"] = json!([
                { "metric": "rowCount", "mustBe": rows },
                { "type": "sql", "query": "SELECT max(people) FROM ${object}", "mustBe": 4 },
            ]);
        });
    }
    // It may be another one tomorrow, though nothing changes.
    derive(
        dir.path(),
        "passing",
        "SELECT id FROM shop.people WHERE now() > DATE '2020-01-01'",
        &[column("id", "long", &[])],
    );
    let rule = json!([{ "metric": "duplicateValues", "mustBe": 0 }]);
    change(dir.path(), "sales/products/passing.odcs.yaml", |object| object["properties"][0]["quality"] = rule.clone());
    change(dir.path(), "sales/products/open.odcs.yaml", |object| {
        object["quality"] = json!([{ "metric": "rowCount", "mustBe": 10 }]);
    });
    let engine = own::start(dir.path());
    fill(&engine, "shop", "people").await;
    fill(&engine, "vault", "ledger").await;
    (dir, engine)
}

async fn ask(engine: &Arc<Engine>, user: &str, sql: &str) -> Vec<String> {
    asked(engine, &engine.mesh().principal(user).unwrap(), sql).await.unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn rules_are_held_against_all_rows_and_told_to_whom_they_tell_nothing_new() {
    let (_dir, engine) = ruled().await;
    hold(&engine, None).await;
    // All of the rows, and not those of anybody who asks.
    let all = [
        "cities | rowCount | failed | 3.0",
        "cities | sql | passed | NULL",
        "open | rowCount | unknown | NULL",
        "passing | duplicateValues | passed | 0.0",
        "towns | rowCount | passed | 3.0",
        "towns | sql | passed | NULL",
    ];
    assert_eq!(ask(&engine, OWNER, STATES).await, all);
    let why = "SELECT reason FROM mesh.quality WHERE product = 'open'";
    assert_eq!(ask(&engine, READER, why).await, ["NULL"], "it names what it is made of");
    // By a rule on another domain's rows its writer could ask what they may not see.
    for user in [READER, BLIND] {
        let told = ask(&engine, user, STATES).await;
        assert!(told.contains(&"cities | rowCount | failed | NULL".to_owned()), "{told:#?}");
        assert_eq!(told.iter().filter(|line| line.starts_with("towns")).count(), 2);
    }
    let told = ask(&engine, READER, STATES).await;
    assert!(told.contains(&"towns | rowCount | NULL | NULL".to_owned()), "{told:#?}");
    let blind = ask(&engine, BLIND, STATES).await;
    assert!(blind.contains(&"passing | duplicateValues | NULL | NULL".to_owned()), "{blind:#?}");
    let health =
        "SELECT product, quality, rules FROM mesh.health WHERE product IN ('towns', 'cities') ORDER BY product";
    assert_eq!(ask(&engine, OWNER, health).await, ["cities | failed | rowCount", "towns | passed | NULL"]);
    assert_eq!(ask(&engine, READER, health).await, ["cities | failed | rowCount", "towns | NULL | NULL"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn they_are_held_again_when_what_is_beneath_has_changed() {
    let (_dir, engine) = ruled().await;
    hold(&engine, None).await;
    let times = "SELECT product, count(DISTINCT checked) FROM mesh.quality WHERE product <> 'open' \
                 GROUP BY product ORDER BY product";
    let first = ask(&engine, OWNER, "SELECT product, checked FROM mesh.quality ORDER BY 1, 2").await;
    hold(&engine, None).await;
    let again = ask(&engine, OWNER, "SELECT product, checked FROM mesh.quality ORDER BY 1, 2").await;
    let of = |lines: &[String], product: &str| -> Vec<String> {
        lines.iter().filter(|line| line.starts_with(product)).cloned().collect()
    };
    assert_eq!(of(&first, "towns"), of(&again, "towns"), "nothing has changed");
    assert_ne!(of(&first, "passing"), of(&again, "passing"), "its rows are those of now");
    let catalog = own::catalog(&engine, "shop").await;
    super::append(catalog.as_ref(), "people").await;
    // The lake remembers for a while what the catalog said.
    let until = Instant::now() + Duration::from_secs(60);
    let changed = ["cities | 2", "passing | 2", "towns | 2"];
    while ask(&engine, OWNER, times).await != changed && Instant::now() < until {
        tokio::time::sleep(Duration::from_millis(200)).await;
        hold(&engine, None).await;
    }
    assert_eq!(ask(&engine, OWNER, times).await, changed);
    let last = "SELECT state FROM mesh.quality WHERE product = 'passing' ORDER BY checked DESC LIMIT 1";
    assert_eq!(ask(&engine, OWNER, last).await, ["failed"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_check_finds_what_they_are_not() {
    let (_dir, engine) = ruled().await;
    let inspection = inspect(&engine, 100, || {}).await;
    let told: Vec<String> = inspection
        .findings
        .iter()
        .filter(|finding| finding.code.starts_with("quality/"))
        .map(|finding| format!("{} {}", finding.code, finding.message))
        .collect();
    assert_eq!(told.len(), 2, "{told:#?}");
    assert!(told.iter().any(|line| line.starts_with("quality/failed the rows of `shop.cities@1`: 3, ")), "{told:#?}");
    let unknown = told.iter().find(|line| line.starts_with("quality/unmeasured the rows of `sales.open@1`")).unwrap();
    assert!(unknown.contains("does not carry its tag `pii`"), "{unknown}");
    let before = inspect(&engine, 0, || {}).await;
    assert!(!before.findings.iter().any(|finding| finding.code.starts_with("quality/")), "nothing is read");
}
