//! `mesh.queries`: the statements that this process remembers. One sees one's own; those whom the mesh makes readers of
//! the audit see everybody's.
//!
//! A statement of one's own names what it named when it was asked, and nothing that one did not see then: the snapshot of a
//! table that is restricted is for the audit's readers alone.

use std::collections::BTreeSet;

use super::Row;
use crate::observe::{Read, Recorded};
use crate::resolve::Resolver;

/// The columns, in their order.
pub(super) const COLUMNS: &[&str] = &[
    "id",
    "started",
    "principal",
    "groups",
    "purpose",
    "protocol",
    "address",
    "statement",
    "fingerprint",
    "products",
    "columns",
    "masked",
    "policies",
    "snapshots",
    "rows",
    "bytes",
    "duration_ms",
    "outcome",
];

impl Resolver {
    pub(super) fn queries(&self) -> Vec<Row> {
        // Who may read what others asked can change with the mesh.
        self.rely(crate::resolve::Relied::on_listing);
        let all = self.mesh.is_auditor(&self.principal);
        let mine = |recorded: &Recorded| recorded.statement().asked.who == self.principal.id;
        self.recent.list(|recorded| all || mine(recorded)).iter().map(|recorded| row(recorded, all)).collect()
    }
}

fn row(recorded: &Recorded, all: bool) -> Row {
    let asked = &recorded.statement().asked;
    // What was read with the rights of another is not told to who asked.
    let reads = recorded.statement().reads.iter().filter(|read| all || read.rights_of.is_none());
    let reads: Vec<&Read> = reads.collect();
    let columns = || reads.iter().flat_map(|read| read.columns.iter().map(move |column| (*read, column)));
    let named = |(read, column): (&Read, &crate::observe::Column)| format!("{}.{}", read.product, column.column);
    let rules = reads.iter().flat_map(|read| &read.rows);
    let policies: BTreeSet<&str> =
        columns().flat_map(|(_, column)| &column.policies).chain(rules).map(String::as_str).collect();
    let snapshots = reads.iter().filter(|read| all || read.told).filter_map(|read| {
        let snapshot = read.snapshot.as_ref()?;
        Some(match &read.version {
            Some(version) => format!("{} {version} = {snapshot}", read.product),
            None => format!("{} = {snapshot}", read.product),
        })
    });
    let (rows, bytes) = recorded.sent();
    let ended = recorded.ended();
    vec![
        Some(recorded.id().to_owned()),
        Some(recorded.at().to_string()),
        Some(asked.who.clone()),
        Some(asked.groups.join(", ")),
        asked.purpose.clone(),
        Some(recorded.origin().over.as_str().to_owned()),
        recorded.origin().peer.map(|peer| peer.to_string()),
        asked.statement.clone(),
        asked.fingerprint.clone(),
        joined(reads.iter().map(|read| read.product.clone()).collect::<BTreeSet<_>>()),
        joined(columns().map(named)),
        joined(columns().filter(|(_, column)| column.mask.is_some()).map(named)),
        joined(policies.into_iter().map(str::to_owned)),
        joined(snapshots),
        Some(rows.to_string()),
        Some(bytes.to_string()),
        ended.map(|(_, took)| (took / 1_000).to_string()),
        Some(ended.map_or("running", |(outcome, _)| outcome.as_str()).to_owned()),
    ]
}

fn joined(texts: impl IntoIterator<Item = String>) -> Option<String> {
    let texts: Vec<String> = texts.into_iter().collect();
    (!texts.is_empty()).then(|| texts.join(", "))
}
