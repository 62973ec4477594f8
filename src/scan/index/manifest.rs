//! A manifest's live entries as Arrow columns.
//!
//! ```text
//! Container -> Draft (one entry, still pointing into its block) -> Columns (builders) -> DataManifest
//! ```
//!
//! Fields are known by Iceberg's ids; by names only where a writer left the ids out. Bounds and partition values stay
//! the bytes that were written: a column may be promoted later, and only a scan knows to what.

use std::collections::HashMap;
use std::sync::Arc;

use datafusion::arrow::array::{
    Array, BinaryArray, BooleanBufferBuilder, Int32Array, Int64Array, StringArray, UInt64Array,
};
use datafusion::arrow::buffer::{Buffer, NullBuffer, OffsetBuffer};
use iceberg::spec::{PartitionSpec, PartitionSpecRef, Transform};

use super::avro::{Bad, Container, Cursor, Field, Scalar, Shape};
use super::list::{Listed, number, text};
use crate::lake::memory::Weighed;

/// A column that fewer than one in so many files have is left out of a manifest: room for the others' gaps is made, and
/// it must not be made without measure. To know nothing of a column is always right.
const SPARSE: usize = 64;

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

/// What is read of an entry and of its file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Slot {
    Status,
    Sequence,
    File,
    Content,
    Location,
    Format,
    Partition,
    Rows,
    Size,
    ColumnSizes,
    Nulls,
    Nans,
    Lower,
    Upper,
    Key,
    EqualityIds,
    SortOrder,
    FirstRow,
    DataFile,
    Offset,
    Length,
    Other,
}

