//! Lakes as their users see them: what opens, what does not, and what the refusal says.

mod asking;

use std::collections::BTreeMap;
use std::sync::Arc;

use datafusion::arrow::array::{ArrayRef, Int64Array};
use iceberg::spec::PrimitiveType;
use polder_catalog::mesh::{CatalogConfig, Login};

use super::catalog::rest::tests::{Server, config};
use super::fixture::{Shop, domain, optional, schema, shop, sql_domain};
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
    lake.catalog(&domain).await.unwrap();
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
    let file = shop.dir.path().join("cat/catalog.db");
    let reading = sql::reading("shop", &file).unwrap();
    assert!(sqlx::query("DELETE FROM iceberg_tables").execute(&reading).await.is_err());
    let missing = shop.dir.path().join("cat/other.db");
    assert!(sql::reading("shop", &missing).is_err());
    assert!(!missing.exists());
}

#[tokio::test]
async fn a_catalog_that_is_gone_is_not_asked_by_what_was_open_of_it() {
    let shop = shop().await;
    shop.create("t", schema(vec![optional(1, "a", PrimitiveType::Long)])).await;
    let (lake, file) = (Lake::default(), shop.dir.path().join("cat/catalog.db"));
    let told = async |table| lake.open(&shop.domain, table).await.unwrap_err().message;
    assert_eq!(told("ns.other").await, "the catalog of domain `shop` has no table `ns.other`");
    let (elsewhere, written) = (file.with_extension("old"), std::fs::read(&file).unwrap());
    std::fs::rename(&file, &elsewhere).unwrap();
    assert_eq!(told("ns.another").await, "the catalog of domain `shop` does not exist");
    std::fs::write(&file, written).unwrap();
    assert_eq!(told("ns.another").await, "the catalog of domain `shop` has no table `ns.another`");
}

#[tokio::test]
async fn a_catalog_of_an_older_writer_opens_and_a_view_is_no_table() {
    let shop = shop().await;
    shop.create("t", schema(vec![optional(1, "a", PrimitiveType::Long)])).await;
    let CatalogConfig::Sql { uri, .. } = &shop.domain.catalog else { unreachable!() };
    let writing = sqlx::SqlitePool::connect(uri.expose()).await.unwrap();
    let run = async |sql: &'static str| {
        sqlx::query(sql).execute(&writing).await.unwrap();
    };
    run("UPDATE iceberg_tables SET iceberg_type = 'VIEW'").await;
    let error = shop.lake.open(&shop.domain, "ns.t").await.unwrap_err();
    assert_eq!(error.message, "`ns.t` is a view in the catalog of domain `shop`, and no table");
    run("UPDATE iceberg_tables SET iceberg_type = NULL").await;
    shop.open("t").await;
    run("ALTER TABLE iceberg_tables DROP COLUMN iceberg_type").await;
    shop.open("t").await;
}

#[tokio::test]
async fn metadata_that_did_not_change_is_decoded_once() {
    let shop = shop().await;
    shop.create("t", schema(vec![optional(1, "a", PrimitiveType::Long)])).await;
    let first = shop.open("t").await;
    // Nothing but the catalog is asked again: the file may even be gone.
    let location = first.table.metadata_location().unwrap().strip_prefix("file://").unwrap().to_owned();
    let text = std::fs::read(&location).unwrap();
    std::fs::remove_file(&location).unwrap();
    let again = shop.open("t").await;
    assert!(std::ptr::eq(first.table.metadata(), again.table.metadata()));
    let error = Lake::default().open(&shop.domain, "ns.t").await.unwrap_err();
    assert_eq!(error.class, Class::Storage);
    let named = format!("metadata file `{}` of table `ns.t` in domain `shop`", location.rsplit('/').next().unwrap());
    assert_eq!(error.message, format!("{named} cannot be read"));
    std::fs::write(&location, text.get(..text.len() / 2).unwrap()).unwrap();
    let error = Lake::default().open(&shop.domain, "ns.t").await.unwrap_err();
    assert_eq!(error.class, Class::Drift);
    assert_eq!(error.message, format!("{named} cannot be understood"));
}

#[tokio::test]
async fn what_is_no_longer_served_is_open_for_those_who_read_it_and_then_gone() {
    let shop = shop().await;
    shop.create("t", schema(vec![optional(1, "a", PrimitiveType::Long)])).await;
    let Shop { dir, lake, domain, catalog } = shop;
    drop(catalog);
    let open = lake.open(&domain, "ns.t").await.unwrap();
    let url = open.url.clone();
    let found = || lake.stores().get_store(url.as_ref()).is_ok();
    lake.keep([&domain]);
    drop(open);
    assert!(found(), "it is kept open");
    let open = lake.open(&domain, "ns.t").await.unwrap();
    lake.keep([]);
    assert!(found(), "a query reads it");
    drop(open);
    assert!(!found());
    lake.open(&domain, "ns.t").await.unwrap();
    assert!(found(), "it opens again");
    lake.keep([&sql_domain("shop", &dir.path().join("other.db"), "file:///elsewhere", &[])]);
    assert!(!found(), "it is configured otherwise");
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
    assert_eq!(
        copy.path(list).unwrap_err().message,
        "table `ns.copy` in domain `pinned` names a file outside the store of its domain"
    );
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

#[tokio::test]
async fn a_table_of_a_rest_catalog_opens_where_it_may_lie_and_is_asked_for_once_in_a_while() {
    let shop = shop().await;
    shop.create("t", schema(vec![optional(1, "a", PrimitiveType::Long)])).await;
    let table = shop.load("t").await;
    let answer = serde_json::json!({
        "metadata-location": table.metadata_location().unwrap(),
        "metadata": table.metadata(),
        "read-restrictions": { "required-column-projections": [] },
    });
    let server = Server::start([config(), ("/catalog/v1/wh/1/namespaces/ns/tables/t", vec![(200, answer)])]).await;
    let mut settings = server.settings(Login::Nobody);
    let refused = domain("rest", CatalogConfig::Rest(Box::new(settings.clone())), &[]);
    let error = Lake::default().open(&refused, "ns.t").await.unwrap_err();
    assert!(error.message.ends_with("`location` in its `catalog` does not"), "{error}");

    for (location, opens) in [("lake", true), ("lake/ns", true), ("lak", false), ("elsewhere", false)] {
        settings.location = Some(format!("file://{}/{location}", shop.dir.path().display()));
        std::fs::create_dir_all(shop.dir.path().join(location)).unwrap();
        let rest = domain("rest", CatalogConfig::Rest(Box::new(settings.clone())), &[]);
        let lake = Lake::default();
        assert!(lake.may_restrict(&rest));
        server.asked();
        for _ in 0..3 {
            let open = lake.open(&rest, "ns.t").await;
            assert_eq!(open.is_ok(), opens, "{location}");
            let bounded = |until: Option<Instant>| {
                until.is_some_and(|until| until.saturating_duration_since(Instant::now()) <= STALENESS)
            };
            assert!(open.is_ok_and(|open| open.restrictions.is_some() && bounded(open.until)) == opens);
        }
        assert_eq!(server.asked().len(), 2, "the way and the table, once");
    }
}
