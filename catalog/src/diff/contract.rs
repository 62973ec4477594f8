//! What changes in a contract, and whether that breaks who reads it.
//!
//! ```text
//! breaks          a column that is gone, renamed, of another type, NULL where it was not, or in another place;
//!                 a key that is another; an identifier that means something else, or has another pattern, also in
//!                 mesh.yaml alone; data that was read however old it was, or older, and is not any more
//! does not        a new column, a stricter promise, a tag that identifies nothing, a classification, another table or
//!                 catalog
//! ```
//!
//! What breaks needs a new major, which is served beside the old one until that is retired.

use super::{Outgrown, State};
use crate::contract::kind::agree;
use crate::contract::{Column, Contract, Data, Query, Rights, Status, Text, Type};
use crate::document::Place;
use crate::mesh::Product;
use crate::mesh::declared::Declared;

/// A change, before it is known whom it breaks.
#[derive(Debug)]
pub(super) struct Change {
    pub what: String,
    pub breaks: bool,
    /// The column that it is about, by its path in the old contract.
    pub column: Option<Vec<String>>,
    pub place: Place,
    /// Whether it is something new.
    adds: bool,
}

impl Change {
    fn new(what: String, breaks: bool, column: Option<Vec<String>>, place: &Place) -> Self {
        Self { what, breaks, column, place: place.clone(), adds: false }
    }
}

/// What both meshes declare, which says which tags identify something.
type Both<'m> = (&'m Declared, &'m Declared);

/// The changes of a product; what is not served in one of the states is `None` there.
pub(super) fn changes(
    pair: (Option<&Product>, Option<&Product>),
    (before, after): (&State<'_>, &State<'_>),
) -> Vec<Change> {
    let declared = (&before.mesh.declared, &after.mesh.declared);
    match pair {
        (Some(old), None) => vec![Change::new("is no longer served".to_owned(), true, None, &old.contract.place)],
        (None, Some(new)) => vec![Change::new("is new".to_owned(), false, None, &new.contract.place)],
        (Some(old), Some(new)) => {
            let (from, to) = (&old.contract.data, &new.contract.data);
            let what = match (from, to) {
                (Data::Table(before), Data::Table(after)) => {
                    format!("is read from table `{after}`, and was from `{before}`")
                }
                (Data::Query(before), Data::Query(after)) if before.rights != after.rights => match after.rights {
                    Rights::Owner => "runs with the rights of its owner, and ran with those of whoever asks".to_owned(),
                    Rights::Invoker => {
                        "runs with the rights of whoever asks, and ran with those of its owner".to_owned()
                    }
                },
                (Data::Query(_), Data::Query(Query { text: Text::View(view), .. })) => {
                    format!("is read from view `{view}`, and was made by another query")
                }
                (Data::Query(_), Data::Query(_)) => "is made by another query".to_owned(),
                (Data::Query(_), Data::Table(table)) => format!("is read from table `{table}`, and was derived"),
                (Data::Table(table), Data::Query(_)) => format!("is derived, and was read from table `{table}`"),
            };
            let moved = (from != to).then(|| Change::new(what, false, None, &new.contract.place));
            // A query in a contract reads other products, and no catalog.
            let is_of_catalog = old.contract.physical().is_some() && new.contract.physical().is_some();
            let catalog = |state: &State<'_>| state.catalogs.get(new.name.domain()).cloned();
            let elsewhere = (is_of_catalog && catalog(before) != catalog(after)).then(|| {
                let what = "is in a domain whose `catalog` says something else".to_owned();
                let place = after.mesh.domain(new.name.domain()).map(|domain| &domain.catalog_place);
                Change::new(what, false, None, place.unwrap_or(&new.contract.place))
            });
            let own = of_contract(&old.contract, &new.contract, declared);
            moved.into_iter().chain(elsewhere).chain(own).collect()
        }
        (None, None) => Vec::new(),
    }
}

/// What changes for those who read a product by its plain name, where that means another major than before: what the new
/// one breaks of the old one.
pub(super) fn renamed(old: &Product, new: &Product, declared: Both<'_>) -> Vec<Change> {
    let (from, to) = (old.contract.major, new.contract.major);
    if from == to {
        return Vec::new();
    }
    let what = format!("the plain name means version {to}, and meant version {from}");
    let breaking = of_contract(&old.contract, &new.contract, declared).into_iter().filter(|change| change.breaks);
    std::iter::once(Change::new(what, false, None, &new.contract.place)).chain(breaking).collect()
}

