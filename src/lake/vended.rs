//! Credentials that a catalog lends for the store of one table, and lends again before they end.
//!
//! ```text
//! loadTable: config, storage-credentials by prefix --Lease::of--> Lease --Lent--> Lender: what logs in for each request
//! ```
//!
//! What `domain.yaml` declares wins over what is lent. A lease is for one table, and no other table's store is opened with
//! it. What is lent is never printed.

use std::fmt;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use async_trait::async_trait;
use iceberg::TableIdent;
use object_store::CredentialProvider;
use object_store::aws::AwsCredential;
use object_store::azure::AzureCredential;
use object_store::gcp::GcpCredential;
use polder_catalog::mesh::Storage;
use polder_catalog::mesh::storage::Kind;
use polder_catalog::secret::Secret;
use serde::Deserialize;
use serde_json::{Map, Value};

use super::catalog::Tables;
use super::catalog::breaker::Breaker;
use super::catalog::rest::or_nothing;
use super::root::{Bucket, Root};

/// A lease is renewed this long before it ends, or after nine tenths of a short one.
const MARGIN: Duration = Duration::from_secs(60);
/// What a store refuses is asked for again no more often than this.
const PAUSE: Duration = Duration::from_secs(2);
/// What else of a lease opens a store; of two spellings the later one wins.
const PLACES: [&str; 4] = ["s3.endpoint", "client.region", "s3.region", "s3.path-style-access"];

/// Credentials for all places that begin with a prefix.
#[derive(Deserialize)]
pub(super) struct Loan {
    prefix: String,
    #[serde(default, deserialize_with = "or_nothing")]
    config: Map<String, Value>,
}

/// What one logs in with at a cloud.
#[derive(Clone)]
enum Credential {
    S3(Arc<AwsCredential>),
    Azure(Arc<AzureCredential>),
    Google(Arc<GcpCredential>),
}

/// What is lent for the store of one table.
#[derive(Clone)]
pub(super) struct Lease {
    /// Where the store is; no secrets.
    pub(super) places: Storage,
    credential: Option<Credential>,
    expires: Option<SystemTime>,
    /// When it was lent.
    since: Instant,
    /// How long before its end it is renewed.
    margin: Duration,
}

impl fmt::Debug for Lease {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Lease(…)")
    }
}

/// What a catalog says for one place: the nearest loan, and behind it the configuration of the table.
struct Said<'s> {
    nearest: Option<&'s Loan>,
    config: &'s Map<String, Value>,
}

impl<'s> Said<'s> {
    fn get(&self, key: &str) -> Option<&'s str> {
        let said = self.nearest.and_then(|loan| loan.config.get(key)).or_else(|| self.config.get(key));
        said.and_then(Value::as_str)
    }

    /// A credential and when it ends, in milliseconds.
    fn credential(&self, bucket: &Bucket) -> Option<(Credential, Option<&'s str>)> {
        match bucket {
            Bucket::S3(_) => {
                let (key_id, secret_key) = (self.get("s3.access-key-id")?, self.get("s3.secret-access-key")?);
                let token = self.get("s3.session-token").map(str::to_owned);
                let credential = AwsCredential { key_id: key_id.to_owned(), secret_key: secret_key.to_owned(), token };
                Some((Credential::S3(Arc::new(credential)), self.get("s3.session-token-expires-at-ms")))
            }
            Bucket::Google(_) => {
                let credential = GcpCredential { bearer: self.get("gcs.oauth2.token")?.to_owned() };
                Some((Credential::Google(Arc::new(credential)), self.get("gcs.oauth2.token-expires-at")))
            }
            Bucket::Azure { host, .. } => {
                let (token, end) = self.sas(host.as_deref())?;
                Some((Credential::Azure(Arc::new(AzureCredential::SASToken(pairs(token)?))), end))
            }
        }
    }

    /// The SAS token of an account: catalogs name it by its host, by either protocol, by its name, or not at all.
    fn sas(&self, host: Option<&str>) -> Option<(&'s str, Option<&'s str>)> {
        let account = host.and_then(|host| host.split('.').next());
        let dfs = host.map(|host| host.replacen(".blob.", ".dfs.", 1));
        let named = [dfs.as_deref(), host, account].into_iter().flatten().map(|name| format!(".{name}"));
        named.chain([String::new()]).find_map(|of| {
            let token = self.get(&format!("adls.sas-token{of}"))?;
            Some((token, self.get(&format!("adls.sas-token-expires-at-ms{of}"))))
        })
    }
}

