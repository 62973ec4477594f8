//! A mesh and what it takes to query it: threads, memory, spill space, open lakes. Shared by every connection.

use std::num::NonZero;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use datafusion::execution::SessionStateBuilder;
use datafusion::execution::disk_manager::{DiskManagerBuilder, DiskManagerMode};
use datafusion::execution::memory_pool::TrackConsumersPool;
use datafusion::execution::runtime_env::{RuntimeEnv, RuntimeEnvBuilder};
use datafusion::execution::session_state::SessionState;
use datafusion::prelude::SessionConfig;
use polder_catalog::mesh::limits::sized;
use polder_catalog::mesh::{Mesh, ResourceGroup};
use polder_catalog::name::ProductRef;
use polder_catalog::principal::Principal;

use super::again::Again;
use super::alike::Alike;
use super::derived::Derivations;
use super::growth::Structs;
use super::heeded::ruled;
use super::life::{Life, Timeout};
use super::limits::{Allowance, Bound, Lanes, Place, Shared, count_processors};
use super::redact::Names;
use super::results::Results;
use super::running::{Basis, Running};
use super::spill::Spill;
use super::threads::{Threads, Work};
use super::{Columns, DeclaredKeys, Line, Listed, Options, Pins, Planned, Request, failure, record};
use crate::error::{Class, Error};
use crate::guard::mask::Keys;
use crate::lake::Lake;
use crate::observe::{Observer, Statement, Trace, under};
use crate::resolve::{Flaw, Resolver, Seen, Use, survey};
use crate::served::{Served, Serving, anonymous};

/// Crews of as many executing threads as a query may have partitions. An operator can compute for seconds between two points
/// at which it can be stopped and holds its thread meanwhile; the other crews keep other queries going. Planning has one
/// with fewer: plans are walked by recursion, and a thread keeps the stack that it once took.
const CREWS: usize = 4;

/// The most that queries may spill, in bytes; DataFusion's own default is 100 GB.
const SPILL: u64 = 20 << 30;

/// The share of what queries may use that is kept of files' footers beside it, with their page indexes: 256 MiB by default,
/// where DataFusion's own default is 50 MB. A footer takes 1 kB for each column of a row group: those of TPC-H at scale 1
/// take 0.2 MB, and those of 20 000 files with 12 columns fit. Who scans more files than fit, again and again, reads their
/// ends again each time; a query that chooses among them does not.
const FOOTERS: usize = 8;

/// What a thread of a sort keeps for merging, of what queries may use: one part in so many.
const MERGES: usize = 64;

/// How many consumers an out-of-memory error may list in the log.
const CONSUMERS: NonZero<usize> = NonZero::<usize>::MIN.saturating_add(4);

/// A mesh and what it takes to query it.
#[derive(Debug)]
pub struct Engine {
    served: Arc<Served>,
    pub(super) running: Arc<Running>,
    pub(super) lake: Arc<Lake>,
    pub(super) seen: Arc<Seen>,
    /// The state that every query's own is made from; it has functions and no tables.
    pub(super) base: SessionState,
    /// Plans that are used again.
    pub(super) again: Again,
    /// Results that are used again.
    pub(super) results: Arc<Results>,
    /// What plans the queries of derived products.
    derivations: Arc<Derivations>,
    timeout: Duration,
    patience: Duration,
    /// Statements that were ended since nobody read their rows.
    pub(super) stalled: AtomicU64,
    planning: Threads,
    execution: Threads,
    pub(super) observer: Arc<Observer>,
    /// Where statements wait their turn.
    lanes: Arc<Lanes>,
    /// How many of them run at once, of all people together.
    at_once: Option<Bound>,
    /// How many are planned at once.
    planned: Bound,
    /// Bytes for all queries together.
    memory: usize,
    /// Where they spill to.
    spill: Spill,
}

/// The places of a statement that may run.
#[derive(Debug)]
pub(super) struct Turn {
    /// In its resource group.
    pub(super) of_group: Option<(Place, ResourceGroup)>,
    /// Among all statements.
    pub(super) of_all: Option<Place>,
}

