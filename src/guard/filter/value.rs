//! The values in a row filter, each with its type, and how two of them meet in one.

use std::sync::Arc;

use datafusion::arrow::datatypes::{DataType, Field, Schema, TimeUnit};
use datafusion::common::ScalarValue;
use datafusion::functions::core::expr_fn::get_field;
use datafusion::logical_expr::{BinaryExpr, Expr, Operator, cast, ident, lit, when};
use polder_catalog::policy::filter::{self, Literal, Value};

use super::Unfit;

/// The most digits that an exact number has.
const DIGITS: u8 = 38;

/// The columns that a filter may speak of.
pub(super) struct Columns<'a> {
    pub(super) schema: &'a Schema,
    /// The name in the schema of the column that a path begins with.
    pub(super) alias: &'a dyn Fn(&str) -> String,
}

/// An expression and what is known of it.
#[derive(Debug, Clone)]
pub(super) struct Typed {
    pub(super) expr: Expr,
    kind: Kind,
}

#[derive(Debug, Clone, PartialEq)]
enum Kind {
    /// A column that is no exact number, with its type.
    Plain(DataType),
    /// A column of an integer or a decimal type, or what arithmetic made of such.
    Exact(Exact),
    /// A literal, which takes the type of what it meets.
    Literal(Literal),
}

/// An exact number: its type, and the digits that it can have before and behind the point.
#[derive(Debug, Clone, PartialEq)]
struct Exact {
    kind: DataType,
    whole: u8,
    scale: u8,
}

impl Columns<'_> {
    pub(super) fn value(&self, value: &Value) -> Result<Typed, Unfit> {
        match value {
            Value::Column(path) => self.column(path),
            Value::Literal(literal) => Ok(Typed { expr: lit(ScalarValue::Null), kind: Kind::Literal(literal.clone()) }),
            Value::Arithmetic(operator, left, right) => arithmetic(*operator, self.value(left)?, self.value(right)?),
        }
    }

    fn column(&self, path: &[Arc<str>]) -> Result<Typed, Unfit> {
        let (first, inside) = path.split_first().ok_or(Unfit::Column)?;
        let name = (self.alias)(first);
        let mut field: &Field = self.schema.field_with_name(&name).map_err(|_| Unfit::Column)?;
        let mut expr = ident(&name);
        for name in inside {
            let DataType::Struct(fields) = field.data_type() else { return Err(Unfit::Column) };
            let (_, found) = fields.find(name).ok_or(Unfit::Column)?;
            field = found;
            // What stands in the field of a struct that is NULL is nobody's value.
            let taken = get_field(expr.clone(), name.as_ref());
            expr = when(expr.is_not_null(), taken).end().map_err(|_| Unfit::Column)?;
        }
        Ok(Typed { expr, kind: Kind::of(field.data_type()) })
    }
}

impl Kind {
    fn of(kind: &DataType) -> Self {
        let exact = |whole, scale| Self::Exact(Exact { kind: kind.clone(), whole, scale });
        match kind {
            DataType::Int32 => exact(10, 0),
            DataType::Int64 => exact(19, 0),
            DataType::Decimal128(precision, scale) => match u8::try_from(*scale) {
                Ok(scale) if scale <= *precision => exact(precision - scale, scale),
                _ => Self::Plain(kind.clone()),
            },
            other => Self::Plain(other.clone()),
        }
    }
}

impl Exact {
    /// A literal of at most 38 digits.
    fn literal(unscaled: i128, scale: u8) -> Self {
        let digits = unscaled.unsigned_abs().checked_ilog10().map_or(1, |log| log + 1);
        let digits = u8::try_from(digits).unwrap_or(DIGITS);
        Self { kind: DataType::Decimal128(DIGITS, scale_of(scale)), whole: digits.saturating_sub(scale), scale }
    }
}

fn scale_of(scale: u8) -> i8 {
    i8::try_from(scale).unwrap_or(i8::MAX)
}

impl Typed {
    /// A truth value as a condition.
    pub(super) fn truth(self) -> Result<Expr, Unfit> {
        match self.kind {
            Kind::Plain(DataType::Boolean) => Ok(self.expr),
            Kind::Literal(Literal::Boolean(truth)) => Ok(lit(truth)),
            _ => Err(Unfit::Types),
        }
    }

    /// A text of this value's own type.
    pub(super) fn text(&self, text: &str) -> Result<Expr, Unfit> {
        match &self.kind {
            Kind::Plain(kind) => native(&Literal::Text(text.into()), kind).map(lit).ok_or(Unfit::Types),
            _ => Err(Unfit::Types),
        }
    }

