//! Texts that are joined by `||`, as a call that is measured.
//!
//! ```text
//! a || b  ->  a || b, which measures      the same name, types, and NULL where either is
//! ```

use std::sync::{Arc, LazyLock};

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

/// Whether an operator joins texts.
pub(super) fn joins(binary: &BinaryExpr) -> bool {
    binary.op == Operator::StringConcat
}

/// The same, as a call.
pub(super) fn bounded(binary: BinaryExpr) -> Expr {
    static JOINED: LazyLock<Arc<ScalarUDF>> = LazyLock::new(|| Arc::new(ScalarUDF::new_from_impl(Joined::default())));
    let args = vec![*binary.left, *binary.right];
    Expr::ScalarFunction(ScalarFunction { func: Arc::clone(&JOINED), args })
}

/// Whether a function is this one.
pub(super) fn is_joined(function: &ScalarUDF) -> bool {
    function.inner().is::<Joined>()
}

#[derive(Debug, PartialEq, Eq, Hash)]
struct Joined(Signature);

impl Default for Joined {
    fn default() -> Self {
        Self(Signature::user_defined(Volatility::Immutable))
    }
}

fn as_binary(args: &[Expr]) -> Option<Expr> {
    let [left, right] = args else { return None };
    Some(binary_expr(left.clone(), Operator::StringConcat, right.clone()))
}

fn sides(kinds: &[DataType]) -> Result<BinaryTypeCoercer<'_>> {
    let [left, right] = kinds else { return plan_err!("`||` has two sides") };
    Ok(BinaryTypeCoercer::new(left, &Operator::StringConcat, right))
}

impl ScalarUDFImpl for Joined {
    fn name(&self) -> &'static str {
        "||"
    }

    fn schema_name(&self, args: &[Expr]) -> Result<String> {
        Ok(as_binary(args).map_or_else(String::new, |binary| binary.schema_name().to_string()))
    }

    fn signature(&self) -> &Signature {
        &self.0
    }

    fn coerce_types(&self, kinds: &[DataType]) -> Result<Vec<DataType>> {
        let (left, right) = sides(kinds)?.get_input_types()?;
        Ok(vec![left, right])
    }

    fn return_type(&self, kinds: &[DataType]) -> Result<DataType> {
        sides(kinds)?.get_result_type()
    }

    fn invoke_with_args(&self, args: ScalarFunctionArgs) -> Result<ColumnarValue> {
        made(self.name(), args, joined)
    }
}

fn joined(args: ScalarFunctionArgs) -> Result<ColumnarValue> {
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
    let Ok([left, right]) = <[_; 2]>::try_from(operands) else { return plan_err!("`||` has two sides") };
    let rows = RecordBatchOptions::new().with_row_count(Some(args.number_rows));
    let batch = RecordBatch::try_new_with_options(Arc::new(Schema::new(fields)), columns, &rows)?;
    PhysicalBinary::new(left, Operator::StringConcat, right).evaluate(&batch)
}
