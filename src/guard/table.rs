//! A governed table: a pinned scan cut down to the columns of one principal, masked columns behind their masks.

use std::borrow::Cow;
use std::sync::Arc;

use async_trait::async_trait;
use datafusion::arrow::datatypes::SchemaRef;
use datafusion::catalog::{ScanArgs, ScanResult, Session, TableProvider};
use datafusion::common::{Constraints, Result, Statistics, TableReference, internal_err};
use datafusion::datasource::{ViewTable, provider_as_source};
use datafusion::logical_expr::dml::InsertOp;
use datafusion::logical_expr::{Expr, LogicalPlan, LogicalPlanBuilder, TableProviderFilterPushDown, TableType, ident};
use datafusion::physical_plan::ExecutionPlan;
use polder_catalog::policy::Mask;

use super::mask::masked;

/// A column of the pinned scan, and what may be seen of it.
#[derive(Debug, Clone)]
pub struct GovernedColumn {
    /// Its name, in the scan and to the query alike.
    pub name: String,
    /// How it is shown.
    pub treatment: Treatment,
}

/// How a granted column is shown. A column that is not granted has no entry at all.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Treatment {
    /// As it is.
    Raw,
    /// Through this mask.
    Masked(Mask),
}

/// Makes the table that a query may name out of a scan of exactly `columns`, in their order.
///
/// Without masks that is the cleared scan itself, so that nothing stands between the query and the native scan. With
/// masks it is a view over the cleared scan: DataFusion plans a view in place, and where it cannot, it plans the whole
/// view, masks included.
///
/// # Errors
/// When the scan's columns are not `columns`, or a mask is not defined for its column's type.
pub fn govern(
    name: TableReference,
    scan: Arc<dyn TableProvider>,
    columns: Vec<GovernedColumn>,
) -> Result<Arc<dyn TableProvider>> {
    let raw = scan.schema();
    if !raw.fields().iter().map(|field| field.name()).eq(columns.iter().map(|column| &column.name)) {
        return internal_err!("the scan of `{name}` does not have the columns that are granted");
    }
    let shown = raw.fields().iter().zip(&columns).map(|(field, column)| match &column.treatment {
        Treatment::Raw => Ok(ident(&column.name)),
        Treatment::Masked(mask) => Ok(masked(mask, ident(&column.name), field.data_type())?.alias(&column.name)),
    });
    let shown: Vec<Expr> = shown.collect::<Result<_>>()?;
    let masks = columns.iter().any(|column| column.treatment != Treatment::Raw);
    let cleared: Arc<dyn TableProvider> = Arc::new(ClearedScan { scan, columns });
    if !masks {
        return Ok(cleared);
    }
    let plan = LogicalPlanBuilder::scan(name, provider_as_source(cleared), None)?.project(shown)?.build()?;
    Ok(Arc::new(ViewTable::new(plan, None)))
}

/// The scan below a governed table, with its grants. The only scan of data that [`super::verify`] accepts.
#[derive(Debug)]
pub struct ClearedScan {
    scan: Arc<dyn TableProvider>,
    columns: Vec<GovernedColumn>,
}

impl ClearedScan {
    /// The grants that this scan was cleared for.
    pub fn columns(&self) -> &[GovernedColumn] {
        &self.columns
    }
}

#[async_trait]
#[deny(clippy::missing_trait_methods)]
impl TableProvider for ClearedScan {
    fn schema(&self) -> SchemaRef {
        self.scan.schema()
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
        self.scan.scan(state, projection, filters, limit).await
    }

    async fn scan_with_args<'a>(&self, state: &dyn Session, args: ScanArgs<'a>) -> Result<ScanResult> {
        self.scan.scan_with_args(state, args).await
    }

    fn supports_filters_pushdown(&self, filters: &[&Expr]) -> Result<Vec<TableProviderFilterPushDown>> {
        self.scan.supports_filters_pushdown(filters)
    }

    fn statistics(&self) -> Option<Statistics> {
        // Exact bounds of a masked column would let the planner answer from its raw values.
        if self.columns.iter().all(|column| column.treatment == Treatment::Raw) { self.scan.statistics() } else { None }
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
