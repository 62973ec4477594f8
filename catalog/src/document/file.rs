//! Files of the mesh as text: bounded, UTF-8, named by their path inside the mesh.

use std::collections::BTreeMap;
use std::fs;
use std::io::{self, Read};
use std::path::Path;
use std::sync::{Arc, OnceLock};

use super::texts::{Record, Texts};
use super::watch::Watch;
use super::{Place, Report};

/// No declaration is longer; what is longer was not written as one.
const MAX_BYTES: u64 = 4 << 20;

/// Where the files of a mesh are.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Tree<'a> {
    /// Below a directory; the watch keeps every look.
    Disk(&'a Path, &'a Watch),
    /// In memory, by their paths with `/` between the parts.
    Memory(&'a BTreeMap<String, String>),
    /// In one of these, of which every answer is remembered.
    Recorded(&'a Tree<'a>, &'a Record),
    /// As they were remembered, below the same directory.
    Remembered(&'a Path, &'a Texts),
}

impl<'a> Tree<'a> {
    /// The directory that relative places are relative to; in memory there is none but the root.
    pub fn dir(&self) -> &'a Path {
        match self {
            Self::Disk(dir, _) | Self::Remembered(dir, _) => dir,
            Self::Memory(_) => Path::new("/"),
            Self::Recorded(tree, _) => tree.dir(),
        }
    }

    /// The text of a file that is no longer than `most` bytes.
    pub fn read(&self, name: &str, most: u64) -> io::Result<String> {
        match self {
            Self::Disk(dir, watch) => watch.read(&dir.join(name), most),
            Self::Memory(files) => files.get(name).cloned().ok_or_else(|| io::ErrorKind::NotFound.into()),
            Self::Recorded(tree, record) => tree.read(name, most).inspect(|text| record.add_text(name, text)),
            Self::Remembered(_, texts) => {
                texts.text(name).map(str::to_owned).ok_or_else(|| io::ErrorKind::NotFound.into())
            }
        }
    }

    /// The names of the entries of a folder, sorted; none if there is no such folder.
    pub fn list(&self, folder: &str) -> io::Result<Vec<String>> {
        match self {
            Self::Disk(dir, watch) => watch.list(&dir.join(folder)),
            Self::Memory(files) => {
                let prefix = if folder.is_empty() { String::new() } else { format!("{folder}/") };
                let below = files.range(prefix.clone()..).map_while(|(name, _)| name.strip_prefix(&prefix));
                let mut names: Vec<String> =
                    below.filter_map(|rest| rest.split('/').next()).map(str::to_owned).collect();
                names.dedup();
                Ok(names)
            }
            Self::Recorded(tree, record) => tree.list(folder).inspect(|names| record.add_names(folder, names)),
            Self::Remembered(_, texts) => Ok(texts.names(folder).to_vec()),
        }
    }

    /// Whether anything has that name. A link to nowhere is there as well, and must not pass for an absent file.
    pub fn has(&self, name: &str) -> bool {
        match self {
            Self::Disk(dir, watch) => watch.has(&dir.join(name)),
            Self::Memory(files) => files.contains_key(name),
            Self::Recorded(tree, _) => tree.has(name),
            Self::Remembered(_, texts) => texts.text(name).is_some(),
        }
    }
}

/// A file's text, and the name that findings give it.
#[derive(Debug)]
pub(crate) struct File {
    /// The path relative to the mesh directory, with `/` between its parts.
    pub name: Arc<str>,
    /// What it says, without a byte order mark.
    pub text: String,
    /// Where each line begins, once a place was asked for.
    lines: OnceLock<Vec<usize>>,
}

impl File {
    /// A file that says `text`.
    pub fn new(name: impl Into<Arc<str>>, text: impl Into<String>) -> Self {
        Self { name: name.into(), text: text.into(), lines: OnceLock::new() }
    }

    /// Reads `name`, or reports why it cannot be read.
    pub fn read(tree: &Tree<'_>, name: &str, report: &mut Report) -> Option<Self> {
        match tree.read(name, MAX_BYTES) {
            Ok(text) => Some(match text.strip_prefix('\u{feff}') {
                Some(rest) => Self::new(name, rest),
                None => Self::new(name, text),
            }),
            Err(error) => {
                let place = Place { file: name.into(), line: 1, column: 1 };
                report.error("file/unreadable", &place, format!("cannot read the file: {error}"));
                None
            }
        }
    }

