//! What was read of one part of a mesh, so that it can be read again as it was when the files have changed since.
//!
//! A version of a domain is its texts and nothing else: read under another `mesh.yaml` they are checked against that one,
//! as if they had just been written. The secrets that they refer to are among them, so nothing here is printed.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::{Mutex, MutexGuard, PoisonError};

/// Files and folders as they were found.
#[derive(Default, PartialEq, Eq)]
pub(crate) struct Texts {
    texts: BTreeMap<String, String>,
    names: BTreeMap<String, Vec<String>>,
}

/// Those that are being read.
#[derive(Debug, Default)]
pub(crate) struct Record(Mutex<Texts>);

impl fmt::Debug for Texts {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Texts(…)")
    }
}

impl Texts {
    /// What a file said.
    pub fn text(&self, file: &str) -> Option<&str> {
        self.texts.get(file).map(String::as_str)
    }

    /// What lay in a folder.
    pub fn names(&self, folder: &str) -> &[String] {
        self.names.get(folder).map(Vec::as_slice).unwrap_or_default()
    }
}

impl Record {
    /// Remembers what a file says.
    pub fn add_text(&self, file: &str, text: &str) {
        self.texts().texts.insert(file.to_owned(), text.to_owned());
    }

    /// Remembers what lies in a folder.
    pub fn add_names(&self, folder: &str, names: &[String]) {
        self.texts().names.insert(folder.to_owned(), names.to_vec());
    }

    /// All of them.
    pub fn into_texts(self) -> Texts {
        self.0.into_inner().unwrap_or_else(PoisonError::into_inner)
    }

    fn texts(&self) -> MutexGuard<'_, Texts> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
