//! `catalog: { type: rest, … }` of a domain: an Iceberg REST catalog, and how one logs in to it: with a token, a credential
//! or `sigv4`.
//!
//! What logs in is a secret, and a header may be one. They travel over TLS, or not beyond this machine.

use std::collections::BTreeMap;

use super::aws;
use super::domain::{has_password, read_secret};
use super::{CatalogConfig, Login, Rest, location};
use crate::document::fields::{Fields, scalar};
use crate::document::file::Tree;
use crate::document::{Place, Report, quote};
use crate::secret::Secret;

/// What a token is for where nothing else is said, as Iceberg's own clients have it.
const SCOPE: &str = "catalog";
/// Headers that are ours to set.
const OWN: [&str; 5] = ["authorization", "host", "content-length", "content-type", "x-iceberg-access-delegation"];

pub(super) fn read(fields: &mut Fields<'_>, tree: &Tree<'_>, report: &mut Report) -> Option<CatalogConfig> {
    let uri = fields.required("uri", report).map(|text| (text, fields.key_place("uri")));
    let uri = uri.and_then(|(text, place)| address("uri", text, place, report));
    let warehouse = fields.text("warehouse", report).map(str::to_owned);
    let prefix = fields.text("prefix", report).map(|text| text.trim_matches('/').to_owned());
    let login = login(fields, tree, report);
    catalog((uri, warehouse, prefix), login, fields, tree, report)
}

/// A catalog at an address, with its warehouse and the prefix of its paths.
pub(super) fn catalog(
    (uri, warehouse, prefix): (Option<String>, Option<String>, Option<String>),
    login: Login,
    fields: &mut Fields<'_>,
    tree: &Tree<'_>,
    report: &mut Report,
) -> Option<CatalogConfig> {
    let headers = headers(fields, tree, report);
    let vended = fields.truth("vended_credentials", report).unwrap_or(true);
    let location = location_of(fields, tree, report);
    let known_as = fields.texts("known_as", report).into_iter().map(|(name, _)| name.to_owned()).collect();
    let uri = uri?;
    if !matches!(login, Login::Nobody) || !headers.is_empty() {
        closed(&uri, fields.key_place("uri"), report);
    }
    Some(CatalogConfig::Rest(Box::new(Rest { uri, warehouse, prefix, login, headers, vended, location, known_as })))
}

/// Where the tables may lie of a catalog that says itself where they do.
pub(super) fn location_of(fields: &mut Fields<'_>, tree: &Tree<'_>, report: &mut Report) -> Option<String> {
    let place = fields.key_place("location");
    let text = fields.text("location", report)?;
    let url = location::url(text, tree.dir());
    if url.is_none() {
        let message = format!("{} is no place that can be read", quote(text));
        report.error("domain/location", place, message).help(location::PLACES);
    }
    url
}

/// Notes an address at which others could read what logs in.
pub(super) fn closed(uri: &str, place: &Place, report: &mut Report) {
    if is_open(uri) {
        report
            .error("domain/plain-http", place, "what logs in here could be read on the network")
            .help("write `https://…`; `http://` is for this machine alone");
    }
}

/// An address without user, query or fragment.
pub(super) fn address(key: &str, text: &str, place: &Place, report: &mut Report) -> Option<String> {
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
        return aws::signing(node, tree, report).map_or(Login::Nobody, Login::Signed);
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
