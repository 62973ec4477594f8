//! Reads delete files that are Parquet: only the columns that are asked for, by field id, held against the manifest.

use std::panic::AssertUnwindSafe;
use std::sync::Arc;

use datafusion::arrow::array::{ArrayRef, RecordBatch};
use datafusion::arrow::datatypes::{DataType, FieldRef, Fields};
use datafusion::common::DataFusionError;
use datafusion::datasource::listing::PartitionedFile;
use datafusion::datasource::physical_plan::ParquetFileReaderFactory;
use datafusion::execution::cache::DefaultFilesMetadataCache;
use datafusion::physical_plan::metrics::ExecutionPlanMetricsSet;
use futures::{FutureExt, TryStreamExt};
use parquet::arrow::async_reader::AsyncFileReader;
use parquet::arrow::{ParquetRecordBatchStreamBuilder, ProjectionMask};
use parquet::errors::ParquetError;

use super::positions::broken;
use crate::error::Error;
use crate::scan::adapter::field_id;
use crate::scan::entry::DeleteFile;
use crate::scan::error::ScanError;
use crate::scan::faults::panicked;
use crate::scan::reader::CheckedReaders;
use crate::scan::source::{FileFacts, Ground};
use crate::scan::{FOOTER_HINT, cause};

/// Some rows of a delete file.
pub(super) struct Batch(pub(super) RecordBatch);

impl Batch {
    pub(super) fn column_by_id(&self, id: i32) -> Option<&ArrayRef> {
        let schema = self.0.schema_ref();
        let index = schema.fields().iter().position(|field| field_id(field) == Some(id))?;
        self.0.columns().get(index)
    }
}

/// Gives the columns with these ids, all of which must be there, batch by batch.
pub(super) async fn each_batch(
    ground: &Ground,
    delete: &DeleteFile,
    ways: &[Vec<i32>],
    mut each: impl FnMut(Batch) -> Result<(), Error>,
) -> Result<(), Error> {
    let failed = |error: ParquetError| failed(ground, delete, error);
    let opened = AssertUnwindSafe(ParquetRecordBatchStreamBuilder::new(reader(ground, delete)?)).catch_unwind();
    let builder = unwound(opened.await).map_err(failed)?;
    let fields = builder.schema().fields();
    if !ways.iter().all(|way| has(fields, way)) {
        return Err(broken(ground, delete, "does not have the columns of its kind"));
    }
    let is_root = |field: &FieldRef| ways.iter().any(|way| way.first().copied() == field_id(field));
    let roots: Vec<usize> =
        fields.iter().enumerate().filter(|(_, field)| is_root(field)).map(|(root, _)| root).collect();
    let mask = ProjectionMask::roots(builder.parquet_schema(), roots);
    let mut batches = builder.with_projection(mask).build().map_err(failed)?;
    let mut rows = 0u64;
    while let Some(batch) = unwound(AssertUnwindSafe(batches.try_next()).catch_unwind().await).map_err(failed)? {
        rows = rows.saturating_add(u64::try_from(batch.num_rows()).unwrap_or(u64::MAX));
        each(Batch(batch))?;
    }
    if rows != delete.rows {
        return Err(broken(ground, delete, "holds another number of deletes than its metadata says"));
    }
    Ok(())
}

/// Whether there is one field at the end of a way through structs.
fn has(fields: &Fields, way: &[i32]) -> bool {
    let Some((id, rest)) = way.split_first() else { return true };
    let mut found = fields.iter().filter(|field| field_id(field) == Some(*id));
    match (found.next(), found.next()) {
        (Some(_), None) if rest.is_empty() => true,
        (Some(field), None) => matches!(field.data_type(), DataType::Struct(inside) if has(inside, rest)),
        _ => false,
    }
}

/// Damaged bytes may make a decoder panic.
fn unwound<T>(caught: std::thread::Result<Result<T, ParquetError>>) -> Result<T, ParquetError> {
    caught.unwrap_or_else(|_| Err(panicked()))
}

/// Its footer is not kept: what the file holds is, and it is read once.
fn reader(ground: &Ground, delete: &DeleteFile) -> Result<Box<dyn AsyncFileReader>, Error> {
    let mut file = PartitionedFile::new("", delete.size);
    file.object_meta.location = delete.path.clone();
    let file = file.with_extension(FileFacts {
        rows: delete.rows,
        sequence: delete.sequence,
        first_row: None,
        location: delete.path.as_ref().into(),
        constants: Arc::from([]),
        deletes: Arc::from([]),
    });
    let footers = Arc::new(DefaultFilesMetadataCache::new(0));
    let readers =
        CheckedReaders::new(Arc::clone(&ground.table), ground.names.clone(), Arc::clone(&ground.store), footers);
    let metrics = ExecutionPlanMetricsSet::new();
    let reader = readers.create_reader(0, file, Some(FOOTER_HINT), &metrics);
    Ok(reader.map_err(|_| broken(ground, delete, "cannot be read"))?)
}

fn failed(ground: &Ground, delete: &DeleteFile, source: ParquetError) -> Error {
    let error = DataFusionError::from(source);
    match (cause(&error).cloned(), error) {
        (Some(known), _) => known,
        (None, DataFusionError::ParquetError(source)) => {
            ScanError::File { table: ground.table.to_string(), file: delete.path.to_string(), source: *source }.into()
        }
        (None, _) => broken(ground, delete, "cannot be read"),
    }
}
