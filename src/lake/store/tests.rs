//! How stores log in and what they bear, told by a server that notes what it is asked.

use std::collections::VecDeque;
use std::sync::Mutex;
use std::time::{Duration, Instant};

use axum::Router;
use axum::extract::Request;
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse, Response};
use iceberg::TableIdent;
use object_store::ObjectStoreExt;
use object_store::path::Path;
use polder_catalog::secret::Secret;
use serde_json::json;

use super::*;
use crate::lake::catalog::Pinned;
use crate::lake::catalog::breaker::{Breaker, Part};

/// A server that answers every question with a few bytes.
struct Server {
    address: String,
    /// Path and query, and who asked.
    asked: Arc<Mutex<Vec<(String, String)>>>,
    /// What is answered first; `None` is no answer.
    before: Arc<Mutex<VecDeque<Option<StatusCode>>>>,
}

impl Server {
    async fn start() -> Self {
        let (asked, before) = (Arc::<Mutex<Vec<_>>>::default(), Arc::<Mutex<VecDeque<_>>>::default());
        let (noted, answers) = (Arc::clone(&asked), Arc::clone(&before));
        let answer = move |headers: HeaderMap, request: Request| {
            let who = headers.get("authorization").map(|who| who.to_str().unwrap().to_owned());
            noted.lock().unwrap().push((request.uri().to_string(), who.unwrap_or_default()));
            let before = answers.lock().unwrap().pop_front();
            async move {
                match before {
                    Some(None) => std::future::pending().await,
                    Some(Some(status)) => (status, [("location", "http://127.0.0.1:1/")], "no").into_response(),
                    None => tulips(),
                }
            }
        };
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap().to_string();
        tokio::spawn(axum::serve(listener, Router::new().fallback(answer)).into_future());
        Self { address, asked, before }
    }

    fn asked(&self) -> Vec<(String, String)> {
        std::mem::take(&mut *self.asked.lock().unwrap())
    }

    fn first(&self, answers: impl IntoIterator<Item = Option<StatusCode>>) {
        *self.before.lock().unwrap() = answers.into_iter().collect();
    }
}

fn tulips() -> Response {
    let headers = [("etag", "\"1\""), ("last-modified", "Sat, 21 Nov 2026 12:00:00 GMT")];
    (headers, "tulips").into_response()
}

fn nothing(name: &str) -> Option<String> {
    panic!("`{name}` was looked up, and the domain does not say so")
}

fn storage(pairs: &[(&str, &str)]) -> Storage {
    pairs.iter().map(|(spelling, value)| (*spelling, Secret::new(*value))).collect()
}

fn opened(
    location: &str,
    storage: &Storage,
    variables: Variables<'_>,
    lease: Option<Lease>,
) -> Result<Arc<dyn ObjectStore>, LakeError> {
    let connections = Arc::new(Connections::new(Limits::of(storage)));
    let opening = Opening { domain: "shop", storage, connections: &connections, variables };
    let lent = lease.clone().map(|lease| {
        let table = TableIdent::from_strs(["ns", "t"]).unwrap();
        let breaker = Breaker::new("shop", Part::Catalog, Duration::from_secs(1));
        Arc::new(Lent::new(lease, Arc::new(Pinned(Default::default())), Arc::new(breaker), table))
    });
    opening.open(&Root::of(location).unwrap(), lease.as_ref().zip(lent.as_ref()))
}

async fn get(store: &Arc<dyn ObjectStore>) -> object_store::Result<bytes::Bytes> {
    store.get(&Path::from("t/x.parquet")).await?.bytes().await
}

/// What was asked, as it is meant.
fn plain(asked: &str) -> String {
    asked.replace("%2F", "/").replace("%2E", ".")
}

const AZURE: &str = "abfss://c@shop.dfs.core.windows.net/lake";

/// A place, what is declared of it, and what is asked for and as whom.
type Case<'c> = (&'c str, &'c [(&'c str, &'c str)], &'c str, &'c str);

