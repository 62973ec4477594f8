//! One manifest entry, read by the schema that its manifest carries.
//!
//! Fields are known by Iceberg's ids; by names only where a writer left the ids out.

use iceberg::spec::{PartitionSpec, Transform};

use super::super::avro::{Bad, Cursor, Field, Scalar, Shape};
use super::super::list::{number, text};

/// What is read of an entry and of its file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Slot {
    Status,
    Snapshot,
    Sequence,
    File,
    Content,
    Location,
    Format,
    Partition,
    Rows,
    Size,
    ColumnSizes,
    Values,
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

const ENTRY: &Slots = &[
    (Slot::Status, 0, "status"),
    (Slot::Snapshot, 1, "snapshot_id"),
    (Slot::Sequence, 3, "sequence_number"),
    (Slot::File, 2, "data_file"),
];

const FILE: &Slots = &[
    (Slot::Content, 134, "content"),
    (Slot::Location, 100, "file_path"),
    (Slot::Format, 101, "file_format"),
    (Slot::Partition, 102, "partition"),
    (Slot::Rows, 103, "record_count"),
    (Slot::Size, 104, "file_size_in_bytes"),
    (Slot::ColumnSizes, 108, "column_sizes"),
    (Slot::Values, 109, "value_counts"),
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
pub(super) struct Draft<'a> {
    pub(super) head: Head<'a>,
    pub(super) ids: Vec<i32>,
    /// One for each field of the spec, as a range of `partition_bytes`.
    pub(super) partition: Vec<Option<(usize, usize)>>,
    pub(super) partition_bytes: Vec<u8>,
    pub(super) lower: Vec<(i32, &'a [u8])>,
    pub(super) upper: Vec<(i32, &'a [u8])>,
    pub(super) nulls: Vec<(i32, i64)>,
    pub(super) nans: Vec<(i32, i64)>,
    pub(super) sizes: Vec<(i32, i64)>,
    /// Read only where all is.
    pub(super) values: Vec<(i32, i64)>,
}

/// What every entry has one of.
#[derive(Default)]
pub(super) struct Head<'a> {
    pub(super) status: i64,
    pub(super) snapshot: Option<i64>,
    pub(super) sequence: Option<i64>,
    pub(super) content: i64,
    pub(super) location: &'a str,
    pub(super) format: &'a str,
    pub(super) rows: u64,
    pub(super) size: u64,
    pub(super) encrypted: bool,
    pub(super) sort_order: Option<i32>,
    pub(super) first_row: Option<i64>,
    pub(super) data_file: Option<&'a str>,
    pub(super) offset: Option<i64>,
    pub(super) length: Option<i64>,
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
        self.values.clear();
    }

    pub(super) fn partition(&self) -> impl Iterator<Item = Option<&[u8]>> {
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
pub(super) struct Plan<'s> {
    entry: Vec<(Slot, &'s Shape)>,
    file: Vec<(Slot, &'s Shape)>,
    /// Which field of the spec each partition value is.
    partition: Vec<(Option<usize>, &'s Shape)>,
    fields: usize,
    /// Whether what only people look at is read as well.
    all: bool,
}

impl<'s> Plan<'s> {
    pub(super) fn new(shape: &'s Shape, spec: &PartitionSpec, all: bool) -> Result<Self, Bad> {
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
        Ok(Self { entry, file, partition, fields: spec.fields().len(), all })
    }

    pub(super) fn read<'a>(&self, cursor: &mut Cursor<'a>, draft: &mut Draft<'a>) -> Result<(), Bad> {
        draft.clear(self.fields);
        for (slot, shape) in &self.entry {
            match slot {
                Slot::Status => {
                    draft.head.status = number(cursor.scalar(shape)?)?.ok_or(Bad("an entry has no status"))?
                }
                Slot::Snapshot => draft.head.snapshot = number(cursor.scalar(shape)?)?,
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
                Slot::Values if self.all => numbers(cursor, shape, &mut draft.values)?,
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
                Slot::Status | Slot::Snapshot | Slot::Sequence | Slot::File | Slot::Values | Slot::Other => {
                    cursor.skip(shape)?
                }
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
