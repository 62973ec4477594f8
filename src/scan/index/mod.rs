//! The file index: what a snapshot's manifests know about its files, as Arrow columns.
//!
//! ```text
//! manifest list ─┬─ manifest ── decoded once, kept in the lake's memory ─┐
//!                ├─ manifest ── ...                                      ├─ FileIndex ── prune ── Chosen ── DataFile
//!                └─ manifest ── ...                                      ┘                         └─ statistics
//! ```
//!
//! A manifest never changes, so a new snapshot decodes only those that are new to it. What was decoded holds no types
//! of the table: bounds become arrays of a scan's types only where a scan asks. Nothing is made for one file alone
//! before pruning has chosen it.

mod avro;
mod list;
mod manifest;
mod prune;
mod statistics;
mod transform;
mod values;

use std::collections::{HashMap, HashSet};
use std::sync::{Arc, Mutex};

use datafusion::arrow::array::{Array, UInt32Array};
use datafusion::arrow::datatypes::{DataType, SchemaRef};
use datafusion::common::{DataFusionError, Result as DfResult, ScalarValue};
use futures::{StreamExt, TryStreamExt, stream};
use iceberg::spec::{PartitionSpecRef, SnapshotRef};

use super::columns::viewed;
use super::entry::{DataFile, DeleteFile, DeleteKind, Partition};
use super::error::ScanError;
use crate::error::Error;
use crate::lake::OpenTable;
use avro::Bad;
use list::Listed;
use manifest::{DataManifest, DeleteEntry, DeleteManifest, Foreign, Frame};
pub(super) use manifest::{Told, ToldColumn};
use statistics::Facts;
pub(super) use statistics::Occupied;

/// The id of a field that no manifest knows anything of.
pub(super) const UNKNOWN: i32 = -1;

/// How many manifests are read at once.
const MANIFESTS: usize = 8;

/// The data files of one snapshot.
#[derive(Debug, Clone, Default)]
pub(super) struct FileIndex {
    manifests: Vec<Arc<DataManifest>>,
}

/// The facts that were asked for, by the ids and types of their fields: whoever scans asks for the same ones several times.
type Remembered = Arc<Mutex<HashMap<(i32, DataType), Arc<Facts>>>>;

/// Some of an index's files, in its order.
#[derive(Debug, Clone)]
pub(super) struct Chosen<'a> {
    parts: Vec<Part<'a>>,
    told: Remembered,
}

/// The files that are chosen from one manifest: some rows, or all.
#[derive(Debug, Clone)]
struct Part<'a> {
    manifest: &'a DataManifest,
    rows: Option<UInt32Array>,
}

impl Part<'_> {
    fn len(&self) -> usize {
        self.rows.as_ref().map_or(self.manifest.len(), Array::len)
    }

    fn rows(&self) -> impl Iterator<Item = usize> {
        let len = self.manifest.len();
        (0..self.len()).map(move |at| match &self.rows {
            None => at,
            Some(rows) => usize::try_from(rows.value(at)).unwrap_or(len),
        })
    }
}

impl Chosen<'_> {
    pub(super) fn len(&self) -> usize {
        self.parts.iter().map(Part::len).sum()
    }

    pub(super) fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// How many bytes the files have in one column, as far as their manifests tell: a share of what all files of a
    /// manifest have.
    pub(super) fn column_bytes(&self, field: i32) -> u64 {
        let share = |part: &Part<'_>| {
            let size = part.manifest.columns.get(&field).map_or(0, |stored| stored.size);
            let (some, all) = (part.len() as u128, part.manifest.len().max(1) as u128);
            u64::try_from(u128::from(size) * some / all).unwrap_or(u64::MAX)
        };
        self.parts.iter().map(share).fold(0, u64::saturating_add)
    }
}

/// The manifests of `snapshot` that may have files which are still there.
async fn live(open: &OpenTable, snapshot: &SnapshotRef) -> Result<Vec<Listed>, Error> {
    let table = open.told();
    let unsupported = |what: &str| ScanError::Unsupported { table: table.clone(), what: what.to_owned() };
    if snapshot.encryption_key_id().is_some() || open.table.metadata().encryption_keys_iter().len() > 0 {
        return Err(unsupported("encryption").into());
    }
    let place = snapshot.manifest_list();
    let list = open.memory.get(open.url.as_str(), place, load(open, place, |bytes| list::decode(&bytes))).await?;
    if list.lacks(&snapshot.summary().additional_properties) {
        return Err(broken(open, snapshot.manifest_list(), Bad("it lists fewer files than its snapshot added")));
    }
    let live: Vec<Listed> = list.manifests.iter().filter(|listed| listed.is_live()).cloned().collect();
    if live.iter().any(|listed| listed.encrypted) {
        return Err(unsupported("encryption").into());
    }
    Ok(live)
}

