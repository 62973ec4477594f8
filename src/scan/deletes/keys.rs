//! Equality deletes: the keys of deleted rows, and the rows of a batch that have one of them.
//!
//! A group is all equality delete files of a partition (or of the whole table) that compare the same fields. It becomes
//! one set of keys, each with the youngest sequence number at which it was deleted: a row is deleted when its key is
//! there with a number above that of the row's file.
//!
//! Equal means what it means to Iceberg's Java library: NULL equals NULL, NaN equals NaN, and -0.0 is not 0.0.

use std::sync::{Arc, Mutex, PoisonError};

use datafusion::arrow::array::{Array, ArrayRef, AsArray, Float32Array, Float64Array, Int64Array, RecordBatch};
use datafusion::arrow::buffer::BooleanBuffer;
use datafusion::arrow::compute::cast;
use datafusion::arrow::datatypes::{DataType, Field, Float32Type, Float64Type, Int64Type, Schema, SchemaRef};
use datafusion::arrow::error::ArrowError;
use datafusion::arrow::row::{RowConverter, SortField};
use datafusion::common::Result as DfResult;
use datafusion::physical_expr::PhysicalExpr;
use datafusion::physical_expr::expressions::Column;
use datafusion::physical_expr_adapter::PhysicalExprAdapterFactory;
use futures::{StreamExt, TryStreamExt, stream};
use hashbrown::HashMap;
use iceberg::spec::{NestedFieldRef, Type};
use sha2::{Digest, Sha256};

use super::positions::broken;
use super::{AT_ONCE, read};
use crate::error::{Class, Error};
use crate::lake::OpenTable;
use crate::lake::memory::Weighed;
use crate::scan::adapter::ById;
use crate::scan::cause;
use crate::scan::columns::{Bound, want};
use crate::scan::entry::{DeleteFile, DeleteKind};
use crate::scan::error::ScanError;
use crate::scan::source::Ground;

/// A bitmap may take this many bits for each key; a hash table takes about three times that.
const BITS_PER_KEY: u64 = 64;

/// The columns that equality deletes compare, under names that no query knows. One that the table no longer has is
/// looked up in its older schemas, the youngest first.
pub(in crate::scan) fn hidden(open: &OpenTable, ids: &[i32], visible: &[Bound]) -> Result<Vec<Bound>, ScanError> {
    let metadata = open.table.metadata();
    let mut schemas: Vec<_> = metadata.schemas_iter().collect();
    schemas.sort_by_key(|schema| (schema.schema_id() != metadata.current_schema_id(), -schema.schema_id()));
    let bound = |id: &i32| {
        let fields = schemas.iter().flat_map(|schema| schema.as_struct().fields());
        let plain = |field: &&NestedFieldRef| field.id == *id && matches!(*field.field_type, Type::Primitive(_));
        let unsupported = |what: &str| ScanError::Unsupported {
            table: open.table.identifier().to_string(),
            what: format!("equality deletes by field {id}, which {what}"),
        };
        let field = fields.into_iter().find(plain).ok_or_else(|| unsupported("is no column of plain values"))?;
        let mut name = format!("key {id}");
        while visible.iter().any(|bound| bound.name == name) {
            name.push('\'');
        }
        let mut field = field.as_ref().clone();
        // The column may be gone from the table, and with it from its files.
        field.required = field.required && metadata.current_schema().field_by_id(*id).is_some();
        let partition = metadata
            .partition_specs_iter()
            .flat_map(|spec| spec.fields())
            .any(|partition| partition.source_id == *id && partition.transform == iceberg::spec::Transform::Identity);
        let field = NestedFieldRef::from(field);
        let wanted = want(&field, &name, None, &open.beyond).map_err(|_| unsupported("cannot be read"))?;
        Ok(Bound { name, field, partition, wanted })
    };
    ids.iter().map(bound).collect()
}

/// Whether two delete files of one data file belong to the same group.
pub(super) fn is_one_group(a: &DeleteFile, b: &DeleteFile) -> bool {
    fn ids(delete: &DeleteFile) -> Option<Vec<i32>> {
        let DeleteKind::Equality { ids } = &delete.kind else { return None };
        let mut ids = ids.clone();
        ids.sort_unstable();
        ids.dedup();
        Some(ids)
    }
    a.partition == b.partition && ids(a).is_some() && ids(a) == ids(b)
}

/// The keys of one group.
#[derive(Debug)]
pub(super) struct Keys {
    ids: Vec<i32>,
    newest: i64,
    set: Set,
}

