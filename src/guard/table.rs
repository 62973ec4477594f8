//! A governed table: a pinned scan as one principal may see it.
//!
//! ```text
//! nothing guarded in the columns that are used    the scan's own plan, as if nobody governed it
//! a mask, or a row rule on the table              GuardExec over the scan
//! ```

use std::borrow::Cow;
use std::fmt;
use std::sync::Arc;

use async_trait::async_trait;
use datafusion::arrow::datatypes::{Field, FieldRef, Schema, SchemaRef};
use datafusion::catalog::{ScanArgs, ScanResult, Session, TableProvider};
use datafusion::common::{
    ColumnStatistics, Constraints, DFSchema, DataFusionError, Result, Statistics, TableReference, internal_err,
};
use datafusion::datasource::MemTable;
use datafusion::execution::context::ExecutionProps;
use datafusion::logical_expr::dml::InsertOp;
use datafusion::logical_expr::{Expr, LogicalPlan, TableProviderFilterPushDown, TableType};
use datafusion::physical_expr::expressions::Column;
use datafusion::physical_expr::{PhysicalExpr, create_physical_expr};
use datafusion::physical_plan::ExecutionPlan;

use super::exec::GuardExec;
use super::filter::RowFilter;
use super::leakproof::is_leakproof;
use super::mask::{self, Keys};
use super::query::Seal;
use super::steady::Spares;

/// Whether a physical node reads what a certain scan reads.
type Reads = dyn Fn(&dyn ExecutionPlan) -> bool + Send + Sync;

/// Statistics of a scan that know the columns of these places.
type Figures = dyn Fn(&[usize]) -> Option<Statistics> + Send + Sync;

/// A column of the pinned scan, and what may be seen of it.
#[derive(Debug, Clone)]
pub struct GovernedColumn {
    /// Its name, in the scan and to the query alike.
    pub name: String,
    /// How it is shown.
    pub treatment: Treatment,
}

/// How a granted column is shown. A column that is not granted has no entry at all.
pub type Treatment = mask::Shown;

/// What may be seen of a scan.
#[derive(Debug, Clone)]
pub struct Shown {
    /// The scan's first columns, in their order. What follows them in the scan is read for the row filter alone.
    pub columns: Vec<GovernedColumn>,
    /// Which rows; all of them without.
    pub rows: Option<RowFilter>,
    /// Whether anything of the table is kept from the principal, be it in these columns or not. Then no plan that is
    /// shown may have figures of it.
    pub restricted: bool,
}

/// A scan, and how its own nodes are told from all others in a physical plan.
pub struct Source {
    provider: Arc<dyn TableProvider>,
    reads: Box<Reads>,
    /// What inside of it may keep rows from expressions, where it is a query.
    spares: Spares,
    /// What it says of its rows and of some of its columns, where that is cheaper than of all.
    figures: Option<Box<Figures>>,
}

impl fmt::Debug for Source {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Source").field(&self.provider).finish()
    }
}

impl Source {
    /// A scan of files; `reads` knows the nodes that read them for it, and no others.
    pub fn new(
        provider: Arc<dyn TableProvider>,
        reads: impl Fn(&dyn ExecutionPlan) -> bool + Send + Sync + 'static,
    ) -> Self {
        Self { provider, reads: Box::new(reads), spares: Spares::default(), figures: None }
    }

    /// The same, which tells figures of some columns for less than those of all.
    pub fn telling(self, figures: impl Fn(&[usize]) -> Option<Statistics> + Send + Sync + 'static) -> Self {
        Self { figures: Some(Box::new(figures)), ..self }
    }

    /// A query, whose plans bear `seal`; `spares` says what its optimized plan has of it.
    pub fn query(provider: Arc<dyn TableProvider>, seal: Seal, spares: Spares) -> Self {
        Self { spares, ..Self::new(provider, move |plan| seal.is_on(plan)) }
    }

    /// Whether reading it may fail on a value.
    pub fn may_fail(&self) -> bool {
        self.spares.may_fail()
    }

    /// Rows that were made for one statement, with nothing to guard in them: no node reads them for a guard.
    pub fn memory(table: MemTable) -> Self {
        Self::new(Arc::new(table), |_| false)
    }
}

/// Makes the table that a query may name out of a scan.
///
/// # Errors
/// When the scan's columns do not begin with those that are shown, or a mask is not defined for its column's type.
pub fn govern(name: TableReference, source: Source, shown: Shown, keys: &Keys) -> Result<Arc<dyn TableProvider>> {
    Ok(Arc::new(GovernedScan { clearance: Arc::new(Clearance::new(name, source, shown, keys)?) }))
}

/// Makes a table that everybody may see as it is out of rows that were made for one statement.
///
/// # Errors
/// None that a user can cause.
pub fn govern_rows(name: TableReference, table: MemTable) -> Result<Arc<dyn TableProvider>> {
    let raw = |field: &FieldRef| GovernedColumn { name: field.name().clone(), treatment: Treatment::Raw };
    let columns = table.schema().fields().iter().map(raw).collect();
    govern(name, Source::memory(table), Shown { columns, rows: None, restricted: false }, &Keys::new([]))
}

