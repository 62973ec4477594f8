//! Types, and columns by field id: renamed, swapped, added, dropped, promoted, partitioned.

use super::*;

#[tokio::test]
async fn swapped_names_read_and_filter_the_right_columns() {
    let shop = shop().await;
    shop.create("t", schema(vec![optional(1, "a", Long), optional(2, "b", Long)])).await;
    let table = shop.load("t").await;
    // Many row groups, pages and bloom filters: each of them must be asked about the mapped column.
    let props = WriterProperties::builder()
        .set_max_row_group_row_count(Some(100))
        .set_data_page_row_count_limit(10)
        .set_write_batch_size(10)
        .set_bloom_filter_enabled(true)
        .build();
    let files = write(&table, vec![longs(0..1000), longs((0..1000).map(|i| 5000 - i))], props).await;
    append_files(&shop, files).await;
    shop.evolve("t", schema(vec![optional(2, "a", Long), optional(1, "b", Long)])).await;
    let all = [("a", 2), ("b", 1)];
    for (sql, expect) in [
        ("SELECT a, b FROM t WHERE b = 7", "4993 7"),
        ("SELECT a, b FROM t WHERE a = 4993", "4993 7"),
        ("SELECT a, b FROM t WHERE a = 4993 AND b = 7", "4993 7"),
        ("SELECT count(*), min(a) FROM t WHERE b >= 990", "10 4001"),
        ("SELECT count(*) FROM t WHERE a < 1000", "0"),
        ("SELECT b FROM t WHERE a IN (4500) ORDER BY b DESC", "500"),
    ] {
        assert_eq!(rows(&shop, &all, sql).await.unwrap(), [expect], "{sql}");
    }
}

#[tokio::test]
async fn an_added_column_is_null_in_old_files_and_a_re_added_one_is_another() {
    let shop = two_files().await;
    // `b` is dropped and comes back under its old name with a new id; `c` is new.
    shop.evolve("t", schema(vec![optional(1, "a", Long), optional(3, "b", Text), optional(4, "c", Long)])).await;
    shop.append("t", vec![longs([20]), texts(&["new"]), longs([99])]).await;
    let all = [("a", 1), ("b", 3), ("c", 4)];
    let got = rows(&shop, &all, "SELECT * FROM t WHERE a = 1 OR a = 20 ORDER BY a").await.unwrap();
    assert_eq!(got, ["1 - -", "20 new 99"]);
    assert_eq!(rows(&shop, &all, "SELECT a FROM t WHERE b = 'y'").await.unwrap(), Vec::<String>::new());
    assert_eq!(rows(&shop, &all, "SELECT count(*) FROM t WHERE b IS NULL").await.unwrap(), ["6"]);
    assert_eq!(rows(&shop, &all, "SELECT count(c) FROM t").await.unwrap(), ["1"]);
    assert_eq!(pin(&shop, &[("old", 2)]).await.unwrap_err().class, Class::Drift);
}

#[tokio::test]
async fn promoted_types_read_old_files() {
    use datafusion::arrow::array::{Decimal128Array, Float32Array};
    let shop = shop().await;
    let decimal = |precision| Decimal { precision, scale: 2 };
    shop.create("t", schema(vec![optional(1, "i", Int), optional(2, "f", Float), optional(3, "d", decimal(5))])).await;
    let old = Decimal128Array::from(vec![12345, 50]).with_precision_and_scale(5, 2).unwrap();
    let floats = Float32Array::from(vec![0.5, 1.5]);
    shop.append("t", vec![Arc::new(Int32Array::from(vec![7, 8])), Arc::new(floats), Arc::new(old)]).await;
    shop.evolve("t", schema(vec![optional(1, "i", Long), optional(2, "f", Double), optional(3, "d", decimal(12))]))
        .await;
    let new = Decimal128Array::from(vec![999_999_999]).with_precision_and_scale(12, 2).unwrap();
    shop.append("t", vec![longs([1 << 40]), Arc::new(Float64Array::from(vec![2.5])), Arc::new(new)]).await;
    let all = [("i", 1), ("f", 2), ("d", 3)];
    let got = rows(&shop, &all, "SELECT * FROM t ORDER BY i").await.unwrap();
    assert_eq!(got, ["7 0.5 123.45", "8 1.5 0.50", "1099511627776 2.5 9999999.99"]);
    assert_eq!(rows(&shop, &all, "SELECT i FROM t WHERE i = 8 AND f > 1.0 AND d < 1").await.unwrap(), ["8"]);
}

