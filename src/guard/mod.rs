//! Enforcement inside the plan: masks, and the verifier that refuses a plan without them.
//!
//! `resolve` asks this room for a governed table: a pinned scan cut down to what one principal may see. A column that
//! is not granted is not in it at all. A masked column exists only as the output of its mask:
//!
//! ```text
//! SELECT city, email FROM storefront.customers          -- city raw, email masked(sha-256-global)
//!
//! Projection: city, mask_sha256_global(email) AS email  <- what the name stands for
//!   TableScan: storefront.customers                     <- raw columns; nothing above may touch `email` but the mask
//! ```
//!
//! With nothing to mask there is no projection, and the plan equals the ungoverned one.
//!
//! This room never sees a principal: only grants and plans. It never trusts the optimizer: [`verify`] walks the
//! optimized plan, subqueries included, and follows every raw value of a masked column up to its mask.

pub mod flow;
pub mod mask;
pub mod table;
#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::panic, clippy::disallowed_methods, reason = "tests corrupt plans by hand")]
mod tests;
pub mod verify;

pub use table::{GovernedColumn, Treatment, govern};
