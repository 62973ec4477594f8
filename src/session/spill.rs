//! Where statements spill to: a directory that may go away while the server runs, and come back.
//!
//! ```text
//! DIR/polder-spill-UUID/lock            held while the process lives
//! DIR/polder-spill-UUID/datafusion-…    what its statements spilled
//! ```
//!
//! DataFusion makes a directory of its own in it once, and knows no other one. So it is looked at before each statement, and
//! made anew where it is gone: a disk that was away for a while costs those statements an error that had to spill meanwhile.
//!
//! A process that is killed removes nothing. Who starts next in DIR removes what it left: directories of this name and this
//! user whose lock nobody holds. A process id would not tell: containers that share a directory have the same ones. Nothing
//! else in DIR is touched, since others keep their things there. Without a DIR it is the system's temporary directory; where
//! that cannot be written at the start, only those statements fail that have to spill.

use std::fmt::Write as _;
use std::fs::{self, DirBuilder, DirEntry, File};
use std::io;
use std::os::unix::fs::{DirBuilderExt as _, MetadataExt as _};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError, Weak};

use datafusion::error::Result;
use datafusion::execution::disk_manager::{DiskManager, DiskManagerBuilder, DiskManagerMode};
use uuid::Uuid;

use crate::lock;

const PREFIX: &str = "polder-spill-";

/// The directory of all statements together.
#[derive(Debug)]
pub(super) struct Spill {
    /// What was named, or the system's temporary directory.
    directory: PathBuf,
    most: u64,
    place: Mutex<Place>,
    /// Of the statements that may spill so much each and no more.
    own: Mutex<Vec<Weak<DiskManager>>>,
}

impl Spill {
    /// A place for `most` bytes in the directory that is named, or in the system's temporary one. What killed processes left
    /// there is removed.
    ///
    /// # Errors
    /// When a directory that is named cannot be had.
    pub(super) fn new(named: Option<PathBuf>, most: u64) -> Result<Self> {
        let is_named = named.is_some();
        Self::at(named.unwrap_or_else(std::env::temp_dir), is_named, most)
    }

    fn at(directory: PathBuf, is_named: bool, most: u64) -> Result<Self> {
        let place = match Place::make(Some(&directory), most, None) {
            Err(_) if !is_named => Place::make(None, most, None)?,
            place => place?,
        };
        if let Some(home) = &place.home
            && let Err(cause) = clear(&directory, home)
        {
            tracing::warn!(kind = %cause.kind(), "the spill directory cannot be searched for what killed processes left");
        }
        Ok(Self { directory, most, place: Mutex::new(place), own: Mutex::default() })
    }

    /// The place of a statement that may spill so much and no more, beside all others.
    ///
    /// # Errors
    /// When it cannot be made.
    pub(super) fn own(&self, most: u64) -> Result<Arc<DiskManager>> {
        let mode = mode(self.place.lock().unwrap_or_else(PoisonError::into_inner).home.as_deref());
        let disk = DiskManagerBuilder::default().with_mode(mode).with_max_temp_directory_size(most).build()?;
        let disk = Arc::new(disk);
        let mut own = self.own.lock().unwrap_or_else(PoisonError::into_inner);
        own.retain(|other| other.strong_count() > 0);
        own.push(Arc::downgrade(&disk));
        Ok(disk)
    }

    /// The place as it is now.
    pub(super) fn disk(&self) -> Arc<DiskManager> {
        let mut place = self.place.lock().unwrap_or_else(PoisonError::into_inner);
        let gone = place.disk.temp_dir_paths().iter().any(|path| !Path::is_dir(path));
        // While it cannot be made, only those fail who have to spill.
        if gone && let Ok(made) = Place::make(Some(&self.directory), self.most, place.home.clone()) {
            tracing::warn!("the spill directory was gone and was made anew");
            *place = made;
        }
        Arc::clone(&place.disk)
    }

    /// What lies there, as Prometheus reads it.
    pub(super) fn render(&self) -> String {
        let all = self.place.lock().unwrap_or_else(PoisonError::into_inner).disk.used_disk_space();
        let own = self.own.lock().unwrap_or_else(PoisonError::into_inner);
        let held = own.iter().filter_map(Weak::upgrade).fold(all, |held, disk| held + disk.used_disk_space());
        let mut text = "# HELP polder_spilled_bytes Bytes that statements have spilled and still need.\n\
                        # TYPE polder_spilled_bytes gauge\n"
            .to_owned();
        let _into_text = writeln!(text, "polder_spilled_bytes {held}");
        text
    }
}

