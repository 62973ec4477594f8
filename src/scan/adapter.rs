//! Maps the query's columns to a file's columns by field id.
//!
//! ```text
//! query: a -> id 2, b -> id 1          file: a = id 1, b = id 2
//! a > 5 AND b = 'x'            ->      b > 5 AND a = 'x'
//! ```
//!
//! DataFusion rewrites projections and predicates through this before it prunes row groups and pages, so both use the
//! mapped columns. By name they would read the wrong ones: a dropped column's data would answer for its successor.

use std::collections::HashMap;
use std::sync::Arc;

use datafusion::arrow::datatypes::{DataType, Field, FieldRef, Fields, SchemaRef};
use datafusion::common::tree_node::{Transformed, TransformedResult, TreeNode};
use datafusion::common::{DataFusionError, Result, ScalarValue, internal_err};
use datafusion::physical_expr::PhysicalExpr;
use datafusion::physical_expr::expressions::{CastExpr, Column, Literal};
use datafusion::physical_expr_adapter::{PhysicalExprAdapter, PhysicalExprAdapterFactory};
use iceberg::spec::{NestedFieldRef, Type};
use parquet::arrow::PARQUET_FIELD_ID_META_KEY;

use super::columns::{Bound, arrow_type};
use super::error::ScanError;
use crate::error::Error;

/// Makes one adapter for each file.
#[derive(Debug)]
pub(super) struct ById {
    pub(super) table: Arc<str>,
    pub(super) columns: Arc<[Bound]>,
}

impl PhysicalExprAdapterFactory for ById {
    fn create(&self, logical: SchemaRef, physical: SchemaRef) -> Result<Arc<dyn PhysicalExprAdapter>> {
        let mut ids = HashMap::with_capacity(physical.fields().len());
        for (index, field) in physical.fields().iter().enumerate() {
            let Some(id) = field_id(field) else {
                return Err(fail(ScanError::Misfit {
                    table: self.table.to_string(),
                    column: field.name().clone(),
                    what: "it has no field id".into(),
                }));
            };
            if ids.insert(id, index).is_some() {
                return Err(fail(ScanError::Misfit {
                    table: self.table.to_string(),
                    column: field.name().clone(),
                    what: "its field id is there twice".into(),
                }));
            }
        }
        Ok(Arc::new(FileColumns {
            table: Arc::clone(&self.table),
            columns: Arc::clone(&self.columns),
            logical,
            physical,
            ids,
        }))
    }
}

#[derive(Debug)]
struct FileColumns {
    table: Arc<str>,
    columns: Arc<[Bound]>,
    logical: SchemaRef,
    physical: SchemaRef,
    ids: HashMap<i32, usize>,
}

impl PhysicalExprAdapter for FileColumns {
    fn rewrite(&self, expr: Arc<dyn PhysicalExpr>) -> Result<Arc<dyn PhysicalExpr>> {
        expr.transform_up(|expr| match expr.downcast_ref::<Column>() {
            Some(column) => Ok(Transformed::yes(self.column(column)?)),
            None => Ok(Transformed::no(expr)),
        })
        .data()
    }
}

impl FileColumns {
    fn column(&self, column: &Column) -> Result<Arc<dyn PhysicalExpr>> {
        let Some(bound) = self.columns.iter().find(|bound| bound.name == column.name()) else {
            return internal_err!("a scan was asked for a column that it does not have");
        };
        let logical = self.logical.field_with_name(column.name())?;
        let misfit =
            |what: String| fail(ScanError::Misfit { table: self.table.to_string(), column: bound.name.clone(), what });
        let Some(&index) = self.ids.get(&bound.field.id) else {
            if bound.field.required {
                return Err(misfit("it is required and the file does not have it".into()));
            }
            if bound.partition {
                return Err(misfit("its value is only in the file's partition".into()));
            }
            return Ok(Arc::new(Literal::new(ScalarValue::try_new_null(logical.data_type())?)));
        };
        let physical = self.physical.field(index);
        fits(physical.data_type(), &bound.field.field_type, true).map_err(misfit)?;
        let found: Arc<dyn PhysicalExpr> = Arc::new(Column::new(physical.name(), index));
        if physical.data_type() == logical.data_type() {
            return Ok(found);
        }
        Ok(Arc::new(CastExpr::new_with_target_field(found, Arc::new(logical.clone()), None)))
    }
}

