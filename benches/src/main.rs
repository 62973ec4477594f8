//! Polder beside plain DataFusion: the same queries over the same Parquet files, in one process, by turns.
//!
//! ```text
//! prepare.py -> tables + mesh -> make: variants with deletes, a table of 100 000 files
//!            -> tpch | tpcds | deletes | planning | decide | small | stages | wire -> JSON lines on stdout, a Markdown report on stderr or in a file
//! ```
//!
//! Only ratios inside one run mean anything: all arms are one build, and the machine may be busy. A ratio is one of
//! medians over rounds in which every arm had its turn. It is told for time and for CPU time, which a busy machine
//! disturbs less. `benches/run` does everything in order.

#![allow(clippy::print_stdout, clippy::print_stderr, reason = "this is a command")]
#![allow(clippy::disallowed_methods, reason = "the plain arm is a session without a mesh")]

mod answer;
mod arms;
mod decide;
mod deletes;
mod far;
mod governed;
mod make;
mod measure;
mod peer;
mod planning;
mod queries;
mod report;
mod small;
#[cfg(feature = "counted")]
mod stages;
mod tables;
#[path = "../../catalog/src/tests/vast.rs"]
mod vast;
mod wire;

use std::path::PathBuf;

use clap::{Parser, Subcommand};
use queries::Workload;

/// What the product allocates with.
#[cfg(not(feature = "counted"))]
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// Whatever went wrong; a benchmark only says so and ends.
pub(crate) type Result<T> = std::result::Result<T, Box<dyn std::error::Error + Send + Sync>>;

#[derive(Parser)]
struct Arguments {
    /// The directory that prepare.py made
    #[arg(long)]
    data: PathBuf,
    /// Partitions of a query and threads of each arm
    #[arg(long, default_value_t = 2)]
    threads: usize,
    /// Measured rounds; every arm has one turn in each
    #[arg(long, default_value_t = 5)]
    rounds: usize,
    /// Writes the report there and not to stderr
    #[arg(long)]
    report: Option<PathBuf>,
    #[command(subcommand)]
    what: What,
}

#[derive(Subcommand)]
enum What {
    /// Write the variants of lineitem with deletes, and the table of many files
    Make {
        /// Files of the table that is planned and never read
        #[arg(long, default_value_t = 100_000)]
        files: usize,
    },
    /// The 22 queries of TPC-H
    Tpch(queries::Options),
    /// The 99 queries of TPC-DS
    Tpcds(queries::Options),
    /// Scans with deletes beside the clean scan
    Deletes,
    /// Planning over a table of many files
    Planning,
    /// Loading a vast mesh, and deciding in it
    Decide(decide::Options),
    /// Small statements, which are planning for the most part
    Small(small::Options),
    /// What each stage of a statement's way allocates, held against the figures that are committed
    #[cfg(feature = "counted")]
    Stages(stages::Options),
    /// What Flight SQL costs beside the engine without it, and beside a copy of bytes
    Wire(wire::Options),
    /// The plan that an arm makes of a query
    Explain {
        /// An arm of tpch
        arm: arms::Arm,
        /// The query's file
        query: PathBuf,
        /// Run it, and show what each operator did
        #[arg(long)]
        analyze: bool,
    },
}

fn main() -> Result<()> {
    let arguments = Arguments::parse();
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(arguments.threads)
        .thread_stack_size(64 << 20)
        .enable_all()
        .build()?;
    runtime.block_on(run(arguments))
}

async fn run(arguments: Arguments) -> Result<()> {
    let setting = tables::Setting {
        data: arguments.data,
        threads: arguments.threads,
        rounds: arguments.rounds,
        declared: std::sync::OnceLock::new(),
    };
    let report = match arguments.what {
        What::Make { files } => return make::all(&setting, files).await,
        What::Explain { arm, query, analyze } => {
            let text = queries::explain(&setting, arm, &query, analyze).await?;
            println!("{text}");
            return Ok(());
        }
        What::Tpch(options) => queries::run(&setting, Workload::TpcH, &options).await?,
        What::Tpcds(options) => queries::run(&setting, Workload::TpcDs, &options).await?,
        What::Deletes => deletes::run(&setting).await?,
        What::Planning => planning::run(&setting).await?,
        What::Decide(options) => decide::run(&setting, &options)?,
        What::Small(options) => small::run(&setting, &options).await?,
        #[cfg(feature = "counted")]
        What::Stages(options) => stages::run(&setting, &options).await?,
        What::Wire(options) => wire::run(&setting, &options).await?,
    };
    match arguments.report {
        Some(path) => std::fs::write(path, report)?,
        None => eprintln!("{report}"),
    }
    Ok(())
}
