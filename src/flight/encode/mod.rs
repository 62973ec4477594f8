//! Rows on the wire: plain Arrow types unless one asks for more, no metadata, messages of a size that every client takes,
//! and no byte more than the rows that are sent.
//!
//! ```text
//! batch --types--> what travels, scrubbed --pieces--> a few MiB each --> Flight messages, compressed if that was asked for
//! ```
//!
//! The rows of a query become messages on the threads that make them: an [`Encoder`] packs them, ahead of the network and
//! never far.

mod form;
mod pieces;
#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "tests")]
mod tests;
mod types;

use std::collections::VecDeque;

use arrow_flight::{FlightData, SchemaAsIpc};
use bytes::Bytes;
use datafusion::arrow::array::RecordBatch;
use datafusion::arrow::datatypes::{DataType, Schema, SchemaRef};
use datafusion::arrow::ipc::writer::{CompressionContext, DictionaryTracker, IpcDataGenerator, IpcWriteOptions};
use futures::stream::{self, BoxStream, Stream, StreamExt, TryStreamExt};

use self::pieces::pieces;
use self::types::{scrubbed, typed};
use crate::error::{Class, Error};
use crate::session::Packer;
pub(in crate::flight) use form::endpoints;
pub use form::{Form, Types};
pub use types::{wire_batch, wire_schema};

/// What one message aims to hold. tonic takes 4 MiB by default, ADBC 16.
const MESSAGE: usize = 2 * 1024 * 1024;
/// What one message holds at the most, unless a single row is larger.
const LARGEST: usize = 7 * 512 * 1024;

/// Makes messages of batches.
pub struct Encoder {
    wire: SchemaRef,
    types: Types,
    options: IpcWriteOptions,
    context: CompressionContext,
    dictionaries: bool,
    /// Pieces of the batch at hand, the next one last.
    pieces: Vec<RecordBatch>,
    messages: VecDeque<FlightData>,
}

impl std::fmt::Debug for Encoder {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Encoder").field("wire", &self.wire).finish_non_exhaustive()
    }
}

impl Encoder {
    /// For batches of this schema.
    ///
    /// # Errors
    /// When they cannot be written in that form.
    pub fn new(schema: &Schema, form: Form) -> Result<Self, Error> {
        let options = IpcWriteOptions::default().try_with_compression(form.compression).map_err(|_| unwritten())?;
        let wire = form.types.schema(schema);
        let dictionary = |kind: &DataType| matches!(kind, DataType::Dictionary(..));
        let dictionaries = wire.flattened_fields().iter().any(|field| dictionary(field.data_type()));
        let (context, types) = (CompressionContext::default(), form.types);
        Ok(Self { wire, types, options, context, dictionaries, pieces: Vec::new(), messages: VecDeque::new() })
    }

    /// The message that opens every result, also an empty one.
    pub fn opening(&self, app_metadata: Bytes) -> FlightData {
        FlightData::from(SchemaAsIpc::new(&self.wire, &self.options)).with_app_metadata(app_metadata)
    }

    fn encode(&mut self, piece: &RecordBatch) -> Result<Vec<FlightData>, Error> {
        let (generator, mut tracker) = (IpcDataGenerator::default(), DictionaryTracker::new(false));
        if self.dictionaries {
            // Gives them the numbers that they have in the message that opens. Each message brings its own: one that
            // was sent before would have to be held and compared.
            generator.schema_to_bytes_with_dictionary_tracker(&self.wire, &mut tracker, &self.options);
        }
        let (dictionaries, rows) =
            generator.encode(piece, &mut tracker, &self.options, &mut self.context).map_err(|_| unwritten())?;
        Ok(dictionaries.into_iter().chain([rows]).map(FlightData::from).collect())
    }
}

impl Packer for Encoder {
    type Parcel = FlightData;

    fn load(&mut self, batch: RecordBatch) -> Result<(), Error> {
        if batch.num_rows() == 0 {
            return Ok(());
        }
        let batch = typed(&self.wire, &batch)?;
        // Plain arrays of a slice stay tidy when they are cut; views and dictionaries are cleared piece by piece.
        let batch = if self.types == Types::Plain { scrubbed(&batch)? } else { batch };
        self.pieces = pieces(batch, MESSAGE);
        self.pieces.reverse();
        Ok(())
    }

    fn next(&mut self) -> Result<Option<FlightData>, Error> {
        while self.messages.is_empty() {
            let Some(piece) = self.pieces.pop() else { return Ok(None) };
            let clean = if self.types == Types::Plain { piece.clone() } else { scrubbed(&piece)? };
            let messages = self.encode(&clean)?;
            let rows = piece.num_rows();
            if rows > 1 && messages.iter().any(|message| message.data_body.len() > LARGEST) {
                self.pieces.extend([piece.slice(rows / 2, rows - rows / 2), piece.slice(0, rows / 2)]);
            } else {
                self.messages.extend(messages);
            }
        }
        Ok(self.messages.pop_front())
    }

    fn size(message: &FlightData) -> usize {
        message.data_header.len() + message.data_body.len()
    }
}

fn unwritten() -> Error {
    Error::new(Class::Bug, "rows could not be encoded")
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

/// Rows at hand as plain Flight messages: the schema first, then rows, encoded as they are asked for.
pub fn encode(
    schema: &Schema,
    app_metadata: Bytes,
    rows: impl Stream<Item = Result<RecordBatch, Error>> + Send + 'static,
) -> BoxStream<'static, Result<FlightData, Error>> {
    encode_as(schema, app_metadata, Form::default(), rows)
}

fn encode_as(
    schema: &Schema,
    app_metadata: Bytes,
    form: Form,
    rows: impl Stream<Item = Result<RecordBatch, Error>> + Send + 'static,
) -> BoxStream<'static, Result<FlightData, Error>> {
    let mut encoder = match Encoder::new(schema, form) {
        Ok(encoder) => encoder,
        Err(error) => return stream::once(std::future::ready(Err(error))).boxed(),
    };
    let first = encoder.opening(app_metadata);
    let messages = rows.and_then(move |batch| std::future::ready(all(&mut encoder, batch)));
    let messages = messages.map_ok(|messages| stream::iter(messages.into_iter().map(Ok))).try_flatten();
    stream::once(std::future::ready(Ok(first))).chain(messages).boxed()
}

fn all(encoder: &mut Encoder, batch: RecordBatch) -> Result<Vec<FlightData>, Error> {
    encoder.load(batch)?;
    std::iter::from_fn(|| encoder.next().transpose()).collect()
}
