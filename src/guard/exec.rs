//! The guard in a physical plan: a sealed leaf that filters rows, then masks columns.
//!
//! ```text
//! FilterExec: upper(email) = 'X'      what the query does, on masked columns and shown rows alone
//!   GuardExec: storefront.customers
//!     masks       email -> sha-256    }
//!     predicates  city = 'Delft'      } hidden from the optimizer and from EXPLAIN
//!     row filter  region = 'EU'       }
//!     source      the pinned scan     }
//! ```
//!
//! It has no children, so no rule of the optimizer can move anything into it or out of it. What a query hands down is let
//! in by the guard itself, where it is leakproof. What can be seen from above says nothing of the rows that it hides: as
//! many partitions as the session has, batches that are full but for the last one and never empty, no metrics.

mod rows;

use std::collections::BTreeSet;
use std::fmt;
use std::sync::Arc;

use datafusion::arrow::datatypes::Schema;
use datafusion::catalog::{Session, TableProvider};
use datafusion::common::stats::Precision;
use datafusion::common::{ColumnStatistics, DFSchema, Result, Statistics, internal_err};
use datafusion::config::ConfigOptions;
use datafusion::execution::context::ExecutionProps;
use datafusion::execution::{SendableRecordBatchStream, TaskContext};
use datafusion::logical_expr::Expr;
use datafusion::physical_expr::expressions::Column;
use datafusion::physical_expr::utils::{collect_columns, conjunction_opt, reassign_expr_columns};
use datafusion::physical_expr::{EquivalenceProperties, PhysicalExpr, create_physical_expr};
use datafusion::physical_plan::empty::EmptyExec;
use datafusion::physical_plan::execution_plan::{Boundedness, EmissionType, SchedulingType, reset_plan_states};
use datafusion::physical_plan::filter::FilterExec;
use datafusion::physical_plan::filter_pushdown::{
    ChildFilterPushdownResult, ChildPushdownResult, FilterPushdownPhase, FilterPushdownPropagation, PushedDown,
};
use datafusion::physical_plan::stream::{EmptyRecordBatchStream, RecordBatchStreamAdapter};
use datafusion::physical_plan::{
    DisplayAs, DisplayFormatType, ExecutionPlan, ExecutionPlanProperties, Partitioning, PlanProperties,
};
use futures::{StreamExt, TryStreamExt};

use super::leakproof::is_dynamic;
use super::table::{Clearance, WithoutFigures};
use rows::{Filtered, Masks};

/// A pinned scan behind its row filter and its masks.
#[derive(Debug, Clone)]
pub(super) struct GuardExec {
    pub(super) clearance: Arc<Clearance>,
    /// What reads the scan, or reads nothing.
    pub(super) source: Arc<dyn ExecutionPlan>,
    /// True for the rows that are shown.
    pub(super) rows: Option<Arc<dyn PhysicalExpr>>,
    /// What the query asks of the rows and may ask here.
    pub(super) below: Vec<Arc<dyn PhysicalExpr>>,
    /// The columns that come out, each with what makes it.
    pub(super) shown: Vec<(String, Arc<dyn PhysicalExpr>)>,
    /// How many rows are enough.
    limit: Option<usize>,
    /// Whether to tell how many rows there are about.
    figures: bool,
    cache: Arc<PlanProperties>,
}

impl GuardExec {
    /// Plans a guarded scan of the shown columns at `projection`, where leakproof `filters` hold.
    pub(super) async fn plan(
        clearance: &Arc<Clearance>,
        scan: &Arc<dyn TableProvider>,
        state: &dyn Session,
        projection: &[usize],
        filters: &[Expr],
        limit: Option<usize>,
    ) -> Result<Arc<dyn ExecutionPlan>> {
        let leakproof: Vec<&Expr> = filters.iter().filter(|filter| clearance.is_leakproof(filter)).collect();
        if clearance.rows.is_some() && leakproof.len() < filters.len() {
            return internal_err!("a predicate that may fail was to go below a row filter");
        }
        let of_raw = DFSchema::try_from(Arc::clone(clearance.raw()))?;
        let predicate = |filter: &&Expr| create_physical_expr(filter, &of_raw, &ExecutionProps::new());
        let below: Vec<Arc<dyn PhysicalExpr>> = leakproof.iter().map(predicate).collect::<Result<_>>()?;
        let columns = projection.iter().filter_map(|index| clearance.columns.get(*index));
        let shown = columns.filter_map(|column| Some((column.name.clone(), clearance.shows(&column.name)?)));
        let shown: Vec<(String, &Arc<dyn PhysicalExpr>)> = shown.collect();

        let exprs = shown.iter().map(|(_, expr)| *expr).chain(&clearance.exact).chain(&below);
        let read: BTreeSet<usize> = exprs.flat_map(collect_columns).map(|column| column.index()).collect();
        let read: Vec<usize> = read.into_iter().collect();
        let source = if clearance.rows.as_ref().is_some_and(|rows| rows.hides_all()) {
            Arc::new(EmptyExec::new(Arc::new(clearance.raw().project(&read)?)))
        } else {
            let hints = clearance.rows.iter().flat_map(|rows| &rows.hints);
            let all: Vec<Expr> = filters.iter().chain(hints).cloned().collect();
            let enough = limit.filter(|_| all.is_empty());
            let source = scan.scan(state, Some(&read), &all, enough).await?;
            let pushed = below.iter().chain(&clearance.hints).cloned().collect();
            push(source, pushed, state.config_options())?
        };
        let schema = source.schema();
        let over = |expr: &Arc<dyn PhysicalExpr>| reassign_expr_columns(Arc::clone(expr), &schema);
        let shown = shown.into_iter().map(|(name, expr)| Ok((name, over(expr)?))).collect::<Result<_>>()?;
        let rows = clearance.exact.as_ref().map(over).transpose()?;
        let below = below.iter().map(over).collect::<Result<_>>()?;
        let figures = state.config().get_extension::<WithoutFigures>().is_none();
        let partitions = state.config().target_partitions().max(source.output_partitioning().partition_count());
        Ok(Arc::new(Self::new(Arc::clone(clearance), source, rows, below, shown, limit, figures, partitions)?))
    }

