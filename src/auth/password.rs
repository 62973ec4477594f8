//! Passwords against argon2id hashes: a few at a time, and as slow for an unknown user as for a known one.

use std::fmt;
use std::sync::Arc;

use argon2::password_hash::{PasswordHash, PasswordHasher, PasswordVerifier, SaltString};
use argon2::{ARGON2ID_IDENT, Argon2};
use polder_catalog::secret::Secret;
use tokio::sync::Semaphore;

use crate::error::{Class, Error};

/// Hashes at once: each takes a core and tens of megabytes.
const AT_ONCE: usize = 2;
/// Callers that may wait for their turn. More is an attack or a stampede, and gets an answer at once.
pub(super) const WAITING: usize = 256;
/// No password is longer. It bounds what a stranger can make us hash.
const LONGEST: usize = 1024;

/// Checks passwords on a bounded share of the machine.
pub(super) struct Passwords {
    running: Arc<Semaphore>,
    waiting: Semaphore,
    /// What an unknown user's password is checked against, for the time that it takes.
    nobody: Secret,
}

impl fmt::Debug for Passwords {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Passwords(…)")
    }
}

impl Passwords {
    pub(super) fn new() -> Result<Self, Error> {
        let nobody = SaltString::encode_b64(b"nobody's salt...")
            .and_then(|salt| Ok(Argon2::default().hash_password(b"nobody", &salt)?.to_string()))
            .map_err(|_| Error::new(Class::Bug, "the password hash of nobody could not be made"))?;
        Ok(Self {
            running: Arc::new(Semaphore::new(AT_ONCE)),
            waiting: Semaphore::new(WAITING),
            nobody: Secret::new(nobody),
        })
    }

    /// Whether `password` is the one behind `hash`. Without a hash the answer is no, after the same work.
    pub(super) async fn verify(&self, hash: Option<Secret>, password: &str) -> Result<bool, Error> {
        if password.len() > LONGEST {
            return Ok(false);
        }
        let busy = |_| Error::new(Class::Limit, "too many logins at once").help("try again in a moment");
        let stopping = |_| Error::new(Class::Cancelled, "the login was interrupted");
        let _place = self.waiting.try_acquire().map_err(busy)?;
        // The permit goes with the work: a caller who hangs up does not make room for a third hash.
        let permit = Arc::clone(&self.running).acquire_owned().await.map_err(stopping)?;
        let known = hash.is_some();
        let (hash, password) = (hash.unwrap_or_else(|| self.nobody.clone()), Secret::new(password));
        let matches = tokio::task::spawn_blocking(move || {
            let matches = matches(&hash, &password);
            drop(permit);
            matches
        })
        .await
        .map_err(|_| Error::new(Class::Bug, "checking a password failed"))?;
        Ok(known && matches)
    }
}

fn matches(hash: &Secret, password: &Secret) -> bool {
    match PasswordHash::new(hash.expose().trim()) {
        Ok(hash) if hash.algorithm == ARGON2ID_IDENT => {
            Argon2::default().verify_password(password.expose().as_bytes(), &hash).is_ok()
        }
        _ => {
            tracing::error!("a user's password hash is not an argon2id hash in PHC form");
            false
        }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "tests")]
mod tests {
    use super::*;

    fn hash(password: &str) -> Secret {
        let salt = SaltString::encode_b64(b"a salt of tests.").unwrap();
        Secret::new(Argon2::default().hash_password(password.as_bytes(), &salt).unwrap().to_string())
    }

    #[tokio::test]
    async fn only_the_password_behind_the_hash_is_right() {
        let passwords = Passwords::new().unwrap();
        assert!(passwords.verify(Some(hash("tulip")), "tulip").await.unwrap());
        assert!(!passwords.verify(Some(hash("tulip")), "Tulip").await.unwrap());
        assert!(!passwords.verify(Some(hash("tulip")), "").await.unwrap());
    }

    #[tokio::test]
    async fn nobody_has_no_password_that_works() {
        let passwords = Passwords::new().unwrap();
        assert!(!passwords.verify(None, "nobody").await.unwrap());
    }

    #[tokio::test]
    async fn a_hash_file_may_end_in_a_newline_but_must_be_argon2id() {
        let passwords = Passwords::new().unwrap();
        let ends_in_newline = Secret::new(format!("{}\n", hash("tulip").expose()));
        assert!(passwords.verify(Some(ends_in_newline), "tulip").await.unwrap());
        let argon2i = Secret::new(hash("tulip").expose().replace("argon2id", "argon2i"));
        assert!(!passwords.verify(Some(argon2i), "tulip").await.unwrap());
        assert!(!passwords.verify(Some(Secret::new("tulip")), "tulip").await.unwrap());
    }

    #[tokio::test]
    async fn a_stampede_is_turned_away_and_the_rest_is_served() {
        let passwords = Passwords::new().unwrap();
        let _taken = passwords.waiting.try_acquire_many(u32::try_from(WAITING).unwrap()).unwrap();
        assert_eq!(passwords.verify(Some(hash("tulip")), "tulip").await.unwrap_err().class, Class::Limit);
    }
}
