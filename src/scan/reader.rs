//! Opens data files: with cached footers, held against their manifests, and with errors that name table and file.

use std::ops::Range;
use std::sync::Arc;

use bytes::Bytes;
use datafusion::common::Result;
use datafusion::datasource::listing::PartitionedFile;
use datafusion::datasource::physical_plan::ParquetFileReaderFactory;
use datafusion::physical_plan::metrics::ExecutionPlanMetricsSet;
use futures::FutureExt;
use futures::future::BoxFuture;
use parquet::arrow::arrow_reader::ArrowReaderOptions;
use parquet::arrow::async_reader::AsyncFileReader;
use parquet::errors::ParquetError;
use parquet::file::metadata::ParquetMetaData;

use super::error::ScanError;
use super::source::FileFacts;
use crate::error::Error;

/// Wraps the readers of another factory.
#[derive(Debug)]
pub(super) struct CheckedReaders {
    pub(super) table: Arc<str>,
    pub(super) inner: Arc<dyn ParquetFileReaderFactory>,
}

impl ParquetFileReaderFactory for CheckedReaders {
    fn create_reader(
        &self,
        partition_index: usize,
        file: PartitionedFile,
        metadata_size_hint: Option<usize>,
        metrics: &ExecutionPlanMetricsSet,
    ) -> Result<Box<dyn AsyncFileReader + Send>> {
        let place = Place {
            table: Arc::clone(&self.table),
            file: file.object_meta.location.to_string(),
            rows: file.extension::<FileFacts>().map(|facts| facts.rows),
        };
        let inner = self.inner.create_reader(partition_index, file, metadata_size_hint, metrics)?;
        Ok(Box::new(CheckedReader { place, inner }))
    }
}

struct CheckedReader {
    place: Place,
    inner: Box<dyn AsyncFileReader + Send>,
}

struct Place {
    table: Arc<str>,
    file: String,
    rows: Option<u64>,
}

impl Place {
    fn failed(&self, source: ParquetError) -> ParquetError {
        outer(ScanError::File { table: self.table.to_string(), file: self.file.clone(), source })
    }

    /// DataFusion maps no columns when a file's schema equals the query's, which without ids it can: so ids are asked
    /// for here, where every file passes.
    fn check(&self, metadata: &ParquetMetaData) -> parquet::errors::Result<()> {
        let file = metadata.file_metadata();
        let (table, name) = (self.table.to_string(), self.file.clone());
        if !file.schema_descr().root_schema().get_fields().iter().all(|field| field.get_basic_info().has_id()) {
            return Err(outer(ScanError::NoIds { table, file: name }));
        }
        if self.rows.is_none_or(|rows| u64::try_from(file.num_rows()) != Ok(rows)) {
            return Err(outer(ScanError::Rows { table, file: name }));
        }
        Ok(())
    }
}

fn outer(error: ScanError) -> ParquetError {
    ParquetError::External(Box::new(Error::from(error)))
}

impl AsyncFileReader for CheckedReader {
    fn get_bytes(&mut self, range: Range<u64>) -> BoxFuture<'_, parquet::errors::Result<Bytes>> {
        let Self { place, inner } = self;
        inner.get_bytes(range).map(|bytes| bytes.map_err(|e| place.failed(e))).boxed()
    }

    fn get_byte_ranges(&mut self, ranges: Vec<Range<u64>>) -> BoxFuture<'_, parquet::errors::Result<Vec<Bytes>>> {
        let Self { place, inner } = self;
        inner.get_byte_ranges(ranges).map(|bytes| bytes.map_err(|e| place.failed(e))).boxed()
    }

    fn get_metadata<'a>(
        &'a mut self,
        options: Option<&'a ArrowReaderOptions>,
    ) -> BoxFuture<'a, parquet::errors::Result<Arc<ParquetMetaData>>> {
        let Self { place, inner } = self;
        async move {
            let metadata = inner.get_metadata(options).await.map_err(|e| place.failed(e))?;
            place.check(&metadata)?;
            Ok(metadata)
        }
        .boxed()
    }
}
