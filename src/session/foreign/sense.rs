//! What means the same in the SQL of a view and in ours; all else is refused.
//!
//! Left out on purpose, each with what it means elsewhere:
//!
//! - `5 / 2` is 2.5 in Spark and 2 here and in Trino, `%` follows it;
//! - `concat('a', NULL)` is NULL elsewhere and `a` here, where `||` is NULL everywhere;
//! - `greatest`, `substr`, `round`, `date_trunc` and their like differ at their edges: NULL, below 1, halves, time zones.
//!
//! Where rows are ordered, NULLs come where the maker of the view has them.

use std::ops::ControlFlow;

use datafusion::sql::sqlparser::ast::{
    BinaryOperator, CastKind, CeilFloorKind, DataType, DateTimeField, Expr, Function, FunctionArguments, OrderByExpr,
    OrderByKind, Query, Select, SelectItem, SetExpr, TableFactor, TypedString, UnaryOperator, Value, VisitMut,
    VisitorMut, WindowType,
};

use super::Manner;
use crate::error::{Class, Error};

/// Functions that mean the same.
const SAME: [&str; 22] = [
    "abs",
    "avg",
    "ceil",
    "coalesce",
    "count",
    "dense_rank",
    "first_value",
    "floor",
    "lag",
    "last_value",
    "lead",
    "lower",
    "max",
    "min",
    "ntile",
    "nullif",
    "rank",
    "row_number",
    "sum",
    "trim",
    "upper",
    "percent_rank",
];

/// Refuses what means something else, and writes down what is only meant.
pub(super) fn check(query: &mut Query, manner: Manner) -> Result<(), Error> {
    if manner == Manner::Own {
        return Ok(());
    }
    match VisitMut::visit(query, &mut Sense(manner)) {
        ControlFlow::Continue(()) => Ok(()),
        ControlFlow::Break(what) => {
            Err(Error::new(Class::BadRequest, format!("the view uses {what}, which may mean something else here")))
        }
    }
}

/// Whether what a query makes depends on which columns there are.
pub(super) fn has_star(query: &Query) -> bool {
    fn of(body: &SetExpr) -> bool {
        match body {
            SetExpr::Select(select) => select
                .projection
                .iter()
                .any(|item| !matches!(item, SelectItem::UnnamedExpr(_) | SelectItem::ExprWithAlias { .. })),
            SetExpr::Query(query) => of(&query.body),
            SetExpr::SetOperation { left, .. } => of(left),
            _ => true,
        }
    }
    of(&query.body)
}

struct Sense(Manner);

impl Sense {
    fn order(&self, by: &mut [OrderByExpr]) {
        for OrderByExpr { options, .. } in by {
            let ascends = options.asc.unwrap_or(true);
            options.nulls_first.get_or_insert(self.0 == Manner::Spark && ascends);
        }
    }

    fn function(&self, function: &mut Function) -> ControlFlow<String> {
        let name = function.name.to_string().to_lowercase();
        if !SAME.contains(&name.as_str()) {
            return ControlFlow::Break(format!("the function `{name}`"));
        }
        let plain = match &mut function.args {
            FunctionArguments::List(list) => list.clauses.is_empty() && !(name == "trim" && list.args.len() > 1),
            _ => false,
        };
        if !plain || !function.within_group.is_empty() || function.null_treatment.is_some() {
            return ControlFlow::Break(format!("this form of `{name}`"));
        }
        // The first of rows that nobody ordered.
        let is_of_order = matches!(name.as_str(), "first_value" | "last_value" | "lag" | "lead" | "ntile");
        match &mut function.over {
            None if is_of_order => return ControlFlow::Break(format!("`{name}` of rows without an order")),
            Some(WindowType::WindowSpec(spec)) => self.order(&mut spec.order_by),
            Some(WindowType::NamedWindow(_)) => return ControlFlow::Break("a named window".to_owned()),
            None => {}
        }
        ControlFlow::Continue(())
    }
}

impl VisitorMut for Sense {
    type Break = String;

    fn pre_visit_query(&mut self, query: &mut Query) -> ControlFlow<String> {
        if let Some(order) = &mut query.order_by {
            match &mut order.kind {
                OrderByKind::Expressions(by) => self.order(by),
                OrderByKind::All(_) => return ControlFlow::Break("ORDER BY ALL".to_owned()),
            }
        }
        if query.with.as_ref().is_some_and(|with| with.recursive) {
            return ControlFlow::Break("WITH RECURSIVE".to_owned());
        }
        ControlFlow::Continue(())
    }

