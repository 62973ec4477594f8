//! A treatment made ready for one type: which kernel acts on which leaf, and the type that comes out.
//!
//! ```text
//! list<struct<name: string, born: date, ssn: string>>   name raw, born truncate-to-year, ssn not granted
//!   Each( Fields[ 0: Raw, 1: Truncate(Year) ] )          -> list<struct<name: string, born: date>>
//! ```
//!
//! A nested array is scrubbed first: whatever is below it then is there to be seen or to be masked, and is NULL where the
//! struct around it is.

use std::sync::Arc;

use datafusion::arrow::array::{
    Array, ArrayRef, AsArray, FixedSizeListArray, GenericListArray, MapArray, OffsetSizeTrait, StructArray,
    new_null_array,
};
use datafusion::arrow::compute::cast;
use datafusion::arrow::datatypes::{DataType, FieldRef, Fields, TimeUnit};
use datafusion::scalar::ScalarValue;
use polder_catalog::contract::{PhysicalType, Type};
use polder_catalog::policy::{Mask, Width};

use super::digest::Digest;
use super::keys::Keys;
use super::text::{Stays, redact};
use super::time::{Start, truncate};
use super::{Failed, Shown, Unfit, fixed, number};
use crate::scrub::{scrub, within};

/// What is done to an array.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(super) enum Shape {
    /// Nothing.
    Raw,
    /// All of it becomes NULL, whatever is nested in it.
    Null,
    Fixed(ScalarValue),
    Digest(Digest),
    Bucket(Width),
    Truncate(Start),
    Redact(Stays),
    /// The entries of a dictionary, which is then made anew: two that became one must not be told apart by their keys.
    Dictionary(Box<Shape>),
    /// Each item of a list, which becomes such a field.
    Each(FieldRef, Box<Shape>),
    /// Each value of a map, whose entries become such a field.
    Values(FieldRef, Box<Shape>),
    /// The fields of a struct that are shown, by their places in it.
    Fields(Fields, Vec<(usize, Shape)>),
}

/// Makes a treatment ready for values of a type; gives the type that comes out as well.
pub(super) fn shape(shown: &Shown, kind: &DataType, keys: &Keys) -> Result<(Shape, DataType), Unfit> {
    let unfit = || Unfit::Undefined { shown: shown.name(), kind: kind.clone() };
    let item = |item: &FieldRef| {
        let (inner, kind) = shape(shown, item.data_type(), keys)?;
        Ok((field(item, kind, shown), Box::new(inner)))
    };
    match (shown, kind) {
        (Shown::Raw, _) => Ok((Shape::Raw, kind.clone())),
        (Shown::Masked(Mask::Null), _) => Ok((Shape::Null, kind.clone())),
        (_, DataType::List(of)) => item(of).map(|(of, each)| (Shape::Each(Arc::clone(&of), each), DataType::List(of))),
        (_, DataType::LargeList(of)) => {
            item(of).map(|(of, each)| (Shape::Each(Arc::clone(&of), each), DataType::LargeList(of)))
        }
        (_, DataType::FixedSizeList(of, size)) => {
            item(of).map(|(of, each)| (Shape::Each(Arc::clone(&of), each), DataType::FixedSizeList(of, *size)))
        }
        (Shown::Masked(_), DataType::Dictionary(_, values)) => {
            let (inner, _) = shape(shown, values, keys)?;
            Ok((Shape::Dictionary(Box::new(inner)), kind.clone()))
        }
        (Shown::Masked(mask), _) => {
            let physical = physical(kind).filter(|physical| mask.applies_to(&Type::Physical(physical.clone())));
            physical.ok_or_else(unfit)?;
            Ok((leaf(mask, kind, keys)?.ok_or_else(unfit)?, kind.clone()))
        }
        (Shown::Fields(wanted), DataType::Struct(fields)) => {
            let picked = wanted.iter().map(|(name, shown)| {
                let (place, found) = fields.find(name).ok_or_else(|| Unfit::NoField(name.clone()))?;
                let (inner, kind) = shape(shown, found.data_type(), keys)?;
                Ok(((place, inner), field(found, kind, shown)))
            });
            let (picked, shown): (Vec<_>, Vec<_>) = picked.collect::<Result<Vec<_>, Unfit>>()?.into_iter().unzip();
            if picked.is_empty() {
                return Err(unfit());
            }
            let fields = Fields::from(shown);
            Ok((Shape::Fields(fields.clone(), picked), DataType::Struct(fields)))
        }
        (Shown::Fields(_), DataType::Map(entry, sorted)) => {
            let DataType::Struct(pair) = entry.data_type() else { return Err(unfit()) };
            let [key, value] = pair.as_ref() else { return Err(unfit()) };
            let (value, inner) = item(value)?;
            let pair = DataType::Struct(vec![Arc::clone(key), value].into());
            let entry = Arc::new(entry.as_ref().clone().with_data_type(pair));
            Ok((Shape::Values(Arc::clone(&entry), inner), DataType::Map(entry, *sorted)))
        }
        (Shown::Fields(_), _) => Err(unfit()),
    }
}

