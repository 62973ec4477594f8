//! Operators that multiply what they are given are given it in portions.
//!
//! ```text
//! UnnestExec                     8192 rows with lists of 10 000 values each become one batch of 82 million rows
//! AggregateExec                  each of 8192 new groups has a state of 16 KiB for each `approx_distinct`; a cube has hundreds
//!                                of groups for each row
//! CrossJoinExec, joins           a text of 10 MB is repeated in each of the 8192 rows of a batch
//! ScalarSubqueryExec             so is what a subquery gives
//! ProjectionExec, FilterExec…    what calls that grow make of a batch is as large as the batch; a long literal stands in each row
//! ```
//!
//! A portion is a part of a batch that shares its buffers. What is too much in a single row is refused.

use std::sync::Arc;

use datafusion::arrow::array::{Array, ArrayRef, AsArray};
use datafusion::arrow::datatypes::DataType;
use datafusion::arrow::record_batch::RecordBatch;
use datafusion::common::Result;
use datafusion::common::tree_node::{TreeNode, TreeNodeRecursion};
use datafusion::physical_expr::aggregate::AggregateFunctionExpr;
use datafusion::physical_expr::expressions::Literal;
use datafusion::physical_expr::{PhysicalExpr, ScalarFunctionExpr};
use datafusion::physical_plan::ExecutionPlan;
use datafusion::physical_plan::aggregates::AggregateExec;
use datafusion::physical_plan::coop::CooperativeExec;
use datafusion::physical_plan::filter::FilterExec;
use datafusion::physical_plan::joins::{
    CrossJoinExec, HashJoinExec, NestedLoopJoinExec, PiecewiseMergeJoinExec, SortMergeJoinExec,
};
use datafusion::physical_plan::placeholder_row::PlaceholderRowExec;
use datafusion::physical_plan::projection::ProjectionExec;
use datafusion::physical_plan::scalar_subquery::ScalarSubqueryExec;
use datafusion::physical_plan::unnest::UnnestExec;

use super::call::is_bounded;
use super::estimate::{bytes, elements, width};
use super::joined::is_joined;
use super::narrow::LONG;
use super::wrapper::Work;
use super::{MOST, too_large};

/// The bytes of a portion for calls that grow.
const PORTION: u64 = 8 << 20;

/// The rows of a batch as DataFusion makes them.
const USUAL: usize = 8192;

/// The bytes of a portion for what groups keep: no pool is asked before all rows of a batch have theirs.
const GROUPED: usize = 8 << 20;

/// The bytes of a group's key, and of the state of an aggregate that keeps those of all groups together, roughly.
const KEY: usize = 64;
const STATE: usize = 16;

/// The rows that an unnested portion may have, roughly.
const UNNESTED: u64 = 64 << 10;

/// The bytes of a join's batch, of what it repeats.
const REPEATED: u64 = 4 * MOST;

/// What is to be done with the inputs of an operator, if it multiplies.
pub(super) fn of(plan: &Arc<dyn ExecutionPlan>) -> Option<Work> {
    if let Some(unnest) = plan.downcast_ref::<UnnestExec>() {
        let lists = unnest.list_column_indices().iter().map(|list| (list.index_in_input_schema, list.depth)).collect();
        return Some(Work::Unnest(lists));
    }
    if plan.is::<HashJoinExec>()
        || plan.is::<NestedLoopJoinExec>()
        || plan.is::<CrossJoinExec>()
        || plan.is::<SortMergeJoinExec>()
        || plan.is::<PiecewiseMergeJoinExec>()
        || plan.downcast_ref::<ScalarSubqueryExec>().is_some_and(|around| !is_one_row(around.input()))
    {
        return Some(Work::Repeat);
    }
    let grouped = plan.downcast_ref::<AggregateExec>().and_then(grouped);
    let grows = expressions(plan).iter().any(grows);
    (grows || grouped.is_some()).then(|| Work::Compute(grouped.unwrap_or(usize::MAX)))
}

/// Whether a plan reads nothing, and so has one row at most.
fn is_one_row(plan: &Arc<dyn ExecutionPlan>) -> bool {
    let passes = plan.is::<ProjectionExec>() || plan.is::<FilterExec>() || plan.is::<CooperativeExec>();
    plan.is::<PlaceholderRowExec>() || passes && plan.children().into_iter().all(is_one_row)
}

/// The rows that a grouping is given at once, where their groups may take more than a portion in batches as large as usual.
fn grouped(aggregate: &AggregateExec) -> Option<usize> {
    let keys = aggregate.group_expr();
    if keys.is_empty() {
        return None;
    }
    let state = |aggregate: &Arc<AggregateFunctionExpr>| match aggregate.groups_accumulator_supported() {
        true => STATE,
        false => aggregate.create_accumulator().map_or(STATE, |one| one.size()),
    };
    let states = aggregate.aggr_expr().iter().map(state).fold(0, usize::saturating_add);
    let group = keys.expr().len().saturating_mul(KEY).saturating_add(states);
    let each = group.saturating_mul(keys.groups().len().max(1)).max(1);
    Some((GROUPED / each).max(1)).filter(|rows| *rows < USUAL)
}

