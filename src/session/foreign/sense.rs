//! What means the same in the SQL of a view and in ours; all else is refused.
//!
//! Left out on purpose, each with what it means elsewhere:
//!
//! - `5 / 2` is 2.5 in Spark and 2 here and in Trino, and `%` follows it;
//! - `concat('a', NULL)` is NULL elsewhere and `a` here, where `||` is NULL everywhere;
//! - `*` has the columns of a table, and here those of its contract, in its order: what they are together, or in which
//!   place each is, is known of names alone; so it is with `NATURAL`;
//! - `greatest`, `substr`, `round`, `trim` and their like differ at their edges: NULL, below 1, halves, tabs.
//!
//! What is only meant is written down: where NULLs are sorted to, that `0.1` is a decimal, that a rank is a `BIGINT`.

use std::ops::ControlFlow;

use datafusion::sql::sqlparser::ast::{
    BinaryOperator, CastKind, DataType, DateTimeField, Distinct, ExactNumberInfo, Expr, Function, FunctionArguments,
    GroupByExpr, JoinConstraint, JoinOperator, OrderByExpr, OrderByKind, Query, Select, SelectItem, SetExpr,
    SetOperator, SetQuantifier, TableFactor, TableWithJoins, TypedString, UnaryOperator, Value, VisitMut, VisitorMut,
    WindowType,
};

use super::Manner;
use crate::error::{Class, Error};

/// Functions that mean the same.
const SAME: [&str; 14] = [
    "abs",
    "avg",
    "coalesce",
    "count",
    "dense_rank",
    "first_value",
    "lag",
    "last_value",
    "lead",
    "max",
    "min",
    "nullif",
    "rank",
    "row_number",
];
/// The same where a sum has the type of what is summed up.
const SUM: &str = "sum";
/// Those of Spark, whose letters and spaces are ours; Trino's are others.
const OF_TEXTS: [&str; 3] = ["lower", "trim", "upper"];
/// What counts rows, and is a number without a sign here alone.
const RANKS: [&str; 3] = ["dense_rank", "rank", "row_number"];

/// Refuses what means something else, and writes down what is only meant. Says whether a query inside of another has a
/// column that does not say where it is from.
pub(super) fn check(query: &mut Query, manner: Manner) -> Result<bool, Error> {
    let mut sense = Sense { manner, depth: 0, stars: usize::from(may_have_star(query)), bare: false };
    if manner == Manner::Own {
        return Ok(false);
    }
    match VisitMut::visit(query, &mut sense) {
        ControlFlow::Continue(()) => Ok(sense.bare),
        ControlFlow::Break(what) => {
            Err(Error::new(Class::BadRequest, format!("the view uses {what}, which may mean something else here")))
        }
    }
}

/// Whether what a query makes depends on which columns there are.
pub(super) fn has_star(query: &Query) -> bool {
    match query.body.as_ref() {
        SetExpr::Select(select) => select.projection.iter().any(is_star),
        _ => false,
    }
}

fn is_star(item: &SelectItem) -> bool {
    !matches!(item, SelectItem::UnnamedExpr(_) | SelectItem::ExprWithAlias { .. })
}

/// Whether the columns of `*` are found by their names, whatever others there are and in which order.
fn may_have_star(query: &Query) -> bool {
    match query.body.as_ref() {
        SetExpr::Select(select) => select.distinct.is_none() && has_star(query),
        _ => false,
    }
}

struct Sense {
    manner: Manner,
    depth: usize,
    /// How many more queries may have a `*`.
    stars: usize,
    bare: bool,
}

fn no<T>(what: &str) -> ControlFlow<String, T> {
    ControlFlow::Break(what.to_owned())
}

impl Sense {
    fn order(&self, by: &mut [OrderByExpr]) -> ControlFlow<String> {
        for OrderByExpr { options, expr, .. } in by {
            // By a place, which a `*` would move.
            if matches!(expr, Expr::Value(_)) {
                return no("an order by places");
            }
            let ascends = options.asc.unwrap_or(true);
            options.nulls_first.get_or_insert(self.manner == Manner::Spark && ascends);
        }
        ControlFlow::Continue(())
    }

