//! What operators learn while they run, and figures of tables: where these would tell of hidden rows or give a wrong
//! answer, a statement is planned without them.
//!
//! ```text
//! a INTERSECT b, a NOT IN (b)    a join has learnt which keys there are, and a scan leaves out those that are NULL, though
//!                                here NULL counts: apache/datafusion#22964, #23103 and #23126, mended in 55
//! 12 / k below a join            it may fail, so which rows it meets must not follow what is hidden: see `guard::steady`
//! ```

use std::sync::Arc;

use datafusion::common::tree_node::TreeNodeRecursion;
use datafusion::common::{NullEquality, Result};
use datafusion::execution::session_state::SessionState;
use datafusion::logical_expr::LogicalPlan;

use super::finish::with_config;
use crate::guard::WithoutFigures;
use crate::guard::steady::Spares;

/// The state in which an optimized plan becomes a physical one, where it is not that of every statement.
pub(super) fn cautious(state: &SessionState, plan: &LogicalPlan, restricted: bool) -> Result<Option<SessionState>> {
    let spares = if restricted { Spares::of(plan)? } else { Spares::default() };
    let joins = spares.joins || counts_null(plan)?;
    if !joins && !spares.orders {
        return Ok(None);
    }
    let mut config = state.config().clone();
    let optimizer = &mut config.options_mut().optimizer;
    optimizer.enable_join_dynamic_filter_pushdown &= !joins;
    optimizer.enable_topk_dynamic_filter_pushdown &= !spares.orders;
    optimizer.enable_aggregate_dynamic_filter_pushdown &= !spares.orders;
    if spares.joins {
        config.set_extension(Arc::new(WithoutFigures));
    }
    Ok(Some(with_config(state, config)))
}

/// Whether NULL means something to a join of a plan.
fn counts_null(plan: &LogicalPlan) -> Result<bool> {
    let mut found = false;
    plan.apply_with_subqueries(|node| {
        if let LogicalPlan::Join(join) = node {
            found |= join.null_aware || join.null_equality == NullEquality::NullEqualsNull;
        }
        Ok(if found { TreeNodeRecursion::Stop } else { TreeNodeRecursion::Continue })
    })?;
    Ok(found)
}
