//! How many requests a domain's stores answer at once: who comes when all places are taken waits, in the order of coming.
//!
//! Each domain has places of its own, so a store that is slow or silent takes none from another domain. A place is held until
//! the last byte has come. What lies close together is fetched at once. Whether the store is well is noted of each file that is
//! read.

use std::fmt;
use std::ops::Range;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use async_trait::async_trait;
use bytes::Bytes;
use futures::stream::BoxStream;
use futures::{FutureExt, Stream, StreamExt, TryStreamExt};
use object_store::path::Path;
use object_store::{
    CopyOptions, Error, GetOptions, GetResult, GetResultPayload, ListResult, MultipartUpload,
    OBJECT_STORE_COALESCE_DEFAULT, ObjectMeta, ObjectStore, ObjectStoreExt, PutMultipartOptions, PutOptions,
    PutPayload, PutResult, RenameOptions, Result, coalesce_ranges,
};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use super::catalog::breaker::Breaker;

/// A store that asks no more at once than there are places.
pub(super) struct Budgeted {
    inner: Arc<dyn ObjectStore>,
    places: Arc<Semaphore>,
    /// Who is told what reading came to.
    reading: Arc<Breaker>,
}

/// Without the store, which would print what it logs in with.
impl fmt::Debug for Budgeted {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Budgeted").field("places", &self.places).finish_non_exhaustive()
    }
}

impl Budgeted {
    pub(super) fn new(inner: Arc<dyn ObjectStore>, places: Arc<Semaphore>, reading: Arc<Breaker>) -> Self {
        Self { inner, places, reading }
    }

    async fn place(&self) -> Result<OwnedSemaphorePermit> {
        place(Arc::clone(&self.places)).await
    }
}

pub(super) async fn place(places: Arc<Semaphore>) -> Result<OwnedSemaphorePermit> {
    places.acquire_owned().await.map_err(|source| Error::Generic { store: "budget", source: Box::new(source) })
}

impl fmt::Display for Budgeted {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Budgeted({})", self.inner)
    }
}

/// A stream with the place that it takes.
struct Held<S> {
    inner: S,
    _place: OwnedSemaphorePermit,
}

impl<S: Stream + Unpin> Stream for Held<S> {
    type Item = S::Item;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        Pin::new(&mut self.inner).poll_next(cx)
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        self.inner.size_hint()
    }
}

/// What `stream` makes once there is a place for it.
fn held<T: Send + 'static>(
    places: Arc<Semaphore>,
    stream: impl FnOnce() -> BoxStream<'static, Result<T>> + Send + 'static,
) -> BoxStream<'static, Result<T>> {
    let placed = place(places).map(|place| match place {
        Ok(place) => Held { inner: stream(), _place: place }.boxed(),
        Err(error) => futures::stream::once(async { Err(error) }).boxed(),
    });
    placed.into_stream().flatten().boxed()
}

#[async_trait]
#[deny(clippy::missing_trait_methods)]
impl ObjectStore for Budgeted {
    async fn put_opts(&self, location: &Path, payload: PutPayload, options: PutOptions) -> Result<PutResult> {
        let _place = self.place().await?;
        self.inner.put_opts(location, payload, options).await
    }

    /// Its parts take no places: only who makes a mesh writes, and nobody is served then.
    async fn put_multipart_opts(
        &self,
        location: &Path,
        options: PutMultipartOptions,
    ) -> Result<Box<dyn MultipartUpload>> {
        let _place = self.place().await?;
        self.inner.put_multipart_opts(location, options).await
    }

    async fn get_opts(&self, location: &Path, options: GetOptions) -> Result<GetResult> {
        let place = self.place().await?;
        let found = self.inner.get_opts(location, options).await;
        self.reading.saw(found.as_ref().err());
        let found = found?;
        let payload = match found.payload {
            GetResultPayload::Stream(inner) => {
                let reading = Arc::clone(&self.reading);
                let inner = inner.inspect_err(move |error| reading.saw(Some(error)));
                GetResultPayload::Stream(Held { inner, _place: place }.boxed())
            }
            file @ GetResultPayload::File(..) => file,
        };
        Ok(GetResult { payload, ..found })
    }

