//! `auth` in `mesh.yaml`: who may come in, and by what they are known.
//!
//! ```text
//! users:        { name, password_hash }              -> name
//! tokens:       { name, token_hash, expires }        -> token:name
//! certificates: { name, subject | uri | dns | email} -> certificate:name
//! oidc:         { name, issuer, audience, … }        -> name:subject, for each whom the issuer knows
//! ```
//!
//! What stands before the colon belongs to one way in, so that no two principals have one id. All but the last are
//! declared one by one, and policies may name them.

use std::collections::{BTreeMap, BTreeSet};

use super::Mesh;
use super::declared::{Declared, secret};
use super::holder::{Holder, Subject};
use super::issuer::Issuer;
use crate::document::fields::Fields;
use crate::document::file::Tree;
use crate::document::yaml::Node;
use crate::document::{Place, Report, quote};
use crate::policy::filter::literal;
use crate::principal::{Attribute, Principal};
use crate::secret::Secret;

/// What the ids of declared tokens begin with.
pub(super) const TOKEN: &str = "token";
/// What the ids of declared certificates begin with.
pub(super) const CERTIFICATE: &str = "certificate";

/// A principal that `mesh.yaml` declares.
#[derive(Debug, Clone)]
pub struct User {
    /// By what it is known, or `None` for embedded use only.
    pub credential: Option<Credential>,
    groups: BTreeSet<String>,
    attributes: BTreeMap<String, Attribute>,
}

/// By what a declared principal is known.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Credential {
    /// The argon2 hash of its password.
    Password(Secret),
    /// A token of a service.
    Token {
        /// The SHA-256 of the token.
        hash: [u8; 32],
        /// When it ends, in seconds since 1970.
        expires: Option<i64>,
    },
    /// A name in its certificate.
    Certificate(Holder),
}

impl User {
    /// The argon2 hash of its password, if it has one.
    pub fn password_hash(&self) -> Option<&Secret> {
        match &self.credential {
            Some(Credential::Password(hash)) => Some(hash),
            _ => None,
        }
    }

    pub(super) fn principal(&self, id: &str) -> Principal {
        let (groups, attributes) = (self.groups.clone(), self.attributes.clone());
        Principal { id: id.to_owned(), groups, attributes, purpose: None }
    }
}

impl Mesh {
    /// The declared principal whose token has this hash, if there is just one. The time that it takes says nothing of the hash.
    pub fn by_token(&self, hash: &[u8; 32]) -> Option<&str> {
        self.only_user(|credential| matches!(credential, Credential::Token { hash: of, .. } if same(of, hash)))
    }

    /// The declared principal that one of these names means, if there is just one.
    pub fn by_certificate(&self, names: &[Holder]) -> Option<&str> {
        self.only_user(|credential| matches!(credential, Credential::Certificate(holder) if names.contains(holder)))
    }

    /// The identity providers.
    pub fn issuers(&self) -> impl Iterator<Item = &Issuer> {
        self.declared.issuers.values()
    }

    /// The principal of that id as this mesh knows it, without a purpose. Who came from an identity provider is what it
    /// was, as far as the mesh still lets the provider say so.
    pub fn again(&self, known: &Principal) -> Option<Principal> {
        if let Some(principal) = self.principal(&known.id) {
            return Some(principal);
        }
        let (issuer, user) = known.id.split_once(':')?;
        let issuer = self.declared.issuers.get(issuer)?;
        Some(issuer.principal(user, known.groups.iter().cloned(), known.attributes.clone()))
    }

    /// Whether nobody comes in but by a certificate.
    pub fn admits_certificates_alone(&self) -> bool {
        let mut ways = self.declared.users.values().filter_map(|user| user.credential.as_ref()).peekable();
        ways.peek().is_some()
            && self.declared.issuers.is_empty()
            && ways.all(|way| matches!(way, Credential::Certificate(_)))
    }

    /// Whether anybody may come in by a certificate.
    pub fn admits_certificates(&self) -> bool {
        self.declared.users.values().any(|user| matches!(user.credential, Some(Credential::Certificate(_))))
    }

