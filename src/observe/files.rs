//! The files of a log: one that grows, and the full ones before it, in a directory that one process writes to.
//!
//! ```text
//! audit/audit-00000001.jsonl   full
//! audit/audit-00000002.jsonl   grows
//! audit/lock                   held by the process that writes
//! ```
//!
//! What a crash left unfinished is cut off, and a record says so. A file that somebody takes away or changes meanwhile is
//! left as it is: the log goes on in the next one, and a record says so too.

use std::fs::{self, DirBuilder, File, OpenOptions, TryLockError};
use std::io::{self, BufReader, Write as _};
use std::os::unix::fs::{DirBuilderExt as _, MetadataExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};

use serde::Serialize;

use super::chain::{self, Link, Wrong};
use crate::lock;

const PREFIX: &str = "audit-";
const SUFFIX: &str = ".jsonl";

/// Why a log cannot be opened.
#[derive(Debug, thiserror::Error)]
pub enum Unopened {
    /// Another process writes to it.
    #[error("another process writes to it")]
    Locked,
    /// What is there is not what was written.
    #[error(
        "line {line} of `{file}` is broken: {why}; move the directory away to begin a new log, and keep it as evidence"
    )]
    Broken {
        /// The file's name.
        file: String,
        /// The line's number in it.
        line: u64,
        /// What is wrong with it.
        why: String,
    },
    /// The system does not let us.
    #[error("{0}")]
    Io(#[from] io::Error),
}

/// What happened to a file, for the record.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(untagged)]
pub(super) enum Note {
    /// A line that was not finished was cut off.
    Cut { file: String, bytes: usize, sha256: String },
    /// The file is not any more what was written, or not there.
    Lost { lost: String },
    /// It is not known what of the file has reached the disk.
    Unsynced { unsynced: String },
}

impl Note {
    pub(super) fn kind(&self) -> &'static str {
        match self {
            Self::Cut { .. } => "cut",
            Self::Lost { .. } => "lost",
            Self::Unsynced { .. } => "unsynced",
        }
    }
}

/// What the system does with bytes, so that tests can have a disk that is full.
pub(super) trait Disk: Send + std::fmt::Debug {
    fn write(&mut self, file: &mut File, bytes: &[u8]) -> io::Result<()> {
        file.write_all(bytes)
    }

    fn sync(&mut self, file: &File) -> io::Result<()> {
        file.sync_data()
    }
}

/// The disk that there is.
#[derive(Debug)]
pub(super) struct Real;

impl Disk for Real {}

/// The files of a log that is written to.
#[derive(Debug)]
pub(super) struct Files {
    dir: PathBuf,
    /// When a file is full, in bytes.
    most: u64,
    lock: File,
    current: Option<Current>,
    number: u64,
    note: Option<Note>,
    pub(super) disk: Box<dyn Disk>,
}

/// The file that grows.
#[derive(Debug)]
struct Current {
    file: File,
    path: PathBuf,
    /// How long it is by what was written.
    length: u64,
}

impl Files {
    /// Opens the log in `dir`, which is made where it is not there, and finds its last line.
    pub(super) fn open(dir: &Path, most: u64) -> Result<(Self, Link), Unopened> {
        DirBuilder::new().recursive(true).mode(0o700).create(dir)?;
        let lock = take_lock(dir)?;
        let there = list(dir)?;
        let mut files =
            Self { dir: dir.to_owned(), most, lock, current: None, number: 0, note: None, disk: Box::new(Real) };
        let Some((number, path)) = there.last() else { return Ok((files, Link::none())) };
        files.number = *number;
        let scan = scan(path, None)?;
        let file = OpenOptions::new().append(true).open(path)?;
        if !scan.rest.is_empty() {
            file.set_len(scan.bytes)?;
            file.sync_data()?;
            let (bytes, sha256) = (scan.rest.len(), chain::hash(&scan.rest));
            files.note = Some(Note::Cut { file: name(path), bytes, sha256 });
        }
        files.current = Some(Current { file, path: path.clone(), length: scan.bytes });
        // A file that was just begun is empty.
        let mut last = scan.span;
        for (_, path) in there.iter().rev().skip(1) {
            if last.is_some() {
                break;
            }
            last = self::scan(path, None)?.span;
        }
        Ok((files, last.map_or_else(Link::none, |(_, link)| link)))
    }

