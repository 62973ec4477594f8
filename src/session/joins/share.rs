//! Which part of a relation's rows a predicate keeps, by bounds and numbers of distinct values. It is a guess, and changes
//! no answer.
//!
//! ```text
//! c = 3            1 / distinct values, as if all were as frequent; of text a tenth, or more in a table of few rows
//! c > 3, c < 9     the part of the way from bound to bound; of several comparisons of one column what they leave together
//! c IN (3, 9)      as many times as there are values; IS NULL by the count of NULLs
//! c LIKE 'x%'      a tenth; what is not known, a third
//! a AND b, a OR b  as if they had nothing to do with each other
//! ```

use datafusion::common::{DFSchema, ScalarValue};
use datafusion::logical_expr::utils::split_conjunction;
use datafusion::logical_expr::{BinaryExpr, Expr, Operator};

use super::figures::{Figures, Known};

/// What an equality keeps where the distinct values are not known, and a pattern.
pub(super) const EQUAL: f64 = 0.1;

/// What anything else keeps.
pub(super) const ANY: f64 = 1.0 / 3.0;

/// Seconds of a day: days and clocks are compared in seconds.
pub(super) const DAY: f64 = 86_400.0;

/// Where the values of one column may lie.
#[derive(Debug, Clone, Copy)]
struct Reach {
    column: usize,
    low: Option<f64>,
    high: Option<f64>,
}

/// The part of the rows for which all of these are true.
pub(super) fn kept(predicates: &[&Expr], schema: &DFSchema, figures: &Figures) -> f64 {
    let rows = Rows { schema, figures };
    rows.all(predicates.iter().flat_map(|predicate| split_conjunction(predicate)))
}

/// A value as a number that can be compared with others of its kind.
pub(super) fn number(value: &ScalarValue) -> Option<f64> {
    let scaled = |value: i128, scale: i8| value as f64 / 10f64.powi(i32::from(scale));
    match value {
        ScalarValue::Int8(value) => value.map(f64::from),
        ScalarValue::Int16(value) => value.map(f64::from),
        ScalarValue::Int32(value) => value.map(f64::from),
        ScalarValue::Int64(value) => value.map(|value| value as f64),
        ScalarValue::UInt8(value) => value.map(f64::from),
        ScalarValue::UInt16(value) => value.map(f64::from),
        ScalarValue::UInt32(value) => value.map(f64::from),
        ScalarValue::UInt64(value) => value.map(|value| value as f64),
        ScalarValue::Float32(value) => value.map(f64::from),
        ScalarValue::Float64(value) => *value,
        ScalarValue::Decimal128(value, _, scale) => value.map(|value| scaled(value, *scale)),
        ScalarValue::Date32(value) => value.map(|days| f64::from(days) * DAY),
        ScalarValue::TimestampSecond(value, _) => value.map(|value| value as f64),
        ScalarValue::TimestampMillisecond(value, _) => value.map(|value| value as f64 / 1e3),
        ScalarValue::TimestampMicrosecond(value, _) => value.map(|value| value as f64 / 1e6),
        ScalarValue::TimestampNanosecond(value, _) => value.map(|value| value as f64 / 1e9),
        _ => None,
    }
    .filter(|number| number.is_finite())
}

struct Rows<'a> {
    schema: &'a DFSchema,
    figures: &'a Figures,
}