/// The version that `changes` need, where the new contract has a lesser one.
pub(super) fn outgrown(pair: (Option<&Product>, Option<&Product>), changes: &[Change]) -> Option<Outgrown> {
    let (Some(old), Some(new)) = pair else { return None };
    let (before, after) = (&old.contract, &new.contract);
    let breaks = changes.iter().any(|change| change.breaks);
    let needs = match breaks {
        true => format!("{}.0.0", before.major.saturating_add(1)),
        // The table and the status are not the interface.
        false
            if before.version == after.version
                && changes.iter().any(|change| change.column.is_some() || change.adds) =>
        {
            let mut parts = before.version.trim_start_matches('v').split(['.', '-', '+']);
            let minor: u32 = parts.nth(1).and_then(|minor| minor.parse().ok()).unwrap_or_default();
            format!("{}.{}.0", before.major, minor.saturating_add(1))
        }
        false => return None,
    };
    Some(Outgrown {
        product: format!("{}@{}", new.name, after.major),
        version: after.version.clone(),
        needs,
        breaks,
        place: after.place.clone(),
    })
}

fn of_contract(old: &Contract, new: &Contract, declared: Both<'_>) -> Vec<Change> {
    let mut changes = Vec::new();
    if old.status != new.status {
        let breaks = new.status == Status::Draft;
        changes.push(Change::new(format!("is {}, and was {}", new.status, old.status), breaks, None, &new.place));
    }
    of_columns(&old.columns, &new.columns, &[], &new.place, declared, &mut changes);
    promises(old, new, &mut changes);
    if let Some((what, breaks)) = refusal(old, new) {
        changes.push(Change::new(what.to_owned(), breaks, None, &new.place));
    }
    let (before, after) = (key(&old.columns), key(&new.columns));
    if before != after {
        let text = |key: &[&str]| if key.is_empty() { "none".to_owned() } else { key.join(", ") };
        let what = format!("the key is {}, and was {}", text(&after), text(&before));
        changes.push(Change::new(what, !before.is_empty(), None, &new.place));
    }
    changes
}

/// Service levels are no part of a query's meaning, and those who rely on them want to know.
fn promises(old: &Contract, new: &Contract, changes: &mut Vec<Change>) {
    let name = |line: &str| line.split(' ').next().unwrap_or_default().to_owned();
    for line in old.sla.iter().filter(|line| !new.sla.contains(line)) {
        let now = new.sla.iter().find(|other| name(other) == name(line) && !old.sla.contains(other));
        let what = match now {
            Some(now) => format!("promises `{now}`, and promised `{line}`"),
            None => format!("promises `{line}` no more"),
        };
        changes.push(Change::new(what, false, None, &new.place));
    }
}

/// From which age on nobody reads it, where that is another: a query that worked can be refused.
fn refusal(old: &Contract, new: &Contract) -> Option<(&'static str, bool)> {
    let most = |contract: &Contract| contract.freshness().filter(|_| contract.refuses_stale);
    match (most(old), most(new)) {
        (None, Some(_)) => Some(("is not read while it is older than it promises, and was", true)),
        (Some(was), Some(is)) if is < was => Some(("is not read from a lesser age on than it was", true)),
        (Some(_), None) => Some(("is read however old it is, and was not", false)),
        (None, None) if old.refuses_stale != new.refuses_stale => {
            Some(("says something else of `polder.stale`, and promises no age", false))
        }
        _ => None,
    }
}

fn key(columns: &[Column]) -> Vec<&str> {
    let mut key: Vec<(u32, &str)> =
        columns.iter().filter_map(|column| Some((column.key?, column.name.as_str()))).collect();
    key.sort_unstable();
    key.into_iter().map(|(_, name)| name).collect()
}

