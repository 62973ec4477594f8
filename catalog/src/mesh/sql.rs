//! `catalog: { type: sql, … }` of a domain: tables of a database, in the schema that PyIceberg and Java share.
//!
//! ```text
//! sqlite:lake/catalog.db             a file, relative to the mesh
//! postgres://reader@db.example/lake  a server: `sslmode` is `verify-full` unless it is this machine, or written otherwise
//! ```
//!
//! A password is a secret of its own, or the whole URI is one. Whatever else a client of PostgreSQL could be told is an
//! error: nothing in a URI is passed on that was not understood here.

use std::path::Path;

use super::CatalogConfig;
use super::domain::{has_password, read_secret};
use super::location::{self, decode, encoded, is_here};
use crate::document::fields::{Fields, text};
use crate::document::file::Tree;
use crate::document::yaml::Node;
use crate::document::{Place, Report, quote};
use crate::name::DomainName;
use crate::secret::Secret;

/// What a client can be told in the URI of a server.
const OPTIONS: [&str; 4] = ["sslmode", "sslrootcert", "sslcert", "sslkey"];
/// Modes in which others may be able to read along.
const OPEN: [&str; 3] = ["disable", "allow", "prefer"];
const CLOSED: [&str; 3] = ["require", "verify-ca", "verify-full"];

pub(super) fn read(
    fields: &mut Fields<'_>,
    tree: &Tree<'_>,
    domain: &DomainName,
    report: &mut Report,
) -> Option<CatalogConfig> {
    let name = fields.text("name", report).unwrap_or(domain.as_str()).to_owned();
    let uri = match fields.get("uri") {
        Some(node) => uri(node, tree, report).map(|uri| (uri, &node.place)),
        None => {
            report.error("document/missing", fields.place, "`uri` is missing");
            None
        }
    };
    let password_place = fields.key_place("password");
    let password = fields.get("password").and_then(|node| read_secret(node, "password", tree, report));
    let places = |place| (place, password_place);
    let uri = uri.and_then(|(uri, place)| absolute(&uri, password.as_ref(), tree, places(place), report));
    let warehouse = fields.required("warehouse", report).and_then(|text| {
        let url = location::url(text, tree.dir());
        if url.is_none() {
            let message = format!("the warehouse {} is no place that can be read", quote(text));
            report.error("domain/location", fields.key_place("warehouse"), message).help(location::PLACES);
        }
        url
    });
    Some(CatalogConfig::Sql { name, uri: uri?, warehouse: warehouse? })
}

/// The URI may be a secret as a whole; a password in a literal one would be a secret in a file.
fn uri(node: &Node, tree: &Tree<'_>, report: &mut Report) -> Option<Secret> {
    let written = text(node, "uri", report)?;
    if Secret::is_reference(written) {
        return read_secret(node, "uri", tree, report);
    }
    if has_password(written) {
        report
            .error("secret/literal", &node.place, "a password stands in the catalog's URI")
            .help("write `password: \"${env:NAME}\"`, or keep the whole URI in a secret: `uri: \"${env:NAME}\"`");
        return None;
    }
    Some(Secret::new(written))
}

/// The URI with everything said in it that opening the catalog takes.
fn absolute(
    uri: &Secret,
    password: Option<&Secret>,
    tree: &Tree<'_>,
    (place, password_place): (&Place, &Place),
    report: &mut Report,
) -> Option<Secret> {
    let Some(rest) = server(uri.expose()) else {
        if password.is_some() {
            report.error("domain/login", password_place, "a `password` goes with `postgres:`");
        }
        let file = location::sqlite(uri.expose(), tree.dir());
        if file.is_none() {
            report
                .error("domain/uri", place, "a SQL catalog is a SQLite file or a PostgreSQL server")
                .help("write `sqlite:` and a path, or `postgres://user@host/database`");
        }
        return file.map(Secret::new);
    };
    match postgres(rest, password.map(Secret::expose), tree.dir()) {
        Ok(uri) => Some(Secret::new(uri)),
        Err(Fault::Open) => {
            report
                .error(
                    "domain/plain-text",
                    place,
                    "what this catalog is asked and answers could be read on the network",
                )
                .help("leave `sslmode` out, or write `sslmode=verify-full`");
            None
        }
        Err(Fault::Bad(what)) => {
            report
                .error("domain/uri", place, format!("the catalog's URI is none: {what}"))
                .help("write `postgres://user@host/database`");
            None
        }
    }
}

/// What stands behind the scheme of a server's URI.
pub(super) fn server(uri: &str) -> Option<&str> {
    uri.strip_prefix("postgres://").or_else(|| uri.strip_prefix("postgresql://"))
}

