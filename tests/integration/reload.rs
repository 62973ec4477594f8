//! The mesh's files change while it is served: what follows at once, what goes on, and what ends.

use std::fmt::Write;
use std::fs;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

use datafusion::arrow::array::{Array, AsArray, RecordBatch};
use datafusion::arrow::compute::concat_batches;
use datafusion::arrow::datatypes::Int64Type;
use futures::future::join_all;
use futures::stream::BoxStream;
use futures::{StreamExt, TryStreamExt};
use polder::auth::new_token;
use polder::error::Class;
use polder::flight::client::{Credentials, Remote};
use polder::packly::write_files;
use polder::server::{self, Follow, Running};
use polder::session::{Engine, Pins};
use polder_catalog::mesh::Mesh;
use polder_catalog::secret::Secret;
use tonic::transport::Endpoint;

use crate::packly::{loopback, make, packly};
use crate::wire::{Client, get, said, stranger_at, ticket};

const ACCESS: &str = "storefront/policies/access.cedar";
/// What lets analysts read the storefront, and the same for others.
const ANALYSTS: &str =
    r#"permit (principal in Group::"analysts", action == Action::"read", resource in Domain::"storefront")"#;
const AUDITORS: &str =
    r#"permit (principal in Group::"auditors", action == Action::"read", resource in Domain::"storefront")"#;
const EMAIL: &str = "SELECT email FROM storefront.customers LIMIT 1";

/// A mesh that is served while its files change.
struct Changing {
    engine: Arc<Engine>,
    running: Running,
    dir: tempfile::TempDir,
}

impl Changing {
    async fn serve() -> Self {
        let dir = tempfile::tempdir().unwrap();
        write_files(&dir.path().join("mesh")).unwrap();
        let engine = make(&dir.path().join("mesh"), 0.001).await;
        let options = server::Options { listen: loopback(), http: Some(loopback()), tls: None };
        let mut running = server::start(Arc::clone(&engine), options).await.unwrap();
        running.follow(Follow { every: Duration::from_millis(50), hangup: false });
        Self { engine, running, dir }
    }

    fn file(&self, name: &str) -> PathBuf {
        self.dir.path().join("mesh").join(name)
    }

    fn write(&self, file: &str, from: &str, to: &str) {
        let text = fs::read_to_string(self.file(file)).unwrap();
        assert!(text.contains(from), "`{from}` is in {file}");
        fs::write(self.file(file), text.replacen(from, to, 1)).unwrap();
    }

    /// Changes a file, and waits until the mesh is served with it.
    async fn change(&self, file: &str, from: &str, to: &str) {
        let before = self.engine.served().epoch();
        self.write(file, from, to);
        until(|| async { self.engine.served().epoch() > before }).await;
    }

    async fn client(&self, user: &str) -> Client {
        let mut client = stranger_at(self.running.address).await;
        client.handshake(user, user).await.unwrap();
        client
    }

    async fn http(&self, path: &str) -> String {
        get(self.running.http.unwrap(), path).await
    }
}

