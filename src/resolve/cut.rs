//! Grants cut a product's columns down to what is read: those that are shown, then those that only a row rule reads.
//!
//! ```text
//! grants   city raw, address { town raw, street denied }, email denied; rows: address.street = 'Dam' AND email IS NULL
//! shown    city, address { town }
//! beyond   address { street } and email, under names that no query can reach
//! ```

use std::collections::BTreeSet;
use std::sync::Arc;

use datafusion::arrow::datatypes::Schema;
use polder_catalog::name::ProductRef;
use polder_catalog::policy::{Access, ColumnGrant, Rows};

use crate::error::{Class, Error};
use crate::guard::filter::{RowFilter, lower, paths};
use crate::guard::{GovernedColumn, Treatment};
use crate::scan::ScanColumn;

/// A path into a column: the names of the fields inside of it.
type Path = [Arc<str>];

/// What is read of a table.
#[derive(Debug)]
pub(super) struct Cut {
    /// The columns of the scan: as many as are shown, then those beyond.
    pub(super) columns: Vec<ScanColumn>,
    /// Those that are shown.
    pub(super) shown: Vec<GovernedColumn>,
    /// The columns beyond, by their names in the contract.
    beyond: BTreeSet<String>,
}

impl Cut {
    /// Cuts the columns that can be read.
    ///
    /// # Errors
    /// `Drift` where a row rule speaks of a column that cannot be read.
    pub(super) fn new(
        product: &ProductRef,
        bound: &[ScanColumn],
        grants: &[ColumnGrant],
        rows: &Rows,
    ) -> Result<Self, Error> {
        let granted = |name: &str| grants.iter().find(|grant| grant.column == name).map(|grant| &grant.access);
        let mut columns: Vec<ScanColumn> =
            bound.iter().filter_map(|column| cut(column, granted(&column.name)?)).collect();
        let shown = columns.iter().filter_map(|column| {
            let access = granted(&column.name)?;
            // What is denied inside is cut away, and what is left of it may be raw.
            let treatment = if hides(access) { Treatment::of(access)? } else { Treatment::Raw };
            Some(GovernedColumn { name: column.name.clone(), treatment })
        });
        let shown = shown.collect();
        let mut beyond = BTreeSet::new();
        let paths = paths(rows);
        for first in paths.iter().filter_map(|path| path.first()).collect::<BTreeSet<_>>() {
            if matches!(granted(first), Some(Access::Raw | Access::Masked(_))) {
                continue;
            }
            let column = bound.iter().find(|column| *column.name == **first).ok_or_else(|| unfit(product))?;
            let inside: Vec<&Path> = paths
                .iter()
                .filter_map(|path| path.split_first())
                .filter(|(name, _)| *name == first)
                .map(|(_, inside)| inside)
                .collect();
            beyond.insert(column.name.clone());
            columns.push(ScanColumn { name: alias(&column.name), ..only(column, &inside) });
        }
        Ok(Self { columns, shown, beyond })
    }

    /// The row filter over the scan's columns.
    ///
    /// # Errors
    /// `Drift` where the table's types are not those that the rules were written for.
    pub(super) fn rows(&self, product: &ProductRef, rows: &Rows, schema: &Schema) -> Result<Option<RowFilter>, Error> {
        let named = |name: &str| if self.beyond.contains(name) { alias(name) } else { name.to_owned() };
        lower(rows, schema, &named).map_err(|error| {
            tracing::warn!(%product, %error, "row rules cannot be applied, so the product is not served");
            unfit(product)
        })
    }
}

/// The name of a column that only row rules read.
fn alias(name: &str) -> String {
    format!("{name} of the row rules")
}

/// Whether anything of a column that is shown is masked.
fn hides(access: &Access) -> bool {
    match access {
        Access::Masked(_) => true,
        Access::Nested(fields) => fields.iter().any(|field| hides(&field.access)),
        Access::Raw | Access::Denied => false,
    }
}

/// A column without the fields that are denied; nothing of one that is denied as a whole.
fn cut(column: &ScanColumn, access: &Access) -> Option<ScanColumn> {
    let granted = match access {
        Access::Raw | Access::Masked(_) => return Some(column.clone()),
        Access::Denied => return None,
        Access::Nested(granted) => granted,
    };
    let field = |field: &ScanColumn| {
        let grant = granted.iter().find(|grant| grant.column == field.name)?;
        cut(field, &grant.access)
    };
    let fields = column.fields.iter().flatten().filter_map(field).collect();
    Some(ScanColumn { fields: Some(fields), ..column.clone() })
}

/// A column with the fields alone that paths lead to.
fn only(column: &ScanColumn, paths: &[&Path]) -> ScanColumn {
    if paths.iter().any(|path| path.is_empty()) {
        return column.clone();
    }
    let field = |field: &ScanColumn| {
        let inside = paths.iter().filter_map(|path| path.split_first()).filter(|(name, _)| ***name == *field.name);
        let inside: Vec<&Path> = inside.map(|(_, inside)| inside).collect();
        (!inside.is_empty()).then(|| only(field, &inside))
    };
    let fields = column.fields.as_ref().map(|fields| fields.iter().filter_map(field).collect());
    ScanColumn { fields, ..column.clone() }
}

/// The error for row rules that the table does not fit. It names no column, since the reader may not know it.
fn unfit(product: &ProductRef) -> Error {
    Error::new(Class::Drift, format!("the row rules of `{product}` do not fit its table, so nothing of it is served"))
}
