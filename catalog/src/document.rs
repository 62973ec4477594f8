//! The files on disk, and what is found wrong with them: every finding names file, line and column.

use std::fmt;
use std::sync::Arc;

use crate::name::DomainName;

/// A place in a file of the mesh.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Place {
    /// The file, relative to the mesh directory, with `/` between its parts.
    pub file: Arc<str>,
    /// The line, from 1.
    pub line: u32,
    /// The column in characters, from 1.
    pub column: u32,
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}:{}", self.file, self.line, self.column)
    }
}

/// How grave a finding is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Severity {
    /// Worth a look; everything is served.
    Warning,
    /// What it concerns is not served.
    Error,
}

/// Something wrong with the files of a mesh.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Finding {
    /// A stable code, `policy/unknown-attribute`.
    pub code: &'static str,
    /// How grave it is.
    pub severity: Severity,
    /// Where it is.
    pub place: Place,
    /// The domain that it takes out, or `None` when it concerns the whole mesh.
    pub domain: Option<DomainName>,
    /// What is wrong: lowercase, no trailing stop, the user's text in backticks.
    pub message: String,
    /// What to write instead.
    pub help: Option<String>,
}
