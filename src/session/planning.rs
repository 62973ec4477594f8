//! From an admitted statement to a verified physical plan.

use std::collections::btree_map::Entry;
use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::sync::Arc;

use datafusion::arrow::datatypes::SchemaRef;
use datafusion::catalog::{
    CatalogProvider, CatalogProviderList, MemoryCatalogProvider, MemoryCatalogProviderList, MemorySchemaProvider,
    SchemaProvider, TableProvider,
};
use datafusion::common::TableReference;
use datafusion::common::tree_node::TreeNodeRecursion;
use datafusion::datasource::provider_as_source;
use datafusion::execution::SessionStateBuilder;
use datafusion::execution::session_state::SessionState;
use datafusion::logical_expr::{LogicalPlan, LogicalPlanBuilder};
use datafusion::physical_plan::ExecutionPlan;
use datafusion::sql::parser::Statement;
use datafusion::sql::sqlparser::ast::{self, ObjectName, Query};
use tokio::time::Instant;

use super::failure::Guarded;
use super::gate::{Admitted, admit, normal};
use super::outer::{Shadows, outer_names};
use super::running::Basis;
use super::travel::{self, Key, Named, Travel};
use super::{Engine, Pins, Rows, explain, failure, life};
use crate::error::{Class, Error};
use crate::guard::WithoutFigures;
use crate::guard::verify::{Cleared, Refusal};
use crate::resolve::{At, Resolver, Table, versioned};

/// A statement that was admitted, planned and verified for one principal.
pub struct Planned {
    pub(super) engine: Arc<Engine>,
    pub(super) state: SessionState,
    pub(super) plan: Arc<dyn ExecutionPlan>,
    /// The products that it reads, where anything of them is kept from the principal.
    pub(super) guarded: Option<Guarded>,
    pub(super) deadline: Instant,
    pub(super) basis: Basis,
    schema: SchemaRef,
    pins: Pins,
    snapshots: Pins,
    notices: Vec<String>,
}

impl fmt::Debug for Planned {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Planned").field("schema", &self.schema).field("pins", &self.pins).finish_non_exhaustive()
    }
}

impl Planned {
    /// The columns of the result.
    pub fn schema(&self) -> SchemaRef {
        Arc::clone(&self.schema)
    }

    /// The snapshots that it reads.
    pub fn pins(&self) -> &Pins {
        &self.pins
    }

    /// The snapshots among them that the principal may know: a new one tells that a table changed, though nothing that is
    /// shown of it did.
    pub fn snapshots(&self) -> &Pins {
        &self.snapshots
    }

    /// What the user should know, one sentence each: deprecated products, masked columns.
    pub fn notices(&self) -> &[String] {
        &self.notices
    }

    /// Runs it.
    ///
    /// # Errors
    /// When it cannot be started.
    pub fn run(self) -> Result<Rows, Error> {
        life::start(self)
    }
}

/// Plans `sql` for the resolver's principal.
pub(super) async fn plan(
    engine: &Arc<Engine>,
    resolver: &Resolver,
    sql: &str,
    pins: &Pins,
    deadline: Instant,
) -> Result<Planned, Error> {
    match admit(sql)? {
        Admitted::Query(query) => {
            let ready = query_plan(resolver, query, pins, engine.base.clone()).await?;
            Ok(ready.planned(engine, deadline))
        }
        Admitted::Explain(query) => {
            let ready = query_plan(resolver, query, pins, without_figures(engine)).await?;
            let table = explain::table(&ready.logical, &ready.physical)?;
            whole_table(engine, table, deadline).await
        }
        Admitted::ShowTables(schema) => whole_table(engine, resolver.show_tables(schema.as_deref())?, deadline).await,
        Admitted::ShowSchemas => whole_table(engine, resolver.show_schemas()?, deadline).await,
        Admitted::Describe(name) => {
            let table = resolver.describe(&reference(&name)?).await?;
            whole_table(engine, table, deadline).await
        }
    }
}

