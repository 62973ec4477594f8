//! Scans of real tables, as a query sees them.

use std::sync::Arc;

use datafusion::arrow::array::{ArrayRef, Float64Array, Int32Array, Int64Array, LargeBinaryArray, StringArray};
use datafusion::arrow::datatypes::DataType;
use datafusion::arrow::util::display::{ArrayFormatter, FormatOptions};
use datafusion::execution::runtime_env::RuntimeEnvBuilder;
use datafusion::prelude::{SessionConfig, SessionContext};
use iceberg::spec::PrimitiveType::{Binary, Decimal, Double, Float, Int, Long, String as Text};
use iceberg::spec::{
    DataContentType, DataFileBuilder, DataFileFormat, ListType, ManifestListWriter, ManifestWriterBuilder, NestedField,
    Operation, Snapshot, Struct, StructType, Summary, Type,
};
use parquet::file::properties::WriterProperties;

use super::*;
use crate::error::Class;
use crate::lake::fixture::{Shop, optional, schema, shop, shop_in, shop_of, sql_domain, write};

mod best;
mod columns;
pub(super) mod commit;
mod damage;
mod deletes;
mod distinct;
mod evolution;
mod foreign;
mod histories;
mod model;
mod refusals;
mod stores;

pub(super) fn column(name: &str, field_id: i32) -> ScanColumn {
    ScanColumn { name: name.into(), field_id, fields: None }
}

/// Calls `check` with bytes that differ from `seed` in a few places. The same on every run.
pub(crate) fn mutations(seed: &[u8], count: usize, mut check: impl FnMut(&[u8])) {
    let mut chance = Chance(count as u64);
    for _ in 0..count {
        let mut bytes = seed.to_vec();
        for _ in 0..=chance.below(4) {
            let at = chance.below(bytes.len());
            match chance.below(5) {
                0 => drop(bytes.remove(at)),
                1 => bytes.insert(at, b"0189-[]{}\",:e.x\xff"[chance.below(16)]),
                2 => bytes[at] = chance.next() as u8,
                3 => {
                    let length = chance.below(40).min(bytes.len() - at);
                    let part = bytes[at..at + length].to_vec();
                    let to = chance.below(bytes.len());
                    bytes.splice(to..to, part);
                }
                _ => bytes.truncate(bytes.len().saturating_sub(chance.below(8)).max(1)),
            }
            if bytes.is_empty() {
                bytes.push(b'0');
            }
        }
        check(&bytes);
    }
}

/// Numbers that look random and are the same on every run.
pub(crate) struct Chance(pub(crate) u64);

impl Chance {
    pub(crate) fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    pub(crate) fn below(&mut self, limit: usize) -> usize {
        (self.next() % limit as u64) as usize
    }
}

pub(super) fn longs(values: impl IntoIterator<Item = i64>) -> ArrayRef {
    Arc::new(Int64Array::from_iter_values(values))
}

pub(super) fn texts(values: &[&str]) -> ArrayRef {
    Arc::new(StringArray::from(values.to_vec()))
}

async fn pin(shop: &Shop, columns: &[(&str, i32)]) -> Result<Arc<IcebergScan>, Error> {
    let columns = columns.iter().map(|(name, id)| column(name, *id)).collect();
    IcebergScan::pin(shop.open("t").await, columns, None).await
}

pub(super) fn context(shop: &Shop) -> SessionContext {
    context_with(shop, SessionConfig::new().with_target_partitions(2))
}

fn settings(pushdown: bool) -> SessionConfig {
    let mut config = SessionConfig::new().with_target_partitions(2).with_batch_size(16);
    config.options_mut().execution.parquet.pushdown_filters = pushdown;
    config
}

fn context_with(shop: &Shop, config: SessionConfig) -> SessionContext {
    let runtime = RuntimeEnvBuilder::new().with_object_store_registry(shop.lake.stores()).build_arc().unwrap();
    SessionContext::new_with_config_rt(config, runtime)
}

