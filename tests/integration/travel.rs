//! Time travel and metadata tables, over a table with three snapshots, a branch and a tag.
//!
//! The table is Packly's `storefront.customers`: 100 rows at first, then 150, then 200, since copies of its files are
//! appended. The tag `june` is the first snapshot, the branch `audit` the second.

use std::net::SocketAddr;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use arrow_flight::sql::CommandGetTables;
use arrow_flight::sql::client::FlightSqlServiceClient;
use datafusion::arrow::array::AsArray;
use datafusion::arrow::datatypes::Int64Type;
use datafusion::common::TableReference;
use futures::TryStreamExt;
use iceberg::spec::{DataFile, DataFileBuilder, SnapshotReference, SnapshotRetention, TableMetadataBuilder};
use iceberg::transaction::{ApplyTransactionAction, Transaction};
use iceberg::{Catalog, TableIdent};
use polder::error::{Class, Error};
use polder::flight::client::{Credentials, Remote};
use polder::guard::mask::Keys;
use polder::packly::{write_domain, write_files};
use polder::resolve::{At, Resolver};
use polder::server::{self, Running};
use polder::session::{Engine, Options, Pins};
use polder_catalog::mesh::Mesh;
use polder_catalog::secret::Secret;
use tonic::transport::Endpoint;

use crate::own;
use crate::packly::loopback;
use crate::scripts::{Kind, answer};

const CUSTOMERS: &str = "storefront.customers";

/// A served mesh of one domain with a history.
struct Shop {
    engine: Arc<Engine>,
    address: SocketAddr,
    catalog: Arc<dyn Catalog>,
    /// The snapshots that were made at first, and when, in milliseconds.
    snapshots: Vec<(i64, i64)>,
    dir: tempfile::TempDir,
    runtime: tokio::runtime::Runtime,
    _running: Running,
}

impl Shop {
    async fn make() -> (tempfile::TempDir, Arc<Engine>, Arc<dyn Catalog>, Running) {
        let dir = tempfile::tempdir().unwrap();
        write_files(dir.path()).unwrap();
        let mesh = Mesh::load(dir.path()).unwrap();
        let engine = Engine::start(mesh, Options { threads: Some(2), ..Options::default() }).unwrap();
        let mesh = engine.mesh();
        let domain = mesh.domain(&"storefront".parse().unwrap()).unwrap();
        let catalog = engine.lake().catalog(domain).await.unwrap();
        write_domain("storefront", Arc::clone(&catalog), 0.002, &|_| {}).await.unwrap();
        let options = server::Options { listen: loopback(), http: None, tls: None };
        let running = server::start(Arc::clone(&engine), options).await.unwrap();
        (dir, engine, catalog, running)
    }

    fn start() -> Self {
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
        let (dir, engine, catalog, running) = runtime.block_on(Self::make());
        let address = running.address;
        let mut shop = Self { engine, address, catalog, snapshots: Vec::new(), dir, runtime, _running: running };
        shop.runtime.block_on(async {
            shop.append(0).await;
            shop.append(1).await;
        });
        let table = shop.runtime.block_on(shop.table());
        shop.snapshots =
            table.metadata().history().iter().map(|entry| (entry.snapshot_id, entry.timestamp_ms())).collect();
        let (june, audit) = (shop.snapshots[0].0, shop.snapshots[1].0);
        shop.runtime.block_on(shop.change(|builder| {
            let tag = SnapshotReference::new(june, SnapshotRetention::Tag { max_ref_age_ms: None });
            let branch = SnapshotReference::new(audit, SnapshotRetention::branch(None, None, None));
            builder.set_ref("june", tag).unwrap().set_ref("audit", branch).unwrap()
        }));
        shop
    }

    async fn table(&self) -> iceberg::table::Table {
        self.catalog.load_table(&TableIdent::from_strs(["shop", "customers"]).unwrap()).await.unwrap()
    }

