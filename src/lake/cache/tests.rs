//! What a cache serves, what it never serves, and what it costs.

use std::ops::Range;
use std::os::unix::fs::PermissionsExt;
use std::path::Path as Directory;
use std::sync::Mutex;
use std::sync::atomic::AtomicBool;

use async_trait::async_trait;
use bytes::Bytes;
use futures::StreamExt;
use futures::stream::{self, BoxStream};
use object_store::memory::InMemory;
use object_store::path::Path;
use object_store::{
    CopyOptions, GetOptions, GetResult, GetResultPayload, ListResult, MultipartUpload, ObjectMeta, ObjectStoreExt,
    PutMultipartOptions, PutOptions, PutPayload, PutResult, Result,
};
use tempfile::TempDir;
use tokio::sync::Notify;

use super::*;

/// A store that notes what it is asked for, and answers when it is let.
#[derive(Debug, Default)]
struct Counting {
    inner: InMemory,
    asked: Mutex<Vec<(String, Option<object_store::GetRange>)>>,
    held: Mutex<Option<Arc<Notify>>>,
    /// Whether half of an answer is sent as if it were the whole.
    shortens: AtomicBool,
}

impl Counting {
    async fn with(files: &[(&str, Vec<u8>)]) -> Arc<Self> {
        let store = Arc::new(Self::default());
        for (path, bytes) in files {
            store.inner.put(&Path::from(*path), PutPayload::from(bytes.clone())).await.unwrap();
        }
        store
    }

    fn asked(&self) -> usize {
        std::mem::take(&mut *self.asked.lock().unwrap()).len()
    }
}

impl fmt::Display for Counting {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Counting")
    }
}

#[async_trait]
impl ObjectStore for Counting {
    async fn get_opts(&self, location: &Path, options: GetOptions) -> Result<GetResult> {
        self.asked.lock().unwrap().push((location.to_string(), options.range.clone()));
        let held = self.held.lock().unwrap().clone();
        if let Some(held) = held {
            held.notified().await;
        }
        let is_part = options.range.is_some();
        let found = self.inner.get_opts(location, options).await?;
        if !self.shortens.load(Ordering::Relaxed) {
            return Ok(found);
        }
        let (mut meta, range) = (found.meta.clone(), found.range.clone());
        let bytes = found.bytes().await?;
        let half = bytes.slice(..bytes.len() / 2);
        if !is_part {
            // Nothing but its own length tells how long the file is.
            meta.size /= 2;
        }
        let payload = GetResultPayload::Stream(stream::once(async { Ok(half) }).boxed());
        Ok(GetResult { payload, meta, range, attributes: Default::default() })
    }

    async fn put_opts(&self, location: &Path, payload: PutPayload, options: PutOptions) -> Result<PutResult> {
        self.inner.put_opts(location, payload, options).await
    }

    async fn put_multipart_opts(&self, at: &Path, options: PutMultipartOptions) -> Result<Box<dyn MultipartUpload>> {
        self.inner.put_multipart_opts(at, options).await
    }

    fn delete_stream(&self, locations: BoxStream<'static, Result<Path>>) -> BoxStream<'static, Result<Path>> {
        self.inner.delete_stream(locations)
    }

    fn list(&self, prefix: Option<&Path>) -> BoxStream<'static, Result<ObjectMeta>> {
        self.inner.list(prefix)
    }

    async fn list_with_delimiter(&self, prefix: Option<&Path>) -> Result<ListResult> {
        self.inner.list_with_delimiter(prefix).await
    }

    async fn copy_opts(&self, from: &Path, to: &Path, options: CopyOptions) -> Result<()> {
        self.inner.copy_opts(from, to, options).await
    }
}

const FILE: &str = "t/data/1.parquet";

/// Bytes that differ from each other everywhere.
fn bytes(length: usize, seed: u8) -> Vec<u8> {
    (0..length).map(|at| (at.wrapping_mul(31) >> 3) as u8 ^ seed).collect()
}

fn options(dir: &Directory) -> Options {
    Options { directory: dir.to_owned(), disk: 64 << 20, memory: 64 << 20 }
}

fn open(dir: &TempDir) -> Cache {
    Cache::open(&options(dir.path())).unwrap()
}

async fn read(store: &Arc<dyn ObjectStore>, range: Range<u64>) -> Vec<u8> {
    store.get_range(&Path::from(FILE), range).await.unwrap().to_vec()
}

/// The files below a directory that are blocks.
fn blocks(dir: &TempDir) -> Vec<std::path::PathBuf> {
    let mut found = Vec::new();
    for shard in std::fs::read_dir(dir.path().join("polder-cache")).unwrap().flatten() {
        if shard.path().is_dir() {
            found.extend(std::fs::read_dir(shard.path()).unwrap().map(|file| file.unwrap().path()));
        }
    }
    found
}

