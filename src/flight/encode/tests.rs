//! What travels is what was there, small enough, and nothing else.

use std::collections::HashMap;
use std::sync::Arc;

use arrow_flight::decode::FlightRecordBatchStream;
use arrow_flight::error::FlightError;
use datafusion::arrow::array::builder::{ListBuilder, MapBuilder, StringBuilder, StringViewBuilder};
use datafusion::arrow::array::{
    Array, ArrayRef, BinaryViewArray, DictionaryArray, FixedSizeListArray, Int32Array, LargeListArray,
    LargeStringArray, ListViewArray, RecordBatchOptions, RunArray, StringArray, StringViewArray, StructArray,
};
use datafusion::arrow::buffer::{OffsetBuffer, ScalarBuffer};
use datafusion::arrow::compute::cast;
use datafusion::arrow::datatypes::{Field, Int32Type};
use datafusion::arrow::ipc::CompressionType;

use super::*;

fn batch(columns: Vec<(&str, ArrayRef)>) -> RecordBatch {
    RecordBatch::try_from_iter_with_nullable(columns.into_iter().map(|(name, column)| (name, column, true))).unwrap()
}

const RICH: Form = Form { types: Types::Rich, compression: None };

async fn messages(batches: Vec<RecordBatch>) -> Vec<FlightData> {
    messages_as(Form::default(), batches).await
}

async fn messages_as(form: Form, batches: Vec<RecordBatch>) -> Vec<FlightData> {
    let schema = batches[0].schema();
    encode_as(&schema, Bytes::new(), form, stream::iter(batches.into_iter().map(Ok))).try_collect().await.unwrap()
}

async fn decoded(messages: Vec<FlightData>) -> (SchemaRef, Vec<RecordBatch>) {
    let stream = stream::iter(messages.into_iter().map(Ok::<_, FlightError>));
    let mut rows = FlightRecordBatchStream::new_from_flight_data(stream);
    let mut batches = Vec::new();
    while let Some(batch) = rows.next().await {
        batches.push(batch.unwrap());
    }
    (Arc::clone(rows.schema().unwrap()), batches)
}

/// One column of every kind that does not travel, each also inside others.
fn fancy() -> RecordBatch {
    let views = || Arc::new(StringViewArray::from(vec![Some("a longer text than fits inline"), None, Some("b")]));
    let item = || Arc::new(Field::new("item", DataType::Utf8View, true));
    let offsets = OffsetBuffer::new(vec![0_i64, 1, 2, 3].into());
    let mut maps = MapBuilder::new(None, StringBuilder::new(), StringViewBuilder::new());
    for value in ["x", "y", "z"] {
        maps.keys().append_value(value);
        maps.values().append_value(value);
        maps.append(true).unwrap();
    }
    batch(vec![
        ("text", views() as ArrayRef),
        ("bytes", Arc::new(BinaryViewArray::from(vec![Some(b"a".as_slice()), None, Some(b"b")])) as ArrayRef),
        ("dictionary", Arc::new(DictionaryArray::<Int32Type>::from_iter([Some("a"), None, Some("a")])) as ArrayRef),
        (
            "runs",
            Arc::new(
                RunArray::<Int32Type>::try_new(&Int32Array::from(vec![2, 3]), &StringArray::from(vec!["r", "s"]))
                    .unwrap(),
            ) as ArrayRef,
        ),
        ("large", Arc::new(LargeListArray::new(item(), offsets, views(), None)) as ArrayRef),
        (
            "list_view",
            Arc::new(ListViewArray::new(
                item(),
                ScalarBuffer::from(vec![0, 1, 2]),
                ScalarBuffer::from(vec![1, 1, 1]),
                views(),
                None,
            )) as ArrayRef,
        ),
        ("fixed", Arc::new(FixedSizeListArray::new(item(), 1, views(), None)) as ArrayRef),
        (
            "struct",
            Arc::new(StructArray::new(
                vec![Field::new("inner", DataType::Utf8View, true)].into(),
                vec![views() as ArrayRef],
                None,
            )) as ArrayRef,
        ),
        ("map", Arc::new(maps.finish()) as ArrayRef),
    ])
}

