//! `polder serve`: a mesh over Flight SQL until a signal ends it.

use std::fmt;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use clap::builder::RangedU64ValueParser;
use clap::{Args, ValueEnum};
use polder_catalog::mesh::limits::{SIZE, size};
use polder_catalog::mesh::time;
use polder_catalog::secret::Secret;

use super::log::Written;
use super::{Failure, Limits, Outcome, YEAR, engine, terminal};
use crate::flight::tls::TlsFiles;
use crate::inspect::Past;
use crate::lake::{self, cache};
use crate::observe::{Lineage, Log, Observer, Settings, Sink, Synced, Traces};
use crate::server::{self, Checks, Follow, Signals};
use crate::session::{Engine, Options};

/// The memory for which one statement runs, where nobody says how many do. Those whose readers stopped reading hold 30 to 65 MiB.
const EACH: usize = 64 << 20;

/// The fewest and the most statements that run at once, where nobody says it.
const AT_ONCE: (usize, usize) = (16, 256);

/// The most that somebody may say.
const MOST_AT_ONCE: u64 = 1 << 20;

/// How long running queries may go on after the first signal, unless there is a second one.
const DRAIN: Duration = Duration::from_secs(30);

/// Serve a mesh over Arrow Flight SQL
///
/// A change of the mesh's files is served within seconds, at once after a SIGHUP. A part of it that
/// is broken, a domain or the mesh's own files, stays as it was and all else follows; at the start a broken domain is out.
/// POLDER_LOG=info tells more of what happens.
/// TLS files are followed too: new connections get a renewed certificate.
/// Ends on SIGINT or SIGTERM: running queries have 30 seconds to finish, and a second signal ends them at once.
#[derive(Args)]
#[command(after_help = "Examples:\n  \
    polder serve --mesh packly\n  \
    polder serve --mesh packly --listen 0.0.0.0:50051 --tls-cert server.pem --tls-key server.key\n  \
    polder serve --mesh packly --audit /var/log/polder/audit\n  \
    polder serve --mesh packly --lineage https://lineage.example\n  \
    polder serve --mesh packly --traces http://127.0.0.1:4318 --traces-share 0.1")]
pub struct Serve {
    /// The mesh directory
    #[arg(long, value_name = "DIR")]
    mesh: PathBuf,
    #[command(flatten)]
    listen: Listen,
    /// Seconds between two looks at the mesh's files
    #[arg(long, value_name = "SECONDS", default_value_t = 2, value_parser = clap::value_parser!(u64).range(1..=YEAR))]
    follow: u64,
    /// Seconds that rows may wait for a client that reads none, before they and their query are dropped
    #[arg(long, value_name = "SECONDS", default_value_t = 300, value_parser = clap::value_parser!(u64).range(1..=YEAR))]
    patience: u64,
    /// Statements that run at once, of all people together; others wait for 30 seconds at most, and people take turns.
    /// One for each 64 MiB of --memory by default, at least 16 and at most 256
    #[arg(long, value_name = "N", value_parser = RangedU64ValueParser::<usize>::new().range(1..=MOST_AT_ONCE))]
    at_once: Option<usize>,
    /// How the server's log on stderr is written
    #[arg(long, value_enum, value_name = "FORM", default_value_t = Written::Text)]
    pub(super) log: Written,
    /// How often products that have changed are held against their contracts' rules of quality: `15m`, `1h`; never by default
    #[arg(long, value_name = "INTERVAL", value_parser = interval)]
    check_every: Option<Duration>,
    /// A file that keeps what came of these rules over restarts, the last twenty findings of each product
    #[arg(long, value_name = "FILE", requires = "check_every")]
    quality_log: Option<PathBuf>,
    /// The most that is held of results whose contracts let them be kept (`polder.results: keep`); 0 keeps none
    #[arg(long, value_name = "SIZE", default_value = "64MiB", value_parser = bytes)]
    results: u64,
    #[command(flatten)]
    audit: Audit,
    #[command(flatten)]
    lineage: Told,
    #[command(flatten)]
    traces: Traced,
    #[command(flatten)]
    limits: Limits,
    #[command(flatten)]
    cache: Cache,
}

/// Where the server keeps what it read of stores that are not on this machine.
#[derive(Args, Clone)]
struct Cache {
    /// A directory that keeps footers and data of remote files between queries and restarts; nobody else can read it
    #[arg(long, value_name = "DIR")]
    cache: Option<PathBuf>,
    /// The most that is kept there: a number of bytes, or one with MiB, GiB or TiB behind it
    #[arg(long, value_name = "SIZE", default_value = "10GiB", value_parser = bytes, requires = "cache")]
    cache_size: u64,
    /// The most of it that is kept in memory as well
    #[arg(long, value_name = "SIZE", default_value = "256MiB", value_parser = bytes, requires = "cache")]
    cache_memory: u64,
}

