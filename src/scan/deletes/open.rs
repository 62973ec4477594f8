//! Opens data files: what is deleted from a file is read before the file is, and left out while it is read.
//!
//! ```text
//! file without deletes          -> DataFusion's Parquet source, untouched
//! few stretches of deleted rows -> the same, with a row selection
//! many                          -> row groups are read whole, one by one if some may be left out; rows are filtered
//! file with deleted keys        -> the same, with the keys' columns behind the query's; rows are filtered, keys dropped
//! row lineage asked for         -> the plain columns; lineage is filled in, then the query's projection is evaluated
//! a sort with a limit above     -> row groups one by one, the best first; each is looked at again when its turn comes
//! ```
//!
//! A file that a dynamic filter excludes by now is not opened, nor is what was deleted from it.

use std::fmt;
use std::ops::Range;
use std::sync::Arc;

use datafusion::arrow::array::{ArrayRef, Int64Array, RecordBatch};
use datafusion::arrow::buffer::BooleanBuffer;
use datafusion::common::{DataFusionError, Result, internal_datafusion_err, internal_err};
use datafusion::datasource::listing::PartitionedFile;
use datafusion::datasource::physical_plan::parquet::ParquetAccessPlan;
use datafusion::datasource::physical_plan::{FileScanConfig, FileSource, ParquetSource};
use datafusion::physical_expr::expressions::Column;
use datafusion::physical_expr::projection::{ProjectionExpr, ProjectionExprs, Projector};
use datafusion::physical_expr::utils::reassign_expr_columns;
use datafusion::physical_expr_common::physical_expr::is_dynamic_physical_expr;
use datafusion::physical_optimizer::pruning::FilePruner;
use datafusion::physical_plan::metrics::Count;
use datafusion_datasource::morsel::{Morsel, MorselPlan, MorselPlanner, Morselizer};
use futures::StreamExt;
use futures::stream::BoxStream;
use object_store::ObjectStore;
use parquet::arrow::arrow_reader::ArrowReaderOptions;
use parquet::file::metadata::{PageIndexPolicy, ParquetMetaData};

use super::compact::compact;
use super::gone::Gone;
use super::keys::{Keys, value};
use super::pages::Pages;
use super::rows::{self, Leave, Positions};
use super::{Deleted, load};
use crate::scan::FOOTER_HINT;
use crate::scan::best::{Best, with_bounds};
use crate::scan::lineage;
use crate::scan::source::{FileFacts, Ground};

/// A row selection pays for stretches that are longer than this on average: stepping over one row in a hundred by a
/// selection takes 1.5 to 2 times what the clean scan does.
const STRETCH: u64 = 1024;

/// The files of one partition of a scan.
#[derive(Debug)]
pub(in crate::scan) struct Opener {
    /// Opens files that nothing was deleted from.
    pub(in crate::scan) clean: Box<dyn Morselizer>,
    pub(in crate::scan) opening: Arc<Opening>,
}

/// What opening any other file takes.
pub(in crate::scan) struct Opening {
    pub(in crate::scan) ground: Arc<Ground>,
    /// Gives all columns of the ground's schema.
    pub(in crate::scan) parquet: Arc<dyn FileSource>,
    pub(in crate::scan) projection: ProjectionExprs,
    /// Whether the Parquet source reads the row groups of a file one after the other.
    pub(in crate::scan) in_order: bool,
    /// What a sort above wants first, where it tells what comes too late.
    pub(in crate::scan) best: Option<Best>,
    pub(in crate::scan) store: Arc<dyn ObjectStore>,
    /// The scan's, without its files.
    pub(in crate::scan) config: FileScanConfig,
    pub(in crate::scan) partition: usize,
}

impl fmt::Debug for Opening {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Opening").field("ground", &self.ground).finish_non_exhaustive()
    }
}

impl Morselizer for Opener {
    fn plan_file(&self, file: PartitionedFile) -> Result<Box<dyn MorselPlanner>> {
        let Some(facts) = file.extension::<FileFacts>() else {
            return internal_err!("a file came without what is known of it");
        };
        let facts = facts.clone();
        let file = with_bounds(file);
        if facts.deletes.is_empty() && !self.opening.asks_lineage() && self.opening.best.is_none() {
            return self.clean.plan_file(file);
        }
        Ok(Box::new(Unopened { opening: Arc::clone(&self.opening), file, facts }))
    }
}

