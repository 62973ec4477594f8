//! Partitions by what is not known here, or by columns that are gone or came later.

use super::*;

/// A table partitioned by `a`, with a file in each of two partitions and the deletion of `b = 'x'` in the first.
async fn partitioned() -> Shop {
    use iceberg::spec::{Transform, UnboundPartitionSpec};
    let shop = two_files().await;
    let spec = UnboundPartitionSpec::builder().add_partition_field(1, "p", Transform::Identity).unwrap().build();
    shop.change("t", |builder| builder.add_default_partition_spec(spec).unwrap()).await;
    for value in [50, 60] {
        let mut files = Files::of(&shop).within(1, value);
        files.data(longs([value, value]), texts(&["x", "y"])).await;
        files.commit().await;
    }
    let mut files = Files::of(&shop).within(1, 50);
    files.keys(&[("b", 2, texts(&["x"]))]).await;
    files.commit().await;
    shop
}

#[tokio::test]
async fn partitions_by_an_unknown_transform_tell_of_deletes_and_of_nothing_else() {
    let all = [("a", 1), ("b", 2)];
    let right = ["0 x", "1 y", "2 z", "10 p", "11 q", "12 r", "50 y", "60 x", "60 y"];
    for several in [false, true] {
        let shop = partitioned().await;
        edit(&shop, |json| {
            for fields in ["partition-specs", "sort-orders"] {
                let field = json!({"source-id": 1, "field-id": 1000, "name": "p", "transform": "zorder[7]",
                    "direction": "asc", "null-order": "nulls-first"});
                let specs = json[fields].as_array_mut().unwrap();
                if fields == "sort-orders" {
                    specs.push(json!({"order-id": 1, "fields": []}));
                }
                let is_first = |spec: &&mut Value| spec["spec-id"] == 1 || spec["order-id"] == 1;
                let of = specs.iter_mut().find(is_first).unwrap()["fields"].as_array_mut().unwrap();
                *of = vec![field];
                if several {
                    of[0].as_object_mut().unwrap().remove("source-id");
                    of[0]["source-ids"] = json!([2, 1]);
                    of[0]["transform"] = json!("bucket[4]");
                }
            }
            json["default-sort-order-id"] = json!(1);
        })
        .await;
        assert_eq!(rows(&shop, &all, "SELECT a, b FROM t ORDER BY a, b").await.unwrap(), right);
        for (filter, count) in [("a = 60", 2), ("a = 50", 1), ("b = 'x'", 2), ("a IS NULL", 0)] {
            let sql = format!("SELECT a FROM t WHERE {filter}");
            assert_eq!(rows(&shop, &all, &sql).await.unwrap().len(), count, "{filter}");
        }
    }
}

#[tokio::test]
async fn a_partition_field_without_a_value_may_outlive_its_column() {
    let shop = partitioned().await;
    edit(&shop, |json| {
        let field = json!({"source-id": 1, "field-id": 1000, "name": "p", "transform": "void"});
        json["partition-specs"].as_array_mut().unwrap().push(json!({"spec-id": 2, "fields": [field]}));
        json["default-spec-id"] = json!(2);
        current(json).retain(|field| field["id"] != 1);
    })
    .await;
    let got = rows(&shop, &[("b", 2)], "SELECT b FROM t ORDER BY b").await.unwrap();
    assert_eq!(got, ["p", "q", "r", "x", "x", "y", "y", "y", "z"]);
}

#[tokio::test]
async fn a_column_that_came_before_its_partitioning_is_null_in_older_files() {
    use iceberg::spec::{Transform, UnboundPartitionSpec};
    let shop = two_files().await;
    let all = [("a", 1), ("region", 3)];
    shop.evolve("t", schema(vec![optional(1, "a", Long), optional(3, "region", Text)])).await;
    let spec = UnboundPartitionSpec::builder().add_partition_field(3, "region", Transform::Identity).unwrap().build();
    shop.change("t", |builder| builder.add_default_partition_spec(spec).unwrap()).await;
    assert_eq!(rows(&shop, &all, "SELECT region FROM t WHERE a = 1").await.unwrap(), ["-"]);
    assert_eq!(rows(&shop, &all, "SELECT count(*) FROM t WHERE region IS NULL").await.unwrap(), ["6"]);
}
