//! An Iceberg REST catalog, read by us: `iceberg`'s own client drops what restricts its readers.
//!
//! ```text
//! now and then  GET {uri}/v1/config?warehouse=…                   -> what stands before the namespaces
//! per table     GET {uri}/v1/{prefix}/namespaces/{n}/tables/{t}   -> Found
//!                 401, 419: a new token, once    429, 503: again, a little later    404: no such table, or a view
//! ```
//!
//! Nothing that it answers is taken on trust: an answer has an end, a place lies where `domain.yaml` lets it lie, another
//! server is not followed, and what restricts the reading goes along with the table: one that only the catalog may plan is
//! refused. Errors name the domain alone.

mod login;

use std::fmt;
use std::sync::Arc;
use std::time::{Duration, Instant};

use async_trait::async_trait;
use bytes::Bytes;
use iceberg::TableIdent;
use polder_catalog::mesh;
use polder_catalog::secret::Secret;
use reqwest::header::{HeaderMap, HeaderName, HeaderValue};
use reqwest::{Client, Method, Request, StatusCode};
use serde::{Deserialize, Deserializer};
use serde_json::{Map, Value};
use tokio::sync::Mutex;
use url::Url;

use self::login::Tokens;
use super::aws::Signer;
use super::http::{Sent, answered, body, client, garbled, patiently};
use super::{Found, STALENESS, Tables};
use crate::lake::error::LakeError;
use crate::lake::metadata::MAX_BYTES;
use crate::lake::vended::{Lease, Loan};
use crate::lake::view::View;

/// For how long the catalog is believed about where its tables are asked for.
const ROUTE: Duration = Duration::from_secs(300);
/// What parts a namespace where the catalog says nothing else.
const SEPARATOR: &str = "\u{1f}";
const DELEGATION: HeaderName = HeaderName::from_static("x-iceberg-access-delegation");

/// A REST catalog of a domain.
pub(in crate::lake) struct Rest {
    domain: String,
    settings: mesh::Rest,
    /// What is sent with each question, and to nobody else.
    headers: HeaderMap,
    http: Client,
    tokens: Tokens,
    /// What signs each question, where no token goes along.
    signer: Option<Signer>,
    /// Where tables are asked for, and until when that is believed.
    route: Mutex<Option<(Arc<Route>, Instant)>>,
    /// The longest answer that is read.
    most: usize,
}

/// Where the catalog's tables are asked for.
#[derive(Debug)]
struct Route {
    base: Url,
    separator: String,
    /// Whether there can be views.
    views: bool,
}

#[derive(Deserialize)]
struct Config {
    #[serde(default, deserialize_with = "or_nothing")]
    defaults: Map<String, Value>,
    #[serde(default, deserialize_with = "or_nothing")]
    overrides: Map<String, Value>,
    /// What can be asked, where the catalog tells.
    endpoints: Option<Vec<String>>,
}

#[derive(Deserialize)]
#[serde(rename_all = "kebab-case")]
struct Loaded {
    metadata_location: Option<String>,
    metadata: Value,
    #[serde(default, deserialize_with = "or_nothing")]
    config: Map<String, Value>,
    #[serde(default, deserialize_with = "or_nothing")]
    storage_credentials: Vec<Loan>,
    read_restrictions: Option<Value>,
}

/// What is `null` is not there.
pub(in crate::lake) fn or_nothing<'de, D, T>(deserializer: D) -> Result<T, D::Error>
where
    D: Deserializer<'de>,
    T: Default + Deserialize<'de>,
{
    Ok(Option::deserialize(deserializer)?.unwrap_or_default())
}

impl fmt::Debug for Rest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Rest").field("domain", &self.domain).finish_non_exhaustive()
    }
}

impl Rest {
    pub(in crate::lake) fn new(domain: &str, settings: &mesh::Rest, signer: Option<Signer>) -> Result<Self, LakeError> {
        let bad = |what| LakeError::BadCatalog { domain: domain.to_owned(), what };
        let mut headers = HeaderMap::new();
        if settings.vended {
            headers.insert(DELEGATION, HeaderValue::from_static("vended-credentials"));
        }
        for (name, value) in &settings.headers {
            let name = HeaderName::from_bytes(name.as_bytes()).map_err(|_| bad("a header has no proper name"))?;
            let mut value = HeaderValue::from_str(value.expose()).map_err(|_| bad("a header has no proper value"))?;
            value.set_sensitive(true);
            headers.insert(name, value);
        }
        let http = client(domain, &settings.uri)?;
        let tokens = Tokens::new(settings.login.clone(), &settings.uri);
        Ok(Self {
            domain: domain.to_owned(),
            settings: settings.clone(),
            headers,
            http,
            tokens,
            signer,
            route: Mutex::default(),
            most: usize::try_from(MAX_BYTES).unwrap_or(usize::MAX),
        })
    }

