//! What clients ask about the mesh: its catalog, schemas, tables and types, as far as the caller may discover them.
//!
//! Every answer starts from [`Engine::list`], which knows only what the caller may discover. A filter that names a
//! hidden product and one that names nothing at all thus select from the same rows.

use std::collections::BTreeSet;
use std::sync::Arc;

use arrow_flight::sql::metadata::{GetCatalogsBuilder, GetDbSchemasBuilder, GetTablesBuilder};
use arrow_flight::sql::{
    Command, CommandGetDbSchemas, CommandGetPrimaryKeys, CommandGetSqlInfo, CommandGetTables, CommandGetXdbcTypeInfo,
};
use datafusion::arrow::array::{RecordBatch, StringArray};
use datafusion::arrow::datatypes::{DataType, Field, Schema, SchemaRef};
use polder_catalog::principal::Principal;

use crate::error::{Class, Error};
use crate::flight::command::read_only;
use crate::flight::encode::wire_schema;
use crate::flight::info;
use crate::flight::keys::{self, Foreign};
use crate::session::{Columns, Engine, Listed};

/// The key under which a field carries what it means.
const REMARKS: &str = "ARROW:FLIGHT:SQL:REMARKS";
/// The longest pattern that names are held against, in bytes.
const LONGEST_PATTERN: usize = 1024;

/// What can be asked about the mesh.
#[derive(Debug)]
pub(super) enum Listing {
    Catalogs,
    Schemas(CommandGetDbSchemas),
    Tables(CommandGetTables),
    TableTypes,
    SqlInfo(CommandGetSqlInfo),
    TypeInfo(CommandGetXdbcTypeInfo),
    PrimaryKeys(CommandGetPrimaryKeys),
    /// Exported, imported, or between two tables.
    ForeignKeys(Foreign),
}

impl Listing {
    /// What a command asks about the mesh.
    pub(super) fn read(command: Command) -> Result<Self, Error> {
        match command {
            Command::CommandGetCatalogs(_) => Ok(Self::Catalogs),
            Command::CommandGetDbSchemas(command) => {
                short([&command.db_schema_filter_pattern])?;
                Ok(Self::Schemas(command))
            }
            Command::CommandGetTables(command) => {
                short([&command.db_schema_filter_pattern, &command.table_name_filter_pattern])?;
                Ok(Self::Tables(command))
            }
            Command::CommandGetTableTypes(_) => Ok(Self::TableTypes),
            Command::CommandGetSqlInfo(command) => Ok(Self::SqlInfo(command)),
            Command::CommandGetXdbcTypeInfo(command) => Ok(Self::TypeInfo(command)),
            Command::CommandGetPrimaryKeys(command) => Ok(Self::PrimaryKeys(command)),
            Command::CommandGetExportedKeys(command) => Ok(Self::ForeignKeys(command.into())),
            Command::CommandGetImportedKeys(command) => Ok(Self::ForeignKeys(command.into())),
            Command::CommandGetCrossReference(command) => Ok(Self::ForeignKeys(command.into())),
            Command::CommandStatementUpdate(_)
            | Command::CommandPreparedStatementUpdate(_)
            | Command::CommandStatementIngest(_) => Err(read_only()),
            _ => Err(Error::new(Class::BadRequest, "this Flight SQL command is not served")),
        }
    }

    /// The schema of the answer, which does not depend on who asks.
    pub(super) fn schema(&self) -> Result<SchemaRef, Error> {
        let schema = match self {
            Self::Catalogs => GetCatalogsBuilder::new().schema(),
            Self::Schemas(_) => schemas_builder().schema(),
            Self::Tables(command) => tables_builder(command.include_schema).schema(),
            Self::TableTypes => table_types(),
            Self::SqlInfo(_) => info::sql_info(&[])?.schema(),
            Self::TypeInfo(_) => info::type_info(None)?.schema(),
            Self::PrimaryKeys(_) => keys::primary_schema(),
            Self::ForeignKeys(_) => keys::foreign_schema(),
        };
        Ok(wire_schema(&schema))
    }

