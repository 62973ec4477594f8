//! What a sort with a limit reads: the best row groups first, and no more than it takes.

use datafusion::physical_plan::collect;

use super::commit::{Files, parquet};
use super::*;

const COLUMNS: [(&str, i32); 2] = [("a", 1), ("b", 2)];

/// A file of 40 row groups of 50 rows; `a` falls from one to the next, and `b` is `a` as text. Some rows are deleted.
async fn table(deleted: impl Fn(i64) -> bool) -> Shop {
    let shop = shop().await;
    shop.create("t", schema(vec![optional(1, "a", Long), optional(2, "b", Text)])).await;
    let mut files = Files::of(&shop);
    let numbers = || (0..2000).map(|row| (39 - row / 50) * 50 + row % 50);
    let names: Vec<String> = numbers().map(|a| format!("b{a:04}")).collect();
    let names: Vec<&str> = names.iter().map(String::as_str).collect();
    let path = files.data(longs(numbers()), texts(&names)).await;
    files.commit().await;
    let gone: Vec<(&str, i64)> =
        numbers().zip(0..).filter(|(a, _)| deleted(*a)).map(|(_, at)| (path.as_str(), at)).collect();
    if !gone.is_empty() {
        let mut files = Files::of(&shop);
        files.positions(&gone, None).await;
        files.commit().await;
    }
    shop
}

/// The first column of what a query gives, and how many rows the scan gave for it.
async fn read(shop: &Shop, sql: &str) -> (Vec<i64>, usize) {
    let context = context_with(shop, SessionConfig::new().with_target_partitions(1));
    context.register_table("t", pin(shop, &COLUMNS).await.unwrap()).unwrap();
    let plan = context.sql(sql).await.unwrap().create_physical_plan().await.unwrap();
    let batches = collect(Arc::clone(&plan), context.task_ctx()).await.unwrap();
    let values = batches.iter().flat_map(|batch| {
        let column = datafusion::arrow::compute::cast(batch.column(0), &DataType::Int64).unwrap();
        column.as_any().downcast_ref::<Int64Array>().unwrap().values().to_vec()
    });
    let mut node = plan;
    while let Some(child) = node.children().first().map(|child| Arc::clone(child)) {
        node = child;
    }
    (values.collect(), node.metrics().unwrap().output_rows().unwrap())
}

#[tokio::test]
async fn the_first_rows_are_found_in_the_row_groups_that_can_hold_them() {
    // In the second table every fifth row is deleted one by one, and in the third most are in one stretch.
    for (deleted, many) in
        [((|_| false) as fn(i64) -> bool, 2000), (|a| a % 5 == 0, 1600), (|a| (100..1900).contains(&a), 200)]
    {
        let shop = table(deleted).await;
        let live: Vec<i64> = (0..2000).filter(|a| !deleted(*a)).collect();
        for column in ["a", "b"] {
            let sql = format!("SELECT a FROM t ORDER BY {column} DESC LIMIT 60");
            let (found, read) = self::read(&shop, &sql).await;
            let expect: Vec<i64> = live.iter().rev().take(60).copied().collect();
            assert_eq!(found, expect, "{sql}");
            assert!(read <= 100, "{sql} read {read} of {many}");

            let sql = format!("SELECT a FROM t ORDER BY {column} NULLS FIRST LIMIT 5");
            let (found, read) = self::read(&shop, &sql).await;
            assert_eq!((found.as_slice(), read <= 50), (&live[..5], true), "{sql} read {read} of {many}");
        }
        let (found, read) = self::read(&shop, "SELECT a FROM t ORDER BY a DESC").await;
        assert_eq!((found.len(), read), (many, many));
    }
}

#[tokio::test]
async fn null_comes_first_where_it_is_asked_for_and_what_is_not_known_is_read() {
    let shop = shop().await;
    shop.create("t", schema(vec![optional(1, "a", Long), optional(2, "b", Text)])).await;
    let with_null: ArrayRef = Arc::new(Int64Array::from(vec![Some(-7), None]));
    for (a, says_bounds) in [(longs([1, 2]), true), (longs([5, 6]), true), (with_null, true), (longs([9, 3]), false)] {
        let mut files = Files::of(&shop);
        let nulls = a.null_count() as u64;
        let a_long = a.as_any().downcast_ref::<Int64Array>().unwrap();
        let (low, high) = (a_long.iter().flatten().min().unwrap(), a_long.iter().flatten().max().unwrap());
        let bytes = parquet(&[("a", 1, Arc::clone(&a)), ("b", 2, texts(&["x", "y"]))], None);
        files
            .put(bytes, 2, |file| {
                if says_bounds {
                    file.null_value_counts([(1, nulls)].into());
                    file.lower_bounds([(1, iceberg::spec::Datum::long(low))].into());
                    file.upper_bounds([(1, iceberg::spec::Datum::long(high))].into());
                }
            })
            .await;
        files.commit().await;
    }
    for (order, expect) in
        [("a DESC NULLS LAST", "9 6 5"), ("a DESC", "- 9 6"), ("a ASC", "-7 1 2"), ("a ASC NULLS FIRST", "- -7 1")]
    {
        let found = rows(&shop, &COLUMNS, &format!("SELECT a FROM t ORDER BY {order} LIMIT 3")).await.unwrap();
        assert_eq!(found.join(" "), expect, "{order}");
    }
}