    /// Makes sure that there is a file to append to, and tells what is to be recorded about files first.
    ///
    /// # Errors
    /// When there is none, and none can be made.
    pub(super) fn ready(&mut self) -> io::Result<Option<Note>> {
        let Some(current) = &self.current else {
            self.current = Some(self.next()?);
            return Ok(self.note.clone());
        };
        if !current.is_intact() {
            let lost = name(&current.path);
            tracing::error!(file = %lost, "a file of the audit log was changed or taken away by somebody else");
            self.note = Some(Note::Lost { lost });
            self.current = None;
            self.current = Some(self.next()?);
        } else if current.length >= self.most {
            self.sync()?;
            match self.next() {
                Ok(next) => self.current = Some(next),
                // The full one can still be written to, and that is better than nothing.
                Err(cause) => tracing::error!(kind = ?cause.kind(), "the audit log cannot begin another file"),
            }
        }
        Ok(self.note.clone())
    }

    /// Appends whole lines. What cannot be written whole is not written at all.
    pub(super) fn append(&mut self, lines: &[u8]) -> io::Result<()> {
        let current = self.current.as_mut().ok_or(io::ErrorKind::NotFound)?;
        if let Err(cause) = self.disk.write(&mut current.file, lines) {
            // If this fails too the file is longer than it should be, and the next one is begun.
            let _ = current.file.set_len(current.length);
            return Err(cause);
        }
        current.length = current.length.saturating_add(u64::try_from(lines.len()).unwrap_or(u64::MAX));
        self.note = None;
        Ok(())
    }

    /// Makes sure that what was appended outlives the machine. After an error nobody knows what does, so the file is left.
    pub(super) fn sync(&mut self) -> io::Result<()> {
        let Some(current) = &self.current else { return Ok(()) };
        let synced = self.disk.sync(&current.file);
        if synced.is_err() {
            self.note = Some(Note::Unsynced { unsynced: name(&current.path) });
            self.current = None;
        }
        synced
    }

    fn next(&mut self) -> io::Result<Current> {
        if !same(&self.dir.join(lock::NAME), &self.lock) {
            // The directory is another one by now.
            self.lock = take_lock(&self.dir).map_err(|_| io::Error::from(io::ErrorKind::PermissionDenied))?;
        }
        let there = list(&self.dir)?.last().map_or(0, |(number, _)| *number);
        let number = self.number.max(there).saturating_add(1);
        let path = self.dir.join(format!("{PREFIX}{number:08}{SUFFIX}"));
        let file = OpenOptions::new().append(true).create_new(true).mode(0o600).open(&path)?;
        // The name is to outlive the machine, too.
        File::open(&self.dir)?.sync_all()?;
        self.number = number;
        Ok(Current { file, path, length: 0 })
    }
}

impl Current {
    /// Whether it is still the file of that name, and as long as it was made.
    fn is_intact(&self) -> bool {
        same(&self.path, &self.file) && self.file.metadata().is_ok_and(|found| found.len() == self.length)
    }
}

/// Whether `path` is `file`.
fn same(path: &Path, file: &File) -> bool {
    let (Ok(named), Ok(open)) = (fs::symlink_metadata(path), file.metadata()) else { return false };
    (named.dev(), named.ino()) == (open.dev(), open.ino())
}

fn take_lock(dir: &Path) -> Result<File, Unopened> {
    lock::take(dir).map_err(|untaken| match untaken {
        TryLockError::WouldBlock => Unopened::Locked,
        TryLockError::Error(cause) => cause.into(),
    })
}

/// The files of a log, by their numbers.
pub(super) fn list(dir: &Path) -> io::Result<Vec<(u64, PathBuf)>> {
    let mut found = Vec::new();
    for entry in fs::read_dir(dir)? {
        let path = entry?.path();
        let number = name(&path).strip_prefix(PREFIX).and_then(|name| name.strip_suffix(SUFFIX)?.parse().ok());
        found.extend(number.map(|number| (number, path)));
    }
    found.sort();
    Ok(found)
}

/// The name of a file, without where it is.
pub(super) fn name(path: &Path) -> String {
    path.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default()
}

fn scan(path: &Path, before: Option<Link>) -> Result<chain::Scan, Unopened> {
    let scanned = chain::scan(BufReader::new(File::open(path)?), before)?;
    scanned.map_err(|(line, wrong): (u64, Wrong)| Unopened::Broken { file: name(path), line, why: wrong.to_string() })
}