/// The rows that a query over `t` gives, each as text.
async fn rows(shop: &Shop, columns: &[(&str, i32)], sql: &str) -> DfResult<Vec<String>> {
    rows_in(context(shop), shop, columns, sql).await
}

async fn rows_in(context: SessionContext, shop: &Shop, columns: &[(&str, i32)], sql: &str) -> DfResult<Vec<String>> {
    let scan = pin(shop, columns).await.map_err(|e| DataFusionError::External(Box::new(e)))?;
    context.register_table("t", scan)?;
    let mut out = Vec::new();
    for batch in context.sql(sql).await?.collect().await? {
        let options = FormatOptions::default().with_null("-");
        let columns: Vec<_> =
            batch.columns().iter().map(|c| ArrayFormatter::try_new(c.as_ref(), &options).unwrap()).collect();
        for row in 0..batch.num_rows() {
            out.push(columns.iter().map(|c| c.value(row).to_string()).collect::<Vec<_>>().join(" "));
        }
    }
    Ok(out)
}

/// How many files the scan of a query opens.
async fn files(shop: &Shop, columns: &[(&str, i32)], filter: Expr) -> usize {
    let context = context(shop);
    let plan = pin(shop, columns).await.unwrap().scan(&context.state(), None, &[filter], None).await.unwrap();
    let Some(exec) = plan.downcast_ref::<DataSourceExec>() else { return 0 };
    let config = exec.data_source().downcast_ref::<FileScanConfig>().unwrap();
    config.file_groups.iter().map(FileGroup::len).sum()
}

fn the_cause(result: DfResult<Vec<String>>) -> Error {
    cause(&result.unwrap_err()).unwrap().clone()
}

pub(super) async fn two_files() -> Shop {
    let shop = shop().await;
    shop.create("t", schema(vec![optional(1, "a", Long), optional(2, "b", Text)])).await;
    shop.append("t", vec![longs(0..3), texts(&["x", "y", "z"])]).await;
    shop.append("t", vec![longs(10..13), texts(&["p", "q", "r"])]).await;
    shop
}

#[tokio::test]
async fn reads_back_what_was_written_under_the_names_it_was_given() {
    let shop = two_files().await;
    let all = [("text", 2), ("number", 1)];
    let got = rows(&shop, &all, "SELECT * FROM t ORDER BY number").await.unwrap();
    assert_eq!(got, ["x 0", "y 1", "z 2", "p 10", "q 11", "r 12"]);
    let got = rows(&shop, &all, "SELECT number + 1 FROM t WHERE text >= 'y' ORDER BY 1").await.unwrap();
    assert_eq!(got, ["2", "3"]);
    assert_eq!(rows(&shop, &all, "SELECT count(*), min(number), max(text) FROM t").await.unwrap(), ["6 0 z"]);
    assert_eq!(rows(&shop, &all, "SELECT number FROM t LIMIT 4").await.unwrap().len(), 4);
    let scan = pin(&shop, &all).await.unwrap();
    let schema = IcebergScan::schema(&scan);
    assert!(schema.fields().iter().all(|field| field.metadata().is_empty()));
    assert_eq!(schema.field(0).data_type(), &DataType::Utf8View);
}

#[tokio::test]
async fn an_empty_table_has_no_rows() {
    let shop = shop().await;
    shop.create("t", schema(vec![optional(1, "a", Long)])).await;
    assert_eq!(rows(&shop, &[("a", 1)], "SELECT a FROM t").await.unwrap(), Vec::<String>::new());
    assert_eq!(rows(&shop, &[("a", 1)], "SELECT count(*) FROM t").await.unwrap(), ["0"]);
    assert_eq!(pin(&shop, &[("a", 1)]).await.unwrap().snapshot_id(), None);
}

