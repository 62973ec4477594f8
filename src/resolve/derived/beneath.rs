//! What a derived product is made of: the tables that its query reads and all beneath these, and what of them comes where.

use std::time::SystemTime;

use datafusion::common::TableReference;
use datafusion::common::tree_node::TreeNodeRecursion;
use datafusion::logical_expr::LogicalPlan;
use polder_catalog::policy::Access;

use super::Scanned;
use crate::guard::flow::{Flow, Source as FlowSource, Via};
use crate::resolve::explanation::leaves;

/// What a derived product is made of.
#[derive(Debug, Clone)]
pub struct Beneath {
    /// Every table that its query reads, and all that these are made of.
    pub tables: Vec<Scanned>,
    /// What of these reaches which column that the query makes.
    pub flow: Flow,
    /// The columns whose values its columns are made of; a count is made of none.
    pub carried: Vec<(String, Vec<FlowSource>)>,
    /// How many tables are read for it.
    pub weight: usize,
    /// What the query says.
    pub said: String,
    /// Whether its rows may be others though nothing that it reads has changed, as with `now()`.
    pub fleeting: bool,
    /// Whether it is read with the rights of the product's owner.
    pub by_owner: bool,
}

impl Beneath {
    /// Whether anything of what it is made of is kept from the principal.
    pub fn is_restricted(&self) -> bool {
        self.by_owner || self.tables.iter().any(|(_, _, table)| table.restricted)
    }

    /// Whether what flows from there is denied to whom it is read for.
    pub(super) fn denies(&self, source: &FlowSource) -> bool {
        let table = self.tables.iter().find(|(scan, ..)| *scan == source.table).map(|(_, _, table)| table);
        let mut grants = table.into_iter().flat_map(|table| leaves(&table.grants, &source.path));
        grants.any(|(_, grant)| grant.access == Access::Denied)
    }

    /// When the oldest of what it is made of changed, if that is known of all of it.
    pub(super) fn oldest(&self) -> Option<SystemTime> {
        let read = self.tables.iter().filter(|(_, _, table)| table.beneath.is_none());
        let changed: Option<Vec<_>> = read.map(|(_, _, table)| table.changed).collect();
        changed?.into_iter().min()
    }
}

/// What flows into a statement over `tables`, with what flows into the derived products among these.
pub fn expanded(flow: Flow, tables: &[Scanned]) -> Flow {
    let beneath = |scan: &TableReference| {
        let table = tables.iter().find(|(name, ..)| name == scan);
        table.and_then(|(_, _, table)| table.beneath.as_deref())
    };
    let through = |source: &FlowSource| {
        let inner = beneath(&source.table).zip(source.path.first());
        let made = inner.and_then(|(inner, column)| inner.flow.outputs.iter().find(|(name, _)| name == column));
        let made = made.into_iter().flat_map(|(_, sources)| sources).map(|inner| FlowSource {
            via: if inner.via == Via::Value { source.via } else { inner.via },
            ..inner.clone()
        });
        made.collect::<Vec<_>>()
    };
    let more = |mut sources: Vec<FlowSource>| {
        let inner: Vec<FlowSource> = sources.iter().flat_map(through).collect();
        sources.extend(inner);
        sources.sort();
        sources.dedup();
        sources
    };
    let rows = tables.iter().filter_map(|(_, _, table)| table.beneath.as_deref()).flat_map(|inner| &inner.flow.rows);
    let rows = flow.rows.into_iter().chain(rows.cloned()).collect();
    let outputs = flow.outputs.into_iter().map(|(name, sources)| (name, more(sources))).collect();
    Flow { outputs, rows: more(rows), equated: flow.equated }
}

/// How many tables a plan reads, those that derived products are made of among them.
///
/// # Errors
/// When the plan cannot be walked.
pub fn weight(plan: &LogicalPlan, tables: &[Scanned]) -> datafusion::common::Result<usize> {
    let mut weight = 0_usize;
    plan.apply_with_subqueries(|node| {
        if let LogicalPlan::TableScan(scan) = node {
            let table = tables.iter().find(|(name, ..)| *name == scan.table_name);
            let beneath = table.and_then(|(_, _, table)| table.beneath.as_ref());
            weight = weight.saturating_add(beneath.map_or(1, |beneath| beneath.weight));
        }
        Ok(TreeNodeRecursion::Continue)
    })?;
    Ok(weight)
}
