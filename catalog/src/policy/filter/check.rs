//! A parsed filter, held against a contract and filled with one principal's attributes.
//!
//! What a filter means depends on the columns that a product has. What is not there is unknown (law 6) and makes the
//! whole filter so; what is there and does not fit is a fault.

use std::sync::Arc;

use super::parse::{Expr, Node};
use super::{Comparison, Fault, Filter, Literal, Operator, Value, literal::DIGITS};
use crate::contract::{Column, LogicalType, PhysicalType, Type};
use crate::document::{nearest, quote};
use crate::mesh::declared::{AttributeType, Declared};
use crate::principal::{Attribute, Principal};

/// What a filter is on one product.
#[derive(Debug)]
pub(crate) enum Checked {
    /// It can be evaluated.
    Known(Filter),
    /// It speaks of a column that the product does not have.
    NoColumn(Fault),
    /// It speaks of an attribute that the principal does not have, or nobody asks yet.
    NoAttribute,
}

/// Against what a filter is checked.
pub(super) struct Check<'a> {
    declared: &'a Declared,
    columns: &'a [Column],
    /// Whose attributes it is filled with; nobody's while a mesh is loaded.
    principal: Option<&'a Principal>,
    missing_column: Option<Fault>,
    missing_attribute: bool,
}

/// The kinds of values; only those of one kind can be compared.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    Boolean,
    /// An exact number with at most so many digits, and how many of them stand behind the point.
    Exact {
        precision: u32,
        scale: u32,
    },
    Float,
    Text,
    Date,
    /// `nanos` is the unit of a column; literals have none.
    Timestamp {
        zoned: bool,
        nanos: Option<bool>,
    },
    /// A column that is not there.
    Missing,
    /// Nothing that can be compared.
    Opaque,
}

/// A value and what is known of it.
struct Typed {
    value: Value,
    kind: Kind,
    offset: usize,
}

impl<'a> Check<'a> {
    pub fn new(declared: &'a Declared, columns: &'a [Column], principal: Option<&'a Principal>) -> Self {
        Self { declared, columns, principal, missing_column: None, missing_attribute: false }
    }

    pub fn run(mut self, expr: &Expr) -> Result<Checked, Fault> {
        let filter = self.filter(expr)?;
        Ok(match self.missing_column {
            Some(fault) => Checked::NoColumn(fault),
            None if self.missing_attribute => Checked::NoAttribute,
            None => Checked::Known(filter),
        })
    }

    fn filter(&mut self, expr: &Expr) -> Result<Filter, Fault> {
        Ok(match &expr.node {
            Node::And(parts) => Filter::And(self.filters(parts)?),
            Node::Or(parts) => Filter::Or(self.filters(parts)?),
            Node::Not(inner) => Filter::Not(self.filter(inner)?.into()),
            Node::Compare(comparison, left, right) => {
                let (left, right) = (self.value(left)?, self.value(right)?);
                self.comparable(&left, &right)?;
                Filter::Compare(*comparison, left.value, right.value)
            }
            Node::Between(value, low, high) => {
                let (value, low, high) = (self.value(value)?, self.value(low)?, self.value(high)?);
                self.comparable(&value, &low)?;
                self.comparable(&value, &high)?;
                Filter::Between(value.value, low.value, high.value)
            }
            Node::In(value, items) => {
                let value = self.value(value)?;
                let mut list = Vec::new();
                for item in items {
                    let item = self.value(item)?;
                    if !matches!(item.value, Value::Literal(_)) {
                        return Err(Fault::new(item.offset, "a list holds nothing but literals and attributes".into()));
                    }
                    self.comparable(&value, &item)?;
                    list.push(item.value);
                }
                Filter::In(value.value, list)
            }
            Node::InAttribute(value, name) => self.in_attribute(value, name, expr.offset)?,
            Node::Like(value, pattern, escape) => {
                let value = self.value(value)?;
                if !matches!(value.kind, Kind::Text | Kind::Missing) {
                    return Err(Fault::new(
                        value.offset,
                        format!("`LIKE` is for texts, and this is {}", value.kind.name()),
                    ));
                }
                escapes(pattern, *escape, expr.offset)?;
                Filter::Like { value: value.value, pattern: pattern.clone(), escape: *escape }
            }
            Node::IsNull(value) => {
                let value = self.value(value)?;
                if matches!(value.value, Value::Literal(_)) && value.kind != Kind::Missing {
                    let message = "`IS NULL` asks about a column".to_owned();
                    return Err(Fault::new(value.offset, message)
                        .help("where the principal lacks an attribute, a filter shows nothing"));
                }
                Filter::IsNull(value.value)
            }
            Node::Column(_) | Node::Attribute(_) | Node::Literal(_) | Node::Arithmetic(..) => {
                let value = self.value(expr)?;
                match (value.kind, value.value) {
                    (Kind::Boolean, Value::Literal(Literal::Boolean(truth))) => Filter::Constant(truth),
                    (Kind::Boolean | Kind::Missing, value) => Filter::Holds(value),
                    (kind, _) => {
                        let message = format!("a condition is expected here, and this is {}", kind.name());
                        return Err(Fault::new(expr.offset, message));
                    }
                }
            }
        })
    }

