//! The tables of a statement: found under its names, governed, and all that its planner can see.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use datafusion::catalog::{
    CatalogProvider, CatalogProviderList, MemoryCatalogProvider, MemoryCatalogProviderList, MemorySchemaProvider,
    SchemaProvider, TableProvider,
};
use datafusion::common::TableReference;
use datafusion::execution::config::SessionConfig;
use datafusion::execution::session_state::SessionState;
use datafusion::sql::parser::Statement;
use datafusion::sql::sqlparser::ast::{self, ObjectName, Query};
use futures::{StreamExt, TryStreamExt, stream};

use super::gate::normal;
use super::outer::Shadows;
use super::travel::{self, Key, Named, Travel};
use super::{Request, failure};
use crate::error::{Class, Error};
use crate::observe::spanned;
use crate::resolve::{At, Over, Resolver, Scanned, Table, versioned};

/// Tables of a statement that are opened at once.
const AT_ONCE: usize = 8;

/// A statement and its tables, before it is planned.
pub(super) struct Prepared {
    pub(super) state: SessionState,
    pub(super) statement: Statement,
    pub(super) tables: Vec<Scanned>,
    /// Names in subqueries that would be those of outer columns, were they not denied inside.
    pub(super) denials: Vec<(String, Error)>,
    /// Whether a version is named, which may be another one at another time.
    pub(super) travels: bool,
}

/// Finds the tables of a query.
pub(super) async fn prepare(
    resolver: &Resolver,
    query: Box<Query>,
    request: &Request,
    mut base: SessionState,
    over: Over,
) -> Result<Prepared, Error> {
    let named = Named::find(&query)?;
    let shadows = Shadows::find(&query);
    let statement = Statement::Statement(Box::new(ast::Statement::Query(query)));
    // The one time that `now()` means in this statement.
    base.mark_start_execution();
    if let Some(part) = &request.part {
        part.at_its_moment(&mut base)?;
    }
    let references = base.resolve_table_references(&statement).map_err(|error| failure::planning(&error, &[]))?;
    // A table that is named with versions alone is not read without one.
    let plain: BTreeSet<TableReference> =
        references.into_iter().filter(|reference| named.plain.contains(reference)).collect();
    let plain = plain.into_iter().collect();
    let found: BTreeMap<TableReference, Table> = newest(resolver, request, plain, over).await?.into_iter().collect();
    let mut travelled: BTreeMap<Key, Table> = BTreeMap::new();
    for (key, version) in named.versioned {
        let whole = request.whole(key.0.clone());
        let pin = request.pins.get(&pin_name(&whole, Some(&key.1))).copied();
        let table = resolve(resolver, over, &whole, &travel::at(&base, &version, pin)?).await?;
        travelled.insert(key, table);
    }
    let providers = travelled.iter().map(|(key, table)| (key.clone(), Arc::clone(&table.provider))).collect();
    let mut config = base.config().clone();
    if let Some(schema) = &request.schema {
        config = config.with_default_catalog_and_schema(resolver.mesh.name(), schema);
    }
    let plain = found.iter().map(|(name, table)| (request.whole(name.clone()), Arc::clone(&table.provider)));
    let catalog = catalog_of(resolver.mesh.name(), plain)?;
    let mut state = among(base, config, catalog);
    let travel = Arc::new(Travel { tables: providers });
    state.register_relation_planner(travel).map_err(|error| failure::planning(&error, &[]))?;
    let travels = !travelled.is_empty();
    let denials: Vec<(String, Error)> = shadows
        .found
        .into_iter()
        .filter_map(|(reference, name)| {
            let versions = travelled.iter().filter(|((named, _), _)| *named == reference).map(|(_, table)| table);
            let denial = found.get(&reference).into_iter().chain(versions).find_map(|table| table.denial(&name))?;
            Some((name, denial))
        })
        .collect();
    let plain = found.into_iter().map(|(reference, table)| (reference.clone(), reference, table));
    let travelled = travelled
        .into_iter()
        .map(|((reference, version), table)| (versioned(&reference, Some(&version)), reference, table));
    let tables = plain.chain(travelled).collect();
    Ok(Prepared { state, statement, tables, denials, travels })
}

async fn resolve(resolver: &Resolver, over: Over, name: &TableReference, at: &At) -> Result<Table, Error> {
    match over {
        Over::Tables => spanned("resolve", None, resolver.table(name, at)).await,
        Over::Outlines => spanned("resolve", None, resolver.outline(name, at)).await,
    }
}

/// What tables are that are named without a version. Each may lie far away: none waits for another, and the first that
/// fails is the one that is told.
pub(super) async fn newest(
    resolver: &Resolver,
    request: &Request,
    names: Vec<TableReference>,
    over: Over,
) -> Result<Vec<(TableReference, Table)>, Error> {
    let found = stream::iter(names).map(async |reference| {
        let whole = request.whole(reference.clone());
        let at = At::newest(request.pins.get(&pin_name(&whole, None)).copied());
        let table = resolve(resolver, over, &whole, &at).await?;
        Ok::<_, Error>((reference, table))
    });
    found.buffered(AT_ONCE).try_collect().await
}

/// A state whose planner sees this catalog and nothing else.
pub(super) fn among(
    mut state: SessionState,
    config: SessionConfig,
    catalog: Arc<dyn CatalogProviderList>,
) -> SessionState {
    *state.config_mut() = config;
    state.register_catalog_list(catalog);
    state
}

/// A catalog of exactly these tables, whose names have their schemas.
pub(super) fn catalog_of(
    mesh: &str,
    tables: impl IntoIterator<Item = (TableReference, Arc<dyn TableProvider>)>,
) -> Result<Arc<dyn CatalogProviderList>, Error> {
    let failed = |error| failure::planning(&error, &[]);
    let catalog = Arc::new(MemoryCatalogProvider::new());
    for (reference, provider) in tables {
        let name = reference.schema().unwrap_or_default();
        let schema = match catalog.schema(name) {
            Some(schema) => schema,
            None => {
                let schema: Arc<dyn SchemaProvider> = Arc::new(MemorySchemaProvider::new());
                catalog.register_schema(name, Arc::clone(&schema)).map_err(failed)?;
                schema
            }
        };
        if !schema.table_exist(reference.table()) {
            schema.register_table(reference.table().to_owned(), provider).map_err(failed)?;
        }
    }
    let list = MemoryCatalogProviderList::new();
    list.register_catalog(mesh.to_owned(), catalog);
    Ok(Arc::new(list))
}

/// The name by which pins know a table.
fn pin_name(reference: &TableReference, version: Option<&str>) -> String {
    versioned(&TableReference::partial(reference.schema().unwrap_or_default(), reference.table()), version).to_string()
}

/// The table that a name means.
pub(super) fn reference(name: &ObjectName) -> Result<TableReference, Error> {
    let parts: Option<Vec<String>> = name.0.iter().map(|part| part.as_ident().map(normal)).collect();
    match parts.as_deref() {
        Some([table]) => Ok(TableReference::bare(table.as_str())),
        Some([schema, table]) => Ok(TableReference::partial(schema.as_str(), table.as_str())),
        Some([catalog, schema, table]) => Ok(TableReference::full(catalog.as_str(), schema.as_str(), table.as_str())),
        _ => Err(Error::new(Class::BadRequest, format!("`{name}` is not the name of a table"))),
    }
}