    /// The answer for one who asks, in one batch.
    pub(super) async fn rows(&self, engine: &Arc<Engine>, principal: &Principal) -> Result<RecordBatch, Error> {
        let mesh = engine.mesh();
        match self {
            Self::Catalogs => {
                let mut builder = GetCatalogsBuilder::new();
                builder.append(mesh.name());
                builder.build().map_err(unbuilt)
            }
            Self::Schemas(command) => {
                let mut builder = schemas_builder();
                for schema in select_schemas(command, mesh.name(), &engine.list(principal)) {
                    builder.append(mesh.name(), schema);
                }
                builder.build().map_err(unbuilt)
            }
            Self::Tables(command) => {
                let listed = select_tables(command, mesh.name(), engine.list(principal));
                let include_schema = command.include_schema;
                // A table that cannot be opened soon is still listed.
                let columns = match include_schema {
                    true => engine.table_schemas(principal, listed.clone()).await?,
                    false => vec![None; listed.len()],
                };
                let mut builder = tables_builder(include_schema);
                for (table, columns) in listed.iter().zip(columns) {
                    let schema = columns.map_or_else(Schema::empty, |columns| remarked(&columns));
                    builder.append(mesh.name(), &table.schema, &table.table, table.kind, &schema).map_err(unbuilt)?;
                }
                builder.build().map_err(unbuilt)
            }
            Self::TableTypes => {
                let kinds = Arc::new(StringArray::from_iter_values(["BASE TABLE", "SYSTEM TABLE"]));
                RecordBatch::try_new(table_types(), vec![kinds])
                    .map_err(|_| Error::new(Class::Bug, "a listing could not be built"))
            }
            Self::SqlInfo(command) => info::sql_info(&command.info),
            Self::TypeInfo(command) => info::type_info(command.data_type),
            Self::PrimaryKeys(command) => keys::primary(command, mesh.name(), engine.keys(principal).await?),
            Self::ForeignKeys(asked) => keys::foreign(asked, mesh.name(), engine.keys(principal).await?),
        }
    }
}

/// A schema as it travels, with what its columns mean.
fn remarked(Columns { schema, descriptions }: &Columns) -> Schema {
    let travels = wire_schema(schema);
    let fields = travels.fields().iter().map(|field| {
        let words = descriptions.iter().find(|(name, _)| name == field.name()).and_then(|(_, words)| words.clone());
        let mut metadata = field.metadata().clone();
        metadata.extend(words.map(|words| (REMARKS.to_owned(), words)));
        field.as_ref().clone().with_metadata(metadata)
    });
    Schema::new(fields.collect::<Vec<_>>())
}

fn schemas_builder() -> GetDbSchemasBuilder {
    GetDbSchemasBuilder::new(None::<String>, None::<String>)
}

fn tables_builder(include_schema: bool) -> GetTablesBuilder {
    GetTablesBuilder::new(None::<String>, None::<String>, None::<String>, None::<String>, include_schema)
}

fn unbuilt(_: arrow_flight::error::FlightError) -> Error {
    Error::new(Class::Bug, "a listing could not be built")
}

fn select_schemas(command: &CommandGetDbSchemas, mesh: &str, listed: &[Listed]) -> BTreeSet<String> {
    if !is_catalog(command.catalog.as_deref(), mesh) {
        return BTreeSet::new();
    }
    let pattern = command.db_schema_filter_pattern.as_deref();
    listed.iter().filter(|table| matches(pattern, &table.schema)).map(|table| table.schema.clone()).collect()
}

fn select_tables(command: &CommandGetTables, mesh: &str, listed: Vec<Listed>) -> Vec<Listed> {
    if !is_catalog(command.catalog.as_deref(), mesh) {
        return Vec::new();
    }
    let (schema, name) = (command.db_schema_filter_pattern.as_deref(), command.table_name_filter_pattern.as_deref());
    listed
        .into_iter()
        .filter(|table| is_type(&command.table_types, table.kind))
        .filter(|table| matches(schema, &table.schema) && matches(name, &table.table))
        .collect()
}

fn is_catalog(filter: Option<&str>, mesh: &str) -> bool {
    filter.is_none_or(|filter| filter == mesh)
}

/// JDBC tools ask for `TABLE` where the standard says `BASE TABLE`.
fn is_type(filter: &[String], kind: &str) -> bool {
    filter.is_empty() || filter.iter().any(|asked| asked == kind || (asked == "TABLE" && kind == "BASE TABLE"))
}

/// Each pattern is held against each name.
fn short<const N: usize>(patterns: [&Option<String>; N]) -> Result<(), Error> {
    match patterns.into_iter().flatten().all(|pattern| pattern.len() <= LONGEST_PATTERN) {
        true => Ok(()),
        false => Err(Error::new(Class::Limit, format!("a pattern is longer than {LONGEST_PATTERN} bytes"))),
    }
}

