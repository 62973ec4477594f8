//! What an observer is told of a statement: who asks what, and what the answer is made of.

use std::collections::BTreeMap;

use polder_catalog::mesh::Mesh;
use polder_catalog::policy::{Reason, RowRule};
use polder_catalog::principal::Principal;

use super::gate::LONGEST;
use super::redact::{Names, Redacted, redacted};
use crate::guard::flow::{Flow, Source};
use crate::observe::{Answer, Asked, Column, Part, Read};
use crate::resolve::explanation::{Effect, leaves};
use crate::resolve::{Rights, Scanned, Table};

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
            rights_of: match &table.rights {
                Rights::Beneath(product) => Some(product.clone()),
                Rights::Asking | Rights::Owner => None,
            },
            told: !table.restricted,
            columns: columns.into_values().collect(),
            left_out: 0,
            rows: shows.into_iter().flatten().chain(takes).map(rule).collect(),
        }
    };
    tables.iter().map(of).collect()
}

/// What an answer over products is made of; nothing of one that reads none.
pub(super) fn answer(mesh: &str, flow: &Flow, tables: &[Scanned]) -> Option<Answer> {
    let products = || tables.iter().filter(|(_, _, table)| table.is_product());
    let input = |table: &Table| (table.name.clone(), table.snapshot.map(|snapshot| snapshot.to_string()));
    let mut inputs: Vec<_> = products().map(|(_, _, table)| input(table)).collect();
    inputs.sort();
    inputs.dedup();
    let parts = |sources: &[Source]| {
        let parts = sources.iter().filter_map(|source| {
            let (_, _, table) = products().find(|(scan, ..)| *scan == source.table)?;
            let (product, column) = (table.name.clone(), source.path.join("."));
            Some(Part { product, column, via: source.via.as_str(), masked: source.masked })
        });
        parts.collect::<Vec<_>>()
    };
    let columns = flow.outputs.iter().map(|(name, sources)| (name.clone(), parts(sources))).collect();
    (!inputs.is_empty()).then(|| Answer { mesh: mesh.to_owned(), inputs, columns, rows: parts(&flow.rows) })
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
