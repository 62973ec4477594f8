//! The `authorization` header: who calls, and the token that a Basic login gets in return.
//!
//! ```text
//! Flight: peer, metadata --caller-------------> Caller
//! HTTP:   peer, headers  --caller_by_headers--> Caller
//! ```

use std::net::IpAddr;

use base64::Engine as _;
use base64::alphabet;
use base64::engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig};
use polder_catalog::principal::Principal;
use polder_catalog::secret::Secret;
use tonic::codegen::http::{Extensions, HeaderMap};
use tonic::metadata::{Ascii, MetadataMap, MetadataValue};

use crate::auth::{Auth, Peer};
use crate::error::{Class, Error};
use crate::observe::{Origin, Over, Parent};

/// The header that carries credentials in both directions.
pub(super) const AUTHORIZATION: &str = "authorization";
/// The header that declares what the caller wants the data for.
pub(super) const PURPOSE: &str = "x-polder-purpose";
/// The header that names the caller's span.
const TRACEPARENT: &str = "traceparent";

/// ADBC's Go driver leaves the padding off, others keep it.
const BASE64: GeneralPurpose = GeneralPurpose::new(
    &alphabet::STANDARD,
    GeneralPurposeConfig::new().with_decode_padding_mode(DecodePaddingMode::Indifferent),
);

/// What an `authorization` header holds.
pub(super) enum Presented {
    /// No such header.
    Nothing,
    /// `Basic …`
    Basic { user: String, password: Secret },
    /// `Bearer …`
    Bearer(Secret),
}

/// Who calls.
#[derive(Debug)]
pub struct Caller {
    /// The principal, with the purpose that the call declares.
    pub principal: Principal,
    /// The token that answers a Basic login.
    pub(super) token: Option<MetadataValue<Ascii>>,
    /// Where it calls from.
    pub(super) address: Option<IpAddr>,
    /// The span that it calls in.
    pub(super) parent: Option<Parent>,
}

impl Caller {
    /// Where its statements come from.
    pub(crate) fn origin(&self, over: Over) -> Origin {
        Origin { over, peer: self.address, parent: self.parent }
    }
}

/// The other end of the connection that a call came over.
pub(super) fn peer(extensions: &Extensions) -> Peer {
    extensions.get::<Peer>().cloned().unwrap_or_default()
}

/// Reads the header. The scheme's case does not matter.
pub(super) fn presented(headers: &HeaderMap) -> Result<Presented, Error> {
    let mut values = headers.get_all(AUTHORIZATION).iter();
    let Some(value) = values.next() else { return Ok(Presented::Nothing) };
    if values.next().is_some() {
        return Err(unreadable());
    }
    let (scheme, rest) = value.to_str().ok().and_then(|value| value.split_once(' ')).ok_or_else(unreadable)?;
    let rest = rest.trim();
    if scheme.eq_ignore_ascii_case("bearer") {
        return Ok(Presented::Bearer(Secret::new(rest)));
    }
    if !scheme.eq_ignore_ascii_case("basic") {
        return Err(unreadable());
    }
    let text = BASE64.decode(rest).ok().and_then(|bytes| String::from_utf8(bytes).ok()).ok_or_else(unreadable)?;
    let (user, password) = text.split_once(':').ok_or_else(unreadable)?;
    Ok(Presented::Basic { user: user.to_owned(), password: Secret::new(password) })
}

/// Who calls, and for what, by the metadata of a Flight call.
pub(super) async fn caller(auth: &Auth, peer: &Peer, metadata: &MetadataMap) -> Result<Caller, Error> {
    caller_by_headers(auth, peer, metadata.as_ref()).await
}

/// Who calls, and for what, by the headers of a call.
///
/// # Errors
/// Unauthenticated; denied for a purpose that the caller may not declare; a limit when too many log in at once.
pub async fn caller_by_headers(auth: &Auth, peer: &Peer, headers: &HeaderMap) -> Result<Caller, Error> {
    let caller = Caller { parent: parent(headers), ..admit(auth, peer, presented(headers)?).await? };
    let Some(purpose) = headers.get(PURPOSE) else { return Ok(caller) };
    let purpose = purpose.to_str().map_err(|_| Error::new(Class::BadRequest, "the declared purpose is not text"))?;
    Ok(Caller { principal: auth.with_purpose(caller.principal, purpose)?, ..caller })
}

/// The span of the caller, where it names one.
fn parent(headers: &HeaderMap) -> Option<Parent> {
    let mut values = headers.get_all(TRACEPARENT).iter();
    let value = values.next().filter(|_| values.next().is_none())?;
    Parent::read(value.to_str().ok()?)
}

/// Who presents these credentials.
pub(super) async fn admit(auth: &Auth, peer: &Peer, presented: Presented) -> Result<Caller, Error> {
    let address = peer.address();
    match presented {
        Presented::Nothing => Ok(Caller { principal: auth.silent(peer)?, token: None, address, parent: None }),
        Presented::Bearer(token) => {
            Ok(Caller { principal: auth.bearer(peer, token.expose()).await?, token: None, address, parent: None })
        }
        Presented::Basic { user, password } => {
            let principal = auth.password(peer, &user, password.expose()).await?;
            let token = bearer(&auth.token(&principal)?)?;
            Ok(Caller { principal, token: Some(token), address, parent: None })
        }
    }
}

/// `Bearer …` as a header that is never indexed or printed.
pub(super) fn bearer(token: &str) -> Result<MetadataValue<Ascii>, Error> {
    let mut value = MetadataValue::try_from(format!("Bearer {token}"))
        .map_err(|_| Error::new(Class::BadRequest, "the token cannot travel in a header"))?;
    value.set_sensitive(true);
    Ok(value)
}

fn unreadable() -> Error {
    Error::new(Class::Unauthenticated, "the `authorization` header is neither `Basic` nor `Bearer` credentials")
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::panic, reason = "tests")]
mod tests {
    use super::*;

    fn header(value: &str) -> HeaderMap {
        let mut headers = HeaderMap::new();
        headers.insert(AUTHORIZATION, value.parse().unwrap());
        headers
    }

    #[test]
    fn basic_credentials_come_padded_or_not() {
        // `analyst:pa:ss` needs padding.
        for value in ["Basic YW5hbHlzdDpwYTpzcw==", "Basic YW5hbHlzdDpwYTpzcw", "basic  YW5hbHlzdDpwYTpzcw"] {
            match presented(&header(value)).unwrap() {
                Presented::Basic { user, password } => {
                    assert_eq!((user.as_str(), password.expose()), ("analyst", "pa:ss"), "{value}");
                }
                _ => panic!("{value}"),
            }
        }
    }

    #[test]
    fn a_bearer_token_comes_as_it_is() {
        assert!(
            matches!(presented(&header("Bearer abc-_")).unwrap(), Presented::Bearer(token) if token.expose() == "abc-_")
        );
    }

    #[test]
    fn what_cannot_be_read_is_refused_and_not_repeated() {
        for value in ["hunter2", "Digest hunter2", "Basic hunter2!", "Basic aHVudGVyMg=="] {
            let error = presented(&header(value)).err().unwrap();
            assert_eq!(error.class, Class::Unauthenticated, "{value}");
            assert!(!error.to_string().contains("hunter2"), "{value}");
        }
        let mut twice = header("Bearer a");
        twice.append(AUTHORIZATION, "Bearer b".parse().unwrap());
        assert!(presented(&twice).is_err());
    }
}
