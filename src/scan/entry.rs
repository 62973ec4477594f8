//! The files of a snapshot, as its manifests have them.

use std::sync::Arc;

use datafusion::common::ScalarValue;
use object_store::path::Path;

/// One live data file.
#[derive(Debug, Clone)]
pub(super) struct DataFile {
    /// Where it is in the table's store.
    pub(super) path: Path,
    /// Its location as the manifest writes it, by which position deletes name it.
    pub(super) location: String,
    pub(super) size: u64,
    pub(super) rows: u64,
    /// The data sequence number: which deletes are younger than the file.
    pub(super) sequence: i64,
    /// The row id of its first row, for tables with row lineage.
    pub(super) first_row: Option<i64>,
    pub(super) partition: Partition,
    /// One for each column that was asked about; nothing is known of those that a query does not need.
    pub(super) columns: Vec<Known>,
}

/// One live delete file.
#[derive(Debug, Clone)]
pub(super) struct DeleteFile {
    pub(super) kind: DeleteKind,
    pub(super) path: Path,
    pub(super) size: u64,
    pub(super) rows: u64,
    pub(super) sequence: i64,
    pub(super) partition: Partition,
    /// The only data file that it is about, where it says so.
    pub(super) data_file: Option<String>,
}

/// What a delete file holds.
#[derive(Debug, Clone)]
pub(super) enum DeleteKind {
    /// Parquet with paths and positions.
    Positions,
    /// A deletion vector: a blob in a Puffin file.
    Vector { offset: u64, length: u64 },
    /// Parquet with the values of these fields.
    Equality { ids: Vec<i32> },
}

/// The partition that a file is in.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(super) struct Partition {
    pub(super) spec: i32,
    /// Whether its spec has no partitions, so that it is the whole table.
    pub(super) global: bool,
    /// In a form that is equal where the values are, among partitions of one spec.
    pub(super) values: Arc<[u8]>,
}

/// What a manifest knows about one column of one file.
#[derive(Debug, Clone, Default)]
pub(super) struct Known {
    pub(super) min: Option<ScalarValue>,
    pub(super) max: Option<ScalarValue>,
    pub(super) nulls: Option<u64>,
    /// Whether the bounds are values that are there. Those of text may be cut short, and those of floats leave out NaN.
    pub(super) exact: bool,
    /// Whether all rows have the value of the file's partition: that of both bounds, or null.
    pub(super) constant: bool,
}
