//! A store whose files are kept: what is asked for is put together from blocks, and what is missing is fetched.
//!
//! ```text
//! ranges -> blocks -> kept? -> all of one state of the file -> together
//!              |        no: fetched once, neighbours and what lies close in one request
//!              `-- of two states: all are forgotten and read anew; if they still differ the file is being changed: an error
//! ```

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::ops::Range;
use std::sync::Arc;

use async_trait::async_trait;
use bytes::{Bytes, BytesMut};
use futures::stream::{self, BoxStream};
use futures::{StreamExt, TryStreamExt};
use object_store::path::Path;
use object_store::{
    CopyOptions, Error, GetOptions, GetRange, GetResult, GetResultPayload, ListResult, MultipartUpload,
    OBJECT_STORE_COALESCE_DEFAULT, ObjectMeta, ObjectStore, PutMultipartOptions, PutOptions, PutPayload, PutResult,
    RenameOptions, Result,
};

use super::Cache;
use super::block::{BLOCK_BYTES, Block, Key, State};
use super::flight::{self, Flight, Turn};

/// Files that are asked for as a whole are kept up to this size.
const WHOLE: u64 = 64 << 20;
/// What lies so many blocks apart is fetched at once.
const CLOSE: u64 = OBJECT_STORE_COALESCE_DEFAULT / BLOCK_BYTES;
/// Requests at once for what one reader asks for.
const AT_ONCE: usize = 10;

/// A store whose files are kept.
#[derive(Debug)]
pub(super) struct Cached {
    inner: Arc<dyn ObjectStore>,
    identity: [u8; 32],
    cache: Cache,
}

/// The blocks of one file by their numbers.
type Blocks = BTreeMap<u64, Arc<Block>>;

/// Blocks that one request brings, and who waits for each.
type Run = (Range<u64>, Vec<(u64, Flight)>);

/// Whether a file is one that Iceberg writes once. A pointer to what is newest, and metadata whose name is only counted
/// up and may be taken again, are not.
pub(super) fn is_kept(path: &Path) -> bool {
    let Some(name) = path.filename() else { return false };
    let is_counted = name
        .strip_prefix('v')
        .and_then(|rest| rest.split('.').next())
        .is_some_and(|number| !number.is_empty() && number.bytes().all(|byte| byte.is_ascii_digit()));
    let is_metadata = name.ends_with(".metadata.json") || name.ends_with(".metadata.json.gz");
    let is_written_once = [".parquet", ".avro", ".puffin", ".orc"].iter().any(|end| name.ends_with(end));
    is_written_once || is_metadata && !is_counted
}

/// Whether nothing but bytes is asked for.
fn is_plain(options: &GetOptions) -> bool {
    !options.head
        && options.version.is_none()
        && options.if_match.is_none()
        && options.if_none_match.is_none()
        && options.if_modified_since.is_none()
        && options.if_unmodified_since.is_none()
}

/// The numbers of the blocks that a range touches.
fn numbers(range: &Range<u64>) -> Range<u64> {
    range.start / BLOCK_BYTES..range.end.div_ceil(BLOCK_BYTES)
}

/// Whether blocks are of one state of their file.
fn agree(blocks: &Blocks) -> bool {
    let mut states = blocks.values().map(|block| &block.of);
    states.next().is_none_or(|first| states.all(|other| other == first))
}

impl Cached {
    pub(super) fn new(inner: Arc<dyn ObjectStore>, identity: [u8; 32], cache: Cache) -> Self {
        Self { inner, identity, cache }
    }

    fn key(&self, location: &Path, number: u64) -> Key {
        Key::new(&self.identity, location, number)
    }

    /// Blocks of one state of the file that have all that is asked for.
    async fn blocks(&self, location: &Path, wanted: &BTreeSet<u64>) -> Result<Blocks> {
        let mut blocks = self.gather(location, wanted).await?;
        if !agree(&blocks) {
            for number in wanted {
                self.cache.forget(&self.key(location, *number)).await;
            }
            blocks = self.gather(location, wanted).await?;
        }
        match agree(&blocks) {
            true => Ok(blocks),
            false => Err(Error::Generic { store: "cache", source: "a file changed while it was read".into() }),
        }
    }

    /// Each block from where it is, until all are there or two of them are of different states of the file. What lies
    /// behind the end of the file is never there.
    async fn gather(&self, location: &Path, wanted: &BTreeSet<u64>) -> Result<Blocks> {
        let mut blocks = Blocks::new();
        loop {
            let is_behind = |number| blocks.values().next().is_some_and(|block| block.of.length(number) == 0);
            let missing = wanted.iter().copied().filter(|number| !blocks.contains_key(number) && !is_behind(*number));
            let keys: Vec<_> = missing.map(|number| (number, self.key(location, number))).collect();
            if keys.is_empty() || !agree(&blocks) {
                return Ok(blocks);
            }
            blocks.extend(self.cache.kept(&keys).await);
            let (mut mine, mut theirs) = (BTreeMap::new(), Vec::new());
            for (number, key) in keys.into_iter().filter(|(number, _)| !blocks.contains_key(number)) {
                match self.cache.inner.flights.join(key) {
                    Turn::Mine(flight) => drop(mine.insert(number, flight)),
                    Turn::Theirs(waiting) => theirs.push((number, waiting)),
                }
            }
            self.landed_meanwhile(location, &mut mine, &mut blocks).await;
            blocks.extend(self.fetch(location, mine).await?);
            for (number, waiting) in theirs {
                match flight::wait(waiting).await {
                    Some(Ok(block)) => drop(blocks.insert(number, block)),
                    Some(Err(error)) => return Err(flight::failure(&error)),
                    // It gave up: somebody fetches in the next round, maybe this one.
                    None => {}
                }
            }
        }
    }

