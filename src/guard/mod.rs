//! Enforcement inside the plan: row filters, masks, and the verifier that refuses a plan without them.
//!
//! `resolve` asks this room for a governed table: a pinned scan cut down to what one principal may see. A column that
//! is not granted is not in it at all. A masked column exists only as the output of its mask, and a row that is not
//! shown exists nowhere above the guard:
//!
//! ```text
//! SELECT city, email FROM storefront.customers          -- city raw, email masked(sha-256-global), own region
//!
//! GuardExec: storefront.customers                       <- a leaf: no rule of the optimizer reaches into it
//!   masks <- row filter <- scan of the needed columns   <- what it does inside
//! ```
//!
//! A derived product is guarded in the same way, over the sealed plan of its query, in which guards of its own stand:
//! [`QueryExec`].
//!
//! With nothing guarded in the columns that are used there is no guard, and the plan equals the ungoverned one.
//!
//! This room never sees a principal: only grants and plans. It never trusts the optimizer: [`verify`] walks the finished
//! plan, subqueries and the inside of guards included, and holds each node that reads against what was decided.

mod exec;
pub mod filter;
pub mod flow;
mod leakproof;
pub mod mask;
mod query;
pub mod steady;
pub mod table;
#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::panic, clippy::disallowed_methods, reason = "tests corrupt plans by hand")]
mod tests;
mod total;
pub mod verify;

use std::sync::Arc;

use datafusion::physical_plan::ExecutionPlan;

pub use leakproof::{is_leakproof, is_leakproof_physical};
pub use query::{QueryExec, Seal};
pub use table::{GovernedColumn, Shown, Source, Treatment, WithoutFigures, figures, govern, govern_rows};
pub use total::is_total;

/// The guard of a plan around its own scan afresh, as `again` makes it; `None` for what is no guard.
pub fn afresh(
    plan: &dyn ExecutionPlan,
    again: impl FnOnce(&Arc<dyn ExecutionPlan>) -> Option<Arc<dyn ExecutionPlan>>,
) -> Option<Arc<dyn ExecutionPlan>> {
    let guard = plan.downcast_ref::<exec::GuardExec>()?;
    Some(Arc::new(guard.over(again(&guard.source)?)))
}

/// What works inside of a leaf of a plan, and under which name: a guard's scan, or the query of a derived product. Its
/// figures tell of hidden rows, so they are for those who run the server and for no principal.
pub fn inside(plan: &dyn ExecutionPlan) -> Option<(String, &Arc<dyn ExecutionPlan>)> {
    let guard = plan.downcast_ref::<exec::GuardExec>().map(|guard| (guard.guarded(), &guard.source));
    guard.or_else(|| plan.downcast_ref::<QueryExec>().map(|query| (query.of().to_owned(), query.inner())))
}