    fn filters(&mut self, parts: &[Expr]) -> Result<Vec<Filter>, Fault> {
        parts.iter().map(|part| self.filter(part)).collect()
    }

    fn in_attribute(&mut self, value: &Expr, name: &Arc<str>, offset: usize) -> Result<Filter, Fault> {
        let value = self.value(value)?;
        if self.declared_type(name, offset)? != AttributeType::Strings {
            let message = format!("the attribute {} is one value, and `IN` takes several", quote(name));
            return Err(Fault::new(offset, message).help("write `=`"));
        }
        if !matches!(value.kind, Kind::Text | Kind::Missing) {
            let message = format!("the attribute {} holds texts, and this is {}", quote(name), value.kind.name());
            return Err(Fault::new(value.offset, message));
        }
        Ok(match self.attribute(name, AttributeType::Strings) {
            Some(Attribute::Set(texts)) if !texts.is_empty() => {
                let literal = |text: &String| Value::Literal(Literal::Text(text.as_str().into()));
                Filter::In(value.value, texts.iter().map(literal).collect())
            }
            // In no text there is nothing, and NULL is unknown there as well.
            _ => Filter::Compare(Comparison::NotEqual, value.value.clone(), value.value),
        })
    }

    fn value(&mut self, expr: &Expr) -> Result<Typed, Fault> {
        let offset = expr.offset;
        let (value, kind) = match &expr.node {
            Node::Column(path) => (Value::Column(path.clone()), self.column(path, offset)?),
            Node::Literal(literal) => (Value::Literal(literal.clone()), of_literal(literal)),
            Node::Attribute(name) => {
                let literal = match self.declared_type(name, offset)? {
                    AttributeType::Strings => {
                        let message = format!("the attribute {} is several texts", quote(name));
                        return Err(Fault::new(offset, message).help(format!("write `IN principal.{name}`")));
                    }
                    kind => match (kind, self.attribute(name, kind)) {
                        (_, Some(Attribute::String(text))) => Literal::Text(text.as_str().into()),
                        (_, Some(Attribute::Long(number))) => Literal::Number { unscaled: (*number).into(), scale: 0 },
                        (_, Some(Attribute::Bool(truth))) => Literal::Boolean(*truth),
                        // Something of that type, for the check alone.
                        (AttributeType::String, _) => Literal::Text("".into()),
                        (AttributeType::Bool, _) => Literal::Boolean(false),
                        (_, _) => Literal::Number { unscaled: 0, scale: 0 },
                    },
                };
                let kind = match of_literal(&literal) {
                    // Whatever number it is, so that a filter that loads is never a fault for one principal alone.
                    Kind::Exact { .. } => Kind::Exact { precision: 19, scale: 0 },
                    kind => kind,
                };
                (Value::Literal(literal), kind)
            }
            Node::Arithmetic(operator, left, right) => {
                let (left, right) = (self.value(left)?, self.value(right)?);
                let kind = result(*operator, &left, &right, offset)?;
                (Value::Arithmetic(*operator, left.value.into(), right.value.into()), kind)
            }
            _ => return Err(Fault::new(offset, "a value is expected here, and this is a condition".into())),
        };
        Ok(Typed { value, kind, offset })
    }

    fn declared_type(&self, name: &str, offset: usize) -> Result<AttributeType, Fault> {
        self.declared.attributes.get(name).copied().ok_or_else(|| {
            let fault = Fault::new(offset, format!("the attribute {} is not declared", quote(name)));
            let near = nearest(name, self.declared.attributes.keys().map(String::as_str));
            near.map_or(fault.clone(), |near| fault.help(format!("did you mean `{near}`?")))
        })
    }

