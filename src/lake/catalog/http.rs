//! Questions to a catalog over HTTP: an answer has an end, another server is not followed, and a catalog that is busy is asked
//! again a little later. Errors name the domain alone.

use std::time::Duration;

use bytes::Bytes;
use futures::StreamExt;
use reqwest::header::{HeaderMap, RETRY_AFTER};
use reqwest::{Client, Request, StatusCode, redirect};

use super::PATIENCE;
use crate::lake::error::LakeError;
use crate::lake::io;

const CONNECT: Duration = Duration::from_secs(5);
/// How often one request is sent that the catalog is too busy for.
pub(super) const TRIES: u32 = 3;
/// The longest that is waited between two of them.
const PAUSE: Duration = Duration::from_secs(2);

/// The end of one request.
pub(super) struct Sent {
    pub(super) status: StatusCode,
    pub(super) headers: HeaderMap,
    pub(super) bytes: Bytes,
}

/// What sends the questions to the catalog at `uri`.
pub(super) fn client(domain: &str, uri: &str) -> Result<Client, LakeError> {
    let http = Client::builder()
        .user_agent(concat!("polder/", env!("CARGO_PKG_VERSION")))
        .connect_timeout(CONNECT)
        .timeout(PATIENCE)
        // What logs in here is for this server and no other one.
        .redirect(redirect::Policy::none());
    // On this machine there is nothing between us.
    let http = if uri.starts_with("http://") { http.no_proxy() } else { http };
    http.build().map_err(|cause| unreachable(domain, cause))
}

/// Sends a request and reads all of the answer, which has an end.
pub(super) async fn body(domain: &str, http: &Client, request: Request, most: usize) -> Result<Sent, LakeError> {
    let (domain, http) = (domain.to_owned(), http.clone());
    io::apart(async move { whole(&domain, &http, request, most).await }).await
}

async fn whole(domain: &str, http: &Client, request: Request, most: usize) -> Result<Sent, LakeError> {
    let response = http.execute(request).await.map_err(|cause| unreachable(domain, cause))?;
    let (status, headers) = (response.status(), response.headers().clone());
    if let Some(later) = headers.get(RETRY_AFTER) {
        tracing::debug!(domain, %status, ?later, "a catalog asks for patience");
    }
    let mut parts = response.bytes_stream();
    let mut bytes = Vec::new();
    while let Some(part) = parts.next().await {
        let part = part.map_err(|cause| unreachable(domain, cause))?;
        if bytes.len().saturating_add(part.len()) > most {
            return Err(garbled(domain, "it is longer than any that is read"));
        }
        bytes.extend_from_slice(&part);
    }
    Ok(Sent { status, headers, bytes: bytes.into() })
}

/// Sends again what came back from a catalog that was too busy, or not there.
pub(super) async fn patiently<F>(send: impl Fn() -> F, is_busy: impl Fn(&Sent) -> bool) -> Result<Sent, LakeError>
where
    F: Future<Output = Result<Sent, LakeError>>,
{
    let mut tries = 1;
    loop {
        let sent = send().await;
        let again = match &sent {
            Ok(sent) => is_busy(sent) || matches!(sent.status.as_u16(), 429 | 502..=504),
            Err(error) => matches!(error, LakeError::Catalog { .. }),
        };
        if !again || tries >= TRIES {
            return sent;
        }
        tries += 1;
        tokio::time::sleep(pause(tries)).await;
    }
}

/// A pause before the next try: longer each time, and never the same for two who wait.
fn pause(tries: u32) -> Duration {
    let most = Duration::from_millis(100).saturating_mul(2_u32.saturating_pow(tries)).min(PAUSE);
    let spread = uuid::Uuid::new_v4().as_u128() % 1000;
    most.mul_f64(0.5 + u32::try_from(spread).map_or(0.0, f64::from) / 2000.0)
}

/// The error for an answer that is none.
pub(super) fn answered(domain: &str, status: StatusCode) -> LakeError {
    let domain = domain.to_owned();
    match status.as_u16() {
        401 | 403 | 419 => LakeError::Refused { domain },
        status => LakeError::Answered { domain, status },
    }
}

pub(super) fn unreachable(domain: &str, cause: reqwest::Error) -> LakeError {
    LakeError::Catalog { domain: domain.to_owned(), source: Box::new(cause.without_url()) }
}

pub(super) fn garbled(domain: &str, what: &'static str) -> LakeError {
    LakeError::Garbled { domain: domain.to_owned(), what }
}
