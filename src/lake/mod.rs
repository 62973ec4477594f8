//! A domain's Iceberg catalog and object store become open tables; one I/O stack for metadata and data.

mod budget;
pub mod cache;
mod catalog;
mod cause;
mod demands;
mod domain;
mod error;
mod health;
mod io;
mod local;
pub mod memory;
pub mod metadata;
mod registry;
mod renewing;
mod root;
mod storage;
mod store;
mod vended;
mod view;

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::time::Instant;

use datafusion::execution::object_store::{ObjectStoreRegistry, ObjectStoreUrl};
use iceberg::io::FileIOBuilder;
use iceberg::spec::TableMetadata;
use iceberg::{Catalog, NamespaceIdent, Runtime, TableIdent};
use object_store::path::Path;
use object_store::{ObjectStore, ObjectStoreExt};
use polder_catalog::mesh::{CatalogConfig, Domain};
use tokio::sync::Semaphore;

use crate::error::Error;
use budget::Budgeted;
use cache::Cache as Blocks;
use catalog::{Found, sql};
use domain::{DomainLake, fingerprint};
use error::LakeError;
use local::Local;
use memory::Memory;
use metadata::{Beyond, Decoded, Undecoded};
use renewing::Renewing;
use root::Root;
use storage::LakeStorage;
use store::Opening;
use vended::Lent;

pub use catalog::STALENESS;
pub use catalog::breaker::Ailing;
pub use cause::cause;
pub use view::{Text, View};

/// The scheme of every store's URL: a scan of a lake is known by it, and nothing else has it.
pub const SCHEME: &str = "polder-lake";

/// How lakes are opened.
#[derive(Debug, Clone, Default)]
pub struct Options {
    /// Where what is read of stores is kept, if anywhere.
    pub cache: Option<cache::Options>,
    /// What stands between us and every store, directories included, if anything.
    pub between: Option<Arc<dyn Between>>,
}

/// Something between us and stores: it measures or slows them down.
pub trait Between: std::fmt::Debug + Send + Sync {
    /// The store to ask instead.
    fn before(&self, store: Arc<dyn ObjectStore>) -> Arc<dyn ObjectStore>;
}

/// Every domain's lake, opened when first asked for and kept open.
#[derive(Debug, Default)]
pub struct Lake {
    domains: Mutex<HashMap<String, Arc<DomainLake>>>,
    stores: Arc<registry::Stores>,
    memory: Memory,
    cache: Option<Blocks>,
    between: Option<Arc<dyn Between>>,
    demands: demands::Demands,
}

#[derive(Debug, Clone)]
struct OpenStore {
    store: Arc<dyn ObjectStore>,
    /// The same for metadata, which waits for no data.
    meta: Arc<dyn ObjectStore>,
    url: ObjectStoreUrl,
    root: Root,
    /// What its credentials come from, where a catalog lends them.
    lent: Option<Arc<Lent>>,
}

/// An Iceberg table at the metadata that its catalog pointed to when it was opened.
#[derive(Debug, Clone)]
pub struct OpenTable {
    /// The table; its `FileIO` reads through `store`.
    pub table: iceberg::table::Table,
    /// Where the table's files are.
    pub store: Arc<dyn ObjectStore>,
    /// The name under which DataFusion finds `store`; it names the domain, so that no domain reads with another's
    /// credentials.
    pub url: ObjectStoreUrl,
    /// What its metadata says that `table` cannot hold.
    pub beyond: Arc<Beyond>,
    /// What was decoded from files of this lake and of others.
    pub memory: Memory,
    /// The `read-restrictions` that its catalog demands of this reader, none where it demands nothing.
    pub restrictions: Option<Arc<serde_json::Value>>,
    /// Until when that may be relied on, where the catalog can demand something else at any time.
    pub until: Option<Instant>,
    domain: String,
    root: Root,
}

/// What tells one state of a table from another: that it is the very same metadata, read through the very same store.
/// It keeps neither of them.
#[derive(Debug, Clone)]
pub struct Identity {
    metadata: Weak<TableMetadata>,
    store: Weak<dyn ObjectStore>,
}

impl PartialEq for Identity {
    fn eq(&self, other: &Self) -> bool {
        // What a weak pointer points to is never made anew at the same place.
        Weak::ptr_eq(&self.metadata, &other.metadata) && Weak::ptr_eq(&self.store, &other.store)
    }
}

