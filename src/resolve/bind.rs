//! A contract's columns are bound to the field ids of a table, or the table is in drift.
//!
//! Nothing is bound on a guess: a column that is missing, of another type, or there again under a new field id is an
//! error for the whole product, whoever asks and whichever columns they may see.

use iceberg::spec::{PrimitiveType, Schema, Type as TableType};
use polder_catalog::contract::{Column, Contract, LogicalType, PhysicalType, Type};
use polder_catalog::name::ProductRef;

use crate::error::{Class, Error};
use crate::scan::{ScanColumn, lineage};

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
    // Row lineage is no field of any schema, and every table of the third version has it.
    let lineage = lineage::reserved(&column.physical_name).and_then(lineage::field);
    let field = field.or(lineage.as_ref()).ok_or_else(|| drift("is missing".to_owned()))?;
    if column.field_id.is_some_and(|id| id != field.id) {
        return Err(drift("was dropped and added again".to_owned()));
    }
    if !keeps(&column.kind, &field.field_type) {
        return Err(drift(format!("has type `{}`, and the contract says `{}`", kind(&field.field_type), column.kind)));
    }
    nested(column, &field.field_type).map_err(drift)?;
    Ok(ScanColumn { name: column.name.clone(), field_id: field.id })
}

/// A type without the fields inside it, which the contract may not name.
fn kind(found: &TableType) -> String {
    match found {
        TableType::Primitive(found) => found.to_string(),
        TableType::Struct(_) => "struct".to_owned(),
        TableType::List(_) => "list".to_owned(),
        TableType::Map(_) => "map".to_owned(),
    }
}

/// Holds the fields of a struct against the contract, at any depth. They are served as one value, so a field that the
/// contract does not name would be seen without anyone having decided so.
fn nested(column: &Column, found: &TableType) -> Result<(), String> {
    match found {
        TableType::Primitive(_) => Ok(()),
        TableType::List(list) => nested(column, &list.element_field.field_type),
        TableType::Map(map) => match map.key_field.field_type.as_ref() {
            TableType::Primitive(_) => nested(column, &map.value_field.field_type),
            _ => Err("has a map with keys that are not plain values".to_owned()),
        },
        TableType::Struct(fields) => {
            let undeclared =
                fields.fields().iter().any(|field| !column.fields.iter().any(|f| f.physical_name == field.name));
            if undeclared {
                return Err("has a field inside that the contract does not declare".to_owned());
            }
            column.fields.iter().try_for_each(|declared| {
                let name = &declared.physical_name;
                let field = fields.fields().iter().find(|field| field.name == *name);
                let field = field.ok_or_else(|| format!("has no field `{name}` inside"))?;
                if *name != declared.name {
                    return Err(format!(
                        "has a field `{name}` inside that the contract renames, which is not supported"
                    ));
                }
                if declared.field_id.is_some_and(|id| id != field.id) {
                    return Err(format!("has a field `{name}` inside that was dropped and added again"));
                }
                if !keeps(&declared.kind, &field.field_type) {
                    let found = kind(&field.field_type);
                    return Err(format!(
                        "has a field `{name}` of type `{found}`, and the contract says `{}`",
                        declared.kind
                    ));
                }
                nested(declared, &field.field_type)
            })
        }
    }
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

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::panic, reason = "tests")]
mod tests {
    use std::collections::BTreeSet;
    use std::sync::Arc;

    use iceberg::spec::{ListType, NestedField, StructType};
    use polder_catalog::contract::Status;
    use polder_catalog::document::Place;

    use super::*;

    fn column(name: &str, kind: PhysicalType, fields: Vec<Column>) -> Column {
        Column {
            name: name.to_owned(),
            physical_name: name.to_owned(),
            kind: Type::Physical(kind),
            required: false,
            key: None,
            description: None,
            classification: None,
            tags: BTreeSet::new(),
            fields,
            field_id: None,
            place: Place { file: "shop/products/p.odcs.yaml".into(), line: 3, column: 5 },
        }
    }

