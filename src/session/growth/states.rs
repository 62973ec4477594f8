//! What an aggregate keeps of each group, however few rows that has.

use datafusion::common::Result;
use datafusion::logical_expr::Expr;

use super::narrow::number;
use super::told;
use crate::error::{Class, Error};

/// The most centroids of a percentile. There is room for all of them before the first row, and where there is none the
/// process is gone.
const CENTROIDS: u64 = 10_000;

/// How many there are where none are said, and the bytes of one, and of what comes until they are put together.
const USUAL: u64 = 100;
const CENTROID: u64 = 16;

/// The bytes of a sketch that counts distinct values.
const SKETCH: u64 = 16 << 10;

/// Where the number of centroids stands.
fn centroids(function: &str) -> Option<usize> {
    match function {
        "approx_median" => Some(usize::MAX),
        "approx_percentile_cont" => Some(2),
        "approx_percentile_cont_with_weight" => Some(3),
        _ => None,
    }
}

/// Refuses an aggregate whose states would be too large.
///
/// # Errors
/// `Limit`.
pub(super) fn check(function: &str, args: &[Expr]) -> Result<()> {
    let said = centroids(function).and_then(|place| args.get(place));
    match said.is_none_or(|said| number(said).is_some_and(|said| said <= CENTROIDS)) {
        true => Ok(()),
        false => {
            let message = format!("`{function}` takes a plain number of centroids, {CENTROIDS} at the most");
            Err(told(
                Error::new(Class::Limit, message).help("leave it out for a hundred, which is close enough for most"),
            ))
        }
    }
}

/// The bytes that an aggregate keeps of a group.
pub(super) fn width(aggregate: &Expr) -> u64 {
    let Expr::AggregateFunction(call) = aggregate.clone().unalias() else { return 0 };
    let name = call.func.name();
    match centroids(name) {
        Some(place) => call.params.args.get(place).and_then(number).unwrap_or(USUAL).saturating_mul(CENTROID),
        None if name == "approx_distinct" => SKETCH,
        None => 0,
    }
}
