//! What stands in a plan more than once is computed once.
//!
//! ```text
//! supplier ⋈ revenue by supplier        revenue by supplier is computed when it is asked for first, and kept
//!   WHERE total = (max of revenue       until it was read in each place
//!                  by supplier)
//! ```
//!
//! Of a verified plan the groups are sought that are the same in two places, down to their scans, and cost something. Each of
//! these places is planned by itself, since what stands around it must not reach in: a join there would leave rows out that
//! another place wants. When the plan runs, the place that is asked first computes, and whoever asks next drives it on: none
//! waits for one that does not read.
//!
//! What it never does: it shares nothing that calls what gives other values the second time, that hangs on the row around it
//! or on another query, or that is a part of a recursion; and it lets no statement fail for what it keeps. Where memory is
//! short before a second place has begun, nothing is kept, and each place computes for itself; after that the statement
//! is out of memory, as a sort is that cannot spill.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet, VecDeque};
use std::fmt;
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker};

use async_trait::async_trait;
use datafusion::arrow::array::RecordBatch;
use datafusion::arrow::datatypes::SchemaRef;
use datafusion::catalog::cte_worktable::CteWorkTable;
use datafusion::catalog::{Session, TableProvider};
use datafusion::common::tree_node::{Transformed, TreeNode, TreeNodeRecursion};
use datafusion::common::{DataFusionError, Result, Statistics, TableReference, exec_err, internal_err};
use datafusion::datasource::{provider_as_source, source_as_provider};
use datafusion::execution::memory_pool::{MemoryConsumer, MemoryReservation};
use datafusion::execution::session_state::SessionState;
use datafusion::execution::{RecordBatchStream, SendableRecordBatchStream, TaskContext};
use datafusion::logical_expr::{Expr, LogicalPlan, TableScan, TableType};
use datafusion::physical_plan::coop::make_cooperative;
use datafusion::physical_plan::{DisplayAs, DisplayFormatType, ExecutionPlan, PlanProperties};
use futures::task::{ArcWake, waker};
use futures::{Stream, StreamExt};

use super::again::lasts;
use super::joins::read;

/// What it is called in a plan.
const NAME: &str = "OnceExec";

/// The most groups that are held against each other.
const MOST: usize = 64;

/// The fewest rows of tables that are worth it, where that is known.
const ROWS: f64 = 100_000.0;

/// A plan in which equal groups are computed once, if there are some; and what becomes of them when it is physical.
pub(super) fn together(plan: &LogicalPlan) -> Result<Option<(LogicalPlan, Vec<Arc<Common>>)>> {
    let equal = equal(plan)?;
    if equal.is_empty() {
        return Ok(None);
    }
    let mut commons: HashMap<LogicalPlan, (Arc<Common>, usize)> =
        equal.into_iter().map(|(part, places)| (part, (Common::new(places), 0))).collect();
    let plan = plan.clone().transform_down_with_subqueries(|node| {
        let Some((common, places)) = commons.get_mut(&node) else { return Ok(Transformed::no(node)) };
        let schema = Arc::clone(node.schema());
        let once = Once { place: *places, schema: Arc::clone(schema.inner()), common: Arc::clone(common), plan: node };
        *places = places.saturating_add(1);
        let scan = TableScan {
            table_name: TableReference::bare(NAME),
            source: provider_as_source(Arc::new(once)),
            projection: None,
            projected_schema: schema,
            filters: Vec::new(),
            fetch: None,
        };
        Ok(Transformed::new(LogicalPlan::TableScan(scan), true, TreeNodeRecursion::Jump))
    })?;
    Ok(Some((plan.data, commons.into_values().map(|(common, _)| common).collect())))
}

