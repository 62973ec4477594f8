//! Recursive queries keep all of their columns.
//!
//! DataFusion 54 takes the columns out of a recursive query that the one around it does not read. Its own rounds may read
//! them, or be told apart by them, and then it fails or ends too soon:
//!
//! ```text
//! WITH RECURSIVE r AS (SELECT 1 AS x, 2 AS y UNION SELECT x + 1, y FROM r WHERE x < 5) SELECT y FROM r
//! ```
//!
//! It leaves those alone that have another subquery inside, so each is given one.

use std::collections::HashSet;
use std::sync::Arc;

use datafusion::common::config::ConfigOptions;
use datafusion::common::tree_node::Transformed;
use datafusion::common::{Column, Result};
use datafusion::logical_expr::{Expr, LogicalPlan, LogicalPlanBuilder, RecursiveQuery};
use datafusion::optimizer::AnalyzerRule;

/// What the subquery is called. No statement can name it.
const WITHIN: &str = "\u{0}recursion";

/// Gives each recursive query a subquery of its own.
#[derive(Debug)]
pub(super) struct Whole;

impl AnalyzerRule for Whole {
    fn name(&self) -> &str {
        "whole_recursions"
    }

    fn analyze(&self, plan: LogicalPlan, _: &ConfigOptions) -> Result<LogicalPlan> {
        let whole = plan.transform_up_with_subqueries(|plan| match plan {
            LogicalPlan::RecursiveQuery(query) => {
                let static_term = Arc::new(within(&query.static_term)?);
                Ok(Transformed::yes(LogicalPlan::RecursiveQuery(RecursiveQuery { static_term, ..query })))
            }
            other => Ok(Transformed::no(other)),
        })?;
        Ok(whole.data)
    }
}

/// The same rows and columns, out of a subquery.
fn within(plan: &LogicalPlan) -> Result<LogicalPlan> {
    let columns: Vec<_> = plan.schema().iter().map(|(table, field)| (table.cloned(), field.name().clone())).collect();
    let names: HashSet<&String> = columns.iter().map(|(_, name)| name).collect();
    // Columns of one name cannot be those of one subquery, nor of the query that is recursive.
    if names.len() < columns.len() {
        return Ok(plan.clone());
    }
    let outer = columns
        .into_iter()
        .map(|(table, name)| Expr::Column(Column::new(Some(WITHIN), name.clone())).alias_qualified(table, name));
    LogicalPlanBuilder::from(plan.clone()).alias(WITHIN)?.project(outer)?.build()
}