fn expressions(plan: &Arc<dyn ExecutionPlan>) -> Vec<Arc<dyn PhysicalExpr>> {
    if let Some(projection) = plan.downcast_ref::<ProjectionExec>() {
        projection.expr().iter().map(|expr| Arc::clone(&expr.expr)).collect()
    } else if let Some(filter) = plan.downcast_ref::<FilterExec>() {
        vec![Arc::clone(filter.predicate())]
    } else if let Some(aggregate) = plan.downcast_ref::<AggregateExec>() {
        let groups = aggregate.group_expr().expr().iter().map(|(expr, _)| Arc::clone(expr));
        groups.chain(aggregate.aggr_expr().iter().flat_map(|aggregate| aggregate.expressions())).collect()
    } else {
        Vec::new()
    }
}

fn grows(expr: &Arc<dyn PhysicalExpr>) -> bool {
    let mut found = false;
    // Nothing in it fails.
    let _ = expr.apply(|expr| {
        let call = expr.downcast_ref::<ScalarFunctionExpr>();
        found |= call.is_some_and(|call| is_bounded(call.fun()) || is_joined(call.fun()));
        // It stands in each row.
        found |= expr.downcast_ref::<Literal>().is_some_and(|literal| width(literal.value()) > LONG);
        Ok(if found { TreeNodeRecursion::Stop } else { TreeNodeRecursion::Continue })
    });
    found
}

/// The rows of a batch that go on together, as many as fit; more than one unless there is one.
pub(super) fn computed(batch: &RecordBatch) -> usize {
    share(batch.num_rows(), all(batch), PORTION)
}

/// The bytes of the values of a batch.
pub(super) fn all(batch: &RecordBatch) -> u64 {
    batch.columns().iter().map(bytes).fold(0, u64::saturating_add)
}

/// The same for an operator that unnests these columns, each to its depth.
///
/// # Errors
/// `Limit`, when a single row would become too much.
pub(super) fn unnested(batch: &RecordBatch, lists: &[(usize, usize)]) -> Result<usize> {
    let rows = batch.num_rows();
    let longest = |batch: &RecordBatch| {
        let columns = lists.iter().filter_map(|(place, depth)| batch.columns().get(*place).zip(Some(*depth)));
        columns.map(|(column, depth)| elements(column, depth)).max().unwrap_or_default()
    };
    let beside = |batch: &RecordBatch| {
        let columns = batch.columns().iter().enumerate();
        let beside = columns.filter(|(place, _)| lists.iter().all(|(list, _)| list != place));
        beside.map(|(_, column)| bytes(column)).fold(0, u64::saturating_add)
    };
    let values = longest(batch);
    let fewer = share(rows, values, UNNESTED);
    // What stands beside a list is repeated for each of its values.
    for row in 0..rows {
        let one = batch.slice(row, 1);
        let values = longest(&one);
        if values > UNNESTED && values.saturating_mul(beside(&one)) > MOST {
            return Err(too_large("`unnest`"));
        }
    }
    let beside = beside(batch) / (rows as u64).max(1);
    let each = (values / (rows as u64).max(1)).max(1);
    Ok(fewer.min(share(rows, each.saturating_mul(beside).saturating_mul(rows as u64), PORTION * 2)))
}

/// Refuses what a join would repeat in a whole batch and is too wide for that. Views of texts share them.
///
/// # Errors
/// `Limit`.
pub(super) fn repeated(batch: &RecordBatch, rows: usize) -> Result<()> {
    let widest = batch.columns().iter().map(widest).fold(0, u64::saturating_add);
    match widest.saturating_mul(rows as u64) > REPEATED {
        true => Err(too_large("a join or a subquery with values so wide")),
        false => Ok(()),
    }
}

fn widest(column: &ArrayRef) -> u64 {
    fn apart<O: Copy + Into<i64>>(offsets: &[O]) -> u64 {
        let pairs = offsets.iter().zip(offsets.iter().skip(1));
        pairs.map(|(from, to)| (*to).into().abs_diff((*from).into())).max().unwrap_or_default()
    }
    let of_values = |values: &ArrayRef, longest: u64| {
        let each = bytes(values).checked_div(values.len() as u64).unwrap_or_default();
        longest.saturating_mul(each.max(1))
    };
    match column.data_type() {
        DataType::Utf8 => apart(column.as_string::<i32>().value_offsets()),
        DataType::LargeUtf8 => apart(column.as_string::<i64>().value_offsets()),
        DataType::Binary => apart(column.as_binary::<i32>().value_offsets()),
        DataType::LargeBinary => apart(column.as_binary::<i64>().value_offsets()),
        DataType::List(_) => {
            of_values(column.as_list::<i32>().values(), apart(column.as_list::<i32>().value_offsets()))
        }
        DataType::LargeList(_) => {
            of_values(column.as_list::<i64>().values(), apart(column.as_list::<i64>().value_offsets()))
        }
        DataType::Struct(_) => column.as_struct().columns().iter().map(widest).fold(0, u64::saturating_add),
        _ => 0,
    }
}

/// How many of `rows` go together, when `all` of something is to become portions of `most`.
pub(super) fn share(rows: usize, all: u64, most: u64) -> usize {
    let portions = usize::try_from(all.div_ceil(most)).unwrap_or(usize::MAX).max(1);
    (rows / portions).max(1)
}
