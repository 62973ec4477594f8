//! From an admitted statement to a verified physical plan.

use std::collections::BTreeMap;
use std::collections::btree_map::Entry;
use std::fmt;
use std::sync::Arc;

use datafusion::arrow::datatypes::SchemaRef;
use datafusion::catalog::{
    CatalogProvider, CatalogProviderList, MemoryCatalogProvider, MemoryCatalogProviderList, MemorySchemaProvider,
    SchemaProvider, TableProvider,
};
use datafusion::common::TableReference;
use datafusion::datasource::physical_plan::{FileGroup, FileScanConfig};
use datafusion::datasource::provider_as_source;
use datafusion::datasource::source::DataSourceExec;
use datafusion::error::DataFusionError;
use datafusion::execution::SessionStateBuilder;
use datafusion::execution::session_state::SessionState;
use datafusion::logical_expr::{LogicalPlan, LogicalPlanBuilder};
use datafusion::physical_plan::ExecutionPlan;
use datafusion::sql::parser::Statement;
use datafusion::sql::sqlparser::ast::{self, ObjectName, Query};
use polder_catalog::policy::{Access, ColumnGrant};
use polder_catalog::principal::Principal;
use tokio::time::Instant;

use super::caution::cautious;
use super::failure::Guarded;
use super::gate::{Admitted, admit, normal};
use super::outer::{Shadows, outer_names};
use super::running::Basis;
use super::travel::{self, Key, Named, Travel};
use super::{Engine, Packer, Pins, Rows, explain, failure, life, purpose};
use crate::error::{Class, Error};
use crate::guard::WithoutFigures;
use crate::guard::flow::{Flow, flow};
use crate::guard::steady::row_by_row;
use crate::guard::verify::{Cleared, Refusal};
use crate::resolve::explanation::{self, Line, leaves};
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
    /// The purpose that the statement declares for what follows: one, or none any more.
    pub(super) declares: Option<Option<String>>,
    schema: SchemaRef,
    pins: Pins,
    snapshots: Pins,
    notices: Vec<String>,
    flow: Flow,
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

    /// Which columns reach which outputs, and how; empty for what is no query.
    pub fn flow(&self) -> &Flow {
        &self.flow
    }

    /// How many files it names.
    pub fn files(&self) -> usize {
        let (mut files, mut rest) = (0, vec![Arc::clone(&self.plan)]);
        while let Some(plan) = rest.pop() {
            let source = plan.downcast_ref::<DataSourceExec>().map(DataSourceExec::data_source);
            if let Some(config) = source.and_then(|source| source.downcast_ref::<FileScanConfig>()) {
                files += config.file_groups.iter().map(FileGroup::len).sum::<usize>();
            }
            rest.extend(plan.children().into_iter().cloned());
        }
        files
    }

    /// Whether it was planned for this very principal in the mesh that is served now.
    pub fn holds_for(&self, principal: &Principal) -> bool {
        self.basis.principal == *principal && self.basis.epoch == self.engine.served().epoch()
    }

    /// The same with all the time that a statement has.
    #[must_use]
    pub fn anew(self) -> Self {
        Self { deadline: Instant::now() + self.engine.timeout, ..self }
    }

    /// Runs it for a reader of this process, who may take its time.
    ///
    /// # Errors
    /// When it cannot be started.
    pub fn run(self) -> Result<Rows, Error> {
        life::start(self, life::Unpacked::default(), None, ())
    }

    /// Runs it for a reader elsewhere, who is given up when it does not read. Its rows are packed where they are made;
    /// `held` is dropped when nothing of it is left.
    ///
    /// # Errors
    /// When it cannot be started.
    pub fn send<P: Packer>(self, packer: P, held: impl Send + 'static) -> Result<Rows<P::Parcel>, Error> {
        let patience = self.engine.patience();
        life::start(self, packer, Some(patience), held)
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
    let admitted = admit(sql)?;
    if let Admitted::Purpose(purpose) = admitted {
        let (table, declares) = purpose::answer(resolver, purpose)?;
        let planned = whole_table(engine, table, deadline).await?;
        return Ok(Planned { declares, ..planned });
    }
    purpose::entitled(resolver)?;
    match admitted {
        Admitted::Query(query) => {
            let ready = query_plan(resolver, query, pins, engine.base.clone()).await?;
            Ok(ready.planned(engine, deadline))
        }
        Admitted::Explain(query) => {
            let ready = query_plan(resolver, query, pins, without_figures(engine)).await?;
            let table = explain::table(&ready.logical, &ready.physical)?;
            whole_table(engine, table, deadline).await
        }
        Admitted::ExplainPolicy(query) => {
            let lines = explained(engine, resolver, query, pins).await?;
            whole_table(engine, explanation::table(&lines)?, deadline).await
        }
        Admitted::ShowTables(schema) => whole_table(engine, resolver.show_tables(schema.as_deref())?, deadline).await,
        Admitted::ShowSchemas => whole_table(engine, resolver.show_schemas()?, deadline).await,
        Admitted::Describe(name) => {
            let table = resolver.describe(&reference(&name)?).await?;
            whole_table(engine, table, deadline).await
        }
        Admitted::Purpose(_) => Err(Error::new(Class::Bug, "a purpose was declared twice")),
    }
}