    /// Where tables are asked for, which the catalog says itself. Whoever comes while it is asked waits for the answer.
    async fn route(&self) -> Result<Arc<Route>, LakeError> {
        let mut known = self.route.lock().await;
        if let Some((route, until)) = known.as_ref()
            && Instant::now() < *until
        {
            return Ok(Arc::clone(route));
        }
        let route = Arc::new(self.find_route().await?);
        *known = Instant::now().checked_add(ROUTE).map(|until| (Arc::clone(&route), until));
        Ok(route)
    }

    /// Asks for the way again next time, unless somebody has done so meanwhile.
    async fn forget(&self, used: &Arc<Route>) {
        let mut known = self.route.lock().await;
        if known.as_ref().is_some_and(|(route, _)| Arc::ptr_eq(route, used)) {
            *known = None;
        }
    }

    async fn find_route(&self) -> Result<Route, LakeError> {
        let garbled = |what| garbled(&self.domain, what);
        let own = Url::parse(&self.settings.uri).map_err(|_| garbled("its address is none"))?;
        let mut asked = below(&own, ["v1", "config"]).ok_or_else(|| garbled("its address is none"))?;
        if let Some(warehouse) = &self.settings.warehouse {
            asked.query_pairs_mut().append_pair("warehouse", warehouse);
        }
        let Sent { status, bytes, .. } = self.get(asked).await?;
        if !status.is_success() {
            return Err(answered(&self.domain, status));
        }
        let Config { defaults, overrides, endpoints } =
            serde_json::from_slice(&bytes).map_err(|_| garbled("its configuration is no such thing"))?;
        let said = |of: &Map<String, Value>, key: &str| of.get(key).and_then(Value::as_str).map(str::to_owned);
        let base = match said(&overrides, "uri") {
            Some(uri) => {
                let uri = Url::parse(uri.trim_end_matches('/')).map_err(|_| garbled("its address is none"))?;
                if uri.origin() != own.origin() {
                    return Err(garbled("it sends its readers to another server"));
                }
                uri
            }
            None => own,
        };
        let prefix = said(&overrides, "prefix").or_else(|| self.settings.prefix.clone());
        let prefix = prefix.or_else(|| said(&defaults, "prefix")).unwrap_or_default();
        let base = prefixed(&base, prefix.trim_matches('/')).ok_or_else(|| garbled("its prefix is no path"))?;
        let separator = said(&overrides, "namespace-separator").or_else(|| said(&defaults, "namespace-separator"));
        let separator = match separator.as_deref() {
            None | Some("%1F" | "%1f") => SEPARATOR.to_owned(),
            Some("%2E" | "%2e") => ".".to_owned(),
            Some(plain) if !plain.is_empty() && !plain.contains('%') => plain.to_owned(),
            Some(_) => return Err(garbled("its namespaces are parted by what is not known")),
        };
        let views = endpoints.is_none_or(|endpoints| endpoints.iter().any(|endpoint| endpoint.ends_with("/{view}")));
        Ok(Route { base, separator, views })
    }

    /// Asks, with a new token if this one is no longer taken, and again if the catalog is busy.
    async fn get(&self, url: Url) -> Result<Sent, LakeError> {
        let mut renewed = false;
        loop {
            let token = self.tokens.token(&self.domain, &self.http).await?;
            let sent = patiently(|| self.ask(&url, token.as_ref()), |_| false).await;
            let is_old = sent.as_ref().is_ok_and(|sent| matches!(sent.status.as_u16(), 401 | 419));
            if !is_old || renewed || !self.tokens.forget(token.as_ref()).await {
                return sent;
            }
            renewed = true;
        }
    }

    async fn ask(&self, url: &Url, token: Option<&Secret>) -> Result<Sent, LakeError> {
        let mut request = Request::new(Method::GET, url.clone());
        request.headers_mut().clone_from(&self.headers);
        if let Some(token) = token {
            let mut value = HeaderValue::from_str(&format!("Bearer {}", token.expose()))
                .map_err(|_| LakeError::Refused { domain: self.domain.clone() })?;
            value.set_sensitive(true);
            request.headers_mut().insert(reqwest::header::AUTHORIZATION, value);
        }
        if let Some(signer) = &self.signer {
            signer.sign(&mut request).await?;
        }
        body(&self.domain, &self.http, request, self.most).await
    }

