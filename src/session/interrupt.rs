//! A query that ends soon when nobody wants it: operators that make many batches of few give way between them.
//!
//! A task is cancelled where it yields, and DataFusion yields where batches are read. A join makes millions of rows of two
//! batches that it holds, and an aggregate above it asks for all of them at once (its issue 19358). Without a place to
//! yield such a query computes on, for hours, after its client, its deadline or a policy has ended it.
//!
//! A join whose condition never holds makes no rows, and computes as long between two batches: its condition is asked in
//! portions, and before each it is looked whether anybody waits for it. A turn that takes long is taken aside meanwhile, and
//! its time is counted.
//!
//! The places are put in when a plan starts: what is planned, verified and explained does not change.

use std::fmt;
use std::hash::{Hash, Hasher};
use std::sync::Arc;

use datafusion::arrow::array::RecordBatch;
use datafusion::arrow::datatypes::{DataType, FieldRef, Schema};
use datafusion::common::internal_err;
use datafusion::common::tree_node::{Transformed, TreeNode};
use datafusion::error::Result;
use datafusion::logical_expr::ColumnarValue;
use datafusion::physical_expr::PhysicalExpr;
use datafusion::physical_plan::ExecutionPlan;
use datafusion::physical_plan::coop::CooperativeExec;
use datafusion::physical_plan::joins::utils::JoinFilter;
use datafusion::physical_plan::joins::{
    CrossJoinExec, HashJoinExec, NestedLoopJoinExec, NestedLoopJoinExecBuilder, PiecewiseMergeJoinExec,
    SortMergeJoinExec,
};
use datafusion::physical_plan::unnest::UnnestExec;

use super::growth::wanted;
use super::limits::count_so_far;
use super::threads::aside;

/// The plan, with a place to yield above each operator that multiplies rows, and places to end in its condition.
pub(super) fn interruptible(plan: Arc<dyn ExecutionPlan>) -> Result<Arc<dyn ExecutionPlan>> {
    let yielding = plan.transform_up(|plan| {
        Ok(match multiplies(&plan) {
            true => Transformed::yes(Arc::new(CooperativeExec::new(heedful(plan)?)) as Arc<dyn ExecutionPlan>),
            false => Transformed::no(plan),
        })
    })?;
    Ok(yielding.data)
}

/// Does a part of a long turn, if anybody waits for it.
pub(super) fn heeding<T>(work: impl FnOnce() -> Result<T>) -> Result<T> {
    wanted()?;
    count_so_far();
    aside(work)
}

/// A join that asks its condition for those alone who want to know.
fn heedful(plan: Arc<dyn ExecutionPlan>) -> Result<Arc<dyn ExecutionPlan>> {
    if let Some(join) = plan.downcast_ref::<HashJoinExec>()
        && let Some(filter) = join.filter()
    {
        return join.builder().with_filter(Some(Heedful::over(filter))).build_exec();
    }
    if let Some(join) = plan.downcast_ref::<NestedLoopJoinExec>()
        && let Some(filter) = join.filter()
    {
        let builder =
            NestedLoopJoinExecBuilder::new(Arc::clone(join.left()), Arc::clone(join.right()), *join.join_type());
        let builder = builder.with_projection_ref(join.projection().clone()).with_filter(Some(Heedful::over(filter)));
        return Ok(Arc::new(builder.build()?));
    }
    Ok(plan)
}

/// A condition that is not asked in vain.
#[derive(Debug, Clone)]
struct Heedful(Arc<dyn PhysicalExpr>);

impl Heedful {
    fn over(filter: &JoinFilter) -> JoinFilter {
        let condition = Arc::new(Self(Arc::clone(filter.expression())));
        JoinFilter::new(condition, filter.column_indices().to_vec(), Arc::clone(filter.schema()))
    }
}

impl PartialEq for Heedful {
    fn eq(&self, other: &Self) -> bool {
        self.0.eq(&other.0)
    }
}

impl Eq for Heedful {}

impl Hash for Heedful {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.0.hash(state);
    }
}

impl fmt::Display for Heedful {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl PhysicalExpr for Heedful {
    fn data_type(&self, schema: &Schema) -> Result<DataType> {
        self.0.data_type(schema)
    }

    fn nullable(&self, schema: &Schema) -> Result<bool> {
        self.0.nullable(schema)
    }

    fn return_field(&self, schema: &Schema) -> Result<FieldRef> {
        self.0.return_field(schema)
    }

    fn evaluate(&self, batch: &RecordBatch) -> Result<ColumnarValue> {
        heeding(|| self.0.evaluate(batch))
    }

    fn children(&self) -> Vec<&Arc<dyn PhysicalExpr>> {
        vec![&self.0]
    }

    fn with_new_children(self: Arc<Self>, mut children: Vec<Arc<dyn PhysicalExpr>>) -> Result<Arc<dyn PhysicalExpr>> {
        match children.pop() {
            Some(inner) => Ok(Arc::new(Self(inner))),
            None => internal_err!("a condition is asked, and there is none"),
        }
    }

    fn fmt_sql(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt_sql(f)
    }
}

fn multiplies(plan: &Arc<dyn ExecutionPlan>) -> bool {
    plan.is::<NestedLoopJoinExec>()
        || plan.is::<CrossJoinExec>()
        || plan.is::<HashJoinExec>()
        || plan.is::<SortMergeJoinExec>()
        || plan.is::<PiecewiseMergeJoinExec>()
        || plan.is::<UnnestExec>()
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "tests")]
mod tests {
    use datafusion::physical_plan::execute_stream;
    use datafusion::prelude::{SessionConfig, SessionContext};
    use futures::{StreamExt, poll};

    use super::*;

    /// Whether a query yields before its first row, whose inputs are in memory.
    async fn yields(sql: &str) -> bool {
        // One partition, so that nothing else waits for other tasks.
        let context = SessionContext::new_with_config(SessionConfig::new().with_target_partitions(1));
        let numbers = "CREATE TABLE numbers AS SELECT value AS x, value % 2 AS half FROM range(0, 2000)";
        context.sql(numbers).await.unwrap().collect().await.unwrap();
        let plan = context.sql(sql).await.unwrap().create_physical_plan().await.unwrap();
        let mut rows = execute_stream(interruptible(plan).unwrap(), context.task_ctx()).unwrap();
        poll!(rows.next()).is_pending()
    }

    #[tokio::test]
    async fn a_query_yields_while_it_counts_the_rows_of_a_join() {
        for join in ["a JOIN numbers b ON a.x <> b.x", "a CROSS JOIN numbers b", "a JOIN numbers b ON a.half = b.half"]
        {
            assert!(yields(&format!("SELECT count(a.x + b.x) FROM numbers {join}")).await, "{join}");
        }
    }
}
