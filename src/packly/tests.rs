//! What the demo promises: the same rows every time, ids that join, and a mesh that unpacks.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing, reason = "tests")]

use std::collections::{BTreeMap, HashMap, HashSet};
use std::path::Path;
use std::sync::{Arc, Mutex};

use arrow::array::{AsArray, RecordBatch};
use arrow::compute::concat_batches;
use arrow::datatypes::Int64Type;
use futures::TryStreamExt;
use iceberg::arrow::schema_to_arrow_schema;
use iceberg::io::LocalFsStorageFactory;
use iceberg::{Catalog, CatalogBuilder, TableIdent};
use iceberg_catalog_sql::{SqlBindStyle, SqlCatalog, SqlCatalogBuilder};

use super::table::Table;
use super::world::World;
use super::write::{batch, tables};
use super::*;

const SCALE: f64 = 0.02;

async fn catalog(dir: &Path, domain: &str) -> SqlCatalog {
    SqlCatalogBuilder::default()
        .uri(format!("sqlite:{}/{domain}.db?mode=rwc", dir.display()))
        .warehouse_location(format!("file://{}/{domain}", dir.display()))
        .sql_bind_style(SqlBindStyle::QMark)
        .with_storage_factory(Arc::new(LocalFsStorageFactory))
        .load(domain, HashMap::new())
        .await
        .unwrap()
}

/// All rows of a table, made block by block.
fn made(domain: &str, name: &str) -> RecordBatch {
    let world = World::new(SCALE);
    let table = *tables(domain).iter().find(|table| table.name == name).unwrap();
    let schema = Arc::new(schema_to_arrow_schema(&table.schema().unwrap()).unwrap());
    let blocks: Vec<_> = table
        .blocks(world)
        .iter()
        .map(|block| batch(table, world, &block.rows, Arc::clone(&schema)).unwrap())
        .collect();
    concat_batches(&schema, &blocks).unwrap()
}

fn texts(batch: &RecordBatch, column: &str) -> Vec<String> {
    batch.column_by_name(column).unwrap().as_string::<i32>().iter().flatten().map(str::to_owned).collect()
}

