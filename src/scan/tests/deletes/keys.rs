//! Equality deletes.

use datafusion::arrow::array::{Date32Array, Float64Array};

use iceberg::spec::Literal;

use super::*;
use crate::scan::codec::tests::round_trips;

fn maybe(values: &[Option<i64>]) -> ArrayRef {
    Arc::new(Int64Array::from(values.to_vec()))
}

#[tokio::test]
async fn a_key_deletes_older_rows_and_not_those_that_came_with_it_or_later() {
    let shop = table(2).await;
    let mut files = Files::of(&shop);
    data(&mut files, 0, 100).await;
    files.commit().await;
    let mut files = Files::of(&shop);
    files.keys(&[("a", 1, longs([5, 60, 1000]))]).await;
    files.data(longs([5]), texts(&["with it"])).await;
    files.commit().await;
    let mut files = Files::of(&shop);
    files.data(longs([60]), texts(&["later"])).await;
    files.commit().await;
    let got = rows(&shop, &ALL, "SELECT a, b FROM t WHERE a IN (5, 60) ORDER BY a").await.unwrap();
    assert_eq!(got, ["5 with it", "60 later"]);
    assert_eq!(numbers(&shop, "SELECT count(*) FROM t").await, [100]);
    // Deleted again, the younger rows go as well.
    let mut files = Files::of(&shop);
    files.keys(&[("a", 1, longs([5]))]).await;
    files.commit().await;
    let got = rows(&shop, &ALL, "SELECT a, b FROM t WHERE a IN (5, 60) ORDER BY a").await.unwrap();
    assert_eq!(got, ["60 later"]);
}

#[tokio::test]
async fn keys_need_not_be_columns_of_the_query_and_are_never_seen() {
    let shop = table(2).await;
    let mut files = Files::of(&shop);
    data(&mut files, 0, 14).await;
    files.commit().await;
    let mut files = Files::of(&shop);
    files.keys(&[("a", 1, longs([3])), ("b", 2, texts(&["b3"]))]).await;
    files.keys(&[("b", 2, texts(&["b0"]))]).await;
    files.commit().await;
    let only_a = [("a", 1)];
    let got = rows(&shop, &only_a, "SELECT * FROM t ORDER BY a").await.unwrap();
    assert_eq!(got, ["1", "2", "4", "5", "6", "8", "9", "10", "11", "12", "13"]);
    assert_eq!(rows(&shop, &only_a, "SELECT count(*) FROM t").await.unwrap(), ["11"]);
    assert_eq!(rows(&shop, &only_a, "SELECT a + 1 FROM t WHERE a > 11 ORDER BY 1").await.unwrap(), ["13", "14"]);
    let plan = rows(&shop, &only_a, "EXPLAIN SELECT a FROM t WHERE a > 1").await.unwrap().join("\n");
    assert!(!plan.contains("key") && plan.contains("a@0"), "{plan}");
    let b_under_the_hidden_name = [("key 2", 1)];
    let got = rows(&shop, &b_under_the_hidden_name, "SELECT count(*) FROM t WHERE \"key 2\" > 9").await.unwrap();
    assert_eq!(got, ["4"]);
}

#[tokio::test]
async fn null_equals_null() {
    let shop = table(2).await;
    let mut files = Files::of(&shop);
    files.data(maybe(&[Some(1), None, Some(3)]), texts(&["x", "y", "z"])).await;
    files.data(maybe(&[None, None]), texts(&["y", "w"])).await;
    files.commit().await;
    let mut files = Files::of(&shop);
    files.keys(&[("a", 1, maybe(&[None])), ("b", 2, texts(&["y"]))]).await;
    files.commit().await;
    assert_eq!(rows(&shop, &ALL, "SELECT b FROM t ORDER BY b").await.unwrap(), ["w", "x", "z"]);
    let mut files = Files::of(&shop);
    files.keys(&[("a", 1, maybe(&[None, Some(3)]))]).await;
    files.commit().await;
    assert_eq!(rows(&shop, &ALL, "SELECT b FROM t").await.unwrap(), ["x"]);
}

#[tokio::test]
async fn keys_stay_in_their_partition_and_those_of_an_unpartitioned_spec_reach_everywhere() {
    let shop = table(2).await;
    let spec = partitioned(&shop, 1).await;
    for value in [1, 2] {
        let mut files = Files::of(&shop).within(spec, value);
        files.data(longs([value; 3]), texts(&["x", "y", "z"])).await;
        files.commit().await;
    }
    let mut files = Files::of(&shop).within(spec, 1);
    files.keys(&[("b", 2, texts(&["x"]))]).await;
    files.commit().await;
    let all = "SELECT a, b FROM t ORDER BY a, b";
    assert_eq!(rows(&shop, &ALL, all).await.unwrap(), ["1 y", "1 z", "2 x", "2 y", "2 z"]);
    let mut files = Files::of(&shop);
    files.keys(&[("b", 2, texts(&["z"]))]).await;
    files.commit().await;
    assert_eq!(rows(&shop, &ALL, all).await.unwrap(), ["1 y", "2 x", "2 y"]);
}

