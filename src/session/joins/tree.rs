//! A maximal tree of inner joins as relations and what holds between them, and a plan of it in another order.
//!
//! ```text
//! passed through      inner joins, semi joins whose keys are of one relation, projections of plain columns, filters; all
//!                     of whose expressions are total and ask no query
//! relation            everything else: a scan with its filters, an aggregate, an outer join, a join that may fail
//! put back            each class of equal columns at every join where it is on both sides; each condition where all its
//!                     columns are there first; the columns on top as they were
//! ```
//!
//! Why that is exact: inner joins, semi joins of one relation and filters commute, as long as no expression fails and none
//! gives something else for the same row. Equality within one type is transitive, so that one pair of a class at each join
//! makes all its columns equal.
//!
//! Counterexample: `ON 12 / a.k > b.x` would meet rows of `a` that another join had left out, and fail on a zero among them.
//! So such a join is a relation here.

use std::collections::HashSet;
use std::sync::Arc;

use datafusion::arrow::datatypes::DataType;
use datafusion::common::tree_node::TreeNode;
use datafusion::common::{
    Column, DFSchema, JoinConstraint, JoinType, NullEquality, Result, TableReference, internal_err,
};
use datafusion::logical_expr::utils::{can_hash, conjunction, merge_schema, split_conjunction};
use datafusion::logical_expr::{BinaryExpr, Expr, ExprSchemable, Filter, Join, LogicalPlan, Operator, Projection};

use super::order::{Order, Set, bit, members};
use crate::guard::is_total;

/// The most relations of a tree.
const MOST: usize = 32;

/// A column, or what is made of some, of one relation.
#[derive(Debug, Clone)]
pub(super) struct Side {
    pub(super) relation: usize,
    pub(super) expr: Expr,
}

/// A semi join whose keys are of one relation.
#[derive(Debug, Clone)]
pub(super) struct Semi {
    pub(super) relation: usize,
    pub(super) join: Join,
}

/// The order in which a tree was written.
#[derive(Debug, Clone)]
pub(super) enum Written {
    Relation(usize),
    Join(Box<Written>, Box<Written>),
    Semi(Box<Written>, usize),
}

/// A tree of joins.
#[derive(Debug, Default)]
pub(super) struct Tree {
    pub(super) relations: Vec<Arc<LogicalPlan>>,
    /// Expressions that are equal, at most one of each relation.
    pub(super) classes: Vec<Vec<Side>>,
    pub(super) conditions: Vec<(Set, Expr)>,
    pub(super) semis: Vec<Semi>,
}

/// Whether a node belongs to the tree of its inputs: to that of the left one alone if it is a semi join.
pub(super) fn is_part(plan: &LogicalPlan) -> bool {
    match plan {
        LogicalPlan::Join(join) => is_join(join),
        LogicalPlan::Projection(projection) => is_plain(projection) && is_part(&projection.input),
        LogicalPlan::Filter(filter) => moves(&filter.predicate, filter.input.schema()) && is_part(&filter.input),
        _ => false,
    }
}

/// Whether an expression may meet other rows than those for which it was written: it gives a value for each, and no query
/// hangs on it.
pub(super) fn moves(expr: &Expr, schema: &DFSchema) -> bool {
    is_total(expr, schema) && !expr.exists(|expr| Ok(asks(expr))).unwrap_or(true)
}

/// Whether an expression is a query of its own, or hangs on the row around it.
pub(in crate::session) fn asks(expr: &Expr) -> bool {
    let is_query = matches!(expr, Expr::ScalarSubquery(_) | Expr::InSubquery(_) | Expr::Exists(_));
    is_query || matches!(expr, Expr::SetComparison(_) | Expr::OuterReferenceColumn(..))
}

fn is_plain(projection: &Projection) -> bool {
    projection.expr.iter().all(|expr| matches!(expr, Expr::Column(_)))
}

fn is_join(join: &Join) -> bool {
    let (left, right) = (join.left.schema(), join.right.schema());
    if join.null_aware || join.null_equality != NullEquality::NullEqualsNothing {
        return false;
    }
    if !join.on.iter().all(|(one, other)| moves(one, left) && moves(other, right)) {
        return false;
    }
    match join.join_type {
        JoinType::Inner => join.filter.as_ref().is_none_or(|filter| moves(filter, &join.schema)),
        JoinType::LeftSemi => {
            is_part(&join.left)
                && !join.on.is_empty()
                && of_one_name(join)
                && join.filter.as_ref().is_none_or(|filter| moves(filter, &merge_schema(&[&join.left, &join.right])))
        }
        _ => false,
    }
}