type Slots = [(Slot, i32, &'static str)];

const ENTRY: &Slots =
    &[(Slot::Status, 0, "status"), (Slot::Sequence, 3, "sequence_number"), (Slot::File, 2, "data_file")];

const FILE: &Slots = &[
    (Slot::Content, 134, "content"),
    (Slot::Location, 100, "file_path"),
    (Slot::Format, 101, "file_format"),
    (Slot::Partition, 102, "partition"),
    (Slot::Rows, 103, "record_count"),
    (Slot::Size, 104, "file_size_in_bytes"),
    (Slot::ColumnSizes, 108, "column_sizes"),
    (Slot::Nulls, 110, "null_value_counts"),
    (Slot::Nans, 137, "nan_value_counts"),
    (Slot::Lower, 125, "lower_bounds"),
    (Slot::Upper, 128, "upper_bounds"),
    (Slot::Key, 131, "key_metadata"),
    (Slot::EqualityIds, 135, "equality_ids"),
    (Slot::SortOrder, 140, "sort_order_id"),
    (Slot::FirstRow, 142, "first_row_id"),
    (Slot::DataFile, 143, "referenced_data_file"),
    (Slot::Offset, 144, "content_offset"),
    (Slot::Length, 145, "content_size_in_bytes"),
];

fn slots<'s>(shape: &'s Shape, of: &Slots, needed: &[Slot]) -> Result<Vec<(Slot, &'s Shape)>, Bad> {
    let slot = |field: &Field| {
        let fits = |slot: &&(Slot, i32, &str)| field.id.map_or(slot.2 == field.name, |id| slot.1 == id);
        of.iter().find(fits).map_or(Slot::Other, |slot| slot.0)
    };
    let found: Vec<_> = shape.fields()?.iter().map(|field| (slot(field), field.shape.as_ref())).collect();
    match needed.iter().all(|needed| found.iter().any(|(slot, _)| slot == needed)) {
        true => Ok(found),
        false => Err(Bad("its entries lack a field")),
    }
}

/// One entry, pointing into its block.
#[derive(Default)]
struct Draft<'a> {
    head: Head<'a>,
    ids: Vec<i32>,
    /// One for each field of the spec, as a range of `partition_bytes`.
    partition: Vec<Option<(usize, usize)>>,
    partition_bytes: Vec<u8>,
    lower: Vec<(i32, &'a [u8])>,
    upper: Vec<(i32, &'a [u8])>,
    nulls: Vec<(i32, i64)>,
    nans: Vec<(i32, i64)>,
    sizes: Vec<(i32, i64)>,
}

/// What every entry has one of.
#[derive(Default)]
struct Head<'a> {
    status: i64,
    sequence: Option<i64>,
    content: i64,
    location: &'a str,
    format: &'a str,
    rows: u64,
    size: u64,
    encrypted: bool,
    sort_order: Option<i32>,
    first_row: Option<i64>,
    data_file: Option<&'a str>,
    offset: Option<i64>,
    length: Option<i64>,
}

impl Draft<'_> {
    fn clear(&mut self, fields: usize) {
        self.head = Head::default();
        self.ids.clear();
        self.partition.clear();
        self.partition.resize(fields, None);
        self.partition_bytes.clear();
        self.lower.clear();
        self.upper.clear();
        self.nulls.clear();
        self.nans.clear();
        self.sizes.clear();
    }

    fn partition(&self) -> impl Iterator<Item = Option<&[u8]>> {
        self.partition.iter().map(|range| range.and_then(|(start, end)| self.partition_bytes.get(start..end)))
    }

    /// Keeps a value as Iceberg serialises a single one. An `int` may become a `long` and a `float` a `double`, so they
    /// are kept as that from the start: then a partition's values are equal where their bytes are.
    fn keep(&mut self, field: usize, value: Option<Scalar<'_>>) {
        let start = self.partition_bytes.len();
        let double = |value: f64| if value.is_nan() { f64::NAN } else { value };
        match value {
            None => return,
            Some(Scalar::Bool(value)) => self.partition_bytes.push(u8::from(value)),
            Some(Scalar::Int(value)) => self.partition_bytes.extend(i64::from(value).to_le_bytes()),
            Some(Scalar::Long(value)) => self.partition_bytes.extend(value.to_le_bytes()),
            Some(Scalar::Float(value)) => self.partition_bytes.extend(double(f64::from(value)).to_le_bytes()),
            Some(Scalar::Double(value)) => self.partition_bytes.extend(double(value).to_le_bytes()),
            Some(Scalar::Bytes(value)) => self.partition_bytes.extend(value),
        }
        if let Some(range) = self.partition.get_mut(field) {
            *range = Some((start, self.partition_bytes.len()));
        }
    }
}

