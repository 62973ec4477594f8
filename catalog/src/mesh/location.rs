//! Where things lie: relative paths of the mesh's files become absolute URLs, once.

use std::path::{Component, Path, PathBuf};

/// The absolute form of a catalog's `sqlite:` URI, as SQLx reads it; `None` if it names no file.
pub(crate) fn sqlite(uri: &str, dir: &Path) -> Option<String> {
    let rest = uri.strip_prefix("sqlite:")?;
    let rest = rest.strip_prefix("//").unwrap_or(rest);
    let (path, query) = match rest.split_once('?') {
        Some((path, query)) => (path, Some(query)),
        None => (rest, None),
    };
    if path.is_empty() || path.starts_with(':') {
        return None;
    }
    // What stands in the file is already an URI; the directory in front of it is not yet.
    let path = if path.starts_with('/') { encode_dots(path) } else { format!("{}/{}", encode(dir), encode_dots(path)) };
    Some(match query {
        Some(query) => format!("sqlite://{path}?{query}"),
        None => format!("sqlite://{path}"),
    })
}

/// The absolute URL of a warehouse, a table's metadata or a file; `None` for a scheme that is not read.
pub(crate) fn url(text: &str, dir: &Path) -> Option<String> {
    if let Some(rest) = text.strip_prefix("s3://") {
        let bucket = rest.split('/').next().unwrap_or_default();
        return (!bucket.is_empty()).then(|| text.trim_end_matches('/').to_owned());
    }
    let path = match text.strip_prefix("file:") {
        Some(rest) => match rest.strip_prefix("//") {
            // Only this machine's files: `file://host/…` is another one's.
            Some(rest) => rest.starts_with('/').then_some(rest)?,
            None => rest,
        },
        None if text.contains("://") => return None,
        None => text,
    };
    if path.is_empty() {
        return None;
    }
    Some(format!("file://{}", absolute(path, dir).display()))
}

/// `path` under `dir` without `.` and `..`.
fn absolute(path: &str, dir: &Path) -> PathBuf {
    let mut absolute = PathBuf::new();
    for component in dir.join(path).components() {
        match component {
            Component::CurDir => {}
            Component::ParentDir => {
                absolute.pop();
            }
            other => absolute.push(other),
        }
    }
    absolute
}

fn encode_dots(path: &str) -> String {
    path.strip_prefix("./").unwrap_or(path).to_owned()
}

/// SQLx decodes percents in the path and takes what follows `?` for options.
fn encode(dir: &Path) -> String {
    dir.to_string_lossy().replace('%', "%25").replace('?', "%3F").replace('#', "%23")
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing, reason = "tests")]
mod tests {
    use super::*;

    #[test]
    fn sqlite_uris_become_absolute_and_keep_their_options() {
        let dir = Path::new("/mesh?");
        let sqlite = |uri| sqlite(uri, dir);
        assert_eq!(sqlite("sqlite:lake/x.db").as_deref(), Some("sqlite:///mesh%3F/lake/x.db"));
        assert_eq!(sqlite("sqlite://lake/x.db?mode=ro").as_deref(), Some("sqlite:///mesh%3F/lake/x.db?mode=ro"));
        assert_eq!(sqlite("sqlite:///var/x.db").as_deref(), Some("sqlite:///var/x.db"));
        assert_eq!(sqlite("sqlite:/var/x.db").as_deref(), Some("sqlite:///var/x.db"));
        assert_eq!(sqlite("sqlite::memory:"), None);
        assert_eq!(sqlite("sqlite:"), None);
        assert_eq!(sqlite("postgres://x"), None);
    }

    #[test]
    fn urls_become_absolute() {
        let url = |text| url(text, Path::new("/mesh"));
        assert_eq!(url("file:lake/storefront").as_deref(), Some("file:///mesh/lake/storefront"));
        assert_eq!(url("lake/./a/../b").as_deref(), Some("file:///mesh/lake/b"));
        assert_eq!(url("file:///var/lake").as_deref(), Some("file:///var/lake"));
        assert_eq!(url("file:/var/lake").as_deref(), Some("file:///var/lake"));
        assert_eq!(url("s3://bucket/prefix/").as_deref(), Some("s3://bucket/prefix"));
        assert_eq!(url("s3:///prefix"), None);
        assert_eq!(url("file://host/x"), None);
        assert_eq!(url("gs://bucket/x"), None);
        assert_eq!(url("file:"), None);
    }
}
