//! The queries of derived products: admitted, planned and run like any other, and sealed into the plan around them.
//!
//! ```text
//! text --gate--> query --resolve, as who asks--> plan --fit, in `resolve`--> plan of the contract's columns
//! scan: columns and leakproof predicates of the statement around it --optimizer--> --guard::verify--> QueryExec
//! ```
//!
//! What is inside is optimized by itself, with the same caution as a statement.

use std::borrow::Cow;
use std::sync::Arc;

use async_trait::async_trait;
use datafusion::arrow::datatypes::SchemaRef;
use datafusion::catalog::{ScanArgs, ScanResult, Session, TableProvider};
use datafusion::common::tree_node::{TreeNode, TreeNodeRecursion};
use datafusion::common::{
    Constraints, DFSchema, DataFusionError, Result as DfResult, Statistics, TableReference, internal_err,
};
use datafusion::execution::FunctionRegistry;
use datafusion::execution::context::ExecutionProps;
use datafusion::execution::session_state::SessionState;
use datafusion::logical_expr::dml::InsertOp;
use datafusion::logical_expr::{
    Expr, LogicalPlan, LogicalPlanBuilder, ScalarUDF, TableProviderFilterPushDown, TableType, Volatility,
};
use datafusion::optimizer::AnalyzerRule;
use datafusion::optimizer::analyzer::type_coercion::TypeCoercion;
use datafusion::physical_expr::create_physical_expr;
use datafusion::physical_plan::coalesce_partitions::CoalescePartitionsExec;
use datafusion::physical_plan::{ExecutionPlan, ExecutionPlanProperties};
use futures::future::BoxFuture;

use super::Request;
use super::finish::{finish, starting};
use super::foreign::{self, Manner, Read};
use super::gate::{Gated, admit};
use super::growth::bounded;
use super::outer::undenied;
use super::planning::{failed, followed, unfollowed};
use super::tables::{Prepared, prepare};
use crate::error::Error;
use crate::guard::flow::{Flow, Source as FlowSource, carried};
use crate::guard::steady::Spares;
use crate::guard::{QueryExec, Seal, Source, is_leakproof};
use crate::resolve::{Beneath, Inner, Over, Plans, Resolver, Said, Scanned, Unplanned, weight};

/// Plans the queries of derived products.
#[derive(Debug)]
pub(super) struct Derivations {
    base: SessionState,
}

impl Derivations {
    pub(super) fn new(base: SessionState) -> Self {
        Self { base }
    }

    async fn query(&self, resolver: &Resolver, said: Said<'_>, over: Over) -> Result<Inner, Unplanned> {
        let text = match &said {
            Said::Here(_, sql) => (*sql).to_owned(),
            Said::View(view, _) => view.texts.iter().map(|text| text.sql.as_str()).collect::<Vec<_>>().join("\n"),
        };
        let is_contracts = matches!(said, Said::Here(..));
        let (Read { query, manner, bare }, schema) = match said {
            Said::Here(schema, sql) => {
                let query = admit(sql).and_then(Gated::lasting).map_err(Unplanned::Plan)?;
                (Read { query, manner: Manner::Own, bare: false }, schema)
            }
            Said::View(view, names) => (foreign::read(&view, &names)?, foreign::NOWHERE),
        };
        let request = Request { schema: Some(schema.to_owned()), pins: resolver.pins().clone(), ..Request::new("") };
        let mut base = self.base.clone();
        if is_contracts {
            let hash = Arc::new(ScalarUDF::new_from_impl(resolver.keyed_hash()));
            base.register_udf(hash).map_err(|error| Unplanned::Plan(failed(&error, &[])))?;
        }
        let prepared = prepare(resolver, query, &request, base, over).await;
        let Prepared { state, statement, tables, denials, .. } = prepared.map_err(Unplanned::Table)?;
        let planned = state.statement_to_plan(statement).await;
        let plan = planned.map_err(|error| Unplanned::Plan(failed(&error, &tables)))?;
        undenied(&plan, denials, &tables).map_err(Unplanned::Plan)?;
        foreign::check(&plan, manner, bare).map_err(Unplanned::Plan)?;
        // Its types are those that its rows will have: branches and unions of several types agree on one here.
        let coerced = TypeCoercion::new().analyze(plan, state.config_options());
        let plan = coerced.map_err(|error| Unplanned::Plan(failed(&error, &tables)))?;
        let flow = followed(&plan, &tables).map_err(Unplanned::Plan)?;
        let weight = weight(&plan, &tables).map_err(|error| Unplanned::Plan(failed(&error, &tables)))?;
        let carried =
            carried(&plan, resolver.least_count()).map_err(|unknown| Unplanned::Plan(unfollowed(&unknown)))?;
        let fleeting = is_fleeting(&plan).map_err(|error| Unplanned::Plan(failed(&error, &tables)))?;
        let beneath = Beneath { said: text, fleeting, ..beneath(&request, tables, flow, carried, weight) };
        Ok(Inner { plan, beneath })
    }
}