/// How the entries of one manifest are read.
struct Plan<'s> {
    entry: Vec<(Slot, &'s Shape)>,
    file: Vec<(Slot, &'s Shape)>,
    /// Which field of the spec each partition value is.
    partition: Vec<(Option<usize>, &'s Shape)>,
    fields: usize,
}

impl<'s> Plan<'s> {
    fn new(shape: &'s Shape, spec: &PartitionSpec) -> Result<Self, Bad> {
        let entry = slots(shape, ENTRY, &[Slot::Status, Slot::File])?;
        let file = entry.iter().find(|(slot, _)| *slot == Slot::File).ok_or(Bad("its entries have no file"))?.1;
        let file = slots(file, FILE, &[Slot::Location, Slot::Format, Slot::Rows, Slot::Size])?;
        let found = match file.iter().find(|(slot, _)| *slot == Slot::Partition) {
            Some((_, shape)) => shape.fields()?,
            None => &[],
        };
        let by_place = found.len() == spec.fields().len() && found.iter().all(|field| field.id.is_none());
        let place = |(index, field): (usize, &'s Field)| {
            let index = match field.id {
                Some(id) => spec.fields().iter().position(|of| of.field_id == id),
                None => by_place.then_some(index),
            };
            (index, field.shape.as_ref())
        };
        let partition: Vec<_> = found.iter().enumerate().map(place).collect();
        for (index, field) in spec.fields().iter().enumerate() {
            if field.transform != Transform::Void && !partition.iter().any(|(found, _)| *found == Some(index)) {
                return Err(Bad("its partitions lack a field of their spec"));
            }
        }
        Ok(Self { entry, file, partition, fields: spec.fields().len() })
    }

    fn read<'a>(&self, cursor: &mut Cursor<'a>, draft: &mut Draft<'a>) -> Result<(), Bad> {
        draft.clear(self.fields);
        for (slot, shape) in &self.entry {
            match slot {
                Slot::Status => {
                    draft.head.status = number(cursor.scalar(shape)?)?.ok_or(Bad("an entry has no status"))?
                }
                Slot::Sequence => draft.head.sequence = number(cursor.scalar(shape)?)?,
                Slot::File => self.read_file(cursor, draft)?,
                _ => cursor.skip(shape)?,
            }
        }
        Ok(())
    }

    fn read_file<'a>(&self, cursor: &mut Cursor<'a>, draft: &mut Draft<'a>) -> Result<(), Bad> {
        let count = |value: Option<Scalar<'_>>| {
            number(value)?.and_then(|value| u64::try_from(value).ok()).ok_or(Bad("a file in it has no size"))
        };
        let optional = |value: Option<Scalar<'a>>| value.map(|value| text(Some(value))).transpose();
        for (slot, shape) in &self.file {
            match slot {
                Slot::Content => draft.head.content = number(cursor.scalar(shape)?)?.unwrap_or_default(),
                Slot::Location => draft.head.location = text(cursor.scalar(shape)?)?,
                Slot::Format => draft.head.format = text(cursor.scalar(shape)?)?,
                Slot::Partition => {
                    for (field, shape) in &self.partition {
                        match field {
                            Some(field) => {
                                let value = cursor.scalar(shape)?;
                                draft.keep(*field, value);
                            }
                            None => cursor.skip(shape)?,
                        }
                    }
                }
                Slot::Rows => draft.head.rows = count(cursor.scalar(shape)?)?,
                Slot::Size => draft.head.size = count(cursor.scalar(shape)?)?,
                Slot::ColumnSizes => numbers(cursor, shape, &mut draft.sizes)?,
                Slot::Nulls => numbers(cursor, shape, &mut draft.nulls)?,
                Slot::Nans => numbers(cursor, shape, &mut draft.nans)?,
                Slot::Lower => pairs(cursor, shape, |id, value| keep_bytes(&mut draft.lower, id, value))?,
                Slot::Upper => pairs(cursor, shape, |id, value| keep_bytes(&mut draft.upper, id, value))?,
                Slot::Key => {
                    let key = cursor.scalar(shape)?;
                    draft.head.encrypted = key.is_some_and(|key| !matches!(key, Scalar::Bytes(b"")));
                }
                Slot::EqualityIds => cursor.each(shape, |cursor, shape| {
                    let id = number(cursor.scalar(shape)?)?.and_then(|id| i32::try_from(id).ok());
                    draft.ids.push(id.ok_or(Bad("a field id in it is wrong"))?);
                    Ok(())
                })?,
                Slot::SortOrder => {
                    draft.head.sort_order = number(cursor.scalar(shape)?)?.and_then(|id| i32::try_from(id).ok());
                }
                Slot::FirstRow => draft.head.first_row = number(cursor.scalar(shape)?)?,
                Slot::DataFile => draft.head.data_file = optional(cursor.scalar(shape)?)?,
                Slot::Offset => draft.head.offset = number(cursor.scalar(shape)?)?,
                Slot::Length => draft.head.length = number(cursor.scalar(shape)?)?,
                Slot::Status | Slot::Sequence | Slot::File | Slot::Other => cursor.skip(shape)?,
            }
        }
        Ok(())
    }
}

