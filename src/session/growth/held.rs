//! What windows hold of their input, counted by the statement's pool.
//!
//! ```text
//! max(a) OVER ()     all rows are held until the last one has come, and no pool is asked: DataFusion counts sorts and
//!                    groups alone
//! ```
//!
//! What is held is not seen, so all that goes in is counted until the window is gone, and as much again for what it makes.

use std::sync::Arc;

use datafusion::physical_plan::ExecutionPlan;
use datafusion::physical_plan::windows::WindowAggExec;

use super::wrapper::Work;

/// How many times what goes in is held: once as it came, and once put together.
pub(super) const TIMES: usize = 2;

/// What is to be done with the input of a window that holds all of it.
pub(super) fn of(plan: &Arc<dyn ExecutionPlan>) -> Option<Work> {
    plan.is::<WindowAggExec>().then_some(Work::Hold)
}
