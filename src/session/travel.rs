//! Time travel: tables at the versions that a statement names.
//!
//! DataFusion's planner ignores a table's version, so it is never asked about one: every versioned table is resolved
//! on its own and planned here, under a name of its own.
//!
//! ```text
//! FROM d.p VERSION AS OF 7     SubqueryAlias: d.p
//!                                TableScan: d.p VERSION AS OF 7
//! ```
//!
//! The name of the scan matters: DataFusion takes two scans of one name for equal and may compute them once, though
//! they read different snapshots. The alias gives the columns the qualifier that the statement expects.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::ControlFlow;
use std::sync::Arc;

use datafusion::arrow::datatypes::{DataType, TimeUnit};
use datafusion::catalog::TableProvider;
use datafusion::common::{
    DFSchema, Result as DfResult, ScalarValue, TableReference, internal_err, plan_datafusion_err,
};
use datafusion::datasource::provider_as_source;
use datafusion::execution::session_state::SessionState;
use datafusion::logical_expr::planner::{PlannedRelation, RelationPlanner, RelationPlannerContext, RelationPlanning};
use datafusion::logical_expr::simplify::SimplifyContext;
use datafusion::logical_expr::{Expr, LogicalPlanBuilder};
use datafusion::optimizer::simplify_expressions::ExprSimplifier;
use datafusion::sql::planner::object_name_to_table_reference;
use datafusion::sql::sqlparser::ast::{self, ExprWithAlias, Query, TableFactor, Visit, Visitor};

use super::failure;
use super::gate::Version;
use crate::error::{Class, Error};
use crate::resolve::{At, Which, versioned};

/// A table at a version: the name, and the version's text.
pub(super) type Key = (TableReference, String);

/// The tables of a query as it names them.
#[derive(Debug, Default)]
pub(super) struct Named {
    /// Those without a version, common table expressions among them.
    pub(super) plain: BTreeSet<TableReference>,
    /// Those with one.
    pub(super) versioned: BTreeMap<Key, Version>,
}

impl Named {
    /// Finds the tables of an admitted query.
    ///
    /// # Errors
    /// `BadRequest` for what is no name of a table.
    pub(super) fn find(query: &Query) -> Result<Self, Error> {
        let mut named = Self::default();
        match query.visit(&mut named) {
            ControlFlow::Continue(()) => Ok(named),
            ControlFlow::Break(error) => Err(error),
        }
    }
}

impl Visitor for Named {
    type Break = Error;

    fn pre_visit_table_factor(&mut self, factor: &TableFactor) -> ControlFlow<Error> {
        let TableFactor::Table { name, version, .. } = factor else { return ControlFlow::Continue(()) };
        let reference = match object_name_to_table_reference(name.clone(), true) {
            Ok(reference) => reference,
            Err(error) => return ControlFlow::Break(failure::planning(&error, &[])),
        };
        match version.as_ref().map(Version::read) {
            None => {
                self.plain.insert(reference);
            }
            Some(Ok(version)) => {
                self.versioned.insert((reference, version.to_string()), version);
            }
            Some(Err(what)) => {
                return ControlFlow::Break(Error::new(Class::BadRequest, format!("{what} is not supported")));
            }
        }
        ControlFlow::Continue(())
    }
}

/// What a version means to the resolver.
///
/// # Errors
/// `BadRequest` for a time that is not constant, or no time.
pub(super) fn at(state: &SessionState, version: &Version, pin: Option<i64>) -> Result<At, Error> {
    let which = match (pin, version) {
        (Some(id), _) => Which::Id(id),
        (None, Version::Snapshot(id)) => Which::Id(*id),
        (None, Version::Ref(name)) => Which::Ref(name.clone()),
        (None, Version::Time(time)) => Which::Time(instant(state, time)?),
    };
    Ok(At { which, text: Some(version.to_string()) })
}

/// The microsecond since 1970 that a constant expression means. A time without a zone is UTC.
fn instant(state: &SessionState, time: &ast::Expr) -> Result<i64, Error> {
    let failed = |error| failure::planning(&error, &[]);
    let no_time = || {
        Error::new(Class::BadRequest, format!("`{time}` is not a constant time"))
            .help("write '2026-01-31 12:00:00', which is UTC, or now() - INTERVAL '1 day'")
    };
    let written = ExprWithAlias { expr: time.clone(), alias: None };
    let schema = DFSchema::empty();
    let expr = state.create_logical_expr_from_sql_expr(written, &schema).map_err(failed)?;
    let context = SimplifyContext::builder()
        .with_config_options(Arc::clone(state.config_options()))
        .with_query_execution_start_time(state.execution_props().query_execution_start_time)
        .build();
    let simplifier = ExprSimplifier::new(context);
    let simple = simplifier.coerce(expr, &schema).and_then(|expr| simplifier.simplify(expr)).map_err(failed)?;
    let Expr::Literal(value, _) = simple else { return Err(no_time()) };
    let kind = value.data_type();
    if !matches!(kind, DataType::Timestamp(..) | DataType::Date32) && !kind.is_string() {
        return Err(no_time());
    }
    match value.cast_to(&DataType::Timestamp(TimeUnit::Microsecond, Some("UTC".into()))) {
        Ok(ScalarValue::TimestampMicrosecond(Some(instant), _)) => Ok(instant),
        _ => Err(no_time()),
    }
}

/// Plans the tables that have a version. One without a version is DataFusion's own to plan.
#[derive(Debug)]
pub(super) struct Travel {
    pub(super) tables: BTreeMap<Key, Arc<dyn TableProvider>>,
}

impl RelationPlanner for Travel {
    fn plan_relation(
        &self,
        relation: TableFactor,
        context: &mut dyn RelationPlannerContext,
    ) -> DfResult<RelationPlanning> {
        let TableFactor::Table { name, version: Some(version), alias, .. } = &relation else {
            return Ok(RelationPlanning::Original(Box::new(relation)));
        };
        let version = Version::read(version).map_err(|what| plan_datafusion_err!("{what} is not supported"))?;
        let reference = context.object_name_to_table_reference(name.clone())?;
        let key = (reference, version.to_string());
        let Some(provider) = self.tables.get(&key) else {
            return internal_err!("a version of a table was not resolved");
        };
        let (reference, version) = key;
        let scan = versioned(&reference, Some(&version));
        let plan = LogicalPlanBuilder::scan(scan, provider_as_source(Arc::clone(provider)), None)?;
        let plan = plan.alias(reference)?.build()?;
        Ok(RelationPlanning::Planned(Box::new(PlannedRelation::new(plan, alias.clone()))))
    }
}
