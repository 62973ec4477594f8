//! What every catalog does, whatever it is: one suite, and a line for each kind of catalog.

use std::collections::BTreeMap;
use std::sync::Arc;

use polder_catalog::mesh::Login;
use serde_json::{Value, json};
use sqlx::Connection;
use sqlx::sqlite::{SqliteConnectOptions, SqliteConnection};
use tokio::net::TcpListener;

use super::breaker::Breaker;
use super::rest::Rest;
use super::rest::tests::Server;
use super::sql::Sql;
use super::*;

/// Where the tables are that a whole catalog has.
const TABLES: [(&str, &str, &str); 3] = [
    ("ns", "t", "s3://wares/t/metadata/v1.metadata.json"),
    ("ns", "T", "s3://wares/upper/metadata/v1.metadata.json"),
    ("north.sea", "t", "s3://wares/sea/metadata/v7.metadata.json"),
];
const CREATE: &str = "CREATE TABLE iceberg_tables (catalog_name VARCHAR(255), table_namespace VARCHAR(255), \
    table_name VARCHAR(255), metadata_location VARCHAR(1000), previous_metadata_location VARCHAR(1000), \
    iceberg_type VARCHAR(5), PRIMARY KEY (catalog_name, table_namespace, table_name))";

/// What a catalog can be like.
#[derive(Debug, Clone, Copy)]
enum State {
    /// It has the tables, and `ns.v` is a view in it where it can have one.
    Whole,
    /// It demands something of the readers of `ns.t`.
    Restricts,
    /// It takes a question and never answers.
    Hangs,
    /// It is there, and broken.
    Fails,
    /// It does not take what one logs in with.
    Refuses,
    /// It answers more than anybody reads.
    Floods,
}

/// A kind of catalog.
#[async_trait]
trait Kind: Send + Sync {
    /// One in this state, if there can be one; what is returned beside it keeps it so.
    async fn catalog(&self, state: State) -> Option<(Arc<dyn Tables>, Box<dyn Send>)>;

    fn has_views(&self) -> bool {
        true
    }
}

fn ident(namespace: &str, table: &str) -> TableIdent {
    TableIdent::from_strs(namespace.split('.').chain([table])).unwrap()
}

async fn ask(catalog: &Arc<dyn Tables>) -> Result<Option<Found>, LakeError> {
    Breaker::new("shop", Part::Catalog, PATIENCE).ask(catalog.find(&ident("ns", "t"))).await
}

/// Holds a kind of catalog to what all of them do.
async fn conforms(kind: impl Kind) {
    let (catalog, _whole) = kind.catalog(State::Whole).await.unwrap();
    for (namespace, table, location) in TABLES {
        let found = catalog.find(&ident(namespace, table)).await.unwrap().unwrap();
        assert_eq!(found.location, location, "{namespace}.{table}");
        assert!(found.restrictions.is_none());
    }
    for (namespace, table) in [("ns", "other"), ("other", "t"), ("north", "t"), ("NS", "t"), ("ns", "t' OR '1'='1")] {
        assert!(catalog.find(&ident(namespace, table)).await.unwrap().is_none(), "{namespace}.{table}");
    }
    if kind.has_views() {
        let error = catalog.find(&ident("ns", "v")).await.unwrap_err();
        assert!(matches!(error, LakeError::View { .. }), "{error}");
    }
    if let Some((catalog, _restricts)) = kind.catalog(State::Restricts).await {
        assert!(ask(&catalog).await.unwrap().unwrap().restrictions.is_some());
        assert!(catalog.may_restrict(), "it is asked before anything is told");
    } else {
        assert!(!catalog.may_restrict());
    }
    if let Some((catalog, _hangs)) = kind.catalog(State::Hangs).await {
        let error = ask(&catalog).await.unwrap_err();
        assert!(matches!(error, LakeError::Timeout { .. } | LakeError::Catalog { .. }), "{error}");
    }
    for state in [State::Fails, State::Refuses, State::Floods] {
        let Some((catalog, _so)) = kind.catalog(state).await else { continue };
        let error = ask(&catalog).await.unwrap_err();
        assert_eq!(matches!(error, LakeError::Refused { .. }), matches!(state, State::Refuses), "{state:?}: {error}");
        let (shown, debug) = (error.to_string(), format!("{catalog:?}"));
        assert!(shown.contains("`shop`") && !shown.contains('/') && !shown.contains("127.0.0.1"), "{shown}");
        assert!(!debug.contains("hunter2") && !debug.contains("127.0.0.1"), "{debug}");
    }
}

struct Listed;

#[async_trait]
impl Kind for Listed {
    async fn catalog(&self, state: State) -> Option<(Arc<dyn Tables>, Box<dyn Send>)> {
        let State::Whole = state else { return None };
        let tables = TABLES.map(|(namespace, table, location)| (format!("{namespace}.{table}"), location.to_owned()));
        Some((Arc::new(Pinned(BTreeMap::from(tables))), Box::new(())))
    }

    fn has_views(&self) -> bool {
        false
    }
}

