//! Files that others write: without ids, in every codec, with old types, with types that are new; and files that broke.

mod oldest;
mod partitions;

use std::collections::HashMap;

use datafusion::arrow::array::{
    Date32Array, Decimal128Array, FixedSizeBinaryArray, LargeStringArray, RecordBatch, StructArray,
    Time64MicrosecondArray, TimestampMicrosecondArray, TimestampNanosecondArray,
};
use datafusion::arrow::datatypes::{Field, Fields, Schema, TimeUnit};
use iceberg::spec::FormatVersion;
use iceberg::spec::PrimitiveType::{Date, Fixed, Time, Timestamp, TimestampNs, Timestamptz, TimestamptzNs, Uuid};
use parquet::arrow::arrow_writer::ArrowWriterOptions;
use parquet::arrow::{ArrowWriter, PARQUET_FIELD_ID_META_KEY};
use parquet::basic::{BrotliLevel, Compression, GzipLevel, ZstdLevel};
use parquet::data_type::{ByteArrayType, Int64Type, Int96, Int96Type};
use parquet::file::metadata::KeyValue;
use parquet::file::writer::SerializedFileWriter;
use parquet::schema::parser::parse_message_type;
use serde_json::{Value, json};

use super::commit::Files;
use super::*;

fn field(name: &str, id: Option<i32>, of: DataType) -> Field {
    let id = id.map(|id| (PARQUET_FIELD_ID_META_KEY.to_owned(), id.to_string()));
    Field::new(name, of, true).with_metadata(HashMap::from_iter(id))
}

fn bytes(columns: Vec<(Field, ArrayRef)>, options: ArrowWriterOptions) -> Vec<u8> {
    let (fields, arrays): (Vec<Field>, Vec<ArrayRef>) = columns.into_iter().unzip();
    let schema = Arc::new(Schema::new(fields));
    let batch = RecordBatch::try_new(Arc::clone(&schema), arrays).unwrap();
    let mut writer = ArrowWriter::try_new_with_options(Vec::new(), schema, options).unwrap();
    writer.write(&batch).unwrap();
    writer.into_inner().unwrap()
}

fn small() -> ArrowWriterOptions {
    let props = WriterProperties::builder()
        .set_max_row_group_row_count(Some(100))
        .set_data_page_row_count_limit(10)
        .set_write_batch_size(10)
        .set_bloom_filter_enabled(true);
    ArrowWriterOptions::new().with_properties(props.build())
}

async fn add(shop: &Shop, name: &str, bytes: Vec<u8>, rows: u64) {
    let file = put_rows(&shop.load("t").await, name, bytes, rows).await;
    append_files(shop, vec![file]).await;
}

async fn upgrade(shop: &Shop) {
    shop.change("t", |builder| builder.upgrade_format_version(FormatVersion::V3).unwrap()).await;
}

/// Changes the table's metadata in ways that iceberg's own model cannot say.
async fn edit(shop: &Shop, with: impl FnOnce(&mut Value)) {
    shop.change("t", |builder| builder).await;
    let location = shop.load("t").await.metadata_location().unwrap().strip_prefix("file://").unwrap().to_owned();
    let mut json: Value = serde_json::from_slice(&std::fs::read(&location).unwrap()).unwrap();
    with(&mut json);
    std::fs::write(location, serde_json::to_vec(&json).unwrap()).unwrap();
}

/// The fields of the schema that is current, as JSON.
fn current(json: &mut Value) -> &mut Vec<Value> {
    let id = json["current-schema-id"].clone();
    let schemas = json["schemas"].as_array_mut().unwrap();
    schemas.iter_mut().find(|schema| schema["schema-id"] == id).unwrap()["fields"].as_array_mut().unwrap()
}

