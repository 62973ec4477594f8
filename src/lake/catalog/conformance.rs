//! What every catalog does, whatever it is: one suite, and a line for each kind of catalog.

use std::collections::BTreeMap;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::os::unix::process::CommandExt;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::time::Duration;

use polder_catalog::mesh::Login;
use serde_json::{Value, json};
use sqlx::Connection;
use sqlx::postgres::PgConnection;
use sqlx::sqlite::{SqliteConnectOptions, SqliteConnection};
use tempfile::TempDir;
use tokio::net::TcpListener;

use super::breaker::Breaker;
use super::postgres::Postgres;
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

    /// Whether `ns.h` is a table of another format in it.
    fn has_other_formats(&self) -> bool {
        false
    }

    /// How many of the tables it can have, from the first one on: not all tell cases apart or have namespaces in others.
    fn tables(&self) -> usize {
        TABLES.len()
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
    for (at, (namespace, table, location)) in TABLES.into_iter().enumerate() {
        let found = catalog.find(&ident(namespace, table)).await.unwrap();
        assert_eq!(found.is_some(), at < kind.tables(), "{namespace}.{table}");
        if let Some(found) = found {
            assert_eq!(found.location, location, "{namespace}.{table}");
            assert!(found.restrictions.is_none());
        }
    }
    for (namespace, table) in [("ns", "other"), ("other", "t"), ("north", "t"), ("NS", "t"), ("ns", "t' OR '1'='1")] {
        assert!(catalog.find(&ident(namespace, table)).await.unwrap().is_none(), "{namespace}.{table}");
    }
    if kind.has_views() {
        let error = catalog.find(&ident("ns", "v")).await.unwrap_err();
        assert!(matches!(error, LakeError::View { .. }), "{error}");
    }
    if catalog.has_views() {
        let view = catalog.view(&ident("ns", "v")).await.unwrap().unwrap();
        assert_eq!((view.texts[0].sql.as_str(), view.columns), ("SELECT a FROM t", vec!["a".to_owned()]));
        assert_eq!(catalog.view(&ident("ns", "other")).await.unwrap(), None);
    }
    if kind.has_other_formats() {
        let error = catalog.find(&ident("ns", "h")).await.unwrap_err();
        assert!(matches!(error, LakeError::Unfit { .. }) && error.to_string().contains("`ns.h`"), "{error}");
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
                let text = json!({ "type": "sql", "dialect": "spark", "sql": "SELECT a FROM t" });
                let version =
                    json!({ "version-id": 1, "schema-id": 0, "default-namespace": ["ns"], "representations": [text] });
                let schema = json!({ "schema-id": 0, "fields": [{ "name": "a" }] });
                let metadata = json!({ "current-version-id": 1, "versions": [version], "schemas": [schema] });
                answers.push((view, vec![(200, json!({ "metadata-location": "s3://wares/v", "metadata": metadata }))]));
                let missing =
                    (404, json!({ "error": { "code": 404, "type": "NoSuchTableException", "message": "no" } }));
                for path in [
                    "/catalog/v1/wh/1/namespaces/ns/tables/v",
                    "/catalog/v1/wh/1/namespaces/ns/tables/other",
                    "/catalog/v1/wh/1/namespaces/ns/views/other",
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

#[tokio::test]
async fn glue_is_a_catalog() {
    conforms(OverAws { glue: true }).await;
}

#[tokio::test]
async fn a_bucket_of_tables_is_a_catalog() {
    conforms(OverAws { glue: false }).await;
}

/// A catalog of AWS in its own way.
struct OverAws {
    glue: bool,
}

#[async_trait]
impl Kind for OverAws {
    async fn catalog(&self, state: State) -> Option<(Arc<dyn Tables>, Box<dyn Send>)> {
        use super::aws::tests::{bucket, glue, start};
        let (uri, kept) = match state {
            State::Hangs => {
                let (address, hanging) = silent().await;
                (format!("http://{address}"), hanging)
            }
            State::Restricts => return None,
            State::Whole => start(|asked| asked.answer(TABLES[0].2)).await,
            State::Fails => start(|_| (500, json!({ "__type": "InternalServiceException" }))).await,
            State::Refuses => start(|_| (400, json!({ "__type": "UnrecognizedClientException" }))).await,
            State::Floods => start(|_| (200, json!("x".repeat(100_000)))).await,
        };
        Some((if self.glue { Arc::new(glue(&uri)) } else { Arc::new(bucket(&uri)) }, kept))
    }

    fn has_views(&self) -> bool {
        self.glue
    }

    fn has_other_formats(&self) -> bool {
        self.glue
    }

    fn tables(&self) -> usize {
        1
    }
}

struct OverThrift;

#[async_trait]
impl Kind for OverThrift {
    async fn catalog(&self, state: State) -> Option<(Arc<dyn Tables>, Box<dyn Send>)> {
        use super::hive::tests::{at, error, start, whole};
        let (hive, kept) = match state {
            State::Hangs => {
                let (address, hanging) = silent().await;
                (at(address.rsplit(':').next().unwrap().parse().unwrap()), hanging)
            }
            State::Restricts | State::Refuses => return None,
            State::Whole => start(|database, name| whole(database, name, TABLES[0].2)).await,
            State::Fails => start(|_, _| error(1)).await,
            State::Floods => start(|_, _| whole("ns", "t", &"x".repeat(100_000))).await,
        };
        Some((Arc::new(hive), kept))
    }

    fn has_other_formats(&self) -> bool {
        true
    }

    fn tables(&self) -> usize {
        1
    }
}

#[tokio::test]
async fn a_hive_metastore_is_a_catalog() {
    conforms(OverThrift).await;
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

/// A PostgreSQL server in a directory of its own, which is reached there alone.
struct Running {
    dir: TempDir,
    process: Child,
    stop: Command,
}

/// The user that a server runs as which root starts: it refuses to be root.
const NOBODY: u32 = 65534;

impl Running {
    /// None where no server is installed, which is a failure where everything must be tried.
    async fn start() -> Option<Self> {
        let Some(bin) = programs() else {
            let may_lack = std::env::var_os("CI").is_none_or(|ci| ci != "true");
            assert!(may_lack, "there is no PostgreSQL server to test with: Debian's package is `postgresql`");
            return None;
        };
        let dir = tempfile::tempdir().unwrap();
        let is_root = std::fs::metadata("/proc/self").unwrap().uid() == 0;
        if is_root {
            std::os::unix::fs::chown(dir.path(), Some(NOBODY), Some(NOBODY)).unwrap();
        }
        let password = dir.path().join("password");
        std::fs::write(&password, "hunter2").unwrap();
        std::fs::set_permissions(&password, std::fs::Permissions::from_mode(0o644)).unwrap();
        let command = |program: &str| {
            let mut command = Command::new(bin.join(program));
            command.current_dir(dir.path()).stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
            command.arg("-D").arg(dir.path().join("data"));
            if is_root {
                command.uid(NOBODY).gid(NOBODY);
            }
            command
        };
        let mut made = command("initdb");
        made.args(["-U", "polder", "--auth=scram-sha-256", "--no-sync", "--encoding=UTF8", "--locale=C"]);
        assert!(made.arg("--pwfile").arg(&password).status().unwrap().success());
        let mut server = command("postgres");
        server.args(["-c", "listen_addresses=", "-c", "fsync=off", "-k"]).arg(dir.path());
        let process = server.spawn().unwrap();
        let mut stop = command("pg_ctl");
        stop.args(["stop", "-m", "immediate"]);
        let running = Self { dir, process, stop };
        let started = Instant::now();
        loop {
            match PgConnection::connect(&running.uri("hunter2", "postgres")).await {
                Ok(connection) => break connection.close().await.unwrap(),
                Err(error) => assert!(started.elapsed() < Duration::from_secs(60), "{error}"),
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        Some(running)
    }

    fn uri(&self, password: &str, database: &str) -> String {
        let socket = self.dir.path().display().to_string().replace('/', "%2F");
        format!("postgres://polder:{password}@{socket}/{database}?sslmode=prefer")
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        self.stop.status().unwrap();
        self.process.wait().unwrap();
    }
}

/// Where the programs of a server are.
fn programs() -> Option<PathBuf> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let of_packages = std::fs::read_dir("/usr/lib/postgresql").into_iter().flatten().flatten();
    let of_packages = of_packages.map(|entry| entry.path().join("bin"));
    let mut places = std::env::split_paths(&path).chain(of_packages);
    places.find(|place| place.join("initdb").is_file() && place.join("postgres").is_file())
}

/// A catalog on a server.
struct OverPostgres(Running);

#[async_trait]
impl Kind for OverPostgres {
    async fn catalog(&self, state: State) -> Option<(Arc<dyn Tables>, Box<dyn Send>)> {
        let (uri, kept): (String, Box<dyn Send>) = match state {
            State::Hangs => {
                let (address, hanging) = silent().await;
                (format!("postgres://polder:hunter2@{address}/lake?sslmode=disable"), hanging)
            }
            State::Whole => {
                let uri = self.0.uri("hunter2", "postgres");
                let mut writing = PgConnection::connect(&uri).await.unwrap();
                for statement in statements() {
                    sqlx::query(&statement).execute(&mut writing).await.unwrap();
                }
                writing.close().await.unwrap();
                (uri, Box::new(()))
            }
            State::Fails => (self.0.uri("hunter2", "template1"), Box::new(())),
            State::Refuses => (self.0.uri("hunter3", "postgres"), Box::new(())),
            State::Restricts | State::Floods => return None,
        };
        Some((Arc::new(Postgres::new("shop", "shop", &uri).unwrap()), kept))
    }
}

#[tokio::test]
async fn a_postgres_server_is_a_catalog() {
    let Some(server) = Running::start().await else { return };
    conforms(OverPostgres(server)).await;
}

#[tokio::test]
async fn a_postgres_catalog_of_an_older_writer_is_read_too() {
    let Some(server) = Running::start().await else { return };
    let server = OverPostgres(server);
    let (catalog, _kept) = server.catalog(State::Whole).await.unwrap();
    let uri = server.0.uri("hunter2", "postgres");
    let mut writing = PgConnection::connect(&uri).await.unwrap();
    sqlx::query("ALTER TABLE iceberg_tables DROP COLUMN iceberg_type").execute(&mut writing).await.unwrap();
    assert_eq!(catalog.find(&ident("ns", "t")).await.unwrap().unwrap().location, TABLES[0].2);
    assert!(catalog.find(&ident("ns", "other")).await.unwrap().is_none());
    sqlx::query("DROP TABLE iceberg_tables").execute(&mut writing).await.unwrap();
    assert!(matches!(catalog.find(&ident("ns", "t")).await, Err(LakeError::NoCatalog { .. })));
}
