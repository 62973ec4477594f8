//! Record batches as text or bytes, in the format that was asked for, wherever they go.
//!
//! Rows are written as they come. Only a table holds some back: as many as it takes to know how wide its columns are. This
//! room knows nothing of where rows come from or who reads them.

mod cell;
mod harmless;
mod table;

use std::io::{ErrorKind, Write};
use std::sync::Arc;

use clap::ValueEnum;
use datafusion::arrow::array::{ArrayRef, RecordBatch, RecordBatchOptions, StringArray};
use datafusion::arrow::csv;
use datafusion::arrow::datatypes::{DataType, Field, Schema, SchemaRef};
use datafusion::arrow::error::ArrowError;
use datafusion::arrow::ipc::writer::StreamWriter;
use datafusion::arrow::json::{ArrayWriter, LineDelimitedWriter, WriterBuilder};
use parquet::arrow::ArrowWriter;

pub use cell::width;
pub use harmless::harmless;
pub use table::{Expanded, Look, Table};

/// How rows are written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Format {
    /// A table for people
    Table,
    /// Comma-separated values with a header
    Csv,
    /// Tab-separated values with a header
    Tsv,
    /// One JSON array of objects
    Json,
    /// One JSON object per line
    Ndjson,
    /// An Arrow IPC stream
    Arrow,
    /// A Parquet file
    Parquet,
}

impl Format {
    /// Whether it is bytes that no terminal should see.
    pub fn is_binary(self) -> bool {
        matches!(self, Self::Arrow | Self::Parquet)
    }

    /// Whether several results can follow each other in one file.
    pub fn goes_on(self) -> bool {
        matches!(self, Self::Table | Self::Csv | Self::Tsv | Self::Ndjson)
    }
}

/// Writes one result.
pub enum Printer<W: Write + Send> {
    /// A table for people.
    Table(Box<Table<W>>),
    /// Comma- or tab-separated. Lists and structs have no form there and are written as JSON.
    Csv {
        /// The columns.
        schema: SchemaRef,
        /// What writes their values.
        writer: Box<csv::Writer<W>>,
    },
    /// One array.
    Json(ArrayWriter<W>),
    /// One object per line.
    Ndjson(LineDelimitedWriter<W>),
    /// An IPC stream.
    Arrow(Box<StreamWriter<W>>),
    /// A file.
    Parquet(Box<ArrowWriter<W>>),
}

impl<W: Write + Send> Printer<W> {
    /// Begins a result with these columns.
    ///
    /// # Errors
    /// When `out` cannot be written or the format cannot hold the columns.
    pub fn new(format: Format, look: Look, schema: &SchemaRef, out: W) -> std::io::Result<Self> {
        Ok(match format {
            Format::Table => Self::Table(Box::new(Table::new(schema.clone(), look, out))),
            Format::Csv => Self::csv(csv::WriterBuilder::new(), schema, out),
            Format::Tsv => Self::csv(csv::WriterBuilder::new().with_delimiter(b'\t'), schema, out),
            Format::Json => Self::Json(WriterBuilder::new().with_explicit_nulls(true).build(out)),
            Format::Ndjson => Self::Ndjson(WriterBuilder::new().with_explicit_nulls(true).build(out)),
            Format::Arrow => Self::Arrow(Box::new(StreamWriter::try_new(out, schema).map_err(failed)?)),
            Format::Parquet => {
                Self::Parquet(Box::new(ArrowWriter::try_new(out, schema.clone(), None).map_err(failed)?))
            }
        })
    }

    fn csv(builder: csv::WriterBuilder, schema: &SchemaRef, out: W) -> Self {
        Self::Csv { schema: schema.clone(), writer: Box::new(builder.with_header(true).build(out)) }
    }

    /// Writes a batch.
    ///
    /// # Errors
    /// When `out` cannot be written or the format cannot hold a value.
    pub fn write(&mut self, batch: RecordBatch) -> std::io::Result<()> {
        match self {
            Self::Table(table) => table.write(batch),
            Self::Csv { writer, .. } => writer.write(&flat(&batch).map_err(failed)?).map_err(failed),
            Self::Json(writer) => writer.write(&batch).map_err(failed),
            Self::Ndjson(writer) => writer.write(&batch).map_err(failed),
            Self::Arrow(writer) => writer.write(&batch).map_err(failed),
            Self::Parquet(writer) => writer.write(&batch).map_err(failed),
        }
    }

    /// Ends the result and gives back what it was written to.
    ///
    /// # Errors
    /// When `out` cannot be written.
    pub fn finish(self) -> std::io::Result<W> {
        let mut out = match self {
            Self::Table(table) => table.finish()?,
            Self::Csv { schema, mut writer } => {
                // The header is there also when there are no rows.
                writer.write(&flat(&RecordBatch::new_empty(schema)).map_err(failed)?).map_err(failed)?;
                writer.into_inner()
            }
            Self::Json(mut writer) => {
                writer.finish().map_err(failed)?;
                let mut out = writer.into_inner();
                writeln!(out)?;
                out
            }
            Self::Ndjson(mut writer) => {
                writer.finish().map_err(failed)?;
                writer.into_inner()
            }
            Self::Arrow(mut writer) => {
                writer.finish().map_err(failed)?;
                writer.into_inner().map_err(failed)?
            }
            Self::Parquet(writer) => writer.into_inner().map_err(failed)?,
        };
        out.flush()?;
        Ok(out)
    }
}

/// Rows as a table for people.
///
/// # Errors
/// When a value has no written form.
pub fn table(schema: SchemaRef, batches: &[RecordBatch]) -> std::io::Result<String> {
    let mut table = Table::new(schema, Look::default(), Vec::new());
    batches.iter().try_for_each(|batch| table.write(batch.clone()))?;
    let text = String::from_utf8(table.finish()?).map_err(failed)?;
    Ok(text.trim_end().to_owned())
}

/// A batch with its nested columns as JSON text.
fn flat(batch: &RecordBatch) -> Result<RecordBatch, ArrowError> {
    let mut fields = Vec::new();
    let mut columns: Vec<ArrayRef> = Vec::new();
    for (field, column) in batch.schema().fields().iter().zip(batch.columns()) {
        if !field.data_type().is_nested() {
            fields.push(field.as_ref().clone());
            columns.push(Arc::clone(column));
            continue;
        }
        let alone = Schema::new(vec![field.as_ref().clone().with_name("v")]);
        let alone = RecordBatch::try_new(Arc::new(alone), vec![Arc::clone(column)])?;
        let mut lines = LineDelimitedWriter::new(Vec::new());
        lines.write(&alone)?;
        let text = String::from_utf8_lossy(&lines.into_inner()).into_owned();
        let value = |line: &str| Some(line.strip_prefix("{\"v\":")?.strip_suffix('}')?.to_owned());
        columns.push(Arc::new(text.lines().map(value).collect::<StringArray>()));
        fields.push(Field::new(field.name(), DataType::Utf8, true));
    }
    let options = RecordBatchOptions::new().with_row_count(Some(batch.num_rows()));
    RecordBatch::try_new_with_options(Arc::new(Schema::new(fields)), columns, &options)
}

/// The error of a writer. That of its stream may be inside it, or in its text.
fn failed(error: impl std::error::Error + Send + Sync + 'static) -> std::io::Error {
    let kind = if error.to_string().contains("Broken pipe") { ErrorKind::BrokenPipe } else { ErrorKind::Other };
    std::io::Error::new(kind, error)
}
