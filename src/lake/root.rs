//! Where a store begins: a local directory or a bucket, and the paths below it.

use object_store::path::Path;

/// A local directory or an S3 bucket. A location that does not lie below it has no path.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Root {
    /// An absolute directory, without a slash at its end.
    Directory(String),
    /// A bucket's name.
    Bucket(String),
    /// A bucket's name, and how the keys begin that are of this store: with a slash at the end.
    Within(String, String),
}

/// The path in a `file:` location, which is an absolute path or nothing.
fn local(location: &str) -> Option<&str> {
    let path = match location.strip_prefix("file:") {
        Some(rest) => rest.strip_prefix("//").unwrap_or(rest),
        None => location,
    };
    path.starts_with('/').then_some(path)
}

/// Bucket and key of an S3 location.
fn bucket(location: &str) -> Option<(&str, &str)> {
    let rest = ["s3://", "s3a://", "s3n://"].iter().find_map(|scheme| location.strip_prefix(scheme))?;
    let (bucket, key) = rest.split_once('/').unwrap_or((rest, ""));
    (!bucket.is_empty()).then_some((bucket, key))
}

impl Root {
    /// The store for everything below `location`.
    pub(crate) fn of(location: &str) -> Option<Self> {
        if let Some((bucket, _)) = bucket(location) {
            return Some(Self::Bucket(bucket.to_owned()));
        }
        let path = local(location)?.trim_end_matches('/');
        (!path.is_empty()).then(|| Self::Directory(path.to_owned()))
    }

    /// The store for what lies below `location` alone.
    pub(crate) fn within(location: &str) -> Option<Self> {
        match bucket(location) {
            Some((name, key)) if !key.trim_matches('/').is_empty() => {
                Some(Self::Within(name.to_owned(), format!("{}/", key.trim_matches('/'))))
            }
            _ => Self::of(location),
        }
    }

    /// The store for a table whose metadata file is known, and nothing else: the directory that holds `metadata/`.
    pub(crate) fn of_metadata(location: &str) -> Option<Self> {
        match Self::of(location)? {
            Self::Directory(path) => {
                let (parent, _) = path.rsplit_once('/')?;
                let (table, _) = parent.rsplit_once('/')?;
                (!table.is_empty()).then(|| Self::Directory(table.to_owned()))
            }
            bucket => Some(bucket),
        }
    }

    /// The path of `location` in this store. `..` and its like have none.
    pub(crate) fn path(&self, location: &str) -> Option<Path> {
        let key = match self {
            Self::Directory(root) => local(location)?.strip_prefix(root.as_str())?.strip_prefix('/')?,
            Self::Bucket(root) => bucket(location).and_then(|(name, key)| (name == root).then_some(key))?,
            Self::Within(root, begin) => {
                bucket(location).and_then(|(name, key)| (name == root && key.starts_with(begin)).then_some(key))?
            }
        };
        Path::parse(key).ok()
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "tests")]
mod tests {
    use super::*;

    #[test]
    fn a_path_stays_below_its_root() {
        let dir = Root::of("file:///lake/shop/").unwrap();
        assert_eq!(dir.path("file:///lake/shop/a/b.parquet").unwrap().as_ref(), "a/b.parquet");
        assert_eq!(dir.path("file:/lake/shop/a").unwrap().as_ref(), "a");
        assert_eq!(dir.path("/lake/shop/a").unwrap().as_ref(), "a");
        for outside in [
            "file:///lake/shopping/a",
            "file:///lake/shop/../other/a",
            "file:///etc/passwd",
            "s3://lake/shop/a",
            "lake",
        ] {
            assert_eq!(dir.path(outside), None, "{outside}");
        }
        let bucket = Root::of("s3a://shop/warehouse").unwrap();
        assert_eq!(bucket.path("s3://shop/x/y").unwrap().as_ref(), "x/y");
        assert_eq!(bucket.path("s3://shop2/x/y"), None);
        assert_eq!(bucket.path("s3://shop/x/../../y"), None);
        let part = Root::within("s3://lake/shop").unwrap();
        assert_eq!(part.path("s3a://lake/shop/x").unwrap().as_ref(), "shop/x");
        for outside in
            ["s3://lake/shopping/x", "s3://lake/payroll/x", "s3://other/shop/x", "s3://lake/shop/../payroll/x"]
        {
            assert_eq!(part.path(outside), None, "{outside}");
        }
    }

    #[test]
    fn a_pinned_metadata_file_opens_its_table_only() {
        let root = Root::of_metadata("file:///lake/t/metadata/v1.metadata.json").unwrap();
        assert_eq!(root, Root::Directory("/lake/t".into()));
        assert_eq!(Root::of_metadata("file:///v1.metadata.json"), None);
    }
}
