//! Default values as table metadata writes them: the specification's JSON for single values.
//!
//! A default that does not read exactly as a value of its type is none, and its column is refused: NULL in its place would
//! be a wrong answer.

use std::sync::Arc;

use datafusion::arrow::array::StructArray;
use datafusion::arrow::datatypes::{DataType, TimeUnit};
use datafusion::common::ScalarValue;
use serde_json::Value;

use super::columns::Wanted;

/// The value of a column of `data_type` that `json` stands for.
pub(super) fn value(json: &Value, data_type: &DataType) -> Option<ScalarValue> {
    match (data_type, json) {
        (DataType::Boolean, Value::Bool(value)) => Some(ScalarValue::Boolean(Some(*value))),
        (DataType::Int32, Value::Number(value)) => Some(ScalarValue::Int32(Some(i32::try_from(value.as_i64()?).ok()?))),
        (DataType::Int64, Value::Number(value)) => Some(ScalarValue::Int64(Some(value.as_i64()?))),
        (DataType::Float32, Value::Number(value)) => {
            // Written from a single, it reads as the nearest double, which names the same single.
            #[allow(clippy::cast_possible_truncation, reason = "what is read was a single")]
            let value = value.as_f64()? as f32;
            value.is_finite().then_some(ScalarValue::Float32(Some(value)))
        }
        (DataType::Float64, Value::Number(value)) => Some(ScalarValue::Float64(Some(value.as_f64()?))),
        (DataType::Decimal128(precision, scale), Value::String(text)) => {
            let unscaled = decimal(text, *precision, *scale)?;
            Some(ScalarValue::Decimal128(Some(unscaled), *precision, *scale))
        }
        (DataType::Utf8, Value::String(text)) => Some(ScalarValue::Utf8(Some(text.clone()))),
        (DataType::Binary, Value::String(text)) => Some(ScalarValue::Binary(Some(hex(text)?))),
        (DataType::FixedSizeBinary(length), Value::String(text)) => {
            // A uuid has dashes, and nothing else that is fixed has.
            let bytes = if *length == 16 && text.len() == 36 { hex(&text.replace('-', ""))? } else { hex(text)? };
            (i32::try_from(bytes.len()) == Ok(*length)).then_some(ScalarValue::FixedSizeBinary(*length, Some(bytes)))
        }
        (DataType::Date32 | DataType::Time64(_) | DataType::Timestamp(..), Value::String(text)) => {
            temporal(text, data_type)
        }
        _ => None,
    }
}

/// The struct that `{}` stands for: each field in it is its own default.
pub(super) fn of_struct(json: &Value, inside: &[Wanted]) -> Option<ScalarValue> {
    if !json.as_object()?.is_empty() {
        return None;
    }
    let columns = inside.iter().map(|wanted| wanted.missing()?.to_array_of_size(1).ok()).collect::<Option<Vec<_>>>()?;
    let fields = inside.iter().map(|wanted| Arc::clone(&wanted.field)).collect();
    let array = StructArray::try_new_with_length(fields, columns, None, 1).ok()?;
    Some(ScalarValue::Struct(Arc::new(array)))
}

/// A date or a time of the exact form that the specification gives it.
fn temporal(text: &str, data_type: &DataType) -> Option<ScalarValue> {
    let zoned = matches!(data_type, DataType::Timestamp(_, Some(_)));
    let digits = if matches!(data_type, DataType::Timestamp(TimeUnit::Nanosecond, _)) { 9 } else { 6 };
    let plain = if zoned { text.strip_suffix("+00:00").or_else(|| text.strip_suffix('Z'))? } else { text };
    let fraction = plain.rsplit_once('.').map_or("", |(_, fraction)| fraction);
    if fraction.len() > digits || plain.contains(['+', 'Z', 'z', ' ']) {
        return None;
    }
    ScalarValue::Utf8(Some(plain.to_owned())).cast_to(data_type).ok().filter(|value| !value.is_null())
}

/// The unscaled value of a decimal that has no more digits than its type.
fn decimal(text: &str, precision: u8, scale: i8) -> Option<i128> {
    let scale = usize::try_from(scale).ok()?;
    let (negative, digits) = match text.strip_prefix('-') {
        Some(digits) => (true, digits),
        None => (false, text),
    };
    let (whole, fraction) = digits.split_once('.').unwrap_or((digits, ""));
    let are_digits = |text: &str| text.bytes().all(|byte| byte.is_ascii_digit());
    if whole.is_empty() || !are_digits(whole) || !are_digits(fraction) || fraction.len() > scale {
        return None;
    }
    let padding = std::iter::repeat_n(b'0', scale - fraction.len());
    let mut unscaled: i128 = 0;
    for digit in whole.bytes().chain(fraction.bytes()).chain(padding) {
        unscaled = unscaled.checked_mul(10)?.checked_add(i128::from(digit - b'0'))?;
    }
    let limit = 10_i128.checked_pow(u32::from(precision))?;
    (unscaled < limit).then_some(if negative { -unscaled } else { unscaled })
}

fn hex(text: &str) -> Option<Vec<u8>> {
    let digits: Option<Vec<u8>> =
        text.chars().map(|c| c.to_digit(16).and_then(|digit| u8::try_from(digit).ok())).collect();
    let digits = digits?;
    let pairs = digits.chunks_exact(2);
    if !pairs.remainder().is_empty() {
        return None;
    }
    Some(pairs.map(|pair| pair.iter().fold(0, |byte, digit| byte << 4 | digit)).collect())
}
