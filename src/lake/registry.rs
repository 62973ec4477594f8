//! The only stores that DataFusion can find: those of open lakes, each under its domain's own URL.

use std::collections::HashMap;
use std::sync::{Arc, PoisonError, RwLock, Weak};

use datafusion::common::{DataFusionError, exec_datafusion_err};
use datafusion::execution::object_store::{ObjectStoreRegistry, ObjectStoreUrl};
use object_store::ObjectStore;
use sha2::{Digest, Sha256};
use url::Url;

use super::SCHEME;

/// Stores by URL. Nothing outside this room can add one. Each is found for as long as a lake or a plan holds it.
#[derive(Debug, Default)]
pub(super) struct Stores {
    open: RwLock<HashMap<String, Weak<dyn ObjectStore>>>,
}

/// The URL under which the store of `root` in `domain` is found: both are in it, so neither can be mistaken.
pub(super) fn store_url(domain: &str, root: &str) -> Result<ObjectStoreUrl, DataFusionError> {
    let mut hash = Sha256::new();
    hash.update(root);
    let root: String = hash.finalize().iter().take(8).map(|b| format!("{b:02x}")).collect();
    let domain: String = domain.bytes().map(|b| format!("{b:02x}")).collect();
    ObjectStoreUrl::parse(format!("{SCHEME}://{domain}.{root}"))
}

impl Stores {
    pub(super) fn add(&self, url: &ObjectStoreUrl, store: &Arc<dyn ObjectStore>) {
        let mut open = self.open.write().unwrap_or_else(PoisonError::into_inner);
        open.retain(|_, store| store.strong_count() > 0);
        open.insert(url.as_str().to_owned(), Arc::downgrade(store));
    }
}

impl ObjectStoreRegistry for Stores {
    fn register_store(&self, _url: &Url, _store: Arc<dyn ObjectStore>) -> Option<Arc<dyn ObjectStore>> {
        None
    }

    fn deregister_store(&self, _url: &Url) -> Result<Arc<dyn ObjectStore>, DataFusionError> {
        Err(exec_datafusion_err!("stores belong to their domains"))
    }

    fn get_store(&self, url: &Url) -> Result<Arc<dyn ObjectStore>, DataFusionError> {
        let key = ObjectStoreUrl::parse(format!("{}://{}", url.scheme(), url.host_str().unwrap_or_default()))?;
        let store = self.open.read().unwrap_or_else(PoisonError::into_inner).get(key.as_str()).and_then(Weak::upgrade);
        store.ok_or_else(|| exec_datafusion_err!("no domain's store is there"))
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "tests")]
mod tests {
    use super::*;
    use object_store::memory::InMemory;

    #[test]
    fn only_the_store_of_an_open_lake_is_found() {
        let stores = Stores::default();
        let shop = store_url("shop", "Bucket(\"b\")").unwrap();
        let store: Arc<dyn ObjectStore> = Arc::new(InMemory::new());
        stores.add(&shop, &store);
        assert!(stores.get_store(shop.as_ref()).is_ok());
        let other = store_url("other", "Bucket(\"b\")").unwrap();
        assert_ne!(shop, other);
        assert_ne!(shop, store_url("shop", "Bucket(\"c\")").unwrap());
        assert!(stores.get_store(other.as_ref()).is_err());
        for url in ["file:///etc/passwd", "s3://b/x.parquet", "http://localhost/x"] {
            let url = Url::parse(url).unwrap();
            stores.register_store(&url, Arc::new(InMemory::new()));
            assert!(stores.get_store(&url).is_err(), "{url}");
        }
        drop(store);
        assert!(stores.get_store(shop.as_ref()).is_err(), "what nobody holds is gone");
    }
}