impl OpenTable {
    /// What it has alone. Metadata is one object for as long as the catalog points to it.
    pub fn identity(&self) -> Identity {
        Identity { metadata: Arc::downgrade(&self.table.metadata_ref()), store: Arc::downgrade(&self.store) }
    }

    /// The table as errors name it: other domains may have one of the same name.
    pub fn told(&self) -> String {
        format!("`{}` in domain `{}`", self.table.identifier(), self.domain)
    }

    /// Where in `store` the file at `location` is.
    ///
    /// # Errors
    /// `Drift` when it is not in this store.
    pub fn path(&self, location: &str) -> Result<Path, Error> {
        let outside = || LakeError::Outside { table: self.told() };
        Ok(self.root.path(location).ok_or_else(outside)?)
    }
}

/// The error for whoever asks, with the place of the declaration; what kind of failure caused it goes to the log alone.
fn told(domain: &Domain, error: LakeError) -> Error {
    use std::error::Error as _;
    if let Some(source) = error.source() {
        tracing::warn!(domain = %domain.name, %error, cause = cause(source), "a lake failed");
    }
    let error = Error::from(error);
    match error.help {
        Some(_) => error,
        None => error.help(format!("its catalog is declared at {}", domain.catalog_place)),
    }
}

impl Lake {
    /// Lakes that are opened in a certain way.
    ///
    /// # Errors
    /// When the cache cannot be opened.
    pub fn new(options: Options) -> Result<Self, Error> {
        let cache = options.cache.as_ref().map(Blocks::open).transpose()?;
        Ok(Self { cache, between: options.between, ..Self::default() })
    }

    /// The cache of what is read of stores, if there is one.
    pub fn cache(&self) -> Option<&Blocks> {
        self.cache.as_ref()
    }

    /// Opens `table` (`namespace.table`) of `domain`.
    ///
    /// # Errors
    /// `Storage` when the catalog or the store cannot be reached, `Drift` when there is no such table.
    pub async fn open(&self, domain: &Domain, table: &str) -> Result<OpenTable, Error> {
        let name = domain.name.as_str();
        let told = |error| told(domain, error);
        let ident = table_ident(name, table).map_err(told)?;
        let lake = self.domain(domain).map_err(told)?;
        let found = lake.find(domain, table, &ident).await?;
        let opened = self.store_of(domain, &lake, &found, &ident).map_err(told)?;
        let load = async { self.metadata(domain, &lake, table, &found, &opened).await.map_err(told) };
        let decoded = self.memory.get::<Decoded>(opened.url.as_str(), &found.location, load).await?;
        let storage = opened.storage().behind(Arc::clone(&lake.reading));
        let io = FileIOBuilder::new(Arc::new(storage)).build();
        let built = Runtime::try_current().and_then(|runtime| {
            iceberg::table::Table::builder()
                .metadata(Arc::clone(&decoded.metadata))
                .metadata_location(found.location.clone())
                .identifier(ident)
                .file_io(io)
                .runtime(runtime)
                .readonly(true)
                .disable_cache()
                .build()
        });
        let built = built.map_err(|source| told(undecoded(name, table, &found.location, source)))?;
        let beyond = Arc::clone(&decoded.beyond);
        let OpenStore { store, url, root, .. } = opened;
        let restrictions = found.restrictions.clone().or_else(|| self.demands.on(name, table));
        let restricts = lake.catalog.may_restrict() || self.demands.may_be(name);
        let until = restricts.then(|| found.asked + lake.staleness);
        Ok(OpenTable {
            table: built,
            store,
            url,
            beyond,
            memory: self.memory.clone(),
            restrictions,
            until,
            domain: name.to_owned(),
            root,
        })
    }

    /// What `view` (`namespace.view`) of `domain` is now, or was a moment ago.
    ///
    /// # Errors
    /// `Storage` when the catalog cannot be reached, `Drift` when it has no such view.
    pub async fn view(&self, domain: &Domain, view: &str) -> Result<Arc<View>, Error> {
        let told = |error| told(domain, error);
        let ident = table_ident(domain.name.as_str(), view).map_err(told)?;
        self.domain(domain).map_err(told)?.view(domain, view, &ident).await
    }

