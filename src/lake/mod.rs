//! A domain's Iceberg catalog and object store become open tables; one I/O stack for metadata and data.

mod catalog;
mod demands;
mod error;
pub mod memory;
pub mod metadata;
mod registry;
mod root;
mod storage;
mod store;

use std::collections::HashMap;
use std::sync::{Arc, Mutex, OnceLock, PoisonError};

use datafusion::execution::object_store::{ObjectStoreRegistry, ObjectStoreUrl};
use iceberg::io::FileIOBuilder;
use iceberg::{Catalog, NamespaceIdent, Runtime, TableIdent};
use object_store::path::Path;
use object_store::{ObjectStore, ObjectStoreExt};
use polder_catalog::mesh::{CatalogConfig, Domain};
use sha2::{Digest, Sha256};
use sqlx::SqlitePool;

use crate::error::Error;
use error::LakeError;
use memory::Memory;
use metadata::{Beyond, Decoded, Undecoded};
use root::Root;
use storage::LakeStorage;

/// The scheme of every store's URL: a scan of a lake is known by it, and nothing else has it.
pub const SCHEME: &str = "polder-lake";

/// Every domain's lake, opened when first asked for and kept open.
#[derive(Debug, Default)]
pub struct Lake {
    domains: Mutex<HashMap<String, Arc<DomainLake>>>,
    stores: Arc<registry::Stores>,
    memory: Memory,
    demands: demands::Demands,
}

/// What is open of one domain. A domain whose configuration changed gets another one.
#[derive(Debug)]
struct DomainLake {
    fingerprint: [u8; 32],
    catalog: OnceLock<SqlitePool>,
    stores: Mutex<HashMap<String, OpenStore>>,
}

#[derive(Debug, Clone)]
struct OpenStore {
    store: Arc<dyn ObjectStore>,
    url: ObjectStoreUrl,
    root: Root,
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
    root: Root,
}

impl OpenTable {
    /// Where in `store` the file at `location` is.
    ///
    /// # Errors
    /// `Drift` when it is not in this store.
    pub fn path(&self, location: &str) -> Result<Path, Error> {
        let outside = || LakeError::Outside { table: self.table.identifier().to_string() };
        Ok(self.root.path(location).ok_or_else(outside)?)
    }
}

/// The error for whoever asks, with the place of the declaration; the cause goes to the log alone.
fn told(domain: &Domain, error: LakeError) -> Error {
    use std::error::Error as _;
    if let Some(cause) = error.source() {
        tracing::warn!(domain = %domain.name, %error, %cause, "a lake failed");
    }
    let error = Error::from(error);
    match error.help {
        Some(_) => error,
        None => error.help(format!("its catalog is declared at {}", domain.catalog_place)),
    }
}

impl Lake {
    /// Opens `table` (`namespace.table`) of `domain`.
    ///
    /// # Errors
    /// `Storage` when the catalog or the store cannot be reached, `Drift` when there is no such table.
    pub async fn open(&self, domain: &Domain, table: &str) -> Result<OpenTable, Error> {
        let name = domain.name.as_str();
        let told = |error| told(domain, error);
        let ident = table_ident(name, table).map_err(told)?;
        let (location, opened) = catalog::in_time(name, self.locate(domain, table, &ident)).await.map_err(told)?;
        let load = async { self.metadata(domain, table, &location, &opened).await.map_err(told) };
        let decoded = self.memory.get::<Decoded>(opened.url.as_str(), &location, load).await?;
        let io = FileIOBuilder::new(Arc::new(opened.storage())).build();
        let built = Runtime::try_current().and_then(|runtime| {
            iceberg::table::Table::builder()
                .metadata(Arc::clone(&decoded.metadata))
                .metadata_location(location.clone())
                .identifier(ident)
                .file_io(io)
                .runtime(runtime)
                .readonly(true)
                .disable_cache()
                .build()
        });
        let built = built.map_err(|source| told(undecoded(name, table, &location, source)))?;
        let beyond = Arc::clone(&decoded.beyond);
        let OpenStore { store, url, root } = opened;
        let restrictions = self.demands.on(name, table);
        Ok(OpenTable { table: built, store, url, beyond, memory: self.memory.clone(), restrictions, root })
    }

    /// Whether the catalog of `domain` can restrict how its tables are read, so that what is granted of a table is known
    /// only once it is open.
    pub fn may_restrict(&self, domain: &Domain) -> bool {
        match &domain.catalog {
            CatalogConfig::Sql { .. } | CatalogConfig::Metadata(_) => self.demands.may_be(domain.name.as_str()),
        }
    }

    /// Where the table's current metadata file is.
    async fn locate(&self, domain: &Domain, name: &str, ident: &TableIdent) -> Result<(String, OpenStore), LakeError> {
        let domain_name = domain.name.as_str();
        let missing = || LakeError::NoTable { domain: domain_name.to_owned(), table: name.to_owned() };
        match &domain.catalog {
            CatalogConfig::Sql { name: catalog, uri, warehouse } => {
                let opened = self.store(domain, sql_root(domain_name, warehouse)?)?;
                let file = catalog::sqlite_file(domain_name, uri.expose())?;
                let pool = self.reading(domain, file)?;
                let failed = |source| LakeError::Catalog { domain: domain_name.to_owned(), source: Box::new(source) };
                let found = catalog::metadata_location(&pool, catalog, ident).await.map_err(failed)?;
                Ok((found.ok_or_else(missing)?, opened))
            }
            CatalogConfig::Metadata(tables) => {
                let location = tables.get(name).ok_or_else(missing)?;
                let root = Root::of_metadata(location).ok_or_else(|| bad_place(domain_name))?;
                Ok((location.clone(), self.store(domain, root)?))
            }
        }
    }

