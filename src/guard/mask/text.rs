//! Masks of texts and bytes: one pass over the values into one new buffer.

use std::sync::Arc;

use datafusion::arrow::array::{Array, ArrayRef, AsArray, BinaryArray, StringArray};
use datafusion::arrow::buffer::{Buffer, OffsetBuffer, ScalarBuffer};
use datafusion::arrow::compute::cast;
use datafusion::arrow::datatypes::DataType;

use super::Failed;
use crate::scrub::fresh;

/// Which characters of a text stay.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) enum Stays {
    Nothing,
    First4,
    Last4,
}

/// What stands for each byte of UTF-8: `n` for a digit, `x` for any other character, and nothing for the later bytes of
/// one; six marks stay. These are the rules of `mask-alphanum` in Iceberg's read restrictions.
const HIDDEN: [Option<u8>; 256] = {
    let mut table = [Some(b'x'); 256];
    let mut byte = 0;
    while byte < table.len() {
        #[allow(
            clippy::indexing_slicing,
            clippy::cast_possible_truncation,
            reason = "evaluated by the compiler, in bounds"
        )]
        match byte as u8 {
            b'0'..=b'9' => table[byte] = Some(b'n'),
            mark @ (b'(' | b')' | b',' | b'.' | b'-' | b'@') => table[byte] = Some(mark),
            0x80..=0xBF => table[byte] = None,
            _ => {}
        }
        byte += 1;
    }
    table
};

/// `mask-alphanum`, `show-first-4` and `show-last-4`.
pub(super) fn redact(array: &ArrayRef, stays: Stays) -> Result<ArrayRef, Failed> {
    rewrite(array, 0, |value, out| {
        let (start, end) = shown(value, stays);
        hide(value.get(..start).unwrap_or_default(), out);
        out.extend_from_slice(value.get(start..end).unwrap_or_default());
        hide(value.get(end..).unwrap_or_default(), out);
    })
}

fn hide(text: &[u8], out: &mut Vec<u8>) {
    out.extend(text.iter().filter_map(|byte| HIDDEN.get(usize::from(*byte)).copied().flatten()));
}

/// From where to where a text is shown. Of four characters or fewer nothing is.
fn shown(text: &[u8], stays: Stays) -> (usize, usize) {
    let starts_one = |byte: &u8| byte & 0b1100_0000 != 0b1000_0000;
    let mut starts = text.iter().enumerate().filter(|(_, byte)| starts_one(byte)).map(|(place, _)| place);
    match stays {
        Stays::Nothing => (0, 0),
        Stays::First4 => starts.nth(4).map_or((0, 0), |end| (0, end)),
        Stays::Last4 => match starts.nth_back(3) {
            Some(start) if start > 0 => (start, text.len()),
            _ => (0, 0),
        },
    }
}

/// Writes each value anew; NULL stays NULL. `each` is the length of one result, where it is known.
pub(super) fn rewrite(array: &ArrayRef, each: usize, write: impl Fn(&[u8], &mut Vec<u8>)) -> Result<ArrayRef, Failed> {
    let kind = array.data_type();
    let (length, nulls) = (array.len(), array.nulls());
    let (offsets, values) = match kind {
        DataType::Utf8 => written(array.as_string::<i32>().iter().map(|v| v.map(str::as_bytes)), each, write),
        DataType::LargeUtf8 => written(array.as_string::<i64>().iter().map(|v| v.map(str::as_bytes)), each, write),
        DataType::Utf8View => written(array.as_string_view().iter().map(|v| v.map(str::as_bytes)), each, write),
        DataType::Binary => written(array.as_binary::<i32>().iter(), each, write),
        DataType::LargeBinary => written(array.as_binary::<i64>().iter(), each, write),
        DataType::BinaryView => written(array.as_binary_view().iter(), each, write),
        _ => return Err(Failed),
    }?;
    debug_assert_eq!(offsets.len(), length + 1);
    let nulls = fresh(nulls);
    let made: ArrayRef = match kind {
        DataType::Utf8 | DataType::LargeUtf8 | DataType::Utf8View => {
            Arc::new(StringArray::try_new(offsets, values, nulls).map_err(|_| Failed)?)
        }
        _ => Arc::new(BinaryArray::try_new(offsets, values, nulls).map_err(|_| Failed)?),
    };
    if made.data_type() == kind { Ok(made) } else { cast(&made, kind).map_err(|_| Failed) }
}

type Written = (OffsetBuffer<i32>, Buffer);

fn written<'a>(
    values: impl ExactSizeIterator<Item = Option<&'a [u8]>>,
    each: usize,
    write: impl Fn(&[u8], &mut Vec<u8>),
) -> Result<Written, Failed> {
    let mut out = Vec::with_capacity(values.len().saturating_mul(each));
    let mut ends = Vec::with_capacity(values.len() + 1);
    ends.push(0);
    for value in values {
        if let Some(value) = value {
            write(value, &mut out);
        }
        ends.push(i32::try_from(out.len()).map_err(|_| Failed)?);
    }
    Ok((OffsetBuffer::new(ScalarBuffer::from(ends)), Buffer::from_vec(out)))
}
