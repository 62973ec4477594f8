//! Iceberg's serialised single values as Arrow arrays of the type that a scan asks for.
//!
//! A value of four bytes in a column of eight was written before the column was promoted. What is not understood
//! becomes null, which says nothing.

use std::sync::Arc;

use datafusion::arrow::array::{
    Array, ArrayRef, BinaryArray, BooleanArray, Decimal128Array, FixedSizeBinaryBuilder, PrimitiveArray, StringArray,
};
use datafusion::arrow::datatypes::{
    ArrowPrimitiveType, DataType, Date32Type, Float32Type, Float64Type, Int32Type, Int64Type, Time64MicrosecondType,
    TimeUnit, TimestampMicrosecondType, TimestampNanosecondType,
};
use datafusion::arrow::error::ArrowError;

pub(super) const MICROS_A_DAY: i64 = 86_400_000_000;
pub(super) const NANOS_A_DAY: i64 = MICROS_A_DAY * 1000;

/// The values as `data_type`; `None` for a type that is not ordered here as Iceberg orders it. A uuid is not, since Java
/// compares its halves as signed numbers, and so have writers done.
pub(super) fn typed(values: &BinaryArray, data_type: &DataType) -> Option<ArrayRef> {
    Some(match data_type {
        DataType::Boolean => Arc::new(each(values, boolean).collect::<BooleanArray>()),
        DataType::Int32 => primitive::<Int32Type>(values, |bytes| i32::try_from(whole(bytes)?).ok()),
        DataType::Int64 => primitive::<Int64Type>(values, whole),
        DataType::Date32 => primitive::<Date32Type>(values, |bytes| i32::try_from(whole(bytes)?).ok()),
        #[allow(clippy::cast_possible_truncation, reason = "partition values of `float` are kept as `double`, exactly")]
        DataType::Float32 => primitive::<Float32Type>(values, |bytes| real(bytes).map(|value| value as f32)),
        DataType::Float64 => primitive::<Float64Type>(values, real),
        DataType::Time64(TimeUnit::Microsecond) => primitive::<Time64MicrosecondType>(values, eight),
        DataType::Timestamp(TimeUnit::Microsecond, zone) => {
            let values = values_of::<TimestampMicrosecondType>(values, |bytes| time(bytes, MICROS_A_DAY));
            Arc::new(values.with_timezone_opt(zone.clone()))
        }
        DataType::Timestamp(TimeUnit::Nanosecond, zone) => {
            let values = values_of::<TimestampNanosecondType>(values, |bytes| time(bytes, NANOS_A_DAY));
            Arc::new(values.with_timezone_opt(zone.clone()))
        }
        DataType::Decimal128(precision, scale) => {
            let values: Decimal128Array = each(values, unscaled).collect();
            Arc::new(values.with_precision_and_scale(*precision, *scale).ok()?)
        }
        DataType::Utf8 => match StringArray::try_from_binary(values.clone()) {
            Ok(texts) => Arc::new(texts),
            Err(_) => Arc::new(each(values, |bytes| std::str::from_utf8(bytes).ok()).collect::<StringArray>()),
        },
        DataType::Binary => Arc::new(values.clone()),
        _ => return None,
    })
}

/// The values of a partition field, which are those of every row: also of types without an order.
pub(super) fn constants(values: &BinaryArray, data_type: &DataType) -> Option<ArrayRef> {
    let DataType::FixedSizeBinary(length) = data_type else { return typed(values, data_type) };
    let mut builder = FixedSizeBinaryBuilder::with_capacity(values.len(), *length);
    for value in values {
        if value.is_none_or(|value| builder.append_value(value).is_err()) {
            builder.append_null();
        }
    }
    Some(Arc::new(builder.finish()))
}

/// Whether a column of this type may hold NaN, which is in no bound.
pub(super) fn is_float(data_type: &DataType) -> bool {
    matches!(data_type, DataType::Float32 | DataType::Float64)
}

fn each<'a, T>(
    values: &'a BinaryArray,
    read: impl Fn(&'a [u8]) -> Option<T> + 'a,
) -> impl Iterator<Item = Option<T>> + 'a {
    values.iter().map(move |bytes| bytes.and_then(&read))
}

fn values_of<T: ArrowPrimitiveType>(
    values: &BinaryArray,
    read: impl Fn(&[u8]) -> Option<T::Native>,
) -> PrimitiveArray<T> {
    values.iter().map(|bytes| bytes.and_then(&read)).collect()
}

fn primitive<T: ArrowPrimitiveType>(values: &BinaryArray, read: impl Fn(&[u8]) -> Option<T::Native>) -> ArrayRef {
    Arc::new(values_of::<T>(values, read))
}

fn boolean(bytes: &[u8]) -> Option<bool> {
    match bytes {
        [byte] => Some(*byte != 0),
        _ => None,
    }
}

fn eight(bytes: &[u8]) -> Option<i64> {
    bytes.try_into().ok().map(i64::from_le_bytes)
}

/// An `int` or a `long`.
pub(super) fn whole(bytes: &[u8]) -> Option<i64> {
    match bytes.try_into() {
        Ok(four) => Some(i64::from(i32::from_le_bytes(four))),
        Err(_) => eight(bytes),
    }
}

/// A `timestamp`, or the `date` that it was.
fn time(bytes: &[u8], day: i64) -> Option<i64> {
    match bytes.try_into() {
        Ok(four) => i64::from(i32::from_le_bytes(four)).checked_mul(day),
        Err(_) => eight(bytes),
    }
}

fn any_real(bytes: &[u8]) -> Option<f64> {
    match bytes.try_into() {
        Ok(four) => Some(f64::from(f32::from_le_bytes(four))),
        Err(_) => bytes.try_into().ok().map(f64::from_le_bytes),
    }
}

/// A number; NaN bounds nothing.
fn real(bytes: &[u8]) -> Option<f64> {
    any_real(bytes).filter(|value| !value.is_nan())
}

/// A decimal's whole number, big end first.
pub(super) fn unscaled(bytes: &[u8]) -> Option<i128> {
    let sign = if bytes.first()? & 0x80 == 0 { 0 } else { 0xff };
    let extra = bytes.len().saturating_sub(16);
    let (over, rest) = bytes.split_at_checked(extra)?;
    let fits = over.iter().all(|byte| *byte == sign) && (over.is_empty() || (rest.first()? ^ sign) & 0x80 == 0);
    let mut all = [sign; 16];
    all.get_mut(16usize.checked_sub(rest.len())?..)?.copy_from_slice(rest);
    fits.then(|| i128::from_be_bytes(all))
}

/// The larger of two lower bounds, or the smaller of two upper ones: where one is unknown, the other.
pub(super) fn tighter(a: &ArrayRef, b: &ArrayRef, larger: bool) -> Result<ArrayRef, ArrowError> {
    use datafusion::arrow::compute::kernels::{cmp, zip};
    let wins = if larger { cmp::gt(b, a) } else { cmp::lt(b, a) }?;
    let take_b: BooleanArray = (0..a.len())
        .map(|row| Some(b.is_valid(row) && (a.is_null(row) || (wins.is_valid(row) && wins.value(row)))))
        .collect();
    zip::zip(&take_b, b, a)
}
