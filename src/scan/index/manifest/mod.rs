//! A manifest's live entries as Arrow columns.
//!
//! ```text
//! Container -> Draft (one entry, still pointing into its block) -> Columns (builders) -> DataManifest
//! ```
//!
//! Fields are known by Iceberg's ids; by names only where a writer left the ids out. Bounds and partition values stay
//! the bytes that were written: a column may be promoted later, and only a scan knows to what.

mod draft;
mod grow;
mod told;

use std::collections::HashMap;
use std::sync::Arc;

use datafusion::arrow::array::{Array, BinaryArray, Int32Array, Int64Array, StringArray, UInt64Array};
use iceberg::spec::{PartitionSpec, PartitionSpecRef};

use super::avro::{Bad, Container};
use super::list::Listed;
use crate::lake::memory::Weighed;
use draft::{Draft, Plan};
use grow::Columns;
pub(super) use told::decode_told;
pub(in crate::scan) use told::{Told, ToldColumn};

/// The live data files of a manifest.
#[derive(Debug)]
pub(super) struct DataManifest {
    pub(super) spec: PartitionSpecRef,
    /// What all locations begin with; `locations` has what follows.
    pub(super) prefix: String,
    pub(super) locations: StringArray,
    pub(super) sizes: UInt64Array,
    pub(super) rows: UInt64Array,
    pub(super) sequences: Int64Array,
    pub(super) first_rows: Option<Int64Array>,
    pub(super) sort_orders: Option<Int32Array>,
    /// One for each field of the spec: values as Iceberg serialises a single one.
    pub(super) partition: Vec<BinaryArray>,
    pub(super) columns: HashMap<i32, Stored>,
    /// The first of its files that cannot be read.
    pub(super) foreign: Option<Foreign>,
}

/// A file in another format than Parquet.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Foreign {
    pub(super) location: String,
    /// Short and plain, whatever the manifest says.
    pub(super) format: String,
}

impl Foreign {
    fn new(location: &str, format: &str) -> Self {
        let format = format.chars().filter(char::is_ascii_alphanumeric).take(16).collect::<String>();
        Self { location: location.to_owned(), format: format.to_ascii_lowercase() }
    }
}

/// What is known about one column, file by file.
#[derive(Debug, Default)]
pub(super) struct Stored {
    pub(super) lower: Option<BinaryArray>,
    pub(super) upper: Option<BinaryArray>,
    pub(super) nulls: Option<UInt64Array>,
    pub(super) nans: Option<UInt64Array>,
    /// Bytes in all files together.
    pub(super) size: u64,
}

/// The live delete files of a manifest.
#[derive(Debug)]
pub(super) struct DeleteManifest {
    pub(super) files: Vec<DeleteEntry>,
}

/// A delete file as a manifest has it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct DeleteEntry {
    pub(super) equality: bool,
    /// Whether it is Puffin, else Parquet.
    pub(super) puffin: bool,
    pub(super) location: String,
    pub(super) size: u64,
    pub(super) rows: u64,
    pub(super) sequence: i64,
    /// As [`key`] gives it.
    pub(super) partition: Arc<[u8]>,
    pub(super) ids: Vec<i32>,
    pub(super) data_file: Option<String>,
    pub(super) offset: Option<i64>,
    pub(super) length: Option<i64>,
}

impl DataManifest {
    pub(super) fn len(&self) -> usize {
        self.rows.len()
    }

    /// Where one of its files is.
    pub(super) fn location(&self, row: usize) -> String {
        format!("{}{}", self.prefix, self.locations.value(row))
    }

    pub(super) fn locations(&self) -> impl Iterator<Item = String> {
        (0..self.len()).map(|row| self.location(row))
    }
}

impl Weighed for DataManifest {
    fn bytes(&self) -> usize {
        fn of(array: &Option<impl Array>) -> usize {
            array.as_ref().map_or(0, |array| array.get_array_memory_size())
        }
        let column = |stored: &Stored| {
            size_of::<(i32, Stored)>() + of(&stored.lower) + of(&stored.upper) + of(&stored.nulls) + of(&stored.nans)
        };
        size_of::<Self>()
            + self.prefix.capacity()
            + self.locations.get_array_memory_size()
            + [&self.sizes, &self.rows].map(Array::get_array_memory_size).iter().sum::<usize>()
            + self.sequences.get_array_memory_size()
            + of(&self.first_rows)
            + of(&self.sort_orders)
            + self.partition.iter().map(Array::get_array_memory_size).sum::<usize>()
            + self.columns.values().map(column).sum::<usize>()
    }
}

impl Weighed for DeleteManifest {
    fn bytes(&self) -> usize {
        let each = |file: &DeleteEntry| {
            size_of::<DeleteEntry>()
                + file.location.capacity()
                + file.partition.len()
                + file.ids.capacity() * size_of::<i32>()
                + file.data_file.as_ref().map_or(0, String::capacity)
        };
        size_of::<Self>() + self.files.iter().map(each).sum::<usize>()
    }
}