#[tokio::test]
async fn each_store_is_asked_where_it_is_and_as_whom_it_is_declared() {
    let server = Server::start().await;
    let http = format!("http://{}", server.address);
    let web = format!("{http}/wares");
    let key = "c2VjcmV0";
    let cases: [Case<'_>; 13] = [
        (
            "s3://b",
            &[("region", "eu"), ("access_key_id", "AK"), ("secret_access_key", "s")],
            "/b/t/x.parquet",
            "AWS4-HMAC-SHA256 Credential=AK/",
        ),
        (
            "s3://b",
            &[("s3.access-key-id", "AK"), ("s3.secret-access-key", "s")],
            "/b/t/x.parquet",
            "AWS4-HMAC-SHA256 Credential=AK/",
        ),
        ("s3://b", &[], "/b/t/x.parquet", ""),
        ("s3://b", &[("session_token", "alone")], "/b/t/x.parquet", ""),
        (AZURE, &[("account_key", key)], "/c/t/x.parquet", "SharedKey shop:"),
        (AZURE, &[("adls.account-key", key), ("adls.account-name", "shop")], "/c/t/x.parquet", "SharedKey shop:"),
        (AZURE, &[("sas_token", "?sv=1&sig=tulip")], "/c/t/x.parquet?sv=1&sig=tulip", ""),
        (AZURE, &[("adls.token", "tulip")], "/c/t/x.parquet", "Bearer tulip"),
        ("az://c/lake", &[("account_name", "shop")], "/c/t/x.parquet", ""),
        ("gs://b", &[("gcs.oauth2.token", "tulip")], "/b/t/x.parquet", "Bearer tulip"),
        ("gs://b", &[], "/b/t/x.parquet", ""),
        (&web, &[("http_token", "tulip")], "/wares/t/x.parquet", "Bearer tulip"),
        (&web, &[], "/wares/t/x.parquet", ""),
    ];
    for (location, declared, path, who) in cases {
        let here = storage(&[("endpoint", &http), ("allow_http", "true")]);
        let store = opened(location, &storage(declared).or(&here), &nothing, None).unwrap();
        assert_eq!(get(&store).await.unwrap(), "tulips", "{location} {declared:?}");
        let [(asked, by)] = &server.asked()[..] else { panic!("{location}: one question") };
        assert_eq!(plain(asked), path, "{location} {declared:?}");
        assert!(if who.is_empty() { by.is_empty() } else { by.starts_with(who) }, "{location} {declared:?}: {by}");
    }
}

#[tokio::test]
async fn credentials_of_the_environment_are_taken_where_the_domain_says_so() {
    let server = Server::start().await;
    let http = format!("http://{}", server.address);
    let said = storage(&[("endpoint", &http), ("allow_http", "true"), ("credentials", "environment")]);
    let variables = |name: &str| {
        let value = match name {
            "AWS_ACCESS_KEY_ID" => "ENV",
            "AWS_SECRET_ACCESS_KEY" => "s",
            "AWS_REGION" => "eu-1",
            "AZURE_STORAGE_ACCOUNT_KEY" => "c2VjcmV0",
            // What is no credential is not for the environment to say.
            "AWS_ENDPOINT_URL" | "AZURE_STORAGE_ENDPOINT" => "http://127.0.0.1:1",
            _ => return None,
        };
        Some(value.to_owned())
    };
    for (location, who) in [("s3://b", "AWS4-HMAC-SHA256 Credential=ENV/"), (AZURE, "SharedKey shop:")] {
        let store = opened(location, &said, &variables, None).unwrap();
        assert_eq!(get(&store).await.unwrap(), "tulips", "{location}");
        let asked = server.asked();
        assert!(asked[0].1.starts_with(who), "{location}: {asked:?}");
    }
    assert_eq!(identifying_variables().filter(|name| variables(name).is_some()).count(), 3);
}

#[tokio::test]
async fn what_is_lent_logs_in_at_its_own_cloud_unless_something_is_declared() {
    let server = Server::start().await;
    let http = format!("http://{}", server.address);
    let here = storage(&[("endpoint", &http), ("allow_http", "true")]);
    let lends = |location: &str| {
        let config = json!({
            "s3.access-key-id": "LENT", "s3.secret-access-key": "s", "s3.endpoint": http,
            "gcs.oauth2.token": "lent", "adls.sas-token.shop.dfs.core.windows.net": "sv=1&sig=lent",
        });
        Lease::of(config.as_object().unwrap(), &[], location).unwrap()
    };
    let cases: [Case<'_>; 6] = [
        ("s3://b", &[], "/b/t/x.parquet", "AWS4-HMAC-SHA256 Credential=LENT/"),
        (
            "s3://b",
            &[("access_key_id", "OWN"), ("secret_access_key", "s")],
            "/b/t/x.parquet",
            "AWS4-HMAC-SHA256 Credential=OWN/",
        ),
        (AZURE, &[], "/c/t/x.parquet?sv=1&sig=lent", ""),
        (AZURE, &[("account_key", "c2VjcmV0")], "/c/t/x.parquet", "SharedKey shop:"),
        ("gs://b", &[], "/b/t/x.parquet", "Bearer lent"),
        ("gs://b", &[("google_token", "own")], "/b/t/x.parquet", "Bearer own"),
    ];
    for (location, declared, path, who) in cases {
        let store = opened(location, &storage(declared).or(&here), &nothing, lends(location)).unwrap();
        assert_eq!(get(&store).await.unwrap(), "tulips", "{location} {declared:?}");
        let [(asked, by)] = &server.asked()[..] else { panic!("{location}: one question") };
        assert_eq!(plain(asked), path, "{location} {declared:?}");
        assert!(if who.is_empty() { by.is_empty() } else { by.starts_with(who) }, "{location} {declared:?}: {by}");
    }
}

