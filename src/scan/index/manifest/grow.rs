//! The columns of a manifest while they grow, one entry at a time.

use std::collections::HashMap;
use std::sync::Arc;

use datafusion::arrow::array::{BinaryArray, BooleanBufferBuilder, StringArray, UInt64Array};
use datafusion::arrow::buffer::{Buffer, NullBuffer, OffsetBuffer};
use iceberg::spec::PartitionSpecRef;

use super::super::avro::Bad;
use super::draft::Draft;
use super::{DataManifest, Stored};

/// A column that fewer than one in so many files have is left out of a manifest: room for the others' gaps is made, and
/// it must not be made without measure. To know nothing of a column is always right.
const SPARSE: usize = 64;

/// The columns of a manifest while they grow.
#[derive(Default)]
pub(super) struct Columns {
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
    pub(super) fn new(fields: usize) -> Self {
        Self { partition: (0..fields).map(|_| Texts::default()).collect(), ..Self::default() }
    }

    pub(super) fn push(&mut self, draft: &Draft<'_>, sequence: i64, first_row: Option<i64>) -> Result<(), Bad> {
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

    pub(super) fn finish(mut self, spec: &PartitionSpecRef) -> Result<DataManifest, Bad> {
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
            foreign: None,
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
