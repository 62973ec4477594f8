//! The blocks on disk: a file for each, under the hash that is its key, and a list of them by when they were last used.
//!
//! ```text
//! DIR/polder-cache/lock          held while a process has the cache
//! DIR/polder-cache/ab/ab34…      a block; written beside its place, then moved there
//! ```
//!
//! Everything is made for the owner of the process alone. A file that the system lost half of in a crash does not pass its
//! checksum later, so nothing is flushed.

use std::collections::{BTreeMap, HashMap};
use std::fs::{self, DirBuilder, File, OpenOptions, TryLockError};
use std::io::{self, Write};
use std::os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::Instant;

use bytes::Bytes;

use super::PAUSE;
use super::block::{Block, Key};
use crate::error::{Class, Error};
use crate::lock;

/// What a block that is not what was written is read as.
#[derive(Debug)]
pub(super) struct Damaged;

#[derive(Debug)]
pub(super) struct Disk {
    directory: PathBuf,
    most: u64,
    kept: Mutex<Kept>,
    /// Until when nothing is written.
    pause: Mutex<Option<Instant>>,
    written: AtomicU64,
    /// Held for as long as the cache is open.
    _lock: File,
}

/// What is there, by when it was last used.
#[derive(Debug, Default)]
struct Kept {
    blocks: HashMap<Key, Entry>,
    order: BTreeMap<u64, Key>,
    bytes: u64,
    clock: u64,
}

#[derive(Debug, Clone, Copy)]
struct Entry {
    bytes: u64,
    used: u64,
}

impl Kept {
    fn put(&mut self, key: Key, bytes: u64) {
        self.remove(&key);
        self.clock = self.clock.saturating_add(1);
        self.blocks.insert(key, Entry { bytes, used: self.clock });
        self.order.insert(self.clock, key);
        self.bytes = self.bytes.saturating_add(bytes);
    }

    fn touch(&mut self, key: &Key) -> bool {
        let Some(Entry { bytes, .. }) = self.blocks.get(key).copied() else { return false };
        self.put(*key, bytes);
        true
    }

    fn remove(&mut self, key: &Key) {
        if let Some(Entry { bytes, used }) = self.blocks.remove(key) {
            self.order.remove(&used);
            self.bytes = self.bytes.saturating_sub(bytes);
        }
    }

    /// What goes so that not more than `most` bytes are kept.
    fn shrink(&mut self, most: u64) -> Vec<Key> {
        let mut gone = Vec::new();
        while self.bytes > most
            && let Some((_, key)) = self.order.first_key_value()
        {
            let key = *key;
            self.remove(&key);
            gone.push(key);
        }
        gone
    }
}

fn unusable(what: &str, cause: &io::Error) -> Error {
    Error::new(Class::BadRequest, format!("the cache's directory cannot be used: {what}: {}", cause.kind()))
}

fn refused(what: &str) -> Error {
    Error::new(Class::BadRequest, format!("the cache's directory cannot be used: {what}"))
}

impl Disk {
    pub(super) fn open(directory: &Path, most: u64) -> Result<Self, Error> {
        fs::create_dir_all(directory).map_err(|cause| unusable("it cannot be made", &cause))?;
        let directory = directory.join("polder-cache");
        own(&directory).map_err(|cause| unusable("it cannot be made", &cause))?;
        let found = fs::symlink_metadata(&directory).map_err(|cause| unusable("it cannot be looked at", &cause))?;
        if !found.is_dir() {
            return Err(refused("what is there is not ours"));
        }
        let lock = lock::take(&directory).map_err(|untaken| match untaken {
            TryLockError::WouldBlock => refused("another process has it"),
            TryLockError::Error(cause) => unusable("it cannot be locked", &cause),
        })?;
        let mine = lock.metadata().map_err(|cause| unusable("it cannot be looked at", &cause))?.uid();
        if found.uid() != mine {
            return Err(refused("what is there is not ours"));
        }
        fs::set_permissions(&directory, fs::Permissions::from_mode(0o700))
            .map_err(|cause| unusable("its permissions cannot be set", &cause))?;
        let disk = Self {
            directory,
            most,
            kept: Mutex::default(),
            pause: Mutex::default(),
            written: AtomicU64::new(0),
            _lock: lock,
        };
        disk.find().map_err(|cause| unusable("it cannot be listed", &cause))?;
        Ok(disk)
    }