/// What a table tells of its rows, and of the columns at these places: what anybody could count who may ask for it. Nothing
/// where rows are hidden, since what follows from how many there are would tell of them; of a column that is not shown as
/// it is, nothing either.
pub fn figures(table: &dyn TableProvider, columns: &[usize]) -> Option<Statistics> {
    let Some(governed) = table.downcast_ref::<GovernedScan>() else { return table.statistics() };
    let clearance = &governed.clearance;
    if clearance.rows.is_some() {
        return None;
    }
    let shown = |place: &usize| clearance.columns.get(*place).is_some_and(|column| column.treatment == Treatment::Raw);
    let plain: Vec<usize> = columns.iter().copied().filter(shown).collect();
    let mut statistics = match &clearance.source.figures {
        Some(figures) => figures(&plain)?,
        None => clearance.source.provider.statistics()?,
    };
    for (place, column) in statistics.column_statistics.iter_mut().enumerate() {
        if !plain.contains(&place) {
            *column = ColumnStatistics::new_unknown();
        }
    }
    Some(statistics)
}

/// In a session whose plans are shown: no node of a restricted table tells figures of it.
#[derive(Debug, Clone, Copy)]
pub struct WithoutFigures;

/// What was decided for one principal and one scan. Guards carry it, and the verifier holds each guard against it.
#[derive(Debug)]
pub(super) struct Clearance {
    pub(super) name: TableReference,
    source: Source,
    pub(super) columns: Vec<GovernedColumn>,
    /// What makes each of them out of the scan's.
    shown: Vec<Arc<dyn PhysicalExpr>>,
    pub(super) rows: Option<RowFilter>,
    /// True for the rows that are shown.
    pub(super) exact: Option<Arc<dyn PhysicalExpr>>,
    pub(super) hints: Vec<Arc<dyn PhysicalExpr>>,
    /// The scan's columns.
    raw: SchemaRef,
    /// The columns that are shown.
    schema: SchemaRef,
    restricted: bool,
}

impl Clearance {
    fn new(name: TableReference, source: Source, shown: Shown, keys: &Keys) -> Result<Self> {
        let Shown { columns, rows, restricted } = shown;
        let raw = source.provider.schema();
        let first = raw.fields().iter().map(|field| field.name()).take(columns.len());
        if !first.eq(columns.iter().map(|column| &column.name)) {
            return internal_err!("the scan of `{name}` does not have the columns that are granted");
        }
        let of_raw = DFSchema::try_from(Arc::clone(&raw))?;
        let physical = |expr: &Expr| create_physical_expr(expr, &of_raw, &ExecutionProps::new());
        let shown: Vec<_> =
            columns.iter().zip(raw.fields()).map(|(c, field)| shows(c, field, &raw, keys)).collect::<Result<_>>()?;
        let fields = columns.iter().zip(&shown).zip(raw.fields()).map(|((column, shown), field)| {
            Ok(match column.treatment {
                Treatment::Raw => Arc::clone(field),
                Treatment::Masked(_) | Treatment::Fields(_) => {
                    Arc::new(Field::new(&column.name, shown.data_type(&raw)?, true))
                }
            })
        });
        let schema = Arc::new(Schema::new(fields.collect::<Result<Vec<FieldRef>>>()?));
        let exact = rows.as_ref().map(|rows| physical(&rows.exact)).transpose()?;
        let hints = rows.iter().flat_map(|rows| &rows.hints).map(physical).collect::<Result<_>>()?;
        Ok(Self { name, source, columns, shown, rows, exact, hints, raw, schema, restricted })
    }

    /// Whether a physical node reads this scan.
    pub(super) fn is_read_by(&self, plan: &dyn ExecutionPlan) -> bool {
        (self.source.reads)(plan)
    }

    /// What of the source may keep rows from expressions.
    pub(super) fn spares(&self) -> Spares {
        self.source.spares
    }

    pub(super) fn column(&self, name: &str) -> Option<&GovernedColumn> {
        self.columns.iter().find(|column| column.name == name)
    }

    /// Whether a column is shown as it is.
    pub(super) fn is_plain(&self, name: &str) -> bool {
        self.column(name).is_some_and(|column| column.treatment == Treatment::Raw)
    }

    /// What makes a shown column out of the scan's.
    pub(super) fn shows(&self, name: &str) -> Option<&Arc<dyn PhysicalExpr>> {
        let index = self.columns.iter().position(|column| column.name == name)?;
        self.shown.get(index)
    }

    /// The scan's columns.
    pub(super) fn raw(&self) -> &SchemaRef {
        &self.raw
    }

    /// The columns that are shown.
    pub(super) fn schema(&self) -> &SchemaRef {
        &self.schema
    }

