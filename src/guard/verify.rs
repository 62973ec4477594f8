//! The verifier: a read-only walk over a finished plan that refuses any scan beyond its grants.
//!
//! It trusts neither the optimizer nor the guards: every node that reads is held against what was decided for this
//! statement, the inside of each guard included.
//!
//! ```text
//! logical    every scan, in subqueries too, is of a table that was governed for this statement
//! physical   a guard: its decision is one of this statement's; its source reads that scan and nothing else; its row
//!            filter and its masks are the decided ones, expression by expression; what else runs below is leakproof
//!            rows in memory: made for the statement, and seen by the logical check where they are a table's
//!            a bare scan: its table has no row rule, and the columns that it reads are shown as they are
//!            a sealed query: all this of the plan inside, and of itself what is asked of a scan, guarded or bare
//! ```
//!
//! What it does not know it refuses, so a new plan node of DataFusion costs an error and never a leak.

use std::sync::Arc;

use datafusion::catalog::TableProvider;
use datafusion::catalog::cte_worktable::CteWorkTable;
use datafusion::common::Result as DfResult;
use datafusion::common::tree_node::{Transformed, TransformedResult, TreeNode, TreeNodeRecursion};
use datafusion::datasource::memory::MemorySourceConfig;
use datafusion::datasource::physical_plan::FileScanConfig;
use datafusion::datasource::source::DataSourceExec;
use datafusion::datasource::source_as_provider;
use datafusion::logical_expr::{LogicalPlan, TableScan};
use datafusion::physical_expr::expressions::Column;
use datafusion::physical_expr::utils::collect_columns;
use datafusion::physical_expr::{PhysicalExpr, split_conjunction};
use datafusion::physical_plan::ExecutionPlan;
use datafusion::physical_plan::empty::EmptyExec;
use datafusion::physical_plan::placeholder_row::PlaceholderRowExec;
use datafusion::physical_plan::work_table::WorkTableExec;

use super::exec::GuardExec;
use super::leakproof::is_leakproof_physical;
use super::query::QueryExec;
use super::table::{Clearance, GovernedScan};

/// Why a plan was refused. It is a defect of the engine, never of the user's statement.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// A scan that was not decided for this statement.
    #[error("the plan scans `{0}` without a grant")]
    NotCleared(String),
    /// A scan of a product that must stand behind a guard, and does not.
    #[error("the plan scans `{0}` without its guard")]
    Unguarded(String),
    /// A guard that does not do what was decided.
    #[error("the plan guards `{0}` with {1}")]
    Guard(String, &'static str),
    /// A node that the verifier has no rule for.
    #[error("the plan has a node that cannot be verified: {0}")]
    Unknown(String),
}

/// What was decided for one statement.
#[derive(Debug)]
pub struct Cleared(Vec<Arc<Clearance>>);

