//! Predicates, as SQL and as the naive reader understands them: true, false or unknown.

use std::cmp::Ordering;

use super::*;

/// What a query asks of a row.
#[derive(Debug)]
pub(super) enum Predicate {
    All,
    Compare(Vec<String>, &'static str, Literal),
    In(Vec<String>, Vec<Literal>),
    Between(Vec<String>, Literal, Literal),
    Like(Vec<String>, String),
    IsNull(Vec<String>),
    Not(Box<Predicate>),
    And(Box<Predicate>, Box<Predicate>),
    Or(Box<Predicate>, Box<Predicate>),
}

/// A value, and how it is spelt.
#[derive(Debug)]
pub(super) struct Literal {
    value: Value,
    sql: String,
}

impl Literal {
    fn new(value: Value, kind: &K) -> Self {
        let text = value.as_str().unwrap_or_default();
        let sql = match kind {
            K::Text => format!("'{text}'"),
            K::Date => format!("DATE '{text}'"),
            K::Timestamp => format!("TIMESTAMP '{text}'"),
            K::Decimal(digits) => format!("CAST('{value}' AS DECIMAL({digits}, 2))"),
            K::Float | K::Double if value.is_string() => format!("CAST('{text}' AS DOUBLE)"),
            _ => value.to_string(),
        };
        Self { value, sql }
    }
}

/// A path as SQL has it.
pub(super) fn sql(path: &[String]) -> String {
    let inside: String = path[1..].iter().map(|name| format!("['{name}']")).collect();
    format!("t.\"{}\"{inside}", path[0])
}

/// What a row has at a path.
pub(super) fn at(row: &Value, path: &[String]) -> Value {
    path.iter().try_fold(row, |at, name| at.get(name)).cloned().unwrap_or_default()
}

/// NaN is above all numbers, and zero above minus zero, as DataFusion has it.
fn order(a: &Value, b: &Value) -> Option<Ordering> {
    match (real(a), real(b)) {
        (Some(a), Some(b)) => Some(a.total_cmp(&b)),
        // Dates and times are written so that they sort as text.
        _ => Some(a.as_str()?.cmp(b.as_str()?)),
    }
}

impl Predicate {
    /// A predicate over `fields`, which is mostly about values that `rows` have.
    pub(super) fn draw(
        model: &mut Model,
        fields: &[F],
        paths: &[(Vec<String>, &F)],
        rows: &[Value],
        depth: usize,
    ) -> Self {
        if depth == 0 && model.chance.below(6) == 0 {
            return Self::All;
        }
        let (path, field) = &paths[model.chance.below(paths.len())];
        let literal = |model: &mut Model| {
            let there = rows.get(model.chance.below(rows.len().max(1))).map(|row| at(row, path)).unwrap_or_default();
            let drawn = model.some_value(&field.kind);
            Literal::new(if there.is_null() || model.chance.below(3) == 0 { drawn } else { there }, &field.kind)
        };
        let path = path.clone();
        let inner = |model: &mut Model| Box::new(Self::draw(model, fields, paths, rows, depth + 1));
        match model.chance.below(if depth > 2 { 7 } else { 11 }) {
            0 | 1 => Self::Compare(path, "=", literal(model)),
            2 => Self::Compare(path, ["<", "<=", ">", ">=", "<>"][model.chance.below(5)], literal(model)),
            3 => Self::In(path, (0..=model.chance.below(5)).map(|_| literal(model)).collect()),
            4 => Self::Between(path, literal(model), literal(model)),
            5 if matches!(field.kind, K::Text) => {
                let text = literal(model).value.as_str().unwrap().to_owned();
                Self::Like(path, text[..1 + model.chance.below(text.len())].to_owned())
            }
            5 | 6 => match model.chance.below(2) {
                0 => Self::IsNull(path),
                _ => Self::IsNull(vec![fields[model.chance.below(fields.len())].name.clone()]),
            },
            7 => Self::Not(inner(model)),
            8 | 9 => Self::And(inner(model), inner(model)),
            _ => Self::Or(inner(model), inner(model)),
        }
    }

    pub(super) fn sql(&self) -> String {
        match self {
            Self::All => "true".to_owned(),
            Self::Compare(path, op, literal) => format!("{} {op} {}", sql(path), literal.sql),
            Self::In(path, literals) => {
                let list: Vec<&str> = literals.iter().map(|literal| literal.sql.as_str()).collect();
                format!("{} IN ({})", sql(path), list.join(", "))
            }
            Self::Between(path, low, high) => format!("{} BETWEEN {} AND {}", sql(path), low.sql, high.sql),
            Self::Like(path, prefix) => format!("{} LIKE '{prefix}%'", sql(path)),
            Self::IsNull(path) => format!("{} IS NULL", sql(path)),
            Self::Not(inner) => format!("NOT ({})", inner.sql()),
            Self::And(a, b) => format!("({}) AND ({})", a.sql(), b.sql()),
            Self::Or(a, b) => format!("({}) OR ({})", a.sql(), b.sql()),
        }
    }

    pub(super) fn holds(&self, row: &Value) -> Option<bool> {
        match self {
            Self::All => Some(true),
            Self::Compare(path, op, literal) => {
                let order = order(&at(row, path), &literal.value)?;
                Some(match *op {
                    "=" => order.is_eq(),
                    "<>" => order.is_ne(),
                    "<" => order.is_lt(),
                    "<=" => order.is_le(),
                    ">" => order.is_gt(),
                    _ => order.is_ge(),
                })
            }
            Self::In(path, literals) => {
                let value = at(row, path);
                if value.is_null() {
                    return None;
                }
                Some(literals.iter().any(|literal| order(&value, &literal.value).is_some_and(Ordering::is_eq)))
            }
            Self::Between(path, low, high) => {
                let value = at(row, path);
                Some(order(&value, &low.value)?.is_ge() && order(&value, &high.value)?.is_le())
            }
            Self::Like(path, prefix) => Some(at(row, path).as_str()?.starts_with(prefix.as_str())),
            Self::IsNull(path) => Some(at(row, path).is_null()),
            Self::Not(inner) => inner.holds(row).map(|holds| !holds),
            Self::And(a, b) => match (a.holds(row), b.holds(row)) {
                (Some(false), _) | (_, Some(false)) => Some(false),
                (Some(true), Some(true)) => Some(true),
                _ => None,
            },
            Self::Or(a, b) => match (a.holds(row), b.holds(row)) {
                (Some(true), _) | (_, Some(true)) => Some(true),
                (Some(false), Some(false)) => Some(false),
                _ => None,
            },
        }
    }
}
