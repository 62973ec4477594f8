//! Equality deletes: the keys of deleted rows, and the rows of a batch that have one of them.
//!
//! A group is all equality delete files of a partition (or of the whole table) that compare the same fields. It becomes
//! one set of keys, each with the youngest sequence number at which it was deleted: a row is deleted when its key is
//! there with a number above that of the row's file.
//!
//! Equal means what it means to Iceberg's Java library: NULL equals NULL, NaN equals NaN, and -0.0 is not 0.0. A key in
//! a struct is read with the struct, and is NULL where that is.

use std::sync::{Arc, Mutex, PoisonError};

use datafusion::arrow::array::{Array, ArrayRef, AsArray, BooleanArray, RecordBatch};
use datafusion::arrow::buffer::{BooleanBuffer, NullBuffer};
use datafusion::arrow::compute::nullif;
use datafusion::arrow::datatypes::{DataType, Field, Schema, SchemaRef};
use datafusion::arrow::error::ArrowError;
use datafusion::common::Result as DfResult;
use datafusion::physical_expr::PhysicalExpr;
use datafusion::physical_expr::expressions::Column;
use datafusion::physical_expr_adapter::PhysicalExprAdapterFactory;
use futures::{StreamExt, TryStreamExt, stream};
use iceberg::spec::Transform::Identity;
use iceberg::spec::{NestedField, NestedFieldRef, StructType, Type};
use sha2::{Digest, Sha256};

use super::positions::broken;
use super::set::{Draft, Set};
use super::{AT_ONCE, read};
use crate::error::{Class, Error};
use crate::lake::OpenTable;
use crate::lake::memory::Weighed;
use crate::scan::adapter::ById;
use crate::scan::cause;
use crate::scan::columns::{Bound, want};
use crate::scan::entry::{DeleteFile, DeleteKind};
use crate::scan::error::ScanError;
use crate::scan::faults::unfit;
use crate::scan::source::Ground;

/// The columns that equality deletes compare, under names that no query knows. One that the table no longer has is
/// looked up in its older schemas, the youngest first.
pub(in crate::scan) fn hidden(open: &OpenTable, ids: &[i32], visible: &[Bound]) -> Result<Vec<Bound>, ScanError> {
    let metadata = open.table.metadata();
    let mut schemas: Vec<_> = metadata.schemas_iter().collect();
    schemas.sort_by_key(|schema| (schema.schema_id() != metadata.current_schema_id(), -schema.schema_id()));
    let bound = |id: &i32| {
        let unsupported = |what: &str| ScanError::Unsupported {
            table: open.told(),
            what: format!("equality deletes by field {id}, which {what}"),
        };
        let mut roots = schemas.iter().flat_map(|schema| schema.as_struct().fields());
        let field = roots.find_map(|root| way(root, *id, metadata.current_schema()));
        let field = NestedFieldRef::from(field.ok_or_else(|| unsupported("is no column of plain values"))?);
        let mut name = format!("key {id}");
        while visible.iter().any(|bound| bound.name == name) {
            name.push('\'');
        }
        let mut partitions = metadata.partition_specs_iter().flat_map(|spec| spec.fields());
        let partition = field.id == *id && partitions.any(|of| of.source_id == *id && of.transform == Identity);
        let wanted = want(&field, &name, None, &open.beyond).map_err(|_| unsupported("cannot be read"))?;
        Ok(Bound { name, field, partition, wanted })
    };
    ids.iter().map(bound).collect()
}

/// The field with this id, in the structs around it, which hold nothing else then. Nothing of it is required that the
/// table no longer has: it may be gone from its files.
fn way(field: &NestedFieldRef, id: i32, current: &iceberg::spec::Schema) -> Option<NestedField> {
    let mut way = field.as_ref().clone();
    match field.field_type.as_ref() {
        Type::Primitive(_) if field.id == id => {}
        Type::Struct(inside) => {
            let next = inside.fields().iter().find_map(|inside| self::way(inside, id, current))?;
            *way.field_type = Type::Struct(StructType::new(vec![next.into()]));
        }
        _ => return None,
    }
    way.required = way.required && current.field_by_id(way.id).is_some();
    Some(way)
}

