//! Where the rows of a statement go: to stdout, to a file, or page by page to a person.
//!
//! What fits the terminal is printed on it; what is longer or wider goes through the pager. So the first screenful is
//! held until it is known which: never more than that.

use std::fs::File;
use std::io::{BufWriter, IsTerminal, Stdout, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, Stdio};

use super::progress::Progress;
use crate::cli::terminal;
use crate::format::width;

/// How the default pager is asked to behave: chop long lines, keep colours, leave when all fits, leave the text there.
const LESS: &str = "SRFX";

/// The size of a terminal.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Size {
    pub columns: usize,
    pub rows: usize,
}

/// Where rows go.
pub struct Sink {
    to: To,
    progress: Progress,
}

enum To {
    Stdout { out: BufWriter<Stdout>, is_terminal: bool },
    File(BufWriter<File>),
    Screen(Box<Screen>),
}

/// A screen, and the pager for what does not fit it.
struct Screen {
    size: Size,
    pager: Option<String>,
    held: Vec<u8>,
    lines: usize,
    /// The line that is being written: the columns that it takes so far.
    column: usize,
    escape: Escape,
    page: Option<Page>,
}

/// Where in an escape sequence a byte is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Escape {
    Outside,
    Begun,
    Inside,
}

/// What has begun to show the text.
enum Page {
    Plain(BufWriter<Stdout>),
    Pager { child: Child, input: Option<BufWriter<ChildStdin>> },
}

impl Sink {
    /// Straight to stdout.
    pub fn stdout(progress: &Progress) -> Self {
        let out = std::io::stdout();
        let is_terminal = out.is_terminal();
        Self { to: To::Stdout { out: BufWriter::new(out), is_terminal }, progress: progress.clone() }
    }

    /// To a file that is open.
    pub fn file(file: File, progress: &Progress) -> Self {
        Self { to: To::File(BufWriter::new(file)), progress: progress.clone() }
    }

    /// To a person, through their pager where it is more than a screenful.
    pub fn screen(size: Size, pager: Option<String>, progress: &Progress) -> Self {
        let screen = Screen { size, pager, held: Vec::new(), lines: 0, column: 0, escape: Escape::Outside, page: None };
        Self { to: To::Screen(Box::new(screen)), progress: progress.clone() }
    }

    /// Writes what is left and waits until the person has seen it.
    ///
    /// # Errors
    /// When it cannot be written.
    pub fn close(mut self) -> std::io::Result<()> {
        match &mut self.to {
            To::Stdout { out, .. } => out.flush(),
            To::File(out) => out.flush(),
            To::Screen(screen) => {
                self.progress.stop();
                screen.close()
            }
        }
    }
}

impl Write for Sink {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        match &mut self.to {
            To::File(out) => out.write(bytes),
            To::Stdout { out, is_terminal } => {
                if *is_terminal {
                    self.progress.stop();
                }
                out.write(bytes)
            }
            To::Screen(screen) => {
                if screen.page.is_none() && !screen.hold(bytes) {
                    self.progress.stop();
                    screen.begin()?;
                }
                if let Some(page) = &mut screen.page {
                    // What was held ends with these bytes.
                    let held = std::mem::take(&mut screen.held);
                    page.write_all(if held.is_empty() { bytes } else { &held })?;
                }
                Ok(bytes.len())
            }
        }
    }

    fn flush(&mut self) -> std::io::Result<()> {
        match &mut self.to {
            To::Stdout { out, .. } => out.flush(),
            To::File(out) => out.flush(),
            To::Screen(screen) => screen.page.as_mut().map_or(Ok(()), Write::flush),
        }
    }
}

impl Screen {
    /// Keeps the bytes, and says whether all that is kept fits the screen.
    fn hold(&mut self, bytes: &[u8]) -> bool {
        self.held.extend_from_slice(bytes);
        for byte in bytes {
            self.escape = match (self.escape, byte) {
                (_, 0x1b) => Escape::Begun,
                (Escape::Begun, b'[') => Escape::Inside,
                (Escape::Inside, b'0'..=b'9' | b';') => Escape::Inside,
                (Escape::Outside, b'\n') => {
                    self.lines += 1;
                    self.column = 0;
                    Escape::Outside
                }
                (Escape::Outside, byte) => {
                    // The first byte of each letter; wide ones are told apart below.
                    if byte & 0xc0 != 0x80 {
                        self.column += 1;
                    }
                    Escape::Outside
                }
                _ => Escape::Outside,
            };
            if self.column > self.size.columns {
                return false;
            }
        }
        // A line for the prompt that follows, and one for the count.
        self.lines.saturating_add(2) <= self.size.rows && !self.is_wide()
    }

    /// Whether letters of two columns make a line of what is held too wide.
    fn is_wide(&self) -> bool {
        !self.held.is_ascii()
            && String::from_utf8_lossy(&self.held).lines().any(|line| width(&without_escapes(line)) > self.size.columns)
    }

    /// Starts the pager. Where there is none, the text goes to the terminal as it is.
    fn begin(&mut self) -> std::io::Result<()> {
        let page = self.pager.as_deref().and_then(Page::pager);
        self.page = Some(page.unwrap_or_else(|| Page::Plain(BufWriter::new(std::io::stdout()))));
        Ok(())
    }

