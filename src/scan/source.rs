//! DataFusion's Parquet source, and what an Iceberg table adds to it while files are opened.
//!
//! ```text
//! PartitionedFile + FileFacts -> LakeSource -> (deletes of this file) -> ParquetSource -> batches, faults named
//! ```
//!
//! Whatever depends on one file happens here and nowhere above: the rest of a plan sees a plain file source. The columns
//! that equality deletes compare are known to the Parquet source inside and to nothing outside.

use std::fmt;
use std::sync::Arc;

use datafusion::arrow::datatypes::{Fields, Schema, SchemaRef};
use datafusion::common::Result;
use datafusion::common::config::ConfigOptions;
use datafusion::datasource::listing::PartitionedFile;
use datafusion::datasource::physical_plan::{FileScanConfig, FileScanConfigBuilder, FileSource, ParquetSource};
use datafusion::datasource::table_schema::TableSchema;
use datafusion::execution::object_store::ObjectStoreUrl;
use datafusion::physical_expr::projection::ProjectionExprs;
use datafusion::physical_expr::utils::collect_columns;
use datafusion::physical_expr::{EquivalenceProperties, LexOrdering, PhysicalExpr, PhysicalSortExpr};
use datafusion::physical_expr_common::physical_expr::is_dynamic_physical_expr;
use datafusion::physical_plan::filter_pushdown::{FilterPushdownPropagation, PushedDown};
use datafusion::physical_plan::metrics::ExecutionPlanMetricsSet;
use datafusion::physical_plan::{DisplayFormatType, SortOrderPushdownResult};
use datafusion_datasource::file_stream::FileOpener;
use datafusion_datasource::morsel::Morselizer;
use object_store::ObjectStore;

use super::FOOTER_HINT;
use super::best::Best;
use super::columns::Bound;
use super::deletes::{Opener, Opening, projected};
use super::entry::DeleteFile;
use super::faults::Named;
use super::footer::{Constants, Names};
use super::lineage::{LAST_UPDATED, ROW_ID};
use crate::lake::memory::Memory;

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
    /// What its partition alone says of columns that it may leave out.
    pub(super) constants: Constants,
    /// The deletes that apply to it.
    pub(super) deletes: Arc<[Arc<DeleteFile>]>,
}

/// Where a scan stands: all that opening a file needs beside the file, as plain data.
#[derive(Debug)]
pub(super) struct Ground {
    pub(super) store: Arc<dyn ObjectStore>,
    /// The store's name, which keeps what is remembered of one apart from another's.
    pub(super) url: ObjectStoreUrl,
    pub(super) memory: Memory,
    pub(super) table: Arc<str>,
    /// What the names of files without ids mean.
    pub(super) names: Names,
    /// The query's columns, then those that equality deletes compare.
    columns: Arc<[Bound]>,
    visible: usize,
    schema: SchemaRef,
}

impl Ground {
    /// `columns` have the types of `visible`; `hidden` are what equality deletes compare.
    pub(super) fn new(
        store: Arc<dyn ObjectStore>,
        url: ObjectStoreUrl,
        memory: Memory,
        table: Arc<str>,
        names: Names,
        (columns, visible): (&[Bound], &SchemaRef),
        hidden: &[Bound],
    ) -> Self {
        let keys = hidden.iter().map(|bound| Arc::new(bound.wanted.field.as_ref().clone().with_nullable(true)));
        Self {
            store,
            url,
            memory,
            table,
            names,
            columns: columns.iter().chain(hidden).cloned().collect(),
            visible: columns.len(),
            schema: Arc::new(Schema::new(visible.fields().iter().cloned().chain(keys).collect::<Fields>())),
        }
    }

    /// What the Parquet source reads: the query's columns, then the hidden ones.
    pub(super) fn schema(&self) -> &SchemaRef {
        &self.schema
    }

    /// The same columns with their fields.
    pub(super) fn columns(&self) -> &Arc<[Bound]> {
        &self.columns
    }

    /// How many columns are the query's.
    pub(super) fn visible(&self) -> usize {
        self.visible
    }

    /// The hidden column of a field, or of the structs that it is in, and its index in the schema.
    pub(super) fn key(&self, field: i32) -> Option<(usize, &Bound)> {
        self.columns.iter().enumerate().skip(self.visible).find(|(_, bound)| bound.leaf().id == field)
    }

