//! Arrays without a byte of what they do not show.
//!
//! An arrow array may hold more than its values: bytes under a NULL slot, fields of a struct that is NULL, items of a
//! list that is NULL, texts of rows that a filter took away in buffers that views and dictionaries share, and the bits
//! of neighbours in the last byte of a slice. None of it can be seen in SQL, and all of it can be seen in memory and on
//! the wire.
//!
//! ```text
//! ["shown", NULL under which "secret" lies, "shown too"]  --scrub-->  ["shown", NULL, "shown too"]
//! ```
//!
//! What is tidy already is passed on as it is. This room never changes a value or a type, and knows nobody's grants.

mod bytes;
#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "tests")]
mod tests;

use std::collections::BTreeMap;
use std::sync::Arc;

use datafusion::arrow::array::types::{BinaryType, BinaryViewType, StringViewType, Utf8Type};
use datafusion::arrow::array::{
    Array, ArrayRef, AsArray, BooleanArray, BooleanBufferBuilder, FixedSizeListArray, GenericListArray, MapArray,
    OffsetSizeTrait, PrimitiveArray, StructArray, UInt64Array, UnionArray, make_array,
};
use datafusion::arrow::buffer::{BooleanBuffer, MutableBuffer, NullBuffer, OffsetBuffer};
use datafusion::arrow::compute::{cast, take};
use datafusion::arrow::datatypes::{DataType, FieldRef, UInt64Type, UnionFields, UnionMode};
use datafusion::arrow::error::ArrowError;

/// Why an array could not be scrubbed. It holds no value.
#[derive(Debug, thiserror::Error)]
pub enum Fault {
    /// A type of which nothing is known.
    #[error("values of type `{0}` cannot be cleared of what they hide")]
    Type(DataType),
    /// More than one array can hold, or an array that contradicts itself.
    #[error("an array could not be built anew")]
    Build,
}

impl From<ArrowError> for Fault {
    fn from(_: ArrowError) -> Self {
        // Arrow's own words quote values.
        Self::Build
    }
}

/// The same values, and nothing else, whatever lies around them.
///
/// # Errors
/// When the type is not known, or the values do not fit one array.
pub fn scrub(array: &ArrayRef) -> Result<ArrayRef, Fault> {
    within(array, None)
}

/// The same for the child of a struct whose own NULLs are `outside`: where the struct is NULL, so is the child.
///
/// # Errors
/// The same.
pub fn within(array: &ArrayRef, outside: Option<&NullBuffer>) -> Result<ArrayRef, Fault> {
    let nulls = fresh(NullBuffer::union(array.nulls(), outside).as_ref());
    let kind = array.data_type();
    match kind {
        DataType::Null => Ok(Arc::clone(array)),
        DataType::Boolean => {
            let mut values = bits(array.as_boolean().values());
            if let Some(nulls) = &nulls {
                values = bits(&(&values & nulls.inner()));
            }
            Ok(Arc::new(BooleanArray::new(values, nulls)))
        }
        DataType::Utf8 => bytes::plain(array.as_string::<i32>(), nulls),
        DataType::LargeUtf8 => bytes::plain(array.as_string::<i64>(), nulls),
        DataType::Binary => bytes::plain(array.as_binary::<i32>(), nulls),
        DataType::LargeBinary => bytes::plain(array.as_binary::<i64>(), nulls),
        DataType::Utf8View => bytes::view::<StringViewType>(array.as_string_view(), nulls.as_ref()),
        DataType::BinaryView => bytes::view::<BinaryViewType>(array.as_binary_view(), nulls.as_ref()),
        DataType::FixedSizeBinary(width) => {
            fixed_width(array, usize::try_from(*width).map_err(|_| Fault::Build)?, nulls)
        }
        DataType::Struct(fields) => {
            let columns = array.as_struct().columns().iter().map(|column| within(column, nulls.as_ref()));
            let columns = columns.collect::<Result<Vec<_>, _>>()?;
            Ok(Arc::new(StructArray::try_new_with_length(fields.clone(), columns, nulls, array.len())?))
        }
        DataType::List(item) => list(array.as_list::<i32>(), item, nulls),
        DataType::LargeList(item) => list(array.as_list::<i64>(), item, nulls),
        DataType::FixedSizeList(item, size) => {
            let width = usize::try_from(*size).map_err(|_| Fault::Build)?;
            let hidden = nulls.as_ref().map(|nulls| nulls.expand(width));
            let items = within(array.as_fixed_size_list().values(), hidden.as_ref())?;
            let (item, length) = (Arc::clone(item), array.len());
            Ok(Arc::new(FixedSizeListArray::try_new_with_length(item, *size, items, nulls, length)?))
        }
        DataType::Map(entry, sorted) => {
            let map = array.as_map();
            let entries: ArrayRef = Arc::new(map.entries().clone());
            let (offsets, entries) = compact(map.offsets(), &entries, nulls.as_ref())?;
            let entries = entries.as_struct().clone();
            Ok(Arc::new(MapArray::try_new(Arc::clone(entry), offsets, entries, nulls, *sorted)?))
        }
        // Which values two entries of a dictionary share, and which entries nothing uses, is told by neither.
        DataType::Dictionary(_, values) => {
            let plain = within(&cast(array, values)?, nulls.as_ref())?;
            Ok(cast(&plain, kind)?)
        }
        // A union has no validity of its own, so one that lies under a NULL cannot be emptied.
        DataType::Union(fields, UnionMode::Dense) if outside.is_none() => union(array.as_union(), fields),
        other => match other.primitive_width() {
            Some(width) => fixed_width(array, width, nulls),
            None => Err(Fault::Type(other.clone())),
        },
    }
}