/// Gives all that each manifest of `snapshot` says of its live files to `each`, with the id of its spec.
pub(super) async fn tell(
    open: &OpenTable,
    snapshot: &SnapshotRef,
    mut each: impl FnMut(i32, Vec<Told>) -> Result<(), Error>,
) -> Result<(), Error> {
    let manifests = live(open, snapshot).await?;
    let told = |listed: Listed| async move {
        let (spec, from) = (spec_of(open, &listed)?, listed.location.clone());
        let id = spec.spec_id();
        let decode = move |bytes: Vec<u8>| manifest::decode_told(&bytes, &Frame { listed: &listed, spec: &spec });
        Ok::<_, Error>((id, load(open, &from, decode).await?))
    };
    let mut told = stream::iter(manifests).map(told).buffered(MANIFESTS);
    while let Some((spec, files)) = told.try_next().await? {
        each(spec, files)?;
    }
    Ok(())
}

/// Reads the manifests of `snapshot` that are not in memory yet, and refuses what would make an answer wrong.
pub(super) async fn read(open: &OpenTable, snapshot: &SnapshotRef) -> Result<(FileIndex, Vec<Arc<DeleteFile>>), Error> {
    let table = open.told();
    let live = live(open, snapshot).await?;
    let read: Vec<Read> =
        stream::iter(live).map(|listed| manifest(open, listed)).buffered(MANIFESTS).try_collect().await?;
    let mut index = FileIndex::default();
    let mut deletes = Vec::new();
    for read in read {
        match read {
            Read::Data(manifest) => {
                if let Some(Foreign { location, format }) = &manifest.foreign {
                    let (file, format) = (in_store(open, location), format.clone());
                    return Err(ScanError::Format { table, file, format }.into());
                }
                index.manifests.push(manifest);
            }
            Read::Deletes(spec, manifest) => {
                for entry in &manifest.files {
                    deletes.push(Arc::new(delete_file(open, &spec, entry)?));
                }
            }
        }
    }
    Ok((index, deletes))
}

enum Read {
    Data(Arc<DataManifest>),
    Deletes(PartitionSpecRef, Arc<DeleteManifest>),
}

fn spec_of(open: &OpenTable, listed: &Listed) -> Result<PartitionSpecRef, Error> {
    let spec = open.table.metadata().partition_spec_by_id(listed.spec);
    let no_spec = || broken(open, &listed.location, Bad("its partition spec does not exist"));
    Ok(Arc::clone(spec.ok_or_else(no_spec)?))
}

async fn manifest(open: &OpenTable, listed: Listed) -> Result<Read, Error> {
    let spec = spec_of(open, &listed)?;
    let store = open.url.as_str();
    // What its list says of it is part of what is decoded. A list of another snapshot may say it differently: row ids
    // are given to manifests that are older than them.
    let place = format!("{} {} {:?}", listed.location, listed.sequence, listed.first_row);
    let (from, frame) = (listed.location.clone(), (listed, Arc::clone(&spec)));
    let deletes = frame.0.deletes;
    if deletes {
        let decode =
            move |bytes: Vec<u8>| manifest::decode_deletes(&bytes, &Frame { listed: &frame.0, spec: &frame.1 });
        return Ok(Read::Deletes(spec, open.memory.get(store, &place, load(open, &from, decode)).await?));
    }
    let decode = move |bytes: Vec<u8>| manifest::decode_data(&bytes, &Frame { listed: &frame.0, spec: &frame.1 });
    Ok(Read::Data(open.memory.get(store, &place, load(open, &from, decode)).await?))
}

/// Reads a file and decodes it where it keeps nobody waiting.
async fn load<T: Send + 'static>(
    open: &OpenTable,
    location: &str,
    decode: impl FnOnce(Vec<u8>) -> Result<T, Bad> + Send + 'static,
) -> Result<T, Error> {
    let failed = |source| {
        let table = open.told();
        Error::from(ScanError::MetadataFile { table, file: in_store(open, location), source: Box::new(source) })
    };
    let bytes = open.table.file_io().new_input(location).map_err(failed)?.read().await.map_err(failed)?;
    let decoded = tokio::task::spawn_blocking(move || decode(bytes.into())).await;
    // A decoder that panicked has bytes that it should have refused.
    let decoded = decoded.unwrap_or(Err(Bad("its bytes make no sense")));
    decoded.map_err(|bad| broken(open, location, bad))
}

fn broken(open: &OpenTable, location: &str, bad: Bad) -> Error {
    let table = open.told();
    ScanError::Manifest { table, file: in_store(open, location), what: bad.0 }.into()
}

/// Where in its store a file is, as errors name it.
fn in_store(open: &OpenTable, location: &str) -> String {
    open.path(location).map(|path| path.to_string()).unwrap_or_default()
}

