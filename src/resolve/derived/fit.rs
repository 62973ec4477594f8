//! What a query makes is held against the contract: by name, in the contract's order, in its types.
//!
//! ```text
//! contract   region string, orders long       query   count(*) AS orders (long), region (text), note (text)
//! fitted     region <- 1, orders <- 0         note is in no contract, and so it is not there
//! ```
//!
//! A type is widened where every value has room in the other one, and else it is drift. Nothing is served on a guess.

use datafusion::arrow::datatypes::{DataType, Field, TimeUnit};
use datafusion::common::DFSchema;
use polder_catalog::contract::{Column, Contract, LogicalType, PhysicalType, Type};

use super::super::describe::word;
use super::super::outline;
use crate::scan::ScanColumn;

/// A column of the contract, found in what a query makes.
#[derive(Debug)]
pub(super) struct Fitted {
    name: String,
    /// Where it stands among the query's columns.
    pub(super) place: usize,
    /// The type under which it is served.
    pub(super) kind: DataType,
}

/// A column that a query does not make as the contract says.
#[derive(Debug, PartialEq)]
pub(super) struct Misfit {
    pub(super) column: String,
    pub(super) what: String,
    /// What its owner writes instead.
    pub(super) instead: String,
    pub(super) is_missing: bool,
}

impl Fitted {
    /// Its place, as cuts know columns.
    pub(super) fn id(&self) -> i32 {
        i32::try_from(self.place).unwrap_or(i32::MAX)
    }

    /// The same as a column of a scan, to be cut like one.
    pub(super) fn as_column(&self) -> ScanColumn {
        ScanColumn { name: self.name.clone(), field_id: self.id(), fields: None }
    }
}

/// Finds the contract's columns.
///
/// # Errors
/// The first one that is not there, or not of its type.
pub(super) fn fit(contract: &Contract, schema: &DFSchema) -> Result<Vec<Fitted>, Misfit> {
    contract.columns.iter().map(|column| fit_one(column, schema)).collect()
}

/// Finds one of them.
///
/// # Errors
/// When it is not there, or not of its type.
pub(super) fn fit_one(column: &Column, schema: &DFSchema) -> Result<Fitted, Misfit> {
    let name = &column.name;
    let misfit = |what: String, instead: String| Misfit { column: name.clone(), what, instead, is_missing: false };
    let mut found = schema.fields().iter().enumerate().filter(|(_, field)| field.name() == name);
    let Some((place, field)) = found.next() else {
        let instead = format!("write `… AS {name}` in the query, or take the column out of the contract");
        return Err(Misfit { is_missing: true, ..misfit("is missing".to_owned(), instead) });
    };
    if found.next().is_some() {
        return Err(misfit("is made twice".to_owned(), format!("let one column of the query be `{name}`")));
    }
    let kind = served(column, field.data_type()).ok_or_else(|| {
        let found = word(field.data_type());
        misfit(format!("has type `{found}`, and the contract says `{}`", column.kind), cast(column))
    })?;
    Ok(Fitted { name: column.name.clone(), place, kind })
}

/// How a query makes a column of the contract's type.
fn cast(column: &Column) -> String {
    let sql = match &column.kind {
        Type::Physical(PhysicalType::Boolean) | Type::Logical(LogicalType::Boolean) => "BOOLEAN".to_owned(),
        Type::Physical(PhysicalType::Int) => "INT".to_owned(),
        Type::Physical(PhysicalType::Long) | Type::Logical(LogicalType::Integer) => "BIGINT".to_owned(),
        Type::Physical(PhysicalType::Float) => "REAL".to_owned(),
        Type::Physical(PhysicalType::Double) | Type::Logical(LogicalType::Number) => "DOUBLE".to_owned(),
        Type::Physical(kind @ PhysicalType::Decimal { .. }) => kind.to_string(),
        Type::Physical(PhysicalType::Date) | Type::Logical(LogicalType::Date) => "DATE".to_owned(),
        Type::Physical(PhysicalType::String) | Type::Logical(LogicalType::String) => "VARCHAR".to_owned(),
        _ => return "make it of that type in the query, or correct the contract".to_owned(),
    };
    format!("write `CAST(… AS {sql}) AS {}` in the query, or correct the contract", column.name)
}

