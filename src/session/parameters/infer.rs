//! The types of parameters, from where they stand.
//!
//! DataFusion infers those that stand beside something else: `a > $1`, `a IN ($1)`, `a LIKE $1`. Here are the places that
//! it leaves open: the other side of these, the branches of CASE, what is cast, arguments of functions, LIMIT and OFFSET.

use std::sync::Arc;

use datafusion::arrow::datatypes::{DataType, Field, FieldRef};
use datafusion::common::tree_node::{TreeNode, TreeNodeRecursion};
use datafusion::common::{DFSchema, Result as DfResult};
use datafusion::logical_expr::expr::Placeholder;
use datafusion::logical_expr::type_coercion::binary::comparison_coercion;
use datafusion::logical_expr::type_coercion::functions::fields_with_udf;
use datafusion::logical_expr::utils::merge_schema;
use datafusion::logical_expr::{BinaryExpr, Case, Expr, ExprSchemable, LogicalPlan, Operator};

use super::{Unbound, typed};
use crate::error::{Class, Error};

/// What is found of each parameter: its type, where something tells it.
struct Found<'a> {
    names: &'a [String],
    types: Vec<Option<DataType>>,
    refused: Option<Error>,
}

/// The types of the parameters of a plan, in their order. What is known of one may tell another: `a > $1 OR a > $1 + $2`.
pub(super) fn types(plan: &LogicalPlan, names: &[String]) -> Result<Vec<Option<DataType>>, Unbound> {
    let mut known = told(plan, names)?;
    while known.iter().any(Option::is_none) && known.iter().any(Option::is_some) {
        let more = told(&typed(plan.clone(), &known)?, names)?;
        if more == known {
            break;
        }
        known = more;
    }
    Ok(known)
}

fn told(plan: &LogicalPlan, names: &[String]) -> Result<Vec<Option<DataType>>, Unbound> {
    let mut found = Found { names, types: vec![None; names.len()], refused: None };
    plan.apply_with_subqueries(|node| {
        match node {
            LogicalPlan::Limit(limit) => {
                let counts = [&limit.skip, &limit.fetch].into_iter().flatten();
                counts.for_each(|count| found.see(count, Some(DataType::Int64)));
            }
            LogicalPlan::Filter(filter) => found.truths([&filter.predicate]),
            _ => {}
        }
        let inputs = merge_schema(&node.inputs());
        let schema = match node {
            // It has no input that its expressions could name.
            LogicalPlan::TableScan(scan) => scan.projected_schema.as_ref(),
            _ => &inputs,
        };
        node.apply_expressions(|expr| {
            expr.apply(|expr| {
                found.look(expr, schema);
                Ok(TreeNodeRecursion::Continue)
            })
        })
    })?;
    match found.refused {
        None => Ok(found.types),
        Some(error) => Err(error.into()),
    }
}

/// The place of a parameter among all, from 0.
pub(super) fn place(id: &str) -> Option<usize> {
    id.strip_prefix('$')?.parse::<usize>().ok()?.checked_sub(1)
}

impl Found<'_> {
    fn look(&mut self, expr: &Expr, schema: &DFSchema) {
        match expr {
            Expr::Placeholder(Placeholder { field, .. }) => {
                self.see(expr, field.as_ref().map(|field| field.data_type().clone()));
            }
            Expr::BinaryExpr(BinaryExpr { left, op: Operator::And | Operator::Or, right }) => {
                self.truths([&**left, &**right]);
            }
            Expr::BinaryExpr(BinaryExpr { left, op: _, right }) => self.alike([&**left, &**right], schema),
            Expr::Not(inner)
            | Expr::IsTrue(inner)
            | Expr::IsNotTrue(inner)
            | Expr::IsFalse(inner)
            | Expr::IsNotFalse(inner)
            | Expr::IsUnknown(inner)
            | Expr::IsNotUnknown(inner) => self.truths([&**inner]),
            Expr::Cast(cast) => self.see(&cast.expr, Some(cast.field.data_type().clone())),
            Expr::TryCast(cast) => self.see(&cast.expr, Some(cast.field.data_type().clone())),
            Expr::Between(between) => self.alike([&*between.expr, &*between.low, &*between.high], schema),
            Expr::InList(list) => self.alike(std::iter::once(&*list.expr).chain(&list.list), schema),
            Expr::Like(like) | Expr::SimilarTo(like) => self.alike([&*like.expr, &*like.pattern], schema),
            Expr::InSubquery(within) => {
                let kind = within.subquery.subquery.schema().fields().first().map(|field| field.data_type().clone());
                self.see(&within.expr, kind);
            }
            Expr::Case(Case { expr, when_then_expr, else_expr }) => {
                let values = when_then_expr.iter().map(|(_, then)| &**then).chain(else_expr.as_deref());
                self.alike(values, schema);
                match expr {
                    Some(expr) => {
                        let tested = when_then_expr.iter().map(|(when, _)| &**when);
                        self.alike(std::iter::once(&**expr).chain(tested), schema);
                    }
                    None => self.truths(when_then_expr.iter().map(|(when, _)| &**when)),
                }
            }
            Expr::ScalarFunction(call) => {
                let fields: Vec<Option<FieldRef>> = call.args.iter().map(|arg| field_of(arg, schema)).collect();
                if fields.iter().all(Option::is_some) {
                    return;
                }
                let open = || Arc::new(Field::new("", DataType::Null, true));
                let fields: Vec<FieldRef> = fields.into_iter().map(|field| field.unwrap_or_else(open)).collect();
                let Ok(coerced) = fields_with_udf(&fields, call.func.as_ref()) else { return };
                for (arg, field) in call.args.iter().zip(coerced) {
                    self.see(arg, Some(field.data_type().clone()));
                }
            }
            _ => {}
        }
    }

    /// Conditions.
    fn truths<'e>(&mut self, exprs: impl IntoIterator<Item = &'e Expr>) {
        exprs.into_iter().for_each(|expr| self.see(expr, Some(DataType::Boolean)));
    }

    /// Values of which each has the type of the others.
    fn alike<'e>(&mut self, exprs: impl IntoIterator<Item = &'e Expr> + Clone, schema: &DFSchema) {
        let known = exprs.clone().into_iter().find_map(|expr| field_of(expr, schema));
        let kind = known.map(|field| field.data_type().clone());
        exprs.into_iter().for_each(|expr| self.see(expr, kind.clone()));
    }

    /// Takes note of a type for what is a parameter.
    fn see(&mut self, expr: &Expr, kind: Option<DataType>) {
        let (Expr::Placeholder(Placeholder { id, .. }), Some(kind)) = (expr, kind) else { return };
        if kind == DataType::Null {
            return;
        }
        let Some(place) = place(id) else { return };
        let Some(known) = self.types.get_mut(place) else { return };
        match known {
            None => *known = Some(kind),
            Some(before) => match comparison_coercion(before, &kind) {
                Some(both) => *before = both,
                None => {
                    let name = self.names.get(place).map_or(id.as_str(), String::as_str);
                    let error = format!("the parameter `{name}` stands for `{before}` and for `{kind}`");
                    self.refused = Some(Error::new(Class::BadRequest, error).help("cast it where it stands"));
                }
            },
        }
    }
}

/// The type of an expression, where it is known.
fn field_of(expr: &Expr, schema: &DFSchema) -> Option<FieldRef> {
    let field: DfResult<_> = expr.to_field(schema);
    field.ok().map(|(_, field)| field).filter(|field| *field.data_type() != DataType::Null)
}