    fn only_user(&self, means: impl Fn(&Credential) -> bool) -> Option<&str> {
        // All are looked at, wherever the one stands.
        let found = self.declared.users.iter().filter(|(_, user)| user.credential.as_ref().is_some_and(&means));
        match found.map(|(id, _)| id.as_str()).collect::<Vec<_>>().as_slice() {
            [id] => Some(id),
            _ => None,
        }
    }
}

/// Compares every byte, whichever differ.
fn same(a: &[u8; 32], b: &[u8; 32]) -> bool {
    std::hint::black_box(a.iter().zip(b).fold(0, |differ, (a, b)| differ | (a ^ b))) == 0
}

impl Declared {
    /// Reads `auth`. Errors go to `report`, which breaks the mesh; missing secrets go to `secrets`, which does not.
    pub(super) fn read_auth(&mut self, node: &Node, tree: &Tree<'_>, report: &mut Report, secrets: &mut Report) {
        let Some(mut auth) = Fields::of(node, "`auth`", report) else { return };
        for node in auth.list("users", report) {
            self.read_user(node, "a user", None, report, &mut |user, report| {
                password(user.get("password_hash")?, tree, report, secrets)
            });
        }
        for node in auth.list("tokens", report) {
            self.read_user(node, "a token", Some(TOKEN), report, &mut |token, report| {
                let expires = expiry(token, report);
                let hash = token_hash(token, tree, report, secrets)?;
                Some(Credential::Token { hash, expires })
            });
        }
        for node in auth.list("certificates", report) {
            self.read_user(node, "a certificate", Some(CERTIFICATE), report, &mut |certificate, report| {
                holder(certificate, report).map(Credential::Certificate)
            });
        }
        self.refuse_twins(node, report, secrets);
        for node in auth.list("oidc", report) {
            self.read_issuer(node, report);
        }
        auth.close(report);
    }