    /// Two values in one type. The left stays as it is wherever a literal can become what it is.
    pub(super) fn meet(left: Self, right: Self) -> Result<(Expr, Expr), Unfit> {
        match (&left.kind, &right.kind) {
            (Kind::Literal(_), Kind::Literal(literal)) => {
                let kind = kind_of(literal);
                let fixed = |typed: &Self| match &typed.kind {
                    Kind::Literal(literal) => native(literal, &kind).map(lit).ok_or(Unfit::Types),
                    _ => Err(Unfit::Types),
                };
                match fixed(&left) {
                    Ok(met) => Ok((met, fixed(&right)?)),
                    Err(_) => exact(left, right),
                }
            }
            (Kind::Literal(_), _) => Self::meet(right, left).map(|(right, left)| (left, right)),
            (Kind::Plain(kind), Kind::Literal(literal)) => {
                let literal = native(literal, kind).ok_or(Unfit::Types)?;
                Ok((left.expr, lit(literal)))
            }
            (Kind::Exact(Exact { kind, .. }), Kind::Literal(literal)) => match native(literal, kind) {
                Some(literal) => Ok((left.expr, lit(literal))),
                None => exact(left, right),
            },
            (Kind::Plain(a), Kind::Plain(b)) if a == b && is_comparable(a) => Ok((left.expr, right.expr)),
            (Kind::Plain(a), Kind::Plain(b)) => {
                let wide = wider(a, b).ok_or(Unfit::Types)?;
                Ok((cast(left.expr, wide.clone()), cast(right.expr, wide)))
            }
            (Kind::Exact(a), Kind::Exact(b)) if a.kind == b.kind => Ok((left.expr, right.expr)),
            (Kind::Exact(_), Kind::Exact(_)) => exact(left, right),
            (Kind::Exact(_), Kind::Plain(_)) | (Kind::Plain(_), Kind::Exact(_)) => Err(Unfit::Types),
        }
    }

    /// What is known of an exact number.
    fn exact(&self) -> Result<Exact, Unfit> {
        match &self.kind {
            Kind::Exact(exact) => Ok(exact.clone()),
            Kind::Literal(Literal::Number { unscaled, scale }) => Ok(Exact::literal(*unscaled, *scale)),
            _ => Err(Unfit::Types),
        }
    }

    /// An exact number with 38 digits, `scale` of them behind the point.
    fn widened(self, scale: u8) -> Result<Expr, Unfit> {
        let kind = DataType::Decimal128(DIGITS, scale_of(scale));
        match &self.kind {
            Kind::Literal(literal) => native(literal, &kind).map(lit).ok_or(Unfit::Types),
            Kind::Exact(exact) if exact.kind == kind => Ok(self.expr),
            _ => Ok(cast(self.expr, kind)),
        }
    }
}

/// Two exact numbers as decimals that hold both.
fn exact(left: Typed, right: Typed) -> Result<(Expr, Expr), Unfit> {
    let (a, b) = (left.exact()?, right.exact()?);
    let scale = a.scale.max(b.scale);
    if a.whole.max(b.whole).saturating_add(scale) > DIGITS {
        return Err(Unfit::Types);
    }
    Ok((left.widened(scale)?, right.widened(scale)?))
}

/// Sums and products in decimals whose digits are counted, so that none can be too many.
fn arithmetic(operator: filter::Operator, left: Typed, right: Typed) -> Result<Typed, Unfit> {
    let (a, b) = (left.exact()?, right.exact()?);
    let (operator, whole, scale) = match operator {
        filter::Operator::Add => (Operator::Plus, a.whole.max(b.whole).saturating_add(1), a.scale.max(b.scale)),
        filter::Operator::Subtract => (Operator::Minus, a.whole.max(b.whole).saturating_add(1), a.scale.max(b.scale)),
        filter::Operator::Multiply => {
            (Operator::Multiply, a.whole.saturating_add(b.whole), a.scale.saturating_add(b.scale))
        }
    };
    if whole.saturating_add(scale) > DIGITS {
        return Err(Unfit::Types);
    }
    let (left_scale, right_scale) = if operator == Operator::Multiply { (a.scale, b.scale) } else { (scale, scale) };
    let (left, right) = (left.widened(left_scale)?, right.widened(right_scale)?);
    let expr = Expr::BinaryExpr(BinaryExpr::new(Box::new(left), operator, Box::new(right)));
    let kind = DataType::Decimal128(DIGITS, scale_of(scale));
    Ok(Typed { expr, kind: Kind::Exact(Exact { kind, whole, scale }) })
}