    /// Lists what an earlier process left, the oldest first; what it left half written is removed.
    fn find(&self) -> io::Result<()> {
        let mut found = Vec::new();
        for shard in fs::read_dir(&self.directory)? {
            let shard = shard?;
            if !shard.file_type()?.is_dir() {
                continue;
            }
            for file in fs::read_dir(shard.path())? {
                let file = file?;
                // Nothing of ours.
                if file.file_type()?.is_dir() {
                    continue;
                }
                match key(&file.file_name().to_string_lossy()) {
                    Some(key) => {
                        let meta = file.metadata()?;
                        found.push((meta.modified()?, key, meta.len()));
                    }
                    None => fs::remove_file(file.path())?,
                }
            }
        }
        found.sort_unstable();
        let mut kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner);
        found.into_iter().for_each(|(_, key, bytes)| kept.put(key, bytes));
        let gone = kept.shrink(self.most);
        drop(kept);
        gone.iter().for_each(|key| self.unlink(key));
        Ok(())
    }

    pub(super) fn bytes(&self) -> u64 {
        self.kept.lock().unwrap_or_else(PoisonError::into_inner).bytes
    }

    pub(super) fn has(&self, key: &Key) -> bool {
        self.kept.lock().unwrap_or_else(PoisonError::into_inner).touch(key)
    }

    /// The block, if it is there. One that is damaged is removed.
    pub(super) fn read(&self, key: &Key, number: u64) -> Result<Option<Block>, Damaged> {
        let file = match fs::read(self.path(key)) {
            Ok(file) => Bytes::from(file),
            Err(_) => {
                self.remove(key);
                return Ok(None);
            }
        };
        match Block::decode(&file, key, number) {
            Some(block) => Ok(Some(block)),
            None => {
                self.remove(key);
                Err(Damaged)
            }
        }
    }

    /// Whether so many bytes may be written now.
    pub(super) fn takes(&self, bytes: usize) -> bool {
        let mut pause = self.pause.lock().unwrap_or_else(PoisonError::into_inner);
        if pause.is_some_and(|until| Instant::now() < until) {
            return false;
        }
        *pause = None;
        u64::try_from(bytes).is_ok_and(|bytes| bytes <= self.most)
    }

    /// Writes a block, and removes what it takes the place of. Says whether it is there now.
    pub(super) fn write(&self, key: &Key, number: u64, block: &Block) -> bool {
        let Some(file) = block.encode(key) else { return false };
        let bytes = u64::try_from(file.len()).unwrap_or(u64::MAX);
        // Room first: the disk may be no larger than what is allowed.
        let gone = {
            let mut kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner);
            kept.shrink(self.most.saturating_sub(bytes))
        };
        gone.iter().for_each(|key| self.unlink(key));
        if let Err(cause) = self.put(key, number, &file) {
            tracing::warn!(cause = %cause.kind(), "the cache cannot be written to, and is only read for a while");
            let mut pause = self.pause.lock().unwrap_or_else(PoisonError::into_inner);
            *pause = Instant::now().checked_add(PAUSE);
            return false;
        }
        let gone = {
            let mut kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner);
            kept.put(*key, bytes);
            kept.shrink(self.most)
        };
        gone.iter().for_each(|key| self.unlink(key));
        true
    }

    fn put(&self, key: &Key, number: u64, file: &[u8]) -> io::Result<()> {
        let path = self.path(key);
        let shard = path.parent().unwrap_or(&self.directory);
        own(shard)?;
        let beside = shard.join(format!("new-{number}-{}", self.written.fetch_add(1, Ordering::Relaxed)));
        let written = OpenOptions::new()
            .create_new(true)
            .write(true)
            .mode(0o600)
            .open(&beside)
            .and_then(|mut to| to.write_all(file))
            .and_then(|()| fs::rename(&beside, &path));
        if written.is_err() {
            let _ = fs::remove_file(&beside);
        }
        written
    }

    pub(super) fn remove(&self, key: &Key) {
        self.kept.lock().unwrap_or_else(PoisonError::into_inner).remove(key);
        self.unlink(key);
    }

    fn unlink(&self, key: &Key) {
        // One that is gone already is gone.
        let _ = fs::remove_file(self.path(key));
    }

    fn path(&self, key: &Key) -> PathBuf {
        let name = name(key);
        self.directory.join(name.get(..2).unwrap_or_default()).join(&name)
    }
}

/// Makes a directory for the owner alone, if it is not there.
fn own(directory: &Path) -> io::Result<()> {
    match DirBuilder::new().mode(0o700).create(directory) {
        Err(cause) if cause.kind() == io::ErrorKind::AlreadyExists => Ok(()),
        made => made,
    }
}

fn name(key: &Key) -> String {
    key.0.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// The key that a file is named by.
fn key(name: &str) -> Option<Key> {
    if name.len() != 64 || !name.is_ascii() {
        return None;
    }
    let mut key = [0; 32];
    for (byte, at) in key.iter_mut().zip((0..64).step_by(2)) {
        *byte = u8::from_str_radix(name.get(at..at + 2)?, 16).ok()?;
    }
    Some(Key(key))
}