    /// What stands in the answer for a table.
    fn read(&self, bytes: &[u8], asked: Instant) -> Result<Found, LakeError> {
        let garbled = |what| garbled(&self.domain, what);
        let loaded: Loaded = serde_json::from_slice(bytes).map_err(|_| garbled("it is no table"))?;
        if loaded.config.get("scan-planning-mode").is_some_and(|mode| !mode.is_null() && mode != "client") {
            return Err(garbled("it would plan each scan of the table itself, which is not done here"));
        }
        let location = loaded.metadata_location.ok_or_else(|| garbled("the table was never committed"))?;
        let lease = match self.settings.vended {
            true => Lease::of(&loaded.config, &loaded.storage_credentials, &location).map_err(garbled)?,
            false => None,
        };
        let metadata = Bytes::from(loaded.metadata.to_string());
        let restrictions = loaded.read_restrictions.filter(|value| !value.is_null()).map(Arc::new);
        Ok(Found { location, metadata: Some(metadata), restrictions, lease, asked })
    }

    /// The answer for one thing in a namespace, if the catalog has it.
    async fn had(&self, route: &Arc<Route>, kind: &str, table: &TableIdent) -> Result<Option<Bytes>, LakeError> {
        let sent = self.thing(route, kind, table).await;
        let Ok(Sent { status, bytes, .. }) = sent.as_ref() else {
            self.forget(route).await;
            return sent.map(|_| None);
        };
        if status.is_success() {
            return sent.map(|sent| Some(sent.bytes));
        }
        // It may have moved.
        self.forget(route).await;
        // Also a server that is no catalog answers 404; a catalog says what is missing.
        let says_why = || serde_json::from_slice::<Value>(bytes).is_ok_and(|answer| answer.get("error").is_some());
        if *status != StatusCode::NOT_FOUND || !says_why() {
            return Err(answered(&self.domain, *status));
        }
        Ok(None)
    }

    /// One thing in a namespace: a table, or a view.
    async fn thing(&self, route: &Route, kind: &str, table: &TableIdent) -> Result<Sent, LakeError> {
        let namespace = table.namespace().join(&route.separator);
        let url = below(&route.base, ["namespaces", &namespace, kind, table.name()]);
        self.get(url.ok_or_else(|| garbled(&self.domain, "its address is none"))?).await
    }
}

#[async_trait]
impl Tables for Rest {
    async fn find(&self, table: &TableIdent) -> Result<Option<Found>, LakeError> {
        let asked = Instant::now();
        let route = self.route().await?;
        if let Some(bytes) = self.had(&route, "tables", table).await? {
            return self.read(&bytes, asked).map(Some);
        }
        if route.views && self.thing(&route, "views", table).await.is_ok_and(|sent| sent.status.is_success()) {
            return Err(LakeError::View { domain: self.domain.clone(), table: table.to_string() });
        }
        Ok(None)
    }

    async fn view(&self, view: &TableIdent) -> Result<Option<View>, LakeError> {
        let route = self.route().await?;
        let Some(bytes) = self.had(&route, "views", view).await? else { return Ok(None) };
        View::decode(&bytes).map(Some).ok_or_else(|| garbled(&self.domain, "it is no view"))
    }

    fn has_views(&self) -> bool {
        true
    }

    fn staleness(&self) -> Duration {
        STALENESS
    }

    fn may_restrict(&self) -> bool {
        true
    }
}

/// `base` with these parts behind it, each as one part whatever is in it.
fn below<'p>(base: &Url, parts: impl IntoIterator<Item = &'p str>) -> Option<Url> {
    let mut url = base.clone();
    url.path_segments_mut().ok()?.pop_if_empty().extend(parts);
    Some(url)
}

/// Where tables are under a prefix, which is a path as it stands: a catalog encodes what is in it.
fn prefixed(base: &Url, prefix: &str) -> Option<Url> {
    let plain = |part: &str| !matches!(part.to_ascii_lowercase().replace("%2e", ".").as_str(), "." | "..");
    if prefix.contains(['?', '#', '\\']) || !prefix.split('/').all(plain) {
        return None;
    }
    let base = base.as_str().trim_end_matches('/');
    Url::parse(&if prefix.is_empty() { format!("{base}/v1") } else { format!("{base}/v1/{prefix}") }).ok()
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "tests")]
pub(in crate::lake) mod tests;