/// What planning has made, before it becomes the caller's.
struct Ready {
    state: SessionState,
    logical: LogicalPlan,
    physical: Arc<dyn ExecutionPlan>,
    tables: Vec<Table>,
    /// The names of the columns that the statement uses.
    used: BTreeSet<String>,
}

impl Ready {
    fn planned(self, engine: &Arc<Engine>, deadline: Instant) -> Planned {
        let Self { state, physical, tables, used, .. } = self;
        let mut notices: Vec<String> = Vec::new();
        for notice in tables.iter().flat_map(|table| table.notices.iter().cloned().chain(table.masked_notice(&used))) {
            // A table that is read at two versions is told of once.
            if !notices.contains(&notice) {
                notices.push(notice);
            }
        }
        Planned {
            engine: Arc::clone(engine),
            guarded: Guarded::of(&tables),
            snapshots: tables
                .iter()
                .filter(|t| !t.restricted)
                .filter_map(|t| Some((t.pin_name(), t.snapshot?)))
                .collect(),
            deadline,
            // Put in when planning has ended.
            basis: Basis::none(),
            schema: physical.schema(),
            pins: tables.iter().filter_map(|table| Some((table.pin_name(), table.snapshot?))).collect(),
            notices,
            plan: physical,
            state,
        }
    }
}

/// A state for plans that are shown, in which the guards of restricted tables tell no figures.
fn without_figures(engine: &Engine) -> SessionState {
    let config = engine.base.config().clone().with_extension(Arc::new(WithoutFigures));
    SessionStateBuilder::new_from_existing(engine.base.clone()).with_config(config).build()
}

async fn query_plan(
    resolver: &Resolver,
    query: Box<Query>,
    pins: &Pins,
    mut base: SessionState,
) -> Result<Ready, Error> {
    let named = Named::find(&query)?;
    let shadows = Shadows::find(&query);
    let statement = Statement::Statement(Box::new(ast::Statement::Query(query)));
    // The one time that `now()` means in this statement.
    base.mark_start_execution();
    let references = base.resolve_table_references(&statement).map_err(|error| failure::planning(&error, &[]))?;
    let mut found: BTreeMap<TableReference, Table> = BTreeMap::new();
    // A table that is named with versions alone is not read without one.
    for reference in references.into_iter().filter(|reference| named.plain.contains(reference)) {
        if let Entry::Vacant(vacant) = found.entry(reference) {
            let at = At::newest(pins.get(&pin_name(vacant.key(), None)).copied());
            let table = resolver.table(vacant.key(), &at).await?;
            vacant.insert(table);
        }
    }
    let mut travelled: BTreeMap<Key, Table> = BTreeMap::new();
    for (key, version) in named.versioned {
        let pin = pins.get(&pin_name(&key.0, Some(&key.1))).copied();
        let table = resolver.table(&key.0, &travel::at(&base, &version, pin)?).await?;
        travelled.insert(key, table);
    }
    let providers = travelled.iter().map(|(key, table)| (key.clone(), Arc::clone(&table.provider))).collect();
    let state = SessionStateBuilder::new_from_existing(base)
        .with_catalog_list(catalog_of(resolver.mesh.name(), &found)?)
        .with_relation_planners(vec![Arc::new(Travel { tables: providers })])
        .build();
    let denials: Vec<(String, Error)> = shadows
        .found
        .into_iter()
        .filter_map(|(reference, name)| {
            let versions = travelled.iter().filter(|((named, _), _)| *named == reference).map(|(_, table)| table);
            let denial = found.get(&reference).into_iter().chain(versions).find_map(|table| table.denial(&name))?;
            Some((name, denial))
        })
        .collect();
    let tables: Vec<Table> = found.into_values().chain(travelled.into_values()).collect();
    let failed = |error| failure::planning(&error, &tables);

    let logical = state.statement_to_plan(statement).await.map_err(failed)?;
    if !denials.is_empty() {
        let outer = outer_names(&logical).map_err(failed)?;
        if let Some((_, denial)) = denials.into_iter().find(|(name, _)| outer.contains(name)) {
            return Err(denial);
        }
    }
    let used = used_columns(&logical).map_err(failed)?;
    let (logical, physical) = finish(&state, &logical, tables.iter().map(|table| &table.provider), &tables).await?;
    Ok(Ready { state, logical, physical, tables, used })
}

