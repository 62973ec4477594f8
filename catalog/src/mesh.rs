//! The validated mesh: its domains, their products, its users, and the domains that are out.

mod alias;
mod asking;
mod audit;
mod auth;
mod aws;
mod carried;
pub(crate) mod declared;
mod detected;
mod domain;
pub(crate) mod each;
mod hive;
mod holder;
mod identity;
mod issuer;
pub mod limits;
mod load;
mod location;
mod rest;
mod sql;
mod standards;
pub mod storage;
mod versions;

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::SystemTime;

pub use self::asking::{Asking, time};
pub use self::auth::{Credential, User};
pub use self::declared::AttributeType;
use self::declared::Declared;
pub use self::holder::{Holder, Subject};
pub use self::identity::Identity;
pub use self::issuer::{Issuer, is_private};
pub use self::limits::ResourceGroup;
pub use self::storage::{Setting, Storage};
use self::versions::Versions;
use crate::contract::{Contract, Status};
use crate::document::file::Tree;
use crate::document::{Finding, Place, Watch, quote};
use crate::name::{DomainName, ProductName, ProductRef};
use crate::policy::{Decision, Discovery, Helpful, Policies};
use crate::principal::Principal;
use crate::secret::Secret;

/// A mesh, read and validated. Immutable: a change of the files makes another one.
#[derive(Debug)]
pub struct Mesh {
    pub(crate) dir: PathBuf,
    pub(crate) declared: Declared,
    pub(crate) domains: BTreeMap<DomainName, Domain>,
    pub(crate) domains_out: BTreeSet<DomainName>,
    /// The majors that fall short of a standard, with what they were and why they are out.
    pub(crate) withheld: BTreeMap<ProductName, Vec<Withheld>>,
    pub(crate) findings: Vec<Finding>,
    pub(crate) policies: Policies,
    pub(crate) watch: Arc<Watch>,
    pub(crate) versions: Versions,
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
    /// Where its file says so.
    pub catalog_place: Place,
    /// How it is asked.
    pub asking: Asking,
    /// How its stores are reached and logged in to.
    pub storage: Storage,
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
        /// `sqlite:` and a path, made absolute, or `postgres:` with the user, the password if there is one, and `sslmode`.
        uri: Secret,
        /// A URL, made absolute: `file:///…`, `s3://…`.
        warehouse: String,
    },
    /// An Iceberg REST catalog.
    Rest(Box<Rest>),
    /// A catalog of AWS that is asked in its own way.
    Aws(Box<Aws>),
    /// A Hive Metastore.
    Hive(Hive),
    /// Pinned metadata files: table name to the URL of its metadata, made absolute.
    Metadata(BTreeMap<String, String>),
}

/// How a REST catalog is asked.
#[derive(Debug, Clone)]
pub struct Rest {
    /// Where it is: `http://…` or `https://…`, without a slash at its end.
    pub uri: String,
    /// Which of its warehouses.
    pub warehouse: Option<String>,
    /// What stands before the namespaces in its paths, unless it says so itself.
    pub prefix: Option<String>,
    /// How one logs in there.
    pub login: Login,
    /// What else is sent with each request.
    pub headers: BTreeMap<String, Secret>,
    /// Whether it is asked for the credentials of the object store.
    pub vended: bool,
    /// Where its tables may lie; anywhere in a bucket, and nowhere on this machine, unless it is said.
    pub location: Option<String>,
    /// What those call it who make views in it.
    pub known_as: Vec<String>,
}

/// How a catalog of AWS is asked in its own way.
#[derive(Debug, Clone)]
pub struct Aws {
    /// Which tables it has.
    pub tables: AwsTables,
    /// Where it is: `http://…` or `https://…`, without a slash at its end.
    pub uri: String,
    /// What its requests are signed with.
    pub signing: Signing,
    /// Where its tables may lie, as in [`Rest`].
    pub location: Option<String>,
}

/// The tables of a catalog of AWS.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum AwsTables {
    /// Those of Glue.
    Glue {
        /// The number of the account, and the catalog nested in it if there is one; its own by default.
        account: Option<String>,
    },
    /// Those of a bucket of S3 Tables.
    Bucket {
        /// Its ARN.
        bucket: String,
    },
}

