//! Secrets: values that are read from where the mesh's files point, and that nothing prints.
//!
//! ```compile_fail
//! let secret = polder_catalog::secret::Secret::new("hunter2");
//! println!("{secret}"); // no Display: a secret cannot slip into a message
//! ```

use std::fmt;
use std::io;

use crate::document::file::Tree;

/// A secret value. It has no `Display`, and its `Debug` is redacted.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret(String);

impl Secret {
    /// Wraps a value so that nothing prints it.
    pub fn new(value: impl Into<String>) -> Self {
        Self(value.into())
    }

    /// The value, for the one call that needs it.
    pub fn expose(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret(…)")
    }
}

/// Why a secret could not be read. It never carries the value.
#[derive(Debug, thiserror::Error)]
pub(crate) enum SecretError {
    #[error("a secret stands here as a literal")]
    Literal,
    #[error("this is not a reference to a secret")]
    Malformed,
    #[error("the environment variable `{0}` is not set")]
    Unset(String),
    #[error("the environment variable `{0}` is not UTF-8")]
    VariableNotText(String),
    #[error("cannot read the secret file `{0}`: {1}")]
    File(String, io::Error),
    #[error("the secret in `{0}` is empty")]
    Empty(String),
}

impl SecretError {
    /// How to write it instead.
    pub fn help(&self) -> &'static str {
        match self {
            Self::Literal | Self::Malformed => "write `${env:NAME}` or `${file:PATH}`",
            Self::Unset(_) | Self::VariableNotText(_) => "set it in the environment of the process that loads the mesh",
            Self::File(..) => "the path is relative to the mesh directory",
            Self::Empty(_) => "an empty secret protects nothing",
        }
    }
}

/// A secret file is a key or a hash, not a document.
const MAX_BYTES: u64 = 64 << 10;

impl Secret {
    /// Whether `text` tries to refer to a secret.
    pub(crate) fn is_reference(text: &str) -> bool {
        text.contains("${")
    }

    /// Reads the secret that `text` refers to; files are those of `tree`.
    pub(crate) fn resolve(text: &str, tree: &Tree<'_>) -> Result<Self, SecretError> {
        if !Self::is_reference(text) {
            return Err(SecretError::Literal);
        }
        let inner = text.strip_prefix("${").and_then(|rest| rest.strip_suffix('}')).ok_or(SecretError::Malformed)?;
        let value = match inner.split_once(':') {
            Some(("env", name)) if !name.is_empty() && !name.contains(['=', '\0', '$', '}']) => variable(name)?,
            Some(("file", path)) if !path.is_empty() && !path.contains(['\0', '$', '}']) => {
                file(tree, path).map_err(|error| SecretError::File(path.into(), error))?
            }
            _ => return Err(SecretError::Malformed),
        };
        if value.is_empty() {
            return Err(SecretError::Empty(inner.into()));
        }
        Ok(Self(value))
    }
}

fn variable(name: &str) -> Result<String, SecretError> {
    match std::env::var(name) {
        Ok(value) => Ok(value),
        Err(std::env::VarError::NotPresent) => Err(SecretError::Unset(name.into())),
        Err(std::env::VarError::NotUnicode(_)) => Err(SecretError::VariableNotText(name.into())),
    }
}

fn file(tree: &Tree<'_>, path: &str) -> io::Result<String> {
    let mut text = tree.read(path, MAX_BYTES)?;
    text.truncate(text.trim_end_matches(['\r', '\n']).len());
    Ok(text)
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing, reason = "tests")]
mod tests {
    use std::fs;
    use std::path::Path;

    use super::*;
    use crate::document::Watch;

    #[test]
    fn references_are_read_and_literals_refused() {
        let dir = tempfile::tempdir().unwrap();
        fs::write(dir.path().join("key"), "hunter2\r\n").unwrap();
        fs::write(dir.path().join("empty"), "\n").unwrap();
        let read = |text: &str| Secret::resolve(text, &Tree::Disk(dir.path(), &Watch::default()));
        assert_eq!(read("${file:key}").unwrap().expose(), "hunter2");
        let cargo = read("${env:CARGO_PKG_NAME}").unwrap();
        assert_eq!(cargo.expose(), "polder-catalog");
        assert!(matches!(read("hunter2"), Err(SecretError::Literal)));
        assert!(matches!(read(""), Err(SecretError::Literal)));
        assert!(matches!(read("x${env:A}"), Err(SecretError::Malformed)));
        assert!(matches!(read("${env:A}${env:B}"), Err(SecretError::Malformed)));
        assert!(matches!(read("${vault:A}"), Err(SecretError::Malformed)));
        assert!(matches!(read("${env:POLDER_NO_SUCH_VARIABLE}"), Err(SecretError::Unset(_))));
        assert!(matches!(read("${file:absent}"), Err(SecretError::File(..))));
        assert!(matches!(read("${file:.}"), Err(SecretError::File(..))));
        assert!(matches!(read("${file:empty}"), Err(SecretError::Empty(_))));
    }

    #[test]
    fn debug_shows_nothing() {
        assert_eq!(format!("{:?}", Secret::new("hunter2")), "Secret(…)");
        let error = Secret::resolve("hunter2", &Tree::Disk(Path::new("."), &Watch::default())).unwrap_err();
        assert!(!format!("{error} {error:?}").contains("hunter2"));
    }
}