/// The parts of a SAS token, which comes as the query of a URL.
fn pairs(token: &str) -> Option<Vec<(String, String)>> {
    let token = token.trim().trim_start_matches('?').replace('+', "%2B");
    let pairs: Vec<_> = url::form_urlencoded::parse(token.as_bytes()).into_owned().collect();
    pairs.iter().any(|(key, _)| key == "sig").then_some(pairs)
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
        // What is lent for a part of a table does not open the rest of it.
        if let (Some(loan), Some((base, _))) = (nearest, location.rsplit_once("/metadata/"))
            && !format!("{base}/").starts_with(&loan.prefix)
        {
            return Err("what it lends is for a part of the table, and parts are not told apart here");
        }
        let said = Said { nearest, config };
        let Some(Root::Bucket(bucket)) = Root::of(location) else { return Ok(None) };
        let lent = said.credential(&bucket);
        let signs = said.get("s3.remote-signing-enabled") == Some("true") && bucket.kind() == Kind::S3;
        if lent.is_none() && signs {
            return Err("it would sign each request to the store itself (remote signing), which is not done here");
        }
        let places = PLACES.into_iter().filter_map(|key| said.get(key).map(|value| (key, Secret::new(value))));
        let places: Storage = places.collect();
        if lent.is_none() && places.iter().next().is_none() {
            return Ok(None);
        }
        let (credential, end) = lent.unzip();
        let expires = match end.flatten() {
            None => None,
            Some(text) => {
                let after = text.parse().map_err(|_| "what it lends ends at no time")?;
                let at = UNIX_EPOCH.checked_add(Duration::from_millis(after));
                Some(at.ok_or("what it lends ends at no time")?)
            }
        };
        let life = expires.and_then(|expires| expires.duration_since(SystemTime::now()).ok());
        let margin = life.map_or(MARGIN, |life| MARGIN.min(life / 10));
        Ok(Some(Self { places, credential, expires, since: Instant::now(), margin }))
    }

    /// Whether one logs in with it at stores of a kind.
    pub(super) fn is_for(&self, kind: Kind) -> bool {
        match &self.credential {
            Some(Credential::S3(_)) => kind == Kind::S3,
            Some(Credential::Azure(_)) => kind == Kind::Azure,
            Some(Credential::Google(_)) => kind == Kind::Google,
            None => false,
        }
    }

    /// The name of the access key that is lent for S3.
    #[cfg(test)]
    pub(super) fn s3_key(&self) -> Option<&str> {
        if let Some(Credential::S3(s3)) = &self.credential { Some(&s3.key_id) } else { None }
    }

    /// Whether one logs in with it at all.
    pub(super) fn logs_in(&self) -> bool {
        self.credential.is_some()
    }

    /// Whether another one should be asked for.
    fn is_old(&self) -> bool {
        self.expires
            .is_some_and(|expires| SystemTime::now().checked_add(self.margin).is_none_or(|soon| soon >= expires))
    }

    fn is_over(&self) -> bool {
        self.expires.is_some_and(|expires| SystemTime::now() >= expires)
    }
}

/// The lease under which a store is open.
pub(super) struct Lent {
    now: Mutex<Lease>,
    renewing: tokio::sync::Mutex<()>,
    /// How often it was renewed because the store refused it, and when that was tried last.
    renewals: AtomicU64,
    tried: Mutex<Option<Instant>>,
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
        let (now, renewing, renewals, tried) =
            (Mutex::new(lease), Default::default(), Default::default(), Mutex::default());
        Self { now, renewing, renewals, tried, catalog, breaker, table }
    }

    /// Takes a lease that came with another answer, if that is a later one: what was lent before may have been taken back.
    pub(super) fn take(&self, lease: Lease) {
        let mut now = self.now.lock().unwrap_or_else(PoisonError::into_inner);
        if lease.logs_in() && lease.since > now.since {
            *now = lease;
        }
    }

    pub(super) fn is_for(&self, table: &TableIdent) -> bool {
        self.table == *table
    }

    /// How often a lease that the store refused was replaced.
    pub(super) fn renewals(&self) -> u64 {
        self.renewals.load(Ordering::Acquire)
    }

    /// Replaces a lease that the store refused, where this was not done since `before`, and says whether there is another
    /// one. A store that refuses everything makes nobody ask the catalog more than now and then.
    pub(super) async fn renew(&self, before: u64) -> bool {
        let _one_asks = self.renewing.lock().await;
        if self.renewals() != before {
            return true;
        }
        let tried = || self.tried.lock().unwrap_or_else(PoisonError::into_inner);
        if tried().is_some_and(|tried| tried.elapsed() < PAUSE) {
            return false;
        }
        let lease = match self.breaker.ask(self.catalog.find(&self.table)).await {
            Ok(Some(found)) => found.lease.filter(Lease::logs_in),
            Ok(None) | Err(_) => None,
        };
        // Behind the answer, so that who waited for one that did not come does not ask as well.
        *tried() = Some(Instant::now());
        let Some(lease) = lease else { return false };
        *self.now.lock().unwrap_or_else(PoisonError::into_inner) = lease;
        self.renewals.fetch_add(1, Ordering::AcqRel);
        true
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
            Ok(Some(found)) if found.lease.as_ref().is_some_and(Lease::logs_in) => {
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

/// Gives the credential of a lease to the store of one cloud.
pub(super) struct Lender<C> {
    lent: Arc<Lent>,
    pick: fn(Credential) -> Option<Arc<C>>,
}

impl<C> fmt::Debug for Lender<C> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Lender").field("lent", &self.lent).finish_non_exhaustive()
    }
}

