//! Which expressions give a value for every row, and so can tell nothing by failing.
//!
//! What is not known to be total is taken as one that may fail. DataFusion computes integers modulo their width, so sums
//! and products of them are total; those of decimals are where all digits have room.
//!
//! ```text
//! total       a + b, price * (1 - discount), name LIKE 'x%', CASE WHEN a > b THEN upper(c) END, TRY_CAST(c AS INT)
//! may fail    a / b, CAST(c AS INT), abs(a), date_trunc('month', at)
//! ```

use datafusion::arrow::datatypes::DataType;
use datafusion::common::{DFSchema, ScalarValue};
use datafusion::logical_expr::expr::{AggregateFunction, Case, InList, Like};
use datafusion::logical_expr::{BinaryExpr, Expr, ExprSchemable, Operator};

use super::leakproof::{is_short, widened};

/// Functions that are total on values of the types that they take.
const FUNCTIONS: [&str; 17] = [
    "btrim",
    "character_length",
    "coalesce",
    "concat",
    "date_part",
    "get_field",
    "lower",
    "ltrim",
    "nullif",
    "nvl",
    "octet_length",
    "replace",
    "rtrim",
    "starts_with",
    "strpos",
    "upper",
    "||",
];

/// Aggregates that are.
const AGGREGATES: [&str; 7] = ["avg", "bool_and", "bool_or", "count", "max", "min", "sum"];

/// The most digits of a decimal whose average has room for all rows that there can be.
const AVERAGED: u8 = 15;

/// The most digits that 128 bits hold.
const DIGITS: u8 = 38;

/// Whether an expression over `schema` is total.
pub fn is_total(expr: &Expr, schema: &DFSchema) -> bool {
    let total = |expr: &Expr| is_total(expr, schema);
    match expr {
        Expr::Column(_) | Expr::Literal(..) | Expr::OuterReferenceColumn(..) => true,
        // It is computed once, for no row in particular.
        Expr::ScalarSubquery(query) => query.outer_ref_columns.is_empty(),
        Expr::Alias(alias) => total(&alias.expr),
        Expr::BinaryExpr(binary) => total(&binary.left) && total(&binary.right) && computes(binary, schema),
        Expr::Not(inner)
        | Expr::IsNull(inner)
        | Expr::IsNotNull(inner)
        | Expr::IsTrue(inner)
        | Expr::IsFalse(inner)
        | Expr::IsUnknown(inner)
        | Expr::IsNotTrue(inner)
        | Expr::IsNotFalse(inner)
        | Expr::IsNotUnknown(inner) => total(inner),
        Expr::Negative(inner) => total(inner) && kind(inner, schema).is_some_and(|kind| kind.is_numeric()),
        Expr::Between(between) => total(&between.expr) && total(&between.low) && total(&between.high),
        Expr::InList(InList { expr, list, negated: _ }) => total(expr) && list.iter().all(total),
        Expr::Like(Like { expr, pattern, .. }) => {
            total(expr) && matches!(pattern.as_ref(), Expr::Literal(pattern, _) if is_short(pattern))
        }
        Expr::Case(Case { expr, when_then_expr, else_expr }) => {
            let branches = when_then_expr.iter().flat_map(|(when, then)| [when, then]);
            expr.iter().chain(branches).chain(else_expr).all(|part| total(part))
        }
        Expr::Cast(cast) => {
            let to = cast.field.data_type();
            let casts = |from| always_casts(from, to) || holds(to, magnitude(&cast.expr, schema));
            total(&cast.expr) && kind(&cast.expr, schema).is_some_and(casts)
        }
        Expr::TryCast(cast) => total(&cast.expr),
        Expr::ScalarFunction(call) => match (call.name(), call.args.as_slice()) {
            // A length that is negative is an error.
            ("substr", [text, start, length @ ..]) => total(text) && total(start) && length.iter().all(is_length),
            (name, args) => FUNCTIONS.contains(&name) && args.iter().all(total),
        },
        Expr::AggregateFunction(AggregateFunction { func, params }) => {
            let fits = |arg: &Expr| match kind(arg, schema) {
                Some(DataType::Decimal128(precision, _)) => func.name() != "avg" || precision <= AVERAGED,
                Some(kind) => !matches!(kind, DataType::Duration(_) | DataType::Interval(_)),
                None => false,
            };
            let order = params.order_by.iter().map(|sort| &sort.expr);
            AGGREGATES.contains(&func.name())
                && params.args.iter().all(fits)
                && params.args.iter().chain(params.filter.as_deref()).chain(order).all(total)
        }
        _ => false,
    }
}

