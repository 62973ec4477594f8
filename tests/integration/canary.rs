//! Every hidden cell holds a value that occurs nowhere else, and whatever leaves the server is searched for it.
//!
//! ```text
//! tables in which every cell is a token  ->  polder serve, logging all that there is to log  ->  a tap on its socket
//!                                                                                           ->  what a client hears
//! ```
//!
//! There is a reader for each kind of mask, who sees every column of every type and nesting through it, and one who sees
//! all columns of some rows. `desk` derives products from these tables, two of them with rights of its own. None of their hidden cells may be in what they are sent: rows, schemas, notes, errors,
//! plans. No cell at all may be in the logs and the metrics. Without the scrubbing the same search finds hidden rows.

mod cells;
mod search;
mod tap;

use std::collections::BTreeSet;
use std::fs;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::OnceLock;
use std::time::{Duration, Instant};

use arrow_flight::FlightInfo;
use arrow_flight::sql::{CommandGetDbSchemas, CommandGetTables};
use datafusion::arrow::array::RecordBatch;
use datafusion::arrow::ipc::writer::StreamWriter;
use futures::{StreamExt, TryStreamExt, stream};
use iceberg::spec::Schema;
use polder::flight::encode::{Types, wire_batch};
use polder::session::Pins;
use prost::Message as _;
use serde_json::json;
use tempfile::TempDir;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tonic::Request;

use self::cells::{Cell, NESTINGS, is_hidden, leaf};
use self::search::Search;
use self::tap::Tap;
use crate::own::{self, Domain};
use crate::packly::packly;
use crate::wire::{Client, get, stranger_at, ticket};

/// A reader for each kind of mask, and for every other of them there are row rules.
const MASKS: [(&str, &str); 11] = [
    ("null", "replace-with-null"),
    ("fixed", "mask-to-fixed-value"),
    ("local", "sha-256-query-local"),
    ("keyed", "hmac(pii)"),
    ("global", "sha-256-global"),
    ("bucket", "bucket(1000003)"),
    ("year", "truncate-to-year"),
    ("month", "truncate-to-month"),
    ("alphanum", "mask-alphanum"),
    ("last", "show-last-4"),
    ("first", "show-first-4"),
];
/// Sees everything.
const WARDEN: &str = "warden";
/// Sees all columns of some rows.
const PARTIAL: &str = "partial";
/// May know that there are tables, and reads nothing of them but numbers of rows.
const OUTSIDER: &str = "outsider";
const SECRET: &str = "a-key-that-nobody-hears-of";

fn has_row_rules(reader: &str) -> bool {
    reader == PARTIAL || MASKS.iter().step_by(2).any(|(name, _)| *name == reader)
}

/// Whether a mask is defined for a type: what `polder_catalog` says of it is tested against the design there.
fn is_defined(mask: &str, column: &str) -> bool {
    let is_number = matches!(column, "int" | "long");
    let is_moment = matches!(column, "date" | "stamp" | "zoned" | "stamp_ns" | "zoned_ns");
    match mask {
        "null" | "fixed" => true,
        "local" | "keyed" | "global" => is_number || matches!(column, "string" | "binary"),
        "bucket" => is_number || matches!(column, "float" | "double" | "small" | "large"),
        "year" | "month" => is_moment,
        _ => column == "string",
    }
}

fn policies() -> String {
    let mut text = String::from(
        "@id(\"all\") permit (principal, action == Action::\"discover\", resource in Domain::\"vault\");\n",
    );
    let mut id = 0;
    let mut policy = |head: &str, who: &str, action: &str, resource: &str| {
        id += 1;
        let scope = format!("principal in Group::\"{who}\", action == Action::\"{action}\", resource == {resource}");
        text.push_str(&format!("@id(\"vault-{id}\") {head} ({scope});\n"));
    };
    for nesting in NESTINGS {
        let product = format!("Product::\"vault.{nesting}\"");
        let column = |path: &str| format!("Column::\"vault.{nesting}.{path}\"");
        for reader in readers() {
            let rows = if has_row_rules(reader) { "@filter(\"side = 'ours'\") permit" } else { "permit" };
            policy(rows, reader, "read_rows", &product);
            for open in if reader == OUTSIDER { vec!["id"] } else { vec!["id", "side", "open"] } {
                policy("permit", reader, "read", &column(open));
            }
        }
        for (name, _) in cells::types() {
            for reader in [WARDEN, PARTIAL] {
                policy("permit", reader, "read", &column(name));
            }
            let path = format!("{name}{}", leaf(nesting));
            for (reader, mask) in MASKS.iter().filter(|(reader, _)| is_defined(reader, name)) {
                if nesting == "mapped" {
                    // The keys of a map have no address of their own: what is masked is carved out of all of it.
                    policy("permit", reader, "read", &column(name));
                    policy("forbid", reader, "read", &column(&path));
                    policy("forbid", reader, "read", &column(&format!("{name}.beside")));
                }
                policy(&format!("@mask(\"{mask}\") permit"), reader, "read_masked", &column(&path));
            }
        }
    }
    text
}

