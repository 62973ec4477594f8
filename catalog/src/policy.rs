//! Cedar policies, compiled, and decided into grants: per column raw, masked or denied, and which rows; each with its
//! reasons.

pub(crate) mod check;
mod compile;
pub(crate) mod condition;
mod decide;
pub mod filter;
mod fits;
mod grant;
mod help;
pub(crate) mod known;
mod mask;
pub(crate) mod planted;
pub(crate) mod reach;
pub mod restriction;
mod scope;
pub(crate) mod source;
mod uid;
mod validate;

use std::collections::BTreeMap;
use std::fmt;

use crate::name::DomainName;

pub use grant::{Access, ColumnGrant, Decision, Discovery, Grants, Reason, RowRule, Rows};
pub use help::{Help, Helpful};
pub(crate) use mask::NAMES as MASKS;
pub use mask::{Mask, Width};

/// The mesh's policies, as they decide.
pub struct Policies {
    pub(crate) rules: Vec<reach::Rule>,
    pub(crate) conditions: condition::Pool,
    /// Those that reach every domain.
    pub(crate) mesh_wide: reach::Index,
    /// Those of each domain, which reach no further.
    pub(crate) domains: BTreeMap<DomainName, reach::Index>,
    types: uid::Types,
}

impl fmt::Debug for Policies {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} policies", self.rules.len())
    }
}