impl Engine {
    /// Starts an engine over a mesh.
    ///
    /// # Errors
    /// When the threads, the spill directory or the cache cannot be had.
    pub fn start(mesh: Mesh, options: Options) -> Result<Arc<Self>, Error> {
        let cores = std::thread::available_parallelism().map_or(2, NonZero::get);
        let threads = options.threads.unwrap_or(cores).max(1);
        let spared = threads.div_ceil(2);
        let planning = Threads::start("polder-plan", 1, threads + spared, threads)?;
        let execution = Threads::start("polder-query", CREWS, threads, threads)?;

        let lake = Arc::new(Lake::new(options.lake)?);
        count_processors();
        let unusable = |error| Error::new(Class::Limit, format!("the spill directory cannot be used: {error}"));
        let spill = Spill::new(options.spill, SPILL).map_err(unusable)?;
        let environment = RuntimeEnvBuilder::new()
            .with_memory_pool(Arc::new(TrackConsumersPool::new(Shared::new(options.memory), CONSUMERS)))
            .with_disk_manager_builder(DiskManagerBuilder::default().with_mode(DiskManagerMode::Disabled))
            .with_metadata_cache_limit(options.memory / FOOTERS)
            .with_object_store_registry(lake.stores())
            .build_arc()
            .map_err(unusable)?;

        let mut config = SessionConfig::new()
            .with_target_partitions(threads)
            .with_batch_size(options.batch.max(1))
            .with_information_schema(false)
            .with_create_default_catalog_and_schema(false)
            .with_default_catalog_and_schema(mesh.name(), "");
        let settings = config.options_mut();
        // What has fewer rows than a batch is not spread over threads, which costs more than it spares; how many a table has at
        // most is known, if not how many a filter leaves.
        settings.execution.use_row_number_estimates_to_optimize_partitioning = true;
        // Columns come as views where the scan says so, and go as plain types where they are encoded.
        settings.sql_parser.map_string_types_to_utf8view = false;
        settings.optimizer.expand_views_at_output = false;
        // DataFusion 54 loses columns of a join where a condition on a nested field is moved below it.
        settings.optimizer.enable_leaf_expression_pushdown = false;
        // It makes room for as many groups as `LIMIT` says before there is one, which no pool counts.
        settings.optimizer.enable_topk_aggregation = false;
        // Its logical plan says that `a IS TRUE` cannot be NULL, its physical plan does not, and it compares the two.
        settings.execution.skip_physical_aggregate_schema_check = true;
        // What each thread of each sort keeps for merging is unspillable: ten MiB of little memory would be all of it.
        settings.execution.sort_spill_reservation_bytes = (options.memory / MERGES).clamp(1 << 20, 10 << 20);
        let mut base = ruled(SessionStateBuilder::new())
            .with_config(config)
            .with_runtime_env(environment)
            .with_expr_planners(vec![Arc::new(Alike), Arc::new(Structs)])
            .with_default_features()
            .with_table_functions(std::collections::HashMap::new())
            .build();
        Structs::measure(&mut base).map_err(|error| Error::new(Class::Bug, error.to_string()))?;
        let served = Served::new(mesh);
        let running = Running::new(Arc::clone(&served));
        let Options { timeout, patience, memory, results, observer, .. } = options;
        let at_once = options.at_once.map(|most| Bound::of_all(most, options.wait));
        let planned = Bound::of_planner(threads + spared, spared, options.wait);
        let stalled = AtomicU64::new(0);
        let seen = Arc::default();
        let derivations = Arc::new(Derivations::new(base.clone()));
        Ok(Arc::new(Self {
            served,
            running,
            lake,
            seen,
            base,
            again: Again::default(),
            results: Results::new(results),
            derivations,
            timeout,
            patience,
            stalled,
            planning,
            execution,
            observer,
            lanes: Arc::default(),
            at_once,
            planned,
            memory,
            spill,
        }))
    }

    /// The mesh that is served now.
    pub fn mesh(&self) -> Arc<Mesh> {
        self.served.mesh()
    }

    /// Where the mesh that is served now is found.
    pub fn served(&self) -> Arc<Served> {
        Arc::clone(&self.served)
    }

