//! The keys that contracts declare, as far as one may see all of their columns as they are: of masked values nobody can
//! tell what is the same, and a denied column is not there.

use polder_catalog::contract::Contract;
use polder_catalog::mesh::Product;
use polder_catalog::name::ProductRef;
use polder_catalog::policy::{Access, Grants};

use super::{Resolver, table_part};

/// A table and some of its columns, in the order of a key.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct KeyColumns {
    /// `domain`: the SQL schema.
    pub schema: String,
    /// `product` or `product@1`: the SQL table.
    pub table: String,
    /// The columns.
    pub columns: Vec<String>,
}

/// The keys that contracts declare.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Declared {
    /// The primary key of each table that has one.
    pub primary: Vec<KeyColumns>,
    /// Columns, and those of another table whose values they have.
    pub foreign: Vec<(KeyColumns, KeyColumns)>,
}

impl Resolver {
    /// The keys of what this principal may see, in the order of tables.
    pub async fn keys(&self) -> Declared {
        let decided = self.decided().await;
        let shown = |(name, _, product, grants): &(ProductRef, _, &Product, Option<Grants>), columns: Vec<String>| {
            let grants = grants.as_ref()?;
            let raw = |column: &String| {
                grants.columns.iter().any(|grant| grant.column == *column && grant.access == Access::Raw)
            };
            let declared = |column: &String| product.contract.columns.iter().any(|known| known.name == *column);
            let all = !columns.is_empty() && columns.iter().all(|column| raw(column) && declared(column));
            all.then(|| KeyColumns { schema: name.product.domain().to_string(), table: table_part(name), columns })
        };
        let mut keys = Declared::default();
        for found in &decided {
            let (name, _, product, _) = found;
            keys.primary.extend(shown(found, primary(&product.contract)));
            for reference in &product.contract.references {
                let domain = reference.domain.as_deref().unwrap_or_else(|| name.product.domain().as_str());
                let target = decided.iter().find(|(other, ..)| {
                    other.product.domain().as_str() == domain && table_part(other) == reference.object
                });
                let from = shown(found, reference.columns.clone());
                let to = target.and_then(|target| shown(target, reference.to.clone()));
                keys.foreign.extend(from.zip(to));
            }
        }
        keys.primary.sort();
        keys.foreign.sort();
        keys
    }
}

/// The columns of the primary key, in their order.
fn primary(contract: &Contract) -> Vec<String> {
    let mut columns: Vec<_> = contract.columns.iter().filter_map(|column| Some((column.key?, &column.name))).collect();
    // Columns of one place stay in the order of the contract.
    columns.sort_by_key(|(place, _)| *place);
    columns.into_iter().map(|(_, name)| name.clone()).collect()
}
