//! How an array of a file becomes the array that the query sees, at any depth.
//!
//! ```text
//! file:  s {1 a: int, 2 b: text}     table: s {3 c: long, 1 z: long}     query: s {c: NULL, z: a as long}
//! ```
//!
//! Fields are found by id alone. What a file has in another spelling or in a type that was promoted since is turned
//! into the table's type without changing a value; a value that does not fit is an error. A field that the file lacks
//! is its default or NULL, and an error where it is required. What is NULL stays NULL with everything inside it.

use std::sync::Arc;

use datafusion::arrow::array::{
    Array, ArrayRef, AsArray, Date32Array, ListArray, MapArray, OffsetSizeTrait, PrimitiveArray, StructArray,
    make_array, new_null_array,
};
use datafusion::arrow::buffer::{NullBuffer, OffsetBuffer, ScalarBuffer};
use datafusion::arrow::compute::{CastOptions, cast_with_options};
use datafusion::arrow::datatypes::{
    ArrowTimestampType, DataType, Date32Type, Field, FieldRef, Fields, TimeUnit, TimestampMicrosecondType,
    TimestampNanosecondType,
};
use datafusion::arrow::error::ArrowError;
use datafusion::common::ScalarValue;
use parquet::arrow::PARQUET_FIELD_ID_META_KEY;

use crate::scan::columns::{Inside, Wanted};

/// The way from a file's array to the query's.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(super) enum Shape {
    /// There is nothing to do.
    Same,
    /// The same values in another spelling, or of a narrower type.
    Cast(DataType),
    /// The same bits under another type.
    Relabel(DataType),
    /// Days, which become midnights.
    Midnight(TimeUnit),
    Struct {
        fields: Fields,
        from: Vec<Source>,
    },
    List {
        element: FieldRef,
        inside: Box<Shape>,
    },
    Map {
        entries: FieldRef,
        inside: Box<Shape>,
    },
}

/// Where a field of a struct comes from.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(super) enum Source {
    Child { index: usize, shape: Shape },
    Missing(ScalarValue),
    Required,
}

/// Why an array cannot become what the query sees.
#[derive(Debug, thiserror::Error)]
pub(super) enum Unshaped {
    #[error("the file has not the array that its schema says")]
    OtherArray,
    #[error("a required field inside is missing in the file")]
    Missing,
    #[error("a required field inside is NULL in the file")]
    Null,
    #[error("a value in the file does not fit the table's type")]
    Value(#[source] ArrowError),
}

/// The id that a file's column carries.
pub(in crate::scan) fn field_id(field: &Field) -> Option<i32> {
    field.metadata().get(PARQUET_FIELD_ID_META_KEY)?.parse().ok()
}

impl Shape {
    /// The way from the file's type to the wanted one.
    ///
    /// # Errors
    /// Says how the file does not fit.
    pub(super) fn new(file: &DataType, wanted: &Wanted) -> Result<Self, String> {
        match (&wanted.inside, file) {
            (Inside::Plain, _) => plain(file, wanted.field.data_type()),
            (Inside::Struct(inside), DataType::Struct(fields)) => Self::of_struct(fields, inside),
            (Inside::List(inside), DataType::List(element) | DataType::LargeList(element)) => Ok(Self::List {
                element: Arc::clone(&inside.field),
                inside: Box::new(Self::new(element.data_type(), inside)?),
            }),
            (Inside::Map(pair), DataType::Map(entries, _)) => {
                let DataType::Map(wanted, _) = wanted.field.data_type() else {
                    return Err("the table's map is none".to_owned());
                };
                let DataType::Struct(found) = entries.data_type() else {
                    return Err("the file's map has no keys and values".to_owned());
                };
                let DataType::Struct(fields) = wanted.data_type() else {
                    return Err("the table's map has no keys and values".to_owned());
                };
                // A map's two fields are known by their places: writers name them as they like.
                let from = found.iter().zip(pair.iter()).enumerate().map(|(index, (found, wanted))| {
                    known(found, wanted)?;
                    Ok(Source::Child { index, shape: Self::new(found.data_type(), wanted)? })
                });
                let from = from.collect::<Result<Vec<_>, String>>()?;
                let inside = Box::new(Self::Struct { fields: fields.clone(), from });
                Ok(Self::Map { entries: Arc::clone(wanted), inside })
            }
            _ => Err("the file has another kind of nested type than the table".to_owned()),
        }
    }