    /// What `view` was when somebody read it last, if anybody did. No catalog is asked.
    pub fn viewed_last(&self, domain: &Domain, view: &str) -> Option<Arc<View>> {
        let ident = table_ident(domain.name.as_str(), view).ok()?;
        self.domain(domain).ok()?.viewed_last(&ident)
    }

    /// What the catalog of `domain` demands of the readers of a table now, or a moment ago.
    ///
    /// # Errors
    /// As for opening it.
    pub async fn restrictions(&self, domain: &Domain, table: &str) -> Result<Option<Arc<serde_json::Value>>, Error> {
        let name = domain.name.as_str();
        let told = |error| told(domain, error);
        let ident = table_ident(name, table).map_err(told)?;
        let found = self.domain(domain).map_err(told)?.find(domain, table, &ident).await?;
        Ok(found.restrictions.clone().or_else(|| self.demands.on(name, table)))
    }

    /// Forgets what is open of domains other than these, and of these as they were configured before. What a query still
    /// reads stays open for it.
    pub fn keep<'d>(&self, domains: impl IntoIterator<Item = &'d Domain>) {
        let kept: HashMap<&str, [u8; 32]> =
            domains.into_iter().map(|domain| (domain.name.as_str(), fingerprint(domain))).collect();
        let mut domains = self.domains.lock().unwrap_or_else(PoisonError::into_inner);
        domains.retain(|name, lake| kept.get(name.as_str()) == Some(&lake.fingerprint));
    }

    /// Whether the catalog of `domain` can restrict how its tables are read, so that what is granted of a table is known
    /// only once it is open.
    pub fn may_restrict(&self, domain: &Domain) -> bool {
        self.domain(domain).map_or(true, |lake| lake.catalog.may_restrict())
            || self.demands.may_be(domain.name.as_str())
    }

    /// The store of a table that was found.
    fn store_of(
        &self,
        domain: &Domain,
        lake: &DomainLake,
        found: &Found,
        table: &TableIdent,
    ) -> Result<OpenStore, LakeError> {
        let name = domain.name.as_str();
        let root = match &domain.catalog {
            CatalogConfig::Sql { warehouse, .. } => sql_root(name, warehouse)?,
            CatalogConfig::Metadata(_) => Root::of_metadata(&found.location).ok_or_else(|| bad_place(name))?,
            CatalogConfig::Rest(rest) => allowed(name, rest.location.as_deref(), &found.location)?,
            CatalogConfig::Hive(hive) => allowed(name, hive.location.as_deref(), &found.location)?,
            CatalogConfig::Aws(aws) => allowed(name, aws.location.as_deref(), &found.location)?,
        };
        match &found.lease {
            Some(lease) => self.lent(domain, lake, root, lease, table),
            None => self.store(domain, lake, root),
        }
    }

    /// Reads and decodes a metadata file.
    async fn metadata(
        &self,
        domain: &Domain,
        lake: &DomainLake,
        table: &str,
        found: &Found,
        opened: &OpenStore,
    ) -> Result<Decoded, LakeError> {
        let (name, location) = (domain.name.as_str(), &found.location);
        if let Some(metadata) = &found.metadata {
            return metadata::decode(metadata).map_err(|source| undecoded(name, table, location, source));
        }
        let outside = || LakeError::Outside { table: format!("`{table}` in domain `{name}`") };
        let path = opened.root.path(location).ok_or_else(outside)?;
        let failed = |source| {
            let (domain, table, file) = (name.to_owned(), table.to_owned(), file_name(location));
            LakeError::Read { domain, table, file, source: Box::new(source) }
        };
        let file = lake.reading.ask(async {
            let found = opened.store.get(&path).await.map_err(failed)?;
            if found.meta.size > metadata::MAX_BYTES {
                return Err(undecoded(name, table, location, Undecoded::TooLong));
            }
            found.bytes().await.map_err(failed)
        });
        metadata::decode(&file.await?).map_err(|source| undecoded(name, table, location, source))
    }

    /// The domain's catalog itself, which can be written. It comes into being with its directories.
    ///
    /// # Errors
    /// `Storage` when it cannot be opened, or the domain has pinned metadata files instead of a catalog.
    pub async fn catalog(&self, domain: &Domain) -> Result<Arc<dyn Catalog>, Error> {
        self.writing(domain).await.map_err(|error| told(domain, error))
    }

    async fn writing(&self, domain: &Domain) -> Result<Arc<dyn Catalog>, LakeError> {
        let name = domain.name.as_str();
        let CatalogConfig::Sql { name: catalog, uri, warehouse } = &domain.catalog else {
            return Err(LakeError::BadCatalog { domain: name.to_owned(), what: "it is only read" });
        };
        let failed = |_| LakeError::BadCatalog { domain: name.to_owned(), what: "its directory cannot be made" };
        if let Root::Directory(path) = sql_root(name, warehouse)? {
            std::fs::create_dir_all(path).map_err(failed)?;
        }
        let file = sql::sqlite_file(name, uri.expose())?;
        if let Some(parent) = file.parent() {
            std::fs::create_dir_all(parent).map_err(failed)?;
        }
        let storage = self.store(domain, &*self.domain(domain)?, sql_root(name, warehouse)?)?.storage();
        sql::writing(name, catalog, file, warehouse, storage).await
    }

    /// The stores of all open lakes, for DataFusion to read data files with. It knows no other store.
    pub fn stores(&self) -> Arc<dyn ObjectStoreRegistry> {
        Arc::clone(&self.stores) as Arc<dyn ObjectStoreRegistry>
    }

    fn domain(&self, domain: &Domain) -> Result<Arc<DomainLake>, LakeError> {
        let fingerprint = fingerprint(domain);
        let mut domains = self.domains.lock().unwrap_or_else(PoisonError::into_inner);
        match domains.get(domain.name.as_str()) {
            Some(lake) if lake.fingerprint == fingerprint => Ok(Arc::clone(lake)),
            _ => {
                let lake = Arc::new(DomainLake::new(domain, fingerprint)?);
                domains.insert(domain.name.as_str().to_owned(), Arc::clone(&lake));
                Ok(lake)
            }
        }
    }

    /// The store below `root` as the domain declares it.
    fn store(&self, domain: &Domain, lake: &DomainLake, root: Root) -> Result<OpenStore, LakeError> {
        let key = format!("{root:?} as {}", lake.named());
        self.kept(domain, lake, key, None, |opening| Ok((opening.open(&root, None)?, None, root)))
    }

    /// The store of one table, with what its catalog lends for it.
    fn lent(
        &self,
        domain: &Domain,
        lake: &DomainLake,
        root: Root,
        lease: &vended::Lease,
        table: &TableIdent,
    ) -> Result<OpenStore, LakeError> {
        let places: Vec<_> = lease.places.iter().map(|(setting, value)| (setting, value.expose())).collect();
        let keys = lease.logs_in();
        let key = format!("{root:?} for {table} at {places:?}, {keys}, as {}", lake.named());
        let open = self.kept(domain, lake, key, Some(table), |opening| {
            let lent =
                Arc::new(Lent::new(lease.clone(), Arc::clone(&lake.catalog), Arc::clone(&lake.breaker), table.clone()));
            let store = opening.open(&root, Some((lease, &lent)))?;
            let store: Arc<dyn ObjectStore> = match lease.logs_in() {
                true => Arc::new(Renewing::new(store, Arc::clone(&lent))),
                false => store,
            };
            Ok((store, Some(lent), root))
        })?;
        if let Some(lent) = &open.lent {
            lent.take(lease.clone());
        }
        Ok(open)
    }

    /// A store that is kept open, or the one that `open` makes. One that was lent for a table takes the place of others
    /// that were.
    fn kept(
        &self,
        domain: &Domain,
        lake: &DomainLake,
        key: String,
        lent_for: Option<&TableIdent>,
        open: impl FnOnce(&Opening<'_>) -> Result<(Arc<dyn ObjectStore>, Option<Arc<Lent>>, Root), LakeError>,
    ) -> Result<OpenStore, LakeError> {
        let name = domain.name.as_str();
        let mut stores = lake.stores.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(open) = stores.get(&key) {
            return Ok(open.clone());
        }
        let Domain { storage, .. } = domain;
        let opening = Opening { domain: name, storage, connections: &lake.connections, variables: &variable };
        let (store, lent, root) = open(&opening)?;
        let identity = format!("{name} {key}");
        let meta = self.reached(lake, &root, Arc::clone(&store), &identity, &lake.places_of_metadata);
        let store = self.reached(lake, &root, store, &identity, &lake.places);
        let url = registry::store_url(name, &key).map_err(|_| bad_place(name))?;
        self.stores.add(&url, &store);
        if let Some(table) = lent_for {
            stores.retain(|_, open| !open.lent.as_ref().is_some_and(|lent| lent.is_for(table)));
        }
        let open = OpenStore { store, meta, url, root, lent };
        stores.insert(key, open.clone());
        Ok(open)
    }
}

