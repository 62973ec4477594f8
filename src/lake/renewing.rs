//! A store that is read with what its catalog lends: what it refuses is asked for once more with what the catalog lends now.
//!
//! A catalog may take back what it lent before the end that it named, as when its keys are rotated.

use std::fmt;
use std::ops::Range;
use std::sync::Arc;

use async_trait::async_trait;
use bytes::Bytes;
use futures::stream::BoxStream;
use object_store::path::Path;
use object_store::{
    CopyOptions, Error, GetOptions, GetResult, ListResult, MultipartUpload, ObjectMeta, ObjectStore,
    PutMultipartOptions, PutOptions, PutPayload, PutResult, RenameOptions, Result,
};

use super::error::is_refusal;
use super::vended::Lent;

pub(super) struct Renewing {
    inner: Arc<dyn ObjectStore>,
    lent: Arc<Lent>,
}

/// Without the store, which would print what it logs in with.
impl fmt::Debug for Renewing {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Renewing").field("lent", &self.lent).finish_non_exhaustive()
    }
}

impl fmt::Display for Renewing {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Renewing({})", self.inner)
    }
}

impl Renewing {
    pub(super) fn new(inner: Arc<dyn ObjectStore>, lent: Arc<Lent>) -> Self {
        Self { inner, lent }
    }

    /// Whether there are other credentials now than those under which a request was refused.
    async fn is_renewed(&self, before: u64, refused: Option<&Error>) -> bool {
        refused.is_some_and(is_refusal) && self.lent.renew(before).await
    }
}

#[async_trait]
#[deny(clippy::missing_trait_methods)]
impl ObjectStore for Renewing {
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
        let before = self.lent.renewals();
        let answer = self.inner.get_opts(location, options.clone()).await;
        if self.is_renewed(before, answer.as_ref().err()).await {
            return self.inner.get_opts(location, options).await;
        }
        answer
    }

    async fn get_ranges(&self, location: &Path, ranges: &[Range<u64>]) -> Result<Vec<Bytes>> {
        let before = self.lent.renewals();
        let answer = self.inner.get_ranges(location, ranges).await;
        if self.is_renewed(before, answer.as_ref().err()).await {
            return self.inner.get_ranges(location, ranges).await;
        }
        answer
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
