//! Where the rows of the conversation go, and how they look there: `\o`, `\format` and `\x`.

use std::fs::File;
use std::io::IsTerminal;
use std::path::{Path, PathBuf};

use crate::cli::sql::{Progress, Sink, Size, keeps_colors, pager};
use crate::cli::{Failure, Outcome, terminal};
use crate::format::{Expanded, Format, Look};

/// Where rows go, and how they look.
pub struct Output {
    format: Format,
    expanded: Expanded,
    out: Option<Out>,
    on_terminal: bool,
}

/// A file that rows are sent to.
struct Out {
    path: PathBuf,
    file: File,
    format: Format,
}

impl Output {
    /// To stdout.
    pub fn new(format: Format) -> Self {
        Self { format, expanded: Expanded::Off, out: None, on_terminal: std::io::stdout().is_terminal() }
    }

    /// Changes whether rows are blocks of lines, or turns it over.
    pub fn expand(&mut self, expanded: Option<Expanded>) {
        let turned = if self.expanded == Expanded::Off { Expanded::On } else { Expanded::Off };
        self.expanded = expanded.unwrap_or(turned);
        terminal::say(match self.expanded {
            Expanded::Off => "each row is a line",
            Expanded::On => "each row is a block of lines",
            Expanded::Auto => "a row too wide for the terminal is a block of lines",
        });
    }

    /// Changes the format of the rows, where they go now; without one, says which it is.
    ///
    /// # Errors
    /// When the terminal would get bytes.
    pub fn write_as(&mut self, format: Option<Format>) -> Outcome {
        let now = match (&mut self.out, format) {
            (Some(out), Some(format)) => {
                out.format = format;
                format
            }
            (None, Some(format)) if format.is_binary() && self.on_terminal => {
                return Err(Failure::Environment(
                    "this format is no text for a terminal: name a file with `\\o` first".to_owned(),
                ));
            }
            (None, Some(format)) => {
                self.format = format;
                format
            }
            (Some(out), None) => out.format,
            (None, None) => self.format,
        };
        terminal::say(&format!("rows are written as {}", name(now)));
        Ok(())
    }

    /// Sends rows to a file, in the format that its name ends with, or to stdout again.
    ///
    /// # Errors
    /// When the file cannot be made.
    pub fn send_to(&mut self, path: Option<PathBuf>) -> Outcome {
        self.out = match path {
            None => None,
            Some(path) => {
                let file = File::create(&path).map_err(|error| {
                    Failure::Environment(format!("`{}` cannot be written: {error}", path.display()))
                })?;
                let format = format_of(&path).unwrap_or(self.format);
                terminal::say(&format!("rows go to `{}` as {}", path.display(), name(format)));
                Some(Out { path, file, format })
            }
        };
        Ok(())
    }

    /// Where the next result goes, and how it looks there.
    ///
    /// # Errors
    /// When the file cannot be used any more.
    pub fn open(&self, size: Option<Size>, progress: &Progress) -> std::io::Result<(Format, Look, Sink)> {
        let plain = Look { expanded: self.expanded, columns: None, color: false };
        if let Some(out) = &self.out {
            return Ok((out.format, plain, Sink::file(out.file.try_clone()?, progress)));
        }
        let (true, Some(size)) = (self.on_terminal, size) else {
            return Ok((self.format, plain, Sink::stdout(progress)));
        };
        let pager = pager();
        let color = terminal::colors() && keeps_colors(pager.as_deref());
        let look = Look { columns: Some(size.columns), color, ..plain };
        Ok((self.format, look, Sink::screen(size, pager, progress)))
    }

    /// A result has been written, or a part of it.
    pub fn done(&mut self, whole: bool) {
        // Some formats hold one result and no second one behind it.
        let Some(out) = self.out.take_if(|out| !whole || !out.format.goes_on()) else { return };
        let is = if whole { "is written" } else { "does not hold all rows" };
        terminal::say(&format!("`{}` {is}; further rows come here", out.path.display()));
    }
}

/// The format that a file's name ends with.
fn format_of(path: &Path) -> Option<Format> {
    match path.extension()?.to_str()?.to_ascii_lowercase().as_str() {
        "csv" => Some(Format::Csv),
        "tsv" => Some(Format::Tsv),
        "json" => Some(Format::Json),
        "ndjson" | "jsonl" => Some(Format::Ndjson),
        "arrow" | "arrows" => Some(Format::Arrow),
        "parquet" => Some(Format::Parquet),
        "txt" => Some(Format::Table),
        _ => None,
    }
}

fn name(format: Format) -> &'static str {
    match format {
        Format::Table => "table",
        Format::Csv => "csv",
        Format::Tsv => "tsv",
        Format::Json => "json",
        Format::Ndjson => "ndjson",
        Format::Arrow => "arrow",
        Format::Parquet => "parquet",
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "tests")]
mod tests {
    use super::*;

    #[test]
    fn a_file_is_written_in_the_format_of_its_name() {
        assert_eq!(format_of(Path::new("a/b.CSV")), Some(Format::Csv));
        assert_eq!(format_of(Path::new("a.jsonl")), Some(Format::Ndjson));
        assert_eq!(format_of(Path::new("a.xlsx")), None);
        assert_eq!(format_of(Path::new("a")), None);
    }

    #[test]
    fn a_format_that_holds_one_result_gets_one() {
        let dir = tempfile::tempdir().unwrap();
        let mut output = Output::new(Format::Table);
        for (file, goes_on) in [("a.csv", true), ("a.parquet", false), ("a.json", false), ("a.ndjson", true)] {
            output.send_to(Some(dir.path().join(file))).ok().unwrap();
            output.done(true);
            assert_eq!(output.out.is_some(), goes_on, "{file}");
        }
        output.send_to(Some(dir.path().join("a.csv"))).ok().unwrap();
        output.done(false);
        assert!(output.out.is_none(), "half a result is not added to");
    }
}
