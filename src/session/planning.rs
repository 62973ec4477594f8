//! From an admitted statement to a verified physical plan.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::sync::Arc;

use datafusion::arrow::datatypes::{Field, Schema, SchemaRef};
use datafusion::catalog::TableProvider;
use datafusion::common::TableReference;
use datafusion::datasource::physical_plan::{FileGroup, FileScanConfig};
use datafusion::datasource::provider_as_source;
use datafusion::datasource::source::DataSourceExec;
use datafusion::error::DataFusionError;
use datafusion::execution::session_state::SessionState;
use datafusion::logical_expr::{LogicalPlan, LogicalPlanBuilder};
use datafusion::physical_plan::ExecutionPlan;
use datafusion::sql::sqlparser::ast::Query;
use polder_catalog::policy::{Access, ColumnGrant};
use polder_catalog::principal::Principal;
use tokio::time::Instant;

use super::again::{Kept, Key, Way, lasts};
use super::failure::Guarded;
use super::finish::{Finished, Manner, finish, optimized, with_config};
use super::gate::{Admitted, Gated, admit};
use super::life::Life;
use super::outer::undenied;
use super::parameters::{Bound, Unbound, bind, counted, same_columns};
use super::profile::ProfileExec;
use super::recall::recall;
use super::results::{Slot, question};
use super::running::Basis;
use super::tables::{Prepared, prepare, reference};
use super::{Age, Engine, Packer, Pins, Request, Rows, Values, explain, failure, life, nested, purpose, record};
use crate::error::{Class, Error};
use crate::guard::flow::{Flow, Unknown, flow};
use crate::guard::{WithoutFigures, inside};
use crate::observe::{self, Origin, Statement, Trace, spanned, timed};
use crate::resolve::explanation::{self, Line, leaves};
use crate::resolve::{Over, Resolver, Scanned, WIDEST, expanded, weight};

/// A statement that was admitted, planned and verified for one principal.
pub struct Planned {
    pub(super) engine: Arc<Engine>,
    pub(super) manner: Manner,
    pub(super) plan: Arc<dyn ExecutionPlan>,
    /// The products that it reads, where anything of them is kept from the principal.
    pub(super) guarded: Option<Guarded>,
    pub(super) life: Life,
    pub(super) basis: Basis,
    /// The purpose that the statement declares for what follows: one, or none any more.
    pub(super) declares: Option<Option<String>>,
    pub(super) schema: SchemaRef,
    /// Whether values stand in the places of parameters.
    pub(super) valued: bool,
    /// Where its rows may be kept.
    pub(super) result: Option<Slot>,
    parameters: SchemaRef,
    pins: Pins,
    snapshots: Pins,
    notices: Vec<String>,
    ages: BTreeMap<String, Age>,
    flow: Flow,
    /// What an observer is told of it.
    pub(super) statement: Arc<Statement>,
    pub(super) origin: Origin,
    /// What is measured of it.
    pub(super) trace: Option<Arc<Trace>>,
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

    /// The parameters: their names and types. Each may be NULL.
    pub fn parameters(&self) -> SchemaRef {
        Arc::clone(&self.parameters)
    }

    /// The purpose that the statement declares for those after it: one, or none any more.
    pub fn declares(&self) -> Option<&Option<String>> {
        self.declares.as_ref()
    }