    /// Serves another state of the mesh: every statement that is planned or executed from now on obeys it, and those that
    /// run are decided again. Says how many of these it ended. Its name must be the same.
    pub fn serve(&self, mesh: Mesh) -> usize {
        self.lake.keep(mesh.domains());
        let now = self.served.swap(mesh);
        self.again.forget(now.epoch);
        self.results.forget(now.epoch);
        self.running.review(&now)
    }

    /// The open lakes.
    pub fn lake(&self) -> Arc<Lake> {
        Arc::clone(&self.lake)
    }

    /// How long rows may wait for a reader that takes none.
    pub fn patience(&self) -> Duration {
        self.patience
    }

    /// How many statements were ended since nobody read their rows.
    pub fn stalled(&self) -> u64 {
        self.stalled.load(Ordering::Relaxed)
    }

    /// Bytes that running queries hold now.
    pub fn memory_in_use(&self) -> usize {
        self.base.runtime_env().memory_pool.reserved()
    }

    /// Admits, resolves, plans and verifies one statement. `pins` fixes the snapshots of the products that it names
    /// and is empty for the newest ones.
    ///
    /// # Errors
    /// Every class that a statement can fail with before it runs.
    pub async fn plan(self: &Arc<Self>, principal: &Principal, sql: &str, pins: &Pins) -> Result<Planned, Error> {
        let request = Request { pins: pins.clone(), ..Request::new(sql) };
        self.plan_request(principal, request).await?.alone()
    }

    /// The same for a statement that means more than its text. The purpose that it declares is for the caller to keep.
    ///
    /// # Errors
    /// As above.
    pub async fn plan_request(self: &Arc<Self>, principal: &Principal, request: Request) -> Result<Planned, Error> {
        let (engine, asking, request) = (Arc::clone(self), principal.clone(), Arc::new(request));
        let begun = tokio::time::Instant::now();
        let timeout = self.time_of(principal, request.timeout);
        let within = begun + timeout.after;
        let deadline = request.deadline.map_or(within, |deadline| deadline.min(within));
        let asked = Arc::clone(&request);
        let trace = self.observer.trace(&request.origin);
        let traced = trace.clone();
        let late = failure::timeout(&timeout);
        let planned = under(trace.clone(), async move {
            let Serving { mesh, epoch } = engine.served.now();
            let resolver = engine.resolver_of(mesh, &asking, &asked.pins);
            let life = Life { deadline, timeout };
            let planned = super::planning::plan(&engine, &resolver, &asked, life, epoch);
            let mut planned = engine.lanes.take_turns(&engine.planned, &asking.id, planned).await?;
            planned.told(record::asked(&resolver.mesh, &asking, &asked.sql, Names::All), asked.origin, traced);
            planned.basis = Basis { principal: asking, epoch, relied: resolver.relied() };
            Ok(planned)
        });
        let planned = self.apart(planned);
        match tokio::time::timeout_at(deadline, planned).await.unwrap_or_else(|_| Err(late)) {
            Ok(planned) => Ok(planned),
            Err(error) => Err(self.refused(principal, request, error, begun.elapsed(), trace).await),
        }
    }

    /// The time that a statement of `principal` has, who may ask for less.
    fn time_of(&self, principal: &Principal, asked: Option<Duration>) -> Timeout {
        let least = asked.into_iter().fold(self.timeout, Duration::min);
        let mesh = self.mesh();
        let group = mesh.limits_of(principal).and_then(|group| Some((group.each.time?, &group.name)));
        match group.filter(|(most, _)| *most < least) {
            Some((most, name)) => Timeout { after: most, group: Some(name.as_str().into()) },
            None => Timeout { after: least, group: None },
        }
    }

    /// The same error, with what there is of all statements together, where that is not enough.
    pub(super) fn whose(&self, error: Error) -> Error {
        let most = match error.message.as_str() {
            failure::MEMORY => u64::try_from(self.memory).unwrap_or(u64::MAX),
            failure::SPILLED => SPILL,
            _ => return error,
        };
        let message = format!("{}; all statements of the server have {} together", error.message, sized(most));
        Error { message, ..error }
    }

