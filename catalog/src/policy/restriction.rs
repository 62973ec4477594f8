//! What a catalog demands of its readers: the `read-restrictions` of an Iceberg REST answer, on top of our own policies.
//!
//! ```text
//! { "required-column-projections": [{ "field-id": 4, "action": "show-last-4" }],        columns: the stricter of two masks
//!   "required-row-filter": { "type": "eq", "left": { "type": "reference", "id": 7 }, … } }  rows: those that both show
//! ```
//!
//! They become [`Grants`] like any others, so that whatever obeys those obeys these. All of it is understood, or nothing
//! of the table is served: an unknown key, action or predicate, a value of another type, a field that the table does not
//! have, and whatever the specification tells readers to refuse are [`Unenforced`].
//!
//! - Fields are meant by their ids in the table's current schema, also where an older snapshot is read.
//! - A mask on a field that the contract does not declare changes nothing that is served; it must be valid all the same.
//! - A row filter may speak of such a field: it is read for the filter alone, under a name that [`undeclared`] tells.
//! - A predicate is true or false, never unknown. Where the specification and Iceberg's own reader differ on NULL, NaN
//!   or the sign of zero, a row is shown only if both show it.

mod fields;
mod json;
mod literal;
mod projection;
mod row;

use std::sync::Arc;

use serde_json::Value;

pub use fields::{Field, undeclared};

use self::fields::Table;
use super::filter::Filter;
use super::{ColumnGrant, Grants, Reason, RowRule, Rows};
use crate::contract::Column;
use crate::document::{Place, quote};

/// The name that stands for the catalog where grants name the policies behind them.
pub const POLICY: &str = "the catalog's read-restrictions";

/// Why restrictions cannot be enforced. It names no value.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Unenforced {
    /// Something has not the shape that it should have.
    #[error("{0} is expected")]
    Shape(&'static str),
    /// A key that the specification does not know there, or that says a thing twice.
    #[error("the key {} is unknown or stands beside another that says the same", quote(.0))]
    Key(String),
    /// An action that is none of the masks.
    #[error("the action {} is unknown", quote(.0))]
    Action(String),
    /// A predicate that is none of Iceberg's.
    #[error("the predicate {} is unknown", quote(.0))]
    Predicate(String),
    /// A value that is computed, be it by a transform or a function.
    #[error("it compares something that is no plain field with no plain value")]
    Computed,
    /// The table has no such field.
    #[error("the table has no field {0}")]
    NoField(String),
    /// Two actions for one value.
    #[error("field {0} is restricted twice")]
    Twice(i32),
    /// An action that is not defined for a field's type, or not on its own.
    #[error("`{0}` cannot be applied to field {1}")]
    Undefined(&'static str, i32),
    /// A predicate about a field that has no one value in a row, or of a type without that comparison.
    #[error("`{0}` cannot be held against field {1}")]
    Incomparable(String, i32),
    /// A value that is none of the field's type.
    #[error("field {0} is compared with something that is no value of its type")]
    NoValue(i32),
    /// Deeper or longer than anything honest.
    #[error(
        "the row filter is nested deeper than {}, or has more than {} predicates or {} values",
        row::DEPTH,
        row::PREDICATES,
        row::VALUES
    )]
    TooLarge,
}

impl Grants {
    /// What is left of them on a table with the fields `table`, declared by `columns`, whose catalog answers with
    /// `restrictions` and is itself declared at `place`.
    ///
    /// # Errors
    /// When the restrictions cannot be enforced as a whole. Then nothing may be served.
    pub fn restricted(
        &self,
        restrictions: &Value,
        table: &[Field],
        columns: &[Column],
        place: &Place,
    ) -> Result<Self, Unenforced> {
        let table = Table::new(table, columns);
        let reason = Reason { policy: POLICY.into(), place: place.clone() };
        let mut members = json::Members::of(restrictions, "an object of restrictions")?;
        let projections = members.optional("required-column-projections");
        let filter = members.optional("required-row-filter");
        members.close()?;
        let masks = projections.map(|json| projection::read(json, &table)).transpose()?.unwrap_or_default();
        let filter = filter.map(|json| row::read(json, &table)).transpose()?;
        let mut restricted = self.clone();
        for mask in &masks {
            mask.tighten(&mut restricted.columns, columns, &reason);
        }
        restricted.rows = rows(restricted.rows, filter, reason);
        Ok(restricted)
    }
}

/// The rows of both.
fn rows(ours: Rows, theirs: Option<Filter>, reason: Reason) -> Rows {
    let filter = match theirs {
        None | Some(Filter::Constant(true)) => return ours,
        Some(Filter::Constant(false)) => None,
        // Taken away is what the filter does not show.
        Some(filter) => Some(Arc::new(Filter::Not(filter.into()))),
    };
    let rule = RowRule { filter, reason };
    match ours {
        Rows::All => Rows::Except(vec![rule]),
        Rows::Except(mut forbids) => {
            forbids.push(rule);
            Rows::Except(forbids)
        }
        Rows::Closed { permits, mut forbids } => {
            forbids.push(rule);
            Rows::Closed { permits, forbids }
        }
    }
}

/// Puts the catalog among the reasons of what it decided.
fn because(grant: &mut ColumnGrant, reason: &Reason) {
    if !grant.reasons.contains(reason) {
        grant.reasons.push(reason.clone());
    }
}