    /// The query's column of a field.
    pub(super) fn visible_by_id(&self, field: i32) -> Option<&Bound> {
        self.columns.iter().take(self.visible).find(|bound| bound.field.id == field)
    }

    /// Whether something of a projection is computed from the query's column of this field.
    pub(super) fn asks(&self, projection: &ProjectionExprs, field: i32) -> bool {
        let index = self.columns.iter().take(self.visible).position(|bound| bound.field.id == field);
        index.is_some_and(|index| projection.column_indices().contains(&index))
    }
}

/// A Parquet source over the files of one table.
#[derive(Clone)]
pub(super) struct LakeSource {
    ground: Arc<Ground>,
    /// What reads the files. It gives all columns of the ground's schema.
    parquet: Arc<dyn FileSource>,
    /// The query's columns.
    schema: TableSchema,
    projection: ProjectionExprs,
    /// Columns whose own statistics must not decide what is read.
    unsure: Arc<[usize]>,
    /// The order that row groups are read in as far as their statistics allow, for the sort above.
    order: Option<LexOrdering>,
    /// The column that the sort above begins with.
    best: Option<Best>,
}

impl LakeSource {
    /// `parquet` was made for the ground's schema and has no projection yet. No filter on a column of `unsure` reaches it.
    pub(super) fn new(ground: Arc<Ground>, parquet: ParquetSource, unsure: Vec<usize>) -> Self {
        let visible: Fields = ground.schema.fields().iter().take(ground.visible()).cloned().collect();
        let schema = Arc::new(Schema::new(visible));
        let all: Vec<usize> = (0..ground.visible).collect();
        let projection = ProjectionExprs::from_indices(&all, &schema);
        let schema = TableSchema::from_file_schema(schema);
        Self { ground, parquet: Arc::new(parquet), schema, projection, unsure: unsure.into(), order: None, best: None }
    }

    pub(super) fn ground(&self) -> &Ground {
        &self.ground
    }

    pub(super) fn stands_on(&self, ground: &Arc<Ground>) -> bool {
        Arc::ptr_eq(&self.ground, ground)
    }

    pub(super) fn parquet(&self) -> Option<&ParquetSource> {
        self.parquet.downcast_ref()
    }

    /// The same with figures of its own; `None` where it holds what a run finds out.
    pub(super) fn afresh(&self) -> Option<Self> {
        let read = self.parquet()?;
        let filter = read.filter();
        if self.order.is_some() || filter.as_ref().is_some_and(is_dynamic_physical_expr) {
            return None;
        }
        let fresh = ParquetSource::new(Arc::clone(self.ground.schema()))
            .with_table_parquet_options(read.table_parquet_options().clone())
            .with_metadata_size_hint(FOOTER_HINT)
            .with_parquet_file_reader_factory(Arc::clone(read.parquet_file_reader_factory()?));
        let fresh = match filter {
            Some(filter) => fresh.with_predicate(filter),
            None => fresh,
        };
        Some(Self { parquet: Arc::new(fresh), ..self.clone() })
    }

    pub(super) fn order(&self) -> Option<&LexOrdering> {
        self.order.as_ref()
    }

    fn over(&self, parquet: Arc<dyn FileSource>) -> Arc<dyn FileSource> {
        Arc::new(Self { parquet, ..self.clone() })
    }

    fn asks(&self, field: i32) -> bool {
        self.ground.asks(&self.projection, field)
    }

    /// Whether a filter can be held against the columns of a file as they are there. What a row inherits is not.
    fn is_of_files(&self, filter: &Arc<dyn PhysicalExpr>) -> bool {
        let read = collect_columns(filter);
        ![ROW_ID, LAST_UPDATED].iter().any(|field| {
            self.ground.visible_by_id(*field).is_some_and(|bound| read.iter().any(|column| column.name() == bound.name))
        })
    }

    /// Whether a filter is about a column whose statistics do not tell of NaN.
    fn is_unsure(&self, filter: &Arc<dyn PhysicalExpr>) -> bool {
        let read = collect_columns(filter);
        let mut unsure = self.unsure.iter().filter_map(|column| self.ground.columns.get(*column));
        unsure.any(|bound| read.iter().any(|column| column.name() == bound.name))
    }

