//! An Iceberg table becomes a native Parquet scan.
//!
//! ```text
//! pin:   snapshot -> index (manifests) + deletes (which apply to which file) + columns (fields by id)
//! plan:  filters  -> index prunes -> files in even groups, each with its facts -> FileScanConfig over LakeSource
//! open:  file     -> footer with ids -> adapter (the file's columns as the query's) -> deleted rows left out -> batches
//! ```
//!
//! What depends on one file happens when it is opened, so a plan above sees a plain file source, and `codec` can send it
//! elsewhere. Nothing here knows a principal or a policy; what is not understood is refused and never left out.

mod adapter;
mod best;
mod chunks;
mod codec;
mod columns;
mod defaults;
mod deletes;
mod distinct;
mod entry;
mod error;
mod faults;
mod footer;
mod index;
mod late;
pub mod lineage;
mod mapping;
mod reader;
mod source;
pub mod tables;

use std::borrow::Cow;
use std::collections::HashMap;
use std::mem;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use datafusion::arrow::datatypes::SchemaRef;
use datafusion::catalog::{Session, TableProvider};
use datafusion::common::stats::Precision;
use datafusion::common::{
    Constraints, DFSchema, DataFusionError, Result as DfResult, ScalarValue, Statistics, not_impl_err,
};
use datafusion::config::{ConfigOptions, ParquetOptions, TableParquetOptions};
use datafusion::datasource::listing::PartitionedFile;
use datafusion::datasource::physical_plan::{FileGroup, FileScanConfig, FileScanConfigBuilder, ParquetSource};
use datafusion::datasource::source::DataSourceExec;
use datafusion::execution::runtime_env::RuntimeEnv;
use datafusion::logical_expr::utils::conjunction;
use datafusion::logical_expr::{Expr, LogicalPlan, TableProviderFilterPushDown, TableType};
use datafusion::physical_expr::PhysicalExpr;
use datafusion::physical_expr::expressions::Column;
use datafusion::physical_plan::ExecutionPlan;
use datafusion::physical_plan::empty::EmptyExec;
use datafusion_datasource::file_groups::FileGroupPartitioner;
use iceberg::spec::{PartitionField, Transform};
use sha2::{Digest, Sha256};

use crate::error::Error;
use crate::lake::OpenTable;
pub use codec::ScanCodec;
use columns::Bound;
use deletes::DeleteIndex;
use entry::DataFile;
use error::ScanError;
use footer::{Constants, Names};
use index::{Asked, Chosen, FileIndex};
use source::{FileFacts, Ground, LakeSource};

/// Which part of its share a partition may read beyond it before files are cut.
const UNEVEN: u64 = 8;

/// How much of a file's end is read at first; it holds most footers whole.
const FOOTER_HINT: usize = 64 * 1024;

/// A column to read: an Iceberg field under the name that the query sees.
#[derive(Debug, Clone)]
pub struct ScanColumn {
    /// The name in the query's schema.
    pub name: String,
    /// The Iceberg field id.
    pub field_id: i32,
    /// The fields to read of the struct that it is, or that its lists and maps hold; without, all of them.
    pub fields: Option<Vec<ScanColumn>>,
}

/// A table at one pinned snapshot, as DataFusion's table provider. Its schema is exactly the columns it was given.
#[derive(Debug, Clone)]
pub struct IcebergScan {
    open: OpenTable,
    snapshot: Option<i64>,
    schema: SchemaRef,
    files: Arc<FileIndex>,
    deletes: DeleteIndex,
    /// What its files are opened with.
    ground: Arc<Ground>,
    /// What was told of columns. Whoever orders joins asks for the same ones several times.
    told: Arc<Mutex<HashMap<Vec<usize>, Option<Statistics>>>>,
}

