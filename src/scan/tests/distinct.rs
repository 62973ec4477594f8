//! What is told of how many values columns have.

use std::collections::HashMap;

use datafusion::common::stats::Precision;
use iceberg::spec::{BlobMetadata, StatisticsFile};

use super::*;

/// A table of two files: `a` is a key with gaps, `b` repeats in the second file, and `c` repeats nowhere that bounds tell.
async fn table() -> Shop {
    let shop = shop().await;
    shop.create("t", schema(vec![optional(1, "a", Long), optional(2, "b", Long), optional(3, "c", Text)])).await;
    for file in 0..2 {
        let texts = texts(&["x"; 500]);
        let (a, b) =
            ((0..500).map(|row| (file * 500 + row) * 4), (0..500).map(|row| file * 501 + row - row % 2 * file));
        shop.append("t", vec![longs(a), longs(b), texts]).await;
    }
    shop
}

async fn told(shop: &Shop) -> [Precision<usize>; 3] {
    let scan = pin(shop, &[("a", 1), ("b", 2), ("c", 3)]).await.unwrap();
    let told = scan.figures(&[0, 1, 2]).unwrap();
    [0, 1, 2].map(|column| told.column_statistics[column].distinct_count)
}

/// Lets the table be analyzed in one of its snapshots, counted from the newest.
async fn analyze(shop: &Shop, back: usize, kind: &str, counts: &[(i32, &str)]) {
    let table = shop.load("t").await;
    let mut at = table.metadata().current_snapshot().unwrap();
    for _ in 0..back {
        at = table.metadata().snapshot_by_id(at.parent_snapshot_id().unwrap()).unwrap();
    }
    let blob = |(field, count): &(i32, &str)| BlobMetadata {
        r#type: kind.into(),
        snapshot_id: at.snapshot_id(),
        sequence_number: at.sequence_number(),
        fields: vec![*field],
        properties: HashMap::from([("ndv".to_owned(), (*count).to_owned())]),
    };
    let file = StatisticsFile {
        snapshot_id: at.snapshot_id(),
        statistics_path: format!("{}/metadata/{}.stats", table.metadata().location(), at.snapshot_id()),
        file_size_in_bytes: 100,
        file_footer_size_in_bytes: 50,
        key_metadata: None,
        blob_metadata: counts.iter().map(blob).collect(),
    };
    shop.change("t", |builder| builder.set_statistics(file)).await;
}

const SKETCH: &str = "apache-datasketches-theta-v1";

#[tokio::test]
async fn what_was_counted_is_told_before_what_bounds_tell() {
    use Precision::{Absent, Inexact};
    let shop = table().await;
    // The second file has 500 rows among 499 numbers, both together 1 000 among as many: 1000 * (1 - 1 / e).
    assert_eq!(told(&shop).await, [Absent, Inexact(632), Absent]);
    analyze(&shop, 0, "a-sketch-of-another-kind", &[(1, "7")]).await;
    assert_eq!(told(&shop).await, [Absent, Inexact(632), Absent]);
    // The first snapshot has 500 rows; what was nearly all of them then is all of them now.
    analyze(&shop, 1, SKETCH, &[(1, "481"), (2, "301"), (3, "many")]).await;
    assert_eq!(told(&shop).await, [Inexact(1000), Inexact(301), Absent]);
    analyze(&shop, 0, SKETCH, &[(1, "940"), (3, "99999")]).await;
    assert_eq!(told(&shop).await, [Inexact(940), Inexact(301), Inexact(1000)]);
    // What was counted when there was a small part of the rows tells nothing.
    let shop = table().await;
    analyze(&shop, 1, SKETCH, &[(1, "481")]).await;
    let texts = texts(&["x"; 2000]);
    shop.append("t", vec![longs((0..2000).map(|row| 8000 + row * 4)), longs(0..2000), texts]).await;
    assert_eq!(told(&shop).await[0], Absent);
}

#[tokio::test]
async fn rows_that_are_deleted_do_not_make_a_key_look_like_none() {
    let shop = table().await;
    let columns = [("a", 1), ("b", 2), ("c", 3)];
    let scan = pin(&shop, &columns).await.unwrap();
    let path = scan.files.all().files(&scan.open, &scan.asked(), &[]).unwrap().remove(0).location;
    let mut files = commit::Files::of(&shop);
    files.positions(&[(path.as_str(), 3)], None).await;
    files.commit().await;
    assert_eq!(told(&shop).await, [Precision::Absent; 3]);
}