#[tokio::test]
async fn a_name_mapping_gives_ids_to_files_that_have_none() {
    let shop = shop().await;
    let x = NestedField::optional(2, "s", Type::Struct(StructType::new(vec![optional(3, "x", Long)])));
    shop.create("t", schema(vec![optional(1, "a", Long)])).await;
    shop.evolve("t", schema(vec![optional(1, "b", Long), x.into(), optional(4, "new", Text)])).await;
    let mapping = json!([
        {"field-id": 1, "names": ["a", "b"]},
        {"field-id": 2, "names": ["s"], "fields": [{"field-id": 3, "names": ["old_x"]}]},
    ]);
    let set = |text: String| {
        move |builder: iceberg::spec::TableMetadataBuilder| {
            builder.set_properties(HashMap::from([(mapping::PROPERTY.to_owned(), text)])).unwrap()
        }
    };
    // `b` is a stranger here: the table's `b` is the file's `a`.
    let inside = Fields::from(vec![field("old_x", None, DataType::Int32)]);
    let numbers: ArrayRef = Arc::new(Int32Array::from_iter_values(0..1000));
    let nested = StructArray::new(inside.clone(), vec![numbers], None);
    let file = bytes(
        vec![
            (field("s", None, DataType::Struct(inside)), Arc::new(nested)),
            (field("a", None, DataType::Int64), longs(0..1000)),
        ],
        small(),
    );
    add(&shop, "plain", file, 1000).await;
    let all = [("b", 1), ("s", 2), ("new", 4)];
    assert!(the_cause(rows(&shop, &all, "SELECT b FROM t").await).message.contains("without field ids"));
    shop.change("t", set(mapping.to_string())).await;
    for (sql, expect) in [
        ("SELECT b, s, new FROM t WHERE b = 7", "7 {x: 7} -"),
        ("SELECT s['x'] FROM t WHERE s['x'] = 500", "500"),
        ("SELECT count(*), sum(b), count(new) FROM t WHERE b >= 990", "10 9945 0"),
        ("SELECT count(*) FROM t", "1000"),
    ] {
        assert_eq!(rows(&shop, &all, sql).await.unwrap(), [expect], "{sql}");
    }
    shop.change("t", set("[{".to_owned())).await;
    let error = the_cause(rows(&shop, &all, "SELECT b FROM t").await);
    assert!(error.class == Class::Drift && error.message.contains("plain.parquet"), "{error}");
    assert!(error.message.contains("name mapping cannot be read"), "{error}");
}

#[tokio::test]
async fn a_column_without_an_id_among_others_is_none_of_the_tables() {
    let shop = shop().await;
    shop.create("t", schema(vec![optional(1, "a", Long)])).await;
    shop.evolve("t", schema(vec![optional(1, "a", Long), optional(2, "b", Long)])).await;
    let columns =
        vec![(field("b", None, DataType::Int64), longs([1])), (field("a", Some(1), DataType::Int64), longs([2]))];
    add(&shop, "some", bytes(columns, small()), 1).await;
    assert_eq!(rows(&shop, &[("a", 1), ("b", 2)], "SELECT a, b FROM t").await.unwrap(), ["2 -"]);
    assert_eq!(rows(&shop, &[("b", 2), ("a", 1)], "SELECT * FROM t").await.unwrap(), ["- 2"]);
}

#[tokio::test]
async fn ids_are_those_of_the_columns_whatever_the_writers_arrow_schema_says() {
    let shop = shop().await;
    shop.create("t", schema(vec![optional(1, "a", Text)])).await;
    let array: ArrayRef = Arc::new(LargeStringArray::from(vec!["x", "y"]));
    let plain = Schema::new(vec![field("a", None, DataType::LargeUtf8)]);
    let note = KeyValue::new("ARROW:schema".to_owned(), parquet::arrow::encode_arrow_schema(&plain));
    let props = WriterProperties::builder().set_key_value_metadata(Some(vec![note])).build();
    let options = ArrowWriterOptions::new().with_properties(props).with_skip_arrow_metadata(true);
    add(&shop, "hint", bytes(vec![(field("a", Some(1), DataType::LargeUtf8), array)], options), 2).await;
    for _ in 0..2 {
        assert_eq!(rows(&shop, &[("a", 1)], "SELECT a FROM t WHERE a > 'x'").await.unwrap(), ["y"]);
    }
}

#[tokio::test]
async fn every_codec_is_read() {
    let codecs = [
        Compression::UNCOMPRESSED,
        Compression::SNAPPY,
        Compression::GZIP(GzipLevel::default()),
        Compression::ZSTD(ZstdLevel::default()),
        Compression::BROTLI(BrotliLevel::default()),
        Compression::LZ4,
        Compression::LZ4_RAW,
    ];
    let shop = shop().await;
    shop.create("t", schema(vec![optional(1, "a", Long)])).await;
    for codec in codecs {
        let props = WriterProperties::builder().set_compression(codec).build();
        let options = ArrowWriterOptions::new().with_properties(props);
        let file = bytes(vec![(field("a", Some(1), DataType::Int64), longs(0..1000))], options);
        add(&shop, &format!("{codec:?}").chars().filter(|c| c.is_alphanumeric()).collect::<String>(), file, 1000).await;
    }
    assert_eq!(
        rows(&shop, &[("a", 1)], "SELECT count(a), sum(a) FROM t WHERE a >= 0").await.unwrap(),
        ["7000 3496500"]
    );
}

