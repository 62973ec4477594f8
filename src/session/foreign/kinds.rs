//! In a view no value is read as one of another kind: how that is done differs from dialect to dialect.
//!
//! `'9' < 10` compares numbers in Spark and texts here; the day of a moment depends on the session's time zone; a fraction
//! that becomes a whole number is cut off or rounded.

use datafusion::arrow::datatypes::DataType;
use datafusion::common::tree_node::{TreeNode, TreeNodeRecursion};
use datafusion::common::{DFSchema, Result as DfResult};
use datafusion::logical_expr::expr::{Cast, InList, InSubquery};
use datafusion::logical_expr::{Between, BinaryExpr, Expr, ExprSchemable, LogicalPlan, Operator};

use super::Manner;
use crate::error::{Class, Error};

/// Looks through a plan before anything in it is cast.
pub(in crate::session) fn check(plan: &LogicalPlan, manner: Manner) -> Result<(), Error> {
    if manner == Manner::Own {
        return Ok(());
    }
    let mut mixed = false;
    let walked = plan.apply_with_subqueries(|node| {
        let mut schema = DFSchema::empty();
        for input in node.inputs() {
            schema.merge(input.schema());
        }
        if let LogicalPlan::Join(join) = node {
            for (left, right) in &join.on {
                mixed |= Family::of(left, &schema)?.meets(Family::of(right, &schema)?);
            }
        }
        node.apply_expressions(|expr| {
            expr.apply(|expr| {
                mixed |= mixes(expr, &schema)?;
                Ok(TreeNodeRecursion::Continue)
            })
        })
    });
    match (walked, mixed) {
        (Ok(_), false) => Ok(()),
        (Ok(_), true) => {
            let what =
                "the view reads texts, moments or fractions as something else, which may mean something else here";
            Err(Error::new(Class::BadRequest, what))
        }
        (Err(_), _) => Err(Error::new(Class::BadRequest, "it is not known what the view compares")),
    }
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
        // `DATE '2026-01-31'` is planned as one.
        Expr::Cast(Cast { expr, field }) if matches!(expr.as_ref(), Expr::Literal(..)) => {
            Ok(*field.data_type() != DataType::Date32)
        }
        Expr::Cast(Cast { expr, field }) => {
            let kind = expr.get_type(schema)?;
            let loses = field.data_type().is_integer() && !kind.is_integer();
            Ok(loses || Family::of_type(&kind).meets(Family::of_type(field.data_type())))
        }
        _ => Ok(false),
    }
}
