//! A query that ends soon when nobody wants it: operators that make many batches of few give way between them.
//!
//! A task is cancelled where it yields, and DataFusion yields where batches are read. A join makes millions of rows of two
//! batches that it holds, and an aggregate above it asks for all of them at once (its issue 19358). Without a place to
//! yield such a query computes on, for hours, after its client, its deadline or a policy has ended it.
//!
//! The places are put in when a plan starts: what is planned, verified and explained does not change.

use std::sync::Arc;

use datafusion::common::tree_node::{Transformed, TreeNode};
use datafusion::error::Result;
use datafusion::physical_plan::ExecutionPlan;
use datafusion::physical_plan::coop::CooperativeExec;
use datafusion::physical_plan::joins::{
    CrossJoinExec, HashJoinExec, NestedLoopJoinExec, PiecewiseMergeJoinExec, SortMergeJoinExec,
};
use datafusion::physical_plan::unnest::UnnestExec;

/// The plan, with a place to yield above each operator that multiplies rows.
pub(super) fn interruptible(plan: Arc<dyn ExecutionPlan>) -> Result<Arc<dyn ExecutionPlan>> {
    let yielding = plan.transform_up(|plan| {
        Ok(match multiplies(&plan) {
            true => Transformed::yes(Arc::new(CooperativeExec::new(plan)) as Arc<dyn ExecutionPlan>),
            false => Transformed::no(plan),
        })
    })?;
    Ok(yielding.data)
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
