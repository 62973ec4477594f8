//! Plans that are used again: for the same words of the same principal in the same mesh.
//!
//! ```text
//! words, principal, epoch, pins --kept?--> its tables, resolved anew --each as it was?--> a physical plan, afresh
//!                                \                                   \             `--> an optimized one, with its values
//!                                 \                                   \                 and tables --> physical, verification
//!                                  `-----------------------------------`--> gate, planning, verification
//! ```
//!
//! Whatever decides is asked each time: a statement that finds its plan here was resolved, decided and held against its
//! tables like any other, and all that is told of it is told of those. What is spared is the way from the text to the plan; to
//! a physical one the verifier's look at it included, since it looked when the plan was made.
//! A plan that is kept never runs itself: each statement runs one of its own, since operators count what they do.
//!
//! What notes what it finds is made physical anew: joins build, and sorts that stop early and joins narrow scans. So is what
//! has parameters, of which a plan is kept from the second time on that values come, with a place for each: who asks once
//! has a plan for these values. A plan that is kept so has no tables, but the columns of those that it is given again.
//!
//! What a plan holds is estimated by its expressions and files, and all of them stay within a bound. The mesh of another
//! epoch empties it, so that nothing of an earlier one lives on here.
//!
//! Nothing is kept of a statement with versions, of a part of one, of one that reads what has no stamp, that calls what gives
//! another value in the next statement, that refers to itself, or whose parameters have the types of what is bound to them
//! or say how many rows there are.

use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use datafusion::arrow::datatypes::{DataType, SchemaRef};
use datafusion::common::tree_node::{Transformed, TreeNode, TreeNodeRecursion};
use datafusion::common::{Result, TableReference, plan_datafusion_err};
use datafusion::datasource::{provider_as_source, source_as_provider};
use datafusion::logical_expr::logical_plan::LogicalTableSource;
use datafusion::logical_expr::{Expr, LogicalPlan, TableScan, TableSource, Volatility};
use datafusion::physical_expr_common::physical_expr::is_dynamic_physical_expr;
use datafusion::physical_plan::ExecutionPlan;
use datafusion::physical_plan::aggregates::AggregateExec;
use datafusion::physical_plan::coalesce_partitions::CoalescePartitionsExec;
use datafusion::physical_plan::coop::CooperativeExec;
use datafusion::physical_plan::empty::EmptyExec;
use datafusion::physical_plan::filter::FilterExec;
use datafusion::physical_plan::limit::{GlobalLimitExec, LocalLimitExec};
use datafusion::physical_plan::placeholder_row::PlaceholderRowExec;
use datafusion::physical_plan::projection::ProjectionExec;
use datafusion::physical_plan::repartition::RepartitionExec;
use datafusion::physical_plan::sorts::sort::SortExec;
use datafusion::physical_plan::sorts::sort_preserving_merge::SortPreservingMergeExec;
use datafusion::physical_plan::union::UnionExec;
use datafusion::scalar::ScalarValue;
use polder_catalog::principal::Principal;

use super::finish::{Finished, Manner};
use super::parameters::counted;
use super::planning::{Ready, files};
use super::{Pins, Request, Values};
use crate::guard::flow::Flow;
use crate::resolve::{Scanned, Stamp};
use crate::{guard, scan};

/// How many bytes the plans hold that are kept, roughly.
const MOST: usize = 32 << 20;
/// How many of them one plan may hold.
const EACH: usize = MOST / 16;
/// For how long a plan is kept that nobody uses.
const IDLE: Duration = Duration::from_secs(600);
/// What a plan holds without its files, roughly.
const PLAN: usize = 64 << 10;
/// What each file adds.
const FILE: usize = 2 << 10;
/// What each column of a table adds that is read.
pub(super) const COLUMN: usize = 1 << 10;
/// What each expression adds, in the plan and in what filters by it.
const EXPRESSION: usize = 512;