/// A nested field as it is shown. A mask may make NULL of anything.
fn field(found: &FieldRef, kind: DataType, shown: &Shown) -> FieldRef {
    let nullable = found.is_nullable() || matches!(shown, Shown::Masked(_));
    Arc::new(found.as_ref().clone().with_data_type(kind).with_nullable(nullable))
}

/// What a mask does to values that are not nested. `None` where it is not defined for them.
fn leaf(mask: &Mask, kind: &DataType, keys: &Keys) -> Result<Option<Shape>, Unfit> {
    Ok(Some(match mask {
        Mask::Null => Shape::Null,
        Mask::Fixed(text) => return Ok(fixed::value(text.as_deref(), kind).map(Shape::Fixed)),
        Mask::Sha256QueryLocal => Shape::Digest(Digest::Salted(keys.salt().ok_or(Unfit::NoSalt)?)),
        Mask::Hmac(name) => Shape::Digest(Digest::Keyed(keys.key(name).ok_or_else(|| Unfit::NoKey(name.to_string()))?)),
        Mask::Sha256Global => Shape::Digest(Digest::Plain),
        Mask::Bucket(width) => Shape::Bucket(*width),
        Mask::Year => Shape::Truncate(Start::Year),
        Mask::Month => Shape::Truncate(Start::Month),
        Mask::Alphanum => Shape::Redact(Stays::Nothing),
        Mask::Last4 => Shape::Redact(Stays::Last4),
        Mask::First4 => Shape::Redact(Stays::First4),
    }))
}

/// The Iceberg type that arrives as this one. A uuid and sixteen bytes arrive alike, and the mesh's own checks have told
/// them apart.
fn physical(kind: &DataType) -> Option<PhysicalType> {
    use PhysicalType as P;
    Some(match kind {
        DataType::Boolean => P::Boolean,
        DataType::Int32 => P::Int,
        DataType::Int64 => P::Long,
        DataType::Float32 => P::Float,
        DataType::Float64 => P::Double,
        DataType::Decimal128(precision, scale) => {
            P::Decimal { precision: u32::from(*precision), scale: u32::try_from(*scale).ok()? }
        }
        DataType::Date32 => P::Date,
        DataType::Time64(TimeUnit::Microsecond) => P::Time,
        DataType::Timestamp(TimeUnit::Microsecond, None) => P::Timestamp,
        DataType::Timestamp(TimeUnit::Microsecond, Some(_)) => P::Timestamptz,
        DataType::Timestamp(TimeUnit::Nanosecond, None) => P::TimestampNs,
        DataType::Timestamp(TimeUnit::Nanosecond, Some(_)) => P::TimestamptzNs,
        DataType::Utf8 | DataType::LargeUtf8 | DataType::Utf8View => P::String,
        DataType::Binary | DataType::LargeBinary | DataType::BinaryView => P::Binary,
        DataType::FixedSizeBinary(16) => P::Uuid,
        DataType::FixedSizeBinary(length) => P::Fixed(u64::try_from(*length).ok()?),
        DataType::Struct(_) => P::Struct,
        DataType::Map(..) => P::Map,
        _ => return None,
    })
}