fn is_plain(kind: &DataType) -> bool {
    match kind {
        DataType::Utf8View
        | DataType::BinaryView
        | DataType::Dictionary(..)
        | DataType::RunEndEncoded(..)
        | DataType::LargeList(_)
        | DataType::ListView(_)
        | DataType::LargeListView(_) => false,
        DataType::List(item) | DataType::FixedSizeList(item, _) | DataType::Map(item, _) => is_plain(item.data_type()),
        DataType::Struct(fields) => fields.iter().all(|field| is_plain(field.data_type())),
        _ => true,
    }
}

#[tokio::test]
async fn every_type_travels_plain_with_its_values() {
    let rows = fancy();
    let wire = wire_schema(&rows.schema());
    assert!(wire.fields().iter().all(|field| is_plain(field.data_type())), "{wire}");
    let (schema, batches) = decoded(messages(vec![rows.clone()]).await).await;
    assert_eq!(schema, wire);
    for (sent, got) in rows.columns().iter().zip(batches[0].columns()) {
        assert_eq!(&cast(sent, got.data_type()).unwrap(), got);
    }
    let texts: &StringArray = batches[0].column(0).as_any().downcast_ref().unwrap();
    assert_eq!(texts.iter().collect::<Vec<_>>(), [Some("a longer text than fits inline"), None, Some("b")]);
    let runs: &StringArray = batches[0].column(3).as_any().downcast_ref().unwrap();
    assert_eq!(runs.iter().collect::<Vec<_>>(), [Some("r"), Some("r"), Some("s")]);
}

#[test]
fn metadata_stays_here_and_nullability_travels() {
    let secret = HashMap::from([("PARQUET:field_id".to_owned(), "7".to_owned())]);
    let inner = Field::new("inner", DataType::Utf8View, false).with_metadata(secret.clone());
    let field = Field::new("outer", DataType::Struct(vec![inner].into()), false).with_metadata(secret.clone());
    let wire = wire_schema(&Schema::new_with_metadata(vec![field], secret));
    let expected =
        Field::new("outer", DataType::Struct(vec![Field::new("inner", DataType::Utf8, false)].into()), false);
    assert_eq!(*wire, Schema::new(vec![expected]));
    assert_eq!(wire_schema(&wire), wire);
}

#[tokio::test]
async fn an_empty_result_still_has_its_schema() {
    let none = fancy().slice(0, 0);
    for batches in [vec![], vec![Ok(none.clone()), Ok(none.clone())]] {
        let messages: Vec<_> =
            encode(&none.schema(), Bytes::from("notes"), stream::iter(batches)).try_collect().await.unwrap();
        assert_eq!(messages.len(), 1);
        assert_eq!(messages[0].app_metadata, "notes");
        let (schema, rows) = decoded(messages).await;
        assert_eq!((schema, rows.len()), (wire_schema(&none.schema()), 0));
    }
}

#[tokio::test]
async fn rows_without_columns_keep_their_number() {
    let options = RecordBatchOptions::new().with_row_count(Some(7));
    let rows = RecordBatch::try_new_with_options(Arc::new(Schema::empty()), vec![], &options).unwrap();
    let (_, batches) = decoded(messages(vec![rows]).await).await;
    assert_eq!(batches.iter().map(RecordBatch::num_rows).sum::<usize>(), 7);
}

#[tokio::test]
async fn messages_stay_small_however_uneven_the_rows() {
    // Half of the bytes are in the last hundred rows.
    let long = "x".repeat(40_000);
    let texts: Vec<&str> = (0..50_000)
        .map(|row| {
            if row < 49_900 {
                "eighty bytes, more or less: padding padding padding padding padding padding pad."
            } else {
                &long
            }
        })
        .collect();
    let numbers = Int32Array::from_iter_values(0..50_000);
    let mut lists = ListBuilder::new(StringBuilder::new());
    for text in &texts {
        lists.values().append_value(text);
        lists.append(true);
    }
    let rows = batch(vec![
        ("number", Arc::new(numbers) as ArrayRef),
        ("text", Arc::new(StringViewArray::from(texts)) as ArrayRef),
        ("list", Arc::new(lists.finish()) as ArrayRef),
    ]);
    let messages = messages(vec![rows]).await;
    let largest = messages.iter().map(|message| message.data_body.len()).max().unwrap();
    assert!(largest <= MESSAGE + MESSAGE / 8, "{largest}");
    assert!(messages.len() < 30, "{}", messages.len());
    let (_, batches) = decoded(messages).await;
    let numbers: Vec<i32> = batches
        .iter()
        .flat_map(|batch| batch.column(0).as_any().downcast_ref::<Int32Array>().unwrap().values().to_vec())
        .collect();
    assert!(numbers.iter().copied().eq(0..50_000), "rows in their order, none lost");
}

