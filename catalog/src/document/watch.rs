//! What loading a mesh looked at, so that a change of any of it can be seen later.
//!
//! A mesh is a function of the files that it read, the folders that it listed and the names that it looked for, secrets
//! included. Each is kept as it was found: a file by a hash of its text, beside the marks that the system keeps of it. A
//! later look reads a file again only where its marks moved, or were too young to tell.

use std::collections::BTreeMap;
use std::hash::{BuildHasher, RandomState};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};
use std::time::{SystemTime, UNIX_EPOCH};
use std::{fs, io};

use super::file;

/// A file that changed so many seconds before it was read can change again without another time stamp.
const YOUNG: i64 = 2;

/// What was looked at, and how it was found.
#[derive(Debug, Default)]
pub struct Watch {
    /// Of this watch alone, so that nobody can make two texts that it takes for one.
    hashing: RandomState,
    seen: Mutex<BTreeMap<Look, Found>>,
}

/// One look at the disk.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
enum Look {
    /// The text of a file of at most so many bytes.
    Text(PathBuf, u64),
    /// The names in a folder.
    Names(PathBuf),
    /// Whether anything has a name.
    Presence(PathBuf),
}

/// What a look found: a hash of it, and for a file the marks under which it was read.
#[derive(Debug, Clone, Copy)]
struct Found {
    hash: u64,
    marks: Option<Marks>,
}

/// What the system says of a file that does not stay when it is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Marks {
    place: (u64, u64),
    bytes: u64,
    written: (i64, i64),
    changed: (i64, i64),
}

impl Marks {
    /// The marks of a file, unless it changed so lately that they might not move with the next change.
    fn settled(path: &Path) -> Option<Self> {
        let found = fs::metadata(path).ok()?;
        let now = SystemTime::now().duration_since(UNIX_EPOCH).ok()?.as_secs();
        let age = i64::try_from(now).ok()?.saturating_sub(found.ctime());
        (age > YOUNG).then(|| Self {
            place: (found.dev(), found.ino()),
            bytes: found.size(),
            written: (found.mtime(), found.mtime_nsec()),
            changed: (found.ctime(), found.ctime_nsec()),
        })
    }
}

impl Watch {
    /// Whether anything that was looked at would be found otherwise now.
    pub fn has_changed(&self) -> bool {
        let seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner).clone();
        seen.into_iter().any(|(look, was)| {
            let moved = match (&look, was.marks) {
                (Look::Text(path, _), Some(marks)) => Marks::settled(path) != Some(marks),
                _ => true,
            };
            moved && self.look_again(look) != was.hash
        })
    }

    /// Looks once more, and keeps the marks of a file for the next time.
    fn look_again(&self, look: Look) -> u64 {
        let (hash, marks) = match &look {
            Look::Text(path, most) => {
                let marks = Marks::settled(path);
                (self.hash(&file::read(path, *most)), marks)
            }
            Look::Names(path) => (self.hash(&file::list(path)), None),
            Look::Presence(path) => (self.hash(&Ok(file::has(path))), None),
        };
        let mut seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(found) = seen.get_mut(&look).filter(|found| found.hash == hash) {
            found.marks = marks;
        }
        hash
    }

    pub(super) fn read(&self, path: &Path, most: u64) -> io::Result<String> {
        // The marks first: what changes in between is read again, and not missed.
        let marks = Marks::settled(path);
        let text = file::read(path, most);
        self.note(Look::Text(path.to_owned(), most), self.hash(&text), marks);
        text
    }

    pub(super) fn list(&self, path: &Path) -> io::Result<Vec<String>> {
        let names = file::list(path);
        self.note(Look::Names(path.to_owned()), self.hash(&names), None);
        names
    }

    pub(super) fn has(&self, path: &Path) -> bool {
        let there = file::has(path);
        self.note(Look::Presence(path.to_owned()), self.hash(&Ok(there)), None);
        there
    }

    /// Keeps what was found. Where one thing was looked at twice and differed, neither is what is there.
    fn note(&self, look: Look, hash: u64, marks: Option<Marks>) {
        let mut seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
        let found = seen.entry(look).or_insert(Found { hash, marks });
        if found.hash != hash {
            *found = Found { hash: !hash, marks: None };
        }
    }

    fn hash<T: std::hash::Hash>(&self, found: &io::Result<T>) -> u64 {
        self.hashing.hash_one(found.as_ref().map_err(io::Error::kind))
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "tests")]
mod tests {
    use super::*;

    fn looked_at(dir: &Path) -> Watch {
        let watch = Watch::default();
        let _ = (watch.read(&dir.join("a"), 100), watch.read(&dir.join("none"), 100));
        let _ = (watch.list(&dir.join("folder")), watch.has(&dir.join("link")));
        watch
    }

    #[test]
    fn every_change_of_what_was_looked_at_is_seen_and_no_other() {
        let dir = tempfile::tempdir().unwrap();
        let dir = dir.path();
        fs::create_dir(dir.join("folder")).unwrap();
        fs::write(dir.join("a"), "one").unwrap();
        let watch = looked_at(dir);
        assert!(!watch.has_changed());
        fs::write(dir.join("b"), "not looked at").unwrap();
        fs::write(dir.join("a"), "one").unwrap();
        assert!(!watch.has_changed(), "the same text again is no change");

        type Change = fn(&Path);
        let changes: [Change; 6] = [
            |dir| fs::write(dir.join("a"), "two").unwrap(),
            |dir| fs::remove_file(dir.join("a")).unwrap(),
            |dir| fs::write(dir.join("none"), "").unwrap(),
            |dir| fs::write(dir.join("folder/new"), "").unwrap(),
            |dir| fs::remove_dir_all(dir.join("folder")).unwrap(),
            |dir| std::os::unix::fs::symlink("nowhere", dir.join("link")).unwrap(),
        ];
        for change in changes {
            let watch = looked_at(dir);
            change(dir);
            assert!(watch.has_changed());
            assert!(watch.has_changed(), "until it is looked at anew");
        }
    }

    #[test]
    fn a_file_whose_marks_did_not_move_is_not_read_again() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("a");
        fs::write(&path, "one").unwrap();
        let watch = looked_at(dir.path());
        std::thread::sleep(std::time::Duration::from_secs(YOUNG.unsigned_abs() + 1));
        assert!(!watch.has_changed());
        let marks = |watch: &Watch| watch.seen.lock().unwrap().get(&Look::Text(path.clone(), 100)).unwrap().marks;
        assert!(marks(&watch).is_some(), "they are old enough to trust");
        fs::write(&path, "two").unwrap();
        assert!(watch.has_changed());
    }
}