#[tokio::test]
async fn what_was_read_is_read_again_from_memory_and_after_a_restart_from_disk() {
    let content = bytes(5 * BLOCK + 7, 0);
    let (dir, store) = (tempfile::tempdir().unwrap(), Counting::with(&[(FILE, content.clone())]).await);
    let cache = open(&dir);
    let cached = cache.over(store.clone(), "shop");
    let end = content.len() as u64;
    let ranges = [0..10, 100..300, (BLOCK as u64 - 3)..(2 * BLOCK as u64 + 3), end - 8..end];
    let expect = |ranges: &[Range<u64>]| -> Vec<Bytes> {
        ranges.iter().map(|range| Bytes::copy_from_slice(&content[range.start as usize..range.end as usize])).collect()
    };
    let path = Path::from(FILE);
    assert_eq!(cached.get_ranges(&path, &ranges).await.unwrap(), expect(&ranges));
    assert_eq!(store.asked(), 1, "what lies close together is one request");
    assert_eq!(cached.get_ranges(&path, &ranges).await.unwrap(), expect(&ranges));
    assert_eq!(read(&cached, 0..end).await, content);
    let found = cached.get(&path).await.unwrap();
    assert_eq!((found.meta.size, found.meta.e_tag.is_some()), (end, true));
    assert_eq!(found.bytes().await.unwrap(), content);
    assert_eq!(store.asked(), 0);
    cache.written().await;
    let counts = cache.counts();
    assert_eq!((counts.store.blocks, counts.store.bytes, counts.damaged, counts.unwritten), (6, end, 0, 0));
    assert!(counts.on_disk > end && counts.memory.blocks > 6);

    drop((cached, cache));
    let cache = open(&dir);
    let cached = cache.over(store.clone(), "shop");
    assert_eq!(cached.get_ranges(&path, &ranges).await.unwrap(), expect(&ranges));
    assert_eq!(cached.get(&path).await.unwrap().bytes().await.unwrap(), content);
    assert_eq!(store.asked(), 0);
    assert_eq!(cache.counts().disk.blocks, 6);
}

#[tokio::test]
async fn nobody_is_answered_with_what_was_read_by_another_identity() {
    let dir = tempfile::tempdir().unwrap();
    let cache = open(&dir);
    let (shop, other) =
        (Counting::with(&[(FILE, bytes(100, 1))]).await, Counting::with(&[(FILE, bytes(100, 2))]).await);
    let (of_shop, of_other) =
        (cache.over(shop.clone(), "shop root as f1"), cache.over(other.clone(), "other root as f1"));
    assert_eq!(read(&of_shop, 0..100).await, bytes(100, 1));
    assert_eq!(read(&of_other, 0..100).await, bytes(100, 2));
    assert_eq!((shop.asked(), other.asked()), (1, 1));
    // The same domain with other credentials, whose store would refuse it.
    let nothing = Counting::with(&[]).await;
    let refused = cache.over(nothing.clone(), "shop root as f2");
    let error = refused.get_range(&Path::from(FILE), 0..100).await.unwrap_err();
    assert!(matches!(error, object_store::Error::NotFound { .. }), "{error}");
    assert_eq!(nothing.asked(), 1);
}

#[tokio::test]
async fn a_file_that_changed_in_its_place_is_never_mixed() {
    let dir = tempfile::tempdir().unwrap();
    let store = Counting::with(&[(FILE, bytes(20 * BLOCK, 1))]).await;
    let cache = open(&dir);
    let cached = cache.over(store.clone(), "shop");
    let (early, late) = (0..10, 15 * BLOCK as u64..15 * BLOCK as u64 + 10);
    assert_eq!(read(&cached, early.clone()).await, bytes(20 * BLOCK, 1)[..10]);
    // Iceberg never does this.
    store.inner.put(&Path::from(FILE), PutPayload::from(bytes(20 * BLOCK, 2))).await.unwrap();
    let both = cached.get_ranges(&Path::from(FILE), &[early.clone(), late]).await.unwrap();
    let now = bytes(20 * BLOCK, 2);
    assert_eq!((both[0].to_vec(), both[1].to_vec()), (now[..10].to_vec(), now[15 * BLOCK..15 * BLOCK + 10].to_vec()));
    assert_eq!(read(&cached, early).await, now[..10], "and what was kept before is forgotten");
    cache.written().await;
    // A file that became shorter has no blocks where it had some.
    store.inner.put(&Path::from(FILE), PutPayload::from(bytes(10, 3))).await.unwrap();
    let gone = cached.get_ranges(&Path::from(FILE), &[0..10, 18 * BLOCK as u64..18 * BLOCK as u64 + 1]).await;
    assert!(gone.is_err());
}

