//! Arrow columns from functions of a row number.

use std::ops::Range;
use std::sync::Arc;

use arrow::array::{
    ArrayRef, BooleanArray, Date32Array, Decimal128Array, Float64Array, Int32Array, Int64Array, StringArray,
    TimestampMicrosecondArray,
};
use arrow::error::ArrowError;

pub fn longs(rows: &Range<u64>, f: impl Fn(u64) -> u64) -> ArrayRef {
    Arc::new(Int64Array::from_iter_values(rows.clone().map(|row| f(row).cast_signed())))
}

pub fn ints(rows: &Range<u64>, f: impl Fn(u64) -> u64) -> ArrayRef {
    Arc::new(Int32Array::from_iter_values(rows.clone().map(|row| i32::try_from(f(row)).unwrap_or(i32::MAX))))
}

pub fn doubles(rows: &Range<u64>, f: impl Fn(u64) -> f64) -> ArrayRef {
    Arc::new(Float64Array::from_iter_values(rows.clone().map(f)))
}

pub fn flags(rows: &Range<u64>, f: impl Fn(u64) -> bool) -> ArrayRef {
    Arc::new(rows.clone().map(|row| Some(f(row))).collect::<BooleanArray>())
}

pub fn texts<T: AsRef<str>>(rows: &Range<u64>, f: impl Fn(u64) -> T) -> ArrayRef {
    Arc::new(StringArray::from_iter_values(rows.clone().map(f)))
}

pub fn some_texts<T: AsRef<str>>(rows: &Range<u64>, f: impl Fn(u64) -> Option<T>) -> ArrayRef {
    Arc::new(rows.clone().map(f).collect::<StringArray>())
}

/// Days since 1970.
pub fn days(rows: &Range<u64>, f: impl Fn(u64) -> i32) -> ArrayRef {
    Arc::new(Date32Array::from_iter_values(rows.clone().map(f)))
}

/// Instants in UTC, from milliseconds since 1970.
pub fn instants(rows: &Range<u64>, f: impl Fn(u64) -> i64) -> ArrayRef {
    Arc::new(
        TimestampMicrosecondArray::from_iter_values(rows.clone().map(|row| f(row) * 1_000)).with_timezone("+00:00"),
    )
}

pub fn some_instants(rows: &Range<u64>, f: impl Fn(u64) -> Option<i64>) -> ArrayRef {
    let values = rows.clone().map(|row| f(row).map(|milli| milli * 1_000));
    Arc::new(values.collect::<TimestampMicrosecondArray>().with_timezone("+00:00"))
}

/// Amounts of money, `decimal(12,2)`, from cents.
pub fn money(rows: &Range<u64>, f: impl Fn(u64) -> u64) -> Result<ArrayRef, ArrowError> {
    let cents = Decimal128Array::from_iter_values(rows.clone().map(|row| i128::from(f(row))));
    Ok(Arc::new(cents.with_precision_and_scale(12, 2)?))
}

pub fn some_money(rows: &Range<u64>, f: impl Fn(u64) -> Option<u64>) -> Result<ArrayRef, ArrowError> {
    let cents = rows.clone().map(|row| f(row).map(i128::from)).collect::<Decimal128Array>();
    Ok(Arc::new(cents.with_precision_and_scale(12, 2)?))
}