/// The type that a literal has by itself.
fn kind_of(literal: &Literal) -> DataType {
    match literal {
        Literal::Boolean(_) => DataType::Boolean,
        Literal::Number { scale, .. } => DataType::Decimal128(DIGITS, scale_of(*scale)),
        Literal::Text(_) => DataType::Utf8,
        Literal::Date(_) => DataType::Date32,
        Literal::Timestamp(_) => DataType::Timestamp(TimeUnit::Microsecond, None),
        Literal::Timestamptz(_) => DataType::Timestamp(TimeUnit::Microsecond, Some("UTC".into())),
        Literal::Float(_) => DataType::Float64,
    }
}

/// A literal as a value of a type, or nothing where it is none.
fn native(literal: &Literal, kind: &DataType) -> Option<ScalarValue> {
    let nanos = |micros: &i64| micros.checked_mul(1000);
    Some(match (literal, kind) {
        (Literal::Boolean(truth), DataType::Boolean) => ScalarValue::Boolean(Some(*truth)),
        (Literal::Text(text), DataType::Utf8) => ScalarValue::Utf8(Some(text.to_string())),
        (Literal::Text(text), DataType::Utf8View) => ScalarValue::Utf8View(Some(text.to_string())),
        (Literal::Date(days), DataType::Date32) => ScalarValue::Date32(Some(*days)),
        (Literal::Timestamp(at), DataType::Timestamp(TimeUnit::Microsecond, None)) => {
            ScalarValue::TimestampMicrosecond(Some(*at), None)
        }
        (Literal::Timestamp(at), DataType::Timestamp(TimeUnit::Nanosecond, None)) => {
            ScalarValue::TimestampNanosecond(Some(nanos(at)?), None)
        }
        (Literal::Timestamptz(at), DataType::Timestamp(TimeUnit::Microsecond, Some(zone))) => {
            ScalarValue::TimestampMicrosecond(Some(*at), Some(Arc::clone(zone)))
        }
        (Literal::Timestamptz(at), DataType::Timestamp(TimeUnit::Nanosecond, Some(zone))) => {
            ScalarValue::TimestampNanosecond(Some(nanos(at)?), Some(Arc::clone(zone)))
        }
        (Literal::Number { unscaled, scale }, kind) => number(*unscaled, *scale, kind)?,
        (Literal::Float(bits), DataType::Float64) => ScalarValue::Float64(Some(f64::from_bits(*bits))),
        // The nearest one, as Iceberg reads it.
        (Literal::Float(bits), DataType::Float32) => ScalarValue::Float32(Some(f64::from_bits(*bits) as f32)),
        _ => return None,
    })
}

fn number(unscaled: i128, scale: u8, kind: &DataType) -> Option<ScalarValue> {
    // The nearest float, as the text of the number says it.
    let text = || format!("{unscaled}e-{scale}");
    Some(match kind {
        DataType::Int32 if scale == 0 => ScalarValue::Int32(Some(i32::try_from(unscaled).ok()?)),
        DataType::Int64 if scale == 0 => ScalarValue::Int64(Some(i64::try_from(unscaled).ok()?)),
        DataType::Float32 => ScalarValue::Float32(Some(text().parse().ok()?)),
        DataType::Float64 => ScalarValue::Float64(Some(text().parse().ok()?)),
        DataType::Decimal128(precision, wanted) => {
            let more = u8::try_from(*wanted).ok()?.checked_sub(scale)?;
            let value = unscaled.checked_mul(10_i128.checked_pow(more.into())?)?;
            let digits = value.unsigned_abs().checked_ilog10().map_or(1, |log| log + 1);
            (digits <= u32::from(*precision)).then_some(())?;
            ScalarValue::Decimal128(Some(value), *precision, *wanted)
        }
        _ => return None,
    })
}

/// Whether values of a type are compared by one kernel that cannot fail.
fn is_comparable(kind: &DataType) -> bool {
    matches!(
        kind,
        DataType::Boolean
            | DataType::Utf8
            | DataType::Utf8View
            | DataType::Date32
            | DataType::Float32
            | DataType::Float64
            | DataType::Timestamp(..)
    )
}

/// The type that holds all values of both.
fn wider(a: &DataType, b: &DataType) -> Option<DataType> {
    use DataType::{Float32, Float64, Utf8, Utf8View};
    match (a, b) {
        (Float32, Float64) | (Float64, Float32) => Some(Float64),
        (Utf8, Utf8View) | (Utf8View, Utf8) => Some(Utf8View),
        _ => None,
    }
}
