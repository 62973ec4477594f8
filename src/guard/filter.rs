//! Row rules as expressions over a pinned scan.
//!
//! ```text
//! permits  region = 'EU' | owner = 'ada'      (region = 'EU') IS TRUE OR (owner = 'ada') IS TRUE
//! forbids  closed                             AND closed IS FALSE
//! ```
//!
//! A permit shows a row where its filter is true and a forbid hides it unless its filter is false, so that what is unknown
//! hides. What comes out can fail on no row: values are brought to one type here, and only by casts that always fit. What
//! would need another cast is refused. It reads raw values, and nothing of it is ever shown.

mod value;

use std::collections::BTreeSet;
use std::sync::Arc;

use datafusion::arrow::datatypes::Schema;
use datafusion::logical_expr::expr::{InList, Like};
use datafusion::logical_expr::{Expr, lit, not};
use polder_catalog::policy::filter::{Comparison, Filter, Value};
use polder_catalog::policy::{RowRule, Rows};

use value::{Columns, Typed};

/// Why a row rule cannot be applied to the table that there is. It names no column, since the reader may not know it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Unfit {
    /// A column that it speaks of cannot be read.
    #[error("a column that a row rule speaks of cannot be read")]
    Column,
    /// Two values of it have no common type.
    #[error("a row rule compares values that do not fit each other in this table")]
    Types,
}

/// Which rows of a scan are shown.
#[derive(Debug, Clone)]
pub struct RowFilter {
    /// True for the rows that are shown and false for all others.
    pub exact: Expr,
    /// All of them are true for the rows that are shown, and false or NULL for the others: what the statistics of files
    /// can be held against.
    pub hints: Vec<Expr>,
}

impl RowFilter {
    /// Whether it hides every row.
    pub fn hides_all(&self) -> bool {
        self.exact == lit(false)
    }
}

/// The filter of `rows` over columns of these types, where `alias` says what the column that a path begins with is called;
/// none where nothing is hidden.
///
/// # Errors
/// When the columns are not of the types that the rules were checked for.
pub fn lower(rows: &Rows, schema: &Schema, alias: &dyn Fn(&str) -> String) -> Result<Option<RowFilter>, Unfit> {
    let columns = Columns { schema, alias };
    let lowered = |rules: &[RowRule]| {
        // A rule without a filter is about every row.
        let each = rules.iter().map(|rule| rule.filter.as_ref().map_or(Ok(lit(true)), |f| condition(f, &columns)));
        each.collect::<Result<Vec<Expr>, Unfit>>()
    };
    let (permits, forbids) = rows.rules();
    let (permits, forbids) = (permits.map(lowered).transpose()?, lowered(forbids)?);
    let shown = permits.as_ref().map(|permits| any(permits.iter().cloned().map(is_true)));
    let exact = all(shown.into_iter().chain(forbids.iter().cloned().map(is_false)));
    if exact == lit(true) {
        return Ok(None);
    }
    let hints = permits.map(any).into_iter().chain(forbids.into_iter().map(opposite));
    let hints = if exact == lit(false) { Vec::new() } else { hints.filter(|hint| *hint != lit(true)).collect() };
    Ok(Some(RowFilter { exact, hints }))
}

/// The columns that rules speak of, each by its path.
pub fn paths(rows: &Rows) -> BTreeSet<Arc<[Arc<str>]>> {
    let (permits, forbids) = rows.rules();
    let filters = permits.into_iter().flatten().chain(forbids).filter_map(|rule| rule.filter.as_deref());
    let mut found = BTreeSet::new();
    filters.for_each(|filter| in_filter(filter, &mut found));
    found
}

fn in_filter(filter: &Filter, found: &mut BTreeSet<Arc<[Arc<str>]>>) {
    match filter {
        Filter::Constant(_) => {}
        Filter::Holds(value) | Filter::IsNull(value) | Filter::Like { value, .. } => in_value(value, found),
        Filter::Compare(_, left, right) => [left, right].into_iter().for_each(|value| in_value(value, found)),
        Filter::And(parts) | Filter::Or(parts) => parts.iter().for_each(|part| in_filter(part, found)),
        Filter::Not(part) => in_filter(part, found),
        Filter::In(value, items) => std::iter::once(value).chain(items).for_each(|value| in_value(value, found)),
        Filter::Between(value, low, high) => [value, low, high].into_iter().for_each(|value| in_value(value, found)),
    }
}

fn in_value(value: &Value, found: &mut BTreeSet<Arc<[Arc<str>]>>) {
    match value {
        Value::Column(path) => drop(found.insert(Arc::clone(path))),
        Value::Literal(_) => {}
        Value::Arithmetic(_, left, right) => [left, right].into_iter().for_each(|value| in_value(value, found)),
    }
}

