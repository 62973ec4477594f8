//! Bytes of files that never change, kept in memory and on disk below everything that reads them.
//!
//! ```text
//! reader -> Cached: which blocks of which file? --memory--> --disk--> --one request for what lies together--> store
//!                        <- each block with the size and the etag of its file, and its checksum on disk
//! ```
//!
//! Iceberg writes each of its files once, and a file is known by its path; only those are kept (`reads::is_kept`). A block
//! is found by what the store is (domain, root, configuration, whose credentials) together with the path, so that nobody is
//! answered with what another one may read. Blocks of one file must agree on its size and etag: when the store shows
//! another one, what was kept before is forgotten. An answer that is shorter than the store says is not kept: whole files are
//! asked for as ranges, whose answers say both lengths. What does not pass its checksum counts as not there. A cache that
//! cannot be written to costs no query anything but time.
//!
//! Memory and disk are bounded in bytes. What was used least recently goes first. On disk names are hashes, and nobody but the
//! owner of the process can read them.

mod block;
mod disk;
mod flight;
mod reads;

use std::fmt;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use moka::future::Cache as Memory;
use object_store::ObjectStore;
use sha2::{Digest, Sha256};
use tokio::sync::Semaphore;

use self::block::{BLOCK, Block, Key};
use self::disk::Disk;
use self::flight::Flights;
use self::reads::Cached;
use crate::error::Error;

/// Bytes that may wait to be written to disk. What comes while they wait is kept in memory alone.
const WAITING: usize = 64 << 20;
/// For how long nothing is written after a write failed.
const PAUSE: Duration = Duration::from_secs(30);

/// Where a cache is, and how much it may keep.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Options {
    /// Its directory, which is made if it is not there.
    pub directory: PathBuf,
    /// Bytes on disk.
    pub disk: u64,
    /// Bytes in memory.
    pub memory: u64,
}

/// A cache. Clones share it.
#[derive(Clone)]
pub struct Cache {
    inner: Arc<Inner>,
}

struct Inner {
    memory: Memory<Key, Arc<Block>>,
    disk: Arc<Disk>,
    flights: Flights,
    /// A permit for each block that may wait to be written.
    waiting: Arc<Semaphore>,
    counts: Counters,
}

#[derive(Debug, Default)]
struct Counters {
    memory: Tier,
    disk: Tier,
    store: Tier,
    damaged: AtomicU64,
    unwritten: AtomicU64,
}

#[derive(Debug, Default)]
struct Tier {
    blocks: AtomicU64,
    bytes: AtomicU64,
}

impl Tier {
    fn add(&self, bytes: usize) {
        self.blocks.fetch_add(1, Ordering::Relaxed);
        self.bytes.fetch_add(u64::try_from(bytes).unwrap_or(u64::MAX), Ordering::Relaxed);
    }

    fn now(&self) -> Answered {
        Answered { blocks: self.blocks.load(Ordering::Relaxed), bytes: self.bytes.load(Ordering::Relaxed) }
    }
}

/// What one tier gave so far.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Answered {
    /// In blocks.
    pub blocks: u64,
    /// In bytes.
    pub bytes: u64,
}

/// What a cache did so far, and what it holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Counts {
    /// From memory.
    pub memory: Answered,
    /// From disk.
    pub disk: Answered,
    /// From stores, since nothing was kept.
    pub store: Answered,
    /// Blocks on disk that were not what had been written.
    pub damaged: u64,
    /// Blocks that could not be written, or not in time.
    pub unwritten: u64,
    /// Bytes in memory now.
    pub in_memory: u64,
    /// Bytes on disk now.
    pub on_disk: u64,
}

impl fmt::Debug for Cache {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Cache").field("disk", &self.inner.disk).finish_non_exhaustive()
    }
}