    #[allow(clippy::too_many_arguments, reason = "they are its fields")]
    fn new(
        clearance: Arc<Clearance>,
        source: Arc<dyn ExecutionPlan>,
        rows: Option<Arc<dyn PhysicalExpr>>,
        below: Vec<Arc<dyn PhysicalExpr>>,
        shown: Vec<(String, Arc<dyn PhysicalExpr>)>,
        limit: Option<usize>,
        figures: bool,
        partitions: usize,
    ) -> Result<Self> {
        let all = clearance.schema();
        let fields = shown.iter().map(|(name, _)| all.field_with_name(name).cloned());
        let schema = Arc::new(Schema::new(fields.collect::<Result<Vec<_>, _>>()?));
        let properties = PlanProperties::new(
            EquivalenceProperties::new(schema),
            Partitioning::UnknownPartitioning(partitions),
            EmissionType::Incremental,
            Boundedness::Bounded,
        );
        let cache = Arc::new(properties.with_scheduling_type(SchedulingType::Cooperative));
        Ok(Self { clearance, source, rows, below, shown, limit, figures, cache })
    }

    /// The same over another plan of its scan.
    pub(super) fn over(&self, source: Arc<dyn ExecutionPlan>) -> Self {
        Self { source, ..self.clone() }
    }

    /// What it guards, as statements name it.
    pub(super) fn guarded(&self) -> String {
        self.clearance.name.to_string()
    }

    /// What every row that is read must meet.
    fn predicate(&self) -> Option<Arc<dyn PhysicalExpr>> {
        conjunction_opt(self.rows.iter().chain(&self.below).cloned())
    }

    /// What is about known of the rows that come out.
    fn estimate(&self) -> Result<Statistics> {
        let read = match conjunction_opt(self.below.iter().cloned().chain(self.hints()?)) {
            Some(predicate) => FilterExec::try_new(predicate, Arc::clone(&self.source))?.partition_statistics(None)?,
            None => self.source.partition_statistics(None)?,
        };
        let read = Arc::unwrap_or_clone(read).to_inexact();
        // The bounds of a column are values of hidden rows too, and the planner evaluates expressions on them.
        let column = |(_, expr): &(String, Arc<dyn PhysicalExpr>)| {
            let column = expr.downcast_ref::<Column>().filter(|column| self.clearance.is_plain(column.name()));
            let known = column.filter(|_| self.rows.is_none());
            let known = known.and_then(|column| read.column_statistics.get(column.index()));
            known.cloned().unwrap_or_else(ColumnStatistics::new_unknown)
        };
        let column_statistics = self.shown.iter().map(column).collect();
        Ok(Statistics { num_rows: read.num_rows, total_byte_size: Precision::Absent, column_statistics })
    }

    fn hints(&self) -> Result<Vec<Arc<dyn PhysicalExpr>>> {
        let schema = self.source.schema();
        self.clearance.hints.iter().map(|hint| reassign_expr_columns(Arc::clone(hint), &schema)).collect()
    }

    /// A predicate over what comes out as one over what is read, if it may go there.
    fn let_in(&self, filter: &Arc<dyn PhysicalExpr>) -> Result<Option<Arc<dyn PhysicalExpr>>> {
        let is_plain = |name: &str| self.clearance.is_plain(name);
        if !is_dynamic(filter, &is_plain) {
            return Ok(None);
        }
        reassign_expr_columns(Arc::clone(filter), &self.source.schema()).map(Some)
    }
}

