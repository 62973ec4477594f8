//! What is open of one domain: its catalog with what stands before it, and its stores.
//!
//! A domain whose configuration changed gets another one: everything that decides what opening it means is in its
//! fingerprint, secrets included, so that a rotated key is used.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use iceberg::TableIdent;
use moka::future::Cache;
use polder_catalog::mesh::{AwsTables, CatalogConfig, Domain, Login, Signing};
use sha2::{Digest, Sha256};
use tokio::sync::Semaphore;

use super::catalog::aws::{Buckets, Glue, Signer};
use super::catalog::breaker::{AT_ONCE, Breaker, Part};
use super::catalog::hive::Hive;
use super::catalog::postgres::{Postgres, is_server};
use super::catalog::rest::Rest;
use super::catalog::sql::Sql;
use super::catalog::{Found, PATIENCE, Pinned, Tables};
use super::error::LakeError;
use super::store::{self, Connections, Limits};
use super::view::View;
use super::{OpenStore, told, variable};
use crate::error::Error;

/// What is open of one domain.
#[derive(Debug)]
pub(super) struct DomainLake {
    pub(super) fingerprint: [u8; 32],
    pub(super) catalog: Arc<dyn Tables>,
    pub(super) breaker: Arc<Breaker>,
    /// What stands before its stores while metadata is read.
    pub(super) reading: Arc<Breaker>,
    /// How old what the catalog said of a table may be.
    pub(super) staleness: Duration,
    /// What the catalog said of its tables, for as long as it may be that old.
    found: Option<Cache<TableIdent, Arc<Found>>>,
    /// The same of its views.
    views: Option<Cache<TableIdent, Arc<View>>>,
    /// What its views said last, however long ago.
    viewed: Mutex<HashMap<TableIdent, Arc<View>>>,
    pub(super) stores: Mutex<HashMap<String, OpenStore>>,
    pub(super) connections: Arc<Connections>,
    /// For the requests to all of its stores, and for those of metadata, which wait for no data.
    pub(super) places: Arc<Semaphore>,
    pub(super) places_of_metadata: Arc<Semaphore>,
}

/// How many bytes of what one catalog said are remembered.
const FOUND: u64 = 64 * 1024 * 1024;

impl DomainLake {
    pub(super) fn new(domain: &Domain, fingerprint: [u8; 32]) -> Result<Self, LakeError> {
        let name = domain.name.as_str();
        let catalog: Arc<dyn Tables> = match &domain.catalog {
            CatalogConfig::Sql { name: catalog, uri, .. } if is_server(uri.expose()) => {
                Arc::new(Postgres::new(name, catalog, uri.expose())?)
            }
            CatalogConfig::Sql { name: catalog, uri, .. } => Arc::new(Sql::new(name, catalog, uri.expose())?),
            CatalogConfig::Rest(rest) => {
                let signer = match &rest.login {
                    Login::Signed(signing) => Some(Signer::new(name, signing, &domain.storage)?),
                    Login::Nobody | Login::Token(_) | Login::Client { .. } => None,
                };
                Arc::new(Rest::new(name, rest, signer)?)
            }
            CatalogConfig::Aws(aws) => match &aws.tables {
                AwsTables::Glue { account } => Arc::new(Glue::new(name, aws, account.clone(), &domain.storage)?),
                AwsTables::Bucket { bucket } => Arc::new(Buckets::new(name, aws, bucket, &domain.storage)?),
            },
            CatalogConfig::Hive(hive) => Arc::new(Hive::new(name, hive)?),
            CatalogConfig::Metadata(tables) => Arc::new(Pinned(tables.clone())),
        };
        let staleness = domain.asking.staleness.unwrap_or_else(|| catalog.staleness());
        let patience = domain.asking.timeout.unwrap_or(PATIENCE);
        let breaker = Arc::new(Breaker::new(name, Part::Catalog, patience));
        let reading = Arc::new(Breaker::new(name, Part::Store, patience));
        let limits = Limits::of(&domain.storage);
        Ok(Self {
            fingerprint,
            catalog,
            breaker,
            reading,
            staleness,
            found: (!staleness.is_zero()).then(|| remembering(staleness, Found::bytes)),
            viewed: Mutex::default(),
            views: (!staleness.is_zero()).then(|| remembering(staleness, View::bytes)),
            stores: Mutex::default(),
            connections: Arc::new(Connections::new(limits)),
            places: Arc::new(Semaphore::new(limits.requests)),
            places_of_metadata: Arc::new(Semaphore::new(AT_ONCE.min(limits.requests))),
        })
    }

    /// What it is configured with, in letters: what was read under another configuration is read again.
    pub(super) fn named(&self) -> String {
        self.fingerprint.iter().map(|byte| format!("{byte:02x}")).collect()
    }

    /// What the catalog says of a table, asked once for all who want to know at a time.
    pub(super) async fn find(&self, domain: &Domain, name: &str, table: &TableIdent) -> Result<Arc<Found>, Error> {
        let ask = async {
            let found = self.breaker.ask(self.catalog.find(table)).await.map_err(|error| told(domain, error))?;
            let missing = || LakeError::NoTable { domain: domain.name.to_string(), table: name.to_owned() };
            found.map(Arc::new).ok_or_else(|| told(domain, missing()))
        };
        known(self.found.as_ref(), table, ask).await
    }

