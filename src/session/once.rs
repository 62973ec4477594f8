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

mod buffers;
mod shared;

use std::collections::{HashMap, HashSet};
use std::fmt;
use std::sync::Arc;

use async_trait::async_trait;
use datafusion::arrow::datatypes::SchemaRef;
use datafusion::catalog::cte_worktable::CteWorkTable;
use datafusion::catalog::{Session, TableProvider};
use datafusion::common::tree_node::{Transformed, TreeNode, TreeNodeRecursion};
use datafusion::common::{Result, Statistics, TableReference, internal_err};
use datafusion::datasource::{provider_as_source, source_as_provider};
use datafusion::execution::session_state::SessionState;
use datafusion::execution::{SendableRecordBatchStream, TaskContext};
use datafusion::logical_expr::{Expr, LogicalPlan, TableScan, TableType};
use datafusion::physical_plan::{DisplayAs, DisplayFormatType, ExecutionPlan, PlanProperties};

use super::again::{is_told_apart, lasts};
use super::joins::{asks, read};
use shared::{Common, Reader};

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
    let numbered = equal.into_iter().enumerate();
    let mut commons: HashMap<LogicalPlan, (Arc<Common>, usize, usize)> =
        numbered.map(|(number, (part, places))| (part, (Common::new(places), number, 0))).collect();
    let plan = plan.clone().transform_down_with_subqueries(|node| {
        let Some((common, number, places)) = commons.get_mut(&node) else { return Ok(Transformed::no(node)) };
        let schema = Arc::clone(node.schema());
        let place = *places;
        let once = Once { place, schema: Arc::clone(schema.inner()), common: Arc::clone(common), plan: node };
        *places = places.saturating_add(1);
        let scan = TableScan {
            // Scans of one name are equal to DataFusion, whatever they scan, and of equal subqueries it runs one.
            table_name: TableReference::bare(format!("{NAME} {number} {place}")),
            source: provider_as_source(Arc::new(once)),
            projection: None,
            projected_schema: schema,
            filters: Vec::new(),
            fetch: None,
        };
        Ok(Transformed::new(LogicalPlan::TableScan(scan), true, TreeNodeRecursion::Jump))
    })?;
    Ok(Some((plan.data, commons.into_values().map(|(common, ..)| common).collect())))
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
    let mut fits = lasts(part)? && is_told_apart(part)? && read(part).is_none_or(|rows| rows >= ROWS);
    part.apply_with_subqueries(|node| {
        if let LogicalPlan::TableScan(scan) = node {
            fits &= source_as_provider(&scan.source).is_ok_and(|provider| !provider.is::<CteWorkTable>());
        }
        node.apply_expressions(|expr| {
            fits &= !expr.exists(|expr| Ok(asks(expr)))?;
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
        if self.common.is_planned() { vec![&self.child] } else { Vec::new() }
    }

    fn with_new_children(self: Arc<Self>, mut children: Vec<Arc<dyn ExecutionPlan>>) -> Result<Arc<dyn ExecutionPlan>> {
        Ok(match children.pop() {
            Some(child) => Arc::new(Self { place: self.place, child, common: Arc::clone(&self.common) }),
            None => self,
        })
    }

    fn execute(&self, partition: usize, context: Arc<TaskContext>) -> Result<SendableRecordBatchStream> {
        Ok(Box::pin(Reader::of(&self.common, self.place, Arc::clone(&self.child), partition, context)))
    }

    fn partition_statistics(&self, partition: Option<usize>) -> Result<Arc<Statistics>> {
        self.child.partition_statistics(partition)
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "tests")]
mod tests {
    use datafusion::arrow::array::{ArrayRef, Int64Array, RecordBatch};
    use datafusion::arrow::util::pretty::pretty_format_batches;
    use datafusion::common::DataFusionError;
    use datafusion::datasource::memory::MemorySourceConfig;
    use datafusion::execution::memory_pool::GreedyMemoryPool;
    use datafusion::execution::runtime_env::RuntimeEnvBuilder;
    use datafusion::physical_plan::collect;
    use datafusion::prelude::SessionContext;
    use futures::{StreamExt, TryStreamExt};

    use super::shared::locked;
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
            ("SELECT a.s, b.s AS other FROM r a JOIN r b ON a.k = b.k + 1", 2),
            ("SELECT s FROM r UNION ALL SELECT s + 1 FROM r UNION ALL SELECT k + s FROM r", 3),
            ("SELECT (SELECT max(s) FROM r) AS most, s FROM (SELECT s FROM r ORDER BY s LIMIT 2)", 2),
            ("SELECT s FROM r WHERE s IN (SELECT s FROM r)", 2),
            (
                ", o AS (SELECT k, sum(v) AS s FROM t WHERE v > 100 GROUP BY k) \
                 SELECT (SELECT min(s) FROM r), (SELECT min(s) FROM o), (SELECT max(s) FROM r), (SELECT max(s) FROM o)",
                4,
            ),
            ("SELECT s FROM r WHERE s > 10 UNION ALL SELECT s FROM r WHERE s < 99999999 AND k > 2", 0),
            ("SELECT k, s FROM r", 0),
            (
                "SELECT a.n, b.n AS other FROM \
                 (SELECT k, count(*) AS n FROM t WHERE date_part('hour', CASE WHEN v > 1 THEN \
                  arrow_cast('2024-01-01T12:00:00Z', 'Timestamp(Microsecond, Some(\"UTC\"))') END) = 12 GROUP BY k) a \
                 LEFT JOIN (SELECT k, count(*) AS n FROM t WHERE date_part('hour', CASE WHEN v > 1 THEN \
                  arrow_cast('2024-01-01T12:00:00Z', 'Timestamp(Microsecond, Some(\"+05:00\"))') END) = 12 GROUP BY k) b \
                 ON a.k = b.k",
                0,
            ),
            (
                "SELECT a.n FROM (SELECT k, sum(v + random()) AS n FROM t GROUP BY k) a, \
                 (SELECT k, sum(v + random()) AS n FROM t GROUP BY k) b WHERE a.n = b.n",
                0,
            ),
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
            let child =
                MemorySourceConfig::try_new_exec(std::slice::from_ref(&batches), Arc::clone(&schema), None).unwrap();
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