#[tokio::test]
async fn only_files_that_may_match_are_opened() {
    use datafusion::prelude::{col, lit};
    let shop = two_files().await;
    let all = [("a", 1), ("b", 2)];
    assert_eq!(files(&shop, &all, col("a").gt(lit(5i64))).await, 1);
    assert_eq!(files(&shop, &all, col("a").eq(lit(1i64)).or(col("a").eq(lit(11i64)))).await, 2);
    assert_eq!(files(&shop, &all, col("a").gt(lit(50i64))).await, 0);
    assert_eq!(files(&shop, &all, col("b").lt(lit("s"))).await, 1);
    assert_eq!(files(&shop, &all, col("b").like(lit(ScalarValue::Utf8View(Some("p%".into()))))).await, 1);
    assert_eq!(files(&shop, &all, col("b").in_list(vec![lit("q"), lit("r")], false)).await, 1);
    assert_eq!(files(&shop, &all, col("a").is_null()).await, 0);
    // The bounds follow the field, not the name.
    assert_eq!(files(&shop, &[("b", 1), ("a", 2)], col("b").gt(lit(5i64))).await, 1);
}

#[tokio::test]
async fn nan_is_not_pruned_away() {
    let shop = shop().await;
    shop.create("t", schema(vec![optional(1, "a", Double)])).await;
    shop.append("t", vec![Arc::new(Float64Array::from(vec![1.0, f64::NAN]))]).await;
    assert_eq!(rows(&shop, &[("a", 1)], "SELECT count(*) FROM t WHERE a > 100.0").await.unwrap(), ["1"]);
}

pub(super) async fn append_files(shop: &Shop, files: Vec<iceberg::spec::DataFile>) {
    use iceberg::transaction::{ApplyTransactionAction, Transaction};
    let table = shop.load("t").await;
    let tx = Transaction::new(&table);
    let tx = tx.fast_append().add_data_files(files).apply(tx).unwrap();
    tx.commit(shop.catalog.as_ref()).await.unwrap();
}

/// A data file with one row that the test made by itself.
async fn put(
    table: &iceberg::table::Table,
    name: &str,
    bytes: Vec<u8>,
    spec: i32,
    partition: Struct,
) -> iceberg::spec::DataFile {
    put_file(table, name, bytes, 1, spec, partition).await
}

async fn put_rows(table: &iceberg::table::Table, name: &str, bytes: Vec<u8>, rows: u64) -> iceberg::spec::DataFile {
    put_file(table, name, bytes, rows, 0, Struct::empty()).await
}

async fn put_file(
    table: &iceberg::table::Table,
    name: &str,
    bytes: Vec<u8>,
    rows: u64,
    spec: i32,
    partition: Struct,
) -> iceberg::spec::DataFile {
    let location = format!("{}/data/{name}.parquet", table.metadata().location());
    let size = bytes.len() as u64;
    table.file_io().new_output(&location).unwrap().write(bytes.into()).await.unwrap();
    DataFileBuilder::default()
        .content(DataContentType::Data)
        .file_path(location)
        .file_format(DataFileFormat::Parquet)
        .partition(partition)
        .record_count(rows)
        .file_size_in_bytes(size)
        .partition_spec_id(spec)
        .build()
        .unwrap()
}

#[tokio::test]
async fn files_are_spread_over_the_partitions_and_the_scan_knows_what_reads_it() {
    let shop = two_files().await;
    let context = context(&shop);
    let scan = pin(&shop, &[("a", 1)]).await.unwrap();
    let plan = scan.scan(&context.state(), None, &[], None).await.unwrap();
    let config = plan.downcast_ref::<DataSourceExec>().unwrap().data_source().downcast_ref::<FileScanConfig>().unwrap();
    assert_eq!(config.file_groups.iter().map(FileGroup::len).collect::<Vec<_>>(), [1, 1]);
    assert!(scan.is_read_by(plan.as_ref()));
    assert!(!pin(&shop, &[("a", 1)]).await.unwrap().is_read_by(plan.as_ref()));
    assert!(!scan.is_read_by(&EmptyExec::new(IcebergScan::schema(&scan))));
}

