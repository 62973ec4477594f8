//! A set of keys, each with the youngest sequence number at which it was deleted.
//!
//! ```text
//! columns of numbers -> one number for each key: its place among all keys that the columns' ranges allow
//!     few places for each key, all deleted at once  -> a bit for each place
//!     else                                          -> sorted, in buckets of about one key
//! any other columns  -> arrow's row format, hashed
//! ```
//!
//! Places keep the order of the first column. Data that lies in that order finds its keys side by side, which makes the
//! difference: with a million keys of two columns a hash table took 4.9 times the clean scan.

use std::ops::Range;
use std::sync::Arc;

use datafusion::arrow::array::{Array, ArrayRef, AsArray, Float32Array, Float64Array, Int64Array};
use datafusion::arrow::buffer::BooleanBuffer;
use datafusion::arrow::compute::cast;
use datafusion::arrow::datatypes::{DataType, Float32Type, Float64Type, Int64Type};
use datafusion::arrow::error::ArrowError;
use datafusion::arrow::row::{RowConverter, SortField};
use hashbrown::HashMap;

/// Bits may take so many for each key.
const BITS_PER_KEY: u64 = 64;

/// The place of what is not in a set.
const NOWHERE: u64 = u64::MAX;

#[derive(Debug)]
pub(super) enum Set {
    Dense {
        places: Places,
        bits: Vec<u64>,
        sequence: i64,
    },
    Sorted {
        places: Places,
        /// Each with its sequence number.
        keys: Vec<(u64, i64)>,
        /// The keys of the places whose upper bits are the index.
        buckets: Vec<u32>,
        shift: u32,
    },
    Rows {
        kind: Kind,
        converter: RowConverter,
        keys: HashMap<Box<[u8]>, i64>,
    },
}

/// What the rows of a set are made of.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    Numbers,
    Any,
}

impl Set {
    pub(super) fn bytes(&self) -> usize {
        match self {
            Self::Dense { bits, .. } => bits.capacity() * 8,
            Self::Sorted { keys, buckets, .. } => keys.capacity() * 16 + buckets.capacity() * 4,
            Self::Rows { converter, keys, .. } => {
                converter.size() + keys.allocation_size() + keys.keys().map(|key| key.len() + 16).sum::<usize>()
            }
        }
    }

    /// Which rows of `columns` have a key that was deleted after `sequence`.
    pub(super) fn younger(&self, columns: &[ArrayRef], sequence: i64) -> Result<BooleanBuffer, ArrowError> {
        Ok(match self {
            Self::Dense { sequence: deleted, .. } if *deleted <= sequence => none(columns),
            Self::Dense { places, bits, .. } => found(&places.of(columns)?, |place| {
                let word = usize::try_from(place / 64).ok().and_then(|word| bits.get(word));
                word.is_some_and(|word| word >> (place % 64) & 1 == 1)
            }),
            Self::Sorted { places, keys, buckets, shift } => found(&places.of(columns)?, |place| {
                let bucket = usize::try_from(place >> shift).unwrap_or(usize::MAX);
                let at = |index: usize| buckets.get(index).map(|at| *at as usize);
                let known = at(bucket).zip(at(bucket.saturating_add(1))).and_then(|(start, end)| keys.get(start..end));
                let known = known.unwrap_or_default();
                let key = known.binary_search_by_key(&place, |(place, _)| *place).ok().and_then(|at| known.get(at));
                key.is_some_and(|(_, deleted)| *deleted > sequence)
            }),
            Self::Rows { kind, converter, keys } => {
                let rows = converter.convert_columns(&kind.alike(columns)?)?;
                let mut rows = rows.iter();
                BooleanBuffer::collect_bool(rows.len(), |_| {
                    rows.next().is_some_and(|row| keys.get(row.as_ref()).is_some_and(|deleted| *deleted > sequence))
                })
            }
        })
    }
}

fn none(columns: &[ArrayRef]) -> BooleanBuffer {
    BooleanBuffer::new_unset(columns.first().map_or(0, |column| column.len()))
}

fn found(places: &[u64], is_in: impl Fn(u64) -> bool) -> BooleanBuffer {
    let mut places = places.iter();
    BooleanBuffer::collect_bool(places.len(), |_| places.next().is_some_and(|place| *place != NOWHERE && is_in(*place)))
}

