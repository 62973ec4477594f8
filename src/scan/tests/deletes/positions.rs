//! Position deletes and deletion vectors.

use super::*;

#[tokio::test]
async fn deleted_positions_are_left_out_of_their_file_only() {
    let shop = table(2).await;
    let mut files = Files::of(&shop);
    let first = data(&mut files, 0, 120).await;
    data(&mut files, 200, 210).await;
    files.commit().await;
    let mut files = Files::of(&shop);
    files.positions(&[(&first, 3), (&first, 49), (&first, 50), (&first, 119)], None).await;
    files.commit().await;
    let gone = BTreeSet::from([3, 49, 50, 119]);
    let expect: Vec<i64> = (0..120).filter(|a| !gone.contains(a)).chain(200..210).collect();
    assert_eq!(numbers(&shop, "SELECT a FROM t ORDER BY a").await, expect);
    assert_eq!(numbers(&shop, "SELECT count(*) FROM t").await, [126]);
    assert_eq!(numbers(&shop, "SELECT count(a) FROM t WHERE b >= ''").await, [126]);
    assert_eq!(numbers(&shop, "SELECT max(a) FROM t WHERE a < 150").await, [118]);
    assert_eq!(numbers(&shop, "SELECT max(a) FROM t").await, [209]);
}

#[tokio::test]
async fn younger_data_is_not_touched_and_data_of_the_same_snapshot_is() {
    let shop = table(2).await;
    let mut files = Files::of(&shop);
    let same = data(&mut files, 0, 10).await;
    files.positions(&[(&same, 1)], None).await;
    files.commit().await;
    let path = format!("{}/data/later.parquet", shop.load("t").await.metadata().location());
    let mut files = Files::of(&shop);
    files.positions(&[(&path, 0)], None).await;
    files.commit().await;
    let mut files = Files::of(&shop);
    let bytes = parquet(&[("a", 1, longs(20..23))], None);
    let location = files.put(bytes.clone(), 3, |file| _ = file.file_path(path.clone())).await;
    let table = shop.load("t").await;
    table.file_io().new_output(&path).unwrap().write(bytes.into()).await.unwrap();
    assert_ne!(location, path);
    files.commit().await;
    assert_eq!(numbers(&shop, "SELECT a FROM t ORDER BY a").await, [0, 2, 3, 4, 5, 6, 7, 8, 9, 20, 21, 22]);
}

#[tokio::test]
async fn positions_stay_in_their_partition_unless_they_name_their_file() {
    let shop = table(2).await;
    let spec = partitioned(&shop, 1).await;
    let mut files = Files::of(&shop).within(spec, 1);
    let one = files.data(longs([1, 1, 1]), texts(&["x", "y", "z"])).await;
    files.commit().await;
    let mut files = Files::of(&shop).within(spec, 2);
    files.positions(&[(&one, 0)], None).await;
    files.commit().await;
    assert_eq!(rows(&shop, &ALL, "SELECT b FROM t ORDER BY b").await.unwrap(), ["x", "y", "z"]);
    let mut files = Files::of(&shop).within(spec, 1);
    files.positions(&[(&one, 1)], Some(&one)).await;
    files.positions(&[(&one, 2)], None).await;
    files.commit().await;
    assert_eq!(rows(&shop, &ALL, "SELECT b FROM t ORDER BY b").await.unwrap(), ["x"]);
    assert_eq!(rows(&shop, &ALL, "SELECT count(*), min(a) FROM t").await.unwrap(), ["1 1"]);
}

