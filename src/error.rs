//! The error that leaves the engine: a class, a sentence, and help apart from it.

use std::fmt;

/// What kind of thing went wrong. The class alone decides wire codes and exit codes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Class {
    /// The statement or the call is not one that is served.
    BadRequest,
    /// A name that does not exist for this principal.
    UnknownName,
    /// It exists, and this principal may not have it.
    Denied,
    /// No credentials, or wrong ones.
    Unauthenticated,
    /// A limit was reached: time, memory, size.
    Limit,
    /// A catalog or an object store failed.
    Storage,
    /// A table does not keep its contract, or holds what is not supported.
    Drift,
    /// The client, the operator or a shutdown ended it.
    Cancelled,
    /// A defect of the engine.
    Bug,
}

impl Class {
    /// Every class, once.
    pub const ALL: [Self; 9] = [
        Self::BadRequest,
        Self::UnknownName,
        Self::Denied,
        Self::Unauthenticated,
        Self::Limit,
        Self::Storage,
        Self::Drift,
        Self::Cancelled,
        Self::Bug,
    ];

    /// The words for this class, as errors and logs show them.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::BadRequest => "bad request",
            Self::UnknownName => "unknown name",
            Self::Denied => "denied",
            Self::Unauthenticated => "unauthenticated",
            Self::Limit => "limit",
            Self::Storage => "storage",
            Self::Drift => "drift",
            Self::Cancelled => "cancelled",
            Self::Bug => "bug",
        }
    }

    /// The process's exit code: 1 when the query or the check failed, 2 for usage and environment.
    pub fn exit_code(self) -> u8 {
        match self {
            Self::BadRequest
            | Self::UnknownName
            | Self::Denied
            | Self::Limit
            | Self::Storage
            | Self::Drift
            | Self::Cancelled
            | Self::Bug => 1,
            Self::Unauthenticated => 2,
        }
    }
}

/// An error that leaves the engine. Its text holds no data values and no secrets.
#[derive(Debug, Clone)]
pub struct Error {
    /// What kind of thing went wrong.
    pub class: Class,
    /// What went wrong: lowercase, no trailing stop, the user's text in backticks.
    pub message: String,
    /// What would help.
    pub help: Option<String>,
}

impl Error {
    /// An error without help.
    pub fn new(class: Class, message: impl Into<String>) -> Self {
        Self { class, message: message.into(), help: None }
    }

    /// The same error with help.
    #[must_use]
    pub fn help(mut self, help: impl Into<String>) -> Self {
        self.help = Some(help.into());
        self
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.class.as_str(), self.message)?;
        if let Some(help) = &self.help {
            write!(f, "\nhelp: {help}")?;
        }
        Ok(())
    }
}

impl std::error::Error for Error {}

/// The longest text of an error on the wire, in bytes. One of gRPC travels in a header block of a few kilobytes.
pub const LONGEST: usize = 2048;

/// The text of an error as it goes over the wire: what it quotes may be as long as a statement, or a value.
pub fn cut(mut text: String) -> String {
    if text.len() > LONGEST {
        text.truncate(text.floor_char_boundary(LONGEST));
        text.push('…');
    }
    text
}