/// The largest groups that are in a plan more than once, and how often.
fn equal(plan: &LogicalPlan) -> Result<HashMap<LogicalPlan, usize>> {
    let (mut groups, mut recurs) = (Vec::new(), false);
    plan.apply_with_subqueries(|node| {
        match node {
            LogicalPlan::Aggregate(_) => groups.push(node.clone()),
            LogicalPlan::RecursiveQuery(_) => recurs = true,
            _ => {}
        }
        Ok(if groups.len() > MOST { TreeNodeRecursion::Stop } else { TreeNodeRecursion::Continue })
    })?;
    let mut equal: HashMap<LogicalPlan, usize> = HashMap::new();
    if recurs || !(2..=MOST).contains(&groups.len()) {
        return Ok(equal);
    }
    for group in groups {
        *equal.entry(group).or_default() += 1;
    }
    let mut fit = HashSet::new();
    for (group, _) in equal.drain().filter(|(_, places)| *places > 1) {
        if is_fit(&group)? {
            fit.insert(group);
        }
    }
    // What stands in one of them alone is computed once with it.
    plan.apply_with_subqueries(|node| {
        if !fit.contains(node) {
            return Ok(TreeNodeRecursion::Continue);
        }
        *equal.entry(node.clone()).or_default() += 1;
        Ok(TreeNodeRecursion::Jump)
    })?;
    equal.retain(|_, places| *places > 1);
    Ok(equal)
}

/// Whether a part of a plan is the same wherever it stands, and costs something.
fn is_fit(part: &LogicalPlan) -> Result<bool> {
    let mut fits = lasts(part)? && read(part).is_none_or(|rows| rows >= ROWS);
    part.apply_with_subqueries(|node| {
        if let LogicalPlan::TableScan(scan) = node {
            fits &= source_as_provider(&scan.source).is_ok_and(|provider| !provider.is::<CteWorkTable>());
        }
        node.apply_expressions(|expr| {
            let hangs = |expr: &Expr| {
                let is_query = matches!(expr, Expr::ScalarSubquery(_) | Expr::InSubquery(_) | Expr::Exists(_));
                is_query || matches!(expr, Expr::SetComparison(_) | Expr::OuterReferenceColumn(..))
            };
            fits &= !expr.exists(|expr| Ok(hangs(expr)))?;
            Ok(TreeNodeRecursion::Continue)
        })
    })?;
    Ok(fits)
}

/// A place of what is computed once, until it is physical.
#[derive(Debug)]
struct Once {
    place: usize,
    plan: LogicalPlan,
    schema: SchemaRef,
    common: Arc<Common>,
}

#[async_trait]
impl TableProvider for Once {
    fn schema(&self) -> SchemaRef {
        Arc::clone(&self.schema)
    }

    fn table_type(&self) -> TableType {
        TableType::Temporary
    }

    async fn scan(
        &self,
        state: &dyn Session,
        _projection: Option<&Vec<usize>>,
        _filters: &[Expr],
        _limit: Option<usize>,
    ) -> Result<Arc<dyn ExecutionPlan>> {
        let Some(state) = state.as_any().downcast_ref::<SessionState>() else {
            return internal_err!("a part of a plan is planned by a session of its own kind");
        };
        let child = state.query_planner().create_physical_plan(&self.plan, state).await?;
        Ok(Arc::new(OnceExec { place: self.place, child, common: Arc::clone(&self.common) }))
    }
}

/// A place of what is computed once. As long as it is planned it is a leaf, and no rule that works on the plan around it
/// reaches in; the verifier and whoever explains the plan look inside.
#[derive(Debug)]
struct OnceExec {
    place: usize,
    child: Arc<dyn ExecutionPlan>,
    common: Arc<Common>,
}

/// What the places of one part have in common.
#[derive(Debug)]
pub(super) struct Common {
    places: usize,
    planned: AtomicBool,
    head: Mutex<Head>,
    parts: Mutex<BTreeMap<usize, Arc<Mutex<Part>>>>,
}

#[derive(Debug, Default)]
struct Head {
    /// The place whose plan computes.
    source: Option<(usize, Arc<dyn ExecutionPlan>, Arc<TaskContext>)>,
    /// The places that are read.
    begun: BTreeSet<usize>,
    /// Whether each place computes for itself.
    apart: bool,
}

