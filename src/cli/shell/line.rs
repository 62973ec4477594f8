//! The line that is being typed: several lines until a statement ends, in colours, with Tab and a history.

use std::borrow::Cow;
use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;

use rustyline::completion::{Completer, Pair};
use rustyline::error::ReadlineError;
use rustyline::highlight::{CmdKind, Highlighter};
use rustyline::hint::Hinter;
use rustyline::history::FileHistory;
use rustyline::validate::{ValidationContext, ValidationResult, Validator};
use rustyline::{Behavior, ColorMode, CompletionType, Config, Context, Editor, Helper};

use super::command::bare;
use super::complete::complete;
use super::names::Known;
use super::{history, paint};
use crate::cli::sql::Size;
use crate::cli::statements::{is_blank, split};
use crate::cli::terminal;

/// What came from the terminal.
#[derive(Debug, PartialEq, Eq)]
pub enum Input {
    /// One or more whole statements, or a command.
    Text(String),
    /// Ctrl-C: what was typed is gone.
    Cleared,
    /// Ctrl-D, or the end of the terminal.
    End,
}

/// The editor and its history.
pub struct Line {
    editor: Editor<Guide, FileHistory>,
    /// Where statements are kept; nowhere once that has failed.
    file: Option<PathBuf>,
}

impl Line {
    /// An editor with the history of before.
    ///
    /// # Errors
    /// When the terminal cannot be used.
    pub fn open(functions: Vec<String>) -> std::io::Result<Self> {
        let color = if terminal::colors() { ColorMode::Enabled } else { ColorMode::Disabled };
        let config = Config::builder()
            .max_history_size(history::LENGTH)
            .and_then(|config| config.history_ignore_dups(true))
            .map_err(failed)?
            .history_ignore_space(true)
            .completion_type(CompletionType::List)
            .completion_show_all_if_ambiguous(true)
            .color_mode(color)
            // Not stdout: that is for rows, and may be a file.
            .behavior(Behavior::PreferTerm)
            .build();
        let mut editor = Editor::with_config(config).map_err(failed)?;
        editor.set_helper(Some(Guide { known: Known::default(), functions }));
        let mut line = Self { editor, file: history::file(|name| std::env::var_os(name)) };
        line.load();
        Ok(line)
    }

    fn load(&mut self) {
        let Some(file) = &self.file else { return };
        let loaded = history::prepare(file).map_err(ReadlineError::Io).and_then(|()| match file.exists() {
            true => {
                std::fs::set_permissions(file, std::fs::Permissions::from_mode(0o600))?;
                self.editor.load_history(file)
            }
            false => Ok(()),
        });
        self.without_file(loaded);
    }

    /// Goes on without a file when it cannot be used.
    fn without_file(&mut self, done: Result<(), ReadlineError>) {
        let Err(error) = done else { return };
        if let Some(file) = self.file.take() {
            terminal::say(&format!("note: statements are not kept in `{}`: {error}", file.display()));
        }
    }

    /// Waits for a whole statement or a command. `begun` stands there already.
    ///
    /// # Errors
    /// When the terminal cannot be read.
    pub fn read(&mut self, prompt: &str, begun: &str, known: Known) -> std::io::Result<Input> {
        if let Some(guide) = self.editor.helper_mut() {
            guide.known = known;
        }
        match self.editor.readline_with_initial(prompt, (begun, "")) {
            Ok(text) => Ok(Input::Text(text)),
            Err(ReadlineError::Interrupted) => Ok(Input::Cleared),
            Err(ReadlineError::Eof) => Ok(Input::End),
            Err(error) => Err(failed(error)),
        }
    }

    /// Keeps what was typed, unless it is none of anybody's business.
    pub fn keep(&mut self, text: &str) {
        if !history::keeps(text) || !self.editor.add_history_entry(text.trim_end()).unwrap_or(false) {
            return;
        }
        let Some(file) = &self.file else { return };
        let kept = self.editor.append_history(file);
        self.without_file(kept);
    }

    /// The size of the terminal.
    pub fn size(&mut self) -> Option<Size> {
        let (columns, rows) = self.editor.dimensions()?;
        Some(Size { columns: columns.into(), rows: rows.into() })
    }
}

fn failed(error: ReadlineError) -> std::io::Error {
    match error {
        ReadlineError::Io(error) => error,
        error => std::io::Error::other(error),
    }
}

/// What the editor asks while somebody types.
struct Guide {
    known: Known,
    functions: Vec<String>,
}

impl Helper for Guide {}

impl Hinter for Guide {
    type Hint = String;
}

impl Validator for Guide {
    fn validate(&self, context: &mut ValidationContext<'_>) -> rustyline::Result<ValidationResult> {
        Ok(if is_whole(context.input()) { ValidationResult::Valid(None) } else { ValidationResult::Incomplete })
    }
}

impl Highlighter for Guide {
    fn highlight<'l>(&self, line: &'l str, _: usize) -> Cow<'l, str> {
        Cow::Owned(paint::paint(line))
    }

    fn highlight_char(&self, _: &str, _: usize, kind: CmdKind) -> bool {
        kind != CmdKind::MoveCursor
    }
}

impl Completer for Guide {
    type Candidate = Pair;

    fn complete(&self, line: &str, at: usize, _: &Context<'_>) -> rustyline::Result<(usize, Vec<Pair>)> {
        Ok(complete(line, at, &self.known.now(), &self.functions))
    }
}

/// Whether Enter runs what is typed: a command, or statements of which the last one has its semicolon.
fn is_whole(text: &str) -> bool {
    text.trim_start().starts_with('\\') || bare(text).is_some() || is_blank(&split(text).1)
}

#[cfg(test)]
mod tests {
    use super::is_whole;

    #[test]
    fn a_statement_ends_with_its_semicolon_and_a_command_with_its_line() {
        for whole in ["", "  ", "SELECT 1;", "SELECT 1; SELECT 2; -- done", "\\d", "quit", "exit;"] {
            assert!(is_whole(whole), "{whole}");
        }
        for part in ["SELECT 1", "SELECT 1; SELECT", "SELECT ';", "SELECT /* ;", "SELECT 1 -- ;", "quit now"] {
            assert!(!is_whole(part), "{part}");
        }
    }
}
