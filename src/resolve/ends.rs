//! What products are made of, and what is made of them: the two ends of the rows of `mesh.lineage`.
//!
//! Those rows tell of products that the principal may discover, at both ends, and so does this.

use std::collections::{BTreeMap, BTreeSet};

use super::system::Row;

/// A product by its domain and its name in SQL.
pub(super) type Named = (String, String);

/// The products at the other ends, of each that has any.
#[derive(Debug, Default)]
pub(super) struct Ends {
    upstream: BTreeMap<Named, BTreeSet<Named>>,
    downstream: BTreeMap<Named, BTreeSet<Named>>,
}

impl Ends {
    pub(super) fn of(lineage: &[Row]) -> Self {
        let mut ends = Self::default();
        for row in lineage {
            let [Some(domain), Some(product), _, Some(from_domain), Some(from), ..] = row.as_slice() else { continue };
            let (made, from) = ((domain.clone(), product.clone()), (from_domain.clone(), from.clone()));
            ends.upstream.entry(made.clone()).or_default().insert(from.clone());
            ends.downstream.entry(from).or_default().insert(made);
        }
        ends
    }

    /// What a product is made of.
    pub(super) fn upstream(&self, of: &Named) -> impl Iterator<Item = &Named> {
        self.upstream.get(of).into_iter().flatten()
    }

    /// What is made of a product.
    pub(super) fn downstream(&self, of: &Named) -> impl Iterator<Item = &Named> {
        self.downstream.get(of).into_iter().flatten()
    }
}

/// Products as a statement names them.
pub(super) fn names<'a>(products: impl Iterator<Item = &'a Named>) -> String {
    products.map(|(domain, product)| format!("{domain}.{product}")).collect::<Vec<_>>().join(", ")
}
