//! The interactive shell: a conversation in SQL, and commands that begin with a backslash.
//!
//! ```text
//! line (editor) --text--> command | statement --target--> rows --printer--> screen, pager or file
//!   ^ Tab: names that the user may see, fetched beside the conversation
//! ```
//!
//! An error ends its statement and never the conversation. The shell asks for nothing that its user could not ask for:
//! what it shows and completes comes from statements of theirs. Rows go to stdout, all else to stderr, and the line that
//! is being typed to the terminal.

mod command;
mod complete;
mod describe;
mod edit;
mod history;
mod keywords;
mod line;
mod names;
mod output;
mod paint;
mod scope;

use std::path::Path;

use futures::FutureExt;
use futures::future::BoxFuture;

use self::command::{COMMANDS, Command, bare, parse};
use self::line::{Input, Line};
use self::names::Fetcher;
use self::output::Output;
use super::sql::{Counted, Progress, Show, Target, read_script, run};
use super::statements::split;
use super::words::pieces;
use super::{Failure, Outcome, terminal};
use crate::error::{Class, Error};
use crate::format::Format;
use crate::session::functions;

/// How deep files may include each other.
const DEEPEST: usize = 16;

/// Talks with a person until they leave.
///
/// # Errors
/// When the terminal cannot be used.
pub async fn converse(target: Target, format: Format) -> Outcome {
    // Once somebody has listened for it, Ctrl-C ends the process no more.
    let _ = tokio::signal::ctrl_c().now_or_never();
    let mut shell = Shell {
        line: Line::open(functions())?,
        names: Fetcher::default(),
        output: Output::new(format),
        timing: true,
        last: String::new(),
        begun: String::new(),
        target,
    };
    terminal::say(&format!("polder {}: {}", env!("CARGO_PKG_VERSION"), shell.target.title()));
    terminal::say("A statement ends with a semicolon; \\? lists the commands, \\q leaves.");
    loop {
        shell.names.refresh(&shell.target);
        let (prompt, begun) = (shell.prompt(), std::mem::take(&mut shell.begun));
        let known = shell.names.known.clone();
        let input = tokio::task::block_in_place(|| shell.line.read(&prompt, &begun, known))?;
        let text = match input {
            Input::Text(text) => text,
            Input::Cleared => continue,
            Input::End => return Ok(()),
        };
        shell.line.keep(&text);
        match shell.take(&text, 0).await {
            Ok(Flow::On) => {}
            Ok(Flow::Leave) => return Ok(()),
            Err(failure) => tell(&failure),
        }
    }
}

/// Whether the conversation goes on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Flow {
    On,
    Leave,
}

/// A conversation.
struct Shell {
    target: Target,
    line: Line,
    names: Fetcher,
    output: Output,
    timing: bool,
    /// The statement that was run last.
    last: String,
    /// What stands on the next line already.
    begun: String,
}

/// A command that is none never reached the engine, so the engine's word for what went wrong is left out.
fn misspelt(error: Error) -> Failure {
    let help = error.help.map(|help| format!("\nhelp: {help}"));
    Failure::Environment(format!("{}{}", error.message, help.unwrap_or_default()))
}

fn tell(failure: &Failure) {
    match failure {
        Failure::Error(error) => terminal::say_error(error),
        Failure::Environment(message) => terminal::say(&format!("error: {message}")),
        // Who leaves the pager has seen enough.
        Failure::Findings | Failure::Unwanted => {}
    }
}

impl Shell {
    fn prompt(&self) -> String {
        match self.target.purpose() {
            None => "polder> ".to_owned(),
            Some(purpose) => format!("polder (for {purpose})> "),
        }
    }

    /// Runs statements and commands, one after the other, up to the first that fails. Boxed, since a file may include
    /// others.
    fn take<'a>(&'a mut self, text: &'a str, depth: usize) -> BoxFuture<'a, Result<Flow, Failure>> {
        Box::pin(async move {
            let mut pending = String::new();
            for line in text.split_inclusive('\n') {
                let between = is_between(&pending);
                let command = if line.trim_start().starts_with('\\') { Some(parse(line)) } else { bare(line).map(Ok) };
                match command.filter(|_| between) {
                    Some(command) => {
                        if self.obey(command.map_err(misspelt)?, depth).await? == Flow::Leave {
                            return Ok(Flow::Leave);
                        }
                    }
                    None => {
                        pending.push_str(line);
                        let (statements, rest) = split(&pending);
                        pending = rest;
                        for statement in statements {
                            self.run(&statement).await?;
                        }
                    }
                }
            }
            if !is_between(&pending) {
                self.run(&pending).await?;
            }
            Ok(Flow::On)
        })
    }

    async fn obey(&mut self, command: Command, depth: usize) -> Result<Flow, Failure> {
        match command {
            Command::Quit => return Ok(Flow::Leave),
            Command::Help => help(),
            Command::Describe(None) => self.show(&describe::tables(None), Counted::Silent).await?,
            Command::Describe(Some((domain, product))) => self.describe(&domain, &product).await?,
            Command::Tables(pattern) => self.show(&describe::tables(pattern.as_deref()), Counted::Silent).await?,
            Command::Domains => self.show(describe::DOMAINS, Counted::Silent).await?,
            Command::Mesh => self.show(describe::MESH, Counted::Silent).await?,
            Command::Expand(expanded) => self.output.expand(expanded),
            Command::Timing(on) => {
                self.timing = on.unwrap_or(!self.timing);
                terminal::say(&format!("timing is {}", if self.timing { "on" } else { "off" }));
            }
            Command::Format(format) => self.output.write_as(format)?,
            Command::Out(file) => self.output.send_to(file)?,
            Command::Include(file) => return self.include(&file, depth).await,
            Command::Edit(file) => return self.edit(file.as_deref(), depth).await,
        }
        Ok(Flow::On)
    }

