//! Identity providers, as `mesh.yaml` declares them: whom they may vouch for, and with what.

use std::collections::{BTreeMap, BTreeSet};

use super::auth::{CERTIFICATE, TOKEN, check_name};
use super::declared::{AttributeType, Declared};
use crate::document::fields::{Fields, map, text};
use crate::document::yaml::{Kind, Node};
use crate::document::{Place, Report, quote};
use crate::principal::{Attribute, Principal};

/// An identity provider, and what of its users' claims counts.
#[derive(Debug)]
pub struct Issuer {
    /// What the ids of its users begin with.
    pub name: String,
    /// Its URL, as it stands in `iss`.
    pub url: String,
    /// Who we are to it: one of these stands in `aud`.
    pub audiences: BTreeSet<String>,
    /// Where a user's name stands in the claims, as a JSON pointer.
    pub user_claim: String,
    /// Where the groups stand.
    pub groups_claim: String,
    /// The groups that it may put users into.
    pub groups_allowed: BTreeSet<String>,
    /// Where the attributes stand, and their types.
    pub attributes: BTreeMap<String, (String, AttributeType)>,
}

impl Issuer {
    /// The principal that it vouches for: of `groups` and `attributes`, what it may say.
    pub fn principal(
        &self,
        user: &str,
        groups: impl IntoIterator<Item = String>,
        attributes: impl IntoIterator<Item = (String, Attribute)>,
    ) -> Principal {
        let of_type = |(name, value): &(String, Attribute)| {
            self.attributes.get(name).is_some_and(|(_, declared)| declared.holds(value))
        };
        Principal {
            id: format!("{}:{user}", self.name),
            groups: groups.into_iter().filter(|group| self.groups_allowed.contains(group)).collect(),
            attributes: attributes.into_iter().filter(of_type).collect(),
            purpose: None,
        }
    }
}

impl Declared {
    pub(super) fn read_issuer(&mut self, node: &Node, report: &mut Report) {
        let Some(mut fields) = Fields::of(node, "an identity provider", report) else { return };
        let name = fields.required("name", report);
        if let Some(name) = name {
            check_name(name, fields.key_place("name"), report);
            if [TOKEN, CERTIFICATE].contains(&name) {
                let message = format!("{} is what the ids of declared {name}s begin with", quote(name));
                report.error("mesh/user-name", fields.key_place("name"), message).help("give it another name");
            }
        }
        let url = fields.required("issuer", report);
        if let Some(url) = url
            && !is_private(url)
        {
            report
                .error("mesh/issuer", fields.key_place("issuer"), format!("{} is not the URL of an issuer", quote(url)))
                .help("write `https://…`, without a query; `http://` is for this machine alone");
        }
        let audiences = audiences(&mut fields, report);
        let user_claim = claim(&mut fields, "user_claim", "sub", report);
        let groups_claim = claim(&mut fields, "groups_claim", "groups", report);
        let groups_allowed = self.declared_groups(fields.texts("groups_allowed", report), report);
        let attributes = self.claimed_attributes(&mut fields, report);
        let place = fields.key_place("name");
        if let (Some(name), Some(url)) = (name, url) {
            let (name, url) = (name.to_owned(), url.to_owned());
            if self.issuers.contains_key(&name) || self.issuers.values().any(|issuer| issuer.url == url) {
                report
                    .error("mesh/duplicate-issuer", place, "an identity provider of this name or URL stands here twice")
                    .help("`audience` may be a list");
            }
            let issuer =
                Issuer { name: name.clone(), url, audiences, user_claim, groups_claim, groups_allowed, attributes };
            self.issuers.insert(name, issuer);
        }
        fields.close(report);
    }

    fn claimed_attributes(
        &self,
        fields: &mut Fields<'_>,
        report: &mut Report,
    ) -> BTreeMap<String, (String, AttributeType)> {
        let mut attributes = BTreeMap::new();
        let Some(node) = fields.get("attributes") else { return attributes };
        for (key, node) in map(node, "attributes", report) {
            let Some(kind) = self.declared_attribute(key, report) else { continue };
            if let Some(claim) = text(node, "attributes", report) {
                attributes.insert(key.text.clone(), (pointer(claim, &node.place, report), kind));
            }
        }
        attributes
    }
}

fn audiences(fields: &mut Fields<'_>, report: &mut Report) -> BTreeSet<String> {
    let audiences: BTreeSet<String> = match fields.get("audience") {
        Some(Node { kind: Kind::List(_), .. }) => {
            fields.texts("audience", report).into_iter().map(|(text, _)| text.to_owned()).collect()
        }
        Some(_) => fields.text("audience", report).map(str::to_owned).into_iter().collect(),
        None => BTreeSet::new(),
    };
    if audiences.is_empty() || audiences.contains("") {
        report
            .error("mesh/audience", fields.key_place("audience"), "an identity provider has an `audience`")
            .help("without one, tokens that were made for others would be taken");
    }
    audiences
}

fn claim(fields: &mut Fields<'_>, key: &'static str, usual: &str, report: &mut Report) -> String {
    let written = fields.text(key, report).unwrap_or(usual);
    pointer(written, fields.key_place(key), report)
}

/// A JSON pointer as it is; the name of a claim as the pointer to it.
fn pointer(written: &str, place: &Place, report: &mut Report) -> String {
    let escapes = written.split('~').skip(1).all(|rest| rest.starts_with(['0', '1']));
    if written.is_empty() || (written.starts_with('/') && !escapes) {
        report
            .error("mesh/claim", place, format!("{} is not a claim", quote(written)))
            .help("write its name, or a JSON pointer like `/realm_access/roles`");
    }
    if written.starts_with('/') {
        return written.to_owned();
    }
    format!("/{}", written.replace('~', "~0").replace('/', "~1"))
}

/// Whether a text is a URL that others on the way learn nothing from: `https`, or `http` on this machine, and no more than a
/// host, a port and a path.
pub fn is_private(url: &str) -> bool {
    let (https, rest) = match (url.strip_prefix("https://"), url.strip_prefix("http://")) {
        (Some(rest), _) => (true, rest),
        (None, Some(rest)) => (false, rest),
        (None, None) => return false,
    };
    let authority = rest.split('/').next().unwrap_or_default();
    let host = match authority.rsplit_once(':') {
        Some((host, port)) if !port.ends_with(']') => {
            if port.is_empty() || port.parse::<u16>().is_err() {
                return false;
            }
            host
        }
        _ => authority,
    };
    let plain = !url.contains(['?', '#', '@', '\\', '%', ' ']) && !url.chars().any(|c| c.is_control() || !c.is_ascii());
    plain && !host.is_empty() && (https || is_loopback(host))
}

fn is_loopback(host: &str) -> bool {
    let address = host.trim_start_matches('[').trim_end_matches(']');
    host == "localhost" || address.parse::<std::net::IpAddr>().is_ok_and(|address| address.is_loopback())
}