/// What there is on the disk. What DataFusion made in the directory is dropped before it.
#[derive(Debug)]
struct Place {
    disk: Arc<DiskManager>,
    home: Option<Arc<Home>>,
}

impl Place {
    /// Makes it in `directory`; a home that is still there is kept, since statements may have files in it.
    fn make(directory: Option<&Path>, most: u64, kept: Option<Arc<Home>>) -> Result<Self> {
        let home = match (kept.filter(|home| home.path.is_dir()), directory) {
            (None, Some(directory)) => Some(Arc::new(Home::make(directory)?)),
            (kept, _) => kept,
        };
        let mode = mode(home.as_deref());
        let disk = DiskManagerBuilder::default().with_mode(mode).with_max_temp_directory_size(most).build()?;
        Ok(Self { disk: Arc::new(disk), home })
    }
}

fn mode(home: Option<&Home>) -> DiskManagerMode {
    match home {
        Some(home) => DiskManagerMode::Directories(vec![home.path.clone()]),
        None => DiskManagerMode::OsTmpDirectory,
    }
}

/// A directory that this process alone spills to.
#[derive(Debug)]
struct Home {
    path: PathBuf,
    lock: File,
}

impl Home {
    fn make(directory: &Path) -> io::Result<Self> {
        if !directory.exists() {
            fs::create_dir(directory)?;
        }
        let path = directory.join(format!("{PREFIX}{}", Uuid::new_v4()));
        // Beside its place until it is locked: who finds it there without a lock takes it for one that was left.
        let beside = path.with_extension("new");
        DirBuilder::new().mode(0o700).create(&beside)?;
        let locked = lock::take(&beside).map_err(io::Error::from);
        let locked = locked.and_then(|lock| fs::rename(&beside, &path).map(|()| lock));
        if locked.is_err() {
            let _ = fs::remove_dir_all(&beside);
        }
        Ok(Self { path, lock: locked? })
    }
}

impl Drop for Home {
    fn drop(&mut self) {
        let is_lock = |entry: io::Result<DirEntry>| entry.is_ok_and(|entry| entry.file_name() == lock::NAME);
        // What statements still need that outlive the engine stays for whoever starts next.
        if fs::read_dir(&self.path).is_ok_and(|mut entries| entries.all(is_lock)) {
            let _ = fs::remove_dir_all(&self.path);
        }
    }
}

/// Removes the homes in `directory` whose processes are gone.
fn clear(directory: &Path, own: &Home) -> io::Result<()> {
    let user = own.lock.metadata()?.uid();
    for entry in fs::read_dir(directory)? {
        let entry = entry?;
        if !is_home(&entry, user) {
            continue;
        }
        // Held meanwhile: of two that start at once, one removes it.
        let Ok(_lock) = lock::take(&entry.path()) else { continue };
        match fs::remove_dir_all(entry.path()) {
            Ok(()) => tracing::info!("what a killed process had spilled was removed"),
            Err(cause) => tracing::warn!(kind = %cause.kind(), "what a killed process had spilled cannot be removed"),
        }
    }
    Ok(())
}

/// Whether it is a home that a process of `user` made, and no link to anything.
fn is_home(entry: &DirEntry, user: u32) -> bool {
    let name = entry.file_name();
    let id = name.to_str().and_then(|name| name.strip_prefix(PREFIX));
    id.is_some_and(|id| Uuid::try_parse(id).is_ok())
        && entry.metadata().is_ok_and(|found| found.is_dir() && found.uid() == user)
        && fs::symlink_metadata(entry.path().join(lock::NAME)).is_ok_and(|found| found.is_file())
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "tests")]
mod tests {
    use super::*;

    fn spill(root: &Path) -> Spill {
        Spill::new(Some(root.to_owned()), 1 << 20).unwrap()
    }

    fn home(spill: &Spill) -> PathBuf {
        spill.place.lock().unwrap().home.as_ref().unwrap().path.clone()
    }

    #[test]
    fn a_directory_that_was_taken_away_is_made_anew() {
        let dir = tempfile::tempdir().unwrap();
        let root = dir.path().join("spill");
        let spill = spill(&root);
        let first = spill.disk();
        assert!(Arc::ptr_eq(&first, &spill.disk()), "one that is there is kept");
        assert!(first.create_tmp_file("a test").is_ok());
        fs::remove_dir_all(&root).unwrap();
        assert!(first.create_tmp_file("a test").is_err());
        assert!(spill.disk().create_tmp_file("a test").is_ok());
        fs::remove_dir_all(dir.path()).unwrap();
        assert!(spill.disk().create_tmp_file("a test").is_err(), "what is around it is gone as well");
        fs::create_dir(dir.path()).unwrap();
        assert!(spill.disk().create_tmp_file("a test").is_ok());
    }

