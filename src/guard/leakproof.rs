//! Which predicates tell nothing of the rows that they run on, but by the rows that they keep.
//!
//! Below a row filter a predicate runs on rows that its author may not see. One that can fail tells of them by its error,
//! so only those go there that cannot: comparisons of plain columns with literals or with each other, and what AND, OR
//! and NOT make of them. A column may be cast only to a type that holds all its values. LIKE is compiled for a batch, so
//! its pattern is short enough for that never to fail; ILIKE is compiled only where a batch has a letter outside ASCII.
//!
//! ```text
//! city = 'Delft' AND id IN (1, 2)     goes below
//! CAST(note AS INT) > 0, 1 / 0 = 1    stays above, the second one also, though no column is in it
//! ```
//!
//! The same rule is written twice: for the expressions of a logical plan, and for those of a physical one, where the
//! verifier holds it against what really stands below a guard.

use std::sync::Arc;

use datafusion::arrow::datatypes::{DataType, Schema, TimeUnit};
use datafusion::common::ScalarValue;
use datafusion::common::tree_node::{TreeNode, TreeNodeRecursion};
use datafusion::logical_expr::expr::Placeholder;
use datafusion::logical_expr::{BinaryExpr, Expr, Operator};
use datafusion::physical_expr::PhysicalExpr;
use datafusion::physical_expr::expressions::{
    self as physical, CastExpr, DynamicFilterPhysicalExpr, InListExpr, IsNotNullExpr, IsNullExpr, LikeExpr, NotExpr,
};

/// Whether a predicate over `schema` is leakproof. `is_plain` says which columns are shown as they are.
pub fn is_leakproof(predicate: &Expr, schema: &Schema, is_plain: &dyn Fn(&str) -> bool) -> bool {
    let known = Known { schema, is_plain };
    known.predicate(predicate)
}

/// The same for a physical predicate.
pub fn is_leakproof_physical(
    predicate: &Arc<dyn PhysicalExpr>,
    schema: &Schema,
    is_plain: &dyn Fn(&str) -> bool,
) -> bool {
    let known = Known { schema, is_plain };
    known.physical(predicate)
}

/// Whether a predicate is one that an operator fills while it runs, over plain columns alone.
pub(super) fn is_dynamic(predicate: &Arc<dyn PhysicalExpr>, is_plain: &dyn Fn(&str) -> bool) -> bool {
    // Whatever it is filled with compares these with values, or looks them up.
    let filter = predicate.downcast_ref::<DynamicFilterPhysicalExpr>();
    filter.is_some_and(|filter| {
        let mut over = filter.children().into_iter();
        over.all(|child| child.downcast_ref::<physical::Column>().is_some_and(|column| is_plain(column.name())))
    })
}

/// What is known of the columns.
struct Known<'a> {
    schema: &'a Schema,
    is_plain: &'a dyn Fn(&str) -> bool,
}

