//! What changes in a contract, and whether that breaks who reads it.

use super::ContractChange;
use crate::contract::{Column, Contract, Status};
use crate::document::Place;
use crate::mesh::{Mesh, Product};
use crate::name::ProductRef;

/// A change, before it is known whom it breaks.
#[derive(Debug)]
pub(super) struct Change {
    pub what: String,
    pub breaks: bool,
    /// The column that it is about, by its path in the old contract.
    pub column: Option<Vec<String>>,
    pub place: Place,
}

impl Change {
    fn new(what: String, breaks: bool, column: Option<Vec<String>>, place: &Place) -> Self {
        Self { what, breaks, column, place: place.clone() }
    }
}

/// The changes of a product; what is not served in one of the states is `None` there.
pub(super) fn changes(pair: (Option<&Product>, Option<&Product>)) -> Vec<Change> {
    match pair {
        (Some(old), None) => vec![Change::new("is no longer served".to_owned(), true, None, &old.contract.place)],
        (None, Some(new)) => vec![Change::new("is new".to_owned(), false, None, &new.contract.place)],
        (Some(old), Some(new)) => {
            let (before, after) = (&old.contract.table, &new.contract.table);
            let what = format!("is read from table `{after}`, and was from `{before}`");
            let moved = (before != after).then(|| Change::new(what, false, None, &new.contract.place));
            moved.into_iter().chain(of_contract(&old.contract, &new.contract)).collect()
        }
        (None, None) => Vec::new(),
    }
}

/// Plain names that mean another major than before.
pub(super) fn plain_names(old: &Mesh, new: &Mesh) -> Vec<ContractChange> {
    let mut found = Vec::new();
    for (name, before) in old.products().filter(|(name, _)| name.major.is_none()) {
        let Some(after) = new.product(&ProductRef { product: name.product.clone(), major: None }) else { continue };
        let (from, to) = (before.contract.major, after.contract.major);
        if from == to {
            continue;
        }
        let breaks = of_contract(&before.contract, &after.contract).iter().any(|change| change.breaks);
        found.push(ContractChange {
            product: name.to_string(),
            what: format!("the plain name means version {to}, and meant version {from}"),
            breaks,
            whom: Vec::new(),
            place: after.contract.place.clone(),
        });
    }
    found
}

fn of_contract(old: &Contract, new: &Contract) -> Vec<Change> {
    let mut changes = Vec::new();
    if old.status != new.status {
        let breaks = new.status == Status::Draft;
        changes.push(Change::new(format!("is {}, and was {}", new.status, old.status), breaks, None, &new.place));
    }
    of_columns(&old.columns, &new.columns, &[], &new.place, &mut changes);
    let (before, after) = (key(&old.columns), key(&new.columns));
    if before != after {
        let text = |key: &[&str]| if key.is_empty() { "none".to_owned() } else { key.join(", ") };
        let what = format!("the key is {}, and was {}", text(&after), text(&before));
        changes.push(Change::new(what, !before.is_empty(), None, &new.place));
    }
    changes
}

fn key(columns: &[Column]) -> Vec<&str> {
    let mut key: Vec<(u32, &str)> =
        columns.iter().filter_map(|column| Some((column.key?, column.name.as_str()))).collect();
    key.sort_unstable();
    key.into_iter().map(|(_, name)| name).collect()
}

fn of_columns(old: &[Column], new: &[Column], around: &[String], place: &Place, changes: &mut Vec<Change>) {
    let named = |columns: &'_ [Column], name: &str| columns.iter().position(|column| column.name == name);
    let is_new = |column: &&Column| named(old, &column.name).is_none();
    for column in old {
        let mut path = around.to_vec();
        path.push(column.name.clone());
        let shown = path.join(".");
        if let Some(after) = named(new, &column.name).and_then(|at| new.get(at)) {
            of_column(column, after, &path, changes);
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
            changes.push(Change::new(format!("column `{}` is new", path.join(".")), false, None, &column.place));
        }
    }
}

fn of_column(old: &Column, new: &Column, path: &[String], changes: &mut Vec<Change>) {
    let shown = path.join(".");
    let mut note = |what: String, breaks| changes.push(Change::new(what, breaks, Some(path.to_vec()), &new.place));
    if old.kind != new.kind {
        note(format!("column `{shown}` has type `{}`, and had `{}`", new.kind, old.kind), true);
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
        note(format!("column `{shown}` has the tags {}, and had {}", text(new), text(old)), false);
    }
    of_columns(&old.fields, &new.fields, path, &new.place, changes);
}