#[tokio::test]
async fn what_would_ask_the_machine_or_a_strange_server_is_refused() {
    let why = |location: &str, declared: &[(&str, &str)]| {
        let error = opened(location, &storage(declared), &nothing, None).unwrap_err();
        error.to_string().strip_prefix("the store of domain `shop` cannot be opened: ").unwrap().to_owned()
    };
    let strange = "abfss://c@shop.dfs.evil.example/lake";
    assert_eq!(why(strange, &[]), "its place is on a server that is not Azure's: declare `endpoint`");
    assert!(opened(strange, &storage(&[("endpoint", "https://lake.example")]), &nothing, None).is_ok());
    let other = [("account_name", "other"), ("account_key", "c2VjcmV0")];
    assert_eq!(why(AZURE, &other), "its place is in another account than the one that is declared");
    assert!(why("az://c/lake", &[]).contains("`account_name`"));
    assert!(why(AZURE, &[("client_id", "x")]).ends_with("go together"));
    assert!(why(AZURE, &[("azure_token", "x"), ("sas_token", "sig=y")]).starts_with("one logs in with"));
    assert!(why("gs://b", &[("google_token", "x"), ("service_account_key", "{}")]).starts_with("one logs in with"));
    assert!(why("http://127.0.0.1:1/x", &[]).contains("`allow_http`"));
    assert!(why("file:///tmp", &[("region", "eu")]).contains("takes no `storage` options"));
    let error = opened("gs://b", &storage(&[("service_account_key", "hunter2")]), &nothing, None).unwrap_err();
    assert!(!error.to_string().contains("hunter2"));
}

#[tokio::test]
async fn a_busy_store_is_asked_again_and_a_redirect_is_not_followed() {
    let server = Server::start().await;
    let http = format!("http://{}", server.address);
    let store = |more: &[(&str, &str)]| {
        let here = storage(&[("endpoint", &http), ("allow_http", "true")]);
        opened("s3://b", &storage(more).or(&here), &nothing, None).unwrap()
    };
    server.first([Some(StatusCode::SERVICE_UNAVAILABLE), Some(StatusCode::TOO_MANY_REQUESTS)]);
    assert_eq!(get(&store(&[])).await.unwrap(), "tulips");
    assert_eq!(server.asked().len(), 3);
    server.first(vec![Some(StatusCode::INTERNAL_SERVER_ERROR); 20]);
    assert!(get(&store(&[("max_retries", "2")])).await.is_err());
    assert_eq!(server.asked().len(), 3);
    for status in [StatusCode::FORBIDDEN, StatusCode::TEMPORARY_REDIRECT] {
        server.first([Some(status)]);
        assert!(get(&store(&[])).await.is_err(), "{status}");
        assert_eq!(server.asked().len(), 1, "{status}");
    }
}

#[tokio::test]
async fn a_silent_store_is_given_up_in_time_and_another_domain_does_not_wait() {
    let (silent, well) = (Server::start().await, Server::start().await);
    silent.first(vec![None; 20]);
    let limits = [("first_byte_timeout", "1"), ("max_retries", "1"), ("retry_timeout", "1"), ("allow_http", "true")];
    let of = |server: &Server| {
        let endpoint = format!("http://{}", server.address);
        opened("s3://b", &storage(&limits).or(&storage(&[("endpoint", &endpoint)])), &nothing, None).unwrap()
    };
    let (sick, other) = (of(&silent), of(&well));
    let start = Instant::now();
    let waits = tokio::spawn(async move { get(&sick).await });
    while silent.asked.lock().unwrap().is_empty() {
        tokio::task::yield_now().await;
    }
    assert_eq!(get(&other).await.unwrap(), "tulips");
    assert!(!waits.is_finished());
    assert!(waits.await.unwrap().is_err());
    assert!(start.elapsed() < Duration::from_secs(6), "{:?}", start.elapsed());
}

#[tokio::test]
async fn all_stores_of_a_domain_share_their_connections() {
    let storage = storage(&[("allow_http", "true"), ("max_requests", "3"), ("timeout", "7")]);
    let connections = Arc::new(Connections::new(Limits::of(&storage)));
    assert_eq!(Limits::of(&storage).requests, 3);
    let opening = Opening { domain: "shop", storage: &storage, connections: &connections, variables: &nothing };
    for location in ["s3://a", "s3://b", "gs://c"] {
        opening.open(&Root::of(location).unwrap(), None).unwrap();
    }
    assert_eq!(connections.clients(), 1);
}