#[tokio::test]
async fn a_text_column_that_takes_a_binary_columns_name_reads_its_own_bytes() {
    let shop = shop().await;
    shop.create("t", schema(vec![optional(1, "a", Binary), optional(2, "b", Text)])).await;
    shop.append("t", vec![Arc::new(LargeBinaryArray::from_vec(vec![b"bytes"])), texts(&["text"])]).await;
    shop.evolve("t", schema(vec![optional(2, "a", Text), optional(1, "b", Binary)])).await;
    let got = rows(&shop, &[("a", 2), ("b", 1)], "SELECT a, b FROM t WHERE a = 'text'").await.unwrap();
    assert_eq!(got, ["text 6279746573"]);
}

#[tokio::test]
async fn nested_columns_read_under_the_names_that_the_table_has_now() {
    use datafusion::arrow::array::StructArray;
    use datafusion::arrow::buffer::OffsetBuffer;
    let shop = shop().await;
    let pair = |name: &str| {
        let fields = vec![optional(3, name, Long), optional(4, "y", Text)];
        Arc::new(NestedField::optional(1, "s", Type::Struct(StructType::new(fields))))
    };
    let element = NestedField::list_element(5, Type::Primitive(Long), false).into();
    let list: Arc<NestedField> = NestedField::optional(2, "l", Type::List(ListType::new(element))).into();
    shop.create("t", schema(vec![pair("x"), Arc::clone(&list)])).await;

    let arrow = iceberg::arrow::schema_to_arrow_schema(shop.load("t").await.metadata().current_schema()).unwrap();
    let DataType::Struct(fields) = arrow.field(0).data_type().clone() else { unreachable!() };
    let DataType::List(element) = arrow.field(1).data_type().clone() else { unreachable!() };
    let structs = StructArray::new(fields, vec![longs([7, 8]), texts(&["p", "q"])], None);
    let lists =
        datafusion::arrow::array::ListArray::new(element, OffsetBuffer::from_lengths([2, 1]), longs([1, 2, 3]), None);
    shop.append("t", vec![Arc::new(structs), Arc::new(lists)]).await;

    // Ids in a new table are assigned by the catalog.
    let current = shop.load("t").await.metadata().current_schema().clone();
    let ids: Vec<i32> = current.as_struct().fields().iter().map(|field| field.id).collect();
    let all = [("s", ids[0]), ("l", ids[1])];
    let got = rows(&shop, &all, "SELECT s, l FROM t WHERE s['x'] > 7").await.unwrap();
    assert_eq!(got, ["{x: 8, y: q} [3]"]);

    let Type::Struct(inner) = current.as_struct().fields()[0].field_type.as_ref() else { unreachable!() };
    let mut renamed = inner.fields().to_vec();
    let mut first = (*renamed[0]).clone();
    first.name = "z".into();
    renamed[0] = Arc::new(first);
    let s = NestedField::optional(ids[0], "s", Type::Struct(StructType::new(renamed)));
    shop.evolve("t", schema(vec![Arc::new(s), Arc::clone(&current.as_struct().fields()[1])])).await;
    let got = rows(&shop, &all, "SELECT s, s['z'] FROM t WHERE s['z'] > 7").await.unwrap();
    assert_eq!(got, ["{z: 8, y: q} 8"]);
    assert_eq!(rows(&shop, &all, "SELECT l FROM t").await.unwrap(), ["[1, 2]", "[3]"]);
}

