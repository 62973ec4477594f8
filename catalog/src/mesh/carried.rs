//! Tags go where values go: what is made of a tagged column carries the tag, or says why it need not.

use std::collections::BTreeSet;

use super::declared::Declared;
use super::{Mesh, Product};
use crate::contract::{Check, Column, Rule};

impl Mesh {
    /// The first tag that the column of `source` at `path` carries and a column of `derived`, which is `made` of it, does not.
    /// What is not made of it and tells something of it all the same owes it what keeps values from people.
    pub fn lost_tag<'m>(
        &'m self,
        source: &'m Product,
        path: &[String],
        derived: &Product,
        column: &Column,
        made: bool,
    ) -> Option<&'m str> {
        let carried: BTreeSet<&str> = derived.contract.tags.iter().flat_map(|tag| self.declared.lineage(tag)).collect();
        let mut owed = owed(source, path, &self.declared);
        let lacks = |tag: &&str| !carried.contains(tag) && !carries(column, tag, &self.declared);
        owed.retain(|tag| made || protects(&self.declared, tag));
        owed.retain(|tag| lacks(tag) && !self.may_lack(derived, column, tag));
        owed.into_iter().next()
    }
}

impl Mesh {
    /// Whether a rule of quality asks for values that tags keep from people. Whether it holds tells one bit of them, and whoever
    /// writes rules may be somebody from whom they are kept.
    pub fn asks_for_kept(&self, product: &Product, rule: &Rule) -> bool {
        let is_kept = |column: &str| {
            let owed = owed(product, &[column.to_owned()], &self.declared);
            owed.into_iter().any(|tag| protects(&self.declared, tag))
        };
        match &rule.check {
            Check::Rows | Check::Nulls | Check::Duplicates(_) => false,
            Check::Missing(_) | Check::Invalid { .. } => rule.columns().into_iter().any(is_kept),
            // A query may look at all of them.
            Check::Sql(_) => product.contract.columns.iter().any(|column| is_kept(&column.name)),
        }
    }
}

/// Whether a tag keeps raw values from somebody.
fn protects(declared: &Declared, tag: &str) -> bool {
    declared.holding(tag, |tag| (tag.mask.is_some() || tag.unmasked_for.is_some()).then_some(())).count() > 0
}

/// The tags of a column or field: its own, those of what it lies in, those of what lies in it, and of the tags of its
/// product those that protect.
fn owed<'m>(source: &'m Product, path: &[String], declared: &Declared) -> BTreeSet<&'m str> {
    let of_product = source.contract.tags.iter().filter(|tag| protects(declared, tag));
    let mut owed: BTreeSet<&str> = of_product.map(String::as_str).collect();
    let mut columns = source.contract.columns.as_slice();
    let mut last = None;
    for name in path {
        // The elements of lists and the values of maps have the address of what holds them.
        let Some(found) = columns.iter().find(|column| column.name == *name) else { continue };
        owed.extend(found.tags.iter().map(String::as_str));
        (columns, last) = (&found.fields, Some(found));
    }
    if let Some(last) = last {
        inside(last, &mut owed);
    }
    owed
}

fn inside<'m>(column: &'m Column, owed: &mut BTreeSet<&'m str>) {
    for field in &column.fields {
        owed.extend(field.tags.iter().map(String::as_str));
        inside(field, owed);
    }
}

/// Whether a column carries a tag as a whole, or each of its fields does.
fn carries(column: &Column, tag: &str, declared: &Declared) -> bool {
    let own = column.tags.iter().any(|own| declared.lineage(own).any(|own| own == tag));
    own || !column.fields.is_empty() && column.fields.iter().all(|field| carries(field, tag, declared))
}
