//! Texts and bytes.

use std::sync::Arc;

use datafusion::arrow::array::types::{ByteArrayType, ByteViewType};
use datafusion::arrow::array::{Array, ArrayRef, GenericByteArray, GenericByteViewArray, GenericByteViewBuilder};
use datafusion::arrow::buffer::{Buffer, NullBuffer, OffsetBuffer, ScalarBuffer};
use datafusion::arrow::datatypes::ArrowNativeType;

use super::Fault;

/// The longest value that stands in its view.
const INLINE: usize = 12;

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

/// Views as plain values, one after the other. Arrow's own cast takes twice as long: it builds value by value, and most
/// values are so short that they stand in their views.
pub(super) fn unviewed<V: ByteViewType, T: ByteArrayType<Offset = i32>>(
    array: &GenericByteViewArray<V>,
) -> Result<ArrayRef, Fault> {
    let nulls = array.nulls().filter(|nulls| nulls.null_count() > 0);
    // The lowest four bytes of a view are the length.
    let length = |view: u128| (view & u128::from(u32::MAX)) as usize;
    let mut values = Vec::with_capacity(array.views().iter().map(|view| length(*view)).sum::<usize>() + INLINE);
    let mut offsets = Vec::with_capacity(array.len() + 1);
    offsets.push(0);
    for (row, view) in array.views().iter().enumerate() {
        if nulls.is_none_or(|nulls| nulls.is_valid(row)) {
            let length = length(*view);
            if length <= INLINE {
                let end = values.len() + length;
                let [_, _, _, _, inline @ ..] = view.to_le_bytes();
                // All of them, because a known length is copied at once.
                values.extend_from_slice(&inline);
                values.truncate(end);
            } else {
                let (buffer, start) = ((view >> 64) as u32 as usize, (view >> 96) as usize);
                let buffer = array.data_buffers().get(buffer).ok_or(Fault::Build)?;
                let end = start.checked_add(length).ok_or(Fault::Build)?;
                values.extend_from_slice(buffer.get(start..end).ok_or(Fault::Build)?);
            }
        }
        offsets.push(i32::try_from(values.len()).map_err(|_| Fault::Build)?);
    }
    let offsets = OffsetBuffer::new(ScalarBuffer::from(offsets));
    Ok(Arc::new(GenericByteArray::<T>::try_new(offsets, Buffer::from_vec(values), array.nulls().cloned())?))
}