#[derive(Debug)]
enum Set {
    /// One column of numbers, all deleted at once and close together.
    Dense { first: i64, bits: Vec<u64>, null: bool },
    /// One column of numbers.
    Numbers { keys: HashMap<i64, i64>, null: Option<i64> },
    /// Any other columns, in arrow's row format.
    Rows { converter: RowConverter, keys: HashMap<Box<[u8]>, i64> },
}

impl Weighed for Keys {
    fn bytes(&self) -> usize {
        std::mem::size_of::<Self>()
            + match &self.set {
                Set::Dense { bits, .. } => bits.capacity() * 8,
                Set::Numbers { keys, .. } => keys.allocation_size(),
                Set::Rows { converter, keys } => {
                    converter.size() + keys.allocation_size() + keys.keys().map(|key| key.len() + 16).sum::<usize>()
                }
            }
    }
}

impl Keys {
    fn new(ids: Vec<i32>, types: &[DataType]) -> Result<Self, ArrowError> {
        let set = match types {
            [one] if is_number(one) => Set::Numbers { keys: HashMap::new(), null: None },
            _ => Set::Rows {
                converter: RowConverter::new(types.iter().cloned().map(SortField::new).collect())?,
                keys: HashMap::new(),
            },
        };
        Ok(Self { ids, newest: i64::MIN, set })
    }

    /// The fields that are compared.
    pub(super) fn ids(&self) -> &[i32] {
        &self.ids
    }

    /// The youngest deletion.
    pub(super) fn newest(&self) -> i64 {
        self.newest
    }

    fn add(&mut self, columns: &[ArrayRef], sequence: i64) -> Result<(), ArrowError> {
        self.newest = self.newest.max(sequence);
        match &mut self.set {
            Set::Dense { .. } => return Err(ArrowError::ComputeError("a finished set of keys was added to".into())),
            Set::Numbers { keys, null } => {
                for key in &numbers(columns)? {
                    match key {
                        Some(key) => youngest(keys.entry(key).or_insert(sequence), sequence),
                        None => *null = Some(null.map_or(sequence, |known| known.max(sequence))),
                    }
                }
            }
            Set::Rows { converter, keys } => {
                for key in &converter.convert_columns(&plain(columns))? {
                    match keys.get_mut(key.as_ref()) {
                        Some(known) => youngest(known, sequence),
                        None => _ = keys.insert(key.as_ref().into(), sequence),
                    }
                }
            }
        }
        Ok(())
    }

    /// Takes the form that is looked through fastest.
    fn finished(mut self) -> Self {
        if let Set::Numbers { keys, null } = &mut self.set {
            match dense(keys, *null, self.newest) {
                Some(set) => self.set = set,
                None => keys.shrink_to_fit(),
            }
        }
        self
    }

    /// Which rows of `columns`, of a file with this sequence number, are deleted.
    pub(super) fn deleted(&self, columns: &[ArrayRef], sequence: i64) -> Result<BooleanBuffer, ArrowError> {
        let younger = |deleted: &i64| *deleted > sequence;
        match &self.set {
            Set::Dense { first, bits, null } => {
                if self.newest <= sequence {
                    return Ok(BooleanBuffer::new_unset(columns.first().map_or(0, |column| column.len())));
                }
                Ok(look(&numbers(columns)?, *null, |key| {
                    // What lies below wraps around to beyond the end.
                    let at = key.wrapping_sub(*first).cast_unsigned();
                    usize::try_from(at / 64).is_ok_and(|word| bits.get(word).is_some_and(|w| w >> (at % 64) & 1 == 1))
                }))
            }
            Set::Numbers { keys, null } => {
                let null = null.as_ref().is_some_and(younger);
                Ok(look(&numbers(columns)?, null, |key| keys.get(&key).is_some_and(younger)))
            }
            Set::Rows { converter, keys } => {
                let rows = converter.convert_columns(&plain(columns))?;
                let mut rows = rows.iter();
                Ok(BooleanBuffer::collect_bool(rows.len(), |_| {
                    rows.next().is_some_and(|row| keys.get(row.as_ref()).is_some_and(younger))
                }))
            }
        }
    }
}

fn youngest(known: &mut i64, sequence: i64) {
    *known = sequence.max(*known);
}

