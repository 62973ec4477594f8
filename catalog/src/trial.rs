//! Policy tests: what a domain expects its policies to decide, held against what they do decide.
//!
//! ```yaml
//! # <domain>/tests/*.yaml
//! - as: { groups: [analysts], attributes: { region: EU } }
//!   product: storefront.customers
//!   expect: { rows: "region = 'EU'", columns: { email: masked(hmac), ssn: denied, address.city: raw } }
//! ```
//!
//! Contracts and policies are enough: no table is opened. What a test says of a product is held here; a query needs an
//! engine, which plans it over the same contracts and says how it ended.

mod effect;
mod hold;
mod read;
pub(crate) mod rows;
#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing, reason = "tests")]
mod tests;
pub(crate) mod text;

use std::collections::BTreeMap;
use std::path::Path;

use crate::document::file::Tree;
use crate::document::{Finding, Place, Watch};
use crate::mesh::{CatalogConfig, Mesh, Storage};
use crate::name::{DomainName, ProductRef};
use crate::policy::Reason;
use crate::principal::Principal;

pub use effect::Effect;
pub(crate) use effect::{access_at, find, leaves};
pub(crate) use hold::written;
pub(crate) use read::{NOBODY, words};

/// The tests of a mesh.
#[derive(Debug, Default)]
pub struct Trials {
    /// Those that make sense, in the order of files and lines.
    pub trials: Vec<Trial>,
    /// What is wrong with the others.
    pub findings: Vec<Finding>,
}

/// One test.
#[derive(Debug)]
pub struct Trial {
    /// Where it stands.
    pub place: Place,
    /// Who asks.
    pub principal: Principal,
    /// The same in words.
    pub who: String,
    /// What is asked, and what is expected.
    pub asked: Asked,
}

/// What a test asks.
#[derive(Debug)]
pub enum Asked {
    /// What is decided of a product.
    Product(OfProduct),
    /// How a query ends.
    Query(OfQuery),
}

/// What is expected of a product.
#[derive(Debug)]
pub struct OfProduct {
    pub(crate) name: ProductRef,
    pub(crate) discover: Option<(bool, Place)>,
    pub(crate) rows: Option<ExpectedRows>,
    pub(crate) columns: Vec<(String, Effect, Place)>,
}

/// The rows that are expected.
#[derive(Debug)]
pub(crate) struct ExpectedRows {
    /// As the test writes them.
    pub written: String,
    pub shown: rows::Shown,
    pub place: Place,
}

/// What is expected of a query.
#[derive(Debug)]
pub struct OfQuery {
    /// The statement.
    pub sql: String,
    /// The class of the error that it ends with, and a part of its text after a colon.
    pub error: Option<(String, Place)>,
    /// The columns of its answer, in their order.
    pub columns: Option<(Vec<String>, Place)>,
    /// How some of them are seen: what is made of a masked column is masked.
    pub effects: Vec<(String, Effect, Place)>,
}

/// An expectation that was not met.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Failure {
    /// A stable code: `test/discover`, `test/rows`, `test/column`, `test/query`.
    pub code: &'static str,
    /// Where the expectation stands.
    pub place: Place,
    /// What it is about.
    pub what: String,
    /// What it expects.
    pub expected: String,
    /// What is.
    pub got: String,
    /// The policies behind it.
    pub because: Vec<Reason>,
}

impl Trials {
    /// Reads the tests of every domain of `mesh` that is served, from the files in `dir`.
    pub fn read(mesh: &Mesh, dir: &Path) -> Self {
        read::read(mesh, &Tree::Disk(dir, &Watch::default()))
    }

    /// The same from files in memory, by their paths with `/` between the parts.
    pub fn from_files(mesh: &Mesh, files: &BTreeMap<String, String>) -> Self {
        read::read(mesh, &Tree::Memory(files))
    }
}

impl Trial {
    /// How many expectations it has.
    pub fn expectations(&self) -> usize {
        match &self.asked {
            Asked::Product(product) => {
                usize::from(product.discover.is_some()) + usize::from(product.rows.is_some()) + product.columns.len()
            }
            Asked::Query(query) => {
                usize::from(query.error.is_some()) + usize::from(query.columns.is_some()) + query.effects.len()
            }
        }
    }
}

impl OfProduct {
    /// What of it does not hold for `principal` in `mesh`.
    pub fn hold(&self, mesh: &Mesh, principal: &Principal) -> Vec<Failure> {
        hold::hold(self, mesh, principal)
    }
}

impl Mesh {
    /// The same mesh with its tables elsewhere: the URL of a metadata file for each table of each domain.
    #[must_use]
    pub fn with_tables(mut self, mut tables: BTreeMap<DomainName, BTreeMap<String, String>>) -> Self {
        for (name, domain) in &mut self.domains {
            domain.catalog = CatalogConfig::Metadata(tables.remove(name).unwrap_or_default());
            domain.storage = Storage::default();
        }
        self
    }
}
