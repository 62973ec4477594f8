//! Values as YAML in blocks, two letters deeper per level.

use std::fmt::Write;

use super::Value;
use crate::document::yaml::{is_number, truth};

/// A key that is longer needs a mark before it.
const LONGEST_KEY: usize = 1_000;

pub(super) fn document(value: &Value) -> String {
    let mut out = String::new();
    match value {
        Value::List(items) if !items.is_empty() => list(&mut out, items, 0),
        Value::Map(entries) if !entries.is_empty() => map(&mut out, entries, 0),
        scalar => write_scalar(&mut out, scalar, 0),
    }
    out
}

/// The items, of which the first begins where `out` ends.
fn list(out: &mut String, items: &[Value], indent: usize) {
    for (nth, item) in items.iter().enumerate() {
        if nth > 0 {
            margin(out, indent);
        }
        out.push_str("- ");
        match item {
            Value::List(items) if !items.is_empty() => list(out, items, indent + 2),
            Value::Map(entries) if !entries.is_empty() => map(out, entries, indent + 2),
            scalar => write_scalar(out, scalar, indent + 2),
        }
    }
}

/// The entries, of which the first begins where `out` ends.
fn map(out: &mut String, entries: &[(std::sync::Arc<str>, Value)], indent: usize) {
    for (nth, (key, value)) in entries.iter().enumerate() {
        if nth > 0 {
            margin(out, indent);
        }
        let key = inline(key);
        if key.len() > LONGEST_KEY {
            out.push_str("? ");
            out.push_str(&key);
            out.push('\n');
            margin(out, indent);
        } else {
            out.push_str(&key);
        }
        out.push(':');
        match value {
            Value::List(items) if !items.is_empty() => {
                below(out, indent + 2);
                list(out, items, indent + 2);
            }
            Value::Map(entries) if !entries.is_empty() => {
                below(out, indent + 2);
                map(out, entries, indent + 2);
            }
            scalar => {
                out.push(' ');
                write_scalar(out, scalar, indent + 2);
            }
        }
    }
}

fn margin(out: &mut String, indent: usize) {
    out.extend(std::iter::repeat_n(' ', indent));
}

fn below(out: &mut String, indent: usize) {
    out.push('\n');
    margin(out, indent);
}

/// What needs no lines of its own, and a text of several lines.
fn write_scalar(out: &mut String, value: &Value, indent: usize) {
    match value {
        Value::Null => out.push_str("null"),
        Value::Plain(text) => out.push_str(text),
        Value::List(_) => out.push_str("[]"),
        Value::Map(_) => out.push_str("{}"),
        Value::Text(text) if indent > 0 && is_block(text) => {
            out.push_str(if text.ends_with('\n') { "|" } else { "|-" });
            for line in text.lines() {
                out.push('\n');
                if !line.is_empty() {
                    margin(out, indent);
                    out.push_str(line);
                }
            }
        }
        Value::Text(text) => out.push_str(&inline(text)),
    }
    out.push('\n');
}

/// Whether a text can stand as lines of its own and be read as it is.
fn is_block(text: &str) -> bool {
    let body = text.strip_suffix('\n').unwrap_or(text);
    body.contains('\n')
        && !body.ends_with('\n')
        && !body.starts_with([' ', '\n'])
        && body.lines().all(|line| line.is_empty() || !line.trim().is_empty())
        && text.chars().all(|letter| letter == '\n' || is_shown(letter))
}

/// Whether a letter stands in YAML as itself.
fn is_shown(letter: char) -> bool {
    !letter.is_control() && !matches!(letter, '\u{a0}' | '\u{2028}' | '\u{2029}' | '\u{feff}' | '\u{fffe}' | '\u{ffff}')
}

/// A text in one line, in quotes where it needs any.
fn inline(text: &str) -> String {
    if is_plain(text) {
        return text.to_owned();
    }
    let mut out = String::from("\"");
    for letter in text.chars() {
        match letter {
            '"' | '\\' => out.extend(['\\', letter]),
            '\n' => out.push_str("\\n"),
            '\t' => out.push_str("\\t"),
            '\r' => out.push_str("\\r"),
            letter if is_shown(letter) => out.push(letter),
            // Writing to a text does not fail.
            letter => drop(write!(out, "\\u{:04x}", u32::from(letter))),
        }
    }
    out.push('"');
    out
}

/// Whether a text can stand without quotes: no reader of YAML, of whichever version, takes it for anything else.
fn is_plain(text: &str) -> bool {
    const WORDS: [&str; 8] = ["true", "false", "null", "yes", "no", "on", "off", "y"];
    let lower = text.to_lowercase();
    let inside = |letter: char| letter.is_alphanumeric() || " _-./@+,()=;'!?%&*$:".contains(letter);
    text.starts_with(|letter: char| letter.is_alphabetic() || letter == '_' || letter == '/')
        && !text.ends_with([' ', ':'])
        && !text.contains(": ")
        && text.chars().all(inside)
        && !WORDS.contains(&lower.as_str())
        && lower != "n"
        && truth(text).is_none()
        && !is_number(text)
}
