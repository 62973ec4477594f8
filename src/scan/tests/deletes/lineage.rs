//! Row ids and when rows last changed.

use super::*;
use crate::scan::lineage::{LAST_UPDATED, ROW_ID};

const LINEAGE: [(&str, i32); 3] = [("a", 1), ("id", ROW_ID), ("changed", LAST_UPDATED)];

#[tokio::test]
async fn rows_have_the_ids_of_their_positions_whatever_is_deleted_or_filtered() {
    let shop = table(3).await;
    let mut files = Files::of(&shop);
    let first = data(&mut files, 0, 120).await;
    data(&mut files, 500, 530).await;
    files.commit().await;
    let mut files = Files::of(&shop);
    files.vector(&first, (40..60).chain([0])).await;
    files.data(longs([1000]), texts(&["x"])).await;
    files.commit().await;
    for pushdown in [false, true] {
        let get = |sql: &'static str| rows_in(context_with(&shop, settings(pushdown)), &shop, &LINEAGE, sql);
        let got = get("SELECT a, id, changed FROM t WHERE a IN (1, 39, 61, 119, 500, 529, 1000) ORDER BY a").await;
        assert_eq!(got.unwrap(), ["1 1 1", "39 39 1", "61 61 1", "119 119 1", "500 120 1", "529 149 1", "1000 150 2"]);
        let got = get("SELECT id + 1 FROM t WHERE a >= 110 AND a < 502 ORDER BY a DESC LIMIT 3").await;
        assert_eq!(got.unwrap(), ["122", "121", "120"]);
        assert_eq!(get("SELECT a FROM t WHERE id = 149").await.unwrap(), ["529"]);
        assert_eq!(get("SELECT a FROM t WHERE changed > 1").await.unwrap(), ["1000"]);
        assert_eq!(get("SELECT count(*) FROM t WHERE id < 60").await.unwrap(), ["39"]);
        assert_eq!(get("SELECT a FROM t ORDER BY id DESC LIMIT 2").await.unwrap(), ["1000", "529"]);
        assert_eq!(get("SELECT count(id), count(DISTINCT id) FROM t").await.unwrap(), ["130 130"]);
    }
}

#[tokio::test]
async fn what_a_file_holds_goes_first_and_keys_do_not_shift_ids() {
    let shop = table(3).await;
    let mut files = Files::of(&shop);
    let held: ArrayRef = Arc::new(Int64Array::from(vec![Some(77), None, None]));
    let columns = [("a", 1, longs([1, 2, 3])), ("r", ROW_ID, Arc::clone(&held)), ("l", LAST_UPDATED, held)];
    files.put(parquet(&columns, None), 3, |_| {}).await;
    files.commit().await;
    let mut files = Files::of(&shop);
    files.keys(&[("a", 1, longs([2]))]).await;
    files.commit().await;
    let got = rows(&shop, &LINEAGE, "SELECT a, id, changed FROM t ORDER BY a").await.unwrap();
    assert_eq!(got, ["1 77 77", "3 2 1"]);
}

#[tokio::test]
async fn files_from_before_the_upgrade_have_none() {
    let shop = table(2).await;
    let mut files = Files::of(&shop);
    data(&mut files, 0, 2).await;
    files.commit().await;
    let got = rows(&shop, &LINEAGE, "SELECT a, id, changed FROM t ORDER BY a").await.unwrap();
    assert_eq!(got, ["0 - -", "1 - -"]);
}

#[tokio::test]
async fn a_file_that_is_read_in_parts_counts_from_each_parts_first_row() {
    let shop = table(3).await;
    let mut files = Files::of(&shop);
    data(&mut files, 0, 400).await;
    files.commit().await;
    let mut config = settings(false).with_target_partitions(3);
    config.options_mut().optimizer.repartition_file_min_size = 1;
    let context = context_with(&shop, config);
    let got = rows_in(context, &shop, &LINEAGE, "SELECT count(*) FROM t WHERE id = a").await.unwrap();
    assert_eq!(got, ["400"]);
}
