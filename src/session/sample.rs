//! A few rows of a scan as they are, for who looks at the tables of a mesh on the operator's own machine.
//!
//! Nobody's grants are asked here, so nothing but room `inspect` comes here, and what it says of rows is counts.

use datafusion::arrow::array::RecordBatch;
use datafusion::catalog::TableProvider;
use datafusion::common::DataFusionError;
use futures::StreamExt;

use super::Engine;
use crate::error::{Class, Error};
use crate::scan::{IcebergScan, cause};

impl Engine {
    /// The first rows of a scan, at most so many: of one file, as long as that has enough.
    ///
    /// # Errors
    /// `Drift` or `Storage`, when they cannot be read. It quotes no value.
    pub async fn sample(&self, scan: &IcebergScan, rows: usize) -> Result<Vec<RecordBatch>, Error> {
        let plan = scan.scan(&self.base, None, &[], Some(rows)).await.map_err(|error| told(&error))?;
        let mut stream = plan.execute(0, self.base.task_ctx()).map_err(|error| told(&error))?;
        let (mut batches, mut left) = (Vec::new(), rows);
        while left > 0
            && let Some(batch) = stream.next().await
        {
            let batch = batch.map_err(|error| told(&error))?;
            let batch = batch.slice(0, left.min(batch.num_rows()));
            left -= batch.num_rows();
            batches.push(batch);
        }
        Ok(batches)
    }
}

/// What DataFusion says itself could quote a value.
fn told(error: &DataFusionError) -> Error {
    cause(error).cloned().unwrap_or_else(|| Error::new(Class::Storage, "its rows could not be read"))
}
