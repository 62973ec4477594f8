//! Planning that ends when nobody wants it: each rule asks before it begins, and one that goes from node to node at each.
//!
//! A statement of a hundred windows, each over the one before, is planned for seconds (14 in a debug build), on one of few
//! threads, and nothing in it yields. What its client, its deadline or a shutdown has ended gives the thread back at the next
//! rule.

use std::fmt::{self, Debug};
use std::sync::Arc;

use datafusion::common::Result;
use datafusion::common::config::ConfigOptions;
use datafusion::common::tree_node::Transformed;
use datafusion::execution::SessionStateBuilder;
use datafusion::logical_expr::LogicalPlan;
use datafusion::optimizer::optimizer::ApplyOrder;
use datafusion::optimizer::{Analyzer, AnalyzerRule, OptimizerConfig, OptimizerRule};
use datafusion::physical_optimizer::{PhysicalOptimizerContext, PhysicalOptimizerRule};
use datafusion::physical_plan::ExecutionPlan;

use super::growth::wanted;
use super::{joins, namesakes, recursion};

/// A rule that is not begun in vain.
struct Heeded<R: ?Sized>(Arc<R>);

/// Plans with these rules of DataFusion's and of ours, none of which is begun in vain.
pub(super) fn ruled(builder: SessionStateBuilder) -> SessionStateBuilder {
    let whole: Arc<dyn AnalyzerRule + Send + Sync> = Arc::new(recursion::Whole);
    let analyzers = std::iter::once(whole).chain(Analyzer::new().rules).map(|rule| Arc::new(Heeded(rule)) as _);
    let optimizers = joins::rules().into_iter().map(|rule| Arc::new(Heeded(rule)) as _);
    let physical = joins::physical(namesakes::rules()).into_iter().map(|rule| Arc::new(Heeded(rule)) as _);
    builder
        .with_analyzer_rules(analyzers.collect())
        .with_optimizer_rules(optimizers.collect())
        .with_physical_optimizer_rules(physical.collect())
}

impl<R: Debug + ?Sized> Debug for Heeded<R> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl AnalyzerRule for Heeded<dyn AnalyzerRule + Send + Sync> {
    fn name(&self) -> &str {
        self.0.name()
    }

    fn analyze(&self, plan: LogicalPlan, config: &ConfigOptions) -> Result<LogicalPlan> {
        wanted()?;
        self.0.analyze(plan, config)
    }
}

impl OptimizerRule for Heeded<dyn OptimizerRule + Send + Sync> {
    fn name(&self) -> &str {
        self.0.name()
    }

    fn apply_order(&self) -> Option<ApplyOrder> {
        self.0.apply_order()
    }

    fn rewrite(&self, plan: LogicalPlan, config: &dyn OptimizerConfig) -> Result<Transformed<LogicalPlan>> {
        wanted()?;
        self.0.rewrite(plan, config)
    }
}

impl PhysicalOptimizerRule for Heeded<dyn PhysicalOptimizerRule + Send + Sync> {
    fn optimize(&self, plan: Arc<dyn ExecutionPlan>, config: &ConfigOptions) -> Result<Arc<dyn ExecutionPlan>> {
        wanted()?;
        self.0.optimize(plan, config)
    }

    fn optimize_with_context(
        &self,
        plan: Arc<dyn ExecutionPlan>,
        context: &dyn PhysicalOptimizerContext,
    ) -> Result<Arc<dyn ExecutionPlan>> {
        wanted()?;
        self.0.optimize_with_context(plan, context)
    }

    fn name(&self) -> &str {
        self.0.name()
    }

    fn schema_check(&self) -> bool {
        self.0.schema_check()
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::disallowed_methods, reason = "tests plan by hand")]
mod tests {
    use std::sync::mpsc;
    use std::time::Duration;

    use datafusion::arrow::datatypes::Schema;
    use datafusion::execution::session_state::SessionState;
    use datafusion::physical_plan::empty::EmptyExec;

    use super::super::threads::{Threads, unwanted};
    use super::*;

    /// Which of the three kinds of rules go on.
    fn goes_on(state: &SessionState, plan: &LogicalPlan) -> [bool; 3] {
        let empty = || Arc::new(EmptyExec::new(Arc::new(Schema::empty()))) as Arc<dyn ExecutionPlan>;
        let options = state.config_options();
        [
            state.analyzer().execute_and_check(plan.clone(), options, |_, _| {}).is_ok(),
            state.optimize(plan).is_ok(),
            state.physical_optimizers().iter().any(|rule| rule.optimize(empty(), options).is_ok()),
        ]
    }

    #[test]
    fn no_rule_is_begun_for_what_nobody_wants() {
        let state = ruled(SessionStateBuilder::new().with_default_features()).build();
        let threads = Threads::start("test", 1, 1, 1).unwrap();
        let (begun, begins) = mpsc::channel();
        let (told, tells) = mpsc::channel();
        let work = threads.spawn(async move {
            let plan = state.create_logical_plan("SELECT 1 + x FROM (VALUES (1)) t (x)").await.unwrap();
            begun.send(goes_on(&state, &plan)).unwrap();
            while !unwanted() {
                std::thread::sleep(Duration::from_millis(1));
            }
            told.send(goes_on(&state, &plan)).unwrap();
        });
        assert_eq!(begins.recv().unwrap(), [true; 3]);
        drop(work);
        assert_eq!(tells.recv_timeout(Duration::from_secs(10)).unwrap(), [false; 3]);
    }
}
