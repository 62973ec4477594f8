//! Rows on the wire: plain Arrow types, no metadata, messages of a size that every client takes, and no byte more
//! than the rows that are sent.
//!
//! Views, dictionaries and run-end encoding save work inside the engine, but half of the clients cannot read them, and
//! their shared buffers would carry bytes of rows that the principal may not see. Casting makes fresh, plain arrays.

use std::sync::Arc;

use arrow_flight::{FlightData, SchemaAsIpc};
use bytes::Bytes;
use datafusion::arrow::array::{Array, ArrayRef, RecordBatch, RecordBatchOptions};
use datafusion::arrow::compute::cast;
use datafusion::arrow::datatypes::{DataType, Field, FieldRef, Schema, SchemaRef};
use datafusion::arrow::ipc::writer::{CompressionContext, DictionaryTracker, IpcDataGenerator, IpcWriteOptions};
use futures::stream::{self, BoxStream, Stream, StreamExt, TryStreamExt};

use crate::error::{Class, Error};

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
    let misfit = |_| Error::new(Class::Bug, "the rows of a result do not fit its schema");
    let columns = wire
        .fields()
        .iter()
        .zip(batch.columns())
        .map(|(field, column)| plain(column, field.data_type()))
        .collect::<Result<Vec<_>, _>>()?;
    let options = RecordBatchOptions::new().with_row_count(Some(batch.num_rows()));
    RecordBatch::try_new_with_options(Arc::clone(wire), columns, &options).map_err(misfit)
}

fn plain(column: &ArrayRef, kind: &DataType) -> Result<ArrayRef, Error> {
    if column.data_type() == kind {
        return Ok(Arc::clone(column));
    }
    cast(column, kind).map_err(|_| {
        Error::new(Class::Limit, "a column's values are too large to send").help("select fewer or shorter values")
    })
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
    // A dictionary can only hide in a union, which travels as it is.
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
