//! What a [`Filter`] and [`Rows`] mean, said as plainly as possible: on one row of numbers and texts.

use std::collections::BTreeMap;

use crate::policy::Rows;
use crate::policy::filter::{Comparison, Filter, Literal, Operator, Value};

/// A value in a row; a path that is not there is NULL.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Cell {
    Number(i128),
    /// A number's place in the total order.
    Float(i64),
    Text(String),
    Struct,
}

impl Cell {
    pub(crate) fn float(number: f64) -> Self {
        let bits = number.to_bits().cast_signed();
        Self::Float(bits ^ ((bits >> 63).cast_unsigned() >> 1).cast_signed())
    }
}

pub(crate) type Row = BTreeMap<String, Cell>;

/// Whether the row is visible.
pub(crate) fn shows(rows: &Rows, row: &Row) -> bool {
    let (permits, forbids) = rows.rules();
    let truth = |rule: &crate::policy::RowRule| rule.filter.as_ref().map_or(Some(true), |filter| truth(filter, row));
    let shown = permits.is_none_or(|permits| permits.iter().any(|rule| truth(rule) == Some(true)));
    shown && forbids.iter().all(|rule| truth(rule) == Some(false))
}

/// The truth of a filter; `None` is unknown.
pub(crate) fn truth(filter: &Filter, row: &Row) -> Option<bool> {
    match filter {
        Filter::Constant(truth) => Some(*truth),
        Filter::Holds(_) => panic!("no column here is a truth value"),
        Filter::Compare(comparison, left, right) => {
            let order = value(left, row)?.cmp(&value(right, row)?);
            Some(match comparison {
                Comparison::Equal => order.is_eq(),
                Comparison::NotEqual => order.is_ne(),
                Comparison::Less => order.is_lt(),
                Comparison::LessOrEqual => order.is_le(),
                Comparison::Greater => order.is_gt(),
                Comparison::GreaterOrEqual => order.is_ge(),
            })
        }
        Filter::And(parts) => all(parts.iter().map(|part| truth(part, row))),
        Filter::Or(parts) => all(parts.iter().map(|part| truth(part, row).map(|t| !t))).map(|t| !t),
        Filter::Not(inner) => truth(inner, row).map(|truth| !truth),
        Filter::In(one, of) => {
            let one = value(one, row)?;
            Some(of.iter().any(|other| value(other, row).as_ref() == Some(&one)))
        }
        Filter::Between(one, low, high) => {
            let one = value(one, row)?;
            all([value(low, row).map(|low| low <= one), value(high, row).map(|high| one <= high)].into_iter())
        }
        Filter::Like { value: one, pattern, escape } => match value(one, row)? {
            Cell::Text(text) => Some(like(&text.chars().collect::<Vec<_>>(), &parts(pattern, *escape))),
            other => panic!("{other:?} is no text"),
        },
        Filter::IsNull(one) => Some(value(one, row).is_none()),
    }
}

fn all(truths: impl Iterator<Item = Option<bool>>) -> Option<bool> {
    let truths: Vec<Option<bool>> = truths.collect();
    if truths.contains(&Some(false)) {
        return Some(false);
    }
    (!truths.contains(&None)).then_some(true)
}

fn value(of: &Value, row: &Row) -> Option<Cell> {
    match of {
        Value::Column(path) => row.get(&path.join(".")).cloned(),
        Value::Literal(Literal::Number { unscaled, scale: 0 }) => Some(Cell::Number(*unscaled)),
        Value::Literal(Literal::Text(text)) => Some(Cell::Text(text.to_string())),
        Value::Literal(Literal::Float(bits)) => Some(Cell::float(f64::from_bits(*bits))),
        Value::Literal(other) => panic!("{other:?} stands in no filter here"),
        Value::Arithmetic(operator, left, right) => match (value(left, row)?, value(right, row)?) {
            (Cell::Number(left), Cell::Number(right)) => Some(Cell::Number(match operator {
                Operator::Add => left + right,
                Operator::Subtract => left - right,
                Operator::Multiply => left * right,
            })),
            other => panic!("{other:?} are no numbers"),
        },
    }
}

enum Part {
    Any,
    One,
    Only(char),
}

fn parts(pattern: &str, escape: Option<char>) -> Vec<Part> {
    let mut chars = pattern.chars();
    let mut parts = Vec::new();
    while let Some(c) = chars.next() {
        parts.push(match c {
            c if Some(c) == escape => Part::Only(chars.next().unwrap()),
            '%' => Part::Any,
            '_' => Part::One,
            c => Part::Only(c),
        });
    }
    parts
}

fn like(text: &[char], pattern: &[Part]) -> bool {
    match (pattern.split_first(), text.split_first()) {
        (None, rest) => rest.is_none(),
        (Some((Part::Any, more)), _) => (0..=text.len()).any(|skipped| like(&text[skipped..], more)),
        (Some((Part::One, more)), Some((_, rest))) => like(rest, more),
        (Some((Part::Only(c), more)), Some((first, rest))) => c == first && like(rest, more),
        (Some(_), None) => false,
    }
}