fn keep_bytes<'a>(into: &mut Vec<(i32, &'a [u8])>, id: i32, value: Option<Scalar<'a>>) {
    if let Some(Scalar::Bytes(bytes)) = value {
        into.push((id, bytes));
    }
}

fn numbers(cursor: &mut Cursor<'_>, shape: &Shape, into: &mut Vec<(i32, i64)>) -> Result<(), Bad> {
    pairs(cursor, shape, |id, value| {
        if let Ok(Some(number)) = number(value) {
            into.push((id, number));
        }
    })
}

/// Reads a map from field ids: an array of pairs, as Avro has only text for keys, or a map with numbers in its text.
fn pairs<'a>(cursor: &mut Cursor<'a>, shape: &Shape, mut keep: impl FnMut(i32, Option<Scalar<'a>>)) -> Result<(), Bad> {
    const WRONG: Bad = Bad("a map in it is not understood");
    if let Shape::Map(_) = shape.present() {
        return cursor.each_pair(shape, |key, value| {
            let id = std::str::from_utf8(key).ok().and_then(|key| key.parse().ok()).ok_or(WRONG)?;
            keep(id, value);
            Ok(())
        });
    }
    cursor.each(shape, |cursor, pair| {
        let (mut id, mut found) = (None, None);
        for field in pair.fields()? {
            match field.name.as_str() {
                "key" => id = number(cursor.scalar(&field.shape)?)?.and_then(|id| i32::try_from(id).ok()),
                "value" => found = cursor.scalar(&field.shape)?,
                _ => cursor.skip(&field.shape)?,
            }
        }
        keep(id.ok_or(WRONG)?, found);
        Ok(())
    })
}

/// What a manifest's entries inherit, and what they are held against.
pub(super) struct Frame<'a> {
    pub(super) listed: &'a Listed,
    pub(super) spec: &'a PartitionSpecRef,
}

