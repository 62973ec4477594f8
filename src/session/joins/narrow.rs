//! Groups that a join is going to leave out are not made.
//!
//! ```text
//! part ⋈ lineitem ⋈ (averages of lineitem by part)      …, (averages of (lineitem ⋉ part) by part)
//! of all parts, though part keeps one in a thousand  ──>  of those that part keeps
//! ```
//!
//! In a tree of inner joins an aggregate is a relation like any other. Where it is joined by one of its keys, a group whose key
//! another relation of the same class does not have is in no row of the result. So a copy of the smallest such relation, a
//! scan with its filters, is looked at before the rows are put into groups, as a semi join beneath the aggregate. The pass
//! that orders joins moves it further down where there is a tree.
//!
//! Why that is exact: each group has all of its rows or none, and NULLs are equal to nothing on both sides. An aggregate that
//! fails on a group that is left out does so no more. What it never does: it copies no scan of which nothing is known, none
//! with a filter that may fail or that is not the same for the same row, and it narrows no aggregate twice.
//!
//! The copy is read once more, so it must be far smaller than what is put into groups.

use std::sync::Arc;

use datafusion::common::tree_node::{Transformed, TreeNode};
use datafusion::common::{Column, DFSchema, JoinConstraint, JoinType, NullEquality, Result};
use datafusion::logical_expr::{Aggregate, Expr, Join, LogicalPlan, Projection, SubqueryAlias};
use datafusion::optimizer::{OptimizerConfig, OptimizerRule};

use super::figures::{figures, found};
use super::tree::{Side, Tree, is_part, moves};

/// What the copies are called.
const KEYS: &str = "__keys";

/// The most groups that may be left, as a part of all.
const LEFT: f64 = 0.3;

/// The most rows that are read for a copy, as a part of those that are read for the groups.
const COPIED: f64 = 0.25;

/// The pass.
#[derive(Debug, Default)]
pub(super) struct Narrow;

impl OptimizerRule for Narrow {
    fn name(&self) -> &str {
        "narrow_groups"
    }

    fn rewrite(&self, plan: LogicalPlan, _: &dyn OptimizerConfig) -> Result<Transformed<LogicalPlan>> {
        plan.transform_down_with_subqueries(|plan| match &plan {
            LogicalPlan::Join(_) if is_part(&plan) => narrowed(plan),
            _ => Ok(Transformed::no(plan)),
        })
    }
}

/// Rows that have every value of a column that the tree can have.
struct Copy<'t> {
    plan: &'t Arc<LogicalPlan>,
    key: Column,
}

/// A tree whose aggregates make no groups in vain.
fn narrowed(mut plan: LogicalPlan) -> Result<Transformed<LogicalPlan>> {
    let Some((tree, _)) = Tree::of(&plan) else { return Ok(Transformed::no(plan)) };
    let mut changed = false;
    for (place, relation) in tree.relations.iter().enumerate() {
        let Some((column, copy)) = best(&tree, place) else { continue };
        if is_narrow(relation)? {
            continue;
        }
        if let Some(narrow) = beneath(relation, column, &copy)? {
            plan = replaced(plan, &mut Some(place), &narrow)?.data;
            changed = true;
        }
    }
    Ok(if changed { Transformed::yes(plan) } else { Transformed::no(plan) })
}

/// The column of a relation and the copy that leave the fewest groups of it, if they are few enough.
fn best(tree: &Tree, place: usize) -> Option<(&Column, Copy<'_>)> {
    let relation = tree.relations.get(place)?;
    let mut best: Option<(f64, &Column, Copy<'_>)> = None;
    for class in &tree.classes {
        let own = class.iter().find(|side| side.relation == place).and_then(|side| side.expr.try_as_col());
        let Some((column, (aggregate, key))) = own.and_then(|own| Some((own, grouped(relation, own)?))) else {
            continue;
        };
        for copy in copies(tree, class, place) {
            let Some(left) = left(aggregate, &key, &copy) else { continue };
            if best.as_ref().is_none_or(|(least, ..)| left < *least) {
                best = Some((left, column, copy));
            }
        }
    }
    best.map(|(_, column, copy)| (column, copy))
}

/// The part of the groups that a copy leaves, where that is worth it.
fn left(aggregate: &Aggregate, key: &Column, copy: &Copy<'_>) -> Option<f64> {
    let (schema, others) = (aggregate.input.schema(), copy.plan.schema());
    let rows = figures(&aggregate.input, &[schema.maybe_index_of_column(key)?])?;
    let keys = figures(copy.plan, &[others.maybe_index_of_column(&copy.key)?])?;
    let on = [(Expr::Column(key.clone()), Expr::Column(copy.key.clone()))];
    let left = found((&rows, schema), (&keys, others), &on, None);
    (left <= LEFT && keys.read <= rows.read * COPIED).then_some(left)
}

/// What may be copied that has the values of a class: other relations of it, and what semi joins on it look in.
fn copies<'t>(tree: &'t Tree, class: &[Side], place: usize) -> Vec<Copy<'t>> {
    let relations = class.iter().filter(|side| side.relation != place).filter_map(|side| {
        Some(Copy { plan: tree.relations.get(side.relation)?, key: side.expr.try_as_col()?.clone() })
    });
    let looked_in = tree.semis.iter().flat_map(|semi| {
        let pairs = semi.join.on.iter().filter(|(one, _)| class.iter().any(|side| side.expr == *one));
        pairs.filter_map(|(_, key)| Some(Copy { plan: &semi.join.right, key: key.try_as_col()?.clone() }))
    });
    relations.chain(looked_in).filter(|copy| is_copied(copy.plan)).collect()
}

