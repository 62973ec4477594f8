//! A value under the type of its parameter: exactly the same value, or none.
//!
//! ```text
//! 2.0 as INT -> 2       2.5 as INT -> refused       2^40 as INT -> refused       '2026-01-31' as DATE -> that day
//! 2026-01-31 00:00:00 as DATE -> that day           2026-01-31 12:00:00 as DATE -> refused
//! ```
//!
//! Text is read as what it says. Numbers become other numbers, times become other times, and anything may be written as
//! text. Nothing else becomes something else. A binary fraction may lose digits to a shorter one, as it does everywhere.

use std::sync::Arc;

use datafusion::arrow::array::{Array, ArrayRef, AsArray, FixedSizeBinaryArray, Float64Array};
use datafusion::arrow::compute::{CastOptions, cast, cast_with_options};
use datafusion::arrow::datatypes::{DataType, Float64Type};
use datafusion::arrow::util::display::FormatOptions;
use uuid::Uuid;

use crate::error::{Class, Error};

/// Values that are not of a parameter's type.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Misfit {
    /// No value of the one type is one of the other.
    Type,
    /// This value is not.
    Value,
}

impl Misfit {
    /// The error for a parameter. It has no value in it.
    pub(super) fn of(&self, name: &str, from: &DataType, to: &DataType) -> Error {
        match self {
            Self::Type => Error::new(
                Class::BadRequest,
                format!("the parameter `{name}` has the type `{to}`, and a value of type `{from}` is bound to it"),
            ),
            Self::Value => Error::new(
                Class::BadRequest,
                format!(
                    "a value of type `{from}` that is bound to the parameter `{name}` does not fit its type `{to}`"
                ),
            ),
        }
        .help("write CAST($1 AS …) in the statement for a parameter of another type")
    }
}

/// What a type is one of.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Family {
    Null,
    Truth,
    Number,
    Text,
    Bytes,
    Instant,
    Time,
    Span,
    Nested,
}

fn family(kind: &DataType) -> Option<Family> {
    match kind {
        DataType::Null => Some(Family::Null),
        DataType::Boolean => Some(Family::Truth),
        DataType::Utf8 | DataType::LargeUtf8 | DataType::Utf8View => Some(Family::Text),
        DataType::Binary | DataType::LargeBinary | DataType::BinaryView | DataType::FixedSizeBinary(_) => {
            Some(Family::Bytes)
        }
        DataType::Date32 | DataType::Date64 | DataType::Timestamp(..) => Some(Family::Instant),
        DataType::Time32(_) | DataType::Time64(_) => Some(Family::Time),
        DataType::Interval(_) | DataType::Duration(_) => Some(Family::Span),
        DataType::Dictionary(_, values) => family(values),
        DataType::RunEndEncoded(_, values) => family(values.data_type()),
        kind if kind.is_numeric() => Some(Family::Number),
        kind if kind.is_nested() => Some(Family::Nested),
        _ => None,
    }
}

/// The same values under another type.
pub(super) fn exactly(values: &ArrayRef, to: &DataType) -> Result<ArrayRef, Misfit> {
    let from = values.data_type();
    if from == to {
        return Ok(Arc::clone(values));
    }
    let (before, after) = (family(from).ok_or(Misfit::Type)?, family(to).ok_or(Misfit::Type)?);
    let becomes = match (before, after) {
        (Family::Null, _) => true,
        (before, after) if before == after => true,
        (Family::Text, after) => after != Family::Nested,
        (Family::Nested | Family::Bytes, _) => false,
        (_, after) => after == Family::Text,
    };
    if !becomes {
        return Err(Misfit::Type);
    }
    if let (Family::Text, DataType::FixedSizeBinary(16)) = (before, to) {
        return uuids(values);
    }
    let strict = CastOptions { safe: false, format_options: FormatOptions::default() };
    let made = cast_with_options(values, to, &strict).map_err(|_| Misfit::Value)?;
    let kept = match (before, after) {
        (Family::Null, _) | (Family::Text, _) | (_, Family::Text) => true,
        (Family::Number, Family::Number) if from.is_floating() && to.is_floating() => finite(values) == finite(&made),
        _ => cast(&made, from).is_ok_and(|back| *back == **values),
    };
    if kept { Ok(made) } else { Err(Misfit::Value) }
}

/// How many values are finite.
fn finite(values: &ArrayRef) -> Option<usize> {
    let values = cast(values, &DataType::Float64).ok()?;
    let values: &Float64Array = values.as_primitive::<Float64Type>();
    Some(values.iter().flatten().filter(|value| value.is_finite()).count())
}