    /// Appends a copy of one of the first two files, which have 50 rows each.
    async fn append(&self, which: usize) {
        let table = self.table().await;
        let first = table.metadata().snapshot_by_id(table.metadata().history()[0].snapshot_id).unwrap();
        let list = table.manifest_list_reader(first).load().await.unwrap();
        let mut files: Vec<DataFile> = Vec::new();
        for manifest in list.entries() {
            let manifest = manifest.load_manifest(table.file_io()).await.unwrap();
            files.extend(manifest.entries().iter().map(|entry| entry.data_file().clone()));
        }
        files.sort_by(|a, b| a.file_path().cmp(b.file_path()));
        let file = &files[which];
        let bytes = table.file_io().new_input(file.file_path()).unwrap().read().await.unwrap();
        let copy = format!("{}/data/copy-{}.parquet", table.metadata().location(), uuid::Uuid::new_v4());
        table.file_io().new_output(&copy).unwrap().write(bytes).await.unwrap();
        let copy = DataFileBuilder::default()
            .content(file.content_type())
            .file_path(copy)
            .file_format(file.file_format())
            .partition(file.partition().clone())
            .partition_spec_id(table.metadata().default_partition_spec_id())
            .record_count(file.record_count())
            .file_size_in_bytes(file.file_size_in_bytes())
            .build()
            .unwrap();
        // Two snapshots of one millisecond would be one to a time.
        tokio::time::sleep(Duration::from_millis(5)).await;
        let append = Transaction::new(&table);
        let append = append.fast_append().add_data_files([copy]).apply(append).unwrap();
        append.commit(self.catalog.as_ref()).await.unwrap();
    }

    async fn change(&self, with: impl FnOnce(TableMetadataBuilder) -> TableMetadataBuilder) {
        let database = self.dir.path().join("lake/storefront/catalog.db");
        own::change(&self.table().await, &database, with).await;
    }

    async fn connect(&self, user: &str) -> Remote {
        let credentials = Credentials::Password { user: user.to_owned(), password: Secret::new(user) };
        Remote::connect(&format!("grpc://{}", self.address), credentials, None, None).await.unwrap()
    }

    /// The rows of a statement, over Flight.
    fn ask(&self, user: &str, sql: &str) -> Result<Vec<String>, Error> {
        self.runtime.block_on(async { answer(&mut self.connect(user).await, Kind::Query, sql).await })
    }

    fn rows(&self, user: &str, sql: &str) -> Vec<String> {
        self.ask(user, sql).unwrap_or_else(|error| panic!("{sql}: {error}"))
    }

    fn error(&self, user: &str, sql: &str) -> Error {
        self.ask(user, sql).map(|rows| panic!("{sql} gave {rows:?}")).unwrap_err()
    }

    /// A moment in milliseconds as SQL writes it.
    fn moment(milliseconds: i64) -> String {
        format!("to_timestamp_millis({milliseconds})")
    }
}

fn shop() -> &'static Shop {
    static SHOP: OnceLock<Shop> = OnceLock::new();
    SHOP.get_or_init(Shop::start)
}

const OFFICER: &str = "privacy-officer";
const ANALYST: &str = "analyst-eu";

#[test]
fn every_form_of_a_version_reads_its_snapshot() {
    let shop = shop();
    let [(first, at), (second, later), (third, last)] = shop.snapshots[..] else { panic!("{:?}", shop.snapshots) };
    let (at, later, last) = (Shop::moment(at), Shop::moment(later), Shop::moment(last));
    for user in [OFFICER, ANALYST] {
        for (version, expect) in [
            (String::new(), "200"),
            (format!("VERSION AS OF {first}"), "100"),
            (format!("FOR VERSION AS OF {second}"), "150"),
            (format!("FOR SYSTEM_VERSION AS OF {third}"), "200"),
            (format!("AT(VERSION => {first})"), "100"),
            ("AT(REF => 'june')".to_owned(), "100"),
            ("AT(REF => 'audit')".to_owned(), "150"),
            ("AT(REF => 'main')".to_owned(), "200"),
            (format!("FOR SYSTEM_TIME AS OF {at}"), "100"),
            (format!("FOR TIMESTAMP AS OF {later}"), "150"),
            (format!("TIMESTAMP AS OF {later} - INTERVAL '1 millisecond'"), "100"),
            (format!("AT(TIMESTAMP => {last})"), "200"),
            ("TIMESTAMP AS OF now()".to_owned(), "200"),
            ("TIMESTAMP AS OF '2999-12-31'".to_owned(), "200"),
            ("TIMESTAMP AS OF DATE '2200-12-31'".to_owned(), "200"),
        ] {
            let sql = format!("SELECT count(*) FROM {CUSTOMERS} {version}");
            assert_eq!(shop.rows(user, &sql), [expect], "{sql}");
        }
    }
}

