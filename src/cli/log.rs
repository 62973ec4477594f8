//! The log: on stderr, as much as `POLDER_LOG` asks for, and never a value of data.

use tracing::{Level, Metadata};
use tracing_subscriber::filter::filter_fn;
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::util::SubscriberInitExt;
use tracing_subscriber::{EnvFilter, fmt, registry};

use super::terminal;

/// Libraries that hold rows. Below a warning they print bounds of columns, and plans with the texts of statements.
const HOLDERS: [&str; 6] = ["arrow", "datafusion", "iceberg", "object_store", "parquet", "sqlparser"];

/// Starts it: warnings by default, more with `POLDER_LOG=info` or a filter like `polder=debug`.
pub(super) fn start() {
    let asked = EnvFilter::try_from_env("POLDER_LOG").unwrap_or_else(|_| EnvFilter::new("warn"));
    let lines = fmt::layer().with_writer(std::io::stderr).with_ansi(terminal::watched());
    // A second logger in one process, as tests start it, is not worth an error.
    let _ = registry().with(lines).with(asked).with(filter_fn(is_heard)).try_init();
    // The text of a panic can quote a value of a row, so only its place is told.
    std::panic::set_hook(Box::new(|panic| match panic.location() {
        Some(place) => tracing::error!("panicked at {place}"),
        None => tracing::error!("panicked"),
    }));
}

/// Whether an event may be written down, whatever is asked for.
fn is_heard(event: &Metadata<'_>) -> bool {
    *event.level() <= Level::WARN || !HOLDERS.iter().any(|holder| event.target().starts_with(holder))
}
