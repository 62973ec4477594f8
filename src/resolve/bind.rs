//! A contract's columns are bound to the field ids of a table, or the table is in drift.
//!
//! Nothing is bound on a guess: a column that is missing, of another type, or there again under a new field id is an
//! error for the whole product, whoever asks and whichever columns they may see. The same holds for the fields inside a
//! column. What the table has and the contract does not declare is unseen, at any depth.
//!
//! A column of a type that cannot be read is bound all the same, and told apart: the others of its table can be.

use std::collections::BTreeMap;

use iceberg::spec::{NestedField, PrimitiveType, Schema, Type as TableType};
use polder_catalog::contract::{Column, Contract, LogicalType, PhysicalType, Type};
use polder_catalog::document::Place;
use polder_catalog::name::ProductRef;

use crate::error::{Class, Error};
use crate::lake::metadata::Beyond;
use crate::scan::{ScanColumn, lineage};

/// A contract's columns, found in a table.
#[derive(Debug)]
pub struct Binding {
    /// Those that can be read, in the contract's order and under its names, each with its field id.
    pub columns: Vec<ScanColumn>,
    /// The type that keeps a column from being read, by the column's name.
    pub unavailable: BTreeMap<String, String>,
}

/// Finds the contract's columns in a table's schema, of which `beyond` says what it cannot.
///
/// # Errors
/// `Drift`, naming the column.
pub fn bind(product: &ProductRef, contract: &Contract, schema: &Schema, beyond: &Beyond) -> Result<Binding, Error> {
    let mut binding = Binding { columns: Vec::with_capacity(contract.columns.len()), unavailable: BTreeMap::new() };
    for column in &contract.columns {
        let mut unread = None;
        let bound = bind_column(product, column, schema, beyond, &mut unread)?;
        match unread {
            Some(kind) => drop(binding.unavailable.insert(bound.name, kind)),
            None => binding.columns.push(bound),
        }
    }
    Ok(binding)
}

/// All that is wrong with the contract's columns in a table, each with where the contract declares it.
pub fn drifts(product: &ProductRef, contract: &Contract, schema: &Schema, beyond: &Beyond) -> Vec<(Place, String)> {
    let of = |column: &Column| {
        let error = bind_column(product, column, schema, beyond, &mut None).err()?;
        Some((column.place.clone(), error.message))
    };
    contract.columns.iter().filter_map(of).collect()
}

/// The error for a query that names a column which cannot be read.
pub fn unavailable(product: &str, column: &str, kind: &str) -> Error {
    Error::new(Class::Drift, format!("column `{column}` of `{product}` has type `{kind}`, which cannot be read"))
}

fn bind_column(
    product: &ProductRef,
    column: &Column,
    schema: &Schema,
    beyond: &Beyond,
    unread: &mut Option<String>,
) -> Result<ScanColumn, Error> {
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
    if !keeps(&column.kind, field, beyond) {
        let found = kind(field, beyond);
        return Err(drift(format!("has type `{found}`, and the contract says `{}`", column.kind)));
    }
    let fields = nested(column, field, beyond, unread).map_err(drift)?;
    Ok(ScanColumn { name: column.name.clone(), field_id: field.id, fields })
}

/// A type without the fields inside it, which the contract may not name.
fn kind(found: &NestedField, beyond: &Beyond) -> String {
    match (beyond.kind(found.id), found.field_type.as_ref()) {
        (Some(kind), _) => kind.to_owned(),
        (None, TableType::Primitive(found)) => found.to_string(),
        (None, TableType::Struct(_)) => "struct".to_owned(),
        (None, TableType::List(_)) => "list".to_owned(),
        (None, TableType::Map(_)) => "map".to_owned(),
    }
}

/// The fields that the contract declares of the struct that a field is, or that its lists and maps hold. The struct is
/// served as one value, so it has those alone.
fn nested(
    column: &Column,
    found: &NestedField,
    beyond: &Beyond,
    unread: &mut Option<String>,
) -> Result<Option<Vec<ScanColumn>>, String> {
    match found.field_type.as_ref() {
        TableType::Primitive(_) => {
            // Of the type `unknown` there is nothing but NULL, which can be read.
            if let Some(kind) = beyond.kind(found.id).filter(|kind| *kind != "unknown") {
                unread.get_or_insert_with(|| kind.to_owned());
            }
            Ok(None)
        }
        TableType::List(list) => nested(column, &list.element_field, beyond, unread),
        TableType::Map(map) => match map.key_field.field_type.as_ref() {
            TableType::Primitive(_) => {
                nested(column, &map.key_field, beyond, unread)?;
                nested(column, &map.value_field, beyond, unread)
            }
            _ => Err("has a map with keys that are not plain values".to_owned()),
        },
        TableType::Struct(_) if column.fields.is_empty() => {
            Err("has fields inside, and the contract declares none of them".to_owned())
        }
        TableType::Struct(fields) => {
            let declared = column.fields.iter().map(|declared| {
                let name = &declared.physical_name;
                let field = fields.fields().iter().find(|field| field.name == *name);
                let field = field.ok_or_else(|| format!("has no field `{name}` inside"))?;
                if declared.field_id.is_some_and(|id| id != field.id) {
                    return Err(format!("has a field `{name}` inside that was dropped and added again"));
                }
                if !keeps(&declared.kind, field, beyond) {
                    let found = kind(field, beyond);
                    return Err(format!(
                        "has a field `{name}` of type `{found}`, and the contract says `{}`",
                        declared.kind
                    ));
                }
                let fields = nested(declared, field, beyond, unread)?;
                Ok(ScanColumn { name: declared.name.clone(), field_id: field.id, fields })
            });
            declared.collect::<Result<_, _>>().map(Some)
        }
    }
}

