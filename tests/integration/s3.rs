//! An S3-compatible server on loopback over a directory, and a list of what was asked of it.

use std::net::SocketAddr;
use std::ops::Range;
use std::path::Path;
use std::sync::{Arc, Mutex};

use async_trait::async_trait;
use hyper_util::rt::{TokioExecutor, TokioIo};
use hyper_util::server::conn::auto::Builder;
use s3s::S3Result;
use s3s::access::{S3Access, S3AccessContext};
use s3s::auth::SimpleAuth;
use s3s::service::S3ServiceBuilder;

use crate::packly::loopback;

/// A request for an object.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Request {
    pub operation: String,
    pub key: String,
    /// The `Range` that was asked for.
    pub range: Option<String>,
}

impl Request {
    /// The bytes of `range`.
    pub fn bytes(&self) -> Option<Range<u64>> {
        let (start, last) = self.range.as_ref()?.strip_prefix("bytes=")?.split_once('-')?;
        Some(start.parse().ok()?..last.parse::<u64>().ok()? + 1)
    }
}

/// The requests for objects since the list was last taken.
#[derive(Debug, Clone, Default)]
pub struct Requests(Arc<Mutex<Vec<Request>>>);

impl Requests {
    pub fn take(&self) -> Vec<Request> {
        std::mem::take(&mut self.0.lock().unwrap())
    }
}

#[async_trait]
impl S3Access for Requests {
    async fn check(&self, context: &mut S3AccessContext<'_>) -> S3Result<()> {
        let key = context.s3_path().get_object_key().unwrap_or_default().to_owned();
        let range = context.headers().get("range").map(|range| range.to_str().unwrap().to_owned());
        let operation = context.s3_op().name().to_owned();
        self.0.lock().unwrap().push(Request { operation, key, range });
        Ok(())
    }
}

/// Serves a directory, with a bucket for each of its directories, and notes what is asked.
pub async fn serve_s3(root: &Path, requests: &Requests) -> SocketAddr {
    let mut builder = S3ServiceBuilder::new(s3s_fs::FileSystem::new(root).unwrap());
    builder.set_auth(SimpleAuth::from_single("payments", "not-much-of-a-secret"));
    builder.set_access(requests.clone());
    let service = builder.build();
    let listener = tokio::net::TcpListener::bind(loopback()).await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move {
        while let Ok((socket, _)) = listener.accept().await {
            let service = service.clone();
            tokio::spawn(async move {
                let _ = Builder::new(TokioExecutor::new()).serve_connection(TokioIo::new(socket), service).await;
            });
        }
    });
    address
}