fn kind(expr: &Expr, schema: &DFSchema) -> Option<DataType> {
    expr.get_type(schema).ok()
}

/// Whether an operator gives a value for all values of its operands' types.
fn computes(BinaryExpr { left, op, right }: &BinaryExpr, schema: &DFSchema) -> bool {
    use Operator as O;
    let (Some(one), Some(other)) = (kind(left, schema), kind(right, schema)) else { return false };
    match op {
        O::And | O::Or | O::Eq | O::NotEq | O::Lt | O::LtEq | O::Gt | O::GtEq => true,
        O::IsDistinctFrom | O::IsNotDistinctFrom => true,
        O::StringConcat => is_text(&one) && is_text(&other),
        O::Plus | O::Minus | O::Multiply => match (&one, &other) {
            (DataType::Decimal128(p, s), DataType::Decimal128(q, t)) => has_room(*op, (*p, *s), (*q, *t)),
            _ => one == other && (one.is_integer() || one.is_floating()),
        },
        O::Divide | O::Modulo => one == other && (one.is_floating() || one.is_integer() && divides(right)),
        _ => false,
    }
}

fn is_text(kind: &DataType) -> bool {
    kind.is_string()
}

/// Whether every result of two decimals fits 128 bits, and so do they when they are brought to one scale.
fn has_room(operator: Operator, (p, s): (u8, i8), (q, t): (u8, i8)) -> bool {
    let (p, s, q, t) = (i16::from(p), i16::from(s), i16::from(q), i16::from(t));
    let digits = match operator {
        Operator::Multiply => p + q,
        _ => (p - s).max(q - t) + s.max(t) + 1,
    };
    digits <= i16::from(DIGITS)
}

/// Whether a divisor is a number by which all others can be divided: neither 0 nor -1.
fn divides(divisor: &Expr) -> bool {
    let Expr::Literal(value, _) = divisor else { return false };
    match value.cast_to(&DataType::Int64) {
        Ok(ScalarValue::Int64(Some(value))) => value != 0 && value != -1,
        _ => false,
    }
}

fn is_length(length: &Expr) -> bool {
    let Expr::Literal(value, _) = length else { return false };
    matches!(value.cast_to(&DataType::Int64), Ok(ScalarValue::Int64(Some(length))) if length >= 0)
}

/// Whether a cast gives a value for all values of a type.
fn always_casts(from: DataType, to: &DataType) -> bool {
    let plain = from.is_integer() || from.is_floating() || from.is_string() || from == DataType::Boolean;
    let to_float = matches!(from, DataType::Decimal128(..)) || from.is_integer();
    (plain && to.is_string()) || (to_float && *to == DataType::Float64) || widened(from, to).is_some()
}

/// Whether a decimal holds every number up to a magnitude, with room for one that was rounded.
fn holds(to: &DataType, magnitude: Option<f64>) -> bool {
    let DataType::Decimal128(precision, scale) = to else { return false };
    let end = 10_f64.powi(i32::from(*precision) - i32::from(*scale));
    magnitude.is_some_and(|magnitude| magnitude * 2.0 < end)
}

