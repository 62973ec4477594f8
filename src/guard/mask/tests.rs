//! Each mask on each type: what it gives, that it never fails, and that nothing raw is left.

mod kernels;
mod leaks;
mod plans;

use std::sync::Arc;

use datafusion::arrow::array::types::{
    Date32Type, Decimal128Type, Float32Type, Float64Type, Int32Type, Int64Type, Time64MicrosecondType,
    TimestampMicrosecondType, TimestampNanosecondType,
};
use datafusion::arrow::array::{
    ArrayRef, ArrowPrimitiveType, BinaryArray, BooleanArray, FixedSizeBinaryArray, PrimitiveArray, StringArray,
};
use datafusion::arrow::datatypes::DataType;
use polder_catalog::contract::PhysicalType;
use polder_catalog::policy::{Mask, Width};
use polder_catalog::secret::Secret;

use super::*;

/// What no plan and no message may show.
const SECRET: &str = "the-key-that-nobody-sees";

fn keys() -> Keys {
    Keys::new([("pii", &Secret::new(SECRET))])
}

/// Each kind of mask, some with several arguments.
fn masks() -> Vec<Mask> {
    let width = |unscaled, scale| Mask::Bucket(Width { unscaled, scale });
    let fixed = [
        "x",
        "true",
        "7",
        "-3000000000",
        "0.5",
        "999.99",
        "2024-02-29",
        "12:34:56",
        "12:34:56.789",
        "2024-02-29T12:00:00.5",
        "2024-02-29 12:00:00",
        "2024-02-29T12:00:00+01:00",
        "2024-02-29T12:00:00Z",
        "9000-01-01T00:00:00",
        "0000-01-01",
        "0000-01-01T00:00:00",
        "123e4567-e89b-12d3-a456-426614174000",
        "",
    ];
    let mut masks = vec![
        Mask::Null,
        Mask::Fixed(None),
        Mask::Sha256QueryLocal,
        Mask::Hmac("pii".into()),
        Mask::Sha256Global,
        width(10, 0),
        width(5, 1),
        width(1, 3),
        width(3_000_000_000, 0),
        width(1_000_003, 0),
        Mask::Year,
        Mask::Month,
        Mask::Alphanum,
        Mask::Last4,
        Mask::First4,
    ];
    masks.extend(fixed.map(|value| Mask::Fixed(Some(value.to_owned()))));
    masks
}

fn numbers<T: ArrowPrimitiveType>(kind: DataType, values: Vec<T::Native>) -> ArrayRef {
    Arc::new(PrimitiveArray::<T>::from_iter_values(values).with_data_type(kind))
}

/// Every Iceberg type that arrives as an array of its own, with values that occur nowhere else and the ends of the type.
fn types() -> Vec<(PhysicalType, ArrayRef)> {
    use PhysicalType as P;
    let ints = || (0..24).map(|row| 0x5EC2_A100 + row);
    let longs = || ints().map(|int| i64::from(int) << 24 | 0x00B7_93D1);
    let ends = |values: Vec<i64>| values.into_iter().chain([i64::MIN, i64::MAX, 0, -1]).collect::<Vec<i64>>();
    let stamp = |unit, zone: Option<&str>| DataType::Timestamp(unit, zone.map(Into::into));
    let (micro, nano) =
        (datafusion::arrow::datatypes::TimeUnit::Microsecond, datafusion::arrow::datatypes::TimeUnit::Nanosecond);
    let micros = || ends((0..24).map(|row| 1_700_000_012_345_678 + row * 99_999_999_999).collect());
    let nanos = || ends((0..24).map(|row| 1_700_000_012_345_678_912 + row * 9_999_999_999_999_999).collect());
    let texts: Vec<String> = (0..24).map(|row| format!("RÄW-{row:02}-tøken of a text that is long")).collect();
    let short = ["", "a", "abcd", "(1)@", "日本語字", "日本語字五", "\u{10FFFF}1234"];
    let texts = || texts.iter().map(String::as_str).chain(short);
    let bytes = || texts().map(|text| [text.as_bytes(), &[0xFF, 0]].concat());
    let sixteen = || texts().map(|text| <[u8; 16]>::try_from(&format!("{text:>16}").as_bytes()[..16]).unwrap());
    let floats =
        || ints().map(|int| f64::from(int) * 1.000_001).chain([f64::MAX, f64::MIN, f64::NAN, f64::INFINITY, -0.0]);
    #[allow(clippy::cast_possible_truncation, reason = "any value will do")]
    let singles = || floats().map(|float| float as f32);
    let decimals = || ints().map(i128::from).chain([9_999_999_999, -9_999_999_999, 0, -1]);
    let widest = || decimals().chain([10_i128.pow(38) - 1, 1 - 10_i128.pow(38)]);
    let decimal = |precision: u8, scale: i8| DataType::Decimal128(precision, scale);
    let wide = |precision, scale| P::Decimal { precision, scale };
    vec![
        (P::Boolean, Arc::new(BooleanArray::from((0..24).map(|row| row % 2 == 0).collect::<Vec<_>>()))),
        (P::Int, numbers::<Int32Type>(DataType::Int32, ints().chain([i32::MIN, i32::MAX, 0, -1]).collect())),
        (P::Long, numbers::<Int64Type>(DataType::Int64, ends(longs().collect()))),
        (P::Float, numbers::<Float32Type>(DataType::Float32, singles().collect())),
        (P::Double, numbers::<Float64Type>(DataType::Float64, floats().collect())),
        (wide(10, 2), numbers::<Decimal128Type>(decimal(10, 2), decimals().collect())),
        (wide(10, 0), numbers::<Decimal128Type>(decimal(10, 0), decimals().collect())),
        (wide(38, 10), numbers::<Decimal128Type>(decimal(38, 10), widest().collect())),
        (
            P::Date,
            numbers::<Date32Type>(
                DataType::Date32,
                (0..24).map(|row| 19_777 + row * 1_461).chain([i32::MIN, i32::MAX, 0, -1]).collect(),
            ),
        ),
        (
            P::Time,
            numbers::<Time64MicrosecondType>(
                DataType::Time64(micro),
                (0..24).map(|row| 3_601_234_567 + row * 999_999_937).collect(),
            ),
        ),
        (P::Timestamp, numbers::<TimestampMicrosecondType>(stamp(micro, None), micros())),
        (P::Timestamptz, numbers::<TimestampMicrosecondType>(stamp(micro, Some("UTC")), micros())),
        (P::TimestampNs, numbers::<TimestampNanosecondType>(stamp(nano, None), nanos())),
        (P::TimestamptzNs, numbers::<TimestampNanosecondType>(stamp(nano, Some("UTC")), nanos())),
        (P::String, Arc::new(StringArray::from_iter_values(texts()))),
        (P::Uuid, Arc::new(FixedSizeBinaryArray::try_from_iter(sixteen()).unwrap())),
        (
            P::Fixed(4),
            Arc::new(FixedSizeBinaryArray::try_from_iter(sixteen().map(|v| [v[7], v[4], v[5], v[6]])).unwrap()),
        ),
        (P::Binary, Arc::new(BinaryArray::from_iter_values(bytes()))),
    ]
}