    fn attribute(&mut self, name: &str, kind: AttributeType) -> Option<&'a Attribute> {
        let found = self.principal.and_then(|principal| principal.attributes.get(name));
        // One of another type than the declared one is as unknown as a missing one.
        let found = found.filter(|value| kind.holds(value));
        self.missing_attribute |= found.is_none();
        found
    }

    fn column(&mut self, path: &[Arc<str>], offset: usize) -> Result<Kind, Fault> {
        let mut columns = self.columns;
        let mut around: Option<&Column> = None;
        for name in path {
            if let Some(around) = around.filter(|around| !is_struct(&around.kind)) {
                let message = format!("{} is no struct, so a filter cannot look into it", quote(&around.name));
                return Err(Fault::new(offset, message));
            }
            let Some(column) = columns.iter().find(|column| *column.name == **name) else {
                let fault = Fault::new(offset, format!("there is no column {}", quote(&path.join("."))));
                let near = nearest(name, columns.iter().map(|column| column.name.as_str()));
                let fault = near.map_or(fault.clone(), |near| fault.help(format!("did you mean `{near}`?")));
                self.missing_column.get_or_insert(fault);
                return Ok(Kind::Missing);
            };
            columns = &column.fields;
            around = Some(column);
        }
        around.map_or(Ok(Kind::Opaque), |column| of_column(&column.kind, offset))
    }

    fn comparable(&self, left: &Typed, right: &Typed) -> Result<(), Fault> {
        let fits = match (left.kind, right.kind) {
            (Kind::Missing, _) | (_, Kind::Missing) => true,
            (Kind::Opaque, _) | (_, Kind::Opaque) => false,
            (Kind::Exact { .. }, Kind::Exact { .. }) => return meet(left, right),
            // A literal becomes a float itself; a column would lose digits.
            (Kind::Float, Kind::Exact { precision, .. }) => is_literal(right) && precision <= 15,
            (Kind::Exact { precision, .. }, Kind::Float) => is_literal(left) && precision <= 15,
            (Kind::Timestamp { zoned, nanos }, Kind::Timestamp { zoned: other_zoned, nanos: other_nanos }) => {
                zoned == other_zoned
                    && (nanos == other_nanos || nanos.is_none() || other_nanos.is_none())
                    && (nanos != Some(true) || fits_nanos(&right.value))
                    && (other_nanos != Some(true) || fits_nanos(&left.value))
            }
            (left, right) => left == right,
        };
        if fits {
            return Ok(());
        }
        let message = format!("{} and {} cannot be compared", left.kind.name(), right.kind.name());
        let wanted = if is_literal(left) { right.kind } else { left.kind };
        Err(Fault::new(left.offset, message).help(match wanted.written() {
            Some(example) => format!("{} is compared with another one, written like `{example}`", wanted.name()),
            None => "of such a value a filter asks nothing but `IS NULL`".to_owned(),
        }))
    }
}

impl Kind {
    fn name(self) -> &'static str {
        match self {
            Self::Boolean => "a truth value",
            Self::Exact { .. } => "an exact number",
            Self::Float => "a floating-point number",
            Self::Text => "a text",
            Self::Date => "a date",
            Self::Timestamp { zoned: true, .. } => "a timestamp in UTC",
            Self::Timestamp { zoned: false, .. } => "a timestamp without a zone",
            Self::Missing => "a missing column",
            Self::Opaque => "a value of a type without comparisons",
        }
    }

    /// How one of it is written in a filter, if it can be.
    fn written(self) -> Option<&'static str> {
        Some(match self {
            Self::Boolean => "true",
            Self::Exact { .. } | Self::Float => "12.5",
            Self::Text => "'EU'",
            Self::Date => "DATE '2030-12-31'",
            Self::Timestamp { zoned: true, .. } => "TIMESTAMP '2030-12-31T12:00:00Z'",
            Self::Timestamp { zoned: false, .. } => "TIMESTAMP '2030-12-31T12:00:00'",
            Self::Missing | Self::Opaque => return None,
        })
    }
}

fn is_literal(typed: &Typed) -> bool {
    matches!(typed.value, Value::Literal(_))
}

fn is_struct(kind: &Type) -> bool {
    matches!(kind, Type::Physical(PhysicalType::Struct) | Type::Logical(LogicalType::Object))
}

fn fits_nanos(value: &Value) -> bool {
    match value {
        Value::Literal(Literal::Timestamp(micros) | Literal::Timestamptz(micros)) => micros.checked_mul(1000).is_some(),
        _ => true,
    }
}

/// Whether two exact numbers have a common type of 38 digits.
fn meet(left: &Typed, right: &Typed) -> Result<(), Fault> {
    let (Kind::Exact { precision: p, scale: s }, Kind::Exact { precision: q, scale: t }) = (left.kind, right.kind)
    else {
        return Ok(());
    };
    let digits = (p - s.min(p)).max(q - t.min(q)) + s.max(t);
    if digits <= DIGITS {
        return Ok(());
    }
    let message = format!("these two numbers need {digits} digits to be compared, and {DIGITS} are there");
    Err(Fault::new(left.offset, message))
}

