//! A chain of lines: each carries the hash of the one before, and its own.
//!
//! ```text
//! {"seq":7,"prev":"<hash of line 6>",…what it says…,"hash":"<hash of all before this key>"}
//! ```
//!
//! So a line that is changed, taken out, put in or moved is found at that line or at the next one. The hashes have no
//! key: who may write the files may also write all lines anew from some line on, and cut off the last ones. Against that
//! helps to keep the last hash elsewhere.

use std::io::{self, BufRead, Read as _};

use ring::digest;
use serde::Deserialize;

/// The longest line that is read. Records are shorter by far.
pub(super) const LONGEST: usize = 16 << 20;

const TAIL: &str = ",\"hash\":\"";
const END: &str = "\"}";
/// The letters of a hash.
const LETTERS: usize = 64;

/// The last line of a chain.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Link {
    /// Its number; the first line has 1.
    pub(super) seq: u64,
    /// Its hash.
    pub(super) hash: String,
}

/// What is wrong with a line.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(super) enum Wrong {
    #[error("it is not a line of an audit log")]
    Foreign,
    #[error("its hash is not that of what it says: it was changed")]
    Changed,
    #[error("it does not follow the line before it: lines were taken out, put in or moved")]
    Unlinked,
}

/// What a line says of its place in the chain.
#[derive(Deserialize)]
struct Place {
    seq: u64,
    prev: String,
}

impl Link {
    /// What is before the first line.
    pub(super) fn none() -> Self {
        Self { seq: 0, hash: "0".repeat(LETTERS) }
    }

    /// Writes the next line, of a record that is a JSON object.
    pub(super) fn extend(&mut self, record: &str, lines: &mut Vec<u8>) {
        let seq = self.seq.saturating_add(1);
        let says = record.strip_prefix('{').and_then(|rest| rest.strip_suffix('}')).unwrap_or_default();
        let before = if says.is_empty() { "" } else { "," };
        let line = format!("{{\"seq\":{seq},\"prev\":\"{}\"{before}{says}", self.hash);
        *self = Self { seq, hash: hash(line.as_bytes()) };
        lines.extend_from_slice(line.as_bytes());
        lines.extend_from_slice(format!("{TAIL}{}{END}\n", self.hash).as_bytes());
    }

    /// The link of a line without its end, which must follow `before`; where that is not known it may be any but the
    /// first of a chain.
    pub(super) fn follow(before: Option<&Self>, line: &[u8]) -> Result<Self, Wrong> {
        let at = line.len().checked_sub(TAIL.len() + LETTERS + END.len()).ok_or(Wrong::Foreign)?;
        let (says, tail) = line.split_at_checked(at).ok_or(Wrong::Foreign)?;
        let told = tail.strip_prefix(TAIL.as_bytes()).and_then(|tail| tail.strip_suffix(END.as_bytes()));
        let (told, hash) = (told.ok_or(Wrong::Foreign)?, hash(says));
        if told != hash.as_bytes() {
            return Err(Wrong::Changed);
        }
        let Place { seq, prev } = serde_json::from_slice(line).map_err(|_| Wrong::Foreign)?;
        let first = Self::none();
        let follows = match before.or((seq == 1).then_some(&first)) {
            Some(before) => before.seq.checked_add(1) == Some(seq) && before.hash == prev,
            None => seq > 0,
        };
        if follows { Ok(Self { seq, hash }) } else { Err(Wrong::Unlinked) }
    }
}

/// What a file of lines holds.
#[derive(Debug, Default)]
pub(super) struct Scan {
    /// The first line's number, and the last line.
    pub(super) span: Option<(u64, Link)>,
    /// How many whole lines there are, and their bytes.
    pub(super) lines: u64,
    pub(super) bytes: u64,
    /// What stands behind the last whole line.
    pub(super) rest: Vec<u8>,
}

/// Reads all lines of a file, the first of which must follow `before`. A line that is wrong is told with its number in the
/// file.
///
/// # Errors
/// When it cannot be read.
pub(super) fn scan(mut file: impl BufRead, before: Option<Link>) -> io::Result<Result<Scan, (u64, Wrong)>> {
    let (mut scan, mut before) = (Scan::default(), before);
    loop {
        let mut line = Vec::new();
        let most = u64::try_from(LONGEST).unwrap_or(u64::MAX);
        let read = (&mut file).take(most).read_until(b'\n', &mut line)?;
        let number = scan.lines.saturating_add(1);
        let Some(whole) = line.strip_suffix(b"\n") else {
            if read >= LONGEST {
                return Ok(Err((number, Wrong::Foreign)));
            }
            scan.rest = line;
            return Ok(Ok(scan));
        };
        let link = match Link::follow(before.as_ref(), whole) {
            Ok(link) => link,
            Err(wrong) => return Ok(Err((number, wrong))),
        };
        scan.lines = number;
        scan.bytes = scan.bytes.saturating_add(u64::try_from(read).unwrap_or(u64::MAX));
        let first = scan.span.as_ref().map_or(link.seq, |(first, _)| *first);
        scan.span = Some((first, link.clone()));
        before = Some(link);
    }
}

/// SHA-256, in hexadecimal.
pub(super) fn hash(bytes: &[u8]) -> String {
    let digest = digest::digest(&digest::SHA256, bytes);
    let halves = digest.as_ref().iter().flat_map(|byte| [byte >> 4, byte & 15]);
    halves.filter_map(|half| char::from_digit(half.into(), 16)).collect()
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "tests")]
mod tests {
    use super::*;

    fn lines(records: &[&str]) -> Vec<String> {
        let (mut link, mut bytes) = (Link::none(), Vec::new());
        records.iter().for_each(|record| link.extend(record, &mut bytes));
        String::from_utf8(bytes).unwrap().lines().map(str::to_owned).collect()
    }

    fn check(lines: &[String]) -> Result<Link, Wrong> {
        lines.iter().try_fold(Link::none(), |before, line| Link::follow(Some(&before), line.as_bytes()))
    }

    #[test]
    fn a_line_is_json_with_its_place_and_both_hashes() {
        let lines = lines(&["{\"a\":1}", "{}"]);
        let line: serde_json::Value = serde_json::from_str(&lines[1]).unwrap();
        assert_eq!(line["seq"], 2);
        let before: serde_json::Value = serde_json::from_str(&lines[0]).unwrap();
        assert_eq!((&before["a"], &line["prev"]), (&1.into(), &before["hash"]));
        assert_eq!(check(&lines).unwrap().seq, 2);
    }

    #[test]
    fn lines_that_are_taken_out_put_in_or_moved_are_found() {
        let whole = lines(&["{\"a\":1}", "{\"a\":2}", "{\"a\":3}"]);
        for order in [vec![0, 2], vec![1, 2], vec![1, 0, 2], vec![0, 1, 1, 2], vec![0, 0]] {
            let lines: Vec<String> = order.iter().map(|at| whole[*at].clone()).collect();
            assert_eq!(check(&lines), Err(Wrong::Unlinked), "{order:?}");
        }
        // Where the file before is not there, the chain may begin anywhere.
        assert_eq!(Link::follow(None, whole[1].as_bytes()).unwrap().seq, 2);
    }
}