/// Whether a plan is a scan with its filters, which may be asked twice.
fn is_copied(plan: &LogicalPlan) -> bool {
    match plan {
        LogicalPlan::TableScan(scan) => {
            let whole = DFSchema::try_from_qualified_schema(scan.table_name.clone(), &scan.source.schema());
            scan.fetch.is_none() && whole.is_ok_and(|whole| scan.filters.iter().all(|filter| moves(filter, &whole)))
        }
        LogicalPlan::Filter(filter) => moves(&filter.predicate, filter.input.schema()) && is_copied(&filter.input),
        LogicalPlan::Projection(projection) => {
            let schema = projection.input.schema();
            projection.expr.iter().all(|expr| moves(expr, schema)) && is_copied(&projection.input)
        }
        LogicalPlan::SubqueryAlias(alias) => is_copied(&alias.input),
        _ => false,
    }
}

/// Whether there is a copy in a plan already.
fn is_narrow(plan: &LogicalPlan) -> Result<bool> {
    plan.exists(|node| Ok(matches!(node, LogicalPlan::SubqueryAlias(alias) if alias.alias.table() == KEYS)))
}

/// The lowest aggregate beneath a relation that has a column of it as a key, and that column among its rows.
fn grouped<'p>(plan: &'p LogicalPlan, column: &Column) -> Option<(&'p Aggregate, Column)> {
    let (input, key) = followed(plan, column)?;
    let lower = grouped(input, &key);
    match plan {
        LogicalPlan::Aggregate(aggregate) => lower.or(Some((aggregate, key))),
        _ => lower,
    }
}

/// What a column is one level further down, where each row there has what it has here.
fn followed<'p>(plan: &'p LogicalPlan, column: &Column) -> Option<(&'p Arc<LogicalPlan>, Column)> {
    let place = plan.schema().maybe_index_of_column(column)?;
    match plan {
        LogicalPlan::SubqueryAlias(alias) => Some((&alias.input, alias.input.schema().columns().get(place)?.clone())),
        LogicalPlan::Filter(filter) => Some((&filter.input, column.clone())),
        LogicalPlan::Projection(projection) => {
            Some((&projection.input, projection.expr.get(place)?.clone().unalias().try_as_col()?.clone()))
        }
        LogicalPlan::Aggregate(aggregate) => {
            Some((&aggregate.input, aggregate.group_expr.get(place)?.try_as_col()?.clone()))
        }
        _ => None,
    }
}

/// A plan with a semi join beneath the aggregate that [`grouped`] finds.
fn beneath(plan: &LogicalPlan, column: &Column, copy: &Copy<'_>) -> Result<Option<LogicalPlan>> {
    let Some((input, key)) = followed(plan, column) else { return Ok(None) };
    let lower = match (beneath(input, &key, copy)?, plan) {
        (None, LogicalPlan::Aggregate(_)) => semi(input, key, copy)?,
        (None, _) => return Ok(None),
        (Some(lower), _) => lower,
    };
    let mut lower = Some(lower);
    let done = plan.clone().map_children(|input| Ok(Transformed::yes(lower.take().unwrap_or(input))))?;
    Ok(Some(done.data))
}

/// The rows of a plan whose key is in a copy.
fn semi(rows: &Arc<LogicalPlan>, key: Column, copy: &Copy<'_>) -> Result<LogicalPlan> {
    let keys = Projection::try_new(vec![Expr::Column(copy.key.clone())], Arc::clone(copy.plan))?;
    let keys = SubqueryAlias::try_new(Arc::new(LogicalPlan::Projection(keys)), KEYS)?;
    let keys = Arc::new(LogicalPlan::SubqueryAlias(keys));
    let there = keys.schema().columns().into_iter().map(Expr::Column);
    let join = Join::try_new(
        Arc::clone(rows),
        Arc::clone(&keys),
        std::iter::once(Expr::Column(key)).zip(there).collect(),
        None,
        JoinType::LeftSemi,
        JoinConstraint::On,
        NullEquality::NullEqualsNothing,
        false,
    )?;
    Ok(LogicalPlan::Join(join))
}

/// A tree with another plan for one of its relations, as [`Tree`] counts them.
fn replaced(plan: LogicalPlan, place: &mut Option<usize>, by: &LogicalPlan) -> Result<Transformed<LogicalPlan>> {
    if !is_part(&plan) {
        return Ok(match place {
            Some(0) => {
                *place = None;
                Transformed::yes(by.clone())
            }
            _ => {
                *place = place.map(|place| place - 1);
                Transformed::no(plan)
            }
        });
    }
    let semi = matches!(&plan, LogicalPlan::Join(join) if join.join_type == JoinType::LeftSemi);
    let mut inputs = 0;
    plan.map_children(|input| {
        inputs += 1;
        if semi && inputs > 1 { Ok(Transformed::no(input)) } else { replaced(input, place, by) }
    })
}