#[tokio::test]
async fn pinned_files_are_a_catalog() {
    conforms(Listed).await;
}

struct Sqlite;

#[async_trait]
impl Kind for Sqlite {
    async fn catalog(&self, state: State) -> Option<(Arc<dyn Tables>, Box<dyn Send>)> {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("catalog.db");
        match state {
            State::Whole => {
                let options = SqliteConnectOptions::new().filename(&file).create_if_missing(true);
                let mut writing = SqliteConnection::connect_with(&options).await.unwrap();
                for statement in statements() {
                    sqlx::query(&statement).execute(&mut writing).await.unwrap();
                }
                writing.close().await.unwrap();
            }
            State::Fails => std::fs::write(&file, "no database, whatever its name says").unwrap(),
            State::Restricts | State::Hangs | State::Refuses | State::Floods => return None,
        }
        Some((Arc::new(Sql::new("shop", "shop", &format!("sqlite://{}", file.display())).unwrap()), Box::new(dir)))
    }
}

/// What makes a whole SQL catalog, with another one beside it in the same database.
fn statements() -> impl Iterator<Item = String> {
    let row = |catalog: &str, namespace: &str, table: &str, location: &str, kind: &str| {
        format!("INSERT INTO iceberg_tables VALUES ('{catalog}', '{namespace}', '{table}', '{location}', NULL, {kind})")
    };
    let tables = TABLES.map(|(namespace, table, location)| row("shop", namespace, table, location, "'TABLE'"));
    let view = row("shop", "ns", "v", "s3://wares/v/metadata/v1.metadata.json", "'VIEW'");
    let others = row("other", "other", "t", "s3://elsewhere/t/metadata/v1.metadata.json", "NULL");
    [CREATE.to_owned(), view, others].into_iter().chain(tables)
}

#[tokio::test]
async fn a_sqlite_file_is_a_catalog() {
    conforms(Sqlite).await;
}

struct OverRest;

#[async_trait]
impl Kind for OverRest {
    async fn catalog(&self, state: State) -> Option<(Arc<dyn Tables>, Box<dyn Send>)> {
        if let State::Hangs = state {
            let (uri, hanging) = silent().await;
            let server = Server::start([]).await;
            let settings =
                polder_catalog::mesh::Rest { uri: format!("http://{uri}"), ..server.settings(Login::Nobody) };
            return Some((Arc::new(Rest::new("shop", &settings, None).unwrap()), hanging));
        }
        let table = |location: &str| json!({ "metadata-location": location, "metadata": {} });
        let mut answers: Vec<(&'static str, Vec<(u16, Value)>)> = vec![super::rest::tests::config()];
        let first = "/catalog/v1/wh/1/namespaces/ns/tables/t";
        match state {
            State::Whole => {
                let paths = [
                    first,
                    "/catalog/v1/wh/1/namespaces/ns/tables/T",
                    "/catalog/v1/wh/1/namespaces/north%1Fsea/tables/t",
                ];
                let tables = TABLES.map(|(.., location)| vec![(200, table(location))]);
                answers.extend(paths.into_iter().zip(tables));
                let view = "/catalog/v1/wh/1/namespaces/ns/views/v";
                answers.push((view, vec![(200, json!({ "metadata-location": "s3://wares/v", "metadata": {} }))]));
                let missing =
                    (404, json!({ "error": { "code": 404, "type": "NoSuchTableException", "message": "no" } }));
                for path in [
                    "/catalog/v1/wh/1/namespaces/ns/tables/v",
                    "/catalog/v1/wh/1/namespaces/ns/tables/other",
                    "/catalog/v1/wh/1/namespaces/other/tables/t",
                    "/catalog/v1/wh/1/namespaces/north/tables/t",
                    "/catalog/v1/wh/1/namespaces/NS/tables/t",
                    "/catalog/v1/wh/1/namespaces/ns/tables/t'%20OR%20'1'='1",
                ] {
                    answers.push((path, vec![missing.clone()]));
                }
            }
            State::Restricts => {
                let mut restricted = table(TABLES[0].2);
                restricted["read-restrictions"] = json!({ "required-column-projections": [] });
                answers.push((first, vec![(200, restricted)]));
            }
            State::Fails => answers.push((first, vec![(500, json!({}))])),
            State::Refuses => answers.push((first, vec![(403, json!({}))])),
            State::Floods => answers.push((first, vec![(200, json!("x".repeat(100_000)))])),
            State::Hangs => {}
        }
        let server = Server::start(answers).await;
        Some((Arc::new(server.catalog_of(50_000)), Box::new(server)))
    }
}

#[tokio::test]
async fn a_rest_server_is_a_catalog() {
    conforms(OverRest).await;
}

/// A port that takes connections and says nothing.
async fn silent() -> (String, Box<dyn Send>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap().to_string();
    let taking = tokio::spawn(async move {
        let mut taken = Vec::new();
        while let Ok(connection) = listener.accept().await {
            taken.push(connection);
        }
    });
    (address, Box::new(tokio_util::task::AbortOnDropHandle::new(taking)))
}
