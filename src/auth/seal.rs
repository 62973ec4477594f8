//! Sealing: what leaves the process to come back later (tokens, tickets, statement handles, sessions) is encrypted and
//! authenticated, expires, and serves only the use that it was made for.
//!
//! ```text
//! version (1 byte) | nonce (12 bytes) | ChaCha20-Poly1305 over ( expiry (8 bytes) | payload ), tag
//! ```
//!
//! Every use has a key of its own, derived from the mesh's key, and its name is authenticated besides: a ticket never
//! opens as a token.

use std::fmt;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use polder_catalog::secret::Secret;
use ring::aead::{Aad, CHACHA20_POLY1305, LessSafeKey, NONCE_LEN, Nonce, UnboundKey};
use ring::hkdf::{HKDF_SHA256, Prk, Salt};
use ring::rand::{SecureRandom, SystemRandom};

use crate::error::{Class, Error};

/// The layout above. Another layout gets another number, and nothing else opens.
const VERSION: u8 = 1;
/// Where the ciphertext starts.
const HEADER: usize = 1 + NONCE_LEN;
/// A shorter key could be found by trying.
const SHORTEST_KEY: usize = 16;

/// What a sealed value is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Use {
    /// A bearer token.
    Token,
    /// The ticket for one result.
    Ticket,
    /// The handle of a prepared statement.
    Statement,
    /// What a client has set for its calls.
    Session,
}

impl Use {
    fn label(self) -> &'static [u8] {
        match self {
            Self::Token => b"polder token",
            Self::Ticket => b"polder ticket",
            Self::Statement => b"polder statement",
            Self::Session => b"polder session",
        }
    }
}

/// Seals and opens with the keys of one mesh.
pub struct Sealer {
    token: LessSafeKey,
    ticket: LessSafeKey,
    statement: LessSafeKey,
    session: LessSafeKey,
    random: SystemRandom,
}

impl fmt::Debug for Sealer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Sealer(…)")
    }
}

impl Sealer {
    /// Derives the keys from the mesh's key. Without one they are random: what this process seals then opens in this
    /// process only.
    ///
    /// # Errors
    /// When the mesh's key is too short to protect anything, or the system gives no randomness.
    pub fn new(key: Option<&Secret>) -> Result<Self, Error> {
        let random = SystemRandom::new();
        let salt = Salt::new(HKDF_SHA256, b"polder seal");
        let master = match key {
            Some(key) if key.expose().len() < SHORTEST_KEY => {
                return Err(Error::new(
                    Class::BadRequest,
                    format!("the key `mesh` is shorter than {SHORTEST_KEY} characters"),
                )
                .help("make one with `openssl rand -hex 32`"));
            }
            Some(key) => salt.extract(key.expose().as_bytes()),
            None => {
                let mut bytes = [0; 32];
                random.fill(&mut bytes).map_err(|_| no_randomness())?;
                salt.extract(&bytes)
            }
        };
        Ok(Self {
            token: derive(&master, Use::Token)?,
            ticket: derive(&master, Use::Ticket)?,
            statement: derive(&master, Use::Statement)?,
            session: derive(&master, Use::Session)?,
            random,
        })
    }

    /// Seals `payload` for one use and a time.
    ///
    /// # Errors
    /// When the system gives no randomness.
    pub fn seal(&self, purpose: Use, payload: &[u8], lifetime: Duration) -> Result<Vec<u8>, Error> {
        self.seal_until(purpose, payload, unix_now().saturating_add(lifetime.as_secs()))
    }

    fn seal_until(&self, purpose: Use, payload: &[u8], expiry: u64) -> Result<Vec<u8>, Error> {
        let mut nonce = [0; NONCE_LEN];
        self.random.fill(&mut nonce).map_err(|_| no_randomness())?;
        let mut body = Vec::with_capacity(8 + payload.len() + CHACHA20_POLY1305.tag_len());
        body.extend_from_slice(&expiry.to_be_bytes());
        body.extend_from_slice(payload);
        self.key(purpose)
            .seal_in_place_append_tag(Nonce::assume_unique_for_key(nonce), aad(purpose), &mut body)
            .map_err(|_| Error::new(Class::Bug, "a value could not be sealed"))?;
        let mut sealed = Vec::with_capacity(HEADER + body.len());
        sealed.push(VERSION);
        sealed.extend_from_slice(&nonce);
        sealed.append(&mut body);
        Ok(sealed)
    }

