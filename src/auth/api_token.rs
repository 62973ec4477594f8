//! API tokens of services: random, long, and known to the mesh by their hash alone.
//!
//! ```text
//! polder_ + 256 random bits, base64url   -- SHA-256 -->   `token_hash` in mesh.yaml
//! ```
//!
//! A fast hash is enough, since there is nothing to guess; so that this stays true, what has not this form is no token.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use polder_catalog::secret::Secret;
use ring::rand::{SecureRandom, SystemRandom};
use sha2::{Digest, Sha256};

use crate::error::{Class, Error};

/// What a token begins with, so that people and scanners of secrets know one when they see it.
const PREFIX: &str = "polder_";

/// A new token, and its hash in hexadecimal.
///
/// # Errors
/// When the system gives no randomness.
pub fn new_token() -> Result<(Secret, String), Error> {
    let mut bytes = [0; 32];
    SystemRandom::new().fill(&mut bytes).map_err(|_| Error::new(Class::Bug, "the system gives no randomness"))?;
    let token = format!("{PREFIX}{}", URL_SAFE_NO_PAD.encode(bytes));
    let hash = Sha256::digest(token.as_bytes()).iter().map(|byte| format!("{byte:02x}")).collect();
    Ok((Secret::new(token), hash))
}

/// The hash of a text that has the form of a token.
pub(super) fn hash(text: &str) -> Option<[u8; 32]> {
    let random = URL_SAFE_NO_PAD.decode(text.strip_prefix(PREFIX)?).ok()?;
    (random.len() == 32).then(|| Sha256::digest(text.as_bytes()).into())
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "tests")]
mod tests {
    use super::*;

    #[test]
    fn a_new_token_has_its_hash_and_no_second_is_like_it() {
        let ((one, hashed), (other, _)) = (new_token().unwrap(), new_token().unwrap());
        let found: String = hash(one.expose()).unwrap().iter().map(|byte| format!("{byte:02x}")).collect();
        assert_eq!(found, hashed);
        assert_ne!(one, other);
    }

    #[test]
    fn what_could_be_guessed_is_no_token() {
        let (token, _) = new_token().unwrap();
        let short = token.expose().get(..token.expose().len() - 4).unwrap();
        for text in ["", "polder_", "polder_hunter2", "hunter2", short, &format!("{}AAAA", token.expose())] {
            assert_eq!(hash(text), None, "{text}");
        }
    }
}