/// The kind of what arithmetic gives; it must fit whatever the operands are.
fn result(operator: Operator, left: &Typed, right: &Typed, offset: usize) -> Result<Kind, Fault> {
    let (p, s, q, t) = match (left.kind, right.kind) {
        (Kind::Missing, _) | (_, Kind::Missing) => return Ok(Kind::Missing),
        (Kind::Exact { precision: p, scale: s }, Kind::Exact { precision: q, scale: t }) => (p, s, q, t),
        (Kind::Exact { .. }, other) | (other, _) => {
            let message = format!("arithmetic is for exact numbers, and this is {}", other.name());
            return Err(Fault::new(offset, message));
        }
    };
    let (precision, scale) = match operator {
        Operator::Add | Operator::Subtract => {
            let scale = s.max(t);
            ((p - s.min(p)).max(q - t.min(q)) + scale + 1, scale)
        }
        Operator::Multiply => (p + q, s + t),
    };
    if precision <= DIGITS {
        return Ok(Kind::Exact { precision, scale });
    }
    let message = format!("the result could need {precision} digits, and a number has at most {DIGITS}");
    Err(Fault::new(offset, message).help("arithmetic must not be able to fail"))
}

fn of_literal(literal: &Literal) -> Kind {
    match literal {
        Literal::Boolean(_) => Kind::Boolean,
        Literal::Number { unscaled, scale } => {
            let digits = unscaled.unsigned_abs().checked_ilog10().map_or(1, |log| log + 1);
            Kind::Exact { precision: digits.max(u32::from(*scale)), scale: u32::from(*scale) }
        }
        Literal::Text(_) => Kind::Text,
        Literal::Date(_) => Kind::Date,
        Literal::Timestamp(_) => Kind::Timestamp { zoned: false, nanos: None },
        Literal::Timestamptz(_) => Kind::Timestamp { zoned: true, nanos: None },
        Literal::Float(_) => Kind::Float,
    }
}

fn of_column(kind: &Type, offset: usize) -> Result<Kind, Fault> {
    use PhysicalType as P;
    let timestamp = |zoned, nanos| Kind::Timestamp { zoned, nanos: Some(nanos) };
    Ok(match kind {
        Type::Physical(kind) => match kind {
            P::Boolean => Kind::Boolean,
            P::Int => Kind::Exact { precision: 10, scale: 0 },
            P::Long => Kind::Exact { precision: 19, scale: 0 },
            P::Decimal { precision, scale } => Kind::Exact { precision: *precision, scale: *scale },
            P::Float | P::Double => Kind::Float,
            P::String => Kind::Text,
            P::Date => Kind::Date,
            P::Timestamp => timestamp(false, false),
            P::Timestamptz => timestamp(true, false),
            P::TimestampNs => timestamp(false, true),
            P::TimestamptzNs => timestamp(true, true),
            _ => Kind::Opaque,
        },
        Type::Logical(kind) => match kind {
            LogicalType::String => Kind::Text,
            LogicalType::Boolean => Kind::Boolean,
            LogicalType::Integer => Kind::Exact { precision: DIGITS, scale: 0 },
            LogicalType::Date | LogicalType::Timestamp | LogicalType::Number => {
                let message = "the contract does not say the exact type of this column".to_owned();
                return Err(Fault::new(offset, message).help("give the column a `physicalType`"));
            }
            LogicalType::Time | LogicalType::Object | LogicalType::Array => Kind::Opaque,
        },
    })
}

/// The longest pattern, in bytes: the engine compiles a pattern for each batch, and one of this length always compiles.
const LONGEST: usize = 1024;

/// A pattern is short, and an escape in it takes the next character as it is, which must be one that means something.
fn escapes(pattern: &str, escape: Option<char>, offset: usize) -> Result<(), Fault> {
    if pattern.len() > LONGEST {
        return Err(Fault::new(
            offset,
            format!("a pattern has at most {LONGEST} bytes, and this one has {}", pattern.len()),
        ));
    }
    let Some(escape) = escape else { return Ok(()) };
    let mut chars = pattern.chars();
    while let Some(c) = chars.next() {
        if c == escape && !matches!(chars.next(), Some(next) if next == escape || "%_".contains(next)) {
            let message = format!("in the pattern {} an escape stands before nothing to escape", quote(pattern));
            return Err(Fault::new(offset, message));
        }
    }
    Ok(())
}