/// A partition of what is computed.
struct Part {
    rows: Option<SendableRecordBatchStream>,
    /// How it ended, if it did.
    end: Option<Option<Arc<DataFusionError>>>,
    /// The batches that some place has not read, each with its bytes, and how many came before them.
    kept: VecDeque<(RecordBatch, usize)>,
    before: usize,
    /// How many batches each place has had.
    had: BTreeMap<usize, usize>,
    held: MemoryReservation,
    waiting: Arc<Waiting>,
}

impl fmt::Debug for Part {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Part").field("kept", &self.kept.len()).field("had", &self.had).finish_non_exhaustive()
    }
}

/// Those who wait for the next batch: whoever asked last is not the only one.
#[derive(Debug, Default)]
struct Waiting(Mutex<Vec<Waker>>);

impl Waiting {
    fn add(&self, waker: &Waker) {
        let mut waiting = locked(&self.0);
        if !waiting.iter().any(|other| other.will_wake(waker)) {
            waiting.push(waker.clone());
        }
    }

    fn wake_others(&self, own: &Waker) {
        let waiting = std::mem::take(&mut *locked(&self.0));
        waiting.into_iter().filter(|other| !other.will_wake(own)).for_each(Waker::wake);
    }
}

impl ArcWake for Waiting {
    fn wake_by_ref(this: &Arc<Self>) {
        let waiting = std::mem::take(&mut *locked(&this.0));
        waiting.into_iter().for_each(Waker::wake);
    }
}

fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Common {
    fn new(places: usize) -> Arc<Self> {
        let (planned, head, parts) = Default::default();
        Arc::new(Self { places, planned, head, parts })
    }

    /// Says that the plan is physical, and may be looked into.
    pub(super) fn planned(&self) {
        self.planned.store(true, Ordering::Release);
    }

    fn part(&self, partition: usize, context: &TaskContext) -> Arc<Mutex<Part>> {
        let part = || {
            let held = MemoryConsumer::new(NAME).register(context.memory_pool());
            let (rows, end, kept, before, had, waiting) = Default::default();
            Arc::new(Mutex::new(Part { rows, end, kept, before, had, held, waiting }))
        };
        Arc::clone(locked(&self.parts).entry(partition).or_insert_with(part))
    }

    /// Whether a batch is kept for the other places. Nothing is if memory is short before one of them has begun.
    fn keep(&self, part: &mut Part, batch: &RecordBatch) -> Result<()> {
        let bytes = batch.get_array_memory_size();
        let mut head = locked(&self.head);
        if !head.apart {
            match part.held.try_grow(bytes) {
                Ok(()) => {
                    part.kept.push_back((batch.clone(), bytes));
                    return Ok(());
                }
                Err(error) if head.begun.len() > 1 => return Err(error),
                Err(_) => head.apart = true,
            }
        }
        part.before = part.before.saturating_add(part.kept.len()).saturating_add(1);
        part.kept.clear();
        part.held.free();
        Ok(())
    }
}

impl Part {
    /// Notes how many batches a place has had, and lets go of what all have.
    fn passed(&mut self, place: usize, had: usize, places: usize) {
        self.had.insert(place, had);
        if self.had.len() < places {
            return;
        }
        let least = self.had.values().copied().min().unwrap_or_default();
        while self.before < least
            && let Some((_, bytes)) = self.kept.pop_front()
        {
            self.before = self.before.saturating_add(1);
            self.held.shrink(bytes);
        }
        if least == usize::MAX {
            self.rows = None;
        }
    }
}

impl DisplayAs for OnceExec {
    fn fmt_as(&self, _: DisplayFormatType, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{NAME}: for {} places", self.common.places)
    }
}

impl ExecutionPlan for OnceExec {
    fn name(&self) -> &str {
        NAME
    }

