//! `POST /v1/sql`: one statement over HTTP, for scripts and curl.
//!
//! ```text
//! curl -u analyst-eu -H 'Accept: text/csv' -d 'SELECT * FROM storefront.customers LIMIT 10' http://127.0.0.1:8080/v1/sql
//! ```
//!
//! The body is a statement, or the JSON object `{"sql": …, "parameters": […], "purpose": …}`. The same gate, the same policies and the same
//! engine answer as over Flight; rows are written where they are made, in the format that `Accept` prefers, and a slow
//! reader holds back its own query alone. What goes wrong before the first row is a [`Problem`]; what goes wrong behind it
//! breaks the answer off, so that no client takes a part for the whole.
//!
//! Credentials and rows do not travel unencrypted: without TLS only this machine is answered, and so it is by a mesh that
//! asks nobody's name. Nor is a web page, which a
//! browser would let ask here in the name of whoever looks at it.

use std::io;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use axum::body::{Body, Bytes};
use axum::extract::{ConnectInfo, State};
use axum::http::{HeaderMap, HeaderValue, Response, StatusCode, Version, header};
use datafusion::arrow::array::RecordBatch;
use datafusion::arrow::datatypes::SchemaRef;
use futures::StreamExt;
use futures::stream;
use polder_catalog::principal::Principal;
use serde::Deserialize;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::accept::{OFFERED, choose};
use super::door::Peer;
use super::parameters::Parameters;
use super::problem::Problem;
use crate::auth::Auth;
use crate::error::{Class, Error};
use crate::flight::counters::Counters;
use crate::flight::encode::{wire_batch, wire_schema};
use crate::flight::{Queries, caller_by_headers, until};
use crate::format::{Format, Look, Printer};
use crate::observe::Over;
use crate::session::{Engine, Packer, Request, Values};

/// The longest body.
const BODY: usize = 1 << 20;
/// How long a body may take.
const BODY_WITHIN: Duration = Duration::from_secs(30);
/// The most that notices may take of an answer's head; clients stop at a few kilobytes.
const NOTICES: usize = 4 << 10;
/// What there is to say of a statement, as a JSON array of texts.
const NOTICES_HEADER: &str = "x-polder-notices";

/// What answers statements.
#[derive(Debug)]
pub(in crate::server) struct Sql {
    pub(in crate::server) engine: Arc<Engine>,
    pub(in crate::server) auth: Arc<Auth>,
    pub(in crate::server) counters: Arc<Counters>,
    pub(in crate::server) queries: Arc<Queries>,
    /// Says that no more statements are taken.
    pub(in crate::server) drain: CancellationToken,
    /// Ends those that run.
    pub(in crate::server) abort: CancellationToken,
    /// Knows those that run.
    pub(in crate::server) running: TaskTracker,
}

/// A statement as JSON.
#[derive(Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
struct Asked {
    sql: String,
    #[serde(default)]
    purpose: Option<String>,
    #[serde(default)]
    parameters: Option<Parameters>,
}

