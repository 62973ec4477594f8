//! The same table in every store, read by the same code: with and without a cache.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Mutex;

use axum::Router;
use axum::extract::Request;
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse, Response};
use object_store::ObjectStore;
use object_store::local::LocalFileSystem;
use polder_catalog::secret::Secret;

use super::*;
use crate::lake::cache;
use crate::lake::{Between, Lake, Options};

/// A directory in the place of a store: what lies in it has the store's locations.
#[derive(Debug)]
struct Written(PathBuf);

impl Between for Written {
    fn before(&self, _: Arc<dyn ObjectStore>) -> Arc<dyn ObjectStore> {
        Arc::new(LocalFileSystem::new_with_prefix(&self.0).unwrap())
    }
}

/// Serves the files of a directory to whoever logs in as expected, below each of the paths that stores ask by.
struct Server {
    address: String,
    asked: Arc<Mutex<Vec<String>>>,
}

impl Server {
    async fn start(files: PathBuf) -> Self {
        let asked = Arc::<Mutex<Vec<_>>>::default();
        let noted = Arc::clone(&asked);
        let answer = move |headers: HeaderMap, request: Request| {
            let path = request.uri().path().replace("%2F", "/").replace("%2E", ".").replace("%2D", "-");
            noted.lock().unwrap().push(path.clone());
            let who = format!("{} {:?}", request.uri().query().unwrap_or_default(), headers.get("authorization"));
            let answer = if who.contains("tulip") {
                file(&files, &path, &headers)
            } else {
                StatusCode::FORBIDDEN.into_response()
            };
            async move { answer }
        };
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap().to_string();
        tokio::spawn(axum::serve(listener, Router::new().fallback(answer)).into_future());
        Self { address, asked }
    }

    fn asked(&self) -> usize {
        std::mem::take(&mut *self.asked.lock().unwrap()).len()
    }
}

/// The part of a file that is asked for, behind the first part of the path, which is the bucket.
fn file(files: &Path, path: &str, headers: &HeaderMap) -> Response {
    let Some((_, path)) = path.trim_start_matches('/').split_once('/') else {
        return StatusCode::NOT_FOUND.into_response();
    };
    let Ok(bytes) = std::fs::read(files.join(path)) else { return StatusCode::NOT_FOUND.into_response() };
    let headers_of = [("etag", "\"1\""), ("last-modified", "Sat, 21 Nov 2026 12:00:00 GMT")];
    let Some(range) = headers.get("range").or_else(|| headers.get("x-ms-range")) else {
        return (headers_of, bytes).into_response();
    };
    let (start, last) = range.to_str().unwrap().strip_prefix("bytes=").unwrap().split_once('-').unwrap();
    let (start, last) = (start.parse::<usize>().unwrap(), last.parse::<usize>().unwrap().min(bytes.len() - 1));
    let range = [("content-range", format!("bytes {start}-{last}/{}", bytes.len()))];
    (StatusCode::PARTIAL_CONTENT, headers_of, range, bytes[start..=last].to_vec()).into_response()
}

#[tokio::test]
async fn a_table_is_the_same_in_every_store_and_a_cache_asks_for_nothing_twice() {
    let files = tempfile::tempdir().unwrap();
    let server = Server::start(files.path().to_owned()).await;
    let http = format!("http://{}", server.address);
    let web = format!("{http}/files");
    let cases: [(&str, &[(&str, &str)]); 5] = [
        ("s3://files/a", &[("access_key_id", "tulip"), ("secret_access_key", "s"), ("region", "eu")]),
        ("gs://files/b", &[("google_token", "tulip")]),
        ("abfss://files@tulip.dfs.core.windows.net/c", &[("account_key", "c2VjcmV0")]),
        ("wasbs://files@tulip.blob.core.windows.net/d", &[("sas_token", "sv=1&sig=tulip")]),
        (&web, &[("http_token", "tulip")]),
    ];
    for (warehouse, declared) in cases {
        server.asked();
        let here = [("endpoint", http.as_str()), ("allow_http", "true")];
        let declared: Vec<_> = declared.iter().copied().chain(here).collect();
        let dir = tempfile::tempdir().unwrap();
        let db = dir.path().join("catalog.db");
        let domain = || sql_domain("shop", &db, warehouse, &declared);
        let lake =
            Lake::new(Options { between: Some(Arc::new(Written(files.path().to_owned()))), cache: None }).unwrap();
        let mut shop = shop_of(dir, domain(), lake).await;
        shop.create("t", schema(vec![optional(1, "a", Long), optional(2, "b", Text)])).await;
        shop.append("t", vec![longs(0..3), texts(&["x", "y", "z"])]).await;
        shop.append("t", vec![longs(3..5), texts(&["v", "w"])]).await;
        let read =
            async |shop: &Shop| rows(shop, &[("b", 2), ("a", 1)], "SELECT b, a FROM t WHERE a > 1 ORDER BY a").await;
        let expected = ["z 2", "v 3", "w 4"];
        assert_eq!(server.asked(), 0);

        shop.lake = Lake::default();
        assert_eq!(read(&shop).await.unwrap(), expected, "{warehouse}");
        assert!(server.asked() >= 4, "metadata, a list, manifests and data");

        let kept = tempfile::tempdir().unwrap();
        let cache = cache::Options { directory: kept.path().to_owned(), disk: 1 << 30, memory: 1 << 20 };
        let cached = || Lake::new(Options { cache: Some(cache.clone()), between: None }).unwrap();
        shop.lake = cached();
        assert_eq!(read(&shop).await.unwrap(), expected, "{warehouse}");
        let cold = server.asked();
        assert!(cold > 0);
        // A new process has nothing in memory.
        shop.lake.cache().unwrap().written().await;
        shop.lake = Lake::default();
        shop.lake = cached();
        assert_eq!(read(&shop).await.unwrap(), expected, "{warehouse}");
        assert_eq!(server.asked(), 0, "{warehouse}");

        // With other credentials nothing that was kept is to be had.
        let other = declared.iter().map(|(key, value)| (*key, value.replace("tulip.", "").replace("tulip", "rose")));
        let other: BTreeMap<_, _> = other.filter(|(key, _)| *key != "account_key").collect();
        shop.lake = Lake::default();
        shop.lake = cached();
        shop.domain.storage = other.iter().map(|(key, value)| (*key, Secret::new(value))).collect();
        let error = shop.lake.open(&shop.domain, "ns.t").await.unwrap_err();
        assert!(!error.to_string().contains("rose") && !error.to_string().contains(&server.address), "{error}");
        // Who is refused may have asked.
        server.asked();
    }
}

#[tokio::test]
async fn a_store_that_refuses_or_has_nothing_is_an_error_that_names_the_domain() {
    let files = tempfile::tempdir().unwrap();
    let server = Server::start(files.path().to_owned()).await;
    let web = format!("http://{}/files/t/metadata/00001-a.metadata.json", server.address);
    for token in ["tulip", "rose"] {
        let tables = BTreeMap::from([("ns.t".to_owned(), web.clone())]);
        let pinned = crate::lake::fixture::domain(
            "far",
            polder_catalog::mesh::CatalogConfig::Metadata(tables),
            &[("http_token", token), ("allow_http", "true")],
        );
        let error = Lake::default().open(&pinned, "ns.t").await.unwrap_err();
        assert_eq!(error.class, Class::Storage);
        assert!(error.message.contains("`far`") && !error.message.contains(&server.address), "{error}");
    }
}
