//! In a view no value is read as one of another kind: how that is done differs from dialect to dialect.
//!
//! `'9' < 10` compares numbers in Spark and texts here; the day of a moment depends on the session's time zone; a fraction
//! that becomes a whole number is cut off or rounded; `-0.0` is 0 in some, and `NaN` is itself.

use datafusion::arrow::datatypes::DataType;
use datafusion::common::tree_node::{TreeNode, TreeNodeRecursion};
use datafusion::common::{DFSchema, Result as DfResult};
use datafusion::logical_expr::expr::{Cast, InList, InSubquery};
use datafusion::logical_expr::{Between, BinaryExpr, Expr, ExprSchemable, LogicalPlan, Operator};

use super::Manner;
use crate::error::{Class, Error};

/// Looks through a plan before anything in it is cast. A column in a subquery that is one of the query around it may have been
/// meant as one of its own table that no contract has, where `bare` says that it does not tell.
pub(in crate::session) fn check(plan: &LogicalPlan, manner: Manner, bare: bool) -> Result<(), Error> {
    if manner == Manner::Own {
        return Ok(());
    }
    let (mut mixed, mut outer) = (false, false);
    let walked = plan.apply_with_subqueries(|node| {
        let mut schema = DFSchema::empty();
        for input in node.inputs() {
            schema.merge(input.schema());
        }
        mixed |= node_mixes(node, &schema)?;
        node.apply_expressions(|expr| {
            expr.apply(|expr| {
                outer |= matches!(expr, Expr::OuterReferenceColumn(..));
                mixed |= mixes(expr, &schema)? || works_on_floats(expr, &schema)?;
                Ok(TreeNodeRecursion::Continue)
            })
        })
    });
    let said = match (walked, mixed, outer && bare) {
        (Ok(_), false, false) => return Ok(()),
        (Ok(_), false, true) => "the view has a subquery whose columns do not say which table they are from",
        (Ok(_), true, _) => {
            "the view reads texts, moments, decimals or floating numbers in a way that may mean something else here"
        }
        (Err(_), ..) => "it is not known what the view compares",
    };
    Err(Error::new(Class::BadRequest, said))
}

/// Whether a node puts together or tells apart what differs from dialect to dialect: `-0.0` and `NaN` most of all.
fn node_mixes(node: &LogicalPlan, schema: &DFSchema) -> DfResult<bool> {
    let float = |expr: &Expr| expr.get_type(schema).map(|kind| kind.is_floating());
    let any = |exprs: &mut dyn Iterator<Item = &Expr>| -> DfResult<bool> {
        for expr in exprs {
            if float(expr)? {
                return Ok(true);
            }
        }
        Ok(false)
    };
    Ok(match node {
        LogicalPlan::Join(join) => {
            for (left, right) in &join.on {
                if Family::of(left, schema)?.meets(Family::of(right, schema)?) || float(left)? || float(right)? {
                    return Ok(true);
                }
            }
            false
        }
        LogicalPlan::Aggregate(aggregate) => any(&mut aggregate.group_expr.iter())?,
        LogicalPlan::Sort(sort) => any(&mut sort.expr.iter().map(|by| &by.expr))?,
        LogicalPlan::Distinct(distinct) => {
            distinct.input().schema().fields().iter().any(|field| field.data_type().is_floating())
        }
        LogicalPlan::Union(union) => {
            let mut inputs = union.inputs.iter().map(|input| {
                input.schema().fields().iter().map(|field| Family::of_type(field.data_type())).collect::<Vec<_>>()
            });
            let first = inputs.next().unwrap_or_default();
            inputs.any(|other| first.iter().zip(&other).any(|(one, other)| one.meets(*other)))
        }
        _ => false,
    })
}