impl Known<'_> {
    fn predicate(&self, predicate: &Expr) -> bool {
        // A predicate without a column is computed from nothing, and may fail all the same; but for what is left of one
        // that was simplified.
        is_known(predicate) || has_column(predicate) && self.condition(predicate)
    }

    fn condition(&self, expr: &Expr) -> bool {
        match expr {
            Expr::BinaryExpr(BinaryExpr { left, op: Operator::And | Operator::Or, right }) => {
                self.condition(left) && self.condition(right)
            }
            Expr::BinaryExpr(BinaryExpr { left, op, right }) => {
                is_comparison(*op) && self.alike([left.as_ref(), right.as_ref()])
            }
            Expr::Not(inner) => self.condition(inner),
            Expr::IsNull(value) | Expr::IsNotNull(value) => self.value(value).is_some(),
            Expr::IsTrue(inner)
            | Expr::IsFalse(inner)
            | Expr::IsUnknown(inner)
            | Expr::IsNotTrue(inner)
            | Expr::IsNotFalse(inner)
            | Expr::IsNotUnknown(inner) => self.condition(inner),
            Expr::InList(list) => self.alike(std::iter::once(list.expr.as_ref()).chain(&list.list)),
            Expr::Between(between) => self.alike([&between.expr, &between.low, &between.high].map(AsRef::as_ref)),
            Expr::Like(like) => {
                !like.case_insensitive
                    && matches!(like.escape_char, None | Some('\\'))
                    && matches!(like.pattern.as_ref(), Expr::Literal(pattern, _) if is_short(pattern))
                    && self.alike([&like.expr, &like.pattern].map(AsRef::as_ref))
                    && self.value(&like.expr).is_some_and(|kind| kind.is_string())
            }
            Expr::Column(_) | Expr::Literal(..) => self.value(expr) == Some(DataType::Boolean),
            _ => false,
        }
    }

    /// Whether these are values of one type.
    fn alike<'e>(&self, values: impl IntoIterator<Item = &'e Expr>) -> bool {
        let mut kinds = values.into_iter().map(|value| self.value(value));
        let first = kinds.next().flatten();
        first.is_some() && kinds.all(|kind| kind == first)
    }

    /// The type of a plain column, a widened one, a literal, or what one is going to stand for.
    fn value(&self, expr: &Expr) -> Option<DataType> {
        match expr {
            Expr::Column(column) => self.column(&column.name),
            Expr::Literal(value, _) => comparable(value.data_type()),
            Expr::Placeholder(Placeholder { field: Some(field), .. }) => comparable(field.data_type().clone()),
            Expr::Cast(cast) => widened(self.value(&cast.expr)?, cast.field.data_type()),
            _ => None,
        }
    }

    fn column(&self, name: &str) -> Option<DataType> {
        let field = self.schema.field_with_name(name).ok()?;
        (self.is_plain)(name).then(|| comparable(field.data_type().clone())).flatten()
    }

    fn physical(&self, expr: &Arc<dyn PhysicalExpr>) -> bool {
        if is_dynamic(expr, self.is_plain) {
            return true;
        }
        if let Some(binary) = expr.downcast_ref::<physical::BinaryExpr>() {
            let (left, right) = (binary.left(), binary.right());
            return match binary.op() {
                Operator::And | Operator::Or => self.physical(left) && self.physical(right),
                // `(…) IS TRUE` is such a comparison of what are conditions themselves.
                op => {
                    is_comparison(*op)
                        && (self.alike_physical([left, right]) || self.physical(left) && self.physical(right))
                }
            };
        }
        if let Some(not) = expr.downcast_ref::<NotExpr>() {
            return self.physical(not.arg());
        }
        if let Some(is_null) = expr.downcast_ref::<IsNullExpr>() {
            return self.physical_value(is_null.arg()).is_some() || self.physical(is_null.arg());
        }
        if let Some(is_not_null) = expr.downcast_ref::<IsNotNullExpr>() {
            return self.physical_value(is_not_null.arg()).is_some() || self.physical(is_not_null.arg());
        }
        if let Some(list) = expr.downcast_ref::<InListExpr>() {
            return self.alike_physical(std::iter::once(list.expr()).chain(list.list()));
        }
        if let Some(like) = expr.downcast_ref::<LikeExpr>() {
            let pattern = like.pattern().downcast_ref::<physical::Literal>();
            return !like.case_insensitive()
                && pattern.is_some_and(|pattern| is_short(pattern.value()))
                && self.alike_physical([like.expr(), like.pattern()]);
        }
        self.physical_value(expr) == Some(DataType::Boolean)
    }

    fn alike_physical<'e>(&self, values: impl IntoIterator<Item = &'e Arc<dyn PhysicalExpr>>) -> bool {
        let mut kinds = values.into_iter().map(|value| self.physical_value(value));
        let first = kinds.next().flatten();
        first.is_some() && kinds.all(|kind| kind == first)
    }

    fn physical_value(&self, expr: &Arc<dyn PhysicalExpr>) -> Option<DataType> {
        if let Some(column) = expr.downcast_ref::<physical::Column>() {
            return self.column(column.name());
        }
        if let Some(literal) = expr.downcast_ref::<physical::Literal>() {
            return comparable(literal.value().data_type());
        }
        let cast = expr.downcast_ref::<CastExpr>()?;
        widened(self.physical_value(cast.expr())?, cast.cast_type())
    }
}

fn has_column(expr: &Expr) -> bool {
    let mut found = false;
    let walked = expr.apply(|expr| {
        found |= matches!(expr, Expr::Column(_));
        Ok(if found { TreeNodeRecursion::Stop } else { TreeNodeRecursion::Continue })
    });
    walked.is_ok() && found
}

/// Whether a predicate is TRUE, FALSE or NULL itself.
fn is_known(expr: &Expr) -> bool {
    matches!(expr, Expr::Literal(ScalarValue::Boolean(_) | ScalarValue::Null, _))
}

/// Whether a pattern of LIKE compiles, whatever is in it: a letter takes less than a kilobyte of the ten megabytes that
/// there are.
pub(super) fn is_short(pattern: &ScalarValue) -> bool {
    pattern.try_as_str().flatten().is_none_or(|pattern| pattern.len() <= 1024)
}