    async fn get_ranges(&self, location: &Path, ranges: &[Range<u64>]) -> Result<Vec<Bytes>> {
        coalesce_ranges(ranges, |range| self.get_range(location, range), OBJECT_STORE_COALESCE_DEFAULT).await
    }

    fn delete_stream(&self, locations: BoxStream<'static, Result<Path>>) -> BoxStream<'static, Result<Path>> {
        let inner = Arc::clone(&self.inner);
        held(Arc::clone(&self.places), move || inner.delete_stream(locations))
    }

    fn list(&self, prefix: Option<&Path>) -> BoxStream<'static, Result<ObjectMeta>> {
        let (inner, prefix) = (Arc::clone(&self.inner), prefix.cloned());
        held(Arc::clone(&self.places), move || inner.list(prefix.as_ref()))
    }

    fn list_with_offset(&self, prefix: Option<&Path>, offset: &Path) -> BoxStream<'static, Result<ObjectMeta>> {
        let (inner, prefix, offset) = (Arc::clone(&self.inner), prefix.cloned(), offset.clone());
        held(Arc::clone(&self.places), move || inner.list_with_offset(prefix.as_ref(), &offset))
    }

    async fn list_with_delimiter(&self, prefix: Option<&Path>) -> Result<ListResult> {
        let _place = self.place().await?;
        self.inner.list_with_delimiter(prefix).await
    }

    async fn copy_opts(&self, from: &Path, to: &Path, options: CopyOptions) -> Result<()> {
        let _place = self.place().await?;
        self.inner.copy_opts(from, to, options).await
    }

    async fn rename_opts(&self, from: &Path, to: &Path, options: RenameOptions) -> Result<()> {
        let _place = self.place().await?;
        self.inner.rename_opts(from, to, options).await
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "tests")]
mod tests {
    use object_store::memory::InMemory;

    use super::super::catalog::breaker::Part;
    use super::*;

    fn breaker() -> Arc<Breaker> {
        Arc::new(Breaker::new("shop", Part::Store, std::time::Duration::from_secs(1)))
    }

    #[tokio::test]
    async fn a_place_is_held_until_the_last_byte_and_whoever_waits_gets_it_then() {
        let (inner, path) = (InMemory::new(), Path::from("x"));
        inner.put(&path, PutPayload::from_static(b"tulip")).await.unwrap();
        let places = Arc::new(Semaphore::new(1));
        let store = Arc::new(Budgeted::new(Arc::new(inner), Arc::clone(&places), breaker()));
        let first = store.get(&path).await.unwrap();
        assert_eq!(places.available_permits(), 0);
        let waiting = tokio::spawn({
            let (store, path) = (Arc::clone(&store), path.clone());
            async move { store.get_range(&path, 0..2).await }
        });
        tokio::task::yield_now().await;
        assert!(!waiting.is_finished());
        assert_eq!(first.bytes().await.unwrap(), "tulip");
        assert_eq!(waiting.await.unwrap().unwrap(), "tu");
        assert_eq!(places.available_permits(), 1);
        assert!(store.get(&Path::from("y")).await.is_err());
        assert_eq!(store.list(None).count().await, 1);
        assert_eq!(places.available_permits(), 1, "who failed or finished takes no place");
    }

    #[test]
    fn what_a_store_logs_in_with_is_not_printed() {
        let google = object_store::gcp::GcpCredential { bearer: "hunter2".to_owned() };
        let google = object_store::gcp::GoogleCloudStorageBuilder::new()
            .with_bucket_name("b")
            .with_credentials(Arc::new(object_store::StaticCredentialProvider::new(google)))
            .build()
            .unwrap();
        let store = Budgeted::new(Arc::new(google), Arc::new(Semaphore::new(1)), breaker());
        assert!(!format!("{store:?} {store}").contains("hunter2"));
    }
}
