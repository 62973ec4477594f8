//! Which files may hold a row for which a predicate is true.

use std::collections::{HashMap, HashSet};
use std::sync::{Arc, Mutex, PoisonError};

use datafusion::arrow::array::{Array, ArrayRef, BooleanArray};
use datafusion::arrow::datatypes::{DataType, FieldRef, Fields, Schema, SchemaRef};
use datafusion::common::pruning::PruningStatistics;
use datafusion::common::tree_node::{Transformed, TransformedResult, TreeNode};
use datafusion::common::{Column, Result, ScalarValue};
use datafusion::physical_expr::PhysicalExpr;
use datafusion::physical_expr::expressions::{CastExpr, Literal};
use datafusion::physical_optimizer::pruning::PruningPredicate;
use iceberg::spec::Transform;

use super::statistics::{Facts, Purpose};
use super::transform::{buckets, can_hold};
use super::{Asked, Chosen, FileIndex};

impl FileIndex {
    /// Leaves out the files that cannot match.
    pub(in crate::scan) fn prune(&self, asked: &Asked<'_>, predicate: Arc<dyn PhysicalExpr>) -> Result<Chosen<'_>> {
        let all = self.all();
        let predicate = PruningPredicate::try_new(plain(predicate)?, plain_schema(asked))?;
        if all.is_empty() || predicate.always_true() {
            return Ok(all);
        }
        let keep = predicate.prune(&Bounds { all: &all, asked, made: Mutex::default() })?;
        Ok(self.choose(&keep))
    }
}

/// The predicate without views: DataFusion 54 makes plain bounds out of `LIKE`, and cannot compare them with views.
fn plain(predicate: Arc<dyn PhysicalExpr>) -> Result<Arc<dyn PhysicalExpr>> {
    predicate
        .transform_up(|expr| {
            if let Some(cast) = expr.downcast_ref::<CastExpr>() {
                let to = match cast.cast_type() {
                    DataType::Utf8View => DataType::Utf8,
                    DataType::BinaryView => DataType::Binary,
                    _ => return Ok(Transformed::no(expr)),
                };
                return Ok(Transformed::yes(Arc::new(CastExpr::new(Arc::clone(cast.expr()), to, None)) as _));
            }
            let plain = match expr.downcast_ref::<Literal>().map(Literal::value) {
                Some(ScalarValue::Utf8View(value)) => ScalarValue::Utf8(value.clone()),
                Some(ScalarValue::BinaryView(value)) => ScalarValue::Binary(value.clone()),
                _ => return Ok(Transformed::no(expr)),
            };
            Ok(Transformed::yes(Arc::new(Literal::new(plain)) as _))
        })
        .data()
}

fn plain_schema(asked: &Asked<'_>) -> SchemaRef {
    let plain = |(column, field): (usize, &FieldRef)| match asked.get(column) {
        Some((_, of)) => Arc::new(field.as_ref().clone().with_data_type(of.clone())),
        None => Arc::clone(field),
    };
    Arc::new(Schema::new(asked.schema.fields().iter().enumerate().map(plain).collect::<Fields>()))
}

/// The index in the form that a pruning predicate reads. Arrays are made for the columns that it asks about.
struct Bounds<'a> {
    all: &'a Chosen<'a>,
    asked: &'a Asked<'a>,
    made: Mutex<HashMap<String, Option<Arc<Facts>>>>,
}

impl Bounds<'_> {
    fn facts(&self, column: &Column) -> Option<Arc<Facts>> {
        let mut made = self.made.lock().unwrap_or_else(PoisonError::into_inner);
        let make = || {
            let (field, of) = self.asked.named(&column.name)?;
            self.all.facts(field, of, Purpose::Pruning).ok().map(Arc::new)
        };
        made.entry(column.name.clone()).or_insert_with(make).clone()
    }
}

impl PruningStatistics for Bounds<'_> {
    fn min_values(&self, column: &Column) -> Option<ArrayRef> {
        Some(Arc::clone(&self.facts(column)?.min))
    }

    fn max_values(&self, column: &Column) -> Option<ArrayRef> {
        Some(Arc::clone(&self.facts(column)?.max))
    }

    fn num_containers(&self) -> usize {
        self.all.len()
    }

    fn null_counts(&self, column: &Column) -> Option<ArrayRef> {
        Some(Arc::clone(&self.facts(column)?.nulls))
    }

    fn row_counts(&self) -> Option<ArrayRef> {
        self.all.row_counts().ok().map(|rows| Arc::new(rows) as ArrayRef)
    }

    /// By buckets: a file whose bucket none of the values is in has none of them.
    fn contained(&self, column: &Column, values: &HashSet<ScalarValue>) -> Option<BooleanArray> {
        let (field, of) = self.asked.named(&column.name)?;
        let values: Vec<ScalarValue> = values.iter().map(|value| value.cast_to(of)).collect::<Result<_>>().ok()?;
        let mut found = false;
        let mut all: Vec<Option<bool>> = Vec::with_capacity(self.all.len());
        for part in &self.all.parts {
            let start = all.len();
            all.resize(start + part.len(), None);
            for (partition, stored) in part.manifest.spec.fields().iter().zip(&part.manifest.partition) {
                let Transform::Bucket(count) = partition.transform else { continue };
                if partition.source_id != field {
                    continue;
                }
                let wanted: Option<Vec<Vec<i64>>> = values.iter().map(|value| buckets(value, count)).collect();
                let may = can_hold(stored, &wanted?.concat());
                for (into, row) in all.iter_mut().skip(start).zip(part.rows()) {
                    if may.is_valid(row) {
                        (*into, found) = (Some(false), true);
                    }
                }
            }
        }
        found.then(|| all.into())
    }
}
