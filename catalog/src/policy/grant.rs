//! What a decision grants: columns, rows, and the policies behind each.

use std::sync::Arc;

use super::Mask;
use super::filter::Filter;
use crate::document::Place;

/// What a principal may see of a product.
#[derive(Debug, Clone)]
#[must_use]
pub enum Decision {
    /// It must not even be seen to exist. A policy that failed is named for the server's log alone.
    Hidden(Option<Reason>),
    /// It may be discovered, but a policy failed while it was decided, so nothing of it is served.
    Refused(Reason),
    /// It may be discovered, and this much of it read.
    Granted(Grants),
}

/// Whether a product may be seen to exist.
#[derive(Debug, Clone, PartialEq, Eq)]
#[must_use]
pub enum Discovery {
    /// It may.
    Shown,
    /// It may not. A policy that failed is named for the server's log alone.
    Hidden(Option<Reason>),
}

/// What of a product may be read.
#[derive(Debug, Clone)]
pub struct Grants {
    /// One entry per column of the contract, in its order.
    pub columns: Vec<ColumnGrant>,
    /// Which of its rows.
    pub rows: Rows,
}

/// What of one column may be read, and why.
#[derive(Debug, Clone)]
pub struct ColumnGrant {
    /// The column's name in the contract.
    pub column: String,
    /// How it may be read.
    pub access: Access,
    /// The policies that decided so, by id; none where no policy permits anything. For a nested column those of what
    /// is nested in it.
    pub reasons: Vec<Reason>,
}

/// How a column may be read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Access {
    /// As it is, with all that is nested in it.
    Raw,
    /// Through this mask. `replace-with-null` hides a nested column as a whole, its own presence included; any other
    /// mask acts on the elements of a list, and stands on nothing else that is nested.
    Masked(Mask),
    /// Not at all.
    Denied,
    /// Field by field: one entry per field that the contract declares inside of it, in its order. Lists and maps
    /// between the column and its fields are passed through, as contracts do; the keys of such maps are raw. A field
    /// that is denied is left out of the struct. Never all raw and never all denied.
    Nested(Vec<ColumnGrant>),
}

impl PartialEq for ColumnGrant {
    /// Equal grants show the same, whatever the reasons.
    fn eq(&self, other: &Self) -> bool {
        self.column == other.column && self.access == other.access
    }
}

impl Eq for ColumnGrant {}

impl Access {
    /// The innermost grants, each under its path with dots, `name` for the column itself.
    pub fn leaves(&self, name: &str) -> Vec<(String, &Access)> {
        match self {
            Self::Nested(fields) => {
                fields.iter().flat_map(|field| field.access.leaves(&format!("{name}.{}", field.column))).collect()
            }
            leaf => vec![(name.to_owned(), leaf)],
        }
    }
}

/// Which rows of a product may be read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Rows {
    /// All of them.
    All,
    /// All but those that a rule takes away. Never without a rule.
    Except(Vec<RowRule>),
    /// Those that one of `permits` shows and none of `forbids` takes away. Without permits that is none.
    Closed {
        /// A row is shown where a filter of these is true; where it is unknown it is not.
        permits: Vec<RowRule>,
        /// A row is taken away unless the filter of each of these is false; where one is unknown it is.
        forbids: Vec<RowRule>,
    },
}

impl Rows {
    /// Whether every row is shown, also by a rule that says so.
    pub fn are_all(&self) -> bool {
        let about_all = |rule: &RowRule| rule.filter.as_deref().is_none_or(|filter| *filter == Filter::Constant(true));
        let (permits, forbids) = self.rules();
        permits.is_none_or(|permits| permits.iter().any(about_all)) && forbids.is_empty()
    }

    /// The rules that show rows, or `None` where all are shown; and those that take rows away.
    pub fn rules(&self) -> (Option<&[RowRule]>, &[RowRule]) {
        match self {
            Self::All => (None, &[]),
            Self::Except(forbids) => (None, forbids),
            Self::Closed { permits, forbids } => (Some(permits), forbids),
        }
    }
}

/// A policy on rows, as it is for one principal and one product.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RowRule {
    /// The rows that it is about, with the principal's attributes put in; all of them without a filter.
    pub filter: Option<Arc<Filter>>,
    /// The policy.
    pub reason: Reason,
}

/// The policy behind a decision.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Reason {
    /// Its `@id`; `standards:<tag>` for what a tag demands.
    pub policy: Arc<str>,
    /// Where it stands.
    pub place: Place,
}
