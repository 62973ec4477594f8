//! An Iceberg REST catalog, read by us: `iceberg`'s own client drops what restricts its readers.
//!
//! ```text
//! once        GET {uri}/v1/config?warehouse=…                   -> what stands before the namespaces
//! per table   GET {uri}/v1/{prefix}/namespaces/{n}/tables/{t}   -> Found
//!               401, 419: a new token, once    429, 503: again, a little later    404: no such table
//! ```
//!
//! Nothing that it answers is taken on trust: an answer has an end, a place lies where `domain.yaml` lets it lie, another
//! server is not followed, and what restricts the reading goes along with the table: one that only the catalog may plan is
//! refused. Errors name the domain alone.

mod login;

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use futures::StreamExt;
use iceberg::TableIdent;
use polder_catalog::mesh;
use reqwest::header::{HeaderMap, HeaderName, HeaderValue, RETRY_AFTER};
use reqwest::{Client, Method, Request, StatusCode, redirect};
use serde::Deserialize;
use serde_json::{Map, Value};
use tokio::sync::OnceCell;
use url::Url;

use self::login::Tokens;
use super::{Found, PATIENCE, Tables};
use crate::lake::error::LakeError;
use crate::lake::metadata::MAX_BYTES;
use crate::lake::vended::{Lease, Loan};

/// How old what the catalog said of a table may be.
const STALENESS: Duration = Duration::from_secs(3);
const CONNECT: Duration = Duration::from_secs(5);
/// How often one request is sent that the catalog is too busy for.
const TRIES: u32 = 3;
/// The longest that is waited between two of them.
const PAUSE: Duration = Duration::from_secs(2);
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
    route: OnceCell<Route>,
}

/// Where the catalog's tables are asked for.
#[derive(Debug)]
struct Route {
    base: Url,
    separator: String,
}

/// The end of one request.
struct Sent {
    status: StatusCode,
    bytes: Bytes,
}

#[derive(Deserialize)]
struct Config {
    #[serde(default)]
    defaults: Map<String, Value>,
    #[serde(default)]
    overrides: Map<String, Value>,
}

#[derive(Deserialize)]
#[serde(rename_all = "kebab-case")]
struct Loaded {
    metadata_location: Option<String>,
    metadata: Value,
    #[serde(default)]
    config: Map<String, Value>,
    #[serde(default)]
    storage_credentials: Vec<Loan>,
    read_restrictions: Option<Value>,
}

impl fmt::Debug for Rest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Rest").field("domain", &self.domain).finish_non_exhaustive()
    }
}

impl Rest {
    pub(in crate::lake) fn new(domain: &str, settings: &mesh::Rest) -> Result<Self, LakeError> {
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
        let http = Client::builder()
            .user_agent(concat!("polder/", env!("CARGO_PKG_VERSION")))
            .connect_timeout(CONNECT)
            .timeout(PATIENCE)
            // What logs in here is for this server and no other one.
            .redirect(redirect::Policy::none());
        // On this machine there is nothing between us.
        let http = if settings.uri.starts_with("http://") { http.no_proxy() } else { http };
        let http = http.build().map_err(|cause| unreachable(domain, cause))?;
        let tokens = Tokens::new(settings.login.clone(), &settings.uri);
        Ok(Self {
            domain: domain.to_owned(),
            settings: settings.clone(),
            headers,
            http,
            tokens,
            route: OnceCell::new(),
        })
    }

    /// Where tables are asked for, which the catalog says itself.
    async fn route(&self) -> Result<&Route, LakeError> {
        self.route.get_or_try_init(|| self.find_route()).await
    }

    async fn find_route(&self) -> Result<Route, LakeError> {
        let garbled = |what| garbled(&self.domain, what);
        let own = Url::parse(&self.settings.uri).map_err(|_| garbled("its address is none"))?;
        let mut asked = below(&own, ["v1", "config"]).ok_or_else(|| garbled("its address is none"))?;
        if let Some(warehouse) = &self.settings.warehouse {
            asked.query_pairs_mut().append_pair("warehouse", warehouse);
        }
        let Sent { status, bytes } = self.get(asked).await?;
        if !status.is_success() {
            return Err(self.answered(status));
        }
        let Config { defaults, overrides } =
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
        Ok(Route { base, separator })
    }

