//! How a domain's stores reach their servers: its limits of time and number, and one pool of connections.
//!
//! A server that is slow, silent or gone costs its own domain time and places, and no other one anything. Nobody is followed
//! to another server: a redirect is an answer that is no good.

use std::collections::HashMap;
use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use object_store::client::{HttpClient, HttpConnector, SpawnService};
use object_store::{BackoffConfig, ClientConfigKey, ClientOptions, RetryConfig};
use polder_catalog::mesh::{Setting, Storage};
use reqwest::header::{AUTHORIZATION, HeaderMap, HeaderValue};
use reqwest::{Client, redirect};

use crate::lake::io;

/// How long and how often the stores of a domain are asked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::lake) struct Limits {
    /// Requests at once, to all of its stores together.
    pub(in crate::lake) requests: usize,
    connect: Duration,
    /// Until an answer begins, and between two of its parts.
    first_byte: Duration,
    /// For one try, from its beginning to its last byte.
    whole: Duration,
    retries: usize,
    /// After this no further try begins.
    retry: Duration,
}

impl Limits {
    /// What a domain declares.
    pub(in crate::lake) fn of(storage: &Storage) -> Self {
        let seconds = |setting, default| Duration::from_secs(storage.number(setting).unwrap_or(default));
        let count = |setting, default| {
            storage.number(setting).and_then(|number| usize::try_from(number).ok()).unwrap_or(default)
        };
        Self {
            requests: count(Setting::MaxRequests, 64),
            connect: seconds(Setting::ConnectTimeout, 5),
            first_byte: seconds(Setting::FirstByteTimeout, 10),
            whole: seconds(Setting::Timeout, 30),
            retries: count(Setting::MaxRetries, 4),
            retry: seconds(Setting::RetryTimeout, 10),
        }
    }
}

/// The connections of one domain's stores.
pub(in crate::lake) struct Connections {
    limits: Limits,
    /// By whether plain HTTP may be spoken.
    clients: Mutex<HashMap<bool, HttpClient>>,
}

impl fmt::Debug for Connections {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Connections").field("limits", &self.limits).finish_non_exhaustive()
    }
}

impl Connections {
    pub(in crate::lake) fn new(limits: Limits) -> Self {
        Self { limits, clients: Mutex::default() }
    }

    /// How often a request is tried, with pauses that grow and are never the same.
    pub(super) fn retry(&self) -> RetryConfig {
        let Limits { retries, retry, .. } = self.limits;
        RetryConfig { max_retries: retries, retry_timeout: retry, backoff: BackoffConfig::default() }
    }

    /// How many pools of connections there are.
    #[cfg(test)]
    pub(super) fn clients(&self) -> usize {
        self.clients.lock().unwrap_or_else(PoisonError::into_inner).len()
    }

    fn client(&self, allow_http: bool, headers: HeaderMap) -> object_store::Result<HttpClient> {
        let Limits { connect, first_byte, whole, .. } = self.limits;
        let client = Client::builder()
            .user_agent(concat!("polder/", env!("CARGO_PKG_VERSION")))
            .connect_timeout(connect)
            .read_timeout(first_byte)
            .timeout(whole)
            .default_headers(headers)
            .redirect(redirect::Policy::none())
            .https_only(!allow_http)
            .http1_only();
        // On this machine there is nothing between us.
        let client = if allow_http { client.no_proxy() } else { client };
        let failed = |source| object_store::Error::Generic { store: "HTTP", source: Box::new(source) };
        let client = client.build().map_err(failed)?;
        Ok(match io::threads() {
            Some(threads) => HttpClient::new(SpawnService::new(client, threads.clone())),
            None => HttpClient::new(client),
        })
    }
}

/// What a store is connected by.
#[derive(Debug, Clone)]
pub(super) struct Connector(pub(super) Arc<Connections>);

impl HttpConnector for Connector {
    fn connect(&self, options: &ClientOptions) -> object_store::Result<HttpClient> {
        let allow_http = allows_http(options);
        let mut clients = self.0.clients.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(client) = clients.get(&allow_http) {
            return Ok(client.clone());
        }
        let client = self.0.client(allow_http, HeaderMap::new())?;
        clients.insert(allow_http, client.clone());
        Ok(client)
    }
}

/// The same with a token, for one server. Its connections are its own.
#[derive(Debug, Clone)]
pub(super) struct WithToken {
    connections: Arc<Connections>,
    headers: HeaderMap,
}

impl WithToken {
    /// `None` for a token that cannot be sent.
    pub(super) fn new(connections: &Arc<Connections>, token: &str) -> Option<Self> {
        let mut value = HeaderValue::from_str(&format!("Bearer {token}")).ok()?;
        value.set_sensitive(true);
        Some(Self { connections: Arc::clone(connections), headers: HeaderMap::from_iter([(AUTHORIZATION, value)]) })
    }
}

impl HttpConnector for WithToken {
    fn connect(&self, options: &ClientOptions) -> object_store::Result<HttpClient> {
        self.connections.client(allows_http(options), self.headers.clone())
    }
}

fn allows_http(options: &ClientOptions) -> bool {
    options.get_config_value(&ClientConfigKey::AllowHttp).as_deref() == Some("true")
}
