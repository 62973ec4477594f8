//! What reaches the value of an expression.

use datafusion::functions::core::coalesce::CoalesceFunc;
use datafusion::functions::core::getfield::GetFieldFunc;
use datafusion::logical_expr::expr::{AggregateFunctionParams, ScalarFunction, WindowFunctionParams};
use datafusion::logical_expr::{Case, Expr, GroupingSet, LogicalPlan, Operator};
use datafusion::scalar::ScalarValue;

use super::walk::{Walk, by_way_of, unknown};
use super::{Output, Reach, Scope, Sources, Unknown, Via};
use crate::guard::mask::KeyedHash;

impl Walk {
    pub(super) fn expr(&mut self, expr: &Expr, scope: &Scope<'_>) -> Result<Reach, Unknown> {
        match expr {
            Expr::Column(column) => scope.find(column).ok_or_else(|| unknown(column)),
            Expr::OuterReferenceColumn(_, column) => {
                let around = std::iter::successors(scope.outer, |scope| scope.outer);
                let mut found = around.filter_map(|scope| scope.find(column));
                let mut reach = found.next().ok_or_else(|| unknown(column))?;
                // A name may mean a column of each of several plans around, and then it is all of them.
                for other in found {
                    reach = Reach::of(reach.from.union(&other.from).copied().collect());
                }
                Ok(reach)
            }
            Expr::Alias(alias) => self.expr(&alias.expr, scope),
            // The elements of a list have the address of the list.
            Expr::Unnest(unnest) => self.expr(&unnest.expr, scope),
            Expr::Literal(..) | Expr::Placeholder(_) | Expr::LambdaVariable(_) => Ok(Reach::default()),
            Expr::Not(inner)
            | Expr::IsNotNull(inner)
            | Expr::IsNull(inner)
            | Expr::IsTrue(inner)
            | Expr::IsFalse(inner)
            | Expr::IsUnknown(inner)
            | Expr::IsNotTrue(inner)
            | Expr::IsNotFalse(inner)
            | Expr::IsNotUnknown(inner)
            | Expr::Negative(inner) => self.mixed([inner.as_ref()], scope),
            Expr::Cast(cast) => self.mixed([cast.expr.as_ref()], scope),
            Expr::TryCast(cast) => self.mixed([cast.expr.as_ref()], scope),
            Expr::BinaryExpr(binary) if binary.op == Operator::Eq => {
                Ok(Reach::of(self.equal(&binary.left, &binary.right, scope)?))
            }
            Expr::BinaryExpr(binary) => self.mixed([binary.left.as_ref(), binary.right.as_ref()], scope),
            Expr::Like(like) | Expr::SimilarTo(like) => self.mixed([like.expr.as_ref(), like.pattern.as_ref()], scope),
            Expr::Between(between) => {
                self.mixed([between.expr.as_ref(), between.low.as_ref(), between.high.as_ref()], scope)
            }
            Expr::Case(Case { expr, when_then_expr, else_expr }) => {
                let branches = when_then_expr.iter().flat_map(|(when, then)| [when.as_ref(), then.as_ref()]);
                let rest = expr.iter().chain(else_expr).map(AsRef::as_ref);
                self.mixed(branches.chain(rest), scope)
            }
            Expr::InList(list) => self.mixed(std::iter::once(list.expr.as_ref()).chain(&list.list), scope),
            Expr::ScalarFunction(call) => self.call(call, scope),
            Expr::HigherOrderFunction(call) => self.mixed(&call.args, scope),
            Expr::Lambda(lambda) => self.mixed([lambda.body.as_ref()], scope),
            Expr::AggregateFunction(call) => {
                let AggregateFunctionParams { args, distinct: _, filter, order_by, null_treatment: _ } = &call.params;
                let around = std::mem::take(&mut self.chosen);
                let reach = self.aggregated(call.func.name(), args, filter.as_deref(), scope)?;
                let reach = self.deciding(reach, order_by.iter().map(|sort| &sort.expr), Via::Order, scope)?;
                Ok(self.of_rows(reach, around))
            }
            Expr::WindowFunction(call) => {
                let WindowFunctionParams {
                    args,
                    partition_by,
                    order_by,
                    // Its bounds are constants.
                    window_frame: _,
                    filter,
                    null_treatment: _,
                    distinct: _,
                } = &call.params;
                let around = std::mem::take(&mut self.chosen);
                let reach = self.aggregated(call.fun.name(), args, filter.as_deref(), scope)?;
                let window = partition_by.iter().chain(order_by.iter().map(|sort| &sort.expr));
                let reach = self.deciding(reach, window, Via::Window, scope)?;
                Ok(self.of_rows(reach, around))
            }
            Expr::GroupingSet(GroupingSet::Rollup(exprs) | GroupingSet::Cube(exprs)) => self.mixed(exprs, scope),
            Expr::GroupingSet(GroupingSet::GroupingSets(sets)) => self.mixed(sets.iter().flatten(), scope),
            // Whether there are rows, whatever is in them.
            Expr::Exists(exists) => Ok(Reach::of(self.beneath(&exists.subquery.subquery, scope)?.rows)),
            Expr::ScalarSubquery(subquery) => Ok(Reach::of(self.subquery(&subquery.subquery, scope)?)),
            Expr::InSubquery(within) => {
                let value = self.expr(&within.expr, scope)?;
                let found = self.beneath(&within.subquery.subquery, scope)?;
                if let [column] = found.columns.as_slice() {
                    self.equates(&value, column);
                }
                let untouched = found.columns.iter().all(Reach::is_untouched);
                let from: Sources = value.from.into_iter().chain(found.all()).collect();
                if !untouched {
                    self.counts(&from);
                }
                Ok(Reach::of(from))
            }
            Expr::SetComparison(comparison) => {
                let mut reach = self.mixed([comparison.expr.as_ref()], scope)?;
                reach.from.extend(self.subquery(&comparison.subquery.subquery, scope)?);
                Ok(reach)
            }
            Expr::ScalarVariable(..) => Err(unknown("a variable")),
            #[allow(deprecated, reason = "a plan must not have it any more, and one that has is refused")]
            Expr::Wildcard { .. } => Err(unknown("a wildcard")),
        }
    }