    /// Asks, with a new token if this one is no longer taken, and again if the catalog is busy.
    async fn get(&self, url: Url) -> Result<Sent, LakeError> {
        let (mut tries, mut renewed) = (1, false);
        loop {
            let token = self.tokens.token(&self.domain, &self.http).await?;
            let mut request = Request::new(Method::GET, url.clone());
            request.headers_mut().clone_from(&self.headers);
            if let Some(token) = &token {
                let mut value = HeaderValue::from_str(&format!("Bearer {}", token.expose()))
                    .map_err(|_| LakeError::Refused { domain: self.domain.clone() })?;
                value.set_sensitive(true);
                request.headers_mut().insert(reqwest::header::AUTHORIZATION, value);
            }
            let sent = body(&self.domain, &self.http, request).await;
            let status = sent.as_ref().ok().map(|sent| sent.status.as_u16());
            match status {
                Some(401 | 419) if !renewed && self.tokens.forget(token.as_ref()).await => renewed = true,
                Some(429 | 502..=504) | None if tries < TRIES => {
                    tries += 1;
                    tokio::time::sleep(pause(tries)).await;
                }
                _ => return sent,
            }
        }
    }

    fn answered(&self, status: StatusCode) -> LakeError {
        let domain = self.domain.clone();
        match status.as_u16() {
            401 | 403 | 419 => LakeError::Refused { domain },
            status => LakeError::Answered { domain, status },
        }
    }

    /// What stands in the answer for a table.
    fn read(&self, bytes: &[u8]) -> Result<Found, LakeError> {
        let garbled = |what| garbled(&self.domain, what);
        let loaded: Loaded = serde_json::from_slice(bytes).map_err(|_| garbled("it is no table"))?;
        if loaded.config.get("scan-planning-mode").is_some_and(|mode| mode.as_str() != Some("client")) {
            return Err(garbled("it would plan each scan of the table itself, which is not done here"));
        }
        let location = loaded.metadata_location.ok_or_else(|| garbled("the table was never committed"))?;
        let lease = match self.settings.vended {
            true => Lease::of(&loaded.config, &loaded.storage_credentials, &location).map_err(garbled)?,
            false => None,
        };
        let restrictions = loaded.read_restrictions.filter(|value| !value.is_null()).map(Arc::new);
        Ok(Found { location, metadata: Some(loaded.metadata.to_string().into()), restrictions, lease })
    }
}

#[async_trait]
impl Tables for Rest {
    async fn find(&self, table: &TableIdent) -> Result<Option<Found>, LakeError> {
        let Route { base, separator } = self.route().await?;
        let namespace = table.namespace().join(separator);
        let url = below(base, ["namespaces", &namespace, "tables", table.name()]);
        let Sent { status, bytes } = self.get(url.ok_or_else(|| garbled(&self.domain, "its address is none"))?).await?;
        if status.is_success() {
            return self.read(&bytes).map(Some);
        }
        // Also a server that is no catalog answers 404; a catalog says what is missing.
        let says_why = || serde_json::from_slice::<Value>(&bytes).is_ok_and(|answer| answer.get("error").is_some());
        match status {
            StatusCode::NOT_FOUND if says_why() => Ok(None),
            _ => Err(self.answered(status)),
        }
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

/// Sends a request and reads all of the answer, which has an end.
async fn body(domain: &str, http: &Client, request: Request) -> Result<Sent, LakeError> {
    let response = http.execute(request).await.map_err(|cause| unreachable(domain, cause))?;
    let status = response.status();
    if let Some(later) = response.headers().get(RETRY_AFTER) {
        tracing::debug!(domain, %status, ?later, "a catalog asks for patience");
    }
    let most = usize::try_from(MAX_BYTES).unwrap_or(usize::MAX);
    let mut parts = response.bytes_stream();
    let mut bytes = Vec::new();
    while let Some(part) = parts.next().await {
        let part = part.map_err(|cause| unreachable(domain, cause))?;
        if bytes.len().saturating_add(part.len()) > most {
            return Err(garbled(domain, "it is longer than any that is read"));
        }
        bytes.extend_from_slice(&part);
    }
    Ok(Sent { status, bytes: bytes.into() })
}

/// A pause before the next try: longer each time, and never the same for two who wait.
fn pause(tries: u32) -> Duration {
    let most = Duration::from_millis(100).saturating_mul(2_u32.saturating_pow(tries)).min(PAUSE);
    let spread = uuid::Uuid::new_v4().as_u128() % 1000;
    most.mul_f64(0.5 + u32::try_from(spread).map_or(0.0, f64::from) / 2000.0)
}

fn unreachable(domain: &str, cause: reqwest::Error) -> LakeError {
    LakeError::Catalog { domain: domain.to_owned(), source: Box::new(cause.without_url()) }
}

fn garbled(domain: &str, what: &'static str) -> LakeError {
    LakeError::Garbled { domain: domain.to_owned(), what }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "tests")]
pub(in crate::lake) mod tests;
