//! Who read which columns, by the records of an audit log.
//!
//! ```text
//! begin  ada  reads storefront.customers: email, city    ->  storefront.customers  email  ada: 12 times, last 2026-11-21T…
//! ```
//!
//! Only statements that ran are counted, those that were refused read nothing. Whether the log is what was written is for
//! [`verify`](super::verify()) to say. A line that is no record is passed over and counted.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{self, BufRead, BufReader, Read as _};
use std::path::{Path, PathBuf};

use serde::Deserialize;

use super::chain::LONGEST;
use super::files::list;

/// How often somebody read something, and when last.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Reading {
    /// The principal's id.
    pub who: String,
    /// How many statements.
    pub statements: usize,
    /// When the last of them began.
    pub last: String,
}

/// Who read what.
#[derive(Debug, Clone, Default)]
pub struct Readers {
    /// By product as statements name it, column and principal. Under an empty column is who read any.
    found: BTreeMap<(String, String), BTreeMap<String, (usize, String)>>,
    /// Lines that are no records.
    pub passed_over: usize,
}

/// What is looked at in a record.
#[derive(Deserialize)]
struct Record {
    kind: String,
    at: String,
    #[serde(default)]
    who: String,
    #[serde(default)]
    reads: Vec<Read>,
}

#[derive(Deserialize)]
struct Read {
    product: String,
    #[serde(default)]
    columns: Vec<Column>,
    #[serde(default)]
    left_out: u64,
}

#[derive(Deserialize)]
struct Column {
    column: String,
}

/// What stands for columns that a record does not name, since there were too many.
const ALL: &str = "*";

impl Readers {
    /// Reads a directory of files, or one file alone.
    ///
    /// # Errors
    /// When one of them cannot be read.
    pub fn read(path: &Path) -> io::Result<Self> {
        let files: Vec<PathBuf> = match path.is_dir() {
            true => list(path)?.into_iter().map(|(_, path)| path).collect(),
            false => vec![path.to_owned()],
        };
        let mut readers = Self::default();
        for file in files {
            readers.add(BufReader::new(File::open(file)?))?;
        }
        Ok(readers)
    }

    fn add(&mut self, mut lines: impl BufRead) -> io::Result<()> {
        let most = u64::try_from(LONGEST).unwrap_or(u64::MAX);
        let mut line = Vec::new();
        loop {
            line.clear();
            if (&mut lines).take(most).read_until(b'\n', &mut line)? == 0 {
                return Ok(());
            }
            match serde_json::from_slice::<Record>(&line) {
                Ok(record) if record.kind == "begin" => self.note(record),
                Ok(_) => {}
                Err(_) => self.passed_over = self.passed_over.saturating_add(1),
            }
        }
    }

    fn note(&mut self, Record { at, who, reads, .. }: Record) {
        for Read { product, columns, left_out } in reads {
            let named = columns.into_iter().map(|column| column.column);
            let unnamed = (left_out > 0).then(|| ALL.to_owned());
            for column in named.chain(unnamed).chain([String::new()]) {
                let of_column = self.found.entry((product.clone(), column)).or_default();
                let reading = of_column.entry(who.clone()).or_insert((0, String::new()));
                reading.0 = reading.0.saturating_add(1);
                if reading.1 < at {
                    reading.1.clone_from(&at);
                }
            }
        }
    }

