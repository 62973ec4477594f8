//! Credentials become a principal.
//!
//! A password is checked against the mesh's argon2id hash and exchanged for a sealed bearer token. A token names a
//! user only: who that is *now*, with which groups, the mesh says at each call. A mesh without `auth` knows one
//! principal, `anonymous`, and may be served to this machine only.
//!
//! Every refusal reads the same, so that nobody learns which half of the credentials was wrong. Credentials are never
//! logged.

mod password;
mod peer;
mod seal;

use std::sync::{Arc, PoisonError, RwLock};
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use polder_catalog::mesh::Mesh;
use polder_catalog::principal::Principal;
use polder_catalog::secret::Secret;
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use crate::error::{Class, Error};
pub use crate::served::ANONYMOUS;
use crate::served::{Served, anonymous};
use password::Passwords;
pub use peer::Peer;
pub use seal::{Sealer, Use};

/// A working day in a notebook without a second login.
const TOKEN_LIFETIME: Duration = Duration::from_secs(12 * 60 * 60);

/// Who may come in.
#[derive(Debug)]
pub struct Auth {
    served: Arc<Served>,
    passwords: Passwords,
    sealing: RwLock<Sealing>,
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

/// What a token says. The fingerprint ends every token of a user whose password changes.
#[derive(Serialize, Deserialize)]
struct Token {
    user: String,
    password: String,
}

impl Auth {
    /// Takes the users and the sealing key from the mesh that is served.
    ///
    /// # Errors
    /// When the mesh's key is too short, or the system gives no randomness.
    pub fn new(served: Arc<Served>) -> Result<Self, Error> {
        let sealing = RwLock::new(Sealing::new(&served.mesh())?);
        Ok(Self { served, passwords: Passwords::new()?, sealing })
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

    /// The principal of a user with a password, who calls from `peer`.
    ///
    /// # Errors
    /// Unauthenticated, with one text for every reason; a limit when too many log in at once.
    pub async fn password(&self, _peer: &Peer, user: &str, password: &str) -> Result<Principal, Error> {
        if !self.required() {
            return Ok(anonymous());
        }
        let hash_in = |mesh: &Mesh| mesh.user(user).and_then(|user| user.password_hash.clone());
        let hash = hash_in(&self.served.mesh());
        let right = self.passwords.verify(hash.clone(), password).await?;
        // Another mesh may be served since, with another password.
        let mesh = self.served.mesh();
        if right
            && hash == hash_in(&mesh)
            && let Some(principal) = mesh.principal(user)
        {
            return Ok(principal);
        }
        Err(Error::new(Class::Unauthenticated, "unknown user or wrong password"))
    }

    /// A bearer token for a principal.
    ///
    /// # Errors
    /// When the system gives no randomness.
    pub fn token(&self, principal: &Principal) -> Result<String, Error> {
        let token = Token {
            user: principal.id.clone(),
            password: fingerprint(&self.served.mesh(), &principal.id).unwrap_or_default(),
        };
        let payload = serde_json::to_vec(&token).map_err(|_| Error::new(Class::Bug, "a token could not be written"))?;
        Ok(URL_SAFE_NO_PAD.encode(self.sealer().seal(Use::Token, &payload, TOKEN_LIFETIME)?))
    }

    /// The principal behind a token, with the groups and attributes that the mesh gives it now.
    ///
    /// # Errors
    /// Unauthenticated, with one text for every reason.
    pub async fn bearer(&self, token: &str) -> Result<Principal, Error> {
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
    pub fn with_purpose(&self, principal: Principal, purpose: &str) -> Result<Principal, Error> {
        self.served
            .mesh()
            .with_purpose(principal, purpose)
            .map_err(|error| Error::new(Class::Denied, error.to_string()))
    }

    fn open(&self, token: &str) -> Option<Principal> {
        let sealed = URL_SAFE_NO_PAD.decode(token).ok()?;
        let token: Token = serde_json::from_slice(&self.sealer().open(Use::Token, &sealed)?).ok()?;
        let mesh = self.served.mesh();
        if fingerprint(&mesh, &token.user)? != token.password {
            return None;
        }
        mesh.principal(&token.user)
    }
}

fn fingerprint(mesh: &Mesh, user: &str) -> Option<String> {
    let hash = mesh.user(user)?.password_hash.as_ref()?;
    let digest = Sha256::digest(hash.expose().as_bytes());
    Some(URL_SAFE_NO_PAD.encode(digest.get(..12)?))
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "tests")]
mod tests {
    use std::collections::BTreeSet;
    use std::fs;
    use std::path::Path;

    use argon2::Argon2;
    use argon2::password_hash::{PasswordHasher, SaltString};

    use super::*;

    const USERS: &str = r#"
mesh: testland
groups: [analysts, fraud-team]
purposes: { fraud: { groups: [fraud-team] } }
keys: { mesh: "${file:mesh.key}" }
auth:
  users:
    - { name: ada, password_hash: "${file:ada.argon2}", groups: [analysts] }
    - { name: eve, password_hash: "${file:eve.argon2}", groups: [fraud-team] }
    - { name: embedded, groups: [analysts] }
"#;

