//! Glue and S3 Tables as they answer, well and badly, on a port of this machine. What every catalog does is in `conformance`.

use std::sync::{Arc, Mutex};

use axum::Router;
use axum::body::to_bytes;
use axum::extract::Request;
use axum::response::{IntoResponse, Response};
use iceberg::TableIdent;
use polder_catalog::secret::Secret;
use reqwest::StatusCode;
use serde_json::{Value, json};

use super::super::http::TRIES;
use super::super::{Found, Tables};
use super::*;

/// What a service was asked.
#[derive(Debug, Clone)]
pub(in crate::lake::catalog) struct Asked {
    line: String,
    target: String,
    authorization: String,
    body: Value,
}

impl Asked {
    /// What a service answers that has the table `ns.t`, a view and a table of Hive's beside it. It takes a name in any
    /// case, as Glue does.
    pub(in crate::lake::catalog) fn answer(&self, location: &str) -> (u16, Value) {
        if self.line.starts_with("GET ") {
            let path = format!("GET {TABLE}");
            return match self.line == path {
                true => {
                    (200, json!({ "metadataLocation": location, "versionToken": "1", "warehouseLocation": "s3://w" }))
                }
                false => (404, json!({ "__type": "NotFoundException", "message": "no" })),
            };
        }
        let text = |key: &str| self.body[key].as_str().unwrap().to_ascii_lowercase();
        let table = |kind: &str, parameters: Value| {
            let (database, name) = (text("DatabaseName"), text("Name"));
            (
                200,
                json!({ "Table": { "DatabaseName": database, "Name": name, "TableType": kind, "Parameters": parameters } }),
            )
        };
        match (text("DatabaseName").as_str(), text("Name").as_str()) {
            ("ns", "t") => table("EXTERNAL_TABLE", json!({ "table_type": "ICEBERG", "metadata_location": location })),
            ("ns", "v") => table("VIRTUAL_VIEW", json!({ "comment": "Presto View" })),
            ("ns", "h") => table("EXTERNAL_TABLE", json!({ "classification": "parquet" })),
            _ => (400, json!({ "__type": "EntityNotFoundException", "Message": "no" })),
        }
    }
}

const ARN: &str = "arn:aws:s3tables:eu-west-1:123456789012:bucket/wares";
const TABLE: &str = "/tables/arn%3Aaws%3As3tables%3Aeu-west-1%3A123456789012%3Abucket%2Fwares/ns/t/metadata-location";

/// A service that answers each question like this, and what keeps it.
pub(in crate::lake::catalog) async fn start(
    answer: impl Fn(&Asked) -> (u16, Value) + Clone + Send + Sync + 'static,
) -> (String, Box<dyn Send>) {
    let answer = move |request: Request| {
        let answer = answer.clone();
        async move {
            let (head, body) = request.into_parts();
            let header = |name: &str| head.headers.get(name).map_or("", |value| value.to_str().unwrap()).to_owned();
            let body = to_bytes(body, 100_000).await.unwrap();
            let asked = Asked {
                line: format!("{} {}", head.method, head.uri),
                target: header("x-amz-target"),
                authorization: header("authorization"),
                body: serde_json::from_slice(&body).unwrap_or_default(),
            };
            let (status, body) = answer(&asked);
            let answer: Response = (StatusCode::from_u16(status).unwrap(), body.to_string()).into_response();
            answer
        }
    };
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let uri = format!("http://{}", listener.local_addr().unwrap());
    let serving = tokio::spawn(axum::serve(listener, Router::new().fallback(answer)).into_future());
    (uri, Box::new(tokio_util::task::AbortOnDropHandle::new(serving)))
}

fn settings(uri: &str, service: &str) -> (mesh::Aws, mesh::Storage) {
    let keys = [("access_key_id", "AKIASHOP"), ("secret_access_key", "hunter2")];
    let storage = keys.map(|(key, value)| (key, Secret::new(value))).into_iter().collect();
    let (region, service) = ("eu-west-1".to_owned(), service.to_owned());
    let signing = mesh::Signing { region, service, keys: mesh::Storage::default() };
    let tables = mesh::AwsTables::Bucket { bucket: ARN.to_owned() };
    (mesh::Aws { tables, uri: uri.to_owned(), signing, location: None }, storage)
}

pub(in crate::lake::catalog) fn glue(uri: &str) -> Glue {
    let (settings, storage) = settings(uri, "glue");
    Glue::new("shop", &settings, Some("123456789012".to_owned()), &storage).unwrap().of_at_most(50_000)
}

pub(in crate::lake::catalog) fn bucket(uri: &str) -> Buckets {
    let (settings, storage) = settings(uri, "s3tables");
    Buckets::new("shop", &settings, ARN, &storage).unwrap().of_at_most(50_000)
}

