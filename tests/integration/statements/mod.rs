//! Statements as Flight SQL clients send them: parameters, sessions, tickets, keys.
//!
//! The mesh is a yard with six ships. The `clerk` sees all of it, prices only for the purpose `audit`. The `pilot` sees the
//! ships of one flag, their skippers masked and no prices. The `guest` sees nothing.

mod parameters;
mod sessions;
mod tickets;

use std::fs;
use std::net::SocketAddr;
use std::sync::{Arc, OnceLock};

use arrow_flight::decode::FlightRecordBatchStream;
use arrow_flight::error::FlightError;
use arrow_flight::flight_service_client::FlightServiceClient;
use arrow_flight::sql::{
    ActionCreatePreparedStatementRequest, Any, CommandPreparedStatementQuery, CommandStatementQuery, ProstMessageExt,
};
use arrow_flight::{Action, FlightDescriptor, FlightInfo, Ticket};
use bytes::Bytes;
use datafusion::arrow::array::{
    ArrayRef, AsArray, Date32Array, Decimal128Array, Int32Array, Int64Array, RecordBatch, StringArray,
};
use datafusion::arrow::datatypes::{DataType, Int64Type, Schema as ArrowSchema};
use futures::TryStreamExt;
use iceberg::spec::{NestedField, PrimitiveType as P, Schema, Type};
use polder::flight::messages::Prepared;
use polder::server::{self, Running};
use prost::Message as _;
use serde_json::json;
use tempfile::TempDir;
use tonic::transport::{Channel, Endpoint};
use tonic::{Request, Status};

use crate::own::{self, Domain};
use crate::packly::loopback;
use crate::wire::{Client, stranger_at};

const POLICIES: &str = r#"
@id("yard-is-found") permit (principal in Group::"staff", action == Action::"discover", resource in Domain::"yard");
@id("yard-is-read") permit (principal in Group::"staff", action == Action::"read", resource in Domain::"yard")
unless { resource in Column::"yard.ships.price" };
@id("price-for-audit") permit (principal in Group::"staff", action == Action::"read", resource == Column::"yard.ships.price")
when { context has purpose && context.purpose == "audit" };
@id("yard-rows") permit (principal in Group::"staff", action == Action::"read_rows", resource in Domain::"yard");

@id("pilot-finds") permit (principal in Group::"pilots", action == Action::"discover", resource in Domain::"yard");
@id("pilot-reads") permit (principal in Group::"pilots", action == Action::"read", resource in Domain::"yard")
unless { resource in Tag::"person" || resource in Column::"yard.ships.price" };
@id("pilot-skippers") @mask("mask-alphanum")
permit (principal in Group::"pilots", action == Action::"read_masked", resource in Tag::"person");
@id("pilot-flag") @filter("flag = principal.flag")
permit (principal in Group::"pilots", action == Action::"read_rows", resource == Product::"yard.ships");
@id("pilot-ports") permit (principal in Group::"pilots", action == Action::"read_rows", resource == Product::"yard.ports");
"#;

fn fields(fields: &[(&str, P)]) -> Schema {
    let field = |(id, (name, kind)): (i32, &(&str, P))| {
        Arc::new(NestedField::optional(id, *name, Type::Primitive(kind.clone())))
    };
    Schema::builder().with_fields((1..).zip(fields).map(field).collect::<Vec<_>>()).build().unwrap()
}

fn ships() -> Schema {
    let price = P::Decimal { precision: 9, scale: 2 };
    fields(&[
        ("id", P::Long),
        ("skipper", P::String),
        ("flag", P::String),
        ("tonnage", P::Int),
        ("built", P::Date),
        ("price", price),
        ("port", P::Long),
    ])
}

fn ports() -> Schema {
    fields(&[("id", P::Long), ("code", P::String)])
}

/// A column of the ships 1 to 6.
fn fill(name: &str, kind: &DataType) -> ArrayRef {
    match (name, kind) {
        ("skipper", _) => Arc::new(StringArray::from_iter_values((1..7).map(|n| format!("Ann {n}")))),
        (_, DataType::Utf8) => Arc::new(StringArray::from_iter_values((1..7).map(|n| ["NL", "DE", "PA"][n % 3]))),
        ("tonnage", _) => Arc::new(Int32Array::from_iter_values((1..7).map(|n| n * 10))),
        ("built", _) => Arc::new(Date32Array::from_iter_values((1..7).map(|n| 10_957 + n))),
        ("price", _) => {
            let prices = Decimal128Array::from_iter_values((1..7).map(|n| n * 100 + 50));
            Arc::new(prices.with_precision_and_scale(9, 2).unwrap())
        }
        _ => Arc::new(Int64Array::from_iter_values(1..7)),
    }
}

struct Yard {
    address: SocketAddr,
    runtime: tokio::runtime::Runtime,
    _running: Running,
    _dir: TempDir,
}

fn yard() -> &'static Yard {
    static YARD: OnceLock<Yard> = OnceLock::new();
    YARD.get_or_init(|| {
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
        let dir = tempfile::tempdir().unwrap();
        let running = runtime.block_on(start(dir.path()));
        Yard { address: running.address, runtime, _running: running, _dir: dir }
    })
}

