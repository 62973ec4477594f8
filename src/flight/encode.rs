//! Rows on the wire: plain Arrow types, no metadata, messages of a size that every client takes, and no byte more
//! than the rows that are sent.
//!
//! Views, dictionaries and run-end encoding save work inside the engine, but half of the clients cannot read them, and
//! their shared buffers would carry bytes of rows that the principal may not see. Casting makes fresh, plain arrays, and
//! scrubbing takes away what is left under NULL and beside a slice.

use std::sync::Arc;

use arrow_flight::{FlightData, SchemaAsIpc};
use bytes::Bytes;
use datafusion::arrow::array::{Array, ArrayRef, RecordBatch, RecordBatchOptions};
use datafusion::arrow::compute::cast;
use datafusion::arrow::datatypes::{DataType, Field, FieldRef, Schema, SchemaRef};
use datafusion::arrow::ipc::writer::{CompressionContext, DictionaryTracker, IpcDataGenerator, IpcWriteOptions};
use futures::stream::{self, BoxStream, Stream, StreamExt, TryStreamExt};

use crate::error::{Class, Error};
use crate::scrub::{Fault, scrub};

/// The most that one message holds, unless a single row is larger. tonic takes 4 MiB by default, ADBC 16.
const MESSAGE: usize = 2 * 1024 * 1024;

/// The type under which values of this type travel.
fn wire_type(kind: &DataType) -> DataType {
    match kind {
        DataType::Utf8View => DataType::Utf8,
        DataType::BinaryView => DataType::Binary,
        DataType::Dictionary(_, values) => wire_type(values),
        DataType::RunEndEncoded(_, values) => wire_type(values.data_type()),
        DataType::List(item) | DataType::LargeList(item) | DataType::ListView(item) | DataType::LargeListView(item) => {
            DataType::List(wire_field(item))
        }
        DataType::FixedSizeList(item, size) => DataType::FixedSizeList(wire_field(item), *size),
        DataType::Struct(fields) => DataType::Struct(fields.iter().map(wire_field).collect()),
        DataType::Map(entries, sorted) => DataType::Map(wire_field(entries), *sorted),
        plain => plain.clone(),
    }
}

fn wire_field(field: &FieldRef) -> FieldRef {
    Arc::new(Field::new(field.name(), wire_type(field.data_type()), field.is_nullable()))
}

/// The schema under which rows of this schema travel.
pub fn wire_schema(schema: &Schema) -> SchemaRef {
    Arc::new(Schema::new(schema.fields().iter().map(wire_field).collect::<Vec<_>>()))
}

/// These rows as they travel, under `wire`, the [`wire_schema`] of their own.
///
/// # Errors
/// When a batch does not have that schema, or holds more text than one plain array can.
pub fn wire_batch(wire: &SchemaRef, batch: &RecordBatch) -> Result<RecordBatch, Error> {
    travelling(wire, batch, scrub)
}

/// The same, where `clean` takes away what an array holds and does not show.
fn travelling(
    wire: &SchemaRef,
    batch: &RecordBatch,
    clean: impl Fn(&ArrayRef) -> Result<ArrayRef, Fault>,
) -> Result<RecordBatch, Error> {
    let misfit = |_| Error::new(Class::Bug, "the rows of a result do not fit its schema");
    let columns = wire
        .fields()
        .iter()
        .zip(batch.columns())
        .map(|(field, column)| clean(&plain(column, field.data_type())?).map_err(unclean))
        .collect::<Result<Vec<_>, _>>()?;
    let options = RecordBatchOptions::new().with_row_count(Some(batch.num_rows()));
    RecordBatch::try_new_with_options(Arc::clone(wire), columns, &options).map_err(misfit)
}

fn plain(column: &ArrayRef, kind: &DataType) -> Result<ArrayRef, Error> {
    if column.data_type() == kind {
        return Ok(Arc::clone(column));
    }
    cast(column, kind).map_err(|_| too_large())
}

fn unclean(fault: Fault) -> Error {
    match fault {
        Fault::Type(kind) => Error::new(Class::BadRequest, format!("values of type `{kind}` cannot be sent")),
        Fault::Build => too_large(),
    }
}