impl IcebergScan {
    /// Pins a snapshot (the current one, or `snapshot`) and binds the columns.
    ///
    /// # Errors
    /// `Drift` for a feature that is not supported (formats other than Parquet, types that arrow cannot hold) or an
    /// unknown field or snapshot; `Storage` when metadata cannot be read.
    pub async fn pin(open: OpenTable, columns: Vec<ScanColumn>, snapshot: Option<i64>) -> Result<Arc<Self>, Error> {
        let name: Arc<str> = open.told().into();
        let metadata = open.table.metadata();
        let pinned = match snapshot {
            None => metadata.current_snapshot(),
            Some(id) => {
                let missing = || ScanError::NoSnapshot { table: name.to_string(), snapshot: id };
                Some(metadata.snapshot_by_id(id).ok_or_else(missing)?)
            }
        };
        let (columns, schema) = columns::bind(&open, columns)?;
        let (files, deletes) = match pinned {
            Some(snapshot) => index::read(&open, snapshot).await?,
            None => Default::default(),
        };
        let files = Arc::new(files);
        let deletes = DeleteIndex::new(&name, deletes, files.oldest().unwrap_or_default())?;
        let hidden = deletes::hidden(&open, &deletes.key_fields(), &columns)?;
        let ground = Arc::new(Ground::new(
            Arc::clone(&open.store),
            open.url.clone(),
            open.memory.clone(),
            Arc::clone(&name),
            Names::of(&open.table),
            (&columns, &schema),
            &hidden,
        ));
        let snapshot = pinned.map(|snapshot| snapshot.snapshot_id());
        Ok(Arc::new(Self { snapshot, schema, files, deletes, ground, open, told: Arc::default() }))
    }

    /// The files that it has more than an earlier snapshot, where nothing of that snapshot is gone: all its files are
    /// still there, and no row of any is deleted.
    ///
    /// # Errors
    /// `Storage` when metadata cannot be read.
    pub async fn since(&self, earlier: i64) -> Result<Option<Arc<Self>>, Error> {
        let Some(earlier) = self.open.table.metadata().snapshot_by_id(earlier) else { return Ok(None) };
        let (then, deletes) = index::read(&self.open, earlier).await?;
        if !deletes.is_empty() || !self.deletes.is_empty() {
            return Ok(None);
        }
        let more = self.files.beyond(&then);
        let only = |files| Self { files: Arc::new(files), told: Arc::default(), ..self.clone() };
        Ok(more.map(|files| Arc::new(only(files))))
    }

    fn believed(&self, statistics: Statistics) -> Statistics {
        if self.deletes.is_empty() { statistics } else { statistics.to_inexact() }
    }

    /// What is known of all its rows, and of the columns at these places.
    pub fn figures(&self, columns: &[usize]) -> Option<Statistics> {
        let mut told = self.told.lock().unwrap_or_else(PoisonError::into_inner);
        told.entry(columns.to_vec()).or_insert_with(|| self.find(columns).ok()).clone()
    }

    fn find(&self, columns: &[usize]) -> DfResult<Statistics> {
        let (all, asked, metadata) = (self.files.all(), self.asked(), self.open.table.metadata());
        let mut statistics = self.believed(all.statistics(&asked, columns)?);
        let rows = statistics.num_rows.get_value().copied().unwrap_or(usize::MAX);
        for column in columns {
            let (Some(field), Some(into)) = (asked.ids.get(*column), statistics.column_statistics.get_mut(*column))
            else {
                continue;
            };
            let counted = self.snapshot.and_then(|snapshot| distinct::counted(metadata, snapshot, *field, rows));
            // A row that was deleted may stand in its file beside the one that replaces it.
            let thrown =
                if counted.is_none() && self.deletes.is_empty() { all.occupied(&asked, *column)? } else { None };
            let count = counted.or_else(|| distinct::thrown(thrown?));
            into.distinct_count = count.map_or(Precision::Absent, Precision::Inexact);
        }
        Ok(statistics)
    }

    /// The columns' arrow schema.
    pub fn schema(&self) -> SchemaRef {
        Arc::clone(&self.schema)
    }