    #[test]
    fn a_home_that_is_still_there_is_kept_for_those_who_have_files_in_it() {
        let dir = tempfile::tempdir().unwrap();
        let spill = spill(dir.path());
        let (home, first) = (home(&spill), spill.disk());
        first.temp_dir_paths().iter().for_each(|path| fs::remove_dir_all(path).unwrap());
        assert!(spill.disk().create_tmp_file("a test").is_ok());
        assert_eq!(self::home(&spill), home);
        assert!(lock::is_taken(&home));
    }

    #[test]
    fn what_a_killed_process_left_is_removed_and_nothing_else() {
        let dir = tempfile::tempdir().unwrap();
        let named = |name: &str| dir.path().join(name);
        let id = "0f8fad5b-d9cb-469f-a165-70867728950e";
        // As a kill leaves it: nobody holds the lock.
        let left = named(&format!("{PREFIX}{id}"));
        let spilled = left.join("datafusion-a");
        fs::create_dir_all(&spilled).unwrap();
        fs::write(spilled.join("rows"), "rows").unwrap();
        fs::write(left.join(lock::NAME), "").unwrap();

        let mine = named("mine");
        let unlocked = named(&format!("{PREFIX}{}", Uuid::new_v4()));
        let misnamed = named(&format!("{PREFIX}of-mine"));
        let others = [&mine, &unlocked, &misnamed, &named("datafusion-a")];
        for other in others {
            fs::create_dir(other).unwrap();
            fs::write(other.join("rows"), "rows").unwrap();
        }
        for other in [&mine, &misnamed] {
            fs::write(other.join(lock::NAME), "").unwrap();
        }
        let link = named(&format!("{PREFIX}{}", Uuid::new_v4()));
        std::os::unix::fs::symlink(&mine, &link).unwrap();

        let living = spill(dir.path());
        let rows = living.disk().create_tmp_file("a test").unwrap();
        assert!(!left.exists());
        let next = spill(dir.path());
        assert!(rows.path().is_file(), "another process still lives");
        assert!(next.disk().create_tmp_file("a test").is_ok());
        for other in others {
            assert!(other.join("rows").is_file(), "{}", other.display());
        }
        assert!(fs::symlink_metadata(&link).is_ok());
    }

    #[test]
    fn a_directory_that_nobody_named_is_cleared_too_and_may_be_one_that_cannot_be_written() {
        let dir = tempfile::tempdir().unwrap();
        let left = dir.path().join(format!("{PREFIX}{}", Uuid::new_v4()));
        fs::create_dir(&left).unwrap();
        fs::write(left.join(lock::NAME), "").unwrap();
        let spill = Spill::at(dir.path().to_owned(), false, 1 << 20).unwrap();
        assert!(!left.exists());
        assert!(spill.disk().create_tmp_file("a test").unwrap().path().starts_with(dir.path()));
        let nowhere = dir.path().join("not/there");
        assert!(Spill::at(nowhere.clone(), true, 1 << 20).is_err());
        assert!(Spill::at(nowhere, false, 1 << 20).is_ok());
    }

    #[test]
    fn what_a_statement_spills_to_a_place_of_its_own_is_told_with_the_rest() {
        let dir = tempfile::tempdir().unwrap();
        let spill = spill(dir.path());
        let told = |bytes: usize| spill.render().ends_with(&format!("polder_spilled_bytes {bytes}\n"));
        let own = spill.own(100).unwrap();
        let mut file = own.create_tmp_file("a test").unwrap();
        assert!(file.path().starts_with(home(&spill)));
        fs::write(file.path(), [0; 60]).unwrap();
        file.update_disk_usage().unwrap();
        assert!(told(60));
        fs::write(file.path(), [0; 101]).unwrap();
        assert!(file.update_disk_usage().is_err());
        drop((file, own));
        assert!(told(0));
        drop(spill.own(100).unwrap());
        spill.own(100).unwrap();
        assert_eq!(spill.own.lock().unwrap().len(), 1, "those that ended are not kept");
    }

    #[test]
    fn who_ends_leaves_nothing() {
        let dir = tempfile::tempdir().unwrap();
        let spill = spill(dir.path());
        drop(spill.disk().create_tmp_file("a test").unwrap());
        drop(spill);
        assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 0);
    }
}