    /// Blocks that somebody else fetched between the look at what is kept and the turn to fetch.
    async fn landed_meanwhile(&self, location: &Path, mine: &mut BTreeMap<u64, Flight>, blocks: &mut Blocks) {
        let mut there = Vec::new();
        for number in mine.keys() {
            if let Some(block) = self.cache.inner.memory.get(&self.key(location, *number)).await {
                there.push((*number, block));
            }
        }
        for (number, block) in there {
            if let Some(flight) = mine.remove(&number) {
                flight.land(Ok(Arc::clone(&block)));
            }
            blocks.insert(number, block);
        }
    }

    /// Fetches blocks, those that lie close together by one request.
    async fn fetch(&self, location: &Path, flights: BTreeMap<u64, Flight>) -> Result<Blocks> {
        let mut runs: Vec<Run> = Vec::new();
        for (number, flight) in flights {
            match runs.last_mut() {
                Some((run, flights)) if number <= run.end.saturating_add(CLOSE) => {
                    run.end = number + 1;
                    flights.push((number, flight));
                }
                _ => runs.push((number..number + 1, vec![(number, flight)])),
            }
        }
        let fetched = stream::iter(runs).map(|(run, flights)| self.fetch_run(location, run, flights));
        let fetched: Vec<Blocks> = fetched.buffer_unordered(AT_ONCE).try_collect().await?;
        Ok(fetched.into_iter().flatten().collect())
    }

    async fn fetch_run(&self, location: &Path, run: Range<u64>, flights: Vec<(u64, Flight)>) -> Result<Blocks> {
        match self.request(location, &run).await {
            Ok((meta, bytes)) => {
                let blocks = self.keep(location, &meta, run.start, &bytes).await;
                for (number, flight) in flights {
                    if let Some(block) = blocks.get(&number) {
                        flight.land(Ok(Arc::clone(block)));
                    }
                }
                Ok(blocks)
            }
            Err(error) => {
                let error = Arc::new(error);
                flights.into_iter().for_each(|(_, flight)| flight.land(Err(Arc::clone(&error))));
                Err(flight::failure(&error))
            }
        }
    }

    async fn request(&self, location: &Path, run: &Range<u64>) -> Result<(ObjectMeta, Bytes)> {
        let range = run.start.saturating_mul(BLOCK_BYTES)..run.end.saturating_mul(BLOCK_BYTES);
        arrived(self.part(location, range).await?).await
    }

    async fn part(&self, location: &Path, range: Range<u64>) -> Result<GetResult> {
        let options = GetOptions { range: Some(GetRange::Bounded(range)), ..GetOptions::default() };
        self.inner.get_opts(location, options).await
    }

    /// Keeps the whole blocks in `bytes`, which begin with the block `first`.
    async fn keep(&self, location: &Path, meta: &ObjectMeta, first: u64, bytes: &Bytes) -> Blocks {
        let of = Arc::new(State::of(meta));
        let (mut blocks, mut at, mut number) = (Blocks::new(), 0, first);
        while let Some(end) = usize::try_from(of.length(number))
            .ok()
            .filter(|length| *length > 0)
            .and_then(|length| usize::checked_add(at, length))
            && let Some(part) = bytes.get(at..end)
        {
            // A copy: a slice would hold all that came with it.
            let block = Arc::new(Block { of: Arc::clone(&of), bytes: Bytes::copy_from_slice(part) });
            self.cache.keep(self.key(location, number), number, Arc::clone(&block)).await;
            blocks.insert(number, block);
            (at, number) = (end, number + 1);
        }
        blocks
    }

    /// The bytes of ranges, and the state of the file that they are of.
    async fn read(&self, location: &Path, ranges: &[Range<u64>]) -> Result<(Arc<State>, Vec<Bytes>)> {
        let wanted: BTreeSet<u64> = ranges.iter().flat_map(numbers).collect();
        let blocks = self.blocks(location, &wanted).await?;
        let none = || Error::Generic { store: "cache", source: "a range lies behind the end of its file".into() };
        let of = blocks.values().next().map(|block| Arc::clone(&block.of)).ok_or_else(none)?;
        let read = ranges.iter().map(|range| together(&blocks, range.start..range.end.min(of.size)).ok_or_else(none));
        let read = read.collect::<Result<_>>()?;
        Ok((of, read))
    }

    async fn bounded(&self, location: &Path, range: Range<u64>) -> Result<GetResult> {
        let (of, bytes) = self.read(location, std::slice::from_ref(&range)).await?;
        Ok(result(of.meta(location), range.start..range.end.min(of.size), bytes))
    }

