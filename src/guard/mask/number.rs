//! `bucket(n)`: numbers rounded down to a multiple of a width, NULL where that is no value of the type.

use std::sync::Arc;

use datafusion::arrow::array::types::{Decimal128Type, Float32Type, Float64Type, Int32Type, Int64Type};
use datafusion::arrow::array::{Array, ArrayRef, AsArray};
use datafusion::arrow::datatypes::DataType;
use polder_catalog::policy::Width;

use super::Failed;

/// The buckets of an array's values.
pub(super) fn bucket(array: &ArrayRef, width: Width) -> Result<ArrayRef, Failed> {
    match array.data_type() {
        DataType::Int32 => {
            let width = i32::try_from(width.unscaled).map_err(|_| Failed)?;
            let down = |value: i32| value.checked_sub(value.checked_rem_euclid(width)?);
            Ok(Arc::new(array.as_primitive::<Int32Type>().unary_opt::<_, Int32Type>(down)))
        }
        DataType::Int64 => {
            let width = i64::try_from(width.unscaled).map_err(|_| Failed)?;
            let down = |value: i64| value.checked_sub(value.checked_rem_euclid(width)?);
            Ok(Arc::new(array.as_primitive::<Int64Type>().unary_opt::<_, Int64Type>(down)))
        }
        DataType::Float32 => {
            let width = real(width)?;
            let array = array.as_primitive::<Float32Type>();
            #[allow(clippy::cast_possible_truncation, reason = "what does not fit becomes infinite, and then NULL")]
            let down = |value: f32| Some(multiple(f64::from(value), width)? as f32).filter(|down| down.is_finite());
            Ok(Arc::new(array.unary_opt::<_, Float32Type>(down)))
        }
        DataType::Float64 => {
            let width = real(width)?;
            Ok(Arc::new(
                array.as_primitive::<Float64Type>().unary_opt::<_, Float64Type>(|value| multiple(value, width)),
            ))
        }
        kind @ DataType::Decimal128(precision, scale) => {
            let raise = u32::try_from(*scale).ok().and_then(|scale| scale.checked_sub(u32::from(width.scale)));
            let width =
                raise.and_then(|raise| 10_i128.checked_pow(raise)?.checked_mul(width.unscaled)).ok_or(Failed)?;
            let end = 10_i128.checked_pow(u32::from(*precision)).ok_or(Failed)?;
            let down = |value: i128| {
                let down = value.checked_sub(value.checked_rem_euclid(width)?)?;
                (-end < down).then_some(down)
            };
            let made = array.as_primitive::<Decimal128Type>().unary_opt::<_, Decimal128Type>(down);
            Ok(Arc::new(made.with_data_type(kind.clone())))
        }
        _ => Err(Failed),
    }
}

fn real(width: Width) -> Result<f64, Failed> {
    width.to_string().parse().map_err(|_| Failed)
}

fn multiple(value: f64, width: f64) -> Option<f64> {
    let whole = (value / width).floor();
    let down = whole * width;
    // The quotient may have been rounded up to the next whole number.
    let down = if down > value { (whole - 1.0) * width } else { down };
    // Without the sign of a zero, which would tell more than its bucket.
    Some(down + 0.0).filter(|down| down.is_finite())
}
