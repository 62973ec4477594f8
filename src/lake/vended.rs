//! Credentials that a catalog lends for the store of one table, and lends again before they end.
//!
//! ```text
//! loadTable: config, storage-credentials by prefix --Lease::of--> Lease --Lent--> what signs each request to the store
//! ```
//!
//! What `domain.yaml` declares wins over what is lent. A lease is for one table, and no other table's store is opened with
//! it. What is lent is never printed.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use async_trait::async_trait;
use iceberg::TableIdent;
use object_store::CredentialProvider;
use object_store::aws::AwsCredential;
use polder_catalog::secret::Secret;
use serde::Deserialize;
use serde_json::{Map, Value};

use super::catalog::Tables;
use super::catalog::breaker::Breaker;
use super::catalog::rest::or_nothing;

/// A lease is renewed this long before it ends, or after nine tenths of a short one.
const MARGIN: Duration = Duration::from_secs(60);
const KEY: &str = "s3.access-key-id";
const SECRET: &str = "s3.secret-access-key";
const SESSION: &str = "s3.session-token";
const EXPIRY: &str = "s3.session-token-expires-at-ms";
/// What else of a lease opens a store.
const PLACES: [&str; 4] = ["s3.endpoint", "s3.region", "client.region", "s3.path-style-access"];

/// Credentials for all places that begin with a prefix.
#[derive(Deserialize)]
pub(super) struct Loan {
    prefix: String,
    #[serde(default, deserialize_with = "or_nothing")]
    config: Map<String, Value>,
}

/// What is lent for the store of one table.
#[derive(Clone)]
pub(super) struct Lease {
    /// Where the store is; no secrets.
    pub(super) places: BTreeMap<String, Secret>,
    pub(super) credential: Option<Arc<AwsCredential>>,
    expires: Option<SystemTime>,
    /// How long before its end it is renewed.
    margin: Duration,
}

impl fmt::Debug for Lease {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Lease(…)")
    }
}

impl Lease {
    /// What a catalog lends for the table whose metadata is at `location`, if anything.
    pub(super) fn of(
        config: &Map<String, Value>,
        loans: &[Loan],
        location: &str,
    ) -> Result<Option<Self>, &'static str> {
        let nearest =
            loans.iter().filter(|loan| location.starts_with(&loan.prefix)).max_by_key(|loan| loan.prefix.len());
        let said = |key: &str| {
            let said = nearest.and_then(|loan| loan.config.get(key)).or_else(|| config.get(key));
            said.and_then(Value::as_str)
        };
        let credential = match (said(KEY), said(SECRET)) {
            (Some(key), Some(secret)) => Some(Arc::new(AwsCredential {
                key_id: key.to_owned(),
                secret_key: secret.to_owned(),
                token: said(SESSION).map(str::to_owned),
            })),
            _ if said("s3.remote-signing-enabled") == Some("true") => {
                return Err("it would sign each request to the store itself (remote signing), which is not done here");
            }
            _ => None,
        };
        let places: BTreeMap<String, Secret> =
            PLACES.into_iter().filter_map(|key| said(key).map(|value| (key.to_owned(), Secret::new(value)))).collect();
        if credential.is_none() && places.is_empty() {
            return Ok(None);
        }
        let expires = match said(EXPIRY) {
            None => None,
            Some(text) => {
                let after = text.parse().map_err(|_| "what it lends ends at no time")?;
                let at = UNIX_EPOCH.checked_add(Duration::from_millis(after));
                Some(at.ok_or("what it lends ends at no time")?)
            }
        };
        let life = expires.and_then(|expires| expires.duration_since(SystemTime::now()).ok());
        let margin = life.map_or(MARGIN, |life| MARGIN.min(life / 10));
        Ok(Some(Self { places, credential, expires, margin }))
    }

    /// Whether another one should be asked for.
    fn is_old(&self) -> bool {
        self.expires
            .is_some_and(|expires| SystemTime::now().checked_add(self.margin).is_none_or(|soon| soon >= expires))
    }

    /// Whether it is good for longer than another.
    fn outlasts(&self, other: &Self) -> bool {
        match (self.expires, other.expires) {
            (Some(own), Some(others)) => own > others,
            (own, _) => own.is_none(),
        }
    }

    fn is_over(&self) -> bool {
        self.expires.is_some_and(|expires| SystemTime::now() >= expires)
    }
}

/// The lease under which a store is open.
pub(super) struct Lent {
    now: Mutex<Lease>,
    renewing: tokio::sync::Mutex<()>,
    catalog: Arc<dyn Tables>,
    breaker: Arc<Breaker>,
    table: TableIdent,
}

impl fmt::Debug for Lent {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Lent").field("table", &self.table).finish_non_exhaustive()
    }
}

impl Lent {
    pub(super) fn new(lease: Lease, catalog: Arc<dyn Tables>, breaker: Arc<Breaker>, table: TableIdent) -> Self {
        Self { now: Mutex::new(lease), renewing: tokio::sync::Mutex::default(), catalog, breaker, table }
    }

    /// Takes a lease that came with another answer, if it is good for longer.
    pub(super) fn take(&self, lease: Lease) {
        let mut now = self.now.lock().unwrap_or_else(PoisonError::into_inner);
        if lease.credential.is_some() && lease.outlasts(&now) {
            *now = lease;
        }
    }

    pub(super) fn is_for(&self, table: &TableIdent) -> bool {
        self.table == *table
    }

    fn now(&self) -> Lease {
        self.now.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// A lease that lasts, asked for once however many wait for it.
    async fn lasting(&self) -> Result<Lease, &'static str> {
        let now = self.now();
        if !now.is_old() {
            return Ok(now);
        }
        let _one_asks = self.renewing.lock().await;
        let now = self.now();
        if !now.is_old() {
            return Ok(now);
        }
        match self.breaker.ask(self.catalog.find(&self.table)).await {
            Ok(Some(found)) if found.lease.as_ref().is_some_and(|lease| lease.credential.is_some()) => {
                let lease = found.lease.ok_or("the catalog lends nothing any more")?;
                self.take(lease.clone());
                Ok(lease)
            }
            _ if !now.is_over() => Ok(now),
            Ok(_) => Err("the catalog lends nothing any more"),
            Err(_) => Err("the catalog could not be asked for new credentials"),
        }
    }
}

#[async_trait]
impl CredentialProvider for Lent {
    type Credential = AwsCredential;

    async fn get_credential(&self) -> object_store::Result<Arc<AwsCredential>> {
        let failed = |what: &'static str| object_store::Error::Generic { store: "lent", source: what.into() };
        let lease = self.lasting().await.map_err(failed)?;
        lease.credential.ok_or_else(|| failed("the catalog lends nothing any more"))
    }
}
