//! What an observer is told of a statement: who asks what, and what the answer is made of.

use std::collections::BTreeMap;

use polder_catalog::mesh::Mesh;
use polder_catalog::policy::{Reason, RowRule};
use polder_catalog::principal::Principal;

use super::gate::LONGEST;
use super::redact::{Names, Redacted, redacted};
use crate::guard::flow::Flow;
use crate::observe::{Asked, Column, Read};
use crate::resolve::explanation::{Effect, leaves};
use crate::resolve::{Scanned, Table};

/// The most bytes that are kept of a statement without its literals.
const KEPT: usize = 16 << 10;

/// Who asks what.
pub(super) fn asked(mesh: &Mesh, principal: &Principal, sql: &str, names: Names) -> Asked {
    let (text, fingerprint) = match redacted(sql, names) {
        Some(Redacted { text, fingerprint }) => (Some(text), Some(fingerprint)),
        None => (None, None),
    };
    let (statement, cut) = match (mesh.audits_in_full(), text) {
        (true, _) => shortened(sql.to_owned(), LONGEST),
        (false, Some(text)) => shortened(text, KEPT),
        (false, None) => (None, false),
    };
    Asked { statement, cut, fingerprint, ..asking(principal) }
}

/// Who asks, of a statement of which nothing more is known.
pub(super) fn asking(principal: &Principal) -> Asked {
    Asked {
        who: principal.id.clone(),
        groups: principal.groups.iter().cloned().collect(),
        purpose: principal.purpose.clone(),
        ..Asked::default()
    }
}

fn shortened(mut text: String, most: usize) -> (Option<String>, bool) {
    let cut = text.len() > most;
    if cut {
        text.truncate(text.floor_char_boundary(most));
    }
    (Some(text), cut)
}

/// The tables of a statement, with the columns that `flow` says and the policies behind each.
pub(super) fn reads(flow: &Flow, tables: &[Scanned]) -> Vec<Read> {
    let of = |(scan, _, table): &Scanned| {
        let mut columns: BTreeMap<String, Column> = BTreeMap::new();
        for source in flow.sources().filter(|source| source.table == *scan) {
            for column in reached(table, &source.path) {
                let column = columns.entry(column.column.clone()).or_insert(column);
                let via = source.via.as_str();
                if !column.via.contains(&via) {
                    column.via.push(via);
                }
            }
        }
        let (shows, takes) = table.rows.rules();
        let rule = |rule: &RowRule| rule.reason.policy.to_string();
        Read {
            product: table.name.clone(),
            version: table.version.clone(),
            snapshot: table.snapshot.map(|snapshot| snapshot.to_string()),
            told: !table.restricted,
            columns: columns.into_values().collect(),
            left_out: 0,
            rows: shows.into_iter().flatten().chain(takes).map(rule).collect(),
        }
    };
    tables.iter().map(of).collect()
}

/// The columns and fields at a path, as far as anything of them is shown.
fn reached(table: &Table, path: &[String]) -> Vec<Column> {
    let column = |column: String, effect: &Effect, reasons: &[Reason]| Column {
        column,
        via: Vec::new(),
        effect: effect.as_str(),
        mask: effect.mask(),
        policies: reasons.iter().map(|reason| reason.policy.to_string()).collect(),
    };
    if !table.is_product() {
        // All that the mesh says of itself was cleared when it was made.
        return vec![column(path.join("."), &Effect::Raw, &[])];
    }
    leaves(&table.grants, path)
        .into_iter()
        .map(|(name, grant)| (name, Effect::of(&grant.access), grant))
        .filter(|(_, effect, _)| *effect != Effect::Denied)
        .map(|(name, effect, grant)| column(name, &effect, &grant.reasons))
        .collect()
}
