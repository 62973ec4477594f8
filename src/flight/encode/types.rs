//! The types under which values travel.
//!
//! Views, dictionaries and run-end encoding save work inside the engine, but half of the clients cannot read them, and
//! their shared buffers would carry bytes of rows that the principal may not see. Casting makes fresh, plain arrays, and
//! scrubbing takes away what is left under NULL and beside a slice. A client that asks for rich types gets views and
//! dictionaries as they are, scrubbed: each message then holds its own values and no others.

use std::sync::Arc;

use datafusion::arrow::array::{ArrayRef, RecordBatch, RecordBatchOptions};
use datafusion::arrow::compute::cast;
use datafusion::arrow::datatypes::{DataType, Field, FieldRef, Schema, SchemaRef};

use super::Types;
use crate::error::{Class, Error};
use crate::scrub::{Fault, scrub};

impl Types {
    /// The type under which values of this type travel.
    fn of(self, kind: &DataType) -> DataType {
        match kind {
            DataType::Utf8View | DataType::BinaryView if self == Self::Rich => kind.clone(),
            DataType::Dictionary(key, values) if self == Self::Rich => {
                DataType::Dictionary(key.clone(), Box::new(Self::Plain.of(values)))
            }
            DataType::Utf8View => DataType::Utf8,
            DataType::BinaryView => DataType::Binary,
            DataType::Dictionary(_, values) => self.of(values),
            DataType::RunEndEncoded(_, values) => self.of(values.data_type()),
            DataType::List(item)
            | DataType::LargeList(item)
            | DataType::ListView(item)
            | DataType::LargeListView(item) => DataType::List(self.field(item)),
            DataType::FixedSizeList(item, size) => DataType::FixedSizeList(self.field(item), *size),
            DataType::Struct(fields) => DataType::Struct(fields.iter().map(|field| self.field(field)).collect()),
            DataType::Map(entries, sorted) => DataType::Map(self.field(entries), *sorted),
            plain => plain.clone(),
        }
    }

    fn field(self, field: &FieldRef) -> FieldRef {
        Arc::new(Field::new(field.name(), self.of(field.data_type()), field.is_nullable()))
    }

    /// The schema under which rows of this schema travel.
    pub fn schema(self, schema: &Schema) -> SchemaRef {
        Arc::new(Schema::new(schema.fields().iter().map(|field| described(self.field(field))).collect::<Vec<_>>()))
    }
}

/// A column of decimals says their digits in the words of Flight SQL too: JDBC takes them from there alone.
fn described(field: FieldRef) -> FieldRef {
    let (precision, scale) = match field.data_type() {
        DataType::Decimal32(precision, scale)
        | DataType::Decimal64(precision, scale)
        | DataType::Decimal128(precision, scale)
        | DataType::Decimal256(precision, scale) => (precision.to_string(), scale.to_string()),
        _ => return field,
    };
    let words = [("ARROW:FLIGHT:SQL:PRECISION".to_owned(), precision), ("ARROW:FLIGHT:SQL:SCALE".to_owned(), scale)];
    Arc::new(field.as_ref().clone().with_metadata(words.into()))
}

/// The schema under which rows of this schema travel, as plain types.
pub fn wire_schema(schema: &Schema) -> SchemaRef {
    Types::Plain.schema(schema)
}

/// These rows as they travel, under `wire`, a schema of [`Types`] for their own.
///
/// # Errors
/// When a batch does not have that schema, or holds more text than one array can.
pub fn wire_batch(wire: &SchemaRef, batch: &RecordBatch) -> Result<RecordBatch, Error> {
    scrubbed(&typed(wire, batch)?)
}

/// The same rows under the types of `wire`, with all that lies around them.
pub(super) fn typed(wire: &SchemaRef, batch: &RecordBatch) -> Result<RecordBatch, Error> {
    let columns = wire.fields().iter().zip(batch.columns());
    let columns = columns.map(|(field, column)| under(column, field.data_type())).collect::<Result<Vec<_>, _>>()?;
    rebuilt(wire, columns, batch.num_rows())
}

/// The same rows without a byte of what they do not show.
pub(super) fn scrubbed(batch: &RecordBatch) -> Result<RecordBatch, Error> {
    let columns = batch.columns().iter().map(|column| scrub(column).map_err(unclean)).collect::<Result<Vec<_>, _>>()?;
    rebuilt(&batch.schema(), columns, batch.num_rows())
}

fn rebuilt(schema: &SchemaRef, columns: Vec<ArrayRef>, rows: usize) -> Result<RecordBatch, Error> {
    let misfit = |_| Error::new(Class::Bug, "the rows of a result do not fit its schema");
    let options = RecordBatchOptions::new().with_row_count(Some(rows));
    RecordBatch::try_new_with_options(Arc::clone(schema), columns, &options).map_err(misfit)
}

fn under(column: &ArrayRef, kind: &DataType) -> Result<ArrayRef, Error> {
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
