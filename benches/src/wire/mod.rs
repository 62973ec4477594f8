//! What the wire costs: Flight SQL over loopback, beside the engine without it and beside a plain copy of bytes.
//!
//! ```text
//! this process: clients, and the engine without a wire     a child process: the same mesh, served, and raw bytes
//! ```
//!
//! The server is a process of its own, so that its CPU time can be told from that of its clients. All arms take turns.

mod first;
mod points;
mod serve;
mod throughput;

use std::fs;
use std::sync::Arc;

use arrow_flight::sql::client::FlightSqlServiceClient;
use clap::{Args, ValueEnum};
use polder::served::anonymous;
use polder::session::{Engine, Options as EngineOptions};
use polder_catalog::principal::Principal;
use tonic::transport::{Channel, Endpoint};

use crate::Result;
use crate::governed::copy;
use crate::tables::{Setting, load};
use serve::Server;

/// A part of this benchmark.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Part {
    /// Rows of a large result beside a copy of as many bytes
    Throughput,
    /// A prepared statement that finds a row, beside the engine without a wire
    Points,
    /// The first row of a table of a hundred files
    First,
}

#[derive(Debug, Args)]
pub(crate) struct Options {
    /// The parts; all of them by default
    #[arg(long, value_delimiter = ',')]
    parts: Vec<Part>,
    /// Mebibytes of a large result
    #[arg(long, default_value_t = 1024)]
    mebibytes: u64,
    /// Statements of each turn of the prepared statement
    #[arg(long, default_value_t = 2000)]
    statements: usize,
    /// Serves, and does no more: the bench starts itself so in a process of its own
    #[arg(long, hide = true)]
    serve: bool,
}

/// The table of many small files.
const SMALL_FILES: &str = "orders_100";

pub(crate) async fn run(setting: &Setting, options: &Options) -> Result<String> {
    if options.serve {
        return serve::run(setting).await;
    }
    prepare(setting).await?;
    let wanted = |part| options.parts.is_empty() || options.parts.contains(&part);
    let mut report = String::from("## The wire\n");
    if wanted(Part::Throughput) {
        let server = Server::start(setting)?;
        report += &throughput::run(setting, &server, options.mebibytes << 20).await?;
    }
    if wanted(Part::Points) {
        let server = Server::start(setting)?;
        report += &points::run(setting, &server, options.statements).await?;
    }
    if wanted(Part::First) {
        let server = Server::start(setting)?;
        report += &first::run(setting, &server).await?;
    }
    Ok(report)
}

/// The mesh of prepare.py without users, and with the table of many small files.
pub(crate) async fn prepare(setting: &Setting) -> Result<()> {
    let home = setting.data.join("wire");
    copy(&setting.data.join("mesh"), &home)?;
    fs::write(home.join("mesh.yaml"), "mesh: bench\n")?;
    let made = home.join("small_files");
    if !made.exists() {
        fs::write(&made, crate::make::small_files(setting, "orders", SMALL_FILES, 100, 1000).await?)?;
    }
    let place = fs::read_to_string(&made)?;
    let domain = home.join("tpch/domain.yaml");
    let text =
        fs::read_to_string(&domain)?.replace("tables: {", &format!("tables: {{ tpch.{SMALL_FILES}: \"{place}\","));
    fs::write(&domain, text)?;
    let products = home.join("tpch/products");
    // Columns have the name of the table in theirs.
    let contract = fs::read_to_string(products.join("orders.odcs.yaml"))?;
    let contract = [("tpch.orders", format!("tpch.{SMALL_FILES}")), ("tpch-orders", format!("tpch-{SMALL_FILES}"))]
        .into_iter()
        .fold(contract, |contract, (from, to)| contract.replace(from, &to))
        .replace("name: orders\n", &format!("name: {SMALL_FILES}\n"));
    fs::write(products.join(format!("{SMALL_FILES}.odcs.yaml")), contract)?;
    Ok(())
}

/// The engine over that mesh, and who asks.
pub(crate) fn engine(setting: &Setting) -> Result<(Arc<Engine>, Principal)> {
    let mesh = load(&setting.data.join("wire"))?;
    let options = EngineOptions { threads: Some(setting.threads), ..EngineOptions::default() };
    Ok((Engine::start(mesh, options)?, anonymous()))
}

type Client = FlightSqlServiceClient<Channel>;

/// A client with the limits that clients have by default, and windows that keep a fast line busy.
async fn client(server: &Server) -> Result<Client> {
    let endpoint = Endpoint::from_shared(format!("http://{}", server.flight))?
        .tcp_nodelay(true)
        .initial_stream_window_size(8 << 20)
        .initial_connection_window_size(16 << 20);
    Ok(FlightSqlServiceClient::new(endpoint.connect().await?))
}
