//! `catalog: { type: rest, … }` of a domain: an Iceberg REST catalog, and how one logs in to it.
//!
//! ```text
//! rest                                  an address, and a token, a credential or `sigv4`
//! glue      region, warehouse        -> https://glue.{region}.amazonaws.com/iceberg, signed for `glue`
//! s3tables  table_bucket (its ARN)   -> https://s3tables.{region}.amazonaws.com/iceberg, signed for `s3tables`
//! ```
//!
//! What logs in is a secret, and a header may be one. They travel over TLS, or not beyond this machine.

use std::collections::BTreeMap;

use super::domain::{has_password, read_secret};
use super::{CatalogConfig, Login, Rest, Signing, Storage, location};
use crate::document::fields::{Fields, scalar};
use crate::document::file::Tree;
use crate::document::yaml::Node;
use crate::document::{Place, Report, quote};
use crate::secret::Secret;

/// What a token is for where nothing else is said, as Iceberg's own clients have it.
const SCOPE: &str = "catalog";
/// Headers that are ours to set.
const OWN: [&str; 5] = ["authorization", "host", "content-length", "content-type", "x-iceberg-access-delegation"];

/// The service of table buckets.
pub(super) const S3TABLES: &str = "s3tables";
/// The keys that requests are signed with, as `storage` names them.
const KEYS: [&str; 3] = ["access_key_id", "secret_access_key", "session_token"];

pub(super) fn read(fields: &mut Fields<'_>, tree: &Tree<'_>, report: &mut Report) -> Option<CatalogConfig> {
    let uri = fields.required("uri", report).map(|text| (text, fields.key_place("uri")));
    let uri = uri.and_then(|(text, place)| address("uri", text, place, report));
    let warehouse = fields.text("warehouse", report).map(str::to_owned);
    let prefix = fields.text("prefix", report).map(|text| text.trim_matches('/').to_owned());
    let login = login(fields, tree, report);
    catalog((uri, warehouse, prefix), login, fields, tree, report)
}

/// AWS Glue, as the REST catalog that it is too.
pub(super) fn glue(fields: &mut Fields<'_>, tree: &Tree<'_>, report: &mut Report) -> Option<CatalogConfig> {
    let place = fields.key_place("region");
    let region = fields.required("region", report).map(str::to_owned);
    // The number of an account, as it is written.
    let warehouse = fields.scalar("warehouse", report).map(str::to_owned);
    let region = region.filter(|region| is_region(region, place, report));
    of_aws("glue", region, warehouse, fields, tree, report)
}

/// A bucket of S3 Tables, as the REST catalog that it is too.
pub(super) fn s3tables(fields: &mut Fields<'_>, tree: &Tree<'_>, report: &mut Report) -> Option<CatalogConfig> {
    let place = fields.key_place("table_bucket");
    let bucket = fields.required("table_bucket", report).map(str::to_owned);
    let region = bucket.as_deref().and_then(|arn| match arn.split(':').collect::<Vec<_>>().as_slice() {
        ["arn", _, "s3tables", region, _, bucket] if bucket.starts_with("bucket/") => Some((*region).to_owned()),
        _ => {
            report
                .error("domain/table-bucket", place, format!("{} is no table bucket", quote(arn)))
                .help("write its ARN: `arn:aws:s3tables:<region>:<account>:bucket/<name>`");
            None
        }
    });
    let region = region.filter(|region| is_region(region, place, report));
    of_aws(S3TABLES, region, bucket, fields, tree, report)
}

/// A region stands in the name of a host.
fn is_region(region: &str, place: &Place, report: &mut Report) -> bool {
    let is_one = region.contains('-')
        && region.bytes().all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-');
    if !is_one {
        report
            .error("domain/region", place, format!("{} is no region", quote(region)))
            .help("write it as AWS does: `eu-west-1`");
    }
    is_one
}

fn of_aws(
    service: &str,
    region: Option<String>,
    warehouse: Option<String>,
    fields: &mut Fields<'_>,
    tree: &Tree<'_>,
    report: &mut Report,
) -> Option<CatalogConfig> {
    let place = fields.key_place("uri");
    let own = fields.text("uri", report);
    let own = own.map(|text| address("uri", text, place, report));
    let keys = keys(fields, tree, report);
    let uri = region.as_deref().map(|region| {
        let end = if region.starts_with("cn-") { ".cn" } else { "" };
        format!("https://{service}.{region}.amazonaws.com{end}/iceberg")
    });
    let uri = own.unwrap_or(uri);
    let login =
        region.map_or(Login::Nobody, |region| Login::Signed(Signing { region, service: service.to_owned(), keys }));
    catalog((uri, warehouse, None), login, fields, tree, report)
}