impl Cleared {
    /// The decisions behind the tables of a statement.
    ///
    /// # Errors
    /// When one of them was not governed.
    pub fn of<'a>(tables: impl IntoIterator<Item = &'a Arc<dyn TableProvider>>) -> Result<Self, Refusal> {
        let clearance = |table: &Arc<dyn TableProvider>| {
            let governed = table.downcast_ref::<GovernedScan>();
            governed
                .map(|governed| Arc::clone(governed.clearance()))
                .ok_or_else(|| Refusal::NotCleared("a table".into()))
        };
        tables.into_iter().map(clearance).collect::<Result<_, _>>().map(Self)
    }

    fn has(&self, clearance: &Arc<Clearance>) -> bool {
        self.0.iter().any(|cleared| Arc::ptr_eq(cleared, clearance))
    }

    /// Checks a logical plan, subqueries included.
    ///
    /// # Errors
    /// The first thing that breaks a grant.
    pub fn verify(&self, plan: &LogicalPlan) -> Result<(), Refusal> {
        let mut refusal = None;
        let walked = plan.apply_with_subqueries(|node| {
            refusal = self.logical(node).err();
            Ok(if refusal.is_some() { TreeNodeRecursion::Stop } else { TreeNodeRecursion::Continue })
        });
        match (walked, refusal) {
            (_, Some(refusal)) => Err(refusal),
            (Ok(_), None) => Ok(()),
            (Err(_), None) => Err(Refusal::Unknown("a plan that cannot be walked".to_owned())),
        }
    }

    fn logical(&self, node: &LogicalPlan) -> Result<(), Refusal> {
        match node {
            LogicalPlan::TableScan(scan) => self.scan(scan),
            LogicalPlan::Projection(_)
            | LogicalPlan::Filter(_)
            | LogicalPlan::Sort(_)
            | LogicalPlan::Limit(_)
            | LogicalPlan::Repartition(_)
            | LogicalPlan::SubqueryAlias(_)
            | LogicalPlan::Window(_)
            | LogicalPlan::Aggregate(_)
            | LogicalPlan::Join(_)
            | LogicalPlan::Distinct(_)
            | LogicalPlan::Union(_)
            | LogicalPlan::Unnest(_)
            | LogicalPlan::RecursiveQuery(_)
            | LogicalPlan::Subquery(_)
            | LogicalPlan::Values(_)
            | LogicalPlan::EmptyRelation(_) => Ok(()),
            LogicalPlan::Statement(_)
            | LogicalPlan::Explain(_)
            | LogicalPlan::Analyze(_)
            | LogicalPlan::Extension(_)
            | LogicalPlan::Dml(_)
            | LogicalPlan::Ddl(_)
            | LogicalPlan::Copy(_)
            | LogicalPlan::DescribeTable(_) => Err(Refusal::Unknown(node.display().to_string())),
        }
    }

    fn scan(&self, scan: &TableScan) -> Result<(), Refusal> {
        let not_cleared = || Refusal::NotCleared(scan.table_name.to_string());
        let provider = source_as_provider(&scan.source).map_err(|_| not_cleared())?;
        if provider.is::<CteWorkTable>() {
            // Its rows are those of a recursive query's terms.
            return Ok(());
        }
        let governed = provider.downcast_ref::<GovernedScan>().ok_or_else(not_cleared)?;
        if self.has(governed.clearance()) { Ok(()) } else { Err(not_cleared()) }
    }

    /// Checks a physical plan.
    ///
    /// # Errors
    /// The first thing that breaks a grant.
    pub fn verify_physical(&self, plan: &Arc<dyn ExecutionPlan>) -> Result<(), Refusal> {
        for child in plan.children() {
            self.verify_physical(child)?;
        }
        if let Some(guard) = plan.downcast_ref::<GuardExec>() {
            return self.guard(guard);
        }
        if let Some(source) = plan.downcast_ref::<DataSourceExec>() {
            return self.bare(source);
        }
        if let Some(query) = plan.downcast_ref::<QueryExec>() {
            self.inside(query)?;
            return self.as_it_is(query, &columns_of_query(query));
        }
        let reads_nothing = plan.is::<EmptyExec>() || plan.is::<PlaceholderRowExec>() || plan.is::<WorkTableExec>();
        if plan.children().is_empty() && !reads_nothing {
            return Err(Refusal::Unknown(plan.name().to_owned()));
        }
        Ok(())
    }

    /// A scan without a guard.
    fn bare(&self, source: &DataSourceExec) -> Result<(), Refusal> {
        if source.data_source().downcast_ref::<MemorySourceConfig>().is_some() {
            // Rows that were made for this statement: its own `VALUES`, or a table that the logical check has seen.
            return Ok(());
        }
        match columns_of(source) {
            Some(read) => self.as_it_is(source, &read),
            None => Err(Refusal::Unknown("a source".to_owned())),
        }
    }

    /// What a sealed query has inside.
    fn inside(&self, query: &QueryExec) -> Result<(), Refusal> {
        let (out, inner) = (query.schema(), query.inner().schema());
        if !out.fields().iter().map(|field| field.name()).eq(inner.fields().iter().map(|field| field.name())) {
            return Err(Refusal::Unknown("a query under other names".to_owned()));
        }
        self.verify_physical(query.inner())
    }

    /// Whether a node may read these columns of what it reads without a guard.
    fn as_it_is(&self, node: &dyn ExecutionPlan, read: &[String]) -> Result<(), Refusal> {
        let cleared: Vec<_> = self.0.iter().filter(|clearance| clearance.is_read_by(node)).collect();
        let Some(first) = cleared.first() else { return Err(Refusal::NotCleared("a source".to_owned())) };
        let is_bare =
            |clearance: &&&Arc<Clearance>| clearance.rows.is_none() && read.iter().all(|name| clearance.is_plain(name));
        match cleared.iter().find(is_bare) {
            Some(_) => Ok(()),
            None => Err(Refusal::Unguarded(first.name.to_string())),
        }
    }

    fn guard(&self, guard: &GuardExec) -> Result<(), Refusal> {
        let clearance = &guard.clearance;
        let refused = |what| Err(Refusal::Guard(clearance.name.to_string(), what));
        if !self.has(clearance) {
            return refused("another decision");
        }
        if !reads(&guard.source, clearance) {
            return refused("another source");
        }
        if let Some(query) = guard.source.downcast_ref::<QueryExec>() {
            self.inside(query)?;
        }
        let schema = guard.source.schema();
        let is_of_source = |expr: &Arc<dyn PhysicalExpr>| {
            collect_columns(expr).iter().all(|c| schema.fields().get(c.index()).is_some_and(|f| f.name() == c.name()))
        };
        if !guard.rows.iter().chain(&guard.below).chain(guard.shown.iter().map(|(_, shown)| shown)).all(is_of_source) {
            return refused("columns out of their places");
        }
        if !same(guard.rows.as_ref(), clearance.exact.as_ref()) {
            return refused("another row filter");
        }
        let leakproof =
            |below: &Arc<dyn PhysicalExpr>| is_leakproof_physical(below, &schema, &|name| clearance.is_plain(name));
        if !guard.below.iter().all(leakproof) {
            return refused("a predicate below it that may tell of hidden rows");
        }
        if !pushed(&guard.source).iter().all(|predicate| leakproof(predicate) || is_hint(predicate, clearance)) {
            return refused("a predicate in its source that may tell of hidden rows");
        }
        if !guard.shown.iter().all(|(name, shown)| same(Some(shown), clearance.shows(name))) {
            return refused("another mask");
        }
        let names = guard.shown.iter().map(|(name, _)| name);
        let out = guard.schema();
        if !names.eq(out.fields().iter().map(|field| field.name())) {
            return refused("other names");
        }
        Ok(())
    }
}

