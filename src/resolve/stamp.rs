//! What the plan over a table depends on: where two stamps are equal, what was planned over one table is right for the
//! other.
//!
//! Compared are the open table, its snapshot, and what of it is shown how. Whatever can differ beside that has no stamp: a
//! table of a catalog that makes demands of its readers, a mask with a salt for each statement, a derived product, and the
//! tables of the mesh itself.

use polder_catalog::contract::Contract;
use polder_catalog::policy::{Access, ColumnGrant, Mask, Rows};

use crate::lake::{Identity, OpenTable};

/// What the plan over a table depends on, beside the mesh and who asks.
#[derive(Debug, Clone, PartialEq)]
pub struct Stamp {
    table: Identity,
    snapshot: Option<i64>,
    columns: Vec<(String, Access)>,
    rows: Rows,
    keeps_results: bool,
}

impl Stamp {
    pub(super) fn of(
        open: &OpenTable,
        snapshot: Option<i64>,
        columns: &[ColumnGrant],
        rows: &Rows,
        contract: &Contract,
    ) -> Option<Self> {
        let lasts = open.until.is_none() && open.restrictions.is_none() && !columns.iter().any(is_salted);
        lasts.then(|| Self {
            table: open.identity(),
            snapshot,
            columns: columns.iter().map(|grant| (grant.column.clone(), grant.access.clone())).collect(),
            rows: rows.clone(),
            keeps_results: contract.keeps_results,
        })
    }

    /// Whether its product lets results be kept.
    pub fn keeps_results(&self) -> bool {
        self.keeps_results
    }

    /// Whether what is shown of it is the same for everybody of whom a stamp is equal: its rows can hang on who asks.
    pub fn is_everybodys(&self) -> bool {
        self.rows.are_all()
    }

    /// How many columns it tells of.
    pub fn columns(&self) -> usize {
        self.columns.len()
    }
}

fn is_salted(grant: &ColumnGrant) -> bool {
    match &grant.access {
        Access::Masked(mask) => matches!(mask, Mask::Sha256QueryLocal),
        Access::Nested(fields) => fields.iter().any(is_salted),
        Access::Raw | Access::Denied => false,
    }
}
