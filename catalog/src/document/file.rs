//! Files of the mesh as text: bounded, UTF-8, named by their path inside the mesh.

use std::fs;
use std::io::{self, Read};
use std::path::Path;
use std::sync::Arc;

use super::{Place, Report};

/// No declaration is longer; what is longer was not written as one.
const MAX_BYTES: u64 = 4 << 20;

/// A file's text, and the name that findings give it.
#[derive(Debug)]
pub(crate) struct File {
    /// The path relative to the mesh directory, with `/` between its parts.
    pub name: Arc<str>,
    /// What it says, without a byte order mark.
    pub text: String,
}

impl File {
    /// Reads `name` under `dir`, or reports why it cannot be read.
    pub fn read(dir: &Path, name: &str, report: &mut Report) -> Option<Self> {
        let name: Arc<str> = name.into();
        match read(&dir.join(&*name)) {
            Ok(text) => Some(Self { text: text.strip_prefix('\u{feff}').map_or(text.clone(), str::to_owned), name }),
            Err(error) => {
                let place = Place { file: name, line: 1, column: 1 };
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
        let before = self.text.get(..offset).unwrap_or_default();
        let line_start = before.rfind('\n').map_or(0, |at| at + 1);
        let column = before.get(line_start..).unwrap_or_default().chars().count() + 1;
        Place { file: self.name.clone(), line: count(before.matches('\n').count() + 1), column: count(column) }
    }
}

/// A line or column number; files are far too short to exceed it.
pub(crate) fn count(number: usize) -> u32 {
    u32::try_from(number).unwrap_or(u32::MAX)
}

fn read(path: &Path) -> io::Result<String> {
    // Opening a pipe would wait for a writer.
    if !fs::metadata(path)?.is_file() {
        return Err(io::Error::other("it is not a regular file"));
    }
    let mut bytes = Vec::new();
    fs::File::open(path)?.take(MAX_BYTES + 1).read_to_end(&mut bytes)?;
    if bytes.len() as u64 > MAX_BYTES {
        return Err(io::Error::other("it is longer than 4 MiB"));
    }
    String::from_utf8(bytes).map_err(|_| io::Error::other("it is not UTF-8"))
}

/// The names of the entries of `dir`, sorted; none if there is no such directory.
pub(crate) fn list(dir: &Path) -> io::Result<Vec<String>> {
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
        let file = File { name: "a.cedar".into(), text: "é\nüx y".into() };
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
        for (name, why) in [("binary", "UTF-8"), ("huge", "4 MiB"), ("folder", "regular"), ("absent", "No such")] {
            let mut report = Report::default();
            assert!(File::read(dir.path(), name, &mut report).is_none());
            let findings = report.into_findings();
            assert_eq!(findings[0].code, "file/unreadable");
            assert!(findings[0].message.contains(why), "{}", findings[0].message);
        }
    }

    #[test]
    fn a_byte_order_mark_is_not_text() {
        let dir = tempfile::tempdir().unwrap();
        fs::write(dir.path().join("a"), "\u{feff}mesh: a").unwrap();
        assert_eq!(File::read(dir.path(), "a", &mut Report::default()).unwrap().text, "mesh: a");
    }
}
