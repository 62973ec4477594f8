//! What would show a principal more: each group and purpose that the policies of a product speak of, tried one by one.
//!
//! ```text
//! permit (principal in Group::"fraud-team", …)   decide again with `fraud-team`   `score`: denied -> raw
//! when { context.purpose == "fraud" }            decide again for `fraud`         nothing more: not told
//! ```
//!
//! Only purposes that the principal may declare are tried, since of others it must not learn that they exist.

use std::collections::BTreeSet;

use super::reach::Lies;
use super::{Access, ColumnGrant, Decision, Policies};
use crate::contract::Column;
use crate::mesh::{Mesh, Product};
use crate::principal::Principal;

/// The most groups and purposes that are tried for one product: each costs a decision.
const MOST: usize = 100;

/// Something that a principal lacks.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub enum Help {
    /// To be declared.
    Purpose(String),
    /// To be a member of.
    Group(String),
}

/// What one of them would change.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Helpful {
    /// The group or purpose.
    pub help: Help,
    /// The columns and fields that would be shown, or shown raw, by their paths with dots.
    pub columns: Vec<String>,
}

impl Policies {
    pub(crate) fn helps(&self, mesh: &Mesh, principal: &Principal, product: &Product) -> Vec<Helpful> {
        let Decision::Granted(now) = self.decide(mesh, principal, product) else { return Vec::new() };
        let tried = self.candidates(mesh, principal, product).into_iter().take(MOST);
        let helpful = tried.filter_map(|help| {
            let mut other = principal.clone();
            match &help {
                Help::Group(group) => drop(other.groups.insert(group.clone())),
                Help::Purpose(purpose) => other.purpose = Some(purpose.clone()),
            }
            let Decision::Granted(then) = self.decide(mesh, &other, product) else { return None };
            let mut columns = Vec::new();
            for (now, then) in now.columns.iter().zip(&then.columns) {
                gains(&now.access, &then.access, &now.column, &mut columns);
            }
            (!columns.is_empty()).then_some(Helpful { help, columns })
        });
        helpful.collect()
    }

    /// The groups and purposes that rules on the product speak of, and that the principal could have and has not.
    fn candidates(&self, mesh: &Mesh, principal: &Principal, product: &Product) -> BTreeSet<Help> {
        let mut lies = Lies::nowhere();
        lies.add("Domain", product.name.domain().as_str());
        let plain = product.name.to_string();
        lies.add("Product", &plain);
        lies.add("Product", &format!("{plain}@{}", product.contract.major));
        let tags = product.contract.tags.iter();
        tags.flat_map(|tag| mesh.declared.lineage(tag)).for_each(|tag| lies.add("Tag", tag));
        for address in [&plain, &format!("{plain}@{}", product.contract.major)] {
            add_columns(mesh, &product.contract.columns, address, &mut lies);
        }
        let (mut groups, mut purposes) = (BTreeSet::new(), BTreeSet::new());
        let own = self.domains.get(product.name.domain());
        for rule in [Some(&self.mesh_wide), own].into_iter().flatten().flat_map(|i| i.reaching(&self.rules, &lies, 0)) {
            groups.extend(rule.who.groups().map(str::to_owned));
            if let Some(condition) = rule.condition {
                let (of_groups, of_purposes) = self.conditions.speaks_of(condition);
                groups.extend(of_groups);
                purposes.extend(of_purposes);
            }
        }
        groups.retain(|group| mesh.declared.groups.contains(group) && !principal.groups.contains(group));
        purposes.retain(|purpose| principal.purpose.as_ref() != Some(purpose) && mesh.is_entitled(principal, purpose));
        groups.into_iter().map(Help::Group).chain(purposes.into_iter().map(Help::Purpose)).collect()
    }
}

fn add_columns(mesh: &Mesh, columns: &[Column], parent: &str, lies: &mut Lies) {
    for column in columns {
        let address = format!("{parent}.{}", column.name);
        lies.add("Column", &address);
        column.tags.iter().flat_map(|tag| mesh.declared.lineage(tag)).for_each(|tag| lies.add("Tag", tag));
        add_columns(mesh, &column.fields, &address, lies);
    }
}

/// Adds what of a column is shown then and not now, or raw then and masked now.
fn gains(now: &Access, then: &Access, name: &str, found: &mut Vec<String>) {
    let inside = |field: &ColumnGrant| format!("{name}.{}", field.column);
    match (now, then) {
        (Access::Nested(now), Access::Nested(then)) => {
            now.iter().zip(then).for_each(|(now, then)| gains(&now.access, &then.access, &inside(now), found));
        }
        (Access::Nested(now), then) => now.iter().for_each(|now| gains(&now.access, then, &inside(now), found)),
        (now, Access::Nested(then)) => then.iter().for_each(|then| gains(now, &then.access, &inside(then), found)),
        (Access::Denied, Access::Raw | Access::Masked(_)) | (Access::Masked(_), Access::Raw) => {
            found.push(name.to_owned());
        }
        (Access::Raw, _) | (Access::Masked(_), Access::Masked(_)) | (_, Access::Denied) => {}
    }
}
