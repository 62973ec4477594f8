//! One request for a block, however many want it: the first one fetches, and the others wait for what it gets.
//!
//! Who gives up while it fetches leaves the block to whoever waits; who fails tells the others why.

use std::collections::HashMap;
use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};

use object_store::Error;
use tokio::sync::watch;

use super::block::{Block, Key};

/// What became of a fetch. Several are told of one failure.
pub(super) type Landed = Result<Arc<Block>, Arc<Error>>;
type Waiting = watch::Receiver<Option<Landed>>;

/// The blocks that are being fetched.
#[derive(Clone, Default)]
pub(super) struct Flights {
    flying: Arc<Mutex<HashMap<Key, Waiting>>>,
}

/// What one who wants a block does.
pub(super) enum Turn {
    /// It fetches.
    Mine(Flight),
    /// It waits.
    Theirs(Waiting),
}

/// A block that is being fetched by whoever holds this.
pub(super) struct Flight {
    key: Key,
    tell: watch::Sender<Option<Landed>>,
    flights: Flights,
}

impl fmt::Debug for Flights {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Flights(…)")
    }
}

impl Flights {
    pub(super) fn join(&self, key: Key) -> Turn {
        let mut flying = self.flying.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(waiting) = flying.get(&key) {
            return Turn::Theirs(waiting.clone());
        }
        let (tell, waiting) = watch::channel(None);
        flying.insert(key, waiting);
        Turn::Mine(Flight { key, tell, flights: self.clone() })
    }
}

impl Flight {
    /// Tells those who wait. The block must be kept already.
    pub(super) fn land(self, landed: Landed) {
        self.tell.send_replace(Some(landed));
    }
}

impl Drop for Flight {
    fn drop(&mut self) {
        self.flights.flying.lock().unwrap_or_else(PoisonError::into_inner).remove(&self.key);
    }
}

/// What the other one got; `None` if it gave up.
pub(super) async fn wait(mut waiting: Waiting) -> Option<Landed> {
    waiting.wait_for(Option::is_some).await.ok().and_then(|landed| landed.clone())
}

/// A failure that others are told too.
#[derive(Debug, Clone)]
struct Shared(Arc<Error>);

impl fmt::Display for Shared {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl std::error::Error for Shared {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        Some(self.0.as_ref())
    }
}

/// The failure as each of those who are told it has it: of the same kind.
pub(super) fn failure(error: &Arc<Error>) -> Error {
    let source = Box::new(Shared(Arc::clone(error)));
    match error.as_ref() {
        Error::NotFound { path, .. } => Error::NotFound { path: path.clone(), source },
        Error::PermissionDenied { path, .. } => Error::PermissionDenied { path: path.clone(), source },
        Error::Unauthenticated { path, .. } => Error::Unauthenticated { path: path.clone(), source },
        _ => Error::Generic { store: "cache", source },
    }
}