/// A bound of what an expression of floats can give, where all that it is made of is bounded.
fn magnitude(expr: &Expr, schema: &DFSchema) -> Option<f64> {
    match expr {
        Expr::Alias(alias) => magnitude(&alias.expr, schema),
        Expr::Literal(value, _) => match value.cast_to(&DataType::Float64).ok()? {
            ScalarValue::Float64(Some(value)) => Some(value.abs()).filter(|value| value.is_finite()),
            _ => None,
        },
        Expr::Cast(cast) if *cast.field.data_type() == DataType::Float64 => match kind(&cast.expr, schema)? {
            DataType::Decimal128(precision, scale) => Some(10_f64.powi(i32::from(precision) - i32::from(scale))),
            kind if kind.is_integer() => Some(2_f64.powi(64)),
            _ => None,
        },
        Expr::BinaryExpr(BinaryExpr { left, op, right }) => {
            let (left, right) = (magnitude(left, schema)?, magnitude(right, schema)?);
            match op {
                Operator::Multiply => Some(left * right),
                Operator::Plus | Operator::Minus => Some(left + right),
                _ => None,
            }
        }
        _ => None,
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "tests")]
mod tests {
    use datafusion::arrow::datatypes::{Field, Schema, TimeUnit};
    use datafusion::functions::expr_fn::{abs, substr, substring, upper};
    use datafusion::functions_aggregate::expr_fn::{avg, stddev, sum};
    use datafusion::logical_expr::{cast, col, lit, try_cast, when};

    use super::*;

    #[test]
    fn what_may_fail_is_told_from_what_cannot() {
        let schema = DFSchema::try_from(Schema::new(vec![
            Field::new("a", DataType::Int64, true),
            Field::new("f", DataType::Float64, true),
            Field::new("price", DataType::Decimal128(15, 2), true),
            Field::new("vast", DataType::Decimal128(38, 2), true),
            Field::new("c", DataType::Utf8View, true),
            Field::new("at", DataType::Timestamp(TimeUnit::Microsecond, None), true),
        ]))
        .unwrap();
        let one = lit(ScalarValue::Decimal128(Some(1), 20, 0));
        for total in [
            col("a") + col("a") * lit(2_i64),
            col("a") / lit(7_i64),
            col("f") / col("f"),
            col("price") * (one - col("price")),
            col("c").like(lit("x%")).and(col("a").in_list(vec![lit(1_i64)], true)),
            when(col("a").gt(lit(1_i64)), upper(col("c"))).end().unwrap(),
            try_cast(col("c"), DataType::Int32),
            cast(col("a"), DataType::Utf8),
            cast(col("price"), DataType::Float64),
            cast(lit(0.2) * cast(col("price"), DataType::Float64), DataType::Decimal128(30, 15)),
            substring(col("c"), lit(2_i64), lit(3_i64)),
            substr(col("c"), col("a")),
            sum(col("price") * col("price")),
            avg(col("price")),
        ] {
            assert!(is_total(&total, &schema), "{total}");
        }
        for failing in [
            col("a") / col("a"),
            col("a") % lit(0_i64),
            col("a") / lit(-1_i64),
            col("vast") * col("price"),
            col("vast") + col("vast"),
            cast(col("c"), DataType::Int32),
            cast(col("a"), DataType::Int32),
            cast(lit(0.2) * cast(col("price"), DataType::Float64), DataType::Decimal128(12, 2)),
            cast(lit(0.2) * col("f"), DataType::Decimal128(30, 15)),
            col("c").like(col("c")),
            col("c").ilike(lit("_%".repeat(1000))),
            abs(col("a")),
            substring(col("c"), lit(2_i64), col("a")),
            when(col("a").gt(lit(1_i64)), col("a") / col("a")).end().unwrap(),
            upper(cast(cast(col("c"), DataType::Int32), DataType::Utf8)),
            avg(col("vast")),
            stddev(col("f")),
            sum(col("a") / col("a")),
            col("at") - col("at"),
            col("gone") + lit(1_i64),
        ] {
            assert!(!is_total(&failing, &schema), "{failing}");
        }
    }
}