impl Cache {
    /// Opens the cache in a directory, with what is in it.
    ///
    /// # Errors
    /// When the directory cannot be used, is another user's, or another process has it.
    pub fn open(options: &Options) -> Result<Self, Error> {
        let weigh = |_: &Key, block: &Arc<Block>| u32::try_from(block.bytes.len() + 256).unwrap_or(u32::MAX);
        Ok(Self {
            inner: Arc::new(Inner {
                memory: Memory::builder().max_capacity(options.memory).weigher(weigh).build(),
                disk: Arc::new(Disk::open(&options.directory, options.disk)?),
                flights: Flights::default(),
                waiting: Arc::new(Semaphore::new(WAITING / BLOCK)),
                counts: Counters::default(),
            }),
        })
    }

    /// A store whose files are kept here. `identity` is all that decides what is read by it: two that differ in anything
    /// share nothing.
    pub(super) fn over(&self, store: Arc<dyn ObjectStore>, identity: &str) -> Arc<dyn ObjectStore> {
        Arc::new(Cached::new(store, Sha256::digest(identity).into(), self.clone()))
    }

    /// What it did so far.
    pub fn counts(&self) -> Counts {
        let counts = &self.inner.counts;
        Counts {
            memory: counts.memory.now(),
            disk: counts.disk.now(),
            store: counts.store.now(),
            damaged: counts.damaged.load(Ordering::Relaxed),
            unwritten: counts.unwritten.load(Ordering::Relaxed),
            in_memory: self.inner.memory.weighted_size(),
            on_disk: self.inner.disk.bytes(),
        }
    }

    /// Waits for what is being written to disk.
    #[cfg(test)]
    pub(crate) async fn written(&self) {
        let all = u32::try_from(WAITING / BLOCK).unwrap_or(u32::MAX);
        drop(self.inner.waiting.acquire_many(all).await);
    }

    /// What is kept of these blocks, each as it is there: they may be of several states of their file.
    async fn kept(&self, keys: &[(u64, Key)]) -> Vec<(u64, Arc<Block>)> {
        let (mut found, mut ask) = (Vec::with_capacity(keys.len()), Vec::new());
        for (number, key) in keys {
            match self.inner.memory.get(key).await {
                Some(block) => {
                    self.inner.counts.memory.add(block.bytes.len());
                    found.push((*number, block));
                }
                None if self.inner.disk.has(key) => ask.push((*number, *key)),
                None => {}
            }
        }
        if ask.is_empty() {
            return found;
        }
        let disk = Arc::clone(&self.inner.disk);
        let read =
            move || ask.into_iter().map(|(number, key)| (number, key, disk.read(&key, number))).collect::<Vec<_>>();
        // Whoever is not answered asks the store.
        for (number, key, read) in tokio::task::spawn_blocking(read).await.unwrap_or_default() {
            match read {
                Ok(Some(block)) => {
                    let block = Arc::new(block);
                    self.inner.counts.disk.add(block.bytes.len());
                    self.inner.memory.insert(key, Arc::clone(&block)).await;
                    found.push((number, block));
                }
                Ok(None) => {}
                Err(disk::Damaged) => {
                    self.inner.counts.damaged.fetch_add(1, Ordering::Relaxed);
                }
            }
        }
        found
    }

    /// Keeps a block: in memory at once, on disk a little later. Nobody waits for the disk.
    async fn keep(&self, key: Key, number: u64, block: Arc<Block>) {
        self.inner.counts.store.add(block.bytes.len());
        self.inner.memory.insert(key, Arc::clone(&block)).await;
        let place = Arc::clone(&self.inner.waiting).try_acquire_owned();
        let (Ok(place), true) = (place, self.inner.disk.takes(block.bytes.len())) else {
            self.inner.counts.unwritten.fetch_add(1, Ordering::Relaxed);
            return;
        };
        let inner = Arc::clone(&self.inner);
        tokio::task::spawn_blocking(move || {
            if !inner.disk.write(&key, number, &block) {
                inner.counts.unwritten.fetch_add(1, Ordering::Relaxed);
            }
            // Whoever sees the place free finds nothing of this any more.
            drop((inner, place));
        });
    }

    /// Forgets a block that is of another state of its file.
    async fn forget(&self, key: &Key) {
        self.inner.memory.invalidate(key).await;
        let (disk, key) = (Arc::clone(&self.inner.disk), *key);
        let _ = tokio::task::spawn_blocking(move || disk.remove(&key)).await;
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "tests")]
mod tests;
