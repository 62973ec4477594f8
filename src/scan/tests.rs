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
use crate::lake::fixture::{Shop, optional, schema, shop, shop_in, sql_domain, write};

fn column(name: &str, field_id: i32) -> ScanColumn {
    ScanColumn { name: name.into(), field_id }
}

fn longs(values: impl IntoIterator<Item = i64>) -> ArrayRef {
    Arc::new(Int64Array::from_iter_values(values))
}

fn texts(values: &[&str]) -> ArrayRef {
    Arc::new(StringArray::from(values.to_vec()))
}

async fn pin(shop: &Shop, columns: &[(&str, i32)]) -> Result<Arc<IcebergScan>, Error> {
    let columns = columns.iter().map(|(name, id)| column(name, *id)).collect();
    IcebergScan::pin(shop.open("t").await, columns, None).await
}

fn context(shop: &Shop) -> SessionContext {
    let runtime = RuntimeEnvBuilder::new().with_object_store_registry(shop.lake.stores()).build_arc().unwrap();
    SessionContext::new_with_config_rt(SessionConfig::new().with_target_partitions(2), runtime)
}

/// The rows that a query over `t` gives, each as text.
async fn rows(shop: &Shop, columns: &[(&str, i32)], sql: &str) -> DfResult<Vec<String>> {
    let context = context(shop);
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

async fn two_files() -> Shop {
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
    assert_eq!(schema.field(0).data_type(), &DataType::Utf8);
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

async fn append_files(shop: &Shop, files: Vec<iceberg::spec::DataFile>) {
    use iceberg::transaction::{ApplyTransactionAction, Transaction};
    let table = shop.load("t").await;
    let tx = Transaction::new(&table);
    let tx = tx.fast_append().add_data_files(files).apply(tx).unwrap();
    tx.commit(shop.catalog.as_ref()).await.unwrap();
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
async fn a_required_column_that_a_file_lacks_is_drift() {
    let shop = two_files().await;
    let required = NestedField::required(3, "c", Type::Primitive(Long)).into();
    shop.evolve("t", schema(vec![optional(1, "a", Long), required])).await;
    let error = the_cause(rows(&shop, &[("c", 3)], "SELECT c FROM t").await);
    assert_eq!(error.class, Class::Drift);
    assert!(error.message.contains("`c`") && error.message.contains("`ns.t`"), "{error}");
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
async fn nested_columns_read_and_their_evolution_is_refused() {
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
    let error = the_cause(rows(&shop, &all, "SELECT s FROM t").await);
    assert_eq!(error.class, Class::Drift);
    assert_eq!(rows(&shop, &all, "SELECT l FROM t").await.unwrap(), ["[1, 2]", "[3]"]);
}

#[tokio::test]
async fn an_older_snapshot_stays_and_an_unknown_one_is_drift() {
    let shop = shop().await;
    shop.create("t", schema(vec![optional(1, "a", Long)])).await;
    shop.append("t", vec![longs([1])]).await;
    let first = pin(&shop, &[("a", 1)]).await.unwrap().snapshot_id();
    shop.append("t", vec![longs([2])]).await;
    let context = context(&shop);
    let old = IcebergScan::pin(shop.open("t").await, vec![column("a", 1)], first).await.unwrap();
    assert_eq!(old.snapshot_id(), first);
    assert_eq!(context.read_table(old).unwrap().count().await.unwrap(), 1);
    let error = IcebergScan::pin(shop.open("t").await, vec![column("a", 1)], Some(42)).await.unwrap_err();
    assert_eq!((error.class, error.message.as_str()), (Class::Drift, "table `ns.t` has no snapshot 42"));
}

fn parquet_files(dir: &std::path::Path) -> Vec<std::path::PathBuf> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir(dir).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            found.extend(parquet_files(&path));
        } else if path.extension().is_some_and(|e| e == "parquet") {
            found.push(path);
        }
    }
    found
}

#[tokio::test]
async fn a_missing_or_cut_file_is_an_error_that_names_it_inside_the_table() {
    for cut in [false, true] {
        let shop = two_files().await;
        let file = parquet_files(shop.dir.path()).remove(0);
        if cut {
            let bytes = std::fs::read(&file).unwrap();
            std::fs::write(&file, &bytes[..bytes.len() / 2]).unwrap();
        } else {
            std::fs::remove_file(&file).unwrap();
        }
        let error = the_cause(rows(&shop, &[("a", 1)], "SELECT a FROM t").await);
        assert_eq!(error.class, Class::Storage);
        let name = file.file_name().unwrap().to_str().unwrap();
        assert!(error.message.contains(name) && error.message.contains("`ns.t`"), "{error}");
        assert!(!error.message.contains(shop.dir.path().to_str().unwrap()), "{error}");
    }
}

/// A data file with one row that the test made by itself.
async fn put(
    table: &iceberg::table::Table,
    name: &str,
    bytes: Vec<u8>,
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
        .record_count(1)
        .file_size_in_bytes(size)
        .partition_spec_id(spec)
        .build()
        .unwrap()
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
async fn a_file_without_field_ids_is_refused() {
    use datafusion::arrow::datatypes::{Field, Schema};
    use parquet::arrow::ArrowWriter;
    let shop = shop().await;
    shop.create("t", schema(vec![optional(1, "a", Long)])).await;
    // The same schema as the query's, so that only the missing ids tell it apart.
    let plain = Arc::new(Schema::new(vec![Field::new("a", DataType::Int64, true)]));
    let batch = datafusion::arrow::array::RecordBatch::try_new(Arc::clone(&plain), vec![longs([1])]).unwrap();
    let mut writer = ArrowWriter::try_new(Vec::new(), plain, None).unwrap();
    writer.write(&batch).unwrap();
    let bytes = writer.into_inner().unwrap();
    let table = shop.load("t").await;
    let data = put(&table, "plain", bytes, 0, Struct::empty()).await;
    append_files(&shop, vec![data]).await;
    let error = the_cause(rows(&shop, &[("a", 1)], "SELECT a FROM t").await);
    assert_eq!(error.class, Class::Drift);
    assert!(error.message.contains("plain.parquet") && error.message.contains("without field ids"), "{error}");
}

#[tokio::test]
async fn delete_files_are_refused() {
    for content in [DataContentType::PositionDeletes, DataContentType::EqualityDeletes] {
        let shop = two_files().await;
        let table = shop.load("t").await;
        let metadata = table.metadata();
        let current = metadata.current_snapshot().unwrap().clone();
        let (id, sequence) = (77, current.sequence_number() + 1);
        let place = |name: &str| format!("{}/metadata/{name}.avro", metadata.location());
        let output = |name: &str| table.file_io().new_output(place(name)).unwrap();
        let spec = metadata.default_partition_spec().as_ref().clone();
        let schema = metadata.current_schema().clone();
        let mut writer = ManifestWriterBuilder::new(output("deletes"), Some(id), schema, spec).build_v2_deletes();
        let mut file = DataFileBuilder::default();
        file.content(content)
            .file_path(format!("{}/data/deletes.parquet", metadata.location()))
            .file_format(DataFileFormat::Parquet)
            .partition(Struct::empty())
            .record_count(1)
            .file_size_in_bytes(100)
            .partition_spec_id(0);
        if content == DataContentType::EqualityDeletes {
            file.equality_ids(Some(vec![1]));
        }
        writer.add_file(file.build().unwrap(), sequence).unwrap();
        let deletes = writer.write_manifest_file().await.unwrap();
        let old = table.manifest_list_reader(&current).load().await.unwrap();
        let list_file = output("list").writer().await.unwrap();
        let mut list = ManifestListWriter::v2(list_file, id, Some(current.snapshot_id()), sequence);
        list.add_manifests(old.entries().iter().cloned().chain([deletes])).unwrap();
        list.close().await.unwrap();
        let snapshot = Snapshot::builder()
            .with_snapshot_id(id)
            .with_parent_snapshot_id(Some(current.snapshot_id()))
            .with_sequence_number(sequence)
            .with_timestamp_ms(current.timestamp_ms() + 1)
            .with_manifest_list(place("list"))
            .with_summary(Summary { operation: Operation::Delete, additional_properties: Default::default() })
            .with_schema_id(0)
            .build();
        shop.change("t", |builder| builder.set_branch_snapshot(snapshot, "main").unwrap()).await;
        let error = pin(&shop, &[("a", 1)]).await.unwrap_err();
        assert_eq!(error.class, Class::Drift);
        assert!(error.message.contains("deletes, which is not supported"), "{error}");
    }
}

#[tokio::test]
async fn files_are_spread_over_the_partitions_and_the_scan_is_known_by_its_store() {
    let shop = two_files().await;
    let context = context(&shop);
    let scan = pin(&shop, &[("a", 1)]).await.unwrap();
    let plan = scan.scan(&context.state(), None, &[], None).await.unwrap();
    let config = plan.downcast_ref::<DataSourceExec>().unwrap().data_source().downcast_ref::<FileScanConfig>().unwrap();
    assert_eq!(config.file_groups.iter().map(FileGroup::len).collect::<Vec<_>>(), [1, 1]);
    assert_eq!(IcebergScan::reads_lake(plan.as_ref()), Some(scan.store_url()));
    assert_eq!(IcebergScan::reads_lake(&EmptyExec::new(IcebergScan::schema(&scan))), None);
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
            DataType::Binary,
            DataType::Utf8,
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
async fn a_column_with_a_default_for_old_rows_is_refused() {
    let shop = two_files().await;
    let c = NestedField::optional(3, "c", Type::Primitive(Long)).with_initial_default(iceberg::spec::Literal::long(5));
    let upgraded = |builder: iceberg::spec::TableMetadataBuilder| {
        builder.upgrade_format_version(iceberg::spec::FormatVersion::V3).unwrap()
    };
    shop.change("t", upgraded).await;
    shop.evolve("t", schema(vec![optional(1, "a", Long), c.into()])).await;
    let error = pin(&shop, &[("a", 1), ("c", 3)]).await.unwrap_err();
    assert_eq!(error.class, Class::Drift);
    assert!(error.message.contains("column `c`"), "{error}");
    assert_eq!(rows(&shop, &[("a", 1)], "SELECT count(a) FROM t").await.unwrap(), ["6"]);
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
    let meta = |scan: &IcebergScan| scan.file(&scan.files[0]).object_meta;
    assert_eq!(meta(&here), meta(&again));
    assert_eq!(meta(&here).location, meta(&there).location);
    assert_ne!(meta(&here).last_modified, meta(&there).last_modified);
    assert_ne!(here.store_url(), there.store_url());
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
