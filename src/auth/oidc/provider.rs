//! The keys of one identity provider: asked for when they are needed, kept for a while, and asked for again when a token
//! names one that is not among them.
//!
//! ```text
//! issuer/.well-known/openid-configuration -> jwks_uri -> keys
//! ```
//!
//! One question is on its way at a time, whoever waits for it; after it there is a pause, whatever tokens say. A provider that
//! does not answer holds up nobody but those who come from it, and them not for long. Old keys are good for an hour: then
//! one that was withdrawn is gone, whether the provider answers or not.

use std::sync::{Arc, Mutex, OnceLock, PoisonError, RwLock};
use std::time::{Duration, Instant};

use futures::FutureExt;
use futures::future::{BoxFuture, Shared};
use reqwest::Client;
use reqwest::redirect::Policy;
use serde_json::Value;
use url::{Host, Url};

use super::keys::{self, Algorithm, Key};
use super::{Refusal, json};

/// Keys of this age are asked for again while they still serve.
const REFRESH: Duration = Duration::from_secs(5 * 60);
/// Keys of this age serve no more.
const LONGEST: Duration = Duration::from_secs(60 * 60);
/// How long one question may take, of which there are two for a set of keys.
const ANSWERED: Duration = Duration::from_secs(5);
const CONNECTED: Duration = Duration::from_secs(3);
/// The largest answer.
const MOST: usize = 256 * 1024;

/// What is known of one identity provider.
#[derive(Debug)]
pub(super) struct Provider {
    url: String,
    /// Made by the task that asks first, since what the system trusts is read from files.
    client: OnceLock<Option<Client>>,
    pause: Duration,
    known: RwLock<Option<Known>>,
    asking: Mutex<Asking>,
}

#[derive(Debug, Clone)]
struct Known {
    keys: Arc<Vec<Key>>,
    since: Instant,
}

#[derive(Debug, Default)]
struct Asking {
    last: Option<Instant>,
    running: Option<Shared<BoxFuture<'static, ()>>>,
}

impl Provider {
    /// An issuer by its URL, of which nothing is known yet.
    pub(super) fn new(url: &str, pause: Duration) -> Arc<Self> {
        Arc::new(Self {
            url: url.to_owned(),
            client: OnceLock::new(),
            pause,
            known: RwLock::default(),
            asking: Mutex::default(),
        })
    }

    /// The key that a token with this algorithm and key id can be signed with.
    pub(super) async fn key(self: &Arc<Self>, algorithm: Algorithm, id: Option<&str>) -> Result<Key, Refusal> {
        let found = |known: &Known| keys::choose(&known.keys, algorithm, id).cloned();
        if let Some(known) = self.known() {
            if known.since.elapsed() > REFRESH {
                // Nobody waits for this one.
                drop(self.ask());
            }
            if let Some(key) = found(&known) {
                return Ok(key);
            }
        }
        if let Some(answered) = self.ask() {
            answered.await;
        }
        let known = self.known().ok_or(Refusal::Unreachable)?;
        found(&known).ok_or(Refusal::Invalid("its issuer has no such key"))
    }

    fn known(&self) -> Option<Known> {
        let known = self.known.read().unwrap_or_else(PoisonError::into_inner).clone();
        known.filter(|known| known.since.elapsed() <= LONGEST)
    }

    /// Asks for the keys, or joins those who do; `None` in the pause after.
    fn ask(self: &Arc<Self>) -> Option<Shared<BoxFuture<'static, ()>>> {
        let mut asking = self.asking.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(running) = asking.running.as_ref().filter(|running| running.peek().is_none()) {
            return Some(running.clone());
        }
        if asking.last.is_some_and(|last| last.elapsed() < self.pause) {
            return None;
        }
        asking.last = Some(Instant::now());
        let this = Arc::clone(self);
        // A task of its own: who asked may go away, and others wait.
        let task = tokio::spawn(async move { this.fetch().await });
        let running = async move { drop(task.await) }.boxed().shared();
        asking.running = Some(running.clone());
        Some(running)
    }

    async fn fetch(&self) {
        match self.fetched().await {
            Ok(keys) => {
                let known = Known { keys: Arc::new(keys), since: Instant::now() };
                *self.known.write().unwrap_or_else(PoisonError::into_inner) = Some(known);
            }
            Err(why) => tracing::warn!(issuer = self.url, why, "an identity provider gives no keys"),
        }
    }

    async fn fetched(&self) -> Result<Vec<Key>, &'static str> {
        let issuer = Url::parse(&self.url).map_err(|_| "its URL is none")?;
        let place = format!("{}/.well-known/openid-configuration", self.url.trim_end_matches('/'));
        let place = Url::parse(&place).map_err(|_| "its URL is none")?;
        let about = json::object(&self.get(place).await?).ok_or("what it says of itself is no JSON")?;
        let text = |name: &str| about.get(name).and_then(Value::as_str);
        if text("issuer") != Some(self.url.as_str()) {
            return Err("it says that it is another issuer");
        }
        let place =
            text("jwks_uri").and_then(|uri| Url::parse(uri).ok()).ok_or("it does not say where its keys are")?;
        if !(is_private(&place) || issuer.scheme() == "http" && is_here(&place)) {
            return Err("its keys are where anybody could change them on the way");
        }
        keys::read_set(&self.get(place).await?).ok_or("its keys are no set of keys")
    }

    async fn get(&self, place: Url) -> Result<Vec<u8>, &'static str> {
        let client = self.client.get_or_init(|| client(&self.url)).as_ref().ok_or("no client could be made for it")?;
        let asked = client.get(place).header("accept", "application/json").send();
        let mut answer = asked.await.map_err(|cause| {
            tracing::debug!(issuer = self.url, %cause, "an identity provider does not answer");
            "it does not answer"
        })?;
        if answer.status() != 200 {
            return Err("it answers with an error");
        }
        let mut body = Vec::new();
        while let Some(chunk) = answer.chunk().await.map_err(|_| "its answer broke off")? {
            if body.len().saturating_add(chunk.len()) > MOST {
                return Err("its answer is too large");
            }
            body.extend_from_slice(&chunk);
        }
        Ok(body)
    }
}

fn client(url: &str) -> Option<Client> {
    let here = Url::parse(url).is_ok_and(|url| url.scheme() == "http");
    let client = Client::builder()
        .user_agent(concat!("polder/", env!("CARGO_PKG_VERSION")))
        .redirect(Policy::none())
        .referer(false)
        .connect_timeout(CONNECTED)
        .timeout(ANSWERED)
        .https_only(!here);
    // On this machine there is nothing between us.
    let client = if here { client.no_proxy().tls_built_in_root_certs(false) } else { client };
    client.build().inspect_err(|cause| tracing::error!(%cause, "no client for an identity provider")).ok()
}

fn is_private(place: &Url) -> bool {
    place.scheme() == "https" && place.username().is_empty() && place.password().is_none()
}

fn is_here(place: &Url) -> bool {
    match place.host() {
        Some(Host::Domain(name)) => name == "localhost",
        Some(Host::Ipv4(address)) => address.is_loopback(),
        Some(Host::Ipv6(address)) => address.is_loopback(),
        None => false,
    }
}
