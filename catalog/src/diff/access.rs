//! Who is decided about differently, and how.

use std::collections::{BTreeMap, BTreeSet};

use super::atoms::Person;
use super::{AccessChange, Direction};
use crate::mesh::{Mesh, Product};
use crate::policy::{Access, Decision, Grants, Mask, Reason};
use crate::principal::{Attribute, Principal};
use crate::trial::rows::{Relation, Shown, compare};
use crate::trial::{access_at, find, leaves, written};

/// What a change is about, in the order in which it is told.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
enum Part {
    Discover,
    Rows,
    Column(String),
}

/// One difference for one person.
#[derive(Debug, Clone)]
struct Difference {
    part: Part,
    direction: Direction,
    from: String,
    to: String,
    because: Vec<Reason>,
}

/// How `people` are decided about differently.
pub(super) fn changes(
    name: &str,
    old: (&Mesh, &Product),
    new: (&Mesh, &Product),
    people: &[Person],
) -> Vec<AccessChange> {
    let (before, after) = (leaves(&old.1.contract.columns), leaves(&new.1.contract.columns));
    let paths: Vec<String> = after.into_iter().filter(|path| before.contains(path)).collect();
    // For each difference those of whom least is said; who has more and the same difference is one of them.
    let mut known: BTreeMap<(Part, String, String), Vec<&Principal>> = BTreeMap::new();
    let mut found = Vec::new();
    for person in people {
        let decisions = (old.0.decide(&person.old, old.1), new.0.decide(&person.new, new.1));
        let mut own = differences(&decisions.0, &decisions.1, old.1, new.1, &paths);
        own.retain(|difference| {
            let key = (difference.part.clone(), difference.from.clone(), difference.to.clone());
            let least = known.entry(key).or_default();
            let is_told = least.iter().any(|other| is_below(other, &person.new));
            if !is_told {
                least.push(&person.new);
            }
            !is_told
        });
        found.extend(joined(name, &person.words, own));
    }
    found
}

/// Whether all that is said of one is said of the other.
fn is_below(one: &Principal, other: &Principal) -> bool {
    one.id == other.id
        && one.groups.is_subset(&other.groups)
        && one.attributes.iter().all(|(name, value)| match (value, other.attributes.get(name)) {
            (Attribute::Set(one), Some(Attribute::Set(other))) => one.is_subset(other),
            (value, other) => other == Some(value),
        })
        && (one.purpose.is_none() || one.purpose == other.purpose)
}

/// The differences of one person, those of one kind together.
fn joined(product: &str, who: &str, differences: Vec<Difference>) -> Vec<AccessChange> {
    let mut found: Vec<AccessChange> = Vec::new();
    for Difference { part, direction, from, to, because } in differences {
        let is_column = matches!(part, Part::Column(_));
        let what = match part {
            Part::Discover => "discover".to_owned(),
            Part::Rows => "rows".to_owned(),
            Part::Column(path) => path,
        };
        let alike = found
            .iter_mut()
            .find(|change| is_column && change.direction == direction && change.from == from && change.to == to);
        match alike {
            Some(change) => {
                change.what.push(what);
                for reason in because {
                    if !change.because.contains(&reason) {
                        change.because.push(reason);
                    }
                }
            }
            None => found.push(AccessChange {
                product: product.to_owned(),
                who: who.to_owned(),
                direction,
                what: vec![what],
                from,
                to,
                because,
            }),
        }
    }
    found
}

fn differences(old: &Decision, new: &Decision, before: &Product, after: &Product, paths: &[String]) -> Vec<Difference> {
    let mut found = Vec::new();
    let (from, to) = (shown(old), shown(new));
    if from != to {
        let direction = if to == "shown" {
            Direction::Gains
        } else if from == "shown" {
            Direction::Loses
        } else {
            Direction::Changes
        };
        let because = match new {
            Decision::Hidden(reason) => reason.iter().cloned().collect(),
            Decision::Refused(reason) => vec![reason.clone()],
            Decision::Granted(_) => Vec::new(),
        };
        found.push(Difference { part: Part::Discover, direction, from: from.into(), to: to.into(), because });
    }
    if let (Decision::Granted(old), Decision::Granted(new)) = (old, new)
        && sees(old)
        && sees(new)
    {
        found.extend(rows(old, new, after));
    }
    for path in paths {
        let ((from, was), (to, is)) = (access(old, before, path), access(new, after, path));
        if from != to {
            found.push(Difference {
                part: Part::Column(path.clone()),
                direction: direction(&from, &to),
                from: from.to_string(),
                to: to.to_string(),
                because: if is.is_empty() { was } else { is },
            });
        }
    }
    found
}

fn shown(decision: &Decision) -> &'static str {
    match decision {
        Decision::Hidden(_) => "hidden",
        Decision::Refused(_) => "refused",
        Decision::Granted(_) => "shown",
    }
}

fn sees(grants: &Grants) -> bool {
    grants.columns.iter().any(|grant| grant.access != Access::Denied)
}

fn rows(old: &Grants, new: &Grants, product: &Product) -> Option<Difference> {
    let direction = match compare(&Shown::of(&old.rows), &Shown::of(&new.rows), &product.contract.columns) {
        Relation::Same => return None,
        Relation::Differ(None, Some(_)) => Direction::Gains,
        Relation::Differ(Some(_), None) => Direction::Loses,
        Relation::Differ(..) | Relation::TooMany => Direction::Changes,
    };
    let reasons = |grants: &Grants| -> Vec<Reason> {
        let (permits, forbids) = grants.rows.rules();
        permits.unwrap_or_default().iter().chain(forbids).map(|rule| rule.reason.clone()).collect()
    };
    let is = reasons(new);
    Some(Difference {
        part: Part::Rows,
        direction,
        from: written(&old.rows),
        to: written(&new.rows),
        because: if is.is_empty() { reasons(old) } else { is },
    })
}

/// What of a column is shown, and why.
fn access(decision: &Decision, product: &Product, path: &str) -> (Access, Vec<Reason>) {
    let Decision::Granted(grants) = decision else { return (Access::Denied, Vec::new()) };
    let found = find(&product.contract.columns, path).and_then(|path| access_at(&grants.columns, &path));
    found.unwrap_or((Access::Denied, Vec::new()))
}

fn direction(from: &Access, to: &Access) -> Direction {
    match (from, to) {
        (Access::Denied, _) | (Access::Masked(_), Access::Raw) => Direction::Gains,
        (_, Access::Denied) | (Access::Raw, Access::Masked(_)) => Direction::Loses,
        (Access::Masked(one), Access::Masked(other)) => match Mask::strictest([one, other]) {
            Some(strictest) if strictest == *one => Direction::Gains,
            Some(strictest) if strictest == *other => Direction::Loses,
            _ => Direction::Changes,
        },
        _ => Direction::Changes,
    }
}

/// Those of whom least is said among `people` who can read a column, or any column.
pub(super) fn readers(mesh: &Mesh, product: &Product, column: Option<&[String]>, people: &[Person]) -> Vec<String> {
    let mut least: Vec<&Principal> = Vec::new();
    let mut found = BTreeSet::new();
    for person in people {
        let Decision::Granted(grants) = mesh.decide(&person.old, product) else { continue };
        let reads = match column {
            Some(path) => access_at(&grants.columns, path).is_some_and(|(access, _)| access != Access::Denied),
            None => sees(&grants),
        };
        if reads && !least.iter().any(|other| is_below(other, &person.old)) {
            least.push(&person.old);
            found.insert(person.words.clone());
        }
    }
    found.into_iter().collect()
}
