//! What a table's metadata says of the table itself, as rows: snapshots, history, refs, manifests, files, partitions.
//!
//! The columns are those of Iceberg's own metadata tables, where they have a plain meaning. Three things differ, since
//! only what the contract shows may be told:
//!
//! - paths are relative to the table's location, and a folder that names the value of a column outside the contract
//!   is `…`;
//! - partitions and bounds are those of contract columns, under their names there, as text;
//! - a snapshot's summary keeps its counters and nothing that a writer made up; key metadata is never shown.

mod files;
mod paths;
mod shown;
mod snapshots;

use std::fmt;
use std::sync::Arc;

use datafusion::arrow::array::{Array, ArrayRef, ListArray, RecordBatch, StructArray};
use datafusion::arrow::buffer::OffsetBuffer;
use datafusion::arrow::datatypes::{DataType, Field, Schema, SchemaRef, TimeUnit};
use datafusion::arrow::error::ArrowError;
use iceberg::spec::SnapshotRef;

use super::ScanColumn;
use super::error::ScanError;
use crate::error::{Class, Error};
use crate::lake::OpenTable;

/// How many rows one batch of such a table has at most.
const ROWS: usize = 1024;

/// What such a table is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum About {
    /// Every snapshot that is kept.
    Snapshots,
    /// Which snapshot was the newest, and from when on.
    History,
    /// Branches and tags.
    Refs,
    /// The manifests of one snapshot.
    Manifests,
    /// The live files of one snapshot, delete files included.
    Files,
    /// The live files of one snapshot, added up by partition.
    Partitions,
}

impl About {
    const ALL: [Self; 6] = [Self::Snapshots, Self::History, Self::Refs, Self::Manifests, Self::Files, Self::Partitions];

    /// What stands behind the `$` of its name.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Snapshots => "snapshots",
            Self::History => "history",
            Self::Refs => "refs",
            Self::Manifests => "manifests",
            Self::Files => "files",
            Self::Partitions => "partitions",
        }
    }

    /// The table of that name.
    pub fn named(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|about| about.as_str() == name)
    }

    /// Whether it tells of one snapshot, so that it can have a version.
    pub fn of_one_snapshot(self) -> bool {
        match self {
            Self::Snapshots | Self::History | Self::Refs => false,
            Self::Manifests | Self::Files | Self::Partitions => true,
        }
    }

    /// Its rows. `columns` are all columns of the contract, and nothing is told of others.
    ///
    /// # Errors
    /// `Drift` or `Storage` when the table's metadata cannot be read.
    pub async fn read(
        self,
        open: &OpenTable,
        columns: &[ScanColumn],
        snapshot: Option<&SnapshotRef>,
    ) -> Result<(SchemaRef, Vec<RecordBatch>), Error> {
        let shown = shown::Shown::new(&open.table, &open.beyond, columns);
        let made = match self {
            Self::Snapshots => snapshots::snapshots(open.table.metadata()),
            Self::History => snapshots::history(open.table.metadata()),
            Self::Refs => snapshots::refs(open.table.metadata()),
            Self::Manifests => batches(&files::manifests(open, &shown, snapshot).await?, files::manifest_batch),
            Self::Files => {
                let (schema, mut all) = batches(&[], files::file_batch).map_err(unmade)?;
                let each = |rows: Vec<_>| {
                    all.extend(batches(&rows, files::file_batch).map_err(unmade)?.1);
                    Ok(())
                };
                files::files(open, &shown, snapshot, each).await?;
                Ok((schema, all))
            }
            Self::Partitions => {
                let mut partitions = files::Partitions::default();
                let each = |rows: Vec<_>| {
                    rows.into_iter().for_each(|row| partitions.add(row));
                    Ok(())
                };
                files::files(open, &shown, snapshot, each).await?;
                batches(&partitions.rows(), files::partition_batch)
            }
        };
        made.map_err(unmade)
    }
}

impl fmt::Display for About {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

type Made = Result<(SchemaRef, Vec<RecordBatch>), ArrowError>;

/// The rows as batches, and their schema, which there is also where there is no row.
fn batches<T>(rows: &[T], batch: impl Fn(&[T]) -> Result<RecordBatch, ArrowError>) -> Made {
    let schema = batch(&[])?.schema();
    Ok((schema, rows.chunks(ROWS).map(batch).collect::<Result<_, _>>()?))
}

/// A batch of columns with their names; `optional` ones may have NULLs.
fn record(columns: Vec<(&str, bool, ArrayRef)>) -> Result<RecordBatch, ArrowError> {
    let field =
        |(name, optional, array): &(&str, bool, ArrayRef)| Field::new(*name, array.data_type().clone(), *optional);
    let schema = Schema::new(columns.iter().map(field).collect::<Vec<_>>());
    RecordBatch::try_new(Arc::new(schema), columns.into_iter().map(|(_, _, array)| array).collect())
}

/// A list of structs for each row: `lengths` of them, in the order of `items`.
fn lists(lengths: impl IntoIterator<Item = usize>, items: Vec<(&str, bool, ArrayRef)>) -> Result<ArrayRef, ArrowError> {
    let items = StructArray::from(record(items)?);
    let item = Arc::new(Field::new("item", items.data_type().clone(), false));
    Ok(Arc::new(ListArray::try_new(item, OffsetBuffer::from_lengths(lengths), Arc::new(items), None)?))
}

/// A moment in milliseconds, as Iceberg keeps them.
fn moment() -> DataType {
    DataType::Timestamp(TimeUnit::Millisecond, Some("UTC".into()))
}

fn unmade(error: ArrowError) -> Error {
    Error::new(Class::Bug, format!("the rows of a metadata table could not be made: {error}"))
}

fn failed(open: &OpenTable, source: iceberg::Error) -> Error {
    ScanError::Metadata { table: open.told(), source: Box::new(source) }.into()
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "tests")]
mod tests;
