//! Words for people: everything that is not data goes to stderr.

use std::io::{IsTerminal, Write};
use std::process::Command;

use super::log;
use crate::error::Error;
use crate::format::harmless;

/// Writes lines to stderr, whoever worded them. A closed stderr is nobody's failure.
pub fn say(lines: &str) {
    let lines = harmless(lines, |c| matches!(c, '\n' | '\t'));
    let _ = match log::said(&lines) {
        Some(line) => writeln!(std::io::stderr().lock(), "{line}"),
        None => writeln!(std::io::stderr().lock(), "{lines}"),
    };
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