/// Gives every live entry, in the manifest's order, with its sequence number.
fn each_live(
    bytes: &[u8],
    frame: &Frame<'_>,
    mut keep: impl FnMut(&Draft<'_>, i64) -> Result<(), Bad>,
) -> Result<(), Bad> {
    const ADDED: i64 = 1;
    const DELETED: i64 = 2;
    if usize::try_from(frame.listed.length).is_ok_and(|length| bytes.len() < length) {
        return Err(Bad("it is shorter than its list says"));
    }
    let container = Container::open(bytes)?;
    let first_format = container.text("format-version").is_none_or(|version| version == "1");
    let plan = Plan::new(&container.shape, frame.spec)?;
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
    each_live(bytes, frame, |draft, sequence| {
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
    // A file without a row id has those that follow the files without one before it.
    let mut next_row = frame.listed.first_row;
    each_live(bytes, frame, |draft, sequence| {
        if draft.head.content != 0 {
            return Err(Bad("it lists delete files among data files"));
        }
        if !draft.head.format.eq_ignore_ascii_case("parquet") {
            return Err(match draft.head.format.to_ascii_lowercase().as_str() {
                "orc" => Bad("its files are in the format `orc`, which is not supported"),
                "avro" => Bad("its files are in the format `avro`, which is not supported"),
                _ => Bad("its files are in a format that is not supported"),
            });
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
    columns.finish(frame.spec)
}

/// The columns of a manifest while they grow.
#[derive(Default)]
struct Columns {
    locations: Texts,
    sizes: Vec<u64>,
    rows: Vec<u64>,
    sequences: Vec<i64>,
    first_rows: Vec<Option<i64>>,
    sort_orders: Vec<Option<i32>>,
    partition: Vec<Texts>,
    places: HashMap<i32, usize>,
    stored: Vec<(i32, Growing)>,
}

/// One column's facts while they grow.
#[derive(Default)]
struct Growing {
    lower: Texts,
    upper: Texts,
    nulls: Counts,
    nans: Counts,
    size: u64,
}

impl Columns {
    fn new(fields: usize) -> Self {
        Self { partition: (0..fields).map(|_| Texts::default()).collect(), ..Self::default() }
    }

    fn push(&mut self, draft: &Draft<'_>, sequence: i64, first_row: Option<i64>) -> Result<(), Bad> {
        let row = u32::try_from(self.rows.len()).map_err(|_| LARGE)?;
        self.locations.push(row, draft.head.location.as_bytes())?;
        self.sizes.push(draft.head.size);
        self.rows.push(draft.head.rows);
        self.sequences.push(sequence);
        self.first_rows.push(first_row);
        self.sort_orders.push(draft.head.sort_order);
        for (texts, value) in self.partition.iter_mut().zip(draft.partition()) {
            if let Some(value) = value {
                texts.push(row, value)?;
            }
        }
        for (place, (id, value)) in draft.lower.iter().enumerate() {
            self.column(*id, place).lower.push(row, value)?;
        }
        for (place, (id, value)) in draft.upper.iter().enumerate() {
            self.column(*id, place).upper.push(row, value)?;
        }
        for (place, (id, value)) in draft.nulls.iter().enumerate() {
            self.column(*id, place).nulls.push(row, *value);
        }
        for (place, (id, value)) in draft.nans.iter().enumerate() {
            self.column(*id, place).nans.push(row, *value);
        }
        for (place, (id, value)) in draft.sizes.iter().enumerate() {
            let column = self.column(*id, place);
            column.size = column.size.saturating_add(u64::try_from(*value).unwrap_or_default());
        }
        Ok(())
    }

    /// Most maps of most files name the same columns in the same order, so that `place` is mostly right.
    fn column(&mut self, id: i32, place: usize) -> &mut Growing {
        let place = match self.stored.get(place) {
            Some((found, _)) if *found == id => place,
            _ => *self.places.entry(id).or_insert_with(|| {
                self.stored.push((id, Growing::default()));
                self.stored.len() - 1
            }),
        };
        #[allow(clippy::indexing_slicing, reason = "`places` holds places in `stored` alone, which never shrinks")]
        &mut self.stored[place].1
    }

    fn finish(mut self, spec: &PartitionSpecRef) -> Result<DataManifest, Bad> {
        let len = self.rows.len();
        self.sizes.shrink_to_fit();
        self.rows.shrink_to_fit();
        self.sequences.shrink_to_fit();
        let (prefix, locations) = self.locations.without_prefix()?;
        let column = |(id, growing): (i32, Growing)| {
            let stored = Stored {
                lower: growing.lower.finish(len)?,
                upper: growing.upper.finish(len)?,
                nulls: growing.nulls.finish(len),
                nans: growing.nans.finish(len),
                size: growing.size,
            };
            Ok((id, stored))
        };
        fn where_any<T>(values: &[Option<T>]) -> bool {
            values.iter().any(Option::is_some)
        }
        Ok(DataManifest {
            spec: Arc::clone(spec),
            prefix,
            locations,
            sizes: self.sizes.into(),
            rows: self.rows.into(),
            sequences: self.sequences.into(),
            first_rows: where_any(&self.first_rows).then(|| self.first_rows.into()),
            sort_orders: where_any(&self.sort_orders).then(|| self.sort_orders.into()),
            partition: self.partition.into_iter().map(|texts| texts.spread(len)).collect::<Result<_, _>>()?,
            columns: self.stored.into_iter().map(column).collect::<Result<_, _>>()?,
        })
    }
}

const LARGE: Bad = Bad("it is too large");

/// Bytes that some of the files have.
#[derive(Default)]
struct Texts {
    rows: Vec<u32>,
    ends: Vec<i32>,
    bytes: Vec<u8>,
}

impl Texts {
    /// A second value for a row is not taken.
    fn push(&mut self, row: u32, value: &[u8]) -> Result<(), Bad> {
        if self.rows.last() != Some(&row) {
            self.bytes.extend(value);
            self.ends.push(i32::try_from(self.bytes.len()).map_err(|_| LARGE)?);
            self.rows.push(row);
        }
        Ok(())
    }

    fn finish(self, len: usize) -> Result<Option<BinaryArray>, Bad> {
        if is_sparse(self.rows.len(), len) { Ok(None) } else { self.spread(len).map(Some) }
    }

    /// An array with a value or null for every row.
    fn spread(mut self, len: usize) -> Result<BinaryArray, Bad> {
        let mut offsets = Vec::with_capacity(len.saturating_add(1));
        offsets.push(0);
        let mut valid = None;
        if self.rows.len() == len {
            offsets.append(&mut self.ends);
        } else {
            let mut bits = BooleanBufferBuilder::new(len);
            let mut end = 0;
            for (row, next) in self.rows.iter().zip(&self.ends) {
                let row = usize::try_from(*row).map_err(|_| LARGE)?;
                let gap = row.checked_sub(bits.len()).ok_or(LARGE)?;
                bits.append_n(gap, false);
                offsets.extend(std::iter::repeat_n(end, gap));
                bits.append(true);
                offsets.push(*next);
                end = *next;
            }
            let gap = len.saturating_sub(bits.len());
            bits.append_n(gap, false);
            offsets.extend(std::iter::repeat_n(end, gap));
            valid = Some(NullBuffer::new(bits.finish()));
        }
        self.bytes.shrink_to_fit();
        BinaryArray::try_new(OffsetBuffer::new(offsets.into()), Buffer::from_vec(self.bytes), valid).map_err(|_| LARGE)
    }

    /// Texts of which every row has one, and what all of them begin with.
    fn without_prefix(self) -> Result<(String, StringArray), Bad> {
        const NO_TEXT: Bad = Bad("a text in it is not text");
        let whole = std::str::from_utf8(&self.bytes).map_err(|_| NO_TEXT)?;
        let starts = || std::iter::once(&0).chain(&self.ends).map(|at| usize::try_from(*at).unwrap_or_default());
        let each = || starts().zip(starts().skip(1)).filter_map(|(start, end)| whole.get(start..end));
        let Some(first) = each().next() else { return Ok((String::new(), StringArray::new_null(0))) };
        let shared = each().fold(first.len(), |shared, text| {
            text.bytes().zip(first.bytes()).take(shared).take_while(|(a, b)| a == b).count()
        });
        // Up to the last slash, which is never in the middle of a letter.
        let shared = first.get(..first.floor_char_boundary(shared)).and_then(|shared| shared.rfind('/'));
        let shared = shared.map_or(0, |slash| slash + 1);
        let rests = StringArray::from_iter_values(each().map(|text| text.get(shared..).unwrap_or_default()));
        Ok((first.get(..shared).unwrap_or_default().to_owned(), rests))
    }
}

/// Counts that some of the files have.
#[derive(Default)]
struct Counts {
    rows: Vec<u32>,
    values: Vec<u64>,
}

impl Counts {
    /// A count below zero is none.
    fn push(&mut self, row: u32, value: i64) {
        if let Ok(value) = u64::try_from(value)
            && self.rows.last() != Some(&row)
        {
            self.rows.push(row);
            self.values.push(value);
        }
    }

    fn finish(mut self, len: usize) -> Option<UInt64Array> {
        self.values.shrink_to_fit();
        if is_sparse(self.rows.len(), len) {
            return None;
        }
        if self.rows.len() == len {
            return Some(self.values.into());
        }
        let mut all = vec![None; len];
        for (row, value) in self.rows.iter().zip(self.values) {
            if let Some(place) = usize::try_from(*row).ok().and_then(|row| all.get_mut(row)) {
                *place = Some(value);
            }
        }
        Some(all.into())
    }
}

fn is_sparse(found: usize, len: usize) -> bool {
    found == 0 || found.saturating_mul(SPARSE) < len
}