    /// A file as a whole. One whose size is not known is asked for, and kept if it is not too large.
    async fn whole(&self, location: &Path, options: GetOptions) -> Result<GetResult> {
        let first = self.cache.kept(&[(0, self.key(location, 0))]).await;
        if let Some((_, block)) = first.first() {
            return match block.of.size {
                size if size <= WHOLE => self.bounded(location, 0..size).await,
                _ => self.inner.get_opts(location, options).await,
            };
        }
        // The answer to a range says how long its file is, besides how long it is itself: one that was cut is not kept.
        let found = self.part(location, 0..WHOLE).await?;
        if found.meta.size > WHOLE {
            return self.inner.get_opts(location, options).await;
        }
        let (meta, bytes) = arrived(found).await?;
        self.keep(location, &meta, 0, &bytes).await;
        let all = 0..meta.size;
        Ok(result(meta, all, vec![bytes]))
    }
}

/// All bytes that a store said it would send.
async fn arrived(found: GetResult) -> Result<(ObjectMeta, Bytes)> {
    let (meta, expected) = (found.meta.clone(), found.range.end.saturating_sub(found.range.start));
    let bytes = found.bytes().await?;
    match u64::try_from(bytes.len()) == Ok(expected) {
        true => Ok((meta, bytes)),
        false => Err(Error::Generic { store: "cache", source: "a store sent less than it said".into() }),
    }
}

fn result(meta: ObjectMeta, range: Range<u64>, bytes: Vec<Bytes>) -> GetResult {
    let payload = GetResultPayload::Stream(stream::iter(bytes.into_iter().map(Ok)).boxed());
    GetResult { payload, meta, range, attributes: Default::default() }
}

/// The bytes of a range, without a copy where it lies in one block; `None` if the file ends before.
fn together(blocks: &Blocks, range: Range<u64>) -> Option<Bytes> {
    let part = |number: u64| {
        let block = &blocks.get(&number)?.bytes;
        let begin = number.saturating_mul(BLOCK_BYTES);
        let from = usize::try_from(range.start.saturating_sub(begin)).ok()?;
        let to = usize::try_from(range.end.saturating_sub(begin)).ok()?.min(block.len());
        (from < to).then(|| block.slice(from..to))
    };
    let of = numbers(&range);
    if range.start >= range.end {
        return None;
    }
    if of.end - of.start == 1 {
        return part(of.start);
    }
    let mut whole = BytesMut::with_capacity(usize::try_from(range.end - range.start).ok()?);
    for number in of {
        whole.extend_from_slice(&part(number)?);
    }
    Some(whole.freeze())
}

impl fmt::Display for Cached {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Cached({})", self.inner)
    }
}

#[async_trait]
#[deny(clippy::missing_trait_methods)]
impl ObjectStore for Cached {
    async fn get_opts(&self, location: &Path, options: GetOptions) -> Result<GetResult> {
        if !is_kept(location) || !is_plain(&options) {
            return self.inner.get_opts(location, options).await;
        }
        match &options.range {
            Some(GetRange::Bounded(range)) if range.start < range.end => self.bounded(location, range.clone()).await,
            None => self.whole(location, options).await,
            Some(_) => self.inner.get_opts(location, options).await,
        }
    }

    async fn get_ranges(&self, location: &Path, ranges: &[Range<u64>]) -> Result<Vec<Bytes>> {
        if !is_kept(location) || ranges.is_empty() || ranges.iter().any(|range| range.start >= range.end) {
            return self.inner.get_ranges(location, ranges).await;
        }
        Ok(self.read(location, ranges).await?.1)
    }

    async fn put_opts(&self, location: &Path, payload: PutPayload, options: PutOptions) -> Result<PutResult> {
        self.inner.put_opts(location, payload, options).await
    }

    async fn put_multipart_opts(
        &self,
        location: &Path,
        options: PutMultipartOptions,
    ) -> Result<Box<dyn MultipartUpload>> {
        self.inner.put_multipart_opts(location, options).await
    }

    fn delete_stream(&self, locations: BoxStream<'static, Result<Path>>) -> BoxStream<'static, Result<Path>> {
        self.inner.delete_stream(locations)
    }

    fn list(&self, prefix: Option<&Path>) -> BoxStream<'static, Result<ObjectMeta>> {
        self.inner.list(prefix)
    }

    fn list_with_offset(&self, prefix: Option<&Path>, offset: &Path) -> BoxStream<'static, Result<ObjectMeta>> {
        self.inner.list_with_offset(prefix, offset)
    }

    async fn list_with_delimiter(&self, prefix: Option<&Path>) -> Result<ListResult> {
        self.inner.list_with_delimiter(prefix).await
    }

    async fn copy_opts(&self, from: &Path, to: &Path, options: CopyOptions) -> Result<()> {
        self.inner.copy_opts(from, to, options).await
    }

    async fn rename_opts(&self, from: &Path, to: &Path, options: RenameOptions) -> Result<()> {
        self.inner.rename_opts(from, to, options).await
    }
}
