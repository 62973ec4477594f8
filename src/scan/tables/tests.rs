//! Metadata tables of real tables: what they tell, and what they never do.

use std::sync::Arc;

use datafusion::arrow::array::{ArrayRef, Int64Array, StringArray};
use datafusion::arrow::util::pretty::pretty_format_batches;
use iceberg::spec::PrimitiveType::{Long, String as Text};
use iceberg::spec::{SnapshotReference, SnapshotRetention, Transform, UnboundPartitionSpec};

use super::*;
use crate::lake::fixture::{Shop, optional, schema, shop};

async fn two_snapshots() -> Shop {
    let shop = shop().await;
    shop.create("t", schema(vec![optional(1, "id", Long), optional(2, "city", Text), optional(3, "ssn", Text)])).await;
    for (id, city, ssn) in [(1, "Delft", "hidden-1"), (7, "Gouda", "hidden-7")] {
        let columns: Vec<ArrayRef> = vec![
            Arc::new(Int64Array::from(vec![id, id + 1])),
            Arc::new(StringArray::from(vec![Some(city), None])),
            Arc::new(StringArray::from(vec![ssn, ssn])),
        ];
        shop.append("t", columns).await;
    }
    shop
}

/// The contract shows `id` as `number` and `city`, and not `ssn`.
fn contract() -> Vec<ScanColumn> {
    let column = |name: &str, field_id| ScanColumn { name: name.to_owned(), field_id, fields: None };
    vec![column("number", 1), column("city", 2)]
}

async fn read(shop: &Shop, about: About) -> (SchemaRef, Vec<RecordBatch>) {
    let open = shop.open("t").await;
    let snapshot = open.table.metadata().current_snapshot().cloned();
    about.read(&open, &contract(), snapshot.as_ref()).await.unwrap()
}

async fn shown(shop: &Shop, about: About) -> String {
    let (schema, batches) = read(shop, about).await;
    assert!(batches.iter().all(|batch| batch.schema() == schema));
    pretty_format_batches(&batches).unwrap().to_string()
}

#[tokio::test]
async fn nothing_tells_of_columns_outside_the_contract_or_of_places_outside_the_table() {
    let shop = two_snapshots().await;
    for about in About::ALL {
        let text = shown(&shop, about).await;
        for hidden in ["ssn", "hidden", "id:", "file:", &shop.dir.path().display().to_string(), "polder-lake"] {
            assert!(!text.contains(hidden), "`{about}` tells `{hidden}`:\n{text}");
        }
    }
}

#[tokio::test]
async fn files_have_relative_paths_and_bounds_as_text_under_contract_names() {
    let shop = two_snapshots().await;
    let text = shown(&shop, About::Files).await;
    assert_eq!(text.lines().filter(|line| line.contains("| data ")).count(), 2, "{text}");
    assert!(text.contains("| data/"), "{text}");
    for told in ["column: number,", "lower: 7, upper: 8", "lower: Delft, upper: Delft", "null_count: 1"] {
        assert!(text.contains(told), "{told}:\n{text}");
    }
}

#[tokio::test]
async fn a_table_without_snapshots_has_empty_tables_of_the_same_schema() {
    let empty = shop().await;
    empty.create("t", schema(vec![optional(1, "id", Long), optional(2, "city", Text)])).await;
    let full = two_snapshots().await;
    for about in About::ALL {
        let (schema, batches) = read(&empty, about).await;
        assert_eq!(batches.iter().map(RecordBatch::num_rows).sum::<usize>(), 0, "{about}");
        assert_eq!(schema, read(&full, about).await.0, "{about}");
    }
}