/// A partition's values in a form that is equal where the values are: nulls left out, each under its field's id.
pub(super) fn key<'a>(spec: &PartitionSpec, values: impl Iterator<Item = Option<&'a [u8]>>) -> Arc<[u8]> {
    let mut parts: Vec<(i32, &[u8])> =
        spec.fields().iter().zip(values).filter_map(|(field, value)| Some((field.field_id, value?))).collect();
    parts.sort_unstable();
    let mut out = Vec::new();
    for (id, value) in parts {
        out.extend(id.to_le_bytes());
        out.extend(u64::try_from(value.len()).unwrap_or(u64::MAX).to_le_bytes());
        out.extend(value);
    }
    out.into()
}

/// What a manifest's entries inherit, and what they are held against.
pub(super) struct Frame<'a> {
    pub(super) listed: &'a Listed,
    pub(super) spec: &'a PartitionSpecRef,
}

/// Gives every live entry, in the manifest's order, with its sequence number; with `all` that a manifest says of it.
fn each_live(
    bytes: &[u8],
    frame: &Frame<'_>,
    all: bool,
    mut keep: impl FnMut(&Draft<'_>, i64) -> Result<(), Bad>,
) -> Result<(), Bad> {
    const ADDED: i64 = 1;
    const DELETED: i64 = 2;
    if usize::try_from(frame.listed.length).is_ok_and(|length| bytes.len() < length) {
        return Err(Bad("it is shorter than its list says"));
    }
    let container = Container::open(bytes)?;
    let first_format = container.text("format-version").is_some_and(|version| version == "1");
    let plan = Plan::new(&container.shape, frame.spec, all)?;
    let (mut added, mut existing) = (0i64, 0i64);
    container.each_block(|mut cursor, count| {
        let mut draft = Draft::default();
        for _ in 0..count {
            plan.read(&mut cursor, &mut draft)?;
            match draft.head.status {
                DELETED => continue,
                ADDED => added += 1,
                0 => existing += 1,
                _ => return Err(Bad("an entry has an unknown status")),
            }
            if draft.head.encrypted {
                return Err(Bad("it has encrypted files, which are not supported"));
            }
            let may_inherit = draft.head.status == ADDED || frame.listed.sequence == 0;
            let inherited = if first_format { Some(0) } else { may_inherit.then_some(frame.listed.sequence) };
            let sequence = draft.head.sequence.or(inherited).ok_or(Bad("a file in it has no sequence number"))?;
            keep(&draft, sequence)?;
        }
        if cursor.is_empty() { Ok(()) } else { Err(Bad("a block in it is longer than its entries")) }
    })?;
    let fits = |told: Option<i64>, found| told.is_none_or(|told| told == found);
    match fits(frame.listed.added, added) && fits(frame.listed.existing, existing) {
        true => Ok(()),
        false => Err(Bad("it has another number of files than its list says")),
    }
}

/// Reads a manifest of delete files.
pub(super) fn decode_deletes(bytes: &[u8], frame: &Frame<'_>) -> Result<DeleteManifest, Bad> {
    let mut files = Vec::new();
    each_live(bytes, frame, false, |draft, sequence| {
        let puffin = match (draft.head.format.to_ascii_lowercase().as_str(), draft.head.content) {
            ("parquet", 1 | 2) => false,
            ("puffin", 1) => true,
            (_, 1 | 2) => return Err(Bad("its delete files are in a format that is not supported")),
            _ => return Err(Bad("it lists data files among delete files")),
        };
        files.push(DeleteEntry {
            equality: draft.head.content == 2,
            puffin,
            location: draft.head.location.to_owned(),
            size: draft.head.size,
            rows: draft.head.rows,
            sequence,
            partition: key(frame.spec, draft.partition()),
            ids: draft.ids.clone(),
            data_file: draft.head.data_file.map(str::to_owned),
            offset: draft.head.offset,
            length: draft.head.length,
        });
        Ok(())
    })?;
    Ok(DeleteManifest { files })
}

/// Reads a manifest of data files.
pub(super) fn decode_data(bytes: &[u8], frame: &Frame<'_>) -> Result<DataManifest, Bad> {
    let mut columns = Columns::new(frame.spec.fields().len());
    let mut foreign = None;
    // A file without a row id has those that follow the files without one before it.
    let mut next_row = frame.listed.first_row;
    each_live(bytes, frame, false, |draft, sequence| {
        if draft.head.content != 0 {
            return Err(Bad("it lists delete files among data files"));
        }
        if !draft.head.format.eq_ignore_ascii_case("parquet") {
            foreign.get_or_insert_with(|| Foreign::new(draft.head.location, draft.head.format));
        }
        let first_row = match (next_row, draft.head.first_row) {
            (None, _) => None,
            (Some(_), Some(own)) => Some(own),
            (Some(next), None) => {
                let rows = i64::try_from(draft.head.rows).ok();
                next_row = rows.and_then(|rows| next.checked_add(rows));
                if next_row.is_none() {
                    return Err(Bad("its row ids are too large"));
                }
                Some(next)
            }
        };
        columns.push(draft, sequence, first_row)
    })?;
    Ok(DataManifest { foreign, ..columns.finish(frame.spec)? })
}
