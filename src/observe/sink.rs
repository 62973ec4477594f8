//! Where events go: a file, the standard output, or a server that speaks OpenLineage.

use std::fs::{File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::PathBuf;
use std::str::FromStr;
use std::time::Duration;

use polder_catalog::mesh::is_private;
use polder_catalog::secret::Secret;
use reqwest::redirect::Policy;
use reqwest::{Client, StatusCode, Url};

/// How long a server has for an event.
const PATIENCE: Duration = Duration::from_secs(5);
/// The pauses before it is asked again.
const PAUSES: [Duration; 2] = [Duration::from_millis(200), Duration::from_secs(1)];
/// Where servers take events, if nothing else is said.
const PLACE: &str = "/api/v1/lineage";

/// Where events are to go.
#[derive(Debug, Clone)]
pub enum Sink {
    /// Behind what is in a file, a line each.
    File(PathBuf),
    /// To the standard output, a line each.
    Stdout,
    /// To a server.
    Server {
        /// Where it takes them.
        place: Url,
        /// What it knows us by.
        key: Option<Secret>,
    },
}

impl FromStr for Sink {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        if text == "stdout" {
            return Ok(Self::Stdout);
        }
        if let Some(path) = text.strip_prefix("file:").filter(|path| !path.is_empty()) {
            return Ok(Self::File(path.into()));
        }
        let place = Url::parse(text).ok().filter(|_| is_private(text));
        let mut place = place
            .ok_or("write `stdout`, `file:PATH`, or `https://` and a server; `http://` is for this machine alone")?;
        if place.path() == "/" {
            place.set_path(PLACE);
        }
        Ok(Self::Server { place, key: None })
    }
}

impl Sink {
    /// The same, where a server knows us by a key.
    #[must_use]
    pub fn with_key(self, key: Option<Secret>) -> Self {
        match self {
            Self::Server { place, .. } => Self::Server { place, key },
            other => other,
        }
    }

    pub(super) fn open(self) -> Result<Open, Unusable> {
        match self {
            Self::File(path) => {
                let file = OpenOptions::new().create(true).append(true).mode(0o600).open(path);
                file.map(Open::File).map_err(Unusable::File)
            }
            Self::Stdout => Ok(Open::Stdout),
            Self::Server { place, key } => {
                let client = Client::builder()
                    .user_agent(concat!("polder/", env!("CARGO_PKG_VERSION")))
                    .redirect(Policy::none())
                    .referer(false)
                    .timeout(PATIENCE);
                // On this machine there is nothing between us.
                let client = if place.scheme() == "http" { client.no_proxy() } else { client };
                client.build().map(|client| Open::Server { client, place, key }).map_err(Unusable::Client)
            }
        }
    }
}

/// Why there is no sink.
#[derive(Debug, thiserror::Error)]
pub enum Unusable {
    /// The file cannot be written.
    #[error("its file cannot be opened: {0}")]
    File(#[source] io::Error),
    /// No client can be made.
    #[error("no connection can be made to its server")]
    Client(#[source] reqwest::Error),
    /// No thread can be had.
    #[error("its thread cannot be started: {0}")]
    Thread(#[source] io::Error),
}

/// Why an event was not taken.
#[derive(Debug, thiserror::Error)]
pub(super) enum Untaken {
    #[error("it cannot be written: {0}")]
    Write(#[from] io::Error),
    #[error("the server does not answer")]
    Silent,
    #[error("the server answers {0}")]
    Refused(StatusCode),
}

/// A sink that takes events.
pub(super) enum Open {
    File(File),
    Stdout,
    Server { client: Client, place: Url, key: Option<Secret> },
}

impl Open {
    pub(super) async fn put(&mut self, event: &str) -> Result<(), Untaken> {
        match self {
            Self::File(file) => Ok(file.write_all(format!("{event}\n").as_bytes())?),
            Self::Stdout => {
                let mut out = io::stdout().lock();
                out.write_all(format!("{event}\n").as_bytes())?;
                Ok(out.flush()?)
            }
            Self::Server { client, place, key } => {
                let mut put = post(client, place, key.as_ref(), event).await;
                for pause in PAUSES {
                    if !matches!(&put, Err(untaken) if untaken.may_pass()) {
                        break;
                    }
                    tokio::time::sleep(pause).await;
                    put = post(client, place, key.as_ref(), event).await;
                }
                put
            }
        }
    }
}

impl Untaken {
    /// Whether it may be taken later: what a server understood and does not want it will not want again.
    fn may_pass(&self) -> bool {
        match self {
            Self::Write(_) => false,
            Self::Silent => true,
            Self::Refused(status) => !status.is_client_error() || *status == StatusCode::TOO_MANY_REQUESTS,
        }
    }
}

async fn post(client: &Client, place: &Url, key: Option<&Secret>, event: &str) -> Result<(), Untaken> {
    let request = client.post(place.clone()).header("content-type", "application/json").body(event.to_owned());
    let request = match key {
        Some(key) => request.bearer_auth(key.expose()),
        None => request,
    };
    let answer = request.send().await.map_err(|_| Untaken::Silent)?;
    match answer.status() {
        status if status.is_success() => Ok(()),
        status => Err(Untaken::Refused(status)),
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::panic, reason = "tests")]
mod tests {
    use std::path::Path;

    use super::*;

    #[test]
    fn a_sink_is_read_and_secrets_and_plain_text_are_refused() {
        let place = |text: &str| match text.parse() {
            Ok(Sink::Server { place, key: None }) => place.to_string(),
            other => panic!("{other:?}"),
        };
        assert!(matches!("stdout".parse(), Ok(Sink::Stdout)));
        assert!(matches!("file:a/b".parse(), Ok(Sink::File(path)) if path == Path::new("a/b")));
        assert_eq!(place("https://lineage.example"), "https://lineage.example/api/v1/lineage");
        assert_eq!(place("http://127.0.0.1:5000/own"), "http://127.0.0.1:5000/own");
        for text in ["", "file:", "kafka:x", "http://lineage.example", "https://me:hunter2@lineage.example", "https://"]
        {
            let error = text.parse::<Sink>().unwrap_err();
            assert!(!error.contains("hunter2"), "{error}");
        }
    }
}
