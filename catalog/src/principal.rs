//! Who asks: an id, groups, attributes and a declared purpose.

use std::collections::{BTreeMap, BTreeSet};

/// The one who asks. Made by authentication (or by the operator of an embedded mesh), read by policies.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Principal {
    /// `analyst-eu`; `issuer:subject` for a user of an identity provider.
    pub id: String,
    /// The groups that the mesh declares and this principal is in.
    pub groups: BTreeSet<String>,
    /// The declared attributes that this principal has.
    pub attributes: BTreeMap<String, Attribute>,
    /// The purpose that the session declared and was entitled to.
    pub purpose: Option<String>,
}

/// The value of a principal's attribute.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Attribute {
    /// One text.
    String(String),
    /// Several texts.
    Set(BTreeSet<String>),
    /// A whole number.
    Long(i64),
    /// A truth value.
    Bool(bool),
}