#[tokio::test]
async fn no_byte_of_a_row_that_is_cut_away_leaves() {
    const HIDDEN: &str = "hidden-from-this-principal";
    let texts = || StringArray::from(vec![HIDDEN, "shown", HIDDEN]);
    let item = || Arc::new(Field::new("item", DataType::Utf8, true));
    let mut lists = ListBuilder::new(StringBuilder::new());
    let mut maps = MapBuilder::new(None, StringBuilder::new(), StringBuilder::new());
    for text in texts().iter().flatten() {
        lists.values().append_value(text);
        lists.append(true);
        maps.keys().append_value(text);
        maps.values().append_value(text);
        maps.append(true).unwrap();
    }
    let columns: Vec<(&str, ArrayRef)> = vec![
        ("text", Arc::new(texts())),
        ("large", Arc::new(LargeStringArray::from(vec![HIDDEN, "shown", HIDDEN]))),
        ("view", Arc::new(StringViewArray::from(vec![HIDDEN, "shown", HIDDEN]))),
        ("dictionary", Arc::new(DictionaryArray::<Int32Type>::from_iter([HIDDEN, "shown", HIDDEN]))),
        ("list", Arc::new(lists.finish())),
        ("map", Arc::new(maps.finish())),
        ("fixed", Arc::new(FixedSizeListArray::new(item(), 1, Arc::new(texts()), None))),
        (
            "struct",
            Arc::new(StructArray::new(
                vec![Field::new("inner", DataType::Utf8, true)].into(),
                vec![Arc::new(texts()) as ArrayRef],
                None,
            )),
        ),
    ];
    for (name, column) in columns {
        let shown = batch(vec![(name, column)]).slice(1, 1);
        for message in messages(vec![shown]).await {
            let found = message.data_body.windows(HIDDEN.len()).any(|bytes| bytes == HIDDEN.as_bytes());
            assert!(!found, "{name}");
        }
    }
}

/// Rows of which every third is NULL over a token, in all the places where one can be.
fn covered(token: &str) -> Vec<(&'static str, ArrayRef)> {
    use datafusion::arrow::array::{BooleanArray, Int64Array, ListArray, MapArray, make_array};
    use datafusion::arrow::buffer::NullBuffer;
    let nulls = || Some(NullBuffer::from((0..24).map(|row| row % 3 != 0).collect::<Vec<_>>()));
    let texts = || -> ArrayRef { Arc::new(StringArray::from(vec![token; 24])) };
    let number = i64::from_le_bytes(token.as_bytes()[..8].try_into().unwrap());
    let cover = |array: ArrayRef| make_array(array.to_data().into_builder().nulls(nulls()).build().unwrap());
    let ones = || OffsetBuffer::<i32>::from_lengths([1; 24]);
    let item = |kind: &DataType| Arc::new(Field::new("item", kind.clone(), true));
    let inside = StructArray::new(vec![item(&DataType::Utf8)].into(), vec![texts()], nulls());
    let keys = Arc::new(Field::new("key", DataType::Utf8, false));
    let entries = StructArray::new(vec![keys, item(&DataType::Utf8)].into(), vec![texts(), texts()], None);
    let entry = Arc::new(Field::new("entries", entries.data_type().clone(), false));
    // Bits of neighbours: the token in bits, of which none is shown.
    let bits: Vec<bool> = token.bytes().flat_map(|byte| (0..8).map(move |bit| byte >> bit & 1 == 1)).collect();
    let unset = NullBuffer::new_null(bits.len());
    vec![
        ("text", cover(texts())),
        ("bytes", cover(cast(&texts(), &DataType::Binary).unwrap())),
        ("number", cover(Arc::new(Int64Array::from(vec![number; 24])))),
        ("list", Arc::new(ListArray::new(item(&DataType::Utf8), ones(), texts(), nulls()))),
        ("fixed", Arc::new(FixedSizeListArray::new(item(&DataType::Utf8), 1, texts(), nulls()))),
        ("struct", Arc::new(inside.clone())),
        ("list of structs", { Arc::new(ListArray::new(item(inside.data_type()), ones(), Arc::new(inside), nulls())) }),
        ("map", Arc::new(MapArray::new(entry, ones(), entries, nulls(), false))),
        ("boolean", Arc::new(BooleanArray::new(bits.into(), Some(unset))) as ArrayRef),
    ]
}