    fn pre_visit_select(&mut self, select: &mut Select) -> ControlFlow<String> {
        self.order(&mut select.sort_by);
        ControlFlow::Continue(())
    }

    fn pre_visit_table_factor(&mut self, table: &mut TableFactor) -> ControlFlow<String> {
        let what = match table {
            TableFactor::Table { args: None, version: None, .. } | TableFactor::NestedJoin { .. } => None,
            TableFactor::Derived { lateral: false, .. } => None,
            TableFactor::Table { version: Some(_), .. } => Some("the version of a table"),
            _ => Some("a table that is made by a function or row by row"),
        };
        what.map_or(ControlFlow::Continue(()), |what| ControlFlow::Break(what.to_owned()))
    }

    fn pre_visit_expr(&mut self, expr: &mut Expr) -> ControlFlow<String> {
        let is_same = match expr {
            Expr::Identifier(_)
            | Expr::CompoundIdentifier(_)
            | Expr::IsFalse(_)
            | Expr::IsNotFalse(_)
            | Expr::IsTrue(_)
            | Expr::IsNotTrue(_)
            | Expr::IsNull(_)
            | Expr::IsNotNull(_)
            | Expr::IsDistinctFrom(..)
            | Expr::IsNotDistinctFrom(..)
            | Expr::InList { .. }
            | Expr::InSubquery { .. }
            | Expr::Between { .. }
            | Expr::Nested(_)
            | Expr::Case { .. }
            | Expr::Exists { .. }
            | Expr::Subquery(_)
            // Tuples are there in GROUPING SETS alone; elsewhere the planner has none.
            | Expr::GroupingSets(_)
            | Expr::Cube(_)
            | Expr::Rollup(_) => true,
            Expr::Value(value) => match &value.value {
                Value::Number(..) | Value::SingleQuotedString(_) | Value::Boolean(_) | Value::Null => true,
                other => return ControlFlow::Break(format!("`{other}`")),
            },
            // What escapes in a pattern is another sign in each.
            Expr::Like { any: false, pattern, escape_char: None, .. } => match pattern.as_ref() {
                Expr::Value(value) => {
                    matches!(&value.value, Value::SingleQuotedString(pattern) if !pattern.contains('\\'))
                }
                _ => false,
            },
            Expr::BinaryOp { op, .. } => match op {
                BinaryOperator::Plus
                | BinaryOperator::Minus
                | BinaryOperator::Multiply
                | BinaryOperator::Gt
                | BinaryOperator::Lt
                | BinaryOperator::GtEq
                | BinaryOperator::LtEq
                | BinaryOperator::Eq
                | BinaryOperator::NotEq
                | BinaryOperator::And
                | BinaryOperator::Or
                | BinaryOperator::StringConcat => true,
                BinaryOperator::Divide | BinaryOperator::Modulo if self.0 == Manner::Trino => true,
                other => return ControlFlow::Break(format!("`{other}`")),
            },
            Expr::UnaryOp { op, .. } => {
                matches!(op, UnaryOperator::Not | UnaryOperator::Plus | UnaryOperator::Minus)
            }
            // A cast that fails is an error here, never a NULL, and one to fewer digits rounds in other ways.
            Expr::Cast { kind: CastKind::Cast, data_type, format: None, .. } => matches!(
                data_type,
                DataType::BigInt(None) | DataType::Double(_) | DataType::DoublePrecision | DataType::Date
            ),
            Expr::Extract { field, .. } => matches!(
                field,
                DateTimeField::Year | DateTimeField::Quarter | DateTimeField::Month | DateTimeField::Day
            ),
            Expr::Ceil { field, .. } | Expr::Floor { field, .. } => {
                matches!(field, CeilFloorKind::DateTimeField(DateTimeField::NoDateTime))
            }
            Expr::Trim { trim_what: None, trim_characters: None, .. } => true,
            Expr::TypedString(TypedString { data_type: DataType::Date, .. }) => true,
            Expr::Function(function) => return self.function(function),
            _ => false,
        };
        match is_same {
            true => ControlFlow::Continue(()),
            false => ControlFlow::Break(format!("`{expr}`")),
        }
    }
}
