//! DataFusion's Parquet source, and what an Iceberg table adds to it while files are opened.
//!
//! ```text
//! PartitionedFile + FileFacts -> LakeSource -> (deletes of this file) -> ParquetSource -> batches
//! ```
//!
//! Whatever depends on one file happens here and nowhere above: the rest of a plan sees a plain file source.

use std::fmt;
use std::sync::Arc;

use datafusion::common::Result;
use datafusion::common::config::ConfigOptions;
use datafusion::datasource::listing::PartitionedFile;
use datafusion::datasource::physical_plan::{FileScanConfig, FileSource, ParquetSource};
use datafusion::datasource::table_schema::TableSchema;
use datafusion::physical_expr::projection::ProjectionExprs;
use datafusion::physical_expr::{EquivalenceProperties, LexOrdering, PhysicalExpr, PhysicalSortExpr};
use datafusion::physical_plan::filter_pushdown::FilterPushdownPropagation;
use datafusion::physical_plan::metrics::ExecutionPlanMetricsSet;
use datafusion::physical_plan::{DisplayFormatType, SortOrderPushdownResult};
use datafusion_datasource::file_stream::FileOpener;
use datafusion_datasource::morsel::Morselizer;
use object_store::ObjectStore;

use super::columns::Bound;
use super::entry::DeleteFile;

/// What a scan knows about a data file beyond its place; it travels with the file.
#[derive(Debug, Clone)]
pub(super) struct FileFacts {
    /// How many rows the manifest says there are.
    pub(super) rows: u64,
    /// The data sequence number.
    pub(super) sequence: i64,
    /// The row id of the first row.
    pub(super) first_row: Option<i64>,
    /// Its location as the manifest writes it.
    pub(super) location: Arc<str>,
    /// The deletes that apply to it.
    pub(super) deletes: Arc<[Arc<DeleteFile>]>,
}

/// What a scan knows about its table, whatever the file.
#[derive(Debug)]
pub(super) struct TableFacts {
    pub(super) name: Arc<str>,
    pub(super) columns: Arc<[Bound]>,
}

/// A Parquet source over the files of one table.
#[derive(Clone)]
pub(super) struct LakeSource {
    /// What reads the files.
    pub(super) parquet: Arc<dyn FileSource>,
    pub(super) table: Arc<TableFacts>,
    /// The order that its row groups are read in as far as their statistics allow, for the sort above it.
    pub(super) order: Option<LexOrdering>,
}

impl LakeSource {
    pub(super) fn new(parquet: ParquetSource, table: Arc<TableFacts>) -> Self {
        Self { parquet: Arc::new(parquet), table, order: None }
    }

    fn over(&self, parquet: Arc<dyn FileSource>) -> Arc<dyn FileSource> {
        Arc::new(Self { parquet, ..self.clone() })
    }
}

impl FileSource for LakeSource {
    fn create_file_opener(
        &self,
        store: Arc<dyn ObjectStore>,
        config: &FileScanConfig,
        partition: usize,
    ) -> Result<Arc<dyn FileOpener>> {
        self.parquet.create_file_opener(store, config, partition)
    }

    fn create_morselizer(
        &self,
        store: Arc<dyn ObjectStore>,
        config: &FileScanConfig,
        partition: usize,
    ) -> Result<Box<dyn Morselizer>> {
        self.parquet.create_morselizer(store, config, partition)
    }

    fn table_schema(&self) -> &TableSchema {
        self.parquet.table_schema()
    }

    fn with_batch_size(&self, batch_size: usize) -> Arc<dyn FileSource> {
        self.over(self.parquet.with_batch_size(batch_size))
    }

    fn filter(&self) -> Option<Arc<dyn PhysicalExpr>> {
        self.parquet.filter()
    }

    fn projection(&self) -> Option<&ProjectionExprs> {
        self.parquet.projection()
    }

    fn metrics(&self) -> &ExecutionPlanMetricsSet {
        self.parquet.metrics()
    }

    fn file_type(&self) -> &str {
        self.parquet.file_type()
    }

    fn fmt_extra(&self, kind: DisplayFormatType, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.parquet.fmt_extra(kind, f)
    }

    fn supports_repartitioning(&self) -> bool {
        self.parquet.supports_repartitioning()
    }

    fn repartitioned(
        &self,
        partitions: usize,
        min_size: usize,
        ordering: Option<LexOrdering>,
        config: &FileScanConfig,
    ) -> Result<Option<FileScanConfig>> {
        self.parquet.repartitioned(partitions, min_size, ordering, config)
    }

    fn try_pushdown_filters(
        &self,
        filters: Vec<Arc<dyn PhysicalExpr>>,
        config: &ConfigOptions,
    ) -> Result<FilterPushdownPropagation<Arc<dyn FileSource>>> {
        let FilterPushdownPropagation { filters, updated_node } = self.parquet.try_pushdown_filters(filters, config)?;
        Ok(FilterPushdownPropagation { filters, updated_node: updated_node.map(|parquet| self.over(parquet)) })
    }

    fn try_pushdown_sort(
        &self,
        order: &[PhysicalSortExpr],
        properties: &EquivalenceProperties,
    ) -> Result<SortOrderPushdownResult<Arc<dyn FileSource>>> {
        Ok(match self.parquet.try_pushdown_sort(order, properties)? {
            SortOrderPushdownResult::Inexact { inner } => {
                let sorted = Self { parquet: inner, order: LexOrdering::new(order.to_vec()), ..self.clone() };
                SortOrderPushdownResult::Inexact { inner: Arc::new(sorted) }
            }
            other => other.map(|parquet| self.over(parquet)),
        })
    }

    fn reorder_files(&self, files: Vec<PartitionedFile>) -> Vec<PartitionedFile> {
        self.parquet.reorder_files(files)
    }

    fn try_pushdown_projection(&self, projection: &ProjectionExprs) -> Result<Option<Arc<dyn FileSource>>> {
        Ok(self.parquet.try_pushdown_projection(projection)?.map(|parquet| self.over(parquet)))
    }
}
