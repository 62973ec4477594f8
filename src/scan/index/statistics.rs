//! What is known about the columns of chosen files: each file's own facts, and those of all together.
//!
//! Facts are exact or they are not: bounds of text and bytes may be cut, those of floats leave out NaN. The value of a
//! partition is that of every row, so it is exact in every type.
//!
//! NaN is above all numbers here. So where there may be some, nothing is known of the highest value, but a file has no
//! value below its lower bound, and none that equals a number beyond its upper one.

use std::collections::hash_map::Entry;
use std::sync::{Arc, PoisonError};

use datafusion::arrow::array::{Array, ArrayRef, AsArray, BinaryArray, BooleanArray, UInt64Array, new_null_array};
use datafusion::arrow::compute::{SortOptions, cast, concat, filter, nullif, sort_to_indices, take};
use datafusion::arrow::datatypes::{DataType, Float32Type, Float64Type, Int64Type, UInt64Type};
use datafusion::arrow::error::ArrowError;
use datafusion::common::stats::Precision;
use datafusion::common::{ColumnStatistics, Result, ScalarValue, Statistics};
use iceberg::spec::Transform;

use super::manifest::Stored;
use super::transform::{interval, keeps_nulls};
use super::values::{constants, is_float, tighter, typed};
use super::{Asked, Chosen, Part};
use crate::scan::entry::{DataFile, Known};

/// One column of some files; all arrays have a place for each.
#[derive(Debug)]
pub(super) struct Facts {
    pub(super) min: ArrayRef,
    pub(super) max: ArrayRef,
    /// Of floats: what no number is above.
    top: Option<ArrayRef>,
    /// How many nulls; null where that is not known.
    pub(super) nulls: ArrayRef,
    /// Whether there may be NaN.
    nan: BooleanArray,
    /// Whether all rows have the partition's value, which is `min` and `max`, or null.
    constant: BooleanArray,
}

/// Fields with ids beyond this are Iceberg's own and no column of a table.
const RESERVED: i32 = i32::MAX - 200;

/// What facts are for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Purpose {
    /// Telling what there may be: intervals of partitions count too.
    Pruning,
    /// Telling what there is.
    Statistics,
}

fn of_rows<T: Array + Clone + 'static>(part: &Part<'_>, array: &T) -> std::result::Result<T, ArrowError> {
    match &part.rows {
        None => Ok(array.clone()),
        Some(rows) => {
            let taken = take(array, rows, None)?;
            let taken = taken.as_any().downcast_ref::<T>();
            taken.cloned().ok_or_else(|| ArrowError::ComputeError("rows changed their type".into()))
        }
    }
}

impl Facts {
    fn unknown(len: usize, of: &DataType) -> Self {
        Self {
            min: new_null_array(of, len),
            max: new_null_array(of, len),
            top: is_float(of).then(|| new_null_array(of, len)),
            nulls: new_null_array(&DataType::UInt64, len),
            nan: vec![is_float(of); len].into(),
            constant: vec![false; len].into(),
        }
    }

    fn of_part(part: &Part<'_>, field: i32, of: &DataType, purpose: Purpose) -> std::result::Result<Self, ArrowError> {
        let mut facts = Self::unknown(part.len(), of);
        // What a file holds of row lineage is not what its rows have.
        if of.is_nested() || field > RESERVED {
            return Ok(facts);
        }
        if let Some(stored) = part.manifest.columns.get(&field) {
            facts.bounds(part, stored, of, purpose)?;
        }
        for (place, partition) in part.manifest.spec.fields().iter().enumerate() {
            let Some(values) = part.manifest.partition.get(place) else { continue };
            if partition.source_id != field {
                continue;
            }
            let values = of_rows(part, values)?;
            match (partition.transform, purpose) {
                (Transform::Identity, _) => facts.constants(part, &values, of)?,
                (transform, Purpose::Pruning) if keeps_nulls(transform) => {
                    if facts.nulls.null_count() > 0 {
                        facts.partition_nulls(part, &values)?;
                    }
                    // Bounds are within the interval of their partition.
                    let is_open = facts.min.null_count() > 0 || facts.max.null_count() > 0;
                    if is_open && let Some((low, high)) = interval(transform, &values, of) {
                        facts.min = tighter(&facts.min, &low, true)?;
                        facts.max = tighter(&facts.max, &high, false)?;
                    }
                }
                _ => {}
            }
        }
        Ok(facts)
    }