/// Whether a table's type is what the contract says. A type with a stand-in has a name, which the contract writes without
/// arguments, and is in no family of types.
fn keeps(declared: &Type, found: &NestedField, beyond: &Beyond) -> bool {
    match (declared, beyond.kind(found.id)) {
        (Type::Physical(declared), Some(kind)) => kind.split('(').next() == Some(declared.to_string().as_str()),
        (Type::Logical(_), Some(_)) => true,
        (Type::Physical(declared), None) => is_physical(declared, &found.field_type),
        (Type::Logical(declared), None) => is_logical(*declared, &found.field_type),
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
#[allow(clippy::unwrap_used, clippy::indexing_slicing, clippy::panic, reason = "tests")]
mod tests {
    use std::collections::BTreeSet;
    use std::sync::Arc;

    use iceberg::spec::{ListType, NestedField, StructType};
    use polder_catalog::contract::{Data, Status};
    use polder_catalog::document::{Place, Value};

    use super::*;

    fn column(name: &str, kind: PhysicalType, fields: Vec<Column>) -> Column {
        Column {
            name: name.to_owned(),
            physical_name: name.to_owned(),
            kind: Type::Physical(kind),
            required: false,
            key: None,
            partition: None,
            description: None,
            classification: None,
            tags: BTreeSet::new(),
            fields,
            field_id: None,
            pattern: None,
            examples: Vec::new(),
            declassified: None,
            place: Place { file: "shop/products/p.odcs.yaml".into(), line: 3, column: 5 },
        }
    }

    fn bound(columns: Vec<Column>) -> Result<Binding, Error> {
        bound_beyond(columns, &Beyond::default())
    }

    fn bound_beyond(columns: Vec<Column>, beyond: &Beyond) -> Result<Binding, Error> {
        let place = Place { file: "shop/products/p.odcs.yaml".into(), line: 1, column: 1 };
        let contract = Contract {
            major: 1,
            version: "1.0.0".to_owned(),
            status: Status::Active,
            description: None,
            purpose: None,
            data: Data::Table("shop.p".to_owned()),
            tags: BTreeSet::new(),
            columns,
            references: Vec::new(),
            support: Vec::new(),
            sla: Vec::new(),
            quality: Vec::new(),
            licence: None,
            place,
            document: Arc::new(Value::Null),
            closed_rows: false,
            refuses_stale: false,
            keeps_results: false,
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
        bind(&product, &contract, &schema, beyond)
    }

    fn check(columns: Vec<Column>, expect: Result<&[i32], &str>) {
        match (bound(columns), expect) {
            (Ok(bound), Ok(ids)) => {
                assert_eq!(bound.columns.iter().map(|c| c.field_id).collect::<Vec<_>>(), ids);
                assert!(bound.unavailable.is_empty());
            }
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
    fn a_field_inside_that_the_contract_does_not_declare_is_unseen() {
        let text = |name| column(name, PhysicalType::String, vec![]);
        let renamed = Column { name: "town".to_owned(), ..text("city") };
        let address = column("address", PhysicalType::Struct, vec![renamed]);
        let bound = bound(vec![address]).unwrap().columns;
        let inside = bound[0].fields.as_deref().unwrap();
        assert_eq!((inside[0].name.as_str(), inside[0].field_id, inside.len()), ("town", 10, 1));
        check(vec![column("address", PhysicalType::Struct, vec![])], Err("declares none"));
        check(vec![column("people", PhysicalType::List, vec![])], Err("declares none"));
    }

    #[test]
    fn a_type_that_cannot_be_read_keeps_its_column_alone() {
        let text = |name| column(name, PhysicalType::String, vec![]);
        let beyond = Beyond::of([(1, "unknown"), (10, "variant"), (13, "geometry(srid:4326)")]);
        let odd = |name, kind, field| column(name, kind, vec![field]);
        let city = odd("address", PhysicalType::Struct, column("city", PhysicalType::Variant, vec![]));
        let ssn = odd("address", PhysicalType::Struct, text("ssn"));
        let people = odd("people", PhysicalType::List, column("name", PhysicalType::Geometry, vec![]));
        let id = column("id", PhysicalType::Unknown, vec![]);
        let bound = bound_beyond(vec![id, city, people], &beyond).unwrap();
        assert_eq!(bound.columns.iter().map(|column| column.field_id).collect::<Vec<_>>(), [1]);
        let kinds: Vec<_> = bound.unavailable.iter().map(|(name, kind)| (name.as_str(), kind.as_str())).collect();
        assert_eq!(kinds, [("address", "variant"), ("people", "geometry(srid:4326)")]);
        assert!(bound_beyond(vec![ssn], &beyond).unwrap().unavailable.is_empty());
        let error = bound_beyond(vec![column("id", PhysicalType::Long, vec![])], &beyond).unwrap_err();
        assert!(error.message.contains("has type `unknown`"), "{error}");
    }

    #[test]
    fn a_missing_retyped_or_added_again_field_inside_is_drift() {
        let text = |name| column(name, PhysicalType::String, vec![]);
        let with = |field| vec![column("address", PhysicalType::Struct, vec![text("city"), field])];
        check(with(text("zip")), Err("no field `zip`"));
        check(with(column("ssn", PhysicalType::Long, vec![])), Err("field `ssn` of type `string`"));
        check(with(Column { field_id: Some(99), ..text("ssn") }), Err("added again"));
    }
}
