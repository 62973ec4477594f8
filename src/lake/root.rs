//! Where a store begins: a local directory, a bucket or a folder of a web server, and the paths below it.

use object_store::path::Path;
use polder_catalog::mesh::storage::Kind;

/// Where a store begins. A location that does not lie below it has no path.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Root {
    /// An absolute directory, without a slash at its end.
    Directory(String),
    /// A bucket.
    Bucket(Bucket),
    /// A bucket, and how the keys begin that are of this store: with a slash at the end.
    Within(Bucket, String),
    /// A URL, with a slash at its end.
    Web(String),
}

/// A bucket of a cloud.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Bucket {
    S3(String),
    Google(String),
    /// A container, and the host of its account where that is told: `shop.blob.core.windows.net`.
    Azure {
        container: String,
        host: Option<String>,
    },
}

/// The path in a `file:` location, which is an absolute path or nothing.
fn local(location: &str) -> Option<&str> {
    let path = match location.strip_prefix("file:") {
        Some(rest) => rest.strip_prefix("//").unwrap_or(rest),
        None => location,
    };
    path.starts_with('/').then_some(path)
}

/// The bucket of a location, and the key in it.
fn bucket(location: &str) -> Option<(Bucket, &str)> {
    let (scheme, rest) = location.split_once("://")?;
    let (name, key) = rest.split_once('/').unwrap_or((rest, ""));
    let bucket = match scheme {
        "s3" | "s3a" | "s3n" => Bucket::S3(name.to_owned()),
        "gs" => Bucket::Google(name.to_owned()),
        "abfss" | "abfs" | "wasbs" | "wasb" | "az" => Bucket::azure(name)?,
        _ => return None,
    };
    (!name.is_empty()).then_some((bucket, key))
}

/// A location on a web server, if its path is one that says what it means.
fn web(location: &str) -> Option<&str> {
    let is_web = location.starts_with("https://") || location.starts_with("http://");
    let is_plain = !location.contains(['?', '#', '@', '\\']) && !location.to_ascii_lowercase().contains("%2f");
    (is_web && is_plain).then_some(location)
}

impl Bucket {
    /// From `container` or `container@account.dfs.core.windows.net`. Azure's two protocols are one store.
    fn azure(authority: &str) -> Option<Self> {
        let (container, host) = match authority.split_once('@') {
            Some((container, host)) => (container, Some(host.to_ascii_lowercase().replacen(".dfs.", ".blob.", 1))),
            None => (authority, None),
        };
        let container = container.to_owned();
        (!container.is_empty()).then_some(Self::Azure { container, host })
    }

    pub(crate) fn kind(&self) -> Kind {
        match self {
            Self::S3(_) => Kind::S3,
            Self::Google(_) => Kind::Google,
            Self::Azure { .. } => Kind::Azure,
        }
    }

    /// Whether what lies in `other` lies here: a container that names no account is one of this account.
    fn holds(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::Azure { container, .. }, Self::Azure { container: theirs, host: None }) => container == theirs,
            _ => self == other,
        }
    }
}

impl Root {
    /// The store for everything below `location`.
    pub(crate) fn of(location: &str) -> Option<Self> {
        if let Some((bucket, _)) = bucket(location) {
            return Some(Self::Bucket(bucket));
        }
        if let Some(url) = web(location) {
            return Some(Self::Web(format!("{}/", url.trim_end_matches('/'))));
        }
        let path = local(location)?.trim_end_matches('/');
        (!path.is_empty()).then(|| Self::Directory(path.to_owned()))
    }

    /// The store for what lies below `location` alone.
    pub(crate) fn within(location: &str) -> Option<Self> {
        match bucket(location) {
            Some((bucket, key)) if !key.trim_matches('/').is_empty() => {
                Some(Self::Within(bucket, format!("{}/", key.trim_matches('/'))))
            }
            _ => Self::of(location),
        }
    }

    /// The store for a table whose metadata file is known, and nothing else: the directory that holds `metadata/`.
    pub(crate) fn of_metadata(location: &str) -> Option<Self> {
        match Self::of(location)? {
            Self::Directory(path) => {
                let (table, _) = path.rsplit_once('/')?.0.rsplit_once('/')?;
                (!table.is_empty()).then(|| Self::Directory(table.to_owned()))
            }
            Self::Web(url) => {
                let (table, _) = url.trim_end_matches('/').rsplit_once('/')?.0.rsplit_once('/')?;
                // Not above the server.
                (!table.ends_with('/')).then(|| Self::Web(format!("{table}/")))
            }
            bucket => Some(bucket),
        }
    }

