//! A contract's columns are bound to the field ids of a table, or the table is in drift.
//!
//! Nothing is bound on a guess: a column that is missing, of another type, or there again under a new field id is an
//! error for the whole product, whoever asks and whichever columns they may see.

use iceberg::spec::{PrimitiveType, Schema, Type as TableType};
use polder_catalog::contract::{Column, Contract, LogicalType, PhysicalType, Type};
use polder_catalog::name::ProductRef;

use crate::error::{Class, Error};
use crate::scan::ScanColumn;

/// The contract's columns, in its order and under its names, each with its field id.
///
/// # Errors
/// `Drift`, naming the column.
pub fn bind(product: &ProductRef, contract: &Contract, schema: &Schema) -> Result<Vec<ScanColumn>, Error> {
    contract.columns.iter().map(|column| bind_column(product, column, schema)).collect()
}

fn bind_column(product: &ProductRef, column: &Column, schema: &Schema) -> Result<ScanColumn, Error> {
    let drift = |what: String| {
        Error::new(
            Class::Drift,
            format!("the table of `{product}` does not keep its contract: column `{}` {what}", column.physical_name),
        )
        .help(format!("the contract declares it at {}", column.place))
    };
    // Names of nested fields hold dots too, so only the top level is looked through.
    let field = schema.as_struct().fields().iter().find(|field| field.name == column.physical_name);
    let field = field.ok_or_else(|| drift("is missing".to_owned()))?;
    if column.field_id.is_some_and(|id| id != field.id) {
        return Err(drift("was dropped and added again".to_owned()));
    }
    if !keeps(&column.kind, &field.field_type) {
        return Err(drift(format!("has type `{}`, and the contract says `{}`", field.field_type, column.kind)));
    }
    Ok(ScanColumn { name: column.name.clone(), field_id: field.id })
}

/// Whether a table's type is what the contract says.
fn keeps(declared: &Type, found: &TableType) -> bool {
    match declared {
        Type::Physical(declared) => is_physical(declared, found),
        Type::Logical(declared) => is_logical(*declared, found),
    }
}

fn is_physical(declared: &PhysicalType, found: &TableType) -> bool {
    use PhysicalType as P;
    use PrimitiveType as T;
    match found {
        TableType::Struct(_) => *declared == P::Struct,
        TableType::List(_) => *declared == P::List,
        TableType::Map(_) => *declared == P::Map,
        TableType::Primitive(found) => match (declared, found) {
            (P::Decimal { precision, scale }, T::Decimal { precision: p, scale: s }) => precision == p && scale == s,
            (P::Fixed(length), T::Fixed(found)) => length == found,
            (P::Boolean, T::Boolean)
            | (P::Int, T::Int)
            | (P::Long, T::Long)
            | (P::Float, T::Float)
            | (P::Double, T::Double)
            | (P::Date, T::Date)
            | (P::Time, T::Time)
            | (P::Timestamp, T::Timestamp)
            | (P::Timestamptz, T::Timestamptz)
            | (P::TimestampNs, T::TimestampNs)
            | (P::TimestamptzNs, T::TimestamptzNs)
            | (P::String, T::String)
            | (P::Uuid, T::Uuid)
            | (P::Binary, T::Binary) => true,
            _ => false,
        },
    }
}

fn is_logical(declared: LogicalType, found: &TableType) -> bool {
    use LogicalType as L;
    use PrimitiveType as T;
    match found {
        TableType::Struct(_) | TableType::Map(_) => declared == L::Object,
        TableType::List(_) => declared == L::Array,
        TableType::Primitive(found) => matches!(
            (declared, found),
            (L::Boolean, T::Boolean)
                | (L::Integer, T::Int | T::Long)
                | (L::Number, T::Int | T::Long | T::Float | T::Double | T::Decimal { .. })
                | (L::Date, T::Date)
                | (L::Time, T::Time)
                | (L::Timestamp | L::Date, T::Timestamp | T::Timestamptz | T::TimestampNs | T::TimestamptzNs)
                | (L::String, T::String | T::Uuid | T::Fixed(_) | T::Binary)
        ),
    }
}