    /// Runs a statement of the user's.
    async fn run(&mut self, sql: &str) -> Outcome {
        self.last = sql.trim().to_owned();
        let purpose = self.target.purpose().map(str::to_owned);
        let counted = if self.timing { Counted::RowsAndTime } else { Counted::Rows };
        let outcome = self.show(sql, counted).await;
        if self.target.purpose() != purpose.as_deref() {
            self.names.forget();
        }
        outcome
    }

    async fn show(&mut self, sql: &str, counted: Counted) -> Outcome {
        let progress = Progress::new(terminal::watched());
        let (format, look, sink) = self.output.open(self.line.size(), &progress)?;
        let outcome = run(&mut self.target, sql, Show { format, look, counted }, sink, &progress).await;
        self.output.done(outcome.is_ok());
        outcome
    }

    /// What a product is, its columns and how they may be read, and the rules on its rows.
    async fn describe(&mut self, domain: &str, product: &str) -> Outcome {
        let about = self.ask(&describe::product(domain, product)).await?;
        let Some(about) = about.into_iter().next() else {
            // A table of the mesh's own, or a name that means nothing to this user: the engine tells.
            return self.show(&describe::other(domain, product), Counted::Silent).await;
        };
        let mut about = about.into_iter().map(Option::unwrap_or_default);
        let [version, status, owner, contact, description] = std::array::from_fn(|_| about.next().unwrap_or_default());
        terminal::say(&format!("{domain}.{product} {version}, {status}, owned by {owner} ({contact})"));
        if !description.is_empty() {
            terminal::say(&description);
        }
        let rules = self.ask(&describe::rules(domain, product)).await?;
        self.show(&describe::columns(domain, product), Counted::Silent).await?;
        for rule in rules {
            let mut rule = rule.into_iter().map(Option::unwrap_or_default);
            let (effect, policy) = (rule.next().unwrap_or_default(), rule.next().unwrap_or_default());
            terminal::say(&format!("rows {effect}{}{policy}", if policy.is_empty() { "" } else { " by " }));
        }
        Ok(())
    }

    /// A question of the shell's own. Ctrl-C ends it like any other.
    async fn ask(&mut self, sql: &str) -> Result<Vec<Vec<Option<String>>>, Failure> {
        tokio::select! {
            biased;
            _ = tokio::signal::ctrl_c() => Err(Error::new(Class::Cancelled, "the command was interrupted").into()),
            rows = self.target.texts(sql) => Ok(rows?),
        }
    }

    async fn include(&mut self, file: &Path, depth: usize) -> Result<Flow, Failure> {
        if depth >= DEEPEST {
            return Err(Failure::Environment(format!("`{}` is included too deep", file.display())));
        }
        let script = read_script(file)?;
        self.take(&script, depth + 1).await
    }

    /// Lets the user edit, runs the statements that have their semicolon, and leaves the rest on the line.
    async fn edit(&mut self, file: Option<&Path>, depth: usize) -> Result<Flow, Failure> {
        let edited = tokio::task::block_in_place(|| match file {
            Some(file) => edit::edit_file(file).map(Some),
            None if self.last.is_empty() => edit::edit(""),
            None => edit::edit(&format!("{};\n", self.last)),
        })?;
        let Some(edited) = edited else {
            terminal::say("nothing was changed, so nothing is run");
            return Ok(Flow::On);
        };
        let (statements, rest) = split(&edited);
        self.begun = rest.trim().to_owned();
        let whole: String = statements.iter().map(|statement| format!("{};\n", statement.trim())).collect();
        terminal::say(whole.trim_end());
        self.line.keep(&whole);
        self.take(&whole, depth + 1).await
    }
}

/// Whether no statement has begun in this text, so that a command may follow.
fn is_between(pending: &str) -> bool {
    pieces(pending).all(|piece| piece.is_blank() && (piece.closed || piece.text.starts_with("--")))
}

fn help() {
    for command in COMMANDS {
        let usage = format!("{} {}", command.name, command.takes);
        terminal::say(&format!("  {usage:<20}{}", command.help));
    }
    terminal::say("");
    terminal::say(
        "  Tab completes names that you may see; Ctrl-C cancels a statement or clears the line; Ctrl-R searches",
    );
    terminal::say(
        "  what was typed before. SET polder.purpose = '…' declares a purpose, EXPLAIN POLICY SELECT … tells why.",
    );
}

#[cfg(test)]
mod tests {
    use super::is_between;

    #[test]
    fn commands_stand_between_statements_and_not_inside_of_them() {
        for between in ["", "\n", "-- a\n", "/* a */ "] {
            assert!(is_between(between), "{between:?}");
        }
        for inside in ["SELECT", "/* a", "'"] {
            assert!(!is_between(inside), "{inside:?}");
        }
    }
}