/// The values of a dense union that its rows stand for, in their order, and no others.
fn union(array: &UnionArray, fields: &UnionFields) -> Result<ArrayRef, Fault> {
    let mut rows: BTreeMap<i8, Vec<u64>> = BTreeMap::new();
    let mut offsets = Vec::with_capacity(array.len());
    for (kind, row) in array.type_ids().iter().zip(array.offsets().ok_or(Fault::Build)?) {
        let rows = rows.entry(*kind).or_default();
        offsets.push(i32::try_from(rows.len()).map_err(|_| Fault::Build)?);
        rows.push(u64::try_from(*row).map_err(|_| Fault::Build)?);
    }
    let child = |(kind, _): (i8, &FieldRef)| {
        let rows = UInt64Array::from(rows.get(&kind).cloned().unwrap_or_default());
        scrub(&take(array.child(kind), &rows, None)?)
    };
    let children = fields.iter().map(child).collect::<Result<Vec<_>, _>>()?;
    let kinds = array.type_ids().to_vec().into();
    Ok(Arc::new(UnionArray::try_new(fields.clone(), kinds, Some(offsets.into()), children)?))
}

/// Texts and bytes out of views, as plain arrays of their own; others as they are.
///
/// # Errors
/// When the values do not fit one array.
pub fn unviewed(array: &ArrayRef) -> Result<ArrayRef, Fault> {
    match array.data_type() {
        DataType::Utf8View => bytes::unviewed::<StringViewType, Utf8Type>(array.as_string_view()),
        DataType::BinaryView => bytes::unviewed::<BinaryViewType, BinaryType>(array.as_binary_view()),
        _ => Ok(Arc::clone(array)),
    }
}

/// The same validity in bits of its own, or nothing where all is valid.
pub fn fresh(nulls: Option<&NullBuffer>) -> Option<NullBuffer> {
    let nulls = nulls.filter(|nulls| nulls.null_count() > 0)?;
    let length = nulls.len();
    // What is tidy is kept, so that untouched columns stay cheap.
    let rest = nulls.buffer().as_slice().get(length / 8).copied().unwrap_or_default();
    let tidy = nulls.offset() == 0 && (length % 8 == 0 || rest >> (length % 8) == 0);
    Some(if tidy { nulls.clone() } else { NullBuffer::new(bits(nulls.inner())) })
}

fn bits(source: &BooleanBuffer) -> BooleanBuffer {
    let mut fresh = BooleanBufferBuilder::new(source.len());
    fresh.append_buffer(source);
    fresh.finish()
}

/// Values of so many bytes each.
fn fixed_width(array: &ArrayRef, width: usize, nulls: Option<NullBuffer>) -> Result<ArrayRef, Fault> {
    let data = array.to_data();
    let length = array.len().checked_mul(width).ok_or(Fault::Build)?;
    let start = data.offset().checked_mul(width).ok_or(Fault::Build)?;
    let whole = data.buffers().first().ok_or(Fault::Build)?;
    if nulls.is_none() && array.nulls().is_none() && start == 0 && whole.len() == length {
        return Ok(Arc::clone(array));
    }
    let source = start.checked_add(length).and_then(|end| whole.as_slice().get(start..end)).ok_or(Fault::Build)?;
    let mut values = MutableBuffer::from_len_zeroed(length);
    match &nulls {
        None => values.as_slice_mut().copy_from_slice(source),
        Some(nulls) => {
            for (first, end) in nulls.valid_slices() {
                let run = first * width..end * width;
                if let (Some(to), Some(from)) = (values.as_slice_mut().get_mut(run.clone()), source.get(run)) {
                    to.copy_from_slice(from);
                }
            }
        }
    }
    let made = datafusion::arrow::array::ArrayData::builder(array.data_type().clone()).len(array.len()).nulls(nulls);
    Ok(make_array(made.add_buffer(values.into()).build()?))
}

fn list<O: OffsetSizeTrait>(
    list: &GenericListArray<O>,
    item: &FieldRef,
    nulls: Option<NullBuffer>,
) -> Result<ArrayRef, Fault> {
    let (offsets, items) = compact(list.offsets(), list.values(), nulls.as_ref())?;
    Ok(Arc::new(GenericListArray::try_new(Arc::clone(item), offsets, items, nulls)?))
}

/// The items of the rows that are there, scrubbed and one after the other, and where each row's begin.
fn compact<O: OffsetSizeTrait>(
    offsets: &OffsetBuffer<O>,
    items: &ArrayRef,
    nulls: Option<&NullBuffer>,
) -> Result<(OffsetBuffer<O>, ArrayRef), Fault> {
    let is_null = |row: usize| nulls.is_some_and(|nulls| nulls.is_null(row));
    let ranges = || {
        offsets.windows(2).filter_map(|ends| match ends {
            [start, end] => Some((start.as_usize(), end.as_usize())),
            _ => None,
        })
    };
    let kept = |(row, (start, end)): (usize, (usize, usize))| if is_null(row) { start..start } else { start..end };
    let lengths = ranges().enumerate().map(kept).map(|range| range.len());
    let fresh = OffsetBuffer::<O>::from_lengths(lengths);
    let hides = ranges().enumerate().any(|(row, (start, end))| is_null(row) && end > start);
    let (first, last) = (ranges().next().map_or(0, |(start, _)| start), ranges().last().map_or(0, |(_, end)| end));
    let items = if hides {
        let places: PrimitiveArray<UInt64Type> = UInt64Array::from_iter_values(
            ranges().enumerate().flat_map(kept).map(|place| u64::try_from(place).unwrap_or(u64::MAX)),
        );
        take(items.as_ref(), &places, None)?
    } else {
        items.slice(first, last.saturating_sub(first))
    };
    Ok((fresh, scrub(&items)?))
}
