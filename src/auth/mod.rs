//! Credentials become a principal.
//!
//! ```text
//! password      -> argon2id, a few at a time, slower after failures   \
//! API token     -> its hash                                            \
//! JWT           -> the issuer's keys, then what its claims may say      > Principal, as the mesh of now knows it
//! certificate   -> the names that TLS has verified                     /
//! sealed token  -> one of the above, who has logged in                /
//! ```
//!
//! A login is exchanged for a sealed bearer token. Such a token names a principal only: who that is *now*, with which groups,
//! the mesh says at each call; it ends with what was shown for it. Who shows a certificate that names somebody cannot be
//! somebody else by other credentials. A mesh without `auth` knows one principal, `anonymous`, and may be served to this
//! machine only.
//!
//! Every refusal reads the same, so that nobody learns which half of the credentials was wrong; the log says more, and
//! never what was shown.

mod api_token;
mod backoff;
mod certificate;
mod oidc;
mod password;
mod peer;
mod seal;
#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "tests")]
mod tests;

use std::sync::{Arc, PoisonError, RwLock};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use polder_catalog::mesh::{Credential, Mesh};
use polder_catalog::principal::Principal;
use polder_catalog::secret::Secret;
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use crate::error::{Class, Error};
use crate::observe::Observer;
pub use crate::served::ANONYMOUS;
use crate::served::{Served, anonymous};
pub use api_token::new_token;
use backoff::Backoff;
use oidc::{Providers, Refusal};
use password::Passwords;
pub use peer::Peer;
pub use seal::{Sealer, Use};

/// A working day in a notebook without a second login.
const TOKEN_LIFETIME: Duration = Duration::from_secs(12 * 60 * 60);
/// The user name beside an API token that travels as a password.
const ANY_TOKEN: &str = "token";

/// Who may come in.
#[derive(Debug)]
pub struct Auth {
    served: Arc<Served>,
    passwords: Passwords,
    backoff: Backoff,
    providers: Providers,
    sealing: RwLock<Sealing>,
    /// Who is told of logins that fail.
    observer: Arc<Observer>,
}

/// What seals, and the mesh's key that it was made from.
#[derive(Debug)]
struct Sealing {
    key: Option<Secret>,
    sealer: Arc<Sealer>,
}

impl Sealing {
    fn new(mesh: &Mesh) -> Result<Self, Error> {
        let key = mesh.key("mesh").cloned();
        Ok(Self { sealer: Arc::new(Sealer::new(key.as_ref())?), key })
    }
}

/// What a sealed token says. The fingerprint ends every token of one whose credential changes.
#[derive(Serialize, Deserialize)]
struct Token {
    user: String,
    credential: String,
}

impl Auth {
    /// Takes who may come in and the sealing key from the mesh that is served.
    ///
    /// # Errors
    /// When the mesh's key is too short, or the system gives no randomness.
    pub fn new(served: Arc<Served>) -> Result<Self, Error> {
        let sealing = RwLock::new(Sealing::new(&served.mesh())?);
        let (backoff, providers) = (Backoff::default(), Providers::default());
        Ok(Self { served, passwords: Passwords::new()?, backoff, providers, sealing, observer: Arc::default() })
    }

    /// The same, which tells somebody of logins that fail.
    #[must_use]
    pub fn telling(self, observer: Arc<Observer>) -> Self {
        Self { observer, ..self }
    }

    /// Seals with the key of a mesh that is about to be served. What another key sealed opens no more.
    ///
    /// # Errors
    /// As [`Auth::new`]; then the key before stays.
    pub fn rekey(&self, mesh: &Mesh) -> Result<(), Error> {
        let same = self.sealing.read().unwrap_or_else(PoisonError::into_inner).key.as_ref() == mesh.key("mesh");
        if !same {
            let sealing = Sealing::new(mesh)?;
            *self.sealing.write().unwrap_or_else(PoisonError::into_inner) = sealing;
        }
        Ok(())
    }