/// Answers a request.
pub(super) async fn answer(
    State(sql): State<Arc<Sql>>,
    ConnectInfo(peer): ConnectInfo<Peer>,
    request: axum::extract::Request,
) -> Response<Body> {
    let mut response = sql.rows(&peer, request).await.unwrap_or_else(|problem| {
        sql.counters.fail(&problem.error);
        problem.response()
    });
    let headers = response.headers_mut();
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    headers.insert(header::VARY, HeaderValue::from_static("accept, authorization, x-polder-purpose"));
    headers.insert(header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    response
}

impl Sql {
    async fn rows(&self, peer: &Peer, request: axum::extract::Request) -> Result<Response<Body>, Problem> {
        let (busy, token) = (peer.busy(), self.running.token());
        if self.drain.is_cancelled() {
            return Err(Error::new(Class::Cancelled, "the server is shutting down").into());
        }
        guard(peer, &request, self.auth.required())?;
        let (parts, body) = request.into_parts();
        let caller = caller_by_headers(&self.auth, &peer.as_caller(), &parts.headers).await?;
        let (origin, principal) = (caller.origin(Over::Http), caller.principal);
        let accept = parts.headers.get_all(header::ACCEPT).iter().filter_map(|value| value.to_str().ok());
        let (format, sent_as) = choose(accept).ok_or_else(not_offered)?;
        let json = is_json(&parts.headers)?;
        let Asked { sql, purpose, parameters } = read(body, json).await?;
        let principal = self.declared(principal, purpose.as_deref())?;

        let place = self.queries.admit(&principal.id)?;
        let values = parameters.as_ref().map_or(Ok(Values::None), Parameters::values)?;
        let request = Request { values, origin, ..Request::new(sql) };
        let planned = self.engine.plan_request(&principal, request).await?.alone()?;
        parameters.map_or(Ok(()), |parameters| parameters.fit(&planned.parameters()))?;
        self.auth.confirm(&principal)?;
        let running = self.counters.start();
        let notices = notices(planned.notices());
        let printed = Printed::new(&planned.schema(), format)?;
        let rows = planned.send(printed, (running, place))?;
        let mut rows = Box::pin(until(self.abort.clone(), CancellationToken::new(), rows.boxed()).fuse());
        // What goes wrong up to here is told in words.
        let first = rows.next().await.transpose()?;
        let counters = Arc::clone(&self.counters);
        let held = (busy, token);
        let rows = stream::iter(first.map(Ok)).chain(rows).map(move |row| {
            let _held_while_it_is_sent = &held;
            row.map_err(|error| {
                counters.fail(&error);
                tracing::debug!(%error, "an answer broke off");
                io::Error::other(error.class.as_str())
            })
        });
        let mut response = Response::new(Body::from_stream(rows));
        response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static(sent_as));
        if let Some(notices) = notices {
            response.headers_mut().insert(NOTICES_HEADER, notices);
        }
        Ok(response)
    }

    /// With the purpose that the body declares; the header may have declared it too, and no other.
    fn declared(&self, principal: Principal, purpose: Option<&str>) -> Result<Principal, Error> {
        match (purpose, principal.purpose.as_deref()) {
            (None, _) => Ok(principal),
            (Some(purpose), None) => self.auth.with_purpose(principal, purpose),
            (Some(purpose), Some(header)) if purpose == header => Ok(principal),
            (Some(_), Some(_)) => {
                Err(Error::new(Class::BadRequest, "the header and the body declare different purposes"))
            }
        }
    }
}

/// Who is answered at all, before anything is read of what they say.
pub(super) fn guard(peer: &Peer, request: &axum::extract::Request, named: bool) -> Result<(), Problem> {
    if !peer.is_local() && !named {
        return Err(Error::new(Class::Denied, "a mesh without `auth` is served on its own machine alone").into());
    }
    if !peer.is_local() && !peer.is_encrypted() {
        let error = Error::new(Class::Denied, "SQL over plain HTTP is answered on this machine alone");
        return Err(error.help("ask by https; the server needs `--tls-cert` and `--tls-key`").into());
    }
    if request.headers().contains_key(header::ORIGIN) {
        return Err(Error::new(Class::Denied, "web pages are not answered").into());
    }
    if request.version() == Version::HTTP_10 {
        let error = Error::new(Class::BadRequest, "HTTP/1.0 cannot tell a whole answer from a part of it");
        return Err(Problem::new(StatusCode::HTTP_VERSION_NOT_SUPPORTED, error.help("use HTTP/1.1")));
    }
    Ok(())
}

fn not_offered() -> Problem {
    let offered: Vec<String> =
        OFFERED.iter().filter_map(|(_, names, _)| Some(format!("`{}`", names.first()?))).collect();
    let error = Error::new(Class::BadRequest, "none of the formats that are accepted is offered");
    Problem::new(StatusCode::NOT_ACCEPTABLE, error.help(format!("accept {}", offered.join(", "))))
}

/// Whether the body is JSON and not a statement. What curl says when it is told nothing means a statement.
fn is_json(headers: &HeaderMap) -> Result<bool, Problem> {
    let unknown = || {
        let error = Error::new(Class::BadRequest, "the body is neither a statement nor JSON");
        let help = "send a statement as `text/plain`, or `{\"sql\": …}` as `application/json`, both in UTF-8";
        Problem::new(StatusCode::UNSUPPORTED_MEDIA_TYPE, error.help(help))
    };
    let Some(value) = headers.get(header::CONTENT_TYPE) else { return Ok(false) };
    let mut parts = value.to_str().map_err(|_| unknown())?.split(';').map(str::trim);
    let name = parts.next().unwrap_or_default().to_ascii_lowercase();
    let utf8 = |part: &str| match part.split_once('=') {
        Some((key, value)) if key.eq_ignore_ascii_case("charset") => {
            value.trim_matches('"').eq_ignore_ascii_case("utf-8")
        }
        _ => true,
    };
    if !parts.all(utf8) {
        return Err(unknown());
    }
    match name.as_str() {
        "application/json" => Ok(true),
        "text/plain" | "application/sql" | "application/x-www-form-urlencoded" => Ok(false),
        _ => Err(unknown()),
    }
}