fn too_large() -> Error {
    Error::new(Class::Limit, "a column's values are too large to send").help("select fewer or shorter values")
}

/// Cuts rows into pieces that fit a message.
fn pieces(batch: RecordBatch) -> Vec<RecordBatch> {
    let (mut rest, mut pieces) = (vec![batch], Vec::new());
    while let Some(batch) = rest.pop() {
        let rows = batch.num_rows();
        let size = size(&batch);
        if size <= MESSAGE || rows < 2 {
            pieces.push(batch);
            continue;
        }
        let step = (rows / size.div_ceil(MESSAGE)).clamp(1, rows.div_ceil(2));
        // The last piece first, because the stack gives them back the other way round.
        let starts: Vec<usize> = (0..rows).step_by(step).collect();
        rest.extend(starts.into_iter().rev().map(|start| batch.slice(start, step.min(rows - start))));
    }
    pieces
}

fn size(batch: &RecordBatch) -> usize {
    batch.columns().iter().map(|column| sliced_size(column.as_ref())).sum()
}

/// The bytes of an array's own rows. Arrow's own figure counts a list's items without regard to the slice.
fn sliced_size(array: &dyn Array) -> usize {
    use datafusion::arrow::array::cast::AsArray as _;
    let rows = array.len();
    match array.data_type() {
        DataType::List(_) => {
            let list = array.as_list::<i32>();
            let (start, end) = ends(list.value_offsets());
            rows * 4 + sliced_size(list.values().slice(start, end - start).as_ref())
        }
        DataType::Map(..) => {
            let map = array.as_map();
            let (start, end) = ends(map.value_offsets());
            rows * 4 + sliced_size(&map.entries().slice(start, end - start))
        }
        DataType::FixedSizeList(..) => sliced_size(array.as_fixed_size_list().values().as_ref()),
        DataType::Struct(_) => array.as_struct().columns().iter().map(|column| sliced_size(column.as_ref())).sum(),
        _ => array.to_data().get_slice_memory_size().unwrap_or_else(|_| array.get_buffer_memory_size()),
    }
}

fn ends(offsets: &[i32]) -> (usize, usize) {
    let at = |offset: Option<&i32>| offset.and_then(|offset| usize::try_from(*offset).ok()).unwrap_or_default();
    (at(offsets.first()), at(offsets.last()))
}

/// The message that opens every result, also an empty one.
fn schema_message(schema: &Schema, app_metadata: Bytes) -> FlightData {
    FlightData::from(SchemaAsIpc::new(schema, &IpcWriteOptions::default())).with_app_metadata(app_metadata)
}

fn batch_message(batch: &RecordBatch) -> Result<FlightData, Error> {
    let bug = || Error::new(Class::Bug, "rows could not be encoded");
    let mut dictionaries = DictionaryTracker::new(true);
    let (dictionaries, rows) = IpcDataGenerator::default()
        .encode(batch, &mut dictionaries, &IpcWriteOptions::default(), &mut CompressionContext::default())
        .map_err(|_| bug())?;
    // A dictionary could only hide in a type that does not travel.
    if dictionaries.is_empty() { Ok(rows.into()) } else { Err(bug()) }
}

/// A schema as bytes in a message about a result.
///
/// # Errors
/// When the schema cannot be written.
pub(super) fn schema_bytes(schema: &Schema) -> Result<Bytes, Error> {
    let options = IpcWriteOptions::default();
    arrow_flight::IpcMessage::try_from(SchemaAsIpc::new(schema, &options))
        .map(|message| message.0)
        .map_err(|_| Error::new(Class::Bug, "a schema could not be encoded"))
}

/// Rows as Flight messages: the schema first, then rows, encoded as they are asked for.
pub fn encode(
    schema: &Schema,
    app_metadata: Bytes,
    rows: impl Stream<Item = Result<RecordBatch, Error>> + Send + 'static,
) -> BoxStream<'static, Result<FlightData, Error>> {
    let wire = wire_schema(schema);
    let first = schema_message(&wire, app_metadata);
    let rows = rows
        .and_then(move |batch| {
            let pieces = wire_batch(&wire, &batch).map(pieces);
            async move { Ok(stream::iter(pieces?.into_iter().map(Ok))) }
        })
        .try_flatten()
        .try_filter(|batch| std::future::ready(batch.num_rows() > 0))
        .and_then(|batch| std::future::ready(batch_message(&batch)));
    stream::once(std::future::ready(Ok(first))).chain(rows).boxed()
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "tests")]
mod tests {
    use std::collections::HashMap;

