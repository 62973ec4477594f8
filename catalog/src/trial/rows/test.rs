//! A condition on a row in a form in which what means the same is mostly written the same.

use crate::policy::filter::{Comparison, Filter, Literal, Value};

/// A column by its path.
pub(super) type Path = Vec<String>;

/// A condition with three answers: yes, no, unknown.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Test {
    Constant(bool),
    /// A boolean column.
    Holds(Path),
    /// A column against a literal.
    Compare(Path, Comparison, Point),
    /// Whether one of these is NULL.
    IsNull(Vec<Path>),
    /// Yes, and unknown where one of these is NULL: what `x = x` says.
    Known(Vec<Path>),
    /// Whatever else looks at these columns, by its text; unknown where one of them is NULL.
    Opaque(String, Vec<Path>),
    And(Vec<Test>),
    Or(Vec<Test>),
    Not(Box<Test>),
    /// Whether the answer is yes, or is no; never unknown.
    Is(bool, Box<Test>),
}

/// A value.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Point {
    Truth(bool),
    Text(String),
    Number(Number),
}

/// An exact number in lowest terms: `unscaled` · 10^-`scale`. Dates and times are numbers of days and of seconds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Number {
    pub unscaled: i128,
    pub scale: u32,
}

impl Number {
    pub fn new(mut unscaled: i128, mut scale: u32) -> Self {
        while scale > 0 && unscaled % 10 == 0 {
            unscaled /= 10;
            scale -= 1;
        }
        Self { unscaled, scale }
    }

    /// The whole part, rounded down, and the digits behind the point.
    fn parts(self) -> (i128, String) {
        let one = 10_i128.checked_pow(self.scale).unwrap_or(i128::MAX);
        let rest = format!("{:0>width$}", self.unscaled.rem_euclid(one), width = self.scale as usize);
        (self.unscaled.div_euclid(one), if self.scale == 0 { String::new() } else { rest })
    }

    /// The greatest multiple of 10^-`scale` that is not above it, in these units.
    pub fn floor(self, scale: u32) -> Option<i128> {
        if scale >= self.scale {
            return self.unscaled.checked_mul(10_i128.checked_pow(scale - self.scale)?);
        }
        Some(self.unscaled.div_euclid(10_i128.checked_pow(self.scale - scale)?))
    }
}

impl PartialOrd for Number {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Number {
    fn cmp(&self, other: &Self) -> std::cmp::Ordering {
        // Digits behind the point in lowest terms are in the order of texts.
        self.parts().cmp(&other.parts())
    }
}

impl Test {
    /// What a filter asks.
    pub fn of(filter: &Filter) -> Self {
        match filter {
            Filter::Constant(truth) => Self::Constant(*truth),
            Filter::Holds(Value::Column(path)) => Self::Holds(own(path)),
            Filter::Holds(Value::Literal(Literal::Boolean(truth))) => Self::Constant(*truth),
            Filter::Holds(_) => Self::opaque(filter),
            Filter::Compare(comparison, left, right) => Self::compare(*comparison, left, right, filter),
            Filter::And(parts) => Self::all(parts.iter().map(Self::of).collect()),
            Filter::Or(parts) => Self::any(parts.iter().map(Self::of).collect()),
            Filter::Not(inner) => Self::of(inner).opposite(),
            Filter::In(value, items) => {
                Self::any(items.iter().map(|item| Self::compare(Comparison::Equal, value, item, filter)).collect())
            }
            Filter::Between(value, low, high) => Self::all(vec![
                Self::compare(Comparison::GreaterOrEqual, value, low, filter),
                Self::compare(Comparison::LessOrEqual, value, high, filter),
            ]),
            Filter::Like { value: Value::Column(path), pattern, .. } if is_plain(pattern) => {
                Self::Compare(own(path), Comparison::Equal, Point::Text(pattern.to_string()))
            }
            Filter::Like { .. } => Self::opaque(filter),
            Filter::IsNull(value) => Self::IsNull(columns(value)),
        }
    }

