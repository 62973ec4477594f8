//! Which files may hold a row for which a predicate is true.
//!
//! Leaving files out only spares reading, so nothing here fails a query. A part of a predicate that cannot be decided
//! leaves out no file, and a bound that has no place in the type that it is compared in says nothing.

use std::collections::{HashMap, HashSet};
use std::sync::{Arc, Mutex, PoisonError};

use datafusion::arrow::array::{Array, ArrayRef, AsArray, BooleanArray, Date32Array, make_comparator};
use datafusion::arrow::compute::{SortOptions, sort};
use datafusion::arrow::datatypes::{DataType, Date32Type, FieldRef, Fields, Schema, SchemaRef};
use datafusion::common::pruning::PruningStatistics;
use datafusion::common::tree_node::{Transformed, TransformedResult, TreeNode};
use datafusion::common::{Column, Result, ScalarValue};
use datafusion::physical_expr::expressions::{CastExpr, Literal, TryCastExpr};
use datafusion::physical_expr::{PhysicalExpr, split_conjunction};
use datafusion::physical_optimizer::pruning::PruningPredicate;
use iceberg::spec::Transform;

use super::statistics::{Facts, Purpose};
use super::transform::{buckets, can_hold};
use super::values::NANOS_A_DAY;
use super::{Asked, Chosen, FileIndex};

impl FileIndex {
    /// Leaves out the files that cannot match.
    pub(in crate::scan) fn prune(&self, asked: &Asked<'_>, predicate: &Arc<dyn PhysicalExpr>) -> Chosen<'_> {
        let all = self.all();
        if all.is_empty() {
            return all;
        }
        let bounds = |near| Bounds { all: &all, asked, near, made: Mutex::default() };
        let (bounds, near, schema) = (bounds(false), bounds(true), plain_schema(asked));
        if let Ok(kept) = bounds.kept(predicate, &schema) {
            return kept.map_or_else(|| self.all(), |kept| self.choose(&kept));
        }
        let mut keep = vec![true; all.len()];
        for part in split_conjunction(predicate) {
            let kept = bounds.kept(part, &schema).or_else(|_| near.kept(part, &schema)).ok().flatten();
            keep.iter_mut().zip(kept.into_iter().flatten()).for_each(|(keep, kept)| *keep &= kept);
        }
        self.choose(&keep)
    }
}

/// The predicate as it is compared with bounds. It has no views: DataFusion 54 makes plain bounds out of `LIKE`, and
/// cannot compare them with views. A bound that cannot be cast becomes null: the last day there is has no nanoseconds.
fn plain(predicate: Arc<dyn PhysicalExpr>) -> Result<Arc<dyn PhysicalExpr>> {
    predicate
        .transform_up(|expr| {
            if let Some(cast) = expr.downcast_ref::<CastExpr>() {
                let to = match cast.cast_type() {
                    DataType::Utf8View => DataType::Utf8,
                    DataType::BinaryView => DataType::Binary,
                    other => other.clone(),
                };
                return Ok(Transformed::yes(Arc::new(TryCastExpr::new(Arc::clone(cast.expr()), to)) as _));
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

/// Days without those that are too far away for nanoseconds.
fn nearby(bounds: ArrayRef) -> ArrayRef {
    let Some(days) = bounds.as_primitive_opt::<Date32Type>() else { return bounds };
    let is_near = |day: &i32| i64::from(*day).checked_mul(NANOS_A_DAY).is_some();
    Arc::new(days.iter().map(|day| day.filter(is_near)).collect::<Date32Array>())
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
    /// Whether days are unknown that are too far away for nanoseconds: DataFusion 54 fails to cast them, in a safe cast too.
    near: bool,
    made: Mutex<HashMap<String, Option<Arc<Facts>>>>,
}

impl Bounds<'_> {
    /// Which files are kept; `None` for all.
    fn kept(&self, predicate: &Arc<dyn PhysicalExpr>, schema: &SchemaRef) -> Result<Option<Vec<bool>>> {
        let predicate = PruningPredicate::try_new(plain(Arc::clone(predicate))?, Arc::clone(schema))?;
        if predicate.always_true() { Ok(None) } else { predicate.prune(self).map(Some) }
    }

    fn facts(&self, column: &Column) -> Option<Arc<Facts>> {
        let mut made = self.made.lock().unwrap_or_else(PoisonError::into_inner);
        let make = || {
            let (field, of) = self.asked.named(&column.name)?;
            let mut facts = self.all.facts(field, of, Purpose::Pruning).ok()?;
            if self.near {
                (facts.min, facts.max) = (nearby(facts.min), nearby(facts.max));
            }
            Some(Arc::new(facts))
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

    /// A file has none of the values where none is within its bounds, or none is in its bucket.
    fn contained(&self, column: &Column, values: &HashSet<ScalarValue>) -> Option<BooleanArray> {
        let (field, of) = self.asked.named(&column.name)?;
        let values: Vec<ScalarValue> = values.iter().map(|value| value.cast_to(of)).collect::<Result<_>>().ok()?;
        match (self.beyond(column, &values), self.elsewhere(field, &values)) {
            (Some(beyond), Some(elsewhere)) => Some(beyond.iter().zip(&elsewhere).map(|(a, b)| a.or(b)).collect()),
            (beyond, elsewhere) => beyond.or(elsewhere),
        }
    }
}

impl Bounds<'_> {
    /// False for a file within whose bounds none of the values is. Values that are NaN tell nothing.
    fn beyond(&self, column: &Column, values: &[ScalarValue]) -> Option<BooleanArray> {
        let is_nan = |value: &ScalarValue| match value {
            ScalarValue::Float32(Some(value)) => value.is_nan(),
            ScalarValue::Float64(Some(value)) => value.is_nan(),
            _ => false,
        };
        if values.iter().any(is_nan) {
            return None;
        }
        let facts = self.facts(column)?;
        // NULL equals nothing.
        let values = ScalarValue::iter_to_array(values.iter().filter(|value| !value.is_null()).cloned()).ok()?;
        let values = sort(&values, None).ok()?;
        let places: Vec<usize> = (0..values.len()).collect();
        let (min, top) = (&facts.min, facts.top());
        let against_min = make_comparator(&values, min, SortOptions::default()).ok()?;
        let against_top = make_comparator(&values, top, SortOptions::default()).ok()?;
        let is_beyond = |row: usize| {
            let first = places.partition_point(|place| min.is_valid(row) && against_min(*place, row).is_lt());
            first == values.len() || (top.is_valid(row) && against_top(first, row).is_gt())
        };
        Some((0..min.len()).map(|row| is_beyond(row).then_some(false)).collect())
    }

    /// False for a file in whose bucket none of the values is.
    fn elsewhere(&self, field: i32, values: &[ScalarValue]) -> Option<BooleanArray> {
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