fn of_columns(
    old: &[Column],
    new: &[Column],
    around: &[String],
    place: &Place,
    declared: Both<'_>,
    changes: &mut Vec<Change>,
) {
    let named = |columns: &'_ [Column], name: &str| columns.iter().position(|column| column.name == name);
    let is_new = |column: &&Column| named(old, &column.name).is_none();
    for column in old {
        let mut path = around.to_vec();
        path.push(column.name.clone());
        let shown = path.join(".");
        if let Some(after) = named(new, &column.name).and_then(|at| new.get(at)) {
            of_column(column, after, &path, declared, changes);
            continue;
        }
        let is_same = |other: &&Column| match (column.field_id, other.field_id) {
            (Some(id), Some(other)) => id == other,
            _ => column.physical_name == other.physical_name && column.kind == other.kind,
        };
        match new.iter().filter(is_new).find(is_same) {
            Some(renamed) => {
                let what = format!("column `{shown}` is renamed to `{}`", renamed.name);
                changes.push(Change::new(what, true, Some(path), &renamed.place));
            }
            None => changes.push(Change::new(format!("column `{shown}` is removed"), true, Some(path), place)),
        }
    }
    for column in new.iter().filter(is_new) {
        let is_renamed = changes.iter().any(|change| change.place == column.place);
        if !is_renamed {
            let path: Vec<&str> = around.iter().map(String::as_str).chain([column.name.as_str()]).collect();
            let what = format!("column `{}` is new", path.join("."));
            changes.push(Change { adds: true, ..Change::new(what, false, None, &column.place) });
        }
    }
    // `SELECT *` and what is put together by position follow the order.
    let kept = |columns: &'_ [Column], others: &[Column]| -> Vec<String> {
        let kept = columns.iter().filter(|column| named(others, &column.name).is_some());
        kept.map(|column| column.name.clone()).collect()
    };
    let order = kept(new, old);
    if order != kept(old, new) {
        let (what, column) = match around {
            [] => ("the columns".to_owned(), None),
            path => (format!("the fields of `{}`", path.join(".")), Some(path.to_vec())),
        };
        changes.push(Change::new(format!("{what} stand in another order: {}", order.join(", ")), true, column, place));
    }
}

fn of_column(old: &Column, new: &Column, path: &[String], declared: Both<'_>, changes: &mut Vec<Change>) {
    let shown = path.join(".");
    let mut note = |what: String, breaks| changes.push(Change::new(what, breaks, Some(path.to_vec()), &new.place));
    if old.kind != new.kind {
        // To say which one of a family it is takes nothing back.
        let says_more =
            matches!((&old.kind, &new.kind), (Type::Logical(family), Type::Physical(kind)) if agree(kind, *family));
        note(format!("column `{shown}` has type `{}`, and had `{}`", new.kind, old.kind), !says_more);
    }
    match (old.required, new.required) {
        (true, false) => note(format!("column `{shown}` may be NULL, and might not"), true),
        (false, true) => note(format!("column `{shown}` is never NULL any more"), false),
        _ => {}
    }
    if old.physical_name != new.physical_name && old.field_id.is_none() {
        note(
            format!("column `{shown}` reads `{}` of its table, and read `{}`", new.physical_name, old.physical_name),
            true,
        );
    }
    if old.tags != new.tags {
        let text = |column: &Column| match column.tags.is_empty() {
            true => "none".to_owned(),
            false => column.tags.iter().cloned().collect::<Vec<_>>().join(", "),
        };
        let identifies = |column: &Column| -> Vec<String> {
            let canonical = |tag: &&String| {
                declared.0.holding(tag, |tag| tag.kind.as_ref()).next().is_some()
                    || declared.0.holding(tag, |tag| tag.pattern.as_ref()).next().is_some()
            };
            column.tags.iter().filter(canonical).cloned().collect()
        };
        let meant = identifies(old);
        let means_another = !meant.is_empty() && meant != identifies(new);
        note(format!("column `{shown}` has the tags {}, and had {}", text(new), text(old)), means_another);
    }
    let text = |pattern: &Option<String>| pattern.as_ref().map_or("none".to_owned(), |pattern| format!("`{pattern}`"));
    // What a tag says of all that carry it is a part of the contract of each.
    for tag in old.tags.intersection(&new.tags) {
        let canonical =
            |declared: &Declared| declared.holding(tag, |tag| tag.pattern.clone()).next().map(|(_, pattern)| pattern);
        let (was, is) = (canonical(declared.0), canonical(declared.1));
        if was != is {
            let what = format!(
                "column `{shown}` is `{tag}`, which has the pattern {} in mesh.yaml, and had {}",
                text(&is),
                text(&was)
            );
            note(what, was.is_some());
        }
    }
    if old.classification != new.classification {
        let (is, was) = (text(&new.classification), text(&old.classification));
        note(format!("column `{shown}` has the classification {is}, and had {was}"), false);
    }
    if old.pattern != new.pattern {
        let what = format!("column `{shown}` has the pattern {}, and had {}", text(&new.pattern), text(&old.pattern));
        note(what, old.pattern.is_some());
    }
    of_columns(&old.fields, &new.fields, path, &new.place, declared, changes);
}