#[tokio::test]
async fn damaged_blocks_on_disk_count_as_missing_and_are_replaced() {
    let content = bytes(3 * BLOCK, 5);
    let (dir, store) = (tempfile::tempdir().unwrap(), Counting::with(&[(FILE, content.clone())]).await);
    let cache = open(&dir);
    read(&cache.over(store.clone(), "shop"), 0..3 * BLOCK as u64).await;
    cache.written().await;
    drop(cache);
    let files = blocks(&dir);
    assert_eq!(files.len(), 3);
    // One is cut, one has a wrong bit, and one is another's.
    let whole = std::fs::read(&files[0]).unwrap();
    std::fs::write(&files[0], &whole[..whole.len() / 2]).unwrap();
    let mut flipped = std::fs::read(&files[1]).unwrap();
    flipped[BLOCK / 2] ^= 1;
    std::fs::write(&files[1], flipped).unwrap();
    std::fs::write(&files[2], whole).unwrap();
    store.asked();
    let cache = open(&dir);
    let cached = cache.over(store.clone(), "shop");
    assert_eq!(read(&cached, 0..3 * BLOCK as u64).await, content);
    assert_eq!((store.asked(), cache.counts().damaged), (1, 3));
    cache.written().await;
    drop((cached, cache));
    let cache = open(&dir);
    assert_eq!(read(&cache.over(store.clone(), "shop"), 0..3 * BLOCK as u64).await, content);
    assert_eq!((store.asked(), cache.counts().damaged), (0, 0));
}

#[tokio::test]
async fn a_disk_that_cannot_be_written_to_fails_no_query() {
    let content = bytes(2 * BLOCK, 6);
    let (dir, store) = (tempfile::tempdir().unwrap(), Counting::with(&[(FILE, content.clone())]).await);
    let cache = open(&dir);
    // Where a directory should be there is a file: every write fails, as on a full disk.
    for shard in 0..=255_u8 {
        std::fs::write(dir.path().join(format!("polder-cache/{shard:02x}")), "").unwrap();
    }
    let cached = cache.over(store.clone(), "shop");
    assert_eq!(read(&cached, 0..2 * BLOCK as u64).await, content);
    cache.written().await;
    let counts = cache.counts();
    assert_eq!((counts.unwritten, counts.on_disk), (2, 0));
    assert_eq!(read(&cached, 0..2 * BLOCK as u64).await, content);
    assert_eq!(store.asked(), 1, "memory has it");
    assert!(!cache.inner.disk.takes(1), "and the disk is let alone for a while");
}

#[tokio::test]
async fn no_more_is_kept_than_is_allowed_and_what_was_not_used_goes_first() {
    let content = bytes(20 * BLOCK, 7);
    let (dir, store) = (tempfile::tempdir().unwrap(), Counting::with(&[(FILE, content.clone())]).await);
    // Five blocks with what stands before them.
    let most = 5 * (BLOCK as u64 + 256);
    let small = Options { disk: most, memory: 0, ..options(dir.path()) };
    let cache = Cache::open(&small).unwrap();
    let cached = cache.over(store.clone(), "shop");
    for number in 0..20_u64 {
        for used in [0, number] {
            let begin = used * BLOCK as u64;
            assert_eq!(read(&cached, begin..begin + 5).await, content[begin as usize..begin as usize + 5]);
            cache.written().await;
        }
        assert!(cache.counts().on_disk <= most);
    }
    assert_eq!(store.asked(), 20, "the first one was used all the time");
    assert_eq!(blocks(&dir).len(), 5);
    drop((cached, cache));
    let smaller = Options { disk: 2 * (BLOCK as u64 + 256), ..small };
    let left = Cache::open(&smaller).unwrap().counts().on_disk;
    assert_eq!(left, blocks(&dir).iter().map(|block| block.metadata().unwrap().len()).sum::<u64>());
    assert_eq!(blocks(&dir).len(), 2);
}

#[tokio::test]
async fn one_block_that_many_want_at_once_is_asked_for_once() {
    let (dir, store) = (tempfile::tempdir().unwrap(), Counting::with(&[(FILE, bytes(BLOCK, 8))]).await);
    let cached = open(&dir).over(store.clone(), "shop");
    let gate = Arc::new(Notify::new());
    *store.held.lock().unwrap() = Some(Arc::clone(&gate));
    let ask = |at: u64| {
        let cached = Arc::clone(&cached);
        tokio::spawn(async move { read(&cached, at..at + 4).await })
    };
    // The first one to ask goes away while it waits: another one asks in its place.
    let first = ask(0);
    while store.asked.lock().unwrap().is_empty() {
        tokio::task::yield_now().await;
    }
    let others: Vec<_> = (0..16).map(ask).collect();
    tokio::task::yield_now().await;
    first.abort();
    assert!(first.await.is_err());
    while store.asked.lock().unwrap().len() < 2 {
        tokio::task::yield_now().await;
    }
    *store.held.lock().unwrap() = None;
    gate.notify_waiters();
    for (at, other) in others.into_iter().enumerate() {
        assert_eq!(other.await.unwrap(), bytes(BLOCK, 8)[at..at + 4]);
    }
    assert_eq!(store.asked(), 2);
}