/// What is read, before it takes the form of a set.
pub(super) enum Draft {
    Numbers { columns: Vec<Vec<Option<i64>>>, sequences: Vec<i64> },
    Rows { kind: Kind, converter: RowConverter, keys: HashMap<Box<[u8]>, i64> },
}

impl Draft {
    pub(super) fn new(types: &[DataType]) -> Result<Self, ArrowError> {
        match types.iter().all(is_number) {
            true => Ok(Self::Numbers { columns: vec![Vec::new(); types.len()], sequences: Vec::new() }),
            false => Self::rows(Kind::Any, types.iter().cloned()),
        }
    }

    fn rows(kind: Kind, types: impl Iterator<Item = DataType>) -> Result<Self, ArrowError> {
        let converter = RowConverter::new(types.map(SortField::new).collect())?;
        Ok(Self::Rows { kind, converter, keys: HashMap::new() })
    }

    pub(super) fn add(&mut self, columns: &[ArrayRef], sequence: i64) -> Result<(), ArrowError> {
        match self {
            Self::Numbers { columns: known, sequences } => {
                for (known, column) in known.iter_mut().zip(columns) {
                    known.extend(&number(column)?);
                }
                sequences.resize(known.first().map_or(0, Vec::len), sequence);
            }
            Self::Rows { kind, converter, keys } => {
                for key in &converter.convert_columns(&kind.alike(columns)?)? {
                    match keys.get_mut(key.as_ref()) {
                        Some(known) => *known = sequence.max(*known),
                        None => _ = keys.insert(key.as_ref().into(), sequence),
                    }
                }
            }
        }
        Ok(())
    }

    pub(super) fn finish(self) -> Result<Set, ArrowError> {
        let (columns, sequences) = match self {
            Self::Rows { kind, converter, mut keys } => {
                keys.shrink_to_fit();
                return Ok(Set::Rows { kind, converter, keys });
            }
            Self::Numbers { columns, sequences } => (columns, sequences),
        };
        let arrays = columns.into_iter().map(Int64Array::from).collect::<Vec<_>>();
        if let Some(set) = Places::new(&arrays).and_then(|places| places.set(&arrays, &sequences)) {
            return Ok(set);
        }
        let mut rows = Self::rows(Kind::Numbers, arrays.iter().map(|_| DataType::Int64))?;
        let arrays: Vec<ArrayRef> = arrays.into_iter().map(|array| Arc::new(array) as ArrayRef).collect();
        let mut start = 0;
        for same in sequences.chunk_by(|a, b| a == b) {
            let columns: Vec<ArrayRef> = arrays.iter().map(|array| array.slice(start, same.len())).collect();
            rows.add(&columns, same.first().copied().unwrap_or(i64::MIN))?;
            start += same.len();
        }
        rows.finish()
    }
}

/// Keys of numbers as one number each: the digits are the columns' values, counted from the least of each column, and
/// zero is NULL.
#[derive(Debug)]
pub(super) struct Places(Vec<Column>);

#[derive(Debug)]
struct Column {
    least: i64,
    /// How many values there are from the least to the greatest, and NULL.
    many: u64,
    null: bool,
}

impl Places {
    /// `None` when 64 bits do not hold all places.
    fn new(columns: &[Int64Array]) -> Option<Self> {
        let column = |array: &Int64Array| {
            let values = array.iter().flatten();
            let (least, greatest) = values.fold((i64::MAX, i64::MIN), |(a, b), value| (a.min(value), b.max(value)));
            let between = if least > greatest { 0 } else { greatest.abs_diff(least).checked_add(1)? };
            Some(Column { least, many: between.checked_add(1)?, null: array.null_count() > 0 })
        };
        let places = Self(columns.iter().map(column).collect::<Option<Vec<_>>>()?);
        places.len().map(|_| places)
    }

    fn len(&self) -> Option<u64> {
        self.0.iter().try_fold(1u64, |len, column| len.checked_mul(column.many))
    }

    fn of(&self, columns: &[ArrayRef]) -> Result<Vec<u64>, ArrowError> {
        let columns = columns.iter().map(number).collect::<Result<Vec<_>, _>>()?;
        Ok(self.of_numbers(&columns))
    }