#[tokio::test]
async fn a_file_with_two_columns_of_one_name_is_refused() {
    let shop = shop().await;
    shop.create("t", schema(vec![optional(1, "x", Long), optional(2, "y", Long)])).await;
    let twins = vec![
        (field("a", Some(1), DataType::Int64), longs([1, 2])),
        (field("a", Some(2), DataType::Int64), longs([10, 20])),
    ];
    add(&shop, "twins", bytes(twins, ArrowWriterOptions::new()), 2).await;
    for sql in ["SELECT y FROM t", "SELECT x FROM t WHERE y = 20"] {
        let error = the_cause(rows(&shop, &[("x", 1), ("y", 2)], sql).await);
        assert_eq!(error.class, Class::Drift);
        let named = error.message.contains("twins.parquet` of table `ns.t` in domain `shop`");
        assert!(named && error.message.contains("two columns of one name"), "{error}");
    }
}

#[tokio::test]
async fn spellings_of_other_writers_are_the_tables_types() {
    use datafusion::arrow::array::{BinaryArray, Int8Array, TimestampMillisecondArray};
    let shop = shop().await;
    let types = [("t", Text), ("i", Int), ("z", Timestamptz), ("w", Timestamp), ("m", Timestamp)];
    shop.create("t", schema((1..).zip(types).map(|(id, (name, of))| optional(id, name, of)).collect())).await;
    let micro = |zone: Option<&str>| DataType::Timestamp(TimeUnit::Microsecond, zone.map(Into::into));
    let time = TimestampMicrosecondArray::from(vec![1_500_001]);
    let columns: Vec<(Field, ArrayRef)> = vec![
        (field("t", Some(1), DataType::Binary), Arc::new(BinaryArray::from(vec![b"text".as_slice()]))),
        (field("i", Some(2), DataType::Int8), Arc::new(Int8Array::from(vec![-8]))),
        (field("z", Some(3), micro(None)), Arc::new(time.clone())),
        (field("w", Some(4), micro(Some("UTC"))), Arc::new(time.with_timezone("UTC"))),
        (
            field("m", Some(5), DataType::Timestamp(TimeUnit::Millisecond, None)),
            Arc::new(TimestampMillisecondArray::from(vec![1500])),
        ),
    ];
    add(&shop, "spelt", bytes(columns, ArrowWriterOptions::new().with_skip_arrow_metadata(true)), 1).await;
    let all = [("t", 1), ("i", 2), ("z", 3), ("w", 4), ("m", 5)];
    let all_of_it = "text -8 1970-01-01T00:00:01.500001Z 1970-01-01T00:00:01.500001 1970-01-01T00:00:01.500";
    for filter in [
        "true",
        "t = 'text'",
        "i = -8",
        "z = TIMESTAMP '1970-01-01T00:00:01.500001Z'",
        "m >= TIMESTAMP '1970-01-01T00:00:01.5'",
    ] {
        let got = rows(&shop, &all, &format!("SELECT * FROM t WHERE {filter}")).await.unwrap();
        assert_eq!(got, [all_of_it], "{filter}");
    }
    let none = rows(&shop, &all, "SELECT i FROM t WHERE m = TIMESTAMP '1970-01-01T00:00:01.500001'").await.unwrap();
    assert_eq!(none, Vec::<String>::new());
}