impl Plans for Derivations {
    fn plan<'a>(
        &'a self,
        resolver: &'a Resolver,
        said: Said<'a>,
        over: Over,
    ) -> BoxFuture<'a, Result<Inner, Unplanned>> {
        Box::pin(self.query(resolver, said, over))
    }

    fn source(&self, product: &str, plan: LogicalPlan, beneath: Arc<Beneath>) -> Result<Source, Error> {
        let failed = |error: DataFusionError| failed(&error, &beneath.tables);
        let spares = bounded(plan.clone())
            .and_then(|plan| self.base.optimize(&plan))
            .and_then(|plan| Spares::of(&plan))
            .map_err(failed)?;
        let schema = Arc::clone(plan.schema().inner());
        let seal = Seal::default();
        // Whether it fails must not follow from what is asked of rows that are kept from who asks.
        let open = !(beneath.by_owner && spares.may_fail());
        let derived = Derived { product: product.to_owned(), plan, schema, beneath, seal: seal.clone(), open };
        Ok(Source::query(Arc::new(derived), seal, spares))
    }
}

/// Whether a plan's rows depend on more than those that it reads.
fn is_fleeting(plan: &LogicalPlan) -> DfResult<bool> {
    let mut fleeting = false;
    plan.apply_with_subqueries(|node| {
        node.apply_expressions(|expr| {
            let calls = |expr: &Expr| match expr {
                Expr::ScalarFunction(call) => call.func.signature().volatility != Volatility::Immutable,
                _ => false,
            };
            fleeting |= expr.exists(|expr| Ok(calls(expr)))?;
            Ok(TreeNodeRecursion::Continue)
        })
    })?;
    Ok(fleeting)
}

/// What a query reads, under names that mean the same wherever it stands.
fn beneath(
    request: &Request,
    tables: Vec<Scanned>,
    flow: Flow,
    carried: Vec<(String, Vec<FlowSource>)>,
    weight: usize,
) -> Beneath {
    let named = |name: &TableReference| request.whole(name.clone());
    let renamed = |sources: Vec<FlowSource>| {
        let sources = sources.into_iter().map(|source| FlowSource { table: named(&source.table), ..source });
        sources.collect::<Vec<_>>()
    };
    let each = |outputs: Vec<(String, Vec<FlowSource>)>| {
        outputs.into_iter().map(|(name, sources)| (name, renamed(sources))).collect::<Vec<_>>()
    };
    // What it compares is its writer's to know.
    let flow = Flow { outputs: each(flow.outputs), rows: renamed(flow.rows), equated: Vec::new() };
    let carried = each(carried);
    let inside: Vec<_> = tables.iter().filter_map(|(_, _, table)| table.beneath.clone()).collect();
    let inside = inside.iter().flat_map(|beneath| beneath.tables.iter().cloned());
    let tables = tables.into_iter().map(|(scan, name, table)| (named(&scan), named(&name), table));
    let tables = tables.chain(inside).collect();
    Beneath { tables, flow, carried, weight, said: String::new(), fleeting: false, by_owner: false }
}

/// The rows that the query of a derived product makes, with the columns that one principal needs of them.
#[derive(Debug)]
struct Derived {
    product: String,
    plan: LogicalPlan,
    schema: SchemaRef,
    beneath: Arc<Beneath>,
    seal: Seal,
    /// Whether predicates of the statement around it go into it.
    open: bool,
}

