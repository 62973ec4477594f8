//! `catalog: { type: hms, … }` of a domain: a Hive Metastore.
//!
//! ```text
//! thrift://metastore.example       what it is asked and answers can be read and changed on the way
//! thrift+tls://metastore.example   it has a certificate for this name
//! ```
//!
//! Nobody logs in there. What it answers decides what the keys of the store open, so without TLS it is one of this machine,
//! or `location` says where its tables may lie.

use super::CatalogConfig;
use super::domain::has_password;
use super::rest::location_of;
use super::{Hive, location};
use crate::document::fields::Fields;
use crate::document::file::Tree;
use crate::document::{Report, quote};

/// Where metastores are asked unless it is said.
const PORT: u16 = 9083;

pub(super) fn read(fields: &mut Fields<'_>, tree: &Tree<'_>, report: &mut Report) -> Option<CatalogConfig> {
    let place = fields.key_place("uri");
    let written = fields.required("uri", report);
    let location = location_of(fields, tree, report);
    let written = written?;
    if has_password(written) {
        report
            .error("secret/literal", place, "a password stands in this URL")
            .help("nobody logs in to a Hive Metastore here");
        return None;
    }
    let Some((host, port, tls)) = address(written) else {
        let message = format!("`uri` is {}, and no address of a Hive Metastore", quote(written));
        report.error("domain/uri", place, message).help("write `thrift://host:9083` or `thrift+tls://host:9083`");
        return None;
    };
    let hive = Hive { host, port, tls, location };
    if !hive.tls && hive.location.is_none() && !location::is_here(&hive.authority()) {
        report
            .error("domain/plain-text", place, "what this catalog answers could be changed on the network")
            .help("write `thrift+tls://…`, or where its tables may lie: `location: \"s3://bucket/…\"`");
    }
    Some(CatalogConfig::Hive(hive))
}

/// The host, without the brackets of an address, the port, and whether it speaks TLS.
fn address(uri: &str) -> Option<(String, u16, bool)> {
    let (scheme, rest) = uri.split_once("://")?;
    let tls = match scheme {
        "thrift" => false,
        "thrift+tls" => true,
        _ => return None,
    };
    let authority = rest.strip_suffix('/').unwrap_or(rest);
    let (host, port) = match authority.strip_prefix('[') {
        Some(rest) => {
            let (inside, port) = rest.split_once(']')?;
            inside.parse::<std::net::Ipv6Addr>().ok()?;
            (inside, port)
        }
        None => {
            let (host, port) = authority.split_at(authority.find(':').unwrap_or(authority.len()));
            let is_name = |byte: u8| byte.is_ascii_alphanumeric() || b"-._".contains(&byte);
            (!host.is_empty() && host.bytes().all(is_name)).then_some((host, port))?
        }
    };
    let port = match port {
        "" => PORT,
        port => {
            let digits = port.strip_prefix(':')?;
            // A number that is parsed may have a sign.
            digits.bytes().all(|byte| byte.is_ascii_digit()).then(|| digits.parse().ok())?.filter(|port| *port != 0)?
        }
    };
    Some((host.to_owned(), port, tls))
}

impl Hive {
    /// The host and the port, as they stand in an address.
    pub(super) fn authority(&self) -> String {
        match self.host.contains(':') {
            true => format!("[{}]:{}", self.host, self.port),
            false => format!("{}:{}", self.host, self.port),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_metastore_has_one_address() {
        let read = |uri| address(uri).map(|(host, port, tls)| format!("{host} {port} {tls}"));
        assert_eq!(read("thrift://db.example").as_deref(), Some("db.example 9083 false"));
        assert_eq!(read("thrift+tls://db.example:9084/").as_deref(), Some("db.example 9084 true"));
        assert_eq!(read("thrift://[::1]:1").as_deref(), Some("::1 1 false"));
        for uri in [
            "db.example:9083",
            "http://db.example",
            "thrift://",
            "thrift://:9083",
            "thrift://db.example:0",
            "thrift://db.example:99999",
            "thrift://db.example:+1",
            "thrift://one:9083,thrift://two:9083",
            "thrift://db.example/hive",
            "thrift://me@db.example",
            "thrift://[db.example]",
            "thrift://[::1]9083",
        ] {
            assert_eq!(read(uri), None, "{uri}");
        }
    }
}