    /// All of `parts`.
    pub fn all(parts: Vec<Self>) -> Self {
        let inside = |part| match part {
            Self::And(parts) => parts,
            Self::Constant(true) => Vec::new(),
            part => vec![part],
        };
        let mut parts: Vec<Self> = parts.into_iter().flat_map(inside).collect();
        parts.sort();
        parts.dedup();
        if parts.contains(&Self::Constant(false)) {
            return Self::Constant(false);
        }
        match parts.pop() {
            None => Self::Constant(true),
            Some(only) if parts.is_empty() => only,
            Some(last) => {
                parts.push(last);
                Self::And(parts)
            }
        }
    }

    /// One of `parts`.
    pub fn any(parts: Vec<Self>) -> Self {
        Self::all(parts.into_iter().map(Self::opposite).collect()).opposite()
    }

    /// The same, where unknown is no.
    pub fn is(self, truth: bool) -> Self {
        match self {
            Self::Constant(constant) => Self::Constant(constant == truth),
            test => Self::Is(truth, test.into()),
        }
    }

    fn opposite(self) -> Self {
        let turned = |parts: Vec<Self>| {
            let mut parts: Vec<Self> = parts.into_iter().map(Self::opposite).collect();
            parts.sort();
            parts
        };
        match self {
            Self::Constant(truth) => Self::Constant(!truth),
            Self::Not(inner) => *inner,
            Self::Compare(path, sign, point) => Self::Compare(path, sign.opposite(), point),
            Self::And(parts) => Self::Or(turned(parts)),
            Self::Or(parts) => Self::And(turned(parts)),
            test => Self::Not(test.into()),
        }
    }

    fn compare(sign: Comparison, left: &Value, right: &Value, whole: &Filter) -> Self {
        match (left, right) {
            // No policy has such a number, and it is in no order with the others.
            (Value::Literal(Literal::Float(_)), _) | (_, Value::Literal(Literal::Float(_))) => Self::opaque(whole),
            (Value::Column(path), Value::Literal(literal)) => Self::Compare(own(path), sign, point(literal)),
            (Value::Literal(literal), Value::Column(path)) => Self::Compare(own(path), sign.turned(), point(literal)),
            (Value::Literal(left), Value::Literal(right)) => Self::Constant(sign.holds(&point(left), &point(right))),
            _ if left == right => {
                let known = Self::Known(columns(left));
                if sign.holds(&Point::Truth(true), &Point::Truth(true)) { known } else { known.opposite() }
            }
            _ => Self::opaque(whole),
        }
    }

    fn opaque(filter: &Filter) -> Self {
        let values: Vec<&Value> = match filter {
            Filter::Holds(value) | Filter::Like { value, .. } | Filter::In(value, _) => vec![value],
            Filter::Compare(_, left, right) => vec![left, right],
            Filter::Between(value, low, high) => vec![value, low, high],
            _ => Vec::new(),
        };
        let mut paths: Vec<Path> = values.into_iter().flat_map(columns).collect();
        paths.sort();
        paths.dedup();
        Self::Opaque(filter.to_string(), paths)
    }
}

impl Comparison {
    pub(super) fn holds(self, left: &Point, right: &Point) -> bool {
        match self {
            Self::Equal => left == right,
            Self::NotEqual => left != right,
            Self::Less => left < right,
            Self::LessOrEqual => left <= right,
            Self::Greater => left > right,
            Self::GreaterOrEqual => left >= right,
        }
    }
}

fn own(path: &[std::sync::Arc<str>]) -> Path {
    path.iter().map(|part| part.to_string()).collect()
}

/// Whether a pattern is a text like any other.
fn is_plain(pattern: &str) -> bool {
    !pattern.contains(['%', '_', '\\'])
}

fn columns(value: &Value) -> Vec<Path> {
    match value {
        Value::Column(path) => vec![own(path)],
        Value::Literal(_) => Vec::new(),
        Value::Arithmetic(_, left, right) => columns(left).into_iter().chain(columns(right)).collect(),
    }
}

fn point(literal: &Literal) -> Point {
    Point::Number(match literal {
        Literal::Boolean(truth) => return Point::Truth(*truth),
        Literal::Text(text) => return Point::Text(text.to_string()),
        Literal::Number { unscaled, scale } => Number::new(*unscaled, u32::from(*scale)),
        Literal::Date(days) => Number::new(i128::from(*days), 0),
        Literal::Timestamp(micros) | Literal::Timestamptz(micros) => Number::new(i128::from(*micros), 6),
        Literal::Float(bits) => return Point::Text(f64::from_bits(*bits).to_string()),
    })
}
