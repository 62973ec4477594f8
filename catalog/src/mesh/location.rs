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

/// The places that are read, in the words of a help.
pub(crate) const PLACES: &str = "write `file:…`, `s3://bucket/…`, `gs://bucket/…`, \
    `abfss://container@account.dfs.core.windows.net/…` or `https://host/…`";

/// The schemes of stores that are not on this machine.
const STORES: [&str; 10] = ["s3", "s3a", "gs", "abfss", "abfs", "wasbs", "wasb", "az", "https", "http"];
/// Those of Azure: each of them may name the same place.
const AZURE: [&str; 5] = ["abfss", "abfs", "wasbs", "wasb", "az"];

/// The absolute URL of a warehouse, a table's metadata or a file; `None` for a scheme that is not read.
pub(crate) fn url(text: &str, dir: &Path) -> Option<String> {
    if let Some((scheme, rest)) = text.split_once("://").filter(|(scheme, _)| STORES.contains(scheme)) {
        let authority = rest.split('/').next().unwrap_or_default();
        let is_web = ["https", "http"].contains(&scheme);
        // What logs in stands in `storage`, and a query is no part of a path.
        let is_plain = !is_web || !text.contains(['@', '?', '#']);
        return (!authority.is_empty() && is_plain).then(|| text.trim_end_matches('/').to_owned());
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

/// The URL of an Azure container with its account, where it names none.
pub(crate) fn of_account(url: &str, account: &str) -> Option<String> {
    let (scheme, rest) = url.split_once("://").filter(|(scheme, _)| AZURE.contains(scheme))?;
    let (container, path) = rest.split_once('/').unwrap_or((rest, ""));
    (!container.contains('@')).then(|| format!("{scheme}://{container}@{account}.dfs.core.windows.net/{path}"))
}

/// The file behind an absolute `sqlite:` URI, as a URL.
pub(crate) fn sqlite_file(uri: &str) -> String {
    let path = uri.strip_prefix("sqlite://").unwrap_or(uri);
    let path = path.split('?').next().unwrap_or(path);
    format!("file://{}", decode(path))
}

/// What a metadata file is one of: the directory of its table, where it lies as Iceberg writes it.
pub(crate) fn table(url: &str) -> &str {
    match url.rsplit_once('/') {
        Some((folder, _)) => folder.strip_suffix("/metadata").unwrap_or(url),
        None => url,
    }
}

/// The parts of an absolute URL's path after its scheme: two spellings of a place have the same ones.
pub(crate) fn parts(url: &str) -> Vec<String> {
    let (scheme, path) = url.split_once("://").unwrap_or(("file", url));
    // On this machine a link is what it leads to.
    let real = (scheme == "file").then(|| real(&absolute(path, Path::new("/"))));
    let path = real.as_deref().map_or(path.into(), |path| path.to_string_lossy());
    let scheme = match scheme {
        "s3a" => "s3",
        "https" => "http",
        azure if AZURE.contains(&azure) => "azure",
        other => other,
    };
    let (authority, path) = path.split_once('/').unwrap_or((&path, ""));
    let authority = match scheme {
        "azure" => authority.to_lowercase().replacen(".dfs.", ".blob.", 1),
        "http" => authority.to_lowercase(),
        _ => authority.to_owned(),
    };
    let parts = path.split('/').map(str::to_owned);
    let parts = std::iter::once(authority).chain(parts).filter(|part| !part.is_empty());
    std::iter::once(scheme.to_owned()).chain(parts).collect()
}

/// `path` with the links in as much of it as exists followed.
fn real(path: &Path) -> PathBuf {
    for there in path.ancestors() {
        if let (Ok(real), Ok(rest)) = (std::fs::canonicalize(there), path.strip_prefix(there)) {
            return real.components().chain(rest.components()).collect();
        }
    }
    path.to_owned()
}

/// Percents decoded, as SQLx does with the path of a database.
pub(crate) fn decode(path: &str) -> String {
    let mut bytes = Vec::with_capacity(path.len());
    let mut rest = path.as_bytes();
    while let [first, more @ ..] = rest {
        let code = match (first, more) {
            (b'%', [a, b, ..]) => char::from(*a).to_digit(16).zip(char::from(*b).to_digit(16)),
            _ => None,
        };
        let code = code.and_then(|(high, low)| u8::try_from(high * 16 + low).ok());
        bytes.push(code.unwrap_or(*first));
        rest = if code.is_some() { more.get(2..).unwrap_or_default() } else { more };
    }
    String::from_utf8_lossy(&bytes).into_owned()
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

/// The parts of a server's address and of the path there: two spellings of one have the same. The scheme is none of them,
/// and neither is the port that it means anyway.
pub(crate) fn address(uri: &str) -> Vec<String> {
    let (scheme, rest) = uri.split_once("://").unwrap_or_default();
    let rest = rest.split(['?', '#']).next().unwrap_or_default();
    let (authority, path) = rest.split_once('/').unwrap_or((rest, ""));
    let authority = authority.rsplit_once('@').map_or(authority, |(_, host)| host).to_ascii_lowercase();
    let usual = match scheme {
        "http" => "80",
        "https" => "443",
        "thrift" => "9083",
        _ => "5432",
    };
    let (host, port) = match authority.rsplit_once(':') {
        Some((host, port)) if port.bytes().all(|byte| byte.is_ascii_digit()) => (host, port.trim_start_matches('0')),
        _ => (authority.as_str(), ""),
    };
    let port = if port.is_empty() { usual } else { port };
    let port = if port == usual { String::new() } else { format!(":{port}") };
    let mut parts = vec![format!("{}{port}", decode(host).trim_end_matches('.'))];
    for part in path.split('/').map(decode) {
        match part.as_str() {
            "" | "." => {}
            ".." if parts.len() > 1 => {
                parts.pop();
            }
            ".." => {}
            _ => parts.push(part),
        }
    }
    parts
}

/// Whether an authority without a user is this machine.
pub(crate) fn is_here(authority: &str) -> bool {
    let host = match authority.strip_prefix('[').and_then(|rest| rest.split_once(']')) {
        Some((inside, _)) => inside,
        None => authority.split(':').next().unwrap_or_default(),
    };
    // A directory is where a socket of this machine is.
    decode(host).starts_with('/')
        || host.eq_ignore_ascii_case("localhost")
        || host.parse().is_ok_and(|address: std::net::IpAddr| address.is_loopback())
}

/// Text as it stands in any part of a URI.
pub(crate) fn encoded(text: &str) -> String {
    text.bytes().fold(String::new(), |mut out, byte| {
        match byte {
            b'-' | b'_' | b'.' | b'~' => out.push(char::from(byte)),
            _ if byte.is_ascii_alphanumeric() => out.push(char::from(byte)),
            _ => out.push_str(&format!("%{byte:02X}")),
        }
        out
    })
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
    fn two_spellings_of_a_place_have_the_same_parts() {
        let same = |a: &str, b: &str| assert_eq!(parts(a), parts(b));
        same(&sqlite_file("sqlite:///no%2Fx/a%20b.db?mode=ro"), "file:///no/x//y/../a b.db");
        same("s3://bucket//a/", "s3://bucket/a");
        same("s3://bucket/a", "s3a://bucket/a");
        same("abfss://c@shop.dfs.core.windows.net/a", "wasbs://c@shop.blob.core.windows.net/a");
        same("https://Lake.Example/a", "http://lake.example/a/");
        assert_ne!(parts("abfss://c@shop.dfs.core.windows.net/a"), parts("abfss://c@other.dfs.core.windows.net/a"));
        same(table("s3://b/t/metadata/v1.metadata.json"), table("s3://b/t/metadata/v2.metadata.json"));
        assert_ne!(parts(table("s3://b/t/v1.metadata.json")), parts(table("s3://b/t/v2.metadata.json")));
        assert_ne!(parts("file:///bucket"), parts("s3://bucket"));
    }

    #[test]
    fn two_spellings_of_a_server_have_the_same_parts() {
        let same = |a: &str, b: &str| assert_eq!(address(a), address(b));
        same("https://Catalog.Example:443/api//v1/", "http://catalog.example./api/./x/../v1?q");
        same("postgres://me@db:05432/lake?sslmode=require", "postgres://you:pw@DB/lake");
        same("https://[::1]:443/a", "https://[::1]/%61");
        for other in ["https://catalog.example:8443/api", "https://catalog.example/Api", "https://catalog.example"] {
            assert_ne!(address(other), address("https://catalog.example/api"), "{other}");
        }
        assert_ne!(address("https://[::1]:8181"), address("https://[::1]"));
    }

    #[test]
    fn a_link_is_what_it_leads_to() {
        let dir = tempfile::tempdir().unwrap();
        std::os::unix::fs::symlink(dir.path(), dir.path().join("link")).unwrap();
        let url = |path: &str| format!("file://{}/{path}", dir.path().display());
        assert_eq!(parts(&url("link/new/x")), parts(&url("new/x")));
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
        for store in ["gs://bucket/x", "abfss://c@a.dfs.core.windows.net/x", "az://c/x", "https://host:8443/x"] {
            assert_eq!(url(store).as_deref(), Some(store));
        }
        for none in
            ["gs:///x", "hdfs://host/x", "https://ann:pw@host/x", "https://host/x?sig=1", "https://", "ftp://host/x"]
        {
            assert_eq!(url(none), None, "{none}");
        }
        let full = of_account("az://c/x", "shop");
        assert_eq!(full.as_deref(), Some("az://c@shop.dfs.core.windows.net/x"));
        assert_eq!(of_account("abfss://c@other.dfs.core.windows.net/x", "shop"), None);
        assert_eq!(of_account("s3://c/x", "shop"), None);
        assert_eq!(url("file:"), None);
    }
}
