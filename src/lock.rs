//! A directory that one process at a time has: it holds the lock of a file in it, which the system takes back however it ends.

use std::fs::{File, OpenOptions, TryLockError};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::Path;

/// What the file is called.
pub(crate) const NAME: &str = "lock";

/// Takes `dir` for as long as the file is open. `WouldBlock` says that another process has it.
pub(crate) fn take(dir: &Path) -> Result<File, TryLockError> {
    let lock = OpenOptions::new().write(true).create(true).truncate(false).mode(0o600).open(dir.join(NAME));
    let lock = lock.map_err(TryLockError::Error)?;
    lock.try_lock()?;
    Ok(lock)
}

/// Whether a process has `dir`.
pub(crate) fn is_taken(dir: &Path) -> bool {
    File::open(dir.join(NAME)).is_ok_and(|lock| matches!(lock.try_lock_shared(), Err(TryLockError::WouldBlock)))
}
