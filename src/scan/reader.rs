//! Opens data files: with cached footers that were made to fit, held against their manifests, and with errors that name
//! table and file.

use std::ops::Range;
use std::sync::Arc;

use bytes::Bytes;
use datafusion::common::Result;
use datafusion::datasource::listing::PartitionedFile;
use datafusion::datasource::physical_plan::ParquetFileReaderFactory;
use datafusion::datasource::physical_plan::parquet::CachedParquetFileReaderFactory;
// Another type of this name is exported beside it, which the reading side of the cache takes for nothing.
use datafusion::datasource::physical_plan::parquet::metadata::CachedParquetMetaData;
use datafusion::execution::cache::cache_manager::{CachedFileMetadataEntry, FileMetadataCache};
use datafusion::physical_plan::metrics::ExecutionPlanMetricsSet;
use futures::FutureExt;
use futures::future::BoxFuture;
use object_store::{ObjectMeta, ObjectStore};
use parquet::arrow::arrow_reader::ArrowReaderOptions;
use parquet::arrow::async_reader::AsyncFileReader;
use parquet::errors::ParquetError;
use parquet::file::metadata::{PageIndexPolicy, ParquetMetaData, RowGroupMetaData};

use super::chunks::Chunks;
use super::error::ScanError;
use super::footer::{self, Constants, Names, Unfit};
use super::source::FileFacts;
use crate::error::Error;

/// How a Parquet file ends whose footer is encrypted.
const ENCRYPTED: &[u8] = b"PARE";

/// Wraps DataFusion's readers of one table.
#[derive(Debug)]
pub(super) struct CheckedReaders {
    table: Arc<str>,
    names: Names,
    footers: Arc<dyn FileMetadataCache>,
    /// Whether page indexes are wanted with the footers.
    indexed: bool,
    inner: CachedParquetFileReaderFactory,
}

impl CheckedReaders {
    /// Readers of the table's store that keep footers in `footers`.
    pub(super) fn new(
        table: Arc<str>,
        names: Names,
        store: Arc<dyn ObjectStore>,
        footers: Arc<dyn FileMetadataCache>,
    ) -> Self {
        let inner = CachedParquetFileReaderFactory::new(store, Arc::clone(&footers));
        Self { table, names, footers, indexed: false, inner }
    }

    /// Keeps page indexes with the footers. DataFusion reads an index that a footer does not have for each query anew.
    pub(super) fn indexed(self, indexed: bool) -> Self {
        Self { indexed, ..self }
    }
}

impl ParquetFileReaderFactory for CheckedReaders {
    fn create_reader(
        &self,
        partition_index: usize,
        file: PartitionedFile,
        metadata_size_hint: Option<usize>,
        metrics: &ExecutionPlanMetricsSet,
    ) -> Result<Box<dyn AsyncFileReader + Send>> {
        let facts = file.extension::<FileFacts>();
        let place = Place {
            table: Arc::clone(&self.table),
            rows: facts.map(|facts| facts.rows),
            constants: facts.map_or_else(|| Arc::from([]), |facts| Arc::clone(&facts.constants)),
            names: self.names.clone(),
            footers: Arc::clone(&self.footers),
            object: file.object_meta.clone(),
        };
        let inner = self.inner.create_reader(partition_index, file, metadata_size_hint, metrics)?;
        Ok(Box::new(CheckedReader { place, indexed: self.indexed, chunks: None, inner }))
    }
}

struct CheckedReader {
    place: Place,
    indexed: bool,
    /// Known once the footer is.
    chunks: Option<Chunks>,
    inner: Box<dyn AsyncFileReader + Send>,
}

/// A file, and what is known of it before it is read.
struct Place {
    table: Arc<str>,
    object: ObjectMeta,
    rows: Option<u64>,
    constants: Constants,
    names: Names,
    footers: Arc<dyn FileMetadataCache>,
}

impl Place {
    fn failed(&self, source: ParquetError) -> ParquetError {
        let (table, file) = self.named();
        outer(ScanError::File { table, file, source })
    }

    fn named(&self) -> (String, String) {
        (self.table.to_string(), self.object.location.to_string())
    }

    fn check(&self, metadata: &ParquetMetaData) -> parquet::errors::Result<()> {
        let rows = metadata.file_metadata().num_rows();
        let grouped = metadata.row_groups().iter().try_fold(0_i64, |sum, group| sum.checked_add(group.num_rows()));
        if self.rows.is_none_or(|known| u64::try_from(rows) != Ok(known)) || grouped != Some(rows) {
            let (table, file) = self.named();
            return Err(outer(ScanError::Rows { table, file }));
        }
        Ok(())
    }