    /// The pinned snapshot, or `None` for a table that has none yet.
    pub fn snapshot_id(&self) -> Option<i64> {
        self.snapshot
    }

    /// The URL of the store that it reads from; it is the same in the physical scan.
    pub fn store_url(&self) -> &str {
        self.open.url.as_str()
    }

    /// Whether a physical node reads this scan's files, and none but them.
    pub fn is_read_by(&self, plan: &dyn ExecutionPlan) -> bool {
        let source = plan.downcast_ref::<DataSourceExec>();
        let config = source.and_then(|source| source.data_source().downcast_ref::<FileScanConfig>());
        let source = config.and_then(|config| config.file_source().downcast_ref::<LakeSource>());
        source.is_some_and(|source| source.stands_on(&self.ground))
    }

    fn file(&self, entry: &DataFile) -> PartitionedFile {
        let mut file = PartitionedFile::new("", entry.size);
        file.object_meta.location = entry.path.clone();
        file.object_meta.last_modified += self.identity(entry);
        let statistics = entry.statistics(self.ground.visible());
        file.with_statistics(Arc::new(statistics)).with_extension(FileFacts {
            rows: entry.rows,
            sequence: entry.sequence,
            first_row: entry.first_row,
            location: entry.location.as_str().into(),
            constants: self.constants(entry),
            deletes: self.deletes.of(entry),
        })
    }

    /// The values that the file's partition gives to columns, by their ids.
    fn constants(&self, entry: &DataFile) -> Constants {
        let spec = self.open.table.metadata().partition_spec_by_id(entry.partition.spec);
        let is_of = |field: &PartitionField, id: i32| field.source_id == id && field.transform == Transform::Identity;
        let constant = |(index, bound): (usize, &Bound)| {
            let id = bound.field.id;
            // One that is a key as well is noted once, as the key.
            let noted = index < self.ground.visible() && self.ground.key(id).is_some();
            if noted || !bound.partition || spec.is_some_and(|spec| !spec.fields().iter().any(|field| is_of(field, id)))
            {
                return None;
            }
            let null = || ScalarValue::try_new_null(bound.wanted.field.data_type()).ok();
            let known = entry.columns.get(index).filter(|known| known.constant);
            Some((id, known.and_then(|known| known.min.clone().or_else(null))))
        };
        self.ground.columns().iter().enumerate().filter_map(constant).collect()
    }

    /// A time that never changes for a file and differs between stores. DataFusion's footer cache knows a file by path,
    /// size and time, so this is what keeps one domain's footers from another's files.
    fn identity(&self, entry: &DataFile) -> Duration {
        let hash = Sha256::new().chain_update(self.open.url.as_str()).chain_update(entry.path.as_ref()).finalize();
        let number = hash.iter().take(8).fold(0u64, |number, byte| (number << 8) | u64::from(*byte));
        Duration::new(number >> 32, u32::try_from(number & 0x1fff_ffff).unwrap_or_default())
    }

    /// Whole files, each to the group with the fewest bytes so far. Where that leaves a group with much more than its
    /// share, files are cut: who reads a piece reads the row groups that begin in it.
    fn groups(&self, files: &[DataFile], options: &ConfigOptions) -> Vec<FileGroup> {
        let mut files: Vec<&DataFile> = files.iter().collect();
        files.sort_by_key(|entry| std::cmp::Reverse(entry.size));
        let partitions = options.execution.target_partitions.max(1);
        let mut groups: Vec<(u64, Vec<&DataFile>)> = vec![(0, Vec::new()); partitions];
        for entry in files {
            if let Some((bytes, group)) = groups.iter_mut().min_by_key(|(bytes, _)| *bytes) {
                *bytes = bytes.saturating_add(entry.size.max(1));
                group.push(entry);
            }
        }
        let most = groups.iter().map(|(bytes, _)| *bytes).max().unwrap_or_default();
        let share = groups.iter().map(|(bytes, _)| *bytes).fold(0, u64::saturating_add) / partitions as u64;
        let groups = groups.into_iter().filter(|(_, group)| !group.is_empty());
        let groups: Vec<FileGroup> = groups
            .map(|(_, group)| FileGroup::new(group.into_iter().map(|entry| self.file(entry)).collect()))
            .collect();
        if most <= share.saturating_add(share / UNEVEN) || !options.optimizer.repartition_file_scans {
            return groups;
        }
        let cut = FileGroupPartitioner::new()
            .with_target_partitions(partitions)
            .with_repartition_file_min_size(options.optimizer.repartition_file_min_size)
            .repartition_file_groups(&groups);
        cut.unwrap_or(groups)
    }