/// The whole body.
async fn read(body: Body, json: bool) -> Result<Asked, Problem> {
    let late = |_| Problem::new(StatusCode::REQUEST_TIMEOUT, Error::new(Class::Limit, "the body took too long"));
    let whole = tokio::time::timeout(BODY_WITHIN, collect(body)).await.map_err(late)??;
    if json {
        return serde_json::from_slice(&whole).map_err(|_| {
            let error = Error::new(Class::BadRequest, "the body is not a JSON object with the text `sql`");
            error.help("send `{\"sql\": \"SELECT $1\", \"parameters\": [1]}`; the only other key is `purpose`").into()
        });
    }
    let sql = String::from_utf8(whole).map_err(|_| Error::new(Class::BadRequest, "the statement is not UTF-8"))?;
    Ok(Asked { sql, purpose: None, parameters: None })
}

async fn collect(body: Body) -> Result<Vec<u8>, Problem> {
    let mut whole = Vec::new();
    let mut parts = body.into_data_stream();
    while let Some(part) = parts.next().await {
        let part = part.map_err(|_| Error::new(Class::BadRequest, "the body broke off"))?;
        if whole.len().saturating_add(part.len()) > BODY {
            let error = Error::new(Class::Limit, format!("the body is longer than {BODY} bytes"));
            return Err(Problem::new(StatusCode::PAYLOAD_TOO_LARGE, error));
        }
        whole.extend_from_slice(&part);
    }
    Ok(whole)
}

/// As many notices as a header holds.
fn notices(notices: &[String]) -> Option<HeaderValue> {
    let mut length = 0_usize;
    let fits =
        notices.iter().map(|notice| ascii(&serde_json::Value::from(notice.as_str()).to_string())).take_while(|text| {
            length = length.saturating_add(text.len() + 1);
            length <= NOTICES
        });
    let texts: Vec<String> = fits.collect();
    if texts.is_empty() { None } else { HeaderValue::try_from(format!("[{}]", texts.join(","))).ok() }
}

/// JSON in letters that a header may hold.
fn ascii(json: &str) -> String {
    let mut text = String::new();
    for letter in json.chars() {
        if letter.is_ascii() {
            text.push(letter);
        } else {
            letter.encode_utf16(&mut [0; 2]).iter().for_each(|unit| text.push_str(&format!("\\u{unit:04x}")));
        }
    }
    text
}

/// Writes rows where they are made.
struct Printed {
    wire: SchemaRef,
    printer: Option<Printer<Page>>,
    page: Page,
    /// What is not written yet, and how many rows at once are.
    rest: Option<RecordBatch>,
    step: usize,
}

/// What was written and not yet sent.
#[derive(Clone, Default)]
struct Page(Arc<Mutex<Vec<u8>>>);

impl io::Write for Page {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Page {
    fn take(&self) -> Vec<u8> {
        std::mem::take(&mut *self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

impl Printed {
    fn new(schema: &SchemaRef, format: Format) -> Result<Self, Error> {
        let (wire, page) = (wire_schema(schema), Page::default());
        let printer = Printer::new(format, Look::default(), &wire, page.clone()).map_err(|_| unwritten())?;
        // A row of text is larger than one of Arrow, and small pieces keep what waits small.
        let step = if format == Format::Arrow { usize::MAX } else { 1_024 };
        Ok(Self { wire, printer: Some(printer), page, rest: None, step })
    }
}

/// The words of a writer could quote a value.
fn unwritten() -> Error {
    Error::new(Class::BadRequest, "the rows cannot be written in this format")
        .help("accept `application/vnd.apache.arrow.stream`, which holds all types, or cast the column to text")
}

impl Packer for Printed {
    type Parcel = Bytes;

    fn load(&mut self, batch: RecordBatch) -> Result<(), Error> {
        self.rest = if batch.num_rows() == 0 { None } else { Some(wire_batch(&self.wire, &batch)?) };
        Ok(())
    }

    fn next(&mut self) -> Result<Option<Bytes>, Error> {
        loop {
            let (Some(rest), Some(printer)) = (self.rest.take(), &mut self.printer) else {
                let written = self.page.take();
                return Ok((!written.is_empty()).then(|| written.into()));
            };
            let count = rest.num_rows().min(self.step);
            printer.write(rest.slice(0, count)).map_err(|_| unwritten())?;
            if count < rest.num_rows() {
                self.rest = Some(rest.slice(count, rest.num_rows() - count));
                return Ok(Some(self.page.take().into()));
            }
        }
    }

    fn close(&mut self) -> Result<(), Error> {
        self.printer.take().map_or(Ok(()), |printer| printer.finish().map(drop)).map_err(|_| unwritten())
    }

    fn size(page: &Bytes) -> usize {
        page.len()
    }
}