    fn properties(&self) -> &Arc<PlanProperties> {
        self.child.properties()
    }

    fn maintains_input_order(&self) -> Vec<bool> {
        self.children().into_iter().map(|_| true).collect()
    }

    fn benefits_from_input_partitioning(&self) -> Vec<bool> {
        self.children().into_iter().map(|_| false).collect()
    }

    fn children(&self) -> Vec<&Arc<dyn ExecutionPlan>> {
        if self.common.planned.load(Ordering::Acquire) { vec![&self.child] } else { Vec::new() }
    }

    fn with_new_children(self: Arc<Self>, mut children: Vec<Arc<dyn ExecutionPlan>>) -> Result<Arc<dyn ExecutionPlan>> {
        Ok(match children.pop() {
            Some(child) => Arc::new(Self { place: self.place, child, common: Arc::clone(&self.common) }),
            None => self,
        })
    }

    fn execute(&self, partition: usize, context: Arc<TaskContext>) -> Result<SendableRecordBatchStream> {
        let reader = Reader {
            part: self.common.part(partition, &context),
            common: Arc::clone(&self.common),
            place: self.place,
            child: Arc::clone(&self.child),
            context,
            partition,
            had: 0,
            begun: false,
            own: None,
        };
        // What is kept comes at once, so that a task is to yield among it.
        Ok(make_cooperative(Box::pin(reader)))
    }

    fn partition_statistics(&self, partition: Option<usize>) -> Result<Arc<Statistics>> {
        self.child.partition_statistics(partition)
    }
}

/// The rows of a partition, for one place.
struct Reader {
    common: Arc<Common>,
    part: Arc<Mutex<Part>>,
    place: usize,
    child: Arc<dyn ExecutionPlan>,
    context: Arc<TaskContext>,
    partition: usize,
    /// How many batches it has had.
    had: usize,
    begun: bool,
    /// Its own rows, where it shares none.
    own: Option<SendableRecordBatchStream>,
}

impl Reader {
    /// Begins to read what this place computes for itself, or what one computes for all.
    fn begin(&mut self) -> Result<()> {
        let mut head = locked(&self.common.head);
        head.begun.insert(self.place);
        let (apart, source) = (
            head.apart,
            head.source.get_or_insert_with(|| (self.place, Arc::clone(&self.child), Arc::clone(&self.context))),
        );
        let (place, plan, context) = (source.0, Arc::clone(&source.1), Arc::clone(&source.2));
        drop(head);
        if apart && place != self.place {
            self.own = Some(self.child.execute(self.partition, Arc::clone(&self.context))?);
        } else {
            let mut part = locked(&self.part);
            if part.rows.is_none() && part.end.is_none() {
                part.rows = Some(plan.execute(self.partition, context)?);
            }
        }
        self.begun = true;
        Ok(())
    }
}

impl Stream for Reader {
    type Item = Result<RecordBatch>;

    fn poll_next(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        let reader = &mut *self;
        if !reader.begun
            && let Err(error) = reader.begin()
        {
            return Poll::Ready(Some(Err(error)));
        }
        if let Some(own) = &mut reader.own {
            return own.poll_next_unpin(context);
        }
        let mut part = locked(&reader.part);
        let Some(place) = reader.had.checked_sub(part.before) else {
            return Poll::Ready(Some(exec_err!("a part of a plan is read twice in one place")));
        };
        if let Some((batch, _)) = part.kept.get(place) {
            let batch = batch.clone();
            reader.had = reader.had.saturating_add(1);
            part.passed(reader.place, reader.had, reader.common.places);
            return Poll::Ready(Some(Ok(batch)));
        }
        if let Some(end) = &part.end {
            return Poll::Ready(end.as_ref().map(|error| Err(DataFusionError::from(error))));
        }
        let waiting = Arc::clone(&part.waiting);
        waiting.add(context.waker());
        let wakes = waker(Arc::clone(&waiting));
        let Some(rows) = &mut part.rows else { return Poll::Ready(None) };
        let Poll::Ready(next) = rows.poll_next_unpin(&mut Context::from_waker(&wakes)) else { return Poll::Pending };
        let next = next.transpose().and_then(|next| match next {
            Some(batch) => reader.common.keep(&mut part, &batch).map(|()| Some(batch)),
            None => Ok(None),
        });
        let answer = match next {
            Ok(Some(batch)) => {
                reader.had = reader.had.saturating_add(1);
                part.passed(reader.place, reader.had, reader.common.places);
                Some(Ok(batch))
            }
            Ok(None) => {
                (part.rows, part.end) = (None, Some(None));
                None
            }
            Err(error) => {
                let error = Arc::new(error);
                (part.rows, part.end) = (None, Some(Some(Arc::clone(&error))));
                Some(Err(DataFusionError::from(&error)))
            }
        };
        drop(part);
        waiting.wake_others(context.waker());
        Poll::Ready(answer)
    }
}

