//! A text in the user's own editor, in a file that nobody else reads.

use std::fs::OpenOptions;
use std::io::Write;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use uuid::Uuid;

use crate::cli::{Failure, terminal};

/// The text as the user leaves it, or `None` when they left it as it was.
///
/// # Errors
/// When there is no editor, or it fails.
pub fn edit(text: &str) -> Result<Option<String>, Failure> {
    let draft = Draft::write(text)?;
    let edited = edit_file(&draft.0)?;
    Ok((edited != text).then_some(edited))
}

/// The text of a file after the user has edited it.
///
/// # Errors
/// When there is no editor, or it fails, or the file cannot be read.
pub fn edit_file(file: &Path) -> Result<String, Failure> {
    let named = ["VISUAL", "EDITOR"].into_iter().find_map(|name| std::env::var(name).ok().filter(|e| !e.is_empty()));
    let editor = named.unwrap_or_else(|| "vi".to_owned());
    // The shell splits what the user gave with options; the file's name it gets as it is.
    let done = terminal::shell(&format!("{editor} \"$1\"")).arg("sh").arg(file).status()?;
    if !done.success() {
        return Err(Failure::Environment(format!("the editor `{editor}` ended with {done}")));
    }
    std::fs::read_to_string(file)
        .map_err(|error| Failure::Environment(format!("`{}` cannot be read: {error}", file.display())))
}

/// A file that goes with its last user.
struct Draft(PathBuf);

impl Draft {
    fn write(text: &str) -> std::io::Result<Self> {
        let path = std::env::temp_dir().join(format!("polder-{}.sql", Uuid::new_v4()));
        let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(&path)?;
        let draft = Self(path);
        file.write_all(text.as_bytes())?;
        Ok(draft)
    }
}

impl Drop for Draft {
    fn drop(&mut self) {
        let _ = std::fs::remove_file(&self.0);
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "tests")]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    #[test]
    fn a_draft_is_its_owners_alone_and_goes_away() {
        let draft = Draft::write("SELECT 1;").unwrap();
        let path = draft.0.clone();
        assert_eq!(std::fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
        drop(draft);
        assert!(!path.exists());
    }
}