/// Whether an expression does more with floating numbers than to show, count or add them up, or divides what is no whole
/// number.
fn works_on_floats(expr: &Expr, schema: &DFSchema) -> DfResult<bool> {
    let allowed = match expr {
        Expr::Column(_) | Expr::Alias(_) | Expr::IsNull(_) | Expr::IsNotNull(_) | Expr::Cast(_) => return Ok(false),
        Expr::AggregateFunction(function) => {
            let name = function.func.name();
            if name == "avg" {
                for arg in &function.params.args {
                    if arg.get_type(schema)?.is_decimal() {
                        return Ok(true);
                    }
                }
            }
            matches!(name, "avg" | "sum") || name == "count" && !function.params.distinct
        }
        Expr::BinaryExpr(BinaryExpr { left, op: Operator::Divide | Operator::Modulo, right }) => {
            return Ok(!(left.get_type(schema)?.is_integer() && right.get_type(schema)?.is_integer()));
        }
        _ => false,
    };
    let mut works = false;
    expr.apply_children(|child| {
        // What a subquery makes is looked at where it is made.
        works |= !allowed && child.get_type(schema)?.is_floating();
        Ok(TreeNodeRecursion::Continue)
    })?;
    Ok(works)
}

/// Kinds of values that are read as each other in many ways.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Family {
    Text,
    /// Moments, of which the day depends on where one is.
    Moment,
    Other,
    /// NULL goes with each.
    Nothing,
}

impl Family {
    fn of(expr: &Expr, schema: &DFSchema) -> DfResult<Self> {
        Ok(Self::of_type(&expr.get_type(schema)?))
    }

    fn of_type(kind: &DataType) -> Self {
        match kind {
            DataType::Null => Self::Nothing,
            DataType::Timestamp(_, Some(_)) => Self::Moment,
            kind if kind.is_string() => Self::Text,
            _ => Self::Other,
        }
    }

    fn meets(self, other: Self) -> bool {
        self != other && self != Self::Nothing && other != Self::Nothing
    }
}

/// Whether an expression reads a value of one family as one of another.
fn mixes(expr: &Expr, schema: &DFSchema) -> DfResult<bool> {
    let all = |met: &mut dyn Iterator<Item = &Expr>| -> DfResult<bool> {
        let families = met.map(|expr| Family::of(expr, schema)).collect::<DfResult<Vec<_>>>()?;
        let mut known = families.iter().filter(|family| **family != Family::Nothing);
        let first = known.next();
        Ok(known.any(|family| Some(family) != first))
    };
    match expr {
        Expr::BinaryExpr(BinaryExpr { op: Operator::And | Operator::Or, .. }) => Ok(false),
        Expr::BinaryExpr(BinaryExpr { left, right, .. }) => all(&mut [left.as_ref(), right.as_ref()].into_iter()),
        Expr::InList(InList { expr, list, .. }) => all(&mut list.iter().chain([expr.as_ref()])),
        Expr::Between(Between { expr, low, high, .. }) => all(&mut [expr, low, high].into_iter().map(AsRef::as_ref)),
        Expr::InSubquery(InSubquery { expr, subquery, .. }) => {
            let made = subquery.subquery.schema().fields().first();
            let made = made.map_or(Family::Nothing, |field| Family::of_type(field.data_type()));
            Ok(Family::of(expr, schema)?.meets(made))
        }
        Expr::Case(case) => {
            let (when, then): (Vec<_>, Vec<_>) =
                case.when_then_expr.iter().map(|(w, t)| (w.as_ref(), t.as_ref())).unzip();
            let compared = match &case.expr {
                Some(expr) => all(&mut when.into_iter().chain([expr.as_ref()]))?,
                None => false,
            };
            Ok(compared || all(&mut then.into_iter().chain(case.else_expr.as_deref()))?)
        }
        Expr::ScalarFunction(function) => match function.name() {
            "coalesce" | "nullif" => all(&mut function.args.iter()),
            "date_part" => {
                let families = function.args.iter().skip(1).map(|expr| Family::of(expr, schema));
                Ok(families.collect::<DfResult<Vec<_>>>()?.iter().any(|family| *family != Family::Other))
            }
            _ => Ok(false),
        },
        // `DATE '2026-01-31'` is planned as one, and `0.5` is made one.
        Expr::Cast(Cast { expr, field }) if matches!(expr.as_ref(), Expr::Literal(..)) => {
            Ok(!matches!(field.data_type(), DataType::Date32 | DataType::Decimal128(..)))
        }
        Expr::Cast(Cast { expr, field }) => {
            let kind = expr.get_type(schema)?;
            let loses = field.data_type().is_integer() && !kind.is_integer();
            let loses = loses || field.data_type().is_decimal() || kind.is_floating();
            Ok(loses || Family::of_type(&kind).meets(Family::of_type(field.data_type())))
        }
        _ => Ok(false),
    }
}