    /// The query's columns.
    fn asked(&self) -> Asked<'_> {
        self.asked_of(&self.schema)
    }

    /// As many of all columns as a schema has.
    fn asked_of<'a>(&self, schema: &'a SchemaRef) -> Asked<'a> {
        // What a file holds of row lineage is not what its rows have.
        let id = |bound: &Bound| lineage::field(bound.field.id).map_or(bound.field.id, |_| index::UNKNOWN);
        let columns = self.ground.columns().iter().zip(schema.fields());
        Asked { ids: columns.map(|(bound, _)| id(bound)).collect(), schema }
    }

    /// The files themselves, with what is known of the columns in `needed`, and of those that equality deletes compare
    /// and that a file may leave to its partition.
    fn opened(&self, files: &Chosen<'_>, needed: &[usize]) -> DfResult<Vec<DataFile>> {
        let keys = self.ground.columns().iter().enumerate().skip(self.ground.visible());
        let keys = keys.filter(|(_, bound)| bound.partition).map(|(index, _)| index);
        let needed: Vec<usize> = needed.iter().copied().chain(keys).collect();
        files.files(&self.open, &self.asked_of(self.ground.schema()), &needed)
    }

    fn filter(&self, state: &dyn Session, filters: &[Expr]) -> DfResult<Option<Arc<dyn PhysicalExpr>>> {
        let schema = DFSchema::try_from(Arc::clone(&self.schema))?;
        let filter = conjunction(filters.iter().cloned());
        filter.map(|filter| state.create_physical_expr(filter, &schema)).transpose()
    }

    /// The files that may match.
    fn matching(&self, filter: Option<&Arc<dyn PhysicalExpr>>) -> Chosen<'_> {
        filter.map_or_else(|| self.files.all(), |filter| self.files.prune(&self.asked(), filter))
    }

    /// The columns that filters are about.
    fn filtered(&self, filters: &[Expr]) -> Vec<usize> {
        let columns = filters.iter().flat_map(Expr::column_refs);
        let mut filtered: Vec<usize> = columns.filter_map(|column| self.schema.index_of(&column.name).ok()).collect();
        filtered.sort_unstable();
        filtered.dedup();
        filtered
    }

    /// The columns that a query reads. Others carry no statistics.
    fn needed(&self, projection: Option<&Vec<usize>>, filtered: &[usize]) -> Vec<usize> {
        let mut needed = projection.map_or_else(|| (0..self.schema.fields().len()).collect(), Clone::clone);
        needed.extend(filtered);
        needed.sort_unstable();
        needed.dedup();
        needed
    }

    fn reads_late(
        &self,
        files: &Chosen<'_>,
        filter: Option<&Arc<dyn PhysicalExpr>>,
        (filtered, needed): (&[usize], &[usize]),
        statistics: &Statistics,
    ) -> bool {
        let Some(filter) = filter else { return false };
        let bytes =
            |column: usize| self.ground.columns().get(column).map_or(0, |bound| files.column_bytes(bound.field.id));
        let (filters, others): (Vec<usize>, Vec<usize>) =
            needed.iter().partition(|column| filtered.binary_search(column).is_ok());
        let rows = statistics.num_rows.get_value().map_or(1.0, |rows| (*rows).max(1) as f64);
        let bits = |column: &Column| bytes(column.index()) as f64 * 8.0 / rows;
        let left = late::left(filter, &self.schema, statistics, &bits);
        let sum = |columns: Vec<usize>| columns.into_iter().map(bytes).sum();
        late::pays(sum(filters), sum(others), left)
    }
}

