//! The commands of the shell itself: lines that begin with a backslash.

use std::path::PathBuf;

use clap::ValueEnum;
use polder_catalog::document::nearest;

use super::scope::plain;
use crate::cli::words::{Kind, Piece, pieces};
use crate::error::{Class, Error};
use crate::format::{Expanded, Format};

/// A command as it is listed and completed.
#[derive(Debug)]
pub struct Listed {
    pub name: &'static str,
    pub takes: &'static str,
    pub help: &'static str,
}

const fn listed(name: &'static str, takes: &'static str, help: &'static str) -> Listed {
    Listed { name, takes, help }
}

/// Every command.
pub const COMMANDS: [Listed; 12] = [
    listed("\\d", "[NAME]", "describe a product, or list them all"),
    listed("\\dt", "[PATTERN]", "list products: storefront.*, *order*"),
    listed("\\dn", "", "list domains"),
    listed("\\l", "", "list the mesh"),
    listed("\\x", "[on|off|auto]", "show each row as a block of lines"),
    listed("\\timing", "[on|off]", "say how long each result took"),
    listed("\\format", "[FORMAT]", "write rows as table, csv, tsv, json, ndjson, arrow or parquet"),
    listed("\\o", "[FILE]", "send rows to a file, in the format of its name; without one, here again"),
    listed("\\i", "FILE", "run the statements of a file"),
    listed("\\e", "[FILE]", "edit the last statement, or a file, in $EDITOR and run it"),
    listed("\\?", "", "list these commands"),
    listed("\\q", "", "leave"),
];

/// What a command line asks for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Command {
    Describe(Option<(String, String)>),
    Tables(Option<String>),
    Domains,
    Mesh,
    Expand(Option<Expanded>),
    Timing(Option<bool>),
    Format(Option<Format>),
    Out(Option<PathBuf>),
    Include(PathBuf),
    Edit(Option<PathBuf>),
    Help,
    Quit,
}

/// Whether a command takes the name of a file.
pub fn takes_file(name: &str) -> bool {
    matches!(name, "\\o" | "\\i" | "\\e")
}

/// Words that leave or ask for help without a backslash, as people try them.
pub fn bare(line: &str) -> Option<Command> {
    match line.trim().trim_end_matches(';').trim_end().to_ascii_lowercase().as_str() {
        "quit" | "exit" => Some(Command::Quit),
        "help" => Some(Command::Help),
        _ => None,
    }
}

/// Reads a line that begins with a backslash.
///
/// # Errors
/// `BadRequest` for a command that is not known, and for what it does not take.
pub fn parse(line: &str) -> Result<Command, Error> {
    let line = line.trim().trim_end_matches(';').trim_end();
    let (name, rest) = line.split_once(char::is_whitespace).unwrap_or((line, ""));
    let rest = rest.trim();
    let given = (!rest.is_empty()).then_some(rest);
    let file = given.map(path);
    let alone = |command| if given.is_none() { Ok(command) } else { Err(refused(name, rest)) };
    match name {
        "\\d" => Ok(Command::Describe(given.map(|name| table(name).ok_or_else(|| refused("\\d", name))).transpose()?)),
        "\\dt" => Ok(Command::Tables(given.map(str::to_owned))),
        "\\dn" => alone(Command::Domains),
        "\\l" => alone(Command::Mesh),
        "\\x" => match given {
            None => Ok(Command::Expand(None)),
            Some("on") => Ok(Command::Expand(Some(Expanded::On))),
            Some("off") => Ok(Command::Expand(Some(Expanded::Off))),
            Some("auto") => Ok(Command::Expand(Some(Expanded::Auto))),
            Some(other) => Err(refused(name, other)),
        },
        "\\timing" => match given {
            None => Ok(Command::Timing(None)),
            Some("on") => Ok(Command::Timing(Some(true))),
            Some("off") => Ok(Command::Timing(Some(false))),
            Some(other) => Err(refused(name, other)),
        },
        "\\format" => {
            let format = |text: &str| Format::from_str(text, true).map_err(|_| refused("\\format", text));
            Ok(Command::Format(given.map(format).transpose()?))
        }
        "\\o" => Ok(Command::Out(file)),
        "\\i" => file.map(Command::Include).ok_or_else(|| refused(name, "")),
        "\\e" => Ok(Command::Edit(file)),
        "\\?" | "\\h" | "\\help" => alone(Command::Help),
        "\\q" | "\\quit" => alone(Command::Quit),
        unknown => Err(unknown_command(unknown)),
    }
}