/// Parquet marks nothing inside of a NULL struct where it is required to be there.
#[tokio::test]
async fn what_a_null_struct_requires_is_null() {
    use datafusion::arrow::array::StructArray;
    use datafusion::arrow::buffer::NullBuffer;
    use datafusion::arrow::datatypes::Field;
    use parquet::arrow::PARQUET_FIELD_ID_META_KEY;
    let shop = shop().await;
    shop.create("t", schema(vec![optional(1, "a", Long)])).await;
    let x = NestedField::required(3, "x", Type::Primitive(Long)).into();
    let s = NestedField::optional(2, "s", Type::Struct(StructType::new(vec![x]))).into();
    shop.evolve("t", schema(vec![optional(1, "a", Long), s])).await;
    let id = [(PARQUET_FIELD_ID_META_KEY.to_owned(), "3".to_owned())].into();
    let x = Field::new("x", DataType::Int64, false).with_metadata(id);
    let nulls = Some(NullBuffer::from(vec![true, false, true]));
    let s = StructArray::new(vec![x].into(), vec![longs([7, 0, 0])], nulls);
    let mut files = commit::Files::of(&shop);
    let bytes = commit::parquet(&[("a", 1, longs([1, 2, 3])), ("s", 2, Arc::new(s))], None);
    files.put(bytes, 3, |_| {}).await;
    files.commit().await;
    let all = [("a", 1), ("s", 2)];
    for (sql, expect) in [
        ("SELECT s['x'] FROM t ORDER BY a", vec!["7", "-", "0"]),
        ("SELECT a FROM t WHERE s['x'] = 0", vec!["3"]),
        ("SELECT a FROM t WHERE s['x'] IS NULL", vec!["2"]),
        ("SELECT a FROM t WHERE s['x'] < 9 ORDER BY a", vec!["1", "3"]),
        ("SELECT count(s['x']) FROM t", vec!["2"]),
    ] {
        assert_eq!(rows(&shop, &all, sql).await.unwrap(), expect, "{sql}");
        let late = context_with(&shop, settings(true));
        assert_eq!(rows_in(late, &shop, &all, sql).await.unwrap(), expect, "{sql}");
    }
}

#[tokio::test]
async fn a_column_that_only_the_partition_has_is_read_from_it() {
    use iceberg::spec::{Literal, Transform, UnboundPartitionSpec};
    let shop = shop().await;
    shop.create("t", schema(vec![optional(1, "a", Long), optional(2, "region", Text), optional(3, "u", Double)])).await;
    let bytes = |value| {
        let id = [(parquet::arrow::PARQUET_FIELD_ID_META_KEY.to_owned(), "1".to_owned())].into();
        let field = datafusion::arrow::datatypes::Field::new("a", DataType::Int64, true).with_metadata(id);
        let file = Arc::new(datafusion::arrow::datatypes::Schema::new(vec![field]));
        let batch = datafusion::arrow::array::RecordBatch::try_new(Arc::clone(&file), vec![longs([value])]).unwrap();
        let mut writer = parquet::arrow::ArrowWriter::try_new(Vec::new(), file, None).unwrap();
        writer.write(&batch).unwrap();
        writer.into_inner().unwrap()
    };
    let spec = UnboundPartitionSpec::builder()
        .add_partition_field(2, "region", Transform::Identity)
        .unwrap()
        .add_partition_field(3, "u", Transform::Identity)
        .unwrap()
        .build();
    shop.change("t", |builder| builder.add_default_partition_spec(spec).unwrap()).await;
    let table = shop.load("t").await;
    let id = table.metadata().default_partition_spec_id();
    let partition =
        |region: Option<&str>| Struct::from_iter([region.map(Literal::string), Some(Literal::double(f64::NAN))]);
    let eu = put(&table, "eu", bytes(1), id, partition(Some("eu"))).await;
    let none = put(&table, "none", bytes(2), id, partition(None)).await;
    append_files(&shop, vec![eu, none]).await;
    let all = [("a", 1), ("region", 2)];
    assert_eq!(rows(&shop, &all, "SELECT * FROM t ORDER BY a").await.unwrap(), ["1 eu", "2 -"]);
    assert_eq!(rows(&shop, &all, "SELECT a FROM t WHERE region = 'eu'").await.unwrap(), ["1"]);
    assert_eq!(rows(&shop, &all, "SELECT a FROM t WHERE region IS NULL").await.unwrap(), ["2"]);
    assert_eq!(rows(&shop, &all, "SELECT max(region), count(region) FROM t").await.unwrap(), ["eu 1"]);
    super::super::codec::tests::round_trips(&shop, &all, "SELECT * FROM t WHERE region = 'eu'").await;
    // A value that cannot be taken from the partition is an error and not NULL.
    let error = the_cause(rows(&shop, &[("a", 1), ("u", 3)], "SELECT u FROM t").await);
    assert_eq!(error.class, Class::Drift);
}

