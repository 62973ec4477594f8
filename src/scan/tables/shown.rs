//! What of a table may be shown: contract columns, and partitions by contract columns, as text.

use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;

use datafusion::arrow::array::types::{
    Date32Type, Decimal128Type, DecimalType, Time64MicrosecondType, TimestampMicrosecondType, TimestampNanosecondType,
};
use datafusion::arrow::temporal_conversions::{as_date, as_datetime, as_time};
use iceberg::spec::{Datum, FieldSummary, PrimitiveLiteral, PrimitiveType, Transform, Type};
use iceberg::table::Table;

use super::paths::Paths;
use crate::lake::metadata::Beyond;
use crate::scan::ScanColumn;

/// How many letters of a value are shown.
const LONGEST: usize = 256;

/// What may be shown of one table.
#[derive(Debug)]
pub(super) struct Shown {
    pub(super) paths: Paths,
    /// The contract's columns by field id.
    columns: HashMap<i32, Arc<str>>,
    /// Their types, where they have bounds.
    kinds: HashMap<i32, PrimitiveType>,
    /// For each partition spec its fields over contract columns.
    specs: HashMap<i32, Vec<Part>>,
}

/// A field of a partition spec over a contract column.
#[derive(Debug)]
struct Part {
    /// Its place in the spec.
    place: usize,
    column: Arc<str>,
    transform: Transform,
    kind: PrimitiveType,
}

/// A partition's value for one column.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct PartitionValue {
    pub(super) column: Arc<str>,
    pub(super) transform: String,
    pub(super) value: Option<String>,
}

/// What a manifest list knows of the partitions in one manifest, for one column.
#[derive(Debug)]
pub(super) struct PartitionBounds {
    pub(super) column: Arc<str>,
    pub(super) transform: String,
    pub(super) contains_null: bool,
    pub(super) contains_nan: Option<bool>,
    pub(super) lower: Option<String>,
    pub(super) upper: Option<String>,
}

impl Shown {
    pub(super) fn new(table: &Table, beyond: &Beyond, columns: &[ScanColumn]) -> Self {
        let metadata = table.metadata();
        let kind = |column: &ScanColumn| {
            // A type that has a stand-in is none of which bounds are known.
            let id = Some(column.field_id).filter(|id| beyond.kind(*id).is_none())?;
            match metadata.current_schema().field_by_id(id)?.field_type.as_ref() {
                Type::Primitive(kind) => Some((id, kind.clone())),
                _ => None,
            }
        };
        let kinds = columns.iter().filter_map(kind).collect();
        let columns: HashMap<i32, Arc<str>> =
            columns.iter().map(|column| (column.field_id, column.name.as_str().into())).collect();
        let mut names = BTreeSet::new();
        let mut specs = HashMap::new();
        for spec in metadata.partition_specs_iter() {
            let mut parts = Vec::new();
            for (place, field) in spec.fields().iter().enumerate() {
                let Some(column) = columns.get(&field.source_id) else { continue };
                names.insert(field.name.clone());
                let source = metadata.current_schema().field_by_id(field.source_id).map(|field| &field.field_type);
                let result = source.and_then(|source| field.transform.result_type(source).ok());
                if let Some(Type::Primitive(kind)) = result {
                    parts.push(Part { place, column: Arc::clone(column), transform: field.transform, kind });
                }
            }
            specs.insert(spec.spec_id(), parts);
        }
        // A name that also stands for a column outside the contract, in another spec, shows nothing.
        for field in metadata.partition_specs_iter().flat_map(|spec| spec.fields()) {
            if !columns.contains_key(&field.source_id) {
                names.remove(&field.name);
            }
        }
        Self { paths: Paths { location: metadata.location().to_owned(), partitions: names }, columns, kinds, specs }
    }

    /// The contract's columns, by field id.
    pub(super) fn columns(&self) -> impl Iterator<Item = (i32, &Arc<str>)> {
        self.columns.iter().map(|(id, name)| (*id, name))
    }

    fn parts(&self, spec: i32) -> impl Iterator<Item = &Part> {
        self.specs.get(&spec).into_iter().flatten()
    }

    /// A column's bound as text.
    pub(super) fn bound(&self, id: i32, bytes: &[u8]) -> Option<String> {
        let kind = self.kinds.get(&id)?;
        let datum = Datum::try_from_bytes(bytes, kind.clone()).ok()?;
        text(Transform::Identity, kind, datum.literal())
    }