/// The names of the columns that a plan uses.
fn used_columns(plan: &LogicalPlan) -> datafusion::common::Result<BTreeSet<String>> {
    let mut used = BTreeSet::new();
    plan.apply_with_subqueries(|node| {
        node.apply_expressions(|expr| {
            used.extend(expr.column_refs().into_iter().map(|column| column.name.clone()));
            Ok(TreeNodeRecursion::Continue)
        })?;
        Ok(TreeNodeRecursion::Continue)
    })?;
    Ok(used)
}

/// Optimizes a plan, verifies it, and makes it physical.
async fn finish(
    state: &SessionState,
    logical: &LogicalPlan,
    providers: impl IntoIterator<Item = &Arc<dyn TableProvider>>,
    tables: &[Table],
) -> Result<(LogicalPlan, Arc<dyn ExecutionPlan>), Error> {
    let failed = |error| failure::planning(&error, tables);
    let cleared = Cleared::of(providers).map_err(|refusal| unverified(&refusal))?;
    let logical = state.optimize(logical).map_err(failed)?;
    cleared.verify(&logical).map_err(|refusal| unverified(&refusal))?;
    let physical = state.query_planner().create_physical_plan(&logical, state).await.map_err(failed)?;
    cleared.verify_physical(&physical).map_err(|refusal| unverified(&refusal))?;
    Ok((logical, physical))
}

fn unverified(refusal: &Refusal) -> Error {
    tracing::error!(%refusal, "a plan was refused by the verifier");
    Error::new(Class::Bug, format!("the plan could not be proved safe and does not run: {refusal}"))
        .help("please report the statement to the platform team")
}

/// Plans the whole of a table that was made for this statement: the answer to `SHOW`, `DESCRIBE` and `EXPLAIN`.
async fn whole_table(engine: &Arc<Engine>, table: Arc<dyn TableProvider>, deadline: Instant) -> Result<Planned, Error> {
    let failed = |error| failure::planning(&error, &[]);
    let state = engine.base.clone();
    let logical = LogicalPlanBuilder::scan("answer", provider_as_source(Arc::clone(&table)), None)
        .and_then(LogicalPlanBuilder::build)
        .map_err(failed)?;
    let (logical, physical) = finish(&state, &logical, [&table], &[]).await?;
    Ok(Ready { state, logical, physical, tables: Vec::new(), used: BTreeSet::new() }.planned(engine, deadline))
}

/// A catalog of exactly the tables that a statement names.
fn catalog_of(mesh: &str, tables: &BTreeMap<TableReference, Table>) -> Result<Arc<dyn CatalogProviderList>, Error> {
    let failed = |error| failure::planning(&error, &[]);
    let catalog = Arc::new(MemoryCatalogProvider::new());
    for (reference, table) in tables {
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
            schema.register_table(reference.table().to_owned(), Arc::clone(&table.provider)).map_err(failed)?;
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

fn reference(name: &ObjectName) -> Result<TableReference, Error> {
    let parts: Option<Vec<String>> = name.0.iter().map(|part| part.as_ident().map(normal)).collect();
    match parts.as_deref() {
        Some([table]) => Ok(TableReference::bare(table.as_str())),
        Some([schema, table]) => Ok(TableReference::partial(schema.as_str(), table.as_str())),
        Some([catalog, schema, table]) => Ok(TableReference::full(catalog.as_str(), schema.as_str(), table.as_str())),
        _ => Err(Error::new(Class::BadRequest, format!("`{name}` is not the name of a table"))),
    }
}