/// How a Hive Metastore is asked.
#[derive(Debug, Clone)]
pub struct Hive {
    /// The name or the address of the machine.
    pub host: String,
    /// Its port.
    pub port: u16,
    /// Whether it speaks TLS.
    pub tls: bool,
    /// Where its tables may lie, as in [`Rest`].
    pub location: Option<String>,
}

/// How one logs in to a catalog.
#[derive(Debug, Clone)]
pub enum Login {
    /// Not at all.
    Nobody,
    /// With a token that stays as it is.
    Token(Secret),
    /// With the OAuth2 credentials of a client, for tokens that expire.
    Client {
        /// The client's name and its secret, with a colon between; or the secret alone.
        credential: Secret,
        /// Where tokens come from; by default the catalog itself.
        server: Option<String>,
        /// What the tokens are for.
        scope: String,
    },
    /// With a signature on each request, as AWS has it (SigV4).
    Signed(Signing),
}

/// What requests to a catalog are signed with.
#[derive(Debug, Clone)]
pub struct Signing {
    /// The region in whose name they are signed.
    pub region: String,
    /// The service.
    pub service: String,
    /// The access key, its secret and a session's token, where they differ from those in `storage`, under the same names.
    pub keys: Storage,
}

/// One major version of a product, as it is served.
#[derive(Debug)]
pub struct Product {
    /// Its address without the version.
    pub name: ProductName,
    /// Its contract.
    pub contract: Contract,
}

/// A major that is there and not served.
#[derive(Debug, Clone)]
pub struct Withheld {
    /// Which.
    pub major: u32,
    /// Where it stands in its life.
    pub status: Status,
    /// Why: the first error about it.
    pub finding: Finding,
}

/// Why a purpose cannot be declared. Both read the same: who may not declare a purpose learns not that it exists.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum PurposeError {
    /// The mesh does not declare it.
    #[error("the purpose {} may not be declared by you", quote(.0))]
    Unknown(String),
    /// The principal is in none of the groups that may declare it.
    #[error("the purpose {} may not be declared by you", quote(.0))]
    NotEntitled(String, String),
}

impl Mesh {
    /// Reads the mesh in `dir`. A broken domain is out and its findings stay in [`Mesh::findings`].
    ///
    /// # Errors
    /// The findings, when `mesh.yaml` or a mesh-wide policy is broken: then nothing can be served.
    pub fn load(dir: &Path) -> Result<Self, Vec<Finding>> {
        Self::load_watched(dir).0
    }

    /// The same, with what was looked at: it tells when loading would give something else, also where it failed.
    pub fn load_watched(dir: &Path) -> (Result<Self, Vec<Finding>>, Arc<Watch>) {
        Self::load_after(dir, None)
    }

    /// The mesh that its directory holds now. What of it is broken stays as it is in this one, a domain or the mesh's own
    /// files, if it holds together with all the rest; else it is out.
    ///
    /// # Errors
    /// The findings, when nothing of it can be served.
    pub fn next(&self) -> (Result<Self, Vec<Finding>>, Arc<Watch>) {
        Self::load_after(&self.dir, Some(self))
    }

    fn load_after(dir: &Path, before: Option<&Self>) -> (Result<Self, Vec<Finding>>, Arc<Watch>) {
        let (dir, watch) = (std::path::absolute(dir).unwrap_or_else(|_| dir.to_owned()), Arc::<Watch>::default());
        let loaded = versions::load(Tree::Disk(&dir, &watch), before);
        (loaded.map(|mesh| Self { watch: Arc::clone(&watch), ..mesh }), watch)
    }

    /// What was looked at when it was loaded.
    pub fn watch(&self) -> Arc<Watch> {
        Arc::clone(&self.watch)
    }

    /// The mesh whose files are these, by their paths with `/` between the parts. Nothing is read from disk but what
    /// lies outside of a mesh: its place in memory is the root, and `dir` is `/`.
    ///
    /// # Errors
    /// As [`Mesh::load`].
    pub fn from_files(files: &BTreeMap<String, String>) -> Result<Self, Vec<Finding>> {
        versions::load(Tree::Memory(files), None)
    }