    fn close(&mut self) -> std::io::Result<()> {
        match self.page.take() {
            Some(mut page) => page.close(),
            None => {
                let mut out = std::io::stdout().lock();
                out.write_all(&std::mem::take(&mut self.held))?;
                out.flush()
            }
        }
    }
}

impl Drop for Screen {
    /// A statement that failed or was cancelled leaves what was shown of it to be read.
    fn drop(&mut self) {
        if let Some(mut page) = self.page.take() {
            let _ = page.close();
        }
    }
}

impl Page {
    /// The pager, if it can be started.
    fn pager(command: &str) -> Option<Self> {
        let mut shell = terminal::shell(command);
        shell.stdin(Stdio::piped());
        if std::env::var_os("LESS").is_none() {
            shell.env("LESS", LESS);
        }
        let mut child = shell.spawn().ok()?;
        let input = child.stdin.take().map(BufWriter::new);
        Some(Self::Pager { child, input })
    }

    fn close(&mut self) -> std::io::Result<()> {
        let flushed = self.flush();
        if let Self::Pager { child, input } = self {
            // The end of the text, for which the pager waits.
            drop(input.take().map(BufWriter::into_parts));
            child.wait()?;
        }
        flushed
    }
}

impl Write for Page {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        match self {
            Self::Plain(out) => out.write(bytes),
            Self::Pager { input: Some(input), .. } => input.write(bytes),
            Self::Pager { input: None, .. } => Ok(bytes.len()),
        }
    }

    fn flush(&mut self) -> std::io::Result<()> {
        match self {
            Self::Plain(out) => out.flush(),
            Self::Pager { input, .. } => input.as_mut().map_or(Ok(()), Write::flush),
        }
    }
}

fn without_escapes(line: &str) -> String {
    let mut text = String::with_capacity(line.len());
    let mut letters = line.chars();
    while let Some(letter) = letters.next() {
        if letter == '\x1b' {
            letters.by_ref().find(char::is_ascii_alphabetic);
        } else {
            text.push(letter);
        }
    }
    text
}

/// The user's pager: `PAGER`, or `less` where it is installed. None where it is empty or `cat`.
pub fn pager() -> Option<String> {
    match std::env::var("PAGER") {
        Ok(pager) if pager.trim().is_empty() || pager.trim() == "cat" => None,
        Ok(pager) => Some(pager),
        Err(_) => installed("less").map(|_| "less".to_owned()),
    }
}

/// Whether a pager shows colours rather than the bytes that stand for them.
pub fn keeps_colors(pager: Option<&str>) -> bool {
    let name = |command: &str| {
        let program = command.split_whitespace().next().unwrap_or_default();
        Path::new(program).file_name().is_some_and(|name| name == "less")
    };
    pager.is_none_or(|command| name(command) && std::env::var("LESS").is_ok_and(|flags| flags.contains(['R', 'r'])))
        || (pager.is_some_and(name) && std::env::var_os("LESS").is_none())
}

fn installed(program: &str) -> Option<PathBuf> {
    let paths = std::env::var_os("PATH")?;
    std::env::split_paths(&paths).map(|dir| dir.join(program)).find(|file| file.is_file())
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::panic, reason = "tests")]
mod tests {
    use super::*;

    fn screen() -> Screen {
        let To::Screen(screen) = Sink::screen(Size { columns: 6, rows: 5 }, None, &Progress::new(false)).to else {
            panic!()
        };
        *screen
    }

    #[test]
    fn what_fits_is_held_and_one_line_or_column_more_is_not() {
        assert!(screen().hold(b"123456\n2\n3\n"));
        assert!(!screen().hold(b"123456\n2\n3\n4\n"));
        assert!(!screen().hold(b"1234567\n"));
        let mut slowly = screen();
        assert!(slowly.hold(b"1234") && slowly.hold(b"56") && !slowly.hold(b"7"));
    }

    #[test]
    fn colours_take_no_room_and_wide_letters_two_columns() {
        assert!(screen().hold(b"\x1b[1m123456\x1b[0m\n"));
        assert!(screen().hold("ééé漢\n".as_bytes()));
        assert!(!screen().hold("ééé漢字\n".as_bytes()));
    }

    #[test]
    fn the_pager_gets_everything_and_is_waited_for() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("paged");
        let pager = Some(format!("cat > '{}'", file.display()));
        let mut sink = Sink::screen(Size { columns: 6, rows: 5 }, pager, &Progress::new(false));
        for line in 0..100 {
            writeln!(sink, "{line}").unwrap();
        }
        sink.close().unwrap();
        let expect: String = (0..100).map(|line| format!("{line}\n")).collect();
        assert_eq!(std::fs::read_to_string(file).unwrap(), expect);
    }

    #[test]
    fn a_pager_that_leaves_is_told_of() {
        let mut page = Page::pager("exit 0").unwrap();
        let all = (0..10_000).try_for_each(|_| page.write_all(&[b'x'; 1000]));
        assert_eq!(all.unwrap_err().kind(), std::io::ErrorKind::BrokenPipe);
        let _ = page.close();
    }
}
