//! The verifier: a read-only walk over a finished plan that refuses any scan beyond its grants.
//!
//! It follows each raw value of a masked column from its scan upward. Such a value may pass through a node untouched,
//! it may enter its own mask, and nothing else: no predicate, join, group, sort or output may see it.
//!
//! ```text
//! Projection: mask_sha256_global(email) AS email     accepted: the raw value ends in its mask
//!   Filter: city = 'Delft'                           accepted: passes `email` on, looks at `city` alone
//!     TableScan: storefront.customers
//!
//! Projection: mask_sha256_global(email) AS email
//!   Filter: email LIKE '%@example.org'               refused: a predicate sees the raw value
//!     TableScan: storefront.customers
//! ```
//!
//! What it does not know it refuses, so a new plan node of DataFusion costs an error and never a leak.

use std::sync::Arc;

use datafusion::catalog::cte_worktable::CteWorkTable;
use datafusion::common::tree_node::{TreeNode, TreeNodeRecursion};
use datafusion::common::{Column, DFSchema};
use datafusion::datasource::source::DataSourceExec;
use datafusion::datasource::source_as_provider;
use datafusion::logical_expr::{Distinct, Expr, LogicalPlan, TableScan};
use datafusion::physical_plan::ExecutionPlan;
use datafusion::physical_plan::empty::EmptyExec;
use datafusion::physical_plan::placeholder_row::PlaceholderRowExec;
use datafusion::physical_plan::work_table::WorkTableExec;
use polder_catalog::policy::Mask;

use super::mask::mask_of;
use super::table::{ClearedScan, Treatment};

/// Why a plan was refused. It is a defect of the engine, never of the user's statement.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// A scan that no guard cleared.
    #[error("the plan scans `{0}` without a grant")]
    NotCleared(String),
    /// A raw value of a masked column meets something else than its mask.
    #[error("the plan lets the masked column `{0}` reach {1} unmasked")]
    Unmasked(String, &'static str),
    /// A node that the verifier has no rule for.
    #[error("the plan has a node that cannot be verified: {0}")]
    Unknown(String),
}

/// Checks a logical plan, subqueries included.
///
/// # Errors
/// The first thing that breaks a grant.
pub fn verify(plan: &LogicalPlan) -> Result<(), Refusal> {
    let mut walk = Walk::default();
    let raw = walk.plan(plan)?;
    nothing_raw(&raw, "the result")
}

/// Checks the leaves of a physical plan: all that reads is a scan that the logical plan had, or reads nothing.
///
/// # Errors
/// The first leaf that could be something else.
pub fn verify_physical(plan: &Arc<dyn ExecutionPlan>) -> Result<(), Refusal> {
    for child in plan.children() {
        verify_physical(child)?;
    }
    let leaf = plan.children().is_empty();
    let known = plan.is::<DataSourceExec>()
        || plan.is::<EmptyExec>()
        || plan.is::<PlaceholderRowExec>()
        || plan.is::<WorkTableExec>();
    if leaf && !known { Err(Refusal::Unknown(plan.name().to_owned())) } else { Ok(()) }
}

/// The output columns of a node that hold raw values of masked columns, each with its mask.
type Raw = Vec<(Column, Mask)>;

fn nothing_raw(raw: &Raw, place: &'static str) -> Result<(), Refusal> {
    match raw.first() {
        None => Ok(()),
        Some((column, _)) => Err(Refusal::Unmasked(column.name.clone(), place)),
    }
}

/// The walk, which knows the raw columns of the plans around a subquery.
#[derive(Default)]
struct Walk {
    outer: Vec<Raw>,
}