    /// The same for a caller that keeps nothing from one statement to the next.
    ///
    /// # Errors
    /// When the statement would declare something for those after it.
    pub fn alone(self) -> Result<Self, Error> {
        match self.declares {
            None => Ok(self),
            Some(_) => {
                Err(Error::new(Class::BadRequest, "`SET` and `RESET` hold for a session, and there is none here").help(
                    "set the session option `purpose`, or declare it with each call, in the header `x-polder-purpose`",
                ))
            }
        }
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

    /// What the user should know, one sentence each: deprecated products, masked columns, comparisons that find nothing.
    pub fn notices(&self) -> &[String] {
        &self.notices
    }

    /// How old the data of the products is, where the principal may know it and a contract promises something.
    pub fn ages(&self) -> &BTreeMap<String, Age> {
        &self.ages
    }

    /// Which columns reach which outputs, and how; empty for what is no query.
    pub fn flow(&self) -> &Flow {
        &self.flow
    }

    /// How many files it names.
    pub fn files(&self) -> usize {
        files(&self.plan)
    }

    /// Says who asks, where it came from, and what is measured of it.
    pub(super) fn told(&mut self, asked: observe::Asked, origin: Origin, trace: Option<Arc<Trace>>) {
        let statement = Statement { asked, ..self.statement.as_ref().clone() };
        (self.statement, self.origin, self.trace) = (Arc::new(statement), origin, trace);
    }

    /// The same for somebody who asks for its rows from elsewhere.
    #[must_use]
    pub fn asked_from(mut self, origin: Origin) -> Self {
        let trace = self.engine.observer.retrace(self.trace.take(), &origin);
        Self { origin, trace, ..self }
    }

    /// Whether it was planned for this very principal in the mesh that is served now, and a moment ago where a catalog
    /// could demand something else by now.
    pub fn holds_for(&self, principal: &Principal) -> bool {
        self.basis.principal == *principal
            && self.basis.epoch == self.engine.served().epoch()
            && self.basis.relied.is_fresh()
    }

    /// The same with all the time that a statement has.
    #[must_use]
    pub fn anew(self) -> Self {
        let life = Life { deadline: Instant::now() + self.life.timeout.after, ..self.life };
        Self { life, ..self }
    }

    /// The same query, which runs for its figures: its plan is the answer, in the place of its rows.
    fn profiled(mut self) -> Self {
        if let Some(Guarded(names)) = &self.guarded {
            self.notices.push(format!("figures are left out, since something is kept from you in {names}"));
        }
        let profile = Arc::new(ProfileExec::over(self.plan, self.guarded.is_some()));
        Self { schema: profile.schema(), plan: profile, result: None, ..self }
    }

    /// Runs it for a reader of this process, who may take its time.
    ///
    /// # Errors
    /// When it cannot be started, and when its parameters have no values yet.
    pub fn run(self) -> Result<Rows, Error> {
        self.bound()?;
        life::start(self, life::Unpacked::default(), None, ())
    }

    /// Runs it for a reader elsewhere, who is given up when it does not read. Its rows are packed where they are made;
    /// `held` is dropped when nothing of it is left.
    ///
    /// # Errors
    /// When it cannot be started, and when its parameters have no values yet.
    pub fn send<P: Packer>(self, packer: P, held: impl Send + 'static) -> Result<Rows<P::Parcel>, Error> {
        self.bound()?;
        let patience = self.engine.patience();
        life::start(self, packer, Some(patience), held)
    }

    fn bound(&self) -> Result<(), Error> {
        match self.parameters.fields().is_empty() || self.valued {
            true => Ok(()),
            false => Err(Error::new(Class::BadRequest, "no values are bound to the parameters of the statement")),
        }
    }
}

/// How many files a plan names.
pub(super) fn files(plan: &Arc<dyn ExecutionPlan>) -> usize {
    let (mut files, mut rest) = (0, vec![plan]);
    while let Some(plan) = rest.pop() {
        let source = plan.downcast_ref::<DataSourceExec>().map(DataSourceExec::data_source);
        if let Some(config) = source.and_then(|source| source.downcast_ref::<FileScanConfig>()) {
            files += config.file_groups.iter().map(FileGroup::len).sum::<usize>();
        }
        rest.extend(inside(plan.as_ref()).map(|(_, inner)| inner));
        rest.extend(plan.children());
    }
    files
}

/// Plans a statement for the resolver's principal, in the mesh of an epoch.
pub(super) async fn plan(
    engine: &Arc<Engine>,
    resolver: &Resolver,
    request: &Request,
    life: Life,
    epoch: u64,
) -> Result<Planned, Error> {
    let key = Key::of(epoch, &resolver.principal, request);
    if let Some(key) = &key
        && let Some(ready) = recall(engine, resolver, request, key).await?
    {
        return Ok(ready.remembered(engine, resolver, epoch, life));
    }
    let Gated { statement, parameters } = timed("gate", None, || admit(&request.sql))?;
    counted(&parameters, &request.values)?;
    if let Admitted::Purpose(purpose) = statement {
        let (table, declares) = purpose::answer(resolver, purpose)?;
        let planned = whole_table(engine, table, life).await?;
        return Ok(Planned { declares, ..planned });
    }
    purpose::entitled(resolver)?;
    let is_known = key.as_ref().is_some_and(|key| engine.again.knows(key));
    let asked = |query| Asked { query, parameters: &parameters, request, is_known };
    match statement {
        Admitted::Query(query) => {
            let Made { ready, kept, .. } = query_plan(resolver, asked(query), engine.base.clone()).await?;
            if let (Some(key), Some(kept)) = (key, kept) {
                engine.again.keep(key, kept);
            }
            match &request.part {
                Some(part) => ready.planned(engine, life).only(part),
                None => Ok(ready.remembered(engine, resolver, epoch, life)),
            }
        }
        Admitted::Explain(query) => {
            let Made { ready, logical, .. } = query_plan(resolver, asked(query), without_figures(engine)).await?;
            let table = explain::table(&logical, &ready.physical)?;
            let planned = whole_table(engine, table, life).await?;
            Ok(Planned { parameters: ready.parameters, valued: ready.valued, ..planned })
        }
        Admitted::Analyze(query) => {
            let made = query_plan(resolver, asked(query), without_figures(engine)).await?;
            Ok(made.ready.planned(engine, life).profiled())
        }
        Admitted::ExplainPolicy(query) => {
            let lines = explained(engine, resolver, asked(query)).await?;
            whole_table(engine, explanation::table(&lines)?, life).await
        }
        Admitted::ShowTables(schema) => whole_table(engine, resolver.show_tables(schema.as_deref())?, life).await,
        Admitted::ShowSchemas => whole_table(engine, resolver.show_schemas()?, life).await,
        Admitted::Describe(name) => {
            let table = resolver.describe(&request.whole(reference(&name)?)).await?;
            whole_table(engine, table, life).await
        }
        Admitted::Purpose(_) => Err(Error::new(Class::Bug, "a purpose was declared twice")),
    }
}

/// Explains the query `sql` for the resolver's principal.
pub(super) async fn explain_policy(engine: &Engine, resolver: &Resolver, sql: &str) -> Result<Vec<Line>, Error> {
    purpose::entitled(resolver)?;
    let Gated { statement, parameters } = admit(sql)?;
    match statement {
        Admitted::Query(query) | Admitted::ExplainPolicy(query) => {
            let request = Request { values: Values::Later, ..Request::new(sql) };
            let asked = Asked { query, parameters: &parameters, request: &request, is_known: false };
            explained(engine, resolver, asked).await
        }
        _ => Err(Error::new(Class::BadRequest, "only a query can be explained").help("explain a SELECT")),
    }
}

/// A query that is asked for.
#[derive(Clone)]
struct Asked<'a> {
    query: Box<Query>,
    /// The names of its parameters.
    parameters: &'a [String],
    request: &'a Request,
    /// Whether it was asked before.
    is_known: bool,
}

