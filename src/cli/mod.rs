//! The command line: one file per command.
//!
//! Data goes to stdout and everything else to stderr. A command ends with 0, with 1 when the query or the check
//! failed, or with 2 when the command line or the environment is at fault.

mod audit;
mod check;
mod demo;
mod diff;
mod explain;
mod init;
mod log;
mod serve;
mod shell;
mod sql;
mod statements;
mod terminal;
mod test;
mod token;
mod words;

use std::path::Path;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use clap::builder::RangedU64ValueParser;
use clap::{Args, Parser, Subcommand};
use polder_catalog::document::{Finding, Severity};
use polder_catalog::mesh::Mesh;

use crate::error::Error;
use crate::session::{Engine, Options};

/// A federated query engine across the domain products of a data mesh.
#[derive(Parser)]
#[command(name = "polder", version, propagate_version = true)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    Demo(demo::Demo),
    Serve(Box<serve::Serve>),
    Sql(sql::Sql),
    Explain(explain::Explain),
    Check(check::Check),
    Init(init::Init),
    Test(test::Test),
    Diff(diff::Diff),
    Token(token::Token),
    Audit(audit::Audit),
}

/// The most memory, in MiB: 64 TiB. More is a slip of the pen, in the unit for one.
const MEMORY: u64 = 64 << 20;

/// The longest time that an option takes, in seconds: a year.
const YEAR: u64 = 365 * 24 * 60 * 60;

/// The most threads. Each is several of the system's, which gives some ten thousand.
const THREADS: u64 = 1024;

/// What queries may use, for the commands that run them.
#[derive(Args, Clone)]
struct Limits {
    /// Memory for all queries together before they spill, in MiB
    #[arg(long, value_name = "MIB", default_value_t = 2048, value_parser = RangedU64ValueParser::<usize>::new().range(1..=MEMORY))]
    memory: usize,
    /// How long one statement may take, in seconds
    #[arg(long, value_name = "SECONDS", default_value_t = 300, value_parser = clap::value_parser!(u64).range(1..=YEAR))]
    timeout: u64,
    /// Threads that plan and execute; the machine's cores by default
    #[arg(long, value_name = "N", value_parser = RangedU64ValueParser::<usize>::new().range(1..=THREADS))]
    threads: Option<usize>,
    /// Where queries spill to, and what a killed process left of it is removed; a temporary directory by default
    #[arg(long, value_name = "DIR")]
    spill: Option<std::path::PathBuf>,
}

impl Limits {
    fn options(&self) -> Options {
        Options {
            memory: self.memory.saturating_mul(1 << 20),
            spill: self.spill.clone(),
            timeout: Duration::from_secs(self.timeout),
            threads: self.threads,
            ..Options::default()
        }
    }
}

/// How a command ended when it did not end well.
enum Failure {
    /// An error of the engine, told already or not.
    Error(Error),
    /// The command line or the environment is at fault.
    Environment(String),
    /// The findings were printed.
    Findings,
    /// The reader of the output has gone, as `head` does when it has enough.
    Unwanted,
}

impl From<Error> for Failure {
    fn from(error: Error) -> Self {
        Self::Error(error)
    }
}

impl From<std::io::Error> for Failure {
    fn from(error: std::io::Error) -> Self {
        if error.kind() == std::io::ErrorKind::BrokenPipe {
            return Self::Unwanted;
        }
        Self::Environment(format!("output failed: {error}"))
    }
}

type Outcome = Result<(), Failure>;

/// Runs the command that the command line names.
pub fn main() -> ExitCode {
    let Cli { command } = Cli::parse();
    log::start(match &command {
        Command::Serve(serve) => serve.log,
        _ => log::Written::Text,
    });
    let runtime = match tokio::runtime::Builder::new_multi_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => {
            terminal::say(&format!("error: the runtime cannot be started: {error}"));
            return ExitCode::from(2);
        }
    };
    let outcome = runtime.block_on(async {
        match command {
            Command::Demo(demo) => demo.run().await,
            Command::Serve(serve) => serve.run().await,
            Command::Sql(sql) => sql.run().await,
            Command::Explain(explain) => explain.run().await,
            Command::Check(check) => check.run().await,
            Command::Init(init) => init.run().await,
            Command::Test(test) => test.run().await,
            Command::Diff(diff) => diff.run().await,
            Command::Token(token) => token.run(),
            Command::Audit(audit) => audit.run(),
        }
    });
    // Not dropped: a thread that reads from a terminal cannot be stopped.
    runtime.shutdown_background();
    match outcome {
        Ok(()) | Err(Failure::Unwanted) => ExitCode::SUCCESS,
        Err(Failure::Findings) => ExitCode::from(1),
        Err(Failure::Error(error)) => {
            terminal::say_error(&error);
            ExitCode::from(error.class.exit_code())
        }
        Err(Failure::Environment(message)) => {
            terminal::say(&format!("error: {message}"));
            ExitCode::from(2)
        }
    }
}

/// Reads a mesh; what is wrong with it goes to stderr.
fn load(dir: &Path) -> Result<Mesh, Failure> {
    find(dir)?;
    match Mesh::load(dir) {
        Ok(mesh) => {
            report(dir, mesh.findings());
            Ok(mesh)
        }
        Err(findings) => {
            report(dir, &findings);
            Err(Failure::Environment(format!("the mesh in `{}` cannot be served", dir.display())))
        }
    }
}

/// Makes sure that there is a mesh in `dir`.
fn find(dir: &Path) -> Outcome {
    if dir.join("mesh.yaml").is_file() {
        return Ok(());
    }
    Err(Failure::Environment(format!("there is no mesh.yaml in `{}`", dir.display())))
}

/// Shows findings as a compiler does.
fn report(dir: &Path, findings: &[Finding]) {
    for finding in findings {
        terminal::say(&check::human(dir, finding));
    }
}

/// Starts an engine over the mesh in `dir`, and says which domains are out. What keeps it from starting is the environment's
/// fault: a spill directory or a cache that cannot be used.
fn engine(dir: &Path, options: Options) -> Result<Arc<Engine>, Failure> {
    let mesh = load(dir)?;
    Engine::start(mesh, options).map_err(|error| Failure::Environment(error.message))
}

/// Whether anything found keeps something from being served.
fn grave(findings: &[Finding]) -> bool {
    findings.iter().any(|finding| finding.severity == Severity::Error)
}