    /// Reads and decodes a metadata file.
    async fn metadata(
        &self,
        domain: &Domain,
        table: &str,
        location: &str,
        opened: &OpenStore,
    ) -> Result<Decoded, LakeError> {
        let name = domain.name.as_str();
        let outside = || LakeError::Outside { table: table.to_owned() };
        let path = opened.root.path(location).ok_or_else(outside)?;
        let failed = |source| {
            let (domain, table, file) = (name.to_owned(), table.to_owned(), file_name(location));
            LakeError::Read { domain, table, file, source: Box::new(source) }
        };
        let file = catalog::in_time(name, async {
            let found = opened.store.get(&path).await.map_err(failed)?;
            if found.meta.size > metadata::MAX_BYTES {
                return Err(undecoded(name, table, location, Undecoded::TooLong));
            }
            found.bytes().await.map_err(failed)
        });
        metadata::decode(&file.await?).map_err(|source| undecoded(name, table, location, source))
    }

    /// The catalog that tables are looked up in. One that does not exist is looked for again next time.
    fn reading(&self, domain: &Domain, file: &std::path::Path) -> Result<SqlitePool, LakeError> {
        let lake = self.domain(domain);
        if let Some(pool) = lake.catalog.get() {
            return Ok(pool.clone());
        }
        let pool = catalog::reading(domain.name.as_str(), file)?;
        Ok(lake.catalog.get_or_init(|| pool).clone())
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
            return Err(LakeError::BadCatalog { domain: name.to_owned(), what: "it has pinned metadata files only" });
        };
        let failed = |_| LakeError::BadCatalog { domain: name.to_owned(), what: "its directory cannot be made" };
        if let Root::Directory(path) = sql_root(name, warehouse)? {
            std::fs::create_dir_all(path).map_err(failed)?;
        }
        let file = catalog::sqlite_file(name, uri.expose())?;
        if let Some(parent) = file.parent() {
            std::fs::create_dir_all(parent).map_err(failed)?;
        }
        let storage = self.store(domain, sql_root(name, warehouse)?)?.storage();
        catalog::writing(name, catalog, file, warehouse, storage).await
    }

    /// The stores of all open lakes, for DataFusion to read data files with. It knows no other store.
    pub fn stores(&self) -> Arc<dyn ObjectStoreRegistry> {
        Arc::clone(&self.stores) as Arc<dyn ObjectStoreRegistry>
    }

    fn domain(&self, domain: &Domain) -> Arc<DomainLake> {
        let fingerprint = fingerprint(domain);
        let mut domains = self.domains.lock().unwrap_or_else(PoisonError::into_inner);
        match domains.get(domain.name.as_str()) {
            Some(lake) if lake.fingerprint == fingerprint => Arc::clone(lake),
            _ => {
                let lake =
                    Arc::new(DomainLake { fingerprint, catalog: OnceLock::new(), stores: Mutex::new(HashMap::new()) });
                domains.insert(domain.name.as_str().to_owned(), Arc::clone(&lake));
                lake
            }
        }
    }

    fn store(&self, domain: &Domain, root: Root) -> Result<OpenStore, LakeError> {
        let name = domain.name.as_str();
        let lake = self.domain(domain);
        let mut stores = lake.stores.lock().unwrap_or_else(PoisonError::into_inner);
        let key = format!("{root:?}");
        if let Some(open) = stores.get(&key) {
            return Ok(open.clone());
        }
        let store = store::open(name, &root, &domain.storage)?;
        let url = registry::store_url(name, &key).map_err(|_| bad_place(name))?;
        self.stores.add(&url, Arc::clone(&store));
        let open = OpenStore { store, url, root };
        stores.insert(key, open.clone());
        Ok(open)
    }
}

impl OpenStore {
    fn storage(&self) -> LakeStorage {
        LakeStorage::new(Arc::clone(&self.store), self.root.clone())
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
    LakeError::BadStore { domain: domain.to_owned(), what: "its place is neither a `file:` nor an `s3:` URL" }
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

/// Everything that decides what opening this domain means, secrets included, so that a rotated key is used.
fn fingerprint(domain: &Domain) -> [u8; 32] {
    let mut hash = Sha256::new();
    let mut add = |text: &str| {
        hash.update(text.len().to_le_bytes());
        hash.update(text);
    };
    match &domain.catalog {
        CatalogConfig::Sql { name, uri, warehouse } => ["sql", name, uri.expose(), warehouse].map(&mut add),
        CatalogConfig::Metadata(_) => ["metadata", "", "", ""].map(&mut add),
    };
    for (option, value) in &domain.storage {
        add(option);
        add(value.expose());
    }
    hash.finalize().into()
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "tests")]
pub(crate) mod fixture;
#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "tests")]
mod tests;