/// A file whose deletes are not read yet.
#[derive(Debug)]
struct Unopened {
    opening: Arc<Opening>,
    file: PartitionedFile,
    facts: FileFacts,
}

impl MorselPlanner for Unopened {
    fn plan(self: Box<Self>) -> Result<Option<MorselPlan>> {
        let Self { opening, file, facts } = *self;
        if opening.excludes(&file)? {
            return Ok(None);
        }
        Ok(Some(MorselPlan::new().with_pending_planner(async move { opening.open(file, facts).await })))
    }
}

impl Opening {
    fn asks_lineage(&self) -> bool {
        self.ground.asks(&self.projection, lineage::ROW_ID) || self.ground.asks(&self.projection, lineage::LAST_UPDATED)
    }

    async fn open(self: Arc<Self>, file: PartitionedFile, facts: FileFacts) -> Result<Box<dyn MorselPlanner>> {
        let failed = |error| DataFusionError::External(Box::new(error));
        let deleted = load(&self.ground, &file.object_meta.location, &facts).await.map_err(failed)?;
        let asks_ids = self.ground.asks(&self.projection, lineage::ROW_ID) && facts.first_row.is_some();
        let leave = self.leave(deleted.rows.as_deref(), &facts)?;
        let (mut file, mut positions) = (file, None);
        if deleted.rows.is_some() || asks_ids || self.best.is_some() {
            let metadata = self.footer(&file, PageIndexPolicy::Skip).await?;
            let plan = rows::plan(&metadata, file.range.as_ref(), deleted.rows.as_deref(), leave);
            if (leave == Leave::ToFilter && self.parquet.filter().is_some()) || self.best.is_some() {
                return self.one_by_one(file, facts, deleted, metadata, plan, leave).await;
            }
            positions = (asks_ids || leave == Leave::ToFilter).then(|| Positions::new(&metadata, &plan));
            file = file.with_extension(plan);
        }
        let gone = deleted.rows.filter(|_| leave == Leave::ToFilter);
        if gone.is_none() && deleted.keys.is_empty() && !self.asks_lineage() {
            return self.morselizer(&self.parquet, &self.projection, self.config.limit)?.plan_file(file);
        }
        let (inner, finish) = self.finish(gone, deleted.keys, positions, &facts)?;
        // What is filtered here must not count against the limit there; the stream above counts again.
        let limit = self.config.limit.filter(|_| !finish.filters());
        let planner = self.morselizer(&self.parquet, &inner, limit)?.plan_file(file)?;
        Ok(Box::new(Finishing { planner, finish }))
    }

    /// Each row group by itself. Which of them the Parquet source leaves out it does not tell, but one that it reads it
    /// reads whole, or the pages that are found here. So the rows can be counted.
    async fn one_by_one(
        self: Arc<Self>,
        file: PartitionedFile,
        facts: FileFacts,
        deleted: Deleted,
        mut metadata: Arc<ParquetMetaData>,
        mut plan: ParquetAccessPlan,
        leave: Leave,
    ) -> Result<Box<dyn MorselPlanner>> {
        let is_counted = leave == Leave::ToFilter;
        let mut source = Arc::clone(&self.parquet);
        if is_counted {
            let parquet = self.source()?;
            if let Some(pages) = Pages::new(parquet, &self.ground, &self.config, &metadata)? {
                metadata = self.footer(&file, PageIndexPolicy::Optional).await?;
                plan = pages.prune(plan, &metadata, &file, self.partition);
            }
            source = Arc::new(parquet.clone().with_enable_page_index(false));
        }
        let order = match (self.best, self.best.and_then(|best| self.ground.columns().get(best.column))) {
            (Some(best), Some(bound)) => best.row_groups(&metadata, bound.field.id)?,
            _ => (0..metadata.num_row_groups()).collect(),
        };
        let gone = deleted.rows.filter(|_| is_counted);
        let (inner, _) = self.finish(gone.clone(), deleted.keys.clone(), None, &facts)?;
        let morselizer = self.morselizer(&source, &inner, None)?;
        let planners = rows::one_by_one(plan, order).map(move |plan| {
            let positions = is_counted.then(|| Positions::new(&metadata, &plan));
            let (_, finish) = self.finish(gone.clone(), deleted.keys.clone(), positions, &facts)?;
            let planner = morselizer.plan_file(file.clone().with_extension(plan))?;
            Ok(Box::new(Finishing { planner, finish }) as Box<dyn MorselPlanner>)
        });
        Ok(Box::new(Several { now: None, next: Box::new(planners) }))
    }