#[tokio::test]
async fn everyone_who_waits_for_a_failure_is_told_it() {
    let (dir, store) = (tempfile::tempdir().unwrap(), Counting::with(&[]).await);
    let cached = open(&dir).over(store.clone(), "shop");
    let gate = Arc::new(Notify::new());
    *store.held.lock().unwrap() = Some(Arc::clone(&gate));
    let ask = || {
        let cached = Arc::clone(&cached);
        tokio::spawn(async move { cached.get_range(&Path::from(FILE), 0..4).await })
    };
    let asks: Vec<_> = (0..8).map(|_| ask()).collect();
    while store.asked.lock().unwrap().is_empty() {
        tokio::task::yield_now().await;
    }
    *store.held.lock().unwrap() = None;
    gate.notify_waiters();
    for asked in asks {
        assert!(matches!(asked.await.unwrap().unwrap_err(), object_store::Error::NotFound { .. }));
    }
    assert_eq!(store.asked(), 1);
    assert!(cached.get_range(&Path::from(FILE), 0..4).await.is_err());
    assert_eq!(store.asked(), 1, "a failure is not kept");
}

#[tokio::test]
async fn an_answer_that_was_cut_is_not_kept() {
    let (dir, store) = (tempfile::tempdir().unwrap(), Counting::with(&[(FILE, bytes(BLOCK + 9, 3))]).await);
    let cached = open(&dir).over(store.clone(), "shop");
    let path = Path::from(FILE);
    store.shortens.store(true, Ordering::Relaxed);
    assert!(cached.get(&path).await.is_err());
    assert!(cached.get_range(&path, 4..8).await.is_err());
    store.shortens.store(false, Ordering::Relaxed);
    let whole = cached.get(&path).await.unwrap();
    assert_eq!(whole.meta.size, (BLOCK + 9) as u64);
    assert_eq!(whole.bytes().await.unwrap(), bytes(BLOCK + 9, 3));
    assert_eq!(store.asked(), 3);
}

#[tokio::test]
async fn what_may_change_is_never_kept() {
    let changing = ["t/metadata/version-hint.text", "t/metadata/v3.metadata.json", "t/_SUCCESS", "t/x.json", "parquet"];
    let lasting = [FILE, "t/metadata/00001-a.metadata.json", "t/metadata/snap-1.avro", "t/d.puffin"];
    for (paths, again) in [(changing.as_slice(), 1), (lasting.as_slice(), 0)] {
        for path in paths {
            let (dir, store) = (tempfile::tempdir().unwrap(), Counting::with(&[(path, bytes(10, 1))]).await);
            let cached = open(&dir).over(store.clone(), "shop");
            let path = Path::from(*path);
            cached.get(&path).await.unwrap().bytes().await.unwrap();
            assert_eq!(store.asked(), 1);
            cached.get(&path).await.unwrap().bytes().await.unwrap();
            assert_eq!(store.asked(), again, "{path}");
            cached.head(&path).await.unwrap();
            assert_eq!(store.asked(), 1, "what is said of a file is asked for");
        }
    }
}

#[tokio::test]
async fn nothing_on_disk_can_be_read_by_others_or_tells_what_it_is_of() {
    let (dir, store) = (tempfile::tempdir().unwrap(), Counting::with(&[(FILE, bytes(10, 1))]).await);
    let inside = dir.path().join("new/cache");
    let cache = Cache::open(&options(&inside)).unwrap();
    read(&cache.over(store, "shop"), 0..10).await;
    cache.written().await;
    let mut looked = 0;
    let mut open = vec![inside.join("polder-cache")];
    while let Some(path) = open.pop() {
        let mode = std::fs::metadata(&path).unwrap().permissions().mode() & 0o777;
        let name = path.file_name().unwrap().to_string_lossy().into_owned();
        assert_eq!(mode, if path.is_dir() { 0o700 } else { 0o600 }, "{name}");
        assert!(!name.contains("parquet") && !name.contains("shop"));
        if path.is_dir() {
            open.extend(std::fs::read_dir(&path).unwrap().map(|entry| entry.unwrap().path()));
        }
        looked += 1;
    }
    assert_eq!(looked, 4, "the directory, its lock, a shard and a block");
    let error = Cache::open(&options(&inside)).unwrap_err();
    assert_eq!(error.message, "the cache's directory cannot be used: another process has it");
    assert!(!error.to_string().contains(&*dir.path().to_string_lossy()));
}