    /// What nothing but NaN is above.
    pub(super) fn top(&self) -> &ArrayRef {
        self.top.as_ref().unwrap_or(&self.max)
    }

    fn bounds(
        &mut self,
        part: &Part<'_>,
        stored: &Stored,
        of: &DataType,
        purpose: Purpose,
    ) -> std::result::Result<(), ArrowError> {
        if let Some(nulls) = &stored.nulls {
            self.nulls = Arc::new(of_rows(part, nulls)?);
        }
        if is_float(of) {
            let nans = stored.nans.as_ref().map(|nans| of_rows(part, nans)).transpose()?;
            let may = |row: usize| nans.as_ref().is_none_or(|nans| nans.is_null(row) || nans.value(row) != 0);
            self.nan = (0..part.len()).map(|row| Some(may(row))).collect();
        }
        let read = |bound: &Option<BinaryArray>, side| -> std::result::Result<Option<ArrayRef>, ArrowError> {
            let Some(bound) = bound else { return Ok(None) };
            Ok(typed(&of_rows(part, bound)?, of).map(|bound| around_zero(bound, side)))
        };
        // Bounds leave NaN out, so that one is the highest value only where there is none.
        let where_no_nan = |bound: ArrayRef| nullif(&bound, &self.nan);
        let (lower, upper) = (read(&stored.lower, -0.0)?, read(&stored.upper, 0.0)?);
        let min = match purpose {
            Purpose::Pruning => lower,
            Purpose::Statistics => lower.map(where_no_nan).transpose()?,
        };
        let max = upper.clone().map(where_no_nan).transpose()?;
        self.min = min.unwrap_or_else(|| Arc::clone(&self.min));
        self.max = max.unwrap_or_else(|| Arc::clone(&self.max));
        self.top = upper.filter(|_| is_float(of)).or_else(|| self.top.take());
        Ok(())
    }

    /// The value of a partition is that of every row. NaN is left to the bounds.
    fn constants(
        &mut self,
        part: &Part<'_>,
        values: &BinaryArray,
        of: &DataType,
    ) -> std::result::Result<(), ArrowError> {
        let Some(found) = constants(values, of) else { return Ok(()) };
        let is_constant = |row: usize| values.is_null(row) || found.is_valid(row);
        self.constant = (0..values.len()).map(|row| Some(is_constant(row))).collect();
        self.min = datafusion::arrow::compute::kernels::zip::zip(&self.constant, &found, &self.min)?;
        self.max = datafusion::arrow::compute::kernels::zip::zip(&self.constant, &found, &self.max)?;
        if let Some(top) = &mut self.top {
            *top = datafusion::arrow::compute::kernels::zip::zip(&self.constant, &found, top)?;
        }
        self.nan =
            self.nan.iter().zip(&self.constant).map(|(nan, constant)| Some(nan? && constant != Some(true))).collect();
        self.partition_nulls(part, values)
    }

    /// Every transform of null is null, and nothing else is.
    fn partition_nulls(&mut self, part: &Part<'_>, values: &BinaryArray) -> std::result::Result<(), ArrowError> {
        let rows = of_rows(part, &part.manifest.rows)?;
        let nulls = (0..values.len()).map(|row| if values.is_null(row) { rows.value(row) } else { 0 });
        self.nulls = Arc::new(UInt64Array::from_iter_values(nulls));
        Ok(())
    }

