//! A REST catalog as it answers, well and badly, on a port of this machine.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Mutex;

use axum::Router;
use axum::extract::Request;
use axum::http::Uri;
use axum::response::{IntoResponse, Response};
use polder_catalog::mesh::Login;
use polder_catalog::secret::Secret;
use serde_json::json;

use super::*;

/// What the catalog was asked: the method, path and query, and the token.
type Asked = Arc<Mutex<Vec<String>>>;

/// A catalog that answers the questions for one path in this order, and the last answer for ever.
pub(in crate::lake) struct Server {
    uri: String,
    asked: Asked,
}

impl Server {
    pub(in crate::lake) async fn start(answers: impl IntoIterator<Item = (&'static str, Vec<(u16, Value)>)>) -> Self {
        let answers: BTreeMap<&str, VecDeque<_>> =
            answers.into_iter().map(|(path, answers)| (path, answers.into())).collect();
        let (answers, asked) = (Arc::new(Mutex::new(answers)), Asked::default());
        let noted = Arc::clone(&asked);
        let answer = move |request: Request| async move {
            let uri: &Uri = request.uri();
            let token = request.headers().get("authorization").map_or("-", |token| token.to_str().unwrap());
            noted.lock().unwrap().push(format!("{} {uri} {token}", request.method()));
            let mut answers = answers.lock().unwrap();
            let Some(next) = answers.get_mut(uri.path()) else { return response(404, &json!("no such page")) };
            let (status, body) = if next.len() > 1 { next.pop_front().unwrap() } else { next.front().unwrap().clone() };
            response(status, &body)
        };
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let uri = format!("http://{}/catalog", listener.local_addr().unwrap());
        tokio::spawn(axum::serve(listener, Router::new().fallback(answer)).into_future());
        Self { uri, asked }
    }

    fn catalog(&self, login: Login) -> Rest {
        Rest::new("shop", &self.settings(login)).unwrap()
    }

    pub(in crate::lake) fn settings(&self, login: Login) -> mesh::Rest {
        mesh::Rest {
            uri: self.uri.clone(),
            warehouse: Some("our wares".to_owned()),
            prefix: None,
            login,
            headers: BTreeMap::new(),
            vended: true,
            location: None,
        }
    }

    pub(in crate::lake) fn asked(&self) -> Vec<String> {
        std::mem::take(&mut *self.asked.lock().unwrap())
    }
}

fn response(status: u16, body: &Value) -> Response {
    (StatusCode::from_u16(status).unwrap(), body.to_string()).into_response()
}

pub(in crate::lake) fn config() -> (&'static str, Vec<(u16, Value)>) {
    ("/catalog/v1/config", vec![(200, json!({ "defaults": { "prefix": "a" }, "overrides": { "prefix": "wh/1" } }))])
}

const TABLE: &str = "/catalog/v1/wh/1/namespaces/north%1Fsea/tables/t%2F1";
const TOKENS: &str = "/catalog/v1/oauth/tokens";

fn ident() -> TableIdent {
    TableIdent::from_strs(["north", "sea", "t/1"]).unwrap()
}

fn loaded() -> Value {
    json!({ "metadata-location": "s3://wares/t/metadata/v1.metadata.json", "metadata": { "format-version": 2 } })
}

fn client() -> Login {
    Login::Client { credential: Secret::new("polder:hunter2"), server: None, scope: "catalog".to_owned() }
}

#[tokio::test]
async fn a_table_is_asked_for_where_the_catalog_says_and_comes_with_what_it_demands() {
    let mut answer = loaded();
    answer["read-restrictions"] = json!({ "required-column-projections": [] });
    let server = Server::start([config(), (TABLE, vec![(200, answer)])]).await;
    let found = server.catalog(Login::Token(Secret::new("tulip"))).find(&ident()).await.unwrap().unwrap();
    assert_eq!(found.location, "s3://wares/t/metadata/v1.metadata.json");
    assert_eq!(serde_json::from_slice::<Value>(&found.metadata.unwrap()).unwrap(), json!({ "format-version": 2 }));
    assert_eq!(*found.restrictions.unwrap(), json!({ "required-column-projections": [] }));
    assert!(found.lease.is_none());
    let asked = server.asked();
    assert_eq!(asked[0], "GET /catalog/v1/config?warehouse=our+wares Bearer tulip");
    assert_eq!(asked[1], format!("GET {TABLE} Bearer tulip"));
}

#[tokio::test]
async fn a_table_that_is_not_there_is_none_and_a_server_that_is_no_catalog_is_an_error() {
    let missing = json!({ "error": { "message": "no", "type": "NoSuchTableException", "code": 404 } });
    let server = Server::start([config(), (TABLE, vec![(404, missing)])]).await;
    assert!(server.catalog(Login::Nobody).find(&ident()).await.unwrap().is_none());
    let server = Server::start([config()]).await;
    let error = server.catalog(Login::Nobody).find(&ident()).await.unwrap_err();
    assert!(matches!(error, LakeError::Answered { status: 404, .. }), "{error}");
}

#[tokio::test]
async fn a_token_is_asked_for_once_and_again_when_it_is_no_longer_taken() {
    let token = |text: &str| (200, json!({ "access_token": text, "expires_in": 3600, "token_type": "bearer" }));
    for refusal in [401, 419] {
        let tables = vec![(200, loaded()), (refusal, json!({})), (200, loaded())];
        let server = Server::start([config(), (TOKENS, vec![token("one"), token("two")]), (TABLE, tables)]).await;
        let catalog = server.catalog(client());
        for _ in 0..3 {
            catalog.find(&ident()).await.unwrap().unwrap();
        }
        let tokens: Vec<_> = server.asked().iter().map(|asked| asked.rsplit(' ').next().unwrap().to_owned()).collect();
        assert_eq!(tokens, ["-", "one", "one", "one", "-", "two", "two"], "{refusal}");
    }
}

#[tokio::test]
async fn a_token_that_ends_at_once_is_asked_for_each_time() {
    let server = Server::start([
        config(),
        (TOKENS, vec![(200, json!({ "access_token": "short", "expires_in": 0 }))]),
        (TABLE, vec![(200, loaded())]),
    ])
    .await;
    server.catalog(client()).find(&ident()).await.unwrap().unwrap();
    assert_eq!(server.asked().iter().filter(|asked| asked.contains("oauth")).count(), 2);
}

#[tokio::test]
async fn a_catalog_that_refuses_is_told_from_one_that_fails_and_neither_shows_what_was_sent() {
    for (answers, refused) in [
        (vec![config(), (TOKENS, vec![(400, json!({ "error": "invalid_client" }))])], true),
        (vec![config(), (TOKENS, vec![(200, json!({ "access_token": "t" }))]), (TABLE, vec![(403, json!({}))])], true),
        (vec![config(), (TOKENS, vec![(200, json!({ "access_token": "t" }))]), (TABLE, vec![(500, json!({}))])], false),
    ] {
        let server = Server::start(answers).await;
        let error = server.catalog(client()).find(&ident()).await.unwrap_err();
        assert_eq!(matches!(error, LakeError::Refused { .. }), refused, "{error}");
        let shown = format!("{error} {error:?} {:?}", server.catalog(client()));
        assert!(!shown.contains("hunter2") && !shown.contains(&server.uri), "{shown}");
    }
}

#[tokio::test]
async fn a_busy_catalog_is_asked_again() {
    let server = Server::start([config(), (TABLE, vec![(503, json!({})), (429, json!({})), (200, loaded())])]).await;
    assert!(server.catalog(Login::Nobody).find(&ident()).await.unwrap().is_some());
    let server = Server::start([config(), (TABLE, vec![(503, json!({}))])]).await;
    let error = server.catalog(Login::Nobody).find(&ident()).await.unwrap_err();
    assert!(matches!(error, LakeError::Answered { status: 503, .. }), "{error}");
    assert_eq!(server.asked().len(), 1 + TRIES as usize);
}

#[tokio::test]
async fn another_server_is_not_followed_and_an_answer_that_is_none_is_refused() {
    let elsewhere = json!({ "overrides": { "uri": "https://elsewhere.example/catalog" } });
    let server = Server::start([("/catalog/v1/config", vec![(200, elsewhere)])]).await;
    assert!(matches!(server.catalog(Login::Nobody).find(&ident()).await, Err(LakeError::Garbled { .. })));
    for answer in [json!("a text"), json!({ "metadata": {} }), json!({ "metadata-location": "s3://a/b" })] {
        let server = Server::start([config(), (TABLE, vec![(200, answer.clone())])]).await;
        let error = server.catalog(Login::Nobody).find(&ident()).await.unwrap_err();
        assert!(matches!(error, LakeError::Garbled { .. }), "{answer}: {error}");
    }
}

#[tokio::test]
async fn what_is_lent_for_the_nearest_place_is_taken_and_signing_by_the_catalog_is_refused() {
    let keys = |key: &str| json!({ "s3.access-key-id": key, "s3.secret-access-key": "hunter2" });
    let mut answer = loaded();
    answer["config"] =
        json!({ "s3.endpoint": "http://127.0.0.1:9", "s3.access-key-id": "A", "s3.secret-access-key": "x" });
    answer["storage-credentials"] = json!([
        { "prefix": "s3://wares/", "config": keys("B") },
        { "prefix": "s3://wares/t", "config": keys("C") },
        { "prefix": "s3://other/", "config": keys("D") },
    ]);
    let mut signing = loaded();
    signing["config"] = json!({ "s3.remote-signing-enabled": "true" });
    let server = Server::start([config(), (TABLE, vec![(200, answer), (200, signing)])]).await;
    let catalog = server.catalog(Login::Nobody);
    let lease = catalog.find(&ident()).await.unwrap().unwrap().lease.unwrap();
    assert_eq!(lease.s3_key(), Some("C"));
    assert_eq!(lease.places.get(mesh::Setting::S3Endpoint), Some("http://127.0.0.1:9"));
    assert!(!format!("{lease:?}").contains("hunter2"));
    let error = catalog.find(&ident()).await.unwrap_err();
    assert!(error.to_string().contains("remote signing"), "{error}");
}