#[tokio::test]
async fn maps_and_lists_of_structs_read() {
    use datafusion::arrow::array::{ListArray, MapArray, StructArray};
    use datafusion::arrow::buffer::OffsetBuffer;
    use iceberg::spec::MapType;
    let shop = shop().await;
    let key = NestedField::map_key_element(3, Type::Primitive(Text)).into();
    let value = NestedField::map_value_element(4, Type::Primitive(Long), false).into();
    let map = NestedField::optional(1, "m", Type::Map(MapType::new(key, value)));
    let item = Type::Struct(StructType::new(vec![optional(6, "x", Long)]));
    let list =
        NestedField::optional(2, "l", Type::List(ListType::new(NestedField::list_element(5, item, false).into())));
    shop.create("t", schema(vec![map.into(), list.into()])).await;
    let current = shop.load("t").await.metadata().current_schema().clone();
    let arrow = iceberg::arrow::schema_to_arrow_schema(&current).unwrap();
    let DataType::Map(entries, _) = arrow.field(0).data_type().clone() else { unreachable!() };
    let DataType::List(element) = arrow.field(1).data_type().clone() else { unreachable!() };
    let DataType::Struct(pair) = entries.data_type().clone() else { unreachable!() };
    let DataType::Struct(item) = element.data_type().clone() else { unreachable!() };
    let pairs = StructArray::new(pair, vec![texts(&["k", "n"]), longs([1, 2])], None);
    let maps = MapArray::new(entries, OffsetBuffer::from_lengths([1, 1]), pairs, None, false);
    let items = Arc::new(StructArray::new(item, vec![longs([7, 8])], None));
    let lists = ListArray::new(element, OffsetBuffer::from_lengths([0, 2]), items, None);
    shop.append("t", vec![Arc::new(maps), Arc::new(lists)]).await;
    let ids: Vec<i32> = current.as_struct().fields().iter().map(|field| field.id).collect();
    let all = [("m", ids[0]), ("l", ids[1])];
    let got = rows(&shop, &all, "SELECT m, l FROM t").await.unwrap();
    assert_eq!(got, ["{k: 1} []", "{n: 2} [{x: 7}, {x: 8}]"]);
    let scan = pin(&shop, &all).await.unwrap();
    let batches =
        context(&shop).read_table(Arc::clone(&scan) as Arc<dyn TableProvider>).unwrap().collect().await.unwrap();
    assert_eq!(batches[0].schema(), IcebergScan::schema(&scan));
}

