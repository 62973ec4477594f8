//! The mesh that is served now, and who somebody is in it. It changes as a whole: a reader has one mesh or the next.
//!
//! ```text
//! server (files changed) --swap--> Served { mesh, epoch } --now--> auth: who calls, with which groups
//!                                                         --now--> session: what a statement is planned with
//! ```
//!
//! Every swap makes a new epoch. Who remembers the epoch of what it read can tell that it is no longer so. Nothing here
//! loads a mesh or decides anything.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, PoisonError, RwLock};

use polder_catalog::mesh::Mesh;
use polder_catalog::principal::Principal;

/// The one principal of a mesh without `auth`.
pub const ANONYMOUS: &str = "anonymous";

/// The mesh that is served now, shared by all who need it.
#[derive(Debug)]
pub struct Served(RwLock<Serving>);

/// A mesh and the epoch in which it is served.
#[derive(Debug, Clone)]
pub struct Serving {
    /// The mesh.
    pub mesh: Arc<Mesh>,
    /// How many meshes were served up to this one.
    pub epoch: u64,
}

impl Served {
    /// Serves a first mesh.
    pub fn new(mesh: Mesh) -> Arc<Self> {
        Arc::new(Self(RwLock::new(Serving { mesh: Arc::new(mesh), epoch: 1 })))
    }

    /// What is served now.
    pub fn now(&self) -> Serving {
        self.0.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// The mesh that is served now.
    pub fn mesh(&self) -> Arc<Mesh> {
        self.now().mesh
    }

    /// The epoch of now.
    pub fn epoch(&self) -> u64 {
        self.0.read().unwrap_or_else(PoisonError::into_inner).epoch
    }

    /// Serves another mesh from now on.
    pub fn swap(&self, mesh: Mesh) -> Serving {
        let mesh = Arc::new(mesh);
        let mut now = self.0.write().unwrap_or_else(PoisonError::into_inner);
        let next = Serving { mesh, epoch: now.epoch.saturating_add(1) };
        let before = std::mem::replace(&mut *now, next.clone());
        drop(now);
        // A large mesh takes a while to be taken apart, and readers must not wait for it.
        drop(before);
        next
    }
}

impl Serving {
    /// That principal as this mesh knows it, with the purpose that it declared: `None` when it may not come in any more.
    pub fn principal(&self, known: &Principal) -> Option<Principal> {
        if !self.mesh.has_auth() {
            return Some(anonymous());
        }
        let principal = self.mesh.again(known)?;
        match &known.purpose {
            Some(purpose) => self.mesh.with_purpose(principal, purpose).ok(),
            None => Some(principal),
        }
    }
}

/// Everyone, where nobody is asked who they are.
pub fn anonymous() -> Principal {
    Principal { id: ANONYMOUS.into(), groups: BTreeSet::new(), attributes: BTreeMap::new(), purpose: None }
}