    /// The mesh that comes of these files after this one, as [`Mesh::next`].
    ///
    /// # Errors
    /// As there.
    pub fn next_from_files(&self, files: &BTreeMap<String, String>) -> Result<Self, Vec<Finding>> {
        versions::load(Tree::Memory(files), Some(self))
    }

    /// The directory that it was read from.
    pub fn dir(&self) -> &Path {
        &self.dir
    }

    /// The mesh's name, which is the catalog in SQL.
    pub fn name(&self) -> &str {
        &self.declared.name
    }

    /// What was found wrong, in the order of files and lines.
    pub fn findings(&self) -> &[Finding] {
        &self.findings
    }

    /// The domains that are served.
    pub fn domains(&self) -> impl Iterator<Item = &Domain> {
        self.domains.values()
    }

    /// The domains that are there and not served, because their files are broken.
    pub fn domains_out(&self) -> impl Iterator<Item = &DomainName> {
        self.domains_out.iter()
    }

    /// The domains that are served as they were before, because their files are broken or do not go together with the
    /// mesh's own; and since when.
    pub fn domains_kept(&self) -> impl Iterator<Item = (&DomainName, SystemTime)> {
        self.versions.kept.iter().map(|(name, since)| (name, *since))
    }

    /// Since when a domain is served as it was before, if it is.
    pub fn kept_since(&self, name: &DomainName) -> Option<SystemTime> {
        self.versions.kept.get(name).copied()
    }

    /// Since when the mesh's own files hold as they were before, because they are broken; nothing when they are not.
    pub fn behind_since(&self) -> Option<SystemTime> {
        self.versions.behind
    }

    /// The products that are there and not served, because they fall short of a standard.
    pub fn withheld(&self) -> impl Iterator<Item = (&ProductName, &Withheld)> {
        self.withheld.iter().flat_map(|(name, majors)| majors.iter().map(move |major| (name, major)))
    }

    /// The domain of that name, if it is served.
    pub fn domain(&self, name: &DomainName) -> Option<&Domain> {
        self.domains.get(name)
    }

    /// The product that a name in a query means: the major that it asks for, or else the highest active one.
    /// Retired majors are not there.
    pub fn product(&self, name: &ProductRef) -> Option<&Product> {
        let majors = self.domain(name.product.domain())?.products.get(&name.product)?;
        match name.major {
            None => self.plain(&name.product, majors),
            Some(major) => majors.iter().find(|product| product.contract.major == major && product.is_alive()),
        }
    }

    /// Every served product under the name by which a query would find it: the plain name for what it means, and
    /// `name@major` for every other major that is alive.
    pub fn products(&self) -> impl Iterator<Item = (ProductRef, &Product)> {
        self.domains.values().flat_map(|domain| &domain.products).flat_map(|(name, majors)| {
            let meant = self.plain(name, majors).map(|product| product.contract.major);
            majors.iter().filter(|product| product.is_alive()).map(move |product| {
                let major = product.contract.major;
                (ProductRef { product: name.clone(), major: (meant != Some(major)).then_some(major) }, product)
            })
        })
    }