async fn until<F: Future<Output = bool>>(holds: impl Fn() -> F) {
    let deadline = Instant::now() + Duration::from_secs(60);
    while !holds().await {
        assert!(Instant::now() < deadline, "it did not happen in time");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

/// A query that sends more than a connection holds; nothing is read of it yet but the first rows.
async fn begun(client: &mut Client, sql: &str) -> (usize, BoxStream<'static, Result<RecordBatch, String>>) {
    let info = client.execute(sql.to_owned(), None).await.unwrap();
    let mut rows = client.do_get(ticket(&info)).await.unwrap().map_err(said).boxed();
    (rows.next().await.unwrap().unwrap().num_rows(), rows)
}

#[test]
fn a_running_query_ends_where_a_change_takes_something_and_goes_on_elsewhere() {
    packly().block_on(async {
        let mesh = Changing::serve().await;
        let customers = "FROM storefront.customers AS c CROSS JOIN unnest(range(0, 20000)) AS r(n)";
        let (mut analyst, mut owner) = (mesh.client("analyst-eu").await, mesh.client("storefront-owner").await);
        let (_, mut of_analyst) = begun(&mut analyst, &format!("SELECT c.customer_id, c.city, r.n {customers}")).await;
        let (read, of_owner) = begun(&mut owner, &format!("SELECT c.customer_id, r.n {customers} LIMIT 1000000")).await;
        mesh.change(ACCESS, ANALYSTS, AUDITORS).await;

        let ended = loop {
            match of_analyst.next().await.expect("it does not end as if it were whole") {
                Ok(_) => {}
                Err(error) => break error,
            }
        };
        assert!(ended.contains("the policies changed while the statement ran"), "{ended}");
        let whole: usize =
            read + of_owner.map_ok(|rows| rows.num_rows()).try_fold(0, async |a, b| Ok(a + b)).await.unwrap();
        assert_eq!(whole, 1_000_000);
        assert!(mesh.http("/metrics").await.contains("\npolder_queries_revoked_total 1\n"));
    });
}

/// The rows that one of many streams may have on their way when the mesh changes: messages that were begun.
const ON_THE_WAY: usize = 3 * 8192;
/// What a client holds of a stream that it does not read.
const UNREAD: u32 = 16 << 10;

/// A client whose streams do not hold each other up when none is read.
async fn with_small_windows(mesh: &Changing) -> Client {
    let endpoint = Endpoint::from_shared(format!("http://{}", mesh.running.address)).unwrap();
    let endpoint = endpoint.initial_stream_window_size(UNREAD).initial_connection_window_size(256 * UNREAD);
    let mut client = Client::new(endpoint.connect().await.unwrap());
    client.handshake("analyst-eu", "analyst-eu").await.unwrap();
    client
}

/// The rest of a stream: its rows, and the error that it ended with, if it did.
async fn rest(mut batches: BoxStream<'static, Result<RecordBatch, String>>) -> (usize, Option<String>) {
    let mut rows = 0;
    while let Some(next) = batches.next().await {
        match next {
            Ok(batch) => rows += batch.num_rows(),
            Err(error) => return (rows, Some(error)),
        }
    }
    (rows, None)
}

#[test]
fn no_row_of_two_hundred_statements_leaves_after_a_change_that_takes_something_from_them() {
    packly().block_on(async {
        let mesh = Changing::serve().await;
        let first = "@id(\"storefront-is-discoverable\")";
        let narrow = format!(
            "@id(\"rows-of-delft\") @filter(\"city = 'Delft'\")\n\
             permit (principal, action == Action::\"read_rows\", resource == Product::\"storefront.customers\");\n{first}"
        );
        for (revoked, from, to) in [(200, ANALYSTS, AUDITORS), (400, first, narrow.as_str())] {
            let mut streams = Vec::new();
            for _ in 0..4 {
                let mut client = with_small_windows(&mesh).await;
                for stream in 0..50 {
                    // Most have made all of their rows, which wait to be read, and some make more and more.
                    let times = if stream % 25 == 0 { 20_000 } else { 1_000 };
                    let sql = format!(
                        "SELECT c.customer_id, c.city, r.n FROM storefront.customers AS c \
                         CROSS JOIN unnest(range(0, {times})) AS r(n)"
                    );
                    streams.push(begun(&mut client, &sql).await.1);
                }
            }
            mesh.change(ACCESS, from, to).await;
            for (rows, error) in join_all(streams.into_iter().map(rest)).await {
                let error = error.expect("it does not end as if it were whole");
                assert!(error.contains("the policies changed while the statement ran"), "{error}");
                assert!(rows <= ON_THE_WAY, "{rows} rows came");
            }
            let told = format!("\npolder_queries_revoked_total {revoked}\n");
            until(|| async { mesh.http("/metrics").await.contains(&told) }).await;
            mesh.change(ACCESS, to, from).await;
        }
    });
}

#[test]
fn open_tickets_and_prepared_statements_obey_the_policies_of_their_execution() {
    packly().block_on(async {
        let mesh = Changing::serve().await;
        let mut client = mesh.client("analyst-eu").await;
        let open = client.execute(EMAIL.to_owned(), None).await.unwrap();
        let mut prepared = client.prepare(EMAIL.to_owned(), None).await.unwrap();
        let principal = mesh.engine.mesh().principal("analyst-eu").unwrap();
        let planned = mesh.engine.plan(&principal, EMAIL, &Pins::new()).await.unwrap();
        mesh.change(
            ACCESS,
            "@mask(\"sha-256-global\")\npermit (principal in Group::\"analysts\"",
            "@mask(\"replace-with-null\")\npermit (principal in Group::\"analysts\"",
        )
        .await;

        let again = prepared.execute().await.unwrap();
        for info in [open, again] {
            let rows: Vec<RecordBatch> = client.do_get(ticket(&info)).await.unwrap().try_collect().await.unwrap();
            assert!(rows[0].column(0).as_string::<i32>().is_null(0), "{rows:?}");
        }
        // What was planned and had not begun begins no more.
        let error = planned.run().unwrap().try_collect::<Vec<_>>().await.unwrap_err();
        assert!(error.message.contains("the policies changed"), "{error}");
    });
}

#[test]
fn an_open_ticket_brings_the_columns_that_it_announced_or_none() {
    packly().block_on(async {
        let mesh = Changing::serve().await;
        let mut client = mesh.client("analyst-eu").await;
        let open = client.execute("SELECT * FROM storefront.customers LIMIT 1".to_owned(), None).await.unwrap();
        mesh.change(ACCESS, "resource in Tag::\"pii.tax_id\");", "resource in Tag::\"pii\");").await;
        let refused = said(client.do_get(ticket(&open)).await.map(drop).unwrap_err());
        assert!(refused.contains("changed after it was planned"), "{refused}");
    });
}

#[test]
fn a_mesh_that_does_not_load_changes_nothing_and_says_so() {
    packly().block_on(async {
        let mesh = Changing::serve().await;
        let mut client = mesh.client("analyst-eu").await;
        assert!(mesh.http("/readyz").await.ends_with("\r\n\r\nready\n"));
        for (from, to) in [("mesh: packly", "mesh: [packly"), ("mesh: packly", "mesh: another")] {
            mesh.write("mesh.yaml", from, to);
            until(|| async { mesh.http("/readyz").await.contains("with an older mesh") }).await;
            assert!(mesh.http("/metrics").await.contains("\npolder_mesh_stale 1\n"));
            client.execute(EMAIL.to_owned(), None).await.unwrap();
            mesh.change("mesh.yaml", to, from).await;
            until(|| async { mesh.http("/readyz").await.ends_with("\r\n\r\nready\n") }).await;
        }
        // A domain follows its files also while those of the mesh are broken.
        mesh.write("mesh.yaml", "mesh: packly", "mesh: [packly");
        until(|| async { mesh.http("/readyz").await.contains("with an older mesh") }).await;
        mesh.change(ACCESS, ANALYSTS, AUDITORS).await;
        assert!(client.execute(EMAIL.replace("email", "city"), None).await.is_err(), "what it takes away is taken");
    });
}

const HEALTH: &str = "SELECT product, state, reason FROM mesh.health WHERE domain = 'storefront' ORDER BY product";

#[test]
fn a_broken_domain_is_as_it_was_is_told_so_and_is_bound_by_the_mesh() {
    packly().block_on(async {
        let mesh = Changing::serve().await;
        let (mut client, mut guest) = (mesh.client("analyst-eu").await, mesh.client("guest").await);
        mesh.change("storefront/products/customers.odcs.yaml", "kind: DataContract", "kind: Contract").await;
        client.execute(EMAIL.to_owned(), None).await.unwrap();
        assert!(mesh.http("/readyz").await.ends_with("ready\ndomains: 4 ok, 1 kept\n"), "names are not for everyone");
        let metrics = mesh.http("/metrics").await;
        assert!(metrics.contains("\npolder_domains{state=\"kept\"} 1\n") && !metrics.contains("storefront"));
        let rows = rows(&mut client, HEALTH).await;
        assert_eq!(rows.column(1).as_string::<i32>().value(0), "kept", "{rows:?}");
        assert!(rows.column(2).as_string::<i32>().value(0).contains("as they were before"), "{rows:?}");
        let hidden = self::rows(&mut guest, "SELECT count(*) FROM mesh.health WHERE domain = 'payments'").await;
        assert_eq!(hidden.column(0).as_primitive::<Int64Type>().value(0), 0, "what may not be discovered is not told");

        // Another domain follows its files, and so do the mesh's own.
        mesh.change("wholesale/domain.yaml", "description:", "description: New.").await;
        let forbid = "@id(\"nobody-reads-cities\") forbid (principal, action == Action::\"read\", resource in Column::\"storefront.customers.city\");\n@id(\"privacy-office-reads\")";
        mesh.change("policies/oversight.cedar", "@id(\"privacy-office-reads\")", forbid).await;
        let refused = said(client.execute(EMAIL.replace("email", "city"), None).await.unwrap_err());
        assert!(refused.contains("nobody-reads-cities"), "{refused}");
        client.execute(EMAIL.to_owned(), None).await.unwrap();

        mesh.change("storefront/products/customers.odcs.yaml", "kind: Contract", "kind: DataContract").await;
        until(|| async { mesh.http("/readyz").await.ends_with("\r\n\r\nready\n") }).await;
        let rows = self::rows(&mut client, HEALTH).await;
        assert_ne!(rows.column(1).as_string::<i32>().value(0), "kept", "{rows:?}");

        // A domain without its file is gone.
        fs::remove_file(mesh.file("wholesale/domain.yaml")).unwrap();
        until(|| async { mesh.engine.mesh().domain(&"wholesale".parse().unwrap()).is_none() }).await;
        let gone = said(client.execute("SELECT * FROM wholesale.orders".to_owned(), None).await.unwrap_err());
        assert!(gone.contains("there is no product"), "{gone}");
    });
}

/// All rows of an answer in one batch.
async fn rows(client: &mut Client, sql: &str) -> RecordBatch {
    let info = client.execute(sql.to_owned(), None).await.unwrap();
    let rows: Vec<RecordBatch> = client.do_get(ticket(&info)).await.unwrap().try_collect().await.unwrap();
    concat_batches(&rows[0].schema(), &rows).unwrap()
}

#[test]
fn users_passwords_and_keys_follow() {
    packly().block_on(async {
        let mesh = Changing::serve().await;
        let (mut guest, mut analyst) = (mesh.client("guest").await, mesh.client("analyst-eu").await);
        let sql = "SELECT 1".to_owned();
        // A user goes.
        mesh.change("mesh.yaml", "    - { name: guest,", "    - { name: visitor,").await;
        let refused = said(guest.execute(sql.clone(), None).await.unwrap_err());
        assert!(refused.contains("the token is not valid"), "{refused}");
        analyst.execute(sql.clone(), None).await.expect("others stay");
        // Another password: the file is no declaration, and is looked at all the same.
        let hash = fs::read_to_string(mesh.file("secrets/analyst-us.argon2")).unwrap();
        let old = fs::read_to_string(mesh.file("secrets/analyst-eu.argon2")).unwrap();
        mesh.change("secrets/analyst-eu.argon2", &old, &hash).await;
        assert!(analyst.execute(sql.clone(), None).await.is_err(), "a token of the password before");
        let mut again = stranger_at(mesh.running.address).await;
        assert!(again.handshake("analyst-eu", "analyst-eu").await.is_err());
        again.handshake("analyst-eu", "analyst-us").await.unwrap();
        // Another key.
        fs::write(mesh.file("secrets/mesh.key"), "a key that is long enough").unwrap();
        mesh.change("mesh.yaml", "mesh: packly\n", "mesh: packly\nkeys: { mesh: \"${file:secrets/mesh.key}\" }\n")
            .await;
        assert!(again.execute(sql.clone(), None).await.is_err(), "a token of the key before");
        again = stranger_at(mesh.running.address).await;
        again.handshake("analyst-eu", "analyst-us").await.unwrap();
        again.execute(sql, None).await.unwrap();
    });
}

#[test]
fn a_running_query_ends_with_the_token_of_its_service() {
    packly().block_on(async {
        let mesh = Changing::serve().await;
        let (token, hash) = new_token().unwrap();
        fs::write(mesh.file("secrets/etl.sha256"), hash).unwrap();
        let declared = "\nauth:\n  tokens: [ { name: etl, token_hash: \"${file:secrets/etl.sha256}\", groups: [analysts], attributes: { region: EU } } ]\n";
        mesh.change("mesh.yaml", "\nauth:\n", declared).await;
        let mut service = stranger_at(mesh.running.address).await;
        service.set_token(token.expose().to_owned());
        let sql = "SELECT c.customer_id, r.n FROM storefront.customers AS c CROSS JOIN unnest(range(0, 20000)) AS r(n)";
        let (_, mut rows) = begun(&mut service, sql).await;
        mesh.change("mesh.yaml", declared, "\nauth:\n").await;
        let ended = loop {
            match rows.next().await.expect("it does not end as if it were whole") {
                Ok(_) => {}
                Err(error) => break error,
            }
        };
        assert!(ended.contains("the policies changed while the statement ran"), "{ended}");
        let refused = said(service.execute("SELECT 1".to_owned(), None).await.unwrap_err());
        assert!(refused.contains("the token is not valid"), "{refused}");
    });
}

#[test]
fn our_client_logs_in_again_where_its_token_is_valid_no_more() {
    packly().block_on(async {
        let mesh = Changing::serve().await;
        let login = Credentials::Password { user: "analyst-eu".to_owned(), password: Secret::new("analyst-eu") };
        let url = format!("grpc://{}", mesh.running.address);
        let mut client = Remote::connect(&url, login, None, None).await.unwrap();
        fs::write(mesh.file("secrets/mesh.key"), "a key that is long enough").unwrap();
        mesh.change("mesh.yaml", "mesh: packly\n", "mesh: packly\nkeys: { mesh: \"${file:secrets/mesh.key}\" }\n")
            .await;
        let (_, rows, _) = client.query(EMAIL).await.unwrap();
        assert_eq!(rows.try_collect::<Vec<_>>().await.unwrap().len(), 1);
        // With another password it can no more.
        let hash = fs::read_to_string(mesh.file("secrets/analyst-us.argon2")).unwrap();
        let old = fs::read_to_string(mesh.file("secrets/analyst-eu.argon2")).unwrap();
        mesh.change("secrets/analyst-eu.argon2", &old, &hash).await;
        let Err(refused) = client.query(EMAIL).await else { panic!("the password is another one") };
        assert_eq!(refused.class, Class::Unauthenticated);
    });
}

#[test]
fn queries_do_not_wait_for_a_mesh_that_loads() {
    packly().block_on(async {
        let mesh = Changing::serve().await;
        let mut many = String::new();
        for n in 0..400 {
            writeln!(many, "@id(\"n{n}\") forbid (principal == User::\"guest\", action == Action::\"read\", resource == Column::\"marketing.campaigns.name\") when {{ principal has region && principal.region == \"{n}\" }};").unwrap();
        }
        fs::write(mesh.file("marketing/policies/many.cedar"), many).unwrap();
        let before = mesh.engine.served().epoch();
        let analyst = mesh.engine.mesh().principal("analyst-eu").unwrap();
        let (mut answered, mut longest) = (0, Duration::ZERO);
        while mesh.engine.served().epoch() == before {
            let asked = Instant::now();
            let planned = mesh.engine.plan(&analyst, "SELECT 1", &Pins::new()).await.unwrap();
            let rows = planned.run().unwrap().try_collect::<Vec<_>>().await.unwrap();
            assert_eq!(rows.len(), 1);
            (answered, longest) = (answered + 1, longest.max(asked.elapsed()));
        }
        let loading = Instant::now();
        let loaded = Mesh::load(&mesh.file("")).unwrap();
        let loading = loading.elapsed();
        assert_eq!(loaded.domains_out().count(), 0, "{:?}", loaded.findings().first());
        assert!(answered > 10, "{answered} queries were answered while it loaded");
        assert!(longest < loading / 2, "a query waited {longest:?}, loading took {loading:?}");
    });
}
