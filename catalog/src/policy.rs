//! Cedar policies, compiled, and decided into grants: per column raw, masked or denied, each with its reason.

use std::sync::Arc;

use crate::document::Place;
use crate::mesh::{Mesh, Product};
use crate::principal::Principal;

/// The mesh's policies, one set per domain.
#[derive(Debug)]
pub struct Policies {}

/// What a principal may see of a product.
#[derive(Debug, Clone)]
#[must_use]
pub enum Decision {
    /// It must not even be seen to exist.
    Hidden,
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

impl Policies {
    pub(crate) fn decide(&self, _mesh: &Mesh, _principal: &Principal, _product: &Product) -> Decision {
        todo!()
    }
}
