//! Words for people: everything that is not data goes to stderr.

use std::io::{IsTerminal, Write};

use crate::error::Error;

/// Writes a line to stderr. A closed stderr is nobody's failure.
pub fn say(line: &str) {
    let _ = writeln!(std::io::stderr().lock(), "{line}");
}

/// Writes an error to stderr.
pub fn say_error(error: &Error) {
    say(&format!("error: {error}"));
}

/// Whether a person looks at stderr.
pub fn watched() -> bool {
    std::io::stderr().is_terminal()
}