    fn together(parts: &[Self]) -> std::result::Result<Self, ArrowError> {
        let all = |pick: fn(&Self) -> &dyn Array| concat(&parts.iter().map(pick).collect::<Vec<_>>());
        let tops: Option<Vec<&dyn Array>> = parts.iter().map(|facts| facts.top.as_deref()).collect();
        Ok(Self {
            min: all(|facts| facts.min.as_ref())?,
            max: all(|facts| facts.max.as_ref())?,
            top: tops.map(|tops| concat(&tops)).transpose()?,
            nulls: all(|facts| facts.nulls.as_ref())?,
            nan: all(|facts| &facts.nan)?.as_boolean().clone(),
            constant: all(|facts| &facts.constant)?.as_boolean().clone(),
        })
    }

    fn null_count(&self, row: usize) -> Option<u64> {
        let nulls = self.nulls.as_primitive_opt::<UInt64Type>()?;
        nulls.is_valid(row).then(|| nulls.value(row))
    }

    fn known(&self, row: usize, of: &DataType) -> Result<Known> {
        let value = |array: &ArrayRef| match array.is_valid(row) {
            true => ScalarValue::try_from_array(array, row).map(Some),
            false => Ok(None),
        };
        let constant = self.constant.value(row);
        Ok(Known {
            min: value(&self.min)?,
            max: value(&self.max)?,
            nulls: self.null_count(row),
            exact: constant || is_exact(of),
            constant,
        })
    }

    /// The facts about all files as one. Files without a value have no say in the bounds.
    fn merged(&self, rows: &UInt64Array, of: &DataType) -> Result<ColumnStatistics> {
        let nulls: Option<u64> =
            (0..rows.len()).map(|row| self.null_count(row)).try_fold(0u64, |sum, n| sum.checked_add(n?));
        let has_values: BooleanArray =
            (0..rows.len()).map(|row| Some(self.null_count(row) != Some(rows.value(row)))).collect();
        let is_known = |array: &ArrayRef| (0..rows.len()).all(|row| !has_values.value(row) || array.is_valid(row));
        let exact = is_exact(of) || (0..rows.len()).all(|row| !has_values.value(row) || self.constant.value(row));
        let first = |array: &ArrayRef, descending: bool| -> Result<Precision<ScalarValue>> {
            if !is_known(array) || has_values.true_count() == 0 {
                return Ok(Precision::Absent);
            }
            let array = filter(array, &has_values)?;
            let order = SortOptions { descending, nulls_first: false };
            let place = usize::try_from(sort_to_indices(&array, Some(order), Some(1))?.value(0)).unwrap_or_default();
            let value = ScalarValue::try_from_array(&array, place)?;
            Ok(if exact { Precision::Exact(value) } else { Precision::Inexact(value) })
        };
        let (mut min_value, mut max_value) = (first(&self.min, false)?, first(&self.max, true)?);
        // DataFusion 54 counts the values from one bound to the other in 64 bits, and fails on all of them.
        let distance = max_value.get_value().zip(min_value.get_value()).and_then(|(max, min)| max.distance(min));
        if distance == Some(usize::MAX) {
            (min_value, max_value) = (Precision::Absent, Precision::Absent);
        }
        Ok(ColumnStatistics {
            null_count: nulls.and_then(|n| usize::try_from(n).ok()).map_or(Precision::Absent, Precision::Exact),
            min_value,
            max_value,
            ..ColumnStatistics::new_unknown()
        })
    }
}

/// A bound of floats that is zero is the zero on its own side: one that a writer takes for the same as the other may be
/// either, and here they differ.
fn around_zero(bound: ArrayRef, zero: f64) -> ArrayRef {
    if let Some(bound) = bound.as_primitive_opt::<Float64Type>() {
        return Arc::new(bound.unary::<_, Float64Type>(|value| if value == 0.0 { zero } else { value }));
    }
    match bound.as_primitive_opt::<Float32Type>() {
        #[allow(clippy::cast_possible_truncation, reason = "zero is zero")]
        Some(bound) => Arc::new(bound.unary::<_, Float32Type>(|value| if value == 0.0 { zero as f32 } else { value })),
        None => bound,
    }
}