/// The plans that are kept.
#[derive(Debug, Default)]
pub(super) struct Again {
    plans: Mutex<Plans>,
    used: AtomicU64,
}

#[derive(Debug, Default)]
struct Plans {
    kept: HashMap<Arc<Key>, Entry>,
    weight: usize,
    /// The earliest epoch whose plans are kept.
    epoch: u64,
}

#[derive(Debug)]
struct Entry {
    plan: Arc<Kept>,
    weight: usize,
    used: Instant,
}

/// Who asked what, and where it was asked.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(super) struct Key {
    epoch: u64,
    principal: Principal,
    sql: String,
    schema: Option<String>,
    pins: Pins,
}

/// A plan, and what it was made of.
#[derive(Debug)]
pub(super) struct Kept {
    /// The names under which it scans tables, their names in the statement, and what they were.
    pub(super) tables: Vec<(TableReference, TableReference, Stamp)>,
    pub(super) flow: Flow,
    /// The names of its parameters.
    pub(super) names: Vec<String>,
    /// Its parameters, with their types.
    pub(super) offered: SchemaRef,
    pub(super) way: Way,
    /// What it asks, where its rows may be kept and it has no parameters.
    pub(super) question: Option<LogicalPlan>,
    /// What it holds, roughly.
    held: usize,
}

/// How much of the way to a plan is spared.
#[derive(Debug)]
pub(super) enum Way {
    /// Nothing: values came with it once, and may never come again.
    Once,
    /// The way to an optimized plan, which has no tables and a place for each value.
    Optimized(Box<LogicalPlan>),
    /// All of it. The plan never ran.
    Whole(Manner, Arc<dyn ExecutionPlan>),
}

impl Way {
    /// The most that can be spared of the way to a plan over these tables.
    pub(super) fn of(finished: &Finished, tables: &[Scanned]) -> Option<Self> {
        match afresh(&finished.physical) {
            Some(physical) => Some(Self::Whole(finished.manner.clone(), physical)),
            None => Self::optimized(&finished.optimized, tables),
        }
    }

    /// The way to an optimized plan over these tables, if it scans nothing else.
    pub(super) fn optimized(plan: &LogicalPlan, tables: &[Scanned]) -> Option<Self> {
        detached(plan, tables).ok().map(Box::new).map(Self::Optimized)
    }
}

/// A plan over these tables without them.
pub(super) fn detached(plan: &LogicalPlan, tables: &[Scanned]) -> Result<LogicalPlan> {
    over(plan, |scan| {
        let provider = source_as_provider(&scan.source).ok()?;
        let is_of = |(name, _, table): &Scanned| *name == scan.table_name && Arc::ptr_eq(&table.provider, &provider);
        tables.iter().any(is_of).then(|| Arc::new(LogicalTableSource::new(scan.source.schema())) as _)
    })
}

/// An optimized plan over the tables of a statement.
pub(super) fn over_tables(plan: &LogicalPlan, tables: &[Scanned]) -> Result<LogicalPlan> {
    over(plan, |scan| {
        let found = tables.iter().find(|(name, ..)| *name == scan.table_name);
        found.map(|(_, _, table)| provider_as_source(Arc::clone(&table.provider)))
    })
}

/// A plan whose scans have other sources.
fn over(plan: &LogicalPlan, source: impl Fn(&TableScan) -> Option<Arc<dyn TableSource>>) -> Result<LogicalPlan> {
    let plan = plan.clone().transform_down_with_subqueries(|node| match node {
        LogicalPlan::TableScan(scan) => {
            let source = source(&scan).ok_or_else(|| plan_datafusion_err!("a scan of no table"))?;
            Ok(Transformed::yes(LogicalPlan::TableScan(TableScan { source, ..scan })))
        }
        node => Ok(Transformed::no(node)),
    })?;
    Ok(plan.data)
}