/// Whether a message holds these bytes, of rows that were scrubbed or not.
fn leaks(rows: &RecordBatch, form: Form, clean: bool, bytes: &[u8]) -> bool {
    let mut encoder = Encoder::new(&rows.schema(), form).unwrap();
    let mut rows = typed(&encoder.wire, rows).unwrap();
    if clean {
        rows = scrubbed(&rows).unwrap();
    }
    let messages = encoder.encode(&rows).unwrap();
    messages.iter().any(|message| message.data_body.windows(bytes.len()).any(|window| window == bytes))
}

#[test]
fn what_is_under_null_does_not_leave_and_would_without_the_scrubbing() {
    const TOKEN: &str = "hidden-from-this-principal";
    let token = &TOKEN.as_bytes()[..8];
    for (name, column) in covered(TOKEN) {
        let rows = batch(vec![(name, if name == "boolean" { column } else { column.slice(0, 1) })]);
        for form in [Form::default(), RICH] {
            assert!(leaks(&rows, form, false, token), "{name} would not leak");
            assert!(!leaks(&rows, form, true, token), "{name}");
        }
    }
}

#[tokio::test]
async fn views_and_dictionaries_of_others_do_not_leave_with_those_that_do() {
    const HIDDEN: &str = "hidden-from-this-principal";
    let texts = || (0..100).map(|row| if row % 2 == 0 { format!("{HIDDEN}-{row}") } else { format!("row-{row}") });
    let views = Arc::new(StringViewArray::from_iter_values(texts())) as ArrayRef;
    let dictionary = DictionaryArray::<Int32Type>::from_iter(texts().collect::<Vec<_>>().iter().map(String::as_str));
    for (name, column) in [("view", views), ("dictionary", Arc::new(dictionary) as ArrayRef)] {
        let shown = batch(vec![(name, column)]).slice(31, 1);
        let sent = messages_as(RICH, vec![shown.clone()]).await;
        let found =
            |bytes: &[u8]| sent.iter().any(|message| message.data_body.windows(bytes.len()).any(|w| w == bytes));
        assert!(found(b"row-31") && !found(HIDDEN.as_bytes()) && !found(b"row-33"), "{name}");
        assert!(leaks(&shown, RICH, false, HIDDEN.as_bytes()), "{name} would not leak");
        let (schema, batches) = decoded(sent).await;
        assert_eq!((schema.field(0).data_type(), &batches[0]), (shown.column(0).data_type(), &shown), "{name}");
    }
}

#[test]
fn the_last_byte_of_a_slice_of_bits_holds_no_neighbour() {
    use datafusion::arrow::array::BooleanArray;
    let set = BooleanArray::from(vec![true; 64]);
    let rows = batch(vec![("flag", Arc::new(set) as ArrayRef)]).slice(8, 3);
    for (clean, last) in [(false, 0xff), (true, 0b111)] {
        assert!(leaks(&rows, Form::default(), clean, &[last]), "{clean}");
        assert_eq!(leaks(&rows, Form::default(), clean, &[0xff]), !clean, "{clean}");
    }
}

#[tokio::test]
async fn who_asks_for_rich_types_gets_views_and_dictionaries_in_messages_as_small() {
    let rows = 200_000;
    let texts: Vec<String> = (0..rows).map(|row| format!("a text that does not fit inline: {row}")).collect();
    let few = (0..rows).map(|row| ["north", "south", "a direction of many letters"][row % 3]);
    let long: Vec<String> = (0..rows).map(|row| "x".repeat(if row == 7 { 1_000_000 } else { row % 5 })).collect();
    let columns = batch(vec![
        ("view", Arc::new(StringViewArray::from_iter_values(&texts)) as ArrayRef),
        ("few", Arc::new(few.collect::<DictionaryArray<Int32Type>>()) as ArrayRef),
        ("uneven", Arc::new(long.iter().map(String::as_str).collect::<DictionaryArray<Int32Type>>()) as ArrayRef),
        ("list_view", {
            let ones = ScalarBuffer::from_iter((0..rows).map(|_| 1));
            let starts = ScalarBuffer::from_iter(0..i32::try_from(rows).unwrap());
            let views = Arc::new(StringViewArray::from_iter_values(&texts));
            Arc::new(ListViewArray::new(
                Arc::new(Field::new("item", DataType::Utf8View, true)),
                starts,
                ones,
                views,
                None,
            ))
        }),
    ]);
    let sent = messages_as(RICH, vec![columns.clone()]).await;
    assert!(sent.iter().all(|message| message.data_body.len() <= LARGEST));
    assert!(sent.len() < 100, "{}", sent.len());
    let (schema, batches) = decoded(sent).await;
    let types: Vec<&DataType> = schema.fields().iter().map(|field| field.data_type()).collect();
    assert_eq!(types[..3], [&DataType::Utf8View, columns.column(1).data_type(), columns.column(2).data_type()]);
    assert!(matches!(types[3], DataType::List(item) if *item.data_type() == DataType::Utf8View));
    let got = datafusion::arrow::compute::concat_batches(&schema, &batches).unwrap();
    for at in 0..3 {
        let plain = |rows: &RecordBatch| cast(rows.column(at), &DataType::Utf8).unwrap();
        assert_eq!(&plain(&got), &plain(&columns));
    }
}