#[test]
fn one_statement_reads_a_table_at_several_versions() {
    let shop = shop();
    let (first, second) = (shop.snapshots[0].0, shop.snapshots[1].0);
    let v = |id: i64| format!("{CUSTOMERS} VERSION AS OF {id}");
    for (sql, expect) in [
        // The optimizer must not take these for the same plan.
        (
            format!(
                "SELECT (SELECT count(email) FROM {}) AS a, (SELECT count(email) FROM {}) AS b, (SELECT count(email) FROM {CUSTOMERS}) AS c",
                v(first),
                v(second)
            ),
            vec!["100 | 150 | 200"],
        ),
        (
            format!(
                "SELECT count(email) FROM {} UNION ALL SELECT count(email) FROM {} UNION ALL SELECT count(email) FROM {CUSTOMERS} ORDER BY 1",
                v(first),
                v(second)
            ),
            vec!["100", "150", "200"],
        ),
        (
            format!(
                "SELECT count(*), count(o.email) FROM {CUSTOMERS} AS n JOIN {} AS o ON n.customer_id = o.customer_id AND n.email = o.email",
                v(first)
            ),
            vec!["200 | 200"],
        ),
        (
            format!(
                "WITH a AS (SELECT city FROM {}), b AS (SELECT city FROM {}) SELECT (SELECT count(*) FROM a) AS x, (SELECT count(*) FROM b) AS y",
                v(first),
                v(second)
            ),
            vec!["100 | 150"],
        ),
        (
            format!(
                "SELECT count(*) FROM {} AS a WHERE EXISTS (SELECT 1 FROM {} AS b WHERE a.email = b.email)",
                v(second),
                v(first)
            ),
            vec!["150"],
        ),
        (
            format!("SELECT count(storefront.customers.email), count(customers.city) FROM {}", v(first)),
            vec!["100 | 100"],
        ),
        (format!("SELECT count(*) FROM packly.{}", v(first)), vec!["100"]),
        (
            format!("SELECT count(*) FROM {} AS a JOIN packly.{} AS b USING (customer_id, email)", v(first), v(second)),
            vec!["150"],
        ),
        (
            format!("SELECT count(*) FROM {CUSTOMERS} changes, {} AS at WHERE changes.email = at.email", v(first)),
            vec!["200"],
        ),
    ] {
        for user in [OFFICER, ANALYST] {
            assert_eq!(shop.rows(user, &sql), expect, "{user}: {sql}");
        }
    }
}

#[test]
fn masks_and_denials_hold_at_every_version() {
    let shop = shop();
    for version in ["", "AT(REF => 'june')", "TIMESTAMP AS OF now()"] {
        let emails = shop.rows(ANALYST, &format!("SELECT email, full_name FROM {CUSTOMERS} {version}"));
        assert!(emails.iter().all(|row| row.ends_with(" | NULL") && !row.contains('@')), "{version}: {emails:?}");
        let denied = shop.error(ANALYST, &format!("SELECT tax_id FROM {CUSTOMERS} {version}"));
        assert_eq!(denied.class, Class::Denied, "{denied}");
        assert!(denied.message.contains("storefront-no-tax-ids-for-analysts"), "{denied}");
        let nothing = shop.error("guest", &format!("SELECT 1 FROM {CUSTOMERS} {version}"));
        assert_eq!(nothing.class, Class::Denied, "{nothing}");
    }
    let hidden = shop.error(ANALYST, "SELECT 1 FROM payments.fraud_signals AT(REF => 'june')");
    let absent = shop.error(ANALYST, "SELECT 1 FROM payments.fraud_zignals AT(REF => 'june')");
    assert_eq!(hidden.to_string().replace("fraud_signals", "X"), absent.to_string().replace("fraud_zignals", "X"));
    let plan = shop.rows(ANALYST, &format!("EXPLAIN SELECT city FROM {CUSTOMERS} AT(REF => 'june')")).join("\n");
    assert!(plan.contains("storefront.customers AT(REF => 'june')"), "{plan}");
    assert!(!plan.contains(&shop.snapshots[0].0.to_string()), "{plan}");
}