/// What planning has made, before it becomes the caller's.
pub(super) struct Ready {
    pub(super) manner: Manner,
    pub(super) physical: Arc<dyn ExecutionPlan>,
    pub(super) tables: Vec<Scanned>,
    pub(super) flow: Flow,
    /// What to say of columns that it compares.
    pub(super) unlike: BTreeSet<String>,
    pub(super) parameters: SchemaRef,
    pub(super) valued: bool,
    /// What it asks, where its rows may be kept.
    pub(super) question: Option<LogicalPlan>,
}

/// What planning has made of a query.
struct Made {
    ready: Ready,
    logical: LogicalPlan,
    /// What may be kept for the same statement later, over the same tables.
    kept: Option<Kept>,
}

impl Ready {
    /// The same where its rows may be those of an earlier statement, or a later one's.
    fn remembered(mut self, engine: &Arc<Engine>, resolver: &Resolver, epoch: u64, life: Life) -> Planned {
        let slot = |question| engine.results.slot(epoch, &resolver.principal, question, &self.tables);
        let result = self.question.take().and_then(slot);
        Planned { result, ..self.planned(engine, life) }
    }

    fn planned(self, engine: &Arc<Engine>, life: Life) -> Planned {
        let Self { manner, physical, tables, flow, unlike, parameters, valued, question: _ } = self;
        let mut notices: Vec<String> = Vec::new();
        for (scan, _, table) in &tables {
            let masked = table.masked_notice(flow.sources().filter(|source| source.table == *scan));
            // A table that is read at two versions is told of once.
            let stale = table.age.and_then(|age| age.notice(&table.name));
            for notice in table.notices.iter().cloned().chain(stale).chain(masked) {
                if !notices.contains(&notice) {
                    notices.push(notice);
                }
            }
        }
        notices.extend(unlike);
        Planned {
            engine: Arc::clone(engine),
            guarded: Guarded::of(tables.iter().map(|(_, _, table)| table)),
            snapshots: tables
                .iter()
                .filter(|(_, _, table)| !table.restricted)
                .filter_map(|(_, _, table)| Some((table.pin_name(), table.snapshot?)))
                .collect(),
            life,
            // Put in when planning has ended.
            basis: Basis::none(),
            declares: None,
            schema: match parameters.fields().is_empty() {
                true => physical.schema(),
                // The same columns for every value that may be bound, NULL among them.
                false => nullable(&physical.schema()),
            },
            parameters,
            valued,
            // Only where a whole query is asked.
            result: None,
            pins: tables.iter().filter_map(|(_, _, table)| Some((table.pin_name(), table.snapshot?))).collect(),
            notices,
            ages: tables.iter().filter_map(|(_, _, table)| Some((table.name.clone(), table.age?))).collect(),
            statement: Arc::new(Statement {
                asked: observe::Asked::default(),
                reads: record::reads(&flow, &tables),
                answer: engine
                    .observer
                    .follows()
                    .then(|| record::answer(engine.mesh().name(), &flow, &tables))
                    .flatten(),
            }),
            origin: Origin::default(),
            trace: None,
            flow,
            plan: physical,
            manner,
        }
    }
}