/// The scan of a plan as it was before it ran: what it counts is its own. It no longer has the figures of its files, by
/// which they were chosen and which weigh most of it. `None` where that cannot be had, and for what is no scan of a lake.
pub fn afresh(plan: &dyn ExecutionPlan) -> Option<Arc<dyn ExecutionPlan>> {
    let scan = plan.downcast_ref::<DataSourceExec>()?.data_source().downcast_ref::<FileScanConfig>()?;
    let source = scan.file_source.downcast_ref::<LakeSource>()?.afresh()?;
    let mut fresh = scan.clone();
    fresh.file_source = Arc::new(source);
    for group in &mut fresh.file_groups {
        let files = mem::take(group).into_inner().into_iter();
        *group = FileGroup::new(files.map(|file| PartitionedFile { statistics: None, ..file }).collect());
    }
    Some(DataSourceExec::from_data_source(fresh))
}

/// What reads the files of a table, for a plan that was made here and for one that came as bytes.
fn parquet_source(
    ground: &Ground,
    runtime: &RuntimeEnv,
    mut options: ParquetOptions,
    is_filtered: bool,
) -> ParquetSource {
    let footers = runtime.cache_manager.get_file_metadata_cache();
    let (table, store) = (Arc::clone(&ground.table), Arc::clone(&ground.store));
    let readers = reader::CheckedReaders::new(table, ground.names.clone(), store, footers)
        .indexed(is_filtered && options.enable_page_index);
    options.schema_force_view_types = false;
    if ground.schema().fields().iter().any(|field| field.data_type().is_nested()) {
        // Parquet's reader keeps what a filter read, and panics where that is the only leaf of a struct.
        options.max_predicate_cache_size = Some(0);
    }
    // Spark's oldest timestamps count nanoseconds in twelve bytes; the tables that have them count microseconds.
    options.coerce_int96 = Some("us".to_owned());
    ParquetSource::new(Arc::clone(ground.schema()))
        .with_table_parquet_options(TableParquetOptions { global: options, ..Default::default() })
        .with_metadata_size_hint(FOOTER_HINT)
        .with_parquet_file_reader_factory(Arc::new(readers))
}

#[async_trait]
#[deny(clippy::missing_trait_methods)]
impl TableProvider for IcebergScan {
    fn schema(&self) -> SchemaRef {
        Arc::clone(&self.schema)
    }

    fn constraints(&self) -> Option<&Constraints> {
        None
    }

    fn table_type(&self) -> TableType {
        TableType::Base
    }

    fn get_table_definition(&self) -> Option<&str> {
        None
    }