/// Whoever asks is read for with their own rights in `desk.copy`, and with those of `desk` in the others.
const DESK: &str = r#"
@id("desk-found") permit (principal, action == Action::"discover", resource in Domain::"desk");
@id("desk-read") permit (principal, action == Action::"read", resource in Domain::"desk")
unless { resource in Column::"desk.part.open" };
@id("desk-masked") @mask("replace-with-null")
permit (principal, action == Action::"read_masked", resource in Column::"desk.part.open");
"#;
/// What the owner of `desk` sees: everything.
const DESK_OWNER: &str = r#"
@id("desk-reads") permit (principal in Group::"desk-products", action == Action::"read", resource in Product::"vault.plain");
@id("desk-finds") permit (principal in Group::"desk-products", action in [Action::"discover", Action::"read_rows"], resource == Product::"vault.plain");
"#;

/// Writes the contracts of the products of `desk`.
fn derive(dir: &Path) {
    let column = |name: &str, kind: &str| json!({ "name": name, "physicalType": kind });
    let text = |name: &str| column(name, "string");
    let id = || column("id", "long");
    for (name, query, rights, columns) in [
        ("copy", "SELECT * FROM vault.plain", "invoker", vec![id(), text("side"), text("open"), text("string")]),
        ("part", "SELECT id, open FROM vault.plain", "owner", vec![id(), text("open")]),
        ("sums", "SELECT side, count(open) AS id FROM vault.plain GROUP BY side", "owner", vec![text("side"), id()]),
    ] {
        let contract = json!({
            "apiVersion": "v3.1.0", "kind": "DataContract", "id": name, "version": "1.0.0", "status": "active",
            "schema": [{
                "name": name, "properties": columns, "customProperties": [
                    { "property": "polder.query", "value": query }, { "property": "polder.rights", "value": rights },
                ],
            }],
        });
        fs::write(dir.join(format!("desk/products/{name}.odcs.yaml")), contract.to_string()).unwrap();
    }
}

/// Whether a reader may see a cell as it is.
fn may_see(reader: &str, cell: &Cell) -> bool {
    let row = reader == WARDEN || !has_row_rules(reader) || !is_hidden(cell.row);
    row && match cell.column {
        "open" => reader != OUTSIDER,
        _ => reader == WARDEN || reader == PARTIAL,
    }
}

fn readers() -> impl Iterator<Item = &'static str> {
    [WARDEN, PARTIAL, OUTSIDER].into_iter().chain(MASKS.map(|(name, _)| name))
}

/// The columns of cells of which a reader sees anything.
fn columns(reader: &str) -> Vec<&'static str> {
    let types = cells::types().into_iter().map(|(name, _)| name);
    types
        .filter(|name| [WARDEN, PARTIAL].contains(&reader) || (reader != OUTSIDER && is_defined(reader, name)))
        .collect()
}