/// What a semi join compares of its left side.
fn compared(join: &Join) -> impl Iterator<Item = &Column> {
    let keys = join.on.iter().flat_map(|(left, _)| left.column_refs());
    let left = join.left.schema();
    keys.chain(join.filter.iter().flat_map(Expr::column_refs)).filter(|column| left.has_column(column))
}

fn of_one_name(join: &Join) -> bool {
    let mut names = compared(join).map(|column| &column.relation);
    names.next().is_some_and(|first| first.is_some() && names.all(|name| name == first))
}

impl Tree {
    /// The tree that a join stands on top of. `None` where it cannot be told which column is whose.
    pub(super) fn of(plan: &LogicalPlan) -> Option<(Self, Written)> {
        let LogicalPlan::Join(_) = plan else { return None };
        let mut tree = Self::default();
        let written = tree.collect(&Arc::new(plan.clone()))?;
        (tree.relations.len() <= MOST && tree.is_distinct()).then_some((tree, written))
    }

    fn collect(&mut self, plan: &Arc<LogicalPlan>) -> Option<Written> {
        let first = self.relations.len();
        match plan.as_ref() {
            node if !is_part(node) => {
                self.relations.push(Arc::clone(plan));
                (self.relations.len() <= MOST).then_some(Written::Relation(first))
            }
            LogicalPlan::Projection(projection) => self.collect(&projection.input),
            LogicalPlan::Filter(filter) => {
                let inner = self.collect(&filter.input)?;
                self.conditions(&filter.predicate, first)?;
                Some(inner)
            }
            LogicalPlan::Join(join) => {
                let left = Box::new(self.collect(&join.left)?);
                if join.join_type == JoinType::LeftSemi {
                    let over = compared(join).map(|column| self.owner(column, first)).collect::<Option<Vec<_>>>()?;
                    let (relation, others) = over.split_first()?;
                    if others.iter().any(|other| other != relation) {
                        return None;
                    }
                    self.semis.push(Semi { relation: *relation, join: join.clone() });
                    return Some(Written::Semi(left, self.semis.len() - 1));
                }
                let right = Box::new(self.collect(&join.right)?);
                for (one, other) in &join.on {
                    self.equal(one, other, first)?;
                }
                if let Some(filter) = &join.filter {
                    self.conditions(filter, first)?;
                }
                Some(Written::Join(left, right))
            }
            _ => None,
        }
    }

    /// The one relation, of those from `first` on, that has a column.
    fn owner(&self, column: &Column, first: usize) -> Option<usize> {
        let mut owners = self.relations.iter().enumerate().skip(first);
        let mut owners = owners.by_ref().filter(|(_, relation)| relation.schema().has_column(column));
        let (owner, _) = owners.next()?;
        owners.next().is_none().then_some(owner)
    }

    fn over(&self, expr: &Expr, first: usize) -> Option<Set> {
        expr.column_refs().into_iter().try_fold(0, |over, column| Some(over | bit(self.owner(column, first)?)))
    }

    fn conditions(&mut self, predicate: &Expr, first: usize) -> Option<()> {
        for part in split_conjunction(predicate) {
            match part {
                Expr::BinaryExpr(BinaryExpr { left, op: Operator::Eq, right }) => self.equal(left, right, first)?,
                _ => {
                    let over = self.over(part, first)?;
                    self.conditions.push((over, part.clone()));
                }
            }
        }
        Some(())
    }

    /// Notes that two expressions are equal: as a class where each is of one relation, else as a condition.
    fn equal(&mut self, one: &Expr, other: &Expr, first: usize) -> Option<()> {
        let (left, right) = (self.over(one, first)?, self.over(other, first)?);
        let sides = self.side(one, left).zip(self.side(other, right));
        let joined = sides.is_some_and(|(one, other)| self.join_classes(one, other));
        if !joined {
            let equality = one.clone().eq(other.clone());
            self.conditions.push((left | right, equality));
        }
        Some(())
    }

    fn side(&self, expr: &Expr, over: Set) -> Option<Side> {
        (over.count_ones() == 1).then(|| Side { relation: over.trailing_zeros() as usize, expr: expr.clone() })
    }

    fn kind(&self, side: &Side) -> Option<DataType> {
        side.expr.get_type(self.relations.get(side.relation)?.schema()).ok()
    }

    /// Whether the classes of two expressions are one now. They are not where that would have two of one relation.
    fn join_classes(&mut self, one: Side, other: Side) -> bool {
        match (self.kind(&one), self.kind(&other)) {
            (Some(kind), Some(same)) if kind == same && can_hash(&kind) => {}
            _ => return false,
        }
        let place =
            |side: &Side| self.classes.iter().position(|class| class.iter().any(|known| known.expr == side.expr));
        let (here, there) = (place(&one), place(&other));
        if here.is_some() && here == there {
            return true;
        }
        let members = |place: Option<usize>, alone: Side| {
            place.and_then(|place| self.classes.get(place).cloned()).unwrap_or_else(|| vec![alone])
        };
        let mut all = members(here, one);
        all.extend(members(there, other));
        let relations: HashSet<usize> = all.iter().map(|side| side.relation).collect();
        if relations.len() < all.len() {
            return false;
        }
        let mut place = 0;
        self.classes.retain(|_| {
            place += 1;
            Some(place - 1) != here && Some(place - 1) != there
        });
        self.classes.push(all);
        true
    }