impl RecordBatchStream for Reader {
    fn schema(&self) -> SchemaRef {
        self.child.schema()
    }
}

impl Drop for Reader {
    fn drop(&mut self) {
        // Its place wants nothing more of this partition.
        let mut part = locked(&self.part);
        part.passed(self.place, usize::MAX, self.common.places);
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "tests")]
mod tests {
    use datafusion::arrow::array::{ArrayRef, Int64Array};
    use datafusion::arrow::util::pretty::pretty_format_batches;
    use datafusion::datasource::memory::MemorySourceConfig;
    use datafusion::execution::memory_pool::GreedyMemoryPool;
    use datafusion::execution::runtime_env::RuntimeEnvBuilder;
    use datafusion::physical_plan::collect;
    use datafusion::prelude::SessionContext;
    use futures::TryStreamExt;

    use super::*;

    fn numbers(from: i64) -> RecordBatch {
        let column = |value: fn(i64) -> i64| Arc::new(Int64Array::from_iter_values((from..from + 100).map(value)));
        RecordBatch::try_from_iter([("k", column(|n| n % 7) as ArrayRef), ("v", column(|n| n * n) as ArrayRef)])
            .unwrap()
    }

    fn places(plan: &Arc<dyn ExecutionPlan>) -> usize {
        let own = usize::from(plan.name() == NAME);
        own + plan.children().into_iter().map(places).sum::<usize>()
    }

    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    async fn rows_are_the_same_whether_they_are_computed_once_or_twice() {
        let context = SessionContext::new();
        context.register_batch("t", numbers(0)).unwrap();
        let sums = "WITH r AS (SELECT k, sum(v) AS s FROM t GROUP BY k)";
        for (query, count) in [
            ("SELECT k, s FROM r WHERE s = (SELECT max(s) FROM r)", 2),
            ("SELECT a.k, b.s FROM r a JOIN r b ON a.k = b.k + 1", 2),
            ("SELECT k FROM r UNION ALL SELECT s FROM r UNION ALL SELECT k + s FROM r", 3),
            ("SELECT (SELECT max(s) FROM r) AS most, k FROM (SELECT k FROM r ORDER BY k LIMIT 2)", 2),
            ("SELECT k FROM r WHERE k IN (SELECT k FROM r WHERE s > 100)", 2),
            ("SELECT k FROM r WHERE s > 10 UNION ALL SELECT k FROM r WHERE s < 99999999 AND k > 2", 0),
            ("SELECT k, s FROM r", 0),
            ("SELECT n FROM (SELECT k, sum(v + random()) AS n FROM t GROUP BY k) WHERE k IN (SELECT 1)", 0),
        ] {
            let sql = format!("{sums} {query}");
            let state = context.state();
            let optimized = state.optimize(&state.create_logical_plan(&sql).await.unwrap()).unwrap();
            let together = together(&optimized).unwrap();
            let plan =
                async |plan: &LogicalPlan| state.query_planner().create_physical_plan(plan, &state).await.unwrap();
            let plain = plan(&optimized).await;
            let Some((logical, commons)) = together else {
                assert_eq!(count, 0, "{sql}");
                continue;
            };
            let shared = plan(&logical).await;
            assert_eq!(places(&shared), count, "{sql}");
            commons.iter().for_each(|common| common.planned());
            let told = |rows: Vec<RecordBatch>| {
                let text = pretty_format_batches(&rows).unwrap().to_string();
                let mut lines: Vec<String> = text.lines().map(str::to_owned).collect();
                lines.sort();
                lines
            };
            let (plain, shared) = (collect(plain, state.task_ctx()).await, collect(shared, state.task_ctx()).await);
            assert_eq!(told(plain.unwrap()), told(shared.unwrap()), "{sql}");
        }
    }

