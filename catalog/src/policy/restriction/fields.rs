//! The fields of a table by their ids: what each is, what lies around it, and what of it is served.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::Unenforced;
use crate::contract::{Column, PhysicalType};
use crate::document::quote;

/// A field in the current schema of a table.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Field {
    /// Its id.
    pub id: i32,
    /// Its name in the table.
    pub name: String,
    /// Its type.
    pub kind: PhysicalType,
    /// Whether it is never NULL.
    pub required: bool,
    /// The fields of a struct, the one element of a list, or the key and the value of a map, in this order.
    pub fields: Vec<Field>,
}

/// The name under which row rules read a field of the table that the contract does not declare, by the id of the
/// column that it is or lies in. No column of a contract has such a name.
pub fn undeclared(id: i32) -> String {
    format!("_polder field {id}")
}

/// How a field lies in the one around it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Place {
    /// A column, or a field of a struct.
    Named,
    Element,
    Key,
    Value,
}

/// A field and all around it.
#[derive(Debug, Clone)]
pub(super) struct Found<'t> {
    pub field: &'t Field,
    pub place: Place,
    /// From the column down to the field itself.
    pub line: Vec<i32>,
    /// The columns and fields of the contract on the way, where it declares all of them. Elements of lists and values of
    /// maps have the address of what holds them.
    pub served: Option<Vec<&'t str>>,
    /// The table's names of the same.
    names: Vec<&'t str>,
    /// Whether it has one value in each row, which it has not inside of lists and maps.
    is_single: bool,
    /// Whether it lies in the value of a map.
    pub is_in_map: bool,
}

/// The fields of a table.
#[derive(Debug)]
pub(super) struct Table<'t> {
    by_id: BTreeMap<i32, Found<'t>>,
    top: &'t [Field],
}

impl<'t> Table<'t> {
    pub fn new(top: &'t [Field], columns: &'t [Column]) -> Self {
        let mut table = Self { by_id: BTreeMap::new(), top };
        for field in top {
            let column = columns.iter().find(|column| column.physical_name == field.name);
            let found = Found {
                field,
                place: Place::Named,
                line: vec![field.id],
                served: column.map(|column| vec![column.name.as_str()]),
                names: vec![&field.name],
                is_single: true,
                is_in_map: false,
            };
            table.add(found, column.map(|column| column.fields.as_slice()).unwrap_or_default());
        }
        table
    }

    /// Adds a field and all inside of it; `declared` is what the contract declares there.
    fn add(&mut self, found: Found<'t>, declared: &'t [Column]) {
        for (number, field) in found.field.fields.iter().enumerate() {
            let place = match (&found.field.kind, number) {
                (PhysicalType::List, _) => Place::Element,
                (PhysicalType::Map, 0) => Place::Key,
                (PhysicalType::Map, _) => Place::Value,
                _ => Place::Named,
            };
            let mut inside = Found { field, place, ..found.clone() };
            inside.line.push(field.id);
            inside.is_in_map |= found.field.kind == PhysicalType::Map;
            if place != Place::Named {
                inside.is_single = false;
                self.add(inside, declared);
                continue;
            }
            let column = declared.iter().find(|column| column.physical_name == field.name);
            inside.names.push(&field.name);
            inside.served = found.served.clone().zip(column).map(|(mut names, column)| {
                names.push(&column.name);
                names
            });
            self.add(inside, column.map(|column| column.fields.as_slice()).unwrap_or_default());
        }
        self.by_id.insert(found.field.id, found);
    }

    pub fn by_id(&self, id: i32) -> Result<&Found<'t>, Unenforced> {
        self.by_id.get(&id).ok_or_else(|| Unenforced::NoField(id.to_string()))
    }

    /// The column, or the field of structs, with this name: its path with dots. Case counts.
    pub fn by_name(&self, name: &str) -> Result<&Found<'t>, Unenforced> {
        let id = named(self.top, name).ok_or_else(|| Unenforced::NoField(quote(name)))?;
        self.by_id(id)
    }
}

fn named(fields: &[Field], name: &str) -> Option<i32> {
    fields.iter().find_map(|field| {
        let rest = name.strip_prefix(field.name.as_str())?;
        match rest.strip_prefix('.') {
            None => rest.is_empty().then_some(field.id),
            Some(rest) if field.kind == PhysicalType::Struct => named(&field.fields, rest),
            Some(_) => None,
        }
    })
}

impl Found<'_> {
    pub fn id(&self) -> i32 {
        self.field.id
    }

    /// Where row rules find its value, if it has one in each row: by the contract's names, or by the table's.
    pub fn value(&self) -> Option<Arc<[Arc<str>]>> {
        if !self.is_single {
            return None;
        }
        let (first, inside) = (self.line.first()?, self.names.get(1..)?);
        Some(match &self.served {
            Some(names) => names.iter().map(|name| Arc::from(*name)).collect(),
            None => {
                std::iter::once(undeclared(*first).into()).chain(inside.iter().map(|name| Arc::from(*name))).collect()
            }
        })
    }
}
