//! Whether a log is what was written: every line by its hash, and each by the one before, across files.

use std::fs::File;
use std::io::{self, BufReader};
use std::path::Path;

use super::chain::{self, Link};
use super::files::{list, name};
use crate::lock;

/// A log that is whole.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Verified {
    /// How many files there are.
    pub files: usize,
    /// How many records.
    pub records: u64,
    /// The number of the first one; more than 1 where older files are kept elsewhere.
    pub first: u64,
    /// The number of the last one.
    pub last: u64,
    /// Its hash, which says all that is before it.
    pub hash: String,
}

/// The first line that is not what was written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Broken {
    /// The file's name.
    pub file: String,
    /// The line's number in it.
    pub line: u64,
    /// What is wrong with it.
    pub why: String,
}

/// Why a log is not whole, or not known to be.
#[derive(Debug, thiserror::Error)]
pub enum Unverified {
    /// It is not.
    #[error("{}:{}: {}", .0.file, .0.line, .0.why)]
    Broken(Broken),
    /// It holds nothing.
    #[error("there is no audit log")]
    Nothing,
    /// It cannot be read.
    #[error("it cannot be read: {0}")]
    Unreadable(#[from] io::Error),
}

/// Verifies a directory of files, or one file alone. What follows the last whole line is an error unless a process is
/// writing there.
///
/// # Errors
/// The first line that is wrong, or what kept it from being read.
pub fn verify(path: &Path) -> Result<Verified, Unverified> {
    let (files, dir) = match path.is_dir() {
        true => (list(path)?.into_iter().map(|(_, path)| path).collect(), path),
        false => (vec![path.to_owned()], path.parent().unwrap_or(path)),
    };
    let mut verified = Verified { files: files.len(), records: 0, first: 0, last: 0, hash: String::new() };
    let mut before: Option<Link> = None;
    for (place, path) in files.iter().enumerate() {
        let broken = |line, why: String| Unverified::Broken(Broken { file: name(path), line, why });
        let scan = chain::scan(BufReader::new(File::open(path)?), before.clone())?;
        let scan = scan.map_err(|(line, wrong)| broken(line, wrong.to_string()))?;
        let growing = place + 1 == files.len() && lock::is_taken(dir);
        if !scan.rest.is_empty() && !growing {
            let why = "it is not finished: whoever wrote it was killed, or it was changed";
            return Err(broken(scan.lines.saturating_add(1), why.to_owned()));
        }
        verified.records = verified.records.saturating_add(scan.lines);
        if let Some((first, link)) = scan.span {
            if verified.first == 0 {
                verified.first = first;
            }
            (verified.last, verified.hash) = (link.seq, link.hash.clone());
            before = Some(link);
        }
    }
    if verified.records == 0 { Err(Unverified::Nothing) } else { Ok(verified) }
}