impl Lender<AwsCredential> {
    pub(super) fn s3(lent: &Arc<Lent>) -> Self {
        let pick = |credential| if let Credential::S3(s3) = credential { Some(s3) } else { None };
        Self { lent: Arc::clone(lent), pick }
    }
}

impl Lender<AzureCredential> {
    pub(super) fn azure(lent: &Arc<Lent>) -> Self {
        let pick = |credential| if let Credential::Azure(azure) = credential { Some(azure) } else { None };
        Self { lent: Arc::clone(lent), pick }
    }
}

impl Lender<GcpCredential> {
    pub(super) fn google(lent: &Arc<Lent>) -> Self {
        let pick = |credential| if let Credential::Google(google) = credential { Some(google) } else { None };
        Self { lent: Arc::clone(lent), pick }
    }
}

#[async_trait]
impl<C: fmt::Debug + Send + Sync + 'static> CredentialProvider for Lender<C> {
    type Credential = C;

    async fn get_credential(&self) -> object_store::Result<Arc<C>> {
        let failed = |what: &'static str| object_store::Error::Generic { store: "lent", source: what.into() };
        let lease = self.lent.lasting().await.map_err(failed)?;
        lease.credential.and_then(self.pick).ok_or_else(|| failed("the catalog lends nothing any more"))
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::panic, reason = "tests")]
mod tests {
    use serde_json::json;

    use super::*;

    fn lease(location: &str, answer: Value) -> Option<Lease> {
        let loans: Vec<Loan> = serde_json::from_value(answer).unwrap();
        Lease::of(&Map::new(), &loans, location).unwrap()
    }

    #[test]
    fn azure_lends_a_sas_token_by_host_by_account_or_by_none() {
        let place = "abfss://c@shop.dfs.core.windows.net/t/metadata/v1.metadata.json";
        for of in ["", ".shop", ".shop.dfs.core.windows.net", ".shop.blob.core.windows.net"] {
            let config = json!({
                format!("adls.sas-token{of}"): "?sv=2024&sig=a%2Bb+c%3D",
                format!("adls.sas-token-expires-at-ms{of}"): "4102444800000",
            });
            let lease = lease(place, json!([{ "prefix": "abfss://c@shop", "config": config }])).unwrap();
            assert!(lease.is_for(Kind::Azure) && !lease.is_for(Kind::S3), "{of}");
            assert!(lease.expires.is_some() && !lease.is_old());
            let Some(Credential::Azure(azure)) = lease.credential else { panic!("{of}") };
            let pairs = [("sv", "2024"), ("sig", "a+b+c=")].map(|(key, value)| (key.to_owned(), value.to_owned()));
            assert_eq!(*azure, AzureCredential::SASToken(pairs.to_vec()));
        }
        let other = json!([{ "prefix": "", "config": { "adls.sas-token.other": "sv=1&sig=x" } }]);
        assert!(lease(place, other).is_none());
        let no_token = json!([{ "prefix": "", "config": { "adls.sas-token": "nonsense" } }]);
        assert!(lease(place, no_token).is_none());
    }

    #[test]
    fn google_lends_a_token_by_the_longest_prefix_and_for_no_other_cloud() {
        let loans = json!([
            { "prefix": "gs://lake/", "config": { "gcs.oauth2.token": "wide" } },
            { "prefix": "gs://lake/t", "config": { "gcs.oauth2.token": "near", "gcs.oauth2.token-expires-at": "1" } },
        ]);
        let near = lease("gs://lake/t/metadata/v1.metadata.json", loans.clone()).unwrap();
        assert!(near.is_for(Kind::Google) && near.is_over());
        let Some(Credential::Google(google)) = &near.credential else { panic!() };
        assert_eq!(google.bearer, "near");
        assert!(!format!("{near:?}").contains("near"));
        assert!(lease("s3://lake/t/metadata/v1.metadata.json", loans).is_none());
    }

    #[test]
    fn an_end_that_is_no_time_is_refused() {
        let config = json!({ "gcs.oauth2.token": "x", "gcs.oauth2.token-expires-at": "soon" });
        let Value::Object(config) = config else { panic!() };
        assert!(Lease::of(&config, &[], "gs://lake/t").is_err());
    }
}