    /// What the catalog says of a view, asked in the same way.
    pub(super) async fn view(&self, domain: &Domain, name: &str, view: &TableIdent) -> Result<Arc<View>, Error> {
        let told = |error| told(domain, error);
        if !self.catalog.has_views() {
            return Err(told(LakeError::Viewless { domain: domain.name.to_string() }));
        }
        let missing = || LakeError::NoView { domain: domain.name.to_string(), view: name.to_owned() };
        let ask = async {
            let found = self.breaker.ask(self.catalog.view(view)).await.map_err(told)?;
            found.map(Arc::new).ok_or_else(|| told(missing()))
        };
        let found = known(self.views.as_ref(), view, ask).await?;
        self.viewed().insert(view.clone(), Arc::clone(&found));
        Ok(found)
    }

    /// What a view said last, for whoever must not wait for the catalog.
    pub(super) fn viewed_last(&self, view: &TableIdent) -> Option<Arc<View>> {
        self.viewed().get(view).cloned()
    }

    fn viewed(&self) -> MutexGuard<'_, HashMap<TableIdent, Arc<View>>> {
        self.viewed.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// What is remembered for as long as it may be old.
fn remembering<T: Send + Sync + 'static>(staleness: Duration, bytes: fn(&T) -> usize) -> Cache<TableIdent, Arc<T>> {
    let weigh = move |_: &TableIdent, what: &Arc<T>| u32::try_from(bytes(what)).unwrap_or(u32::MAX);
    Cache::builder().max_capacity(FOUND).weigher(weigh).time_to_live(staleness).build()
}

/// What is remembered, or else asked once for all who want to know at a time.
async fn known<T: Send + Sync + 'static>(
    remembered: Option<&Cache<TableIdent, Arc<T>>>,
    table: &TableIdent,
    ask: impl Future<Output = Result<Arc<T>, Error>>,
) -> Result<Arc<T>, Error> {
    match remembered {
        Some(known) => known.try_get_with(table.clone(), ask).await.map_err(|error| Error::clone(&error)),
        None => ask.await,
    }
}

/// Everything that decides what opening this domain means.
pub(super) fn fingerprint(domain: &Domain) -> [u8; 32] {
    let mut hash = Sha256::new();
    let mut add = |text: &str| {
        hash.update(text.len().to_le_bytes());
        hash.update(text);
    };
    match &domain.catalog {
        CatalogConfig::Sql { name, uri, warehouse } => {
            ["sql", name, uri.expose(), warehouse].into_iter().for_each(&mut add)
        }
        CatalogConfig::Rest(rest) => {
            let text = |text: &Option<String>| text.clone().unwrap_or_default();
            let login = match &rest.login {
                Login::Nobody => ["nobody".to_owned(), String::new(), String::new(), String::new()],
                Login::Token(token) => ["token".to_owned(), token.expose().to_owned(), String::new(), String::new()],
                Login::Client { credential, server, scope } => {
                    ["client".to_owned(), credential.expose().to_owned(), text(server), scope.clone()]
                }
                Login::Signed(signing) => {
                    signature(signing, &mut add);
                    ["signed", "", "", ""].map(str::to_owned)
                }
            };
            let plain = [&rest.warehouse, &rest.prefix, &rest.location].map(text);
            let vended = rest.vended.to_string();
            ["rest", &rest.uri, &vended].into_iter().for_each(&mut add);
            plain.iter().chain(&login).for_each(|text| add(text));
            rest.headers.iter().flat_map(|(name, value)| [name.as_str(), value.expose()]).for_each(&mut add);
        }
        CatalogConfig::Aws(aws) => {
            let location = aws.location.as_deref().unwrap_or_default();
            ["aws", &format!("{:?}", aws.tables), &aws.uri, location].into_iter().for_each(&mut add);
            signature(&aws.signing, &mut add);
        }
        CatalogConfig::Hive(hive) => {
            add("hive");
            add(&format!("{hive:?}"));
        }
        CatalogConfig::Metadata(tables) => {
            add("metadata");
            tables.iter().flat_map(|(table, url)| [table.as_str(), url]).for_each(&mut add);
        }
    }
    // How it is asked is a part of it: a catalog that may take longer is another one.
    add(&format!("{:?}", domain.asking));
    for (setting, value) in domain.storage.iter() {
        add(&format!("{setting:?}"));
        add(value.expose());
    }
    if domain.storage.is_of_environment() {
        for name in store::identifying_variables() {
            add(&variable(name).unwrap_or_default());
        }
    }
    hash.finalize().into()
}

/// What decides how requests are signed.
fn signature(signing: &Signing, add: &mut impl FnMut(&str)) {
    add(&signing.region);
    add(&signing.service);
    for (setting, value) in signing.keys.iter() {
        add(&format!("{setting:?}"));
        add(value.expose());
    }
}