impl Kept {
    /// What is kept of a statement, unless it reads what has no stamp.
    pub(super) fn of(ready: &Ready, names: &[String], logical: &LogicalPlan, way: Way) -> Option<Self> {
        let stamped =
            |(scan, reference, table): &Scanned| Some((scan.clone(), reference.clone(), table.stamp.clone()?));
        let tables = ready.tables.iter().map(stamped).collect::<Option<Vec<_>>>()?;
        let columns: usize = tables.iter().map(|(_, _, stamp)| stamp.columns()).sum();
        let held = match &way {
            Way::Once => 0,
            Way::Optimized(_) => PLAN,
            Way::Whole(_, physical) => PLAN + files(physical) * FILE,
        };
        let held = expressions(logical).ok()?.saturating_add(held + columns * COLUMN);
        let (flow, offered) = (ready.flow.clone(), Arc::clone(&ready.parameters));
        let question = ready.question.clone().filter(|_| names.is_empty());
        Some(Self { tables, flow, names: names.to_vec(), offered, way, question, held })
    }

    /// Whether it is of use to who has these values, or none.
    pub(super) fn is_for(&self, values: &Values) -> bool {
        let is_valued = matches!(values, Values::Row(..));
        is_valued != self.names.is_empty() && counted(&self.names, values).is_ok() && !matches!(self.way, Way::Once)
    }

    /// Whether these tables are what its own were.
    pub(super) fn stands_on(&self, tables: &[Scanned]) -> bool {
        let is_same = |((_, _, stamp), (_, _, table)): (&(_, _, Stamp), &Scanned)| table.stamp.as_ref() == Some(stamp);
        tables.len() == self.tables.len() && self.tables.iter().zip(tables).all(is_same)
    }
}

impl Key {
    /// That of a request whose plan may be one that was used before.
    pub(super) fn of(epoch: u64, principal: &Principal, request: &Request) -> Option<Self> {
        request.part.is_none().then(|| Self {
            epoch,
            principal: principal.clone(),
            sql: request.sql.clone(),
            schema: request.schema.clone(),
            pins: request.pins.clone(),
        })
    }
}

impl Plans {
    fn remove(&mut self, key: &Key) -> Option<Entry> {
        let entry = self.kept.remove(key)?;
        self.weight -= entry.weight;
        Some(entry)
    }

    fn insert(&mut self, key: Key, entry: Entry) {
        self.remove(&key);
        self.weight += entry.weight;
        self.kept.insert(Arc::new(key), entry);
        while self.weight > MOST {
            let oldest = self.kept.iter().min_by_key(|(_, entry)| entry.used).map(|(key, _)| Arc::clone(key));
            let Some(oldest) = oldest else { return };
            self.remove(&oldest);
        }
    }

    fn forget_idle(&mut self, now: Instant) {
        self.kept.retain(|_, entry| {
            let keeps = now.duration_since(entry.used) < IDLE;
            self.weight -= if keeps { 0 } else { entry.weight };
            keeps
        });
    }
}

impl Again {
    fn plans(&self) -> MutexGuard<'_, Plans> {
        self.plans.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// What is kept under a key; whether it may be used is told by its tables.
    pub(super) fn find(&self, key: &Key) -> Option<Arc<Kept>> {
        let mut plans = self.plans();
        let entry = plans.kept.get_mut(key)?;
        entry.used = Instant::now();
        Some(Arc::clone(&entry.plan))
    }

    /// Whether anything is kept under a key.
    pub(super) fn knows(&self, key: &Key) -> bool {
        self.plans().kept.contains_key(key)
    }

    /// Keeps what can be used again.
    pub(super) fn keep(&self, key: Key, kept: Kept) {
        let weight = kept.held.saturating_add(key.sql.len());
        if weight > EACH {
            return;
        }
        let now = Instant::now();
        let mut plans = self.plans();
        plans.forget_idle(now);
        // That something was asked is no news where more is known.
        let is_news = !matches!(kept.way, Way::Once) || !plans.kept.contains_key(&key);
        if is_news && key.epoch >= plans.epoch {
            plans.insert(key, Entry { plan: Arc::new(kept), weight, used: now });
        }
    }