/// Explains the query `sql` for the resolver's principal.
pub(super) async fn explain_policy(engine: &Engine, resolver: &Resolver, sql: &str) -> Result<Vec<Line>, Error> {
    purpose::entitled(resolver)?;
    match admit(sql)? {
        Admitted::Query(query) | Admitted::ExplainPolicy(query) => {
            explained(engine, resolver, query, &Pins::new()).await
        }
        _ => Err(Error::new(Class::BadRequest, "only a query can be explained").help("explain a SELECT")),
    }
}

/// What planning has made, before it becomes the caller's.
struct Ready {
    state: SessionState,
    logical: LogicalPlan,
    physical: Arc<dyn ExecutionPlan>,
    tables: Vec<Scanned>,
    flow: Flow,
}

impl Ready {
    fn planned(self, engine: &Arc<Engine>, deadline: Instant) -> Planned {
        let Self { state, physical, tables, flow, .. } = self;
        let mut notices: Vec<String> = Vec::new();
        for (scan, _, table) in &tables {
            let masked = table.masked_notice(flow.sources().filter(|source| source.table == *scan));
            // A table that is read at two versions is told of once.
            for notice in table.notices.iter().cloned().chain(masked) {
                if !notices.contains(&notice) {
                    notices.push(notice);
                }
            }
        }
        Planned {
            engine: Arc::clone(engine),
            guarded: Guarded::of(tables.iter().map(|(_, _, table)| table)),
            snapshots: tables
                .iter()
                .filter(|(_, _, table)| !table.restricted)
                .filter_map(|(_, _, table)| Some((table.pin_name(), table.snapshot?)))
                .collect(),
            deadline,
            // Put in when planning has ended.
            basis: Basis::none(),
            declares: None,
            schema: physical.schema(),
            pins: tables.iter().filter_map(|(_, _, table)| Some((table.pin_name(), table.snapshot?))).collect(),
            notices,
            flow,
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

/// A table that a statement names: the name of its scans, its name in the statement, and what it is.
type Scanned = (TableReference, TableReference, Table);

/// What a statement is planned over.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Over {
    /// Its tables, opened.
    Tables,
    /// Their contracts, with the columns that are denied.
    Outlines,
}

/// A statement and its tables, before it is planned.
struct Prepared {
    state: SessionState,
    statement: Statement,
    tables: Vec<Scanned>,
    /// Names in subqueries that would be those of outer columns, were they not denied inside.
    denials: Vec<(String, Error)>,
}

async fn prepare(
    resolver: &Resolver,
    query: Box<Query>,
    pins: &Pins,
    mut base: SessionState,
    over: Over,
) -> Result<Prepared, Error> {
    let named = Named::find(&query)?;
    let shadows = Shadows::find(&query);
    let statement = Statement::Statement(Box::new(ast::Statement::Query(query)));
    // The one time that `now()` means in this statement.
    base.mark_start_execution();
    let references = base.resolve_table_references(&statement).map_err(|error| failure::planning(&error, &[]))?;
    let resolve = async |reference: &TableReference, at: &At| match over {
        Over::Tables => resolver.table(reference, at).await,
        Over::Outlines => resolver.outline(reference, at).await,
    };
    let mut found: BTreeMap<TableReference, Table> = BTreeMap::new();
    // A table that is named with versions alone is not read without one.
    for reference in references.into_iter().filter(|reference| named.plain.contains(reference)) {
        if let Entry::Vacant(vacant) = found.entry(reference) {
            let at = At::newest(pins.get(&pin_name(vacant.key(), None)).copied());
            let table = resolve(vacant.key(), &at).await?;
            vacant.insert(table);
        }
    }
    let mut travelled: BTreeMap<Key, Table> = BTreeMap::new();
    for (key, version) in named.versioned {
        let pin = pins.get(&pin_name(&key.0, Some(&key.1))).copied();
        let table = resolve(&key.0, &travel::at(&base, &version, pin)?).await?;
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
    let plain = found.into_iter().map(|(reference, table)| (reference.clone(), reference, table));
    let travelled = travelled
        .into_iter()
        .map(|((reference, version), table)| (versioned(&reference, Some(&version)), reference, table));
    let tables = plain.chain(travelled).collect();
    Ok(Prepared { state, statement, tables, denials })
}

async fn query_plan(resolver: &Resolver, query: Box<Query>, pins: &Pins, base: SessionState) -> Result<Ready, Error> {
    let Prepared { state, statement, tables, denials } =
        prepare(resolver, query.clone(), pins, base.clone(), Over::Tables).await?;
    let logical = match state.statement_to_plan(statement).await {
        Ok(logical) => logical,
        Err(error) => {
            let nested = |grant: &ColumnGrant| matches!(grant.access, Access::Nested(_));
            let of_fields = tables.iter().any(|(_, _, table)| table.grants.iter().any(nested));
            let denied = if of_fields { denied(resolver, query, pins, base).await } else { None };
            return Err(denied.unwrap_or_else(|| failed(&error, &tables)));
        }
    };
    if !denials.is_empty() {
        let outer = outer_names(&logical).map_err(|error| failed(&error, &tables))?;
        if let Some((_, denial)) = denials.into_iter().find(|(name, _)| outer.contains(name)) {
            return Err(denial);
        }
    }
    let flow = followed(&logical, &tables)?;
    let (logical, physical) =
        finish(&state, &logical, tables.iter().map(|(_, _, table)| &table.provider), &tables).await?;
    Ok(Ready { state, logical, physical, tables, flow })
}

/// What an explanation says of a query, which is planned over outlines and does not run.
async fn explained(engine: &Engine, resolver: &Resolver, query: Box<Query>, pins: &Pins) -> Result<Vec<Line>, Error> {
    let (flow, tables) = outlined(resolver, query.clone(), pins, engine.base.clone()).await?;
    match flow {
        Ok(flow) => resolver.explain(&flow, &tables),
        // A contract may leave open what a type is; the tables then know it, if they can be opened.
        Err(error) if error.class == Class::BadRequest => {
            let ready = query_plan(resolver, query, pins, engine.base.clone()).await?;
            resolver.explain(&ready.flow, &ready.tables)
        }
        Err(error) => Err(error),
    }
}

async fn outlined(
    resolver: &Resolver,
    query: Box<Query>,
    pins: &Pins,
    base: SessionState,
) -> Result<(Result<Flow, Error>, Vec<Scanned>), Error> {
    let Prepared { state, statement, tables, .. } = prepare(resolver, query, pins, base, Over::Outlines).await?;
    let flow = match state.statement_to_plan(statement).await {
        Ok(logical) => followed(&logical, &tables),
        Err(error) => Err(failed(&error, &tables)),
    };
    Ok((flow, tables))
}

/// The denial of the first field that a query names and must not, where that is why it cannot be planned: a field that
/// is denied is not in its struct.
async fn denied(resolver: &Resolver, query: Box<Query>, pins: &Pins, base: SessionState) -> Option<Error> {
    let (flow, tables) = outlined(resolver, query, pins, base).await.ok()?;
    let flow = flow.ok()?;
    flow.sources().find_map(|source| {
        let (_, _, table) = tables.iter().find(|(scan, ..)| *scan == source.table)?;
        let [(name, grant)] = leaves(&table.grants, &source.path).try_into().ok()?;
        (grant.access == Access::Denied).then(|| table.wanted.as_ref().map(|wanted| wanted.column(&name, grant)))?
    })
}

/// Follows the columns of a plan. What cannot be followed does not run.
fn followed(logical: &LogicalPlan, tables: &[Scanned]) -> Result<Flow, Error> {
    let masked = |scan: &TableReference, path: &[String]| {
        let table = tables.iter().find(|(name, ..)| name == scan).map(|(_, _, table)| table);
        let mut leaves = table.into_iter().flat_map(|table| leaves(&table.grants, path));
        leaves.any(|(_, grant)| matches!(grant.access, Access::Masked(_)))
    };
    flow(logical, &masked).map_err(|unknown| {
        tracing::error!(%unknown, "a plan was refused, since its columns cannot be followed");
        Error::new(Class::Bug, format!("the plan could not be proved safe and does not run: {unknown}"))
            .help("please report the statement to the platform team")
    })
}

fn failed(error: &DataFusionError, tables: &[Scanned]) -> Error {
    failure::planning(error, tables.iter().map(|(_, _, table)| table))
}

/// Optimizes a plan, verifies it, and makes it physical.
async fn finish(
    state: &SessionState,
    logical: &LogicalPlan,
    providers: impl IntoIterator<Item = &Arc<dyn TableProvider>>,
    tables: &[Scanned],
) -> Result<(LogicalPlan, Arc<dyn ExecutionPlan>), Error> {
    let failed = |error| failed(&error, tables);
    let cleared = Cleared::of(providers).map_err(|refusal| unverified(&refusal))?;
    let mut logical = state.optimize(logical).map_err(failed)?;
    let restricted = tables.iter().any(|(_, _, table)| table.restricted);
    if restricted {
        logical = row_by_row(logical).map_err(failed)?;
    }
    cleared.verify(&logical).map_err(|refusal| unverified(&refusal))?;
    let cautious = cautious(state, &logical, restricted).map_err(failed)?;
    let state = cautious.as_ref().unwrap_or(state);
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
    Ok(Ready { state, logical, physical, tables: Vec::new(), flow: Flow::default() }.planned(engine, deadline))
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
