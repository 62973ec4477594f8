//! The log: on stderr, as much as `POLDER_LOG` asks for, and never a value of data.
//!
//! As text it is for people. As JSON every line of stderr is an object, also those that are said to people: who collects the
//! log reads one kind of line. One that was written while a statement was worked for has its id, as the audit log has it.

use std::fmt;
use std::sync::OnceLock;

use clap::ValueEnum;
use serde::Serialize;
use serde_json::{Map, Value};
use tracing::{Event, Level, Metadata, Subscriber};
use tracing_subscriber::field::RecordFields;
use tracing_subscriber::filter::filter_fn;
use tracing_subscriber::fmt::format::{JsonFields, Writer};
use tracing_subscriber::fmt::time::{FormatTime as _, SystemTime};
use tracing_subscriber::fmt::{FmtContext, FormatEvent, FormatFields};
use tracing_subscriber::layer::{Layer as _, SubscriberExt as _};
use tracing_subscriber::registry::LookupSpan;
use tracing_subscriber::util::SubscriberInitExt as _;
use tracing_subscriber::{EnvFilter, registry};

use super::terminal;
use crate::observe;

/// Libraries that hold rows. Below a warning they print bounds of columns, and plans with the texts of statements.
const HOLDERS: [&str; 6] = ["arrow", "datafusion", "iceberg", "object_store", "parquet", "sqlparser"];

/// How the lines of stderr are written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(super) enum Written {
    /// Lines for people
    Text,
    /// An object a line: time, level, target, statement, message, fields
    Json,
}

/// How they are written in this process.
static WRITTEN: OnceLock<Written> = OnceLock::new();

/// Starts it: warnings by default, more with `POLDER_LOG=info` or a filter like `polder=debug`.
pub(super) fn start(written: Written) {
    let _first_holds = WRITTEN.set(written);
    let asked = EnvFilter::try_from_env("POLDER_LOG").unwrap_or_else(|_| EnvFilter::new("warn"));
    let lines = tracing_subscriber::fmt::layer().with_writer(std::io::stderr);
    let lines = match written {
        Written::Text => lines.with_ansi(terminal::watched()).boxed(),
        Written::Json => lines.with_ansi(false).event_format(Json).boxed(),
    };
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

/// What is said to people, as a line of a log that is read by machines, if this one is.
pub(super) fn said(words: &str) -> Option<String> {
    if WRITTEN.get() != Some(&Written::Json) {
        return None;
    }
    let (level, message) = match (words.strip_prefix("error: "), words.strip_prefix("warning: ")) {
        (Some(message), _) => (Level::ERROR, message),
        (_, Some(message)) => (Level::WARN, message),
        _ => (Level::INFO, words),
    };
    Some(Line::new(level, module_path!(), Value::from(message), Map::new()).to_string())
}

/// A line of the log.
#[derive(Serialize)]
struct Line<'a> {
    time: String,
    level: &'static str,
    target: &'a str,
    /// The id of the statement that is worked for.
    #[serde(skip_serializing_if = "Option::is_none")]
    statement: Option<String>,
    message: Value,
    fields: Map<String, Value>,
}

impl<'a> Line<'a> {
    /// One of now.
    fn new(level: Level, target: &'a str, message: Value, fields: Map<String, Value>) -> Self {
        let mut time = String::new();
        let _into_text = SystemTime.format_time(&mut Writer::new(&mut time));
        Self { time, level: level.as_str(), target, statement: observe::statement(), message, fields }
    }
}

impl fmt::Display for Line<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&serde_json::to_string(self).map_err(|_| fmt::Error)?)
    }
}

/// Writes events as [`Line`]s.
struct Json;

impl<S, N> FormatEvent<S, N> for Json
where
    S: Subscriber + for<'a> LookupSpan<'a>,
    N: for<'a> FormatFields<'a> + 'static,
{
    fn format_event(&self, _: &FmtContext<'_, S, N>, mut writer: Writer<'_>, event: &Event<'_>) -> fmt::Result {
        let mut fields = fields(event)?;
        let message = fields.remove("message").unwrap_or_default();
        let metadata = event.metadata();
        writeln!(writer, "{}", Line::new(*metadata.level(), metadata.target(), message, fields))
    }
}

fn fields(event: impl RecordFields) -> Result<Map<String, Value>, fmt::Error> {
    let mut text = String::new();
    JsonFields::new().format_fields(Writer::new(&mut text), event)?;
    serde_json::from_str(&text).map_err(|_| fmt::Error)
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "tests")]
mod tests {
    use std::io;
    use std::sync::{Arc, Mutex};

    use super::*;

    #[derive(Clone, Default)]
    struct Heard(Arc<Mutex<Vec<u8>>>);

    impl io::Write for Heard {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.0.lock().unwrap().extend_from_slice(bytes);
            Ok(bytes.len())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    #[test]
    fn an_event_is_one_line_of_json_whatever_its_fields_hold() {
        let heard = Heard::default();
        let lines = heard.clone();
        let layer = tracing_subscriber::fmt::layer().with_writer(move || lines.clone()).event_format(Json);
        tracing::subscriber::with_default(registry().with(layer), || {
            tracing::warn!(domain = "a\n\"b", count = 3, "it is not {}", "well");
            tracing::error!("alone");
        });
        let text = String::from_utf8(heard.0.lock().unwrap().clone()).unwrap();
        let lines: Vec<Value> = text.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
        assert_eq!(lines.len(), 2, "{text}");
        let first = &lines[0];
        assert_eq!((&first["level"], &first["message"]), (&"WARN".into(), &"it is not well".into()));
        assert_eq!(first["fields"], serde_json::json!({ "domain": "a\n\"b", "count": 3 }));
        assert!(first["target"].as_str().unwrap().starts_with("polder::cli::log"));
        assert!(first["time"].as_str().unwrap().ends_with('Z'), "{first}");
        assert!(first.get("statement").is_none(), "there is none");
        assert_eq!(lines[1]["fields"], serde_json::json!({}));
    }
}