    /// Counts a statement that used what was kept.
    pub(super) fn count(&self) {
        self.used.fetch_add(1, Ordering::Relaxed);
    }

    /// Forgets all plans of epochs before this one.
    pub(super) fn forget(&self, epoch: u64) {
        // Dropped when nobody waits for it.
        let earlier = std::mem::replace(&mut *self.plans(), Plans { epoch, ..Plans::default() });
        drop(earlier);
    }

    /// How many plans there are and were used again, as Prometheus reads it.
    pub(super) fn render(&self) -> String {
        let mut plans = self.plans();
        plans.forget_idle(Instant::now());
        let (kept, used) = (plans.kept.len(), self.used.load(Ordering::Relaxed));
        format!(
            "# HELP polder_plans_kept Plans that can be used again.\n\
             # TYPE polder_plans_kept gauge\n\
             polder_plans_kept {kept}\n\
             # HELP polder_plans_used_again_total Statements that used the plan of an earlier one.\n\
             # TYPE polder_plans_used_again_total counter\n\
             polder_plans_used_again_total {used}\n"
        )
    }
}

/// Whether a plan is equal to none that means something else: to DataFusion moments are equal in whatever zone they are
/// told, which is another hour of the day.
pub(super) fn is_told_apart(plan: &LogicalPlan) -> Result<bool> {
    let mut apart = true;
    plan.apply_with_subqueries(|node| {
        node.apply_expressions(|expr| {
            expr.apply(|expr| {
                apart &= !matches!(expr, Expr::Literal(value, _) if is_zoned(value));
                Ok(if apart { TreeNodeRecursion::Continue } else { TreeNodeRecursion::Stop })
            })
        })
    })?;
    Ok(apart)
}

/// Whether a value is a moment that is told in a zone of its own, and not as tables have it.
fn is_zoned(value: &ScalarValue) -> bool {
    match value {
        ScalarValue::Dictionary(_, value) | ScalarValue::RunEndEncoded(.., value) => is_zoned(value),
        value => matches!(value.data_type(), DataType::Timestamp(_, Some(zone)) if *zone != *"+00:00"),
    }
}

/// How many bytes the expressions of a plan hold, roughly. A literal stands in a filter and in what scans by it.
pub(super) fn expressions(plan: &LogicalPlan) -> Result<usize> {
    let mut bytes = 0_usize;
    plan.apply_with_subqueries(|node| {
        node.apply_expressions(|expr| {
            expr.apply(|expr| {
                let literal = if let Expr::Literal(value, _) = expr { value.size() } else { 0 };
                bytes = bytes.saturating_add(EXPRESSION).saturating_add(literal.saturating_mul(2));
                Ok(TreeNodeRecursion::Continue)
            })
        })
    })?;
    Ok(bytes)
}

/// Whether a statement means the same whenever it is asked.
pub(super) fn lasts(plan: &LogicalPlan) -> Result<bool> {
    let mut lasts = true;
    plan.apply_with_subqueries(|node| {
        node.apply_expressions(|expr| {
            expr.apply(|expr| {
                let volatility = match expr {
                    Expr::ScalarFunction(call) => call.func.signature().volatility,
                    Expr::AggregateFunction(call) => call.func.signature().volatility,
                    Expr::WindowFunction(call) => call.fun.signature().volatility,
                    Expr::HigherOrderFunction(call) => call.func.signature().volatility,
                    Expr::Placeholder(_) | Expr::ScalarVariable(..) => Volatility::Volatile,
                    _ => Volatility::Immutable,
                };
                lasts &= volatility == Volatility::Immutable;
                Ok(if lasts { TreeNodeRecursion::Continue } else { TreeNodeRecursion::Stop })
            })
        })
    })?;
    Ok(lasts)
}