fn unknown_command(name: &str) -> Error {
    let near = nearest(name, COMMANDS.iter().map(|command| command.name)).filter(|_| name.chars().count() > 2);
    let near = near.map_or_else(String::new, |near| format!("did you mean `{near}`? "));
    Error::new(Class::BadRequest, format!("there is no command `{name}`")).help(format!("{near}`\\?` lists them"))
}

fn refused(name: &str, given: &str) -> Error {
    let message = match given {
        "" => format!("`{name}` needs something behind it"),
        given => format!("`{name}` does not take `{given}`"),
    };
    let takes = COMMANDS.iter().find(|command| command.name == name).map_or("", |command| command.takes);
    let usage = format!("{name} {takes}");
    Error::new(Class::BadRequest, message).help(format!("write `{}`", usage.trim_end()))
}

/// `domain.product` or `mesh.domain.product`, each part as SQL means it. A version needs no quotes here.
fn table(name: &str) -> Option<(String, String)> {
    let mut parts = vec![String::new()];
    for piece in pieces(name) {
        match piece {
            piece if piece.is(".") => parts.push(String::new()),
            piece if piece.is_blank() || !piece.closed => return None,
            piece => parts.last_mut()?.push_str(&part(&piece)),
        }
    }
    match parts.as_slice() {
        [.., domain, product] if parts.len() <= 3 && parts.iter().all(|part| !part.is_empty()) => {
            Some((domain.clone(), product.clone()))
        }
        _ => None,
    }
}

fn part(piece: &Piece<'_>) -> String {
    if piece.kind == Kind::Text { piece.text.to_owned() } else { plain(piece) }
}

/// A file's name, with or without quotes, where `~` is the user's home.
fn path(text: &str) -> PathBuf {
    let quoted = |quote: char| text.strip_prefix(quote).and_then(|inner| inner.strip_suffix(quote));
    let text = quoted('\'').or_else(|| quoted('"')).unwrap_or(text);
    match (text.strip_prefix("~/"), std::env::var_os("HOME")) {
        (Some(rest), Some(home)) => PathBuf::from(home).join(rest),
        _ => PathBuf::from(text.replace("\\ ", " ")),
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "tests")]
mod tests {
    use super::*;

    fn check(line: &str, expect: Command) {
        assert_eq!(parse(line).unwrap(), expect, "{line}");
    }

    fn refusal(line: &str) -> String {
        parse(line).unwrap_err().to_string()
    }

    #[test]
    fn commands_take_what_they_say() {
        let named = |domain: &str, product: &str| Command::Describe(Some((domain.into(), product.into())));
        check("\\d", Command::Describe(None));
        check("\\d Shop.Orders;", named("shop", "orders"));
        check("\\d shop.orders@1", named("shop", "orders@1"));
        check("\\d packly.shop.\"Odd.Name\"", named("shop", "Odd.Name"));
        check("\\d shop.orders$files", named("shop", "orders$files"));
        check("\\dt *order*", Command::Tables(Some("*order*".into())));
        check("\\x", Command::Expand(None));
        check("\\x auto", Command::Expand(Some(Expanded::Auto)));
        check("\\timing off", Command::Timing(Some(false)));
        check("\\format JSON", Command::Format(Some(Format::Json)));
        check("\\o 'my report.csv'", Command::Out(Some("my report.csv".into())));
        check("  \\i  a.sql ", Command::Include("a.sql".into()));
        check("\\q", Command::Quit);
        assert_eq!(bare(" Quit; "), Some(Command::Quit));
        assert_eq!(bare("SELECT 1"), None);
    }

    #[test]
    fn every_listed_command_is_known() {
        for command in COMMANDS {
            let known = parse(command.name).map_or_else(|error| !error.message.contains("no command"), |_| true);
            assert!(known, "{}", command.name);
        }
    }

    #[test]
    fn what_is_not_known_is_refused_with_what_was_meant() {
        let error = refusal("\\timng");
        assert!(
            error.contains("there is no command `\\timng`") && error.contains("did you mean `\\timing`?"),
            "{error}"
        );
        assert!(!refusal("\\z").contains("did you mean"), "one letter may mean any");
        assert!(refusal("\\format xml").contains("help: write `\\format [FORMAT]`"), "{}", refusal("\\format xml"));
        assert!(refusal("\\i").contains("`\\i` needs something behind it"));
        assert!(refusal("\\d customers").contains("write `\\d [NAME]`"));
        assert!(refusal("\\dn x").contains("write `\\dn`"), "{}", refusal("\\dn x"));
        assert!(refusal("\\x maybe").contains("does not take `maybe`"));
    }
}
