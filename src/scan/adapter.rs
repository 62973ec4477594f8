//! Maps the query's columns to a file's columns by field id.
//!
//! ```text
//! query: a -> id 2, b -> id 1          file: a = id 1, b = id 2
//! a > 5 AND b = 'x'            ->      b > 5 AND a = 'x'
//! ```
//!
//! DataFusion rewrites projections and predicates through this before it prunes row groups and pages, so both use the
//! mapped columns. By name they would read the wrong ones: a dropped column's data would answer for its successor.
//!
//! A column whose type was only widened is cast by DataFusion's own expression, which its pruning looks through. All
//! else is done by [`Reshape`], which its pruning does not: such a predicate prunes nothing and loses nothing.

mod reshape;
mod shape;

use std::collections::HashMap;
use std::sync::Arc;

use datafusion::arrow::datatypes::{DataType, FieldRef, Schema, SchemaRef};
use datafusion::common::tree_node::{Transformed, TransformedResult, TreeNode, TreeNodeRecursion};
use datafusion::common::{DataFusionError, Result, ScalarValue, internal_err};
use datafusion::functions::core::getfield::GetFieldFunc;
use datafusion::physical_expr::expressions::{CastExpr, Column, Literal};
use datafusion::physical_expr::{PhysicalExpr, ScalarFunctionExpr};
use datafusion::physical_expr_adapter::{PhysicalExprAdapter, PhysicalExprAdapterFactory};

use super::columns::{Bound, Inside};
use super::error::ScanError;
use super::footer::{Constant, constant, identified};
use crate::error::Error;
use reshape::Reshape;
use shape::Shape;

pub(super) use shape::field_id;

/// Makes one adapter for each file.
#[derive(Debug)]
pub(super) struct ById {
    pub(super) columns: Arc<[Bound]>,
}

impl PhysicalExprAdapterFactory for ById {
    fn create(&self, _logical: SchemaRef, physical: SchemaRef) -> Result<Arc<dyn PhysicalExprAdapter>> {
        let Some(identified) = identified(&physical) else {
            return internal_err!("a file's schema is not the one that its footer was read with");
        };
        let mut ids = HashMap::with_capacity(physical.fields().len());
        for (index, field) in identified.fields().iter().enumerate() {
            // A column without an id is none of the table's.
            let Some(id) = field_id(field) else { continue };
            if ids.insert(id, index).is_some() {
                return Err(misfit(field.name(), "its field id is there twice"));
            }
        }
        Ok(Arc::new(FileColumns { columns: Arc::clone(&self.columns), physical, identified, ids }))
    }
}

#[derive(Debug)]
struct FileColumns {
    columns: Arc<[Bound]>,
    /// The file's columns as DataFusion has them.
    physical: SchemaRef,
    /// The same with all their ids.
    identified: SchemaRef,
    ids: HashMap<i32, usize>,
}

impl PhysicalExprAdapter for FileColumns {
    fn rewrite(&self, expr: Arc<dyn PhysicalExpr>) -> Result<Arc<dyn PhysicalExpr>> {
        expr.transform_down(|expr| {
            let mapped = match expr.downcast_ref::<Column>() {
                Some(column) => Some(self.column(column)?),
                None => match ScalarFunctionExpr::try_downcast_func::<GetFieldFunc>(expr.as_ref()) {
                    Some(access) => self.access(access)?,
                    None => None,
                },
            };
            Ok(match mapped {
                // What was mapped names columns of the file, and must not be mapped again.
                Some(mapped) => Transformed::new(mapped, true, TreeNodeRecursion::Jump),
                None => Transformed::no(expr),
            })
        })
        .data()
    }
}

impl FileColumns {
    fn bound(&self, column: &Column) -> Result<&Bound> {
        match self.columns.iter().find(|bound| bound.name == column.name()) {
            Some(bound) => Ok(bound),
            None => internal_err!("a scan was asked for a column that it does not have"),
        }
    }

    fn misfit(&self, bound: &Bound, what: impl Into<String>) -> DataFusionError {
        misfit(&bound.name, what)
    }

    fn column(&self, column: &Column) -> Result<Arc<dyn PhysicalExpr>> {
        let bound = self.bound(column)?;
        let Some(&index) = self.ids.get(&bound.field.id) else {
            return Ok(Arc::new(Literal::new(self.absent(bound)?)));
        };
        let file = self.identified.field(index);
        let shape = Shape::new(file.data_type(), &bound.wanted).map_err(|what| self.misfit(bound, what))?;
        let found = Arc::new(Column::new(file.name(), index));
        Ok(self.shaped(found, shape, &bound.wanted.field, bound))
    }

