//! A fault in one file takes out what it concerns and nothing more, with one clear error at its place.

use std::fs;
use std::path::Path;
use std::sync::Arc;

use futures::TryStreamExt;
use polder::error::{Class, Error};
use polder::packly::write_files;
use polder::session::{Engine, Options, Pins};
use polder_catalog::mesh::Mesh;

use crate::packly::{make, packly};

/// A copy of Packly's files, spoilt: in `file`, `from` becomes `to`.
fn spoilt(
    file: &str,
    from: &str,
    to: &str,
) -> (tempfile::TempDir, Result<Mesh, Vec<polder_catalog::document::Finding>>) {
    let dir = tempfile::tempdir().unwrap();
    let mesh = dir.path().join("mesh");
    write_files(&mesh).unwrap();
    let path = mesh.join(file);
    let text = fs::read_to_string(&path).unwrap();
    assert!(text.contains(from), "`{from}` is in {file}");
    fs::write(&path, text.replacen(from, to, 1)).unwrap();
    let loaded = Mesh::load(&mesh);
    (dir, loaded)
}

/// Loads a spoilt mesh: one error in `file`, its domain out, the four others served.
fn check_domain_out(file: &str, from: &str, to: &str, message: &str) {
    let (_dir, mesh) = spoilt(file, from, to);
    let mesh = mesh.unwrap();
    let findings: Vec<String> =
        mesh.findings().iter().map(|finding| format!("{}: {}", finding.place, finding.message)).collect();
    assert_eq!(mesh.domains().count(), 4, "{findings:#?}");
    assert!(findings.iter().any(|f| f.starts_with(&format!("{file}:")) && f.contains(message)), "{findings:#?}");
}

#[test]
fn a_broken_contract_takes_its_domain_out() {
    check_domain_out(
        "marketing/products/campaigns.odcs.yaml",
        "physicalType: string",
        "physicalType: strnig",
        "strnig",
    );
}

#[test]
fn an_unknown_attribute_in_a_policy_takes_its_domain_out() {
    check_domain_out("marketing/policies/access.cedar", "principal.region", "principal.regoin", "regoin");
}

#[test]
fn a_missing_secret_takes_its_domain_out() {
    check_domain_out(
        "marketing/domain.yaml",
        "catalog:",
        "storage: { secret_access_key: \"${env:POLDER_TEST_NOT_SET}\" }\ncatalog:",
        "POLDER_TEST_NOT_SET",
    );
}

#[test]
fn a_broken_mesh_wide_policy_stops_the_start() {
    let (_dir, mesh) = spoilt("policies/oversight.cedar", "Group::\"privacy-office\"", "Group::\"privacy-ofice\"");
    let findings = mesh.unwrap_err();
    assert!(findings.iter().any(|f| f.place.file.as_ref() == "policies/oversight.cedar"), "{findings:#?}");
}

async fn first(engine: &Arc<Engine>, user: &str, sql: &str) -> Result<usize, Error> {
    let principal = engine.mesh().principal(user).unwrap();
    let rows = engine.plan(&principal, sql, &Pins::new()).await?.run()?;
    Ok(rows.try_collect::<Vec<_>>().await?.iter().map(|batch| batch.num_rows()).sum())
}

#[test]
fn a_catalog_that_cannot_be_reached_fails_its_own_queries_by_name() {
    packly().block_on(async {
        let dir = tempfile::tempdir().unwrap();
        let mesh = dir.path().join("mesh");
        write_files(&mesh).unwrap();
        let engine = make(&mesh, 0.001).await;
        drop(engine);
        fs::remove_file(mesh.join("lake/marketing/catalog.db")).unwrap();

        let engine = Engine::start(Mesh::load(&mesh).unwrap(), Options::default()).unwrap();
        let error = first(&engine, "privacy-officer", "SELECT * FROM marketing.campaigns").await.unwrap_err();
        assert_eq!(error.class, Class::Storage, "{error}");
        assert!(error.message.contains("`marketing`"), "{error}");
        assert!(error.to_string().contains("marketing/domain.yaml:"), "{error}");
        assert!(!error.to_string().contains(dir.path().to_str().unwrap()), "no paths of the server: {error}");
        let rows = first(&engine, "privacy-officer", "SELECT * FROM storefront.customers LIMIT 3").await.unwrap();
        assert_eq!(rows, 3);
        let survey = engine.survey().await;
        assert_eq!(survey.len(), 1, "{survey:?}");
    });
}

#[test]
fn a_lost_data_file_is_an_error_and_never_a_short_answer() {
    packly().block_on(async {
        let dir = tempfile::tempdir().unwrap();
        let mesh = dir.path().join("mesh");
        write_files(&mesh).unwrap();
        let engine = make(&mesh, 0.001).await;
        let sql = "SELECT * FROM fulfillment.shipment_status";
        assert!(first(&engine, "privacy-officer", sql).await.unwrap() > 0);
        remove_one_parquet(&mesh.join("lake/fulfillment"), "shipment");
        let error = first(&engine, "privacy-officer", sql).await.unwrap_err();
        assert_eq!(error.class, Class::Storage, "{error}");
        assert!(!error.to_string().contains(dir.path().to_str().unwrap()), "no paths of the server: {error}");
    });
}

/// Removes a data file below a directory whose path contains `part`.
fn remove_one_parquet(dir: &Path, part: &str) {
    let mut pending = vec![dir.to_owned()];
    while let Some(next) = pending.pop() {
        for entry in fs::read_dir(next).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                pending.push(path);
            } else if path.extension().is_some_and(|e| e == "parquet") && path.to_string_lossy().contains(part) {
                fs::remove_file(path).unwrap();
                return;
            }
        }
    }
    panic!("no data file of `{part}` was found");
}