#[tokio::test]
async fn the_ends_of_every_type_come_back() {
    let shop = shop().await;
    let decimal = Decimal { precision: 38, scale: 2 };
    let types = [Int, Long, Double, decimal, Date, Time, Timestamptz, TimestampNs, TimestamptzNs, Uuid, Fixed(2)];
    shop.create("t", schema(vec![optional(1, "c1", Int)])).await;
    upgrade(&shop).await;
    let fields = (1..).zip(types).map(|(id, of)| optional(id, &format!("c{id}"), of)).collect();
    shop.evolve("t", schema(fields)).await;
    let most = 10_i128.pow(38) - 1;
    let fixed =
        |values: [&[u8]; 2]| -> ArrayRef { Arc::new(FixedSizeBinaryArray::try_from_iter(values.iter()).unwrap()) };
    let arrays: Vec<ArrayRef> = vec![
        Arc::new(Int32Array::from(vec![i32::MIN, i32::MAX])),
        longs([i64::MIN, i64::MAX]),
        Arc::new(Float64Array::from(vec![f64::MIN, f64::INFINITY])),
        Arc::new(Decimal128Array::from(vec![-most, most]).with_precision_and_scale(38, 2).unwrap()),
        Arc::new(Date32Array::from(vec![-719_162, 2_932_896])),
        Arc::new(Time64MicrosecondArray::from(vec![0, 86_399_999_999])),
        Arc::new(
            TimestampMicrosecondArray::from(vec![-62_135_596_800_000_000, 253_402_300_799_999_999])
                .with_timezone("UTC"),
        ),
        Arc::new(TimestampNanosecondArray::from(vec![i64::MIN, i64::MAX])),
        Arc::new(TimestampNanosecondArray::from(vec![-1, 1]).with_timezone("UTC")),
        fixed([&[0; 16], &[0xff; 16]]),
        fixed([&[0; 2], &[0xff; 2]]),
    ];
    let columns =
        (1..).zip(arrays).map(|(id, array)| (field(&format!("c{id}"), Some(id), array.data_type().clone()), array));
    add(&shop, "ends", bytes(columns.collect(), small()), 2).await;
    let names: Vec<String> = (1..=11).map(|id| format!("c{id}")).collect();
    let all: Vec<(&str, i32)> = names.iter().map(String::as_str).zip(1..).collect();
    let got = rows(&shop, &all, "SELECT * FROM t ORDER BY c1").await.unwrap();
    let nines = format!("{}.99", "9".repeat(36));
    assert_eq!(
        got,
        [
            format!(
                "-2147483648 -9223372036854775808 -1.7976931348623157e308 -{nines} 0001-01-01 00:00:00 0001-01-01T00:00:00Z \
                 1677-09-21T00:12:43.145224192 1969-12-31T23:59:59.999999999Z {} 0000",
                "00".repeat(16)
            ),
            format!(
                "2147483647 9223372036854775807 inf {nines} 9999-12-31 23:59:59.999999 9999-12-31T23:59:59.999999Z \
                 2262-04-11T23:47:16.854775807 1970-01-01T00:00:00.000000001Z {} ffff",
                "ff".repeat(16)
            ),
        ]
    );
    assert_eq!(rows(&shop, &all, "SELECT count(*) FROM t WHERE c4 > 0 AND c5 > '2000-01-01'").await.unwrap(), ["1"]);
}

#[tokio::test]
async fn dates_become_midnights_and_one_out_of_range_is_an_error() {
    let shop = shop().await;
    shop.create("t", schema(vec![optional(1, "d", Date)])).await;
    upgrade(&shop).await;
    let days: ArrayRef = Arc::new(Date32Array::from_iter_values(0..1000));
    add(&shop, "days", bytes(vec![(field("d", Some(1), DataType::Date32), days)], small()), 1000).await;
    for of in [Timestamp, TimestampNs] {
        shop.evolve("t", schema(vec![optional(1, "d", of)])).await;
        for (filter, expect) in [
            ("d = TIMESTAMP '1970-01-03T00:00:00'", "1"),
            ("d = TIMESTAMP '1970-01-03T12:00:00'", "0"),
            ("d > TIMESTAMP '1970-01-03T12:00:00'", "997"),
            ("d >= TIMESTAMP '1970-01-03T00:00:00' AND d < TIMESTAMP '1970-01-05T00:00:00'", "2"),
        ] {
            let sql = format!("SELECT count(*) FROM t WHERE {filter}");
            assert_eq!(rows(&shop, &[("d", 1)], &sql).await.unwrap(), [expect], "{filter}");
        }
    }
    let far: ArrayRef = Arc::new(Date32Array::from(vec![2_932_896]));
    add(&shop, "far", bytes(vec![(field("d", Some(1), DataType::Date32), far)], small()), 1).await;
    let error = the_cause(rows(&shop, &[("d", 1)], "SELECT d FROM t").await);
    assert!(error.message.contains("does not fit"), "{error}");
}