#[tokio::test]
async fn a_key_that_only_the_partition_has_is_compared_too() {
    let shop = table(2).await;
    let spec = partitioned(&shop, 2).await;
    for value in ["x", "y"] {
        let mut files = Files::of(&shop);
        (files.spec, files.partition) = (spec, Struct::from_iter([Some(Literal::string(value))]));
        files.put(parquet(&[("a", 1, longs([1, 2]))], None), 2, |_| {}).await;
        files.commit().await;
    }
    let mut files = Files::of(&shop);
    files.keys(&[("a", 1, longs([1])), ("b", 2, texts(&["x"]))]).await;
    files.commit().await;
    let sql = "SELECT a, b FROM t ORDER BY a, b";
    assert_eq!(rows(&shop, &ALL, sql).await.unwrap(), ["1 y", "2 x", "2 y"]);
    assert_eq!(rows(&shop, &ALL, "SELECT a FROM t WHERE b = 'x'").await.unwrap(), ["2"]);
    assert_eq!(rows(&shop, &[("a", 1)], "SELECT a FROM t ORDER BY a").await.unwrap(), ["1", "2", "2"]);
    round_trips(&shop, &ALL, sql).await;
}

#[tokio::test]
async fn a_key_that_the_table_no_longer_has_is_compared_all_the_same() {
    let shop = table(2).await;
    let mut files = Files::of(&shop);
    data(&mut files, 0, 14).await;
    files.commit().await;
    let mut files = Files::of(&shop);
    files.keys(&[("b", 2, texts(&["b1", "b2"]))]).await;
    files.commit().await;
    shop.evolve("t", schema(vec![optional(1, "a", Long)])).await;
    assert_eq!(rows(&shop, &[("a", 1)], "SELECT count(*) FROM t").await.unwrap(), ["10"]);
}

#[tokio::test]
async fn a_key_that_the_table_no_longer_has_is_its_default_in_rows_from_before_it() {
    let shop = table(3).await;
    let mut files = Files::of(&shop);
    data(&mut files, 0, 3).await;
    files.commit().await;
    let late = NestedField::optional(3, "c", Type::Primitive(Long)).with_initial_default(Literal::long(7));
    shop.evolve("t", schema(vec![optional(1, "a", Long), optional(2, "b", Text), late.into()])).await;
    let mut files = Files::of(&shop);
    files.keys(&[("a", 1, longs([0])), ("c", 3, longs([7]))]).await;
    files.keys(&[("a", 1, longs([1])), ("c", 3, maybe(&[None]))]).await;
    files.commit().await;
    assert_eq!(numbers(&shop, "SELECT a FROM t ORDER BY a").await, [1, 2]);
    shop.evolve("t", schema(vec![optional(1, "a", Long), optional(2, "b", Text)])).await;
    assert_eq!(numbers(&shop, "SELECT a FROM t ORDER BY a").await, [1, 2]);
}

#[tokio::test]
async fn a_key_that_a_file_does_not_have_is_null_and_a_promoted_one_is_compared_as_the_tables_type() {
    let shop = shop().await;
    shop.create("t", schema(vec![optional(1, "a", Int), optional(2, "b", Text)])).await;
    let ints = |values: &[i32]| -> ArrayRef { Arc::new(Int32Array::from(values.to_vec())) };
    let mut files = Files::of(&shop);
    files.put(parquet(&[("a", 1, ints(&[1, 2, 3]))], None), 3, |_| {}).await;
    files.commit().await;
    let mut files = Files::of(&shop);
    files.keys(&[("a", 1, ints(&[2]))]).await;
    files.commit().await;
    shop.evolve("t", schema(vec![optional(1, "a", Long), optional(2, "b", Text)])).await;
    let mut files = Files::of(&shop);
    files.data(longs([7, 8]), texts(&["x", "y"])).await;
    files.commit().await;
    let mut files = Files::of(&shop);
    let no: ArrayRef = Arc::new(StringArray::from(vec![None::<&str>]));
    files.keys(&[("a", 1, longs([8]))]).await;
    files.keys(&[("a", 1, longs([3])), ("b", 2, no)]).await;
    files.commit().await;
    assert_eq!(numbers(&shop, "SELECT a FROM t ORDER BY a").await, [1, 7]);
}

#[tokio::test]
async fn nan_equals_nan_and_zero_has_a_sign() {
    let shop = shop().await;
    shop.create("t", schema(vec![optional(1, "a", Double), optional(2, "b", Text)])).await;
    let doubles = |values: Vec<f64>| -> ArrayRef { Arc::new(Float64Array::from(values)) };
    let other_nan = f64::from_bits(f64::NAN.to_bits() ^ 1);
    let mut files = Files::of(&shop);
    files.data(doubles(vec![0.0, -0.0, other_nan, 1.0]), texts(&["zero", "minus zero", "nan", "one"])).await;
    files.commit().await;
    let mut files = Files::of(&shop);
    files.keys(&[("a", 1, doubles(vec![f64::NAN, 0.0]))]).await;
    files.commit().await;
    assert_eq!(rows(&shop, &ALL, "SELECT b FROM t ORDER BY b").await.unwrap(), ["minus zero", "one"]);
}

