//! The statements that were typed: kept in a file that only its owner reads, without those that hold a secret.
//!
//! What begins with a space is not kept, nor is what looks like a password, a token or a key. Where the file cannot be
//! written, statements are kept until the shell ends.

use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};

use crate::cli::words::{Kind, pieces};

/// How many statements are kept.
pub const LENGTH: usize = 2000;

/// Parts of names whose values are secrets.
const NAMES: [&str; 9] =
    ["password", "passwd", "pwd", "secret", "token", "api_key", "apikey", "credential", "private_key"];

/// Where the statements are kept: in the user's state directory.
pub fn file(variable: impl Fn(&str) -> Option<std::ffi::OsString>) -> Option<PathBuf> {
    let given = variable("XDG_STATE_HOME").map(PathBuf::from).filter(|dir| dir.is_absolute());
    let own = || variable("HOME").map(|home| PathBuf::from(home).join(".local/state")).filter(|dir| dir.is_absolute());
    Some(given.or_else(own)?.join("polder/history"))
}

/// Makes the directory of the file, for its owner alone.
///
/// # Errors
/// When it cannot be made.
pub fn prepare(file: &Path) -> std::io::Result<()> {
    let Some(dir) = file.parent() else { return Ok(()) };
    std::fs::DirBuilder::new().recursive(true).mode(0o700).create(dir)
}

/// Whether a statement is kept.
pub fn keeps(statement: &str) -> bool {
    !statement.starts_with(char::is_whitespace) && !statement.trim().is_empty() && !holds_secret(statement)
}

/// Whether a statement looks as if it held a secret: a name that says so beside a text, or a text that is one by its form.
fn holds_secret(statement: &str) -> bool {
    let mut named = false;
    let mut has_text = false;
    for piece in pieces(statement) {
        match piece.kind {
            Kind::Word | Kind::Quoted => {
                let name = piece.text.to_lowercase();
                named |= NAMES.iter().any(|secret| name.contains(secret));
            }
            Kind::Text => {
                has_text = true;
                if is_secret(piece.text) {
                    return true;
                }
            }
            Kind::Space | Kind::Comment | Kind::Number | Kind::Sign => {}
        }
    }
    // Somebody pasted one: no statement begins so.
    named && has_text || is_secret(statement)
}

/// Whether a text has the form of a secret: a JSON web token, a key in PEM, an access key, a URL with a password.
fn is_secret(text: &str) -> bool {
    let web_token = text.split(|c: char| !(c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.')));
    let mut web_token = web_token.filter(|word| word.starts_with("eyJ"));
    web_token.any(|word| word.matches('.').count() >= 2)
        || text.contains("PRIVATE KEY-----")
        || text.match_indices("AKIA").any(|(at, _)| {
            text.get(at..at + 20).is_some_and(|key| key.chars().all(|c| c.is_ascii_uppercase() || c.is_ascii_digit()))
        })
        || text.split("://").skip(1).any(|rest| {
            let authority = rest.split(['/', '?', '#', '\'', '"', ' ']).next().unwrap_or_default();
            authority.rsplit_once('@').is_some_and(|(user, _)| user.contains(':'))
        })
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "tests")]
mod tests {
    use super::*;

    #[test]
    fn statements_are_kept_unless_they_begin_with_a_space_or_hold_a_secret() {
        for kept in [
            "SELECT * FROM storefront.customers;",
            "SELECT token_count FROM a.b WHERE city = Ghent",
            "SELECT count(*) FROM a.b WHERE url = 'https://a.example/x@y:z'",
            "SELECT 'eyJ' FROM a.b",
            "\\d storefront.customers",
        ] {
            assert!(keeps(kept), "{kept}");
        }
        for dropped in [
            " SELECT 1;",
            "",
            "SELECT * FROM a.b WHERE password = 'hunter2';",
            "SELECT * FROM a.b WHERE \"API_KEY\" IN ('x');",
            "SELECT 'eyJhbGciOiJub25lIn0.eyJzdWIiOiJhIn0.x';",
            "SELECT '-----BEGIN PRIVATE KEY-----';",
            "SELECT 'AKIAIOSFODNN7EXAMPLE';",
            "SELECT 'postgres://ada:hunter2@db/x';",
            "SELECT 'https://a.example', 'https://ada:hunter2@a.example';",
            "eyJhbGciOiJub25lIn0.eyJzdWIiOiJhIn0.x",
        ] {
            assert!(!keeps(dropped), "{dropped}");
        }
    }

    #[test]
    fn they_are_kept_in_the_users_state_directory() {
        let at = |state: Option<&str>, home: Option<&str>| {
            file(|name| if name == "HOME" { home.map(Into::into) } else { state.map(Into::into) })
        };
        assert_eq!(at(Some("/s"), Some("/h")), Some("/s/polder/history".into()));
        assert_eq!(at(None, Some("/h")), Some("/h/.local/state/polder/history".into()));
        assert_eq!(at(Some("relative"), Some("/h")), Some("/h/.local/state/polder/history".into()));
        assert_eq!(at(None, None), None);
    }
}
