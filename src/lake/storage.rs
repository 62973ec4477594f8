//! iceberg's `Storage` over an object store: metadata, manifests and data files go through the same one.

use std::ops::Range;
use std::sync::Arc;

use async_trait::async_trait;
use bytes::Bytes;
use futures::stream::BoxStream;
use futures::{StreamExt, TryStreamExt};
use iceberg::io::{FileMetadata, FileRead, FileWrite, InputFile, OutputFile, Storage, StorageConfig, StorageFactory};
use iceberg::{Error, ErrorKind, Result};
use object_store::buffered::BufWriter;
use object_store::path::Path;
use object_store::{ObjectStore, ObjectStoreExt, PutPayload};
use serde::{Deserialize, Serialize};
use tokio::io::AsyncWriteExt;

use super::catalog::breaker::Breaker;
use super::root::Root;

/// A store and where it begins. The store holds credentials, so it never travels: what comes out of a serialised one
/// refuses to work.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub(crate) struct LakeStorage {
    #[serde(skip)]
    live: Option<Live>,
}

#[derive(Debug, Clone)]
struct Live {
    store: Arc<dyn ObjectStore>,
    root: Root,
    /// What whole files are read behind: those are metadata.
    breaker: Option<Arc<Breaker>>,
}

impl LakeStorage {
    pub(super) fn new(store: Arc<dyn ObjectStore>, root: Root) -> Self {
        Self { live: Some(Live { store, root, breaker: None }) }
    }

    /// The same, which is let alone while it is known to be down.
    pub(super) fn behind(self, breaker: Arc<Breaker>) -> Self {
        Self { live: self.live.map(|live| Live { breaker: Some(breaker), ..live }) }
    }

    fn at(&self, location: &str) -> Result<(&Arc<dyn ObjectStore>, Path)> {
        let live = self
            .live
            .as_ref()
            .ok_or_else(|| Error::new(ErrorKind::FeatureUnsupported, "a store does not survive serialisation"))?;
        let path = live
            .root
            .path(location)
            .ok_or_else(|| Error::new(ErrorKind::DataInvalid, "a file lies outside the store of its domain"))?;
        Ok((&live.store, path))
    }
}

fn failed(source: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> Error {
    let source: Box<dyn std::error::Error + Send + Sync> = source.into();
    Error::new(ErrorKind::Unexpected, "the object store failed").with_source(BoxedError(source))
}

/// iceberg takes a typed source only; this gives a boxed one a type.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
struct BoxedError(#[source] Box<dyn std::error::Error + Send + Sync>);

#[async_trait]
#[typetag::serde(name = "polder-lake")]
impl Storage for LakeStorage {
    async fn exists(&self, path: &str) -> Result<bool> {
        let (store, path) = self.at(path)?;
        match store.head(&path).await {
            Ok(_) => Ok(true),
            Err(object_store::Error::NotFound { .. }) => Ok(false),
            Err(source) => Err(failed(source)),
        }
    }

    async fn metadata(&self, path: &str) -> Result<FileMetadata> {
        let (store, path) = self.at(path)?;
        Ok(FileMetadata { size: store.head(&path).await.map_err(failed)?.size })
    }

    async fn read(&self, path: &str) -> Result<Bytes> {
        let (store, path) = self.at(path)?;
        let whole = async { store.get(&path).await?.bytes().await };
        match self.live.as_ref().and_then(|live| live.breaker.as_ref()) {
            Some(breaker) => breaker.read(whole).await.map_err(failed),
            None => whole.await.map_err(failed),
        }
    }

    async fn reader(&self, path: &str) -> Result<Box<dyn FileRead>> {
        let (store, path) = self.at(path)?;
        Ok(Box::new(Reader { store: Arc::clone(store), path }))
    }

    async fn write(&self, path: &str, bs: Bytes) -> Result<()> {
        let (store, path) = self.at(path)?;
        store.put(&path, PutPayload::from_bytes(bs)).await.map_err(failed)?;
        Ok(())
    }

    async fn writer(&self, path: &str) -> Result<Box<dyn FileWrite>> {
        let (store, path) = self.at(path)?;
        Ok(Box::new(Writer { inner: BufWriter::new(Arc::clone(store), path) }))
    }

    async fn delete(&self, path: &str) -> Result<()> {
        let (store, path) = self.at(path)?;
        match store.delete(&path).await {
            Ok(()) | Err(object_store::Error::NotFound { .. }) => Ok(()),
            Err(source) => Err(failed(source)),
        }
    }

    async fn delete_prefix(&self, path: &str) -> Result<()> {
        let (store, path) = self.at(path)?;
        let found = store.list(Some(&path)).map_ok(|meta| meta.location).boxed();
        store.delete_stream(found).try_for_each(|_| async { Ok(()) }).await.map_err(failed)
    }

    async fn delete_stream(&self, mut paths: BoxStream<'static, String>) -> Result<()> {
        while let Some(path) = paths.next().await {
            self.delete(&path).await?;
        }
        Ok(())
    }

    fn new_input(&self, path: &str) -> Result<InputFile> {
        self.at(path)?;
        Ok(InputFile::new(Arc::new(self.clone()), path.to_owned()))
    }

    fn new_output(&self, path: &str) -> Result<OutputFile> {
        self.at(path)?;
        Ok(OutputFile::new(Arc::new(self.clone()), path.to_owned()))
    }
}

#[typetag::serde(name = "polder-lake")]
impl StorageFactory for LakeStorage {
    fn build(&self, _config: &StorageConfig) -> Result<Arc<dyn Storage>> {
        Ok(Arc::new(self.clone()))
    }
}

struct Reader {
    store: Arc<dyn ObjectStore>,
    path: Path,
}

#[async_trait]
impl FileRead for Reader {
    async fn read(&self, range: Range<u64>) -> Result<Bytes> {
        self.store.get_range(&self.path, range).await.map_err(failed)
    }
}

struct Writer {
    inner: BufWriter,
}

#[async_trait]
impl FileWrite for Writer {
    async fn write(&mut self, bs: Bytes) -> Result<()> {
        self.inner.put(bs).await.map_err(failed)
    }

    async fn close(&mut self) -> Result<()> {
        self.inner.shutdown().await.map_err(failed)
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "tests")]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_serialised_store_carries_nothing_and_does_nothing() {
        let root = Root::of("s3://b").unwrap();
        let store = object_store::aws::AmazonS3Builder::new()
            .with_bucket_name("b")
            .with_access_key_id("AKIA")
            .with_secret_access_key("hunter2")
            .build()
            .unwrap();
        let live: Arc<dyn Storage> = Arc::new(LakeStorage::new(Arc::new(store), root));
        let text = serde_json::to_string(&live).unwrap();
        assert!(!text.contains("hunter2") && !text.contains("AKIA"), "{text}");
        let back: Arc<dyn Storage> = serde_json::from_str::<Box<dyn Storage>>(&text).unwrap().into();
        assert!(back.read("s3://b/x").await.is_err());
        assert!(back.new_input("s3://b/x").is_err());
    }
}
