//! Catalogs of AWS in their own ways: Glue, and the buckets of S3 Tables. They tell where a table's metadata is, and lend
//! nothing.
//!
//! ```text
//! a signed request -> not there | busy: again, a little later | refused | an answer
//! ```

mod buckets;
mod glue;
mod signing;

use std::fmt;

use polder_catalog::mesh;
use reqwest::{Client, Request};
use serde::Deserialize;
use url::Url;

pub(in crate::lake) use self::buckets::Buckets;
pub(in crate::lake) use self::glue::Glue;
pub(in crate::lake) use self::signing::Signer;
use super::http::{Sent, answered, body, client, garbled, patiently};
use crate::lake::error::LakeError;
use crate::lake::metadata::MAX_BYTES;

/// What is not there, in the words of one service or another.
const MISSING: [&str; 2] = ["EntityNotFoundException", "NotFoundException"];
/// What says that one must wait, under whatever status.
const BUSY: [&str; 3] = ["ThrottlingException", "Throttling", "TooManyRequestsException"];
/// What says that a key is not taken, under whatever status.
const REFUSED: [&str; 11] = [
    "AccessDeniedException",
    "AccessDenied",
    "ForbiddenException",
    "UnrecognizedClientException",
    "InvalidClientTokenId",
    "InvalidSignatureException",
    "SignatureDoesNotMatch",
    "IncompleteSignatureException",
    "MissingAuthenticationTokenException",
    "ExpiredTokenException",
    "ExpiredToken",
];

/// A service that is asked with signed requests.
pub(super) struct Service {
    domain: String,
    http: Client,
    signer: Signer,
    at: Url,
    /// The longest answer that is read.
    most: usize,
}

impl fmt::Debug for Service {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Service").field("domain", &self.domain).finish_non_exhaustive()
    }
}

impl Service {
    fn new(domain: &str, settings: &mesh::Aws, storage: &mesh::Storage) -> Result<Self, LakeError> {
        let bad = |what| LakeError::BadCatalog { domain: domain.to_owned(), what };
        Ok(Self {
            domain: domain.to_owned(),
            http: client(domain, &settings.uri)?,
            signer: Signer::new(domain, &settings.signing, storage)?,
            at: Url::parse(&settings.uri).map_err(|_| bad("its uri is none"))?,
            most: usize::try_from(MAX_BYTES).unwrap_or(usize::MAX),
        })
    }

    /// What it answers; nothing where it does not have what is asked for.
    async fn ask(&self, make: impl Fn() -> Request) -> Result<Option<Sent>, LakeError> {
        let send = || async {
            let mut request = make();
            self.signer.sign(&mut request).await?;
            body(&self.domain, &self.http, request, self.most).await
        };
        let is_one_of =
            |sent: &Sent, faults: &[&str]| fault(sent).is_some_and(|fault| faults.contains(&fault.as_str()));
        let sent = patiently(send, |sent| is_one_of(sent, &BUSY)).await?;
        if sent.status.is_success() {
            return Ok(Some(sent));
        }
        if is_one_of(&sent, &MISSING) {
            return Ok(None);
        }
        if is_one_of(&sent, &REFUSED) {
            return Err(LakeError::Refused { domain: self.domain.clone() });
        }
        Err(answered(&self.domain, sent.status))
    }

    fn read<'a, T: Deserialize<'a>>(&self, sent: &'a Sent) -> Result<T, LakeError> {
        serde_json::from_slice(&sent.bytes).map_err(|_| garbled(&self.domain, "it is no table"))
    }
}

/// What a service calls the error that it answered with.
fn fault(sent: &Sent) -> Option<String> {
    #[derive(Deserialize)]
    struct Said {
        #[serde(rename = "__type")]
        fault: String,
    }
    if sent.status.is_success() {
        return None;
    }
    let header = sent.headers.get("x-amzn-errortype").and_then(|value| value.to_str().ok()).map(str::to_owned);
    let said = || serde_json::from_slice::<Said>(&sent.bytes).ok().map(|said| said.fault);
    let fault = header.or_else(said)?;
    // `com.amazonaws.glue#EntityNotFoundException`, `NotFoundException:http://…`
    let fault = fault.split(':').next()?.rsplit('#').next()?;
    Some(fault.trim().to_owned())
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "tests")]
pub(in crate::lake::catalog) mod tests;