fn is_comparison(operator: Operator) -> bool {
    matches!(
        operator,
        Operator::Eq
            | Operator::NotEq
            | Operator::Lt
            | Operator::LtEq
            | Operator::Gt
            | Operator::GtEq
            | Operator::IsDistinctFrom
            | Operator::IsNotDistinctFrom
    )
}

/// A type whose values are compared by one kernel that cannot fail.
fn comparable(kind: DataType) -> Option<DataType> {
    let plain = matches!(
        kind,
        DataType::Boolean
            | DataType::Date32
            | DataType::Time64(_)
            | DataType::Timestamp(..)
            | DataType::Utf8
            | DataType::Utf8View
            | DataType::Binary
            | DataType::BinaryView
            | DataType::FixedSizeBinary(_)
    );
    (plain || kind.is_numeric()).then_some(kind)
}

/// The type that a cast gives, where it can give every value of the type that it takes.
pub(super) fn widened(from: DataType, to: &DataType) -> Option<DataType> {
    use DataType::{Binary, BinaryView, Decimal128, Float32, Float64, Int32, Int64, Timestamp, Utf8, Utf8View};
    let digits = |precision: u8, scale: i8| i16::from(precision) - i16::from(scale);
    let holds = |whole: i16, scale: i8| matches!(to, Decimal128(p, s) if digits(*p, *s) >= whole && *s >= scale);
    let fits = match (&from, to) {
        (from, to) if from == to => true,
        (Int32, Int64 | Float64) | (Int64, Float64) | (Float32, Float64) => true,
        (Utf8, Utf8View) | (Utf8View, Utf8) | (Binary, BinaryView) | (BinaryView, Binary) => true,
        (Int32, Decimal128(..)) => holds(10, 0),
        (Int64, Decimal128(..)) => holds(19, 0),
        (Decimal128(precision, scale), Decimal128(..)) => holds(digits(*precision, *scale), *scale),
        // A clock's zone changes no count.
        (Timestamp(TimeUnit::Microsecond, Some(_)), Timestamp(TimeUnit::Microsecond, Some(_))) => true,
        _ => false,
    };
    fits.then(|| to.clone())
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "tests")]
mod tests {
    use datafusion::arrow::datatypes::Field;
    use datafusion::logical_expr::{cast, col, lit, not};

    use super::*;

    fn schema() -> Schema {
        let list = DataType::List(Arc::new(Field::new("element", DataType::Int32, true)));
        Schema::new(vec![
            Field::new("id", DataType::Int32, true),
            Field::new("other", DataType::Int32, true),
            Field::new("long", DataType::Int64, true),
            Field::new("city", DataType::Utf8View, true),
            Field::new("flag", DataType::Boolean, true),
            Field::new("email", DataType::Utf8View, true),
            Field::new("list", list, true),
        ])
    }

    fn text(value: &str) -> Expr {
        lit(ScalarValue::Utf8View(Some(value.to_owned())))
    }

    #[test]
    fn what_cannot_fail_goes_below_and_nothing_else() {
        let below = [
            col("id").eq(lit(1)),
            col("id").lt_eq(col("other")).and(col("city").like(text("D%"))),
            col("id").in_list(vec![lit(1), lit(2)], true),
            col("id").between(lit(1), lit(9)),
            not(col("flag")).or(col("city").is_null()),
            lit(true),
            cast(col("id"), DataType::Int64).gt(col("long")),
            cast(col("id"), DataType::Decimal128(12, 2)).gt(lit(ScalarValue::Decimal128(Some(250), 12, 2))),
        ];
        let above = [
            (lit(1) / lit(0)).eq(lit(1)),
            (lit(1) / col("id")).eq(lit(1)),
            cast(col("city"), DataType::Int32).gt(lit(0)),
            cast(col("long"), DataType::Int32).gt(lit(0)),
            cast(col("id"), DataType::Decimal128(9, 2)).gt(lit(ScalarValue::Decimal128(Some(250), 9, 2))),
            col("email").eq(text("a@x.example")),
            col("id").eq(lit(1)).and(col("email").is_null()),
            col("city").like(col("city")),
            col("city").ilike(text("%k")),
            col("city").like(text(&"_%".repeat(1000))),
            col("id").eq(lit(1_i64)),
            col("list").is_null(),
            col("gone").is_null(),
        ];
        let is_plain = |name: &str| name != "email";
        for predicate in below {
            assert!(is_leakproof(&predicate, &schema(), &is_plain), "{predicate}");
        }
        for predicate in above {
            assert!(!is_leakproof(&predicate, &schema(), &is_plain), "{predicate}");
        }
    }
}