#[tokio::test]
async fn a_limit_counts_live_rows_only() {
    for pushdown in [false, true] {
        let shop = table(2).await;
        let mut files = Files::of(&shop);
        let path = data(&mut files, 0, 400).await;
        files.commit().await;
        let mut files = Files::of(&shop);
        let gone: Vec<i64> = (0..400).filter(|a| a % 3 == 0 || (100..200).contains(a)).collect();
        files.positions(&gone.iter().map(|a| (path.as_str(), *a)).collect::<Vec<_>>(), None).await;
        files.commit().await;
        for limit in [1, 33, 60, 200, 1000] {
            for filter in ["a >= 0", "a < 390", "a >= 50 AND a < 250", "b = 'b1'", "b <> 'b1' AND a > 20"] {
                let live = |sql: &str| format!("SELECT a FROM t WHERE {sql}");
                let context = context_with(&shop, settings(pushdown));
                let all = rows_in(context, &shop, &ALL, &live(filter)).await.unwrap();
                assert!(all.iter().all(|a| !gone.contains(&a.parse().unwrap())), "{filter}");
                let context = context_with(&shop, settings(pushdown).with_target_partitions(1));
                let some = rows_in(context, &shop, &ALL, &format!("{} LIMIT {limit}", live(filter))).await.unwrap();
                assert_eq!(some.len(), all.len().min(limit), "{filter} LIMIT {limit}");
                assert!(some.iter().all(|row| all.contains(row)), "{filter} LIMIT {limit}");
            }
        }
    }
}

#[tokio::test]
async fn a_vector_stands_for_the_position_deletes_of_its_file() {
    let shop = table(3).await;
    let mut files = Files::of(&shop);
    let first = data(&mut files, 0, 100).await;
    let second = data(&mut files, 100, 110).await;
    files.positions(&[(&first, 5), (&second, 5)], None).await;
    files.commit().await;
    assert_eq!(numbers(&shop, "SELECT count(*) FROM t").await, [108]);
    let mut files = Files::of(&shop);
    files.vector(&first, (0..60).chain([99])).await;
    files.commit().await;
    let expect: Vec<i64> = (60..99).chain(100..105).chain(106..110).collect();
    assert_eq!(numbers(&shop, "SELECT a FROM t ORDER BY a").await, expect);
    assert_eq!(numbers(&shop, "SELECT count(*) FROM t").await, [expect.len() as i64]);
}

#[tokio::test]
async fn a_file_may_be_deleted_as_a_whole() {
    let shop = table(3).await;
    let mut files = Files::of(&shop);
    let first = data(&mut files, 0, 120).await;
    files.vector(&first, 0..120).await;
    files.commit().await;
    assert_eq!(numbers(&shop, "SELECT a FROM t").await, Vec::<i64>::new());
    assert_eq!(numbers(&shop, "SELECT count(*) FROM t WHERE a > 3").await, [0]);
}

#[tokio::test]
async fn nothing_is_answered_from_metadata_that_counts_deleted_rows() {
    let shop = table(3).await;
    let mut files = Files::of(&shop);
    let first = data(&mut files, 0, 10).await;
    files.vector(&first, [9]).await;
    files.commit().await;
    let scan = pin(&shop, &ALL).await.unwrap();
    let statistics = TableProvider::statistics(scan.as_ref()).unwrap();
    assert_eq!(statistics.num_rows.is_exact(), Some(false));
    let plan = scan.scan(&context(&shop).state(), None, &[], None).await.unwrap();
    assert_eq!(plan.partition_statistics(None).unwrap().num_rows.is_exact(), Some(false));
}

#[tokio::test]
async fn a_vector_that_is_older_than_its_data_is_refused() {
    let shop = table(3).await;
    let path = format!("{}/data/later.parquet", shop.load("t").await.metadata().location());
    let mut files = Files::of(&shop);
    files.vector(&path, [0]).await;
    files.commit().await;
    let bytes = parquet(&[("a", 1, longs(20..23))], None);
    shop.load("t").await.file_io().new_output(&path).unwrap().write(bytes.clone().into()).await.unwrap();
    let mut files = Files::of(&shop);
    files.put(bytes, 3, |file| _ = file.file_path(path.clone())).await;
    files.commit().await;
    let error = refused(&shop).await;
    assert!(error.message.contains("older than its data file"), "{error}");
}

async fn refused(shop: &Shop) -> Error {
    match pin(shop, &ALL).await {
        Err(error) => error,
        Ok(_) => the_cause(rows(shop, &ALL, "SELECT a FROM t").await),
    }
}

