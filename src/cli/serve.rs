//! `polder serve`: a mesh over Flight SQL until a signal ends it.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use clap::{Args, ValueEnum};

use super::{Failure, Limits, Outcome, engine, terminal};
use crate::flight::tls::TlsFiles;
use crate::lake::{self, cache};
use crate::observe::{Log, Observer, Settings, Synced};
use crate::server::{self, Follow};
use crate::session::{Engine, Options};

/// How long running queries may go on after the first signal.
const DRAIN: Duration = Duration::from_secs(30);

/// Serve a mesh over Arrow Flight SQL
///
/// A change of the mesh's files is served within seconds, at once after a SIGHUP. A part of it that
/// is broken, a domain or the mesh's own files, stays as it was and all else follows; at the start a broken domain is out.
/// POLDER_LOG=info tells more of what happens.
/// TLS files are followed too: new connections get a renewed certificate.
/// Ends on SIGINT or SIGTERM: running queries have 30 seconds to finish.
#[derive(Args)]
#[command(after_help = "Examples:\n  \
    polder serve --mesh packly\n  \
    polder serve --mesh packly --listen 0.0.0.0:50051 --tls-cert server.pem --tls-key server.key\n  \
    polder serve --mesh packly --audit /var/log/polder/audit")]
pub struct Serve {
    /// The mesh directory
    #[arg(long, value_name = "DIR")]
    mesh: PathBuf,
    #[command(flatten)]
    listen: Listen,
    /// Seconds between two looks at the mesh's files
    #[arg(long, value_name = "SECONDS", default_value_t = 2, value_parser = clap::value_parser!(u64).range(1..))]
    follow: u64,
    /// Seconds that rows may wait for a client that reads none, before they and their query are dropped
    #[arg(long, value_name = "SECONDS", default_value_t = 300, value_parser = clap::value_parser!(u64).range(1..))]
    patience: u64,
    /// How often products that have changed are held against their contracts' rules of quality: `15m`, `1h`; never by default
    #[arg(long, value_name = "INTERVAL", value_parser = interval)]
    check_every: Option<Duration>,
    #[command(flatten)]
    audit: Audit,
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
    #[arg(long, value_name = "SIZE", default_value = "10GiB", value_parser = size, requires = "cache")]
    cache_size: u64,
    /// The most of it that is kept in memory as well
    #[arg(long, value_name = "SIZE", default_value = "256MiB", value_parser = size, requires = "cache")]
    cache_memory: u64,
}

impl Cache {
    fn options(self) -> Option<cache::Options> {
        let Self { cache, cache_size: disk, cache_memory: memory } = self;
        cache.map(|directory| cache::Options { directory, disk, memory })
    }
}

/// A number of bytes.
fn size(text: &str) -> Result<u64, String> {
    let units = [("KiB", 10), ("MiB", 20), ("GiB", 30), ("TiB", 40)];
    let unit = units.into_iter().find_map(|(unit, shift)| Some((text.strip_suffix(unit)?, shift)));
    let (number, shift) = unit.unwrap_or((text, 0));
    let bytes = number.trim().parse::<u64>().ok().and_then(|number| number.checked_mul(1 << shift));
    bytes.ok_or_else(|| "write a number of bytes, as in `512MiB` or `10GiB`".to_owned())
}

/// A time, of a second or more.
fn interval(text: &str) -> Result<Duration, String> {
    let units = [("s", 1), ("m", 60), ("h", 3_600), ("d", 86_400)];
    let read = units.into_iter().find_map(|(unit, seconds)| {
        let number = text.strip_suffix(unit)?.trim().parse::<u64>().ok()?;
        number.checked_mul(seconds).filter(|seconds| *seconds > 0)
    });
    read.map(Duration::from_secs).ok_or_else(|| "write a time, as in `90s`, `15m` or `1h`".to_owned())
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
    fn observer(self) -> Result<Arc<Observer>, Failure> {
        let Some(dir) = self.audit else { return Ok(Arc::default()) };
        let sync = match self.audit_sync {
            When::Each => Synced::Each,
            When::Background => Synced::Background,
        };
        let settings = Settings { file_size: self.audit_size.saturating_mul(1 << 20), sync, ..Settings::of(&dir) };
        let log = Log::open(&settings).map_err(|unopened| {
            Failure::Environment(format!("the audit log in `{}` cannot be opened: {unopened}", dir.display()))
        })?;
        Ok(Arc::new(Observer::auditing(log)))
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
        let options = Options { patience, lake, observer: self.audit.observer()?, ..self.limits.options() };
        let engine = engine(&self.mesh, options)?;
        let follow = Follow { every: Duration::from_secs(self.follow), hangup: true };
        until_stopped(engine, self.listen, follow, self.check_every).await
    }
}

/// Serves `engine` until a signal, and follows the mesh's files and checks its data meanwhile.
pub async fn until_stopped(
    engine: Arc<Engine>,
    listen: Listen,
    follow: Follow,
    check_every: Option<Duration>,
) -> Outcome {
    let client_ca = listen.tls_client_ca;
    let tls = listen.tls_cert.zip(listen.tls_key).map(|(certificate, key)| TlsFiles { certificate, key, client_ca });
    let scheme = if tls.is_some() { "grpc+tls" } else { "grpc" };
    let (mesh, observer) = (engine.mesh(), engine.observer());
    let probe = Arc::clone(&engine);
    let options = server::Options { listen: listen.listen, http: Some(listen.http), tls };
    let running = server::start(engine, options).await;
    let mut running = running.map_err(|error| Failure::Environment(error.message))?;
    running.follow(follow);
    if let Some(every) = check_every {
        running.check(every);
    }
    // Before anybody knows the address: a signal that comes at once is to drain too.
    let ended = server::until_signal();
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
    ended.await;
    probing.abort();
    terminal::say("stopping: running queries may finish");
    running.stop(DRAIN).await;
    observer.close().await;
    Ok(())
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "tests")]
mod tests {
    use super::*;

    #[test]
    fn sizes_are_read_with_their_units() {
        for (text, bytes) in [("7", 7), ("2KiB", 2048), ("512MiB", 512 << 20), ("10 GiB", 10 << 30), ("1TiB", 1 << 40)]
        {
            assert_eq!(size(text).unwrap(), bytes, "{text}");
        }
        assert_eq!(interval("15m"), Ok(Duration::from_secs(900)));
        assert!(["", "m", "0s", "15", "-1h", "99999999999999999d"].iter().all(|text| interval(text).is_err()));
        for text in ["", "GiB", "10GB", "-1", "1.5GiB", "99999999999TiB"] {
            assert!(size(text).is_err(), "{text}");
        }
    }
}
