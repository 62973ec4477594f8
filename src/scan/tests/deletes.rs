//! Deleted rows: which are left out, and what is refused.

use std::collections::BTreeSet;

use iceberg::spec::{Transform, UnboundPartitionField, UnboundPartitionSpec};

use super::commit::{Files, parquet};
use super::*;
use crate::scan::deletes::encode_vector;

mod keys;
mod lineage;
mod nested;
mod positions;
mod random;

const ALL: [(&str, i32); 2] = [("a", 1), ("b", 2)];

async fn table(version: u8) -> Shop {
    let shop = shop().await;
    shop.create("t", schema(vec![optional(1, "a", Long), optional(2, "b", Text)])).await;
    if version == 3 {
        shop.change("t", |builder| builder.upgrade_format_version(iceberg::spec::FormatVersion::V3).unwrap()).await;
    }
    shop
}

/// Rows `a` from `from` to below `to`, with `b` telling `a` modulo 7.
async fn data(files: &mut Files<'_>, from: i64, to: i64) -> String {
    let b: Vec<String> = (from..to).map(|a| format!("b{}", a % 7)).collect();
    let b: Vec<&str> = b.iter().map(String::as_str).collect();
    files.data(longs(from..to), texts(&b)).await
}

async fn numbers(shop: &Shop, sql: &str) -> Vec<i64> {
    let got = rows(shop, &ALL, sql).await.unwrap();
    got.iter().map(|row| row.parse().unwrap()).collect()
}

/// Gives the table a partition by the plain value of a column, and its id.
async fn partitioned(shop: &Shop, column: i32) -> i32 {
    let field = UnboundPartitionField::builder().source_id(column).name("p".to_owned()).transform(Transform::Identity);
    let spec = UnboundPartitionSpec::builder().add_partition_fields([field.build()]).unwrap().build();
    shop.change("t", |builder| builder.add_default_partition_spec(spec).unwrap()).await;
    shop.load("t").await.metadata().default_partition_spec_id()
}

#[tokio::test]
async fn what_is_new_since_a_snapshot_is_known_until_something_is_gone() {
    let shop = table(2).await;
    let scan = async || pin(&shop, &ALL).await.unwrap();
    let mut files = Files::of(&shop);
    let first = data(&mut files, 0, 40).await;
    files.commit().await;
    let then = scan().await;
    data_of(&shop, 40, 47).await;
    data_of(&shop, 50, 53).await;
    let now = scan().await;
    let more = now.since(then.snapshot_id().unwrap()).await.unwrap().unwrap();
    let context = context(&shop);
    context.register_table("t", more).unwrap();
    let sql = "SELECT count(*), min(a), max(a) FROM t WHERE b <> 'none'";
    let batches = context.sql(sql).await.unwrap().collect().await.unwrap();
    let shown = datafusion::arrow::util::pretty::pretty_format_batches(&batches).unwrap().to_string();
    assert!(shown.contains("| 10       | 40       | 52       |"), "{shown}");
    let nothing = now.since(now.snapshot_id().unwrap()).await.unwrap().unwrap();
    assert!(nothing.files.all().is_empty());
    assert!(then.files.beyond(&now.files).is_none(), "files of the other are not there");
    assert!(now.since(4711).await.unwrap().is_none(), "nobody knows what was then");
    let mut files = Files::of(&shop);
    files.positions(&[(&first, 3)], None).await;
    files.commit().await;
    assert!(scan().await.since(then.snapshot_id().unwrap()).await.unwrap().is_none(), "a row is gone");
}

async fn data_of(shop: &Shop, from: i64, to: i64) {
    let mut files = Files::of(shop);
    data(&mut files, from, to).await;
    files.commit().await;
}