#[tokio::test]
async fn what_a_delete_file_should_not_hold_fails_the_scan_and_is_named() {
    let shop = table(3).await;
    let mut files = Files::of(&shop);
    let file = data(&mut files, 0, 10).await;
    files.commit().await;
    let good = encode_vector(&[1u64, 2].into_iter().collect());
    let mut wrong = good.clone();
    *wrong.last_mut().unwrap() ^= 1;
    let cases: [(Vec<u8>, u64, &str); 4] = [
        (wrong, 2, "checksum"),
        (good[..good.len() - 3].to_vec(), 2, "another length"),
        (good.clone(), 3, "another number of deletes"),
        (encode_vector(&[10u64].into_iter().collect()), 1, "rows that file"),
    ];
    for (blob, count, text) in cases {
        let before = shop.load("t").await.metadata().current_snapshot().unwrap().as_ref().clone();
        let mut files = Files::of(&shop);
        files.blob(&file, blob, count).await;
        files.commit().await;
        let error = refused(&shop).await;
        assert_eq!(error.class, Class::Storage, "{error}");
        assert!(error.message.contains(text) && error.message.contains("`ns.t`"), "{error}");
        assert!(error.message.contains(".parquet"), "{error}");
        shop.change("t", |builder| builder.set_ref("main", main(&before)).unwrap()).await;
    }
    let mut files = Files::of(&shop);
    files.vector(&file, [1]).await;
    files.vector(&file, [2]).await;
    files.commit().await;
    assert!(refused(&shop).await.message.contains("one of two deletion vectors"));
}

fn main(snapshot: &Snapshot) -> iceberg::spec::SnapshotReference {
    let retention = iceberg::spec::SnapshotRetention::branch(None, None, None);
    iceberg::spec::SnapshotReference::new(snapshot.snapshot_id(), retention)
}

#[tokio::test]
async fn a_position_delete_file_that_is_cut_gone_or_counted_wrongly_fails_the_scan() {
    for damage in ["cut", "gone", "count", "beyond", "negative"] {
        let shop = table(2).await;
        let mut files = Files::of(&shop);
        let file = data(&mut files, 0, 10).await;
        let position = match damage {
            "beyond" => 10,
            "negative" => -1,
            _ => 4,
        };
        files.positions(&[(&file, 1), (&file, position)], None).await;
        let deletes = files.added.pop().unwrap();
        let path = deletes.file_path().strip_prefix("file://").unwrap().to_owned();
        match damage {
            "cut" => std::fs::write(&path, &std::fs::read(&path).unwrap()[..100]).unwrap(),
            "gone" => std::fs::remove_file(&path).unwrap(),
            _ => {}
        }
        let mut again = DataFileBuilder::default();
        again
            .content(DataContentType::PositionDeletes)
            .file_path(deletes.file_path().to_owned())
            .file_format(DataFileFormat::Parquet)
            .partition(Struct::empty())
            .partition_spec_id(0)
            .record_count(if damage == "count" { 3 } else { 2 })
            .file_size_in_bytes(deletes.file_size_in_bytes());
        files.added.push(again.build().unwrap());
        files.commit().await;
        let error = refused(&shop).await;
        assert_eq!(error.class, Class::Storage, "{damage}: {error}");
        assert!(error.message.contains("`ns.t`") && error.message.contains(".parquet"), "{damage}: {error}");
        assert!(!error.message.contains(shop.dir.path().to_str().unwrap()), "{damage}: {error}");
    }
}

#[tokio::test]
async fn the_order_that_a_query_asks_for_does_not_move_the_deletes() {
    let shop = table(2).await;
    let mut files = Files::of(&shop);
    let path = data(&mut files, 0, 400).await;
    let gone: Vec<(&str, i64)> = (0..400).filter(|a| a % 3 == 0).map(|a| (path.as_str(), a)).collect();
    files.positions(&gone, None).await;
    files.commit().await;
    for pushdown in [false, true] {
        let mut config = settings(false).with_target_partitions(1);
        config.options_mut().optimizer.enable_topk_dynamic_filter_pushdown = pushdown;
        let get = |sql: &'static str| rows_in(context_with(&shop, config.clone()), &shop, &ALL, sql);
        assert_eq!(get("SELECT a FROM t ORDER BY a DESC LIMIT 3").await.unwrap(), ["398", "397", "395"]);
        assert_eq!(get("SELECT a FROM t ORDER BY a LIMIT 3").await.unwrap(), ["1", "2", "4"]);
        let plan = get("EXPLAIN SELECT a FROM t ORDER BY a DESC LIMIT 3").await.unwrap().join("\n");
        assert!(plan.contains("reverse_row_groups"), "{plan}");
    }
}