    /// The value of a column that the file does not have.
    fn absent(&self, bound: &Bound) -> Result<ScalarValue> {
        let data_type = bound.wanted.field.data_type();
        match constant(self.physical.metadata(), bound.field.id, data_type) {
            Constant::Value(value) => Ok(value),
            Constant::Unreadable => Err(self.misfit(bound, "its value in the file's partition cannot be read")),
            Constant::None => match bound.wanted.missing() {
                Some(value) => Ok(value),
                None => Err(self.misfit(bound, "it is required and the file does not have it")),
            },
        }
    }

    fn shaped(
        &self,
        found: Arc<dyn PhysicalExpr>,
        shape: Shape,
        field: &FieldRef,
        bound: &Bound,
    ) -> Arc<dyn PhysicalExpr> {
        match shape {
            Shape::Same => found,
            shape if shape.is_ordered_cast() => {
                Arc::new(CastExpr::new_with_target_field(found, Arc::clone(field), None))
            }
            shape => Arc::new(Reshape {
                child: found,
                shape: Arc::new(shape),
                field: Arc::clone(field),
                column: bound.name.as_str().into(),
            }),
        }
    }

    /// `s.x.y` as the same path by the file's names, so that only its leaf is read. Nothing where the path leaves
    /// structs, or comes to a value that depends on whether its struct is NULL: one that is required in it is not marked
    /// where that is.
    fn access(&self, access: &ScalarFunctionExpr) -> Result<Option<Arc<dyn PhysicalExpr>>> {
        let Some((root, path)) = access.args().split_first() else { return Ok(None) };
        let Some(column) = root.downcast_ref::<Column>() else { return Ok(None) };
        let bound = self.bound(column)?;
        let Some(&index) = self.ids.get(&bound.field.id) else { return Ok(None) };
        let root = self.identified.field(index);
        let (mut wanted, mut file, mut nullable) = (&bound.wanted, root.data_type(), root.is_nullable());
        let mut args: Vec<Arc<dyn PhysicalExpr>> = vec![Arc::new(Column::new(root.name(), index))];
        for name in path {
            let name = name.downcast_ref::<Literal>().and_then(|literal| literal.value().try_as_str().flatten());
            let (Some(name), Inside::Struct(inside), DataType::Struct(fields)) = (name, &wanted.inside, file) else {
                return Ok(None);
            };
            let Some(next) = inside.iter().find(|wanted| wanted.field.name() == name) else { return Ok(None) };
            let Some(field) = fields.iter().find(|field| field_id(field) == Some(next.id)) else {
                let nothing = next.missing().is_some_and(|value| value.is_null());
                let null = || ScalarValue::try_new_null(access.return_type());
                return if nothing { Ok(Some(Arc::new(Literal::new(null()?)))) } else { Ok(None) };
            };
            if nullable && !field.is_nullable() {
                return Ok(None);
            }
            nullable |= field.is_nullable();
            args.push(Arc::new(Literal::new(ScalarValue::from(field.name().as_str()))));
            (wanted, file) = (next, field.data_type());
        }
        let shape = Shape::new(file, wanted).map_err(|what| self.misfit(bound, what))?;
        let found = call(access, args, &self.physical)?;
        // What is in a struct that is NULL is NULL, whether it is required or not.
        let field = Arc::new(wanted.field.as_ref().clone().with_nullable(true));
        Ok(Some(self.shaped(found, shape, &field, bound)))
    }
}

/// The same function of other arguments.
fn call(
    function: &ScalarFunctionExpr,
    args: Vec<Arc<dyn PhysicalExpr>>,
    schema: &Schema,
) -> Result<Arc<dyn PhysicalExpr>> {
    let options = Arc::new(function.config_options().clone());
    let called = ScalarFunctionExpr::try_new(Arc::new(function.fun().clone()), args, schema, options)?;
    Ok(Arc::new(called))
}

/// How a file does not fit. Which file of which table it is, whoever opens it knows.
#[derive(Debug, Clone, thiserror::Error)]
#[error("a file does not fit column `{column}`: {what}")]
pub(super) struct Misfit {
    pub(super) column: String,
    pub(super) what: String,
}

fn misfit(column: &str, what: impl Into<String>) -> DataFusionError {
    DataFusionError::External(Box::new(Misfit { column: column.to_owned(), what: what.into() }))
}

pub(super) fn fail(error: ScanError) -> DataFusionError {
    DataFusionError::External(Box::new(Error::from(error)))
}