fn nullable(schema: &Schema) -> SchemaRef {
    let fields = schema.fields().iter().map(|field| field.as_ref().clone().with_nullable(true));
    Arc::new(Schema::new_with_metadata(fields.collect::<Vec<Field>>(), schema.metadata().clone()))
}

/// A state for plans that are shown, in which the guards of restricted tables tell no figures.
fn without_figures(engine: &Engine) -> SessionState {
    with_config(&engine.base, engine.base.config().clone().with_extension(Arc::new(WithoutFigures)))
}

async fn query_plan(resolver: &Resolver, asked: Asked<'_>, base: SessionState) -> Result<Made, Error> {
    let prepared = prepare(resolver, asked.query.clone(), asked.request, base.clone(), Over::Tables).await?;
    spanned("plan", None, over_tables(resolver, asked, base, prepared)).await
}

async fn over_tables(
    resolver: &Resolver,
    asked: Asked<'_>,
    base: SessionState,
    Prepared { state, statement, tables, denials, travels }: Prepared,
) -> Result<Made, Error> {
    let logical = match state.statement_to_plan(statement).await {
        Ok(logical) => logical,
        Err(error) => {
            let nested = |grant: &ColumnGrant| matches!(grant.access, Access::Nested(_));
            let of_fields = tables.iter().any(|(_, _, table)| table.grants.iter().any(nested));
            let denied = if of_fields { denied(resolver, asked, base).await } else { None };
            return Err(denied.unwrap_or_else(|| failed(&error, &tables)));
        }
    };
    undenied(&logical, denials, &tables)?;
    let bound = bind(logical, asked.parameters, &asked.request.values).map_err(|unbound| match unbound {
        Unbound::Refused(error) => error,
        Unbound::Failed(error) => failed(&error, &tables),
    });
    let Bound { typed, open, valued, offered } = bound?;
    let flow = followed(&typed, &tables)?;
    let lasts = !travels && lasts(&typed).map_err(|error| failed(&error, &tables))?;
    let tables = with_all_beneath(&typed, tables)?;
    let (logical, valued) = valued.map_or((typed, false), |valued| (valued, true));
    let finished = finish(&state, &logical, tables.iter().map(|(_, _, table)| &table.provider), &tables).await;
    let finished = finished.map_err(|error| if valued { failure::valued(error) } else { error })?;
    let way = match (asked.parameters.is_empty(), open) {
        _ if !lasts => None,
        (true, _) => Way::of(&finished, &tables),
        (false, Some(open)) if valued && asked.is_known => {
            // One that cannot be optimized without its values is planned with them each time.
            let open = optimized(&state, open).ok();
            let open = open.filter(|open| same_columns(open.schema().as_arrow(), &finished.physical.schema()));
            open.and_then(|open| Way::optimized(&open, &tables))
        }
        (false, open) => open.map(|_| Way::Once),
    };
    let unlike = resolver.unlike(&flow, &tables);
    let Finished { optimized, logical, physical, manner } = finished;
    let question = if lasts { question(&optimized, &tables) } else { None };
    let ready = Ready { manner, physical, tables, flow, unlike, parameters: offered, valued, question };
    let kept = way.and_then(|way| Kept::of(&ready, asked.parameters, &logical, way));
    Ok(Made { ready, logical, kept })
}

/// The tables of a statement, and all that the derived ones among them are made of.
fn with_all_beneath(logical: &LogicalPlan, mut tables: Vec<Scanned>) -> Result<Vec<Scanned>, Error> {
    let beneath: Vec<_> = tables.iter().filter_map(|(_, _, table)| table.beneath.clone()).collect();
    if beneath.is_empty() {
        return Ok(tables);
    }
    let read = weight(logical, &tables).map_err(|error| failed(&error, &tables))?;
    if read > WIDEST {
        // How many there are is not told: they could be kept from who asks.
        let message = format!("the statement reads more than {WIDEST} tables, derived products counted in full");
        return Err(Error::new(Class::Limit, message));
    }
    tables.extend(beneath.iter().flat_map(|beneath| beneath.tables.iter().cloned()));
    Ok(tables)
}