    /// Whether what is known of a file says that nothing of it can be wanted any more.
    fn excludes(&self, file: &PartitionedFile) -> Result<bool> {
        let Some(filter) = self.parquet.filter().filter(is_dynamic_physical_expr) else { return Ok(false) };
        let pruner = FilePruner::try_new(filter, self.ground.schema(), file, Count::new());
        pruner.map_or(Ok(false), |mut pruner| pruner.should_prune())
    }

    /// Rows can be told by counting them only where nothing else is left out between them, and row groups come in order
    /// or one by one.
    fn leave(&self, gone: Option<&Gone>, facts: &FileFacts) -> Result<Leave> {
        let is_scattered = gone.is_some_and(|gone| gone.runs().saturating_mul(STRETCH) > facts.rows);
        let reads_late = self.source()?.table_parquet_options().global.pushdown_filters;
        let in_order = self.in_order || self.best.is_some();
        Ok(if is_scattered && in_order && !reads_late { Leave::ToFilter } else { Leave::Unread })
    }

    fn source(&self) -> Result<&ParquetSource> {
        let source = self.parquet.downcast_ref();
        source.ok_or_else(|| internal_datafusion_err!("a scan of a lake has no Parquet source"))
    }

    /// The Parquet source's own. Order is kept because DataFusion 54 forgets a row selection where a limit alone decides
    /// which row groups are read (apache/datafusion#22941).
    fn morselizer(
        &self,
        parquet: &Arc<dyn FileSource>,
        projection: &ProjectionExprs,
        limit: Option<usize>,
    ) -> Result<Box<dyn Morselizer>> {
        let mut config = self.config.clone();
        config.limit = limit;
        config.preserve_order = true;
        let source = projected(parquet, projection)?;
        source.create_morselizer(Arc::clone(&self.store), &config, self.partition)
    }

    /// From the cache, in which the Parquet source finds it again.
    async fn footer(&self, file: &PartitionedFile, pages: PageIndexPolicy) -> Result<Arc<ParquetMetaData>> {
        let readers = self.source()?.parquet_file_reader_factory();
        let readers = readers.ok_or_else(|| internal_datafusion_err!("a scan of a lake has no readers"))?;
        let mut reader =
            readers.create_reader(self.partition, file.clone(), Some(FOOTER_HINT), self.parquet.metrics())?;
        let options = ArrowReaderOptions::new().with_page_index_policy(pages);
        Ok(reader.get_metadata(Some(&options)).await?)
    }