/// A catalog at an address, with its warehouse and the prefix of its paths.
fn catalog(
    (uri, warehouse, prefix): (Option<String>, Option<String>, Option<String>),
    login: Login,
    fields: &mut Fields<'_>,
    tree: &Tree<'_>,
    report: &mut Report,
) -> Option<CatalogConfig> {
    let headers = headers(fields, tree, report);
    let vended = fields.truth("vended_credentials", report).unwrap_or(true);
    let place = fields.key_place("location");
    let location = fields.text("location", report).and_then(|text| {
        let url = location::url(text, tree.dir());
        if url.is_none() {
            let message = format!("{} is no place that can be read", quote(text));
            report.error("domain/location", place, message).help(location::PLACES);
        }
        url
    });
    let uri = uri?;
    if is_open(&uri) && (!matches!(login, Login::Nobody) || !headers.is_empty()) {
        report
            .error("domain/plain-http", fields.key_place("uri"), "what logs in here could be read on the network")
            .help("write `https://…`; `http://` is for this machine alone");
    }
    Some(CatalogConfig::Rest(Box::new(Rest { uri, warehouse, prefix, login, headers, vended, location })))
}

/// An address without user, query or fragment.
fn address(key: &str, text: &str, place: &Place, report: &mut Report) -> Option<String> {
    if has_password(text) {
        report
            .error("secret/literal", place, "a password stands in this URL")
            .help("write it as `credential: \"${env:NAME}\"`");
        return None;
    }
    let rest = text.strip_prefix("https://").or_else(|| text.strip_prefix("http://"));
    let host = rest.and_then(|rest| rest.split('/').next()).unwrap_or_default();
    if host.is_empty() || text.contains(['?', '#', '@']) || text.contains(char::is_whitespace) {
        let message = format!("`{key}` is {}, and no address of a server", quote(text));
        report.error("domain/uri", place, message).help("write `https://host/path`");
        return None;
    }
    Some(text.trim_end_matches('/').to_owned())
}

/// Whether others can read what is sent to `uri`.
fn is_open(uri: &str) -> bool {
    let Some(rest) = uri.strip_prefix("http://") else { return false };
    let authority = rest.split('/').next().unwrap_or_default();
    !location::is_here(authority)
}

fn keys(fields: &mut Fields<'_>, tree: &Tree<'_>, report: &mut Report) -> Storage {
    let read = |key: &'static str| Some((key, read_secret(fields.get(key)?, key, tree, report)?));
    KEYS.into_iter().filter_map(read).collect()
}

fn signing(node: &Node, tree: &Tree<'_>, report: &mut Report) -> Option<Signing> {
    let mut fields = Fields::of(node, "`sigv4`", report)?;
    let place = fields.key_place("region");
    let region = fields.required("region", report).map(str::to_owned);
    let region = region.filter(|region| is_region(region, place, report));
    let service = fields.required("service", report).map(str::to_owned);
    let keys = keys(&mut fields, tree, report);
    fields.close(report);
    Some(Signing { region: region?, service: service?, keys })
}

fn login(fields: &mut Fields<'_>, tree: &Tree<'_>, report: &mut Report) -> Login {
    let (token, credential) = (fields.get("token"), fields.get("credential"));
    let server_place = fields.key_place("oauth2_server_uri");
    let server = fields.text("oauth2_server_uri", report);
    let server = server.and_then(|text| address("oauth2_server_uri", text, server_place, report));
    let scope = fields.text("scope", report);
    let signed = fields.get("sigv4");
    if [token, credential, signed].into_iter().flatten().count() > 1 {
        let key = if token.is_some() { "token" } else { "credential" };
        let message = "one logs in with a `token`, with a `credential` or with `sigv4`, and not with two of them";
        report.error("domain/login", fields.key_place(key), message);
    }
    if let Some(node) = signed {
        return signing(node, tree, report).map_or(Login::Nobody, Login::Signed);
    }
    if credential.is_none() && (server.is_some() || scope.is_some()) {
        let key = if server.is_some() { "oauth2_server_uri" } else { "scope" };
        report.error("domain/login", fields.key_place(key), format!("`{key}` goes with a `credential`"));
    }
    if let Some(server) = server.as_deref().filter(|server| is_open(server)) {
        let message = format!("what logs in at {} could be read on the network", quote(server));
        report.error("domain/plain-http", server_place, message).help("write `https://…`");
    }
    match (token, credential) {
        (Some(node), None) => read_secret(node, "token", tree, report).map_or(Login::Nobody, Login::Token),
        (_, Some(node)) => match read_secret(node, "credential", tree, report) {
            Some(credential) => Login::Client { credential, server, scope: scope.unwrap_or(SCOPE).to_owned() },
            None => Login::Nobody,
        },
        (None, None) => Login::Nobody,
    }
}

fn headers(fields: &mut Fields<'_>, tree: &Tree<'_>, report: &mut Report) -> BTreeMap<String, Secret> {
    let mut headers = BTreeMap::new();
    for (key, node) in fields.map("headers", report) {
        let name = key.text.to_ascii_lowercase();
        let is_token =
            !name.is_empty() && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-_".contains(&byte));
        if !is_token || OWN.contains(&name.as_str()) {
            let message = format!("{} is no header that can be sent along", quote(&key.text));
            report.error("domain/header", &key.place, message);
            continue;
        }
        let Some(written) = scalar(node, &key.text, report) else { continue };
        let value = match Secret::is_reference(written) {
            true => read_secret(node, &key.text, tree, report),
            false => Some(Secret::new(written)),
        };
        headers.extend(value.map(|value| (name, value)));
    }
    headers
}