impl Walk {
    fn plan(&mut self, plan: &LogicalPlan) -> Result<Raw, Refusal> {
        match plan {
            LogicalPlan::TableScan(scan) => self.scan(scan),
            LogicalPlan::Projection(node) => {
                let raw = self.plan(&node.input)?;
                let mut out = Raw::new();
                for (expr, (qualifier, field)) in node.expr.iter().zip(node.schema.iter()) {
                    match mask_of_column(bare(expr), &raw) {
                        Some(mask) => out.push((Column::new(qualifier.cloned(), field.name()), mask)),
                        None => self.expr(expr, &raw, "an expression")?,
                    }
                }
                Ok(out)
            }
            LogicalPlan::Filter(node) => self.through(&node.input, [&node.predicate], plan, "a predicate"),
            LogicalPlan::Sort(node) => {
                self.through(&node.input, node.expr.iter().map(|sort| &sort.expr), plan, "a sort")
            }
            LogicalPlan::Limit(node) => {
                let bounds = node.skip.iter().chain(&node.fetch).map(AsRef::as_ref);
                self.through(&node.input, bounds, plan, "a limit")
            }
            LogicalPlan::Repartition(node) => {
                let raw = self.plan(&node.input)?;
                nothing_raw(&raw, "a repartitioning")?;
                Ok(raw)
            }
            LogicalPlan::SubqueryAlias(node) => self.through(&node.input, [], plan, "an alias"),
            LogicalPlan::Window(node) => self.through(&node.input, &node.window_expr, plan, "a window"),
            LogicalPlan::Aggregate(node) => {
                let raw = self.plan(&node.input)?;
                for expr in node.group_expr.iter().chain(&node.aggr_expr) {
                    self.expr(expr, &raw, "an aggregate")?;
                }
                Ok(Raw::new())
            }
            LogicalPlan::Join(node) => {
                let mut raw = self.plan(&node.left)?;
                raw.extend(self.plan(&node.right)?);
                for (left, right) in &node.on {
                    self.expr(left, &raw, "a join")?;
                    self.expr(right, &raw, "a join")?;
                }
                if let Some(filter) = &node.filter {
                    self.expr(filter, &raw, "a join")?;
                }
                raw.retain(|(column, _)| node.schema.has_column(column));
                Ok(raw)
            }
            LogicalPlan::Distinct(Distinct::All(input)) => self.closed([input.as_ref()], "a distinct"),
            LogicalPlan::Distinct(Distinct::On(node)) => {
                for expr in node.on_expr.iter().chain(&node.select_expr) {
                    self.expr(expr, &Raw::new(), "a distinct")?;
                }
                self.closed([node.input.as_ref()], "a distinct")
            }
            LogicalPlan::Union(node) => self.closed(node.inputs.iter().map(AsRef::as_ref), "a union"),
            LogicalPlan::Unnest(node) => self.closed([node.input.as_ref()], "an unnesting"),
            LogicalPlan::RecursiveQuery(node) => {
                self.closed([node.static_term.as_ref(), node.recursive_term.as_ref()], "a recursive query")
            }
            LogicalPlan::Subquery(node) => self.closed([node.subquery.as_ref()], "a subquery"),
            LogicalPlan::Values(node) => {
                for expr in node.values.iter().flatten() {
                    self.expr(expr, &Raw::new(), "a value")?;
                }
                Ok(Raw::new())
            }
            LogicalPlan::EmptyRelation(_) => Ok(Raw::new()),
            LogicalPlan::Statement(_)
            | LogicalPlan::Explain(_)
            | LogicalPlan::Analyze(_)
            | LogicalPlan::Extension(_)
            | LogicalPlan::Dml(_)
            | LogicalPlan::Ddl(_)
            | LogicalPlan::Copy(_)
            | LogicalPlan::DescribeTable(_) => Err(Refusal::Unknown(plan.display().to_string())),
        }
    }

    fn scan(&mut self, scan: &TableScan) -> Result<Raw, Refusal> {
        let not_cleared = || Refusal::NotCleared(scan.table_name.to_string());
        let provider = source_as_provider(&scan.source).map_err(|_| not_cleared())?;
        if provider.is::<CteWorkTable>() {
            // Its rows are those of a recursive query's terms, and nothing raw leaves either of them.
            return Ok(Raw::new());
        }
        let cleared = provider.downcast_ref::<ClearedScan>().ok_or_else(not_cleared)?;
        let raw: Raw = cleared
            .columns()
            .iter()
            .filter_map(|column| match &column.treatment {
                Treatment::Raw => None,
                Treatment::Masked(mask) => {
                    Some((Column::new(Some(scan.table_name.clone()), &column.name), mask.clone()))
                }
            })
            .collect();
        for filter in &scan.filters {
            self.expr(filter, &raw, "a predicate")?;
        }
        Ok(raw.into_iter().filter(|(column, _)| scan.projected_schema.has_column(column)).collect())
    }