/// Whether the bounds of a column are values that are there.
fn is_exact(of: &DataType) -> bool {
    !is_float(of) && !matches!(of, DataType::Utf8 | DataType::Binary | DataType::FixedSizeBinary(_))
}

/// How values lie between their bounds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::scan) struct Occupied {
    /// Rows with a value.
    pub(in crate::scan) rows: u64,
    /// The values that there are from the least to the greatest.
    pub(in crate::scan) span: u64,
    /// Whether some value must stand more than once: all together, or a file, have more rows than values between their
    /// bounds.
    pub(in crate::scan) crowded: bool,
}

impl Chosen<'_> {
    /// What is known about one column.
    pub(super) fn facts(&self, field: i32, of: &DataType, purpose: Purpose) -> Result<Facts> {
        let parts = self.parts.iter().map(|part| Facts::of_part(part, field, of, purpose));
        let parts = parts.collect::<std::result::Result<Vec<_>, _>>()?;
        match parts.is_empty() {
            true => Ok(Facts::unknown(0, of)),
            false => Ok(Facts::together(&parts)?),
        }
    }

    /// What there is in one column.
    fn told(&self, field: i32, of: &DataType) -> Result<Arc<Facts>> {
        let mut told = self.told.lock().unwrap_or_else(PoisonError::into_inner);
        Ok(match told.entry((field, of.clone())) {
            Entry::Occupied(known) => Arc::clone(known.get()),
            Entry::Vacant(place) => Arc::clone(place.insert(Arc::new(self.facts(field, of, Purpose::Statistics)?))),
        })
    }

    pub(super) fn row_counts(&self) -> Result<UInt64Array> {
        let parts: Vec<UInt64Array> =
            self.parts.iter().map(|part| of_rows(part, &part.manifest.rows)).collect::<std::result::Result<_, _>>()?;
        Ok(UInt64Array::from_iter_values(parts.iter().flat_map(|rows| rows.values().iter().copied())))
    }

    /// What a column takes in memory, or in its files where that depends on its values.
    fn byte_size(&self, field: i32, of: &DataType, rows: Precision<usize>) -> Precision<usize> {
        let size = match (of.primitive_width(), rows.get_value()) {
            (Some(width), Some(rows)) => rows.checked_mul(width),
            _ => usize::try_from(self.column_bytes(field)).ok().filter(|size| *size > 0),
        };
        size.map_or(Precision::Absent, Precision::Inexact)
    }

    /// For each file one entry for each column of the scan.
    pub(super) fn known(&self, asked: &Asked<'_>, needed: &[usize]) -> Result<Vec<Vec<Known>>> {
        let mut all = vec![vec![Known::default(); asked.ids.len()]; self.len()];
        for column in needed {
            let Some((field, of)) = asked.get(*column) else { continue };
            let facts = self.told(field, of)?;
            for (row, file) in all.iter_mut().enumerate() {
                if let Some(known) = file.get_mut(*column) {
                    *known = facts.known(row, of)?;
                    known.min = known.min.take().map(|value| asked.seen(*column, value));
                    known.max = known.max.take().map(|value| asked.seen(*column, value));
                }
            }
        }
        Ok(all)
    }

    /// The statistics of all files together, of the columns in `needed`. The size of all is left out, as DataFusion leaves
    /// it out for Parquet files: it would decide by it which side of a join to hold, and by rows it decides better.
    pub(in crate::scan) fn statistics(&self, asked: &Asked<'_>, needed: &[usize]) -> Result<Statistics> {
        let rows = self.row_counts()?;
        let count = rows.values().iter().try_fold(0u64, |sum, rows| sum.checked_add(*rows));
        let mut statistics = Statistics::new_unknown(asked.schema);
        statistics.num_rows =
            count.and_then(|count| usize::try_from(count).ok()).map_or(Precision::Absent, Precision::Exact);
        if self.is_empty() {
            return Ok(statistics);
        }
        for column in needed {
            let (Some((field, of)), Some(into)) = (asked.get(*column), statistics.column_statistics.get_mut(*column))
            else {
                continue;
            };
            *into = self.told(field, of)?.merged(&rows, of)?;
            into.min_value = into.min_value.clone().map(|value| asked.seen(*column, value));
            into.max_value = into.max_value.clone().map(|value| asked.seen(*column, value));
            into.byte_size = self.byte_size(field, of, statistics.num_rows);
        }
        Ok(statistics)
    }

    /// How the values of a column of numbers or days lie between its bounds, if all files tell.
    pub(in crate::scan) fn occupied(&self, asked: &Asked<'_>, column: usize) -> Result<Option<Occupied>> {
        let Some((field, of)) = asked.get(column).filter(|(_, of)| of.is_integer() || **of == DataType::Date32) else {
            return Ok(None);
        };
        let (facts, rows) = (self.told(field, of)?, self.row_counts()?);
        let (min, max) = (cast(&facts.min, &DataType::Int64)?, cast(&facts.max, &DataType::Int64)?);
        let (min, max) = (min.as_primitive::<Int64Type>(), max.as_primitive::<Int64Type>());
        let mut all: Option<(i64, i64)> = None;
        let mut found = Occupied { rows: 0, span: 0, crowded: false };
        let span = |(low, high): (i64, i64)| high.abs_diff(low).saturating_add(1);
        for (row, rows) in rows.values().iter().enumerate() {
            let Some(rows) = facts.null_count(row).map(|nulls| rows.saturating_sub(nulls)) else { return Ok(None) };
            if rows == 0 {
                continue;
            }
            if min.is_null(row) || max.is_null(row) {
                return Ok(None);
            }
            let (low, high) = (min.value(row), max.value(row));
            found.rows = found.rows.saturating_add(rows);
            found.crowded |= rows > span((low, high));
            all = Some(all.map_or((low, high), |(least, most)| (least.min(low), most.max(high))));
        }
        let Some(all) = all else { return Ok(None) };
        found.span = span(all);
        found.crowded |= found.rows > found.span;
        Ok(Some(found))
    }

    /// The columns among `needed` that may hold NaN. Parquet's own statistics leave NaN out, DataFusion prunes by them all
    /// the same, and would lose rows that its own comparison keeps.
    pub(in crate::scan) fn may_hold_nan(&self, asked: &Asked<'_>, needed: &[usize]) -> Result<Vec<usize>> {
        let mut found = Vec::new();
        for column in needed {
            let Some((field, of)) = asked.get(*column) else { continue };
            if is_float(of) && self.told(field, of)?.nan.true_count() > 0 {
                found.push(*column);
            }
        }
        Ok(found)
    }
}

impl DataFile {
    /// What DataFusion may believe about this file's first `columns`. The value of a partition is the column's even where nothing else is
    /// exact: the file need not have the column.
    pub(in crate::scan) fn statistics(&self, columns: usize) -> Statistics {
        let column = |known: &Known| {
            let value = |value: &Option<ScalarValue>| match value {
                Some(value) if known.constant || known.exact => Precision::Exact(value.clone()),
                Some(value) => Precision::Inexact(value.clone()),
                None => Precision::Absent,
            };
            let nulls = known.nulls.and_then(|n| usize::try_from(n).ok()).map_or(Precision::Absent, Precision::Exact);
            ColumnStatistics {
                null_count: nulls,
                min_value: value(&known.min),
                max_value: value(&known.max),
                ..ColumnStatistics::new_unknown()
            }
        };
        Statistics {
            num_rows: usize::try_from(self.rows).map_or(Precision::Absent, Precision::Exact),
            total_byte_size: Precision::Absent,
            column_statistics: self.columns.iter().take(columns).map(column).collect(),
        }
    }
}