#[test]
fn a_version_that_is_not_there_is_named_and_others_are_not() {
    let shop = shop();
    let check = |user: &str, version: &str, class: Class, message: &str, help: Option<&str>| {
        let error = shop.error(user, &format!("SELECT 1 FROM {CUSTOMERS} {version}"));
        assert_eq!((error.class, error.message.as_str(), error.help.as_deref()), (class, message, help), "{version}");
    };
    let (snapshots, refs, history) = (
        Some("storefront.\"customers$snapshots\" shows what there is"),
        Some("storefront.\"customers$refs\" shows what there is"),
        Some("storefront.\"customers$history\" shows what there is"),
    );
    for (user, all) in [(OFFICER, true), (ANALYST, false)] {
        let listed = |help: Option<&'static str>| help.filter(|_| all);
        let (no_id, no_ref, no_time) = (
            "`storefront.customers` keeps no snapshot 7",
            "`storefront.customers` has no branch or tag `June`",
            "`storefront.customers` had no snapshot at that time: its history begins later",
        );
        check(user, "VERSION AS OF 7", Class::UnknownName, no_id, listed(snapshots));
        check(user, "AT(REF => 'June')", Class::UnknownName, no_ref, listed(refs));
        check(user, "TIMESTAMP AS OF '2020-01-01 00:00:00Z'", Class::UnknownName, no_time, listed(history));
    }
    for time in ["'yesterday'", "7", "NULL", "random()", "true"] {
        let error = shop.error(OFFICER, &format!("SELECT 1 FROM {CUSTOMERS} TIMESTAMP AS OF {time}"));
        assert_eq!(error.class, Class::BadRequest, "{time}: {error}");
    }
    let column = shop.error(OFFICER, &format!("SELECT 1 FROM {CUSTOMERS} TIMESTAMP AS OF signed_up_on"));
    assert_eq!(column.message, "there is no column `signed_up_on`");
    let within = shop.error(OFFICER, "WITH c AS (SELECT 1) SELECT * FROM c VERSION AS OF 7");
    assert_eq!(within.class, Class::UnknownName, "{within}");
    for table in ["mesh.products", "information_schema.tables"] {
        let system = shop.error(OFFICER, &format!("SELECT 1 FROM {table} VERSION AS OF 7"));
        assert!(system.message.contains("has no versions"), "{system}");
    }
}

#[test]
fn metadata_tables_are_for_those_who_may_read_everything() {
    let shop = shop();
    let tables = ["snapshots", "history", "refs", "files", "manifests", "partitions"];
    for table in tables {
        for sql in
            ["SELECT count(*) FROM {}", "SELECT 1 FROM {} WHERE false", "DESCRIBE {}", "EXPLAIN SELECT * FROM {}"]
        {
            let ask = |name: &str| sql.replace("{}", name);
            assert!(
                !shop.rows(OFFICER, &ask(&format!("storefront.\"customers${table}\""))).is_empty()
                    || sql.contains("false")
            );
            // Masked, denied, and without anything: all may discover the product.
            for user in [ANALYST, "storefront-owner", "guest"] {
                let denied = shop.error(user, &ask(&format!("storefront.\"customers${table}\"")));
                assert_eq!(denied.class, Class::Denied, "{user}: {denied}");
                assert!(denied.message.contains("every column"), "{denied}");
            }
            let hidden = shop.error(ANALYST, &ask(&format!("payments.\"fraud_signals${table}\"")));
            let absent = shop.error(ANALYST, &ask(&format!("payments.\"fraud_zignals${table}\"")));
            assert_eq!(hidden.class, Class::UnknownName, "{hidden}");
            assert_eq!(
                hidden.to_string().replace("fraud_signals", "X"),
                absent.to_string().replace("fraud_zignals", "X")
            );
        }
    }
    for absent in [
        "customers$",
        "customers$nothing",
        "customers$files$files",
        "$files",
        "customers$files@1",
        "customers$FILES",
        "customers AT(REF => 'june')",
    ] {
        let error = shop.error(OFFICER, &format!("SELECT 1 FROM storefront.\"{absent}\""));
        assert_eq!(error.class, Class::UnknownName, "{absent}: {error}");
    }
}