    /// Whether a filter may come to read whole structs of a file, though it names one field.
    fn reads_structs(&self, filter: &Arc<dyn PhysicalExpr>) -> bool {
        let read = collect_columns(filter);
        let mut structs = self.ground.columns.iter().filter(|bound| bound.wanted.needs_its_struct());
        structs.any(|bound| read.iter().any(|column| column.name() == bound.name))
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
        let source = projected(&self.parquet, &self.projection)?;
        let clean = source.create_morselizer(Arc::clone(&store), config, partition)?;
        let bare = FileScanConfigBuilder::new(config.object_store_url.clone(), source)
            .with_expr_adapter(config.expr_adapter_factory.clone())
            .with_limit(config.limit)
            .build();
        let opening = Opening {
            ground: Arc::clone(&self.ground),
            parquet: Arc::clone(&self.parquet),
            projection: self.projection.clone(),
            in_order: self.order.is_none(),
            best: self.best.filter(|_| self.parquet.filter().is_some_and(|filter| is_dynamic_physical_expr(&filter))),
            store,
            config: bare,
            partition,
        };
        let opener = Opener { clean, opening: Arc::new(opening) };
        Ok(Box::new(Named { inner: Box::new(opener), table: Arc::clone(&self.ground.table) }))
    }

    fn table_schema(&self) -> &TableSchema {
        &self.schema
    }

    fn with_batch_size(&self, batch_size: usize) -> Arc<dyn FileSource> {
        self.over(self.parquet.with_batch_size(batch_size))
    }

    fn filter(&self) -> Option<Arc<dyn PhysicalExpr>> {
        self.parquet.filter()
    }

    fn projection(&self) -> Option<&ProjectionExprs> {
        Some(&self.projection)
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
        // Ids follow from positions, so nothing may be left out of a file whose rows are counted.
        if self.asks(ROW_ID) || !filters.iter().all(|filter| self.is_of_files(filter)) {
            return Ok(FilterPushdownPropagation::with_parent_pushdown_result(vec![PushedDown::No; filters.len()]));
        }
        // The Parquet source forgets a filter that turns out to read a whole struct.
        let may = |filter| !self.reads_structs(filter) && !self.is_unsure(filter);
        let may: Vec<bool> = filters.iter().map(may).collect();
        let pushed = filters.into_iter().zip(&may).filter_map(|(filter, may)| may.then_some(filter)).collect();
        let FilterPushdownPropagation { filters, updated_node } = self.parquet.try_pushdown_filters(pushed, config)?;
        let mut answers = filters.into_iter();
        let answer = |may: bool| if may { answers.next().unwrap_or(PushedDown::No) } else { PushedDown::No };
        let filters = may.into_iter().map(answer).collect();
        Ok(FilterPushdownPropagation { filters, updated_node: updated_node.map(|parquet| self.over(parquet)) })
    }

    fn try_pushdown_sort(
        &self,
        order: &[PhysicalSortExpr],
        properties: &EquivalenceProperties,
    ) -> Result<SortOrderPushdownResult<Arc<dyn FileSource>>> {
        // The Parquet source would turn a file's row groups around.
        if self.asks(ROW_ID) || !order.iter().all(|sort| self.is_of_files(&sort.expr)) {
            return Ok(SortOrderPushdownResult::Unsupported);
        }
        Ok(match self.parquet.try_pushdown_sort(order, properties)? {
            SortOrderPushdownResult::Inexact { inner } => {
                let (order, best) = (LexOrdering::new(order.to_vec()), Best::of(order, &self.projection));
                let sorted = Self { parquet: inner, order, best, ..self.clone() };
                SortOrderPushdownResult::Inexact { inner: Arc::new(sorted) }
            }
            other => other.map(|parquet| self.over(parquet)),
        })
    }

    fn reorder_files(&self, files: Vec<PartitionedFile>) -> Vec<PartitionedFile> {
        match &self.best {
            Some(best) => best.files(files),
            None => self.parquet.reorder_files(files),
        }
    }

    fn try_pushdown_projection(&self, projection: &ProjectionExprs) -> Result<Option<Arc<dyn FileSource>>> {
        let projection = self.projection.try_merge(projection)?;
        Ok(Some(Arc::new(Self { projection, ..self.clone() })))
    }
}