fn delete_file(open: &OpenTable, spec: &PartitionSpecRef, entry: &DeleteEntry) -> Result<DeleteFile, Error> {
    let place = |number: Option<i64>| number.and_then(|number| u64::try_from(number).ok());
    let kind = match (entry.equality, entry.puffin) {
        (true, _) => DeleteKind::Equality { ids: entry.ids.clone() },
        (false, false) => DeleteKind::Positions,
        (false, true) => match (place(entry.offset), place(entry.length)) {
            (Some(offset), Some(length)) => DeleteKind::Vector { offset, length },
            _ => {
                let table = open.told();
                return Err(
                    ScanError::Unsupported { table, what: "deletion vectors without their place".into() }.into()
                );
            }
        },
    };
    Ok(DeleteFile {
        kind,
        path: open.path(&entry.location)?,
        size: entry.size,
        rows: entry.rows,
        sequence: entry.sequence,
        partition: partition(spec, Arc::clone(&entry.partition)),
        data_file: entry.data_file.clone(),
    })
}

fn partition(spec: &PartitionSpecRef, values: Arc<[u8]>) -> Partition {
    Partition { spec: spec.spec_id(), global: spec.is_unpartitioned(), values }
}

impl FileIndex {
    /// The lowest sequence number of a file: older deletes are about none.
    pub(super) fn oldest(&self) -> Option<i64> {
        let sequences = self.manifests.iter().flat_map(|manifest| manifest.sequences.values().iter().copied());
        sequences.min()
    }

    /// All files.
    pub(super) fn all(&self) -> Chosen<'_> {
        let parts = self.manifests.iter().map(|manifest| Part { manifest, rows: None }).collect();
        Chosen { parts, told: Arc::default() }
    }

    /// What it has more than an earlier one, if it has all that that has, and no manifest has files of both.
    pub(super) fn beyond(&self, earlier: &Self) -> Option<Self> {
        let mut before: HashSet<String> = earlier.manifests.iter().flat_map(|manifest| manifest.locations()).collect();
        let mut manifests = Vec::new();
        for manifest in &self.manifests {
            let known = manifest.locations().filter(|location| before.remove(location)).count();
            match known {
                0 => manifests.push(Arc::clone(manifest)),
                all if all == manifest.len() => {}
                _ => return None,
            }
        }
        before.is_empty().then_some(Self { manifests })
    }

    /// The files for which `keep` is true; it has a place for each.
    fn choose(&self, keep: &[bool]) -> Chosen<'_> {
        let mut keep = keep.iter();
        let mut parts = Vec::new();
        for manifest in &self.manifests {
            let kept = keep.by_ref().take(manifest.len());
            let rows: UInt32Array =
                (0u32..).zip(kept).filter_map(|(row, kept)| kept.then_some(row)).collect::<Vec<_>>().into();
            if rows.len() == manifest.len() {
                parts.push(Part { manifest, rows: None });
            } else if !rows.is_empty() {
                parts.push(Part { manifest, rows: Some(rows) });
            }
        }
        Chosen { parts, told: Arc::default() }
    }
}

/// The columns that a scan asks about: field ids, and the names and types under which it sees them.
#[derive(Debug, Clone)]
pub(super) struct Asked<'a> {
    pub(super) ids: Vec<i32>,
    pub(super) schema: &'a SchemaRef,
}

impl<'a> Asked<'a> {
    /// What is known of a column does not come as views, though its values may.
    fn get(&self, column: usize) -> Option<(i32, &'a DataType)> {
        let of = match self.schema.fields().get(column)?.data_type() {
            DataType::Utf8View => &DataType::Utf8,
            DataType::BinaryView => &DataType::Binary,
            of => of,
        };
        Some((*self.ids.get(column)?, of))
    }

    /// A value of a column in the type that the scan sees.
    fn seen(&self, column: usize, value: ScalarValue) -> ScalarValue {
        match self.schema.fields().get(column) {
            Some(field) => viewed(value, field.data_type()),
            None => value,
        }
    }

    fn named(&self, name: &str) -> Option<(i32, &'a DataType)> {
        self.get(self.schema.index_of(name).ok()?)
    }
}

impl Chosen<'_> {
    /// The files themselves. What is known of a column is there for those in `needed` only.
    pub(super) fn files(&self, open: &OpenTable, asked: &Asked<'_>, needed: &[usize]) -> DfResult<Vec<DataFile>> {
        let known = self.known(asked, needed)?;
        let mut files = Vec::with_capacity(self.len());
        for part in &self.parts {
            let DataManifest { spec, sizes, rows, sequences, first_rows, partition: values, .. } = part.manifest;
            for row in part.rows() {
                let location = part.manifest.location(row);
                let values = values.iter().map(|values| values.is_valid(row).then(|| values.value(row)));
                files.push(DataFile {
                    path: open.path(&location).map_err(|error| DataFusionError::External(Box::new(error)))?,
                    location,
                    size: sizes.value(row),
                    rows: rows.value(row),
                    sequence: sequences.value(row),
                    first_row: first_rows.as_ref().and_then(|ids| ids.is_valid(row).then(|| ids.value(row))),
                    partition: partition(spec, manifest::key(spec, values)),
                    columns: Vec::new(),
                });
            }
        }
        for (file, columns) in files.iter_mut().zip(known) {
            file.columns = columns;
        }
        Ok(files)
    }
}

#[cfg(test)]
#[allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::disallowed_methods,
    reason = "tests, which make their own DataFusion sessions"
)]
mod tests;
