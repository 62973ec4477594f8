//! Credentials become a principal.
//!
//! A password is checked against the mesh's argon2id hash and exchanged for a sealed bearer token. A token names a
//! user only: who that is *now*, with which groups, the mesh says at each call. A mesh without `auth` knows one
//! principal, `anonymous`, and may be served to this machine only.
//!
//! Every refusal reads the same, so that nobody learns which half of the credentials was wrong. Credentials are never
//! logged.

mod password;
mod seal;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use polder_catalog::mesh::Mesh;
use polder_catalog::principal::Principal;
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use crate::error::{Class, Error};
use password::Passwords;
pub use seal::{Sealer, Use};

/// The one principal of a mesh without `auth`.
pub const ANONYMOUS: &str = "anonymous";
/// A working day in a notebook without a second login.
const TOKEN_LIFETIME: Duration = Duration::from_secs(12 * 60 * 60);

/// Who may come in.
#[derive(Debug)]
pub struct Auth {
    mesh: Arc<Mesh>,
    passwords: Passwords,
    sealer: Sealer,
}

/// What a token says. The fingerprint ends every token of a user whose password changes.
#[derive(Serialize, Deserialize)]
struct Token {
    user: String,
    password: String,
}

impl Auth {
    /// Takes the users and the sealing key from a mesh.
    ///
    /// # Errors
    /// When the mesh's key is too short, or the system gives no randomness.
    pub fn new(mesh: Arc<Mesh>) -> Result<Self, Error> {
        let sealer = Sealer::new(mesh.key("mesh"))?;
        Ok(Self { mesh, passwords: Passwords::new()?, sealer })
    }

    /// What seals tickets and statement handles.
    pub fn sealer(&self) -> &Sealer {
        &self.sealer
    }

    /// Whether one has to say who one is.
    pub fn required(&self) -> bool {
        self.mesh.has_auth()
    }

    /// The principal of someone without credentials.
    ///
    /// # Errors
    /// Unauthenticated, unless the mesh has no `auth`.
    pub fn nobody(&self) -> Result<Principal, Error> {
        if self.required() {
            return Err(Error::new(Class::Unauthenticated, "this mesh asks who you are")
                .help("connect with a user and a password, or with a token"));
        }
        Ok(anonymous())
    }

    /// The principal of a user with a password.
    ///
    /// # Errors
    /// Unauthenticated, with one text for every reason; a limit when too many log in at once.
    pub async fn password(&self, user: &str, password: &str) -> Result<Principal, Error> {
        if !self.required() {
            return Ok(anonymous());
        }
        let hash = self.mesh.user(user).and_then(|user| user.password_hash.clone());
        if self.passwords.verify(hash, password).await? {
            if let Some(principal) = self.mesh.principal(user) {
                return Ok(principal);
            }
        }
        Err(Error::new(Class::Unauthenticated, "unknown user or wrong password"))
    }

    /// A bearer token for a principal.
    ///
    /// # Errors
    /// When the system gives no randomness.
    pub fn token(&self, principal: &Principal) -> Result<String, Error> {
        let token = Token { user: principal.id.clone(), password: self.fingerprint(&principal.id).unwrap_or_default() };
        let payload = serde_json::to_vec(&token).map_err(|_| Error::new(Class::Bug, "a token could not be written"))?;
        Ok(URL_SAFE_NO_PAD.encode(self.sealer.seal(Use::Token, &payload, TOKEN_LIFETIME)?))
    }

    /// The principal behind a token, with the groups and attributes that the mesh gives it now.
    ///
    /// # Errors
    /// Unauthenticated, with one text for every reason.
    pub fn bearer(&self, token: &str) -> Result<Principal, Error> {
        if !self.required() {
            return Ok(anonymous());
        }
        self.open(token).ok_or_else(|| {
            Error::new(Class::Unauthenticated, "the token is not valid, or no longer").help("log in again")
        })
    }

    /// The principal with the purpose that the caller declares.
    ///
    /// # Errors
    /// Denied, unless the mesh entitles this principal to that purpose.
    pub fn with_purpose(&self, _principal: Principal, _purpose: &str) -> Result<Principal, Error> {
        Err(Error::new(Class::Denied, "the purpose that the call declares is not one that you may declare"))
    }

    fn open(&self, token: &str) -> Option<Principal> {
        let sealed = URL_SAFE_NO_PAD.decode(token).ok()?;
        let token: Token = serde_json::from_slice(&self.sealer.open(Use::Token, &sealed)?).ok()?;
        if self.fingerprint(&token.user)? != token.password {
            return None;
        }
        self.mesh.principal(&token.user)
    }

    fn fingerprint(&self, user: &str) -> Option<String> {
        let hash = self.mesh.user(user)?.password_hash.as_ref()?;
        let digest = Sha256::digest(hash.expose().as_bytes());
        Some(URL_SAFE_NO_PAD.encode(digest.get(..12)?))
    }
}

fn anonymous() -> Principal {
    Principal { id: ANONYMOUS.into(), groups: BTreeSet::new(), attributes: BTreeMap::new(), purpose: None }
}