#[tokio::test]
async fn dates_and_far_apart_numbers_are_keys() {
    let shop = shop().await;
    shop.create("t", schema(vec![optional(1, "a", iceberg::spec::PrimitiveType::Date), optional(2, "b", Long)])).await;
    let dates = |values: Vec<i32>| -> ArrayRef { Arc::new(Date32Array::from(values)) };
    let mut files = Files::of(&shop);
    files.data(dates(vec![1, 2, 3, 4]), longs([i64::MIN, -1, 0, i64::MAX])).await;
    files.commit().await;
    let mut files = Files::of(&shop);
    files.keys(&[("a", 1, dates(vec![2]))]).await;
    files.keys(&[("b", 2, longs([i64::MIN, i64::MAX]))]).await;
    files.commit().await;
    assert_eq!(rows(&shop, &ALL, "SELECT b FROM t").await.unwrap(), ["0"]);
}

#[tokio::test]
async fn a_limit_counts_live_rows_and_filters_hold_with_late_materialisation_too() {
    for pushdown in [false, true] {
        let shop = table(2).await;
        let mut files = Files::of(&shop);
        let path = data(&mut files, 0, 400).await;
        files.commit().await;
        let mut files = Files::of(&shop);
        files.keys(&[("b", 2, texts(&["b0", "b1", "b2"]))]).await;
        files.positions(&[(&path, 3), (&path, 50)], None).await;
        files.commit().await;
        let live: Vec<i64> = (0..400).filter(|a| a % 7 > 2 && *a != 3 && *a != 50).collect();
        for limit in [1, 30, 170, 1000] {
            let context = context_with(&shop, settings(pushdown).with_target_partitions(1));
            let sql = format!("SELECT a FROM t WHERE a >= 20 LIMIT {limit}");
            let got = rows_in(context, &shop, &[("a", 1)], &sql).await.unwrap();
            let expect: Vec<String> = live.iter().filter(|a| **a >= 20).take(limit).map(i64::to_string).collect();
            assert_eq!(got, expect, "LIMIT {limit}, {pushdown}");
        }
    }
}

#[tokio::test]
async fn keys_of_what_is_no_column_are_refused() {
    let shop = table(2).await;
    let mut files = Files::of(&shop);
    data(&mut files, 0, 3).await;
    files.commit().await;
    let mut files = Files::of(&shop);
    files.keys(&[("z", 99, longs([1]))]).await;
    files.commit().await;
    let error = pin(&shop, &ALL).await.unwrap_err();
    assert_eq!(error.class, Class::Drift);
    assert!(error.message.contains("field 99") && error.message.contains("`ns.t`"), "{error}");
}

#[tokio::test]
async fn a_delete_file_without_its_keys_fails_the_scan() {
    let shop = table(2).await;
    let mut files = Files::of(&shop);
    data(&mut files, 0, 3).await;
    files.commit().await;
    let mut files = Files::of(&shop);
    files
        .put(parquet(&[("a", 1, longs([1]))], None), 1, |file| {
            file.content(DataContentType::EqualityDeletes).equality_ids(Some(vec![2]));
        })
        .await;
    files.commit().await;
    let error = the_cause(rows(&shop, &ALL, "SELECT a FROM t").await);
    assert_eq!(error.class, Class::Storage);
    assert!(error.message.contains("does not have the columns of its kind"), "{error}");
}

#[tokio::test]
async fn keys_of_no_field_are_refused() {
    let shop = table(2).await;
    let mut files = Files::of(&shop);
    data(&mut files, 0, 3).await;
    files.commit().await;
    let mut files = Files::of(&shop);
    files
        .put(parquet(&[("a", 1, longs([1]))], None), 1, |file| {
            file.content(DataContentType::EqualityDeletes).equality_ids(Some(vec![]));
        })
        .await;
    files.commit().await;
    assert!(pin(&shop, &ALL).await.unwrap_err().message.contains("names no fields"));
}

/// What was decoded from delete files is kept, and one more snapshot does not read them again.
#[tokio::test]
async fn delete_files_are_read_once() {
    let shop = table(2).await;
    let mut files = Files::of(&shop);
    let path = data(&mut files, 0, 100).await;
    files.commit().await;
    let mut files = Files::of(&shop);
    files.keys(&[("a", 1, longs([5]))]).await;
    files.positions(&[(&path, 7)], None).await;
    let deletes: Vec<String> = files.added.iter().map(|file| file.file_path().to_owned()).collect();
    files.commit().await;
    assert_eq!(numbers(&shop, "SELECT count(*) FROM t").await, [98]);
    for location in deletes {
        std::fs::remove_file(location.strip_prefix("file://").unwrap()).unwrap();
    }
    let mut files = Files::of(&shop);
    data(&mut files, 200, 210).await;
    files.commit().await;
    assert_eq!(numbers(&shop, "SELECT count(*) FROM t").await, [108]);
}
