//! The numbers that a query gives of one table as it is, for who holds the tables of a mesh against the rules of their
//! contracts.
//!
//! ```text
//! text --gate--> query --over a catalog of this one table--> plan --on the query threads--> one row of numbers
//! ```
//!
//! Nobody's grants are asked here, so nothing but room `inspect` comes here. The query is a domain's own text: it passes the
//! gate like anybody's, and there is nothing that it could name but the product it is about. What comes out are numbers, and
//! whether they count rows or could be values of them.

use std::sync::Arc;

use datafusion::arrow::array::{ArrayRef, AsArray};
use datafusion::arrow::compute::cast;
use datafusion::arrow::datatypes::{DataType, Float64Type};
use datafusion::catalog::TableProvider;
use datafusion::common::{DataFusionError, TableReference};
use datafusion::execution::TaskContext;
use datafusion::execution::runtime_env::RuntimeEnv;
use datafusion::execution::session_state::SessionState;
use datafusion::logical_expr::{Expr, LogicalPlan};
use datafusion::physical_plan::{ExecutionPlan, execute_stream};
use datafusion::sql::parser::Statement;
use datafusion::sql::sqlparser::ast;
use futures::StreamExt;
use polder_catalog::name::{ProductName, ProductRef};
use sha2::{Digest, Sha256};

use super::finish::starting;
use super::gate::{Admitted, Gated, admit};
use super::growth::bounded;
use super::tables::{among, catalog_of};
use super::travel::Named;
use super::{Engine, failure};
use crate::error::{Class, Error};
use crate::resolve::{At, Of, Table, table_part};
use crate::scan::cause;
use crate::served::anonymous;

/// One row of numbers.
#[derive(Debug, Clone, PartialEq)]
pub struct Numbers {
    /// The numbers, NULL among them.
    pub row: Vec<Option<f64>>,
    /// Whether all of them follow from counts alone, and none is a value.
    pub counts: bool,
}

/// A query that was planned.
struct Ready {
    plan: Arc<dyn ExecutionPlan>,
    context: Arc<TaskContext>,
    counts: bool,
}

impl Engine {
    /// The one row that `sql` gives of a table, which it knows under the name of its product. Dropping the future ends it.
    ///
    /// # Errors
    /// `BadRequest` for what is no such query, `Drift` or `Storage` when the table cannot be read. It quotes no value.
    pub async fn measure(
        &self,
        product: &ProductName,
        table: Arc<dyn TableProvider>,
        sql: &str,
    ) -> Result<Numbers, Error> {
        let (state, mesh, environment) = (self.base.clone(), self.mesh(), self.environment(None)?);
        let (product, sql) = (product.clone(), sql.to_owned());
        let Ready { plan, context, counts } =
            self.apart(async move { ready(state, environment, mesh.name(), &product, table, &sql).await }).await?;
        let (tell, told) = tokio::sync::oneshot::channel();
        let _running = self.execute(async move {
            // Nobody waits any more where it cannot be told.
            let _ = tell.send(row(plan, context).await);
        })?;
        let row = told.await.map_err(|_| Error::new(Class::Bug, "the engine failed on this query"))??;
        Ok(Numbers { row, counts })
    }

    /// A derived product as it is for who looks after the data, and of what it is made. One state of each table is read,
    /// however often it is asked for.
    ///
    /// # Errors
    /// What is wrong with it, in full.
    pub async fn whole(&self, name: &ProductRef) -> Result<(Arc<dyn TableProvider>, Of), Error> {
        let (resolver, name) = (self.resolver(&anonymous()).for_checks(), name.clone());
        let reference = TableReference::partial(name.product.domain().as_str(), table_part(&name));
        let table = self.apart(async move { resolver.table(&reference, &At::newest(None)).await }).await?;
        let of = made_of(&name, &table);
        Ok((table.provider, of))
    }
}

/// What a derived product is made of now.
fn made_of(name: &ProductRef, table: &Table) -> Of {
    let beneath = table.beneath.iter().flat_map(|beneath| beneath.tables.iter().map(|(_, _, table)| table));
    let queries = || table.beneath.iter().chain(beneath.clone().filter_map(|table| table.beneath.as_ref()));
    let here = |table: &Table| {
        table.wanted.as_ref().is_some_and(|wanted| wanted.product().product.domain() == name.product.domain())
    };
    let own = beneath.clone().all(here);
    let fleeting = queries().any(|query| query.fleeting);
    let read = beneath.clone().map(|table| format!("{} {:?}", table.pin_name(), table.snapshot));
    let mut state: Vec<String> = read.chain(queries().map(|query| query.said.clone())).collect();
    state.sort();
    state.dedup();
    let digest = || Sha256::digest(state.join("\n")).iter().map(|byte| format!("{byte:02x}")).collect();
    Of::Query { state: (!fleeting).then(digest), own }
}