    fn get_logical_plan(&self) -> Option<Cow<'_, LogicalPlan>> {
        None
    }

    fn get_column_default(&self, _column: &str) -> Option<&Expr> {
        None
    }

    async fn scan(
        &self,
        state: &dyn Session,
        projection: Option<&Vec<usize>>,
        filters: &[Expr],
        limit: Option<usize>,
    ) -> DfResult<Arc<dyn ExecutionPlan>> {
        let filter = self.filter(state, filters)?;
        let files = self.matching(filter.as_ref());
        if files.is_empty() {
            let schema = match projection {
                Some(projection) => Arc::new(self.schema.project(projection)?),
                None => Arc::clone(&self.schema),
            };
            return Ok(Arc::new(EmptyExec::new(schema)));
        }
        let filtered = self.filtered(filters);
        let needed = self.needed(projection, &filtered);
        let statistics = self.believed(files.statistics(&self.asked(), &needed)?);
        let mut options = state.config_options().execution.parquet.clone();
        options.pushdown_filters |= self.reads_late(&files, filter.as_ref(), (&filtered, &needed), &statistics);
        // Filters that come later may be about any column that is read.
        let unsure = files.may_hold_nan(&self.asked(), &needed)?;
        let source = parquet_source(&self.ground, state.runtime_env(), options, !filters.is_empty());
        let files = self.opened(&files, &needed)?;
        let by_id = adapter::ById { columns: Arc::clone(self.ground.columns()) };
        let config = FileScanConfigBuilder::new(
            self.open.url.clone(),
            Arc::new(LakeSource::new(Arc::clone(&self.ground), source, unsure)),
        )
        .with_file_groups(self.groups(&files, state.config_options()))
        .with_statistics(statistics)
        .with_expr_adapter(Some(Arc::new(by_id)))
        .with_projection_indices(projection.cloned())?
        .with_limit(limit)
        .build();
        Ok(DataSourceExec::from_data_source(config))
    }

    async fn scan_with_args<'a>(
        &self,
        state: &dyn Session,
        args: datafusion::catalog::ScanArgs<'a>,
    ) -> DfResult<datafusion::catalog::ScanResult> {
        let projection = args.projection().map(<[usize]>::to_vec);
        let plan = self.scan(state, projection.as_ref(), args.filters().unwrap_or(&[]), args.limit()).await?;
        Ok(plan.into())
    }

    fn supports_filters_pushdown(&self, filters: &[&Expr]) -> DfResult<Vec<TableProviderFilterPushDown>> {
        Ok(vec![TableProviderFilterPushDown::Inexact; filters.len()])
    }

    fn statistics(&self) -> Option<Statistics> {
        let all: Vec<usize> = (0..self.schema.fields().len()).collect();
        self.figures(&all)
    }

    async fn insert_into(
        &self,
        _state: &dyn Session,
        _input: Arc<dyn ExecutionPlan>,
        _insert_op: datafusion::logical_expr::dml::InsertOp,
    ) -> DfResult<Arc<dyn ExecutionPlan>> {
        not_impl_err!("tables are only read")
    }

    async fn delete_from(&self, _state: &dyn Session, _filters: Vec<Expr>) -> DfResult<Arc<dyn ExecutionPlan>> {
        not_impl_err!("tables are only read")
    }

    async fn update(
        &self,
        _state: &dyn Session,
        _assignments: Vec<(String, Expr)>,
        _filters: Vec<Expr>,
    ) -> DfResult<Arc<dyn ExecutionPlan>> {
        not_impl_err!("tables are only read")
    }

    async fn truncate(&self, _state: &dyn Session) -> DfResult<Arc<dyn ExecutionPlan>> {
        not_impl_err!("tables are only read")
    }
}

/// The engine's own error inside one of DataFusion's, however deep: what a scan found wrong while it ran.
pub fn cause(error: &DataFusionError) -> Option<&Error> {
    found_in(error)
}

/// An error of this type inside one of DataFusion's.
fn found_in<T: std::error::Error + 'static>(error: &DataFusionError) -> Option<&T> {
    let mut next: Option<&(dyn std::error::Error + 'static)> = Some(error);
    while let Some(error) = next {
        if let Some(found) = error.downcast_ref() {
            return Some(found);
        }
        // These two hold their source behind a pointer that `downcast_ref` does not look through.
        next = match (error.downcast_ref::<DataFusionError>(), error.downcast_ref::<Arc<DataFusionError>>()) {
            (Some(DataFusionError::Shared(inner)), _) | (_, Some(inner)) => Some(inner.as_ref()),
            _ => error.source(),
        };
    }
    None
}

#[cfg(test)]
#[allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::disallowed_methods,
    reason = "tests, which make their own DataFusion sessions"
)]
pub(crate) mod tests;
