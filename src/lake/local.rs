//! A directory of this machine, whose disk may hang as a server does.
//!
//! Reading a file takes a thread of the process, which no one gets back before the read ends. Each read is a task of its own
//! that holds a place of its domain until then, also when nobody waits for it any more: a mount that hangs takes as many
//! threads as its domain has places, and those of other domains go on.

use std::fmt;
use std::ops::Range;
use std::sync::Arc;

use async_trait::async_trait;
use bytes::Bytes;
use futures::stream::BoxStream;
use futures::{StreamExt, stream};
use object_store::path::Path;
use object_store::{
    CopyOptions, Error, GetOptions, GetResult, GetResultPayload, ListResult, MultipartUpload, ObjectMeta, ObjectStore,
    PutMultipartOptions, PutOptions, PutPayload, PutResult, RenameOptions, Result,
};
use tokio::sync::Semaphore;

use super::budget::place;

/// A directory within the places of its domain.
#[derive(Debug)]
pub(super) struct Local {
    inner: Arc<dyn ObjectStore>,
    places: Arc<Semaphore>,
}

impl Local {
    pub(super) fn new(inner: Arc<dyn ObjectStore>, places: Arc<Semaphore>) -> Self {
        Self { inner, places }
    }

    async fn apart<T: Send + 'static>(&self, work: impl Future<Output = Result<T>> + Send + 'static) -> Result<T> {
        let place = place(Arc::clone(&self.places)).await?;
        let reading = tokio::spawn(async move {
            let _place = place;
            work.await
        });
        reading.await.map_err(|source| Error::JoinError { source })?
    }
}

impl fmt::Display for Local {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Local({})", self.inner)
    }
}

/// What was found, read: a file that is open would be read by whoever gets it.
async fn read(found: GetResult) -> Result<GetResult> {
    let (meta, range, attributes) = (found.meta.clone(), found.range.clone(), found.attributes.clone());
    let bytes = found.bytes().await?;
    let payload = GetResultPayload::Stream(stream::once(async { Ok(bytes) }).boxed());
    Ok(GetResult { payload, meta, range, attributes })
}

#[async_trait]
#[deny(clippy::missing_trait_methods)]
impl ObjectStore for Local {
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

    async fn get_opts(&self, location: &Path, options: GetOptions) -> Result<GetResult> {
        let (inner, location, head) = (Arc::clone(&self.inner), location.clone(), options.head);
        self.apart(async move {
            let found = inner.get_opts(&location, options).await?;
            if head { Ok(found) } else { read(found).await }
        })
        .await
    }

    async fn get_ranges(&self, location: &Path, ranges: &[Range<u64>]) -> Result<Vec<Bytes>> {
        let (inner, location, ranges) = (Arc::clone(&self.inner), location.clone(), ranges.to_vec());
        self.apart(async move { inner.get_ranges(&location, &ranges).await }).await
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

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "tests")]
mod tests {
    use std::process::Command;
    use std::time::Duration;

    use object_store::ObjectStoreExt;
    use object_store::local::LocalFileSystem;

    use super::*;

    #[tokio::test]
    async fn a_read_that_hangs_keeps_its_place_when_nobody_waits_for_it() {
        let directory = tempfile::tempdir().unwrap();
        std::fs::write(directory.path().join("file"), "tulip").unwrap();
        let pipe = directory.path().join("pipe");
        assert!(Command::new("mkfifo").arg(&pipe).status().unwrap().success());
        let places = Arc::new(Semaphore::new(2));
        let local = LocalFileSystem::new_with_prefix(directory.path()).unwrap();
        let store = Local::new(Arc::new(local), Arc::clone(&places));
        let read = async |name: &str| store.get_range(&Path::from(name), 1..3).await;
        let hanging = tokio::time::timeout(Duration::from_millis(100), read("pipe")).await;
        assert!(hanging.is_err(), "nobody writes into it");
        assert_eq!(places.available_permits(), 1);
        assert_eq!(read("file").await.unwrap(), "ul");
        assert_eq!(store.get(&Path::from("file")).await.unwrap().bytes().await.unwrap(), "tulip");
        // Its thread is let go.
        std::fs::write(&pipe, "").unwrap();
        while places.available_permits() < 2 {
            tokio::task::yield_now().await;
        }
    }
}