fn ident() -> TableIdent {
    TableIdent::from_strs(["ns", "t"]).unwrap()
}

/// What Glue makes of an answer.
async fn told(table: Value) -> Result<Option<Found>, LakeError> {
    let (uri, _kept) = start(move |_| (200, json!({ "Table": table }))).await;
    glue(&uri).find(&ident()).await
}

#[tokio::test]
async fn each_question_is_signed_for_its_service_and_says_no_more_than_which_table() {
    let noted: Arc<Mutex<Vec<Asked>>> = Arc::default();
    let note = Arc::clone(&noted);
    let (uri, _kept) = start(move |asked| {
        note.lock().unwrap().push(asked.clone());
        asked.answer("s3://wares/t/metadata/v1.metadata.json")
    })
    .await;
    let found = glue(&uri).find(&ident()).await.unwrap().unwrap();
    assert_eq!(found.location, "s3://wares/t/metadata/v1.metadata.json");
    assert!(found.lease.is_none() && found.metadata.is_none());
    assert!(bucket(&uri).find(&ident()).await.unwrap().is_some());
    let asked = noted.lock().unwrap().clone();
    assert_eq!(asked.len(), 2);
    assert_eq!((asked[0].line.as_str(), asked[0].target.as_str()), ("POST /", "AWSGlue.GetTable"));
    assert_eq!(asked[0].body, json!({ "CatalogId": "123456789012", "DatabaseName": "ns", "Name": "t" }));
    assert_eq!(asked[1].line, format!("GET {TABLE}"));
    for (asked, service) in asked.iter().zip(["glue", "s3tables"]) {
        assert!(asked.authorization.starts_with("AWS4-HMAC-SHA256 Credential=AKIASHOP/"), "{asked:?}");
        assert!(asked.authorization.contains(&format!("/eu-west-1/{service}/aws4_request")), "{asked:?}");
    }
    assert!(asked[0].authorization.contains("content-type;host;x-amz-content-sha256;x-amz-date;x-amz-target"));
}

#[tokio::test]
async fn a_table_is_what_its_parameters_say_and_what_is_half_said_is_refused() {
    let table = |more: Value| {
        let mut table = json!({ "DatabaseName": "ns", "Name": "t", "TableType": "EXTERNAL_TABLE" });
        table.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        table
    };
    let place = json!({ "table_type": "iceberg", "metadata_location": "s3://wares/t/metadata/v1.metadata.json" });
    assert!(told(table(json!({ "Parameters": place }))).await.unwrap().is_some());
    let refused = told(table(json!({ "Parameters": place, "IsRegisteredWithLakeFormation": true }))).await.unwrap_err();
    assert!(refused.to_string().contains("Lake Formation"), "{refused}");
    let link = told(table(json!({ "Parameters": place, "TargetTable": { "Name": "u" } }))).await.unwrap_err();
    assert!(link.to_string().contains("a link"), "{link}");
    let other = told(table(json!({ "Parameters": place, "Name": "u" }))).await.unwrap();
    assert!(other.is_none(), "another table than was asked for");
    for parameters in [json!(null), json!({}), json!({ "table_type": "DELTA", "metadata_location": "s3://a/b" })] {
        let error = told(table(json!({ "Parameters": parameters }))).await.unwrap_err();
        assert!(matches!(error, LakeError::Unfit { .. }), "{parameters}: {error}");
    }
    for said in [
        table(json!({ "Parameters": { "table_type": "ICEBERG" } })),
        table(json!({ "Parameters": { "table_type": "ICEBERG", "metadata_location": "" } })),
        table(json!({ "Parameters": place, "DatabaseName": null })),
        json!("a text"),
    ] {
        let error = told(said.clone()).await.unwrap_err();
        assert!(matches!(error, LakeError::Garbled { .. }), "{said}: {error}");
    }
}

#[tokio::test]
async fn a_busy_service_is_asked_again_and_one_that_is_none_is_an_error() {
    let times = Arc::new(Mutex::new(0));
    let count = Arc::clone(&times);
    let (uri, _kept) = start(move |asked| {
        let mut times = count.lock().unwrap();
        *times += 1;
        match *times {
            1 => (400, json!({ "__type": "com.amazonaws.glue#ThrottlingException" })),
            2 => (503, json!({})),
            _ => asked.answer("s3://wares/t/metadata/v1.metadata.json"),
        }
    })
    .await;
    assert!(glue(&uri).find(&ident()).await.unwrap().is_some());
    assert_eq!(*times.lock().unwrap(), TRIES);
    let (uri, _kept) = start(|_| (404, json!("no such page"))).await;
    for catalog in [&glue(&uri) as &dyn Tables, &bucket(&uri)] {
        let error = catalog.find(&ident()).await.unwrap_err();
        assert!(matches!(error, LakeError::Answered { status: 404, .. }), "{error}");
    }
}