    /// The place of the byte at `offset`.
    pub fn place(&self, offset: usize) -> Place {
        let mut offset = offset.min(self.text.len());
        while !self.text.is_char_boundary(offset) {
            offset -= 1;
        }
        let lines = self
            .lines
            .get_or_init(|| std::iter::once(0).chain(self.text.match_indices('\n').map(|(at, _)| at + 1)).collect());
        let line = lines.partition_point(|start| *start <= offset);
        let start = lines.get(line.saturating_sub(1)).copied().unwrap_or_default();
        let column = self.text.get(start..offset).unwrap_or_default().chars().count() + 1;
        Place { file: self.name.clone(), line: count(line), column: count(column) }
    }
}

/// A line or column number; files are far too short to exceed it.
pub(crate) fn count(number: usize) -> u32 {
    u32::try_from(number).unwrap_or(u32::MAX)
}

pub(super) fn has(path: &Path) -> bool {
    fs::symlink_metadata(path).is_ok()
}

pub(super) fn read(path: &Path, most: u64) -> io::Result<String> {
    // Opening a pipe would wait for a writer.
    if !fs::metadata(path)?.is_file() {
        return Err(io::Error::other("it is not a regular file"));
    }
    let mut bytes = Vec::new();
    fs::File::open(path)?.take(most.saturating_add(1)).read_to_end(&mut bytes)?;
    if bytes.len() as u64 > most {
        return Err(io::Error::other(format!("it is longer than {} KiB", most >> 10)));
    }
    String::from_utf8(bytes).map_err(|_| io::Error::other("it is not UTF-8"))
}

/// The names of the entries of `dir`, sorted; none if there is no such directory.
pub(super) fn list(dir: &Path) -> io::Result<Vec<String>> {
    let entries = match fs::read_dir(dir) {
        Ok(entries) => entries,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(error) => return Err(error),
    };
    let mut names = Vec::new();
    for entry in entries {
        names.push(entry?.file_name().to_string_lossy().into_owned());
    }
    names.sort();
    Ok(names)
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing, reason = "tests")]
mod tests {
    use super::*;

    #[test]
    fn places_count_characters_from_one() {
        let file = File::new("a.cedar", "é\nüx y");
        let at = |offset| {
            let place = file.place(offset);
            (place.line, place.column)
        };
        assert_eq!(at(0), (1, 1));
        assert_eq!(at(1), (1, 1), "inside a character");
        assert_eq!(at(2), (1, 2));
        assert_eq!(at(3), (2, 1));
        assert_eq!(at(5), (2, 2));
        assert_eq!(at(999), (2, 5));
    }

    #[test]
    fn what_is_no_text_is_a_finding() {
        let dir = tempfile::tempdir().unwrap();
        fs::write(dir.path().join("binary"), [0xff, 0xfe]).unwrap();
        fs::write(dir.path().join("huge"), vec![b' '; (MAX_BYTES + 1) as usize]).unwrap();
        fs::create_dir(dir.path().join("folder")).unwrap();
        for (name, why) in [("binary", "UTF-8"), ("huge", "4096 KiB"), ("folder", "regular"), ("absent", "No such")] {
            let mut report = Report::default();
            assert!(File::read(&Tree::Disk(dir.path(), &Watch::default()), name, &mut report).is_none());
            let findings = report.into_findings();
            assert_eq!(findings[0].code, "file/unreadable");
            assert!(findings[0].message.contains(why), "{}", findings[0].message);
        }
    }

    #[test]
    fn a_byte_order_mark_is_not_text() {
        let dir = tempfile::tempdir().unwrap();
        fs::write(dir.path().join("a"), "\u{feff}mesh: a").unwrap();
        assert_eq!(
            File::read(&Tree::Disk(dir.path(), &Watch::default()), "a", &mut Report::default()).unwrap().text,
            "mesh: a"
        );
    }
}