async fn ready(
    mut base: SessionState,
    environment: Arc<RuntimeEnv>,
    mesh: &str,
    product: &ProductName,
    provider: Arc<dyn TableProvider>,
    sql: &str,
) -> Result<Ready, Error> {
    let refused = |what: &str| Error::new(Class::BadRequest, what);
    let Gated { statement, parameters } = admit(sql)?;
    let Admitted::Query(query) = statement else { return Err(refused("it is no query")) };
    if !parameters.is_empty() {
        return Err(refused("it has parameters"));
    }
    // DataFusion's planner would ignore them.
    if !Named::find(&query)?.versioned.is_empty() {
        return Err(refused("it names a version"));
    }
    base.mark_start_execution();
    let table = TableReference::partial(product.domain().as_str(), product.name());
    let config = base.config().clone().with_default_catalog_and_schema(mesh, product.domain().as_str());
    let state = among(base, config, catalog_of(mesh, [(table, provider)])?);
    let statement = Statement::Statement(Box::new(ast::Statement::Query(query)));
    let logical = state.statement_to_plan(statement).await.map_err(|error| failure::planning(&error, &[]))?;
    let is_number = |kind: &DataType| kind.is_numeric() || kind.is_null() || *kind == DataType::Boolean;
    if !logical.schema().fields().iter().all(|field| is_number(field.data_type())) {
        return Err(refused("it gives no number"));
    }
    let counts = (0..logical.schema().fields().len()).all(|place| counts(&logical, place));
    let optimized = bounded(logical).and_then(|logical| state.optimize(&logical)).and_then(bounded);
    let logical = optimized.map_err(|error| told(&error))?;
    let plan = state.query_planner().create_physical_plan(&logical, &state).await.map_err(|error| told(&error))?;
    Ok(Ready {
        plan: starting(plan).map_err(|error| told(&error))?,
        context: Arc::new(TaskContext::from(&state).with_runtime(environment)),
        counts,
    })
}

async fn row(plan: Arc<dyn ExecutionPlan>, context: Arc<TaskContext>) -> Result<Vec<Option<f64>>, Error> {
    let mut batches = execute_stream(plan, context).map_err(|error| told(&error))?;
    let mut row = None;
    while let Some(batch) = batches.next().await {
        let batch = batch.map_err(|error| told(&error))?;
        if batch.num_rows() == 0 {
            continue;
        }
        if batch.num_rows() > 1 || row.is_some() {
            return Err(Error::new(Class::BadRequest, "it gives more than one row"));
        }
        let number = |column: &ArrayRef| {
            let column = cast(column, &DataType::Float64).map_err(|error| told(&error.into()))?;
            Ok(column.as_primitive::<Float64Type>().iter().next().flatten())
        };
        row = Some(batch.columns().iter().map(number).collect::<Result<Vec<_>, Error>>()?);
    }
    row.ok_or_else(|| Error::new(Class::BadRequest, "it gives no row"))
}

/// Whether an output of a plan follows from counts of rows alone.
fn counts(plan: &LogicalPlan, place: usize) -> bool {
    match plan {
        LogicalPlan::Projection(inner) => inner.expr.get(place).is_some_and(|expr| is_count(expr, &inner.input)),
        LogicalPlan::SubqueryAlias(inner) => counts(&inner.input, place),
        LogicalPlan::Filter(inner) => counts(&inner.input, place),
        LogicalPlan::Sort(inner) => counts(&inner.input, place),
        LogicalPlan::Limit(inner) => counts(&inner.input, place),
        LogicalPlan::Aggregate(inner) => {
            let groups = inner.schema.fields().len().saturating_sub(inner.aggr_expr.len());
            let aggregate = place.checked_sub(groups).and_then(|place| inner.aggr_expr.get(place));
            aggregate.is_some_and(|expr| is_count(expr, &inner.input))
        }
        _ => false,
    }
}

fn is_count(expr: &Expr, input: &LogicalPlan) -> bool {
    match expr {
        Expr::Alias(alias) => is_count(&alias.expr, input),
        Expr::Cast(cast) => is_count(&cast.expr, input),
        Expr::BinaryExpr(both) => is_count(&both.left, input) && is_count(&both.right, input),
        Expr::Literal(..) => true,
        Expr::AggregateFunction(function) => function.func.name() == "count",
        Expr::Column(column) => input.schema().maybe_index_of_column(column).is_some_and(|place| counts(input, place)),
        _ => false,
    }
}

/// What DataFusion says itself could quote a value.
fn told(error: &DataFusionError) -> Error {
    let of_memory = matches!(error.find_root(), DataFusionError::ResourcesExhausted(_));
    cause(error).cloned().unwrap_or_else(|| match of_memory {
        true => Error::new(Class::Limit, "it needs more memory than there is"),
        false => Error::new(Class::BadRequest, "it failed on the rows"),
    })
}