#[test]
fn metadata_tables_tell_the_history_and_the_files_of_each_version() {
    let shop = shop();
    let [(first, _), (second, _), (third, _)] = shop.snapshots[..] else { panic!("{:?}", shop.snapshots) };
    let rows = |sql: &str| shop.rows(OFFICER, sql);
    assert_eq!(
        rows("SELECT snapshot_id, parent_id, operation FROM storefront.\"customers$snapshots\" ORDER BY committed_at"),
        [
            format!("{first} | NULL | append"),
            format!("{second} | {first} | append"),
            format!("{third} | {second} | append")
        ]
    );
    assert_eq!(
        rows("SELECT name, type, snapshot_id FROM storefront.\"customers$refs\" ORDER BY name"),
        [format!("audit | BRANCH | {second}"), format!("june | TAG | {first}"), format!("main | BRANCH | {third}")]
    );
    assert_eq!(rows("SELECT count(*) FROM storefront.\"customers$history\" WHERE is_current_ancestor"), ["3"]);
    assert_eq!(
        rows(
            "SELECT (SELECT count(*) FROM storefront.customers$files AT(REF => 'june')) AS june, \
             (SELECT count(*) FROM storefront.customers$files AT(REF => 'audit')) AS audit"
        ),
        ["2 | 3"]
    );
    for (version, files, records) in [("", 4, 200), ("AT(REF => 'audit')", 3, 150), ("AT(REF => 'june')", 2, 100)] {
        assert_eq!(
            rows(&format!("SELECT count(*), sum(record_count) FROM storefront.\"customers$files\" {version}")),
            [format!("{files} | {records}")]
        );
        assert_eq!(
            rows(&format!("SELECT file_count, record_count FROM storefront.\"customers$partitions\" {version}")),
            [format!("{files} | {records}")]
        );
    }
}

#[test]
fn no_listing_shows_metadata_tables() {
    let shop = shop();
    for sql in [
        "SHOW TABLES",
        "SELECT table_name FROM information_schema.tables",
        "SELECT table_name FROM information_schema.columns",
    ] {
        assert!(shop.rows(OFFICER, sql).iter().all(|row| !row.contains('$')), "{sql}");
    }
    shop.runtime.block_on(async {
        let channel = Endpoint::from_shared(format!("http://{}", shop.address)).unwrap().connect().await.unwrap();
        let mut client = FlightSqlServiceClient::new(channel);
        client.handshake(OFFICER, OFFICER).await.unwrap();
        let pattern = CommandGetTables { table_name_filter_pattern: Some("%$%".to_owned()), ..Default::default() };
        let info = client.get_tables(pattern).await.unwrap();
        let stream = client.do_get(info.endpoint[0].ticket.clone().unwrap()).await.unwrap();
        let batches: Vec<_> = stream.try_collect().await.unwrap();
        assert_eq!(batches.iter().map(|batch| batch.num_rows()).sum::<usize>(), 0);
    });
}