async fn start(dir: &std::path::Path) -> Running {
    let mesh = json!({
        "mesh": "docks",
        "groups": ["staff", "pilots"],
        "attributes": { "flag": "String" },
        "tags": { "person": { "description": "a person" } },
        "purposes": { "audit": { "groups": ["staff"] } },
    });
    let users: [(&str, &[&str], serde_json::Value); 3] =
        [("clerk", &["staff"], json!({})), ("pilot", &["pilots"], json!({ "flag": "NL" })), ("guest", &[], json!({}))];
    let tables = [("ships", ships()), ("ports", ports())];
    own::write_mesh(dir, mesh, &users, &[Domain { name: "yard", tables: &tables, policies: POLICIES }]);
    for (table, schema) in &tables {
        let mut contract = own::contract("yard", table, schema);
        contract["slaProperties"] = json!([{ "property": "freshness", "value": 2, "unit": "h" }]);
        for property in contract["schema"][0]["properties"].as_array_mut().unwrap() {
            match property["name"].as_str().unwrap() {
                "id" => property["primaryKey"] = json!(true),
                "skipper" => property["tags"] = json!(["person"]),
                "port" => property["relationships"] = json!([{ "to": "ports.id" }]),
                _ => {}
            }
        }
        fs::write(dir.join(format!("yard/products/{table}.odcs.yaml")), format!("{contract:#}")).unwrap();
    }
    let engine = own::start(dir);
    let catalog = own::catalog(&engine, "yard").await;
    for (table, schema) in &tables {
        own::create(catalog.as_ref(), table, schema).await;
        own::append(catalog.as_ref(), table, fill).await;
    }
    let options = server::Options { listen: loopback(), http: None, tls: None };
    server::start(engine, options).await.unwrap()
}

/// Waits for a test's work where the yard is served.
fn in_the_yard<T>(work: impl Future<Output = T>) -> T {
    yard().runtime.block_on(work)
}

/// Arrow's own client, logged in.
async fn client(user: &str) -> Client {
    let mut client = stranger_at(yard().address).await;
    client.handshake(user, "guest").await.unwrap();
    client
}

/// A client that sees every byte, and keeps a session's cookie.
struct Raw {
    client: FlightServiceClient<Channel>,
    token: String,
    cookie: Option<String>,
}

async fn raw(user: &str) -> Raw {
    let token = client(user).await.token().unwrap().clone();
    let channel = Endpoint::from_shared(format!("http://{}", yard().address)).unwrap().connect().await.unwrap();
    Raw { client: FlightServiceClient::new(channel), token, cookie: None }
}

impl Raw {
    fn request<T>(&self, message: T) -> Request<T> {
        let mut request = Request::new(message);
        request.metadata_mut().insert("authorization", format!("Bearer {}", self.token).parse().unwrap());
        if let Some(cookie) = &self.cookie {
            request.metadata_mut().insert("cookie", cookie.parse().unwrap());
        }
        request
    }

    fn keep(&mut self, metadata: &tonic::metadata::MetadataMap) {
        if let Some(cookie) = metadata.get("set-cookie") {
            let cookie = cookie.to_str().unwrap();
            self.cookie = (!cookie.contains("Max-Age=0")).then(|| cookie.to_owned());
        }
    }

    async fn act(&mut self, name: &str, body: Vec<u8>) -> Result<Vec<Bytes>, Status> {
        let response = self.client.do_action(self.request(Action::new(name, body))).await?;
        self.keep(response.metadata());
        response.into_inner().map_ok(|result| result.body).try_collect().await
    }

    async fn info_of(&mut self, command: &impl ProstMessageExt) -> Result<FlightInfo, Status> {
        let descriptor = FlightDescriptor::new_cmd(command.as_any().encode_to_vec());
        let response = self.client.get_flight_info(self.request(descriptor)).await?;
        self.keep(response.metadata());
        Ok(response.into_inner())
    }

    async fn info(&mut self, sql: &str) -> Result<FlightInfo, Status> {
        self.info_of(&CommandStatementQuery { query: sql.to_owned(), transaction_id: None }).await
    }

    async fn rows(&mut self, ticket: Ticket) -> Result<Vec<RecordBatch>, Status> {
        let response = self.client.do_get(self.request(ticket)).await?;
        let messages = response.into_inner().map_err(FlightError::from);
        let rows = FlightRecordBatchStream::new_from_flight_data(messages).try_collect().await;
        rows.map_err(|error| match error {
            FlightError::Tonic(status) => *status,
            other => panic!("{other}"),
        })
    }

    async fn query(&mut self, sql: &str) -> Result<Vec<RecordBatch>, Status> {
        let info = self.info(sql).await?;
        self.rows(crate::wire::ticket(&info)).await
    }

    async fn prepare(&mut self, sql: &str) -> Result<Prepared, Status> {
        let request = ActionCreatePreparedStatementRequest { query: sql.to_owned(), transaction_id: None };
        let results = self.act("CreatePreparedStatement", request.as_any().encode_to_vec()).await?;
        Ok(Prepared::decode(Any::decode(&*results[0]).unwrap().value).unwrap())
    }

    async fn info_of_handle(&mut self, handle: Bytes) -> Result<FlightInfo, Status> {
        self.info_of(&CommandPreparedStatementQuery { prepared_statement_handle: handle }).await
    }
}

/// The numbers of a first column.
fn numbers(rows: &[RecordBatch]) -> Vec<i64> {
    rows.iter().flat_map(|batch| batch.column(0).as_primitive::<Int64Type>().values().to_vec()).collect()
}

/// One column for each parameter.
fn values(columns: Vec<(&str, ArrayRef)>) -> RecordBatch {
    RecordBatch::try_from_iter_with_nullable(columns.into_iter().map(|(name, column)| (name, column, true))).unwrap()
}

fn schema_of(info: &FlightInfo) -> ArrowSchema {
    info.clone().try_decode_schema().unwrap()
}
