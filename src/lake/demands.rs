//! What catalogs demand of their readers: the `read-restrictions` of a table, as JSON.
//!
//! SQL catalogs and pinned metadata files have none, so only tests put some here.

#[cfg(test)]
use std::collections::HashMap;
use std::sync::Arc;
#[cfg(test)]
use std::sync::Mutex;

use serde_json::Value;

/// The demands of the catalogs of one lake.
#[derive(Debug, Default)]
pub(super) struct Demands {
    #[cfg(test)]
    put: Mutex<HashMap<(String, String), Arc<Value>>>,
}

#[cfg(not(test))]
impl Demands {
    /// Whether a catalog of `domain` can demand anything.
    pub(super) fn may_be(&self, _domain: &str) -> bool {
        false
    }

    pub(super) fn on(&self, _domain: &str, _table: &str) -> Option<Arc<Value>> {
        None
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "tests")]
impl Demands {
    pub(super) fn may_be(&self, domain: &str) -> bool {
        self.put.lock().unwrap().keys().any(|(of, _)| of == domain)
    }

    pub(super) fn on(&self, domain: &str, table: &str) -> Option<Arc<Value>> {
        self.put.lock().unwrap().get(&(domain.to_owned(), table.to_owned())).cloned()
    }

    pub(super) fn put(&self, domain: &str, table: &str, restrictions: Value) {
        self.put.lock().unwrap().insert((domain.to_owned(), table.to_owned()), Arc::new(restrictions));
    }
}
