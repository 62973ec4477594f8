//! What changes between two states of a mesh: which contracts break, and who gains or loses access to what.
//!
//! ```text
//! contracts of both --contract--> changes, each with whom it breaks
//! policies of both --atoms--> everyone whom they can tell apart --access--> those for whom they decide differently
//! ```
//!
//! Access is compared for every combination of groups, purposes and attributes that the policies on a product tell
//! apart, not for the listed users alone. Among those with the same change the least ones stand for all. Where there are
//! too many combinations, or conditions that are not taken apart, as arithmetic is, that is told of the product.

mod access;
mod atoms;
mod contract;
mod spoken;
#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing, reason = "tests")]
mod tests;
mod texts;

use std::collections::{BTreeMap, BTreeSet};

use crate::document::file::{File, Tree};
use crate::document::yaml::Node;
use crate::document::{Place, Report, Value, Watch};
use crate::mesh::{Domain, Mesh, Product};
use crate::name::{DomainName, ProductName};
use crate::policy::Reason;

/// What changed.
#[derive(Debug, Default)]
pub struct Diff {
    /// In contracts, in the order of products.
    pub contracts: Vec<ContractChange>,
    /// The contracts whose version says less than they changed.
    pub outgrown: Vec<Outgrown>,
    /// In access to what both have, in the order of products.
    pub access: Vec<AccessChange>,
    /// The products with more combinations than were looked at.
    pub cut: Vec<String>,
    /// The products with other policies, of which some compare what is not taken apart: arithmetic and extension types.
    pub opaque: Vec<String>,
}

/// A change of a contract.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ContractChange {
    /// `domain.product@major`, or without the major what its plain name means.
    pub product: String,
    /// What changed.
    pub what: String,
    /// Whether a query that worked can fail or mean something else.
    pub breaks: bool,
    /// The column that it is about, with the names that lead to it, as the old contract has them.
    pub column: Option<String>,
    /// Whom it breaks: those who could read it, by groups, attributes and purpose.
    pub whom: Vec<String>,
    /// Where it stands, in the new state if it is there.
    pub place: Place,
}

/// A contract that changed more than its version says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Outgrown {
    /// `domain.product@major`
    pub product: String,
    /// The version that it has.
    pub version: String,
    /// The least that it needs.
    pub needs: String,
    /// Whether something breaks, so that it needs a major of its own, beside this one.
    pub breaks: bool,
    /// Where the contract stands.
    pub place: Place,
}

/// A change of what somebody may see.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AccessChange {
    /// `domain.product@major`
    pub product: String,
    /// Somebody for whom it changes: `analysts, region EU`.
    pub who: String,
    /// Which way.
    pub direction: Direction,
    /// `discover`, `rows`, or columns by their paths.
    pub what: Vec<String>,
    /// How it was.
    pub from: String,
    /// How it is.
    pub to: String,
    /// The policies behind how it is, or else behind how it was.
    pub because: Vec<Reason>,
}

/// Which way access changed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Direction {
    /// More is shown.
    Gains,
    /// Less is shown.
    Loses,
    /// Something else is shown.
    Changes,
}

/// One state of a mesh.
#[derive(Debug)]
pub struct State<'m> {
    mesh: &'m Mesh,
    policies: Vec<atoms::Written>,
    /// What the files of domains say of their catalogs, as it is written: places are relative to where a mesh lies.
    catalogs: BTreeMap<DomainName, Value>,
}

impl<'m> State<'m> {
    /// A mesh and the policies in its directory.
    ///
    /// # Errors
    /// The files that could be read before and cannot now.
    pub fn read(mesh: &'m Mesh) -> Result<Self, String> {
        Self::of(mesh, &Tree::Disk(mesh.dir(), &Watch::default()))
    }

    /// The same of a mesh in memory.
    ///
    /// # Errors
    /// As [`State::read`].
    pub fn from_files(mesh: &'m Mesh, files: &BTreeMap<String, String>) -> Result<Self, String> {
        Self::of(mesh, &Tree::Memory(files))
    }

    fn of(mesh: &'m Mesh, tree: &Tree<'_>) -> Result<Self, String> {
        let mut report = Report::default();
        let policies = atoms::read(mesh, tree, &mut report);
        let of_domain = |domain: &Domain| {
            // It was read before, and all that is wrong with it was told.
            let unheard = &mut Report::default();
            let file = File::read(tree, &format!("{}/domain.yaml", domain.name), unheard)?;
            let catalog = Value::of(&Node::parse(&file, unheard)?).get("catalog")?.clone();
            Some((domain.name.clone(), catalog))
        };
        let catalogs = mesh.domains().filter_map(of_domain).collect();
        match report.into_findings().first() {
            None => Ok(Self { mesh, policies, catalogs }),
            Some(finding) => Err(format!("{}: {}", finding.place, finding.message)),
        }
    }

    /// The majors that are served.
    fn products(&self) -> BTreeMap<(&'m ProductName, u32), &'m Product> {
        let products = self.mesh.products();
        products.map(|(_, product)| ((&product.name, product.contract.major), product)).collect()
    }
}

/// What changed from `old` to `new`.
pub fn diff(old: &State<'_>, new: &State<'_>) -> Diff {
    let mut diff = Diff::default();
    let (before, after) = (old.products(), new.products());
    let all: BTreeSet<_> = before.keys().chain(after.keys()).copied().collect();
    for key in all {
        let name = format!("{}@{}", key.0, key.1);
        let pair = (before.get(&key).copied(), after.get(&key).copied());
        let changes = contract::changes(pair, (old, new));
        let access_differs = atoms::differ(old, new, pair);
        if changes.is_empty() && !access_differs {
            continue;
        }
        let (people, cut) = atoms::people(old, new, pair);
        // What has not changed needs no people to be compared by.
        if cut && access_differs {
            diff.cut.push(name.clone());
        }
        if let (Some(before), Some(after)) = pair
            && atoms::is_opaque(old, new, (before, after))
        {
            diff.opaque.push(name.clone());
        }
        diff.outgrown.extend(contract::outgrown(pair, &changes));
        diff.contracts.extend(told(&name, pair.0, changes, old.mesh, &people));
        if let ((Some(before), Some(after)), true) = (pair, access_differs) {
            diff.access.extend(access::changes(&name, (old.mesh, before), (new.mesh, after), &people));
        }
    }
    for (name, before) in old.mesh.products().filter(|(name, _)| name.major.is_none()) {
        let Some(after) = new.mesh.product(&name) else { continue };
        let changes = contract::renamed(before, after, (&old.mesh.declared, &new.mesh.declared));
        if !changes.is_empty() {
            let (people, _) = atoms::people(old, new, (Some(before), Some(after)));
            diff.contracts.extend(told(&name.to_string(), Some(before), changes, old.mesh, &people));
        }
    }
    diff
}

/// Changes of what is called `name`, each with those of `people` whom it breaks.
fn told(
    name: &str,
    old: Option<&Product>,
    changes: Vec<contract::Change>,
    mesh: &Mesh,
    people: &[atoms::Person],
) -> Vec<ContractChange> {
    let told = |change: contract::Change| {
        let whom = match old {
            Some(product) if change.breaks => access::readers(mesh, product, change.column.as_deref(), people),
            _ => Vec::new(),
        };
        let contract::Change { what, breaks, column, place, .. } = change;
        ContractChange {
            product: name.to_owned(),
            what,
            breaks,
            column: column.map(|path| path.join(".")),
            whom,
            place,
        }
    };
    changes.into_iter().map(told).collect()
}