    fn of_numbers(&self, columns: &[Int64Array]) -> Vec<u64> {
        let mut places = vec![0u64; columns.first().map_or(0, |column| column.len())];
        for (column, array) in self.0.iter().zip(columns) {
            let add = |place: &mut u64, digit: u64| {
                // A value below the least wraps around to beyond the greatest.
                *place = match *place == NOWHERE || digit >= column.many {
                    true => NOWHERE,
                    false => *place * column.many + digit,
                };
            };
            let digit = |value: i64| value.wrapping_sub(column.least).cast_unsigned().saturating_add(1);
            match array.nulls() {
                None => places.iter_mut().zip(array.values()).for_each(|(place, value)| add(place, digit(*value))),
                Some(_) => places.iter_mut().zip(array).for_each(|(place, value)| {
                    add(place, value.map_or(if column.null { 0 } else { NOWHERE }, digit));
                }),
            }
        }
        places
    }

    fn set(self, columns: &[Int64Array], sequences: &[i64]) -> Option<Set> {
        let len = self.len()?;
        let mut keys: Vec<(u64, i64)> = self.of_numbers(columns).into_iter().zip(sequences.iter().copied()).collect();
        // The youngest of a key comes first and stays.
        keys.sort_unstable_by_key(|(place, sequence)| (*place, std::cmp::Reverse(*sequence)));
        keys.dedup_by_key(|(place, _)| *place);
        keys.shrink_to_fit();
        let many = u64::try_from(keys.len()).ok()?.max(1);
        let first = keys.first().map_or(i64::MIN, |(_, sequence)| *sequence);
        if len <= BITS_PER_KEY.saturating_mul(many) && keys.iter().all(|(_, sequence)| *sequence == first) {
            let mut bits = vec![0u64; usize::try_from(len.div_ceil(64)).ok()?];
            for (place, _) in keys {
                *bits.get_mut(usize::try_from(place / 64).ok()?)? |= 1 << (place % 64);
            }
            return Some(Set::Dense { places: self, bits, sequence: first });
        }
        let shift = (len / many).checked_ilog2().unwrap_or(0);
        let range: Range<u64> = 0..(len >> shift).checked_add(2)?;
        let mut buckets = Vec::with_capacity(usize::try_from(range.end).ok()?);
        let mut at = 0;
        for bucket in range {
            while keys.get(at).is_some_and(|(place, _)| place >> shift < bucket) {
                at += 1;
            }
            buckets.push(u32::try_from(at).ok()?);
        }
        Some(Set::Sorted { places: self, keys, buckets, shift })
    }
}

fn is_number(of: &DataType) -> bool {
    matches!(of, DataType::Int32 | DataType::Int64 | DataType::Date32 | DataType::Time64(_) | DataType::Timestamp(_, _))
}

fn number(column: &ArrayRef) -> Result<Int64Array, ArrowError> {
    Ok(cast(column, &DataType::Int64)?.as_primitive::<Int64Type>().clone())
}

impl Kind {
    /// The columns as the converter takes them: with one bit pattern for NaN, since arrow's row format compares bits.
    fn alike(self, columns: &[ArrayRef]) -> Result<Vec<ArrayRef>, ArrowError> {
        let column = |column: &ArrayRef| -> Result<ArrayRef, ArrowError> {
            Ok(match column.data_type() {
                _ if self == Self::Numbers => Arc::new(number(column)?),
                DataType::Float32 => {
                    let values = column.as_primitive::<Float32Type>();
                    Arc::new(values.unary::<_, Float32Type>(|v| if v.is_nan() { f32::NAN } else { v }) as Float32Array)
                }
                DataType::Float64 => {
                    let values = column.as_primitive::<Float64Type>();
                    Arc::new(values.unary::<_, Float64Type>(|v| if v.is_nan() { f64::NAN } else { v }) as Float64Array)
                }
                _ => Arc::clone(column),
            })
        };
        columns.iter().map(column).collect()
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "tests")]
mod tests {
    use std::collections::BTreeMap;

    use datafusion::arrow::array::{Int32Array, StringArray};

    use super::*;

    type Known = BTreeMap<Vec<Option<i64>>, i64>;