    /// The error of a statement that is refused, once that is recorded.
    async fn refused(
        &self,
        principal: &Principal,
        request: Arc<Request>,
        error: Error,
        took: Duration,
        trace: Option<Arc<Trace>>,
    ) -> Error {
        let (mesh, asking, origin) = (self.mesh(), principal.clone(), request.origin);
        // What is denied was understood.
        let names = if error.class == Class::Denied { Names::All } else { Names::Plain };
        let asked = self.apart(async move { Ok(record::asked(&mesh, &asking, &request.sql, names)) }).await;
        let asked = asked.unwrap_or_else(|_| record::asking(principal));
        let statement = Statement { asked, ..Statement::default() };
        self.observer.refused(statement, origin, error.class, took, trace).await.err().unwrap_or(error)
    }

    /// Waits until a statement of `principal` may run: in its resource group, and then among all.
    ///
    /// # Errors
    /// `Limit`, when too many wait already, or when its turn does not come in time.
    pub(super) async fn turn(&self, principal: &Principal) -> Result<Turn, Error> {
        let group = self.mesh().limits_of(principal).cloned();
        let of_group = match group {
            Some(group) => Some((self.lanes.enter(&Bound::of(&group), &principal.id).await?, group)),
            None => None,
        };
        let of_all = match &self.at_once {
            Some(bound) => Some(self.lanes.enter(bound, &principal.id).await?),
            None => None,
        };
        Ok(Turn { of_group, of_all })
    }

    /// What a statement of a resource group may take, which has its place.
    pub(super) fn allowance(&self, group: ResourceGroup, place: &Place) -> Allowance {
        Allowance::of(group, place.used(), &self.base.runtime_env().memory_pool, self.memory)
    }

    /// The environment of a statement, and of one of a resource group within its allowance.
    ///
    /// # Errors
    /// When its spill directory cannot be had.
    pub(super) fn environment(&self, allowance: Option<&Allowance>) -> Result<Arc<RuntimeEnv>, Error> {
        let mut environment = RuntimeEnv::clone(self.base.runtime_env());
        environment.disk_manager = self.spill.disk();
        match allowance {
            Some(allowance) => allowance.environment(&Arc::new(environment), &self.spill),
            None => Ok(Arc::new(environment)),
        }
    }

    /// What is spilled, and how many tasks there are, as Prometheus reads it.
    pub fn in_use(&self) -> String {
        let (planning, execution) = (self.planning.tasks(), self.execution.tasks());
        let held = self.memory_in_use();
        self.spill.render()
            + &self.again.render()
            + &self.results.render()
            + &format!(
                "# HELP polder_memory_bytes Bytes that running queries hold of the memory for queries.\n\
                 # TYPE polder_memory_bytes gauge\n\
                 polder_memory_bytes {held}\n\
                 # HELP polder_tasks Tasks that are at work for queries.\n\
                 # TYPE polder_tasks gauge\n\
                 polder_tasks{{of=\"planning\"}} {planning}\n\
                 polder_tasks{{of=\"execution\"}} {execution}\n"
            )
    }

    /// How many statements run and wait, as Prometheus reads it.
    pub fn lanes(&self) -> String {
        self.lanes.render(self.at_once.as_ref())
    }

    /// Who is told of statements.
    pub fn observer(&self) -> Arc<Observer> {
        Arc::clone(&self.observer)
    }

    /// How many parameters a statement has, which is told by its text alone.
    ///
    /// # Errors
    /// For what is not admitted.
    pub async fn parameters(self: &Arc<Self>, sql: &str) -> Result<usize, Error> {
        let sql = sql.to_owned();
        self.apart(async move { Ok(super::gate::admit(&sql)?.parameters.len()) }).await
    }

    /// What derived products read of others, as far as contracts tell. It is for those who look at the mesh's files.
    ///
    /// # Errors
    /// When the engine fails on it.
    pub async fn uses(self: &Arc<Self>) -> Result<Vec<Use>, Error> {
        let resolver = self.resolver(&anonymous());
        self.apart(async move { Ok(resolver.uses().await) }).await
    }

