//! `SHOW` and `DESCRIBE` as tables of rows.

use std::sync::Arc;

use datafusion::arrow::datatypes::{DataType, TimeUnit};
use datafusion::catalog::TableProvider;
use datafusion::common::TableReference;
use polder_catalog::policy::Access;

use super::system::virtual_table;
use super::{At, Resolver, Table};
use crate::error::{Class, Error};

impl Resolver {
    /// `DESCRIBE`: the columns of a table as this principal sees it.
    ///
    /// # Errors
    /// The same as for a query that names the table.
    pub async fn describe(&self, reference: &TableReference) -> Result<Arc<dyn TableProvider>, Error> {
        let table = self.table(reference, &At::newest(None)).await?;
        let rows: Vec<_> = table
            .provider
            .schema()
            .fields()
            .iter()
            .map(|field| {
                let description = table.descriptions.iter().find(|(name, _)| name == field.name());
                vec![
                    Some(field.name().clone()),
                    Some(kind(field.data_type())),
                    Some(if field.is_nullable() { "YES" } else { "NO" }.to_owned()),
                    Some(access(&table, field.name())),
                    description.and_then(|(_, text)| text.clone()),
                ]
            })
            .collect();
        made(virtual_table(
            TableReference::bare("description"),
            &["column_name", "data_type", "is_nullable", "access", "description"],
            &rows,
        ))
    }

    /// `SHOW TABLES`, of one schema or of all.
    ///
    /// # Errors
    /// `UnknownName` for a schema in which this principal sees nothing.
    pub fn show_tables(&self, schema: Option<&str>) -> Result<Arc<dyn TableProvider>, Error> {
        let listed = self.list();
        let rows: Vec<_> = listed
            .iter()
            .filter(|listed| schema.is_none_or(|schema| listed.schema == schema))
            .map(|listed| {
                vec![
                    Some(listed.schema.clone()),
                    Some(listed.table.clone()),
                    Some(listed.kind.to_owned()),
                    listed.description.clone(),
                ]
            })
            .collect();
        if let (Some(schema), true) = (schema, rows.is_empty()) {
            return Err(Error::new(Class::UnknownName, format!("there is no domain `{schema}`"))
                .help("SHOW SCHEMAS lists what you can query"));
        }
        made(virtual_table(
            TableReference::bare("tables"),
            &["table_schema", "table_name", "table_type", "description"],
            &rows,
        ))
    }

    /// `SHOW SCHEMAS`.
    ///
    /// # Errors
    /// None that a user can cause.
    pub fn show_schemas(&self) -> Result<Arc<dyn TableProvider>, Error> {
        let mut schemas: Vec<String> = self.list().into_iter().map(|listed| listed.schema).collect();
        schemas.dedup();
        let rows: Vec<_> = schemas.into_iter().map(|schema| vec![Some(schema)]).collect();
        made(virtual_table(TableReference::bare("schemas"), &["schema_name"], &rows))
    }
}

fn made(table: datafusion::common::Result<Arc<dyn TableProvider>>) -> Result<Arc<dyn TableProvider>, Error> {
    table.map_err(|error| Error::new(Class::Bug, format!("the description could not be made: {error}")))
}

fn access(table: &Table, column: &str) -> String {
    table.grants.iter().find(|grant| grant.column == column).map_or(&Access::Raw, |grant| &grant.access).to_string()
}

/// What a contract calls a type; one that none has is called what the engine calls it.
pub(super) fn word(of: &DataType) -> String {
    use DataType as D;
    match of {
        D::Boolean => "boolean".to_owned(),
        D::Int8 | D::Int16 | D::Int32 | D::UInt8 | D::UInt16 => "int".to_owned(),
        D::Int64 | D::UInt32 => "long".to_owned(),
        D::UInt64 => "unsigned long".to_owned(),
        D::Float32 => "float".to_owned(),
        D::Float64 => "double".to_owned(),
        D::Decimal128(precision, scale) => format!("decimal({precision},{scale})"),
        D::Date32 => "date".to_owned(),
        D::Timestamp(TimeUnit::Microsecond, None) => "timestamp".to_owned(),
        D::Timestamp(TimeUnit::Nanosecond, None) => "timestamp_ns".to_owned(),
        found if found.is_string() => "string".to_owned(),
        found if found.is_binary() => "binary".to_owned(),
        found => kind(found),
    }
}

/// The name of a type. Views are how the engine holds text and bytes, and not what a column is.
pub(super) fn kind(of: &DataType) -> String {
    match of {
        DataType::Utf8View => DataType::Utf8.to_string(),
        DataType::BinaryView => DataType::Binary.to_string(),
        of => of.to_string(),
    }
}
