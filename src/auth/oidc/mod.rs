//! Users of identity providers: a JSON web token that a declared issuer signed becomes a principal.
//!
//! ```text
//! token -> taken apart -> `iss` names a declared issuer -> its keys -> signature -> claims -> principal `issuer:user`
//! ```
//!
//! What a token says is believed after its signature was checked with a key of the issuer that it names, and of no other.
//! Why one is refused goes to the log and never to the caller; the token itself goes nowhere.

mod claims;
mod json;
mod keys;
mod provider;
#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing, reason = "tests")]
mod tests;
mod token;

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use polder_catalog::mesh::{Issuer, Mesh};
use polder_catalog::principal::Principal;

use crate::served::Served;
use provider::Provider;
use token::Unverified;

const PAUSE: Duration = Duration::from_secs(5);

/// Why a token is refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Refusal {
    /// It is not what it should be.
    Invalid(&'static str),
    /// Its issuer does not say with which keys to check it.
    Unreachable,
}

/// The identity providers of the mesh that is served.
#[derive(Debug)]
pub(super) struct Providers {
    /// The pause between two questions to one of them.
    pause: Duration,
    known: Mutex<HashMap<String, Arc<Provider>>>,
}

impl Default for Providers {
    fn default() -> Self {
        Self { pause: PAUSE, known: Mutex::default() }
    }
}

impl Providers {
    /// Whether a bearer token is one of an identity provider, and of no other kind.
    pub(super) fn is_theirs(token: &str) -> bool {
        Unverified::is_one(token)
    }

    /// The principal that a token is of, as the mesh of now lets its issuer say.
    pub(super) async fn principal(&self, served: &Served, token: &str) -> Result<Principal, Refusal> {
        let token = Unverified::read(token)?;
        let unknown = || Refusal::Invalid("its issuer is not declared");
        let url = token.issuer().ok_or_else(unknown)?.to_owned();
        let provider = self.of(&served.mesh(), &url).ok_or_else(unknown)?;
        let key = provider.key(token.algorithm, token.key.as_deref()).await?;
        let claims = token.verify(&key)?;
        // Another mesh may be served since.
        let mesh = served.mesh();
        let issuer = declared(&mesh, &url).ok_or_else(unknown)?;
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_secs_f64();
        claims::principal(issuer, &claims, now)
    }

    fn of(&self, mesh: &Mesh, url: &str) -> Option<Arc<Provider>> {
        declared(mesh, url)?;
        let mut providers = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        providers.retain(|url, _| declared(mesh, url).is_some());
        Some(Arc::clone(providers.entry(url.to_owned()).or_insert_with(|| Provider::new(url, self.pause))))
    }
}

fn declared<'m>(mesh: &'m Mesh, url: &str) -> Option<&'m Issuer> {
    mesh.issuers().find(|issuer| issuer.url == url)
}