    /// The values of a partition that may be shown, out of those of all its fields.
    pub(super) fn partition(&self, spec: i32, values: &[Option<Vec<u8>>]) -> Vec<PartitionValue> {
        let value = |part: &Part| {
            let bytes = values.get(part.place)?.as_deref()?;
            text(part.transform, &part.kind, &kept(bytes, &part.kind)?)
        };
        let shown = |part: &Part| PartitionValue {
            column: Arc::clone(&part.column),
            transform: part.transform.to_string(),
            value: value(part),
        };
        self.parts(spec).map(shown).collect()
    }

    /// What a manifest list knows of a manifest's partitions, as far as it may be shown.
    pub(super) fn partition_bounds(&self, spec: i32, summaries: &[FieldSummary]) -> Vec<PartitionBounds> {
        let parts = self.parts(spec).filter_map(|part| Some((part, summaries.get(part.place)?)));
        let shown = |(part, summary): (&Part, &FieldSummary)| {
            let bound = |bytes: Option<&[u8]>| {
                let datum = Datum::try_from_bytes(bytes?, part.kind.clone()).ok()?;
                text(part.transform, &part.kind, datum.literal())
            };
            PartitionBounds {
                column: Arc::clone(&part.column),
                transform: part.transform.to_string(),
                contains_null: summary.contains_null,
                contains_nan: summary.contains_nan,
                lower: bound(summary.lower_bound.as_ref().map(|bytes| bytes.as_ref())),
                upper: bound(summary.upper_bound.as_ref().map(|bytes| bytes.as_ref())),
            }
        };
        parts.map(shown).collect()
    }
}

/// A partition's value as the index keeps it: every whole number in eight bytes, and every other one too.
fn kept(bytes: &[u8], kind: &PrimitiveType) -> Option<PrimitiveLiteral> {
    match kind {
        PrimitiveType::Int | PrimitiveType::Date => {
            let whole = i64::from_le_bytes(bytes.try_into().ok()?);
            i32::try_from(whole).ok().map(PrimitiveLiteral::Int)
        }
        PrimitiveType::Float => {
            #[allow(clippy::cast_possible_truncation, reason = "it was a `float` and is one again")]
            let real = f64::from_le_bytes(bytes.try_into().ok()?) as f32;
            Some(Datum::float(real).literal().clone())
        }
        _ => Some(Datum::try_from_bytes(bytes, kind.clone()).ok()?.literal().clone()),
    }
}