/// What is asked by all.
fn general() -> Vec<String> {
    let mut asked: Vec<String> = NESTINGS
        .iter()
        .flat_map(|nesting| {
            [
                format!("SELECT * FROM vault.{nesting}"),
                format!("SELECT * FROM vault.{nesting} ORDER BY id DESC LIMIT 5"),
                format!("EXPLAIN SELECT * FROM vault.{nesting} WHERE id > 3"),
            ]
        })
        .collect();
    asked.extend(
        [
            "SELECT a.*, b.* FROM vault.plain AS a JOIN vault.inside AS b ON a.id = b.id + 1",
            "SELECT string FROM vault.plain",
            "SELECT CAST(string AS INT) FROM vault.plain",
            "SELECT string['leaf'], string['beside'] FROM vault.inside",
            "SELECT nothing FROM vault.plain",
            "SELECT * FROM vault.\"plain$files\"",
            "SELECT * FROM vault.\"plain$partitions\"",
            "EXPLAIN POLICY SELECT * FROM vault.plain WHERE string LIKE '%e%'",
            "DESCRIBE vault.plain",
            "SELECT * FROM desk.copy",
            "SELECT CAST(open AS INT) FROM desk.copy",
            "SELECT * FROM desk.sums ORDER BY side",
            "SELECT * FROM desk.part ORDER BY id DESC LIMIT 5",
            "SELECT CAST(open AS INT) + id FROM desk.part",
            "SELECT 1 / (id - 1) FROM desk.part WHERE open > 'n'",
            "SELECT p.open, v.open FROM desk.part p JOIN vault.plain v ON p.id = v.id",
            "EXPLAIN SELECT max(open) FROM desk.part WHERE id > 3",
            "EXPLAIN POLICY SELECT * FROM desk.part",
        ]
        .map(str::to_owned),
    );
    asked
}

/// What is asked of the columns that a reader sees.
fn of_columns(reader: &str) -> Vec<String> {
    let all = |each: &dyn Fn(&str) -> String| columns(reader).into_iter().map(each).collect::<Vec<_>>().join(", ");
    if columns(reader).is_empty() {
        return Vec::new();
    }
    let text = |column: &str| match column {
        "binary" | "fixed" | "uuid" => format!("encode(arrow_cast({column}, 'Binary'), 'hex')"),
        other => format!("CAST({other} AS VARCHAR)"),
    };
    vec![
        format!("SELECT {} FROM vault.plain", all(&|c| format!("min({c}), count(DISTINCT {c})"))),
        format!("SELECT {} FROM vault.plain", all(&text)),
        format!("SELECT {} FROM vault.plain", all(&|c| format!("CASE WHEN id % 2 = 0 THEN {c} END"))),
        format!("SELECT {} FROM vault.inside", all(&|c| format!("{c}['leaf']"))),
        format!("SELECT {} FROM vault.listed", all(&|c| format!("unnest({c})"))),
        format!("SELECT {} FROM vault.mapped", all(&|c| format!("map_values({c})"))),
        format!("SELECT {} FROM vault.items LIMIT 3", all(&|c| format!("{c}[1]"))),
        format!("SELECT DISTINCT {} FROM vault.plain WHERE id < 9", all(&str::to_owned)),
    ]
}

/// What is asked of texts that some rows of are shown.
const OF_ROWS: [&str; 16] = [
    "SELECT open FROM vault.plain WHERE id BETWEEN 3 AND 9",
    "SELECT CASE WHEN id % 3 = 0 THEN open END, nullif(side, 'ours') FROM vault.plain",
    "SELECT arrow_cast(open, 'Dictionary(Int32, Utf8)') FROM vault.plain",
    "SELECT substr(open, 3), split_part(open, ' ', 2) FROM vault.plain ORDER BY id LIMIT 5",
    "SELECT open, count(*), max(id) FROM vault.plain GROUP BY open",
    "SELECT id, lag(open) OVER (ORDER BY id) FROM vault.plain",
    "SELECT open FROM vault.plain UNION SELECT open FROM vault.inside",
    "SELECT array_agg(open) FROM vault.plain GROUP BY id % 2",
    "SELECT a.open, b.open FROM vault.plain AS a LEFT JOIN vault.items AS b ON a.id = b.id + 5",
    "SELECT open FROM vault.plain WHERE id IN (SELECT id FROM vault.mapped WHERE open > 'n') AND open LIKE '%e%'",
    "SELECT CAST(open AS INT) FROM vault.plain",
    "SELECT 1 / (id - 1) FROM vault.plain",
    "SELECT CAST(open AS DATE) FROM vault.plain WHERE 1 / (id - 2) > 0",
    "SELECT open FROM vault.plain AT(REF => 'main') WHERE id = 1",
    "EXPLAIN SELECT max(open) FROM vault.plain WHERE open > 'n' GROUP BY side ORDER BY 1 LIMIT 2",
    "SELECT * FROM vault.plain VERSION AS OF 1",
];

/// What is asked of the mesh itself.
const OF_THE_MESH: [&str; 9] = [
    "SHOW TABLES",
    "SELECT * FROM information_schema.columns",
    "SELECT * FROM information_schema.tables",
    "SELECT * FROM mesh.products",
    "SELECT * FROM mesh.columns",
    "SELECT * FROM mesh.grants",
    "SELECT * FROM mesh.health",
    "SELECT * FROM mesh.quality",
    "SELECT * FROM mesh.queries",
];