#[tokio::test]
async fn compressed_rows_are_the_same_rows_in_fewer_bytes() {
    let texts: Vec<&str> = (0..100_000).map(|row| ["a text", "that comes", "again and again"][row % 3]).collect();
    let rows = batch(vec![
        ("text", Arc::new(StringViewArray::from_iter_values(&texts)) as ArrayRef),
        ("few", Arc::new(texts.iter().copied().collect::<DictionaryArray<Int32Type>>()) as ArrayRef),
        ("number", Arc::new(Int32Array::from_iter_values(0..100_000)) as ArrayRef),
    ]);
    for types in [Types::Plain, Types::Rich] {
        let size = |sent: &[FlightData]| sent.iter().map(|message| message.data_body.len()).sum::<usize>();
        let plain = messages_as(Form { types, compression: None }, vec![rows.clone()]).await;
        for compression in [CompressionType::LZ4_FRAME, CompressionType::ZSTD] {
            let sent = messages_as(Form { types, compression: Some(compression) }, vec![rows.clone()]).await;
            assert!(size(&sent) * 2 < size(&plain), "{compression:?}");
            assert_eq!(sent[0], plain[0], "the schema tells nothing of it");
            let (schema, batches) = decoded(sent).await;
            let got = datafusion::arrow::compute::concat_batches(&schema, &batches).unwrap();
            assert_eq!(got, typed(&types.schema(&rows.schema()), &rows).unwrap(), "{compression:?}");
        }
    }
}

#[test]
fn the_announced_schema_is_the_sent_one_to_the_byte() {
    for form in [Form::default(), RICH, Form { compression: Some(CompressionType::ZSTD), ..RICH }] {
        let encoder = Encoder::new(&fancy().schema(), form).unwrap();
        let announced = schema_bytes(&form.types.schema(&fancy().schema())).unwrap();
        let sent = encoder.opening(Bytes::new()).data_header;
        // Announced, a message has its length before it and is padded behind.
        let length = u32::from_le_bytes(announced[4..8].try_into().unwrap()) as usize;
        assert_eq!((&announced[..4], 8 + length), ([0xff; 4].as_slice(), announced.len()));
        let (message, padding) = announced[8..].split_at(sent.len());
        assert_eq!(message, sent);
        assert!(padding.len() < 64 && padding.iter().all(|byte| *byte == 0), "{padding:?}");
    }
}

#[test]
fn a_decimal_column_says_its_digits_in_words_and_in_one_order() {
    let schema = Schema::new(vec![
        Field::new("total", DataType::Decimal128(12, 2), false),
        Field::new("number", DataType::Int64, false),
    ]);
    let wire = wire_schema(&schema);
    let words = wire.field(0).metadata();
    assert_eq!((words["ARROW:FLIGHT:SQL:PRECISION"].as_str(), words["ARROW:FLIGHT:SQL:SCALE"].as_str()), ("12", "2"));
    assert!(wire.field(1).metadata().is_empty());
    let bytes = schema_bytes(&wire).unwrap();
    assert!((0..20).all(|_| schema_bytes(&wire_schema(&schema)).unwrap() == bytes));
}

#[tokio::test]
async fn an_error_among_the_rows_ends_them() {
    let rows = stream::iter([Ok(fancy()), Err(Error::new(Class::Storage, "gone"))]);
    let sent: Vec<_> = encode(&fancy().schema(), Bytes::new(), rows).collect().await;
    assert_eq!(sent.len(), 3);
    assert_eq!(sent[2].as_ref().unwrap_err().class, Class::Storage);
}