    /// Whether a predicate of the query may run on rows that are not shown.
    pub(super) fn is_leakproof(&self, predicate: &Expr) -> bool {
        is_leakproof(predicate, &self.schema, &|name| self.is_plain(name))
    }
}

/// The expression that shows a column: the one place that calls the masks.
fn shows(column: &GovernedColumn, field: &Field, raw: &Schema, keys: &Keys) -> Result<Arc<dyn PhysicalExpr>> {
    let input = Arc::new(Column::new_with_schema(&column.name, raw)?);
    let shown = mask::apply(&column.treatment, input, field.data_type(), keys);
    shown.map_err(|unfit| DataFusionError::Plan(unfit.to_string()))
}

/// A pinned scan as one principal may see it. The only table of data that [`super::verify`] accepts.
#[derive(Debug)]
pub(super) struct GovernedScan {
    clearance: Arc<Clearance>,
}

impl GovernedScan {
    pub(super) fn clearance(&self) -> &Arc<Clearance> {
        &self.clearance
    }

    /// Whether a query that uses these columns needs a guard.
    fn guards(&self, state: &dyn Session, used: &[usize]) -> bool {
        let clearance = &self.clearance;
        let mut columns = used.iter().filter_map(|index| clearance.columns.get(*index));
        let shown_plan = || clearance.restricted && state.config().get_extension::<WithoutFigures>().is_some();
        clearance.rows.is_some() || columns.any(|column| column.treatment != Treatment::Raw) || shown_plan()
    }

    fn guards_anything(&self) -> bool {
        let clearance = &self.clearance;
        clearance.rows.is_some() || clearance.columns.iter().any(|column| column.treatment != Treatment::Raw)
    }
}

#[async_trait]
#[deny(clippy::missing_trait_methods)]
impl TableProvider for GovernedScan {
    fn schema(&self) -> SchemaRef {
        Arc::clone(&self.clearance.schema)
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

    fn get_logical_plan(&'_ self) -> Option<Cow<'_, LogicalPlan>> {
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
    ) -> Result<Arc<dyn ExecutionPlan>> {
        let Clearance { columns, source, raw, .. } = self.clearance.as_ref();
        let all: Vec<usize> = (0..columns.len()).collect();
        let shown = projection.unwrap_or(&all);
        let filtered =
            filters.iter().flat_map(Expr::column_refs).filter_map(|c| self.clearance.schema.index_of(&c.name).ok());
        let used: Vec<usize> = shown.iter().copied().chain(filtered).collect();
        if self.guards(state, &used) {
            return GuardExec::plan(&self.clearance, &source.provider, state, shown, filters, limit).await;
        }
        let projection = if projection.is_none() && raw.fields().len() == columns.len() { None } else { Some(shown) };
        source.provider.scan(state, projection, filters, limit).await
    }

    async fn scan_with_args<'a>(&self, state: &dyn Session, args: ScanArgs<'a>) -> Result<ScanResult> {
        let projection = args.projection().map(<[usize]>::to_vec);
        let plan = self.scan(state, projection.as_ref(), args.filters().unwrap_or(&[]), args.limit()).await?;
        Ok(plan.into())
    }

    fn supports_filters_pushdown(&self, filters: &[&Expr]) -> Result<Vec<TableProviderFilterPushDown>> {
        let clearance = &self.clearance;
        if clearance.rows.is_some() {
            // The guard applies them itself, below its masks.
            let answer = |filter: &&Expr| match clearance.is_leakproof(filter) {
                true => TableProviderFilterPushDown::Exact,
                false => TableProviderFilterPushDown::Unsupported,
            };
            return Ok(filters.iter().map(answer).collect());
        }
        let mut answers = clearance.source.provider.supports_filters_pushdown(filters)?;
        for (answer, filter) in answers.iter_mut().zip(filters) {
            if !filter.column_refs().iter().all(|column| clearance.is_plain(&column.name)) {
                *answer = TableProviderFilterPushDown::Unsupported;
            }
        }
        Ok(answers)
    }

    fn statistics(&self) -> Option<Statistics> {
        if self.guards_anything() { None } else { self.clearance.source.provider.statistics() }
    }

    async fn insert_into(
        &self,
        _state: &dyn Session,
        _input: Arc<dyn ExecutionPlan>,
        _op: InsertOp,
    ) -> Result<Arc<dyn ExecutionPlan>> {
        internal_err!("products are read only")
    }

    async fn delete_from(&self, _state: &dyn Session, _filters: Vec<Expr>) -> Result<Arc<dyn ExecutionPlan>> {
        internal_err!("products are read only")
    }

    async fn update(
        &self,
        _state: &dyn Session,
        _assignments: Vec<(String, Expr)>,
        _filters: Vec<Expr>,
    ) -> Result<Arc<dyn ExecutionPlan>> {
        internal_err!("products are read only")
    }

    async fn truncate(&self, _state: &dyn Session) -> Result<Arc<dyn ExecutionPlan>> {
        internal_err!("products are read only")
    }
}