#[tokio::test]
async fn a_default_is_the_value_of_older_rows() {
    let shop = two_files().await;
    upgrade(&shop).await;
    shop.evolve("t", schema(vec![optional(1, "a", Long), optional(2, "b", Text)])).await;
    edit(&shop, |json| {
        let add = |json: &mut Value, id: i32, name: &str, of: Value, default: Value| {
            current(json).push(json!({"id": id, "name": name, "required": id == 10, "type": of, "initial-default": default, "write-default": default}));
        };
        json["last-column-id"] = json!(40);
        add(json, 10, "i", json!("int"), json!(7));
        add(json, 11, "d", json!("decimal(9, 2)"), json!("-14.2"));
        add(json, 12, "t", json!("timestamptz_ns"), json!("2017-11-16T22:31:08.123456789+00:00"));
        add(json, 13, "u", json!("uuid"), json!("f79c3e09-677c-4bbd-a479-3f349cb785e7"));
        add(json, 14, "x", json!("binary"), json!("000102ff"));
        let inside = json!([{"id": 16, "name": "y", "required": false, "type": "long", "initial-default": 9}]);
        add(json, 15, "s", json!({"type": "struct", "fields": inside}), json!({}));
        add(json, 17, "broken", json!("int"), json!("seven"));
        add(json, 18, "day", json!("date"), json!("2017-11-16"));
        add(json, 19, "time", json!("time"), json!("22:31:08.123456"));
    })
    .await;
    let all = [("a", 1), ("i", 10), ("d", 11), ("t", 12), ("u", 13), ("x", 14), ("s", 15), ("day", 18), ("time", 19)];
    let got = rows(&shop, &all, "SELECT i, d, t, u, x, s, day, time FROM t WHERE a = 1").await.unwrap();
    let expect = "7 -14.20 2017-11-16T22:31:08.123456789Z f79c3e09677c4bbda4793f349cb785e7 000102ff {y: 9} 2017-11-16 \
                  22:31:08.123456";
    assert_eq!(got, [expect]);
    for (filter, count) in [("i = 7", 6), ("i <> 7", 0), ("i IS NULL", 0), ("d < 0 AND i > 6", 6), ("s['y'] = 9", 6)] {
        let sql = format!("SELECT a FROM t WHERE {filter}");
        assert_eq!(rows(&shop, &all, &sql).await.unwrap().len(), count, "{filter}");
    }
    assert_eq!(rows(&shop, &all, "SELECT min(i), count(i), count(*) FROM t").await.unwrap(), ["7 6 6"]);
    // One that cannot be read is not taken for NULL, and keeps its own column only.
    let error = pin(&shop, &[("broken", 17)]).await.unwrap_err();
    assert_eq!(error.class, Class::Drift);
    assert!(error.message.contains("`broken`") && error.message.contains("default"), "{error}");
}

#[tokio::test]
async fn a_type_that_cannot_be_held_keeps_its_column_and_not_the_table() {
    let shop = two_files().await;
    upgrade(&shop).await;
    edit(&shop, |json| {
        json["last-column-id"] = json!(40);
        for (id, of) in [(10, "variant"), (11, "geometry(OGC:CRS84)"), (12, "unknown"), (13, "decimal(50, 2)")] {
            current(json).push(json!({"id": id, "name": format!("c{id}"), "required": false, "type": of}));
        }
        let inside = json!([{"id": 21, "name": "v", "required": false, "type": "variant"},
            {"id": 22, "name": "x", "required": false, "type": "long"}]);
        current(json)
            .push(json!({"id": 20, "name": "s", "required": false, "type": {"type": "struct", "fields": inside}}));
    })
    .await;
    assert_eq!(rows(&shop, &[("a", 1)], "SELECT count(a) FROM t").await.unwrap(), ["6"]);
    assert_eq!(rows(&shop, &[("a", 1), ("n", 12)], "SELECT n FROM t WHERE a = 1").await.unwrap(), ["-"]);
    for (id, kind) in [(10, "variant"), (11, "geometry(OGC:CRS84)"), (13, "decimal(50,"), (20, "variant")] {
        let error = pin(&shop, &[("x", id)]).await.unwrap_err();
        assert!(error.class == Class::Drift && error.message.contains(kind), "{error}");
    }
    // The rest of a struct can be had without it.
    let x = ScanColumn { name: "x".into(), field_id: 22, fields: None };
    let s = ScanColumn { name: "s".into(), field_id: 20, fields: Some(vec![x]) };
    let scan = IcebergScan::pin(shop.open("t").await, vec![s], None).await.unwrap();
    assert_eq!(context(&shop).read_table(scan).unwrap().count().await.unwrap(), 6);
}

