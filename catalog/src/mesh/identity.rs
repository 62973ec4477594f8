//! What columns identify: the canonical identifiers of the mesh that their tags say.

use super::Mesh;
use super::declared::{Declared, Tag};
use super::detected::is_related;
use crate::contract::Column;

/// What two columns identify.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Identity<'m> {
    /// Neither says that it identifies anything.
    Unsaid,
    /// One of them identifies this, and the other does not say what it does.
    Half(&'m str),
    /// Both identify this.
    Same(&'m str),
    /// One identifies the first, the other the second.
    Other(&'m str, &'m str),
}

impl Mesh {
    /// What two columns of its contracts identify.
    pub fn identity<'m>(&'m self, one: &'m Column, other: &'m Column) -> Identity<'m> {
        identity(one, other, &self.declared)
    }
}

pub(super) fn identity<'m>(one: &'m Column, other: &'m Column, declared: &'m Declared) -> Identity<'m> {
    let (ones, others) = (identifiers(one, declared), identifiers(other, declared));
    match (ones.first(), others.first()) {
        (None, None) => Identity::Unsaid,
        (Some(tag), None) | (None, Some(tag)) => Identity::Half(tag),
        (Some(one), Some(other)) => {
            let shared = ones.iter().find(|one| others.iter().any(|other| is_related(one, other)));
            shared.map_or(Identity::Other(one, other), |tag| Identity::Same(tag))
        }
    }
}

/// The tags by which a column is a canonical identifier, as mesh.yaml declares them.
fn identifiers<'m>(column: &'m Column, declared: &'m Declared) -> Vec<&'m str> {
    let identifies = |tag: &'m Tag| (tag.kind.is_some() || tag.pattern.is_some()).then_some(());
    let of = |tag: &'m String| declared.holding(tag, identifies).next().map(|(tag, ())| tag);
    column.tags.iter().filter_map(of).collect()
}
