//! Plans whose expressions meet the same rows, whatever is hidden.
//!
//! An expression may fail on a row that is shown, and whether it meets that row must not depend on those that are
//! hidden. Three things keep rows from expressions, and each of them follows what is below a guard:
//!
//! ```text
//! (SELECT 12 / k FROM p) JOIN q    how many rows there are decides which side is read first; if it is empty, the other
//!                                  one is not read at all; else what the first one holds spares files of the other
//! ORDER BY at LIMIT 1              what was read spares files whose rows, hidden ones included, come later
//! a AND 12 / k > 1                 asks its second half of all rows of a batch, of some or of none, as the first half
//!                                  says of the batch
//! ```
//!
//! Counterexample: with 50 rows in `q`, the first statement fails if `p` has fewer rows, and else it does not; so a
//! reader counts the rows of `p`. So where what may fail stands below a join its sides are ordered without figures, and
//! below a join or a limit nothing is spared. A conjunction asks its second half of exactly the rows for which the first
//! one is not false. What cannot fail is planned as ever.

use datafusion::common::tree_node::{Transformed, TransformedResult, TreeNode, TreeNodeRecursion};
use datafusion::common::{DFSchema, Result};
use datafusion::datasource::source_as_provider;
use datafusion::logical_expr::utils::merge_schema;
use datafusion::logical_expr::{BinaryExpr, Expr, LogicalPlan, Operator, lit, when};
use datafusion::optimizer::utils::NamePreserver;

use super::table::GovernedScan;
use super::total::is_total;

/// What of a plan may keep rows from expressions that may fail.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Spares {
    /// A join.
    pub joins: bool,
    /// An order with a limit, or an aggregate of all rows.
    pub orders: bool,
    /// Whether there is such an expression at all.
    fails: bool,
    /// The same, those of subqueries among them.
    fails_anywhere: bool,
}

impl Spares {
    /// Whether anything of the plan may fail on a row, wherever it stands.
    pub fn may_fail(self) -> bool {
        self.fails_anywhere
    }

    /// Looks through an optimized plan.
    ///
    /// # Errors
    /// When the schemas of its nodes do not fit.
    pub fn of(plan: &LogicalPlan) -> Result<Self> {
        let inputs = plan.inputs().into_iter().map(Self::of).collect::<Result<Vec<_>>>()?;
        let below = inputs.into_iter().fold(inside(plan), |a, b| Self {
            joins: a.joins || b.joins,
            orders: a.orders || b.orders,
            fails: a.fails || b.fails,
            fails_anywhere: a.fails_anywhere || b.fails_anywhere,
        });
        let schema = schema(plan)?;
        let fails = |expr: &Expr| !is_total(expr, &schema);
        let (mut joins, mut orders, mut nested_fails) = (false, false, false);
        match plan {
            LogicalPlan::Join(join) => joins = below.fails || join.on.iter().any(|(a, b)| fails(a) || fails(b)),
            LogicalPlan::RecursiveQuery(_) => joins = below.fails,
            LogicalPlan::Sort(sort) => orders = below.fails && sort.fetch.is_some(),
            LogicalPlan::Aggregate(aggregate) => {
                let own = aggregate.aggr_expr.iter().any(fails);
                orders = (below.fails || own) && aggregate.group_expr.is_empty();
            }
            _ => {}
        }
        plan.apply_subqueries(|query| {
            // It is computed before anything else, whatever the rows around it are.
            let nested = Self::of(query)?;
            (joins, orders) = (joins || nested.joins, orders || nested.orders);
            nested_fails |= nested.fails_anywhere;
            Ok(TreeNodeRecursion::Continue)
        })?;
        let own = plan.expressions();
        let joined = own.iter().any(|expr| expr.exists(|expr| Ok(is_joined(expr))).unwrap_or(true));
        let fails = own.iter().any(fails);
        Ok(Self {
            joins: below.joins || joins || joined,
            orders: below.orders || orders,
            fails: below.fails || fails,
            fails_anywhere: below.fails_anywhere || fails || nested_fails,
        })
    }
}

/// What a scan has inside, if it is that of a derived product.
fn inside(plan: &LogicalPlan) -> Spares {
    let LogicalPlan::TableScan(scan) = plan else { return Spares::default() };
    let provider = source_as_provider(&scan.source).ok();
    let governed = provider.as_ref().and_then(|provider| provider.downcast_ref::<GovernedScan>());
    governed.map(|governed| governed.clearance().spares()).unwrap_or_default()
}

/// Whether an expression is a query that becomes a join which is not seen yet.
fn is_joined(expr: &Expr) -> bool {
    match expr {
        Expr::ScalarSubquery(query) => !query.outer_ref_columns.is_empty(),
        Expr::InSubquery(_) | Expr::Exists(_) | Expr::SetComparison(_) => true,
        _ => false,
    }
}

/// The columns that the expressions of a node are over.
fn schema(plan: &LogicalPlan) -> Result<DFSchema> {
    match plan {
        LogicalPlan::TableScan(scan) => {
            DFSchema::try_from_qualified_schema(scan.table_name.clone(), &scan.source.schema())
        }
        _ => Ok(merge_schema(&plan.inputs())),
    }
}

/// Lets each conjunction and disjunction ask its second half row by row, where that may fail.
///
/// # Errors
/// When an expression cannot be written anew.
pub fn row_by_row(plan: LogicalPlan) -> Result<LogicalPlan> {
    plan.transform_up_with_subqueries(|node| {
        if let LogicalPlan::TableScan(_) = node {
            return Ok(Transformed::no(node));
        }
        let schema = schema(&node)?;
        let names = NamePreserver::new(&node);
        node.map_expressions(|expr| {
            let name = names.save(&expr);
            Ok(expr.transform_up(|expr| halves(expr, &schema))?.update_data(|expr| name.restore(expr)))
        })
    })
    .data()
}

fn halves(expr: Expr, schema: &DFSchema) -> Result<Transformed<Expr>> {
    match expr {
        Expr::BinaryExpr(BinaryExpr { left, op: op @ (Operator::And | Operator::Or), right })
            if !is_total(&right, schema) =>
        {
            let decided = match op {
                Operator::And => Expr::IsFalse(left.clone()),
                _ => Expr::IsTrue(left.clone()),
            };
            // Of the rows that are left the first half is nowhere decisive, so that all of them are asked.
            let both = Expr::BinaryExpr(BinaryExpr { left, op, right });
            Ok(Transformed::yes(when(decided, lit(op == Operator::Or)).otherwise(both)?))
        }
        other => Ok(Transformed::no(other)),
    }
}