    /// The footer that the scan sees. What is the same for every scan takes the place of the one in the cache.
    fn fit(&self, metadata: Arc<ParquetMetaData>) -> parquet::errors::Result<Arc<ParquetMetaData>> {
        let fitted = footer::fit(&metadata, &self.names, &self.constants).map_err(|unfit| {
            let (table, file) = self.named();
            outer(match unfit {
                Unfit::NoIds => ScanError::NoIds { table, file },
                Unfit::NoMapping => ScanError::NoMapping { table, file },
                Unfit::Noted => ScanError::Noted { table, file },
                Unfit::Twins => ScanError::Twins { table, file },
                Unfit::Parquet(source) => ScanError::File { table, file, source },
            })
        })?;
        let Some(fitted) = fitted else { return Ok(metadata) };
        if fitted.lasting {
            let kept = Arc::new(CachedParquetMetaData::new(Arc::clone(&fitted.metadata)));
            self.footers.put(&self.object.location, CachedFileMetadataEntry::new(self.object.clone(), kept));
        }
        Ok(fitted.metadata)
    }
}

fn outer(error: ScanError) -> ParquetError {
    ParquetError::External(Box::new(Error::from(error)))
}

/// Whether the file has a page index and the footer was read without it.
fn has_index_to_read(metadata: &ParquetMetaData) -> bool {
    let mut columns = metadata.row_groups().iter().flat_map(RowGroupMetaData::columns);
    let is_read = metadata.column_index().is_some() && metadata.offset_index().is_some();
    !is_read && columns.any(|column| column.column_index_offset().is_some() && column.offset_index_offset().is_some())
}

impl CheckedReader {
    async fn read(&mut self, options: Option<&ArrowReaderOptions>) -> parquet::errors::Result<Arc<ParquetMetaData>> {
        match self.inner.get_metadata(options).await {
            Ok(metadata) => Ok(metadata),
            Err(source) => Err(self.unread(source).await),
        }
    }

    /// The error for a footer that cannot be read; one that is encrypted is told apart.
    async fn unread(&mut self, source: ParquetError) -> ParquetError {
        let end = self.place.object.size;
        let tail = self.inner.get_bytes(end.saturating_sub(4)..end).await;
        if tail.is_ok_and(|tail| tail == ENCRYPTED) {
            let (table, file) = self.place.named();
            return outer(ScanError::Encrypted { table, file });
        }
        self.place.failed(source)
    }
}

impl AsyncFileReader for CheckedReader {
    fn get_bytes(&mut self, range: Range<u64>) -> BoxFuture<'_, parquet::errors::Result<Bytes>> {
        let Self { place, inner, .. } = self;
        inner.get_bytes(range).map(|bytes| bytes.map_err(|e| place.failed(e))).boxed()
    }

    fn get_byte_ranges(&mut self, ranges: Vec<Range<u64>>) -> BoxFuture<'_, parquet::errors::Result<Vec<Bytes>>> {
        async move {
            // A second reader of a file, as DataFusion makes one after it looked into bloom filters, has not seen the footer.
            if self.chunks.is_none() {
                self.get_metadata(None).await?;
            }
            let Self { place, inner, chunks, .. } = self;
            let read = inner.get_byte_ranges(ranges.clone()).await.map_err(|e| place.failed(e))?;
            if let Some(chunks) = chunks {
                let mut parts = ranges.iter().zip(&read);
                parts.try_for_each(|(range, bytes)| chunks.check(range, bytes)).map_err(|e| place.failed(e))?;
            }
            Ok(read)
        }
        .boxed()
    }

    fn get_metadata<'a>(
        &'a mut self,
        options: Option<&'a ArrowReaderOptions>,
    ) -> BoxFuture<'a, parquet::errors::Result<Arc<ParquetMetaData>>> {
        async move {
            let mut metadata = self.read(options).await?;
            if self.indexed && has_index_to_read(&metadata) {
                let options = ArrowReaderOptions::new().with_page_index_policy(PageIndexPolicy::Optional);
                metadata = self.read(Some(&options)).await?;
            }
            self.place.check(&metadata)?;
            let metadata = self.place.fit(metadata)?;
            self.chunks = Some(Chunks::of(Arc::clone(&metadata)));
            Ok(metadata)
        }
        .boxed()
    }
}