#[tokio::test]
async fn every_type_comes_back_plain() {
    use datafusion::arrow::array::*;
    use datafusion::arrow::datatypes::TimeUnit::Microsecond;
    use iceberg::spec::PrimitiveType::{Boolean, Date, Fixed, Time, Timestamp, Timestamptz, Uuid};
    let shop = shop().await;
    let types = [
        Boolean,
        Date,
        Time,
        Timestamp,
        Timestamptz,
        Fixed(3),
        Uuid,
        Binary,
        Text,
        Decimal { precision: 30, scale: 3 },
    ];
    let fields = (1..).zip(types).map(|(id, of)| optional(id, &format!("c{id}"), of)).collect();
    shop.create("t", schema(fields)).await;
    let bytes = |n: usize, byte: u8| vec![byte; n];
    let fixed = |n: usize| -> ArrayRef {
        let values = [Some(bytes(n, 7)), None];
        Arc::new(FixedSizeBinaryArray::try_from_sparse_iter_with_size(values.into_iter(), n as i32).unwrap())
    };
    let columns: Vec<ArrayRef> = vec![
        Arc::new(BooleanArray::from(vec![Some(true), None])),
        Arc::new(Date32Array::from(vec![Some(19000), None])),
        Arc::new(Time64MicrosecondArray::from(vec![Some(3_600_000_000), None])),
        Arc::new(TimestampMicrosecondArray::from(vec![Some(1_700_000_000_000_000), None])),
        Arc::new(TimestampMicrosecondArray::from(vec![Some(1_700_000_000_000_000), None]).with_timezone("+00:00")),
        fixed(3),
        fixed(16),
        Arc::new(LargeBinaryArray::from(vec![Some(b"ab".as_slice()), None])),
        Arc::new(StringArray::from(vec![Some("t"), None])),
        Arc::new(Decimal128Array::from(vec![Some(1500), None]).with_precision_and_scale(30, 3).unwrap()),
    ];
    shop.append("t", columns).await;
    let names: Vec<String> = (1..=10).map(|id| format!("c{id}")).collect();
    let all: Vec<(&str, i32)> = names.iter().map(String::as_str).zip(1..).collect();
    let scan = pin(&shop, &all).await.unwrap();
    let schema = IcebergScan::schema(&scan);
    let got: Vec<DataType> = schema.fields().iter().map(|field| field.data_type().clone()).collect();
    assert_eq!(
        got,
        [
            DataType::Boolean,
            DataType::Date32,
            DataType::Time64(Microsecond),
            DataType::Timestamp(Microsecond, None),
            DataType::Timestamp(Microsecond, Some("UTC".into())),
            DataType::FixedSizeBinary(3),
            DataType::FixedSizeBinary(16),
            DataType::BinaryView,
            DataType::Utf8View,
            DataType::Decimal128(30, 3),
        ]
    );
    let batches = context(&shop).read_table(scan).unwrap().collect().await.unwrap();
    assert_eq!(batches[0].schema().as_ref(), schema.as_ref());
    let uuid = "07".repeat(16);
    let expect =
        format!("true 2022-01-08 01:00:00 2023-11-14T22:13:20 2023-11-14T22:13:20Z 070707 {uuid} 6162 t 1.500");
    let got = rows(
        &shop,
        &all,
        "SELECT * FROM t WHERE c5 = TIMESTAMP '2023-11-14 22:13:20Z' AND c10 > 1 AND c2 > '2022-01-01'",
    );
    assert_eq!(got.await.unwrap(), [expect]);
    let none = "- - - - - - - - - -";
    assert_eq!(rows(&shop, &all, "SELECT * FROM t WHERE c1 IS NULL").await.unwrap(), [none]);
}

#[tokio::test]
async fn row_groups_are_pruned_by_the_mapped_column() {
    let shop = shop().await;
    shop.create("t", schema(vec![optional(1, "a", Long), optional(2, "b", Long)])).await;
    let props = WriterProperties::builder().set_max_row_group_row_count(Some(100)).build();
    let table = shop.load("t").await;
    let files = write(&table, vec![longs(0..1000), longs(std::iter::repeat_n(3, 1000))], props).await;
    append_files(&shop, files).await;
    let context = context(&shop);
    context.register_table("t", pin(&shop, &[("b", 1), ("a", 2)]).await.unwrap()).unwrap();
    let plan = context.sql("SELECT b FROM t WHERE b > 950").await.unwrap().create_physical_plan().await.unwrap();
    let got = datafusion::physical_plan::collect(Arc::clone(&plan), context.task_ctx()).await.unwrap();
    assert_eq!(got.iter().map(|batch| batch.num_rows()).sum::<usize>(), 49);
    let mut leaf = plan;
    while let Some(child) = leaf.children().first().map(|child| Arc::clone(child)) {
        leaf = child;
    }
    let rows = leaf.metrics().unwrap().output_rows().unwrap();
    assert!(rows <= 100, "one row group of ten was enough, and {rows} rows were read");
}