    /// The path of `location` in this store. `..` and its like have none.
    pub(crate) fn path(&self, location: &str) -> Option<Path> {
        let key = match self {
            Self::Directory(root) => local(location)?.strip_prefix(root.as_str())?.strip_prefix('/')?,
            Self::Bucket(root) => bucket(location).and_then(|(bucket, key)| root.holds(&bucket).then_some(key))?,
            Self::Within(root, begin) => {
                let (bucket, key) = bucket(location)?;
                (root.holds(&bucket) && key.starts_with(begin)).then_some(key)?
            }
            Self::Web(root) => return Path::from_url_path(web(location)?.strip_prefix(root.as_str())?).ok(),
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
        for outside in ["s3://shop2/x/y", "s3://shop/x/../../y", "gs://shop/x/y"] {
            assert_eq!(bucket.path(outside), None, "{outside}");
        }
        let part = Root::within("s3://lake/shop").unwrap();
        assert_eq!(part.path("s3a://lake/shop/x").unwrap().as_ref(), "shop/x");
        for outside in
            ["s3://lake/shopping/x", "s3://lake/payroll/x", "s3://other/shop/x", "s3://lake/shop/../payroll/x"]
        {
            assert_eq!(part.path(outside), None, "{outside}");
        }
    }

    #[test]
    fn a_container_is_one_of_its_account_however_it_is_spelt() {
        let root = Root::of("abfss://c@shop.dfs.core.windows.net/lake").unwrap();
        for inside in [
            "abfss://c@shop.dfs.core.windows.net/x",
            "wasbs://c@shop.blob.core.windows.net/x",
            "abfs://c@SHOP.dfs.core.windows.net/x",
            "az://c/x",
        ] {
            assert_eq!(root.path(inside).unwrap().as_ref(), "x", "{inside}");
        }
        for outside in [
            "abfss://c@other.dfs.core.windows.net/x",
            "abfss://c@shop.dfs.evil.example/x",
            "abfss://d@shop.dfs.core.windows.net/x",
            "abfss://c@shop.dfs.core.windows.net/../x",
            "abfss://@shop.dfs.core.windows.net/x",
            "s3://c/x",
        ] {
            assert_eq!(root.path(outside), None, "{outside}");
        }
        let unnamed = Root::of("az://c/lake").unwrap();
        assert_eq!(unnamed.path("abfss://c@shop.dfs.core.windows.net/x"), None);
        assert_eq!(Root::of("az://").and_then(|root| root.path("az:///x")), None);
    }

    #[test]
    fn a_web_server_is_read_below_its_root_alone() {
        let root = Root::of("https://lake.example/shop").unwrap();
        assert_eq!(root.path("https://lake.example/shop/a/b.parquet").unwrap().as_ref(), "a/b.parquet");
        assert_eq!(root.path("https://lake.example/shop/a%20b").unwrap(), Path::parse("a b").unwrap());
        for outside in [
            "http://lake.example/shop/a",
            "https://lake.example/shopping/a",
            "https://lake.example/shop/../a",
            "https://lake.example/shop/%2e%2e/a",
            "https://lake.example/shop/a%2Fb",
            "https://lake.example/shop/a?x=1",
            "https://evil.example/shop/a",
            "https://lake.example@evil.example/shop/a",
            "file:///shop/a",
        ] {
            assert_eq!(root.path(outside), None, "{outside}");
        }
        let table = Root::of_metadata("https://lake.example/t/metadata/v1.metadata.json").unwrap();
        assert_eq!(table, Root::Web("https://lake.example/t/".into()));
        assert_eq!(Root::of_metadata("https://lake.example/v1.metadata.json"), None);
    }

    #[test]
    fn a_pinned_metadata_file_opens_its_table_only() {
        let root = Root::of_metadata("file:///lake/t/metadata/v1.metadata.json").unwrap();
        assert_eq!(root, Root::Directory("/lake/t".into()));
        assert_eq!(Root::of_metadata("file:///v1.metadata.json"), None);
    }
}
