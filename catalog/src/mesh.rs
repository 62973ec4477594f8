//! The validated mesh: its domains, their products, its users, and the domains that are out.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use crate::contract::Contract;
use crate::document::Finding;
use crate::name::{DomainName, ProductName, ProductRef};
use crate::policy::{Decision, Policies};
use crate::principal::{Attribute, Principal};
use crate::secret::Secret;

/// A mesh, read and validated. Immutable: a change of the files makes another one.
#[derive(Debug)]
pub struct Mesh {
    pub(crate) dir: PathBuf,
    pub(crate) name: String,
    pub(crate) domains: BTreeMap<DomainName, Domain>,
    pub(crate) users: BTreeMap<String, User>,
    pub(crate) has_auth: bool,
    pub(crate) keys: BTreeMap<String, Secret>,
    pub(crate) findings: Vec<Finding>,
    pub(crate) policies: Policies,
}

/// A domain that is served.
#[derive(Debug)]
pub struct Domain {
    /// Its name.
    pub name: DomainName,
    /// What it is, for people.
    pub description: Option<String>,
    /// Who owns it.
    pub owner: Owner,
    /// Where its tables are listed.
    pub catalog: CatalogConfig,
    /// Options of its object store: `endpoint`, `region`, keys…
    pub storage: BTreeMap<String, Secret>,
    /// Its products, every major of each.
    pub products: BTreeMap<ProductName, Vec<Product>>,
}

/// The team behind a domain, and how to reach it.
#[derive(Debug, Clone, PartialEq, Eq)]
#[allow(missing_docs, reason = "the names say it")]
pub struct Owner {
    pub team: String,
    pub email: Option<String>,
    pub chat: Option<String>,
}

/// A domain's Iceberg catalog.
#[derive(Debug)]
pub enum CatalogConfig {
    /// A SQL catalog in the schema that PyIceberg and Java share.
    Sql {
        /// The catalog's name inside the database.
        name: String,
        /// `sqlite:` and a path, made absolute.
        uri: Secret,
        /// A URL, made absolute: `file:///…`, `s3://…`.
        warehouse: String,
    },
    /// Pinned metadata files: table name to the URL of its metadata, made absolute.
    Metadata(BTreeMap<String, String>),
}

/// One major version of a product, as it is served.
#[derive(Debug)]
pub struct Product {
    /// Its address without the version.
    pub name: ProductName,
    /// Its contract.
    pub contract: Contract,
}

/// A user that `mesh.yaml` declares.
#[derive(Debug, Clone)]
pub struct User {
    /// The argon2 hash of the password, or `None` for embedded use only.
    pub password_hash: Option<Secret>,
    pub(crate) groups: BTreeSet<String>,
    pub(crate) attributes: BTreeMap<String, Attribute>,
}

impl Mesh {
    /// Reads the mesh in `dir`. A broken domain is out and its findings stay in [`Mesh::findings`].
    ///
    /// # Errors
    /// The findings, when `mesh.yaml` or a mesh-wide policy is broken: then nothing can be served.
    pub fn load(_dir: &Path) -> Result<Self, Vec<Finding>> {
        todo!()
    }

    /// The directory that it was read from.
    pub fn dir(&self) -> &Path {
        &self.dir
    }

    /// The mesh's name, which is the catalog in SQL.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// What was found wrong, in the order of files and lines.
    pub fn findings(&self) -> &[Finding] {
        &self.findings
    }

    /// The domains that are served.
    pub fn domains(&self) -> impl Iterator<Item = &Domain> {
        self.domains.values()
    }

    /// The domain of that name, if it is served.
    pub fn domain(&self, name: &DomainName) -> Option<&Domain> {
        self.domains.get(name)
    }

    /// The product that a name in a query means: the major that it asks for, or else the highest active one.
    /// Retired majors are not there.
    pub fn product(&self, _name: &ProductRef) -> Option<&Product> {
        todo!()
    }

    /// Every served product under the name by which a query would find it: the plain name for what it means, and
    /// `name@major` for every other major that is alive.
    pub fn products(&self) -> impl Iterator<Item = (ProductRef, &Product)> {
        std::iter::empty()
    }

    /// The user of that name that `mesh.yaml` declares.
    pub fn user(&self, name: &str) -> Option<&User> {
        self.users.get(name)
    }

    /// That user as one who asks, without a purpose.
    pub fn principal(&self, _user: &str) -> Option<Principal> {
        todo!()
    }

    /// Whether `mesh.yaml` says anything about authentication.
    pub fn has_auth(&self) -> bool {
        self.has_auth
    }

    /// A named key, if the mesh declares it and its secret could be read.
    pub fn key(&self, name: &str) -> Option<&Secret> {
        self.keys.get(name)
    }

    /// What `principal` may see of `product`.
    pub fn decide(&self, principal: &Principal, product: &Product) -> Decision {
        self.policies.decide(self, principal, product)
    }
}