    /// Columns with these keys; those of 32 bits are cut to them.
    fn columns(keys: &[Vec<Option<i64>>], types: &[DataType]) -> Vec<ArrayRef> {
        let column = |(at, of): (usize, &DataType)| -> ArrayRef {
            let values = keys.iter().map(|key| *key.get(at).unwrap());
            match of {
                DataType::Utf8 => Arc::new(values.map(|v| v.map(|v| v.to_string())).collect::<StringArray>()),
                DataType::Int32 => Arc::new(values.map(|v| v.map(|v| v as i32)).collect::<Int32Array>()),
                _ => Arc::new(values.collect::<Int64Array>()),
            }
        };
        types.iter().enumerate().map(column).collect()
    }

    fn check(types: &[DataType], step: i64, sequences: &[i64], is_form: impl Fn(&Set) -> bool) {
        let mut state = 7u64;
        let mut next = |below: u64| {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            i64::try_from((state >> 33) % below).unwrap()
        };
        let mut key = |many: u64| -> Vec<Option<i64>> {
            types.iter().map(|_| Some(next(many)).filter(|v| *v > 0).map(|v| v.wrapping_mul(step) - 50)).collect()
        };
        let mut known = Known::new();
        let mut draft = Draft::new(types).unwrap();
        for sequence in sequences {
            let some: Vec<_> = (0..200).map(|_| key(300)).collect();
            draft.add(&columns(&some, types), *sequence).unwrap();
            for one in some {
                let found = known.entry(one).or_insert(*sequence);
                *found = (*found).max(*sequence);
            }
        }
        let set = draft.finish().unwrap();
        assert!(is_form(&set), "{types:?}");
        assert!(set.bytes() >= known.len() / 8);
        let rows: Vec<_> = (0..2000).map(|_| key(400)).collect();
        for sequence in 0..5 {
            let expect: Vec<bool> =
                rows.iter().map(|row| known.get(row).is_some_and(|found| *found > sequence)).collect();
            let found = set.younger(&columns(&rows, types), sequence).unwrap();
            assert_eq!(found.iter().collect::<Vec<_>>(), expect, "{types:?} at {sequence}");
            assert!(expect.contains(&false) && expect.contains(&(sequence < *sequences.iter().max().unwrap())));
        }
    }

    #[test]
    fn a_set_holds_what_was_added_and_when_whatever_its_form() {
        let (number, two) = ([DataType::Int64], [DataType::Int64, DataType::Int32]);
        check(&number, 1, &[3], |set| matches!(set, Set::Dense { .. }));
        check(&number, 1, &[4, 2, 3], |set| matches!(set, Set::Sorted { .. }));
        check(&number, i64::MAX / 500, &[3], |set| matches!(set, Set::Sorted { .. }));
        check(&two, 1, &[1; 20], |set| matches!(set, Set::Dense { .. }));
        check(&two, 1, &[3, 1], |set| matches!(set, Set::Sorted { .. }));
        check(&[DataType::Int64, DataType::Int64], i64::MAX / 500, &[3, 1], |set| matches!(set, Set::Rows { .. }));
        check(&[DataType::Utf8], 1, &[2, 4], |set| matches!(set, Set::Rows { .. }));
        check(&[DataType::Int64, DataType::Utf8], 1, &[1, 2, 3], |set| matches!(set, Set::Rows { .. }));
    }

    #[test]
    fn the_ends_of_all_numbers_are_keys_like_others() {
        let some: ArrayRef = Arc::new(Int64Array::from(vec![i64::MIN, i64::MAX, 0]));
        let rows: ArrayRef = Arc::new(Int64Array::from(vec![i64::MAX, 1, i64::MIN, 0, i64::MIN + 1]));
        let mut draft = Draft::new(&[DataType::Int64]).unwrap();
        draft.add(&[some], 2).unwrap();
        let found = draft.finish().unwrap().younger(&[rows], 1).unwrap();
        assert_eq!(found.iter().collect::<Vec<_>>(), [true, false, true, true, false]);
    }

    #[test]
    fn a_set_without_keys_finds_nothing() {
        let rows: ArrayRef = Arc::new(Int64Array::from(vec![Some(1), None]));
        let set = Draft::new(&[DataType::Int64]).unwrap().finish().unwrap();
        assert_eq!(set.younger(&[rows], 0).unwrap().count_set_bits(), 0);
    }
}
