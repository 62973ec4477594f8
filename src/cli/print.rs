//! Record batches as text or bytes on stdout, in the format that was asked for.

use std::io::{BufWriter, Stdout, Write};

use clap::ValueEnum;
use datafusion::arrow::array::RecordBatch;
use datafusion::arrow::csv;
use datafusion::arrow::datatypes::SchemaRef;
use datafusion::arrow::error::ArrowError;
use datafusion::arrow::ipc::writer::StreamWriter;
use datafusion::arrow::json::{ArrayWriter, LineDelimitedWriter};
use datafusion::arrow::util::display::FormatOptions;
use datafusion::arrow::util::pretty::pretty_format_batches_with_options;
use parquet::arrow::ArrowWriter;

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

type Out = BufWriter<Stdout>;

/// Writes one result.
pub enum Printer {
    /// A table is as wide as its widest value, so all rows are held.
    Table { schema: SchemaRef, batches: Vec<RecordBatch>, out: Out },
    /// Comma- or tab-separated.
    Csv(Box<csv::Writer<Out>>),
    /// One array.
    Json(ArrayWriter<Out>),
    /// One object per line.
    Ndjson(LineDelimitedWriter<Out>),
    /// An IPC stream.
    Arrow(Box<StreamWriter<Out>>),
    /// A file.
    Parquet(Box<ArrowWriter<Out>>),
}

impl Printer {
    /// Begins a result with these columns.
    ///
    /// # Errors
    /// When stdout cannot be written or the format cannot hold the columns.
    pub fn new(format: Format, schema: &SchemaRef) -> std::io::Result<Self> {
        let out = BufWriter::new(std::io::stdout());
        let mut printer = match format {
            Format::Table => Self::Table { schema: schema.clone(), batches: Vec::new(), out },
            Format::Csv => Self::Csv(Box::new(csv::WriterBuilder::new().with_header(true).build(out))),
            Format::Tsv => {
                Self::Csv(Box::new(csv::WriterBuilder::new().with_header(true).with_delimiter(b'\t').build(out)))
            }
            Format::Json => Self::Json(ArrayWriter::new(out)),
            Format::Ndjson => Self::Ndjson(LineDelimitedWriter::new(out)),
            Format::Arrow => Self::Arrow(Box::new(StreamWriter::try_new(out, schema).map_err(failed)?)),
            Format::Parquet => {
                Self::Parquet(Box::new(ArrowWriter::try_new(out, schema.clone(), None).map_err(failed)?))
            }
        };
        if let Self::Csv(writer) = &mut printer {
            // The header is there also when there are no rows.
            writer.write(&RecordBatch::new_empty(schema.clone())).map_err(failed)?;
        }
        Ok(printer)
    }

    /// Writes a batch.
    ///
    /// # Errors
    /// When stdout cannot be written or the format cannot hold a value.
    pub fn write(&mut self, batch: RecordBatch) -> std::io::Result<()> {
        match self {
            Self::Table { batches, .. } => {
                batches.push(batch);
                Ok(())
            }
            Self::Csv(writer) => writer.write(&batch).map_err(failed),
            Self::Json(writer) => writer.write(&batch).map_err(failed),
            Self::Ndjson(writer) => writer.write(&batch).map_err(failed),
            Self::Arrow(writer) => writer.write(&batch).map_err(failed),
            Self::Parquet(writer) => writer.write(&batch).map_err(failed),
        }
    }

    /// Ends the result.
    ///
    /// # Errors
    /// When stdout cannot be written.
    pub fn finish(self) -> std::io::Result<()> {
        match self {
            Self::Table { schema, mut batches, mut out } => {
                if batches.is_empty() {
                    batches.push(RecordBatch::new_empty(schema));
                }
                writeln!(out, "{}", table(&batches).map_err(failed)?)?;
                out.flush()
            }
            Self::Csv(writer) => writer.into_inner().flush(),
            Self::Json(mut writer) => {
                writer.finish().map_err(failed)?;
                let mut out = writer.into_inner();
                writeln!(out)?;
                out.flush()
            }
            Self::Ndjson(mut writer) => {
                writer.finish().map_err(failed)?;
                writer.into_inner().flush()
            }
            Self::Arrow(mut writer) => writer.finish().map_err(failed),
            Self::Parquet(writer) => writer.into_inner().map_err(failed)?.flush(),
        }
    }
}

/// Rows as a table for people.
///
/// # Errors
/// When a value has no written form.
pub fn table(batches: &[RecordBatch]) -> Result<String, ArrowError> {
    let options = FormatOptions::default().with_null("NULL").with_types_info(false);
    Ok(pretty_format_batches_with_options(batches, &options)?.to_string())
}

fn failed(error: impl std::error::Error + Send + Sync + 'static) -> std::io::Error {
    std::io::Error::other(error)
}
