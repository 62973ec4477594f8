//! What can keep a table, or one of its files, from being read.

use iceberg::ErrorKind;

use crate::error::{Class, Error};
use crate::lake::cause;

/// Why a table cannot be scanned. Tables are named as [`crate::lake::OpenTable::told`] has it, files by their path inside the store.
#[derive(Debug, thiserror::Error)]
pub enum ScanError {
    #[error("table {table} has no snapshot {snapshot}")]
    NoSnapshot { table: String, snapshot: i64 },
    #[error("table {table} has no top-level field with id {field}")]
    NoField { table: String, field: i32 },
    #[error("table {table} was asked for two columns named `{column}`")]
    TwoColumns { table: String, column: String },
    #[error("table {table} uses {what}, which is not supported")]
    Unsupported { table: String, what: String },
    #[error("column `{column}` of table {table} uses {what}, which is not supported")]
    Column { table: String, column: String, what: String },
    #[error("file `{}` of table {table} does not fit column `{column}`: {what}", shown(file))]
    Misfit { table: String, file: String, column: String, what: String },
    #[error("file `{}` of table {table} has columns without field ids", shown(file))]
    NoIds { table: String, file: String },
    #[error(
        "file `{}` of table {table} has columns without field ids, and the table's name mapping cannot be read",
        shown(file)
    )]
    NoMapping { table: String, file: String },
    #[error("file `{}` of table {table} has notes in its footer that only a scan makes", shown(file))]
    Noted { table: String, file: String },
    #[error("file `{}` of table {table} has two columns of one name", shown(file))]
    Twins { table: String, file: String },
    #[error("file `{}` of table {table} is in the format `{format}`, which is not supported", shown(file))]
    Format { table: String, file: String, format: String },
    #[error("file `{}` of table {table} is encrypted, which is not supported", shown(file))]
    Encrypted { table: String, file: String },
    #[error("file `{}` of table {table} holds another number of rows than its metadata says", shown(file))]
    Rows { table: String, file: String },
    #[error("delete file `{}` of table {table} {what}", shown(file))]
    DeleteFile { table: String, file: String, what: &'static str },
    #[error("the deletes of table {table} name rows that file `{}` does not have", shown(file))]
    Beyond { table: String, file: String },
    #[error("the metadata of table {table} cannot be read")]
    Metadata { table: String, source: Box<iceberg::Error> },
    #[error("metadata file `{}` of table {table} cannot be read", shown(file))]
    MetadataFile { table: String, file: String, source: Box<iceberg::Error> },
    #[error("a plan that came as bytes holds a scan that cannot be read: {what}")]
    Bytes { what: &'static str },
    #[error("manifest `{}` of table {table} cannot be read: {what}", shown(file))]
    Manifest { table: String, file: String, what: &'static str },
    #[error("file `{}` of table {table} cannot be read", shown(file))]
    File { table: String, file: String, source: parquet::errors::ParquetError },
}

/// A path as it may be told: a folder `name=value` would give a value of a row.
fn shown(file: &str) -> String {
    let parts: Vec<&str> = file.split('/').map(|part| if part.contains('=') { "…" } else { part }).collect();
    parts.join("/")
}

impl From<ScanError> for Error {
    fn from(error: ScanError) -> Self {
        let class = match &error {
            ScanError::Metadata { source, .. } | ScanError::MetadataFile { source, .. } => match source.kind() {
                ErrorKind::DataInvalid | ErrorKind::FeatureUnsupported => Class::Drift,
                _ => Class::Storage,
            },
            ScanError::File { .. }
            | ScanError::Rows { .. }
            | ScanError::DeleteFile { .. }
            | ScanError::Beyond { .. } => Class::Storage,
            ScanError::TwoColumns { .. } | ScanError::Bytes { .. } => Class::Bug,
            ScanError::NoSnapshot { .. }
            | ScanError::NoField { .. }
            | ScanError::Unsupported { .. }
            | ScanError::Column { .. }
            | ScanError::Manifest { .. }
            | ScanError::Misfit { .. }
            | ScanError::NoIds { .. }
            | ScanError::NoMapping { .. }
            | ScanError::Noted { .. }
            | ScanError::Twins { .. }
            | ScanError::Format { .. }
            | ScanError::Encrypted { .. } => Class::Drift,
        };
        if let ScanError::Metadata { source, .. } | ScanError::MetadataFile { source, .. } = &error {
            tracing::debug!(cause = cause(source.as_ref()), "table metadata");
        }
        if let ScanError::File { source, .. } = &error {
            tracing::debug!(cause = cause(source), "data file");
        }
        Self::new(class, error.to_string())
    }
}
