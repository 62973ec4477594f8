//! A store that answers late: the files of this machine behind a pause for each request.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use futures::stream::BoxStream;
use object_store::path::Path;
use object_store::{
    CopyOptions, GetOptions, GetResult, ListResult, MultipartUpload, ObjectMeta, ObjectStore, PutMultipartOptions,
    PutOptions, PutPayload, PutResult, Result,
};
use polder::lake::{Between, Options, cache};

use crate::tables::Setting;

/// How late.
const LATE: Duration = Duration::from_millis(20);

/// Without a cache.
pub(crate) fn far() -> Options {
    Options { cache: None, between: Some(Arc::new(Late)) }
}

/// With a cache that is empty at first.
pub(crate) fn kept(setting: &Setting) -> crate::Result<Options> {
    let directory = setting.data.join("kept");
    if directory.exists() {
        std::fs::remove_dir_all(&directory)?;
    }
    Ok(Options { cache: Some(cache::Options { directory, disk: 10 << 30, memory: 256 << 20 }), ..far() })
}

#[derive(Debug)]
struct Late;

impl Between for Late {
    fn before(&self, store: Arc<dyn ObjectStore>) -> Arc<dyn ObjectStore> {
        Arc::new(LateStore(store))
    }
}

#[derive(Debug)]
struct LateStore(Arc<dyn ObjectStore>);

impl fmt::Display for LateStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "LateStore({})", self.0)
    }
}

#[async_trait]
impl ObjectStore for LateStore {
    async fn get_opts(&self, location: &Path, options: GetOptions) -> Result<GetResult> {
        tokio::time::sleep(LATE).await;
        self.0.get_opts(location, options).await
    }

    async fn put_opts(&self, location: &Path, payload: PutPayload, options: PutOptions) -> Result<PutResult> {
        self.0.put_opts(location, payload, options).await
    }

    async fn put_multipart_opts(&self, at: &Path, options: PutMultipartOptions) -> Result<Box<dyn MultipartUpload>> {
        self.0.put_multipart_opts(at, options).await
    }

    fn delete_stream(&self, locations: BoxStream<'static, Result<Path>>) -> BoxStream<'static, Result<Path>> {
        self.0.delete_stream(locations)
    }

    fn list(&self, prefix: Option<&Path>) -> BoxStream<'static, Result<ObjectMeta>> {
        self.0.list(prefix)
    }

    async fn list_with_delimiter(&self, prefix: Option<&Path>) -> Result<ListResult> {
        self.0.list_with_delimiter(prefix).await
    }

    async fn copy_opts(&self, from: &Path, to: &Path, options: CopyOptions) -> Result<()> {
        self.0.copy_opts(from, to, options).await
    }
}