impl Lake {
    /// A store as it is asked: within the places of its domain, and only for what is not kept. Nothing is kept of a directory of
    /// this machine.
    fn reached(
        &self,
        lake: &DomainLake,
        root: &Root,
        store: Arc<dyn ObjectStore>,
        identity: &str,
        places: &Arc<Semaphore>,
    ) -> Arc<dyn ObjectStore> {
        let store = match (&self.between, root) {
            (None, Root::Directory(_)) => return Arc::new(Local::new(store, Arc::clone(places))),
            (None, _) => store,
            (Some(between), _) => between.before(store),
        };
        let store: Arc<dyn ObjectStore> = Arc::new(Budgeted::new(store, Arc::clone(places), Arc::clone(&lake.reading)));
        match &self.cache {
            Some(cache) => cache.over(store, identity),
            None => store,
        }
    }
}

/// A variable of the process.
fn variable(name: &str) -> Option<String> {
    std::env::var(name).ok()
}

impl OpenStore {
    fn storage(&self) -> LakeStorage {
        LakeStorage::new(Arc::clone(&self.meta), self.root.clone())
    }
}

fn undecoded(
    domain: &str,
    table: &str,
    location: &str,
    source: impl Into<Box<dyn std::error::Error + Send + Sync>>,
) -> LakeError {
    let (domain, table, file) = (domain.to_owned(), table.to_owned(), file_name(location));
    LakeError::Metadata { domain, table, file, source: source.into() }
}

