//! `mask-to-fixed-value`: the one value that stands for all others, NULL included.

use datafusion::arrow::compute::{CastOptions, cast_with_options};
use datafusion::arrow::datatypes::DataType;
use datafusion::scalar::ScalarValue;

/// The value that a policy writes as `text`, or the one that Iceberg's read restrictions set for the type. `None` where
/// there is no such value of the type.
pub(super) fn value(text: Option<&str>, kind: &DataType) -> Option<ScalarValue> {
    use ScalarValue as S;
    Some(match (text, kind) {
        (text, DataType::Utf8) => S::Utf8(Some(text.unwrap_or("XXXXXXXX").to_owned())),
        (text, DataType::LargeUtf8) => S::LargeUtf8(Some(text.unwrap_or("XXXXXXXX").to_owned())),
        (text, DataType::Utf8View) => S::Utf8View(Some(text.unwrap_or("XXXXXXXX").to_owned())),
        (None, DataType::Binary) => S::Binary(Some(Vec::new())),
        (None, DataType::LargeBinary) => S::LargeBinary(Some(Vec::new())),
        (None, DataType::BinaryView) => S::BinaryView(Some(Vec::new())),
        (None, DataType::FixedSizeBinary(width)) => {
            S::FixedSizeBinary(*width, Some(vec![0; usize::try_from(*width).ok()?]))
        }
        (Some(text), DataType::FixedSizeBinary(16)) => S::FixedSizeBinary(16, Some(uuid(text)?)),
        (text, DataType::Boolean) => S::Boolean(Some(text.map_or(Ok(false), str::parse).ok()?)),
        (text, DataType::Int32) => S::Int32(Some(text.map_or(Ok(0), str::parse).ok()?)),
        (text, DataType::Int64) => S::Int64(Some(text.map_or(Ok(0), str::parse).ok()?)),
        (text, DataType::Float32) => S::Float32(Some(text.map_or(Ok(0.0), str::parse).ok()?)),
        (text, DataType::Float64) => S::Float64(Some(text.map_or(Ok(0.0), str::parse).ok()?)),
        (text, DataType::Decimal128(..)) => read(text.unwrap_or("0"), kind)?,
        (text, DataType::Date32) => read(text.unwrap_or("1970-01-01"), kind)?,
        (text, DataType::Time64(_)) => read(text.unwrap_or("00:00:00"), kind)?,
        (text, DataType::Timestamp(..)) => read(text.unwrap_or("1970-01-01T00:00:00"), kind)?,
        _ => return None,
    })
}

fn read(text: &str, kind: &DataType) -> Option<ScalarValue> {
    let strict = CastOptions { safe: false, ..CastOptions::default() };
    let array = ScalarValue::from(text).to_array().ok()?;
    ScalarValue::try_from_array(&cast_with_options(&array, kind, &strict).ok()?, 0).ok()
}

fn uuid(text: &str) -> Option<Vec<u8>> {
    uuid::Uuid::parse_str(text).ok().map(|uuid| uuid.as_bytes().to_vec())
}