    /// What is wrong with derived products, as far as contracts tell, and views, for which catalogs are asked unless this is
    /// `offline`. It is for those who own them.
    ///
    /// # Errors
    /// When the engine fails on it.
    pub async fn flaws(self: &Arc<Self>, offline: bool) -> Result<Vec<(ProductRef, Flaw)>, Error> {
        let resolver = self.resolver(&anonymous());
        self.apart(async move { Ok(resolver.flaws(offline).await) }).await
    }

    /// The longest time that a statement may take.
    pub fn timeout(&self) -> Duration {
        self.timeout
    }

    /// What `principal` may see of a query, and why. It does not run, and its products need not be there.
    ///
    /// # Errors
    /// As for planning it, except that columns and products which are denied are explained.
    pub async fn explain_policy(self: &Arc<Self>, principal: &Principal, sql: &str) -> Result<Vec<Line>, Error> {
        let (engine, resolver, sql) = (Arc::clone(self), self.resolver(principal), sql.to_owned());
        let lines = self.apart(async move { super::planning::explain_policy(&engine, &resolver, &sql).await });
        let timeout = self.time_of(principal, None);
        tokio::time::timeout(timeout.after, lines).await.unwrap_or_else(|_| Err(failure::timeout(&timeout)))
    }

    /// What `principal` may discover, the system tables included, in the order of names.
    pub fn list(&self, principal: &Principal) -> Vec<Listed> {
        self.resolver(principal).list()
    }

    /// The keys that contracts declare, as far as `principal` may see their columns.
    ///
    /// # Errors
    /// When the engine fails on it.
    pub async fn keys(self: &Arc<Self>, principal: &Principal) -> Result<DeclaredKeys, Error> {
        let resolver = self.resolver(principal);
        self.apart(async move { Ok(resolver.keys().await) }).await
    }

    /// What `principal` sees of each thing that was listed; nothing of what cannot be opened soon. A domain that hangs holds
    /// up no other.
    ///
    /// # Errors
    /// When the engine fails on it.
    pub async fn table_schemas(
        self: &Arc<Self>,
        principal: &Principal,
        listed: Vec<Listed>,
    ) -> Result<Vec<Option<Columns>>, Error> {
        let resolver = self.resolver(principal);
        self.apart(async move { Ok(resolver.visible(listed).await) }).await
    }

    /// Opens every product once, and says for each domain what keeps its products from being read, if anything does.
    pub async fn survey(self: &Arc<Self>) -> Vec<Error> {
        let engine = Arc::clone(self);
        let surveyed = self.apart(async move {
            let mesh = engine.mesh();
            let surveys = mesh.domains().map(|domain| survey(&engine.lake, domain));
            Ok(futures::future::join_all(surveys).await.into_iter().flatten().collect())
        });
        surveyed.await.unwrap_or_else(|error| vec![error])
    }

    /// Of one statement: it has a salt of its own.
    pub(super) fn resolver(&self, principal: &Principal) -> Resolver {
        self.resolver_of(self.mesh(), principal, &Pins::new())
    }

    fn resolver_of(&self, mesh: Arc<Mesh>, principal: &Principal, pins: &Pins) -> Resolver {
        let keys = Keys::new(mesh.keys());
        let resolver = Resolver::new(mesh, self.lake(), Arc::clone(&self.seen), principal.clone(), keys);
        let resolver = resolver.remembering(self.observer.recent());
        resolver.deriving(Arc::clone(&self.derivations) as _, pins.clone())
    }

    /// Runs `work` on the planning threads, which a query that computes does not keep busy. It ends when the caller goes; a panic in it is an error of this one call.
    pub(super) async fn apart<T: Send + 'static>(
        &self,
        work: impl Future<Output = Result<T, Error>> + Send + 'static,
    ) -> Result<T, Error> {
        self.planning.spawn(work)?.await.unwrap_or_else(|error| Err(failure::ended(&error)))
    }

    /// Starts `work` on the executing threads; dropping the handle ends it.
    pub(super) fn execute(&self, work: impl Future<Output = ()> + Send + 'static) -> Result<Work<()>, Error> {
        self.execution.spawn(work)
    }
}
