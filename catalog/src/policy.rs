//! Cedar policies, compiled, and decided into grants: per column raw, masked or denied, and which rows; each with its
//! reasons.

pub(crate) mod check;
mod compile;
mod decide;
pub mod filter;
mod grant;
mod mask;
mod scope;
mod source;
mod uid;

use std::collections::{BTreeMap, HashMap};
use std::fmt;

use cedar_policy::{Authorizer, PolicyId, PolicySet};

use crate::name::DomainName;

pub use grant::{Access, ColumnGrant, Decision, Grants, Reason, RowRule, Rows};
pub use mask::{Mask, Width};

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
