//! What came of rules of quality, in a file: so that a server that is started again knows what was.
//!
//! ```text
//! {"domain":"shop","product":"people","major":1,"at":…,"of":{"table":123},"rules":[…]}      a line for each finding
//! ```
//!
//! A line is added when something else was found of a product than the last time. The file is written anew when it is opened
//! and when it has grown beyond what is remembered, so it is bounded by the rules that there are. A line that cannot be
//! read, like the last one of a process that was killed, is passed over. It holds no value of the data, and nobody's names.

use std::fs::{self, File, OpenOptions};
use std::io::{self, BufRead as _, BufReader, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};

use polder_catalog::mesh::Product;
use polder_catalog::name::{ProductName, ProductRef};
use serde::{Deserialize, Serialize};

use crate::resolve::{Held, Seen};

/// Lines beyond those that are remembered, before the file is written anew.
const SPARE: usize = 1_000;

/// The file, which one process writes.
#[derive(Debug)]
pub struct Past {
    path: PathBuf,
    written: Mutex<Written>,
}

#[derive(Debug)]
struct Written {
    file: File,
    lines: usize,
    /// How many lines there may be.
    most: usize,
}

/// A line.
#[derive(Serialize, Deserialize)]
struct Line {
    domain: String,
    product: String,
    major: u32,
    #[serde(flatten)]
    held: Held,
}

impl Line {
    fn of(name: &ProductName, major: u32, held: Held) -> Self {
        Self { domain: name.domain().to_string(), product: name.name().to_owned(), major, held }
    }

    fn write(&self, to: &mut impl io::Write) -> io::Result<()> {
        let mut line = serde_json::to_vec(self)?;
        line.push(b'\n');
        to.write_all(&line)
    }
}

impl Past {
    /// Opens a file, which is made if it is not there, and remembers what it says.
    ///
    /// # Errors
    /// When it cannot be read, or not be written.
    pub fn open(path: &Path, seen: &Seen) -> io::Result<Self> {
        let mut passed_over = 0_usize;
        match File::open(path) {
            Ok(file) => {
                for line in BufReader::new(file).split(b'\n') {
                    let line = line?;
                    let Ok(Line { domain, product, major, held }) = serde_json::from_slice::<Line>(&line) else {
                        passed_over = passed_over.saturating_add(usize::from(!line.is_empty()));
                        continue;
                    };
                    match ProductRef::parse(&domain, &product) {
                        Ok(name) => drop(seen.remember(&name.product, major, held)),
                        Err(_) => passed_over = passed_over.saturating_add(1),
                    }
                }
            }
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(error) => return Err(error),
        }
        if passed_over > 0 {
            tracing::warn!(lines = passed_over, "lines of the log of quality could not be read");
        }
        let written = anew(path, seen)?;
        Ok(Self { path: path.to_owned(), written: Mutex::new(written) })
    }

    /// Writes down what was found of a product. What cannot be written is remembered all the same.
    pub(super) fn note(&self, seen: &Seen, product: &Product, held: Held) {
        let mut written = self.written.lock().unwrap_or_else(PoisonError::into_inner);
        let line = Line::of(&product.name, product.contract.major, held);
        let noted = line.write(&mut written.file).and_then(|()| {
            written.lines = written.lines.saturating_add(1);
            if written.lines > written.most {
                *written = anew(&self.path, seen)?;
            }
            Ok(())
        });
        if let Err(error) = noted {
            tracing::warn!(kind = %error.kind(), "the log of quality cannot be written");
        }
    }
}

/// The file with what is remembered, and nothing else.
fn anew(path: &Path, seen: &Seen) -> io::Result<Written> {
    let mut name = path.as_os_str().to_owned();
    name.push(".new");
    let beside = PathBuf::from(name);
    let mut file = OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(&beside)?;
    let remembered = seen.remembered();
    let mut text = Vec::new();
    for ((name, major), held) in &remembered {
        Line::of(name, *major, held.clone()).write(&mut text)?;
    }
    file.write_all(&text)?;
    file.sync_all()?;
    fs::rename(&beside, path)?;
    let file = OpenOptions::new().append(true).open(path)?;
    Ok(Written { file, lines: remembered.len(), most: remembered.len().saturating_mul(2).saturating_add(SPARE) })
}