    /// What seals tickets and statement handles.
    pub fn sealer(&self) -> Arc<Sealer> {
        Arc::clone(&self.sealing.read().unwrap_or_else(PoisonError::into_inner).sealer)
    }

    /// Makes sure that `principal` is what the mesh of now says. Between the call that it came with and the answer to it
    /// another mesh may have been served.
    ///
    /// # Errors
    /// Cancelled, when it is not.
    pub fn confirm(&self, principal: &Principal) -> Result<(), Error> {
        if self.served.now().principal(principal).as_ref() == Some(principal) {
            return Ok(());
        }
        Err(Error::new(Class::Cancelled, "what you may do changed while the call was answered").help("call again"))
    }

    /// Whether one has to say who one is.
    pub fn required(&self) -> bool {
        self.served.mesh().has_auth()
    }

    /// The principal of one who says nothing: whom its certificate names.
    ///
    /// # Errors
    /// Unauthenticated, when it names nobody, unless the mesh has no `auth`.
    pub fn silent(&self, peer: &Peer) -> Result<Principal, Error> {
        if !self.required() {
            return Ok(anonymous());
        }
        self.by_certificate(peer).ok_or_else(|| {
            Error::new(Class::Unauthenticated, "this mesh asks who you are")
                .help("connect with a user and a password, with a token, or with a certificate")
        })
    }

    /// The principal of a user with a password, who calls from `peer`. Where a client knows users and passwords alone, an
    /// API token is the password of its own name, or of the user `token`.
    ///
    /// # Errors
    /// Unauthenticated, with one text for every reason; a limit when too many log in at once, or too soon after failures.
    pub async fn password(&self, peer: &Peer, user: &str, password: &str) -> Result<Principal, Error> {
        if !self.required() {
            return Ok(anonymous());
        }
        if let Some(principal) = self.by_api_token(password)
            && (user == ANY_TOKEN || principal.id.strip_prefix("token:") == Some(user))
            && let Some(principal) = self.agreed(peer, principal)
        {
            return Ok(principal);
        }
        let attempt = self.backoff.attempt(peer, user).await?;
        let hash_in = |mesh: &Mesh| mesh.user(user).and_then(|user| user.password_hash().cloned());
        let hash = hash_in(&self.served.mesh());
        let right = self.passwords.verify(hash.clone(), password).await?;
        // Another mesh may be served since, with another password.
        let mesh = self.served.mesh();
        if right
            && hash == hash_in(&mesh)
            && let Some(principal) = mesh.principal(user)
            && let Some(principal) = self.agreed(peer, principal)
        {
            attempt.succeeded();
            return Ok(principal);
        }
        attempt.failed();
        self.observer.login_failed(mesh.user(user).map(|_| user), peer.network());
        Err(Error::new(Class::Unauthenticated, "unknown user or wrong password"))
    }

    /// The principal behind a bearer token of any kind, with the groups and attributes that the mesh gives it now.
    ///
    /// # Errors
    /// Unauthenticated, with one text for every reason; storage, when the identity provider of the token does not answer.
    pub async fn bearer(&self, peer: &Peer, token: &str) -> Result<Principal, Error> {
        if !self.required() {
            return Ok(anonymous());
        }
        let found = if Providers::is_theirs(token) {
            match self.providers.principal(&self.served, token).await {
                Ok(principal) => Some(principal),
                Err(Refusal::Invalid(why)) => {
                    tracing::debug!(why, "a token of an identity provider is refused");
                    None
                }
                Err(Refusal::Unreachable) => {
                    return Err(Error::new(Class::Storage, "the identity provider of the token does not answer")
                        .help("try again in a moment"));
                }
            }
        } else {
            self.by_api_token(token).or_else(|| self.by_sealed_token(token))
        };
        found.and_then(|principal| self.agreed(peer, principal)).ok_or_else(|| {
            self.observer.login_failed(None, peer.network());
            Error::new(Class::Unauthenticated, "the token is not valid, or no longer").help("log in again")
        })
    }

