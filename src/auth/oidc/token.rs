//! A JSON web token, taken apart and not yet believed.
//!
//! ```text
//! header . claims . signature        each base64url, in one way only
//! ```

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde_json::Value;

use super::keys::{Algorithm, Key};
use super::{Refusal, json};

/// The largest token. With its header it must pass the listener.
const LONGEST: usize = 16 * 1024;
/// What tokens for calls say that they are. There are others: of logouts, of single requests.
const TYPES: [&str; 4] = ["jwt", "at+jwt", "application/jwt", "application/at+jwt"];
/// What would change how the token is read, or bring a key of its own.
const FOREIGN: [&str; 7] = ["crit", "b64", "enc", "zip", "jwk", "jku", "x5u"];

/// A token whose signature was not checked.
pub(super) struct Unverified<'t> {
    signed: &'t str,
    signature: Vec<u8>,
    claims: Value,
    pub(super) algorithm: Algorithm,
    pub(super) key: Option<String>,
}

impl<'t> Unverified<'t> {
    /// Whether a text has the form of such a token and of no other kind.
    pub(super) fn is_one(text: &str) -> bool {
        text.contains('.')
    }

    /// Takes a token apart.
    pub(super) fn read(token: &'t str) -> Result<Self, Refusal> {
        if token.len() > LONGEST {
            return Err(Refusal::Invalid("it is too long"));
        }
        let not_three = || Refusal::Invalid("it has not three parts");
        let (signed, signature) = token.rsplit_once('.').ok_or_else(not_three)?;
        let (header, claims) = signed.split_once('.').filter(|(_, rest)| !rest.contains('.')).ok_or_else(not_three)?;
        let decode = |part: &str| URL_SAFE_NO_PAD.decode(part).map_err(|_| Refusal::Invalid("it is not base64url"));
        let (header, claims, signature) = (decode(header)?, decode(claims)?, decode(signature)?);
        let not_json = || Refusal::Invalid("it holds no JSON, or a key twice");
        let header = json::object(&header).ok_or_else(not_json)?;
        let claims = json::object(&claims).ok_or_else(not_json)?;
        if FOREIGN.iter().any(|foreign| header.get(foreign).is_some()) {
            return Err(Refusal::Invalid("its header asks for what is not done"));
        }
        let text = |name: &str| match header.get(name) {
            None => Ok(None),
            Some(value) => {
                value.as_str().map(str::to_owned).map(Some).ok_or(Refusal::Invalid("its header is of other types"))
            }
        };
        if text("typ")?.is_some_and(|kind| !TYPES.contains(&kind.to_ascii_lowercase().as_str())) {
            return Err(Refusal::Invalid("it is a token of another type"));
        }
        let algorithm = text("alg")?.as_deref().and_then(Algorithm::named);
        let algorithm = algorithm.ok_or(Refusal::Invalid("its algorithm is not taken"))?;
        Ok(Self { signed, signature, claims, algorithm, key: text("kid")? })
    }

    /// Who it says to be from. Good to choose whose keys to check it with, and for nothing else.
    pub(super) fn issuer(&self) -> Option<&str> {
        self.claims.get("iss")?.as_str()
    }

    /// What it says, once the key has signed it.
    pub(super) fn verify(self, key: &Key) -> Result<Value, Refusal> {
        if key.verify(self.algorithm, self.signed.as_bytes(), &self.signature) {
            return Ok(self.claims);
        }
        Err(Refusal::Invalid("its signature is not of the issuer's key"))
    }
}