impl Derived {
    /// The plan with what the statement around it asks of it.
    fn asked(&self, projection: Option<&Vec<usize>>, filters: &[Expr]) -> DfResult<LogicalPlan> {
        let mut asked = LogicalPlanBuilder::from(self.plan.clone());
        for filter in filters {
            asked = asked.filter(filter.clone())?;
        }
        match projection {
            Some(places) => {
                let schema = Arc::clone(asked.schema());
                let columns = places.iter().map(|place| Expr::from(schema.qualified_field(*place)));
                asked.project(columns.collect::<Vec<_>>())?.build()
            }
            None => asked.build(),
        }
    }
}

#[async_trait]
#[deny(clippy::missing_trait_methods)]
impl TableProvider for Derived {
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
        _limit: Option<usize>,
    ) -> DfResult<Arc<dyn ExecutionPlan>> {
        let Some(state) = state.as_any().downcast_ref::<SessionState>() else {
            return internal_err!("a derived product is planned by a session of its own kind");
        };
        let filters = if self.open { filters } else { &[] };
        let asked = self.asked(projection, filters)?;
        let tables = &self.beneath.tables;
        let providers = tables.iter().map(|(_, _, table)| &table.provider);
        // Boxed, since what is inside may be derived as well.
        let finished = Box::pin(finish(state, &asked, providers, tables)).await;
        let finished = finished.map_err(|error| DataFusionError::External(Box::new(error)))?;
        let plan = finished.physical;
        let of_all = DFSchema::try_from(Arc::clone(&self.schema))?;
        let below = filters.iter().map(|filter| create_physical_expr(filter, &of_all, &ExecutionProps::new()));
        let below = below.collect::<DfResult<_>>()?;
        let schema = match projection {
            Some(places) => Arc::new(self.schema.project(places)?),
            None => Arc::clone(&self.schema),
        };
        // More partitions than the session has would tell how many files there are beneath.
        let wide = plan.output_partitioning().partition_count() > state.config().target_partitions();
        let plan = match self.beneath.by_owner && wide {
            true => Arc::new(CoalescePartitionsExec::new(plan)) as Arc<dyn ExecutionPlan>,
            false => plan,
        };
        let (plan, seal) = (starting(plan)?, self.seal.clone());
        Ok(Arc::new(QueryExec::new(&self.product, schema, plan, seal, below)))
    }

    async fn scan_with_args<'a>(&self, state: &dyn Session, args: ScanArgs<'a>) -> DfResult<ScanResult> {
        let projection = args.projection().map(<[usize]>::to_vec);
        let plan = self.scan(state, projection.as_ref(), args.filters().unwrap_or(&[]), args.limit()).await?;
        Ok(plan.into())
    }

    fn supports_filters_pushdown(&self, filters: &[&Expr]) -> DfResult<Vec<TableProviderFilterPushDown>> {
        let answer = |filter: &&Expr| match is_leakproof(filter, &self.schema, &|_| true) {
            true => TableProviderFilterPushDown::Inexact,
            false => TableProviderFilterPushDown::Unsupported,
        };
        Ok(filters.iter().map(answer).collect())
    }

    fn statistics(&self) -> Option<Statistics> {
        None
    }

    async fn insert_into(
        &self,
        _state: &dyn Session,
        _input: Arc<dyn ExecutionPlan>,
        _op: InsertOp,
    ) -> DfResult<Arc<dyn ExecutionPlan>> {
        internal_err!("products are read only")
    }

    async fn delete_from(&self, _state: &dyn Session, _filters: Vec<Expr>) -> DfResult<Arc<dyn ExecutionPlan>> {
        internal_err!("products are read only")
    }

    async fn update(
        &self,
        _state: &dyn Session,
        _assignments: Vec<(String, Expr)>,
        _filters: Vec<Expr>,
    ) -> DfResult<Arc<dyn ExecutionPlan>> {
        internal_err!("products are read only")
    }

    async fn truncate(&self, _state: &dyn Session) -> DfResult<Arc<dyn ExecutionPlan>> {
        internal_err!("products are read only")
    }
}