impl Shape {
    /// Whether it gives the same whatever comes in, so that nothing need be read for it.
    pub(super) fn is_constant(&self) -> bool {
        matches!(self, Self::Null | Self::Fixed(_))
    }

    /// The values as they are shown, in buffers of their own.
    pub(super) fn apply(&self, array: &ArrayRef) -> Result<ArrayRef, Failed> {
        match self {
            Self::Each(..) | Self::Values(..) | Self::Fields(..) => self.inside(&scrub(array)?),
            leaf => leaf.inside(array),
        }
    }

    /// The same for an array that was scrubbed, if it is nested.
    fn inside(&self, array: &ArrayRef) -> Result<ArrayRef, Failed> {
        match self {
            Self::Raw => Ok(scrub(array)?),
            Self::Null => Ok(new_null_array(array.data_type(), array.len())),
            Self::Fixed(value) => value.to_array_of_size(array.len()).map_err(|_| Failed),
            Self::Digest(digest) => digest.of(array),
            Self::Bucket(width) => number::bucket(array, *width),
            Self::Truncate(start) => truncate(array, *start),
            Self::Redact(stays) => redact(array, *stays),
            Self::Dictionary(inner) => {
                let DataType::Dictionary(_, values) = array.data_type() else { return Err(Failed) };
                let plain = inner.inside(&cast(array, values)?)?;
                Ok(cast(&plain, array.data_type())?)
            }
            Self::Each(item, inner) => each(array, item, inner),
            Self::Values(entry, inner) => {
                let (DataType::Map(_, sorted), Some(map)) = (array.data_type(), array.as_map_opt()) else {
                    return Err(Failed);
                };
                let DataType::Struct(pair) = entry.data_type() else { return Err(Failed) };
                let columns = vec![Arc::clone(map.keys()), inner.inside(map.values())?];
                let entries = StructArray::try_new(pair.clone(), columns, None)?;
                let (offsets, nulls) = (map.offsets().clone(), map.nulls().cloned());
                Ok(Arc::new(MapArray::try_new(Arc::clone(entry), offsets, entries, nulls, *sorted)?))
            }
            Self::Fields(fields, picked) => {
                let array = array.as_struct_opt().ok_or(Failed)?;
                let columns = picked.iter().map(|(place, inner)| {
                    let shown = inner.inside(array.columns().get(*place).ok_or(Failed)?)?;
                    // A mask may give a value for NULL, but there is no value inside of a struct that is NULL.
                    Ok(if array.nulls().is_some() { within(&shown, array.nulls())? } else { shown })
                });
                let columns = columns.collect::<Result<Vec<_>, Failed>>()?;
                let nulls = array.nulls().cloned();
                Ok(Arc::new(StructArray::try_new_with_length(fields.clone(), columns, nulls, array.len())?))
            }
        }
    }
}

fn each(array: &ArrayRef, item: &FieldRef, inner: &Shape) -> Result<ArrayRef, Failed> {
    fn list<O: OffsetSizeTrait>(
        list: &GenericListArray<O>,
        item: &FieldRef,
        inner: &Shape,
    ) -> Result<ArrayRef, Failed> {
        let (offsets, nulls) = (list.offsets().clone(), list.nulls().cloned());
        Ok(Arc::new(GenericListArray::try_new(Arc::clone(item), offsets, inner.inside(list.values())?, nulls)?))
    }
    match array.data_type() {
        DataType::List(_) => list(array.as_list::<i32>(), item, inner),
        DataType::LargeList(_) => list(array.as_list::<i64>(), item, inner),
        DataType::FixedSizeList(_, size) => {
            let items = inner.inside(array.as_fixed_size_list().values())?;
            let (item, nulls) = (Arc::clone(item), array.nulls().cloned());
            Ok(Arc::new(FixedSizeListArray::try_new_with_length(item, *size, items, nulls, array.len())?))
        }
        _ => Err(Failed),
    }
}
