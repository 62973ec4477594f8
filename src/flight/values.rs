//! Values of parameters as clients send them: an upload of one or several batches becomes one batch, and a stream that can
//! be sealed.
//!
//! An upload comes from outside, and Arrow's reader trusts lengths that a message claims. So a message is looked at before
//! it is read: compressed ones, which could unfold to any size, are refused, and what is read is read apart, where a
//! defect of the reader ends this upload and nothing else. What comes back out of a sealed handle is our own.

use std::io::Cursor;
use std::sync::Arc;
use std::time::Duration;

use arrow_flight::FlightData;
use arrow_flight::decode::FlightRecordBatchStream;
use datafusion::arrow::array::RecordBatch;
use datafusion::arrow::compute::concat_batches;
use datafusion::arrow::datatypes::{DataType, Field, Schema, SchemaRef, TimeUnit};
use datafusion::arrow::ipc::convert::fb_to_schema;
use datafusion::arrow::ipc::reader::StreamReader;
use datafusion::arrow::ipc::root_as_message;
use datafusion::arrow::ipc::writer::StreamWriter;
use futures::stream::{self, TryStreamExt};
use prost::Message as _;
use tonic::Streaming;

use super::ticket::Stream;
use crate::error::{Class, Error};

/// The most bytes of values. They travel in handles and tickets, both of which stand in one message to a client.
const LARGEST: usize = 1024 * 1024;

/// The most rows of values: the statement runs once for each.
const ROWS: usize = 1024;

/// The most messages of an upload, however small: a batch may hold a single row, and dictionaries.
const MESSAGES: usize = 4 * ROWS;

/// How long an upload may take.
const WITHIN: Duration = Duration::from_secs(60);

/// The widest values of fixed width. A NULL takes as much as any other.
const WIDEST: i32 = 64;

/// The types that are asked for, of parameters of these types.
///
/// JDBC's driver writes milliseconds into whatever unit of a time is asked for, and can fill no large or wide arrays. What comes
/// is cast to the type of its parameter, so a client may send more precise values than it is asked for.
pub(super) fn asked(parameters: &Schema) -> SchemaRef {
    let field = |field: &Field| {
        let kind = match field.data_type() {
            DataType::Timestamp(_, zone) => DataType::Timestamp(TimeUnit::Millisecond, zone.clone()),
            DataType::Time32(_) | DataType::Time64(_) => DataType::Time32(TimeUnit::Millisecond),
            DataType::Date64 => DataType::Date32,
            DataType::LargeUtf8 => DataType::Utf8,
            DataType::LargeBinary => DataType::Binary,
            other => other.clone(),
        };
        Field::new(field.name(), kind, field.is_nullable())
    };
    Arc::new(Schema::new(parameters.fields().iter().map(|asked| field(asked)).collect::<Vec<_>>()))
}

/// Reads an upload to its end. `None` when it binds nothing: some clients bind also where there is nothing to bind.
pub(super) async fn upload(first: FlightData, rest: Streaming<FlightData>) -> Result<Option<RecordBatch>, Error> {
    let late = |_| Error::new(Class::Limit, "the upload took too long");
    let messages = tokio::time::timeout(WITHIN, collect(first, rest)).await.map_err(late)??;
    if messages.is_empty() {
        return Ok(None);
    }
    tokio::spawn(read(messages)).await.map_err(|_| unreadable())?
}

/// What of an upload is data. All of it counts, and nothing else is kept.
async fn collect(first: FlightData, mut rest: Streaming<FlightData>) -> Result<Vec<FlightData>, Error> {
    let mut messages = Vec::new();
    let mut bytes: usize = 0;
    let mut message = Some(first);
    while let Some(data) = message {
        bytes = bytes.saturating_add(data.encoded_len());
        if bytes > LARGEST || messages.len() == MESSAGES {
            return Err(too_large());
        }
        if !data.data_header.is_empty() {
            plain(&data.data_header)?;
            let FlightData { data_header, data_body, .. } = data;
            messages.push(FlightData { data_header, data_body, ..FlightData::default() });
        }
        message = rest.message().await.map_err(|_| Error::new(Class::BadRequest, "the upload broke off"))?;
    }
    Ok(messages)
}

