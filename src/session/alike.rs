//! Comparisons of what SQL takes for alike and DataFusion 54 does not.
//!
//! ```text
//! t = TIME '00:00:05'    a time of microseconds, and one of nanoseconds  ->  two of nanoseconds
//! u = 'f79c3e09-677c…'   sixteen bytes, and the text of a uuid           ->  twice sixteen bytes
//! ```
//!
//! Only what would be an error is changed, and no value is: a column becomes what it is compared with where that holds
//! all of its values, else the literal does.

use datafusion::arrow::datatypes::DataType::{FixedSizeBinary, LargeUtf8, Time64, Utf8, Utf8View};
use datafusion::arrow::datatypes::TimeUnit::{Microsecond, Nanosecond};
use datafusion::common::{DFSchema, Result, ScalarValue};
use datafusion::logical_expr::planner::{ExprPlanner, PlannerResult, RawBinaryExpr};
use datafusion::logical_expr::{Expr, ExprSchemable, cast, lit};
use datafusion::sql::sqlparser::ast::BinaryOperator;
use uuid::Uuid;

/// Makes the sides of a comparison alike before DataFusion looks at their types.
#[derive(Debug)]
pub(super) struct Alike;

impl ExprPlanner for Alike {
    fn plan_binary_op(&self, expr: RawBinaryExpr, schema: &DFSchema) -> Result<PlannerResult<RawBinaryExpr>> {
        use BinaryOperator::{Eq, Gt, GtEq, Lt, LtEq, NotEq};
        // The type of a long chain is found by walking all of it, so only those that can be helped are asked.
        if !matches!(expr.op, Eq | NotEq | Lt | LtEq | Gt | GtEq) {
            return Ok(PlannerResult::Original(expr));
        }
        let RawBinaryExpr { op, left, right } = expr;
        let (left, right) = match (left.get_type(schema), right.get_type(schema)) {
            (Ok(Time64(Microsecond)), Ok(Time64(Nanosecond))) => (finer(left), right),
            (Ok(Time64(Nanosecond)), Ok(Time64(Microsecond))) => (left, finer(right)),
            (Ok(FixedSizeBinary(16)), Ok(Utf8 | LargeUtf8 | Utf8View)) => (left, uuid(right)),
            (Ok(Utf8 | LargeUtf8 | Utf8View), Ok(FixedSizeBinary(16))) => (uuid(left), right),
            _ => (left, right),
        };
        Ok(PlannerResult::Original(RawBinaryExpr { op, left, right }))
    }
}

fn finer(time: Expr) -> Expr {
    cast(time, Time64(Nanosecond))
}

/// The bytes of a uuid that is written as text.
fn uuid(expr: Expr) -> Expr {
    let Expr::Literal(value, _) = &expr else { return expr };
    match value.try_as_str().flatten().and_then(|text| Uuid::parse_str(text).ok()) {
        Some(uuid) => lit(ScalarValue::FixedSizeBinary(16, Some(uuid.as_bytes().to_vec()))),
        None => expr,
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::panic, reason = "tests")]
mod tests {
    use datafusion::arrow::datatypes::{Field, Schema};
    use datafusion::logical_expr::{Operator, binary_expr, col};

    use super::*;

    fn planned(left: Expr, right: Expr, schema: &DFSchema) -> Expr {
        let raw = RawBinaryExpr { op: BinaryOperator::Eq, left, right };
        match Alike.plan_binary_op(raw, schema).unwrap() {
            PlannerResult::Original(RawBinaryExpr { left, right, .. }) => binary_expr(left, Operator::Eq, right),
            PlannerResult::Planned(expr) => panic!("{expr} was planned"),
        }
    }

    #[test]
    fn times_and_uuids_are_compared_with_what_sql_writes_for_them() {
        let fields = vec![
            Field::new("t", Time64(Microsecond), true),
            Field::new("u", FixedSizeBinary(16), true),
            Field::new("f", FixedSizeBinary(4), true),
        ];
        let schema = DFSchema::try_from(Schema::new(fields)).unwrap();
        let time = lit(ScalarValue::Time64Nanosecond(Some(5_000_000_000)));
        let text = "f79c3e09-677c-4bbd-a479-3f349cb785e7";
        for (column, value) in [("t", time), ("u", lit(text)), ("u", lit(text.replace('-', "").to_uppercase()))] {
            let plain = binary_expr(col(column), Operator::Eq, value.clone());
            assert!(plain.get_type(&schema).is_err(), "{plain} needs no help");
            for made in [planned(col(column), value.clone(), &schema), planned(value, col(column), &schema)] {
                assert!(made.get_type(&schema).is_ok(), "{made}");
            }
        }
        for (column, value) in [("u", lit("no uuid")), ("f", lit(text)), ("t", lit("00:00:05")), ("u", col("t"))] {
            let plain = binary_expr(col(column), Operator::Eq, value.clone());
            assert_eq!(planned(col(column), value, &schema), plain);
        }
    }
}
