//! Cedar policies, compiled, and decided into grants: per column raw, masked or denied, each with its reason.

pub(crate) mod check;
mod compile;
mod decide;
mod mask;
mod scope;
mod source;
mod uid;

use std::collections::{BTreeMap, HashMap};
use std::fmt;
use std::sync::Arc;

use cedar_policy::{Authorizer, PolicyId, PolicySet};

use crate::document::Place;
use crate::name::DomainName;

/// The mesh's policies, one set per domain.
pub struct Policies {
    domains: BTreeMap<DomainName, Ruleset>,
    types: uid::Types,
    authorizer: Authorizer,
}

impl fmt::Debug for Policies {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_map().entries(self.domains.iter().map(|(domain, rules)| (domain, rules.known.len()))).finish()
    }
}

/// The policies that decide over one domain's products.
struct Ruleset {
    set: PolicySet,
    known: HashMap<PolicyId, Known>,
}

/// What the engine knows of a policy beside its text.
struct Known {
    reason: Reason,
    mask: Option<Mask>,
}

/// What a principal may see of a product.
#[derive(Debug, Clone)]
#[must_use]
pub enum Decision {
    /// It must not even be seen to exist. A policy that failed is named for the server's log alone.
    Hidden(Option<Reason>),
    /// It may be discovered, but a policy failed while it was decided, so nothing of it is served.
    Refused(Reason),
    /// It may be discovered, and this much of it read.
    Granted(Grants),
}

/// What of a product's columns may be read.
#[derive(Debug, Clone)]
pub struct Grants {
    /// One entry per column of the contract, in its order.
    pub columns: Vec<ColumnGrant>,
}

/// What of one column may be read, and why.
#[derive(Debug, Clone)]
pub struct ColumnGrant {
    /// The column's name in the contract.
    pub column: String,
    /// How it may be read.
    pub access: Access,
    /// The policy that decided so, or `None` where no policy permits anything.
    pub reason: Option<Reason>,
}

/// How a column may be read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Access {
    /// As it is.
    Raw,
    /// Through this mask.
    Masked(Mask),
    /// Not at all.
    Denied,
}

/// The policy behind a decision.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Reason {
    /// Its `@id`; `standards:<tag>` for one that a tag's `unmasked_for` compiles to.
    pub policy: Arc<str>,
    /// Where it stands.
    pub place: Place,
}

/// How values are hidden. The order is strictness: what stands earlier hides more.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub enum Mask {
    /// `replace-with-null`
    Null,
    /// `mask-to-fixed-value(v)`; without `v` a fixed value of the column's type
    Fixed(Option<String>),
    /// `sha-256-global`
    Sha256Global,
}

impl fmt::Display for Mask {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Null => f.write_str("replace-with-null"),
            Self::Fixed(None) => f.write_str("mask-to-fixed-value"),
            Self::Fixed(Some(value)) => write!(f, "mask-to-fixed-value({value})"),
            Self::Sha256Global => f.write_str("sha-256-global"),
        }
    }
}