/// An S3 server in this process, over a directory.
async fn s3_server(root: &std::path::Path) -> String {
    use axum::extract::Request;
    use s3s::auth::SimpleAuth;
    use s3s::service::S3ServiceBuilder;
    std::fs::create_dir_all(root.join("shop-bucket")).unwrap();
    let service = {
        let mut builder = S3ServiceBuilder::new(s3s_fs::FileSystem::new(root).unwrap());
        builder.set_auth(SimpleAuth::from_single("AKIASHOP", "shop-secret"));
        builder.build()
    };
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let app = axum::Router::new().fallback(move |request: Request| {
        let service = service.clone();
        async move { service.call(request.map(s3s::Body::http_body_unsync)).await.unwrap().map(axum::body::Body::new) }
    });
    tokio::spawn(async move { axum::serve(listener, app).await.unwrap() });
    format!("http://{address}")
}

#[tokio::test]
async fn a_table_in_s3_is_read_by_the_same_code() {
    let dir = tempfile::tempdir().unwrap();
    let endpoint = s3_server(&dir.path().join("s3")).await;
    let options = [
        ("endpoint", endpoint.as_str()),
        ("region", "eu-west-1"),
        ("access_key_id", "AKIASHOP"),
        ("secret_access_key", "shop-secret"),
        ("allow_http", "true"),
    ];
    let db = dir.path().join("catalog.db");
    let domain = sql_domain("shop", &db, "s3://shop-bucket/lake", &options);
    let shop = shop_in(dir, domain).await;
    shop.create("t", schema(vec![optional(1, "a", Long), optional(2, "b", Text)])).await;
    shop.append("t", vec![longs(0..3), texts(&["x", "y", "z"])]).await;
    let got = rows(&shop, &[("b", 2), ("a", 1)], "SELECT b, a FROM t WHERE a > 0 ORDER BY a").await.unwrap();
    assert_eq!(got, ["y 1", "z 2"]);

    let mut wrong = options;
    wrong[3].1 = "not-the-secret";
    let stranger = sql_domain("shop", &db, "s3://shop-bucket/lake", &wrong);
    let error = crate::lake::Lake::default().open(&stranger, "ns.t").await.unwrap_err();
    assert_eq!(error.class, Class::Storage);
    assert!(!format!("{:?}", shop.open("t").await).contains("shop-secret"));
    assert!(!error.to_string().contains("not-the-secret") && !error.to_string().contains(&endpoint), "{error}");
}

#[tokio::test]
async fn one_domains_footers_do_not_answer_for_anothers_file() {
    let shop = two_files().await;
    let here = pin(&shop, &[("a", 1)]).await.unwrap();
    let again = pin(&shop, &[("a", 1)]).await.unwrap();
    let db = shop.dir.path().join("cat/catalog.db");
    let mut twin = sql_domain("twin", &db, &format!("file://{}/lake", shop.dir.path().display()), &[]);
    // The twin reads the same catalog, so its files have the same paths.
    if let polder_catalog::mesh::CatalogConfig::Sql { name, .. } = &mut twin.catalog {
        *name = "shop".into();
    }
    let there = shop.lake.open(&twin, "ns.t").await.unwrap();
    let there = IcebergScan::pin(there, vec![column("a", 1)], None).await.unwrap();
    let meta =
        |scan: &IcebergScan| scan.file(&scan.files.all().files(&scan.open, &scan.asked(), &[]).unwrap()[0]).object_meta;
    assert_eq!(meta(&here), meta(&again));
    assert_eq!(meta(&here).location, meta(&there).location);
    assert_ne!(meta(&here).last_modified, meta(&there).last_modified);
    assert_ne!(here.store_url(), there.store_url());
}