    /// The highest active major. Where none is active any more, deprecation must not break those who read the plain name.
    /// A major that is withheld keeps its meaning: the name does not fall to another one.
    fn plain<'p>(&self, name: &ProductName, majors: &'p [Product]) -> Option<&'p Product> {
        let withheld = self.withheld.get(name).map(Vec::as_slice).unwrap_or_default();
        [Status::Active, Status::Deprecated].into_iter().find_map(|status| {
            let served = majors.iter().filter(|product| product.contract.status == status);
            let served = served.max_by_key(|product| product.contract.major);
            let out = withheld.iter().filter(|major| major.status == status).map(|major| major.major).max();
            match (served, out) {
                (None, None) => None,
                (served, out) => Some(served.filter(|served| out.is_none_or(|out| out < served.contract.major))),
            }
        })?
    }

    /// The user of that id that `mesh.yaml` declares: a name, `token:name` or `certificate:name`.
    pub fn user(&self, name: &str) -> Option<&User> {
        self.declared.users.get(name)
    }

    /// The ids of the users that `mesh.yaml` declares.
    pub fn users(&self) -> impl Iterator<Item = &str> {
        self.declared.users.keys().map(String::as_str)
    }

    /// The groups that `mesh.yaml` declares.
    pub fn groups(&self) -> impl Iterator<Item = &str> {
        self.declared.groups.iter().map(String::as_str)
    }

    /// That user as one who asks, without a purpose.
    pub fn principal(&self, user: &str) -> Option<Principal> {
        self.user(user).map(|found| found.principal(user))
    }

    /// The one with whose rights derived products of a domain may run, if the standards name a group for it: somebody in
    /// that group alone, without attributes and purposes, whom no policy can name.
    pub fn owner(&self, domain: &DomainName) -> Option<Principal> {
        let (group, _) = self.declared.standards.owners_rights.get(domain.as_str())?;
        // No user, token or certificate begins so.
        let id = format!(":{domain}");
        Some(Principal { id, groups: [group.clone()].into(), attributes: BTreeMap::new(), purpose: None })
    }

    /// From which number on a count loses the tags of what is counted, where the mesh says it; else each does.
    pub fn least_count(&self) -> Option<u64> {
        self.declared.standards.least_count
    }

    /// The names of the keys under which queries of derived products may hash values, which then need no tags.
    pub fn keyed_hashes(&self) -> impl Iterator<Item = &str> {
        self.declared.standards.keyed_hashes.iter().map(|(key, _)| key.as_str())
    }

    /// The principal with a declared purpose, if one of its groups may declare it.
    ///
    /// # Errors
    /// When the mesh does not know the purpose, or the principal may not declare it.
    pub fn with_purpose(&self, principal: Principal, purpose: &str) -> Result<Principal, PurposeError> {
        if !self.declared.purposes.contains_key(purpose) {
            return Err(PurposeError::Unknown(purpose.to_owned()));
        }
        if !self.is_entitled(&principal, purpose) {
            return Err(PurposeError::NotEntitled(purpose.to_owned(), principal.id));
        }
        Ok(Principal { purpose: Some(purpose.to_owned()), ..principal })
    }

    pub(crate) fn is_entitled(&self, principal: &Principal, purpose: &str) -> bool {
        self.declared.purposes.get(purpose).is_some_and(|groups| !groups.is_disjoint(&principal.groups))
    }

    /// Whether the audit keeps statements with their literals.
    pub fn audits_in_full(&self) -> bool {
        self.declared.audit.full
    }

    /// The resource group of that principal's statements, if there is one.
    pub fn limits_of(&self, principal: &Principal) -> Option<&ResourceGroup> {
        self.declared.limits.iter().find(|group| group.is_for(principal))
    }

    /// Whether that principal may read what the audit says of others.
    pub fn is_auditor(&self, principal: &Principal) -> bool {
        !self.declared.audit.readers.is_disjoint(&principal.groups)
    }

    /// Whether `mesh.yaml` says anything about authentication.
    pub fn has_auth(&self) -> bool {
        self.declared.has_auth
    }

    /// A named key, if the mesh declares it and its secret could be read.
    pub fn key(&self, name: &str) -> Option<&Secret> {
        self.declared.keys.get(name)
    }

    /// The named keys whose secrets could be read.
    pub fn keys(&self) -> impl Iterator<Item = (&str, &Secret)> {
        self.declared.keys.iter().map(|(name, secret)| (name.as_str(), secret))
    }

    /// Whether `principal` may see that `product` exists. It decides no column, for listings of many products.
    pub fn may_discover(&self, principal: &Principal, product: &Product) -> Discovery {
        self.policies.may_discover(self, principal, product)
    }

    /// What `principal` may see of `product`.
    pub fn decide(&self, principal: &Principal, product: &Product) -> Decision {
        self.policies.decide(self, principal, product)
    }

    /// The groups and purposes that would each show `principal` more of the columns of `product`; none where it may
    /// not be discovered. Each is tried by a decision of its own, so this is for errors and explanations.
    pub fn helps(&self, principal: &Principal, product: &Product) -> Vec<Helpful> {
        self.policies.helps(self, principal, product)
    }
}

impl Product {
    pub(crate) fn is_alive(&self) -> bool {
        self.contract.status != Status::Retired
    }
}
