//! Groups by values alone stay groups.
//!
//! ```text
//! SELECT count(*) FROM t WHERE false GROUP BY 'a'      no rows, since there is no group
//! SELECT count(*) FROM t WHERE false                   one row, which says 0
//! ```
//!
//! DataFusion's `eliminate_group_by_constant` makes the second one of the first. What it leaves out beside a key that stays
//! it may leave out.

use std::sync::Arc;

use datafusion::common::Result;
use datafusion::common::tree_node::Transformed;
use datafusion::logical_expr::LogicalPlan;
use datafusion::optimizer::optimizer::ApplyOrder;
use datafusion::optimizer::{OptimizerConfig, OptimizerRule};

/// A rule that leaves keys out, and never all of them.
#[derive(Debug)]
pub(super) struct Keyed(pub(super) Arc<dyn OptimizerRule + Send + Sync>);

impl OptimizerRule for Keyed {
    fn name(&self) -> &str {
        self.0.name()
    }

    fn apply_order(&self) -> Option<ApplyOrder> {
        self.0.apply_order()
    }

    fn rewrite(&self, plan: LogicalPlan, config: &dyn OptimizerConfig) -> Result<Transformed<LogicalPlan>> {
        let written = match &plan {
            LogicalPlan::Aggregate(aggregate) if !aggregate.group_expr.is_empty() => plan.clone(),
            _ => return Ok(Transformed::no(plan)),
        };
        let rewritten = self.0.rewrite(plan, config)?;
        let is_keyed = match &rewritten.data {
            LogicalPlan::Projection(projection) => {
                !matches!(projection.input.as_ref(), LogicalPlan::Aggregate(inner) if inner.group_expr.is_empty())
            }
            _ => true,
        };
        Ok(if is_keyed { rewritten } else { Transformed::no(written) })
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::disallowed_methods, reason = "tests plan by hand")]
mod tests {
    use datafusion::execution::SessionStateBuilder;
    use datafusion::prelude::SessionContext;

    use super::super::joins;

    #[tokio::test]
    async fn no_rows_make_no_group() {
        let state = SessionStateBuilder::new().with_default_features().with_optimizer_rules(joins::rules()).build();
        let context = SessionContext::new_with_state(state);
        for (sql, rows) in [
            ("SELECT count(*) FROM (VALUES (1, 2)) t (a, b) WHERE a > b GROUP BY 'x'", 0),
            ("SELECT count(*) FROM (VALUES (1, 2)) t (a, b) WHERE a < b GROUP BY 'x', 1 + 2", 1),
            ("SELECT count(*) FROM (VALUES (1, 2), (3, 2)) t (a, b) GROUP BY a, 'x', a + 1", 2),
            ("SELECT count(*) FROM (VALUES (1, 2)) t (a, b) WHERE a > b", 1),
        ] {
            assert_eq!(context.sql(sql).await.unwrap().count().await.unwrap(), rows, "{sql}");
            let told: usize =
                context.sql(sql).await.unwrap().collect().await.unwrap().iter().map(|b| b.num_rows()).sum();
            assert_eq!(told, rows, "{sql}");
        }
    }
}
