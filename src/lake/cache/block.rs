//! A block: an aligned part of a file, of one size but for the last one, and how it lies on disk.
//!
//! ```text
//! "polder1\n" | crc32 of the rest | key | size of the file | its time | its etag | its version | bytes
//! ```
//!
//! The key is in it, so that a file under another's name is no block of it.

use std::sync::Arc;
use std::time::{Duration, UNIX_EPOCH};

use bytes::Bytes;
use object_store::ObjectMeta;
use object_store::path::Path;
use sha2::{Digest, Sha256};

/// The bytes of a block. A footer fits into one or two, and a column chunk into a few.
pub(super) const BLOCK: usize = 256 << 10;
pub(super) const BLOCK_BYTES: u64 = BLOCK as u64;

const MAGIC: [u8; 8] = *b"polder1\n";
/// A text that is not there.
const NONE: u16 = u16::MAX;

/// By what a block is found: a hash of store, path and number.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(super) struct Key(pub(super) [u8; 32]);

impl Key {
    pub(super) fn new(store: &[u8; 32], path: &Path, number: u64) -> Self {
        let mut hash = Sha256::new();
        hash.update(store);
        hash.update(number.to_le_bytes());
        hash.update(path.as_ref());
        Self(hash.finalize().into())
    }
}

/// The state of a file that blocks are of.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct State {
    pub(super) size: u64,
    etag: Option<String>,
    version: Option<String>,
    /// Milliseconds since 1970.
    modified: u64,
}

impl State {
    pub(super) fn of(meta: &ObjectMeta) -> Self {
        let modified = u64::try_from(meta.last_modified.timestamp_millis()).unwrap_or_default();
        Self { size: meta.size, etag: meta.e_tag.clone(), version: meta.version.clone(), modified }
    }

    pub(super) fn meta(&self, location: &Path) -> ObjectMeta {
        let modified = UNIX_EPOCH.checked_add(Duration::from_millis(self.modified)).unwrap_or(UNIX_EPOCH);
        ObjectMeta {
            location: location.clone(),
            last_modified: modified.into(),
            size: self.size,
            e_tag: self.etag.clone(),
            version: self.version.clone(),
        }
    }

    /// How long the block is that has a number.
    pub(super) fn length(&self, number: u64) -> u64 {
        let begin = number.saturating_mul(BLOCK_BYTES);
        self.size.saturating_sub(begin).min(BLOCK_BYTES)
    }
}

/// A part of a file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Block {
    pub(super) of: Arc<State>,
    pub(super) bytes: Bytes,
}

impl Block {
    /// As it lies on disk; `None` for one whose file has an etag that is too long to note.
    pub(super) fn encode(&self, key: &Key) -> Option<Vec<u8>> {
        let State { size, etag, version, modified } = self.of.as_ref();
        let mut rest = Vec::with_capacity(self.bytes.len() + 256);
        rest.extend_from_slice(&MAGIC);
        rest.extend_from_slice(&[0; 4]);
        rest.extend_from_slice(&key.0);
        rest.extend_from_slice(&size.to_le_bytes());
        rest.extend_from_slice(&modified.to_le_bytes());
        for text in [etag, version] {
            let length = text.as_ref().map_or(Ok(NONE), |text| u16::try_from(text.len()));
            let length = length.ok().filter(|length| text.is_none() || *length != NONE)?;
            rest.extend_from_slice(&length.to_le_bytes());
            rest.extend_from_slice(text.as_deref().unwrap_or_default().as_bytes());
        }
        rest.extend_from_slice(&self.bytes);
        let crc = crc32fast::hash(rest.get(12..)?).to_le_bytes();
        rest.get_mut(8..12)?.copy_from_slice(&crc);
        Some(rest)
    }

    /// From what lies on disk; `None` if it is not what was written under this key.
    pub(super) fn decode(file: &Bytes, key: &Key, number: u64) -> Option<Self> {
        let mut at = 0;
        if take(file, &mut at, 8)? != MAGIC {
            return None;
        }
        let crc = u32::from_le_bytes(take(file, &mut at, 4)?.try_into().ok()?);
        if crc32fast::hash(file.get(at..)?) != crc || take(file, &mut at, 32)? != key.0 {
            return None;
        }
        let size = u64::from_le_bytes(take(file, &mut at, 8)?.try_into().ok()?);
        let modified = u64::from_le_bytes(take(file, &mut at, 8)?.try_into().ok()?);
        let etag = text(file, &mut at)?;
        let version = text(file, &mut at)?;
        let of = State { size, etag, version, modified };
        let bytes = file.slice(at..);
        (u64::try_from(bytes.len()) == Ok(of.length(number))).then(|| Self { of: Arc::new(of), bytes })
    }
}

fn take<'f>(file: &'f Bytes, at: &mut usize, length: usize) -> Option<&'f [u8]> {
    let end = at.checked_add(length)?;
    let part = file.get(*at..end)?;
    *at = end;
    Some(part)
}

fn text(file: &Bytes, at: &mut usize) -> Option<Option<String>> {
    let length = u16::from_le_bytes(take(file, at, 2)?.try_into().ok()?);
    if length == NONE {
        return Some(None);
    }
    Some(Some(String::from_utf8(take(file, at, usize::from(length))?.to_vec()).ok()?))
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "tests")]
mod tests {
    use super::*;

    #[test]
    fn a_block_is_read_as_it_was_written_and_no_damaged_one_is_read_at_all() {
        let of =
            State { size: BLOCK_BYTES + 5, etag: Some("\"e\"".into()), version: None, modified: 1_700_000_000_123 };
        let block = Block { of: Arc::new(of), bytes: Bytes::from_static(b"tulip") };
        let key = Key::new(&[1; 32], &Path::from("a/b"), 1);
        let file = block.encode(&key).unwrap();
        let read = |file: &[u8], key: &Key, number| Block::decode(&Bytes::copy_from_slice(file), key, number);
        assert_eq!(read(&file, &key, 1).unwrap(), block);
        assert_eq!(read(&file, &key, 0), None, "the first block of that file is a whole one");
        for other in [([2; 32], "a/b", 1), ([1; 32], "a/c", 1), ([1; 32], "a/b", 2)] {
            assert_eq!(read(&file, &Key::new(&other.0, &Path::from(other.1), other.2), 1), None);
        }
        for at in 0..file.len() {
            let mut damaged = file.clone();
            damaged[at] ^= 0x40;
            assert_eq!(read(&damaged, &key, 1), None, "byte {at}");
            assert_eq!(read(&file[..at], &key, 1), None, "cut at {at}");
        }
        let meta = block.of.meta(&Path::from("a/b"));
        assert_eq!(State::of(&meta), *block.of);
    }
}