    /// A sealed token for a declared principal. One for a certificate's opens nothing without the certificate.
    ///
    /// # Errors
    /// When the system gives no randomness.
    pub fn token(&self, principal: &Principal) -> Result<String, Error> {
        let token = Token {
            user: principal.id.clone(),
            credential: fingerprint(&self.served.mesh(), &principal.id).unwrap_or_default(),
        };
        let payload = serde_json::to_vec(&token).map_err(|_| Error::new(Class::Bug, "a token could not be written"))?;
        Ok(URL_SAFE_NO_PAD.encode(self.sealer().seal(Use::Token, &payload, TOKEN_LIFETIME)?))
    }

    /// The principal with the purpose that the caller declares.
    ///
    /// # Errors
    /// Denied, unless the mesh entitles this principal to that purpose.
    pub fn with_purpose(&self, principal: Principal, purpose: &str) -> Result<Principal, Error> {
        self.served
            .mesh()
            .with_purpose(principal, purpose)
            .map_err(|error| Error::new(Class::Denied, error.to_string()))
    }

    /// The principal, unless the peer's certificate names another, or it is known by a certificate that was not shown.
    fn agreed(&self, peer: &Peer, principal: Principal) -> Option<Principal> {
        let mesh = self.served.mesh();
        let credential = mesh.user(&principal.id).and_then(|user| user.credential.as_ref());
        let agrees = match self.by_certificate(peer) {
            Some(named) => named.id == principal.id,
            None => !matches!(credential, Some(Credential::Certificate(_))),
        };
        if !agrees {
            tracing::debug!("credentials and certificate do not name the same principal");
        }
        agrees.then_some(principal)
    }

    fn by_certificate(&self, peer: &Peer) -> Option<Principal> {
        let certificate = peer.certificate.as_ref()?;
        // TLS looked when the connection began, which may be long ago.
        if certificate.until < unix_now() {
            tracing::debug!("a client's certificate has expired");
            return None;
        }
        let mesh = self.served.mesh();
        mesh.principal(mesh.by_certificate(&certificate.names)?)
    }

    fn by_api_token(&self, token: &str) -> Option<Principal> {
        let hash = api_token::hash(token)?;
        let mesh = self.served.mesh();
        lasting(&mesh, mesh.by_token(&hash)?)
    }

    fn by_sealed_token(&self, token: &str) -> Option<Principal> {
        let sealed = URL_SAFE_NO_PAD.decode(token).ok()?;
        let token: Token = serde_json::from_slice(&self.sealer().open(Use::Token, &sealed)?).ok()?;
        let mesh = self.served.mesh();
        if fingerprint(&mesh, &token.user)? != token.credential {
            return None;
        }
        lasting(&mesh, &token.user)
    }
}

/// A declared principal, unless its token has expired.
fn lasting(mesh: &Mesh, id: &str) -> Option<Principal> {
    if let Some(Credential::Token { expires: Some(end), .. }) = mesh.user(id)?.credential
        && end <= unix_now()
    {
        tracing::debug!(id, "an API token has expired");
        return None;
    }
    mesh.principal(id)
}

/// What tells that a principal is still known by the same.
fn fingerprint(mesh: &Mesh, id: &str) -> Option<String> {
    let known_by = match mesh.user(id)?.credential.as_ref()? {
        Credential::Password(hash) => format!("password {}", hash.expose()),
        Credential::Token { hash, .. } => format!("token {}", URL_SAFE_NO_PAD.encode(hash)),
        Credential::Certificate(holder) => format!("certificate {holder}"),
    };
    let digest = Sha256::digest(known_by.as_bytes());
    Some(URL_SAFE_NO_PAD.encode(digest.get(..12)?))
}

fn unix_now() -> i64 {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_secs();
    i64::try_from(now).unwrap_or(i64::MAX)
}