    use arrow_flight::decode::FlightRecordBatchStream;
    use arrow_flight::error::FlightError;
    use datafusion::arrow::array::builder::{ListBuilder, MapBuilder, StringBuilder, StringViewBuilder};
    use datafusion::arrow::array::{
        BinaryViewArray, DictionaryArray, FixedSizeListArray, Int32Array, LargeListArray, LargeStringArray,
        ListViewArray, RunArray, StringArray, StringViewArray, StructArray,
    };
    use datafusion::arrow::buffer::{OffsetBuffer, ScalarBuffer};
    use datafusion::arrow::datatypes::Int32Type;

    use super::*;

    fn batch(columns: Vec<(&str, ArrayRef)>) -> RecordBatch {
        RecordBatch::try_from_iter_with_nullable(columns.into_iter().map(|(name, column)| (name, column, true)))
            .unwrap()
    }

    async fn messages(batches: Vec<RecordBatch>) -> Vec<FlightData> {
        let schema = batches[0].schema();
        encode(&schema, Bytes::new(), stream::iter(batches.into_iter().map(Ok))).try_collect().await.unwrap()
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
            DataType::List(item) | DataType::FixedSizeList(item, _) | DataType::Map(item, _) => {
                is_plain(item.data_type())
            }
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
            ("list of structs", {
                Arc::new(ListArray::new(item(inside.data_type()), ones(), Arc::new(inside), nulls()))
            }),
            ("map", Arc::new(MapArray::new(entry, ones(), entries, nulls(), false))),
            ("boolean", Arc::new(BooleanArray::new(bits.into(), Some(unset))) as ArrayRef),
        ]
    }

    #[test]
    fn what_is_under_null_does_not_leave_and_would_without_the_scrubbing() {
        const TOKEN: &str = "hidden-from-this-principal";
        let leaks = |rows: &RecordBatch, clean: &dyn Fn(&ArrayRef) -> Result<ArrayRef, Fault>| {
            let wire = wire_schema(&rows.schema());
            let sent = pieces(travelling(&wire, rows, clean).unwrap());
            let bodies = sent.iter().map(|batch| batch_message(batch).unwrap().data_body);
            bodies.into_iter().any(|body| body.windows(8).any(|bytes| bytes == &TOKEN.as_bytes()[..8]))
        };
        for (name, column) in covered(TOKEN) {
            let rows = batch(vec![(name, if name == "boolean" { column } else { column.slice(0, 1) })]);
            assert!(leaks(&rows, &|array| Ok(Arc::clone(array))), "{name} would not leak");
            assert!(!leaks(&rows, &|array| scrub(array)), "{name}");
        }
    }

    #[test]
    fn the_last_byte_of_a_slice_of_bits_holds_no_neighbour() {
        use datafusion::arrow::array::BooleanArray;
        let set = BooleanArray::from(vec![true; 64]);
        let rows = batch(vec![("flag", Arc::new(set) as ArrayRef)]).slice(8, 3);
        let last = |clean: &dyn Fn(&ArrayRef) -> Result<ArrayRef, Fault>| {
            let sent = travelling(&wire_schema(&rows.schema()), &rows, clean).unwrap();
            batch_message(&sent).unwrap().data_body.iter().copied().max().unwrap()
        };
        assert!(last(&|array| Ok(Arc::clone(array))) > 0b111);
        assert_eq!(last(&|array| scrub(array)), 0b111);
    }

    #[tokio::test]
    async fn an_error_among_the_rows_ends_them() {
        let rows = stream::iter([Ok(fancy()), Err(Error::new(Class::Storage, "gone"))]);
        let sent: Vec<_> = encode(&fancy().schema(), Bytes::new(), rows).collect().await;
        assert_eq!(sent.len(), 3);
        assert_eq!(sent[2].as_ref().unwrap_err().class, Class::Storage);
    }
}
