//! Denials: which policy, where it stands, whom to ask, and what would help.
//!
//! ```text
//! denied: column `risk_score` of `payments.transactions` is denied to you: no policy permits it
//! help: ask the owner, payments-data (payments-data@packly.example, #payments-data); what would help: the group `fraud-team`
//! ```
//!
//! All of it is about a product that the principal may discover; of others there are no denials.

use std::fmt;
use std::sync::Arc;

use polder_catalog::mesh::{Mesh, Owner};
use polder_catalog::name::ProductRef;
use polder_catalog::policy::restriction::Unenforced;
use polder_catalog::policy::{Access, ColumnGrant, Grants, Help, Helpful, Reason};
use polder_catalog::principal::Principal;

use crate::error::{Class, Error};
use crate::scan::tables::About;

/// A product, and who wants more of it.
#[derive(Clone)]
pub struct Wanted {
    mesh: Arc<Mesh>,
    principal: Principal,
    product: ProductRef,
}

impl fmt::Debug for Wanted {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Wanted").field("product", &self.product).finish_non_exhaustive()
    }
}

impl Wanted {
    pub(super) fn new(mesh: &Arc<Mesh>, principal: &Principal, product: &ProductRef) -> Self {
        Self { mesh: Arc::clone(mesh), principal: principal.clone(), product: product.clone() }
    }

    /// The product.
    pub fn product(&self) -> &ProductRef {
        &self.product
    }

    /// Who owns the product.
    pub fn owner(&self) -> Option<&Owner> {
        self.mesh.domain(self.product.product.domain()).map(|domain| &domain.owner)
    }

    /// What would show more of it.
    pub fn helps(&self) -> Vec<Helpful> {
        let product = self.mesh.product(&self.product);
        product.map(|product| self.mesh.helps(&self.principal, product)).unwrap_or_default()
    }

    /// A column, or a field inside of one, that is named and denied.
    pub fn column(&self, name: &str, grant: &ColumnGrant) -> Error {
        let denied = format!("column `{name}` of `{}` is denied to you", self.product);
        let message = match because(&grant.reasons) {
            Some(policies) => format!("{denied} by {policies}"),
            None => format!("{denied}: no policy permits it"),
        };
        let inside = |column: &String| {
            *column == name || name.strip_prefix(column.as_str()).is_some_and(|rest| rest.starts_with('.'))
        };
        self.denied(message, |helpful| helpful.columns.iter().any(inside))
    }

    /// A product of which every column is denied.
    pub fn everything(&self, grants: &[ColumnGrant]) -> Error {
        let mut reasons: Vec<Reason> = grants.iter().flat_map(|grant| grant.reasons.clone()).collect();
        reasons.sort_by(|a, b| a.policy.cmp(&b.policy));
        reasons.dedup();
        let permitted = grants.iter().all(|grant| !grant.reasons.is_empty());
        let message = match because(&reasons).filter(|_| permitted) {
            Some(policies) => format!("no column of `{}` is granted to you: denied by {policies}", self.product),
            None => format!("no column of `{}` is granted to you: no policy permits any", self.product),
        };
        self.denied(message, |_| true)
    }

    /// A product that a policy keeps, since it failed.
    pub fn failed(&self, Reason { policy, place }: &Reason) -> Error {
        let message = format!(
            "policy `{policy}` ({place}) could not be evaluated for you, so nothing of `{}` is served",
            self.product
        );
        self.denied(message, |_| false)
    }

    /// A product whose catalog restricts its reading beyond what is understood here.
    pub fn unenforced(&self, why: &Unenforced) -> Error {
        let message = format!(
            "the catalog of `{}` demands read-restrictions that cannot be enforced, so nothing of it is served: {why}",
            self.product
        );
        self.denied(message, |_| false)
    }

    /// A table that tells of every row and column at once.
    pub fn about(&self, about: About, grants: &Grants) -> Error {
        let name = &self.product;
        let message = format!("`{name}${about}` is for those who may read every column of `{name}` as it is");
        let restricted = grants.columns.iter().find(|grant| grant.access != Access::Raw);
        let (shows, takes) = grants.rows.rules();
        let mut rules = shows.into_iter().flatten().chain(takes).map(|rule| &rule.reason);
        let why = match (restricted, rules.next()) {
            (Some(grant), _) => match because(&grant.reasons) {
                Some(policies) => format!("`{}` is restricted for you by {policies}", grant.column),
                None => format!("no policy permits you to read `{}`", grant.column),
            },
            (None, Some(reason)) => format!("its rows are restricted for you by {}", policy(reason)),
            (None, None) => "no policy permits you to read its rows".to_owned(),
        };
        // What shows more of it need not show all of it.
        self.denied(format!("{message}: {why}"), |_| false)
    }

    fn denied(&self, message: String, helps: impl Fn(&Helpful) -> bool) -> Error {
        let ask = ask(self.owner());
        let helps: Vec<Help> = self.helps().into_iter().filter(helps).map(|helpful| helpful.help).collect();
        let help = if helps.is_empty() { ask } else { format!("{ask}; what would help: {}", or(&helps)) };
        Error::new(Class::Denied, message).help(help)
    }
}

/// The policies of several reasons.
fn because(reasons: &[Reason]) -> Option<String> {
    let policies: Vec<String> = reasons.iter().map(policy).collect();
    (!policies.is_empty()).then(|| policies.join(" and "))
}

fn policy(Reason { policy, place }: &Reason) -> String {
    format!("policy `{policy}` ({place})")
}

/// Groups and purposes, any of which would do.
pub fn or(helps: &[Help]) -> String {
    let texts: Vec<String> = helps
        .iter()
        .map(|help| match help {
            Help::Group(group) => format!("the group `{group}`"),
            Help::Purpose(purpose) => format!("the purpose `{purpose}`"),
        })
        .collect();
    texts.join(" or ")
}

/// How to ask for more.
pub fn ask(owner: Option<&Owner>) -> String {
    let Some(Owner { team, email, chat }) = owner else { return "ask the platform team".to_owned() };
    let contact: Vec<&str> = email.iter().chain(chat).map(String::as_str).collect();
    if contact.is_empty() {
        format!("ask the owner, {team}")
    } else {
        format!("ask the owner, {team} ({})", contact.join(", "))
    }
}
