//! Columns of one name in one row, as joins make them: filters that go down a physical plan must not take one for another.
//!
//! DataFusion 54 finds the columns of such a filter by name in what it goes through, and of two of one name it finds the
//! first (apache/datafusion#25259, mended after 55). What was asked of `b.id` is then asked of `a.id`, and rows are missing:
//!
//! ```text
//! Filter: b.seen IS DISTINCT FROM a.seen          …became `b.seen IS DISTINCT FROM b.seen` in the scan of b
//!   Projection: a.seen, b.seen
//!     Join: b.k = a.k
//! ```
//!
//! Here such a column stops its filter above the node that has several of its name, or whose input has; every other filter
//! goes on. Nothing changes in a plan without namesakes, and nothing but the ways of filters in one that has some.

use std::collections::HashSet;
use std::fmt;
use std::sync::Arc;

use datafusion::common::config::ConfigOptions;
use datafusion::common::tree_node::{Transformed, TreeNode};
use datafusion::common::{JoinType, Result};
use datafusion::execution::{SendableRecordBatchStream, TaskContext};
use datafusion::physical_expr::PhysicalExpr;
use datafusion::physical_expr::expressions::Column;
use datafusion::physical_optimizer::PhysicalOptimizerRule;
use datafusion::physical_optimizer::filter_pushdown::FilterPushdown;
use datafusion::physical_optimizer::optimizer::PhysicalOptimizer;
use datafusion::physical_plan::filter_pushdown::{
    ChildFilterDescription, ChildPushdownResult, FilterDescription, FilterPushdownPhase, FilterPushdownPropagation,
};
use datafusion::physical_plan::joins::HashJoinExec;
use datafusion::physical_plan::{DisplayAs, DisplayFormatType, ExecutionPlan, PlanProperties};

type Rule = Arc<dyn PhysicalOptimizerRule + Send + Sync>;

/// DataFusion's rules for physical plans, with those that move filters told apart what has one name.
pub(super) fn rules() -> Vec<Rule> {
    let moves = [FilterPushdown::new().name().to_owned(), FilterPushdown::new_post_optimization().name().to_owned()];
    let rules = PhysicalOptimizer::new().rules.into_iter();
    rules
        .map(|rule| if moves.iter().any(|name| name == rule.name()) { Arc::new(Apart(rule)) as Rule } else { rule })
        .collect()
}

/// A rule that moves filters, where columns of one name stop them.
#[derive(Debug)]
struct Apart(Rule);

impl PhysicalOptimizerRule for Apart {
    fn optimize(&self, plan: Arc<dyn ExecutionPlan>, config: &ConfigOptions) -> Result<Arc<dyn ExecutionPlan>> {
        if !branches(&plan) {
            return self.0.optimize(plan, config);
        }
        let stopped = plan.transform_up(|node| {
            let names = namesakes(&node);
            Ok(if names.is_empty() {
                Transformed::no(node)
            } else {
                Transformed::yes(Arc::new(Stop::before(node, &names)) as _)
            })
        })?;
        self.0.optimize(stopped.data, config)
    }

    fn name(&self) -> &str {
        self.0.name()
    }

    fn schema_check(&self) -> bool {
        self.0.schema_check()
    }
}

/// Whether two inputs come together in a plan: two columns of one table never have one name.
fn branches(plan: &Arc<dyn ExecutionPlan>) -> bool {
    let children = plan.children();
    children.len() > 1 || children.into_iter().any(branches)
}

/// The names under which a filter that comes to a node could be taken for one of another column, there or one step below.
fn namesakes(node: &Arc<dyn ExecutionPlan>) -> HashSet<String> {
    let mut found = HashSet::new();
    for schema in node.children().into_iter().chain([node]).map(|plan| plan.schema()) {
        if schema.fields().len() > 1 {
            let mut seen = HashSet::with_capacity(schema.fields().len());
            let twice = schema.fields().iter().filter(|field| !seen.insert(field.name()));
            found.extend(twice.map(|field| field.name().clone()));
        }
    }
    // A filter on the key of one side is asked of the other too, and finds its key there by the name.
    if let Some(join) = node.downcast_ref::<HashJoinExec>() {
        let other = match join.join_type() {
            JoinType::LeftSemi | JoinType::LeftAnti => join.right().schema(),
            JoinType::RightSemi | JoinType::RightAnti => join.left().schema(),
            _ => return found,
        };
        let keys =
            join.on().iter().map(|(left, right)| (left.downcast_ref::<Column>(), right.downcast_ref::<Column>()));
        let strange = keys.filter(|(left, right)| left.map(Column::name) != right.map(Column::name));
        let names = strange.flat_map(|(left, right)| left.into_iter().chain(right)).map(Column::name);
        found.extend(names.filter(|name| other.index_of(name).is_ok()).map(str::to_owned));
    }
    found
}

/// A node, and which of its columns filters may come for. It is gone when the filters have gone by.
#[derive(Debug)]
struct Stop {
    open: HashSet<usize>,
    node: Arc<dyn ExecutionPlan>,
}

impl Stop {
    fn before(node: Arc<dyn ExecutionPlan>, names: &HashSet<String>) -> Self {
        let schema = node.schema();
        let open = (0..schema.fields().len()).filter(|index| !names.contains(schema.field(*index).name())).collect();
        Self { open, node }
    }
}

impl DisplayAs for Stop {
    fn fmt_as(&self, _: DisplayFormatType, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl ExecutionPlan for Stop {
    fn name(&self) -> &str {
        "Stop"
    }

    fn properties(&self) -> &Arc<PlanProperties> {
        self.node.properties()
    }

    fn children(&self) -> Vec<&Arc<dyn ExecutionPlan>> {
        vec![&self.node]
    }

    fn with_new_children(self: Arc<Self>, mut children: Vec<Arc<dyn ExecutionPlan>>) -> Result<Arc<dyn ExecutionPlan>> {
        let node = children.pop().unwrap_or_else(|| Arc::clone(&self.node));
        Ok(Arc::new(Self { open: self.open.clone(), node }))
    }

    fn execute(&self, partition: usize, context: Arc<TaskContext>) -> Result<SendableRecordBatchStream> {
        self.node.execute(partition, context)
    }

    fn gather_filters_for_pushdown(
        &self,
        _phase: FilterPushdownPhase,
        filters: Vec<Arc<dyn PhysicalExpr>>,
        _config: &ConfigOptions,
    ) -> Result<FilterDescription> {
        let through = ChildFilterDescription::from_child_with_allowed_indices(&filters, self.open.clone(), &self.node)?;
        Ok(FilterDescription::new().with_child(through))
    }

    fn handle_child_pushdown_result(
        &self,
        _phase: FilterPushdownPhase,
        pushed: ChildPushdownResult,
        _config: &ConfigOptions,
    ) -> Result<FilterPushdownPropagation<Arc<dyn ExecutionPlan>>> {
        Ok(FilterPushdownPropagation::if_all(pushed).with_updated_node(Arc::clone(&self.node)))
    }
}
