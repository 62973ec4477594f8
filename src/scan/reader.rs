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
use parquet::arrow::async_reader::{AsyncFileReader, MetadataFetch};
use parquet::errors::ParquetError;
use parquet::file::metadata::{PageIndexPolicy, ParquetMetaData, ParquetMetaDataReader, RowGroupMetaData};

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

    /// Reads page indexes with the footers, for filters that are known from the beginning. Those that come later may ask
    /// for one that is not there.
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
        Ok(Box::new(CheckedReader { place, indexed: self.indexed, chunks: None, bare: None, inner }))
    }
}

struct CheckedReader {
    place: Place,
    indexed: bool,
    /// Known once the footer is.
    chunks: Option<Chunks>,
    /// The footer, where it was given without the page index that the file has.
    bare: Option<Arc<ParquetMetaData>>,
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

    /// The footer that the scan sees, and whether it is the same for every scan. It takes the place of the one in the
    /// cache then.
    fn fit(&self, metadata: Arc<ParquetMetaData>) -> parquet::errors::Result<(Arc<ParquetMetaData>, bool)> {
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
        let Some(fitted) = fitted else { return Ok((metadata, true)) };
        if fitted.lasting {
            self.keep(&fitted.metadata);
        }
        Ok((fitted.metadata, fitted.lasting))
    }

    fn keep(&self, metadata: &Arc<ParquetMetaData>) {
        let kept = Arc::new(CachedParquetMetaData::new(Arc::clone(metadata)));
        self.footers.put(&self.object.location, CachedFileMetadataEntry::new(self.object.clone(), kept));
    }

    /// Keeps a page index that DataFusion reads for one query. It would read it anew for each.
    async fn keep_index(&self, bare: &ParquetMetaData, index: Index) {
        let reader = ParquetMetaDataReader::new_with_metadata(bare.clone());
        let mut reader = reader.with_page_index_policy(PageIndexPolicy::Optional);
        // Who reads it says what is wrong with it.
        if reader.load_page_index(index).await.is_ok()
            && let Ok(indexed) = reader.finish()
        {
            self.keep(&Arc::new(indexed));
        }
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

/// Where the page index of a file begins.
fn index_begins(metadata: &ParquetMetaData) -> Option<u64> {
    let columns = metadata.row_groups().iter().flat_map(RowGroupMetaData::columns);
    let offsets = columns.flat_map(|column| [column.column_index_offset(), column.offset_index_offset()]);
    offsets.flatten().min().and_then(|offset| u64::try_from(offset).ok())
}

/// The bytes of a page index, and where they begin.
struct Index(u64, Bytes);

impl MetadataFetch for Index {
    fn fetch(&mut self, range: Range<u64>) -> BoxFuture<'_, parquet::errors::Result<Bytes>> {
        let Self(begin, bytes) = self;
        let place = |at: u64| usize::try_from(at.checked_sub(*begin)?).ok();
        let part = place(range.start).zip(place(range.end)).filter(|(start, end)| start <= end && *end <= bytes.len());
        let part = part.map(|(start, end)| bytes.slice(start..end));
        let cut = || ParquetError::EOF("a page index is cut".to_owned());
        std::future::ready(part.ok_or_else(cut)).boxed()
    }
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
        async move {
            let Self { place, bare, inner, .. } = self;
            let begin = range.start;
            let bytes = inner.get_bytes(range).await.map_err(|e| place.failed(e))?;
            if let Some(bare) = bare.take_if(|bare| index_begins(bare) == Some(begin)) {
                place.keep_index(&bare, Index(begin, bytes.clone())).await;
            }
            Ok(bytes)
        }
        .boxed()
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
            let (metadata, lasting) = self.place.fit(metadata)?;
            self.bare = (lasting && has_index_to_read(&metadata)).then(|| Arc::clone(&metadata));
            self.chunks = Some(Chunks::of(Arc::clone(&metadata)));
            Ok(metadata)
        }
        .boxed()
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "tests")]
mod tests {
    use datafusion::arrow::array::Int64Array;
    use datafusion::execution::cache::DefaultFilesMetadataCache;
    use object_store::memory::InMemory;
    use object_store::{ObjectStoreExt, PutPayload};

    use super::*;
    use crate::scan::tests::commit::parquet;

    #[tokio::test]
    async fn a_page_index_that_a_query_asks_for_late_is_kept() {
        let bytes = parquet(&[("a", 1, Arc::new(Int64Array::from(vec![1, 2])))], None);
        let mut file = PartitionedFile::new("t.parquet", bytes.len() as u64);
        let store = Arc::new(InMemory::new());
        store.put(&file.object_meta.location, PutPayload::from(bytes)).await.unwrap();
        file = file.with_extension(FileFacts {
            rows: 2,
            sequence: 1,
            first_row: None,
            location: "t.parquet".into(),
            constants: Arc::from([]),
            deletes: Arc::from([]),
        });
        let footers = Arc::new(DefaultFilesMetadataCache::new(1 << 20));
        let readers = CheckedReaders::new("t".into(), Names::None, store, footers);
        let reader = || -> Box<dyn AsyncFileReader> {
            readers.create_reader(0, file.clone(), None, &ExecutionPlanMetricsSet::new()).unwrap()
        };
        let bare = ArrowReaderOptions::new().with_page_index_policy(PageIndexPolicy::Skip);
        for is_kept in [false, true] {
            let mut reader = reader();
            let metadata = reader.get_metadata(Some(&bare)).await.unwrap();
            assert_eq!(metadata.column_index().is_some() && metadata.offset_index().is_some(), is_kept);
            let late = ParquetMetaDataReader::new_with_metadata(metadata.as_ref().clone());
            late.with_page_index_policy(PageIndexPolicy::Optional).load_page_index(&mut reader).await.unwrap();
        }
    }
}
