//! Tags go where values go. A derived column that does not carry a tag of what it is made of would be open where that is
//! protected, so its product is not served.
//!
//! ```text
//! SELECT lower(email) AS contact, count(phone) AS phones       email and phone are tagged pii
//! contact    carries pii, or its contract says why it is declassified
//! phones     a number of rows: what is counted has no values any more
//! ```

use polder_catalog::contract::Column;
use polder_catalog::mesh::Product;
use polder_catalog::name::ProductRef;

use super::{Beneath, Resolver};
use crate::error::{Class, Error};
use crate::guard::flow::Via;

/// A derived column that lacks a tag of what it is made of.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Untagged {
    /// The column.
    pub column: String,
    /// The tag.
    pub tag: String,
    /// The column that carries it.
    pub source: String,
    /// Whether it is made of it, and not only chosen by what it is compared with.
    made: bool,
    /// What could be done but to add it.
    instead: String,
}

impl Untagged {
    /// What is wrong with the column of `name`.
    pub fn message(&self, name: &ProductRef) -> String {
        let Self { column, tag, source, .. } = self;
        let how = if self.made { "is made of" } else { "tells something of" };
        format!("column `{column}` of `{name}` {how} `{source}` and does not carry its tag `{tag}`")
    }

    /// What to do about it.
    pub fn help(&self) -> String {
        format!("add `{}` to its tags, or {}", self.tag, self.instead)
    }

    pub(super) fn error(&self, name: &ProductRef) -> Error {
        Error::new(Class::Drift, self.message(name)).help(self.help())
    }
}

impl Resolver {
    /// The columns of a derived product that lack a tag.
    pub(super) fn untagged(&self, product: &Product, beneath: &Beneath) -> Vec<Untagged> {
        let of = |column: &Column| {
            let (_, sources) = beneath.carried.iter().find(|(output, _)| *output == column.name)?;
            sources.iter().find_map(|source| {
                let (_, _, table) = beneath.tables.iter().find(|(scan, ..)| *scan == source.table)?;
                let name = table.wanted.as_ref()?.product();
                let made = source.via == Via::Value;
                let tag = self.mesh.lost_tag(self.mesh.product(name)?, &source.path, product, column, made)?;
                let source = format!("{name}.{}", source.path.join("."));
                let instead = self.mesh.how_to_declassify(product, column, tag);
                Some(Untagged { column: column.name.clone(), tag: tag.to_owned(), source, made, instead })
            })
        };
        product.contract.columns.iter().filter_map(of).collect()
    }
}