/// A key out of the structs that it is in.
pub(super) fn value(column: &ArrayRef) -> Result<ArrayRef, ArrowError> {
    let (mut value, mut nulls) = (Arc::clone(column), None);
    while let Some(around) = value.as_struct_opt() {
        nulls = NullBuffer::union(nulls.as_ref(), around.nulls());
        let inside = around.columns().first().map(Arc::clone);
        value = inside.ok_or_else(|| ArrowError::ComputeError("a key's struct has no field".to_owned()))?;
    }
    match nulls {
        Some(nulls) => nullif(&value, &BooleanArray::new(!nulls.inner(), None)),
        None => Ok(value),
    }
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

impl Weighed for Keys {
    fn bytes(&self) -> usize {
        std::mem::size_of::<Self>() + self.set.bytes()
    }
}

impl Keys {
    /// The fields that are compared.
    pub(super) fn ids(&self) -> &[i32] {
        &self.ids
    }

    /// The youngest deletion.
    pub(super) fn newest(&self) -> i64 {
        self.newest
    }

    /// Which rows of `columns`, of a file with this sequence number, are deleted.
    pub(super) fn deleted(&self, columns: &[ArrayRef], sequence: i64) -> Result<BooleanBuffer, ArrowError> {
        match self.newest <= sequence {
            true => Ok(BooleanBuffer::new_unset(columns.first().map_or(0, |column| column.len()))),
            false => self.set.younger(columns, sequence),
        }
    }
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
        hash.update(format!("{} {};", bound.leaf().id, bound.field.field_type));
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
    let types: Vec<DataType> = columns.iter().map(|bound| bound.leaf().field.data_type().clone()).collect();
    let ways: Vec<Vec<i32>> =
        columns.iter().map(|bound| bound.way().into_iter().map(|wanted| wanted.id).collect()).collect();
    let bug = |error: ArrowError| {
        tracing::debug!(%error, "keys of equality deletes");
        Error::new(Class::Bug, "keys of equality deletes cannot be held")
    };
    let draft = Mutex::new(Draft::new(&types).map_err(bug)?);
    let by_id = ById { columns };
    let add = |delete: &DeleteFile, batch: &RecordBatch| {
        let values = evaluate(&by_id, &schema, batch).map_err(|error| {
            tracing::debug!(%error, "keys of equality deletes");
            let known = cause(&error).cloned().or_else(|| unfit(&error, &ground.table, &delete.path));
            known.unwrap_or_else(|| broken(ground, delete, "cannot be read"))
        })?;
        draft.lock().unwrap_or_else(PoisonError::into_inner).add(&values, delete.sequence).map_err(bug)
    };
    let reads: Vec<_> =
        group.iter().map(|delete| read::each_batch(ground, delete, &ways, |batch| add(delete, &batch.0))).collect();
    stream::iter(reads).buffer_unordered(AT_ONCE).try_collect::<()>().await?;
    let set = draft.into_inner().unwrap_or_else(PoisonError::into_inner).finish().map_err(bug)?;
    let newest = group.iter().map(|delete| delete.sequence).max().unwrap_or(i64::MIN);
    Ok(Keys { ids, newest, set })
}

/// The columns of `schema`, out of a batch of a file.
fn evaluate(by_id: &ById, schema: &SchemaRef, batch: &RecordBatch) -> DfResult<Vec<ArrayRef>> {
    let adapter = by_id.create(Arc::clone(schema), batch.schema())?;
    let column = |(index, field): (usize, &Arc<Field>)| {
        let column: Arc<dyn PhysicalExpr> = Arc::new(Column::new(field.name(), index));
        Ok(value(&adapter.rewrite(column)?.evaluate(batch)?.into_array(batch.num_rows())?)?)
    };
    schema.fields().iter().enumerate().map(column).collect()
}