    fn function(&self, function: &mut Function) -> ControlFlow<String> {
        let name = function.name.to_string().to_lowercase();
        let of_texts = self.manner == Manner::Spark && OF_TEXTS.contains(&name.as_str());
        if !(SAME.contains(&name.as_str()) || name == SUM || of_texts) {
            return ControlFlow::Break(format!("the function `{name}`"));
        }
        let plain = match &function.args {
            FunctionArguments::List(list) => {
                list.clauses.is_empty() && (list.args.len() == 1 || !(name == "count" || of_texts))
            }
            _ => false,
        };
        if !plain || !function.within_group.is_empty() || function.null_treatment.is_some() {
            return ControlFlow::Break(format!("this form of `{name}`"));
        }
        match &mut function.over {
            // The first of rows that nobody ordered.
            None if matches!(name.as_str(), "first_value" | "last_value" | "lag" | "lead") => {
                ControlFlow::Break(format!("`{name}` of rows without an order"))
            }
            Some(WindowType::WindowSpec(spec)) => self.order(&mut spec.order_by),
            Some(WindowType::NamedWindow(_)) => no("a named window"),
            None => ControlFlow::Continue(()),
        }
    }

    fn set(&self, body: &SetExpr) -> ControlFlow<String> {
        match body {
            SetExpr::SetOperation { op, set_quantifier, left, right } => {
                let plain = matches!(set_quantifier, SetQuantifier::None | SetQuantifier::Distinct);
                if !(plain || *op == SetOperator::Union && *set_quantifier == SetQuantifier::All) {
                    return ControlFlow::Break(format!("`{op} {set_quantifier}`"));
                }
                self.set(left)?;
                self.set(right)
            }
            SetExpr::Select(_) => ControlFlow::Continue(()),
            SetExpr::Query(query) => self.set(&query.body),
            _ => no("VALUES"),
        }
    }

    fn joins(&self, from: &TableWithJoins) -> ControlFlow<String> {
        for join in &from.joins {
            let (constraint, keeps_right) = match &join.join_operator {
                JoinOperator::Join(constraint)
                | JoinOperator::Inner(constraint)
                | JoinOperator::Left(constraint)
                | JoinOperator::LeftOuter(constraint)
                | JoinOperator::CrossJoin(constraint) => (constraint, false),
                JoinOperator::Right(constraint)
                | JoinOperator::RightOuter(constraint)
                | JoinOperator::FullOuter(constraint) => (constraint, true),
                _ => return no("this kind of join"),
            };
            match constraint {
                JoinConstraint::Natural => return no("NATURAL JOIN"),
                JoinConstraint::Using(_) if keeps_right => return no("RIGHT or FULL JOIN with USING"),
                JoinConstraint::On(_) | JoinConstraint::Using(_) | JoinConstraint::None => {}
            }
        }
        ControlFlow::Continue(())
    }
}

impl VisitorMut for Sense {
    type Break = String;

    fn pre_visit_query(&mut self, query: &mut Query) -> ControlFlow<String> {
        self.depth += 1;
        if let Some(order) = &mut query.order_by {
            match &mut order.kind {
                OrderByKind::Expressions(by) => self.order(by)?,
                OrderByKind::All(_) => return no("ORDER BY ALL"),
            }
        }
        if query.with.as_ref().is_some_and(|with| with.recursive) {
            return no("WITH RECURSIVE");
        }
        self.set(&query.body)
    }

    fn post_visit_query(&mut self, _query: &mut Query) -> ControlFlow<String> {
        self.depth -= 1;
        ControlFlow::Continue(())
    }

    fn pre_visit_select(&mut self, select: &mut Select) -> ControlFlow<String> {
        if matches!(select.distinct, Some(Distinct::On(_))) {
            return no("DISTINCT ON");
        }
        if select.projection.iter().any(is_star) {
            if self.depth > 1 || self.stars == 0 {
                return no("`*` inside of a query, or of rows that are told apart");
            }
            self.stars = 0;
        }
        if !select.sort_by.is_empty() {
            return no("SORT BY");
        }
        if let GroupByExpr::Expressions(by, _) = &select.group_by
            && by.iter().any(|expr| matches!(expr, Expr::Value(_)))
            && select.projection.iter().any(is_star)
        {
            return no("groups by places");
        }
        select.from.iter().try_for_each(|from| self.joins(from))
    }

