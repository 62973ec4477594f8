//! Primary and foreign keys as Flight SQL lists them, in the schemas and orders of the specification.

use std::sync::Arc;

use arrow_flight::sql::{
    CommandGetCrossReference, CommandGetExportedKeys, CommandGetImportedKeys, CommandGetPrimaryKeys, UpdateDeleteRules,
};
use datafusion::arrow::array::{ArrayRef, Int32Array, RecordBatch, StringArray, UInt8Array};
use datafusion::arrow::datatypes::{DataType, Field, Schema, SchemaRef};

use crate::error::{Class, Error};
use crate::session::{DeclaredKeys, KeyColumns};

/// A table that a client names: its catalog and schema may be left open.
#[derive(Debug, Default)]
struct Named {
    catalog: Option<String>,
    schema: Option<String>,
    table: String,
}

impl Named {
    fn is(&self, mesh: &str, key: &KeyColumns) -> bool {
        self.catalog.as_deref().is_none_or(|catalog| catalog == mesh)
            && self.schema.as_deref().is_none_or(|schema| schema == key.schema)
            && self.table == key.table
    }
}

/// Which foreign keys are asked for.
#[derive(Debug)]
pub(super) struct Foreign {
    /// The table whose primary key they point to.
    to: Option<Named>,
    /// The table that they are of.
    from: Option<Named>,
}

impl From<CommandGetExportedKeys> for Foreign {
    fn from(command: CommandGetExportedKeys) -> Self {
        let CommandGetExportedKeys { catalog, db_schema: schema, table } = command;
        Self { to: Some(Named { catalog, schema, table }), from: None }
    }
}

impl From<CommandGetImportedKeys> for Foreign {
    fn from(command: CommandGetImportedKeys) -> Self {
        let CommandGetImportedKeys { catalog, db_schema: schema, table } = command;
        Self { to: None, from: Some(Named { catalog, schema, table }) }
    }
}

impl From<CommandGetCrossReference> for Foreign {
    fn from(command: CommandGetCrossReference) -> Self {
        let to = Named { catalog: command.pk_catalog, schema: command.pk_db_schema, table: command.pk_table };
        let from = Named { catalog: command.fk_catalog, schema: command.fk_db_schema, table: command.fk_table };
        Self { to: Some(to), from: Some(from) }
    }
}

/// The primary key of a table.
pub(super) fn primary(command: &CommandGetPrimaryKeys, mesh: &str, keys: DeclaredKeys) -> Result<RecordBatch, Error> {
    let CommandGetPrimaryKeys { catalog, db_schema: schema, table } = command.clone();
    let named = Named { catalog, schema, table };
    let keys: Vec<KeyColumns> = keys.primary.into_iter().filter(|key| named.is(mesh, key)).collect();
    let mut rows = Vec::new();
    for key in &keys {
        rows.extend(key.columns.iter().zip(1_i32..).map(|(column, place)| (key, column, place)));
    }
    type Row<'k> = (&'k KeyColumns, &'k String, i32);
    let text = |of: &dyn Fn(&Row<'_>) -> Option<String>| -> ArrayRef {
        Arc::new(rows.iter().map(of).collect::<StringArray>())
    };
    built(
        primary_schema(),
        vec![
            text(&|_| Some(mesh.to_owned())),
            text(&|(key, ..)| Some(key.schema.clone())),
            text(&|(key, ..)| Some(key.table.clone())),
            text(&|(_, column, _)| Some((*column).clone())),
            text(&|_| None),
            Arc::new(rows.iter().map(|(.., place)| *place).collect::<Int32Array>()),
        ],
    )
}

/// Foreign keys: those of a table, those that point to it, or those from one to another.
pub(super) fn foreign(asked: &Foreign, mesh: &str, keys: DeclaredKeys) -> Result<RecordBatch, Error> {
    let is = |named: &Option<Named>, key: &KeyColumns| named.as_ref().is_none_or(|named| named.is(mesh, key));
    let mut keys = keys.foreign;
    keys.retain(|(from, to)| is(&asked.from, from) && is(&asked.to, to));
    if asked.from.is_some() {
        keys.sort_by(|(_, one), (_, other)| one.cmp(other));
    }
    let mut rows = Vec::new();
    for (from, to) in &keys {
        let columns = from.columns.iter().zip(&to.columns).zip(1_i32..);
        rows.extend(columns.map(|((column, target), place)| ((from, column), (to, target), place)));
    }
    type Row<'a> = ((&'a KeyColumns, &'a String), (&'a KeyColumns, &'a String), i32);
    let text = |of: &dyn Fn(&Row<'_>) -> Option<String>| -> ArrayRef {
        Arc::new(rows.iter().map(of).collect::<StringArray>())
    };
    let rules = || -> ArrayRef {
        let rule = u8::try_from(UpdateDeleteRules::NoAction as i32).unwrap_or_default();
        Arc::new(UInt8Array::from(vec![rule; rows.len()]))
    };
    built(
        foreign_schema(),
        vec![
            text(&|_| Some(mesh.to_owned())),
            text(&|(_, (to, _), _)| Some(to.schema.clone())),
            text(&|(_, (to, _), _)| Some(to.table.clone())),
            text(&|(_, (_, target), _)| Some((*target).clone())),
            text(&|_| Some(mesh.to_owned())),
            text(&|((from, _), ..)| Some(from.schema.clone())),
            text(&|((from, _), ..)| Some(from.table.clone())),
            text(&|((_, column), ..)| Some((*column).clone())),
            Arc::new(rows.iter().map(|(.., place)| *place).collect::<Int32Array>()),
            text(&|_| None),
            text(&|_| None),
            rules(),
            rules(),
        ],
    )
}

