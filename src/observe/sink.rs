//! Where what is told of statements goes: a file, the standard output, or a server.

use std::fs::{File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::PathBuf;
use std::str::FromStr;
use std::time::Duration;

use polder_catalog::mesh::is_private;
use polder_catalog::secret::Secret;
use reqwest::header::{AUTHORIZATION, HeaderMap, HeaderName, HeaderValue};
use reqwest::redirect::Policy;
use reqwest::{Client, StatusCode, Url};

/// How long a server has for what it is told.
const PATIENCE: Duration = Duration::from_secs(5);
/// The pauses before it is asked again.
const PAUSES: [Duration; 2] = [Duration::from_millis(200), Duration::from_secs(1)];

/// Where it is to go.
#[derive(Debug, Clone)]
pub enum Sink {
    /// Behind what is in a file, a line each.
    File(PathBuf),
    /// To the standard output, a line each.
    Stdout,
    /// To a server.
    Server {
        /// Where it is asked.
        place: Url,
        /// What it knows us by: headers, none of which is ever printed.
        headers: HeaderMap,
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
        let place = place
            .ok_or("write `stdout`, `file:PATH`, or `https://` and a server; `http://` is for this machine alone")?;
        Ok(Self::Server { place, headers: HeaderMap::new() })
    }
}

impl Sink {
    /// The same, where a server knows us by a key.
    #[must_use]
    pub fn with_key(self, key: Option<Secret>) -> Self {
        let value = key.and_then(|key| secret(&format!("Bearer {}", key.expose())));
        self.with(value.map(|value| (AUTHORIZATION, value)))
    }

    /// The same, where a server knows us by headers, which are written as `name=value,name=value`, the values as URLs
    /// have them: the way of `OTEL_EXPORTER_OTLP_HEADERS`.
    ///
    /// # Errors
    /// When they cannot be read. It quotes nothing of them.
    pub fn with_headers(self, headers: Option<Secret>) -> Result<Self, String> {
        let Some(headers) = headers else { return Ok(self) };
        let header = |pair: &str| {
            let (name, value) = pair.split_once('=')?;
            let name = HeaderName::try_from(name.trim()).ok()?;
            Some((name, secret(&decoded(value.trim())?)?))
        };
        let pairs = headers.expose().split(',').filter(|pair| !pair.trim().is_empty());
        let read: Option<Vec<_>> = pairs.map(header).collect();
        Ok(self.with(read.ok_or("its headers are not written as `name=value,name=value`")?))
    }

    fn with(mut self, more: impl IntoIterator<Item = (HeaderName, HeaderValue)>) -> Self {
        if let Self::Server { headers, .. } = &mut self {
            headers.extend(more);
        }
        self
    }

    /// The same, where a server without a path is asked at `path`.
    #[must_use]
    pub(super) fn at(mut self, path: &str) -> Self {
        if let Self::Server { place, .. } = &mut self
            && place.path() == "/"
        {
            place.set_path(path);
        }
        self
    }

    pub(super) fn open(self) -> Result<Open, Unusable> {
        match self {
            Self::File(path) => {
                let file = OpenOptions::new().create(true).append(true).mode(0o600).open(path);
                file.map(Open::File).map_err(Unusable::File)
            }
            Self::Stdout => Ok(Open::Stdout),
            Self::Server { place, headers } => {
                let client = Client::builder()
                    .user_agent(concat!("polder/", env!("CARGO_PKG_VERSION")))
                    .redirect(Policy::none())
                    .referer(false)
                    .timeout(PATIENCE);
                // On this machine there is nothing between us.
                let client = if place.scheme() == "http" { client.no_proxy() } else { client };
                client.build().map(|client| Open::Server { client, place, headers }).map_err(Unusable::Client)
            }
        }
    }
}

/// The value of a header that is never printed.
fn secret(text: &str) -> Option<HeaderValue> {
    let mut value = HeaderValue::try_from(text).ok()?;
    value.set_sensitive(true);
    Some(value)
}

/// Text as URLs have it, with `%20` and the like.
fn decoded(text: &str) -> Option<String> {
    let (mut bytes, mut rest) = (Vec::new(), text.bytes());
    while let Some(byte) = rest.next() {
        bytes.push(match byte {
            b'%' => {
                let digits = [rest.next()?, rest.next()?];
                u8::from_str_radix(std::str::from_utf8(&digits).ok()?, 16).ok()?
            }
            plain => plain,
        });
    }
    String::from_utf8(bytes).ok()
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

/// Why something was not taken.
#[derive(Debug, thiserror::Error)]
pub(super) enum Untaken {
    #[error("it cannot be written: {0}")]
    Write(#[from] io::Error),
    #[error("the server does not answer")]
    Silent,
    #[error("the server answers {0}")]
    Refused(StatusCode),
}

/// A sink that takes what it is told.
pub(super) enum Open {
    File(File),
    Stdout,
    Server { client: Client, place: Url, headers: HeaderMap },
}

impl Open {
    pub(super) async fn put(&mut self, said: &str) -> Result<(), Untaken> {
        match self {
            Self::File(file) => Ok(file.write_all(format!("{said}\n").as_bytes())?),
            Self::Stdout => {
                let mut out = io::stdout().lock();
                out.write_all(format!("{said}\n").as_bytes())?;
                Ok(out.flush()?)
            }
            Self::Server { client, place, headers } => {
                let mut put = post(client, place, headers, said).await;
                for pause in PAUSES {
                    if !matches!(&put, Err(untaken) if untaken.may_pass()) {
                        break;
                    }
                    tokio::time::sleep(pause).await;
                    put = post(client, place, headers, said).await;
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

async fn post(client: &Client, place: &Url, headers: &HeaderMap, said: &str) -> Result<(), Untaken> {
    let request = client.post(place.clone()).headers(headers.clone()).header("content-type", "application/json");
    let request = request.body(said.to_owned());
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
            Ok(sink @ Sink::Server { .. }) => match sink.at("/api/v1/lineage") {
                Sink::Server { place, .. } => place.to_string(),
                other => panic!("{other:?}"),
            },
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

    #[test]
    fn headers_are_read_as_the_standard_writes_them_and_never_printed() {
        let with = |headers: &str| {
            let sink: Sink = "https://traces.example".parse().unwrap();
            sink.with_headers(Some(Secret::new(headers)))
        };
        let Sink::Server { headers, .. } = with("authorization=Bearer%20hunter2, x-team = a,").unwrap() else {
            panic!("it is no server")
        };
        let value = |name: &str| headers.get(name).unwrap().to_str().unwrap().to_owned();
        assert_eq!((value("authorization"), value("x-team")), ("Bearer hunter2".to_owned(), "a".to_owned()));
        assert!(!format!("{headers:?}").contains("hunter2"));
        for text in ["hunter2", "a b=hunter2", "a=hunter2%2", "a=hunter2%0a"] {
            let error = with(text).unwrap_err();
            assert!(!error.contains("hunter2"), "{error}");
        }
    }
}