    /// Whether no two relations have a column of the same name.
    fn is_distinct(&self) -> bool {
        let mut names: Vec<(usize, Option<&TableReference>)> = Vec::new();
        for (place, relation) in self.relations.iter().enumerate() {
            let mut own: Vec<_> = relation.schema().iter().map(|(name, _)| (place, name)).collect();
            own.dedup();
            names.extend(own);
        }
        let is_others = |(place, name): &(usize, Option<&TableReference>)| {
            names.iter().any(|(other, known)| other != place && known == name)
        };
        let repeated = names.iter().any(is_others);
        if !repeated {
            return true;
        }
        let mut columns = HashSet::new();
        self.relations
            .iter()
            .flat_map(|relation| relation.schema().iter())
            .all(|(name, field)| columns.insert((name, field.name())))
    }

    /// The plan of an order: semi joins on their relations, but for those on top. Its columns are those of `schema`.
    pub(super) fn plan(self, order: &Order, on_top: &[usize], schema: &Arc<DFSchema>) -> Result<LogicalPlan> {
        let (_, mut plan) = self.ordered(order, on_top)?;
        for place in on_top {
            if let Some(semi) = self.semis.get(*place) {
                plan = over(plan, &semi.join)?;
            }
        }
        let constant = self.conditions.iter().filter(|(over, _)| *over == 0).map(|(_, expr)| expr.clone());
        if let Some(constant) = conjunction(constant) {
            plan = Arc::new(LogicalPlan::Filter(Filter::try_new(constant, plan)?));
        }
        if plan.schema() == schema {
            return Ok(Arc::unwrap_or_clone(plan));
        }
        Ok(LogicalPlan::Projection(Projection::new_from_schema(plan, Arc::clone(schema))))
    }

    fn ordered(&self, order: &Order, on_top: &[usize]) -> Result<(Set, Arc<LogicalPlan>)> {
        match order {
            Order::Relation(relation) => {
                let Some(plan) = self.relations.get(*relation) else {
                    return internal_err!("an order has a relation that its tree has not");
                };
                let set = bit(*relation);
                let own = self.conditions.iter().filter(|(over, _)| *over == set).map(|(_, expr)| expr.clone());
                let mut plan = Arc::clone(plan);
                if let Some(own) = conjunction(own) {
                    plan = Arc::new(LogicalPlan::Filter(Filter::try_new(own, plan)?));
                }
                let semis = self.semis.iter().enumerate().filter(|(place, _)| !on_top.contains(place));
                for (_, semi) in semis.filter(|(_, semi)| semi.relation == *relation) {
                    plan = over(plan, &semi.join)?;
                }
                Ok((set, plan))
            }
            Order::Join(one, other) => {
                let (left, one) = self.ordered(one, on_top)?;
                let (right, other) = self.ordered(other, on_top)?;
                let side = |class: &[Side], set: Set| {
                    members(set).find_map(|relation| class.iter().find(|side| side.relation == relation).cloned())
                };
                let pair = |class: &Vec<Side>| Some((side(class, left)?.expr, side(class, right)?.expr));
                let on = self.classes.iter().filter_map(pair).collect();
                let set = left | right;
                let is_first_here = |over: Set| over & !set == 0 && over & !left != 0 && over & !right != 0;
                let here =
                    self.conditions.iter().filter(|(over, _)| is_first_here(*over)).map(|(_, expr)| expr.clone());
                let join = Join::try_new(
                    one,
                    other,
                    on,
                    conjunction(here),
                    JoinType::Inner,
                    JoinConstraint::On,
                    NullEquality::NullEqualsNothing,
                    false,
                )?;
                Ok((set, Arc::new(LogicalPlan::Join(join))))
            }
        }
    }
}

/// A semi join over another plan with the columns that it compares.
fn over(plan: Arc<LogicalPlan>, semi: &Join) -> Result<Arc<LogicalPlan>> {
    let join = Join::try_new(
        plan,
        Arc::clone(&semi.right),
        semi.on.clone(),
        semi.filter.clone(),
        JoinType::LeftSemi,
        semi.join_constraint,
        semi.null_equality,
        false,
    )?;
    Ok(Arc::new(LogicalPlan::Join(join)))
}
