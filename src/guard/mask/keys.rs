//! What makes masks differ from mesh to mesh and from query to query: named keys, and the salt of one statement.
//!
//! The session makes one [`Keys`] per statement. Nothing prints what is in it, and it compares by names and by the number
//! of its salt alone, so that no plan that holds it can tell a secret.

use std::collections::BTreeMap;
use std::fmt;
use std::hash::{Hash, Hasher};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use polder_catalog::secret::Secret;
use ring::hmac;
use ring::rand::{SecureRandom, SystemRandom};

/// How many salts were drawn.
static SALTS: AtomicU64 = AtomicU64::new(0);

/// The keys and the salt of one statement.
#[derive(Clone)]
pub struct Keys {
    named: Arc<BTreeMap<Arc<str>, hmac::Key>>,
    /// Nothing where the machine has no randomness to give: then no column that needs it is served.
    salt: Option<[u8; 32]>,
    id: u64,
}

impl Keys {
    /// For one statement: the keys of the mesh that could be read, and a salt that was never used before.
    pub fn new<'k>(named: impl IntoIterator<Item = (&'k str, &'k Secret)>) -> Self {
        let key = |secret: &Secret| hmac::Key::new(hmac::HMAC_SHA256, secret.expose().as_bytes());
        let named = named.into_iter().map(|(name, secret)| (Arc::from(name), key(secret))).collect();
        let mut salt = [0; 32];
        let drawn = SystemRandom::new().fill(&mut salt).is_ok();
        Self { named: Arc::new(named), salt: drawn.then_some(salt), id: SALTS.fetch_add(1, Ordering::Relaxed) }
    }

    /// The named key, if the mesh has it.
    pub(super) fn key(&self, name: &str) -> Option<Secretly<hmac::Key>> {
        let (name, key) = self.named.get_key_value(name)?;
        Some(Secretly { name: Arc::clone(name), id: self.id, value: key.clone() })
    }

    /// The salt of the statement.
    pub(super) fn salt(&self) -> Option<Secretly<[u8; 32]>> {
        Some(Secretly { name: Arc::from("salt"), id: self.id, value: self.salt? })
    }
}

impl fmt::Debug for Keys {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Keys").field("named", &self.named.keys()).field("salt", &self.id).finish()
    }
}

impl PartialEq for Keys {
    fn eq(&self, other: &Self) -> bool {
        self.id == other.id && self.named.keys().eq(other.named.keys())
    }
}

impl Eq for Keys {}

impl Hash for Keys {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.id.hash(state);
        self.named.keys().for_each(|name| name.hash(state));
    }
}

/// A secret inside a plan. Its name and its statement are all that can be told of it.
#[derive(Clone)]
pub(super) struct Secretly<T> {
    name: Arc<str>,
    id: u64,
    pub(super) value: T,
}

impl<T> fmt::Debug for Secretly<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Secret({})", self.name)
    }
}

impl<T> PartialEq for Secretly<T> {
    fn eq(&self, other: &Self) -> bool {
        (&self.name, self.id) == (&other.name, other.id)
    }
}

impl<T> Eq for Secretly<T> {}

impl<T> Hash for Secretly<T> {
    fn hash<H: Hasher>(&self, state: &mut H) {
        (&self.name, self.id).hash(state);
    }
}