    /// A mesh whose users have their own name as password.
    fn mesh(dir: &Path, yaml: &str) -> Auth {
        fs::write(dir.join("mesh.yaml"), yaml).unwrap();
        fs::write(dir.join("mesh.key"), "a key that is long enough").unwrap();
        for user in ["ada", "eve"] {
            set_password(dir, user, user);
        }
        load(dir)
    }

    fn set_password(dir: &Path, user: &str, password: &str) {
        let salt = SaltString::encode_b64(b"a salt of tests.").unwrap();
        let hash = Argon2::default().hash_password(password.as_bytes(), &salt).unwrap().to_string();
        fs::write(dir.join(format!("{user}.argon2")), hash).unwrap();
    }

    fn load(dir: &Path) -> Auth {
        Auth::new(Served::new(Mesh::load(dir).unwrap())).unwrap()
    }

    #[tokio::test]
    async fn a_password_gives_the_principal_and_every_refusal_reads_the_same() {
        let dir = tempfile::tempdir().unwrap();
        let auth = mesh(dir.path(), USERS);
        let ada = auth.password(&Peer::default(), "ada", "ada").await.unwrap();
        assert_eq!((ada.id.as_str(), ada.groups.contains("analysts")), ("ada", true));
        let mut refusals = BTreeSet::new();
        for (user, password) in [("ada", "eve"), ("nobody", "ada"), ("embedded", "embedded"), ("embedded", "nobody")] {
            let error = auth.password(&Peer::default(), user, password).await.unwrap_err();
            assert_eq!(error.class, Class::Unauthenticated);
            refusals.insert(error.to_string());
        }
        assert_eq!(refusals.len(), 1, "{refusals:?}");
        assert_eq!(auth.nobody().unwrap_err().class, Class::Unauthenticated);
    }

    #[tokio::test]
    async fn a_token_is_its_user_as_the_mesh_knows_it_now() {
        let dir = tempfile::tempdir().unwrap();
        let auth = mesh(dir.path(), USERS);
        let token = auth.token(&auth.password(&Peer::default(), "ada", "ada").await.unwrap()).unwrap();
        assert_eq!(auth.bearer(&token).await.unwrap().id, "ada");

        fs::write(
            dir.path().join("mesh.yaml"),
            USERS.replace("groups: [analysts] }\n    - { name: eve", "groups: [fraud-team] }\n    - { name: eve"),
        )
        .unwrap();
        let moved = load(dir.path()).bearer(&token).await.unwrap();
        assert_eq!(moved.groups.into_iter().collect::<Vec<_>>(), ["fraud-team"]);
    }

    #[tokio::test]
    async fn a_changed_password_a_changed_key_and_a_lost_user_end_a_token() {
        let dir = tempfile::tempdir().unwrap();
        let auth = mesh(dir.path(), USERS);
        let token = auth.token(&auth.password(&Peer::default(), "ada", "ada").await.unwrap()).unwrap();
        let mut refusals = BTreeSet::from([auth.bearer("made up").await.unwrap_err().to_string()]);
        refusals.insert(auth.bearer("").await.unwrap_err().to_string());

        set_password(dir.path(), "ada", "changed");
        refusals.insert(load(dir.path()).bearer(&token).await.unwrap_err().to_string());
        set_password(dir.path(), "ada", "ada");
        assert!(load(dir.path()).bearer(&token).await.is_ok());

        fs::write(dir.path().join("mesh.key"), "another key, long enough too").unwrap();
        refusals.insert(load(dir.path()).bearer(&token).await.unwrap_err().to_string());
        fs::write(dir.path().join("mesh.key"), "a key that is long enough").unwrap();

        fs::write(dir.path().join("mesh.yaml"), USERS.replace("name: ada", "name: anna")).unwrap();
        refusals.insert(load(dir.path()).bearer(&token).await.unwrap_err().to_string());
        assert_eq!(refusals.len(), 1, "{refusals:?}");
    }

    #[tokio::test]
    async fn a_purpose_is_for_those_whom_the_mesh_entitles() {
        let dir = tempfile::tempdir().unwrap();
        let auth = mesh(dir.path(), USERS);
        let (ada, eve) = (
            auth.password(&Peer::default(), "ada", "ada").await.unwrap(),
            auth.password(&Peer::default(), "eve", "eve").await.unwrap(),
        );
        assert_eq!(auth.with_purpose(eve.clone(), "fraud").unwrap().purpose.as_deref(), Some("fraud"));
        assert_eq!(auth.with_purpose(ada, "fraud").unwrap_err().class, Class::Denied);
        assert_eq!(auth.with_purpose(eve, "gossip").unwrap_err().class, Class::Denied);
    }

    #[tokio::test]
    async fn without_auth_everyone_is_anonymous() {
        let dir = tempfile::tempdir().unwrap();
        let auth = mesh(dir.path(), "mesh: testland\n");
        let principals = [
            auth.nobody().unwrap(),
            auth.password(&Peer::default(), "ada", "wrong").await.unwrap(),
            auth.bearer("a token of another process").await.unwrap(),
        ];
        assert!(principals.iter().all(|principal| *principal == anonymous()));
        assert!(!auth.required());
    }
}