#[test]
fn a_ticket_reads_what_was_planned_and_a_prepared_statement_the_newest() {
    // A shop of its own, since its history goes on.
    let shop = Shop::start();
    let sql = format!(
        "SELECT (SELECT count(*) FROM {CUSTOMERS}) AS a, (SELECT count(*) FROM {CUSTOMERS} TIMESTAMP AS OF now()) AS b, \
         (SELECT count(*) FROM {CUSTOMERS} AT(REF => 'main')) AS c, \
         (SELECT count(*) FROM {CUSTOMERS} AT(REF => 'june')) AS d, \
         (SELECT count(*) FROM storefront.\"customers$files\") AS e"
    );
    shop.runtime.block_on(async {
        let channel = Endpoint::from_shared(format!("http://{}", shop.address)).unwrap().connect().await.unwrap();
        let mut client = FlightSqlServiceClient::new(channel);
        client.handshake(OFFICER, OFFICER).await.unwrap();
        let mut prepared = client.prepare(sql.clone(), None).await.unwrap();
        let before = client.execute(sql.clone(), None).await.unwrap();
        shop.append(0).await;
        let after = client.execute(sql.clone(), None).await.unwrap();
        let again = prepared.execute().await.unwrap();
        for (info, expect) in
            [(&before, [200, 200, 200, 100, 4]), (&after, [250, 250, 250, 100, 5]), (&again, [250, 250, 250, 100, 5])]
        {
            let stream = client.do_get(info.endpoint[0].ticket.clone().unwrap()).await.unwrap();
            let batches: Vec<_> = stream.try_collect().await.unwrap();
            let found: Vec<i64> =
                batches[0].columns().iter().map(|column| column.as_primitive::<Int64Type>().value(0)).collect();
            assert_eq!(found, expect);
        }
        // Each table and version has a pin of its own, and all names of the newest have the same.
        let principal = shop.engine.mesh().principal(OFFICER).unwrap();
        let planned = shop.engine.plan(&principal, &sql, &Pins::new()).await.unwrap();
        let newest = shop.table().await.metadata().current_snapshot_id().unwrap();
        let pins = planned.pins();
        assert_eq!(pins.len(), 5, "{pins:?}");
        for name in ["", "$files", " TIMESTAMP AS OF now()", " AT(REF => 'main')"] {
            assert_eq!(pins.get(&format!("{CUSTOMERS}{name}")), Some(&newest), "{name}");
        }
        assert_eq!(pins.get(&format!("{CUSTOMERS} AT(REF => 'june')")), Some(&shop.snapshots[0].0));
    });

    // All names of one statement see the same state, also when somebody commits between them.
    shop.runtime.block_on(async {
        let resolver = || {
            let principal = shop.engine.mesh().principal(OFFICER).unwrap();
            Resolver::new(shop.engine.mesh(), shop.engine.lake(), Arc::default(), principal, Keys::new([]))
        };
        let newest = async |resolver: &Resolver, name: &str| {
            resolver.table(&TableReference::parse_str(name), &At::newest(None)).await.unwrap().snapshot.unwrap()
        };
        let one = resolver();
        let first = newest(&one, CUSTOMERS).await;
        shop.append(1).await;
        for name in [CUSTOMERS, "packly.storefront.customers", "storefront.\"customers$files\""] {
            assert_eq!(newest(&one, name).await, first, "{name}");
        }
        assert_ne!(newest(&resolver(), CUSTOMERS).await, first);
    });

    // A rollback is a change like any other: what was the newest between is still what it was.
    let before = shop.runtime.block_on(async { shop.table().await.metadata().last_updated_ms() });
    let audit = shop.snapshots[1].0;
    std::thread::sleep(Duration::from_millis(5));
    shop.runtime.block_on(shop.change(|builder| {
        let main = SnapshotReference::new(audit, SnapshotRetention::branch(None, None, None));
        builder.set_ref("main", main).unwrap()
    }));
    let count = |version: &str| shop.rows(OFFICER, &format!("SELECT count(*) FROM {CUSTOMERS} {version}"));
    assert_eq!(count(""), ["150"]);
    assert_eq!(count("TIMESTAMP AS OF now()"), ["150"]);
    assert_eq!(count(&format!("TIMESTAMP AS OF {}", Shop::moment(before))), ["300"]);
}
