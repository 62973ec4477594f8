//! From a logical plan to a verified physical one, and how that is to be run.
//!
//! ```text
//! logical --bounded--> optimized --row by row where rows are hidden--> --verified--> physical --verified-->
//!                      ^
//!                      `-- one that is kept, with the values of now folded in
//! ```
//!
//! What is optimized is the same whoever may see which rows; all that follows is for one statement.

use std::sync::Arc;

use datafusion::catalog::TableProvider;
use datafusion::common::Result as DfResult;
use datafusion::execution::config::SessionConfig;
use datafusion::execution::session_state::SessionState;
use datafusion::logical_expr::LogicalPlan;
use datafusion::optimizer::Optimizer;
use datafusion::physical_plan::ExecutionPlan;

use super::caution::cautious;
use super::growth::{apportioned, bounded, narrowed};
use super::interrupt::interruptible;
use super::once::together;
use super::planning::failed;
use super::sieve::sieved;
use crate::error::{Class, Error};
use crate::guard::steady::row_by_row;
use crate::guard::verify::{Cleared, Refusal};
use crate::observe::timed;
use crate::resolve::Scanned;

/// DataFusion's rules that fold values into what they stand in.
const FOLDING: [&str; 2] = ["simplify_expressions", "eliminate_filter"];

/// How a plan is to be run.
#[derive(Debug, Clone)]
pub(super) struct Manner {
    pub(super) config: SessionConfig,
    /// What `now()` means in it, in nanoseconds since 1970.
    pub(super) moment: Option<i64>,
}

impl Manner {
    fn of(state: &SessionState) -> Self {
        let moment = state.execution_props().query_execution_start_time;
        Self { config: state.config().clone(), moment: moment.and_then(|moment| moment.timestamp_nanos_opt()) }
    }
}

/// A plan that may run.
pub(super) struct Finished {
    /// As the optimizer left it.
    pub(super) optimized: LogicalPlan,
    /// As it was verified.
    pub(super) logical: LogicalPlan,
    pub(super) physical: Arc<dyn ExecutionPlan>,
    pub(super) manner: Manner,
}

/// Optimizes a plan, verifies it, and makes it physical.
pub(super) async fn finish(
    state: &SessionState,
    logical: &LogicalPlan,
    providers: impl IntoIterator<Item = &Arc<dyn TableProvider>>,
    tables: &[Scanned],
) -> Result<Finished, Error> {
    let optimized = optimized(state, logical.clone()).map_err(|error| failed(&error, tables))?;
    physical(state, optimized, providers, tables).await
}

/// Optimizes a plan.
pub(super) fn optimized(state: &SessionState, logical: LogicalPlan) -> DfResult<LogicalPlan> {
    // What is computed while it is optimized is bounded as well, and so is what comes of that.
    timed("optimize", None, || bounded(logical).and_then(|logical| state.optimize(&logical)))
}

/// Folds values into an optimized plan that had places for them.
pub(super) fn folded(state: &SessionState, plan: LogicalPlan) -> DfResult<LogicalPlan> {
    let rules = state.optimizers().iter().filter(|rule| FOLDING.contains(&rule.name()));
    let rules = Optimizer::with_rules(rules.cloned().collect());
    timed("optimize", None, || bounded(plan).and_then(|plan| rules.optimize(plan, state, |_, _| {})))
}

/// Verifies an optimized plan, and makes it physical.
pub(super) async fn physical(
    state: &SessionState,
    optimized: LogicalPlan,
    providers: impl IntoIterator<Item = &Arc<dyn TableProvider>>,
    tables: &[Scanned],
) -> Result<Finished, Error> {
    let failed = |error| failed(&error, tables);
    let cleared = Cleared::of(providers).map_err(|refusal| unverified(&refusal))?;
    let restricted = tables.iter().any(|(_, _, table)| table.restricted);
    let logical = match restricted {
        true => row_by_row(optimized.clone()).map_err(failed)?,
        false => optimized.clone(),
    };
    let logical = bounded(logical).map_err(failed)?;
    timed("verify", None, || cleared.verify(&logical)).map_err(|refusal| unverified(&refusal))?;
    let narrowed = narrowed(state, &logical).map_err(failed)?;
    let running = narrowed.as_ref().unwrap_or(state);
    let cautious = cautious(running, &logical, restricted).map_err(failed)?;
    let planning = cautious.as_ref().unwrap_or(running);
    let (once, commons) = together(&logical).map_err(failed)?.unzip();
    let whole = once.as_ref().unwrap_or(&logical);
    let physical = planning.query_planner().create_physical_plan(whole, planning).await.map_err(failed)?;
    commons.iter().flatten().for_each(|common| common.planned());
    timed("verify", None, || cleared.verify_physical(&physical)).map_err(|refusal| unverified(&refusal))?;
    Ok(Finished { manner: Manner::of(running), optimized, logical, physical })
}

/// A plan as it starts, with all that is put in then.
pub(super) fn starting(plan: Arc<dyn ExecutionPlan>) -> DfResult<Arc<dyn ExecutionPlan>> {
    apportioned(plan).and_then(interruptible).and_then(sieved)
}

fn unverified(refusal: &Refusal) -> Error {
    tracing::error!(%refusal, "a plan was refused by the verifier");
    Error::new(Class::Bug, format!("the plan could not be proved safe and does not run: {refusal}"))
        .help("please report the statement to the platform team")
}

/// The same state under other settings. Functions, rules and tables stay as they are, which building one anew would
/// register again, each by its names.
pub(super) fn with_config(state: &SessionState, config: SessionConfig) -> SessionState {
    let mut state = state.clone();
    *state.config_mut() = config;
    state
}
