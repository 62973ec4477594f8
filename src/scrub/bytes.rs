//! Texts and bytes.

use std::sync::Arc;

use datafusion::arrow::array::types::{ByteArrayType, ByteViewType};
use datafusion::arrow::array::{Array, ArrayRef, GenericByteArray, GenericByteViewArray, GenericByteViewBuilder};
use datafusion::arrow::buffer::{Buffer, NullBuffer, OffsetBuffer, ScalarBuffer};
use datafusion::arrow::datatypes::ArrowNativeType;

use super::Fault;

/// With offsets. It is passed on where each byte belongs to a value that is there.
pub(super) fn plain<T: ByteArrayType>(
    array: &GenericByteArray<T>,
    nulls: Option<NullBuffer>,
) -> Result<ArrayRef, Fault> {
    let offsets = array.value_offsets();
    let ends = (offsets.first().map(|end| end.as_usize()), offsets.last().map(|end| end.as_usize()));
    let whole = ends == (Some(0), Some(array.value_data().len()));
    let same = match (&nulls, array.nulls()) {
        (None, None) => true,
        (Some(fresh), Some(own)) => fresh.inner().ptr_eq(own.inner()),
        _ => false,
    };
    let length = |row: usize| match (offsets.get(row), offsets.get(row + 1)) {
        (Some(start), Some(end)) => end.as_usize().saturating_sub(start.as_usize()),
        _ => 0,
    };
    let hides = nulls.as_ref().is_some_and(|nulls| (!nulls.inner()).set_indices().any(|row| length(row) > 0));
    if whole && same && !hides {
        return Ok(Arc::new(array.clone()));
    }
    let shown = |row: &usize| nulls.as_ref().is_none_or(|nulls| nulls.is_valid(*row));
    let size: usize = (0..array.len()).filter(shown).map(length).sum();
    let mut values = Vec::with_capacity(size);
    let mut fresh = Vec::with_capacity(array.len() + 1);
    fresh.push(T::Offset::usize_as(0));
    for row in 0..array.len() {
        if shown(&row) {
            let value: &[u8] = array.value(row).as_ref();
            values.extend_from_slice(value);
        }
        // No more than the source holds, so it fits.
        fresh.push(T::Offset::usize_as(values.len()));
    }
    let offsets = OffsetBuffer::new(ScalarBuffer::from(fresh));
    Ok(Arc::new(GenericByteArray::<T>::try_new(offsets, Buffer::from_vec(values), nulls)?))
}

/// Views, whose buffers are shared with whatever they were cut from.
pub(super) fn view<T: ByteViewType>(
    array: &GenericByteViewArray<T>,
    nulls: Option<&NullBuffer>,
) -> Result<ArrayRef, Fault> {
    let mut fresh = GenericByteViewBuilder::<T>::with_capacity(array.len());
    for row in 0..array.len() {
        if nulls.is_none_or(|nulls| nulls.is_valid(row)) {
            fresh.try_append_value(array.value(row))?;
        } else {
            fresh.append_null();
        }
    }
    Ok(Arc::new(fresh.finish()))
}