/// What an explanation says of a query, which is planned over outlines and does not run.
async fn explained(engine: &Engine, resolver: &Resolver, asked: Asked<'_>) -> Result<Vec<Line>, Error> {
    let (flow, tables) = outlined(resolver, asked.clone(), engine.base.clone()).await?;
    match flow {
        Ok(flow) => resolver.explain(&flow, &tables),
        // A contract may leave open what a type is; the tables then know it, if they can be opened.
        Err(error) if error.class == Class::BadRequest => {
            let Made { ready, .. } = query_plan(resolver, asked, engine.base.clone()).await?;
            resolver.explain(&ready.flow, &ready.tables)
        }
        Err(error) => Err(error),
    }
}

async fn outlined(
    resolver: &Resolver,
    asked: Asked<'_>,
    base: SessionState,
) -> Result<(Result<Flow, Error>, Vec<Scanned>), Error> {
    let Prepared { state, statement, tables, .. } =
        prepare(resolver, asked.query, asked.request, base, Over::Outlines).await?;
    let flow = match state.statement_to_plan(statement).await {
        Ok(logical) => followed(&logical, &tables),
        Err(error) => Err(failed(&error, &tables)),
    };
    let beneath: Vec<_> = tables.iter().filter_map(|(_, _, table)| table.beneath.clone()).collect();
    let beneath = beneath.iter().flat_map(|beneath| beneath.tables.iter().cloned());
    Ok((flow, tables.into_iter().chain(beneath).collect()))
}

/// The denial of the first field that a query names and must not, where that is why it cannot be planned: a field that
/// is denied is not in its struct.
async fn denied(resolver: &Resolver, asked: Asked<'_>, base: SessionState) -> Option<Error> {
    let (flow, tables) = outlined(resolver, asked, base).await.ok()?;
    let flow = flow.ok()?;
    flow.sources().find_map(|source| {
        let (_, _, table) = tables.iter().find(|(scan, _, table)| *scan == source.table && !table.rights.is_kept())?;
        let [(name, grant)] = leaves(&table.grants, &source.path).try_into().ok()?;
        (grant.access == Access::Denied).then(|| table.wanted.as_ref().map(|wanted| wanted.column(&name, grant)))?
    })
}

/// Follows the columns of a plan. What cannot be followed does not run.
pub(super) fn followed(logical: &LogicalPlan, tables: &[Scanned]) -> Result<Flow, Error> {
    let masked = |scan: &TableReference, path: &[String]| {
        let table = tables.iter().find(|(name, ..)| name == scan).map(|(_, _, table)| table);
        let mut leaves = table.into_iter().flat_map(|table| leaves(&table.grants, path));
        leaves.any(|(_, grant)| matches!(grant.access, Access::Masked(_)))
    };
    nested::check(logical).map_err(|error| failed(&error, tables))?;
    let flow = flow(logical, &masked).map_err(|unknown| unfollowed(&unknown))?;
    Ok(expanded(flow, tables))
}

pub(super) fn unfollowed(unknown: &Unknown) -> Error {
    tracing::error!(%unknown, "a plan was refused, since its columns cannot be followed");
    Error::new(Class::Bug, format!("the plan could not be proved safe and does not run: {unknown}"))
        .help("please report the statement to the platform team")
}

pub(super) fn failed(error: &DataFusionError, tables: &[Scanned]) -> Error {
    failure::planning(error, tables.iter().map(|(_, _, table)| table))
}

/// Plans the whole of a table that was made for this statement: the answer to `SHOW`, `DESCRIBE` and `EXPLAIN`.
async fn whole_table(engine: &Arc<Engine>, table: Arc<dyn TableProvider>, life: Life) -> Result<Planned, Error> {
    let failed = |error| failure::planning(&error, &[]);
    let state = engine.base.clone();
    let logical = LogicalPlanBuilder::scan("answer", provider_as_source(Arc::clone(&table)), None)
        .and_then(LogicalPlanBuilder::build)
        .map_err(failed)?;
    let Finished { physical, manner, .. } = finish(&state, &logical, [&table], &[]).await?;
    let parameters = Arc::new(Schema::empty());
    let (tables, flow, unlike) = (Vec::new(), Flow::default(), BTreeSet::new());
    let (valued, question) = (false, None);
    Ok(Ready { manner, physical, tables, flow, unlike, parameters, valued, question }.planned(engine, life))
}