    /// What the Parquet source is asked for, and what becomes of it.
    fn finish(
        &self,
        gone: Option<Arc<Gone>>,
        keys: Vec<Arc<Keys>>,
        positions: Option<Positions>,
        facts: &FileFacts,
    ) -> Result<(ProjectionExprs, Finish)> {
        let schema = self.ground.schema();
        let asks_lineage = self.asks_lineage();
        let mut exprs: Vec<ProjectionExpr> = match asks_lineage {
            false => self.projection.iter().cloned().collect(),
            true => ProjectionExprs::from_indices(&self.projection.column_indices(), schema).iter().cloned().collect(),
        };
        let given = exprs.len();
        let mut fields: Vec<i32> = keys.iter().flat_map(|keys| keys.ids()).copied().collect();
        fields.sort_unstable();
        fields.dedup();
        for field in &fields {
            let Some((index, bound)) = self.ground.key(*field) else {
                return internal_err!("a scan does not have the columns that its deletes compare");
            };
            exprs.push(ProjectionExpr::new(Arc::new(Column::new(&bound.name, index)), &bound.name));
        }
        let inner = ProjectionExprs::new(exprs);
        let place = |id: &i32| Some(given + fields.binary_search(id).ok()?);
        let keys = keys
            .into_iter()
            .map(|keys| {
                let places: Option<Vec<usize>> = keys.ids().iter().map(place).collect();
                Some((keys, places?))
            })
            .collect::<Option<Vec<_>>>()
            .ok_or_else(|| internal_datafusion_err!("a scan does not have the columns that its deletes compare"))?;
        let mut lineage = Vec::new();
        let mut projector = None;
        if asks_lineage {
            let read = inner.project_schema(schema)?;
            for (id, value) in [
                (lineage::ROW_ID, Inherited::Id(facts.first_row)),
                (lineage::LAST_UPDATED, Inherited::Changed(facts.first_row.map(|_| facts.sequence))),
            ] {
                let column = self.ground.visible_by_id(id).and_then(|bound| read.index_of(&bound.name).ok());
                lineage.extend(column.map(|column| (column, value)));
            }
            let outer = self.projection.clone().try_map_exprs(|expr| reassign_expr_columns(expr, &read))?;
            projector = Some(outer.make_projector(&read)?);
        }
        Ok((inner, Finish { positions, gone, keys, given, sequence: facts.sequence, lineage, projector }))
    }
}

/// `source`, which gives all its columns, with this projection.
pub(in crate::scan) fn projected(
    source: &Arc<dyn FileSource>,
    projection: &ProjectionExprs,
) -> Result<Arc<dyn FileSource>> {
    let projected = source.try_pushdown_projection(projection)?;
    projected.ok_or_else(|| internal_datafusion_err!("a Parquet source takes no projection"))
}

/// What is done to the batches of one file.
struct Finish {
    positions: Option<Positions>,
    /// Deleted rows that are in the batches.
    gone: Option<Arc<Gone>>,
    keys: Vec<(Arc<Keys>, Vec<usize>)>,
    /// How many columns come before the keys.
    given: usize,
    sequence: i64,
    /// Columns of the batch with what their NULLs stand for.
    lineage: Vec<(usize, Inherited)>,
    /// The query's projection, where it was not evaluated yet.
    projector: Option<Projector>,
}

/// What NULL stands for in a column of row lineage. A file from before the table kept track has none, whatever its
/// columns say.
enum Inherited {
    /// The id of the file's first row.
    Id(Option<i64>),
    /// The sequence number of the file.
    Changed(Option<i64>),
}

impl Finish {
    fn filters(&self) -> bool {
        self.gone.is_some() || !self.keys.is_empty()
    }

    fn apply(&mut self, batch: RecordBatch) -> Result<RecordBatch> {
        let positions = match &mut self.positions {
            Some(positions) => positions.next(batch.num_rows())?,
            None => Vec::new(),
        };
        let batch = self.inherit(batch, &positions)?;
        let live = self.live(&batch, &positions)?;
        let columns: Vec<usize> = (0..self.given).collect();
        let mut batch = batch.project(&columns)?;
        if let Some(live) = live {
            batch = compact(&batch, live)?;
        }
        match &self.projector {
            Some(projector) => projector.project_batch(&batch),
            None => Ok(batch),
        }
    }

    fn inherit(&self, batch: RecordBatch, positions: &[Range<u64>]) -> Result<RecordBatch> {
        if self.lineage.is_empty() {
            return Ok(batch);
        }
        let (schema, mut columns, rows) = batch.into_parts();
        for (index, inherited) in &self.lineage {
            let Some(column) = columns.get_mut(*index) else {
                return internal_err!("a batch lacks a column of row lineage");
            };
            *column = match inherited {
                Inherited::Id(Some(first)) => lineage::fill(column, &lineage::ids(positions, *first))?,
                Inherited::Changed(Some(sequence)) => lineage::fill(column, &Int64Array::from_value(*sequence, rows))?,
                Inherited::Id(None) | Inherited::Changed(None) => Arc::new(Int64Array::new_null(rows)),
            };
        }
        Ok(RecordBatch::try_new(schema, columns)?)
    }

