//! What was read from files that never change, kept in memory under one budget of bytes.
//!
//! Manifests, table metadata and delete files are immutable and known by their place, so what was decoded from one is
//! right for as long as it is kept. Nothing is kept by a place alone: the store's URL, which names the domain, is part
//! of the key, so that no domain is answered with another's bytes.
//!
//! Whoever asks for what another one is loading waits for it. A load that failed is not kept.

use std::any::{Any, TypeId};
use std::sync::Arc;

use moka::future::Cache;

use crate::error::{Class, Error};

/// How many bytes are kept by default.
const BUDGET: u64 = 512 * 1024 * 1024;

/// Something that knows how much memory it holds, itself included.
pub trait Weighed: Any + Send + Sync {
    /// Its bytes.
    fn bytes(&self) -> usize;
}

/// The cache of one lake. Clones share it.
#[derive(Debug, Clone)]
pub struct Memory {
    kept: Cache<Key, Kept>,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash)]
struct Key {
    store: Arc<str>,
    place: Arc<str>,
    kind: TypeId,
}

#[derive(Clone)]
struct Kept {
    value: Arc<dyn Any + Send + Sync>,
    bytes: usize,
}

impl std::fmt::Debug for Kept {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Kept").field("bytes", &self.bytes).finish_non_exhaustive()
    }
}

impl Default for Memory {
    fn default() -> Self {
        Self::new(BUDGET)
    }
}

impl Memory {
    /// A cache that keeps at most `budget` bytes.
    pub fn new(budget: u64) -> Self {
        let weigh = |key: &Key, kept: &Kept| {
            let bytes = kept.bytes + key.store.len() + key.place.len() + std::mem::size_of::<(Key, Kept)>();
            u32::try_from(bytes).unwrap_or(u32::MAX)
        };
        Self { kept: Cache::builder().max_capacity(budget).weigher(weigh).build() }
    }

    /// What was loaded from `place` in `store`, or what `load` makes of it now.
    ///
    /// # Errors
    /// Those of `load`.
    pub async fn get<T: Weighed>(
        &self,
        store: &str,
        place: &str,
        load: impl Future<Output = Result<T, Error>>,
    ) -> Result<Arc<T>, Error> {
        let key = Key { store: store.into(), place: place.into(), kind: TypeId::of::<T>() };
        let load = async {
            let value = load.await?;
            Ok::<_, Error>(Kept { bytes: value.bytes(), value: Arc::new(value) })
        };
        let kept = self.kept.try_get_with(key, load).await.map_err(|error| Error::clone(&error))?;
        kept.value.downcast().map_err(|_| Error::new(Class::Bug, "a cache gave another thing than was put into it"))
    }

    /// How many bytes are kept now.
    pub async fn bytes(&self) -> u64 {
        self.kept.run_pending_tasks().await;
        self.kept.weighted_size()
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "tests")]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};

    use super::*;

    struct Text(String);

    impl Weighed for Text {
        fn bytes(&self) -> usize {
            self.0.len()
        }
    }

    #[tokio::test]
    async fn a_thing_is_loaded_once_for_each_store_and_failures_are_not_kept() {
        let memory = Memory::default();
        let loads = AtomicUsize::new(0);
        let load = |text: &'static str| async {
            loads.fetch_add(1, Ordering::Relaxed);
            Ok(Text(text.to_owned()))
        };
        let failed = memory.get::<Text>("a", "x", async { Err(Error::new(Class::Storage, "gone")) }).await;
        assert_eq!(failed.err().unwrap().class, Class::Storage);
        let (one, two) = tokio::join!(memory.get("a", "x", load("one")), memory.get("a", "x", load("one")));
        assert!(Arc::ptr_eq(&one.unwrap(), &two.unwrap()));
        assert_eq!(memory.get("b", "x", load("two")).await.unwrap().0, "two");
        assert_eq!(loads.load(Ordering::Relaxed), 2);
    }

    #[tokio::test]
    async fn no_more_is_kept_than_the_budget() {
        let memory = Memory::new(4096);
        for place in 0..100 {
            memory.get("a", &place.to_string(), async { Ok(Text("x".repeat(500))) }).await.unwrap();
        }
        assert!((500..=4096).contains(&memory.bytes().await), "{}", memory.bytes().await);
    }
}