impl Cache {
    fn options(self) -> Option<cache::Options> {
        let Self { cache, cache_size: disk, cache_memory: memory } = self;
        cache.map(|directory| cache::Options { directory, disk, memory })
    }
}

fn bytes(text: &str) -> Result<u64, String> {
    size(text).ok_or_else(|| format!("write {SIZE}"))
}

fn interval(text: &str) -> Result<Duration, String> {
    let long = time(text).filter(|time| *time >= Duration::from_secs(1));
    long.ok_or_else(|| "write a time of a second or more, as in `90s`, `15m` or `1h`".to_owned())
}

/// Where and how it is written down who saw what.
#[derive(Args)]
struct Audit {
    /// The directory of an audit log; while it cannot be written no statement runs
    #[arg(long, value_name = "DIR")]
    audit: Option<PathBuf>,
    /// Whether each statement waits until its record outlives the machine, or only until it outlives the process
    #[arg(long, value_enum, value_name = "WHEN", default_value_t = When::Background, requires = "audit")]
    audit_sync: When,
    /// When a file of the log is full, in MiB
    #[arg(long, value_name = "MIB", default_value_t = 64, requires = "audit", value_parser = clap::value_parser!(u64).range(1..))]
    audit_size: u64,
}

/// Where it is told what answers are made of.
#[derive(Args)]
struct Told {
    /// Where OpenLineage events of statements go: `stdout`, `file:PATH`, or the URL of a server, which
    /// knows this one by the key in OPENLINEAGE_API_KEY
    #[arg(long, value_name = "SINK")]
    lineage: Option<Sink>,
}

impl Told {
    fn sink(self) -> Result<Option<Lineage>, Failure> {
        let Some(sink) = self.lineage else { return Ok(None) };
        let key = std::env::var("OPENLINEAGE_API_KEY").ok().map(Secret::new);
        let lineage = Lineage::to(sink.with_key(key));
        lineage.map(Some).map_err(|unusable| Failure::Environment(format!("lineage cannot be told: {unusable}")))
    }
}

/// Where it is told how long each part of a statement takes.
#[derive(Args)]
struct Traced {
    /// Where spans of OpenTelemetry go: `stdout`, `file:PATH`, or the URL of a server that takes OTLP over HTTP,
    /// which knows this one by the headers in OTEL_EXPORTER_OTLP_HEADERS
    #[arg(long, value_name = "SINK")]
    traces: Option<Sink>,
    /// How many of the statements are traced whose callers do not say, from 0 to 1
    #[arg(long, value_name = "SHARE", default_value_t = 1.0, value_parser = share, requires = "traces")]
    traces_share: f64,
}

fn share(text: &str) -> Result<f64, String> {
    let share = text.parse().ok().filter(|share| (0.0..=1.0).contains(share));
    share.ok_or_else(|| "write a number from 0 to 1".to_owned())
}

impl Traced {
    fn sink(self) -> Result<Option<Arc<Traces>>, Failure> {
        let Some(sink) = self.traces else { return Ok(None) };
        let untold = |why: &dyn fmt::Display| Failure::Environment(format!("traces cannot be told: {why}"));
        let headers = std::env::var("OTEL_EXPORTER_OTLP_HEADERS").ok().map(Secret::new);
        let sink = sink.with_headers(headers).map_err(|why| untold(&why))?;
        Traces::to(sink, self.traces_share).map(Some).map_err(|unusable| untold(&unusable))
    }
}

/// When records are made to outlive the machine.
#[derive(Clone, Copy, PartialEq, Eq, ValueEnum)]
enum When {
    /// Before a statement goes on
    Each,
    /// Within a second or so
    Background,
}

impl Audit {
    /// One who writes it down, or only remembers the last statements.
    fn observer(self) -> Result<Observer, Failure> {
        let Some(dir) = self.audit else { return Ok(Observer::default()) };
        let sync = match self.audit_sync {
            When::Each => Synced::Each,
            When::Background => Synced::Background,
        };
        let settings = Settings { file_size: self.audit_size.saturating_mul(1 << 20), sync, ..Settings::of(&dir) };
        let log = Log::open(&settings).map_err(|unopened| {
            Failure::Environment(format!("the audit log in `{}` cannot be opened: {unopened}", dir.display()))
        })?;
        Ok(Observer::auditing(log))
    }
}

/// Where a server listens.
#[derive(Args, Clone)]
pub struct Listen {
    /// Where Flight SQL is served; port 0 takes a free one
    #[arg(long, value_name = "ADDRESS", default_value = "127.0.0.1:50051")]
    listen: SocketAddr,
    /// Where SQL over HTTP, health and metrics are served; port 0 takes a free one
    #[arg(long, value_name = "ADDRESS", default_value = "127.0.0.1:8080")]
    http: SocketAddr,
    /// The server's certificate chain, PEM
    #[arg(long, value_name = "FILE", requires = "tls_key")]
    tls_cert: Option<PathBuf>,
    /// The certificate's key, PEM
    #[arg(long, value_name = "FILE", requires = "tls_cert")]
    tls_key: Option<PathBuf>,
    /// The authorities whose certificates clients may show to come in, PEM
    #[arg(long, value_name = "FILE", requires = "tls_cert")]
    tls_client_ca: Option<PathBuf>,
}