    /// A node that looks at `exprs` and passes the columns of its input on, in their places.
    fn through<'a>(
        &mut self,
        input: &LogicalPlan,
        exprs: impl IntoIterator<Item = &'a Expr>,
        node: &LogicalPlan,
        place: &'static str,
    ) -> Result<Raw, Refusal> {
        let raw = self.plan(input)?;
        for expr in exprs {
            self.expr(expr, &raw, place)?;
        }
        Ok(carried(input.schema(), &raw, node.schema()))
    }

    /// A node that compares or mixes whole rows: nothing raw may come into it.
    fn closed<'a>(
        &mut self,
        inputs: impl IntoIterator<Item = &'a LogicalPlan>,
        place: &'static str,
    ) -> Result<Raw, Refusal> {
        for input in inputs {
            nothing_raw(&self.plan(input)?, place)?;
        }
        Ok(Raw::new())
    }

    /// Checks that `expr` looks at raw values only through their masks.
    fn expr(&mut self, expr: &Expr, raw: &Raw, place: &'static str) -> Result<(), Refusal> {
        let mut refusal = None;
        let mut refuse = |found: Refusal| {
            refusal = Some(found);
            Ok(TreeNodeRecursion::Stop)
        };
        let walked = expr.apply(|expr| {
            if let Some((mask, input)) = mask_of(expr)
                && mask_of_column(input, raw) == Some(mask)
            {
                return Ok(TreeNodeRecursion::Jump);
            }
            let subquery = match expr {
                Expr::Column(column) if mask_of_column(expr, raw).is_some() => {
                    return refuse(Refusal::Unmasked(column.name.clone(), place));
                }
                Expr::OuterReferenceColumn(_, column)
                    if self.outer.iter().flatten().any(|(outer, _)| outer.name == column.name) =>
                {
                    return refuse(Refusal::Unmasked(column.name.clone(), place));
                }
                Expr::ScalarSubquery(subquery) => subquery,
                Expr::Exists(exists) => &exists.subquery,
                Expr::InSubquery(within) => &within.subquery,
                Expr::SetComparison(comparison) => &comparison.subquery,
                _ => return Ok(TreeNodeRecursion::Continue),
            };
            self.outer.push(raw.clone());
            let inside = self.closed([subquery.subquery.as_ref()], "a subquery");
            self.outer.pop();
            match inside {
                Ok(_) => Ok(TreeNodeRecursion::Continue),
                Err(inside) => refuse(inside),
            }
        });
        match (walked, refusal) {
            (_, Some(refusal)) => Err(refusal),
            (Ok(_), None) => Ok(()),
            (Err(_), None) => Err(Refusal::Unknown(expr.to_string())),
        }
    }
}

/// The expression below any aliases.
fn bare(expr: &Expr) -> &Expr {
    match expr {
        Expr::Alias(alias) => bare(&alias.expr),
        other => other,
    }
}

/// The mask that `expr` owes, when it is a raw column of a masked one.
fn mask_of_column(expr: &Expr, raw: &Raw) -> Option<Mask> {
    let Expr::Column(column) = expr else { return None };
    let same = |known: &Column| {
        known.name == column.name
            && match (&known.relation, &column.relation) {
                (Some(known), Some(named)) => known.resolved_eq(named),
                // Without a qualifier on one side the name alone decides, which can only refuse too much.
                _ => true,
            }
    };
    raw.iter().find(|(known, _)| same(known)).map(|(_, mask)| mask.clone())
}

/// The raw columns of `input` under the names that the same places have in `output`.
fn carried(input: &DFSchema, raw: &Raw, output: &DFSchema) -> Raw {
    let carry = |(column, mask): &(Column, Mask)| match input.maybe_index_of_column(column) {
        Some(place) if place < output.fields().len() => {
            let (qualifier, field) = output.qualified_field(place);
            (Column::new(qualifier.cloned(), field.name()), mask.clone())
        }
        _ => (column.clone(), mask.clone()),
    };
    raw.iter().map(carry).collect()
}
