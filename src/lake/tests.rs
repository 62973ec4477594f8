//! Lakes as their users see them: what opens, what does not, and what the refusal says.

use std::collections::BTreeMap;
use std::sync::Arc;

use datafusion::arrow::array::{ArrayRef, Int64Array};
use iceberg::spec::PrimitiveType;
use polder_catalog::mesh::CatalogConfig;

use super::fixture::{domain, optional, schema, shop, sql_domain};
use super::*;
use crate::error::Class;

#[tokio::test]
async fn a_missing_catalog_is_a_storage_error_that_names_the_domain_and_no_path() {
    let dir = tempfile::tempdir().unwrap();
    std::fs::create_dir(dir.path().join("lake")).unwrap();
    let warehouse = format!("file://{}/lake", dir.path().display());
    let domain = sql_domain("shop", &dir.path().join("catalog.db"), &warehouse, &[]);
    let lake = Lake::default();
    let error = lake.open(&domain, "ns.t").await.unwrap_err();
    assert_eq!(error.class, Class::Storage);
    assert_eq!(error.message, "the catalog of domain `shop` does not exist");

    // The failure does not stick: once the catalog is there, the same lake opens it.
    lake.catalog(&domain, true).await.unwrap();
    let error = lake.open(&domain, "ns.t").await.unwrap_err();
    assert_eq!(error.class, Class::Drift);
    assert_eq!(error.message, "the catalog of domain `shop` has no table `ns.t`");
}

#[tokio::test]
async fn a_file_that_is_no_catalog_is_a_storage_error() {
    let dir = tempfile::tempdir().unwrap();
    std::fs::create_dir(dir.path().join("lake")).unwrap();
    std::fs::write(dir.path().join("catalog.db"), "this is not a database, whatever its name says").unwrap();
    let warehouse = format!("file://{}/lake", dir.path().display());
    let domain = sql_domain("shop", &dir.path().join("catalog.db"), &warehouse, &[]);
    let error = Lake::default().open(&domain, "ns.t").await.unwrap_err();
    assert_eq!((error.class, error.message.contains(&*dir.path().to_string_lossy())), (Class::Storage, false));
}

#[tokio::test]
async fn a_served_catalog_cannot_be_written() {
    let shop = shop().await;
    let reading = shop.lake.catalog(&shop.domain, false).await.unwrap();
    let error = reading.create_namespace(&NamespaceIdent::new("x".into()), Default::default()).await;
    assert!(error.is_err());
    assert!(shop.catalog.list_namespaces(None).await.unwrap().iter().all(|ns| ns.to_string() != "x"));
}

#[tokio::test]
async fn concurrent_first_opens_share_one_catalog() {
    let shop = shop().await;
    let (a, b) = tokio::join!(shop.lake.catalog(&shop.domain, false), shop.lake.catalog(&shop.domain, false));
    assert!(Arc::ptr_eq(&a.unwrap(), &b.unwrap()));
}

#[tokio::test]
async fn pinned_metadata_opens_and_sees_no_other_directory() {
    let shop = shop().await;
    shop.create("t", schema(vec![optional(1, "a", PrimitiveType::Long)])).await;
    shop.append("t", vec![Arc::new(Int64Array::from(vec![1])) as ArrayRef]).await;
    let location = shop.load("t").await.metadata_location().unwrap().to_owned();
    let elsewhere = shop.dir.path().join("x/metadata/copy.metadata.json");
    std::fs::create_dir_all(elsewhere.parent().unwrap()).unwrap();
    std::fs::copy(location.strip_prefix("file://").unwrap(), &elsewhere).unwrap();

    let lake = Lake::default();
    let tables = BTreeMap::from([
        ("ns.t".to_owned(), location),
        ("ns.copy".to_owned(), format!("file://{}", elsewhere.display())),
    ]);
    let pinned = domain("pinned", CatalogConfig::Metadata(tables), &[]);
    let open = lake.open(&pinned, "ns.t").await.unwrap();
    assert!(open.table.metadata().current_snapshot().is_some());
    assert_eq!(lake.open(&pinned, "ns.other").await.unwrap_err().class, Class::Drift);

    let copy = lake.open(&pinned, "ns.copy").await.unwrap();
    let list = copy.table.metadata().current_snapshot().unwrap().manifest_list();
    assert_eq!(copy.path(list).unwrap_err().message, "table `ns.copy` names a file outside the store of its domain");
    assert!(copy.table.file_io().new_input(list).is_err());
}

#[tokio::test]
async fn a_store_that_does_not_answer_is_a_storage_error_in_time() {
    // A port that was just free: nothing listens there.
    let port = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let endpoint = format!("http://127.0.0.1:{port}");
    let options = [
        ("endpoint", endpoint.as_str()),
        ("allow_http", "true"),
        ("access_key_id", "AKIASHOP"),
        ("secret_access_key", "shop-secret"),
    ];
    let tables = BTreeMap::from([("ns.t".to_owned(), "s3://b/t/metadata/00001-x.metadata.json".to_owned())]);
    let pinned = domain("far", CatalogConfig::Metadata(tables), &options);
    let start = std::time::Instant::now();
    let error = Lake::default().open(&pinned, "ns.t").await.unwrap_err();
    assert!(start.elapsed() < std::time::Duration::from_secs(12));
    assert_eq!(error.class, Class::Storage);
    assert!(error.message.contains("`far`") && !error.message.contains("127.0.0.1"), "{error}");
}