fn built(schema: SchemaRef, columns: Vec<ArrayRef>) -> Result<RecordBatch, Error> {
    RecordBatch::try_new(schema, columns).map_err(|_| Error::new(Class::Bug, "a listing could not be built"))
}

pub(super) fn primary_schema() -> SchemaRef {
    Arc::new(Schema::new(vec![
        Field::new("catalog_name", DataType::Utf8, true),
        Field::new("db_schema_name", DataType::Utf8, true),
        Field::new("table_name", DataType::Utf8, false),
        Field::new("column_name", DataType::Utf8, false),
        Field::new("key_name", DataType::Utf8, true),
        Field::new("key_sequence", DataType::Int32, false),
    ]))
}

pub(super) fn foreign_schema() -> SchemaRef {
    Arc::new(Schema::new(vec![
        Field::new("pk_catalog_name", DataType::Utf8, true),
        Field::new("pk_db_schema_name", DataType::Utf8, true),
        Field::new("pk_table_name", DataType::Utf8, false),
        Field::new("pk_column_name", DataType::Utf8, false),
        Field::new("fk_catalog_name", DataType::Utf8, true),
        Field::new("fk_db_schema_name", DataType::Utf8, true),
        Field::new("fk_table_name", DataType::Utf8, false),
        Field::new("fk_column_name", DataType::Utf8, false),
        Field::new("key_sequence", DataType::Int32, false),
        Field::new("fk_key_name", DataType::Utf8, true),
        Field::new("pk_key_name", DataType::Utf8, true),
        Field::new("update_rule", DataType::UInt8, false),
        Field::new("delete_rule", DataType::UInt8, false),
    ]))
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "tests")]
mod tests {
    use datafusion::arrow::array::AsArray;
    use datafusion::arrow::datatypes::Int32Type;

    use super::*;

    fn key(schema: &str, table: &str, columns: &[&str]) -> KeyColumns {
        let columns = columns.iter().map(|&column| column.into()).collect();
        KeyColumns { schema: schema.into(), table: table.into(), columns }
    }

    fn declared() -> DeclaredKeys {
        let (orders, lines) = (key("sales", "orders", &["shop", "id"]), key("sales", "lines", &["shop", "order_id"]));
        let paid = key("money", "payments", &["shop", "order_id"]);
        DeclaredKeys {
            primary: vec![key("money", "orders", &["id"]), orders.clone()],
            foreign: vec![(paid, orders.clone()), (lines, orders)],
        }
    }

    fn texts(batch: &RecordBatch, column: usize) -> Vec<String> {
        batch.column(column).as_string::<i32>().iter().map(|text| text.unwrap_or("-").to_owned()).collect()
    }

    #[test]
    fn a_primary_key_has_a_row_for_each_column_in_their_order() {
        let command = |schema: Option<&str>, catalog: Option<&str>| CommandGetPrimaryKeys {
            catalog: catalog.map(Into::into),
            db_schema: schema.map(Into::into),
            table: "orders".into(),
        };
        let rows = primary(&command(Some("sales"), Some("m")), "m", declared()).unwrap();
        assert_eq!(texts(&rows, 3), ["shop", "id"]);
        assert_eq!(rows.column(5).as_primitive::<Int32Type>().values()[..], [1, 2]);
        assert_eq!(primary(&command(None, None), "m", declared()).unwrap().num_rows(), 3);
        assert_eq!(primary(&command(None, Some("n")), "m", declared()).unwrap().num_rows(), 0);
    }

    #[test]
    fn foreign_keys_are_found_from_both_ends_and_between_two_tables() {
        let exported = Foreign::from(CommandGetExportedKeys { table: "orders".into(), ..Default::default() });
        let rows = foreign(&exported, "m", declared()).unwrap();
        assert_eq!(texts(&rows, 6), ["payments", "payments", "lines", "lines"]);
        let imported = Foreign::from(CommandGetImportedKeys { table: "lines".into(), ..Default::default() });
        let rows = foreign(&imported, "m", declared()).unwrap();
        assert_eq!(
            (texts(&rows, 3), texts(&rows, 7)),
            (vec!["shop".into(), "id".into()], vec!["shop".into(), "order_id".into()])
        );
        let between = |from: &str| {
            let command =
                CommandGetCrossReference { pk_table: "orders".into(), fk_table: from.into(), ..Default::default() };
            foreign(&command.into(), "m", declared()).unwrap().num_rows()
        };
        assert_eq!((between("payments"), between("orders")), (2, 0));
    }
}