#[tokio::test]
async fn only_the_declared_fields_of_a_struct_are_seen_under_their_declared_names() {
    let shop = shop().await;
    let pair = StructType::new(vec![optional(2, "x", Long), optional(3, "secret", Text)]);
    let list = ListType::new(NestedField::list_element(4, Type::Struct(pair), false).into());
    shop.create("t", schema(vec![optional(1, "n", Long)])).await;
    let l = NestedField::optional(5, "l", Type::List(list));
    shop.evolve("t", schema(vec![optional(1, "n", Long), l.into()])).await;
    let inside = Fields::from(vec![field("x", Some(2), DataType::Int64), field("secret", Some(3), DataType::Utf8)]);
    let structs = StructArray::new(inside.clone(), vec![longs([7, 8]), texts(&["p", "q"])], None);
    let element = Arc::new(field("element", Some(4), DataType::Struct(inside)));
    let offsets = datafusion::arrow::buffer::OffsetBuffer::from_lengths([2]);
    let lists = datafusion::arrow::array::ListArray::new(Arc::clone(&element), offsets, Arc::new(structs), None);
    add(&shop, "f", bytes(vec![(field("l", Some(5), DataType::List(element)), Arc::new(lists))], small()), 1).await;
    let x = ScanColumn { name: "number".into(), field_id: 2, fields: None };
    let l = ScanColumn { name: "l".into(), field_id: 5, fields: Some(vec![x]) };
    let scan = IcebergScan::pin(shop.open("t").await, vec![l], None).await.unwrap();
    let context = context(&shop);
    context.register_table("t", scan).unwrap();
    let got = context.sql("SELECT l, l[2]['number'] AS x FROM t").await.unwrap().collect().await.unwrap();
    let text = datafusion::arrow::util::pretty::pretty_format_batches(&got).unwrap().to_string();
    assert!(text.contains("[{number: 7}, {number: 8}] | 8"), "{text}");
    assert!(context.sql("SELECT l[1]['secret'] FROM t").await.is_err());
}

#[tokio::test]
async fn an_encrypted_file_and_wrong_counts_are_refused_by_name() {
    for broken in ["encrypted", "counted", "noted"] {
        let shop = shop().await;
        shop.create("t", schema(vec![optional(1, "a", Long)])).await;
        let note = KeyValue::new("polder.partition.1".to_owned(), "x".to_owned());
        let props = WriterProperties::builder().set_key_value_metadata((broken == "noted").then(|| vec![note]));
        let options = ArrowWriterOptions::new().with_properties(props.build());
        let mut file = bytes(vec![(field("a", Some(1), DataType::Int64), longs(0..10))], options);
        if broken == "encrypted" {
            let end = file.len() - 4;
            file[end..].copy_from_slice(b"PARE");
        }
        add(&shop, broken, file, if broken == "counted" { 11 } else { 10 }).await;
        let error = the_cause(rows(&shop, &[("a", 1)], "SELECT a FROM t").await);
        assert!(error.message.contains(&format!("{broken}.parquet")) && error.message.contains("`ns.t`"), "{error}");
        assert_eq!(error.message.contains("is encrypted"), broken == "encrypted", "{error}");
    }
}

#[tokio::test]
async fn a_file_that_broke_anywhere_gives_an_error_or_all_of_its_rows() {
    let shop = Arc::new(shop().await);
    shop.create("t", schema(vec![optional(1, "a", Long), optional(2, "b", Text)])).await;
    let text: ArrayRef = Arc::new(StringArray::from_iter_values((0..500).map(|i| format!("text {}", i % 7))));
    let columns =
        vec![(field("a", Some(1), DataType::Int64), longs(0..500)), (field("b", Some(2), DataType::Utf8), text)];
    let whole = bytes(columns, small());
    add(&shop, "f", whole.clone(), 500).await;
    let path = shop.dir.path().join("lake/ns/t/data/f.parquet");
    assert!(path.is_file(), "{}", path.display());
    let mut chance = Chance(1);
    let (mut refused, mut panicked) = (0, 0);
    for _ in 0..150 {
        let mut broken = whole.clone();
        let at = chance.below(broken.len());
        broken[at] ^= 1 << chance.below(8);
        std::fs::write(&path, &broken).unwrap();
        let shop = Arc::clone(&shop);
        let read = tokio::spawn(async move { rows(&shop, &[("a", 1), ("b", 2)], "SELECT a, b FROM t").await });
        match read.await {
            Ok(Ok(rows)) => assert_eq!(rows.len(), 500, "byte {at}"),
            Ok(Err(_)) => refused += 1,
            // A page that breaks its decoder ends the query, and the session says so.
            Err(panic) => panicked += usize::from(panic.is_panic()),
        }
    }
    assert!(refused > 10 && panicked < refused, "{refused} refused, {panicked} panicked");
}
