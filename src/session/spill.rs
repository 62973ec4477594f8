//! Where statements spill to: a directory that may go away while the server runs, and come back.
//!
//! DataFusion makes a directory of its own in it once, and knows no other one. So it is looked at before each statement, and
//! made anew where it is gone: a disk that was away for a while costs those statements an error that had to spill meanwhile.

use std::fmt::Write as _;
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};

use datafusion::error::Result;
use datafusion::execution::disk_manager::{DiskManager, DiskManagerBuilder, DiskManagerMode};

/// The directory of all statements together.
#[derive(Debug)]
pub(super) struct Spill {
    mode: DiskManagerMode,
    most: u64,
    disk: Mutex<Arc<DiskManager>>,
}

impl Spill {
    /// A place for `most` bytes.
    ///
    /// # Errors
    /// When the directory cannot be had.
    pub(super) fn new(mode: DiskManagerMode, most: u64) -> Result<Self> {
        let disk = Mutex::new(Arc::new(made(&mode, most)?));
        Ok(Self { mode, most, disk })
    }

    /// How it is made for a statement that has a place of its own.
    pub(super) fn mode(&self) -> DiskManagerMode {
        self.mode.clone()
    }

    /// The place as it is now.
    pub(super) fn disk(&self) -> Arc<DiskManager> {
        let mut disk = self.disk.lock().unwrap_or_else(PoisonError::into_inner);
        let gone = disk.temp_dir_paths().iter().any(|path| !Path::is_dir(path));
        // While it cannot be made, only those fail who have to spill.
        if gone && let Ok(made) = made(&self.mode, self.most) {
            tracing::warn!("the spill directory was gone and was made anew");
            *disk = Arc::new(made);
        }
        Arc::clone(&disk)
    }

    /// What lies there, as Prometheus reads it.
    pub(super) fn render(&self) -> String {
        let held = self.disk.lock().unwrap_or_else(PoisonError::into_inner).used_disk_space();
        let mut text = "# HELP polder_spilled_bytes Bytes that statements have spilled and still need.\n\
                        # TYPE polder_spilled_bytes gauge\n"
            .to_owned();
        let _into_text = writeln!(text, "polder_spilled_bytes {held}");
        text
    }
}

fn made(mode: &DiskManagerMode, most: u64) -> Result<DiskManager> {
    DiskManagerBuilder::default().with_mode(mode.clone()).with_max_temp_directory_size(most).build()
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "tests")]
mod tests {
    use super::*;

    #[test]
    fn a_directory_that_was_taken_away_is_made_anew() {
        let dir = tempfile::tempdir().unwrap();
        let root = dir.path().join("spill");
        let spill = Spill::new(DiskManagerMode::Directories(vec![root.clone()]), 1 << 20).unwrap();
        let first = spill.disk();
        assert!(Arc::ptr_eq(&first, &spill.disk()), "one that is there is kept");
        assert!(first.create_tmp_file("a test").is_ok());
        std::fs::remove_dir_all(&root).unwrap();
        assert!(first.create_tmp_file("a test").is_err());
        assert!(spill.disk().create_tmp_file("a test").is_ok());
        std::fs::remove_dir_all(dir.path()).unwrap();
        assert!(spill.disk().create_tmp_file("a test").is_err(), "what is around it is gone as well");
        std::fs::create_dir(dir.path()).unwrap();
        assert!(spill.disk().create_tmp_file("a test").is_ok());
    }
}