fn questions(reader: &str) -> Vec<String> {
    let rows = [PARTIAL, OUTSIDER, "global", "null"].contains(&reader).then_some(OF_ROWS);
    let mesh = [PARTIAL, OUTSIDER].contains(&reader).then_some(OF_THE_MESH);
    let more = rows.into_iter().flatten().chain(mesh.into_iter().flatten()).map(str::to_owned);
    general().into_iter().chain(of_columns(reader)).chain(more).collect()
}

/// A mesh of tokens.
struct Vault {
    dir: TempDir,
    cells: Vec<Cell>,
}

impl Vault {
    async fn make() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let tables: Vec<(&str, Schema)> = NESTINGS.iter().map(|nesting| (*nesting, cells::schema(nesting))).collect();
        let (policies, names): (String, Vec<&str>) = (policies(), readers().collect());
        let all_groups: Vec<&str> = names.iter().copied().chain(["desk-products"]).collect();
        let standards = json!({ "owners_rights": { "desk": "desk-products" } });
        let policies = policies + DESK_OWNER;
        let mesh = json!({ "mesh": "canary", "groups": all_groups, "standards": standards, "keys": { "pii": "${file:secrets/pii.key}" } });
        let groups: Vec<[&str; 1]> = readers().map(|name| [name]).collect();
        let users: Vec<_> = names.iter().zip(&groups).map(|(name, group)| (*name, &group[..], json!({}))).collect();
        let domain = Domain { name: "vault", tables: &tables, policies: &policies };
        let desk = Domain { name: "desk", tables: &[], policies: DESK };
        own::write_mesh(dir.path(), mesh, &users, &[domain, desk]);
        derive(dir.path());
        fs::write(dir.path().join("secrets/pii.key"), SECRET).unwrap();
        let engine = own::start(dir.path());
        let catalog = own::catalog(&engine, "vault").await;
        let mut all = Vec::new();
        for (nesting, schema) in &tables {
            own::create(catalog.as_ref(), nesting, schema).await;
            own::append(catalog.as_ref(), nesting, |name, kind| cells::column(nesting, name, kind)).await;
            all.extend(cells::all(nesting));
        }
        Self { dir, cells: all }
    }
}

/// The program itself, serving a mesh and logging all that there is to log.
struct Served {
    process: Child,
    log: PathBuf,
    address: SocketAddr,
    http: SocketAddr,
}