/// A value as text, or nothing for one that its type cannot hold.
fn text(transform: Transform, kind: &PrimitiveType, value: &PrimitiveLiteral) -> Option<String> {
    Some(match (value, transform, kind) {
        // What such a value means nobody knows.
        (_, Transform::Unknown, _) => return None,
        (PrimitiveLiteral::Int(year), Transform::Year, _) => (1970 + i64::from(*year)).to_string(),
        (PrimitiveLiteral::Int(month), Transform::Month, _) => {
            format!("{}-{:02}", 1970 + i64::from(month.div_euclid(12)), month.rem_euclid(12) + 1)
        }
        (PrimitiveLiteral::Int(hour), Transform::Hour, _) => {
            let day = as_date::<Date32Type>(i64::from(hour.div_euclid(24)))?;
            format!("{day}-{:02}", hour.rem_euclid(24))
        }
        (PrimitiveLiteral::Int(day), Transform::Day, _) | (PrimitiveLiteral::Int(day), _, PrimitiveType::Date) => {
            as_date::<Date32Type>(i64::from(*day))?.to_string()
        }
        (PrimitiveLiteral::Long(time), _, PrimitiveType::Time) => as_time::<Time64MicrosecondType>(*time)?.to_string(),
        (PrimitiveLiteral::Long(micros), _, PrimitiveType::Timestamp | PrimitiveType::Timestamptz) => {
            let moment = as_datetime::<TimestampMicrosecondType>(*micros)?;
            if *kind == PrimitiveType::Timestamptz { format!("{moment}Z") } else { moment.to_string() }
        }
        (PrimitiveLiteral::Long(nanos), _, PrimitiveType::TimestampNs | PrimitiveType::TimestamptzNs) => {
            let moment = as_datetime::<TimestampNanosecondType>(*nanos)?;
            if *kind == PrimitiveType::TimestamptzNs { format!("{moment}Z") } else { moment.to_string() }
        }
        (PrimitiveLiteral::Int128(value), _, PrimitiveType::Decimal { precision, scale }) => {
            let (precision, scale) = (u8::try_from(*precision).ok()?, i8::try_from(*scale).ok()?);
            Decimal128Type::format_decimal(*value, precision, scale)
        }
        (PrimitiveLiteral::UInt128(value), _, _) => uuid::Uuid::from_u128(*value).to_string(),
        (PrimitiveLiteral::Boolean(value), _, _) => value.to_string(),
        (PrimitiveLiteral::Int(value), _, _) => value.to_string(),
        (PrimitiveLiteral::Long(value), _, _) => value.to_string(),
        (PrimitiveLiteral::Float(value), _, _) => value.to_string(),
        (PrimitiveLiteral::Double(value), _, _) => value.to_string(),
        (PrimitiveLiteral::String(value), _, _) => match value.char_indices().nth(LONGEST) {
            Some((end, _)) => format!("{}…", value.get(..end)?),
            None => value.clone(),
        },
        (PrimitiveLiteral::Binary(value), _, _) => {
            let bytes: String = value.iter().take(LONGEST / 2).map(|byte| format!("{byte:02x}")).collect();
            if value.len() > LONGEST / 2 { bytes + "…" } else { bytes }
        }
        (PrimitiveLiteral::Int128(_) | PrimitiveLiteral::AboveMax | PrimitiveLiteral::BelowMin, _, _) => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_are_written_as_people_read_them_and_none_is_beyond_its_type() {
        let check = |transform, kind, value, expect: Option<&str>| {
            assert_eq!(text(transform, &kind, &value).as_deref(), expect, "{transform} {kind}");
        };
        use PrimitiveLiteral::{Binary, Int, Int128, Long, String, UInt128};
        use Transform::{Bucket, Day, Hour, Identity, Month, Year};
        check(Year, PrimitiveType::Int, Int(-1), Some("1969"));
        check(Month, PrimitiveType::Int, Int(660), Some("2025-01"));
        check(Month, PrimitiveType::Int, Int(-1), Some("1969-12"));
        check(Day, PrimitiveType::Date, Int(0), Some("1970-01-01"));
        check(Hour, PrimitiveType::Int, Int(25), Some("1970-01-02-01"));
        check(Bucket(4), PrimitiveType::Int, Int(3), Some("3"));
        check(Identity, PrimitiveType::Date, Int(i32::MAX), None);
        check(Identity, PrimitiveType::Time, Long(-1), None);
        check(Identity, PrimitiveType::Timestamp, Long(1_500_000), Some("1970-01-01 00:00:01.500"));
        check(Identity, PrimitiveType::Timestamptz, Long(0), Some("1970-01-01 00:00:00Z"));
        check(Identity, PrimitiveType::Timestamp, Long(i64::MAX), None);
        check(Identity, PrimitiveType::TimestampNs, Long(i64::MIN), Some("1677-09-21 00:12:43.145224192"));
        check(Identity, PrimitiveType::Decimal { precision: 9, scale: 2 }, Int128(-5), Some("-0.05"));
        check(Identity, PrimitiveType::Uuid, UInt128(1), Some("00000000-0000-0000-0000-000000000001"));
        check(Identity, PrimitiveType::Binary, Binary(vec![0, 255]), Some("00ff"));
        check(Identity, PrimitiveType::String, String("é".repeat(300)), Some(&format!("{}…", "é".repeat(256))));
        check(Identity, PrimitiveType::Long, PrimitiveLiteral::AboveMax, None);
        check(Transform::Unknown, PrimitiveType::String, String("a".into()), None);
    }

    #[test]
    fn values_are_those_that_were_kept() {
        let told = |bytes: &[u8], kind| kept(bytes, &kind).and_then(|value| text(Transform::Identity, &kind, &value));
        let uuid: Vec<u8> = (0..16).collect();
        assert_eq!(told(&uuid, PrimitiveType::Uuid).as_deref(), Some("00010203-0405-0607-0809-0a0b0c0d0e0f"));
        assert_eq!(told(&7i64.to_le_bytes(), PrimitiveType::Int).as_deref(), Some("7"));
        assert_eq!(told(&1.5f64.to_le_bytes(), PrimitiveType::Float).as_deref(), Some("1.5"));
        assert_eq!(told(&i64::MAX.to_le_bytes(), PrimitiveType::Int), None);
        assert_eq!(told(b"abc", PrimitiveType::Date), None);
    }
}