    /// Opens what was sealed for this use. `None` for anything else, without a reason: nobody learns from the answer
    /// whether it was forged, foreign or late.
    pub fn open(&self, purpose: Use, sealed: &[u8]) -> Option<Vec<u8>> {
        let (header, body) = sealed.split_at_checked(HEADER)?;
        let (version, nonce) = header.split_first()?;
        if *version != VERSION {
            return None;
        }
        let nonce = Nonce::try_assume_unique_for_key(nonce).ok()?;
        let mut body = body.to_vec();
        let opened = self.key(purpose).open_in_place(nonce, aad(purpose), &mut body).ok()?;
        let (expiry, payload) = opened.split_first_chunk::<8>()?;
        (unix_now() < u64::from_be_bytes(*expiry)).then(|| payload.to_vec())
    }

    fn key(&self, purpose: Use) -> &LessSafeKey {
        match purpose {
            Use::Token => &self.token,
            Use::Ticket => &self.ticket,
            Use::Statement => &self.statement,
            Use::Session => &self.session,
        }
    }
}

fn derive(master: &Prk, purpose: Use) -> Result<LessSafeKey, Error> {
    let info = [purpose.label()];
    let okm =
        master.expand(&info, &CHACHA20_POLY1305).map_err(|_| Error::new(Class::Bug, "a key could not be derived"))?;
    Ok(LessSafeKey::new(UnboundKey::from(okm)))
}

fn aad(purpose: Use) -> Aad<Vec<u8>> {
    let mut bytes = vec![VERSION];
    bytes.extend_from_slice(purpose.label());
    Aad::from(bytes)
}

fn unix_now() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_secs()
}

fn no_randomness() -> Error {
    Error::new(Class::Bug, "the system gives no randomness")
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, reason = "tests")]
mod tests {
    use super::*;

    const MINUTE: Duration = Duration::from_secs(60);

    fn sealer(key: &str) -> Sealer {
        Sealer::new(Some(&Secret::new(key))).unwrap()
    }

    #[test]
    fn what_was_sealed_opens_in_every_process_with_the_same_key() {
        let sealed = sealer("0123456789abcdef").seal(Use::Ticket, b"payload", MINUTE).unwrap();
        assert_eq!(sealer("0123456789abcdef").open(Use::Ticket, &sealed).as_deref(), Some(&b"payload"[..]));
        assert_eq!(sealer("0123456789abcdeF").open(Use::Ticket, &sealed), None);
    }

    #[test]
    fn without_a_key_only_the_same_process_opens() {
        let one = Sealer::new(None).unwrap();
        let sealed = one.seal(Use::Token, b"payload", MINUTE).unwrap();
        assert_eq!(one.open(Use::Token, &sealed).as_deref(), Some(&b"payload"[..]));
        assert_eq!(Sealer::new(None).unwrap().open(Use::Token, &sealed), None);
    }

    #[test]
    fn one_use_never_serves_as_another() {
        let sealer = Sealer::new(None).unwrap();
        let all = [Use::Token, Use::Ticket, Use::Statement, Use::Session];
        for made in all {
            let sealed = sealer.seal(made, b"payload", MINUTE).unwrap();
            for used in all {
                assert_eq!(sealer.open(used, &sealed).is_some(), made == used, "{made:?} as {used:?}");
            }
        }
    }

    #[test]
    fn any_flipped_bit_and_any_lost_byte_closes_it() {
        let sealer = Sealer::new(None).unwrap();
        let sealed = sealer.seal(Use::Ticket, b"payload", MINUTE).unwrap();
        for byte in 0..sealed.len() {
            for bit in 0..8 {
                let mut other = sealed.clone();
                other[byte] ^= 1 << bit;
                assert_eq!(sealer.open(Use::Ticket, &other), None, "byte {byte}, bit {bit}");
            }
            assert_eq!(sealer.open(Use::Ticket, &sealed[..byte]), None, "cut at {byte}");
        }
    }

    #[test]
    fn it_expires() {
        let sealer = Sealer::new(None).unwrap();
        let late = sealer.seal_until(Use::Ticket, b"payload", unix_now()).unwrap();
        assert_eq!(sealer.open(Use::Ticket, &late), None);
    }

    #[test]
    fn two_seals_of_one_value_differ_and_hide_it() {
        let sealer = Sealer::new(None).unwrap();
        let (a, b) = (
            sealer.seal(Use::Ticket, b"payload", MINUTE).unwrap(),
            sealer.seal(Use::Ticket, b"payload", MINUTE).unwrap(),
        );
        assert_ne!(a, b);
        assert!(!a.windows(7).any(|window| window == b"payload"));
    }

    #[test]
    fn a_short_key_is_refused_without_showing_it() {
        let error = Sealer::new(Some(&Secret::new("hunter2"))).unwrap_err();
        assert_eq!(error.class, Class::BadRequest);
        assert!(!error.to_string().contains("hunter2"));
    }
}
