//! The expression that gives a file's array the form that the query sees.

use std::fmt;
use std::hash::{Hash, Hasher};
use std::sync::Arc;

use datafusion::arrow::array::RecordBatch;
use datafusion::arrow::datatypes::{DataType, FieldRef, Schema};
use datafusion::common::{Result, ScalarValue, internal_err};
use datafusion::logical_expr::ColumnarValue;
use datafusion::physical_expr::PhysicalExpr;

use super::misfit;
use super::shape::Shape;

/// Made when a file is opened and never part of a plan.
#[derive(Debug, Clone)]
pub(super) struct Reshape {
    pub(super) child: Arc<dyn PhysicalExpr>,
    pub(super) shape: Arc<Shape>,
    pub(super) field: FieldRef,
    pub(super) column: Arc<str>,
}

impl PartialEq for Reshape {
    fn eq(&self, other: &Self) -> bool {
        self.child.eq(&other.child) && self.shape == other.shape && self.field == other.field
    }
}

impl Eq for Reshape {}

impl Hash for Reshape {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.child.hash(state);
        self.shape.hash(state);
        self.field.hash(state);
    }
}

impl fmt::Display for Reshape {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} AS {}", self.child, self.column)
    }
}

impl PhysicalExpr for Reshape {
    fn data_type(&self, _input: &Schema) -> Result<DataType> {
        Ok(self.field.data_type().clone())
    }

    fn nullable(&self, _input: &Schema) -> Result<bool> {
        Ok(self.field.is_nullable())
    }

    fn return_field(&self, _input: &Schema) -> Result<FieldRef> {
        Ok(Arc::clone(&self.field))
    }

    fn evaluate(&self, batch: &RecordBatch) -> Result<ColumnarValue> {
        let shaped = |array| self.shape.apply(&array).map_err(|error| misfit(&self.column, error.to_string()));
        match self.child.evaluate(batch)? {
            ColumnarValue::Array(array) => Ok(ColumnarValue::Array(shaped(array)?)),
            ColumnarValue::Scalar(value) => {
                let array = shaped(value.to_array_of_size(1)?)?;
                Ok(ColumnarValue::Scalar(ScalarValue::try_from_array(&array, 0)?))
            }
        }
    }

    fn children(&self) -> Vec<&Arc<dyn PhysicalExpr>> {
        vec![&self.child]
    }

    fn with_new_children(self: Arc<Self>, children: Vec<Arc<dyn PhysicalExpr>>) -> Result<Arc<dyn PhysicalExpr>> {
        match <[_; 1]>::try_from(children) {
            Ok([child]) => Ok(Arc::new(Self { child, ..self.as_ref().clone() })),
            Err(_) => internal_err!("a reshaped column has one child"),
        }
    }

    fn fmt_sql(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.child.fmt_sql(f)
    }
}