#[tokio::test]
async fn partitions_are_told_by_contract_columns_alone() {
    let shop = shop().await;
    shop.create("t", schema(vec![optional(1, "id", Long), optional(2, "city", Text), optional(3, "ssn", Text)])).await;
    let spec = UnboundPartitionSpec::builder()
        .add_partition_field(2, "city", Transform::Identity)
        .and_then(|spec| spec.add_partition_field(3, "ssn", Transform::Identity))
        .and_then(|spec| spec.add_partition_field(1, "id_bucket", Transform::Bucket(16)))
        .unwrap()
        .build();
    shop.change("t", |builder| builder.add_default_partition_spec(spec).unwrap()).await;
    let open = shop.open("t").await;
    let shown = shown::Shown::new(&open.table, &open.beyond, &contract());
    let spec = open.table.metadata().default_partition_spec_id();
    let values = [Some(b"Delft".to_vec()), Some(b"hidden".to_vec()), Some(3i64.to_le_bytes().to_vec())];
    let told: Vec<String> = shown
        .partition(spec, &values)
        .into_iter()
        .map(|value| format!("{} {} {}", value.column, value.transform, value.value.unwrap()))
        .collect();
    assert_eq!(told, ["city identity Delft", "number bucket[16] 3"]);
    let location = open.table.metadata().location();
    let path = shown.paths.relative(&format!("{location}/data/city=Delft/ssn=hidden/id_bucket=3/a.parquet"));
    assert_eq!(path, "data/city=Delft/…/id_bucket=3/a.parquet");
}

#[tokio::test]
async fn history_refs_and_snapshots_are_those_of_the_table() {
    let shop = two_snapshots().await;
    let first = shop.load("t").await.metadata().history()[0].snapshot_id;
    let tag = SnapshotReference::new(first, SnapshotRetention::Tag { max_ref_age_ms: Some(86_400_000) });
    shop.change("t", |builder| builder.set_ref("june", tag).unwrap()).await;
    let refs = shown(&shop, About::Refs).await;
    assert!(refs.contains(&format!("| june | TAG    | {first}")), "{refs}");
    assert!(refs.contains("| main | BRANCH |"), "{refs}");
    let (_, history) = read(&shop, About::History).await;
    assert_eq!(history[0].num_rows(), 2);
    let snapshots = shown(&shop, About::Snapshots).await;
    assert!(snapshots.contains("append") && snapshots.contains("added-records: 2"), "{snapshots}");
}

#[tokio::test]
async fn partitions_of_types_that_iceberg_cannot_read_there_are_told() {
    use iceberg::spec::{FormatVersion, Literal, PrimitiveLiteral, PrimitiveType, Struct};

    use crate::scan::tests::commit::Files;
    for (kind, value, told) in [
        (PrimitiveType::TimestampNs, PrimitiveLiteral::Long(1_500), "1970-01-01 00:00:00.000001500"),
        (PrimitiveType::TimestamptzNs, PrimitiveLiteral::Long(0), "1970-01-01 00:00:00Z"),
        (PrimitiveType::Date, PrimitiveLiteral::Int(1), "1970-01-02"),
        (PrimitiveType::Float, PrimitiveLiteral::Float(1.5.into()), "1.5"),
    ] {
        let shop = shop().await;
        shop.create("t", schema(vec![optional(1, "id", Long)])).await;
        shop.change("t", |builder| builder.upgrade_format_version(FormatVersion::V3).unwrap()).await;
        shop.evolve("t", schema(vec![optional(1, "id", Long), optional(2, "city", kind.clone())])).await;
        let spec = UnboundPartitionSpec::builder().add_partition_field(2, "p", Transform::Identity).unwrap().build();
        shop.change("t", |builder| builder.add_default_partition_spec(spec).unwrap()).await;
        let mut files = Files::of(&shop);
        files.spec = shop.load("t").await.metadata().default_partition_spec_id();
        files.partition = Struct::from_iter([Some(Literal::Primitive(value))]);
        files.put(b"nobody reads it".to_vec(), 3, |_| {}).await;
        files.commit().await;
        for about in [About::Files, About::Partitions] {
            let text = shown(&shop, about).await;
            assert!(text.contains(&format!("value: {told}}}")), "{kind} {about}:\n{text}");
        }
    }
}