    /// Who read a column of a product that statements name in one of these ways, or a field inside of it, or what it lies in;
    /// without a column, who read any. Those who read most come first.
    pub fn of(&self, products: &[String], column: Option<&str>) -> Vec<Reading> {
        let is_meant = |read: &str| match column {
            None => read.is_empty(),
            Some(column) => read == ALL || read == column || inside(read, column) || inside(column, read),
        };
        let mut of_names: BTreeMap<(&str, &str), (usize, &str)> = BTreeMap::new();
        for ((product, _), readers) in
            self.found.iter().filter(|((product, read), _)| products.contains(product) && is_meant(read))
        {
            for (who, (statements, last)) in readers {
                // Several fields of one column are read by one statement.
                let known = of_names.entry((who.as_str(), product.as_str())).or_default();
                *known = (known.0.max(*statements), known.1.max(last.as_str()));
            }
        }
        let mut all: BTreeMap<&str, (usize, &str)> = BTreeMap::new();
        for ((who, _), (statements, last)) in of_names {
            // By another name it is another statement.
            let known = all.entry(who).or_default();
            *known = (known.0.saturating_add(statements), known.1.max(last));
        }
        let reading = |(who, (statements, last)): (&str, (usize, &str))| Reading {
            who: who.to_owned(),
            statements,
            last: last.to_owned(),
        };
        let mut readings: Vec<Reading> = all.into_iter().map(reading).collect();
        readings.sort_by(|a, b| b.statements.cmp(&a.statements).then_with(|| a.who.cmp(&b.who)));
        readings
    }
}

/// Whether the path of a field leads through another.
fn inside(field: &str, of: &str) -> bool {
    !of.is_empty() && field.strip_prefix(of).is_some_and(|rest| rest.starts_with('.'))
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "tests")]
mod tests {
    use super::*;

    const LOG: &str = r#"{"seq":1,"at":"2026-11-01T00:00:00Z","kind":"begin","who":"ada","reads":[{"product":"shop.people","columns":[{"column":"email"},{"column":"home.street"}]}]}
{"seq":2,"at":"2026-11-02T00:00:00Z","kind":"begin","who":"bob","reads":[{"product":"shop.people@1","columns":[{"column":"email"}]}]}
{"seq":3,"at":"2026-11-03T00:00:00Z","kind":"begin","who":"ada","reads":[{"product":"shop.people","columns":[{"column":"email"}]}]}
{"seq":4,"at":"2026-11-04T00:00:00Z","kind":"end","who":"ada"}
{"seq":5,"at":"2026-11-05T00:00:00Z","kind":"refused","who":"eve","reads":[{"product":"shop.people","columns":[{"column":"email"}]}]}
{"seq":6,"at":"2026-11-06T00:00:00Z","kind":"begin","who":"cyd","reads":[{"product":"shop.people","left_out":5000}]}
{"seq":7,"at":"2026-11-07T00:00:00Z","kind":"begin","who":"bob","reads":[{"product":"shop.people","columns":[{"column":"email"}]}]}
no record
"#;

    #[test]
    fn readers_of_a_column_are_named_by_how_often_they_read_it() {
        let mut readers = Readers::default();
        readers.add(LOG.as_bytes()).unwrap();
        assert_eq!(readers.passed_over, 1);
        let of = |products: &[&str], column| {
            let products: Vec<String> = products.iter().map(|name| (*name).to_owned()).collect();
            let found = readers.of(&products, column);
            found.into_iter().map(|r| format!("{} {} {}", r.who, r.statements, r.last)).collect::<Vec<_>>()
        };
        let (ada, cyd) = ("ada 2 2026-11-03T00:00:00Z", "cyd 1 2026-11-06T00:00:00Z");
        let bob = "bob 1 2026-11-07T00:00:00Z";
        assert_eq!(of(&["shop.people"], Some("email")), [ada, bob, cyd]);
        let under_both = ["shop.people", "shop.people@1"];
        assert_eq!(of(&under_both, Some("email")), [ada, "bob 2 2026-11-07T00:00:00Z", cyd], "once by each name");
        assert_eq!(of(&["shop.people"], Some("home")), ["ada 1 2026-11-01T00:00:00Z", cyd]);
        assert_eq!(of(&["shop.people"], Some("homes")), [cyd], "who read too much to be named may have read it");
        assert_eq!(of(&["shop.people"], None), [ada, bob, cyd]);
        assert!(of(&["shop.else"], Some("email")).is_empty());
    }
}
