//! Which pages of a file a query's filter may match, found before the file is opened.
//!
//! DataFusion finds the same while it opens a file, but does not tell what it left out; whoever counts rows must know.

use std::sync::Arc;

use datafusion::arrow::datatypes::{SchemaRef, TimeUnit};
use datafusion::common::Result;
use datafusion::datasource::listing::PartitionedFile;
use datafusion::datasource::physical_plan::parquet::{
    Int96Coercer, PagePruningAccessPlanFilter, ParquetAccessPlan, apply_file_schema_type_coercions,
};
use datafusion::datasource::physical_plan::{FileScanConfig, FileSource, ParquetFileMetrics, ParquetSource};
use datafusion::physical_expr::simplifier::PhysicalExprSimplifier;
use datafusion::physical_plan::metrics::ExecutionPlanMetricsSet;
use parquet::arrow::arrow_reader::{ArrowReaderMetadata, ArrowReaderOptions};
use parquet::file::metadata::ParquetMetaData;

use crate::scan::source::Ground;

/// A filter that page indexes can be held against.
pub(super) struct Pages {
    filter: PagePruningAccessPlanFilter,
    schema: SchemaRef,
    metrics: ExecutionPlanMetricsSet,
}

impl Pages {
    /// `None` when nothing of the source's filter can be decided by pages of this file.
    pub(super) fn new(
        source: &ParquetSource,
        ground: &Ground,
        config: &FileScanConfig,
        metadata: &Arc<ParquetMetaData>,
    ) -> Result<Option<Self>> {
        let is_indexed = source.table_parquet_options().global.enable_page_index;
        let (true, Some(filter), Some(adapters)) = (is_indexed, source.filter(), &config.expr_adapter_factory) else {
            return Ok(None);
        };
        let file = ArrowReaderMetadata::try_new(Arc::clone(metadata), ArrowReaderOptions::new())?;
        let schema = match apply_file_schema_type_coercions(ground.schema(), file.schema()) {
            Some(coerced) => Arc::new(coerced),
            None => Arc::clone(file.schema()),
        };
        let columns = metadata.file_metadata().schema_descr();
        let schema = match Int96Coercer::new(columns, &schema, &TimeUnit::Microsecond).coerce() {
            Some(coerced) => Arc::new(coerced),
            None => schema,
        };
        let adapter = adapters.create(Arc::clone(ground.schema()), Arc::clone(&schema))?;
        let filter = PhysicalExprSimplifier::new(&schema).simplify(adapter.rewrite(filter)?)?;
        let filter = PagePruningAccessPlanFilter::new(&filter, Arc::clone(&schema));
        let metrics = source.metrics().clone();
        Ok((filter.filter_number() > 0).then_some(Self { filter, schema, metrics }))
    }

    /// What is left of `plan`; `metadata` has the page index, if the file has one.
    pub(super) fn prune(
        &self,
        plan: ParquetAccessPlan,
        metadata: &ParquetMetaData,
        file: &PartitionedFile,
        partition: usize,
    ) -> ParquetAccessPlan {
        let metrics = ParquetFileMetrics::new(partition, file.object_meta.location.as_ref(), &self.metrics);
        let columns = metadata.file_metadata().schema_descr();
        self.filter.prune_plan_with_page_index(plan, &self.schema, columns, metadata, &metrics)
    }
}
