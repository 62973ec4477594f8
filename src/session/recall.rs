//! A statement that was planned before, by what is kept of that: see [`again`](super::again).

use std::sync::Arc;

use datafusion::logical_expr::LogicalPlan;
use datafusion::physical_plan::ExecutionPlan;

use super::again::{Kept, Key, Way, afresh, over_tables};
use super::finish::{Manner, folded, physical};
use super::parameters::filled;
use super::planning::Ready;
use super::results::question;
use super::tables::newest;
use super::{Engine, Request, Values, purpose};
use crate::error::Error;
use crate::observe::spanned;
use crate::resolve::{Over, Resolver, Scanned};

/// A plan that may run, and what it asks where its rows may be kept.
type Made = (Manner, Arc<dyn ExecutionPlan>, Option<LogicalPlan>);

/// What was planned before for the same statement, if it is still right.
pub(super) async fn recall(
    engine: &Engine,
    resolver: &Resolver,
    request: &Request,
    key: &Key,
) -> Result<Option<Ready>, Error> {
    let Some(kept) = engine.again.find(key).filter(|kept| kept.is_for(&request.values)) else { return Ok(None) };
    purpose::entitled(resolver)?;
    let names = kept.tables.iter().map(|(_, reference, _)| reference.clone()).collect();
    let found = newest(resolver, request, names, Over::Tables).await?;
    let scans = kept.tables.iter().map(|(scan, ..)| scan.clone());
    let tables: Vec<Scanned> = scans.zip(found).map(|(scan, (reference, table))| (scan, reference, table)).collect();
    if !kept.stands_on(&tables) {
        return Ok(None);
    }
    let made = match &kept.way {
        Way::Once => None,
        Way::Whole(manner, physical) => afresh(physical).map(|plan| (manner.clone(), plan, kept.question.clone())),
        Way::Optimized(plan) => spanned("plan", None, once_more(engine, request, &kept, plan, &tables)).await,
    };
    let Some((manner, physical, question)) = made else { return Ok(None) };
    engine.again.count();
    Ok(Some(Ready {
        manner,
        physical,
        unlike: resolver.unlike(&kept.flow, &tables),
        tables,
        flow: kept.flow.clone(),
        parameters: Arc::clone(&kept.offered),
        valued: !kept.names.is_empty(),
        question,
    }))
}

/// Makes an optimized plan physical once more, with the values and over the tables of this statement. `None` where it has
/// to be planned from its text, which also tells what is wrong with it.
async fn once_more(
    engine: &Engine,
    request: &Request,
    kept: &Kept,
    plan: &LogicalPlan,
    tables: &[Scanned],
) -> Option<Made> {
    let mut state = engine.base.clone();
    state.mark_start_execution();
    let mut plan = over_tables(plan, tables).ok()?;
    if let Values::Row(batch, row) = &request.values
        && !kept.names.is_empty()
    {
        plan = filled(plan, &kept.names, &kept.offered, (batch, *row)).ok()?;
        plan = folded(&state, plan).ok()?;
    }
    let finished = physical(&state, plan, tables.iter().map(|(_, _, table)| &table.provider), tables).await.ok()?;
    let question = question(&finished.optimized, tables);
    Some((finished.manner, finished.physical, question))
}