/// Hands predicates to a source, which leaves out what they exclude as far as it can. They are applied again above.
fn push(
    source: Arc<dyn ExecutionPlan>,
    filters: Vec<Arc<dyn PhysicalExpr>>,
    config: &ConfigOptions,
) -> Result<Arc<dyn ExecutionPlan>> {
    if filters.is_empty() {
        return Ok(source);
    }
    let schema = source.schema();
    let filter = |filter| {
        Ok(ChildFilterPushdownResult { filter: reassign_expr_columns(filter, &schema)?, child_results: Vec::new() })
    };
    let parent_filters = filters.into_iter().map(filter).collect::<Result<_>>()?;
    let pushed = ChildPushdownResult { parent_filters, self_filters: Vec::new() };
    let answer = source.handle_child_pushdown_result(FilterPushdownPhase::Pre, pushed, config)?;
    Ok(answer.updated_node.unwrap_or(source))
}

impl DisplayAs for GuardExec {
    fn fmt_as(&self, _kind: DisplayFormatType, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let names: Vec<&str> = self.shown.iter().map(|(name, _)| name.as_str()).collect();
        write!(f, "GuardExec: {}, projection=[{}]", self.clearance.name, names.join(", "))?;
        let masked = names.iter().filter_map(|name| self.clearance.column(name));
        let masked = masked.flat_map(|column| column.treatment.masks(&column.name));
        let masked: Vec<String> = masked.map(|(path, mask)| format!("{path}: {mask}")).collect();
        if !masked.is_empty() {
            write!(f, ", masked=[{}]", masked.join(", "))?;
        }
        if self.rows.is_some() {
            f.write_str(", rows=filtered")?;
        }
        Ok(())
    }
}

impl ExecutionPlan for GuardExec {
    fn name(&self) -> &str {
        "GuardExec"
    }

    fn properties(&self) -> &Arc<PlanProperties> {
        &self.cache
    }

    fn children(&self) -> Vec<&Arc<dyn ExecutionPlan>> {
        Vec::new()
    }

    fn with_new_children(self: Arc<Self>, children: Vec<Arc<dyn ExecutionPlan>>) -> Result<Arc<dyn ExecutionPlan>> {
        if children.is_empty() { Ok(self) } else { internal_err!("a guard has no children") }
    }

    /// A round of a recursion reads its scan from the beginning.
    fn reset_state(self: Arc<Self>) -> Result<Arc<dyn ExecutionPlan>> {
        Ok(Arc::new(self.over(reset_plan_states(Arc::clone(&self.source))?)))
    }

    fn execute(&self, partition: usize, context: Arc<TaskContext>) -> Result<SendableRecordBatchStream> {
        let schema = self.schema();
        if partition >= self.source.output_partitioning().partition_count() {
            return Ok(Box::pin(EmptyRecordBatchStream::new(schema)));
        }
        let full = context.session_config().batch_size();
        let full = self.limit.map_or(full, |limit| limit.clamp(1, full.max(1)));
        let read = self.source.execute(partition, context)?;
        let (read, input) = match self.predicate() {
            Some(predicate) => {
                let shown = self.shown.iter().map(|(_, expr)| expr);
                let kept = shown.flat_map(collect_columns).map(|column| column.index()).collect();
                let filtered = Filtered::new(read, predicate, kept, full)?;
                let input = Arc::clone(filtered.going());
                (filtered.boxed(), input)
            }
            None => {
                let input = read.schema();
                (read.try_filter(|batch| std::future::ready(batch.num_rows() > 0)).boxed(), input)
            }
        };
        let masks = Masks::new(&self.shown, &input, Arc::clone(&schema))?;
        let shown = read.map(move |batch| masks.over(&batch?));
        Ok(Box::pin(RecordBatchStreamAdapter::new(schema, shown)))
    }

    fn partition_statistics(&self, partition: Option<usize>) -> Result<Arc<Statistics>> {
        let unknown = || Statistics::new_unknown(&self.schema());
        let told = self.figures && partition.is_none();
        Ok(Arc::new(if told { self.estimate()? } else { unknown() }))
    }

    fn handle_child_pushdown_result(
        &self,
        _phase: FilterPushdownPhase,
        pushed: ChildPushdownResult,
        config: &ConfigOptions,
    ) -> Result<FilterPushdownPropagation<Arc<dyn ExecutionPlan>>> {
        // Whoever pushed them keeps them: here they only spare reading.
        let answers = vec![PushedDown::No; pushed.parent_filters.len()];
        let answer = FilterPushdownPropagation::with_parent_pushdown_result(answers);
        let let_in = pushed.parent_filters.iter().filter_map(|pushed| self.let_in(&pushed.filter).transpose());
        let let_in: Vec<Arc<dyn PhysicalExpr>> = let_in.collect::<Result<_>>()?;
        if let_in.is_empty() {
            return Ok(answer);
        }
        let source = push(Arc::clone(&self.source), let_in, config)?;
        Ok(answer.with_updated_node(Arc::new(self.over(source))))
    }
}
