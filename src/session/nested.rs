//! Where `EXISTS`, and `IN`, `ANY` and `ALL` with a query, may stand: in WHERE, HAVING and QUALIFY.
//!
//! DataFusion 54.1 makes joins of them there and nowhere else. In other places a statement would fail when it is all but
//! planned, with an internal error or none that helps, and a derived product would pass `polder check` and never run.

use datafusion::common::Result;
use datafusion::common::tree_node::{TreeNode, TreeNodeRecursion};
use datafusion::error::DataFusionError;
use datafusion::logical_expr::{Expr, LogicalPlan};

use crate::error::{Class, Error};

/// Refuses them in other places.
///
/// # Errors
/// `BadRequest`.
pub(super) fn check(plan: &LogicalPlan) -> Result<()> {
    plan.apply_with_subqueries(|node| {
        if matches!(node, LogicalPlan::Filter(_)) {
            return Ok(TreeNodeRecursion::Continue);
        }
        node.apply_expressions(|expr| {
            expr.apply(|expr| match word(expr) {
                Some(word) => Err(misplaced(word)),
                None => Ok(TreeNodeRecursion::Continue),
            })
        })
    })?;
    Ok(())
}

fn word(expr: &Expr) -> Option<&'static str> {
    match expr {
        Expr::Exists(_) => Some("EXISTS"),
        Expr::InSubquery(_) => Some("IN"),
        Expr::SetComparison(_) => Some("ANY` or `ALL"),
        _ => None,
    }
}

fn misplaced(word: &str) -> DataFusionError {
    let error = Error::new(Class::BadRequest, format!("`{word}` with a query stands in WHERE and HAVING alone"));
    let help = "elsewhere count its rows, as in `(SELECT count(*) FROM … WHERE …) > 0`";
    DataFusionError::External(Box::new(error.help(help)))
}