impl Rows<'_> {
    fn all<'e>(&self, predicates: impl IntoIterator<Item = &'e Expr>) -> f64 {
        let (mut share, mut reaches) = (1.0, Vec::<Reach>::new());
        for predicate in predicates {
            let Some(reach) = self.reach(predicate) else {
                share *= self.one(predicate);
                continue;
            };
            match reaches.iter_mut().find(|known| known.column == reach.column) {
                Some(known) => {
                    known.low = known.low.max_of(reach.low, f64::max);
                    known.high = known.high.max_of(reach.high, f64::min);
                }
                None => reaches.push(reach),
            }
        }
        reaches.iter().fold(share, |share, reach| share * self.within(reach))
    }

    fn one(&self, predicate: &Expr) -> f64 {
        let share = match predicate {
            Expr::Alias(alias) => self.one(&alias.expr),
            Expr::BinaryExpr(BinaryExpr { op: Operator::And, .. }) => self.all(split_conjunction(predicate)),
            Expr::BinaryExpr(BinaryExpr { left, op: Operator::Or, right }) => {
                let (one, other) = (self.one(left), self.one(right));
                one + other - one * other
            }
            Expr::BinaryExpr(BinaryExpr { left, op: Operator::Eq, right }) => self.equal(left, right),
            Expr::BinaryExpr(BinaryExpr { left, op: Operator::NotEq, right }) => 1.0 - self.equal(left, right),
            Expr::BinaryExpr(BinaryExpr { .. }) | Expr::Between(_) => match self.reach(predicate) {
                Some(reach) => self.within(&reach),
                None => ANY,
            },
            Expr::Not(inner) => 1.0 - self.one(inner),
            Expr::IsNull(inner) => self.nulls(inner),
            Expr::IsNotNull(inner) => 1.0 - self.nulls(inner),
            Expr::InList(list) => {
                let each: f64 = list.list.iter().map(|value| self.equal(&list.expr, value)).sum();
                if list.negated { 1.0 - each.min(1.0) } else { each }
            }
            Expr::Like(like) => {
                if like.negated {
                    1.0 - EQUAL
                } else {
                    EQUAL
                }
            }
            Expr::Literal(ScalarValue::Boolean(value), _) => {
                if *value == Some(true) {
                    1.0
                } else {
                    0.0
                }
            }
            Expr::Column(_) => 0.5,
            _ => ANY,
        };
        share.clamp(0.0, 1.0)
    }

    /// A column, in a wider type or not, with its place.
    fn column(&self, expr: &Expr) -> Option<(usize, Option<&Known>)> {
        match expr {
            Expr::Column(column) => {
                let place = self.schema.maybe_index_of_column(column)?;
                Some((place, self.figures.columns.get(&place)))
            }
            Expr::Cast(cast) => self.column(&cast.expr),
            Expr::TryCast(cast) => self.column(&cast.expr),
            _ => None,
        }
    }

    fn equal(&self, one: &Expr, other: &Expr) -> f64 {
        let distinct = |expr: &Expr| self.column(expr).and_then(|(_, known)| known?.distinct);
        let (value, known) = match (one, other) {
            (Expr::Literal(value, _), of) | (of, Expr::Literal(value, _)) => {
                (number(value), self.column(of).and_then(|(_, known)| known))
            }
            _ => (None, None),
        };
        let is_beyond = value.zip(known).is_some_and(|(value, known)| {
            known.low.is_some_and(|low| value < low) || known.high.is_some_and(|high| value > high)
        });
        if is_beyond {
            return 0.0;
        }
        match (distinct(one), distinct(other)) {
            (Some(one), Some(other)) => 1.0 / one.max(other).max(1.0),
            (Some(distinct), None) | (None, Some(distinct)) => 1.0 / distinct.max(1.0),
            // Small tables have few values, each of them often.
            (None, None) => EQUAL.max(1.0 / self.figures.whole.max(1.0).sqrt()),
        }
    }

    fn nulls(&self, expr: &Expr) -> f64 {
        self.column(expr).and_then(|(_, known)| known?.nulls).unwrap_or(EQUAL)
    }

    /// A comparison of a column with values, as what it leaves of the column.
    fn reach(&self, predicate: &Expr) -> Option<Reach> {
        let value = |expr: &Expr| match expr {
            Expr::Literal(value, _) => number(value),
            _ => None,
        };
        match predicate {
            Expr::Between(between) if !between.negated => {
                let (column, _) = self.column(&between.expr)?;
                Some(Reach { column, low: Some(value(&between.low)?), high: Some(value(&between.high)?) })
            }
            Expr::BinaryExpr(BinaryExpr { left, op, right }) => {
                let (of, bound, op) = match value(right) {
                    Some(bound) => (left, bound, *op),
                    None => (right, value(left)?, op.swap()?),
                };
                let (column, _) = self.column(of)?;
                match op {
                    Operator::Lt | Operator::LtEq => Some(Reach { column, low: None, high: Some(bound) }),
                    Operator::Gt | Operator::GtEq => Some(Reach { column, low: Some(bound), high: None }),
                    _ => None,
                }
            }
            _ => None,
        }
    }

    fn within(&self, reach: &Reach) -> f64 {
        let known = self.figures.columns.get(&reach.column);
        let bounds = known.and_then(|known| Some((known, known.low?, known.high?)));
        let Some((known, low, high)) = bounds else {
            return if reach.low.is_some() && reach.high.is_some() { ANY * ANY } else { ANY };
        };
        let (from, to) = (reach.low.map_or(low, |from| from.max(low)), reach.high.map_or(high, |to| to.min(high)));
        if to < from {
            return 0.0;
        }
        // A single value of a column is a part of it, too.
        let least = 1.0 / known.distinct.unwrap_or(f64::INFINITY).max(1.0);
        let part = if high > low { (to - from) / (high - low) } else { 1.0 };
        part.max(least) * (1.0 - known.nulls.unwrap_or(0.0))
    }
}

/// Two bounds as one.
trait Tighter {
    fn max_of(self, other: Self, tighter: fn(f64, f64) -> f64) -> Self;
}

impl Tighter for Option<f64> {
    fn max_of(self, other: Self, tighter: fn(f64, f64) -> f64) -> Self {
        match (self, other) {
            (Some(one), Some(other)) => Some(tighter(one, other)),
            (one, other) => one.or(other),
        }
    }
}