impl Drop for Served {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

impl Served {
    async fn start(mesh: &Path) -> Self {
        let log = mesh.join("log");
        let process = Command::new(env!("CARGO_BIN_EXE_polder"))
            .args(["serve", "--listen", "127.0.0.1:0", "--http", "127.0.0.1:0", "--mesh"])
            .arg(mesh)
            .arg("--audit")
            .arg(mesh.join("audit"))
            .env("POLDER_LOG", "trace")
            .stdin(Stdio::null())
            .stderr(fs::File::create(&log).unwrap())
            .spawn()
            .unwrap();
        let nowhere = SocketAddr::from(([0, 0, 0, 0], 0));
        let mut served = Self { process, log, address: nowhere, http: nowhere };
        served.address = eventually(&served.log, "is served at grpc://").await;
        served.http = eventually(&served.log, "metrics at http://").await;
        served
    }
}

/// The address that a server says in its log after `before`.
async fn eventually(log: &Path, before: &str) -> SocketAddr {
    let deadline = Instant::now() + Duration::from_secs(60);
    loop {
        let said = String::from_utf8_lossy(&fs::read(log).unwrap()).into_owned();
        let address = said.split_once(before).map(|(_, rest)| rest);
        let end = |rest: &str| rest.find(|c: char| !c.is_ascii_digit() && c != '.' && c != ':');
        // Behind the port stands a colon or a path.
        if let Some(rest) = address
            && let Some(end) = end(rest)
        {
            return rest[..end].trim_end_matches(':').parse().unwrap();
        }
        assert!(Instant::now() < deadline, "the server does not say where it is");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

/// What a reader heard: what its client got, message by message, and all that came over its sockets.
struct Heard {
    reader: &'static str,
    messages: Vec<(String, Vec<u8>)>,
    socket: Vec<u8>,
}

/// All that comes back for a ticket: messages with their headers, bodies and notes, errors and trailers.
async fn fetch(client: &mut Client, info: &FlightInfo, types: &str, into: &mut Vec<u8>) {
    let mut request = Request::new(ticket(info));
    let token = format!("Bearer {}", client.token().unwrap());
    request.metadata_mut().insert("authorization", token.parse().unwrap());
    request.metadata_mut().insert("x-polder-types", types.parse().unwrap());
    let mut stream = match client.inner_mut().do_get(request).await {
        Ok(answer) => {
            into.extend(format!("{:?}", answer.metadata()).bytes());
            answer.into_inner()
        }
        Err(status) => return into.extend(format!("{status:?}").bytes()),
    };
    loop {
        match stream.message().await {
            Ok(Some(message)) => into.extend(message.encode_to_vec()),
            Ok(None) => break,
            Err(status) => return into.extend(format!("{status:?}").bytes()),
        }
    }
    into.extend(format!("{:?}", stream.trailers().await).bytes());
}

/// All that comes back for a statement over HTTP.
async fn post(http: SocketAddr, token: &str, format: &str, sql: &str) -> Vec<u8> {
    let mut connection = TcpStream::connect(http).await.unwrap();
    let head = format!(
        "POST /v1/sql HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\nauthorization: Bearer {token}\r\n\
         accept: {format}\r\ncontent-length: {}\r\n\r\n{sql}",
        sql.len()
    );
    connection.write_all(head.as_bytes()).await.unwrap();
    let mut heard = Vec::new();
    connection.read_to_end(&mut heard).await.unwrap();
    heard
}

async fn listen(served: &Served, reader: &'static str) -> Heard {
    let tap = Tap::before(served.address).await;
    let mut client = stranger_at(tap.address).await;
    client.handshake(reader, "guest").await.unwrap();
    let mut messages = Vec::new();
    for sql in questions(reader) {
        for types in ["plain", "rich"] {
            client.set_header("x-polder-types", types);
            let mut heard = Vec::new();
            match client.execute(sql.clone(), None).await {
                Ok(info) => {
                    heard.extend(info.encode_to_vec());
                    fetch(&mut client, &info, types, &mut heard).await;
                }
                Err(error) => heard.extend(format!("{error:?} {error}").bytes()),
            }
            messages.push((format!("{sql} ({types})"), heard));
        }
        for format in ["application/json", "text/csv", "application/vnd.apache.arrow.stream"] {
            let heard = post(served.http, client.token().unwrap(), format, &sql).await;
            messages.push((format!("{sql} ({format})"), heard));
        }
    }
    if reader == PARTIAL {
        let tables = CommandGetTables { include_schema: true, ..Default::default() };
        let listed = [
            client.get_tables(tables).await,
            client.get_db_schemas(CommandGetDbSchemas::default()).await,
            client.get_catalogs().await,
            client.get_sql_info(vec![]).await,
        ];
        for info in listed {
            let mut heard = Vec::new();
            fetch(&mut client, &info.unwrap(), "plain", &mut heard).await;
            messages.push(("a listing".to_owned(), heard));
        }
        for sql in ["SELECT string FROM vault.plain", "SELECT nothing FROM vault.plain"] {
            let prepared = client.prepare(sql.to_owned(), None).await;
            messages
                .push((sql.to_owned(), format!("{:?}", prepared.map(|made| made.dataset_schema().cloned())).into()));
        }
    }
    Heard { reader, messages, socket: tap.sent() }
}

/// What all readers heard, and what the server wrote down meanwhile.
struct Records {
    vault: Vault,
    heard: Vec<Heard>,
    metrics: String,
    log: Vec<u8>,
    audit: Vec<u8>,
}

fn records() -> &'static Records {
    static RECORDS: OnceLock<Records> = OnceLock::new();
    RECORDS.get_or_init(|| {
        packly().block_on(async {
            let vault = Vault::make().await;
            let served = Served::start(vault.dir.path()).await;
            let heard =
                stream::iter(readers()).map(|reader| listen(&served, reader)).buffer_unordered(3).collect().await;
            let metrics = get(served.http, "/metrics").await;
            let log = fs::read(&served.log).unwrap();
            let audit = fs::read(vault.dir.path().join("audit/audit-00000001.jsonl")).unwrap();
            Records { vault, heard, metrics, log, audit }
        })
    })
}

/// Cells, by table, column and row.
fn named(found: &[&Cell]) -> BTreeSet<String> {
    found.iter().map(|cell| format!("{}.{} of row {}", cell.nesting, cell.column, cell.row)).collect()
}

#[test]
fn no_reader_is_sent_what_is_hidden() {
    for Heard { reader, messages, socket } in &records().heard {
        let search = Search::new(records().vault.cells.iter().filter(|cell| !may_see(reader, cell)));
        for (sql, bytes) in messages {
            let found = named(&search.find(bytes));
            assert!(found.is_empty(), "{reader} hears {found:?} from {sql}:\n{}", String::from_utf8_lossy(bytes));
        }
        let found = named(&search.find(socket));
        assert!(found.is_empty(), "{found:?} is on the socket of {reader}");
    }
}

#[test]
fn the_search_finds_each_cell_that_may_be_seen() {
    for Heard { reader, messages, socket } in &records().heard {
        // A cell of four bytes is known by its neighbour, which may be hidden from all but the warden.
        let is_short = |cell: &Cell| matches!(cell.column, "int" | "float" | "date");
        let is_known = |cell: &&Cell| may_see(reader, cell) && (reader == &WARDEN || !is_short(cell));
        let shown: Vec<&Cell> = records().vault.cells.iter().filter(is_known).collect();
        let search = Search::new(shown.iter().copied());
        let mut found = named(&search.find(socket));
        messages.iter().for_each(|(_, bytes)| found.extend(named(&search.find(bytes))));
        let missing: Vec<String> = named(&shown).difference(&found).cloned().collect();
        assert!(missing.is_empty(), "{reader} may see {missing:?}");
        if reader == &WARDEN {
            assert!(named(&search.find(socket)).len() > shown.len() / 2, "the tap hears the rows");
        }
    }
}

#[test]
fn nothing_writes_down_a_value_or_a_key() {
    let Records { vault, metrics, log, audit, .. } = records();
    let search = Search::new(&vault.cells);
    for (what, bytes) in [("metrics", metrics.as_bytes()), ("log", log), ("audit", audit)] {
        let found = named(&search.find(bytes));
        assert!(found.is_empty(), "{found:?} stand in the {what}");
        assert!(!String::from_utf8_lossy(bytes).contains(SECRET), "the key of a mask stands in the {what}");
    }
    assert!(metrics.contains("polder_"), "{metrics}");
    let text = String::from_utf8_lossy(log);
    let audit = String::from_utf8_lossy(audit);
    assert!(audit.contains("\"who\":\"warden\"") && audit.contains("vault.plain"), "the audit names what was read");
    assert!(text.contains("TRACE") && text.contains("h2::"), "the log has what libraries say");
}

#[test]
fn without_the_scrubbing_the_same_search_finds_hidden_rows() {
    let vault = &records().vault;
    let search = Search::new(vault.cells.iter().filter(|cell| !may_see(PARTIAL, cell)));
    let engine = own::start(vault.dir.path());
    let who = engine.mesh().principal(PARTIAL).unwrap();
    let mut leaky = Vec::new();
    for sql in general().into_iter().chain(of_columns(PARTIAL)).chain(OF_ROWS.map(str::to_owned)) {
        let rows: Result<Vec<RecordBatch>, _> =
            packly().block_on(async { engine.plan(&who, &sql, &Pins::new()).await?.run()?.try_collect().await });
        // What fails has no rows.
        let Ok(rows) = rows else { continue };
        for batch in rows.iter().filter(|batch| batch.num_columns() > 0) {
            for types in [Types::Plain, Types::Rich] {
                let wire = types.schema(&batch.schema());
                assert!(search.find(&message(&wire_batch(&wire, batch).unwrap())).is_empty(), "{sql}");
            }
            if !search.find(&message(batch)).is_empty() {
                leaky.push(sql.clone());
            }
        }
    }
    for nesting in NESTINGS {
        assert!(leaky.contains(&format!("SELECT * FROM vault.{nesting}")), "{nesting} is not among {leaky:#?}");
    }
}

/// Rows as arrow itself writes them.
fn message(rows: &RecordBatch) -> Vec<u8> {
    let mut bytes = Vec::new();
    let mut writer = StreamWriter::try_new(&mut bytes, &rows.schema()).unwrap();
    writer.write(rows).unwrap();
    writer.finish().unwrap();
    drop(writer);
    bytes
}