fn longs(batch: &RecordBatch, column: &str) -> Vec<i64> {
    batch.column_by_name(column).unwrap().as_primitive::<Int64Type>().values().to_vec()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_written_is_what_the_generator_says_and_stays_when_written_again() {
    let dir = tempfile::tempdir().unwrap();
    for domain in DOMAINS {
        let catalog: Arc<dyn Catalog> = Arc::new(catalog(dir.path(), domain).await);
        let seen = Mutex::new(0);
        let count = |step: Progress| *seen.lock().unwrap() += step.rows;
        write_domain(domain, Arc::clone(&catalog), SCALE, &count).await.unwrap();
        write_domain(domain, Arc::clone(&catalog), SCALE, &count).await.unwrap();
        let expected: u64 = tables(domain).iter().map(|table| (table.rows)(World::new(SCALE))).sum();
        assert_eq!(*seen.lock().unwrap(), 2 * expected, "progress of both runs in {domain}");

        for table in tables(domain) {
            let ident = TableIdent::from_strs([table.namespace, table.name]).unwrap();
            let found = catalog.load_table(&ident).await.unwrap();
            assert_eq!(found.metadata().snapshots().count(), 1, "{ident} was written once");
            let read: Vec<RecordBatch> =
                found.scan().build().unwrap().to_arrow().await.unwrap().try_collect().await.unwrap();
            let read = concat_batches(&read[0].schema(), &read).unwrap();
            let made = made(domain, table.name);
            assert_eq!(read.num_rows(), made.num_rows(), "{ident}");
            let key = made.schema().field(0).name().clone();
            assert_eq!(sorted(&read, &key), sorted(&made, &key), "{ident}");
        }
    }
}

/// The rows as text, in the order of their key: files may be read in any order.
fn sorted(batch: &RecordBatch, key: &str) -> Vec<String> {
    let options = arrow::util::display::FormatOptions::default();
    let columns: Vec<_> = batch
        .columns()
        .iter()
        .map(|column| arrow::util::display::ArrayFormatter::try_new(column, &options).unwrap())
        .collect();
    assert_eq!(batch.schema().field(0).name(), key);
    let mut rows: Vec<String> = (0..batch.num_rows())
        .map(|row| columns.iter().map(|column| column.value(row).to_string()).collect::<Vec<_>>().join("|"))
        .collect();
    rows.sort();
    rows
}

#[test]
fn rows_do_not_depend_on_the_blocks_that_they_are_made_in() {
    let world = World::new(SCALE);
    for table in DOMAINS.iter().flat_map(|domain| tables(domain)) {
        let schema = Arc::new(schema_to_arrow_schema(&table.schema().unwrap()).unwrap());
        let total = (table.rows)(world);
        let whole = batch(*table, world, &(0..total), Arc::clone(&schema)).unwrap();
        let middle = total / 3;
        let tail = batch(*table, world, &(middle..total), schema).unwrap();
        assert!(tail.num_rows() > 0 && tail == whole.slice(middle as usize, tail.num_rows()), "{}", table.name);
    }
}

#[test]
fn the_first_rows_are_the_same_on_every_machine() {
    let customers = made("storefront", "customers");
    assert_eq!(texts(&customers, "customer_id")[0], "C00000001");
    assert_eq!(texts(&customers, "email")[..2], ["marek.santos1@mail.example", "hanna.weber2@mail.example"]);
    let events = made("storefront", "customer_events");
    assert_eq!(texts(&events, "customer_id")[..2], ["C00000349", "C00000349"]);
}

#[test]
fn customer_ids_are_canonical_and_resolve_in_every_domain() {
    let customers: HashSet<String> = texts(&made("storefront", "customers"), "customer_id").into_iter().collect();
    for id in &customers {
        assert!(id.len() == 9 && id.starts_with('C') && id[1..].bytes().all(|b| b.is_ascii_digit()), "{id}");
    }
    for domain in DOMAINS {
        for table in tables(domain) {
            let rows = made(domain, table.name);
            if rows.column_by_name("customer_id").is_some() {
                let ids = texts(&rows, "customer_id");
                assert!(!ids.is_empty() && ids.iter().all(|id| customers.contains(id)), "{domain}.{}", table.name);
            }
        }
    }
}

#[test]
fn orders_transactions_articles_accounts_and_campaigns_resolve() {
    let orders = made("wholesale", "orders");
    let numbers: HashSet<i64> = longs(&orders, "order_id").into_iter().collect();
    let transactions = made("payments", "transactions");
    let payments: HashMap<i64, String> =
        longs(&transactions, "transaction_id").into_iter().zip(texts(&transactions, "customer_id")).collect();
    for rows in [&transactions, &made("fulfillment", "shipment_status")] {
        let found: HashSet<i64> = longs(rows, "order_id").into_iter().collect();
        assert_eq!(found, numbers, "every order is paid and shipped, and nothing else is");
    }
    for name in ["refunds", "fraud_signals"] {
        let rows = made("payments", name);
        for (transaction, customer) in longs(&rows, "transaction_id").iter().zip(texts(&rows, "customer_id")) {
            assert_eq!(payments.get(transaction), Some(&customer), "{name}");
        }
    }
    let refunded: Vec<i64> = longs(&transactions, "transaction_id")
        .into_iter()
        .zip(texts(&transactions, "status"))
        .filter(|(_, status)| status == "refunded")
        .map(|(id, _)| id)
        .collect();
    assert_eq!(longs(&made("payments", "refunds"), "transaction_id"), refunded);

    let resolves = |from: (&str, &str, &str), to: (&str, &str)| {
        let known: HashSet<String> = texts(&made(to.0, to.1), from.2).into_iter().collect();
        let used = texts(&made(from.0, from.1), from.2);
        assert!(!used.is_empty() && used.iter().all(|id| known.contains(id)), "{from:?} in {to:?}");
    };
    resolves(("wholesale", "orders", "sku"), ("storefront", "catalog_items"));
    resolves(("storefront", "customer_events", "sku"), ("storefront", "catalog_items"));
    resolves(("wholesale", "orders", "account_id"), ("wholesale", "accounts"));
    resolves(("marketing", "paid_acquisition", "campaign_id"), ("marketing", "campaigns"));
    resolves(("fulfillment", "shipment_status", "warehouse_id"), ("fulfillment", "warehouses"));
}

#[test]
fn one_paid_click_at_most_is_the_first_of_a_customer() {
    let clicks = made("marketing", "paid_acquisition");
    let first = clicks.column_by_name("is_first_touch").unwrap().as_boolean().clone();
    let ids = texts(&clicks, "customer_id");
    let firsts: Vec<&String> =
        ids.iter().zip(first.iter()).filter(|(_, first)| *first == Some(true)).map(|(id, _)| id).collect();
    let distinct: HashSet<&String> = firsts.iter().copied().collect();
    assert_eq!(firsts.len(), distinct.len());
    assert_eq!(distinct, ids.iter().collect::<HashSet<_>>(), "and everyone who clicked has one");
}

#[test]
fn the_mesh_unpacks_keeps_edits_and_refuses_a_foreign_directory() {
    let dir = tempfile::tempdir().unwrap();
    let mesh = dir.path().join("new/mesh");
    write_files(&mesh).unwrap();
    assert!(mesh.join("storefront/products/customers.odcs.yaml").is_file());
    #[cfg(unix)]
    {
        use std::os::unix::fs::PermissionsExt;
        let mode = std::fs::metadata(mesh.join("secrets/guest.argon2")).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
    }
    std::fs::write(mesh.join("README.md"), "mine").unwrap();
    std::fs::remove_file(mesh.join("marketing/domain.yaml")).unwrap();
    write_files(&mesh).unwrap();
    assert_eq!(std::fs::read_to_string(mesh.join("README.md")).unwrap(), "mine");
    assert!(mesh.join("marketing/domain.yaml").is_file());

    let foreign = dir.path().join("foreign");
    std::fs::create_dir(&foreign).unwrap();
    std::fs::write(foreign.join("mesh.yaml"), "mesh: other\n").unwrap();
    let error = write_files(&foreign).unwrap_err();
    assert_eq!(error.class, crate::error::Class::BadRequest);
    assert_eq!(std::fs::read_dir(&foreign).unwrap().count(), 1, "nothing was written");
}

#[test]
fn passwords_are_the_names_of_the_users() {
    use argon2::PasswordVerifier;
    let dir = tempfile::tempdir().unwrap();
    write_files(dir.path()).unwrap();
    for user in ["analyst-eu", "analyst-us", "storefront-owner", "privacy-officer", "guest"] {
        let hash = std::fs::read_to_string(dir.path().join(format!("secrets/{user}.argon2"))).unwrap();
        let hash = argon2::PasswordHash::new(hash.trim()).unwrap();
        argon2::Argon2::default().verify_password(user.as_bytes(), &hash).unwrap();
    }
}

/// The top-level columns of a contract as name in the table, type and whether required, by the layout of these files.
fn declared(contract: &str) -> (String, BTreeMap<String, (String, bool)>) {
    let mut columns: Vec<(String, String, bool)> = Vec::new();
    let mut table = String::new();
    for line in contract.lines() {
        let value = |key: &str| line.strip_prefix(key).map(|value| value.trim_matches('"').to_owned());
        if let Some(name) = value("    physicalName: ") {
            table = name;
        } else if let Some(name) = value("      - name: ") {
            columns.push((name, String::new(), false));
        } else if let Some(column) = columns.last_mut() {
            if let Some(name) = value("        physicalName: ") {
                column.0 = name;
            } else if let Some(kind) = value("        physicalType: ") {
                column.1 = kind;
            } else if line == "        required: true" {
                column.2 = true;
            }
        }
    }
    (table, columns.into_iter().map(|(name, kind, required)| (name, (kind, required))).collect())
}

fn actual(table: &Table) -> BTreeMap<String, (String, bool)> {
    let kind = |kind: &iceberg::spec::Type| match kind {
        iceberg::spec::Type::Primitive(kind) => kind.to_string(),
        iceberg::spec::Type::Struct(_) => "struct".into(),
        iceberg::spec::Type::List(_) => "list".into(),
        iceberg::spec::Type::Map(_) => "map".into(),
    };
    (table.fields)().iter().map(|(name, of, required)| ((*name).to_owned(), (kind(of), *required))).collect()
}

#[test]
fn contracts_promise_what_the_tables_have() {
    let dir = tempfile::tempdir().unwrap();
    write_files(dir.path()).unwrap();
    let mut contracts = 0;
    for domain in DOMAINS {
        for file in std::fs::read_dir(dir.path().join(domain).join("products")).unwrap() {
            let path = file.unwrap().path();
            let (name, columns) = declared(&std::fs::read_to_string(&path).unwrap());
            let table =
                tables(domain).iter().find(|table| format!("{}.{}", table.namespace, table.name) == name).unwrap();
            let actual = actual(table);
            for (column, promise) in &columns {
                assert_eq!(
                    actual.get(column).map(|(kind, required)| (kind.replace(", ", ","), *required)),
                    Some(promise.clone()),
                    "{}: {column}",
                    path.display()
                );
            }
            assert!(path.to_string_lossy().contains('@') || columns.len() == actual.len(), "{}", path.display());
            contracts += 1;
        }
    }
    assert_eq!(contracts, 13);
}