/// Makes sure that a message can be read in the memory that it has.
fn plain(header: &[u8]) -> Result<(), Error> {
    let message = root_as_message(header).map_err(|_| unreadable())?;
    let batch = match message.header_as_dictionary_batch() {
        Some(dictionary) => dictionary.data(),
        None => message.header_as_record_batch(),
    };
    match batch.and_then(|batch| batch.compression()) {
        Some(_) => Err(Error::new(Class::BadRequest, "compressed values of parameters are not supported")),
        None => Ok(()),
    }
}

/// Whether a NULL of this type takes no more memory than what is sent.
fn is_flat(kind: &DataType) -> bool {
    match kind {
        DataType::FixedSizeBinary(width) => *width <= WIDEST,
        DataType::Dictionary(_, values) => is_flat(values) && !values.is_nested(),
        DataType::List(item) | DataType::LargeList(item) => is_flat(item.data_type()),
        DataType::Struct(fields) => fields.iter().all(|field| is_flat(field.data_type())),
        DataType::Map(entries, _) => is_flat(entries.data_type()),
        DataType::FixedSizeList(..)
        | DataType::Union(..)
        | DataType::RunEndEncoded(..)
        | DataType::ListView(_)
        | DataType::LargeListView(_) => false,
        _ => true,
    }
}

async fn read(messages: Vec<FlightData>) -> Result<Option<RecordBatch>, Error> {
    for message in &messages {
        let message = root_as_message(&message.data_header).map_err(|_| unreadable())?;
        let Some(schema) = message.header_as_schema() else { continue };
        if !fb_to_schema(schema).fields().iter().all(|field| is_flat(field.data_type())) {
            return Err(unfit());
        }
    }
    let mut rows = FlightRecordBatchStream::new_from_flight_data(stream::iter(messages.into_iter().map(Ok)));
    let mut batches = Vec::new();
    let mut count: usize = 0;
    while let Some(batch) = rows.try_next().await.map_err(|_| unreadable())? {
        count = count.saturating_add(batch.num_rows());
        if count > ROWS {
            return Err(Error::new(Class::Limit, format!("more than {ROWS} rows of values are bound at once"))
                .help("bind fewer, or write them as one statement"));
        }
        batches.push(batch);
    }
    let Some(schema) = rows.schema().filter(|schema| !schema.fields().is_empty() && count > 0) else { return Ok(None) };
    concat_batches(schema, &batches).map(Some).map_err(|_| unreadable())
}

/// The values as they travel in a handle.
pub(super) fn seal(batch: &RecordBatch) -> Result<Stream, Error> {
    let mut bytes = Vec::new();
    let written = StreamWriter::try_new(&mut bytes, &batch.schema()).and_then(|mut writer| {
        writer.write(batch)?;
        writer.finish()
    });
    written.map_err(|_| unfit())?;
    if bytes.len() > LARGEST {
        return Err(too_large());
    }
    Ok(Stream(bytes))
}

/// The values that travelled in a handle.
pub(super) fn open(Stream(bytes): &Stream) -> Result<RecordBatch, Error> {
    let lost = || Error::new(Class::Bug, "the values of a prepared statement could not be read again");
    let mut reader = StreamReader::try_new(Cursor::new(bytes), None).map_err(|_| lost())?;
    reader.next().and_then(Result::ok).ok_or_else(lost)
}

fn too_large() -> Error {
    Error::new(Class::Limit, format!("the values that are bound take more than {LARGEST} bytes"))
        .help("bind fewer or shorter values")
}

fn unfit() -> Error {
    Error::new(Class::BadRequest, "values of these types cannot be bound")
}

fn unreadable() -> Error {
    Error::new(Class::BadRequest, "the values that are bound cannot be read")
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "tests")]
mod tests {
    use arrow_flight::utils::batches_to_flight_data;
    use datafusion::arrow::array::{ArrayRef, Int64Array, StringArray};
    use datafusion::arrow::ipc::CompressionType;
    use datafusion::arrow::ipc::writer::{CompressionContext, DictionaryTracker, IpcDataGenerator, IpcWriteOptions};

    use super::*;