    /// The live rows of a batch, or `None` when all are.
    fn live(&self, batch: &RecordBatch, positions: &[Range<u64>]) -> Result<Option<BooleanBuffer>> {
        let mut all = self.gone.as_ref().map(|gone| gone.mask(positions));
        for (keys, places) in &self.keys {
            let column = |place: &usize| match batch.columns().get(*place) {
                Some(column) => Ok(value(column)?),
                None => internal_err!("a batch lacks a key's column"),
            };
            let columns: Vec<ArrayRef> = places.iter().map(column).collect::<Result<_>>()?;
            let live = !&keys.deleted(&columns, self.sequence)?;
            all = Some(match all {
                Some(all) => &all & &live,
                None => live,
            });
        }
        Ok(all.filter(|live| live.count_set_bits() < live.len()))
    }
}

/// Planners one after the other: the next is made when all is read of the one before, by what is known then.
struct Several {
    now: Option<Box<dyn MorselPlanner>>,
    next: Box<dyn Iterator<Item = Result<Box<dyn MorselPlanner>>> + Send>,
}

impl fmt::Debug for Several {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Several").field("now", &self.now).finish_non_exhaustive()
    }
}

impl MorselPlanner for Several {
    /// What is ready is read before anything is planned, so this goes behind it.
    fn plan(mut self: Box<Self>) -> Result<Option<MorselPlan>> {
        let now = match self.now.take() {
            Some(now) => now,
            None => match self.next.next() {
                Some(next) => next?,
                None => return Ok(None),
            },
        };
        let mut plan = now.plan()?.unwrap_or_default();
        let (mut planners, pending) = (plan.take_ready_planners(), plan.take_pending_planner());
        self.now = planners.pop();
        if !planners.is_empty() || (self.now.is_some() && pending.is_some()) {
            return internal_err!("a row group was read in two streams");
        }
        if let Some(pending) = pending {
            return Ok(Some(plan.with_pending_planner(async move {
                self.now = Some(pending.await?);
                Ok(self as Box<dyn MorselPlanner>)
            })));
        }
        Ok(Some(plan.with_planners(vec![self])))
    }
}

/// A planner of the Parquet source, whose batches are finished.
struct Finishing {
    planner: Box<dyn MorselPlanner>,
    finish: Finish,
}

impl fmt::Debug for Finishing {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Finishing").field(&self.planner).finish()
    }
}

impl MorselPlanner for Finishing {
    /// The source gives one stream for a file, and positions are counted along it.
    fn plan(self: Box<Self>) -> Result<Option<MorselPlan>> {
        let Self { planner, finish } = *self;
        let Some(mut plan) = planner.plan()? else { return Ok(None) };
        let mut morsels = plan.take_morsels();
        let mut planners = plan.take_ready_planners();
        match (morsels.pop(), planners.pop(), plan.take_pending_planner()) {
            _ if !morsels.is_empty() || !planners.is_empty() => internal_err!("a file was read in two streams"),
            (None, None, None) => Ok(Some(plan)),
            (Some(morsel), None, None) => Ok(Some(plan.with_morsels(vec![Box::new(Finished { morsel, finish })]))),
            (None, Some(planner), None) => Ok(Some(plan.with_planners(vec![Box::new(Self { planner, finish })]))),
            (None, None, Some(pending)) => Ok(Some(plan.with_pending_planner(async move {
                Ok(Box::new(Self { planner: pending.await?, finish }) as Box<dyn MorselPlanner>)
            }))),
            _ => internal_err!("a file was read in two streams"),
        }
    }
}

struct Finished {
    morsel: Box<dyn Morsel>,
    finish: Finish,
}

impl fmt::Debug for Finished {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Finished").field(&self.morsel).finish()
    }
}

impl Morsel for Finished {
    fn into_stream(self: Box<Self>) -> BoxStream<'static, Result<RecordBatch>> {
        let Self { morsel, mut finish } = *self;
        morsel.into_stream().map(move |batch| finish.apply(batch?)).boxed()
    }
}
