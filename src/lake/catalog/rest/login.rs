//! Tokens for a REST catalog: one that stays, or those of OAuth2 for a client, which are asked for again before they end.

use std::fmt;
use std::time::{Duration, Instant};

use polder_catalog::mesh::Login;
use polder_catalog::secret::Secret;
use reqwest::{Client, StatusCode};
use serde::Deserialize;
use tokio::sync::Mutex;

use super::super::http::{Sent, answered, body, garbled, unreachable};
use crate::lake::error::LakeError;

/// How long a token lives whose server does not say.
const LIFETIME: Duration = Duration::from_secs(15 * 60);
/// A token is asked for again this long before it ends, or after nine tenths of a short life.
const MARGIN: Duration = Duration::from_secs(30);
/// The longest answer of a token server that is read.
const MAX_BYTES: usize = 1024 * 1024;

/// How one logs in, and the token that this gave.
pub(super) struct Tokens {
    login: Login,
    /// Where tokens come from.
    server: String,
    held: Mutex<Option<Held>>,
}

/// A token, and until when it is used.
struct Held {
    token: Secret,
    until: Instant,
}

#[derive(Deserialize)]
struct Granted {
    access_token: String,
    #[serde(default)]
    expires_in: Option<u64>,
}

impl fmt::Debug for Tokens {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Tokens(…)")
    }
}

impl Tokens {
    pub(super) fn new(login: Login, uri: &str) -> Self {
        let server = match &login {
            Login::Client { server: Some(server), .. } => server.clone(),
            Login::Nobody | Login::Token(_) | Login::Signed(_) | Login::Client { server: None, .. } => {
                format!("{uri}/v1/oauth/tokens")
            }
        };
        Self { login, server, held: Mutex::new(None) }
    }

    /// The token to send, if one logs in at all. Whoever comes while one is asked for waits for it.
    pub(super) async fn token(&self, domain: &str, http: &Client) -> Result<Option<Secret>, LakeError> {
        let Login::Client { credential, scope, .. } = &self.login else {
            return Ok(match &self.login {
                Login::Token(token) => Some(token.clone()),
                Login::Nobody | Login::Signed(_) | Login::Client { .. } => None,
            });
        };
        let mut held = self.held.lock().await;
        if let Some(held) = held.as_ref().filter(|held| Instant::now() < held.until) {
            return Ok(Some(held.token.clone()));
        }
        let (client, secret) = credential.expose().split_once(':').unwrap_or(("", credential.expose()));
        let mut form = vec![("grant_type", "client_credentials"), ("client_secret", secret), ("scope", scope)];
        if !client.is_empty() {
            form.push(("client_id", client));
        }
        let asked = Instant::now();
        let request = http.post(&self.server).form(&form).build().map_err(|cause| unreachable(domain, cause))?;
        let Sent { status, bytes, .. } = body(domain, http, request, MAX_BYTES).await?;
        if !status.is_success() {
            tracing::warn!(domain, %status, "a catalog's token server gave no token");
            // Only a server that looked at what logs in refuses it.
            return Err(match status.is_server_error() || status == StatusCode::TOO_MANY_REQUESTS {
                true => answered(domain, status),
                false => LakeError::Refused { domain: domain.to_owned() },
            });
        }
        let granted: Granted = serde_json::from_slice(&bytes).map_err(|_| garbled(domain, "it holds no token"))?;
        let lifetime = granted.expires_in.map_or(LIFETIME, Duration::from_secs);
        let used = lifetime.saturating_sub(MARGIN).max(lifetime / 10 * 9).min(lifetime);
        let token = Secret::new(granted.access_token);
        let until = asked.checked_add(used).unwrap_or(asked);
        *held = Some(Held { token: token.clone(), until });
        Ok(Some(token))
    }

    /// Forgets a token that the catalog no longer takes, and says whether there can be another one.
    pub(super) async fn forget(&self, token: Option<&Secret>) -> bool {
        let mut held = self.held.lock().await;
        if held.as_ref().map(|held| &held.token) == token {
            *held = None;
        }
        matches!(self.login, Login::Client { .. })
    }
}
