//! A derived product whose query runs with its owner's rights, and not with those of whoever asks.
//!
//! ```text
//! standards: { owners_rights: { sales: sales-products } }       the mesh says for which domain, and as which group
//! shop.people --decide, as somebody in sales-products alone--> query of sales.towns
//!             --the grants of sales.towns itself, as who asks--> answer
//! ```
//!
//! What stands between who asks and the data is the product's own grants, so nothing else may come past it: what lies beneath
//! is restricted for them whatever the owner may see. It has a row filter even where it shows all of its rows, so that it is
//! a barrier to what a statement asks of them, and where its query may fail nothing of that reaches into it. It has
//! no figures, notices or names of what is beneath, and each error tells of the product alone.

use datafusion::common::TableReference;
use datafusion::logical_expr::lit;
use polder_catalog::contract::{Query, Rights as Asked};
use polder_catalog::mesh::Domain;
use polder_catalog::name::ProductRef;

use super::{Beneath, Deriving, Resolver};
use crate::error::{Class, Error};
use crate::guard::filter::RowFilter;
use crate::guard::flow::{Flow, Source as FlowSource};

/// With whose rights a table of a statement is read.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub enum Rights {
    /// Those of who asks.
    #[default]
    Asking,
    /// Its grants are theirs, and its query runs with those of its owner.
    Owner,
    /// Those of the owner of this derived product, for which it is read. Nothing of it is told.
    Beneath(String),
}

impl Rights {
    /// Whether it is kept from who asks that it is read at all.
    pub fn is_kept(&self) -> bool {
        matches!(self, Self::Beneath(_))
    }
}

impl Resolver {
    /// Whether the query of a product runs with its owner's rights here, where anything is decided.
    pub(in crate::resolve) fn is_by_owner(&self, query: &Query) -> bool {
        query.rights == Asked::Owner && !self.is_declared() && !self.is_for_checks()
    }

    /// The same for the owner of a domain.
    ///
    /// # Errors
    /// When the mesh does not say who that is. It withholds the product then, so that nobody comes here.
    pub(super) fn of_owner(self, name: &ProductRef, domain: &Domain) -> Result<Self, Error> {
        let Some(principal) = self.mesh.owner(&domain.name) else { return Err(unowned(name)) };
        let deriving = Deriving { owner: Some(domain.name.clone()), ..self.deriving.clone() };
        Ok(Self { principal, ..self.with(deriving) })
    }
}

impl Beneath {
    /// The same for who is told nothing of it. It has names of its own: the statement may read the same products itself.
    pub(super) fn kept(mut self, name: &ProductRef) -> Self {
        for (scan, named, table) in &mut self.tables {
            (*scan, *named) = (apart(name, scan), apart(name, named));
            table.restricted = true;
            table.rights = Rights::Beneath(name.to_string());
            table.age = None;
            table.notices.clear();
        }
        let apart = |source: FlowSource| FlowSource { table: apart(name, &source.table), ..source };
        let each = |outputs: Vec<(String, Vec<FlowSource>)>| {
            outputs.into_iter().map(|(output, sources)| (output, sources.into_iter().map(apart).collect())).collect()
        };
        let Flow { outputs, rows, equated: _ } = self.flow;
        let rows = rows.into_iter().map(apart).collect();
        self.flow = Flow { outputs: each(outputs), rows, equated: Vec::new() };
        self.carried = each(self.carried);
        Self { by_owner: true, ..self }
    }
}

fn apart(name: &ProductRef, table: &TableReference) -> TableReference {
    let within = format!("{name}/{}", table.catalog().unwrap_or_default());
    TableReference::full(within, table.schema().unwrap_or_default(), table.table())
}

/// A filter that shows every row, and is a barrier all the same.
pub(super) fn every_row() -> RowFilter {
    RowFilter { exact: lit(true), hints: Vec::new() }
}

/// What is told of a product whose owner's rights do not suffice, whatever is missing.
pub(super) fn told(name: &ProductRef, error: Error) -> Error {
    tracing::warn!(product = %name, error = %error.message, "a derived product cannot be read with its owner's rights");
    match error.class {
        Class::Storage => Error::new(Class::Storage, format!("what is stored of `{name}` could not be read")),
        Class::Limit | Class::Cancelled | Class::Bug => Error::new(error.class, format!("`{name}` could not be read")),
        _ => unowned(name),
    }
}

fn unowned(name: &ProductRef) -> Error {
    Error::new(Class::Drift, format!("`{name}` cannot be made with the rights of its owner"))
        .help("its owner can see why, by `polder check`")
}

/// The error for rules that keep back a part of what a query makes that may fail on just that part.
pub(super) fn may_fail(name: &ProductRef) -> Error {
    Error::new(
        Class::Drift,
        format!("the query of `{name}` may fail on values that are not shown to you, so nothing of it is served"),
    )
    .help("its owner can write it so that it cannot fail, with `TRY_CAST` and `nullif`")
}
