//! An Iceberg table becomes a native Parquet scan.

use std::sync::Arc;

use datafusion::arrow::datatypes::SchemaRef;

use crate::error::Error;
use crate::lake::OpenTable;

/// A column to read: an Iceberg field under the name that the query sees.
#[derive(Debug, Clone)]
pub struct ScanColumn {
    /// The name in the query's schema.
    pub name: String,
    /// The Iceberg field id.
    pub field_id: i32,
}

/// A table at one pinned snapshot, as DataFusion's table provider. Its schema is exactly the columns it was given.
#[derive(Debug)]
pub struct IcebergScan {}

impl IcebergScan {
    /// Pins a snapshot (the current one, or `snapshot`) and binds the columns.
    ///
    /// # Errors
    /// `Drift` for a feature that is not supported (delete files, formats other than Parquet, types that arrow cannot
    /// hold) or an unknown field or snapshot; `Storage` when metadata cannot be read.
    pub async fn pin(_table: OpenTable, _columns: Vec<ScanColumn>, _snapshot: Option<i64>) -> Result<Arc<Self>, Error> {
        todo!()
    }

    /// The columns' arrow schema.
    pub fn schema(&self) -> SchemaRef {
        todo!()
    }

    /// The pinned snapshot, or `None` for a table that has none yet.
    pub fn snapshot_id(&self) -> Option<i64> {
        todo!()
    }
}