impl Listen {
    /// Where Flight SQL will be served.
    pub fn address(&self) -> SocketAddr {
        self.listen
    }
}

impl Serve {
    /// Runs the command.
    pub async fn run(self) -> Outcome {
        let lake = lake::Options { cache: self.cache.options(), ..lake::Options::default() };
        let patience = Duration::from_secs(self.patience);
        let observer = self.audit.observer()?.telling(self.lineage.sink()?).tracing(self.traces.sink()?);
        let observer = Arc::new(observer);
        let options = for_many(self.limits.options(), self.at_once);
        let results = usize::try_from(self.results).unwrap_or(usize::MAX);
        let options = Options { patience, lake, observer, results, ..options };
        let engine = engine(&self.mesh, options)?;
        let follow = Follow { every: Duration::from_secs(self.follow), hangup: true };
        let past = self.quality_log.map(|path| {
            Past::open(&path, &engine.seen()).map_err(|error| {
                Failure::Environment(format!("the log of quality in `{}` cannot be opened: {error}", path.display()))
            })
        });
        let past = past.transpose()?;
        let checks = self.check_every.map(|every| Checks { every, past });
        until_stopped(engine, self.listen, follow, checks).await
    }
}

/// The same for a server, which runs so many statements at once, or as many as its memory is for.
pub fn for_many(options: Options, at_once: Option<usize>) -> Options {
    let (fewest, most) = AT_ONCE;
    let at_once = at_once.unwrap_or((options.memory / EACH).clamp(fewest, most));
    Options { at_once: Some(at_once), ..options }
}

/// Serves `engine` until a signal, and follows the mesh's files and checks its data meanwhile.
pub async fn until_stopped(engine: Arc<Engine>, listen: Listen, follow: Follow, checks: Option<Checks>) -> Outcome {
    let client_ca = listen.tls_client_ca;
    let tls = listen.tls_cert.zip(listen.tls_key).map(|(certificate, key)| TlsFiles { certificate, key, client_ca });
    let scheme = if tls.is_some() { "grpc+tls" } else { "grpc" };
    let (mesh, observer) = (engine.mesh(), engine.observer());
    let probe = Arc::clone(&engine);
    let options = server::Options { listen: listen.listen, http: Some(listen.http), tls };
    let running = server::start(engine, options).await;
    let mut running = running.map_err(|error| Failure::Environment(error.message))?;
    running.follow(follow);
    if let Some(checks) = checks {
        running.check(checks);
    }
    // Before anybody knows the address: a signal that comes at once is to drain too.
    let mut signals = Signals::catch();
    terminal::say(&format!(
        "mesh `{}` is served at {scheme}://{}: {} domains, {} products",
        mesh.name(),
        running.address,
        mesh.domains().count(),
        mesh.products().count()
    ));
    if let Some(http) = running.http {
        terminal::say(&format!("health and metrics at http://{http}/readyz and http://{http}/metrics"));
        match scheme {
            "grpc" => terminal::say(&format!("SQL over HTTP, for this machine alone, at http://{http}/v1/sql")),
            _ => terminal::say(&format!("SQL over HTTP at https://{http}/v1/sql")),
        }
    }
    if !mesh.has_auth() {
        terminal::say("the mesh declares no users: everyone is anonymous, and only this machine is served");
    }
    // A lake that cannot be reached is told once, early, and by name; queries of other domains go on.
    let probing = tokio::spawn(async move {
        for error in probe.survey().await {
            terminal::say(&format!("warning: {error}"));
        }
    });
    signals.next().await;
    probing.abort();
    let seconds = DRAIN.as_secs();
    terminal::say(&format!(
        "stopping: running queries may finish within {seconds} seconds; another signal ends them at once"
    ));
    let deadline = async {
        tokio::select! {
            () = tokio::time::sleep(DRAIN) => {}
            () = signals.next() => terminal::say("stopping at once: queries that still run are ended"),
        }
    };
    running.stop(deadline).await;
    observer.close().await;
    Ok(())
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "tests")]
mod tests {
    use super::*;

    #[test]
    fn as_many_statements_run_at_once_as_there_is_memory_for_unless_somebody_says_it() {
        let of =
            |mib: usize, said| for_many(Options { memory: mib << 20, ..Options::default() }, said).at_once.unwrap();
        assert_eq!([of(64, None), of(2048, None), of(1 << 20, None)], [16, 32, 256]);
        assert_eq!(of(2048, Some(2)), 2);
    }
}