/// The bytes of uuids that are written as text.
fn uuids(values: &ArrayRef) -> Result<ArrayRef, Misfit> {
    let texts = cast(values, &DataType::Utf8).map_err(|_| Misfit::Type)?;
    let read = |text: &str| Uuid::parse_str(text).map(Uuid::into_bytes).map_err(|_| Misfit::Value);
    let bytes =
        texts.as_string::<i32>().iter().map(|text| text.map(read).transpose()).collect::<Result<Vec<_>, _>>()?;
    let array = FixedSizeBinaryArray::try_from_sparse_iter_with_size(bytes.into_iter(), 16);
    array.map(|array| Arc::new(array) as ArrayRef).map_err(|_| Misfit::Value)
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "tests")]
mod tests {
    use datafusion::arrow::array::{
        BooleanArray, Date32Array, Float32Array, Int32Array, Int64Array, NullArray, StringArray,
        TimestampMicrosecondArray,
    };
    use datafusion::arrow::datatypes::TimeUnit;

    use super::*;

    const DAY: i64 = 86_400_000_000;

    fn instants(values: Vec<Option<i64>>) -> ArrayRef {
        Arc::new(TimestampMicrosecondArray::from(values))
    }

    #[test]
    fn a_value_becomes_the_same_value_of_another_type() {
        let check = |from: ArrayRef, to: ArrayRef| assert_eq!(&exactly(&from, to.data_type()).unwrap(), &to);
        check(Arc::new(Int64Array::from(vec![Some(7), None])), Arc::new(Int32Array::from(vec![Some(7), None])));
        check(Arc::new(Float64Array::from(vec![2.0])), Arc::new(Int32Array::from(vec![2])));
        check(Arc::new(Float64Array::from(vec![0.1])), Arc::new(Float32Array::from(vec![0.1])));
        check(Arc::new(StringArray::from(vec!["1970-01-02"])), Arc::new(Date32Array::from(vec![1])));
        check(instants(vec![Some(DAY), None]), Arc::new(Date32Array::from(vec![Some(1), None])));
        check(Arc::new(NullArray::new(2)), Arc::new(BooleanArray::from(vec![None, None])));
        check(Arc::new(Int64Array::from(vec![7])), Arc::new(StringArray::from(vec!["7"])));
        let uuid: ArrayRef = Arc::new(StringArray::from(vec!["f79c3e09-677c-4bbd-a479-3f349cb785e7"]));
        let bytes = exactly(&uuid, &DataType::FixedSizeBinary(16)).unwrap();
        assert_eq!(bytes.as_fixed_size_binary().value(0)[..2], [0xf7, 0x9c]);
    }

    #[test]
    fn what_would_be_another_value_is_refused() {
        let check = |from: ArrayRef, to: DataType, misfit| assert_eq!(exactly(&from, &to).unwrap_err(), misfit, "{to}");
        check(Arc::new(Int64Array::from(vec![1 << 40])), DataType::Int32, Misfit::Value);
        check(Arc::new(Float64Array::from(vec![2.5])), DataType::Int32, Misfit::Value);
        check(Arc::new(Float64Array::from(vec![0.125])), DataType::Decimal128(15, 2), Misfit::Value);
        check(Arc::new(Int64Array::from(vec![i64::MAX])), DataType::Float64, Misfit::Value);
        check(Arc::new(Float64Array::from(vec![1e300])), DataType::Float32, Misfit::Value);
        check(instants(vec![Some(DAY + 1)]), DataType::Date32, Misfit::Value);
        check(instants(vec![Some(1)]), DataType::Timestamp(TimeUnit::Millisecond, None), Misfit::Value);
        check(Arc::new(StringArray::from(vec!["soon"])), DataType::Date32, Misfit::Value);
        check(Arc::new(StringArray::from(vec!["no uuid"])), DataType::FixedSizeBinary(16), Misfit::Value);
        check(Arc::new(Int64Array::from(vec![5])), DataType::Timestamp(TimeUnit::Microsecond, None), Misfit::Type);
        check(Arc::new(Int64Array::from(vec![1])), DataType::Boolean, Misfit::Type);
        check(Arc::new(BooleanArray::from(vec![true])), DataType::Int32, Misfit::Type);
    }

    #[test]
    fn a_misfit_tells_types_and_no_value() {
        let values: ArrayRef = Arc::new(StringArray::from(vec!["hunter2"]));
        let error = exactly(&values, &DataType::Int32).unwrap_err().of("$1", values.data_type(), &DataType::Int32);
        assert!(!error.to_string().contains("hunter2"), "{error}");
        assert!(error.message.contains("`$1`") && error.message.contains("Int32"), "{error}");
    }
}