/// The type under which a column of type `found` is served, if it is what the contract declares.
fn served(column: &Column, found: &DataType) -> Option<DataType> {
    use PhysicalType as P;
    let physical = match &column.kind {
        Type::Physical(physical) => physical,
        Type::Logical(logical) => return of_family(column, *logical, found),
    };
    match physical {
        P::String => found.is_string().then_some(DataType::Utf8View),
        P::Binary => found.is_binary().then_some(DataType::BinaryView),
        P::Uuid => (*found == DataType::FixedSizeBinary(16)).then(|| found.clone()),
        P::Fixed(length) => {
            let declared = i32::try_from(*length).ok().map(DataType::FixedSizeBinary);
            declared.filter(|declared| declared == found)
        }
        P::Timestamptz | P::TimestamptzNs => is_instant(physical, found).then(|| found.clone()),
        P::Struct | P::List | P::Map => holds(column, physical, found).then(|| found.clone()),
        P::Unknown | P::Variant | P::Geometry | P::Geography => None,
        P::Boolean
        | P::Int
        | P::Long
        | P::Float
        | P::Double
        | P::Decimal { .. }
        | P::Date
        | P::Time
        | P::Timestamp
        | P::TimestampNs => {
            let declared = outline::kind(column);
            (declared == *found || widens(found, &declared)).then_some(declared)
        }
    }
}

fn of_family(column: &Column, family: LogicalType, found: &DataType) -> Option<DataType> {
    use LogicalType as L;
    let is_of = match family {
        L::String if found.is_string() => return Some(DataType::Utf8View),
        L::String => matches!(found, DataType::FixedSizeBinary(_)) || found.is_binary(),
        L::Boolean => *found == DataType::Boolean,
        L::Integer => found.is_integer(),
        L::Number => found.is_numeric(),
        L::Date => matches!(found, DataType::Date32 | DataType::Timestamp(..)),
        L::Timestamp => matches!(found, DataType::Timestamp(..)),
        L::Time => matches!(found, DataType::Time64(_)),
        L::Object => holds(column, &PhysicalType::Struct, found) || holds(column, &PhysicalType::Map, found),
        L::Array => holds(column, &PhysicalType::List, found),
    };
    is_of.then(|| found.clone())
}

/// Whether a type is an instant in UTC, whatever UTC is called.
fn is_instant(declared: &PhysicalType, found: &DataType) -> bool {
    let unit = match declared {
        PhysicalType::TimestamptzNs => TimeUnit::Nanosecond,
        _ => TimeUnit::Microsecond,
    };
    matches!(found, DataType::Timestamp(found, Some(zone)) if *found == unit && ["UTC", "+00:00"].contains(&zone.as_ref()))
}

/// Whether a nested type has the declared fields, in their order, and no others.
fn holds(column: &Column, declared: &PhysicalType, found: &DataType) -> bool {
    match (declared, found) {
        (PhysicalType::Struct, DataType::Struct(fields)) => {
            !fields.is_empty()
                && fields.len() == column.fields.len()
                && column
                    .fields
                    .iter()
                    .zip(fields)
                    .all(|(declared, found)| declared.name == *found.name() && is_as_it_is(declared, found.data_type()))
        }
        (PhysicalType::List, DataType::List(element) | DataType::LargeList(element)) => element_holds(column, element),
        (PhysicalType::Map, DataType::Map(entries, _)) => match entries.data_type() {
            DataType::Struct(entries) => entries.get(1).is_some_and(|value| element_holds(column, value)),
            _ => false,
        },
        _ => false,
    }
}

/// What a list or a map holds: structs where the contract declares fields, and else what is no struct.
fn element_holds(column: &Column, element: &Field) -> bool {
    match element.data_type() {
        found @ DataType::Struct(_) => holds(column, &PhysicalType::Struct, found),
        DataType::List(inner) | DataType::LargeList(inner) => element_holds(column, inner),
        _ => column.fields.is_empty(),
    }
}

/// Whether a field inside is served as it is: it is cast no more.
fn is_as_it_is(declared: &Column, found: &DataType) -> bool {
    served(declared, found).is_some_and(|kind| kind == *found || found.is_string() || found.is_binary())
}

/// Whether every value of a type has room in another one.
fn widens(from: &DataType, to: &DataType) -> bool {
    use DataType as D;
    match (from, to) {
        (D::Null, _)
        | (D::Int8 | D::Int16 | D::UInt8 | D::UInt16, D::Int32 | D::Int64)
        | (D::Int32 | D::UInt32, D::Int64)
        | (D::Float16, D::Float32 | D::Float64)
        | (D::Float32, D::Float64) => true,
        (D::Decimal128(p, s), D::Decimal128(q, t)) => {
            let whole = |precision: u8, scale: i8| i16::from(precision) - i16::from(scale);
            s <= t && whole(*p, *s) <= whole(*q, *t)
        }
        _ => false,
    }
}
