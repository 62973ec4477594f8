//! Operators that grow, as calls that are measured: texts that are joined, and those that are held against patterns of rows.
//!
//! ```text
//! a || b    ->  a || b, which measures    the same name, types, and NULL where either is
//! a ~ b     ->  a ~ b, which measures     a pattern that stands in the statement is made ready once, and stays as it is
//! ```

use std::sync::Arc;

use datafusion::arrow::datatypes::{DataType, Field, Schema};
use datafusion::arrow::record_batch::{RecordBatch, RecordBatchOptions};
use datafusion::common::{Result, plan_err};
use datafusion::logical_expr::expr::ScalarFunction;
use datafusion::logical_expr::type_coercion::binary::BinaryTypeCoercer;
use datafusion::logical_expr::{
    BinaryExpr, ColumnarValue, Expr, Operator, ScalarFunctionArgs, ScalarUDF, ScalarUDFImpl, Signature, Volatility,
    binary_expr,
};
use datafusion::physical_expr::PhysicalExpr;
use datafusion::physical_expr::expressions::{BinaryExpr as PhysicalBinary, Column, Literal};

use super::call::made;
use super::estimate::MATCH;

/// Whether an operator joins texts, or holds them against patterns that are not known yet.
pub(super) fn joins(binary: &BinaryExpr) -> bool {
    match binary.op {
        Operator::StringConcat => true,
        op => is_pattern(op) && !matches!(binary.right.as_ref(), Expr::Literal(..)),
    }
}

fn is_pattern(op: Operator) -> bool {
    use Operator::{RegexIMatch, RegexMatch, RegexNotIMatch, RegexNotMatch};
    matches!(op, RegexMatch | RegexIMatch | RegexNotMatch | RegexNotIMatch)
}

/// The same, as a call.
pub(super) fn bounded(binary: BinaryExpr) -> Expr {
    let func = Arc::new(ScalarUDF::new_from_impl(Joined::by(binary.op)));
    Expr::ScalarFunction(ScalarFunction { func, args: vec![*binary.left, *binary.right] })
}

/// Whether a function is this one.
pub(super) fn is_joined(function: &ScalarUDF) -> bool {
    function.inner().is::<Joined>()
}

#[derive(Debug, PartialEq, Eq, Hash)]
struct Joined {
    op: Operator,
    signature: Signature,
}

impl Joined {
    fn by(op: Operator) -> Self {
        Self { op, signature: Signature::user_defined(Volatility::Immutable) }
    }

    fn as_binary(&self, args: &[Expr]) -> Option<Expr> {
        let [left, right] = args else { return None };
        Some(binary_expr(left.clone(), self.op, right.clone()))
    }

    fn sides<'a>(&'a self, kinds: &'a [DataType]) -> Result<BinaryTypeCoercer<'a>> {
        let [left, right] = kinds else { return plan_err!("`{}` has two sides", self.op) };
        Ok(BinaryTypeCoercer::new(left, &self.op, right))
    }
}

impl ScalarUDFImpl for Joined {
    fn name(&self) -> &'static str {
        if is_pattern(self.op) { MATCH } else { "||" }
    }

    fn schema_name(&self, args: &[Expr]) -> Result<String> {
        Ok(self.as_binary(args).map_or_else(String::new, |binary| binary.schema_name().to_string()))
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn coerce_types(&self, kinds: &[DataType]) -> Result<Vec<DataType>> {
        let (left, right) = self.sides(kinds)?.get_input_types()?;
        Ok(vec![left, right])
    }

    fn return_type(&self, kinds: &[DataType]) -> Result<DataType> {
        self.sides(kinds)?.get_result_type()
    }

    fn invoke_with_args(&self, args: ScalarFunctionArgs) -> Result<ColumnarValue> {
        made(self.name(), args, |args| joined(self.op, args))
    }
}

fn joined(op: Operator, args: ScalarFunctionArgs) -> Result<ColumnarValue> {
    let (mut fields, mut columns) = (Vec::new(), Vec::new());
    let mut operands: Vec<Arc<dyn PhysicalExpr>> = Vec::new();
    for (place, arg) in args.args.into_iter().enumerate() {
        match arg {
            ColumnarValue::Scalar(value) => operands.push(Arc::new(Literal::new(value))),
            ColumnarValue::Array(array) => {
                let name = place.to_string();
                operands.push(Arc::new(Column::new(&name, columns.len())));
                fields.push(Field::new(name, array.data_type().clone(), true));
                columns.push(array);
            }
        }
    }
    let Ok([left, right]) = <[_; 2]>::try_from(operands) else { return plan_err!("`{op}` has two sides") };
    let rows = RecordBatchOptions::new().with_row_count(Some(args.number_rows));
    let batch = RecordBatch::try_new_with_options(Arc::new(Schema::new(fields)), columns, &rows)?;
    PhysicalBinary::new(left, op, right).evaluate(&batch)
}