/// Whether a file's column can be read as the table's type without changing any value. Iceberg's promotions are
/// allowed for a column itself; what is nested in it must be the same, ids and names included.
fn fits(file: &DataType, table: &Type, promote: bool) -> std::result::Result<(), String> {
    match (file, table) {
        (_, Type::Primitive(_)) => {
            let wanted = arrow_type(table);
            if same(file, &wanted) || (promote && promotes(file, &wanted)) {
                Ok(())
            } else {
                Err(format!("the file has {file} and the table has {wanted}"))
            }
        }
        (DataType::Struct(fields), Type::Struct(wanted)) => nested_fits(fields, wanted.fields()),
        (DataType::List(element) | DataType::LargeList(element), Type::List(list)) => {
            // The element's name is the writer's choice; its id is the table's.
            id_fits(element, &list.element_field)
        }
        (DataType::Map(entries, _), Type::Map(map)) => match entries.data_type() {
            DataType::Struct(fields) => match fields.as_ref() {
                [key, value] => {
                    id_fits(key, &map.key_field)?;
                    id_fits(value, &map.value_field)
                }
                _ => Err("the file's map has no key and value".into()),
            },
            _ => Err("the file's map has no key and value".into()),
        },
        _ => Err("the file has another kind of nested type than the table".into()),
    }
}

fn nested_fits(file: &Fields, table: &[NestedFieldRef]) -> std::result::Result<(), String> {
    if file.len() != table.len() {
        return Err("its nested fields changed, which is not supported".into());
    }
    for (file, table) in file.iter().zip(table) {
        if file.name() != &table.name {
            return Err("its nested fields changed, which is not supported".into());
        }
        id_fits(file, table)?;
    }
    Ok(())
}

fn id_fits(file: &FieldRef, table: &NestedFieldRef) -> std::result::Result<(), String> {
    if field_id(file) != Some(table.id) || (file.is_nullable() && table.required) {
        return Err("its nested fields changed, which is not supported".into());
    }
    fits(file.data_type(), &table.field_type, false)
}

/// One type in the spellings that writers leave in a file.
fn same(file: &DataType, table: &DataType) -> bool {
    use DataType::{Binary, BinaryView, Dictionary, LargeBinary, LargeUtf8, Timestamp, Utf8, Utf8View};
    match (file, table) {
        (Dictionary(_, value), _) => same(value, table),
        // Old writers left strings unmarked, and DataFusion reads bytes as text where the query has a text column of
        // that name: going between the two fails on bytes that are not text, and never changes any.
        (Utf8 | LargeUtf8 | Utf8View | Binary | LargeBinary | BinaryView, Utf8 | Binary) => true,
        (Timestamp(a, x), Timestamp(b, y)) => a == b && x.is_some() == y.is_some(),
        _ => file == table,
    }
}

fn promotes(file: &DataType, table: &DataType) -> bool {
    match (file, table) {
        (DataType::Int32, DataType::Int64) | (DataType::Float32, DataType::Float64) => true,
        (DataType::Decimal128(p, s), DataType::Decimal128(precision, scale)) => p <= precision && s == scale,
        _ => false,
    }
}

pub(super) fn field_id(field: &Field) -> Option<i32> {
    field.metadata().get(PARQUET_FIELD_ID_META_KEY)?.parse().ok()
}

pub(super) fn fail(error: ScanError) -> DataFusionError {
    DataFusionError::External(Box::new(Error::from(error)))
}