    fn of_struct(file: &Fields, wanted: &[Wanted]) -> Result<Self, String> {
        let from = wanted.iter().map(|wanted| {
            let mut found = file.iter().enumerate().filter(|(_, field)| field_id(field) == Some(wanted.id));
            match (found.next(), found.next()) {
                (Some((index, field)), None) => {
                    Ok(Source::Child { index, shape: Self::new(field.data_type(), wanted)? })
                }
                (Some(_), Some(_)) => Err("a field id is there twice inside it".to_owned()),
                (None, _) => Ok(match wanted.missing() {
                    Some(value) => Source::Missing(value),
                    None => Source::Required,
                }),
            }
        });
        let from = from.collect::<Result<Vec<_>, String>>()?;
        Ok(Self::Struct { fields: wanted.iter().map(|wanted| Arc::clone(&wanted.field)).collect(), from })
    }

    /// Whether it is what DataFusion's own cast does and keeps the order of values, so that pruning may look through it.
    pub(super) fn is_ordered_cast(&self) -> bool {
        use DataType::{Binary, Decimal128, Float64, Int32, Int64, Utf8};
        matches!(self, Self::Cast(Int32 | Int64 | Float64 | Decimal128(..) | Utf8 | Binary))
    }

    /// Does it to an array of the file.
    ///
    /// # Errors
    /// When a value does not fit, or one that must be there is not.
    pub(super) fn apply(&self, array: &ArrayRef) -> Result<ArrayRef, Unshaped> {
        match self {
            Self::Same => Ok(Arc::clone(array)),
            Self::Cast(to) => {
                let strict = CastOptions { safe: false, ..CastOptions::default() };
                cast_with_options(array, to, &strict).map_err(Unshaped::Value)
            }
            Self::Relabel(to) => {
                let data = array.to_data().into_builder().data_type(to.clone()).build().map_err(Unshaped::Value)?;
                Ok(make_array(data))
            }
            Self::Midnight(unit) => {
                let days = array.as_primitive_opt::<Date32Type>().ok_or(Unshaped::OtherArray)?;
                Ok(match unit {
                    TimeUnit::Nanosecond => Arc::new(midnights::<TimestampNanosecondType>(days, 86_400_000_000_000)?),
                    _ => Arc::new(midnights::<TimestampMicrosecondType>(days, 86_400_000_000)?),
                })
            }
            Self::Struct { fields, from } => {
                let array = array.as_struct_opt().ok_or(Unshaped::OtherArray)?;
                Ok(Arc::new(of_struct(array, fields, from)?))
            }
            Self::List { element, inside } => {
                let (offsets, values, nulls) = match (array.as_list_opt::<i32>(), array.as_list_opt::<i64>()) {
                    (Some(list), _) => (rebased(list.offsets())?, used(list.offsets(), list.values())?, list.nulls()),
                    (_, Some(list)) => (rebased(list.offsets())?, used(list.offsets(), list.values())?, list.nulls()),
                    _ => return Err(Unshaped::OtherArray),
                };
                let values = inside.apply(&values)?;
                required(element, &values, None)?;
                let list = ListArray::try_new(Arc::clone(element), offsets, values, nulls.cloned());
                Ok(Arc::new(list.map_err(Unshaped::Value)?))
            }
            Self::Map { entries, inside } => {
                let map = array.as_map_opt().ok_or(Unshaped::OtherArray)?;
                let pairs: ArrayRef = Arc::new(map.entries().clone());
                let pairs = inside.apply(&used(map.offsets(), &pairs)?)?;
                let pairs = pairs.as_struct_opt().ok_or(Unshaped::OtherArray)?;
                let offsets = rebased(map.offsets())?;
                let map = MapArray::try_new(Arc::clone(entries), offsets, pairs.clone(), map.nulls().cloned(), false);
                Ok(Arc::new(map.map_err(Unshaped::Value)?))
            }
        }
    }
}

/// Holds the id that a file gives to a map's key or value against the table's.
fn known(found: &Field, wanted: &Wanted) -> Result<(), String> {
    match field_id(found) {
        Some(id) if id != wanted.id => Err("its map has the keys or values of another field".to_owned()),
        _ => Ok(()),
    }
}

fn of_struct(array: &StructArray, fields: &Fields, from: &[Source]) -> Result<StructArray, Unshaped> {
    let (nulls, len) = (array.nulls(), array.len());
    let mut columns = Vec::with_capacity(from.len());
    for (field, source) in fields.iter().zip(from) {
        let column = match source {
            Source::Child { index, shape } => shape.apply(array.columns().get(*index).ok_or(Unshaped::OtherArray)?)?,
            Source::Missing(value) => filled(value, len, nulls)?,
            Source::Required if array.null_count() < len => return Err(Unshaped::Missing),
            Source::Required => new_null_array(field.data_type(), len),
        };
        required(field, &column, nulls)?;
        columns.push(column);
    }
    StructArray::try_new_with_length(fields.clone(), columns, nulls.cloned(), len).map_err(Unshaped::Value)
}

/// A value that must be there may be NULL only where what holds it is NULL.
fn required(field: &Field, column: &ArrayRef, outer: Option<&NullBuffer>) -> Result<(), Unshaped> {
    if field.is_nullable() {
        return Ok(());
    }
    let fits = match (column.logical_nulls(), outer) {
        (None, _) => true,
        (Some(inner), None) => inner.null_count() == 0,
        (Some(inner), Some(outer)) => outer.contains(&inner),
    };
    if fits { Ok(()) } else { Err(Unshaped::Null) }
}

/// A column of one value, NULL where the struct that it belongs to is NULL.
fn filled(value: &ScalarValue, len: usize, nulls: Option<&NullBuffer>) -> Result<ArrayRef, Unshaped> {
    if value.is_null() {
        return Ok(new_null_array(&value.data_type(), len));
    }
    let column = value.to_array_of_size(len).map_err(|_| Unshaped::OtherArray)?;
    match nulls {
        Some(nulls) if nulls.null_count() > 0 => {
            let inner = NullBuffer::union(column.nulls(), Some(nulls));
            let data = column.to_data().into_builder().nulls(inner).build().map_err(Unshaped::Value)?;
            Ok(make_array(data))
        }
        _ => Ok(column),
    }
}

/// The values between the first offset and the last: a slice of a longer array leaves others behind.
fn used<O: OffsetSizeTrait>(offsets: &OffsetBuffer<O>, values: &ArrayRef) -> Result<ArrayRef, Unshaped> {
    let (first, last) = match (offsets.first(), offsets.last()) {
        (Some(first), Some(last)) => (first.as_usize(), last.as_usize()),
        _ => return Err(Unshaped::OtherArray),
    };
    let length = last.checked_sub(first).filter(|_| last <= values.len()).ok_or(Unshaped::OtherArray)?;
    Ok(values.slice(first, length))
}

/// The offsets of those values.
fn rebased<O: OffsetSizeTrait>(offsets: &OffsetBuffer<O>) -> Result<OffsetBuffer<i32>, Unshaped> {
    let first = offsets.first().copied().unwrap_or_default();
    let moved = offsets.iter().map(|offset| i32::try_from((*offset - first).as_usize()));
    let moved: Vec<i32> = moved.collect::<Result<_, _>>().map_err(|_| Unshaped::OtherArray)?;
    Ok(OffsetBuffer::new(ScalarBuffer::from(moved)))
}

fn midnights<T: ArrowTimestampType>(days: &Date32Array, units: i64) -> Result<PrimitiveArray<T>, Unshaped> {
    let too_far = || ArrowError::ComputeError("a date is out of the range of timestamps".to_owned());
    days.try_unary(|day| i64::from(day).checked_mul(units).ok_or_else(too_far)).map_err(Unshaped::Value)
}

/// One type in the spellings that writers leave in files, and Iceberg's promotions.
fn plain(file: &DataType, wanted: &DataType) -> Result<Shape, String> {
    use DataType::{
        Binary, BinaryView, Date32, Decimal128, Dictionary, FixedSizeBinary, Float32, Float64, Int8, Int16, Int32,
        Int64, LargeBinary, LargeUtf8, Null, Time32, Time64, Timestamp, UInt8, UInt16, UInt32, Utf8, Utf8View,
    };
    use TimeUnit::{Microsecond, Millisecond, Nanosecond};
    if file == wanted {
        return Ok(Shape::Same);
    }
    let cast = || Ok(Shape::Cast(wanted.clone()));
    match (file, wanted) {
        (Dictionary(_, value), _) if matches!(plain(value, wanted), Ok(Shape::Same | Shape::Cast(_))) => cast(),
        // Old writers left text unmarked: bytes that are not text are an error then, and never change.
        (Utf8 | LargeUtf8 | Utf8View | Binary | LargeBinary | BinaryView, Utf8 | Binary) => cast(),
        (FixedSizeBinary(_), Binary) => cast(),
        (Int8 | Int16 | UInt8 | UInt16, Int32 | Int64) | (Int32 | UInt32, Int64) | (Float32, Float64) => cast(),
        (Decimal128(p, s), Decimal128(precision, scale)) if p <= precision && s == scale => cast(),
        (Time32(Millisecond), Time64(Microsecond)) => cast(),
        // Whether a timestamp is one of a zone is the table's to say: files that were there before the table, and the
        // oldest type of Parquet's, say it wrongly or not at all.
        (Timestamp(a, _), Timestamp(b, _)) if a == b => Ok(Shape::Relabel(wanted.clone())),
        (Timestamp(Millisecond, _), Timestamp(Microsecond, _)) => cast(),
        (Date32, Timestamp(unit @ (Microsecond | Nanosecond), None)) => Ok(Shape::Midnight(*unit)),
        (_, Null) => Err("the table has `unknown`, of which files have nothing".to_owned()),
        _ => Err(format!("the file has {file} and the table has {wanted}")),
    }
}
