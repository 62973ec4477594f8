//! A REST catalog as it answers, well and badly, on a port of this machine. What every catalog does is in `conformance`.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Mutex;

use axum::Router;
use axum::extract::Request;
use axum::http::Uri;
use axum::response::{IntoResponse, Response};
use polder_catalog::mesh::Login;
use polder_catalog::secret::Secret;
use serde_json::json;

use super::super::http::TRIES;
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
        Rest::new("shop", &self.settings(login), None).unwrap()
    }

    /// A catalog that reads no longer answers than this.
    pub(in crate::lake) fn catalog_of(&self, most: usize) -> Rest {
        Rest { most, ..self.catalog(Login::Nobody) }
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
            known_as: Vec::new(),
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
async fn the_way_to_the_tables_is_asked_for_again_when_it_leads_nowhere_or_was_long_ago() {
    let moved = |prefix: &str| (200, json!({ "overrides": { "prefix": prefix } }));
    let server =
        Server::start([("/catalog/v1/config", vec![moved("old"), moved("wh/1")]), (TABLE, vec![(200, loaded())])])
            .await;
    let catalog = server.catalog(Login::Nobody);
    assert!(catalog.find(&ident()).await.is_err(), "nothing is there");
    assert!(catalog.find(&ident()).await.unwrap().is_some());
    server.asked();
    assert!(catalog.find(&ident()).await.unwrap().is_some());
    assert_eq!(server.asked().len(), 1, "the way is known");
    catalog.route.lock().await.as_mut().unwrap().1 = Instant::now();
    assert!(catalog.find(&ident()).await.unwrap().is_some());
    assert_eq!(server.asked().len(), 2);
}

#[tokio::test]
async fn what_is_null_is_not_there() {
    let config = json!({ "defaults": null, "overrides": { "prefix": "wh/1" }, "endpoints": null });
    let mut answer = loaded();
    for key in ["config", "storage-credentials", "read-restrictions"] {
        answer[key] = Value::Null;
    }
    let mut lent = loaded();
    lent["storage-credentials"] = json!([{ "prefix": "s3://wares/", "config": null }]);
    let server =
        Server::start([("/catalog/v1/config", vec![(200, config)]), (TABLE, vec![(200, answer), (200, lent)])]).await;
    let catalog = server.catalog(Login::Nobody);
    for _ in 0..2 {
        let found = catalog.find(&ident()).await.unwrap().unwrap();
        assert!(found.lease.is_none() && found.restrictions.is_none());
    }
}

#[tokio::test]
async fn a_token_server_that_fails_is_no_refusal() {
    for (status, refused) in [(500, false), (503, false), (429, false), (400, true), (401, true)] {
        let server = Server::start([config(), (TOKENS, vec![(status, json!({}))])]).await;
        let error = server.catalog(client()).find(&ident()).await.unwrap_err();
        assert_eq!(matches!(error, LakeError::Refused { .. }), refused, "{status}: {error}");
        assert_eq!(matches!(error, LakeError::Answered { .. }), !refused, "{status}: {error}");
    }
}

#[tokio::test]
async fn each_question_to_a_catalog_of_aws_is_signed() {
    let server = Server::start([config(), (TABLE, vec![(200, loaded())])]).await;
    let keys = [("access_key_id", "AKIASHOP"), ("secret_access_key", "hunter2")];
    let keys = keys.map(|(key, value)| (key, Secret::new(value))).into_iter().collect();
    let signing = mesh::Signing { region: "eu-west-1".to_owned(), service: "glue".to_owned(), keys };
    let signer = Signer::new("shop", &signing, &mesh::Storage::default()).unwrap();
    let catalog = Rest::new("shop", &server.settings(Login::Signed(signing)), Some(signer)).unwrap();
    assert!(catalog.find(&ident()).await.unwrap().is_some());
    let asked = server.asked();
    assert_eq!(asked.len(), 2);
    for asked in asked {
        assert!(asked.contains(" AWS4-HMAC-SHA256 Credential=AKIASHOP/"), "{asked}");
        assert!(asked.contains("/eu-west-1/glue/aws4_request"), "{asked}");
    }
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