/// Why a URI is refused, in words that hold nothing of it.
#[derive(Debug, PartialEq, Eq)]
enum Fault {
    Open,
    Bad(&'static str),
}

fn postgres(rest: &str, password: Option<&str>, dir: &Path) -> Result<String, Fault> {
    if rest.contains('#') || rest.contains(char::is_whitespace) {
        return Err(Fault::Bad("it has a letter that cannot stand in one"));
    }
    let (rest, options) = rest.split_once('?').unwrap_or((rest, ""));
    let (authority, database) = rest.split_once('/').unwrap_or((rest, ""));
    let (user, host) = authority.rsplit_once('@').ok_or(Fault::Bad("it names no user"))?;
    let (user, own) = user.split_once(':').map_or((user, None), |(user, password)| (user, Some(password)));
    if user.is_empty() {
        return Err(Fault::Bad("it names no user"));
    }
    if host.is_empty() || host.starts_with(':') {
        return Err(Fault::Bad("it names no host"));
    }
    if database.is_empty() || database.contains('/') {
        return Err(Fault::Bad("it names no database"));
    }
    let secret = match (own, password) {
        (Some(_), Some(_)) => return Err(Fault::Bad("it has a password, and another one stands beside it")),
        (Some(own), None) => format!(":{own}"),
        (None, Some(password)) => format!(":{}", encoded(password)),
        (None, None) => String::new(),
    };
    let (mut mode, mut files) = (None, String::new());
    for option in options.split('&').filter(|option| !option.is_empty()) {
        let (key, value) = option.split_once('=').unwrap_or((option, ""));
        match key {
            "sslmode" if mode.is_none() && (OPEN.contains(&value) || CLOSED.contains(&value)) => mode = Some(value),
            "sslmode" => return Err(Fault::Bad("its `sslmode` is not known")),
            _ if OPTIONS.contains(&key) && !value.is_empty() => {
                let path = dir.join(decode(value));
                files.push_str(&format!("&{key}={}", encoded(&path.to_string_lossy())));
            }
            _ => return Err(Fault::Bad("of options it may have `sslmode`, `sslrootcert`, `sslcert` and `sslkey`")),
        }
    }
    let here = is_here(host);
    if !here && mode.is_some_and(|mode| OPEN.contains(&mode)) {
        return Err(Fault::Open);
    }
    let mode = mode.unwrap_or(if here { "prefer" } else { "verify-full" });
    // Without one it would be taken from the environment.
    let port = if host.rsplit(']').next().is_some_and(|behind| behind.contains(':')) { "" } else { ":5432" };
    Ok(format!("postgres://{user}{secret}@{host}{port}/{database}?sslmode={mode}{files}"))
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "tests")]
mod tests {
    use super::*;

    fn read(uri: &str, password: Option<&str>) -> Result<String, Fault> {
        postgres(server(uri).unwrap(), password, Path::new("/mesh dir"))
    }

    #[test]
    fn a_server_that_is_not_here_is_asked_for_its_certificate() {
        let full = "postgres://me@db.example:5432/lake?sslmode=verify-full";
        assert_eq!(read("postgresql://me@db.example/lake", None).unwrap(), full);
        assert_eq!(
            read("postgres://me@[::1]:5433/lake", None).unwrap(),
            "postgres://me@[::1]:5433/lake?sslmode=prefer"
        );
        assert_eq!(
            read("postgres://me@%2Frun%2Fpg/lake", None).unwrap(),
            "postgres://me@%2Frun%2Fpg:5432/lake?sslmode=prefer"
        );
        assert!(read("postgres://me@db.example/lake?sslmode=require", None).unwrap().ends_with("=require"));
        for mode in OPEN {
            assert_eq!(read(&format!("postgres://me@db.example/lake?sslmode={mode}"), None), Err(Fault::Open));
        }
    }

    #[test]
    fn a_password_and_files_are_written_so_that_they_are_read_as_they_are() {
        assert_eq!(
            read("postgres://me@localhost/lake?sslrootcert=tls/ca+b.pem", Some("p@s:s/w?d")).unwrap(),
            "postgres://me:p%40s%3As%2Fw%3Fd@localhost:5432/lake?sslmode=prefer&sslrootcert=%2Fmesh%20dir%2Ftls%2Fca%2Bb.pem"
        );
        assert!(read("postgres://me:one@localhost/lake", Some("two")).is_err());
    }

    #[test]
    fn what_is_left_open_or_not_understood_is_refused() {
        for uri in [
            "postgres://db.example/lake",
            "postgres://@db.example/lake",
            "postgres://me@/lake",
            "postgres://me@:5432/lake",
            "postgres://me@db.example",
            "postgres://me@db.example/",
            "postgres://me@db.example/a/b",
            "postgres://me@db.example/lake?sslmode=none",
            "postgres://me@db.example/lake?host=elsewhere",
            "postgres://me@db.example/lake?options=-c",
            "postgres://me@db.example/lake?sslmode=require&sslmode=disable",
            "postgres://me@db.example/la ke",
        ] {
            assert!(matches!(read(uri, None), Err(Fault::Bad(_))), "{uri}");
        }
    }
}