    /// Two places of one part of 20 batches, which is computed with so much memory.
    fn two(memory: usize) -> ([Arc<OnceExec>; 2], Arc<TaskContext>, Arc<Common>) {
        let batches: Vec<RecordBatch> = (0..20).map(|batch| numbers(batch * 100)).collect();
        let schema = batches[0].schema();
        let common = Common::new(2);
        let place = |place| {
            let child = MemorySourceConfig::try_new_exec(&[batches.clone()], Arc::clone(&schema), None).unwrap();
            Arc::new(OnceExec { place, child, common: Arc::clone(&common) })
        };
        let runtime = RuntimeEnvBuilder::new().with_memory_pool(Arc::new(GreedyMemoryPool::new(memory)));
        let context = TaskContext::default().with_runtime(runtime.build_arc().unwrap());
        ([place(0), place(1)], Arc::new(context), common)
    }

    fn held(common: &Common) -> usize {
        locked(&common.parts).values().map(|part| locked(part).held.size()).sum()
    }

    #[tokio::test]
    async fn what_is_kept_is_let_go_when_all_have_read_it() {
        let ([one, other], context, common) = two(1 << 30);
        let mut rows = one.execute(0, Arc::clone(&context)).unwrap();
        let first = rows.next().await.unwrap().unwrap();
        let some: Vec<_> = rows.by_ref().take(9).try_collect().await.unwrap();
        let most = held(&common);
        assert!(most > 0 && some.len() == 9);
        // The other one reads what is kept, goes on from there, and is let go before the end.
        let mut others = other.execute(0, Arc::clone(&context)).unwrap();
        assert_eq!(others.next().await.unwrap().unwrap(), first);
        let more: Vec<_> = others.by_ref().take(14).try_collect().await.unwrap();
        assert_eq!(more.len(), 14);
        assert!(held(&common) < most, "ten of fifteen were read by both");
        drop(others);
        let rest: Vec<_> = rows.try_collect().await.unwrap();
        assert_eq!((rest.len(), held(&common)), (10, 0));
    }

    #[tokio::test]
    async fn where_memory_is_short_each_place_computes_for_itself_or_the_statement_fails() {
        let ([one, other], context, common) = two(4096);
        let rows: Vec<_> = one.execute(0, Arc::clone(&context)).unwrap().try_collect().await.unwrap();
        assert_eq!((rows.len(), held(&common)), (20, 0));
        let others: Vec<_> = other.execute(0, Arc::clone(&context)).unwrap().try_collect().await.unwrap();
        assert_eq!(others, rows);

        let ([one, other], context, _) = two(8192);
        let mut rows = one.execute(0, Arc::clone(&context)).unwrap();
        let mut others = other.execute(0, context).unwrap();
        assert!(others.next().await.unwrap().is_ok());
        let ended: Result<Vec<_>> = rows.by_ref().try_collect().await;
        assert!(matches!(ended, Err(DataFusionError::Shared(_))), "{ended:?}");
        assert!(others.try_collect::<Vec<_>>().await.is_err(), "and so for the other place");
    }
}