fn is_true(condition: Expr) -> Expr {
    if is_truth(&condition) { condition } else { Expr::IsTrue(Box::new(condition)) }
}

fn is_false(condition: Expr) -> Expr {
    if condition == lit(true) {
        lit(false)
    } else if condition == lit(false) {
        lit(true)
    } else {
        Expr::IsFalse(Box::new(condition))
    }
}

fn is_truth(condition: &Expr) -> bool {
    *condition == lit(true) || *condition == lit(false)
}

/// The opposite; unknown stays unknown.
fn opposite(condition: Expr) -> Expr {
    match condition {
        truth if truth == lit(true) => lit(false),
        truth if truth == lit(false) => lit(true),
        Expr::Not(inner) => *inner,
        condition => not(condition),
    }
}

/// All of them, where a constant says it already, that.
fn all(parts: impl IntoIterator<Item = Expr>) -> Expr {
    let parts: Vec<Expr> = parts.into_iter().filter(|part| *part != lit(true)).collect();
    if parts.contains(&lit(false)) {
        return lit(false);
    }
    parts.into_iter().reduce(Expr::and).unwrap_or_else(|| lit(true))
}

fn any(parts: impl IntoIterator<Item = Expr>) -> Expr {
    let parts: Vec<Expr> = parts.into_iter().filter(|part| *part != lit(false)).collect();
    if parts.contains(&lit(true)) {
        return lit(true);
    }
    parts.into_iter().reduce(Expr::or).unwrap_or_else(|| lit(false))
}

/// A filter as an expression of three values.
fn condition(filter: &Filter, columns: &Columns<'_>) -> Result<Expr, Unfit> {
    let inside = |parts: &[Filter]| parts.iter().map(|part| condition(part, columns)).collect::<Result<Vec<_>, _>>();
    Ok(match filter {
        Filter::Constant(truth) => lit(*truth),
        Filter::Holds(value) => columns.value(value)?.truth()?,
        Filter::Compare(comparison, left, right) => compare(*comparison, left, right, columns)?,
        Filter::And(parts) => all(inside(parts)?),
        Filter::Or(parts) => any(inside(parts)?),
        Filter::Not(part) => opposite(condition(part, columns)?),
        Filter::In(value, items) => within(value, items, columns)?,
        Filter::Between(value, low, high) => {
            let low = compare(Comparison::GreaterOrEqual, value, low, columns)?;
            low.and(compare(Comparison::LessOrEqual, value, high, columns)?)
        }
        Filter::Like { value, pattern, escape } => {
            let text = columns.value(value)?;
            let pattern = text.text(&rewritten(pattern, *escape))?;
            Expr::Like(Like::new(false, Box::new(text.expr), Box::new(pattern), None, false))
        }
        Filter::IsNull(value) => columns.value(value)?.expr.is_null(),
    })
}

fn compare(comparison: Comparison, left: &Value, right: &Value, columns: &Columns<'_>) -> Result<Expr, Unfit> {
    let (left, right) = Typed::meet(columns.value(left)?, columns.value(right)?)?;
    Ok(match comparison {
        Comparison::Equal => left.eq(right),
        Comparison::NotEqual => left.not_eq(right),
        Comparison::Less => left.lt(right),
        Comparison::LessOrEqual => left.lt_eq(right),
        Comparison::Greater => left.gt(right),
        Comparison::GreaterOrEqual => left.gt_eq(right),
    })
}

/// One list where every item is a value of the left side's own type, and else one comparison for each.
fn within(value: &Value, items: &[Value], columns: &Columns<'_>) -> Result<Expr, Unfit> {
    let left = columns.value(value)?;
    let mut list = Vec::with_capacity(items.len());
    for item in items {
        let (met, item) = Typed::meet(left.clone(), columns.value(item)?)?;
        if met != left.expr {
            let each = items.iter().map(|item| compare(Comparison::Equal, value, item, columns));
            return Ok(any(each.collect::<Result<Vec<_>, _>>()?));
        }
        list.push(item);
    }
    Ok(Expr::InList(InList::new(Box::new(left.expr), list, false)))
}

/// A pattern as arrow reads it: with a backslash, and no other character, before what stands for itself.
fn rewritten(pattern: &str, escape: Option<char>) -> String {
    let mut written = String::with_capacity(pattern.len());
    let mut letters = pattern.chars();
    while let Some(letter) = letters.next() {
        let (letter, itself) = match (Some(letter) == escape).then(|| letters.next()).flatten() {
            Some(escaped) => (escaped, matches!(escaped, '%' | '_' | '\\')),
            None => (letter, letter == '\\'),
        };
        if itself {
            written.push('\\');
        }
        written.push(letter);
    }
    written
}