    /// What reaches a comparison for equality. Tuples are compared part by part.
    fn equal(&mut self, left: &Expr, right: &Expr, scope: &Scope<'_>) -> Result<Sources, Unknown> {
        if let (Some(left), Some(right)) = (parts(left), parts(right))
            && left.len() == right.len()
        {
            let mut from = Sources::new();
            for (left, right) in left.iter().zip(right) {
                from.extend(self.equal(left, right, scope)?);
            }
            return Ok(from);
        }
        let (left, right) = (self.expr(left, scope)?, self.expr(right, scope)?);
        self.equates(&left, &right);
        Ok(left.from.into_iter().chain(right.from).collect())
    }

    /// A value that is made from those of `exprs`.
    fn mixed<'e>(&mut self, exprs: impl IntoIterator<Item = &'e Expr>, scope: &Scope<'_>) -> Result<Reach, Unknown> {
        let mut from = Sources::new();
        for expr in exprs {
            from.extend(self.expr(expr, scope)?.from);
        }
        Ok(Reach::of(from))
    }

    /// What an aggregate or window function makes of its arguments, in the rows that `filter` leaves.
    fn aggregated(
        &mut self,
        function: &str,
        args: &[Expr],
        filter: Option<&Expr>,
        scope: &Scope<'_>,
    ) -> Result<Reach, Unknown> {
        let count = self.declassifies && function == "count";
        let (mut of_args, mut of_filter) = (Sources::new(), Sources::new());
        for arg in args {
            let from = self.expr(arg, scope)?.from;
            // Whether it is NULL decides whether a row is counted.
            if count {
                self.chooses(arg, &from, scope)?;
            }
            of_args.extend(from);
        }
        if let Some(filter) = filter {
            of_filter = self.expr(filter, scope)?.from;
            self.chooses(filter, &of_filter, scope)?;
            // As `CASE WHEN filter THEN argument END` says.
            if self.tells {
                of_args.extend(&of_filter);
            }
        }
        let mut reach = match count && self.least.is_none() {
            true => Reach::default(),
            false => Reach { count, ..Reach::of(of_args) },
        };
        reach.from.extend(by_way_of(Via::Predicate, of_filter));
        Ok(reach)
    }

    /// The same, where expressions decide which rows there are or in which order.
    fn deciding<'e>(
        &mut self,
        mut reach: Reach,
        exprs: impl IntoIterator<Item = &'e Expr>,
        via: Via,
        scope: &Scope<'_>,
    ) -> Result<Reach, Unknown> {
        for expr in exprs {
            let from = self.expr(expr, scope)?.from;
            self.chooses(expr, &from, scope)?;
            // A number of rows in the order of numbers that anybody has is such a number itself.
            if self.tells {
                reach.from.extend(from.iter().filter(|(id, _)| self.is_anybodys(*id)));
            }
            reach.from.extend(by_way_of(via, from));
        }
        Ok(reach)
    }

    /// What is made of the rows that its own expressions chose, beside those `around`.
    fn of_rows(&mut self, reach: Reach, around: Sources) -> Reach {
        let reach = reach.over(&self.chosen);
        self.chosen.extend(around);
        reach
    }

    /// What a subquery that is a part of an expression has. What it chooses its rows by, the rows around it are chosen by.
    fn beneath(&mut self, plan: &LogicalPlan, scope: &Scope<'_>) -> Result<Output, Unknown> {
        let around = std::mem::take(&mut self.chosen);
        let mut output = self.plan(plan, Some(scope))?;
        self.chosen = around;
        self.chosen.append(&mut output.chosen);
        Ok(output)
    }

    fn subquery(&mut self, plan: &LogicalPlan, scope: &Scope<'_>) -> Result<Sources, Unknown> {
        Ok(self.beneath(plan, scope)?.all())
    }

    /// A field of a struct has an address of its own, every other function mixes its arguments.
    fn call(&mut self, call: &ScalarFunction, scope: &Scope<'_>) -> Result<Reach, Unknown> {
        let function: &dyn std::any::Any = call.func.inner().as_ref();
        if let ([value, names @ ..], true) = (call.args.as_slice(), function.is::<GetFieldFunc>()) {
            let path: Option<Vec<&str>> = names.iter().map(text).collect();
            if let Some(path) = path {
                let value = self.expr(value, scope)?;
                return self.inside(&value, &path);
            }
        }
        if self.declassifies && function.is::<KeyedHash>() {
            return Ok(Reach::default());
        }
        if function.is::<CoalesceFunc>() {
            let mut reach = Reach::default();
            for arg in &call.args {
                let arg = self.expr(arg, scope)?;
                reach.one_of.extend(arg.ones());
                reach.from.extend(arg.from);
            }
            return Ok(reach);
        }
        self.mixed(&call.args, scope)
    }
}

/// The parts of a tuple.
fn parts(expr: &Expr) -> Option<&[Expr]> {
    match expr {
        Expr::ScalarFunction(call) if call.func.name() == "struct" => Some(&call.args),
        _ => None,
    }
}

fn text(expr: &Expr) -> Option<&str> {
    match expr {
        Expr::Literal(ScalarValue::Utf8(text) | ScalarValue::LargeUtf8(text) | ScalarValue::Utf8View(text), _) => {
            text.as_deref()
        }
        _ => None,
    }
}