fn look(column: &Int64Array, null: bool, is_in: impl Fn(i64) -> bool) -> BooleanBuffer {
    match column.nulls() {
        None => BooleanBuffer::collect_bool(column.len(), |row| is_in(column.value(row))),
        Some(nulls) => BooleanBuffer::collect_bool(column.len(), |row| match nulls.is_null(row) {
            true => null,
            false => is_in(column.value(row)),
        }),
    }
}

fn dense(keys: &HashMap<i64, i64>, null: Option<i64>, sequence: i64) -> Option<Set> {
    let (first, last) = (*keys.keys().min()?, *keys.keys().max()?);
    let span = last.abs_diff(first).checked_add(1)?;
    let is_at_once = keys.values().chain(&null).all(|found| *found == sequence);
    if !is_at_once || span > BITS_PER_KEY.saturating_mul(u64::try_from(keys.len()).ok()?) {
        return None;
    }
    let mut bits = vec![0u64; usize::try_from(span.div_ceil(64)).ok()?];
    for key in keys.keys() {
        let at = key.abs_diff(first);
        *bits.get_mut(usize::try_from(at / 64).ok()?)? |= 1 << (at % 64);
    }
    Some(Set::Dense { first, bits, null: null.is_some() })
}

fn is_number(of: &DataType) -> bool {
    matches!(of, DataType::Int32 | DataType::Int64 | DataType::Date32 | DataType::Time64(_) | DataType::Timestamp(_, _))
}

fn numbers(columns: &[ArrayRef]) -> Result<Int64Array, ArrowError> {
    let [column] = columns else {
        return Err(ArrowError::ComputeError("one column is one array".into()));
    };
    Ok(cast(column, &DataType::Int64)?.as_primitive::<Int64Type>().clone())
}

/// The columns with one bit pattern for NaN, since arrow's row format compares bits.
fn plain(columns: &[ArrayRef]) -> Vec<ArrayRef> {
    let column = |column: &ArrayRef| -> ArrayRef {
        match column.data_type() {
            DataType::Float32 => {
                let values = column.as_primitive::<Float32Type>();
                Arc::new(values.unary::<_, Float32Type>(|v| if v.is_nan() { f32::NAN } else { v }) as Float32Array)
            }
            DataType::Float64 => {
                let values = column.as_primitive::<Float64Type>();
                Arc::new(values.unary::<_, Float64Type>(|v| if v.is_nan() { f64::NAN } else { v }) as Float64Array)
            }
            _ => Arc::clone(column),
        }
    };
    columns.iter().map(column).collect()
}

/// The keys of a group, which is not empty. They are kept for as long as the group is the same.
pub(super) async fn load(ground: &Ground, group: &[Arc<DeleteFile>]) -> Result<Arc<Keys>, Error> {
    let bug = || Error::new(Class::Bug, "a group of equality deletes has no keys");
    let Some(DeleteKind::Equality { ids }) = group.first().map(|first| &first.kind) else {
        return Err(bug());
    };
    let mut ids = ids.clone();
    ids.sort_unstable();
    ids.dedup();
    let columns: Option<Vec<Bound>> = ids.iter().map(|id| ground.key(*id).map(|(_, bound)| bound.clone())).collect();
    let columns: Arc<[Bound]> = columns.filter(|columns| !columns.is_empty()).ok_or_else(bug)?.into();
    let mut hash = Sha256::new();
    for bound in columns.iter() {
        hash.update(format!("{} {};", bound.field.id, bound.field.field_type));
    }
    for delete in group {
        hash.update(format!("{} {} {};", delete.sequence, delete.path.as_ref().len(), delete.path));
    }
    let place = format!("keys {:x}", hash.finalize());
    ground.memory.get(ground.url.as_str(), &place, decode(ground, group, ids, columns)).await
}

async fn decode(
    ground: &Ground,
    group: &[Arc<DeleteFile>],
    ids: Vec<i32>,
    columns: Arc<[Bound]>,
) -> Result<Keys, Error> {
    let fields: Vec<_> = columns.iter().map(|bound| Arc::clone(&bound.wanted.field)).collect();
    let schema: SchemaRef = Arc::new(Schema::new(fields));
    let types: Vec<DataType> = schema.fields().iter().map(|field| field.data_type().clone()).collect();
    let bug = |error: ArrowError| {
        tracing::debug!(%error, "keys of equality deletes");
        Error::new(Class::Bug, "keys of equality deletes cannot be held")
    };
    let keys = Mutex::new(Keys::new(ids.clone(), &types).map_err(bug)?);
    let by_id = ById { table: Arc::clone(&ground.table), columns };
    let add = |delete: &DeleteFile, batch: &RecordBatch| {
        let values = evaluate(&by_id, &schema, batch).map_err(|error| {
            tracing::debug!(%error, "keys of equality deletes");
            cause(&error).cloned().unwrap_or_else(|| broken(ground, delete, "cannot be read"))
        })?;
        keys.lock().unwrap_or_else(PoisonError::into_inner).add(&values, delete.sequence).map_err(bug)
    };
    let reads: Vec<_> =
        group.iter().map(|delete| read::each_batch(ground, delete, &ids, |batch| add(delete, &batch.0))).collect();
    stream::iter(reads).buffer_unordered(AT_ONCE).try_collect::<()>().await?;
    Ok(keys.into_inner().unwrap_or_else(PoisonError::into_inner).finished())
}