    fn check(columns: Vec<Column>, expect: Result<&[i32], &str>) {
        let place = Place { file: "shop/products/p.odcs.yaml".into(), line: 1, column: 1 };
        let contract = Contract {
            major: 1,
            version: "1.0.0".to_owned(),
            status: Status::Active,
            description: None,
            purpose: None,
            table: "shop.p".to_owned(),
            tags: BTreeSet::new(),
            columns,
            support: Vec::new(),
            sla: Vec::new(),
            place,
        };
        let field = |id, name: &str, kind| Arc::new(NestedField::optional(id, name, kind));
        let text = || TableType::Primitive(PrimitiveType::String);
        let address = || TableType::Struct(StructType::new(vec![field(10, "city", text()), field(11, "ssn", text())]));
        let people = TableType::List(ListType::new(Arc::new(NestedField::list_element(
            12,
            TableType::Struct(StructType::new(vec![field(13, "name", text())])),
            true,
        ))));
        let schema = Schema::builder()
            .with_fields(vec![
                field(1, "id", TableType::Primitive(PrimitiveType::Long)),
                field(2, "address", address()),
                field(3, "people", people),
            ])
            .build()
            .unwrap();
        let product = ProductRef::parse("shop", "p").unwrap();
        match (bind(&product, &contract, &schema), expect) {
            (Ok(bound), Ok(ids)) => assert_eq!(bound.iter().map(|c| c.field_id).collect::<Vec<_>>(), ids),
            (Err(error), Err(text)) => {
                assert_eq!(error.class, Class::Drift);
                assert!(error.message.contains(text), "{error}");
            }
            (found, expected) => panic!("{found:?} and not {expected:?}"),
        }
    }

    #[test]
    fn columns_bind_by_name_in_the_contracts_order() {
        let text = |name| column(name, PhysicalType::String, vec![]);
        let address = column("address", PhysicalType::Struct, vec![text("ssn"), text("city")]);
        let people = column("people", PhysicalType::List, vec![text("name")]);
        check(vec![people, address, column("id", PhysicalType::Long, vec![])], Ok(&[3, 2, 1]));
    }

    #[test]
    fn row_lineage_binds_by_its_reserved_names() {
        let row = |kind| column("_row_id", kind, vec![]);
        let changed = column("_last_updated_sequence_number", PhysicalType::Long, vec![]);
        check(vec![row(PhysicalType::Long), changed], Ok(&[lineage::ROW_ID, lineage::LAST_UPDATED]));
        check(vec![row(PhysicalType::Int)], Err("has type `long`"));
    }

    #[test]
    fn a_missing_retyped_or_added_again_column_is_drift() {
        check(vec![column("gone", PhysicalType::Long, vec![])], Err("`gone` is missing"));
        check(vec![column("id", PhysicalType::Int, vec![])], Err("has type `long`"));
        check(vec![Column { field_id: Some(7), ..column("id", PhysicalType::Long, vec![]) }], Err("added again"));
    }

    #[test]
    fn a_field_inside_that_the_contract_does_not_declare_is_never_served() {
        let text = |name| column(name, PhysicalType::String, vec![]);
        check(vec![column("address", PhysicalType::Struct, vec![text("city")])], Err("does not declare"));
        check(vec![column("address", PhysicalType::Struct, vec![])], Err("does not declare"));
        check(vec![column("people", PhysicalType::List, vec![])], Err("does not declare"));
        let more = vec![text("city"), text("ssn"), text("zip")];
        check(vec![column("address", PhysicalType::Struct, more)], Err("no field `zip`"));
        let renamed = Column { name: "social".to_owned(), ..text("ssn") };
        check(vec![column("address", PhysicalType::Struct, vec![text("city"), renamed])], Err("renames"));
    }
}
