//! Words for people: everything that is not data goes to stderr.

use std::borrow::Cow;
use std::io::{IsTerminal, Write};
use std::process::Command;

use crate::error::Error;

/// Writes lines to stderr, whoever worded them. A closed stderr is nobody's failure.
pub fn say(lines: &str) {
    let _ = writeln!(std::io::stderr().lock(), "{}", harmless(lines, |c| matches!(c, '\n' | '\t')));
}

/// The text with what would move a cursor, ring a bell, begin an escape sequence or turn the order of letters written out,
/// but for what is kept.
pub fn harmless(text: &str, keep: impl Fn(char) -> bool) -> Cow<'_, str> {
    let turns = |c| matches!(c, '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}');
    let harms = |c: char| (c.is_control() || turns(c)) && !keep(c);
    if !text.contains(&harms) {
        return Cow::Borrowed(text);
    }
    let mut safe = String::with_capacity(text.len());
    for letter in text.chars() {
        if harms(letter) { safe.extend(letter.escape_default()) } else { safe.push(letter) }
    }
    Cow::Owned(safe)
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

#[cfg(test)]
mod tests {
    use super::harmless;

    #[test]
    fn no_text_takes_hold_of_the_terminal() {
        assert_eq!(harmless("a\nb\u{1b}[2J\u{202e}é", |_| false), "a\\nb\\u{1b}[2J\\u{202e}é");
        assert_eq!(harmless("a\nb\r", |c| c == '\n'), "a\nb\\r");
    }
}