/// The columns of `schema`, out of a batch of a file.
fn evaluate(by_id: &ById, schema: &SchemaRef, batch: &RecordBatch) -> DfResult<Vec<ArrayRef>> {
    let adapter = by_id.create(Arc::clone(schema), batch.schema())?;
    let column = |(index, field): (usize, &Arc<Field>)| {
        let column: Arc<dyn PhysicalExpr> = Arc::new(Column::new(field.name(), index));
        adapter.rewrite(column)?.evaluate(batch)?.into_array(batch.num_rows())
    };
    schema.fields().iter().enumerate().map(column).collect()
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "tests")]
mod tests {
    use std::collections::BTreeMap;

    use datafusion::arrow::array::StringArray;

    use super::*;

    type Known = BTreeMap<Vec<Option<i64>>, i64>;

    /// Columns with these keys; of two columns the second is text.
    fn columns(keys: &[Vec<Option<i64>>], types: &[DataType]) -> Vec<ArrayRef> {
        let column = |(at, of): (usize, &DataType)| -> ArrayRef {
            let values = keys.iter().map(|key| *key.get(at).unwrap());
            match of {
                DataType::Utf8 => Arc::new(values.map(|v| v.map(|v| v.to_string())).collect::<StringArray>()),
                _ => Arc::new(values.collect::<Int64Array>()),
            }
        };
        types.iter().enumerate().map(column).collect()
    }

    fn check(types: &[DataType], step: i64, sequences: &[i64], is_form: impl Fn(&Set) -> bool) {
        let mut state = 7u64;
        let mut next = |below: u64| {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            i64::try_from((state >> 33) % below).unwrap()
        };
        let mut key = |many: u64| -> Vec<Option<i64>> {
            types.iter().map(|_| Some(next(many)).filter(|v| *v > 0).map(|v| v.wrapping_mul(step) - 50)).collect()
        };
        let mut known = Known::new();
        let mut keys = Keys::new((0..).zip(types).map(|(id, _)| id).collect(), types).unwrap();
        for sequence in sequences {
            let some: Vec<_> = (0..200).map(|_| key(300)).collect();
            keys.add(&columns(&some, types), *sequence).unwrap();
            for one in some {
                let found = known.entry(one).or_insert(*sequence);
                *found = (*found).max(*sequence);
            }
        }
        let keys = keys.finished();
        assert!(is_form(&keys.set));
        assert!(keys.bytes() >= known.len() / 8);
        let rows: Vec<_> = (0..2000).map(|_| key(400)).collect();
        for sequence in 0..5 {
            let expect: Vec<bool> =
                rows.iter().map(|row| known.get(row).is_some_and(|found| *found > sequence)).collect();
            let found = keys.deleted(&columns(&rows, types), sequence).unwrap();
            assert_eq!(found.iter().collect::<Vec<_>>(), expect, "{types:?} at {sequence}");
            assert!(expect.contains(&false) && expect.contains(&(sequence < *sequences.iter().max().unwrap())));
        }
    }

    #[test]
    fn a_set_holds_what_was_added_and_when_whatever_its_form() {
        let number = [DataType::Int64];
        check(&number, 1, &[3], |set| matches!(set, Set::Dense { .. }));
        check(&number, 1, &[4, 2, 3], |set| matches!(set, Set::Numbers { .. }));
        check(&number, i64::MAX / 500, &[3], |set| matches!(set, Set::Numbers { .. }));
        check(&[DataType::Utf8], 1, &[2, 4], |set| matches!(set, Set::Rows { .. }));
        check(&[DataType::Int64, DataType::Utf8], 1, &[1, 2, 3], |set| matches!(set, Set::Rows { .. }));
    }
}