    /// Reads one who is declared; `credential` reads what is of its kind.
    fn read_user(
        &mut self,
        node: &Node,
        what: &str,
        prefix: Option<&str>,
        report: &mut Report,
        credential: &mut dyn FnMut(&mut Fields<'_>, &mut Report) -> Option<Credential>,
    ) {
        let Some(mut user) = Fields::of(node, what, report) else { return };
        let name = user.required("name", report);
        let credential = credential(&mut user, report);
        let groups = self.declared_groups(user.texts("groups", report), report);
        let attributes = self.declared_attributes(user.map("attributes", report), report);
        let place = user.key_place("name");
        if let Some(name) = name {
            check_name(name, place, report);
            let id = prefix.map_or_else(|| name.to_owned(), |prefix| format!("{prefix}:{name}"));
            if self.users.contains_key(&id) {
                report.error("mesh/duplicate-user", place, format!("the user {} stands here twice", quote(&id)));
            }
            self.users.insert(id, User { credential, groups, attributes });
        }
        user.close(report);
    }

    /// What means two users means none: it must not stand there.
    fn refuse_twins(&self, auth: &Node, report: &mut Report, secrets: &mut Report) {
        let known =
            |user: &User| matches!(user.credential, Some(Credential::Token { .. } | Credential::Certificate(_)));
        let users: Vec<_> = self.users.iter().filter(|(_, user)| known(user)).collect();
        for (at, (id, user)) in users.iter().enumerate() {
            let twin = users.iter().skip(at + 1).find(|(_, other)| match (&user.credential, &other.credential) {
                (Some(Credential::Token { hash: a, .. }), Some(Credential::Token { hash: b, .. })) => a == b,
                (Some(Credential::Certificate(a)), Some(Credential::Certificate(b))) => a == b,
                _ => false,
            });
            let Some((other, _)) = twin else { continue };
            let message = format!("{} and {} are known by the same", quote(id), quote(other));
            match user.credential {
                Some(Credential::Certificate(_)) => report.error("mesh/same-credential", &auth.place, message),
                _ => secrets.error("secret/same-credential", &auth.place, message),
            }
            .help("neither of the two can come in");
        }
    }
}

pub(super) fn check_name(name: &str, place: &Place, report: &mut Report) {
    if name.is_empty() || name.contains(':') || name.chars().any(char::is_control) {
        report
            .error("mesh/user-name", place, format!("{} is not a user's name", quote(name)))
            .help("names with `:` belong to users of identity providers, to tokens and to certificates");
    }
}

fn password(node: &Node, tree: &Tree<'_>, report: &mut Report, secrets: &mut Report) -> Option<Credential> {
    let hash = secret(node, "password_hash", tree, report, secrets)?;
    if hash.expose().starts_with("$argon2") {
        return Some(Credential::Password(hash));
    }
    secrets
        .error("secret/not-a-hash", &node.place, "this secret is not an argon2 hash, so the user cannot log in")
        .help("a hash begins with `$argon2id$`");
    None
}

fn token_hash(token: &mut Fields<'_>, tree: &Tree<'_>, report: &mut Report, secrets: &mut Report) -> Option<[u8; 32]> {
    let Some(node) = token.get("token_hash") else {
        report.error("document/missing", token.place, "`token_hash` is missing").help("`polder token` makes one");
        return None;
    };
    let hash = secret(node, "token_hash", tree, report, secrets)?;
    let bytes = from_hex(hash.expose().trim());
    if bytes.is_none() {
        secrets
            .error("secret/not-a-hash", &node.place, "this secret is not the hash of a token, so nobody can use it")
            .help("`polder token` makes a token and its hash, of 64 hexadecimal digits");
    }
    bytes
}

fn from_hex(text: &str) -> Option<[u8; 32]> {
    let mut bytes = [0; 32];
    if text.len() != 64 || !text.bytes().all(|digit| digit.is_ascii_hexdigit()) {
        return None;
    }
    for (at, byte) in bytes.iter_mut().enumerate() {
        *byte = u8::from_str_radix(text.get(2 * at..2 * at + 2)?, 16).ok()?;
    }
    Some(bytes)
}

/// When a token ends: at a time, or with the beginning of a day, in UTC.
fn expiry(token: &mut Fields<'_>, report: &mut Report) -> Option<i64> {
    let written = token.text("expires", report)?;
    let day = literal::date(written).map(|days| i64::from(days) * 86_400);
    let seconds = day.or_else(|| literal::timestamptz(written).map(|micros| micros.div_euclid(1_000_000)));
    if seconds.is_none() {
        report
            .error("mesh/expires", token.key_place("expires"), format!("{} is not a time", quote(written)))
            .help("write `2027-01-31`, from which day on it is refused, or `2027-01-31T12:00:00Z`");
    }
    // What cannot be read has ended long ago.
    Some(seconds.unwrap_or(i64::MIN))
}

/// The one name by which a certificate is known.
fn holder(certificate: &mut Fields<'_>, report: &mut Report) -> Option<Holder> {
    let place = certificate.place;
    let subject = certificate.text("subject", report).map(|text| {
        let parsed = Subject::parse(text);
        if parsed.is_none() {
            report
                .error("mesh/subject", certificate.key_place("subject"), format!("{} is no subject", quote(text)))
                .help("write it whole, like `CN=etl,O=Packly`");
        }
        parsed.map(Holder::Subject)
    });
    let uri = certificate.text("uri", report).map(|name| Some(Holder::Uri(name.to_owned())));
    let dns = certificate.text("dns", report).map(|name| Some(Holder::Dns(name.to_owned())));
    let email = certificate.text("email", report).map(|name| Some(Holder::Email(name.to_owned())));
    let mut names: Vec<_> = [subject, uri, dns, email].into_iter().flatten().collect();
    if names.len() != 1 {
        report.error("mesh/certificate", place, "a certificate is known by one of `subject`, `uri`, `dns` and `email`");
        return None;
    }
    names.pop().flatten()
}
