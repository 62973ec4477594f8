//! The mesh's files, unpacked from the binary into a directory.

use std::fs;
use std::io::{ErrorKind, Write};
use std::path::Path;

use include_dir::{Dir, include_dir};

use crate::error::{Class, Error};

static MESH: Dir<'_> = include_dir!("$CARGO_MANIFEST_DIR/examples/packly");

/// Unpacks the files of Packly into `dir`, which is made if it is not there. Where Packly is already, its files stay as
/// they are, edits included, and only missing ones are added.
///
/// # Errors
/// When `dir` holds something else, or cannot be written.
pub fn write_files(dir: &Path) -> Result<(), Error> {
    let failed = |what: &Path, error: &std::io::Error| {
        Error::new(Class::Storage, format!("cannot write `{}`: {error}", what.display()))
    };
    fs::create_dir_all(dir).map_err(|error| failed(dir, &error))?;
    let is_empty = fs::read_dir(dir).map_err(|error| failed(dir, &error))?.next().is_none();
    if !is_empty && !is_packly(dir) {
        return Err(Error::new(
            Class::BadRequest,
            format!("`{}` is not empty, and what is in it is not the demo mesh", dir.display()),
        )
        .help("name another directory, or an empty one"));
    }
    let mut open = vec![&MESH];
    while let Some(folder) = open.pop() {
        // Data that somebody generated inside the sources is no part of the mesh.
        open.extend(folder.dirs().filter(|inner| inner.path() != Path::new("lake")));
        let to = dir.join(folder.path());
        fs::create_dir_all(&to).map_err(|error| failed(&to, &error))?;
        for file in folder.files() {
            let to = dir.join(file.path());
            write_new(&to, file.contents(), file.path().starts_with("secrets")).map_err(|error| failed(&to, &error))?;
        }
    }
    Ok(())
}

/// Whether the `mesh.yaml` in `dir` says that this is Packly. Reading the mesh properly is not for this place: an edited
/// one that no longer loads is still Packly, and its reader says what is wrong with it.
fn is_packly(dir: &Path) -> bool {
    fs::read_to_string(dir.join("mesh.yaml"))
        .is_ok_and(|text| text.lines().any(|line| line.split('#').next().unwrap_or_default().trim() == "mesh: packly"))
}

fn write_new(path: &Path, contents: &[u8], is_secret: bool) -> std::io::Result<()> {
    let mut options = fs::OpenOptions::new();
    options.write(true).create_new(true);
    #[cfg(unix)]
    {
        use std::os::unix::fs::OpenOptionsExt;
        options.mode(if is_secret { 0o600 } else { 0o644 });
    }
    #[cfg(not(unix))]
    let _ = is_secret;
    match options.open(path) {
        Ok(mut file) => file.write_all(contents),
        Err(error) if error.kind() == ErrorKind::AlreadyExists => Ok(()),
        Err(error) => Err(error),
    }
}