    fn batch(numbers: Vec<Option<i64>>) -> RecordBatch {
        let texts: ArrayRef = Arc::new(StringArray::from(vec!["x"; numbers.len()]));
        RecordBatch::try_from_iter([("0", Arc::new(Int64Array::from(numbers)) as ArrayRef), ("1", texts)]).unwrap()
    }

    #[test]
    fn times_are_asked_for_in_milliseconds_whatever_their_parameters_have() {
        let (zone, micros) = (Some(Arc::from("UTC")), TimeUnit::Microsecond);
        let types = [
            (DataType::Timestamp(micros, zone.clone()), DataType::Timestamp(TimeUnit::Millisecond, zone)),
            (DataType::Timestamp(TimeUnit::Nanosecond, None), DataType::Timestamp(TimeUnit::Millisecond, None)),
            (DataType::Time64(micros), DataType::Time32(TimeUnit::Millisecond)),
            (DataType::LargeUtf8, DataType::Utf8),
            (DataType::Decimal128(12, 2), DataType::Decimal128(12, 2)),
        ];
        for (parameter, expected) in types {
            let schema = asked(&Schema::new(vec![Field::new("$1", parameter, true)]));
            assert_eq!(*schema, Schema::new(vec![Field::new("$1", expected, true)]));
        }
    }

    #[tokio::test]
    async fn several_batches_become_one_and_come_back_from_their_seal() {
        let (one, two) = (batch(vec![Some(1), None]), batch(vec![Some(3)]));
        let messages = batches_to_flight_data(&one.schema(), vec![one, two]).unwrap();
        let read = read(messages).await.unwrap().unwrap();
        assert_eq!(read, batch(vec![Some(1), None, Some(3)]));
        assert_eq!(open(&seal(&read).unwrap()).unwrap(), read);
    }

    #[tokio::test]
    async fn no_columns_and_no_rows_bind_nothing() {
        let messages = batches_to_flight_data(&batch(vec![]).schema(), vec![batch(vec![])]).unwrap();
        assert!(read(messages).await.unwrap().is_none());
        let empty = datafusion::arrow::datatypes::Schema::empty();
        assert!(read(batches_to_flight_data(&empty, vec![]).unwrap()).await.unwrap().is_none());
    }

    #[tokio::test]
    async fn types_whose_nulls_are_large_are_refused_before_anything_is_made_of_them() {
        let item = |kind| Arc::new(Field::new_list_field(kind, true));
        let vast = DataType::FixedSizeList(item(DataType::FixedSizeList(item(DataType::Int64), 100_000)), 100_000);
        let dictionary = |values| DataType::Dictionary(Box::new(DataType::Int8), Box::new(values));
        for (kind, fits) in [
            (vast.clone(), false),
            (dictionary(vast.clone()), false),
            (DataType::List(item(vast)), false),
            (DataType::FixedSizeBinary(WIDEST + 1), false),
            (DataType::FixedSizeBinary(16), true),
            (dictionary(DataType::Utf8), true),
            (DataType::List(item(DataType::Utf8)), true),
        ] {
            let schema = Schema::new(vec![Field::new("$1", kind.clone(), true)]);
            let read = read(batches_to_flight_data(&schema, vec![]).unwrap()).await;
            assert_eq!(read.is_ok(), fits, "{kind}");
        }
    }

    #[tokio::test]
    async fn too_many_rows_and_what_is_compressed_are_refused() {
        let many = batch(vec![Some(1); ROWS + 1]);
        let messages = batches_to_flight_data(&many.schema(), vec![many.clone()]).unwrap();
        assert!(messages.iter().all(|message| plain(&message.data_header).is_ok()));
        assert_eq!(read(messages).await.unwrap_err().class, Class::Limit);

        let options = IpcWriteOptions::default().try_with_compression(Some(CompressionType::ZSTD)).unwrap();
        let (_, packed) = IpcDataGenerator::default()
            .encode(&many, &mut DictionaryTracker::new(true), &options, &mut CompressionContext::default())
            .unwrap();
        assert_eq!(plain(&packed.ipc_message).unwrap_err().class, Class::BadRequest);
        assert_eq!(plain(b"garbage").unwrap_err().class, Class::BadRequest);
    }
}
