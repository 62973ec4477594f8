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
        use DataType::{Binary, BinaryView, Decimal128, Float64, Int32, Int64, Utf8, Utf8View};
        let Self::Cast(to) = self else { return false };
        matches!(to, Int32 | Int64 | Float64 | Decimal128(..) | Utf8 | Utf8View | Binary | BinaryView)
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
        columns.push(match nulls.filter(|nulls| !field.is_nullable() && nulls.null_count() > 0) {
            // Parquet's reader marks nothing there, and who takes a field out of a struct does not look at the struct.
            Some(nulls) => masked(&column, nulls)?,
            None => column,
        });
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
        Some(nulls) if nulls.null_count() > 0 => masked(&column, nulls),
        _ => Ok(column),
    }
}

/// A column that is NULL where `outer` is, with everything that is required inside.
fn masked(column: &ArrayRef, outer: &NullBuffer) -> Result<ArrayRef, Unshaped> {
    let nulls = NullBuffer::union(column.nulls(), Some(outer));
    let Some(array) = column.as_struct_opt() else {
        let data = column.to_data().into_builder().nulls(nulls).build().map_err(Unshaped::Value)?;
        return Ok(make_array(data));
    };
    let inside = array.fields().iter().zip(array.columns());
    let inside = inside.map(|(field, column)| match field.is_nullable() {
        true => Ok(Arc::clone(column)),
        false => masked(column, outer),
    });
    let inside = inside.collect::<Result<Vec<_>, _>>()?;
    let array = StructArray::try_new_with_length(array.fields().clone(), inside, nulls, array.len());
    Ok(Arc::new(array.map_err(Unshaped::Value)?))
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
        (Utf8 | LargeUtf8 | Utf8View | Binary | LargeBinary | BinaryView, Utf8 | Utf8View | Binary | BinaryView) => {
            cast()
        }
        (FixedSizeBinary(_), Binary | BinaryView) => cast(),
        (Int8 | Int16 | UInt8 | UInt16, Int32 | Int64) | (Int32 | UInt32, Int64) | (Float32, Float64) => cast(),
        (Decimal128(p, s), Decimal128(precision, scale)) if p <= precision && s == scale => cast(),
        (Time32(Millisecond), Time64(Microsecond)) => cast(),
        // Whether a timestamp is one of a zone is the table's to say: files that were there before the table, and the
        // oldest type of Parquet's, say it wrongly or not at all.
        (Timestamp(a, _), Timestamp(b, _)) if a == b => Ok(Shape::Relabel(wanted.clone())),
        (Timestamp(Millisecond, _), Timestamp(Microsecond, _)) => cast(),
        (Date32, Timestamp(unit @ (Microsecond | Nanosecond), None)) => Ok(Shape::Midnight(*unit)),
        (Null, _) => cast(),
        _ => Err(format!("the file has {file} and the table has {wanted}")),
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "tests")]
mod tests {
    use datafusion::arrow::array::{Int32Array, Int64Array};
    use datafusion::arrow::buffer::NullBuffer;

    use super::*;

    fn structs(values: Vec<Option<i32>>, nulls: Vec<bool>) -> ArrayRef {
        let fields = Fields::from(vec![Field::new("x", DataType::Int32, true)]);
        let nulls = Some(NullBuffer::from(nulls));
        Arc::new(StructArray::new(fields, vec![Arc::new(Int32Array::from(values))], nulls))
    }

    fn of(field: Field, source: Source) -> Shape {
        Shape::Struct { fields: vec![field].into(), from: vec![source] }
    }

    #[test]
    fn a_list_that_is_a_slice_of_another_keeps_its_own_values_only() {
        let element = Arc::new(Field::new("element", DataType::Int32, true));
        let values = Arc::new(Int32Array::from(vec![None, Some(1), Some(2), Some(3), None]));
        let nulls = Some(NullBuffer::from(vec![true, true, false, true, true]));
        let list = ListArray::new(element, OffsetBuffer::from_lengths([1, 0, 0, 3, 1]), values, nulls);
        // NULLs may be outside of the slice where there may be none inside.
        let element = Arc::new(Field::new("e", DataType::Int64, false));
        let shape = Shape::List { element, inside: Box::new(Shape::Cast(DataType::Int64)) };
        let whole: ArrayRef = Arc::new(list);
        assert!(matches!(shape.apply(&whole), Err(Unshaped::Null)));
        let shaped = shape.apply(&whole.slice(1, 3)).unwrap();
        let list = shaped.as_list::<i32>();
        assert_eq!((list.len(), list.is_null(1), list.value(0).len()), (3, true, 0));
        assert_eq!(list.value(2).as_ref(), &Int64Array::from(vec![1, 2, 3]) as &dyn Array);
    }

    #[test]
    fn what_is_null_stays_null_with_all_that_is_in_it() {
        let array = structs(vec![Some(1), None, Some(3)], vec![true, false, true]);
        let filled = of(Field::new("y", DataType::Int64, true), Source::Missing(ScalarValue::Int64(Some(7))));
        let shaped = filled.apply(&array.slice(1, 2)).unwrap();
        let column = shaped.as_struct().column(0);
        assert_eq!(column.as_ref(), &Int64Array::from(vec![None, Some(7)]) as &dyn Array);
        assert_eq!((shaped.is_null(0), shaped.is_null(1)), (true, false));
    }

    #[test]
    fn a_required_field_is_there_or_the_rows_are_refused() {
        let required = Field::new("y", DataType::Int32, false);
        let missing = of(required.clone(), Source::Required);
        assert!(matches!(missing.apply(&structs(vec![None], vec![true])), Err(Unshaped::Missing)));
        assert_eq!(missing.apply(&structs(vec![None, None], vec![false, false])).unwrap().null_count(), 2);
        let there = of(required, Source::Child { index: 0, shape: Shape::Same });
        assert!(matches!(there.apply(&structs(vec![None], vec![true])), Err(Unshaped::Null)));
        assert!(there.apply(&structs(vec![None, Some(1)], vec![false, true])).is_ok());
    }

    #[test]
    fn other_types_are_refused() {
        for (file, table) in [
            (DataType::Int64, DataType::Int32),
            (DataType::Float64, DataType::Float32),
            (DataType::Decimal128(12, 2), DataType::Decimal128(9, 2)),
            (DataType::Decimal128(9, 3), DataType::Decimal128(12, 2)),
            (DataType::Utf8, DataType::Int32),
            (DataType::Date32, DataType::Timestamp(TimeUnit::Microsecond, Some("UTC".into()))),
            (DataType::Timestamp(TimeUnit::Nanosecond, None), DataType::Timestamp(TimeUnit::Microsecond, None)),
            (DataType::Timestamp(TimeUnit::Microsecond, None), DataType::Timestamp(TimeUnit::Nanosecond, None)),
            (DataType::FixedSizeBinary(4), DataType::FixedSizeBinary(5)),
        ] {
            assert!(plain(&file, &table).is_err(), "{file} {table}");
        }
    }
}