/// SQL's LIKE: `%` for anything, `_` for one character, `\` before either takes it literally.
fn matches(pattern: Option<&str>, text: &str) -> bool {
    let Some(pattern) = pattern else { return true };
    let mut parts = Vec::new();
    let mut characters = pattern.chars();
    while let Some(character) = characters.next() {
        parts.push(match character {
            '%' => Part::Any,
            '_' => Part::One,
            '\\' => Part::Just(characters.next().unwrap_or('\\')),
            other => Part::Just(other),
        });
    }
    // Position by position of the pattern: which prefixes of the text it can stand for. Never exponential.
    let text: Vec<char> = text.chars().collect();
    let mut reached = vec![false; text.len() + 1];
    if let Some(start) = reached.first_mut() {
        *start = true;
    }
    for part in parts {
        let mut next = vec![false; reached.len()];
        let mut before = false;
        for (at, slot) in next.iter_mut().enumerate() {
            let previous = at.checked_sub(1);
            let came = previous.and_then(|at| reached.get(at)).copied().unwrap_or_default();
            *slot = match part {
                Part::Any => before || reached.get(at).copied().unwrap_or_default(),
                Part::One => came,
                Part::Just(wanted) => came && previous.and_then(|at| text.get(at)) == Some(&wanted),
            };
            before = *slot;
        }
        reached = next;
    }
    reached.last().copied().unwrap_or_default()
}

#[derive(Clone, Copy)]
enum Part {
    Any,
    One,
    Just(char),
}

fn table_types() -> SchemaRef {
    Arc::new(Schema::new(vec![Field::new("table_type", DataType::Utf8, false)]))
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "tests")]
mod tests {
    use super::*;

    #[test]
    fn patterns_are_those_of_like() {
        let check = |pattern, text, expect| assert_eq!(matches(Some(pattern), text), expect, "{pattern} on {text}");
        check("customers", "customers", true);
        check("customers", "customers@1", false);
        check("", "", true);
        check("", "a", false);
        check("%", "", true);
        check("c%s", "customers", true);
        check("c%s", "customer", false);
        check("%a%a%", "banana", true);
        check("_____", "élève", true);
        check("_____", "four", false);
        check("paid_acq%", "paidXacquisition", true);
        check("paid\\_acq%", "paidXacquisition", false);
        check("paid\\_acq%", "paid_acquisition", true);
        check("100\\%", "100%", true);
        check("a\\", "a\\", true);
        assert!(matches(None, "anything"));
    }

    #[test]
    fn a_pattern_has_a_length() {
        let of = |letters| {
            let pattern = Some("%".repeat(letters));
            let schemas = CommandGetDbSchemas { db_schema_filter_pattern: pattern.clone(), ..Default::default() };
            let tables = CommandGetTables { table_name_filter_pattern: pattern, ..Default::default() };
            [Command::CommandGetDbSchemas(schemas), Command::CommandGetTables(tables)].map(Listing::read)
        };
        assert!(of(LONGEST_PATTERN).iter().all(Result::is_ok));
        assert!(
            of(LONGEST_PATTERN + 1).iter().all(|read| read.as_ref().is_err_and(|error| error.class == Class::Limit))
        );
    }

    #[test]
    fn a_wild_pattern_takes_no_time() {
        assert!(!matches(Some(&"%a".repeat(500)), &"b".repeat(500)));
    }

    fn listed() -> Vec<Listed> {
        [
            ("fulfillment", "shipments", "BASE TABLE"),
            ("mesh", "products", "SYSTEM TABLE"),
            ("wholesale", "orders", "BASE TABLE"),
        ]
        .map(|(schema, table, kind)| Listed { schema: schema.into(), table: table.into(), kind, description: None })
        .into()
    }

    fn names(command: &CommandGetTables) -> Vec<String> {
        select_tables(command, "packly", listed()).into_iter().map(|table| table.table).collect()
    }

    #[test]
    fn tables_are_chosen_by_catalog_schema_name_and_type() {
        assert_eq!(names(&CommandGetTables::default()), ["shipments", "products", "orders"]);
        let by_type = |kind: &str| names(&CommandGetTables { table_types: vec![kind.into()], ..Default::default() });
        assert_eq!(by_type("TABLE"), ["shipments", "orders"]);
        assert_eq!(by_type("BASE TABLE"), by_type("TABLE"));
        assert_eq!(by_type("SYSTEM TABLE"), ["products"]);
        assert_eq!(by_type("VIEW"), [""; 0]);
        let by_catalog =
            |catalog: &str| names(&CommandGetTables { catalog: Some(catalog.into()), ..Default::default() });
        assert_eq!(by_catalog("packly").len(), 3);
        assert_eq!(by_catalog("pack%"), [""; 0]);
        let by_name = CommandGetTables {
            db_schema_filter_pattern: Some("%le%".into()),
            table_name_filter_pattern: Some("o_ders".into()),
            ..Default::default()
        };
        assert_eq!(names(&by_name), ["orders"]);
    }

    #[test]
    fn schemas_are_listed_once_each() {
        let mut twice = listed();
        twice.extend(listed());
        let schemas = select_schemas(&CommandGetDbSchemas::default(), "packly", &twice);
        assert_eq!(schemas.into_iter().collect::<Vec<_>>(), ["fulfillment", "mesh", "wholesale"]);
    }
}
