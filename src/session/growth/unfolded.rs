//! Conditions on columns that are expressions of others, which are expressions of others…
//!
//! ```text
//! FROM (SELECT x + x AS x FROM (SELECT x + x AS x FROM …)) WHERE x > 1
//! ```
//!
//! The optimizer moves a condition down to the scans, and puts what a column stands for in its place on the way: each level
//! doubles it, and nothing asks how long it has become. So the length is told before, from the plan as it was written.

use datafusion::common::tree_node::{TreeNode, TreeNodeRecursion};
use datafusion::common::{Column, DFSchemaRef, JoinType, Result};
use datafusion::logical_expr::{Expr, LogicalPlan};

use super::estimate::width;
use super::told;
use crate::error::{Class, Error};

/// The most parts of a condition, when all of its columns have been replaced. A condition of the longest statement has a few
/// thousand; planning with 100 000 takes seconds.
const PARTS: u64 = 100_000;

/// The bytes of a literal that weigh as much as a part.
const TEXT: u64 = 64;

/// The bytes of a literal list that do: it is held against others, and shared instead of copied.
const LIST: u64 = 1_024;

/// How many values of a list weigh as much as what is held against it. Most lists are short, or hold plain values.
const SHARE: u64 = 8;

/// Refuses a plan with a condition that would become too long.
///
/// # Errors
/// `Limit`.
pub(super) fn check(plan: &LogicalPlan) -> Result<()> {
    lengths(plan).map(|_| ())
}

/// How many parts each column of a plan stands for.
fn lengths(plan: &LogicalPlan) -> Result<Vec<u64>> {
    plan.apply_subqueries(|subquery| check(subquery).map(|()| TreeNodeRecursion::Continue))?;
    let mut inputs = Vec::new();
    for input in plan.inputs() {
        inputs.push(lengths(input)?);
    }
    let columns = plan.schema().fields().len();
    let beneath = inputs.concat();
    let beneath_of = Beneath { inputs: plan.inputs().into_iter().map(LogicalPlan::schema).collect(), lengths: &inputs };
    match plan {
        LogicalPlan::Projection(projection) => Ok(projection.expr.iter().map(|expr| beneath_of.length(expr)).collect()),
        LogicalPlan::Filter(filter) => {
            short(beneath_of.length(&filter.predicate))?;
            Ok(beneath)
        }
        LogicalPlan::Aggregate(aggregate) => {
            Ok(filled(aggregate.group_expr.iter().map(|expr| beneath_of.length(expr)).collect(), columns))
        }
        LogicalPlan::Join(join) => {
            for expr in join.filter.iter().chain(join.on.iter().flat_map(|(left, right)| [left, right])) {
                short(beneath_of.length(expr))?;
            }
            match (join.join_type, inputs.pop()) {
                (JoinType::RightSemi | JoinType::RightAnti, Some(right)) => Ok(right),
                _ => Ok(filled(beneath, columns)),
            }
        }
        // What a list is taken apart into is not the list.
        LogicalPlan::Unnest(unnest) => {
            let apart = |place| {
                unnest.list_type_columns.iter().any(|(list, _)| *list == place)
                    || unnest.struct_type_columns.contains(&place)
            };
            let length = |place: &usize| if apart(*place) { 1 } else { beneath.get(*place).copied().unwrap_or(1) };
            Ok(filled(unnest.dependency_indices.iter().map(length).collect(), columns))
        }
        LogicalPlan::Union(_) => {
            let longest = |place| inputs.iter().filter_map(|input| input.get(place)).copied().max().unwrap_or(1);
            Ok((0..columns).map(longest).collect())
        }
        _ => Ok(filled(beneath, columns)),
    }
}

/// The lengths of so many columns, of which the first ones are known.
fn filled(mut lengths: Vec<u64>, columns: usize) -> Vec<u64> {
    lengths.resize(columns, 1);
    lengths
}

/// What is beneath a plan node: the columns of each input, and how many parts each of them stands for.
struct Beneath<'a> {
    inputs: Vec<&'a DFSchemaRef>,
    lengths: &'a [Vec<u64>],
}

impl Beneath<'_> {
    /// How many parts an expression has, when the columns of what is beneath it are replaced.
    fn length(&self, expr: &Expr) -> u64 {
        let mut parts = 0_u64;
        // Nothing in it fails.
        let _ = expr.apply(|expr| {
            let mut next = TreeNodeRecursion::Continue;
            parts = parts.saturating_add(match expr {
                Expr::Column(column) => self.of_column(column).unwrap_or(1),
                // A long text is copied as often as a condition is written anew.
                Expr::Literal(value, _) => 1 + width(value) / if value.data_type().is_nested() { LIST } else { TEXT },
                Expr::InList(list) => {
                    next = TreeNodeRecursion::Jump;
                    let values = list.list.iter().map(|value| self.length(value)).fold(1, u64::saturating_add);
                    // It is held against each value that is not known yet.
                    let unknown = list.list.iter().filter(|value| !matches!(value, Expr::Literal(..))).count() as u64;
                    self.length(&list.expr).saturating_mul(1 + unknown / SHARE).saturating_add(values)
                }
                _ => 1,
            });
            Ok(next)
        });
        parts
    }

    fn of_column(&self, column: &Column) -> Option<u64> {
        let mut inputs = self.inputs.iter().zip(self.lengths);
        inputs.find_map(|(schema, lengths)| lengths.get(schema.maybe_index_of_column(column)?).copied())
    }
}

fn short(parts: u64) -> Result<()> {
    match parts > PARTS {
        true => Err(told(
            Error::new(
                Class::Limit,
                format!("a condition of the statement would become {parts} parts long, and {PARTS} are the most"),
            )
            .help("its columns are expressions of expressions; put the condition where they are made"),
        )),
        false => Ok(()),
    }
}