/// A plan as it was before it ran; `None` for one that notes what it finds.
pub(super) fn afresh(plan: &Arc<dyn ExecutionPlan>) -> Option<Arc<dyn ExecutionPlan>> {
    if plan.is::<EmptyExec>() || plan.is::<PlaceholderRowExec>() {
        return Some(Arc::clone(plan));
    }
    if let Some(fresh) = scan::afresh(plan.as_ref()).or_else(|| guard::afresh(plan.as_ref(), afresh)) {
        return Some(fresh);
    }
    let children = plan.children().into_iter().map(afresh).collect::<Option<Vec<_>>>()?;
    if let Some(sort) = plan.downcast_ref::<SortExec>() {
        // One that stops early holds its scan to the best rows of its last run; with new children it keeps its figures.
        let [input] = <[_; 1]>::try_from(children).ok()?;
        let fresh = SortExec::new(sort.expr().clone(), input);
        let fresh = fresh.with_preserve_partitioning(sort.preserve_partitioning());
        return sort.fetch().is_none().then(|| Arc::new(fresh) as _);
    }
    let is_steady = plan.is::<ProjectionExec>()
        || plan.is::<RepartitionExec>()
        || plan.is::<CoalescePartitionsExec>()
        || plan.is::<CooperativeExec>()
        || plan.is::<SortPreservingMergeExec>()
        || plan.is::<GlobalLimitExec>()
        || plan.is::<LocalLimitExec>()
        || plan.is::<UnionExec>()
        || plan.downcast_ref::<AggregateExec>().is_some_and(|aggregate| aggregate.dynamic_filter_expr().is_none())
        || plan.downcast_ref::<FilterExec>().is_some_and(|filter| !is_dynamic_physical_expr(filter.predicate()));
    if is_steady { Arc::clone(plan).with_new_children(children).ok() } else { None }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "tests")]
mod tests {
    use datafusion::arrow::datatypes::Schema;

    use super::*;
    use crate::served::anonymous;

    fn key(epoch: u64, sql: usize) -> Key {
        Key { epoch, principal: anonymous(), sql: sql.to_string(), schema: None, pins: Pins::new() }
    }

    fn entry(weight: usize) -> Entry {
        let (flow, offered) = (Flow::default(), Arc::new(Schema::empty()));
        let (tables, names, way) = (Vec::new(), Vec::new(), Way::Once);
        let plan = Kept { tables, flow, names, offered, way, question: None, held: weight };
        Entry { plan: Arc::new(plan), weight, used: Instant::now() }
    }

    fn held(again: &Again) -> (usize, usize) {
        let plans = again.plans();
        (plans.weight, plans.kept.len())
    }

    #[test]
    fn plans_stay_within_their_bound_and_the_one_goes_that_was_used_longest_ago() {
        let again = Again::default();
        let fit = MOST / EACH;
        for sql in 0..fit {
            again.plans().insert(key(1, sql), entry(EACH));
        }
        assert!(again.find(&key(1, 0)).is_some(), "all of them fit, and this one is used");
        again.plans().insert(key(1, fit), entry(EACH));
        assert_eq!(held(&again), (MOST, fit));
        let plans = again.plans();
        assert!(plans.kept.contains_key(&key(1, 0)) && !plans.kept.contains_key(&key(1, 1)));
    }

    #[test]
    fn nothing_is_left_of_an_earlier_mesh_nor_of_what_nobody_uses() {
        let again = Again::default();
        again.plans().insert(key(1, 0), entry(EACH));
        again.forget(2);
        assert_eq!((held(&again), again.plans().epoch), ((0, 0), 2));
        again.plans().insert(key(2, 0), entry(EACH));
        again.plans().forget_idle(Instant::now() + IDLE * 2);
        assert_eq!(held(&again), (0, 0));
    }
}