    fn pre_visit_table_factor(&mut self, table: &mut TableFactor) -> ControlFlow<String> {
        match table {
            TableFactor::Table { version: Some(_), .. } => no("the version of a table"),
            TableFactor::Table { args: None, alias, .. } => {
                let renames = alias.as_ref().is_some_and(|alias| !alias.columns.is_empty());
                if renames {
                    no("a table whose columns are renamed by their places")
                } else {
                    ControlFlow::Continue(())
                }
            }
            TableFactor::NestedJoin { table_with_joins, .. } => self.joins(table_with_joins),
            TableFactor::Derived { lateral: false, .. } => ControlFlow::Continue(()),
            _ => no("a table that is made by a function or row by row"),
        }
    }

    fn pre_visit_expr(&mut self, expr: &mut Expr) -> ControlFlow<String> {
        let is_same = match expr {
            Expr::Identifier(_) => {
                self.bare |= self.depth > 1;
                true
            }
            Expr::CompoundIdentifier(parts) if parts.len() == 2 => true,
            Expr::CompoundIdentifier(_) => return no("a name of more than two parts"),
            Expr::IsFalse(_)
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
            | Expr::GroupingSets(_)
            | Expr::Cube(_)
            | Expr::Rollup(_) => true,
            Expr::Value(value) => match &value.value {
                Value::Number(text, false) => {
                    let whole = text.bytes().all(|digit| digit.is_ascii_digit());
                    match decimal(text) {
                        _ if whole => {}
                        Some(exact) => *expr = exact,
                        None => return no("a number with an exponent"),
                    }
                    true
                }
                Value::SingleQuotedString(_) | Value::Boolean(_) | Value::Null => true,
                _ => return no("this kind of value"),
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
                BinaryOperator::Divide | BinaryOperator::Modulo if self.manner == Manner::Trino => true,
                other => return ControlFlow::Break(format!("`{other}`")),
            },
            Expr::UnaryOp { op, .. } => {
                matches!(op, UnaryOperator::Not | UnaryOperator::Plus | UnaryOperator::Minus)
            }
            // A cast that fails is an error here, never a NULL; the plan tells which ones lose something.
            Expr::Cast { kind: CastKind::Cast, data_type, format: None, .. } => matches!(
                data_type,
                DataType::BigInt(None)
                    | DataType::Double(_)
                    | DataType::DoublePrecision
                    | DataType::Date
                    | DataType::Decimal(_)
            ),
            Expr::Extract { field, .. } => matches!(
                field,
                DateTimeField::Year | DateTimeField::Quarter | DateTimeField::Month | DateTimeField::Day
            ),
            Expr::Trim { trim_where: None, trim_what: None, trim_characters: None, .. } => self.manner == Manner::Spark,
            Expr::TypedString(TypedString { data_type: DataType::Date, .. }) => true,
            Expr::Function(function) => return self.function(function),
            _ => false,
        };
        match is_same {
            true => ControlFlow::Continue(()),
            false => ControlFlow::Break(format!("`{expr}`")),
        }
    }

    fn post_visit_expr(&mut self, expr: &mut Expr) -> ControlFlow<String> {
        let is_rank = match expr {
            Expr::Function(function) => RANKS.contains(&function.name.to_string().to_lowercase().as_str()),
            _ => false,
        };
        if is_rank {
            let rank = Box::new(std::mem::replace(expr, Expr::Value(Value::Null.into())));
            *expr = cast(rank, DataType::BigInt(None));
        }
        ControlFlow::Continue(())
    }
}

fn cast(expr: Box<Expr>, data_type: DataType) -> Expr {
    Expr::Cast { kind: CastKind::Cast, expr, data_type, array: false, format: None }
}

/// A number with a point as the decimal that it is elsewhere.
fn decimal(text: &str) -> Option<Expr> {
    let (whole, fraction) = text.split_once('.')?;
    if !(whole.bytes().chain(fraction.bytes()).all(|digit| digit.is_ascii_digit())) {
        return None;
    }
    let (digits, scale) = (whole.trim_start_matches('0').len() + fraction.len(), fraction.len());
    let size = ExactNumberInfo::PrecisionAndScale(u64::try_from(digits.max(1)).ok()?, i64::try_from(scale).ok()?);
    let text = Expr::Value(Value::SingleQuotedString(text.to_owned()).into());
    (digits <= 38).then(|| cast(Box::new(text), DataType::Decimal(size)))
}