/// What is behind the last slash of a location.
fn file_name(location: &str) -> String {
    location.rsplit('/').next().unwrap_or_default().to_owned()
}

fn bad_place(domain: &str) -> LakeError {
    LakeError::BadStore { domain: domain.to_owned(), what: "its place is of no kind that is read" }
}

/// Where the store of a table begins whose catalog says where it is. A directory of this machine or a web server must be declared:
/// nothing else keeps a catalog from pointing at what only this machine can read.
fn allowed(domain: &str, declared: Option<&str>, location: &str) -> Result<Root, LakeError> {
    let outside = |what| LakeError::BadStore { domain: domain.to_owned(), what };
    match declared {
        None => match Root::of(location) {
            Some(root @ (Root::Bucket(_) | Root::Within(..))) => Ok(root),
            Some(Root::Directory(_)) => {
                Err(outside("its catalog points at this machine, and `location` in its `catalog` does not"))
            }
            Some(Root::Web(_)) => {
                Err(outside("its catalog points at a web server, and `location` in its `catalog` does not"))
            }
            None => Err(bad_place(domain)),
        },
        Some(declared) => {
            let root = Root::within(declared).ok_or_else(|| bad_place(domain))?;
            match root.path(location) {
                Some(_) => Ok(root),
                None => Err(outside("its catalog points at what lies outside its `location`")),
            }
        }
    }
}

fn sql_root(domain: &str, warehouse: &str) -> Result<Root, LakeError> {
    Root::of(warehouse).ok_or_else(|| bad_place(domain))
}

fn table_ident(domain: &str, table: &str) -> Result<TableIdent, LakeError> {
    let wrong = || LakeError::TableName { domain: domain.to_owned(), table: table.to_owned() };
    let mut parts: Vec<String> = table.split('.').map(str::to_owned).collect();
    if parts.len() < 2 || parts.iter().any(String::is_empty) {
        return Err(wrong());
    }
    let name = parts.pop().ok_or_else(wrong)?;
    Ok(TableIdent::new(NamespaceIdent::from_vec(parts).map_err(|_| wrong())?, name))
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "tests")]
pub(crate) mod fixture;
#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "tests")]
mod tests;
