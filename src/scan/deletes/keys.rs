//! Equality deletes: the keys of deleted rows, and the rows of a batch that have one of them.
//!
//! A group is all equality delete files of a partition (or of the whole table) that compare the same fields. It becomes
//! one set of keys, each with the youngest sequence number at which it was deleted: a row is deleted when its key is
//! there with a number above that of the row's file.
//!
//! Equal means what it means to Iceberg's Java library: NULL equals NULL, NaN equals NaN, and -0.0 is not 0.0.

use std::sync::{Arc, Mutex, PoisonError};

use datafusion::arrow::array::{ArrayRef, RecordBatch};
use datafusion::arrow::buffer::BooleanBuffer;
use datafusion::arrow::datatypes::{DataType, Field, Schema, SchemaRef};
use datafusion::arrow::error::ArrowError;
use datafusion::common::Result as DfResult;
use datafusion::physical_expr::PhysicalExpr;
use datafusion::physical_expr::expressions::Column;
use datafusion::physical_expr_adapter::PhysicalExprAdapterFactory;
use futures::{StreamExt, TryStreamExt, stream};
use iceberg::spec::{NestedFieldRef, Type};
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
        group.iter().map(|delete| read::each_batch(ground, delete, &ids, |batch| add(delete, &batch.0))).collect();
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
        adapter.rewrite(column)?.evaluate(batch)?.into_array(batch.num_rows())
    };
    schema.fields().iter().enumerate().map(column).collect()
}
