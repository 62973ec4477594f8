//! Words for people: everything that is not data goes to stderr.

use std::io::{IsTerminal, Write};
use std::process::Command;

use crate::error::Error;
use crate::format::harmless;

/// Writes lines to stderr, whoever worded them. A closed stderr is nobody's failure.
pub fn say(lines: &str) {
    let _ = writeln!(std::io::stderr().lock(), "{}", harmless(lines, |c| matches!(c, '\n' | '\t')));
}

/// Writes an error to stderr.
pub fn say_error(error: &Error) {
    say(&format!("error: {error}"));
}

/// Whether a person looks at stderr.
pub fn watched() -> bool {
    std::io::stderr().is_terminal()
}

/// Whether colours may be used: not where somebody asked for none, or on a terminal that has none.
pub fn colors() -> bool {
    let none = std::env::var_os("NO_COLOR").is_some_and(|value| !value.is_empty());
    let plain = std::env::var_os("TERM").is_none_or(|term| term == "dumb");
    !none && !plain
}

/// A command line of the user's own, such as their pager or editor. It gets none of their credentials.
pub fn shell(command: &str) -> Command {
    let mut shell = Command::new("sh");
    shell.arg("-c").arg(command).env_remove("POLDER_PASSWORD").env_remove("POLDER_TOKEN");
    shell
}