/// Whether a guard's source is the scan of its clearance, each column as it is, or reads nothing.
fn reads(source: &Arc<dyn ExecutionPlan>, clearance: &Clearance) -> bool {
    if source.is::<EmptyExec>() {
        return true;
    }
    if source.is::<QueryExec>() {
        return clearance.is_read_by(source.as_ref());
    }
    let Some(node) = source.downcast_ref::<DataSourceExec>() else { return false };
    let Some(config) = node.data_source().downcast_ref::<FileScanConfig>() else { return false };
    let as_it_is = config.file_source().projection().is_some_and(|projection| {
        projection
            .as_ref()
            .iter()
            .all(|p| p.expr.downcast_ref::<Column>().is_some_and(|column| column.name() == p.alias))
    });
    clearance.is_read_by(node) && as_it_is
}

/// The columns of its table that a source reads, for what comes out and for its predicates.
fn columns_of(source: &DataSourceExec) -> Option<Vec<String>> {
    let files = source.data_source().downcast_ref::<FileScanConfig>()?.file_source();
    let filter = files.filter();
    let read = files.projection()?.as_ref().iter().map(|projected| &projected.expr).chain(&filter);
    Some(read.flat_map(collect_columns).map(|column| column.name().to_owned()).collect())
}

/// The same of a sealed query.
fn columns_of_query(query: &QueryExec) -> Vec<String> {
    let out = query.schema();
    let below = query.below().iter().flat_map(collect_columns).map(|column| column.name().to_owned());
    out.fields().iter().map(|field| field.name().clone()).chain(below).collect()
}

/// The predicates in a source.
fn pushed(source: &Arc<dyn ExecutionPlan>) -> Vec<Arc<dyn PhysicalExpr>> {
    if let Some(query) = source.downcast_ref::<QueryExec>() {
        return query.below().iter().flat_map(split_conjunction).cloned().collect();
    }
    let config = source.downcast_ref::<DataSourceExec>();
    let config = config.and_then(|source| source.data_source().downcast_ref::<FileScanConfig>());
    let filter = config.and_then(|config| config.file_source().filter());
    filter.iter().flat_map(split_conjunction).cloned().collect()
}

/// Whether a predicate is a part of the decided row filter.
fn is_hint(predicate: &Arc<dyn PhysicalExpr>, clearance: &Clearance) -> bool {
    let mut parts = clearance.hints.iter().flat_map(split_conjunction);
    parts.any(|part| same(Some(part), Some(predicate)))
}

/// Whether two expressions are the same, wherever their columns stand.
fn same(one: Option<&Arc<dyn PhysicalExpr>>, other: Option<&Arc<dyn PhysicalExpr>>) -> bool {
    match (one, other) {
        (None, None) => true,
        (Some(one), Some(other)) => match (placeless(one), placeless(other)) {
            (Ok(one), Ok(other)) => one == other,
            _ => false,
        },
        _ => false,
    }
}

/// An expression whose columns have names alone.
fn placeless(expr: &Arc<dyn PhysicalExpr>) -> DfResult<Arc<dyn PhysicalExpr>> {
    let named = |expr: Arc<dyn PhysicalExpr>| {
        Ok(match expr.downcast_ref::<Column>() {
            Some(column) => Transformed::yes(Arc::new(Column::new(column.name(), 0)) as Arc<dyn PhysicalExpr>),
            None => Transformed::no(expr),
        })
    };
    Arc::clone(expr).transform_up(named).data()
}
